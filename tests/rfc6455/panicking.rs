//! A handler that panics: the connection whose event it was ends with 1011, and everything else goes on.

use crate::duo::{
    REQUEST, RESPONSE, bare, close_body,
    drive::{Drive, On, Seen, echo},
    entropy, masked,
};
use sockeye::{
    Answer, Cause, CloseCode, Config, ConnId, Context, Dial, DialError, Engine, Handler, Keepalive, Limits,
    Message, Now, PeerInfo, Refused, TurnedAway, Upgrade,
};

const REASON: &str = "internal error";

fn text(text: &str) -> Vec<u8> {
    masked(0x81, text.as_bytes())
}

fn said(text: &str) -> Vec<u8> {
    bare(0x81, text.as_bytes())
}

/// The Close with 1011.
fn sorry() -> Vec<u8> {
    bare(0x88, &close_body(1011, REASON))
}

/// An echo that panics on `panic`.
fn touchy() -> Drive {
    may_panic(Drive::new(|cx, id, on| {
        if let On::Message(Message::Text("panic")) = on {
            panic!("as it was told to");
        }
        echo(cx, id, on);
    }))
}

fn may_panic(mut drive: Drive) -> Drive {
    drive.may_panic = true;
    drive
}

/// The peer answers a Close and ends TCP: nothing of it is left.
fn leaves(drive: &mut Drive, id: ConnId) {
    drive.feed_eof(id).expect_gone(id).expect_nothing_seen();
}

#[test]
fn a_panic_on_a_message_fails_its_connection_behind_the_replies_so_far() {
    let mut drive = touchy();
    let (id, neighbour) = (drive.open(), drive.open());
    drive.feed(id, &[text("one"), text("panic"), text("two")].concat());
    drive.expect(id, &[said("one"), sorry()].concat());
    drive.expect_text(id, "one").expect_text(id, "panic").expect_close(id, 1011, REASON, Cause::Panic);
    drive.expect_shut(id).feed(id, &text("three")).expect_silence(id).expect_nothing_seen();
    leaves(&mut drive, id);

    drive.feed(neighbour, &text("hello")).expect(neighbour, &said("hello")).expect_text(neighbour, "hello");
    drive.expect_alive(neighbour);
    let other = drive.open();
    drive.feed(other, &text("hello")).expect(other, &said("hello")).expect_text(other, "hello");
    assert_eq!((drive.connections(), drive.panics(), drive.buffered_bytes()), (2, 1, 0));
}

#[test]
fn what_was_sent_before_the_panic_is_written() {
    let mut drive = may_panic(Drive::new(|cx, id, on| {
        let id = id.expect("there are no ticks");
        match on {
            On::Open => _ = cx.subscribe(id, "all"),
            On::Message(message) => {
                cx.send(id, message); // in place
                cx.publish("all", message);
                panic!("behind it");
            }
            _ => {}
        }
    }));
    let (id, neighbour) = (drive.open(), drive.open());
    for (n, sender) in [id, neighbour].into_iter().enumerate() {
        drive.feed(sender, &text("hi")).expect(sender, &[said("hi"), said("hi"), sorry()].concat());
        drive.expect_text(sender, "hi").expect_close(sender, 1011, REASON, Cause::Panic);
        if n == 0 {
            drive.expect(neighbour, &said("hi"));
        }
        leaves(&mut drive, sender);
    }
    assert_eq!((drive.connections(), drive.panics(), drive.buffered_bytes()), (0, 2, 0));
}

#[test]
fn a_panic_on_a_large_or_fragmented_message_keeps_none_of_it() {
    for bytes in [masked(0x81, &[b'a'; 100_000]), [masked(0x01, b"a"), masked(0x80, b"b")].concat()] {
        let mut drive = may_panic(Drive::new(|_, _, on| {
            assert!(!matches!(on, On::Message(_)));
        }))
        .read_direct();
        let id = drive.open();
        for part in bytes.chunks(30_000) {
            drive.feed(id, part);
        }
        drive.expect(id, &sorry());
        assert_eq!(drive.take_seen().len(), 2);
        leaves(&mut drive, id);
        assert_eq!((drive.connections(), drive.panics(), drive.buffered_bytes()), (0, 1, 0));
    }
}

