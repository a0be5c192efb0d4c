//! The binary's tools under test: a process with its pipes, and servers for it to meet.

#![allow(dead_code, reason = "each test file takes what it needs")]

use sockeye::{
    Closed, Config, ConnId, Context, Handler, Message, Remote, Request, Server, Upgrade,
    wire::handshake::put_response,
};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long anything is waited for before its test fails. Nothing is meant to come near it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The binary with these arguments, no terminal and no colours of the environment.
pub fn sockeye(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
    command.args(arguments).env_remove("NO_COLOR");
    command
}

pub fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(status.expect("there is kill").success(), "kill -{name} {pid}");
}

/// What a program wrote, and how it ended, which is to come by itself.
pub fn finish(child: Child) -> Output {
    let (done, output) = mpsc::channel();
    let pid = child.id();
    thread::spawn(move || done.send(child.wait_with_output()));
    match output.recv_timeout(PATIENCE) {
        Ok(output) => output.expect("it is our child"),
        Err(_) => {
            signal("KILL", pid);
            panic!("it should have ended by itself");
        }
    }
}

// ---------------------------------------------------------------------- a process

/// A running program. Dropping it kills it.
pub struct Tool {
    child: Child,
    pub stdin: Option<ChildStdin>,
    output: Receiver<(usize, Vec<u8>)>,
    /// What came on stdout and on stderr.
    pub said: [Vec<u8>; 2],
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Tool {
    pub fn start(mut command: Command) -> Tool {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let (sender, output) = mpsc::channel();
        read_apart(0, child.stdout.take().expect("it is piped"), sender.clone());
        read_apart(1, child.stderr.take().expect("it is piped"), sender);
        let stdin = child.stdin.take();
        Tool { child, stdin, output, said: Default::default() }
    }

    /// `sockeye connect` with these arguments.
    pub fn connect(arguments: &[&str]) -> Tool {
        Tool::start(sockeye(&[&["connect"], arguments].concat()))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its stdin, of which it may have had enough.
    pub fn input(&mut self, bytes: &[u8]) -> &mut Tool {
        let stdin = self.stdin.as_mut().expect("it was not ended");
        let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
        self
    }

    /// Ends its stdin.
    pub fn end_input(&mut self) -> &mut Tool {
        self.stdin = None;
        self
    }

    /// Waits until `text` stands on stdout behind the first `from` bytes; where it ends.
    #[track_caller]
    pub fn expect_after(&mut self, from: usize, text: &str) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rest = &self.said[0][from.min(self.said[0].len())..];
            if let Some(at) = rest.windows(text.len()).position(|part| part == text.as_bytes()) {
                return from + at + text.len();
            }
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((stream, bytes)) => self.said[stream].extend(bytes),
                Err(error) => panic!("{text:?} on stdout: {error}, after {:?}", self.shown()),
            }
        }
    }

    #[track_caller]
    pub fn expect(&mut self, text: &str) -> usize {
        self.expect_after(0, text)
    }

    /// Waits for it to end by itself.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((stream, bytes)) => self.said[stream].extend(bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end, after {:?}", self.shown()),
            }
        }
        let code = self.child.wait().expect("it is our child").code();
        let [stdout, stderr] = std::mem::take(&mut self.said);
        Ended { code, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }
    }

    fn shown(&self) -> [String; 2] {
        [0, 1].map(|stream| String::from_utf8_lossy(&self.said[stream]).into_owned())
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    #[track_caller]
    pub fn expect_code(&self, code: i32) -> &Ended {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// It ended so, and said all of `words` on stderr.
    #[track_caller]
    pub fn expect_complaint(&self, code: i32, words: &[&str]) -> &Ended {
        self.expect_code(code);
        for word in words {
            assert!(self.stderr.contains(word), "stderr names {word:?}: {self:?}");
        }
        self
    }
}

/// Sends on what a pipe brings, until its end.
fn read_apart(stream: usize, mut pipe: impl Read + Send + 'static, sender: Sender<(usize, Vec<u8>)>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(len @ 1..) = pipe.read(&mut buffer) {
            if sender.send((stream, buffer[..len].to_vec())).is_err() {
                break;
            }
        }
    });
}

