//! The flags of `serve`, and what the library is told by them.

use super::{
    hook::HookArguments,
    layers::HEADING,
    limits::{ActionArguments, DeflateArguments, LimitArguments, TimerArguments},
    logging::Format,
    operator::Public,
    secrets::Hidden,
    supervisor::{Passed, Wrapping},
    tls::TlsArguments,
    zone::Zone,
};
use clap::{Args, ValueEnum};
use log::LevelFilter;
use sockeye::{
    Config, ForwardedHeader, Listen, ListeningSocket, Network,
    dialect::Dialect,
    hub::{Hub, Settings, auth::JwtAlgorithm},
};
use std::{path::PathBuf, str::FromStr};

/// Where it listens when nothing else is said.
const DEFAULT_LISTEN: &str = "127.0.0.1:4863";

#[derive(Args, Debug)]
#[command(after_help = "Sizes are in bytes and may end in KiB, MiB or GiB; times are in milliseconds.\n\n\
                        Dialects: actions, envelope, chat, room, echo, or auto (the default): a first message that is a \
                        JSON array, or an object with an action, chooses actions or envelope, any other echo. A path \
                        (/actions, /chat, /room/NAME ...), a host echo.* or a subprotocol chooses before the listener's.\n\n\
                        SIGINT or SIGTERM: stop accepting, close every connection in turn within --drain-ms, with 1001, or \
                        1012 where a successor has the address (--reuse-port) or the socket (systemd), exit 0 when all have \
                        answered or 5 s more have passed; a second signal exits at once. SIGHUP: read --config, --users, the keys of --jwt-alg, --tls-cert, --tls-key and --tls-client-ca again.\n\n\
                        Exit codes: 0 ended as asked, 1 failed while running, 2 arguments make no sense, 69 cannot listen \
                        there.")]
pub(in crate::cli) struct Arguments {
    /// Where to listen: HOST:PORT, [IPV6]:PORT or unix:PATH, in front tls: for TLS (tls:HOST:PORT) and before
    /// that proxy: for proxies that speak the PROXY protocol (proxy:tls:HOST:PORT, see --trusted-proxies), and after = the
    /// dialect spoken there (actions, envelope, chat, room, echo or auto; auto if none is given). Port 0 asks for a free
    /// one. systemd: all sockets that systemd passes (LISTEN_FDS); fd:NAME: those of this FileDescriptorName=; both
    /// with tls: and proxy: in front as well. May be given several times.
    #[arg(long, value_name = "ADDR[=DIALECT]", default_value = DEFAULT_LISTEN)]
    listen: Vec<Address>,

    /// Where to look after the server: /healthz, /readyz, /metrics, and the API at /api/v1/ (--admin-token-file). HOST:PORT,
    /// [IPV6]:PORT, unix:PATH or tls:HOST:PORT; `sockeye health` asks 127.0.0.1:4864. Nobody can connect with a WebSocket
    /// there. Nowhere if none is given.
    #[arg(long, value_name = "ADDR", value_parser = admin_address)]
    admin: Option<String>,

    /// Answer /healthz and /readyz where WebSockets are served, too.
    #[arg(long)]
    public_health: bool,

    /// Answer /metrics where WebSockets are served, too: to everybody.
    #[arg(long)]
    public_metrics: bool,

    /// Share TCP addresses with other processes of this user that do so too (SO_REUSEPORT), so that a new one can bind
    /// while this one still serves: start it, then send SIGTERM to this one.
    #[arg(long)]
    reuse_port: bool,

    /// Proxies that are believed when they say whom a connection is for: networks (10.0.0.0/8, ::1) or unix, for those that
    /// come by a Unix-domain socket, separated by commas. They say it by the PROXY protocol at a listener with proxy:, which
    /// drops everybody else, and in --forwarded-header at any. Limits per address and the log go by whom they name. May be
    /// given several times.
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    trusted_proxies: Vec<Network>,

    /// Where trusted proxies say in a request whom it is for: in x-forwarded-for, in forwarded (RFC 7239), or in either,
    /// the first if there is one. Name the one they write where they pass on what clients write of the other.
    #[arg(long, value_name = "HEADER", value_enum, default_value_t = ForwardedBy::Either)]
    forwarded_header: ForwardedBy,

