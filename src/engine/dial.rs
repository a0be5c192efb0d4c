//! Connections that this end asks for: whom to dial, what can go wrong before they are open, and the engine's part
//! of it. Names are resolved and sockets connected by whoever drives the engine.

use super::{Command, ConnId, Core, Engine, Handler, Lost, PeerInfo, core::Doom, peers::flag};
use crate::{
    conn::{ClientRequest, Connection, Fault, Head, Input},
    time::Now,
    wire::{handshake::ResponseError, response::Response},
};
use std::{
    fmt, io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// Whom to dial, and what to ask for.
///
/// ```
/// use sockeye::Dial;
/// let mut dial = Dial::new("example.com", 8080);
/// dial.request.target = "/chat?room=1".to_owned();
/// dial.request.subprotocols = vec!["chat".to_owned()];
/// assert_eq!(dial.request.host, "example.com:8080");
/// assert_eq!(Dial::new("::1", 80).request.host, "[::1]");
/// ```
#[derive(Clone, Debug)]
pub struct Dial {
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether TLS is spoken, to a server that shows that it is `host`. Default false. Needs the feature `tls`.
    pub tls: bool,
    /// The address of this machine to dial from. Default: the one that the operating system chooses.
    pub local: Option<IpAddr>,
    /// What is asked of the server. Its `host` is what it is told, and not where it is looked for.
    pub request: ClientRequest,
}

impl Dial {
    /// The path `/` of `host`, a name or an IP address without brackets.
    pub fn new(host: impl Into<String>, port: u16) -> Dial {
        let host = host.into();
        let mut authority = host.clone();
        if host.parse::<Ipv6Addr>().is_ok() {
            authority = format!("[{host}]");
        }
        // RFC 6455 §4.1 item 4: the port is named where it is not the default one.
        if port != 80 {
            authority = format!("{authority}:{port}");
        }
        let request = ClientRequest { host: authority, ..ClientRequest::default() };
        Dial { host, port, tls: false, local: None, request }
    }
}

/// Why a connection that was dialled could not be opened.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DialError {
    /// The name has no address, or nobody could be asked.
    Resolve {
        /// The name.
        host: String,
        /// What the resolver says.
        why: String,
    },
    /// No address of the host could be connected to.
    Connect {
        /// The address that failed in the most telling way.
        address: SocketAddr,
        /// How.
        kind: io::ErrorKind,
        /// What the operating system says.
        why: String,
    },
    /// TLS could not be set up with the server: it shows no certificate that is trusted, or not for this host.
    Tls {
        /// What is wrong.
        why: String,
    },
    /// Resolving, connecting and the opening handshake took longer than `Limits::handshake_ms_max` together.
    Timeout {
        /// The limit.
        limit_ms: u32,
        /// It was connected, and the answer did not come.
        connected: bool,
    },
    /// The server's answer is not one that opens a connection. RFC 6455 §4.1
    Response(ResponseError),
    /// The connection was lost before the answer was whole.
    Lost(Lost),
    /// A limit of ours was reached meanwhile.
    Fault(Fault),
    /// `Limits::connections_max` connections are there already.
    TooMany {
        /// The limit.
        limit: u32,
    },
    /// The handler closed it.
    Closed,
    /// The handler panicked on its request.
    Panic,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Resolve { host, why } => write!(f, "cannot find the host {host}: {why}"),
            DialError::Connect { address, kind, why } => {
                let cure = match kind {
                    io::ErrorKind::ConnectionRefused => ": nothing listens there",
                    io::ErrorKind::AddrNotAvailable => {
                        ": that address is not to be had, or this one has no free port left to dial from"
                    }
                    _ => "",
                };
                write!(f, "cannot connect to {address}: {why}{cure}")
            }
            DialError::Tls { why } => write!(f, "no TLS with the server: {why}"),
            DialError::Timeout { limit_ms, connected: false } => {
                write!(f, "there was no connection to the server within {limit_ms} ms (handshake_ms_max)")
            }
            DialError::Timeout { limit_ms, connected: true } => {
                write!(
                    f,
                    "the server took the connection and did not answer within {limit_ms} ms (handshake_ms_max)"
                )
            }
            DialError::Response(error) => error.fmt(f),
            DialError::Lost(Lost::Eof) => f.write_str("the server ended the connection without an answer"),
            DialError::Lost(Lost::Stopped) => f.write_str("this end stopped before the server answered"),
            DialError::Lost(how) => write!(f, "the connection was lost before the server answered: {how}"),
            DialError::Fault(fault) => fault.fmt(f),
            DialError::TooMany { limit } => {
                write!(f, "there are {limit} connections already, as many as there may be (connections_max)")
            }
            DialError::Closed => f.write_str("it was closed before it was open"),
            DialError::Panic => f.write_str("this end failed"),
        }
    }
}

impl std::error::Error for DialError {}

/// Where a connection that was dialled is to lead.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// The address to dial from, where it matters.
    pub local: Option<IpAddr>,
}

/// What is known of a dialled connection that has no socket yet.
#[derive(Debug)]
pub(super) enum Dialling {
    To(Endpoint),
    /// It is not even tried. Its handler is told when time is looked after, and not at once: who dials again when it
    /// is told would keep the loop for itself.
    Refused(DialError),
}

