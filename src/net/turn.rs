//! One turn of the loop: wait, read the clock once, handle each event, look after timers, write.

use super::{
    EVENTS_MAX, LISTENERS, Server, Slot, Stop, WAKER,
    dial::DIALS,
    proxy::ARRIVALS,
    remote::RemoteCommand,
    socket::{self, Holder, Listener, Room, Socket},
};
use crate::{
    engine::{Command, ConnId, Handler, Lost, PeerInfo},
    error::Error,
    time::Tick,
    wire::handshake::Refusal,
};
use mio::{Events, Token};
use std::{io, time::Duration};

/// Connections accepted per listener and wake, so that a flood of them does not keep the others waiting.
const ACCEPTS_MAX: usize = 256;
/// Pause before accepting again when the process or the machine is out of descriptors or memory.
const ACCEPT_PAUSE_MS: u32 = 100;
/// Reads of one that is to be closed: what had come, but not what a flood of it goes on to bring.
const READS_OUT_MAX: u8 = 64;

/// Bytes inflated, or assembled for a handler that takes them apart, behind which a turn reads nothing more of such kind:
/// a crowd that sends those waits for itself, and all others have their turns.
const COSTLY_BYTES_MAX: u64 = 1 << 20;

impl<H: Handler> Server<H> {
    /// Waits at most `timeout` (`None`: as long as it takes) for something to do, and does it. False once the
    /// server has stopped.
    ///
    /// # Errors
    /// When the operating system's event queue fails.
    pub fn turn(&mut self, timeout: Option<Duration>) -> Result<bool, Error> {
        // Whoever turns us may have worked for long since the last turn.
        self.now = self.clock.now();
        self.turn_on(timeout)
    }

