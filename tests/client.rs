//! The client on real sockets: against our own server, and against servers that say, byte for byte, what a test has
//! them say.
//!
//! Waits are for events. Time is looked at only where it is what is examined.

use sockeye::{
    CloseCode, Closed, Config, ConnId, Context, Dial, DialError, Handler, Lost, Message, OwnedMessage,
    Remote, Request, Response, Sent, Server,
    client::{Error, Event, Options, ReadyState, WebSocket, dial},
};
use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{self, Receiver},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long anything is waited for before its test fails. Nothing is meant to come near it.
const PATIENCE: Duration = Duration::from_secs(30);

// ---------------------------------------------------------------------- servers with a script

/// A server that takes one connection and does with it what `script` says.
struct Scripted {
    url: String,
    thread: JoinHandle<()>,
}

fn scripted(script: impl FnOnce(Peer) + Send + 'static) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let thread = thread::spawn(move || script(Peer::accept(&listener)));
    Scripted { url, thread }
}

/// A server that reads a request and answers it with these bytes, in which `KEY` stands for the right accept key.
fn answering(answer: &str) -> Scripted {
    let answer = answer.to_owned();
    scripted(move |mut peer| {
        let answer = answer.replace("KEY", &peer.accept_key());
        peer.write(answer.as_bytes());
        peer.end();
    })
}

impl Scripted {
    #[track_caller]
    fn done(self) {
        self.thread.join().expect("the script ran");
    }
}

/// The server's end of a connection.
struct Peer {
    stream: TcpStream,
    head: Vec<u8>,
}

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n";

impl Peer {
    fn accept(listener: &TcpListener) -> Peer {
        let (stream, _) = listener.accept().expect("the client connects");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut peer = Peer { stream, head: Vec::new() };
        while !peer.head.ends_with(b"\r\n\r\n") {
            let [byte] = peer.read();
            peer.head.push(byte);
        }
        peer
    }

    fn request(&self) -> Request<'_> {
        Request::parse(&self.head, 100).expect("the client's request is valid")
    }

    fn accept_key(&self) -> String {
        String::from_utf8(self.request().accept_key().as_bytes().to_vec()).unwrap()
    }

    /// Accepts, with further lines in the answer.
    fn open_with(&mut self, lines: &str) {
        let answer = format!("{ACCEPTED}{lines}\r\n").replace("KEY", &self.accept_key());
        self.write(answer.as_bytes());
    }

    fn open(mut self) -> Peer {
        self.open_with("");
        self
    }

    #[track_caller]
    fn read<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).expect("bytes come");
        bytes
    }

    #[track_caller]
    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the client takes it");
    }

    /// The next frame: its first byte and its payload. It is masked.
    #[track_caller]
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let [lead, len] = self.read();
        assert!(len & 0x80 != 0, "a client masks");
        let len = match len & 0x7f {
            126 => usize::from(u16::from_be_bytes(self.read())),
            127 => usize::try_from(u64::from_be_bytes(self.read())).unwrap(),
            len => usize::from(len),
        };
        let key: [u8; 4] = self.read();
        let mut payload = vec![0; len];
        self.stream.read_exact(&mut payload).expect("the payload comes");
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        (lead, payload)
    }

    /// The client ends TCP, and says nothing before.
    #[track_caller]
    fn expect_end(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => assert_eq!(rest, b""),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    /// Ends writing, and waits for the client's end, so that no reset overtakes what was written.
    fn end(mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        let _ = self.stream.read_to_end(&mut Vec::new());
    }

    fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// A frame as a server sends it.
fn bare(lead: u8, payload: &[u8]) -> Vec<u8> {
    let len = match payload.len() {
        len @ 0..126 => vec![len as u8],
        len @ 126..65_536 => [&[126][..], &(len as u16).to_be_bytes()].concat(),
        len => [&[127][..], &(len as u64).to_be_bytes()].concat(),
    };
    [&[lead][..], &len, payload].concat()
}

fn close_body(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

// ---------------------------------------------------------------------- our own server

/// Sends each message back.
struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        cx.send(id, message);
    }
}

/// A server on a thread of its own, which ends with this.
struct Running {
    address: SocketAddr,
    remote: Remote,
    thread: Option<JoinHandle<Result<(), sockeye::Error>>>,
}

fn serve(configure: impl FnOnce(&mut Config), handler: impl Handler + Send + 'static) -> Running {
    let mut config = Config::new("127.0.0.1:0");
    configure(&mut config);
    let mut server = Server::bind(config, handler).expect("a port is free");
    let (address, remote) = (server.addresses()[0].ip().unwrap(), server.remote());
    let thread = thread::spawn(move || {
        let result = server.run();
        assert_eq!(server.panics(), 0);
        result
    });
    Running { address, remote, thread: Some(thread) }
}

impl Running {
    fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.remote.shutdown();
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            ended.unwrap().expect("the server does not panic").expect("the loop ran");
        }
    }
}

// ---------------------------------------------------------------------- what is expected

#[track_caller]
fn next(ws: &mut WebSocket) -> Event {
    ws.next_event_within(PATIENCE).expect("an event comes")
}

fn text(text: &str) -> Event {
    Event::Message(text.into())
}

fn closed(code: u16, reason: &str, was_clean: bool) -> Event {
    Event::Close { code, reason: reason.to_owned(), was_clean }
}

