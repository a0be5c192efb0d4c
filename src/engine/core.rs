//! What of the engine does not depend on the handler's type: peers, queues, timers, topics, and what happens to
//! one of them.

use super::{
    Command, ConnId, DialError, Fanout, PeerInfo,
    addresses::Addresses,
    calls::Unwound,
    dial::Dialling,
    drain::Drain,
    peers::{Peers, flag},
    statistics::{Statistics, Tally},
    throttle::Throttle,
    timers::Wheel,
    topics::Topics,
};
use crate::{
    config::{Config, Keepalive, Limits},
    conn::{Buffer, Commons, Connection, ConnectionState, Ending, Fault, Role},
    time::{Now, Stamp, Tick},
    wire::{
        close::CloseCode,
        frame::Opcode,
        handshake::{Refusal, Request},
        http_request::RequestHead,
    },
};
use std::collections::{HashMap, VecDeque};

pub(super) struct Core {
    pub(super) commons: Commons,
    pub(super) peers: Peers,
    pub(super) topics: Topics,
    pub(super) wheel: Wheel,
    /// Frames for many, of this wake, behind those that are prepared.
    pub(super) log: Buffer,
    /// Bytes of the log that are prepared frames, and stay.
    pub(super) prepared: u32,
    pub(super) commands: VecDeque<Command>,
    pub(super) tick_ms: u32,
    pub(super) next_tick: Option<Tick>,
    pub(super) stopping: bool,
    pub(super) drain: Drain,
    /// Where those are to lead that were dialled and are not connected.
    pub(super) dialling: HashMap<u32, Dialling>,
    /// Connections that are held only to be told that there are too many.
    pub(super) refused: usize,
    /// Whose connections are beside the limits.
    admin_listener: Option<u16>,
    /// Which these are, in the order in which they came.
    admins: VecDeque<u32>,
    dirty: VecDeque<u32>,
    /// How many of these are written to before [`Core::next_dirty`] says that it is enough.
    round: usize,
    /// So much waits for somebody whose socket was not tried that it is better written before more comes.
    pub(super) pressing: bool,
    /// Where a connection writes what is not worth a way without a copy.
    pub(super) scratch: Vec<u8>,
    /// Of a message for many, what was compressed when the log was full, by its window.
    pub(super) shared_kept: Vec<(usize, Buffer)>,
    pub(super) unwound: Unwound,
    pub(super) tally: Tally,
    pub(super) statistics: Statistics,
    doomed: Vec<(u32, Doom)>,
    /// The latest Ping of each backlogged peer, to be answered when its outbox is below the soft mark again.
    pub(super) pongs: HashMap<u32, Vec<u8>>,
    addresses: Addresses,
    pub(super) throttle: Option<Box<Throttle>>,
    pub(super) origins: Vec<String>,
    subprotocols: Vec<String>,
    subprotocols_strict: bool,
}

/// How a connection is to end as soon as the handler returns.
#[derive(Debug)]
pub(super) enum Doom {
    /// It is failed.
    Fault(Fault),
    /// It was dialled, and is not going to be open.
    Dial(DialError),
    /// The handler panicked on an event of its.
    Panic,
}

/// Connections above the limit that may linger at a time.
const REFUSED_MAX: usize = 32;
/// Connections by [`Config::admin_listener`] at a time.
const ADMINS_MAX: usize = 16;
/// A queue of so many bytes is let go out though its connection is failed for the budget.
const SPARED_BYTES: usize = 16 << 10;

