//! The one buffer that all reads of a loop go into, and the replies that go out of it again.

use crate::wire::{
    frame::{FIN, Opcode, RSV1},
    mask,
};
use std::ops::Range;

/// The buffer that every read of a loop goes into, with room in front for what a connection kept.
///
/// A connection that was cut in the middle of a header keeps those few bytes and has them written back in front
/// of the next read, so there is one way to parse and an idle connection owns no buffer.
///
/// The reply to a message that is sent back as it came goes out from here: a bare header is four bytes shorter than
/// the masked one that came, so there is room for it in front. [`Input::reply`] is that batch of frames.
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

/// Room in front: the longest header and the longest control payload are kept, never more.
const HEADROOM: usize = 256;

impl Input {
    /// A buffer for reads of at most `bytes` bytes.
    pub fn new(bytes: usize) -> Input {
        let bytes = vec![0; HEADROOM + bytes].into_boxed_slice();
        Input { bytes, start: HEADROOM, end: HEADROOM, reply: HEADROOM..HEADROOM }
    }

    /// Where to read into. What was unread or not yet replied is forgotten.
    pub fn space(&mut self) -> &mut [u8] {
        self.fill(0);
        &mut self.bytes[HEADROOM..]
    }

    /// Says that the first `n` bytes of [`Input::space`] are filled.
    ///
    /// # Panics
    /// When `n` is more than the space has.
    pub fn fill(&mut self, n: usize) {
        assert!(n <= self.bytes.len() - HEADROOM, "more was filled than there was space");
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

    /// Takes a payload of `len` unread bytes, unmasked. Where there are replies already it moves to where it would
    /// follow them behind a bare header of `header` bytes, so that sending it back is only that header.
    #[inline]
    pub(super) fn take_unmasked(&mut self, len: usize, header: usize, key: [u8; 4]) -> Range<usize> {
        let payload = self.take(len);
        if self.reply.is_empty() {
            mask::apply(&mut self.bytes[payload.clone()], key);
            return payload;
        }
        let to = self.reply.end + header;
        mask::apply_down(&mut self.bytes[to..payload.end], payload.start - to, key);
        to..to + len
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
    pub(crate) fn reply_with(&mut self, opcode: Opcode, payload: Range<usize>) {
        self.reply_with_lead(FIN | opcode as u8, payload);
    }

    /// The same, for a payload that is compressed. RFC 7692 §6
    pub(crate) fn reply_with_compressed(&mut self, opcode: Opcode, payload: Range<usize>) {
        self.reply_with_lead(FIN | RSV1 | opcode as u8, payload);
    }

    #[inline]
    fn reply_with_lead(&mut self, first: u8, payload: Range<usize>) {
        // Of each length that a bare header has, a copy of its own: a call that takes any length costs more.
        let len = payload.len();
        if len <= 125 {
            self.reply_behind([first, len as u8], payload);
        } else if let Ok(short) = u16::try_from(len) {
            let [high, low] = short.to_be_bytes();
            self.reply_behind([first, 126, high, low], payload);
        } else {
            let [a, b, c, d, e, f, g, h] = (len as u64).to_be_bytes();
            self.reply_behind([first, 127, a, b, c, d, e, f, g, h], payload);
        }
    }

    #[inline]
    fn reply_behind<const N: usize>(&mut self, header: [u8; N], payload: Range<usize>) {
        let start = if self.reply.is_empty() {
            self.reply.start = payload.start - N;
            self.reply.start
        } else {
            self.reply.end
        };
        let body = start + N;
        debug_assert!(body <= payload.start);
        self.bytes[start..body].copy_from_slice(&header);
        self.reply.end = body + payload.len();
        if body != payload.start {
            self.bytes.copy_within(payload, body);
        }
    }
}
