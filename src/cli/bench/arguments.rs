//! What is to be measured, as it is asked for, and whether it makes sense.

use crate::cli::{bytes_u32, trust::TrustArguments};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What to do with the connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Mode {
    /// Send messages that the server sends back; measure round trips.
    Echo,
    /// Publish messages that the server sends to all subscribers; measure deliveries.
    Fanout,
    /// Open connections and close them again; measure opening handshakes.
    Connect,
    /// Hold connections that do nothing; measure what they cost the server (--pid).
    Idle,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Mode::Echo => "echo",
            Mode::Fanout => "fanout",
            Mode::Connect => "connect",
            Mode::Idle => "idle",
        }
    }

    /// What is counted.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Mode::Echo => "messages",
            Mode::Fanout => "deliveries",
            Mode::Connect => "handshakes",
            Mode::Idle => "connections",
        }
    }
}

#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct Arguments {
    /// Where to connect: ws://HOST[:PORT][/PATH], or wss:// for TLS.
    #[arg(value_name = "URL")]
    pub(super) url: String,

    /// What to measure.
    #[arg(long, value_enum, default_value = "echo")]
    pub(super) mode: Mode,

    /// Connections; in mode connect: how many at a time. Default 64, in mode idle 1000; fanout has --subs and --pubs.
    #[arg(long, value_name = "N")]
    conns: Option<usize>,

    /// Seconds to measure. Default 10, or no end where --count is given.
    #[arg(long, value_name = "SECONDS")]
    secs: Option<f64>,

    /// Seconds before that which do not count. Default 1; mode idle has none.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    warmup: f64,

    /// End after so many messages, deliveries or handshakes, if --secs are not over before.
    #[arg(long, value_name = "N")]
    pub(super) count: Option<u64>,

    /// Loops, each on a thread of its own with its share of the connections. Not in mode fanout.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) threads: usize,

    #[command(flatten, next_help_heading = "Load")]
    pub(super) load: LoadArguments,

    #[command(flatten, next_help_heading = "Connections")]
    pub(super) dialling: DialArguments,

    #[command(flatten, next_help_heading = "TLS")]
    pub(super) trust: TrustArguments,

    #[command(flatten, next_help_heading = "Mode fanout")]
    pub(super) fanout: FanoutArguments,

    #[command(flatten, next_help_heading = "Reports")]
    pub(super) output: OutputArguments,

    #[command(flatten, next_help_heading = "Thresholds, past which the exit code is 1")]
    pub(super) thresholds: ThresholdArguments,
}

#[derive(Args, Clone, Debug)]
pub(super) struct LoadArguments {
    /// Closed loop: messages in flight on each connection; the next one is sent when a reply comes. In mode fanout:
    /// messages published and not delivered to all. Default 1. With --rate: at most so many in flight, and what is due
    /// beyond that waits; default 1024, fewer where messages are large.
    #[arg(long, value_name = "N")]
    pipeline: Option<u32>,

    /// Open loop: so many messages (or handshakes) a second over all connections, whether or not replies come.
    /// Latencies count from when each was to be sent.
    #[arg(long, value_name = "N")]
    pub(super) rate: Option<f64>,

    /// Size of a message.
    #[arg(long, value_name = "BYTES", default_value = "125", value_parser = bytes_u32)]
    pub(super) size: u32,

    /// Send text, which looks like JSON. Default: binary, random bytes.
    #[arg(long, conflicts_with = "binary")]
    pub(super) text: bool,

    /// Send binary messages. This is the default.
    #[arg(long)]
    binary: bool,

    /// Offer permessage-deflate; binary messages look like JSON then, too.
    #[arg(long)]
    pub(super) deflate: bool,

    /// Different messages, sent in turn. Default 1, with --deflate 64.
    #[arg(long, value_name = "N")]
    distinct: Option<usize>,

    /// Compare every reply with what was sent (in mode fanout: number, order and text of what is delivered).
    #[arg(long)]
    pub(super) verify: bool,

    /// In mode idle: one message each way on every connection before it is held.
    #[arg(long)]
    pub(super) touch: bool,
}

#[derive(Args, Clone, Debug)]
pub(super) struct DialArguments {
    /// Loopback addresses to connect from: 127.0.0.2 and up, each good for some 28,000 connections. Default: as many
    /// as are needed for a target in 127.0.0.0/8.
    #[arg(long, value_name = "N")]
    pub(super) sources: Option<u8>,

