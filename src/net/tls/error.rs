//! What is wrong with certificates and keys, before a peer is involved.

use std::fmt;

/// Why TLS could not be set up. It names no secret.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TlsError {
    /// There is no certificate.
    NoCertificate,
    /// A certificate cannot be read.
    Certificate(String),
    /// The private key cannot be read.
    Key(String),
    /// The private key is that of another certificate.
    Mismatch,
    /// What others' certificates are to lead to cannot be used.
    Roots(String),
    /// The settings cannot be put to use.
    Unusable(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::NoCertificate => f.write_str("there is no certificate: PEM has BEGIN CERTIFICATE"),
            TlsError::Certificate(why) => write!(f, "the certificate cannot be read: {why}"),
            TlsError::Key(why) => {
                write!(
                    f,
                    "the private key cannot be read (PEM, not encrypted, of RSA, ECDSA or Ed25519): {why}"
                )
            }
            TlsError::Mismatch => f.write_str("the private key is not that of the certificate"),
            TlsError::Roots(why) => write!(f, "no certificate can be trusted: {why}"),
            TlsError::Unusable(why) => write!(f, "TLS cannot be set up: {why}"),
        }
    }
}

impl std::error::Error for TlsError {}
