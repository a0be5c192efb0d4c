//! What is sent to one peer or to many: queued as it is, compressed, or in the form it came in.

use super::{Core, Sent, core::Doom, peers::flag};
use crate::{
    conn::{Block, Buffer, Commons, Connection, Fault, Input, Message, Pool, Role, WINDOW_MAX, WINDOWS},
    time::{Now, Stamp},
    wire::frame::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, HeaderBytes, Opcode},
};
use std::ops::Range;

/// The largest message that is sent: a queue is one block.
const SENDABLE_BYTES_MAX: usize = 1 << 30;
/// What the scratch keeps.
const SCRATCH_BYTES: usize = 4 << 10;
/// The log's bytes at most: what is published past it is queued for each member on its own.
const LOG_BYTES_MAX: usize = 4 << 20;

/// A message that several connections are sent, in each form that one of them takes.
#[derive(Default)]
pub(super) struct Shared<'a> {
    /// The compressed form it came in, if it was received and may be sent on so.
    compressed: Option<&'a [u8]>,
    /// As it is, and compressed with each size of window.
    forms: [Form; WINDOWS],
}

/// Where one form of a shared message is.
#[derive(Clone, Copy, Default)]
enum Form {
    /// Nobody took it yet.
    #[default]
    Unmade,
    /// It stands in the log.
    Log { start: u32, end: u32, compressed: bool },
    /// The log is full: it is queued for each member on its own.
    Each,
}

impl<'a> Shared<'a> {
    /// A message that nobody was sent yet; `compressed` is the form it came in, if it may be sent on so.
    pub(super) fn of(compressed: Option<&'a [u8]>) -> Shared<'a> {
        Shared { compressed, ..Shared::default() }
    }
}

impl Core {
    #[inline]
    pub(super) fn is_open(&self, index: u32) -> bool {
        let peer = &self.peers[index];
        peer.conn.is_open() && !peer.flags.has(flag::DOOMED | flag::UNWRITABLE)
    }

    /// Whether a reply may be written over the message it answers: nothing may stand before it in a queue, and
    /// nobody else's frames may want to go out with it.
    #[inline]
    pub(super) fn may_reply_in_place(&self, index: u32) -> bool {
        let peer = &self.peers[index];
        let otherwise = flag::BLOCKED | flag::HEARS_OTHERS | flag::DOOMED | flag::UNWRITABLE;
        peer.outbox.is_empty()
            && !peer.flags.has(otherwise)
            && peer.conn.is_open()
            && peer.conn.role() == Role::Server
    }

    /// Whether a message of `len` bytes goes back to its sender compressed as it came (`true`), or as it is; `None`
    /// where it is to be compressed anew.
    #[inline(always)] // as `Context::send_back`, which is all that asks
    pub(super) fn form_in_place(&self, index: u32, len: usize, came_compressed: bool) -> Option<bool> {
        match self.peers[index].conn.window(len, &self.commons) {
            0 => Some(false),
            WINDOW_MAX if came_compressed => Some(true),
            _ => None,
        }
    }

    /// From now on this peer is written to once, at the end of a wake, with all that the wake brought it.
    #[inline]
    pub(super) fn hears_others(&mut self, index: u32) {
        self.peers[index].flags.set(flag::HEARS_OTHERS, true);
    }

    /// Queues a message. `compressed` is the form it came in, where it was received and may be sent on so.
    pub(super) fn send(
        &mut self,
        now: Now,
        index: u32,
        message: Message<'_>,
        compressed: Option<&[u8]>,
    ) -> Sent {
        let len = message.as_bytes().len();
        if !self.is_sendable(len) || !self.may_queue(index) {
            return Sent::Refused;
        }
        self.tally.sent(len);
        self.queue_message(index, message, compressed);
        self.queued(now, index)
    }

