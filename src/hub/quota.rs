//! How fast a connection may ask for things.

use crate::time::Tick;

/// A bucket that fills with time, and from which each action takes one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// Thousandths of actions that are left.
    left: u64,
    at: Tick,
    /// Refused since it was full.
    refused: u32,
}

/// What a bucket says to one more action.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Allowed,
    /// One too many. `first`: since the bucket was full.
    Refused {
        first: bool,
    },
    /// So many were too many that it is no accident.
    Flood,
}

/// How a bucket fills. 0 of either: it is never empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) per_second: u32,
    pub(super) burst: u32,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(now: Tick, rate: Rate) -> Bucket {
        Bucket { left: u64::from(rate.burst) * 1_000, at: now, refused: 0 }
    }

    /// Takes one.
    pub(super) fn take(&mut self, now: Tick, rate: Rate) -> Verdict {
        if rate.per_second == 0 || rate.burst == 0 {
            return Verdict::Allowed;
        }
        let full = u64::from(rate.burst) * 1_000;
        let elapsed = now.as_ms().saturating_sub(self.at.as_ms());
        // In a millisecond there come as many thousandths as there come whole ones in a second.
        self.left = self.left.saturating_add(elapsed.saturating_mul(u64::from(rate.per_second))).min(full);
        self.at = now;
        if self.left == full {
            self.refused = 0;
        }
        if self.left >= 1_000 {
            self.left -= 1_000;
            return Verdict::Allowed;
        }
        self.refused += 1;
        if self.refused > rate.burst { Verdict::Flood } else { Verdict::Refused { first: self.refused == 1 } }
    }

    /// Takes more for an action that was taken for one and cost as much as so many more; what is not there is not owed.
    pub(super) fn charge(&mut self, actions: usize) {
        self.left = self.left.saturating_sub((actions as u64).saturating_mul(1_000));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_what_the_rate_allows_and_a_flood_is_told_from_an_accident() {
        let rate = Rate { per_second: 2, burst: 3 };
        let mut bucket = Bucket::new(Tick::ZERO, rate);
        let at = Tick::from_ms;
        for _ in 0..3 {
            assert_eq!(bucket.take(at(0), rate), Verdict::Allowed);
        }
        assert_eq!(bucket.take(at(499), rate), Verdict::Refused { first: true });
        assert_eq!(bucket.take(at(500), rate), Verdict::Allowed);
        assert_eq!(bucket.take(at(501), rate), Verdict::Refused { first: false });
        assert_eq!(bucket.take(at(502), rate), Verdict::Refused { first: false });
        assert_eq!(bucket.take(at(503), rate), Verdict::Flood);
        assert_eq!(bucket.take(at(60_000), rate), Verdict::Allowed);
        for _ in 0..2 {
            bucket.take(at(60_000), rate);
        }
        assert_eq!(bucket.take(at(60_000), rate), Verdict::Refused { first: true });
    }

    #[test]
    fn what_costs_more_than_one_takes_more_and_leaves_no_debt() {
        let rate = Rate { per_second: 10, burst: 10 };
        let mut bucket = Bucket::new(Tick::ZERO, rate);
        bucket.charge(8);
        assert_eq!(bucket.take(Tick::ZERO, rate), Verdict::Allowed);
        bucket.charge(1_000);
        assert_eq!(bucket.take(Tick::ZERO, rate), Verdict::Refused { first: true });
        assert_eq!(bucket.take(Tick::from_ms(100), rate), Verdict::Allowed);
    }

    #[test]
    fn a_rate_of_zero_is_none() {
        let rate = Rate { per_second: 0, burst: 10 };
        let mut bucket = Bucket::new(Tick::ZERO, rate);
        assert!((0..1_000).all(|_| bucket.take(Tick::ZERO, rate) == Verdict::Allowed));
    }
}
