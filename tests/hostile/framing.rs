//! Frames and messages: RFC 6455 §5, and the limits of §10.4 that a header or a count runs into.

use super::OVER;
use crate::peer::{announced, frame, masked, unmasked};
use crate::server::{Server, shared};

/// A session that passes every state of the receiver, masked with keys whose bytes all differ, and its answer.
fn session() -> (Vec<u8>, Vec<u8>) {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let long: Vec<u8> = (0..=255).collect();
    let script = [
        masked(0x81, key, b"Hello"),
        masked(0x01, key, b"caf\xc3"),
        masked(0x89, key, b"between"),
        masked(0x00, key, b""),
        masked(0x80, key, b"\xa9 noir"),
        masked(0x8a, key, b"unasked"),
        masked(0x82, key, &long[..126]),
        masked(0x82, key, b""),
        masked(0x88, key, b"\x03\xe8bye"),
    ];
    let answer = [
        unmasked(0x81, b"Hello"),
        unmasked(0x8a, b"between"),
        unmasked(0x81, b"caf\xc3\xa9 noir"),
        unmasked(0x82, &long[..126]),
        unmasked(0x82, b""),
        unmasked(0x88, b"\x03\xe8bye"),
    ];
    (script.concat(), answer.concat())
}

// What is right is answered, however it is cut.

