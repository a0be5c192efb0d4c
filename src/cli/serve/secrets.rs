//! The admin's password: where it comes from, and the one that is made where none is given. That one is shown once; no
//! other is, nowhere.

use super::{arguments::IdentityArguments, logging::Voice};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use log::Level;
use sockeye::hub::auth::Secret;
use std::{fmt, fs, path::Path, str::FromStr};

/// A flag's value that no `Debug` shows, and neither `--print-config`.
#[derive(Clone)]
pub(super) struct Hidden(String);

impl FromStr for Hidden {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Hidden, &'static str> {
        if text.is_empty() { Err(EMPTY) } else { Ok(Hidden(text.to_owned())) }
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

impl Hidden {
    /// The value, for what needs it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

const EMPTY: &str = "it is empty; give one, or leave it out";

/// The admin's password.
pub(super) struct Password {
    secret: Secret,
    /// The password itself, if nobody knows it yet.
    made: Option<String>,
}

impl Password {
    /// That which was given, else that of the file, else a new one.
    pub(super) fn find(arguments: &IdentityArguments) -> Result<Password, String> {
        let (source, text) = if let Some(Hidden(text)) = &arguments.admin_password {
            ("--admin-password".to_owned(), text.clone())
        } else if let Some(path) = &arguments.admin_password_file {
            (format!("--admin-password-file {}", path.display()), read_secret("--admin-password-file", path)?)
        } else {
            return Ok(Password::make());
        };
        let secret = Secret::new(&text).ok_or_else(|| format!("{source}: {EMPTY}"))?;
        Ok(Password { secret, made: None })
    }

    fn make() -> Password {
        let mut bytes = [0; PASSWORD_BYTES];
        getrandom::fill(&mut bytes)
            .expect("the operating system has no entropy, without which nothing is safe");
        let text = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        Password { secret: Secret::new(&text).expect("it is not empty"), made: Some(text) }
    }

    /// For the hub.
    pub(super) fn secret(&self) -> Secret {
        self.secret.clone()
    }

    /// Shows a password that was made here. This is the only place where a secret is written.
    pub(super) fn tell(&self, voice: Voice) {
        let Some(password) = &self.made else { return };
        let message = "admin password, made for this run";
        let fields = [("password", password.as_str().into())];
        voice.say_once(Level::Info, format_args!("sockeye: {message}: {password}"), message, &fields);
    }
}

/// Bytes of entropy in a password: 192 bits.
const PASSWORD_BYTES: usize = 24;

/// What stands in the file that a flag names, one line end at its end left out.
pub(super) fn read_secret(flag: &str, path: &Path) -> Result<String, String> {
    let mut text = fs::read_to_string(path).map_err(|error| format!("{flag} {}: {error}", path.display()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
