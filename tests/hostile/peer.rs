//! One hostile peer: a raw socket, or a TLS session on it, a buffer of what came and was not yet looked at, and
//! expectations.

#[path = "transport.rs"]
mod transport;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;
use transport::Stream;
pub use transport::Transport;

/// How long a peer waits for anything before its test fails. Nothing is meant to come near it.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The request of RFC 6455 §1.3, as small as it gets. The scripts of `handshake` are alterations of it.
pub const UPGRADE: &[u8] = b"GET /echo HTTP/1.1\r\n\
    Host: server.example.com\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\
    \r\n";

/// What §1.3 says the sample key is answered with.
pub const SAMPLE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A client of the server, well-behaved only by what it is told to send.
pub struct Peer {
    stream: Stream,
    /// Bytes received; those before `start` have been taken.
    input: Vec<u8>,
    start: usize,
}

/// A frame as the server sent it.
#[derive(Debug, Eq, PartialEq)]
pub struct Frame {
    /// FIN, RSV and opcode, untouched.
    pub first: u8,
    pub payload: Vec<u8>,
}

/// The head of an HTTP answer, and its body if it is a refusal.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: String,
}

/// What one look at the socket brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrival {
    Bytes,
    End,
    Reset,
    Nothing,
}

impl Peer {
    /// A TCP connection on which nothing was said.
    pub fn dial(address: SocketAddr) -> Peer {
        Peer::dial_over(Transport::Ws, address)
    }

    /// A connection on which nothing was said above the transport.
    pub fn dial_over(transport: Transport, address: SocketAddr) -> Peer {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server listens");
        stream.set_nodelay(true).expect("a live socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a live socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a live socket");
        Peer { stream: Stream::new(transport, stream), input: Vec::new(), start: 0 }
    }

    /// A connection upgraded by the sample request.
    #[track_caller]
    pub fn open(address: SocketAddr) -> Peer {
        Peer::dial(address).opened_at("/echo")
    }

    /// Upgrades a connection by the sample request, to this path.
    #[track_caller]
    pub fn opened_at(mut self, path: &str) -> Peer {
        let sample = std::str::from_utf8(UPGRADE).expect("it is ASCII");
        self.send(sample.replacen("/echo", path, 1).as_bytes()).expect_upgrade();
        self
    }

