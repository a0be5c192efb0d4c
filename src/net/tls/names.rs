//! Which certificate a client is shown: by the name it asks for, and by what it can check. RFC 6066 §3

use super::{Certificate, TlsError};
use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{collections::HashMap, sync::Arc};

/// Certificates by their names. What a client makes of the one it is shown is the client's to judge.
#[derive(Debug)]
pub(super) struct Names {
    all: Vec<Arc<CertifiedKey>>,
    /// In lower case, wildcards as `*.example.com`; each in the order they were given in.
    by_name: HashMap<String, Vec<usize>>,
}

impl Names {
    pub(super) fn new(certificates: &[Certificate]) -> Result<Names, TlsError> {
        if certificates.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, certificate) in certificates.iter().enumerate() {
            for name in certificate.names()? {
                by_name.entry(name.to_ascii_lowercase()).or_default().push(place);
            }
        }
        let all = certificates.iter().map(|certificate| Arc::clone(&certificate.key)).collect();
        Ok(Names { all, by_name })
    }

    /// For `name`: those that have it, those for all names beside it, and all others.
    fn find(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let name = name.unwrap_or_default().to_ascii_lowercase();
        let wildcard = name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        let exact = self.by_name.get(&name).into_iter().flatten();
        let beside = wildcard.and_then(|name| self.by_name.get(&name)).into_iter().flatten();
        let named = exact.chain(beside).filter_map(|&place| self.all.get(place));
        let can_check = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        named.chain(&self.all).find(can_check).or(self.all.first()).map(Arc::clone)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name(), hello.signature_schemes())
    }
}
