//! What became of questions, in numbers and in the log.

use sockeye::{ConnId, Tick, hub::Late};
use std::fmt;

/// What became of the questions of the hook, since the start.
///
/// Each question that was `asked` is `waiting`, `answered`, or one of the failures.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::cli::serve) struct HookCounters {
    /// Questions that there were.
    pub(in crate::cli::serve) asked: u64,
    /// Those that are under way now.
    pub(in crate::cli::serve) waiting: u64,
    /// Those with an answer that makes sense, in time.
    pub(in crate::cli::serve) answered: u64,
    /// No answer came in time.
    pub(in crate::cli::serve) timed_out: u64,
    /// The application could not be reached, or the connection to it broke.
    pub(in crate::cli::serve) unreachable: u64,
    /// It answered with another status than 200 or 204.
    pub(in crate::cli::serve) bad_status: u64,
    /// Its answer made no sense, or was too large.
    pub(in crate::cli::serve) bad_answer: u64,
    /// Too many were under way.
    pub(in crate::cli::serve) overflowed: u64,
    /// Answers, failures included, for which nobody waited any more. They are among the others as well.
    pub(in crate::cli::serve) gone: u64,
}

impl HookCounters {
    /// For the log, at the end.
    pub(in crate::cli::serve) fn log(&self) {
        log::info!(
            asked = self.asked, waiting = self.waiting, answered = self.answered, timed_out = self.timed_out,
            unreachable = self.unreachable, bad_status = self.bad_status, bad_answer = self.bad_answer,
            overflowed = self.overflowed, gone = self.gone;
            "the hook has ended"
        );
    }

    pub(super) fn count(&mut self, failure: &Failure) {
        *match failure {
            Failure::TimedOut => &mut self.timed_out,
            Failure::Unreachable(_) => &mut self.unreachable,
            Failure::Status(_) => &mut self.bad_status,
            Failure::Answer(_) => &mut self.bad_answer,
            Failure::Full => &mut self.overflowed,
        } += 1;
    }
}

/// Why a question has no answer. What it displays is for who asked; the log is told more.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// It took too long.
    TimedOut,
    /// TCP, TLS or HTTP failed.
    Unreachable(String),
    /// It answered with this status.
    Status(u16),
    /// What is wrong with its answer.
    Answer(String),
    /// Too many questions are under way.
    Full,
}

impl Failure {
    /// For who asked.
    pub(super) fn to_late(&self) -> Late {
        Late::Failed(self.to_string())
    }

    fn kind(&self) -> usize {
        match self {
            Failure::TimedOut => 0,
            Failure::Unreachable(_) => 1,
            Failure::Status(_) => 2,
            Failure::Answer(_) => 3,
            Failure::Full => 4,
        }
    }

    /// For who runs it.
    fn reason(&self) -> String {
        match self {
            Failure::TimedOut => "no answer in time (hook_timeout_ms)".to_owned(),
            Failure::Unreachable(why) => why.clone(),
            Failure::Status(status) => format!("status {status}"),
            Failure::Answer(why) => why.clone(),
            Failure::Full => "too many questions are under way (hook_queue, hook_queue_bytes_max)".to_owned(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::TimedOut => "The application did not answer in time",
            Failure::Unreachable(_) => "The application cannot be reached",
            Failure::Status(_) | Failure::Answer(_) => "The application failed",
            Failure::Full => "The application has too much to do",
        })
    }
}

/// The log of failures: one of each kind a second.
#[derive(Default)]
pub(super) struct Complaints {
    last: [Option<(Tick, u64)>; 5],
}

impl Complaints {
    pub(super) fn log(&mut self, now: Tick, id: ConnId, failure: &Failure) {
        let place = &mut self.last[failure.kind()];
        let more = match place {
            Some((at, more)) if now < at.after(EVERY_MS) => {
                *more += 1;
                return;
            }
            Some((_, more)) => *more,
            None => 0,
        };
        *place = Some((now, 0));
        let reason = failure.reason();
        log::warn!(connection:% = id, reason = reason.as_str(), more; "the hook failed");
    }
}

const EVERY_MS: u32 = 1_000;
