//! TLS: certificates, and the settings of both ends. What a connection makes of them is in `socket.rs` and `session.rs`.

mod client;
mod error;
mod names;
mod session;
mod socket;
#[cfg(test)]
mod tests;

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