/// An error that says this, and the end of a connection that was not closed.
#[track_caller]
fn expect_failure(ws: &mut WebSocket, words: &[&str]) {
    let Event::Error(why) = next(ws) else { panic!("an error comes first") };
    for word in words {
        assert!(why.contains(word), "{why:?} says {word:?}");
    }
    let before = ws.ready_state();
    assert!(before != ReadyState::Closed);
    assert_eq!(next(ws), closed(1006, "", false));
    assert_eq!((ws.ready_state(), ws.next_event()), (ReadyState::Closed, None));
}

#[track_caller]
fn expect_close(ws: &mut WebSocket, close: Event) {
    assert_eq!(next(ws), close);
    assert_eq!((ws.ready_state(), ws.next_event()), (ReadyState::Closed, None));
}

#[track_caller]
fn opened(url: &str) -> WebSocket {
    let mut ws = WebSocket::connect(url, &[]).unwrap();
    assert_eq!(next(&mut ws), Event::Open);
    ws
}

// ---------------------------------------------------------------------- a life

#[test]
fn a_life_in_the_order_of_the_standard() {
    let running = serve(|config| config.subprotocols = vec!["b".to_owned()], Echo);
    let url = format!("http://{}/a path?q#", running.address).replace('#', "");
    let mut ws = WebSocket::connect(&url, &["a", "b"]).unwrap();
    assert_eq!(ws.url(), format!("ws://{}/a%20path?q", running.address));
    assert_eq!((ws.ready_state(), ws.protocol(), ws.extensions()), (ReadyState::Connecting, "", ""));
    assert!(matches!(ws.send("too early"), Err(Error::InvalidState)));
    assert_eq!(ws.buffered_amount(), 0);

    assert_eq!(next(&mut ws), Event::Open);
    assert_eq!((ws.ready_state(), ws.protocol()), (ReadyState::Open, "b"));
    assert!(ws.response_head().starts_with(b"HTTP/1.1 101 ") && ws.response_head().ends_with(b"\r\n\r\n"));
    ws.send("wörds").unwrap();
    ws.send(&[0, 255][..]).unwrap();
    assert_eq!(next(&mut ws), text("wörds"));
    assert_eq!(next(&mut ws), Event::Message(vec![0, 255].into()));
    assert!(ws.ping(b"?"));

    ws.close(Some(3000), "enough").unwrap();
    assert_eq!(ws.ready_state(), ReadyState::Closing);
    ws.close(Some(1000), "again, which does nothing").unwrap();
    expect_close(&mut ws, closed(3000, "enough", true));
    ws.close(None, "").unwrap();
    assert_eq!(ws.next_event_within(Duration::ZERO), None);
}

#[test]
fn events_is_an_iterator_that_ends_with_close() {
    let running = serve(|_| {}, Echo);
    let mut ws = WebSocket::connect(&running.url(), &[]).unwrap();
    assert_eq!(ws.events().next(), Some(Event::Open));
    ws.send("a").unwrap();
    ws.send("b").unwrap();
    assert_eq!(ws.events().take(2).collect::<Vec<_>>(), [text("a"), text("b")]);
    ws.close(None, "").unwrap();
    assert_eq!(ws.events().collect::<Vec<_>>(), [closed(1005, "", true)]);
}

#[test]
fn who_waits_for_a_time_gets_nothing_when_it_is_up_and_the_event_later() {
    let (go, gone) = mpsc::channel();
    let server = scripted(move |peer| {
        let mut peer = peer.open();
        gone.recv_timeout(PATIENCE).unwrap();
        peer.write(&bare(0x81, b"late"));
        peer.end();
    });
    let mut ws = opened(&server.url);
    let before = Instant::now();
    assert_eq!(ws.next_event_within(Duration::from_millis(40)), None);
    assert!(before.elapsed() >= Duration::from_millis(39));
    go.send(()).unwrap();
    assert_eq!(next(&mut ws), text("late"));
    drop(ws);
    server.done();
}

#[test]
fn headers_and_credentials_are_sent_and_the_handshakes_own_are_refused() {
    let server = scripted(|peer| {
        let header = |name| peer.request().header(name).map(str::to_owned);
        assert_eq!(header("Cookie").as_deref(), Some("a=b"));
        assert_eq!(header("Origin").as_deref(), Some("https://example.com"));
        assert_eq!(header("Authorization").as_deref(), Some("Basic dTpw"));
        peer.open().end();
    });
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = vec![header("Cookie", "a=b"), header("Origin", "https://example.com")];
    let mut options = Options { headers, ..Options::default() };
    let url = server.url.replace("//", "//u:p@");
    let mut ws = WebSocket::connect_with(&url, &[], options.clone()).unwrap();
    assert_eq!(next(&mut ws), Event::Open);
    drop(ws);
    server.done();
    options.headers.push(header("Host", "other"));
    let refused = WebSocket::connect_with("ws://127.0.0.1/", &[], options);
    assert!(matches!(refused, Err(Error::Header { .. })), "{refused:?}");
}

