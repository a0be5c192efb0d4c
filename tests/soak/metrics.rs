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
        parsed.collect::<Result<_, String>>().map(Metrics)
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
        let gauges = ["queues_bytes", "connections_backlogged", "deflate_contexts", "deflate_contexts_bytes"];
        let hub = ["channels", "rooms", "users", "people", "chat_members", "dialect_connections"];
        let held = gauges.iter().chain(&hub).filter(|name| self.sum(name) > 0);
        let mut wrong: Vec<_> = held.map(|name| format!("{name}: {} is left", self.sum(name))).collect();
        let open = self.with("connections", "state=\"open\"") + self.with("connections", "state=\"ending\"");
        if open > 0 {
            wrong.push(format!("{open} connections are open or end"));
        }
        wrong
    }

    /// How connections ended, by code and cause.
    pub fn closes(&self) -> BTreeMap<String, u64> {
        self.lines("connections_closed_total")
            .filter(|&(_, n)| n > 0)
            .map(|(l, n)| (l.to_owned(), n))
            .collect()
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
