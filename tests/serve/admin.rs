//! The listener for administration: probes, the API, and what neither it nor the others answer.

use crate::{
    page::{File, Page, http},
    serving::{Serving, expect_usage, sockeye},
    tool::{PATIENCE, signal},
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
};

pub const TOKEN: &str = "token-of-the-administrator";

/// A server with a listener for administration.
pub struct Administered {
    pub serving: Serving,
    pub public: SocketAddr,
    pub admin: SocketAddr,
}

/// What a plain request is answered with.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Administered {
    pub fn start(flags: &[&str]) -> Administered {
        Administered::start_with(&[&["--admin-token", TOKEN], flags].concat())
    }

    /// Its API is off.
    pub fn start_without_token() -> Administered {
        Administered::start_with(&[])
    }

    fn start_with(flags: &[&str]) -> Administered {
        let arguments = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let mut serving = Serving::start(&[&arguments, flags].concat());
        let public = serving.listening_ip();
        let admin = administration(&mut serving).parse().expect("an address and port");
        Administered { serving, public, admin }
    }

    /// A request with the token, and a body if it has one.
    #[track_caller]
    pub fn ask(&self, method: &str, target: &str, body: &str) -> Answer {
        self.ask_with(method, target, &format!("Authorization: Bearer {TOKEN}\r\n"), body)
    }

    #[track_caller]
    pub fn ask_with(&self, method: &str, target: &str, lines: &str, body: &str) -> Answer {
        let kind = "Content-Type: application/json\r\n";
        let about_body = if body.is_empty() { String::new() } else { length(kind, body) };
        ask(self.admin, &format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{lines}{about_body}\r\n{body}"))
    }

    /// What the API answers a GET.
    #[track_caller]
    pub fn get(&self, target: &str) -> Value {
        self.ask("GET", target, "").expect(200)
    }

    /// What the API answers a POST.
    #[track_caller]
    pub fn post(&self, call: &str, body: Value) -> Answer {
        self.ask("POST", &format!("/api/v1/{call}"), &body.to_string())
    }
}

fn length(kind: &str, body: &str) -> String {
    format!("{kind}Content-Length: {}\r\n", body.len())
}

/// Where the next line says that it is administered.
#[track_caller]
fn administration(serving: &mut Serving) -> String {
    let line = serving.line_with("administration on ");
    let (_, rest) = line.split_once("administration on ").expect("it is in it");
    rest.split(' ').next().unwrap_or_default().to_owned()
}

#[track_caller]
fn ask(address: SocketAddr, request: &str) -> Answer {
    Answer::of(http(address, request))
}

impl Answer {
    fn of((head, body): (String, String)) -> Answer {
        let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head, body }
    }

    /// The body, of this status, as JSON that nobody keeps.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        for line in ["Content-Type: application/json", "Cache-Control: no-store", "Connection: close"] {
            assert!(self.head.contains(line), "{line}: {self:?}");
        }
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// An error that says of which field it is, and has these words in it.
    #[track_caller]
    fn expect_error(&self, status: u16, code: &str, field: Option<&str>, words: &[&str]) {
        let error = &self.expect(status)["error"];
        assert_eq!((error["code"].as_str(), error["field"].as_str()), (Some(code), field), "{self:?}");
        let message = error["message"].as_str().expect("a text");
        assert!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
    }
}

/// A connection that does only what its test does.
fn raw(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let upgrade = format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).expect("it is taken");
    let mut status = [0; 13];
    stream.read_exact(&mut status).expect("it answers");
    assert_eq!(&status, b"HTTP/1.1 101 ");
    stream
}

/// A page in a channel, after it has joined.
fn member(address: SocketAddr, channel: &str) -> Page {
    let mut page = Page::open(address, "/actions");
    assert_eq!(page.ask(&json!([{"action": "join_channel", "channel_name": channel}]).to_string()), "");
    page
}

// ---------------------------------------------------------------------- probes