    /// Queues for one of many a message, which is written into the log once in each form that its members agreed to.
    #[inline]
    pub(super) fn send_shared(
        &mut self,
        now: Now,
        index: u32,
        shared: &mut Shared<'_>,
        message: Message<'_>,
    ) -> Sent {
        let conn = &self.peers[index].conn;
        if conn.role() != Role::Server {
            return self.send(now, index, message, shared.compressed); // each frame of a client's has its own key, §5.3
        }
        let len = message.as_bytes().len();
        let window = conn.window(len, &self.commons);
        if !self.is_sendable(len) || !self.may_queue(index) {
            return Sent::Refused;
        }
        self.tally.sent(len);
        let form = match shared.forms[window] {
            Form::Unmade => self.put_shared(window, shared, message),
            form => form,
        };
        let is_compressed = match form {
            Form::Log { start, end, compressed } => {
                self.peers[index].outbox.push_shared(start..end, &self.log, &mut self.commons.pool);
                self.dirty(index);
                compressed
            }
            _ => self.queue_shared(index, window, shared, message),
        };
        if is_compressed {
            self.sent_shared(index);
        }
        self.queued(now, index)
    }

    /// Queues for one of many what the log has no room for; whether it is compressed.
    #[inline(never)]
    fn queue_shared(&mut self, index: u32, window: usize, shared: &Shared<'_>, message: Message<'_>) -> bool {
        let came = shared.compressed.filter(|_| window == WINDOW_MAX);
        let all_kept = std::mem::take(&mut self.shared_kept);
        let kept = all_kept.iter().find(|(of, _)| *of == window);
        let compressed = came.or(kept.map(|(_, compressed)| &**compressed));
        let payload = compressed.unwrap_or(message.as_bytes());
        self.queue_frame_of(index, message.opcode(), compressed.is_some(), payload);
        let is_compressed = compressed.is_some();
        self.shared_kept = all_kept;
        is_compressed
    }

    /// All members have it.
    #[inline]
    pub(super) fn end_shared(&mut self) {
        for (_, mut compressed) in self.shared_kept.drain(..) {
            self.commons.pool.give_buffer(&mut compressed);
        }
    }

    /// The peer is sent a message that its own compressor did not see.
    #[inline]
    pub(super) fn sent_shared(&mut self, index: u32) {
        self.peers[index].conn.sent_shared(&mut self.commons);
    }

    /// Writes a message for many into the log, compressed with one window size, or as it is.
    #[inline(never)]
    fn put_shared(&mut self, window: usize, shared: &mut Shared<'_>, message: Message<'_>) -> Form {
        let Commons { codecs, pool, .. } = &mut self.commons;
        let came = shared.compressed.filter(|_| window == WINDOW_MAX);
        let made = match window {
            0 => None,
            _ if came.is_some() => None,
            _ => codecs.compress(window, message.as_bytes(), pool),
        };
        let compressed = came.or(made.as_deref());
        let is_plain = compressed.is_none();
        let form = match &shared.forms[0] {
            &plain @ Form::Log { .. } if is_plain => plain, // it is not worth compressing, and is there already
            _ => {
                let payload = compressed.unwrap_or(message.as_bytes());
                let mut header = HeaderBytes::bare(message.opcode(), payload.len());
                if !is_plain {
                    header = header.compressed();
                }
                put_in_log(&mut self.log, self.prepared as usize, header, payload, pool)
            }
        };
        match made {
            Some(made) if matches!(form, Form::Each) => self.shared_kept.push((window, made)),
            Some(mut made) => pool.give_buffer(&mut made),
            None => {}
        }
        shared.forms[window] = form;
        if is_plain {
            shared.forms[0] = form;
        }
        form
    }

    /// What is for a connection that has ended is refused.
    #[inline]
    pub(super) fn has_ended(&mut self) -> Sent {
        self.statistics.drops.not_open += 1;
        Sent::Refused
    }

    #[inline]
    fn is_sendable(&mut self, len: usize) -> bool {
        let is_sendable = len <= SENDABLE_BYTES_MAX;
        self.statistics.drops.too_large += u64::from(!is_sendable);
        is_sendable
    }

