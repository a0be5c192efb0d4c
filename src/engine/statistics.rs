//! What an engine has seen, in plain numbers: added to where it happens, and read whenever somebody asks.
//!
//! They are fields of the core, in no lock and behind no atomic. What each message costs is two additions a direction.

use super::{Cause, Closed, Context, Core, Engine, Handler, Lost, peers::flag};
use crate::{
    conn::Fault,
    wire::{close::CloseCode, handshake::Refusal},
};
use std::collections::BTreeMap;

/// What a loop has seen since it was made, and what it holds now.
///
/// The books balance at any moment: each connection that was accepted is counted in exactly one field of [`Handshakes`],
/// or its handshake goes on; each that was dialled in exactly one of [`Dials`], or it is under way; and each that was
/// opened is open, or counted in [`Statistics::closed`](field@Statistics::closed) once, under its code and its cause.
///
/// ```
/// use sockeye::{Config, ConnId, Context, Engine, Handler, Message, Now, PeerInfo};
/// # struct Quiet;
/// # impl Handler for Quiet { fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {} }
/// let mut engine = Engine::new(&Config::default(), Quiet, |bytes| bytes.fill(7));
/// let id = engine.handle_accept(Now::default(), PeerInfo { address: None, listener: 0 });
/// assert_eq!((engine.statistics().accepted, engine.statistics().handshaking()), (1, 1));
/// engine.handle_eof(Now::default(), id);
/// assert_eq!((engine.statistics().handshakes.lost, engine.statistics().handshaking()), (1, 0));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Statistics {
    /// What is held at the moment of asking.
    pub now: Gauges,
    /// Connections that were accepted, those included that were one too many.
    pub accepted: u64,
    /// How the opening handshakes of these ended.
    pub handshakes: Handshakes,
    /// Connections that were dialled.
    pub dials: Dials,
    /// Connections that were open, accepted or dialled, and are not any more: as often as `on_close` was owed.
    pub closed: u64,
    /// What peers sent.
    pub received: Traffic,
    /// What they were sent.
    pub sent: Traffic,
    /// What was not sent, or not kept.
    pub drops: Drops,
    /// Pings of the keepalive's that were sent.
    pub pings: u64,
    /// From a Ping of the keepalive's to its Pong, to the millisecond. Of a peer that said something else before its Pong
    /// nothing is known.
    pub round_trips: Histogram,
    /// Turns of the loop, each from its first event to the end of its writing. How long it waited is not in it.
    pub turns: Histogram,
    /// Times that accepting paused, because the process or the machine was out of descriptors or memory.
    pub accept_pauses: u64,
    /// Calls of the handler that panicked.
    pub panics: u64,
    refusals: BTreeMap<(u16, &'static str), u64>,
    answers: BTreeMap<u16, u64>,
    closes: BTreeMap<(Option<u16>, &'static str), u64>,
}

/// What a loop holds at the moment of asking.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Gauges {
    /// Connections, those included whose handshake goes on, and those that only end.
    pub connections: u64,
    /// The limit on these; 0 for none.
    pub connections_max: u64,
    /// Bytes of all buffers that connections hold.
    pub buffered_bytes: u64,
    /// The limit on these; 0 for none.
    pub buffered_bytes_max: u64,
    /// Connections that have compression contexts of their own.
    pub deflate_contexts: u64,
    /// Bytes that are reserved for these.
    pub deflate_context_bytes: u64,
    /// The limit on these.
    pub deflate_context_bytes_max: u64,
}

/// How opening handshakes of accepted connections ended: each in exactly one way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Handshakes {
    /// With a 101: `on_open` was called.
    pub opened: u64,
    /// With a refusal, by the engine or the handler: [`Statistics::refusals`] has why.
    pub refused: u64,
    /// With the answer to a plain HTTP request: [`Statistics::answers`] has which.
    pub answered: u64,
    /// The peer went away, or its socket failed, before there was a request to answer; or the loop ended.
    pub lost: u64,
    /// TLS could not be set up: the peer does not speak it as it should, or shows nothing that is trusted.
    pub tls_failed: u64,
    /// Not one of those that were accepted: dropped at a listener of proxies before anything was read as HTTP, by
    /// `Handler::on_turned_away`.
    pub turned_away: u64,
}

