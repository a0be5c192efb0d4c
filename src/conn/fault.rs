//! What a peer can do wrong, each with its close code.

use crate::wire::{
    close::{CloseCode, CloseError},
    frame::Opcode,
};
use std::fmt;

/// A peer broke the protocol or a limit. Fatal: the connection is failed with [`Fault::close_code`]. §7.1.7
///
/// ```
/// use sockeye::{CloseCode, Fault};
/// let fault = Fault::MessageTooBig { len: 20_000_000, limit: 16_777_216 };
/// assert_eq!(fault.close_code(), CloseCode::TOO_BIG);
/// assert_eq!(fault.to_string(), "message of 20000000 bytes (at most 16777216)");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// A client's frame is not masked, 1002. §5.1
    UnmaskedFrame,
    /// A server's frame is masked, 1002. §5.1
    MaskedFrame,
    /// A reserved bit is set and no extension defines it, 1002. §5.2
    ReservedBits {
        /// RSV1, RSV2, RSV3 as 4, 2, 1.
        bits: u8,
    },
    /// RSV1 on another frame than the first of a message, 1002. RFC 7692 §6.1
    CompressedFragment {
        /// Which.
        opcode: Opcode,
    },
    /// The opcode is reserved, 1002. §5.2
    ReservedOpcode {
        /// The four bits.
        opcode: u8,
    },
    /// A length is written in more bytes than it needs, 1002. §5.2
    LengthNotMinimal {
        /// The length.
        len: u64,
    },
    /// The most significant bit of a 64-bit length is set, 1002. §5.2
    LengthTopBit,
    /// A control frame is fragmented, 1002. §5.5
    FragmentedControl {
        /// Which.
        opcode: Opcode,
    },
    /// A control frame has more than 125 bytes, 1002. §5.5
    ControlTooLong {
        /// Which.
        opcode: Opcode,
    },
    /// A continuation without a message to continue, 1002. §5.4
    UnexpectedContinuation,
    /// A new message while one is unfinished, 1002. §5.4
    ExpectedContinuation {
        /// The opcode in place of 0.
        opcode: Opcode,
    },
    /// A Close with a body of one byte, 1002. §5.5.1
    CloseHalfCode,
    /// A Close with a code that must not be sent, 1002. §7.4
    CloseCodeInvalid {
        /// The code.
        code: u16,
    },
    /// A Close whose reason is no UTF-8, 1007. §5.5.1
    CloseReasonInvalid,
    /// A text message that is no UTF-8, 1007. §8.1
    InvalidUtf8,
    /// A compressed message is no DEFLATE stream, or a cut-off one, 1007. RFC 7692 §7.2.2
    InvalidDeflate,
    /// A message above `message_bytes_max`, 1009. §10.4
    MessageTooBig {
        /// Bytes announced, or inflated, so far.
        len: u64,
        /// The limit.
        limit: u32,
    },
    /// A message in more than `fragments_max` fragments, 1008. §10.4
    TooManyFragments {
        /// The limit.
        limit: u32,
    },
    /// An unfinished message brought no byte for `message_idle_ms_max`, 1008.
    MessageIdle {
        /// The limit.
        limit_ms: u32,
    },
    /// `outbox_bytes_max` waits for the peer, and more is to be sent to it, 1013.
    SlowReader {
        /// Bytes that wait.
        queued: u64,
        /// The hard mark.
        limit: u32,
    },
    /// More than `outbox_bytes_soft` waits for the peer, which has not taken a byte for `outbox_stall_ms_max`, 1013.
    StalledReader {
        /// Bytes that wait.
        queued: u64,
        /// The limit.
        limit_ms: u32,
    },
    /// `buffered_bytes_max` is spent and this connection holds most, 1013.
    BudgetSpent {
        /// Bytes it holds.
        held: u64,
        /// The budget.
        limit: u64,
    },
}

