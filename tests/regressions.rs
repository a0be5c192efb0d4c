//! Bugs that a review found, each kept as the events that showed it: on a bare engine where they depend on nothing else,
//! on real sockets where the kernel has its part.
//!
//! Waits are for events. What once went on forever runs on a thread of its own, so that it fails instead.

mod duo;

use duo::{
    REQUEST, RESPONSE, bare, close_body,
    drive::{Drive, On, Seen, echo},
    entropy, masked, show,
};
use sockeye::{
    Cause, CloseCode, Closed, Command, Config, ConnId, Context, Engine, Error, Fault, Handler, Input,
    Keepalive, Limits, Lost, Message, Now, PeerInfo, Remote, Sent, Server, Tick, Upgrade,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    panic,
    rc::Rc,
    sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError},
    thread,
    time::{Duration, Instant},
};

/// How long anything is waited for before its test fails. Nothing is meant to come near it.
const PATIENCE: Duration = Duration::from_secs(30);

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

/// Runs what is to end, and fails if it does not.
fn within_patience<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, result) = mpsc::channel();
    let thread = thread::spawn(move || done.send(act()).expect("it is waited for"));
    match result.recv_timeout(PATIENCE) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("it goes on and on"),
        Err(RecvTimeoutError::Disconnected) => {
            panic::resume_unwind(thread.join().expect_err("it gave no result"))
        }
    }
}

#[track_caller]
fn wait<T>(reports: &Receiver<T>) -> T {
    reports.recv_timeout(PATIENCE).expect("a report comes")
}

/// A handler that is a function.
struct Acts<F>(F);

impl<F: FnMut(&mut Context<'_>, ConnId, On<'_>)> Handler for Acts<F> {
    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        self.0(cx, id, On::Open);
    }
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        self.0(cx, id, On::Message(message));
    }
    fn on_drain(&mut self, cx: &mut Context<'_>, id: ConnId) {
        self.0(cx, id, On::Drain);
    }
    fn on_close(&mut self, cx: &mut Context<'_>, id: ConnId, closed: &Closed<'_>) {
        self.0(cx, id, On::Close(closed));
    }
}

/// Streams as `Sent::Backlogged` says to, to who says "go"; anybody else hears his own words.
fn stream(cx: &mut Context<'_>, id: ConnId, on: &On<'_>, chunk: &[u8]) {
    match on {
        On::Message(message) if message.as_bytes() != b"go" => {
            cx.send(id, *message);
        }
        On::Message(_) | On::Drain => while cx.send(id, chunk) == Sent::Queued {},
        _ => {}
    }
}

fn bind<F>(config: Config, act: F) -> (Server<Acts<F>>, SocketAddr)
where
    F: FnMut(&mut Context<'_>, ConnId, On<'_>),
{
    let server = Server::bind(config, Acts(act)).expect("a port is free");
    let address = server.addresses()[0].ip().expect("it listens on no path");
    (server, address)
}

fn local() -> Config {
    Config::new("127.0.0.1:0")
}

#[track_caller]
fn turn_until(server: &mut Server<impl Handler>, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "what is waited for does not come");
        assert!(server.turn(Some(PATIENCE)).expect("the loop runs"), "the server stopped");
    }
}

/// A server on a thread of its own. Dropping it stops it, and fails the test if it does not end well.
struct Running(Remote, Receiver<Result<(), Error>>);

impl Running {
    fn of(mut server: Server<impl Handler + Send + 'static>) -> Running {
        let (end, ended) = mpsc::channel();
        let remote = server.remote();
        thread::spawn(move || {
            let result = server.run();
            drop(server);
            end.send(result)
        });
        Running(remote, ended)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.0.shutdown();
            self.1.recv_timeout(PATIENCE).expect("run returns, and without a panic").expect("the loop ran");
        }
    }
}

/// A raw socket.
struct Client(TcpStream);

impl Client {
    /// It has sent its request, and looked at no answer.
    #[track_caller]
    fn ask(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a live socket");
        let mut client = Client(stream);
        client.write(REQUEST);
        client
    }

    #[track_caller]
    fn open(address: SocketAddr) -> Client {
        let mut client = Client::ask(address);
        client.expect_response();
        client
    }

