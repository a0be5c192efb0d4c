//! Replies in their order: a message sent back as it came is written over itself, and whatever else the same call, or
//! the same read, brings its sender must not be able to tell. §5.4, §5.5.2

use crate::duo::{
    REQUEST, RESPONSE, bare,
    drive::{Drive, On, Seen, echo},
    masked,
};
use sockeye::{Cause, CloseCode, ConnId, Context, Fault, Message, Sent};

/// Text messages as a client sends them, in one piece.
fn texts(all: &[&str]) -> Vec<u8> {
    all.iter().map(|text| masked(0x81, text.as_bytes())).collect::<Vec<_>>().concat()
}

/// Text messages as the server sends them.
fn said(all: &[&str]) -> Vec<u8> {
    all.iter().map(|text| bare(0x81, text.as_bytes())).collect::<Vec<_>>().concat()
}

/// A handler that calls `act` with each message.
fn on_message(
    mut act: impl FnMut(&mut Context<'_>, ConnId, Message<'_>) + 'static,
) -> impl FnMut(&mut Context<'_>, Option<ConnId>, On<'_>) + 'static {
    move |cx, id, on| {
        if let (Some(id), On::Message(message)) = (id, on) {
            act(cx, id, message);
        }
    }
}

/// These messages of one read, handled by `act`, are answered by these bytes; however little the socket takes first.
#[track_caller]
fn answers(act: fn(&mut Context<'_>, ConnId, Message<'_>), script: &[u8], answer: &[u8]) {
    let ends_in_close = answer.ends_with(b"\x88\x02\x03\xe8");
    for room in (0..=answer.len().min(40)).chain([usize::MAX]) {
        let mut drive = Drive::new(on_message(act));
        let id = drive.open();
        if room < usize::MAX {
            drive.block(id).take(id, room);
        }
        drive.feed(id, script);
        if room < usize::MAX {
            drive.expect(id, &answer[..room]);
            drive.take(id, usize::MAX).expect(id, &answer[room..]);
        } else {
            drive.expect(id, answer);
        }
        if !ends_in_close {
            // What comes later is answered as ever.
            drive.feed(id, &masked(0x89, b"still there")).expect(id, &bare(0x8a, b"still there"));
        }
        drive.take_seen();
    }
}

#[test]
fn all_messages_of_one_read_are_echoed_in_order_by_one_write() {
    let script = [texts(&["a", ""]), masked(0x82, b"\xff"), texts(&["é"])].concat();
    let answer = [said(&["a", ""]), bare(0x82, b"\xff"), said(&["é"])].concat();
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.take_writes(id);
    drive.feed(id, &script).expect(id, &answer);
    assert_eq!(drive.take_writes(id), 1);
    drive.take_seen();
    answers(|cx, id, message| assert_eq!(cx.send(id, message), Sent::Queued), &script, &answer);
}

#[test]
fn headers_of_each_length_are_written_over_the_longer_ones_they_answer() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let script = [masked(0x82, &payload), texts(&["and"]), masked(0x82, &payload)].concat();
        let answer = [bare(0x82, &payload), said(&["and"]), bare(0x82, &payload)].concat();
        let mut drive = Drive::new(echo);
        let id = drive.open();
        drive.feed(id, &script).expect(id, &answer);
        drive.take_seen();
    }
}

#[test]
fn what_is_sent_before_the_echo_goes_out_before_it() {
    let act = |cx: &mut Context<'_>, id: ConnId, message: Message<'_>| {
        cx.send(id, "before");
        cx.send(id, message);
    };
    answers(act, &texts(&["a", "b"]), &said(&["before", "a", "before", "b"]));
}

#[test]
fn what_is_sent_after_the_echo_goes_out_after_it() {
    let act = |cx: &mut Context<'_>, id: ConnId, message: Message<'_>| {
        cx.send(id, message);
        cx.send(id, "after");
    };
    answers(act, &texts(&["a", "b"]), &said(&["a", "after", "b", "after"]));
}

