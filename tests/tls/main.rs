//! TLS over real sockets: what is said goes both ways whole, whoever is there is who he should be, and who does not speak
//! it well harms nobody.

mod certificates;
mod client;
mod hostile;
mod peer;
#[cfg(feature = "proxy")]
mod proxy;

use certificates::{Authority, Pair};
use peer::{Peer, config, masked, roots_of, tcp};
use rustls::{
    ALL_VERSIONS, ClientConfig, HandshakeKind, ProtocolVersion, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use sockeye::{
    Cause, Certificate, Closed, Config, ConnId, Context, Error, Handler, Listen, Lost, Message, Remote,
    Server, Statistics, TlsError, TlsServer,
};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long anything is waited for before its test fails. Nothing is meant to come near it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Echoes; says how connections end. A text is a number: so many bytes are sent back, in messages of 1,000.
struct Echo {
    ended: Sender<String>,
}

impl Handler for Echo {
    fn on_open(&mut self, cx: &mut Context<'_>, id: ConnId) {
        cx.subscribe(id, "all");
    }

    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        match message {
            Message::Binary(_) => {
                cx.send(id, message);
            }
            Message::Text(text) => {
                let bytes: Vec<u8> = (0..text.parse::<usize>().unwrap()).map(|i| (i % 251) as u8).collect();
                bytes.chunks(1_000).for_each(|chunk| {
                    cx.send(id, chunk);
                });
            }
        }
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: ConnId, closed: &Closed<'_>) {
        let how = match closed.cause {
            Cause::Lost(Lost::Io(kind)) => format!("{kind:?}"),
            cause => format!("{cause:?}"),
        };
        let _ = self.ended.send(format!("{} {how}", closed.code.get()));
    }
}

/// A server on a thread of its own. Dropping it stops it.
struct Running {
    address: SocketAddr,
    remote: Remote,
    ended: Receiver<String>,
    thread: Option<JoinHandle<Result<Statistics, Error>>>,
}

fn settings() -> Config {
    let mut config = Config::new("tls:127.0.0.1:0");
    config.deflate.enabled = false;
    config
}

fn serve(config: Config, tls: &TlsServer) -> Running {
    let (end, ended) = mpsc::channel();
    let mut server = Server::bind_tls(config, tls.clone(), Echo { ended: end }).unwrap();
    let (address, remote) = (server.addresses()[0].ip().unwrap(), server.remote());
    Running {
        address,
        remote,
        ended,
        thread: Some(thread::spawn(move || server.run().map(|()| server.statistics()))),
    }
}

impl Running {
    #[track_caller]
    fn expect_end(&self, how: &str) {
        assert_eq!(self.ended.recv_timeout(PATIENCE).expect("it ends"), how);
    }

    #[track_caller]
    fn expect_end_with(&self, code: &str) {
        let how = self.ended.recv_timeout(PATIENCE).expect("it ends");
        assert!(how.starts_with(code), "{how}");
    }

    /// What it has counted, of which the books balance; nothing if it was stopped before.
    fn stop(&mut self) -> Option<Statistics> {
        self.remote.shutdown();
        let thread = self.thread.take()?;
        let seen = thread.join().expect("no panic").expect("the loop runs");
        assert_eq!((seen.handshaking(), seen.open(), seen.now.connections), (0, 0, 0), "{seen:?}");
        assert_eq!(seen.closes().map(|(.., count)| count).sum::<u64>(), seen.closed, "{seen:?}");
        Some(seen)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.stop();
        }
    }
}

/// A server of `localhost`, and a client that trusts it.
fn pair() -> (Running, Arc<ClientConfig>) {
    let authority = Authority::new("ours");
    let server = serve(settings(), &authority.sign(&["localhost"]).server());
    (server, config(&authority.pem(), ALL_VERSIONS))
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 253) as u8).collect()
}

// ---------------------------------------------------------------------- what is said