    fn expect_response(&mut self) {
        let head = self.bytes(RESPONSE.len());
        assert!(head == RESPONSE, "an answer, not {}", show(&head));
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the server takes it");
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes).expect("as many bytes");
        bytes
    }

    /// The next frame, whole; `None` where the stream ends before it.
    #[track_caller]
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut first = [0];
        if self.0.read(&mut first).expect("a frame or the end") == 0 {
            return None;
        }
        let len = match self.bytes(1)[0] {
            126 => self.bytes(2).iter().fold(0, |len, &byte| len << 8 | usize::from(byte)),
            127 => self.bytes(8).iter().fold(0, |len, &byte| len << 8 | usize::from(byte)),
            len => usize::from(len),
        };
        Some((first[0], self.bytes(len)))
    }

    #[track_caller]
    fn expect(&mut self, first: u8, payload: &[u8]) {
        let (got, bytes) = self.frame().expect("a frame, and the stream ended");
        assert!(got == first && bytes == payload, "{got:#x} of {} bytes: {}", bytes.len(), show(&bytes));
    }

    fn reset(self) {
        socket2::SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).expect("a live socket");
    }
}

const PEER: PeerInfo = PeerInfo { address: None, listener: 0 };

fn at(ms: u64) -> Now {
    Now { tick: Tick::from_ms(ms), unix_ms: ms }
}

fn engine<F>(limits: Limits, act: F) -> Engine<Acts<F>>
where
    F: FnMut(&mut Context<'_>, ConnId, On<'_>),
{
    Engine::new(&Config { limits, ..Config::default() }, Acts(act), entropy)
}

/// Bytes of a peer's arrive; gives all that is written then.
fn feed(engine: &mut Engine<impl Handler>, now: Now, id: ConnId, bytes: &[u8]) -> Vec<u8> {
    let mut input = Input::new(64 << 10);
    input.space()[..bytes.len()].copy_from_slice(bytes);
    input.fill(bytes.len());
    engine.handle_input(now, id, &mut input);
    let Some(transmit) = engine.poll_reply(id, &input) else { return flush(engine, now) };
    let reply = [transmit.first, transmit.second].concat();
    engine.handle_replied(now, id, &mut input, reply.len());
    [reply, flush(engine, now)].concat()
}

/// Writes all there is to write, to peers that take it.
fn flush(engine: &mut Engine<impl Handler>, now: Now) -> Vec<u8> {
    let mut written = Vec::new();
    while let Some(transmit) = engine.poll_transmit() {
        let (id, bytes) = (transmit.id, [transmit.first, transmit.second].concat());
        engine.handle_transmitted(now, id, bytes.len());
        written.extend(bytes);
    }
    written
}

fn commands(engine: &mut Engine<impl Handler>) -> Vec<Command> {
    std::iter::from_fn(|| engine.poll_command()).collect()
}

/// The smallest request, with a line more.
fn request_with(line: &[u8]) -> Vec<u8> {
    [&REQUEST[..REQUEST.len() - 2], line, b"\r\n\r\n"].concat()
}

#[test]
fn a_stream_to_a_peer_that_leaves_with_data_unread_ends_with_one_on_close() {
    for resets in [false, true] {
        let ((report, reports), chunk) = (mpsc::channel(), vec![7; 64 << 10]);
        let (server, address) = bind(local(), move |cx, id, on| {
            stream(cx, id, &on, &chunk);
            if let On::Close(closed) = on {
                report.send((id, closed.cause)).expect("the test waits");
            }
        });
        let running = Running::of(server);
        let mut client = Client::open(address);
        client.write(&masked(BINARY, b"go"));
        client.bytes(1);
        if resets {
            client.reset();
        } else {
            drop(client);
        }
        let (left, cause) = wait(&reports);
        assert!(matches!(cause, Cause::Lost(_)), "{cause:?}");

        let mut other = Client::open(address);
        other.write(&masked(BINARY, b"x"));
        other.expect(BINARY, b"x");
        drop(other);
        assert_ne!(wait(&reports).0, left);
        drop(running);
        assert_eq!(reports.try_recv(), Err(TryRecvError::Disconnected), "on_close came twice");
    }
}

