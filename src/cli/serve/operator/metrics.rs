//! `/metrics`: what the loop, the hub and the process have seen, as OpenMetrics text.
//!
//! Nothing is counted here and nothing is kept: the numbers are the engine's and the hub's own, taken when somebody asks.
//! No label is one that a client can choose: each is of a set that the code bounds.

use crate::cli::serve::hook::HookCounters;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, exemplar::Exemplar, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use sockeye::{
    Context, Histogram, Queues, Statistics,
    hub::{Application, Counters, Hub, Occupancy},
};
use std::{collections::HashMap, env::consts, fmt, fs};

/// The media type of an [`exposition`].
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics, as a whole exposition.
///
/// Looks at each connection for what waits to be written to it, and at some files of `/proc`: a tenth of a millisecond,
/// and with 100,000 connections some milliseconds, of the loop's time.
pub(super) fn exposition<A: Application>(
    cx: &Context<'_>,
    hub: &Hub<A>,
    hook: Option<HookCounters>,
) -> String {
    let seen = Seen {
        statistics: cx.statistics(),
        queues: cx.queues(),
        counters: hub.counters(),
        occupancy: hub.occupancy(),
        hook,
    };
    let process = Process::now(seen.statistics.now.connections);
    let mut text = String::with_capacity(TEXT_BYTES);
    for (prefix, collector) in [
        (Registry::with_prefix("sockeye"), Box::new(seen) as Box<dyn Collector>),
        (Registry::with_prefix("process"), Box::new(process)),
    ] {
        let mut registry = prefix;
        registry.register_collector(collector);
        text::encode_registry(&mut text, &registry).expect("a string takes what is written to it");
    }
    text::encode_eof(&mut text).expect("a string takes what is written to it");
    text
}

/// What an exposition has, about.
const TEXT_BYTES: usize = 24 << 10;

/// What this server has seen.
#[derive(Debug)]
struct Seen {
    statistics: Statistics,
    queues: Queues,
    counters: Counters,
    occupancy: Occupancy,
    hook: Option<HookCounters>,
}

impl Collector for Seen {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        page.build()?;
        self.put_connections(&mut page)?;
        self.put_ends(&mut page)?;
        self.put_traffic(&mut page)?;
        self.put_memory(&mut page)?;
        self.put_loop(&mut page)?;
        self.put_hub(&mut page)?;
        self.hook.as_ref().map_or(Ok(()), |hook| put_hook(hook, &mut page))
    }
}

impl Seen {
    fn put_connections(&self, page: &mut Page<'_>) -> fmt::Result {
        let Statistics { now, accepted, handshakes, dials, .. } = &self.statistics;
        let (open, handshaking) = (self.statistics.open(), self.statistics.handshaking());
        let dialling = self.statistics.dialling();
        let states = [
            ("open", open),
            ("handshaking", handshaking),
            ("dialling", dialling),
            ("ending", now.connections.saturating_sub(open + handshaking + dialling)),
        ];
        page.gauges("connections", "Connections at the moment.", "state", states)?;
        page.gauge("connections_limit", "Connections there may be; 0 for any number.", now.connections_max)?;
        page.counter("connections_accepted", "Connections that were accepted.", *accepted)?;
        let results = [
            ("opened", handshakes.opened),
            ("refused", handshakes.refused),
            ("answered", handshakes.answered),
            ("lost", handshakes.lost),
            ("tls_failed", handshakes.tls_failed),
            ("turned_away", handshakes.turned_away),
        ];
        page.counters("handshakes", "How accepted connections began, each in one way.", "result", results)?;
        let mut family = page.family(
            "handshakes_refused",
            "Refused handshakes by their HTTP status and why.",
            None,
            MetricType::Counter,
        )?;
        for (status, reason, count) in self.statistics.refusals() {
            let status = status.to_string();
            put_count(&mut family, &[("status", status.as_str()), ("reason", reason)], count)?;
        }
        let mut family = page.family(
            "http_responses",
            "Plain HTTP requests that were answered, by status.",
            None,
            MetricType::Counter,
        )?;
        for (status, count) in self.statistics.answers() {
            put_count(&mut family, &[("status", status.to_string().as_str())], count)?;
        }
        let results = [("opened", dials.opened), ("failed", dials.failed)];
        page.counters("dials", "How connections that were dialled began.", "result", results)
    }

