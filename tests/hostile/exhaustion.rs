//! Peers that want all of it: memory and time. RFC 6455 §10.4.

use super::OVER;
use crate::peer::{Peer, UPGRADE, announced, frame, masked, unmasked};
use crate::siege::Siege;
use std::time::{Duration, Instant};

// Memory.

#[test]
fn s10_4_announced_bytes_that_never_come_cost_nothing() {
    let mut siege = Siege::begin(OVER, &[]);
    let attackers: Vec<Peer> = (0..200)
        .map(|i| {
            let mut peer = siege.server.open();
            peer.send(&announced([0x81, 0x82, 0x01, 0x02][i % 4], 16_777_216)).send(b"x");
            peer
        })
        .collect();
    siege.expect_service().expect_bounded_memory();
    drop(attackers);
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn s10_4_announced_continuations_that_never_come_cost_nothing() {
    let mut siege = Siege::begin(OVER, &[]);
    let attackers: Vec<Peer> = (0..200)
        .map(|_| {
            let mut peer = siege.server.open();
            peer.send(&[frame(0x02, &[1; 1_000]), announced(0x80, 16_000_000), b"x".to_vec()].concat());
            peer
        })
        .collect();
    siege.expect_service().expect_bounded_memory();
    drop(attackers);
    siege.expect_recovery();
}

#[test]
fn s10_4_memory_grows_with_what_came_only() {
    let mut siege = Siege::begin(OVER, &[]);
    let mut attackers: Vec<Peer> = (0..100)
        .map(|_| {
            let mut peer = siege.server.open();
            peer.send(&announced(0x82, 16_777_216)).send(&[0; 40_000]);
            peer
        })
        .collect();
    // 100 × 40 kB is 4 MB, 100 × 16 MiB would be 1.6 GB.
    siege.expect_service().expect_bounded_memory();
    for peer in &mut attackers {
        peer.finish().expect_end();
    }
    siege.expect_recovery();
}

#[test]
fn s10_4_a_fault_after_a_huge_announcement_costs_nothing() {
    let mut siege = Siege::begin(OVER, &[]);
    for _ in 0..200 {
        siege.server.expect_fault(&announced(0x82, 0x7fff_ffff_ffff_ffff), 1009);
    }
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn s10_4_empty_fragments_end_at_their_count() {
    let mut siege = Siege::begin(OVER, &[]);
    let mut peer = siege.server.open();
    let last_allowed = [frame(0x01, b""), frame(0x00, b"").repeat(131_070), frame(0x80, b"")].concat();
    peer.send(&last_allowed).expect(b"\x81\0").expect_silence();
    let one_more = [frame(0x01, b""), frame(0x00, b"").repeat(131_072)].concat();
    let reason = peer.send_regardless(&one_more).expect_fault(1008);
    assert!(reason.contains("131072"), "the reason names the limit: {reason:?}");
    siege.expect_service().expect_recovery();
}

#[test]
fn s10_4_fragments_of_one_byte_cost_a_byte() {
    let mut siege = Siege::begin(OVER, &[]);
    let mut peers: Vec<Peer> = (0..10).map(|_| siege.server.open()).collect();
    let script = [frame(0x02, b"x"), frame(0x00, b"x").repeat(100_000)].concat();
    for peer in &mut peers {
        peer.send(&script).expect_silence();
    }
    siege.expect_service().expect_bounded_memory();
    for peer in &mut peers {
        peer.send(&frame(0x80, b"")).expect(&unmasked(0x82, &[b'x'; 100_001]));
    }
    drop(peers);
    siege.expect_recovery();
}

#[test]
fn s10_4_a_message_of_single_bytes_is_taken_and_costs_its_bytes() {
    let mut siege = Siege::begin(OVER, &[]);
    let payload: Vec<u8> = (0..30_000u32).map(|i| (i % 249) as u8).collect();
    let mut peer = siege.server.open();
    peer.drip(&masked(0x82, [1, 2, 3, 4], &payload)).expect(&unmasked(0x82, &payload)).expect_silence();
    siege.expect_recovery();
}

#[test]
fn s10_4_big_messages_that_trickle_cost_what_came() {
    let mut siege = Siege::begin(OVER, &[]);
    let mut peers: Vec<Peer> = (0..50).map(|_| siege.server.open()).collect();
    for peer in &mut peers {
        peer.send(&announced(0x82, 16_777_216));
    }
    for _ in 0..100 {
        for peer in &mut peers {
            peer.send(b"b");
        }
    }
    siege.expect_service().expect_bounded_memory();
    drop(peers);
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn s10_4_pings_that_are_answered_to_nobody_cost_nothing() {
    let mut siege = Siege::begin(OVER, &["--outbox-stall-ms-max", "60000"]);
    let ping = |i: u32| frame(0x89, &[&i.to_be_bytes()[..], &[b'p'; 121]].concat());
    let pings = 250_000;
    let script = (0..pings).map(ping).collect::<Vec<_>>().concat();
    let mut peer = siege.server.open();
    let sent = peer.flood(&script, Duration::from_millis(700)); // 32 MB
    siege.expect_service().expect_bounded_memory();
    siege.expect_rest();
    // Whoever reads at last gets pongs in order, some left out, and the latest.
    let sender = peer.send_apart(script[sent..].to_vec());
    let mut next = 0;
    while next < pings {
        let pong = peer.expect_frame();
        assert_eq!((pong.first, pong.payload.len()), (0x8a, 125));
        let number = u32::from_be_bytes(pong.payload[..4].try_into().expect("four bytes"));
        assert!(number >= next && number < pings, "pong {number} where {next} or a later one was due");
        next = number + 1;
    }
    sender.join().expect("no panic").expect("the server takes it all");
    peer.expect_silence();
    siege.expect_recovery();
}

#[test]
fn s10_4_echo_that_nobody_reads_stops_the_reading_and_costs_nothing() {
    let mut siege = Siege::begin(OVER, &["--outbox-stall-ms-max", "60000"]);
    let payload = |i: u32| i.to_be_bytes().repeat(8_192);
    let messages = 2_000;
    let script = (0..messages).map(|i| frame(0x82, &payload(i))).collect::<Vec<_>>().concat();
    let mut peer = siege.server.open();
    let sent = peer.flood(&script, Duration::from_millis(700));
    assert!(
        sent < script.len(),
        "the server took all of {} bytes from a peer that reads nothing",
        script.len()
    );
    siege.expect_service().expect_bounded_memory();
    siege.expect_rest();
    // Whoever reads at last gets everything.
    let sender = peer.send_apart(script[sent..].to_vec());
    for i in 0..messages {
        peer.expect(&unmasked(0x82, &payload(i)));
    }
    sender.join().expect("no panic").expect("the server takes it all");
    peer.expect_silence();
    siege.expect_recovery();
}

#[test]
fn s10_4_small_echoes_that_nobody_reads_stop_the_reading_and_cost_nothing() {
    let mut siege = Siege::begin(OVER, &["--outbox-stall-ms-max", "60000"]);
    let script = frame(0x82, b"0123456789").repeat(2_000_000); // 32 MB
    let mut peers: Vec<Peer> = (0..2).map(|_| siege.server.open()).collect();
    for peer in &mut peers {
        let sent = peer.flood(&script, Duration::from_millis(500));
        assert!(
            sent < script.len(),
            "the server took all of {} bytes from a peer that reads nothing",
            script.len()
        );
    }
    siege.expect_service().expect_bounded_memory();
    drop(peers);
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn s10_4_a_peer_that_reads_nothing_is_dropped_in_the_end() {
    let mut siege = Siege::begin(OVER, &["--outbox-stall-ms-max", "400"]);
    let mut peers: Vec<Peer> = (0..2).map(|_| siege.server.open()).collect();
    let script = frame(0x82, &[b'e'; 32_768]).repeat(1_000);
    for peer in &mut peers {
        // Behind its Close the server may read what it does not look at.
        peer.flood(&script, Duration::from_secs(5));
    }
    siege.expect_descriptors_back();
    for peer in &mut peers {
        // What the sockets held comes, and then either a Close of 1013 or just the end.
        peer.expect_cut();
    }
    siege.expect_recovery();
}

#[test]
fn s10_4_one_allowed_message_is_echoed_though_past_the_hard_mark() {
    let mut siege = Siege::begin(
        OVER,
        &["--outbox-bytes-soft", "10000", "--outbox-bytes-max", "20000", "--message-bytes-max", "4000000"],
    );
    let payload = vec![b'm'; 4_000_000];
    let mut peer = siege.server.open();
    for _ in 0..3 {
        let sender = peer.send_apart(masked(0x82, [4, 3, 2, 1], &payload));
        peer.expect(&unmasked(0x82, &payload));
        sender.join().expect("no panic").expect("the server takes it all");
    }
    peer.expect_silence();
    siege.expect_service().expect_welcome();
}

#[test]
fn s10_4_past_the_budget_the_largest_holder_is_1013() {
    let mut siege = Siege::begin(OVER, &["--buffered-bytes-max", "4000000"]);
    let server = &siege.server;
    let mut small: Vec<Peer> = (0..3).map(|_| server.open()).collect();
    let mut large = server.open();
    large.send_regardless(&announced(0x82, 16_777_216)).send_regardless(&[0; 2_200_000]);
    for peer in &mut small {
        peer.send(&announced(0x82, 750_001)).send(&[0; 750_000]);
    }
    let reason = large.expect_fault(1013);
    assert!(reason.contains("4000000"), "the reason names the limit: {reason:?}");
    for peer in &mut small {
        peer.send(&[0]).expect(&unmasked(0x82, &[0; 750_001])).expect_silence();
    }
    drop(small);
    siege.expect_recovery();
}

#[test]
fn s10_4_many_small_holders_together_stay_within_the_budget() {
    let mut siege = Siege::begin(OVER, &["--buffered-bytes-max", "4000000"]);
    let mut peers: Vec<Peer> = (0..40).map(|_| siege.server.open()).collect();
    for peer in &mut peers {
        peer.send_regardless(&announced(0x82, 16_777_216)).send_regardless(&[0; 500_000]);
    }
    siege.expect_service().expect_bounded_memory();
    // 40 × 500 kB is 20 MB: at least 32 of them had to go.
    let (mut lost, mut kept) = (0, 0);
    for peer in &mut peers {
        peer.finish();
        match peer.expect_cut().as_slice() {
            b"" => kept += 1,
            rest => {
                assert!(
                    rest.len() > 4 && rest[0] == 0x88 && rest[2..4] == 1013u16.to_be_bytes(),
                    "{}",
                    rest.escape_ascii()
                );
                lost += 1;
            }
        }
    }
    assert!(lost >= 32 && kept <= 8, "{lost} closed, {kept} kept");
    drop(peers);
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn s10_4_memory_is_given_back_when_everybody_has_left() {
    let mut siege = Siege::begin(OVER, &["--pool-bytes-max", "1MiB"]);
    let mut peers: Vec<Peer> = (0..12).map(|_| siege.server.open()).collect();
    for peer in &mut peers {
        peer.send(&announced(0x82, 500_001)).send(&[0; 500_000]);
    }
    for peer in &mut peers {
        peer.send(&[0]).expect(&unmasked(0x82, &[0; 500_001])).finish().expect_end();
    }
    drop(peers);
    siege.expect_memory_back(4 << 20).expect_recovery();
}

// Heads.

#[test]
fn s10_4_heads_that_never_end_cost_nothing_and_run_out() {
    let mut siege = Siege::begin(OVER, &["--handshake-ms-max", "3000"]);
    let mut attackers: Vec<Peer> = (0..250)
        .map(|i| {
            let mut peer = siege.server.dial();
            peer.send(&UPGRADE[..i % UPGRADE.len()]);
            peer
        })
        .collect();
    siege.expect_service().expect_bounded_memory();
    siege.expect_rest();
    for peer in &mut attackers {
        peer.expect_cut();
    }
    drop(attackers);
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn s10_4_long_heads_that_never_end_cost_what_came() {
    let mut siege = Siege::begin(OVER, &[]);
    let attackers: Vec<Peer> = (0..250)
        .map(|_| {
            let mut peer = siege.server.dial();
            peer.send(&UPGRADE[..UPGRADE.len() - 2]).send(b"X: ").send(&[b'a'; 16_000]);
            peer
        })
        .collect();
    siege.expect_service().expect_bounded_memory();
    drop(attackers);
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn s10_4_megabytes_behind_no_head_cost_nothing() {
    let mut siege = Siege::begin(OVER, &[]);
    for _ in 0..20 {
        let mut peer = siege.server.dial();
        peer.send_regardless(b"GET /").send_regardless(&[b'a'; 1 << 20]).expect_refusal(&[431]);
    }
    siege.expect_service().expect_descriptors_back().expect_recovery();
}

#[test]
fn s10_4_heads_of_many_lines_are_431_and_cost_nothing() {
    let mut siege = Siege::begin(OVER, &[]);
    for lines in [101, 1_000, 100_000] {
        for _ in 0..20 {
            let head = [&UPGRADE[..UPGRADE.len() - 2], &b"A: b\r\n".repeat(lines - 5), b"\r\n"].concat();
            siege.server.dial().send_regardless(&head).expect_refusal(&[431]);
        }
    }
    siege.expect_service().expect_descriptors_back().expect_recovery();
}

#[test]
fn s10_4_empty_lines_without_end_are_not_read_forever() {
    let mut siege = Siege::begin(OVER, &["--handshake-ms-max", "500", "--linger-ms-max", "300"]);
    let mut peer = siege.server.dial();
    peer.send_until_cut(&b"\r\n".repeat(8_192));
    drop(peer);
    siege.expect_descriptors_back().expect_recovery();
}

// Time.

#[test]
fn s10_4_a_flood_that_is_read_starves_nobody() {
    let mut siege = Siege::begin(OVER, &[]);
    let mut flooders: Vec<Peer> = (0..4).map(|_| siege.server.open()).collect();
    let script = frame(0x82, &[b'f'; 1_000]).repeat(8_000);
    let senders: Vec<_> = flooders.iter_mut().map(|peer| peer.send_apart(script.clone())).collect();
    let answer = unmasked(0x82, &[b'f'; 1_000]);
    let readers: Vec<_> = flooders
        .into_iter()
        .map(|mut peer| {
            let answer = answer.clone();
            std::thread::spawn(move || {
                for _ in 0..8_000 {
                    peer.expect(&answer);
                }
            })
        })
        .collect();
    for _ in 0..50 {
        siege.expect_service();
    }
    senders.into_iter().for_each(|s| s.join().expect("no panic").expect("the server takes it all"));
    readers.into_iter().for_each(|r| r.join().expect("every echo came"));
    siege.expect_recovery();
}

#[test]
fn s10_4_a_crowd_at_rest_costs_no_time() {
    let mut siege = Siege::begin(OVER, &[]);
    let mut idle: Vec<Peer> = (0..100).map(|_| siege.server.open()).collect();
    let mut inside: Vec<Peer> = (0..50).map(|_| siege.server.open()).collect();
    for peer in &mut inside {
        peer.send(b"\x82\x8a\0\0\0\0half");
    }
    let silent: Vec<Peer> = (0..50).map(|_| siege.server.dial()).collect();
    siege.expect_service();
    siege.expect_rest();
    siege.expect_service();
    for peer in &mut idle {
        peer.expect_echo(b"still here");
    }
    for peer in &mut inside {
        peer.send(b"whole?").expect(b"\x82\x0ahalfwhole?");
    }
    drop((idle, inside, silent));
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn s5_5_2_a_silent_crowd_is_asked_once_and_given_up() {
    let mut siege = Siege::begin(OVER, &["--ping-after-ms", "500", "--pong-within-ms", "500"]);
    let mut silent: Vec<Peer> = (0..200).map(|_| siege.server.open()).collect();
    siege.expect_descriptors_back();
    for peer in &mut silent {
        let ping = peer.expect_frame();
        assert_eq!(ping.first, 0x89);
        let rest = peer.expect_cut();
        assert!(!rest.contains(&0x89), "asked again: {}", rest.escape_ascii());
    }
    drop(silent);
    siege.expect_recovery();
}

#[test]
fn s10_4_a_crowd_of_unfinished_messages_is_1008() {
    let flags = ["--message-idle-ms-max", "500", "--closing-ms-max", "500", "--linger-ms-max", "500"];
    let mut siege = Siege::begin(OVER, &flags);
    let mut halves: Vec<Peer> = (0..200).map(|_| siege.server.open()).collect();
    for (i, peer) in halves.iter_mut().enumerate() {
        let half = [b"\x01\x81\0\0\0\0a".as_slice(), b"\x82\x8a\0\0\0\0half", b"\x02\x80\0\0\0\0"][i % 3];
        peer.send(half);
    }
    siege.expect_service();
    for peer in &mut halves {
        peer.expect_fault(1008);
    }
    siege.expect_descriptors_back();
    drop(halves);
    siege.expect_recovery();
}

#[test]
fn s10_4_an_end_of_stream_that_waits_for_its_answer_costs_no_time() {
    let mut siege = Siege::begin(OVER, &["--outbox-stall-ms-max", "60000"]);
    let payload = vec![b'm'; 6 << 20];
    let mut peer = siege.server.open();
    peer.narrow();
    // More than the sockets hold, and the end of the stream behind it: the server sits on the rest.
    peer.send(&frame(0x82, &payload)).finish();
    siege.expect_service();
    siege.expect_rest();
    peer.expect(&unmasked(0x82, &payload)).expect_end();
    siege.expect_service().expect_welcome();
}

#[test]
fn s10_4_many_faults_in_a_row_cost_nothing() {
    let mut siege = Siege::begin(OVER, &[]);
    let begun = Instant::now();
    for _ in 0..300 {
        siege.server.expect_fault(b"\x81\x01x", 1002);
        siege.server.expect_fault(b"\x81\x81\0\0\0\0\xff", 1007);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "took {:?}: no peer waits for a linger to run out",
        begun.elapsed()
    );
    siege.expect_service().expect_descriptors_back().expect_recovery();
}
