//! The opening handshake, RFC 6455 §4: a request read and answered (server), written and its answer checked
//! (client). Pure: which subprotocol to choose and whom to refuse is decided above.

use super::{
    extension::{self, AnswerError, DeflateParameters},
    http::{self, put_header, reason_phrase},
    http_request::RequestHead,
    response::Response,
};
use base64::Engine as _;
use sha1::{Digest as _, Sha1};
use std::{fmt, ops::Deref};

/// A valid request to upgrade to WebSocket, borrowed from its head. RFC 6455 §4.2.1
///
/// Target, host and header lines are those of its [`RequestHead`].
///
/// ```
/// let head = b"GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// let request = sockeye::Request::parse(head, 100).unwrap();
/// assert_eq!((request.path(), request.query()), ("/chat", Some("room=1")));
/// assert_eq!(request.host(), "example.com");
/// ```
#[derive(Debug)]
pub struct Request<'a> {
    head: RequestHead<'a>,
    key: &'a str,
}

impl<'a> Request<'a> {
    /// Reads a whole head, up to and with its empty line.
    ///
    /// # Errors
    /// The [`Refusal`] to answer with, when it is not a valid upgrade or has more than `headers_max` lines.
    pub fn parse(head: &'a [u8], headers_max: u32) -> Result<Request<'a>, Refusal> {
        Request::of(RequestHead::parse(head, headers_max)?)
    }

    /// The upgrade that a head asks for.
    ///
    /// # Errors
    /// The [`Refusal`] to answer with, when it is not a valid one.
    pub fn of(head: RequestHead<'a>) -> Result<Request<'a>, Refusal> {
        if head.method() != "GET" {
            return Err(head.refusal_of_method()); // §4.2.1 item 1
        }
        let mut request = Request { head, key: "" };
        request.check_no_body()?;
        request.check_upgrade()?;
        Ok(request)
    }

    /// The subprotocols the client offers, in its order of preference. §4.2.1 item 8
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> {
        self.lines("Sec-WebSocket-Protocol")
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(http::elements)
    }

    /// The offers of permessage-deflate that can be understood, in the client's order of preference. RFC 7692 §5.1
    pub fn deflate_offers(&self) -> impl Iterator<Item = DeflateParameters> {
        self.lines("Sec-WebSocket-Extensions")
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(extension::deflate_offers)
    }

    /// The `Sec-WebSocket-Accept` that answers this request. §4.2.2 item 5.4
    pub fn accept_key(&self) -> AcceptKey {
        AcceptKey::of(self.key)
    }

    /// No body is read, so one that came would be taken for frames. RFC 9112 §6
    fn check_no_body(&self) -> Result<(), Refusal> {
        if self.lines("Transfer-Encoding").next().is_some() {
            return Err(Refusal::Malformed("a handshake has no body (Transfer-Encoding)"));
        }
        if self.lines("Content-Length").any(|value| value.is_empty() || value.iter().any(|&b| b != b'0')) {
            return Err(Refusal::Malformed("a handshake has no body (Content-Length)"));
        }
        Ok(())
    }

    /// §4.2.1 items 3 to 8, in an order that names the most telling fault.
    fn check_upgrade(&mut self) -> Result<(), Refusal> {
        if !self.lists("Upgrade", "websocket") {
            return Err(Refusal::UpgradeRequired);
        }
        if !self.lists("Connection", "upgrade") {
            return Err(Refusal::Malformed("Connection does not list Upgrade"));
        }
        match self.count("Sec-WebSocket-Version") {
            0 => return Err(Refusal::Version), // §4.4
            1 if self.header("Sec-WebSocket-Version") == Some("13") => {}
            1 => return Err(Refusal::Version),
            _ => return Err(Refusal::Malformed("there is more than one Sec-WebSocket-Version")),
        }
        self.key = self.exactly_one(
            "Sec-WebSocket-Key",
            "there is no Sec-WebSocket-Key",
            "there is more than one Sec-WebSocket-Key",
        )?;
        let mut nonce = [0; 18];
        if BASE64.decode_slice(self.key, &mut nonce) != Ok(16) {
            return Err(Refusal::Malformed("Sec-WebSocket-Key is not 16 bytes in base64"));
        }
        if self.lines("Origin").any(|origin| !origin.is_ascii()) {
            return Err(Refusal::Malformed("Origin is not ASCII"));
        }
        if self.count("Origin") > 1 {
            return Err(Refusal::Malformed("there is more than one Origin"));
        }
        let offers = self.count("Sec-WebSocket-Protocol") > 0;
        let are_tokens = self.lines("Sec-WebSocket-Protocol").all(<[u8]>::is_ascii)
            && self.subprotocols().all(http::is_token)
            && (!offers || self.subprotocols().next().is_some());
        if !are_tokens {
            return Err(Refusal::Malformed("Sec-WebSocket-Protocol is no list of tokens"));
        }
        let mut extensions = self.lines("Sec-WebSocket-Extensions").map(std::str::from_utf8);
        if !extensions.all(|value| value.is_ok_and(extension::is_extension_list)) {
            return Err(Refusal::Malformed("Sec-WebSocket-Extensions is no list of extensions")); // §9.1
        }
        Ok(())
    }
}

impl<'a> Deref for Request<'a> {
    type Target = RequestHead<'a>;

    fn deref(&self) -> &RequestHead<'a> {
        &self.head
    }
}

/// `Sec-WebSocket-Accept`: 28 characters of base64. §4.2.2 item 5.4
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AcceptKey([u8; 28]);

impl AcceptKey {
    /// The base64 of the SHA-1 of `key` and the GUID of the protocol.
    pub fn of(key: &str) -> AcceptKey {
        let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
        let mut text = [0; 28];
        BASE64.encode_slice(digest, &mut text).expect("20 bytes make 28 characters");
        AcceptKey(text)
    }