    /// A subprotocol to offer. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub(super) subprotocol: Vec<String>,

    /// A header line of the request. May be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    header: Vec<String>,
}

#[derive(Args, Clone, Debug)]
pub(super) struct FanoutArguments {
    /// Connections that are delivered to.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) subs: usize,

    /// Connections that publish, in turn.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) pubs: usize,

    /// What a subscriber sends first; {id} is its number. Default: nothing.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(super) join: String,

    /// What is published: {id} is the publisher's number, {stamp} (37 characters, safe in JSON) tells deliveries apart
    /// and times them, {pad} fills up to --size. Without {stamp} no latency is measured.
    #[arg(long, value_name = "TEXT", default_value = "{stamp}{pad}")]
    pub(super) publish: String,

    /// Publishers join too.
    #[arg(long)]
    pub(super) pubs_join: bool,

    /// Time for joining, before the first message is published.
    #[arg(long, value_name = "MS", default_value_t = 300)]
    pub(super) settle_ms: u32,
}

#[derive(Args, Clone, Debug)]
pub(super) struct OutputArguments {
    /// The server's process, on this machine: its CPU time per message and its memory are reported.
    #[arg(long, value_name = "PID")]
    pub(super) pid: Option<u32>,

    /// Print one JSON object instead of the summary.
    #[arg(long)]
    pub(super) json: bool,

    /// Write a page with the numbers, the percentiles and the throughput over time.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

#[derive(Args, Clone, Debug, Default)]
pub(super) struct ThresholdArguments {
    /// Highest median latency, in microseconds.
    #[arg(long, value_name = "US")]
    pub(super) max_p50_us: Option<f64>,
    /// Highest 90th percentile of the latency.
    #[arg(long, value_name = "US")]
    pub(super) max_p90_us: Option<f64>,
    /// Highest 99th percentile of the latency.
    #[arg(long, value_name = "US")]
    pub(super) max_p99_us: Option<f64>,
    /// Highest 99.9th percentile of the latency.
    #[arg(long, value_name = "US")]
    pub(super) max_p999_us: Option<f64>,
    /// Highest latency of all.
    #[arg(long, value_name = "US")]
    pub(super) max_us: Option<f64>,
    /// Lowest rate: messages, deliveries or handshakes a second.
    #[arg(long, value_name = "N")]
    pub(super) min_rate: Option<f64>,
    /// Most CPU time of the server per message, in microseconds. Needs --pid.
    #[arg(long, value_name = "US", requires = "pid")]
    pub(super) max_cpu_us: Option<f64>,
    /// Most memory of the server per connection, in bytes. Needs --pid.
    #[arg(long, value_name = "BYTES", requires = "pid")]
    pub(super) max_conn_bytes: Option<f64>,
}

const AFTER_HELP: &str = "\
A closed loop (no --rate) shows what the server can do; its latencies leave out what would have been sent while it \
waited, so a second set is printed that is corrected for that. An open loop (--rate) shows what users see at that \
load. Thresholds judge the latencies printed first.

Ctrl-C ends it early and prints what was measured; once more to exit at once.

Examples:
  sockeye bench ws://127.0.0.1:4863/ --conns 64 --pipeline 32 --size 1KiB --pid $(pidof sockeye)
  sockeye bench ws://127.0.0.1:4863/ --rate 20000 --max-p99-us 500 --html report.html
  sockeye bench ws://127.0.0.1:8080/room --mode fanout --subs 1000 --join '{\"join\":\"r\"}' --publish '{\"say\":\"{stamp}{pad}\"}'

Exit codes: 0 measured, 1 a threshold was missed, a reply was wrong or connections were lost, 2 the arguments make \
no sense, 69 no connection could be opened.";

impl Arguments {
    /// Whether all of it makes sense together.
    ///
    /// # Errors
    /// Names the option, its value, what it must be, and why.
    pub(super) fn check(&self) -> Result<(), String> {
        let (load, fanout) = (&self.load, &self.fanout);
        let at_least_one = |option: &str, value: u64, why: &str| match value {
            0 => Err(format!("{option} is 0: it must be at least 1, {why}")),
            _ => Ok(()),
        };
        at_least_one("--conns", self.connections() as u64, "for there is nothing to measure otherwise")?;
        at_least_one("--threads", self.threads as u64, "for somebody has to send")?;
        at_least_one("--pipeline", load.pipeline.unwrap_or(1).into(), "for nothing would be sent")?;
        at_least_one("--distinct", self.distinct() as u64, "for nothing could be sent")?;
        at_least_one("--count", self.count.unwrap_or(1), "for it would end before it began; leave it out")?;
        at_least_one("--sources", self.dialling.sources.unwrap_or(1).into(), "or left out")?;
        let sources = self.dialling.sources.unwrap_or(1).into();
        at_most("--sources", sources, SOURCES_MAX as u64, "for those are all that are used")?;
        if let (Some(count), Mode::Idle) = (self.count, self.mode) {
            return Err(format!("--count is {count}: nothing is counted in mode idle; give --secs"));
        }
        if self.mode == Mode::Fanout {
            if let Some(conns) = self.conns {
                return Err(format!("--conns is {conns}: mode fanout has --subs and --pubs instead"));
            }
            at_least_one("--subs", fanout.subs as u64, "for nobody would be delivered to")?;
            at_least_one("--pubs", fanout.pubs as u64, "for nobody would publish")?;
            at_most("--pubs", fanout.pubs as u64, 65_535, "for a stamp has room for no more")?;
            at_most(
                "--threads",
                self.threads as u64,
                1,
                "in mode fanout, whose deliveries are counted together",
            )?;
        } else {
            at_most("--threads", self.threads as u64, self.connections() as u64, "one connection for each")?;
        }
        at_most("--pipeline", load.pipeline.unwrap_or(1).into(), 65_536, "which no connection needs")?;
        at_most("--distinct", self.distinct() as u64, 65_536, "which is beyond any cache")?;
        at_most("--size", load.size.into(), SIZE_MAX, "for a message is held in one buffer")?;
        let in_all = u64::from(load.size) * self.distinct() as u64;
        at_most("--size times --distinct", in_all, SIZE_MAX, "for all are made beforehand")?;
        if let Some(rate) = load.rate {
            if !(rate > 0.0 && rate <= RATE_MAX) {
                return Err(format!(
                    "--rate is {rate}: it must be more than 0 and at most {RATE_MAX} a second; leave it out for a \
                     closed loop"
                ));
            }
            if self.mode == Mode::Idle {
                return Err(format!("--rate is {rate}: nothing is sent in mode idle; leave it out"));
            }
        }
        for (option, secs) in [("--secs", self.secs.unwrap_or(1.0)), ("--warmup", self.warmup)] {
            if !(0.0..=SECS_MAX).contains(&secs) || (option == "--secs" && secs == 0.0) {
                return Err(format!(
                    "{option} is {secs}: it must be more than 0 and at most {SECS_MAX} seconds"
                ));
            }
        }
        for line in &self.dialling.header {
            header(line)?;
        }
        Ok(())
    }

