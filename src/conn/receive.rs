//! Receiving: RFC 6455 §5 in the order of its bytes, and the head of §4 before them.

use super::{
    Aside, Block, Commons, Connection, Dialled, Fault, Input, MESSAGE_HEADROOM, Message, PINGED, Receive,
    Role, State, Unfinished, deflate,
};
use crate::{
    time::{Now, Stamp},
    wire::{
        close::{self, CloseCode},
        frame::{self, Length, Opcode},
        handshake::{self, ResponseError},
        http::{self, HeadEnd},
        mask, utf8,
    },
};
use std::ops::Range;

/// What the bytes so far amount to. Ranges are into the [`Input`] that brought them.
#[derive(Debug)]
pub enum Step {
    /// All bytes are taken; more are needed.
    Pending,
    /// Server: the head of a request is whole. Answer with `accept` or `refuse`, or, where it is plain HTTP, with
    /// `respond`, at once or after `expect_body`; [`Connection::head`] has its bytes.
    Head(Head),
    /// Server: the body that `expect_body` asked for is whole. Answer with `respond` or `refuse`.
    Body {
        /// Head and body, the one behind the other; [`Connection::head`] has the bytes of both.
        request: Head,
        /// How many of these are the head.
        head_bytes: usize,
    },
    /// Server: the head is larger than allowed. Answer with `refuse`.
    HeadTooLarge,
    /// Client: the server accepted, with an answer that is right; the connection is open. [`Connection::head`] has its
    /// bytes, for [`Response::parse`](crate::wire::response::Response::parse). §4.1
    Opened(Head),
    /// Client: the server's answer fails the handshake; the connection is closed. [`Connection::head`] has the bytes of
    /// its head, unless that is too large. §4.1
    Failed(ResponseError, Option<Head>),
    /// A message is whole; [`Connection::message`] has it.
    Message(Incoming),
    /// A Ping, to be answered with a Pong of the same payload. §5.5.2
    Ping(Range<usize>),
    /// A Pong. §5.5.3
    Pong(Range<usize>),
    /// The peer's Close, valid; to be answered by [`Connection::answer_close`]. §5.5.1
    Close {
        /// Its code; `None` for an empty body.
        code: Option<CloseCode>,
        /// Its reason, which is UTF-8.
        reason: Range<usize>,
    },
}

/// Where a head is: in the input, or kept because it came in pieces.
#[derive(Debug)]
pub enum Head {
    /// In the input.
    Input(Range<usize>),
    /// In the connection: so many bytes.
    Kept(usize),
}

/// A whole message: what it is and where.
#[derive(Debug)]
pub struct Incoming {
    /// [`Opcode::Text`] or [`Opcode::Binary`].
    pub opcode: Opcode,
    pub(crate) place: Place,
    /// Where it is in the compressed form it came in, if it may be sent on so.
    pub(crate) compressed: Option<Compressed>,
}

/// Where the compressed form of a message is, until the next step.
#[derive(Clone, Debug)]
pub(crate) enum Compressed {
    /// One whole frame, unmasked where it was read.
    Input(Range<usize>),
    /// With the codecs: it was assembled.
    Codecs(Range<usize>),
}

/// Where a message is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// One whole frame, unmasked where it was read.
    Input(Range<usize>),
    /// In the connection's own buffer, where it was assembled.
    Kept,
}

impl Connection {
    /// Takes bytes of `input` up to the next step. Call again until [`Step::Pending`], then read more.
    ///
    /// # Errors
    /// The peer broke the protocol: call [`Connection::fail`], which says so to the peer and closes.
    pub fn receive(&mut self, now: Now, input: &mut Input, commons: &mut Commons) -> Result<Step, Fault> {
        self.heard(now);
        if let Receive::Delivered = self.receive {
            self.release(commons);
            self.receive = Receive::Header;
        }
        match self.state {
            State::Open | State::Closing { .. } => self.receive_frame(now, input, commons),
            State::Handshake { .. } => match self.receive {
                Receive::Body { head, left } => Ok(self.receive_body(head, left, input, commons)),
                _ => self.receive_head(now, input, commons),
            },
            State::Closed { .. } => {
                input.discard(); // §1.4: data after a Close is dropped
                Ok(Step::Pending)
            }
        }
    }

    /// The peer shows life; when it was asked for it, if it was, so that its next deadline is an earlier one.
    #[inline]
    pub(crate) fn heard(&mut self, now: Now) -> Option<Stamp> {
        let pinged_at = std::mem::replace(&mut self.heard_at, Stamp::at(now.tick));
        self.flags.replace(PINGED, false).then_some(pinged_at)
    }

