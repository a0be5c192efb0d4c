//! Sockets, accepting and accepted: TCP or Unix-domain, one type for the loop.

use crate::{config::Listen, engine::PeerInfo, error::Error};
use mio::{
    Interest, Registry, Token, event,
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use std::{
    fmt, fs,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    net::{Shutdown, SocketAddr, ToSocketAddrs},
    os::{fd::OwnedFd, unix::fs::FileTypeExt},
    path::{Path, PathBuf},
};

/// The stream to one peer.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Once and for all: edges of both kinds, so that no wake costs another registration.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let source: &mut dyn event::Source = match self {
            Socket::Tcp(stream) => stream,
            Socket::Unix(stream) => stream,
        };
        registry.register(source, token, Interest::READABLE | Interest::WRITABLE)
    }

    #[inline]
    pub(super) fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(space),
            Socket::Unix(stream) => stream.read(space),
        }
    }

    #[inline]
    pub(super) fn read_two(&mut self, first: &mut [u8], second: &mut [u8]) -> io::Result<usize> {
        let mut spaces = [IoSliceMut::new(first), IoSliceMut::new(second)];
        match self {
            Socket::Tcp(stream) => stream.read_vectored(&mut spaces),
            Socket::Unix(stream) => stream.read_vectored(&mut spaces),
        }
    }

    #[inline]
    pub(super) fn write(&mut self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        if second.is_empty() {
            return match self {
                Socket::Tcp(stream) => stream.write(first),
                Socket::Unix(stream) => stream.write(first),
            };
        }
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        match self {
            Socket::Tcp(stream) => stream.write_vectored(&slices),
            Socket::Unix(stream) => stream.write_vectored(&slices),
        }
    }

    /// Tells the peer that nothing more comes. A socket that is gone already needs no telling.
    pub(super) fn shutdown_write(&self) {
        let _ = match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

/// A listening socket.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// Connections that wait to be accepted, at most. mio's own listener would have 128: too few for a burst.
const BACKLOG: i32 = 4096;

impl Listener {
    pub(super) fn bind(address: &str) -> Result<Listener, Error> {
        let failed = |source| Error::Bind { address: address.to_owned(), source };
        match address.parse::<Listen>()? {
            Listen::Ip(ip) => bind_tcp(ip).map_err(failed),
            Listen::Name(name) => {
                let mut tried = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
                for ip in name.to_socket_addrs().map_err(failed)? {
                    tried = bind_tcp(ip);
                    if tried.is_ok() {
                        break;
                    }
                }
                tried.map_err(failed)
            }
            Listen::Unix(path) => bind_unix(&path).map_err(failed),
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => registry.register(listener, token, Interest::READABLE),
            Listener::Unix(listener, _) => registry.register(listener, token, Interest::READABLE),
        }
    }

    /// Accepts one connection: `number` is this listener's among `Config::listen`.
    pub(super) fn accept(&self, number: u16) -> io::Result<(Socket, PeerInfo)> {
        Ok(match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                (Socket::Tcp(stream), PeerInfo { address: Some(address), listener: number })
            }
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                (Socket::Unix(stream), PeerInfo { address: None, listener: number })
            }
        })
    }

    pub(super) fn local(&self) -> LocalAddress {
        match self {
            Listener::Tcp(listener) => {
                LocalAddress::Ip(listener.local_addr().expect("a bound socket has an address"))
            }
            Listener::Unix(_, path) => LocalAddress::Unix(path.clone()),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            let _ = fs::remove_file(path); // gone is as good
        }
    }
}

/// Where a server listens: what `Config::listen` came to, with the port that was asked for as 0.
///
/// Displays as `127.0.0.1:4863` or `unix:/run/sockeye.sock`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LocalAddress {
    /// Address and port.
    Ip(SocketAddr),
    /// The path of a Unix-domain socket.
    Unix(PathBuf),
}

impl LocalAddress {
    /// Address and port, unless it is a Unix-domain socket.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            LocalAddress::Ip(address) => Some(*address),
            LocalAddress::Unix(_) => None,
        }
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalAddress::Ip(address) => address.fmt(f),
            LocalAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Options are set on the listener, whose connections inherit them: not a syscall for each.
fn bind_tcp(address: SocketAddr) -> io::Result<Listener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(Listener::Tcp(TcpListener::from_std(socket.into())))
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
    Ok(Listener::Unix(UnixListener::from_std(OwnedFd::from(socket).into()), path.to_owned()))
}
