//! Those who mean no good: whatever they say, a neighbour is served.

use crate::{
    Authority, pair,
    peer::{Peer, UPGRADE, config, masked, tcp},
    serve, settings,
};
use rustls::{ClientConfig, HandshakeKind};
use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    sync::Arc,
};

#[test]
fn nonsense_ends_one_connection_and_a_neighbour_is_served() {
    let (mut server, config) = pair();
    let mut neighbour = Peer::open(server.address, &config);
    let mut noise = 0x9e37_79b9_u32;
    let mut random = |len: usize| -> Vec<u8> {
        std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        })
        .take(len)
        .collect()
    };
    let record =
        |kind: u8, body: &[u8]| [&[kind, 3, 3][..], &(body.len() as u16).to_be_bytes(), body].concat();
    // A ClientHello of 16 MB, as its header says, in one record after the other.
    let endless: Vec<u8> =
        [record(22, &[&[1, 255, 255, 255][..], &[0; 16_000]].concat()), record(22, &[0; 16_384]).repeat(8)]
            .concat();
    let attacks = [
        random(40_000).into_iter().map(|byte| byte & 0x1f).collect(), // no upper-case letter, which would be HTTP
        record(22, &random(5_000)),
        record(23, b"application data before the handshake"),
        record(21, &[2, 40]),
        record(21, &[1, 90]).repeat(1_000), // warnings
        [record(23, &random(16_384)), record(22, &random(16_384))].concat().repeat(4),
        record(22, &[]).repeat(100),
        [&[22, 3, 3, 255, 255][..], &random(70_000)].concat(),
        record(20, &[1]).repeat(1_000),
        endless,
    ];
    let count = attacks.len() as u64;
    for attack in attacks {
        let mut stream = tcp(server.address);
        let _ = stream.write_all(&attack); // it may be cut off before its end
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        assert!(answer.len() < 100, "{} bytes, {ended:?}", answer.len());
        neighbour.expect_echo(b"still there");
    }
    let seen = server.stop().expect("it ran");
    assert_eq!((seen.accepted, seen.handshakes.opened), (count + 1, 1));
    assert!(seen.handshakes.tls_failed >= 6, "{seen:?}");
    assert_eq!(
        seen.handshakes.tls_failed + seen.handshakes.lost + seen.handshakes.refused,
        count,
        "{seen:?}"
    );
}

#[test]
fn nonsense_behind_a_handshake_is_answered_with_an_alert_and_told_as_a_loss() {
    let (server, config) = pair();
    for nonsense in
        [&b"\x17\x03\x03\0\x20nothing that anybody has a key of"[..], b"\x17\x03\x03\xff\xff", &[0; 64]]
    {
        let mut peer = Peer::open(server.address, &config);
        peer.send(0x82, b"before");
        peer.expect(0x82, b"before");
        peer.wire.stream.write_all(nonsense).unwrap();
        let error = peer.rest().1.unwrap_err().to_string();
        assert!(error.contains("alert"), "{error}");
        server.expect_end("1006 InvalidData");
    }
}

#[test]
fn those_who_never_finish_a_handshake_keep_nobody_waiting() {
    let (server, config) = pair();
    let mut neighbour = Peer::open(server.address, &config);
    let held: Vec<_> = (0..200)
        .map(|i| {
            let mut stream = tcp(server.address);
            stream.write_all(&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..i % 11]).unwrap();
            stream
        })
        .collect();
    neighbour.expect_echo(b"still there");
    Peer::open(server.address, &config).expect_echo(b"a new one");
    drop(held);
}

#[test]
fn changes_of_keys_are_followed_and_a_flood_of_them_ends_the_connection() {
    let (server, config) = pair();
    let mut peer = Peer::open(server.address, &config);
    for i in 0..100 {
        peer.session.refresh_traffic_keys().unwrap();
        peer.expect_echo(format!("{i}").as_bytes());
    }
    // One after the other, and nothing said in between: that is soon enough.
    let refused = (0..20_000).any(|_| {
        peer.session.refresh_traffic_keys().unwrap();
        peer.stream().flush().is_err()
    });
    assert!(refused || peer.rest().1.is_err());
    server.expect_end("1006 InvalidData");
    Peer::open(server.address, &config).expect_echo(b"a neighbour");
}

