//! UTF-8, RFC 3629, as text messages must be (RFC 6455 §8.1), checked while the bytes still arrive.

/// Checks the bytes of `text` from `valid` on, where a code point starts and before which all is known good.
///
/// Returns how far it is valid now: up to three bytes at the end may be the start of a code point that
/// further bytes complete.
///
/// # Errors
/// At a byte that no continuation can make right.
pub fn validate_more(text: &[u8], valid: usize) -> Result<usize, InvalidUtf8> {
    match simdutf8::compat::from_utf8(&text[valid..]) {
        Ok(_) => Ok(text.len()),
        Err(error) if error.error_len().is_none() => Ok(valid + error.valid_up_to()),
        Err(_) => Err(InvalidUtf8),
    }
}

/// `text` as a string, if the whole of it is UTF-8.
///
/// # Errors
/// When it is not, or ends inside a code point.
#[inline]
pub fn validate(text: &[u8]) -> Result<&str, InvalidUtf8> {
    simdutf8::basic::from_utf8(text).map_err(|_| InvalidUtf8)
}

/// Bytes that are not UTF-8 and cannot become so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidUtf8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s8_1_a_code_point_may_arrive_byte_by_byte() {
        let text = "a€𝄞é".as_bytes();
        let mut valid = 0;
        for end in 0..=text.len() {
            valid = validate_more(&text[..end], valid).unwrap();
            assert!(end - valid <= 3);
        }
        assert_eq!(valid, text.len());
    }

    #[test]
    fn s8_1_the_first_byte_that_cannot_be_right_is_refused_though_more_could_follow() {
        // Surrogates, overlong forms, beyond U+10FFFF, a lone continuation, bytes that never occur.
        for bad in
            [&b"\xed\xa0"[..], b"\xe0\x80", b"\xf0\x80", b"\xf4\x90", b"\x80", b"\xc0", b"\xf5", b"\xff"]
        {
            assert_eq!(validate_more(bad, 0), Err(InvalidUtf8), "{bad:x?}");
        }
    }
}