impl Core {
    pub(super) fn dial(&mut self, now: Now, dial: Dial) -> ConnId {
        let Dial { host, port, tls, local, request } = dial;
        let limit = self.commons.limits.connections_max;
        self.statistics.dials.begun += 1;
        let dialling = if self.stopping {
            Dialling::Refused(DialError::Lost(Lost::Stopped))
        } else if self.is_full() {
            Dialling::Refused(DialError::TooMany { limit })
        } else {
            Dialling::To(Endpoint { host, port, tls, local })
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let connection = Connection::client(now, request, &mut self.commons, &mut scratch);
        let id = self.peers.insert(connection, PeerInfo { address: None, listener: PeerInfo::DIALLED });
        self.peers[id.index].flags.set(flag::DIALLED | flag::BLOCKED, true);
        if let Dialling::To(_) = dialling {
            self.queue_bytes(id.index, &scratch);
            self.peers[id.index].outbox.begin_with_all();
            self.commands.push_back(Command::Dial(id));
            self.schedule(now, id.index);
        } else {
            self.refused += 1;
            self.peers[id.index].flags.set(flag::REFUSED, true);
            self.wheel.schedule(id.index, now.tick.after(1), now.tick);
        }
        self.keep_scratch(scratch);
        self.dialling.insert(id.index, dialling);
        id
    }

    /// Whether it was dialled only to be told that it is one too many.
    pub(super) fn is_dial_refused(&self, index: u32) -> bool {
        let flags = self.peers[index].flags;
        flags.has(flag::DIALLED) && flags.has(flag::REFUSED)
    }

    /// Gives up a connection that is not open yet: `on_dial_failed` follows. False if it is none that was dialled.
    pub(super) fn close_dialled(&mut self, index: u32) -> bool {
        let owed = self.peers[index].flags.has(flag::DIALLED);
        if owed {
            self.doom(index, Doom::Dial(DialError::Closed));
        }
        owed
    }
}

impl<H: Handler> Engine<H> {
    /// Where to connect `id` to, on [`Command::Dial`]; `None` if that is not wanted any more.
    pub fn endpoint(&self, id: ConnId) -> Option<&Endpoint> {
        let index =
            self.core.peers.find(id).filter(|&index| self.core.peers[index].flags.has(flag::DIALLED))?;
        match self.core.dialling.get(&index)? {
            Dialling::To(endpoint) => Some(endpoint),
            Dialling::Refused(_) => None,
        }
    }

    /// The socket of `id` is connected to `address`: its request can be written.
    pub fn handle_connected(&mut self, now: Now, id: ConnId, address: SocketAddr) {
        let Some(index) = self.core.peers.find(id) else { return };
        self.core.dialling.remove(&index);
        self.core.peers.set_address(index, address);
        let (head, _) = self.core.peers[index].outbox.slices(&self.core.log);
        let head = head.to_vec(); // it stands in the core, which the call is lent
        self.call(now, index, |handler, _| handler.on_request(id, &head));
        self.settle(now);
        self.handle_writable(id);
    }

    /// `id` could not be connected.
    pub fn handle_dial_failed(&mut self, now: Now, id: ConnId, error: &DialError) {
        let Some(index) = self.core.peers.find(id) else { return };
        self.dial_failed(now, index, error);
        self.settle(now);
    }

    /// The server that was dialled did not accept, or not as it should.
    pub(super) fn refused(
        &mut self,
        now: Now,
        index: u32,
        error: ResponseError,
        head: Option<Head>,
        input: &Input,
    ) {
        let kept = self.core.peers[index].conn.take_head();
        let bytes = match &head {
            Some(Head::Input(range)) => input.get(range.clone()),
            Some(Head::Kept(len)) => &kept[..*len],
            None => &[],
        };
        if let Ok(response) = Response::parse(bytes, self.core.commons.limits.headers_max) {
            let id = self.core.peers.id(index);
            self.call(now, index, |handler, cx| handler.on_refusal(cx, id, &response));
        }
        self.core.commons.pool.give(kept);
        self.dial_failed(now, index, &DialError::Response(error));
    }

    /// The server that was dialled accepted.
    pub(super) fn dialled(&mut self, now: Now, index: u32, head: Head, input: &Input) {
        let kept = self.core.peers[index].conn.take_head();
        let bytes = match &head {
            Head::Input(range) => input.get(range.clone()),
            Head::Kept(len) => &kept[..*len],
        };
        let response = Response::parse(bytes, self.core.commons.limits.headers_max)
            .expect("the connection has read the same head");
        self.core.peers[index].flags.set(flag::DIALLED, false);
        self.core.statistics.dials.opened += 1;
        let id = self.core.peers.id(index);
        let called = self.call(now, index, |handler, cx| handler.on_response(cx, id, &response));
        self.core.commons.pool.give(kept);
        if called.is_none() {
            // The server has accepted: it is told 1011, and the handler of the end, as of any.
            self.core.doom(index, Doom::Panic);
        }
        self.opened(now, index);
    }

    /// Tells the handler that a dialled connection will not be open, once. False if it is none, or is open.
    pub(super) fn dial_failed(&mut self, now: Now, index: u32, error: &DialError) -> bool {
        if !self.core.peers[index].flags.replace(flag::DIALLED, false) {
            return false;
        }
        self.core.statistics.dials.failed += 1;
        self.core.dialling.remove(&index);
        self.core.abandon(now, index);
        let id = self.core.peers.id(index);
        self.call(now, index, |handler, cx| handler.on_dial_failed(cx, id, error));
        true
    }

    /// A dialled connection's time is up, or it was never to be tried.
    pub(super) fn dial_expired(&mut self, now: Now, index: u32) {
        let limit_ms = self.core.commons.limits.handshake_ms_max;
        let error = match self.core.dialling.remove(&index) {
            Some(Dialling::Refused(error)) => error,
            Some(Dialling::To(_)) => DialError::Timeout { limit_ms, connected: false },
            None => DialError::Timeout { limit_ms, connected: true },
        };
        self.dial_failed(now, index, &error);
    }
}
