//! Dialling: a host becomes addresses, and of these the first that connects becomes the socket of the connection.
//! RFC 8305, in its simplest form.

#[cfg(feature = "tls")]
use super::tls::{TlsClient, TlsSocket};
use super::{
    Server, Slot,
    remote::Remote,
    resolve::{Resolver, interleave},
    socket::Socket,
};
use crate::{
    engine::{ConnId, DialError, Endpoint, Handler, Lost},
    time::Tick,
};
use mio::{Interest, Registry, Token, net::TcpStream};
use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
};

/// Attempt `i` has this token plus `i`: far above all connections and far below all listeners.
pub(super) const DIALS: usize = usize::MAX / 2;
/// An address that has not answered for so long is not waited for alone. RFC 8305 §5
const HEAD_START_MS: u32 = 250;
/// Addresses of a host that are tried, at most: each may hold a descriptor.
const ADDRESSES_MAX: usize = 16;

/// All dials of a loop that are not connected yet.
#[derive(Debug)]
pub(super) struct Dials {
    /// To be begun in the next turn: who dials again as soon as he is told of a failure does not keep the loop.
    waiting: Vec<ConnId>,
    races: HashMap<ConnId, Race>,
    attempts: Vec<Option<Attempt>>,
    free: Vec<usize>,
    /// When the next address of a dial is tried though the one before may still answer; in order of time.
    starts: VecDeque<(Tick, ConnId)>,
    resolver: Resolver,
}

/// A dial: what is left to try, and what is being tried.
#[derive(Debug)]
struct Race {
    left: VecDeque<SocketAddr>,
    local: Option<IpAddr>,
    /// By their place in [`Dials::attempts`].
    running: Vec<usize>,
    /// When the next one starts, unless one fails before.
    start_at: Option<Tick>,
    failure: Option<(SocketAddr, io::Error)>,
}

#[derive(Debug)]
struct Attempt {
    id: ConnId,
    address: SocketAddr,
    stream: TcpStream,
}

impl Dials {
    pub(super) fn new(remote: Remote) -> Dials {
        Dials {
            waiting: Vec::new(),
            races: HashMap::new(),
            attempts: Vec::new(),
            free: Vec::new(),
            starts: VecDeque::new(),
            resolver: Resolver::new(remote),
        }
    }

    /// For [`Command::Dial`](crate::engine::Command::Dial).
    pub(super) fn push(&mut self, id: ConnId) {
        self.waiting.push(id);
    }

    /// Forgets `id`: it is open, has failed, or is not wanted any more.
    pub(super) fn forget(&mut self, id: ConnId) {
        self.resolver.forget(id);
        if let Some(race) = self.races.remove(&id) {
            race.running.into_iter().for_each(|place| {
                self.take(place);
            });
            if self.races.is_empty() {
                // The tables that grew with a crowd of dials go with it; nobody has a place in them.
                (self.races, self.attempts, self.free) = (HashMap::new(), Vec::new(), Vec::new());
                self.starts = VecDeque::new();
            }
        }
    }

    /// Whether there is something to do at once.
    pub(super) fn is_ready(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When the next address of some dial is tried.
    pub(super) fn next(&self) -> Option<Tick> {
        self.starts.front().map(|&(at, _)| at)
    }

    /// Takes an attempt out; dropping it closes its socket.
    fn take(&mut self, place: usize) -> Option<Attempt> {
        let attempt = self.attempts.get_mut(place)?.take()?;
        self.free.push(place);
        Some(attempt)
    }

    /// Tries addresses of `id` until one does not fail at once; why, if none is left and none runs.
    fn start(&mut self, registry: &Registry, now: Tick, id: ConnId) -> Result<(), Option<DialError>> {
        let Some(race) = self.races.get_mut(&id) else { return Ok(()) };
        race.start_at = None;
        while let Some(address) = race.left.pop_front() {
            let place = self.free.pop().unwrap_or_else(|| {
                self.attempts.push(None);
                self.attempts.len() - 1
            });
            match connect(address, race.local, registry, Token(DIALS + place)) {
                Ok(stream) => {
                    self.attempts[place] = Some(Attempt { id, address, stream });
                    race.running.push(place);
                    if !race.left.is_empty() {
                        let at = now.after(HEAD_START_MS);
                        race.start_at = Some(at);
                        self.starts.push_back((at, id));
                    }
                    return Ok(());
                }
                Err(error) => {
                    self.free.push(place);
                    race.failed(address, error);
                }
            }
        }
        if race.running.is_empty() { Err(race.error()) } else { Ok(()) }
    }
}

impl Race {
    fn failed(&mut self, address: SocketAddr, error: io::Error) {
        // An address that answered, if only to refuse, says more than one that this machine has no way to.
        let tells = |error: &io::Error| match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => 2,
            io::ErrorKind::TimedOut => 1,
            _ => 0,
        };
        if self.failure.as_ref().is_none_or(|(_, before)| tells(&error) >= tells(before)) {
            self.failure = Some((address, error));
        }
    }

