//! `Config::reuse_port` and `Server::drain`: what becomes of connections at each stage when one server leaves an address
//! to another one. Turned by hand, so that it is known which stage that is.

#![cfg(target_os = "linux")]

use sockeye::{Config, ConnId, Context, Handler, ListeningSocket, Message, Server};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const CLIENTS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(20);

/// Says its name to all who come, and then what they say.
struct Named(u8);

impl Handler for Named {
    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        cx.send(id, &[self.0][..]);
        cx.set_spreading(id, true); // so that what has come takes more than one read
    }
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        cx.send(id, message);
    }
}

fn server(name: u8, address: SocketAddr) -> Server<Named> {
    let config = Config { reuse_port: true, ..Config::new(address.to_string()) };
    Server::bind(config, Named(name)).expect("it can be bound")
}

fn address(server: &Server<Named>) -> SocketAddr {
    server.addresses()[0].ip().expect("it is TCP")
}

/// Turns both until `done`; the servers that are still there.
fn turn(servers: &mut [Server<Named>], mut done: impl FnMut(&[Server<Named>]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done(servers) {
        assert!(Instant::now() < deadline, "it takes too long");
        for server in &mut *servers {
            server.turn(Some(Duration::from_millis(1))).expect("the loop runs");
        }
    }
}

/// The name of who served it.
fn ask(mut stream: TcpStream) -> u8 {
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a time");
    stream.write_all(REQUEST).expect("it is taken");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it is served, and not reset");
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", answer.escape_ascii());
    let mut name = [0; 3];
    stream.read_exact(&mut name).expect("there is a message");
    name[2]
}

#[test]
fn who_is_in_the_backlog_is_served_and_who_begins_later_gets_to_the_successor() {
    let old = server(b'o', "127.0.0.1:0".parse().unwrap());
    let address = address(&old);
    let mut servers = [old, server(b'n', address)];

    // Connected, as far as TCP goes, to one of both; accepted by none.
    let waiting: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    servers[0].drain(PATIENCE.as_millis() as u32);
    let waiting: Vec<_> = waiting.into_iter().map(|stream| thread::spawn(|| ask(stream))).collect();
    let later: Vec<_> = (0..CLIENTS)
        .map(|_| thread::spawn(move || ask(TcpStream::connect(address).expect("it listens"))))
        .collect();
    turn(&mut servers, |_| waiting.iter().chain(&later).all(thread::JoinHandle::is_finished));

    let names = |threads: Vec<thread::JoinHandle<u8>>| -> Vec<u8> {
        threads.into_iter().map(|thread| thread.join().expect("it was served")).collect()
    };
    let waiting = names(waiting);
    assert!(waiting.contains(&b'o') && waiting.contains(&b'n'), "the kernel spreads them");
    assert_eq!(names(later), [b'n'; CLIENTS]);

    // The last has gone: it ends before its time.
    turn(&mut servers, |servers| servers[0].connections() == 0);
    assert!(!servers[0].turn(Some(Duration::ZERO)).expect("the loop runs"), "it has stopped");
}

#[test]
fn an_address_that_nobody_shares_is_let_go_of_at_once_and_its_backlog_is_served() {
    let mut server = Server::bind(Config::new("127.0.0.1:0"), Named(b'o')).expect("a port is free");
    let address = address(&server);
    let waiting: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    server.drain(PATIENCE.as_millis() as u32);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    let waiting: Vec<_> = waiting.into_iter().map(|stream| thread::spawn(|| ask(stream))).collect();
    let mut servers = [server];
    turn(&mut servers, |_| waiting.iter().all(thread::JoinHandle::is_finished));
    for thread in waiting {
        assert_eq!(thread.join().expect("it was served"), b'o');
    }
}

/// What a client is told after its handshake, up to the Close: first bytes and payloads of frames.
fn read_to_close(mut stream: &TcpStream) -> Vec<(u8, Vec<u8>)> {
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a time");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it is served, and not reset");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
    let mut frames: Vec<(u8, Vec<u8>)> = Vec::new();
    while frames.last().is_none_or(|(lead, _)| *lead != 0x88) {
        let mut start = [0; 2];
        stream.read_exact(&mut start).expect("it is told before the end");
        assert!(start[1] < 126, "a short frame");
        let mut payload = vec![0; start[1].into()];
        stream.read_exact(&mut payload).expect("it is told before the end");
        frames.push((start[0], payload));
    }
    frames
}

/// The Close that ends what a client is told: code and wish.
fn expect_close(stream: &TcpStream) -> (u16, u32) {
    let (_, body) = read_to_close(stream).pop().expect("there is a Close");
    let reason = std::str::from_utf8(&body[2..]).expect("it is UTF-8");
    let (_, wish) = reason.split_once("retry_ms=").unwrap_or_else(|| panic!("a wish: {reason}"));
    (u16::from_be_bytes([body[0], body[1]]), wish.parse().expect("it is a number"))
}

