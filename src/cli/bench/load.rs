//! The client of one loop: it dials its share of the connections, and hands what happens on them to the mode's own
//! work. What the modes have in common is [`Base`].

use super::{
    arguments::{Arguments, Mode},
    churn::Churn,
    echo::Echo,
    fanout::Fanout,
    hold::Hold,
    payload::Payloads,
    stats::Tally,
};
use sockeye::{
    Cause, CloseCode, Closed, ConnId, Context, Dial, DialError, Handler, Lost, Message, TlsClient,
    wire::response::Response,
};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Instant,
};

/// What all loops work from: made once, never changed.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) arguments: Arguments,
    /// Whom to dial, but for the source address.
    pub(super) dial: Dial,
    /// Whom to trust under TLS; `None`: whom the system does.
    pub(super) trust: Option<TlsClient>,
    /// Addresses 127.0.0.2 and up to dial from, in turn; 0: the system's choice.
    pub(super) sources: u8,
    pub(super) payloads: Payloads,
    /// Of the stamps of this run.
    pub(super) run: u32,
    /// What all times are counted from.
    pub(super) epoch: Instant,
}

/// Which of the connections are this loop's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) first: usize,
    pub(super) connections: usize,
}

/// The handler of one loop.
pub(super) struct Load {
    pub(super) base: Base,
    work: Work,
}

enum Work {
    Echo(Echo),
    Fanout(Fanout),
    Connect(Churn),
    Idle(Hold),
}

/// What every mode needs.
pub(super) struct Base {
    pub(super) plan: Arc<Plan>,
    pub(super) share: Share,
    pub(super) tally: Tally,
    pub(super) clock: Clock,
    pub(super) window: Window,
    /// By [`ConnId::index`].
    links: Vec<Link>,
    /// Connections dialled so far, and those whose answer is awaited.
    dialled: usize,
    pending: usize,
    /// Open now.
    pub(super) alive: usize,
    /// Between start and end: what ends meanwhile is lost, and replies are followed by the next message.
    pub(super) sending: bool,
}

/// What is known of a connection, in any mode.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    /// While it is open.
    id: Option<ConnId>,
    /// Its place among all connections of the run.
    number: usize,
    /// When it was dialled or, at a given rate, was to be.
    due_ns: u64,
}

/// Nanoseconds since the run began, as last read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    epoch: Instant,
    pub(super) now_ns: u64,
}

/// The time that is measured, in nanoseconds since the run began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) from_ns: u64,
    pub(super) until_ns: u64,
}

/// When the messages of an open loop are due: evenly, whatever happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    start_ns: u64,
    interval_ns: f64,
    /// Messages taken from it.
    pub(super) taken: u64,
}

/// Handshakes of one loop under way at a time while it opens its connections: what a server's backlog takes.
const DIALS_MAX: usize = 100;

impl Clock {
    fn new(epoch: Instant) -> Clock {
        Clock { epoch, now_ns: 0 }
    }

    /// Reads the clock.
    #[inline]
    pub(super) fn read(&mut self) -> u64 {
        self.now_ns = self.epoch.elapsed().as_nanos() as u64;
        self.now_ns
    }
}

impl Window {
    #[inline]
    pub(super) fn has(&self, at_ns: u64) -> bool {
        (self.from_ns..self.until_ns).contains(&at_ns)
    }
}

impl Schedule {
    /// From now on, this loop's share of the rate that was asked for; `None` in a closed loop.
    pub(super) fn new(base: &Base) -> Option<Schedule> {
        let share = base.share.connections as f64 / base.plan.arguments.connections() as f64;
        let share = if base.plan.arguments.mode == Mode::Fanout { 1.0 } else { share };
        let rate = base.plan.arguments.load.rate? * share;
        Some(Schedule { start_ns: base.clock.now_ns, interval_ns: 1e9 / rate, taken: 0 })
    }

    /// When the next one is due.
    pub(super) fn next_ns(&self) -> u64 {
        self.start_ns + (self.taken as f64 * self.interval_ns) as u64
    }

    /// Takes the next one if it is due now, and before the end: when it was.
    pub(super) fn take(&mut self, base: &Base) -> Option<u64> {
        let due_ns = self.next_ns();
        (due_ns <= base.clock.now_ns && due_ns < base.window.until_ns).then(|| {
            self.taken += 1;
            due_ns
        })
    }
}

