//! Sending: frames appended to a buffer of the caller's, the answer to a request, the closing handshake.

use super::{Aside, Commons, Connection, Dialled, Fault, Message, Receive, Role, State, body::ASKED_HEAD};
use crate::{
    time::{Now, Stamp},
    wire::{
        close::{self, CloseCode},
        frame::{self, HeaderBytes, Opcode},
        handshake::{self, Refusal, Request},
        http, mask,
    },
};

impl Connection {
    /// A connection that dials: its request is appended to `out`. RFC 6455 §4.1
    ///
    /// ```
    /// use sockeye::{ClientRequest, Commons, Config, Connection, Now};
    /// let mut commons = Commons::new(&Config::default(), |bytes| bytes.fill(7));
    /// let mut out = Vec::new();
    /// let request = ClientRequest { target: "/chat".into(), host: "example.com".into(), ..Default::default() };
    /// Connection::client(Now::default(), request, &mut commons, &mut out);
    /// assert!(out.starts_with(b"GET /chat HTTP/1.1\r\nHost: example.com\r\n"));
    /// ```
    ///
    /// # Panics
    /// When the target is no path, the host no host, a subprotocol no token, or a header no header: what is no request
    /// is not sent.
    pub fn client(now: Now, request: ClientRequest, commons: &mut Commons, out: &mut Vec<u8>) -> Connection {
        let is_right = request.target.starts_with('/')
            && http::parse_target(&request.target).is_some()
            && http::is_host(&request.host)
            && request.subprotocols.iter().all(|name| http::is_token(name))
            && request
                .headers
                .iter()
                .all(|(name, value)| http::is_token(name) && http::is_field_value(value));
        assert!(is_right, "no request: {request:?}");
        commons.expect_keys();
        let mut connection = Connection::new(Role::Client, now, commons);
        let deflate = commons.codecs.offer();
        let accept = handshake::put_request(
            &request.target,
            &request.host,
            commons.random(),
            &request.subprotocols,
            deflate.as_ref(),
            &request.headers,
            out,
        );
        let dialled = Dialled { accept, subprotocols: request.subprotocols, deflate };
        connection.aside = Some(Box::new(Aside::Dialled(dialled)));
        connection
    }

    /// Accepts a request: the 101 is appended to `out` and the connection is open. §4.2.2
    ///
    /// A subprotocol that was not offered is not acknowledged. Of the offers of permessage-deflate the first that can
    /// be is accepted. RFC 7692 §5
    pub fn accept(
        &mut self,
        now: Now,
        request: &Request<'_>,
        upgrade: &Upgrade,
        commons: &mut Commons,
        out: &mut Vec<u8>,
    ) {
        let chosen = upgrade.subprotocol.as_deref();
        let subprotocol = request.subprotocols().find(|&offer| chosen == Some(offer));
        let deflate = request.deflate_offers().find_map(|offer| commons.codecs.answer(&offer));
        let answer = deflate.as_ref().map(|(answer, _)| answer);
        handshake::put_response(request.accept_key(), subprotocol, answer, &upgrade.headers, out);
        if let Some((_, agreed)) = deflate {
            self.agree(agreed, commons);
        }
        debug_assert!(matches!(self.state, State::Handshake { .. }));
        self.state = State::Open;
        self.receive = Receive::Delivered; // the head, where it was kept, is cleared away
        self.heard_at = Stamp::at(now.tick);
    }

    /// Refuses a request: the HTTP answer is appended to `out` and the connection is closed.
    pub fn refuse(&mut self, now: Now, refusal: &Refusal, commons: &mut Commons, out: &mut Vec<u8>) {
        self.release(commons);
        if self.flags.has(ASKED_HEAD) {
            refusal.put_head(out);
        } else {
            refusal.put(out);
        }
        self.close_at(now, true);
    }

    /// Appends a message as one frame, compressed where that was agreed and is worth it; false, and nothing appended,
    /// where the connection is not open. §6.1
    #[inline]
    pub fn send(&self, message: Message<'_>, commons: &mut Commons, out: &mut Vec<u8>) -> bool {
        if !self.is_open() {
            return false;
        }
        match self.compress(message.as_bytes(), commons) {
            Some(mut compressed) => {
                let (header, key) = self.header(message.opcode(), compressed.len(), commons);
                put_frame(&header.compressed(), key, &compressed, out);
                commons.pool.give_buffer(&mut compressed);
            }
            None => self.put_frame(message.opcode(), message.as_bytes(), commons, out),
        }
        true
    }

    /// Appends a Ping; false where the connection is not open or the payload has more than 125 bytes. §5.5.2
    pub fn ping(&self, payload: &[u8], commons: &mut Commons, out: &mut Vec<u8>) -> bool {
        self.put_control(Opcode::Ping, payload, commons, out)
    }

    /// Appends a Pong, which answers a Ping of the same payload. §5.5.3
    ///
    /// Also after our own Close: a Ping is answered until the peer's Close has come. False past that, or for a
    /// payload of more than 125 bytes.
    pub fn pong(&self, payload: &[u8], commons: &mut Commons, out: &mut Vec<u8>) -> bool {
        self.put_control(Opcode::Pong, payload, commons, out)
    }

    /// Starts the closing handshake: appends a Close; no message goes either way any more. §7.1.2
    ///
    /// A code that must not be on the wire is left out with its reason, so that the peer sees 1005; a reason
    /// past 123 bytes is cut at a character. False where the connection is not open.
    pub fn close(
        &mut self,
        now: Now,
        code: CloseCode,
        reason: &str,
        commons: &mut Commons,
        out: &mut Vec<u8>,
    ) -> bool {
        if !self.is_open() {
            return false;
        }
        let code = code.is_sendable().then_some(code);
        self.put_close(code, reason, commons, out);
        self.abandon_message(commons);
        self.state = State::Closing { since: Stamp::at(now.tick) };
        true
    }

