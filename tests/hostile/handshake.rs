//! The opening handshake: RFC 6455 §4. The HTTP below it is in `http`, whose tests cite `rfc9110_…` and `rfc9112_…`.

use super::OVER;
use crate::peer::{Peer, Response, UPGRADE, frame};
use crate::server::{Server, alone, shared, wait_until};
use std::time::{Duration, Instant};

pub const HOST: &[u8] = b"Host: server.example.com\r\n";
pub const CONNECTION: &[u8] = b"Connection: Upgrade\r\n";
pub const WEBSOCKET: &[u8] = b"Upgrade: websocket\r\n";
pub const KEY: &[u8] = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
pub const VERSION: &[u8] = b"Sec-WebSocket-Version: 13\r\n";
pub const LINE: &[u8] = b"GET /echo HTTP/1.1\r\n";

/// The sample request with one piece of it replaced.
#[track_caller]
pub fn altered(from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = UPGRADE.windows(from.len()).position(|w| w == from).expect("a piece of the sample");
    [&UPGRADE[..at], to, &UPGRADE[at + from.len()..]].concat()
}

/// The sample request with header lines added before its end.
pub fn with(lines: &[u8]) -> Vec<u8> {
    altered(VERSION, &[VERSION, lines].concat())
}

#[track_caller]
pub fn upgrades(request: &[u8]) -> Response {
    shared(OVER).expect_upgrade(request)
}

#[track_caller]
pub fn refused(request: &[u8], status: &[u16]) -> Response {
    shared(OVER).expect_refusal(request, status)
}

#[track_caller]
pub fn refused_with_version(request: &[u8]) {
    let response = refused(request, &[426]);
    assert_eq!(response.field("Sec-WebSocket-Version"), Some("13"), "{response:?}");
}

/// The sample request grown to `total` bytes by one header line.
fn padded(total: usize) -> Vec<u8> {
    let fill = total - UPGRADE.len() - b"X-Fill: \r\n".len();
    let request = with(&[b"X-Fill: ".as_slice(), &vec![b'a'; fill], b"\r\n"].concat());
    assert_eq!(request.len(), total);
    request
}

/// The sample request grown to `total` header lines.
fn of_headers(total: usize) -> Vec<u8> {
    with(&b"X-Line: 1\r\n".repeat(total - 5))
}

// What upgrades.

#[test]
fn s1_3_the_sample_request_is_answered_with_the_sample_accept() {
    upgrades(UPGRADE);
}

#[test]
fn s4_2_2_the_accept_is_of_the_key_as_written() {
    let server = shared(OVER);
    for (key, accept) in [
        ("AAAAAAAAAAAAAAAAAAAAAA==", "ICX+Yqv66kxgM0FcWaLWlFLwTAI="),
        ("/////////////////////w==", "XXpj4jYzLM2yUE0C7TIgMwTQh2g="),
        ("+/+/+/+/+/+/+/+/+/+/+w==", "M0DUs3om0SqzerhOhYSMM7WQuBQ="),
        ("x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="),
    ] {
        let mut peer = server.dial();
        peer.send(&altered(b"dGhlIHNhbXBsZSBub25jZQ==", key.as_bytes()));
        let response = peer.expect_head();
        assert_eq!((response.status, response.field("Sec-WebSocket-Accept")), (101, Some(accept)), "{key}");
        peer.expect_echo(b"open");
    }
}

#[test]
fn s4_2_1_the_head_may_come_one_byte_at_a_time() {
    let server = shared(OVER);
    let mut peer = server.dial();
    peer.drip(UPGRADE).expect_upgrade();
    peer.expect_echo(b"open");
}

#[test]
fn s4_2_1_nothing_is_answered_before_the_head_is_whole() {
    let server = shared(OVER);
    let (mut neighbour, mut peer) = (server.open(), server.dial());
    peer.send(&UPGRADE[..UPGRADE.len() - 1]).expect_silence_beside(&mut neighbour);
    peer.send(b"\n").expect_upgrade();
    peer.expect_echo(b"open");
}

#[test]
fn s4_2_1_the_head_cut_at_every_byte_upgrades() {
    let server = shared(OVER);
    let mut neighbour = server.open();
    for cut in 1..UPGRADE.len() {
        let mut peer = server.dial();
        peer.send(&UPGRADE[..cut]);
        neighbour.expect_echo(b"a turn");
        peer.send(&UPGRADE[cut..]).expect_upgrade();
    }
}