#[test]
fn messages_of_all_sizes_are_echoed_over_both_versions() {
    let authority = Authority::new("ours");
    let server = serve(settings(), &authority.sign(&["localhost"]).server());
    for (version, negotiated) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let mut peer = Peer::open(server.address, &config(&authority.pem(), &[version]));
        assert_eq!(peer.session.protocol_version(), Some(negotiated));
        for len in [0, 1, 16, 125, 126, 16_383, 16_384, 16_385, 65_535, 65_536, 1 << 20] {
            peer.expect_echo(&bytes(len));
        }
    }
}

#[test]
fn records_that_come_byte_by_byte_are_put_together() {
    for version in [&TLS12, &TLS13] {
        let authority = Authority::new("ours");
        let server = serve(settings(), &authority.sign(&["localhost"]).server());
        let mut peer = Peer::dial(server.address, &config(&authority.pem(), &[version]), "localhost");
        peer.wire.one_by_one = true;
        peer.upgrade();
        peer.expect_echo(b"slowly");
    }
}

#[test]
fn what_is_sent_at_once_is_one_record() {
    let (server, config) = pair();
    let mut peer = Peer::open(server.address, &config);
    peer.expect_echo(b"so that the tickets have come");
    let before = peer.wire.records;
    peer.send(0x81, b"16000"); // 16 messages, with their headers less than a record holds
    for i in 0..16 {
        let payload: Vec<u8> = (i * 1_000..(i + 1) * 1_000).map(|i| (i % 251) as u8).collect();
        peer.expect(0x82, &payload);
    }
    assert_eq!(peer.wire.records - before, 1);
    let echoes: Vec<u8> = (0..10).flat_map(|_| masked(0x82, b"small")).collect();
    peer.write(&echoes);
    (0..10).for_each(|_| peer.expect(0x82, b"small"));
    assert_eq!(peer.wire.records - before, 2);
}

#[test]
fn a_peer_that_reads_late_gets_all_of_it_in_order() {
    for soft in [256 << 10, 1 << 10] {
        let mut config = settings();
        (config.limits.outbox_bytes_max, config.limits.outbox_bytes_soft) = (64 << 20, soft);
        let authority = Authority::new("ours");
        let server = serve(config, &authority.sign(&["localhost"]).server());
        let mut peer = Peer::open(server.address, &peer::config(&authority.pem(), ALL_VERSIONS));
        peer.wire.set_small_buffer(); // most of it waits at the server
        peer.send(0x81, b"5000000");
        peer.send(0x82, b"behind it");
        for i in 0..5_000 {
            let payload: Vec<u8> = (i * 1_000..(i + 1) * 1_000).map(|i| (i % 251) as u8).collect();
            peer.expect(0x82, &payload);
        }
        peer.expect(0x82, b"behind it");
        peer.send(0x88, b"");
        let (rest, ended) = peer.rest();
        assert_eq!((&rest[..], ended.unwrap()), (&b"\x88\0"[..], 2));
        server.expect_end("1005 Peer");
    }
}

#[test]
fn what_is_published_reaches_quick_and_slow_readers_whole() {
    let mut config = settings();
    (config.limits.outbox_bytes_max, config.limits.outbox_bytes_soft) = (64 << 20, 64 << 20);
    let authority = Authority::new("ours");
    let server = serve(config, &authority.sign(&["localhost"]).server());
    let config = peer::config(&authority.pem(), ALL_VERSIONS);
    let mut peers = [(); 3].map(|()| Peer::open(server.address, &config));
    peers[1].wire.set_small_buffer();
    peers.iter_mut().for_each(|peer| peer.expect_echo(b"subscribed"));
    for round in 0..4_u8 {
        let said: Vec<Vec<u8>> = (0..300).map(|i| vec![round; 30 * i * usize::from(round + 1)]).collect();
        said.iter().for_each(|payload| server.remote.publish("all", payload.clone()).unwrap());
        peers.iter_mut().for_each(|peer| peer.expect_echo_behind(&said));
    }
}

