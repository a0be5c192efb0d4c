//! Threads and time: each loop runs on a thread of its own and goes through the phases; the conductor, on the main
//! thread, says when they begin, looks at `/proc` where they do, and shows progress.

use super::{
    load::{Load, Plan, Share},
    process::{Process, Spent, Usage},
    report::{Ended, Memory, Report},
    stats::Tally,
    words::{duration, size, thousands},
};
use crate::cli::bench::arguments::Mode;
use sockeye::{Config, Deflate, Keepalive, Limits, Server};
use std::{
    io::{IsTerminal, Write},
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

/// What the conductor and the loops tell each other.
struct Shared {
    /// How often a loop has come to the end of a phase: opening, and in mode idle touching.
    arrived: AtomicUsize,
    /// Opening is over for all: begin.
    go: AtomicBool,
    /// The time that is measured, in nanoseconds since the run began.
    from_ns: AtomicU64,
    until_ns: AtomicU64,
    /// Close and be done.
    hang_up: AtomicBool,
    /// By loop, for the progress line: connections opened, and what was done.
    opened: Vec<AtomicU64>,
    done: Vec<AtomicU64>,
    /// A loop came to the end of a phase, or has nobody left, or has reached its count.
    nudge: Sender<Nudge>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Nudge {
    Arrived,
    Counted,
    Deserted,
    Over,
}

/// What a loop waits at most before it looks at what the conductor says.
const TURN: Duration = Duration::from_millis(20);
/// How often the conductor looks at whether Ctrl-C was pressed.
const LOOK: Duration = Duration::from_millis(50);
/// What is in flight at the end may take so long to come.
const DRAIN_NS: u64 = 1_000_000_000;
/// Time for a server's memory to settle before it is looked at, in mode idle.
const SETTLE: Duration = Duration::from_millis(500);

/// Opens, measures, closes; what came of it.
///
/// # Errors
/// What cannot be done at all: such as more connections than descriptors.
pub(super) fn run(plan: Plan, interrupted: &AtomicBool) -> Result<Report, String> {
    let plan = Arc::new(plan);
    let server = plan.arguments.output.pid.map(Process::of);
    let memory = |process: &Process| process.usage().map(|usage| usage.resident_bytes).unwrap_or(0);
    let before = server.as_ref().map(memory);

    let threads = plan.arguments.threads;
    let (nudge, nudges) = mpsc::channel();
    let counters = || (0..threads).map(|_| AtomicU64::new(0)).collect();
    let shared = Arc::new(Shared {
        arrived: AtomicUsize::new(0),
        go: AtomicBool::new(false),
        from_ns: AtomicU64::new(u64::MAX),
        until_ns: AtomicU64::new(u64::MAX),
        hang_up: AtomicBool::new(false),
        opened: counters(),
        done: counters(),
        nudge,
    });
    let mut loops = Vec::new();
    for (number, share) in shares(plan.arguments.connections(), threads).into_iter().enumerate() {
        let (plan, shared) = (plan.clone(), shared.clone());
        let run = move || {
            let result = work(&plan, share, number, &shared);
            let _ = shared.nudge.send(Nudge::Over); // the conductor outlives us
            result
        };
        let thread = thread::Builder::new().name(format!("loop {number}")).spawn(run);
        loops.push(
            thread.map_err(|error| format!("--threads is {threads}: cannot start that many: {error}"))?,
        );
    }
    let mut conductor = Conductor {
        progress: Progress::new(&plan),
        plan: plan.clone(),
        shared,
        nudges,
        interrupted,
        ended: Ended::AsAsked,
    };
    let measured = conductor.conduct(server.as_ref());
    conductor.shared.hang_up.store(true, Release);
    let mut tally = Tally::default();
    for thread in loops {
        tally.add(thread.join().map_err(|_| "a loop panicked: this is a fault of sockeye".to_owned())??);
    }
    conductor.progress.clear();
    let Measured { secs, client, server: spent, open } = measured;
    if plan.arguments.mode == Mode::Idle && server.is_some() {
        thread::sleep(SETTLE);
    }
    let after = if plan.arguments.mode == Mode::Idle { server.as_ref().map_or(0, memory) } else { 0 };
    let memory = before.zip(open).map(|(before, open)| Memory { before, open, after });
    let arguments = plan.arguments.clone();
    Ok(Report { arguments, secs, ended: conductor.ended, tally, client, server: spent, memory })
}

/// As even as can be.
fn shares(connections: usize, threads: usize) -> Vec<Share> {
    let first = |number: usize| connections * number / threads;
    (0..threads)
        .map(|number| Share { first: first(number), connections: first(number + 1) - first(number) })
        .collect()
}

// ---------------------------------------------------------------------- the conductor

struct Conductor<'a> {
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    nudges: Receiver<Nudge>,
    interrupted: &'a AtomicBool,
    progress: Progress,
    ended: Ended,
}

/// What the conductor saw.
#[derive(Default)]
struct Measured {
    secs: f64,
    client: Option<Spent>,
    server: Option<Spent>,
    /// Resident memory of the server with all connections open.
    open: Option<u64>,
}

impl Conductor<'_> {
    fn conduct(&mut self, server: Option<&Process>) -> Measured {
        let asked = &self.plan.arguments;
        let (mode, threads) = (asked.mode, asked.threads);
        let (measured_ns, warmup_ns) = (asked.measured_ns(), asked.warmup_ns());
        let settle = match mode {
            Mode::Fanout => Duration::from_millis(asked.fanout.settle_ms.into()),
            Mode::Idle if server.is_some() => SETTLE,
            _ => Duration::ZERO,
        };
        if !self.wait(|shared| shared.arrived.load(Relaxed) >= threads, None) || self.opened() == 0 {
            return Measured::default();
        }
        let settled_ns = self.now_ns() + settle.as_nanos() as u64;
        self.shared.go.store(mode == Mode::Idle, Relaxed); // touching, if at all, comes before settling
        if mode == Mode::Idle && !self.wait(|shared| shared.arrived.load(Relaxed) >= 2 * threads, None) {
            return Measured::default();
        }
        if !self.wait(|_| false, Some(settled_ns)) {
            return Measured::default();
        }
        let open = server.and_then(|server| server.usage().ok()).map(|usage| usage.resident_bytes);
        self.shared.go.store(true, Relaxed);
        let from_ns = self.now_ns() + warmup_ns;
        self.shared.from_ns.store(from_ns, Relaxed);
        if !self.wait(|_| false, Some(from_ns)) {
            return Measured { open, ..Measured::default() };
        }
        let before = (Process::ourselves().usage().ok(), server.and_then(|server| server.usage().ok()));
        let until_ns = measured_ns.map(|ns| from_ns + ns);
        if let Some(until_ns) = until_ns {
            self.shared.until_ns.store(until_ns, Relaxed);
        }
        self.wait(|_| false, until_ns);
        let ended_ns = until_ns.unwrap_or(u64::MAX).min(self.now_ns());
        self.shared.until_ns.store(ended_ns, Relaxed);
        let after = (Process::ourselves().usage().ok(), server.and_then(|server| server.usage().ok()));
        let spent = |(before, after): (Option<Usage>, Option<Usage>)| Some(after?.since(&before?));
        // A server whose process is gone has no memory to tell of.
        Measured {
            secs: ended_ns.saturating_sub(from_ns) as f64 / 1e9,
            client: spent((before.0, after.0)),
            server: spent((before.1, after.1)),
            open,
        }
    }

    /// Waits until `is_done` or the time has come, showing progress. False if there is no sense in going on: nobody
    /// is left, or Ctrl-C was pressed.
    fn wait(&mut self, is_done: impl Fn(&Shared) -> bool, until_ns: Option<u64>) -> bool {
        loop {
            if is_done(&self.shared) || until_ns.is_some_and(|until_ns| until_ns <= self.now_ns()) {
                return true;
            }
            if self.interrupted.load(Relaxed) {
                self.ended = Ended::Interrupted;
                return false;
            }
            let left = until_ns.map_or(LOOK, |at| Duration::from_nanos(at.saturating_sub(self.now_ns())));
            match self.nudges.recv_timeout(left.min(LOOK)) {
                Ok(Nudge::Counted) => return true,
                Ok(Nudge::Deserted) => {
                    self.ended = Ended::Deserted;
                    return false;
                }
                Ok(Nudge::Over) => return false,
                Ok(Nudge::Arrived) | Err(_) => {}
            }
            self.progress.show(&self.shared, self.plan.epoch.elapsed().as_secs_f64());
        }
    }

    fn opened(&self) -> u64 {
        self.shared.opened.iter().map(|opened| opened.load(Relaxed)).sum()
    }

    fn now_ns(&self) -> u64 {
        self.plan.epoch.elapsed().as_nanos() as u64
    }
}