    /// Writes all of it; the server has no right to refuse.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) -> &mut Peer {
        if let Err(error) = self.stream.write_all(bytes).and_then(|()| self.stream.flush()) {
            panic!("the server did not take {}: {error}", show(bytes));
        }
        self
    }

    /// Writes what the server is free to cut short.
    pub fn send_regardless(&mut self, bytes: &[u8]) -> &mut Peer {
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
        self
    }

    /// Writes one byte at a time, each in its own segment.
    #[track_caller]
    pub fn drip(&mut self, bytes: &[u8]) -> &mut Peer {
        for byte in bytes {
            self.send(std::slice::from_ref(byte));
        }
        self
    }

    /// Writes from another thread, for a script longer than the sockets hold while nobody reads.
    pub fn send_apart(&mut self, bytes: Vec<u8>) -> JoinHandle<std::io::Result<()>> {
        let mut stream = self.stream.clone();
        std::thread::spawn(move || stream.write_all(&bytes).and_then(|()| stream.flush()))
    }

    /// Writes without ever reading until the server stops taking any for `pause`, or all is sent, or the
    /// connection is cut. Says how much went out.
    pub fn flood(&mut self, bytes: &[u8], pause: Duration) -> usize {
        self.stream.tcp().set_write_timeout(Some(pause)).expect("a live socket");
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.stream.tcp().set_write_timeout(Some(PATIENCE)).expect("a live socket");
        sent
    }

    /// Writes the same bytes over and over until the connection is cut, reading nothing.
    #[track_caller]
    pub fn send_until_cut(&mut self, bytes: &[u8]) {
        let begun = std::time::Instant::now();
        loop {
            match self.stream.write(bytes) {
                Ok(_) => assert!(begun.elapsed() < PATIENCE, "the server listens forever"),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the server holds the connection and reads nothing")
                }
                Err(_) => return,
            }
        }
    }

    /// From now on the kernel holds less that was not read: the server is left with the rest. It is some segments of
    /// the loopback device still, or reading would take its time.
    pub fn narrow(&mut self) {
        socket2::SockRef::from(self.stream.tcp()).set_recv_buffer_size(256 << 10).expect("a live socket");
    }

    /// Says that no more will be written (a FIN, and before it a close_notify), and keeps reading.
    pub fn finish(&mut self) -> &mut Peer {
        self.stream.finish();
        self
    }

    /// Closes at once with a reset, as a process does that dies with its network.
    pub fn reset(self) {
        let linger = socket2::SockRef::from(self.stream.tcp()).set_linger(Some(Duration::ZERO));
        linger.expect("a live socket");
    }

    /// What one read of at most `len` bytes brings, as a client that reads once takes it.
    #[track_caller]
    pub fn read_once(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let n = self.stream.read(&mut bytes).expect("the server answers");
        bytes.truncate(n);
        bytes
    }

    /// Waits until something unread came, and closes without reading it: the kernel sends a reset.
    #[track_caller]
    pub fn abort(self) {
        let mut one = [0];
        let n = self.stream.tcp().peek(&mut one).expect("something to leave unread");
        assert_eq!(n, 1, "end of stream where something had to be left unread");
    }

    /// The next bytes are exactly these.
    #[track_caller]
    pub fn expect(&mut self, wanted: &[u8]) -> &mut Peer {
        let mut same = 0;
        loop {
            let unread = self.unread();
            let n = unread.len().min(wanted.len());
            if unread[same..n] != wanted[same..n] {
                let at = (same..n).find(|&i| unread[i] != wanted[i]).expect("they differ");
                panic!("expected {}, got {}, differing at byte {at}", show(wanted), show(unread));
            }
            if n == wanted.len() {
                self.start += n;
                return self;
            }
            same = n;
            self.more(wanted);
        }
    }

    /// The next frame, which must be one a server may send: unmasked, in the shortest form, no RSV bit. §5.1, §5.2
    #[track_caller]
    pub fn expect_frame(&mut self) -> Frame {
        let frame = self.take_frame();
        assert_eq!(frame.first & 0x70, 0, "RSV bits in {:#04x}", frame.first);
        frame
    }

    /// The next frame, or what came in its place: the end, a reset, or nothing for as long as a peer waits.
    #[track_caller]
    pub fn frame_or_end(&mut self) -> Result<Frame, Arrival> {
        while self.unread().is_empty() {
            match self.arrive() {
                Arrival::Bytes => {}
                other => return Err(other),
            }
        }
        Ok(self.expect_frame())
    }

    /// All that the stream brings until it ends, which it is to do in order.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        loop {
            match self.arrive() {
                Arrival::Bytes => {}
                Arrival::End => return self.take(self.unread().len(), b""),
                other => panic!("expected the end, got {} and then {other:?}", show(self.unread())),
            }
        }
    }

    /// The next frame is a whole compressed message.
    #[track_caller]
    pub fn expect_compressed_frame(&mut self) -> Frame {
        let frame = self.take_frame();
        assert!(matches!(frame.first, 0xc1 | 0xc2), "{:#04x} begins no compressed message", frame.first);
        frame
    }

    #[track_caller]
    fn take_frame(&mut self) -> Frame {
        let [first, second] = self.take(2, b"a frame")[..] else { unreachable!() };
        assert_eq!(second & 0x80, 0, "a server masks nothing");
        let len = match second {
            126 => {
                let bytes = self.take(2, b"a 16-bit length");
                let len = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
                assert!(len > 125, "length {len} in 16 bits");
                len
            }
            127 => {
                let bytes = self.take(8, b"a 64-bit length");
                let len = u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
                assert!(len > 0xffff, "length {len} in 64 bits");
                usize::try_from(len).expect("a length that fits")
            }
            len => usize::from(len),
        };
        Frame { first, payload: self.take(len, b"a payload") }
    }

    /// The next frame is a Close of this code with a reason worth reading, and then the stream ends. Gives the
    /// reason.
    #[track_caller]
    pub fn expect_fault(&mut self, code: u16) -> String {
        let frame = self.expect_frame();
        assert_eq!(frame.first, 0x88, "expected a Close of {code}, got {}", show(&frame.payload));
        assert!(frame.payload.len() >= 2, "a Close without a code where {code} was due");
        let got = u16::from_be_bytes([frame.payload[0], frame.payload[1]]);
        let reason = String::from_utf8_lossy(&frame.payload[2..]).into_owned();
        assert_eq!(got, code, "wrong code, with reason {reason:?}");
        assert!(frame.payload.len() <= 125, "a Close of {} bytes", frame.payload.len());
        assert!(std::str::from_utf8(&frame.payload[2..]).is_ok(), "a reason that is not UTF-8");
        assert!(reason.len() > 3, "code {code} without a reason to read: {reason:?}");
        self.expect_end();
        reason
    }

    /// Nothing more comes, and the stream ends without a reset.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert!(self.unread().is_empty(), "expected the end, got {}", show(self.unread()));
        match self.arrive() {
            Arrival::End => {}
            Arrival::Bytes => panic!("expected the end, got {}", show(self.unread())),
            other => panic!("expected the end, got {other:?}"),
        }
    }

    /// The connection ends one way or another, whatever came before. Gives what was left to read.
    #[track_caller]
    pub fn expect_cut(&mut self) -> Vec<u8> {
        loop {
            match self.arrive() {
                Arrival::Bytes => {}
                Arrival::End | Arrival::Reset => {
                    let rest = self.unread().to_vec();
                    self.start = self.input.len();
                    return rest;
                }
                Arrival::Nothing => panic!("still connected, after {}", show(self.unread())),
            }
        }
    }

    /// Whether the connection has ended by now.
    pub fn is_cut(&mut self) -> bool {
        self.stream.tcp().set_nonblocking(true).expect("a live socket");
        let arrival = self.arrive();
        self.stream.tcp().set_nonblocking(false).expect("a live socket");
        matches!(arrival, Arrival::End | Arrival::Reset)
    }

    /// What was sent so far is answered by nothing: a ping sent now is answered first. §5.5.2
    #[track_caller]
    pub fn expect_silence(&mut self) -> &mut Peer {
        self.send(b"\x89\x88\0\0\0\0silence?").expect(b"\x8a\x08silence?")
    }

    /// What was sent so far is answered by nothing, seen where no ping can be sent (inside a frame): the
    /// neighbour, whose bytes the server read later, is answered first.
    #[track_caller]
    pub fn expect_silence_beside(&mut self, neighbour: &mut Peer) -> &mut Peer {
        neighbour.expect_echo(b"a turn").expect_echo(b"another turn");
        self.stream.tcp().set_nonblocking(true).expect("a live socket");
        let arrival = self.arrive();
        self.stream.tcp().set_nonblocking(false).expect("a live socket");
        assert_eq!(arrival, Arrival::Nothing, "expected silence, got {}", show(self.unread()));
        self
    }

    /// A binary message comes back whole.
    #[track_caller]
    pub fn expect_echo(&mut self, payload: &[u8]) -> &mut Peer {
        self.send(&frame(0x82, payload)).expect(&unmasked(0x82, payload))
    }

    /// The request is answered with a correct 101 that says nothing unasked. §4.2.2
    #[track_caller]
    pub fn expect_upgrade(&mut self) -> Response {
        let response = self.expect_head();
        assert_eq!(response.status, 101, "{response:?}");
        assert!(
            response.field("Upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket")),
            "{response:?}"
        );
        assert!(
            response.field("Connection").is_some_and(|v| v.eq_ignore_ascii_case("upgrade")),
            "{response:?}"
        );
        assert_eq!(response.field("Sec-WebSocket-Accept"), Some(SAMPLE_ACCEPT), "{response:?}");
        assert_eq!(response.field("Sec-WebSocket-Extensions"), None, "{response:?}");
        assert_eq!(response.field("Content-Length"), None, "{response:?}");
        assert_eq!(response.field("Transfer-Encoding"), None, "{response:?}");
        response
    }

    /// The request is refused with one of these: a short text, the announcement that the connection closes, and
    /// its end.
    #[track_caller]
    pub fn expect_refusal(&mut self, status: &[u16]) -> Response {
        let mut response = self.expect_refusal_head(status);
        let len = response.field("Content-Length").and_then(|v| v.parse().ok());
        let len = len.unwrap_or_else(|| panic!("no Content-Length in {response:?}"));
        response.body = String::from_utf8(self.take(len, b"a body")).expect("a text");
        let line = response.body.trim_end_matches(['\r', '\n']);
        assert!(!line.is_empty() && !line.contains(['\r', '\n']), "not one line: {:?}", response.body);
        self.expect_end();
        response
    }

    /// The head of a refusal, for a request whose answer has no body.
    #[track_caller]
    pub fn expect_refusal_head(&mut self, status: &[u16]) -> Response {
        let response = self.expect_head();
        assert!(status.contains(&response.status), "expected one of {status:?}, got {response:?}");
        let connection = response.field("Connection").unwrap_or_default();
        let closes = connection.split(',').any(|token| token.trim().eq_ignore_ascii_case("close"));
        assert!(closes, "{response:?}");
        assert_eq!(response.field("Sec-WebSocket-Accept"), None, "{response:?}");
        response
    }

    /// The status of the answer, or that the connection ended without one.
    pub fn status(&mut self) -> Option<u16> {
        while self.unread().len() < 12 {
            if self.arrive() != Arrival::Bytes {
                return None;
            }
        }
        Some(self.expect_head().status)
    }

    /// The head of an answer, in the strict grammar of RFC 9112.
    #[track_caller]
    pub fn expect_head(&mut self) -> Response {
        let end = loop {
            if let Some(at) = self.unread().windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            self.more(b"the head of an answer");
        };
        let head = String::from_utf8(self.take(end + 4, b"")).expect("a text");
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let line = lines.next().expect("a status line");
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|l| l.get(..4)).map(str::trim_end);
        let status = status.and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("status line {line:?}"));
        let field = |line: &str| {
            assert!(!line.contains(['\r', '\n', '\0']), "header {line:?}");
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("header {line:?}"));
            (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned())
        };
        Response { status, fields: lines.map(field).collect(), body: String::new() }
    }

    /// Takes `n` bytes, waiting for them.
    #[track_caller]
    fn take(&mut self, n: usize, wanted: &[u8]) -> Vec<u8> {
        while self.unread().len() < n {
            self.more(wanted);
        }
        let bytes = self.unread()[..n].to_vec();
        self.start += n;
        bytes
    }

    fn unread(&self) -> &[u8] {
        &self.input[self.start..]
    }

    #[track_caller]
    fn more(&mut self, wanted: &[u8]) {
        match self.arrive() {
            Arrival::Bytes => {}
            other => panic!("expected {}, got {} and then {other:?}", show(wanted), show(self.unread())),
        }
    }

    fn arrive(&mut self) -> Arrival {
        self.input.drain(..self.start);
        self.start = 0;
        let mut chunk = [0; 65536];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Arrival::End,
                Ok(n) => {
                    self.input.extend_from_slice(&chunk[..n]);
                    return Arrival::Bytes;
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Arrival::Nothing,
                    _ => return Arrival::Reset,
                },
            }
        }
    }
}

