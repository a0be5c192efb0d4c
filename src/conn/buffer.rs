//! Where bytes stay: one shared input buffer for the loop, and a pool of buffers that connections borrow.

use crate::wire::frame::HeaderBytes;
use std::ops::Range;

/// The buffer that every read of a loop goes into, with room in front for what a connection kept.
///
/// A connection that was cut in the middle of a header keeps those few bytes and has them written back in front
/// of the next read, so there is one way to parse and an idle connection owns no buffer.
///
/// The reply to a message that is sent back as it came is written over it: an unmasked header is four bytes
/// shorter than the masked one it replaces. [`Input::reply`] is that batch of frames.
///
/// ```
/// let mut input = sockeye::Input::new(4096);
/// input.space()[..2].copy_from_slice(b"\x81\x80");
/// input.fill(2);
/// assert_eq!(input.unread(), b"\x81\x80");
/// ```
#[derive(Debug)]
pub struct Input {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    reply: Range<usize>,
}

/// Bytes moved at a time when they are few, and how many are few: a call costs more than these.
const CHUNK: usize = 16;
const SMALL: usize = 256;
/// Room behind, so that there is always a whole chunk to move.
const TAILROOM: usize = CHUNK;

/// Room in front: the longest header and the longest control payload are kept, never more.
const HEADROOM: usize = 256;

impl Input {
    /// A buffer for reads of at most `bytes` bytes.
    pub fn new(bytes: usize) -> Input {
        let bytes = vec![0; HEADROOM + bytes + TAILROOM].into_boxed_slice();
        Input { bytes, start: HEADROOM, end: HEADROOM, reply: HEADROOM..HEADROOM }
    }

    /// Where to read into. What was unread or not yet replied is forgotten.
    pub fn space(&mut self) -> &mut [u8] {
        self.fill(0);
        let end = self.bytes.len() - TAILROOM;
        &mut self.bytes[HEADROOM..end]
    }

    /// Says that the first `n` bytes of [`Input::space`] are filled.
    ///
    /// # Panics
    /// When `n` is more than the space has.
    pub fn fill(&mut self, n: usize) {
        assert!(n <= self.bytes.len() - HEADROOM - TAILROOM, "more was filled than there was space");
        (self.start, self.end) = (HEADROOM, HEADROOM + n);
        self.reply = HEADROOM..HEADROOM;
    }

    /// What no connection has taken yet.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The frames that answer in place, to be written to the peer whose input this was.
    pub fn reply(&self) -> &[u8] {
        &self.bytes[self.reply.clone()]
    }

    /// The bytes of a range that a step named.
    #[inline]
    pub fn get(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.bytes[range]
    }

    /// Takes `n` unread bytes; their range.
    #[inline]
    pub(super) fn take(&mut self, n: usize) -> Range<usize> {
        debug_assert!(n <= self.end - self.start);
        let range = self.start..self.start + n;
        self.start = range.end;
        range
    }

    pub(super) fn discard(&mut self) {
        self.start = self.end;
    }

    /// Writes what a connection kept back in front of what it did not see yet.
    pub(super) fn unshift(&mut self, kept: &[u8]) {
        debug_assert!(kept.len() <= HEADROOM && self.start == HEADROOM);
        self.start -= kept.len();
        self.bytes[self.start..self.start + kept.len()].copy_from_slice(kept);
    }

    /// Whether nothing is to be replied in place.
    #[inline]
    pub(crate) fn reply_is_empty(&self) -> bool {
        self.reply.is_empty()
    }

    pub(crate) fn clear_reply(&mut self) {
        self.reply = HEADROOM..HEADROOM;
    }

    /// Adds a frame to the reply whose payload is `payload` of this input, already read and unmasked, behind a
    /// header that is at most as long as the one it came with, less its masking key.
    #[inline]
    pub(crate) fn reply_with(&mut self, header: &HeaderBytes, payload: Range<usize>) {
        if self.reply.is_empty() {
            let start = payload.start - header.len();
            self.put_header(start, header);
            self.reply = start..payload.end;
            return;
        }
        let at = self.reply.end;
        let body = at + header.len();
        debug_assert!(body <= payload.start);
        self.reply.end = body + payload.len();
        self.put_header(at, header);
        if payload.len() <= SMALL && payload.start - body >= CHUNK {
            return self.move_down(payload, body);
        }
        self.bytes.copy_within(payload, body);
    }

    /// Of each length that a bare header has, a copy of its own: a call that takes any length costs more.
    #[inline]
    fn put_header(&mut self, at: usize, header: &HeaderBytes) {
        let bytes = header.padded();
        match header.len() {
            2 => self.bytes[at..at + 2].copy_from_slice(&bytes[..2]),
            4 => self.bytes[at..at + 4].copy_from_slice(&bytes[..4]),
            len => self.bytes[at..at + len].copy_from_slice(&bytes[..len]),
        }
    }

    /// Moves a few bytes down, in whole chunks: past the end of the payload too, over what was read already.
    #[inline]
    fn move_down(&mut self, payload: Range<usize>, to: usize) {
        let gap = payload.start - to;
        debug_assert!(gap >= CHUNK);
        let window = &mut self.bytes[to..payload.end + CHUNK];
        let mut at = 0;
        while at < payload.len() {
            window.copy_within(at + gap..at + gap + CHUNK, at);
            at += CHUNK;
        }
    }
}

