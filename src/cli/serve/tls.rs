//! Certificates: from files, which are read again when asked and when they change, or made for this run. No key is shown
//! anywhere.

use super::{
    logging::Voice,
    watch::{Look, Watch},
};
use clap::Args;
use log::Level;
use sockeye::{Certificate, InvalidListen, Listen, TlsServer};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// What is shown where `--listen` says `tls:`.
#[derive(Args, Clone, Debug)]
pub(super) struct TlsArguments {
    /// A certificate in PEM, and behind it those that sign it. May be given several times, each with its --tls-key: a
    /// client is shown the one for the name it asks for, else the first. Read again on SIGHUP and when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Vec<PathBuf>,
    /// The private key of the certificate, in PEM. The first is that of the first --tls-cert, and so on.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Vec<PathBuf>,
    /// Demand of clients a certificate that leads to one of those in this file, in PEM. Read again as those are.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// Look so often whether one of these files has changed; they are read when they stay as they are from one look to the
    /// next. 0: read them again on SIGHUP alone.
    #[arg(long, value_name = "MS", default_value_t = WATCH_MS)]
    tls_watch_ms: u32,
    /// Make a certificate for this run, for localhost, 127.0.0.1, ::1 and where it listens. For trying: browsers warn.
    #[arg(long, conflicts_with = "tls_cert")]
    tls_self_signed: bool,
}

/// Replacing a pair takes a moment; nobody waits for a certificate for less than this.
const WATCH_MS: u32 = 2_000;

/// What is shown, and where it comes from.
#[derive(Clone)]
pub(super) struct Certificates {
    arguments: TlsArguments,
    tls: TlsServer,
    /// For whom they are.
    names: Vec<String>,
    /// What the files looked like when they were last read. Held while they are, so that of two who read them the later one
    /// is who has read last.
    last: Arc<Mutex<Look>>,
}

impl Certificates {
    /// What the flags say; `None` where nothing listens for TLS.
    pub(super) fn find(arguments: &TlsArguments, listens: &[String]) -> Result<Option<Certificates>, String> {
        let has_some = arguments.tls_self_signed || !arguments.tls_cert.is_empty();
        match listens {
            [] if has_some => Err("a certificate is given, and nothing listens with it: give --listen \
                                   tls:HOST:PORT too"
                .to_owned()),
            [] => Ok(None),
            [first, ..] if !has_some => Err(format!(
                "--listen {first}: give --tls-cert and --tls-key, or --tls-self-signed to try it"
            )),
            _ => {
                let last = Arc::new(Mutex::new(arguments.look()));
                let (tls, names) =
                    if arguments.tls_self_signed { self_signed(listens)? } else { arguments.read()? };
                Ok(Some(Certificates { arguments: arguments.clone(), tls, names, last }))
            }
        }
    }

    pub(super) fn server(&self) -> TlsServer {
        self.tls.clone()
    }

    /// Whether there is something to read again.
    pub(super) fn are_files(&self) -> bool {
        !self.arguments.tls_self_signed
    }

    /// Says for whom they are at start.
    pub(super) fn tell(&self, voice: Voice) {
        if self.are_files() {
            tell(voice, "certificates read", &self.names);
        } else {
            tell(voice, "certificate made for this run, which nobody trusts", &self.names);
        }
    }

    /// Reads the files again, and shows what they have if nothing is wrong with them.
    pub(super) fn read(&self, voice: Voice) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        self.read_as(self.arguments.look(), &mut last, voice);
    }

    /// Reads them when they have changed, on a thread of its own. Where nothing is to be watched there is none.
    pub(super) fn watch(self, voice: Voice) -> io::Result<()> {
        let every = Duration::from_millis(self.arguments.tls_watch_ms.into());
        if !self.are_files() || every.is_zero() {
            return Ok(());
        }
        let mut watch = Watch::default();
        let watching = move || {
            loop {
                thread::sleep(every);
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                let look = self.arguments.look();
                if watch.has_settled(&look, &last) {
                    self.read_as(look, &mut last, voice);
                }
            }
        };
        thread::Builder::new().name("certificates".to_owned()).spawn(watching).map(drop)
    }

    /// `look` was before they are read: what changes meanwhile is another look, and read once more.
    fn read_as(&self, look: Look, last: &mut Look, voice: Voice) {
        *last = look;
        match self.arguments.read() {
            Ok((tls, names)) => {
                self.tls.replace(&tls);
                tell(voice, "certificates read again", &names);
            }
            Err(error) => voice.say(
                Level::Error,
                format_args!("sockeye: {error}; the certificates stay as they were"),
                "certificates not read again: they stay as they were",
                &[("error", error.as_str().into())],
            ),
        }
    }
}

impl TlsArguments {
    fn look(&self) -> Look {
        Look::at(self.tls_cert.iter().chain(&self.tls_key).chain(&self.tls_client_ca))
    }

    fn read(&self) -> Result<(TlsServer, Vec<String>), String> {
        if self.tls_cert.len() != self.tls_key.len() {
            return Err(format!(
                "there are {} --tls-cert and {} --tls-key: each certificate has one key",
                self.tls_cert.len(),
                self.tls_key.len()
            ));
        }
        let (mut certificates, mut names) = (Vec::new(), Vec::new());
        for (chain, key) in self.tls_cert.iter().zip(&self.tls_key) {
            let unusable = |error: &dyn std::error::Error| {
                format!("--tls-cert {} with --tls-key {}: {error}", chain.display(), key.display())
            };
            let certificate = Certificate::from_pem(&read("--tls-cert", chain)?, &read("--tls-key", key)?)
                .map_err(|error| unusable(&error))?;
            names.extend(certificate.names().map_err(|error| unusable(&error))?);
            certificates.push(certificate);
        }
        let server = match &self.tls_client_ca {
            None => TlsServer::new(&certificates).map_err(|error| error.to_string())?,
            Some(path) => TlsServer::with_client_roots(&certificates, &read("--tls-client-ca", path)?)
                .map_err(|error| format!("--tls-client-ca {}: {error}", path.display()))?,
        };
        Ok((server, names))
    }
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{flag} {}: {error}", path.display()))
}

/// One for this machine, and for what is listened on, if that can be connected to.
fn self_signed(listens: &[String]) -> Result<(TlsServer, Vec<String>), String> {
    let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    for listen in listens {
        let host = match inner(listen) {
            Ok(Listen::TlsIp(address)) if !address.ip().is_unspecified() => address.ip().to_string(),
            Ok(Listen::TlsName(name)) => {
                name.rsplit_once(':').map_or(name.clone(), |(host, _)| host.to_owned())
            }
            _ => continue,
        };
        if !names.contains(&host) {
            names.push(host);
        }
    }
    let made = rcgen::generate_simple_self_signed(names.clone());
    let made = made.map_err(|error| format!("--tls-self-signed: {error}"))?;
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes());
    let server = certificate.and_then(|certificate| TlsServer::new(&[certificate]));
    Ok((server.map_err(|error| format!("--tls-self-signed: {error}"))?, names))
}

/// What is spoken behind the header of a proxy.
fn inner(address: &str) -> Result<Listen, InvalidListen> {
    address.strip_prefix("proxy:").unwrap_or(address).parse()
}

fn tell(voice: Voice, message: &str, names: &[String]) {
    let names = names.join(", ");
    voice.say(
        Level::Info,
        format_args!("sockeye: {message}: for {names}"),
        message,
        &[("names", names.as_str().into())],
    );
}
