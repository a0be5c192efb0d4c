//! Connections that the engine dials: what it asks for, what a handler is told, and that each dial ends in exactly one
//! way. §4.1

use crate::duo::{
    RESPONSE, bare, close_body,
    drive::{Drive, On, Seen, echo},
    masked,
};
use sockeye::{
    Cause, ClientRequest, CloseCode, ConnId, Context, Dial, DialError, Endpoint, Fault, Lost, PeerInfo,
    Request, ResponseError, Sent,
};

fn quiet(_: &mut Context<'_>, _: Option<ConnId>, _: On<'_>) {}

/// Dials `a`, and says nothing more.
fn dial(drive: &mut Drive) -> ConnId {
    let id = drive.act(|cx| cx.dial(Dial::new("a", 80)));
    assert_eq!(drive.expect_dial().0, id);
    id
}

/// The answer to the request that was written to `id`.
fn answer(drive: &mut Drive, id: ConnId) -> Vec<u8> {
    let request = drive.take_bytes(id);
    let accept = Request::parse(&request, 100).expect("our own request is valid").accept_key();
    let accept = String::from_utf8(accept.as_bytes().to_vec()).unwrap();
    std::str::from_utf8(RESPONSE).unwrap().replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &accept).into_bytes()
}

/// A dialled connection that is open.
fn open(drive: &mut Drive) -> ConnId {
    let id = dial(drive);
    drive.connect(id);
    let answer = answer(drive, id);
    drive.feed(id, &answer).expect_seen(id, Seen::Response(None)).expect_seen(id, Seen::Open);
    id
}

/// The payloads of whole masked frames, each behind its first byte.
fn unmasked(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [lead, len, rest @ ..] = bytes {
        assert!(*len >= 0x80 && *len < 0x80 + 126, "a short masked frame");
        let (key, rest) = rest.split_at(4);
        let (payload, rest) = rest.split_at(usize::from(len & 0x7f));
        frames.push((*lead, payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()));
        bytes = rest;
    }
    frames
}

#[track_caller]
fn expect_failed(drive: &mut Drive, id: ConnId, error: DialError) {
    drive.expect_seen(id, Seen::DialFailed(error)).expect_nothing_seen().expect_gone(id).expect_silence(id);
}

// ------------------------------------------------------------------ opening

