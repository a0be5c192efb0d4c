//! Leaving in order: who is connected is closed in turn, spread over some time, so that not all come back at once.

use super::{ConnId, Core, DialError, Engine, Handler, Lost, peers::flag};
use crate::{
    conn::{ConnectionState, Role},
    engine::Command,
    time::{Now, Tick},
    wire::{close::CloseCode, handshake::Refusal},
};
use std::collections::VecDeque;

/// Shortest time between two batches, in milliseconds: of a hundred thousand in a second, each has a thousand.
const BATCH_MS: u32 = 10;
/// Connections in the middle of something that are looked at again in a batch, at most.
const LATE_MAX: usize = 1_024;
/// A client is asked to come back after so many milliseconds, and less than as many again.
const RETRY_MS: u32 = 1_000;

/// How far a drain is.
#[derive(Default)]
pub(super) enum Drain {
    #[default]
    No,
    /// It is about to begin. Who came since then, which is told by their generation, is closed last.
    Ahead { since: u32 },
    /// Connections are being closed, or have all had their turn.
    Leaving(Box<Leaving>),
}

/// Who has had its turn, and when the next ones have theirs.
pub(super) struct Leaving {
    since: u32,
    pace: Pace,
    by: Tick,
    /// Indices below it had their turn, or are put off.
    cursor: u32,
    /// In the middle of something, or came last: they have their turn behind the others.
    late: VecDeque<ConnId>,
    /// The time of these has been made out.
    is_late: bool,
    /// When the next batch is due; `None`: all had their turn.
    next: Option<Tick>,
    /// Whether somebody else serves those now who connect to it, by the number of a listener.
    taken_over: Vec<bool>,
}

/// So many turns, spread evenly.
struct Pace {
    start: Tick,
    within_ms: u64,
    count: u64,
    done: u64,
}

impl Pace {
    fn new(start: Tick, by: Tick, count: usize) -> Pace {
        Pace { start, within_ms: by.as_ms() - start.as_ms(), count: count as u64, done: 0 }
    }

    /// Whether one more is due: turn `i` of `n` comes `(i + 1/2) / n` of the time after the start.
    fn is_due(&self, now: Tick) -> bool {
        now >= self.next()
    }

    fn next(&self) -> Tick {
        let after = ((2 * self.done + 1) * self.within_ms).div_ceil(2 * self.count.max(1));
        Tick::from_ms(self.start.as_ms() + after)
    }
}

impl Leaving {
    /// Those who are left have theirs until `by`, if that is sooner.
    fn hasten(&mut self, now: Now, by: Tick, connections: usize) {
        if by < self.by {
            self.by = by;
            let count = if self.is_late { self.late.len() } else { connections };
            self.pace = Pace::new(now.tick, by, count);
        }
    }
}

impl<H: Handler> Engine<H> {
    /// A drain is about to begin: [`Context::is_draining`](super::Context::is_draining) says so from now on. Everybody is
    /// served as before, and whoever is accepted from now on is closed last.
    pub fn handle_drain_ahead(&mut self, now: Now) {
        self.core.drain_ahead();
        self.settle(now);
    }

    /// Closes everybody who is connected, in batches that are spread evenly over `within_ms`, after nobody can connect any
    /// more; 0: all at once. [`Engine::poll_timeout`] says when the next batch is due.
    ///
    /// `taken_over` says by the number of a listener whether somebody else serves now who connects to it: the code is
    /// 1012 then, else 1001. The reason holds `retry_ms=N`, in which each client has its own N, of 1,000 to 1,999. A server
    /// that was dialled is closed with 1001 and no such wish.
    ///
    /// For each, [`Command::ReadOut`] has what came before its Close handled first. Who is in the middle of a handshake or of
    /// a message, is paused, or has not taken what it was sent, has its turn later, and at the latest when time is up:
    /// then a handshake is refused with 503, and half a message is lost.
    ///
    /// Said once more, it may have less time, and not more.
    pub fn handle_drain(&mut self, now: Now, within_ms: u32, taken_over: &[bool]) {
        self.core.drain_ahead();
        let by = now.tick.after(within_ms);
        let since = match &mut self.core.drain {
            Drain::Leaving(leaving) => {
                leaving.hasten(now, by, self.core.peers.len());
                self.core.leave(now);
                return self.settle(now);
            }
            Drain::Ahead { since } => *since,
            Drain::No => return,
        };
        self.core.drain = Drain::Leaving(Box::new(Leaving {
            since,
            pace: Pace::new(now.tick, by, self.core.peers.len()),
            by,
            cursor: 0,
            late: VecDeque::new(),
            is_late: false,
            next: Some(now.tick),
            taken_over: taken_over.to_vec(),
        }));
        self.core.leave(now);
        self.settle(now);
    }

    /// What had come from `id` was handled: it is closed now, or its handshake refused.
    pub fn handle_read_out(&mut self, now: Now, id: ConnId) {
        if let Some(index) = self.core.peers.find(id) {
            self.send_off(now, index);
        }
        self.settle(now);
    }

    /// Ends one connection because the server goes.
    pub(super) fn send_off(&mut self, now: Now, index: u32) {
        match self.core.peers[index].conn.state() {
            // A server that was dialled is owed no answer.
            ConnectionState::Handshake if self.dial_failed(now, index, &DialError::Lost(Lost::Stopped)) => {}
            ConnectionState::Handshake => {
                self.refuse(now, index, &Refusal::Unavailable("the server is stopping"), None);
            }
            _ => {
                let (code, reason) = self.core.farewell(index);
                self.core.close(now, index, code, &reason);
                self.core.end_if_written(now, index);
            }
        }
    }

