//! A server of its own under attack, and an honest neighbour of the attackers that was there before. Every attack
//! ends with the same questions: did the process grow, does the neighbour still get its echo, is a new connection
//! welcome?

use crate::peer::{Peer, Transport, UPGRADE};
use crate::server::{Server, alone, wait_until};
use std::sync::MutexGuard;

/// What an attack may cost, whatever it announces.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

/// A server under attack, and an honest neighbour of the attackers.
pub struct Siege {
    pub server: Server,
    pub neighbour: Peer,
    pub resident_bytes: u64,
    pub descriptors: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Siege {
    pub fn begin(transport: Transport, flags: &[&str]) -> Siege {
        Siege::of(Server::over(transport, flags))
    }

    pub fn of(server: Server) -> Siege {
        let alone = alone();
        let idle = server.descriptors();
        // Whatever is allocated once is allocated now.
        let mut first = server.open();
        first.expect_echo(&[b'w'; 100_000]).send(b"\x88\x80\0\0\0\0").expect(b"\x88\0").expect_end();
        drop(first);
        wait_until("the first connection is gone", || server.descriptors() == idle);
        let mut neighbour = server.open();
        neighbour.expect_echo(b"before");
        let descriptors = idle + 1;
        let resident_bytes = server.resident_bytes();
        Siege { server, neighbour, resident_bytes, descriptors, _alone: alone }
    }

    /// The neighbour is served, right in the middle of it.
    #[track_caller]
    pub fn expect_service(&mut self) -> &mut Siege {
        self.neighbour.expect_echo(b"meanwhile").send(b"\x81\x82\0\0\0\0hi").expect(b"\x81\x02hi");
        self
    }

    #[track_caller]
    pub fn expect_bounded_memory(&mut self) -> &mut Siege {
        let growth = self.server.resident_bytes().saturating_sub(self.resident_bytes);
        assert!(growth < GROWTH_BYTES_MAX, "the process grew by {} KiB", growth >> 10);
        self
    }

    /// All sockets that the attack cost are given back.
    #[track_caller]
    pub fn expect_descriptors_back(&mut self) -> &mut Siege {
        wait_until("all descriptors are given back", || self.server.descriptors() <= self.descriptors);
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
}

/// Whether a new connection upgrades and echoes. A refusal must be a 503.
#[track_caller]
pub fn welcome(server: &Server) -> bool {
    let mut peer = server.dial();
    let status = peer.send_regardless(UPGRADE).expect_head().status;
    assert!(matches!(status, 101 | 503), "{status}");
    status == 101 && {
        peer.expect_echo(b"welcome");
        true
    }
}