// ---------------------------------------------------------------------- servers

/// What a server of [`Serving`] saw.
#[derive(Debug, PartialEq)]
pub enum Seen {
    /// Target and header lines asked for by the test.
    Request(String),
    Open,
    Text(String),
    Binary(Vec<u8>),
    Close(u16, String),
}

/// A server of this library on a thread of its own, which tells what it sees.
pub struct Serving {
    pub port: u16,
    remote: Remote,
    thread: Option<JoinHandle<()>>,
    seen: Receiver<Seen>,
}

/// What the server does when something is seen.
pub type Act = Box<dyn FnMut(&mut Context<'_>, ConnId, &Seen) + Send>;

struct Script {
    act: Act,
    /// A header line to tell of.
    header: &'static str,
    seen: Sender<Seen>,
}

impl Script {
    fn tell(&mut self, cx: &mut Context<'_>, id: ConnId, seen: Seen) {
        (self.act)(cx, id, &seen);
        let _ = self.seen.send(seen);
    }
}

impl Handler for Script {
    fn on_upgrade(&mut self, _: &mut Context<'_>, _: ConnId, request: &Request<'_>) -> Upgrade {
        let value = request.header(self.header).unwrap_or_default();
        let _ = self.seen.send(Seen::Request(format!("{} {value}", request.target())));
        Upgrade::accept()
    }

    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        self.tell(cx, id, Seen::Open);
    }

    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        let seen = match message {
            Message::Text(text) => Seen::Text(text.to_owned()),
            Message::Binary(bytes) => Seen::Binary(bytes.to_vec()),
        };
        self.tell(cx, id, seen);
    }

    fn on_close(&mut self, cx: &mut Context<'_>, id: ConnId, closed: &Closed<'_>) {
        self.tell(cx, id, Seen::Close(closed.code.get(), closed.reason.to_owned()));
    }
}

/// Sends every message back.
pub fn echo(cx: &mut Context<'_>, id: ConnId, seen: &Seen) {
    match seen {
        Seen::Text(text) => drop(cx.send(id, text.as_str())),
        Seen::Binary(bytes) => drop(cx.send(id, Message::Binary(bytes))),
        _ => {}
    }
}

impl Serving {
    pub fn start(act: impl FnMut(&mut Context<'_>, ConnId, &Seen) + Send + 'static) -> Serving {
        Serving::with(Config::new("127.0.0.1:0"), "", act)
    }

    /// With settings of its own, and a header of the request to tell of.
    pub fn with(
        config: Config,
        header: &'static str,
        act: impl FnMut(&mut Context<'_>, ConnId, &Seen) + Send + 'static,
    ) -> Serving {
        let (sender, seen) = mpsc::channel();
        let script = Script { act: Box::new(act), header, seen: sender };
        let mut server = Server::bind(config, script).expect("a port is free");
        let port = server.addresses()[0].ip().expect("it is TCP").port();
        let remote = server.remote();
        let thread = thread::spawn(move || server.run().expect("the loop runs"));
        Serving { port, remote, thread: Some(thread), seen }
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/", self.port)
    }

    /// What was seen next.
    #[track_caller]
    pub fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("something is seen")
    }

    /// The next message or end, past the opening.
    #[track_caller]
    pub fn next_of_interest(&self) -> Seen {
        loop {
            match self.next() {
                Seen::Request(_) | Seen::Open => {}
                seen => return seen,
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.remote.shutdown();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A listener that plays `script` on the first connection, whose request was read; its URL.
pub fn raw_server(script: impl FnOnce(TcpStream, &[u8]) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("ws://{}/", listener.local_addr().expect("it is bound"));
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            head.push(byte[0]);
        }
        script(stream, &head);
    });
    url
}

/// As [`raw_server`], with the handshake done.
pub fn raw_websocket(script: impl FnOnce(TcpStream) + Send + 'static) -> String {
    raw_server(|mut stream, head| {
        let request = Request::parse(head, 100).expect("the request is right");
        let mut answer = Vec::new();
        put_response(request.accept_key(), None, None, &[], &mut answer);
        stream.write_all(&answer).expect("it is taken");
        script(stream);
    })
}