/// What became of dials: of each one thing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Dials {
    /// Begun, those included that were refused for being one too many.
    pub begun: u64,
    /// Opened.
    pub opened: u64,
    /// Failed: `on_dial_failed` was called.
    pub failed: u64,
}

/// What went one way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Traffic {
    /// Messages: received ones were handed to the handler, sent ones were taken from it; of a message for many, one for
    /// each of them. The one that is being handled is counted when its call has returned.
    pub messages: u64,
    /// Bytes of their payload, as the handler sees it: what compression makes of them is not in it.
    pub bytes: u64,
    /// Bytes that were read from sockets or written to them: handshakes, headers, control frames, compressed payload.
    /// Below TLS there are more.
    pub wire_bytes: u64,
}

/// Messages and bytes of their payload, both ways: what is added to in the loop over the messages of a read.
///
/// A message that goes back as it came is counted once, for both ways. The two numbers of one way do not lie side by side:
/// the compiler would add to both by vector instructions, three times as many as the two additions are.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Tally {
    received_messages: u64,
    echoed_messages: u64,
    sent_messages: u64,
    received_bytes: u64,
    echoed_bytes: u64,
    sent_bytes: u64,
}

impl Tally {
    /// One that was received goes back as it came.
    #[inline(always)]
    pub(super) fn echoed(&mut self, bytes: usize) {
        self.echoed_messages += 1;
        self.echoed_bytes += bytes as u64;
    }

    #[inline(always)]
    pub(super) fn received(&mut self, bytes: usize) {
        self.received_messages += 1;
        self.received_bytes += bytes as u64;
    }

    /// Messages that were received, however they went on.
    pub(super) fn all_received(&self) -> u64 {
        self.received_messages + self.echoed_messages
    }

    #[inline(always)]
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent_messages += 1;
        self.sent_bytes += bytes as u64;
    }
}

/// What was not sent, or not kept, by why. Connections that were given up for it are among [`Statistics::closes`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Drops {
    /// Messages for connections that are not open, or not any more.
    pub not_open: u64,
    /// Messages for connections whose outbox was at its hard mark: that ended them, with 1013.
    pub slow_reader: u64,
    /// Messages of more than 1 GiB.
    pub too_large: u64,
    /// Pings of peers that read too slowly, of which only the latest is answered. RFC 6455 §5.5.3
    pub pings: u64,
    /// Bytes that were queued and not written, because the connection was lost or given up.
    pub queued_bytes: u64,
}

/// What waits to be written to all connections.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Queues {
    /// Bytes, headers included.
    pub bytes: u64,
    /// Most that waits for one of them.
    pub bytes_of_longest: u64,
    /// Connections for which more waits than the soft mark.
    pub backlogged: u64,
}

impl Statistics {
    pub(super) fn new() -> Statistics {
        Statistics {
            now: Gauges::default(),
            accepted: 0,
            handshakes: Handshakes::default(),
            dials: Dials::default(),
            closed: 0,
            received: Traffic::default(),
            sent: Traffic::default(),
            drops: Drops::default(),
            pings: 0,
            round_trips: Histogram::of(&ROUND_TRIP_BOUNDS_US),
            turns: Histogram::of(&TURN_BOUNDS_US),
            accept_pauses: 0,
            panics: 0,
            refusals: BTreeMap::new(),
            answers: BTreeMap::new(),
            closes: BTreeMap::new(),
        }
    }

    /// Accepted connections whose handshake goes on.
    pub fn handshaking(&self) -> u64 {
        let Handshakes { opened, refused, answered, lost, tls_failed, turned_away: _ } = self.handshakes;
        self.accepted - (opened + refused + answered + lost + tls_failed)
    }

    /// Dials that are under way.
    pub fn dialling(&self) -> u64 {
        self.dials.begun - (self.dials.opened + self.dials.failed)
    }

    /// Connections that are open: `on_open` was called and `on_close` was not.
    pub fn open(&self) -> u64 {
        self.handshakes.opened + self.dials.opened - self.closed
    }

