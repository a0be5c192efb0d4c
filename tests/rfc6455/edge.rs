//! What protects a server at the edge of a network: who somebody is behind proxies, how often one may connect, how much
//! one may send.

use crate::duo::{
    REQUEST, RESPONSE, bare,
    drive::{Drive, On, Seen, echo},
    masked,
};
use sockeye::{Answer, Config, ConnId, ForwardedHeader, HttpResponse};
use std::{cell::RefCell, net::SocketAddr, rc::Rc};

/// A request with further lines.
fn request_with(lines: &str) -> Vec<u8> {
    [REQUEST.strip_suffix(b"\r\n").unwrap(), lines.as_bytes(), b"\r\n"].concat()
}

fn for_whom(address: &str) -> Vec<u8> {
    request_with(&format!("X-Forwarded-For: {address}\r\n"))
}

fn from(address: &str) -> Option<SocketAddr> {
    Some(SocketAddr::new(address.parse().unwrap(), 1000))
}

fn behind_proxies(config: &mut Config) {
    config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap(), "unix".parse().unwrap()];
}

/// What a handshake from there is answered: the status, and the whole answer where it is no 101.
fn status(drive: &mut Drive, address: Option<SocketAddr>, request: &[u8]) -> (u16, String) {
    let id = drive.accept_from(address);
    let mut answer = drive.take_bytes(id);
    if answer.is_empty() {
        drive.feed(id, request);
        answer = drive.take_bytes(id);
    }
    let answer = String::from_utf8(answer).unwrap();
    let status = answer[9..12].parse().unwrap();
    if status == 101 {
        drive.expect_seen(id, Seen::Open);
    }
    (status, answer)
}

// ------------------------------------------------------------------ addresses

#[test]
fn a_trusted_proxy_says_whom_a_connection_is_for_and_nobody_else_does() {
    for (address, headers, known) in [
        ("10.0.0.1", "X-Forwarded-For: 198.51.100.1, 192.0.2.7\r\n", "192.0.2.7:0"),
        ("::ffff:10.0.0.1", "X-Forwarded-For: 192.0.2.7:4711, 10.9.9.9\r\n", "192.0.2.7:4711"),
        ("10.0.0.1", "Forwarded: for=\"[2001:db8::7]:80\"\r\n", "[2001:db8::7]:80"),
        ("10.0.0.1", "X-Forwarded-For: nobody\r\n", "10.0.0.1:1000"),
        ("10.0.0.1", "", "10.0.0.1:1000"),
        ("192.0.2.9", "X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.9:1000"),
    ] {
        let mut drive = Drive::with(behind_proxies, echo);
        let id = drive.accept_from(from(address));
        drive.feed(id, &request_with(headers)).expect(id, RESPONSE).expect_seen(id, Seen::Open);
        drive.act(|cx| {
            assert_eq!(cx.peer(id).unwrap().address.unwrap().to_string(), known, "{headers}");
            let is_proxied = !known.ends_with(":1000");
            assert_eq!(cx.is_proxied(id), is_proxied, "{headers}");
        });
    }
}

#[test]
fn where_unix_is_trusted_a_proxy_on_this_machine_is() {
    let mut drive = Drive::with(behind_proxies, echo);
    let id = drive.accept();
    drive.feed(id, &for_whom("192.0.2.7")).expect(id, RESPONSE).expect_seen(id, Seen::Open);
    drive.act(|cx| assert_eq!(cx.peer(id).unwrap().address, Some("192.0.2.7:0".parse().unwrap())));
}

#[test]
fn the_header_that_counts_can_be_chosen() {
    let both = "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 198.51.100.2\r\n";
    let configure = |config: &mut Config| {
        behind_proxies(config);
        config.forwarded_header = ForwardedHeader::Forwarded;
    };
    let mut drive = Drive::with(configure, echo);
    let id = drive.accept_from(from("10.0.0.1"));
    drive.feed(id, &request_with(both)).expect(id, RESPONSE).expect_seen(id, Seen::Open);
    drive.act(|cx| assert_eq!(cx.peer(id).unwrap().address, Some("192.0.2.1:0".parse().unwrap())));
}