    /// Whether a drain is ahead or under way.
    pub fn is_draining(&self) -> bool {
        self.core.is_draining()
    }

    /// Whether everybody had a turn to be closed.
    pub fn is_drained(&self) -> bool {
        matches!(&self.core.drain, Drain::Leaving(leaving) if leaving.next.is_none())
    }
}

impl Core {
    pub(super) fn is_draining(&self) -> bool {
        self.stopping || !matches!(self.drain, Drain::No)
    }

    fn drain_ahead(&mut self) {
        if matches!(self.drain, Drain::No) {
            self.drain = Drain::Ahead { since: self.peers.next_generation() };
        }
    }

    /// When the next batch is due.
    #[inline]
    pub(super) fn next_batch(&self) -> Option<Tick> {
        match &self.drain {
            Drain::Leaving(leaving) => leaving.next,
            _ => None,
        }
    }

    /// Gives those a turn who are due. All batches together look at each connection once, and once more at those that are
    /// put off.
    pub(super) fn leave(&mut self, now: Now) {
        let Drain::Leaving(mut leaving) = std::mem::take(&mut self.drain) else { return };
        let is_over = leaving.by <= now.tick;
        while leaving.cursor < self.peers.end() && (is_over || leaving.pace.is_due(now.tick)) {
            let index = leaving.cursor;
            leaving.cursor += 1;
            if self.is_to_leave(index) {
                let id = self.peers.id(index);
                if self.is_busy(index) || self.peers.came_since(index, leaving.since) {
                    leaving.late.push_back(id);
                } else {
                    leaving.pace.done += 1;
                    self.read_out(now, id);
                }
            }
        }
        if leaving.cursor >= self.peers.end() && !leaving.is_late {
            // They have at least half of the time, and then the rest of it is spread anew.
            leaving.is_late = true;
            let half = leaving.pace.start.after((leaving.pace.within_ms / 2) as u32);
            leaving.pace = Pace::new(half.max(now.tick).min(leaving.by), leaving.by, leaving.late.len());
        }
        let looks = if is_over { leaving.late.len() } else { leaving.late.len().min(LATE_MAX) };
        for _ in 0..looks {
            let is_due = is_over || leaving.is_late && leaving.pace.is_due(now.tick);
            if !is_due {
                break;
            }
            let Some(id) = leaving.late.pop_front() else { break };
            let Some(index) = self.peers.find(id).filter(|&index| self.is_to_leave(index)) else { continue };
            if self.is_busy(index) && !is_over {
                leaving.late.push_back(id);
            } else {
                leaving.pace.done += 1;
                self.read_out(now, id);
            }
        }
        let is_done = leaving.cursor >= self.peers.end() && leaving.late.is_empty();
        leaving.next = (!is_done).then(|| leaving.pace.next().max(now.tick.after(BATCH_MS)).min(leaving.by));
        self.drain = Drain::Leaving(leaving);
    }

    /// What it has sent so far is handled, however much it has sent lately.
    fn read_out(&mut self, now: Now, id: ConnId) {
        self.peers[id.index].flags.set(flag::LEAVING, true);
        if self.peers[id.index].flags.replace(flag::THROTTLED, false) {
            self.read_if_free(now, id.index);
        }
        self.commands.push_back(Command::ReadOut(id));
    }

    /// Somebody came all the same, by a proxy whose header was late: there is a turn for it, too.
    pub(super) fn came_late(&mut self, id: ConnId) {
        if let Drain::Leaving(leaving) = &mut self.drain {
            if id.index < leaving.cursor {
                leaving.late.push_back(id);
            }
            leaving.next.get_or_insert(leaving.by);
        }
    }

    fn is_to_leave(&self, index: u32) -> bool {
        self.peers.is_occupied(index)
            && matches!(self.peers[index].conn.state(), ConnectionState::Handshake | ConnectionState::Open)
    }

    /// Whether it is in the middle of something that may soon be over.
    fn is_busy(&self, index: u32) -> bool {
        let peer = &self.peers[index];
        peer.conn.state() == ConnectionState::Handshake
            || peer.conn.is_unfinished()
            || peer.flags.has(flag::BACKLOGGED | flag::HELD)
    }

    /// What a connection is closed with.
    fn farewell(&mut self, index: u32) -> (CloseCode, String) {
        const STOPPING: &str = "the server is stopping";
        let Drain::Leaving(leaving) = &self.drain else {
            return (CloseCode::GOING_AWAY, STOPPING.to_owned());
        };
        if self.peers[index].conn.role() == Role::Client {
            return (CloseCode::GOING_AWAY, STOPPING.to_owned());
        }
        let listener = usize::from(self.peers.info(index).listener);
        let taken_over = leaving.taken_over.get(listener).copied().unwrap_or(false);
        let retry_ms = RETRY_MS + u32::from_be_bytes(self.commons.random()) % RETRY_MS;
        let (code, what) = match taken_over {
            true => (CloseCode::RESTART, "the server restarts"),
            false => (CloseCode::GOING_AWAY, STOPPING),
        };
        (code, format!("{what}; retry_ms={retry_ms}"))
    }
}
