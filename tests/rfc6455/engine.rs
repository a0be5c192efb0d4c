//! What the engine adds to the protocol: the contract with its handler, ids, refusals, topics, pausing, stopping, time.

use crate::duo::{
    REQUEST, RESPONSE, bare, close_body,
    drive::{Drive, On, Seen, echo},
    masked,
};
use sockeye::{Cause, CloseCode, ConnId, Context, Fanout, Fault, Lost, Message, Sent};
use std::net::SocketAddr;

fn text(text: &str) -> Vec<u8> {
    masked(0x81, text.as_bytes())
}

fn said(text: &str) -> Vec<u8> {
    bare(0x81, text.as_bytes())
}

// ------------------------------------------------------------------ on_open and on_close

#[test]
fn every_on_open_has_one_on_close_however_the_connection_ends() {
    let cause = Cause::Fault(Fault::ReservedOpcode { opcode: 3 });
    type End = fn(&mut Drive, ConnId);
    let reset = Lost::Io(std::io::ErrorKind::ConnectionReset);
    let ends: [(End, u16, &str, Cause); 7] = [
        (|drive, id| _ = drive.feed(id, &masked(0x88, b"\x0f\xa1why")), 4001, "why", Cause::Peer),
        (|drive, id| _ = drive.feed(id, &masked(0x88, b"")), 1005, "", Cause::Peer),
        (|drive, id| _ = drive.feed(id, b"\x83\x80"), 1002, "opcode 0x3 is reserved", cause),
        (|drive, id| _ = drive.feed_eof(id), 1006, "", Cause::Lost(Lost::Eof)),
        (
            |drive, id| _ = drive.lose(id, Lost::Io(std::io::ErrorKind::ConnectionReset)),
            1006,
            "",
            Cause::Lost(reset),
        ),
        (|drive, _| _ = drive.abort(), 1006, "", Cause::Lost(Lost::Stopped)),
        (
            |drive, id| {
                drive.act(|cx| cx.close(id, CloseCode::NORMAL, ""));
                drive.at(5_016);
            },
            1006,
            "",
            Cause::Lost(Lost::NoAnswer),
        ),
    ];
    for (end, code, reason, cause) in ends {
        let mut drive = Drive::new(echo);
        let id = drive.open();
        end(&mut drive, id);
        drive.expect_close(id, code, reason, cause);
        // The rest of its life is silent: `Script` fails the test at a second on_close.
        drive.feed_eof(id).at(20_000).expect_gone(id).expect_nothing_seen();
        assert_eq!((drive.connections(), drive.buffered_bytes()), (0, 0), "{cause:?}");
        drive.take_bytes(id);
    }
}

#[test]
fn a_connection_that_never_opened_is_not_closed_either() {
    let mut drive = Drive::new(echo);
    let refused = drive.accept();
    drive.feed(refused, b"GET / HTTP/1.0\r\n\r\n").take_bytes(refused);
    let left = drive.accept();
    drive.feed(left, &REQUEST[..50]).feed_eof(left).expect_gone(left);
    let lost = drive.accept();
    drive.lose(lost, Lost::Eof).expect_gone(lost);
    let late = drive.accept();
    drive.at(10_016).expect_nothing_seen();
    assert!(drive.take_bytes(late).starts_with(b"HTTP/1.1 408 "));
    drive.at(20_000).expect_gone(refused).expect_gone(late);
    assert_eq!((drive.connections(), drive.buffered_bytes()), (0, 0));
}

#[test]
fn on_close_can_do_nothing_with_the_id_any_more() {
    let act = |cx: &mut Context<'_>, id: Option<ConnId>, on: On<'_>| {
        let id = id.unwrap();
        match on {
            On::Open => assert!(cx.subscribe(id, "room")),
            On::Close(_) => {
                assert_eq!(cx.send(id, "hi"), Sent::Refused);
                assert_eq!(cx.publish("room", "hi"), Fanout::default());
                assert_eq!(cx.broadcast([id], "hi"), Fanout { refused: 1, ..Fanout::default() });
                assert!(!cx.subscribe(id, "room") && !cx.unsubscribe(id, "room"));
                assert!(!cx.ping(id, b"") && !cx.close(id, CloseCode::NORMAL, ""));
                cx.pause(id);
                cx.resume(id);
            }
            _ => {}
        }
    };
    for end in [&masked(0x88, b"")[..], b"\x83\x80"] {
        let mut drive = Drive::new(act);
        let id = drive.open();
        drive.feed(id, end);
        drive.take_bytes(id);
        drive.take_seen();
        drive.feed_eof(id).expect_gone(id);
    }
    let mut drive = Drive::new(act);
    let id = drive.open();
    drive.feed_eof(id).take_seen();
    drive.expect_gone(id);
}

