//! What happens between the connection, what comes in by hand or pipe, and what is shown.

use super::{
    Arguments, INTERRUPTED, LOST, OTHER_CODE, PROTOCOL,
    input::{Input, Inputs},
    screen::Screen,
};
use crate::cli::{CANNOT_CONNECT, FAILED, OK};
use signal_hook::iterator::Handle;
use sockeye::{
    Cause, CloseCode, Closed, ConnId, Context, DialError, Handler, Lost, Message, Remote, Response, Sent,
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// One connection, from the dialling to the exit code.
pub(super) struct Session {
    arguments: Arguments,
    screen: Screen,
    /// Of the loop, for the thread that reads what comes in.
    remote: Option<Remote>,
    signals: Option<Handle>,
    /// A signal came, or Ctrl-C was typed.
    interrupted: Arc<AtomicBool>,
    phase: Phase,
    /// What is typed or piped, once the connection is open.
    inputs: Option<Inputs>,
    /// Above the soft mark: nothing is taken from `inputs` until the peer has taken some of what waits for it.
    backlogged: bool,
    /// What came in could not be sent.
    failed: bool,
    /// When something last happened.
    active_at: Instant,
    arrival: Arrival,
    pings: Pings,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Dialling,
    Open(ConnId),
    /// Nothing more comes in: the connection is closed when it has been quiet for long enough.
    Ending(ConnId),
    /// The closing handshake goes on.
    Closing,
    /// It is over, with this exit code.
    Over(u8),
}

/// Whether the server has read all that was sent. A Ping behind it asks, for frames are read in order: who replies to
/// messages as they come has replied before the Pong.
#[derive(Clone, Copy, Debug)]
enum Arrival {
    Unknown,
    Asked,
    Known,
}

/// The payload of that Ping.
const ALL_SENT: &[u8] = b"all sent";
/// Longest silence in which its Pong is waited for: not every server answers.
const PONG_PATIENCE: Duration = Duration::from_secs(20);

/// Pings that `--ping` asks for.
#[derive(Debug)]
struct Pings {
    every: Option<Duration>,
    due: Instant,
    /// The last one, whose payload is this number.
    sent: Option<(u64, Instant)>,
    count: u64,
}

impl Session {
    pub(super) fn new(arguments: &Arguments, interrupted: Arc<AtomicBool>) -> Session {
        let now = Instant::now();
        let pings = Pings { every: arguments.ping.map(|seconds| seconds.0), due: now, sent: None, count: 0 };
        Session {
            screen: Screen::new(arguments.json),
            arguments: arguments.clone(),
            remote: None,
            signals: None,
            interrupted,
            phase: Phase::Dialling,
            inputs: None,
            backlogged: false,
            failed: false,
            active_at: now,
            arrival: Arrival::Unknown,
            pings,
        }
    }

    /// The loop that it lives in, and the signals that it hears of.
    pub(super) fn attach(&mut self, remote: Remote, signals: Handle) {
        (self.remote, self.signals) = (Some(remote), Some(signals));
    }

    /// Ends line editing, where there is some, with all that came on the terminal.
    pub(super) fn leave(&mut self) {
        // The signal that ends a line is not one of the user's.
        if let Some(signals) = self.signals.take() {
            signals.close();
        }
        if let Some(inputs) = self.inputs.take() {
            if inputs.is_edited() {
                self.screen.settle();
                inputs.leave();
            }
            self.screen.end_editing();
        }
    }

    /// The exit code, once there is one.
    pub(super) fn exit_code(&self) -> Option<u8> {
        match (self.phase, self.screen.failure()) {
            (Phase::Over(INTERRUPTED), _) => Some(INTERRUPTED),
            // Whoever read stdout has gone: that is how a pipe ends, not a failure.
            (Phase::Over(_), Some(error)) if error.kind() == io::ErrorKind::BrokenPipe => Some(OK),
            (Phase::Over(_), Some(_)) => Some(FAILED),
            (Phase::Over(OK), None) if self.failed => Some(FAILED),
            (Phase::Over(code), None) => Some(code),
            _ => None,
        }
    }

    /// Does what is to be done between two turns of the loop; how long until there is more.
    pub(super) fn work(&mut self, cx: &mut Context<'_>) -> Option<Duration> {
        if let (Phase::Open(id) | Phase::Ending(id), Some(_)) = (self.phase, self.screen.failure()) {
            self.close(cx, id, CloseCode::GOING_AWAY);
        }
        if let Phase::Open(id) = self.phase {
            self.send_inputs(cx, id);
        }
        if self.interrupted.swap(false, Ordering::AcqRel) {
            self.interrupt(cx);
        }
        let quiet = match self.phase {
            Phase::Ending(id) => self.close_if_quiet(cx, id),
            _ => None,
        };
        let ping = match self.phase {
            Phase::Open(id) | Phase::Ending(id) => self.pings.send_if_due(cx, id),
            _ => None,
        };
        [quiet, ping].into_iter().flatten().min()
    }

    /// Ctrl-C, or a signal: closes, and ends at once the second time.
    fn interrupt(&mut self, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Open(id) | Phase::Ending(id) => {
                self.screen.note("closing; once more to end at once");
                self.close(cx, id, self.arguments.close.map_or(CloseCode::GOING_AWAY, |close| close.0));
            }
            Phase::Dialling | Phase::Closing => self.phase = Phase::Over(INTERRUPTED),
            Phase::Over(_) => {}
        }
    }

    fn close(&mut self, cx: &mut Context<'_>, id: ConnId, code: CloseCode) {
        cx.close(id, code, &self.arguments.reason);
        self.phase = Phase::Closing;
    }

    /// Sends what came in, as long as the peer takes it.
    fn send_inputs(&mut self, cx: &mut Context<'_>, id: ConnId) {
        while !self.backlogged {
            let Some(input) = self.inputs.as_mut().and_then(Inputs::next) else { return };
            self.active_at = Instant::now();
            match input {
                Input::Message(message) => {
                    self.backlogged = cx.send(id, message.as_message()) == Sent::Backlogged;
                }
                Input::End => {
                    self.phase = Phase::Ending(id);
                    return;
                }
                Input::Failed(why) => {
                    self.screen.error(&why);
                    self.failed = true;
                    self.phase = Phase::Ending(id);
                    return;
                }
            }
        }
    }

    /// Closes when the server has all that was sent, and nothing came for as long as `--wait` says; how long until that
    /// may be.
    fn close_if_quiet(&mut self, cx: &mut Context<'_>, id: ConnId) -> Option<Duration> {
        let patience = match (self.arguments.wait.0, self.arrival) {
            // Ctrl-D is somebody who has seen what there is.
            _ if self.screen.is_dialogue() => Duration::ZERO,
            (None, _) => return None,
            (Some(wait), Arrival::Known) => wait,
            (Some(wait), Arrival::Asked) => wait.max(PONG_PATIENCE),
            (Some(wait), Arrival::Unknown) => {
                if cx.ping(id, ALL_SENT) {
                    self.arrival = Arrival::Asked;
                }
                wait.max(PONG_PATIENCE)
            }
        };
        let now = Instant::now();
        if cx.buffered(id).is_some_and(|bytes| bytes > 0) {
            self.active_at = now;
        }
        let left = (self.active_at + patience).saturating_duration_since(now);
        if !left.is_zero() {
            return Some(left);
        }
        self.close(cx, id, self.arguments.close.map_or(CloseCode::NORMAL, |close| close.0));
        None
    }

    /// From now on what is typed or piped is sent.
    fn listen(&mut self, id: ConnId) {
        let (binary, framing) = (self.arguments.binary, self.arguments.framing());
        let remote = self.remote.clone().expect("it was attached before it dialled");
        let started = match self.screen.edit() {
            Some(editor) => Inputs::of_terminal(editor, binary, Arc::clone(&self.interrupted), remote),
            None => Inputs::of_pipe(binary, framing, remote),
        };
        match started {
            Ok(inputs) => self.inputs = Some(inputs),
            Err(error) => {
                self.screen.error(&format!("cannot start a thread: {error}"));
                self.failed = true;
                self.phase = Phase::Ending(id);
            }
        }
    }
}

