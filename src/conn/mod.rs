//! One peer: the RFC 6455 state machine, for either role. No sockets, no handler, no clock.
//!
//! Bytes go in through an [`Input`] and come out as [`Step`]s; frames to send are appended to a buffer of the
//! caller's. Whoever owns the socket does what [`Connection::ending`] says once that buffer is written.

mod body;
mod buffer;
mod deflate;
mod fault;
mod input;
mod keepalive;
mod receive;
mod send;

pub(crate) use buffer::{Block, Buffer, Pool};
pub(crate) use deflate::{COMPRESSED_READ_BYTES_MAX, Codecs, WINDOW_MAX, WINDOWS};
pub use fault::Fault;
pub use input::Input;
pub use keepalive::Expired;
pub(crate) use receive::{Compressed, Place, message_of};
pub use receive::{Head, Incoming, Step};
pub use send::{ClientRequest, Upgrade};

use crate::{
    bits::Bits,
    config::{Config, Keepalive, Limits},
    time::{Now, Stamp},
    wire::{extension::DeflateParameters, frame::Opcode, handshake::AcceptKey},
};

/// Which end of the connection this is. Decided once; read where masking, the order of closing TCP and the
/// direction of the handshake differ, and nowhere else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Accepts; receives masked frames and sends bare ones; ends TCP first.
    Server,
    /// Dials; receives bare frames and sends masked ones.
    Client,
}

/// A whole message, either borrowed from where it was received or to be sent. RFC 6455 §5.6
///
/// ```
/// use sockeye::Message;
/// assert_eq!(Message::from("hi").as_bytes(), b"hi");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Message<'a> {
    /// UTF-8 text.
    Text(&'a str),
    /// Any bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The payload.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    #[inline]
    pub(crate) fn opcode(&self) -> Opcode {
        match self {
            Message::Text(_) => Opcode::Text,
            Message::Binary(_) => Opcode::Binary,
        }
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Message<'a> {
        Message::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Message<'a> {
        Message::Binary(bytes)
    }
}

/// Where a connection stands. RFC 6455 §4, §5, §7
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConnectionState {
    /// The opening handshake is not over.
    Handshake,
    /// Messages go both ways.
    Open,
    /// Our Close is sent, the peer's is awaited; what else it sends is dropped.
    Closing,
    /// Nothing is delivered or sent any more; TCP is to be ended.
    Closed,
}

/// What whoever owns the socket has to do with it, once everything that was to be sent is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// Nothing: go on.
    Open,
    /// Shut down writing, then read and drop until the peer ends too or time is up.
    Shutdown,
    /// Read and drop until the peer ends or time is up: a client leaves the first step to the server. §7.1.1
    AwaitEof,
    /// Close the socket.
    Drop,
}

/// What all connections of one loop draw on: settings, free buffers, entropy.
///
/// ```
/// use sockeye::{Commons, Config};
/// let commons = Commons::new(&Config::default(), |bytes| bytes.fill(7));
/// assert_eq!(commons.limits().fragments_max, 131_072);
/// ```
#[derive(Debug)]
pub struct Commons {
    pub(crate) limits: Limits,
    pub(crate) keepalive: Keepalive,
    pub(crate) pool: Pool,
    pub(crate) codecs: Codecs,
    pub(crate) received: Received,
    entropy: Entropy,
}

/// What came from all peers beside messages, which are counted when they are delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Received {
    /// Control frames, and data frames that are not the last of their message.
    pub(crate) parts: u64,
    /// What compressed messages were inflated to.
    pub(crate) inflated_bytes: u64,
    /// What was work beyond its transport: inflated, or assembled for a handler that takes it apart.
    pub(crate) costly_bytes: u64,
}

impl Commons {
    /// Takes the limits and timers of `config`, and a source of unpredictable bytes.
    ///
    /// `entropy` fills the slice it is given; masking keys (§10.3) and handshake nonces come from it.
    pub fn new(config: &Config, entropy: fn(&mut [u8])) -> Commons {
        Commons {
            limits: config.limits.clamped(),
            keepalive: config.keepalive,
            pool: Pool::new(config.limits.pool_bytes_max as usize),
            codecs: Codecs::new(config.deflate, config.limits.deflate_context_bytes_max),
            received: Received::default(),
            entropy: Entropy { fill: entropy, block: Vec::new(), used: 0, block_bytes: ENTROPY_BYTES },
        }
    }

