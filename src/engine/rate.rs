//! So many a second, and as many at once as are allowed in one: what was taken, as the time until which it is paid for.

use crate::time::Tick;

/// Nanoseconds since the start until which all that was taken is paid for; never more than was taken in debt.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Paid(u64);

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

impl Paid {
    /// Takes `n`, be they there or not.
    pub(super) fn take(&mut self, now: Tick, n: u64, per_second: u32) {
        let cost = n.saturating_mul(SECOND) / u64::from(per_second.max(1));
        self.0 = self.0.max(nanoseconds(now)).saturating_add(cost);
    }

    /// How many may be taken now.
    pub(super) fn room(self, now: Tick, per_second: u32) -> u64 {
        let ahead = self.0.saturating_sub(nanoseconds(now));
        SECOND.saturating_sub(ahead) * u64::from(per_second) / SECOND
    }

    /// From when on one may be taken.
    pub(super) fn due(self, per_second: u32) -> Tick {
        let one = SECOND.div_ceil(u64::from(per_second.max(1)));
        Tick::from_ms(self.0.saturating_sub(SECOND - one).div_ceil(MILLISECOND))
    }

    /// Whether it is as if nothing had ever been taken.
    pub(super) fn is_settled(self, now: Tick) -> bool {
        self.0 <= nanoseconds(now)
    }
}

fn nanoseconds(now: Tick) -> u64 {
    now.as_ms().saturating_mul(MILLISECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_may_be_taken_at_once_and_then_one_at_a_time() {
        for per_second in [1, 3, 7, 1_000, 4_000_000_000] {
            let (mut paid, start) = (Paid::default(), Tick::from_ms(5_000));
            assert_eq!(paid.room(start, per_second), u64::from(per_second));
            paid.take(start, u64::from(per_second), per_second);
            assert_eq!(paid.room(start, per_second), 0, "{per_second}");
            let due = paid.due(per_second);
            assert!(paid.room(due, per_second) >= 1 && due > start, "{per_second}");
            assert_eq!(paid.room(Tick::from_ms(due.as_ms() - 1), per_second), 0, "{per_second}");
            assert!(!paid.is_settled(start) && paid.is_settled(Tick::from_ms(6_000)));
        }
    }

    #[test]
    fn what_was_taken_too_much_is_waited_for() {
        let mut paid = Paid::default();
        paid.take(Tick::ZERO, 50, 10);
        assert_eq!((paid.room(Tick::from_ms(4_000), 10), paid.due(10)), (0, Tick::from_ms(4_100)));
        paid.take(Tick::ZERO, u64::MAX, 1);
        assert_eq!(paid.room(Tick::from_ms(1 << 40), 1), 0);
    }
}
