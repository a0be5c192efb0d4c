//! DEFLATE, RFC 1951, as permessage-deflate uses it (RFC 7692 §7.2): what one message becomes, and the way back.
//!
//! The algorithm is `flate2`'s. Here is what the extension adds to it: each message ends in an empty block whose last
//! four bytes are not sent, a final block may stand inside a message, and what is cut off is found out.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What ends a flush, and is left out on the wire: length and complement of an empty stored block. §7.2.1
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// An empty stored block that is the last one: at a block's boundary it ends the stream, anywhere else it does not.
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xff, 0xff];

/// Empty stored blocks: at a block's boundary they change nothing. They are more than the header of the longest
/// dynamic block (§3.2.7 of RFC 1951: under 570 bytes), and inside any other block they are content or an error; so
/// a stream that takes them all and brings forth nothing stands at a boundary.
const EMPTY_BLOCKS: [u8; 600] = {
    let mut bytes = [0; 600];
    let mut at = 3;
    while at < bytes.len() {
        bytes[at] = 0xff;
        bytes[at + 1] = 0xff;
        at += 5;
    }
    bytes
};

/// Final blocks that a message may hold. Each costs a new start of the codec, which a peer could ask for by the byte.
const FINAL_BLOCKS_MAX: u32 = 256;

/// How far back DEFLATE can refer at most. RFC 1951 §2
const WINDOW_BYTES_MAX: usize = 32 << 10;

/// Compresses messages with one window size and level.
#[derive(Debug)]
pub struct Compressor {
    codec: Compress,
}

impl Compressor {
    /// # Panics
    /// When `level` is not 1 to 9, or `window_bits` not 9 to 15.
    pub fn new(level: u8, window_bits: u8) -> Compressor {
        assert!((1..=9).contains(&level) && (9..=15).contains(&window_bits), "{level}, {window_bits}");
        let level = Compression::new(u32::from(level));
        Compressor { codec: Compress::new_with_window_bits(level, false, window_bits) }
    }

    /// Memory that one takes, in bytes.
    pub const fn bytes(window_bits: u8) -> u64 {
        248_960 + (4 << window_bits)
    }

    /// Forgets the messages before: the next one refers to none of them. §7.1.1
    pub fn reset(&mut self) {
        self.codec.reset();
    }

    /// Writes what `payload` becomes to the front of `out`; how many bytes, or `None` where they do not fit: then
    /// nothing of it may be sent, and [`Compressor::reset`] comes before the next message. §7.2.1
    pub fn compress(&mut self, payload: &[u8], out: &mut [u8]) -> Option<usize> {
        let (start_in, start_out) = (self.codec.total_in(), self.codec.total_out());
        let status = self.codec.compress(payload, out, FlushCompress::Sync);
        let written = (self.codec.total_out() - start_out) as usize;
        let all_in = self.codec.total_in() - start_in == payload.len() as u64;
        // Where there is room left, the flush is complete.
        let whole = matches!(status, Ok(Status::Ok)) && all_in && written < out.len();
        let len = (whole && out[..written].ends_with(&TAIL)).then(|| written - TAIL.len());
        if len.is_none() {
            self.drain();
        }
        len
    }

    /// Has the codec write what it holds of a message that did not fit, and end its block: [`Compress::reset`] forgets
    /// what was written, but not the room it took in a buffer of the codec's, which panics once there is none left;
    /// nor, at level 1, that a block was open.
    fn drain(&mut self) {
        let mut rest = [0; 4_096];
        loop {
            let start = self.codec.total_out();
            let status = self.codec.compress(&[], &mut rest, FlushCompress::Sync);
            if status.is_err() || self.codec.total_out() - start < rest.len() as u64 {
                return;
            }
        }
    }
}

/// Inflates messages, of any window size.
#[derive(Debug)]
pub struct Inflater {
    codec: Decompress,
}

impl Inflater {
    /// Memory that one takes, in bytes.
    pub const BYTES: u64 = 47_552;

    /// One that knows of no message.
    #[allow(clippy::new_without_default)] // it is no value but 46 KiB
    pub fn new() -> Inflater {
        Inflater { codec: Decompress::new(false) }
    }

    /// Begins a message, which may refer to those before it where `keeps_context`. §7.2.2
    pub fn begin<'a>(&'a mut self, payload: &'a [u8], keeps_context: bool) -> Inflation<'a> {
        if !keeps_context {
            self.codec.reset(false);
        }
        Inflation {
            codec: &mut self.codec,
            rest: payload,
            feed: Feed::Payload,
            keeps_context,
            final_blocks: 0,
        }
    }
}

/// A message that is being inflated.
#[derive(Debug)]
pub struct Inflation<'a> {
    codec: &'a mut Decompress,
    /// What of `feed` the codec has not taken.
    rest: &'a [u8],
    feed: Feed,
    keeps_context: bool,
    final_blocks: u32,
}

