//! Sockets, accepting and accepted: TCP, Unix-domain, or TCP under TLS, one type for the loop.

#[cfg(feature = "tls")]
use super::tls::{READ_BYTES_MIN, TlsServer, TlsSocket};
use crate::{config::Listen, engine::PeerInfo, error::Error};
use mio::{
    Interest, Registry, Token, event,
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use std::{
    fmt, fs,
    io::{self, IoSlice, IoSliceMut, Read as _, Write as _},
    net::{Shutdown, SocketAddr, ToSocketAddrs},
    os::{fd::OwnedFd, unix::fs::FileTypeExt},
    path::{Path, PathBuf},
};

/// The stream to one peer.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsSocket>),
}

/// What a read brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub(super) bytes: usize,
    /// The peer says that nothing more comes.
    pub(super) is_end: bool,
    /// There may be more that no event announces.
    pub(super) has_more: bool,
    /// It can be written to from now on, and could not be before.
    pub(super) is_writable: bool,
}

/// What sockets under TLS work in.
#[cfg(feature = "tls")]
pub(super) use super::tls::Room;
#[cfg(not(feature = "tls"))]
pub(super) type Room = ();

impl Socket {
    /// Once and for all: edges of both kinds, so that no wake costs another registration.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(self.source(), token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Until it is registered anew.
    pub(super) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(self.source())
    }

    fn source(&mut self) -> &mut dyn event::Source {
        match self {
            Socket::Tcp(stream) => stream,
            Socket::Unix(stream) => stream,
            #[cfg(feature = "tls")]
            Socket::Tls(socket) => &mut socket.stream,
        }
    }

    /// One read of what comes in front of TLS, where it is spoken.
    pub(super) fn read_raw(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(space),
            Socket::Unix(stream) => stream.read(space),
            #[cfg(feature = "tls")]
            Socket::Tls(socket) => socket.stream.read(space),
        }
    }

    /// Bytes that a read of at most `wanted` is to have room for.
    #[inline]
    pub(super) fn read_bytes(&self, wanted: usize) -> usize {
        match self {
            #[cfg(feature = "tls")]
            Socket::Tls(_) => wanted.max(READ_BYTES_MIN),
            _ => wanted,
        }
    }

    /// One read into `first` and behind it `second`, of which the first may be empty.
    #[inline]
    pub(super) fn read(&mut self, room: &mut Room, first: &mut [u8], second: &mut [u8]) -> io::Result<Read> {
        let _ = &room;
        let most = first.len() + second.len();
        let mut spaces = [IoSliceMut::new(first), IoSliceMut::new(second)];
        let bytes = match self {
            Socket::Tcp(stream) if spaces[0].is_empty() => stream.read(&mut spaces[1])?,
            Socket::Unix(stream) if spaces[0].is_empty() => stream.read(&mut spaces[1])?,
            Socket::Tcp(stream) => stream.read_vectored(&mut spaces)?,
            Socket::Unix(stream) => stream.read_vectored(&mut spaces)?,
            #[cfg(feature = "tls")]
            Socket::Tls(socket) => {
                let [first, second] = &mut spaces;
                return socket.read(room, first, second);
            }
        };
        // A short read has emptied the socket: asking again would only say so.
        Ok(Read { bytes, is_end: bytes == 0, has_more: bytes == most, is_writable: false })
    }

    #[inline]
    pub(super) fn write(&mut self, room: &mut Room, first: &[u8], second: &[u8]) -> io::Result<usize> {
        let _ = &room;
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        match self {
            Socket::Tcp(stream) if second.is_empty() => stream.write(first),
            Socket::Unix(stream) if second.is_empty() => stream.write(first),
            Socket::Tcp(stream) => stream.write_vectored(&slices),
            Socket::Unix(stream) => stream.write_vectored(&slices),
            #[cfg(feature = "tls")]
            Socket::Tls(socket) => socket.write(room, first, second),
        }
    }

    /// The socket takes bytes again: what waits here goes first.
    #[inline]
    pub(super) fn flush(&mut self) {
        #[cfg(feature = "tls")]
        if let Socket::Tls(socket) = self {
            let _ = socket.flush(); // the next read or write says what is wrong
        }
    }

    /// Tells the peer that nothing more comes. A socket that is gone already needs no telling.
    pub(super) fn shutdown_write(&mut self, room: &mut Room) {
        let _ = &room;
        let _ = match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
            #[cfg(feature = "tls")]
            Socket::Tls(socket) => {
                socket.shutdown_write(room);
                Ok(())
            }
        };
    }

    /// The socket is about to be dropped.
    pub(super) fn end(&mut self, room: &mut Room) {
        let _ = &room;
        #[cfg(feature = "tls")]
        if let Socket::Tls(socket) = self {
            socket.end(room);
        }
    }
}

