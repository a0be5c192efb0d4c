//! TLS: certificates, and the settings of both ends. What a connection makes of them is in `socket.rs` and `session.rs`.

mod client;
mod error;
mod names;
mod session;
mod socket;

pub use self::{client::TlsClient, error::TlsError};
pub(super) use self::{
    session::Room,
    socket::{READ_BYTES_MIN, TlsSocket},
};

use self::names::Names;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

/// A certificate with the chain that leads to it, and its private key. `Debug` shows neither.
///
/// ```no_run
/// use sockeye::{Certificate, Config, Server, TlsServer};
/// # struct Quiet;
/// # impl sockeye::Handler for Quiet {
/// #     fn on_message(&mut self, _: &mut sockeye::Context<'_>, _: sockeye::ConnId, _: sockeye::Message<'_>) {}
/// # }
/// let certificate = Certificate::from_pem(&std::fs::read("chain.pem")?, &std::fs::read("key.pem")?)?;
/// let tls = TlsServer::new(&[certificate])?;
/// Server::bind_tls(Config::new("tls:0.0.0.0:443"), tls, Quiet)?.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
}

impl Certificate {
    /// Reads PEM: the certificate and behind it those that sign it, and the key as PKCS #8, PKCS #1 or SEC 1.
    ///
    /// # Errors
    /// When one of them is none, or the key is not that of the certificate.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Certificate, TlsError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Key(error.to_string()))?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => TlsError::Mismatch,
            error => TlsError::Key(error.to_string()),
        })?;
        Ok(Certificate { key: Arc::new(key) })
    }

    /// The DNS names it is for, wildcards as they stand there. Addresses are not among them: no client asks for one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn names(&self) -> Result<Vec<String>, TlsError> {
        let first = self.key.cert.first().ok_or(TlsError::NoCertificate)?;
        let parsed = webpki::EndEntityCert::try_from(first)
            .map_err(|error| TlsError::Certificate(error.to_string()))?;
        Ok(parsed.valid_dns_names().map(str::to_owned).collect())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

/// What listeners of `tls:` show those who connect: for [`Server::bind_tls`](crate::Server::bind_tls).
///
/// TLS 1.2 and 1.3, ALPN `http/1.1`. Sessions are resumed by tickets, so that they cost this end no memory; the key of
/// the tickets is made at start, lives in this process alone, and changes every six hours.
///
/// A clone is a handle to the same: [`TlsServer::replace`] changes what new connections are shown, from any thread.
#[derive(Clone, Debug)]
pub struct TlsServer {
    current: Arc<RwLock<Shown>>,
}

#[derive(Clone, Debug)]
struct Shown {
    config: Arc<ServerConfig>,
    /// Clients are to show certificates, which a ticket would spare them.
    asks_clients: bool,
}

impl TlsServer {
    /// Shows the first certificate that is for the name a client asks for, and that it can check; the first of all to
    /// one that asks for none, or for another.
    ///
    /// # Errors
    /// When there is none, or one cannot be read.
    pub fn new(certificates: &[Certificate]) -> Result<TlsServer, TlsError> {
        TlsServer::with(certificates, None)
    }

    /// The same, and demands of each client a certificate that leads to one of these, in PEM.
    ///
    /// # Errors
    /// As [`TlsServer::new`]; and when there is no root, or one cannot be read.
    pub fn with_client_roots(certificates: &[Certificate], roots: &[u8]) -> Result<TlsServer, TlsError> {
        TlsServer::with(certificates, Some(roots))
    }

    fn with(certificates: &[Certificate], client_roots: Option<&[u8]>) -> Result<TlsServer, TlsError> {
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Unusable(error.to_string()))?;
        let builder = match client_roots {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(pem)?), provider)
                    .build()
                    .map_err(|error| TlsError::Roots(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(Names::new(certificates)?));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer =
            aws_lc_rs::Ticketer::new().map_err(|error| TlsError::Unusable(error.to_string()))?;
        let shown = Shown { config: Arc::new(config), asks_clients: client_roots.is_some() };
        Ok(TlsServer { current: Arc::new(RwLock::new(shown)) })
    }

    /// Shows new connections what `other` does. Those that are there stay as they are. Tickets stay good, unless
    /// clients show certificates: those are looked at anew.
    pub fn replace(&self, other: &TlsServer) {
        let mut shown = other.shown();
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if !current.asks_clients && !shown.asks_clients {
            let mut config = ServerConfig::clone(&shown.config);
            config.ticketer = Arc::<dyn ProducesTickets>::clone(&current.config.ticketer);
            shown.config = Arc::new(config);
        }
        *current = shown;
    }

    /// What a new connection is shown.
    fn config(&self) -> Arc<ServerConfig> {
        self.shown().config
    }

    fn shown(&self) -> Shown {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A server's certificates in PEM, of which there is one at least.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| TlsError::Certificate(error.to_string()))?;
    if found.is_empty() { Err(TlsError::NoCertificate) } else { Ok(found) }
}

/// Those that others' certificates are to lead to.
fn roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| TlsError::Roots(error.to_string()))?;
    }
    Ok(roots)
}

/// Named wherever one is needed: nothing here depends on what else the process has set as its default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// All that is spoken here begins as HTTP/1.1. RFC 7301 §6
const ALPN: &[u8] = b"http/1.1";

#[cfg(test)]
mod tests {
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
        let suite =
            Tls12CipherSuite { common, prf_provider: *prf_provider, kx: *kx, sign, aead_alg: *aead_alg };
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
        let config =
            ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS12]).unwrap();
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
}
