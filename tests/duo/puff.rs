//! A second inflater: RFC 1951 bit by bit, as slowly as it is written there, sharing no code with the first. It knows
//! where blocks end, so what is cut off is seen, and how far back a stream refers.

/// How far back DEFLATE can refer at most, and what is remembered of messages before. RFC 1951 §2
const WINDOW_BYTES_MAX: usize = 32 << 10;

/// Why a payload is no message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bad {
    /// It is no DEFLATE data.
    Invalid,
    /// It ends elsewhere than behind the first bits of an empty stored block, or behind a final block.
    Cut,
    /// It inflates to more than was allowed.
    TooBig,
}

/// Inflates the messages of one direction.
#[derive(Clone, Debug, Default)]
pub struct Puff {
    history: Vec<u8>,
    /// The farthest that a message referred back so far.
    pub distance_max: usize,
    /// Final blocks of the last message.
    pub final_blocks: usize,
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, n: usize) -> Result<usize, Bad> {
        let mut value = 0;
        for i in 0..n {
            let byte = self.bytes.get(self.at / 8).ok_or(Bad::Cut)?;
            value |= usize::from(byte >> (self.at % 8) & 1) << i;
            self.at += 1;
        }
        Ok(value)
    }
}

/// A canonical Huffman code: how many codes there are of each length, and the symbols in their order. §3.2.2
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    /// `None` where the lengths are no code: too many, or too few but for a single one of one bit.
    fn new(lengths: &[usize]) -> Option<Code> {
        let mut counts = [0; 16];
        lengths.iter().for_each(|&length| counts[length] += 1);
        let used = lengths.len() - counts[0];
        counts[0] = 0;
        let mut left = 1_isize;
        for &count in &counts[1..] {
            left = left * 2 - count as isize;
            if left < 0 {
                return None;
            }
        }
        if left > 0 && !(used == 0 || used == 1 && counts[1] == 1) {
            return None;
        }
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|&symbol| lengths[symbol] > 0).collect();
        symbols.sort_by_key(|&symbol| lengths[symbol]);
        Some(Code { counts, symbols })
    }

    fn take(&self, bits: &mut Bits<'_>) -> Result<usize, Bad> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for &count in &self.counts[1..] {
            code |= bits.take(1)?;
            if code < first + count {
                return Ok(self.symbols[index + code - first]);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(Bad::Invalid)
    }
}

impl Puff {
    /// What `payload` inflates to, at most `limit` bytes. It may refer to the messages before unless
    /// [`Puff::forget`] was called between; but behind a final block to its own message only.
    pub fn inflate(&mut self, payload: &[u8], limit: usize) -> Result<Vec<u8>, Bad> {
        let start = self.history.len();
        let mut out = std::mem::take(&mut self.history);
        self.final_blocks = 0;
        let inflated = self.blocks(&mut Bits { bytes: payload, at: 0 }, &mut out, start, limit);
        let forgotten = inflated?;
        let message = out[start..].to_vec();
        out.drain(..forgotten.max(out.len().saturating_sub(WINDOW_BYTES_MAX)));
        self.history = out;
        Ok(message)
    }

    /// The next message refers to none before it.
    pub fn forget(&mut self) {
        self.history.clear();
    }

    /// Takes all blocks; how much of `out` the next message may not refer to.
    fn blocks(
        &mut self,
        bits: &mut Bits<'_>,
        out: &mut Vec<u8>,
        start: usize,
        limit: usize,
    ) -> Result<usize, Bad> {
        let mut forgotten = 0;
        loop {
            let is_final = bits.take(1)? == 1;
            match bits.take(2)? {
                0 => {
                    let at = bits.at.div_ceil(8);
                    let rest = &bits.bytes[at.min(bits.bytes.len())..];
                    if rest.is_empty() {
                        // What comes next was not sent: an empty block.
                        self.final_blocks += usize::from(is_final);
                        return Ok(if is_final { start } else { forgotten });
                    }
                    let len = stored_len(rest)?;
                    let content = rest.get(4..).unwrap_or_default();
                    if out.len() - start + len.min(content.len()) > limit {
                        return Err(Bad::TooBig);
                    }
                    out.extend_from_slice(content.get(..len).ok_or(Bad::Cut)?);
                    bits.at = 8 * (at + 4 + len);
                }
                kind @ (1 | 2) => {
                    let (lengths, distances) = if kind == 1 { fixed() } else { dynamic(bits)? };
                    let lengths = Code::new(&lengths).ok_or(Bad::Invalid)?;
                    let distances = Code::new(&distances).ok_or(Bad::Invalid)?;
                    self.symbols(bits, &lengths, &distances, out, (start, forgotten, limit))?;
                }
                _ => return Err(Bad::Invalid),
            }
            if is_final {
                self.final_blocks += 1;
                forgotten = start;
                bits.at = bits.at.next_multiple_of(8);
                if bits.at == 8 * bits.bytes.len() {
                    return Ok(forgotten);
                }
            }
        }
    }

