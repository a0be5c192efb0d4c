//! What is read again on SIGHUP: the layers, of them what can change while it runs, the users, the key of
//! signed tokens, and the certificates.

use super::{
    arguments::Arguments,
    identities::Reread,
    layers::{Inputs, Layers, read},
    logging::Voice,
    signals::Ending,
    tls::Certificates,
};
use log::Level;
use sockeye::RemoteError;

/// Reads again, on the thread that waits for signals.
pub(super) struct Reload {
    pub(super) inputs: Inputs,
    /// What is in force.
    pub(super) layers: Layers,
    pub(super) identities: Reread,
    /// Those that are in files.
    pub(super) certificates: Option<Certificates>,
    pub(super) ending: Ending,
}

impl Reload {
    /// Reads all of it, takes over what can be, and says what was and what was not. Where something is wrong with a file,
    /// all that it says stays as it was.
    pub(super) fn read(&mut self, voice: Voice) {
        match read(&self.inputs) {
            Ok((arguments, layers)) => self.take_over(&arguments, &layers, voice),
            Err(unread) => {
                let error = unread.to_string();
                voice.say(
                    Level::Error,
                    format_args!("sockeye: {error}; everything stays as it was"),
                    "settings not read again: everything stays as it was",
                    &[("error", error.as_str().into())],
                );
            }
        }
    }

    fn take_over(&mut self, arguments: &Arguments, layers: &Layers, voice: Voice) {
        let mut waiting = Vec::new();
        let changed = self.layers.changed(layers);
        let limits: Vec<&str> = changed.iter().map(String::as_str).filter(|key| is_limit(key)).collect();
        let are_limits_taken =
            !limits.is_empty() && self.take_limits(arguments, layers, &limits.join(", "), voice);
        for key in changed {
            let is_taken = match key.as_str() {
                limit if is_limit(limit) => are_limits_taken,
                ORIGIN => self.take_origins(arguments, voice),
                LOG_LEVEL => take_level(arguments, voice),
                USERS => true,
                key if KEY.contains(&key) => true,
                _ => false,
            };
            if is_taken {
                self.layers.take(&key, layers);
            } else {
                waiting.push(key);
            }
        }
        self.identities.read(&arguments.identity, voice);
        self.certificates.iter().for_each(|certificates| certificates.read(voice));
        if self.layers.file.is_some() {
            tell_waiting(&waiting.join(", "), voice);
        }
    }

    /// All of them together, for they have to make sense together.
    fn take_limits(&self, arguments: &Arguments, layers: &Layers, keys: &str, voice: Voice) -> bool {
        let config = arguments.config();
        match self.ending.remote.set_limits(config.limits, config.keepalive) {
            Ok(()) => {
                self.ending.set_drain_ms(config.limits.drain_ms);
                voice.say(
                    Level::Info,
                    format_args!("sockeye: limits read again: {keys}"),
                    "limits read again",
                    &[("keys", keys.into())],
                );
                true
            }
            Err(error) => {
                let place = match &error {
                    RemoteError::Limit(limit) => layers.place_of(limit.field()),
                    _ => None,
                };
                let error = place.map_or_else(|| error.to_string(), |place| format!("{place}: {error}"));
                voice.say(
                    Level::Error,
                    format_args!("sockeye: limits stay as they were: {error}"),
                    "limits stay as they were",
                    &[("error", error.as_str().into())],
                );
                false
            }
        }
    }

    fn take_origins(&self, arguments: &Arguments, voice: Voice) -> bool {
        let origins = arguments.origins();
        let shown = if origins.is_empty() { "any".to_owned() } else { origins.join(", ") };
        match self.ending.remote.set_origins(origins.to_vec()) {
            Ok(()) => {
                let fields = [("origins", shown.as_str().into())];
                voice.say(
                    Level::Info,
                    format_args!("sockeye: origins read again: {shown}"),
                    "origins read again",
                    &fields,
                );
                true
            }
            Err(error) => {
                let error = error.to_string();
                let fields = [("error", error.as_str().into())];
                voice.say(
                    Level::Error,
                    format_args!("sockeye: origins stay as they were: {error}"),
                    "origins stay as they were",
                    &fields,
                );
                false
            }
        }
    }
}

fn take_level(arguments: &Arguments, voice: Voice) -> bool {
    let level = arguments.log.level();
    let is_taken = voice.set_level(level);
    if is_taken {
        let level = level.as_str().to_ascii_lowercase();
        let fields = [("log_level", level.as_str().into())];
        voice.say(
            Level::Info,
            format_args!("sockeye: log level read again: {level}"),
            "log level read again",
            &fields,
        );
    }
    is_taken
}

fn tell_waiting(keys: &str, voice: Voice) {
    let (message, fields) = match keys {
        "" => ("settings read again", Vec::new()),
        keys => (
            "settings read again; a restart is needed for what else has changed",
            vec![("keys", keys.into())],
        ),
    };
    let colon = if keys.is_empty() { "" } else { ": " };
    voice.say(Level::Info, format_args!("sockeye: {message}{colon}{keys}"), message, &fields);
}

/// Whether it is a limit or a timer that can change while connections are served.
fn is_limit(key: &str) -> bool {
    let is_one = ["limits.", "actions.", "timers."].iter().any(|section| key.starts_with(section));
    is_one && !FIXED.contains(&key)
}

/// What buffers and books were made for when the server was: `Server::set_limits` keeps it.
const FIXED: [&str; 3] =
    ["limits.read_bytes_max", "limits.remote_commands_max", "limits.connections_per_address_max"];
/// What is taken over without a restart.
const ORIGIN: &str = "server.origin";
const LOG_LEVEL: &str = "log.log_level";
const USERS: &str = "auth.users";
/// How signed tokens are checked.
const KEY: [&str; 4] =
    ["auth.jwt_alg", "auth.jwt_secret_file", "auth.jwt_public_key_file", "auth.jwt_audience"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::serve::layers::Table;

    #[test]
    fn what_is_taken_over_can_be_set() {
        for key in [ORIGIN, LOG_LEVEL, USERS].into_iter().chain(FIXED).chain(KEY) {
            let (section, name) = key.split_once('.').unwrap();
            assert!(Table::new().find(section, name).is_some(), "{key}");
        }
    }
}
