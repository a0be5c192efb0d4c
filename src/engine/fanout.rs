//! One message for many: written once in each form that a member takes, and counted.

use super::{
    Core, Fanout, Sent,
    context::{Form, Shared},
    core::SENDABLE_BYTES_MAX,
};
use crate::{
    conn::{Buffer, Commons, Message, Pool, Role},
    time::Now,
    wire::frame::HeaderBytes,
};

/// The log's bytes at most: what is published past it is queued for each member on its own.
const LOG_BYTES_MAX: usize = 4 << 20;

impl Core {
    /// Queues for one of many a message, which is written into the log once in each form that its members agreed to.
    #[inline]
    pub(super) fn send_shared(
        &mut self,
        now: Now,
        index: u32,
        shared: &mut Shared,
        message: Message<'_>,
    ) -> Sent {
        let conn = &self.peers[index].conn;
        if conn.role() != Role::Server {
            return self.send(now, index, message); // each frame of a client's has its own key, §5.3
        }
        let window = conn.window(message.as_bytes().len(), &self.commons);
        if message.as_bytes().len() > SENDABLE_BYTES_MAX || !self.may_queue(index) {
            return Sent::Refused;
        }
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
            self.peers[index].conn.sent_shared(&mut self.commons);
        }
        self.queued(now, index)
    }

    /// Queues for one of many what the log has no room for; whether it is compressed.
    #[inline(never)]
    fn queue_shared(&mut self, index: u32, window: usize, shared: &Shared, message: Message<'_>) -> bool {
        let kept = shared.kept.iter().find(|(of, _)| *of == window).map(|(_, compressed)| compressed);
        let payload = kept.map_or(message.as_bytes(), |compressed| compressed);
        self.queue_frame_of(index, message.opcode(), kept.is_some(), payload);
        kept.is_some()
    }

    /// All members have it.
    #[inline]
    pub(super) fn end_shared(&mut self, shared: Shared) {
        for (_, mut compressed) in shared.kept {
            self.commons.pool.give_buffer(&mut compressed);
        }
    }

    /// Writes a message for many into the log, compressed with one window size, or as it is.
    #[inline(never)]
    fn put_shared(&mut self, window: usize, shared: &mut Shared, message: Message<'_>) -> Form {
        let Commons { codecs, pool, .. } = &mut self.commons;
        let compressed = match window {
            0 => None,
            _ => codecs.compress(window, message.as_bytes(), pool),
        };
        let is_plain = compressed.is_none();
        let mut form = match &shared.forms[0] {
            &plain @ Form::Log { .. } if is_plain => plain, // it is not worth compressing, and is there already
            _ => {
                let payload = compressed.as_deref().unwrap_or(message.as_bytes());
                let mut header = HeaderBytes::bare(message.opcode(), payload.len());
                if !is_plain {
                    header = header.compressed();
                }
                put_in_log(&mut self.log, header, payload, pool)
            }
        };
        if let Some(mut compressed) = compressed {
            if let Form::Each = form {
                shared.kept.push((window, compressed));
                form = Form::Kept;
            } else {
                pool.give_buffer(&mut compressed);
            }
        }
        shared.forms[window] = form;
        if is_plain {
            shared.forms[0] = form;
        }
        form
    }
}

fn put_in_log(log: &mut Buffer, header: HeaderBytes, payload: &[u8], pool: &mut Pool) -> Form {
    if log.len() + header.len() + payload.len() > LOG_BYTES_MAX {
        return Form::Each;
    }
    let start = log.len() as u32;
    pool.reserve(log, header.len() + payload.len());
    log.extend_from_slice(&header);
    log.extend_from_slice(payload);
    Form::Log { start, end: log.len() as u32, compressed: header.is_compressed() }
}

impl Fanout {
    /// Members in all.
    pub fn members(&self) -> u32 {
        self.queued + self.backlogged + self.refused
    }
}
