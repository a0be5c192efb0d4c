//! The frame header of RFC 6455 §5.2: read it, write it. Whether it is allowed is `conn`'s to judge.

/// What a frame is. RFC 6455 §5.2, §11.8
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message in progress.
    Continuation = 0x0,
    /// A message, or its first fragment, that is UTF-8 text.
    Text = 0x1,
    /// A message, or its first fragment, of any bytes.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// A question for life.
    Ping = 0x9,
    /// The answer to a Ping, or an unasked sign of life.
    Pong = 0xa,
}

impl Opcode {
    /// The opcode of the low four bits of a frame's first byte; `None` for the reserved ones. §5.2
    #[inline]
    pub const fn from_bits(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xa => Opcode::Pong,
            _ => return None,
        })
    }

    /// Whether this is a control frame: the most significant bit of the opcode is set. §5.5
    #[inline]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// Payload bytes a control frame may have at most. §5.5
pub const CONTROL_BYTES_MAX: usize = 125;

/// Bytes the longest header has: 2, an 8-byte length, a 4-byte masking key.
pub const HEADER_BYTES_MAX: usize = 14;

/// Bytes the longest header of an unmasked frame has.
pub const UNMASKED_HEADER_BYTES_MAX: usize = 10;

/// Bit of the first byte: the last fragment of a message.
pub const FIN: u8 = 0x80;
/// Bits of the first byte that only an extension may set.
pub const RSV: u8 = 0x70;
/// Bit of the first byte: the message is compressed. RFC 7692 §6
pub const RSV1: u8 = 0x40;
/// Bit of the second byte: a masking key follows the length.
pub const MASK: u8 = 0x80;

/// The payload length of a header, as found. §5.2
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Length {
    /// More bytes of the header are needed.
    Incomplete,
    /// `len` bytes of payload follow a header whose length field ends at byte `end`.
    Whole {
        /// Payload bytes.
        len: u64,
        /// Where the length field ends: 2, 4 or 10.
        end: usize,
    },
    /// `len` was written in more bytes than it needs.
    NotMinimal {
        /// Payload bytes.
        len: u64,
    },
    /// The most significant bit of the 64-bit length is set.
    TopBit,
}

/// Reads the length that starts in the second byte of `bytes`, which hold at least two.
#[inline]
pub fn parse_length(bytes: &[u8]) -> Length {
    match bytes[1] & !MASK {
        126 => {
            let Some(&[high, low]) = bytes.get(2..4) else { return Length::Incomplete };
            let len = u64::from(u16::from_be_bytes([high, low]));
            if len < 126 { Length::NotMinimal { len } } else { Length::Whole { len, end: 4 } }
        }
        127 => {
            let Some(field) = bytes.get(2..10) else { return Length::Incomplete };
            let len = field.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
            match len {
                0..=0xffff => Length::NotMinimal { len },
                0x8000_0000_0000_0000.. => Length::TopBit,
                _ => Length::Whole { len, end: 10 },
            }
        }
        len => Length::Whole { len: u64::from(len), end: 2 },
    }
}

/// A header, written; dereferences to its bytes.
#[derive(Clone, Copy, Debug)]
pub struct HeaderBytes {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

impl HeaderBytes {
    /// The header of a final, unfragmented frame with `len` bytes of payload, masked where `key` is given.
    #[inline]
    pub fn new(opcode: Opcode, len: usize, key: Option<[u8; 4]>) -> HeaderBytes {
        let mut header = HeaderBytes::bare(opcode, len);
        if let Some(key) = key {
            let end = usize::from(header.len);
            header.bytes[1] |= MASK;
            header.bytes[end..end + 4].copy_from_slice(&key);
            header.len += 4;
        }
        header
    }

    /// The header of a final, unfragmented, unmasked frame with `len` bytes of payload: a server's.
    #[inline]
    pub fn bare(opcode: Opcode, len: usize) -> HeaderBytes {
        let mut bytes = [0; HEADER_BYTES_MAX];
        bytes[0] = FIN | opcode as u8;
        let end = match len {
            0..=125 => {
                bytes[1] = len as u8;
                2
            }
            126..=0xffff => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&(len as u64).to_be_bytes());
                10
            }
        };
        HeaderBytes { bytes, len: end }
    }

    /// Whether it says that the message is compressed. RFC 7692 §6
    pub fn is_compressed(&self) -> bool {
        self.bytes[0] & RSV1 != 0
    }

    /// The same header, saying that the message is compressed. RFC 7692 §6
    #[must_use]
    pub fn compressed(mut self) -> HeaderBytes {
        self.bytes[0] |= RSV1;
        self
    }
}

impl std::ops::Deref for HeaderBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Header and payload bytes of the final frame that starts `bytes`; `None` if none does.
pub(crate) fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < 2 || Opcode::from_bits(bytes[0] & 0xf).is_none() || bytes[0] & FIN == 0 {
        return None;
    }
    let Length::Whole { len, end } = parse_length(bytes) else { return None };
    let key = if bytes[1] & MASK != 0 { 4 } else { 0 };
    usize::try_from(len).ok()?.checked_add(end + key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_2_each_length_form_is_written_minimal_and_read_back() {
        for (len, head) in [
            (0, &b"\x82\x00"[..]),
            (125, b"\x82\x7d"),
            (126, b"\x82\x7e\x00\x7e"),
            (65_535, b"\x82\x7e\xff\xff"),
            (65_536, b"\x82\x7f\0\0\0\0\0\x01\0\0"),
        ] {
            let bytes = HeaderBytes::new(Opcode::Binary, len, None);
            assert_eq!(&*bytes, head);
            assert_eq!(parse_length(&bytes), Length::Whole { len: len as u64, end: head.len() });
            let masked = HeaderBytes::new(Opcode::Binary, len, Some(*b"key!"));
            assert_eq!(&masked[masked.len() - 4..], b"key!");
            assert_eq!(parse_length(&masked), Length::Whole { len: len as u64, end: head.len() });
        }
    }

    #[test]
    fn s5_2_longer_forms_than_needed_and_the_top_bit_are_told_apart() {
        assert_eq!(parse_length(b"\x82\x7e\x00\x7d"), Length::NotMinimal { len: 125 });
        assert_eq!(parse_length(b"\x82\x7f\0\0\0\0\0\0\xff\xff"), Length::NotMinimal { len: 65_535 });
        assert_eq!(parse_length(b"\x82\x7f\x80\0\0\0\0\0\0\0"), Length::TopBit);
        assert_eq!(
            parse_length(b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"),
            Length::Whole { len: u64::MAX >> 1, end: 10 }
        );
        assert_eq!(parse_length(b"\x82\x7f\0\0\0\0\0\0\xff"), Length::Incomplete);
        assert_eq!(parse_length(b"\x82\x7e\xff"), Length::Incomplete);
    }

    #[test]
    fn the_extent_of_a_frame_of_ours_is_read_off_its_header() {
        assert_eq!(frame_bytes(b"\x81\x02Hi\x82\x00"), Some(4));
        assert_eq!(frame_bytes(b"\x82\xfe\x01\x00"), Some(264));
        assert_eq!(frame_bytes(b"HTTP/1.1 101 Switching Protocols"), None);
    }
}
