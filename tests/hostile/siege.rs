//! A server of its own under attack, with an honest neighbour of the attackers beside it, from before the attack to
//! behind it. Every attack ends with the same questions: how much did the process grow at most, was each of the
//! neighbour's echoes right, is a new connection welcome?
//!
//! How long the echoes took is a figure and fails nothing but when one never comes. It is printed, and with
//! `SOCKEYE_HOSTILE_REPORT=FILE` in the environment added to that file: a line of a table for each attack.

use crate::neighbour::Neighbour;
use crate::peer::{Peer, Transport, UPGRADE};
use crate::server::{Server, alone, wait_until};
use std::io::Write as _;
use std::sync::MutexGuard;
use std::time::Duration;

/// What an attack may cost, whatever it announces.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

/// A server under attack, and an honest neighbour of the attackers.
pub struct Siege {
    pub server: Server,
    pub descriptors: usize,
    resident_bytes: u64,
    /// Until the end.
    neighbour: Option<Neighbour>,
    transport: Transport,
    _alone: MutexGuard<'static, ()>,
}

impl Siege {
    pub fn begin(transport: Transport, flags: &[&str]) -> Siege {
        Siege::of(transport, Server::over(transport, &[&["--public-metrics"], flags].concat()))
    }

    pub fn of(transport: Transport, server: Server) -> Siege {
        let alone = alone();
        let idle = server.descriptors();
        // Whatever is allocated once is allocated now.
        let mut first = server.open();
        first.expect_echo(&[b'w'; 100_000]).send(b"\x88\x80\0\0\0\0").expect(b"\x88\0").expect_end();
        drop(first);
        wait_until("the first connection is gone", || server.descriptors() == idle);
        let neighbour = Some(Neighbour::settle(server.open()));
        let descriptors = idle + 1;
        let resident_bytes = server.resident_bytes();
        server.forget_peak();
        Siege { server, descriptors, resident_bytes, neighbour, transport, _alone: alone }
    }

    /// The neighbour is served, right in the middle of it.
    #[track_caller]
    pub fn expect_service(&mut self) -> &mut Siege {
        self.neighbour.as_ref().expect("it is not over").expect_service();
        self
    }

    /// Nothing is asked of the server for a while, and it does nothing.
    #[track_caller]
    pub fn expect_rest(&mut self) -> &mut Siege {
        let neighbour = self.neighbour.as_ref().expect("it is not over");
        neighbour.pause();
        self.server.expect_rest();
        neighbour.resume();
        self
    }

    #[track_caller]
    pub fn expect_bounded_memory(&mut self) -> &mut Siege {
        let growth = self.growth_bytes();
        assert!(growth < GROWTH_BYTES_MAX, "the process grew by {} KiB", growth >> 10);
        self
    }

    /// What was taken is given back, but for so much.
    #[track_caller]
    pub fn expect_memory_back(&mut self, bytes: u64) -> &mut Siege {
        let start = self.resident_bytes;
        wait_until("memory is given back", || self.server.resident_bytes() < start + bytes);
        self
    }

    /// By how much the process was larger than before, at most.
    fn growth_bytes(&self) -> u64 {
        self.server.peak_bytes().saturating_sub(self.resident_bytes)
    }

    /// All sockets that the attack cost are given back.
    #[track_caller]
    pub fn expect_descriptors_back(&mut self) -> &mut Siege {
        self.expect_descriptors_back_but(0)
    }

    /// The same, but for those of so many that stay.
    #[track_caller]
    pub fn expect_descriptors_back_but(&mut self, stay: usize) -> &mut Siege {
        let most = self.descriptors + stay;
        wait_until("all descriptors are given back", || self.server.descriptors() <= most);
        self
    }

    /// The attack is over and nothing is left of it.
    #[track_caller]
    pub fn expect_recovery(&mut self) {
        self.expect_bounded_memory().expect_service().expect_welcome();
    }

    #[track_caller]
    pub fn expect_welcome(&mut self) {
        wait_until("a new connection is welcome", || welcome(&self.server));
    }

    /// How long the longest turn of the loop took at most, in milliseconds: a bound of its histogram. Steadier than what
    /// the neighbour sees, which waits for the machine, too.
    fn longest_turn(&self) -> String {
        let mut peer = self.server.dial();
        let request = b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        if peer.send_regardless(request).status() != Some(200) {
            return "?".to_owned();
        }
        let page = String::from_utf8(peer.rest()).expect("a text");
        let classes = page.lines().filter_map(|line| {
            let (bound, count) =
                line.strip_prefix("sockeye_loop_turn_seconds_bucket{le=\"")?.split_once("\"} ")?;
            Some((bound, count.parse::<u64>().ok()?))
        });
        let classes: Vec<_> = classes.collect();
        let all = classes.last().map_or(0, |&(_, count)| count);
        let longest = classes.iter().find(|&&(_, count)| count == all).map_or("?", |&(bound, _)| bound);
        longest.parse::<f64>().map_or(longest.to_owned(), |seconds| format!("{}", seconds * 1e3))
    }

    fn report(&self, latencies: &[Duration]) {
        let of_thousand = |n: usize| {
            let place = (latencies.len() * n).div_ceil(1_000).saturating_sub(1);
            latencies.get(place).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
        };
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("an attack");
        let name = name.split_once("::").map_or(name, |(_, name)| name);
        let line = format!(
            "| `{name}` | {} | {} | {} | {:.2} | {:.2} | {:.2} | {} |\n",
            if self.transport == Transport::Ws { "ws" } else { "wss" },
            self.growth_bytes() >> 10,
            latencies.len(),
            of_thousand(500),
            of_thousand(990),
            of_thousand(1_000),
            self.longest_turn(),
        );
        print!("{line}");
        if let Some(path) = std::env::var_os("SOCKEYE_HOSTILE_REPORT") {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            file.and_then(|mut file| file.write_all(line.as_bytes())).expect("a file to report to");
        }
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut latencies = self.neighbour.take().expect("it is over once").leave();
        latencies.sort_unstable();
        self.report(&latencies);
        // Whoever attacked came after this, and is gone before it.
        self.expect_bounded_memory().expect_descriptors_back();
    }
}

/// Whether a new connection upgrades and echoes. A refusal must be a 503, or a 429.
#[track_caller]
pub fn welcome(server: &Server) -> bool {
    let mut peer = server.dial();
    let status = peer.send_regardless(UPGRADE).status();
    assert!(matches!(status, Some(101 | 429 | 503) | None), "{status:?}");
    status == Some(101) && {
        peer.expect_echo(b"welcome");
        true
    }
}

/// A connection too many is told so with 503, and under TLS, where that would cost a handshake, dropped without a word.
#[track_caller]
pub fn expect_turned_away(transport: Transport, mut peer: Peer) {
    peer.send_regardless(UPGRADE);
    match transport {
        Transport::Ws => drop(peer.expect_refusal(&[503])),
        Transport::Wss => assert_eq!(peer.status(), None),
    }
}
