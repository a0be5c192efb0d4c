//! The other doors: listeners for proxies, and that of administration. What comes in there is to harm nobody who came
//! by the front.

use crate::peer::{Peer, Transport, UPGRADE};
use crate::server::wait_until;
use crate::siege::Siege;
use std::net::SocketAddr;

const PROXY: &str = "listening on proxy:";
const ADMIN: &str = "administration on ";
const HEADER: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n";

// ---------------------------------------------------------------------- proxies

fn with_proxies(trusted: &str) -> (Siege, SocketAddr) {
    let flags = ["--listen", "proxy:127.0.0.1:0", "--trusted-proxies", trusted, "--handshake-ms-max", "2000"];
    let siege = Siege::begin(Transport::Ws, &flags);
    let door = siege.server.address_behind(PROXY);
    (siege, door)
}

#[track_caller]
fn expect_passed_on(door: SocketAddr) {
    let mut peer = Peer::dial(door);
    peer.send(&[HEADER, UPGRADE].concat()).expect_upgrade();
    peer.expect_echo(b"passed on");
}

#[test]
fn headers_of_proxies_that_trickle_fill_their_places_and_run_out() {
    let (mut siege, door) = with_proxies("127.0.0.1");
    expect_passed_on(door);
    // More than may wait: the first keep their places until their time is up, the others are turned away.
    let mut attackers: Vec<Peer> = (0..1_200).map(|_| Peer::dial(door)).collect();
    for at in 0..5 {
        for peer in &mut attackers {
            peer.send_regardless(&HEADER[at..=at]);
        }
    }
    siege.expect_service();
    for peer in &mut attackers {
        assert_eq!(peer.expect_cut(), b"");
    }
    siege.expect_descriptors_back();
    expect_passed_on(door);
    siege.expect_recovery();
}

#[test]
fn garbage_in_place_of_a_proxys_header_is_cut() {
    let (mut siege, door) = with_proxies("127.0.0.1");
    let second = b"\r\n\r\n\0\r\nQUIT\n";
    for garbage in [
        [b"PROXY TCP4 ".repeat(100), vec![b'9'; 100_000]].concat(),
        UPGRADE.repeat(1_000),
        [&second[..], b"\x21\x11\xff\xff", &[0; 70_000]].concat(),
        [&second[..], b"\x99\x99\0\x0c", &[255; 70_000]].concat(),
        vec![0; 100_000],
    ] {
        for _ in 0..40 {
            let mut peer = Peer::dial(door);
            peer.send_regardless(&garbage);
            assert_eq!(peer.expect_cut(), b"");
        }
        siege.expect_service();
    }
    expect_passed_on(door);
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn floods_of_headers_from_who_is_no_proxy_are_cut_unread() {
    let (mut siege, door) = with_proxies("10.0.0.0/8");
    for _ in 0..10 {
        let mut peers: Vec<Peer> = (0..50).map(|_| Peer::dial(door)).collect();
        for peer in &mut peers {
            peer.send_regardless(&[HEADER, UPGRADE].concat());
        }
        for peer in &mut peers {
            assert_eq!(peer.expect_cut(), b"");
        }
    }
    siege.expect_descriptors_back().expect_recovery();
}

// ---------------------------------------------------------------------- administration

fn with_admin() -> (Siege, SocketAddr) {
    let flags = ["--admin", "127.0.0.1:0", "--admin-token", "right", "--handshake-ms-max", "2000"];
    let siege = Siege::begin(Transport::Ws, &flags);
    let door = siege.server.address_behind(ADMIN);
    (siege, door)
}

fn healthy(door: SocketAddr) -> bool {
    let mut probe = Peer::dial(door);
    let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    probe.send_regardless(request).status() == Some(200)
}

#[test]
fn floods_of_wrong_tokens_are_refused_and_the_probe_is_answered_meanwhile() {
    let (mut siege, door) = with_admin();
    for n in 0..300 {
        let mut peer = Peer::dial(door);
        let head = format!(
            "GET /api/v1/connections HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer wrong{n}\r\nConnection: close\r\n\r\n"
        );
        // Who guesses on and on is soon not even compared.
        let status = peer.send_regardless(head.as_bytes()).status();
        assert!(matches!(status, Some(401 | 429)), "{status:?}");
        drop(peer);
        if n % 50 == 0 {
            wait_until("the probe is answered", || healthy(door));
        }
    }
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn bodies_without_end_at_the_api_are_refused_by_what_they_announce() {
    let (mut siege, door) = with_admin();
    for token in ["right", "wrong"] {
        for _ in 0..20 {
            let mut peer = Peer::dial(door);
            let head = format!(
                "POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
                 Content-Length: 99999999999\r\n\r\n"
            );
            peer.send(head.as_bytes());
            let status = peer.send_regardless(&[b'{'; 300_000]).status();
            assert!(matches!(status, Some(401 | 413 | 429)), "{status:?}");
        }
        siege.expect_service();
    }
    wait_until("the probe is answered", || healthy(door));
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn slow_heads_hold_the_places_of_administration_no_longer_than_a_handshake_may_take() {
    let (mut siege, door) = with_admin();
    let mut slow: Vec<Peer> = (0..40).map(|_| Peer::dial(door)).collect();
    for peer in &mut slow {
        peer.send_regardless(b"GET /healthz HTTP/1.1\r\nX: ");
    }
    siege.expect_service();
    wait_until("the probe is answered", || healthy(door));
    for peer in &mut slow {
        peer.expect_cut();
    }
    drop(slow);
    siege.expect_descriptors_back().expect_recovery();
}
