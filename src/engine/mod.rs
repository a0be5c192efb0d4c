//! Many peers and a handler: the core that a server, a client, the tests and a simulator share. No I/O here:
//! whoever drives it reads sockets into an [`Input`], writes what it is asked to, and says what time it is.
//!
//! In: `handle_*`. Out: `poll_*`. After each `handle_*` drain [`Engine::poll_command`].

mod addresses;
mod calls;
mod context;
mod core;
mod delivery;
mod dial;
mod drain;
mod forwarded;
mod handler;
mod http;
mod origin;
mod outbox;
mod peers;
mod prepared;
mod rate;
mod reading;
pub(crate) mod relation;
mod sending;
mod statistics;
mod throttle;
mod timers;
mod topics;

pub use context::Context;
pub use dial::{Dial, DialError, Endpoint};
pub use handler::{
    Cause, Closed, ConnId, Fanout, Handler, InvalidConnId, Lost, PeerInfo, Refused, Sent, TurnedAway,
};
pub use http::Answer;
pub use prepared::Prepared;
pub use statistics::{Dials, Drops, Gauges, Handshakes, Histogram, Queues, Statistics, Traffic};

use self::{
    context::NOBODY,
    core::{Core, Doom},
    peers::flag,
};
use crate::{
    config::{Config, Keepalive, Limits},
    conn::{ConnectionState, Expired, Fault, Input, Place, Role, Step},
    time::{Now, Stamp, Tick},
    wire::{close::CloseCode, frame::Opcode, handshake::Refusal, http_request::RequestHead},
};

/// Something to do with a socket, or with all of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// Connect a socket to [`Engine::endpoint`], and say [`Engine::handle_connected`] or
    /// [`Engine::handle_dial_failed`].
    Dial(ConnId),
    /// Shut down the writing side.
    ShutdownWrite(ConnId),
    /// Close the socket; the id is dead.
    Close(ConnId),
    /// Read again, if a read was left out because [`Engine::wants_read`] said so: no new edge will tell.
    Read(ConnId),
    /// Read until nothing more has come for now, and say [`Engine::handle_read_out`]: it is to be closed behind that.
    ReadOut(ConnId),
    /// A handler asks that the server stop.
    Shutdown,
    /// A handler asks that the server drain within `Limits::drain_ms`.
    Drain,
}

/// Bytes to write to one peer, in order: one `write` where `second` is empty, else one `writev`.
#[derive(Debug)]
pub struct Transmit<'a> {
    /// To whom.
    pub id: ConnId,
    /// What first. Never empty.
    pub first: &'a [u8],
    /// What next.
    pub second: &'a [u8],
}

/// Many connections, their timers and topics, and the handler they talk to.
///
/// ```
/// use sockeye::{Config, ConnId, Context, Engine, Handler, Input, Message, Now, PeerInfo};
///
/// struct Echo;
/// impl Handler for Echo {
///     fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
///         cx.send(id, message);
///     }
/// }
///
/// let (now, mut input) = (Now::default(), Input::new(4096));
/// let mut engine = Engine::new(&Config::default(), Echo, |bytes| bytes.fill(7));
/// let id = engine.handle_accept(now, PeerInfo { address: None, listener: 0 });
/// let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///               Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n\
///               \x81\x82\0\0\0\0hi";
/// input.space()[..bytes.len()].copy_from_slice(bytes);
/// input.fill(bytes.len());
/// engine.handle_input(now, id, &mut input);
/// let transmit = engine.poll_transmit().unwrap();
/// assert!(transmit.first.ends_with(b"\r\n\r\n\x81\x02hi"));
/// ```
pub struct Engine<H> {
    handler: H,
    core: Core,
}

