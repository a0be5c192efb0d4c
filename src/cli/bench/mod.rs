//! `sockeye bench URL`: a load generator. It dials with the library's own engine, so what it drives is the path that
//! any client takes; everything that can be made beforehand is, and a message costs it little.
//!
//! `arguments` says what is asked for; `drive` runs the loops and the clock; `load` is the handler of a loop, with one
//! file for each mode; `stats` counts; `process` reads `/proc`; `report` and `html` tell, in `words`.

mod arguments;
mod churn;
mod drive;
mod echo;
mod fanout;
mod hold;
mod html;
mod load;
mod payload;
mod process;
mod report;
mod stats;
mod words;

pub(super) use arguments::Arguments;

use self::{
    arguments::{Mode, SOURCES_MAX},
    load::Plan,
    payload::Payloads,
    process::Process,
};
use super::{CANNOT_CONNECT, FAILED, OK, USAGE, serve::say};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use sockeye::{Dial, client};
use std::{
    fs,
    io::{self, Write},
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Measures, and tells; the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let plan = match plan(arguments) {
        Ok(plan) => plan,
        Err(error) => {
            say(format_args!("sockeye: {error}"));
            return USAGE;
        }
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    if let Err(error) = stop_on_signal(&interrupted) {
        say(format_args!("sockeye: cannot listen to signals: {error}"));
        return FAILED;
    }
    let report = match drive::run(plan, &interrupted) {
        Ok(report) => report,
        Err(error) => {
            say(format_args!("sockeye: {error}"));
            return FAILED;
        }
    };
    if report.tally.opened == 0 && report.tally.failed > 0 {
        let why = report.tally.troubles.keys().next().map_or("no answer", String::as_str);
        say(format_args!("sockeye: no connection to {} could be opened: {why}", arguments.url));
        return CANNOT_CONNECT;
    }
    let text = if arguments.output.json { report.json() + "\n" } else { report.summary() };
    let mut failures = Vec::new();
    if let Err(error) = io::stdout().write_all(text.as_bytes()) {
        failures.push(format!("cannot write to stdout: {error}"));
    }
    if let Some(path) = &arguments.output.html
        && let Err(error) = fs::write(path, report.html())
    {
        failures.push(format!("--html is {}: cannot write there: {error}", path.display()));
    }
    failures
        .extend(report.thresholds().iter().filter(|threshold| !threshold.is_met).map(|missed| missed.told()));
    for failure in &failures {
        say(format_args!("sockeye: {failure}"));
    }
    if failures.is_empty() && report.is_sound() { OK } else { FAILED }
}

/// All that can be known and made before the first connection.
fn plan(arguments: &Arguments) -> Result<Plan, String> {
    arguments.check()?;
    let protocols: Vec<&str> = arguments.dialling.subprotocol.iter().map(String::as_str).collect();
    let mut dial = client::dial(&arguments.url, &protocols).map_err(|error| error.to_string())?;
    dial.request.headers.extend(arguments.headers());
    let sources = sources(arguments, &mut dial)?;
    if let Some(pid) = arguments.output.pid {
        let looked = Process::of(pid).usage();
        looked.map_err(|error| {
            format!("--pid is {pid}: /proc/{pid} cannot be read ({error}): give a process that runs on this machine")
        })?;
    }
    let load = &arguments.load;
    let payloads = Payloads::new(arguments.distinct(), load.size as usize, load.text, load.deflate);
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    let run = seconds ^ std::process::id().rotate_left(16);
    let (trust, epoch) = (arguments.trust.client()?, Instant::now());
    Ok(Plan { arguments: arguments.clone(), dial, trust, sources, payloads, run, epoch })
}

/// How many loopback addresses to dial from.
fn sources(arguments: &Arguments, dial: &mut Dial) -> Result<u8, String> {
    let target = if dial.host == "localhost" { Ok(IpAddr::from([127, 0, 0, 1])) } else { dial.host.parse() };
    let loopback = target.is_ok_and(|ip: IpAddr| ip.is_ipv4() && ip.is_loopback());
    let wanted = match (arguments.dialling.sources, arguments.mode) {
        (Some(_), _) if !loopback => {
            return Err(format!(
                "--sources is {}: only a target in 127.0.0.0/8 can be dialled from several addresses, and this is {}; \
                 leave it out",
                arguments.dialling.sources.unwrap_or(0),
                dial.host
            ));
        }
        (Some(sources), _) => usize::from(sources),
        // Each port that was closed is held back for a minute.
        (None, Mode::Connect) => SOURCES_MAX,
        (None, _) => match arguments.connections() {
            few if few <= PORTS => 0,
            many => many.div_ceil(PORTS).min(SOURCES_MAX),
        },
    };
    if !loopback || wanted == 0 {
        return Ok(0);
    }
    if dial.host == "localhost" {
        dial.host = "127.0.0.1".to_owned(); // the source addresses are of IPv4
    }
    Ok(wanted as u8)
}

/// Connections that are dialled from one address: Linux has some 28,000 ports for it.
const PORTS: usize = 20_000;

/// The first signal ends it early, the second one at once.
fn stop_on_signal(interrupted: &Arc<AtomicBool>) -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag down, raises it, and the next one ends the process.
        flag::register_conditional_shutdown(signal, FAILED.into(), interrupted.clone())?;
        flag::register(signal, interrupted.clone())?;
    }
    Ok(())
}