impl Pings {
    /// Sends a Ping if it is time; how long until the next one.
    fn send_if_due(&mut self, cx: &mut Context<'_>, id: ConnId) -> Option<Duration> {
        let (every, now) = (self.every?, Instant::now());
        if now >= self.due {
            self.count += 1;
            self.due = now + every;
            if cx.ping(id, &self.count.to_be_bytes()) {
                self.sent = Some((self.count, now));
            }
        }
        Some(self.due.saturating_duration_since(now))
    }

    /// How long the Ping took whose Pong this is, if it is one of the last one.
    fn answered(&mut self, payload: &[u8]) -> Option<Duration> {
        let (_, at) = self.sent.take_if(|(count, _)| payload == count.to_be_bytes())?;
        Some(at.elapsed())
    }
}

impl Handler for Session {
    fn on_request(&mut self, _: ConnId, head: &[u8]) {
        if self.arguments.verbose {
            self.screen.head(">", &String::from_utf8_lossy(head));
        }
    }

    fn on_response(&mut self, _: &mut Context<'_>, _: ConnId, response: &Response<'_>) {
        if self.arguments.verbose {
            self.screen.head("<", &String::from_utf8_lossy(response.head()));
        }
        let protocol = response.subprotocol().unwrap_or_default();
        self.screen.opened(&self.arguments.url, protocol, response.extensions());
    }