    /// The message of a step, checked to be UTF-8 where it is text.
    ///
    /// # Errors
    /// [`Fault::InvalidUtf8`]
    #[inline]
    pub fn message<'a>(&'a self, input: &'a Input, incoming: &Incoming) -> Result<Message<'a>, Fault> {
        let payload = match &incoming.place {
            Place::Input(range) => input.get(range.clone()),
            Place::Kept => self.kept_message(),
        };
        message_of(incoming.opcode, payload)
    }

    /// The bytes of a head, up to and with its empty line.
    pub fn head<'a>(&'a self, input: &'a Input, head: Head) -> &'a [u8] {
        match head {
            Head::Input(range) => input.get(range),
            Head::Kept(len) => &self.buffer[..len],
        }
    }

    /// Takes the buffer of a head that came in pieces out of the connection.
    pub(crate) fn take_head(&mut self) -> Block {
        self.filled = 0;
        std::mem::take(&mut self.buffer)
    }

    /// Where the rest of an unfinished frame may be read straight into, past the [`Input`]. Call
    /// [`Connection::fill`] with what came, before [`Connection::receive`] with what came behind it.
    pub fn space(&mut self, commons: &mut Commons) -> Option<&mut [u8]> {
        let Receive::Payload { left, .. } = self.receive else { return None };
        if !self.is_open() || left == 0 {
            return None;
        }
        self.grow(1, left as usize, commons);
        let filled = self.filled as usize;
        let end = self.buffer.len().min(filled + left as usize);
        Some(&mut self.buffer[filled..end])
    }

    /// Says that the first `n` bytes of [`Connection::space`] are filled.
    ///
    /// # Errors
    /// [`Fault::InvalidUtf8`], at the first byte that cannot be right.
    pub fn fill(&mut self, now: Now, n: usize) -> Result<(), Fault> {
        self.heard(now);
        if n > 0 { self.payload_came(now, n) } else { Ok(()) }
    }

    /// The common case in one go: a message that is one unfragmented frame, all of it in the input, while nothing else
    /// is under way. A server unmasks it where it lies, or behind the replies so far, where its own would be.
    /// Anything else is for [`Connection::receive`].
    ///
    /// `MASKED` says whether the peer masks, as a client's does; it is a constant so that the loop over a read's frames
    /// asks it once.
    #[inline]
    pub(crate) fn receive_whole<const MASKED: bool>(
        &mut self,
        input: &mut Input,
        message_bytes_max: u32,
    ) -> Option<(Opcode, Range<usize>)> {
        debug_assert_eq!(MASKED, self.role() == Role::Server);
        let bytes = input.unread();
        let (first, len, key, header) =
            if MASKED { small_masked_header(bytes)? } else { small_bare_header(bytes)? };
        let opcode = match first {
            FINAL_TEXT => Opcode::Text,
            FINAL_BINARY => Opcode::Binary,
            _ => return None,
        };
        let minimal = header == if MASKED { 6 } else { 2 } || len > 125;
        let fits = bytes.len() - header >= len && len <= message_bytes_max as usize;
        let idle = self.message.is_none() && self.kept == 0 && matches!(self.receive, Receive::Header);
        if !(minimal && fits && idle && self.is_open()) {
            return None;
        }
        input.take(header);
        let payload =
            if MASKED { input.take_unmasked(len, header - key.len(), key) } else { input.take(len) };
        Some((opcode, payload))
    }

    // ------------------------------------------------------------------ §4: the head

    fn receive_head(&mut self, now: Now, input: &mut Input, commons: &mut Commons) -> Result<Step, Fault> {
        let limit = commons.limits.head_bytes_max as usize;
        let kept = self.filled as usize;
        if kept == 0 {
            if self.role() == Role::Server && input.unread().first() == Some(&http::TLS_HANDSHAKE) {
                // No end of a head will come: whoever says this waits for an answer in TLS.
                let range = input.take(1);
                return Ok(self.head_came(now, Head::Input(range), input, commons));
            }
            match http::find_head_end(input.unread(), 0) {
                HeadEnd::At(end) if end > limit => return Ok(self.head_too_large(now, input, commons)),
                HeadEnd::At(end) => {
                    let range = input.take(end);
                    return Ok(self.head_came(now, Head::Input(range), input, commons));
                }
                HeadEnd::Incomplete if input.unread().is_empty() => return Ok(Step::Pending),
                HeadEnd::Incomplete => {}
            }
        }
        // It comes in pieces. What lies past the end of the head is not copied: it is frames.
        let taken = input.unread().len().min((limit + 1).saturating_sub(kept));
        commons.pool.grow(&mut self.buffer, kept, kept + taken, 0);
        self.buffer[kept..kept + taken].copy_from_slice(&input.unread()[..taken]);
        // What was kept is known to hold no end of the head.
        match http::find_head_end(&self.buffer[..kept + taken], kept) {
            HeadEnd::At(end) if end <= limit => {
                input.take(end - kept);
                self.filled = end as u32;
                Ok(self.head_came(now, Head::Kept(end), input, commons))
            }
            _ if kept + taken > limit => Ok(self.head_too_large(now, input, commons)),
            _ => {
                input.take(taken);
                self.filled = (kept + taken) as u32;
                Ok(Step::Pending)
            }
        }
    }

