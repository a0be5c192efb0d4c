//! Frames that are made once and sent many times, without a copy: for programs that measure what others do.

use super::{ConnId, Context, Core, Sent};
use crate::{
    conn::{Commons, Message, Role, WINDOW_MAX},
    wire::{
        frame::{HEADER_BYTES_MAX, HeaderBytes},
        mask,
    },
};
use std::ops::Range;

/// A frame of a client's, made by [`Context::prepare`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Prepared {
    /// Where it stands in the log.
    plain: Range<u32>,
    /// The same message, compressed on its own, if that makes it smaller.
    compressed: Option<Range<u32>>,
    payload_bytes: usize,
}

/// What all prepared frames may have together, in bytes: they are never given back.
const PREPARED_BYTES_MAX: usize = 64 << 20;

impl Context<'_> {
    /// Makes the frame of a message, to be sent with [`Context::send_prepared`] as often as is wanted.
    ///
    /// It costs its memory while the engine lives. `None`: those that there are have too many bytes already (64 MiB), or
    /// something that was published waits to be written; nothing does between two turns.
    ///
    /// Where compression is on ([`Config::deflate`](crate::Config)) it is compressed here, too, and sent so to whom that
    /// was agreed with, unless with a smaller window than 32 KiB.
    ///
    /// Only for a program that makes up what it sends, such as a load generator: the frame's masking key is
    /// unpredictable, but the same each time it is sent, and who passes on what others say owes a new one for each
    /// frame. RFC 6455 §5.3, §10.3
    ///
    /// ```
    /// # use sockeye::{Config, ConnId, Context, Engine, Handler, Message, Now};
    /// # struct Quiet;
    /// # impl Handler for Quiet { fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {} }
    /// let mut engine = Engine::new(&Config::default(), Quiet, |bytes| bytes.fill(7));
    /// let prepared = engine.act(Now::default(), |_, cx| cx.prepare("the same again"));
    /// assert!(prepared.is_some());
    /// ```
    pub fn prepare<'m>(&mut self, message: impl Into<Message<'m>>) -> Option<Prepared> {
        self.core.prepare(message.into())
    }

    /// Queues prepared frames, one behind the other. Those that were made one after the other lie so, too: no copy is
    /// made of them, unless the socket takes less than it is offered.
    ///
    /// Refused together, as [`Context::send`] may, and to who did not dial but was accepted: a server's frames are not
    /// masked.
    #[inline]
    pub fn send_prepared(&mut self, id: ConnId, frames: &[Prepared]) -> Sent {
        let Some(index) = self.core.peers.find(id) else { return self.core.has_ended() };
        if self.turn != index {
            self.core.hears_others(index);
        }
        if self.core.peers[index].conn.role() != Role::Client || !self.core.may_queue(index) {
            return Sent::Refused;
        }
        let Core { peers, log, commons, tally, .. } = &mut *self.core;
        let peer = &mut peers[index];
        for frame in frames {
            let part = match (&frame.compressed, peer.conn.window(frame.payload_bytes, commons)) {
                (Some(compressed), WINDOW_MAX) => {
                    peer.conn.sent_shared(commons);
                    compressed
                }
                _ => &frame.plain,
            };
            peer.outbox.push_shared(part.clone(), log, &mut commons.pool);
            tally.sent(frame.payload_bytes);
        }
        self.core.dirty(index);
        self.core.queued(self.now, index)
    }
}

impl Core {
    fn prepare(&mut self, message: Message<'_>) -> Option<Prepared> {
        let payload = message.as_bytes();
        let room = 2 * (payload.len() + HEADER_BYTES_MAX);
        if self.log.len() > self.prepared as usize || room > PREPARED_BYTES_MAX - self.log.len() {
            return None;
        }
        let plain = self.put_prepared(message, payload, false);
        let Commons { codecs, pool, .. } = &mut self.commons;
        let made =
            if codecs.is_worth(payload.len()) { codecs.compress(WINDOW_MAX, payload, pool) } else { None };
        let compressed = made.map(|mut made| {
            let part = self.put_prepared(message, &made, true);
            self.commons.pool.give_buffer(&mut made);
            part
        });
        Some(Prepared { plain, compressed, payload_bytes: payload.len() })
    }

