//! The flags of the hook, and what they come to.

use super::super::secrets::{Hidden, read_secret};
use crate::cli::{bytes, bytes_u32};
use clap::Args;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::{fmt, path::PathBuf, time::Duration};
use ureq::tls::{Certificate, RootCerts};
use url::Url;

/// What another program is asked, and where it is.
#[derive(Args, Debug)]
pub(in crate::cli::serve) struct HookArguments {
    /// Ask an application by POST there, http:// or https://: about what the flags below say.
    #[arg(long, value_name = "URL", value_parser = url)]
    hook_url: Option<Url>,
    /// An action of the actions dialect that the server does not know, by its name, for the application to answer; * is
    /// any. May be given several times.
    #[arg(long, value_name = "NAME", requires = "hook_url")]
    hook_action: Vec<String>,
    /// Ask it about every message of the envelope dialect, instead of distributing them.
    #[arg(long, requires = "hook_url")]
    hook_envelope: bool,
    /// Ask it who a token is that neither --users nor --jwt-alg knows.
    #[arg(long, requires = "hook_url")]
    hook_authenticate: bool,
    /// Ask it whether somebody may join a channel, group or room.
    #[arg(long, requires = "hook_url")]
    hook_join: bool,
    /// Longest wait for an answer once it is asked, and before that for its turn. Past it the caller gets an error.
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=600_000))]
    hook_timeout_ms: u32,
    /// Threads that ask, 1 to 64: as many questions are asked at a time. Those of a connection are asked one by one.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    hook_threads: u32,
    /// Questions that may be under way, for each thread its share. Past it: refused.
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    hook_queue: u32,
    /// Bytes that all of these may have. Past it: refused.
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = bytes)]
    hook_queue_bytes_max: u64,
    /// Largest answer. Past it the caller gets an error.
    #[arg(long, value_name = "BYTES", default_value = "1MiB", value_parser = bytes_u32)]
    hook_answer_bytes_max: u32,
    /// The secret by which the application knows that it is this server that asks (HMAC-SHA256, in the header
    /// Sockeye-Signature). Everybody on this machine can read it in the list of processes: --hook-secret-file, or
    /// SOCKEYE_HOOK__HOOK_SECRET in the environment, is better.
    #[arg(long, value_name = "SECRET", requires = "hook_url")]
    hook_secret: Option<Hidden>,
    /// The same, in a file; one line end at its end is no part of it.
    #[arg(long, value_name = "FILE", requires = "hook_url")]
    hook_secret_file: Option<PathBuf>,
    /// Trust, for https, the authorities in this file, in PEM, and not those that the system trusts.
    #[arg(long, value_name = "FILE", requires = "hook_url")]
    hook_cafile: Option<PathBuf>,
}

fn url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("this is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("'{}' is no way to ask: give http:// or https://", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with a password would be shown: give --hook-secret-file".to_owned());
    }
    Ok(url)
}

/// What the flags come to.
pub(super) struct Settings {
    pub(super) url: Url,
    pub(super) passes: Passes,
    pub(super) timeout: Duration,
    pub(super) threads: usize,
    pub(super) queue: usize,
    pub(super) queue_bytes_max: usize,
    pub(super) answer_bytes_max: u64,
    pub(super) secret: Option<Vec<u8>>,
    /// Who is trusted; nobody where it is not to be asked over TLS.
    pub(super) roots: Option<RootCerts>,
}

/// What it is asked about.
#[derive(Clone)]
pub(super) struct Passes {
    /// Names; `*` is any.
    actions: Vec<String>,
    pub(super) envelope: bool,
    pub(super) authenticate: bool,
    pub(super) join: bool,
}

impl Passes {
    pub(super) fn action(&self, name: &str) -> bool {
        self.actions.iter().any(|known| known == "*" || known == name)
    }
}