    /// Connections in all.
    pub(super) fn connections(&self) -> usize {
        match self.mode {
            Mode::Fanout => self.fanout.subs + self.fanout.pubs,
            Mode::Idle => self.conns.unwrap_or(1_000),
            Mode::Echo | Mode::Connect => self.conns.unwrap_or(64),
        }
    }

    /// Nanoseconds to measure; `None`: until `--count` is reached.
    pub(super) fn measured_ns(&self) -> Option<u64> {
        let secs = match (self.secs, self.count) {
            (None, Some(_)) => return None,
            (secs, _) => secs.unwrap_or(10.0),
        };
        Some((secs * 1e9) as u64)
    }

    pub(super) fn warmup_ns(&self) -> u64 {
        if self.mode == Mode::Idle { 0 } else { (self.warmup * 1e9) as u64 }
    }

    /// Messages in flight at most, on a connection; in mode fanout, in all.
    pub(super) fn in_flight_max(&self) -> u32 {
        let default = match self.load.rate {
            None => 1,
            Some(_) => (IN_FLIGHT_BYTES / self.load.size.max(1)).clamp(1, 1_024),
        };
        self.load.pipeline.unwrap_or(default)
    }

    pub(super) fn distinct(&self) -> usize {
        self.load.distinct.unwrap_or(if self.load.deflate { 64 } else { 1 })
    }

