//! What was measured: as a summary for people, as JSON, and held against the thresholds.

use super::{
    arguments::{Arguments, Mode},
    process::Spent,
    stats::{Latencies, Tally},
    words::{Json, duration, size, thousands},
};
use std::fmt::Write as _;

/// All that is known when a run is over.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) arguments: Arguments,
    /// How long was measured.
    pub(super) secs: f64,
    pub(super) ended: Ended,
    pub(super) tally: Tally,
    /// Of this process, while it was measured.
    pub(super) client: Option<Spent>,
    /// Of the process of `--pid`.
    pub(super) server: Option<Spent>,
    pub(super) memory: Option<Memory>,
}

/// Why it is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ended {
    /// Time was up or the count reached.
    AsAsked,
    /// Ctrl-C.
    Interrupted,
    /// No connection is left.
    Deserted,
}

/// The server's resident memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    pub(super) before: u64,
    /// All connections open; in mode idle with `--touch`, each has had a message.
    pub(super) open: u64,
    /// All closed again.
    pub(super) after: u64,
}

/// Latencies, with what they are counted from.
pub(super) struct Shown {
    /// In JSON.
    pub(super) key: &'static str,
    /// In a table.
    pub(super) name: &'static str,
    pub(super) meaning: String,
    pub(super) latencies: Latencies,
}

/// A bound, and what is held against it.
pub(super) struct Threshold {
    pub(super) option: &'static str,
    pub(super) bound: f64,
    /// `None`: it could not be measured.
    pub(super) measured: Option<f64>,
    pub(super) is_met: bool,
}

/// What is shown of each set of latencies.
pub(super) const PERCENTILES: [(&str, f64); 5] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("p99.99", 99.99)];

impl Report {
    pub(super) fn rate(&self) -> f64 {
        if self.secs > 0.0 { self.tally.done as f64 / self.secs } else { 0.0 }
    }

    /// CPU time per message, delivery or handshake, in microseconds.
    pub(super) fn cpu_us(&self, spent: Option<Spent>) -> Option<f64> {
        spent.filter(|_| self.tally.done > 0).map(|spent| spent.cpu_us / self.tally.done as f64)
    }

    pub(super) fn bytes_per_connection(&self) -> Option<f64> {
        // In mode connect none stays.
        let holds = self.tally.opened > 0 && self.arguments.mode != Mode::Connect;
        let memory = self.memory.filter(|_| holds)?;
        Some((memory.open as f64 - memory.before as f64) / self.tally.opened as f64)
    }

    /// Whether all went as asked, thresholds aside.
    pub(super) fn is_sound(&self) -> bool {
        let tally = &self.tally;
        tally.failed == 0
            && tally.lost == 0
            && tally.wrong == 0
            && tally.unanswered == 0
            && self.ended != Ended::Deserted
    }

    /// The latencies, those that count first.
    pub(super) fn latencies(&self) -> Vec<Shown> {
        let (tally, mode) = (&self.tally, self.arguments.mode);
        let shown = |key, name, meaning: String, latencies| Shown { key, name, meaning, latencies };
        if mode == Mode::Idle {
            let meaning = "from dialling until the connection was open".to_owned();
            return vec![shown("latency_us", "opening", meaning, tally.opening.clone())];
        }
        let (from, to) = match mode {
            Mode::Fanout => ("publishing", "each delivery"),
            Mode::Connect => ("dialling", "the connection was open"),
            _ => ("sending", "the reply"),
        };
        if tally.latency.count() == 0 {
            return Vec::new();
        }
        if self.arguments.load.rate.is_some() {
            let meaning = format!("from when {from} was due until {to}");
            let mut all = vec![shown("latency_us", "latency", meaning, tally.latency.clone())];
            if tally.from_send.count() > 0 {
                let meaning = format!("from when it was really sent until {to}: leaves out what had to wait");
                all.push(shown("latency_from_send_us", "from send", meaning, tally.from_send.clone()));
            }
            return all;
        }
        let interval_ns = self.interval_ns();
        vec![
            shown("latency_us", "latency", format!("from {from} until {to}"), tally.latency.clone()),
            shown(
                "latency_corrected_us",
                "corrected",
                format!(
                    "corrected for coordinated omission, as if {} every {} whatever happened",
                    match mode {
                        Mode::Fanout => "a message had been published",
                        Mode::Connect => "each place had dialled",
                        _ => "each place in flight had sent",
                    },
                    duration(interval_ns as f64 / 1e3)
                ),
                tally.latency.corrected(interval_ns),
            ),
        ]
    }