impl<H: Handler> Engine<H> {
    /// An engine without peers. `entropy` fills the slice it is given with unpredictable bytes.
    pub fn new(config: &Config, handler: H, entropy: fn(&mut [u8])) -> Engine<H> {
        Engine { handler, core: Core::new(config, entropy) }
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// The handler, to change it between two calls of the engine.
    pub fn handler_mut(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Connections at the moment, those included that only end.
    pub fn connections(&self) -> usize {
        self.core.peers.len()
    }

    /// Bytes that were written since the start.
    #[cfg(feature = "client")]
    pub(crate) fn transmitted_bytes(&self) -> u64 {
        self.core.statistics.sent.wire_bytes
    }

    /// Calls of the handler that panicked, each of which ended the connection it was about, if any: see [`Handler`].
    pub fn panics(&self) -> u64 {
        self.core.statistics.panics
    }

    /// Bytes of all buffers that connections hold.
    pub fn buffered_bytes(&self) -> usize {
        self.core.commons.pool.held_bytes()
    }

    /// Other limits and timers from now on; the handler is told (`Handler::on_limits`). What makes no sense in them is
    /// brought to the nearest that does; what cannot change while connections are served, as `Server::set_limits` lists
    /// it, stays as it is. Looks at each connection once.
    pub fn set_limits(&mut self, now: Now, limits: Limits, keepalive: Keepalive) {
        self.core.set_limits(now, limits, keepalive);
        let limits = self.core.commons.limits;
        self.call(now, NOBODY, |handler, cx| handler.on_limits(cx, &limits));
        self.settle(now);
    }

    // ------------------------------------------------------------------ in

    /// A connection was accepted. One too many is answered with 503 and closed: write that out before accepting more.
    pub fn handle_accept(&mut self, now: Now, info: PeerInfo) -> ConnId {
        if let Some(oldest) = self.core.oldest_admin(&info) {
            self.lose(now, oldest.index, Lost::NoAnswer);
            self.core.admins_make_room();
        }
        let (id, refusal) = self.core.accept(now, info);
        self.admitted(now, id, refusal)
    }

    fn admitted(&mut self, now: Now, id: ConnId, refusal: Option<Refusal>) -> ConnId {
        if let Some(refusal) = refusal {
            self.refuse(now, id.index, &refusal, None);
            self.settle(now);
        }
        id
    }

    /// The same, where a proxy has said in front of it whom it passes on: `info` has the address of that one.
    pub fn handle_accept_proxied(&mut self, now: Now, info: PeerInfo) -> ConnId {
        let (id, refusal) = self.core.accept(now, info);
        self.core.peers.set_proxied(id.index);
        self.admitted(now, id, refusal)
    }

    /// Whether what a peer says of others' addresses is believed: `Config::trusted_proxies`.
    pub fn trusts(&self, info: &PeerInfo) -> bool {
        self.core.trusts(info)
    }

    /// A connection was dropped before it was one.
    pub fn handle_turned_away(&mut self, now: Now, info: &PeerInfo, why: TurnedAway) {
        self.core.statistics.handshakes.turned_away += 1;
        self.call(now, NOBODY, |handler, cx| handler.on_turned_away(cx, info, why));
        self.settle(now);
    }

    /// Where a read for `id` may put the rest of a large message, in front of what goes to the [`Input`].
    #[inline]
    pub fn input_space(&mut self, id: ConnId) -> Option<&mut [u8]> {
        let index = self.core.peers.find(id)?;
        self.core.peers[index].conn.space(&mut self.core.commons)
    }

    /// The first `n` bytes of [`Engine::input_space`] are filled. Call [`Engine::handle_input`] next, with what came
    /// behind them.
    pub fn handle_filled(&mut self, now: Now, id: ConnId, n: usize) {
        let Some(index) = self.core.peers.find(id) else { return };
        self.core.statistics.received.wire_bytes += n as u64;
        let was_pinged = self.core.peers[index].conn.heard(now).is_some();
        if self.core.throttle.is_some() {
            self.core.charge(now, index, n, self.core.came());
        }
        if let Err(fault) = self.core.peers[index].conn.fill(now, n) {
            self.fail(now, index, fault);
        } else if was_pinged {
            self.core.schedule(now, index);
        }
    }

    /// Bytes came from `id`. All are taken; then write what [`Engine::poll_reply`] has, before the next read.
    pub fn handle_input(&mut self, now: Now, id: ConnId, input: &mut Input) {
        let Some(index) = self.core.peers.find(id) else { return };
        let bytes = input.unread().len();
        let before = self.core.throttle.is_some().then(|| self.core.came());
        self.core.statistics.received.wire_bytes += bytes as u64;
        let pinged_at = self.core.peers[index].conn.heard(now);
        while self.caught(index, input, |engine, input| engine.take_input(now, id, pinged_at, input)).is_err()
        {
            // What is left of the input is of a connection that has failed now, and dropped.
            self.settle_behind_reply(now, index, input);
        }
        if let Some(before) = before {
            self.core.charge(now, index, bytes, before);
        }
    }

    fn take_input(&mut self, now: Now, id: ConnId, pinged_at: Option<Stamp>, input: &mut Input) {
        let index = id.index;
        let message_bytes_max = self.core.commons.limits.message_bytes_max;
        let role = self.core.peers[index].conn.role();
        loop {
            match role {
                Role::Server => self.deliver_whole::<true>(now, id, message_bytes_max, input),
                Role::Client => self.deliver_whole::<false>(now, id, message_bytes_max, input),
            }
            let step = self.core.peers[index].conn.receive(now, input, &mut self.core.commons);
            match step {
                Ok(Step::Message(incoming)) => match incoming.place {
                    Place::Input(range) => self.deliver_one(now, id, incoming.opcode, range, input),
                    Place::Kept => self.deliver_kept(now, id, incoming.opcode, incoming.compressed, input),
                },
                Ok(Step::Pending) => break,
                step => {
                    // What follows is queued behind the replies so far, but for a Pong that goes back in place too.
                    if !matches!(step, Ok(Step::Ping(_))) {
                        self.core.move_reply(index, input);
                    }
                    match step {
                        Ok(Step::Ping(range)) => self.core.pong(now, index, range, input),
                        Ok(Step::Close { code, reason }) => {
                            self.peer_closed(now, index, code, input.get(reason));
                        }
                        Ok(Step::Head(head)) => self.asked(now, index, head, input),
                        Ok(Step::Body { request, head_bytes }) => {
                            self.body_came(now, index, request, head_bytes, input);
                        }
                        Ok(Step::HeadTooLarge) => {
                            let limit = self.core.commons.limits.head_bytes_max;
                            self.refuse(now, index, &Refusal::HeadTooLarge { limit }, None);
                        }
                        Ok(Step::Opened(head)) => self.dialled(now, index, head, input),
                        Ok(Step::Failed(error, head)) => self.refused(now, index, error, head, input),
                        Ok(Step::Pong(range)) => self.ponged(now, index, pinged_at, input.get(range)),
                        Ok(Step::Message(_) | Step::Pending) => {}
                        Err(fault) => self.fail(now, index, fault),
                    }
                }
            }
            self.settle_behind_reply(now, index, input);
        }
        // Every other deadline that a byte moves, it moves later.
        if pinged_at.is_some() || self.core.peers[index].conn.is_unfinished() {
            self.core.schedule(now, index);
        }
        self.read_ended(now, index, input);
        self.settle_behind_reply(now, index, input);
    }

    /// Refuses `id`, whose request did not come yet, and ends it as one whose request is refused.
    pub fn handle_refused(&mut self, now: Now, id: ConnId, refusal: &Refusal) {
        let Some(index) = self.core.peers.find(id) else { return };
        let peer = &self.core.peers[index];
        if peer.conn.role() == Role::Server && peer.conn.state() == ConnectionState::Handshake {
            self.refuse(now, index, refusal, None);
        }
        self.settle(now);
    }

    /// The peer ended its direction of TCP, after all it sent was handled.
    pub fn handle_eof(&mut self, now: Now, id: ConnId) {
        let Some(index) = self.core.peers.find(id) else { return };
        let before = self.core.peers[index].conn.state();
        self.core.peers[index].conn.handle_eof(now);
        if matches!(before, ConnectionState::Open | ConnectionState::Closing) {
            self.closed(now, index, &lost(Lost::Eof));
        }
        if before == ConnectionState::Handshake && self.core.peers[index].conn.role() == Role::Server {
            self.core.statistics.handshakes.lost += 1;
        }
        self.dial_failed(now, index, &DialError::Lost(Lost::Eof));
        self.core.end_if_written(now, index);
        self.core.schedule(now, index);
        self.settle(now);
    }

    /// The socket failed: nothing can be read or written any more.
    pub fn handle_lost(&mut self, now: Now, id: ConnId, how: Lost) {
        let Some(index) = self.core.peers.find(id) else { return };
        self.lose(now, index, how);
        self.settle(now);
    }

    /// `n` bytes of a [`Transmit`] of [`Engine::poll_transmit`] were written. Fewer than it had: the rest waits for
    /// [`Engine::handle_writable`].
    pub fn handle_transmitted(&mut self, now: Now, id: ConnId, n: usize) {
        let Some(index) = self.core.peers.find(id) else { return };
        if self.core.transmitted(now, index, n) {
            self.drained(now, index);
        }
        self.settle(now);
    }

    /// Writing to `id` failed. What waits for it is dropped and nothing more is taken; what it sent before is still to be
    /// read, and the read says how it ended.
    pub fn handle_unwritable(&mut self, id: ConnId, input: &mut Input) {
        input.clear_reply();
        if let Some(index) = self.core.peers.find(id) {
            self.core.unwritable(index);
        }
    }

    /// As [`Engine::handle_transmitted`], for a [`Transmit`] of [`Engine::poll_reply`].
    #[inline]
    pub fn handle_replied(&mut self, now: Now, id: ConnId, input: &mut Input, n: usize) {
        if input.reply_is_empty() {
            return self.handle_transmitted(now, id, n);
        }
        self.core.statistics.sent.wire_bytes += n as u64;
        if n < input.reply().len()
            && let Some(index) = self.core.peers.find(id)
        {
            self.core.queue_rest(now, index, input.reply(), n);
            input.clear_reply();
            return self.settle(now);
        }
        input.clear_reply();
    }

    /// The socket of `id` takes bytes again.
    pub fn handle_writable(&mut self, id: ConnId) {
        let Some(index) = self.core.peers.find(id) else { return };
        let peer = &mut self.core.peers[index];
        if peer.flags.has(flag::BLOCKED) {
            peer.flags.set(flag::BLOCKED, false);
            self.core.dirty(index);
        }
    }

    /// Looks after everything that is due at `now`.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(index) = self.core.wheel.poll(now.tick) {
            if self.core.peers.is_occupied(index) {
                self.expire(now, index);
                if self.core.peers.is_occupied(index) {
                    self.core.schedule(now, index);
                }
            }
        }
        if self.core.next_tick.is_some_and(|at| at <= now.tick) {
            self.core.next_tick = Some(now.tick.after(self.core.tick_ms));
            self.call(now, NOBODY, |handler, cx| handler.on_tick(cx));
        }
        if self.core.next_batch().is_some_and(|at| at <= now.tick) {
            self.core.leave(now);
        }
        self.settle(now);
    }