#[test]
fn data_that_came_with_the_end_of_tcp_is_delivered_first() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.arrive(id, &[text("a"), masked(0x01, b"half")].concat()).feed_eof(id);
    drive.expect_text(id, "a").expect_close(id, 1006, "", Cause::Lost(Lost::Eof)).expect(id, &said("a"));
    drive.expect_gone(id);
    let id = drive.open();
    drive.arrive(id, &[text("a"), masked(0x88, b"\x03\xe8")].concat()).feed_eof(id);
    drive.expect_text(id, "a").expect_close(id, 1000, "", Cause::Peer);
    drive.expect(id, &[said("a"), b"\x88\x02\x03\xe8".to_vec()].concat()).expect_gone(id);
}

#[test]
fn what_is_queued_when_tcp_ends_is_still_written() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.block(id).feed(id, &text("a")).feed_eof(id).expect_alive(id);
    drive.expect_text(id, "a").expect_close(id, 1006, "", Cause::Lost(Lost::Eof));
    drive.take(id, usize::MAX).expect(id, &said("a")).expect_gone(id);
}

// ------------------------------------------------------------------ on_pong

#[test]
fn a_pong_is_told_of_in_its_place_among_the_messages() {
    let mut drive = Drive::new(|cx, id, on| match (id, on) {
        (Some(id), On::Message(message)) => _ = cx.send(id, message),
        (Some(id), On::Pong(payload)) => _ = cx.send(id, Message::Binary(payload)),
        _ => {}
    });
    let id = drive.open();
    let sent = [text("before"), masked(0x8a, b"7"), text("after"), masked(0x8a, b"")].concat();
    let told = [said("before"), bare(0x82, b"7"), said("after"), bare(0x82, b"")].concat();
    drive.feed(id, &sent).expect(id, &told);
    // In the middle of a message, §5.4.
    let sent = [masked(0x01, b"o"), masked(0x8a, b"8"), masked(0x80, b"ne")].concat();
    drive.feed(id, &sent).expect(id, &[bare(0x82, b"8"), said("one")].concat());
    drive.expect_text(id, "before").expect_text(id, "after").expect_text(id, "one");
}

#[test]
fn after_our_close_no_pong_is_told_of() {
    let mut drive = Drive::new(|_, _, on| assert!(!matches!(on, On::Pong(_))));
    let id = drive.open();
    drive.act(|cx| cx.close(id, CloseCode::NORMAL, ""));
    drive.feed(id, &masked(0x8a, b"")).expect(id, &bare(0x88, &close_body(1000, "")));
}

// ------------------------------------------------------------------ closing

#[test]
fn s7_1_1_the_server_shuts_writing_down_once_its_close_is_written_and_closes_at_the_peers_end() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.block(id).take(id, 2).feed(id, &masked(0x88, b"\x03\xe8")).expect(id, b"\x88\x02").expect_alive(id);
    drive.expect_close(id, 1000, "", Cause::Peer);
    drive.take(id, usize::MAX).expect(id, b"\x03\xe8").expect_shut(id);
    drive.feed(id, &text("late")).expect_shut(id).expect_silence(id).feed_eof(id).expect_gone(id);
}

#[test]
fn s7_1_1_a_peer_that_does_not_end_tcp_is_dropped_after_linger_ms_max() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.at(1_000).feed(id, &masked(0x88, b"")).expect(id, b"\x88\x00").expect_shut(id);
    drive.expect_close(id, 1005, "", Cause::Peer);
    drive.at(1_999).expect_shut(id).at(2_016).expect_gone(id);
}