#[test]
fn s4_1_a_dial_asks_for_a_socket_and_the_request_is_written_when_it_is_connected() {
    let mut drive = Drive::with(|config| config.deflate.enabled = false, echo);
    let mut wanted = Dial::new("example.com", 8080);
    wanted.local = Some("127.0.0.2".parse().unwrap());
    wanted.request.target = "/chat?room=1".to_owned();
    let id = drive.act(|cx| cx.dial(wanted));
    let local = Some("127.0.0.2".parse().unwrap());
    assert_eq!(
        drive.expect_dial(),
        (id, Endpoint { host: "example.com".to_owned(), port: 8080, tls: false, local })
    );
    assert_eq!(drive.act(|cx| cx.peer(id)).unwrap(), PeerInfo { address: None, listener: PeerInfo::DIALLED });
    drive.at(5_000).expect_silence(id).connect(id);
    drive.expect(
        id,
        b"GET /chat?room=1 HTTP/1.1\r\nHost: example.com:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    let address = drive.act(|cx| cx.peer(id)).unwrap().address;
    assert_eq!(address, Some("192.0.2.1:80".parse().unwrap()));
    drive.feed(id, RESPONSE).expect_seen(id, Seen::Response(None)).expect_seen(id, Seen::Open);
    drive.feed(id, &bare(0x81, b"hi")).expect_text(id, "hi");
    drive.expect(id, b"\x81\x82\x11\x12\x13\x14\x79\x7b");
}

#[test]
fn the_answer_and_frames_behind_it_are_the_same_to_a_handler_however_they_are_cut() {
    let frames = [
        bare(0x81, b"one"),
        bare(0x89, b"?"),
        bare(0x82, &[7; 125]),
        bare(0x82, &[8; 126]),
        bare(0x01, b"t"),
        bare(0x8a, b""),
        bare(0x80, "wö".as_bytes()),
        bare(0x82, &[9; 300]),
        bare(0x88, &close_body(4000, "enough")),
    ];
    let told = [
        Seen::Response(Some("b".to_owned())),
        Seen::Open,
        Seen::Text("one".to_owned()),
        Seen::Binary(vec![7; 125]),
        Seen::Binary(vec![8; 126]),
        Seen::Text("twö".to_owned()),
        Seen::Binary(vec![9; 300]),
        Seen::Close { code: 4000, reason: "enough".to_owned(), was_clean: true, cause: Cause::Peer },
    ];
    let head =
        std::str::from_utf8(RESPONSE).unwrap().replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: b\r\n\r\n");
    let stream = [head.into_bytes(), frames.concat()].concat();
    for cut in 0..=stream.len() {
        let mut drive = Drive::new(quiet);
        let mut wanted = Dial::new("a", 80);
        wanted.request.subprotocols = vec!["a".to_owned(), "b".to_owned()];
        let id = drive.act(|cx| cx.dial(wanted));
        drive.connect(id).take_bytes(id);
        drive.feed(id, &stream[..cut]).feed(id, &stream[cut..]);
        assert_eq!(drive.take_seen(), told, "cut at {cut}");
        let sent = unmasked(&drive.take_bytes(id));
        assert_eq!(sent, [(0x8a, b"?".to_vec()), (0x88, close_body(4000, "enough"))], "cut at {cut}");
        // §7.1.1: the server ends TCP first.
        drive.expect_alive(id).feed_eof(id).expect_gone(id);
        assert_eq!(drive.buffered_bytes(), 0);
    }
}

#[test]
fn s5_1_a_masked_frame_of_a_server_fails_the_connection_behind_frames_that_are_right() {
    let mut drive = Drive::new(quiet);
    let id = open(&mut drive);
    drive.feed(id, &[bare(0x81, b"a"), masked(0x81, b"b"), bare(0x81, b"c")].concat());
    drive.expect_text(id, "a").expect_close(
        id,
        1002,
        "server frame is masked",
        Cause::Fault(Fault::MaskedFrame),
    );
    let sent = unmasked(&drive.take_bytes(id));
    assert_eq!(sent, [(0x88, close_body(1002, "server frame is masked"))]);
    drive.feed_eof(id).expect_gone(id);
}

#[test]
fn a_handler_may_close_as_soon_as_it_sees_the_answer() {
    let mut drive = Drive::new(|cx, id, on| {
        if let (Some(id), On::Response) = (id, on) {
            assert!(cx.close(id, CloseCode::NORMAL, "not so"));
        }
    });
    let id = open(&mut drive);
    assert_eq!(unmasked(&drive.take_bytes(id)), [(0x88, close_body(1000, "not so"))]);
    drive.feed(id, &bare(0x88, &close_body(1000, ""))).expect_close(id, 1000, "", Cause::Local);
    drive.feed_eof(id).expect_gone(id);
}

#[test]
fn what_is_published_reaches_accepted_and_dialled_members_each_in_its_frames() {
    let mut drive = Drive::new(|cx, id, on| {
        if let (Some(id), On::Open) = (id, on) {
            cx.subscribe(id, "room");
        }
    });
    let accepted = drive.open();
    let dialled = open(&mut drive);
    assert_eq!(drive.act(|cx| cx.publish("room", "to all")).queued, 2);
    drive.expect(accepted, &bare(0x81, b"to all"));
    assert_eq!(unmasked(&drive.take_bytes(dialled)), [(0x81, b"to all".to_vec())]);
    drive.feed_eof(accepted).feed_eof(dialled).take_seen();
}

#[test]
fn a_server_that_was_dialled_is_read_while_it_takes_nothing() {
    // Two ends that echo and stop reading while the other does not read would wait for each other for ever.
    let mut drive = Drive::with(|config| config.limits.outbox_bytes_soft = 1_000, echo);
    let id = open(&mut drive);
    drive.block(id);
    assert_eq!(drive.act(|cx| cx.send(id, &[1; 2_000][..])), Sent::Backlogged);
    assert!(drive.wants_read(id));
    drive.feed(id, &bare(0x81, b"hi")).expect_text(id, "hi");
    drive.take(id, 4_000).expect_seen(id, Seen::Drain);
    assert_eq!(drive.take_bytes(id).len(), 8 + 2_000 + 6 + 2);
    drive.act(|cx| cx.pause(id));
    assert!(!drive.wants_read(id));
}

// ------------------------------------------------------------------ not opening

#[test]
fn each_dial_that_fails_is_told_once_with_its_reason_and_leaves_nothing() {
    let refused = DialError::Connect {
        address: "192.0.2.1:80".parse().unwrap(),
        kind: std::io::ErrorKind::ConnectionRefused,
        why: "refused".to_owned(),
    };
    let mut drive = Drive::new(quiet);
    let id = dial(&mut drive);
    drive.fail_dial(id, &refused);
    expect_failed(&mut drive, id, refused);

    let id = dial(&mut drive);
    drive.connect(id).take_bytes(id);
    drive.feed(id, &RESPONSE[..40]).feed_eof(id);
    expect_failed(&mut drive, id, DialError::Lost(Lost::Eof));

    let id = dial(&mut drive);
    drive.connect(id).take_bytes(id);
    drive.lose(id, Lost::Io(std::io::ErrorKind::ConnectionReset));
    expect_failed(&mut drive, id, DialError::Lost(Lost::Io(std::io::ErrorKind::ConnectionReset)));

    let id = dial(&mut drive);
    drive.connect(id).take_bytes(id);
    drive.feed(id, b"HTTP/1.1 404 Not Found\r\n\r\n");
    expect_failed(&mut drive, id, DialError::Response(ResponseError::Status(404)));

    let id = dial(&mut drive);
    drive.connect(id).take_bytes(id);
    drive.feed(id, b"HTTP/1.1 302 Found\r\nLocation: ws://b/\r\n\r\n");
    let location = "ws://b/".to_owned();
    expect_failed(&mut drive, id, DialError::Response(ResponseError::Redirect { status: 302, location }));

    let id = dial(&mut drive);
    assert!(drive.act(|cx| cx.close(id, CloseCode::NORMAL, "")));
    assert!(!drive.act(|cx| cx.close(id, CloseCode::NORMAL, "")));
    expect_failed(&mut drive, id, DialError::Closed);
    drive.fail_dial(id, &DialError::Closed).expect_nothing_seen();
    assert_eq!((drive.connections(), drive.buffered_bytes()), (0, 0));
}

#[test]
fn s4_1_the_time_of_a_handshake_counts_from_the_dial_and_tells_whether_it_was_connected() {
    let mut drive = Drive::new(quiet);
    let (far, silent) = (dial(&mut drive), dial(&mut drive));
    drive.at(9_000).connect(silent).take_bytes(silent);
    drive.at(9_990).feed(silent, &RESPONSE[..50]).expect_nothing_seen();
    drive.at(10_016);
    let mut told = drive.take_seen();
    told.sort_by_key(|seen| format!("{seen:?}"));
    let timeout = |connected| Seen::DialFailed(DialError::Timeout { limit_ms: 10_000, connected });
    assert_eq!(told, [timeout(false), timeout(true)]);
    drive.expect_gone(far).expect_gone(silent);
    assert_eq!(drive.buffered_bytes(), 0);
}

#[test]
fn a_dial_is_sent_nothing_and_is_in_no_topic_before_it_is_open() {
    let mut drive = Drive::new(quiet);
    let id = dial(&mut drive);
    drive.act(|cx| {
        assert_eq!(cx.send(id, "hi"), Sent::Refused);
        assert!(!cx.ping(id, b"") && !cx.subscribe(id, "room"));
        cx.pause(id);
        cx.resume(id);
    });
    drive.connect(id);
    let answer = answer(&mut drive, id);
    drive.feed(id, &answer).expect_seen(id, Seen::Response(None)).expect_seen(id, Seen::Open);
}

#[test]
#[should_panic(expected = "no request")]
fn what_is_no_request_is_not_dialled() {
    let mut wanted = Dial::new("a", 80);
    wanted.request = ClientRequest { target: "chat".to_owned(), ..wanted.request };
    Drive::new(quiet).act(|cx| cx.dial(wanted));
}

// ------------------------------------------------------------------ limits and the end

#[test]
fn a_dial_over_connections_max_fails_and_one_after_somebody_left_does_not() {
    let mut drive = Drive::with(|config| config.limits.connections_max = 2, quiet);
    let (accepted, first) = (drive.open(), dial(&mut drive));
    let second = drive.act(|cx| cx.dial(Dial::new("a", 80)));
    drive.expect_nothing_seen().at(20);
    expect_failed(&mut drive, second, DialError::TooMany { limit: 2 });
    drive.feed_eof(accepted).take_seen();
    let third = dial(&mut drive);
    drive.connect(first).connect(third).take_bytes(first);
    drive.take_bytes(third);
}

#[test]
fn a_handler_that_dials_again_at_once_does_not_keep_the_loop() {
    let mut drive = Drive::with(
        |config| config.limits.connections_max = 1,
        |cx, _, on| {
            if let On::DialFailed = on {
                cx.dial(Dial::new("a", 80));
            }
        },
    );
    drive.open();
    drive.act(|cx| cx.dial(Dial::new("a", 80)));
    for tick in 1..=5 {
        drive.at(tick * 16);
        let told = drive.take_seen().len();
        assert!(told <= 1, "{told} in one look at the time");
    }
    assert_eq!(drive.connections(), 2);
}

#[test]
fn those_that_were_dialled_do_not_count_against_connections_per_address_max() {
    let address = "192.0.2.1:80".parse().unwrap();
    let mut drive = Drive::with(|config| config.limits.connections_per_address_max = 1, echo);
    let (first, second) = (open(&mut drive), open(&mut drive));
    let accepted = drive.accept_from(Some(address));
    drive.feed_eof(first).feed_eof(second).take_seen();
    let late = drive.accept_from(Some(address));
    assert!(drive.take_bytes(late).starts_with(b"HTTP/1.1 503 "));
    drive.feed_eof(late).feed_eof(accepted);
    let again = drive.accept_from(Some(address));
    drive.expect_silence(again).feed_eof(again);
}

#[test]
fn s7_4_1_at_shutdown_a_dial_ends_without_a_word_and_an_open_one_is_closed_with_1001() {
    let mut drive = Drive::new(quiet);
    let (open, asking, far) = (open(&mut drive), dial(&mut drive), dial(&mut drive));
    drive.connect(asking).take_bytes(asking);
    drive.shutdown();
    let mut told = drive.take_seen();
    assert_eq!(told.pop(), Some(Seen::DialFailed(DialError::Lost(Lost::Stopped))));
    assert_eq!(told, [Seen::DialFailed(DialError::Lost(Lost::Stopped))]);
    drive.expect_silence(asking).expect_gone(asking).expect_gone(far);
    assert_eq!(unmasked(&drive.take_bytes(open)), [(0x88, close_body(1001, "the server is stopping"))]);
    let late = drive.act(|cx| cx.dial(Dial::new("a", 80)));
    drive.at(20);
    expect_failed(&mut drive, late, DialError::Lost(Lost::Stopped));
    drive.feed(open, &bare(0x88, b"\x03\xe9")).expect_close(open, 1001, "", Cause::Local);
    drive.feed_eof(open).expect_gone(open);
}

#[test]
fn a_dial_that_is_aborted_fails_once() {
    let mut drive = Drive::new(quiet);
    let (connected, far) = (dial(&mut drive), dial(&mut drive));
    drive.connect(connected).take_bytes(connected);
    drive.abort();
    assert_eq!(drive.take_seen(), [0, 1].map(|_| Seen::DialFailed(DialError::Lost(Lost::Stopped))));
    drive.expect_gone(connected).expect_gone(far);
    assert_eq!((drive.connections(), drive.buffered_bytes()), (0, 0));
}

#[test]
fn a_dial_that_holds_most_when_the_budget_is_spent_fails() {
    let configure = |config: &mut sockeye::Config| config.limits.buffered_bytes_max = 4_000;
    let mut drive = Drive::with(configure, quiet);
    let mut wanted = Dial::new("a", 80);
    wanted.request.headers = vec![("Cookie".to_owned(), "x".repeat(5_000))];
    let id = drive.act(|cx| cx.dial(wanted));
    let [Seen::DialFailed(DialError::Fault(Fault::BudgetSpent { .. }))] = drive.take_seen()[..] else {
        panic!("a budget of 4,000 bytes is spent by a request of 5,000");
    };
    drive.expect_gone(id);
    assert_eq!(drive.buffered_bytes(), 0);
}
