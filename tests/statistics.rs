//! What a server counts over real sockets: its books balance, and its loop is timed.

use sockeye::{Config, ConnId, Context, Handler, Message, Refused, Server, Statistics};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

#[derive(Default)]
struct Echo {
    refused: Vec<String>,
}

impl Handler for Echo {
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        cx.send(id, message);
    }

    fn on_refused(&mut self, cx: &mut Context<'_>, id: ConnId, refused: &Refused<'_>) {
        assert!(cx.peer(id).is_some_and(|peer| peer.address.is_some()));
        if let Refused::Http { refusal, path } = refused {
            self.refused.push(format!("{} {}", refusal.status(), path.unwrap_or("-")));
        }
    }
}

const REQUEST: &[u8] = b"GET /a?b HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Sends, says that nothing more comes, and reads to the end.
fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut heard = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut heard).unwrap();
    heard
}

#[test]
fn over_real_sockets_everybody_is_counted_once() {
    let config = Config { origins: vec!["http://a".to_owned()], ..Config::new("127.0.0.1:0") };
    let mut server = Server::bind(config, Echo::default()).unwrap();
    let (address, remote) = (server.addresses()[0].ip().unwrap(), server.remote());
    let clients = thread::spawn(move || {
        let closes = [REQUEST, b"\x81\x82\0\0\0\0hi\x88\x82\0\0\0\0\x03\xe8"].concat();
        assert!(exchange(address, &closes).ends_with(b"\x81\x02hi\x88\x02\x03\xe8"));
        assert!(exchange(address, &[REQUEST, b"\x82\x83\0\0\0\0bye"].concat()).ends_with(b"\x82\x03bye"));
        let foreign =
            String::from_utf8(REQUEST.to_vec()).unwrap().replace("Host", "Origin: http://b\r\nHost");
        assert!(exchange(address, foreign.as_bytes()).starts_with(b"HTTP/1.1 403 "));
        assert!(exchange(address, b"\0\r\n\r\n").starts_with(b"HTTP/1.1 400 "));
        assert_eq!(exchange(address, b"GET /"), b"");
        remote.shutdown();
    });
    while server.turn(None).unwrap() {}
    clients.join().unwrap();

    let seen: Statistics = server.statistics();
    assert_eq!((seen.accepted, seen.handshaking(), seen.open()), (5, 0, 0));
    assert_eq!((seen.handshakes.opened, seen.handshakes.refused, seen.handshakes.lost), (2, 2, 1));
    let closes: Vec<_> =
        seen.closes().map(|(code, cause, count)| (code.unwrap().get(), cause, count)).collect();
    assert_eq!(closes, [(1000, "peer", 1), (1006, "eof", 1)]);
    let refusals: Vec<_> = seen.refusals().collect();
    assert_eq!(refusals, [(400, "malformed", 1), (403, "origin", 1)]);
    assert_eq!(server.handler().refused, ["403 /a", "400 -"]);
    assert_eq!((seen.received.messages, seen.received.bytes), (2, 5));
    assert_eq!((seen.sent.messages, seen.sent.bytes), (2, 5));
    assert!(seen.sent.wire_bytes > 300 && seen.received.wire_bytes > 300, "{seen:?}");
    assert!(seen.turns.count() >= 5 && seen.turns.sum_us() < 30_000_000, "{seen:?}");
    assert!(seen.now.connections_max > 0 && seen.now.buffered_bytes_max > 0);
    assert_eq!((seen.now.connections, seen.now.buffered_bytes), (0, 0));
}
