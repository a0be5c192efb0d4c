//! What stands in front: proxies that say whom they pass on, and pages of other sites.

use crate::{
    page::{File, Page},
    serving::{Serving, expect_usage},
    tool::{PATIENCE, signal},
};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

const UPGRADE: &str = "GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";

/// The log as JSON, of a server that is ready.
fn serve(flags: &[&str]) -> Serving {
    Serving::start(
        &[&["--log", "json", "--log-level", "debug", "--admin-password", "secret"], flags].concat(),
    )
}

/// The next record with this message.
#[track_caller]
fn record(serving: &mut Serving, message: &str) -> Value {
    serde_json::from_str(&serving.line_with(&format!("\"{message}\""))).expect("the log is JSON")
}

#[track_caller]
fn address(serving: &mut Serving) -> String {
    record(serving, "listening")["address"].as_str().expect("it listens there").to_owned()
}

#[track_caller]
fn proxied(serving: &mut Serving) -> SocketAddr {
    let address = address(serving);
    address.strip_prefix("proxy:").unwrap_or_else(|| panic!("proxy: {address}")).parse().expect("a port")
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("there is time");
    stream
}

/// The head of an answer, and no byte behind it.
fn head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            break;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("it is ASCII")
}

/// Upgrades in one write with what is in front, and says hello.
#[track_caller]
fn expect_echo(stream: &mut (impl Read + Write), in_front: &[u8]) {
    stream.write_all(&[in_front, UPGRADE.as_bytes(), HELLO].concat()).expect("it is taken");
    assert!(head(stream).starts_with("HTTP/1.1 101 "));
    let mut echo = [0; 7];
    stream.read_exact(&mut echo).expect("hello comes back");
    assert_eq!(&echo, b"\x81\x05hello");
}

/// Nothing is answered.
#[track_caller]
fn expect_dropped(stream: &mut impl Read) {
    let mut came = Vec::new();
    let _ = stream.read_to_end(&mut came); // it may be reset
    assert_eq!(came, b"");
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &(rest.len() as u16).to_be_bytes(), rest].concat()
}

