//! The closing handshake and every other way a connection ends: RFC 6455 §5.5.1 and §7.

use super::OVER;
use crate::peer::{Frame, announced, frame, masked, unmasked};
use crate::server::{Server, alone, shared};
use std::time::{Duration, Instant};

// A Close is answered once, with itself.

#[test]
fn s5_5_1_an_empty_close_is_answered_empty() {
    shared(OVER).open().send(b"\x88\x80\0\0\0\0").expect(b"\x88\0").expect_end();
    shared(OVER).open().send(b"\x88\x80\x01\x02\x03\x04").expect(b"\x88\0").expect_end();
}

#[test]
fn s5_5_1_a_close_is_answered_with_its_code_and_reason() {
    let server = shared(OVER);
    server.open().send(b"\x88\x82\0\0\0\0\x03\xe8").expect(b"\x88\x02\x03\xe8").expect_end();
    server.open().send(b"\x88\x85\0\0\0\0\x03\xe9bye").expect(b"\x88\x05\x03\xe9bye").expect_end();
    let longest = [b"\x03\xe8".as_slice(), &[b'r'; 123]].concat();
    server.open().send(&masked(0x88, [9, 9, 9, 8], &longest)).expect(&unmasked(0x88, &longest)).expect_end();
}

#[test]
fn s7_4_every_code_a_peer_may_send_is_answered_with_itself() {
    let server = shared(OVER);
    let codes = (1000..=1003).chain(1007..=1014).chain([3000, 3001, 3500, 3999, 4000, 4001, 4500, 4999]);
    for code in codes.map(u16::to_be_bytes) {
        server.open().send(&frame(0x88, &code)).expect(&unmasked(0x88, &code)).expect_end();
    }
}

#[test]
fn s7_4_codes_no_peer_may_send_are_1002() {
    let server = shared(OVER);
    let reserved = [1004, 1005, 1006, 1015, 1016, 1017, 1100, 1999, 2000, 2999];
    for code in [0, 1, 255, 256, 999].into_iter().chain(reserved).chain([5000, 5001, 9999, 0x8000, 65_535]) {
        server.expect_fault(&frame(0x88, &u16::to_be_bytes(code)), 1002);
    }
}

#[test]
fn s7_4_a_reason_does_not_make_a_bad_code_good() {
    let server = shared(OVER);
    server.expect_fault(b"\x88\x85\0\0\0\0\x03\xee1000", 1002);
    server.expect_fault(b"\x88\x86\0\0\0\0\x13\x88over", 1002);
}

#[test]
fn s5_5_1_a_close_of_one_byte_is_1002() {
    let server = shared(OVER);
    server.expect_fault(b"\x88\x81\0\0\0\0\x03", 1002);
    server.expect_fault(b"\x88\x81\0\0\0\0\0", 1002);
}

#[test]
fn s5_5_1_a_close_is_not_answered_before_it_is_whole() {
    let server = shared(OVER);
    let (mut neighbour, mut peer) = (server.open(), server.open());
    for piece in [b"\x88".as_slice(), b"\x85", b"\0\0\0\0", b"\x03", b"\xe8b", b"y"] {
        peer.send(piece).expect_silence_beside(&mut neighbour);
    }
    peer.send(b"e").expect(b"\x88\x05\x03\xe8bye").expect_end();
}

#[test]
fn s5_5_1_a_second_close_is_not_answered() {
    let server = shared(OVER);
    server.open().send(&b"\x88\x82\0\0\0\0\x03\xe8".repeat(3)).expect(b"\x88\x02\x03\xe8").expect_end();
    let script = b"\x88\x82\0\0\0\0\x03\xe8\x88\x82\0\0\0\0\x03\xe9";
    server.open().send(script).expect(b"\x88\x02\x03\xe8").expect_end();
}