impl Frame {
    /// The payload, if this is a Close of `code`.
    pub fn is_close(&self, code: u16) -> bool {
        self.first == 0x88 && self.payload.starts_with(&code.to_be_bytes())
    }
}

impl Response {
    /// The value of a field that must not come twice.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values =
            self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} twice in {self:?}");
        value
    }
}

/// A client's frame of the shortest form, masked with zeroes.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = announced(first, payload.len() as u64);
    bytes.extend_from_slice(payload);
    bytes
}

/// A client's frame of the shortest form. §5.3
pub fn masked(first: u8, key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = announced(first, payload.len() as u64);
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// The header alone of a client's frame, masked with zeroes: what comes after it is another matter.
pub fn announced(first: u8, len: u64) -> Vec<u8> {
    let mut bytes = header(first, 0x80, len);
    bytes.extend([0; 4]);
    bytes
}

/// A server's frame, as it must come.
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, 0, payload.len() as u64);
    bytes.extend_from_slice(payload);
    bytes
}

fn header(first: u8, mask: u8, len: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    if let Ok(len) = u8::try_from(len)
        && len < 126
    {
        bytes.push(mask | len);
    } else if let Ok(len) = u16::try_from(len) {
        bytes.push(mask | 126);
        bytes.extend(len.to_be_bytes());
    } else {
        bytes.push(mask | 127);
        bytes.extend(len.to_be_bytes());
    }
    bytes
}

/// Bytes for a human, cut short.
pub fn show(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(160)];
    let more = if head.len() < bytes.len() { format!("… ({} bytes)", bytes.len()) } else { String::new() };
    format!("\"{}\"{more}", head.escape_ascii())
}
