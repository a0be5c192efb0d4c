//! The server on real sockets: what the engine's own tests cannot see, because it is the kernel that cuts, delays,
//! buffers, resets and runs out.
//!
//! The client is a raw socket. Waits are for events: bytes, the end of a stream, what a handler reports through a
//! channel. Time is looked at only where it is what is examined.

use sockeye::{
    Answer, Cause, CloseCode, Closed, Config, ConnId, Context, Error, Fault, Handler, HttpRequest,
    HttpResponse, LocalAddress, Lost, Message, Remote, RemoteError, Sent, Server,
};
use std::{
    collections::HashSet,
    fs,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::mpsc::{self, Receiver},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long anything is waited for before its test fails. Nothing is meant to come near it.
const PATIENCE: Duration = Duration::from_secs(30);

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

// ---------------------------------------------------------------------- the server's side

/// What a handler is told of a connection.
enum Event<'a> {
    Open,
    Message(Message<'a>),
    Drain,
    Closed(&'a Closed<'a>),
}

/// A handler that is a function.
struct Acts<F>(F);

impl<F: FnMut(&mut Context<'_>, ConnId, Event<'_>)> Handler for Acts<F> {
    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        self.0(cx, id, Event::Open);
    }
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        self.0(cx, id, Event::Message(message));
    }
    fn on_drain(&mut self, cx: &mut Context<'_>, id: ConnId) {
        self.0(cx, id, Event::Drain);
    }
    fn on_close(&mut self, cx: &mut Context<'_>, id: ConnId, closed: &Closed<'_>) {
        self.0(cx, id, Event::Closed(closed));
    }
}

fn echo(cx: &mut Context<'_>, id: ConnId, event: Event<'_>) {
    if let Event::Message(message) = event {
        cx.send(id, message);
    }
}

/// A server on a thread of its own. Dropping it stops it, and fails the test if it does not end well.
struct Running {
    addresses: Vec<LocalAddress>,
    remote: Remote,
    ended: Receiver<Result<(), Error>>,
    joined: bool,
}

fn serve<F>(config: Config, act: F) -> Running
where
    F: FnMut(&mut Context<'_>, ConnId, Event<'_>) + Send + 'static,
{
    serve_by(config, Acts(act))
}

fn serve_by(config: Config, handler: impl Handler + Send + 'static) -> Running {
    let mut server = Server::bind(config, handler).expect("a port is free");
    let (addresses, remote) = (server.addresses().to_vec(), server.remote());
    let (end, ended) = mpsc::channel();
    thread::spawn(move || {
        let result = server.run();
        assert_eq!(server.panics(), 0);
        end.send(result)
    });
    Running { addresses, remote, ended, joined: false }
}

fn local() -> Config {
    Config::new("127.0.0.1:0")
}

impl Running {
    fn address(&self) -> SocketAddr {
        self.addresses[0].ip().expect("the first listener is no path")
    }

    #[track_caller]
    fn open(&self) -> Client {
        Client::open(self.address())
    }

    /// Waits until `run` has returned.
    #[track_caller]
    fn expect_stopped(&mut self) {
        self.joined = true;
        self.ended.recv_timeout(PATIENCE).expect("run returns, and without a panic").expect("the loop ran");
    }

    #[track_caller]
    fn stop(&mut self) {
        self.remote.shutdown();
        self.expect_stopped();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.joined && !thread::panicking() {
            self.stop();
        }
    }
}

/// Waits for a report.
#[track_caller]
fn wait<T>(reports: &Receiver<T>) -> T {
    reports.recv_timeout(PATIENCE).expect("a report comes")
}

// ---------------------------------------------------------------------- the client's side

/// A raw socket, and what came and was not yet looked at.
struct Client<S = TcpStream> {
    stream: S,
    input: Vec<u8>,
    at: usize,
}

impl Client {
    /// A TCP connection on which nothing was said.
    #[track_caller]
    fn dial(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server listens");
        stream.set_nodelay(true).expect("a live socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a live socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a live socket");
        Client::of(stream)
    }

    #[track_caller]
    fn open(address: SocketAddr) -> Client {
        let mut client = Client::dial(address);
        client.write(UPGRADE);
        client.expect_status(101);
        client
    }

    /// Leaves without a word: TCP is reset, not ended.
    fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a live socket");
    }

    /// Smaller than the kernel's own choice, so that little is on its way; not so small that all takes long.
    fn set_small_buffers(&self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_recv_buffer_size(64 << 10).expect("a live socket");
        socket.set_send_buffer_size(64 << 10).expect("a live socket");
    }

    fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).expect("a live socket");
    }
}

impl<S: Read + Write> Client<S> {
    fn of(stream: S) -> Client<S> {
        Client { stream, input: Vec::new(), at: 0 }
    }

    #[track_caller]
    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes it");
    }

    #[track_caller]
    fn send(&mut self, first: u8, payload: &[u8]) {
        self.write(&masked(first, payload));
    }

    #[track_caller]
    fn expect_status(&mut self, status: u16) {
        let end = loop {
            if let Some(at) = self.input.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.more(), "the end, after {:?}", String::from_utf8_lossy(&self.input));
        };
        let head = String::from_utf8_lossy(&self.input[..end]).into_owned();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{status} expected: {head}");
        self.at = end;
    }

    /// The next frame: its first byte and its payload; `None` where the stream ends before it.
    #[track_caller]
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let unread = &self.input[self.at..];
            let whole = match *unread {
                [_, len @ 0..126, ..] => Some((2, usize::from(len))),
                [_, 126, a, b, ..] => Some((4, usize::from(u16::from_be_bytes([a, b])))),
                [_, 127, a, b, c, d, e, f, g, h, ..] => {
                    Some((10, u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize))
                }
                [_, second @ 128..=255, ..] => panic!("a server masks nothing: {second:#x}"),
                _ => None,
            };
            if let Some((header, len)) = whole
                && unread.len() >= header + len
            {
                let frame = (unread[0], unread[header..header + len].to_vec());
                self.at += header + len;
                return Some(frame);
            }
            if !self.more() {
                assert_eq!(self.at, self.input.len(), "the stream ends inside a frame");
                return None;
            }
        }
    }

    #[track_caller]
    fn expect(&mut self, first: u8, payload: &[u8]) {
        let (got, bytes) = self.frame().expect("a frame, and the stream ended");
        let same = got == first && bytes == payload;
        assert!(same, "{got:#x} of {} bytes, not {first:#x} of {}", bytes.len(), payload.len());
    }

    #[track_caller]
    fn expect_echo(&mut self, payload: &[u8]) {
        self.send(BINARY, payload);
        self.expect(BINARY, payload);
    }

    /// The next frame is a Close with this code: its reason.
    #[track_caller]
    fn expect_close(&mut self, code: u16) -> String {
        let (first, payload) = self.frame().expect("a Close, and the stream ended");
        assert_eq!((first, &payload[..2]), (CLOSE, &code.to_be_bytes()[..]), "a Close of {code}");
        String::from_utf8(payload[2..].to_vec()).expect("a reason is UTF-8")
    }

    /// The stream ends here, and in order.
    #[track_caller]
    fn expect_end(&mut self) {
        assert_eq!(self.frame(), None);
    }

    /// The closing handshake, begun by us.
    #[track_caller]
    fn close(&mut self) {
        self.send(CLOSE, b"\x03\xe8");
        self.expect_close(1000);
        self.expect_end();
    }

    /// Reads; false at the end of the stream.
    #[track_caller]
    fn more(&mut self) -> bool {
        self.input.drain(..self.at);
        self.at = 0;
        let mut chunk = [0; 64 << 10];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(n) => {
                    self.input.extend_from_slice(&chunk[..n]);
                    return n > 0;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("reading, after {} bytes: {error}", self.input.len()),
            }
        }
    }
}

