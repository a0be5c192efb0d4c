//! The operating system: mio, sockets, clock, entropy. The only layer that makes a syscall.

mod dial;
mod os;
mod remote;
mod resolve;
mod socket;
#[cfg(feature = "tls")]
mod tls;
mod turn;

pub use remote::{OwnedMessage, Remote, RemoteError};
pub use socket::{ListeningSocket, LocalAddress};
#[cfg(feature = "tls")]
pub use tls::{Certificate, TlsClient, TlsError, TlsServer};

use self::{
    dial::Dials,
    os::Clock,
    socket::{Holder, Listener, Room, Shown, Socket},
};
use crate::{
    config::Config,
    conn::Input,
    engine::{ConnId, Context, Engine, Handler},
    error::Error,
    time::{Now, Tick},
};
use mio::{Events, Poll, Token, Waker};
use std::io;

/// A server: sockets, a clock and an [`Engine`] on one thread.
///
/// ```no_run
/// use sockeye::{Config, ConnId, Context, Handler, Message, Server};
///
/// struct Echo;
/// impl Handler for Echo {
///     fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
///         cx.send(id, message);
///     }
/// }
/// fn main() -> Result<(), sockeye::Error> {
///     Server::bind(Config::new("127.0.0.1:9001"), Echo)?.run()
/// }
/// ```
pub struct Server<H> {
    engine: Engine<H>,
    poll: Poll,
    events: Events,
    listeners: Vec<Option<Listener>>,
    addresses: Vec<LocalAddress>,
    /// By the index of a connection.
    slots: Vec<Slot>,
    input: Input,
    /// What sockets under TLS work in.
    room: Room,
    /// Whom those trust that are dialled over TLS.
    #[cfg(feature = "tls")]
    tls_client: Option<TlsClient>,
    read_bytes_max: usize,
    /// To be read again although no event will say so.
    resumed: Vec<ConnId>,
    /// The list of the last turn, empty: the two take turns.
    resumed_before: Vec<ConnId>,
    /// Listeners to be accepted from again, and when: no event will say so.
    accept_at: Option<Tick>,
    dials: Dials,
    clock: Clock,
    now: Now,
    remote: Remote,
    stop: Stop,
    closing_ms_max: u32,
    descriptors_max: u32,
    connections_max: u32,
}

/// What the loop knows of one socket.
#[derive(Debug, Default)]
struct Slot {
    socket: Option<Socket>,
    /// It is on the list of those to be read again.
    resumed: bool,
    /// It was readable while the engine did not want it read.
    unread: bool,
    /// The peer has ended its direction: read up to that end, for no further edge will come.
    read_closed: bool,
    /// Writing failed, so; what came before is still read.
    write_failed: Option<io::ErrorKind>,
}

impl Slot {
    fn flush(&mut self) {
        if let Some(socket) = &mut self.socket {
            socket.flush();
        }
    }

    /// What was thought to speak TLS does not.
    #[cold]
    fn drop_tls(&mut self) {
        self.socket = match self.socket.take() {
            #[cfg(feature = "tls")]
            Some(Socket::Tls(socket)) => Some(Socket::Tcp(socket.stream)),
            socket => socket,
        };
    }
}

/// Room for what one read brings, which under TLS may be more.
fn input_bytes(read_bytes_max: usize) -> usize {
    #[cfg(feature = "tls")]
    let read_bytes_max = read_bytes_max.max(tls::READ_BYTES_MIN);
    read_bytes_max
}

#[derive(Clone, Copy, Debug)]
enum Stop {
    No,
    /// Connections live on until `by`. Listeners whose backlog is to be emptied stay until `unlisten`.
    Draining {
        unlisten: Option<Tick>,
        by: Tick,
    },
    /// Connections are closing; at this tick the rest is dropped.
    By(Tick),
    Done,
}

const WAKER: Token = Token(usize::MAX);
/// Listener `i` has this token less `i`.
const LISTENERS: usize = usize::MAX - 1;
/// Sockets there is room for from the start: so much address space, and no memory until they come.
const SLOTS: usize = 16 << 10;
/// Events taken per wake.
const EVENTS_MAX: usize = 1024;
/// Time for handshakes of TCP that have begun, in milliseconds. Before a second is over, SYNs that were dropped come again.
const UNLISTEN_MS: u32 = 500;

impl<H: Handler> Server<H> {
    /// Binds all addresses of `config`. Peers wait in the backlog until the first turn.
    ///
    /// Raises this process's limit on descriptors to its hard limit.
    ///
    /// # Errors
    /// When a limit makes no sense, or an address cannot be read or listened on.
    pub fn bind(config: Config, handler: H) -> Result<Server<H>, Error> {
        Server::bind_all(config, &None, handler, Vec::new())
    }

