//! What a handler can do: the part of the engine it is lent for one call.

use super::{ConnId, Core, Dial, Fanout, PeerInfo, Sent, peers::flag, sending::Shared};
use crate::{
    config::Limits,
    conn::{Input, Message},
    time::Now,
    wire::{
        close::CloseCode,
        frame::{HeaderBytes, Opcode},
        http_request::RequestHead,
    },
};

/// The engine, as a [`Handler`](super::Handler) sees it during a call. Nothing here blocks or calls back.
///
/// Calls with the id of a connection that has ended do nothing and say so: [`Sent::Refused`], `None` or `false`.
pub struct Context<'a> {
    pub(super) core: &'a mut Core,
    pub(super) now: Now,
    /// Whose event this is: what is sent to it goes out with its own replies.
    pub(super) turn: u32,
    pub(super) current: Option<Current<'a>>,
}

/// The message being handled, so that sending it back to where it came from is recognised and costs no copy.
pub(super) struct Current<'a> {
    pub(super) id: ConnId,
    pub(super) input: &'a Input,
    pub(super) payload: &'a [u8],
    /// The payload in the compressed form it came in, if it may be sent on so.
    pub(super) compressed: Option<&'a [u8]>,
    pub(super) left: Left,
}

/// What a handler's call leaves to be done when it has given the message back.
#[derive(Clone, Copy, Default)]
pub(super) struct Left {
    /// The message is to be sent back as it is.
    pub(super) echo: Option<Echo>,
    /// What was to be replied in place was moved to the outbox, because something else followed it.
    pub(super) reply_moved: bool,
}

/// How a message is sent back as it is.
#[derive(Clone, Copy)]
pub(super) struct Echo {
    pub(super) opcode: Opcode,
    /// In the compressed form it came in.
    pub(super) compressed: bool,
}

impl Current<'_> {
    /// What goes on the wire.
    fn echoed(&self, echo: Echo) -> &[u8] {
        self.compressed.filter(|_| echo.compressed).unwrap_or(self.payload)
    }

    /// Whether `message` is the very bytes being handled, and not only equal to them.
    #[inline]
    fn is(&self, message: &Message<'_>) -> bool {
        let bytes = message.as_bytes();
        std::ptr::eq(bytes.as_ptr(), self.payload.as_ptr()) && bytes.len() == self.payload.len()
    }

    fn reply(&self) -> &[u8] {
        if self.left.reply_moved { &[] } else { self.input.reply() }
    }
}

/// No peer's event.
pub(super) const NOBODY: u32 = u32::MAX;

impl<'a> Context<'a> {
    pub(super) fn of(core: &'a mut Core, now: Now, turn: u32) -> Context<'a> {
        Context { core, now, turn, current: None }
    }

    /// `message` in the compressed form it came in: it is the one being handled.
    #[inline]
    fn compressed(&self, message: &Message<'_>) -> Option<&'a [u8]> {
        self.current.as_ref().filter(|current| current.is(message)).and_then(|current| current.compressed)
    }
}

impl Context<'_> {
    /// Queues a message for one connection. RFC 6455 §6.1
    #[inline]
    pub fn send<'m>(&mut self, id: ConnId, message: impl Into<Message<'m>>) -> Sent {
        self.send_back(id, message.into())
    }

    /// The same, for a handler that mostly sends back what it was told.
    #[inline(always)] // a call costs a tenth of a small message
    pub(crate) fn send_back(&mut self, id: ConnId, message: Message<'_>) -> Sent {
        if let Some(current) = &mut self.current
            && current.id == id
            && current.left.echo.is_none()
            && current.is(&message)
            && self.core.may_reply_in_place(id.index)
            && let Some(compressed) =
                self.core.form_in_place(id.index, message.as_bytes().len(), current.compressed.is_some())
        {
            current.left.echo = Some(Echo { opcode: message.opcode(), compressed });
            return Sent::Queued;
        }
        self.queue(id, message)
    }