#[test]
fn who_connects_too_often_is_dropped_before_a_handshake_costs_anything() {
    let authority = Authority::new("ours");
    let mut settings = settings();
    settings.limits.handshakes_per_address_per_second_max = 1;
    let server = serve(settings, &authority.sign(&["localhost"]).server());
    let (mut first, mut second) = (tcp(server.address), tcp(server.address));
    let mut came = Vec::new();
    let _ = second.read_to_end(&mut came); // it may be reset
    assert_eq!(came, b"");
    // The first is still waited for.
    first.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    first.read_to_end(&mut came).unwrap();
    assert!(came.starts_with(b"HTTP/1.1 400 "));
}

#[test]
fn what_came_before_nonsense_is_handled_and_the_nonsense_is_the_cause() {
    let (server, config) = pair();
    let mut peer = Peer::open(server.address, &config);
    // In one segment, most likely, so that one read brings both.
    let mut said = Vec::new();
    peer.session.writer().write_all(&masked(0x82, b"before")).unwrap();
    peer.session.write_tls(&mut said).unwrap();
    said.extend([0; 64]);
    peer.wire.stream.write_all(&said).unwrap();
    server.expect_end("1006 InvalidData");
    Peer::open(server.address, &config).expect_echo(b"a neighbour");
}

#[test]
fn records_of_a_byte_each_are_read_as_one_message() {
    let (server, config) = pair();
    let mut neighbour = Peer::open(server.address, &config);
    let mut peer = Peer::open(server.address, &config);
    let payload: Vec<u8> = (0..20_000).map(|i| i as u8).collect();
    let mut said = Vec::new();
    for byte in masked(0x82, &payload) {
        peer.session.writer().write_all(&[byte]).unwrap();
        peer.session.write_tls(&mut said).unwrap();
    }
    peer.wire.stream.write_all(&said).unwrap();
    peer.expect(0x82, &payload);
    neighbour.expect_echo(b"still there");
}

#[test]
fn a_client_that_asks_to_negotiate_again_is_refused_that() {
    let (server, config) = pair();
    let mut neighbour = Peer::open(server.address, &config);
    // OpenSSL's client does so when it reads an R; rustls' own cannot.
    let mut client = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-connect", &server.address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("there is openssl");
    // Its stdin stays open: at its end it would leave by itself.
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(b"R\n").unwrap();
    let output = client.wait_with_output().unwrap();
    drop(stdin);
    neighbour.expect_echo(b"still there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "{said}");
}

#[test]
fn data_before_the_handshake_is_taken_from_nobody() {
    let (server, config) = pair();
    let mut eager = ClientConfig::clone(&config);
    eager.enable_early_data = true;
    let eager = Arc::new(eager);
    Peer::open(server.address, &eager).expect_echo(b"the ticket comes before this");
    let mut peer = Peer::dial(server.address, &eager, "localhost");
    assert!(peer.session.early_data().is_none(), "the ticket says that there may be early data");
    peer.upgrade();
    assert_eq!(peer.session.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn tls_where_none_is_spoken_is_told_so_at_once() {
    let mut plain = settings();
    plain.listen = vec!["127.0.0.1:0".to_owned()];
    plain.limits.handshake_ms_max = 3_600_000; // it is not that which ends it
    let authority = crate::Authority::new("ours");
    let server = serve(plain, &authority.sign(&["localhost"]).server());
    let mut peer = Peer::dial(server.address, &config(&authority.pem(), rustls::ALL_VERSIONS), "localhost");
    let error = peer.stream().write_all(UPGRADE).unwrap_err().to_string();
    assert!(error.contains("InvalidContentType"), "{error}");
    // Also when it comes byte by byte.
    let mut stream = tcp(server.address);
    stream.write_all(b"\x16").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("does not speak TLS"), "{answer}");
}
