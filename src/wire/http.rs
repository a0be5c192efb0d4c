//! As much of HTTP/1.1 (RFC 9110, RFC 9112) as is needed here: where a head ends, its lists and its syntax.
//!
//! Header lines are taken apart by `httparse`; what it lets pass and the RFC does not is refused here.

use std::net::Ipv6Addr;

/// Where a head stands in the bytes that came so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeadEnd {
    /// No empty line yet.
    Incomplete,
    /// The head, with its empty line, is the first so many bytes.
    At(usize),
}

/// What a ClientHello begins with, and no head: the type of its record. RFC 8446 §5.1
pub const TLS_HANDSHAKE: u8 = 22;

/// Looks for the empty line that ends a head, from byte `from` on: what an earlier call has seen is not seen
/// again. Lines may end in a bare LF here, so that such a head is found and can be refused.
pub fn find_head_end(bytes: &[u8], from: usize) -> HeadEnd {
    let skip = leading_empty_lines(bytes);
    let from = from.max(skip);
    for (i, _) in bytes.iter().enumerate().skip(from).filter(|&(_, &byte)| byte == b'\n') {
        if bytes[skip..i].ends_with(b"\n") || bytes[skip..i].ends_with(b"\n\r") {
            return HeadEnd::At(i + 1);
        }
    }
    HeadEnd::Incomplete
}

/// Bytes of the empty lines in front of a request, which are to be ignored. RFC 9112 §2.2
pub fn leading_empty_lines(bytes: &[u8]) -> usize {
    bytes.chunks_exact(2).take_while(|pair| pair == b"\r\n").count() * 2
}

/// Whether each CR is followed by LF and each LF preceded by CR. RFC 9112 §2.2 lets a recipient refuse a
/// lone LF and has it refuse a lone CR; both have been used to smuggle lines past another parser.
pub fn has_whole_line_ends(head: &[u8]) -> bool {
    let mut before = b' ';
    for &byte in head {
        if (byte == b'\n') != (before == b'\r') {
            return false;
        }
        before = byte;
    }
    before != b'\r'
}

/// Whether `text` is a token. RFC 9110 §5.6.2
pub fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The elements of a comma-separated list without the white space around them; empty ones are passed over.
/// RFC 9110 §5.6.1
pub fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(|element| element.trim_matches([' ', '\t'])).filter(|element| !element.is_empty())
}

/// Whether `value` can be a header's: no control character but the tab. RFC 9110 §5.5
pub fn is_field_value(value: &str) -> bool {
    value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

/// Whether `host` is a host and perhaps a port, as in RFC 9110 §7.2: a registered name, an IPv4 address or a
/// bracketed IP literal. A `ws` URI always has one, so it is not empty.
pub fn is_host(host: &str) -> bool {
    let (name, port) = match host.rfind(']') {
        Some(end) => host.split_at(end + 1),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let name_is_right = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(literal) => literal.parse::<Ipv6Addr>().is_ok() || is_future_literal(literal),
        None => !name.is_empty() && is_registered_name(name),
    };
    let port_is_right = match port.strip_prefix(':') {
        Some(digits) => {
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok();
            digits.is_empty() || is_number
        }
        None => port.is_empty(),
    };
    name_is_right && port_is_right
}

/// Unreserved characters, sub-delimiters and whole percent-escapes. RFC 3986 §3.2.2
fn is_registered_name(name: &str) -> bool {
    let mut escapes = name.split('%');
    let is_plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte))
    };
    escapes.next().is_some_and(is_plain)
        && escapes.all(|escape| {
            escape.len() >= 2 && escape.bytes().take(2).all(|b| b.is_ascii_hexdigit()) && is_plain(escape)
        })
}

/// An IP literal of a version yet to come: `v1.something`. RFC 3986 §3.2.2
fn is_future_literal(literal: &str) -> bool {
    let Some((version, address)) = literal.split_once('.') else { return false };
    let version = version.strip_prefix(['v', 'V']).unwrap_or_default();
    !version.is_empty()
        && version.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !address.is_empty()
        && address.split(':').all(|part| !part.contains('%') && is_registered_name(part))
}

