//! §6 and §7.2.2: compressed messages that come, whole and in pieces, right and wrong, in both roles.

use super::{HELLO, HELLO_AGAIN, both, both_taking_over, json, noise, without_contexts};
use crate::duo::{Duo, puff, puff::Puff};
use sockeye::{Fault, Role, wire::deflate::Compressor, wire::frame::Opcode};

const NO_DEFLATE: &str = "compressed message is not DEFLATE data";

/// Every way of writing "Hello" that §7.2.3 has.
const EXAMPLES: [&[u8]; 5] = [
    HELLO,                                                   // §7.2.3.1
    b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",         // §7.2.3.3
    b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",                     // §7.2.3.4
    b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", // §7.2.3.5
    b"\xf3\x48\xcd\xc9\xc9\x07\x00",                         // §7.2.3.4, without the block behind it
];

fn compress(message: &[u8], level: u8, window_bits: u8) -> Vec<u8> {
    let mut out = vec![0; message.len() * 9 / 8 + 100];
    let len = Compressor::new(level, window_bits).compress(message, &mut out).expect("there is room");
    out.truncate(len);
    out
}

// ------------------------------------------------------------------ §7.2.3, the examples

#[test]
fn s7_2_3_1_one_frame_with_the_very_bytes_of_the_rfc() {
    let [mut server, mut client] = both(|_| {});
    client.feed(b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00").expect_text("Hello");
    server.feed(b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\x00").expect_text("Hello");
    // In two frames, as there; only the first has RSV1.
    client.feed(b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00").expect_text("Hello");
    server.feed(b"\x41\x83\0\0\0\0\xf2\x48\xcd\x80\x84\0\0\0\0\xc9\xc9\x07\x00").expect_text("Hello");
}

#[test]
fn s7_2_3_all_examples_whole_and_in_fragments_with_control_frames_between() {
    for mut duo in both(|_| {}).into_iter().chain(both_taking_over(|_| {})) {
        for example in EXAMPLES {
            duo.feed_frame(0xc1, example).expect_text("Hello").expect_silence();
            duo.feed_frame(0xc2, example).expect_binary(b"Hello").expect_silence();
            for cut in 0..=example.len() {
                duo.feed_frame(0x41, &example[..cut]).feed_frame(0x89, b"!").expect_frame(0x8a, b"!");
                duo.feed_frame(0x00, b"").feed_frame(0x8a, b"?").expect_pong(b"?").expect_no_message();
                duo.feed_frame(0x80, &example[cut..]).expect_text("Hello").expect_silence();
            }
            for byte in &example[..example.len() - 1] {
                let lead = if std::ptr::eq(byte, &example[0]) { 0x41 } else { 0x00 };
                duo.feed_frame(lead, &[*byte]).expect_no_message();
            }
            duo.feed_frame(0x80, &example[example.len() - 1..]).expect_text("Hello");
        }
    }
}

#[test]
fn s7_2_3_2_the_second_hello_refers_to_the_first_where_contexts_are_taken_over() {
    for mut duo in both_taking_over(|_| {}) {
        duo.feed_frame(0xc1, HELLO).expect_text("Hello");
        duo.feed_frame(0xc1, HELLO_AGAIN).expect_text("Hello");
        duo.feed_frame(0x81, b"plain").expect_text("plain"); // it is no part of the window
        duo.feed_frame(0xc1, HELLO_AGAIN).expect_text("Hello");
    }
    for mut duo in both(|_| {}) {
        duo.feed_frame(0xc1, HELLO).expect_text("Hello");
        duo.feed_frame(0xc1, HELLO_AGAIN).expect_fault(Fault::InvalidDeflate, 1007, NO_DEFLATE);
    }
}

#[test]
fn s7_2_3_6_empty_messages_are_one_byte() {
    for mut duo in both(|_| {}).into_iter().chain(both_taking_over(|_| {})) {
        // §7.2.3.6; an empty fixed block before it; with a final block; that alone.
        for empty in [&b"\x00"[..], b"\x02\x00", b"\x03\x00\x00", b"\x03\x00", b"\x01"] {
            duo.feed_frame(0xc1, empty).expect_text("");
            duo.feed_frame(0x42, b"").feed_frame(0x80, empty).expect_binary(b"");
        }
        duo.feed_frame(0xc1, HELLO).expect_text("Hello");
        duo.feed_frame(0x81, b"").expect_text(""); // and one that is not compressed
    }
}

#[test]
fn s6_compressed_and_other_messages_may_follow_each_other() {
    for mut duo in both(|_| {}).into_iter().chain(both_taking_over(|_| {})) {
        for _ in 0..3 {
            duo.feed_frame(0x81, b"one").expect_text("one").feed_frame(0xc1, HELLO).expect_text("Hello");
            duo.feed_frame(0x02, b"tw").feed_frame(0x80, b"o").expect_binary(b"two");
            duo.feed_frame(0x42, &HELLO[..2]).feed_frame(0x80, &HELLO[2..]).expect_binary(b"Hello");
        }
    }
}

#[test]
fn s7_2_2_any_level_and_any_window_is_inflated() {
    let message = json(3, 70_000);
    for mut duo in both(|_| {}) {
        for level in 1..=9 {
            for bits in 9..=15 {
                duo.feed_frame(0xc1, &compress(message.as_bytes(), level, bits)).expect_text(&message);
            }
        }
        let noise = noise(9, 100_000);
        duo.feed_frame(0xc2, &puff::stored(&noise)).expect_binary(&noise);
    }
}

// ------------------------------------------------------------------ §6.1, RSV1

#[test]
fn s6_1_rsv1_without_an_agreement_fails_with_1002_and_says_why() {
    for mut duo in Duo::both() {
        let reason = "peer sent RSV1; compression was not negotiated";
        duo.feed_frame(0xc1, HELLO).expect_fault(Fault::ReservedBits { bits: 4 }, 1002, reason);
    }
}

#[test]
fn s6_1_rsv1_on_a_continuation_fails_with_1002() {
    for first in [0x41, 0x01] {
        for lead in [0x40, 0xc0] {
            for mut duo in both(|_| {}) {
                let fault = Fault::CompressedFragment { opcode: Opcode::Continuation };
                let reason = "RSV1 on a Continuation frame; it belongs on a message's first";
                duo.feed_frame(first, b"").feed_frame(lead, HELLO).expect_fault(fault, 1002, reason);
            }
        }
    }
}

#[test]
fn s6_1_rsv1_on_a_control_frame_fails_with_1002() {
    for (lead, opcode) in [(0xc8, Opcode::Close), (0xc9, Opcode::Ping), (0xca, Opcode::Pong)] {
        for mut duo in both(|_| {}) {
            let reason = format!("RSV1 on a {opcode:?} frame; it belongs on a message's first");
            duo.feed_frame(lead, b"").expect_fault(Fault::CompressedFragment { opcode }, 1002, &reason);
        }
    }
}

#[test]
fn s6_1_other_reserved_bits_fail_with_1002_beside_rsv1_too() {
    for bits in [1_u8, 2, 3, 5, 6, 7] {
        for mut duo in both(|_| {}) {
            duo.feed_frame(0x81 | bits << 4, HELLO);
            let reason =
                format!("reserved bits {bits:03b} are set; no extension was negotiated that defines them");
            duo.expect_fault(Fault::ReservedBits { bits }, 1002, &reason);
        }
    }
}

#[test]
fn s6_1_rsv1_with_a_reserved_opcode_fails_with_1002() {
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        for mut duo in both(|_| {}) {
            let reason = format!("opcode {opcode:#x} is reserved");
            duo.feed_frame(0xc0 | opcode, b"").expect_fault(Fault::ReservedOpcode { opcode }, 1002, &reason);
        }
    }
}

#[test]
fn s6_1_a_new_compressed_message_while_one_is_unfinished_fails_with_1002() {
    for mut duo in both(|_| {}) {
        let fault = Fault::ExpectedContinuation { opcode: Opcode::Text };
        duo.feed_frame(0x41, HELLO).feed_frame(0xc1, HELLO);
        duo.expect_fault(fault, 1002, "Text frame while a message is unfinished");
    }
}

// ------------------------------------------------------------------ what is no message

#[test]
fn s8_1_of_rfc6455_text_that_inflates_to_no_utf8_fails_with_1007() {
    for text in [&b"caf\xe9"[..], b"\xed\xa0\x80", b"\xf0\x9d\x84", b"a\xff"] {
        for mut duo in both(|_| {}).into_iter().chain(both_taking_over(|_| {})) {
            let payload = compress(text, 6, 15);
            duo.feed_frame(0xc2, &payload).expect_binary(text);
            let (first, rest) = payload.split_at(2);
            duo.feed_frame(0x41, first).feed_frame(0x80, rest);
            duo.expect_fault(Fault::InvalidUtf8, 1007, "text message is not UTF-8");
        }
    }
}

#[test]
fn s7_2_2_garbage_fails_with_1007() {
    let garbage: [&[u8]; 12] = [
        b"\x06", // a block of kind 3
        b"\x07",
        b"\xff\xff\xff\xff",
        b"\x00\x05\x00\xfa\xfeHello\x00", // the complement of a length is wrong
        b"\x02\x01",                      // refers to what is not there
        b"\xf2\x48\xcd\xc9\xc9\x07\x00\x06", // behind a whole message
        b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff", // what is not sent was sent
        b"\x04\xff\xff\xff\xff\xff\xff\xff\xff", // a dynamic block that is none
        b"Hello, this is no DEFLATE at all",
        b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", // a frame in a frame
        b"\x78\x9c\xf2\x48\xcd\xc9\xc9\x07\x00", // in zlib's wrapping
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xf2\x48\xcd\xc9\xc9\x07\x00", // in gzip's
    ];
    for garbage in garbage {
        assert!(Puff::default().inflate(garbage, 1 << 20).is_err(), "{}", garbage.escape_ascii());
        for mut duo in both(|_| {}).into_iter().chain(both_taking_over(|_| {})) {
            duo.feed_frame(0xc2, garbage).expect_fault(Fault::InvalidDeflate, 1007, NO_DEFLATE);
        }
        for mut duo in both(|_| {}).into_iter().chain(both_taking_over(|_| {})) {
            duo.feed_frame(0x41, garbage).expect_no_message();
            duo.feed_frame(0x80, b"").expect_fault(Fault::InvalidDeflate, 1007, NO_DEFLATE);
        }
    }
}

/// Also a payload of no byte at all: the first bits of the block that ends it are missing.
#[test]
fn s7_2_2_every_truncation_fails_with_1007_and_with_context_takeover_too() {
    let text = json(5, 1_500);
    let (zeros, noise) = ([0; 5_000], noise(4, 300));
    let examples = EXAMPLES.iter().take(4).map(|example| example.to_vec());
    let made = [
        compress(text.as_bytes(), 9, 15),
        compress(text.as_bytes(), 1, 9),
        compress(&zeros, 6, 15),
        puff::stored(&noise),
        puff::stored(&[0; 40]),
        puff::stored(&[0xff; 40]),
    ];
    for payload in examples.chain(made) {
        for cut in 0..payload.len() {
            // Cut where a block ends it is a shorter message.
            if let Ok(message) = Puff::default().inflate(&payload[..cut], 1 << 20) {
                for mut duo in both(|_| {}) {
                    duo.feed_frame(0xc2, &payload[..cut]).expect_binary(&message);
                }
                continue;
            }
            for mut duo in both(without_contexts).into_iter().chain(both_taking_over(|_| {})) {
                duo.feed_frame(0xc1, HELLO).expect_text("Hello");
                duo.feed_frame(0xc2, &payload[..cut]).expect_fault(Fault::InvalidDeflate, 1007, NO_DEFLATE);
            }
        }
    }
}

#[test]
fn s7_2_2_after_a_fault_of_one_connection_others_that_share_its_inflater_are_served() {
    use crate::duo::{
        REQUEST,
        drive::{Drive, Seen},
        masked,
    };
    let mut drive = Drive::new(|_, _, _| {});
    let request = super::with_lines(REQUEST, &["permessage-deflate"]);
    let ids = [drive.accept(), drive.accept()];
    for id in ids {
        drive.feed(id, &request).expect_seen(id, Seen::Open).take_bytes(id);
    }
    for bad in [&b"\x06"[..], b"\xf2\x48\xcd", b"\x00\x05\x00\xfa\xffHel"] {
        let bad_one = drive.accept();
        drive.feed(bad_one, &request).expect_seen(bad_one, Seen::Open);
        drive.feed(bad_one, &masked(0xc1, bad));
        let out = drive.take_bytes(bad_one);
        assert!(out.ends_with(&[&b"\x88\x28\x03\xef"[..], NO_DEFLATE.as_bytes()].concat()));
        drive.expect_close(bad_one, 1007, NO_DEFLATE, sockeye::Cause::Fault(Fault::InvalidDeflate));
        for id in ids {
            drive.feed(id, &masked(0xc1, HELLO)).expect_text(id, "Hello");
        }
    }
}

// ------------------------------------------------------------------ §7.2.3.4, final blocks

#[test]
fn s7_2_3_4_a_final_block_may_stand_anywhere_and_messages_go_on_after_it() {
    let hello_final = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
    let stored_final = b"\x01\x05\x00\xfa\xffHello";
    let messages: [(Vec<u8>, &str); 7] = [
        ([&hello_final[..], b"\x00"].concat(), "Hello"),
        ([&hello_final[..], HELLO].concat(), "HelloHello"),
        ([&hello_final[..], hello_final, stored_final, HELLO].concat(), "HelloHelloHelloHello"),
        // Behind it there may be a reference to what was before it.
        ([&hello_final[..], HELLO_AGAIN].concat(), "HelloHello"),
        ([&stored_final[..], hello_final].concat(), "HelloHello"),
        ([&b"\x03\x00\x03\x00\x01\0\0\xff\xff"[..], HELLO].concat(), "Hello"),
        (b"\x03\x00".to_vec(), ""),
    ];
    for mut duo in both(|_| {}).into_iter().chain(both_taking_over(|_| {})) {
        for (payload, text) in &messages {
            duo.feed_frame(0xc1, payload).expect_text(text);
            duo.feed_frame(0xc1, HELLO).expect_text("Hello");
            for cut in 1..payload.len() {
                duo.feed_frame(0x41, &payload[..cut]).feed_frame(0x80, &payload[cut..]).expect_text(text);
            }
        }
        duo.feed_frame(0x81, b"on").expect_text("on");
    }
    // With context takeover the next message refers to one that ended in a final block.
    for mut duo in both_taking_over(|_| {}) {
        for payload in [&hello_final[..], stored_final] {
            duo.feed_frame(0xc1, payload).expect_text("Hello");
            duo.feed_frame(0xc1, HELLO_AGAIN).expect_text("Hello");
        }
    }
}

#[test]
fn s7_2_3_4_a_large_message_goes_on_behind_a_final_block_and_refers_to_before_it() {
    let text = json(8, 200_000);
    for mut duo in both(|_| {}).into_iter().chain(both_taking_over(|_| {})) {
        let mut payload = b"\x01\xff\xff\x00\x00".to_vec();
        payload.extend_from_slice(&text.as_bytes()[..0xffff]);
        payload.extend(compress(&text.as_bytes()[0xffff..], 6, 15));
        duo.feed_frame(0xc1, &payload).expect_text(&text);
        // A fixed block that copies 258 bytes from 32,768 before, behind 32 KiB and a final block.
        let block = &noise(6, 32_768)[..];
        let payload = [&b"\x01\x00\x80\xff\x7f"[..], block, b"\x1a\xed\xff\x7f\x00\x00"].concat();
        let wanted = Puff::default().inflate(&payload, 1 << 20);
        match wanted {
            Ok(wanted) => {
                duo.feed_frame(0xc2, &payload).expect_binary(&wanted);
            }
            Err(_) => {
                duo.feed_frame(0xc2, &payload).expect_fault(Fault::InvalidDeflate, 1007, NO_DEFLATE);
            }
        }
    }
}

#[test]
fn s6_what_came_after_our_close_is_passed_over_compressed_or_not() {
    for mut duo in both(|_| {}).into_iter().chain(both_taking_over(|_| {})) {
        duo.feed_frame(0x41, &HELLO[..3]);
        assert!(duo.close(1000, ""));
        duo.expect_frame(0x88, b"\x03\xe8");
        duo.feed_frame(0x80, &HELLO[3..]).feed_frame(0xc1, HELLO).feed_frame(0xc1, b"\x06");
        duo.feed_frame(0x41, b"\x07").feed_frame(0x00, b"").feed_frame(0x89, b"!").expect_frame(0x8a, b"!");
        duo.feed_frame(0x88, b"\x03\xe8").expect_close(Some(1000), "").expect_silence();
    }
}

#[test]
fn s7_2_2_a_message_that_comes_byte_by_byte_or_straight_into_its_buffer_is_the_same() {
    let text = json(2, 150_000);
    let payload = compress(text.as_bytes(), 3, 15);
    for duo in both(|_| {}).into_iter().chain(both_taking_over(|_| {})) {
        let mut duo = duo.read_direct();
        let frame = duo.frame(0xc1, &payload);
        for size in [1, 77, 4_096, 60_000] {
            frame.chunks(size).for_each(|piece| {
                duo.feed(piece);
            });
            duo.expect_text(&text);
        }
        assert!(matches!(duo.role(), Role::Server | Role::Client));
    }
}