    /// Stops: each open connection is closed with 1001, or as [`Engine::handle_drain`] says if that came before, and each
    /// handshake refused with 503; no new one is accepted.
    pub fn handle_shutdown(&mut self, now: Now) {
        self.core.stopping = true;
        for index in 0..self.core.peers.end() {
            if self.core.peers.is_occupied(index) {
                self.send_off(now, index);
            }
        }
        self.settle(now);
    }

    /// Gives up every connection that is left.
    pub fn handle_abort(&mut self, now: Now) {
        for index in 0..self.core.peers.end() {
            if self.core.peers.is_occupied(index) {
                self.lose(now, index, Lost::Stopped);
            }
        }
        self.settle(now);
    }

    /// Lets `act` do, between two events, what a handler's call could. What it panics with is its caller's.
    pub fn act<R>(&mut self, now: Now, act: impl FnOnce(&mut H, &mut Context<'_>) -> R) -> R {
        let mut cx = Context::of(&mut self.core, now, NOBODY);
        let result = act(&mut self.handler, &mut cx);
        self.settle(now);
        result
    }

    // ------------------------------------------------------------------ out

    /// The connection that is at `index` now.
    #[inline]
    pub fn id_at(&self, index: u32) -> Option<ConnId> {
        self.core.peers.is_occupied(index).then(|| self.core.peers.id(index))
    }

    /// What to write to `id` right after its input was handled: its own replies, while they are in the cache.
    #[inline]
    pub fn poll_reply<'a>(&'a self, id: ConnId, input: &'a Input) -> Option<Transmit<'a>> {
        if !input.reply_is_empty() {
            return Some(Transmit { id, first: input.reply(), second: &[] });
        }
        let peer = &self.core.peers[self.core.peers.find(id)?];
        if peer.outbox.is_empty() || peer.flags.has(flag::BLOCKED) || peer.flags.has(flag::HEARS_OTHERS) {
            return None;
        }
        let (first, second) = peer.outbox.slices(&self.core.log);
        Some(Transmit { id, first, second })
    }

    /// Begins to write: until [`Engine::poll_transmit`] says `None`, each peer that has something now gets one
    /// [`Transmit`], and who gets something only then waits for the next time, so that nobody who takes all that he is
    /// given keeps the others waiting. Without it [`Engine::poll_transmit`] goes on while there is anything.
    pub fn begin_transmits(&mut self) {
        self.core.begin_round();
    }

    /// Whether somebody has something to be written.
    pub fn has_transmits(&self) -> bool {
        self.core.has_dirty()
    }

    /// Whether so much waits for somebody that it is better written before more comes.
    #[inline]
    pub fn is_pressing(&self) -> bool {
        self.core.is_pressing()
    }

    /// The next peer to write to, when all events of a wake are handled.
    #[inline]
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        let index = self.core.next_dirty()?;
        let (first, second) = self.core.peers[index].outbox.slices(&self.core.log);
        Some(Transmit { id: self.core.peers.id(index), first, second })
    }