    /// An origin whose pages may connect, such as https://example.com or https://*.example.com; null for pages of files and
    /// in sandboxes, * for any. Others get 403. When none is given any page may connect, but the cookies of a visitor count
    /// only for pages of this host. May be given several times.
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    origin: Vec<String>,

    /// A subprotocol that is known beside those of the dialects: of those a client offers, the first known one is
    /// acknowledged, else the first. May be given several times.
    #[arg(long, value_name = "NAME")]
    subprotocol: Vec<String>,

    /// Refuse (400) clients that offer only subprotocols that are not known.
    #[arg(long)]
    subprotocols_strict: bool,

    /// Refuse (404) paths that choose no dialect, but for /.
    #[arg(long)]
    paths_strict: bool,

    /// Do not acknowledge authenticate, join_channel and leave_channel that carry no id.
    #[arg(long)]
    no_acks: bool,

    /// Serve no page at / and no browser library: plain requests get 426, but for messages pushed by POST.
    #[arg(long)]
    no_pages: bool,

    /// Time zone of the [HH:MM] in channel messages: UTC, or a name of the IANA database, such as Europe/Berlin. That of
    /// the system if none is given.
    #[arg(long, value_name = "NAME")]
    zone: Option<Zone>,

    #[command(flatten, next_help_heading = "Log")]
    pub(super) log: LogArguments,

    #[command(flatten, next_help_heading = "TLS")]
    pub(super) tls: TlsArguments,

    #[command(flatten, next_help_heading = "Who somebody is")]
    pub(super) identity: IdentityArguments,

    #[command(flatten, next_help_heading = "Hook")]
    pub(super) hook: HookArguments,

    #[command(flatten, next_help_heading = "Limits")]
    limits: LimitArguments,

    #[command(flatten, next_help_heading = "Action layer")]
    actions: ActionArguments,

    #[command(flatten, next_help_heading = "Timers")]
    timers: TimerArguments,

    #[command(flatten, next_help_heading = "Compression (permessage-deflate)")]
    deflate: DeflateArguments,

    #[command(flatten, next_help_heading = HEADING)]
    pub(super) configuration: ConfigArguments,
}

/// Where all the others come from, too.
#[derive(Args, Debug)]
pub(super) struct ConfigArguments {
    /// A file that says the same as these flags, in TOML; or SOCKEYE_CONFIG in the environment. A variable
    /// SOCKEYE_SECTION__NAME hides what the file says, a flag both. Read again on SIGHUP.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Show every setting as such a file, with who says so, and do not serve.
    #[arg(long)]
    pub(super) print_config: bool,
}

/// What is written to stderr.
#[derive(Args, Debug)]
pub(super) struct LogArguments {
    /// Write a log to stderr: a line a record, as JSON objects (all else that is said too) or as text.
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(super) log: Option<Format>,
    /// The least that a record must matter: error, warn, info or debug. [default: info]
    #[arg(long, value_name = "LEVEL", requires = "log", value_parser = level)]
    log_level: Option<LevelFilter>,
}

impl LogArguments {
    pub(super) fn level(&self) -> LevelFilter {
        self.log_level.unwrap_or(LevelFilter::Info)
    }
}

fn level(name: &str) -> Result<LevelFilter, String> {
    match name {
        "error" => Ok(LevelFilter::Error),
        "warn" => Ok(LevelFilter::Warn),
        "info" => Ok(LevelFilter::Info),
        "debug" => Ok(LevelFilter::Debug),
        _ => Err("give error, warn, info or debug".to_owned()),
    }
}

