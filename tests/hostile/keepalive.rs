//! Life and its signs: pings to silent peers, RFC 6455 §5.5.2, and deadlines for unfinished messages, §10.4.
//!
//! Time itself is examined here: deadlines are small, and what must happen in time has a margin of seconds.

use super::OVER;
use crate::peer::{PATIENCE, Peer, announced, frame, unmasked};
use crate::server::{Server, alone};
use std::time::{Duration, Instant};

/// Pings soon, and waits for the pong long.
const PATIENT: [&str; 4] = ["--ping-after-ms", "150", "--pong-within-ms", "8000"];

/// Pings soon, and drops soon.
const IMPATIENT: [&str; 4] = ["--ping-after-ms", "150", "--pong-within-ms", "250"];

/// The next frame is a ping. Gives its payload.
#[track_caller]
fn expect_ping(peer: &mut Peer) -> Vec<u8> {
    let ping = peer.expect_frame();
    assert_eq!(ping.first, 0x89, "{ping:?}");
    assert!(ping.payload.len() <= 125);
    ping.payload
}

/// Pings, perhaps a Close, and the end: nothing else. Gives how many pings.
#[track_caller]
fn expect_drop(peer: &mut Peer) -> usize {
    let rest = peer.expect_cut();
    let (mut at, mut pings) = (0, 0);
    while at < rest.len() {
        assert!(matches!(rest[at], 0x89 | 0x88), "{}", rest.escape_ascii());
        pings += usize::from(rest[at] == 0x89);
        at += 2 + usize::from(rest[at + 1]);
    }
    assert_eq!(at, rest.len(), "half a frame in {}", rest.escape_ascii());
    pings
}

