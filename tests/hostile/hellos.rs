//! Handshakes of TLS that never come to an end, or were none. What is wrong behind one is in `tests/tls`.

use crate::peer::{Peer, Transport};
use crate::siege::Siege;

/// How a ClientHello begins: the record, the message, the version.
const HELLO: &[u8] = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03";

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3], &(body.len() as u16).to_be_bytes()[..], body].concat()
}

/// A connection over TCP alone.
fn dial(siege: &Siege) -> Peer {
    Peer::dial(siege.server.address())
}

#[test]
fn hellos_that_trickle_cost_nothing_and_run_out() {
    let mut siege = Siege::begin(Transport::Wss, &["--handshake-ms-max", "1500"]);
    let mut attackers: Vec<Peer> = (0..250).map(|_| dial(&siege)).collect();
    for at in 0..HELLO.len() {
        for peer in &mut attackers {
            peer.send_regardless(&HELLO[at..=at]);
        }
    }
    siege.expect_service().expect_bounded_memory().expect_rest();
    for peer in &mut attackers {
        peer.expect_cut();
    }
    drop(attackers);
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn hellos_that_are_begun_and_left_cost_nothing() {
    let mut siege = Siege::begin(Transport::Wss, &[]);
    // The first flight is sent, answered, and that is all.
    let attackers: Vec<Peer> = (0..250).map(|_| siege.server.dial()).collect();
    siege.expect_service().expect_bounded_memory();
    drop(attackers);
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn hellos_without_end_are_cut_before_they_are_held() {
    let mut siege = Siege::begin(Transport::Wss, &[]);
    let first = record(22, &[&[1, 255, 255, 255][..], &[0; 16_000]].concat());
    let endless = [first, record(22, &[0; 16_384]).repeat(64)].concat();
    for _ in 0..50 {
        let mut peer = dial(&siege);
        peer.send_regardless(&endless);
        assert!(peer.expect_cut().len() < 100);
    }
    siege.expect_service().expect_descriptors_back().expect_recovery();
}

#[test]
fn floods_of_what_is_no_hello_are_cut() {
    let mut siege = Siege::begin(Transport::Wss, &[]);
    for flood in [
        record(22, &[]).repeat(20_000),
        record(20, &[1]).repeat(20_000),
        record(21, &[1, 0]).repeat(20_000),
        record(23, &[0; 16_384]).repeat(8),
        vec![0; 200_000],
        b"\x80".repeat(200_000),
    ] {
        for _ in 0..10 {
            let mut peer = dial(&siege);
            peer.send_regardless(&flood);
            assert!(peer.expect_cut().len() < 100);
        }
        siege.expect_service();
    }
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn plain_http_by_the_hundred_is_told_what_is_spoken_here() {
    let mut siege = Siege::begin(Transport::Wss, &[]);
    for _ in 0..200 {
        dial(&siege).send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect_refusal(&[400]);
    }
    siege.expect_service().expect_descriptors_back().expect_recovery();
}