/// Secrets, and where identities come from.
#[derive(Args, Debug)]
pub(super) struct IdentityArguments {
    /// What follows admin: in the token of the server's admin, and what pushes by POST show as Bearer. Everybody on this
    /// machine can read it in the list of processes: --admin-password-file, or SOCKEYE_ADMIN_PASSWORD in the environment,
    /// is better. With none of them one is made and shown at start.
    #[arg(long, value_name = "PW")]
    pub(super) admin_password: Option<Hidden>,
    /// The same, in a file; one line end at its end is no part of it.
    #[arg(long, value_name = "FILE")]
    pub(super) admin_password_file: Option<PathBuf>,
    /// What the API at --admin wants as Bearer; without one it is off. --admin-token-file, or SOCKEYE_ADMIN_TOKEN in the
    /// environment, is better, for the same reason.
    #[arg(long, value_name = "TOKEN")]
    pub(super) admin_token: Option<Hidden>,
    /// The same, in a file; one line end at its end is no part of it.
    #[arg(long, value_name = "FILE")]
    pub(super) admin_token_file: Option<PathBuf>,
    /// Users and their tokens, in TOML: [[user]] with token, id, name and group. Read again on SIGHUP.
    #[arg(long, value_name = "FILE")]
    pub(super) users: Option<PathBuf>,
    /// Accept signed tokens (JWT) of this algorithm: HS256, EdDSA, RS256 or ES256. The file of its key is read again on
    /// SIGHUP.
    #[arg(long, value_name = "ALG")]
    pub(super) jwt_alg: Option<JwtAlgorithm>,
    /// The secret of HS256, of at least 32 bytes; one line end at its end is no part of it.
    #[arg(long, value_name = "FILE", requires = "jwt_alg")]
    pub(super) jwt_secret_file: Option<PathBuf>,
    /// The public key of EdDSA, RS256 or ES256, in PEM.
    #[arg(long, value_name = "FILE", requires = "jwt_alg")]
    pub(super) jwt_public_key_file: Option<PathBuf>,
    /// Whom signed tokens must be for (aud).
    #[arg(long, value_name = "AUD", requires = "jwt_alg")]
    pub(super) jwt_audience: Option<String>,
    /// The cookie of the handshake that holds a user's token, for pages that may not read it.
    #[arg(long, value_name = "NAME", default_value_t = Settings::default().session_cookie, value_parser = cookie_name)]
    session_cookie: String,
}

/// [`ForwardedHeader`], as a flag says it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum ForwardedBy {
    Either,
    XForwardedFor,
    Forwarded,
}

impl ForwardedBy {
    fn header(self) -> ForwardedHeader {
        match self {
            ForwardedBy::Either => ForwardedHeader::Either,
            ForwardedBy::XForwardedFor => ForwardedHeader::XForwardedFor,
            ForwardedBy::Forwarded => ForwardedHeader::Forwarded,
        }
    }
}

/// As a browser sends it, or else it would never be that of a page. RFC 6454 §6.2
fn origin(text: &str) -> Result<String, String> {
    let is_plain = matches!(text, "*" | "null")
        || text.split_once("://").is_some_and(|(scheme, authority)| {
            let name = authority.strip_prefix("*.").unwrap_or(authority);
            let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
            !scheme.is_empty()
                && scheme.bytes().all(is_scheme)
                && !name.is_empty()
                && !name.contains(['/', '*', '?', '#', '@', ' ', ','])
                && text.is_ascii()
        });
    if is_plain {
        Ok(text.to_owned())
    } else {
        Err("give SCHEME://HOST or SCHEME://HOST:PORT, with nothing behind it, such as https://example.com; \
             https://*.example.com for all names below one; null; or *"
            .to_owned())
    }
}

/// RFC 6265 §4.1.1: a token of HTTP.
fn cookie_name(name: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_allowed) {
        Ok(name.to_owned())
    } else {
        Err("the name of a cookie is of letters, digits and !#$%&'*+-.^_`|~".to_owned())
    }
}

impl Arguments {
    /// For the server.
    pub(super) fn config(&self) -> Config {
        let bound = self.listen.iter().filter_map(|listen| listen.place.address());
        Config {
            listen: bound.chain(self.admin.clone()).collect(),
            admin_listener: self.admin_listener(),
            reuse_port: self.reuse_port,
            origins: self.origins().to_vec(),
            trusted_proxies: self.trusted_proxies.clone(),
            forwarded_header: self.forwarded_header.header(),
            subprotocols: Hub::config("")
                .subprotocols
                .into_iter()
                .chain(self.subprotocol.iter().cloned())
                .collect(),
            subprotocols_strict: self.subprotocols_strict,
            limits: self.limits.limits(&self.timers, &self.actions),
            keepalive: self.timers.keepalive(),
            deflate: self.deflate.deflate(),
            ..Config::default()
        }
    }

