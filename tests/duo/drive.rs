//! A driver for an engine, as `net` is one, whose sockets are vectors: what they take, and when, is the test's to say.

use super::{REQUEST, RESPONSE, entropy, show};
use sockeye::{
    Answer, Cause, Closed, Command, Config, ConnId, Context, DialError, Endpoint, Engine, Handler,
    HttpRequest, Input, Keepalive, Limits, Lost, Message, Now, PeerInfo, Refused, Request, Response,
    Statistics, Tick, Upgrade,
};
use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    net::SocketAddr,
};

/// What a handler was told.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// With the subprotocol.
    Response(Option<String>),
    DialFailed(DialError),
    Open,
    Text(String),
    Binary(Vec<u8>),
    Drain,
    Close {
        code: u16,
        reason: String,
        was_clean: bool,
        cause: Cause,
    },
    Tick,
}

/// The event a test's own closure is called for.
pub enum On<'a> {
    Response,
    DialFailed,
    Open,
    Message(Message<'a>),
    Pong(&'a [u8]),
    Drain,
    Close(&'a Closed<'a>),
    Tick,
}

type Act = Box<dyn FnMut(&mut Context<'_>, Option<ConnId>, On<'_>)>;
type Judge = Box<dyn FnMut(&Request<'_>) -> Upgrade>;
type Reply = Box<dyn FnMut(&mut Context<'_>, ConnId, &HttpRequest<'_>) -> Answer>;

/// A handler that writes down what it is told, holds the engine to its contract, and does what the test says.
pub struct Script {
    log: VecDeque<(Option<ConnId>, Seen)>,
    open: HashSet<ConnId>,
    closed: HashSet<ConnId>,
    /// Whose answer was accepted.
    accepted: HashSet<ConnId>,
    act: Act,
    judge: Judge,
    reply: Reply,
    /// Messages it was handed, and the bytes of these.
    received: (u64, u64),
    /// Whom the engine refused: with which status, or none where it was TLS, and the path that was asked for.
    refused: Vec<(ConnId, Option<u16>, Option<String>)>,
}

impl Script {
    fn tell(&mut self, cx: &mut Context<'_>, id: Option<ConnId>, seen: Seen, on: On<'_>) {
        self.log.push_back((id, seen));
        (self.act)(cx, id, on);
    }
}

impl Handler for Script {
    fn on_upgrade(&mut self, _: &mut Context<'_>, _: ConnId, request: &Request<'_>) -> Upgrade {
        (self.judge)(request)
    }

    fn on_http(&mut self, cx: &mut Context<'_>, id: ConnId, request: &HttpRequest<'_>) -> Answer {
        (self.reply)(cx, id, request)
    }

    fn on_refused(&mut self, _: &mut Context<'_>, id: ConnId, refused: &Refused<'_>) {
        assert!(!self.open.contains(&id) && self.refused.iter().all(|(other, ..)| *other != id));
        self.refused.push(match refused {
            Refused::Http { refusal, path } => (id, Some(refusal.status()), path.map(str::to_owned)),
            _ => (id, None, None),
        });
    }

    fn on_response(&mut self, cx: &mut Context<'_>, id: ConnId, response: &Response<'_>) {
        assert!(self.accepted.insert(id) && !self.open.contains(&id) && !self.closed.contains(&id));
        self.tell(cx, Some(id), Seen::Response(response.subprotocol().map(str::to_owned)), On::Response);
    }

    fn on_dial_failed(&mut self, cx: &mut Context<'_>, id: ConnId, error: &DialError) {
        assert!(!self.open.contains(&id) && !self.accepted.contains(&id), "{id} was open");
        assert!(self.closed.insert(id), "{id} failed twice");
        self.tell(cx, Some(id), Seen::DialFailed(error.clone()), On::DialFailed);
    }

    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        assert!(self.open.insert(id) && !self.closed.contains(&id), "{id} was opened twice");
        self.tell(cx, Some(id), Seen::Open, On::Open);
    }

    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        assert!(self.open.contains(&id), "a message of {id}, which is not open");
        self.received.0 += 1;
        self.received.1 += message.as_bytes().len() as u64;
        let seen = match message {
            Message::Text(text) => Seen::Text(text.to_owned()),
            Message::Binary(bytes) => Seen::Binary(bytes.to_vec()),
        };
        self.tell(cx, Some(id), seen, On::Message(message));
    }

    fn on_drain(&mut self, cx: &mut Context<'_>, id: ConnId) {
        assert!(self.open.contains(&id), "on_drain of {id}, which is not open");
        self.tell(cx, Some(id), Seen::Drain, On::Drain);
    }

    /// Not among what is seen: Pongs are answers, and few tests are about them.
    fn on_pong(&mut self, cx: &mut Context<'_>, id: ConnId, payload: &[u8]) {
        assert!(self.open.contains(&id), "a Pong of {id}, which is not open");
        (self.act)(cx, Some(id), On::Pong(payload));
    }

    fn on_close(&mut self, cx: &mut Context<'_>, id: ConnId, closed: &Closed<'_>) {
        assert!(self.open.remove(&id) && self.closed.insert(id), "{id} was closed twice, or never open");
        let Closed { code, reason, was_clean, cause } = *closed;
        let seen = Seen::Close { code: code.get(), reason: reason.to_owned(), was_clean, cause };
        self.tell(cx, Some(id), seen, On::Close(closed));
    }

    fn on_tick(&mut self, cx: &mut Context<'_>) {
        self.tell(cx, None, Seen::Tick, On::Tick);
    }
}