#[test]
fn s1_4_what_comes_behind_a_close_is_dropped() {
    let server = shared(OVER);
    for behind in [
        b"\x81\x81\0\0\0\0a".as_slice(),
        b"\x89\x80\0\0\0\0",
        b"\x81\x05Hello",            // would be 1002
        b"\x81\x81\0\0\0\0\xff",     // would be 1007
        b"\xff\xff\xff\xff\xff\xff", // would be anything
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut peer = server.open();
        peer.send(&[b"\x88\x82\0\0\0\0\x03\xe8", behind].concat()).expect(b"\x88\x02\x03\xe8").expect_end();
    }
}

#[test]
fn s5_5_1_what_came_before_a_close_is_answered_first() {
    let server = shared(OVER);
    let mut peer = server.open();
    peer.send(b"\x81\x81\0\0\0\0a\x89\x81\0\0\0\0b\x82\x81\0\0\0\0c\x88\x82\0\0\0\0\x03\xe8");
    peer.expect(b"\x81\x01a\x8a\x01b\x82\x01c\x88\x02\x03\xe8").expect_end();
}

#[test]
fn s5_5_1_a_close_inside_a_message_ends_it_unanswered() {
    let server = shared(OVER);
    let script = b"\x01\x81\0\0\0\0a\x88\x82\0\0\0\0\x03\xe8\x80\x81\0\0\0\0b";
    server.open().send(script).expect(b"\x88\x02\x03\xe8").expect_end();
}

#[test]
fn s5_5_1_a_close_behind_megabytes_of_unread_echo_is_answered_last() {
    let server = shared(OVER);
    let (mut script, mut answer) = (Vec::new(), Vec::new());
    for i in 0..96u8 {
        script.extend(masked(0x82, [i, 1, 2, 3], &[i; 50_000]));
        answer.extend(unmasked(0x82, &[i; 50_000]));
    }
    script.extend(b"\x88\x82\0\0\0\0\x03\xe8");
    answer.extend(b"\x88\x02\x03\xe8");
    let mut peer = server.open();
    let sender = peer.send_apart(script);
    peer.expect(&answer).expect_end();
    sender.join().expect("no panic").expect("the server takes it all");
}

// The server ends the TCP connection, and first.

#[test]
fn s7_1_1_the_server_ends_tcp_first_though_the_client_never_does() {
    let server = shared(OVER);
    let mut peer = server.open();
    let begun = Instant::now();
    peer.send(b"\x88\x82\0\0\0\0\x03\xe8").expect(b"\x88\x02\x03\xe8").expect_end();
    assert!(begun.elapsed() < Duration::from_secs(4), "before any deadline runs out");
}

#[test]
fn s7_1_7_the_answer_to_the_server_s_close_is_swallowed() {
    let server = shared(OVER);
    let mut peer = server.open();
    peer.send(b"\x81\x00");
    let close = peer.expect_frame();
    assert!(close.is_close(1002), "{close:?}");
    peer.send_regardless(&frame(0x88, &close.payload)).expect_end();
}

#[test]
fn s7_1_7_a_fault_inside_a_message_is_the_only_answer() {
    let server = shared(OVER);
    server.expect_fault(b"\x01\x81\0\0\0\0a\x89\x01b\x80\x81\0\0\0\0c", 1002);
}

#[test]
fn s7_1_7_the_close_of_a_fault_survives_what_is_still_on_its_way() {
    let server = shared(OVER);
    let too_big = announced(0x82, 16_777_217);
    for (fault, code) in [(b"\x81\x01x".as_slice(), 1002), (b"\x81\x81\0\0\0\0\xff", 1007), (&too_big, 1009)]
    {
        let mut peer = server.open();
        peer.send_regardless(fault);
        for _ in 0..64 {
            peer.send_regardless(&[0x82; 16_384]);
        }
        peer.expect_fault(code);
    }
}

