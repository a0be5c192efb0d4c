//! The action layer without sockets: a message of each dialect read and answered, beside what a tree of the same message
//! costs; and what a member costs to whom the hub sends a message.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::{
    ConnId, Engine, Input, Message, Now, PeerInfo,
    dialect::{
        Bounds, Dialect,
        action::{Action, Notice, Request},
    },
    hub::{Hub, Settings},
};
use std::{hint::black_box, time::Duration};

const MEMBERS: u32 = 100;
const BOUNDS: Bounds = Bounds {
    message_bytes_max: 1 << 20,
    depth_max: 32,
    actions_max: 256,
    name_bytes_max: 1_024,
    recipients_max: 4_096,
};

/// Read, and answered as the hub would; beside it the same text as a tree.
fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("dialects");
    for (dialect, name, text) in texts() {
        group.throughput(Throughput::Bytes(text.len() as u64));
        let (mut requests, mut out) = (Vec::new(), String::new());
        group.bench_function(BenchmarkId::new(name, "ours"), |b| {
            b.iter(|| {
                let mut found: Vec<Request<'_>> = Vec::new();
                dialect.decode(black_box(&text), &BOUNDS, &mut found);
                out.clear();
                for request in &found {
                    answer(dialect, request, &mut out);
                }
                black_box(&out);
            });
        });
        dialect.decode(&text, &BOUNDS, &mut requests);
        assert!(!requests.is_empty() && !out.is_empty(), "{name} is nothing");
        group.bench_function(BenchmarkId::new(name, "as a tree"), |b| {
            b.iter(|| {
                let tree = serde_json::from_str::<serde_json::Value>(black_box(&text));
                black_box(tree.map(|tree| tree.to_string())).is_ok()
            });
        });
    }
    group.bench_function("auto: which dialect a first message speaks", |b| {
        let text = r#"{"action":"say","message":"hello","groupId":"g","userId":"u","recipients":[]}"#;
        b.iter(|| Dialect::of_first_message(black_box(text)));
    });
    group.finish();
}

fn answer(dialect: Dialect, request: &Request<'_>, out: &mut String) {
    let notice = match &request.action {
        Ok(Action::Post(post)) => Notice::Post { post, user: "u1" },
        Ok(Action::Relay { object, text }) => {
            Notice::Relayed { object, text: text.as_deref(), id: 7, name: Some("Bob"), sender: "Bob" }
        }
        Ok(_) => Notice::Done { message: "" },
        Err(problem) => Notice::Problem(problem),
    };
    dialect.encode(&notice, request.id, out);
}

