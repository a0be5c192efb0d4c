//! Mode fanout: what publishers send is delivered to all subscribers. A stamp in the text tells each delivery who
//! published it, as which of its messages, and when.

use super::{
    load::{Base, Plan, Schedule},
    payload::{Published, STAMP_BYTES, Stamp, with_id},
};
use sockeye::{ConnId, Context, Message};

/// All subscribers and publishers.
pub(super) struct Fanout {
    publishers: Vec<Publisher>,
    /// Who publishes next.
    turn: usize,
    /// By [`ConnId::index`]; publishers have one too.
    subscribers: Vec<Subscriber>,
    /// Those that are open.
    alive: u64,
    /// Messages published, and deliveries of them to those that are open.
    published: u64,
    delivered: u64,
    /// In a closed loop, and as a bound in an open one: messages published and not delivered to all.
    in_flight_max: u64,
    schedule: Option<Schedule>,
    started: bool,
    /// The connection and turn for which the clock was read.
    reading: Option<ConnId>,
    /// When a message was last published or delivered.
    progress_ns: u64,
    /// Where the last stamp was found.
    hint: usize,
    is_stamped: bool,
    verify: bool,
}

struct Publisher {
    id: Option<ConnId>,
    text: Published,
    sent: u32,
}

#[derive(Clone, Debug, Default)]
struct Subscriber {
    subscribes: bool,
    delivered: u64,
    /// By publisher, for `--verify`: the number its next delivery is to have.
    expected: Vec<u32>,
}

/// So long nothing is published or delivered before what is missing is taken for lost.
const PATIENCE_NS: u64 = 1_000_000_000;

impl Fanout {
    pub(super) fn new(plan: &Plan) -> Fanout {
        let asked = &plan.arguments;
        let text = |id| Published::new(&asked.fanout.publish, id, asked.load.size as usize);
        let publishers = (0..asked.fanout.pubs).map(|id| Publisher { id: None, text: text(id), sent: 0 });
        let publishers: Vec<_> = publishers.collect();
        Fanout {
            is_stamped: publishers.iter().all(|publisher| publisher.text.is_stamped()),
            publishers,
            turn: 0,
            subscribers: Vec::new(),
            alive: 0,
            published: 0,
            delivered: 0,
            in_flight_max: asked.in_flight_max().into(),
            schedule: None,
            started: false,
            reading: None,
            progress_ns: 0,
            hint: 0,
            verify: asked.load.verify,
        }
    }

    /// The first connections subscribe, the last ones publish.
    pub(super) fn opened(&mut self, base: &mut Base, cx: &mut Context<'_>, id: ConnId) {
        let (asked, number) = (&base.plan.arguments.fanout, base.number(id));
        if self.subscribers.len() <= id.index() {
            self.subscribers.resize(id.index() + 1, Subscriber::default());
        }
        let subscribes = number < asked.subs;
        self.subscribers[id.index()] = Subscriber {
            subscribes,
            delivered: 0,
            expected: vec![0; if self.verify { asked.pubs } else { 0 }],
        };
        if subscribes {
            self.alive += 1;
        } else {
            self.publishers[number - asked.subs].id = Some(id);
        }
        if !asked.join.is_empty() && (subscribes || asked.pubs_join) {
            cx.send(id, with_id(&asked.join, number).as_str());
        }
    }

    /// What was delivered to it, and what was not, is forgotten with it.
    pub(super) fn closed(&mut self, base: &Base, id: ConnId) {
        let gone = std::mem::take(&mut self.subscribers[id.index()]);
        if gone.subscribes {
            self.alive -= 1;
            self.delivered -= gone.delivered;
        } else {
            self.publishers[base.number(id) - base.plan.arguments.fanout.subs].id = None;
        }
    }

    pub(super) fn start(&mut self, base: &mut Base, cx: &mut Context<'_>) {
        self.started = true;
        self.progress_ns = base.clock.now_ns;
        self.schedule = Schedule::new(base);
        self.publish_due(base, cx);
    }

    /// Publishes what the loop allows: in a closed one as much as may be in flight, in an open one what is due.
    pub(super) fn publish_due(&mut self, base: &mut Base, cx: &mut Context<'_>) {
        let now_ns = base.clock.now_ns;
        self.reading = None; // a turn is over
        if self.alive > 0 && !self.has_room() && now_ns.saturating_sub(self.progress_ns) > PATIENCE_NS {
            self.write_off(base);
        }
        while self.has_room() {
            let due_ns = match &mut self.schedule {
                None => (now_ns < base.window.until_ns).then_some(now_ns),
                Some(schedule) => schedule.take(base),
            };
            match due_ns {
                Some(due_ns) if self.publish(base, cx, due_ns) => {}
                _ => break,
            }
        }
    }