#[test]
fn a_slow_reader_that_is_given_up_gets_whole_frames_and_a_close() {
    let mut config = settings();
    (config.limits.outbox_bytes_max, config.limits.outbox_bytes_soft) = (1 << 20, 1 << 20);
    let authority = Authority::new("ours");
    let server = serve(config, &authority.sign(&["localhost"]).server());
    let mut peer = Peer::open(server.address, &peer::config(&authority.pem(), ALL_VERSIONS));
    peer.wire.set_small_buffer();
    peer.expect_echo(b"subscribed");
    // In parts, so that some is written, and some in records that wait, when it becomes too much.
    (0..300).for_each(|_| server.remote.publish("all", vec![1; 60_000]).unwrap());
    server.expect_end_with("1013");
    let (rest, _) = peer.rest();
    let mut at = 0;
    while rest[at] == 0x82 {
        assert_eq!(rest[at + 1..at + 5], [126, 0xea, 0x60, 1], "a frame begins at {at}");
        at += 60_004;
    }
    assert_eq!((rest[at], &rest[at + 2..at + 4]), (0x88, &1013_u16.to_be_bytes()[..]));
}

// ---------------------------------------------------------------------- how it ends

#[test]
fn r8446_6_1_the_end_is_said_and_one_that_is_not_is_a_loss() {
    let (server, config) = pair();
    // Both say Close: TLS is ended before TCP.
    let mut peer = Peer::open(server.address, &config);
    peer.send(0x88, &1000_u16.to_be_bytes());
    let (rest, ended) = peer.rest();
    assert_eq!((&rest[..], ended.unwrap()), (&b"\x88\x02\x03\xe8"[..], 4));
    server.expect_end("1000 Peer");
    // TLS is ended, and the WebSocket was not.
    let mut peer = Peer::open(server.address, &config);
    peer.session.send_close_notify();
    peer.write(b"");
    server.expect_end("1006 Lost(Eof)");
    assert_eq!(peer.rest().1.unwrap(), 0);
    // TCP is ended, and TLS was not: somebody in between may have done it.
    let peer = Peer::open(server.address, &config);
    peer.wire.stream.shutdown(Shutdown::Write).unwrap();
    server.expect_end("1006 UnexpectedEof");
    // The same in the middle of a record.
    let mut peer = Peer::open(server.address, &config);
    peer.wire.stream.write_all(b"\x17\x03\x03\x01\0half").unwrap();
    peer.wire.stream.shutdown(Shutdown::Write).unwrap();
    server.expect_end("1006 UnexpectedEof");
    // Once both have said Close nobody asks.
    let mut peer = Peer::open(server.address, &config);
    peer.send(0x88, b"");
    peer.expect(0x88, b"");
    peer.wire.stream.shutdown(Shutdown::Write).unwrap();
    server.expect_end("1005 Peer");
}

#[test]
fn a_server_that_stops_says_so_in_a_close_and_ends_tls() {
    let (mut server, config) = pair();
    let mut peer = Peer::open(server.address, &config);
    server.remote.shutdown();
    let header = peer.read(4);
    assert_eq!((header[0], &header[2..]), (0x88, &1001_u16.to_be_bytes()[..]));
    peer.send(0x88, &header[2..]);
    assert!(peer.rest().1.is_ok());
    server.stop();
}

// ---------------------------------------------------------------------- who is there

#[test]
fn r6066_3_the_certificate_is_that_of_the_name_asked_for() {
    let authority = Authority::new("ours");
    let certificates: Vec<_> =
        [&["first.example"][..], &["*.wild.example", "Other.Example"], &["a.wild.example"]]
            .map(|names| authority.sign(names).certificate())
            .into();
    assert_eq!(certificates[1].names().unwrap(), ["*.wild.example", "Other.Example"]);
    let server = serve(settings(), &TlsServer::new(&certificates).unwrap());
    let config = config(&authority.pem(), ALL_VERSIONS);
    for name in ["first.example", "b.wild.example", "other.example", "a.wild.example"] {
        Peer::dial(server.address, &config, name).upgrade(); // the client checks
    }
    let mut peer = Peer::dial(server.address, &config, "nobody.example");
    assert!(peer.rest().1.unwrap_err().to_string().contains("certificate"));
}

