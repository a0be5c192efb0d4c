//! What a program does wrong with a [`WebSocket`](super::WebSocket), by the names the standard gives it.

use crate::net::RemoteError;
use std::fmt;

/// Why a call was not done. What the network or the server does wrong is no error but an
/// [`Event::Error`](super::Event::Error).
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// `SyntaxError`: the URL, a subprotocol, or a close reason is none.
    Syntax(String),
    /// `InvalidAccessError`: a close code other than 1000 and 3000 to 4999.
    InvalidAccess {
        /// The code.
        code: u16,
    },
    /// `InvalidStateError`: a send before the connection is open.
    InvalidState,
    /// A header that is none, or that the handshake makes itself.
    Header {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The URL asks for TLS, and this was built without the feature `tls`.
    TlsNotBuilt {
        /// The URL's scheme, `wss` or `https`.
        scheme: String,
    },
    /// The settings make no sense, or the operating system has no event queue left.
    Loop(crate::error::Error),
    /// From another thread: too much waits already, or the connection's loop is gone.
    Remote(RemoteError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Syntax(what) => f.write_str(what),
            Error::InvalidAccess { code } => {
                write!(f, "close code {code} is not for programs to send: it must be 1000, or 3000 to 4999")
            }
            Error::InvalidState => f.write_str("the connection is not open yet: wait for Event::Open"),
            Error::Header { name, why } => write!(f, "header {name:?}: {why}"),
            Error::TlsNotBuilt { scheme } => {
                write!(f, "{scheme}: needs TLS, and this program was built without it (feature tls)")
            }
            Error::Loop(error) => error.fmt(f),
            Error::Remote(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Loop(error) => Some(error),
            Error::Remote(error) => Some(error),
            _ => None,
        }
    }
}