    fn head_too_large(&mut self, now: Now, input: &mut Input, commons: &mut Commons) -> Step {
        input.discard();
        match self.role() {
            Role::Server => Step::HeadTooLarge,
            Role::Client => {
                self.abandon(now, commons);
                let limit = commons.limits.head_bytes_max;
                Step::Failed(ResponseError::HeadTooLarge { limit }, None)
            }
        }
    }

    fn head_came(&mut self, now: Now, head: Head, input: &Input, commons: &mut Commons) -> Step {
        let Some(dialled) = self.take_dialled() else { return Step::Head(head) };
        let bytes = match &head {
            Head::Input(range) => input.get(range.clone()),
            Head::Kept(len) => &self.buffer[..*len],
        };
        let checked = handshake::check_response(
            bytes,
            commons.limits.headers_max,
            dialled.accept,
            &dialled.subprotocols,
            dialled.deflate.as_ref(),
        );
        if let Some(offer) = &dialled.deflate {
            commons.codecs.end_offer(offer);
        }
        let checked = checked.map(|(_, answer)| answer);
        self.receive = Receive::Delivered; // the head, where it was kept, is cleared away
        match checked {
            Ok(answer) => {
                self.state = State::Open;
                if let (Some(offer), Some(answer)) = (&dialled.deflate, &answer) {
                    self.agree(commons.codecs.agreed(offer, answer), commons);
                }
                Step::Opened(head)
            }
            Err(error) => {
                self.close_at(now, true);
                Step::Failed(error, Some(head))
            }
        }
    }

    fn take_dialled(&mut self) -> Option<Dialled> {
        match self.aside.take().map(|aside| *aside) {
            Some(Aside::Dialled(dialled)) => Some(dialled),
            aside => {
                self.aside = aside.map(Box::new);
                None
            }
        }
    }

    // ------------------------------------------------------------------ §5: frames

    fn receive_frame(&mut self, now: Now, input: &mut Input, commons: &mut Commons) -> Result<Step, Fault> {
        self.give_back_kept(input, commons);
        loop {
            match self.receive {
                Receive::Payload { .. } => {
                    if let Some(step) = self.receive_payload(now, input, commons)? {
                        return Ok(step);
                    }
                }
                Receive::Skip { fin, left } => {
                    if !self.skip_payload(fin, left, input) {
                        return Ok(Step::Pending);
                    }
                }
                Receive::Header | Receive::Delivered | Receive::Body { .. } => {}
            }
            let bytes = input.unread();
            let &[first, second, ..] = bytes else { return Ok(self.keep(now, input, commons)) };
            // The first two bytes are judged as soon as they are there.
            let opcode = self.check_lead(first, second)?;
            let (len, end) = match frame::parse_length(bytes) {
                Length::Whole { len, end } => (len, end),
                Length::Incomplete => return Ok(self.keep(now, input, commons)),
                Length::NotMinimal { len } => return Err(Fault::LengthNotMinimal { len }),
                Length::TopBit => return Err(Fault::LengthTopBit),
            };
            if opcode.is_control() {
                let len = len as usize; // at most 125, by check_lead
                match self.take_control(opcode, end, len, input) {
                    Some(step) => {
                        commons.received.parts += 1;
                        return step;
                    }
                    None => return Ok(self.keep(now, input, commons)),
                }
            }
            let compressed = first & frame::RSV1 != 0;
            let len = self.check_size(opcode, len, compressed, commons)?;
            let Some((key, header)) = self.masking_key(bytes, end) else {
                return Ok(self.keep(now, input, commons));
            };
            let fin = first & frame::FIN != 0;
            commons.received.parts += u64::from(!fin);
            let whole = fin && self.message.is_none() && bytes.len() - header >= len as usize;
            input.take(header);
            if whole && self.is_open() {
                let range = input.take(len as usize);
                if self.role() == Role::Server {
                    mask::apply(input.get_mut(range.clone()), key);
                }
                if compressed {
                    let may_be_sent_on = self.inflate(input.get(range.clone()), commons)?;
                    let compressed = may_be_sent_on.then_some(Compressed::Input(range));
                    return Ok(self.kept_message_is_whole(opcode, compressed));
                }
                return Ok(Step::Message(Incoming { opcode, place: Place::Input(range), compressed: None }));
            }
            self.begin_payload(now, opcode, compressed, fin, len, key);
        }
    }

