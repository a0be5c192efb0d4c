//! `Engine::handle_drain`: who is closed when, with what, and that nothing which came before is lost.

use crate::duo::{
    REQUEST, RESPONSE, bare, close_body,
    drive::{Drive, Seen, echo},
    masked,
};
use sockeye::{Cause, ConnId, Dial, Lost};

/// The code and the reason of the Close that a peer was sent, of all bytes since it was asked last.
#[track_caller]
fn close(bytes: &[u8]) -> (u16, String) {
    assert!(bytes.len() >= 4 && bytes[0] == 0x88 && bytes.len() == 2 + usize::from(bytes[1]), "{bytes:?}");
    let reason = String::from_utf8(bytes[4..].to_vec()).expect("it is UTF-8");
    (u16::from_be_bytes([bytes[2], bytes[3]]), reason)
}

/// The wish in a reason.
#[track_caller]
fn retry_ms(reason: &str) -> u32 {
    let (_, wish) = reason.split_once("; retry_ms=").unwrap_or_else(|| panic!("a wish: {reason}"));
    wish.parse().expect("a number")
}

/// Time passes until `ms`, in the steps that the engine asks for; who was closed when.
fn pass(drive: &mut Drive, ids: &[ConnId], ms: u64) -> Vec<(u64, ConnId)> {
    let mut closed = Vec::new();
    let mut note = |drive: &mut Drive, at: u64| {
        for &id in ids {
            let bytes = drive.take_bytes(id);
            if !bytes.is_empty() {
                close(&bytes);
                closed.push((at, id));
            }
        }
    };
    note(drive, 0);
    while let Some(at) = drive.poll_timeout().filter(|&at| at <= ms) {
        drive.at(at);
        note(drive, at);
    }
    drive.at(ms);
    closed
}

#[test]
fn closes_are_spread_evenly_and_all_are_sent_in_time() {
    let mut drive = Drive::new(echo);
    let ids: Vec<_> = (0..1_000).map(|_| drive.open()).collect();
    let before = drive.poll_timeout();
    drive.drain(1_000, false);
    let closed = pass(&mut drive, &ids, 1_000);
    assert_eq!(closed.len(), 1_000);
    assert!(drive.is_drained());
    let mut tenths = [0; 10];
    let mut batches = std::collections::BTreeMap::new();
    for &(at, _) in &closed {
        tenths[(at as usize).min(999) / 100] += 1;
        *batches.entry(at).or_insert(0) += 1;
    }
    assert!(tenths.iter().all(|count| (85..=115).contains(count)), "{tenths:?}");
    assert!(batches.values().all(|&count| count <= 11), "{batches:?}");
    assert!(batches.keys().zip(batches.keys().skip(1)).all(|(a, b)| b - a >= 10), "{batches:?}");
    // No batch is left to wait for: the next deadline is that of the first closing handshake.
    assert!(drive.poll_timeout() > Some(5_000) && drive.poll_timeout() <= before, "{before:?}");
}

#[test]
fn a_few_are_closed_each_in_the_middle_of_its_part_of_the_time() {
    let mut drive = Drive::new(echo);
    let ids: Vec<_> = (0..4).map(|_| drive.open()).collect();
    drive.drain(1_000, false);
    let closed = pass(&mut drive, &ids, 2_000);
    let expected: Vec<_> = [125, 375, 625, 875].into_iter().zip(ids).collect();
    assert_eq!(closed, expected);
}

#[test]
fn within_no_time_all_are_closed_at_once() {
    let mut drive = Drive::new(echo);
    let ids: Vec<_> = (0..100).map(|_| drive.open()).collect();
    drive.drain(0, false);
    assert!(drive.is_drained());
    assert_eq!(pass(&mut drive, &ids, 0).len(), 100);
}

