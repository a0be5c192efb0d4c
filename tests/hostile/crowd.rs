//! Peers that want every connection: floods of them, and those that never end. RFC 6455 §10.4.

use super::OVER;
use crate::peer::{Peer, Transport, UPGRADE, frame};
use crate::server::Server;
use crate::siege::{Siege, expect_turned_away};
use std::time::Duration;

#[test]
fn s10_4_a_connection_past_the_limit_is_503_and_harms_nobody() {
    let mut siege = Siege::begin(OVER, &["--connections-max", "9"]);
    let mut peers: Vec<Peer> = (0..8).map(|_| siege.server.open()).collect();
    for _ in 0..50 {
        expect_turned_away(OVER, siege.server.dial());
    }
    for peer in &mut peers {
        peer.expect_echo(b"still here");
    }
    siege.expect_service();
    // One leaves, one is welcome.
    let mut leaving = peers.pop().expect("eight of them");
    leaving.send(b"\x88\x80\0\0\0\0").expect(b"\x88\0").expect_end();
    drop(leaving);
    siege.expect_recovery();
}

#[test]
fn s10_4_connections_that_say_nothing_count() {
    let mut siege = Siege::begin(OVER, &["--connections-max", "20"]);
    let silent: Vec<Peer> = (0..40).map(|_| siege.server.dial()).collect();
    expect_turned_away(OVER, siege.server.dial());
    siege.expect_service();
    drop(silent);
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn s10_4_refusals_that_nobody_reads_are_bounded_and_harm_nobody() {
    let mut siege = Siege::begin(OVER, &["--connections-max", "3", "--linger-ms-max", "2000"]);
    let mut late: Vec<Peer> = (0..300).map(|_| siege.server.dial()).collect();
    siege.expect_service();
    let held = siege.server.descriptors() - siege.descriptors;
    assert!(held < 100, "{held} descriptors for connections past the limit of 3");
    // Each is told so, or is cut without a word where too many are being told already, or TLS is spoken.
    let told = late
        .iter_mut()
        .skip(2)
        .filter_map(|peer| peer.status().map(|status| assert_eq!(status, 503)))
        .count();
    assert_eq!(told > 0, OVER == Transport::Ws);
    drop(late);
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn s10_4_an_address_past_its_limit_is_503() {
    // The neighbour is of the same address.
    let mut siege = Siege::begin(OVER, &["--connections-per-address-max", "4"]);
    let mut peers: Vec<Peer> = (0..3).map(|_| siege.server.open()).collect();
    for _ in 0..200 {
        expect_turned_away(OVER, siege.server.dial());
    }
    siege.expect_service();
    for peer in &mut peers {
        peer.expect_echo(b"still here");
    }
    peers.pop().expect("three of them").send(b"\x88\x80\0\0\0\0").expect(b"\x88\0").expect_end();
    siege.expect_recovery();
}

#[test]
fn s10_4_who_connects_again_and_again_leaves_nothing() {
    let mut siege = Siege::begin(OVER, &["--linger-ms-max", "300"]);
    for n in 0..300_u32 {
        let mut peer = siege.server.open();
        peer.expect_echo(&n.to_be_bytes());
        match n % 3 {
            0 => peer.send(b"\x88\x80\0\0\0\0").expect(b"\x88\0").expect_end(),
            1 => peer.reset(),
            _ => drop(peer),
        }
    }
    siege.expect_service().expect_descriptors_back().expect_recovery();
}

#[test]
fn s10_4_by_default_64_descriptors_are_kept_free() {
    let server = Server::with_descriptors(128, OVER, &[]);
    let mut peers: Vec<Peer> = (0..64).map(|_| server.open()).collect();
    expect_turned_away(OVER, server.dial());
    for peer in &mut peers {
        peer.expect_echo(b"still here");
    }
}

#[test]
fn s10_4_a_limit_past_the_descriptors_neither_spins_nor_harms() {
    let server = Server::with_descriptors(128, OVER, &["--connections-max", "1000"]);
    let mut siege = Siege::of(OVER, server);
    let mut early: Vec<Peer> = (0..60).map(|_| siege.server.open()).collect();
    // More than there are descriptors: they are taken, wait in the listener's queue, or are refused.
    let mut late: Vec<Peer> = (0..120)
        .map(|_| {
            let mut peer = siege.server.dial();
            peer.send_regardless(UPGRADE);
            peer
        })
        .collect();
    siege.expect_service();
    siege.expect_rest();
    for peer in &mut early {
        peer.expect_echo(b"still here");
    }
    siege.expect_service();
    drop(early);
    for peer in &mut late {
        match peer.status() {
            Some(101) => drop(peer.expect_echo(b"welcome").finish()),
            Some(status) => assert_eq!(status, 503),
            None => {}
        }
    }
    drop(late);
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn s10_4_no_descriptor_left_neither_spins_nor_harms() {
    // Fewer than are kept free: one connection is taken, and those that are told so take the rest.
    let server = Server::with_descriptors(32, OVER, &["--linger-ms-max", "1500"]);
    let mut siege = Siege::of(OVER, server);
    let mut late: Vec<Peer> = (0..60).map(|_| siege.server.dial()).collect();
    siege.expect_service();
    siege.expect_rest();
    siege.expect_service();
    // Whoever waits for a descriptor gets one when there is one.
    for peer in &mut late {
        assert_eq!(peer.status(), (OVER == Transport::Ws).then_some(503));
    }
    drop(late);
    siege.expect_descriptors_back().expect_service();
}

#[test]
fn s10_4_connections_that_come_and_go_leave_nothing() {
    let mut siege = Siege::begin(OVER, &[]);
    for i in 0..600 {
        let mut peer = siege.server.dial();
        peer.send_regardless(&UPGRADE[..(i * 7) % UPGRADE.len()]);
    }
    siege.expect_service().expect_descriptors_back().expect_recovery();
}

#[test]
fn s10_4_resets_by_the_hundred_leave_nothing() {
    let mut siege = Siege::begin(OVER, &[]);
    for _ in 0..300 {
        let mut peer = siege.server.dial();
        peer.send(&[UPGRADE, b"\x82\xfe\x01\x00\0\0\0\0half"].concat());
        peer.abort();
    }
    siege.expect_service().expect_descriptors_back().expect_recovery();
}

#[test]
fn s7_1_1_half_open_closings_are_given_up() {
    let mut siege = Siege::begin(OVER, &["--closing-ms-max", "700", "--linger-ms-max", "700"]);
    let mut attackers: Vec<Peer> = (0..200).map(|_| siege.server.open()).collect();
    for peer in &mut attackers {
        peer.send(b"\x88\x82\0\0\0\0\x03\xe8").expect(b"\x88\x02\x03\xe8").expect_end();
    }
    siege.expect_service().expect_descriptors_back(); // though every attacker keeps its own end open
    drop(attackers);
    siege.expect_recovery();
}

#[test]
fn s7_1_7_half_open_faults_are_given_up() {
    let mut siege = Siege::begin(OVER, &["--linger-ms-max", "700"]);
    let mut attackers: Vec<Peer> = (0..200).map(|_| siege.server.open()).collect();
    for peer in &mut attackers {
        peer.send(b"\x81\x01x").expect_fault(1002);
    }
    siege.expect_service().expect_descriptors_back();
    drop(attackers);
    siege.expect_recovery();
}

#[test]
fn s4_2_2_half_open_refusals_are_given_up() {
    let mut siege = Siege::begin(OVER, &["--linger-ms-max", "700"]);
    let mut attackers: Vec<Peer> = (0..200).map(|_| siege.server.dial()).collect();
    for peer in &mut attackers {
        peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect_refusal(&[426]);
    }
    siege.expect_service().expect_descriptors_back();
    drop(attackers);
    siege.expect_recovery();
}

#[test]
fn s7_1_1_a_close_that_nobody_reads_is_given_up() {
    let mut siege = Siege::begin(
        OVER,
        &["--closing-ms-max", "500", "--linger-ms-max", "500", "--outbox-stall-ms-max", "1000"],
    );
    let mut peer = siege.server.open();
    let script = [frame(0x82, &[b'e'; 32_768]).repeat(600), frame(0x88, b"\x03\xe8")].concat();
    peer.flood(&script, Duration::from_secs(3));
    siege.expect_service().expect_descriptors_back();
    drop(peer);
    siege.expect_recovery();
}
