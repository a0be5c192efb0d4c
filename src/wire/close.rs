//! The body of a Close frame, RFC 6455 §5.5.1 and §7.4: a code, then a reason in UTF-8.

use super::{frame::CONTROL_BYTES_MAX, utf8};
use std::fmt;

/// Why a connection was closed, as the number on the wire. RFC 6455 §7.4.1
///
/// ```
/// use sockeye::CloseCode;
/// assert_eq!(CloseCode::TOO_BIG.get(), 1009);
/// assert!(CloseCode::new(4001).is_sendable());
/// assert!(!CloseCode::ABNORMAL.is_sendable());
/// ```
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// 1001: the endpoint goes away: a server stops, a page is left.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL: CloseCode = CloseCode(1002);
    /// 1003: a type of data that cannot be accepted.
    pub const UNSUPPORTED: CloseCode = CloseCode(1003);
    /// 1005: the Close had no code. Never on the wire.
    pub const NO_STATUS: CloseCode = CloseCode(1005);
    /// 1006: the connection ended without a Close. Never on the wire.
    pub const ABNORMAL: CloseCode = CloseCode(1006);
    /// 1007: data that does not fit its type, such as text that is no UTF-8.
    pub const INVALID_DATA: CloseCode = CloseCode(1007);
    /// 1008: a policy was violated.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// 1009: a message is too big.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// 1010: the server did not negotiate an extension the client needs.
    pub const EXTENSION: CloseCode = CloseCode(1010);
    /// 1011: the endpoint met a condition it did not expect.
    pub const INTERNAL: CloseCode = CloseCode(1011);
    /// 1012: the service restarts. Registered with IANA.
    pub const RESTART: CloseCode = CloseCode(1012);
    /// 1013: try again later. Registered with IANA.
    pub const TRY_AGAIN: CloseCode = CloseCode(1013);

    /// The code with this number, which may be any.
    pub const fn new(code: u16) -> CloseCode {
        CloseCode(code)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether the code may stand in a Close frame: 1000–1003, 1007–1014 and 3000–4999. §7.4
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Bytes a reason may have at most: a control frame's 125 less the code. §5.5
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// What a Close frame says: nothing, or a code and a reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CloseBody<'a> {
    /// The code; `None` for an empty body, which counts as 1005. §7.1.5
    pub code: Option<CloseCode>,
    /// The reason, perhaps empty.
    pub reason: &'a str,
}

/// What is wrong with a Close frame's body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloseError {
    /// One byte: half a code. §5.5.1
    HalfCode,
    /// A code that must not be on the wire. §7.4
    Code(u16),
    /// The reason is no UTF-8. §5.5.1
    Reason,
}

/// Reads a Close frame's unmasked payload.
///
/// # Errors
/// For a body of one byte, a code that is not [`CloseCode::is_sendable`], a reason that is no UTF-8.
pub fn parse_close(payload: &[u8]) -> Result<CloseBody<'_>, CloseError> {
    match payload {
        [] => Ok(CloseBody { code: None, reason: "" }),
        [_] => Err(CloseError::HalfCode),
        [high, low, reason @ ..] => {
            let code = CloseCode(u16::from_be_bytes([*high, *low]));
            if !code.is_sendable() {
                return Err(CloseError::Code(code.0));
            }
            let reason = utf8::validate(reason).map_err(|_| CloseError::Reason)?;
            Ok(CloseBody { code: Some(code), reason })
        }
    }
}

/// `reason`, cut at a character so that it fits a Close frame.
pub fn fitted(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s7_4_exactly_these_codes_may_be_on_the_wire() {
        for code in 0..=u16::MAX {
            let allowed = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014]
                .contains(&code)
                || (3000..5000).contains(&code);
            let body = code.to_be_bytes();
            let want = if allowed {
                Ok(CloseBody { code: Some(CloseCode::new(code)), reason: "" })
            } else {
                Err(CloseError::Code(code))
            };
            assert_eq!(parse_close(&body), want);
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let reason = "é".repeat(80);
        assert_eq!(fitted(&reason).len(), 122);
        assert_eq!(fitted("short"), "short");
    }
}
