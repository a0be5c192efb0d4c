//! Honest visitors, many on one loop of our own client: they come, talk, leave, and others come.

use crate::{
    books::Books,
    dice::Dice,
    parts::{Part, cast},
    tested::{Addresses, PATIENCE},
};
use sockeye::{
    Cause, CloseCode, Closed, Config, ConnId, Context, Deflate, Dial, DialError, Handler, Keepalive, Message,
    OwnedMessage, Server, TlsClient,
};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// What the visitors of all loops are told to do, and how many have not done it yet.
#[derive(Debug, Default)]
pub struct Calls {
    call: AtomicU8,
    /// Visitors that are not at rest, by loop.
    restless: [AtomicUsize; LOOPS],
}

/// What a crowd is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Call {
    /// Come, talk, leave, and come again.
    Mingle,
    /// The same, but nobody leaves: who does is told things that it does not wait for any more.
    Stay,
    /// Come no more, say no more, and stay until all was heard.
    Hush,
    /// Leave.
    Leave,
    /// Stay until the server, which is about to stop, closes.
    Part,
}

/// Loops, each with a thread: one compresses, with contexts of its own, and the other does not.
pub const LOOPS: usize = 2;

impl Calls {
    pub fn call(&self, call: Call) {
        // Nobody is at rest before the loop has looked.
        self.restless.iter().for_each(|count| count.store(usize::MAX, Relaxed));
        self.call.store(call as u8, Relaxed);
    }

    fn current(&self) -> Call {
        [Call::Mingle, Call::Stay, Call::Hush, Call::Leave, Call::Part][usize::from(self.call.load(Relaxed))]
    }

    /// Whether all have done what they were told: they are silent and have heard all, or have left.
    pub fn is_obeyed(&self) -> bool {
        self.restless.iter().all(|count| count.load(Relaxed) == 0)
    }
}

/// One loop's visitors, as its handler.
struct Crowd {
    books: Arc<Books>,
    calls: Arc<Calls>,
    number: usize,
    dice: Dice,
    addresses: Addresses,
    /// By the index of a connection.
    visitors: Vec<Option<Visitor>>,
    /// Of those that come.
    next: u64,
    wanted: usize,
    says: Vec<OwnedMessage>,
    /// Nobody comes before.
    dials_at: Instant,
}

struct Visitor {
    id: ConnId,
    number: u64,
    is_secure: bool,
    part: Box<dyn Part>,
    dialled_at: Instant,
    stage: Stage,
    /// It has failed, and is told of no more.
    is_wrong: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Dialling,
    Talking {
        next_at: Instant,
        leaves_at: Instant,
    },
    /// It says nothing more, until all that it said was answered.
    Finishing {
        since: Instant,
    },
    /// Its last Ping is on its way: when the Pong is here, so is all that was sent before it.
    Asking {
        since: Instant,
    },
    AtRest,
    Closing {
        code: u16,
        since: Instant,
    },
}

/// Which loop of which crowd it is, and whom it visits.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub number: usize,
    pub crowd: u64,
    pub addresses: Addresses,
}

/// Starts a loop's thread; it ends when all have left.
pub fn start(
    place: Place,
    seed: u64,
    wanted: usize,
    trust: TlsClient,
    books: &Arc<Books>,
    calls: &Arc<Calls>,
) -> JoinHandle<()> {
    let (books, calls) = (Arc::clone(books), Arc::clone(calls));
    let Place { number, crowd, addresses } = place;
    thread::spawn(move || {
        let mut config = Config {
            keepalive: Keepalive { ping_after_ms: 5_000, pong_within_ms: 25_000 },
            deflate: Deflate { enabled: number == 0, ..Deflate::default() },
            ..Config::default()
        };
        config.limits.handshake_ms_max = PATIENCE.as_millis() as u32;
        config.limits.outbox_bytes_max = 64 << 20;
        config.limits.deflate_context_bytes_max = if number == 0 { 64 << 20 } else { 0 };
        let crowd = Crowd {
            books: Arc::clone(&books),
            calls: Arc::clone(&calls),
            number,
            dice: Dice::new(seed, 1_000 + number as u64),
            addresses,
            visitors: Vec::new(),
            // Nobody is called as somebody of an earlier crowd was: of what those said, history may be left.
            next: crowd * 10_000_000,
            wanted,
            says: Vec::new(),
            dials_at: Instant::now(),
        };
        let mut server = Server::unbound(config, crowd).expect("there is an event queue");
        server.dial_tls_as(trust);
        while server.turn(Some(TICK)).expect("the loop of the visitors runs") {
            if server.act(Crowd::tick) {
                break;
            }
        }
        calls.restless[number].store(0, Relaxed);
    })
}

const TICK: Duration = Duration::from_millis(5);

