//! What waits to be written to one peer: bytes of its own, and behind them frames it shares with others.

use crate::{
    conn::{Block, Buffer, Pool},
    wire::frame,
};
use std::ops::Range;

/// A queue of frames. Empty, it holds nothing; its buffer comes from the pool.
///
/// Frames for many are written once per wake into the engine's shared log, and a member that has nothing else
/// behind them in its queue only notes which part of the log is its own.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Frames; up to `sent` they are written.
    bytes: Buffer,
    sent: u32,
    /// Bytes from `sent` on that end what is half written; [`UNKNOWN`] where they cannot be told.
    begun: u32,
    /// A part of the shared log, to be written after `bytes`.
    shared: (u32, u32),
}

/// `begun` where the queue holds something else than frames: the answer to a request.
const UNKNOWN: u32 = u32::MAX;
/// Written bytes worth moving the rest for; and the most that is kept for a peer that is given up.
const COMPACT_BYTES: usize = 64 << 10;

impl Outbox {
    /// Bytes that wait.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent as usize + (self.shared.1 - self.shared.0) as usize
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that this queue alone holds.
    #[inline]
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// What is to be written now, in order.
    #[inline]
    pub(super) fn slices<'a>(&'a self, log: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let shared = &log[self.shared.0 as usize..self.shared.1 as usize];
        let own = &self.bytes[self.sent as usize..];
        if own.is_empty() { (shared, own) } else { (own, shared) }
    }

    /// The buffer to append frames to, with all that was queued before in it.
    #[inline]
    pub(super) fn own(&mut self, log: &[u8], pool: &mut Pool) -> &mut Buffer {
        if self.shared.0 != self.shared.1 {
            let shared = self.shared.0 as usize..self.shared.1 as usize;
            self.shared = (0, 0);
            pool.reserve(&mut self.bytes, shared.len());
            self.bytes.extend_from_slice(&log[shared]);
        }
        &mut self.bytes
    }

    /// The same, with room for `more` bytes.
    #[inline]
    pub(super) fn room(&mut self, more: usize, log: &[u8], pool: &mut Pool) -> &mut Buffer {
        self.own(log, pool);
        if self.sent > 0 && self.bytes.capacity() - self.bytes.len() < more {
            self.move_to_front();
        }
        pool.reserve(&mut self.bytes, more);
        &mut self.bytes
    }

    /// What is queued is one thing that is begun, and written whole whatever happens: the answer to a request.
    pub(super) fn begin_with_all(&mut self) {
        self.begun = self.len() as u32;
    }

    /// Queues a part of the log; one that follows what is queued already only makes that longer.
    #[inline]
    pub(super) fn push_shared(&mut self, part: Range<u32>, log: &[u8], pool: &mut Pool) {
        if self.shared.1 == part.start && self.shared.0 != self.shared.1 {
            self.shared.1 = part.end;
            return;
        }
        self.own(log, pool);
        self.shared = (part.start, part.end);
    }

    /// Makes `block`, whose bytes of `frame` are a frame, the queue. It was empty.
    pub(super) fn adopt(&mut self, block: Block, frame: Range<usize>, pool: &mut Pool) {
        debug_assert!(self.is_empty());
        pool.give_buffer(&mut self.bytes);
        self.bytes = Buffer::of(block, frame.end);
        (self.sent, self.begun) = (frame.start as u32, 0);
    }

    /// Takes note that the first `n` bytes are written. Nothing shared stays behind: the log is cleared.
    pub(super) fn advance(&mut self, n: usize, log: &[u8], pool: &mut Pool) {
        if n == self.len() {
            return self.clear(pool);
        }
        self.own(log, pool);
        let sent = self.sent as usize;
        self.begun = begun_after(&self.bytes[sent..], self.begun, n);
        self.sent += n as u32;
        self.compact();
    }

    /// Queues `frames` of which the first `n` bytes are written. The queue was empty.
    pub(super) fn queue_rest(&mut self, frames: &[u8], n: usize, pool: &mut Pool) {
        debug_assert!(self.is_empty());
        pool.reserve(&mut self.bytes, frames.len() - n);
        self.bytes.extend_from_slice(&frames[n..]);
        self.begun = begun_after(frames, 0, n);
    }

    /// Leaves out every frame that was not begun, and the memory it took: the peer is given up. A queue of at most
    /// `spared` bytes stays as it is. False if what is left is nothing that a Close could follow soon.
    pub(super) fn cut(&mut self, spared: usize, pool: &mut Pool) -> bool {
        if self.len() <= spared && self.begun != UNKNOWN {
            return true;
        }
        let rest = self.sent as usize..self.sent as usize + self.begun as usize;
        let keeps = self.begun != UNKNOWN && rest.len() <= COMPACT_BYTES && rest.end <= self.bytes.len();
        let mut kept = Buffer::default();
        if keeps && !rest.is_empty() {
            pool.reserve(&mut kept, rest.len());
            kept.extend_from_slice(&self.bytes[rest]);
        }
        let begun = kept.len() as u32;
        self.clear(pool);
        (self.bytes, self.begun) = (kept, begun);
        keeps
    }

    pub(super) fn clear(&mut self, pool: &mut Pool) {
        pool.give_buffer(&mut self.bytes);
        *self = Outbox::default();
    }

    /// Moves what waits to the front, once half of the buffer is behind it.
    fn compact(&mut self) {
        if self.sent as usize >= COMPACT_BYTES && self.sent as usize >= self.bytes.len() / 2 {
            self.move_to_front();
        }
    }

    fn move_to_front(&mut self) {
        let (sent, len) = (self.sent as usize, self.bytes.len());
        self.bytes.copy_within(sent.., 0);
        self.bytes.truncate(len - sent);
        self.sent = 0;
    }
}

