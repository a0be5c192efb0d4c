//! Time as a value: ticks and wall-clock milliseconds that somebody else read. Nothing here reads a clock.

/// Milliseconds since the loop started; never goes back. The unit of every deadline.
///
/// ```
/// use sockeye::Tick;
/// assert_eq!(Tick::from_ms(40).after(2), Tick::from_ms(42));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tick(u64);

impl Tick {
    /// The moment the loop started.
    pub const ZERO: Tick = Tick(0);

    /// The tick `ms` milliseconds after the start.
    pub const fn from_ms(ms: u64) -> Tick {
        Tick(ms)
    }

    /// Milliseconds since the start.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// The tick `ms` milliseconds later.
    #[must_use]
    pub const fn after(self, ms: u32) -> Tick {
        Tick(self.0.saturating_add(ms as u64))
    }

    /// The nearer of two deadlines, of which there may be none. (The least of an array of options is ten times the
    /// instructions, some of which wait for each other; a loop asks for it three times a turn.)
    #[inline]
    pub(crate) fn nearer(one: Option<Tick>, other: Option<Tick>) -> Option<Tick> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
}

/// One reading of the clocks, made once per wake of the loop and passed to everything below it.
///
/// ```
/// use sockeye::{Now, Tick};
/// let now = Now { tick: Tick::from_ms(7), unix_ms: 1_795_219_719_780 };
/// assert_eq!(now.tick.as_ms(), 7);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Now {
    /// Monotonic time.
    pub tick: Tick,
    /// Wall-clock time, in milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
}

/// The low 32 bits of a [`Tick`]: what a connection stores, at half the size.
///
/// Only the span since a stamp is ever asked for. It is right for spans under 49 days, and each is
/// compared with a limit that a timer enforces, so none grows older than that limit and one wake.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Stamp(u32);

impl Stamp {
    pub(crate) const fn at(tick: Tick) -> Stamp {
        Stamp(tick.0 as u32)
    }

    /// Milliseconds from this stamp to `now`.
    pub(crate) const fn elapsed(self, now: Tick) -> u32 {
        (now.0 as u32).wrapping_sub(self.0)
    }

    /// The tick at which `ms` milliseconds have passed since this stamp; `now` itself if they have.
    pub(crate) const fn due(self, ms: u32, now: Tick) -> Tick {
        Tick(now.0 + ms.saturating_sub(self.elapsed(now)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_measures_across_the_wrap_of_its_32_bits() {
        let early = Tick::from_ms(u64::from(u32::MAX) - 4);
        let late = early.after(10);
        assert_eq!(Stamp::at(early).elapsed(late), 10);
        assert_eq!(Stamp::at(early).due(25, late), late.after(15));
        assert_eq!(Stamp::at(early).due(10, late), late);
    }
}
