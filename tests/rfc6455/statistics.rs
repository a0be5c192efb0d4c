//! The engine's books: everything is counted, and once. Each test of an engine ends with a look at whether they balance
//! (`Drive::statistics`); here it is said what is to be in them.

use crate::duo::{
    REQUEST, bare, close_body,
    drive::{Drive, On, echo},
    masked,
};
use sockeye::{
    Answer, CloseCode, ConnId, Context, Dial, DialError, Handshakes, HttpResponse, Lost, Sent, Statistics,
};
use std::io;

fn text(text: &str) -> Vec<u8> {
    masked(0x81, text.as_bytes())
}

/// A way for a connection to end, and what is counted for it alone.
type End = (fn(&mut Drive), &'static str);

/// What was counted in `after` and not in `before` of how connections end: each is one word.
fn counted(before: &Statistics, after: &Statistics) -> Vec<String> {
    let mut words = Vec::new();
    let results = |of: &Handshakes| [("answered", of.answered), ("lost", of.lost), ("tls", of.tls_failed)];
    for ((name, was), (_, is)) in results(&before.handshakes).into_iter().zip(results(&after.handshakes)) {
        words.extend((was..is).map(|_| name.to_owned()));
    }
    for (status, name, is) in after.refusals() {
        let was =
            before.refusals().find(|found| (found.0, found.1) == (status, name)).map_or(0, |found| found.2);
        words.extend((was..is).map(|_| format!("{status} {name}")));
    }
    for (code, cause, is) in after.closes() {
        let was =
            before.closes().find(|found| (found.0, found.1) == (code, cause)).map_or(0, |found| found.2);
        let code = code.map_or("other".to_owned(), |code| code.to_string());
        words.extend((was..is).map(|_| format!("{code} {cause}")));
    }
    words
}

/// Ends before there is a connection.
const REFUSED: [End; 12] = [
    (|drive| _ = accept_and_send(drive, b"GET / HTTP/1.0\r\n\r\n"), "505 http_version"),
    (|drive| _ = accept_and_send(drive, b"\0\r\n\r\n"), "400 malformed"),
    (|drive| _ = accept_and_send(drive, b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n"), "405 method"),
    (|drive| _ = accept_and_send(drive, b"GET /pages HTTP/1.1\r\nHost: a\r\n\r\n"), "answered"),
    (|drive| _ = accept_and_send(drive, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "426 upgrade_required"),
    (|drive| _ = accept_and_send(drive, &[b'a'; 40_000]), "431 head_too_large"),
    (
        |drive| {
            let head =
                String::from_utf8(REQUEST.to_vec()).unwrap().replace("Host", "Origin: http://b\r\nHost");
            accept_and_send(drive, head.as_bytes());
        },
        "403 origin",
    ),
    (
        |drive| {
            let id = accept_and_send(drive, b"GET /");
            drive.feed_eof(id);
        },
        "lost",
    ),
    (
        |drive| {
            let id = drive.accept();
            drive.lose(id, Lost::Io(io::ErrorKind::ConnectionReset));
        },
        "lost",
    ),
    (
        |drive| {
            let id = drive.accept();
            drive.fail_tls(id);
        },
        "tls",
    ),
    (
        |drive| {
            drive.accept();
            drive.pass(10_016);
        },
        "408 timeout",
    ),
    (
        |drive| {
            drive.accept();
            drive.abort();
        },
        "lost",
    ),
];

/// Ends of connections that are open.
const CLOSED: [End; 12] = [
    (|drive| _ = open_and_send(drive, &masked(0x88, &close_body(1001, "bye"))), "1001 peer"),
    (|drive| _ = open_and_send(drive, &masked(0x88, &close_body(4321, "mine"))), "other peer"),
    (|drive| _ = open_and_send(drive, &masked(0x88, b"")), "1005 peer"),
    (|drive| _ = open_and_send(drive, b"\x83\x80"), "1002 protocol"),
    (|drive| _ = open_and_send(drive, &masked(0x81, b"\xff")), "1007 invalid_data"),
    (|drive| _ = open_and_send(drive, b"\x82\xff\0\0\0\0\x7f\0\0\0\0\0\0\0"), "1009 message_too_big"),
    (
        |drive| {
            let id = open_and_send(drive, &text("a"));
            drive.feed_eof(id);
        },
        "1006 eof",
    ),
    (
        |drive| {
            let id = open_and_send(drive, &text("a"));
            drive.lose(id, Lost::Io(io::ErrorKind::ConnectionReset));
        },
        "1006 io",
    ),
    (
        |drive| {
            let id = open_and_send(drive, b"");
            drive.fail_tls(id);
        },
        "1006 io",
    ),
    (
        |drive| {
            let id = open_and_send(drive, b"");
            drive.act(|cx| cx.close(id, CloseCode::RESTART, ""));
            drive.feed(id, &masked(0x88, &close_body(1012, "")));
        },
        "1012 local",
    ),
    (
        |drive| {
            let id = open_and_send(drive, b"");
            drive.act(|cx| cx.close(id, CloseCode::NORMAL, ""));
            drive.pass(5_016);
        },
        "1006 no_answer",
    ),
    (
        |drive| {
            open_and_send(drive, b"");
            drive.abort();
        },
        "1006 stopped",
    ),
];

fn accept_and_send(drive: &mut Drive, bytes: &[u8]) -> ConnId {
    let id = drive.accept();
    drive.feed(id, bytes);
    id
}

fn open_and_send(drive: &mut Drive, bytes: &[u8]) -> ConnId {
    let id = drive.open();
    drive.feed(id, bytes);
    id
}

fn with_pages() -> Drive {
    let drive = Drive::with(|config| config.origins = vec!["http://a".to_owned()], echo);
    drive.answer(|_, _, request| match request.path() {
        "/pages" => Answer::Respond(HttpResponse::new(200)),
        _ => Answer::Refuse,
    })
}

/// Forgets what was written and told.
fn forget(drive: &mut Drive, ids: &[ConnId]) {
    drive.take_seen();
    for &id in ids {
        drive.take_bytes(id);
    }
}

#[test]
fn every_accepted_connection_is_counted_in_exactly_one_way_of_the_end() {
    for (end, word) in REFUSED.iter().chain(&CLOSED) {
        let mut drive = with_pages();
        let before = drive.statistics();
        end(&mut drive);
        assert_eq!(counted(&before, &drive.statistics()), [*word]);
        // Whatever its socket does from now on is not counted.
        drive.feed_all_eof().at(60_000);
        let after = drive.statistics();
        assert_eq!(counted(&before, &after), [*word], "after all");
        assert_eq!((after.accepted, after.handshaking(), after.open()), (1, 0, 0), "{word}");
        assert_eq!((drive.connections(), drive.buffered_bytes()), (0, 0), "{word}");
        drive.forget_all();
    }
}

#[test]
fn all_ends_together_are_as_many_as_came() {
    let mut drive = with_pages();
    for (end, _) in REFUSED.iter().chain(&CLOSED) {
        end(&mut drive);
        drive.forget_all();
    }
    let stays = drive.open();
    drive.feed_all_eof();
    let after = drive.statistics();
    let Handshakes { opened, refused, answered, lost, tls_failed, .. } = after.handshakes;
    assert_eq!(after.accepted, 25);
    assert_eq!((opened, refused, answered, lost, tls_failed), (13, 7, 1, 3, 1));
    assert_eq!((after.closed, after.open(), after.handshaking()), (13, 0, 0), "{stays} has gone too");
    drive.forget_all();
}

#[test]
fn who_the_engine_refuses_is_told_of_once_with_its_path_where_it_is_known() {
    for (end, word) in REFUSED {
        let mut drive = with_pages();
        end(&mut drive);
        let told = drive.take_refused();
        let status = word.split(' ').next().and_then(|word| word.parse::<u16>().ok());
        match word {
            "lost" | "answered" => assert_eq!(told, []),
            _ => assert_eq!(told.iter().map(|told| told.1).collect::<Vec<_>>(), [status], "{word}"),
        }
        let path = told.first().and_then(|told| told.2.as_deref());
        let is_known = ["403 origin", "405 method", "426 upgrade_required"].contains(&word);
        assert_eq!(path, is_known.then_some("/"), "{word}");
        drive.forget_all();
    }
}

#[test]
fn who_is_one_too_many_is_accepted_and_refused_and_told_of() {
    let mut drive = Drive::with(|config| config.limits.connections_max = 1, echo);
    let (one, other) = (drive.open(), drive.accept());
    assert!(drive.take_bytes(other).starts_with(b"HTTP/1.1 503 "));
    let seen = drive.statistics();
    assert_eq!((seen.accepted, seen.handshakes.opened, seen.handshakes.refused), (2, 1, 1));
    assert_eq!(seen.refusals().collect::<Vec<_>>(), [(503, "unavailable", 1)]);
    assert_eq!(drive.take_refused(), [(other, Some(503), None)]);
    assert_eq!((seen.now.connections, seen.now.connections_max), (2, 1));
    drive.feed_eof(one).feed_eof(other).take_seen();
}

#[test]
fn a_stop_refuses_handshakes_and_closes_who_is_open() {
    let mut drive = Drive::new(echo);
    let (one, other) = (drive.open(), drive.accept());
    drive.shutdown().feed(one, &masked(0x88, &close_body(1001, "")));
    let after = drive.statistics();
    assert_eq!(counted(&Drive::new(echo).statistics(), &after), ["503 unavailable", "1001 local"]);
    assert_eq!(drive.take_refused(), [(other, Some(503), None)]);
    forget(&mut drive, &[one, other]);
}

// ------------------------------------------------------------------ traffic

#[test]
fn messages_are_counted_each_way_whichever_way_they_go_back() {
    // In place, assembled from fragments, in pieces, and large.
    let large = vec![b'x'; 70_000];
    let ways: [&[u8]; 4] = [
        &[text("one"), masked(0x82, b"two"), text("")].concat(),
        &[masked(0x01, b"fo"), masked(0x89, b"ping"), masked(0x80, b"ur")].concat(),
        &masked(0x82, &large),
        &text("last"),
    ];
    for pieces in [1, 7, 4_096, usize::MAX] {
        let mut drive = Drive::new(echo);
        let id = drive.open();
        let before = drive.statistics();
        let mut written = 0;
        for way in ways {
            for piece in way.chunks(pieces.max(way.len() / 100)) {
                drive.feed(id, piece);
                written += drive.take_bytes(id).len() as u64;
            }
        }
        let seen = drive.statistics();
        assert_eq!((seen.received.messages, seen.sent.messages), (6, 6));
        assert_eq!((seen.received.bytes, seen.sent.bytes), (70_014, 70_014));
        let came: usize = ways.iter().map(|way| way.len()).sum();
        assert_eq!(seen.received.wire_bytes - before.received.wire_bytes, came as u64);
        assert_eq!(seen.sent.wire_bytes - before.sent.wire_bytes, written);
        drive.take_seen();
    }
}

#[test]
fn a_message_for_many_is_counted_for_each_of_them() {
    let mut drive = Drive::new(|cx: &mut Context<'_>, id, on: On<'_>| match on {
        On::Open => assert!(cx.subscribe(id.unwrap(), "room")),
        On::Message(message) => _ = cx.publish("room", message),
        _ => {}
    });
    let ids = [drive.open(), drive.open(), drive.open()];
    drive.feed(ids[0], &text("hello"));
    let seen = drive.statistics();
    assert_eq!((seen.received.messages, seen.received.bytes), (1, 5));
    assert_eq!((seen.sent.messages, seen.sent.bytes), (3, 15));
    drive.act(|cx| cx.broadcast(ids, "ab"));
    assert_eq!(drive.statistics().sent.bytes, 21);
    forget(&mut drive, &ids);
}

#[test]
fn what_is_not_sent_is_counted_by_its_cause() {
    let mut drive = Drive::with(
        |config| (config.limits.outbox_bytes_soft, config.limits.outbox_bytes_max) = (1_000, 2_000),
        echo,
    );
    let (slow, gone) = (drive.open(), drive.open());
    drive.feed_eof(gone).block(slow);
    let long = "m".repeat(1_500);
    drive.act(|cx| {
        let sent = [&long, &long, "late", "later"].map(|text| cx.send(slow, text));
        assert_eq!(sent, [Sent::Backlogged, Sent::Backlogged, Sent::Refused, Sent::Refused]);
        assert_eq!(cx.queues().bytes, 3_008);
        assert_eq!((cx.queues().bytes_of_longest, cx.queues().backlogged), (3_008, 1));
        cx.send(gone, "nobody");
        cx.broadcast([gone], "hears this");
    });
    let drops = drive.statistics().drops;
    assert_eq!((drops.slow_reader, drops.not_open, drops.too_large), (1, 3, 0));
    assert_eq!(drops.queued_bytes, 3_008);
    assert_eq!(drive.statistics().sent.messages, 2);
    let closes: Vec<_> =
        drive.statistics().closes().map(|(code, cause, _)| (code.unwrap().get(), cause)).collect();
    assert_eq!(closes, [(1006, "eof"), (1013, "slow_reader")]);
    forget(&mut drive, &[slow, gone]);
}

#[test]
fn of_the_pings_of_a_slow_reader_the_latest_is_answered_and_the_others_are_counted() {
    let mut drive = Drive::with(|config| config.limits.outbox_bytes_soft = 100, echo);
    let id = drive.open();
    drive.block(id);
    drive.act(|cx| cx.send(id, "first"));
    // What was read with the message that is too much is still handled.
    let long = text(&"m".repeat(100));
    drive.feed(id, &[long, masked(0x89, b"1"), masked(0x89, b"2"), masked(0x89, b"3")].concat());
    drive.take(id, usize::MAX);
    let written = drive.take_bytes(id);
    assert_eq!(written[7 + 102..], bare(0x8a, b"3"));
    assert_eq!(drive.statistics().drops.pings, 2);
    drive.take_seen();
}

#[test]
fn a_round_trip_is_from_the_keepalives_ping_to_its_pong_and_to_nothing_else() {
    let mut drive = Drive::with(|config| config.keepalive.ping_after_ms = 1_000, |_, _, _| {});
    let (answers, speaks) = (drive.open(), drive.open());
    drive.at(1_200);
    for id in [answers, speaks] {
        drive.expect(id, b"\x89\x00");
    }
    drive.at(1_230).feed(answers, &masked(0x8a, b"")).feed(speaks, &text("I am here"));
    drive.feed(speaks, &masked(0x8a, b""));
    drive.feed(answers, &masked(0x8a, b"")).feed(answers, &masked(0x8a, b"not asked for"));
    let seen = drive.statistics();
    assert_eq!((seen.pings, seen.round_trips.count()), (2, 1));
    let us = seen.round_trips.sum_us();
    assert!((1_000..=240_000).contains(&us), "{us}");
    drive.take_seen();
}

#[test]
fn what_is_dialled_is_opened_or_fails_and_no_handshake_of_ours() {
    let mut drive = Drive::new(echo);
    let id = drive.act(|cx| cx.dial(Dial::new("a", 1)));
    drive.expect_dial();
    assert_eq!((drive.statistics().dialling(), drive.statistics().accepted), (1, 0));
    let error = DialError::Resolve { host: "a".to_owned(), why: "no".to_owned() };
    drive.fail_dial(id, &error);
    let seen = drive.statistics();
    assert_eq!((seen.dials.begun, seen.dials.failed, seen.dialling()), (1, 1, 0));
    assert_eq!(seen.handshakes, Handshakes::default());
    drive.take_seen();
}
