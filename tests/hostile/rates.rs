//! Who comes or sends too often. `Limits::{handshakes_per_address_per_second_max, messages_per_second_max,
//! bytes_per_second_max}`, of which the neighbour keeps within what is left to it.

use super::OVER;
use crate::peer::{Peer, UPGRADE, frame, unmasked};
use crate::siege::Siege;
use std::time::Instant;

#[test]
fn an_address_that_connects_too_often_is_429_and_those_who_are_there_are_served() {
    const RATE: u64 = 20;
    let mut siege = Siege::begin(OVER, &["--handshakes-per-address-per-second-max", "20"]);
    let (begun, mut opened, mut refused) = (Instant::now(), Vec::new(), 0);
    for _ in 0..150 {
        let mut peer = siege.server.dial();
        match peer.send_regardless(UPGRADE).status() {
            Some(101) => opened.push(peer),
            // Under TLS it is dropped before that costs a handshake of TLS.
            Some(429) | None => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    let most = RATE * (begun.elapsed().as_secs() + 2);
    assert!((opened.len() as u64) <= most, "{} of at most {most}", opened.len());
    assert_eq!(opened.len() + refused, 150);
    siege.expect_service();
    for peer in &mut opened {
        peer.expect_echo(b"here");
    }
    drop(opened);
    siege.expect_descriptors_back().expect_recovery();
}

/// Four of them send all of this at once, and are answered all of it in the end.
fn flood(flags: &[&str], payload: &[u8], times: usize) {
    let mut siege = Siege::begin(OVER, flags);
    let mut attackers: Vec<Peer> = (0..4).map(|_| siege.server.open()).collect();
    let script = frame(0x82, payload).repeat(times);
    let senders: Vec<_> = attackers.iter_mut().map(|peer| peer.send_apart(script.clone())).collect();
    siege.expect_service();
    let echo = unmasked(0x82, payload);
    for peer in &mut attackers {
        for _ in 0..times {
            peer.expect(&echo);
        }
    }
    senders.into_iter().for_each(|sender| sender.join().expect("no panic").expect("it is read in the end"));
    siege.expect_recovery();
}

#[test]
fn floods_of_messages_past_their_rate_wait_and_lose_nothing() {
    flood(&["--messages-per-second-max", "2000"], b"flood", 4_000);
}

#[test]
fn floods_of_bytes_past_their_rate_wait_and_lose_nothing() {
    flood(&["--bytes-per-second-max", "2MiB"], &[b'f'; 64 << 10], 64);
}