#[test]
fn behind_a_proxy_each_client_has_its_own_connections_per_address_max() {
    let configure = |config: &mut Config| {
        behind_proxies(config);
        config.limits.connections_per_address_max = 2;
    };
    let mut drive = Drive::with(configure, echo);
    let proxy = from("10.0.0.1");
    let first = drive.accept_from(proxy);
    drive.feed(first, &for_whom("192.0.2.1")).expect(first, RESPONSE).expect_seen(first, Seen::Open);
    assert_eq!(status(&mut drive, from("192.0.2.1"), REQUEST).0, 101); // one that comes by itself counts with it
    let (refused, why) = status(&mut drive, proxy, &for_whom("192.0.2.1"));
    assert_eq!(refused, 503, "{why}");
    assert!(why.ends_with("\r\n\r\nthis address has as many connections as it may have\n"), "{why}");
    assert_eq!(status(&mut drive, from("192.0.2.1"), REQUEST).0, 503);
    for _ in 0..4 {
        assert_eq!(status(&mut drive, proxy, REQUEST).0, 101); // the proxy's own are not counted
    }
    assert_eq!(status(&mut drive, proxy, &for_whom("192.0.2.2")).0, 101);
    drive.feed_eof(first).take_seen();
    assert_eq!(status(&mut drive, proxy, &for_whom("192.0.2.1")).0, 101);
    assert_eq!(status(&mut drive, proxy, &for_whom("192.0.2.1")).0, 503);
}

#[test]
fn what_a_client_behind_a_proxy_asks_by_plain_http_is_judged_too() {
    let configure = |config: &mut Config| {
        behind_proxies(config);
        config.limits.handshakes_per_address_per_second_max = 1;
    };
    let mut drive = Drive::with(configure, echo).answer(|_, _, _| Answer::Respond(HttpResponse::new(204)));
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";
    assert_eq!(status(&mut drive, from("10.0.0.1"), request).0, 204);
    assert_eq!(status(&mut drive, from("10.0.0.1"), request).0, 429);
}

#[test]
fn all_of_an_ipv6_network_of_64_bits_is_one_address() {
    let mut drive = Drive::with(|config| config.limits.connections_per_address_max = 1, echo);
    assert_eq!(status(&mut drive, from("2001:db8:1:2::1"), REQUEST).0, 101);
    assert_eq!(status(&mut drive, from("2001:db8:1:2:ffff::9"), REQUEST).0, 503);
    assert_eq!(status(&mut drive, from("2001:db8:1:3::1"), REQUEST).0, 101);
}

// ------------------------------------------------------------------ handshakes a second

