//! Those who mean no good: whatever they say, a neighbour is served.

use crate::{
    Authority, pair,
    peer::{Peer, tcp},
    serve, settings,
};
use std::io::{Read, Write};

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
        record(22, &[]).repeat(100),
        [&[22, 3, 3, 255, 255][..], &random(70_000)].concat(),
        record(20, &[1]).repeat(1_000),
        endless,
    ];
    for attack in attacks {
        let mut stream = tcp(server.address);
        let _ = stream.write_all(&attack); // it may be cut off before its end
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        assert!(answer.len() < 100, "{} bytes, {ended:?}", answer.len());
        neighbour.expect_echo(b"still there");
    }
    let seen = server.stop().expect("it ran");
    assert_eq!((seen.accepted, seen.handshakes.opened), (9, 1));
    assert!(seen.handshakes.tls_failed >= 6, "{seen:?}");
    assert_eq!(seen.handshakes.tls_failed + seen.handshakes.lost + seen.handshakes.refused, 8, "{seen:?}");
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
