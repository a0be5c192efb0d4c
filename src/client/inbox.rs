//! What a [`WebSocket`](super::WebSocket) was told by its loop and has not handed out; and what it sent that the
//! network has not taken.

use super::Event;
use crate::{
    conn::Message,
    engine::{Cause, Closed, ConnId, Context, DialError, Handler},
    net::OwnedMessage,
    wire::{close::CloseCode, response::Response},
};
use std::collections::VecDeque;

/// The handler of a loop with one connection: it makes events, and does not read on while many wait.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    events: VecDeque<Event>,
    /// Payload bytes of the messages among these.
    bytes: usize,
    /// The loop is broken: nothing more happens.
    broken: bool,
    paused: bool,
    /// Why we closed the connection ourselves, although it was not asked for.
    failure: Option<&'static str>,
    protocol: String,
    extensions: String,
    head: Vec<u8>,
    /// How much was written when the rest was given up.
    transmitted_at_end: Option<u64>,
}

/// Messages that wait, and their bytes, above which the connection is not read.
const EVENTS_MAX: usize = 1024;
const BYTES_MAX: usize = 256 << 10;

impl Inbox {
    /// The next event to hand out. The Close waits until `is_over`: TCP has ended. §7.1.4
    pub(super) fn pop(&mut self, is_over: bool) -> Option<Event> {
        if self.is_closing() && !is_over {
            return None;
        }
        let event = self.events.pop_front()?;
        if let Event::Message(message) = &event {
            self.bytes -= message.as_message().as_bytes().len();
        }
        Some(event)
    }

    /// Whether the connection is to be read again: no message waits any more.
    pub(super) fn resume(&mut self) -> bool {
        std::mem::take(&mut self.paused)
    }

    /// Whether only the Close waits.
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.events.front(), Some(Event::Close { .. }))
    }

    /// §3.1 of the standard: a message is not told of once the connection is not open any more.
    pub(super) fn drop_messages(&mut self) {
        self.events.retain(|event| !matches!(event, Event::Message(_)));
        (self.bytes, self.paused) = (0, false);
    }

    pub(super) fn fail(&mut self, why: &'static str) {
        self.failure = Some(why);
    }

    /// The loop failed, and will go on to.
    pub(super) fn break_off(&mut self, why: String) {
        self.broken = true;
        self.lost(why);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// The connection is lost, or never was: an error, then the end.
    fn lost(&mut self, why: String) {
        self.events.push_back(Event::Error(why));
        let code = CloseCode::ABNORMAL.get();
        self.events.push_back(Event::Close { code, reason: String::new(), was_clean: false });
    }

    pub(super) fn protocol(&self) -> &str {
        &self.protocol
    }

    pub(super) fn extensions(&self) -> &str {
        &self.extensions
    }

    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    pub(super) fn transmitted_at_end(&self) -> Option<u64> {
        self.transmitted_at_end
    }
}

impl Handler for Inbox {
    fn on_response(&mut self, _: &mut Context<'_>, _: ConnId, response: &Response<'_>) {
        self.protocol = response.subprotocol().unwrap_or_default().to_owned();
        self.extensions = response.extensions().to_owned();
        self.head = response.head().to_owned();
    }

    fn on_dial_failed(&mut self, _: &mut Context<'_>, _: ConnId, error: &DialError) {
        self.lost(error.to_string());
    }