/// What the codec is given, in this order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Feed {
    Payload,
    /// The four bytes that were not sent.
    Tail,
    /// What tells whether the stream stands at a boundary of blocks, as it must: else the message was cut off.
    Boundary,
}

/// How far a message is inflated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Inflated {
    /// So many bytes of the output are filled, and more come.
    Part(usize),
    /// So many are, and that is all.
    Whole(usize),
}

/// A compressed message that is no DEFLATE stream, or a cut-off one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidDeflate;

impl Inflation<'_> {
    /// Inflates into `out` from `filled` on until it is full or the message at its end. `out` holds what was inflated
    /// of this message before, and has room for at least one byte.
    ///
    /// # Errors
    /// [`InvalidDeflate`]
    pub fn step(&mut self, out: &mut [u8], mut filled: usize) -> Result<Inflated, InvalidDeflate> {
        debug_assert!(filled < out.len());
        loop {
            let (start_in, start_out) = (self.codec.total_in(), self.codec.total_out());
            let status = self.codec.decompress(self.rest, &mut out[filled..], FlushDecompress::None);
            let taken = (self.codec.total_in() - start_in) as usize;
            let given = (self.codec.total_out() - start_out) as usize;
            self.rest = &self.rest[taken..];
            filled += given;
            match (status, self.feed) {
                (Err(_), _) => return Err(InvalidDeflate),
                // §7.2.1: all that was not sent is the length of an empty block; what else it seems was cut off.
                (_, Feed::Tail | Feed::Boundary) if given > 0 => return Err(InvalidDeflate),
                (Ok(status), Feed::Boundary) => {
                    // Where a stream is to go on it was given nothing that ends it.
                    let ended = status == Status::StreamEnd;
                    return if self.rest.is_empty() && ended != self.keeps_context {
                        Ok(Inflated::Whole(filled))
                    } else {
                        Err(InvalidDeflate)
                    };
                }
                // §7.2.3.4: a final block may stand inside; one that ends the payload may lack the block behind it.
                (Ok(Status::StreamEnd), feed) => {
                    self.restart(&out[..filled])?;
                    match feed {
                        _ if self.rest.is_empty() => return Ok(Inflated::Whole(filled)),
                        Feed::Payload => {}
                        _ => return Err(InvalidDeflate),
                    }
                }
                (Ok(_), _) if filled == out.len() => return Ok(Inflated::Part(filled)),
                (Ok(_), _) if self.rest.is_empty() => self.feed_next(),
                (Ok(_), _) if taken + given == 0 => return Err(InvalidDeflate),
                (Ok(_), _) => {}
            }
        }
    }

    /// Whether a final block stood inside: not every inflater goes on behind one.
    pub fn has_final_block(&self) -> bool {
        self.final_blocks > 0
    }

    fn feed_next(&mut self) {
        let (feed, rest): (Feed, &'static [u8]) = match self.feed {
            Feed::Payload => (Feed::Tail, &TAIL),
            _ if self.keeps_context => (Feed::Boundary, &EMPTY_BLOCKS),
            _ => (Feed::Boundary, &LAST_BLOCK),
        };
        (self.feed, self.rest) = (feed, rest);
    }

    /// Goes on behind a final block, after which the codec takes nothing more; what follows may refer to what came of
    /// this message. The window of the messages before is lost with the codec's state, which does not give it out: who
    /// ends a block so starts anew itself.
    fn restart(&mut self, inflated: &[u8]) -> Result<(), InvalidDeflate> {
        self.final_blocks += 1;
        if self.final_blocks > FINAL_BLOCKS_MAX {
            return Err(InvalidDeflate);
        }
        self.codec.reset(false);
        let window = &inflated[inflated.len().saturating_sub(WINDOW_BYTES_MAX)..];
        self.codec.set_dictionary(window).map(drop).map_err(|_| InvalidDeflate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflate(
        inflater: &mut Inflater,
        payload: &[u8],
        keeps: bool,
        step: usize,
    ) -> Result<Vec<u8>, InvalidDeflate> {
        let mut inflation = inflater.begin(payload, keeps);
        let (mut out, mut filled) = (Vec::new(), 0);
        loop {
            out.resize(filled + step, 0);
            match inflation.step(&mut out, filled)? {
                Inflated::Part(n) => filled = n,
                Inflated::Whole(n) => {
                    out.truncate(n);
                    return Ok(out);
                }
            }
        }
    }

    fn compress(compressor: &mut Compressor, message: &[u8]) -> Vec<u8> {
        let mut out = vec![0; message.len() + 64];
        let n = compressor.compress(message, &mut out).unwrap();
        out.truncate(n);
        out
    }

    #[test]
    fn s7_2_3_the_examples_are_hello() {
        let mut inflater = Inflater::new();
        for step in [1, 2, 5, 64] {
            for payload in [
                &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..],                    // §7.2.3.1
                b"\x00\x05\x00\xfa\xffHello\x00",                        // §7.2.3.3
                b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",                     // §7.2.3.4
                b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", // §7.2.3.5
            ] {
                for keeps in [false, true] {
                    let mut fresh = Inflater::new();
                    assert_eq!(inflate(&mut fresh, payload, keeps, step), Ok(b"Hello".to_vec()));
                }
                assert_eq!(inflate(&mut inflater, payload, false, step), Ok(b"Hello".to_vec()));
            }
        }
        // §7.2.3.2: the second Hello refers to the first.
        let mut inflater = Inflater::new();
        assert_eq!(inflate(&mut inflater, b"\xf2\x48\xcd\xc9\xc9\x07\x00", true, 64), Ok(b"Hello".to_vec()));
        assert_eq!(inflate(&mut inflater, b"\xf2\x00\x11\x00\x00", true, 64), Ok(b"Hello".to_vec()));
        assert_eq!(inflate(&mut inflater, b"\xf2\x00\x11\x00\x00", false, 64), Err(InvalidDeflate));
    }

    #[test]
    fn s7_2_1_what_is_compressed_is_inflated_again_and_no_prefix_of_it_is() {
        let message: Vec<u8> = (0..3_000u32).flat_map(|i| format!("{},", i * i % 977).into_bytes()).collect();
        for level in [1, 3, 6, 9] {
            for bits in 9..=15 {
                let mut compressor = Compressor::new(level, bits);
                let (mut shared, mut own) = (Inflater::new(), Inflater::new());
                let first = compress(&mut compressor, &message);
                let second = compress(&mut compressor, &message[..700]);
                assert_eq!(inflate(&mut shared, &first, false, 1 << 16).as_ref(), Ok(&message));
                assert_eq!(inflate(&mut own, &first, true, 1 << 16).as_ref(), Ok(&message));
                assert_eq!(inflate(&mut own, &second, true, 1 << 16), Ok(message[..700].to_vec()));
                if level == 6 && bits == 15 {
                    for cut in 0..first.len() {
                        for keeps in [false, true] {
                            let cut_off = inflate(&mut Inflater::new(), &first[..cut], keeps, 1 << 16);
                            assert_eq!(cut_off, Err(InvalidDeflate), "{cut}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn s7_2_3_4_final_blocks_may_follow_each_other_or_end_the_payload_but_not_without_end() {
        let mut inflater = Inflater::new();
        let hello = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
        assert_eq!(inflate(&mut inflater, hello, false, 64), Ok(b"Hello".to_vec()));
        assert_eq!(
            inflate(&mut inflater, &[&hello[..], hello, b"\0"].concat(), false, 64),
            Ok(b"HelloHello".to_vec())
        );
        assert_eq!(inflate(&mut inflater, b"\x01", false, 64), Ok(Vec::new()));
        // What follows may refer to what was before the final block.
        let with_match = [&hello[..], b"\xf2\x00\x11\x00\x00"].concat();
        assert_eq!(inflate(&mut inflater, &with_match, false, 64), Ok(b"HelloHello".to_vec()));
        assert_eq!(inflate(&mut inflater, &b"\x03\x00".repeat(256), false, 64), Ok(Vec::new()));
        assert_eq!(inflate(&mut inflater, &b"\x03\x00".repeat(257), false, 64), Err(InvalidDeflate));
        assert_eq!(inflate(&mut inflater, b"\xf2\x48\xcd\xc9\xc9\x07\x00", false, 64), Ok(b"Hello".to_vec()));
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut state = len as u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn what_does_not_become_smaller_does_not_fit() {
        let noise = noise(4_096);
        let mut compressor = Compressor::new(3, 15);
        assert_eq!(compressor.compress(&noise, &mut vec![0; noise.len()]), None);
        compressor.reset();
        let payload = compress(&mut compressor, b"Hello Hello Hello");
        assert_eq!(inflate(&mut Inflater::new(), &payload, false, 64), Ok(b"Hello Hello Hello".to_vec()));
    }

    #[test]
    fn what_does_not_fit_again_and_again_leaves_nothing_behind() {
        let noise = noise(90_000);
        for level in 1..=9 {
            for bits in [9, 15] {
                let mut compressor = Compressor::new(level, bits);
                for len in [300, 5_000, 90_000] {
                    for _ in 0..5 {
                        for room in [0, 1, 5, len / 2] {
                            assert_eq!(compressor.compress(&noise[..len], &mut vec![0; room]), None);
                            compressor.reset();
                            let payload = compress(&mut compressor, b"Hello Hello Hello");
                            let inflated = inflate(&mut Inflater::new(), &payload, false, 64);
                            assert_eq!(inflated, Ok(b"Hello Hello Hello".to_vec()), "{level}, {bits}");
                            compressor.reset();
                        }
                    }
                }
            }
        }
    }
}