#[test]
fn s7_1_7_a_peer_that_talks_on_after_a_fault_is_cut() {
    let _alone = alone();
    let server = Server::over(OVER, &["--linger-ms-max", "300"]);
    let mut peer = server.open();
    peer.send(b"\x81\x01x").expect_fault(1002);
    peer.send_until_cut(&[0x82; 16_384]);
    server.open().expect_echo(b"and others are served");
}

#[test]
fn s7_1_1_a_peer_that_talks_on_after_its_close_is_cut() {
    let _alone = alone();
    let server = Server::over(OVER, &["--linger-ms-max", "300", "--closing-ms-max", "300"]);
    let mut peer = server.open();
    peer.send(b"\x88\x80\0\0\0\0").expect(b"\x88\0").expect_end();
    peer.send_until_cut(&b"\x82\x81\0\0\0\0x".repeat(2_000));
    server.open().expect_echo(b"and others are served");
}

// Ends without a Close.

#[test]
fn s7_1_4_what_came_before_the_end_of_the_stream_is_answered_first() {
    let server = shared(OVER);
    let mut peer = server.open();
    peer.send(b"\x81\x85\0\0\0\0Hello\x89\x81\0\0\0\0!").finish();
    peer.expect(b"\x81\x05Hello\x8a\x01!").expect_end();
}

#[test]
fn s7_1_4_a_close_and_the_end_of_the_stream_together_are_answered() {
    let server = shared(OVER);
    let mut peer = server.open();
    peer.send(b"\x81\x81\0\0\0\0a\x88\x82\0\0\0\0\x03\xe8").finish();
    peer.expect(b"\x81\x01a\x88\x02\x03\xe8").expect_end();
}

#[test]
fn s7_1_4_a_fault_and_the_end_of_the_stream_together_are_answered() {
    let server = shared(OVER);
    let mut peer = server.open();
    peer.send(b"\x81\x81\0\0\0\0a\x81\x01b").finish().expect(b"\x81\x01a").expect_fault(1002);
}

#[test]
fn s7_1_4_megabytes_before_the_end_of_the_stream_are_answered_though_read_late() {
    let server = shared(OVER);
    let (mut script, mut answer) = (Vec::new(), Vec::new());
    for i in 0..4u8 {
        script.extend(masked(0x82, [i, 1, 2, 3], &vec![i; 1 << 20]));
        answer.extend(unmasked(0x82, &vec![i; 1 << 20]));
    }
    let mut peer = server.open();
    let sender = peer.send_apart(script);
    // Only what comes back makes room for the rest: the end is sent when all of it is written.
    let first = peer.expect_frame();
    assert_eq!(first, Frame { first: 0x82, payload: vec![0; 1 << 20] });
    peer.expect(&answer[(1 << 20) + 10..2 * ((1 << 20) + 10)]);
    sender.join().expect("no panic").expect("the server takes it all");
    peer.finish().expect(&answer[2 * ((1 << 20) + 10)..]).expect_end();
}

#[test]
fn s7_1_5_the_end_of_an_idle_stream_is_answered_by_the_end() {
    let server = shared(OVER);
    server.open().finish().expect_end();
    server.open().expect_echo(b"before").finish().expect_end();
}

#[test]
fn s7_1_5_the_end_of_the_stream_inside_a_frame_is_answered_by_the_end() {
    let server = shared(OVER);
    let script = masked(0x82, [1, 2, 3, 4], &[7; 200]);
    for cut in [1, 2, 3, 4, 7, 8, 9, 100, script.len() - 1] {
        server.open().send(&script[..cut]).finish().expect_end();
    }
}

#[test]
fn s7_1_5_the_end_of_the_stream_inside_a_message_is_answered_by_the_end() {
    let server = shared(OVER);
    server.open().send(b"\x01\x81\0\0\0\0a").finish().expect_end();
    server.open().send(b"\x01\x81\0\0\0\0a\x89\x80\0\0\0\0").finish().expect(b"\x8a\0").expect_end();
}

