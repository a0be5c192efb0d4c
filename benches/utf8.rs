//! UTF-8 as `wire::utf8` checks it, beside the standard library: ASCII and mixed text, whole and as it arrives.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::wire::utf8;
use std::{hint::black_box, time::Duration};

fn validate(c: &mut Criterion) {
    let texts = [("ascii", "The quick brown fox. "), ("mixed", "Größe, κόσμε, 日本語, 𝄞 ")];
    for (name, text) in texts {
        let mut group = c.benchmark_group(format!("utf8/{name}"));
        for size in [16, 125, 1 << 10, 16 << 10, 1 << 20] {
            let mut text = text.repeat(size / text.len() + 1);
            text.truncate(text.floor_char_boundary(size));
            let bytes = text.as_bytes();
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            group.bench_function(BenchmarkId::new("std", size), |b| {
                b.iter(|| std::str::from_utf8(black_box(bytes)).is_ok());
            });
            group.bench_function(BenchmarkId::new("whole", size), |b| {
                b.iter(|| utf8::validate(black_box(bytes)).is_ok());
            });
            if size >= 16 << 10 {
                group.bench_function(BenchmarkId::new("arriving in 1,448 B", size), |b| {
                    b.iter(|| arriving(black_box(bytes)));
                });
            }
        }
        group.finish();
    }
}

/// As segments of a network bring it.
fn arriving(text: &[u8]) -> usize {
    let ends = (1..=text.len().div_ceil(1_448)).map(|segment| text.len().min(segment * 1_448));
    ends.fold(0, |valid, end| utf8::validate_more(&text[..end], valid).expect("it is UTF-8"))
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300))
        .sample_size(20);
    targets = validate
}
criterion_main!(benches);
