//! Who a token is, as the flags have it: users in a file, and signed tokens. The files of both are read again when asked.

use super::{arguments::IdentityArguments, logging::Voice};
use log::Level;
use sockeye::{
    Now,
    hub::{
        Application,
        auth::{Identity, Jwt, JwtAlgorithm, JwtKey, Users},
    },
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The binary's part of the hub.
pub(super) struct Identities {
    users: Users,
    jwt: Option<Jwt>,
    update: Update,
}

/// What was read again, by the thread that waits for signals: taken over at the next look-up. Only the latest waits, however
/// often it is read while nobody says a token.
#[derive(Clone, Default)]
struct Update(Arc<Mutex<Latest>>);

#[derive(Default)]
struct Latest {
    users: Option<Users>,
    jwt: Option<Option<Jwt>>,
}

impl Update {
    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Identities {
    /// What the flags say, and what reads the users again.
    pub(super) fn new(arguments: &IdentityArguments) -> Result<(Identities, Reread), String> {
        let update = Update::default();
        let users = arguments.users.as_deref().map(read_users).transpose()?;
        let count = users.as_ref().map_or(0, Users::len);
        let reread = Reread {
            path: arguments.users.clone(),
            has_key: arguments.jwt_alg.is_some(),
            count,
            update: update.clone(),
        };
        Ok((Identities { users: users.unwrap_or_default(), update, jwt: jwt(arguments)? }, reread))
    }
}

impl Application for Identities {
    fn authenticate(&mut self, now: Now, token: &str) -> Option<Identity> {
        let Latest { users, jwt } = std::mem::take(&mut *self.update.latest());
        if let Some(users) = users {
            self.users = users;
        }
        if let Some(jwt) = jwt {
            self.jwt = jwt;
        }
        if let Some(user) = self.users.find(token) {
            return Some(user.clone());
        }
        let verified = self.jwt.as_ref()?.verify(token, now.unix_ms);
        verified.inspect_err(|fault| log::info!(fault:% = fault; "token refused")).ok()
    }
}

/// Reads the users, and the key of signed tokens, again.
#[derive(Clone)]
pub(super) struct Reread {
    path: Option<PathBuf>,
    has_key: bool,
    /// How many there were at start.
    count: usize,
    update: Update,
}

impl Reread {
    /// Whether there is a file to be read again.
    pub(super) fn has_file(&self) -> bool {
        self.path.is_some() || self.has_key
    }

    /// Says how many users there are at start.
    pub(super) fn tell(&self, voice: Voice) {
        if let Some(path) = &self.path {
            tell_count(voice, "users read", self.count, path);
        }
    }

    /// Reads what these flags name, and has it taken over if nothing is wrong with it.
    pub(super) fn read(&mut self, arguments: &IdentityArguments, voice: Voice) {
        if self.path.is_some() || arguments.users.is_some() {
            self.read_users(arguments.users.clone(), voice);
        }
        if self.has_key || arguments.jwt_alg.is_some() {
            self.read_key(arguments, voice);
        }
    }

    fn read_key(&mut self, arguments: &IdentityArguments, voice: Voice) {
        match jwt(arguments) {
            Ok(jwt) => {
                self.has_key = jwt.is_some();
                let message = match &jwt {
                    Some(_) => "key of signed tokens read again",
                    None => "no key of signed tokens any more",
                };
                self.update.latest().jwt = Some(jwt);
                voice.say(Level::Info, format_args!("sockeye: {message}"), message, &[]);
            }
            Err(error) => voice.say(
                Level::Error,
                format_args!("sockeye: {error}; the key of signed tokens stays as it was"),
                "key of signed tokens not read again: it stays as it was",
                &[("error", error.as_str().into())],
            ),
        }
    }

    /// Without a file there are none.
    fn read_users(&mut self, path: Option<PathBuf>, voice: Voice) {
        let users = path.as_deref().map(read_users).transpose();
        match users.map(Option::unwrap_or_default) {
            Ok(users) => {
                let count = users.len();
                self.update.latest().users = Some(users);
                match &path {
                    Some(path) => tell_count(voice, "users read again", count, path),
                    None => voice.say(
                        Level::Info,
                        format_args!("sockeye: no file of users any more"),
                        "no file of users any more",
                        &[],
                    ),
                }
                self.path = path;
            }
            Err(error) => voice.say(
                Level::Error,
                format_args!("sockeye: {error}; the users stay as they were"),
                "users not read again: they stay as they were",
                &[("error", error.as_str().into())],
            ),
        }
    }
}

fn tell_count(voice: Voice, message: &str, count: usize, path: &Path) {
    let (path, s) = (path.display(), if count == 1 { "" } else { "s" });
    voice.say(
        Level::Info,
        format_args!("sockeye: {message}: {count} user{s} in {path}"),
        message,
        &[("count", count.into()), ("file", log::kv::Value::from_display(&path))],
    );
}

fn read_users(path: &Path) -> Result<Users, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("--users {}: {error}", path.display()))?;
    Users::parse(&text).map_err(|error| format!("--users {}: {error}", path.display()))
}

/// How signed tokens are checked, if any are to be.
fn jwt(arguments: &IdentityArguments) -> Result<Option<Jwt>, String> {
    let (secret, public) = (arguments.jwt_secret_file.as_deref(), arguments.jwt_public_key_file.as_deref());
    let Some(algorithm) = arguments.jwt_alg else { return Ok(None) };
    let (flag, path) = match (algorithm, secret, public) {
        (JwtAlgorithm::Hs256, Some(path), None) => ("--jwt-secret-file", path),
        (JwtAlgorithm::Hs256, ..) => {
            return Err("--jwt-alg HS256 needs --jwt-secret-file FILE, and no other key".to_owned());
        }
        (_, None, Some(path)) => ("--jwt-public-key-file", path),
        (algorithm, ..) => {
            return Err(format!("--jwt-alg {algorithm} needs --jwt-public-key-file FILE, and no other key"));
        }
    };
    let wrong = |why: &dyn std::fmt::Display| format!("{flag} {}: {why}", path.display());
    let mut material = fs::read(path).map_err(|error| wrong(&error))?;
    if material.ends_with(b"\n") {
        material.pop();
        if material.ends_with(b"\r") {
            material.pop();
        }
    }
    let mut jwt = Jwt::new(JwtKey::new(algorithm, &material).map_err(|error| wrong(&error))?);
    jwt.audience.clone_from(&arguments.jwt_audience);
    Ok(Some(jwt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::LevelFilter;

    #[test]
    fn of_users_that_are_read_again_and_again_only_the_latest_wait() {
        let path = std::env::temp_dir().join(format!("sockeye-users-read-again-{}", std::process::id()));
        let voice = Voice::new(None, LevelFilter::Off).unwrap();
        let update = Update::default();
        let mut identities = Identities { users: Users::default(), update: update.clone(), jwt: None };
        let mut reread = Reread { path: None, has_key: false, count: 0, update: update.clone() };
        for number in 0..3 {
            fs::write(&path, format!("[[user]]\ntoken = \"token-{number}\"\nid = \"{number}\"\n")).unwrap();
            reread.read_users(Some(path.clone()), voice);
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(update.latest().users.as_ref().map(Users::len), Some(1));
        let mut find = |token| identities.authenticate(Now::default(), token).map(|user| user.uuid);
        assert_eq!((find("token-1"), find("token-2")), (None, Some("2".to_owned())));
        assert!(update.latest().users.is_none(), "they were taken over");
    }
}
