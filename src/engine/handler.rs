//! What an embedder writes, and what it is told.

use super::{Answer, Context, DialError};
use crate::{
    config::Limits,
    conn::{Fault, Message, Upgrade},
    wire::{
        close::CloseCode,
        handshake::{Refusal, Request},
        http_request::HttpRequest,
        response::Response,
    },
};
use std::{fmt, io, net::SocketAddr, str::FromStr};

/// What a server, or a client, does with its peers. Only [`Handler::on_message`] must be written.
///
/// All calls come from the one thread of the loop, one at a time: plain fields are all the state that is needed.
/// Every `on_open` has exactly one `on_close`; after it the id is dead and every call with it is refused. Every
/// [`Context::dial`] has either that or exactly one `on_dial_failed`. [`Answer`] has an example of one that serves pages.
///
/// # Panics
/// A call that panics ends the connection it is about, and no other: it is failed with 1011, behind what it was sent so
/// far, and `on_close` is told of [`Cause::Panic`], also where it was `on_open` that panicked; a request is answered with
/// 500; what is dialled and not open yet fails with [`DialError::Panic`]. A panic of any call that is
/// about no connection, or about one that is over, ends nothing more: `on_close`, `on_dial_failed`, `on_refused`,
/// `on_turned_away`, `on_limits`, `on_tick`, `on_wake`. The loop lives on; the panic hook has reported it, and
/// `Server::panics` counts it.
///
/// The handler is called again with its fields as the panic left them, for the next event of somebody else. So what it
/// changes in several steps it does best behind the last one that may panic; a handler that cannot go on ends the process
/// in a panic hook of its own. Built with `panic = "abort"`, there is nothing to catch, and the process ends.
///
/// ```
/// use sockeye::{ConnId, Context, Handler, Message};
///
/// /// Sends each message to everyone.
/// struct Room;
///
/// impl Handler for Room {
///     fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
///         cx.subscribe(id, "room");
///     }
///     fn on_message(&mut self, cx: &mut Context<'_>, _: ConnId, message: Message<'_>) {
///         cx.publish("room", message);
///     }
/// }
/// ```
pub trait Handler {
    /// A valid request to upgrade came. The default accepts it.
    ///
    /// Where the answer names no subprotocol, the one that the configuration chooses is acknowledged. `id` cannot
    /// be sent to yet.
    fn on_upgrade(&mut self, _cx: &mut Context<'_>, _id: ConnId, _request: &Request<'_>) -> Upgrade {
        Upgrade::accept()
    }

    /// A plain HTTP request came: any well-formed one that is no GET with `Upgrade: websocket`. The default refuses it.
    ///
    /// Its body is there only if it was asked for with [`Answer::AwaitBody`], after which this is called again. `id` cannot
    /// be sent to; it has no `on_open` and no `on_close`, whatever becomes of it.
    fn on_http(&mut self, _cx: &mut Context<'_>, _id: ConnId, _request: &HttpRequest<'_>) -> Answer {
        Answer::Refuse
    }

    /// An accepted connection is not going to be open, and it was not this handler that refused it: its request is none, or
    /// is not allowed ([`Config::origins`](crate::Config::origins) and others), it took too long, or there are too many.
    ///
    /// For logs. `id` cannot be sent to; it has no `on_open` and no `on_close`. Who only goes away is not told of.
    fn on_refused(&mut self, _cx: &mut Context<'_>, _id: ConnId, _refused: &Refused<'_>) {}

    /// A connection that was dialled has a socket, to which its request is about to be written: `head` is all of it.
    fn on_request(&mut self, _id: ConnId, _head: &[u8]) {}

    /// A server that was dialled accepted: `on_open` follows.
    fn on_response(&mut self, _cx: &mut Context<'_>, _id: ConnId, _response: &Response<'_>) {}

    /// A server that was dialled answered, but did not accept, or not as it should: `on_dial_failed` follows.
    fn on_refusal(&mut self, _cx: &mut Context<'_>, _id: ConnId, _response: &Response<'_>) {}