#[test]
fn s7_1_2_a_handlers_close_goes_behind_what_is_queued_and_on_close_follows_the_answer() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.act(|cx| {
        cx.send(id, "first");
        assert!(cx.close(id, CloseCode::new(4000), "done"));
        assert!(!cx.close(id, CloseCode::NORMAL, ""));
        assert_eq!(cx.send(id, "late"), Sent::Refused);
    });
    drive.expect(id, &[said("first"), bare(0x88, &close_body(4000, "done"))].concat()).expect_alive(id);
    drive.feed(id, &text("dropped")).expect_nothing_seen();
    drive.feed(id, &masked(0x88, &close_body(4000, "done"))).expect_close(id, 4000, "done", Cause::Local);
    drive.expect_shut(id).feed_eof(id).expect_gone(id);
}

#[test]
fn a_peer_that_does_not_answer_our_close_is_dropped_after_closing_ms_max() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.at(1_000).act(|cx| assert!(cx.close(id, CloseCode::NORMAL, "")));
    drive.expect(id, b"\x88\x02\x03\xe8").at(5_999).expect_alive(id).expect_nothing_seen();
    drive.at(6_016).expect_close(id, 1006, "", Cause::Lost(Lost::NoAnswer)).expect_gone(id);
}

#[test]
fn after_a_fault_the_close_is_given_linger_ms_max_to_be_written() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.at(1_000).block(id).feed(id, b"\x83\x80").expect_alive(id);
    let cause = Cause::Fault(Fault::ReservedOpcode { opcode: 3 });
    drive.expect_close(id, 1002, "opcode 0x3 is reserved", cause);
    drive.at(1_999).expect_alive(id).at(2_016).expect_gone(id).expect_silence(id);
    assert_eq!(drive.buffered_bytes(), 0);
}

// ------------------------------------------------------------------ ids

#[test]
fn an_id_whose_connection_has_ended_is_refused_though_its_place_is_taken_again() {
    let mut drive = Drive::new(echo);
    let (old, other) = (drive.open(), drive.open());
    drive.feed_eof(old).expect_close(old, 1006, "", Cause::Lost(Lost::Eof)).expect_gone(old);
    let new = drive.open();
    assert!(new.index() == old.index() && new != old);
    drive.act(|cx| {
        assert_eq!(cx.send(old, "hi"), Sent::Refused);
        assert_eq!(
            cx.broadcast([old, new, other], "hi"),
            Fanout { queued: 2, refused: 1, ..Fanout::default() }
        );
        assert!(!cx.subscribe(old, "room") && !cx.ping(old, b"") && !cx.close(old, CloseCode::NORMAL, ""));
        assert_eq!((cx.buffered(old), cx.peer(old)), (None, None));
        cx.pause(old);
        assert_eq!(cx.connections(), 2);
    });
    assert!(drive.wants_read(new) && !drive.wants_read(old));
    drive.expect(new, &said("hi")).expect(other, &said("hi")).expect_silence(old);
}

#[test]
fn a_connection_in_its_handshake_is_sent_nothing() {
    let mut drive = Drive::new(echo);
    let id = drive.accept();
    drive.act(|cx| {
        assert_eq!(cx.send(id, "hi"), Sent::Refused);
        assert_eq!(cx.broadcast([id], "hi"), Fanout { refused: 1, ..Fanout::default() });
        assert!(!cx.subscribe(id, "room") && !cx.ping(id, b"") && !cx.close(id, CloseCode::NORMAL, ""));
        assert_eq!(cx.buffered(id), Some(0));
    });
    drive.expect_silence(id).feed(id, REQUEST).expect(id, RESPONSE).expect_seen(id, Seen::Open);
}

#[test]
fn a_peers_address_is_what_it_was_accepted_with() {
    let mut drive = Drive::new(echo);
    let addresses = ["192.0.2.1:80", "[2001:db8::1]:81", "[::ffff:192.0.2.1]:82"];
    for address in addresses.map(|text| text.parse::<SocketAddr>().unwrap()) {
        let id = drive.accept_from(Some(address));
        assert_eq!(drive.act(|cx| cx.peer(id)).unwrap().address, Some(address));
    }
    let id = drive.accept();
    assert_eq!(drive.act(|cx| cx.peer(id)).unwrap().address, None);
}

// ------------------------------------------------------------------ refusals