#[test]
fn earlier_echoes_go_out_before_what_a_later_message_leads_to() {
    let act = |cx: &mut Context<'_>, id: ConnId, message: Message<'_>| match message.as_bytes() {
        b"c" => {
            cx.send(id, "other");
        }
        b"d" => {
            cx.send(id, "before");
            cx.send(id, message);
        }
        _ => {
            cx.send(id, message);
        }
    };
    answers(
        act,
        &texts(&["a", "b", "c", "a", "d", "e"]),
        &said(&["a", "b", "other", "a", "before", "d", "e"]),
    );
}

#[test]
fn an_echo_may_be_sent_twice_and_in_the_other_type() {
    let act = |cx: &mut Context<'_>, id: ConnId, message: Message<'_>| {
        cx.send(id, Message::Binary(message.as_bytes()));
        cx.send(id, message);
        cx.send(id, message);
    };
    answers(act, &texts(&["a"]), &[bare(0x82, b"a"), said(&["a", "a"])].concat());
}

#[test]
fn a_part_of_the_message_and_an_equal_one_are_messages_of_their_own() {
    let act = |cx: &mut Context<'_>, id: ConnId, message: Message<'_>| {
        let bytes = message.as_bytes();
        cx.send(id, &bytes[1..]);
        cx.send(id, &bytes[..2]);
        cx.send(id, &bytes.to_vec()[..]);
        cx.send(id, &bytes[..0]);
    };
    let answer = [bare(0x82, b"bc"), bare(0x82, b"ab"), bare(0x82, b"abc"), bare(0x82, b"")].concat();
    answers(act, &texts(&["abc"]), &answer);
}

#[test]
fn a_ping_sent_after_the_echo_follows_it() {
    let act = |cx: &mut Context<'_>, id: ConnId, message: Message<'_>| {
        cx.send(id, message);
        assert!(cx.ping(id, b"?"));
        assert!(!cx.ping(id, &[0; 126]));
    };
    answers(
        act,
        &texts(&["a", "b"]),
        &[said(&["a"]), bare(0x89, b"?"), said(&["b"]), bare(0x89, b"?")].concat(),
    );
}

#[test]
fn pongs_keep_their_place_among_the_echoes() {
    let script = [
        texts(&["a"]),
        masked(0x89, b"1"),
        masked(0x89, b""),
        texts(&["b"]),
        masked(0x8a, b"-"),
        texts(&["c"]),
    ];
    let answer = [said(&["a"]), bare(0x8a, b"1"), bare(0x8a, b""), said(&["b", "c"])].concat();
    let act = |cx: &mut Context<'_>, id: ConnId, message: Message<'_>| {
        cx.send(id, message);
    };
    answers(act, &script.concat(), &answer);
    let act = |cx: &mut Context<'_>, id: ConnId, message: Message<'_>| {
        cx.send(id, "not in place");
        cx.send(id, message);
    };
    let own = "not in place";
    let answer = [said(&[own, "a"]), bare(0x8a, b"1"), bare(0x8a, b""), said(&[own, "b", own, "c"])].concat();
    answers(act, &script.concat(), &answer);
}

#[test]
fn a_close_in_the_same_call_follows_the_echo_and_ends_delivery() {
    let act = |cx: &mut Context<'_>, id: ConnId, message: Message<'_>| {
        assert_eq!(cx.send(id, message), Sent::Queued);
        if message.as_bytes() == b"b" {
            assert!(cx.close(id, CloseCode::NORMAL, ""));
            assert_eq!(cx.send(id, message), Sent::Refused);
            assert_eq!(cx.send(id, "late"), Sent::Refused);
            assert!(!cx.close(id, CloseCode::NORMAL, "") && !cx.ping(id, b""));
        }
    };
    answers(act, &texts(&["a", "b", "c"]), &[said(&["a", "b"]), b"\x88\x02\x03\xe8".to_vec()].concat());
}