    /// The same, with `sockets` that listen already, as those of systemd's socket activation do. In
    /// [`Server::addresses`] and `PeerInfo::listener` they follow those of `Config::listen`, which may have none then.
    ///
    /// # Errors
    /// As [`Server::bind`], and when a socket cannot be used.
    pub fn bind_with(config: Config, handler: H, sockets: Vec<ListeningSocket>) -> Result<Server<H>, Error> {
        Server::bind_all(config, &None, handler, sockets)
    }

    /// As [`Server::bind`], with what addresses that begin with `tls:` show those who connect.
    ///
    /// What `Limits::handshake_ms_max` bounds is both handshakes together. Who speaks plain HTTP there is told so with 400;
    /// one connection too many is dropped without a word, for a handshake to refuse it in would cost more than it.
    /// A peer that takes nothing may have 80 KiB waiting for it beside what its outbox has.
    ///
    /// # Errors
    /// As [`Server::bind`].
    #[cfg(feature = "tls")]
    pub fn bind_tls(config: Config, tls: TlsServer, handler: H) -> Result<Server<H>, Error> {
        Server::bind_all(config, &Some(tls), handler, Vec::new())
    }

    /// [`Server::bind_tls`] and [`Server::bind_with`] in one. On `sockets` no TLS is spoken.
    ///
    /// # Errors
    /// As [`Server::bind_with`].
    #[cfg(feature = "tls")]
    pub fn bind_tls_with(
        config: Config,
        tls: TlsServer,
        handler: H,
        sockets: Vec<ListeningSocket>,
    ) -> Result<Server<H>, Error> {
        Server::bind_all(config, &Some(tls), handler, sockets)
    }

    fn bind_all(
        config: Config,
        tls: &Shown,
        handler: H,
        sockets: Vec<ListeningSocket>,
    ) -> Result<Server<H>, Error> {
        config.limits.validate()?;
        config.deflate.validate()?;
        let bound = config.listen.iter().map(|address| Listener::bind(address, config.reuse_port, tls));
        let adopted = sockets.into_iter().map(|socket| Listener::adopt(socket).map_err(Error::Loop));
        let listeners = bound.chain(adopted).collect::<Result<Vec<_>, _>>()?;
        if listeners.is_empty() {
            return Err(Error::NoAddress);
        }
        Server::with_listeners(config, handler, listeners)
    }

    /// A loop that listens nowhere, whatever `Config::listen` says: for programs that only dial.
    ///
    /// It runs until it is shut down, also while there is no connection: a program that has nothing more to do when its
    /// connections have ended calls `Context::shutdown` then, or turns the loop itself.
    ///
    /// Raises this process's limit on descriptors to its hard limit.
    ///
    /// # Errors
    /// When a limit makes no sense, or the operating system has no event queue left.
    pub fn unbound(config: Config, handler: H) -> Result<Server<H>, Error> {
        config.limits.validate()?;
        config.deflate.validate()?;
        Server::with_listeners(config, handler, Vec::new())
    }

    fn with_listeners(
        mut config: Config,
        handler: H,
        mut listeners: Vec<Listener>,
    ) -> Result<Server<H>, Error> {
        let descriptors_max = os::raise_descriptor_limit();
        let affordable = descriptors_max.saturating_sub(os::DESCRIPTORS_RESERVED).max(1);
        let limits = &mut config.limits;
        limits.connections_max = match limits.connections_max {
            0 => affordable,
            wanted => wanted.min(affordable),
        };
        if limits.buffered_bytes_max == 0 {
            limits.buffered_bytes_max = os::memory_bytes() / 4;
        }
        let poll = Poll::new().map_err(Error::Loop)?;
        for (i, listener) in listeners.iter_mut().enumerate() {
            listener.register(poll.registry(), Token(LISTENERS - i)).map_err(Error::Loop)?;
        }
        let waker = Waker::new(poll.registry(), WAKER).map_err(Error::Loop)?;
        let remote = Remote::new(waker, config.limits.remote_commands_max as usize);
        let mut clock = Clock::new();
        let now = clock.now();
        Ok(Server {
            engine: Engine::new(&config, handler, os::entropy),
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            addresses: listeners.iter().map(Listener::local).collect(),
            listeners: listeners.into_iter().map(Some).collect(),
            slots: Vec::with_capacity(SLOTS),
            input: Input::new(input_bytes(config.limits.read_bytes_max as usize)),
            room: Room::default(),
            #[cfg(feature = "tls")]
            tls_client: None,
            read_bytes_max: config.limits.read_bytes_max as usize,
            resumed: Vec::new(),
            resumed_before: Vec::new(),
            accept_at: None,
            dials: Dials::new(remote.clone()),
            clock,
            now,
            remote,
            stop: Stop::No,
            closing_ms_max: config.limits.closing_ms_max,
            descriptors_max,
            connections_max: config.limits.connections_max,
        })
    }