    fn put_ends(&self, page: &mut Page<'_>) -> fmt::Result {
        let mut family = page.family(
            "connections_closed",
            "Connections that were open and ended, by close code and cause; all codes that are not registered are one.",
            None,
            MetricType::Counter,
        )?;
        let closes: Vec<_> = self.statistics.closes().collect();
        // What is there from the start can be seen to rise from zero.
        let missing = USUAL_CLOSES.iter().filter(|(usual, cause)| {
            !closes.iter().any(|(code, of, _)| code.is_some_and(|code| code.get() == *usual) && of == cause)
        });
        for (code, cause) in missing {
            put_count(&mut family, &[("code", code.to_string().as_str()), ("cause", cause)], 0)?;
        }
        for (code, cause, count) in &closes {
            let code = code.map_or_else(|| "other".to_owned(), |code| code.to_string());
            put_count(&mut family, &[("code", code.as_str()), ("cause", cause)], *count)?;
        }
        let panics = self.statistics.panics;
        page.counter("panics", "Calls of the handler that panicked.", panics)
    }

    fn put_traffic(&self, page: &mut Page<'_>) -> fmt::Result {
        let Statistics { received, sent, drops, .. } = &self.statistics;
        page.counter("messages_received", "Messages that came, whole.", received.messages)?;
        page.counter(
            "messages_sent",
            "Messages that were sent, one for each who was sent it.",
            sent.messages,
        )?;
        page.counter_bytes("messages_received", "Payload of messages that came, inflated.", received.bytes)?;
        page.counter_bytes("messages_sent", "Payload of messages sent, before compression.", sent.bytes)?;
        page.counter_bytes(
            "socket_read",
            "What was read from sockets, TLS not counted.",
            received.wire_bytes,
        )?;
        page.counter_bytes(
            "socket_written",
            "What was written to sockets, TLS not counted.",
            sent.wire_bytes,
        )?;
        let causes = [
            ("not_open", drops.not_open),
            ("slow_reader", drops.slow_reader),
            ("too_large", drops.too_large),
        ];
        page.counters("messages_dropped", "Messages that were to be sent and were not.", "cause", causes)?;
        page.counter(
            "pings_dropped",
            "Pings of slow readers that a later one was answered for.",
            drops.pings,
        )?;
        page.counter_bytes(
            "queue_dropped",
            "What was queued for connections that were lost or given up.",
            drops.queued_bytes,
        )
    }

    fn put_memory(&self, page: &mut Page<'_>) -> fmt::Result {
        let now = &self.statistics.now;
        page.gauge_bytes("queue", "What waits to be written to connections.", self.queues.bytes)?;
        page.gauge_bytes(
            "queue_longest",
            "What waits for one of them, at most.",
            self.queues.bytes_of_longest,
        )?;
        let backlogged = self.queues.backlogged;
        page.gauge("connections_backlogged", "Connections above outbox_bytes_soft.", backlogged)?;
        page.gauge_bytes("buffered", "All buffers that connections hold.", now.buffered_bytes)?;
        page.gauge_bytes("buffered_limit", "What these may be together; 0 for any.", now.buffered_bytes_max)?;
        page.gauge(
            "deflate_contexts",
            "Connections with compression contexts of their own.",
            now.deflate_contexts,
        )?;
        page.gauge_bytes("deflate_context", "What is reserved for these.", now.deflate_context_bytes)?;
        page.gauge_bytes(
            "deflate_context_limit",
            "What may be reserved for these.",
            now.deflate_context_bytes_max,
        )
    }

    fn put_loop(&self, page: &mut Page<'_>) -> fmt::Result {
        let Statistics { turns, round_trips, pings, accept_pauses, .. } = &self.statistics;
        page.histogram("loop_turn", "Turns of the loop, from events to the end of writing.", turns)?;
        page.histogram("ping_rtt", "From a Ping of the keepalive's to its Pong.", round_trips)?;
        page.counter("pings_sent", "Pings of the keepalive's.", *pings)?;
        page.counter("accept_pauses", "Pauses of accepting, for want of descriptors.", *accept_pauses)
    }

