//! What the operating system is asked once, or once per wake: descriptors, memory, entropy, clocks.

use crate::time::{Now, Tick};
use std::{
    fs,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Descriptors left for everything but connections.
pub(super) const DESCRIPTORS_RESERVED: u32 = 64;

/// Raises this process's limit on open descriptors as far as it may be, and says what it is now.
pub(super) fn raise_descriptor_limit() -> u32 {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
    u32::try_from(limit).unwrap_or(u32::MAX)
}

/// Memory this process may use: the machine's, or its control group's where that is less.
pub(super) fn memory_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
    });
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok())
        .min();
    machine.unwrap_or(MEMORY_BYTES_UNKNOWN).min(group.unwrap_or(u64::MAX))
}

/// Taken for the memory of a machine that does not say.
const MEMORY_BYTES_UNKNOWN: u64 = 4 << 30;

/// Fills `bytes` from the operating system's source of randomness.
pub(super) fn entropy(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system has no entropy, without which nothing is safe");
}

/// The clocks of one loop.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    /// Since then, when it was read last.
    read_at: Duration,
    /// The wall clock, and when it was read: it is asked about once a second.
    wall: (u64, Tick),
}

impl Clock {
    pub(super) fn new() -> Clock {
        Clock { start: Instant::now(), read_at: Duration::ZERO, wall: (unix_ms(), Tick::ZERO) }
    }

    /// Reads the clocks: when a wake begins and when it ends.
    pub(super) fn now(&mut self) -> Now {
        self.read_at = self.start.elapsed();
        let ms = self.read_at.as_millis() as u64;
        if ms - self.wall.1.as_ms() >= WALL_MS {
            self.wall = (unix_ms(), Tick::from_ms(ms));
        }
        Now { tick: Tick::from_ms(ms), unix_ms: self.wall.0 + (ms - self.wall.1.as_ms()) }
    }

    /// When the clocks were read last, finer than a tick.
    pub(super) fn read_at(&self) -> Duration {
        self.read_at
    }
}

/// How often the wall clock is read, in milliseconds: it may be set while we run.
const WALL_MS: u64 = 1_000;

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
}