#[test]
fn probes_are_answered_on_the_listener_for_administration_and_on_no_other() {
    let server = Administered::start(&[]);
    assert_eq!(server.ask_with("GET", "/healthz", "", "").expect(200), json!({"status": "ok"}));
    assert_eq!(
        server.ask_with("GET", "/readyz?verbose", "", "").expect(200),
        json!({"status": "ready", "reasons": []})
    );
    let metrics = server.ask_with("GET", "/metrics", "", "");
    assert!(metrics.head.contains("application/openmetrics-text") && metrics.status == 200, "{metrics:?}");
    assert!(metrics.body.ends_with("# EOF\n"), "{metrics:?}");
    for path in ["/healthz", "/readyz", "/metrics"] {
        let head = server.ask_with("HEAD", path, "", "");
        assert!(head.status == 200 && head.body.is_empty(), "{head:?}");
        assert!(!head.head.contains("Content-Length: 0"), "{head:?}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let refused = server.ask_with(method, path, "", "");
            refused.expect_error(405, "method_not_allowed", None, &["GET, HEAD"]);
            assert!(refused.head.contains("\r\nAllow: GET, HEAD\r\n"), "{refused:?}");
        }
        assert_eq!(ask(server.public, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).status, 404);
    }
    for path in
        ["/", "/healthz/", "/Healthz", "/assets/page.css", "/__broadcastwebsocket.x", "/api", "/api/v2"]
    {
        assert!(matches!(server.ask_with("GET", path, "", "").status, 401 | 404), "{path}");
    }
    server.ask_with("GET", "/", "", "").expect_error(404, "not_found", None, &["/healthz"]);
}

#[test]
fn a_flag_puts_probes_on_the_public_listeners_and_nothing_else() {
    let get = |address, path| ask(address, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).status;
    for (flags, statuses) in [
        (&["--public-health"][..], [200, 200, 404]),
        (&["--public-metrics"], [404, 404, 200]),
        (&["--public-health", "--public-metrics", "--no-pages"], [200, 200, 200]),
    ] {
        let mut serving = Serving::start(&[&["--listen", "127.0.0.1:0"], flags].concat());
        let address = serving.listening_ip();
        assert_eq!(["/healthz", "/readyz", "/metrics"].map(|path| get(address, path)), statuses, "{flags:?}");
        assert!(matches!(get(address, "/api/v1/channels"), 404 | 426), "{flags:?}");
        let post = "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(ask(address, post).status, if flags == ["--public-metrics"] { 404 } else { 405 });
    }
}

#[test]
fn nobody_upgrades_where_it_is_administered() {
    let server = Administered::start(&[]);
    for path in ["/", "/actions", "/healthz", "/api/v1/connections"] {
        let why = Page::expect_refusal(server.admin, path);
        assert!(why.contains("404"), "{path}: {why}");
    }
    let garbage = ["\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /healthz HTTP/1.1\r\n\r\n"];
    for request in garbage {
        assert!(matches!(ask(server.admin, request).status, 400 | 505), "{request:?}");
    }
    // One answer a connection, whatever stands behind the request.
    let pipelined = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = ask(server.admin, &format!("{pipelined}{pipelined}\0\0 garbage"));
    assert_eq!(answer.expect(200), json!({"status": "ok"}));
    assert_eq!(server.ask_with("GET", "/healthz", "", "").status, 200);
}

#[test]
fn a_server_that_is_full_can_be_asked_and_says_that_it_is() {
    let server = Administered::start(&["--connections-max", "2"]);
    let pages = [(); 2].map(|()| Page::open(server.public, "/echo"));
    assert_eq!(server.ask_with("GET", "/healthz", "", "").status, 200);
    let readiness = server.ask_with("GET", "/readyz", "", "").expect(503);
    assert_eq!(readiness["status"], "not ready");
    assert_eq!(readiness["reasons"][0]["code"], "connections");
    assert!(readiness["reasons"][0]["message"].to_string().contains("connections_max"), "{readiness}");
    assert_eq!(server.get("/api/v1/connections")["connections"].as_array().map(Vec::len), Some(2));
    let [one, _two] = pages;
    one.close();
    while server.ask_with("GET", "/readyz", "", "").status != 200 {}
}