/// Handshakes begun in one tick: a crowd does not come at once.
const DIALS_MAX: usize = 4;

impl Crowd {
    /// Has everybody do what is due; true once all have left.
    fn tick(&mut self, cx: &mut Context<'_>) -> bool {
        let (now, call) = (Instant::now(), self.calls.current());
        let mut restless = 0;
        for index in 0..self.visitors.len() {
            if let Some(mut visitor) = self.visitors[index].take() {
                self.see_to(cx, &mut visitor, now, call);
                restless += usize::from(call == Call::Leave || !matches!(visitor.stage, Stage::AtRest));
                self.visitors[index] = Some(visitor);
            }
        }
        if matches!(call, Call::Mingle | Call::Stay) {
            let missing = self.wanted.saturating_sub(self.here()).min(DIALS_MAX);
            if now >= self.dials_at {
                (0..missing).for_each(|_| self.dial(cx));
            }
            restless = usize::MAX;
        }
        // The call may have changed meanwhile: then this says nothing of the new one.
        if self.calls.current() == call {
            self.calls.restless[self.number].store(restless, Relaxed);
        }
        matches!(call, Call::Leave | Call::Part) && self.here() == 0
    }

    fn here(&self) -> usize {
        self.visitors.iter().flatten().count()
    }

    fn dial(&mut self, cx: &mut Context<'_>) {
        let number = self.next * LOOPS as u64 + self.number as u64;
        self.next += 1;
        let is_secure = self.dice.one_in(2);
        let address = if is_secure { self.addresses.tls } else { self.addresses.plain };
        let part = cast(&mut self.dice, self.next, number);
        let mut dial = Dial::new(address.ip().to_string(), address.port());
        dial.tls = is_secure;
        dial.request.target = part.target();
        // So that no limit on connections from one address keeps them out.
        dial.local = Some(IpAddr::from([127, 0, 1, (number % 20) as u8 + 1]));
        self.books.dialled.add(1);
        let id = cx.dial(dial);
        if self.visitors.len() <= id.index() {
            self.visitors.resize_with(id.index() + 1, || None);
        }
        let dialled_at = Instant::now();
        let stage = Stage::Dialling;
        let visitor = Visitor { id, number, is_secure, part, dialled_at, stage, is_wrong: false };
        self.visitors[id.index()] = Some(visitor);
    }

    fn see_to(&mut self, cx: &mut Context<'_>, visitor: &mut Visitor, now: Instant, call: Call) {
        let since = |since: Instant| now.saturating_duration_since(since) > PATIENCE;
        match visitor.stage {
            Stage::Dialling => {}
            Stage::Talking { next_at, leaves_at } => {
                let leaves = now >= leaves_at && call == Call::Mingle;
                if matches!(call, Call::Hush | Call::Leave) {
                    visitor.stage = Stage::Finishing { since: now };
                } else if leaves && self.dice.one_in(4) {
                    self.close(cx, visitor, now);
                } else if leaves {
                    visitor.stage = Stage::Finishing { since: now };
                } else if now >= next_at {
                    self.talk(cx, visitor);
                    let pace = visitor.part.pace_ms();
                    let pause = Duration::from_millis(self.dice.between(pace / 2, pace * 3 / 2) as u64);
                    visitor.stage = Stage::Talking { next_at: now + pause, leaves_at };
                }
            }
            Stage::Finishing { since: from } => match visitor.part.waits_for() {
                Some(what) if since(from) => self.blame(visitor, &format!("waits in vain for {what}")),
                Some(_) => {}
                None if cx.ping(visitor.id, b"is that all?") => visitor.stage = Stage::Asking { since: now },
                None => {}
            },
            Stage::Asking { since: from } if since(from) => self.blame(visitor, "waits in vain for a Pong"),
            Stage::Asking { .. } => {}
            Stage::AtRest if call != Call::Hush => self.close(cx, visitor, now),
            Stage::AtRest => {}
            Stage::Closing { since: from, .. } if since(from) => {
                self.blame(visitor, "waits in vain for the end");
            }
            Stage::Closing { .. } => {}
        }
        if visitor.is_wrong && !matches!(visitor.stage, Stage::Dialling | Stage::Closing { .. }) {
            self.close(cx, visitor, now);
        }
    }

    fn talk(&mut self, cx: &mut Context<'_>, visitor: &mut Visitor) {
        let mut says = std::mem::take(&mut self.says);
        visitor.part.talk(&mut self.dice, &mut says);
        self.send(cx, visitor.id, &mut says);
        self.says = says;
    }

    fn send(&mut self, cx: &mut Context<'_>, id: ConnId, says: &mut Vec<OwnedMessage>) {
        for message in says.drain(..) {
            self.books.said.add(1);
            self.books.said_bytes.add(message.as_message().as_bytes().len() as u64);
            cx.send(id, &message);
        }
    }

