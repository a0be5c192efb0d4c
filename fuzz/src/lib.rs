//! What the fuzz targets share: how a stream is cut, made, played to sockeye and to tungstenite, and compared.
//!
//! Targets are in `fuzz_targets/`, one file each; `fuzz/run --help` says how they are run.

pub mod chop;
pub mod frames;
pub mod hub;
pub mod json;
pub mod play_connection;
pub mod play_engine;
pub mod play_tungstenite;
#[path = "../../tests/duo/puff.rs"]
pub mod puff;
pub mod script;

use sockeye::CloseCode;

/// The request that opens every connection here. The key is the one of RFC 6455 §1.3.
pub const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// "Entropy" that is the same in each run, so that bytes out can be compared, and has no two bytes alike in a key.
pub fn entropy(bytes: &mut [u8]) {
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = (i as u8).wrapping_mul(37) ^ 0x5a;
    }
}

/// A message as it was delivered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delivered {
    /// Text.
    Text(String),
    /// Binary.
    Binary(Vec<u8>),
}

impl Delivered {
    /// A copy of a message.
    pub fn of(message: sockeye::Message<'_>) -> Delivered {
        match message {
            sockeye::Message::Text(text) => Delivered::Text(text.to_owned()),
            sockeye::Message::Binary(bytes) => Delivered::Binary(bytes.to_owned()),
        }
    }

    /// Opcode and payload of the frame that sends it.
    pub fn frame(&self) -> (u8, &[u8]) {
        match self {
            Delivered::Text(text) => (1, text.as_bytes()),
            Delivered::Binary(bytes) => (2, bytes),
        }
    }
}

/// How a stream ended, as a connection saw it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// The bytes ran out.
    Pending,
    /// The peer's Close: its code, and reason.
    Close(Option<CloseCode>, String),
    /// The peer broke the protocol or a limit.
    Fault(sockeye::Fault),
}