const FULL: &str = "the server has as many connections as it may have";
const ADDRESS_FULL: &str = "this address has as many connections as it may have";

#[track_caller]
fn expect_503(drive: &mut Drive, id: ConnId, why: &str) {
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Retry-After: 1\r\nConnection: close\r\n\r\n{why}\n",
        why.len() + 1
    );
    drive.expect(id, answer.as_bytes()).expect_shut(id).expect_nothing_seen();
}

#[test]
fn a_connection_over_connections_max_is_refused_with_503_and_one_after_somebody_left_is_not() {
    let mut drive = Drive::with(|config| config.limits.connections_max = 2, echo);
    let (a, b) = (drive.open(), drive.open());
    let refused = drive.accept();
    expect_503(&mut drive, refused, FULL);
    // Its request changes nothing.
    drive.feed(refused, REQUEST).expect_silence(refused).feed_eof(refused).expect_gone(refused);
    drive.feed(a, &text("hi")).expect(a, &said("hi")).expect_text(a, "hi");
    drive.feed_eof(b).expect_close(b, 1006, "", Cause::Lost(Lost::Eof));
    drive.open();
}

#[test]
fn in_a_flood_of_connections_over_the_limit_only_the_first_ones_linger_and_each_is_answered() {
    let mut drive = Drive::with(|config| config.limits.connections_max = 1, echo);
    drive.open();
    let refused: Vec<ConnId> = (0..32).map(|_| drive.accept()).collect();
    for &id in &refused {
        expect_503(&mut drive, id, FULL);
    }
    assert_eq!(drive.connections(), 33);
    let late = drive.accept();
    assert!(drive.take_bytes(late).starts_with(b"HTTP/1.1 503 "));
    drive.expect_gone(late).feed_eof(refused[0]).expect_gone(refused[0]);
    let id = drive.accept();
    expect_503(&mut drive, id, FULL);
    drive.at(1_016);
    assert_eq!(drive.connections(), 1);
}

#[test]
fn connections_over_connections_per_address_max_are_refused_and_others_are_not() {
    let mut drive = Drive::with(|config| config.limits.connections_per_address_max = 2, echo);
    let at = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
    let first = drive.accept_from(at("192.0.2.1:1000"));
    drive.accept_from(at("[::ffff:192.0.2.1]:1001")); // the same address, in the form of a dual socket
    let refused = drive.accept_from(at("192.0.2.1:1002"));
    expect_503(&mut drive, refused, ADDRESS_FULL);
    let other = drive.accept_from(at("192.0.2.2:1000"));
    drive.feed(other, REQUEST).expect(other, RESPONSE).expect_seen(other, Seen::Open);
    for _ in 0..4 {
        drive.open(); // Unix-domain peers have no address
    }
    drive.feed_eof(refused).feed_eof(first).expect_gone(first);
    let again = drive.accept_from(at("192.0.2.1:1003"));
    drive.feed(again, REQUEST).expect(again, RESPONSE).expect_seen(again, Seen::Open);
}

// ------------------------------------------------------------------ topics

fn members(drive: &mut Drive, count: usize, topic: &'static str) -> Vec<ConnId> {
    let ids: Vec<ConnId> = (0..count).map(|_| drive.open()).collect();
    for &id in &ids {
        drive.act(|cx| assert!(cx.subscribe(id, topic)));
    }
    ids
}

#[test]
fn what_is_published_reaches_each_member_once_and_nobody_else() {
    let mut drive = Drive::new(echo);
    let ids = members(&mut drive, 3, "room");
    let other = drive.open();
    drive.act(|cx| {
        assert!(!cx.subscribe(ids[0], "room"));
        assert_eq!(cx.publish("room", "hi"), Fanout { queued: 3, ..Fanout::default() });
        assert_eq!(cx.publish("room", &b"\xff"[..]).members(), 3);
        assert_eq!(cx.publish("nowhere", "hi"), Fanout::default());
    });
    for &id in &ids {
        drive.expect(id, &[said("hi"), bare(0x82, b"\xff")].concat());
    }
    drive.expect_silence(other);
    drive.act(|cx| {
        assert!(
            cx.unsubscribe(ids[1], "room")
                && !cx.unsubscribe(ids[1], "room")
                && !cx.unsubscribe(other, "room")
        );
        assert_eq!(cx.publish("room", "two").queued, 2);
    });
    drive.expect(ids[0], &said("two")).expect_silence(ids[1]).expect(ids[2], &said("two"));
}