    /// What the first two bytes say must be allowed here. §5.1, §5.2, §5.4, §5.5
    #[inline]
    fn check_lead(&self, first: u8, second: u8) -> Result<Opcode, Fault> {
        // §5.2: MUST be 0 unless an extension is negotiated that defines meanings for non-zero values.
        let rsv = first & frame::RSV;
        if rsv != 0 && !(rsv == frame::RSV1 && self.flags.has(deflate::DEFLATE)) {
            return Err(Fault::ReservedBits { bits: rsv >> 4 });
        }
        let Some(opcode) = Opcode::from_bits(first & 0xf) else {
            return Err(Fault::ReservedOpcode { opcode: first & 0xf });
        };
        // §5.1: a client masks all frames, a server none.
        match (self.role(), second & frame::MASK != 0) {
            (Role::Server, false) => return Err(Fault::UnmaskedFrame),
            (Role::Client, true) => return Err(Fault::MaskedFrame),
            _ => {}
        }
        // RFC 7692 §6.1: RSV1 is set on the first frame of a message only, and never on a control frame.
        if rsv != 0 && !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return Err(Fault::CompressedFragment { opcode });
        }
        match opcode {
            // §5.5: at most 125 bytes, not fragmented; between the fragments of a message they may stand.
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                if first & frame::FIN == 0 {
                    return Err(Fault::FragmentedControl { opcode });
                }
                if second & !frame::MASK > frame::CONTROL_BYTES_MAX as u8 {
                    return Err(Fault::ControlTooLong { opcode });
                }
            }
            // §5.4: a message is one frame with an opcode, then continuations up to FIN; none interleave.
            Opcode::Continuation if self.message.is_none() => return Err(Fault::UnexpectedContinuation),
            Opcode::Text | Opcode::Binary if self.message.is_some() => {
                return Err(Fault::ExpectedContinuation { opcode });
            }
            _ => {}
        }
        Ok(opcode)
    }

    /// The limits on messages, enforced from the header: nothing that breaks them is buffered. §10.4
    #[inline]
    fn check_size(
        &self,
        opcode: Opcode,
        len: u64,
        compressed: bool,
        commons: &Commons,
    ) -> Result<u32, Fault> {
        let limits = &commons.limits;
        let (mut total, mut compressed) = (len, compressed);
        if opcode == Opcode::Continuation
            && let Some(message) = &self.message
        {
            total = len.saturating_add(self.kept_message().len() as u64);
            compressed = message.compressed;
            if message.fragments >= limits.fragments_max {
                return Err(Fault::TooManyFragments { limit: limits.fragments_max });
            }
        }
        let most = match compressed {
            false => u64::from(limits.message_bytes_max),
            true => deflate::compressed_bytes_max(limits.message_bytes_max), // what it inflates to is judged then
        };
        match u32::try_from(len) {
            Ok(len) if total <= most => Ok(len),
            _ => Err(Fault::MessageTooBig { len: total, limit: limits.message_bytes_max }),
        }
    }

    /// The masking key, if the role's peer sends one, and the bytes of the whole header; `None` if cut off. §5.3
    #[inline]
    fn masking_key(&self, bytes: &[u8], end: usize) -> Option<([u8; 4], usize)> {
        match self.role() {
            Role::Server => bytes[end..].first_chunk().map(|&key| (key, end + 4)),
            Role::Client => Some(([0; 4], end)),
        }
    }

    /// A control frame, taken once it is whole. §5.5
    fn take_control(
        &self,
        opcode: Opcode,
        end: usize,
        len: usize,
        input: &mut Input,
    ) -> Option<Result<Step, Fault>> {
        let (key, header) = self.masking_key(input.unread(), end)?;
        if input.unread().len() < header + len {
            return None;
        }
        input.take(header);
        let range = input.take(len);
        mask::apply(input.get_mut(range.clone()), key);
        Some(match opcode {
            Opcode::Ping => Ok(Step::Ping(range)),
            Opcode::Pong => Ok(Step::Pong(range)),
            _ => match close::parse_close(input.get(range.clone())) {
                Ok(body) => {
                    let reason = range.end - body.reason.len()..range.end;
                    Ok(Step::Close { code: body.code, reason })
                }
                Err(error) => Err(error.into()),
            },
        })
    }

    // ------------------------------------------------------------------ §5.4: messages in pieces

    fn begin_payload(
        &mut self,
        now: Now,
        opcode: Opcode,
        compressed: bool,
        fin: bool,
        len: u32,
        key: [u8; 4],
    ) {
        self.brought_at = Stamp::at(now.tick);
        match &mut self.message {
            Some(message) => message.fragments += 1,
            None => {
                let valid = MESSAGE_HEADROOM as u32;
                self.message = Some(Unfinished { opcode, compressed, fragments: 1, valid });
                self.filled = valid;
            }
        }
        if self.is_open() {
            self.receive = Receive::Payload { fin, left: len, key };
        } else {
            self.receive = Receive::Skip { fin, left: len };
        }
    }

    /// Takes what the input has of the frame in progress; a step when the message is whole, or more is needed.
    fn receive_payload(
        &mut self,
        now: Now,
        input: &mut Input,
        commons: &mut Commons,
    ) -> Result<Option<Step>, Fault> {
        loop {
            let Receive::Payload { fin, left, .. } = self.receive else { unreachable!() };
            if left == 0 {
                self.receive = Receive::Header;
                if !fin {
                    return Ok(None);
                }
                commons.pool.grow(&mut self.buffer, 0, MESSAGE_HEADROOM, 0); // if not a byte came
                let message = self.message.take().expect("a payload belongs to a message");
                let compressed = match message.compressed {
                    true => self.inflate_kept(commons)?.map(Compressed::Codecs),
                    false => None,
                };
                return Ok(Some(self.kept_message_is_whole(message.opcode, compressed)));
            }
            let unread = input.unread().len();
            if unread == 0 {
                return Ok(Some(Step::Pending));
            }
            let n = unread.min(left as usize);
            self.grow(n, left as usize, commons);
            let range = input.take(n);
            let filled = self.filled as usize;
            self.buffer[filled..filled + n].copy_from_slice(input.get(range));
            self.payload_came(now, n)?;
        }
    }

    fn kept_message_is_whole(&mut self, opcode: Opcode, compressed: Option<Compressed>) -> Step {
        self.receive = Receive::Delivered;
        Step::Message(Incoming { opcode, place: Place::Kept, compressed })
    }

    /// The next `n` bytes of the frame's payload are in the buffer, masked.
    fn payload_came(&mut self, now: Now, n: usize) -> Result<(), Fault> {
        let Receive::Payload { fin, left, key } = self.receive else { unreachable!() };
        let filled = self.filled as usize;
        if self.role() == Role::Server {
            mask::apply(&mut self.buffer[filled..filled + n], key);
        }
        self.filled += n as u32;
        self.brought_at = Stamp::at(now.tick);
        let left = left - n as u32;
        self.receive = Receive::Payload { fin, left, key: mask::rotated(key, n) };
        let message_is_whole = fin && left == 0; // then all of it is checked, as it is handed out
        if let Some(message) = &mut self.message
            && message.opcode == Opcode::Text
            && !message.compressed
            && !message_is_whole
        {
            // §8.1: fail at the first byte that cannot be right, however much is to come.
            let valid = utf8::validate_more(&self.buffer[..self.filled as usize], message.valid as usize);
            message.valid = valid.map_err(|_| Fault::InvalidUtf8)? as u32;
        }
        Ok(())
    }

    /// Drops payload that came after our Close; whether the frame is over.
    fn skip_payload(&mut self, fin: bool, left: u32, input: &mut Input) -> bool {
        let n = input.unread().len().min(left as usize);
        input.take(n);
        let left = left - n as u32;
        if left > 0 {
            self.receive = Receive::Skip { fin, left };
            return false;
        }
        self.receive = Receive::Header;
        if fin {
            self.message = None;
        }
        true
    }

    /// Makes room for `n` more bytes of a message or a body, of which `left` are announced: memory follows what came, in
    /// doubling steps, and not what was promised.
    pub(super) fn grow(&mut self, n: usize, left: usize, commons: &mut Commons) {
        let filled = self.filled as usize;
        if self.buffer.len() - filled.min(self.buffer.len()) >= n.max(1) {
            return;
        }
        let step = filled.max(GROWTH_STEP).min(left).max(n);
        commons.pool.grow(&mut self.buffer, filled, filled + step, filled + left);
    }

    // ------------------------------------------------------------------ what is cut off

    /// Keeps a cut-off header or control frame until more comes: at most 14 and 125 bytes.
    fn keep(&mut self, now: Now, input: &mut Input, commons: &mut Commons) -> Step {
        let rest = input.unread().len();
        if rest > 0 {
            let filled = if self.message.is_some() { self.filled as usize } else { 0 };
            self.filled = filled as u32;
            commons.pool.grow(&mut self.buffer, filled, filled + rest, 0);
            let range = input.take(rest);
            self.buffer[filled..filled + rest].copy_from_slice(input.get(range));
            self.kept = rest as u8;
            if self.message.is_none() {
                self.brought_at = Stamp::at(now.tick);
            }
        }
        Step::Pending
    }

    #[inline]
    fn give_back_kept(&mut self, input: &mut Input, commons: &mut Commons) {
        if self.kept > 0 {
            let filled = self.filled as usize;
            input.unshift(&self.buffer[filled..filled + usize::from(self.kept)]);
            self.kept = 0;
            if self.message.is_none() {
                self.release(commons);
            }
        }
    }

    /// Forgets the unfinished message: after our Close nobody wants it, but its frames still have to be found.
    pub(crate) fn abandon_message(&mut self, commons: &mut Commons) {
        if let Receive::Payload { fin, left, .. } = self.receive {
            self.receive = Receive::Skip { fin, left };
        }
        let (filled, kept) = (self.filled as usize, self.kept);
        if kept == 0 {
            return self.release(commons);
        }
        self.buffer.copy_within(filled..filled + usize::from(kept), 0);
        self.filled = 0;
    }

    fn kept_message(&self) -> &[u8] {
        self.buffer.get(MESSAGE_HEADROOM..self.filled as usize).unwrap_or_default()
    }

    /// Takes the delivered message out of the connection: its buffer, and where in it the message is.
    pub(crate) fn take_message(&mut self) -> (Block, Range<usize>) {
        debug_assert!(matches!(self.receive, Receive::Delivered));
        self.receive = Receive::Header;
        let range = MESSAGE_HEADROOM..self.filled as usize;
        self.filled = 0;
        (std::mem::take(&mut self.buffer), range)
    }

    /// Whether bytes of a message or a header came and the rest did not.
    #[inline]
    pub(crate) fn is_unfinished(&self) -> bool {
        self.message.is_some() || self.kept > 0
    }
}

