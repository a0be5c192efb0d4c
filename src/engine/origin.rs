//! Whose pages may connect, and whose may have what a browser adds by itself: RFC 6455 §10.2.

use super::Core;
use crate::wire::http_request::RequestHead;
use std::net::IpAddr;

impl Core {
    /// Whether pages of this origin may connect.
    pub(super) fn admits_origin(&self, origin: &str) -> bool {
        self.origins.is_empty() || self.origins.iter().any(|allowed| matches(allowed, origin))
    }

    /// Whether cookies of this request may say who somebody is: no page of another site can have had them sent.
    pub(super) fn trusts_origin(&self, head: &RequestHead<'_>) -> bool {
        head.lines("Origin").all(|origin| {
            std::str::from_utf8(origin).is_ok_and(|origin| {
                // Anybody's page can be `*`, and, in a sandbox, `null`.
                let mut named =
                    self.origins.iter().filter(|allowed| !matches!(allowed.as_str(), "*" | "null"));
                is_same_host(origin, head.host()) || named.any(|allowed| matches(allowed, origin))
            })
        })
    }
}

/// Whether an entry of the list is for this origin: the same, without regard to case and to the scheme's own port; `*`, any;
/// or with `*.` in place of all labels, one at least, in front of a name.
fn matches(allowed: &str, origin: &str) -> bool {
    if allowed == "*" {
        return true;
    }
    let (allowed, origin) = (without_default_port(allowed), without_default_port(origin));
    let Some((scheme, name)) = allowed.split_once("://*") else {
        return allowed.eq_ignore_ascii_case(origin);
    };
    let Some((of, authority)) = origin.split_once("://") else { return false };
    let labels = authority.len().checked_sub(name.len()).and_then(|at| authority.split_at_checked(at));
    name.starts_with('.')
        && of.eq_ignore_ascii_case(scheme)
        && labels.is_some_and(|(labels, rest)| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !labels.is_empty() && labels.bytes().all(is_plain) && rest.eq_ignore_ascii_case(name)
        })
}

/// Whether a page came from the host that it connects to, by whichever port: a browser's cookies know no ports (RFC 6265
/// §8.5), pages are often served by another program on the same host, and proxies drop ports from `Host`. Nor is the scheme
/// compared: a proxy may end TLS. All names of the machine itself are one.
fn is_same_host(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let (name, host) = (without_port(authority), without_port(host));
    let is_same = name.eq_ignore_ascii_case(host) || (is_this_machine(name) && is_this_machine(host));
    default_port(scheme).is_some() && is_same
}

/// `localhost` and the addresses that it stands for. RFC 6761 §6.3
fn is_this_machine(name: &str) -> bool {
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn without_default_port(origin: &str) -> &str {
    let port = origin.split_once("://").and_then(|(scheme, _)| default_port(scheme));
    port.and_then(|port| origin.strip_suffix(port)?.strip_suffix(':')).unwrap_or(origin)
}

fn default_port(scheme: &str) -> Option<&'static str> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("https") => Some("443"),
        _ if scheme.eq_ignore_ascii_case("http") => Some("80"),
        _ => None,
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_the_list_is_for_one_origin_or_for_all_below_a_name() {
        for (allowed, origin) in [
            ("https://example.com", "HTTPS://Example.com"),
            ("https://example.com:443", "https://example.com"),
            ("http://example.com", "http://example.com:80"),
            ("https://*.example.com", "https://a.example.com"),
            ("https://*.example.com", "https://a.b-c.EXAMPLE.com:443"),
            ("https://*.example.com:8443", "https://a.example.com:8443"),
            ("*", "https://example.net"),
            ("*", "null"),
            ("null", "null"),
        ] {
            assert!(matches(allowed, origin), "{allowed} {origin}");
        }
        for (allowed, origin) in [
            ("https://example.com", "http://example.com"),
            ("https://example.com", "https://example.com:8443"),
            ("https://example.com", "https://example.com.evil.net"),
            ("https://*.example.com", "https://example.com"),
            ("https://*.example.com", "https://.example.com"),
            ("https://*.example.com", "https://evilexample.com"),
            ("https://*.example.com", "https://evil.net/.example.com"),
            ("https://*.example.com", "https://evil.net@a.example.com"),
            ("https://*.example.com", "http://a.example.com"),
            ("https://*.example.com", "https://a.example.com:8443"),
            ("https://*.example.com", "null"),
            ("https://*example.com", "https://evilexample.com"),
            ("https://*.example.com", "https://é.example.com"),
        ] {
            assert!(!matches(allowed, origin), "{allowed} {origin}");
        }
    }

    #[test]
    fn a_page_is_of_the_same_host_by_name() {
        for (origin, host) in [
            ("http://localhost:4863", "localhost:4863"),
            ("https://example.com", "example.com"),
            ("https://Example.com", "example.COM:443"),
            ("http://example.com", "example.com:80"),
            ("http://[::1]:4863", "[::1]:4863"),
            ("https://[::1]", "[::1]"),
            ("https://example.com:8443", "example.com:8443"),
            ("https://example.com", "example.com:"),
            ("https://example.com", "example.com:8443"),
            ("https://example.com:8443", "example.com"),
            ("http://127.0.0.1", "127.0.0.1:4863"),
            ("https://[::1]:80", "[::1]:443"),
            ("http://127.0.0.1", "localhost:4863"),
            ("http://localhost:8080", "[::1]:4863"),
        ] {
            assert!(is_same_host(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://evil.net", "example.com"),
            ("http://[::1]", "[::2]"),
            ("http://localhost.evil.net", "localhost"),
            ("http://127.0.0.1.evil.net", "127.0.0.1"),
            ("http://[::1]", "[::]"),
            ("null", "example.com"),
            ("file://", ""),
            ("https://example.com.evil.net", "example.com"),
            ("chrome-extension://example.com", "example.com"),
            ("https://a.example.com", "example.com"),
        ] {
            assert!(!is_same_host(origin, host), "{origin} {host}");
        }
    }
}