#[test]
fn a_wake_that_publishes_many_messages_writes_to_each_member_once() {
    let mut drive = Drive::new(echo);
    let ids = members(&mut drive, 5, "room");
    for &id in &ids {
        drive.take_writes(id);
    }
    drive.act(|cx| {
        for i in 0..100 {
            assert_eq!(cx.publish("room", format!("message {i}").as_str()).queued, 5);
        }
    });
    let all: Vec<u8> = (0..100).flat_map(|i| said(&format!("message {i}"))).collect();
    for &id in &ids {
        assert_eq!(drive.take_writes(id), 1);
        drive.expect(id, &all);
    }
}

#[test]
fn shared_and_own_frames_of_a_wake_keep_their_order_for_each_member_and_every_short_write() {
    let all =
        |own: &str| [said("one"), said(own), said("two"), said("three"), said(own), said("four")].concat();
    for room in 0..all("a").len() {
        let mut drive = Drive::new(echo);
        let ids = members(&mut drive, 2, "room");
        drive.block(ids[0]).take(ids[0], room);
        drive.act(|cx| {
            cx.publish("room", "one");
            cx.send(ids[0], "a");
            cx.send(ids[1], "b");
            cx.publish("room", "two");
            cx.publish("room", "three");
            cx.send(ids[1], "b");
            cx.send(ids[0], "a");
            cx.publish("room", "four");
        });
        drive.expect(ids[1], &all("b")).expect(ids[0], &all("a")[..room]);
        // The log of that wake is gone; what waits has its own copy.
        drive.act(|cx| cx.publish("room", "five"));
        drive.expect(ids[1], &said("five")).expect_silence(ids[0]);
        drive.take(ids[0], usize::MAX).expect(ids[0], &[&all("a")[room..], &said("five")].concat());
    }
}

#[test]
fn more_than_the_log_holds_is_published_all_the_same() {
    let mut drive = Drive::with(|config| config.limits.outbox_bytes_max = 64 << 20, echo);
    let ids = members(&mut drive, 2, "room");
    let payload = vec![7; 1 << 20];
    drive.act(|cx| {
        for _ in 0..6 {
            assert_eq!(cx.publish("room", &payload[..]).members(), 2);
            cx.publish("room", "then");
        }
    });
    let all = [bare(0x82, &payload), said("then")].concat().repeat(6);
    for &id in &ids {
        drive.expect(id, &all);
    }
    drive.take_seen(); // they were above the soft mark for a while
}

#[test]
fn membership_ends_with_the_connection_and_a_closing_member_is_refused() {
    let mut drive = Drive::new(echo);
    let ids = members(&mut drive, 4, "room");
    drive.feed_eof(ids[0]).expect_close(ids[0], 1006, "", Cause::Lost(Lost::Eof));
    drive.feed(ids[1], &masked(0x88, b"")).expect(ids[1], b"\x88\x00").expect_close(
        ids[1],
        1005,
        "",
        Cause::Peer,
    );
    drive.act(|cx| {
        assert_eq!(cx.publish("room", "hi"), Fanout { queued: 2, ..Fanout::default() });
        assert!(cx.close(ids[2], CloseCode::NORMAL, ""));
        assert_eq!(cx.publish("room", "ho"), Fanout { queued: 1, refused: 1, ..Fanout::default() });
    });
    drive.expect(ids[2], &[said("hi"), b"\x88\x02\x03\xe8".to_vec()].concat());
    drive.expect(ids[3], &[said("hi"), said("ho")].concat());
    // A newcomer in the same place is no member.
    let new = drive.open();
    assert_eq!(new.index(), ids[0].index());
    assert_eq!(drive.act(|cx| cx.publish("room", "!")).queued, 1);
    drive.expect_silence(new).expect(ids[3], &said("!"));
}

