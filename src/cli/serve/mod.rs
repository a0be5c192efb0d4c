//! `sockeye serve`: the hub on all its listeners, with every setting as a flag, until a signal ends it.

mod arguments;
mod hook;
mod identities;
mod layers;
mod limits;
mod logging;
mod operator;
mod reload;
mod secrets;
mod signals;
mod supervisor;
mod tls;
mod watch;
mod zone;

pub(super) use self::{arguments::Arguments, layers::with_toggles, logging::say};

use self::{
    hook::Hooked,
    identities::Identities,
    layers::{Inputs, Layers, Unread},
    logging::Voice,
    operator::{Operator, Reins},
    reload::Reload,
    secrets::{Password, admin_token},
    signals::Ending,
    supervisor::{Farewell, Watchdog},
    tls::Certificates,
};
use super::{CANNOT_BIND, FAILED, OK, USAGE, manual::put_out};
use clap::Args;
use log::Level;
use sd_notify::NotifyState;
use sockeye::{
    Error, Limits, LocalAddress, Server,
    dialect::Dialect,
    hub::{Hub, Settings},
};
use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Serves until a signal ends it; the exit code.
pub(super) fn run(arguments: Vec<OsString>) -> u8 {
    let inputs = Inputs::of_the_process(arguments);
    let (arguments, layers) = match layers::read(&inputs) {
        Ok(read) => read,
        Err(Unread::Usage(error)) => error.exit(),
        Err(Unread::Faults(faults)) => return refuse(&faults),
    };
    if arguments.configuration.print_config {
        return put_out(layers.print().as_bytes());
    }
    let voice = match Voice::new(arguments.log.log, arguments.log.level()) {
        Ok(voice) => voice,
        Err(error) => {
            say(format_args!("sockeye: cannot write a log: {error}"));
            return FAILED;
        }
    };
    let code = match serve(&arguments, inputs, layers, voice) {
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

/// Says what is wrong, a line each.
fn refuse(faults: &[String]) -> u8 {
    faults.iter().for_each(|fault| say(format_args!("sockeye: {fault}")));
    USAGE
}

/// `sockeye check-config`.
#[derive(Args, Debug)]
#[command(
    after_help = "The file is judged by itself, without the environment, and so are the files that it names."
)]
pub(super) struct CheckArguments {
    /// The file.
    #[arg(value_name = "FILE", required_unless_present = "reference")]
    file: Option<PathBuf>,
    /// Write a file of all settings with their defaults instead, each with what it is.
    #[arg(long, conflicts_with = "file")]
    reference: bool,
}

/// Says whether a server would take a file; the exit code.
pub(super) fn check(arguments: &CheckArguments) -> u8 {
    let Some(file) = arguments.file.as_deref().filter(|_| !arguments.reference) else {
        return put_out(layers::reference().as_bytes());
    };
    let checked = match layers::read(&Inputs::of_file(file)) {
        Ok((arguments, layers)) => match check_values(&arguments, &layers) {
            Ok(()) => Ok(layers.of_the_file()),
            Err(fault) => Err(vec![fault]),
        },
        Err(Unread::Faults(faults)) => Err(faults),
        Err(unread @ Unread::Usage(_)) => Err(vec![format!("{}: {unread}", file.display())]),
    };
    match checked {
        Ok(count) => {
            let s = if count == 1 { "" } else { "s" };
            put_out(format!("sockeye: {}: nothing is wrong: {count} setting{s}\n", file.display()).as_bytes())
        }
        Err(faults) => refuse(&faults),
    }
}

/// What is judged only when a server is made, and the files that are named.
fn check_values(arguments: &Arguments, layers: &Layers) -> Result<(), String> {
    let config = arguments.config();
    let limits = config.limits.validate().and_then(|()| config.deflate.validate());
    limits.map_err(|error| Failure::of(error.into(), layers).text)?;
    let file = layers.file.as_deref().unwrap_or_else(|| Path::new(""));
    let identities = arguments.check_proxies().and_then(|()| Identities::new(&arguments.identity));
    let identities = identities.and_then(|_| Password::find(&arguments.identity));
    let identities = identities.and_then(|_| admin_token(&arguments.identity));
    let identities = identities.and_then(|_| arguments.hook.check());
    let named = identities.and_then(|_| Certificates::find(&arguments.tls, &arguments.listens_for_tls()));
    named.map(drop).map_err(|error| format!("{}: {error}", file.display()))
}

/// Why it does not serve, or no longer.
struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// Of a setting it says where it was set.
    fn of(error: Error, layers: &Layers) -> Failure {
        let place = match &error {
            Error::Limit(limit) => layers.place_of(limit.field()),
            _ => None,
        };
        let code = match error {
            Error::Bind { .. } => CANNOT_BIND,
            Error::Loop(_) => FAILED,
            _ => USAGE,
        };
        let text = place.map_or_else(|| error.to_string(), |place| format!("{place}: {error}"));
        Failure { code, text }
    }
}

