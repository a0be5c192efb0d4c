//! Whom a proxy says that it passes a request on for: `X-Forwarded-For`, and `Forwarded` of RFC 7239.

use crate::{
    config::{ForwardedHeader, Network},
    wire::http_request::RequestHead,
};
use std::net::{IpAddr, SocketAddr};

/// The client of a request that a trusted proxy passes on: the rightmost address that is no trusted proxy's, or, where
/// all are, the leftmost. Each proxy appends whom it heard it from, so what stands left of that one is the client's own
/// word. What is no address (`unknown`, a name) ends the search. The port is 0 where none is said.
pub(super) fn client_of(
    head: &RequestHead<'_>,
    which: ForwardedHeader,
    trusted: &[Network],
) -> Option<SocketAddr> {
    let lines = |name| head.lines(name).map(|line| std::str::from_utf8(line).ok()).collect::<Vec<_>>();
    let said: Vec<_> = match which {
        ForwardedHeader::Forwarded => Vec::new(),
        _ => lines("X-Forwarded-For"),
    };
    if !said.is_empty() || which == ForwardedHeader::XForwardedFor {
        let nodes = said.into_iter().map(|line| line.map(|line| line.split(',').map(trim).collect()));
        return rightmost(nodes, trusted);
    }
    rightmost(lines("Forwarded").into_iter().map(|line| line.and_then(hops)), trusted)
}

/// Of lines of nodes, each a hop later than the one before; a line that cannot be read is `None`.
fn rightmost<'a>(
    lines: impl DoubleEndedIterator<Item = Option<Vec<&'a str>>>,
    trusted: &[Network],
) -> Option<SocketAddr> {
    let mut found = None;
    for line in lines.rev() {
        let Some(nodes) = line else { return found };
        for node in nodes.into_iter().rev().filter(|node| !node.is_empty()) {
            let Some(address) = parse_node(node) else { return found };
            found = Some(address);
            if !trusted.iter().any(|network| network.contains(Some(address.ip()))) {
                return found;
            }
        }
    }
    found
}

/// What stands in `for=` of each element, without its quotes; a space where there is none. RFC 7239 §4
fn hops(line: &str) -> Option<Vec<&str>> {
    split_unquoted(line, ',')?
        .into_iter()
        .filter(|element| !trim(element).is_empty())
        .map(|element| {
            let pairs = split_unquoted(element, ';')?;
            let node = pairs.into_iter().find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                let unquoted = value.strip_prefix('"').and_then(|value| trim(value).strip_suffix('"'));
                trim(name).eq_ignore_ascii_case("for").then(|| trim(unquoted.unwrap_or(value)))
            });
            Some(node.filter(|node| !node.is_empty()).unwrap_or(" "))
        })
        .collect()
}

/// The parts between separators that stand in no quotes; `None` where quotes are left open.
fn split_unquoted(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(|c| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match c {
            _ if was_escaped => false,
            '\\' if is_quoted => {
                is_escaped = true;
                false
            }
            '"' => {
                is_quoted = !is_quoted;
                false
            }
            _ => c == separator && !is_quoted,
        }
    });
    let parts = parts.collect();
    (!is_quoted).then_some(parts)
}