    /// The next thing to do with a socket. After [`Command::Close`] the id is dead.
    #[inline]
    pub fn poll_command(&mut self) -> Option<Command> {
        let command = self.core.commands.pop_front()?;
        if let Command::Close(id) = command {
            self.core.remove(id);
        }
        Some(command)
    }

    /// When to call [`Engine::handle_timeout`] at the latest.
    pub fn poll_timeout(&self) -> Option<Tick> {
        let due = Tick::nearer(self.core.wheel.next(), self.core.next_tick);
        Tick::nearer(due, self.core.next_batch())
    }

    // ------------------------------------------------------------------ what steps lead to

    fn upgrade(&mut self, now: Now, index: u32, head: RequestHead<'_>) {
        let path = head.path();
        match self.core.check(head) {
            Ok((request, subprotocol)) => {
                let id = self.core.peers.id(index);
                let answer = self.call(now, index, |handler, cx| handler.on_upgrade(cx, id, &request));
                let Some(mut upgrade) = answer else {
                    return self.refuse(now, index, &panicked(), Some(path));
                };
                if let Some(refusal) = upgrade.refusal.take() {
                    self.core.refuse(now, index, &refusal);
                } else {
                    upgrade.subprotocol = upgrade.subprotocol.or(subprotocol.map(str::to_owned));
                    self.core.with_outbox(index, |conn, commons, out| {
                        conn.accept(now, &request, &upgrade, commons, out);
                    });
                    self.core.peers[index].outbox.begin_with_all();
                    self.core.statistics.handshakes.opened += 1;
                    self.opened(now, index);
                }
            }
            Err(refusal) => self.refuse(now, index, &refusal, Some(path)),
        }
    }