    /// Other limits and timers from now on; see `Server::set_limits`.
    pub(crate) fn set_limits(&mut self, limits: Limits, keepalive: Keepalive) {
        self.limits = limits.in_place_of(&self.limits);
        self.keepalive = keepalive;
        self.pool.set_idle_bytes_max(self.limits.pool_bytes_max as usize);
        self.codecs.set_context_bytes_max(self.limits.deflate_context_bytes_max);
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    #[inline]
    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        self.entropy.take()
    }

    /// From now on keys are needed, one for each frame: entropy comes in blocks worth the call for it.
    pub(crate) fn expect_keys(&mut self) {
        self.entropy.block_bytes = ENTROPY_BYTES_OF_CLIENTS;
    }
}

/// Entropy fetched in blocks, each byte used once.
#[derive(Debug)]
struct Entropy {
    fill: fn(&mut [u8]),
    block: Vec<u8>,
    used: usize,
    /// Of the next block.
    block_bytes: usize,
}

/// A server takes a byte of jitter for each connection.
const ENTROPY_BYTES: usize = 256;
/// A client takes a key for each frame.
const ENTROPY_BYTES_OF_CLIENTS: usize = 4 << 10;

impl Entropy {
    #[inline]
    fn take<const N: usize>(&mut self) -> [u8; N] {
        if self.block.len() - self.used < N {
            self.refill();
        }
        let mut bytes = [0; N];
        let taken = &mut self.block[self.used..self.used + N];
        bytes.copy_from_slice(taken);
        taken.fill(0);
        self.used += N;
        bytes
    }

    #[cold]
    fn refill(&mut self) {
        self.block.resize(self.block_bytes, 0);
        (self.fill)(&mut self.block);
        self.used = 0;
    }
}

/// The protocol state of one peer.
///
/// For those who bring their own sockets and loop; `examples/own_loop.rs` is a whole server.
///
/// ```
/// use sockeye::{Commons, Config, Connection, Input, Now, Request, Step, Upgrade};
///
/// let mut commons = Commons::new(&Config::default(), |bytes| bytes.fill(7));
/// let (now, mut input, mut out) = (Now::default(), Input::new(4096), Vec::new());
/// let mut connection = Connection::server(now, &mut commons);
/// let head = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// let bytes = [&head[..], b"\x81\x82\0\0\0\0hi"].concat();
/// input.space()[..bytes.len()].copy_from_slice(&bytes);
/// input.fill(bytes.len());
///
/// let Ok(Step::Head(head)) = connection.receive(now, &mut input, &mut commons) else { panic!() };
/// let head = connection.head(&input, head).to_vec();
/// let request = Request::parse(&head, 100).unwrap();
/// connection.accept(now, &request, &Upgrade::accept(), &mut commons, &mut out);
/// assert!(out.starts_with(b"HTTP/1.1 101"));
///
/// let Ok(Step::Message(incoming)) = connection.receive(now, &mut input, &mut commons) else { panic!() };
/// out.clear();
/// let message = connection.message(&input, &incoming).unwrap();
/// connection.send(message, &mut commons, &mut out);
/// assert_eq!(out, b"\x81\x02hi");
/// ```
#[derive(Debug)]
pub struct Connection {
    /// A head or a message as far as it came; behind `filled`, the `kept` bytes of a cut-off header or control
    /// frame. From the pool, and empty while there is nothing to hold.
    buffer: Block,
    filled: u32,
    kept: u8,
    flags: Bits,
    /// Up to a tenth of the keepalive interval, in 1/256 of that tenth.
    jitter: u8,
    receive: Receive,
    message: Option<Unfinished>,
    state: State,
    /// When the peer last showed life, or was asked for it.
    heard_at: Stamp,
    /// When the unfinished message or header last brought a byte.
    brought_at: Stamp,
    /// What few connections have, or not for long.
    aside: Option<Box<Aside>>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Handshake {
        since: Stamp,
    },
    Open,
    Closing {
        since: Stamp,
    },
    /// `written`: all that was to be sent is, and TCP is ending. `failed`: do not wait long for that.
    Closed {
        since: Stamp,
        written: bool,
        failed: bool,
    },
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum Receive {
    /// A frame's header, or a whole control frame.
    Header,
    /// The payload of a data frame that one read did not bring whole, or of a fragment.
    Payload { fin: bool, left: u32, key: [u8; 4] },
    /// The payload of a data frame that nobody wants, because a Close is sent. §1.4
    Skip { fin: bool, left: u32 },
    /// The body of a plain HTTP request, whose head of `head` bytes is in front of it in the buffer.
    Body { head: u32, left: u32 },
    /// A header again; but the message in the buffer was handed out and is to be cleared away first.
    Delivered,
}

/// A message of which the final frame is not whole yet. §5.4
#[derive(Clone, Copy, Debug)]
struct Unfinished {
    opcode: Opcode,
    /// RSV1 of the first fragment. RFC 7692 §6
    compressed: bool,
    fragments: u32,
    /// How far the text is known to be UTF-8.
    valid: u32,
}

#[derive(Debug)]
enum Aside {
    /// What the server's answer is checked against, until it came.
    Dialled(Dialled),
    /// Where its own compression contexts are among those of the loop.
    Contexts(u32),
}

#[derive(Debug)]
struct Dialled {
    accept: AcceptKey,
    subprotocols: Vec<String>,
    deflate: Option<DeflateParameters>,
}

/// Of `flags`: this end is the client.
const CLIENT: u16 = 1;
/// Of `flags`: the peer is not read for now, so its clocks stand.
const PAUSED: u16 = 2;
/// Of `flags`: the peer has ended its direction of TCP.
const EOF: u16 = 4;
/// Of `flags`: a Ping of the keepalive's waits for any byte.
const PINGED: u16 = 8;

/// Bytes in front of a message in its buffer, so that a header can be written there when it is sent back.
pub(crate) const MESSAGE_HEADROOM: usize = 16;

impl Connection {
    /// A connection just accepted, waiting for a request.
    pub fn server(now: Now, commons: &mut Commons) -> Connection {
        Connection::new(Role::Server, now, commons)
    }