#[test]
fn s5_7_the_samples_of_the_rfc_are_echoed() {
    let server = shared(OVER);
    server.expect_answer(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", b"\x81\x05Hello");
    server.expect_answer(b"\x01\x83\0\0\0\0Hel\x80\x82\0\0\0\0lo", b"\x81\x05Hello");
    server.expect_answer(b"\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", b"\x8a\x05Hello");
}

#[test]
fn s5_2_a_session_cut_at_every_byte_is_answered_the_same() {
    let server = shared(OVER);
    let mut neighbour = server.open();
    let (script, answer) = session();
    for cut in 1..script.len() {
        let mut peer = server.open();
        peer.send(&script[..cut]);
        neighbour.expect_echo(b"a turn");
        peer.send(&script[cut..]).expect(&answer).expect_end();
    }
}

#[test]
fn s5_2_a_session_of_single_bytes_is_answered_the_same() {
    let server = shared(OVER);
    let (script, answer) = session();
    server.open().drip(&script).expect(&answer).expect_end();
}

#[test]
fn s5_2_a_session_in_one_segment_is_answered_the_same() {
    let server = shared(OVER);
    let (script, answer) = session();
    server.open().send(&script).expect(&answer).expect_end();
}

#[test]
fn s5_2_a_frame_is_silent_until_its_last_byte() {
    let server = shared(OVER);
    let (mut neighbour, mut peer) = (server.open(), server.open());
    for piece in [b"\x82".as_slice(), b"\xfe", b"\x00", b"\x7e", b"\x01\x02\x03", b"\x04", &[0; 125]] {
        peer.send(piece).expect_silence_beside(&mut neighbour);
    }
    let payload: Vec<u8> = [1, 2, 3, 4].into_iter().cycle().take(125).chain([7]).collect();
    peer.send(&[7 ^ 2]).expect(&unmasked(0x82, &payload)).expect_silence();
}

#[test]
fn s5_2_lengths_around_each_form_are_echoed_in_the_shortest_form() {
    let server = shared(OVER);
    for len in
        [0, 1, 124, 125, 126, 127, 128, 255, 256, 65_534, 65_535, 65_536, 65_537, 262_143, 262_144, 300_001]
    {
        let payload: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        let mut peer = server.open();
        peer.send(&masked(0x82, [9, 8, 7, 6], &payload)).expect(&unmasked(0x82, &payload)).expect_silence();
        let text = vec![b'x'; len];
        peer.send(&masked(0x81, [9, 8, 7, 6], &text)).expect(&unmasked(0x81, &text)).expect_silence();
    }
}

#[test]
fn s5_3_every_phase_of_the_masking_key_survives_a_cut() {
    let server = shared(OVER);
    let (mut neighbour, mut peer) = (server.open(), server.open());
    let payload: Vec<u8> = (0..67).collect();
    let script = masked(0x82, [0x80, 0x01, 0xff, 0x7e], &payload);
    for cut in 6..script.len() {
        peer.send(&script[..cut]);
        neighbour.expect_echo(b"a turn");
        peer.send(&script[cut..]).expect(&unmasked(0x82, &payload));
    }
    peer.expect_silence();
}

#[test]
fn s5_3_each_frame_has_its_own_key() {
    let script = [
        masked(0x02, [1, 2, 3, 4], b"abc"),
        masked(0x00, [0xff; 4], b"defgh"),
        masked(0x89, [7, 0, 0, 9], b"i"),
        masked(0x80, [0, 0, 0, 1], b"jklmn"),
    ];
    shared(OVER).expect_answer(&script.concat(), b"\x8a\x01i\x82\x0dabcdefghjklmn");
}

#[test]
fn s5_6_a_thousand_messages_in_one_segment_are_echoed_in_order() {
    let server = shared(OVER);
    let (mut script, mut answer) = (Vec::new(), Vec::new());
    for i in 0..1_000 {
        let (first, text) = (0x81 + (i % 2) as u8, format!("message {i}"));
        script.extend(masked(first, [i as u8, 1, 2, 3], text.as_bytes()));
        answer.extend(unmasked(first, text.as_bytes()));
    }
    server.expect_answer(&script, &answer);
}

#[test]
fn s5_6_an_empty_message_is_a_message() {
    shared(OVER).expect_answer(b"\x81\x80\0\0\0\0\x82\x80\x01\x02\x03\x04", b"\x81\0\x82\0");
}

// Fragments.

#[test]
fn s5_4_empty_fragments_are_allowed_anywhere() {
    let server = shared(OVER);
    server.expect_answer(b"\x01\x80\0\0\0\0\x00\x81\0\0\0\0a\x80\x80\0\0\0\0", b"\x81\x01a");
    server.expect_answer(b"\x02\x80\0\0\0\0\x00\x80\0\0\0\0\x80\x80\0\0\0\0", b"\x82\x00");
}

#[test]
fn s5_4_a_message_of_many_fragments_is_one_message() {
    let script = [&frame(0x02, b"0"), &frame(0x00, b"1").repeat(5_000)[..], &frame(0x80, b"2")].concat();
    let whole = [b"0".as_slice(), &[b'1'; 5_000], b"2"].concat();
    shared(OVER).expect_answer(&script, &unmasked(0x82, &whole));
}

#[test]
fn s5_4_the_type_of_a_message_is_that_of_its_first_frame() {
    let server = shared(OVER);
    server.expect_answer(b"\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b", b"\x81\x02ab");
    server.expect_answer(b"\x02\x81\0\0\0\0a\x80\x81\0\0\0\0b", b"\x82\x02ab");
}

#[test]
fn s5_4_an_unfinished_message_is_not_answered() {
    let server = shared(OVER);
    let mut peer = server.open();
    peer.send(b"\x01\x81\0\0\0\0a").expect_silence();
    peer.send(b"\x00\x81\0\0\0\0b").expect_silence();
    peer.send(b"\x80\x81\0\0\0\0c").expect(b"\x81\x03abc").expect_silence();
}

#[test]
fn s5_5_2_ping_between_fragments_is_answered_before_the_message() {
    let script = b"\x01\x82\0\0\0\0He\x89\x81\0\0\0\0!\x80\x83\0\0\0\0llo";
    shared(OVER).expect_answer(script, b"\x8a\x01!\x81\x05Hello");
}

#[test]
fn s5_5_3_pong_between_fragments_is_ignored() {
    shared(OVER).expect_answer(b"\x01\x82\0\0\0\0He\x8a\x81\0\0\0\0!\x80\x83\0\0\0\0llo", b"\x81\x05Hello");
}

#[test]
fn s5_4_a_continuation_of_nothing_is_1002() {
    let server = shared(OVER);
    for script in [
        b"\x80\x80\0\0\0\0".as_slice(),
        b"\x00\x80\0\0\0\0",
        b"\x80\x82\0\0\0\0hi",
        b"\x00\x82\0\0\0\0hi",
        b"\x8a\x80\0\0\0\0\x80\x80\0\0\0\0", // behind a pong
    ] {
        server.expect_fault(script, 1002);
    }
}

#[test]
fn s5_4_a_continuation_behind_a_finished_message_is_1002() {
    let server = shared(OVER);
    let mut peer = server.open();
    peer.send(b"\x81\x81\0\0\0\0a\x80\x81\0\0\0\0b").expect(b"\x81\x01a").expect_fault(1002);
    let mut peer = server.open();
    peer.send(b"\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b\x80\x81\0\0\0\0c")
        .expect(b"\x81\x02ab")
        .expect_fault(1002);
}

#[test]
fn s5_4_a_new_message_inside_a_message_is_1002() {
    let server = shared(OVER);
    for first in [0x01, 0x02] {
        for second in [0x01, 0x02, 0x81, 0x82] {
            server.expect_fault(&[frame(first, b"a"), frame(second, b"b")].concat(), 1002);
        }
    }
}

// Headers no client may send.

#[test]
fn s5_1_an_unmasked_frame_is_1002() {
    let server = shared(OVER);
    for script in [
        b"\x81\x05Hello".as_slice(),
        b"\x82\x00",
        b"\x89\x00",
        b"\x8a\x00",
        b"\x88\x02\x03\xe8",
        b"\x01\x01a",
    ] {
        server.expect_fault(script, 1002);
    }
}

#[test]
fn s5_1_an_unmasked_header_is_enough_for_1002() {
    let server = shared(OVER);
    for script in [b"\x81\x05".as_slice(), b"\x82\x7e\x01\x00", b"\x82\x7f\0\0\0\0\0\x01\0\0", b"\x89\x7d"] {
        server.expect_fault(script, 1002);
    }
}

#[test]
fn s5_1_an_unmasked_continuation_is_1002() {
    let server = shared(OVER);
    let mut peer = server.open();
    peer.send(b"\x01\x81\0\0\0\0a\x80\x01b").expect_fault(1002);
}

#[test]
fn s5_1_what_came_before_the_fault_is_answered_first() {
    let server = shared(OVER);
    let mut peer = server.open();
    peer.send(b"\x81\x81\0\0\0\0a\x89\x81\0\0\0\0b\x81\x01c");
    peer.expect(b"\x81\x01a\x8a\x01b").expect_fault(1002);
}

#[test]
fn s7_1_7_what_comes_behind_the_fault_is_dropped() {
    let server = shared(OVER);
    server.expect_fault(b"\x81\x01c\x81\x81\0\0\0\0a\x89\x81\0\0\0\0b", 1002);
    server.expect_fault(b"\xc1\x81\0\0\0\0c\x88\x82\0\0\0\0\x03\xe8", 1002);
}

#[test]
fn s5_2_any_rsv_bit_on_any_frame_is_1002() {
    let server = shared(OVER);
    for rsv in [0x40, 0x20, 0x10, 0x60, 0x50, 0x30, 0x70] {
        for first in [0x81, 0x82, 0x01, 0x02, 0x88, 0x89, 0x8a] {
            server.expect_fault(&frame(first | rsv, b""), 1002);
        }
    }
}

#[test]
fn s5_2_any_rsv_bit_on_a_continuation_is_1002() {
    let server = shared(OVER);
    for rsv in [0x40, 0x20, 0x10] {
        server.expect_fault(&[frame(0x01, b"a"), frame(0x80 | rsv, b"b")].concat(), 1002);
        server.expect_fault(&[frame(0x01, b"a"), frame(rsv, b"b")].concat(), 1002);
    }
}

#[test]
fn s5_2_reserved_opcodes_are_1002() {
    let server = shared(OVER);
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        server.expect_fault(&frame(0x80 | opcode, b""), 1002);
        server.expect_fault(&frame(opcode, b"payload"), 1002);
    }
}