impl Core {
    pub(super) fn new(config: &Config, entropy: fn(&mut [u8])) -> Core {
        Core {
            commons: Commons::new(config, entropy),
            peers: Peers::default(),
            topics: Topics::default(),
            wheel: Wheel::new(),
            log: Buffer::default(),
            prepared: 0,
            scratch: Vec::new(),
            shared_kept: Vec::new(),
            unwound: Unwound::No,
            tally: Tally::default(),
            statistics: Statistics::new(),
            commands: VecDeque::new(),
            dialling: HashMap::new(),
            tick_ms: config.tick_ms,
            next_tick: (config.tick_ms > 0).then(|| Tick::ZERO.after(config.tick_ms)),
            stopping: false,
            drain: Drain::No,
            refused: 0,
            admin_listener: config.admin_listener,
            admins: VecDeque::new(),
            dirty: VecDeque::new(),
            round: usize::MAX,
            pressing: false,
            doomed: Vec::new(),
            pongs: HashMap::new(),
            addresses: Addresses::new(config),
            throttle: Throttle::new(&config.limits),
            origins: config.origins.clone(),
            subprotocols: config.subprotocols.clone(),
            subprotocols_strict: config.subprotocols_strict,
        }
    }

    // ------------------------------------------------------------------ coming and going

    /// A connection came; with it, why it is to be refused at once, if it is.
    pub(super) fn accept(&mut self, now: Now, info: PeerInfo) -> (ConnId, Option<Refusal>) {
        self.statistics.accepted += 1;
        let refusal = self.refusal_for(now, &info);
        let id = self.peers.insert(Connection::server(now, &mut self.commons), info);
        self.schedule(now, id.index);
        if let Some(throttle) = &mut self.throttle {
            throttle.begin(id.index);
        }
        if refusal.is_some() {
            self.is_too_many(id.index);
        } else if self.is_admin(&info) {
            self.admins.push_back(id.index);
        } else {
            self.came_late(id);
        }
        (id, refusal)
    }

    /// One that is too many, of them all or of its address, is held only to be told so.
    fn is_too_many(&mut self, index: u32) {
        self.refused += 1;
        self.peers[index].flags.set(flag::REFUSED, true);
    }

    /// Why a connection from there is not wanted now; if it is, it is counted.
    fn refusal_for(&mut self, now: Now, info: &PeerInfo) -> Option<Refusal> {
        if self.stopping {
            Some(Refusal::Unavailable("the server is stopping"))
        } else if self.is_admin(info) {
            None // whoever was there longest has made room
        } else if self.is_full() {
            Some(Refusal::Unavailable("the server has as many connections as it may have"))
        } else {
            self.addresses.admit(now.tick, info).err()
        }
    }

    pub(super) fn trusts(&self, info: &PeerInfo) -> bool {
        self.addresses.trusts(info)
    }

    /// Whether there are as many connections as there may be.
    pub(super) fn is_full(&self) -> bool {
        self.connections_left() == 0
    }

    /// How many more there may be.
    pub(super) fn connections_left(&self) -> u32 {
        match self.commons.limits.connections_max {
            0 => u32::MAX,
            limit => limit.saturating_sub((self.peers.len() - self.refused - self.admins.len()) as u32),
        }
    }

    /// Who has to make room for one more administrator: whoever is there longest. A probe or a call takes a moment, and who
    /// came only to take the place of others is not to keep them away.
    pub(super) fn oldest_admin(&self, info: &PeerInfo) -> Option<ConnId> {
        let is_full = self.is_admin(info) && self.admins.len() >= ADMINS_MAX;
        self.admins.front().filter(|_| is_full).map(|&index| self.peers.id(index))
    }

    /// The one there longest is on its way out.
    pub(super) fn admins_make_room(&mut self) {
        self.admins.pop_front();
    }

    /// Whether it came by the listener of those who look after the server.
    fn is_admin(&self, info: &PeerInfo) -> bool {
        self.admin_listener == Some(info.listener)
    }