    /// Answers the peer's Close, once, with its own code and reason, unless ours was sent before. §5.5.1
    ///
    /// Nothing more is received or sent; see [`Connection::ending`].
    pub fn answer_close(
        &mut self,
        now: Now,
        code: Option<CloseCode>,
        reason: &str,
        commons: &mut Commons,
        out: &mut Vec<u8>,
    ) {
        if self.is_open() {
            self.put_close(code, reason, commons, out);
        }
        self.retire(commons);
        self.close_at(now, false);
    }

    /// Fails the connection: appends a Close with the fault's code and text, unless one was sent. §7.1.7
    ///
    /// Nothing more is received or sent; see [`Connection::ending`].
    pub fn fail(&mut self, now: Now, fault: Fault, commons: &mut Commons, out: &mut Vec<u8>) {
        self.fail_with(now, fault.close_code(), &fault.to_string(), commons, out);
    }

    /// The same for what is no fault of the peer's.
    pub(crate) fn fail_with(
        &mut self,
        now: Now,
        code: CloseCode,
        reason: &str,
        commons: &mut Commons,
        out: &mut Vec<u8>,
    ) {
        if self.is_open() {
            self.put_close(Some(code), reason, commons, out);
        }
        self.retire(commons);
        self.close_at(now, true);
    }

    /// Ends the connection without a word, such as when the handshake took too long.
    pub(crate) fn abandon(&mut self, now: Now, commons: &mut Commons) {
        self.retire(commons);
        self.close_at(now, true);
    }

    /// Whether a Ping is to be answered: until a Close has come, even if ours is sent. §5.5.2
    pub(crate) fn answers_pings(&self) -> bool {
        matches!(self.state, State::Open | State::Closing { .. })
    }

    fn put_close(&self, code: Option<CloseCode>, reason: &str, commons: &mut Commons, out: &mut Vec<u8>) {
        let mut body = [0; frame::CONTROL_BYTES_MAX];
        let mut len = 0;
        if let Some(code) = code {
            let reason = close::fitted(reason).as_bytes();
            body[..2].copy_from_slice(&code.get().to_be_bytes());
            len = 2 + reason.len();
            body[2..len].copy_from_slice(reason);
        }
        self.put_frame(Opcode::Close, &body[..len], commons, out);
    }

    fn put_control(&self, opcode: Opcode, payload: &[u8], commons: &mut Commons, out: &mut Vec<u8>) -> bool {
        let stands = if opcode == Opcode::Pong { self.answers_pings() } else { self.is_open() };
        let allowed = stands && payload.len() <= frame::CONTROL_BYTES_MAX;
        if allowed {
            self.put_frame(opcode, payload, commons, out);
        }
        allowed
    }

    fn put_frame(&self, opcode: Opcode, payload: &[u8], commons: &mut Commons, out: &mut Vec<u8>) {
        let (header, key) = self.header(opcode, payload.len(), commons);
        put_frame(&header, key, payload, out);
    }

    /// The header of a frame of ours, and the key its payload is to be masked with. §5.3
    #[inline]
    pub(crate) fn header(
        &self,
        opcode: Opcode,
        len: usize,
        commons: &mut Commons,
    ) -> (HeaderBytes, Option<[u8; 4]>) {
        let key = match self.role() {
            Role::Server => None,
            Role::Client => Some(commons.random()), // §10.3: unpredictable, and new for each frame
        };
        (HeaderBytes::new(opcode, len, key), key)
    }
}

fn put_frame(header: &HeaderBytes, key: Option<[u8; 4]>, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(header);
    let at = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = key {
        mask::apply(&mut out[at..], key);
    }
}

/// How a request is accepted, or that it is refused.
///
/// ```
/// use sockeye::{Refusal, Upgrade};
/// let mut upgrade = Upgrade::accept();
/// upgrade.subprotocol = Some("chat".to_owned());
/// upgrade.header("Set-Cookie", "seen=1");
/// let refused = Upgrade::refuse(Refusal::with_status(404, "no such room"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Upgrade {
    /// The subprotocol to acknowledge, one that the client offered. §4.2.2 item 5.5
    pub subprotocol: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) refusal: Option<Refusal>,
}

impl Upgrade {
    /// Accept, with no subprotocol.
    pub fn accept() -> Upgrade {
        Upgrade::default()
    }

    /// Refuse with an HTTP answer.
    pub fn refuse(refusal: Refusal) -> Upgrade {
        Upgrade { refusal: Some(refusal), ..Upgrade::default() }
    }

    /// Adds a header line to the 101.
    ///
    /// # Panics
    /// When `name` is no token or `value` holds a control character: it would end the line.
    pub fn header(&mut self, name: &str, value: &str) {
        assert!(http::is_token(name) && http::is_field_value(value), "no header: {name:?}: {value:?}");
        self.headers.push((name.to_owned(), value.to_owned()));
    }
}

/// What a client asks for. RFC 6455 §4.1
#[derive(Clone, Debug)]
pub struct ClientRequest {
    /// Path and query, percent-encoded: `/chat?room=1`.
    pub target: String,
    /// Host, and port where it is not the default one.
    pub host: String,
    /// Subprotocols offered, in order of preference.
    pub subprotocols: Vec<String>,
    /// Further header lines, such as `Authorization`, `Cookie`, `Origin`.
    pub headers: Vec<(String, String)>,
}

/// `/` of `localhost`, and nothing else.
impl Default for ClientRequest {
    fn default() -> ClientRequest {
        let (target, host) = ("/".to_owned(), "localhost".to_owned());
        ClientRequest { target, host, subprotocols: Vec::new(), headers: Vec::new() }
    }
}
