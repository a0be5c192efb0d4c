//! A request's head taken apart, be it an upgrade or plain HTTP, and what it says of a body. Pure: whether it is a valid
//! upgrade is [`Request`](super::handshake::Request)'s to say, and what to answer is decided above.

use super::{
    handshake::Refusal,
    http::{self, Target},
};
use std::ops::Deref;

/// The head of any well-formed HTTP/1.1 request, borrowed. RFC 9112 §2, §3
///
/// ```
/// let head = b"GET /page?room=1 HTTP/1.1\r\nHost: example.com\r\nAccept: text/html\r\nAccept: */*\r\n\r\n";
/// let request = sockeye::RequestHead::parse(head, 100).unwrap();
/// assert_eq!((request.method(), request.path(), request.query()), ("GET", "/page", Some("room=1")));
/// assert_eq!((request.host(), request.header("accept")), ("example.com", Some("text/html")));
/// assert!(request.lines("Accept").eq([&b"text/html"[..], b"*/*"]));
/// assert!(!request.asks_upgrade());
/// ```
#[derive(Debug)]
pub struct RequestHead<'a> {
    bytes: &'a [u8],
    method: &'a str,
    target: Target<'a>,
    host: &'a str,
    headers: Vec<httparse::Header<'a>>,
}

impl<'a> RequestHead<'a> {
    /// Reads a whole head, up to and with its empty line.
    ///
    /// # Errors
    /// The [`Refusal`] to answer with, when it is not well-formed or has more than `headers_max` lines.
    pub fn parse(bytes: &'a [u8], headers_max: u32) -> Result<RequestHead<'a>, Refusal> {
        if bytes.first() == Some(&http::TLS_HANDSHAKE) {
            return Err(Refusal::Malformed("this port does not speak TLS: use http:// or ws://"));
        }
        let lines = &bytes[http::leading_empty_lines(bytes)..];
        if !http::has_whole_line_ends(lines) {
            return Err(Refusal::Malformed("a line does not end in CR LF"));
        }
        // RFC 9112 §2.3: whatever else it says, it says it in another version.
        if version_of(lines).is_some_and(|version| version != "HTTP/1.1") {
            return Err(Refusal::HttpVersion);
        }
        let mut headers = vec![httparse::EMPTY_HEADER; headers_max as usize];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(lines) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(Refusal::Malformed("the head is incomplete")),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Refusal::TooManyHeaders { limit: headers_max });
            }
            Err(error) => return Err(Refusal::Malformed(http::syntax_error(error))),
        }
        let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
        let count = parsed.headers.len();
        headers.truncate(count);
        let mut head = RequestHead { bytes, method, target: ORIGIN_ROOT, host: "", headers };
        head.check_host()?;
        head.target = http::parse_target(target).ok_or_else(|| head.refusal_of_target())?;
        Ok(head)
    }

    /// The bytes of the head, up to and with its empty line.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The method, whose case matters: `GET`.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// Path and query as sent, percent-encoded: `/chat?room=1`.
    pub fn target(&self) -> &'a str {
        self.target.path_and_query
    }

    /// The path as sent, percent-encoded: `/chat`.
    pub fn path(&self) -> &'a str {
        let target = self.target();
        &target[..target.find('?').unwrap_or(target.len())]
    }

    /// The query as sent, without its `?`.
    pub fn query(&self) -> Option<&'a str> {
        self.target().split_once('?').map(|(_, query)| query)
    }

    /// Host and port the client asked for: from the target where it is absolute (RFC 9112 §3.2.2), else `Host`.
    pub fn host(&self) -> &'a str {
        self.target.authority.unwrap_or(self.host)
    }

    /// The page a browser makes the request from. RFC 6454 §7; absent in other clients.
    pub fn origin(&self) -> Option<&'a str> {
        self.header("Origin")
    }

    /// The value of the first header line `name`, compared without case; `None` too where it is no UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.lines(name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Names and values of all header lines, in the order and the case in which they came.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.headers.iter().map(|header| (header.name, header.value))
    }

    /// The values of all header lines `name`, compared without case.
    pub fn lines(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|h| h.value)
    }

    /// Whether it asks for an upgrade to WebSocket, be it a valid one or not: a GET whose `Upgrade` lists `websocket`.
    pub fn asks_upgrade(&self) -> bool {
        self.method == "GET" && self.lists("Upgrade", "websocket")
    }

    pub(super) fn count(&self, name: &str) -> usize {
        self.lines(name).count()
    }

    pub(super) fn exactly_one(
        &self,
        name: &str,
        none: &'static str,
        many: &'static str,
    ) -> Result<&'a str, Refusal> {
        match self.count(name) {
            0 => Err(Refusal::Malformed(none)),
            1 => self.header(name).ok_or(Refusal::Malformed("a header that must be ASCII is not")),
            _ => Err(Refusal::Malformed(many)),
        }
    }

    /// Whether the token list over all lines `name` has `token`, in any case. RFC 9110 §5.6.1
    pub(super) fn lists(&self, name: &str, token: &str) -> bool {
        self.lines(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(http::elements)
            .any(|element| element.eq_ignore_ascii_case(token))
    }

    /// What any other method than GET is refused with, where nobody answers it.
    pub(super) fn refusal_of_method(&self) -> Refusal {
        if self.method == "HEAD" { Refusal::Head } else { Refusal::Method }
    }

    /// `*` and `host:port` are targets of OPTIONS and CONNECT, so there it is the method that is wrong.
    fn refusal_of_target(&self) -> Refusal {
        match self.method {
            "GET" => Refusal::Malformed("the target is neither a path nor an http or ws URI"),
            _ => self.refusal_of_method(),
        }
    }

    /// RFC 9112 §3.2: exactly one Host, and a valid one, in any request.
    fn check_host(&mut self) -> Result<(), Refusal> {
        self.host = self.exactly_one("Host", "there is no Host", "there is more than one Host")?;
        if !http::is_host(self.host) {
            return Err(Refusal::Malformed("Host is no host and port"));
        }
        Ok(())
    }

    /// Bytes of the body that follows. Where two parsers could tell them differently there is none that is right: such
    /// requests have been used to smuggle another one past a proxy. RFC 9112 §6.3, §11.2
    pub(crate) fn body_bytes(&self) -> Result<u64, Refusal> {
        let mut lengths = self.lines("Content-Length");
        let length = lengths.next();
        if self.lines("Transfer-Encoding").next().is_some() {
            return Err(match length {
                Some(_) => Refusal::Malformed("there are both Transfer-Encoding and Content-Length"),
                None => Refusal::LengthRequired,
            });
        }
        if lengths.next().is_some() {
            return Err(Refusal::Malformed("there is more than one Content-Length"));
        }
        match length {
            None => Ok(0),
            Some(digits) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
                let append =
                    |n: u64, digit: &u8| n.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
                Ok(digits.iter().fold(0, append))
            }
            Some(_) => Err(Refusal::Malformed("Content-Length is no number")),
        }
    }

    /// Whether the client would like a 100 before it sends the body. RFC 9110 §10.1.1
    pub(crate) fn expects_continue(&self) -> Result<bool, Refusal> {
        let mut expects = false;
        for line in self.lines("Expect") {
            let line = std::str::from_utf8(line).map_err(|_| Refusal::Expectation)?;
            for expectation in http::elements(line) {
                if !expectation.eq_ignore_ascii_case("100-continue") {
                    return Err(Refusal::Expectation);
                }
                expects = true;
            }
        }
        Ok(expects)
    }
}