    fn put_hub(&self, page: &mut Page<'_>) -> fmt::Result {
        let (counters, occupancy) = (&self.counters, &self.occupancy);
        page.gauge("channels", "Channels (actions).", occupancy.channels)?;
        page.gauge("groups", "Groups (envelope).", occupancy.groups)?;
        page.gauge("rooms", "Rooms (room).", occupancy.rooms)?;
        page.gauge("users", "Users, each once (actions).", occupancy.users)?;
        page.gauge("people", "Names that connections go by (envelope).", occupancy.people)?;
        page.gauge("conversations", "Conversations of two users (actions).", occupancy.conversations)?;
        page.gauge("chat_members", "Connections in the chat (chat).", occupancy.chatters)?;
        page.gauge("history_messages", "Messages that are kept.", occupancy.history_messages)?;
        page.gauge_bytes("history", "What these have.", occupancy.history_bytes)?;
        let speakers = occupancy.speakers.iter().map(|(dialect, count)| (dialect.name(), *count));
        page.gauges("dialect_connections", "Connections by dialect, once decided.", "dialect", speakers)?;
        page.counter("messages_ignored", "Messages that could not be read as actions.", counters.ignored)?;
        page.counter("actions_refused", "Actions that were answered with an error.", counters.refused)?;
        page.counter("actions_too_fast", "Actions beyond the rate.", counters.too_fast)?;
        page.counter("floods", "Connections closed for going on beyond the rate.", counters.floods)
    }
}

fn put_hook(hook: &HookCounters, page: &mut Page<'_>) -> fmt::Result {
    let results = [
        ("answered", hook.answered),
        ("timed_out", hook.timed_out),
        ("unreachable", hook.unreachable),
        ("bad_status", hook.bad_status),
        ("bad_answer", hook.bad_answer),
        ("overflowed", hook.overflowed),
    ];
    page.counters(
        "hook_questions",
        "Questions to the application, by what came of them.",
        "result",
        results,
    )?;
    page.gauge("hook_waiting", "Questions to the application that are under way.", hook.waiting)?;
    page.counter("hook_gone", "Answers of the application for which nobody waited any more.", hook.gone)
}

/// The code that each cause comes with most.
const USUAL_CLOSES: [(u16, &str); 15] = [
    (1000, "peer"),
    (1001, "peer"),
    (1001, "local"),
    (1002, "protocol"),
    (1006, "eof"),
    (1006, "io"),
    (1006, "no_answer"),
    (1006, "silent"),
    (1007, "invalid_data"),
    (1008, "policy"),
    (1009, "message_too_big"),
    (1011, "panic"),
    (1013, "budget"),
    (1013, "slow_reader"),
    (1013, "stalled_reader"),
];

/// What the system knows of this process, as far as it says so at little cost. The names are those that every exporter
/// of Prometheus has.
#[derive(Debug, Default)]
struct Process {
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    threads: Option<u64>,
    cpu_seconds: Option<f64>,
    started_at: Option<f64>,
    descriptors: Option<u64>,
    descriptors_max: Option<u64>,
}

impl Process {
    fn now(connections: u64) -> Process {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (status, stat, limits) =
            (read("/proc/self/status"), read("/proc/self/stat"), read("/proc/self/limits"));
        let field = |key: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse().ok()
        };
        // Behind the name, which is in parentheses and may hold any character, the third field follows.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let number = |nth: usize| fields.get(nth - 3)?.parse::<u64>().ok();
        let ticks = number(14).zip(number(15)).map(|(user, system)| user + system);
        let booted = read("/proc/stat");
        let booted = booted.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok());
        let most =
            limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
        Process {
            resident_bytes: field("VmRSS").map(|kib| kib << 10),
            virtual_bytes: field("VmSize").map(|kib| kib << 10),
            threads: field("Threads"),
            cpu_seconds: ticks.map(|ticks| ticks as f64 / TICKS_PER_SECOND),
            started_at: booted.zip(number(22)).map(|(at, ticks)| at as f64 + ticks as f64 / TICKS_PER_SECOND),
            descriptors: descriptors(connections),
            descriptors_max: most.and_then(|most| most.parse().ok()),
        }
    }
}

