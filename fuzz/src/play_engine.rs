//! A stream played to an `Engine`: one peer, a handler that replies, sometimes a second peer that listens; sockets
//! that take and bring as little at a time as they like.

use crate::{
    Delivered, REQUEST,
    chop::Chop,
    entropy,
    script::{Reply, Script},
};
use sockeye::{
    Cause, CloseCode, Closed, Command, ConnId, Context, Engine, Handler, Input, Lost, Message, Now, PeerInfo,
    Transmit,
};

/// What came of a stream.
#[derive(Debug, Eq, PartialEq)]
pub struct Played {
    /// What the handler was told of the peer, in order.
    pub events: Vec<Event>,
    /// All that was written to the peer.
    pub out: Vec<u8>,
    /// All that was written to the second peer.
    pub overheard: Vec<u8>,
}

/// What a handler is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// `on_open`
    Open,
    /// `on_message`
    Message(Delivered),
    /// `on_close`
    Closed {
        /// The code.
        code: CloseCode,
        /// The reason.
        reason: String,
        /// Both sides said Close.
        was_clean: bool,
        /// Who ended it.
        cause: Cause,
    },
}

struct Recorder {
    reply: Reply,
    /// Who hears what is published, and says nothing.
    listener: Option<ConnId>,
    events: Vec<Event>,
}

impl Handler for Recorder {
    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        if self.reply == Reply::Publish {
            cx.subscribe(id, "topic");
        }
        if Some(id) != self.listener {
            self.events.push(Event::Open);
        }
    }

    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        assert_ne!(Some(id), self.listener);
        let delivered = Delivered::of(message);
        let before = cx.buffered(id).expect("the connection is open");
        match self.reply {
            Reply::Echo => {
                cx.send(id, message);
            }
            Reply::Copy => {
                cx.send(id, delivered_message(&delivered));
            }
            Reply::Twice => {
                cx.send(id, message);
                cx.send(id, message);
            }
            Reply::Among => {
                cx.send(id, "a");
                cx.send(id, message);
                cx.ping(id, b"b");
            }
            Reply::Publish => {
                cx.publish("topic", message);
            }
            Reply::Broadcast => {
                cx.broadcast([id].into_iter().chain(self.listener), message);
            }
            Reply::Pause => {
                cx.send(id, message);
                cx.pause(id);
            }
            Reply::Close => {
                cx.send(id, message);
                let messages = self.events.iter().filter(|event| matches!(event, Event::Message(_))).count();
                if messages == 1 {
                    assert!(cx.close(id, CloseCode::NORMAL, "enough"));
                }
            }
        }
        let added = cx.buffered(id).expect("the connection is open") - before;
        assert!(added >= delivered.frame().1.len(), "a reply is not counted as buffered");
        self.events.push(Event::Message(delivered));
    }

    fn on_close(&mut self, _: &mut Context<'_>, id: ConnId, closed: &Closed<'_>) {
        if Some(id) == self.listener {
            return;
        }
        let is_open = |event: &&Event| !matches!(event, Event::Message(_));
        assert_eq!(self.events.iter().filter(is_open).count(), 1, "closed twice, or before it was open");
        self.events.push(Event::Closed {
            code: closed.code,
            reason: closed.reason.to_owned(),
            was_clean: closed.was_clean,
            cause: closed.cause,
        });
    }
}

fn delivered_message(delivered: &Delivered) -> Message<'_> {
    match delivered {
        Delivered::Text(text) => Message::Text(text),
        Delivered::Binary(bytes) => Message::Binary(bytes),
    }
}

/// What `net` is to the engine, without a network.
struct World {
    engine: Engine<Recorder>,
    input: Input,
    id: ConnId,
    listener: ConnId,
    /// The peer's socket is open.
    alive: bool,
    now: Now,
    played: Played,
}

/// Plays a request and `script.frames`: in one piece, or cut by its seeds.
///
/// # Panics
/// When the engine keeps a connection or a buffer after everybody has left.
pub fn play(script: &Script, chopped: bool) -> Played {
    let stream = [REQUEST, &script.frames].concat();
    let mut world = World::new(script, stream.len());
    let mut chops = chopped.then(|| {
        (Chop::for_stream(script.read_seed, stream.len()), Chop::for_stream(script.write_seed, stream.len()))
    });
    let (mut rest, mut eof) = (&stream[..], false);
    loop {
        let wants = world.alive && world.engine.wants_read(world.id);
        if wants && !rest.is_empty() {
            let n = chops.as_mut().map_or(rest.len(), |(read, _)| read.piece(rest.len()));
            world.read(&rest[..n], chops.as_mut().map(|(_, write)| write));
            rest = &rest[n..];
        } else if wants && !eof {
            eof = true;
            world.engine.handle_eof(world.now, world.id);
            world.obey();
        }
        let written = world.write(chops.as_mut().map(|(_, write)| write));
        let waits = world.alive && (!world.engine.wants_read(world.id) || !rest.is_empty() || !eof);
        if !waits && !written.left {
            break;
        }
        world.resume();
    }
    world.end()
}

