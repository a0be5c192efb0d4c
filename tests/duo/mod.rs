//! The other end of a connection, for tests: literal bytes in, literal bytes out, and what nobody asked about fails.
//!
//! [`Duo`] drives one [`Connection`] and plays its caller's part: it answers a Ping with `pong`, a Close with
//! `answer_close`, a fault with `fail`, a request with `accept` or `refuse`. [`drive::Drive`] does the same to a whole
//! engine, with sockets that take as much as a test lets them. Both fail a test that leaves a byte out or an event
//! unmentioned.
#![allow(dead_code)] // each test binary uses its own part of this

pub mod drive;
pub mod puff;

use sockeye::{
    ClientRequest, CloseCode, Commons, Config, Connection, ConnectionState, Ending, Expired, Fault, Input,
    Message, Now, Refusal, Request, Response, ResponseError, Role, Step, Tick, Upgrade,
};
use std::collections::VecDeque;

/// What a connection told its caller.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Opened(Option<String>),
    Refused(u16),
    Failed(ResponseError),
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Fault(Fault),
}

/// The smallest request, with the key of RFC 6455 §1.3.
pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The answer to [`REQUEST`], which also answers the request a [`Duo`]'s client makes: its nonce is the same.
pub const RESPONSE: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The masking key of RFC 6455 §5.7.
pub const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// "Entropy": a jitter of 0, the nonce of RFC 6455 §1.3, then masking keys 11121314, 15161718 and so on.
pub fn entropy(bytes: &mut [u8]) {
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = i as u8;
    }
    bytes[1..17].copy_from_slice(b"the sample nonce");
}

/// A frame as a server sends it; `lead` is its whole first byte.
pub fn bare(lead: u8, payload: &[u8]) -> Vec<u8> {
    [head(lead, 0, payload.len()), payload.to_vec()].concat()
}

/// A frame as a client sends it, masked with [`KEY`].
pub fn masked(lead: u8, payload: &[u8]) -> Vec<u8> {
    let body: Vec<u8> = payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    [head(lead, 0x80, payload.len()), KEY.to_vec(), body].concat()
}

fn head(lead: u8, mask: u8, len: usize) -> Vec<u8> {
    match len {
        0..=125 => vec![lead, mask | len as u8],
        126..=0xffff => vec![lead, mask | 126, (len >> 8) as u8, len as u8],
        _ => [&[lead, mask | 127][..], &(len as u64).to_be_bytes()].concat(),
    }
}

