//! The two rounds, what is held against what behind them, and the verdict.

use crate::{
    arguments::Arguments,
    books::Books,
    conductor::{Conductor, Pusher},
    crowd::{self, Call, Calls, LOOPS},
    dice::Dice,
    files::Files,
    metrics::Metrics,
    tested::{Costs, PATIENCE, Tested},
    vandals, wire,
};
use rustls::ClientConfig;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use sockeye::TlsClient;
use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How much more memory may be held behind the second round than behind the first, in hundredths.
const GROWTH_MAX: u64 = 10;
/// The same in bytes, where the warm-up was too short to fill what fills: history, and whatever grows by doubling.
const GROWTH_MAX_OF_SHORT: u64 = 16 << 20;
const WARM_UP_WHOLE: Duration = Duration::from_secs(40);

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);

struct Soak {
    arguments: Arguments,
    books: Arc<Books>,
    tested: Tested,
    conductor: Conductor,
    trust: Arc<ClientConfig>,
    tls: TlsClient,
    /// Somebody wants it to end.
    ends: Arc<AtomicBool>,
    began: Instant,
    progress_at: Instant,
    /// Crowds so far: each is another one.
    crowds: u64,
    peak_bytes: u64,
    /// What the server counted, as last read.
    last: Option<Metrics>,
}