fn serve(arguments: &Arguments, inputs: Inputs, layers: Layers, voice: Voice) -> Result<(), Failure> {
    let unusable = |text| Failure { code: USAGE, text };
    let (identities, users) = Identities::new(&arguments.identity).map_err(unusable)?;
    let password = Password::find(&arguments.identity).map_err(unusable)?;
    let token = admin_token(&arguments.identity).map_err(unusable)?;

    arguments.check_proxies().map_err(unusable)?;
    let config = arguments.config();
    let certificates = Certificates::find(&arguments.tls, &arguments.listens_for_tls()).map_err(unusable)?;
    let limits = config.limits;
    let (sockets, passed): (Vec<_>, Vec<_>) = arguments.passed().map_err(unusable)?.into_iter().unzip();
    let admin = arguments.admin_listener();
    let dialects: Vec<_> = arguments.dialects().chain(admin.map(|_| None)).chain(passed).collect();
    let settings = Settings {
        admin_password: Some(password.secret()),
        listeners: dialects.clone(),
        ..arguments.settings()
    };
    let (application, mut threads) = Hooked::new(identities, &arguments.hook).map_err(unusable)?;
    let hub = Hub::with(&config, settings, application);
    let has_api = token.is_some();
    let operator = Operator::new(hub, admin, arguments.public(), token, Hooked::counters);
    let deaf = |error| Failure { code: FAILED, text: format!("cannot listen to signals: {error}") };
    let (file, count) = (layers.file.clone(), layers.of_the_file());
    let files = certificates.clone().filter(Certificates::are_files);
    let reads_again = file.is_some() || users.has_file() || files.is_some();
    let signals = signals::register(reads_again).map_err(deaf)?;
    let bound = match &certificates {
        Some(certificates) => Server::bind_tls_with(config, certificates.server(), operator, sockets),
        None => Server::bind_with(config, operator, sockets),
    };
    let mut server = bound.map_err(|error| Failure::of(error, &layers))?;
    let remote = server.remote();
    if let Some(threads) = &mut threads {
        let unable = |error| Failure { code: FAILED, text: format!("cannot start the hook: {error}") };
        threads.start(&remote).map_err(unable)?;
    }
    let ending = Ending::new(remote, limits.drain_ms);
    let reload =
        Reload { inputs, layers, identities: users.clone(), certificates: files, ending: ending.clone() };
    server.handler_mut().take_reins(Reins { ending: ending.clone(), reads_again, voice });
    signals::listen(signals, ending, voice, Some(reload).filter(|_| reads_again)).map_err(deaf)?;

    let is_admin = |number: usize| admin.is_some_and(|admin| usize::from(admin) == number);
    for (number, (address, dialect)) in server.addresses().iter().zip(dialects).enumerate() {
        if !is_admin(number) {
            tell_address(voice, address, dialect, arguments.serves_pages());
        }
    }
    if let Some(address) = admin.and_then(|admin| server.addresses().get(usize::from(admin))) {
        tell_admin(voice, address, has_api);
    }
    let (connections, descriptors) = (server.connections_max(), server.descriptors_max());
    tell_bounds(voice, connections, descriptors, &limits);
    if let Some(file) = &file {
        tell_file(voice, file, count);
    }
    if let Some(certificates) = certificates {
        certificates.tell(voice);
        certificates
            .watch(voice)
            .map_err(|error| Failure { code: FAILED, text: format!("cannot watch certificates: {error}") })?;
    }
    users.tell(voice);
    hook::tell(&arguments.hook, voice);
    password.tell(voice);
    supervisor::tell(&[NotifyState::Ready]);
    turn(server).map_err(|error| Failure { code: FAILED, text: error.to_string() })?;
    if let Some(threads) = threads {
        threads.finish();
    }
    voice.say_in_log(Level::Info, "stopped", &[]);
    Ok(())
}

/// Until it is stopped. The supervisor hears that it turns, if it wants to.
fn turn(mut server: Server<Operator<Hooked>>) -> Result<(), Error> {
    let mut watchdog = Watchdog::from_environment();
    let mut farewell = Farewell::default();
    server.run_with(watchdog.patience(), |server| {
        watchdog.turned();
        if server.is_draining() {
            farewell.tell(server.connections());
        }
    })?;
    if let Some(counters) = server.handler().application().counters() {
        counters.log();
    }
    Ok(())
}

/// Scripts read this line: what follows `listening on ` up to the next space is the address.
fn tell_address(voice: Voice, address: &LocalAddress, dialect: Option<Dialect>, has_pages: bool) {
    let name = dialect.map_or("auto", Dialect::name);
    let note = if dialect.is_none() { " (the first message decides)" } else { "" };
    let scheme = if matches!(address, LocalAddress::Tls(_)) { "https" } else { "http" };
    // Browsers do not speak the PROXY protocol.
    let is_browsable = has_pages && !matches!(address, LocalAddress::Proxied(_));
    let url = address.ip().filter(|_| is_browsable).map(|address| url(scheme, address));
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

/// Scripts read this line, too.
fn tell_admin(voice: Voice, address: &LocalAddress, has_api: bool) {
    let address = address.to_string();
    let note = if has_api { "" } else { " (without its API: no --admin-token-file)" };
    voice.say(
        Level::Info,
        format_args!("sockeye: administration on {address}{note}"),
        "administration",
        &[("address", address.as_str().into()), ("api", has_api.into())],
    );
}

/// Where a browser on this machine finds the page.
fn url(scheme: &str, address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        // Every address of the machine, and as a destination none.
        format!("{scheme}://localhost:{}/", address.port())
    } else {
        format!("{scheme}://{address}/")
    }
}

fn tell_file(voice: Voice, file: &Path, count: usize) {
    let (file, s) = (file.display(), if count == 1 { "" } else { "s" });
    voice.say(
        Level::Info,
        format_args!("sockeye: settings read: {count} setting{s} in {file}"),
        "settings read",
        &[("count", count.into()), ("file", log::kv::Value::from_display(&file))],
    );
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
            assert_eq!(url("http", address.parse().unwrap()), shown);
        }
    }
}