#[test]
fn compression_is_offered_and_named_where_it_was_agreed_to() {
    let running = serve(|_| {}, Echo);
    let plain = serve(|config| config.deflate.enabled = false, Echo);
    let mut options = Options::default();
    options.config.deflate.enabled = false;
    let connect = |url: String, options| WebSocket::connect_with(&url, &[], options).unwrap();
    for (mut ws, agreed) in [
        (connect(running.url(), Options::default()), true),
        (connect(plain.url(), Options::default()), false),
        (connect(running.url(), options), false),
    ] {
        assert_eq!((next(&mut ws), ws.extensions().starts_with("permessage-deflate")), (Event::Open, agreed));
        let message = "again and again, ".repeat(5_000);
        ws.send(message.as_str()).unwrap();
        assert_eq!(next(&mut ws), text(&message));
        assert_eq!(ws.buffered_amount(), 0);
    }
}

#[test]
fn another_thread_sends_and_closes_while_this_one_waits() {
    let running = serve(|_| {}, Echo);
    let mut ws = opened(&running.url());
    let sender = ws.sender();
    let thread = thread::spawn(move || {
        sender.send("from there").unwrap();
        assert!(matches!(sender.close(Some(1001), ""), Err(Error::InvalidAccess { code: 1001 })));
        sender.close(Some(4000), "done").unwrap();
        sender
    });
    // After our Close nothing is delivered, so the echo may be missing.
    let mut events: Vec<_> = ws.events().collect();
    events.retain(|event| *event != text("from there"));
    assert_eq!(events, [closed(4000, "done", true)]);
    let sender = thread.join().unwrap();
    drop(ws);
    assert!(matches!(sender.send("to nobody"), Err(Error::Remote(_))));
}

#[test]
fn a_websocket_may_live_on_any_thread() {
    let running = serve(|_| {}, Echo);
    let mut ws = opened(&running.url());
    let thread = thread::spawn(move || {
        ws.send("there").unwrap();
        (next(&mut ws), ws)
    });
    let (event, ws) = thread.join().unwrap();
    assert_eq!(event, text("there"));
    assert_eq!(format!("{ws:?}"), format!("WebSocket {{ url: {:?}, ready_state: Open, .. }}", running.url()));
}

#[test]
fn who_is_dropped_goes_away_with_1001() {
    let server = scripted(|peer| {
        let mut peer = peer.open();
        assert_eq!(peer.frame(), (0x82, vec![7; 3]));
        assert_eq!(peer.frame(), (0x88, close_body(1001, "")));
    });
    let mut ws = opened(&server.url);
    ws.send(&[7; 3][..]).unwrap();
    drop(ws);
    server.done();
}

// ---------------------------------------------------------------------- the rules of the standard

#[test]
fn calls_that_the_standard_forbids_are_errors_by_its_names_and_change_nothing() {
    let running = serve(|_| {}, Echo);
    for url in ["", "/", "ftp://a/", "ws://a/#b"] {
        assert!(matches!(WebSocket::connect(url, &[]), Err(Error::Syntax(_))), "{url}");
    }
    #[cfg(not(feature = "tls"))]
    assert!(matches!(WebSocket::connect("wss://a/", &[]), Err(Error::TlsNotBuilt { .. })));
    assert!(matches!(WebSocket::connect("ws://a/", &["a", "a"]), Err(Error::Syntax(_))));
    let mut ws = opened(&running.url());
    for code in [0, 999, 1001, 1002, 1005, 1006, 1011, 2999, 5000, u16::MAX] {
        let error = ws.close(Some(code), "").unwrap_err();
        assert!(matches!(error, Error::InvalidAccess { code: named } if named == code), "{code}: {error}");
    }
    let long = "é".repeat(62); // 124 bytes
    assert!(matches!(ws.close(Some(1000), &long), Err(Error::Syntax(_))));
    assert_eq!(ws.ready_state(), ReadyState::Open);
    let fits = "é".repeat(61) + "!";
    ws.close(Some(4999), &fits).unwrap();
    // They are errors in any state.
    assert!(matches!(ws.close(Some(1001), ""), Err(Error::InvalidAccess { .. })));
    expect_close(&mut ws, closed(4999, &fits, true));
    assert!(matches!(ws.close(Some(1000), &long), Err(Error::Syntax(_))));
}

#[test]
fn a_close_while_connecting_fails_the_connection() {
    let (report, reports) = mpsc::channel();
    let server = scripted(move |mut peer| {
        report.send(()).unwrap();
        peer.expect_end();
    });
    let mut ws = WebSocket::connect(&server.url, &[]).unwrap();
    // Until it is connected, and has asked, and is not answered.
    while reports.try_recv().is_err() {
        assert_eq!(ws.next_event_within(Duration::from_millis(5)), None);
    }
    ws.close(Some(1000), "never mind").unwrap();
    assert_eq!(ws.ready_state(), ReadyState::Closing);
    expect_failure(&mut ws, &["closed before it was open"]);
    server.done();
    let mut ws = WebSocket::connect("ws://127.0.0.1:1/", &[]).unwrap();
    ws.close(None, "").unwrap();
    expect_failure(&mut ws, &["closed before it was open"]);
}

#[test]
fn messages_that_came_and_were_not_handed_out_are_dropped_by_close() {
    let server = scripted(|peer| {
        let mut peer = peer.open();
        peer.write(&[bare(0x81, b"a"), bare(0x81, b"b"), bare(0x81, b"c")].concat());
        assert_eq!(peer.frame(), (0x88, close_body(1000, "")));
        peer.write(&[bare(0x81, b"late"), bare(0x88, &close_body(1000, ""))].concat());
        peer.end();
    });
    let mut ws = opened(&server.url);
    assert_eq!(next(&mut ws), text("a"));
    ws.close(Some(1000), "").unwrap();
    expect_close(&mut ws, closed(1000, "", true));
    server.done();
}

