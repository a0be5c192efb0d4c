//! UTF-8 in messages and reasons: RFC 6455 §8.1 and RFC 3629.
//!
//! What cannot become right any more fails the connection at once: inside a frame, inside a message.

use super::OVER;
use crate::peer::{announced, frame, masked, unmasked};
use crate::server::shared;

/// One of each kind of code point, at the ends of its range.
const GOOD: [&str; 14] = [
    "\0",
    "\x7f",
    "\u{80}",
    "\u{7ff}",
    "\u{800}",
    "\u{fff}",
    "\u{1000}",
    "\u{d7ff}",
    "\u{e000}",
    "\u{feff}", // a byte order mark is text like any other
    "\u{fffe}",
    "\u{ffff}",
    "\u{10000}",
    "\u{10ffff}",
];

/// Sequences that no text begins with, each impossible at its last byte and not before.
#[rustfmt::skip]
const BAD: [&[u8]; 34] = [
    // No first byte.
    b"\x80", b"\xbf", b"\xc0", b"\xc1", b"\xf5", b"\xf8", b"\xfc", b"\xfe", b"\xff",
    // No second, third or fourth byte, among them the terminator of other languages.
    b"\xc2A", b"\xc2\x7f", b"\xc2\xc0", b"\xdf\xff", b"\xc2\0",
    b"\xe1A", b"\xe1\x80A", b"\xe1\x80\xc0", b"\xef\xbf\xff", b"\xe1\x80\0",
    b"\xf1A", b"\xf1\x80A", b"\xf1\x80\x80A", b"\xf1\x80\x80\xc0", b"\xf3\xbf\xff", b"\xf1\x80\x80\0",
    // Longer than need be.
    b"\xe0\x80", b"\xe0\x9f", b"\xf0\x80", b"\xf0\x8f",
    // Surrogates.
    b"\xed\xa0", b"\xed\xbf",
    // Past U+10FFFF.
    b"\xf4\x90", b"\xf4\xbf", b"\xf4\x8f\xc0",
];

#[test]
fn s5_6_text_of_every_kind_is_echoed() {
    let server = shared(OVER);
    let mut peer = server.open();
    for text in GOOD {
        peer.send(&masked(0x81, [0xa5, 0x5a, 0xff, 1], text.as_bytes()))
            .expect(&unmasked(0x81, text.as_bytes()));
    }
    let all = GOOD.concat();
    peer.send(&frame(0x81, all.as_bytes())).expect(&unmasked(0x81, all.as_bytes())).expect_silence();
}

#[test]
fn s5_6_a_code_point_may_be_cut_by_fragments_at_every_byte() {
    let server = shared(OVER);
    let mut peer = server.open();
    let text = "κόσμε €\u{10ffff}".as_bytes();
    for cut in 0..=text.len() {
        peer.send(&frame(0x01, &text[..cut])).expect_silence();
        peer.send(&frame(0x00, b"")).expect_silence();
        peer.send(&frame(0x80, &text[cut..])).expect(&unmasked(0x81, text));
    }
    peer.expect_silence();
}

#[test]
fn s5_6_a_code_point_may_be_cut_by_segments_at_every_byte() {
    let server = shared(OVER);
    let (mut neighbour, mut peer) = (server.open(), server.open());
    let text = "κόσμε €\u{10ffff}".as_bytes();
    let script = masked(0x81, [1, 2, 3, 4], text);
    for cut in 6..script.len() {
        peer.send(&script[..cut]).expect_silence_beside(&mut neighbour);
        peer.send(&script[cut..]).expect(&unmasked(0x81, text));
    }
}

#[test]
fn s5_6_one_byte_a_fragment_is_still_text() {
    let server = shared(OVER);
    let mut peer = server.open();
    let text = GOOD.concat().into_bytes();
    let mut script = frame(0x01, b"");
    text.iter().for_each(|byte| script.extend(masked(0x00, [*byte, 1, 2, 3], &[*byte])));
    script.extend(frame(0x80, b""));
    peer.send(&script).expect(&unmasked(0x81, &text)).expect_silence();
}