#[test]
fn a_server_whose_buffers_are_nearly_full_says_so() {
    let limits =
        ["--buffered-bytes-max", "1120KiB", "--outbox-bytes-max", "4MiB", "--outbox-stall-ms-max", "0"];
    let server = Administered::start(&limits);
    let _deaf = raw(server.public, "/room/r");
    let text = "x".repeat(14 << 10);
    let readiness = loop {
        assert_eq!(server.post("publish", json!({"room": "r", "text": text})).expect(200)["delivered"], 1);
        let answer = server.ask_with("GET", "/readyz", "", "");
        if answer.status != 200 {
            break answer.expect(503);
        }
    };
    assert_eq!(readiness["reasons"][0]["code"], "buffered_bytes");
    assert!(readiness["reasons"][0]["message"].to_string().contains("1146880 may be"), "{readiness}");
    let one = server.get("/api/v1/connections");
    assert!(one["connections"][0]["queued_bytes"].as_u64() > Some(512 << 10), "{one}");
}

#[test]
fn a_server_that_drains_says_so_until_it_ends() {
    let mut server = Administered::start(&[]);
    // Who is in the middle of a message has time.
    let mut guest = raw(server.public, "/echo");
    guest.write_all(b"\x81\x85\0\0\0\0he").expect("it is taken");
    let answer = server.post("drain", json!({"within_ms": 60_000}));
    assert_eq!(answer.expect(202), json!({"status": "draining", "within_ms": 60_000}));
    let readiness = server.ask_with("GET", "/readyz", "", "").expect(503);
    assert_eq!(readiness["reasons"][0]["code"], "draining");
    assert_eq!(server.ask_with("GET", "/healthz", "", "").status, 200);
    assert!(TcpStream::connect(server.public).is_err(), "new connections are for others");
    drop(guest);
    assert_eq!(server.serving.exit_code(), Some(0), "the last has gone");
}

#[test]
fn a_server_that_is_told_to_stop_by_a_signal_says_so_too() {
    let mut server = Administered::start(&["--drain-ms", "60000"]);
    let mut guest = raw(server.public, "/echo");
    guest.write_all(b"\x81\x85\0\0\0\0he").expect("it is taken");
    signal("TERM", server.serving.child.id());
    server.serving.line_with("stopping");
    while server.ask_with("GET", "/readyz", "", "").status != 503 {}
    assert_eq!(server.ask_with("GET", "/healthz", "", "").status, 200);
    drop(guest);
    assert_eq!(server.serving.exit_code(), Some(0));
}

#[test]
fn a_drain_that_says_no_time_is_what_sigterm_is() {
    let mut server = Administered::start(&[]);
    let mut page = Page::open(server.public, "/echo");
    assert!(server.ask("POST", "/api/v1/drain", "").expect(202)["within_ms"].is_u64());
    page.expect_close(1001);
    assert_eq!(server.serving.exit_code(), Some(0));
    assert!(server.serving.said.contains("as the administrator asks"), "{}", server.serving.said);
}

// ---------------------------------------------------------------------- who may

