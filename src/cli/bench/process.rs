//! What `/proc` says of a process: CPU time and memory. Read before and after, never while messages flow.

use std::{collections::HashMap, fs, io};

/// A process to be watched: the server, or ourselves.
#[derive(Clone, Debug)]
pub(super) struct Process {
    /// `/proc/PID`
    folder: String,
}

/// CPU time and memory of a process at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// Time on a CPU so far, by thread, in nanoseconds: as the scheduler counts it, where it tells.
    scheduled_ns: HashMap<u64, u64>,
    /// The same for all threads that are or were, in user space and in the kernel, in ticks of 10 ms.
    user_ticks: u64,
    system_ticks: u64,
    /// Resident memory, in bytes.
    pub(super) resident_bytes: u64,
}

/// CPU time between two moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spent {
    /// In user space and in the kernel, in microseconds.
    pub(super) cpu_us: f64,
    /// The part in user space, of 1: coarse where the time is short.
    pub(super) user_share: f64,
}

/// `/proc` counts in hundredths of a second whatever the kernel's own tick is.
const TICK_US: f64 = 10_000.0;

impl Process {
    pub(super) fn of(pid: u32) -> Process {
        Process { folder: format!("/proc/{pid}") }
    }

    pub(super) fn ourselves() -> Process {
        Process { folder: "/proc/self".to_owned() }
    }

    /// What it has used so far.
    pub(super) fn usage(&self) -> io::Result<Usage> {
        let stat = fs::read_to_string(format!("{}/stat", self.folder))?;
        let status = fs::read_to_string(format!("{}/status", self.folder))?;
        let (user_ticks, system_ticks) = ticks(&stat).ok_or(io::ErrorKind::InvalidData)?;
        let resident_bytes = resident_bytes(&status).unwrap_or(0);
        Ok(Usage { scheduled_ns: self.scheduled_ns(), user_ticks, system_ticks, resident_bytes })
    }

    /// By thread; none where the kernel does not count.
    fn scheduled_ns(&self) -> HashMap<u64, u64> {
        let Ok(tasks) = fs::read_dir(format!("{}/task", self.folder)) else { return HashMap::new() };
        let of = |task: fs::DirEntry| {
            let thread = task.file_name().to_str()?.parse().ok()?;
            // A thread may end while we look.
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            Some((thread, text.split_whitespace().next()?.parse().ok()?))
        };
        tasks.flatten().filter_map(of).collect()
    }
}

impl Usage {
    /// What was spent from `before` until now.
    pub(super) fn since(&self, before: &Usage) -> Spent {
        let user_us = self.user_ticks.saturating_sub(before.user_ticks) as f64 * TICK_US;
        let system_us = self.system_ticks.saturating_sub(before.system_ticks) as f64 * TICK_US;
        let ticks_us = user_us + system_us;
        let of = |(thread, after): (&u64, &u64)| {
            after.saturating_sub(before.scheduled_ns.get(thread).copied().unwrap_or(0))
        };
        let scheduled_us = self.scheduled_ns.iter().map(of).sum::<u64>() as f64 / 1e3;
        // The scheduler's count is finer, but leaves out threads that have ended. Where the ticks have more than their
        // own error besides, that is why.
        let has_all = ticks_us <= scheduled_us + 2.0 * TICK_US;
        Spent {
            cpu_us: if has_all { scheduled_us } else { ticks_us },
            user_share: if ticks_us > 0.0 { user_us / ticks_us } else { 0.0 },
        }
    }
}

/// `utime` and `stime`, behind the name in parentheses that may itself hold spaces and parentheses. See proc(5).
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_a_name_that_has_parentheses() {
        let stat = "42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 1234 567 0 0 20 0 1 0";
        assert_eq!(ticks(stat), Some((1234, 567)));
        assert_eq!(ticks("42 (a) S 1 2"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident_bytes("Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t   12 kB\n"), Some(12 * 1024));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn the_finer_clock_counts_unless_threads_have_ended_that_it_knew() {
        let usage = |threads: &[(u64, u64)], user_ticks, system_ticks| Usage {
            scheduled_ns: threads.iter().copied().collect(),
            user_ticks,
            system_ticks,
            resident_bytes: 0,
        };
        let before = usage(&[(1, 2_500_000), (2, 9_000_000)], 0, 0);
        // Thread 2 has ended, thread 3 is new.
        let spent = usage(&[(1, 6_500_000), (3, 1_000_000)], 1, 1).since(&before);
        assert_eq!(spent, Spent { cpu_us: 5_000.0, user_share: 0.5 });
        assert_eq!(usage(&[(1, 6_500_000)], 6, 2).since(&before).cpu_us, 80_000.0);
        assert_eq!(usage(&[], 3, 1).since(&usage(&[], 0, 0)).cpu_us, 40_000.0);
    }

    #[test]
    fn we_can_look_at_ourselves_and_not_at_what_is_not_there() {
        assert!(Process::ourselves().usage().unwrap().resident_bytes > 0);
        assert!(Process::of(u32::MAX).usage().is_err());
    }
}