#[test]
fn s4_2_1_heads_in_pieces_of_any_length_follow_each_other() {
    let server = Server::over(OVER, &[]);
    let mut neighbour = server.open();
    for total in [UPGRADE.len(), 400, 700, 1_000, 300, 16_384, 5_000, 16_384, 600] {
        let request = if total > UPGRADE.len() { padded(total) } else { UPGRADE.to_vec() };
        let mut peer = server.dial();
        for piece in request.chunks(total / 3 + 1) {
            peer.send(piece);
            neighbour.expect_echo(b"a turn");
        }
        peer.expect_upgrade();
        peer.expect_echo(b"open");
    }
}

#[test]
fn s4_2_2_bytes_right_behind_the_head_are_frames() {
    let server = shared(OVER);
    let mut peer = server.dial();
    peer.send(&[UPGRADE, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"].concat()).expect_upgrade();
    peer.expect(b"\x81\x05Hello").expect_silence();
}

#[test]
fn s4_2_2_half_a_frame_behind_the_head_waits_for_its_other_half() {
    let server = shared(OVER);
    let (mut neighbour, mut peer) = (server.open(), server.dial());
    peer.send(&[UPGRADE, b"\x81\x85\0\0\0\0He"].concat()).expect_upgrade();
    peer.expect_silence_beside(&mut neighbour).send(b"llo").expect(b"\x81\x05Hello").expect_silence();
}

#[test]
fn s4_2_2_a_faulty_frame_behind_the_head_fails_the_upgraded_connection() {
    let server = shared(OVER);
    let mut peer = server.dial();
    peer.send(&[UPGRADE, b"\x81\x05Hello"].concat()).expect_upgrade();
    peer.expect_fault(1002);
}

#[test]
fn s4_2_2_a_whole_session_in_one_segment_is_answered_in_order() {
    let server = shared(OVER);
    let mut peer = server.dial();
    let frames =
        b"\x01\x82\0\0\0\0He\x89\x81\0\0\0\0!\x80\x83\0\0\0\0llo\x82\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8";
    peer.send(&[UPGRADE, frames].concat()).expect_upgrade();
    peer.expect(b"\x8a\x01!\x81\x05Hello\x82\x00\x88\x02\x03\xe8").expect_end();
}

#[test]
fn s4_1_any_path_and_query_upgrades() {
    for target in
        ["/", "/echo", "/echo?token=a%20b&c=d?e", "//double", "/%00%ff", "/a;b=c/..//d", "/*", "/x@:!$&'()+,"]
    {
        upgrades(&altered(b"/echo", target.as_bytes()));
    }
}

#[test]
fn s4_1_a_long_target_within_the_head_limit_upgrades() {
    upgrades(&altered(b"/echo", &[b"/".as_slice(), &vec![b'p'; 12_000]].concat()));
}

#[test]
fn s4_2_1_upgrade_and_connection_tokens_are_read_in_any_case() {
    upgrades(&altered(WEBSOCKET, b"Upgrade: WebSocket\r\n"));
    upgrades(&altered(WEBSOCKET, b"Upgrade: WEBSOCKET\r\n"));
    upgrades(&altered(CONNECTION, b"Connection: uPGRADE\r\n"));
}

#[test]
fn s4_2_1_the_connection_field_is_a_list() {
    upgrades(&altered(CONNECTION, b"Connection: keep-alive, Upgrade\r\n"));
    upgrades(&altered(CONNECTION, b"Connection: Upgrade,keep-alive\r\n"));
    upgrades(&altered(CONNECTION, b"Connection: , ,\tUpgrade ,,\r\n"));
}

#[test]
fn s4_2_1_the_connection_list_may_span_lines() {
    upgrades(&altered(CONNECTION, b"Connection: keep-alive\r\nConnection: Upgrade\r\n"));
    upgrades(&altered(CONNECTION, b"Connection: Upgrade\r\nConnection: x\r\n"));
}

#[test]
fn s4_2_1_the_upgrade_field_is_a_list_over_all_its_lines() {
    upgrades(&altered(WEBSOCKET, b"Upgrade: h2c, websocket\r\n"));
    upgrades(&altered(WEBSOCKET, b"Upgrade: h2c\r\nUpgrade: websocket\r\n"));
}

// The fields that make an upgrade.

#[test]
fn s4_2_1_a_connection_field_without_the_token_is_400() {
    for line in [
        b"".as_slice(),
        b"Connection: keep-alive\r\n",
        b"Connection: Upgraded\r\n",
        b"Connection: not-upgrade, up grade\r\n",
        b"Connection:\r\n",
    ] {
        refused(&altered(CONNECTION, line), &[400]);
    }
}

#[test]
fn s4_2_1_no_key_is_400() {
    refused(&altered(KEY, b""), &[400]);
    refused(&altered(KEY, b"Sec-WebSocket-Key:\r\n"), &[400]);
    refused(&altered(KEY, b"Sec-WebSocket-Key1: dGhlIHNhbXBsZSBub25jZQ==\r\n"), &[400]);
}

#[test]
fn s4_2_1_two_keys_are_400_even_when_equal() {
    refused(&altered(KEY, &[KEY, KEY].concat()), &[400]);
    refused(&with(b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"), &[400]);
}

#[test]
fn s4_2_1_a_key_that_is_not_16_bytes_of_base64_is_400() {
    for key in [
        "dGhlIHNhbXBsZSBub25j",                 // 15 bytes
        "dGhlIHNhbXBsZSBub25jZQ0=",             // 17 bytes
        "dGhlIHNhbXBsZSBub25jZQ",               // no padding
        "dGhlIHNhbXBsZSBub25jZQ=",              // half the padding
        "dGhlIHNhbXBsZSBub25jZQ===",            // too much of it
        "dGhlIHNhbXBsZSBub25j====",             // nothing but it
        "dGhlIHNhbXBsZSBub2 jZQ==",             // a space
        "dGhlIHNhbXBsZSBub2*jZQ==",             // no base64
        "-_-_-_-_-_-_-_-_-_-_-w==",             // the alphabet for file names
        "\"dGhlIHNhbXBsZSBub25jZQ==\"",         // quoted
        "dGhlIHNhbXBsZSBub25jZQ==, x",          // a list
        "dGhlIHNhbXBsZSBub25jZSBhbmQgbW9yZQ==", // 26 bytes
    ] {
        refused(&altered(b"dGhlIHNhbXBsZSBub25jZQ==", key.as_bytes()), &[400]);
    }
}

#[test]
fn s4_4_no_version_is_426_and_names_13() {
    refused_with_version(&altered(VERSION, b""));
}

#[test]
fn s4_4_another_version_is_426_and_names_13() {
    for version in
        ["0", "7", "8", "12", "14", "130", "1", "3", "255", "256", "269", "-13", "+13", "013", "13.0", "x"]
    {
        refused_with_version(&altered(b"Version: 13", format!("Version: {version}").as_bytes()));
    }
}

#[test]
fn s4_2_1_a_list_of_versions_is_refused() {
    refused(&altered(b"Version: 13", b"Version: 13, 8"), &[400, 426]);
    refused(&altered(b"Version: 13", b"Version:"), &[400, 426]);
}

#[test]
fn s4_2_1_two_versions_are_400_even_when_equal() {
    refused(&with(b"Sec-WebSocket-Version: 13\r\n"), &[400]);
    refused(&with(b"Sec-WebSocket-Version: 8\r\n"), &[400]);
}

#[test]
fn s4_4_a_request_of_the_draft_before_versions_is_refused() {
    let request = b"GET /demo HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\nUpgrade: WebSocket\r\n\
        Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nOrigin: http://example.com\r\n\r\n^n:ds[4U";
    refused(request, &[400, 426]);
}

// Limits.

#[test]
fn s10_4_a_head_of_exactly_16_kib_upgrades() {
    upgrades(&padded(16_384));
}

#[test]
fn s10_4_a_head_past_16_kib_is_431() {
    refused(&padded(16_385), &[431]);
    refused(&padded(65_536), &[431]);
}

#[test]
fn s10_4_a_head_without_an_end_is_431() {
    refused(&[LINE, b"X-Endless: ", &[b'a'; 17_000]].concat(), &[431]);
    refused(&[LINE, &b"X: y\r\n".repeat(3_000)].concat(), &[431]);
    refused(&[b"GET /".as_slice(), &[b'a'; 17_000]].concat(), &[431]);
}

#[test]
fn s10_4_a_head_past_16_kib_is_431_one_piece_at_a_time() {
    let server = shared(OVER);
    let mut peer = server.dial();
    peer.send(LINE);
    for _ in 0..170 {
        peer.send_regardless(&[b"X-Piece: ".as_slice(), &[b'a'; 89], b"\r\n"].concat());
    }
    peer.expect_refusal(&[431]);
}

#[test]
fn s10_4_exactly_100_headers_upgrade() {
    upgrades(&of_headers(100));
}

#[test]
fn s10_4_a_101st_header_is_431() {
    refused(&of_headers(101), &[431]);
    refused(&of_headers(1_000), &[431]);
}

#[test]
fn s10_4_the_head_limits_are_settings() {
    let server = Server::over(OVER, &["--head-bytes-max", "400", "--headers-max", "7"]);
    server.expect_upgrade(&padded(400));
    server.expect_refusal(&padded(401), &[431]);
    server.expect_upgrade(&of_headers(7));
    server.expect_refusal(&of_headers(8), &[431]);
}

#[test]
fn s10_4_the_handshake_has_one_deadline_for_all_of_it() {
    let _alone = alone();
    let server = Server::over(OVER, &["--handshake-ms-max", "800"]);
    let begun = Instant::now();
    let mut upgraded = server.open();
    let mut silent = server.dial();
    let mut dripping = server.dial();
    expect_late(&mut silent, begun);
    // A byte now and then moves the deadline by nothing: still one byte a turn, and cut all the same.
    let cut = Instant::now();
    wait_until("the dripping head is cut", || {
        dripping.send_regardless(b"\r\n");
        server.open().expect_echo(b"meanwhile");
        dripping.is_cut()
    });
    assert!(cut.elapsed() < Duration::from_secs(3), "cut after {:?}", cut.elapsed());
    upgraded.expect_echo(b"the deadline was the handshake's only");
}

#[test]
fn s10_4_half_a_head_is_cut_at_the_deadline() {
    let server = Server::over(OVER, &["--handshake-ms-max", "300"]);
    let begun = Instant::now();
    let mut peers: Vec<Peer> = [1, 20, 60, UPGRADE.len() - 1]
        .map(|n| {
            let mut peer = server.dial();
            peer.send(&UPGRADE[..n]);
            peer
        })
        .into();
    for peer in &mut peers {
        expect_late(peer, begun);
    }
}

/// The handshake is given up, with 408 or without a word, not before its 300 ms.
#[track_caller]
fn expect_late(peer: &mut Peer, begun: Instant) {
    let said = peer.expect_cut();
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408 "), "{}", said.escape_ascii());
    assert!(begun.elapsed() >= Duration::from_millis(300), "given up after {:?}", begun.elapsed());
}

#[test]
fn s4_2_1_the_end_of_the_stream_inside_the_head_ends_the_connection() {
    let server = shared(OVER);
    for cut in [0, 1, 30, UPGRADE.len() - 1] {
        let mut peer = server.dial();
        let said = peer.send(&UPGRADE[..cut]).finish().expect_cut();
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400 "), "{}", said.escape_ascii());
    }
}

#[test]
fn s4_2_2_the_end_of_the_stream_behind_the_head_comes_after_the_answer() {
    let server = shared(OVER);
    let mut peer = server.dial();
    peer.send(UPGRADE).finish().expect_upgrade();
    peer.expect_end();
}

// Origin.

#[test]
fn s10_2_any_origin_upgrades_where_no_list_is_set() {
    upgrades(&with(b"Origin: https://evil.example\r\n"));
    upgrades(&with(b"Origin: null\r\n"));
}

#[test]
fn s4_2_2_an_origin_of_the_list_upgrades_and_others_are_403() {
    let server =
        Server::over(OVER, &["--origin", "https://good.example", "--origin", "http://localhost:3000"]);
    server.expect_upgrade(&with(b"Origin: https://good.example\r\n"));
    server.expect_upgrade(&with(b"Origin: http://localhost:3000\r\n"));
    server.expect_upgrade(UPGRADE);
    for origin in [
        "https://evil.example",
        "http://good.example",
        "https://good.example.evil.example",
        "https://evil.example/https://good.example",
        "https://good.example:8443",
        "https://good.exampl",
        "https://xgood.example",
        "http://localhost",
        "http://localhost:30000",
        "null",
    ] {
        server.expect_refusal(&with(format!("Origin: {origin}\r\n").as_bytes()), &[403]);
    }
}

#[test]
fn s4_2_2_a_good_origin_beside_a_bad_one_is_refused() {
    let server = Server::over(OVER, &["--origin", "https://good.example"]);
    for lines in [
        "Origin: https://good.example\r\nOrigin: https://evil.example\r\n",
        "Origin: https://evil.example\r\nOrigin: https://good.example\r\n",
        "Origin: https://good.example https://evil.example\r\n",
        "Origin: https://evil.example, https://good.example\r\n",
    ] {
        server.expect_refusal(&with(lines.as_bytes()), &[400, 403]);
    }
}

// Subprotocols and extensions.

#[test]
fn s4_2_2_no_subprotocol_offered_is_none_acknowledged() {
    assert_eq!(upgrades(UPGRADE).field("Sec-WebSocket-Protocol"), None);
}

#[test]
fn s4_2_2_the_first_of_unknown_subprotocols_is_acknowledged_as_written() {
    for (offer, chosen) in [
        ("Sec-WebSocket-Protocol: zebra\r\n", "zebra"),
        ("Sec-WebSocket-Protocol: v2.Zebra, v1.zebra\r\n", "v2.Zebra"),
        ("Sec-WebSocket-Protocol:\t!#$%&'*+-.^_`|~09aZ ,b\r\n", "!#$%&'*+-.^_`|~09aZ"),
        ("Sec-WebSocket-Protocol: zebra\r\nSec-WebSocket-Protocol: yak\r\n", "zebra"),
    ] {
        let response = upgrades(&with(offer.as_bytes()));
        assert_eq!(response.field("Sec-WebSocket-Protocol"), Some(chosen), "{offer:?}");
    }
}

#[test]
fn s4_2_2_a_known_subprotocol_wins_over_unknown_ones_before_it() {
    let server = Server::over(OVER, &["--subprotocol", "superchat", "--subprotocol", "chat"]);
    for (offer, chosen) in [
        ("Sec-WebSocket-Protocol: zebra, chat\r\n", Some("chat")),
        ("Sec-WebSocket-Protocol: zebra\r\nsec-websocket-protocol: yak,superchat\r\n", Some("superchat")),
        ("Sec-WebSocket-Protocol: CHAT, chatty\r\n", Some("CHAT")),
        ("", None),
    ] {
        let response = server.expect_upgrade(&with(offer.as_bytes()));
        assert_eq!(response.field("Sec-WebSocket-Protocol"), chosen, "{offer:?}");
    }
}

#[test]
fn s4_2_2_a_strict_server_refuses_unknown_subprotocols_only() {
    let server = Server::over(OVER, &["--subprotocol", "chat", "--subprotocols-strict"]);
    server.expect_refusal(&with(b"Sec-WebSocket-Protocol: zebra\r\n"), &[400]);
    server.expect_refusal(&with(b"Sec-WebSocket-Protocol: Chat, chat2\r\n"), &[400]);
    let response = server.expect_upgrade(&with(b"Sec-WebSocket-Protocol: zebra, chat\r\n"));
    assert_eq!(response.field("Sec-WebSocket-Protocol"), Some("chat"));
    assert_eq!(server.expect_upgrade(UPGRADE).field("Sec-WebSocket-Protocol"), None);
}

#[test]
fn s4_1_a_subprotocol_that_is_no_token_is_400() {
    for value in
        ["two words", "ch@t", "\"chat\"", "a/b", "a=b", "a;b", "caf\u{e9}", "good, b{d", "(x)", "chat[1]"]
    {
        refused(&with(format!("Sec-WebSocket-Protocol: {value}\r\n").as_bytes()), &[400]);
    }
}

#[test]
fn s9_1_unknown_extensions_are_ignored() {
    let server = shared(OVER);
    let mut peer = server.dial();
    peer.send(&with(
        b"Sec-WebSocket-Extensions: x-zip; level=9; mode=\"a\", x-mux\r\nSec-WebSocket-Extensions: foo\r\n",
    ));
    peer.expect_upgrade(); // looks that no extension is acknowledged
    peer.expect_echo(b"open").send(&frame(0xc1, b"not agreed")).expect_fault(1002);
}
