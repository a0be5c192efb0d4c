//! The server under test: its files, its process, its log, and what the kernel says of it.

use crate::{
    books::{Books, lock},
    following::cut,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    io::{BufRead, BufReader, Write as _},
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long anything is waited for. Nothing is meant to come near it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running `sockeye serve`. Dropping it kills it.
pub struct Tested {
    child: Child,
    pub addresses: Addresses,
    pub log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
    has_ended: bool,
}

/// Where it listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    /// For metrics.
    pub admin: SocketAddr,
}

/// What it logs.
#[derive(Debug)]
pub struct Log {
    kept: Mutex<Kept>,
    came: Condvar,
    books: Arc<Books>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Messages of records that somebody may wait for, and their number since the start.
    messages: VecDeque<String>,
    count: u64,
    opened: u64,
    /// By code and cause.
    closed: BTreeMap<String, u64>,
    /// Records that the server could not write: from then on opened and closed say nothing.
    is_incomplete: bool,
    has_ended: bool,
}

/// Records for whoever waits that are kept.
const MESSAGES_MAX: usize = 1_000;

/// What the kernel says of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Costs {
    pub resident_bytes: u64,
    /// Of these, what is not of a file: heap, stacks, buffers.
    pub anonymous_bytes: u64,
    pub descriptors: usize,
    pub threads: u64,
}

impl Tested {
    /// Starts it with the settings in `folder`, and waits until it listens.
    ///
    /// Its log is kept in a file only where somebody wants to see it: in a day it is large.
    pub fn start(
        binary: &Path,
        folder: &Path,
        log: Option<&Path>,
        books: &Arc<Books>,
    ) -> Result<Tested, String> {
        let mut command = Command::new(binary);
        command.args(["serve", "--config"]).arg(folder.join("sockeye.toml"));
        command.args(["--listen", "127.0.0.1:0", "--listen", "tls:127.0.0.1:0", "--log", "json"]);
        command.args(["--admin", "127.0.0.1:0"]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SOCKEYE_") {
                command.env_remove(name);
            }
        }
        // As dist/sockeye.service has it, and for the same reason: see docs/operations.md, Memory.
        command.env("MALLOC_MMAP_THRESHOLD_", "65536").env("MALLOC_TRIM_THRESHOLD_", "131072");
        // In a group of its own: the terminal's Ctrl-C is for us, who end it in order.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
        let pipe = child.stderr.take().expect("it is piped");
        let mut copy = log.map(fs::File::create).transpose().map_err(|error| format!("no log: {error}"))?;
        let log = Arc::new(Log { kept: Mutex::default(), came: Condvar::new(), books: Arc::clone(books) });
        let (kept, (found, addresses)) = (Arc::clone(&log), std::sync::mpsc::channel());
        let reader = thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if let Some(copy) = &mut copy {
                    let _ = copy.write_all(format!("{line}\n").as_bytes());
                }
                if let Some(address) = kept.read(&line) {
                    let _ = found.send(address);
                }
            }
            kept.end();
        });
        let mut tested = Tested {
            child,
            addresses: Addresses { plain: NOWHERE, tls: NOWHERE, admin: NOWHERE },
            log,
            reader: Some(reader),
            has_ended: false,
        };
        let listens = || {
            addresses
                .recv_timeout(PATIENCE)
                .map_err(|_| format!("the server does not listen: {}", books.findings().1.join("; ")))
        };
        tested.addresses.plain = listens()?;
        tested.addresses.tls = listens()?;
        tested.addresses.admin = listens()?;
        Ok(tested)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn costs(&self) -> Costs {
        let path = PathBuf::from(format!("/proc/{}", self.pid()));
        let status = fs::read_to_string(path.join("status")).unwrap_or_default();
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.unwrap_or_default()
        };
        Costs {
            resident_bytes: field("VmRSS") << 10,
            anonymous_bytes: field("RssAnon") << 10,
            descriptors: fs::read_dir(path.join("fd")).map_or(0, Iterator::count),
            threads: field("Threads"),
        }
    }

    /// Whether it is still there; if not it should not have ended.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn signal(&self, name: &str) -> Result<(), String> {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("kill -{name} {}: {status}", self.pid())),
            Err(error) => Err(format!("there is no kill: {error}")),
        }
    }

    /// Tells it to stop, and waits for it to do so: its exit code.
    pub fn stop(&mut self) -> Result<Option<i32>, String> {
        self.signal("TERM")?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.has_ended = true;
                let _ = self.reader.take().map(JoinHandle::join);
                return Ok(status.code());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(format!("the server does not stop within {} s of SIGTERM", PATIENCE.as_secs()))
    }
}

impl Drop for Tested {
    fn drop(&mut self) {
        if !self.has_ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = self.reader.take().map(JoinHandle::join);
    }
}

impl Log {
    /// A record came. Where it says that the server listens: where.
    fn read(&self, line: &str) -> Option<SocketAddr> {
        let Ok(record) = serde_json::from_str::<Value>(line) else {
            self.books.find(format!("the log has a line that is no JSON: {}", cut(line)));
            return None;
        };
        let field = |name: &str| record[name].as_str().unwrap_or_default();
        let message = field("message");
        match message {
            "connection opened" => lock(&self.kept).opened += 1,
            "connection closed" => {
                let how = format!("{} {}", record["code"], field("cause"));
                *lock(&self.kept).closed.entry(how).or_insert(0) += 1;
            }
            "log records were dropped" => lock(&self.kept).is_incomplete = true,
            "panicked" => self.books.find(format!("the server panicked: {}", cut(line))),
            // Of each connection there may be many.
            "authenticated" | "action refused" | "joined" | "left" | "dialect decided" | "token refused" => {}
            "handshake refused" | "message ignored: it could not be read" | "message pushed" => {}
            "push refused" | "closed for flooding" => {}
            message if message.starts_with("too many actions") => {}
            message => {
                let mut kept = lock(&self.kept);
                kept.count += 1;
                kept.messages.push_back(message.to_owned());
                if kept.messages.len() > MESSAGES_MAX {
                    kept.messages.pop_front();
                }
                self.came.notify_all();
            }
        }
        let address = ["listening", "administration"].iter().any(|said| message.contains(said));
        address.then(|| field("address").trim_start_matches("tls:").parse().ok()).flatten()
    }

    fn end(&self) {
        lock(&self.kept).has_ended = true;
        self.came.notify_all();
    }

    /// Where the log stands: for [`Log::wait`].
    pub fn place(&self) -> u64 {
        lock(&self.kept).count
    }

    /// Waits for a record behind `place` whose message begins with one of `wanted`: which one.
    pub fn wait(&self, place: u64, wanted: &[&str]) -> Result<usize, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut kept = lock(&self.kept);
        loop {
            let behind = kept.messages.len() - ((kept.count - place) as usize).min(kept.messages.len());
            for message in kept.messages.iter().skip(behind) {
                if let Some(which) = wanted.iter().position(|wanted| message.starts_with(wanted)) {
                    return Ok(which);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || kept.has_ended {
                let said: Vec<_> = kept.messages.iter().skip(behind).collect();
                return Err(format!("the log does not say any of {wanted:?}, but {said:?}"));
            }
            kept = self.came.wait_timeout(kept, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// Connections that were opened, and those that were closed by how; `None` where records are missing.
    pub fn connections(&self) -> Option<(u64, BTreeMap<String, u64>)> {
        let kept = lock(&self.kept);
        (!kept.is_incomplete).then(|| (kept.opened, kept.closed.clone()))
    }
}

const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