/// Of the times in `/proc`, on all that Linux runs on: USER_HZ.
const TICKS_PER_SECOND: f64 = 100.0;

/// Descriptors that are open. Linux 6.2 says it; before, they are counted, unless that took long.
fn descriptors(connections: u64) -> Option<u64> {
    const COUNTED_MAX: u64 = 1_000;
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 if connections > COUNTED_MAX => None,
        // One of them is there only to look.
        0 => Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1)),
        open => Some(open),
    }
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        if let Some(bytes) = self.resident_bytes {
            page.gauge_bytes("resident_memory", "Resident memory.", bytes)?;
        }
        if let Some(bytes) = self.virtual_bytes {
            page.gauge_bytes("virtual_memory", "Virtual memory.", bytes)?;
        }
        if let Some(threads) = self.threads {
            page.gauge("threads", "Threads.", threads)?;
        }
        if let Some(seconds) = self.cpu_seconds {
            let cpu = page.family("cpu", "Time on processors.", Some(&Unit::Seconds), MetricType::Counter)?;
            ConstCounter::new(seconds).encode(cpu)?;
        }
        if let Some(seconds) = self.started_at {
            let help = "When it was started, since 1970.";
            let at = page.family("start_time", help, Some(&Unit::Seconds), MetricType::Gauge)?;
            ConstGauge::new(seconds).encode(at)?;
        }
        if let Some(descriptors) = self.descriptors {
            page.gauge("open_fds", "Open descriptors.", descriptors)?;
        }
        if let Some(most) = self.descriptors_max {
            page.gauge("max_fds", "Descriptors that may be open.", most)?;
        }
        Ok(())
    }
}

/// Where metrics are put, one family after the other.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        unit: Option<&'s Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }

    fn build(&mut self) -> fmt::Result {
        let mut family = self.family("build", "What is running.", None, MetricType::Info)?;
        family.encode_info(&[
            ("version", env!("CARGO_PKG_VERSION")),
            ("os", consts::OS),
            ("arch", consts::ARCH),
        ])
    }

    fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        ConstCounter::new(count).encode(self.family(name, help, None, MetricType::Counter)?)
    }

    fn counter_bytes(&mut self, name: &str, help: &str, bytes: u64) -> fmt::Result {
        ConstCounter::new(bytes).encode(self.family(name, help, Some(&Unit::Bytes), MetricType::Counter)?)
    }

    /// One for each value of a label.
    fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        counts: [(&str, u64); N],
    ) -> fmt::Result {
        let mut family = self.family(name, help, None, MetricType::Counter)?;
        counts.iter().try_for_each(|&(value, count)| put_count(&mut family, &[(label, value)], count))
    }

    fn gauge(&mut self, name: &str, help: &str, number: u64) -> fmt::Result {
        ConstGauge::new(number).encode(self.family(name, help, None, MetricType::Gauge)?)
    }

    fn gauge_bytes(&mut self, name: &str, help: &str, bytes: u64) -> fmt::Result {
        ConstGauge::new(bytes).encode(self.family(name, help, Some(&Unit::Bytes), MetricType::Gauge)?)
    }

    fn gauges<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        numbers: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, None, MetricType::Gauge)?;
        numbers.into_iter().try_for_each(|(value, number)| {
            ConstGauge::new(number).encode(family.encode_family(&[(label, value)])?)
        })
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        let seconds = |us: u64| us as f64 / 1e6;
        let classes: Vec<_> =
            histogram.classes().map(|(bound, count)| (bound.map_or(f64::INFINITY, seconds), count)).collect();
        let none: Option<&HashMap<usize, Exemplar<NoLabelSet, f64>>> = None;
        let mut family = self.family(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        family.encode_histogram(seconds(histogram.sum_us()), histogram.count(), &classes, none)
    }
}