#[test]
fn an_address_that_connects_too_often_is_refused_with_429_until_a_second_allows_more() {
    let mut drive = Drive::with(|config| config.limits.handshakes_per_address_per_second_max = 2, echo);
    let one = from("192.0.2.1");
    drive.at(500);
    assert_eq!(status(&mut drive, one, REQUEST).0, 101);
    assert_eq!(status(&mut drive, one, REQUEST).0, 101);
    let (refused, answer) = status(&mut drive, one, REQUEST);
    assert_eq!(refused, 429);
    assert!(answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
    assert!(answer.ends_with("this address begins more than 2 connections a second: wait and try again\n"));
    assert_eq!(status(&mut drive, from("192.0.2.2"), REQUEST).0, 101);
    assert_eq!(status(&mut drive, None, REQUEST).0, 101); // Unix-domain peers have no address
    drive.at(999);
    assert_eq!(status(&mut drive, one, REQUEST).0, 429);
    drive.at(1_000); // what is refused costs nothing
    assert_eq!(status(&mut drive, one, REQUEST).0, 101);
    assert_eq!(status(&mut drive, one, REQUEST).0, 429);
}

// ------------------------------------------------------------------ messages and bytes a second

fn limited(messages: u32, bytes: u32) -> Drive {
    let configure = |config: &mut Config| {
        config.limits.messages_per_second_max = messages;
        config.limits.bytes_per_second_max = bytes;
    };
    Drive::with(configure, echo)
}

/// Opens a connection whose first read does not count in the next second.
fn opened(drive: &mut Drive) -> ConnId {
    let id = drive.open();
    drive.at(10_000);
    id
}

#[track_caller]
fn expect_echo(drive: &mut Drive, id: ConnId, text: &str) {
    drive.expect_text(id, text).expect(id, &bare(0x81, text.as_bytes()));
}

#[test]
fn who_sends_more_messages_than_allowed_is_not_read_until_it_may_go_on() {
    let mut drive = limited(2, 0);
    let (id, other) = (opened(&mut drive), opened(&mut drive));
    for text in ["a", "b"] {
        drive.feed(id, &masked(0x81, text.as_bytes()));
        expect_echo(&mut drive, id, text);
    }
    assert!(!drive.wants_read(id));
    drive.feed(id, &masked(0x81, b"c")).expect_silence(id).expect_nothing_seen();
    drive.feed(other, &masked(0x81, b"x"));
    expect_echo(&mut drive, other, "x");
    drive.at(10_480).expect_silence(id);
    drive.at(10_512); // half a second and a tick of the wheel later
    expect_echo(&mut drive, id, "c");
    assert!(!drive.wants_read(id));
    drive.at(12_000);
    assert!(drive.wants_read(id));
}

#[test]
fn fragments_and_pings_count_as_messages() {
    let mut drive = limited(3, 0);
    let id = opened(&mut drive);
    drive.feed(id, &masked(0x01, b"a")).feed(id, &masked(0x89, b"p"));
    assert!(drive.wants_read(id));
    drive.feed(id, &masked(0x80, b"b")).expect_text(id, "ab");
    assert!(!drive.wants_read(id));
    drive.expect(id, &[bare(0x8a, b"p"), bare(0x81, b"ab")].concat());
}

#[test]
fn what_one_read_brings_is_handled_and_paid_for_later() {
    let mut drive = limited(2, 0);
    let id = opened(&mut drive);
    drive.feed(id, &masked(0x81, b"x").repeat(6));
    drive.expect(id, &bare(0x81, b"x").repeat(6)).take_seen();
    drive.at(12_400);
    assert!(!drive.wants_read(id));
    drive.at(12_512);
    assert!(drive.wants_read(id));
}

#[test]
fn who_sends_more_bytes_than_allowed_is_not_read_and_loses_nothing() {
    let mut drive = limited(0, 1_000).read_direct();
    let id = opened(&mut drive);
    let text = "y".repeat(3_000);
    let frame = masked(0x81, text.as_bytes());
    drive.feed(id, &frame[..1_000]);
    assert!(!drive.wants_read(id));
    drive.feed(id, &frame[1_000..]).expect_nothing_seen();
    drive.at(11_016);
    expect_echo(&mut drive, id, &text);
    drive.at(12_000);
    assert!(!drive.wants_read(id));
    drive.at(12_100);
    assert!(drive.wants_read(id));
}

#[test]
fn a_connection_that_is_held_up_is_not_pinged_and_not_given_up_and_can_be_closed() {
    let mut drive = limited(1, 0);
    let id = opened(&mut drive);
    drive.feed(id, &masked(0x81, b"x").repeat(100));
    drive.take_seen();
    drive.take_bytes(id);
    drive.at(60_000).expect_silence(id).expect_alive(id);
    drive.act(|cx| cx.close(id, sockeye::CloseCode::NORMAL, "enough"));
    drive.expect(id, &bare(0x88, b"\x03\xe8enough"));
    assert!(drive.wants_read(id));
    drive.feed(id, &masked(0x88, b"\x03\xe8")).take_seen();
    drive.expect_shut(id);
}

#[test]
fn a_handlers_pause_and_a_limit_hold_up_independently() {
    let mut drive = limited(1, 0);
    let id = opened(&mut drive);
    drive.feed(id, &masked(0x81, b"x"));
    expect_echo(&mut drive, id, "x");
    drive.act(|cx| cx.pause(id));
    drive.at(12_000);
    assert!(!drive.wants_read(id));
    drive.act(|cx| cx.resume(id));
    assert!(drive.wants_read(id));
}

// ------------------------------------------------------------------ origins

#[test]
fn a_page_of_another_site_may_connect_and_its_visitors_cookies_do_not_count() {
    let known: Rc<RefCell<Vec<bool>>> = Rc::default();
    let seen = Rc::clone(&known);
    for (origins, lines, is_trusted) in [
        (&[][..], "", true),
        (&[], "Origin: http://server.example.com\r\n", true),
        (&[], "Origin: https://server.example.com\r\n", true), // a proxy may end TLS
        (&[], "Origin: https://evil.example\r\n", false),
        (&[], "Origin: null\r\n", false),
        (&["https://app.example"], "Origin: https://app.example\r\n", true),
        (&["https://*.app.example"], "Origin: https://a.app.example\r\n", true),
        (&["*"], "Origin: https://evil.example\r\n", false),
        (&["null"], "Origin: null\r\n", false),
    ] {
        let configure =
            |config: &mut Config| config.origins = origins.iter().map(|&o| o.to_owned()).collect();
        let seen = Rc::clone(&seen);
        let mut drive = Drive::with(configure, move |_, _, on| {
            assert!(!matches!(on, On::Message(_)));
        })
        .answer(move |cx, _, request| {
            seen.borrow_mut().push(cx.trusts_origin(request));
            Answer::Respond(HttpResponse::new(204))
        });
        let id = drive.accept();
        drive.feed(id, &request_with(lines)).expect(id, RESPONSE).expect_seen(id, Seen::Open);
        let plain = drive.accept();
        drive.feed(plain, format!("GET / HTTP/1.1\r\nHost: server.example.com\r\n{lines}\r\n").as_bytes());
        drive.take_bytes(plain);
        assert_eq!(known.borrow_mut().pop(), Some(is_trusted), "{origins:?} {lines}");
    }
}