    fn opened(&mut self, now: Now, index: u32) {
        self.core.peers[index].flags.set(flag::OPENED, true);
        self.core.schedule(now, index);
        let id = self.core.peers.id(index);
        self.call(now, index, |handler, cx| handler.on_open(cx, id));
    }

    /// The peer's Close came: answer it, unless it answers ours. §5.5.1
    fn peer_closed(&mut self, now: Now, index: u32, code: Option<CloseCode>, reason: &[u8]) {
        let reason = std::str::from_utf8(reason).expect("the reason was checked as it was parsed");
        let state = self.core.peers[index].conn.state();
        let cause = if state == ConnectionState::Closing { Cause::Local } else { Cause::Peer };
        self.core.with_outbox(index, |conn, commons, out| conn.answer_close(now, code, reason, commons, out));
        let code = code.unwrap_or(CloseCode::NO_STATUS);
        self.closed(now, index, &Closed { code, reason, was_clean: true, cause });
        self.core.end_if_written(now, index);
        self.core.schedule(now, index);
    }

    /// Fails the connection, §7.1.7: what it did wrong is said in a Close, behind what was queued.
    fn fail(&mut self, now: Now, index: u32, fault: Fault) {
        if self.dial_failed(now, index, &DialError::Fault(fault)) {
            return;
        }
        if self.core.peers[index].conn.state() == ConnectionState::Handshake {
            let refusal = Refusal::Unavailable("the server is out of buffers");
            return self.refuse(now, index, &refusal, None);
        }
        if fault.is_for_memory() {
            self.core.cut(index, &fault);
        }
        self.fail_with(now, index, fault.close_code(), &fault.to_string(), Cause::Fault(fault));
    }

