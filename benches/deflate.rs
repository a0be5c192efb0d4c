//! Compression of JSON-like text, message by message: what a level costs and gives, by size. The bytes it comes to are
//! in each bench's name.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::wire::deflate::{Compressor, Inflated, Inflater};
use std::hint::black_box;

const SIZES: [usize; 7] = [64, 128, 256, 512, 1_024, 16_384, 65_536];

/// Records as a feed or a chat sends them, cut at `len` bytes. Each `seed` has other ones.
fn json(len: usize, seed: u64) -> Vec<u8> {
    let words = [
        "order", "status", "room", "hello", "the", "price", "update", "is", "pending", "value", "from",
        "zero",
    ];
    let mut state = seed;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut text = String::from("[");
    while text.len() < len {
        let (id, at, user) = (next(1_000_000), next(90_000_000_000), next(40));
        text +=
            &format!("{{\"id\":{id},\"at\":{},\"user\":\"user{user}\",\"text\":\"", 1_700_000_000_000 + at);
        for _ in 0..2 + next(8) {
            text += words[next(words.len() as u64) as usize];
            text.push(' ');
        }
        text += &format!("\",\"score\":{}.{}}},", next(900), next(100));
    }
    text.truncate(len);
    text.into_bytes()
}

fn compress(compressor: &mut Compressor, message: &[u8], out: &mut [u8]) -> usize {
    compressor.reset();
    compressor.compress(message, out).unwrap_or(message.len())
}

fn deflate(c: &mut Criterion) {
    let mut group = c.benchmark_group("compress");
    for len in SIZES {
        let messages: Vec<_> = (0..64).map(|seed| json(len, seed)).collect();
        let mut out = vec![0; len];
        for level in [1, 2, 3, 4, 6] {
            let mut compressor = Compressor::new(level, 15);
            let total: usize =
                messages.iter().map(|message| compress(&mut compressor, message, &mut out)).sum();
            let ratio = total as f64 / (64 * len) as f64;
            let name = BenchmarkId::new(format!("level {level}, to {ratio:.2}"), len);
            group.throughput(Throughput::Bytes(len as u64));
            group.bench_function(name, |b| {
                let mut turn = messages.iter().cycle();
                b.iter(|| {
                    compress(&mut compressor, black_box(turn.next().expect("it goes round")), &mut out)
                });
            });
        }
    }
    group.finish();
}

fn inflate(c: &mut Criterion) {
    let mut group = c.benchmark_group("inflate");
    for len in SIZES {
        let (message, mut payload) = (json(len, 7), vec![0; len]);
        let Some(n) = Compressor::new(6, 15).compress(&message, &mut payload) else { continue };
        let (mut inflater, mut out) = (Inflater::new(), vec![0; len + 1]);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::from_parameter(len), |b| {
            b.iter(|| {
                let inflated = inflater.begin(black_box(&payload[..n]), false).step(&mut out, 0);
                assert_eq!(inflated, Ok(Inflated::Whole(len)));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, deflate, inflate);
criterion_main!(benches);