    fn new(role: Role, now: Now, commons: &mut Commons) -> Connection {
        let at = Stamp::at(now.tick);
        let [jitter] = commons.random();
        let mut flags = Bits::default();
        flags.set(CLIENT, role == Role::Client);
        Connection {
            buffer: Block::default(),
            filled: 0,
            kept: 0,
            flags,
            jitter,
            receive: Receive::Header,
            message: None,
            state: State::Handshake { since: at },
            heard_at: at,
            brought_at: at,
            aside: None,
        }
    }

    /// Which end this is.
    #[inline]
    pub fn role(&self) -> Role {
        if self.flags.has(CLIENT) { Role::Client } else { Role::Server }
    }

    /// Where the connection stands.
    #[inline]
    pub fn state(&self) -> ConnectionState {
        match self.state {
            State::Handshake { .. } => ConnectionState::Handshake,
            State::Open => ConnectionState::Open,
            State::Closing { .. } => ConnectionState::Closing,
            State::Closed { .. } => ConnectionState::Closed,
        }
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// The peer ended its direction of TCP: nothing more comes. What it brought was received before.
    pub fn handle_eof(&mut self, now: Now) {
        self.flags.set(EOF, true);
        if !matches!(self.state, State::Closed { .. }) {
            self.close_at(now, false);
        }
    }

    /// What is to be done with the socket now that everything to be sent is written.
    ///
    /// [`Ending::Shutdown`] and [`Ending::AwaitEof`] start the wait that `Limits::linger_ms_max` bounds.
    pub fn ending(&mut self, now: Now) -> Ending {
        let role = self.role();
        match &mut self.state {
            State::Closed { .. } if self.flags.has(EOF) => Ending::Drop,
            State::Closed { since, written, failed } => {
                if *written {
                    return Ending::Open; // told already
                }
                (*since, *written) = (Stamp::at(now.tick), true);
                // §7.1.1: the server ends TCP first; whoever fails a connection may.
                let first = *failed || role == Role::Server;
                if first { Ending::Shutdown } else { Ending::AwaitEof }
            }
            _ => Ending::Open,
        }
    }

    /// Whether both sides have said Close, or the peer ended TCP, and nothing went wrong.
    pub(crate) fn closed_cleanly(&self) -> bool {
        matches!(self.state, State::Closed { failed: false, .. })
    }

    /// Gives back what the connection holds, when it is not needed any more.
    pub(crate) fn release(&mut self, commons: &mut Commons) {
        commons.pool.give(std::mem::take(&mut self.buffer));
        (self.filled, self.kept) = (0, 0);
    }

    /// The same, and compression contexts of its own: for a connection that is over.
    ///
    /// Whoever owns the socket calls it when that is closed; a connection that is only dropped stays counted.
    pub fn retire(&mut self, commons: &mut Commons) {
        self.release(commons);
        self.release_contexts(commons);
    }

    /// Bytes the connection holds for what it has not delivered.
    pub(crate) fn held_bytes(&self) -> usize {
        self.buffer.len()
    }

    fn close_at(&mut self, now: Now, failed: bool) {
        self.state = State::Closed { since: Stamp::at(now.tick), written: false, failed };
    }
}