/// Bytes that end what is half written, after `n` more of `queue` are, of which `begun` ended it before.
fn begun_after(queue: &[u8], begun: u32, n: usize) -> u32 {
    if begun == UNKNOWN {
        return UNKNOWN;
    }
    let mut boundary = begun as usize;
    while boundary < n {
        match queue.get(boundary..).and_then(frame::frame_bytes) {
            Some(bytes) => boundary += bytes,
            None => return UNKNOWN,
        }
    }
    (boundary - n) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(outbox: &mut Outbox, pool: &mut Pool, bytes: &[u8]) {
        let own = outbox.own(b"", pool);
        pool.reserve(own, bytes.len());
        own.extend_from_slice(bytes);
    }

    #[test]
    fn parts_of_the_log_that_follow_each_other_are_one_and_others_are_taken_over() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::new(1 << 20));
        let log = b"\x81\x01a\x81\x01b\x81\x01c";
        outbox.push_shared(0..3, log, &mut pool);
        outbox.push_shared(3..6, log, &mut pool);
        assert_eq!(outbox.slices(log), (&log[..6], &b""[..]));
        outbox.push_shared(6..9, log, &mut pool);
        outbox.push_shared(0..3, log, &mut pool);
        assert_eq!(outbox.slices(log), (&log[..], &log[..3]));
        outbox.advance(10, log, &mut pool);
        assert_eq!(outbox.slices(b""), (&log[1..3], &b""[..]));
    }

    #[test]
    fn a_peer_that_is_given_up_gets_the_frame_that_was_begun_and_no_other() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::new(1 << 20));
        queue(&mut outbox, &mut pool, b"\x81\x02ab\x81\x02cd\x81\x02ef");
        outbox.advance(5, b"", &mut pool);
        assert!(outbox.cut(0, &mut pool));
        assert_eq!(outbox.slices(b""), (&b"\x02cd"[..], &b""[..]));
        outbox.advance(3, b"", &mut pool);
        assert_eq!((outbox.len(), outbox.held_bytes()), (0, 0));
    }

    #[test]
    fn a_peer_that_was_not_answered_its_request_cannot_be_sent_a_close() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::new(1 << 20));
        queue(&mut outbox, &mut pool, b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
        outbox.advance(5, b"", &mut pool);
        assert!(!outbox.cut(0, &mut pool));
    }

    #[test]
    fn frames_are_still_told_apart_after_the_queue_was_moved_to_the_front() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::new(1 << 20));
        let frames = b"\x81\x03abc".repeat(40_000);
        queue(&mut outbox, &mut pool, &frames);
        outbox.advance(150_002, b"", &mut pool);
        assert!(outbox.bytes.len() < 60_000);
        assert_eq!(outbox.slices(b"").0, &frames[150_002..]);
        assert!(outbox.cut(0, &mut pool));
        assert_eq!(outbox.slices(b"").0, b"abc");
    }
}
