//! The settings of the end that dials: whom it trusts, and what it shows of itself.

use super::{ALPN, Certificate, TlsError, provider, roots};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::{CertifiedKey, SingleCertAndKey},
};
use std::sync::Arc;

/// Whom a connection that is dialled over TLS trusts: for [`Server::dial_tls_as`](crate::Server::dial_tls_as) and
/// `client::Options`. Without one it is [`TlsClient::from_system`].
///
/// TLS 1.2 and 1.3, ALPN `http/1.1`. A clone shares the tickets of 256 servers, whose sessions are resumed.
///
/// ```no_run
/// let tls = sockeye::TlsClient::from_pem(&std::fs::read("our-ca.pem")?)?;
/// # let _ = tls;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

impl TlsClient {
    /// Trusts whom this machine does: the operating system's certificates, or those that `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name. Reads some 150 files, or one large one.
    ///
    /// # Errors
    /// When there is none.
    pub fn from_system() -> Result<TlsClient, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let mut why = "this machine has no certificates of authorities (ca-certificates)".to_owned();
            if let Some(error) = found.errors.first() {
                why = format!("{why}: {error}");
            }
            return Err(TlsError::Roots(why));
        }
        TlsClient::trusting(roots)
    }

    /// Trusts these authorities, in PEM, and no others.
    ///
    /// # Errors
    /// When there is none, or one cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<TlsClient, TlsError> {
        TlsClient::trusting(roots(pem)?)
    }

    fn trusting(roots: RootCertStore) -> Result<TlsClient, TlsError> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Unusable(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsClient::of(config))
    }

    /// Trusts everybody: whoever is in between can read and change everything. For tests.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn insecure() -> Result<TlsClient, TlsError> {
        let provider = provider();
        let verifier = Arc::new(Anybody(Arc::clone(&provider)));
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Unusable(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(TlsClient::of(config))
    }

    /// Shows `certificate` to servers that ask for one.
    #[must_use]
    pub fn with_certificate(self, certificate: &Certificate) -> TlsClient {
        let mut config = ClientConfig::clone(&self.config);
        config.client_auth_cert_resolver =
            Arc::new(SingleCertAndKey::from(CertifiedKey::clone(&certificate.key)));
        TlsClient { config: Arc::new(config) }
    }

    fn of(mut config: ClientConfig) -> TlsClient {
        config.alpn_protocols = vec![ALPN.to_vec()];
        TlsClient { config: Arc::new(config) }
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

/// Takes every certificate; that whoever shows it has its key is checked all the same.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
