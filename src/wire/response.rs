//! What a server answers a dialled connection's request with, taken apart. Pure: whether it is the right answer is
//! [`check_response`](super::handshake::check_response)'s to say.

use super::{
    handshake::ResponseError,
    http::{self, syntax_error},
};

/// The head of a server's answer, borrowed. RFC 6455 §4.1
///
/// ```
/// let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
/// let response = sockeye::Response::parse(head, 100).unwrap();
/// assert_eq!((response.status(), response.subprotocol()), (101, Some("chat")));
/// assert_eq!(response.header("upgrade"), Some("websocket"));
/// ```
#[derive(Debug)]
pub struct Response<'a> {
    head: &'a [u8],
    status: u16,
    headers: Vec<httparse::Header<'a>>,
}

impl<'a> Response<'a> {
    /// Reads a whole head, up to and with its empty line. Its syntax is checked, and not what it says.
    ///
    /// # Errors
    /// When it is no HTTP/1.1 response, or has more than `headers_max` lines.
    pub fn parse(head: &'a [u8], headers_max: u32) -> Result<Response<'a>, ResponseError> {
        if !http::has_whole_line_ends(head) {
            return Err(ResponseError::Malformed("a line does not end in CR LF"));
        }
        if http::leading_empty_lines(head) > 0 {
            return Err(ResponseError::Malformed("it begins with an empty line")); // only a request may, RFC 9112 §2.2
        }
        let mut headers = vec![httparse::EMPTY_HEADER; headers_max as usize];
        let mut parsed = httparse::Response::new(&mut headers);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(ResponseError::Malformed("the head is incomplete")),
            Err(error) => return Err(ResponseError::Malformed(syntax_error(error))),
        }
        if parsed.version != Some(1) {
            return Err(ResponseError::Malformed("it is not HTTP/1.1"));
        }
        let (status, count) = (parsed.code.unwrap_or_default(), parsed.headers.len());
        headers.truncate(count);
        Ok(Response { head, status, headers })
    }

    /// The bytes of the head, up to and with its empty line.
    pub fn head(&self) -> &'a [u8] {
        self.head
    }

    /// The status: 101, where it opens a connection.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The value of the first header line `name`, compared without case; `None` too where it is no UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let first = self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(first.value).ok()
    }

    /// The subprotocol the server chose, one of those that were offered. §4.1 item 6
    pub fn subprotocol(&self) -> Option<&'a str> {
        self.header("Sec-WebSocket-Protocol")
    }

    /// The extensions in use with their parameters, as the server wrote them; empty where there is none. §9.1
    pub fn extensions(&self) -> &'a str {
        // No more than one is ever agreed to, so all other lines are empty.
        self.lines("Sec-WebSocket-Extensions").find(|line| !line.is_empty()).unwrap_or_default()
    }

    /// The values of all header lines `name`; what is no UTF-8 is a character that no right value has.
    pub(super) fn lines(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| std::str::from_utf8(header.value).unwrap_or("\u{fffd}"))
    }
}
