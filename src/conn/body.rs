//! Plain HTTP on a connection whose handshake is not over: the body of a request, and the answer. RFC 9112 §6
//!
//! The head of a request stays in front of its body in the connection's own buffer, for both are looked at together.

use super::{Commons, Connection, Head, Input, Receive, State, Step};
use crate::{
    time::Now,
    wire::{handshake::Refusal, http_request::HttpRequest, http_response::HttpResponse},
};

impl Connection {
    /// Waits for the body of a request of which [`Step::Head`] brought the head: [`Step::Body`] follows, at once where
    /// there is none. `Limits::handshake_ms_max` bounds head and body together.
    ///
    /// A client that asks whether to go on, `Expect: 100-continue`, is told so in `out` unless all of the body is in
    /// `input` already. Memory follows what comes and not what `Content-Length` announces.
    ///
    /// ```
    /// use sockeye::{Commons, Config, Connection, HttpRequest, HttpResponse, Input, Now, Step};
    ///
    /// let mut commons = Commons::new(&Config::default(), |bytes| bytes.fill(7));
    /// let (now, mut input, mut out) = (Now::default(), Input::new(4096), Vec::new());
    /// let mut connection = Connection::server(now, &mut commons);
    /// let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    /// input.space()[..bytes.len()].copy_from_slice(bytes);
    /// input.fill(bytes.len());
    ///
    /// let Ok(Step::Head(head)) = connection.receive(now, &mut input, &mut commons) else { panic!() };
    /// let head = connection.head(&input, head).to_vec();
    /// let request = HttpRequest::parse(&head, 100).unwrap();
    /// connection.expect_body(&request, 1_000, &input, &mut commons, &mut out).unwrap();
    ///
    /// let Ok(Step::Body { request, head_bytes }) = connection.receive(now, &mut input, &mut commons) else { panic!() };
    /// let bytes = connection.head(&input, request).to_vec();
    /// let request = HttpRequest::parse(&bytes[..head_bytes], 100).unwrap().with_body(&bytes[head_bytes..]);
    /// assert_eq!(request.body(), Some(&b"hi"[..]));
    /// let response = HttpResponse::new(200).body(b"taken");
    /// let body = connection.respond(now, &request, &response, &mut commons, &mut out);
    /// out.extend_from_slice(body);
    /// assert!(out.starts_with(b"HTTP/1.1 200 OK\r\n") && out.ends_with(b"\r\n\r\ntaken"));
    /// ```
    ///
    /// # Errors
    /// The [`Refusal`] to answer with: the body has more than `bytes_max` bytes, or than 1 GiB, its length is not told by
    /// exactly one valid `Content-Length`, or the client expects something else than a 100.
    pub fn expect_body(
        &mut self,
        request: &HttpRequest<'_>,
        bytes_max: u32,
        input: &Input,
        commons: &mut Commons,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        debug_assert!(matches!(self.state, State::Handshake { .. }));
        self.flags.set(ASKED_HEAD, request.method() == "HEAD");
        let limit = bytes_max.min(BODY_BYTES_MAX);
        let left = match request.body_bytes()? {
            bytes if bytes <= u64::from(limit) => bytes as u32,
            _ => return Err(Refusal::BodyTooLarge { limit }),
        };
        if request.expects_continue()? && input.unread().len() < left as usize {
            out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let head = request.bytes();
        self.release(commons);
        commons.pool.grow(&mut self.buffer, 0, head.len(), head.len() + left as usize);
        self.buffer[..head.len()].copy_from_slice(head);
        self.filled = head.len() as u32;
        self.receive = Receive::Body { head: head.len() as u32, left };
        Ok(())
    }

    /// Answers a plain HTTP request: the head of the answer is appended to `out`, and returned is the body that is to
    /// follow it, empty where the request is a HEAD. The connection is closed; see [`Connection::ending`].
    pub fn respond<'r>(
        &mut self,
        now: Now,
        request: &HttpRequest<'_>,
        response: &'r HttpResponse,
        commons: &mut Commons,
        out: &mut Vec<u8>,
    ) -> &'r [u8] {
        self.release(commons);
        response.put_head(out);
        self.flags.set(RESPONDS, true);
        self.close_at(now, true);
        if request.method() == "HEAD" { &[] } else { response.content() }
    }

    /// The peer took some of what is being written. An answer may be long and its reader slow: it has time as long as it
    /// takes a byte now and then.
    pub(crate) fn taken(&mut self, now: Now) {
        if self.flags.has(RESPONDS)
            && let State::Closed { written: false, .. } = self.state
        {
            self.close_at(now, true);
        }
    }

    /// Takes what the input has of a body.
    pub(super) fn receive_body(
        &mut self,
        head: u32,
        left: u32,
        input: &mut Input,
        commons: &mut Commons,
    ) -> Step {
        let n = input.unread().len().min(left as usize);
        if n > 0 {
            self.grow(n, left as usize, commons);
            let (filled, range) = (self.filled as usize, input.take(n));
            self.buffer[filled..filled + n].copy_from_slice(input.get(range));
            self.filled += n as u32;
        }
        let left = left - n as u32;
        self.receive = Receive::Body { head, left };
        match left {
            0 => Step::Body { request: Head::Kept(self.filled as usize), head_bytes: head as usize },
            _ => Step::Pending,
        }
    }
}

/// Of `flags`: the request is a HEAD, so the answer has no body, be it a refusal. RFC 9110 §9.3.2
pub(super) const ASKED_HEAD: u16 = 1 << 11;
/// Of `flags`: what is written last is the answer to a plain HTTP request.
pub(super) const RESPONDS: u16 = 1 << 12;

/// A body is held in one buffer.
const BODY_BYTES_MAX: u32 = 1 << 30;