    /// In a closed loop: how often, on average, each place in flight sent something.
    fn interval_ns(&self) -> u64 {
        let (sent, places) = match self.arguments.mode {
            Mode::Fanout => (self.tally.sent, u64::from(self.arguments.in_flight_max())),
            Mode::Connect => (self.tally.done, self.arguments.connections() as u64),
            _ => (self.tally.done, self.tally.opened.max(1) * u64::from(self.arguments.in_flight_max())),
        };
        (self.secs * 1e9 * places as f64 / sent.max(1) as f64) as u64
    }

    pub(super) fn thresholds(&self) -> Vec<Threshold> {
        let asked = &self.arguments.thresholds;
        let latency = self.latencies().into_iter().next().map(|shown| shown.latencies);
        let percentile =
            |percentile| latency.as_ref().map(|latency: &Latencies| latency.percentile_us(percentile));
        let most = [
            ("--max-p50-us", asked.max_p50_us, percentile(50.0)),
            ("--max-p90-us", asked.max_p90_us, percentile(90.0)),
            ("--max-p99-us", asked.max_p99_us, percentile(99.0)),
            ("--max-p999-us", asked.max_p999_us, percentile(99.9)),
            ("--max-us", asked.max_us, latency.as_ref().map(Latencies::max_us)),
            ("--max-cpu-us", asked.max_cpu_us, self.cpu_us(self.server)),
            ("--max-conn-bytes", asked.max_conn_bytes, self.bytes_per_connection()),
        ];
        let threshold = |option, bound: Option<f64>, measured: Option<f64>, is_met: fn(f64, f64) -> bool| {
            let bound = bound?;
            Some(Threshold {
                option,
                bound,
                measured,
                is_met: measured.is_some_and(|measured| is_met(measured, bound)),
            })
        };
        let most = most.into_iter().filter_map(|(option, bound, measured)| {
            threshold(option, bound, measured, |measured, bound| measured <= bound)
        });
        let least =
            threshold("--min-rate", asked.min_rate, Some(self.rate()), |measured, bound| measured >= bound);
        most.chain(least).collect()
    }

    /// What was asked for, in a line.
    pub(super) fn scenario(&self) -> String {
        let (asked, mode) = (&self.arguments, self.arguments.mode);
        let mut parts = match mode {
            Mode::Fanout => vec![
                format!("{} subscribers", thousands(asked.fanout.subs as f64)),
                format!("{} publishers", thousands(asked.fanout.pubs as f64)),
            ],
            Mode::Connect => vec![format!("{} at a time", thousands(asked.connections() as f64))],
            _ => vec![format!("{} connections", thousands(asked.connections() as f64))],
        };
        match asked.load.rate {
            _ if mode == Mode::Idle => parts.extend(asked.load.touch.then(|| "one message each".to_owned())),
            Some(rate) => parts.push(format!("open loop at {} a second", thousands(rate))),
            None if mode == Mode::Connect => {}
            None => parts.push(format!("closed loop, {} in flight", asked.in_flight_max())),
        }
        if matches!(mode, Mode::Echo | Mode::Fanout) {
            let kind = if asked.load.text || mode == Mode::Fanout { "text" } else { "binary" };
            parts.push(format!("{} {kind}", size(f64::from(asked.load.size))));
        }
        if asked.load.deflate {
            parts.push(if self.tally.extensions.is_empty() {
                "compression declined".to_owned()
            } else {
                self.tally.extensions.clone()
            });
        }
        if asked.threads > 1 {
            parts.push(format!("{} threads", asked.threads));
        }
        parts.push(format!("{:.1} s", self.secs));
        parts.join(", ")
    }

    // ------------------------------------------------------------------ for people