/// What a round of writing came to.
struct Written {
    /// A socket did not take all it was given.
    left: bool,
}

impl World {
    fn new(script: &Script, read_bytes_max: usize) -> World {
        let now = Now::default();
        let info = PeerInfo { address: None, listener: 0 };
        let recorder = Recorder { reply: script.reply, listener: None, events: Vec::new() };
        let mut engine = Engine::new(&script.config(), recorder, entropy);
        let listener = engine.handle_accept(now, info);
        engine.handler_mut().listener = Some(listener);
        let id = engine.handle_accept(now, info);
        let mut input = Input::new(read_bytes_max.max(REQUEST.len()));
        input.space()[..REQUEST.len()].copy_from_slice(REQUEST);
        input.fill(REQUEST.len());
        engine.handle_input(now, listener, &mut input);
        let played = Played { events: Vec::new(), out: Vec::new(), overheard: Vec::new() };
        World { engine, input, id, listener, alive: true, now, played }
    }

    /// One read, as `net/turn.rs` does it.
    fn read(&mut self, piece: &[u8], mut chop: Option<&mut Chop>) {
        let mut rest = piece;
        if let Some(space) = self.engine.input_space(self.id) {
            let n = space.len().min(rest.len());
            space[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            self.engine.handle_filled(self.now, self.id, n);
        }
        self.input.space()[..rest.len()].copy_from_slice(rest);
        self.input.fill(rest.len());
        self.engine.handle_input(self.now, self.id, &mut self.input);
        if let Some(transmit) = self.engine.poll_reply(self.id, &self.input) {
            let n = take(&transmit, &mut chop, &mut self.played.out);
            self.engine.handle_replied(self.now, self.id, &mut self.input, n);
        }
        self.obey();
    }

    /// The end of a wake: each socket is writable, and takes some of what it is given, or none.
    fn write(&mut self, mut chop: Option<&mut Chop>) -> Written {
        self.engine.handle_writable(self.id);
        self.engine.handle_writable(self.listener);
        let mut left = false;
        while let Some(transmit) = self.engine.poll_transmit() {
            let (id, len) = (transmit.id, transmit.first.len() + transmit.second.len());
            let to_peer = id == self.id;
            let out = if to_peer { &mut self.played.out } else { &mut self.played.overheard };
            let n = take(&transmit, &mut chop, out);
            left |= n < len;
            self.engine.handle_transmitted(self.now, id, n);
            self.obey();
        }
        Written { left }
    }

    /// A handler that did not want to read wants to again.
    fn resume(&mut self) {
        let id = self.id;
        self.engine.act(self.now, |_, cx| cx.resume(id));
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(command) = self.engine.poll_command() {
            if command == Command::Close(self.id) {
                assert!(std::mem::take(&mut self.alive), "closed twice");
            }
        }
    }

    /// The second peer is lost, and time passes: nothing may stay.
    fn end(mut self) -> Played {
        self.engine.handle_lost(self.now, self.listener, Lost::Stopped);
        self.obey();
        for _ in 0..10 {
            if self.engine.connections() == 0 {
                break;
            }
            self.now.tick = self.engine.poll_timeout().expect("a connection is left and has no deadline");
            self.engine.handle_timeout(self.now);
            self.obey();
            assert!(self.engine.poll_transmit().is_none(), "more is written after all was");
            self.obey();
        }
        assert_eq!(self.engine.connections(), 0, "a connection outlives its deadlines");
        assert!(self.engine.poll_transmit().is_none());
        assert_eq!(self.engine.buffered_bytes(), 0, "a buffer is held for nobody");
        let seen = self.engine.statistics();
        assert_eq!((seen.handshaking(), seen.dialling(), seen.open()), (0, 0, 0), "the books do not balance");
        self.played.events = std::mem::take(&mut self.engine.handler_mut().events);
        let ends = matches!(self.played.events.last(), Some(Event::Closed { .. }));
        assert!(ends, "on_open without on_close");
        self.played
    }
}

/// What a socket takes of a transmit.
fn take(transmit: &Transmit<'_>, chop: &mut Option<&mut Chop>, out: &mut Vec<u8>) -> usize {
    assert!(!transmit.first.is_empty(), "nothing to write");
    let len = transmit.first.len() + transmit.second.len();
    let n = chop.as_mut().map_or(len, |chop| chop.taken(len));
    let first = n.min(transmit.first.len());
    out.extend_from_slice(&transmit.first[..first]);
    out.extend_from_slice(&transmit.second[..n - first]);
    n
}
