//! `sockeye serve`: a server that echoes, with every limit as a flag, until a signal ends it.

use super::{CANNOT_BIND, FAILED, OK, USAGE, bytes, bytes_u32};
use clap::Args;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use sockeye::{
    ActionLimits, Config, Deflate, Error, Keepalive, Limits, Listen, Remote, Server,
    dialect::Dialect,
    hub::{Hub, Settings},
};
use std::{io::Write, process, str::FromStr, thread};

/// Where it listens when nothing else is said.
const DEFAULT_LISTEN: &str = "127.0.0.1:4863";

#[derive(Args, Debug)]
#[command(after_help = "Sizes are in bytes and may end in KiB, MiB or GiB; times are in milliseconds.\n\
                        SIGINT or SIGTERM: stop accepting, close every connection with 1001, exit 0 when all have \
                        answered or 5 s have passed; a second signal exits at once.")]
pub(super) struct Arguments {
    /// Where to listen: HOST:PORT, [IPV6]:PORT or unix:PATH, and after = the dialect spoken there (echo). Port 0 asks
    /// for a free one. May be given several times.
    #[arg(long, value_name = "ADDR[=DIALECT]", default_value = DEFAULT_LISTEN)]
    listen: Vec<Address>,

    /// An origin whose pages may connect, such as https://example.com; any may when none is given. Others get 403.
    /// May be given several times.
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,

    /// A subprotocol that is known: of those a client offers, the first known one is acknowledged, else the first. May
    /// be given several times.
    #[arg(long, value_name = "NAME")]
    subprotocol: Vec<String>,

    /// Refuse (400) clients that offer only subprotocols that are not known.
    #[arg(long)]
    subprotocols_strict: bool,

    #[command(flatten, next_help_heading = "Limits")]
    limits: LimitArguments,

    #[command(flatten, next_help_heading = "Timers")]
    timers: TimerArguments,

    #[command(flatten, next_help_heading = "Compression (permessage-deflate)")]
    deflate: DeflateArguments,
}

/// [`Deflate`], as flags.
#[derive(Args, Debug)]
struct DeflateArguments {
    /// Do not agree to compression.
    #[arg(long)]
    no_deflate: bool,
    /// How hard to look for repetitions, 1 to 9.
    #[arg(long, value_name = "N", default_value_t = Deflate::default().level)]
    deflate_level: u8,
    /// Messages shorter than this are sent as they are.
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = bytes_u32)]
    deflate_threshold_bytes: u32,
    /// Largest window to compress with, as its base-2 logarithm, 9 to 15.
    #[arg(long, value_name = "BITS", default_value_t = Deflate::default().window_bits_max)]
    deflate_window_bits_max: u8,
    /// Largest window that clients are asked to compress with, 8 to 15.
    #[arg(long, value_name = "BITS", default_value_t = Deflate::default().peer_window_bits_max)]
    deflate_peer_window_bits_max: u8,
}

