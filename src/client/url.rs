//! URLs, as the WHATWG's standards for URLs and WebSockets have them: what of one is dialled, and what is asked for.

use super::Error;
use crate::{
    conn::ClientRequest,
    engine::Dial,
    wire::http::{is_field_value, is_host, is_token},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use url::{Host, Url};

/// Whom to dial for `url`, and what to ask for: for `Context::dial`.
///
/// `http` counts as `ws`. A user and password in the URL are sent as `Authorization: Basic`. RFC 6455 §3, WHATWG
/// WebSockets §3.1
///
/// ```
/// let dial = sockeye::client::dial("ws://example.com:81/chat?room=1", &["chat"]).unwrap();
/// assert_eq!((dial.host.as_str(), dial.port), ("example.com", 81));
/// assert_eq!(dial.request.target, "/chat?room=1");
/// assert!(sockeye::client::dial("ws://example.com/#there", &[]).is_err());
/// ```
///
/// # Errors
/// [`Error::Syntax`] for what is no absolute URL, has another scheme or a fragment, and for subprotocols that are no
/// tokens or are there twice; [`Error::TlsNotBuilt`] for `wss` and `https` without the feature `tls`.
pub fn dial(url: &str, protocols: &[&str]) -> Result<Dial, Error> {
    dial_with(url, protocols, &[])
}

/// As [`dial`], with further header lines, such as `Authorization`, `Cookie` or `Origin`.
///
/// # Errors
/// As [`dial`]; and [`Error::Header`] for a line that is none, or that the handshake makes itself.
pub fn dial_with(url: &str, protocols: &[&str], headers: &[(String, String)]) -> Result<Dial, Error> {
    dial_to(&parse(url)?, protocols, headers)
}

/// The URL that is connected to: `http` replaced by `ws`.
pub(super) fn parse(text: &str) -> Result<Url, Error> {
    let syntax = |why: &str| Error::Syntax(format!("{text:?} is no WebSocket URL: {why}"));
    let mut url = Url::parse(text).map_err(|error| syntax(&error.to_string()))?;
    let scheme = match url.scheme() {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        other => return Err(syntax(&format!("its scheme is {other}, not ws or wss"))),
    };
    url.set_scheme(scheme).map_err(|()| syntax("its scheme cannot be changed"))?;
    if url.fragment().is_some() {
        return Err(syntax("it has a fragment, which means nothing to a server; write %23 for a #"));
    }
    Ok(url)
}

pub(super) fn dial_to(url: &Url, protocols: &[&str], headers: &[(String, String)]) -> Result<Dial, Error> {
    let syntax = |why: String| Error::Syntax(format!("{url} cannot be dialled: {why}"));
    check_protocols(protocols)?;
    for (name, value) in headers {
        check_header(name, value)?;
    }
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(ip)) => ip.to_string(),
        Some(Host::Ipv6(ip)) => ip.to_string(),
        None => return Err(syntax("it has no host".to_owned())),
    };
    // §4.1 item 4: with the port where it is not the scheme's own, which the parser leaves out.
    let mut authority = url.host_str().unwrap_or_default().to_owned();
    if let Some(port) = url.port() {
        authority = format!("{authority}:{port}");
    }
    if !is_host(&authority) {
        return Err(syntax(format!("{authority:?} cannot stand in a Host header")));
    }
    let tls = url.scheme() == "wss";
    if tls && cfg!(not(feature = "tls")) {
        return Err(Error::TlsNotBuilt { scheme: url.scheme().to_owned() });
    }
    let mut target = url.path().to_owned();
    if let Some(query) = url.query() {
        target = format!("{target}?{query}");
    }
    let mut headers = headers.to_vec();
    let is_given = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Authorization"));
    if let Some(credentials) = credentials(url).filter(|_| !is_given) {
        headers.push(("Authorization".to_owned(), credentials));
    }
    let subprotocols = protocols.iter().map(|&name| name.to_owned()).collect();
    let request = ClientRequest { target, host: authority, subprotocols, headers };
    Ok(Dial { host, port: url.port_or_known_default().unwrap_or(80), tls, local: None, request })
}

/// §4.1 item 10: tokens, and none twice.
fn check_protocols(protocols: &[&str]) -> Result<(), Error> {
    for (i, name) in protocols.iter().enumerate() {
        if !is_token(name) {
            return Err(Error::Syntax(format!(
                "subprotocol {name:?} is no token: letters, digits and !#$%&'*+-.^_`|~"
            )));
        }
        if protocols[..i].contains(name) {
            return Err(Error::Syntax(format!("subprotocol {name:?} is there twice")));
        }
    }
    Ok(())
}

/// Whether `name: value` may be sent along with a request of ours.
fn check_header(name: &str, value: &str) -> Result<(), Error> {
    let refuse = |why| Err(Error::Header { name: name.to_owned(), why });
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    let prefix = name.as_bytes().get(..PREFIX.len());
    if !is_token(name) {
        return refuse("that is no name of a header");
    }
    if !is_field_value(value) {
        return refuse("its value holds a control character");
    }
    if ["Host", "Upgrade", "Connection"].into_iter().any(is)
        || prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
    {
        return refuse("the handshake makes it itself");
    }
    if ["Content-Length", "Transfer-Encoding"].into_iter().any(is) {
        return refuse("a handshake has no body");
    }
    Ok(())
}