/// Free buffers in classes of doubling size, and how many bytes are out.
///
/// A buffer that comes from here is as long as its class, so that a socket may read into all of it; what is in
/// it is whatever the last user left. A connection holds one only while it needs one.
#[derive(Debug)]
pub(crate) struct Pool {
    classes: [Vec<Vec<u8>>; CLASSES],
    idle_bytes: usize,
    idle_bytes_max: usize,
    held_bytes: usize,
}

const CLASSES: usize = 23;
const SMALLEST: usize = 512;
/// Beside its payload a buffer holds a header in front and a cut-off control frame behind.
const SLACK: usize = 192;

impl Pool {
    pub(crate) fn new(idle_bytes_max: usize) -> Pool {
        Pool { classes: Default::default(), idle_bytes: 0, idle_bytes_max, held_bytes: 0 }
    }

    /// Bytes of all buffers that are out.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Makes `buffer` at least `need` bytes long and keeps its first `used` bytes.
    ///
    /// An idle buffer of `want` bytes is taken where there is one: its pages are there already. A new one is
    /// made no larger than `need` asks, so that nobody grows memory by announcing.
    pub(crate) fn grow(&mut self, buffer: &mut Box<[u8]>, used: usize, need: usize, want: usize) {
        if buffer.len() >= need {
            return;
        }
        let mut larger = self.take_idle(want.max(need)).unwrap_or_else(|| self.take(need));
        let used = used.min(buffer.len());
        larger[..used].copy_from_slice(&buffer[..used]);
        self.give(Vec::from(std::mem::replace(buffer, larger)));
    }

    /// Makes room for `more` bytes behind the content of `buffer`, which is only appended to.
    #[inline]
    pub(crate) fn reserve(&mut self, buffer: &mut Vec<u8>, more: usize) {
        if buffer.capacity() - buffer.len() < more {
            self.reserve_slow(buffer, more);
        }
    }

    #[inline(never)]
    fn reserve_slow(&mut self, buffer: &mut Vec<u8>, more: usize) {
        let mut larger = self.take_any(buffer.len() + more);
        larger.clear();
        larger.extend_from_slice(buffer);
        self.give(std::mem::replace(buffer, larger));
    }

    /// A buffer of at least `len` bytes, all of them initialised.
    pub(crate) fn take(&mut self, len: usize) -> Box<[u8]> {
        whole(self.take_any(len))
    }

    fn take_idle(&mut self, len: usize) -> Option<Box<[u8]>> {
        let class = class_for(len);
        let found = (class..(class + 2).min(CLASSES)).find(|&class| !self.classes[class].is_empty())?;
        let buffer = self.classes[found].pop()?;
        self.idle_bytes -= buffer.capacity();
        self.held_bytes += buffer.capacity();
        Some(whole(buffer))
    }

    fn take_any(&mut self, len: usize) -> Vec<u8> {
        let class = class_for(len);
        let buffer = match self.classes.get_mut(class).and_then(Vec::pop) {
            Some(buffer) => {
                self.idle_bytes -= buffer.capacity();
                buffer
            }
            None => vec![0; size_of_class(class).max(len)],
        };
        self.held_bytes += buffer.capacity();
        buffer
    }

    /// Gives a buffer back; an empty one that came from nowhere is welcome too.
    #[inline]
    pub(crate) fn give(&mut self, buffer: Vec<u8>) {
        let bytes = buffer.capacity();
        if bytes == 0 {
            return;
        }
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
        if bytes >= size_of_class(0) && self.idle_bytes + bytes <= self.idle_bytes_max {
            self.idle_bytes += bytes;
            let class = class_for(bytes + 1) - 1;
            self.classes[class.min(CLASSES - 1)].push(buffer);
        }
    }
}

/// All of a buffer: what its last user left, and zeros where nobody wrote yet.
fn whole(mut buffer: Vec<u8>) -> Box<[u8]> {
    buffer.resize(buffer.capacity(), 0);
    buffer.into_boxed_slice()
}

fn class_for(len: usize) -> usize {
    len.saturating_sub(SLACK).div_ceil(SMALLEST).next_power_of_two().trailing_zeros() as usize
}

fn size_of_class(class: usize) -> usize {
    (SMALLEST << class) + SLACK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_what_is_asked_of_it_and_takes_back_what_it_gave() {
        for len in [1, 512, 704, 705, 1216, 65_536, 65_728, 65_729, 1 << 20] {
            let class = class_for(len);
            assert!(size_of_class(class) >= len);
            assert!(class == 0 || size_of_class(class - 1) < len);
            assert_eq!(class_for(size_of_class(class) + 1) - 1, class);
        }
    }

    #[test]
    fn what_is_given_back_above_the_cap_is_freed_and_what_is_out_is_counted() {
        let mut pool = Pool::new(1 << 20);
        let buffers: Vec<_> = (0..4).map(|_| pool.take(400_000)).collect();
        let each = buffers[0].len();
        assert_eq!(pool.held_bytes(), 4 * each);
        buffers.into_iter().for_each(|buffer| pool.give(Vec::from(buffer)));
        assert_eq!((pool.held_bytes(), pool.idle_bytes), (0, each));
    }

    #[test]
    fn a_buffer_grows_by_what_came_not_by_what_is_announced() {
        let mut pool = Pool::new(1 << 20);
        let mut buffer = pool.take(600);
        buffer[..3].copy_from_slice(b"abc");
        pool.grow(&mut buffer, 3, 2_000, 16 << 20);
        assert!(buffer.len() >= 2_000 && buffer.len() < 4_000);
        assert_eq!(&buffer[..3], b"abc");
    }
}