    /// The head of a request came. Where a trusted proxy passes it on, it says for whom, and it is only now that this one's
    /// address is judged.
    pub(super) fn admit_client(
        &mut self,
        now: Now,
        index: u32,
        head: &RequestHead<'_>,
    ) -> Result<(), Refusal> {
        let info = self.peers.info(index);
        if !self.trusts(&info) || self.is_admin(&info) {
            return Ok(());
        }
        let Some(address) = self.addresses.client_of(head) else { return Ok(()) };
        self.peers.set_address(index, address);
        self.peers.set_proxied(index);
        let admitted = self.addresses.admit(now.tick, &PeerInfo { address: Some(address), ..info });
        if admitted.is_err() {
            self.is_too_many(index);
        }
        admitted
    }

    /// A head that asks for an upgrade: one that may be accepted, with the subprotocol that is to be acknowledged.
    pub(super) fn check<'h>(&self, head: RequestHead<'h>) -> Result<(Request<'h>, Option<&'h str>), Refusal> {
        let request = Request::of(head)?;
        if let Some(origin) = request.origin()
            && !self.admits_origin(origin)
        {
            return Err(Refusal::Origin); // §10.2
        }
        let known =
            request.subprotocols().find(|&offer| self.subprotocols.iter().any(|known| known == offer));
        let first = request.subprotocols().next();
        if self.subprotocols_strict && known.is_none() && first.is_some() {
            return Err(Refusal::Subprotocol);
        }
        Ok((request, known.or(first)))
    }

    /// The next request is checked by these.
    pub(super) fn set_origins(&mut self, origins: Vec<String>) {
        self.origins = origins;
    }

    /// Deadlines that are nearer now are looked at when they are due, those that are further away when they were.
    pub(super) fn set_limits(&mut self, now: Now, limits: Limits, keepalive: Keepalive) {
        self.commons.set_limits(limits, keepalive);
        let limits = self.commons.limits;
        self.addresses.set_handshakes_max(limits.handshakes_per_address_per_second_max);
        self.throttle = Throttle::new(&limits);
        for index in (0..self.peers.end()).filter(|&index| self.peers.is_occupied(index)).collect::<Vec<_>>()
        {
            self.let_go_on(now, index);
            self.schedule(now, index);
        }
    }

    pub(super) fn refuse(&mut self, now: Now, index: u32, refusal: &Refusal) {
        debug_assert_eq!(self.peers[index].conn.state(), ConnectionState::Handshake);
        self.statistics.refused(refusal);
        self.with_outbox(index, |conn, commons, out| conn.refuse(now, refusal, commons, out));
        self.peers[index].outbox.begin_with_all();
        self.end_if_written(now, index);
        self.schedule(now, index);
    }

    /// Ends a connection without a word.
    pub(super) fn abandon(&mut self, now: Now, index: u32) {
        self.peers[index].conn.abandon(now, &mut self.commons);
        self.drop_queue(index);
        self.command_close(index);
    }

    /// Starts the closing handshake; false if the connection is not open.
    pub(super) fn close(&mut self, now: Now, index: u32, code: CloseCode, reason: &str) -> bool {
        if !self.is_open(index) {
            return false;
        }
        self.with_outbox(index, |conn, commons, out| conn.close(now, code, reason, commons, out));
        self.schedule(now, index);
        self.resume_reading(index);
        true
    }

    /// Once all is written that a closed connection has to say, TCP is ended as its state asks.
    pub(super) fn end_if_written(&mut self, now: Now, index: u32) {
        let peer = &mut self.peers[index];
        if !peer.outbox.is_empty() || peer.flags.has(flag::DROPPED) {
            return;
        }
        let ending = match peer.conn.ending(now) {
            // Both have said Close, and the one who stops waits for nobody.
            Ending::Shutdown if self.stopping && peer.conn.closed_cleanly() => Ending::Drop,
            // In a flood of those that are too many, only the first ones' descriptors are kept to see the answer off.
            Ending::Shutdown if peer.flags.has(flag::REFUSED) && self.refused > REFUSED_MAX => Ending::Drop,
            ending => ending,
        };
        let id = self.peers.id(index);
        match ending {
            Ending::Open => return,
            Ending::Shutdown => self.commands.push_back(Command::ShutdownWrite(id)),
            Ending::AwaitEof => {}
            Ending::Drop => self.command_close(index),
        }
        self.schedule(now, index);
    }

    fn command_close(&mut self, index: u32) {
        let id = self.peers.id(index);
        if !self.peers[index].flags.replace(flag::DROPPED, true) {
            self.commands.push_back(Command::Close(id));
        }
    }

    /// The socket is closed: nothing of the connection stays.
    pub(super) fn remove(&mut self, id: ConnId) {
        let Some(index) = self.peers.find(id) else { return };
        let peer = &mut self.peers[index];
        debug_assert!(!peer.flags.has(flag::OPENED));
        peer.conn.retire(&mut self.commons);
        self.drop_queue(index);
        self.wheel.cancel(index);
        self.statistics.drops.pings += u64::from(self.pongs.remove(&index).is_some());
        self.dialling.remove(&index);
        if self.peers[index].flags.has(flag::REFUSED) {
            self.refused -= 1;
        } else if self.is_admin(&self.peers.info(index)) {
            self.admins.retain(|&admin| admin != index);
        } else if self.peers[index].conn.role() == Role::Server {
            self.addresses.leave(&self.peers.info(index));
        }
        self.peers.remove(index);
        if self.peers.len() == 0 {
            // Everybody has left: what was kept for a crowd goes too.
            self.commons.pool.clear();
            self.dirty = VecDeque::new();
            self.dialling = HashMap::new();
            self.doomed.clear();
        }
    }

    // ------------------------------------------------------------------ writing

    #[inline]
    pub(super) fn dirty(&mut self, index: u32) {
        let flags = &mut self.peers[index].flags;
        if !flags.replace(flag::DIRTY, true) {
            self.dirty.push_back(index);
        }
    }

    /// From now until [`Core::next_dirty`] says `None`: who gets something to write only then has to wait.
    pub(super) fn begin_round(&mut self) {
        self.round = self.dirty.len();
        self.pressing = false;
    }

    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(super) fn is_pressing(&self) -> bool {
        self.pressing
    }

    /// The next peer that has something to write and whose socket takes it. After the last one the log is empty.
    #[inline]
    pub(super) fn next_dirty(&mut self) -> Option<u32> {
        while self.round > 0
            && let Some(index) = self.dirty.pop_front()
        {
            self.round -= 1;
            let peer = &mut self.peers[index];
            peer.flags.set(flag::DIRTY, false);
            if peer.outbox.is_empty() {
                continue;
            }
            if !peer.flags.has(flag::BLOCKED) {
                return Some(index);
            }
            peer.outbox.own(&self.log, &mut self.commons.pool);
        }
        self.round = usize::MAX;
        if self.log.len() > self.prepared as usize {
            for &index in &self.dirty {
                self.peers[index].outbox.own(&self.log, &mut self.commons.pool);
            }
            match self.prepared {
                0 => self.commons.pool.give_buffer(&mut self.log),
                prepared => self.log.truncate(prepared as usize),
            }
        }
        None
    }

    /// Nothing can be written any more: what waits is dropped, and nothing more is taken.
    pub(super) fn unwritable(&mut self, index: u32) {
        self.peers[index].flags.set(flag::UNWRITABLE, true);
        self.drop_queue(index);
        self.resume_reading(index);
    }

    /// `n` bytes were written; whether a backlog has drained, of which the handler is to be told.
    pub(super) fn transmitted(&mut self, now: Now, index: u32, n: usize) -> bool {
        let soft = self.commons.limits.outbox_bytes_soft as usize;
        let peer = &mut self.peers[index];
        peer.outbox.advance(n, &self.log, &mut self.commons.pool);
        self.statistics.sent.wire_bytes += n as u64;
        let waits = peer.outbox.len();
        peer.flags.set(flag::BLOCKED, waits > 0);
        if n > 0 {
            peer.took_at = Stamp::at(now.tick);
        }
        if waits == 0 {
            self.end_if_written(now, index);
        }
        if waits > 0 && n > 0 {
            self.peers[index].conn.taken(now);
        }
        if waits > soft {
            self.queued(now, index);
        }
        self.peers[index].flags.has(flag::BACKLOGGED)
            && waits <= soft
            && self.no_longer_backlogged(now, index)
    }

    fn no_longer_backlogged(&mut self, now: Now, index: u32) -> bool {
        self.peers[index].flags.set(flag::BACKLOGGED, false);
        self.schedule(now, index);
        self.read_if_free(now, index);
        if let Some(ping) = self.pongs.remove(&index) {
            let is_answered = self.control(Opcode::Pong, index, &ping);
            self.statistics.drops.pings += u64::from(!is_answered);
        }
        self.is_open(index)
    }

    fn resume_reading(&mut self, index: u32) {
        if !self.peers[index].flags.has(flag::DROPPED) {
            self.commands.push_back(Command::Read(self.peers.id(index)));
        }
    }

    pub(super) fn pause(&mut self, index: u32) {
        let peer = &mut self.peers[index];
        peer.flags.set(flag::HELD, true);
        peer.conn.pause();
    }

    pub(super) fn resume(&mut self, now: Now, index: u32) {
        let peer = &mut self.peers[index];
        if peer.flags.replace(flag::HELD, false) {
            self.read_if_free(now, index);
        }
    }

    /// Something that held up reading is over; if it was the last, the peer is read again.
    pub(super) fn read_if_free(&mut self, now: Now, index: u32) {
        let peer = &mut self.peers[index];
        if !peer.flags.has(flag::HELD | flag::BACKLOGGED | flag::THROTTLED) {
            peer.conn.resume(now);
            self.schedule(now, index);
            self.resume_reading(index);
        }
    }

    // ------------------------------------------------------------------ limits and time

    /// Has the connection failed when the handler has returned.
    pub(super) fn doom(&mut self, index: u32, how: Doom) {
        if !self.peers[index].flags.replace(flag::DOOMED, true) {
            self.doomed.push((index, how));
        }
    }

    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.doomed.is_empty() && !self.is_over_budget()
    }

    /// The next connection to fail: one that was found wanting, or, while the budget is spent, the one that holds most.
    pub(super) fn next_doomed(&mut self) -> Option<(u32, Doom)> {
        if self.doomed.is_empty() && self.is_over_budget() {
            let (index, held) = self.peers.largest_holder()?;
            self.doom(index, Doom::Fault(self.budget_spent(held)));
        }
        self.doomed.pop()
    }

    #[inline]
    pub(super) fn is_over_budget(&self) -> bool {
        let budget = self.commons.limits.buffered_bytes_max;
        budget > 0 && self.commons.pool.held_bytes() as u64 > budget
    }

    /// Frees what a connection that is given up holds; of its queue it keeps the frame that was begun, if small.
    pub(super) fn cut(&mut self, index: u32, fault: &Fault) {
        let peer = &mut self.peers[index];
        // Who spends the budget on a message that comes in is not to lose a few answers that go out.
        let spends_on_input = peer.conn.held_bytes() > peer.outbox.held_bytes();
        let spared =
            if matches!(fault, Fault::BudgetSpent { .. }) && spends_on_input { SPARED_BYTES } else { 0 };
        let waited = peer.outbox.len();
        if !peer.outbox.cut(spared, &mut self.commons.pool) {
            peer.flags.set(flag::MUTE, true);
        }
        self.statistics.drops.queued_bytes += (waited - peer.outbox.len()) as u64;
    }

    /// While a handler runs and the budget is spent: the connection that holds most loses its queue at once.
    pub(super) fn relieve(&mut self) {
        if let Some((index, held)) = self.peers.largest_holder() {
            let fault = self.budget_spent(held);
            self.cut(index, &fault);
            self.peers[index].conn.abandon_message(&mut self.commons);
            self.doom(index, Doom::Fault(fault));
        }
    }

    fn budget_spent(&self, held: usize) -> Fault {
        Fault::BudgetSpent { held: held as u64, limit: self.commons.limits.buffered_bytes_max }
    }

    /// The peer has not taken a byte for too long while much waits.
    pub(super) fn stalled(&self, now: Now, index: u32) -> Option<Fault> {
        let (peer, limits) = (&self.peers[index], &self.commons.limits);
        let stalled = self.is_open(index)
            && peer.flags.has(flag::BACKLOGGED)
            && limits.outbox_stall_ms_max > 0
            && peer.took_at.elapsed(now.tick) >= limits.outbox_stall_ms_max;
        let queued = peer.outbox.len() as u64;
        stalled.then_some(Fault::StalledReader { queued, limit_ms: limits.outbox_stall_ms_max })
    }

    /// Sees to it that the peer is looked at when its earliest deadline has come.
    pub(super) fn schedule(&mut self, now: Now, index: u32) {
        let (peer, limits) = (&self.peers[index], &self.commons.limits);
        if peer.flags.has(flag::DROPPED) {
            return;
        }
        let stall =
            (self.is_open(index) && peer.flags.has(flag::BACKLOGGED) && limits.outbox_stall_ms_max > 0)
                .then(|| peer.took_at.due(limits.outbox_stall_ms_max, now.tick));
        let go_on = self.throttled_until(now, index);
        let deadline = [peer.conn.deadline(now, &self.commons), stall, go_on].into_iter().flatten().min();
        if let Some(at) = deadline {
            // What is due at once is due at the next look: a look never makes another one.
            self.wheel.schedule(index, at.max(now.tick.after(1)), now.tick);
        }
    }
}