/// One peer's socket.
struct Wire {
    /// It is one that was accepted, or is connected.
    connected: bool,
    inbox: VecDeque<u8>,
    eof: bool,
    /// Written to the peer and not asked about yet.
    out: Vec<u8>,
    /// Bytes it takes from now on, in all and by one write.
    room: usize,
    per_write: usize,
    /// Writes so far.
    writes: usize,
    /// It took less than it was given and takes more now.
    writable: bool,
    shut: bool,
    closed: bool,
}

impl Wire {
    fn new(connected: bool) -> Wire {
        Wire {
            connected,
            inbox: VecDeque::new(),
            eof: false,
            out: Vec::new(),
            room: usize::MAX,
            per_write: usize::MAX,
            writes: 0,
            writable: false,
            shut: false,
            closed: false,
        }
    }
}

/// An engine, its sockets and its clock.
pub struct Drive {
    engine: Engine<Script>,
    input: Input,
    read_bytes_max: usize,
    direct: bool,
    now: Now,
    wires: BTreeMap<ConnId, Wire>,
    /// Whom the engine asked to connect to, and the test did not yet.
    dials: VecDeque<(ConnId, Endpoint)>,
    /// A handler asked that the server stop.
    pub shutdown_asked: bool,
    /// A handler asked that it drain.
    pub drain_asked: bool,
    /// What has arrived from these is to be read before they are closed.
    reading_out: Vec<ConnId>,
    /// The test is about a handler that panics: in all others that is a failed assertion of [`Script`], or of the test.
    pub may_panic: bool,
}

/// A handler that sends each message back.
pub fn echo(cx: &mut Context<'_>, id: Option<ConnId>, on: On<'_>) {
    if let (Some(id), On::Message(message)) = (id, on) {
        cx.send(id, message);
    }
}

impl Drive {
    /// An engine whose handler does what `act` says, with default limits.
    pub fn new(act: impl FnMut(&mut Context<'_>, Option<ConnId>, On<'_>) + 'static) -> Drive {
        Drive::with(|_| {}, act)
    }

    pub fn with(
        configure: impl FnOnce(&mut Config),
        act: impl FnMut(&mut Context<'_>, Option<ConnId>, On<'_>) + 'static,
    ) -> Drive {
        let mut config = Config::default();
        configure(&mut config);
        config.limits.validate().expect("the test's limits make sense");
        let script = Script {
            log: VecDeque::new(),
            open: HashSet::new(),
            closed: HashSet::new(),
            accepted: HashSet::new(),
            act: Box::new(act),
            judge: Box::new(|_| Upgrade::accept()),
            reply: Box::new(|_, _, _| Answer::Refuse),
            received: (0, 0),
            refused: Vec::new(),
        };
        let read_bytes_max = config.limits.read_bytes_max as usize;
        Drive {
            engine: Engine::new(&config, script, entropy),
            input: Input::new(read_bytes_max),
            read_bytes_max,
            direct: false,
            now: Now::default(),
            wires: BTreeMap::new(),
            dials: VecDeque::new(),
            shutdown_asked: false,
            drain_asked: false,
            reading_out: Vec::new(),
            may_panic: false,
        }
    }