/// [`Limits`] but for those in milliseconds, as flags of the same names.
#[derive(Args, Debug)]
struct LimitArguments {
    /// Largest message accepted. Past it: 1009, as soon as a header announces it.
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = bytes_u32)]
    message_bytes_max: u32,
    /// Most fragments of one message, empty ones included. Past it: 1008.
    #[arg(long, value_name = "N", default_value_t = Limits::default().fragments_max)]
    fragments_max: u32,
    /// Largest request head. Past it: 431.
    #[arg(long, value_name = "BYTES", default_value = "16KiB", value_parser = bytes_u32)]
    head_bytes_max: u32,
    /// Most header lines in a request. Past it: 431.
    #[arg(long, value_name = "N", default_value_t = Limits::default().headers_max)]
    headers_max: u32,
    /// Most bytes read from one connection before the next one's turn.
    #[arg(long, value_name = "BYTES", default_value = "256KiB", value_parser = bytes_u32)]
    read_bytes_max: u32,
    /// Bytes waiting for a peer above which it is not read.
    #[arg(long, value_name = "BYTES", default_value = "256KiB", value_parser = bytes_u32)]
    outbox_bytes_soft: u32,
    /// Bytes waiting for a peer at which nothing more is queued and it is closed with 1013.
    #[arg(long, value_name = "BYTES", default_value = "1MiB", value_parser = bytes_u32)]
    outbox_bytes_max: u32,
    /// Room above outbox-bytes-max for control frames only.
    #[arg(long, value_name = "BYTES", default_value = "4KiB", value_parser = bytes_u32)]
    control_bytes_reserve: u32,
    /// Most connections at a time; 0: the limit on descriptors less 64. Past it: 503.
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections_max)]
    connections_max: u32,
    /// Most connections from one address at a time; 0: any number. Past it: 503.
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections_per_address_max)]
    connections_per_address_max: u32,
    /// Budget for all partial messages and outboxes; 0: a quarter of memory. Past it whoever holds most gets 1013.
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = bytes)]
    buffered_bytes_max: u64,
    /// Free buffers kept for reuse, beside as many again as are in use.
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = bytes_u32)]
    pool_bytes_max: u32,
    /// Budget for compression contexts of connections' own; 0: none has any. Past it new connections share the loop's.
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = bytes)]
    deflate_context_bytes_max: u64,
    /// Commands of other threads that may wait.
    #[arg(long, value_name = "N", default_value_t = Limits::default().remote_commands_max)]
    remote_commands_max: u32,
}

/// Everything in milliseconds: of [`Limits`] and [`Keepalive`].
#[derive(Args, Debug)]
struct TimerArguments {
    /// Silence after which a peer is sent a Ping, up to a tenth later; 0: never.
    #[arg(long, value_name = "MS", default_value_t = Keepalive::default().ping_after_ms)]
    ping_after_ms: u32,
    /// Further silence after which it is given up.
    #[arg(long, value_name = "MS", default_value_t = Keepalive::default().pong_within_ms)]
    pong_within_ms: u32,
    /// Longest opening handshake. Past it: 408.
    #[arg(long, value_name = "MS", default_value_t = Limits::default().handshake_ms_max)]
    handshake_ms_max: u32,
    /// Longest time an unfinished message may bring no byte; 0: any. Past it: 1008.
    #[arg(long, value_name = "MS", default_value_t = Limits::default().message_idle_ms_max)]
    message_idle_ms_max: u32,
    /// Longest time above outbox-bytes-soft without the peer taking a byte; 0: any. Past it: 1013.
    #[arg(long, value_name = "MS", default_value_t = Limits::default().outbox_stall_ms_max)]
    outbox_stall_ms_max: u32,
    /// Longest closing handshake. Past it TCP is dropped.
    #[arg(long, value_name = "MS", default_value_t = Limits::default().closing_ms_max)]
    closing_ms_max: u32,
    /// Longest wait for the peer to end TCP after we have.
    #[arg(long, value_name = "MS", default_value_t = Limits::default().linger_ms_max)]
    linger_ms_max: u32,
}

impl Default for Arguments {
    fn default() -> Arguments {
        use clap::{FromArgMatches as _, Subcommand as _};
        let command = super::Tool::augment_subcommands(clap::Command::new("sockeye"));
        let matches = command.get_matches_from(["sockeye", "serve"]);
        match super::Tool::from_arg_matches(&matches) {
            Ok(super::Tool::Serve(arguments)) => *arguments,
            Ok(other) => unreachable!("it was asked to serve, not {other:?}"),
            Err(error) => error.exit(),
        }
    }
}

/// Serves until a signal ends it; the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let config = arguments.config();
    let settings = Settings {
        listeners: arguments.listen.iter().map(|address| address.dialect).collect(),
        ..Settings::default()
    };
    let hub = Hub::new(&config, settings);
    let mut server = match Server::bind(config, hub) {
        Ok(server) => server,
        Err(error) => {
            say(format_args!("sockeye: {error}"));
            return match error {
                Error::Bind { .. } => CANNOT_BIND,
                Error::Loop(_) => FAILED,
                _ => USAGE,
            };
        }
    };
    if let Err(error) = stop_on_signal(server.remote()) {
        say(format_args!("sockeye: cannot listen to signals: {error}"));
        return FAILED;
    }
    for address in server.addresses() {
        let url = address.ip().map(|ip| format!(", ws://{ip}/")).unwrap_or_default();
        say(format_args!("sockeye: listening on {address} for echo on every path{url}"));
    }
    say(format_args!(
        "sockeye: at most {} connections (the limit on descriptors is {}); stop with Ctrl-C",
        server.connections_max(),
        server.descriptors_max()
    ));
    match server.run() {
        Ok(()) => OK,
        Err(error) => {
            say(format_args!("sockeye: {error}"));
            FAILED
        }
    }
}

