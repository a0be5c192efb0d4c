//! A WebSocket server and client: RFC 6455 by hand on one mio event loop, embeddable, with no async runtime.
//!
//! ```no_run
//! use sockeye::{Config, ConnId, Context, Handler, Message, Server};
//!
//! struct Echo;
//! impl Handler for Echo {
//!     fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
//!         cx.send(id, message);
//!     }
//! }
//! fn main() -> Result<(), sockeye::Error> {
//!     Server::bind(Config::new("127.0.0.1:9001"), Echo)?.run()
//! }
//! ```
//!
//! # Which type to take
//!
//! - [`Server`] and a [`Handler`]: a server on a thread of its own. [`Server::run`] until it is shut down, or
//!   [`Server::turn`] from a loop of one's own; a [`Remote`] for other threads.
//! - [`Server::unbound`] and a [`Handler`] that calls [`Context::dial`]: many clients on one loop. Any handler may dial,
//!   beside the connections that it serves.
//! - `Server::bind_tls` with a `TlsServer`, and `Dial::tls` with a `TlsClient` (feature `tls`): `wss`, for the same handlers.
//! - `client::WebSocket` (feature `client`, a default): one client connection, as the object in browsers.
//! - [`Engine`]: the same without sockets, clock or entropy, for simulators, tests and other event queues.
//! - [`Connection`]: one peer, either role, for those who bring sockets and loop.
//!
//! Every bound on what peers may use is a field of [`Limits`] or [`Keepalive`], with its unit, its default, what it
//! costs and what happens past it.
//!
//! # The layers
//!
//! ```text
//!       client     the WebSocket object of browsers, URLs
//!          │
//!         net      the operating system: mio, sockets, names, clock, entropy, other threads
//!          │
//!       engine     many peers, a handler, topics, timers: no I/O
//!          │
//!        conn      one peer: the state machine of RFC 6455, either role
//!          │
//!        wire      bytes ⇄ values: frames, masks, heads, close codes, UTF-8
//! ```
//!
//! An arrow points down only. `config`, `time` and `error` are leaves that all may use.
//!
//! # The walk of a byte
//!
//! 1. `net/turn.rs` waits on mio until [`Engine::poll_timeout`], then reads the clock once.
//! 2. A readable socket is read, once, into the one [`Input`] of the loop; the rest of a large message goes straight
//!    to [`Engine::input_space`], where it is assembled. [`Engine::handle_input`] takes all of it.
//! 3. `engine` finds the peer and asks its connection for one [`Step`] after the other.
//! 4. `conn/receive.rs` parses a header, checks role, limits and sequence, unmasks in place, returns a step with
//!    ranges.
//! 5. `engine` makes it a [`Message`] (UTF-8 is checked here, once) and calls [`Handler::on_message`].
//! 6. [`Context::send`]: a message that goes back as it came gets its header written over the old one, where it lies;
//!    any other is framed into the peer's outbox by `conn/send.rs`; what is published is framed once, into a log that
//!    all members of a topic share.
//! 7. The replies of a peer to itself are written right after its input, in one write; what others brought it, with
//!    all else that waits, in one write when every event of the wake is handled. A short write waits until the socket
//!    is writable.
#![forbid(unsafe_code)]

mod bits;
#[cfg(feature = "client")]
pub mod client;
pub mod config;
pub mod conn;
#[cfg(feature = "hub")]
pub mod dialect;
pub mod engine;
pub mod error;
#[cfg(feature = "hub")]
pub mod hub;
pub mod net;
pub mod time;
pub mod wire;

pub use config::{
    ActionLimits, Config, Deflate, ForwardedHeader, InvalidLimit, InvalidListen, InvalidNetwork, Keepalive,
    Limits, Listen, Network,
};
pub use conn::{
    ClientRequest, Commons, Connection, ConnectionState, Ending, Expired, Fault, Head, Incoming, Input,
    Message, Role, Step, Upgrade,
};
pub use engine::{
    Answer, Cause, Closed, Command, ConnId, Context, Dial, DialError, Dials, Drops, Endpoint, Engine, Fanout,
    Gauges, Handler, Handshakes, Histogram, InvalidConnId, Lost, PeerInfo, Prepared, Queues, Refused, Sent,
    Statistics, Traffic, Transmit, TurnedAway,
};
pub use error::Error;
#[cfg(feature = "tls")]
pub use net::{Certificate, TlsClient, TlsError, TlsServer};
pub use net::{ListeningSocket, LocalAddress, OwnedMessage, Remote, RemoteError, Server};
pub use time::{Now, Tick};
pub use wire::{
    close::CloseCode,
    handshake::{Refusal, Request, ResponseError},
    http_request::{HttpRequest, RequestHead},
    http_response::HttpResponse,
    response::Response,
};

/// The README's code is compiled with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
