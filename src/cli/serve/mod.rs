//! `sockeye serve`: the hub on all its listeners, with every setting as a flag, until a signal ends it.

mod arguments;
mod identities;
mod limits;
mod logging;
mod secrets;
mod signals;
mod supervisor;
mod zone;

pub(super) use self::{arguments::Arguments, logging::say};

use self::{identities::Identities, logging::Voice, secrets::Password, supervisor::Watchdog};
use super::{CANNOT_BIND, FAILED, OK, USAGE};
use log::Level;
use sd_notify::NotifyState;
use sockeye::{
    Error, Limits, LocalAddress, Server,
    dialect::Dialect,
    hub::{Hub, Settings},
};
use std::net::SocketAddr;

/// Serves until a signal ends it; the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let voice = match Voice::new(arguments.log.log, arguments.log.level()) {
        Ok(voice) => voice,
        Err(error) => {
            say(format_args!("sockeye: cannot write a log: {error}"));
            return FAILED;
        }
    };
    let code = match serve(arguments, voice) {
        Ok(()) => OK,
        Err(failure) => {
            let text = failure.text;
            voice.say(Level::Error, format_args!("sockeye: {text}"), &text, &[]);
            failure.code
        }
    };
    voice.flush();
    code
}

/// Why it does not serve, or no longer.
struct Failure {
    code: u8,
    text: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = match error {
            Error::Bind { .. } => CANNOT_BIND,
            Error::Loop(_) => FAILED,
            _ => USAGE,
        };
        Failure { code, text: error.to_string() }
    }
}

fn serve(arguments: &Arguments, voice: Voice) -> Result<(), Failure> {
    let unusable = |text| Failure { code: USAGE, text };
    let (identities, reread) = Identities::new(&arguments.identity).map_err(unusable)?;
    let password = Password::find(&arguments.identity).map_err(unusable)?;

    let config = arguments.config();
    let limits = config.limits;
    let (sockets, passed): (Vec<_>, Vec<_>) = arguments.passed().map_err(unusable)?.into_iter().unzip();
    let dialects: Vec<_> = arguments.dialects().chain(passed).collect();
    let settings = Settings {
        admin_password: Some(password.secret()),
        listeners: dialects.clone(),
        ..arguments.settings()
    };
    let hub = Hub::with(&config, settings, identities);
    let drain_ms = arguments.drain_ms(!sockets.is_empty());
    let mut server = Server::bind_with(config, hub, sockets)?;
    let ending = signals::Ending { remote: server.remote(), drain_ms };
    signals::listen(ending, voice, reread.clone())
        .map_err(|error| Failure { code: FAILED, text: format!("cannot listen to signals: {error}") })?;

    for (address, dialect) in server.addresses().iter().zip(dialects) {
        tell_address(voice, address, dialect, arguments.serves_pages());
    }
    let (connections, descriptors) = (server.connections_max(), server.descriptors_max());
    tell_bounds(voice, connections, descriptors, &limits);
    if let Some(reread) = &reread {
        reread.tell(voice);
    }
    password.tell(voice);
    supervisor::tell(&[NotifyState::Ready]);
    let mut watchdog = Watchdog::from_environment();
    while server.turn(watchdog.patience())? {
        watchdog.turned();
    }
    voice.say_in_log(Level::Info, "stopped", &[]);
    Ok(())
}

/// Scripts read this line: what follows `listening on ` up to the next space is the address.
fn tell_address(voice: Voice, address: &LocalAddress, dialect: Option<Dialect>, has_pages: bool) {
    let name = dialect.map_or("auto", Dialect::name);
    let note = if dialect.is_none() { " (the first message decides)" } else { "" };
    let url = address.ip().filter(|_| has_pages).map(url);
    let shown = url.as_ref().map(|url| format!(", {url}")).unwrap_or_default();
    let address = address.to_string();
    let mut fields = vec![("address", address.as_str().into()), ("dialect", name.into())];
    fields.extend(url.as_ref().map(|url| ("url", url.as_str().into())));
    voice.say(
        Level::Info,
        format_args!("sockeye: listening on {address} for {name}{note}{shown}"),
        "listening",
        &fields,
    );
}

/// Where a browser on this machine finds the page.
fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        // Every address of the machine, and as a destination none.
        format!("http://localhost:{}/", address.port())
    } else {
        format!("http://{address}/")
    }
}

fn tell_bounds(voice: Voice, connections: u32, descriptors: u32, limits: &Limits) {
    let limits = format!("{limits:?}");
    voice.say(
        Level::Info,
        format_args!(
            "sockeye: at most {connections} connections (the limit on descriptors is {descriptors}); stop with Ctrl-C"
        ),
        "serving",
        &[
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("connections_max", connections.into()),
            ("descriptors_max", descriptors.into()),
            ("limits", limits.as_str().into()),
        ],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_that_is_shown_can_be_opened() {
        for (address, shown) in [
            ("127.0.0.1:4863", "http://127.0.0.1:4863/"),
            ("[::1]:80", "http://[::1]:80/"),
            ("0.0.0.0:4863", "http://localhost:4863/"),
            ("[::]:4863", "http://localhost:4863/"),
        ] {
            assert_eq!(url(address.parse().unwrap()), shown);
        }
    }
}