/// The body of a Close.
pub fn close_body(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

/// Bytes for a failure message: as literal as the test's own.
pub fn show(bytes: &[u8]) -> String {
    let cut = bytes.len().min(400);
    let dots = if cut < bytes.len() { format!("… ({} bytes)", bytes.len()) } else { String::new() };
    format!("b\"{}\"{dots}", bytes[..cut].escape_ascii())
}

/// One connection and its caller; the test is the peer.
pub struct Duo {
    connection: Connection,
    commons: Commons,
    input: Input,
    read_bytes_max: usize,
    direct: bool,
    echoes: bool,
    now: Now,
    out: Vec<u8>,
    events: VecDeque<Event>,
    /// Every event so far, Pings included.
    pub trace: Vec<Event>,
    /// Every byte out so far.
    pub written: Vec<u8>,
}

impl Duo {
    // ------------------------------------------------------------------ a connection

    /// A server whose handshake is over.
    pub fn server() -> Duo {
        Duo::server_with(|_| {})
    }

    /// A client whose handshake is over.
    pub fn client() -> Duo {
        Duo::client_with(|_| {})
    }

    /// One of each.
    pub fn both() -> [Duo; 2] {
        [Duo::server(), Duo::client()]
    }

    /// One of each, so configured.
    pub fn both_with(configure: impl Fn(&mut Config)) -> [Duo; 2] {
        [Duo::server_with(&configure), Duo::client_with(&configure)]
    }

    pub fn server_with(configure: impl FnOnce(&mut Config)) -> Duo {
        let mut duo = Duo::accepted(configure);
        duo.feed(REQUEST).expect_opened(None).expect_bytes(RESPONSE);
        duo
    }

    pub fn client_with(configure: impl FnOnce(&mut Config)) -> Duo {
        let mut duo = Duo::dialled(ClientRequest::default(), configure);
        duo.take_bytes();
        duo.feed(RESPONSE).expect_opened(None);
        duo
    }

    /// A server that waits for its request.
    pub fn accepted(configure: impl FnOnce(&mut Config)) -> Duo {
        Duo::new(configure, |now, commons, _| Connection::server(now, commons))
    }

    /// A client that has sent its request, which is the first of its bytes out.
    pub fn dialled(request: ClientRequest, configure: impl FnOnce(&mut Config)) -> Duo {
        Duo::new(configure, |now, commons, out| Connection::client(now, request, commons, out))
    }

    fn new(
        configure: impl FnOnce(&mut Config),
        make: impl FnOnce(Now, &mut Commons, &mut Vec<u8>) -> Connection,
    ) -> Duo {
        let mut config = Config::default();
        configure(&mut config);
        let (mut commons, mut out, now) = (Commons::new(&config, entropy), Vec::new(), Now::default());
        let connection = make(now, &mut commons, &mut out);
        let read_bytes_max = 64 << 10;
        Duo {
            connection,
            commons,
            input: Input::new(read_bytes_max),
            read_bytes_max,
            direct: false,
            echoes: false,
            now,
            out,
            events: VecDeque::new(),
            trace: Vec::new(),
            written: Vec::new(),
        }
    }

    /// From now on the rest of a large message is read straight into its own buffer.
    pub fn read_direct(mut self) -> Duo {
        self.direct = true;
        self
    }

    /// From now on its caller sends each message back.
    pub fn echoing(mut self) -> Duo {
        self.echoes = true;
        self
    }

    /// From now on one read brings at most so many bytes.
    pub fn read_at_most(mut self, bytes: usize) -> Duo {
        (self.input, self.read_bytes_max) = (Input::new(bytes), bytes);
        self
    }

    // ------------------------------------------------------------------ the peer

    /// A frame as this connection's peer has to send it.
    pub fn frame(&self, lead: u8, payload: &[u8]) -> Vec<u8> {
        match self.connection.role() {
            Role::Server => masked(lead, payload),
            Role::Client => bare(lead, payload),
        }
    }

    /// The peer sends a frame.
    pub fn feed_frame(&mut self, lead: u8, payload: &[u8]) -> &mut Duo {
        let frame = self.frame(lead, payload);
        self.feed(&frame)
    }

    /// Bytes of the peer's arrive, all that they lead to happens.
    pub fn feed(&mut self, bytes: &[u8]) -> &mut Duo {
        for piece in bytes.chunks(self.read_bytes_max) {
            let rest = self.read_into_place(piece);
            self.input.space()[..rest.len()].copy_from_slice(rest);
            self.input.fill(rest.len());
            loop {
                match self.connection.receive(self.now, &mut self.input, &mut self.commons) {
                    Ok(Step::Pending) => break,
                    Ok(step) => self.obey(step),
                    Err(fault) => self.fail(fault),
                }
            }
        }
        self
    }

    /// The peer ends its direction of TCP.
    pub fn feed_eof(&mut self) -> &mut Duo {
        self.connection.handle_eof(self.now);
        self
    }

    fn read_into_place<'b>(&mut self, piece: &'b [u8]) -> &'b [u8] {
        if !self.direct {
            return piece;
        }
        let Some(space) = self.connection.space(&mut self.commons) else { return piece };
        let n = space.len().min(piece.len());
        space[..n].copy_from_slice(&piece[..n]);
        if let Err(fault) = self.connection.fill(self.now, n) {
            self.fail(fault);
        }
        &piece[n..]
    }

    // ------------------------------------------------------------------ the caller

    fn obey(&mut self, step: Step) {
        let (now, commons, out) = (self.now, &mut self.commons, &mut self.out);
        match step {
            Step::Pending => {}
            Step::Head(head) => {
                let head = self.connection.head(&self.input, head).to_vec();
                match Request::parse(&head, commons.limits().headers_max) {
                    Ok(request) => {
                        self.connection.accept(now, &request, &Upgrade::accept(), commons, out);
                        self.tell(Event::Opened(None));
                    }
                    Err(refusal) => self.refuse(&refusal),
                }
            }
            Step::Body { .. } => panic!("no body was asked for"),
            Step::HeadTooLarge => {
                let limit = commons.limits().head_bytes_max;
                self.refuse(&Refusal::HeadTooLarge { limit });
            }
            Step::Opened(head) => {
                let head = self.connection.head(&self.input, head);
                let response = Response::parse(head, commons.limits().headers_max).expect("it was checked");
                let subprotocol = response.subprotocol().map(str::to_owned);
                self.tell(Event::Opened(subprotocol));
            }
            Step::Failed(error, _) => self.tell(Event::Failed(error)),
            Step::Message(incoming) => match self.connection.message(&self.input, &incoming) {
                Ok(message) => {
                    let event = match message {
                        Message::Text(text) => Event::Text(text.to_owned()),
                        Message::Binary(bytes) => Event::Binary(bytes.to_vec()),
                    };
                    if self.echoes {
                        self.connection.send(message, commons, out);
                    }
                    self.tell(event);
                }
                Err(fault) => self.fail(fault),
            },
            Step::Ping(range) => {
                let payload = self.input.get(range).to_vec();
                self.connection.pong(&payload, commons, out);
                self.trace.push(Event::Ping(payload));
            }
            Step::Pong(range) => {
                let event = Event::Pong(self.input.get(range).to_vec());
                self.tell(event);
            }
            Step::Close { code, reason } => {
                let reason = std::str::from_utf8(self.input.get(reason)).expect("it was checked").to_owned();
                self.connection.answer_close(now, code, &reason, commons, out);
                self.tell(Event::Close(code.map(CloseCode::get), reason));
            }
        }
    }

    fn refuse(&mut self, refusal: &Refusal) {
        self.connection.refuse(self.now, refusal, &mut self.commons, &mut self.out);
        self.tell(Event::Refused(refusal.status()));
    }

    fn fail(&mut self, fault: Fault) {
        self.connection.fail(self.now, fault, &mut self.commons, &mut self.out);
        self.tell(Event::Fault(fault));
    }

    fn tell(&mut self, event: Event) {
        self.trace.push(event.clone());
        self.events.push_back(event);
    }

    /// Sends a message; whether the connection let it.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> bool {
        self.connection.send(message.into(), &mut self.commons, &mut self.out)
    }

    pub fn ping(&mut self, payload: &[u8]) -> bool {
        self.connection.ping(payload, &mut self.commons, &mut self.out)
    }

    pub fn pong(&mut self, payload: &[u8]) -> bool {
        self.connection.pong(payload, &mut self.commons, &mut self.out)
    }

    pub fn close(&mut self, code: u16, reason: &str) -> bool {
        self.connection.close(self.now, CloseCode::new(code), reason, &mut self.commons, &mut self.out)
    }

    pub fn pause(&mut self) -> &mut Duo {
        self.connection.pause();
        self
    }

    pub fn resume(&mut self) -> &mut Duo {
        self.connection.resume(self.now);
        self
    }

    /// Time passes, without a look at what is due.
    pub fn at(&mut self, ms: u64) -> &mut Duo {
        self.now = Now { tick: Tick::from_ms(ms), unix_ms: ms };
        self
    }

    /// Time passes; what is due is done, and given.
    pub fn expire_at(&mut self, ms: u64) -> Option<Expired> {
        self.at(ms);
        let expired = self.connection.handle_timeout(self.now, &self.commons);
        match &expired {
            Some(Expired::Ping) => {
                self.ping(b"");
            }
            Some(Expired::Fault(fault)) => self.fail(*fault),
            Some(Expired::Refuse(refusal)) => self.refuse(refusal),
            Some(Expired::Drop) | None => {}
        }
        expired
    }

    pub fn deadline(&self) -> Option<u64> {
        self.connection.deadline(self.now, &self.commons).map(Tick::as_ms)
    }

    pub fn state(&self) -> ConnectionState {
        self.connection.state()
    }

    pub fn ending(&mut self) -> Ending {
        self.connection.ending(self.now)
    }

    pub fn role(&self) -> Role {
        self.connection.role()
    }

    /// The bytes out that nobody asked about yet.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        self.written.extend_from_slice(&self.out);
        std::mem::take(&mut self.out)
    }

    /// Forgets what was not asked about: the test compares [`Duo::trace`] and [`Duo::written`] instead.
    pub fn dismiss(&mut self) -> &mut Duo {
        self.take_bytes();
        self.events.clear();
        self
    }

    // ------------------------------------------------------------------ what is expected

    /// These bytes went out since they were last asked about, and no other.
    #[track_caller]
    pub fn expect_bytes(&mut self, bytes: &[u8]) -> &mut Duo {
        let out = self.take_bytes();
        assert!(out == bytes, "bytes out of the {}: {}, not {}", self.name(), show(&out), show(bytes));
        self
    }

    #[track_caller]
    pub fn expect_silence(&mut self) -> &mut Duo {
        self.expect_bytes(b"")
    }

    /// The next bytes out are a frame as this role has to send it: masked by a client, bare by a server.
    #[track_caller]
    pub fn expect_frame(&mut self, lead: u8, payload: &[u8]) -> &mut Duo {
        let wanted = match self.connection.role() {
            Role::Server => bare(lead, payload),
            Role::Client => {
                let mut wanted = head(lead, 0x80, payload.len());
                let key = self.out.get(wanted.len()..wanted.len() + 4).unwrap_or(&[0; 4]).to_vec();
                wanted.extend_from_slice(&key);
                wanted.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
                wanted
            }
        };
        let front = &self.out[..self.out.len().min(wanted.len())];
        assert!(front == wanted, "bytes out of the {}: {}, not {}", self.name(), show(front), show(&wanted));
        self.written.extend(self.out.drain(..wanted.len()));
        self
    }

    #[track_caller]
    pub fn expect(&mut self, event: Event) -> &mut Duo {
        let found = self.events.pop_front();
        assert!(found.as_ref() == Some(&event), "the {}'s caller got {found:?}, not {event:?}", self.name());
        self
    }

    #[track_caller]
    pub fn expect_opened(&mut self, subprotocol: Option<&str>) -> &mut Duo {
        self.expect(Event::Opened(subprotocol.map(str::to_owned)))
    }

    #[track_caller]
    pub fn expect_text(&mut self, text: &str) -> &mut Duo {
        self.expect(Event::Text(text.to_owned()))
    }

    #[track_caller]
    pub fn expect_binary(&mut self, bytes: &[u8]) -> &mut Duo {
        self.expect(Event::Binary(bytes.to_vec()))
    }

    #[track_caller]
    pub fn expect_pong(&mut self, payload: &[u8]) -> &mut Duo {
        self.expect(Event::Pong(payload.to_vec()))
    }

    #[track_caller]
    pub fn expect_close(&mut self, code: Option<u16>, reason: &str) -> &mut Duo {
        self.expect(Event::Close(code, reason.to_owned()))
    }

    /// No message was delivered that was not asked about.
    #[track_caller]
    pub fn expect_no_message(&mut self) -> &mut Duo {
        assert!(self.events.is_empty(), "the {}'s caller got {:?}", self.name(), self.events);
        self
    }

    /// The connection was failed for this fault: the Close says so, nothing else went out, writing is to be shut down.
    #[track_caller]
    pub fn expect_fault(&mut self, fault: Fault, code: u16, reason: &str) -> &mut Duo {
        self.expect(Event::Fault(fault)).expect_no_message();
        self.expect_frame(0x88, &close_body(code, reason)).expect_silence();
        assert_eq!((self.state(), self.ending()), (ConnectionState::Closed, Ending::Shutdown));
        self
    }

    /// The request was refused with this status; the answer is the only thing that went out. Gives its text.
    #[track_caller]
    pub fn expect_refusal(&mut self, status: u16) -> String {
        self.expect(Event::Refused(status)).expect_no_message();
        let answer = String::from_utf8(self.take_bytes()).expect("an answer is ASCII");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has an empty line");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{answer}");
        assert_eq!((self.state(), self.ending()), (ConnectionState::Closed, Ending::Shutdown), "{answer}");
        answer
    }

    fn name(&self) -> &'static str {
        match self.connection.role() {
            Role::Server => "server",
            Role::Client => "client",
        }
    }
}

impl Drop for Duo {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.expect_silence().expect_no_message();
        }
    }
}