    /// Header lines of the request, name and value.
    pub(super) fn headers(&self) -> Vec<(String, String)> {
        self.dialling.header.iter().filter_map(|line| header(line).ok()).collect()
    }
}

/// Largest message, and all different ones together.
const SIZE_MAX: u64 = 256 << 20;
/// Loopback addresses to dial from.
pub(super) const SOURCES_MAX: usize = 200;
const RATE_MAX: f64 = 1e8;
const SECS_MAX: f64 = 86_400.0;
/// Bytes of messages that an open loop has in flight on a connection if nothing else is said.
const IN_FLIGHT_BYTES: u32 = 4 << 20;

fn at_most(option: &str, value: u64, most: u64, why: &str) -> Result<(), String> {
    if value > most {
        return Err(format!("{option} is {value}: it must be at most {most}, {why}"));
    }
    Ok(())
}

/// `Name: value`.
fn header(line: &str) -> Result<(String, String), String> {
    let parts = line.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
    match parts {
        Some((name, value)) if is_token(name) && !value.contains(|c: char| c.is_control() && c != '\t') => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(format!(
            "--header is {line:?}: it must be a name, a colon and a value, such as 'Cookie: a=b'"
        )),
    }
}

/// RFC 9110 §5.6.2
fn is_token(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        arguments: Arguments,
    }

    /// The arguments of `bench ws://127.0.0.1:1/`, and these.
    pub(in crate::cli::bench) fn arguments(options: &[&str]) -> Arguments {
        let all = [&["bench", "ws://127.0.0.1:1/"], options].concat();
        Alone::try_parse_from(all).unwrap_or_else(|error| panic!("{error}")).arguments
    }

    #[test]
    fn what_makes_no_sense_is_told_with_option_value_and_bound() {
        for (options, words) in [
            (&["--conns", "0"][..], &["--conns is 0", "at least 1"][..]),
            (&["--pipeline", "0"], &["--pipeline is 0", "at least 1"]),
            (&["--count", "0"], &["--count is 0", "leave it out"]),
            (&["--rate", "0"], &["--rate is 0", "more than 0", "closed loop"]),
            (&["--rate", "nan"], &["--rate is NaN", "more than 0"]),
            (&["--mode", "idle", "--rate", "5"], &["--rate is 5", "idle"]),
            (&["--secs", "0"], &["--secs is 0", "86400"]),
            (&["--warmup=-1"], &["--warmup is -1"]),
            (&["--size", "1GiB"], &["--size is 1073741824", "268435456"]),
            (&["--size", "1MiB", "--distinct", "1000"], &["--distinct", "beforehand"]),
            (&["--mode", "fanout", "--subs", "0"], &["--subs is 0"]),
            (&["--mode", "fanout", "--threads", "2"], &["--threads is 2", "at most 1"]),
            (&["--conns", "2", "--threads", "3"], &["--threads is 3", "at most 2"]),
            (&["--sources", "201"], &["--sources is 201", "at most 200"]),
            (&["--mode", "idle", "--count", "5"], &["--count is 5", "idle", "--secs"]),
            (&["--mode", "fanout", "--conns", "5"], &["--conns is 5", "--subs"]),
            (&["-H", "no colon"], &["--header", "no colon", "Cookie"]),
            (&["-H", "a b: c"], &["--header", "a b"]),
        ] {
            let error = arguments(options).check().expect_err(&format!("{options:?}"));
            for word in words {
                assert!(error.contains(word), "{options:?} should name {word:?}: {error}");
            }
        }
    }

    #[test]
    fn what_is_not_said_has_a_default_that_fits_the_mode() {
        assert_eq!(arguments(&[]).check(), Ok(()));
        assert_eq!((arguments(&[]).connections(), arguments(&["--mode", "idle"]).connections()), (64, 1_000));
        assert_eq!(arguments(&["--mode", "fanout", "--subs", "7"]).connections(), 8);
        assert_eq!(arguments(&["--count", "5"]).measured_ns(), None);
        assert_eq!(arguments(&["--count", "5", "--secs", "2"]).measured_ns(), Some(2_000_000_000));
        assert_eq!((arguments(&[]).distinct(), arguments(&["--deflate"]).distinct()), (1, 64));
    }

    #[test]
    fn an_open_loop_has_many_in_flight_unless_they_are_large() {
        let most = |options: &[&str]| arguments(options).in_flight_max();
        assert_eq!((most(&[]), most(&["--pipeline", "8"])), (1, 8));
        assert_eq!((most(&["--rate", "9"]), most(&["--rate", "9", "--size", "1MiB"])), (1_024, 4));
        assert_eq!(
            (most(&["--rate", "9", "--size", "16MiB"]), most(&["--rate", "9", "--pipeline", "3"])),
            (1, 3)
        );
    }
}
