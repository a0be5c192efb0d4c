//! The first bytes of a frame, in both roles, with and without an unfinished message before: judged as a table of
//! its own says, and the same whether they come whole or one by one.
//!
//! Input: one byte of role, state and limit, then what the peer sends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye::{Config, Role};
use sockeye_fuzz::{End, chop::Chop, play_connection::play};

fuzz_target!(|data: &[u8]| {
    let Some((&how, bytes)) = data.split_first() else { return };
    let role = if how & 1 == 0 { Role::Server } else { Role::Client };
    let unfinished = how & 2 != 0;
    let mut config = Config::default();
    config.limits.message_bytes_max = if how & 4 == 0 { 200 } else { 1 << 30 };

    let begin: &[u8] = match (unfinished, role) {
        (false, _) => b"",
        (true, Role::Server) => b"\x02\x80\0\0\0\0",
        (true, Role::Client) => b"\x02\x00",
    };
    let stream = [begin, bytes].concat();
    let whole = play(role, &config, &stream, None);
    assert_eq!(whole, play(role, &config, &stream, Some(&mut Chop::new(0))), "one by one");

    let verdict = judge(bytes, role, unfinished, config.limits.message_bytes_max.into());
    let shown = match verdict {
        Verdict::Allowed { header } => &stream[..begin.len() + header],
        Verdict::Incomplete | Verdict::Refused(_) => &stream[..],
    };
    let end = play(role, &config, shown, None).end;
    match (verdict, end) {
        (Verdict::Refused(code), End::Fault(fault)) => assert_eq!(fault.close_code().get(), code, "{fault}"),
        // Of the frames that are over with their header, a Close ends the connection.
        (Verdict::Allowed { .. }, End::Close(None, _)) => assert_eq!(bytes[0], 0x88),
        (Verdict::Incomplete | Verdict::Allowed { .. }, End::Pending) => {}
        (verdict, end) => panic!("{bytes:x?}: {verdict:?}, but {end:?}"),
    }
});

#[derive(Clone, Copy, Debug)]
enum Verdict {
    /// More is to come, and nothing is wrong so far.
    Incomplete,
    /// A frame may begin so; the header has so many bytes.
    Allowed { header: usize },
    /// Close code.
    Refused(u16),
}

/// RFC 6455 §5.1 to §5.5, once more and not in a hurry.
fn judge(bytes: &[u8], role: Role, unfinished: bool, limit: u64) -> Verdict {
    let &[first, second, ..] = bytes else { return Verdict::Incomplete };
    let (fin, rsv, opcode) = (first >= 128, first / 16 % 8, first % 16);
    let (masked, short) = (second >= 128, second % 128);
    let right = match opcode {
        0 => unfinished,
        1 | 2 => !unfinished,
        8..=10 => fin && short <= 125,
        _ => false,
    };
    if rsv != 0 || !right || masked != (role == Role::Server) {
        return Verdict::Refused(1002);
    }
    let field = [0, 2, 8][usize::from(short.saturating_sub(125))];
    if bytes.len() < 2 + field {
        return Verdict::Incomplete;
    }
    let mut len = [0; 8];
    len[8 - field..].copy_from_slice(&bytes[2..2 + field]);
    let len = if field == 0 { u64::from(short) } else { u64::from_be_bytes(len) };
    let fits = match field {
        2 => len >= 126,
        8 => (65_536..1 << 63).contains(&len),
        _ => true,
    };
    if !fits {
        return Verdict::Refused(1002);
    }
    if opcode < 8 && len > limit {
        return Verdict::Refused(1009);
    }
    let header = 2 + field + if masked { 4 } else { 0 };
    if bytes.len() < header { Verdict::Incomplete } else { Verdict::Allowed { header } }
}
