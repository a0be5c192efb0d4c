//! Who is read, and how much of it at a time, so that nobody's input keeps the others waiting.

use super::{ConnId, Engine, Handler, peers::flag};
use crate::conn::{COMPRESSED_READ_BYTES_MAX, ConnectionState, Role};

/// Bytes read at a time from a peer whose messages may go to many: some thousand of the smallest ones, which for as many
/// members is ten or twenty milliseconds of work.
const SPREAD_READ_BYTES_MAX: usize = 8 << 10;

/// The same where they may come compressed: four megabytes to be taken apart are ten or twenty milliseconds, too.
const SPREAD_COMPRESSED_READ_BYTES_MAX: usize = 4 << 10;

impl<H: Handler> Engine<H> {
    /// Whether to read `id` now. If not, `Command::Read` says when.
    #[inline]
    pub fn wants_read(&self, id: ConnId) -> bool {
        self.core.peers.find(id).is_some_and(|index| {
            let peer = &self.core.peers[index];
            let holds_up = match peer.conn.role() {
                Role::Server => flag::BACKLOGGED | flag::HELD | flag::THROTTLED,
                Role::Client => flag::HELD,
            };
            let waits = peer.flags.has(holds_up) && !peer.flags.has(flag::UNWRITABLE);
            !(waits && peer.conn.state() == ConnectionState::Open)
        })
    }

    /// How many bytes to read from `id` at a time into the `Input`, at most: `Limits::read_bytes_max`, and less from
    /// one that may compress, for what it sends may inflate to a thousand times as much, from one whose messages may go
    /// to many (`Context::set_spreading`), and from one of which that is not known before its handshake is over.
    #[inline]
    pub fn read_bytes_max(&self, id: ConnId) -> usize {
        let limit = self.core.commons.limits.read_bytes_max as usize;
        let Some(index) = self.core.peers.find(id) else { return limit };
        let peer = &self.core.peers[index];
        let is_open = peer.conn.state() == ConnectionState::Open;
        let inflates = peer.conn.may_inflate(&self.core.commons);
        let most = match peer.flags.has(flag::SPREADS) {
            true if inflates && is_open => SPREAD_COMPRESSED_READ_BYTES_MAX,
            true => SPREAD_READ_BYTES_MAX,
            false if peer.conn.state() == ConnectionState::Handshake => SPREAD_READ_BYTES_MAX,
            false if inflates => COMPRESSED_READ_BYTES_MAX,
            false => limit,
        };
        match &self.core.throttle {
            Some(throttle) if is_open && !peer.flags.has(flag::LEAVING) => {
                limit.min(most).min(SPREAD_READ_BYTES_MAX).min(throttle.read_bytes_max())
            }
            _ => limit.min(most),
        }
    }

    /// Whether what `id` sends may be work far beyond its length: it is inflated, or taken apart by the handler
    /// (`Context::set_spreading`). Of these `net` reads no more in a turn once [`Engine::costly_bytes`] are many.
    #[inline]
    pub(crate) fn may_be_costly(&self, id: ConnId) -> bool {
        self.core.peers.find(id).is_some_and(|index| {
            let peer = &self.core.peers[index];
            peer.flags.has(flag::SPREADS) || peer.conn.may_inflate(&self.core.commons)
        })
    }

    /// Bytes so far that were work beyond their transport.
    #[inline]
    pub(crate) fn costly_bytes(&self) -> u64 {
        self.core.commons.received.costly_bytes
    }

    /// Whether `id` is not read: a handler paused it, or it has sent more than it may.
    pub fn is_paused(&self, id: ConnId) -> bool {
        let paused = flag::HELD | flag::THROTTLED;
        self.core.peers.find(id).is_some_and(|index| self.core.peers[index].flags.has(paused))
    }
}
