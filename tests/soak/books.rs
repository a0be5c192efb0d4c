//! The books of a run: what was done by all who took part, how each honest visit ended, and what was found wrong.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Written to by all threads.
#[derive(Debug, Default)]
pub struct Books {
    /// Connections that honest visitors dialled, and those of them that opened.
    pub dialled: Count,
    pub opened: Count,
    /// Visits that are over.
    pub ended: Count,
    /// Messages that honest visitors sent and heard, whole.
    pub said: Count,
    pub heard: Count,
    /// Their payload.
    pub said_bytes: Count,
    pub heard_bytes: Count,
    /// Of what was heard, what was held against what had to come: echoes, and numbers in the place they must have.
    pub checked: Count,
    /// The longest that one of them took, in milliseconds.
    pub slowest_opening: Count,
    pub slowest_closing: Count,
    /// Deeds of vandals, and connections that they made.
    pub deeds: Count,
    pub intrusions: Count,
    /// Times that the server was told to read its files again, and how many were broken.
    pub reloads: Count,
    pub broken_reloads: Count,
    /// How visits and deeds ended, by what they were.
    ends: Mutex<BTreeMap<String, u64>>,
    findings: Mutex<Findings>,
}

/// What is added to from several threads.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

#[derive(Debug, Default)]
struct Findings {
    shown: Vec<String>,
    count: u64,
}

/// Findings that are told word by word: behind a hundred, more of them say nothing new.
const SHOWN_MAX: usize = 100;

impl Count {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn at_least(&self, n: u64) {
        self.0.fetch_max(n, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Books {
    pub fn end(&self, how: impl Into<String>) {
        *lock(&self.ends).entry(how.into()).or_insert(0) += 1;
    }

    pub fn ends(&self) -> BTreeMap<String, u64> {
        lock(&self.ends).clone()
    }

    /// Something is wrong with the server.
    pub fn find(&self, what: impl Into<String>) {
        let mut findings = lock(&self.findings);
        findings.count += 1;
        if findings.shown.len() < SHOWN_MAX {
            findings.shown.push(what.into());
        }
    }

    /// So many things were found, of which these are told.
    pub fn findings(&self) -> (u64, Vec<String>) {
        let findings = lock(&self.findings);
        (findings.count, findings.shown.clone())
    }
}

/// Whoever panicked while it wrote is found by its thread's end.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
