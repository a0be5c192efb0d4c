//! Where bytes stay that one read did not bring whole or one write did not take: blocks of a pool, which a connection
//! holds only while it needs them.

use crate::wire::mask;
use memmap2::MmapMut;
use std::ops::{Deref, DerefMut};

/// Some memory, all of it initialised; what is in it is whatever its last user left. Two words.
#[derive(Debug)]
pub(crate) enum Block {
    Heap(Box<[u8]>),
    /// Its own pages, which go back to the operating system when it is dropped: an allocator keeps large blocks that
    /// lie below a small one in use, and a crowd's memory would stay long after the crowd.
    Mapped(Box<MmapMut>),
}

/// A block of this size and more gets pages of its own.
const MAPPED_BYTES: usize = 32 << 10;

impl Block {
    fn new(len: usize) -> Block {
        // Where the process has as many maps as it may have, the heap has to do.
        let mapped = (len >= MAPPED_BYTES).then(|| MmapMut::map_anon(len).ok()).flatten();
        mapped.map_or_else(|| Block::Heap(vec![0; len].into()), |map| Block::Mapped(Box::new(map)))
    }
}

impl Default for Block {
    fn default() -> Block {
        Block::Heap(Box::default())
    }
}

impl Deref for Block {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Block::Heap(bytes) => bytes,
            Block::Mapped(map) => map,
        }
    }
}

impl DerefMut for Block {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Block::Heap(bytes) => bytes,
            Block::Mapped(map) => map,
        }
    }
}

/// A block that is filled from the front; dereferences to what it is filled with.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    block: Block,
    len: u32,
}

impl Buffer {
    /// The first `len` bytes of `block`.
    pub(crate) fn of(block: Block, len: usize) -> Buffer {
        debug_assert!(len <= block.len());
        Buffer { block, len: len as u32 }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.block.len()
    }

    /// Appends; [`Pool::reserve`] has made room.
    #[inline]
    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        let len = self.len as usize;
        self.block[len..len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u32;
    }

    /// Appends what `payload` is under `key`; [`Pool::reserve`] has made room.
    #[inline]
    pub(crate) fn extend_masked(&mut self, payload: &[u8], key: [u8; 4]) {
        let len = self.len as usize;
        mask::copy(payload, key, &mut self.block[len..len + payload.len()]);
        self.len += payload.len() as u32;
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len as u32);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.block[..self.len as usize]
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.block[..self.len as usize]
    }
}

/// Free blocks in classes of doubling size, and how many bytes are out.
#[derive(Debug)]
pub(crate) struct Pool {
    classes: [Vec<Block>; CLASSES],
    idle_bytes: usize,
    idle_bytes_max: usize,
    held_bytes: usize,
}

const CLASSES: usize = 23;
const SMALLEST: usize = 512;
/// Beside its payload a block holds a header in front and a cut-off control frame behind.
const SLACK: usize = 192;

impl Pool {
    pub(crate) fn new(idle_bytes_max: usize) -> Pool {
        Pool { classes: Default::default(), idle_bytes: 0, idle_bytes_max, held_bytes: 0 }
    }

    /// Buffers above it go as others come back.
    pub(crate) fn set_idle_bytes_max(&mut self, idle_bytes_max: usize) {
        self.idle_bytes_max = idle_bytes_max;
    }

    /// Bytes of all blocks that are out.
    #[inline]
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Makes `block` at least `need` bytes long and keeps its first `used` bytes.
    ///
    /// An idle block of `want` bytes is taken where there is one: its pages are there already. A new one is made no
    /// larger than `need` asks, so that nobody grows memory by announcing.
    pub(crate) fn grow(&mut self, block: &mut Block, used: usize, need: usize, want: usize) {
        if block.len() >= need {
            return;
        }
        let mut larger = self.take_idle(want.max(need)).unwrap_or_else(|| self.take(need));
        let used = used.min(block.len());
        larger[..used].copy_from_slice(&block[..used]);
        self.give(std::mem::replace(block, larger));
    }