/// A client's frame. A large one has a key of zeroes: what is tested with it is not masking.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = if payload.len() < 4096 { [0x12, 0x34, 0x56, 0x78] } else { [0; 4] };
    let mut bytes = match payload.len() {
        len @ 0..126 => vec![first, 0x80 | len as u8],
        len @ 126..0x1_0000 => [&[first, 0xfe][..], &(len as u16).to_be_bytes()].concat(),
        len => [&[first, 0xff][..], &(len as u64).to_be_bytes()].concat(),
    };
    bytes.extend(key);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    if key != [0; 4] {
        bytes[start..].iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    }
    bytes
}

/// A payload that shows what is missing, doubled or moved.
fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().repeat(len / 4 + 1);
    bytes.truncate(len);
    bytes
}

// ---------------------------------------------------------------------- messages

#[test]
fn messages_of_all_sizes_are_echoed() {
    let server = serve(local(), echo);
    let mut client = server.open();
    for len in [0, 1, 125, 126, 65_535, 65_536, 300_000, 1 << 20, 5 << 20] {
        let payload = numbered(7, len);
        client.expect_echo(&payload);
        let text = "é".repeat(len / 2);
        client.send(TEXT, text.as_bytes());
        client.expect(TEXT, text.as_bytes());
    }
    client.close();
}

#[test]
fn a_handshake_one_byte_at_a_time() {
    let server = serve(local(), echo);
    let mut client = Client::dial(server.address());
    for byte in UPGRADE.chunks(1) {
        client.write(byte);
    }
    client.expect_status(101);
    client.expect_echo(b"patient");
}

#[test]
fn frames_in_the_same_segment_as_the_handshake() {
    let server = serve(local(), echo);
    let mut client = Client::dial(server.address());
    let frames = [masked(TEXT, b"already"), masked(0x89, b"here"), masked(BINARY, &numbered(1, 100_000))];
    client.write(&[UPGRADE, &frames.concat(), &masked(CLOSE, b"\x03\xe8")].concat());
    client.expect_status(101);
    client.expect(TEXT, b"already");
    client.expect(0x8a, b"here");
    client.expect(BINARY, &numbered(1, 100_000));
    client.expect_close(1000);
    client.expect_end();
}

/// Of free buffers there are smaller ones, which must not be taken for a head that needs a larger one.
#[test]
fn a_large_head_after_a_small_one() {
    let server = serve(local(), echo);
    let mut small = server.open();
    let mut client = Client::dial(server.address());
    let cookie = format!("Cookie: {}\r\n\r\n", "c".repeat(10_000));
    let head = [&UPGRADE[..UPGRADE.len() - 2], cookie.as_bytes()].concat();
    client.write(&head[..9_000]);
    small.expect_echo(b"so that the first part is read alone");
    client.write(&head[9_000..]);
    client.expect_status(101);
    client.expect_echo(b"large");
}

/// As above, for the first byte of a header behind a fragment that just fills its buffer.
#[test]
fn a_header_cut_off_behind_a_fragment_of_any_size() {
    let server = serve(local(), echo);
    // Two heads in pieces at once leave two small buffers.
    let mut clients = [Client::dial(server.address()), Client::dial(server.address())];
    let mut other = server.open();
    for part in UPGRADE.chunks(UPGRADE.len() / 2 + 1) {
        clients.iter_mut().for_each(|client| client.write(part));
        other.expect_echo(b"a turn");
    }
    let [mut client, mut second] = clients;
    client.expect_status(101);
    second.expect_status(101);
    for len in 660..720 {
        let payload = numbered(3, len);
        let (begin, end) = (masked(0x01 | 0x02, &payload), masked(0x80, b"end"));
        let begin = [&[0x02][..], &begin[1..]].concat();
        client.write(&[&begin, &end[..1]].concat());
        other.expect_echo(b"a turn");
        client.write(&end[1..]);
        client.expect(BINARY, &[&payload[..], b"end"].concat());
    }
}