    /// Whether one more message may be queued: judged before queueing, whatever its size. Above the hard mark the
    /// peer is given up.
    #[inline]
    pub(super) fn may_queue(&mut self, index: u32) -> bool {
        if self.is_over_budget() {
            self.relieve();
        }
        let limit = self.commons.limits.outbox_bytes_max;
        let queued = self.peers[index].outbox.len();
        if !self.is_open(index) {
            self.statistics.drops.not_open += 1;
            return false;
        }
        if queued >= limit as usize {
            self.statistics.drops.slow_reader += 1;
            self.doom(index, Doom::Fault(Fault::SlowReader { queued: queued as u64, limit }));
            return false;
        }
        true
    }

    #[inline]
    pub(super) fn queued(&mut self, now: Now, index: u32) -> Sent {
        let soft = self.commons.limits.outbox_bytes_soft as usize;
        if self.peers[index].outbox.len() <= soft {
            return Sent::Queued;
        }
        self.backlogged(now, index);
        self.pressing |= !self.peers[index].flags.has(flag::BLOCKED);
        Sent::Backlogged
    }

    /// Above the soft mark: a client is not read, so that TCP pushes back on it. A server that was dialled is: it may do
    /// the same to us, and two who wait for each other to read wait for ever.
    pub(super) fn backlogged(&mut self, now: Now, index: u32) {
        let peer = &mut self.peers[index];
        if !peer.flags.replace(flag::BACKLOGGED, true) {
            peer.took_at = Stamp::at(now.tick);
            if peer.conn.role() == Role::Server {
                peer.conn.pause();
            }
            self.schedule(now, index);
        }
    }

    /// Queues a Ping or Pong, for which there is a reserve above the hard mark.
    pub(super) fn control(&mut self, opcode: Opcode, index: u32, payload: &[u8]) -> bool {
        let limits = &self.commons.limits;
        let room = limits.outbox_bytes_max as usize + limits.control_bytes_reserve as usize;
        let peer = &self.peers[index];
        let fits = peer.outbox.len() < room && payload.len() <= CONTROL_BYTES_MAX;
        let stands = match opcode {
            Opcode::Pong => peer.conn.answers_pings() && !peer.flags.has(flag::DOOMED | flag::UNWRITABLE),
            _ => self.is_open(index),
        };
        let allowed = fits && stands;
        if allowed {
            self.queue_frame(index, opcode, payload);
        }
        allowed
    }

    /// Answers a Ping, §5.5.2: each, and in order; to a peer that does not read, the latest one only (§5.5.3).
    pub(super) fn pong(&mut self, now: Now, index: u32, ping: Range<usize>, input: &mut Input) {
        // A large message that goes back as it came may fill the queue without having been counted yet.
        if self.peers[index].outbox.len() > self.commons.limits.outbox_bytes_soft as usize {
            self.backlogged(now, index);
        }
        if self.peers[index].flags.has(flag::BACKLOGGED) {
            let unanswered = self.pongs.insert(index, input.get(ping).to_vec());
            self.statistics.drops.pings += u64::from(unanswered.is_some());
        } else if self.may_reply_in_place(index) {
            input.reply_with(Opcode::Pong, ping);
        } else {
            self.move_reply(index, input);
            let is_answered = self.control(Opcode::Pong, index, input.get(ping));
            self.statistics.drops.pings += u64::from(!is_answered);
            self.queued(now, index);
        }
    }

    /// Queues a message, compressed where that was agreed and is worth it.
    #[inline]
    fn queue_message(&mut self, index: u32, message: Message<'_>, compressed: Option<&[u8]>) {
        let (opcode, payload) = (message.opcode(), message.as_bytes());
        if let Some(compressed) = compressed
            && self.peers[index].conn.window(payload.len(), &self.commons) == WINDOW_MAX
        {
            return self.queue_compressed(index, opcode, compressed);
        }
        match self.peers[index].conn.compress(payload, &mut self.commons) {
            None => self.queue_frame(index, opcode, payload),
            Some(mut compressed) => {
                self.queue_frame_of(index, opcode, true, &compressed);
                self.commons.pool.give_buffer(&mut compressed);
            }
        }
    }