    /// For the hub, without the admin's password.
    pub(super) fn settings(&self) -> Settings {
        Settings {
            listeners: self.dialects().collect(),
            paths_strict: self.paths_strict,
            acks: !self.no_acks,
            session_cookie: self.identity.session_cookie.clone(),
            admin_password: None,
            zone: self.zone.clone().unwrap_or_else(Zone::of_the_system).into_hub(),
            pages: self.serves_pages(),
        }
    }

    /// Whether somebody can come to each address that is for proxies.
    pub(super) fn check_proxies(&self) -> Result<(), String> {
        let of_proxies = |place: &Place| match place {
            Place::Bind(address) => address.starts_with("proxy:") && !address.starts_with("proxy:unix:"),
            _ => false,
        };
        match self
            .listen
            .iter()
            .find(|listen| of_proxies(&listen.place))
            .and_then(|listen| listen.place.address())
        {
            Some(address) if self.trusted_proxies.is_empty() => Err(nobody_may_connect(&address)),
            _ => Ok(()),
        }
    }

    /// Whose pages may connect; none: any.
    pub(super) fn origins(&self) -> &[String] {
        &self.origin
    }

    /// What is spoken at each address that is bound; `None`: the first message decides.
    pub(super) fn dialects(&self) -> impl Iterator<Item = Option<Dialect>> {
        let bound = |listen: &&Address| matches!(listen.place, Place::Bind(_));
        self.listen.iter().filter(bound).map(|listen| listen.dialect)
    }

    /// Which listener is for those who look after the server: the last of those that are bound.
    pub(super) fn admin_listener(&self) -> Option<u16> {
        let count = self.dialects().count();
        self.admin.as_ref().and_then(|_| u16::try_from(count).ok())
    }

    /// What is answered on the others, too.
    pub(super) fn public(&self) -> Public {
        Public { health: self.public_health, metrics: self.public_metrics }
    }

    /// The sockets that were passed and are asked for, and what is spoken at each.
    pub(super) fn passed(&self) -> Result<Vec<(ListeningSocket, Option<Dialect>)>, String> {
        let mut wanted: Vec<_> =
            self.listen.iter().filter_map(|listen| Some((listen.passed()?, listen.dialect))).collect();
        // Those with a name first: `systemd` is the rest.
        wanted.sort_by_key(|((name, _), _)| name.is_none());
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut passed = Passed::from_environment();
        let mut sockets = Vec::new();
        for ((name, wrapping), dialect) in wanted {
            sockets.extend(passed.take(name, wrapping)?.into_iter().map(|socket| (socket, dialect)));
        }
        let of_proxies = |socket: &ListeningSocket| match socket {
            ListeningSocket::Proxied(inner) => !matches!(**inner, ListeningSocket::Unix(_)),
            _ => false,
        };
        if self.trusted_proxies.is_empty() && sockets.iter().any(|(socket, _)| of_proxies(socket)) {
            return Err(nobody_may_connect("a socket that was passed, with proxy:"));
        }
        Ok(sockets)
    }

    /// Where TLS is to be spoken, as far as it is given here.
    pub(super) fn listens_for_tls(&self) -> Vec<String> {
        let under_tls = self.listen.iter().filter_map(|listen| match &listen.place {
            Place::Bind(address) => {
                let inner = address.strip_prefix("proxy:").unwrap_or(address);
                inner.starts_with("tls:").then(|| address.clone())
            }
            Place::Passed { name, wrapping } => {
                let place = name.as_ref().map_or_else(|| "systemd".to_owned(), |name| format!("fd:{name}"));
                wrapping.under_tls.then(|| format!("tls:{place}"))
            }
        });
        under_tls.chain(self.admin.clone().filter(|admin| admin.starts_with("tls:"))).collect()
    }

    pub(super) fn serves_pages(&self) -> bool {
        !self.no_pages
    }
}

/// Why an address that is for proxies is of no use.
fn nobody_may_connect(address: &str) -> String {
    format!(
        "--listen {address}: give --trusted-proxies too, the networks that the proxies come from, or nobody may connect"
    )
}