#[test]
fn s7_4_1_the_code_says_whether_somebody_takes_over_and_each_has_a_wish_of_its_own() {
    for (taken_over, code, why) in
        [(true, 1012, "the server restarts"), (false, 1001, "the server is stopping")]
    {
        let mut drive = Drive::new(echo);
        let ids: Vec<_> = (0..50).map(|_| drive.open()).collect();
        drive.drain(0, taken_over);
        let mut wishes = Vec::new();
        for id in ids {
            let (found, reason) = close(&drive.take_bytes(id));
            assert!(found == code && reason.starts_with(why), "{found} {reason}");
            wishes.push(retry_ms(&reason));
        }
        assert!(wishes.iter().all(|wish| (1_000..2_000).contains(wish)), "{wishes:?}");
        wishes.sort_unstable();
        wishes.dedup();
        assert!(wishes.len() > 5, "they do not come back together: {wishes:?}");
    }
}

#[test]
fn the_rest_is_served_meanwhile() {
    let mut drive = Drive::new(echo);
    let ids = [drive.open(), drive.open()];
    drive.drain(1_000, false);
    drive.at(300);
    close(&drive.take_bytes(ids[0]));
    drive.feed(ids[1], &masked(0x81, b"still")).expect_text(ids[1], "still");
    drive.expect(ids[1], &bare(0x81, b"still"));
    // A batch later it is closed, and answers.
    drive.at(750);
    close(&drive.take_bytes(ids[1]));
    drive.feed(ids[1], &masked(0x88, b"\x03\xe9")).expect_close(ids[1], 1001, "", Cause::Local);
}

#[test]
fn what_came_before_the_close_is_handled_and_answered_before_it() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.drain(100, false);
    // It lies in the socket when the time comes.
    drive.arrive(id, &[masked(0x81, b"a"), masked(0x81, b"b")].concat()).at(50);
    drive.expect_text(id, "a").expect_text(id, "b");
    let bytes = drive.take_bytes(id);
    let (echoes, rest) = bytes.split_at(6);
    assert_eq!(echoes, [bare(0x81, b"a"), bare(0x81, b"b")].concat());
    assert_eq!(close(rest).0, 1001);
}

#[test]
fn who_is_in_the_middle_of_a_message_has_until_time_is_up() {
    let mut drive = Drive::new(echo);
    let (ends, stays, idle) = (drive.open(), drive.open(), drive.open());
    drive.feed(ends, &masked(0x01, b"a")).feed(stays, &masked(0x81, b"never whole")[..9]);
    drive.drain(1_000, false).at(900);
    close(&drive.take_bytes(idle));
    drive.expect_silence(ends).expect_silence(stays);
    drive.feed(ends, &masked(0x80, b"b")).expect_text(ends, "ab").expect(ends, &bare(0x81, b"ab"));
    drive.at(drive.poll_timeout().expect("a batch is due"));
    close(&drive.take_bytes(ends));
    drive.at(999).expect_silence(stays).at(1_000);
    close(&drive.take_bytes(stays));
    assert!(drive.is_drained());
}

#[test]
fn a_handshake_that_has_begun_is_completed_or_refused_when_time_is_up() {
    let mut drive = Drive::new(echo);
    let (ends, stays, late) = (drive.accept(), drive.accept(), drive.accept());
    drive.feed(ends, &REQUEST[..60]).feed(stays, &REQUEST[..60]).drain(1_000, true).at(600);
    drive.feed(ends, &REQUEST[60..]).expect(ends, RESPONSE).expect_seen(ends, Seen::Open);
    drive.feed(ends, &masked(0x81, b"a")).expect_text(ends, "a").expect(ends, &bare(0x81, b"a"));
    // The rest of this one lies in the socket at the end: it is accepted, and told where to go.
    drive.at(999).arrive(late, REQUEST).at(1_000).expect_seen(late, Seen::Open);
    let answer = drive.take_bytes(late);
    assert_eq!(close(answer.strip_prefix(RESPONSE).expect("101")).0, 1012);
    assert_eq!(close(&drive.take_bytes(ends)).0, 1012);
    let refusal = String::from_utf8(drive.take_bytes(stays)).expect("it is text");
    assert!(refusal.starts_with("HTTP/1.1 503 ") && refusal.contains("\r\nRetry-After: 1\r\n"), "{refusal}");
}