#[test]
fn the_api_wants_its_token_and_each_other_one_is_refused() {
    let server = Administered::start(&["--admin-password", "another"]);
    assert_eq!(server.get("/api/v1/channels"), json!({"channels": [], "next": null}));
    let wrong = ["Bearer wrong", "Bearer another", "Bearer", "Basic dG9rZW4=", TOKEN];
    for credentials in wrong {
        let lines = format!("Authorization: {credentials}\r\n");
        let answer = server.ask_with("GET", "/api/v1/channels", &lines, "");
        answer.expect_error(401, "wrong_token", None, &[]);
        assert!(answer.head.contains("WWW-Authenticate: Bearer "), "{answer:?}");
    }
    for path in ["/api/v1/channels", "/api/v1/nothing"] {
        server.ask_with("GET", path, "", "").expect_error(401, "unauthorized", None, &["Bearer TOKEN"]);
    }
    assert_eq!(server.ask_with("GET", "/api/v1/openapi.json", "", "").expect(200)["openapi"], "3.1.0");
    // Five were wrong; from the tenth on only who shows the right one is listened to at this address.
    let guess = |token: &str| {
        let lines = format!("Authorization: Bearer {token}\r\n");
        server.ask_with("POST", "/api/v1/kick", &lines, "{}")
    };
    assert_eq!([(); 5].map(|()| guess("wrong").status), [401; 5]);
    let answer = guess("wrong");
    answer.expect_error(429, "too_many_attempts", None, &["try again in"]);
    assert!(answer.head.contains("\r\nRetry-After: "), "{answer:?}");
    guess(TOKEN).expect_error(400, "missing_field", Some("connection"), &[]);
    assert_eq!(server.ask_with("GET", "/healthz", "", "").status, 200);
}

#[test]
fn who_comes_to_stay_keeps_nobody_from_asking() {
    let server = Administered::start(&[]);
    let guests: Vec<_> = (0..40).map(|_| TcpStream::connect(server.admin).expect("it listens")).collect();
    for _ in 0..3 {
        assert_eq!(server.ask_with("GET", "/healthz", "", "").status, 200);
    }
    assert_eq!(server.get("/api/v1/channels")["next"], Value::Null);
    drop(guests);
}

#[test]
fn an_api_without_a_token_says_how_it_gets_one() {
    let server = Administered::start_without_token();
    assert!(server.serving.said.contains("--admin-token-file"), "{}", server.serving.said);
    let answer = server.ask("GET", "/api/v1/channels", "");
    answer.expect_error(403, "no_token", None, &["--admin-token-file", "SOCKEYE_ADMIN_TOKEN"]);
    assert_eq!(server.ask("GET", "/readyz", "").status, 200);
}

#[test]
fn the_token_may_come_from_a_file_and_the_environment_and_is_not_shown() {
    let file = File::new("admin-token", format!("{TOKEN}\n"));
    for (flags, variable) in [
        (&["--admin-token-file", file.path()][..], ""),
        (&[], "SOCKEYE_ADMIN_TOKEN"),
        (&[], "SOCKEYE_AUTH__ADMIN_TOKEN"),
    ] {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log", "text"];
        let mut command = sockeye(&[&arguments, flags].concat());
        if !variable.is_empty() {
            command.env(variable, TOKEN);
        }
        let mut serving = Serving::spawn(command);
        let address = administration(&mut serving).parse().expect("an address and port");
        let get = |token| {
            let head =
                format!("GET /api/v1/rooms HTTP/1.1\r\nHost: a\r\nAuthorization: bearer {token}\r\n\r\n");
            ask(address, &head).status
        };
        assert_eq!((get(TOKEN), get("guessed")), (200, 401));
        serving.line_with("WARN administration refused");
        signal("TERM", serving.child.id());
        assert_eq!(serving.exit_code(), Some(0));
        assert!(!serving.said.contains(TOKEN) && !serving.said.contains("guessed"), "{}", serving.said);
    }
    let empty = File::new("admin-token-empty", "\n");
    expect_usage(&["serve", "--admin-token-file", empty.path()], &["--admin-token-file", "empty"]);
    let spaced = File::new("admin-token-spaced", "two words");
    expect_usage(&["serve", "--admin-token-file", spaced.path()], &["--admin-token-file", "spaces"]);
    expect_usage(&["serve", "--admin-token-file", "/nowhere/at/all"], &["--admin-token-file", "/nowhere"]);
    expect_usage(&["serve", "--admin", "127.0.0.1"], &["--admin", "127.0.0.1"]);
    expect_usage(&["serve", "--admin", "127.0.0.1:1=echo"], &["--admin"]);
}

// ---------------------------------------------------------------------- lists