impl fmt::Display for Passes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = match &self.actions[..] {
            [] => String::new(),
            actions if actions.iter().any(|name| name == "*") => "all unknown actions".to_owned(),
            actions => format!("the actions {}", crate::cli::text::escaped(&actions.join(" "))),
        };
        let parts = [
            (!named.is_empty()).then_some(named.as_str()),
            self.envelope.then_some("envelope messages"),
            self.authenticate.then_some("tokens"),
            self.join.then_some("joins"),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

impl HookArguments {
    /// Whether it can be done what they say, and the files that they name.
    pub(in crate::cli::serve) fn check(&self) -> Result<(), String> {
        self.settings().map(drop)
    }

    /// `None` without a URL.
    pub(super) fn settings(&self) -> Result<Option<Settings>, String> {
        let Some(url) = &self.hook_url else { return Ok(None) };
        let passes = Passes {
            actions: self.hook_action.clone(),
            envelope: self.hook_envelope,
            authenticate: self.hook_authenticate,
            join: self.hook_join,
        };
        if passes.to_string().is_empty() {
            return Err("--hook-url: nothing is asked there: give --hook-action, --hook-envelope, --hook-authenticate or \
                        --hook-join, too"
                .to_owned());
        }
        Ok(Some(Settings {
            url: url.clone(),
            passes,
            timeout: Duration::from_millis(self.hook_timeout_ms.into()),
            threads: self.hook_threads as usize,
            queue: self.hook_queue as usize,
            queue_bytes_max: usize::try_from(self.hook_queue_bytes_max).unwrap_or(usize::MAX),
            answer_bytes_max: self.hook_answer_bytes_max.into(),
            secret: self.secret()?,
            roots: (url.scheme() == "https").then(|| self.roots()).transpose()?,
        }))
    }

    fn secret(&self) -> Result<Option<Vec<u8>>, String> {
        if let Some(secret) = &self.hook_secret {
            return Ok(Some(secret.expose().as_bytes().to_vec()));
        }
        let Some(path) = &self.hook_secret_file else { return Ok(None) };
        let text = read_secret("--hook-secret-file", path)?;
        match text.is_empty() {
            true => Err(format!("--hook-secret-file {}: it is empty", path.display())),
            false => Ok(Some(text.into_bytes())),
        }
    }

    fn roots(&self) -> Result<RootCerts, String> {
        let found: Vec<CertificateDer<'static>> = match &self.hook_cafile {
            Some(path) => {
                let wrong = |why: &dyn fmt::Display| format!("--hook-cafile {}: {why}", path.display());
                let read = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
                let found = read.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(&error))?;
                if found.is_empty() {
                    return Err(wrong(&"there is no certificate in it"));
                }
                found
            }
            None => rustls_native_certs::load_native_certs().certs,
        };
        let roots: Vec<_> = found.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        if roots.is_empty() {
            return Err("--hook-url: the system trusts no authority: give --hook-cafile".to_owned());
        }
        Ok(RootCerts::new_with_certs(&roots))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_asked_over_http_or_https_and_no_password_is_in_the_url() {
        assert!(url("https://app.example/hook?x=1").is_ok() && url("http://127.0.0.1:8080/").is_ok());
        for (text, why) in [
            ("app.example", "no URL"),
            ("ws://app.example/", "'ws'"),
            ("file:///etc", "'file'"),
            ("http://user:secret@app.example/", "--hook-secret-file"),
        ] {
            let error = url(text).unwrap_err();
            assert!(error.contains(why) && !error.contains("user:"), "{error}");
        }
    }

    #[test]
    fn an_action_passes_by_its_name_or_by_the_star() {
        let passes = |actions: &[&str]| Passes {
            actions: actions.iter().map(|&name| name.to_owned()).collect(),
            envelope: false,
            authenticate: false,
            join: true,
        };
        assert!(passes(&["roll"]).action("roll") && passes(&["x", "*"]).action("roll"));
        assert!(!passes(&["roll"]).action("Roll") && !passes(&[]).action("roll"));
        assert_eq!(passes(&["roll", "ask"]).to_string(), "the actions roll ask, joins");
        assert_eq!(passes(&["*"]).to_string(), "all unknown actions, joins");
    }
}