#[test]
fn an_echo_behind_our_own_close_is_refused() {
    let act = |cx: &mut Context<'_>, id: ConnId, message: Message<'_>| {
        assert!(cx.close(id, CloseCode::NORMAL, ""));
        assert_eq!(cx.send(id, message), Sent::Refused);
    };
    answers(act, &texts(&["a", "b"]), b"\x88\x02\x03\xe8");
}

#[test]
fn what_is_published_in_the_same_call_keeps_its_place_before_and_after_the_echo() {
    let act = |cx: &mut Context<'_>, id: ConnId, message: Message<'_>| {
        cx.subscribe(id, "room");
        cx.publish("room", "before");
        cx.send(id, message);
        cx.publish("room", message);
        cx.publish("room", "after");
    };
    answers(act, &texts(&["a", "b"]), &said(&["before", "a", "a", "after", "before", "b", "b", "after"]));
}

#[test]
fn subscribing_in_the_same_call_after_the_echo_keeps_the_order_of_what_is_published_then() {
    let act = |cx: &mut Context<'_>, id: ConnId, message: Message<'_>| {
        cx.send(id, message);
        cx.subscribe(id, "room");
        cx.publish("room", "news");
        cx.send(id, message);
        cx.unsubscribe(id, "room");
        cx.publish("room", "nobody's");
    };
    answers(act, &texts(&["a", "b"]), &said(&["a", "news", "a", "b", "news", "b"]));
}

#[test]
fn what_is_broadcast_in_the_same_call_keeps_its_place() {
    let act = |cx: &mut Context<'_>, id: ConnId, message: Message<'_>| {
        cx.send(id, message);
        cx.broadcast([id, id], message);
        cx.send(id, message);
        cx.broadcast([id], "last");
    };
    answers(act, &texts(&["a", "b"]), &said(&["a", "a", "a", "a", "last", "b", "b", "b", "b", "last"]));
}

#[test]
fn a_message_assembled_from_fragments_is_echoed_in_its_place() {
    let fragments = [masked(0x01, b"b"), masked(0x89, b"!"), masked(0x00, b""), masked(0x80, b"c")].concat();
    let script = [texts(&["a"]), fragments.clone(), texts(&["d"]), fragments].concat();
    let once = |after: &[&str]| [bare(0x8a, b"!"), said(&["bc"]), said(after)].concat();
    let answer = [said(&["a"]), once(&["d"]), once(&[])].concat();
    let act = |cx: &mut Context<'_>, id: ConnId, message: Message<'_>| {
        cx.send(id, message);
    };
    answers(act, &script, &answer);
    let act = |cx: &mut Context<'_>, id: ConnId, message: Message<'_>| {
        cx.send(id, message);
        cx.send(id, "+");
    };
    let once = |after: &[&str]| [bare(0x8a, b"!"), said(&["bc", "+"]), said(after)].concat();
    answers(act, &script, &[said(&["a", "+"]), once(&["d", "+"]), once(&[])].concat());
}

#[test]
fn a_message_of_several_reads_is_echoed_behind_what_waits() {
    for direct in [false, true] {
        let payload: Vec<u8> = (0..300_000).map(|i| (i / 3) as u8).collect();
        let mut drive = Drive::with(|config| config.limits.read_bytes_max = 4096, echo);
        if direct {
            drive = drive.read_direct();
        }
        let id = drive.open();
        let script = [texts(&["a"]), masked(0x82, &payload), texts(&["b"])].concat();
        let answer = [said(&["a"]), bare(0x82, &payload), said(&["b"])].concat();
        drive.feed(id, &script).expect(id, &answer);
        drive.block(id).feed(id, &script).expect_silence(id);
        drive.take(id, 250_000).expect(id, &answer[..250_000]);
        drive.take(id, usize::MAX).expect(id, &answer[250_000..]);
        drive.take_seen();
    }
}

#[test]
fn echoes_to_a_socket_that_takes_few_bytes_at_a_time_are_the_same_bytes() {
    let script = [texts(&["one", "two"]), masked(0x89, b"!"), texts(&["three"])].concat();
    let answer = [said(&["one", "two"]), bare(0x8a, b"!"), said(&["three"])].concat();
    for bytes in 1..20 {
        let mut drive = Drive::new(echo);
        let id = drive.open();
        drive.take_by(id, bytes).feed(id, &script).expect(id, &answer);
        drive.feed(id, &script).feed(id, &script).expect(id, &answer.repeat(2));
        drive.take_seen();
    }
}

