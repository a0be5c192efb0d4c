//! What is counted while messages flow: latencies, a timeline, and what went wrong. One per thread, added up at the end.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Latencies in nanoseconds, to three digits.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Histogram<u64>);

/// The longest latency that is told from a longer one: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies(Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are in order"))
    }
}

impl Latencies {
    /// `count` messages took `ns` each.
    #[inline]
    pub(super) fn record(&mut self, ns: u64, count: u64) {
        self.0.saturating_record_n(ns, count);
    }

    pub(super) fn add(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// How many were recorded.
    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency in microseconds that `percentile` of 100 do not exceed.
    pub(super) fn percentile_us(&self, percentile: f64) -> f64 {
        self.0.value_at_percentile(percentile) as f64 / 1e3
    }

    pub(super) fn mean_us(&self) -> f64 {
        self.0.mean() / 1e3
    }

    pub(super) fn min_us(&self) -> f64 {
        self.0.min() as f64 / 1e3
    }

    pub(super) fn max_us(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }

    /// As these would be, had a sender that waits for answers sent every `interval_ns` nonetheless: for each latency
    /// longer than that, what the messages left out meanwhile would have waited is added.
    pub(super) fn corrected(&self, interval_ns: u64) -> Latencies {
        Latencies(self.0.clone_correct(interval_ns.max(1)))
    }
}

/// Messages per stretch of time. Its stretches double when they become too many, so that it has a resolution however
/// long it goes on, and never grows.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    counts: Vec<u64>,
    stretch_ns: u64,
}

/// The stretch a timeline begins with.
const STRETCH_NS: u64 = 20_000_000;
const STRETCHES_MAX: usize = 512;

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline { counts: Vec::with_capacity(STRETCHES_MAX), stretch_ns: STRETCH_NS }
    }
}

impl Timeline {
    /// `count` messages came `at_ns` after the start.
    #[inline]
    pub(super) fn record(&mut self, at_ns: u64, count: u64) {
        let mut stretch = (at_ns / self.stretch_ns) as usize;
        while stretch >= STRETCHES_MAX {
            self.double();
            stretch = (at_ns / self.stretch_ns) as usize;
        }
        if self.counts.len() <= stretch {
            self.counts.resize(stretch + 1, 0);
        }
        self.counts[stretch] += count;
    }

    fn double(&mut self) {
        let halves = self.counts.len().div_ceil(2);
        for i in 0..halves {
            self.counts[i] = self.counts[2 * i] + self.counts.get(2 * i + 1).copied().unwrap_or(0);
        }
        self.counts.truncate(halves);
        self.stretch_ns *= 2;
    }

    pub(super) fn add(&mut self, other: &Timeline) {
        while self.stretch_ns < other.stretch_ns {
            self.double();
        }
        for (stretch, &count) in other.counts.iter().enumerate() {
            if count > 0 {
                self.record(stretch as u64 * other.stretch_ns, count);
            }
        }
    }

    /// Messages a second over `secs`: at most `points` values, each over the same time, and how long that is in
    /// seconds. The last stretch, if `secs` ends in the middle of it, is left out.
    pub(super) fn rates(&self, secs: f64, points: usize) -> (Vec<f64>, f64) {
        let whole = (secs * 1e9 / self.stretch_ns as f64).floor() as usize;
        let group = whole.div_ceil(points.max(1)).max(1);
        let each = group as f64 * self.stretch_ns as f64 / 1e9;
        let rate = |point: usize| {
            let counts = self.counts.iter().skip(point * group).take(group);
            counts.sum::<u64>() as f64 / each
        };
        ((0..whole / group).map(rate).collect(), each)
    }
}

/// All that one thread saw from the start of the measurement on, and how opening went before.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Connections that opened, could not be opened, and ended before their time.
    pub(super) opened: u64,
    pub(super) failed: u64,
    pub(super) lost: u64,
    /// What is measured: replies, deliveries, or handshakes.
    pub(super) done: u64,
    /// What was sent for it: messages, or what was published.
    pub(super) sent: u64,
    /// Never answered, though there was time after the end.
    pub(super) unanswered: u64,
    /// Messages that came though none was asked for.
    pub(super) unasked: u64,
    /// Replies that were compared, and those that differed.
    pub(super) verified: u64,
    pub(super) wrong: u64,
    /// From when a message was sent or, in an open loop, was to be sent.
    pub(super) latency: Latencies,
    /// In an open loop: from when a message was really sent.
    pub(super) from_send: Latencies,
    /// Time from dialling to open, each connection.
    pub(super) opening: Latencies,
    pub(super) timeline: Timeline,
    /// What went wrong, in words, and how often.
    pub(super) troubles: BTreeMap<String, u64>,
    /// What the servers answered to the offer of extensions, of the last connection opened.
    pub(super) extensions: String,
}