    /// The characters.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Writes the 101 that accepts `request`. RFC 6455 §4.2.2 item 5
///
/// `headers` are further lines, checked where they were made.
pub fn put_response(
    accept: AcceptKey,
    subprotocol: Option<&str>,
    deflate: Option<&DeflateParameters>,
    headers: &[(String, String)],
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept.as_bytes());
    out.extend_from_slice(b"\r\n");
    if let Some(name) = subprotocol {
        put_header("Sec-WebSocket-Protocol", name, out);
    }
    put_extensions(deflate, DeflateParameters::put_answer, out);
    for (name, value) in headers {
        put_header(name, value, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Why a handshake is refused, each with its HTTP status. RFC 6455 §4.2.2, RFC 9110 §15
///
/// ```
/// assert_eq!(sockeye::Refusal::Version.status(), 426);
/// assert_eq!(sockeye::Refusal::with_status(404, "there is nothing here").status(), 404);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// 400: the request is not what RFC 9112 or RFC 6455 §4.1 has it be.
    Malformed(&'static str),
    /// 400: `subprotocols_strict` is set and none of the subprotocols offered is known.
    Subprotocol,
    /// 403: the Origin is not in the allow-list. §10.2
    Origin,
    /// 405: the method is not GET.
    Method,
    /// 405 without a body, as the answer to HEAD has none. RFC 9110 §9.3.2
    Head,
    /// 408: the handshake took longer than `limit_ms`.
    Timeout {
        /// Milliseconds a handshake may take.
        limit_ms: u32,
    },
    /// 411: the body has no `Content-Length`. RFC 9110 §15.5.12
    LengthRequired,
    /// 413: the body has more than `limit` bytes.
    BodyTooLarge {
        /// Bytes the body may have.
        limit: u32,
    },
    /// 417: `Expect` lists something else than `100-continue`. RFC 9110 §10.1.1
    Expectation,
    /// 426: a plain HTTP request.
    UpgradeRequired,
    /// 426: `Sec-WebSocket-Version` is not 13. §4.4
    Version,
    /// 429: the address begins more than `limit` connections a second. RFC 6585 §4
    TooManyHandshakes {
        /// Connections that one address may begin in a second.
        limit: u32,
    },
    /// 431: the head is larger than `limit` bytes.
    HeadTooLarge {
        /// Bytes a head may have.
        limit: u32,
    },
    /// 431: there are more than `limit` header lines.
    TooManyHeaders {
        /// Header lines a head may have.
        limit: u32,
    },
    /// 503, with `Retry-After: 1`: a limit on connections is reached, or the server stops.
    Unavailable(&'static str),
    /// 505: the HTTP version is not 1.1.
    HttpVersion,
    /// What a handler refuses with.
    Other {
        /// The status, 400 to 599.
        status: u16,
        /// One line that says why.
        reason: String,
    },
}

/// Seconds after which to try again what was not possible at the moment.
const RETRY_AFTER_S: &str = "1";

impl Refusal {
    /// A refusal with a status and a line of one's own.
    ///
    /// # Panics
    /// When `status` is not between 400 and 599.
    pub fn with_status(status: u16, reason: impl Into<String>) -> Refusal {
        assert!((400..600).contains(&status), "a refusal has a status of 400 to 599, not {status}");
        Refusal::Other { status, reason: reason.into() }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Malformed(_) | Refusal::Subprotocol => 400,
            Refusal::Origin => 403,
            Refusal::Method | Refusal::Head => 405,
            Refusal::Timeout { .. } => 408,
            Refusal::LengthRequired => 411,
            Refusal::BodyTooLarge { .. } => 413,
            Refusal::Expectation => 417,
            Refusal::UpgradeRequired | Refusal::Version => 426,
            Refusal::TooManyHandshakes { .. } => 429,
            Refusal::HeadTooLarge { .. } | Refusal::TooManyHeaders { .. } => 431,
            Refusal::Unavailable(_) => 503,
            Refusal::HttpVersion => 505,
            Refusal::Other { status, .. } => *status,
        }
    }

    /// A short name for logs and statistics, of which there are few: neither the peer's text nor a handler's is in it.
    pub fn name(&self) -> &'static str {
        match self {
            Refusal::Malformed(_) => "malformed",
            Refusal::Subprotocol => "subprotocol",
            Refusal::Origin => "origin",
            Refusal::Method | Refusal::Head => "method",
            Refusal::Timeout { .. } => "timeout",
            Refusal::LengthRequired => "length_required",
            Refusal::BodyTooLarge { .. } => "body_too_large",
            Refusal::Expectation => "expectation",
            Refusal::UpgradeRequired => "upgrade_required",
            Refusal::Version => "version",
            Refusal::HeadTooLarge { .. } => "head_too_large",
            Refusal::TooManyHeaders { .. } => "too_many_headers",
            Refusal::Unavailable(_) => "unavailable",
            Refusal::HttpVersion => "http_version",
            _ => "other",
        }
    }

    /// Writes the whole response, after which the connection is closed.
    pub fn put(&self, out: &mut Vec<u8>) {
        let body = self.put_head(out);
        if !matches!(self, Refusal::Head) {
            out.extend_from_slice(body.as_bytes());
        }
    }

    /// Writes the head of the response, which is all of it where the request was a HEAD; the body.
    pub(crate) fn put_head(&self, out: &mut Vec<u8>) -> String {
        let status = self.status();
        let body = format!("{self}\n");
        let head = format!(
            "HTTP/1.1 {status} {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n",
            reason_phrase(status),
            body.len()
        );
        out.extend_from_slice(head.as_bytes());
        match self {
            Refusal::Method | Refusal::Head => put_header("Allow", "GET", out),
            Refusal::UpgradeRequired | Refusal::Version => {
                put_header("Upgrade", "websocket", out);
                put_header("Sec-WebSocket-Version", "13", out);
            }
            Refusal::Unavailable(_) => put_header("Retry-After", RETRY_AFTER_S, out), // RFC 9110 §10.2.3
            Refusal::Origin => put_header("Vary", "Origin", out),
            // Those of a second may come at once, so after a second there is room again.
            Refusal::TooManyHandshakes { .. } => put_header("Retry-After", "1", out),
            _ => {}
        }
        // RFC 9110 §7.8: a sender of Upgrade lists it in Connection too.
        let connection = if status == 426 { "Upgrade, close" } else { "close" };
        put_header("Connection", connection, out);
        out.extend_from_slice(b"\r\n");
        body
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Malformed(what) => write!(f, "malformed request: {what}"),
            Refusal::Subprotocol => f.write_str("none of the subprotocols offered is known here"),
            Refusal::Origin => f.write_str(
                "pages of this origin may not connect: the server's list of origins does not name it",
            ),
            Refusal::Method | Refusal::Head => f.write_str("only GET is understood here"),
            Refusal::Timeout { limit_ms } => write!(f, "the handshake took longer than {limit_ms} ms"),
            Refusal::LengthRequired => f.write_str("a body is read by its Content-Length, and there is none"),
            Refusal::BodyTooLarge { limit } => write!(f, "the request body is larger than {limit} bytes"),
            Refusal::Expectation => f.write_str("no other expectation than 100-continue is met here"),
            Refusal::UpgradeRequired => f.write_str("this is a WebSocket endpoint: connect with ws://"),
            Refusal::Version => f.write_str("only version 13 of the WebSocket protocol is spoken here"),
            Refusal::TooManyHandshakes { limit } => {
                write!(f, "this address begins more than {limit} connections a second: wait and try again")
            }
            Refusal::HeadTooLarge { limit } => write!(f, "the request head is larger than {limit} bytes"),
            Refusal::TooManyHeaders { limit } => write!(f, "the request has more than {limit} header lines"),
            Refusal::Unavailable(what) => f.write_str(what),
            Refusal::HttpVersion => f.write_str("only HTTP/1.1 is spoken here"),
            Refusal::Other { reason, .. } => f.write_str(reason),
        }
    }
}

/// Writes a client's request. RFC 6455 §4.1
///
/// `target` is path and query, `key` 16 random bytes; `headers` are further lines, checked where they were made.
pub fn put_request(
    target: &str,
    host: &str,
    key: [u8; 16],
    subprotocols: &[String],
    deflate: Option<&DeflateParameters>,
    headers: &[(String, String)],
    out: &mut Vec<u8>,
) -> AcceptKey {
    let mut nonce = [0; 24];
    BASE64.encode_slice(key, &mut nonce).expect("16 bytes make 24 characters");
    let nonce = std::str::from_utf8(&nonce).expect("base64 is ASCII");
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: 13\r\n"
    );
    out.extend_from_slice(head.as_bytes());
    if !subprotocols.is_empty() {
        put_header("Sec-WebSocket-Protocol", &subprotocols.join(", "), out);
    }
    put_extensions(deflate, DeflateParameters::put_offer, out);
    for (name, value) in headers {
        put_header(name, value, out);
    }
    out.extend_from_slice(b"\r\n");
    AcceptKey::of(nonce)
}

/// Checks a server's answer, up to and with its empty line; with it, how it compresses if it does. RFC 6455 §4.1
///
/// # Errors
/// Names what fails the connection.
pub fn check_response<'a>(
    head: &'a [u8],
    headers_max: u32,
    accept: AcceptKey,
    offered: &[String],
    deflate: Option<&DeflateParameters>,
) -> Result<(Response<'a>, Option<DeflateParameters>), ResponseError> {
    let response = Response::parse(head, headers_max)?;
    let deflate = check_switch(&response, accept, offered, deflate)?;
    Ok((response, deflate))
}

