//! §8 and RFC 6455 §10.4: what a compressed message may become, to the byte.

use super::{both, both_taking_over, json, noise, sent, without_contexts};
use crate::duo::{Duo, puff};
use sockeye::{Config, Fault, wire::deflate::Compressor};

/// `len` bytes, which become next to none.
pub fn bomb(len: usize) -> Vec<u8> {
    // Half a mebibyte at a time, each in blocks of its own.
    const PIECE: usize = 512 << 10;
    let compress = |len: usize| {
        let mut out = vec![0; len / 500 + 200];
        let n = Compressor::new(6, 15).compress(&vec![b'a'; len], &mut out).expect("there is room");
        out.truncate(n);
        out
    };
    let piece = if len > PIECE { [compress(PIECE), b"\0\0\xff\xff".to_vec()].concat() } else { Vec::new() };
    let pieces = len.saturating_sub(1) / PIECE;
    [piece.repeat(pieces), compress(len - pieces * PIECE)].concat()
}

fn each(limit: u32) -> Vec<Duo> {
    let configure = |config: &mut Config| {
        without_contexts(config);
        config.limits.message_bytes_max = limit;
    };
    both(configure).into_iter().chain(both_taking_over(configure)).collect()
}

#[test]
fn s10_4_the_limit_is_on_what_a_message_inflates_to_and_exact() {
    for limit in [1, 2, 5, 4_096, 65_520, 65_535, 65_536, 65_537, 131_072, 200_000] {
        for mut duo in each(limit as u32) {
            duo.feed_frame(0xc1, &bomb(limit)).expect_text(&"a".repeat(limit));
            duo.feed_frame(0xc2, &puff::stored(&noise(1, limit))).expect_binary(&noise(1, limit));
            let (first, rest) = (&bomb(limit)[..1], &bomb(limit)[1..]);
            duo.feed_frame(0x41, first).feed_frame(0x80, rest).expect_text(&"a".repeat(limit));
            duo.feed_frame(0xc1, &bomb(limit + 1));
            let fault = Fault::MessageTooBig { len: limit as u64 + 1, limit: limit as u32 };
            let reason = format!("message of {} bytes (at most {limit})", limit + 1);
            duo.expect_fault(fault, 1009, &reason);
        }
    }
}

#[test]
fn s10_4_a_compressed_frame_is_refused_by_its_header_where_no_message_would_need_so_many_bytes() {
    let limit = 64_000_u32;
    let most = u64::from(limit) + u64::from(limit) / 16 + 64;
    for mut duo in each(limit) {
        let mask = if duo.role() == sockeye::Role::Server { 0x80 } else { 0 };
        let header = [&[0xc2, mask | 127][..], &(most + 1).to_be_bytes()].concat();
        duo.feed(&header);
        let reason = format!("message of {} bytes (at most {limit})", most + 1);
        duo.expect_fault(Fault::MessageTooBig { len: most + 1, limit }, 1009, &reason);
    }
    for mut duo in each(limit) {
        // The same over fragments; as many as that are taken.
        duo.feed_frame(0x42, &vec![0; most as usize - 10]).feed_frame(0x00, &[0; 10]).expect_no_message();
        let fault = Fault::MessageTooBig { len: most + 1, limit };
        duo.feed_frame(0x80, &[0]);
        duo.expect_fault(fault, 1009, &format!("message of {} bytes (at most {limit})", most + 1));
    }
    for mut duo in each(limit) {
        // What is not compressed is held to the limit itself.
        let mask = if duo.role() == sockeye::Role::Server { 0x80 } else { 0 };
        duo.feed(&[0x82, mask | 126, 0xfa, 0x01]);
        let fault = Fault::MessageTooBig { len: 64_001, limit };
        duo.expect_fault(fault, 1009, "message of 64001 bytes (at most 64000)");
    }
}

#[test]
fn s10_4_what_does_not_shrink_may_have_the_whole_limit_though_its_frame_is_larger() {
    for limit in [10, 100, 1_000, 65_536, 1 << 20] {
        let noise = noise(7, limit);
        let payload = puff::stored(&noise);
        assert!(payload.len() > limit);
        for mut duo in each(limit as u32) {
            duo.feed_frame(0xc2, &payload).expect_binary(&noise);
        }
    }
}

#[test]
fn s8_a_mebibyte_that_would_be_a_gibibyte_is_refused_at_the_limit_and_costs_no_more() {
    let bomb = bomb(1 << 30);
    assert!(bomb.len() > 1_000_000 && bomb.len() < 1_100_000);
    let limit = 16 << 20;
    for mut duo in both(|_| {}) {
        let fault = Fault::MessageTooBig { len: limit + 1, limit: limit as u32 };
        duo.feed_frame(0xc2, &bomb);
        duo.expect_fault(fault, 1009, "message of 16777217 bytes (at most 16777216)");
    }
}

#[test]
fn s7_2_1_short_messages_are_sent_as_they_are() {
    for mut duo in both(|_| {}) {
        for len in [0, 1, 255] {
            assert!(duo.send(&"a".repeat(len)[..]));
            assert_eq!(sent(&mut duo), (0x81, "a".repeat(len).into_bytes()));
        }
        assert!(duo.send(&"a".repeat(256)[..]));
        let (first, payload) = sent(&mut duo);
        assert!(first == 0xc1 && payload.len() < 20);
    }
    for mut duo in both(|config| config.deflate.threshold_bytes = 30) {
        assert!(duo.send(&[b'a'; 29][..]));
        assert_eq!(sent(&mut duo), (0x82, vec![b'a'; 29]));
        assert!(duo.send(&[b'a'; 30][..]));
        assert_eq!(sent(&mut duo).0, 0xc2);
    }
    for mut duo in both(without_contexts) {
        assert!(duo.send("")); // nothing becomes smaller than nothing
        duo.expect_frame(0x81, b"");
    }
}

#[test]
fn s7_2_1_what_does_not_shrink_is_sent_as_it_is() {
    for mut duo in both(without_contexts).into_iter().chain(both_taking_over(|_| {})) {
        for message in [noise(1, 1_000), noise(2, 100_000), b"abc".to_vec(), noise(3, 300)] {
            assert!(duo.send(&message[..]));
            assert_eq!(sent(&mut duo), (0x82, message));
        }
        let text = json(1, 2_000);
        assert!(duo.send(&text[..]));
        let (first, payload) = sent(&mut duo);
        assert!(first == 0xc1 && payload.len() < text.len() / 2);
        assert_eq!(puff::Puff::default().inflate(&payload, 1 << 20), Ok(text.into_bytes()));
    }
}