    /// Refused handshakes by status and [`Refusal::name`]; their sum is [`Handshakes::refused`].
    pub fn refusals(&self) -> impl Iterator<Item = (u16, &'static str, u64)> {
        self.refusals.iter().map(|(&(status, name), &count)| (status, name, count))
    }

    /// Plain HTTP requests that were answered, by status; their sum is [`Handshakes::answered`].
    pub fn answers(&self) -> impl Iterator<Item = (u16, u64)> {
        self.answers.iter().map(|(&status, &count)| (status, count))
    }

    /// Connections that ended, by code and [`Cause::name`]; their sum is [`Statistics::closed`](field@Statistics::closed).
    /// All codes that are not registered (RFC 6455 §7.4.1 and IANA) are `None`: peers choose among thousands of them.
    pub fn closes(&self) -> impl Iterator<Item = (Option<CloseCode>, &'static str, u64)> {
        self.closes.iter().map(|(&(code, cause), &count)| (code.map(CloseCode::new), cause, count))
    }

    /// The handshake of an accepted connection is refused.
    #[cold]
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        self.handshakes.refused += 1;
        *self.refusals.entry((refusal.status(), refusal.name())).or_insert(0) += 1;
    }

    /// A plain HTTP request is answered.
    #[cold]
    pub(super) fn answered(&mut self, status: u16) {
        self.handshakes.answered += 1;
        *self.answers.entry(status).or_insert(0) += 1;
    }

    /// An open connection is over.
    pub(super) fn closed(&mut self, closed: &Closed<'_>) {
        self.closed += 1;
        let code = Some(closed.code.get()).filter(|code| matches!(code, 1000..=1003 | 1005..=1014));
        *self.closes.entry((code, closed.cause.name())).or_insert(0) += 1;
    }
}

/// How often something took how long, in classes that are fixed.
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds_us: &'static [u64; CLASSES - 1],
    counts: [u64; CLASSES],
    sum_us: u64,
}

/// Classes of a histogram, with the last one, which has no bound.
const CLASSES: usize = 17;

const TURN_BOUNDS_US: [u64; CLASSES - 1] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000,
];

const ROUND_TRIP_BOUNDS_US: [u64; CLASSES - 1] = [
    1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000,
    10_000_000, 20_000_000, 30_000_000, 60_000_000,
];

impl Histogram {
    fn of(bounds_us: &'static [u64; CLASSES - 1]) -> Histogram {
        Histogram { bounds_us, counts: [0; CLASSES], sum_us: 0 }
    }

    /// Counts one that took `us` microseconds.
    #[inline]
    pub(crate) fn record(&mut self, us: u64) {
        let class = self.bounds_us.iter().position(|&bound| us <= bound).unwrap_or(CLASSES - 1);
        self.counts[class] += 1;
        self.sum_us += us;
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Microseconds of all of them together.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// The upper bound of each class in microseconds, which is in it, and how many there were in this class alone. The
    /// last one has no bound.
    pub fn classes(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = self.bounds_us.iter().map(|&bound| Some(bound)).chain([None]);
        bounds.zip(self.counts.iter().copied())
    }
}

impl Core {
    /// All numbers, with those filled in that are of the moment or are kept elsewhere.
    fn statistics(&self) -> Statistics {
        let (limits, codecs) = (&self.commons.limits, &self.commons.codecs);
        let (deflate_contexts, deflate_context_bytes) = codecs.contexts_in_use();
        let now = Gauges {
            connections: self.peers.len() as u64,
            connections_max: limits.connections_max.into(),
            buffered_bytes: self.commons.pool.held_bytes() as u64,
            buffered_bytes_max: limits.buffered_bytes_max,
            deflate_contexts: deflate_contexts as u64,
            deflate_context_bytes,
            deflate_context_bytes_max: limits.deflate_context_bytes_max,
        };
        let mut statistics = Statistics { now, ..self.statistics.clone() };
        let tally = &self.tally;
        let (messages, bytes) = (tally.echoed_messages, tally.echoed_bytes);
        statistics.received.messages = tally.all_received();
        statistics.received.bytes = tally.received_bytes + bytes;
        statistics.sent.messages = tally.sent_messages + messages;
        statistics.sent.bytes = tally.sent_bytes + bytes;
        statistics
    }