    /// The summary.
    pub(super) fn summary(&self) -> String {
        let mut out =
            format!("{} {}\n{}\n\n", self.arguments.mode.name(), self.arguments.url, self.scenario());
        for (name, text) in self.lines() {
            let _ = writeln!(out, "{name:<11} {text}"); // a String takes everything
        }
        for threshold in self.thresholds() {
            let _ = writeln!(out, "{:<11} {}", "threshold", threshold.told());
        }
        out
    }

    /// What the summary and the page say, name by name.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let tally = &self.tally;
        let mut lines = Vec::new();
        if self.arguments.mode != Mode::Idle {
            lines.push((self.arguments.mode.unit(), self.throughput()));
        }
        for shown in self.latencies() {
            lines.push((shown.name, shown.told()));
            lines.push(("", format!("({})", shown.meaning)));
        }
        let core = |spent: Spent| 100.0 * spent.cpu_us / 1e6 / self.secs.max(1e-9);
        for (name, spent) in [("server CPU", self.server), ("client CPU", self.client)] {
            let Some(spent) = spent else { continue };
            let each = self.cpu_us(Some(spent)).map(|us| format!("{} each, ", duration(us)));
            lines.push((
                name,
                format!(
                    "{}{:.1} % of a core, {:.0} % of that in user space",
                    each.unwrap_or_default(),
                    core(spent),
                    100.0 * spent.user_share
                ),
            ));
        }
        lines.extend(self.memory_lines());
        if tally.opened > 0 && self.arguments.mode != Mode::Connect {
            let each = duration(tally.opening.percentile_us(99.0));
            lines.push((
                "opened",
                format!("{} connections, 99 % within {each}", thousands(tally.opened as f64)),
            ));
        }
        if self.arguments.load.verify {
            let verdict = match tally.wrong {
                0 => "all as sent".to_owned(),
                wrong => format!("{} NOT as sent", thousands(wrong as f64)),
            };
            lines.push(("verified", format!("{}, {verdict}", thousands(tally.verified as f64))));
        }
        let counted = [
            ("failed", tally.failed, "connections could not be opened"),
            ("lost", tally.lost, "connections ended before their time"),
            (
                "unanswered",
                tally.unanswered,
                "were still waited for at the end; they count with the time they waited",
            ),
            ("unasked", tally.unasked, "messages came that answer nothing; they do not count"),
        ];
        for (name, count, meaning) in counted {
            if count > 0 {
                lines.push((name, format!("{} {meaning}", thousands(count as f64))));
            }
        }
        lines.extend(tally.troubles.iter().map(|(what, count)| ("trouble", format!("{count} × {what}"))));
        match self.ended {
            Ended::AsAsked => {}
            Ended::Interrupted => lines.push(("ended", "early, by Ctrl-C".to_owned())),
            Ended::Deserted => lines.push(("ended", "early: no connection is left".to_owned())),
        }
        lines
    }

    fn throughput(&self) -> String {
        let mut text = format!("{}, {} a second", thousands(self.tally.done as f64), thousands(self.rate()));
        if matches!(self.arguments.mode, Mode::Echo | Mode::Fanout) {
            let each = self.rate() * f64::from(self.arguments.load.size);
            let _ = write!(text, ", {}/s of payload", size(each));
        }
        if self.arguments.mode == Mode::Fanout {
            let _ = write!(text, ", of {} published", thousands(self.tally.sent as f64));
        }
        text
    }

    fn memory_lines(&self) -> Vec<(&'static str, String)> {
        let Some(memory) = self.memory else { return Vec::new() };
        let of = |bytes: u64| size(bytes as f64);
        let mut text = format!("{} before, {} open", of(memory.before), of(memory.open));
        if memory.after > 0 {
            let _ = write!(text, ", {} after", of(memory.after));
        }
        let each =
            self.bytes_per_connection().map(|each| format!(": {} bytes a connection", thousands(each)));
        vec![("memory", text + &each.unwrap_or_default())]
    }

    // ------------------------------------------------------------------ for programs

    /// One JSON object, on one line.
    pub(super) fn json(&self) -> String {
        let (asked, tally) = (&self.arguments, &self.tally);
        let mut json = Json::default();
        json.text("url", &asked.url);
        json.text("mode", asked.mode.name());
        json.number("connections", asked.connections() as f64);
        json.number("size", f64::from(asked.load.size));
        json.text("loop", if asked.load.rate.is_some() { "open" } else { "closed" });
        json.number("in_flight_max", f64::from(asked.in_flight_max()));
        json.maybe("rate_asked", asked.load.rate);
        json.number("threads", asked.threads as f64);
        json.text("extensions", &tally.extensions);
        json.text(
            "ended",
            match self.ended {
                Ended::AsAsked => "as asked",
                Ended::Interrupted => "interrupted",
                Ended::Deserted => "deserted",
            },
        );
        json.number("secs", self.secs);
        json.number(asked.mode.unit(), tally.done as f64);
        json.number("rate", self.rate());
        if asked.mode == Mode::Fanout {
            json.number("published", tally.sent as f64);
        }
        for shown in self.latencies() {
            json.raw(shown.key, &shown.json());
        }
        json.maybe("client_cpu_us", self.cpu_us(self.client));
        json.maybe("client_cpu_share", self.client.map(|spent| spent.cpu_us / 1e6 / self.secs.max(1e-9)));
        json.maybe("server_cpu_us", self.cpu_us(self.server));
        json.maybe("server_cpu_share", self.server.map(|spent| spent.cpu_us / 1e6 / self.secs.max(1e-9)));
        json.maybe("server_user_share", self.server.map(|spent| spent.user_share));
        json.maybe("rss_before_bytes", self.memory.map(|memory| memory.before as f64));
        json.maybe("rss_open_bytes", self.memory.map(|memory| memory.open as f64));
        json.maybe("rss_after_bytes", self.memory.map(|memory| memory.after as f64));
        json.maybe("bytes_per_connection", self.bytes_per_connection());
        for (name, count) in [
            ("opened", tally.opened),
            ("failed", tally.failed),
            ("lost", tally.lost),
            ("verified", tally.verified),
            ("wrong", tally.wrong),
            ("unanswered", tally.unanswered),
            ("unasked", tally.unasked),
        ] {
            json.number(name, count as f64);
        }
        let mut troubles = Json::default();
        for (what, &count) in &tally.troubles {
            troubles.number(what, count as f64);
        }
        json.raw("troubles", &troubles.end());
        let thresholds: Vec<_> = self.thresholds().iter().map(Threshold::json).collect();
        json.raw("thresholds", &format!("[{}]", thresholds.join(",")));
        json.end()
    }
}