/// What listeners of `tls:` show, if there is something.
#[cfg(feature = "tls")]
pub(super) type Shown = Option<TlsServer>;
#[cfg(not(feature = "tls"))]
pub(super) type Shown = Option<std::convert::Infallible>;

/// A listening socket.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener, Holder),
    Unix(UnixListener, PathBuf, Holder),
    #[cfg(feature = "tls")]
    Tls(TcpListener, TlsServer, Holder),
    /// One whose connections begin with a header of the PROXY protocol.
    OfProxies(Box<Listener>),
}

/// Who else a listener's connections can come to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Holder {
    /// Nobody: with the listener its backlog goes.
    Alone,
    /// The same, and it is open while the server drains: `Config::admin_listener`.
    Kept,
    /// Other sockets of the same address, `SO_REUSEPORT`: each has a backlog of its own, which goes with it.
    Group,
    /// Whoever passed the socket keeps it, and with it the backlog.
    Passed,
}

/// A socket that listens already, such as one that a supervisor passes, for `Server::bind_with`.
#[derive(Debug)]
pub enum ListeningSocket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A Unix-domain socket; its file stays when the server ends.
    Unix(std::os::unix::net::UnixListener),
    /// TCP, on which TLS is spoken: `Server::bind_tls_with`.
    Tls(std::net::TcpListener),
    /// One of those, on which each connection begins with a header of the PROXY protocol: `Listen::Proxied`.
    Proxied(Box<ListeningSocket>),
}

fn adopt_tcp(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
    Ok(TcpListener::from_std(listener))
}

/// Connections that wait to be accepted, at most. mio's own listener would have 128: too few for a burst.
const BACKLOG: i32 = 4096;

impl Listener {
    pub(super) fn bind(address: &str, reuse_port: bool, tls: &Shown) -> Result<Listener, Error> {
        let failed = |source| Error::Bind { address: address.to_owned(), source };
        let holder = if reuse_port { Holder::Group } else { Holder::Alone };
        let tcp = |listener| Listener::Tcp(listener, holder);
        match address.parse::<Listen>()? {
            Listen::Ip(ip) => bind_tcp(ip, holder).map(tcp).map_err(failed),
            Listen::Name(name) => bind_name(&name, holder).map(tcp).map_err(failed),
            Listen::Unix(path) => bind_unix(&path).map_err(failed),
            Listen::TlsIp(ip) => Listener::under_tls(address, holder, tls, || bind_tcp(ip, holder)),
            Listen::TlsName(name) => Listener::under_tls(address, holder, tls, || bind_name(&name, holder)),
            Listen::Proxied(_) if cfg!(not(feature = "proxy")) => {
                Err(Error::NoProxy { address: address.to_owned() })
            }
            Listen::Proxied(_) => {
                let inner = address.strip_prefix("proxy:").unwrap_or(address);
                Listener::bind(inner, reuse_port, tls).map(|inner| Listener::OfProxies(Box::new(inner)))
            }
        }
    }

    pub(super) fn is_of_proxies(&self) -> bool {
        matches!(self, Listener::OfProxies(_))
    }

    #[cfg_attr(not(feature = "tls"), allow(unused_variables, reason = "nothing is bound for it"))]
    fn under_tls(
        address: &str,
        holder: Holder,
        tls: &Shown,
        bind: impl FnOnce() -> io::Result<TcpListener>,
    ) -> Result<Listener, Error> {
        #[cfg(feature = "tls")]
        if let Some(tls) = tls {
            let bound = bind().map_err(|source| Error::Bind { address: address.to_owned(), source })?;
            return Ok(Listener::Tls(bound, tls.clone(), holder));
        }
        Err(Error::NoTls { address: address.to_owned() })
    }

