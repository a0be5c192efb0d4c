//! A stream of frames that is nearly valid, made from a fuzzer's bytes.
//!
//! All is taken from the front of the input, byte by byte, so that `examples/seeds.rs` can write inputs by hand and
//! a mutation changes one thing. What is missing reads as 0. First six bytes: role and limits, reply, then two
//! 16-bit seeds for the pieces of reading and of writing. Then commands, one byte each with its arguments behind.

use crate::chop::Chop;
use arbitrary::{Arbitrary, Result, Unstructured};
use sockeye::{Config, Role};

/// One input of the `connection` target.
#[derive(Debug)]
pub struct Script {
    /// Sockeye's side.
    pub role: Role,
    /// Limits so low that most of them are met.
    pub low_limits: bool,
    /// A soft mark so low that every reply is a backlog.
    pub low_mark: bool,
    /// What the handler does with a message.
    pub reply: Reply,
    /// How reads are cut.
    pub read_seed: u16,
    /// How writes are cut.
    pub write_seed: u16,
    /// What the peer sends after the handshake.
    pub frames: Vec<u8>,
}

/// What the handler does with a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reply {
    /// Sends it back, as it is.
    Echo,
    /// Sends a copy of it back, which is not recognised as an echo.
    Copy,
    /// Sends it back twice.
    Twice,
    /// Sends something else, then the message, then a Ping.
    Among,
    /// Publishes it to itself and a second peer.
    Publish,
    /// Sends it to itself and a second peer, by their ids.
    Broadcast,
    /// Sends it back, and does not want to read for now.
    Pause,
    /// Sends back the first two, then closes.
    Close,
}

const REPLIES: [Reply; 8] = [
    Reply::Echo,
    Reply::Copy,
    Reply::Twice,
    Reply::Among,
    Reply::Publish,
    Reply::Broadcast,
    Reply::Pause,
    Reply::Close,
];

/// Most bytes of a stream.
const STREAM_BYTES_MAX: usize = 160_000;

impl Script {
    /// The settings of both ends.
    pub fn config(&self) -> Config {
        let mut config = Config::default();
        // Large enough for a 64-bit length, small enough for a fuzzer.
        config.limits.message_bytes_max = if self.low_limits { 300 } else { 70_000 };
        config.limits.fragments_max = if self.low_limits { 3 } else { 131_072 };
        // Never above the hard mark: whether a peer is above it depends on how its bytes were cut.
        config.limits.outbox_bytes_soft = if self.low_mark { 40 } else { 1 << 30 };
        config.limits.outbox_bytes_max = 1 << 30;
        config
    }
}

impl<'a> Arbitrary<'a> for Script {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Script> {
        let flags: u8 = u.arbitrary()?;
        let reply: u8 = u.arbitrary()?;
        let role = if flags & 1 == 0 { Role::Server } else { Role::Client };
        let (read_seed, write_seed) = (u.arbitrary()?, u.arbitrary()?);
        let mut writer = Writer { role, out: Vec::new(), unfinished: false, random: Chop::new(read_seed) };
        while !u.is_empty() && writer.out.len() < STREAM_BYTES_MAX {
            writer.command(u)?;
        }
        Ok(Script {
            role,
            low_limits: flags & 2 != 0,
            low_mark: flags & 4 != 0,
            reply: REPLIES[usize::from(reply % 8)],
            read_seed,
            write_seed,
            frames: writer.out,
        })
    }
}

/// Writes what the peer of `role` sends.
struct Writer {
    role: Role,
    out: Vec<u8>,
    /// A message is begun: a data frame continues it.
    unfinished: bool,
    random: Chop,
}

impl Writer {
    /// Low four bits: what. High four: how it is broken, mostly not at all.
    fn command(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let command: u8 = u.arbitrary()?;
        let flaw = Flaw::of(command >> 4);
        match command & 15 {
            0 | 1 => self.message(1, text(u)?, 1, false, flaw),
            2 | 3 => self.message(2, bytes(u)?, 1, false, flaw),
            4 | 5 => {
                let cuts: u8 = u.arbitrary()?;
                self.message(1, text(u)?, 1 + usize::from(cuts % 5), cuts & 0x80 != 0, flaw);
            }
            6 => {
                let cuts: u8 = u.arbitrary()?;
                self.message(2, bytes(u)?, 1 + usize::from(cuts % 5), cuts & 0x80 != 0, flaw);
            }
            7 => self.frame(1, false, &text(u)?, flaw),
            8 => self.frame(2, false, &bytes(u)?, flaw),
            9 => self.frame(1, true, &text(u)?, flaw),
            10 => self.frame(9, true, &short(u)?, flaw),
            11 => self.frame(10, true, &short(u)?, flaw),
            12 => {
                let code: u16 = u.arbitrary()?;
                // Mostly a code that may be sent.
                let code = if code & 0x8000 != 0 { code & 0x7fff } else { 1000 + code % 16 };
                let body = [&code.to_be_bytes()[..], &text(u)?].concat();
                self.frame(8, true, &body[..body.len().min(125)], flaw);
            }
            13 => self.frame(8, true, &short(u)?, flaw),
            14 => {
                let opcode: u8 = u.arbitrary()?;
                self.frame(opcode & 15, opcode & 0x80 != 0, &short(u)?, flaw);
            }
            _ => {
                let raw = short(u)?;
                self.out.extend_from_slice(&raw);
            }
        }
        Ok(())
    }

