//! §5: frames, masking, fragments, control frames; §8.1: UTF-8. Each in both roles where both can meet it.

use crate::duo::{Duo, Event, bare, masked};
use sockeye::{ConnectionState, Fault, wire::frame::Opcode};

/// In both roles: the peer sends these frames, given as first byte and payload, and the connection fails.
#[track_caller]
fn fails(frames: &[(u8, &[u8])], fault: Fault, code: u16, reason: &str) {
    for mut duo in Duo::both() {
        for (lead, payload) in frames {
            duo.feed_frame(*lead, payload);
        }
        duo.expect_fault(fault, code, reason);
        // §7.1.7: nothing that comes later is looked at.
        duo.feed_frame(0x81, b"hi").feed_frame(0x89, b"!").feed_frame(0x88, b"");
        duo.expect_silence().expect_no_message();
    }
}

/// In both roles: a text message in these frames is delivered.
#[track_caller]
fn delivers_text(frames: &[(u8, &[u8])], text: &str) {
    for mut duo in Duo::both() {
        for (lead, payload) in frames {
            duo.expect_no_message().feed_frame(*lead, payload);
        }
        duo.expect_text(text).expect_silence();
    }
}

// ------------------------------------------------------------------ §5.1

#[test]
fn s5_1_a_server_closes_upon_a_frame_that_is_not_masked() {
    for frame in
        [&b"\x81\x02hi"[..], b"\x82\x00", b"\x89\x00", b"\x8a\x00", b"\x88\x02\x03\xe8", b"\x01\x01a"]
    {
        let mut server = Duo::server();
        server.feed(frame).expect_fault(Fault::UnmaskedFrame, 1002, "client frame is not masked");
    }
}

#[test]
fn s5_1_a_client_closes_upon_a_frame_that_is_masked() {
    for frame in [
        &b"\x81\x82\0\0\0\0hi"[..],
        b"\x82\x80\0\0\0\0",
        b"\x89\x80\0\0\0\0",
        b"\x8a\x80\0\0\0\0",
        b"\x88\x82\0\0\0\0\x03\xe8",
        b"\x01\x81\0\0\0\0a",
    ] {
        let mut client = Duo::client();
        client.feed(frame).expect_fault(Fault::MaskedFrame, 1002, "server frame is masked");
    }
}

#[test]
fn s5_1_the_mask_bit_is_judged_though_neither_key_nor_payload_came() {
    Duo::server().feed(b"\x81\x05").expect_fault(Fault::UnmaskedFrame, 1002, "client frame is not masked");
    Duo::client().feed(b"\x81\x85").expect_fault(Fault::MaskedFrame, 1002, "server frame is masked");
}

#[test]
fn s5_1_a_server_masks_nothing_it_sends() {
    let mut server = Duo::server();
    assert!(server.send("hi") && server.send(&b"\0"[..]) && server.ping(b"?") && server.pong(b"!"));
    server.expect_bytes(b"\x81\x02hi\x82\x01\0\x89\x01?\x8a\x01!");
    assert!(server.close(1000, "bye"));
    server.expect_bytes(b"\x88\x05\x03\xe8bye");
}

#[test]
fn s5_1_and_s5_3_a_client_masks_everything_it_sends_each_with_a_new_key() {
    let mut client = Duo::client();
    assert!(client.send("hi"));
    client.expect_bytes(b"\x81\x82\x11\x12\x13\x14\x79\x7b");
    assert!(client.send(&b"\0"[..]));
    client.expect_bytes(b"\x82\x81\x15\x16\x17\x18\x15");
    assert!(client.ping(b"") && client.pong(b"!"));
    client.expect_bytes(b"\x89\x80\x19\x1a\x1b\x1c\x8a\x81\x1d\x1e\x1f\x20\x3c");
    assert!(client.close(1000, ""));
    client.expect_bytes(b"\x88\x82\x21\x22\x23\x24\x22\xca");
}