/// Different troubles that are told apart.
const TROUBLES_MAX: usize = 32;

impl Tally {
    /// Takes note of a trouble; past so many different ones, only that there are more.
    pub(super) fn trouble(&mut self, what: String) {
        let known = self.troubles.len() < TROUBLES_MAX || self.troubles.contains_key(&what);
        *self.troubles.entry(if known { what } else { "others".to_owned() }).or_insert(0) += 1;
    }

    /// Adds what another thread saw.
    pub(super) fn add(&mut self, other: Tally) {
        self.opened += other.opened;
        self.failed += other.failed;
        self.lost += other.lost;
        self.done += other.done;
        self.sent += other.sent;
        self.unanswered += other.unanswered;
        self.unasked += other.unasked;
        self.verified += other.verified;
        self.wrong += other.wrong;
        self.latency.add(&other.latency);
        self.from_send.add(&other.from_send);
        self.opening.add(&other.opening);
        self.timeline.add(&other.timeline);
        for (what, count) in other.troubles {
            *self.troubles.entry(what).or_insert(0) += count;
        }
        if self.extensions.is_empty() {
            self.extensions = other.extensions;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::default();
        (1..=1_000).for_each(|us| latencies.record(us * 1_000, 1));
        for (percentile, us) in [(50.0, 500.0), (99.0, 990.0), (99.9, 999.0), (100.0, 1_000.0)] {
            let got = latencies.percentile_us(percentile);
            assert!((got / us - 1.0).abs() < 0.002, "{percentile}: {got}");
        }
        assert_eq!(latencies.count(), 1_000);
    }

    #[test]
    fn a_stall_counts_for_all_that_would_have_been_sent_meanwhile() {
        let mut latencies = Latencies::default();
        latencies.record(1_000, 99);
        latencies.record(100_000, 1);
        let corrected = latencies.corrected(1_000);
        assert_eq!(corrected.count(), 199); // 99 ms, 98 ms, … 1 ms besides
        assert!(latencies.percentile_us(90.0) < 2.0 && corrected.percentile_us(90.0) > 75.0);
    }

    #[test]
    fn what_took_longer_than_can_be_told_counts_as_the_longest() {
        let mut latencies = Latencies::default();
        latencies.record(u64::MAX, 1);
        assert!(latencies.max_us() * 1e3 >= LONGEST_NS as f64);
    }

    #[test]
    fn a_timeline_that_grows_too_long_halves_its_resolution_and_loses_nothing() {
        let mut timeline = Timeline::default();
        for stretch in 0..2_000 {
            timeline.record(stretch * STRETCH_NS, 3);
        }
        assert_eq!((timeline.stretch_ns, timeline.counts.len()), (4 * STRETCH_NS, 500));
        assert_eq!(timeline.counts.iter().sum::<u64>(), 6_000);
        let mut sum = Timeline::default();
        sum.record(0, 1);
        sum.add(&timeline);
        assert_eq!((sum.counts[0], sum.counts[499], sum.stretch_ns), (13, 12, timeline.stretch_ns));
    }

    #[test]
    fn rates_are_per_second_and_leave_out_what_is_not_whole() {
        let mut timeline = Timeline::default();
        for stretch in 0..50 {
            timeline.record(stretch * STRETCH_NS, 20);
        }
        let (rates, each) = timeline.rates(1.0, 25);
        assert_eq!((rates.len(), each), (25, 0.04));
        assert!(rates.iter().all(|rate| (rate - 1_000.0).abs() < 1e-6), "{rates:?}");
        assert_eq!(timeline.rates(0.031, 100).0.len(), 1);
        assert_eq!(Timeline::default().rates(0.0, 100).0, [0.0; 0]);
    }

    #[test]
    fn troubles_without_end_are_counted_and_not_kept() {
        let mut tally = Tally::default();
        (0..100).for_each(|i| tally.trouble(format!("trouble {i}")));
        assert_eq!(tally.troubles.len(), TROUBLES_MAX + 1);
        assert_eq!(tally.troubles.values().sum::<u64>(), 100);
    }
}