    /// Prepared frames stand in front of the log, which is cleared down to them.
    fn put_prepared(&mut self, message: Message<'_>, payload: &[u8], compressed: bool) -> Range<u32> {
        let key = self.commons.random();
        let mut header = HeaderBytes::new(message.opcode(), payload.len(), Some(key));
        if compressed {
            header = header.compressed();
        }
        self.commons.pool.reserve(&mut self.log, header.len() + payload.len());
        self.log.extend_from_slice(&header);
        let at = self.log.len();
        self.log.extend_from_slice(payload);
        mask::apply(&mut self.log[at..], key);
        let start = std::mem::replace(&mut self.prepared, self.log.len() as u32);
        start..self.prepared
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        config::Config,
        conn::{Input, Message},
        engine::{Command, ConnId, Context, Dial, Engine, Handler, PeerInfo, Prepared, Sent},
        time::Now,
    };

    struct Quiet;
    impl Handler for Quiet {
        fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {}
    }

    const NOW: Now = Now { tick: crate::time::Tick::ZERO, unix_ms: 0 };

    fn engine() -> Engine<Quiet> {
        Engine::new(&Config::default(), Quiet, |bytes| bytes.fill(7))
    }

    fn dialled(engine: &mut Engine<Quiet>) -> ConnId {
        dialled_with(engine, "")
    }

