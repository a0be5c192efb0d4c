//! How much of what is costly one turn of the loop takes, so that a crowd that sends it keeps nobody else waiting.

use sockeye::{Config, ConnId, Context, Handler, Message, Server, wire::deflate::Compressor};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    io::Write,
    net::TcpStream,
    rc::Rc,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(30);
const MEBIBYTE: usize = 1 << 20;
const CROWD: usize = 6;

#[derive(Default)]
struct Seen {
    opened: usize,
    /// Whose messages came, and of how many bytes.
    messages: Vec<(ConnId, usize)>,
}

struct Counts {
    seen: Rc<RefCell<Seen>>,
    spreads: bool,
}

impl Handler for Counts {
    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        cx.set_spreading(id, self.spreads);
        self.seen.borrow_mut().opened += 1;
    }
    fn on_message(&mut self, _cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        self.seen.borrow_mut().messages.push((id, message.as_bytes().len()));
    }
}

struct Loop {
    server: Server<Counts>,
    seen: Rc<RefCell<Seen>>,
}

impl Loop {
    fn new(spreads: bool) -> Loop {
        let seen = Rc::<RefCell<Seen>>::default();
        let handler = Counts { seen: Rc::clone(&seen), spreads };
        let server = Server::bind(Config::new("127.0.0.1:0"), handler).expect("an address is free");
        Loop { server, seen }
    }

    fn open(&mut self, extensions: &str) -> TcpStream {
        let address = self.server.addresses()[0].ip().expect("it is one of TCP");
        let mut stream = TcpStream::connect(address).expect("the server listens");
        let head = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extensions}\r\n"
        );
        stream.write_all(head.as_bytes()).expect("there is room");
        let opened = self.seen.borrow().opened;
        let deadline = Instant::now() + PATIENCE;
        while self.seen.borrow().opened == opened {
            assert!(Instant::now() < deadline, "the connection never opened");
            self.turn();
        }
        stream
    }

    /// The messages of one turn.
    fn turn(&mut self) -> Vec<(ConnId, usize)> {
        self.server.turn(Some(Duration::from_millis(20))).expect("the loop runs");
        std::mem::take(&mut self.seen.borrow_mut().messages)
    }

    /// The messages of each turn that brought some, until there are so many.
    fn turns(&mut self, messages: usize) -> Vec<Vec<(ConnId, usize)>> {
        let (mut turns, mut count) = (Vec::new(), 0);
        let deadline = Instant::now() + PATIENCE;
        while count < messages {
            assert!(Instant::now() < deadline, "{count} of {messages} messages came");
            let turn = self.turn();
            count += turn.len();
            if !turn.is_empty() {
                turns.push(turn);
            }
        }
        turns
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ ..=125 => frame.push(0x80 | len as u8),
        len @ ..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[test]
fn what_a_crowd_has_inflated_is_spread_over_turns_and_everybody_has_one() {
    const EACH: usize = 12;
    let mut whole = Loop::new(false);
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n";
    let mut crowd: Vec<TcpStream> = (0..CROWD).map(|_| whole.open(offer)).collect();
    let mut neighbour = whole.open("");
    let mut bomb = vec![0; 4_096];
    let n = Compressor::new(9, 15).compress(&vec![0; MEBIBYTE], &mut bomb).expect("there is room");
    let script = frame(0xc2, &bomb[..n]).repeat(EACH);
    crowd.iter_mut().for_each(|stream| stream.write_all(&script).expect("there is room"));
    neighbour.write_all(&frame(0x81, b"hello")).expect("there is room");
    let turns = whole.turns(CROWD * EACH + 1);
    for turn in &turns {
        let bytes: usize = turn.iter().map(|(_, bytes)| bytes).sum();
        assert!(bytes < (EACH + 1) * MEBIBYTE, "{bytes} bytes in one turn: {turn:?}");
    }
    assert!(turns[0].iter().any(|&(_, bytes)| bytes == 5), "the neighbour waits for nobody: {:?}", turns[0]);
    // Each has had a turn, in the order they came.
    let mut order: Vec<ConnId> = turns.concat().into_iter().filter(|m| m.1 > 5).map(|m| m.0).collect();
    order.dedup();
    assert_eq!(order[..CROWD].iter().collect::<BTreeSet<_>>().len(), CROWD, "{order:?}");
}

#[test]
fn messages_that_a_handler_takes_apart_are_a_mebibyte_in_a_turn() {
    const MANY: usize = 60;
    const BYTES: usize = 40 << 10; // more than one read, and less than a socket takes
    let mut whole = Loop::new(true);
    let mut crowd: Vec<TcpStream> = (0..MANY).map(|_| whole.open("")).collect();
    let message = frame(0x82, &vec![b'x'; BYTES]);
    crowd.iter_mut().for_each(|stream| stream.write_all(&message).expect("there is room"));
    let turns = whole.turns(MANY);
    for turn in &turns {
        assert!(turn.len() <= MEBIBYTE / BYTES + 1, "{} messages in one turn", turn.len());
    }
    let everybody: BTreeSet<ConnId> = turns.concat().into_iter().map(|(id, _)| id).collect();
    assert_eq!(everybody.len(), MANY);
}