impl Fanout {
    /// Members in all.
    pub fn members(&self) -> u32 {
        self.queued + self.backlogged + self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Engine, *};
    use crate::{
        conn::Message,
        engine::{Context, Handler},
    };

    struct Quiet;

    impl Handler for Quiet {
        fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {}
    }

    #[test]
    fn those_who_administer_are_beside_the_limit_and_have_one_of_their_own() {
        let mut config = Config { admin_listener: Some(1), ..Config::default() };
        (config.limits.connections_max, config.limits.connections_per_address_max) = (2, 1);
        let mut engine = Engine::new(&config, Quiet, |bytes| bytes.fill(7));
        let now = Now { tick: Tick::ZERO, unix_ms: 0 };
        let mut accept = |listener, address: &str| {
            let info = PeerInfo { address: address.parse().ok(), listener };
            let id = engine.handle_accept(now, info);
            let is_refused = engine.poll_transmit().is_some();
            (id, is_refused, engine.act(now, |_, cx| cx.connections_left()))
        };
        assert!(!accept(0, "10.0.0.1:1").1);
        assert!(accept(0, "10.0.0.1:2").1, "one from each address");
        assert!(!accept(0, "10.0.0.2:1").1);
        assert!(accept(0, "10.0.0.3:1").1);
        let admins: Vec<_> =
            (0..ADMINS_MAX as u16).map(|port| accept(1, &format!("10.0.0.1:{port}"))).collect();
        assert!(admins.iter().all(|(_, is_refused, left)| (*is_refused, *left) == (false, 0)));
        for (oldest, ..) in &admins[..2] {
            let info = PeerInfo { address: None, listener: 1 };
            engine.handle_accept(now, info);
            assert!(engine.poll_transmit().is_none(), "it is let in");
            assert_eq!(engine.poll_command(), Some(crate::engine::Command::Close(*oldest)));
        }
        assert_eq!(
            (engine.statistics().handshakes.lost, engine.statistics().now.connections),
            (2, 2 + 2 + 16)
        );
    }
}