    /// A connection that was dialled could not be opened. The id is dead; there is no `on_open` and no `on_close`.
    fn on_dial_failed(&mut self, _cx: &mut Context<'_>, _id: ConnId, _error: &DialError) {}

    /// The connection is open, be it accepted or dialled.
    fn on_open(&mut self, _cx: &mut Context<'_>, _id: ConnId) {}

    /// A whole message came. Its payload is borrowed for this call; sending it back to `id` as it is costs no copy.
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>);

    /// All that one read of an open connection brought has been handled; there may have been any number of messages in
    /// it, or none that was whole. What is sent to `id` here goes out in one write with what was sent before.
    fn on_read_end(&mut self, _cx: &mut Context<'_>, _id: ConnId) {}

    /// The outbox of a connection that was above its soft mark is at or below it again.
    fn on_drain(&mut self, _cx: &mut Context<'_>, _id: ConnId) {}

    /// A Pong came: the answer to a Ping of [`Context::ping`] or of the keepalive (whose payload is empty), or one
    /// that nobody asked for. RFC 6455 §5.5.3
    fn on_pong(&mut self, _cx: &mut Context<'_>, _id: ConnId, _payload: &[u8]) {}

    /// The connection is over, in whichever way.
    fn on_close(&mut self, _cx: &mut Context<'_>, _id: ConnId, _closed: &Closed<'_>) {}

    /// Limits were set anew (`Server::set_limits`, `Remote::set_limits`), and these are in force.
    fn on_limits(&mut self, _cx: &mut Context<'_>, _limits: &Limits) {}

    /// A connection came to a listener of proxies ([`Listen::Proxied`](crate::Listen)) and was dropped before anything was
    /// read as HTTP: it never had an id. `info` has the address that it really came from.
    fn on_turned_away(&mut self, _cx: &mut Context<'_>, _info: &PeerInfo, _why: TurnedAway) {}

    /// `Config::tick_ms` have passed again.
    fn on_tick(&mut self, _cx: &mut Context<'_>) {}

    /// Another thread has woken the loop, with [`Remote::wake`](crate::Remote::wake) or one of its commands: called once
    /// in the turn that this led to, behind the commands, however often it was woken. So a helper thread leaves its answer
    /// in a channel, wakes the loop, and the handler looks at the channel here. It may be called when nothing is there.
    fn on_wake(&mut self, _cx: &mut Context<'_>) {}
}

/// Which connection. Never used again for another one while the process lives.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl ConnId {
    /// Where the connection stands in tables that are as long as there are connections.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// Reads what `Display` writes.
///
/// ```
/// let id: sockeye::ConnId = "3.17".parse()?;
/// assert_eq!((id.index(), id.to_string().as_str()), (3, "3.17"));
/// assert!("3".parse::<sockeye::ConnId>().is_err() && "3.+1".parse::<sockeye::ConnId>().is_err());
/// # Ok::<(), sockeye::InvalidConnId>(())
/// ```
impl FromStr for ConnId {
    type Err = InvalidConnId;

    fn from_str(text: &str) -> Result<ConnId, InvalidConnId> {
        let (index, generation) = text.split_once('.').ok_or(InvalidConnId)?;
        let number = |digits: &str| match digits.parse() {
            Ok(number) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
            _ => Err(InvalidConnId),
        };
        Ok(ConnId { index: number(index)?, generation: number(generation)? })
    }
}

/// A text that is no [`ConnId`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidConnId;

impl fmt::Display for InvalidConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a connection is named by two numbers with a dot between, such as 3.17")
    }
}

impl std::error::Error for InvalidConnId {}

/// What is known of a peer when it is accepted, or connected to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeerInfo {
    /// Its address; `None` for a Unix-domain socket, and for one that was dialled and is not connected yet.
    pub address: Option<SocketAddr>,
    /// Which of `Config::listen` accepted it, from 0; [`PeerInfo::DIALLED`] if none did.
    pub listener: u16,
}

impl PeerInfo {
    /// The listener of those that were not accepted but dialled.
    pub const DIALLED: u16 = u16::MAX;
}

/// Why a connection to a listener of proxies was dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TurnedAway {
    /// It did not come from `Config::trusted_proxies`.
    Untrusted,
    /// It does not begin with a header of the PROXY protocol, or with one that is too long.
    Malformed,
    /// The header took longer than `Limits::handshake_ms_max`.
    Late,
    /// It ended before its header was whole, as checks do whether somebody listens.
    Lost,
    /// As many as there may be wait for their header: 1,024.
    TooMany,
}

impl fmt::Display for TurnedAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TurnedAway::Untrusted => "its address is not one of the trusted proxies",
            TurnedAway::Malformed => "it does not begin with a header of the PROXY protocol",
            TurnedAway::Late => "its PROXY header did not come in time",
            TurnedAway::Lost => "it ended before its PROXY header was whole",
            TurnedAway::TooMany => "too many wait for their PROXY header",
        })
    }
}

