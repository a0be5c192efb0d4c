//! permessage-deflate against the binary: bombs, garbage, what is cut off, floods of final blocks, and many small
//! messages that become large. RFC 7692 §8

use super::OVER;
use crate::peer::{PATIENCE, Peer, UPGRADE, frame};
use crate::server::{Server, shared};
use crate::siege::Siege;
use sockeye::wire::deflate::Compressor;
use std::time::Instant;

const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

fn open(server: &Server) -> Peer {
    let offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    let mut peer = server.dial();
    let head = peer.send(&[&UPGRADE[..UPGRADE.len() - 2], offer].concat()).expect_head();
    assert_eq!(head.status, 101);
    let answered = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(head.field("Sec-WebSocket-Extensions"), Some(answered));
    peer
}

/// `mebibytes` of zeros, each in blocks of its own.
fn bomb(mebibytes: usize) -> Vec<u8> {
    let mut piece = vec![0; 4_096];
    let n = Compressor::new(9, 15).compress(&vec![0; 1 << 20], &mut piece).expect("there is room");
    piece.truncate(n);
    [[&piece[..], b"\0\0\xff\xff"].concat().repeat(mebibytes - 1), piece].concat()
}

#[test]
fn s8_a_mebibyte_that_would_be_a_gibibyte_is_1009_and_costs_no_memory() {
    let mut siege = Siege::begin(OVER, &["--message-bytes-max", "1MiB"]);
    let bomb = bomb(1 << 10);
    for _ in 0..5 {
        let reason = open(&siege.server).send_regardless(&frame(0xc2, &bomb)).expect_fault(1009);
        assert_eq!(reason, "message of 1048577 bytes (at most 1048576)");
        siege.expect_service();
    }
    siege.expect_rest().expect_descriptors_back().expect_recovery();
}

#[test]
fn s7_2_2_garbage_and_what_is_cut_off_is_1007() {
    let server = shared(OVER);
    let text: &[u8] = b"\x00\x05\x00\xfa\xffHello";
    for garbage in
        [&b""[..], b"\x06", b"\x02\x01", b"\xff\xff\xff", &HELLO[..6], &HELLO[..1], &text[..7], b"plain text"]
    {
        let mut peer = open(&server);
        peer.send(&frame(0xc1, HELLO)).expect(b"\x81\x05Hello");
        peer.send(&frame(0xc1, garbage)).expect_fault(1007);
        let mut peer = open(&server);
        peer.send(&frame(0x41, garbage)).expect_silence();
        peer.send(&frame(0x80, b"")).expect_fault(1007);
    }
    open(&server).send(&frame(0xc1, b"\x00\x01\x00\xfe\xff\xff\x00")).expect_fault(1007);
}

#[test]
fn s6_1_rsv1_where_it_does_not_belong_is_1002() {
    let server = shared(OVER);
    let reason = server.expect_fault(&frame(0xc1, HELLO), 1002);
    assert_eq!(reason, "peer sent RSV1; compression was not negotiated");
    for script in [
        frame(0xc9, b""),
        frame(0xc8, b""),
        [frame(0x41, HELLO), frame(0xc0, b"")].concat(),
        frame(0xe1, HELLO),
        frame(0xc3, b""),
    ] {
        open(&server).send(&script).expect_fault(1002);
    }
}

#[test]
fn s7_2_3_4_a_flood_of_final_blocks_is_1007_and_others_are_served_meanwhile() {
    let mut siege = Siege::begin(OVER, &[]);
    // 32 KiB first: so much is to be copied at each new start.
    let mut window = vec![0; 4_096];
    let n = Compressor::new(9, 15).compress(&vec![7; 40_000], &mut window).expect("there is room");
    let start = [&window[..n], b"\0\0\xff\xff"].concat();
    let reason = open(&siege.server).send(&frame(0xc2, &b"\x03\x00".repeat(50_000))).expect_fault(1007);
    assert_eq!(reason, "compressed message is not DEFLATE data");
    let mut attackers: Vec<Peer> = (0..20).map(|_| open(&siege.server)).collect();
    let begun = Instant::now();
    let flood = frame(0xc2, &[&start[..], &b"\x03\x00".repeat(30_000)].concat());
    for peer in &mut attackers {
        peer.send_regardless(&flood);
    }
    siege.expect_service();
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    for peer in &mut attackers {
        peer.expect_fault(1007);
    }
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn s8_many_small_messages_that_become_large_keep_nobody_waiting_for_long() {
    let mut siege = Siege::begin(OVER, &["--message-bytes-max", "1048576"]);
    let message = frame(0xc2, &bomb(1));
    let mut attackers: Vec<Peer> = (0..12).map(|_| open(&siege.server)).collect();
    let script = message.repeat(20);
    for peer in &mut attackers {
        peer.send(&script);
    }
    let begun = Instant::now();
    siege.expect_service();
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    for peer in &mut attackers {
        for _ in 0..20 {
            let frame = peer.expect_compressed_frame();
            assert!(frame.payload.len() < 20_000);
        }
        peer.send(&frame(0xc1, HELLO)).expect(b"\x81\x05Hello");
    }
    drop(attackers);
    siege.expect_descriptors_back().expect_recovery();
}

/// Each makes the codec give up in the middle; it has to be as new for the next one.
#[test]
fn s7_2_1_a_flood_of_what_does_not_shrink_leaves_the_server_alive() {
    let mut siege = Siege::begin(OVER, &[]);
    let noise = noise(1, 5_000);
    let mut peer = open(&siege.server);
    for _ in 0..200 {
        peer.expect_echo(&noise);
    }
    peer.send(&frame(0x81, &[b'a'; 1_000]));
    assert!(peer.expect_compressed_frame().payload.len() < 50);
    siege.expect_service().expect_recovery();
}

// What is agreed to.

/// A connection that offered this, and what it was answered.
fn offering(server: &Server, offer: &str) -> (Peer, Option<String>) {
    let line = format!("Sec-WebSocket-Extensions: {offer}\r\n\r\n");
    let mut peer = server.dial();
    let head = peer.send(&[&UPGRADE[..UPGRADE.len() - 2], line.as_bytes()].concat()).expect_head();
    assert_eq!(head.status, 101);
    (peer, head.field("Sec-WebSocket-Extensions").map(str::to_owned))
}

fn compressed(compressor: &mut Compressor, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; payload.len() + 1_000];
    let n = compressor.compress(payload, &mut out).expect("there is room");
    out.truncate(n);
    out
}

