//! Whom the tools trust that connect under TLS.

use clap::Args;
use sockeye::TlsClient;
use std::{fs, path::PathBuf};

/// The flags for it.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct TrustArguments {
    /// Trust the authorities in this file, in PEM, and no others; without it those of the system.
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// Trust every server that speaks TLS, for tests: whoever is in between can read and change everything.
    #[arg(long, conflicts_with = "cafile")]
    insecure: bool,
}

impl TrustArguments {
    /// `None`: whom the system trusts, looked up when it is needed.
    pub(super) fn client(&self) -> Result<Option<TlsClient>, String> {
        if self.insecure {
            return TlsClient::insecure().map(Some).map_err(|error| error.to_string());
        }
        let Some(path) = &self.cafile else { return Ok(None) };
        let named = |error: &dyn std::error::Error| format!("--cafile {}: {error}", path.display());
        let pem = fs::read(path).map_err(|error| named(&error))?;
        TlsClient::from_pem(&pem).map(Some).map_err(|error| named(&error))
    }
}