#[test]
fn who_is_paused_has_until_time_is_up() {
    let mut drive = Drive::new(echo);
    let ids = [drive.open(), drive.open()];
    drive.act(|cx| cx.pause(ids[0]));
    drive.drain(1_000, false).at(900).expect_silence(ids[0]);
    drive.arrive(ids[0], &masked(0x81, b"a")).act(|cx| cx.resume(ids[0]));
    drive.expect_text(ids[0], "a").expect(ids[0], &bare(0x81, b"a"));
    close(&drive.take_bytes(ids[1]));
    drive.at(1_000);
    close(&drive.take_bytes(ids[0]));
}

#[test]
fn the_close_goes_behind_what_a_slow_reader_has_not_taken_which_has_closing_ms_max() {
    let mut drive = Drive::new(echo);
    let (slow, dead) = (drive.open(), drive.open());
    for id in [slow, dead] {
        drive.block(id).feed(id, &masked(0x81, b"a")).expect_text(id, "a");
    }
    drive.drain(0, false).take(slow, usize::MAX);
    let bytes = drive.take_bytes(slow);
    assert_eq!(close(bytes.strip_prefix(&bare(0x81, b"a")[..]).expect("the echo")).0, 1001);
    drive.feed(slow, &masked(0x88, b"\x03\xe9")).expect_close(slow, 1001, "", Cause::Local);
    drive.at(4_999).expect_alive(dead).at(5_016);
    drive.expect_close(dead, 1006, "", Cause::Lost(Lost::NoAnswer)).expect_gone(dead);
}

#[test]
fn who_has_just_come_is_closed_last() {
    let mut drive = Drive::new(echo);
    let before: Vec<_> = (0..8).map(|_| drive.open()).collect();
    // Places of lower numbers are free again.
    for &id in &before[..2] {
        drive.feed_eof(id).expect_gone(id).take_seen();
    }
    drive.drain_ahead();
    assert!(drive.act(|cx| cx.is_draining()));
    let after: Vec<_> = (0..2).map(|_| drive.open()).collect();
    assert!(after.iter().all(|id| id.index() < 2), "{after:?}");
    drive.drain(800, false);
    let ids: Vec<_> = before[2..].iter().chain(&after).copied().collect();
    let closed = pass(&mut drive, &ids, 800);
    assert_eq!(closed.len(), 8);
    let last: Vec<_> = closed[6..].iter().map(|&(_, id)| id.index()).collect();
    assert!(last.iter().all(|&index| index < 2), "{closed:?}");
    assert!(closed[6].0 >= 400 && closed[7].0 < 800, "{closed:?}");
}

#[test]
fn if_all_have_just_come_they_have_half_of_the_time_to_say_something() {
    let mut drive = Drive::new(echo);
    drive.drain_ahead();
    let ids: Vec<_> = (0..4).map(|_| drive.open()).collect();
    drive.drain(800, false);
    let closed = pass(&mut drive, &ids, 800);
    assert_eq!(closed.iter().map(|&(at, _)| at).collect::<Vec<_>>(), [450, 550, 650, 750]);
}

#[test]
fn those_who_leave_by_themselves_are_not_waited_for() {
    let mut drive = Drive::new(echo);
    let ids: Vec<_> = (0..10).map(|_| drive.open()).collect();
    drive.drain(1_000, false).at(100);
    for &id in &ids[1..] {
        drive.feed_eof(id).expect_gone(id).take_seen();
    }
    close(&drive.take_bytes(ids[0]));
    drive.at(200);
    assert!(drive.is_drained());
}

#[test]
fn a_drain_can_be_hastened_and_not_delayed() {
    for late in [false, true] {
        let mut drive = Drive::new(echo);
        if late {
            drive.drain_ahead();
        }
        let ids: Vec<_> = (0..10).map(|_| drive.open()).collect();
        drive.drain(600_000, false).at(100).drain(1_000, false).at(200).drain(5_000, true);
        let closed = pass(&mut drive, &ids, 1_100);
        assert_eq!(closed.len(), 10);
        assert!(closed[9].0 - closed[0].0 >= 400, "they are spread over what is left: {closed:?}");
        assert!(drive.is_drained());
    }
}

