//! How a stream is cut into pieces: a function of a seed, so that an input shows the same thing again.

/// A source of piece sizes.
#[derive(Clone, Debug)]
pub struct Chop {
    state: u64,
    largest: usize,
}

const PIECES_MAX: usize = 2_000;

impl Chop {
    /// The pieces of `seed`. Its low three bits choose how large they may be, from single bytes to 64 KiB.
    pub fn new(seed: u16) -> Chop {
        let largest = [1, 2, 7, 20, 150, 1_500, 9_000, 65_536][usize::from(seed & 7)];
        Chop { state: u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, largest }
    }

    /// The same pieces, made larger where a stream of `len` bytes would come in more than some thousands of them.
    pub fn for_stream(seed: u16, len: usize) -> Chop {
        let mut chop = Chop::new(seed);
        chop.largest = chop.largest.max(len / PIECES_MAX);
        chop
    }

    /// A number below `bound`, which is above 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // xorshift64
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as usize % bound
    }

    /// Bytes of the next piece: at least one, at most `left`, which is above 0.
    pub fn piece(&mut self, left: usize) -> usize {
        (1 + self.below(self.largest)).min(left)
    }

    /// How much of `len` bytes a socket takes: perhaps nothing, often all.
    pub fn taken(&mut self, len: usize) -> usize {
        match self.below(4) {
            0 => 0,
            1 => self.below(self.largest + 1).min(len),
            2 => self.below(len + 1),
            _ => len,
        }
    }
}
