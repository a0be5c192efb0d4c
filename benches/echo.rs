//! What an echo costs without sockets: bytes are copied in where a read would put them and taken out where a write
//! would find them. One iteration is one wake of the loop, or, for large messages, as many as they need.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sockeye::{
    Config, ConnId, Context, Dial, Engine, Handler, Input, Message, Now, PeerInfo, Request,
    wire::{
        frame::{HeaderBytes, Opcode},
        mask,
    },
};
use std::{hint::black_box, time::Duration};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const READ_BYTES_MAX: usize = 256 << 10;

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        cx.send(id, message);
    }
}

struct World {
    engine: Engine<Echo>,
    input: Input,
    id: ConnId,
    now: Now,
}

fn echo(c: &mut Criterion) {
    let mut group = c.benchmark_group("echo");
    let cases = [
        ("32 × 16 B binary", Opcode::Binary, 32, 16),
        ("32 × 16 B text", Opcode::Text, 32, 16),
        ("32 × 1 KiB binary", Opcode::Binary, 32, 1 << 10),
        ("32 × 1 KiB text", Opcode::Text, 32, 1 << 10),
        ("1 × 64 KiB binary", Opcode::Binary, 1, 64 << 10),
        ("1 × 64 KiB text", Opcode::Text, 1, 64 << 10),
        ("1 × 1 MiB binary", Opcode::Binary, 1, 1 << 20),
        ("1 × 1 MiB text", Opcode::Text, 1, 1 << 20),
    ];
    for (name, opcode, count, len) in cases {
        let stream = masked(opcode, len).repeat(count);
        let reply = count * (HeaderBytes::new(opcode, len, None).len() + len);
        let mut world = World::new();
        if len >= 1 << 20 {
            group.throughput(Throughput::Bytes(len as u64));
        } else {
            group.throughput(Throughput::Elements(count as u64));
        }
        group.bench_function(name, |b| b.iter(|| assert_eq!(world.turn(black_box(&stream)), reply)));
    }
    // What a client that sends back what comes does: no mask in, a new one out.
    for (name, count, len) in [("client, 32 × 16 B", 32, 16), ("client, 1 × 64 KiB", 1, 64 << 10)] {
        let frame = [&HeaderBytes::new(Opcode::Binary, len, None)[..], &vec![b'a'; len]].concat();
        let stream = frame.repeat(count);
        let reply = stream.len() + 4 * count;
        let mut world = World::dialled();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(name, |b| b.iter(|| assert_eq!(world.turn(black_box(&stream)), reply)));
    }
    group.finish();
}

impl World {
    fn dialled() -> World {
        let mut world = World::new();
        world.id = world.engine.act(world.now, |_, cx| cx.dial(Dial::new("a", 80)));
        world.engine.handle_connected(world.now, world.id, "192.0.2.1:80".parse().expect("an address"));
        let transmit = world.engine.poll_transmit().expect("the request is to be written");
        let request = Request::parse(transmit.first, 100).expect("our own request is valid");
        let accept = String::from_utf8(request.accept_key().as_bytes().to_vec()).expect("base64 is ASCII");
        let n = transmit.first.len();
        world.engine.handle_transmitted(world.now, world.id, n);
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        world.turn(answer.as_bytes());
        world
    }

    fn new() -> World {
        let mut engine = Engine::new(&Config::default(), Echo, |bytes| bytes.fill(7));
        let (now, input) = (Now::default(), Input::new(READ_BYTES_MAX));
        let id = engine.handle_accept(now, PeerInfo { address: None, listener: 0 });
        let mut world = World { engine, input, id, now };
        world.turn(REQUEST);
        world
    }

    /// Bytes written in answer to `stream`, which comes in as few reads as a socket full of it takes.
    fn turn(&mut self, stream: &[u8]) -> usize {
        let (mut rest, mut written) = (stream, 0);
        while !rest.is_empty() {
            // The rest of a large message goes straight to where it is assembled, as in `net/turn.rs`.
            if let Some(space) = self.engine.input_space(self.id) {
                let n = space.len().min(rest.len()).min(READ_BYTES_MAX);
                space[..n].copy_from_slice(&rest[..n]);
                rest = &rest[n..];
                self.engine.handle_filled(self.now, self.id, n);
                self.input.fill(0);
            } else {
                let n = rest.len().min(READ_BYTES_MAX);
                self.input.space()[..n].copy_from_slice(&rest[..n]);
                rest = &rest[n..];
                self.input.fill(n);
            }
            self.engine.handle_input(self.now, self.id, &mut self.input);
            if let Some(transmit) = self.engine.poll_reply(self.id, &self.input) {
                let n = black_box(transmit.first).len() + black_box(transmit.second).len();
                written += n;
                self.engine.handle_replied(self.now, self.id, &mut self.input, n);
            }
            while let Some(transmit) = self.engine.poll_transmit() {
                let (id, n) = (transmit.id, transmit.first.len() + transmit.second.len());
                written += n;
                self.engine.handle_transmitted(self.now, id, n);
            }
            while self.engine.poll_command().is_some() {}
        }
        written
    }
}

fn masked(opcode: Opcode, len: usize) -> Vec<u8> {
    let mut frame = HeaderBytes::new(opcode, len, Some(KEY)).to_vec();
    let at = frame.len();
    frame.resize(at + len, b'a');
    mask::apply(&mut frame[at..], KEY);
    frame
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = echo
}
criterion_main!(benches);