#[test]
fn after_a_panic_of_on_open_there_is_an_on_close() {
    let mut drive = may_panic(Drive::new(|_, _, on| assert!(!matches!(on, On::Open))));
    let id = drive.accept();
    drive.feed(id, &[REQUEST, &text("hello")].concat());
    drive.expect(id, &[RESPONSE, &sorry()].concat());
    drive.expect_seen(id, Seen::Open).expect_close(id, 1011, REASON, Cause::Panic);
    leaves(&mut drive, id);
    assert_eq!((drive.connections(), drive.panics()), (0, 1));
}

#[test]
fn a_panic_of_on_close_is_no_second_end() {
    type End = fn(&mut Drive, ConnId);
    let ends: [(End, u64); 4] = [
        (|drive, id| _ = drive.feed(id, &masked(0x88, b"")).feed_eof(id), 1),
        (|drive, id| _ = drive.feed_eof(id), 1),
        (|drive, id| _ = drive.feed(id, b"\x83\x80").feed_eof(id), 1),
        // Both of them.
        (|drive, id| _ = drive.feed(id, &text("panic")).feed_eof(id), 2),
    ];
    for (end, panics) in ends {
        let mut drive = may_panic(Drive::new(|_, _, on| {
            assert!(!matches!(on, On::Close(_) | On::Message(Message::Text("panic"))));
        }));
        let id = drive.open();
        end(&mut drive, id);
        let told = drive.take_seen().iter().filter(|seen| matches!(seen, Seen::Close { .. })).count();
        drive.expect_gone(id).at(20_000).take_bytes(id);
        assert_eq!((told, drive.connections(), drive.panics()), (1, 0, panics));
    }
}

#[test]
fn a_panic_of_on_pong_or_on_drain_fails_the_connection() {
    let mut drive = may_panic(Drive::new(|_, _, on| assert!(!matches!(on, On::Pong(_)))));
    let id = drive.open();
    drive.feed(id, &masked(0x8a, b"")).expect(id, &sorry()).expect_close(id, 1011, REASON, Cause::Panic);
    leaves(&mut drive, id);

    let configure = |config: &mut sockeye::Config| config.limits.outbox_bytes_soft = 100;
    let mut drive = may_panic(Drive::with(configure, |_, _, on| assert!(!matches!(on, On::Drain))));
    let id = drive.open();
    drive.block(id).act(|cx| cx.send(id, &[b'a'; 1_000][..]));
    drive.take(id, usize::MAX).expect_seen(id, Seen::Drain).expect_close(id, 1011, REASON, Cause::Panic);
    assert!(drive.take_bytes(id).ends_with(&sorry()));
    leaves(&mut drive, id);
    assert_eq!((drive.connections(), drive.panics(), drive.buffered_bytes()), (0, 1, 0));
}

#[test]
fn a_panic_of_on_tick_ends_nobody() {
    let mut drive =
        may_panic(Drive::with(|config| config.tick_ms = 1_000, |_, _, on| assert!(!matches!(on, On::Tick))));
    let id = drive.open();
    for second in 1..=3 {
        drive.at(second * 1_000).expect_tick().expect_alive(id);
        assert_eq!(drive.panics(), second);
    }
}

/// Panics whenever it is told of something that is about no connection.
struct Jumpy;

impl Handler for Jumpy {
    fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {}
    fn on_refused(&mut self, _: &mut Context<'_>, _: ConnId, _: &Refused<'_>) {
        panic!("as it always does");
    }
    fn on_turned_away(&mut self, _: &mut Context<'_>, _: &PeerInfo, _: TurnedAway) {
        panic!("as it always does");
    }
    fn on_limits(&mut self, _: &mut Context<'_>, _: &Limits) {
        panic!("as it always does");
    }
    fn on_wake(&mut self, _: &mut Context<'_>) {
        panic!("as it always does");
    }
}

#[test]
fn a_panic_that_is_about_no_connection_ends_nobody() {
    let (now, info) = (Now::default(), PeerInfo { address: None, listener: 0 });
    let mut engine = Engine::new(&Config::default(), Jumpy, entropy);
    let id = engine.handle_accept(now, info);
    engine.handle_wake(now);
    assert_eq!(engine.panics(), 1);
    engine.handle_turned_away(now, &info, TurnedAway::Late);
    assert_eq!(engine.panics(), 2);
    engine.set_limits(now, Limits { connections_max: 1, ..Limits::default() }, Keepalive::default());
    assert_eq!(engine.panics(), 3);
    engine.handle_accept(now, info); // one too many, now
    assert_eq!((engine.panics(), engine.statistics().handshakes.refused), (4, 1));
    assert_eq!((engine.id_at(0), engine.poll_command()), (Some(id), None));
}