/// A plain HTTP request, borrowed: its [`RequestHead`], and its body once that was asked for.
///
/// ```
/// use sockeye::HttpRequest;
///
/// let head = b"POST /say HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\n\r\n";
/// let request = HttpRequest::parse(head, 100).unwrap();
/// assert_eq!((request.method(), request.path(), request.body()), ("POST", "/say", None));
/// assert_eq!(request.with_body(b"hi").body(), Some(&b"hi"[..]));
/// ```
#[derive(Debug)]
pub struct HttpRequest<'a> {
    head: RequestHead<'a>,
    body: Option<&'a [u8]>,
}

impl<'a> HttpRequest<'a> {
    /// Reads a whole head, up to and with its empty line.
    ///
    /// # Errors
    /// The [`Refusal`] to answer with, when it is not well-formed or has more than `headers_max` lines.
    pub fn parse(head: &'a [u8], headers_max: u32) -> Result<HttpRequest<'a>, Refusal> {
        RequestHead::parse(head, headers_max).map(HttpRequest::of)
    }

    /// A request of which the head came.
    pub fn of(head: RequestHead<'a>) -> HttpRequest<'a> {
        HttpRequest { head, body: None }
    }

    /// The same request, with its body.
    #[must_use]
    pub fn with_body(self, body: &'a [u8]) -> HttpRequest<'a> {
        HttpRequest { body: Some(body), ..self }
    }

    /// The body, all of it; `None` until it was asked for.
    pub fn body(&self) -> Option<&'a [u8]> {
        self.body
    }

    /// The head alone.
    pub fn into_head(self) -> RequestHead<'a> {
        self.head
    }
}

impl<'a> Deref for HttpRequest<'a> {
    type Target = RequestHead<'a>;

    fn deref(&self) -> &RequestHead<'a> {
        &self.head
    }
}

/// The version a request line ends in, where it has the form of one: `HTTP/` digit `.` digit.
fn version_of(head: &[u8]) -> Option<&str> {
    let line = head.split(|&byte| byte == b'\r').next()?;
    let word = std::str::from_utf8(line).ok()?.rsplit(' ').next()?;
    let digits = word.strip_prefix("HTTP/")?.as_bytes();
    matches!(digits, [major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit()).then_some(word)
}

const ORIGIN_ROOT: Target<'static> = Target { authority: None, path_and_query: "/" };