#[test]
fn sessions_are_resumed_by_tickets_also_when_the_certificate_was_replaced() {
    for version in [&TLS12, &TLS13] {
        let authority = Authority::new("ours");
        let tls = authority.sign(&["localhost"]).server();
        let server = serve(settings(), &tls);
        let config = config(&authority.pem(), &[version]);
        let mut kinds = Vec::new();
        for i in 0..3 {
            if i == 2 {
                tls.replace(&authority.sign(&["localhost"]).server());
            }
            let mut peer = Peer::open(server.address, &config);
            peer.expect_echo(b"the ticket comes before this");
            kinds.extend(peer.session.handshake_kind());
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed]);
    }
}

#[test]
fn what_is_replaced_is_shown_to_new_connections_and_the_others_live_on() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let tls = old.sign(&["localhost"]).server();
    let server = serve(settings(), &tls);
    let mut before = Peer::open(server.address, &config(&old.pem(), ALL_VERSIONS));
    tls.replace(&new.sign(&["localhost"]).server());
    let mut after = Peer::open(server.address, &config(&new.pem(), ALL_VERSIONS));
    after.expect_echo(b"new");
    before.expect_echo(b"old");
}

/// A client that trusts `authority`, and shows this.
fn showing(
    authority: &Authority,
    pair: &Pair,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
    let builder = builder.unwrap().with_root_certificates(roots_of(&authority.pem()));
    let chain = CertificateDer::pem_slice_iter(pair.chain.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    Arc::new(builder.with_client_auth_cert(chain, key).unwrap())
}

#[test]
fn whom_clients_lead_to_is_looked_at_anew_when_it_is_replaced_whatever_tickets_they_have() {
    for version in [&TLS12, &TLS13] {
        let (ours, others) = (Authority::new("ours"), Authority::new("others"));
        let demanding = |authority: &Authority| {
            let certificates = [ours.sign(&["localhost"]).certificate()];
            TlsServer::with_client_roots(&certificates, authority.pem().as_bytes()).unwrap()
        };
        let tls = demanding(&ours);
        let server = serve(settings(), &tls);
        let client = showing(&ours, &ours.sign(&["somebody"]), &[version]);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut peer = Peer::open(server.address, &client);
            peer.expect_echo(b"the ticket comes before this");
            assert_eq!(peer.session.handshake_kind(), Some(kind));
        }
        tls.replace(&demanding(&others));
        let mut peer = Peer::dial(server.address, &client, "localhost");
        let written = peer.stream().write_all(peer::UPGRADE);
        // An alert, or a pipe that is broken: it was refused while it spoke.
        assert!(written.and_then(|()| peer.rest().1).is_err());
        assert_ne!(peer.session.handshake_kind(), Some(HandshakeKind::Resumed));
    }
}

#[test]
fn a_client_shows_a_certificate_where_one_is_demanded() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let certificates = [ours.sign(&["localhost"]).certificate()];
    let tls = TlsServer::with_client_roots(&certificates, ours.pem().as_bytes()).unwrap();
    let server = serve(settings(), &tls);
    Peer::open(server.address, &showing(&ours, &ours.sign(&["somebody"]), ALL_VERSIONS)).expect_echo(b"who");
    let strangers = showing(&ours, &others.sign(&["somebody"]), ALL_VERSIONS);
    for config in [config(&ours.pem(), ALL_VERSIONS), strangers] {
        let mut peer = Peer::dial(server.address, &config, "localhost");
        let _ = peer.stream().write_all(peer::UPGRADE);
        let error = peer.rest().1.unwrap_err().to_string();
        assert!(error.contains("alert"), "{error}");
    }
}