fn texts() -> Vec<(Dialect, &'static str, String)> {
    let say = |bytes: usize| {
        format!(
            r#"{{"action":"message_channel","channel_name":"example","message":"{}"}}"#,
            "x".repeat(bytes)
        )
    };
    let post = |recipients: &str| {
        let message = "x".repeat(128);
        format!(
            r#"{{"action":"say","message":"{message}","groupId":"g","userId":"u1","recipients":[{recipients}]}}"#
        )
    };
    let whom = r#"{"type":"group","value":"g"},{"type":"user","value":"u2"},{"type":0,"value":"u3"}"#;
    let line = format!(
        r#"{{"type":"message","text":"{}","id":1795219719780,"date":1795219719999}}"#,
        "x".repeat(128)
    );
    vec![
        (Dialect::Actions, "message_channel 128 B", format!("[{}]", say(128))),
        (Dialect::Actions, "message_channel 256 KiB", format!("[{}]", say(256 << 10))),
        (
            Dialect::Actions,
            "join_channel",
            r#"[{"action":"join_channel","channel_name":"example"}]"#.to_owned(),
        ),
        (
            Dialect::Actions,
            "authenticate",
            r#"[{"action":"authenticate","token":"alice-s-token"}]"#.to_owned(),
        ),
        (Dialect::Actions, "16 actions", format!("[{}]", vec![say(128); 16].join(","))),
        (Dialect::Actions, "bad JSON", r#"[{"action":"join_channel","channel_name":"example"}"#.to_owned()),
        (Dialect::Envelope, "post", post("")),
        (Dialect::Envelope, "post to 3 recipients", post(whom)),
        (Dialect::Envelope, "initialmessages", r#"{"action":"initialmessages","groupId":"g"}"#.to_owned()),
        (Dialect::Chat, "chat line 128 B", line),
    ]
}

/// One message to a hundred members through the engine: decoded, encoded once, queued, and taken out as writes would.
fn fanout(c: &mut Criterion) {
    let text = "x".repeat(128);
    let ways = [
        (
            "message_channel",
            "/actions",
            r#"[{"action":"join_channel","channel_name":"r"}]"#,
            format!(r#"[{{"action":"message_channel","channel_name":"r","message":"{text}"}}]"#),
        ),
        ("room", "/room/r", "", text.clone()),
    ];
    let mut group = c.benchmark_group("hub");
    for (name, path, join, message) in ways {
        let mut crowd = Crowd::new(path, join);
        group.throughput(Throughput::Elements(u64::from(MEMBERS)));
        group.bench_function(BenchmarkId::new(name, format!("128 B to {MEMBERS} members")), |b| {
            b.iter(|| {
                crowd.send(black_box(&message));
                assert_eq!(crowd.drain(), MEMBERS);
            });
        });
    }
    group.finish();
}

/// A hub with members.
struct Crowd {
    engine: Engine<Hub>,
    input: Input,
    now: Now,
    first: ConnId,
}

impl Crowd {
    fn new(path: &str, join: &str) -> Crowd {
        let mut config = Hub::config("");
        config.limits.actions.actions_per_second_max = 0;
        let now = Now::default();
        let mut engine = Engine::new(&config, Hub::new(&config, Settings::default()), |bytes| bytes.fill(7));
        let first = engine.handle_accept(now, PeerInfo { address: None, listener: 0 });
        let mut crowd = Crowd { engine, input: Input::new(1 << 16), now, first };
        for member in 0..MEMBERS {
            if member > 0 {
                crowd.first = crowd.engine.handle_accept(now, PeerInfo { address: None, listener: 0 });
            }
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            );
            crowd.read(request.as_bytes());
            if !join.is_empty() {
                crowd.send(join);
            }
        }
        crowd.drain();
        crowd
    }

    /// A member sends a text.
    fn send(&mut self, text: &str) {
        let mut frame = [0x81, 0xfe, 0, 0, 0, 0, 0, 0].to_vec();
        frame[2..4].copy_from_slice(&(text.len() as u16).to_be_bytes());
        if text.len() < 126 {
            frame.splice(1..4, [0x80 | text.len() as u8]);
        }
        frame.extend_from_slice(Message::Text(text).as_bytes());
        self.read(&frame);
    }

    fn read(&mut self, bytes: &[u8]) {
        self.input.space()[..bytes.len()].copy_from_slice(bytes);
        self.input.fill(bytes.len());
        self.engine.handle_input(self.now, self.first, &mut self.input);
        if let Some(reply) = self.engine.poll_reply(self.first, &self.input) {
            let n = reply.first.len() + reply.second.len();
            self.engine.handle_replied(self.now, self.first, &mut self.input, n);
        }
    }

    /// The writes that the wake ends with.
    fn drain(&mut self) -> u32 {
        let mut writes = 0;
        self.engine.begin_transmits();
        while let Some(transmit) = self.engine.poll_transmit() {
            let (id, n) = (transmit.id, black_box(transmit.first).len() + black_box(transmit.second).len());
            self.engine.handle_transmitted(self.now, id, n);
            writes += 1;
        }
        writes
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .sample_size(20);
    targets = messages, fanout
}
criterion_main!(benches);
