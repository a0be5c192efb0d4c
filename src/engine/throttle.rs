//! What one connection may send in a second. Who has sent more is not read until it may go on, and TCP holds it up.

use super::{Core, peers::flag, rate::Paid};
use crate::{
    config::Limits,
    conn::{Received, Role},
    time::{Now, Tick},
};

/// The accounts of all connections, by their index.
#[derive(Debug)]
pub(super) struct Throttle {
    messages_max: u32,
    bytes_max: u32,
    read_bytes_max: usize,
    accounts: Vec<Account>,
}

/// What came, so that one's share is counted as a difference.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came {
    frames: u64,
    inflated_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    messages: Paid,
    bytes: Paid,
}

/// The smallest frame that a client sends. RFC 6455 §5.2
const FRAME_BYTES_MIN: u32 = 6;
/// Fewer are never read at a time: most messages are to come in one read.
const READ_BYTES_MIN: u32 = 256;

impl Throttle {
    /// `None` where nothing is limited.
    pub(super) fn new(limits: &Limits) -> Option<Box<Throttle>> {
        let (messages_max, bytes_max) = (limits.messages_per_second_max, limits.bytes_per_second_max);
        let most = |limit: u32, bytes: u32| if limit > 0 { limit.saturating_mul(bytes) } else { u32::MAX };
        let read = most(messages_max, FRAME_BYTES_MIN).min(most(bytes_max, 1)).max(READ_BYTES_MIN);
        (messages_max > 0 || bytes_max > 0).then(|| {
            Box::new(Throttle {
                messages_max,
                bytes_max,
                read_bytes_max: read as usize,
                accounts: Vec::new(),
            })
        })
    }

    /// Most bytes that are read at a time: what lies there is all handled.
    pub(super) fn read_bytes_max(&self) -> usize {
        self.read_bytes_max
    }

    fn account(&mut self, index: u32) -> &mut Account {
        if self.accounts.len() <= index as usize {
            self.accounts.resize(index as usize + 1, Account::default());
        }
        &mut self.accounts[index as usize]
    }

    /// Of another connection from now on.
    pub(super) fn begin(&mut self, index: u32) {
        *self.account(index) = Account::default();
    }

    /// What came is paid for, in debt if need be.
    fn charge(&mut self, now: Tick, index: u32, messages: u64, bytes: u64) {
        let (messages_max, bytes_max) = (self.messages_max, self.bytes_max);
        let account = self.account(index);
        account.messages.take(now, messages, messages_max);
        account.bytes.take(now, bytes, bytes_max);
    }

    /// Until when the connection is not to be read; `None` if it may be.
    fn due(&self, now: Tick, index: u32) -> Option<Tick> {
        let account = self.accounts.get(index as usize)?;
        let due = |paid: Paid, limit: u32| (limit > 0 && paid.room(now, limit) == 0).then(|| paid.due(limit));
        due(account.messages, self.messages_max).max(due(account.bytes, self.bytes_max))
    }
}

impl Core {
    /// What came from all peers so far: frames of any kind, and what compressed messages were inflated to.
    pub(super) fn came(&self) -> Came {
        let Received { parts, inflated_bytes, .. } = self.commons.received;
        Came { frames: parts + self.tally.all_received(), inflated_bytes }
    }

    /// A read of an accepted connection has been handled: it brought `bytes`, and what came since `before`.
    pub(super) fn charge(&mut self, now: Now, index: u32, bytes: usize, before: Came) {
        let came = self.came();
        let peer = &self.peers[index];
        let is_limited =
            peer.conn.role() == Role::Server && !peer.flags.has(flag::LEAVING) && self.is_open(index);
        let Some(throttle) = self.throttle.as_mut().filter(|_| is_limited) else { return };
        let inflated = came.inflated_bytes - before.inflated_bytes;
        throttle.charge(now.tick, index, came.frames - before.frames, bytes as u64 + inflated);
        if throttle.due(now.tick, index).is_some() && !self.peers[index].flags.replace(flag::THROTTLED, true)
        {
            self.peers[index].conn.pause();
            self.schedule(now, index);
        }
    }

    /// When a connection that sent too much may be read again.
    pub(super) fn throttled_until(&self, now: Now, index: u32) -> Option<Tick> {
        let throttle = self.throttle.as_ref().filter(|_| self.peers[index].flags.has(flag::THROTTLED))?;
        throttle.due(now.tick, index)
    }

    /// Reads a connection again that may go on.
    pub(super) fn let_go_on(&mut self, now: Now, index: u32) {
        if self.peers[index].flags.has(flag::THROTTLED) && self.throttled_until(now, index).is_none() {
            self.peers[index].flags.set(flag::THROTTLED, false);
            self.read_if_free(now, index);
        }
    }
}
