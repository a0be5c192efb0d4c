//! What peers sent, made fit to be shown: nothing of it reaches a terminal as a command, nothing ends a JSON string.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use std::fmt::Write as _;

/// Appends `text`, its line ends as `newline` and whatever a terminal would obey in an escaped form, `\u{1b}`.
pub(super) fn put_escaped(text: &str, newline: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '\n' => out.push_str(newline),
            '\t' => out.push('\t'),
            _ if is_obeyed(character) => out.extend(character.escape_default()),
            _ => out.push(character),
        }
    }
}

/// As [`put_escaped`], on one line.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    put_escaped(text, "\\n", &mut out);
    out
}

/// Whether a terminal does something else with it than show it: the controls of both sets, and what turns the
/// direction of text, by which a line can be made to read as another.
pub(super) fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends `bytes` in lines of sixteen: where, what, and as characters; each line begins with `indent`.
pub(super) fn put_hex_dump(bytes: &[u8], indent: &str, out: &mut String) {
    for (i, row) in bytes.chunks(HEX_ROW).enumerate() {
        let _ = write!(out, "{indent}{:08x} ", i * HEX_ROW);
        for at in 0..HEX_ROW {
            let gap = if at % 8 == 0 { " " } else { "" };
            let _ = match row.get(at) {
                Some(byte) => write!(out, "{gap}{byte:02x} "),
                None => write!(out, "{gap}   "),
            };
        }
        out.push_str(" |");
        out.extend(row.iter().map(|&byte| if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '.' }));
        out.push_str("|\n");
    }
}

/// Bytes shown on a line.
const HEX_ROW: usize = 16;

/// Appends `text` as a JSON string, RFC 8259 §7, with all that a terminal would obey escaped.
pub(super) fn put_json_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // All of these are below U+10000, so that one escape is enough.
            _ if is_obeyed(character) => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// Appends `bytes` as a JSON string in base64, RFC 4648 §4.
pub(super) fn put_json_base64(bytes: &[u8], out: &mut String) {
    out.push('"');
    // Whole groups of three, so that no padding comes before the end.
    for chunk in bytes.chunks(3 << 8) {
        let mut encoded = [0; 4 << 8];
        let len = BASE64_STANDARD.encode_slice(chunk, &mut encoded).expect("four characters for three bytes");
        out.push_str(std::str::from_utf8(&encoded[..len]).expect("base64 is ASCII"));
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let text = "a\x1b[31mb\x07c\x7fd\u{9b}2Je\u{202e}f\r\0";
        assert_eq!(
            escaped(text),
            "a\\u{1b}[31mb\\u{7}c\\u{7f}d\\u{9b}2Je\\u{202e}f\\r\\u{0}",
            "controls of both sets, and the one that turns text"
        );
        assert_eq!(escaped("héllo 世界 👍\tx"), "héllo 世界 👍\tx");
        assert_eq!(escaped("a\nb"), "a\\nb");
        let mut indented = String::new();
        put_escaped("a\nb", "\n  ", &mut indented);
        assert_eq!(indented, "a\n  b");
    }

    #[test]
    fn bytes_are_dumped_in_rows_of_sixteen() {
        let mut out = String::new();
        put_hex_dump(b"Hello, sockeye!\n\x00\xff", "  ", &mut out);
        assert_eq!(
            out,
            "  00000000  48 65 6c 6c 6f 2c 20 73  6f 63 6b 65 79 65 21 0a  |Hello, sockeye!.|\n  \
             00000010  00 ff                                             |..|\n"
        );
    }

    #[test]
    fn a_json_string_is_ended_by_its_quote_alone() {
        let mut out = String::new();
        put_json_string("a\"b\\c\nd\u{1b}e\u{9b}f世", &mut out);
        assert_eq!(out, r#""a\"b\\c\nd\u001be\u009bf世""#);
    }

    #[test]
    fn base64_in_pieces_is_base64_of_the_whole() {
        for (bytes, text) in
            [(&b""[..], "\"\""), (b"f", "\"Zg==\""), (b"fo", "\"Zm8=\""), (b"foo", "\"Zm9v\"")]
        {
            let mut out = String::new();
            put_json_base64(bytes, &mut out);
            assert_eq!(out, text);
        }
        let (mut long, bytes) = (String::new(), [0x5a; 1000]);
        put_json_base64(&bytes, &mut long);
        let groups = "Wlpa".repeat(333);
        assert_eq!(long, format!("\"{groups}Wg==\""));
    }
}
