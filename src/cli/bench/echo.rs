//! Mode echo: what is sent comes back. In a closed loop each reply is followed by the next message; in an open one
//! messages are sent when they are due.
//!
//! A reply is only counted (and compared) as it comes. At the end of each read the clock is read once, what its replies
//! have in common is counted once, and what follows them is sent at once: a message costs a few nanoseconds here.

use super::load::{Base, Plan, Schedule};
use sockeye::{ConnId, Context, Message, Prepared};
use std::collections::VecDeque;

/// All connections of one loop.
pub(super) struct Echo {
    /// By [`ConnId::index`].
    flows: Vec<Flow>,
    /// Those that are open, to be sent to in turn when messages are due.
    order: Vec<ConnId>,
    next: usize,
    /// Replies that the read which is being handled has brought so far.
    replies: u32,
    schedule: Option<Schedule>,
    in_flight_max: u32,
    verify: bool,
    ring: Ring,
    /// Messages in flight on all connections.
    in_flight: u64,
}

/// What is sent in turn: the frames of all different messages, and so many again that those which answer one read
/// follow each other, and go out in one write from where they lie.
#[derive(Debug, Default)]
struct Ring {
    /// Empty where they would take too much memory: then each message is framed as it is sent.
    frames: Vec<Prepared>,
    distinct: u32,
}

/// One connection.
#[derive(Debug, Default)]
struct Flow {
    /// The place in the ring of what is to be sent next, and the message whose echo comes next.
    next: u32,
    expected: u32,
    in_flight: u32,
    /// What is in flight, oldest first.
    sent: VecDeque<Flight>,
    /// Open loop: when those were due that wait because too many are in flight.
    waiting: VecDeque<u64>,
}

/// Messages that were due and sent at the same time.
#[derive(Clone, Copy, Debug)]
struct Flight {
    due_ns: u64,
    sent_ns: u64,
    count: u32,
}

impl Echo {
    pub(super) fn new(plan: &Plan) -> Echo {
        Echo {
            flows: Vec::new(),
            order: Vec::new(),
            next: 0,
            replies: 0,
            schedule: None,
            in_flight_max: plan.arguments.in_flight_max(),
            verify: plan.arguments.load.verify,
            ring: Ring { frames: Vec::new(), distinct: plan.payloads.len() as u32 },
            in_flight: 0,
        }
    }

    /// Makes the frames, before anything is dialled.
    pub(super) fn prepare(&mut self, base: &Base, cx: &mut Context<'_>) {
        let distinct = self.ring.distinct as usize;
        let frames = (0..distinct + self.in_flight_max as usize)
            .map(|place| cx.prepare(base.plan.payloads.message(place % distinct)));
        self.ring.frames = frames.collect::<Option<_>>().unwrap_or_default();
    }

    pub(super) fn opened(&mut self, id: ConnId) {
        if self.flows.len() <= id.index() {
            self.flows.resize_with(id.index() + 1, Flow::default);
        }
        self.flows[id.index()] = Flow::default();
        self.order.push(id);
    }

    /// What was in flight on it is lost with it.
    pub(super) fn closed(&mut self, id: ConnId) {
        self.order.retain(|&open| open != id);
        self.replies = 0; // a read that brings a Close has no end
        self.in_flight -= u64::from(self.flows[id.index()].in_flight);
        self.flows[id.index()] = Flow::default();
    }

    pub(super) fn start(&mut self, base: &mut Base, cx: &mut Context<'_>) {
        self.schedule = Schedule::new(base);
        if self.schedule.is_some() {
            return;
        }
        for &id in &self.order {
            let flow = &mut self.flows[id.index()];
            flow.send(base, cx, id, self.in_flight_max, &self.ring);
            flow.launched(base.clock.now_ns, base.clock.now_ns, self.in_flight_max);
            self.in_flight += u64::from(self.in_flight_max);
        }
    }

    /// A message came.
    #[inline]
    pub(super) fn echoed(&mut self, base: &mut Base, id: ConnId, message: Message<'_>) {
        self.replies += 1;
        if self.verify {
            let flow = &mut self.flows[id.index()];
            if self.replies <= flow.in_flight {
                flow.verify(base, message, self.ring.distinct);
            }
        }
    }