/// §4.1, what is to be validated of a server's answer: items 1 to 6.
fn check_switch(
    response: &Response<'_>,
    accept: AcceptKey,
    offered: &[String],
    deflate: Option<&DeflateParameters>,
) -> Result<Option<DeflateParameters>, ResponseError> {
    match response.status() {
        101 => {}
        status => return Err(ResponseError::of_status(status, response)),
    }
    let lines = |name: &'static str| response.lines(name);
    let lists = |name, token: &str| {
        lines(name).flat_map(http::elements).any(|element| element.eq_ignore_ascii_case(token))
    };
    // Item 2: websocket and nothing else, unlike in a request.
    let mut upgrades = lines("Upgrade");
    let upgrade = (upgrades.next(), upgrades.next());
    if !matches!(upgrade, (Some(value), None) if value.eq_ignore_ascii_case("websocket")) {
        return Err(ResponseError::Upgrade);
    }
    if !lists("Connection", "upgrade") {
        return Err(ResponseError::Connection);
    }
    let mut accepts = lines("Sec-WebSocket-Accept");
    if accepts.next().map(str::as_bytes) != Some(accept.as_bytes()) || accepts.next().is_some() {
        return Err(ResponseError::Accept);
    }
    let deflate = extension::check_answer(lines("Sec-WebSocket-Extensions"), deflate)
        .map_err(ResponseError::Extension)?;
    let mut chosen = lines("Sec-WebSocket-Protocol");
    match (chosen.next(), chosen.next()) {
        (None, _) => Ok(deflate),
        (Some(name), None) if offered.iter().any(|offer| offer == name) => Ok(deflate),
        _ => Err(ResponseError::Subprotocol),
    }
}