    /// A message in `fragments` frames, cut anywhere, perhaps with Pings between.
    fn message(&mut self, opcode: u8, payload: Vec<u8>, fragments: usize, pings: bool, flaw: Flaw) {
        let mut rest = &payload[..];
        for left in (1..=fragments).rev() {
            let cut = if left == 1 { rest.len() } else { self.random.below(rest.len() + 1) };
            let (part, behind) = rest.split_at(cut);
            rest = behind;
            let flaw = if left == 1 { flaw } else { Flaw::None };
            self.frame(opcode, left == 1, part, flaw);
            if pings && left > 1 {
                self.frame(9, true, b"?", Flaw::None);
            }
        }
    }

    fn frame(&mut self, opcode: u8, fin: bool, payload: &[u8], flaw: Flaw) {
        let mut first = opcode | if fin { 0x80 } else { 0 };
        if matches!(opcode, 1 | 2) {
            if self.unfinished && !matches!(flaw, Flaw::Interleaved) {
                first &= 0xf0; // a continuation
            }
            self.unfinished = !fin;
        }
        if let Flaw::Reserved = flaw {
            first |= 0x10 << self.random.below(3);
        }
        let masked = (self.role == Role::Server) != matches!(flaw, Flaw::WrongMask);
        let mask = if masked { 0x80 } else { 0 };
        self.out.push(first);
        let len = match flaw {
            Flaw::Announced => payload.len() + 1 + self.random.below(70_000),
            _ => payload.len(),
        };
        match (len, flaw) {
            (_, Flaw::TopBit) => {
                self.out.push(127 | mask);
                self.out.extend_from_slice(&(1 << 63 | len as u64).to_be_bytes());
            }
            (0..=65_535, Flaw::Longer) | (65_536.., _) => {
                self.out.push(127 | mask);
                self.out.extend_from_slice(&(len as u64).to_be_bytes());
            }
            (126.., _) => {
                self.out.push(126 | mask);
                self.out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            _ => self.out.push(len as u8 | mask),
        }
        let at = self.out.len() + 4;
        if masked {
            let key = (self.random.below(1 << 32) as u32).to_ne_bytes();
            self.out.extend_from_slice(&key);
            self.out.extend_from_slice(payload);
            self.out[at..].iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        } else {
            self.out.extend_from_slice(payload);
        }
    }
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug)]
enum Flaw {
    None,
    /// A bit of RSV is set.
    Reserved,
    /// Masked or not, whichever is not allowed.
    WrongMask,
    /// A 64-bit length that would fit a shorter form.
    Longer,
    TopBit,
    /// More payload is announced than comes before the next frame.
    Announced,
    /// A new message begins before the last one is over.
    Interleaved,
}

impl Flaw {
    fn of(bits: u8) -> Flaw {
        match bits {
            10 => Flaw::Reserved,
            11 => Flaw::WrongMask,
            12 => Flaw::Longer,
            13 => Flaw::TopBit,
            14 => Flaw::Announced,
            15 => Flaw::Interleaved,
            _ => Flaw::None,
        }
    }
}

/// Text: up to 31 pieces chosen by a byte each, and the whole of it up to 4,096 times. Few pieces are no UTF-8.
fn text(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let shape: u8 = u.arbitrary()?;
    let mut text = Vec::new();
    for _ in 0..shape & 31 {
        let piece: u8 = u.arbitrary()?;
        text.extend_from_slice(match piece {
            0xff => b"\xff",
            0xfe => b"\xed\xa0",
            0xfd => b"\xc0\x80",
            0xfc => b"\xf4\x90",
            0xfb => b"\xe2\x82",
            0xfa => b"\xf0\x9d\x84",
            0xf9 => b"\x80",
            0xc0.. => "𝄞".as_bytes(),
            0xa0.. => "€".as_bytes(),
            0x80.. => "é".as_bytes(),
            0x70.. => &[b'a'; 40],
            _ => &b"0123456789abcdefghijklmnopqrstuv"[usize::from(piece & 31)..][..1],
        });
    }
    Ok(text
        .repeat([1, 1, 1, 3, 9, 60, 700, 4_096][usize::from(shape >> 5)])
        .into_iter()
        .take(66_000)
        .collect())
}

/// Bytes, mostly of a length at which something changes.
fn bytes(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let len: u8 = u.arbitrary()?;
    let len = match len {
        0..=127 => usize::from(len),
        _ => {
            let lens = [
                126, 127, 128, 255, 256, 299, 300, 301, 687, 688, 689, 1_000, 1_200, 4_096, 65_535, 65_536,
                65_537, 69_999, 70_001,
            ];
            lens[usize::from(len) % lens.len()]
        }
    };
    let first: u8 = u.arbitrary()?;
    Ok((0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(first)).collect())
}

/// Up to 127 bytes of the input as they are, and sometimes 126 or 127 of them, which no control frame may have.
fn short(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let len: u8 = u.arbitrary()?;
    let len = usize::from(if len >= 0xf0 { len & 0x7f } else { len % 24 });
    let mut bytes = vec![b'.'; len];
    let taken = len.min(u.len());
    u.fill_buffer(&mut bytes[..taken])?;
    Ok(bytes)
}