    /// Queues a payload that this peer's own compressor did not make.
    pub(super) fn queue_compressed(&mut self, index: u32, opcode: Opcode, payload: &[u8]) {
        self.sent_shared(index);
        self.queue_frame_of(index, opcode, true, payload);
    }

    #[inline]
    pub(super) fn queue_frame(&mut self, index: u32, opcode: Opcode, payload: &[u8]) {
        self.queue_frame_of(index, opcode, false, payload);
    }

    #[inline]
    fn queue_frame_of(&mut self, index: u32, opcode: Opcode, compressed: bool, payload: &[u8]) {
        let peer = &mut self.peers[index];
        let out = peer.outbox.room(payload.len() + HEADER_BYTES_MAX, &self.log, &mut self.commons.pool);
        let (mut header, key) = peer.conn.header(opcode, payload.len(), &mut self.commons);
        if compressed {
            header = header.compressed();
        }
        out.extend_from_slice(&header);
        match key {
            None => out.extend_from_slice(payload),
            Some(key) => out.extend_masked(payload, key),
        }
        self.dirty(index);
    }

    pub(super) fn queue_bytes(&mut self, index: u32, bytes: &[u8]) {
        let out = self.peers[index].outbox.room(bytes.len(), &self.log, &mut self.commons.pool);
        out.extend_from_slice(bytes);
        self.dirty(index);
    }

    /// Moves what was to be replied in place to the outbox, because something is to follow it there.
    pub(super) fn move_reply(&mut self, index: u32, input: &mut Input) {
        if !input.reply_is_empty() {
            self.queue_bytes(index, input.reply());
            input.clear_reply();
        }
    }

    /// A reply in place of which the socket took only `n` bytes waits in the outbox.
    pub(super) fn queue_rest(&mut self, now: Now, index: u32, reply: &[u8], n: usize) {
        let peer = &mut self.peers[index];
        peer.outbox.queue_rest(reply, n, &mut self.commons.pool);
        peer.flags.set(flag::BLOCKED, true);
        self.queued(now, index);
    }

    /// A message's own buffer, its header written in front, becomes the outbox.
    pub(super) fn adopt(&mut self, index: u32, buffer: Block, frame: Range<usize>) {
        self.peers[index].outbox.adopt(buffer, frame, &mut self.commons.pool);
        self.dirty(index);
    }

    /// Lets a connection append to its outbox.
    pub(super) fn with_outbox<R>(
        &mut self,
        index: u32,
        put: impl FnOnce(&mut Connection, &mut Commons, &mut Vec<u8>) -> R,
    ) -> R {
        let mut scratch = std::mem::take(&mut self.scratch);
        let result = put(&mut self.peers[index].conn, &mut self.commons, &mut scratch);
        if !scratch.is_empty() && !self.peers[index].flags.has(flag::UNWRITABLE) {
            self.queue_bytes(index, &scratch);
        }
        self.keep_scratch(scratch);
        result
    }

    pub(super) fn keep_scratch(&mut self, mut scratch: Vec<u8>) {
        scratch.clear();
        scratch.shrink_to(SCRATCH_BYTES);
        self.scratch = scratch;
    }
}

/// `prepared`: bytes in front that are not of this wake.
fn put_in_log(
    log: &mut Buffer,
    prepared: usize,
    header: HeaderBytes,
    payload: &[u8],
    pool: &mut Pool,
) -> Form {
    if log.len() - prepared + header.len() + payload.len() > LOG_BYTES_MAX {
        return Form::Each;
    }
    let start = log.len() as u32;
    pool.reserve(log, header.len() + payload.len());
    log.extend_from_slice(&header);
    log.extend_from_slice(payload);
    Form::Log { start, end: log.len() as u32, compressed: header.is_compressed() }
}