#[test]
fn a_fanout_counts_who_is_queued_backlogged_and_refused() {
    let small = |config: &mut sockeye::Config| {
        (config.limits.outbox_bytes_soft, config.limits.outbox_bytes_max) = (100, 200);
    };
    let mut drive = Drive::with(small, echo);
    let ids = members(&mut drive, 4, "room");
    // Outboxes of 0, 52, 152 and 252 bytes before the next 52.
    for (&id, len) in ids.iter().zip([0, 50, 148, 248]) {
        drive.block(id);
        if len > 0 {
            // Two frames where one byte of length does not suffice: header bytes are counted too.
            drive.act(|cx| cx.send(id, &vec![7; len][..]));
        }
        let waits = if len > 125 {
            len + 4
        } else if len > 0 {
            len + 2
        } else {
            0
        };
        assert_eq!(drive.act(|cx| cx.buffered(id)), Some(waits));
    }
    let fanout = drive.act(|cx| cx.publish("room", &[8; 50][..]));
    assert_eq!(fanout, Fanout { queued: 1, backlogged: 2, refused: 1 });
    assert_eq!(fanout.members(), 4);
    let slow = Fault::SlowReader { queued: 252, limit: 200 };
    drive.expect_close(
        ids[3],
        1013,
        "peer reads too slowly: 252 bytes wait (at most 200)",
        Cause::Fault(slow),
    );
    let own = drive.act(|cx| cx.broadcast(ids.iter().copied(), ""));
    assert_eq!(own, Fanout { queued: 1, backlogged: 1, refused: 2 });
    let slow = Fault::SlowReader { queued: 204, limit: 200 };
    drive.expect_close(
        ids[2],
        1013,
        "peer reads too slowly: 204 bytes wait (at most 200)",
        Cause::Fault(slow),
    );
}

// ------------------------------------------------------------------ pausing

#[test]
fn a_paused_peer_is_not_read_and_loses_nothing() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.act(|cx| cx.pause(id));
    drive.feed(id, &text("a")).expect_nothing_seen().expect_silence(id);
    assert!(!drive.wants_read(id));
    // It may be sent to meanwhile.
    assert_eq!(drive.act(|cx| cx.send(id, "!")), Sent::Queued);
    drive.expect(id, &said("!"));
    drive.act(|cx| cx.resume(id));
    drive.expect_text(id, "a").expect(id, &said("a"));
}

#[test]
fn what_was_read_already_when_a_handler_pauses_is_still_delivered() {
    let act = |cx: &mut Context<'_>, id: Option<ConnId>, on: On<'_>| {
        if let On::Message(Message::Text("pause")) = on {
            cx.pause(id.unwrap());
        }
        echo(cx, id, on);
    };
    let mut drive = Drive::new(act);
    let id = drive.open();
    drive.feed(id, &[text("pause"), text("behind")].concat()).feed(id, &text("later"));
    drive.expect_text(id, "pause").expect_text(id, "behind").expect_nothing_seen();
    drive.expect(id, &[said("pause"), said("behind")].concat());
    drive.act(|cx| cx.resume(id));
    drive.expect_text(id, "later").expect(id, &said("later"));
}

#[test]
fn the_clocks_of_a_paused_peer_stand() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.feed(id, &masked(0x01, b"half")).at(15_000).act(|cx| cx.pause(id));
    drive.at(200_000).expect_silence(id).expect_nothing_seen().expect_alive(id);
    drive.act(|cx| cx.resume(id));
    drive.at(219_999).expect_silence(id).expect_alive(id);
    drive.at(220_016).expect_shut(id);
    let idle = Fault::MessageIdle { limit_ms: 20_000 };
    let reason = "unfinished message brought no byte for 20000 ms (at most 20000)";
    drive.expect(id, &bare(0x88, &close_body(1008, reason))).expect_close(
        id,
        1008,
        reason,
        Cause::Fault(idle),
    );
}

#[test]
fn a_paused_peer_that_is_closed_is_read_again_for_its_answer() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.act(|cx| cx.pause(id));
    drive.feed(id, &[text("dropped"), masked(0x88, b"\x03\xe8")].concat()).expect_nothing_seen();
    drive.act(|cx| assert!(cx.close(id, CloseCode::NORMAL, "")));
    drive.expect(id, b"\x88\x02\x03\xe8").expect_close(id, 1000, "", Cause::Local).expect_shut(id);
}

