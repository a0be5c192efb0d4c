//! `sockeye health`: asks a running server how it is, and says so by the exit code. One request over plain HTTP, with nothing
//! else than this program, so that it works in an image that has no shell.

use super::{FAILED, USAGE, manual::put_out, serve::say, text::escaped};
use clap::Args;
use serde_json::Value;
use sockeye::Listen;
use std::{
    env, fmt,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{Duration, Instant},
};

/// `sockeye health`.
#[derive(Args, Debug)]
#[command(
    after_help = "Without URL and --admin it asks where SOCKEYE_SERVER__ADMIN in the environment says, as the server \
                        reads it, and else 127.0.0.1:4864.\n\n\
                        Exit codes: 0 it is well, 1 it is not or cannot be asked, 2 arguments make no sense."
)]
pub(super) struct Arguments {
    /// Where to ask: http://HOST:PORT, with a path if it is not to be /healthz or /readyz.
    #[arg(value_name = "URL", conflicts_with_all = ["admin", "ready"])]
    url: Option<String>,
    /// The address of the server's --admin: HOST:PORT, [IPV6]:PORT or unix:PATH.
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Ask whether new connections should be sent there (/readyz), and not only whether it lives (/healthz).
    #[arg(long)]
    ready: bool,
    /// How long the answer may take, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..))]
    timeout_ms: u32,
}

/// Where it asks when nothing else is said.
const DEFAULT_ADMIN: &str = "127.0.0.1:4864";
/// What the server itself reads.
const ADMIN_VARIABLE: &str = "SOCKEYE_SERVER__ADMIN";
/// Bytes of an answer, at most.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Asks; the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let target = match Target::of(arguments) {
        Ok(target) => target,
        Err(fault) => {
            say(format_args!("sockeye: {fault}"));
            return USAGE;
        }
    };
    let deadline = Instant::now() + Duration::from_millis(arguments.timeout_ms.into());
    match target.ask(deadline).map_err(|error| error.to_string()).and_then(|answer| judge(&answer)) {
        Ok(word) => put_out(format!("sockeye: {target}: {word}\n").as_bytes()),
        Err(why) => {
            say(format_args!("sockeye: {target}: {}", escaped(&why)));
            FAILED
        }
    }
}

/// What is asked, and where.
#[derive(Debug, Eq, PartialEq)]
struct Target {
    place: Place,
    path: String,
}

#[derive(Debug, Eq, PartialEq)]
enum Place {
    /// Host and port, as in a URL.
    Tcp(String),
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(host) => write!(f, "http://{host}{}", self.path),
            Place::Unix(path) => write!(f, "unix:{}, {}", path.display(), self.path),
        }
    }
}

impl Target {
    fn of(arguments: &Arguments) -> Result<Target, String> {
        let path = if arguments.ready { "/readyz" } else { "/healthz" };
        match (&arguments.url, &arguments.admin) {
            (Some(url), _) => Target::of_url(url),
            (None, Some(address)) => Target::of_address("--admin", address, path),
            (None, None) => match env::var(ADMIN_VARIABLE) {
                Ok(address) => Target::of_address(ADMIN_VARIABLE, &address, path),
                Err(_) => Target::of_address("", DEFAULT_ADMIN, path),
            },
        }
    }

    /// An address as `serve` takes it.
    fn of_address(source: &str, address: &str, path: &str) -> Result<Target, String> {
        let place = match address.parse::<Listen>() {
            Ok(Listen::Ip(ip)) => Place::Tcp(ip.to_string()),
            Ok(Listen::Name(name)) => Place::Tcp(name),
            Ok(Listen::Unix(path)) => Place::Unix(path),
            Ok(_) => return Err(format!("{source} {}: {NO_TLS}", escaped(address))),
            Err(error) => return Err(format!("{source} {error}")),
        };
        Ok(Target { place, path: path.to_owned() })
    }

    fn of_url(text: &str) -> Result<Target, String> {
        let wrong = |why: &str| format!("URL {}: {why}", escaped(text));
        let url = url::Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        let host = match (url.scheme(), url.host_str()) {
            ("http", Some(host)) => format!("{host}:{}", url.port_or_known_default().unwrap_or(80)),
            ("https", _) => return Err(wrong(NO_TLS)),
            _ => return Err(wrong("give http://HOST:PORT, or --admin ADDR")),
        };
        let path = match (url.path(), url.query()) {
            ("/", None) => "/healthz".to_owned(),
            (path, None) => path.to_owned(),
            (path, Some(query)) => format!("{path}?{query}"),
        };
        Ok(Target { place: Place::Tcp(host), path })
    }