#[test]
fn the_code_the_reason_and_whether_it_was_clean_are_what_the_server_said() {
    // What the server's Close says, what is answered, and what the event says.
    let cases = [
        (vec![], vec![], closed(1005, "", true)),
        (close_body(1000, ""), close_body(1000, ""), closed(1000, "", true)),
        (close_body(1011, "föo"), close_body(1011, "föo"), closed(1011, "föo", true)),
        (close_body(4999, ""), close_body(4999, ""), closed(4999, "", true)),
    ];
    for (body, answer, event) in cases {
        let server = scripted(move |peer| {
            let mut peer = peer.open();
            peer.write(&[bare(0x81, b"last"), bare(0x88, &body)].concat());
            assert_eq!(peer.frame(), (0x88, answer));
            peer.end();
        });
        let mut ws = opened(&server.url);
        assert_eq!(next(&mut ws), text("last"));
        expect_close(&mut ws, event);
        drop(ws);
        server.done();
    }
    // What we send, and what the server answers: its code counts, not ours.
    let cases = [
        (None, "", vec![], vec![], closed(1005, "", true)),
        (None, "why", close_body(1000, "why"), close_body(1000, "so"), closed(1000, "so", true)),
        (Some(1000), "", close_body(1000, ""), vec![], closed(1005, "", true)),
        (Some(3999), "x", close_body(3999, "x"), close_body(1001, "y"), closed(1001, "y", true)),
    ];
    for (code, reason, sent, answer, event) in cases {
        let server = scripted(move |peer| {
            let mut peer = peer.open();
            assert_eq!(peer.frame(), (0x88, sent));
            peer.write(&bare(0x88, &answer));
            peer.end();
        });
        let mut ws = opened(&server.url);
        ws.close(code, reason).unwrap();
        expect_close(&mut ws, event);
        server.done();
    }
}

#[test]
fn a_connection_that_is_lost_or_failed_is_an_error_and_1006_without_a_reason() {
    // The server ends TCP without a Close.
    let server = scripted(|peer| peer.open().end());
    expect_failure(&mut opened(&server.url), &["lost", "without a Close"]);
    server.done();
    // It resets.
    let server = scripted(|peer| peer.open().reset());
    expect_failure(&mut opened(&server.url), &["lost", "reset"]);
    server.done();
    // It breaks the protocol, and is told so.
    for (frame, code, why) in [
        (&b"\x81\x81\0\0\0\0a"[..], 1002, "server frame is masked"),
        (b"\x83\x00", 1002, "opcode 0x3 is reserved"),
        (b"\x81\x01\xff", 1007, "text message is not UTF-8"),
        (b"\x88\x02\x03\xed", 1002, "close code 1005 must not be sent"),
    ] {
        let server = scripted(move |peer| {
            let mut peer = peer.open();
            peer.write(frame);
            assert_eq!(peer.frame(), (0x88, close_body(code, why)));
            peer.end();
        });
        expect_failure(&mut opened(&server.url), &["failed", why]);
        server.done();
    }
    // It does not answer our Close.
    let server = scripted(|peer| {
        let mut peer = peer.open();
        assert_eq!(peer.frame().0, 0x88);
        peer.expect_end();
    });
    let mut options = Options::default();
    options.config.limits.closing_ms_max = 50;
    let mut ws = WebSocket::connect_with(&server.url, &[], options).unwrap();
    assert_eq!(next(&mut ws), Event::Open);
    ws.close(Some(1000), "").unwrap();
    expect_failure(&mut ws, &["lost", "closing_ms_max"]);
    server.done();
}

// ---------------------------------------------------------------------- handshakes that fail