const PREFIX: &[u8] = b"Sec-WebSocket-";

/// The URL's user and password, as RFC 7617 §2 has them.
fn credentials(url: &Url) -> Option<String> {
    let (user, password) = (url.username(), url.password());
    if user.is_empty() && password.is_none() {
        return None;
    }
    let pair = [percent_decoded(user), percent_decoded(password.unwrap_or_default())].join(&b':');
    Some(format!("Basic {}", STANDARD.encode(pair)))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut decoded) = (text.as_bytes(), Vec::with_capacity(text.len()));
    while let [first, rest @ ..] = bytes {
        let escape = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                decoded.push(byte);
                bytes = &rest[2..];
            }
            _ => {
                decoded.push(*first);
                bytes = rest;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_as_browsers_do() {
        for (url, serialised, host, port, authority, target) in [
            ("ws://a", "ws://a/", "a", 80, "a", "/"),
            ("http://A:80/x", "ws://a/x", "a", 80, "a", "/x"),
            ("ws://[::1]:81?q", "ws://[::1]:81/?q", "::1", 81, "[::1]:81", "/?q"),
            (
                "  ws://1.2:8/ä b?ö  ",
                "ws://1.0.0.2:8/%C3%A4%20b?%C3%B6",
                "1.0.0.2",
                8,
                "1.0.0.2:8",
                "/%C3%A4%20b?%C3%B6",
            ),
            (
                "ws://bücher.example/",
                "ws://xn--bcher-kva.example/",
                "xn--bcher-kva.example",
                80,
                "xn--bcher-kva.example",
                "/",
            ),
            ("WS:\\\\a/%23", "ws://a/%23", "a", 80, "a", "/%23"),
        ] {
            let parsed = parse(url).unwrap();
            assert_eq!(parsed.as_str(), serialised);
            let dial = dial(url, &[]).unwrap();
            assert_eq!((&*dial.host, dial.port), (host, port), "{url}");
            assert_eq!((&*dial.request.host, &*dial.request.target), (authority, target), "{url}");
        }
    }

    #[test]
    fn what_is_no_websocket_url_is_a_syntax_error() {
        for url in [
            "",
            "/chat",
            "a:1",
            "ftp://a/",
            "ws://",
            "ws://a/#",
            "ws://a/#x",
            "wss://a/#x",
            "ws://a b/",
            "ws://a:65536/",
            "mailto:a@b",
            "ws://a\"b/",
        ] {
            let error = dial(url, &[]).unwrap_err();
            assert!(matches!(error, Error::Syntax(_)), "{url}: {error}");
        }
        for url in ["wss://a/", "https://a/", "HTTPS://a"] {
            match dial(url, &[]) {
                Ok(dial) => assert!(cfg!(feature = "tls") && dial.tls && dial.port == 443, "{url}"),
                Err(error) => assert!(
                    matches!(error, Error::TlsNotBuilt { .. }) && error.to_string().contains("TLS"),
                    "{url}: {error}"
                ),
            }
        }
    }

    #[test]
    fn subprotocols_are_tokens_and_none_is_there_twice() {
        for protocols in [&["a", "a"][..], &[""], &["a b"], &["a,b"], &["ä"], &["a\r\nX: y"]] {
            assert!(matches!(dial("ws://a/", protocols), Err(Error::Syntax(_))), "{protocols:?}");
        }
        let dial = dial("ws://a/", &["a", "A", "b"]).unwrap();
        assert_eq!(dial.request.subprotocols, ["a", "A", "b"]);
    }

    #[test]
    fn headers_that_the_handshake_makes_or_that_are_none_are_refused() {
        let with = |name: &str, value: &str| {
            dial_with("ws://a/", &[], &[(name.to_owned(), value.to_owned())]).map(|dial| dial.request.headers)
        };
        for name in [
            "Host",
            "upgrade",
            "CONNECTION",
            "Sec-WebSocket-Key",
            "sec-websocket-extensions",
            "Content-Length",
            "a b",
            "",
            "é",
        ] {
            assert!(matches!(with(name, "x"), Err(Error::Header { .. })), "{name}");
        }
        assert!(matches!(with("Cookie", "a\r\nX: y"), Err(Error::Header { .. })));
        for name in ["Authorization", "Cookie", "Origin", "Sec-WebSocke", "User-Agent"] {
            assert_eq!(with(name, "a=b").unwrap(), [(name.to_owned(), "a=b".to_owned())]);
        }
    }

    #[test]
    fn r7617_2_a_user_and_password_become_basic_credentials_unless_others_are_given() {
        let authorization = |url: &str| dial(url, &[]).unwrap().request.headers;
        let basic = |text: &str| vec![("Authorization".to_owned(), format!("Basic {text}"))];
        assert_eq!(authorization("ws://Aladdin:open%20sesame@a/"), basic("QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert_eq!(authorization("ws://u@a/"), basic("dTo="));
        assert_eq!(authorization("ws://a/"), []);
        let own = [("authorization".to_owned(), "Bearer x".to_owned())];
        assert_eq!(dial_with("ws://u:p@a/", &[], &own).unwrap().request.headers, own);
    }
}