#[test]
fn s5_1_a_clients_answers_to_ping_close_and_faults_are_masked_too() {
    let mut client = Duo::client();
    client.feed(b"\x89\x01!").expect_bytes(b"\x8a\x81\x11\x12\x13\x14\x30");
    client
        .feed(b"\x88\x02\x03\xe8")
        .expect_close(Some(1000), "")
        .expect_bytes(b"\x88\x82\x15\x16\x17\x18\x16\xfe");
    let mut client = Duo::client();
    client.feed(b"\xc1\x00").expect(Event::Fault(Fault::ReservedBits { bits: 4 }));
    let out = client.take_bytes();
    assert_eq!((&out[..1], out[1] & 0x80, &out[2..6]), (&b"\x88"[..], 0x80, &b"\x11\x12\x13\x14"[..]));
}

// ------------------------------------------------------------------ §5.2

#[test]
fn s5_2_a_reserved_bit_fails_the_connection() {
    let rsv1 = "peer sent RSV1; compression was not negotiated";
    fails(&[(0xc1, b"hi")], Fault::ReservedBits { bits: 4 }, 1002, rsv1);
    for (lead, bits, digits) in
        [(0xa1, 2, "010"), (0x91, 1, "001"), (0xf2, 7, "111"), (0xb9, 3, "011"), (0xd8, 5, "101")]
    {
        let reason = format!("reserved bits {digits} are set; no extension was negotiated that defines them");
        fails(&[(lead, b"hi")], Fault::ReservedBits { bits }, 1002, &reason);
    }
    fails(&[(0x01, b"h"), (0xc0, b"i")], Fault::ReservedBits { bits: 4 }, 1002, rsv1);
}

#[test]
fn s5_2_a_reserved_opcode_fails_the_connection() {
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        let reason = format!("opcode {opcode:#x} is reserved");
        fails(&[(0x80 | opcode, b"")], Fault::ReservedOpcode { opcode }, 1002, &reason);
        fails(&[(opcode, b"hi")], Fault::ReservedOpcode { opcode }, 1002, &reason);
        fails(&[(0x01, b"h"), (0x80 | opcode, b"")], Fault::ReservedOpcode { opcode }, 1002, &reason);
    }
}

#[test]
fn s5_2_each_length_is_read_and_written_in_its_shortest_form() {
    for (len, server_head, client_head) in [
        (0, &b"\x82\x00"[..], &b"\x82\x80\x11\x12\x13\x14"[..]),
        (125, b"\x82\x7d", b"\x82\xfd\x11\x12\x13\x14"),
        (126, b"\x82\x7e\x00\x7e", b"\x82\xfe\x00\x7e\x11\x12\x13\x14"),
        (127, b"\x82\x7e\x00\x7f", b"\x82\xfe\x00\x7f\x11\x12\x13\x14"),
        (65_535, b"\x82\x7e\xff\xff", b"\x82\xfe\xff\xff\x11\x12\x13\x14"),
        (65_536, b"\x82\x7f\0\0\0\0\0\x01\0\0", b"\x82\xff\0\0\0\0\0\x01\0\0\x11\x12\x13\x14"),
    ] {
        let payload: Vec<u8> = (0..len).map(|i| i as u8 ^ (i >> 8) as u8).collect();
        for (mut duo, head) in Duo::both().into_iter().zip([server_head, client_head]) {
            duo.feed_frame(0x82, &payload).expect_binary(&payload).expect_silence();
            assert!(duo.send(&payload[..]));
            let out = duo.take_bytes();
            assert_eq!((&out[..head.len()], out.len()), (head, head.len() + len));
        }
    }
}

#[test]
fn s5_2_a_length_in_more_bytes_than_it_needs_fails_the_connection() {
    for (field, len) in [
        (&b"\x7e\x00\x00"[..], 0),
        (b"\x7e\x00\x7d", 125),
        (b"\x7f\0\0\0\0\0\0\0\x01", 1),
        (b"\x7f\0\0\0\0\0\0\0\x7e", 126),
        (b"\x7f\0\0\0\0\0\0\xff\xff", 65_535),
    ] {
        let reason = format!("length {len} is not in its shortest form");
        let frame = [b"\x82", field].concat();
        Duo::client().feed(&frame).expect_fault(Fault::LengthNotMinimal { len }, 1002, &reason);
        let mut frame = frame;
        frame[1] |= 0x80;
        Duo::server().feed(&frame).expect_fault(Fault::LengthNotMinimal { len }, 1002, &reason);
    }
}

