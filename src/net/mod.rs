//! The operating system: mio, sockets, clock, entropy. The only layer that makes a syscall.

mod dial;
mod os;
mod proxy;
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
    proxy::Arrivals,
    socket::{Holder, Listener, Room, Shown, Socket},
};
use crate::{
    config::{Config, Keepalive, Limits},
    conn::Input,
    engine::{ConnId, Context, Engine, Handler, Queues, Statistics},
    error::Error,
    time::{Now, Tick},
};
use mio::{Events, Poll, Token, Waker};
use std::{io, time::Duration};

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
    /// To be read in the next turn, in this order, because this one has had enough of what is costly.
    put_off: Vec<ConnId>,
    /// What had been costly when this turn began.
    costly_bytes_before: u64,
    /// Listeners to be accepted from again, and when: no event will say so.
    accept_at: Option<Tick>,
    dials: Dials,
    arrivals: Arrivals,
    clock: Clock,
    now: Now,
    remote: Remote,
    stop: Stop,
    /// Whether somebody else serves who connects there, by the number of a listener that was let go of.
    taken_over: Vec<bool>,
    /// Connections that are read out before they are closed.
    reading_out: usize,
    drain_ms: u32,
    closing_ms_max: u32,
    descriptors_max: u32,
    connections_max: u32,
}

/// What the loop knows of one socket.
#[derive(Debug, Default)]
struct Slot {
    socket: Option<Socket>,
    /// It is on a list of those to be read again.
    resumed: bool,
    /// It was readable while the engine did not want it read.
    unread: bool,
    /// The peer has ended its direction: read up to that end, for no further edge will come.
    read_closed: bool,
    /// Writing failed, so; what came before is still read.
    write_failed: Option<io::ErrorKind>,
    /// It is to be closed when all is read that has come, or so much of it as this many reads bring.
    reads_left: u8,
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
    /// Connections are closed in turn until `by`. Before that, listeners whose backlog is to be emptied stay until
    /// `unlisten`.
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