    fn on_refusal(&mut self, _: &mut Context<'_>, _: ConnId, response: &Response<'_>) {
        if self.arguments.verbose {
            self.screen.head("<", &String::from_utf8_lossy(response.head()));
        }
    }

    fn on_dial_failed(&mut self, _: &mut Context<'_>, _: ConnId, error: &DialError) {
        self.screen.error(&error.to_string());
        self.phase = Phase::Over(CANNOT_CONNECT);
    }

    fn on_open(&mut self, _: &mut Context<'_>, id: ConnId) {
        self.phase = Phase::Open(id);
        self.active_at = Instant::now();
        self.pings.due = self.active_at;
        self.listen(id);
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, message: Message<'_>) {
        self.active_at = Instant::now();
        self.screen.message(message);
    }

    fn on_pong(&mut self, _: &mut Context<'_>, _: ConnId, payload: &[u8]) {
        if payload == ALL_SENT {
            self.arrival = Arrival::Known;
            self.active_at = Instant::now();
        } else if let Some(took) = self.pings.answered(payload) {
            self.screen.ponged(took.as_secs_f64() * 1e3);
        }
    }

    fn on_drain(&mut self, _: &mut Context<'_>, _: ConnId) {
        self.backlogged = false;
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: ConnId, closed: &Closed<'_>) {
        let (code, why) = match closed.cause {
            Cause::Peer | Cause::Local => {
                let is_usual =
                    [CloseCode::NORMAL, CloseCode::GOING_AWAY, CloseCode::NO_STATUS].contains(&closed.code);
                let why = if closed.cause == Cause::Peer { "the server closed" } else { "we closed" };
                (if is_usual { OK } else { OTHER_CODE }, why)
            }
            Cause::Fault(_) => (PROTOCOL, "the server broke the protocol or a limit"),
            Cause::Lost(lost) => (LOST, lost_how(lost)),
            Cause::Panic => (FAILED, "this end failed"),
        };
        self.leave();
        self.screen.closed(closed.code.get(), closed.reason, closed.was_clean, why);
        self.phase = Phase::Over(code);
    }
}

/// How a connection was lost, for people.
fn lost_how(lost: Lost) -> &'static str {
    match lost {
        Lost::Eof => "the server ended TCP without a Close",
        Lost::Io(io::ErrorKind::ConnectionReset) => "the server reset TCP",
        Lost::Io(_) => "TCP failed",
        Lost::Silent => "the server was silent, and answered no Ping",
        Lost::NoAnswer => "the server did not answer our Close",
        Lost::Stopped => "we stopped",
    }
}
