//! A timing wheel: which peers to look at, and when. It holds a peer's earliest deadline, or a time before it;
//! a deadline that moves later, as each byte received moves it, touches nothing here.

use crate::time::Tick;

/// Deadlines of peers by index. Fires up to [`GRAIN_MS`] late, never early; allocates with the number of peers.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Box<[u32; SLOTS]>,
    occupied: [u64; SLOTS / 64],
    links: Vec<Link>,
    /// The first grain that has not been fired wholly.
    cursor: u64,
    /// No entry is due before this; may be too early, never too late.
    earliest: Option<Tick>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
    slot: u32,
}

/// Milliseconds that one slot covers.
const GRAIN_MS: u64 = 16;
/// With the grain, some 65 s ahead; what is due later is looked at then and put back.
const SLOTS: usize = 4096;
const NONE: u32 = u32::MAX;
/// Peers there is room for from the start: so much address space, and no memory until they come.
const PEERS: usize = 16 << 10;

impl Wheel {
    pub(super) fn new() -> Wheel {
        let heads = vec![NONE; SLOTS].into_boxed_slice().try_into().expect("it has SLOTS elements");
        Wheel {
            heads,
            occupied: [0; SLOTS / 64],
            links: Vec::with_capacity(PEERS),
            cursor: 0,
            earliest: None,
        }
    }

    /// Has `peer` looked at no later than `at`, or one grain after.
    pub(super) fn schedule(&mut self, peer: u32, at: Tick, now: Tick) {
        if self.earliest.is_none() {
            self.cursor = self.cursor.max(now.as_ms() / GRAIN_MS); // nothing was due meanwhile
        }
        // Rounded up, so that what is fired is due.
        let grain = at.as_ms().div_ceil(GRAIN_MS).clamp(self.cursor, self.cursor + SLOTS as u64 - 1);
        let slot = (grain % SLOTS as u64) as u32;
        if self.links.len() <= peer as usize {
            self.links.resize(peer as usize + 1, Link { previous: NONE, next: NONE, slot: NONE });
        }
        let current = self.links[peer as usize].slot;
        if current != NONE {
            if self.ahead(current) <= self.ahead(slot) {
                return;
            }
            self.cancel(peer);
        }
        let head = std::mem::replace(&mut self.heads[slot as usize], peer);
        self.links[peer as usize] = Link { previous: NONE, next: head, slot };
        if head != NONE {
            self.links[head as usize].previous = peer;
        }
        self.occupied[slot as usize / 64] |= 1 << (slot % 64);
        let due = Tick::from_ms(grain * GRAIN_MS);
        self.earliest = Some(self.earliest.map_or(due, |earliest| earliest.min(due)));
    }

    pub(super) fn cancel(&mut self, peer: u32) {
        let Some(link) = self.links.get_mut(peer as usize) else { return };
        let Link { previous, next, slot } = std::mem::replace(link, Link { slot: NONE, ..*link });
        if slot == NONE {
            return;
        }
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
        match previous {
            NONE => {
                self.heads[slot as usize] = next;
                if next == NONE {
                    self.occupied[slot as usize / 64] &= !(1 << (slot % 64));
                }
            }
            _ => self.links[previous as usize].next = next,
        }
    }

    /// When to call [`Wheel::poll`] next.
    #[inline]
    pub(super) fn next(&self) -> Option<Tick> {
        self.earliest
    }

    /// Takes out one peer that is to be looked at by `now`.
    pub(super) fn poll(&mut self, now: Tick) -> Option<u32> {
        if self.earliest? > now {
            return None;
        }
        let limit = now.as_ms() / GRAIN_MS;
        if let Some(grain) = self.first_occupied()
            && grain <= limit
        {
            self.cursor = grain;
            let peer = self.heads[(grain % SLOTS as u64) as usize];
            self.cancel(peer);
            return Some(peer);
        }
        self.cursor = self.cursor.max(limit);
        self.earliest = self.first_occupied().map(|grain| Tick::from_ms(grain * GRAIN_MS));
        None
    }

    /// The first grain from the cursor on that has an entry.
    fn first_occupied(&self) -> Option<u64> {
        let start = (self.cursor % SLOTS as u64) as usize;
        let words = self.occupied.len();
        (0..=words).find_map(|step| {
            let word = (start / 64 + step) % words;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            } else if step == words {
                bits &= !(u64::MAX << (start % 64));
            }
            let slot = word * 64 + bits.trailing_zeros() as usize;
            (bits != 0).then(|| self.cursor + self.ahead(slot as u32))
        })
    }

    /// How many grains after the cursor a slot comes round.
    fn ahead(&self, slot: u32) -> u64 {
        let slots = SLOTS as u64;
        (u64::from(slot) + slots - self.cursor % slots) % slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel, ms: u64) -> Vec<u32> {
        std::iter::from_fn(|| wheel.poll(Tick::from_ms(ms))).collect()
    }

    #[test]
    fn peers_are_fired_when_due_and_never_early() {
        let mut wheel = Wheel::new();
        wheel.schedule(1, Tick::from_ms(1_000), Tick::ZERO);
        wheel.schedule(2, Tick::from_ms(25_000), Tick::ZERO);
        wheel.schedule(3, Tick::from_ms(1_000), Tick::ZERO);
        assert!(wheel.next().unwrap() >= Tick::from_ms(1_000));
        assert_eq!(due(&mut wheel, 999), [0_u32; 0]);
        assert_eq!(due(&mut wheel, 1_016), [3, 1]);
        assert_eq!(due(&mut wheel, 24_999), [0_u32; 0]);
        assert_eq!(due(&mut wheel, 25_016), [2]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn an_earlier_deadline_replaces_a_later_one_and_not_the_other_way() {
        let mut wheel = Wheel::new();
        wheel.schedule(7, Tick::from_ms(5_000), Tick::ZERO);
        wheel.schedule(7, Tick::from_ms(9_000), Tick::ZERO);
        wheel.schedule(8, Tick::from_ms(9_000), Tick::ZERO);
        wheel.schedule(8, Tick::from_ms(5_000), Tick::ZERO);
        assert_eq!(due(&mut wheel, 5_016), [8, 7]);
        assert_eq!(due(&mut wheel, 10_000), [0_u32; 0]);
    }

    #[test]
    fn what_is_far_ahead_comes_up_for_another_look_and_a_cancelled_one_does_not() {
        let mut wheel = Wheel::new();
        wheel.schedule(0, Tick::from_ms(10_000_000), Tick::ZERO);
        wheel.schedule(1, Tick::from_ms(500), Tick::ZERO);
        wheel.cancel(1);
        wheel.cancel(1);
        assert_eq!(due(&mut wheel, 60_000), [0_u32; 0]);
        assert_eq!(due(&mut wheel, 66_000), [0]);
        wheel.schedule(0, Tick::from_ms(66_010), Tick::ZERO);
        assert_eq!(due(&mut wheel, 66_032), [0]);
    }
}