    /// [`Server::bind_tls`] and [`Server::bind_with`] in one. Of `sockets`, TLS is spoken on those that say so.
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
        let bound = config.listen.iter().enumerate().map(|(number, address)| {
            let is_kept = config.admin_listener.is_some_and(|admin| usize::from(admin) == number);
            let mut listener = Listener::bind(address, config.reuse_port, tls)?;
            if is_kept {
                listener.keep();
            }
            Ok(listener)
        });
        let adopted = sockets.into_iter().map(|socket| Listener::adopt(socket, tls));
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
        resolve(&mut config.limits, descriptors_max);
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
            put_off: Vec::new(),
            costly_bytes_before: 0,
            accept_at: None,
            dials: Dials::new(remote.clone()),
            arrivals: Arrivals::new(config.limits.clamped().handshake_ms_max),
            clock,
            now,
            remote,
            stop: Stop::No,
            taken_over: Vec::new(),
            reading_out: 0,
            drain_ms: config.limits.drain_ms,
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
        self.run_with(None, |_| {})
    }

    /// The same, and after each turn of the loop calls `turned`. A turn waits at most `timeout` (`None`: as long as it takes)
    /// for something to do. That is [`Server::turn`] in a loop, with one reading of the clock less: what `turned` takes the
    /// timers do not see, so it is to be short.
    ///
    /// # Errors
    /// As [`Server::run`].
    pub fn run_with(
        &mut self,
        timeout: Option<Duration>,
        mut turned: impl FnMut(&mut Server<H>),
    ) -> Result<(), Error> {
        let mut goes_on = self.turn(timeout)?;
        while goes_on {
            turned(self);
            goes_on = self.turn_on(timeout)?;
        }
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
            self.arrivals.clear();
            self.remote.end();
            self.engine.handle_shutdown(self.now);
            self.obey();
            self.flush();
        }
    }

    /// Leaves new connections to a successor, closes those that are there in turn, all within `within_ms` from now, and
    /// then shuts down: for a process that ends or is replaced. `Limits::drain_ms` is a time that suits most.
    ///
    /// First the listeners:
    ///
    /// - a socket that was passed ([`Server::bind_with`]) is let go of at once. Its backlog stays with whoever passed it.
    /// - of an address that is shared (`Config::reuse_port`), those are accepted who have begun to connect: for half a
    ///   second, or half of `within_ms` where that is less. Who begins only now gets to the successor, after TCP has tried
    ///   again. (On Linux; on others they may be reset. With `within_ms` of 0 a few may be reset, too.)
    /// - any other address is let go of when all in its backlog are accepted, but for that of `Config::admin_listener`, which
    ///   stays open until the server shuts down.
    ///
    /// Then the connections: in the rest of the time they are closed in batches, evenly spread, so that not all come back
    /// at the same moment; 0: all at once. The code is 1012 where somebody else serves who comes back: a socket that was
    /// passed, or a shared address that another socket listens on by then. Else it is 1001. The reason ends in
    /// `retry_ms=N`: a wish that the client come back after so many milliseconds, of 1,000 to 1,999, each its own.
    ///
    /// What had come from a client when its turn came is handled, and answered, before its Close. Who is in the middle of
    /// a handshake or a message, or is paused, has until time is up; a handshake that is not over then is refused with
    /// 503 and `Retry-After`. The closing handshakes have `Limits::closing_ms_max` from then on, as by
    /// [`Server::shutdown`]. Meanwhile everything else goes on, and `Context::is_draining` says true.
    ///
    /// A drain that is under way can be hastened so, and not delayed.
    pub fn drain(&mut self, within_ms: u32) {
        self.now = self.clock.now();
        let by = self.now.tick.after(within_ms);
        let unlisten_at = self.now.tick.after((within_ms / 2).min(UNLISTEN_MS));
        match self.stop {
            Stop::No => {}
            Stop::Draining { unlisten: Some(at), by: before } => {
                self.stop = Stop::Draining { unlisten: Some(at.min(unlisten_at)), by: by.min(before) };
                return;
            }
            Stop::Draining { unlisten: None, by: before } => return self.leave(by.min(before)),
            Stop::By(_) | Stop::Done => return,
        }
        self.engine.handle_drain_ahead(self.now);
        for number in 0..self.listeners.len() {
            self.accept_all(number, Holder::Alone);
        }
        let passed =
            |listener: &Option<Listener>| listener.as_ref().map(Listener::holder) == Some(Holder::Passed);
        self.taken_over = self.listeners.iter().map(passed).collect();
        self.unlisten(|listener| !matches!(listener.holder(), Holder::Group | Holder::Kept));
        let shared = self.listeners.iter().flatten().filter(|listener| listener.holder() == Holder::Group);
        // A kernel that cannot drop them resets a few.
        let shares = shared.map(Listener::turn_away).count() > 0;
        if shares {
            self.stop = Stop::Draining { unlisten: Some(unlisten_at), by };
        } else {
            self.leave(by);
        }
    }

    /// Nobody can connect any more: those who are connected are closed in turn until `by`.
    fn leave(&mut self, by: Tick) {
        let within_ms = by.as_ms().saturating_sub(self.now.tick.as_ms()) as u32;
        self.stop = Stop::Draining { unlisten: None, by };
        self.engine.handle_drain(self.now, within_ms, &self.taken_over);
        self.obey();
    }

    /// Other limits and timers from now on, for those who are connected too; the handler is told by `Handler::on_limits`.
    /// `read_bytes_max`, `remote_commands_max` and `connections_per_address_max` stay as they are: buffers and books were
    /// made for them. Nobody is closed for a limit that was lowered until something comes or goes that is above it.
    ///
    /// # Errors
    /// When a limit makes no sense: all stay as they are.
    pub fn set_limits(&mut self, limits: Limits, keepalive: Keepalive) -> Result<(), Error> {
        limits.validate()?;
        self.now = self.clock.now();
        self.take_limits(limits, keepalive);
        self.obey();
        self.flush();
        Ok(())
    }

    fn take_limits(&mut self, mut limits: Limits, keepalive: Keepalive) {
        resolve(&mut limits, self.descriptors_max);
        (self.closing_ms_max, self.connections_max) = (limits.closing_ms_max, limits.connections_max);
        self.drain_ms = limits.drain_ms;
        self.arrivals.set_header_ms_max(limits.clamped().handshake_ms_max);
        self.engine.set_limits(self.now, limits, keepalive);
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

    /// Bytes that were written since the start.
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

    /// Whether it drains, or is shut down: see [`Server::drain`].
    pub fn is_draining(&self) -> bool {
        self.engine.is_draining()
    }

    /// What it has seen since it was bound, and holds now: a copy of some kilobytes.
    pub fn statistics(&self) -> Statistics {
        self.engine.statistics()
    }

    /// What waits to be written to all connections. Looks at each of them.
    pub fn queues(&self) -> Queues {
        self.engine.queues()
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

/// The limits that are what the machine allows, where none was set.
fn resolve(limits: &mut Limits, descriptors_max: u32) {
    let affordable = descriptors_max.saturating_sub(os::DESCRIPTORS_RESERVED).max(1);
    limits.connections_max = match limits.connections_max {
        0 => affordable,
        wanted => wanted.min(affordable),
    };
    if limits.buffered_bytes_max == 0 {
        limits.buffered_bytes_max = os::memory_bytes() / 4;
    }
}

impl<H> Drop for Server<H> {
    fn drop(&mut self) {
        self.remote.end();
    }
}