/// Clients that have asked, and been answered: open, as far as they are concerned.
fn guests(servers: &mut [Server<Named>], address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let guests: Vec<_> = (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream.write_all(REQUEST).expect("it is taken");
            stream.set_nonblocking(true).expect("a live socket");
            stream
        })
        .collect();
    turn(servers, |_| {
        let mut byte = [0];
        guests.iter().all(|guest| guest.peek(&mut byte).is_ok())
    });
    guests.iter().for_each(|guest| guest.set_nonblocking(false).expect("a live socket"));
    guests
}

/// What each is closed with, who then answers, so that the server stops.
fn expect_closes(servers: &mut [Server<Named>], guests: Vec<TcpStream>) -> Vec<(u16, u32)> {
    let threads: Vec<_> = guests
        .into_iter()
        .map(|mut guest| {
            thread::spawn(move || {
                let close = expect_close(&guest);
                guest.write_all(b"\x88\x82\0\0\0\0\x03\xe9").expect("it is taken");
                close
            })
        })
        .collect();
    turn(servers, |_| threads.iter().all(thread::JoinHandle::is_finished));
    threads.into_iter().map(|thread| thread.join().expect("it was told")).collect()
}

#[test]
fn who_stays_is_closed_with_1001_where_nobody_takes_over_and_the_server_stops_when_all_have_answered() {
    for shares in [false, true] {
        let config = Config { reuse_port: shares, ..Config::new("127.0.0.1:0") };
        let mut servers = [Server::bind(config, Named(b'o')).expect("a port is free")];
        let address = address(&servers[0]);
        let guests = guests(&mut servers, address, 3);
        let start = Instant::now();
        assert!(!servers[0].is_draining());
        servers[0].drain(300);
        assert!(servers[0].is_draining());
        let closes = expect_closes(&mut servers, guests);
        assert!(closes.iter().all(|&(code, _)| code == 1001), "{closes:?}");
        turn(&mut servers, |servers| servers[0].connections() == 0);
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(200), "the last has its turn in the last third: {took:?}");
        assert!(took < PATIENCE / 2, "it does not wait for closing_ms_max: {took:?}");
        assert!(!servers[0].turn(Some(Duration::ZERO)).expect("the loop runs"), "it has stopped");
    }
}

#[test]
fn who_stays_is_closed_with_1012_where_a_successor_listens_each_with_a_wish_of_its_own() {
    let mut old = [server(b'o', "127.0.0.1:0".parse().unwrap())];
    let address = address(&old[0]);
    let guests = guests(&mut old, address, CLIENTS);
    let [old] = old;
    let mut servers = [old, server(b'n', address)];
    servers[0].drain(200);
    let closes = expect_closes(&mut servers, guests);
    assert!(closes.iter().all(|&(code, wish)| code == 1012 && (1_000..2_000).contains(&wish)), "{closes:?}");
    assert!(closes.iter().any(|&(_, wish)| wish.abs_diff(closes[0].1) > 100), "{closes:?}");
}

#[test]
fn of_a_socket_that_was_passed_the_code_is_1012_and_of_one_beside_it_1001() {
    let passed = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let there = passed.local_addr().expect("it is bound");
    let sockets = vec![ListeningSocket::Tcp(passed.try_clone().expect("there are descriptors"))];
    let mut servers =
        [Server::bind_with(Config::new("127.0.0.1:0"), Named(b'o'), sockets).expect("it is bound")];
    let here = address(&servers[0]);
    let guests = {
        let mut all = guests(&mut servers, here, 2);
        all.extend(guests(&mut servers, there, 2));
        all
    };
    servers[0].drain(50);
    let codes: Vec<_> = expect_closes(&mut servers, guests).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [1001, 1001, 1012, 1012]);
}

#[test]
fn a_drain_is_hastened_by_another_one() {
    for shares in [false, true] {
        let config = Config { reuse_port: shares, ..Config::new("127.0.0.1:0") };
        let mut servers = [Server::bind(config, Named(b'o')).expect("a port is free")];
        let address = address(&servers[0]);
        let guests = guests(&mut servers, address, 2);
        servers[0].drain(3_600_000);
        servers[0].drain(50);
        assert_eq!(expect_closes(&mut servers, guests).len(), 2);
    }
}

#[test]
fn what_a_client_had_sent_before_its_close_is_answered_before_it() {
    const MESSAGES: u32 = 3_000;
    let mut servers = [Server::bind(Config::new("127.0.0.1:0"), Named(b'o')).expect("a port is free")];
    let address = address(&servers[0]);
    let mut guest = guests(&mut servers, address, 1).pop().expect("there is one");
    // All of it lies in the socket when its turn has come, more than one read brings.
    let message = |i: u32| [&b"\x82\x84\0\0\0\0"[..], &i.to_be_bytes()].concat();
    guest.write_all(&(0..MESSAGES).flat_map(message).collect::<Vec<_>>()).expect("it is taken");
    servers[0].drain(0);
    let reader = thread::spawn(move || read_to_close(&guest));
    turn(&mut servers, |_| reader.is_finished());
    let frames = reader.join().expect("it was told");
    assert_eq!(frames.len() as u32, 1 + MESSAGES + 1);
    assert!(frames[1..].iter().zip(0..MESSAGES).all(|((_, payload), i)| *payload == i.to_be_bytes()));
}