/// An address, and perhaps a port, which may be hidden: `_name`. RFC 7239 §6
fn parse_node(node: &str) -> Option<SocketAddr> {
    let (ip, port): (IpAddr, _) = if let Some(rest) = node.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']')?;
        (IpAddr::V6(ip.parse().ok()?), rest)
    } else if let Ok(ip) = node.parse() {
        (ip, "")
    } else {
        let end = node.find(':')?;
        (IpAddr::V4(node[..end].parse().ok()?), &node[end..])
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => 0,
        Some(hidden) if hidden.starts_with('_') => 0,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(which: ForwardedHeader, headers: &str) -> Option<String> {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let head = RequestHead::parse(head.as_bytes(), 100).unwrap();
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        client_of(&head, which, &trusted).map(|address| address.to_string())
    }

    #[track_caller]
    fn expect(headers: &str, address: Option<&str>) {
        assert_eq!(client(ForwardedHeader::Either, headers).as_deref(), address, "{headers:?}");
    }

    #[test]
    fn the_rightmost_address_that_is_not_trusted_is_the_clients() {
        for (value, address) in [
            ("192.0.2.1", "192.0.2.1:0"),
            ("198.51.100.9, 192.0.2.1", "192.0.2.1:0"),
            ("198.51.100.9,192.0.2.1 ,\t10.0.0.7,10.0.0.8", "192.0.2.1:0"),
            ("garbage, 192.0.2.1, 10.0.0.7", "192.0.2.1:0"),
            ("192.0.2.1:4711", "192.0.2.1:4711"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("::ffff:192.0.2.1, fd00::1", "192.0.2.1:0"),
            ("10.0.0.1, 10.0.0.2", "10.0.0.1:0"), // all trusted: whoever came first
            ("192.0.2.1, unknown, 10.0.0.2", "10.0.0.2:0"), // nobody vouches for what is left of it
            ("192.0.2.1, , 10.0.0.2,", "192.0.2.1:0"),
        ] {
            expect(&format!("X-Forwarded-For: {value}\r\n"), Some(address));
        }
        expect("X-Forwarded-For: 198.51.100.9\r\nx-forwarded-for: 192.0.2.1\r\n", Some("192.0.2.1:0"));
    }

    #[test]
    fn what_is_no_address_names_nobody() {
        for value in
            ["unknown", "", ",", "a.example", "1.2.3", "1.2.3.4:x", "1.2.3.4:99999", "[::1", "[1.2.3.4]:1"]
        {
            expect(&format!("X-Forwarded-For: {value}\r\n"), None);
        }
        expect("", None);
        for value in [
            "for=unknown",
            "for=_hidden",
            "by=192.0.2.1",
            "for=\"192.0.2.1",
            "for",
            "for=",
            "proto=\"a,for=192.0.2.1",
        ] {
            expect(&format!("Forwarded: {value}\r\n"), None);
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        for (value, address) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60:0"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "[2001:db8:cafe::17]:4711"),
            ("for=198.51.100.17, for=\"192.0.2.43:47011\" , for=10.0.0.1", "192.0.2.43:47011"),
            ("for=\"192.0.2.43:_port\"", "192.0.2.43:0"),
            ("proto=https;ext=\"a,b;for=1.2.3.4\\\"\";for=192.0.2.1, for=10.2.2.2", "192.0.2.1:0"),
            ("for=192.0.2.1, by=10.0.0.1, for=10.0.0.2", "10.0.0.2:0"), // a hop that names nobody
        ] {
            expect(&format!("Forwarded: {value}\r\n"), Some(address));
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_left_of_the_last_hop_it_is_the_client(invented in "[ -~]{0,40}") {
            expect(&format!("X-Forwarded-For: {invented}, 192.0.2.1\r\n"), Some("192.0.2.1:0"));
            let quotes = invented.matches('"').count() + invented.matches('\\').count();
            let client = client(ForwardedHeader::Forwarded, &format!("Forwarded: {invented}, for=192.0.2.1\r\n"));
            // Quotes that are left open by the client make the line unreadable, and name nobody.
            assert!(client.as_deref() == Some("192.0.2.1:0") || (quotes > 0 && client.is_none()), "{client:?}");
        }
    }

    #[test]
    fn of_two_headers_the_one_that_is_configured_counts() {
        let both = "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 198.51.100.2\r\n";
        let client = |which| client(which, both).unwrap();
        assert_eq!(client(ForwardedHeader::Either), "198.51.100.2:0");
        assert_eq!(client(ForwardedHeader::XForwardedFor), "198.51.100.2:0");
        assert_eq!(client(ForwardedHeader::Forwarded), "192.0.2.1:0");
        let one = "Forwarded: for=192.0.2.1\r\n";
        assert_eq!(super::tests::client(ForwardedHeader::XForwardedFor, one), None);
    }
}