/// As it stands in `Config::listen`: no socket that was passed, no dialect.
fn admin_address(text: &str) -> Result<String, String> {
    match text.parse::<Listen>() {
        Ok(Listen::Proxied(_)) => {
            Err("administration is for no proxy: give the address without proxy:".to_owned())
        }
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// An address to listen on, and the dialect spoken there.
#[derive(Clone, Debug)]
struct Address {
    place: Place,
    dialect: Option<Dialect>,
}

#[derive(Clone, Debug)]
enum Place {
    /// An address to be bound.
    Bind(String),
    /// Sockets that were passed: those of this name, or all others; and what comes there in front of HTTP.
    Passed { name: Option<String>, wrapping: Wrapping },
}

impl Place {
    fn address(&self) -> Option<String> {
        match self {
            Place::Bind(address) => Some(address.clone()),
            Place::Passed { .. } => None,
        }
    }
}

impl Address {
    /// The name of the sockets that are to be passed, if it has one, and what comes there in front of HTTP.
    fn passed(&self) -> Option<(Option<&str>, Wrapping)> {
        match &self.place {
            Place::Passed { name, wrapping } => Some((name.as_deref(), *wrapping)),
            Place::Bind(_) => None,
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let (address, dialect) = text.rsplit_once('=').unwrap_or((text, "auto"));
        let dialect = match dialect {
            "auto" => None,
            name => Some(name.parse().map_err(|error| format!("'{name}' is no dialect: {error}"))?),
        };
        let without =
            |text, prefix| str::strip_prefix(text, prefix).map_or((false, text), |rest| (true, rest));
        let (of_proxies, passed) = without(address, "proxy:");
        let (under_tls, passed) = without(passed, "tls:");
        let wrapping = Wrapping { of_proxies, under_tls };
        let place = match passed.strip_prefix("fd:") {
            Some("") => return Err("fd: is followed by a name".to_owned()),
            Some(name) => Place::Passed { name: Some(name.to_owned()), wrapping },
            None if passed == "systemd" => Place::Passed { name: None, wrapping },
            None => {
                address.parse::<Listen>().map_err(|error| error.to_string())?;
                Place::Bind(address.to_owned())
            }
        };
        Ok(Address { place, dialect })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::serve::layers::{Inputs, read};
    use sockeye::{Deflate, Keepalive, Limits};

    fn defaults() -> Arguments {
        let inputs = Inputs { arguments: Vec::new(), environment: Vec::new() };
        read(&inputs).ok().expect("nothing is wrong with nothing").0
    }

    #[test]
    fn what_is_served_by_default_are_the_defaults_of_the_library() {
        let arguments = defaults();
        let config = arguments.config();
        assert_eq!((config.limits, config.keepalive), (Limits::default(), Keepalive::default()));
        assert_eq!(config.deflate, Deflate::default());
        assert_eq!(config.listen, [DEFAULT_LISTEN]);
        let (settings, defaults) = (arguments.settings(), Settings::default());
        assert_eq!(settings.listeners, [None]);
        assert_eq!(
            (settings.paths_strict, settings.acks, settings.pages, settings.session_cookie),
            (defaults.paths_strict, defaults.acks, defaults.pages, defaults.session_cookie)
        );
    }

    #[test]
    fn an_address_may_name_its_dialect() {
        for dialect in Dialect::all() {
            let address: Address = format!("[::1]:80={dialect}").parse().unwrap();
            assert_eq!(
                (address.place.address().as_deref(), address.dialect),
                (Some("[::1]:80"), Some(dialect))
            );
        }
        for text in ["unix:/run/s.sock", "unix:/run/s.sock=auto"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(
                (address.place.address().as_deref(), address.dialect),
                (Some("unix:/run/s.sock"), None)
            );
        }
    }

    #[test]
    fn the_name_of_a_cookie_is_a_token() {
        assert!(cookie_name("armor_sid_user").is_ok());
        for name in ["", "a b", "a=b", "a;b", "é"] {
            assert!(cookie_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_password_is_in_no_debug_output() {
        let mut arguments = defaults();
        arguments.identity.admin_password = "open sesame".parse().ok();
        assert!(!format!("{arguments:?}").contains("sesame"));
    }
}