/// A request's target, taken apart. RFC 9112 §3.2
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Target<'a> {
    /// The authority of the absolute form; `None` for the origin form.
    pub authority: Option<&'a str>,
    /// Path and query, as sent; it begins with `/`, or with `?` where an absolute form has no path.
    pub path_and_query: &'a str,
}

/// Reads a target in origin form (`/chat?room=1`) or absolute form (`http://host/chat`); `None` for any other.
pub fn parse_target(target: &str) -> Option<Target<'_>> {
    if target.bytes().any(|byte| !(0x21..0x7f).contains(&byte) || byte == b'#') {
        return None;
    }
    if target.starts_with('/') {
        return Some(Target { authority: None, path_and_query: target });
    }
    let (scheme, rest) = target.split_once("://")?;
    if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path_and_query = if path.is_empty() { "/" } else { path };
    is_host(authority).then_some(Target { authority: Some(authority), path_and_query })
}

/// Writes a header line, checked where it was made.
pub(super) fn put_header(name: &str, value: &str, out: &mut Vec<u8>) {
    debug_assert!(is_token(name) && is_field_value(value));
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

pub(super) fn syntax_error(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a header's name is no token, or a header line is folded",
        httparse::Error::HeaderValue => "a header's value holds a control character",
        httparse::Error::NewLine => "a line does not end in CR LF",
        httparse::Error::Token => "the request line is not method, target, version",
        httparse::Error::Version => "the version is not HTTP/1.1",
        httparse::Error::Status => "the status line has no status",
        httparse::Error::TooManyHeaders => "there are too many header lines",
    }
}

/// What a status is called; of one that is not listed, what kind it is. RFC 9110 §15
pub(super) fn reason_phrase(status: u16) -> &'static str {
    match status {
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        200..300 => "OK",
        300..400 => "Redirect",
        _ => "Refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_head_is_found_wherever_the_looks_are_cut() {
        let bytes = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nframes";
        for cut in 0..bytes.len() {
            let first = find_head_end(&bytes[..cut], 0);
            assert_eq!(first == HeadEnd::Incomplete, cut < 31, "{cut}");
            assert_eq!(find_head_end(bytes, cut.min(30).saturating_sub(3)), HeadEnd::At(31), "{cut}");
        }
    }

    #[test]
    fn r9112_2_2_lone_cr_and_lone_lf_are_no_line_ends() {
        assert!(has_whole_line_ends(b"GET / HTTP/1.1\r\nA: b\r\n\r\n"));
        assert!(!has_whole_line_ends(b"GET / HTTP/1.1\nA: b\r\n\r\n"));
        assert!(!has_whole_line_ends(b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n"));
        assert!(!has_whole_line_ends(b"GET / HTTP/1.1\r"));
    }

    #[test]
    fn r9110_7_2_hosts() {
        for good in [
            "a",
            "example.com:80",
            "127.0.0.1:4863",
            "[::1]:4863",
            "[::1]",
            "a:",
            "xn--bcher-kva.ch",
            "[v1.a:b]",
            "%41",
        ] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "", ":80", "a b", "a/b", "user@a", "a:8o", "[]", "[::1", "a:123456", "a:65536", "[::1]x", "ä",
            "[zz]", "%zz", "a%4",
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn r9112_3_2_targets() {
        let origin = Target { authority: None, path_and_query: "/chat?x=1" };
        assert_eq!(parse_target("/chat?x=1"), Some(origin));
        let absolute = Target { authority: Some("a:8"), path_and_query: "/chat" };
        assert_eq!(parse_target("HTTP://a:8/chat"), Some(absolute));
        assert_eq!(parse_target("ws://a"), Some(Target { authority: Some("a"), path_and_query: "/" }));
        for bad in ["*", "a:80", "ftp://a/", "/a#b", "http:///x", "", "/\u{7f}", "/ä"] {
            assert_eq!(parse_target(bad), None, "{bad}");
        }
    }
}
