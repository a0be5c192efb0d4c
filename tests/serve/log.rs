//! The log: its two forms, what is in it, and what never is.

use crate::{
    page::{File, Page, push},
    serving::{Serving, output, sockeye},
    tool::{PATIENCE, signal},
};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
};

const PASSWORD: &str = "password-of-the-admin";
const TOKEN: &str = "token-of-alice";
const TEXT: &str = "text-of-a-message";

/// A server with users and a log, after everything that could have brought a secret into it; its whole stderr.
fn eventful_run(flags: &[&str]) -> String {
    let name = format!("log-users-{}", flags.concat());
    let users = File::new(&name, format!("[[user]]\ntoken = \"{TOKEN}\"\nid = \"7\"\n"));
    let mut serving = Serving::start(
        &[
            &["--listen", "127.0.0.1:0", "--users", users.path(), "--admin-password", PASSWORD],
            &["--paths-strict", "--actions-burst-max", "20", "--actions-per-second-max", "1"][..],
            flags,
        ]
        .concat(),
    );
    let address = address(&mut serving);

    let mut page = Page::open_with(address, "/actions", &[("Cookie", &format!("armor_sid_user={TOKEN}"))]);
    assert!(page.is_known(TOKEN));
    assert!(page.is_known(&format!("admin:{PASSWORD}")));
    assert!(!page.is_known(&format!("admin:{PASSWORD}-not")));
    assert!(!page.is_known(&format!("{TOKEN}-not")));
    assert_eq!(page.ask(r#"[{"action":"authenticate"}]"#), "", "by its cookie");
    assert_eq!(page.ask(r#"[{"action":"join_channel","channel_name":"a"}]"#), "");
    page.send(&format!(r#"[{{"action":"message_channel","channel_name":"a","message":"{TEXT}"}}]"#)).next();
    assert!(
        !page.ask(&format!(r#"[{{"action":"message_user","uuid":"nobody","message":"{TEXT}"}}]"#)).is_empty()
    );
    assert!(!page.ask(&format!(r#"[{{"action":"{TEXT}"}}]"#)).is_empty());
    assert!(!page.ask(&format!(r#"[{{"action":"authenticate","token":"{TOKEN}"#)).is_empty());
    while !page.ask(r#"[{"action":"list_channels"}]"#).contains("Too many") {}
    page.close();

    let mut envelope = Page::open(address, &format!("/envelope?userid={TEXT}"));
    envelope.send(&format!("{{\"message\":\"{TEXT}"));
    let body = format!(r#"{{"action":"a","message":"{TEXT}"}}"#);
    assert!(push(address, Some(PASSWORD), &body).0.starts_with("HTTP/1.1 200 "));
    envelope.next();
    assert!(push(address, Some(&format!("{PASSWORD}-not")), &body).0.starts_with("HTTP/1.1 401 "));
    assert!(push(address, None, &format!("{{\"message\":\"{TEXT}\"")).0.starts_with("HTTP/1.1 400 "));
    envelope.close();
    assert!(Page::expect_refusal(address, "/no%1b[31m such").contains("404"));

    signal("HUP", serving.child.id());
    serving.line_with("read again");
    signal("TERM", serving.child.id());
    assert_eq!(serving.exit_code(), Some(0), "{}", serving.said);
    serving.said.clone()
}

/// Where it listens, whichever way it says so.
fn address(serving: &mut Serving) -> SocketAddr {
    let line = serving.line_with("listening");
    let address = match serde_json::from_str::<Value>(&line) {
        Ok(record) => record["address"].as_str().map(str::to_owned),
        Err(_) => line.split(' ').nth(3).map(str::to_owned),
    };
    address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("an address: {line}"))
}

#[track_caller]
fn expect_no_secret(said: &str) {
    for secret in [PASSWORD, TOKEN, TEXT] {
        assert!(!said.contains(secret), "{secret} is in {said}");
    }
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

/// What happened, as both forms are to have it: level, message, and keys.
const HAPPENED: [(&str, &str, &[&str]); 14] = [
    ("info", "listening", &["address", "dialect", "url"]),
    ("info", "serving", &["version", "connections_max", "descriptors_max", "limits"]),
    ("info", "users read", &["count", "file"]),
    ("info", "connection opened", &["connection", "address", "path", "dialect"]),
    ("info", "authenticated", &["connection", "user"]),
    ("info", "action refused", &["connection", "problem"]),
    ("warn", "too many actions: refused until there are fewer", &["connection"]),
    ("info", "connection closed", &["connection", "code", "clean", "cause"]),
    ("info", "message pushed", &["connection", "delivered"]),
    ("warn", "push refused", &["connection", "address", "status"]),
    ("info", "handshake refused", &["connection", "address", "path", "status", "reason"]),
    ("info", "users read again", &["count", "file"]),
    ("info", "stopping", &["signal"]),
    ("info", "stopped", &[]),
];

/// `2026-11-25T14:05:00.123Z`, at about this time.
#[track_caller]
fn expect_time(text: &str) {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{text}");
    let parsed: jiff::Timestamp = text.parse().expect("RFC 3339");
    let age = jiff::Timestamp::now().as_millisecond() - parsed.as_millisecond();
    assert!((0..120_000).contains(&age), "{text} is {age} ms ago");
}

#[test]
fn as_json_every_line_is_a_record() {
    let said = eventful_run(&["--log", "json"]);
    expect_no_secret(&said);
    let records: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    for record in &records {
        expect_time(record["time"].as_str().expect("a text"));
        assert!(["error", "warn", "info"].iter().any(|level| record["level"] == *level), "{record}");
    }
    for (level, message, keys) in HAPPENED {
        let is_it = |record: &&Value| record["level"] == level && record["message"] == message;
        let record = records.iter().find(is_it).unwrap_or_else(|| panic!("{level} {message} in {said}"));
        for key in keys {
            assert!(!record[key].is_null(), "{key} in {record}");
        }
        assert_eq!(record.as_object().map(serde_json::Map::len), Some(keys.len() + 3), "{record}");
    }
    let find =
        |message: &str| records.iter().find(|record| record["message"] == message).expect("it is there");
    assert_eq!(find("message pushed")["delivered"], 1);
    assert_eq!(find("handshake refused")["status"], 404);
    assert_eq!(find("authenticated")["user"], "7");
    assert_eq!(find("users read")["count"], 1);
    assert_eq!(find("stopping")["signal"], "SIGTERM");
    assert_eq!(
        (&find("connection closed")["code"], &find("connection closed")["clean"]),
        (&1005.into(), &true.into())
    );
}

#[test]
fn as_text_records_are_lines_beside_those_that_scripts_read() {
    let said = eventful_run(&["--log", "text"]);
    expect_no_secret(&said);
    assert!(said.starts_with("sockeye: listening on 127.0.0.1:"), "{said}");
    let records: Vec<&str> = said.lines().filter(|line| !line.starts_with("sockeye: ")).collect();
    for record in &records {
        let (time, rest) = record.split_once(' ').expect("a time and more");
        expect_time(time);
        assert!(["ERROR ", "WARN ", "INFO "].iter().any(|level| rest.starts_with(level)), "{record}");
    }
    for (level, message, keys) in HAPPENED {
        let begins =
            format!("{} {message}{}", level.to_ascii_uppercase(), if keys.is_empty() { "" } else { " " });
        let is_it = |record: &&&str| {
            record.split_once(' ').is_some_and(|(_, rest)| {
                rest.starts_with(&begins) && keys.iter().all(|key| rest.contains(&format!(" {key}=")))
            })
        };
        assert!(records.iter().any(|record| is_it(&record)), "{begins} with {keys:?} in {said}");
    }
    // Whoever reads it can tell where a value ends.
    assert!(said.contains(" problem=\"invalid token\"\n"), "{said}");
}

#[test]
fn at_debug_nothing_is_told_that_should_not_be_either() {
    let said = eventful_run(&["--log", "json", "--log-level", "debug"]);
    expect_no_secret(&said);
    for message in ["joined", "left", "message ignored: it could not be read"] {
        assert!(
            said.contains(&format!("\"level\":\"debug\",\"message\":\"{message}\"")),
            "{message} in {said}"
        );
    }
}

/// The record of somebody who sends this and is not let in.
fn refusal_of(serving: &mut Serving, address: SocketAddr, sent: &[u8], message: &str) -> Value {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(sent).expect("it reads");
    let record: Value = serde_json::from_str(&serving.line_with(message)).expect("a record");
    assert_eq!((&record["level"], &record["message"]), (&"info".into(), &message.into()), "{record}");
    assert_eq!(record["address"], stream.local_addr().expect("it has one").to_string(), "{record}");
    assert!(record["connection"].is_string(), "{record}");
    record
}

#[test]
fn who_is_not_let_in_is_in_the_log_whoever_refused_it() {
    let listens = ["--listen", "127.0.0.1:0", "--listen", "tls:127.0.0.1:0", "--tls-self-signed"];
    let rules = ["--origin", "https://a", "--paths-strict", "--log", "json"];
    let mut serving = Serving::start(&[&listens[..], &rules].concat());
    let address = address(&mut serving);
    let line: Value = serde_json::from_str(&serving.line_with("listening")).expect("a record");
    let under_tls = line["address"].as_str().and_then(|address| address.strip_prefix("tls:"));
    let under_tls = under_tls.and_then(|address| address.parse().ok()).expect("an address");

    let request = |target: &str, line: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{line}\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
    };
    let refused = "handshake refused";
    let foreign = request("/echo?a", "Origin: https://b\r\n");
    let record = refusal_of(&mut serving, address, foreign.as_bytes(), refused);
    assert_eq!((&record["status"], &record["path"]), (&403.into(), &"/echo".into()));
    assert_eq!(
        record["reason"],
        "pages of this origin may not connect: the server's list of origins does not name it"
    );
    let record = refusal_of(&mut serving, address, request("/elsewhere", "").as_bytes(), refused);
    assert_eq!((&record["status"], &record["path"]), (&404.into(), &"/elsewhere".into()));
    let record = refusal_of(&mut serving, address, b"\x1b[2J\r\n\r\n", refused);
    assert_eq!((&record["status"], &record["path"]), (&400.into(), &Value::Null));
    let record = refusal_of(&mut serving, under_tls, &[0; 64], "TLS handshake failed");
    assert!(record["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{record}");
    let record = refusal_of(&mut serving, under_tls, b"GET / HTTP/1.1\r\n", refused);
    assert_eq!(record["status"], 400);
    signal("TERM", serving.child.id());
    assert_eq!(serving.exit_code(), Some(0), "{}", serving.said);
}

#[test]
fn without_a_log_there_is_none() {
    let said = eventful_run(&[]);
    expect_no_secret(&said);
    assert!(said.lines().all(|line| line.starts_with("sockeye: ")), "{said}");
}

#[test]
fn what_is_said_without_a_log_is_said_at_every_level() {
    let said = eventful_run(&["--log", "json", "--log-level", "error"]);
    for message in ["listening", "serving", "users read", "users read again", "stopping"] {
        assert!(said.contains(&format!("\"message\":\"{message}\"")), "{message} in {said}");
    }
    for message in ["connection opened", "too many", "stopped"] {
        assert!(!said.contains(message), "{message} in {said}");
    }
}

#[test]
fn a_failure_at_start_is_a_record_too() {
    let output = output(&["serve", "--listen", "127.0.0.1:0", "--users", "/nonexistent", "--log", "json"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let record: Value = serde_json::from_slice(&output.stderr).expect("one record");
    assert_eq!(record["level"], "error");
    assert!(record["message"].as_str().is_some_and(|text| text.contains("/nonexistent")), "{record}");
}

#[test]
fn the_password_that_is_made_is_a_record_if_all_lines_are() {
    let mut serving = Serving::start(&["--listen", "127.0.0.1:0", "--log", "json"]);
    let address = address(&mut serving);
    let record: Value = serde_json::from_str(&serving.line_with("admin password")).expect("it is a record");
    let password = record["password"].as_str().expect("it is there");
    assert!(Page::open(address, "/actions").is_known(&format!("admin:{password}")));
    signal("TERM", serving.child.id());
    assert_eq!(serving.exit_code(), Some(0));
    assert_eq!(serving.said.matches(password).count(), 1, "{}", serving.said);
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let mut command =
        sockeye(&["serve", "--listen", "127.0.0.1:0", "--log", "json", "--actions-burst-max", "0"]);
    let mut child = command.spawn().expect("the binary starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("where it listens");
    let record: Value = serde_json::from_str(&line).expect("it is a record");
    let address = record["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");

    // From here on nobody reads: some 5 MB, which neither the pipe nor the queue holds.
    let refused = format!("[{}]", vec![r#"{"action":"x"}"#; 250].join(","));
    let mut page = Page::open(address, "/actions");
    for _ in 0..160 {
        page.send(&refused);
        for _ in 0..250 {
            page.next();
        }
    }
    signal("TERM", child.id());

    // Somebody reads again: whole lines, and how many are missing.
    let lines: Vec<String> = stderr.lines().map_while(Result::ok).collect();
    let records: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let refused = records.iter().filter(|record| record["message"] == "action refused").count() as u64;
    let dropped = records.iter().filter(|record| record["message"] == "log records were dropped");
    let dropped: u64 = dropped.filter_map(|record| record["count"].as_u64()).sum();
    assert!(dropped > 0 && refused > 0, "{refused} are there, {dropped} are not");
    assert!(refused + dropped >= 160 * 250, "{refused} and {dropped}");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let path = std::env::temp_dir().join(format!("sockeye-serve-{}-full.sock", std::process::id()));
    let unix = format!("unix:{}", path.display());
    let mut command = sockeye(&["serve", "--listen", &unix, "--log", "text"]);
    command.stderr(std::fs::File::options().write(true).open("/dev/full").expect("there is /dev/full"));
    let mut child = command.spawn().expect("the binary starts");
    let begun = std::time::Instant::now();
    let stream = loop {
        match std::os::unix::net::UnixStream::connect(&path) {
            Ok(stream) => break stream,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "it listens: {error}"),
        }
    };
    drop(stream);
    signal("TERM", child.id());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