#[test]
fn s5_5_2_a_silent_peer_is_pinged_and_not_too_soon() {
    let server = Server::over(OVER, &PATIENT);
    let begun = Instant::now();
    let mut peer = server.open();
    expect_ping(&mut peer);
    assert!(begun.elapsed() >= Duration::from_millis(150), "pinged after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5), "pinged after {:?}", begun.elapsed());
}

#[test]
fn s5_5_2_a_peer_that_answers_pings_lives() {
    let server = Server::over(OVER, &PATIENT);
    let begun = Instant::now();
    let mut peer = server.open();
    for _ in 0..6 {
        let payload = expect_ping(&mut peer);
        peer.send(&frame(0x8a, &payload));
    }
    assert!(begun.elapsed() >= Duration::from_millis(6 * 150), "six pings in {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(6), "six pings in {:?}", begun.elapsed());
    peer.expect_echo(b"alive");
}

#[test]
fn s5_5_2_a_peer_that_never_answers_is_dropped() {
    let server = Server::over(OVER, &IMPATIENT);
    let begun = Instant::now();
    let mut peer = server.open();
    assert_eq!(expect_drop(&mut peer), 1, "one ping, and no patience for a second");
    assert!(begun.elapsed() >= Duration::from_millis(400), "dropped after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(6), "dropped after {:?}", begun.elapsed());
}

#[test]
fn s5_5_2_a_peer_silent_inside_a_frame_is_dropped() {
    let server = Server::over(OVER, &IMPATIENT);
    let mut whole = server.open();
    whole.send(b"\x89\x84\0\0\0\0ab");
    let mut header = server.open();
    header.send(b"\x82\xfe\x01");
    expect_drop(&mut whole);
    expect_drop(&mut header);
}

#[test]
fn s5_5_2_any_byte_is_a_sign_of_life() {
    let server = Server::over(OVER, &["--ping-after-ms", "150", "--pong-within-ms", "2500"]);
    let begun = Instant::now();
    let (mut inside, mut echoing, mut unasked, mut wrong) =
        (server.open(), server.open(), server.open(), server.open());
    inside.send(&announced(0x82, 1_000));
    // Twice the time that a silent peer would have.
    let mut sent = 0;
    while begun.elapsed() < Duration::from_millis(5_300) {
        expect_ping(&mut inside);
        inside.send(b"x");
        sent += 1;
        expect_ping(&mut echoing);
        echoing.expect_echo(b"instead of a pong");
        expect_ping(&mut unasked);
        unasked.send(b"\x8a\x80\0\0\0\0");
        expect_ping(&mut wrong);
        wrong.send(b"\x8a\x8e\0\0\0\0another answer");
    }
    assert!(sent >= 2, "{sent} turns");
    // Another Ping only follows another byte: what comes after this one is not one.
    expect_ping(&mut inside);
    inside.send(&vec![b'x'; 1_000 - sent]).expect(&unmasked(0x82, &[b'x'; 1_000]));
    for peer in [&mut echoing, &mut unasked, &mut wrong] {
        expect_ping(peer);
        peer.expect_echo(b"alive");
    }
}

#[test]
fn s5_5_2_a_peer_that_talks_is_not_pinged() {
    let _alone = alone();
    let server = Server::over(OVER, &["--ping-after-ms", "1800"]);
    let mut peer = server.open();
    for _ in 0..36 {
        peer.expect_echo(b"busy"); // and nothing but the echo
        std::thread::sleep(Duration::from_millis(75));
    }
    peer.expect_silence();
}

#[test]
fn s5_5_2_nothing_is_pinged_before_it_is_a_websocket() {
    let server =
        Server::over(OVER, &["--ping-after-ms", "50", "--pong-within-ms", "50", "--handshake-ms-max", "500"]);
    let begun = Instant::now();
    let mut peer = server.dial();
    let said = peer.send(b"GET / HTTP/1.1\r\n").expect_cut();
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408 "), "{}", said.escape_ascii());
    assert!(begun.elapsed() >= Duration::from_millis(500), "given up after {:?}", begun.elapsed());
}

#[test]
fn s5_5_2_a_ping_of_the_server_does_not_break_into_a_fragmented_message() {
    let server = Server::over(OVER, &PATIENT);
    let mut peer = server.open();
    peer.send(b"\x01\x81\0\0\0\0a");
    let payload = expect_ping(&mut peer);
    peer.send(&frame(0x8a, &payload)).send(b"\x80\x81\0\0\0\0b").expect(b"\x81\x02ab");
}

#[test]
fn s5_5_2_after_a_close_nobody_is_pinged() {
    let server = Server::over(OVER, &["--ping-after-ms", "50", "--pong-within-ms", "50"]);
    let mut peer = server.open();
    peer.send(b"\x88\x82\0\0\0\0\x03\xe8").expect(b"\x88\x02\x03\xe8").expect_end();
}

#[test]
fn s5_5_2_a_peer_is_not_dropped_while_the_server_does_not_read_it() {
    let _alone = alone();
    // More patience than the others want: once the server reads it again, this test is to be given time by its machine.
    let flags = ["--ping-after-ms", "300", "--pong-within-ms", "1200", "--outbox-stall-ms-max", "60000"];
    let server = Server::over(OVER, &flags);
    let mut slow = server.open();
    // 64 MiB of echo is more than sockets and outbox hold: the server stops reading.
    let chunk = frame(0x82, &[b'e'; 32_768]);
    let script = chunk.repeat(2_048);
    let sent = slow.flood(&script, Duration::from_millis(500));
    assert!(sent < script.len(), "the server read 64 MiB from a peer that reads nothing");
    // The time of two silent peers, one after the other, goes by.
    expect_drop(&mut server.open());
    expect_drop(&mut server.open());
    let sender = slow.send_apart(script[sent..].to_vec());
    let mut frames = 0;
    while frames < 2_048 {
        let frame = slow.expect_frame();
        if frame.first == 0x89 {
            slow.send_regardless(b""); // pings wait in the socket like everything else
        } else {
            assert_eq!((frame.first, frame.payload.len()), (0x82, 32_768));
            frames += 1;
        }
    }
    sender.join().expect("no panic").expect("the server takes it all");
}

// Unfinished messages.

#[test]
fn s10_4_an_unfinished_message_that_brings_no_byte_is_1008() {
    let server = Server::over(OVER, &["--message-idle-ms-max", "345"]);
    let begun = Instant::now();
    for script in [
        b"\x01\x81\0\0\0\0a".as_slice(), // a fragment
        b"\x02\x80\0\0\0\0",             // an empty one
        b"\x82\x8a\0\0\0\0half",         // inside a frame
        b"\x82\x8a\0\0\0\0",             // behind its header
        b"\x01\x81\0\0\0\0a\x00\x85\0\0\0\0b",
    ] {
        let reason = server.open().send(script).expect_fault(1008);
        assert!(reason.contains("345"), "the reason names the limit: {reason:?}");
    }
    assert!(begun.elapsed() >= Duration::from_millis(5 * 345), "five of them in {:?}", begun.elapsed());
}

#[test]
fn s10_4_pings_do_not_keep_an_unfinished_message() {
    let server = Server::over(OVER, &["--message-idle-ms-max", "400"]);
    let begun = Instant::now();
    let mut peer = server.open();
    peer.send(b"\x01\x81\0\0\0\0a");
    loop {
        peer.send_regardless(b"\x89\x81\0\0\0\0p\x8a\x80\0\0\0\0");
        let frame = peer.expect_frame();
        if frame.first != 0x8a {
            assert!(frame.is_close(1008), "{frame:?}");
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "a ping a while holds a message forever");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(begun.elapsed() >= Duration::from_millis(400), "after {:?}", begun.elapsed());
}

#[test]
fn s10_4_a_slow_message_that_brings_bytes_is_taken() {
    let _alone = alone();
    let server = Server::over(OVER, &["--message-idle-ms-max", "1500"]);
    let mut peer = server.open();
    peer.send(&announced(0x82, 40));
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(60));
        peer.send(b"s");
    }
    peer.expect(&unmasked(0x82, &[b's'; 40])).expect_silence();
}

#[test]
fn s10_4_an_idle_connection_is_no_unfinished_message() {
    let server = Server::over(OVER, &["--message-idle-ms-max", "200"]);
    let (mut idle, mut finished) = (server.open(), server.open());
    finished.send(b"\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b").expect(b"\x81\x02ab");
    server.open().send(b"\x01\x81\0\0\0\0a").expect_fault(1008); // its time goes by meanwhile
    idle.expect_echo(b"alive");
    finished.expect_echo(b"alive");
}