/// Why a server's answer fails the handshake. RFC 6455 §4.1
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ResponseError {
    /// It is no HTTP/1.1 response.
    Malformed(&'static str),
    /// The status is neither 101 nor a redirect.
    Status(u16),
    /// The status is one of 301, 302, 303, 307 and 308. Redirects are not followed: what is sent to one server is not
    /// for another one to read, and the standard for browsers forbids it.
    Redirect {
        /// The status.
        status: u16,
        /// Where it leads, as the server wrote it; empty if it did not say.
        location: String,
    },
    /// `Upgrade` is not `websocket`.
    Upgrade,
    /// `Connection` does not list `Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is absent, doubled or wrong.
    Accept,
    /// An extension was answered that was not offered, or not so.
    Extension(AnswerError),
    /// A subprotocol was answered that was not offered, or more than one.
    Subprotocol,
    /// The head is larger than `limit` bytes.
    HeadTooLarge {
        /// Bytes a head may have.
        limit: u32,
    },
}

impl ResponseError {
    fn of_status(status: u16, response: &Response<'_>) -> ResponseError {
        match status {
            301 | 302 | 303 | 307 | 308 => {
                let location = response.header("Location").unwrap_or_default().to_owned();
                ResponseError::Redirect { status, location }
            }
            _ => ResponseError::Status(status),
        }
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResponseError::Malformed(what) => write!(f, "the server's answer is malformed: {what}"),
            ResponseError::Status(code) => {
                let meaning = match code {
                    200..=299 => ": it answered as to a plain HTTP request; is this a WebSocket endpoint?",
                    400 => ": it takes the request for malformed",
                    401 => ": it asks for credentials (Authorization)",
                    403 => ": it forbids the connection (Origin or credentials, perhaps)",
                    404 => ": there is no such path",
                    405 | 501 => ": it does not upgrade a GET there; is this a WebSocket endpoint?",
                    407 => ": a proxy asks for credentials",
                    408 => ": our request did not reach it in time",
                    426 => ": it speaks another version of the protocol",
                    429 => ": it has had too many requests from here; try again later",
                    500 => ": it failed",
                    502 | 504 => ": a proxy does not reach the server behind it",
                    503 => ": it is overloaded or stopping; try again later",
                    _ => "",
                };
                write!(f, "the server answered {code}, not 101{meaning}")
            }
            ResponseError::Redirect { status, location } => {
                let location = if location.is_empty() { "somewhere it does not name" } else { location };
                write!(
                    f,
                    "the server answered {status}, not 101: a redirect to {location}, which is not followed; \
                     connect to where it leads"
                )
            }
            ResponseError::Upgrade => f.write_str("the server's Upgrade is not websocket"),
            ResponseError::Connection => f.write_str("the server's Connection does not list Upgrade"),
            ResponseError::Accept => f.write_str("the server's Sec-WebSocket-Accept does not answer our key"),
            ResponseError::Extension(error) => error.fmt(f),
            ResponseError::Subprotocol => f.write_str("the server chose a subprotocol that was not offered"),
            ResponseError::HeadTooLarge { limit } => {
                write!(f, "the server's answer is larger than {limit} bytes")
            }
        }
    }
}