impl Base {
    fn dial_next(&mut self, cx: &mut Context<'_>) {
        let number = self.share.first + self.dialled;
        self.dialled += 1;
        self.pending += 1;
        let due_ns = self.clock.read();
        self.dial(cx, number, due_ns);
    }

    /// Dials connection `number`, from the source address whose turn it is.
    pub(super) fn dial(&mut self, cx: &mut Context<'_>, number: usize, due_ns: u64) {
        let mut dial = self.plan.dial.clone();
        if self.plan.sources > 0 {
            let last = 2 + (number % usize::from(self.plan.sources)) as u8;
            dial.local = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
        }
        let id = cx.dial(dial);
        if self.links.len() <= id.index() {
            self.links.resize(id.index() + 1, Link::default());
        }
        self.links[id.index()] = Link { id: None, number, due_ns };
    }

    #[inline]
    pub(super) fn number(&self, id: ConnId) -> usize {
        self.links[id.index()].number
    }

    pub(super) fn due_ns(&self, id: ConnId) -> u64 {
        self.links[id.index()].due_ns
    }

    /// Connections to open before it begins.
    fn wanted(&self) -> usize {
        match self.plan.arguments.mode {
            Mode::Connect => 1, // to see that somebody is there
            _ => self.share.connections,
        }
    }
}

impl Load {
    pub(super) fn new(plan: Arc<Plan>, share: Share) -> Load {
        let work = match plan.arguments.mode {
            Mode::Echo => Work::Echo(Echo::new(&plan)),
            Mode::Fanout => Work::Fanout(Fanout::new(&plan)),
            Mode::Connect => Work::Connect(Churn::default()),
            Mode::Idle => Work::Idle(Hold::default()),
        };
        let base = Base {
            share,
            tally: Tally::default(),
            clock: Clock::new(plan.epoch),
            window: Window { from_ns: u64::MAX, until_ns: u64::MAX },
            links: Vec::new(),
            dialled: 0,
            pending: 0,
            alive: 0,
            sending: false,
            plan,
        };
        Load { base, work }
    }

    /// What is worth making before anything is dialled.
    pub(super) fn prepare(&mut self, cx: &mut Context<'_>) {
        if let Work::Echo(echo) = &mut self.work {
            echo.prepare(&self.base, cx);
        }
    }

    /// Dials as many as may be under way.
    pub(super) fn dial(&mut self, cx: &mut Context<'_>) {
        while self.base.pending < DIALS_MAX && self.base.dialled < self.base.wanted() {
            self.base.dial_next(cx);
        }
    }

    /// Whether every connection has been opened, or could not be.
    pub(super) fn is_opened(&self) -> bool {
        self.base.pending == 0 && self.base.dialled >= self.base.wanted()
    }

    /// Begins with the mode's work.
    pub(super) fn start(&mut self, cx: &mut Context<'_>) {
        self.base.sending = true;
        self.base.clock.read();
        let base = &mut self.base;
        match &mut self.work {
            Work::Echo(echo) => echo.start(base, cx),
            Work::Fanout(fanout) => fanout.start(base, cx),
            Work::Connect(churn) => churn.start(base, cx),
            Work::Idle(hold) => hold.start(base, cx),
        }
    }

    /// In mode idle: whether each connection had its message.
    pub(super) fn is_touched(&self) -> bool {
        match &self.work {
            Work::Idle(hold) => hold.is_touched(),
            _ => true,
        }
    }

    /// Whether [`Load::act`] is to be called after each turn.
    pub(super) fn acts(&self) -> bool {
        match &self.work {
            Work::Echo(echo) => echo.is_open_loop(),
            Work::Fanout(_) | Work::Connect(_) => true,
            Work::Idle(_) => false,
        }
    }

    /// What is due now.
    pub(super) fn act(&mut self, cx: &mut Context<'_>) {
        if !self.base.sending {
            return;
        }
        match &mut self.work {
            Work::Echo(echo) => echo.send_due(&mut self.base, cx),
            Work::Fanout(fanout) => fanout.publish_due(&mut self.base, cx),
            Work::Connect(churn) => churn.dial_due(&mut self.base, cx),
            Work::Idle(_) => {}
        }
    }

