//! Plain HTTP on the port of the WebSockets: a request is either an upgrade or the handler's to answer.

use super::{ConnId, Core, DialError, Engine, Handler, Lost, Refused, panicked, peers::flag};
use crate::{
    conn::{ConnectionState, Head, Input},
    time::Now,
    wire::{
        handshake::{Refusal, Request},
        http_request::{HttpRequest, RequestHead},
        http_response::HttpResponse,
    },
};
use std::io;

/// What a [`Handler`] does with a plain HTTP request. Whatever it is, the connection is closed once it is answered.
///
/// ```
/// use sockeye::{Answer, ConnId, Context, Handler, HttpRequest, HttpResponse, Message};
///
/// /// Serves a page, and takes what is posted to it.
/// struct Page;
///
/// impl Handler for Page {
///     fn on_http(&mut self, cx: &mut Context<'_>, _: ConnId, request: &HttpRequest<'_>) -> Answer {
///         match (request.method(), request.path(), request.body()) {
///             ("GET" | "HEAD", "/", _) => {
///                 let page = HttpResponse::new(200).header("Content-Type", "text/html; charset=utf-8");
///                 Answer::Respond(page.body(b"<!doctype html><title>hello</title>"))
///             }
///             ("POST", "/say", None) => Answer::AwaitBody { bytes_max: 64 << 10 },
///             ("POST", "/say", Some(body)) => {
///                 cx.publish("room", body);
///                 Answer::Respond(HttpResponse::new(204))
///             }
///             (_, "/" | "/say", _) => Answer::Respond(HttpResponse::new(405).header("Allow", "GET, HEAD, POST")),
///             _ => Answer::Respond(HttpResponse::new(404).body(b"there is nothing here\n")),
///         }
///     }
///     fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {}
/// }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Answer {
    /// As if only WebSockets were served: 426 to a GET, 405 to any other method.
    #[default]
    Refuse,
    /// With this.
    Respond(HttpResponse),
    /// Not yet: [`Handler::on_http`] is called again when the body is whole.
    ///
    /// A body needs exactly one valid `Content-Length` (else 400, and 411 where it is chunked), of at most `bytes_max`
    /// (else 413, before a byte of it is read), and none is an empty one. It comes within `Limits::handshake_ms_max`
    /// (else 408) and is counted in `Limits::buffered_bytes_max`. Asking for one that is there already is a mistake, and
    /// answered with 500.
    AwaitBody {
        /// Most bytes the body may have; never more than 1 GiB.
        bytes_max: u32,
    },
}

impl<H: Handler> Engine<H> {
    /// The head of a request came.
    pub(super) fn asked(&mut self, now: Now, index: u32, head: Head, input: &Input) {
        let kept = self.core.peers[index].conn.take_head();
        let bytes = match &head {
            Head::Input(range) => input.get(range.clone()),
            Head::Kept(len) => &kept[..*len],
        };
        match RequestHead::parse(bytes, self.core.commons.limits.headers_max) {
            Ok(head) => match self.core.admit_client(now, index, &head) {
                Ok(()) if head.asks_upgrade() => self.upgrade(now, index, head),
                Ok(()) => self.answer(now, index, HttpRequest::of(head), input),
                Err(refusal) => self.refuse(now, index, &refusal, Some(head.path())),
            },
            Err(refusal) => self.refuse(now, index, &refusal, None),
        }
        self.core.commons.pool.give(kept);
    }

    /// The body that the handler asked for came, behind its head.
    pub(super) fn body_came(
        &mut self,
        now: Now,
        index: u32,
        request: Head,
        head_bytes: usize,
        input: &Input,
    ) {
        let kept = self.core.peers[index].conn.take_head();
        let bytes = match &request {
            Head::Input(range) => input.get(range.clone()),
            Head::Kept(len) => &kept[..*len],
        };
        let (head, body) = bytes.split_at(head_bytes);
        match HttpRequest::parse(head, self.core.commons.limits.headers_max) {
            Ok(request) => self.answer(now, index, request.with_body(body), input),
            Err(refusal) => self.refuse(now, index, &refusal, None),
        }
        self.core.commons.pool.give(kept);
    }

    fn answer(&mut self, now: Now, index: u32, request: HttpRequest<'_>, input: &Input) {
        let (id, path) = (self.core.peers.id(index), request.path());
        let answer = self.call(now, index, |handler, cx| handler.on_http(cx, id, &request));
        let Some(answer) = answer else { return self.refuse(now, index, &panicked(), Some(path)) };
        match answer {
            Answer::Refuse => {
                let refusal = Request::of(request.into_head()).err();
                self.refuse(now, index, &refusal.unwrap_or(Refusal::UpgradeRequired), Some(path));
            }
            Answer::Respond(response) => self.core.respond(now, index, &request, &response),
            Answer::AwaitBody { .. } if request.body().is_some() => {
                let refusal = Refusal::with_status(500, "the body was asked for a second time");
                self.refuse(now, index, &refusal, Some(path));
            }
            Answer::AwaitBody { bytes_max } => {
                if let Err(refusal) = self.core.expect_body(index, &request, bytes_max, input) {
                    self.refuse(now, index, &refusal, Some(path));
                }
            }
        }
    }

    /// Refuses a handshake that the handler did not refuse, and tells it so. `path`: of its request, where there is one.
    pub(super) fn refuse(&mut self, now: Now, index: u32, refusal: &Refusal, path: Option<&str>) {
        self.core.refuse(now, index, refusal);
        let id = self.core.peers.id(index);
        self.call(now, index, |handler, cx| handler.on_refused(cx, id, &Refused::Http { refusal, path }));
    }

    /// The peer of `id` does not speak TLS as it should, or shows nothing that is trusted: it can be said nothing.
    pub fn handle_tls_failed(&mut self, now: Now, id: ConnId, why: &str) {
        let Some(index) = self.core.peers.find(id) else { return };
        let is_dialled = self.dial_failed(now, index, &DialError::Tls { why: why.to_owned() });
        if !is_dialled && self.core.peers[index].conn.state() == ConnectionState::Handshake {
            self.core.statistics.handshakes.tls_failed += 1;
            self.core.abandon(now, index);
            self.call(now, index, |handler, cx| handler.on_refused(cx, id, &Refused::Tls { why }));
        } else if !is_dialled {
            self.lose(now, index, Lost::Io(io::ErrorKind::InvalidData));
        }
        self.settle(now);
    }
}

impl Core {
    fn respond(&mut self, now: Now, index: u32, request: &HttpRequest<'_>, response: &HttpResponse) {
        self.statistics.answered(response.status());
        let body =
            self.with_outbox(index, |conn, commons, out| conn.respond(now, request, response, commons, out));
        if !body.is_empty() && !self.peers[index].flags.has(flag::UNWRITABLE) {
            self.queue_bytes(index, body);
        }
        self.peers[index].outbox.begin_with_all();
        self.end_if_written(now, index);
        self.schedule(now, index);
    }

    fn expect_body(
        &mut self,
        index: u32,
        request: &HttpRequest<'_>,
        bytes_max: u32,
        input: &Input,
    ) -> Result<(), Refusal> {
        let expected = self.with_outbox(index, |conn, commons, out| {
            conn.expect_body(request, bytes_max, input, commons, out)
        });
        self.peers[index].outbox.begin_with_all();
        expected
    }
}