pub fn main() -> ExitCode {
    let Some(arguments) = Arguments::read() else { return ExitCode::SUCCESS };
    match prepare(arguments).map(|mut soak| soak.run()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("soak: FAILED: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Starts the server.
fn prepare(arguments: Arguments) -> Result<Soak, String> {
    let ends = Arc::new(AtomicBool::new(false));
    let binary = arguments.server.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_sockeye")));
    let books = Arc::new(Books::default());
    let files = Files::new(arguments.keep)?;
    let (trust, log) = (wire::trust(&files.authority(), true)?, files.log());
    let tls = TlsClient::from_pem(files.authority().as_bytes()).map_err(|error| error.to_string())?;
    let tested = Tested::start(&binary, &files.folder, arguments.keep.then_some(&*log), &books)?;
    heed_signals(&ends, tested.pid())?;
    let (minutes, seed) = (arguments.minutes.as_secs_f64() / 60.0, arguments.seed);
    say(&format!(
        "soak: {} for {minutes:.1} minutes, seed {seed}, {} visitors, {} vandals; process {}",
        binary.display(),
        arguments.visitors,
        arguments.vandals,
        tested.pid()
    ));
    if arguments.keep {
        say(&format!("soak: its settings and its log are in {}", log.display()));
    }
    let conductor = Conductor::new(files, seed, &books)?;
    let now = Instant::now();
    Ok(Soak {
        arguments,
        books,
        tested,
        conductor,
        trust,
        tls,
        ends,
        began: now,
        progress_at: now + PROGRESS,
        crowds: 0,
        peak_bytes: 0,
        last: None,
    })
}

/// The first one ends the load in order; a second one ends all at once, the server too, which is in a group of its own.
fn heed_signals(ends: &Arc<AtomicBool>, server: u32) -> Result<(), String> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|error| format!("no signals: {error}"))?;
    let ends = Arc::clone(ends);
    thread::spawn(move || {
        for signal in signals.forever() {
            if ends.swap(true, Relaxed) {
                // If there is no kill, there is nothing more to be done about it.
                let _ = Command::new("kill").args(["-KILL", &server.to_string()]).status();
                std::process::exit(128 + signal);
            }
            say("soak: it is ended; once more ends it at once");
        }
    });
    Ok(())
}

impl Soak {
    /// Whether all is well.
    fn run(&mut self) -> bool {
        let descriptors = self.tested.costs().descriptors;
        let mut rests = Vec::new();
        let parted = self.rounds(descriptors, &mut rests).and_then(|()| self.part());
        if let Err(what) = parted {
            self.books.find(what);
        }
        if let [before, after] = rests[..] {
            self.compare(before, after);
        }
        self.judge(&rests, descriptors)
    }

    /// Both rounds, and what is held behind each.
    fn rounds(&mut self, descriptors: usize, rests: &mut Vec<Costs>) -> Result<(), String> {
        let warm_up = self.warm_up();
        say(&format!("soak: warm-up of {} s", warm_up.as_secs()));
        self.round(warm_up)?;
        rests.push(self.rest(descriptors)?);
        say(&format!("soak: behind the warm-up, at rest: {}", rests[0].shown()));
        self.round(self.arguments.minutes)?;
        rests.push(self.rest(descriptors)?);
        say(&format!("soak: behind it all, at rest: {}", rests[1].shown()));
        Ok(())
    }

    fn warm_up(&self) -> Duration {
        (self.arguments.minutes / 5).clamp(WARM_UP_MIN, WARM_UP_MAX)
    }

    // ------------------------------------------------------------------ a round

    /// Everything at once for so long, and then what can be counted to the last message.
    fn round(&mut self, length: Duration) -> Result<(), String> {
        self.mingle(length)?;
        // Of a crowd whose end is wanted nothing more is asked than that it leaves in order.
        if !self.ends.load(Relaxed) {
            self.count((length / 3).min(COUNTED))?;
        }
        Ok(())
    }

    fn mingle(&mut self, length: Duration) -> Result<(), String> {
        let (calls, crowd) = self.crowd(Call::Mingle);
        let stop = Arc::new(AtomicBool::new(false));
        let vandals: Vec<JoinHandle<()>> = (0..self.arguments.vandals as usize)
            .map(|number| {
                let seed = self.arguments.seed.wrapping_add(self.crowds);
                vandals::start(number, seed, self.tested.addresses, &self.trust, &self.books, &stop)
            })
            .collect();
        let mut dice = Dice::new(self.arguments.seed, 4_000 + self.crowds);
        // Of each crowd another group: who pushes counts from 1 again.
        let mut pusher = Pusher::new(self.crowds);
        let until = Instant::now() + length;
        while Instant::now() < until && !self.ends.load(Relaxed) {
            thread::sleep(Duration::from_millis(20));
            self.conductor.conduct(&self.tested);
            if let Err(what) = pusher.push(&self.tested, &mut dice, &self.books) {
                self.books.find(what);
            }
            self.look()?;
        }
        stop.store(true, Relaxed);
        self.join("a vandal", vandals)?;
        self.dismiss(&calls, crowd)
    }

    /// Honest visitors alone: what they said is what the server received, and what it sent is what they heard.
    fn count(&mut self, length: Duration) -> Result<(), String> {
        self.settle()?;
        let admin = self.tested.addresses.admin;
        let (before, mine) = (Metrics::read(admin)?, self.told());
        let (calls, crowd) = self.crowd(Call::Stay);
        let until = Instant::now() + length;
        while Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
            self.look()?;
        }
        calls.call(Call::Hush);
        self.wait("all have heard all", |_| calls.is_obeyed())?;
        let (after, ours) = (Metrics::read(admin)?, self.told());
        // Who was given up meanwhile did not hear all; the books below do not say how much.
        let counts = [
            ("messages_received_total", 0),
            ("messages_sent_total", 1),
            ("messages_received_bytes_total", 2),
            ("messages_sent_bytes_total", 3),
        ];
        for (name, which) in counts {
            let (server, visitors) = (after.sum(name) - before.sum(name), ours[which] - mine[which]);
            if server != visitors {
                self.books
                    .find(format!("among visitors alone {name} rose by {server}, and theirs by {visitors}"));
            }
        }
        for what in after.imbalances() {
            self.books.find(format!("the server's numbers do not balance under load: {what}"));
        }
        let waiting = after.sum("queue_bytes");
        if waiting > 0 {
            self.books.find(format!("all have heard all, and {waiting} bytes wait for them"));
        }
        self.dismiss(&calls, crowd)
    }

    /// What visitors said and heard so far, in messages and bytes.
    fn told(&self) -> [u64; 4] {
        let books = &self.books;
        [books.said.get(), books.heard.get(), books.said_bytes.get(), books.heard_bytes.get()]
    }

    fn crowd(&mut self, call: Call) -> (Arc<Calls>, Vec<JoinHandle<()>>) {
        let calls = Arc::new(Calls::default());
        calls.call(call);
        self.crowds += 1;
        let start = |number| {
            crowd::start(
                crowd::Place { number, crowd: self.crowds, addresses: self.tested.addresses },
                self.arguments.seed.wrapping_add(self.crowds),
                self.arguments.visitors as usize / LOOPS,
                self.tls.clone(),
                &self.books,
                &calls,
            )
        };
        let crowd = (0..LOOPS).map(start).collect();
        (calls, crowd)
    }

    /// All hear what was said, and leave.
    fn dismiss(&mut self, calls: &Calls, crowd: Vec<JoinHandle<()>>) -> Result<(), String> {
        calls.call(Call::Hush);
        self.wait("all visitors have heard all", |_| calls.is_obeyed())?;
        calls.call(Call::Leave);
        self.wait("all visitors have left", |_| calls.is_obeyed())?;
        self.join("the loop of the visitors", crowd)
    }

    fn join(&mut self, who: &str, threads: Vec<JoinHandle<()>>) -> Result<(), String> {
        for thread in threads {
            while !thread.is_finished() {
                thread::sleep(Duration::from_millis(10));
                self.look()?;
            }
            if thread.join().is_err() {
                self.books.find(format!("{who} panicked: a bug of this test"));
            }
        }
        Ok(())
    }

    // ------------------------------------------------------------------ at rest

    /// Waits until nobody is connected any more, as the log has it.
    fn settle(&mut self) -> Result<(), String> {
        self.wait("those who left are gone", |tested| {
            tested.log.connections().is_none_or(|(opened, closed)| opened == closed.values().sum::<u64>())
        })
    }

    /// What is held when all have left. Memory that goes back a moment later is waited for.
    fn rest(&mut self, descriptors: usize) -> Result<Costs, String> {
        let is_back = |tested: &Tested| tested.costs().descriptors == descriptors;
        if self.wait("all descriptors are back", is_back).is_err() {
            let now = self.tested.costs().descriptors;
            self.books.find(format!(
                "{now} descriptors are open where nobody is connected, {descriptors} at start"
            ));
        }
        self.settle()?;
        let metrics = Metrics::read(self.tested.addresses.admin)?;
        let wrong = metrics.imbalances().into_iter().chain(metrics.leftovers());
        wrong.for_each(|what| self.books.find(format!("nobody is connected, and {what}")));
        self.hold_against(&metrics);
        self.last = Some(metrics);
        // Who read them is gone.
        let _ = self.wait("all descriptors are back", is_back);
        let mut costs = self.tested.costs();
        let until = Instant::now() + SETTLING;
        while Instant::now() < until {
            thread::sleep(Duration::from_millis(100));
            let now = self.tested.costs();
            if now.resident_bytes < costs.resident_bytes {
                costs = now;
            }
        }
        Ok(costs)
    }

    /// What all rounds so far amount to: the server's numbers against those of its log and of who came.
    fn hold_against(&self, metrics: &Metrics) {
        if let Some((opened, closed)) = self.tested.log.connections() {
            let (ours, theirs) = (closed.values().sum::<u64>(), metrics.sum("connections_closed_total"));
            if ours != theirs || opened != theirs {
                self.books.find(format!(
                    "the log has {opened} opened and {ours} closed, the metrics {theirs} closed"
                ));
            }
        }
        let [said, heard, said_bytes, heard_bytes] = self.told();
        // Vandals said and were sent more. What was sent to those who had just left nobody heard.
        for (name, least) in [
            ("messages_received_total", said),
            ("messages_sent_total", heard),
            ("messages_received_bytes_total", said_bytes),
            ("messages_sent_bytes_total", heard_bytes),
        ] {
            if metrics.sum(name) < least {
                self.books
                    .find(format!("{name} is {}, where visitors alone have {least}", metrics.sum(name)));
            }
        }
    }

    fn compare(&self, before: Costs, after: Costs) {
        let (was, is) = (before.resident_bytes, after.resident_bytes);
        let is_short = self.warm_up() < WARM_UP_WHOLE;
        let most = if is_short { GROWTH_MAX_OF_SHORT } else { was * GROWTH_MAX / 100 };
        if is > was + most {
            let (is, was, most) = (mebibytes(is), mebibytes(was), mebibytes(most));
            self.books
                .find(format!("{is} are held where {was} were behind the warm-up: more than {most} more"));
        }
        if before.threads != after.threads {
            let (was, is) = (before.threads, after.threads);
            self.books.find(format!("there are {is} threads, and were {was} behind the warm-up"));
        }
        let (opened, ended) = (self.books.opened.get(), self.books.ended.get());
        let dialled = self.books.dialled.get();
        if dialled != ended {
            self.books.find(format!("{dialled} visits began, {opened} were let in, and {ended} ended"));
        }
    }

    /// The server is told to stop while many are there, and tells each of them so.
    fn part(&mut self) -> Result<(), String> {
        let (calls, crowd) = self.crowd(Call::Stay);
        let until = Instant::now() + PARTING;
        while Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
            self.look()?;
        }
        calls.call(Call::Part);
        let code = self.tested.stop()?;
        if code != Some(0) {
            self.books.find(format!("the server ended with {code:?} on SIGTERM"));
        }
        let panicked = crowd.into_iter().map(JoinHandle::join).filter(Result::is_err).count();
        if panicked > 0 {
            Err("the loop of the visitors panicked: a bug of this test".to_owned())
        } else {
            Ok(())
        }
    }

    // ------------------------------------------------------------------ meanwhile

    /// Waits for what nothing announces.
    fn wait(&mut self, what: &str, is_so: impl Fn(&Tested) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE * 2;
        while !is_so(&self.tested) {
            if Instant::now() > deadline {
                return Err(format!("waited in vain until {what}"));
            }
            thread::sleep(Duration::from_millis(20));
            self.look()?;
        }
        Ok(())
    }

    /// The server is there; how it goes.
    fn look(&mut self) -> Result<(), String> {
        if !self.tested.is_alive() {
            return Err("the server has ended".to_owned());
        }
        if Instant::now() >= self.progress_at {
            self.progress_at += PROGRESS;
            let costs = self.tested.costs();
            self.peak_bytes = self.peak_bytes.max(costs.resident_bytes);
            let books = &self.books;
            say(&format!(
                "{:>6} s  {} visits, {} messages said and {} heard; {} deeds with {} connections; {} reloads, {} broken; \
                 {}; {} findings",
                self.began.elapsed().as_secs(),
                books.opened.get(),
                books.said.get(),
                books.heard.get(),
                books.deeds.get(),
                books.intrusions.get(),
                books.reloads.get(),
                books.broken_reloads.get(),
                costs.shown(),
                books.findings().0
            ));
        }
        Ok(())
    }

    // ------------------------------------------------------------------ the verdict

    fn judge(&self, rests: &[Costs], descriptors: usize) -> bool {
        let mut report = String::new();
        let mut line = |text: String| {
            report += &text;
            report.push('\n');
        };
        line("\nhow visits and deeds ended:".to_owned());
        for (how, count) in self.books.ends() {
            line(format!("{count:>9}  {how}"));
        }
        if let Some((opened, closed)) = self.tested.log.connections() {
            let ended: u64 = closed.values().sum();
            line(format!("\nthe server's log: {opened} connections opened, {ended} closed:"));
            for (how, count) in &closed {
                line(format!("{count:>9}  {how}"));
            }
            if opened != ended {
                self.books
                    .find(format!("{opened} connections were opened and {ended} closed, as the log has it"));
            }
        }
        let books = &self.books;
        line(format!(
            "\n{} messages said, {} heard, {} things in them as they had to be",
            books.said.get(),
            books.heard.get(),
            books.checked.get()
        ));
        line(format!(
            "slowest visit: {} ms to be let in, {} ms until its Close was answered",
            books.slowest_opening.get(),
            books.slowest_closing.get()
        ));
        for text in self.last.iter().flat_map(Metrics::summary) {
            line(text);
        }
        if let [was, is] = rests {
            let grown = |before: u64, after: u64| (after as f64 / before.max(1) as f64 - 1.0) * 100.0;
            line(format!(
                "memory at rest: {} behind the warm-up, {} behind it all ({:+.1} %); of these not of files {} and {} \
                 ({:+.1} %); at its peak {}",
                mebibytes(was.resident_bytes),
                mebibytes(is.resident_bytes),
                grown(was.resident_bytes, is.resident_bytes),
                mebibytes(was.anonymous_bytes),
                mebibytes(is.anonymous_bytes),
                grown(was.anonymous_bytes, is.anonymous_bytes),
                mebibytes(self.peak_bytes)
            ));
            line(format!("descriptors at rest: {descriptors} at start, {} behind it all", is.descriptors));
        }
        let (count, shown) = self.books.findings();
        for what in &shown {
            line(format!("FOUND: {what}"));
        }
        if count > shown.len() as u64 {
            line(format!("FOUND: {} more, which are not told", count - shown.len() as u64));
        }
        let seconds = self.began.elapsed().as_secs();
        let cut_short = if self.ends.load(Relaxed) { ", cut short" } else { "" };
        line(match count {
            0 => format!("soak: passed after {seconds} s{cut_short}"),
            _ => format!(
                "soak: FAILED after {seconds} s{cut_short}: {count} findings (seed {})",
                self.arguments.seed
            ),
        });
        say(report.trim_end_matches('\n'));
        count == 0
    }
}

/// A fifth of what is asked for, within these.
const WARM_UP_MIN: Duration = Duration::from_secs(4);
const WARM_UP_MAX: Duration = Duration::from_secs(60);
/// Time of a round's second part, a third of the first at most.
const COUNTED: Duration = Duration::from_secs(10);
/// Time for the last visitors to come.
const PARTING: Duration = Duration::from_secs(1);
/// How long memory may take to go back.
const SETTLING: Duration = Duration::from_secs(2);

impl Costs {
    fn shown(&self) -> String {
        format!("{} in memory, {} descriptors", mebibytes(self.resident_bytes), self.descriptors)
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// A line on stdout, of which somebody may have had enough.
fn say(text: &str) {
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}