    /// When there is something to do though no message comes.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        if !self.base.sending {
            return None;
        }
        match &self.work {
            Work::Echo(echo) => echo.next_due_ns(),
            Work::Fanout(fanout) => fanout.next_due_ns(),
            Work::Connect(churn) => churn.next_due_ns(),
            Work::Idle(_) => None,
        }
    }

    /// Nothing can come of going on.
    pub(super) fn is_deserted(&self) -> bool {
        match &self.work {
            Work::Fanout(fanout) => fanout.is_deserted(),
            Work::Connect(churn) => churn.is_deserted(),
            _ => self.base.alive == 0,
        }
    }

    /// Sends nothing more.
    pub(super) fn end(&mut self) {
        self.base.sending = false;
    }

    /// Whether all that was sent is answered.
    pub(super) fn is_drained(&self) -> bool {
        match &self.work {
            Work::Echo(echo) => echo.is_drained(),
            Work::Fanout(fanout) => fanout.is_drained(),
            Work::Connect(churn) => churn.is_drained(),
            Work::Idle(_) => true,
        }
    }

    /// Counts what was not answered, and closes every connection.
    pub(super) fn close(&mut self, cx: &mut Context<'_>) {
        self.end();
        self.base.clock.read();
        match &mut self.work {
            Work::Echo(echo) => echo.give_up(&mut self.base),
            Work::Fanout(fanout) => fanout.give_up(&mut self.base),
            Work::Connect(_) | Work::Idle(_) => {}
        }
        self.work = Work::Idle(Hold::default());
        for id in self.base.links.iter().filter_map(|link| link.id) {
            cx.close(id, CloseCode::NORMAL, "");
        }
    }
}

impl Handler for Load {
    fn on_response(&mut self, _: &mut Context<'_>, _: ConnId, response: &Response<'_>) {
        if self.base.plan.arguments.load.deflate && self.base.tally.extensions.is_empty() {
            self.base.tally.extensions = response.extensions().to_owned();
        }
    }

    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        let base = &mut self.base;
        let now_ns = base.clock.read();
        base.alive += 1;
        base.links[id.index()].id = Some(id);
        if base.pending > 0 {
            base.pending -= 1;
            base.tally.opened += 1;
            base.tally.opening.record(now_ns - base.due_ns(id), 1);
        }
        match &mut self.work {
            Work::Echo(echo) => echo.opened(id),
            Work::Fanout(fanout) => fanout.opened(base, cx, id),
            Work::Connect(churn) => churn.opened(base, cx, id),
            Work::Idle(hold) => hold.opened(id),
        }
        self.dial(cx);
    }

    fn on_dial_failed(&mut self, cx: &mut Context<'_>, _: ConnId, error: &DialError) {
        if matches!(error, DialError::Lost(Lost::Stopped)) {
            return; // it was under way when we ended
        }
        self.base.pending = self.base.pending.saturating_sub(1);
        self.base.tally.failed += 1;
        self.base.tally.trouble(error.to_string());
        if let Work::Connect(churn) = &mut self.work {
            churn.failed();
        }
        self.dial(cx);
    }

    #[inline]
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        match &mut self.work {
            Work::Echo(echo) => echo.echoed(&mut self.base, id, message),
            Work::Fanout(fanout) => fanout.delivered(&mut self.base, cx, id, message),
            Work::Connect(_) => self.base.tally.unasked += 1,
            Work::Idle(hold) => hold.answered(),
        }
    }

    #[inline]
    fn on_read_end(&mut self, cx: &mut Context<'_>, id: ConnId) {
        if let Work::Echo(echo) = &mut self.work {
            echo.read_ended(&mut self.base, cx, id);
        }
    }

    fn on_close(&mut self, _: &mut Context<'_>, id: ConnId, closed: &Closed<'_>) {
        let base = &mut self.base;
        base.alive -= 1;
        base.links[id.index()].id = None;
        let ours = matches!(self.work, Work::Connect(_)) && closed.cause == Cause::Local;
        if base.sending && !ours {
            base.tally.lost += 1;
            base.tally.trouble(told(closed));
        }
        match &mut self.work {
            Work::Echo(echo) => echo.closed(id),
            Work::Fanout(fanout) => fanout.closed(base, id),
            Work::Connect(churn) => churn.closed(),
            Work::Idle(hold) => hold.closed(id),
        }
    }
}

/// How a connection ended that should not have.
fn told(closed: &Closed<'_>) -> String {
    match closed.cause {
        Cause::Peer if closed.reason.is_empty() => format!("the server closed with {}", closed.code.get()),
        Cause::Peer => format!("the server closed with {}: {}", closed.code.get(), closed.reason),
        Cause::Local => "closed by us".to_owned(),
        Cause::Fault(fault) => fault.to_string(),
        Cause::Lost(lost) => lost.to_string(),
        Cause::Panic => "this end failed".to_owned(),
    }
}