    fn queue(&mut self, id: ConnId, message: Message<'_>) -> Sent {
        let Some(index) = self.core.peers.find(id) else { return self.core.has_ended() };
        if self.turn == index {
            self.settle_reply_of(index);
        } else {
            self.core.hears_others(index);
        }
        let compressed = self.compressed(&message);
        self.core.send(self.now, index, message, compressed)
    }

    /// Makes `id` a member of `topic` until it leaves or ends; false if it was one or is not open.
    ///
    /// A topic is any name; it comes to be with its first member and ends with its last.
    pub fn subscribe(&mut self, id: ConnId, topic: &str) -> bool {
        let Some(index) = self.core.peers.find(id).filter(|&index| self.core.is_open(index)) else {
            return false;
        };
        self.hears_others(index);
        self.core.topics.subscribe(index, topic)
    }

    /// Ends the membership of `id` in `topic`; false if there was none.
    pub fn unsubscribe(&mut self, id: ConnId, topic: &str) -> bool {
        self.core.peers.find(id).is_some_and(|index| self.core.topics.unsubscribe(index, topic))
    }

    /// Queues a message for all members of `topic`: framed once, and written to each with all else that this
    /// wake brings it. Never waits for a slow member.
    pub fn publish<'m>(&mut self, topic: &str, message: impl Into<Message<'m>>) -> Fanout {
        let Some(topic) = self.core.topics.find(topic) else { return Fanout::default() };
        let (message, mut fanout) = (message.into(), Fanout::default());
        let mut shared = Shared::of(self.compressed(&message));
        let mut place = 0;
        while let Some(index) = self.core.topics.member(topic, place) {
            fanout.count(self.core.send_shared(self.now, index, &mut shared, message));
            place += 1;
        }
        self.core.end_shared();
        fanout
    }

    /// As [`Context::publish`], to the connections named; ids that have ended count as refused.
    pub fn broadcast<'m>(
        &mut self,
        ids: impl IntoIterator<Item = ConnId>,
        message: impl Into<Message<'m>>,
    ) -> Fanout {
        let (message, mut fanout) = (message.into(), Fanout::default());
        let mut shared = Shared::of(self.compressed(&message));
        for id in ids {
            fanout.count(match self.core.peers.find(id) {
                Some(index) => {
                    self.hears_others(index);
                    self.core.send_shared(self.now, index, &mut shared, message)
                }
                None => self.core.has_ended(),
            });
        }
        self.core.end_shared();
        fanout
    }

    /// Starts the closing handshake, behind what is queued; false if `id` is not open. RFC 6455 §7.1.2
    ///
    /// One that was dialled and is not open yet is given up; `on_dial_failed` follows.
    /// No message of it is delivered any more; `on_close` follows when the peer answers or time is up. A code that
    /// must not be on the wire is left out, a reason past 123 bytes is cut.
    pub fn close(&mut self, id: ConnId, code: CloseCode, reason: &str) -> bool {
        let Some(index) = self.core.peers.find(id) else { return false };
        self.settle_reply_of(index);
        self.core.close_dialled(index) || self.core.close(self.now, index, code, reason)
    }

    /// Has these origins connect from now on, as by [`Config::origins`](crate::Config::origins); none: any may. Who is
    /// connected stays.
    pub fn set_origins(&mut self, origins: Vec<String>) {
        self.core.set_origins(origins);
    }

    /// Dials: resolves the host's name, connects, and shakes hands, while the loop goes on. `on_response` and `on_open`
    /// follow, or `on_dial_failed`; until then nothing can be sent. It may take `Limits::handshake_ms_max`.
    ///
    /// Dials to the same address do not wait for each other, as §4.1 item 2 has browsers do for the sake of servers that
    /// a page's script might flood: here it is the program itself that decides.
    ///
    /// A connection that was dialled is like one that was accepted in all else, but is read even while its outbox is
    /// above the soft mark.
    ///
    /// ```no_run
    /// # use sockeye::{Config, ConnId, Context, Dial, Handler, Message, Server};
    /// struct Hello;
    /// impl Handler for Hello {
    ///     fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
    ///         cx.send(id, "hello");
    ///     }
    ///     fn on_message(&mut self, cx: &mut Context<'_>, _: ConnId, message: Message<'_>) {
    ///         println!("{message:?}");
    ///         cx.shutdown();
    ///     }
    /// }
    /// let mut server = Server::unbound(Config::default(), Hello)?;
    /// server.act(|_, cx| cx.dial(Dial::new("127.0.0.1", 9001)));
    /// server.run()?;
    /// # Ok::<(), sockeye::Error>(())
    /// ```
    ///
    /// While the server stops, a dial fails with [`Lost::Stopped`](super::Lost), or is told of no more where the stop
    /// ends before. A connection that has just ended, or a dial that has just failed, still counts against
    /// `Limits::connections_max` until its socket is closed.
    ///
    /// # Panics
    /// When the request is none: see [`Connection::client`](crate::conn::Connection::client).
    pub fn dial(&mut self, dial: Dial) -> ConnId {
        self.core.dial(self.now, dial)
    }

    /// Queues a Ping; false if `id` is not open, the payload has more than 125 bytes, or too much waits. §5.5.2
    pub fn ping(&mut self, id: ConnId, payload: &[u8]) -> bool {
        let Some(index) = self.core.peers.find(id) else { return false };
        self.settle_reply_of(index);
        self.core.control(Opcode::Ping, index, payload)
    }

    /// Bytes that wait to be written to `id`, headers included; `None` if it has ended.
    pub fn buffered(&self, id: ConnId) -> Option<usize> {
        let index = self.core.peers.find(id)?;
        let in_place =
            self.current.as_ref().filter(|current| current.id.index == index).map_or(0, |current| {
                let echo = current.left.echo.map_or(0, |echo| {
                    let len = current.echoed(echo).len();
                    HeaderBytes::bare(echo.opcode, len).len() + len
                });
                current.reply().len() + echo
            });
        Some(self.core.peers[index].outbox.len() + in_place)
    }

    /// Bytes that were written since the start: on a loop with one connection that was dialled, how
    /// far into its stream the network is.
    #[cfg(feature = "client")]
    pub(crate) fn transmitted_bytes(&self) -> u64 {
        self.core.statistics.sent.wire_bytes
    }

    /// Whether `id` is about to be failed, as one that reads too slowly: nothing is queued for it any more.
    #[cfg(feature = "hub")]
    pub(crate) fn is_given_up(&self, id: ConnId) -> bool {
        self.core
            .peers
            .find(id)
            .is_none_or(|index| self.core.peers[index].flags.has(super::peers::flag::DOOMED))
    }

    /// Reads nothing more from `id` until [`Context::resume`]; what was read already is still delivered.
    pub fn pause(&mut self, id: ConnId) {
        if let Some(index) = self.core.peers.find(id) {
            self.core.pause(index);
        }
    }

    /// Reads from `id` again.
    pub fn resume(&mut self, id: ConnId) {
        if let Some(index) = self.core.peers.find(id) {
            self.core.resume(self.now, index);
        }
    }

    /// Says whether what `id` sends may go to many others. If so, at most 8 KiB of it are read at a time and not
    /// `Limits::read_bytes_max`, so that others have their turns between: those may be a thousand messages, and one that
    /// floods a thousand members with them would keep everybody waiting for a second. Where messages may come compressed it
    /// is 4 KiB; and once a mebibyte of large messages has come in a turn of the loop, nothing more is read in it from those
    /// that spread, for they are to be taken apart, too. At first it may not.
    pub fn set_spreading(&mut self, id: ConnId, spreads: bool) {
        if let Some(index) = self.core.peers.find(id) {
            self.core.peers[index].flags.set(flag::SPREADS, spreads);
        }
    }

    /// The address of `id` and its listener; `None` if it has ended.
    pub fn peer(&self, id: ConnId) -> Option<PeerInfo> {
        self.core.peers.find(id).map(|index| self.core.peers.info(index))
    }

    /// Whether cookies, and whatever else a browser adds to a request by itself, may say in `head` who somebody is: no page
    /// of another site had them sent. So it is where there is no Origin, as no browser sends a handshake; where that is of
    /// the host that was asked for, by whichever port and scheme; and where [`Config::origins`](crate::Config) names it,
    /// other than as `*` or `null`, which are anybody's. RFC 6455 §10.2
    pub fn trusts_origin(&self, head: &RequestHead<'_>) -> bool {
        self.core.trusts_origin(head)
    }

    /// Whether `id` comes by a proxy of [`Config::trusted_proxies`](crate::Config), which named its address by the PROXY
    /// protocol or in a header of the request, or, by the former, named none.
    pub fn is_proxied(&self, id: ConnId) -> bool {
        self.core.peers.find(id).is_some_and(|index| self.core.peers.is_proxied(index))
    }

    /// When this wake of the loop began.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Unpredictable bytes, of the source that masking keys come from. At most 256 at a time.
    pub fn random<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= 256, "at most 256 bytes are to be had at a time") };
        self.core.commons.random()
    }

    /// Connections at the moment, those included whose handshake goes on.
    pub fn connections(&self) -> usize {
        self.core.peers.len()
    }

    /// How many more connections are let in now: what is left of `Limits::connections_max`, or `u32::MAX` without that.
    pub fn connections_left(&self) -> u32 {
        self.core.connections_left()
    }

    /// The connection that has this place in tables ([`ConnId::index`]), if it is open. So all can be looked through, some
    /// at a time; the places end at [`Context::connections_end`].
    pub fn connection_at(&self, index: usize) -> Option<ConnId> {
        let index = u32::try_from(index).ok()?;
        (self.core.peers.is_occupied(index) && self.core.is_open(index)).then(|| self.core.peers.id(index))
    }

    /// One past the last place of a connection.
    pub fn connections_end(&self) -> usize {
        self.core.peers.end() as usize
    }

    /// Bytes that all partial messages and outboxes hold: what `Limits::buffered_bytes_max` bounds.
    pub fn held_bytes(&self) -> u64 {
        self.core.commons.pool.held_bytes() as u64
    }

    /// The bounds in force: where a server resolves a 0, as it does for `connections_max` and `buffered_bytes_max`, what it
    /// came to.
    pub fn limits(&self) -> &Limits {
        &self.core.commons.limits
    }

    /// Stops the server: every connection is closed with 1001, and `Server::run` returns when all have answered.
    pub fn shutdown(&mut self) {
        self.core.commands.push_back(super::Command::Shutdown);
    }

    /// Drains the server: as `Server::drain`, within [`Limits::drain_ms`](crate::Limits).
    pub fn drain(&mut self) {
        self.core.commands.push_back(super::Command::Drain);
    }

    /// Whether the server drains or stops: who connects only now is better served elsewhere.
    pub fn is_draining(&self) -> bool {
        self.core.is_draining()
    }

    /// From now on frames of others go out with this peer's own, in one write and in their order.
    fn hears_others(&mut self, index: u32) {
        self.settle_reply_of(index);
        self.core.hears_others(index);
    }

    /// Moves what was to be replied in place to the outbox, because something is to follow it there.
    pub(super) fn settle_reply_of(&mut self, index: u32) {
        let Some(current) = self.current.as_mut().filter(|current| current.id.index == index) else { return };
        let reply = current.reply();
        if !reply.is_empty() {
            self.core.queue_bytes(index, reply);
            current.left.reply_moved = true;
        }
        let echo = current.left.echo.take();
        if echo.is_some() {
            self.core.tally.sent(current.payload.len());
        }
        match echo {
            Some(echo) if echo.compressed => {
                self.core.queue_compressed(index, echo.opcode, current.echoed(echo));
            }
            Some(echo) => self.core.queue_frame(index, echo.opcode, current.payload),
            None => {}
        }
    }
}