#[test]
fn s5_2_a_64_bit_length_with_its_top_bit_set_fails_the_connection() {
    let reason = "top bit of a 64-bit length is set";
    for rest in [&b"\x80\0\0\0\0\0\0\0"[..], b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\x80\0\0\0\0\0\0\x01"] {
        let frame = [b"\x82\x7f", rest].concat();
        Duo::client().feed(&frame).expect_fault(Fault::LengthTopBit, 1002, reason);
        let frame = [b"\x82\xff", rest].concat();
        Duo::server().feed(&frame).expect_fault(Fault::LengthTopBit, 1002, reason);
    }
}

#[test]
fn s5_2_the_length_counts_neither_header_nor_masking_key() {
    // Behind a payload of exactly so many bytes the next frame begins.
    Duo::server().feed(b"\x82\x82\0\0\0\0ab\x82\x81\0\0\0\0c").expect_binary(b"ab").expect_binary(b"c");
    Duo::client().feed(b"\x82\x02ab\x82\x01c").expect_binary(b"ab").expect_binary(b"c");
}

// ------------------------------------------------------------------ §5.3, §5.7

#[test]
fn s5_7_the_samples_of_the_rfc_are_read() {
    let mut server = Duo::server();
    server.feed(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").expect_text("Hello").expect_silence();
    server.feed(b"\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").expect_bytes(b"\x8a\x05Hello");
    let mut client = Duo::client();
    client.feed(b"\x81\x05\x48\x65\x6c\x6c\x6f").expect_text("Hello");
    client.feed(b"\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f").expect_text("Hello");
    let bytes: Vec<u8> = (0..=255).collect();
    client.feed(&[b"\x82\x7e\x01\x00", &bytes[..]].concat()).expect_binary(&bytes);
    let bytes = [7; 65_536];
    client.feed(&[b"\x82\x7f\0\0\0\0\0\x01\0\0", &bytes[..]].concat()).expect_binary(&bytes);
}

#[test]
fn s5_3_each_frame_is_unmasked_with_its_own_key_from_its_own_first_byte() {
    let mut server = Duo::server();
    server.feed(b"\x01\x83\x01\x02\x03\x04\x49\x67\x6f\x80\x82\xff\x00\xff\x00\x93\x6f").expect_text("Hello");
    server.feed(b"\x82\x84\0\0\0\0\x01\x02\x03\x04").expect_binary(b"\x01\x02\x03\x04");
    // The key goes on where a read cut the payload.
    server
        .feed(b"\x82\x88\x01\x02\x03\x04\x01\x02\x03")
        .feed(b"\x04\x01")
        .feed(b"\x02\x03\x04")
        .expect_binary(&[0; 8]);
}

// ------------------------------------------------------------------ §5.4

#[test]
fn s5_4_fragments_are_one_message_in_their_order() {
    delivers_text(&[(0x01, b"a"), (0x00, b"b"), (0x00, b"c"), (0x80, b"d")], "abcd");
    for mut duo in Duo::both() {
        duo.feed_frame(0x02, b"\x00\xff")
            .feed_frame(0x80, b"\xfe")
            .expect_binary(b"\x00\xff\xfe")
            .expect_silence();
        duo.feed_frame(0x81, b"next").expect_text("next").expect_silence();
    }
}

#[test]
fn s5_4_fragments_may_be_empty() {
    delivers_text(&[(0x01, b""), (0x80, b"")], "");
    delivers_text(&[(0x01, b""), (0x00, b""), (0x00, b"hi"), (0x00, b""), (0x80, b"")], "hi");
    delivers_text(&[(0x81, b"")], "");
    for mut duo in Duo::both() {
        duo.feed_frame(0x02, b"")
            .feed_frame(0x00, b"")
            .expect_no_message()
            .feed_frame(0x80, b"")
            .expect_binary(b"");
    }
}

#[test]
fn s5_4_control_frames_stand_between_fragments_and_are_answered_at_once() {
    for mut duo in Duo::both() {
        duo.feed_frame(0x01, b"He").feed_frame(0x89, b"!").expect_frame(0x8a, b"!").expect_no_message();
        duo.feed_frame(0x00, b"ll").feed_frame(0x8a, b"?").expect_pong(b"?").expect_silence();
        duo.feed_frame(0x89, b"").expect_frame(0x8a, b"").expect_no_message();
        duo.feed_frame(0x80, b"o").expect_text("Hello").expect_silence();
    }
}

#[test]
fn s5_4_a_close_between_fragments_ends_the_connection_and_the_message() {
    for mut duo in Duo::both() {
        duo.feed_frame(0x01, b"He").feed_frame(0x88, b"\x03\xe8").expect_close(Some(1000), "");
        duo.expect_frame(0x88, b"\x03\xe8").feed_frame(0x80, b"llo").expect_silence().expect_no_message();
    }
}

#[test]
fn s5_4_a_control_frame_is_not_fragmented() {
    for (lead, opcode) in [(0x08, Opcode::Close), (0x09, Opcode::Ping), (0x0a, Opcode::Pong)] {
        let reason = format!("{opcode:?} frame is fragmented");
        fails(&[(lead, b"")], Fault::FragmentedControl { opcode }, 1002, &reason);
        fails(&[(0x01, b"a"), (lead, b"hi")], Fault::FragmentedControl { opcode }, 1002, &reason);
    }
}

#[test]
fn s5_4_a_continuation_continues_something() {
    let reason = "continuation without a message to continue";
    for lead in [0x80, 0x00] {
        fails(&[(lead, b"hi")], Fault::UnexpectedContinuation, 1002, reason);
        fails(&[(lead, b"")], Fault::UnexpectedContinuation, 1002, reason);
    }
    for mut duo in Duo::both() {
        duo.feed_frame(0x81, b"whole").expect_text("whole");
        duo.feed_frame(0x80, b"more").expect_fault(Fault::UnexpectedContinuation, 1002, reason);
        let mut duo = if duo.role() == sockeye::Role::Server { Duo::server() } else { Duo::client() };
        duo.feed_frame(0x01, b"a").feed_frame(0x80, b"b").expect_text("ab");
        duo.feed_frame(0x00, b"more").expect_fault(Fault::UnexpectedContinuation, 1002, reason);
    }
}

#[test]
fn s5_4_the_fragments_of_two_messages_are_not_interleaved() {
    for (lead, opcode) in
        [(0x01, Opcode::Text), (0x81, Opcode::Text), (0x02, Opcode::Binary), (0x82, Opcode::Binary)]
    {
        let reason = format!("{opcode:?} frame while a message is unfinished");
        for first in [0x01, 0x02] {
            fails(&[(first, b"a"), (lead, b"b")], Fault::ExpectedContinuation { opcode }, 1002, &reason);
            fails(
                &[(first, b""), (0x00, b""), (lead, b"")],
                Fault::ExpectedContinuation { opcode },
                1002,
                &reason,
            );
        }
    }
}

#[test]
fn s5_4_the_type_of_a_message_is_its_first_fragments() {
    // As binary these bytes pass, as text they do not.
    for mut duo in Duo::both() {
        duo.feed_frame(0x02, b"\xff").feed_frame(0x80, b"\xfe").expect_binary(b"\xff\xfe").expect_silence();
        duo.feed_frame(0x01, b"a").feed_frame(0x80, b"\xff");
        duo.expect_fault(Fault::InvalidUtf8, 1007, "text message is not UTF-8");
    }
}

// ------------------------------------------------------------------ §5.5

#[test]
fn s5_5_a_control_frame_has_at_most_125_bytes() {
    let payload = [b'x'; 125];
    for mut duo in Duo::both() {
        duo.feed_frame(0x89, &payload).expect_frame(0x8a, &payload).expect_silence();
        duo.feed_frame(0x8a, &payload).expect_pong(&payload);
        let body = [&b"\x03\xe8"[..], &[b'x'; 123]].concat();
        duo.feed_frame(0x88, &body).expect_close(Some(1000), &"x".repeat(123)).expect_frame(0x88, &body);
    }
    for (lead, opcode) in [(0x88, Opcode::Close), (0x89, Opcode::Ping), (0x8a, Opcode::Pong)] {
        let reason = format!("{opcode:?} frame of more than 125 bytes");
        for length in [126, 127] {
            // Judged by the first two bytes.
            Duo::client().feed(&[lead, length]).expect_fault(Fault::ControlTooLong { opcode }, 1002, &reason);
            Duo::server().feed(&[lead, 0x80 | length]).expect_fault(
                Fault::ControlTooLong { opcode },
                1002,
                &reason,
            );
        }
    }
}

#[test]
fn s5_5_no_longer_control_frame_is_sent() {
    for mut duo in Duo::both() {
        assert!(!duo.ping(&[0; 126]) && !duo.pong(&[0; 126]));
        duo.expect_silence();
        assert!(duo.ping(&[7; 125]) && duo.pong(&[8; 125]));
        duo.expect_frame(0x89, &[7; 125]).expect_frame(0x8a, &[8; 125]).expect_silence();
    }
}

#[test]
fn s5_5_2_each_ping_is_answered_by_a_pong_of_its_payload_in_order() {
    for mut duo in Duo::both() {
        let pings = [duo.frame(0x89, b"one"), duo.frame(0x89, b""), duo.frame(0x89, b"\xff\x00")].concat();
        duo.feed(&pings).expect_frame(0x8a, b"one").expect_frame(0x8a, b"").expect_frame(0x8a, b"\xff\x00");
        duo.expect_silence().expect_no_message();
    }
}

#[test]
fn s5_5_2_ping_between_fragments_is_answered_before_the_message() {
    let mut server = Duo::server();
    server.feed(b"\x01\x82\0\0\0\0He"); // Text, not final
    server.feed(b"\x89\x81\0\0\0\0!"); // Ping "!"
    server.expect_bytes(b"\x8a\x01!").expect_no_message();
    server.feed(b"\x80\x83\0\0\0\0llo").expect_text("Hello");
}

#[test]
fn s5_5_2_a_ping_is_answered_once_it_is_whole_and_not_before() {
    for mut duo in Duo::both() {
        let frame = duo.frame(0x89, b"hi");
        let (last, rest) = frame.split_last().unwrap();
        for byte in rest {
            duo.feed(&[*byte]).expect_silence();
        }
        duo.feed(&[*last]).expect_frame(0x8a, b"hi").expect_silence().expect_no_message();
    }
}

#[test]
fn s5_5_2_a_ping_behind_the_peers_close_is_not_answered() {
    for mut duo in Duo::both() {
        let frames = [duo.frame(0x88, b""), duo.frame(0x89, b"!")].concat();
        duo.feed(&frames).expect_close(None, "").expect_frame(0x88, b"").expect_silence();
    }
}

#[test]
fn s5_5_2_a_ping_between_our_close_and_the_peers_is_answered() {
    // "MUST send a Pong frame in response, unless it already received a Close frame"; §5.5.1 forbids data frames only.
    for mut duo in Duo::both() {
        assert!(duo.close(1000, ""));
        duo.expect_frame(0x88, b"\x03\xe8").expect_silence();
        duo.feed_frame(0x89, b"!").expect_frame(0x8a, b"!").expect_silence();
        duo.feed_frame(0x88, b"\x03\xe8").expect_close(Some(1000), "").expect_silence();
    }
}

#[test]
fn s5_5_3_an_unasked_pong_is_answered_by_nothing() {
    for mut duo in Duo::both() {
        duo.feed_frame(0x8a, b"unasked").expect_pong(b"unasked").expect_silence();
        duo.feed_frame(0x8a, b"").expect_pong(b"").expect_silence();
        assert_eq!(duo.state(), ConnectionState::Open);
    }
}

// ------------------------------------------------------------------ §5.6, §8.1

#[test]
fn s5_6_binary_is_any_bytes_and_text_is_utf_8() {
    let bytes: Vec<u8> = (0..=255).rev().collect();
    for mut duo in Duo::both() {
        duo.feed_frame(0x82, &bytes).expect_binary(&bytes).expect_silence();
        for text in [
            "",
            "\0",
            "aé€𝄞",
            "\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
            "\u{d7ff}\u{e000}\u{feff}",
        ] {
            duo.feed_frame(0x81, text.as_bytes()).expect_text(text).expect_silence();
        }
    }
}

/// Byte sequences that are not UTF-8 (RFC 3629), each with how many of its bytes show it.
const NOT_UTF_8: [(&[u8], usize); 21] = [
    (b"\x80", 1),
    (b"\xbf", 1),
    (b"\xc0\x80", 1),
    (b"\xc1\xbf", 1),
    (b"\xc2A", 2),
    (b"\xc2\xc2", 2),
    (b"\xe0\x80\x80", 2),
    (b"\xe0\x9f\xbf", 2),
    (b"\xe2\x82A", 3),
    (b"\xe2A", 2),
    (b"\xed\xa0\x80", 2),
    (b"\xed\xbf\xbf", 2),
    (b"\xf0\x80\x80\x80", 2),
    (b"\xf0\x8f\xbf\xbf", 2),
    (b"\xf0\x9d\x84A", 4),
    (b"\xf4\x90\x80\x80", 2),
    (b"\xf5\x80\x80\x80", 1),
    (b"\xf8\x88\x80\x80\x80", 1),
    (b"\xfc\x84\x80\x80\x80\x80", 1),
    (b"\xfe", 1),
    (b"\xff", 1),
];

#[test]
fn s8_1_text_that_is_not_utf_8_fails_the_connection_with_1007() {
    for (bad, _) in NOT_UTF_8 {
        let text = [b"caf\xc3\xa9 ", bad, b" noir"].concat();
        fails(&[(0x81, &text)], Fault::InvalidUtf8, 1007, "text message is not UTF-8");
        fails(&[(0x01, &text), (0x80, b"")], Fault::InvalidUtf8, 1007, "text message is not UTF-8");
    }
}

#[test]
fn s8_1_text_that_ends_inside_a_character_fails_the_connection() {
    for cut in [&b"\xc3"[..], b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9d", b"\xf0\x9d\x84"] {
        fails(&[(0x81, cut)], Fault::InvalidUtf8, 1007, "text message is not UTF-8");
        fails(&[(0x01, cut), (0x80, b"")], Fault::InvalidUtf8, 1007, "text message is not UTF-8");
        fails(&[(0x01, b""), (0x80, cut)], Fault::InvalidUtf8, 1007, "text message is not UTF-8");
    }
}

#[test]
fn s8_1_a_character_may_be_cut_by_frames_anywhere() {
    delivers_text(&[(0x01, b"\xf0"), (0x00, b"\x9d"), (0x00, b""), (0x00, b"\x84"), (0x80, b"\x9e")], "𝄞");
    delivers_text(&[(0x01, b"a\xe2\x82"), (0x80, b"\xac!")], "a€!");
    delivers_text(&[(0x01, b"\xc3"), (0x80, b"\xa9")], "é");
    fails(&[(0x01, b"\xe2\x82"), (0x80, b"!")], Fault::InvalidUtf8, 1007, "text message is not UTF-8");
}

#[test]
fn s8_1_text_fails_at_the_first_byte_that_cannot_be_right_though_its_frame_goes_on() {
    for (bad, shown) in NOT_UTF_8 {
        for mut duo in Duo::both() {
            let text = [b"caf\xc3\xa9 ", bad, &[b'x'; 90][..]].concat();
            let frame = duo.frame(0x81, &text);
            let upto = frame.len() - text.len() + 6 + shown;
            for byte in &frame[..upto - 1] {
                duo.feed(&[*byte]).expect_silence().expect_no_message();
            }
            duo.feed(&frame[upto - 1..upto]).expect_fault(
                Fault::InvalidUtf8,
                1007,
                "text message is not UTF-8",
            );
        }
    }
}

#[test]
fn s8_1_text_fails_at_the_end_of_a_fragment_that_cannot_be_right_though_the_message_goes_on() {
    fails(&[(0x01, b"a"), (0x00, b"\xed\xa0")], Fault::InvalidUtf8, 1007, "text message is not UTF-8");
    fails(&[(0x01, b"\xf4"), (0x00, b"\x90")], Fault::InvalidUtf8, 1007, "text message is not UTF-8");
}

#[test]
fn s8_1_a_whole_frame_with_the_bad_byte_anywhere_in_a_long_text_fails() {
    for at in [0, 1, 63, 64, 65, 199] {
        let mut text = vec![b'a'; 200];
        text[at] = 0xff;
        for (frame, mut duo) in [masked(0x81, &text), bare(0x81, &text)].iter().zip(Duo::both()) {
            duo.feed(frame).expect_fault(Fault::InvalidUtf8, 1007, "text message is not UTF-8");
        }
    }
}