#[test]
fn a_proxy_header_says_who_connects_however_it_comes() {
    let mut serving = serve(&["--listen", "proxy:127.0.0.1:0", "--trusted-proxies", "10.0.0.0/8,127.0.0.1"]);
    let at = proxied(&mut serving);
    let v4 = v2(0x21, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80]);
    for (header, known) in [
        (&b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\r\n"[..], "192.0.2.7:4660"),
        (b"PROXY TCP6 2001:db8::7 ::1 4660 80\r\n", "[2001:db8::7]:4660"),
        (&v4, "192.0.2.7:4660"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1:"),
        (&v2(0x20, 0, b""), "127.0.0.1:"),
    ] {
        expect_echo(&mut connect(at), header);
        let opened = record(&mut serving, "connection opened");
        let address = opened["address"].as_str().expect("it has one");
        assert!(address.starts_with(known), "{address} for {known}");
        // Byte by byte, each in a segment of its own as far as the kernel likes.
        let mut stream = connect(at);
        stream.set_nodelay(true).expect("it is TCP");
        for byte in header {
            stream.write_all(&[*byte]).expect("it is taken");
        }
        expect_echo(&mut stream, b"");
        record(&mut serving, "connection opened");
    }
}

#[test]
fn what_is_no_proxy_header_is_dropped_and_said_in_the_log() {
    let flags =
        ["--listen", "proxy:127.0.0.1:0", "--trusted-proxies", "127.0.0.0/8", "--handshake-ms-max", "300"];
    let mut serving = serve(&flags);
    let at = proxied(&mut serving);
    for (bytes, level, reason) in [
        (UPGRADE.as_bytes(), "warn", "does not begin with a header"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n and so on", "warn", "does not begin with a header"),
        (b"PROXY TCP4 1.2.3", "warn", "did not come in time"),
        (b"", "warn", "did not come in time"),
    ] {
        let mut stream = connect(at);
        stream.write_all(bytes).expect("it is taken");
        expect_dropped(&mut stream);
        let turned_away = record(&mut serving, "connection turned away");
        assert_eq!(turned_away["level"], level);
        assert!(turned_away["reason"].as_str().expect("why").contains(reason), "{turned_away}");
    }
    drop(connect(at));
    assert_eq!(record(&mut serving, "connection turned away")["level"], "debug");
    expect_echo(&mut connect(at), b"PROXY UNKNOWN\r\n");
}

#[test]
fn nobody_but_a_trusted_proxy_gets_in_where_proxies_come() {
    let mut serving = serve(&["--listen", "proxy:127.0.0.1:0", "--trusted-proxies", "10.0.0.0/8"]);
    let at = proxied(&mut serving);
    let mut stream = connect(at);
    let _ = stream.write_all(format!("PROXY TCP4 10.0.0.1 10.0.0.1 1 1\r\n{UPGRADE}").as_bytes());
    expect_dropped(&mut stream);
    let turned_away = record(&mut serving, "connection turned away");
    assert_eq!(turned_away["reason"], "its address is not one of the trusted proxies");
    assert!(turned_away["address"].as_str().expect("whose").starts_with("127.0.0.1:"));
}

#[test]
fn a_proxy_may_come_by_a_unix_domain_socket() {
    let path = std::env::temp_dir().join(format!("sockeye-edge-{}.sock", std::process::id()));
    let listen = format!("proxy:unix:{}", path.display());
    let mut serving = serve(&["--listen", &listen]);
    assert_eq!(address(&mut serving), listen);
    let mut stream = UnixStream::connect(&path).expect("it listens");
    expect_echo(&mut stream, b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\r\n");
    assert_eq!(record(&mut serving, "connection opened")["address"], "192.0.2.7:4660");
    drop(stream);
    signal("TERM", serving.child.id());
    assert_eq!(serving.exit_code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn limits_per_address_go_by_whom_a_proxy_names() {
    let flags = ["--trusted-proxies", "127.0.0.1", "--connections-per-address-max", "1"];
    let mut serving =
        serve(&[&["--listen", "proxy:127.0.0.1:0", "--listen", "127.0.0.1:0"][..], &flags].concat());
    let by_header = proxied(&mut serving);
    let by_request: SocketAddr = address(&mut serving).parse().expect("a port");
    let mut first = connect(by_header);
    expect_echo(&mut first, b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\r\n");
    assert_eq!(record(&mut serving, "connection opened")["address"], "192.0.2.7:4660");
    let with = |address: &str| {
        UPGRADE.replace("\r\n\r\n", &format!("\r\nX-Forwarded-For: 1.1.1.1, {address}\r\n\r\n"))
    };
    for (client, status) in [("192.0.2.7", 503), ("192.0.2.8", 101)] {
        let mut stream = connect(by_request);
        stream.write_all(with(client).as_bytes()).expect("it is taken");
        let head = head(&mut stream);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{client}: {head}");
        if status == 101 {
            assert_eq!(record(&mut serving, "connection opened")["address"], "192.0.2.8:0");
        }
    }
}

#[test]
fn handshakes_past_the_rate_of_an_address_are_refused_with_429() {
    let mut serving = serve(&["--listen", "127.0.0.1:0", "--handshakes-per-address-per-second-max", "1"]);
    let at: SocketAddr = address(&mut serving).parse().expect("a port");
    let mut first = connect(at);
    let mut second = connect(at);
    expect_echo(&mut first, b"");
    let refused = head(&mut second);
    assert!(refused.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{refused}");
    assert!(refused.contains("\r\nRetry-After: 1\r\n"), "{refused}");
}

#[test]
fn who_sends_too_much_is_slowed_down_and_loses_nothing() {
    let limits = ["--messages-per-second-max", "40", "--bytes-per-second-max", "200KiB", "--no-deflate"];
    let mut serving = serve(&[&["--listen", "127.0.0.1:0"][..], &limits].concat());
    let at: SocketAddr = address(&mut serving).parse().expect("a port");
    let mut stream = connect(at);
    expect_echo(&mut stream, b"");
    let begun = Instant::now();
    stream.write_all(&HELLO.repeat(120)).expect("it is taken");
    let mut echoes = vec![0; 7 * 120];
    stream.read_exact(&mut echoes).expect("all come back");
    assert_eq!(echoes, b"\x81\x05hello".repeat(120));
    // 40 at once, at most 43 too many in the last read, and the others at 40 a second.
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(800), "{took:?}");

    let body = vec![7; 300 << 10];
    let message = [b"\x82\xff", &(body.len() as u64).to_be_bytes()[..], &[0; 4], &body].concat();
    let (begun, mut other) = (Instant::now(), connect(at));
    thread::scope(|scope| {
        let mut writer = stream.try_clone().expect("it is a socket");
        let twice = [&message[..], &message].concat();
        scope.spawn(move || writer.write_all(&twice).expect("it is taken, in time"));
        expect_echo(&mut other, b""); // others do not wait
        let mut echo = vec![0; 2 * (10 + body.len())];
        stream.read_exact(&mut echo).expect("both come back");
        assert!(echo.ends_with(&body));
    });
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(800), "{took:?}");
}

#[test]
fn what_a_proxy_says_is_local_may_not_push_without_the_password() {
    let mut serving = serve(&["--listen", "proxy:127.0.0.1:0", "--trusted-proxies", "127.0.0.1"]);
    let at = proxied(&mut serving);
    let body = r#"{"action":"a","message":"m"}"#;
    for header in ["PROXY TCP4 127.0.0.1 127.0.0.1 1 80\r\n", "PROXY UNKNOWN\r\n"] {
        let request = format!(
            "{header}POST /__broadcastwebsocket.ww HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = connect(at);
        stream.write_all(request.as_bytes()).expect("it is taken");
        assert!(head(&mut stream).starts_with("HTTP/1.1 401 "));
    }
}

#[test]
fn a_page_of_another_site_connects_and_is_nobody() {
    let users = File::new("edge-users", "[[user]]\ntoken = \"token-of-alice\"\nid = \"7\"\n");
    let cookie = ("Cookie", "armor_sid_user=token-of-alice");
    let by_cookie = r#"[{"action":"authenticate"}]"#;
    let flags = ["--listen", "127.0.0.1:0", "--users", users.path()];
    for (more, origin, is_known) in [
        (&[][..], None, true),
        (&[], Some("http://HOST"), true),
        (&[], Some("https://evil.example"), false),
        (&[], Some("null"), false),
        (&["--origin", "https://*.app.example"], Some("https://a.app.example"), true),
        (&["--origin", "*"], Some("https://evil.example"), false),
    ] {
        let mut serving = serve(&[&flags[..], more].concat());
        let at: SocketAddr = address(&mut serving).parse().expect("a port");
        let origin = origin.map(|origin| origin.replace("HOST", &at.to_string()));
        let host = at.to_string();
        let mut headers = vec![cookie];
        headers.extend(origin.as_deref().map(|origin| ("Origin", origin)));
        let mut page = Page::open_with(at, "/actions", &headers);
        let answer = page.ask(by_cookie);
        assert_eq!(answer.is_empty(), is_known, "{more:?} {origin:?} at {host}: {answer}");
    }
}

#[test]
fn what_cannot_be_is_said_with_the_cure() {
    expect_usage(&["serve", "--trusted-proxies", "10.0.0.0/33"], &["10.0.0.0/33", "at most 32 bits"]);
    expect_usage(&["serve", "--trusted-proxies", "proxy.example"], &["proxy.example", "ADDRESS/BITS"]);
    expect_usage(&["serve", "--listen", "proxy:proxy:127.0.0.1:0"], &["no address", "proxy:"]);
    expect_usage(
        &["serve", "--listen", "proxy:127.0.0.1:0"],
        &["--listen proxy:127.0.0.1:0", "--trusted-proxies", "nobody may connect"],
    );
    expect_usage(&["serve", "--forwarded-header", "x-real-ip"], &["x-forwarded-for", "forwarded"]);
    for origin in ["example.com", "https://example.com/", "https://a.*.example.com", "https://"] {
        expect_usage(&["serve", "--origin", origin], &["SCHEME://HOST"]);
    }
}