/// The first signal stops the server in order, the second one at once.
fn stop_on_signal(remote: Remote) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for (count, _) in signals.forever().enumerate() {
            if count > 0 {
                process::exit(i32::from(FAILED));
            }
            say(format_args!("sockeye: stopping; once more to exit at once"));
            remote.shutdown();
        }
    })?;
    Ok(())
}

/// A line on stderr. That nobody reads it is no reason to stop.
pub(super) fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

impl Arguments {
    fn config(&self) -> Config {
        let (limits, timers) = (&self.limits, &self.timers);
        Config {
            listen: self.listen.iter().map(|address| address.address.clone()).collect(),
            origins: self.origin.clone(),
            subprotocols: Hub::config("")
                .subprotocols
                .into_iter()
                .chain(self.subprotocol.iter().cloned())
                .collect(),
            subprotocols_strict: self.subprotocols_strict,
            limits: Limits {
                message_bytes_max: limits.message_bytes_max,
                fragments_max: limits.fragments_max,
                message_idle_ms_max: timers.message_idle_ms_max,
                head_bytes_max: limits.head_bytes_max,
                headers_max: limits.headers_max,
                handshake_ms_max: timers.handshake_ms_max,
                closing_ms_max: timers.closing_ms_max,
                linger_ms_max: timers.linger_ms_max,
                read_bytes_max: limits.read_bytes_max,
                outbox_bytes_soft: limits.outbox_bytes_soft,
                outbox_bytes_max: limits.outbox_bytes_max,
                outbox_stall_ms_max: timers.outbox_stall_ms_max,
                control_bytes_reserve: limits.control_bytes_reserve,
                connections_max: limits.connections_max,
                connections_per_address_max: limits.connections_per_address_max,
                buffered_bytes_max: limits.buffered_bytes_max,
                pool_bytes_max: limits.pool_bytes_max,
                deflate_context_bytes_max: limits.deflate_context_bytes_max,
                remote_commands_max: limits.remote_commands_max,
                actions: ActionLimits::default(),
            },
            keepalive: Keepalive {
                ping_after_ms: timers.ping_after_ms,
                pong_within_ms: timers.pong_within_ms,
            },
            deflate: Deflate {
                enabled: !self.deflate.no_deflate,
                level: self.deflate.deflate_level,
                threshold_bytes: self.deflate.deflate_threshold_bytes,
                window_bits_max: self.deflate.deflate_window_bits_max,
                peer_window_bits_max: self.deflate.deflate_peer_window_bits_max,
            },
            ..Hub::config(DEFAULT_LISTEN)
        }
    }
}

/// An address to listen on, and the dialect spoken there.
#[derive(Clone, Debug)]
struct Address {
    address: String,
    dialect: Option<Dialect>,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let (address, dialect) = text.rsplit_once('=').unwrap_or((text, "auto"));
        let dialect = match dialect {
            "auto" => None,
            name => Some(name.parse().map_err(|error| format!("'{name}' is no dialect: {error}"))?),
        };
        address.parse::<Listen>().map_err(|error| error.to_string())?;
        Ok(Address { address: address.to_owned(), dialect })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_by_default_are_the_defaults_of_the_library() {
        let config = Arguments::default().config();
        assert_eq!((config.limits, config.keepalive), (Limits::default(), Keepalive::default()));
        assert_eq!(config.deflate, Deflate::default());
        assert_eq!(config.listen, [DEFAULT_LISTEN]);
    }
}
