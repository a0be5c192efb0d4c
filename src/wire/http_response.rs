//! What a plain HTTP request is answered with, written. Pure: the [`Response`](super::response::Response) of a server
//! that was dialled is another thing.

use super::http::{self, put_header, reason_phrase};
use std::borrow::Cow;

/// An answer to a plain HTTP request, after which the connection is closed. RFC 9110 §15
///
/// `Content-Length` and `Connection: close` are written here and by nobody else. The body is copied once, into what is
/// to be written; one that is `'static`, such as a page of `include_bytes!`, is not copied before that.
///
/// ```
/// use sockeye::HttpResponse;
///
/// let response = HttpResponse::new(200).header("Content-Type", "text/html").body(b"<h1>hello</h1>");
/// let mut out = Vec::new();
/// response.put(&mut out);
/// assert_eq!(
///     out,
///     b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 14\r\nConnection: close\r\n\r\n<h1>hello</h1>"
/// );
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpResponse {
    status: u16,
    headers: Vec<(String, String)>,
    body: Cow<'static, [u8]>,
}

impl HttpResponse {
    /// An answer without further lines and with an empty body.
    ///
    /// # Panics
    /// When `status` is not between 200 and 599: what is less answers nothing yet.
    pub fn new(status: u16) -> HttpResponse {
        assert!((200..600).contains(&status), "an answer has a status of 200 to 599, not {status}");
        HttpResponse { status, headers: Vec::new(), body: Cow::Borrowed(&[]) }
    }

    /// Adds a header line.
    ///
    /// # Panics
    /// When `name` is no token or `value` holds a control character, for it would end the line; when `name` is
    /// `Connection`, `Content-Length` or `Transfer-Encoding`, for where the answer ends is not for it to say.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> HttpResponse {
        assert!(http::is_token(name) && http::is_field_value(value), "no header: {name:?}: {value:?}");
        assert!(
            OURS.iter().all(|ours| !ours.eq_ignore_ascii_case(name)),
            "{name} is not for a handler to set"
        );
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body, which an answer of 204 or 304 does not have. It is queued whole, whatever the marks of an outbox.
    ///
    /// # Panics
    /// When it has more than 1 GiB.
    #[must_use]
    pub fn body(mut self, body: impl Into<Cow<'static, [u8]>>) -> HttpResponse {
        self.body = body.into();
        assert!(self.body.len() <= BODY_BYTES_MAX, "a body has at most 1 GiB");
        self
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Writes the whole answer.
    pub fn put(&self, out: &mut Vec<u8>) {
        self.put_head(out);
        out.extend_from_slice(self.content());
    }

    /// Writes its head, which is all that answers a HEAD. RFC 9110 §9.3.2
    pub fn put_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            format!("HTTP/1.1 {} {}\r\n", self.status, reason_phrase(self.status)).as_bytes(),
        );
        for (name, value) in &self.headers {
            put_header(name, value, out);
        }
        // RFC 9110 §8.6: not in a 204; and in a 304 it is the length of a 200, which nobody has told us.
        if self.has_content() {
            put_header("Content-Length", &self.body.len().to_string(), out);
        }
        put_header("Connection", "close", out);
        out.extend_from_slice(b"\r\n");
    }

    /// What follows the head.
    pub(crate) fn content(&self) -> &[u8] {
        if self.has_content() { &self.body } else { &[] }
    }

    /// RFC 9110 §6.4.1
    fn has_content(&self) -> bool {
        !matches!(self.status, 204 | 304)
    }
}

/// The header lines that are ours to write.
const OURS: [&str; 3] = ["Connection", "Content-Length", "Transfer-Encoding"];

/// An outbox is one buffer.
const BODY_BYTES_MAX: usize = 1 << 30;
