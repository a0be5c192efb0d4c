//! Booleans and small numbers of which a struct has many and there is one struct for each idle connection.

/// Sixteen bits. What each means, or some together, is a constant beside the struct that has them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bits(u16);

impl Bits {
    /// Whether it is true; of several, whether one of them is.
    #[inline]
    pub(crate) const fn has(self, bit: u16) -> bool {
        self.0 & bit != 0
    }

    #[inline]
    pub(crate) const fn set(&mut self, bit: u16, on: bool) {
        self.0 = self.0 & !bit | if on { bit } else { 0 };
    }

    /// The number that the bits of `mask`, which are neighbours, are.
    #[inline]
    pub(crate) const fn number(self, mask: u16) -> u16 {
        (self.0 & mask) >> mask.trailing_zeros()
    }

    pub(crate) const fn set_number(&mut self, mask: u16, number: u16) {
        debug_assert!(number <= mask >> mask.trailing_zeros());
        self.0 = self.0 & !mask | number << mask.trailing_zeros();
    }

    /// Sets it; what it was.
    #[inline]
    pub(crate) const fn replace(&mut self, bit: u16, on: bool) -> bool {
        let was = self.has(bit);
        self.set(bit, on);
        was
    }
}
