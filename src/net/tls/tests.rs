//! What needs more of a session than a peer can bring about.

use super::{ALPN, Certificate, Names, Shown, TlsServer, provider};
use crate::{Cause, Closed, Config, ConnId, Context, Handler, Lost, Message, Server};
use rustls::{
    CipherSuite, CipherSuiteCommon, ClientConfig, ClientConnection, RootCertStore, ServerConfig, Stream,
    SupportedCipherSuite, Tls12CipherSuite,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    version::TLS12,
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, RwLock},
    thread,
    time::Duration,
};

/// How many records one key is for here.
const RECORDS_MAX: u64 = 20;

/// TLS 1.2, whose keys cannot be changed, and which is done sooner than one would wait for.
fn exhaustible() -> Arc<CryptoProvider> {
    let suite = provider().cipher_suites.iter().find_map(|suite| match suite {
        SupportedCipherSuite::Tls12(suite)
            if suite.common.suite == CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 =>
        {
            Some(*suite)
        }
        _ => None,
    });
    let Tls12CipherSuite { common, prf_provider, kx, sign, aead_alg } = suite.unwrap();
    let common = CipherSuiteCommon {
        suite: common.suite,
        hash_provider: common.hash_provider,
        confidentiality_limit: RECORDS_MAX,
    };
    let suite = Tls12CipherSuite { common, prf_provider: *prf_provider, kx: *kx, sign, aead_alg: *aead_alg };
    let suite: &'static Tls12CipherSuite = Box::leak(Box::new(suite));
    let cipher_suites = vec![SupportedCipherSuite::Tls12(suite)];
    Arc::new(CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() })
}

/// Echoes; stops when its connection ends, and keeps why.
#[derive(Default)]
struct Echo {
    cause: Option<Cause>,
}

impl Handler for Echo {
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        cx.send(id, message);
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _: ConnId, closed: &Closed<'_>) {
        self.cause = Some(closed.cause);
        cx.shutdown();
    }
}

/// Echoes until it gets no answer: how many came, and what came last.
fn echo(address: SocketAddr, roots: RootCertStore) -> (usize, std::io::Result<usize>) {
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS12]).unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let mut session = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut stream = Stream::new(&mut session, &mut tcp);
    stream
        .write_all(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        .unwrap();
    let mut answer = [0; 1_024];
    assert!(stream.read(&mut answer).unwrap() > 100);
    let mut count = 0;
    loop {
        stream.write_all(b"\x82\x82\0\0\0\0hi").unwrap();
        match stream.read(&mut answer) {
            Ok(4) => count += 1,
            last => return (count, last),
        }
    }
}

#[test]
fn keys_of_tickets_change_every_six_hours_and_open_what_is_younger_than_twelve() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    let certificate = Certificate::from_pem(made.cert.pem().as_bytes(), key.as_bytes()).unwrap();
    let config = TlsServer::new(&[certificate]).unwrap().config();
    // What rustls' rotating keys say: twice as long as one of them makes tickets.
    assert!(config.ticketer.enabled());
    assert_eq!(config.ticketer.lifetime(), 2 * 6 * 60 * 60);
    assert_eq!(config.max_early_data_size, 0);
}

#[test]
fn a_key_that_is_used_up_ends_the_connection_at_once_and_the_peer_is_told() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    let certificate = Certificate::from_pem(made.cert.pem().as_bytes(), key.as_bytes()).unwrap();
    let builder =
        ServerConfig::builder_with_provider(exhaustible()).with_protocol_versions(&[&TLS12]).unwrap();
    let mut config =
        builder.with_no_client_auth().with_cert_resolver(Arc::new(Names::new(&[certificate]).unwrap()));
    config.alpn_protocols = vec![ALPN.to_vec()];
    let shown = Shown { config: Arc::new(config), asks_clients: false };
    let tls = TlsServer { current: Arc::new(RwLock::new(shown)) };

    let mut server = Server::bind_tls(Config::new("tls:127.0.0.1:0"), tls, Echo::default()).unwrap();
    let address = server.addresses()[0].ip().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()).unwrap();
    let client = thread::spawn(move || echo(address, roots));
    server.run().unwrap();
    assert_eq!(server.handler().cause, Some(Cause::Lost(Lost::Io(std::io::ErrorKind::InvalidData))));
    let (count, last) = client.join().unwrap();
    // Finished and the answer to the upgrade are records too.
    assert!((RECORDS_MAX as usize - 3..RECORDS_MAX as usize).contains(&count), "{count}");
    // A close_notify, and no Close: as clean as TLS can be, and no clean end of a WebSocket.
    assert_eq!(last.unwrap(), 0);
}
