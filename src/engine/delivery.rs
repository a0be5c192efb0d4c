//! A message that came: handed to the handler, and what it leaves to be sent back as it is, from where it lies.

use super::{
    ConnId, Context, Engine, Handler,
    context::{Current, Echo, Left},
};
use crate::{
    conn::{self, Block, Compressed, Input, MESSAGE_HEADROOM, Message},
    time::Now,
    wire::frame::{HeaderBytes, Opcode},
};
use std::ops::Range;

impl<H: Handler> Engine<H> {
    /// A message that lies in the input: sent back as it is, it goes out from there.
    #[inline(always)] // into the loop over the whole frames of a read: a call costs a tenth of a small message
    fn deliver(&mut self, now: Now, id: ConnId, opcode: Opcode, range: Range<usize>, input: &mut Input) {
        let message = match conn::message_of(opcode, input.get(range.clone())) {
            Ok(message) => message,
            Err(fault) => {
                self.core.move_reply(id.index, input);
                return self.fail(now, id.index, fault);
            }
        };
        let left = self.call_on_message(now, id, message, None, input);
        if left.reply_moved {
            input.clear_reply();
        }
        if let Some(echo) = left.echo {
            input.reply_with(echo.opcode, range);
        }
    }

    /// All that lies in front as whole, unfragmented frames, in a loop without calls.
    #[inline(always)]
    pub(super) fn deliver_whole<const MASKED: bool>(
        &mut self,
        now: Now,
        id: ConnId,
        message_bytes_max: u32,
        input: &mut Input,
    ) {
        let index = id.index;
        while let Some((opcode, range)) =
            self.core.peers[index].conn.receive_whole::<MASKED>(input, message_bytes_max)
        {
            self.deliver(now, id, opcode, range, input);
            self.settle_behind_reply(now, index, input);
        }
    }

    #[inline(never)]
    pub(super) fn deliver_one(
        &mut self,
        now: Now,
        id: ConnId,
        opcode: Opcode,
        range: Range<usize>,
        input: &mut Input,
    ) {
        self.deliver(now, id, opcode, range, input);
    }

    /// A message that was assembled or inflated in a buffer of its own: sent back as it is, that buffer becomes the
    /// outbox. One that lies `compressed` in the input goes back from there.
    pub(super) fn deliver_kept(
        &mut self,
        now: Now,
        id: ConnId,
        opcode: Opcode,
        compressed: Option<Compressed>,
        input: &mut Input,
    ) {
        let index = id.index;
        let (buffer, range) = self.core.peers[index].conn.take_message();
        let assembled = match compressed {
            Some(Compressed::Codecs(_)) => self.core.commons.codecs.take_assembled(),
            _ => Block::default(),
        };
        match conn::message_of(opcode, &buffer[range.clone()]) {
            Ok(message) => {
                let came = compressed.as_ref().map(|compressed| match compressed {
                    Compressed::Input(range) => input.get(range.clone()),
                    Compressed::Codecs(range) => &assembled[range.clone()],
                });
                let left = self.call_on_message(now, id, message, came, input);
                if left.reply_moved {
                    input.clear_reply();
                }
                match (left.echo, compressed) {
                    (None, _) => self.core.commons.pool.give(buffer),
                    (Some(Echo { opcode, compressed: true }), Some(Compressed::Input(range))) => {
                        input.reply_with_compressed(opcode, range);
                        self.core.sent_shared(index);
                        self.core.commons.pool.give(buffer);
                    }
                    (Some(Echo { opcode, compressed: true }), Some(Compressed::Codecs(range))) => {
                        self.core.move_reply(index, input);
                        self.core.queue_frame_of(index, opcode, true, &assembled[range]);
                        self.core.sent_shared(index);
                        self.core.commons.pool.give(buffer);
                    }
                    (Some(Echo { opcode, .. }), _) => self.echo_kept(index, opcode, buffer, range, input),
                }
            }
            Err(fault) => {
                self.core.move_reply(index, input);
                self.fail(now, index, fault);
                self.core.commons.pool.give(buffer);
            }
        }
        self.core.commons.pool.give(assembled);
    }

    fn echo_kept(
        &mut self,
        index: u32,
        opcode: Opcode,
        mut buffer: Block,
        range: Range<usize>,
        input: &mut Input,
    ) {
        self.core.move_reply(index, input);
        if self.core.peers[index].outbox.is_empty() {
            let header = HeaderBytes::bare(opcode, range.len());
            let start = MESSAGE_HEADROOM - header.len();
            buffer[start..MESSAGE_HEADROOM].copy_from_slice(&header);
            return self.core.adopt(index, buffer, start..range.end);
        }
        self.core.queue_frame(index, opcode, &buffer[range]);
        self.core.commons.pool.give(buffer);
    }

    /// Calls the handler with a message; what it left to be done.
    #[inline(always)]
    fn call_on_message(
        &mut self,
        now: Now,
        id: ConnId,
        message: Message<'_>,
        compressed: Option<&[u8]>,
        input: &Input,
    ) -> Left {
        let payload = message.as_bytes();
        let current = Current { id, input, payload, compressed, left: Left::default() };
        let mut cx = Context { core: &mut self.core, now, turn: id.index, current: Some(current) };
        self.handler.on_message(&mut cx, id, message);
        cx.current.map_or(Left::default(), |current| current.left)
    }
}