/// What became of a message that was to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    /// It will be written.
    Queued,
    /// It will be written, but more waits than the soft mark allows: send no more until `on_drain`.
    Backlogged,
    /// It will not be written: the connection is not open, the message has more than 1 GiB, or the outbox was at or
    /// above its hard mark, for which the connection is closed with 1013.
    Refused,
}

/// What became of a message for many: how many connections each [`Sent`] applies to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Fanout {
    /// [`Sent::Queued`]
    pub queued: u32,
    /// [`Sent::Backlogged`]
    pub backlogged: u32,
    /// [`Sent::Refused`]
    pub refused: u32,
}

impl Fanout {
    pub(super) fn count(&mut self, sent: Sent) {
        match sent {
            Sent::Queued => self.queued += 1,
            Sent::Backlogged => self.backlogged += 1,
            Sent::Refused => self.refused += 1,
        }
    }
}

/// How an accepted connection was refused by the engine.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Refused<'a> {
    /// With an HTTP answer.
    Http {
        /// The answer: its status, and as text its reason.
        refusal: &'a Refusal,
        /// The path that was asked for, if so much of the request was understood: text of the peer's.
        path: Option<&'a str>,
    },
    /// In its TLS handshake, or before the opening handshake under it was over.
    Tls {
        /// What is wrong.
        why: &'a str,
    },
}

/// How a connection ended. RFC 6455 §7.1.4 to §7.1.6
#[derive(Clone, Copy, Debug)]
pub struct Closed<'a> {
    /// The peer's code, 1005 if its Close had none; the code we failed the connection with; or 1006 if it was lost.
    pub code: CloseCode,
    /// The peer's reason, or ours where we failed the connection.
    pub reason: &'a str,
    /// Both sides sent a Close.
    pub was_clean: bool,
    /// Who ended it.
    pub cause: Cause,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// The peer closed.
    Peer,
    /// We closed, and the peer answered.
    Local,
    /// The peer broke the protocol or a limit.
    Fault(Fault),
    /// The handler panicked on an event of this connection's.
    Panic,
    /// It was lost.
    Lost(Lost),
}

/// How a connection was lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lost {
    /// The peer ended TCP without a Close.
    Eof,
    /// Reading or writing failed.
    Io(io::ErrorKind),
    /// It was silent for `ping_after_ms` and `pong_within_ms`.
    Silent,
    /// It did not answer our Close within `closing_ms_max`.
    NoAnswer,
    /// The server stopped before the peer answered.
    Stopped,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Eof => f.write_str("the peer ended TCP without a Close"),
            Lost::Io(kind) => kind.fmt(f),
            Lost::Silent => f.write_str("the peer was silent for too long (ping_after_ms, pong_within_ms)"),
            Lost::NoAnswer => f.write_str("the peer did not answer our Close in time (closing_ms_max)"),
            Lost::Stopped => f.write_str("this end stopped before the peer answered"),
        }
    }
}
