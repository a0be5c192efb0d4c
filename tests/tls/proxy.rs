//! The PROXY protocol in front of TLS.

use crate::{
    Authority, Echo, PATIENCE,
    peer::{Peer, config},
};
use rustls::ALL_VERSIONS;
use sockeye::{Config, ConnId, Context, Handler, Message, PeerInfo, Server, TurnedAway};
use std::{io::Write, sync::mpsc, thread};

/// As [`Echo`], and says who is there and who is not let in.
struct Doorkeeper(Echo);

impl Handler for Doorkeeper {
    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        let address = cx.peer(id).and_then(|peer| peer.address).expect("it is TCP");
        self.0.ended.send(format!("{address} {}", cx.is_proxied(id))).expect("the test waits");
    }

    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        self.0.on_message(cx, id, message);
    }

    fn on_turned_away(&mut self, _: &mut Context<'_>, _: &PeerInfo, why: TurnedAway) {
        self.0.ended.send(format!("{why:?}")).expect("the test waits");
    }
}

#[test]
fn a_header_in_front_of_a_handshake_says_whom_it_is_with() {
    let authority = Authority::new("ours");
    let mut settings = Config::new("proxy:tls:127.0.0.1:0");
    settings.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let (end, ended) = mpsc::channel();
    let handler = Doorkeeper(Echo { ended: end });
    let mut server = Server::bind_tls(settings, authority.sign(&["localhost"]).server(), handler).unwrap();
    assert!(server.addresses()[0].to_string().starts_with("proxy:tls:127.0.0.1:"));
    let (address, remote) = (server.addresses()[0].ip().unwrap(), server.remote());
    let thread = thread::spawn(move || {
        server.run().unwrap();
        server.statistics().handshakes.turned_away
    });

    let client = config(&authority.pem(), ALL_VERSIONS);
    for pieces in [1, 7, 100] {
        let mut peer = Peer::dial(address, &client, "localhost");
        let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\n";
        header.chunks(pieces).for_each(|piece| peer.wire.stream.write_all(piece).unwrap());
        peer.upgrade();
        assert_eq!(ended.recv_timeout(PATIENCE).unwrap(), "192.0.2.7:4660 true");
        peer.expect_echo(b"hello");
    }
    // TLS without a header is none.
    let mut peer = Peer::dial(address, &client, "localhost");
    let _ = peer.session.complete_io(&mut peer.wire);
    assert_eq!(ended.recv_timeout(PATIENCE).unwrap(), "Malformed");
    remote.shutdown();
    assert_eq!(thread.join().unwrap(), 1);
}
