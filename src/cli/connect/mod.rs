//! `sockeye connect`: one connection by hand or in a pipe. Lines go out as messages, messages come in as lines.

mod input;
mod screen;
mod session;

use self::{input::Framing, session::Session};
use super::{FAILED, USAGE, bytes_u32, text::escaped, trust::TrustArguments};
use clap::Args;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::{Handle, Signals},
};
use sockeye::{
    CloseCode, Config, Deflate, Limits, Remote, Server, client,
    wire::{close::REASON_BYTES_MAX, http},
};
use std::{
    io::{self, Write as _},
    process,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// The server closed with a code that says more than that it is done.
const OTHER_CODE: u8 = 3;
/// The connection was lost: `EX_IOERR` of sysexits.
const LOST: u8 = 74;
/// The server broke the protocol or a limit: `EX_PROTOCOL`.
const PROTOCOL: u8 = 76;
/// Ctrl-C before the closing handshake was over: 128 and SIGINT.
const INTERRUPTED: u8 = 130;

const AFTER_HELP: &str = "\
Where stdin and stdout are a terminal, lines are edited and kept in a history (arrows, Ctrl-R); Enter sends one, Ctrl-D \
closes. Anything a terminal would obey is shown escaped, binary messages as a dump.

In a pipe each line of stdin is one text message (--framing says otherwise). Text messages are written to stdout with a \
line end after each, binary ones as they are; all else goes to stderr. When stdin ends, replies are waited for: until the server has read all \
that was sent (a Ping behind it asks; at most 20 s without a sign), and then --wait seconds in which nothing comes. Give \
more to a server that replies later than it reads, `forever` to listen until it closes.

With --json stdout has one object a line: {\"event\":\"open\",url,protocol,extensions}, \
{\"event\":\"message\",\"type\":\"text\"|\"binary\",data} (binary in base64), {\"event\":\"pong\",ms}, \
{\"event\":\"error\",message}, {\"event\":\"close\",reason,code,wasClean}.

Ctrl-C or SIGTERM closes with 1001; a second one ends at once.

Exit codes: 0 closed with 1000, 1001 or 1005, or nobody reads stdout any more; 1 stdin cannot be read or sent, or stdout \
written; 2 arguments make no sense; 3 closed with another code; 69 cannot connect, or the server refused; 74 the connection \
was lost (1006); 76 the server broke the protocol or a limit; 130 ended by a second Ctrl-C.";

#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Where to: ws://HOST[:PORT][/PATH][?QUERY], or wss:// for TLS.
    #[arg(value_name = "URL")]
    url: String,

    /// A subprotocol to offer. May be given several times, in order of preference.
    #[arg(short, long, value_name = "NAME")]
    subprotocol: Vec<String>,

    /// A header line for the request, such as 'Authorization: Bearer ...'. May be given several times.
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    header: Vec<Header>,

    /// The Origin to name, as a browser would for its page.
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,

    /// Send binary messages: in a pipe all of stdin as one, unless --framing says otherwise.
    #[arg(short, long)]
    binary: bool,

    /// How a pipe becomes messages: `lines` (as text by default), `whole` for all of it (as binary by default), or a
    /// number of bytes for messages of that size, with --binary.
    #[arg(long, value_name = "lines|whole|BYTES")]
    framing: Option<Framing>,

    /// Seconds without a message after which the connection is closed, once stdin has ended and the server has read all
    /// that was sent; `forever` leaves it to the server.
    #[arg(short, long, value_name = "SECONDS", default_value = "1")]
    wait: Wait,

    /// Write one JSON object for each event.
    #[arg(long)]
    json: bool,

    /// Send a Ping every SECONDS (10 when none are given), and show how long each Pong took.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "10")]
    ping: Option<Seconds>,

    /// The code to close with: 1000 to 1014 but for those that must not be sent, or 3000 to 4999. [default: 1000, and
    /// 1001 for Ctrl-C]
    #[arg(long, value_name = "CODE")]
    close: Option<Code>,

    /// The reason to close with, at most 123 bytes.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = reason)]
    reason: String,

    /// Largest message accepted. Past it the connection is failed with 1009.
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = bytes_u32)]
    message_bytes_max: u32,

    /// Offer no compression.
    #[arg(long)]
    no_deflate: bool,

    /// Show the heads of request and response on stderr.
    #[arg(short, long)]
    verbose: bool,

    #[command(flatten, next_help_heading = "TLS")]
    trust: TrustArguments,
}

/// Connects, and stays until it is over; the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    match try_run(arguments) {
        Ok(code) => code,
        Err((code, why)) => {
            let _ = writeln!(io::stderr(), "sockeye: {}", escaped(&why));
            code
        }
    }
}