    /// Takes over a socket that listens already.
    pub(super) fn adopt(socket: ListeningSocket, tls: &Shown) -> Result<Listener, Error> {
        match socket {
            ListeningSocket::Tcp(listener) => {
                Ok(Listener::Tcp(adopt_tcp(listener).map_err(Error::Loop)?, Holder::Passed))
            }
            ListeningSocket::Tls(listener) => {
                let address =
                    listener.local_addr().map_or_else(|_| String::new(), |address| address.to_string());
                let adopt = || adopt_tcp(listener);
                Listener::under_tls(&format!("tls:{address}"), Holder::Passed, tls, adopt)
            }
            ListeningSocket::Proxied(inner) => {
                let inner = Listener::adopt(*inner, tls)?;
                match cfg!(feature = "proxy") {
                    true => Ok(Listener::OfProxies(Box::new(inner))),
                    false => Err(Error::NoProxy { address: format!("proxy:{}", inner.local()) }),
                }
            }
            ListeningSocket::Unix(listener) => {
                listener.set_nonblocking(true).map_err(Error::Loop)?;
                let address = listener.local_addr().map_err(Error::Loop)?;
                let path = address.as_pathname().map(Path::to_owned).unwrap_or_default();
                Ok(Listener::Unix(UnixListener::from_std(listener), path, Holder::Passed))
            }
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(self.source(), token, Interest::READABLE)
    }

    /// Closing our descriptor would not do it: whoever passed the socket has another one.
    pub(super) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(self.source())
    }

    fn source(&mut self) -> &mut dyn event::Source {
        match self {
            Listener::Tcp(listener, _) => listener,
            Listener::Unix(listener, ..) => listener,
            #[cfg(feature = "tls")]
            Listener::Tls(listener, ..) => listener,
            Listener::OfProxies(inner) => inner.source(),
        }
    }

    /// The same, to stay open while the server drains, unless there are others at its address.
    pub(super) fn keep(&mut self) {
        let holder = match self {
            Listener::Tcp(_, holder) | Listener::Unix(_, _, holder) => holder,
            #[cfg(feature = "tls")]
            Listener::Tls(_, _, holder) => holder,
            Listener::OfProxies(inner) => return inner.keep(),
        };
        if *holder == Holder::Alone {
            *holder = Holder::Kept;
        }
    }

    pub(super) fn holder(&self) -> Holder {
        match self {
            Listener::Tcp(_, holder) | Listener::Unix(_, _, holder) => *holder,
            #[cfg(feature = "tls")]
            Listener::Tls(_, _, holder) => *holder,
            Listener::OfProxies(inner) => inner.holder(),
        }
    }

    /// From now on nobody begins to connect here; who has begun may still finish.
    ///
    /// The kernel assigns a connection to one listener of a group by its first SYN. When that listener is closed, those in
    /// its backlog are reset, and so are those whose handshake is not over. So its SYNs are dropped first: TCP sends them
    /// again after a second, when the listener is gone and another one of the group gets them.
    pub(super) fn turn_away(&self) -> io::Result<()> {
        match self {
            Listener::Tcp(listener, _) => turn_away(listener),
            Listener::Unix(..) => Ok(()),
            #[cfg(feature = "tls")]
            Listener::Tls(listener, ..) => turn_away(listener),
            Listener::OfProxies(inner) => inner.turn_away(),
        }
    }

    /// Accepts one connection: `number` is this listener's among `Config::listen`.
    pub(super) fn accept(&self, number: u16) -> io::Result<(Socket, PeerInfo)> {
        Ok(match self {
            Listener::OfProxies(inner) => return inner.accept(number),
            Listener::Tcp(listener, _) => {
                let (stream, address) = listener.accept()?;
                (Socket::Tcp(stream), PeerInfo { address: Some(address), listener: number })
            }
            Listener::Unix(listener, ..) => {
                let (stream, _) = listener.accept()?;
                (Socket::Unix(stream), PeerInfo { address: None, listener: number })
            }
            #[cfg(feature = "tls")]
            Listener::Tls(listener, tls, _) => {
                let (stream, address) = listener.accept()?;
                let socket = TlsSocket::server(stream, tls).map_err(io::Error::other)?;
                (Socket::Tls(Box::new(socket)), PeerInfo { address: Some(address), listener: number })
            }
        })
    }