#[test]
fn a_greeting_follows_the_101_and_messages_behind_the_request_follow_the_greeting() {
    let act = |cx: &mut Context<'_>, id: Option<ConnId>, on: On<'_>| match on {
        On::Open => {
            cx.send(id.unwrap(), "welcome");
        }
        on => echo(cx, id, on),
    };
    for room in 0..200 {
        let mut drive = Drive::new(act);
        let id = drive.accept();
        drive.block(id).take(id, room).feed(id, &[REQUEST, &texts(&["a", "b"])].concat());
        let answer = [RESPONSE, &said(&["welcome", "a", "b"])].concat();
        let first = room.min(answer.len());
        drive.expect(id, &answer[..first]).take(id, usize::MAX).expect(id, &answer[first..]);
        drive.take_seen();
    }
}

#[test]
fn buffered_counts_what_is_to_be_written_in_place() {
    let act = |cx: &mut Context<'_>, id: ConnId, message: Message<'_>| {
        let waiting = cx.buffered(id).unwrap();
        assert_eq!(waiting, if message.as_bytes() == b"ab" { 0 } else { 4 });
        cx.send(id, message);
        assert!((waiting + 2..=waiting + 4).contains(&cx.buffered(id).unwrap()));
    };
    answers(act, &texts(&["ab", "cd"]), &said(&["ab", "cd"]));
}

#[test]
fn what_one_peers_message_sends_another_does_not_disturb_the_echoes_of_either() {
    // "to all" is broadcast, anything else echoed.
    let mut ids: Vec<ConnId> = Vec::new();
    let act = move |cx: &mut Context<'_>, id: Option<ConnId>, on: On<'_>| match on {
        On::Open => ids.extend(id),
        On::Message(Message::Text("to all")) => {
            cx.broadcast(ids.iter().copied(), "to all");
        }
        on => echo(cx, id, on),
    };
    let mut drive = Drive::new(act);
    let (a, b) = (drive.open(), drive.open());
    // Both in one wake: a is read first.
    drive.arrive(a, &texts(&["1", "to all", "2"])).arrive(b, &texts(&["3", "to all", "4"])).wake();
    drive.expect(a, &said(&["1", "to all", "2", "to all"])).expect(b, &said(&["to all", "3", "to all", "4"]));
    drive.take_seen();
}

// ------------------------------------------------------------------ faults among the echoes

#[test]
fn a_fault_behind_messages_of_the_same_read_is_said_behind_their_echoes() {
    for (bad, code, reason) in [
        (&b"\x83\x80"[..], 1002, "opcode 0x3 is reserved"),
        (b"\x81\x81\0\0\0\0\xff", 1007, "text message is not UTF-8"),
        (b"\x01\x82\0\0\0\0\xff\xff", 1007, "text message is not UTF-8"),
        (b"\x01\x81\0\0\0\0\xc3\x80\x80\0\0\0\0", 1007, "text message is not UTF-8"),
    ] {
        let script = [texts(&["a"]), masked(0x89, b"!"), bad.to_vec(), texts(&["late"])].concat();
        let close = bare(0x88, &crate::duo::close_body(code, reason));
        let answer = [said(&["a"]), bare(0x8a, b"!"), close].concat();
        for room in 0..answer.len() {
            let mut drive = Drive::new(echo);
            let id = drive.open();
            drive.block(id).take(id, room).feed(id, &script).expect(id, &answer[..room]);
            drive.take(id, usize::MAX).expect(id, &answer[room..]).expect_shut(id);
            drive.take_seen();
        }
    }
}