    /// Serves until it is shut down: by a handler, a [`Remote`], or [`Server::shutdown`].
    ///
    /// # Errors
    /// When the operating system's event queue fails.
    pub fn run(&mut self) -> Result<(), Error> {
        while self.turn(None)? {}
        Ok(())
    }

    /// Stops accepting, closes every connection with 1001, and gives the closing handshakes
    /// `Limits::closing_ms_max` from now; [`Server::turn`] is to be called until it says false.
    pub fn shutdown(&mut self) {
        if matches!(self.stop, Stop::No | Stop::Draining { .. }) {
            self.now = self.clock.now();
            self.stop = Stop::By(self.now.tick.after(self.closing_ms_max));
            self.unlisten(|_| true);
            self.accept_at = None;
            self.remote.end();
            self.engine.handle_shutdown(self.now);
            self.obey();
            self.flush();
        }
    }

    /// Leaves new connections to a successor, and serves those that are there until the last has ended, for `within_ms` at
    /// most, and then shuts down. For a process that is replaced:
    ///
    /// - a socket that was passed ([`Server::bind_with`]) is let go of at once. Its backlog stays with whoever passed it.
    /// - of an address that is shared (`Config::reuse_port`), those are accepted who have begun to connect: for half a
    ///   second, or half of `within_ms` where that is less. Who begins only now gets to the successor, after TCP has tried
    ///   again. (On Linux; on others they may be reset.)
    /// - any other address is let go of when all in its backlog are accepted.
    pub fn drain(&mut self, within_ms: u32) {
        if !matches!(self.stop, Stop::No) {
            return;
        }
        self.now = self.clock.now();
        let by = self.now.tick.after(within_ms);
        for number in 0..self.listeners.len() {
            self.accept_all(number, Holder::Alone);
        }
        self.unlisten(|listener| listener.holder() != Holder::Group);
        let shared = self.listeners.iter().flatten();
        // A kernel that cannot drop them resets a few.
        let shares = shared.map(Listener::turn_away).count() > 0;
        let unlisten = shares.then(|| self.now.tick.after((within_ms / 2).min(UNLISTEN_MS)));
        self.stop = Stop::Draining { unlisten, by };
    }

    /// Lets `act` do, between two turns, what a handler's call could: dial, for one. What it sends is written at once,
    /// as far as sockets take it.
    ///
    /// ```
    /// # use sockeye::{Config, ConnId, Context, Dial, Handler, Message, Server};
    /// # struct Quiet;
    /// # impl Handler for Quiet { fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {} }
    /// let mut server = Server::unbound(Config::default(), Quiet)?;
    /// let id = server.act(|_, cx| cx.dial(Dial::new("localhost", 9001)));
    /// assert_eq!(server.connections(), 1);
    /// # Ok::<(), sockeye::Error>(())
    /// ```
    pub fn act<R>(&mut self, act: impl FnOnce(&mut H, &mut Context<'_>) -> R) -> R {
        self.now = self.clock.now();
        let result = self.engine.act(self.now, act);
        self.obey();
        self.flush();
        result
    }

    /// Whom connections trust that are dialled over TLS from now on, and what they show. Without this it is
    /// `TlsClient::from_system`, which the first of them reads, while the others wait.
    #[cfg(feature = "tls")]
    pub fn dial_tls_as(&mut self, tls: TlsClient) {
        self.tls_client = Some(tls);
    }

    /// A handle for other threads.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Where it listens, in the order of `Config::listen`.
    pub fn addresses(&self) -> &[LocalAddress] {
        &self.addresses
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        self.engine.handler()
    }

    /// The handler, to change it between two turns.
    pub fn handler_mut(&mut self) -> &mut H {
        self.engine.handler_mut()
    }

    /// Bytes that were written out of all queues since the start.
    #[cfg(feature = "client")]
    pub(crate) fn transmitted_bytes(&self) -> u64 {
        self.engine.transmitted_bytes()
    }

    /// Connections at the moment, those included that only end.
    pub fn connections(&self) -> usize {
        self.engine.connections()
    }

    /// Calls of the handler that panicked: see [`Handler`]. Each ended the connection it was about, if any.
    pub fn panics(&self) -> u64 {
        self.engine.panics()
    }

    /// Open descriptors this process may have, after the limit was raised.
    pub fn descriptors_max(&self) -> u32 {
        self.descriptors_max
    }

    /// Connections it takes at a time: `Limits::connections_max`, or what the descriptors allow.
    pub fn connections_max(&self) -> u32 {
        self.connections_max
    }
}

impl<H> Drop for Server<H> {
    fn drop(&mut self) {
        self.remote.end();
    }
}