fn put_extensions(
    deflate: Option<&DeflateParameters>,
    put: impl Fn(&DeflateParameters, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    if let Some(parameters) = deflate {
        out.extend_from_slice(b"Sec-WebSocket-Extensions: ");
        put(parameters, out);
        out.extend_from_slice(b"\r\n");
    }
}

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bits that a last character has too many are let pass: some clients make the key's text at random.
const BASE64: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    base64::engine::GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s1_3_the_accept_key_of_the_sample_nonce() {
        assert_eq!(AcceptKey::of("dGhlIHNhbXBsZSBub25jZQ==").as_bytes(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn s4_1_a_request_of_ours_is_one_that_we_accept() {
        let mut out = Vec::new();
        let protocols = ["chat".to_owned(), "superchat".to_owned()];
        let accept =
            put_request("/chat?a=b", "[::1]:80", *b"the sample nonce", &protocols, None, &[], &mut out);
        let request = Request::parse(&out, 100).unwrap();
        assert_eq!(request.accept_key(), accept);
        assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["chat", "superchat"]);
        let mut answer = Vec::new();
        put_response(accept, Some("superchat"), None, &[], &mut answer);
        let (response, deflate) = check_response(&answer, 100, accept, &protocols, None).unwrap();
        assert_eq!((response.subprotocol(), deflate), (Some("superchat"), None));
    }
}