    fn has_room(&self) -> bool {
        self.published * self.alive < self.delivered + self.in_flight_max * self.alive
    }

    /// The next publisher that is open publishes; false if there is none.
    fn publish(&mut self, base: &mut Base, cx: &mut Context<'_>, at_ns: u64) -> bool {
        for _ in 0..self.publishers.len() {
            self.turn = (self.turn + 1) % self.publishers.len();
            let number = self.turn;
            let publisher = &mut self.publishers[number];
            let Some(id) = publisher.id else { continue };
            let stamp = Stamp { run: base.plan.run, publisher: number as u16, number: publisher.sent, at_ns };
            publisher.sent += 1;
            cx.send(id, publisher.text.stamped(stamp));
            self.published += 1;
            self.progress_ns = base.clock.now_ns;
            base.tally.sent += u64::from(base.window.has(at_ns));
            return true;
        }
        false
    }

    /// A message came: a delivery, if it is to a subscriber and one of ours.
    pub(super) fn delivered(
        &mut self,
        base: &mut Base,
        cx: &mut Context<'_>,
        id: ConnId,
        message: Message<'_>,
    ) {
        if !self.started || !self.subscribers[id.index()].subscribes {
            return; // the answer to joining or publishing
        }
        if self.reading != Some(id) {
            self.reading = Some(id);
            base.clock.read();
        }
        let now_ns = base.clock.now_ns;
        if self.is_stamped {
            let bytes = message.as_bytes();
            let found = Stamp::find(bytes, self.hint).filter(|(_, stamp)| stamp.run == base.plan.run);
            let Some((at, stamp)) = found else {
                base.tally.unasked += 1;
                return;
            };
            self.hint = at;
            if self.verify {
                self.verify(base, id, stamp, bytes, at);
            }
            let counts_from = if self.schedule.is_some() { stamp.at_ns } else { now_ns };
            if base.window.has(counts_from) {
                base.tally.latency.record(now_ns.saturating_sub(stamp.at_ns), 1);
            }
        }
        self.subscribers[id.index()].delivered += 1;
        self.delivered += 1;
        self.progress_ns = now_ns;
        if base.window.has(now_ns) {
            base.tally.done += 1;
            base.tally.timeline.record(now_ns - base.window.from_ns, 1);
        }
        if base.sending && self.schedule.is_none() && self.has_room() {
            self.publish(base, cx, now_ns);
        }
    }

    /// Each publisher's messages are to come whole, in order, and each once.
    fn verify(&mut self, base: &mut Base, id: ConnId, stamp: Stamp, bytes: &[u8], at: usize) {
        let publisher = usize::from(stamp.publisher);
        base.tally.verified += 1;
        let Some(expected) = self.subscribers[id.index()].expected.get_mut(publisher) else {
            base.tally.wrong += 1;
            return;
        };
        let is_whole = self.publishers[publisher].text.has_tail(bytes, at + STAMP_BYTES);
        if stamp.number != *expected || !is_whole {
            base.tally.wrong += 1;
        }
        *expected = stamp.number + 1;
    }

    fn missing(&self) -> u64 {
        (self.published * self.alive).saturating_sub(self.delivered)
    }

    /// What was not delivered is not waited for any longer.
    fn write_off(&mut self, base: &mut Base) {
        base.tally.unanswered += self.missing();
        self.delivered = self.published * self.alive;
        for subscriber in self.subscribers.iter_mut().filter(|subscriber| subscriber.subscribes) {
            subscriber.delivered = self.published;
        }
        self.progress_ns = base.clock.now_ns;
    }

    pub(super) fn next_due_ns(&self) -> Option<u64> {
        self.schedule.as_ref().filter(|_| self.has_room()).map(Schedule::next_ns)
    }

    pub(super) fn is_deserted(&self) -> bool {
        self.alive == 0 || self.publishers.iter().all(|publisher| publisher.id.is_none())
    }

    pub(super) fn is_drained(&self) -> bool {
        self.missing() == 0
    }

    pub(super) fn give_up(&mut self, base: &mut Base) {
        self.write_off(base);
    }
}