// ------------------------------------------------------------------ stopping

#[test]
fn s7_4_1_at_shutdown_each_connection_is_closed_with_1001_and_each_handshake_refused() {
    let mut drive = Drive::new(echo);
    let (open, asking, silent) = (drive.open(), drive.accept(), drive.open());
    drive.feed(asking, &REQUEST[..60]).shutdown();
    let close = bare(0x88, &close_body(1001, "the server is stopping"));
    drive.expect(open, &close).expect(silent, &close);
    expect_503(&mut drive, asking, "the server is stopping");
    let late = drive.accept();
    expect_503(&mut drive, late, "the server is stopping");
    // Who has answered is not waited for: both have said Close.
    drive.feed(open, &masked(0x88, b"\x03\xe9")).expect_close(open, 1001, "", Cause::Local).expect_gone(open);
    drive.feed_eof(asking).feed_eof(late);
    assert_eq!(drive.connections(), 1);
    drive.abort().expect_close(silent, 1006, "", Cause::Lost(Lost::Stopped)).expect_gone(silent);
    assert_eq!((drive.connections(), drive.buffered_bytes()), (0, 0));
}

#[test]
fn at_shutdown_the_close_goes_behind_what_a_slow_peer_has_not_taken() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.block(id).feed(id, &text("a")).expect_text(id, "a").shutdown().expect_silence(id);
    drive.take(id, usize::MAX);
    drive.expect(id, &[said("a"), bare(0x88, &close_body(1001, "the server is stopping"))].concat());
    drive.feed(id, &masked(0x88, b"")).expect_close(id, 1005, "", Cause::Local).expect_gone(id);
}

#[test]
fn a_handler_asks_that_the_server_stop() {
    let act = |cx: &mut Context<'_>, _: Option<ConnId>, on: On<'_>| {
        if let On::Message(_) = on {
            cx.shutdown();
        }
    };
    let mut drive = Drive::new(act);
    let id = drive.open();
    assert!(!drive.shutdown_asked);
    drive.feed(id, &text("stop")).expect_text(id, "stop");
    assert!(drive.shutdown_asked);
}

// ------------------------------------------------------------------ time

#[test]
fn s5_5_2_a_silent_peer_is_pinged_and_then_lost() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.at(24_999).expect_silence(id).at(25_016).expect(id, b"\x89\x00");
    drive.at(34_999).expect_alive(id).at(35_040).expect_close(id, 1006, "", Cause::Lost(Lost::Silent));
    drive.expect_gone(id).expect_silence(id);
}

#[test]
fn s5_5_2_a_peer_that_answers_is_pinged_again_and_again() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    for round in 1..10 {
        let due = round * 25_016;
        drive.at(due - 100).expect_silence(id).at(due + 100).expect(id, b"\x89\x00");
        drive.at(due).feed(id, &masked(0x8a, b"")).expect_silence(id);
    }
}

#[test]
fn s5_5_2_a_ping_after_ms_below_the_time_a_handshake_may_take_is_kept_from_the_first() {
    let mut drive = Drive::with(|config| config.keepalive.ping_after_ms = 1_000, echo);
    let id = drive.open();
    drive.at(999).expect_silence(id).at(1_016).expect(id, b"\x89\x00");
}

#[test]
fn the_handshakes_time_is_up_however_its_bytes_come() {
    let mut drive = Drive::new(echo);
    let id = drive.accept();
    for (i, byte) in REQUEST.iter().take(99).enumerate() {
        drive.at(i as u64 * 100).feed(id, &[*byte]);
    }
    drive.at(9_999).expect_silence(id).at(10_016).expect_shut(id);
    assert!(drive.take_bytes(id).ends_with(b"\r\n\r\nthe handshake took longer than 10000 ms\n"));
}

#[test]
fn on_tick_is_called_each_tick_ms_and_never_without() {
    let mut drive = Drive::with(|config| config.tick_ms = 100, echo);
    drive.at(99).expect_nothing_seen().at(100).expect_tick().at(150).expect_nothing_seen();
    drive.at(205).expect_tick().at(304).expect_nothing_seen().at(305).expect_tick();
    Drive::new(echo).at(1_000_000).expect_nothing_seen();
}