    /// The same, right behind another turn, which has read the clock at its end.
    pub(super) fn turn_on(&mut self, timeout: Option<Duration>) -> Result<bool, Error> {
        if matches!(self.stop, Stop::Done) {
            return Ok(false);
        }
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let polled = self.poll.poll(&mut events, self.patience(timeout));
        self.now = self.clock.now();
        let began = self.clock.read_at();
        self.read_put_off();
        match polled {
            Ok(()) => {
                for event in &events {
                    match event.token() {
                        WAKER => self.listen_to_others(),
                        Token(token) if token > LISTENERS - self.addresses.len() => {
                            self.accept(LISTENERS - token);
                        }
                        Token(token) if token >= ARRIVALS => self.arrival_ready(token - ARRIVALS),
                        Token(token) if token >= DIALS => self.dial_ready(token - DIALS),
                        Token(index) => self.ready(index as u32, event),
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                self.events = events;
                return Err(Error::Loop(error));
            }
        }
        self.events = events;
        self.resume();
        self.advance_dials();
        self.advance_arrivals();
        if self.engine.poll_timeout().is_some_and(|at| at <= self.now.tick) {
            self.engine.handle_timeout(self.now);
            self.obey();
        }
        self.flush();
        // A handler may have worked for long.
        self.now = self.clock.now();
        let took = self.clock.read_at() - began;
        self.engine.statistics_mut().turns.record(took.as_micros() as u64);
        Ok(self.goes_on())
    }

    /// How long there is nothing to do.
    fn patience(&self, timeout: Option<Duration>) -> Option<Duration> {
        if !(self.resumed.is_empty() && self.put_off.is_empty())
            || self.engine.has_transmits()
            || self.dials.is_ready()
        {
            return Some(Duration::ZERO);
        }
        let stop = match self.stop {
            Stop::By(tick) => Some(tick),
            Stop::Draining { unlisten: None, .. } if self.has_left() => Some(self.now.tick),
            Stop::Draining { unlisten, by } => Some(unlisten.unwrap_or(by)),
            _ => None,
        };
        let due = Tick::nearer(self.engine.poll_timeout(), self.accept_at);
        let due =
            Tick::nearer(Tick::nearer(due, stop), Tick::nearer(self.dials.next(), self.arrivals.next()));
        let until = |tick: Tick| Duration::from_millis(tick.as_ms().saturating_sub(self.now.tick.as_ms()));
        match (due.map(until), timeout) {
            (Some(due), Some(timeout)) => Some(due.min(timeout)),
            (due, timeout) => due.or(timeout),
        }
    }

    /// What is left over from earlier wakes and no event announces.
    fn resume(&mut self) {
        // Those that are to be read once more after this are put on the other list.
        let mut resumed = std::mem::replace(&mut self.resumed, std::mem::take(&mut self.resumed_before));
        resumed.drain(..).for_each(|id| self.read_again(id));
        self.resumed_before = resumed;
        if self.accept_at.is_some_and(|at| at <= self.now.tick) {
            self.accept_at = None;
            (0..self.listeners.len()).for_each(|i| self.accept(i));
        }
    }

    /// Those that the last turn had no room for, before anybody whose event came since: so each has its turn.
    fn read_put_off(&mut self) {
        self.costly_bytes_before = self.engine.costly_bytes();
        for id in std::mem::take(&mut self.put_off) {
            self.read_again(id);
        }
    }

    fn read_again(&mut self, id: ConnId) {
        if self.engine.id_at(id.index) != Some(id) {
            return;
        }
        if self.has_enough_of(id) {
            return self.put_off.push(id);
        }
        self.slots[id.index()].resumed = false;
        self.read(id);
        self.read_out(id);
    }

    /// Whether `id` may be costly, and this turn has had as much of that as it may. Everybody else is still served.
    #[inline]
    fn has_enough_of(&self, id: ConnId) -> bool {
        self.engine.costly_bytes() - self.costly_bytes_before >= COSTLY_BYTES_MAX
            && self.engine.may_be_costly(id)
    }

    fn goes_on(&mut self) -> bool {
        if let Stop::Draining { unlisten, by } = self.stop {
            if unlisten.is_some_and(|at| at <= self.now.tick) {
                for number in 0..self.listeners.len() {
                    self.accept_all(number, Holder::Group);
                }
                let shared: Vec<_> = self
                    .listeners
                    .iter()
                    .enumerate()
                    .filter_map(|(i, place)| {
                        place.as_ref().filter(|place| place.holder() == Holder::Group).map(|_| i)
                    })
                    .collect();
                self.unlisten(|listener| listener.holder() == Holder::Group);
                for number in shared {
                    let ip = self.addresses[number].ip();
                    self.taken_over[number] = ip.is_some_and(socket::is_listened_on);
                }
                self.leave(by);
            } else if unlisten.is_none() && (self.has_left() || by <= self.now.tick && self.is_read_out()) {
                self.shutdown();
            }
        }
        if let Stop::By(tick) = self.stop {
            let time_is_up = tick <= self.now.tick;
            if time_is_up {
                self.engine.handle_abort(self.now);
                self.obey();
            }
            // Who dials again for each dial that is given up does not keep the loop.
            if time_is_up || self.engine.connections() == 0 {
                self.stop = Stop::Done;
            }
        }
        !matches!(self.stop, Stop::Done)
    }

    /// Whether the drain is over before its time: everybody had a turn, and nobody waits to be let in.
    fn has_left(&self) -> bool {
        self.arrivals.is_empty() && (self.engine.connections() == 0 || self.is_read_out())
    }

    fn is_read_out(&self) -> bool {
        self.engine.is_drained() && self.reading_out == 0
    }

    // ------------------------------------------------------------------ in

    fn accept(&mut self, number: usize) {
        for _ in 0..ACCEPTS_MAX {
            let Some(listener) = self.listeners.get(number).and_then(Option::as_ref) else { return };
            match Listener::accept(listener, number as u16) {
                Ok((socket, info)) if listener.is_of_proxies() => self.arrive(socket, info),
                Ok((socket, info)) => self.accepted(socket, info),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The peer of this one has gone again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    // Out of descriptors, most likely. Those that wait stay in the backlog; trying at once would spin.
                    self.accept_at = Some(self.now.tick.after(ACCEPT_PAUSE_MS));
                    self.engine.statistics_mut().accept_pauses += 1;
                    return;
                }
            }
        }
        self.accept_at = Some(self.now.tick);
    }

    /// Accepts all in the backlog of a listener, if it is held so.
    pub(super) fn accept_all(&mut self, number: usize, holder: Holder) {
        while let Some(listener) = self.listeners.get(number).and_then(Option::as_ref)
            && listener.holder() == holder
            && let Ok((socket, info)) = listener.accept(number as u16)
        {
            if listener.is_of_proxies() {
                self.arrive(socket, info);
            } else {
                self.accepted(socket, info);
            }
        }
    }

    /// Lets go of listeners; their numbers stay.
    pub(super) fn unlisten(&mut self, goes: impl Fn(&Listener) -> bool) {
        for place in &mut self.listeners {
            if let Some(mut listener) = place.take_if(|listener| goes(listener)) {
                // One that is not on the queue is not reported.
                let _ = listener.deregister(self.poll.registry());
            }
        }
    }

    fn accepted(&mut self, socket: Socket, info: PeerInfo) {
        let id = self.engine.handle_accept(self.now, info);
        self.settle_in(socket, id);
    }

    /// A connection that the engine has just taken gets its place.
    pub(super) fn settle_in(&mut self, mut socket: Socket, id: ConnId) {
        if socket.register(self.poll.registry(), Token(id.index())).is_err() {
            self.engine.handle_lost(self.now, id, Lost::Io(io::ErrorKind::Other));
        }
        *self.slot(id) = Slot { socket: Some(socket), ..Slot::default() };
        self.obey();
        if self.engine.connections() > self.connections_max as usize {
            self.flush(); // answers to those that are too many go out before there are more of them
        }
    }

    /// The place of `id`, which one that was just dialled does not have yet.
    #[inline]
    pub(super) fn slot(&mut self, id: ConnId) -> &mut Slot {
        if self.slots.len() <= id.index() {
            self.slots.resize_with(id.index() + 1, Slot::default);
        }
        &mut self.slots[id.index()]
    }

    fn ready(&mut self, index: u32, event: &mio::event::Event) {
        let Some(id) = self.engine.id_at(index) else { return };
        if self.slot(id).socket.is_none() {
            return; // an event of who had this place before one that is being dialled
        }
        if event.is_writable() {
            self.slots[id.index()].flush();
            self.engine.handle_writable(id);
        }
        let slot = &mut self.slots[id.index()];
        if event.is_read_closed() || event.is_error() {
            slot.read_closed = true;
            if event.is_error() && self.engine.is_paused(id) {
                // Nobody reads it, so nothing else would tell that it is gone.
                self.engine.handle_lost(self.now, id, Lost::Io(io::ErrorKind::ConnectionReset));
                return self.obey();
            }
        } else if !event.is_readable() {
            return;
        }
        if slot.resumed {
            return;
        }
        if self.has_enough_of(id) {
            self.slots[id.index()].resumed = true;
            return self.put_off.push(id);
        }
        self.read(id);
    }

    /// One read, all of it handled, and one write of what it led to.
    fn read(&mut self, id: ConnId) {
        let slot = &mut self.slots[id.index()];
        if !self.engine.wants_read(id) {
            slot.unread = true;
            return;
        }
        slot.unread = false;
        let Some(socket) = &mut slot.socket else { return };
        let most = socket.read_bytes(self.engine.read_bytes_max(id));
        let input = &mut self.input.space()[..most];
        let (read, direct) = match self.engine.input_space(id) {
            Some(space) => {
                // The rest of a large message goes straight to where it is assembled.
                let len = space.len().min(self.read_bytes_max);
                (socket.read(&mut self.room, &mut space[..len], input), len)
            }
            None => (socket.read(&mut self.room, &mut [], input), 0),
        };
        match read {
            Ok(read) if read.is_end => match slot.write_failed {
                // The write was told of the reset, and the read was told no more.
                Some(kind) if kind != io::ErrorKind::BrokenPipe => {
                    self.engine.handle_lost(self.now, id, Lost::Io(kind));
                }
                _ => self.engine.handle_eof(self.now, id),
            },
            Ok(read) => {
                // Behind the last bytes of a peer that has ended comes its end, for which there is no further edge.
                if read.has_more || slot.read_closed {
                    self.resume_later(id);
                }
                if read.is_writable {
                    self.engine.handle_writable(id);
                }
                if read.bytes > 0 {
                    if direct > 0 {
                        self.engine.handle_filled(self.now, id, read.bytes.min(direct));
                    }
                    self.input.fill(read.bytes.saturating_sub(direct));
                    self.engine.handle_input(self.now, id, &mut self.input);
                    self.reply(id);
                }
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {}
                io::ErrorKind::Interrupted => self.resume_later(id),
                // Only a socket under TLS says these.
                io::ErrorKind::Unsupported => self.hint(id),
                io::ErrorKind::InvalidData => self.distrust(id, &error),
                kind => self.engine.handle_lost(self.now, id, Lost::Io(kind)),
            },
        }
        self.obey();
        self.relieve();
    }

    /// Plain HTTP came where TLS is spoken: that is said in plain HTTP.
    #[cold]
    fn hint(&mut self, id: ConnId) {
        self.slots[id.index()].drop_tls();
        let hint = Refusal::Malformed("this port speaks TLS: use https:// or wss://");
        self.engine.handle_refused(self.now, id, &hint);
    }

    /// The peer does not speak TLS as it should, or is not who it should be.
    #[cold]
    fn distrust(&mut self, id: ConnId, error: &io::Error) {
        self.engine.handle_tls_failed(self.now, id, &error.to_string());
    }

    /// Nobody is to be given up as a slow reader for what was not even offered to its socket.
    #[inline]
    fn relieve(&mut self) {
        if self.engine.is_pressing() {
            self.flush();
        }
    }

    fn begin_reading_out(&mut self, id: ConnId) {
        let slot = self.slot(id);
        if slot.socket.is_none() {
            return self.engine.handle_read_out(self.now, id); // it is being dialled
        }
        let was_reading_out = std::mem::replace(&mut slot.reads_left, READS_OUT_MAX) > 0;
        self.reading_out += usize::from(!was_reading_out);
        self.resume_later(id);
    }

    /// One that is to be closed was read: perhaps there is nothing more.
    fn read_out(&mut self, id: ConnId) {
        let slot = &mut self.slots[id.index()];
        if slot.reads_left == 0 {
            return;
        }
        slot.reads_left = if slot.resumed { slot.reads_left - 1 } else { 0 };
        if slot.reads_left == 0 {
            self.reading_out -= 1;
            self.engine.handle_read_out(self.now, id);
            self.obey();
        }
    }

    fn resume_later(&mut self, id: ConnId) {
        let slot = &mut self.slots[id.index()];
        if !slot.resumed && slot.socket.is_some() {
            slot.resumed = true;
            self.resumed.push(id);
        }
    }

    fn listen_to_others(&mut self) {
        let remote = self.remote.clone();
        remote.take_wake();
        // No more than were allowed to wait: others may go on adding while we work.
        for _ in 0..EVENTS_MAX {
            let Some(command) = remote.next() else { break };
            let command = match command {
                RemoteCommand::Limits(limits) => {
                    self.take_limits(limits.0, limits.1);
                    continue;
                }
                RemoteCommand::Drain(within_ms) => {
                    self.drain(within_ms);
                    continue;
                }
                command => command,
            };
            self.engine.act(self.now, |_, cx| match command {
                RemoteCommand::Limits(_) | RemoteCommand::Drain(_) => {}
                RemoteCommand::Send(id, message) => {
                    cx.send(id, message.as_message());
                }
                RemoteCommand::Publish(topic, message) => {
                    cx.publish(&topic, message.as_message());
                }
                RemoteCommand::Close(id, code, reason) => {
                    cx.close(id, code, &reason);
                }
                RemoteCommand::Origins(origins) => cx.set_origins(origins),
            });
            self.relieve();
        }
        self.engine.handle_wake(self.now);
        self.relieve();
        if remote.has_more() {
            remote.wake();
        } else if remote.is_to_stop() {
            self.shutdown();
        }
        self.obey();
    }

    // ------------------------------------------------------------------ out

    /// Writes what a peer's own input led to, while it is in the cache.
    #[inline]
    fn reply(&mut self, id: ConnId) {
        let Some(transmit) = self.engine.poll_reply(id, &self.input) else { return };
        match write(&mut self.slots[id.index()], &mut self.room, transmit.first, transmit.second) {
            Ok(n) => self.engine.handle_replied(self.now, id, &mut self.input, n),
            Err(kind) => self.write_failed(id, kind),
        }
    }

    /// Writes to each peer that this wake brought something, once.
    pub(super) fn flush(&mut self) {
        self.engine.begin_transmits();
        while let Some(transmit) = self.engine.poll_transmit() {
            let id = transmit.id;
            match write(&mut self.slots[id.index()], &mut self.room, transmit.first, transmit.second) {
                Ok(n) => self.engine.handle_transmitted(self.now, id, n),
                Err(kind) => self.write_failed(id, kind),
            }
            self.obey();
        }
    }

    /// A peer that cannot be written to may have sent something before it went: that is handled first, and the read
    /// behind it says how it ended.
    fn write_failed(&mut self, id: ConnId, kind: io::ErrorKind) {
        if kind == io::ErrorKind::NotConnected {
            // There never was a way to say something to it: nothing that it sent counts.
            return self.engine.handle_lost(self.now, id, Lost::Io(kind));
        }
        self.engine.handle_unwritable(id, &mut self.input);
        let slot = &mut self.slots[id.index()];
        (slot.write_failed, slot.read_closed) = (Some(kind), true);
        self.resume_later(id);
    }

    /// Does to sockets what the engine asks.
    #[inline]
    pub(super) fn obey(&mut self) {
        while let Some(command) = self.engine.poll_command() {
            match command {
                Command::Dial(id) => self.dials.push(id),
                Command::ShutdownWrite(id) => {
                    self.slot(id);
                    let slot = &mut self.slots[id.index()];
                    if let Some(socket) = &mut slot.socket {
                        socket.shutdown_write(&mut self.room);
                    }
                    if slot.unread {
                        self.resume_later(id);
                    }
                }
                // Closing a descriptor takes it off the event queue.
                Command::Close(id) => {
                    self.slot(id);
                    match &mut self.slots[id.index()].socket {
                        Some(socket) => socket.end(&mut self.room),
                        None => self.dials.forget(id),
                    }
                    if self.slots[id.index()].reads_left > 0 {
                        self.reading_out -= 1;
                    }
                    self.slots[id.index()] = Slot::default();
                }
                Command::Read(id) => {
                    if self.slot(id).unread {
                        self.resume_later(id);
                    }
                }
                Command::ReadOut(id) => self.begin_reading_out(id),
                Command::Shutdown => self.remote.shutdown(),
                Command::Drain => self.remote.drain(self.drain_ms),
            }
        }
    }
}

/// One write: how much of it was taken, or why nothing will be taken any more.
fn write(slot: &mut Slot, room: &mut Room, first: &[u8], second: &[u8]) -> Result<usize, io::ErrorKind> {
    let Some(socket) = &mut slot.socket else { return Err(io::ErrorKind::NotConnected) };
    match socket.write(room, first, second) {
        Ok(n) => Ok(n),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
            kind => Err(kind),
        },
    }
}