fn put_count(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, count: u64) -> fmt::Result {
    ConstCounter::new(count).encode(family.encode_family(labels)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye::{Engine, Input, Now, PeerInfo, hub::Settings};
    use std::collections::{BTreeMap, BTreeSet};

    /// What an engine says of itself that was sent each of these by a connection of its own.
    fn exposition_after(inputs: &[&[u8]]) -> String {
        let config = Hub::config("127.0.0.1:0");
        let hub = Hub::new(&config, Settings::default());
        let mut engine = Engine::new(&config, hub, |bytes| bytes.fill(7));
        let (now, mut input) = (Now::default(), Input::new(4_096));
        for bytes in inputs {
            let id = engine.handle_accept(now, PeerInfo { address: None, listener: 0 });
            input.space()[..bytes.len()].copy_from_slice(bytes);
            input.fill(bytes.len());
            engine.handle_input(now, id, &mut input);
        }
        let hook =
            HookCounters { asked: 4, waiting: 1, answered: 2, timed_out: 1, ..HookCounters::default() };
        engine.act(now, |hub, cx| exposition(cx, hub, Some(hook)))
    }

    fn request(target: &str) -> String {
        format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
    }

    /// The families of an exposition by name, each with its kind and its samples, as strictly as OpenMetrics 1.0 has it.
    fn parse(text: &str) -> BTreeMap<String, (String, Vec<(String, f64)>)> {
        let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
        let mut families = BTreeMap::new();
        let mut current: Option<(String, String)> = None;
        let mut series = BTreeSet::new();
        for line in body.lines() {
            assert!(!line.is_empty() && line.trim() == line, "{line:?}");
            if let Some(descriptor) = line.strip_prefix("# ") {
                let (keyword, rest) = descriptor.split_once(' ').expect("a keyword");
                let (name, value) = rest.split_once(' ').expect("a name and more");
                match keyword {
                    "HELP" => {
                        assert!(value.ends_with('.'), "{line}");
                        current = None;
                    }
                    "TYPE" => {
                        assert!(
                            families.insert(name.to_owned(), (value.to_owned(), Vec::new())).is_none(),
                            "{name} twice"
                        );
                        current = Some((name.to_owned(), value.to_owned()));
                    }
                    "UNIT" => assert!(name.ends_with(&format!("_{value}")), "{line}"),
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (name, kind) = current.clone().expect("a sample belongs to a family");
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            assert!(series.insert(sample.to_owned()), "{sample} twice");
            let suffix = sample
                .split('{')
                .next()
                .and_then(|sample| sample.strip_prefix(&name))
                .expect("its family's name");
            let suffixes: &[&str] = match kind.as_str() {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_sum", "_count", "_bucket"],
                "info" => &["_info"],
                _ => panic!("{kind}"),
            };
            assert!(suffixes.contains(&suffix), "{line}");
            let value: f64 = value.parse().expect("a number");
            assert!(value >= 0.0 && value.is_finite(), "{line}");
            families.get_mut(&name).expect("it was begun").1.push((sample.to_owned(), value));
        }
        families
    }

    fn value(text: &str, sample: &str) -> f64 {
        let families = parse(text);
        let found = families.values().flat_map(|(_, samples)| samples).find(|(name, _)| name == sample);
        found.unwrap_or_else(|| panic!("no {sample} in {text}")).1
    }

    #[test]
    fn all_that_an_operator_is_promised_is_there_before_anybody_comes() {
        assert!(CONTENT_TYPE.starts_with("application/openmetrics-text; version=1.0.0"));
        let families = parse(&exposition_after(&[]));
        for (name, kind) in [
            ("sockeye_build", "info"),
            ("sockeye_connections", "gauge"),
            ("sockeye_connections_accepted", "counter"),
            ("sockeye_handshakes", "counter"),
            ("sockeye_handshakes_refused", "counter"),
            ("sockeye_connections_closed", "counter"),
            ("sockeye_messages_received", "counter"),
            ("sockeye_messages_received_bytes", "counter"),
            ("sockeye_messages_sent", "counter"),
            ("sockeye_messages_sent_bytes", "counter"),
            ("sockeye_messages_dropped", "counter"),
            ("sockeye_queue_bytes", "gauge"),
            ("sockeye_buffered_bytes", "gauge"),
            ("sockeye_loop_turn_seconds", "histogram"),
            ("sockeye_ping_rtt_seconds", "histogram"),
            ("sockeye_deflate_contexts", "gauge"),
            ("sockeye_deflate_context_bytes", "gauge"),
            ("sockeye_channels", "gauge"),
            ("sockeye_users", "gauge"),
            ("sockeye_panics", "counter"),
            ("process_resident_memory_bytes", "gauge"),
            ("process_cpu_seconds", "counter"),
            ("process_open_fds", "gauge"),
            ("process_start_time_seconds", "gauge"),
        ] {
            let (found, samples) = families.get(name).unwrap_or_else(|| panic!("no {name}"));
            assert_eq!(found, kind, "{name}");
            assert!(!samples.is_empty() || name == "sockeye_handshakes_refused", "{name}");
        }
    }

    #[test]
    fn what_happened_is_told_and_adds_up() {
        let echo = [request("/echo").as_bytes(), b"\x81\x82\0\0\0\0hi\x88\x82\0\0\0\0\x0f\xa0"].concat();
        let room = request("/room/a");
        let text = exposition_after(&[
            &echo,
            room.as_bytes(),
            b"\0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET",
        ]);
        for (sample, is) in [
            ("sockeye_connections_accepted_total", 5.0),
            ("sockeye_handshakes_total{result=\"opened\"}", 2.0),
            ("sockeye_handshakes_total{result=\"refused\"}", 1.0),
            ("sockeye_handshakes_total{result=\"answered\"}", 1.0),
            ("sockeye_handshakes_refused_total{status=\"400\",reason=\"malformed\"}", 1.0),
            ("sockeye_http_responses_total{status=\"200\"}", 1.0),
            ("sockeye_connections{state=\"open\"}", 1.0),
            ("sockeye_connections{state=\"handshaking\"}", 1.0),
            ("sockeye_connections{state=\"ending\"}", 3.0),
            ("sockeye_connections_closed_total{code=\"other\",cause=\"peer\"}", 1.0),
            ("sockeye_connections_closed_total{code=\"1002\",cause=\"protocol\"}", 0.0),
            ("sockeye_messages_received_total", 1.0),
            ("sockeye_messages_received_bytes_total", 2.0),
            ("sockeye_messages_sent_bytes_total", 2.0),
            ("sockeye_rooms", 1.0),
            ("sockeye_hook_questions_total{result=\"answered\"}", 2.0),
            ("sockeye_hook_waiting", 1.0),
            ("sockeye_dialect_connections{dialect=\"room\"}", 1.0),
        ] {
            assert_eq!(value(&text, sample), is, "{sample}");
        }
    }

    #[test]
    fn nothing_that_a_client_says_becomes_a_label() {
        let odd = "x\\u{22}\\n-odd";
        let targets = [
            request(&format!("/{odd}")),
            request(&format!("/room/{odd}")),
            format!("{odd} / HTTP/9.9\r\n\r\n"),
        ];
        let inputs: Vec<&[u8]> = targets.iter().map(String::as_bytes).collect();
        let text = exposition_after(&inputs);
        assert!(!text.contains("odd"), "{text}");
        let labels =
            text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('{'));
        for (_, labels) in labels.filter(|(name, _)| *name != "sockeye_build_info") {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "_\",=}. +".contains(c);
            assert!(labels.chars().all(is_plain), "{labels}");
        }
    }

    #[test]
    fn classes_of_a_histogram_rise_to_its_count() {
        let families = parse(&exposition_after(&[]));
        for name in ["sockeye_loop_turn_seconds", "sockeye_ping_rtt_seconds"] {
            let (_, samples) = &families[name];
            let classes: Vec<_> =
                samples.iter().filter(|(sample, _)| sample.contains("_bucket{le=")).collect();
            assert_eq!(classes.len(), 17);
            assert!(classes.is_sorted_by(|a, b| a.1 <= b.1));
            assert!(classes[16].0.ends_with("{le=\"+Inf\"}"));
            assert!(samples.contains(&(format!("{name}_count"), classes[16].1)));
        }
    }
}
