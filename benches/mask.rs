//! Masking beside `memcpy` of as many bytes, in the same run; the ratio is printed at the end.
//!
//! Goal: at least 0.3 of memcpy's rate from 1 to 16 KiB.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::wire::mask;
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const SIZES: [usize; 9] = [16, 64, 125, 1 << 10, 2 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20];

fn mask_beside_memcpy(c: &mut Criterion) {
    let mut group = c.benchmark_group("mask");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let (mut bytes, copy) = (vec![0xa5; size], vec![0x5a; size]);
        group.bench_function(BenchmarkId::new("apply", size), |b| {
            b.iter(|| mask::apply(black_box(&mut bytes), black_box(KEY)));
        });
        group.bench_function(BenchmarkId::new("memcpy", size), |b| {
            b.iter(|| black_box(&mut bytes).copy_from_slice(black_box(&copy)));
        });
    }
    group.finish();
}

/// Both in turns, so that whatever else the machine does befalls both; the best of many rounds of each.
fn ratio(_: &mut Criterion) {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let rounds = if is_test { 1 } else { 60 };
    println!("mask: rate of `apply` in parts of memcpy's (goal: 0.3 from 1 to 16 KiB)");
    for size in SIZES {
        let (mut bytes, copy) = (vec![0xa5; size], vec![0x5a; size]);
        let (mut masking, mut copying) = (Duration::MAX, Duration::MAX);
        let passes = if is_test { 1 } else { (4 << 20) / size };
        for _ in 0..rounds {
            masking = masking.min(timed(passes, || mask::apply(black_box(&mut bytes), black_box(KEY))));
            copying = copying.min(timed(passes, || black_box(&mut bytes).copy_from_slice(black_box(&copy))));
        }
        let rate = |time: Duration| (size * passes) as f64 / time.as_secs_f64() / 1e9;
        println!(
            "{size:>8} B: {:>6.1} of {:>6.1} GB/s, ratio {:.2}",
            rate(masking),
            rate(copying),
            copying.as_secs_f64() / masking.as_secs_f64(),
        );
    }
}

fn timed(passes: usize, mut pass: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..passes).for_each(|_| pass());
    start.elapsed()
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(150))
        .measurement_time(Duration::from_millis(500))
        .sample_size(20);
    targets = mask_beside_memcpy, ratio
}
criterion_main!(benches);