fn try_run(arguments: &Arguments) -> Result<u8, (u8, String)> {
    let failed = |error: &dyn std::error::Error| (FAILED, error.to_string());
    if matches!(arguments.framing(), Framing::Bytes(_)) && !arguments.binary {
        return Err((USAGE, "--framing BYTES would cut characters: give --binary too".to_owned()));
    }
    let protocols: Vec<_> = arguments.subprotocol.iter().map(String::as_str).collect();
    let headers: Vec<_> = arguments.headers().collect();
    let dial = client::dial_with(&arguments.url, &protocols, &headers)
        .map_err(|error| (USAGE, error.to_string()))?;

    let trusted = arguments.trust.client().map_err(|error| (USAGE, error))?;

    let interrupted = Arc::new(AtomicBool::new(false));
    let session = Session::new(arguments, Arc::clone(&interrupted));
    let mut server = Server::unbound(arguments.config(), session).map_err(|error| failed(&error))?;
    if let Some(trusted) = trusted {
        server.dial_tls_as(trusted);
    }
    let remote = server.remote();
    let signals = hear_signals(interrupted, remote.clone()).map_err(|error| failed(&error))?;
    server.handler_mut().attach(remote, signals);
    server.act(|_, cx| cx.dial(dial));
    let code = loop {
        let timeout = server.act(Session::work);
        match server.handler().exit_code() {
            // Our Close is on its way, and a reset might overtake it: the server ends TCP first. RFC 6455 §7.1.1
            Some(code) if code == INTERRUPTED || server.connections() == 0 => break code,
            _ => server.turn(timeout).map_err(|error| failed(&error))?,
        };
    };
    server.handler_mut().leave();
    Ok(code)
}

/// The first signal closes the connection, the second one ends the process, even if its loop is stuck in a write.
fn hear_signals(interrupted: Arc<AtomicBool>, remote: Remote) -> io::Result<Handle> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let handle = signals.handle();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for (count, _) in signals.forever().enumerate() {
            interrupted.store(true, Ordering::Release);
            remote.wake();
            if count > 0 {
                // Given the chance, the loop ends it itself, and leaves the terminal as it was.
                thread::park_timeout(INTERRUPT_PATIENCE);
                process::exit(i32::from(INTERRUPTED));
            }
        }
    })?;
    Ok(handle)
}

impl Arguments {
    fn config(&self) -> Config {
        Config {
            limits: Limits {
                message_bytes_max: self.message_bytes_max,
                // A server that takes its time is no reason to end: what comes in waits.
                outbox_stall_ms_max: 0,
                linger_ms_max: LINGER_MS_MAX,
                ..Limits::default()
            },
            deflate: Deflate { enabled: !self.no_deflate, ..Deflate::default() },
            ..Config::default()
        }
    }

    fn framing(&self) -> Framing {
        self.framing.unwrap_or(if self.binary { Framing::Whole } else { Framing::Lines })
    }

    /// Header lines of the request beside those of the handshake.
    fn headers(&self) -> impl Iterator<Item = (String, String)> {
        let origin = self.origin.iter().map(|origin| ("Origin".to_owned(), origin.clone()));
        origin.chain(self.header.iter().map(|header| (header.0.clone(), header.1.clone())))
    }
}

/// Longest time the loop may take to end by a second signal.
const INTERRUPT_PATIENCE: Duration = Duration::from_millis(300);
/// Longest wait for the server to end TCP when the closing handshake is over.
const LINGER_MS_MAX: u32 = 1_000;

/// A header line, `Name: value`.
#[derive(Clone, Debug)]
struct Header(String, String);

impl FromStr for Header {
    type Err = String;

    fn from_str(line: &str) -> Result<Header, String> {
        match line.split_once(':') {
            Some((name, _)) if HANDSHAKE.iter().any(|own| name.eq_ignore_ascii_case(own)) => {
                Err(format!("{name} is what the handshake itself says: --subprotocol and the URL set it"))
            }
            Some((name, value)) if http::is_token(name) && http::is_field_value(value.trim()) => {
                Ok(Header(name.to_owned(), value.trim().to_owned()))
            }
            _ => Err(format!("{line:?} is no header line: give 'Name: value'")),
        }
    }
}

/// Lines that are not for `--header` to give.
const HANDSHAKE: [&str; 7] = [
    "Host",
    "Upgrade",
    "Connection",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
];

/// A time that may be a fraction of a second, and is not nothing.
#[derive(Clone, Copy, Debug)]
struct Seconds(Duration);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seconds, String> {
        let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        match seconds.filter(|seconds| *seconds >= SECONDS_MIN && *seconds <= SECONDS_MAX) {
            Some(seconds) => Ok(Seconds(seconds)),
            None => Err(format!("'{text}' is no time: give seconds from 0.001 to 86400, such as 1 or 0.5")),
        }
    }
}

const SECONDS_MIN: Duration = Duration::from_millis(1);
const SECONDS_MAX: Duration = Duration::from_secs(86_400);

/// How long to wait for more; `None`: for ever.
#[derive(Clone, Copy, Debug)]
struct Wait(Option<Duration>);

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Wait, String> {
        match text {
            "forever" => Ok(Wait(None)),
            "0" => Ok(Wait(Some(Duration::ZERO))),
            _ => text.parse().map(|seconds: Seconds| Wait(Some(seconds.0))),
        }
    }
}

/// A code that may stand in a Close.
#[derive(Clone, Copy, Debug)]
struct Code(CloseCode);

impl FromStr for Code {
    type Err = String;

    fn from_str(text: &str) -> Result<Code, String> {
        let code = text.parse().map(CloseCode::new).ok().filter(|code| code.is_sendable());
        code.map(Code).ok_or_else(|| {
            format!("'{text}' is no code for a Close: 1000 to 1003, 1007 to 1014, or 3000 to 4999")
        })
    }
}

fn reason(text: &str) -> Result<String, String> {
    match text.len() {
        0..=REASON_BYTES_MAX => Ok(text.to_owned()),
        len => Err(format!("{len} bytes are too many for a Close: at most {REASON_BYTES_MAX}")),
    }
}