    fn error(&mut self) -> Option<DialError> {
        let (address, error) = self.failure.take()?;
        Some(DialError::Connect { address, kind: error.kind(), why: error.to_string() })
    }
}

impl<H: Handler> Server<H> {
    /// Begins what was dialled since the last turn, takes the resolver's answers, and starts addresses whose time
    /// has come.
    pub(super) fn advance_dials(&mut self) {
        for id in std::mem::take(&mut self.dials.waiting) {
            self.begin_dial(id);
        }
        while let Some((id, found)) = self.dials.resolver.next() {
            match found {
                Ok(addresses) => self.race(id, addresses),
                Err(why) => {
                    let Some(endpoint) = self.engine.endpoint(id) else { continue };
                    let error = DialError::Resolve { host: endpoint.host.clone(), why };
                    self.dial_failed(id, &error);
                }
            }
        }
        while let Some(&(at, id)) = self.dials.starts.front()
            && at <= self.now.tick
        {
            self.dials.starts.pop_front();
            if self.dials.races.get(&id).is_some_and(|race| race.start_at == Some(at)) {
                self.start_next(id);
            }
        }
    }

    fn begin_dial(&mut self, id: ConnId) {
        let Some(Endpoint { host, port, .. }) = self.engine.endpoint(id) else { return };
        let port = *port;
        match known_addresses(host, port) {
            Some(addresses) => self.race(id, addresses),
            None => {
                let host = host.clone();
                self.dials.resolver.ask(id, host, port);
            }
        }
    }

    fn race(&mut self, id: ConnId, addresses: Vec<SocketAddr>) {
        let Some(endpoint) = self.engine.endpoint(id) else { return };
        let (local, host) = (endpoint.local, endpoint.host.clone());
        let is_possible =
            |address: &SocketAddr| local.is_none_or(|local| local.is_ipv4() == address.is_ipv4());
        let left: VecDeque<_> =
            interleave(addresses).into_iter().filter(is_possible).take(ADDRESSES_MAX).collect();
        if left.is_empty() {
            let why = match local {
                Some(local) => format!("it has no address of the same family as {local}"),
                None => "it has no address".to_owned(),
            };
            return self.dial_failed(id, &DialError::Resolve { host, why });
        }
        let race = Race { left, local, running: Vec::new(), start_at: None, failure: None };
        self.dials.races.insert(id, race);
        self.start_next(id);
    }

    fn start_next(&mut self, id: ConnId) {
        if let Err(Some(error)) = self.dials.start(self.poll.registry(), self.now.tick, id) {
            self.dial_failed(id, &error);
        }
    }

    /// Something happened to the attempt at `place`: it is connected, has failed, or neither.
    pub(super) fn dial_ready(&mut self, place: usize) {
        let Some(Some(attempt)) = self.dials.attempts.get(place) else { return };
        let id = attempt.id;
        let outcome = match attempt.stream.take_error() {
            Ok(Some(error)) | Err(error) => Err(error),
            Ok(None) => attempt.stream.peer_addr(),
        };
        match outcome {
            Ok(_) => self.connected(place),
            // An event of a socket that had this place before.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
            Err(error) => {
                let Some(Attempt { address, .. }) = self.dials.take(place) else { return };
                if let Some(race) = self.dials.races.get_mut(&id) {
                    race.running.retain(|&running| running != place);
                    race.failed(address, error);
                    self.start_next(id);
                }
            }
        }
    }