#[test]
fn s7_1_5_a_reset_harms_nobody_else() {
    let server = shared(OVER);
    let mut neighbour = server.open();
    for _ in 0..50 {
        let mut peer = server.open();
        peer.send(b"\x81\x85\0\0\0\0Hello\x82\xfe\x01\x00\0\0\0\0half");
        peer.abort();
        neighbour.expect_echo(b"still here");
    }
    server.open().expect_echo(b"and a new one");
}

#[test]
fn s7_1_5_a_reset_during_the_closing_handshake_harms_nobody_else() {
    let server = shared(OVER);
    let mut neighbour = server.open();
    for script in [b"\x88\x82\0\0\0\0\x03\xe8".as_slice(), b"\x81\x01x"] {
        for _ in 0..25 {
            let mut peer = server.open();
            peer.send(script);
            peer.abort();
            neighbour.expect_echo(b"still here");
        }
    }
}

#[test]
fn s7_1_5_a_peer_gone_right_behind_its_bytes_harms_nobody_else() {
    let server = shared(OVER);
    let mut neighbour = server.open();
    for n in 0..100 {
        let mut peer = server.open();
        peer.send(&b"\x81\x85\0\0\0\0Hello".repeat(n));
        drop(peer);
        neighbour.expect_echo(b"still here");
    }
}

// The server goes.

#[test]
fn s7_4_1_a_server_told_to_stop_says_1001_to_everyone() {
    let mut server = Server::over(OVER, &[]);
    let mut peers: Vec<_> = (0..20).map(|_| server.open()).collect();
    let mut inside = server.open();
    inside.send(b"\x01\x81\0\0\0\0a").expect_silence();
    peers.push(inside);
    server.signal("TERM");
    for peer in &mut peers {
        let close = peer.expect_frame();
        assert!(close.is_close(1001), "{close:?}");
        peer.send_regardless(&frame(0x88, &close.payload)).expect_end();
    }
    assert_eq!(server.expect_exit().code(), Some(0));
}

#[test]
fn s7_4_1_a_peer_that_never_answers_1001_does_not_keep_the_server() {
    let _alone = alone();
    let mut server = Server::over(OVER, &[]);
    let mut deaf = server.open();
    let begun = Instant::now();
    server.signal("INT");
    let close = deaf.expect_frame();
    assert!(close.is_close(1001), "{close:?}");
    assert_eq!(server.expect_exit().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(8), "5 s at most, took {:?}", begun.elapsed());
}

#[test]
fn s7_4_1_a_crowd_that_never_answers_1001_is_told_in_time_and_does_not_keep_the_server() {
    let _alone = alone();
    let mut server = Server::over(OVER, &["--drain-ms", "500", "--closing-ms-max", "1000"]);
    let mut deaf: Vec<_> = (0..300).map(|_| server.open()).collect();
    // Half of them flood, too.
    let flood = frame(0x82, &[b'f'; 100]).repeat(200);
    for peer in deaf.iter_mut().step_by(2) {
        peer.send_regardless(&flood);
    }
    let begun = Instant::now();
    server.signal("TERM");
    assert_eq!(server.expect_exit().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(8), "2 s or so, took {:?}", begun.elapsed());
    for peer in deaf.iter_mut().skip(1).step_by(2) {
        let close = peer.expect_frame();
        assert!(close.is_close(1001), "{close:?}");
    }
}

#[test]
fn s7_4_1_a_second_signal_ends_the_server_at_once() {
    let mut server = Server::over(OVER, &["--closing-ms-max", "60000"]);
    let mut deaf = server.open();
    let begun = Instant::now();
    server.signal("TERM");
    assert!(deaf.expect_frame().is_close(1001));
    server.signal("TERM");
    server.expect_exit();
    assert!(begun.elapsed() < Duration::from_secs(4), "at once, took {:?}", begun.elapsed());
}
