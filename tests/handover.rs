//! `Config::reuse_port` and `Server::drain`: what becomes of connections at each stage when one server leaves an address
//! to another one. Turned by hand, so that it is known which stage that is.

#![cfg(target_os = "linux")]

use sockeye::{Config, ConnId, Context, Handler, Message, Server};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const CLIENTS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(20);

/// Says its name to all who come.
struct Named(u8);

impl Handler for Named {
    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        cx.send(id, &[self.0][..]);
    }
    fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {}
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

#[test]
fn when_its_time_is_up_those_who_stay_are_told_1001() {
    let mut server = Server::bind(Config::new("127.0.0.1:0"), Named(b'o')).expect("a port is free");
    let mut stream = TcpStream::connect(address(&server)).expect("it listens");
    stream.write_all(REQUEST).expect("it is taken");
    let start = Instant::now();
    server.drain(100);
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        stream.set_read_timeout(Some(PATIENCE)).expect("it is a time");
        while !all.windows(4).any(|part| part == b"\x03\xe9th") {
            let mut some = [0; 1_024];
            let n = stream.read(&mut some).expect("it is told");
            assert!(n > 0, "it is told before the end: {}", all.escape_ascii());
            all.extend_from_slice(&some[..n]);
        }
    });
    turn(&mut [server], |_| reader.is_finished());
    assert!(start.elapsed() >= Duration::from_millis(90), "it was served until then");
    reader.join().expect("it was told");
}