#[test]
fn alpn_is_http_1_1_and_who_asks_for_something_else_alone_is_refused() {
    let (server, config) = pair();
    for (offer, chosen) in [(&["h2", "http/1.1"][..], Some(&b"http/1.1"[..])), (&["h2"], None)] {
        let mut config = ClientConfig::clone(&config);
        config.alpn_protocols = offer.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut peer = Peer::dial(server.address, &Arc::new(config), "localhost");
        let written = peer.stream().write_all(peer::UPGRADE).map_err(|error| error.to_string());
        assert_eq!(peer.session.alpn_protocol(), chosen);
        if chosen.is_none() {
            let why = written.and_then(|()| peer.rest().1.map(|_| ()).map_err(|error| error.to_string()));
            assert!(why.clone().unwrap_err().contains("alert"), "{why:?}");
        } else {
            peer.expect_open();
        }
    }
}

// ---------------------------------------------------------------------- what is set up wrongly

#[test]
fn what_cannot_be_used_is_said_before_anybody_connects() {
    let (one, other) = (Authority::new("ours").sign(&["a"]), Authority::new("ours").sign(&["a"]));
    let read = |chain: &str, key: &str| Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
    assert_eq!(read(&one.chain, &other.key), TlsError::Mismatch);
    assert_eq!(read("", &one.key), TlsError::NoCertificate);
    assert!(matches!(read(&one.chain, "nothing"), TlsError::Key(_)));
    assert!(matches!(
        read("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &one.key),
        TlsError::Key(_) | TlsError::Certificate(_) | TlsError::Mismatch
    ));
    assert_eq!(TlsServer::new(&[]).unwrap_err(), TlsError::NoCertificate);
    assert!(!format!("{:?}", one.certificate()).contains("PrivateKey"));
    let (ended, _) = mpsc::channel();
    let error = Server::bind(settings(), Echo { ended }).err().unwrap();
    assert!(matches!(error, Error::NoTls { .. }) && error.to_string().contains("bind_tls"), "{error}");
}

#[test]
fn an_address_asks_for_tls_in_front() {
    let ip = |text: &str| text.parse::<SocketAddr>().unwrap();
    assert_eq!("tls:[::1]:443".parse(), Ok(Listen::TlsIp(ip("[::1]:443"))));
    assert_eq!("tls:127.0.0.1:0".parse(), Ok(Listen::TlsIp(ip("127.0.0.1:0"))));
    assert_eq!("tls:localhost:443".parse(), Ok(Listen::TlsName("localhost:443".to_owned())));
    // Not plain text on a host of that name.
    for text in ["tls:", "tls:443", "tls::443", "tls:a:b", "tls:unix:/x", "tls:tls:a:1", "TLS:a:1"] {
        assert!(text.parse::<Listen>().is_err(), "{text}");
    }
}

// ---------------------------------------------------------------------- others than those who speak TLS

#[test]
fn plain_http_is_told_that_this_is_tls() {
    let (server, config) = pair();
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST /x HTTP/1.1\r\nContent-Length: 100000\r\n\r\n"]
    {
        let mut stream = tcp(server.address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("https:// or wss://") && answer.contains("text/plain"), "{answer}");
    }
    Peer::open(server.address, &config).expect_echo(b"others");
}

#[test]
fn one_deadline_holds_for_both_handshakes() {
    let mut config = settings();
    config.limits.handshake_ms_max = 200;
    let authority = Authority::new("ours");
    let server = serve(config, &authority.sign(&["localhost"]).server());
    // Nothing, and half of a handshake: TCP is dropped. There is no way to say why.
    for said in [&b""[..], b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"] {
        let mut stream = tcp(server.address);
        stream.write_all(said).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest); // at once, or a test that waits for its own patience
        assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
    }
    // TLS and no request: that can be said.
    let mut peer = Peer::dial(server.address, &peer::config(&authority.pem(), ALL_VERSIONS), "localhost");
    peer.write(b"GET / HT");
    let (rest, ended) = peer.rest();
    assert!(rest.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&rest));
    assert!(ended.is_ok());
}
