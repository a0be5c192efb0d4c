//! The files that the server reads, and reads again: settings, users, certificates.

use crate::dice::Dice;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Users that are there from start to end; what the others are called is up to who changes them.
pub const USERS: usize = 16;

/// The origin whose pages may always connect.
pub const ORIGIN: &str = "https://good.example";

/// A folder of them. Dropping it removes it, unless it is kept.
pub struct Files {
    pub folder: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
    keep: bool,
    /// What the settings say now.
    pub settings: Settings,
    /// The user that is there beside those of [`USERS`], by number.
    pub guest: u64,
}

/// Settings that change while the server runs.
#[derive(Clone, Debug)]
pub struct Settings {
    pub actions_per_second_max: u32,
    pub ping_after_ms: u32,
    pub outbox_bytes_max: u32,
    pub message_idle_ms_max: u32,
    pub log_level: &'static str,
    /// A second origin, by number.
    pub origin: u64,
}

impl Files {
    pub fn new(keep: bool) -> Result<Files, String> {
        let folder = std::env::temp_dir().join(format!("sockeye-soak-{}", std::process::id()));
        let unusable = |error: io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(unusable)?;
        let mut files = Files {
            authority: authority().map_err(|error| format!("no authority for certificates: {error}"))?,
            folder: folder.clone(),
            keep,
            settings: Settings {
                actions_per_second_max: 1_000,
                ping_after_ms: 1_500,
                outbox_bytes_max: 1 << 20,
                message_idle_ms_max: 2_000,
                log_level: "info",
                origin: 0,
            },
            guest: 0,
        };
        files.write_certificate()?;
        files.write_users().and_then(|()| files.write_settings()).map_err(unusable)?;
        Ok(files)
    }

    /// Whom clients trust, in PEM.
    pub fn authority(&self) -> String {
        self.authority.pem()
    }

    pub fn write_settings(&self) -> io::Result<()> {
        let Settings {
            actions_per_second_max,
            ping_after_ms,
            outbox_bytes_max,
            message_idle_ms_max,
            log_level,
            origin,
        } = &self.settings;
        let path = |name: &str| self.folder.join(name).display().to_string();
        let (users, chain, key) = (path("users.toml"), path("chain.pem"), path("key.pem"));
        self.replace(
            "sockeye.toml",
            format!(
                "[server]\norigin = [\"{ORIGIN}\", \"https://{origin}.example\"]\n\
                 [log]\nlog_level = \"{log_level}\"\n\
                 [tls]\ntls_cert = [\"{chain}\"]\ntls_key = [\"{key}\"]\n\
                 [auth]\nusers = \"{users}\"\nadmin_password = \"soaked\"\n\
                 [limits]\nmessage_bytes_max = \"4MiB\"\nconnections_per_address_max = {PER_ADDRESS_MAX}\n\
                 outbox_bytes_max = {outbox_bytes_max}\ndeflate_context_bytes_max = \"16MiB\"\n\
                 [actions]\nactions_per_second_max = {actions_per_second_max}\nactions_burst_max = 2000\n\
                 history_messages_max = 50\nhistory_total_bytes_max = \"1MiB\"\n\
                 [timers]\nping_after_ms = {ping_after_ms}\npong_within_ms = 5000\nhandshake_ms_max = 6000\n\
                 message_idle_ms_max = {message_idle_ms_max}\noutbox_stall_ms_max = 3000\nclosing_ms_max = 2000\n\
                 linger_ms_max = 700\n"
            ),
        )
    }

    pub fn write_users(&self) -> io::Result<()> {
        let mut text = String::new();
        for user in 0..USERS {
            text +=
                &format!("[[user]]\ntoken = \"token-{user}\"\nid = \"u{user}\"\nname = \"User {user}\"\n");
        }
        let guest = self.guest;
        text += &format!("[[user]]\ntoken = \"guest-{guest}\"\nid = \"guest-{guest}\"\n");
        self.replace("users.toml", text)
    }

    /// Makes a new certificate and its key: what the server is to show, in DER.
    pub fn write_certificate(&mut self) -> Result<Vec<u8>, String> {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
        let made = CertificateParams::new(names)
            .and_then(|params| KeyPair::generate().map(|key| (params, key)))
            .and_then(|(params, key)| Ok((params.signed_by(&key, &self.authority)?, key)));
        let (certificate, key) = made.map_err(|error| format!("no certificate: {error}"))?;
        self.replace("key.pem", key.serialize_pem())
            .and_then(|()| self.replace("chain.pem", certificate.pem()))
            .map_err(|error| format!("{}: {error}", self.folder.display()))?;
        Ok(certificate.der().to_vec())
    }

    /// Breaks a file in one of several ways; what was in it.
    pub fn corrupt(&self, name: &str, dice: &mut Dice) -> io::Result<Vec<u8>> {
        let before = fs::read(self.folder.join(name))?;
        let broken = match (name, dice.below(3)) {
            ("users.toml", 0) => [&before[..], b"[[user]]\ntoken = \"token-1\"\nid = \"twice\"\n"].concat(),
            ("sockeye.toml", 0) => {
                String::from_utf8_lossy(&before).replace("ping_after_ms", "ping_afer_ms").into_bytes()
            }
            (_, 1) => [&before[..before.len() / 2 - 3], b"\n= \""].concat(),
            _ => b"\xff\xfe = = nothing of this [[ can be read".to_vec(),
        };
        self.replace(name, broken)?;
        Ok(before)
    }

    pub fn replace(&self, name: &str, content: impl AsRef<[u8]>) -> io::Result<()> {
        let (new, path) = (self.folder.join(format!("{name}.new")), self.folder.join(name));
        fs::write(&new, content)?;
        fs::rename(new, path)
    }

    pub fn log(&self) -> PathBuf {
        Path::join(&self.folder, "server.log")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Connections that one address may have: less than a vandal would, so that some are refused.
pub const PER_ADDRESS_MAX: u32 = 250;

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Soak");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}
