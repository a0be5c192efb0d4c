//! `wire::utf8` beside the standard library: the same bytes are right, whatever pieces they come in, and the first
//! byte that cannot be right is refused as soon as it is there.
//!
//! Input: a seed for the pieces, then the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye::wire::utf8::{validate, validate_more};
use sockeye_fuzz::chop::Chop;

fuzz_target!(|data: &[u8]| {
    let Some((&seed, text)) = data.split_first() else { return };
    assert_eq!(validate(text).is_ok(), std::str::from_utf8(text).is_ok());
    every_prefix(text);
    in_pieces(text, &mut Chop::new(seed.into()));
});

/// Byte by byte, so that each prefix is judged: refused exactly from the first byte on that cannot be right.
fn every_prefix(text: &[u8]) {
    let mut valid = 0;
    for end in 0..=text.len() {
        match (std::str::from_utf8(&text[..end]), validate_more(&text[..end], valid)) {
            (Ok(_), Ok(ours)) => {
                assert_eq!(ours, end);
                valid = ours;
            }
            (Err(error), Ok(ours)) => {
                assert_eq!(error.error_len(), None, "{:x?} cannot be right", &text[..end]);
                assert_eq!(ours, error.valid_up_to());
                assert!(end - ours <= 3, "more is carried than a code point can lack");
                valid = ours;
            }
            (Err(error), Err(_)) => {
                assert!(error.error_len().is_some(), "{:x?} could become right", &text[..end]);
                return;
            }
            (Ok(_), Err(_)) => panic!("{:x?} is right", &text[..end]),
        }
    }
}

/// In pieces of any size: refused in the piece that brings the first wrong byte, never before it.
fn in_pieces(text: &[u8], chop: &mut Chop) {
    let wrong_at = (0..=text.len())
        .find(|&end| std::str::from_utf8(&text[..end]).is_err_and(|error| error.error_len().is_some()));
    let (mut valid, mut end) = (0, 0);
    while end < text.len() {
        end += chop.piece(text.len() - end);
        match validate_more(&text[..end], valid) {
            Ok(more) => {
                assert!(wrong_at.is_none_or(|wrong| end < wrong), "the wrong byte was let pass");
                assert!(more >= valid && more <= end);
                valid = more;
            }
            Err(_) => return assert!(wrong_at.is_some_and(|wrong| wrong <= end), "refused too early"),
        }
    }
}
