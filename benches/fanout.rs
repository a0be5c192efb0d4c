//! One message for many: framed once, queued for a thousand members, and taken out as a write to each would.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::{Config, ConnId, Context, Engine, Handler, Input, Message, Now, PeerInfo};
use std::{hint::black_box, time::Duration};

const MEMBERS: u32 = 1_000;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

struct Room;

impl Handler for Room {
    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        cx.subscribe(id, "room");
    }

    fn on_message(&mut self, cx: &mut Context<'_>, _: ConnId, message: Message<'_>) {
        cx.publish("room", message);
    }
}

fn publish(c: &mut Criterion) {
    let now = Now::default();
    let mut engine = crowded(now);
    let payload = [b'x'; 128];
    let mut group = c.benchmark_group("fanout");
    for messages in [1, 8] {
        group.throughput(Throughput::Elements(u64::from(MEMBERS) * messages));
        let name = BenchmarkId::new(format!("128 B to {MEMBERS} members, messages a wake"), messages);
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..messages {
                    let fanout = engine.act(now, |_, cx| cx.publish("room", &black_box(&payload)[..]));
                    assert_eq!(fanout.queued, MEMBERS);
                }
                assert_eq!(drained(&mut engine, now), (MEMBERS, MEMBERS as usize * messages as usize * 132));
            });
        });
    }
    group.finish();
}

/// Writes that a wake ends with, and their bytes.
fn drained(engine: &mut Engine<Room>, now: Now) -> (u32, usize) {
    let (mut writes, mut bytes) = (0, 0);
    while let Some(transmit) = engine.poll_transmit() {
        let (id, n) = (transmit.id, black_box(transmit.first).len() + black_box(transmit.second).len());
        (writes, bytes) = (writes + 1, bytes + n);
        engine.handle_transmitted(now, id, n);
    }
    (writes, bytes)
}

fn crowded(now: Now) -> Engine<Room> {
    let mut engine = Engine::new(&Config::default(), Room, |bytes| bytes.fill(7));
    let mut input = Input::new(4_096);
    for _ in 0..MEMBERS {
        let id = engine.handle_accept(now, PeerInfo { address: None, listener: 0 });
        input.space()[..REQUEST.len()].copy_from_slice(REQUEST);
        input.fill(REQUEST.len());
        engine.handle_input(now, id, &mut input);
    }
    drained(&mut engine, now);
    engine
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30);
    targets = publish
}
criterion_main!(benches);