/// A line on stderr, written anew once a second; nothing where stderr is no terminal.
struct Progress {
    is_shown: bool,
    unit: &'static str,
    bytes_each: f64,
    wanted: u64,
    last: (f64, u64),
}

impl Progress {
    fn new(plan: &Plan) -> Progress {
        let bytes_each = match plan.arguments.mode {
            Mode::Echo | Mode::Fanout => f64::from(plan.arguments.load.size),
            Mode::Connect | Mode::Idle => 0.0,
        };
        Progress {
            is_shown: std::io::stderr().is_terminal(),
            unit: plan.arguments.mode.unit(),
            bytes_each,
            wanted: plan.arguments.connections() as u64,
            last: (0.0, 0),
        }
    }

    fn show(&mut self, shared: &Shared, secs: f64) {
        if !self.is_shown || secs - self.last.0 < 1.0 {
            return;
        }
        let sum = |counters: &[AtomicU64]| counters.iter().map(|counter| counter.load(Relaxed)).sum::<u64>();
        let (opened, done) = (sum(&shared.opened), sum(&shared.done));
        let each = (secs - self.last.0) * 1e6;
        let rate = done.saturating_sub(self.last.1) as f64 / each * 1e6;
        self.last = (secs, done);
        let now_ns = (secs * 1e9) as u64;
        let phase = if !shared.go.load(Relaxed) {
            format!("opening: {} of {} connections", thousands(opened as f64), thousands(self.wanted as f64))
        } else if now_ns < shared.from_ns.load(Relaxed) {
            "warming up".to_owned()
        } else {
            let bytes = if self.bytes_each > 0.0 {
                format!(", {}/s", size(rate * self.bytes_each))
            } else {
                String::new()
            };
            format!("{} {} a second{bytes}", thousands(rate), self.unit)
        };
        let _ = write!(std::io::stderr(), "\r\x1b[K{:>9}  {phase}", duration(secs * 1e6)); // if nobody reads it, so be it
    }