    fn close(&mut self, cx: &mut Context<'_>, visitor: &mut Visitor, now: Instant) {
        let code = self.dice.among(&[1000, 1000, 1001, 3000, 4999]);
        cx.close(visitor.id, CloseCode::new(code), "that was all");
        visitor.stage = Stage::Closing { code, since: now };
    }

    /// Something is wrong with what the server told a visitor; said once.
    fn blame(&self, visitor: &mut Visitor, what: &str) {
        if !std::mem::replace(&mut visitor.is_wrong, true) {
            let scheme = if visitor.is_secure { "wss" } else { "ws" };
            let (name, number, loops) = (visitor.part.name(), visitor.number, self.number);
            self.books.find(format!("{name} h{number} ({scheme}, loop {loops}): {what}"));
        }
    }

    fn with(&mut self, id: ConnId, act: impl FnOnce(&mut Crowd, &mut Visitor)) {
        if let Some(mut visitor) = self.visitors[id.index()].take() {
            act(self, &mut visitor);
            self.visitors[id.index()] = Some(visitor);
        }
    }
}

impl Handler for Crowd {
    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        self.books.opened.add(1);
        self.with(id, |crowd, visitor| {
            let mut says = std::mem::take(&mut crowd.says);
            crowd.books.slowest_opening.at_least(visitor.dialled_at.elapsed().as_millis() as u64);
            visitor.part.greet(&mut crowd.dice, &mut says);
            crowd.send(cx, id, &mut says);
            crowd.says = says;
            let now = Instant::now();
            let stays = if visitor.part.name() == "idle" {
                crowd.dice.between(5_000, 45_000)
            } else {
                crowd.dice.between(200, 20_000)
            };
            let leaves_at = now + Duration::from_millis(stays as u64);
            visitor.stage = Stage::Talking { next_at: now, leaves_at };
        });
    }

    fn on_message(&mut self, _: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        self.books.heard.add(1);
        self.books.heard_bytes.add(message.as_bytes().len() as u64);
        self.with(id, |crowd, visitor| match visitor.part.hear(message) {
            Ok(checked) => crowd.books.checked.add(checked),
            Err(what) => crowd.blame(visitor, &what),
        });
    }

    fn on_pong(&mut self, _: &mut Context<'_>, id: ConnId, payload: &[u8]) {
        self.with(id, |_, visitor| {
            if payload == b"is that all?" && matches!(visitor.stage, Stage::Asking { .. }) {
                visitor.stage = Stage::AtRest;
            }
        });
    }

    fn on_dial_failed(&mut self, _: &mut Context<'_>, id: ConnId, error: &DialError) {
        if let Some(mut visitor) = self.visitors[id.index()].take() {
            self.books.ended.add(1);
            if self.calls.current() == Call::Part {
                return self.books.end("visit: came when the server stopped");
            }
            self.books.end("visit: was not let in");
            let after = visitor.dialled_at.elapsed().as_millis();
            self.blame(&mut visitor, &format!("is not let in after {after} ms: {error}"));
            self.dials_at = Instant::now() + Duration::from_millis(200);
        }
    }

    fn on_close(&mut self, _: &mut Context<'_>, id: ConnId, closed: &Closed<'_>) {
        let Some(mut visitor) = self.visitors[id.index()].take() else { return };
        self.books.ended.add(1);
        let name = visitor.part.name();
        if let Stage::Closing { since, .. } = visitor.stage {
            self.books.slowest_closing.at_least(since.elapsed().as_millis() as u64);
        }
        match (visitor.stage, closed.cause) {
            (Stage::Closing { code, .. }, Cause::Local) if closed.was_clean && closed.code.get() == code => {
                self.books.end(format!("{name}: left, and was answered"));
            }
            // Both closed at once, or the server did while we had not read it yet.
            (_, Cause::Peer | Cause::Local) if closed.code.get() == 1013 => {
                self.books.end(format!("{name}: given up by the server as a slow reader (1013)"));
            }
            (Stage::Talking { .. }, Cause::Peer)
                if self.calls.current() == Call::Part
                    && closed.was_clean
                    && matches!(closed.code.get(), 1001 | 1012) =>
            {
                self.books.end(format!("{name}: was told that the server stops"));
            }
            (stage, cause) => {
                self.books.end(format!("{name}: ended otherwise"));
                let (code, reason) = (closed.code.get(), closed.reason);
                let stage = match stage {
                    Stage::Closing { since, .. } => {
                        format!("closes since {} ms", since.elapsed().as_millis())
                    }
                    stage => format!("{stage:?}"),
                };
                self.blame(&mut visitor, &format!("{stage}, and ended with {code} {reason:?}: {cause:?}"));
            }
        }
    }
}