#[test]
fn s5_6_long_text_is_echoed_wherever_reads_cut_it() {
    let server = shared(OVER);
    for (lead, point) in
        [("", "€"), ("a", "€"), ("ab", "€"), ("", "😀"), ("a", "😀"), ("ab", "😀"), ("abc", "😀")]
    {
        let text = lead.to_owned() + &point.repeat(900_000 / point.len());
        let mut peer = server.open();
        let sender = peer.send_apart(masked(0x81, [3, 1, 4, 1], text.as_bytes()));
        peer.expect(&unmasked(0x81, text.as_bytes())).expect_silence();
        sender.join().expect("no panic").expect("the server takes it all");
    }
}

#[test]
fn s8_1_impossible_bytes_are_1007() {
    let server = shared(OVER);
    for bad in BAD {
        server.expect_fault(&frame(0x81, bad), 1007);
    }
}

#[test]
fn s8_1_impossible_bytes_are_1007_before_the_frame_is_whole() {
    let server = shared(OVER);
    for bad in BAD {
        let script = [&announced(0x81, 1_000)[..], "fine so far: €".as_bytes(), bad].concat();
        server.expect_fault(&script, 1007);
    }
}

#[test]
fn s8_1_impossible_bytes_are_1007_before_the_message_is_whole() {
    let server = shared(OVER);
    for bad in BAD {
        server.expect_fault(&frame(0x01, bad), 1007);
        server.expect_fault(&[frame(0x01, b"fine"), frame(0x00, bad)].concat(), 1007);
    }
}

#[test]
fn s8_1_impossible_bytes_are_1007_across_fragments() {
    let server = shared(OVER);
    for bad in BAD {
        let mut script = frame(0x01, b"");
        bad.iter().for_each(|byte| script.extend(frame(0x00, &[*byte])));
        server.expect_fault(&script, 1007);
    }
}

#[test]
fn s8_1_bytes_are_suffered_until_the_impossible_one() {
    let server = shared(OVER);
    for bad in BAD {
        let (last, fine) = bad.split_last().expect("not empty");
        let mut peer = server.open();
        peer.send(&frame(0x01, fine)).expect_silence();
        peer.send(&frame(0x00, &[*last])).expect_fault(1007);
    }
}

#[test]
fn s8_1_bytes_of_one_frame_are_suffered_until_the_impossible_one() {
    let server = shared(OVER);
    let mut neighbour = server.open();
    for bad in BAD {
        let (last, fine) = bad.split_last().expect("not empty");
        let mut peer = server.open();
        peer.send(&announced(0x81, 500)).send(fine).expect_silence_beside(&mut neighbour);
        peer.send(&[*last]).expect_fault(1007);
    }
}

#[test]
fn s8_1_every_first_byte_is_judged_as_the_standard_library_does() {
    let server = shared(OVER);
    let mut good = server.open();
    for first in 0..=255u8 {
        let payload = [first, b'A'];
        match std::str::from_utf8(&payload) {
            Ok(_) => drop(good.send(&frame(0x81, &payload)).expect(&unmasked(0x81, &payload))),
            Err(_) => drop(server.expect_fault(&frame(0x01, &payload), 1007)),
        }
    }
    good.expect_silence();
}

#[test]
fn s8_1_second_bytes_are_judged_as_the_standard_library_does() {
    let server = shared(OVER);
    for first in [0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5] {
        for second in [0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0] {
            let payload = [first, second];
            match std::str::from_utf8(&payload) {
                // Whole, or cut short: nothing is wrong until the message ends.
                Err(error) if error.error_len().is_some() => {
                    server.expect_fault(&frame(0x01, &payload), 1007);
                }
                _ => drop(server.open().send(&frame(0x01, &payload)).expect_silence()),
            }
        }
    }
}