#[test]
fn a_server_that_was_dialled_is_told_1001_and_no_wish() {
    let mut drive = Drive::new(echo);
    let id = drive.act(|cx| cx.dial(Dial::new("a", 80)));
    drive.connect(id).feed(id, RESPONSE).take_bytes(id);
    drive.expect_seen(id, Seen::Response(None)).expect_seen(id, Seen::Open);
    drive.drain(0, true);
    let bytes = drive.take_bytes(id);
    assert_eq!((bytes[0], bytes[1] & 0x7f), (0x88, 24));
    let text: Vec<u8> = bytes[6..].iter().enumerate().map(|(i, byte)| byte ^ bytes[2 + i % 4]).collect();
    assert_eq!(text, close_body(1001, "the server is stopping"));
}

#[test]
fn a_shutdown_closes_the_rest_at_once_and_says_the_same() {
    let mut drive = Drive::new(echo);
    let ids: Vec<_> = (0..10).map(|_| drive.open()).collect();
    drive.drain(1_000, true).at(100).shutdown();
    for id in ids {
        let (code, reason) = close(&drive.take_bytes(id));
        assert!(code == 1012 && (1_000..2_000).contains(&retry_ms(&reason)), "{code} {reason}");
    }
}

#[test]
fn a_handler_asks_that_the_server_drain_and_sees_that_it_does() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    assert!(!drive.act(|cx| cx.is_draining()) && !drive.drain_asked);
    drive.act(|cx| cx.drain());
    assert!(drive.drain_asked);
    drive.drain(100, false);
    assert!(drive.act(|cx| cx.is_draining()));
    drive.at(100).feed(id, &masked(0x88, b"\x03\xe9")).expect_close(id, 1001, "", Cause::Local);
    close(&drive.take_bytes(id));
    drive.expect_shut(id);
}

/// What was sent before the Close is handled; how much of it may be sent in a second is of no interest then.
#[test]
fn who_may_not_be_read_for_having_sent_too_much_is_read_out_before_its_close() {
    for within_ms in [0, 100] {
        let mut drive = Drive::with(|config| config.limits.messages_per_second_max = 1, echo);
        let id = drive.open();
        drive.at(10_000).feed(id, &masked(0x81, b"a")).expect_text(id, "a").expect(id, &bare(0x81, b"a"));
        assert!(!drive.wants_read(id));
        drive.arrive(id, &[masked(0x81, b"b"), masked(0x81, b"c")].concat()).expect_silence(id);
        drive.drain(within_ms, false).at(10_050).expect_text(id, "b").expect_text(id, "c");
        let bytes = drive.take_bytes(id);
        let (echoes, rest) = bytes.split_at(6);
        assert_eq!(echoes, [bare(0x81, b"b"), bare(0x81, b"c")].concat());
        assert_eq!(close(rest).0, 1001);
        assert!(drive.is_drained());
    }
}

#[test]
fn who_comes_when_all_had_their_turn_has_until_time_is_up() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.drain(1_000, true).at(500);
    close(&drive.take_bytes(id));
    assert!(drive.is_drained());
    let late = drive.open();
    assert!(!drive.is_drained());
    drive.feed(late, &masked(0x81, b"a")).expect_text(late, "a").expect(late, &bare(0x81, b"a"));
    drive.at(999).expect_silence(late).at(1_000);
    assert_eq!(close(&drive.take_bytes(late)).0, 1012);
    assert!(drive.is_drained());
}

/// Its socket takes all that waits when both have said Close: it is closed, and not to be read once more.
#[test]
fn a_slow_reader_that_takes_the_last_of_it_when_the_server_stops_is_dropped() {
    let mut drive = Drive::with(|config| config.limits.outbox_bytes_soft = 8, echo);
    let id = drive.open();
    drive.block(id).feed(id, &masked(0x81, b"more than the soft mark")).take_seen();
    drive.shutdown().feed(id, &masked(0x88, b"\x03\xe9")).expect_close(id, 1001, "", Cause::Local);
    drive.take(id, usize::MAX).expect_gone(id).take_bytes(id);
}