    /// From now on the rest of a large message is read straight into its own buffer.
    pub fn read_direct(mut self) -> Drive {
        self.direct = true;
        self
    }

    /// What `on_upgrade` answers.
    pub fn judge(mut self, judge: impl FnMut(&Request<'_>) -> Upgrade + 'static) -> Drive {
        self.engine.handler_mut().judge = Box::new(judge);
        self
    }

    /// What `on_http` answers.
    pub fn answer(
        mut self,
        reply: impl FnMut(&mut Context<'_>, ConnId, &HttpRequest<'_>) -> Answer + 'static,
    ) -> Drive {
        self.engine.handler_mut().reply = Box::new(reply);
        self
    }

    // ------------------------------------------------------------------ peers

    /// A peer connects from an address.
    pub fn accept_from(&mut self, address: Option<SocketAddr>) -> ConnId {
        let id = self.engine.handle_accept(self.now, PeerInfo { address, listener: 0 });
        let wire = Wire::new(true);
        assert!(self.wires.insert(id, wire).is_none(), "{id} is given out a second time");
        self.wake();
        id
    }

    pub fn accept(&mut self) -> ConnId {
        self.accept_from(None)
    }

    /// A peer whose handshake is over.
    #[track_caller]
    pub fn open(&mut self) -> ConnId {
        let id = self.accept();
        self.feed(id, REQUEST).expect(id, RESPONSE).expect_seen(id, Seen::Open);
        id
    }

    /// Bytes of a peer's arrive, to be read by the next wake.
    pub fn arrive(&mut self, id: ConnId, bytes: &[u8]) -> &mut Drive {
        self.wire(id).inbox.extend(bytes);
        self
    }

    /// Bytes of a peer's arrive and all that they lead to happens.
    pub fn feed(&mut self, id: ConnId, bytes: &[u8]) -> &mut Drive {
        self.arrive(id, bytes).wake()
    }

    /// A peer ends its direction of TCP.
    pub fn feed_eof(&mut self, id: ConnId) -> &mut Drive {
        self.wire(id).eof = true;
        self.wake()
    }

    /// Whom the engine asked to connect to next.
    #[track_caller]
    pub fn expect_dial(&mut self) -> (ConnId, Endpoint) {
        self.dials.pop_front().expect("the engine asks to connect")
    }

    /// A socket that was asked for is connected.
    pub fn connect(&mut self, id: ConnId) -> &mut Drive {
        self.wire(id).connected = true;
        self.engine.handle_connected(self.now, id, "192.0.2.1:80".parse().expect("an address"));
        self.obey();
        self.wake()
    }

    /// A socket that was asked for cannot be had.
    pub fn fail_dial(&mut self, id: ConnId, error: &DialError) -> &mut Drive {
        self.engine.handle_dial_failed(self.now, id, error);
        self.obey();
        self.wake()
    }

    /// A peer's socket fails.
    pub fn lose(&mut self, id: ConnId, how: Lost) -> &mut Drive {
        self.engine.handle_lost(self.now, id, how);
        self.obey();
        self.wake()
    }

    /// A peer does not speak TLS as it should.
    pub fn fail_tls(&mut self, id: ConnId) -> &mut Drive {
        self.engine.handle_tls_failed(self.now, id, "not a record");
        self.obey();
        self.wake()
    }

    /// Whom the engine refused: with which status, none where it was TLS, and the path that was asked for.
    pub fn take_refused(&mut self) -> Vec<(ConnId, Option<u16>, Option<String>)> {
        std::mem::take(&mut self.engine.handler_mut().refused)
    }

    /// The peer's socket takes no byte until [`Drive::take`] says so.
    pub fn block(&mut self, id: ConnId) -> &mut Drive {
        self.wire(id).room = 0;
        self
    }

    /// A blocked peer takes so many bytes more.
    pub fn take(&mut self, id: ConnId, bytes: usize) -> &mut Drive {
        let wire = self.wire(id);
        wire.room = wire.room.saturating_add(bytes);
        wire.writable = true;
        self.wake()
    }

    /// The peer's socket takes at most so many bytes by one write.
    pub fn take_by(&mut self, id: ConnId, bytes: usize) -> &mut Drive {
        self.wire(id).per_write = bytes;
        self
    }

    fn wire(&mut self, id: ConnId) -> &mut Wire {
        self.wires.get_mut(&id).expect("a peer of this test's")
    }

    // ------------------------------------------------------------------ the loop

    /// Reads what arrived, writes what is to be written, until nothing moves any more.
    pub fn wake(&mut self) -> &mut Drive {
        loop {
            let mut moved = false;
            for id in self.wires.keys().copied().collect::<Vec<_>>() {
                if std::mem::take(&mut self.wire(id).writable) {
                    self.engine.handle_writable(id);
                    moved = true;
                }
                moved |= self.read(id);
            }
            self.flush();
            if !moved && self.wires.values().all(|wire| !wire.writable) {
                if self.reading_out.is_empty() {
                    return self;
                }
                for id in std::mem::take(&mut self.reading_out) {
                    self.engine.handle_read_out(self.now, id);
                    self.obey();
                }
            }
        }
    }

    /// One read, all of it handled, and one write of what it led to. Whether there was something to read.
    fn read(&mut self, id: ConnId) -> bool {
        let wire = self.wires.get_mut(&id).expect("a peer of this test's");
        if wire.closed || !self.engine.wants_read(id) {
            return false;
        }
        if wire.inbox.is_empty() {
            if std::mem::take(&mut wire.eof) {
                self.engine.handle_eof(self.now, id);
                self.obey();
                return true;
            }
            return false;
        }
        let bytes: Vec<u8> = wire.inbox.drain(..wire.inbox.len().min(self.read_bytes_max)).collect();
        let mut rest = &bytes[..];
        if self.direct
            && let Some(space) = self.engine.input_space(id)
        {
            let n = space.len().min(rest.len());
            space[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            self.engine.handle_filled(self.now, id, n);
        }
        self.input.space()[..rest.len()].copy_from_slice(rest);
        self.input.fill(rest.len());
        self.engine.handle_input(self.now, id, &mut self.input);
        if let Some(transmit) = self.engine.poll_reply(id, &self.input) {
            assert_eq!(transmit.id, id);
            let written = write(&mut self.wires, id, transmit.first, transmit.second);
            self.engine.handle_replied(self.now, id, &mut self.input, written);
        }
        self.obey();
        true
    }

    fn flush(&mut self) {
        while let Some(transmit) = self.engine.poll_transmit() {
            let id = transmit.id;
            let written = write(&mut self.wires, id, transmit.first, transmit.second);
            self.engine.handle_transmitted(self.now, id, written);
            self.obey();
        }
    }

    fn obey(&mut self) {
        assert!(self.may_panic || self.engine.panics() == 0, "a handler panicked");
        while let Some(command) = self.engine.poll_command() {
            match command {
                Command::Dial(id) => {
                    assert!(self.wires.insert(id, Wire::new(false)).is_none(), "{id} is dialled twice");
                    let endpoint = self.engine.endpoint(id).cloned();
                    self.dials.extend(endpoint.map(|endpoint| (id, endpoint)));
                }
                Command::ShutdownWrite(id) => {
                    let wire = self.wire(id);
                    assert!(!wire.closed, "{id} is shut down after it was closed: a dead id");
                    assert!(!std::mem::replace(&mut wire.shut, true), "{id} is shut down twice");
                }
                Command::Close(id) => {
                    let wire = self.wires.entry(id).or_insert_with(|| Wire::new(false));
                    assert!(!std::mem::replace(&mut wire.closed, true), "{id} is closed twice");
                }
                Command::Read(id) => assert!(!self.wire(id).closed, "{id} is to be read, a dead id"),
                // `wake` reads what has arrived, and then there is nothing more.
                Command::ReadOut(id) => self.reading_out.push(id),
                Command::Shutdown => self.shutdown_asked = true,
                Command::Drain => self.drain_asked = true,
            }
        }
    }

    /// Time passes; what is due is done.
    pub fn at(&mut self, ms: u64) -> &mut Drive {
        self.now = Now { tick: Tick::from_ms(ms), unix_ms: ms };
        if self.engine.poll_timeout().is_some_and(|at| at <= self.now.tick) {
            self.engine.handle_timeout(self.now);
        }
        self.obey();
        self.wake()
    }

    /// So much time passes.
    pub fn pass(&mut self, ms: u64) -> &mut Drive {
        self.at(self.now.tick.as_ms() + ms)
    }

    /// Does between two events what a handler's call could.
    pub fn act<R>(&mut self, act: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let result = self.engine.act(self.now, |_, cx| act(cx));
        self.obey();
        self.wake();
        result
    }

    pub fn set_limits(&mut self, limits: Limits, keepalive: Keepalive) -> &mut Drive {
        self.engine.set_limits(self.now, limits, keepalive);
        self.obey();
        self.wake()
    }

    pub fn shutdown(&mut self) -> &mut Drive {
        self.engine.handle_shutdown(self.now);
        self.obey();
        self.wake()
    }

    /// A drain begins; who came by listener 0 is told that somebody else serves it, or not.
    pub fn drain(&mut self, within_ms: u32, taken_over: bool) -> &mut Drive {
        self.engine.handle_drain(self.now, within_ms, &[taken_over]);
        self.obey();
        self.wake()
    }

    /// It is about to begin.
    pub fn drain_ahead(&mut self) -> &mut Drive {
        self.engine.handle_drain_ahead(self.now);
        self.wake()
    }

    pub fn is_drained(&self) -> bool {
        self.engine.is_drained()
    }

    pub fn abort(&mut self) -> &mut Drive {
        self.engine.handle_abort(self.now);
        self.obey();
        self.wake()
    }

    pub fn connections(&self) -> usize {
        self.engine.connections()
    }

    /// How often a handler panicked.
    pub fn panics(&self) -> u64 {
        self.engine.panics()
    }

    pub fn buffered_bytes(&self) -> usize {
        self.engine.buffered_bytes()
    }

    /// What the engine has counted, of which the books balance.
    #[track_caller]
    pub fn statistics(&self) -> Statistics {
        let (seen, script) = (self.engine.statistics(), self.engine.handler());
        let mut open = script.open.len() as u64;
        // A handler that panicked in its on_open or on_close is owed nothing.
        if self.may_panic {
            open = seen.open();
        }
        assert_eq!(seen.open(), open, "{seen:?}");
        assert!(seen.handshaking() + seen.dialling() + open <= self.connections() as u64, "{seen:?}");
        assert_eq!(seen.refusals().map(|(.., count)| count).sum::<u64>(), seen.handshakes.refused);
        assert_eq!(seen.answers().map(|(_, count)| count).sum::<u64>(), seen.handshakes.answered);
        assert_eq!(seen.closes().map(|(.., count)| count).sum::<u64>(), seen.closed);
        assert_eq!((seen.received.messages, seen.received.bytes), script.received);
        assert_eq!((seen.panics, seen.now.buffered_bytes), (self.panics(), self.buffered_bytes() as u64));
        seen
    }

    /// When the engine wants to be told the time again.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.engine.poll_timeout().map(Tick::as_ms)
    }

    pub fn wants_read(&self, id: ConnId) -> bool {
        self.engine.wants_read(id)
    }

    // ------------------------------------------------------------------ what is expected

    /// Bytes written to a peer that were not asked about yet.
    pub fn take_bytes(&mut self, id: ConnId) -> Vec<u8> {
        std::mem::take(&mut self.wire(id).out)
    }

    /// These bytes were written to the peer since it was last asked about, and no other.
    #[track_caller]
    pub fn expect(&mut self, id: ConnId, bytes: &[u8]) -> &mut Drive {
        let out = self.take_bytes(id);
        assert!(out == bytes, "bytes out to {id}: {}, not {}", show(&out), show(bytes));
        self
    }

    #[track_caller]
    pub fn expect_silence(&mut self, id: ConnId) -> &mut Drive {
        self.expect(id, b"")
    }

    /// The next thing the handler was told.
    #[track_caller]
    pub fn expect_seen(&mut self, id: ConnId, seen: Seen) -> &mut Drive {
        let found = self.engine.handler_mut().log.pop_front();
        assert_eq!(found, Some((Some(id), seen)), "what the handler was told");
        self
    }

    #[track_caller]
    pub fn expect_text(&mut self, id: ConnId, text: &str) -> &mut Drive {
        self.expect_seen(id, Seen::Text(text.to_owned()))
    }

    #[track_caller]
    pub fn expect_close(&mut self, id: ConnId, code: u16, reason: &str, cause: Cause) -> &mut Drive {
        let was_clean = matches!(cause, Cause::Peer | Cause::Local);
        self.expect_seen(id, Seen::Close { code, reason: reason.to_owned(), was_clean, cause })
    }

    #[track_caller]
    pub fn expect_tick(&mut self) -> &mut Drive {
        assert_eq!(self.engine.handler_mut().log.pop_front(), Some((None, Seen::Tick)));
        self
    }

    /// All peers end TCP.
    pub fn feed_all_eof(&mut self) -> &mut Drive {
        self.wires.values_mut().for_each(|wire| wire.eof = true);
        self.wake()
    }

    /// What was written and told is of no interest.
    pub fn forget_all(&mut self) {
        self.take_seen();
        self.wires.values_mut().for_each(|wire| wire.out.clear());
    }

    /// The handler was told nothing that was not asked about.
    #[track_caller]
    pub fn expect_nothing_seen(&mut self) -> &mut Drive {
        assert_eq!(self.engine.handler().log, []);
        self
    }

    /// Takes what the handler was told.
    pub fn take_seen(&mut self) -> Vec<Seen> {
        self.engine.handler_mut().log.drain(..).map(|(_, seen)| seen).collect()
    }

    /// Writing to the peer was shut down, and its socket was not closed.
    #[track_caller]
    pub fn expect_shut(&mut self, id: ConnId) -> &mut Drive {
        let wire = self.wire(id);
        assert_eq!((wire.shut, wire.closed), (true, false), "{id}: (shut down, closed)");
        self
    }

    /// The peer's socket was closed: the id is dead.
    #[track_caller]
    pub fn expect_gone(&mut self, id: ConnId) -> &mut Drive {
        assert!(self.wire(id).closed, "{id} was not closed");
        self
    }

    /// The peer's socket is as it was.
    #[track_caller]
    pub fn expect_alive(&mut self, id: ConnId) -> &mut Drive {
        let wire = self.wire(id);
        assert_eq!((wire.shut, wire.closed), (false, false), "{id}: (shut down, closed)");
        self
    }

    /// How many writes there were to a peer since this was last asked.
    pub fn take_writes(&mut self, id: ConnId) -> usize {
        std::mem::take(&mut self.wire(id).writes)
    }

    pub fn is_gone(&mut self, id: ConnId) -> bool {
        self.wire(id).closed
    }

    pub fn is_shut(&mut self, id: ConnId) -> bool {
        self.wire(id).shut
    }
}

/// One write to a socket.
fn write(wires: &mut BTreeMap<ConnId, Wire>, id: ConnId, first: &[u8], second: &[u8]) -> usize {
    let wire = wires.get_mut(&id).expect("a peer of this test's");
    assert!(wire.connected, "{id} is written to before it is connected");
    assert!(!wire.closed, "{id} is written to after it was closed: a dead id");
    assert!(!wire.shut, "{id} is written to after writing was shut down");
    assert!(!first.is_empty(), "{id} is written nothing");
    wire.writes += 1;
    let len = first.len() + second.len();
    let n = len.min(wire.room).min(wire.per_write);
    wire.out.extend_from_slice(&first[..n.min(first.len())]);
    wire.out.extend_from_slice(&second[..n.saturating_sub(first.len())]);
    if wire.room != usize::MAX {
        wire.room -= n;
    }
    wire.writable = n < len && wire.room > 0;
    n
}

impl Drop for Drive {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.expect_nothing_seen();
        self.statistics();
        for id in self.wires.keys().copied().collect::<Vec<_>>() {
            self.expect_silence(id);
        }
    }
}