    fn clear(&self) {
        if self.is_shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

// ---------------------------------------------------------------------- a loop

/// What one thread does.
fn work(plan: &Arc<Plan>, share: Share, number: usize, shared: &Shared) -> Result<Tally, String> {
    let load = Load::new(plan.clone(), share);
    let mut server = Server::unbound(config(plan), load).map_err(|error| error.to_string())?;
    if let Some(trust) = &plan.trust {
        server.dial_tls_as(trust.clone());
    }
    let (wanted, room) = (plan.arguments.connections(), server.connections_max() as usize);
    if wanted > room {
        let option = if plan.arguments.mode == Mode::Fanout { "--subs and --pubs" } else { "--conns" };
        return Err(format!(
            "{option} asks for {wanted} connections: this process may have descriptors for at most {room}; ask for fewer, \
             or raise the limit (ulimit -n)"
        ));
    }
    let turn = |server: &mut Server<Load>, patience| {
        server.turn(Some(patience)).map(|_| ()).map_err(|error| error.to_string())
    };
    server.act(|load, cx| load.prepare(cx));
    server.act(|load, cx| load.dial(cx));
    while !server.handler().is_opened() && !shared.hang_up.load(Relaxed) {
        turn(&mut server, TURN)?;
        shared.opened[number].store(server.handler().base.tally.opened, Relaxed);
    }
    shared.opened[number].store(server.handler().base.tally.opened, Relaxed);
    shared.arrive();
    while !shared.go.load(Relaxed) && !shared.hang_up.load(Relaxed) {
        turn(&mut server, Duration::from_millis(1))?;
    }
    if !shared.hang_up.load(Relaxed) {
        server.act(|load, cx| load.start(cx));
        while !server.handler().is_touched() && !shared.hang_up.load(Relaxed) {
            turn(&mut server, TURN)?;
            if server.handler().is_deserted() {
                break;
            }
        }
        if plan.arguments.mode == Mode::Idle {
            shared.arrive();
        }
        measure(&mut server, number, shared, turn)?;
    }
    server.act(|load, cx| load.close(cx));
    server.shutdown();
    while server.turn(Some(TURN)).map_err(|error| error.to_string())? {}
    Ok(std::mem::take(&mut server.handler_mut().base.tally))
}

/// The time that is measured, and what comes before and after it.
fn measure(
    server: &mut Server<Load>,
    number: usize,
    shared: &Shared,
    turn: impl Fn(&mut Server<Load>, Duration) -> Result<(), String>,
) -> Result<(), String> {
    let acts = server.handler().acts();
    let count = server.handler().base.plan.arguments.count.unwrap_or(u64::MAX);
    let mut told = false;
    let mut end_seen_ns = None;
    loop {
        let patience = patience(server.handler());
        turn(server, patience)?;
        // Before the times, which were written before it.
        let hung_up = shared.hang_up.load(Acquire);
        let load = server.handler_mut();
        load.base.clock.read();
        load.base.window.from_ns = shared.from_ns.load(Relaxed);
        load.base.window.until_ns = shared.until_ns.load(Relaxed);
        shared.done[number].store(load.base.tally.done, Relaxed);
        let done: u64 = shared.done.iter().map(|done| done.load(Relaxed)).sum();
        if !told && (done >= count || load.is_deserted()) {
            told = true;
            let nudge = if load.is_deserted() { Nudge::Deserted } else { Nudge::Counted };
            let _ = shared.nudge.send(nudge); // the conductor outlives us
        }
        let (now_ns, until_ns) = (load.base.clock.now_ns, load.base.window.until_ns);
        if acts {
            server.act(|load, cx| load.act(cx));
        }
        let load = server.handler_mut();
        if now_ns >= until_ns {
            load.end();
            // Counted from when we saw the end: if it was our turn on the CPU that was late, replies wait to be read.
            let waited_ns = now_ns - *end_seen_ns.get_or_insert(now_ns);
            if load.is_drained() || load.is_deserted() || waited_ns > DRAIN_NS {
                return Ok(());
            }
        }
        if hung_up && until_ns == u64::MAX {
            return Ok(()); // given up before there was anything to measure
        }
    }
}

/// How long to wait for messages. What is due soon is waited for awake: a sleep may be a millisecond too long.
fn patience(load: &Load) -> Duration {
    let Some(due_ns) = load.next_due_ns() else { return TURN };
    let left_ms = due_ns.saturating_sub(load.base.clock.now_ns) / 1_000_000;
    Duration::from_millis(left_ms.saturating_sub(1)).min(TURN)
}

/// What a client that measures wants otherwise than one that talks: nothing of its own accord, and room.
fn config(plan: &Plan) -> Config {
    let asked = &plan.arguments;
    let defaults = Limits::default();
    // Answers may be longer than what they answer.
    let longest = asked.load.size.saturating_mul(2).max(defaults.message_bytes_max);
    Config {
        limits: Limits {
            message_bytes_max: longest,
            outbox_bytes_soft: 1 << 30,
            outbox_bytes_max: 1 << 30,
            outbox_stall_ms_max: 0,
            message_idle_ms_max: 0,
            closing_ms_max: 1_000,
            ..defaults
        },
        deflate: Deflate { enabled: asked.load.deflate, ..Deflate::default() },
        keepalive: Keepalive { ping_after_ms: 0, ..Keepalive::default() },
        ..Config::default()
    }
}

impl Shared {
    fn arrive(&self) {
        self.arrived.fetch_add(1, Relaxed);
        let _ = self.nudge.send(Nudge::Arrived); // the conductor outlives us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_and_leave_nobody_out() {
        let of = |connections, threads| -> Vec<_> {
            shares(connections, threads).iter().map(|share| (share.first, share.connections)).collect()
        };
        assert_eq!(of(10, 3), [(0, 3), (3, 3), (6, 4)]);
        assert_eq!(of(2, 2), [(0, 1), (1, 1)]);
    }
}