#[test]
fn an_answer_that_opens_no_connection_fails_it_with_a_reason_to_act_on() {
    let right = format!("{ACCEPTED}\r\n");
    let with = |line: &str| format!("{ACCEPTED}{line}\r\n\r\n");
    let status = |line: &str| format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n");
    let cases = [
        (status("200 OK"), &["200", "WebSocket endpoint?"][..]),
        (status("301 Moved\r\nLocation: wss://b/c"), &["301", "redirect", "wss://b/c"]),
        (status("302 Found"), &["302", "redirect"]),
        (status("400 Bad Request"), &["400", "malformed"]),
        (status("401 Unauthorized"), &["401", "credentials (Authorization)"]),
        (status("403 Forbidden"), &["403", "Origin"]),
        (status("404 Not Found"), &["404", "no such path"]),
        (status("407 Proxy Authentication Required"), &["407", "proxy"]),
        (status("426 Upgrade Required"), &["426", "version"]),
        (status("429 Too Many Requests"), &["429", "later"]),
        (status("502 Bad Gateway"), &["502", "proxy"]),
        (status("503 Service Unavailable"), &["503", "later"]),
        (status("418 I'm a teapot"), &["418"]),
        (right.replace("KEY", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), &["Sec-WebSocket-Accept"]),
        (right.replace("Sec-WebSocket-Accept: KEY\r\n", ""), &["Sec-WebSocket-Accept"]),
        (right.replace("Upgrade: websocket\r\n", ""), &["Upgrade"]),
        (right.replace("Upgrade: websocket\r\n", "Upgrade: h2c\r\n"), &["Upgrade"]),
        (right.replace("Connection: Upgrade\r\n", "Connection: close\r\n"), &["Connection"]),
        (with("Sec-WebSocket-Protocol: chat"), &["subprotocol", "not offered"]),
        (with("Sec-WebSocket-Extensions: x-nobody-knows"), &["extension"]),
        (right.replace("HTTP/1.1", "HTTP/1.0"), &["malformed", "HTTP/1.1"]),
        (right.replace("\r\n", "\n"), &["malformed", "CR LF"]),
        ("SSH-2.0-OpenSSH\r\n\r\n".to_owned(), &["malformed"]),
        (format!("{ACCEPTED}X: {}\r\n\r\n", "x".repeat(20_000)), &["larger than 16384 bytes"]),
        (right[..60].to_owned(), &["without an answer"]),
        (String::new(), &["without an answer"]),
    ];
    for (answer, words) in cases {
        let server = answering(&answer);
        let mut ws = WebSocket::connect(&server.url, &[]).unwrap();
        expect_failure(&mut ws, words);
        drop(ws);
        server.done();
    }
    // The right one, with the same server.
    let server = answering(&right);
    drop(opened(&server.url));
    server.done();
}

#[test]
fn a_subprotocol_that_was_not_offered_fails_the_connection_and_none_does_not() {
    for (line, outcome) in [("", ""), ("Sec-WebSocket-Protocol: b\r\n", "b")] {
        let server = scripted(move |mut peer| {
            assert_eq!(peer.request().subprotocols().collect::<Vec<_>>(), ["a", "b"]);
            peer.open_with(line);
            peer.end();
        });
        let mut ws = WebSocket::connect(&server.url, &["a", "b"]).unwrap();
        assert_eq!(next(&mut ws), Event::Open);
        assert_eq!(ws.protocol(), outcome);
        drop(ws);
        server.done();
    }
    for lines in
        ["Sec-WebSocket-Protocol: c\r\n", "Sec-WebSocket-Protocol: a, b\r\n", "Sec-WebSocket-Protocol: A\r\n"]
    {
        let server = scripted(move |mut peer| {
            peer.open_with(lines);
            peer.end();
        });
        let mut ws = WebSocket::connect(&server.url, &["a", "b"]).unwrap();
        expect_failure(&mut ws, &["subprotocol"]);
        drop(ws);
        server.done();
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up_after_handshake_ms_max() {
    let server = scripted(|mut peer| peer.expect_end());
    let mut options = Options::default();
    options.config.limits.handshake_ms_max = 100;
    let mut ws = WebSocket::connect_with(&server.url, &[], options).unwrap();
    expect_failure(&mut ws, &["did not answer within 100 ms", "handshake_ms_max"]);
    server.done();
}

#[test]
fn a_reset_in_the_middle_of_the_answer_fails_the_connection() {
    let server = scripted(|mut peer| {
        peer.write(b"HTTP/1.1 101 Swi");
        peer.reset();
    });
    let mut ws = WebSocket::connect(&server.url, &[]).unwrap();
    expect_failure(&mut ws, &["lost before the server answered", "reset"]);
    server.done();
}

#[test]
fn a_port_on_which_nobody_listens_fails_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut ws = WebSocket::connect(&format!("ws://{address}/"), &[]).unwrap();
    expect_failure(&mut ws, &[&address.to_string(), "nothing listens there"]);
}

#[test]
fn a_name_that_has_no_address_fails_the_connection() {
    let mut ws = WebSocket::connect("ws://no-such-host.invalid/", &[]).unwrap();
    expect_failure(&mut ws, &["cannot find the host no-such-host.invalid"]);
}

#[test]
fn an_address_to_connect_from_is_used_and_one_of_the_other_family_is_refused() {
    let server = scripted(|peer| {
        assert_eq!(peer.stream.peer_addr().unwrap().ip().to_string(), "127.0.0.3");
        peer.open().end();
    });
    let mut options = Options { local: Some("127.0.0.3".parse().unwrap()), ..Options::default() };
    let mut ws = WebSocket::connect_with(&server.url, &[], options.clone()).unwrap();
    assert_eq!(next(&mut ws), Event::Open);
    drop(ws);
    options.local = Some("::1".parse().unwrap());
    let mut ws = WebSocket::connect_with(&server.url, &[], options).unwrap();
    expect_failure(&mut ws, &["same family"]);
    server.done();
}

#[test]
fn localhost_is_tried_in_both_families_whichever_listens() {
    let running = serve(|_| {}, Echo);
    opened(&format!("ws://localhost:{}/", running.address.port()));
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return println!("not run: this machine has no IPv6");
    };
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || Peer::accept(&listener).open().end());
    drop(opened(&format!("ws://localhost:{port}/")));
    thread.join().unwrap();
}