#[test]
fn s8_1_text_that_ends_inside_a_code_point_is_1007() {
    let server = shared(OVER);
    for cut in [
        b"\xc2".as_slice(),
        b"\xe1",
        b"\xe1\x80",
        b"\xf1",
        b"\xf1\x80",
        b"\xf1\x80\x80",
        b"fine \xf4\x8f\xbf",
    ] {
        server.expect_fault(&frame(0x81, cut), 1007);
        server.expect_fault(&[frame(0x01, cut), frame(0x80, b"")].concat(), 1007);
        server.expect_fault(&[frame(0x01, b"fine"), frame(0x80, cut)].concat(), 1007);
    }
}

#[test]
fn s8_1_a_cut_code_point_is_not_finished_by_the_next_message() {
    let server = shared(OVER);
    let mut peer = server.open();
    peer.send(&[frame(0x81, "€".as_bytes()), frame(0x81, b"\xe2\x82"), frame(0x81, b"\xac")].concat());
    peer.expect(b"\x81\x03\xe2\x82\xac").expect_fault(1007);
}

#[test]
fn s8_1_surrogate_pairs_are_1007() {
    let server = shared(OVER);
    server.expect_fault(&frame(0x81, b"\xed\xa0\xbd\xed\xb8\x80"), 1007);
    server.expect_fault(&frame(0x81, b"\xed\xaf\xbf\xed\xbf\xbf"), 1007);
}

#[test]
fn s8_1_an_impossible_byte_deep_in_a_long_text_is_1007() {
    let server = shared(OVER);
    for at in [63, 64, 65, 4_095, 65_535, 65_536, 262_143, 262_144, 262_145, 700_000] {
        let mut text = vec![b'a'; at];
        text.push(0xff);
        let mut peer = server.open();
        // One byte short of the frame, so that only the byte itself can be what fails it.
        peer.send_regardless(&[announced(0x81, at as u64 + 2), text].concat()).expect_fault(1007);
    }
}

#[test]
fn s8_1_a_code_point_cut_by_fragments_is_carried_over_pings() {
    let server = shared(OVER);
    let script = b"\x01\x81\0\0\0\0\xf0\x89\x81\0\0\0\0\xff\x00\x82\0\0\0\0\x9f\x98\x8a\x81\0\0\0\0\x80\x80\x81\0\0\0\0\x80";
    server.expect_answer(script, b"\x8a\x01\xff\x81\x04\xf0\x9f\x98\x80");
}

#[test]
fn s5_6_binary_is_anything() {
    let server = shared(OVER);
    let all: Vec<u8> = (0..=255).collect();
    server.expect_answer(&frame(0x82, &all), &unmasked(0x82, &all));
    let script = [frame(0x02, b"\xff"), frame(0x00, b"\xc0\x80"), frame(0x80, b"\xf4\x90")].concat();
    server.expect_answer(&script, b"\x82\x05\xff\xc0\x80\xf4\x90");
}

#[test]
fn s8_1_the_payload_of_pings_and_pongs_is_anything() {
    let server = shared(OVER);
    server.expect_answer(b"\x89\x82\0\0\0\0\xc0\xff\x8a\x82\0\0\0\0\xc0\xff", b"\x8a\x02\xc0\xff");
}

#[test]
fn s7_1_6_a_reason_that_is_no_text_is_1007() {
    let server = shared(OVER);
    for bad in BAD {
        server.expect_fault(&frame(0x88, &[b"\x03\xe8fine so far ", bad].concat()), 1007);
    }
}

#[test]
fn s7_1_6_a_reason_that_ends_inside_a_code_point_is_1007() {
    let server = shared(OVER);
    for cut in [b"\x03\xe8\xc2".as_slice(), b"\x03\xe8bye\xe2\x82", b"\x03\xe8\xf0\x9f\x98"] {
        server.expect_fault(&frame(0x88, cut), 1007);
    }
}

#[test]
fn s7_1_6_a_reason_of_any_text_is_taken() {
    let server = shared(OVER);
    for text in GOOD {
        let payload = [b"\x03\xe8".as_slice(), text.as_bytes()].concat();
        server.open().send(&frame(0x88, &payload)).expect(&unmasked(0x88, &payload)).expect_end();
    }
}