    fn fail_with(&mut self, now: Now, index: u32, code: CloseCode, reason: &str, cause: Cause) {
        if self.core.peers[index].flags.has(flag::MUTE) {
            self.core.abandon(now, index);
        } else {
            self.core.with_outbox(index, |conn, commons, out| {
                conn.fail_with(now, code, reason, commons, out);
            });
        }
        self.closed(now, index, &Closed { code, reason, was_clean: false, cause });
        self.core.end_if_written(now, index);
        self.core.schedule(now, index);
    }

    fn lose(&mut self, now: Now, index: u32, how: Lost) {
        if self.dial_failed(now, index, &DialError::Lost(how)) {
            return;
        }
        let conn = &self.core.peers[index].conn;
        if conn.state() == ConnectionState::Handshake && conn.role() == Role::Server {
            self.core.statistics.handshakes.lost += 1;
        }
        self.core.abandon(now, index);
        self.closed(now, index, &lost(how));
    }

    /// Tells the handler that an open connection is over, once; what it queued before is still written.
    fn closed(&mut self, now: Now, index: u32, closed: &Closed<'_>) {
        let opened = self.core.peers[index].flags.replace(flag::OPENED, false);
        self.core.topics.remove_peer(index);
        if opened {
            self.core.statistics.closed(closed);
            let id = self.core.peers.id(index);
            self.call(now, index, |handler, cx| handler.on_close(cx, id, closed));
        }
    }

    /// A Pong came, which after our Close is of no interest any more. §5.5.3
    fn ponged(&mut self, now: Now, index: u32, pinged_at: Option<Stamp>, payload: &[u8]) {
        if self.core.is_open(index) {
            if let Some(pinged_at) = pinged_at.filter(|_| payload.is_empty()) {
                let ms = pinged_at.elapsed(now.tick);
                self.core.statistics.round_trips.record(u64::from(ms) * 1_000);
            }
            let id = self.core.peers.id(index);
            self.call(now, index, |handler, cx| handler.on_pong(cx, id, payload));
        }
    }

    fn drained(&mut self, now: Now, index: u32) {
        let id = self.core.peers.id(index);
        self.call(now, index, |handler, cx| handler.on_drain(cx, id));
    }

    fn expire(&mut self, now: Now, index: u32) {
        self.core.let_go_on(now, index);
        if let Some(fault) = self.core.stalled(now, index) {
            return self.fail(now, index, fault);
        }
        if self.core.is_dial_refused(index) {
            return self.dial_expired(now, index);
        }
        let expired = self.core.peers[index].conn.handle_timeout(now, &self.core.commons);
        match expired {
            None => {}
            Some(Expired::Ping) => {
                let queued = self.core.control(Opcode::Ping, index, &[]);
                self.core.statistics.pings += u64::from(queued);
            }
            Some(Expired::Fault(fault)) => self.fail(now, index, fault),
            Some(Expired::Refuse(refusal)) => self.refuse(now, index, &refusal, None),
            Some(Expired::Drop) if self.core.peers[index].flags.has(flag::DIALLED) => {
                self.dial_expired(now, index);
            }
            Some(Expired::Drop) => {
                let closing = self.core.peers[index].conn.state() == ConnectionState::Closing;
                self.lose(now, index, if closing { Lost::NoAnswer } else { Lost::Silent });
            }
        }
    }

    /// As [`Engine::settle`], while replies to `index` may lie in the input: what failing somebody leads to, there or
    /// in the handler, is queued behind them.
    #[inline]
    fn settle_behind_reply(&mut self, now: Now, index: u32, input: &mut Input) {
        if !self.core.is_settled() {
            self.core.move_reply(index, input);
            self.settle(now);
        }
    }

    /// Fails those that were found wanting while a handler ran, and those that hold most once the budget is spent.
    #[inline]
    fn settle(&mut self, now: Now) {
        if self.core.is_settled() {
            return;
        }
        while let Some((index, how)) = self.core.next_doomed() {
            match how {
                Doom::Fault(fault) => self.fail(now, index, fault),
                Doom::Panic => self.fail_panicked(now, index),
                Doom::Dial(error) => {
                    self.dial_failed(now, index, &error);
                }
            }
        }
    }
}

/// What is answered to a request that the handler panicked on.
fn panicked() -> Refusal {
    Refusal::with_status(500, "internal error")
}

fn lost(how: Lost) -> Closed<'static> {
    Closed { code: CloseCode::ABNORMAL, reason: "", was_clean: false, cause: Cause::Lost(how) }
}