/// The same with the reset between two turns, while the stream waits for a socket that takes no more: the write is what
/// meets it first. That once counted as written, and so led to more to write, for ever.
#[test]
fn a_reset_that_a_waiting_stream_meets_as_it_writes_ends_it() {
    within_patience(|| {
        let ((report, reports), chunk) = (mpsc::channel(), vec![7; 64 << 10]);
        let (mut server, address) = bind(local(), move |cx, id, on| {
            stream(cx, id, &on, &chunk);
            if let On::Close(closed) = on {
                report.send(closed.cause).expect("the test waits");
            }
        });
        let mut client = TcpStream::connect(address).expect("it listens");
        client.write_all(&[REQUEST, &masked(BINARY, b"go")].concat()).expect("it takes it");
        for _ in 0..20 {
            server.turn(Some(Duration::from_millis(10))).expect("the loop runs");
        }
        assert!(reports.try_recv().is_err(), "it waits for its reader");
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("a live socket");
        drop(client);
        while server.connections() > 0 {
            server.turn(None).expect("the loop runs");
        }
        assert!(matches!(reports.try_recv(), Ok(Cause::Lost(_))));
        assert!(reports.try_recv().is_err(), "on_close came twice");
    });
}

#[test]
fn fast_readers_of_a_stream_do_not_keep_the_server_in_one_turn_from_an_echo() {
    within_patience(|| {
        let (drains, chunk) = (Rc::new(RefCell::new(BTreeMap::<ConnId, u32>::new())), vec![7; 4 << 10]);
        let mut config = local();
        config.limits.outbox_bytes_soft = 16 << 10;
        let counted = drains.clone();
        let (mut server, address) = bind(config, move |cx, id, on| {
            if let On::Drain = on {
                *counted.borrow_mut().entry(id).or_default() += 1;
            }
            stream(cx, id, &on, &chunk);
        });
        let (done, echoed) = mpsc::channel();
        thread::spawn(move || {
            let mut other = Client::open(address);
            for _ in 0..2 {
                let mut reader = Client::open(address);
                reader.write(&masked(BINARY, b"go"));
                thread::spawn(move || {
                    let mut bytes = vec![0; 1 << 20];
                    while reader.0.read(&mut bytes).is_ok_and(|n| n > 0) {}
                });
            }
            for _ in 0..50 {
                other.write(&masked(BINARY, b"x"));
                other.expect(BINARY, b"x");
            }
            done.send(()).expect("the test waits");
        });
        let (mut all, mut ended) = (0, false);
        while !ended || all < 100 {
            assert!(server.turn(Some(PATIENCE)).expect("the loop runs"));
            let of_turn = std::mem::take(&mut *drains.borrow_mut());
            all += of_turn.values().sum::<u32>();
            // One for what each of three peers may have said, one for what the turn ends with, and as many to spare.
            assert!(of_turn.values().all(|&drains| drains <= 8), "on_drain in one turn: {of_turn:?}");
            let heard = echoed.try_recv();
            assert!(ended || heard != Err(TryRecvError::Disconnected), "the echo did not come");
            ended |= heard.is_ok();
        }
    });
}

#[test]
fn a_peer_that_on_open_sends_too_much_gets_its_101_whole_and_then_a_close() {
    let act = |cx: &mut Context<'_>, id: Option<ConnId>, on: On<'_>| {
        if let On::Open = on {
            let sent = [(); 3].map(|()| cx.send(id.unwrap(), &[1; 600 << 10][..]));
            assert_eq!(sent, [Sent::Backlogged, Sent::Backlogged, Sent::Refused]);
        }
    };
    for per_write in [1, 7, RESPONSE.len(), usize::MAX] {
        let mut drive = Drive::new(act);
        let id = drive.accept();
        drive.take_by(id, per_write).feed(id, REQUEST);
        let seen = drive.take_seen();
        let [Seen::Open, Seen::Close { code: 1013, reason, .. }] = &seen[..] else { panic!("{seen:?}") };
        drive.expect(id, &[RESPONSE, &bare(CLOSE, &close_body(1013, reason))].concat()).expect_shut(id);
    }
}

#[test]
fn a_subprotocol_that_was_not_offered_is_not_acknowledged_whatever_is_in_it() {
    let offer = b"Sec-WebSocket-Protocol: chat, superchat";
    for request in [REQUEST.to_vec(), request_with(offer)] {
        for name in ["other", "", "chat, superchat", "chat\r\nSet-Cookie: x=1", "a\r\n\r\n\x01", "Chat"] {
            let mut drive = Drive::new(echo).judge(|_| {
                let mut upgrade = Upgrade::accept();
                upgrade.subprotocol = Some(name.to_owned());
                upgrade
            });
            let id = drive.accept();
            drive.feed(id, &request).expect(id, RESPONSE).expect_seen(id, Seen::Open);
        }
    }
}

