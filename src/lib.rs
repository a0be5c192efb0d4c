//! A WebSocket server: RFC 6455 by hand on one mio event loop, with no async runtime.
#![forbid(unsafe_code)]

mod bits;
pub mod config;
pub mod conn;
pub mod engine;
pub mod error;
pub mod net;
pub mod time;
pub mod wire;

pub use config::{Config, InvalidLimit, InvalidListen, Keepalive, Limits, Listen};
pub use conn::{
    ClientRequest, Commons, Connection, ConnectionState, Ending, Expired, Fault, Head, Incoming, Input,
    Message, Role, Step, Upgrade,
};
pub use engine::{
    Cause, Closed, Command, ConnId, Context, Engine, Fanout, Handler, Lost, PeerInfo, Sent, Transmit,
};
pub use error::Error;
pub use net::{LocalAddress, OwnedMessage, Remote, RemoteError, Server};
pub use time::{Now, Tick};
pub use wire::{
    close::CloseCode,
    handshake::{Refusal, Request},
};