#[test]
fn r8305_5_an_address_that_does_not_answer_keeps_the_next_one_waiting_for_250_ms() {
    // A backlog that is full: what asks to connect is not answered, not even refused.
    let Some((deaf, _running)) = std::iter::repeat_with(|| {
        let running = serve(|_| {}, Echo);
        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).ok()?;
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, running.address.port()));
        socket.bind(&address.into()).ok()?;
        socket.listen(0).ok()?;
        Some((TcpListener::from(socket), running))
    })
    .take(10)
    .find_map(|both| both) else {
        return println!("not run: this machine has no IPv6");
    };
    let address = deaf.local_addr().unwrap();
    let callers: Vec<_> =
        std::iter::repeat_with(|| TcpStream::connect_timeout(&address, Duration::from_millis(100)))
            .take(8)
            .map_while(Result::ok)
            .collect();
    assert!(callers.len() < 8, "a backlog of 0 is full after a few");
    let before = Instant::now();
    opened(&format!("ws://localhost:{}/", address.port()));
    let waited = before.elapsed();
    assert!((Duration::from_millis(240)..Duration::from_secs(10)).contains(&waited), "{waited:?}");
}

// ---------------------------------------------------------------------- what waits

#[test]
fn buffered_amount_is_the_payload_that_the_network_has_not_taken() {
    let (go, gone) = mpsc::channel();
    let server = scripted(move |peer| {
        let mut peer = peer.open();
        gone.recv_timeout(PATIENCE).unwrap();
        let mut came = 0;
        while came < 32 << 20 {
            came += peer.frame().1.len();
        }
        assert_eq!(peer.frame(), (0x89, b"not counted".to_vec()));
        assert_eq!(peer.frame(), (0x88, close_body(1000, "")));
        peer.write(&bare(0x88, &close_body(1000, "")));
        peer.end();
    });
    let mut ws = opened(&server.url);
    ws.send("small").unwrap();
    assert_eq!(ws.buffered_amount(), 0); // the kernel has it
    let message = vec![7; 1 << 20];
    let mut sent = 5;
    while sent < 32 << 20 {
        ws.send(&message[..]).unwrap();
        sent += message.len();
    }
    let waits = ws.buffered_amount();
    assert!(waits > 0 && waits < sent as u64, "{waits} of {sent}");
    assert!(ws.ping(b"not counted"));
    assert_eq!(ws.buffered_amount(), waits);
    ws.close(Some(1000), "").unwrap();
    assert!(ws.buffered_amount() <= waits);
    // What is sent now counts for ever.
    let waits = ws.buffered_amount();
    ws.send("twelve bytes").unwrap();
    assert_eq!(ws.buffered_amount(), waits + 12);
    go.send(()).unwrap();
    expect_close(&mut ws, closed(1000, "", true));
    assert_eq!(ws.buffered_amount(), 12);
    ws.send(&[0; 30][..]).unwrap();
    assert_eq!(ws.buffered_amount(), 42);
    server.done();
}

#[test]
fn what_was_queued_when_the_connection_is_lost_is_counted_for_ever() {
    let (go, gone) = mpsc::channel();
    let server = scripted(move |peer| {
        let peer = peer.open();
        gone.recv_timeout(PATIENCE).unwrap();
        peer.reset();
    });
    let mut ws = opened(&server.url);
    let message = vec![7; 1 << 20];
    let mut sent = 0;
    while ws.buffered_amount() == 0 && sent < 64 << 20 {
        ws.send(&message[..]).unwrap();
        sent += message.len();
    }
    go.send(()).unwrap();
    expect_failure(&mut ws, &["lost"]);
    let waits = ws.buffered_amount();
    assert!(waits > 0 && waits <= sent as u64);
    ws.send("more").unwrap();
    assert_eq!(ws.buffered_amount(), waits + 4);
    server.done();
}

#[test]
fn who_sends_more_than_outbox_bytes_max_is_closed_as_the_standard_asks() {
    let server = scripted(|peer| {
        let mut peer = peer.open();
        let _ = peer.stream.read_to_end(&mut Vec::new());
    });
    let mut options = Options::default();
    options.config.limits.outbox_bytes_max = 1 << 20;
    let mut ws = WebSocket::connect_with(&server.url, &[], options).unwrap();
    assert_eq!(next(&mut ws), Event::Open);
    let message = vec![7; 8 << 20];
    for _ in 0..8 {
        ws.send(&message[..]).unwrap();
    }
    expect_failure(&mut ws, &["failed", "wait"]);
    drop(ws);
    server.done();
}

#[test]
fn a_server_is_not_read_while_events_wait_and_nothing_is_lost() {
    const MESSAGES: u32 = 64;
    let (report, reports) = mpsc::channel();
    let server = scripted(move |peer| {
        let mut peer = peer.open();
        for i in 0..MESSAGES {
            let mut payload = vec![0; 1 << 20];
            payload[..4].copy_from_slice(&i.to_be_bytes());
            peer.write(&bare(0x82, &payload));
            report.send(i).unwrap();
        }
        peer.write(&bare(0x88, b""));
        peer.end();
    });
    let mut ws = opened(&server.url);
    let mut want = 0..MESSAGES;
    let is_number = |event: Event, number: u32| {
        let Event::Message(OwnedMessage::Binary(payload)) = event else { panic!("{event:?}") };
        assert_eq!((payload.len(), &payload[..4]), (1 << 20, &number.to_be_bytes()[..]));
    };
    is_number(next(&mut ws), want.next().unwrap());
    // Nobody turns the loop: the server comes to a stand, a few messages ahead.
    let ahead = std::iter::from_fn(|| reports.recv_timeout(Duration::from_millis(300)).ok()).last().unwrap();
    assert!(ahead < MESSAGES - 1, "it wrote all it had");
    for number in want {
        is_number(next(&mut ws), number);
    }
    expect_close(&mut ws, closed(1005, "", true));
    drop(ws);
    server.done();
}