#[test]
fn an_origin_that_is_no_text_does_not_pass_the_list() {
    let origins = |config: &mut Config| config.origins = vec!["https://ok.example".to_owned()];
    let cases = [
        (&b"https://ok.example"[..], "101"),
        (b"https://evil", "403"),
        (b"https://evil\xff", "400"),
        (b"https://ok.example\xff", "400"),
    ];
    for (origin, status) in cases {
        let mut drive = Drive::with(origins, echo);
        let id = drive.accept();
        drive.feed(id, &request_with(&[b"Origin: ", origin].concat()));
        let answer = drive.take_bytes(id);
        assert!(answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{}", show(&answer));
        assert_eq!(drive.take_seen().len(), usize::from(status == "101"));
    }
}

#[test]
fn a_small_message_behind_a_large_one_in_the_queue_of_a_remote_does_not_cost_the_member_that_reads() {
    let (open, opened) = mpsc::channel();
    let (mut server, address) = bind(local(), move |cx, id, on| {
        if let On::Open = on {
            assert!(cx.subscribe(id, "r"));
            open.send(()).expect("the test waits");
        }
    });
    let mut client = Client::ask(address);
    turn_until(&mut server, || opened.try_recv().is_ok());
    server.remote().publish("r", vec![7; 1 << 20]).expect("there is room");
    server.remote().publish("r", "second").expect("there is room");
    let _running = Running::of(server);
    client.expect_response();
    client.expect(BINARY, &[7; 1 << 20]);
    client.expect(0x81, b"second");
    drop(client);
}

#[test]
fn what_many_publish_in_one_wake_reaches_all_members_that_read() {
    const MEMBERS: usize = 2;
    const PUBLISHERS: usize = 24;
    const MESSAGES: usize = 6;
    let (open, opened) = mpsc::channel();
    let (mut server, address) = bind(local(), move |cx, id, on| match on {
        On::Open => {
            if id.index() < MEMBERS {
                assert!(cx.subscribe(id, "r"));
            }
            open.send(()).expect("the test waits");
        }
        On::Message(message) => assert_eq!(cx.publish("r", message).refused, 0),
        _ => {}
    });
    let mut clients: Vec<_> = (0..MEMBERS + PUBLISHERS)
        .map(|_| {
            let mut client = Client::ask(address);
            turn_until(&mut server, || opened.try_recv().is_ok());
            client.expect_response();
            client
        })
        .collect();
    let payload = |from: usize, number: usize| [vec![from as u8, number as u8], vec![3; 10 << 10]].concat();
    for (from, client) in clients[MEMBERS..].iter_mut().enumerate() {
        let frames: Vec<_> =
            (0..MESSAGES).flat_map(|number| masked(BINARY, &payload(from, number))).collect();
        client.write(&frames);
    }
    let (report, reports) = mpsc::channel();
    for mut member in clients.drain(..MEMBERS) {
        let report = report.clone();
        thread::spawn(move || {
            let mut got = [0; PUBLISHERS];
            for _ in 0..PUBLISHERS * MESSAGES {
                let (first, bytes) = member.frame().expect("a message, and the stream ended");
                let from = usize::from(bytes[0]);
                assert!(first == BINARY && bytes == payload(from, got[from]), "{}", show(&bytes));
                got[from] += 1;
            }
            report.send(got).expect("the test waits");
        });
    }
    let _running = Running::of(server);
    for _ in 0..MEMBERS {
        assert_eq!(wait(&reports), [MESSAGES; PUBLISHERS]);
    }
    drop(clients);
}

#[test]
fn a_budget_spent_by_many_small_holders_costs_no_more_of_them_than_it_takes() {
    let limits = |config: &mut Config| config.limits.buffered_bytes_max = 90 << 10;
    let mut drive = Drive::with(limits, echo);
    let ids: Vec<_> = (0..12).map(|_| drive.open()).collect();
    let mut closed = 0;
    for &id in &ids {
        drive.block(id).feed(id, &masked(BINARY, &[1; 7_000]));
        assert!(drive.buffered_bytes() <= 90 << 10, "{} bytes held", drive.buffered_bytes());
        for seen in drive.take_seen() {
            if let Seen::Close { code, cause, .. } = seen {
                assert!(matches!(cause, Cause::Fault(Fault::BudgetSpent { .. })), "{cause:?}");
                assert_eq!(code, 1013);
                closed += 1;
            }
        }
    }
    assert!((1..=2).contains(&closed), "{closed} closed");
    let echoed = bare(BINARY, &[1; 7_000]);
    let whole = ids.iter().filter(|&&id| drive.take(id, usize::MAX).take_bytes(id) == echoed).count();
    assert_eq!(whole, ids.len() - closed);
    drive.take_seen();
}

#[test]
fn an_unfinished_head_that_spends_the_budget_is_answered_503() {
    let limits = |config: &mut Config| config.limits.buffered_bytes_max = 10 << 10;
    let mut drive = Drive::with(limits, echo);
    let id = drive.accept();
    drive.feed(id, &[&b"GET / HTTP/1.1\r\nA: "[..], &[b'a'; 12 << 10]].concat());
    let answer = drive.expect_nothing_seen().expect_shut(id).take_bytes(id);
    assert!(answer.starts_with(b"HTTP/1.1 503 "), "{}", show(&answer));
    assert!(drive.buffered_bytes() <= 10 << 10);
}

#[test]
#[cfg(feature = "cli")]
fn the_binary_refuses_to_linger_for_no_time_at_all() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_sockeye"))
        .args(["serve", "--listen", "127.0.0.1:0", "--linger-ms-max", "0"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let (mut said, mut line) = (child.stderr.take().expect("it is piped"), Vec::new());
    let mut byte = [0];
    while said.read(&mut byte).expect("a pipe") > 0 && byte != *b"\n" {
        line.push(byte[0]);
    }
    let names_it = String::from_utf8_lossy(&line).contains("linger_ms_max");
    if !names_it {
        child.kill().expect("it is our child"); // it serves
    }
    let status = child.wait().expect("it is our child");
    assert!(names_it && status.code() == Some(2), "{status}: {}", show(&line));
}

#[test]
fn a_silent_peer_whose_time_is_up_on_a_grain_is_looked_at_once_though_the_linger_is_nothing() {
    within_patience(|| {
        let limits = Limits { linger_ms_max: 0, ..Limits::default() };
        let mut engine = engine(limits, |_, _, _| {});
        let id = engine.handle_accept(at(0), PEER);
        engine.handle_timeout(at(10_000)); // divisible by 16: due, and due again, at the very same tick
        assert!(engine.poll_timeout().is_some_and(|due| due > Tick::from_ms(10_000)));
        let answer = flush(&mut engine, at(10_000));
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", show(&answer));
        assert_eq!(commands(&mut engine), [Command::ShutdownWrite(id)]);
        engine.handle_timeout(at(10_016));
        assert_eq!(commands(&mut engine), [Command::Close(id)]);
        assert_eq!((engine.connections(), engine.poll_timeout()), (0, None));
    });
}

#[test]
fn a_frame_of_4_gib_announced_where_any_message_may_come_is_refused_with_1009() {
    let limits = Limits { message_bytes_max: u32::MAX, ..Limits::default() };
    for len in [u64::from(u32::MAX), u64::from(u32::MAX) + 1, i64::MAX as u64, (1 << 30) + 1] {
        let mut engine = engine(limits, |_, _, _| {});
        let id = engine.handle_accept(at(0), PEER);
        assert_eq!(feed(&mut engine, at(0), id, REQUEST), RESPONSE);
        let out = feed(&mut engine, at(0), id, &[b"\x82\xff", &len.to_be_bytes()[..], b"\0\0\0\0x"].concat());
        assert_eq!((out[0], &out[2..4]), (CLOSE, &1009_u16.to_be_bytes()[..]), "{len}: {}", show(&out));
    }
}

#[test]
fn limits_at_their_extremes_let_a_message_through_and_never_panic() {
    for size in [0, 1, u32::MAX - 1, u32::MAX] {
        let (mut config, all) = (Config { tick_ms: size, ..Config::default() }, [size; 5]);
        let l = &mut config.limits;
        [l.message_bytes_max, l.fragments_max, l.message_idle_ms_max, l.head_bytes_max, l.headers_max] = all;
        [l.handshake_ms_max, l.closing_ms_max, l.linger_ms_max, l.read_bytes_max, l.pool_bytes_max] = all;
        [l.outbox_bytes_soft, l.outbox_bytes_max, l.outbox_stall_ms_max, l.control_bytes_reserve, _] = all;
        [l.connections_max, l.connections_per_address_max, l.remote_commands_max, ..] = all;
        l.buffered_bytes_max = if size == u32::MAX { u64::MAX } else { 1 << 20 };
        config.keepalive = Keepalive { ping_after_ms: size, pong_within_ms: size };
        let act = |cx: &mut Context<'_>, id: ConnId, on: On<'_>| stream(cx, id, &on, b"");
        let mut engine = Engine::new(&config, Acts(act), entropy);
        let id = engine.handle_accept(at(0), PEER);
        assert_eq!(feed(&mut engine, at(0), id, REQUEST), RESPONSE);
        assert_eq!(feed(&mut engine, at(0), id, &masked(BINARY, b"x")), b"\x82\x01x", "limits of {size}");
        feed(&mut engine, at(0), id, b"\x02\xfe\x10\x00\0\0\0\0part"); // a fragment of 4 KiB, begun
        for ms in [16, 32, u64::from(u32::MAX), u64::from(u32::MAX) + 16] {
            engine.handle_timeout(at(ms));
            flush(&mut engine, at(ms));
            commands(&mut engine);
        }
        engine.handle_abort(at(1 << 33));
        commands(&mut engine);
        assert_eq!((engine.connections(), engine.buffered_bytes()), (0, 0));
    }
}

#[test]
fn the_reset_of_a_peer_that_is_paused_is_heard_of() {
    let (report, reports) = mpsc::channel();
    let mut config = local();
    config.keepalive = Keepalive { ping_after_ms: 0, pong_within_ms: 0 };
    let (server, address) = bind(config, move |cx, id, on| match on {
        On::Message(_) => {
            cx.pause(id);
            report.send(None).expect("the test waits");
        }
        On::Close(closed) => report.send(Some((closed.code, closed.cause))).expect("the test waits"),
        _ => {}
    });
    let _running = Running::of(server);
    let mut client = Client::open(address);
    client.write(&masked(BINARY, b"pause"));
    assert_eq!(wait(&reports), None);
    client.reset();
    let closed = wait(&reports).expect("nothing else is said");
    assert!(matches!(closed, (CloseCode::ABNORMAL, Cause::Lost(Lost::Io(_)))), "{closed:?}");
}

#[test]
fn an_id_is_given_to_one_connection_only_and_a_stale_one_is_refused() {
    let (mut engine, mut given) = (engine(Limits::default(), |_, _, _| {}), HashSet::new());
    // Alone, or a few at a time: each time all have left, and what was kept of them goes.
    for crowd in [1, 9].repeat(100) {
        let ids: Vec<_> = (0..crowd).map(|_| engine.handle_accept(at(0), PEER)).collect();
        for &id in &ids {
            assert!(given.insert(id), "{id} is given a second time");
            assert_eq!(feed(&mut engine, at(0), id, REQUEST), RESPONSE);
        }
        for &id in &ids {
            engine.handle_lost(at(0), id, Lost::Eof);
            assert_eq!(commands(&mut engine), [Command::Close(id)]);
        }
    }
    let present = engine.handle_accept(at(0), PEER);
    assert_eq!(feed(&mut engine, at(0), present, REQUEST), RESPONSE);
    assert!(given.len() == 1_000 && !given.contains(&present));
    for stale in given {
        engine.act(at(0), |_, cx| {
            assert_eq!((cx.send(stale, "x"), cx.broadcast([stale], "x").refused), (Sent::Refused, 1));
            assert!(!cx.close(stale, CloseCode::NORMAL, "") && !cx.subscribe(stale, "t"));
            assert_eq!((cx.buffered(stale), cx.peer(stale)), (None, None));
        });
        engine.handle_lost(at(0), stale, Lost::Eof);
    }
    assert_eq!(feed(&mut engine, at(0), present, &masked(0x89, b"here?")), bare(0x8a, b"here?"));
}

/// Past the hard mark a Pong was dropped, also where one message that goes back as it came was all of the queue.
#[test]
fn a_ping_behind_an_echo_that_is_larger_than_the_queue_is_answered() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    let payload = vec![b'x'; 1_200_000];
    drive.feed(id, &[masked(BINARY, &payload), masked(0x89, b"sync")].concat());
    let (heard, wanted) = (drive.take_bytes(id), [bare(BINARY, &payload), bare(0x8a, b"sync")].concat());
    assert!(heard == wanted, "{} of {} bytes", heard.len(), wanted.len());
    drive.take_seen();
}
