//! What is decided by chance: by a seed, so that a run can be had again as far as sockets and clocks allow.

/// SplitMix64. Not for secrets.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Those of one part of a run, which `part` numbers: no two parts roll the same.
    pub fn new(seed: u64, part: u64) -> Dice {
        let mut dice = Dice(seed ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        dice.roll();
        dice
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, and without, `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }

    pub fn between(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn among<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    /// So many letters and digits that do not compress to nothing, and stand in JSON as they are.
    pub fn filler(&mut self, len: usize) -> String {
        const LETTERS: &[u8; 64] = b"etaoin shrdlu cmfwyp vbgkjq xz eationETAOIN SHRDLU-0123456789.,_";
        let mut text = String::with_capacity(len);
        while text.len() < len {
            let mut bits = self.roll();
            for _ in 0..10.min(len - text.len()) {
                text.push(char::from(LETTERS[(bits & 63) as usize]));
                bits >>= 6;
            }
        }
        text
    }
}