    pub(super) fn local(&self) -> LocalAddress {
        match self {
            Listener::Tcp(listener, _) => {
                LocalAddress::Ip(listener.local_addr().expect("a bound socket has an address"))
            }
            Listener::Unix(_, path, _) => LocalAddress::Unix(path.clone()),
            #[cfg(feature = "tls")]
            Listener::Tls(listener, ..) => {
                LocalAddress::Tls(listener.local_addr().expect("a bound socket has an address"))
            }
            Listener::OfProxies(inner) => LocalAddress::Proxied(Box::new(inner.local())),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path, Holder::Alone | Holder::Kept) = self {
            let _ = fs::remove_file(path); // gone is as good
        }
    }
}

/// Where a server listens: what `Config::listen` came to, with the port that was asked for as 0.
///
/// Displays as `127.0.0.1:4863`, `tls:127.0.0.1:4863` or `unix:/run/sockeye.sock`, with `proxy:` in front where proxies come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LocalAddress {
    /// Address and port.
    Ip(SocketAddr),
    /// The path of a Unix-domain socket.
    Unix(PathBuf),
    /// Address and port, where TLS is spoken.
    Tls(SocketAddr),
    /// One of those, where each connection begins with a header of the PROXY protocol.
    Proxied(Box<LocalAddress>),
}

impl LocalAddress {
    /// Address and port, unless it is a Unix-domain socket.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            LocalAddress::Ip(address) | LocalAddress::Tls(address) => Some(*address),
            LocalAddress::Unix(_) => None,
            LocalAddress::Proxied(inner) => inner.ip(),
        }
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalAddress::Ip(address) => address.fmt(f),
            LocalAddress::Unix(path) => write!(f, "unix:{}", path.display()),
            LocalAddress::Tls(address) => write!(f, "tls:{address}"),
            LocalAddress::Proxied(inner) => write!(f, "proxy:{inner}"),
        }
    }
}

/// Options are set on the listener, whose connections inherit them: not a syscall for each.
fn bind_tcp(address: SocketAddr, holder: Holder) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(holder == Holder::Group)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Whether some socket listens on an address of this machine that none of ours does any more.
///
/// Asked by binding another one, which is gone at once: with SO_REUSEADDR connections do not stand in its way, but a
/// listener does. To connect would be noticed over there, and might wait.
pub(super) fn is_listened_on(address: SocketAddr) -> bool {
    let bind = || {
        let domain = socket2::Domain::for_address(address);
        let probe = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
        probe.set_reuse_address(true)?;
        probe.bind(&address.into())
    };
    bind().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// The first address of a name that can be listened on.
fn bind_name(name: &str, holder: Holder) -> io::Result<TcpListener> {
    let mut tried = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for ip in name.to_socket_addrs()? {
        tried = bind_tcp(ip, holder);
        if tried.is_ok() {
            break;
        }
    }
    tried
}

/// A program for the kernel that drops each segment that has SYN and not ACK, and takes all others.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn turn_away(listener: &TcpListener) -> io::Result<()> {
    use socket2::SockFilter;
    /// The byte of a TCP header that holds its flags, and of these SYN and ACK. RFC 9293 §3.1
    const FLAGS: u32 = 13;
    const SYN_ACK: u32 = 0x12;
    const SYN: u32 = 0x02;
    socket2::SockRef::from(listener).attach_filter(&[
        SockFilter::new(0x30, 0, 0, FLAGS),    // ldb: load the flags
        SockFilter::new(0x54, 0, 0, SYN_ACK),  // and
        SockFilter::new(0x15, 0, 1, SYN),      // jeq: SYN alone?
        SockFilter::new(0x06, 0, 0, 0),        // ret: drop
        SockFilter::new(0x06, 0, 0, u32::MAX), // ret: take all of it
    ])
}

/// Other kernels have no such program: who begins to connect before the listener is closed may be reset.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn turn_away(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

/// A socket file that nobody listens behind is left over from a process that ended badly, and replaced.
fn bind_unix(path: &Path) -> io::Result<Listener> {
    let address = socket2::SockAddr::unix(path)?;
    let new = || socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
    let socket = new()?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
            let probe = new()?;
            probe.set_nonblocking(true)?; // one whose backlog is full lives
            let is_dead =
                probe.connect(&address).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
            if !is_socket || !is_dead {
                return Err(error);
            }
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(Listener::Unix(UnixListener::from_std(OwnedFd::from(socket).into()), path.to_owned(), Holder::Alone))
}