    /// Makes room for `more` bytes behind the content of `buffer`.
    #[inline]
    pub(crate) fn reserve(&mut self, buffer: &mut Buffer, more: usize) {
        if buffer.capacity() - buffer.len() < more {
            self.reserve_slow(buffer, more);
        }
    }

    #[inline(never)]
    fn reserve_slow(&mut self, buffer: &mut Buffer, more: usize) {
        let used = buffer.len();
        self.grow(&mut buffer.block, used, used + more, used + more);
    }

    /// An idle block of the class of `len`: a larger one would count against the budget for more than it is worth.
    fn take_idle(&mut self, len: usize) -> Option<Block> {
        let block = self.classes[class_for(len)].pop()?;
        self.idle_bytes -= block.len();
        self.held_bytes += block.len();
        Some(block)
    }

    /// A block of at least `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Block {
        self.take_idle(len).unwrap_or_else(|| {
            let block = Block::new(size_of_class(class_for(len)));
            self.held_bytes += block.len();
            block
        })
    }

    /// Gives a block back; an empty one that came from nowhere is welcome too.
    #[inline]
    pub(crate) fn give(&mut self, block: Block) {
        let bytes = block.len();
        if bytes == 0 {
            return;
        }
        debug_assert!(self.held_bytes >= bytes);
        self.held_bytes -= bytes;
        self.idle_bytes += bytes;
        self.classes[class_for(bytes)].push(block);
        if self.idle_bytes > self.idle_bytes_max + self.held_bytes {
            self.trim();
        }
    }

    /// Frees the largest until no more is idle than the limit, and as much again as is in use: what a busy crowd gives
    /// and takes is not freed each time, and goes when the crowd does.
    #[inline(never)]
    fn trim(&mut self) {
        for class in (0..CLASSES).rev() {
            while self.idle_bytes > self.idle_bytes_max + self.held_bytes {
                let Some(block) = self.classes[class].pop() else { break };
                self.idle_bytes -= block.len();
            }
        }
    }

    pub(crate) fn give_buffer(&mut self, buffer: &mut Buffer) {
        self.give(std::mem::take(buffer).block);
    }

    /// Frees what nobody uses, and the lists it was in.
    pub(crate) fn clear(&mut self) {
        self.classes = Default::default();
        self.idle_bytes = 0;
    }
}

/// The class whose blocks are the smallest of at least `len` bytes.
fn class_for(len: usize) -> usize {
    let class = len.saturating_sub(SLACK).div_ceil(SMALLEST).next_power_of_two().trailing_zeros() as usize;
    assert!(class < CLASSES, "a limit of 1 GiB on what is buffered in one piece was passed");
    class
}

fn size_of_class(class: usize) -> usize {
    (SMALLEST << class) + SLACK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_what_is_asked_of_it_and_takes_back_what_it_gave() {
        for len in [1, 512, 704, 705, 1216, 65_536, 65_728, 65_729, 1 << 20] {
            let class = class_for(len);
            assert!(size_of_class(class) >= len);
            assert!(class == 0 || size_of_class(class - 1) < len);
            assert_eq!(class_for(size_of_class(class)), class);
        }
    }

    #[test]
    fn a_block_is_two_words() {
        assert_eq!(size_of::<Block>(), 2 * size_of::<usize>());
    }

    #[test]
    fn what_is_given_back_above_the_cap_is_freed_and_what_is_out_is_counted() {
        let mut pool = Pool::new(1 << 20);
        let blocks: Vec<_> = (0..4).map(|_| pool.take(400_000)).collect();
        let each = blocks[0].len();
        assert_eq!(pool.held_bytes(), 4 * each);
        blocks.into_iter().for_each(|block| pool.give(block));
        assert_eq!((pool.held_bytes(), pool.idle_bytes), (0, each));
    }

    #[test]
    fn a_block_grows_by_what_came_not_by_what_is_announced() {
        let mut pool = Pool::new(1 << 20);
        let mut block = pool.take(600);
        block[..3].copy_from_slice(b"abc");
        pool.grow(&mut block, 3, 2_000, 16 << 20);
        assert!(block.len() >= 2_000 && block.len() < 4_000);
        assert_eq!(&block[..3], b"abc");
    }
}