/// The whole script is in the socket before the server looks: there is one edge, and many reads.
#[test]
fn a_read_that_fills_the_buffer_goes_on_without_a_new_edge() {
    for (messages, len) in [(40, 1_016), (40, 1_000), (3, 9_000)] {
        let mut config = local();
        config.limits.read_bytes_max = 4096;
        let mut server = Server::bind(config, Acts(echo)).expect("a port is free");
        let mut client = Client::dial(server.addresses()[0].ip().expect("it is no path"));
        client.write(&[UPGRADE, &masked(BINARY, &numbered(9, len)).repeat(messages)].concat());
        client.stream.set_nonblocking(true).expect("a live socket");
        let (mut got, want) = (0, 129 + messages * (len + 4));
        let begun = Instant::now();
        while got < want {
            assert!(server.turn(Some(Duration::from_millis(100))).expect("the loop runs"));
            assert!(begun.elapsed() < PATIENCE, "{got} of {want} bytes came");
            match client.stream.read(&mut [0; 64 << 10]) {
                Ok(n) => got += n,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert_eq!(got, want);
    }
}

#[test]
fn connections_by_the_thousand_each_echo_and_close_cleanly() {
    let (report, closes) = mpsc::channel();
    let server = serve(local(), move |cx, id, event| match event {
        Event::Closed(closed) => {
            report.send((closed.was_clean, closed.code.get())).expect("the test waits");
        }
        event => echo(cx, id, event),
    });
    // Both ends are here, each with a descriptor; bind has raised the limit.
    let descriptors = rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(1024, |(soft, _)| soft) as usize;
    let count = 2_000.min(descriptors.saturating_sub(400) / 2);
    let mut clients: Vec<_> = (0..count).map(|_| Client::dial(server.address())).collect();
    clients.iter_mut().for_each(|client| client.write(UPGRADE));
    for (i, client) in clients.iter_mut().enumerate() {
        client.expect_status(101);
        client.send(BINARY, &numbered(i as u32, 16));
    }
    for (i, client) in clients.iter_mut().enumerate() {
        client.expect(BINARY, &numbered(i as u32, 16));
    }
    clients.iter_mut().for_each(|client| client.send(CLOSE, b"\x03\xe8"));
    for client in &mut clients {
        client.expect_close(1000);
        client.expect_end();
    }
    for _ in 0..count {
        assert_eq!(wait(&closes), (true, 1000));
    }
}

// ---------------------------------------------------------------------- slow readers

/// An echo to somebody who does not read: it is not read either, holds little, and loses nothing.
#[test]
fn a_slow_reader_is_not_read_and_gets_everything_in_order() {
    const MESSAGES: u32 = 2_048;
    const LEN: usize = 16 << 10;
    let (report, reports) = mpsc::channel();
    let mut config = local();
    config.limits.outbox_stall_ms_max = 0;
    let (mut most, mut drains) = (0, 0);
    let server = serve(config, move |cx, id, event| match event {
        Event::Message(message) => {
            assert_ne!(cx.send(id, message), Sent::Refused);
            most = most.max(cx.buffered(id).expect("it is open"));
        }
        Event::Drain => drains += 1,
        Event::Closed(_) => report.send((most, drains)).expect("the test waits"),
        Event::Open => {}
    });
    let mut client = Client::dial(server.address());
    client.set_small_buffers();
    client.write(UPGRADE);
    client.expect_status(101);
    let (stop, stopped) = mpsc::channel();
    let mut stream = client.stream.try_clone().expect("a descriptor is free");
    let writer = thread::spawn(move || {
        // That nothing is taken for so long is how it shows that nothing is read.
        stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a live socket");
        let mut written = 0;
        for i in 0..MESSAGES {
            let frame = masked(BINARY, &numbered(i, LEN));
            let mut left = &frame[..];
            while !left.is_empty() {
                match stream.write(left) {
                    Ok(n) => (written, left) = (written + n, &left[n..]),
                    Err(error) => {
                        assert!(
                            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                            "{error}"
                        );
                        let _ = stop.send(written);
                    }
                }
            }
        }
    });
    let written = wait(&stopped);
    assert!(written < 20 << 20, "{written} bytes were taken from a peer that does not read");
    for i in 0..MESSAGES {
        client.expect(BINARY, &numbered(i, LEN));
    }
    writer.join().expect("all is written");
    client.close();
    let (most, drains) = wait(&reports);
    // The soft mark, and what one more read brings.
    assert!(most <= (256 << 10) + (256 << 10) + LEN, "{most} bytes in the outbox");
    assert!(drains > 0);
}

#[test]
fn at_the_hard_mark_a_send_is_refused_and_the_peer_closed_with_1013() {
    let (report, reports) = mpsc::channel();
    let mut config = local();
    config.limits.linger_ms_max = 60_000; // it is the client that is slow here
    let server = serve(config, move |cx, id, event| match event {
        Event::Message(_) => {
            let payload = numbered(1, 100_000);
            let mut sent = Vec::new();
            while sent.last() != Some(&Sent::Refused) {
                sent.push(cx.send(id, &payload[..]));
            }
            report.send((sent, None)).expect("the test waits");
        }
        Event::Closed(closed) => {
            report.send((Vec::new(), Some((closed.code.get(), closed.cause)))).expect("the test waits");
        }
        _ => {}
    });
    let mut client = server.open();
    client.send(TEXT, b"go");
    let (sent, _) = wait(&reports);
    // 256 KiB is passed by the third, 1 MiB by the eleventh; the twelfth is one too many.
    let want = [vec![Sent::Queued; 2], vec![Sent::Backlogged; 9], vec![Sent::Refused]].concat();
    assert_eq!(sent, want);
    let (_, closed) = wait(&reports);
    let Some((1013, Cause::Fault(Fault::SlowReader { queued, limit }))) = closed else {
        panic!("a slow reader: {closed:?}");
    };
    assert!(queued >= 1 << 20 && limit == 1 << 20);
    let reason = loop {
        match client.frame() {
            Some((BINARY, payload)) => assert_eq!(payload, numbered(1, 100_000)),
            Some((CLOSE, payload)) => break payload,
            other => panic!("data, and then a Close: {other:?}"),
        }
    };
    assert!(reason.starts_with(&1013_u16.to_be_bytes()));
    assert!(String::from_utf8_lossy(&reason[2..]).contains("1048576"), "the limit is named");
    client.expect_end();
}

#[test]
fn a_peer_that_takes_nothing_above_the_soft_mark_is_closed_with_1013() {
    let (report, reports) = mpsc::channel();
    let mut config = local();
    config.limits.outbox_stall_ms_max = 200;
    config.limits.linger_ms_max = 60_000;
    let server = serve(config, move |cx, id, event| match event {
        Event::Message(_) | Event::Drain => while cx.send(id, &numbered(2, 50_000)[..]) == Sent::Queued {},
        Event::Closed(closed) => report.send((closed.code.get(), closed.cause)).expect("the test waits"),
        Event::Open => {}
    });
    let mut client = Client::dial(server.address());
    client.set_small_buffers();
    client.write(UPGRADE);
    client.expect_status(101);
    client.send(TEXT, b"go");
    let closed = wait(&reports);
    assert!(matches!(closed, (1013, Cause::Fault(Fault::StalledReader { .. }))), "{closed:?}");
    // What was on its way comes whole, and then why.
    let mut messages = 0;
    loop {
        match client.frame() {
            Some((BINARY, payload)) => assert_eq!(payload, numbered(2, 50_000)),
            Some((CLOSE, payload)) => break assert!(payload.starts_with(&1013_u16.to_be_bytes())),
            other => panic!("data, and then a Close: {other:?}"),
        }
        messages += 1;
    }
    assert!(messages > 0);
    client.expect_end();
}

#[test]
fn a_slow_member_of_a_topic_does_not_slow_the_others() {
    let mut config = local();
    config.limits.linger_ms_max = 60_000;
    let server = serve(config, |cx, id, event| match event {
        Event::Open => assert!(cx.subscribe(id, "all")),
        Event::Message(message) => {
            cx.publish("all", message);
        }
        _ => {}
    });
    let mut slow = Client::dial(server.address());
    slow.set_small_buffers();
    slow.write(UPGRADE);
    slow.expect_status(101);
    let mut quick = server.open();
    // More than kernel and outbox hold for the slow one.
    for i in 0..600 {
        quick.expect_echo(&numbered(i, 50_000));
    }
    let mut next = 0;
    while let Some((BINARY, payload)) = slow.frame() {
        assert_eq!(payload, numbered(next, 50_000));
        next += 1;
    }
    assert!((1..600).contains(&next), "{next} messages, and then 1013");
    quick.expect_echo(b"still there");
}

// ---------------------------------------------------------------------- ends of TCP

/// An echo that reports each close, by id.
fn reporting_to(
    report: mpsc::Sender<(ConnId, Cause)>,
) -> impl FnMut(&mut Context<'_>, ConnId, Event<'_>) + Send {
    move |cx: &mut Context<'_>, id: ConnId, event: Event<'_>| match event {
        Event::Closed(closed) => report.send((id, closed.cause)).expect("the test waits"),
        event => echo(cx, id, event),
    }
}

#[test]
fn a_reset_is_one_close() {
    let (report, closes) = mpsc::channel();
    let mut server = serve(local(), reporting_to(report));
    let mut closed = HashSet::new();
    for round in 0..50 {
        let mut client = server.open();
        client.expect_echo(b"here");
        match round % 3 {
            0 => {}
            1 => client.send(BINARY, &[7; 100_000]), // its echo meets the reset
            _ => client.write(&masked(BINARY, &[7; 1_000])[..500]),
        }
        client.reset();
        let (id, cause) = wait(&closes);
        assert!(matches!(cause, Cause::Lost(_)), "round {round}: {cause:?}");
        assert!(closed.insert(id), "{id} was closed twice");
    }
    // Before the handshake there is nothing to close.
    let mut silent = Client::dial(server.address());
    silent.write(b"GET");
    silent.reset();
    server.open().expect_echo(b"the others live on");
    let (_, cause) = wait(&closes);
    assert_eq!(cause, Cause::Lost(Lost::Eof));
    server.stop();
    assert_eq!(closes.try_iter().count(), 0);
}

/// The reset comes before the server looks: it is an error, whether a read or a write is told of it first.
#[test]
fn a_reset_is_reported_as_a_failure_and_not_as_an_end() {
    for messages in [0, 1] {
        let (report, closes) = mpsc::channel();
        let mut server = Server::bind(local(), Acts(reporting_to(report))).expect("a port is free");
        let mut client = Client::dial(server.addresses()[0].ip().expect("it is no path"));
        client.write(UPGRADE);
        while server.connections() == 0 {
            assert!(server.turn(Some(PATIENCE)).expect("the loop runs"));
        }
        assert!(server.turn(Some(Duration::ZERO)).expect("the loop runs"));
        client.expect_status(101);
        client.write(&masked(TEXT, b"echo this").repeat(messages));
        client.reset();
        let mut turns = 0..100;
        let cause = loop {
            if let Ok((_, cause)) = closes.try_recv() {
                break cause;
            }
            assert!(turns.next().is_some() && server.turn(Some(PATIENCE)).expect("the loop runs"));
        };
        assert!(matches!(cause, Cause::Lost(Lost::Io(_))), "behind {messages} messages: {cause:?}");
    }
}

#[test]
fn a_half_closed_peer_gets_its_echo_and_then_the_end() {
    let (report, closes) = mpsc::channel();
    let server = serve(local(), reporting_to(report));
    for len in [5, 70_000, 4 << 20] {
        let mut client = server.open();
        client.send(BINARY, &numbered(1, len));
        client.finish();
        client.expect(BINARY, &numbered(1, len));
        client.expect_end();
        assert_eq!(wait(&closes).1, Cause::Lost(Lost::Eof));
    }
    // Nothing said, or half a message: only the end.
    for rest in [&b""[..], &masked(BINARY, b"cut")[..5]] {
        let mut client = server.open();
        client.write(rest);
        client.finish();
        client.expect_end();
        assert_eq!(wait(&closes).1, Cause::Lost(Lost::Eof));
    }
}

#[test]
fn what_came_before_the_end_of_tcp_is_delivered_before_it() {
    for echoes in [false, true] {
        let (report, reports) = mpsc::channel();
        let mut next = 0;
        let server = serve(local(), move |cx, id, event| match event {
            Event::Message(message) => {
                assert_eq!(message.as_bytes(), numbered(next, 16));
                next += 1;
                if echoes {
                    cx.send(id, message);
                }
            }
            Event::Closed(closed) => {
                report.send((std::mem::take(&mut next), closed.cause)).expect("the test waits");
            }
            _ => {}
        });
        let frames: Vec<_> = (0..1_000).flat_map(|i| masked(BINARY, &numbered(i, 16))).collect();
        for round in 0..50 {
            let mut client = server.open();
            client.write(&frames);
            if round % 2 == 0 {
                client.finish();
            }
            drop(client);
            let (messages, cause) = wait(&reports);
            assert_eq!(messages, 1_000, "round {round}, {cause:?}");
            assert!(matches!(cause, Cause::Lost(Lost::Eof | Lost::Io(_))), "{cause:?}");
        }
    }
}

// ---------------------------------------------------------------------- plain HTTP

/// Serves one large page, and tells how many bytes were posted.
struct Pages;

const PAGE_BYTES: usize = 300 << 10;

impl Handler for Pages {
    fn on_http(&mut self, _: &mut Context<'_>, _: ConnId, request: &HttpRequest<'_>) -> Answer {
        match (request.path(), request.body()) {
            ("/posted", None) => Answer::AwaitBody { bytes_max: 8 << 20 },
            ("/posted", Some(body)) => {
                Answer::Respond(HttpResponse::new(200).body(body.len().to_string().into_bytes()))
            }
            _ => Answer::Respond(HttpResponse::new(200).body(numbered(7, PAGE_BYTES))),
        }
    }
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        cx.send(id, message);
    }
}

#[test]
fn a_slow_reader_of_a_large_page_gets_all_of_it_and_then_the_end() {
    let server = serve_by(local(), Pages);
    let mut others: Vec<_> = (0..3).map(|_| server.open()).collect();
    let mut reader = Client::dial(server.address());
    reader.set_small_buffers();
    reader.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut answer = Vec::new();
    loop {
        let mut chunk = [0; 1_000];
        let n = reader.stream.read(&mut chunk).expect("the stream ends in order");
        if n == 0 {
            break;
        }
        answer.extend_from_slice(&chunk[..n]);
        let others_len = others.len();
        others[answer.len() % others_len].expect_echo(b"meanwhile");
    }
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {PAGE_BYTES}\r\nConnection: close\r\n\r\n");
    assert!(answer == [head.as_bytes(), &numbered(7, PAGE_BYTES)].concat(), "{} bytes", answer.len());
    others.iter_mut().for_each(Client::close);
}

#[test]
fn who_is_answered_in_the_middle_of_an_upload_gets_the_answer_and_no_reset() {
    let server = serve_by(local(), Pages);
    let mut client = Client::dial(server.address());
    client.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n");
    client.write(&vec![b'x'; 4 << 20]);
    client.expect_status(200);
    while client.input.len() - client.at < PAGE_BYTES {
        let at = std::mem::take(&mut client.at);
        client.input.drain(..at);
        assert!(client.more(), "the end, after {} bytes", client.input.len());
    }
    assert!(client.input[client.at..] == numbered(7, PAGE_BYTES));
    client.at = client.input.len();
    client.expect_end();
}

#[test]
fn what_is_posted_is_handed_over_whole() {
    let server = serve_by(local(), Pages);
    for bytes in [0, 1, 5_000, 3 << 20] {
        let mut client = Client::dial(server.address());
        let head = format!(
            "POST /posted HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {bytes}\r\n\r\n"
        );
        client.write(head.as_bytes());
        if bytes > 0 {
            client.expect_status(100);
            client.write(&vec![b'x'; bytes]);
            client.input.drain(..client.at);
            client.at = 0;
        }
        client.expect_status(200);
        while client.more() {}
        assert_eq!(client.input, bytes.to_string().as_bytes());
    }
}

// ---------------------------------------------------------------------- topics

/// Members are those of the second listener, senders those of the first.
#[test]
fn topics_lose_nothing_double_nothing_and_keep_each_senders_order() {
    const MEMBERS: usize = 20;
    const SENDERS: usize = 5;
    const MESSAGES: u32 = 1_000;
    let (report, fanouts) = mpsc::channel();
    let config = Config { listen: vec!["127.0.0.1:0".to_owned(); 2], ..Config::default() };
    let server = serve(config, move |cx, id, event| match event {
        Event::Open if cx.peer(id).is_some_and(|peer| peer.listener == 1) => {
            assert!(cx.subscribe(id, "news"))
        }
        Event::Message(message) => {
            let fanout = cx.publish("news", message);
            report.send((fanout.members(), fanout.refused)).expect("the test waits");
        }
        _ => {}
    });
    let door = server.addresses[1].ip().expect("it is no path");
    let mut members: Vec<_> = (0..MEMBERS).map(|_| Client::open(door)).collect();
    let senders: Vec<JoinHandle<()>> = (0..SENDERS)
        .map(|sender| {
            let mut client = server.open();
            thread::spawn(move || {
                (0..MESSAGES)
                    .for_each(|i| client.send(BINARY, &[numbered(i, 4), vec![sender as u8]].concat()));
                client.close();
            })
        })
        .collect();
    for member in &mut members {
        let mut next = [0; SENDERS];
        for _ in 0..SENDERS * MESSAGES as usize {
            let (_, payload) = member.frame().expect("more is to come");
            let sender = usize::from(payload[4]);
            assert_eq!(payload[..4], numbered(next[sender], 4), "of sender {sender}");
            next[sender] += 1;
        }
        assert_eq!(next, [MESSAGES; SENDERS]);
    }
    senders.into_iter().for_each(|sender| sender.join().expect("all is sent"));
    for member in &mut members {
        member.close(); // and nothing comes before the answer
    }
    let all: Vec<_> = fanouts.try_iter().collect();
    assert_eq!(all, vec![(MEMBERS as u32, 0); SENDERS * MESSAGES as usize]);
}

// ---------------------------------------------------------------------- other threads

/// A server that echoes, where everyone is in topic "all", and the ids of those who open.
fn with_ids(config: Config) -> (Running, Receiver<ConnId>) {
    let (report, ids) = mpsc::channel();
    let server = serve(config, move |cx, id, event| match event {
        Event::Open => {
            assert!(cx.subscribe(id, "all"));
            report.send(id).expect("the test waits");
        }
        event => echo(cx, id, event),
    });
    (server, ids)
}

/// Tries until there is room.
fn insist(mut command: impl FnMut() -> Result<(), RemoteError>) {
    while let Err(error) = command() {
        assert!(matches!(error, RemoteError::Full { .. }), "{error}");
        thread::yield_now();
    }
}

#[test]
fn other_threads_send_publish_and_close() {
    let (server, ids) = with_ids(local());
    let (mut ann, mut bob) = (server.open(), server.open());
    let (ann_id, bob_id) = (wait(&ids), wait(&ids));
    let threads: Vec<_> = (0..4_u8)
        .map(|thread| {
            let remote = server.remote.clone();
            thread::spawn(move || {
                for i in 0..500_u32 {
                    let message = [&i.to_le_bytes()[..], &[thread]].concat();
                    insist(|| match i % 2 {
                        0 => remote.publish("all", message.clone()),
                        _ => remote.send(ann_id, message.clone()),
                    });
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("all is queued"));
    for (client, step) in [(&mut ann, 1), (&mut bob, 2)] {
        let mut next = [0; 4];
        for _ in 0..4 * 500 / step {
            let (_, payload) = client.frame().expect("more is to come");
            let thread = usize::from(payload[4]);
            assert_eq!(payload[..4], u32::to_le_bytes(next[thread]), "of thread {thread}");
            next[thread] += step;
        }
    }
    insist(|| server.remote.send(bob_id, "text"));
    bob.expect(TEXT, b"text");
    insist(|| server.remote.close(bob_id, CloseCode::new(4_000), "enough"));
    assert_eq!(bob.expect_close(4_000), "enough");
    bob.send(CLOSE, b"\x0f\xa0");
    bob.expect_end();
    // An id that has ended is nobody's any more.
    insist(|| server.remote.send(bob_id, "too late"));
    insist(|| server.remote.publish("all", "one left"));
    insist(|| server.remote.publish("nobody's", "lost"));
    ann.expect(TEXT, b"one left");
    ann.close();
}

#[test]
fn other_threads_change_which_origins_may_connect() {
    let server = serve(local(), echo);
    let status = |origin: &str, status: u16| {
        let mut client = Client::dial(server.address());
        let request =
            String::from_utf8_lossy(UPGRADE).replacen("\r\n", &format!("\r\nOrigin: {origin}\r\n"), 1);
        client.write(request.as_bytes());
        client.expect_status(status);
        client
    };
    let mut there = status("https://b.example", 101);
    insist(|| server.remote.set_origins(vec!["https://a.example".to_owned()]));
    status("https://b.example", 403);
    status("https://a.example", 101);
    there.send(TEXT, b"still here");
    there.expect(TEXT, b"still here");
    insist(|| server.remote.set_origins(Vec::new()));
    status("https://b.example", 101);
}

#[test]
fn a_full_queue_is_a_typed_error_and_a_turn_makes_room() {
    let mut config = local();
    config.limits.remote_commands_max = 4;
    let mut server = Server::bind(config, Acts(echo)).expect("a port is free");
    let remote = server.remote();
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(remote.publish("nobody's", "lost"), Ok(()));
        }
        assert_eq!(remote.publish("nobody's", "lost"), Err(RemoteError::Full { limit: 4 }));
        assert!(server.turn(None).expect("the loop runs"));
    }
    // More than one wake takes, and as many as that.
    let mut config = local();
    config.limits.remote_commands_max = 5_000;
    let mut server = Server::bind(config, Acts(echo)).expect("a port is free");
    let remote = server.remote();
    for _ in 0..2 {
        (0..5_000).for_each(|_| assert_eq!(remote.publish("nobody's", "lost"), Ok(())));
        assert!(matches!(remote.publish("nobody's", "lost"), Err(RemoteError::Full { .. })));
        (0..5).for_each(|_| assert!(server.turn(None).expect("the loop runs")));
    }
    assert!(format!("{remote:?}").contains("queued: 0"), "{remote:?}");
}

/// Says how many connections there are whenever it is woken, and panics once.
struct Wakes {
    told: mpsc::Sender<usize>,
    panics: bool,
}

impl Handler for Wakes {
    fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {}

    fn on_wake(&mut self, cx: &mut Context<'_>) {
        self.told.send(cx.connections()).expect("the test goes on");
        assert!(!std::mem::take(&mut self.panics), "as it was told to");
    }
}

#[test]
fn a_handler_is_told_of_a_wake_once_a_turn_and_its_panic_ends_nothing() {
    let (told, wakes) = mpsc::channel();
    let mut server = Server::bind(local(), Wakes { told, panics: true }).expect("a port is free");
    let remote = server.remote();
    assert!(server.turn(Some(Duration::ZERO)).expect("the loop runs"));
    assert_eq!(wakes.try_recv().ok(), None, "nobody woke it");
    for woken in 0..3 {
        let others: Vec<_> = (0..4)
            .map(|_| {
                let remote = remote.clone();
                thread::spawn(move || {
                    remote.wake();
                    remote.publish("nobody's", "lost").expect("there is room");
                })
            })
            .collect();
        others.into_iter().for_each(|other| other.join().expect("it does not panic"));
        assert!(server.turn(None).expect("the loop runs"));
        assert_eq!(wakes.try_iter().collect::<Vec<_>>(), [0], "{woken}");
    }
    assert_eq!(server.panics(), 1);
    // What is queued before the stop is told before it.
    remote.shutdown();
    while server.turn(None).expect("the loop runs") {}
    assert_eq!(wakes.try_iter().count(), 1);
}

#[test]
fn what_was_queued_before_the_stop_is_done_before_it() {
    let (mut server, ids) = with_ids(local());
    let mut client = server.open();
    let id = wait(&ids);
    for i in 0..1_000 {
        insist(|| server.remote.send(id, numbered(i, 8)));
    }
    server.remote.shutdown();
    for i in 0..1_000 {
        client.expect(BINARY, &numbered(i, 8));
    }
    client.expect_close(1001);
    client.send(CLOSE, b"\x03\xe9");
    client.expect_end();
    server.expect_stopped();
    for _ in 0..3 {
        assert_eq!(server.remote.send(id, "late"), Err(RemoteError::Stopped));
        assert_eq!(server.remote.publish("all", "late"), Err(RemoteError::Stopped));
        assert_eq!(server.remote.close(id, CloseCode::NORMAL, ""), Err(RemoteError::Stopped));
        server.remote.shutdown(); // once more does no harm
    }
}

#[test]
fn a_server_that_is_dropped_has_stopped() {
    let server = Server::bind(local(), Acts(echo)).expect("a port is free");
    let remote = server.remote();
    assert_eq!(remote.publish("all", "early"), Ok(()));
    drop(server);
    assert_eq!(remote.publish("all", "late"), Err(RemoteError::Stopped));
}

/// Threads that never stop sending are told that it is over.
#[test]
fn those_who_keep_sending_do_not_keep_the_server_from_stopping() {
    let mut config = local();
    config.limits.remote_commands_max = 4_000;
    let mut server = Server::bind(config, Acts(echo)).expect("a port is free");
    let remote = server.remote();
    let fill = || while remote.publish("nobody's", "lost").is_ok() {};
    fill();
    remote.shutdown();
    // As if others were always as quick as the loop.
    for _ in 0..100 {
        if !server.turn(None).expect("the loop runs") {
            return;
        }
        fill();
    }
    panic!("100 turns after the shutdown it still serves");
}

// ---------------------------------------------------------------------- one's own loop

#[test]
fn a_turn_waits_no_longer_than_it_is_told() {
    let mut server = Server::bind(local(), Acts(echo)).expect("a port is free");
    let address = server.addresses()[0].ip().expect("it is no path");
    let begun = Instant::now();
    for _ in 0..1_000 {
        assert!(server.turn(Some(Duration::ZERO)).expect("the loop runs"));
    }
    assert!(begun.elapsed() < PATIENCE);
    let begun = Instant::now();
    assert!(server.turn(Some(Duration::from_millis(50))).expect("the loop runs"));
    assert!(begun.elapsed() >= Duration::from_millis(49), "{:?}", begun.elapsed());
    // With something to do it does not wait.
    let mut client = Client::dial(address);
    client.write(&[UPGRADE, &masked(TEXT, b"hi")].concat());
    let begun = Instant::now();
    while client.input.len() < 129 + 4 {
        assert!(server.turn(Some(10 * PATIENCE)).expect("the loop runs"));
        client.stream.set_nonblocking(true).expect("a live socket");
        let mut chunk = [0; 1024];
        if let Ok(n) = client.stream.read(&mut chunk) {
            client.input.extend_from_slice(&chunk[..n]);
        }
    }
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(server.connections(), 1);
    // Stopped in one's own loop: turns until it says false, and false from then on.
    server.shutdown();
    let deadline = Instant::now() + PATIENCE;
    client.stream.set_nonblocking(false).expect("a live socket");
    client.expect_status(101);
    client.expect(TEXT, b"hi");
    client.expect_close(1001);
    client.send(CLOSE, b"\x03\xe9");
    while server.turn(Some(Duration::from_millis(10))).expect("the loop runs") {
        assert!(Instant::now() < deadline);
    }
    client.expect_end();
    assert_eq!(server.connections(), 0);
    assert!(!server.turn(None).expect("it does nothing"));
}

/// Who turns the server among other work may come late; its timers do not add their own wait to that.
#[test]
fn a_timer_counts_the_time_between_turns() {
    struct Ticks(u32);
    impl Handler for Ticks {
        fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {}
        fn on_tick(&mut self, _: &mut Context<'_>) {
            self.0 += 1;
        }
    }
    let mut server = Server::bind(Config { tick_ms: 2_000, ..local() }, Ticks(0)).expect("a port is free");
    let begun = Instant::now();
    assert!(server.turn(Some(Duration::ZERO)).expect("the loop runs"));
    thread::sleep(Duration::from_millis(1_800)); // the other work
    while server.handler().0 == 0 {
        assert!(server.turn(None).expect("the loop runs"));
    }
    let late = begun.elapsed().saturating_sub(Duration::from_millis(2_000));
    assert!(late < Duration::from_millis(1_200), "{late:?} late");
}

// ---------------------------------------------------------------------- stopping

#[test]
fn a_stop_ends_when_all_have_answered() {
    let (report, closes) = mpsc::channel();
    let mut config = local();
    config.limits.closing_ms_max = 600_000; // far more than the test waits
    config.limits.handshake_ms_max = 600_000;
    let mut server = serve(config, reporting_to(report));
    let mut clients: Vec<_> = (0..20).map(|_| server.open()).collect();
    clients.iter_mut().for_each(|client| client.expect_echo(b"here"));
    let mut early = Client::dial(server.address());
    early.write(&UPGRADE[..20]);
    clients[0].expect_echo(b"so that the beginning of a request is read");
    server.remote.shutdown();
    early.expect_status(503);
    drop(early);
    for client in &mut clients {
        assert_eq!(client.expect_close(1001), "the server is stopping");
    }
    assert!(TcpStream::connect(server.address()).is_err(), "nobody listens any more");
    // Messages that cross the Close are dropped; the answer is what counts.
    for client in &mut clients {
        client.send(BINARY, b"too late");
        client.send(CLOSE, b"\x03\xe9");
        client.expect_end();
    }
    server.expect_stopped();
    let causes: Vec<_> = closes.try_iter().map(|(_, cause)| cause).collect();
    assert_eq!(causes, [Cause::Local; 20]);
}

#[test]
fn a_stop_waits_closing_ms_max_for_those_who_do_not_answer() {
    let (report, closes) = mpsc::channel();
    let mut config = local();
    config.limits.closing_ms_max = 300;
    let mut server = serve(config, reporting_to(report));
    let (mut answers, mut silent) = (server.open(), server.open());
    let begun = Instant::now();
    server.remote.shutdown();
    answers.expect_close(1001);
    answers.send(CLOSE, b"\x03\xe9");
    answers.expect_end();
    silent.expect_close(1001);
    server.expect_stopped();
    assert!(begun.elapsed() >= Duration::from_millis(299), "{:?}", begun.elapsed());
    let causes: Vec<_> = closes.try_iter().map(|(_, cause)| cause).collect();
    assert_eq!(causes[0], Cause::Local);
    assert!(matches!(causes[1..], [Cause::Lost(Lost::Stopped | Lost::NoAnswer)]), "{causes:?}");
}

#[test]
fn a_handler_stops_the_server() {
    let mut server = serve(local(), |cx, id, event| {
        if let Event::Message(message) = event {
            cx.send(id, message);
            cx.shutdown();
        }
    });
    let mut client = server.open();
    client.expect_echo(b"the last word");
    client.expect_close(1001);
    client.send(CLOSE, b"");
    client.expect_end();
    server.expect_stopped();
}

// ---------------------------------------------------------------------- listeners

/// A path that no other test has, and that is short enough for a socket.
fn socket_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("sockeye-loop-{}-{name}.sock", std::process::id()))
}

#[test]
fn a_unix_socket_replaces_a_stale_file_and_leaves_none() {
    let path = socket_path("stale");
    drop(UnixListener::bind(&path).expect("the path is free")); // the file stays
    assert!(path.exists());
    let mut config = Config::new(format!("unix:{}", path.display()));
    config.limits.connections_per_address_max = 1; // it has no address, so all are welcome
    let mut server = serve(config, |cx, id, event| {
        assert!(cx.peer(id).is_none_or(|peer| peer.address.is_none()));
        echo(cx, id, event);
    });
    let mut clients: Vec<_> = (0..3)
        .map(|_| {
            let stream = UnixStream::connect(&path).expect("the server listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("a live socket");
            let mut client = Client::of(stream);
            client.write(UPGRADE);
            client.expect_status(101);
            client
        })
        .collect();
    for client in &mut clients {
        client.expect_echo(b"");
        client.expect_echo(&numbered(4, 100_000));
        client.close();
    }
    drop(clients);
    server.stop();
    assert!(!path.exists(), "the file is removed at the end");
}

#[test]
fn a_unix_socket_takes_no_path_that_is_somebodys() {
    let path = socket_path("taken");
    let config = || Config::new(format!("unix:{}", path.display()));
    let listener = UnixListener::bind(&path).expect("the path is free");
    let error = Server::bind(config(), Acts(echo)).err().expect("somebody listens there");
    assert!(matches!(&error, Error::Bind { source, .. } if source.kind() == ErrorKind::AddrInUse), "{error}");
    UnixStream::connect(&path).expect("and still does");
    drop(listener);
    fs::remove_file(&path).expect("it is there");
    fs::write(&path, "a file").expect("it can be written");
    assert!(Server::bind(config(), Acts(echo)).is_err());
    assert_eq!(fs::read_to_string(&path).expect("it is as it was"), "a file");
    fs::remove_file(&path).expect("it is there");
}

#[test]
fn several_listeners_and_who_came_by_which() {
    let path = socket_path("several");
    let listen = ["127.0.0.1:0".to_owned(), format!("unix:{}", path.display()), "localhost:0".to_owned()];
    let mut server = serve(Config { listen: listen.to_vec(), ..Config::default() }, |cx, id, event| {
        if let (Event::Open, Some(peer)) = (&event, cx.peer(id)) {
            cx.send(id, format!("{} {}", peer.listener, peer.address.is_some()).as_str());
        }
        echo(cx, id, event);
    });
    assert_eq!(server.addresses[1].to_string(), listen[1]);
    let mut unix = Client::of(UnixStream::connect(&path).expect("the server listens"));
    unix.write(UPGRADE);
    unix.expect_status(101);
    unix.expect(TEXT, b"1 false");
    unix.expect_echo(b"by path");
    for (i, word) in [(0, &b"0 true"[..]), (2, b"2 true")] {
        let mut client = Client::open(server.addresses[i].ip().expect("it is no path"));
        client.expect(TEXT, word);
        client.expect_echo(b"by port");
    }
    drop(unix);
    server.stop();
    assert!(!path.exists());
}

#[test]
fn two_servers_in_one_process() {
    let (mut first, second) = (serve(local(), echo), serve(local(), echo));
    let (mut ann, mut bob) = (first.open(), second.open());
    ann.expect_echo(b"first");
    bob.expect_echo(b"second");
    drop(ann);
    first.stop();
    bob.expect_echo(b"alone");
    second.open().expect_echo(b"and not closed");
}

#[test]
fn an_address_has_no_more_connections_than_it_may() {
    let mut config = local();
    config.limits.connections_per_address_max = 2;
    let server = serve(config, echo);
    let (mut ann, mut bob) = (server.open(), server.open());
    let mut eve = Client::dial(server.address());
    eve.write(UPGRADE);
    eve.expect_status(503);
    drop(eve);
    ann.expect_echo(b"undisturbed");
    bob.close();
    drop(bob);
    expect_room(&server);
    ann.expect_echo(b"undisturbed");
}

#[test]
fn a_server_has_no_more_connections_than_it_may() {
    let mut config = local();
    config.limits.connections_max = 3;
    let server = serve(config, echo);
    let mut clients: Vec<_> = (0..3).map(|_| server.open()).collect();
    for _ in 0..50 {
        let mut client = Client::dial(server.address());
        client.write(UPGRADE);
        client.expect_status(503);
    }
    clients[0].expect_echo(b"undisturbed");
    clients.pop();
    expect_room(&server);
}

/// That the place of one who left is free cannot be seen but by trying.
#[track_caller]
fn expect_room(server: &Running) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut client = Client::dial(server.address());
        client.write(UPGRADE);
        while !client.input.windows(4).any(|w| w == b"\r\n\r\n") && client.more() {}
        if client.input.starts_with(b"HTTP/1.1 101 ") {
            return;
        }
        assert!(Instant::now() < deadline, "there is never room: {}", String::from_utf8_lossy(&client.input));
    }
}

