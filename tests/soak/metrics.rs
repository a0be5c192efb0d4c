//! The server's own numbers, from `/metrics`, and whether they balance.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// One reading: by name and labels, as they are written.
#[derive(Clone, Debug, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub fn read(admin: SocketAddr) -> Result<Metrics, String> {
        let failed = |error: std::io::Error| format!("the metrics at {admin}: {error}");
        let mut tcp = TcpStream::connect_timeout(&admin, PATIENCE).map_err(failed)?;
        tcp.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .map_err(failed)?;
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).map_err(failed)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(format!("the metrics at {admin} are answered with {head:?}"));
        }
        let lines = body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let parsed = lines.map(|line| {
            let (name, value) =
                line.rsplit_once(' ').ok_or_else(|| format!("a metric without a value: {line}"))?;
            let value = value.parse().map_err(|_| format!("a metric that is no number: {line}"))?;
            Ok((name.to_owned(), value))
        });
        let metrics = parsed.collect::<Result<_, String>>().map(Metrics)?;
        // What is not there would be taken for 0.
        match HELD.iter().chain(&COUNTED).find(|name| metrics.lines(name).next().is_none()) {
            Some(name) => Err(format!("there is no sockeye_{name} in the metrics")),
            None => Ok(metrics),
        }
    }

    /// The sum of all lines of a metric, whatever their labels; 0 where there is none.
    pub fn sum(&self, name: &str) -> u64 {
        self.lines(name).map(|(_, value)| value).sum()
    }

    /// The line of a metric whose labels have this in them.
    pub fn with(&self, name: &str, label: &str) -> u64 {
        self.lines(name).filter(|(labels, _)| labels.contains(label)).map(|(_, value)| value).sum()
    }

    /// Labels and values of a metric.
    fn lines<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        self.0.iter().filter_map(move |(key, &value)| {
            let labels = key.strip_prefix("sockeye_")?.strip_prefix(name)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, value as u64))
        })
    }

    /// What does not balance, at any moment: each accepted connection has one place, and each that was open one end.
    pub fn imbalances(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut expect = |what: &str, left: u64, right: u64| {
            if left != right {
                wrong.push(format!("{what}: {left} and {right}"));
            }
        };
        let begun = self.sum("handshakes_total") + self.with("connections", "state=\"handshaking\"");
        expect("connections accepted, and how they began", self.sum("connections_accepted_total"), begun);
        let ended = self.sum("connections_closed_total") + self.with("connections", "state=\"open\"");
        expect(
            "connections opened, and those that ended or are open",
            self.with("handshakes_total", "result=\"opened\""),
            ended,
        );
        expect(
            "handshakes refused, and why",
            self.with("handshakes_total", "result=\"refused\""),
            self.sum("handshakes_refused_total"),
        );
        expect(
            "requests answered, and how",
            self.with("handshakes_total", "result=\"answered\""),
            self.sum("http_responses_total"),
        );
        wrong
    }

    /// What is still held although nobody is there but who asks.
    pub fn leftovers(&self) -> Vec<String> {
        let held = HELD.iter().filter(|name| self.sum(name) > 0);
        let mut wrong: Vec<_> = held.map(|name| format!("{name}: {} is left", self.sum(name))).collect();
        let open = self.with("connections", "state=\"open\"") + self.with("connections", "state=\"ending\"");
        if open > 0 {
            wrong.push(format!("{open} connections are open or end"));
        }
        wrong
    }

    /// What it amounts to, for a human.
    pub fn summary(&self) -> Vec<String> {
        let table = |name: &str| {
            let lines = self.lines(name).filter(|&(_, count)| count > 0);
            let lines = lines.map(|(labels, count)| format!("{count} {}", labels.trim_matches(['{', '}'])));
            lines.collect::<Vec<_>>().join("; ")
        };
        let mut text = vec![
            format!(
                "the server's metrics: {} connections accepted: {}",
                self.sum("connections_accepted_total"),
                table("handshakes_total")
            ),
            format!("  refused: {}", table("handshakes_refused_total")),
            format!("  closed: {}", table("connections_closed_total")),
            format!(
                "  {} messages received, {} sent; not sent: {}; {} bytes queued for who was lost or given up",
                self.sum("messages_received_total"),
                self.sum("messages_sent_total"),
                table("messages_dropped_total"),
                self.sum("queue_dropped_bytes_total"),
            ),
            format!(
                "  {} pings sent, {} of peers not answered",
                self.sum("pings_sent_total"),
                self.sum("pings_dropped_total")
            ),
        ];
        text.extend(
            self.slowest_turn().map(|seconds| format!("  slowest turn of the loop: up to {seconds} s")),
        );
        text
    }

    /// The bound of the class of the slowest turn, in seconds.
    fn slowest_turn(&self) -> Option<&str> {
        let all = self.sum("loop_turn_seconds_count");
        let bounds = self.lines("loop_turn_seconds_bucket").filter(|&(_, count)| count == all);
        let bounds = bounds.filter_map(|(labels, _)| labels.strip_prefix("{le=\"")?.strip_suffix("\"}"));
        bounds.min_by(|a, b| {
            let number = |text: &str| text.parse::<f64>().unwrap_or(f64::INFINITY);
            number(a).total_cmp(&number(b))
        })
    }
}

/// What nothing may be left of when nobody is connected. Groups and conversations live as long as their history.
const HELD: [&str; 12] = [
    "queue_bytes",
    "buffered_bytes",
    "connections_backlogged",
    "deflate_contexts",
    "deflate_context_bytes",
    "channels",
    "rooms",
    "users",
    "people",
    "chat_members",
    "dialect_connections",
    "panics_total",
];

/// What else is asked for, and there from the start.
const COUNTED: [&str; 12] = [
    "connections",
    "connections_accepted_total",
    "connections_closed_total",
    "handshakes_total",
    "messages_received_total",
    "messages_sent_total",
    "messages_received_bytes_total",
    "messages_sent_bytes_total",
    "messages_dropped_total",
    "queue_dropped_bytes_total",
    "pings_sent_total",
    "loop_turn_seconds_count",
];

const PATIENCE: Duration = Duration::from_secs(20);