    fn queues(&self) -> Queues {
        let mut queues = Queues::default();
        for index in (0..self.peers.end()).filter(|&index| self.peers.is_occupied(index)) {
            let (peer, waits) = (&self.peers[index], self.peers[index].outbox.len() as u64);
            queues.bytes += waits;
            queues.bytes_of_longest = queues.bytes_of_longest.max(waits);
            queues.backlogged += u64::from(peer.flags.has(flag::BACKLOGGED));
        }
        queues
    }

    /// Drops what waits for a peer.
    pub(super) fn drop_queue(&mut self, index: u32) {
        let outbox = &mut self.peers[index].outbox;
        self.statistics.drops.queued_bytes += outbox.len() as u64;
        outbox.clear(&mut self.commons.pool);
    }
}

impl<H: Handler> Engine<H> {
    /// What it has seen since it was made, and holds now: a copy of some kilobytes.
    pub fn statistics(&self) -> Statistics {
        self.core.statistics()
    }

    /// What waits to be written to all connections. Looks at each of them.
    pub fn queues(&self) -> Queues {
        self.core.queues()
    }

    /// For what only whoever drives the engine knows.
    #[inline]
    pub(crate) fn statistics_mut(&mut self) -> &mut Statistics {
        &mut self.core.statistics
    }
}

impl Context<'_> {
    /// What the loop has seen since it began, and holds now: a copy of some kilobytes.
    pub fn statistics(&self) -> Statistics {
        self.core.statistics()
    }

    /// What waits to be written to all connections. Looks at each of them: of 100,000 some milliseconds long.
    pub fn queues(&self) -> Queues {
        self.core.queues()
    }
}

impl Cause {
    /// A short name for logs and statistics, of which there are few: what a peer sent is not in it.
    pub fn name(&self) -> &'static str {
        match self {
            Cause::Peer => "peer",
            Cause::Local => "local",
            Cause::Panic => "panic",
            Cause::Fault(fault) => match fault {
                Fault::SlowReader { .. } => "slow_reader",
                Fault::StalledReader { .. } => "stalled_reader",
                Fault::BudgetSpent { .. } => "budget",
                Fault::MessageTooBig { .. } => "message_too_big",
                Fault::TooManyFragments { .. } => "too_many_fragments",
                Fault::MessageIdle { .. } => "message_idle",
                fault if fault.close_code() == CloseCode::INVALID_DATA => "invalid_data",
                fault if fault.close_code() == CloseCode::POLICY => "policy",
                _ => "protocol",
            },
            Cause::Lost(lost) => match lost {
                Lost::Eof => "eof",
                Lost::Io(_) => "io",
                Lost::Silent => "silent",
                Lost::NoAnswer => "no_answer",
                Lost::Stopped => "stopped",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_a_bound_is_in_its_class_and_what_is_past_the_last_is_counted_too() {
        let mut turns = Histogram::of(&TURN_BOUNDS_US);
        for us in [0, 25, 26, 2_500_000, 2_500_001, 1 << 40] {
            turns.record(us);
        }
        let filled: Vec<_> = turns.classes().filter(|&(_, count)| count > 0).collect();
        assert_eq!(filled, [(Some(25), 2), (Some(50), 1), (Some(2_500_000), 1), (None, 2)]);
        assert_eq!((turns.count(), turns.sum_us()), (6, 51 + 5_000_001 + (1 << 40)));
    }

    #[test]
    fn bounds_rise() {
        for bounds in [TURN_BOUNDS_US, ROUND_TRIP_BOUNDS_US] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn a_code_that_a_peer_makes_up_has_no_number_of_its_own() {
        let mut statistics = Statistics::new();
        for code in (1000..1016).chain(3000..5000) {
            let code = CloseCode::new(code);
            statistics.closed(&Closed { code, reason: "", was_clean: true, cause: Cause::Peer });
        }
        assert_eq!(statistics.closes().count(), 15);
        assert_eq!(statistics.closes().next(), Some((None, "peer", 2_002)));
        assert_eq!(statistics.closes().map(|(_, _, count)| count).sum::<u64>(), statistics.closed);
    }
}