    /// The first that connects wins: its socket becomes the connection's, and the others are dropped.
    fn connected(&mut self, place: usize) {
        let Some(Attempt { id, address, mut stream }) = self.dials.take(place) else { return };
        let host = self.engine.endpoint(id).filter(|endpoint| endpoint.tls).map(|to| to.host.clone());
        self.dials.forget(id);
        let interest = Interest::READABLE | Interest::WRITABLE;
        // What came meanwhile is told again: a new registration makes a new edge.
        if let Err(error) = self.poll.registry().reregister(&mut stream, Token(id.index()), interest) {
            return self.dial_failed(id, &DialError::Lost(Lost::Io(error.kind())));
        }
        let socket = match host {
            None => Ok(Socket::Tcp(stream)),
            Some(host) => self.under_tls(stream, &host),
        };
        match socket {
            Ok(socket) => {
                *self.slot(id) = Slot { socket: Some(socket), ..Slot::default() };
                self.engine.handle_connected(self.now, id, address);
            }
            Err(why) => self.dial_failed(id, &DialError::Tls { why }),
        }
    }

    /// The handshake is begun: what is to be sent waits until it is over.
    #[cfg(feature = "tls")]
    fn under_tls(&mut self, stream: TcpStream, host: &str) -> Result<Socket, String> {
        let tls = match self.tls_client.take() {
            Some(tls) => tls,
            None => TlsClient::from_system().map_err(|error| error.to_string())?,
        };
        let socket = TlsSocket::client(stream, &tls, host).map_err(|error| error.to_string());
        self.tls_client = Some(tls);
        let mut socket = socket?;
        socket.greet(&mut self.room);
        Ok(Socket::Tls(Box::new(socket)))
    }

    #[cfg(not(feature = "tls"))]
    fn under_tls(&mut self, _: TcpStream, _: &str) -> Result<Socket, String> {
        Err("this program was built without it (feature tls)".to_owned())
    }

    fn dial_failed(&mut self, id: ConnId, error: &DialError) {
        self.engine.handle_dial_failed(self.now, id, error);
        self.obey();
    }
}

/// A socket that connects. Its options are set before, so that they hold from the first segment on.
fn connect(
    address: SocketAddr,
    local: Option<IpAddr>,
    registry: &Registry,
    token: Token,
) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(local) = local {
        socket.bind(&SocketAddr::new(local, 0).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    let mut stream = TcpStream::from_std(socket.into());
    registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}

/// The addresses of a host that nobody has to be asked for: it is one, or it is this machine. RFC 6761 §6.3
fn known_addresses(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse() {
        return Some(vec![SocketAddr::new(ip, port)]);
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_this_machine = name == "localhost" || name.ends_with(".localhost");
    let loopback = [IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)];
    is_this_machine.then(|| loopback.map(|ip| SocketAddr::new(ip, port)).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_this_machine_are_known_without_asking() {
        let known = |host| known_addresses(host, 80).unwrap_or_default();
        assert_eq!(known("127.0.0.9"), ["127.0.0.9:80".parse().unwrap()]);
        assert_eq!(known("::1"), ["[::1]:80".parse().unwrap()]);
        let both: [SocketAddr; 2] = ["[::1]:80".parse().unwrap(), "127.0.0.1:80".parse().unwrap()];
        assert_eq!(known("localhost"), both);
        assert_eq!(known("a.LOCALHOST."), both);
        assert_eq!(known("localhost.example"), []);
    }

    #[test]
    fn the_failure_that_tells_most_is_the_one_told() {
        let [v6, v4]: [SocketAddr; 2] = ["[::1]:80".parse().unwrap(), "127.0.0.1:80".parse().unwrap()];
        let mut race =
            Race { left: VecDeque::new(), local: None, running: vec![], start_at: None, failure: None };
        race.failed(v4, io::ErrorKind::ConnectionRefused.into());
        race.failed(v6, io::ErrorKind::NetworkUnreachable.into());
        let Some(DialError::Connect { address, kind, .. }) = race.error() else { panic!("{race:?}") };
        assert_eq!((address, kind), (v4, io::ErrorKind::ConnectionRefused));
    }
}