    /// The server's answer has these header lines besides.
    fn dialled_with(engine: &mut Engine<Quiet>, lines: &str) -> ConnId {
        let id = engine.act(NOW, |_, cx| cx.dial(Dial::new("127.0.0.1", 80)));
        assert_eq!(engine.poll_command(), Some(Command::Dial(id)));
        engine.handle_connected(Now::default(), id, "127.0.0.1:80".parse().unwrap());
        assert!(written(engine, usize::MAX).starts_with(b"GET / HTTP/1.1\r\n"));
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: CdXSYUsvsaMthlEXWDNURGWA/1o=\r\n{lines}\r\n"
        );
        read(engine, id, head.as_bytes());
        id
    }

    fn accepted(engine: &mut Engine<Quiet>) -> ConnId {
        let id = engine.handle_accept(NOW, PeerInfo { address: None, listener: 0 });
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        read(engine, id, head);
        written(engine, usize::MAX);
        id
    }

    fn read(engine: &mut Engine<Quiet>, id: ConnId, bytes: &[u8]) {
        let mut input = Input::new(4_096);
        input.space()[..bytes.len()].copy_from_slice(bytes);
        input.fill(bytes.len());
        engine.handle_input(NOW, id, &mut input);
    }

    /// What is to be written, of which the socket takes so many bytes.
    fn written(engine: &mut Engine<Quiet>, takes: usize) -> Vec<u8> {
        engine.begin_transmits();
        let mut all = Vec::new();
        while let Some(transmit) = engine.poll_transmit() {
            let (id, bytes) = (transmit.id, [transmit.first, transmit.second].concat());
            let n = bytes.len().min(takes);
            all.extend_from_slice(&bytes[..n]);
            engine.handle_transmitted(NOW, id, n);
        }
        all
    }

    fn prepare(engine: &mut Engine<Quiet>, text: &str) -> Prepared {
        engine.act(NOW, |_, cx| cx.prepare(text)).unwrap()
    }

    const A: &[u8] = b"\x81\x81\x07\x07\x07\x07f"; // "a", masked with 07 07 07 07
    const B: &[u8] = b"\x81\x81\x07\x07\x07\x07e";

    #[test]
    fn a_prepared_frame_is_sent_as_often_as_asked_and_in_its_order() {
        let mut engine = engine();
        let (a, b) = (prepare(&mut engine, "a"), prepare(&mut engine, "b"));
        let id = dialled(&mut engine);
        for _ in 0..3 {
            engine.act(NOW, |_, cx| {
                assert_eq!(cx.send_prepared(id, &[a.clone(), b.clone()]), Sent::Queued);
                cx.send(id, "a");
                cx.send_prepared(id, std::slice::from_ref(&b));
            });
            assert_eq!(written(&mut engine, usize::MAX), [A, B, A, B].concat());
        }
        assert_eq!(written(&mut engine, usize::MAX), b"");
    }

    #[test]
    fn what_a_socket_does_not_take_is_kept_and_the_frames_stay_for_others() {
        let mut engine = engine();
        let a = prepare(&mut engine, "a");
        let (one, other) = (dialled(&mut engine), dialled(&mut engine));
        engine.act(NOW, |_, cx| {
            cx.send_prepared(one, std::slice::from_ref(&a));
            cx.send_prepared(one, std::slice::from_ref(&a));
        });
        assert_eq!(written(&mut engine, 3), A[..3]);
        engine.act(NOW, |_, cx| cx.send_prepared(other, std::slice::from_ref(&a)));
        assert_eq!(written(&mut engine, usize::MAX), A);
        engine.handle_writable(one);
        assert_eq!(written(&mut engine, usize::MAX), [&A[3..], A].concat());
    }

    #[test]
    fn frames_for_many_stand_behind_the_prepared_ones_and_go_while_those_stay() {
        let mut engine = engine();
        let a = prepare(&mut engine, "a");
        let (peer, id) = (accepted(&mut engine), dialled(&mut engine));
        engine.act(NOW, |_, cx| {
            assert_eq!(cx.broadcast([peer, id], "b").queued, 2);
            assert_eq!(cx.prepare("too late"), None);
        });
        assert_eq!(written(&mut engine, usize::MAX), [b"\x81\x01b", B].concat());
        engine.act(NOW, |_, cx| cx.send_prepared(id, std::slice::from_ref(&a)));
        assert_eq!(written(&mut engine, usize::MAX), A);
        assert!(engine.act(NOW, |_, cx| cx.prepare("in time")).is_some());
    }

    #[test]
    fn only_who_dialled_is_sent_a_masked_frame_and_only_while_it_is_open() {
        let mut engine = engine();
        let a = prepare(&mut engine, "a");
        let (peer, id) = (accepted(&mut engine), dialled(&mut engine));
        engine.act(NOW, |_, cx| {
            assert_eq!(cx.send_prepared(peer, std::slice::from_ref(&a)), Sent::Refused);
            cx.close(id, crate::CloseCode::NORMAL, "");
            assert_eq!(cx.send_prepared(id, std::slice::from_ref(&a)), Sent::Refused);
        });
    }

    #[test]
    fn a_prepared_frame_is_compressed_for_whom_that_was_agreed_with() {
        let mut engine = engine();
        let long = prepare(&mut engine, &"to and fro, ".repeat(100));
        let agreed = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                      client_no_context_takeover\r\n";
        let (with, without) = (dialled_with(&mut engine, agreed), dialled(&mut engine));
        for _ in 0..2 {
            engine.act(NOW, |_, cx| cx.send_prepared(with, std::slice::from_ref(&long)));
            let bytes = written(&mut engine, usize::MAX);
            assert!(bytes[0] == 0xc1 && bytes.len() < 100, "{bytes:?}");
        }
        engine.act(NOW, |_, cx| cx.send_prepared(without, std::slice::from_ref(&long)));
        assert_eq!(written(&mut engine, usize::MAX)[..4], [0x81, 0xfe, 0x04, 0xb0]);
    }

    #[test]
    fn more_memory_than_is_sensible_is_not_prepared() {
        let mut engine = engine();
        let large = vec![0; 20 << 20];
        let made = [(); 3].map(|()| engine.act(NOW, |_, cx| cx.prepare(&large[..]).is_some()));
        assert_eq!(made, [true, true, false]);
    }
}
