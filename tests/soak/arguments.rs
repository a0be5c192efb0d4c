//! What a soak is told on its command line. Started by `cargo test` it is told what every test is, and is a short one.

use clap::Parser;
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// Has `sockeye serve` stand mixed real load, and holds its books against those of all who came.
///
/// Honest visitors of all dialects, over ws and wss, hold everything they are told against what it must be; vandals leave
/// in every way, read slowly and flood; settings, users and certificates are changed meanwhile, and broken. When all have
/// left, what the server counted must balance, its memory must be back, and no descriptor may be left.
#[derive(Clone, Debug, Parser)]
#[command(name = "tests/soak/run", bin_name = "tests/soak/run", disable_version_flag = true)]
pub struct Arguments {
    /// How long the load lasts, in minutes, such as 5 or 0.5. Before it comes a warm-up of the same kind, a fifth as long
    /// (4 to 60 s), and behind both some seconds in which all is counted.
    #[arg(long, value_name = "N", default_value = "5", value_parser = minutes)]
    pub minutes: Duration,
    /// What chance begins from. The same seed makes the same people do the same, as far as sockets and clocks allow.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Honest visitors at a time.
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u32).range(8..=2_000))]
    pub visitors: u32,
    /// Vandals at a time; each has up to some hundred connections.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(0..=64))]
    pub vandals: u32,
    /// The binary to test; that of this build if none is given.
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Leave the folder with the server's settings and its log where it is, and say where.
    #[arg(long)]
    pub keep: bool,
}

/// Names of the flags of [`Arguments`]: whoever gives one of them is no test runner.
const OWN: [&str; 8] =
    ["--minutes", "--seed", "--visitors", "--vandals", "--server", "--keep", "--help", "-h"];

/// What the only test is called, for those who list tests or choose among them.
const TEST: &str = "a_short_soak_leaves_nothing_behind";

impl Arguments {
    /// What is asked for; `None` if that is nothing. Ends the process where help is asked for, or what makes no sense.
    pub fn read() -> Option<Arguments> {
        let given: Vec<OsString> = std::env::args_os().skip(1).collect();
        let is_own = |given: &OsString| {
            let given = given.to_string_lossy();
            OWN.iter()
                .any(|own| given == *own || given.strip_prefix(own).is_some_and(|rest| rest.starts_with('=')))
        };
        if std::env::var_os(DIRECT).is_some() || given.iter().any(is_own) {
            return Some(Arguments::parse());
        }
        is_chosen(&given)
            .then(|| Arguments { minutes: Duration::from_secs(8), ..Arguments::parse_from(["soak"]) })
    }
}

/// Set by `tests/soak/run`, which is no test runner either.
const DIRECT: &str = "SOCKEYE_SOAK";

/// What a test runner's arguments say of the only test there is.
fn is_chosen(given: &[OsString]) -> bool {
    let given: Vec<_> = given.iter().map(|given| given.to_string_lossy()).collect();
    let has = |flag: &str| given.iter().any(|given| given == flag);
    if has("--list") {
        println!("{TEST}: test");
        return false;
    }
    let mut is_skipped = has("--ignored");
    let (mut filters, mut given) = (Vec::new(), given.iter());
    while let Some(argument) = given.next() {
        match &**argument {
            "--skip" => is_skipped |= given.next().is_some_and(|pattern| TEST.contains(&**pattern)),
            "--test-threads" | "--format" | "--logfile" | "--color" | "-Z" | "--shuffle-seed" => {
                given.next().map_or((), |_| ())
            }
            flag if flag.starts_with('-') => {}
            filter => filters.push(filter),
        }
    }
    !is_skipped && (filters.is_empty() || filters.iter().any(|&filter| TEST.contains(filter)))
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| "give a number of minutes, such as 5 or 0.5".to_owned())?;
    if (0.05..=10_080.0).contains(&minutes) {
        Ok(Duration::from_secs_f64(minutes * 60.0))
    } else {
        Err("give 0.05 to 10080 minutes (a week)".to_owned())
    }
}