#[test]
fn s5_2_reserved_opcodes_inside_a_message_are_1002() {
    let server = shared(OVER);
    for opcode in [3, 7, 11, 15] {
        server.expect_fault(&[frame(0x02, b"a"), frame(0x80 | opcode, b"")].concat(), 1002);
    }
}

#[test]
fn s5_2_every_first_byte_gets_what_the_rfc_says() {
    let server = shared(OVER);
    for first in 0..=255u8 {
        let mut peer = server.open();
        peer.send(&[first, 0x80, 0, 0, 0, 0]);
        match first {
            0x01 | 0x02 | 0x8a => drop(peer.expect_silence()),
            0x81 | 0x82 => drop(peer.expect(&[first, 0]).expect_silence()),
            0x89 => drop(peer.expect(b"\x8a\0").expect_silence()),
            0x88 => peer.expect(b"\x88\0").expect_end(),
            _ => drop(peer.expect_fault(1002)),
        }
    }
}

#[test]
fn s5_2_every_second_byte_gets_what_the_rfc_says() {
    let server = shared(OVER);
    let mut neighbour = server.open();
    for second in 0..=255u8 {
        let mut peer = server.open();
        match second {
            0..0x80 => drop(peer.send(&[0x82, second]).expect_fault(1002)),
            0x80..0xfe => {
                let payload = vec![second; usize::from(second & 0x7f)];
                peer.send(&[&[0x82, second, 0, 0, 0, 0], &payload[..]].concat());
                peer.expect(&unmasked(0x82, &payload)).expect_silence();
            }
            0xfe.. => drop(peer.send(&[0x82, second]).expect_silence_beside(&mut neighbour)),
        }
    }
}