#[test]
fn many_small_messages_come_whole_and_in_order() {
    const MESSAGES: usize = 20_000;
    let server = scripted(|peer| {
        let mut peer = peer.open();
        let frames: Vec<u8> = (0..MESSAGES).flat_map(|i| bare(0x81, i.to_string().as_bytes())).collect();
        peer.write(&frames);
        peer.write(&bare(0x88, b""));
        peer.end();
    });
    let mut ws = opened(&server.url);
    for i in 0..MESSAGES {
        assert_eq!(next(&mut ws), text(&i.to_string()));
    }
    expect_close(&mut ws, closed(1005, "", true));
    drop(ws);
    server.done();
}

// ---------------------------------------------------------------------- with a handler

/// Dials `left` more, and each says its number and hears it.
struct Crowd {
    dial: Dial,
    left: u32,
    numbers: HashMap<ConnId, u32>,
    heard: u32,
    closed: u32,
}

impl Handler for Crowd {
    fn on_response(&mut self, _: &mut Context<'_>, id: ConnId, response: &Response<'_>) {
        assert_eq!((response.status(), response.subprotocol()), (101, Some("chat")));
        assert!(self.numbers.contains_key(&id));
    }
    fn on_dial_failed(&mut self, _: &mut Context<'_>, id: ConnId, error: &DialError) {
        panic!("{id}: {error}");
    }
    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        let number = self.numbers[&id].to_string();
        assert_eq!(cx.send(id, number.as_str()), Sent::Queued);
        if self.left > 0 {
            self.left -= 1;
            let id = cx.dial(self.dial.clone());
            self.numbers.insert(id, self.left);
        }
    }
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        assert_eq!(message, Message::Text(&self.numbers[&id].to_string()));
        self.heard += 1;
        assert!(cx.close(id, CloseCode::NORMAL, ""));
    }
    fn on_close(&mut self, cx: &mut Context<'_>, id: ConnId, closed: &Closed<'_>) {
        assert!(closed.was_clean && self.numbers.remove(&id).is_some());
        self.closed += 1;
        if self.left == 0 && self.numbers.is_empty() {
            cx.shutdown();
        }
    }
}

#[test]
fn many_clients_live_on_one_loop_that_listens_nowhere() {
    let running = serve(|_| {}, Echo);
    let dial = dial(&running.url(), &["chat"]).unwrap();
    let crowd = Crowd { dial, left: 900, numbers: HashMap::new(), heard: 0, closed: 0 };
    let mut server = Server::unbound(Config::default(), crowd).unwrap();
    assert!(server.addresses().is_empty());
    server.act(|crowd, cx| {
        for _ in 0..100 {
            crowd.left -= 1;
            let id = cx.dial(crowd.dial.clone());
            crowd.numbers.insert(id, 1_000_000 + crowd.left);
        }
    });
    server.run().unwrap();
    assert_eq!((server.handler().heard, server.handler().closed), (900, 900));
    assert_eq!(server.connections(), 0);
}

/// Passes what each client says to a connection of its own to another server, and back.
struct Relay {
    upstream: Dial,
    /// Both ways.
    other: HashMap<ConnId, ConnId>,
    failed: mpsc::Sender<DialError>,
}

impl Handler for Relay {
    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        if !self.other.contains_key(&id) {
            cx.pause(id); // until there is somebody to pass it to
            let upstream = cx.dial(self.upstream.clone());
            self.other.extend([(id, upstream), (upstream, id)]);
        } else {
            cx.resume(self.other[&id]);
        }
    }
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        cx.send(self.other[&id], message);
    }
    fn on_dial_failed(&mut self, cx: &mut Context<'_>, id: ConnId, error: &DialError) {
        let client = self.other.remove(&id).expect("it was dialled for somebody");
        self.other.remove(&client);
        cx.close(client, CloseCode::TRY_AGAIN, "no upstream");
        self.failed.send(error.clone()).unwrap();
    }
    fn on_close(&mut self, cx: &mut Context<'_>, id: ConnId, closed: &Closed<'_>) {
        if let Some(other) = self.other.remove(&id) {
            self.other.remove(&other);
            cx.close(other, closed.code, closed.reason);
        }
    }
}

fn relay(upstream: SocketAddr) -> (Running, Receiver<DialError>) {
    let (failed, failures) = mpsc::channel();
    let upstream = Dial::new(upstream.ip().to_string(), upstream.port());
    (serve(|_| {}, Relay { upstream, other: HashMap::new(), failed }), failures)
}

#[test]
fn a_handler_dials_beside_the_connections_it_serves() {
    let upstream = serve(|_| {}, Echo);
    let (running, _failures) = relay(upstream.address);
    let mut clients: Vec<_> = (0..20).map(|_| WebSocket::connect(&running.url(), &[]).unwrap()).collect();
    for (i, ws) in clients.iter_mut().enumerate() {
        assert_eq!(next(ws), Event::Open);
        ws.send(i.to_string().as_str()).unwrap();
        ws.send(&vec![i as u8; 300_000][..]).unwrap();
    }
    for (i, ws) in clients.iter_mut().enumerate() {
        assert_eq!(next(ws), text(&i.to_string()));
        assert_eq!(next(ws), Event::Message(vec![i as u8; 300_000].into()));
        ws.close(Some(4000), "").unwrap();
        expect_close(ws, closed(4000, "", true));
    }
}