impl Shown {
    fn told(&self) -> String {
        let mut text = String::new();
        for (name, percentile) in PERCENTILES {
            let _ = write!(text, "{name} {}  ", duration(self.latencies.percentile_us(percentile)));
        }
        text + &format!("max {}", duration(self.latencies.max_us()))
    }

    fn json(&self) -> String {
        let mut json = Json::default();
        json.text("meaning", &self.meaning);
        json.number("count", self.latencies.count() as f64);
        json.number("min", self.latencies.min_us());
        json.number("mean", self.latencies.mean_us());
        for (name, percentile) in PERCENTILES {
            json.number(&name.replace('.', ""), self.latencies.percentile_us(percentile));
        }
        json.number("max", self.latencies.max_us());
        json.end()
    }
}

impl Threshold {
    pub(super) fn told(&self) -> String {
        let Threshold { option, bound, .. } = self;
        match (self.measured, self.is_met) {
            (None, _) => format!("{option} {bound}: MISSED, for nothing was measured"),
            (Some(measured), true) => format!("{option} {bound}: met, {measured:.2}"),
            (Some(measured), false) => format!("{option} {bound}: MISSED, {measured:.2}"),
        }
    }

    fn json(&self) -> String {
        let mut json = Json::default();
        json.text("option", self.option);
        json.number("bound", self.bound);
        json.maybe("measured", self.measured);
        json.raw("met", if self.is_met { "true" } else { "false" });
        json.end()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::bench::arguments::tests::arguments;

    /// A second of echo: 1,000 messages, one of them slow.
    pub(in crate::cli::bench) fn report(options: &[&str]) -> Report {
        let mut tally = Tally { opened: 2, done: 1_000, sent: 1_000, ..Tally::default() };
        tally.latency.record(100_000, 999);
        tally.latency.record(500_000_000, 1);
        tally.opening.record(250_000, 2);
        (0..50).for_each(|i| tally.timeline.record(i * 20_000_000, 20));
        let spent = Spent { cpu_us: 1_600.0, user_share: 0.25 };
        Report {
            arguments: arguments(&[&["--conns", "2"], options].concat()),
            secs: 1.0,
            ended: Ended::AsAsked,
            tally,
            client: Some(spent),
            server: Some(spent),
            memory: Some(Memory { before: 1 << 20, open: 2 << 20, after: 0 }),
        }
    }

    #[test]
    fn the_summary_says_what_was_asked_and_what_came_of_it() {
        let summary = report(&["--size", "1KiB"]).summary();
        for part in [
            "echo ws://127.0.0.1:1/\n2 connections, closed loop, 1 in flight, 1 KiB binary, 1.0 s\n",
            "messages    1,000, 1,000 a second, 1000 KiB/s of payload\n",
            "p50 100 µs",
            "max 500 ms",
            "corrected   ",
            "server CPU  1.6 µs each, 0.2 % of a core, 25 % of that in user space\n",
            "memory      1 MiB before, 2 MiB open: 524,288 bytes a connection\n",
            "opened      2 connections, 99 % within 250 µs\n",
        ] {
            assert!(summary.contains(part), "{part:?} should be in\n{summary}");
        }
        assert!(!summary.contains("lost") && !summary.contains("trouble"), "{summary}");
    }

    #[test]
    fn a_closed_loop_is_corrected_and_an_open_one_measured_from_when_it_was_due() {
        let closed = report(&[]).latencies();
        assert_eq!((closed.len(), closed[1].key), (2, "latency_corrected_us"));
        // Two connections, a thousand messages in a second: each sent every 2 ms, so 500 ms leave out 249.
        assert_eq!(closed[1].latencies.count(), 1_249);
        let open = report(&["--rate", "1000"]).latencies();
        assert_eq!((open.len(), open[0].latencies.count()), (1, 1_000));
        assert!(open[0].meaning.contains("due"), "{}", open[0].meaning);
    }

    #[test]
    fn thresholds_tell_which_was_missed_and_by_what() {
        let options = ["--max-p50-us", "150", "--max-us", "1000", "--min-rate", "2000", "--pid", "1"];
        let report = report(&[&options[..], &["--max-cpu-us", "2", "--max-conn-bytes", "100"]].concat());
        let told: Vec<_> = report.thresholds().iter().map(Threshold::told).collect();
        let missed: Vec<_> = told.iter().filter(|line| line.contains("MISSED")).collect();
        assert_eq!((told.len(), missed.len()), (5, 3), "{told:?}");
        assert!(told[0].starts_with("--max-p50-us 150: met, 100."), "{told:?}");
        assert!(told.iter().any(|line| line == "--min-rate 2000: MISSED, 1000.00"), "{told:?}");
    }

    #[test]
    fn what_was_not_measured_misses_its_threshold() {
        let mut report = report(&["--max-p99-us", "1e9", "--pid", "1", "--max-cpu-us", "1e9"]);
        (report.tally, report.server) = (Tally::default(), None);
        let thresholds = report.thresholds();
        assert!(thresholds.iter().all(|threshold| !threshold.is_met && threshold.measured.is_none()));
    }

    #[test]
    fn json_is_one_object_on_one_line_whatever_the_texts_hold() {
        let mut report = report(&["--max-p50-us", "150"]);
        report.tally.trouble("a \"quoted\"\nline \\".to_owned());
        let json = report.json();
        for part in [
            r#"{"url":"ws://127.0.0.1:1/","mode":"echo","connections":2,"#,
            r#""messages":1000,"rate":1000,"latency_us":{"meaning":"from sending until the reply","count":1000,"#,
            r#""server_cpu_us":1.6,"#,
            r#""troubles":{"a \"quoted\"\u000aline \\":1}"#,
            r#""thresholds":[{"option":"--max-p50-us","bound":150,"measured":"#,
        ] {
            assert!(json.contains(part), "{part:?} should be in\n{json}");
        }
        assert!(json.ends_with("\"met\":true}]}") && !json.contains('\n'), "{json}");
    }
}