/// First byte, length, key and bytes of the header of a masked frame of less than 64 KiB.
#[inline(always)]
fn small_masked_header(bytes: &[u8]) -> Option<(u8, usize, [u8; 4], usize)> {
    let &[first, second, a, b, c, d, ..] = bytes else { return None };
    match second ^ frame::MASK {
        len @ 0..=125 => Some((first, usize::from(len), [a, b, c, d], 6)),
        126 => Some((first, usize::from(u16::from_be_bytes([a, b])), *bytes[4..].first_chunk()?, 8)),
        _ => None,
    }
}

/// As [`small_masked_header`], of a frame that is not masked.
#[inline(always)]
fn small_bare_header(bytes: &[u8]) -> Option<(u8, usize, [u8; 4], usize)> {
    let &[first, second, ..] = bytes else { return None };
    match second {
        len @ 0..=125 => Some((first, usize::from(len), [0; 4], 2)),
        126 => Some((first, usize::from(u16::from_be_bytes(*bytes[2..].first_chunk()?)), [0; 4], 4)),
        _ => None,
    }
}

/// `payload` as a message, if it is one.
#[inline]
pub(crate) fn message_of(opcode: Opcode, payload: &[u8]) -> Result<Message<'_>, Fault> {
    match opcode {
        Opcode::Text => utf8::validate(payload).map(Message::Text).map_err(|_| Fault::InvalidUtf8),
        _ => Ok(Message::Binary(payload)),
    }
}

const FINAL_TEXT: u8 = frame::FIN | Opcode::Text as u8;
const FINAL_BINARY: u8 = frame::FIN | Opcode::Binary as u8;

/// The least by which a message's buffer grows, unless less is announced.
const GROWTH_STEP: usize = 4 << 10;