#[test]
fn a_handler_is_told_that_a_dial_failed_beside_the_connections_it_serves() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let (running, failures) = relay(nobody);
    let mut ws = opened(&running.url());
    let error = failures.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(error, DialError::Connect { address, .. } if address == nobody), "{error:?}");
    expect_close(&mut ws, closed(1013, "no upstream", true));
}

#[test]
fn a_server_that_stops_does_not_wait_for_whom_it_dials() {
    struct Dialling(Vec<DialError>);
    impl Handler for Dialling {
        fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {}
        fn on_dial_failed(&mut self, _: &mut Context<'_>, _: ConnId, error: &DialError) {
            self.0.push(error.clone());
        }
    }
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut server = Server::unbound(Config::default(), Dialling(Vec::new())).unwrap();
    server.act(|_, cx| cx.dial(Dial::new("127.0.0.1", port)));
    assert!(server.turn(Some(Duration::ZERO)).unwrap());
    // One that waits for the resolver, or has its answer, and one that is not even begun.
    server.act(|_, cx| cx.dial(Dial::new("no-such-host.invalid", port)));
    server.act(|_, cx| cx.dial(Dial::new("127.0.0.1", port)));
    server.remote().shutdown();
    server.run().unwrap();
    assert_eq!(server.handler().0.len(), 3);
    assert_eq!(server.handler().0[0], DialError::Lost(Lost::Stopped));
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_loop_that_stops_ends_though_each_dial_that_fails_is_made_anew() {
    struct Insisting(Dial);
    impl Handler for Insisting {
        fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {}
        fn on_dial_failed(&mut self, cx: &mut Context<'_>, _: ConnId, _: &DialError) {
            cx.dial(self.0.clone());
        }
    }
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let dial = Dial::new("127.0.0.1", silent.local_addr().unwrap().port());
    let mut config = Config::default();
    config.limits.closing_ms_max = 50;
    let mut server = Server::unbound(config, Insisting(dial.clone())).unwrap();
    server.act(|_, cx| cx.dial(dial));
    server.remote().shutdown();
    server.run().unwrap();
}

/// Comes back each time it is sent away.
struct Returning {
    dial: Dial,
    visits: u32,
}

impl Handler for Returning {
    fn on_open(&mut self, _: &mut Context<'_>, _: ConnId) {
        self.visits += 1;
    }
    fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {}
    fn on_close(&mut self, cx: &mut Context<'_>, _: ConnId, closed: &Closed<'_>) {
        assert_eq!((closed.code, closed.was_clean), (CloseCode::RESTART, true));
        if self.visits >= 200 {
            cx.shutdown();
        } else {
            cx.dial(self.dial.clone());
        }
    }
    fn on_dial_failed(&mut self, _: &mut Context<'_>, _: ConnId, error: &DialError) {
        panic!("{error}");
    }
}

/// Sends everybody away.
struct Away;

impl Handler for Away {
    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        cx.close(id, CloseCode::RESTART, "");
    }
    fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {}
}

#[test]
fn a_handler_dials_anew_when_a_connection_ends_and_places_are_used_again() {
    let running = serve(|_| {}, Away);
    let dial = Dial::new(running.address.ip().to_string(), running.address.port());
    let mut server = Server::unbound(Config::default(), Returning { dial, visits: 0 }).unwrap();
    server.act(|returning, cx| cx.dial(returning.dial.clone()));
    server.run().unwrap();
    assert!(server.handler().visits >= 200);
}

/// Counts what becomes of its dials.
#[derive(Default)]
struct Counting {
    opened: usize,
    refused: usize,
    closed: usize,
}

impl Handler for Counting {
    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        self.opened += 1;
        cx.close(id, CloseCode::NORMAL, "");
    }
    fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {}
    fn on_dial_failed(&mut self, _: &mut Context<'_>, _: ConnId, error: &DialError) {
        match error {
            DialError::Connect { kind: ErrorKind::ConnectionRefused, .. } => self.refused += 1,
            DialError::Closed => self.closed += 1,
            other => panic!("{other}"),
        }
    }
}

#[test]
fn names_are_resolved_beside_the_loop_many_at_a_time() {
    let running = serve(|_| {}, Echo);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap().port();
    drop(listener);
    let mut server = Server::unbound(Config::default(), Counting::default()).unwrap();
    server.act(|_, cx| {
        for _ in 0..50 {
            // No address as Rust reads it, so the resolver is asked; and it needs nobody's help.
            cx.dial(Dial::new("127.1", running.address.port()));
            cx.dial(Dial::new("127.1", nobody));
            let dropped = cx.dial(Dial::new("127.1", running.address.port()));
            assert!(cx.close(dropped, CloseCode::NORMAL, ""));
        }
    });
    while server.connections() > 0 {
        assert!(server.turn(Some(PATIENCE)).unwrap());
    }
    let Counting { opened, refused, closed } = *server.handler();
    assert_eq!((opened, refused, closed), (50, 50, 50));
}