/// Bytes that do not shrink, for a seed.
fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 11) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn s7_1_1_contexts_past_their_budget_are_not_granted() {
    let mut siege = Siege::begin(OVER, &["--deflate-context-bytes-max", "4MiB"]);
    let mut answers: Vec<_> = (0..100).map(|_| offering(&siege.server, "permessage-deflate")).collect();
    let granted = answers
        .iter()
        .filter(|(_, answer)| {
            !answer.as_ref().is_some_and(|text| text.contains("server_no_context_takeover"))
        })
        .count();
    assert!((5..=20).contains(&granted), "{granted} of 100 have contexts of their own in 4 MiB");
    for (peer, _) in &mut answers {
        peer.send(&frame(0xc1, HELLO)).expect(b"\x81\x05Hello");
        peer.send(&frame(0x81, &[b'a'; 1_000])).expect_compressed_frame();
    }
    siege.expect_service();
    drop(answers);
    siege.expect_descriptors_back();
    // What was given back is granted again.
    let (_again, answer) = offering(&siege.server, "permessage-deflate");
    assert_eq!(answer.as_deref(), Some("permessage-deflate"));
    siege.expect_recovery();
}

#[test]
fn s6_a_flood_of_compressed_messages_that_nobody_agreed_to_is_1002() {
    let mut siege = Siege::begin(OVER, &["--no-deflate"]);
    let flood = frame(0xc2, &bomb(1)).repeat(100);
    for _ in 0..50 {
        let (mut peer, answer) = offering(&siege.server, "permessage-deflate");
        assert_eq!(answer, None);
        peer.send_regardless(&flood).expect_fault(1002);
    }
    siege.expect_service().expect_descriptors_back().expect_recovery();
}

#[test]
fn s7_2_1_a_flood_at_the_threshold_keeps_nobody_waiting() {
    let mut siege = Siege::begin(OVER, &[]);
    let mut peers: Vec<Peer> = (0..4).map(|_| open(&siege.server)).collect();
    let (below, at) = (frame(0x82, &[b't'; 255]), frame(0x82, &[b't'; 256]));
    let senders: Vec<_> =
        peers.iter_mut().map(|peer| peer.send_apart([&below[..], &at].concat().repeat(1_000))).collect();
    for peer in &mut peers {
        for _ in 0..1_000 {
            assert_eq!(peer.expect_frame().payload.len(), 255);
            assert!(peer.expect_compressed_frame().payload.len() < 100);
        }
    }
    senders.into_iter().for_each(|sender| sender.join().expect("no panic").expect("all is taken"));
    siege.expect_recovery();
}

#[test]
fn s7_1_2_windows_of_every_size_are_asked_for_and_cost_no_more() {
    let flags = ["--deflate-window-bits-max", "10", "--deflate-context-bytes-max", "2MiB"];
    let mut siege = Siege::begin(OVER, &flags);
    let mut peers = Vec::new();
    for bits in (9..=15).cycle().take(70) {
        let (mut peer, answer) =
            offering(&siege.server, &format!("permessage-deflate; server_max_window_bits={bits}"));
        let answer = answer.expect("it is agreed to");
        let window = format!("server_max_window_bits={}", 10.min(bits));
        assert!(answer.contains(&window), "{window}: {answer}");
        peer.send(&frame(0x82, &[b'w'; 5_000])).expect_compressed_frame();
        peers.push(peer);
    }
    siege.expect_service();
    drop(peers);
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn s7_1_2_2_what_refers_back_beyond_its_window_harms_nobody() {
    let mut siege = Siege::begin(OVER, &["--deflate-peer-window-bits-max", "9"]);
    let far = noise(7, 5_000).repeat(2);
    for _ in 0..50 {
        let (mut peer, answer) = offering(&siege.server, "permessage-deflate; client_max_window_bits");
        let answer = answer.expect("it is agreed to");
        assert!(answer.contains("client_max_window_bits=9"), "{answer}");
        // Further back than agreed, and inside the message: there is nothing to be mistaken about.
        let mut compressor = Compressor::new(9, 15);
        let first = compressed(&mut compressor, &far);
        assert!(first.len() < 6_000, "it does refer back");
        let echo = peer.send(&frame(0xc2, &first)).expect_compressed_frame();
        assert!((5_000..6_000).contains(&echo.payload.len()), "{}", echo.payload.len());
        // To the message before, of which nothing is kept.
        let second = compressed(&mut compressor, &far[..5_000]);
        assert!(second.len() < 1_000, "it does refer back");
        peer.send(&frame(0xc2, &second)).expect_fault(1007);
    }
    siege.expect_service().expect_descriptors_back().expect_recovery();
}