#[test]
fn a_flood_does_not_put_its_own_close_off() {
    let mut config = Config::new("127.0.0.1:0");
    config.limits.closing_ms_max = 2_000;
    let mut servers = [Server::bind(config, Named(b'o')).expect("a port is free")];
    let address = address(&servers[0]);
    let guest = guests(&mut servers, address, 1).pop().expect("there is one");
    let mut writer = guest.try_clone().expect("there are descriptors");
    let flood =
        thread::spawn(move || while writer.write_all(&b"\x82\x84\0\0\0\0abcd".repeat(1_000)).is_ok() {});
    let reader = thread::spawn(move || read_to_close(&guest).len());
    servers[0].drain(100);
    turn(&mut servers, |servers| servers[0].connections() == 0);
    assert!(reader.join().expect("it was told") > 1);
    flood.join().expect("its socket was closed");
}

#[test]
fn the_shortest_of_the_times_that_were_asked_for_counts_however_they_come() {
    let mut servers = [Server::bind(Config::new("127.0.0.1:0"), Named(b'o')).expect("a port is free")];
    let address = address(&servers[0]);
    let guests = guests(&mut servers, address, 2);
    let remote = servers[0].remote();
    remote.drain(50);
    remote.drain(3_600_000);
    assert_eq!(expect_closes(&mut servers, guests).len(), 2);
}

/// What was asked of it before is done before, and what others go on asking does not put it off.
#[test]
fn a_drain_takes_its_place_among_other_commands() {
    let mut config = Config::new("127.0.0.1:0");
    config.limits.remote_commands_max = 5_000;
    let mut servers = [Server::bind(config, Named(b'o')).expect("a port is free")];
    let address = address(&servers[0]);
    let _guests = guests(&mut servers, address, 1);
    let remote = servers[0].remote();
    let publish = || remote.publish("nobody is in it", "a").expect("there is room");
    (0..1_000).for_each(|_| publish());
    remote.drain(3_600_000);
    (0..3_000).for_each(|_| publish());
    servers[0].turn(Some(PATIENCE)).expect("the loop runs");
    assert!(servers[0].is_draining());
}

#[test]
fn a_server_without_connections_has_nothing_to_wait_for() {
    for shares in [false, true] {
        let config = Config { reuse_port: shares, ..Config::new("127.0.0.1:0") };
        let mut server = Server::bind(config, Named(b'o')).expect("a port is free");
        let start = Instant::now();
        server.drain(PATIENCE.as_millis() as u32);
        while server.turn(None).expect("the loop runs") {}
        assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    }
}

/// Turned until one that has only connected waits for its PROXY header.
#[cfg(feature = "proxy")]
fn proxy(server: &mut Server<Named>) -> TcpStream {
    let stream = TcpStream::connect(address(server)).expect("it listens");
    server.turn(Some(PATIENCE)).expect("the loop runs");
    assert_eq!(server.connections(), 0);
    stream
}

#[cfg(feature = "proxy")]
fn server_of_proxies() -> Server<Named> {
    let mut config = Config::new("proxy:127.0.0.1:0");
    config.trusted_proxies = vec!["127.0.0.1".parse().expect("it is an address")];
    Server::bind(config, Named(b'o')).expect("a port is free")
}

#[cfg(feature = "proxy")]
#[test]
fn a_proxy_whose_header_is_late_is_served_and_then_closed_with_the_others() {
    let mut servers = [server_of_proxies()];
    let mut late = proxy(&mut servers[0]);
    servers[0].drain(1_000);
    servers[0].turn(Some(Duration::ZERO)).expect("the loop runs");
    late.write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\n").expect("it is taken");
    late.write_all(REQUEST).expect("it is taken");
    assert_eq!(expect_closes(&mut servers, vec![late])[0].0, 1001);
}

#[cfg(feature = "proxy")]
#[test]
fn a_header_that_never_comes_is_waited_for_no_longer_than_for_anybody() {
    let mut server = server_of_proxies();
    let mut late = proxy(&mut server);
    let start = Instant::now();
    server.drain(200);
    while server.turn(None).expect("the loop runs") {}
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    assert_eq!(late.read(&mut [0]).expect("it ends"), 0);
}

#[cfg(feature = "proxy")]
#[test]
fn another_handshake_ms_max_is_for_those_whose_header_is_awaited_too() {
    let mut server = server_of_proxies();
    let _late = proxy(&mut server);
    let limits = sockeye::Limits { handshake_ms_max: 50, ..sockeye::Limits::default() };
    server.set_limits(limits, sockeye::Keepalive::default()).expect("they make sense");
    let start = Instant::now();
    while server.statistics().handshakes.turned_away == 0 {
        assert!(start.elapsed() < PATIENCE / 4, "it is waited for as long as before");
        server.turn(Some(PATIENCE / 4)).expect("the loop runs");
    }
}