// ---------------------------------------------------------------------- no descriptors left

/// Its CPU time is read from `/proc`.
#[cfg(target_os = "linux")]
mod without_descriptors {
    use super::*;
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

    /// Descriptors the child may have, and of these, connections it has room for.
    const DESCRIPTORS: u32 = 128;
    const ROOM: usize = 8;
    const CHILD: &str = "SOCKEYE_LOOPBACK_CHILD";

    /// Not a test of its own: the server that the next test runs in a process with few of them.
    #[test]
    fn child() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        let mut server = Server::bind(local(), Acts(echo)).expect("a port is free");
        let remote = server.remote();
        let mut hoard: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
        hoard.truncate(hoard.len() - ROOM);
        eprintln!("\nlistening on {}, at most {}", server.addresses()[0], server.descriptors_max());
        thread::spawn(move || {
            let mut lines = std::io::stdin().lines();
            lines.next(); // a line: there are descriptors again
            drop(hoard);
            lines.next(); // the end: stop
            remote.shutdown();
        });
        server.run().expect("the loop runs");
    }

    /// CPU time of a process so far, user and system.
    fn cpu(pid: u32) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
        let ticks = |at: usize| fields.split_whitespace().nth(at).and_then(|field| field.parse::<u64>().ok());
        // The kernel's tick for users is 10 ms.
        Duration::from_millis(10 * (ticks(11).expect("utime") + ticks(12).expect("stime")))
    }

    #[test]
    fn it_serves_on_rests_and_accepts_again_when_there_are() {
        let this = std::env::current_exe().expect("the test has a path");
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\"")])
            .arg(this)
            .args(["--exact", "without_descriptors::child", "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("there is sh");
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut said = String::new();
        let (address, limit) = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).expect("a text") > 0, "the child ended: {said}");
            said.push_str(&line);
            if let Some(rest) = line.strip_prefix("listening on ") {
                let (address, limit) = rest.trim_end().split_once(", at most ").expect("both");
                break (address.parse::<SocketAddr>().expect("an address"), limit.to_owned());
            }
        };
        assert_eq!(limit, DESCRIPTORS.to_string());
        let mut clients: Vec<_> = (0..ROOM).map(|_| Client::open(address)).collect();
        // The kernel accepts them; the server cannot.
        let mut waiting: Vec<_> = (0..5).map(|_| Client::dial(address)).collect();
        waiting.iter_mut().for_each(|client| client.write(UPGRADE));
        for _ in 0..100 {
            clients.iter_mut().for_each(|client| client.expect_echo(b"undisturbed"));
        }
        let before = cpu(child.id());
        thread::sleep(Duration::from_millis(1_000)); // it is the time that is examined
        let spent = cpu(child.id()) - before;
        assert!(spent < Duration::from_millis(200), "{spent:?} of CPU time in a second of nothing to do");
        for client in &waiting {
            client.stream.set_nonblocking(true).expect("a live socket");
            let read = (&client.stream).read(&mut [0]);
            assert_eq!(
                read.map_err(|error| error.kind()),
                Err(ErrorKind::WouldBlock),
                "it has no descriptor"
            );
            client.stream.set_nonblocking(false).expect("a live socket");
        }
        // One leaves, one comes in.
        clients.pop().expect("there are some").close();
        waiting[0].expect_status(101);
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(b"\n").expect("the child reads");
        waiting[1..].iter_mut().for_each(|client| client.expect_status(101));
        waiting.iter_mut().chain(&mut clients).for_each(|client| client.expect_echo(b"all of them"));
        drop((stdin, waiting, clients));
        let status = child.wait().expect("it is our child");
        assert!(status.success(), "{status}");
    }
}
