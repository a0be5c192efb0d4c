//! What can go wrong before a peer is involved: settings, addresses, the operating system.

use crate::config::{InvalidLimit, InvalidListen};
use std::{fmt, io};

/// Why a server could not be bound or run on. Faults of peers are not errors: they end one connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A limit makes no sense.
    Limit(InvalidLimit),
    /// An address cannot be read.
    Listen(InvalidListen),
    /// There is nothing to listen on.
    NoAddress,
    /// An address cannot be listened on.
    Bind {
        /// The address, as configured.
        address: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// An address asks for TLS, and there is nothing to show those who connect.
    NoTls {
        /// The address, as configured.
        address: String,
    },
    /// An address is for proxies that speak the PROXY protocol, which is not built in.
    NoProxy {
        /// The address, as configured.
        address: String,
    },
    /// The event loop failed.
    Loop(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Limit(error) => error.fmt(f),
            Error::Listen(error) => error.fmt(f),
            Error::NoAddress => f.write_str("Config::listen is empty: give at least one address"),
            Error::Bind { address, source } => {
                let cure = match source.kind() {
                    io::ErrorKind::AddrInUse => {
                        ": something listens there already; stop it or choose another port"
                    }
                    io::ErrorKind::PermissionDenied => ": ports below 1024 and some paths need privileges",
                    io::ErrorKind::AddrNotAvailable => ": no interface of this machine has that address",
                    _ => "",
                };
                write!(f, "cannot listen on {address}: {source}{cure}")
            }
            Error::NoTls { address } => write!(
                f,
                "cannot listen on {address}: TLS needs a certificate and its key (Server::bind_tls, feature tls)"
            ),
            Error::NoProxy { address } => {
                write!(f, "cannot listen on {address}: the PROXY protocol is not built in (feature proxy)")
            }
            Error::Loop(source) => write!(f, "the event loop failed: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Limit(error) => Some(error),
            Error::Listen(error) => Some(error),
            Error::NoAddress | Error::NoTls { .. } | Error::NoProxy { .. } => None,
            Error::Bind { source, .. } | Error::Loop(source) => Some(source),
        }
    }
}

impl From<InvalidLimit> for Error {
    fn from(error: InvalidLimit) -> Error {
        Error::Limit(error)
    }
}

impl From<InvalidListen> for Error {
    fn from(error: InvalidListen) -> Error {
        Error::Listen(error)
    }
}