#[test]
fn places_and_connections_are_listed_page_by_page() {
    let server = Administered::start(&[]);
    let channels = ["a", "b", "c", "d", "e"];
    let mut pages: Vec<_> = channels.iter().map(|name| member(server.public, name)).collect();
    pages.push(member(server.public, "a"));
    let _room = Page::open(server.public, "/room/lobby");
    let mut group = Page::open(server.public, "/envelope?groupid=g&userid=bob");
    group.send(r#"{"action":"hello","message":"m","groupId":"g"}"#).next();

    let mut found = Vec::new();
    let mut target = "/api/v1/channels?limit=2".to_owned();
    loop {
        let page = server.get(&target);
        let entries = page["channels"].as_array().expect("a list");
        assert!(entries.len() <= 2, "{page}");
        found.extend(entries.iter().map(|entry| (entry["name"].to_string(), entry["members"].clone())));
        match page["next"].as_str() {
            Some(next) => target = format!("/api/v1/channels?limit=2&cursor={next}"),
            None => break,
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let expected: Vec<_> =
        channels.iter().map(|name| (format!("\"{name}\""), json!(1 + u32::from(*name == "a")))).collect();
    assert_eq!(found, expected);
    assert_eq!(server.get("/api/v1/channels?name=a")["channels"], json!([{"name": "a", "members": 2}]));
    assert_eq!(server.get("/api/v1/channels?name=nobody")["channels"], json!([]));
    assert_eq!(server.get("/api/v1/rooms")["rooms"], json!([{"name": "lobby", "members": 1}]));
    assert_eq!(server.get("/api/v1/groups")["groups"], json!([{"name": "g", "members": 1}]));

    let all = server.get("/api/v1/connections?limit=1000");
    let all = all["connections"].as_array().expect("a list");
    assert_eq!(all.len(), 8, "those that administer are not among them");
    let first = server.get("/api/v1/connections?limit=3");
    let rest = server.get(&format!("/api/v1/connections?cursor={}", first["next"].as_str().expect("more")));
    let both = [&first, &rest].map(|page| page["connections"].as_array().expect("a list").clone()).concat();
    assert_eq!(
        both.iter().map(|one| &one["id"]).collect::<Vec<_>>(),
        all.iter().map(|one| &one["id"]).collect::<Vec<_>>()
    );
    let bob = all.iter().find(|one| one["dialect"] == "envelope").expect("it is there");
    assert_eq!(bob["user"], json!({"id": "bob", "name": "bob", "verified": false}));
    assert!(bob["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")), "{bob}");
    assert!(bob["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{bob}");
    assert_eq!((&bob["channels"], &bob["queued_bytes"]), (&json!(1), &json!(0)));
    let id = bob["id"].as_str().expect("an id");
    assert_eq!(&server.get(&format!("/api/v1/connections/{id}")), bob);
    for id in ["99.99", "nobody", "0", "..", "1.1.1", "%31.1"] {
        let answer = server.ask("GET", &format!("/api/v1/connections/{id}"), "");
        answer.expect_error(404, "not_found", Some("id"), &["no open connection"]);
    }
}

#[test]
fn a_query_is_strict() {
    let server = Administered::start(&[]);
    for (query, code, field, words) in [
        ("limits=3", "unknown_parameter", "limits", &["did you mean limit?"][..]),
        ("limit=0", "invalid_value", "limit", &["from 1 to 1000"]),
        ("limit=1001", "invalid_value", "limit", &["from 1 to 1000"]),
        ("limit=-1", "invalid_value", "limit", &[]),
        ("limit=", "invalid_value", "limit", &[]),
        ("limit=99999999999999999999", "invalid_value", "limit", &[]),
        ("limit=1&limit=2", "conflict", "limit", &["more than once"]),
        ("cursor=next", "invalid_value", "cursor", &["next"]),
    ] {
        for list in ["channels", "groups", "rooms", "connections"] {
            let answer = server.ask("GET", &format!("/api/v1/{list}?{query}"), "");
            answer.expect_error(400, code, Some(field), words);
        }
    }
    assert_eq!(server.get("/api/v1/connections?cursor=4000000000"), json!({"connections": [], "next": null}));
    let post = server.ask("POST", "/api/v1/channels", "{}");
    post.expect_error(405, "method_not_allowed", None, &["GET, HEAD"]);
    let get = server.ask("GET", "/api/v1/kick", "");
    get.expect_error(405, "method_not_allowed", None, &["POST"]);
    assert!(get.head.contains("\r\nAllow: POST\r\n"), "{get:?}");
    server.ask("GET", "/api/v1/chanels", "").expect_error(404, "not_found", None, &["openapi.json"]);
    let head = server.ask("HEAD", "/api/v1/channels", "");
    assert!(head.status == 200 && head.body.is_empty(), "{head:?}");
}

// ---------------------------------------------------------------------- deeds

#[test]
fn what_is_published_is_heard_where_it_is_for() {
    let users = File::new("admin-users", "[[user]]\ntoken = \"t\"\nid = \"7\"\nname = \"Alice\"\n");
    let server = Administered::start(&["--users", users.path()]);
    let mut page = member(server.public, "news");
    assert!(page.is_known("t"));
    let mut room = Page::open(server.public, "/room/lobby");
    let mut bob = Page::open(server.public, "/envelope?groupid=g&userid=bob");
    bob.send(r#"{"action":"hello","message":"m","groupId":"g"}"#).next();
    let heard = json!({"delivered": 1, "refused": 0});

    let from = json!({"id": "ops", "name": "Operator"});
    let answer = server.post("publish", json!({"channel": "news", "text": "noon <3", "from": from}));
    assert_eq!(answer.expect(200), heard);
    let said = page.json();
    assert_eq!(said["data"][0]["channel_name"], "news", "{said}");
    assert!(said.to_string().contains("Operator") && said.to_string().contains("noon"), "{said}");

    assert_eq!(server.post("publish", json!({"user": "7", "text": "hello"})).expect(200), heard);
    let said = page.json();
    assert!(said.to_string().contains("hello") && said.to_string().contains("admin"), "{said}");

    assert_eq!(server.post("publish", json!({"room": "lobby", "text": "as it is"})).expect(200), heard);
    assert_eq!(room.next(), "as it is");

    let news = json!({"group": "g", "text": "to all", "action": "news", "from": {"id": "ops"}});
    assert_eq!(server.post("publish", news).expect(200), heard);
    let said = bob.json();
    assert_eq!(
        (&said["action"], &said["message"], &said["userId"]),
        (&json!("news"), &json!("to all"), &json!("ops"))
    );
    assert_eq!(server.post("publish", json!({"user": "bob", "text": "to you"})).expect(200), heard);
    let said = bob.json();
    assert_eq!(
        (&said["action"], &said["message"], &said["userId"]),
        (&json!("message"), &json!("to you"), &json!("admin"))
    );

    // A group without members hears it later; nothing else is there without a member.
    assert_eq!(server.post("publish", json!({"group": "later", "text": "t"})).expect(200)["delivered"], 0);
    for kind in ["channel", "room", "user"] {
        server.post("publish", json!({kind: "nobody", "text": "t"})).expect_error(
            404,
            "not_found",
            Some(kind),
            &[kind],
        );
    }
}

#[test]
fn a_body_is_strict() {
    let server = Administered::start(&["--json-message-bytes-max", "2KiB"]);
    for (body, code, field, words) in [
        (
            json!({"chanel": "a", "text": "t"}),
            "unknown_field",
            Some("chanel"),
            &["did you mean channel?"][..],
        ),
        (json!({"channel": "a", "txt": "t"}), "unknown_field", Some("txt"), &["did you mean text?"]),
        (
            json!({"channel": "a", "text": "t", "from": {"nam": "n"}}),
            "unknown_field",
            Some("from.nam"),
            &["from.name?"],
        ),
        (json!({"text": "t"}), "missing_field", Some("channel"), &["channel, group, room, user"]),
        (json!({"channel": "a", "room": "b", "text": "t"}), "conflict", Some("room"), &["exactly one"]),
        (json!({"channel": "a"}), "missing_field", Some("text"), &["text"]),
        (json!({"channel": "a", "text": " \n"}), "invalid_value", Some("text"), &["blank"]),
        (json!({"channel": 1, "text": "t"}), "invalid_value", Some("channel"), &["a string"]),
        (json!({"channel": "a", "text": null}), "invalid_value", Some("text"), &["a string"]),
        (json!({"channel": "a", "text": "t", "from": "me"}), "invalid_value", Some("from"), &["an object"]),
        (
            json!({"channel": "a", "text": "t", "from": {"id": 7}}),
            "invalid_value",
            Some("from.id"),
            &["a string"],
        ),
        (
            json!({"channel": "a", "text": "t", "action": "x"}),
            "conflict",
            Some("action"),
            &["groups and users"],
        ),
        (json!({"room": "a", "text": "t", "from": {}}), "conflict", Some("from"), &["leave from out"]),
        (json!({"channel": "n".repeat(1_025), "text": "t"}), "too_long", Some("channel"), &["1025", "1024"]),
        (json!(["channel"]), "invalid_body", None, &["object"]),
    ] {
        server.post("publish", body).expect_error(400, code, field, words);
    }
    for body in ["{", "nonsense", "{} {}", "\u{feff}{}"] {
        server.ask("POST", "/api/v1/publish", body).expect_error(400, "invalid_json", None, &[]);
    }
    for (body, code, field) in [
        (json!({}), "missing_field", "connection"),
        (json!({"user": "a", "connection": "0.0"}), "conflict", "user"),
        (json!({"user": "a", "code": 1005}), "invalid_value", "code"),
        (json!({"user": "a", "code": 70_000}), "invalid_value", "code"),
        (json!({"user": "a", "code": "1000"}), "invalid_value", "code"),
        (json!({"user": "a", "reason": "r".repeat(124)}), "too_long", "reason"),
        (json!({"user": "a", "resaon": ""}), "unknown_field", "resaon"),
    ] {
        server.post("kick", body).expect_error(400, code, Some(field), &[]);
    }
    server.post("drain", json!({"within": 1})).expect_error(
        400,
        "unknown_field",
        Some("within"),
        &["within_ms"],
    );
    server.post("drain", json!({"within_ms": -1})).expect_error(
        400,
        "invalid_value",
        Some("within_ms"),
        &["86400000"],
    );
    server.post("reload", json!({"what": 1})).expect_error(400, "unknown_field", Some("what"), &[]);
    server.post("reload", json!({})).expect_error(409, "nothing_to_reload", None, &["--users"]);

    let post = |lines: &str, body: &str| {
        let token = format!("Authorization: Bearer {TOKEN}\r\n");
        ask(server.admin, &format!("POST /api/v1/publish HTTP/1.1\r\nHost: a\r\n{token}{lines}\r\n{body}"))
    };
    let json = "Content-Type: application/json\r\n";
    post(json, "").expect_error(411, "length_required", None, &["Content-Length"]);
    post(&format!("{json}Transfer-Encoding: chunked\r\n"), "2\r\n{}\r\n0\r\n\r\n").expect_error(
        411,
        "length_required",
        None,
        &[],
    );
    post(&format!("{json}Content-Length: 1\r\nContent-Length: 2\r\n"), "{}").expect_error(
        400,
        "invalid_length",
        None,
        &[],
    );
    post(&format!("{json}Content-Length: +2\r\n"), "{}").expect_error(400, "invalid_length", None, &[]);
    post(&format!("{json}Content-Length: 2049\r\n"), "").expect_error(
        413,
        "too_large",
        None,
        &["2049", "2048"],
    );
    for kind in ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"] {
        post(&length(kind, "{}"), "{}").expect_error(
            415,
            "unsupported_media_type",
            None,
            &["application/json"],
        );
    }
    let kind = "content-type: Application/JSON; charset=utf-8\r\n";
    post(&length(kind, "{}"), "{}").expect_error(400, "missing_field", Some("channel"), &[]);
    post(&format!("{json}Content-Length: 0\r\n"), "").expect_error(
        400,
        "missing_field",
        Some("channel"),
        &[],
    );
}

#[test]
fn who_is_kicked_is_told_why_and_gone() {
    let users = File::new("admin-kick", "[[user]]\ntoken = \"t\"\nid = \"7\"\n");
    let server = Administered::start(&["--users", users.path()]);
    let mut pages = [(); 2].map(|()| {
        let mut page = Page::open(server.public, "/actions");
        assert!(page.is_known("t"));
        page
    });
    let mut bob = Page::open(server.public, "/envelope?userid=bob");
    bob.send(r#"{"action":"hello","message":"m","recipients":[{"type":"user","value":"bob"}]}"#).next();
    let mut guest = Page::open(server.public, "/echo");
    let all = server.get("/api/v1/connections");
    let guest_id =
        all["connections"].as_array().and_then(|all| all.iter().find(|one| one["dialect"] == "echo"));
    let guest_id = &guest_id.expect("it is there")["id"];

    let answer = server.post("kick", json!({"connection": guest_id, "code": 4001, "reason": "good bye"}));
    assert_eq!(answer.expect(200), json!({"closed": 1, "remaining": 0}));
    assert_eq!(guest.expect_close(4001), "good bye");
    assert_eq!(server.post("kick", json!({"user": "7"})).expect(200)["closed"], 2);
    for page in &mut pages {
        assert_eq!(page.expect_close(1008), "closed by the administrator");
    }
    assert_eq!(server.post("kick", json!({"user": "bob", "reason": ""})).expect(200)["closed"], 1);
    assert_eq!(bob.expect_close(1008), "");
    for body in [
        json!({"user": "7"}),
        json!({"user": "nobody"}),
        json!({"connection": "9.9"}),
        json!({"connection": "x"}),
    ] {
        let answer = server.post("kick", body);
        let error = answer.expect(404);
        assert_eq!(error["error"]["code"], "not_found", "{error}");
    }
}

#[test]
fn files_are_read_again_when_asked_for() {
    let users = File::new("admin-reload", "");
    let mut server = Administered::start(&["--users", users.path()]);
    let mut page = Page::open(server.public, "/actions");
    assert!(!page.is_known("t"));
    users.write("[[user]]\ntoken = \"t\"\nid = \"7\"\n");
    assert_eq!(server.ask("POST", "/api/v1/reload", "").expect(202), json!({"status": "reloading"}));
    server.serving.line_with("users read again: 1 user");
    assert!(page.is_known("t"));
}

// ---------------------------------------------------------------------- addresses

#[test]
fn it_may_be_administered_by_a_unix_socket_and_over_tls() {
    let path = std::env::temp_dir().join(format!("sockeye-admin-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let address = format!("unix:{}", path.display());
    let mut serving =
        Serving::start(&["--listen", "127.0.0.1:0", "--admin", &address, "--admin-token", TOKEN]);
    assert_eq!(administration(&mut serving), address);
    let mut stream = UnixStream::connect(&path).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a time");
    let request =
        format!("GET /api/v1/connections HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer ends");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"connections\":[]"), "{answer}");
    drop(stream);
    signal("TERM", serving.child.id());
    assert_eq!(serving.exit_code(), Some(0));
    assert!(!path.exists());

    let arguments =
        ["--listen", "127.0.0.1:0", "--admin", "tls:127.0.0.1:0", "--tls-self-signed", "--log", "json"];
    let mut serving = Serving::start(&arguments);
    let record: Value = serde_json::from_str(&serving.line_with("\"administration\"")).expect("a record");
    let address = record["address"].as_str().and_then(|address| address.strip_prefix("tls:"));
    let address: SocketAddr = address.and_then(|address| address.parse().ok()).expect("an address");
    assert_eq!(record["api"], false);
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a time");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is taken");
    let mut hint = String::new();
    stream.read_to_string(&mut hint).expect("the answer ends");
    assert!(hint.contains("TLS"), "{hint}");
}