    fn on_open(&mut self, _: &mut Context<'_>, _: ConnId) {
        self.events.push_back(Event::Open);
    }

    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        self.bytes += message.as_bytes().len();
        self.events.push_back(Event::Message(match message {
            Message::Text(text) => OwnedMessage::Text(text.to_owned()),
            Message::Binary(bytes) => OwnedMessage::Binary(bytes.to_owned()),
        }));
        if !self.paused && (self.bytes >= BYTES_MAX || self.events.len() >= EVENTS_MAX) {
            self.paused = true;
            cx.pause(id);
        }
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _: ConnId, closed: &Closed<'_>) {
        let why = match closed.cause {
            Cause::Fault(fault) => Some(format!("the connection was failed: {fault}")),
            Cause::Lost(how) => Some(format!("the connection was lost: {how}")),
            Cause::Peer | Cause::Local | Cause::Panic => self.failure.map(str::to_owned),
        };
        if closed.was_clean {
            self.events.extend(why.map(Event::Error));
            let (code, reason) = (closed.code.get(), closed.reason.to_owned());
            return self.events.push_back(Event::Close { code, reason, was_clean: true });
        }
        self.transmitted_at_end = Some(cx.transmitted_bytes());
        self.lost(why.unwrap_or_default());
    }
}

/// Which of the bytes sent the network has not taken, counted in payload.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    messages: VecDeque<Queued>,
    /// The payloads of these.
    queued: u64,
    /// What was sent when nothing could be sent any more.
    lost: u64,
}

/// A message in the stream of bytes that we send.
#[derive(Clone, Copy, Debug)]
struct Queued {
    /// Bytes of the stream up to its end.
    end: u64,
    /// Bytes of its frame.
    wire: u64,
    /// Bytes of its payload, as it was sent.
    len: u64,
}

impl Queued {
    /// Payload bytes of it that wait when the network has taken the first `transmitted` bytes of the stream.
    fn waits(self, transmitted: u64) -> u64 {
        let left = self.end.saturating_sub(transmitted).min(self.wire);
        if self.wire > self.len {
            left.min(self.len) // the header goes first
        } else {
            self.len * left / self.wire.max(1) // it is compressed: of a half that waits, half
        }
    }
}

impl Unsent {
    /// A message of `len` bytes was queued as the `wire` bytes of the stream before its `end`.
    pub(super) fn queue(&mut self, end: u64, wire: u64, len: u64) {
        self.messages.push_back(Queued { end, wire, len });
        self.queued += len;
    }

    pub(super) fn lose(&mut self, len: usize) {
        self.lost += len as u64;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The network has taken the first `transmitted` bytes of the stream.
    pub(super) fn forget(&mut self, transmitted: u64) {
        while let Some(&Queued { end, len, .. }) = self.messages.front()
            && end <= transmitted
        {
            self.messages.pop_front();
            self.queued -= len;
        }
    }

    /// Payload bytes that wait, or will for ever. `at_end`: what was written when the rest was given up.
    pub(super) fn bytes(&self, at_end: Option<u64>, transmitted: u64) -> u64 {
        let transmitted = at_end.unwrap_or(transmitted);
        let begun = self.messages.iter().take_while(|message| message.end - message.wire < transmitted);
        let gone: u64 = begun.map(|message| message.len - message.waits(transmitted)).sum();
        self.queued + self.lost - gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted_in_payload_and_headers_and_control_frames_are_not() {
        let mut unsent = Unsent::default();
        unsent.queue(11, 11, 5);
        unsent.queue(17, 6, 0);
        unsent.queue(40, 16, 10); // behind a Pong of 7 bytes
        let waits: Vec<_> = [0, 6, 8, 11, 17, 24, 30, 39, 40].map(|at| unsent.bytes(None, at)).to_vec();
        assert_eq!(waits, [15, 15, 13, 10, 10, 10, 10, 1, 0]);
        unsent.forget(17);
        unsent.lose(3);
        assert_eq!((unsent.bytes(None, 17), unsent.bytes(None, 40), unsent.bytes(Some(20), 40)), (13, 3, 13));
    }

    #[test]
    fn of_a_compressed_message_what_waits_is_counted_as_it_was_sent() {
        let mut unsent = Unsent::default();
        unsent.queue(100, 100, 1_000);
        unsent.queue(120, 20, 50);
        let waits = [0, 50, 99, 100, 110, 120].map(|at| unsent.bytes(None, at));
        assert_eq!(waits, [1_050, 550, 60, 50, 25, 0]);
    }
}