impl Fault {
    /// The code of the Close that fails the connection. §7.4.1
    pub fn close_code(&self) -> CloseCode {
        match self {
            Fault::CloseReasonInvalid | Fault::InvalidUtf8 | Fault::InvalidDeflate => CloseCode::INVALID_DATA,
            Fault::MessageTooBig { .. } => CloseCode::TOO_BIG,
            Fault::TooManyFragments { .. } | Fault::MessageIdle { .. } => CloseCode::POLICY,
            Fault::SlowReader { .. } | Fault::StalledReader { .. } | Fault::BudgetSpent { .. } => {
                CloseCode::TRY_AGAIN
            }
            _ => CloseCode::PROTOCOL,
        }
    }
}

impl Fault {
    /// Whether the connection is failed to get back what it holds.
    pub(crate) fn is_for_memory(&self) -> bool {
        matches!(self, Fault::SlowReader { .. } | Fault::StalledReader { .. } | Fault::BudgetSpent { .. })
    }
}

impl From<CloseError> for Fault {
    fn from(error: CloseError) -> Fault {
        match error {
            CloseError::HalfCode => Fault::CloseHalfCode,
            CloseError::Code(code) => Fault::CloseCodeInvalid { code },
            CloseError::Reason => Fault::CloseReasonInvalid,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::UnmaskedFrame => f.write_str("client frame is not masked"),
            Fault::MaskedFrame => f.write_str("server frame is masked"),
            Fault::ReservedBits { bits: 4 } => f.write_str("peer sent RSV1; compression was not negotiated"),
            Fault::ReservedBits { bits } => {
                write!(f, "reserved bits {bits:03b} are set; no extension was negotiated that defines them")
            }
            Fault::CompressedFragment { opcode } => {
                write!(f, "RSV1 on a {opcode:?} frame; it belongs on a message's first")
            }
            Fault::ReservedOpcode { opcode } => write!(f, "opcode {opcode:#x} is reserved"),
            Fault::LengthNotMinimal { len } => write!(f, "length {len} is not in its shortest form"),
            Fault::LengthTopBit => f.write_str("top bit of a 64-bit length is set"),
            Fault::FragmentedControl { opcode } => write!(f, "{opcode:?} frame is fragmented"),
            Fault::ControlTooLong { opcode } => write!(f, "{opcode:?} frame of more than 125 bytes"),
            Fault::UnexpectedContinuation => f.write_str("continuation without a message to continue"),
            Fault::ExpectedContinuation { opcode } => {
                write!(f, "{opcode:?} frame while a message is unfinished")
            }
            Fault::CloseHalfCode => f.write_str("close body of one byte"),
            Fault::CloseCodeInvalid { code } => write!(f, "close code {code} must not be sent"),
            Fault::CloseReasonInvalid => f.write_str("close reason is not UTF-8"),
            Fault::InvalidUtf8 => f.write_str("text message is not UTF-8"),
            Fault::InvalidDeflate => f.write_str("compressed message is not DEFLATE data"),
            Fault::MessageTooBig { len, limit } => write!(f, "message of {len} bytes (at most {limit})"),
            Fault::TooManyFragments { limit } => {
                write!(f, "message in more than {limit} fragments (at most {limit})")
            }
            Fault::MessageIdle { limit_ms } => {
                write!(f, "unfinished message brought no byte for {limit_ms} ms (at most {limit_ms})")
            }
            Fault::SlowReader { queued, limit } => {
                write!(f, "peer reads too slowly: {queued} bytes wait (at most {limit})")
            }
            Fault::StalledReader { queued, limit_ms } => {
                write!(f, "peer took no byte for {limit_ms} ms (at most {limit_ms}); {queued} bytes wait")
            }
            Fault::BudgetSpent { held, limit } => {
                write!(f, "server is out of buffers (at most {limit} bytes); this peer holds most: {held}")
            }
        }
    }
}

impl std::error::Error for Fault {}
