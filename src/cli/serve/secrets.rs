//! The admin's password, and the token of those who administer the server: where they come from. A password is made where
//! none is given, and shown once; nothing else is, nowhere.

use super::{arguments::IdentityArguments, logging::Voice};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use log::Level;
use sockeye::hub::auth::{Secret, TOKEN_BYTES_MAX};
use std::{fmt, fs, path::Path, str::FromStr};

/// A flag's value that no `Debug` shows, and neither `--print-config`.
#[derive(Clone)]
pub(super) struct Hidden(String);

impl FromStr for Hidden {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Hidden, &'static str> {
        if text.is_empty() {
            Err("it is empty; give one, or leave it out")
        } else {
            Ok(Hidden(text.to_owned()))
        }
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

/// What the API of `--admin` asks for.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) secret: Secret,
    /// Whoever may guess often enough finds it.
    pub(super) is_guessable: bool,
}

/// A token of so many bytes is found by no guessing, if it was made as it should be.
const TOKEN_BYTES_SAFE: usize = 16;

/// The token that the API of `--admin` asks for: that which was given, else that of the file. None is made: without one
/// the API is off.
pub(super) fn admin_token(arguments: &IdentityArguments) -> Result<Option<Token>, String> {
    let (source, text) = match (&arguments.admin_token, &arguments.admin_token_file) {
        (Some(Hidden(text)), _) => ("--admin-token".to_owned(), text.clone()),
        (None, Some(path)) => {
            (format!("--admin-token-file {}", path.display()), read_secret("--admin-token-file", path)?)
        }
        (None, None) => return Ok(None),
    };
    // What is shown ends at a space.
    if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(format!(
            "{source}: a token is of visible ASCII characters, without spaces and line ends"
        ));
    }
    match Secret::new(&text) {
        Some(secret) => Ok(Some(Token { secret, is_guessable: text.len() < TOKEN_BYTES_SAFE })),
        None if text.is_empty() => Err(format!("{source}: the token is empty; give one, or leave it out")),
        None => Err(format!("{source}: the token has more than {TOKEN_BYTES_MAX} bytes")),
    }
}

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
