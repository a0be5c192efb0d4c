//! The server under attack: the binary, started on a free port and killed when its last user lets go.

use crate::peer::{PATIENCE, Peer, Transport, show};
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A running `sockeye serve`. Dropping it kills the process, and fails the test if it had died on its own.
pub struct Server {
    child: Child,
    transport: Transport,
    /// One a listener, in the order of the flags.
    addresses: Vec<SocketAddr>,
    /// What it has said on stderr so far, and who listens to that until it ends.
    log: Arc<Mutex<String>>,
    listening: Option<JoinHandle<()>>,
    exited: bool,
}

/// The server with every limit at its default, for scripts that leave no trace: all tests that want it share one.
/// It ends with its last user, so bind it for as long as its peers live.
pub fn shared(transport: Transport) -> Arc<Server> {
    static SHARED: [Mutex<Weak<Server>>; 2] = [Mutex::new(Weak::new()), Mutex::new(Weak::new())];
    let mut slot = SHARED[transport as usize].lock().unwrap_or_else(PoisonError::into_inner);
    slot.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Server::over(transport, &[]));
        *slot = Arc::downgrade(&server);
        server
    })
}

/// Held by a test that opens hundreds of sockets or measures time: one of them runs at once.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server of this build, or another one to compare it with.
fn binary() -> OsString {
    std::env::var_os("SOCKEYE_HOSTILE_SERVER").unwrap_or_else(|| env!("CARGO_BIN_EXE_sockeye").into())
}

/// Without pages a plain request is one that should have been an upgrade.
const NO_PAGES: &str = "--no-pages";

impl Server {
    /// Starts the server with these flags on a port of the system's choice, and waits until it listens.
    pub fn spawn(flags: &[&str]) -> Server {
        Server::over(Transport::Ws, flags)
    }

    /// The same, spoken to over `transport`.
    pub fn over(transport: Transport, flags: &[&str]) -> Server {
        let mut all = vec![NO_PAGES];
        all.extend(flags);
        Server::start(Command::new(binary()), transport, &[""], &all)
    }

    /// The same with a listener for each of `dialects` (empty: none is named), and these variables set.
    pub fn listening(dialects: &[&str], flags: &[&str], variables: &[(String, String)]) -> Server {
        let mut command = Command::new(binary());
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        Server::start(command, Transport::Ws, dialects, flags)
    }

    /// The same under a hard limit of descriptors.
    #[cfg(target_os = "linux")]
    pub fn with_descriptors(limit: u32, transport: Transport, flags: &[&str]) -> Server {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")]);
        command.arg(binary());
        let mut all = vec![NO_PAGES];
        all.extend(flags);
        Server::start(command, transport, &[""], &all)
    }