    /// All that one read of a connection brought has come: it is counted, and what follows it is sent.
    pub(super) fn read_ended(&mut self, base: &mut Base, cx: &mut Context<'_>, id: ConnId) {
        let came = std::mem::take(&mut self.replies);
        if came == 0 {
            return;
        }
        let now_ns = base.clock.read();
        let flow = &mut self.flows[id.index()];
        let replies = came.min(flow.in_flight);
        base.tally.unasked += u64::from(came - replies);
        flow.answered(base, now_ns, replies, self.schedule.is_some());
        self.in_flight -= u64::from(replies);
        if !base.sending || replies == 0 {
            return;
        }
        if self.schedule.is_none() {
            flow.send(base, cx, id, replies, &self.ring);
            flow.launched(now_ns, now_ns, replies);
            self.in_flight += u64::from(replies);
            base.tally.sent += if base.window.has(now_ns) { u64::from(replies) } else { 0 };
            return;
        }
        for _ in 0..replies {
            let Some(due_ns) = flow.waiting.pop_front() else { break };
            flow.send(base, cx, id, 1, &self.ring);
            flow.launched(due_ns, now_ns, 1);
            self.in_flight += 1;
        }
    }

    // ------------------------------------------------------------------ open loop

    pub(super) fn is_open_loop(&self) -> bool {
        self.schedule.is_some()
    }

    pub(super) fn next_due_ns(&self) -> Option<u64> {
        self.schedule.as_ref().map(Schedule::next_ns)
    }

    /// Sends what is due, each message on the next connection.
    pub(super) fn send_due(&mut self, base: &mut Base, cx: &mut Context<'_>) {
        let now_ns = base.clock.read();
        while !self.order.is_empty()
            && let Some(due_ns) = self.schedule.as_mut().and_then(|schedule| schedule.take(base))
        {
            self.next = if self.next + 1 < self.order.len() { self.next + 1 } else { 0 };
            let id = self.order[self.next];
            let flow = &mut self.flows[id.index()];
            if base.window.has(due_ns) {
                base.tally.sent += 1;
            }
            if flow.in_flight < self.in_flight_max {
                flow.send(base, cx, id, 1, &self.ring);
                flow.launched(due_ns, now_ns, 1);
                self.in_flight += 1;
            } else {
                flow.waiting.push_back(due_ns);
            }
        }
    }

    // ------------------------------------------------------------------ the end

    pub(super) fn is_drained(&self) -> bool {
        self.in_flight == 0
    }

    /// What is not answered by now counts with the time it has waited.
    pub(super) fn give_up(&mut self, base: &mut Base) {
        let now_ns = base.clock.now_ns;
        for flow in &self.flows {
            let waiting = flow.waiting.iter().map(|&due_ns| (due_ns, 1));
            let sent = flow.sent.iter().map(|flight| (flight.due_ns, u64::from(flight.count)));
            for (due_ns, count) in sent.chain(waiting) {
                if !self.is_open_loop() || base.window.has(due_ns) {
                    base.tally.unanswered += count;
                    base.tally.latency.record(now_ns - due_ns, count);
                }
            }
        }
        (self.flows, self.order, self.in_flight) = (Vec::new(), Vec::new(), 0);
    }
}

impl Flow {
    /// Sends the next `count` messages, which the ring has in a row.
    fn send(&mut self, base: &Base, cx: &mut Context<'_>, id: ConnId, count: u32, ring: &Ring) {
        let places = self.next as usize..(self.next + count) as usize;
        match ring.frames.get(places.clone()) {
            Some(frames) => {
                cx.send_prepared(id, frames);
            }
            None => places.for_each(|place| {
                cx.send(id, base.plan.payloads.message(place % ring.distinct as usize));
            }),
        }
        self.next = (self.next + count) % ring.distinct;
    }

    fn launched(&mut self, due_ns: u64, sent_ns: u64, count: u32) {
        self.in_flight += count;
        self.sent.push_back(Flight { due_ns, sent_ns, count });
    }

    /// The oldest `replies` in flight are answered.
    fn answered(&mut self, base: &mut Base, now_ns: u64, replies: u32, open_loop: bool) {
        self.in_flight -= replies;
        let counts = base.window.has(now_ns);
        let mut left = replies;
        while left > 0
            && let Some(flight) = self.sent.front_mut()
        {
            let count = left.min(flight.count);
            // In an open loop all that was due is timed, even if its reply comes after the end.
            let times = if open_loop { base.window.has(flight.due_ns) } else { counts };
            if times {
                base.tally.latency.record(now_ns - flight.due_ns, count.into());
                if open_loop {
                    base.tally.from_send.record(now_ns - flight.sent_ns, count.into());
                }
            }
            left -= count;
            flight.count -= count;
            if flight.count == 0 {
                self.sent.pop_front();
            }
        }
        if counts {
            base.tally.done += u64::from(replies);
            base.tally.timeline.record(now_ns - base.window.from_ns, replies.into());
        }
    }

    fn verify(&mut self, base: &mut Base, message: Message<'_>, distinct: u32) {
        base.tally.verified += 1;
        if message != base.plan.payloads.message(self.expected as usize) {
            base.tally.wrong += 1;
        }
        self.expected = if self.expected + 1 < distinct { self.expected + 1 } else { 0 };
    }
}
