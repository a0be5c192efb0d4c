//! Messages on their way to the handler, and back from where they lie; and the end of a read, where all of it may be
//! answered at once.

use super::{
    ConnId, Context, Engine, Handler,
    calls::Lent,
    context::{Current, Echo, Left},
    peers::flag,
};
use crate::{
    conn::{self, Block, Compressed, Input, MESSAGE_HEADROOM},
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
        let current =
            Current { id, input, payload: message.as_bytes(), compressed: None, left: Left::default() };
        let mut lent = Lent::<true>::new(&mut self.core, now, id.index, current);
        self.handler.on_message(lent.context(), id, message);
        let left = lent.returned();
        if left.reply_moved {
            input.clear_reply();
        }
        match left.echo {
            Some(echo) => {
                self.core.tally.echoed(range.len());
                input.reply_with(echo.opcode, range);
            }
            None => self.core.tally.received(range.len()),
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
        if self.core.peers[index].flags.has(flag::SPREADS) {
            self.core.commons.received.costly_bytes += range.len() as u64;
        }
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
                let (payload, left) = (message.as_bytes(), Left::default());
                let current = Current { id, input, payload, compressed: came, left };
                let on_message = |handler: &mut H, cx: &mut Context<'_>| handler.on_message(cx, id, message);
                let (_, left) = self.call_with(now, index, Some(current), on_message);
                match left.echo {
                    Some(_) => self.core.tally.echoed(range.len()),
                    None => self.core.tally.received(range.len()),
                }
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
                        self.core.queue_compressed(index, opcode, &assembled[range]);
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

    /// All that one read of an open connection brought is handled.
    #[inline(always)] // where the handler does nothing here, nothing is to be left of it
    pub(super) fn read_ended(&mut self, now: Now, index: u32, input: &mut Input) {
        if !self.core.peers[index].flags.has(flag::OPENED) {
            return;
        }
        let id = self.core.peers.id(index);
        // No message is being handled: this place holds none that could be sent back.
        let payload = &input.get(0..1)[..0];
        let current = Current { id, input, payload, compressed: None, left: Left::default() };
        let mut lent = Lent::<false>::new(&mut self.core, now, index, current);
        self.handler.on_read_end(lent.context(), id);
        if lent.returned().reply_moved {
            input.clear_reply();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, conn::Message, engine::PeerInfo};

    /// Sends back each message that does not begin with `?`, and at the end of a read how many there were.
    struct Counting(u8);
    impl Handler for Counting {
        fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
            self.0 += 1;
            if !message.as_bytes().starts_with(b"?") {
                cx.send(id, message);
            }
        }
        fn on_read_end(&mut self, cx: &mut Context<'_>, id: ConnId) {
            let came = std::mem::take(&mut self.0);
            if came > 0 {
                cx.send(id, &[came][..]);
            }
        }
    }

    /// All that is written in answer to one read.
    fn answer(engine: &mut Engine<Counting>, id: ConnId, bytes: &[u8]) -> Vec<u8> {
        let (now, mut input) = (Now::default(), Input::new(4_096));
        input.space()[..bytes.len()].copy_from_slice(bytes);
        input.fill(bytes.len());
        engine.handle_input(now, id, &mut input);
        let mut written = Vec::new();
        while let Some(transmit) = engine.poll_reply(id, &input) {
            let n = transmit.first.len() + transmit.second.len();
            written.extend([transmit.first, transmit.second].concat());
            engine.handle_replied(now, id, &mut input, n);
        }
        written
    }

    const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

    fn opened() -> (Engine<Counting>, ConnId) {
        opened_by(UPGRADE)
    }

    fn opened_by(head: &[u8]) -> (Engine<Counting>, ConnId) {
        let mut engine = Engine::new(&Config::default(), Counting(0), |bytes| bytes.fill(7));
        let id = engine.handle_accept(Now::default(), PeerInfo { address: None, listener: 0 });
        assert!(answer(&mut engine, id, head).ends_with(b"\r\n\r\n"));
        (engine, id)
    }

    #[test]
    fn what_is_sent_at_the_end_of_a_read_follows_all_replies_to_it_in_one_write() {
        let (mut engine, id) = opened();
        assert_eq!(answer(&mut engine, id, b"\x81\x81\0\0\0\0a"), b"\x81\x01a\x82\x01\x01");
        assert_eq!(
            answer(&mut engine, id, b"\x81\x81\0\0\0\0a\x81\x81\0\0\0\0?\x82\x81\0\0\0\0b"),
            b"\x81\x01a\x82\x01b\x82\x01\x03"
        );
        // A frame that is cut off is no message of this read, and one of the next.
        assert_eq!(answer(&mut engine, id, b"\x81\x82\0\0\0\0c"), b"");
        assert_eq!(answer(&mut engine, id, b"d"), b"\x81\x02cd\x82\x01\x01");
    }

    #[test]
    fn little_is_read_at_a_time_in_a_handshake_and_from_whose_messages_may_go_to_many() {
        let few = 8 << 10;
        let (mut engine, id) = opened();
        let many = Config::default().limits.read_bytes_max as usize;
        assert_eq!(engine.read_bytes_max(id), many);
        for (spreads, most) in [(true, few), (false, many)] {
            engine.act(Now::default(), |_, cx| cx.set_spreading(id, spreads));
            assert_eq!(engine.read_bytes_max(id), most);
        }
        let begun = engine.handle_accept(Now::default(), PeerInfo { address: None, listener: 0 });
        assert_eq!(engine.read_bytes_max(begun), few);
        assert!(!engine.may_be_costly(id));
    }

    #[test]
    fn less_is_read_at_a_time_from_who_may_compress_and_least_where_that_is_taken_apart() {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        let head = [&UPGRADE[..UPGRADE.len() - 2], offer.as_bytes()].concat();
        let (mut engine, id) = opened_by(&head);
        for (spreads, most) in [(false, 32 << 10), (true, 4 << 10)] {
            engine.act(Now::default(), |_, cx| cx.set_spreading(id, spreads));
            assert_eq!(engine.read_bytes_max(id), most);
            assert!(engine.may_be_costly(id));
        }
    }

    #[test]
    fn a_read_that_brings_a_close_or_a_fault_has_no_end_that_is_told() {
        for bytes in [&b"\x81\x81\0\0\0\0a\x88\x80\0\0\0\0"[..], b"\x81\x81\0\0\0\0a\x83\x80\0\0\0\0"] {
            let (mut engine, id) = opened();
            assert!(answer(&mut engine, id, bytes).starts_with(b"\x81\x01a\x88"));
            assert_eq!(engine.handler().0, 1);
        }
    }
}