    /// One block's content. §3.2.3, §3.2.5
    fn symbols(
        &mut self,
        bits: &mut Bits<'_>,
        lengths: &Code,
        distances: &Code,
        out: &mut Vec<u8>,
        (start, forgotten, limit): (usize, usize, usize),
    ) -> Result<(), Bad> {
        loop {
            match lengths.take(bits)? {
                symbol @ 0..256 => {
                    if out.len() - start == limit {
                        return Err(Bad::TooBig);
                    }
                    out.push(symbol as u8);
                }
                256 => return Ok(()),
                symbol @ 257..286 => {
                    let (base, extra) = length_of(symbol - 257);
                    let len = base + bits.take(extra)?;
                    let symbol = distances.take(bits)?;
                    if symbol > 29 {
                        return Err(Bad::Invalid);
                    }
                    let (base, extra) = distance_of(symbol);
                    let distance = base + bits.take(extra)?;
                    if distance > out.len() - forgotten {
                        return Err(Bad::Invalid);
                    }
                    self.distance_max = self.distance_max.max(distance);
                    for _ in 0..len {
                        if out.len() - start == limit {
                            return Err(Bad::TooBig);
                        }
                        out.push(out[out.len() - distance]);
                    }
                }
                _ => return Err(Bad::Invalid),
            }
        }
    }
}

/// The length of a stored block. §3.2.4
fn stored_len(rest: &[u8]) -> Result<usize, Bad> {
    let &[a, b, c, d, ..] = rest else { return Err(Bad::Cut) };
    if (a, b) != (!c, !d) {
        return Err(Bad::Invalid);
    }
    Ok(usize::from(u16::from_le_bytes([a, b])))
}

/// §3.2.6
fn fixed() -> (Vec<usize>, Vec<usize>) {
    let lengths = (0..288).map(|symbol| match symbol {
        0..144 => 8,
        144..256 => 9,
        256..280 => 7,
        _ => 8,
    });
    (lengths.collect(), vec![5; 32])
}

/// §3.2.7
fn dynamic(bits: &mut Bits<'_>) -> Result<(Vec<usize>, Vec<usize>), Bad> {
    let (literals, distances, codes) = (bits.take(5)? + 257, bits.take(5)? + 1, bits.take(4)? + 4);
    if literals > 286 || distances > 30 {
        return Err(Bad::Invalid);
    }
    let mut of_codes = [0; 19];
    for place in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15].into_iter().take(codes) {
        of_codes[place] = bits.take(3)?;
    }
    let used = of_codes.iter().filter(|&&length| length > 0).count();
    let code = Code::new(&of_codes).filter(|_| used > 1).ok_or(Bad::Invalid)?;
    let mut lengths: Vec<usize> = Vec::new();
    while lengths.len() < literals + distances {
        let (value, times) = match code.take(bits)? {
            16 => (*lengths.last().ok_or(Bad::Invalid)?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length, 1),
        };
        lengths.resize(lengths.len() + times, value);
    }
    if lengths.len() > literals + distances || lengths[256] == 0 {
        return Err(Bad::Invalid);
    }
    let distances = lengths.split_off(literals);
    Ok((lengths, distances))
}

/// The least length of a symbol past 256, and its extra bits. §3.2.5
fn length_of(symbol: usize) -> (usize, usize) {
    match symbol {
        0..8 => (symbol + 3, 0),
        28 => (258, 0),
        _ => {
            let extra = symbol / 4 - 1;
            (((4 + symbol % 4) << extra) + 3, extra)
        }
    }
}

/// The same for a distance. §3.2.5
fn distance_of(symbol: usize) -> (usize, usize) {
    match symbol {
        0..4 => (symbol + 1, 0),
        _ => {
            let extra = symbol / 2 - 1;
            (((2 + symbol % 2) << extra) + 1, extra)
        }
    }
}

/// `payload` in stored blocks: what any compressor may send. RFC 7692 §7.2.3.3
pub fn stored(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for block in payload.chunks(0xffff) {
        let len = block.len() as u16;
        out.push(0);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.push(0);
    out
}