#[test]
fn s5_2_a_length_not_in_its_shortest_form_is_1002() {
    let server = shared(OVER);
    for len in [0u16, 1, 124, 125] {
        let [a, b] = len.to_be_bytes();
        server.expect_fault(&[0x82, 0xfe, a, b, 0, 0, 0, 0], 1002);
        server.expect_fault(&[0x01, 0xfe, a, b, 0, 0, 0, 0], 1002);
    }
    for len in [0u64, 1, 125, 126, 65_534, 65_535] {
        server.expect_fault(&[b"\x82\xff".as_slice(), &len.to_be_bytes(), &[0; 4]].concat(), 1002);
    }
}

#[test]
fn s5_2_a_continuation_length_not_in_its_shortest_form_is_1002() {
    let server = shared(OVER);
    server.expect_fault(b"\x02\x81\0\0\0\0a\x80\xfe\0\x01\0\0\0\0b", 1002);
    server.expect_fault(b"\x02\x81\0\0\0\0a\x80\xff\0\0\0\0\0\0\xff\xff\0\0\0\0b", 1002);
}

#[test]
fn s5_2_a_64_bit_length_with_its_top_bit_set_is_1002() {
    let server = shared(OVER);
    server.expect_fault(b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", 1002);
    server.expect_fault(b"\x82\xff\x80\0\0\0\0\x01\0\0\0\0\0\0", 1002);
    server.expect_fault(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1002);
    server.expect_fault(b"\x02\x81\0\0\0\0a\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1002);
}

// Control frames.

#[test]
fn s5_5_2_ping_is_answered_with_its_very_payload() {
    let server = shared(OVER);
    let longest: Vec<u8> = (0x80..0x80 + 125).collect();
    for payload in [b"".as_slice(), b"\0", b"\xff\xfe\x80", b"Hello", &longest] {
        server.expect_answer(&masked(0x89, [1, 2, 3, 4], payload), &unmasked(0x8a, payload));
    }
}

#[test]
fn s5_5_2_pings_are_answered_each_and_in_order() {
    let (mut script, mut answer) = (Vec::new(), Vec::new());
    for i in 0..2_000u32 {
        script.extend(masked(0x89, [5; 4], &i.to_be_bytes()));
        answer.extend(unmasked(0x8a, &i.to_be_bytes()));
    }
    shared(OVER).expect_answer(&script, &answer);
}

#[test]
fn s5_5_2_ping_and_message_are_answered_in_their_order() {
    let script = b"\x81\x81\0\0\0\0a\x89\x81\0\0\0\0b\x82\x81\0\0\0\0c\x89\x80\0\0\0\0";
    shared(OVER).expect_answer(script, b"\x81\x01a\x8a\x01b\x82\x01c\x8a\x00");
}

#[test]
fn s5_5_2_a_ping_is_not_answered_before_it_is_whole() {
    let server = shared(OVER);
    let (mut neighbour, mut peer) = (server.open(), server.open());
    for piece in [b"\x89".as_slice(), b"\x83", b"\0\0", b"\0\0", b"ab"] {
        peer.send(piece).expect_silence_beside(&mut neighbour);
    }
    peer.send(b"c").expect(b"\x8a\x03abc").expect_silence();
}

#[test]
fn s5_5_3_an_unasked_pong_is_ignored() {
    let server = shared(OVER);
    server.expect_answer(b"\x8a\x80\0\0\0\0", b"");
    server.expect_answer(&frame(0x8a, &[0xff; 125]), b"");
    server.expect_answer(&b"\x8a\x81\0\0\0\0x".repeat(3_000), b"");
}

#[test]
fn s5_5_a_control_frame_past_125_bytes_is_1002_from_its_header() {
    let server = shared(OVER);
    for first in [0x88, 0x89, 0x8a] {
        server.expect_fault(&announced(first, 126), 1002);
        server.expect_fault(&announced(first, 65_535), 1002);
        server.expect_fault(&announced(first, 65_536), 1002);
        server.expect_fault(&announced(first, 0x7fff_ffff_ffff_ffff), 1002);
        server.expect_fault(&frame(first, &[b'x'; 126]), 1002);
    }
}

#[test]
fn s5_5_a_control_frame_of_a_longer_form_is_1002() {
    let server = shared(OVER);
    for first in [0x88, 0x89, 0x8a] {
        server.expect_fault(&[first, 0xfe, 0, 2, 0, 0, 0, 0, 0x03, 0xe8], 1002);
        server.expect_fault(&[first, 0xff, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0x03, 0xe8], 1002);
    }
}

#[test]
fn s5_5_a_fragmented_control_frame_is_1002() {
    let server = shared(OVER);
    for first in [0x08, 0x09, 0x0a] {
        server.expect_fault(&frame(first, b""), 1002);
        server.expect_fault(&[frame(first, b"a"), frame(0x80, b"b")].concat(), 1002);
        server.expect_fault(&[frame(0x01, b"a"), frame(first, b"b")].concat(), 1002);
    }
}

#[test]
fn s5_4_a_control_frame_starts_no_message_to_continue() {
    let server = shared(OVER);
    let mut peer = server.open();
    peer.send(b"\x89\x81\0\0\0\0a\x80\x81\0\0\0\0b").expect(b"\x8a\x01a").expect_fault(1002);
}

// Limits.

#[test]
fn s10_4_a_message_past_the_limit_is_1009_from_its_header() {
    let server = shared(OVER);
    for len in [16_777_217, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, 0x7fff_ffff_ffff_ffff] {
        for first in [0x81, 0x82, 0x01, 0x02] {
            let reason = server.expect_fault(&announced(first, len), 1009);
            assert!(reason.contains("16777216"), "the reason names the limit: {reason:?}");
        }
    }
}

#[test]
fn s10_4_a_message_of_exactly_the_limit_is_taken() {
    let server = Server::over(OVER, &["--message-bytes-max", "1000"]);
    server.expect_answer(&frame(0x82, &[7; 1_000]), &unmasked(0x82, &[7; 1_000]));
    let reason = server.expect_fault(&announced(0x82, 1_001), 1009);
    assert!(reason.contains("1000"), "the reason names the limit: {reason:?}");
}

#[test]
fn s10_4_fragments_past_the_limit_are_1009_from_the_header_that_passes_it() {
    let server = Server::over(OVER, &["--message-bytes-max", "1000"]);
    let start = [frame(0x02, &[7; 600]), frame(0x00, &[7; 300])].concat();
    let whole = [&start[..], &frame(0x80, &[7; 100])].concat();
    server.expect_answer(&whole, &unmasked(0x82, &[7; 1_000]));
    server.expect_fault(&[&start[..], &announced(0x80, 101)].concat(), 1009);
    server.expect_fault(&[&start[..], &announced(0x00, 101)].concat(), 1009);
    server.expect_fault(&[&start[..], &frame(0x00, &[7; 100]), &announced(0x80, 1)].concat(), 1009);
}

#[test]
fn s10_4_a_sum_of_lengths_that_would_wrap_is_1009() {
    let server = shared(OVER);
    for len in [0xffff_ffff, 0x1_0000_0000 - 1_000, 0x7fff_ffff_ffff_ffff] {
        server.expect_fault(&[frame(0x02, &[7; 1_000]), announced(0x80, len)].concat(), 1009);
    }
}

#[test]
fn s10_4_a_new_message_has_the_whole_limit_again() {
    let server = Server::over(OVER, &["--message-bytes-max", "1000"]);
    let one = [frame(0x02, &[7; 999]), frame(0x80, &[7; 1])].concat();
    server.expect_answer(&one.repeat(5), &unmasked(0x82, &[7; 1_000]).repeat(5));
}

#[test]
fn s10_4_a_message_limit_below_a_ping_leaves_pings_alone() {
    let server = Server::over(OVER, &["--message-bytes-max", "10"]);
    server.expect_answer(&frame(0x89, &[7; 125]), &unmasked(0x8a, &[7; 125]));
    server.expect_answer(
        &[frame(0x01, &[b'a'; 10]), frame(0x89, &[7; 125])].concat(),
        &unmasked(0x8a, &[7; 125]),
    );
}

#[test]
fn s10_4_fragments_past_their_count_are_1008_even_when_empty() {
    let server = Server::over(OVER, &["--fragments-max", "40"]);
    let more = |n: usize| frame(0x00, b"").repeat(n);
    // 40 of them, with pings between that do not count.
    let script = [frame(0x02, b"a"), more(20), frame(0x89, b"p").repeat(50), more(18), frame(0x80, b"z")];
    let answer = [unmasked(0x8a, b"p").repeat(50), unmasked(0x82, b"az")];
    server.expect_answer(&script.concat().repeat(2), &answer.concat().repeat(2));
    for last in [0x00, 0x80] {
        let reason = server.expect_fault(&[frame(0x02, b""), more(39), frame(last, b"")].concat(), 1008);
        assert!(reason.contains("40"), "the reason names the limit: {reason:?}");
    }
}

#[test]
fn s10_4_a_message_of_16_mib_is_echoed_whole() {
    let server = Server::over(OVER, &[]);
    let payload: Vec<u8> = (0..16_777_216u32).map(|i| (i % 253) as u8).collect();
    let mut peer = server.open();
    let sender = peer.send_apart(masked(0x82, [1, 2, 3, 4], &payload));
    peer.expect(&unmasked(0x82, &payload)).expect_silence();
    sender.join().expect("no panic").expect("the server takes it all");
}
