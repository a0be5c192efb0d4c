//! Mode connect: connections are opened, closed, and opened again.

use super::load::{Base, Schedule};
use sockeye::{CloseCode, ConnId, Context};

/// What goes on in one loop.
#[derive(Default)]
pub(super) struct Churn {
    /// Dialled, and not over yet.
    under_way: usize,
    next: usize,
    schedule: Option<Schedule>,
    started: bool,
    /// Failures since a connection was last opened.
    failures: u32,
}

/// After so many failures in a row nobody is there any more.
const FAILURES_MAX: u32 = 100;

impl Churn {
    pub(super) fn start(&mut self, base: &mut Base, cx: &mut Context<'_>) {
        self.started = true;
        self.schedule = Schedule::new(base);
        self.dial_due(base, cx);
    }

    /// In a closed loop: as many as are to be under way. In an open one: those that are due, but no more at a time.
    pub(super) fn dial_due(&mut self, base: &mut Base, cx: &mut Context<'_>) {
        let now_ns = base.clock.read();
        while self.under_way < base.share.connections {
            let due_ns = match &mut self.schedule {
                None => (now_ns < base.window.until_ns).then_some(now_ns),
                Some(schedule) => schedule.take(base),
            };
            let Some(due_ns) = due_ns else { break };
            self.under_way += 1;
            self.next += 1;
            base.tally.sent += u64::from(base.window.has(due_ns));
            base.dial(cx, base.share.first + self.next, due_ns);
        }
    }

    pub(super) fn opened(&mut self, base: &mut Base, cx: &mut Context<'_>, id: ConnId) {
        self.failures = 0;
        let (now_ns, due_ns) = (base.clock.now_ns, base.due_ns(id));
        if self.started && base.window.has(now_ns) {
            base.tally.done += 1;
            base.tally.timeline.record(now_ns - base.window.from_ns, 1);
        }
        if self.started && base.window.has(if self.schedule.is_some() { due_ns } else { now_ns }) {
            base.tally.latency.record(now_ns - due_ns, 1);
        }
        cx.close(id, CloseCode::NORMAL, "");
    }

    pub(super) fn failed(&mut self) {
        self.failures += 1;
        self.closed();
    }

    pub(super) fn closed(&mut self) {
        if self.started {
            self.under_way = self.under_way.saturating_sub(1);
        }
    }

    /// In a closed loop the next one is dialled when one is over, which a turn brings.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        self.schedule.as_ref().map(Schedule::next_ns)
    }

    pub(super) fn is_drained(&self) -> bool {
        self.under_way == 0
    }

    pub(super) fn is_deserted(&self) -> bool {
        self.failures >= FAILURES_MAX
    }
}
