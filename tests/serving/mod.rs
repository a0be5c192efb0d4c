//! `sockeye serve` under test: the process, what it says line by line, and how it ends.

#![allow(dead_code, reason = "each test file takes what it needs")]

use crate::tool::{PATIENCE, finish};
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
};

pub fn sockeye(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for variable in
        ["SOCKEYE_ADMIN_PASSWORD", "SOCKEYE_ADMIN_TOKEN", "SOCKEYE_CONFIG", "SOCKEYE_SERVER__ADMIN"]
    {
        command.env_remove(variable);
    }
    command
}

/// Runs it to its end, which is to come by itself.
pub fn output(arguments: &[&str]) -> Output {
    finish(sockeye(arguments).spawn().expect("the binary starts"))
}

/// It exits with 2, writes nothing to stdout, and names all of `words` on stderr.
#[track_caller]
pub fn expect_usage(arguments: &[&str], words: &[&str]) {
    let output = output(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?} says {stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
    for word in words {
        assert!(stderr.contains(word), "{arguments:?} should name {word:?}, and says: {stderr}");
    }
}

/// A running `sockeye serve`. Dropping it kills the process.
pub struct Serving {
    pub child: Child,
    stderr: Receiver<String>,
    /// What was said so far.
    pub said: String,
}

impl Serving {
    pub fn start(arguments: &[&str]) -> Serving {
        Serving::spawn(sockeye(&[&["serve"], arguments].concat()))
    }

    pub fn spawn(mut command: Command) -> Serving {
        let mut child = command.spawn().expect("the binary starts");
        let pipe = BufReader::new(child.stderr.take().expect("it is piped"));
        let (line, stderr) = mpsc::channel();
        thread::spawn(move || pipe.lines().map_while(Result::ok).try_for_each(|said| line.send(said)));
        Serving { child, stderr, said: String::new() }
    }

    /// The next line on stderr.
    #[track_caller]
    pub fn line(&mut self) -> String {
        match self.stderr.recv_timeout(PATIENCE) {
            Ok(line) => {
                self.said.push_str(&line);
                self.said.push('\n');
                line
            }
            Err(error) => panic!("a further line on stderr: {error}, after {:?}", self.said),
        }
    }

    /// The first of the next lines that has this in it.
    #[track_caller]
    pub fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The next address it says it listens on.
    #[track_caller]
    pub fn listening(&mut self) -> String {
        let line = self.line();
        let (_, rest) =
            line.split_once("listening on ").unwrap_or_else(|| panic!("where it listens: {line:?}"));
        let address = rest.split_once(": ").map_or(rest, |(address, _)| address);
        address.split(' ').next().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn listening_ip(&mut self) -> SocketAddr {
        let address = self.listening();
        address.parse().unwrap_or_else(|_| panic!("an address and port: {address:?}"))
    }

    /// Waits for the process to end by itself: its exit code.
    #[track_caller]
    pub fn exit_code(&mut self) -> Option<i32> {
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.said.push_str(&line);
                    self.said.push('\n');
                }
                // stderr ends with the process.
                Err(RecvTimeoutError::Disconnected) => {
                    return self.child.wait().expect("it is our child").code();
                }
                Err(RecvTimeoutError::Timeout) => panic!("it does not end, after {:?}", self.said),
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