    fn start(mut command: Command, transport: Transport, dialects: &[&str], flags: &[&str]) -> Server {
        command.arg("serve");
        let scheme = match transport {
            Transport::Ws => "",
            Transport::Wss => {
                command.arg("--tls-self-signed");
                "tls:"
            }
        };
        for dialect in dialects {
            let equals = if dialect.is_empty() { "" } else { "=" };
            command.args(["--listen", &format!("{scheme}127.0.0.1:0{equals}{dialect}")]);
        }
        command.args(flags);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stderr = child.stderr.take().expect("it is piped");
        let (found, address) = channel();
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        let listening = std::thread::spawn(move || read_log(BufReader::new(stderr), &found, &kept));
        let addresses: Result<_, _> = dialects.iter().map(|_| address.recv_timeout(PATIENCE)).collect();
        match addresses {
            Ok(addresses) => {
                Server { child, transport, addresses, log, listening: Some(listening), exited: false }
            }
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                let _ = listening.join();
                panic!("the server with {flags:?} does not listen: {}", lock(&log));
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// A connection on which nothing was said.
    #[track_caller]
    pub fn dial(&self) -> Peer {
        self.dial_at(0)
    }

    /// A connection to one of several listeners on which nothing was said.
    #[track_caller]
    pub fn dial_at(&self, listener: usize) -> Peer {
        Peer::dial_over(self.transport, self.addresses[listener])
    }

    /// An upgraded connection.
    #[track_caller]
    pub fn open(&self) -> Peer {
        self.dial().opened_at("/echo")
    }

    /// The script, sent on a new connection in one piece, fails it with `code` and is answered by nothing else.
    /// Gives the reason.
    #[track_caller]
    pub fn expect_fault(&self, script: &[u8], code: u16) -> String {
        self.open().send(script).expect_fault(code)
    }

    /// The script, sent on a new connection in one piece, is answered by exactly these bytes, and the connection
    /// lives on.
    #[track_caller]
    pub fn expect_answer(&self, script: &[u8], answer: &[u8]) -> Peer {
        let mut peer = self.open();
        peer.send(script).expect(answer).expect_silence();
        peer
    }

    /// The request is refused with one of these statuses.
    #[track_caller]
    pub fn expect_refusal(&self, request: &[u8], status: &[u16]) -> crate::peer::Response {
        let mut peer = self.dial();
        peer.send(request);
        let response = peer.expect_refusal(status);
        assert!(!response.body.is_empty(), "refusing {}", show(request));
        response
    }

    /// The request upgrades, and the connection echoes.
    #[track_caller]
    pub fn expect_upgrade(&self, request: &[u8]) -> crate::peer::Response {
        let mut peer = self.dial();
        let response = peer.send(request).expect_upgrade();
        peer.expect_echo(b"open");
        response
    }

    /// The address of a listener that the flags asked for: the one that it names behind these words.
    #[track_caller]
    pub fn address_behind(&self, words: &str) -> SocketAddr {
        let mut found = None;
        wait_until("the listener is named", || {
            let log = self.logged();
            let rest = log.split_once(words).map(|(_, rest)| rest).filter(|rest| rest.contains('\n'));
            found = rest.and_then(|rest| rest.split([' ', '\n']).next()?.parse().ok());
            found.is_some()
        });
        found.expect("just seen")
    }

    /// What it has said on stderr so far.
    pub fn logged(&self) -> String {
        lock(&self.log).clone()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &line]).status().expect("a shell");
        assert!(status.success(), "{line}");
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub fn expect_exit(&mut self) -> ExitStatus {
        self.exited = true;
        let mut status = None;
        wait_until("the server ends", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        status.expect("just seen")
    }
}

/// What the kernel says the process costs.
#[cfg(target_os = "linux")]
impl Server {
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most that it ever was, or was since [`Server::forget_peak`].
    pub fn peak_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// From now on the peak is another one.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("the server is ours");
    }

    fn status_bytes(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("such a line");
        line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024
    }

    /// CPU time spent so far, user and system.
    pub fn cpu(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).expect("the server runs");
        let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
        let ticks = |at: usize| fields.split_whitespace().nth(at).and_then(|f| f.parse().ok()).unwrap_or(0);
        let total: u64 = ticks(11) + ticks(12);
        Duration::from_millis(total * 10) // the kernel's user-visible tick is 10 ms
    }

    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("the server runs").count()
    }

    /// Nothing is asked of the server for a while, and it does nothing.
    #[track_caller]
    pub fn expect_rest(&self) {
        let before = self.cpu();
        std::thread::sleep(Duration::from_millis(800));
        let spent = self.cpu() - before;
        assert!(spent < Duration::from_millis(200), "{spent:?} of CPU time in 800 ms of nothing to do");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let died = if self.exited { None } else { self.child.try_wait().ok().flatten() };
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.listening.take().map(JoinHandle::join);
        let log = self.logged();
        if !std::thread::panicking() {
            assert!(died.is_none(), "the server died ({died:?}): {log}");
            assert!(!log.contains("panicked"), "the server panicked: {log}");
        } else if died.is_some() || log.contains("panicked") {
            eprintln!("the server died ({died:?}): {log}");
        }
    }
}

/// Waits for a condition that nothing announces.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn lock(log: &Mutex<String>) -> MutexGuard<'_, String> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_log(stderr: impl BufRead, found: &Sender<SocketAddr>, log: &Mutex<String>) {
    for line in stderr.lines().map_while(Result::ok) {
        if let Some((_, rest)) = line.split_once("listening on ") {
            let word = rest.trim_start_matches("tls:").split([' ', '/', ',', '=']).next().unwrap_or_default();
            if let Ok(address) = word.trim_end_matches(['.', ')']).parse() {
                let _ = found.send(address);
            }
        }
        let mut log = lock(log);
        log.push_str(&line);
        log.push('\n');
    }
}