#[test]
fn a_request_that_the_handler_panics_on_is_answered_with_500() {
    let mut drive = may_panic(Drive::new(echo)).judge(|request| match request.target() {
        "/panic" => panic!("as it was asked to"),
        _ => Upgrade::accept(),
    });
    let id = drive.accept();
    let request = String::from_utf8(REQUEST.to_vec()).unwrap().replace("GET / ", "GET /panic ");
    drive.feed(id, request.as_bytes()).expect_nothing_seen().expect_shut(id);
    assert!(drive.take_bytes(id).starts_with(b"HTTP/1.1 500 "));
    leaves(&mut drive, id);
    drive.open();
    assert_eq!((drive.connections(), drive.panics()), (1, 1));

    let mut drive = may_panic(Drive::new(echo)).answer(|_, _, request| match request.body() {
        None => Answer::AwaitBody { bytes_max: 10 },
        Some(_) => panic!("as it was asked to"),
    });
    let id = drive.accept();
    drive.feed(id, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").expect_shut(id);
    assert!(drive.take_bytes(id).starts_with(b"HTTP/1.1 500 "));
    leaves(&mut drive, id);
    assert_eq!((drive.connections(), drive.panics(), drive.buffered_bytes()), (0, 1, 0));
}

#[test]
fn a_dial_that_the_handler_panics_on_has_one_end() {
    // Of `on_dial_failed`: it was told.
    let mut drive = may_panic(Drive::new(|_, _, on| assert!(!matches!(on, On::DialFailed))));
    let id = drive.act(|cx| cx.dial(Dial::new("a", 80)));
    drive.expect_dial();
    drive.fail_dial(id, &DialError::Closed).expect_seen(id, Seen::DialFailed(DialError::Closed));
    drive.expect_gone(id);
    assert_eq!((drive.connections(), drive.panics()), (0, 1));

    // Of `on_response`: the server has accepted, and is told.
    let mut drive = may_panic(Drive::new(|_, _, on| assert!(!matches!(on, On::Response))));
    let id = drive.act(|cx| cx.dial(Dial::new("a", 80)));
    drive.expect_dial();
    drive.connect(id).take_bytes(id);
    drive.feed(id, RESPONSE);
    drive.expect_seen(id, Seen::Response(None)).expect_seen(id, Seen::Open);
    drive.expect_close(id, 1011, REASON, Cause::Panic);
    assert_eq!(drive.take_bytes(id).len(), sorry().len() + 4, "it has a key");
    leaves(&mut drive, id);
    assert_eq!((drive.connections(), drive.panics()), (0, 1));
}

#[test]
fn a_panic_after_the_handler_closed_is_told_as_one_and_sends_no_second_close() {
    let mut drive = may_panic(Drive::new(|cx, id, on| {
        if let (Some(id), On::Message(_)) = (id, on) {
            cx.close(id, CloseCode::NORMAL, "");
            panic!("behind it");
        }
    }));
    let id = drive.open();
    drive.feed(id, &text("hi")).expect(id, b"\x88\x02\x03\xe8").expect_text(id, "hi");
    drive.expect_close(id, 1011, REASON, Cause::Panic);
    leaves(&mut drive, id);
}

/// Panics when it is asked for the second.
struct Torn(Option<ConnId>);

impl Iterator for Torn {
    type Item = ConnId;
    fn next(&mut self) -> Option<ConnId> {
        Some(self.0.take().expect("there is one"))
    }
}

#[test]
fn a_broadcast_whose_recipients_cannot_be_told_reaches_those_before() {
    let mut drive = may_panic(Drive::new(|cx: &mut Context<'_>, id, on| {
        if let On::Message(message) = on {
            cx.broadcast(Torn(id), message);
        }
    }));
    let id = drive.open();
    drive.feed(id, &text("hi")).expect(id, &[said("hi"), sorry()].concat()).expect_text(id, "hi");
    drive.expect_close(id, 1011, REASON, Cause::Panic);
    leaves(&mut drive, id);
    assert_eq!((drive.connections(), drive.panics(), drive.buffered_bytes()), (0, 1, 0));
}