    /// The whole answer.
    fn ask(&self, deadline: Instant) -> io::Result<Vec<u8>> {
        match &self.place {
            Place::Tcp(host) => {
                let stream = connect(host, deadline)?;
                self.exchange(host, &stream, deadline, |left| {
                    stream.set_write_timeout(Some(left)).and_then(|()| stream.set_read_timeout(Some(left)))
                })
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path)
                    .map_err(|error| io::Error::new(error.kind(), format!("cannot connect: {error}")))?;
                self.exchange("localhost", &stream, deadline, |left| {
                    stream.set_write_timeout(Some(left)).and_then(|()| stream.set_read_timeout(Some(left)))
                })
            }
        }
    }

    fn exchange(
        &self,
        host: &str,
        mut stream: impl Read + Write,
        deadline: Instant,
        set_timeout: impl Fn(Duration) -> io::Result<()>,
    ) -> io::Result<Vec<u8>> {
        let mut answer = Vec::new();
        set_timeout(left(deadline)?)?;
        let head = format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: sockeye-health\r\nAccept: application/json\r\n\
             Connection: close\r\n\r\n",
            self.path
        );
        stream.write_all(head.as_bytes()).map_err(late)?;
        let mut part = [0; 4 << 10];
        while answer.len() < ANSWER_BYTES_MAX {
            set_timeout(left(deadline)?)?;
            match stream.read(&mut part) {
                Ok(0) => break,
                Ok(len) => answer.extend_from_slice(&part[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(late(error)),
            }
        }
        Ok(answer)
    }
}

const NO_TLS: &str = "this asks without TLS: give an address for administration that is spoken to without";

/// Connects to the first address of a host that takes it.
fn connect(host: &str, deadline: Instant) -> io::Result<TcpStream> {
    let unreachable =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot connect: {}", late(error)));
    let addresses: Vec<SocketAddr> = host.to_socket_addrs().map_err(unreachable)?.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

/// What is left of the time.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(late(io::ErrorKind::TimedOut.into())) } else { Ok(left) }
}

/// In words that name the flag.
fn late(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            io::Error::new(io::ErrorKind::TimedOut, "no answer in time (--timeout-ms)")
        }
        _ => error,
    }
}

/// What an answer says, which is good news only with 200.
fn judge(answer: &[u8]) -> Result<String, String> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("it answers, but not in HTTP")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let line = head.lines().next().unwrap_or_default();
    let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
    let status: u16 = status
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| "it answers, but not in HTTP".to_owned())?;
    let body: Value = serde_json::from_slice(&answer[end + 4..]).unwrap_or_default();
    let word = body["status"].as_str().map(escaped);
    if status == 200 {
        return Ok(word.unwrap_or_else(|| "200".to_owned()));
    }
    let reasons = body["reasons"].as_array().into_iter().flatten();
    let mut said: Vec<_> = reasons.filter_map(|reason| reason["message"].as_str()).collect();
    said.extend(body["error"]["message"].as_str());
    let word = word.map(|word| format!(" {word}")).unwrap_or_default();
    let said = said.join("; ");
    let colon = if said.is_empty() { "" } else { ": " };
    Err(format!("{status}{word}{colon}{said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_address_of_the_server_or_a_url() {
        let of = |address| Target::of_address("--admin", address, "/readyz").map(|target| target.to_string());
        assert_eq!(of("127.0.0.1:4864").as_deref(), Ok("http://127.0.0.1:4864/readyz"));
        assert_eq!(of("[::1]:80").as_deref(), Ok("http://[::1]:80/readyz"));
        assert_eq!(of("unix:/run/admin").as_deref(), Ok("unix:/run/admin, /readyz"));
        assert!(of("tls:127.0.0.1:4864").is_err_and(|why| why.contains("TLS")) && of("nowhere").is_err());
        let of = |url| Target::of_url(url).map(|target| target.to_string());
        for (url, target) in [
            ("http://localhost:4864", "http://localhost:4864/healthz"),
            ("http://[::1]/", "http://[::1]:80/healthz"),
            ("http://a:1/readyz", "http://a:1/readyz"),
            ("http://a:1/up?b", "http://a:1/up?b"),
        ] {
            assert_eq!(of(url).as_deref(), Ok(target), "{url}");
        }
        for url in ["https://a", "ws://a", "a", "unix:/a", ""] {
            assert!(of(url).is_err(), "{url}");
        }
    }

    #[test]
    fn only_200_is_good_news_and_the_reasons_are_told() {
        assert_eq!(judge(b"HTTP/1.1 200 OK\r\n\r\n{\"status\":\"ok\"}").as_deref(), Ok("ok"));
        assert_eq!(judge(b"HTTP/1.1 200 OK\r\n\r\nanything").as_deref(), Ok("200"));
        let body = r#"{"status":"not ready","reasons":[{"code":"a","message":"it drains"},{"code":"b","message":"full"}]}"#;
        let answer = format!("HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\n{body}");
        assert_eq!(judge(answer.as_bytes()), Err("503 not ready: it drains; full".to_owned()));
        assert_eq!(judge(b"HTTP/1.1 404 Not Found\r\n\r\n"), Err("404".to_owned()));
        for answer in
            [&b""[..], b"\r\n\r\n", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 2\r\n\r\n", b"HTTP/1.1 200 OK\r\n"]
        {
            assert!(judge(answer).is_err(), "{answer:?}");
        }
    }
}
