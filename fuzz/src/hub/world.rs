//! An engine with a hub in it, and its clients: what they write is read whole, and what they are written they take.

use super::{Counting, hub};
use crate::{Delivered, entropy, frames};
use sockeye::{Command, ConnId, Engine, Input, Lost, Message, Now, PeerInfo, Tick, hub::Hub};

/// What `net` is to the engine, without a network.
pub struct World {
    /// The engine.
    pub engine: Engine<Hub<Counting>>,
    input: Input,
    /// The time.
    pub now: Now,
    clients: Vec<Client>,
}

struct Client {
    id: ConnId,
    /// Written to it and not asked about yet.
    out: Vec<u8>,
    /// The server has closed its socket, or it has done so itself.
    is_gone: bool,
}

impl World {
    /// Nobody is there yet.
    pub fn new(keeps: bool) -> World {
        let (config, hub) = hub(keeps);
        let now = Now { tick: Tick::ZERO, unix_ms: 1_795_219_719_780 };
        let engine = Engine::new(&config, hub, entropy);
        World { engine, input: Input::new(1 << 17), now, clients: Vec::new() }
    }

    /// Somebody connects and sends a head, perhaps with a body; its number.
    pub fn connect(&mut self, request: &[u8]) -> usize {
        let address = Some("127.0.0.1:50000".parse().expect("it is an address"));
        let id = self.engine.handle_accept(self.now, PeerInfo { address, listener: 0 });
        self.clients.push(Client { id, out: Vec::new(), is_gone: false });
        let client = self.clients.len() - 1;
        self.write(client, request);
        client
    }

    /// A client writes bytes, which come in one read.
    pub fn write(&mut self, client: usize, bytes: &[u8]) {
        let id = self.clients[client].id;
        self.input.space()[..bytes.len()].copy_from_slice(bytes);
        self.input.fill(bytes.len());
        self.engine.handle_input(self.now, id, &mut self.input);
        if let Some(transmit) = self.engine.poll_reply(id, &self.input) {
            let n = transmit.first.len() + transmit.second.len();
            self.clients[client].out.extend_from_slice(transmit.first);
            self.clients[client].out.extend_from_slice(transmit.second);
            self.engine.handle_replied(self.now, id, &mut self.input, n);
        }
        self.end_wake();
    }

    /// A client ends TCP, or it breaks.
    pub fn leave(&mut self, client: usize, how: Lost) {
        let id = self.clients[client].id;
        match how {
            Lost::Eof => self.engine.handle_eof(self.now, id),
            how => self.engine.handle_lost(self.now, id, how),
        }
        self.end_wake();
    }

    /// Time passes, and what is due in it happens.
    pub fn wait(&mut self, ms: u64) {
        self.now = Now { tick: self.now.tick.after(ms as u32), unix_ms: self.now.unix_ms + ms };
        self.engine.handle_timeout(self.now);
        self.end_wake();
    }

    fn end_wake(&mut self) {
        self.engine.begin_transmits();
        while let Some(transmit) = self.engine.poll_transmit() {
            let (id, n) = (transmit.id, transmit.first.len() + transmit.second.len());
            let client =
                self.clients.iter_mut().rfind(|client| client.id == id).expect("somebody wrote first");
            client.out.extend_from_slice(transmit.first);
            client.out.extend_from_slice(transmit.second);
            self.engine.handle_transmitted(self.now, id, n);
        }
        while let Some(command) = self.engine.poll_command() {
            if let Command::Close(id) = command {
                let client = self.clients.iter_mut().rfind(|client| client.id == id);
                client.expect("somebody wrote first").is_gone = true;
            }
        }
        assert!(self.engine.handler().is_consistent(), "the hub's books");
    }

    /// Whether the server has closed a client's socket.
    pub fn is_gone(&self, client: usize) -> bool {
        self.clients[client].is_gone
    }

    /// The head that a client was sent first, and what follows it.
    pub fn head(&mut self, client: usize) -> (String, Vec<u8>) {
        let out = std::mem::take(&mut self.clients[client].out);
        let end = out.windows(4).position(|window| window == b"\r\n\r\n").expect("a request is answered") + 4;
        let head = String::from_utf8(out[..end].to_vec()).expect("it is ASCII");
        self.clients[client].out = out[end..].to_vec();
        (head, self.clients[client].out.clone())
    }

    /// The messages that a client was sent since it was asked last.
    pub fn messages(&mut self, client: usize) -> Vec<Delivered> {
        let out = std::mem::take(&mut self.clients[client].out);
        let frames = frames::well_formed(&out, false);
        let messages = frames.into_iter().filter_map(|frame| match frame.first {
            0x81 => Some(Delivered::Text(String::from_utf8(frame.payload).expect("text is UTF-8"))),
            0x82 => Some(Delivered::Binary(frame.payload)),
            _ => None,
        });
        messages.collect()
    }
}

/// A client's frame of a message.
pub fn frame(message: Message<'_>) -> Vec<u8> {
    let (opcode, payload) = match message {
        Message::Text(text) => (0x81, text.as_bytes()),
        Message::Binary(bytes) => (0x82, bytes),
    };
    let mut frame = vec![opcode];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}
