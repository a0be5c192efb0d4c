//! One frame: its header read and written, and the whole of it received through a `Connection`.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::{
    Commons, Config, Connection, Input, Now, Request, Step, Upgrade,
    wire::{
        frame::{self, HeaderBytes, Opcode},
        mask,
    },
};
use std::{hint::black_box, time::Duration};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn header(c: &mut Criterion) {
    let mut group = c.benchmark_group("header");
    for len in [16, 1 << 10, 1 << 20] {
        let bytes = HeaderBytes::new(Opcode::Binary, len, Some(KEY));
        group.bench_function(BenchmarkId::new("parse", len), |b| {
            b.iter(|| (Opcode::from_bits(black_box(bytes[0]) & 0xf), frame::parse_length(black_box(&bytes))));
        });
        group.bench_function(BenchmarkId::new("write", len), |b| {
            b.iter(|| HeaderBytes::new(Opcode::Binary, black_box(len), None));
        });
    }
    group.finish();
}

/// 64 frames that one read brought: header, rules, unmasking and, in text, UTF-8.
fn receive(c: &mut Criterion) {
    const FRAMES: usize = 64;
    let mut group = c.benchmark_group("receive");
    group.throughput(Throughput::Elements(FRAMES as u64));
    for (name, opcode) in [("binary", Opcode::Binary), ("text", Opcode::Text)] {
        for len in [16, 1 << 10] {
            let stream = masked(opcode, len).repeat(FRAMES);
            let (mut commons, now) = (Commons::new(&Config::default(), entropy), Now::default());
            let mut connection = opened(now, &mut commons);
            let mut input = Input::new(stream.len());
            group.bench_function(BenchmarkId::new(format!("64 × {name}"), len), |b| {
                b.iter_batched(
                    || (),
                    |()| {
                        // As a read of a socket would put it there; 64 frames of a KiB fit the second cache.
                        input.space().copy_from_slice(&stream);
                        input.fill(stream.len());
                        let mut bytes = 0;
                        while let Ok(Step::Message(message)) =
                            connection.receive(now, &mut input, &mut commons)
                        {
                            bytes +=
                                connection.message(&input, &message).expect("it is UTF-8").as_bytes().len();
                        }
                        assert_eq!(bytes, FRAMES * len);
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

fn masked(opcode: Opcode, len: usize) -> Vec<u8> {
    let mut frame = HeaderBytes::new(opcode, len, Some(KEY)).to_vec();
    let at = frame.len();
    frame.resize(at + len, b'a');
    mask::apply(&mut frame[at..], KEY);
    frame
}

fn opened(now: Now, commons: &mut Commons) -> Connection {
    let mut connection = Connection::server(now, commons);
    let mut input = Input::new(REQUEST.len());
    input.space().copy_from_slice(REQUEST);
    input.fill(REQUEST.len());
    assert!(matches!(connection.receive(now, &mut input, commons), Ok(Step::Head(_))));
    let request = Request::parse(REQUEST, 100).expect("it is valid");
    connection.accept(now, &request, &Upgrade::accept(), commons, &mut Vec::new());
    connection
}

fn entropy(bytes: &mut [u8]) {
    bytes.fill(7);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(700))
        .sample_size(30);
    targets = header, receive
}
criterion_main!(benches);