#[test]
fn the_peers_close_behind_messages_of_the_same_read_is_answered_behind_their_echoes() {
    let script = [texts(&["a", "b"]), masked(0x88, b"\x03\xe8bye"), texts(&["late"])].concat();
    let answer = [said(&["a", "b"]), bare(0x88, b"\x03\xe8bye")].concat();
    for room in 0..answer.len() {
        let mut drive = Drive::new(echo);
        let id = drive.open();
        drive.block(id).take(id, room).feed(id, &script).expect(id, &answer[..room]).expect_alive(id);
        drive.take(id, usize::MAX).expect(id, &answer[room..]).expect_shut(id);
        drive.expect_text(id, "a").expect_text(id, "b").expect_close(id, 1000, "bye", Cause::Peer);
    }
}

/// Two peers: each message of `a` is echoed and sent to `b` too, who does not read and is above its hard mark; when `b`
/// is given up for it, `on_close` tells `a`.
#[track_caller]
fn b_is_given_up(room: usize, messages: &[&str]) {
    let mut peers: Vec<ConnId> = Vec::new();
    let act = move |cx: &mut Context<'_>, id: Option<ConnId>, on: On<'_>| match on {
        On::Open => peers.extend(id),
        On::Message(message) => {
            assert_eq!(cx.send(peers[0], message), Sent::Queued);
            assert_eq!(cx.send(peers[1], message), Sent::Refused);
        }
        On::Close(_) => {
            assert_eq!(cx.send(peers[0], "b left"), Sent::Queued);
        }
        On::Pong(_) | On::Drain | On::Tick | On::Response | On::DialFailed => {}
    };
    let small = |config: &mut sockeye::Config| {
        (config.limits.outbox_bytes_soft, config.limits.outbox_bytes_max) = (1_000, 2_000);
    };
    let mut drive = Drive::with(small, act);
    let (a, b) = (drive.open(), drive.open());
    drive.block(b);
    assert_eq!(drive.act(|cx| cx.send(b, &[7; 2_500][..])), Sent::Backlogged);
    if room < usize::MAX {
        drive.block(a).take(a, room);
    }
    drive.feed(a, &texts(messages));
    drive.expect_text(a, messages[0]);
    let slow = Fault::SlowReader { queued: 2_504, limit: 2_000 };
    drive.expect_close(b, 1013, "peer reads too slowly: 2504 bytes wait (at most 2000)", Cause::Fault(slow));
    for message in &messages[1..] {
        drive.expect_text(a, message);
    }
    let answer = [&messages[..1], &["b left"], &messages[1..]].concat();
    drive.take(a, usize::MAX).expect(a, &said(&answer));
}

#[test]
fn what_on_close_of_another_sends_in_the_middle_of_a_read_keeps_its_place_behind_the_echo_before_it() {
    b_is_given_up(usize::MAX, &["1"]);
    b_is_given_up(usize::MAX, &["1", "2", "3"]);
}

#[test]
fn what_on_close_of_another_sends_in_the_middle_of_a_read_does_not_tear_an_echo_that_a_short_write_cut() {
    for room in 0..11 {
        b_is_given_up(room, &["1"]);
    }
}

#[test]
fn a_pong_written_in_place_is_not_torn_by_the_close_that_follows_when_the_budget_is_spent() {
    for room in [usize::MAX, 0, 1, 2, 3] {
        let mut drive = Drive::with(|config| config.limits.buffered_bytes_max = 40_000, echo);
        let id = drive.open();
        if room < usize::MAX {
            drive.block(id).take(id, room);
        }
        // Both in one read: the fragment spends the budget, the Ping between is answered.
        drive.feed(id, &[masked(0x02, &[7; 50_000]), masked(0x89, b"!")].concat());
        drive.take(id, usize::MAX);
        let out = drive.take_bytes(id);
        let is_close = out.len() > 7 && out[3] == 0x88 && usize::from(out[4]) == out.len() - 5;
        assert!(out.starts_with(b"\x8a\x01!") && is_close && out[5..7] == [0x03, 0xf5], "{room}: {out:x?}");
        let seen = drive.take_seen();
        assert!(matches!(seen[..], [Seen::Close { code: 1013, .. }]), "{seen:?}");
    }
}
