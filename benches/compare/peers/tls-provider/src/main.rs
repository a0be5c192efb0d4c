//! What a server's side of TLS 1.3 costs with one of rustls' providers of cryptography: CPU time of a full handshake (P-256
//! certificate), of a resumed one, and of a record of 16 KiB made and taken apart. Both ends are in this process, and only
//! the server's steps are timed. Said are medians of 9 rounds, in microseconds.
//!
//!     cargo build --release -p tls-provider --features aws-lc    # or: --features ring
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, ServerConnection};
use rustls::{CipherSuite, ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use std::io::{Read, Write};
use std::sync::Arc;

#[cfg(feature = "aws-lc")]
use rustls::crypto::aws_lc_rs as library;
#[cfg(all(feature = "ring", not(feature = "aws-lc")))]
use rustls::crypto::ring as library;

const ROUNDS: usize = 9;

fn cpu_us() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 * 1e6 + t.tv_nsec as f64 / 1e3
}

/// Carries what each end has to say to the other until both have nothing; CPU time of the server.
fn converse(client: &mut ClientConnection, server: &mut ServerConnection) -> f64 {
    let (mut wire, mut spent) = (Vec::new(), 0.0);
    while client.wants_write() || server.wants_write() {
        wire.clear();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let began = cpu_us();
        let mut came = &wire[..];
        while !came.is_empty() {
            server.read_tls(&mut came).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut answer = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answer).unwrap();
        }
        spent += cpu_us() - began;
        let mut came = &answer[..];
        while !came.is_empty() {
            client.read_tls(&mut came).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    spent
}

struct Ends {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Ends {
    fn new(group: &'static dyn SupportedKxGroup) -> Ends {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(CryptoProvider { kx_groups: vec![group], ..library::default_provider() });
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.ticketer = library::Ticketer::new().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ends { client: Arc::new(client), server: Arc::new(server) }
    }

    fn without_tickets(&self) -> Arc<ClientConfig> {
        let mut client = ClientConfig::clone(&self.client);
        client.resumption = Resumption::disabled();
        Arc::new(client)
    }

    fn shake(&self, config: &Arc<ClientConfig>) -> (f64, ClientConnection, ServerConnection) {
        let mut client = ClientConnection::new(config.clone(), ServerName::try_from("localhost").unwrap()).unwrap();
        let began = cpu_us();
        let mut server = ServerConnection::new(self.server.clone()).unwrap();
        let spent = cpu_us() - began + converse(&mut client, &mut server);
        (spent, client, server)
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() {
    for &group in library::ALL_KX_GROUPS.iter().filter(|group| format!("{:?}", group.name()).contains("X25519")) {
        let ends = Ends::new(group);
        let full = ends.without_tickets();
        let (mut handshakes, mut resumed) = (Vec::new(), Vec::new());
        ends.shake(&ends.client);
        for _ in 0..ROUNDS {
            handshakes.push((0..200).map(|_| ends.shake(&full).0).sum::<f64>() / 200.0);
            resumed.push(
                (0..200)
                    .map(|_| {
                        let (spent, client, _) = ends.shake(&ends.client);
                        assert_eq!(client.handshake_kind(), Some(HandshakeKind::Resumed));
                        spent
                    })
                    .sum::<f64>()
                    / 200.0,
            );
        }
        println!("{:?}: full {:.1}, resumed {:.1}", group.name(), median(handshakes), median(resumed));
        records(&ends);
    }
}

fn records(ends: &Ends) {
    const EACH: usize = 2_000;
    let (_, mut client, mut server) = ends.shake(&ends.without_tickets());
    assert_eq!(server.negotiated_cipher_suite().unwrap().suite(), CipherSuite::TLS13_AES_256_GCM_SHA384);
    let (text, mut back, mut wire) = (vec![7; 16_384], vec![0; 16_384], Vec::new());
    let (mut made, mut taken) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (mut making, mut taking) = (0.0, 0.0);
        for _ in 0..EACH {
            wire.clear();
            let began = cpu_us();
            server.writer().write_all(&text).unwrap();
            server.write_tls(&mut wire).unwrap();
            making += cpu_us() - began;
            let mut came = &wire[..];
            while !came.is_empty() {
                client.read_tls(&mut came).unwrap();
                client.process_new_packets().unwrap();
            }
            client.reader().read_exact(&mut back).unwrap();
            wire.clear();
            client.writer().write_all(&text).unwrap();
            client.write_tls(&mut wire).unwrap();
            let began = cpu_us();
            let mut came = &wire[..];
            while !came.is_empty() {
                server.read_tls(&mut came).unwrap();
                server.process_new_packets().unwrap();
            }
            server.reader().read_exact(&mut back).unwrap();
            taking += cpu_us() - began;
        }
        made.push(making / EACH as f64);
        taken.push(taking / EACH as f64);
    }
    println!("  a record of 16 KiB: made {:.2}, taken apart {:.2}", median(made), median(taken));
}
