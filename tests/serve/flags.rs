//! How the hub behaves, by flags.

use crate::{
    page::{Page, http, push},
    serving::{Serving, expect_usage, sockeye},
    tool::PATIENCE,
};
use sockeye::client::{Event, WebSocket};
use std::net::SocketAddr;

const FREE: [&str; 2] = ["--listen", "127.0.0.1:0"];

fn start(flags: &[&str]) -> (Serving, SocketAddr) {
    let mut serving = Serving::start(&[&FREE, flags].concat());
    let address = serving.listening_ip();
    (serving, address)
}

#[test]
fn each_listener_has_its_dialect_and_says_so_and_where_the_page_is() {
    let mut serving = Serving::start(&[
        "--listen",
        "127.0.0.1:0=chat",
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.1:0=envelope",
    ]);
    for expected in ["chat", "auto (the first message decides)", "envelope"] {
        let line = serving.line();
        let url = line.rsplit_once(", http://").expect("where the page is").1;
        let address = url.trim_end_matches('/');
        assert_eq!(line, format!("sockeye: listening on {address} for {expected}, http://{address}/"));
        let address = address.parse().expect("it is an address");
        let (head, body) = http(address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 ") && body.contains("<html"), "{head}");
        let mut page = Page::open(address, "/");
        match expected {
            "chat" => assert_eq!(page.json()["type"], "id"),
            "envelope" => {
                let sent = r#"{"action":"a","message":"m","groupId":"","userId":"","recipients":[]}"#;
                assert_eq!(page.send(sent).next(), sent);
            }
            _ => assert_eq!(page.send("hello").next(), "hello"),
        }
    }
}

#[test]
fn without_pages_there_is_no_url_and_426() {
    let mut serving = Serving::start(&[&FREE[..], &["--no-pages"]].concat());
    let line = serving.line();
    assert!(!line.contains("http:"), "{line}");
    assert!(line.ends_with(" for auto (the first message decides)"), "{line}");
    let address = line.split(' ').nth(3).and_then(|address| address.parse().ok()).expect("an address");
    let (head, _) = http(address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
    // Pushing is no page.
    let (head, body) = push(address, None, r#"{"action":"a","message":"m"}"#);
    assert!(head.starts_with("HTTP/1.1 200 ") && body.contains("\"delivered\":0"), "{head} {body}");
}

#[test]
fn without_a_command_the_defaults_are_served() {
    let mut serving = Serving::spawn(sockeye(&[]));
    let line = serving.line();
    // Somebody else may have the port.
    let served =
        "sockeye: listening on 127.0.0.1:4863 for auto (the first message decides), http://127.0.0.1:4863/";
    assert!(line == served || line.contains("in use"), "{line}");
}

#[test]
fn strict_paths_are_404_and_others_upgrade() {
    let (_serving, address) = start(&["--paths-strict"]);
    let why = Page::expect_refusal(address, "/nonsense");
    assert!(why.contains("404"), "{why}");
    assert_eq!(Page::open(address, "/").send("hello").next(), "hello");
    assert_eq!(Page::open(address, "/echo").send("hello").next(), "hello");

    let (_serving, address) = start(&[]);
    assert_eq!(Page::open(address, "/nonsense").send("hello").next(), "hello");
}

#[test]
fn strict_subprotocols_are_400() {
    let (_serving, address) = start(&["--subprotocols-strict", "--subprotocol", "mine"]);
    let offer = |name: &str| {
        let mut ws = WebSocket::connect(&format!("ws://{address}/"), &[name]).expect("it is a URL");
        (ws.next_event_within(PATIENCE), ws.protocol().to_owned())
    };
    let (event, _) = offer("soap");
    assert!(matches!(&event, Some(Event::Error(why)) if why.contains("400")), "{event:?}");
    for known in ["mine", "chat", "json", "echo", "actions"] {
        assert_eq!(offer(known), (Some(Event::Open), known.to_owned()));
    }
}

#[test]
fn acknowledgements_can_be_left_out() {
    let (_serving, address) = start(&["--no-acks"]);
    let mut page = Page::open(address, "/actions");
    page.send(
        r#"[{"action":"join_channel","channel_name":"a"},{"action":"leave_channel","channel_name":"a"}]"#,
    );
    page.send(r#"[{"action":"join_channel","channel_name":"b","id":7}]"#);
    assert_eq!(page.json()["id"], 7, "the first answer is to the one that asked for it");

    let (_serving, address) = start(&[]);
    assert_eq!(Page::open(address, "/actions").ask(r#"[{"action":"join_channel","channel_name":"a"}]"#), "");
}

/// The time that a channel message shows, and the minutes of that day that have passed in UTC.
fn shown_minutes(address: SocketAddr) -> (u64, u64) {
    let mut page = Page::open(address, "/actions");
    assert_eq!(page.ask(r#"[{"action":"join_channel","channel_name":"a"}]"#), "");
    page.send(r#"[{"action":"message_channel","channel_name":"a","message":"hello"}]"#);
    let said = page.json()["data"][0].clone();
    let (text, time) = (said["message"].as_str().expect("a text"), said["time"].as_u64().expect("a time"));
    let (hours, minutes) = text[1..6].split_once(':').expect("[HH:MM]");
    let number = |digits: &str| digits.parse::<u64>().expect("two digits");
    (number(hours) * 60 + number(minutes), time / 60_000 % 1_440)
}

#[test]
fn the_time_of_day_is_that_of_the_zone() {
    for (zone, minutes_east) in [("UTC", 0), ("Asia/Kolkata", 330), ("Asia/Kathmandu", 345)] {
        let (_serving, address) = start(&["--zone", zone]);
        let (shown, utc) = shown_minutes(address);
        assert_eq!(shown, (utc + minutes_east) % 1_440, "{zone}");
    }
}

#[test]
fn without_a_zone_it_is_that_of_the_system() {
    let mut command = sockeye(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("TZ", "Asia/Kolkata");
    let mut serving = Serving::spawn(command);
    let (shown, utc) = shown_minutes(serving.listening_ip());
    assert_eq!(shown, (utc + 330) % 1_440);
}

#[test]
fn what_is_no_zone_dialect_cookie_or_level_is_refused_with_2_and_named() {
    expect_usage(&["serve", "--zone", "Atlantis"], &["--zone", "Atlantis", "UTC", "Europe/Berlin"]);
    expect_usage(
        &["serve", "--listen", "127.0.0.1:0=morse"],
        &["morse", "actions", "envelope", "room", "auto"],
    );
    expect_usage(&["serve", "--session-cookie", "a b"], &["--session-cookie", "a b", "letters"]);
    expect_usage(&["serve", "--log", "xml"], &["--log", "xml", "json", "text"]);
    expect_usage(&["serve", "--log", "text", "--log-level", "loud"], &["--log-level", "loud", "debug"]);
    expect_usage(&["serve", "--log-level", "info"], &["--log"]);
}

#[test]
fn a_limit_of_the_action_layer_that_makes_no_sense_is_refused_with_2() {
    let serve = |flag, value| ["serve", "--listen", "127.0.0.1:0", flag, value];
    expect_usage(&serve("--json-depth-max", "1"), &["json_depth_max", " 1", "at least 2"]);
    expect_usage(&serve("--actions-per-message-max", "0"), &["actions_per_message_max", " 0", "at least 1"]);
    expect_usage(&serve("--name-bytes-max", "1MiB"), &["name_bytes_max", "1048576", "at most 65536"]);
    expect_usage(&serve("--history-bytes-max", "5GiB"), &["--history-bytes-max", "5368709120"]);
}

#[test]
fn each_limit_of_the_action_layer_is_the_limit() {
    let (_serving, address) = start(&[
        "--json-message-bytes-max",
        "300",
        "--json-depth-max",
        "3",
        "--actions-per-message-max",
        "2",
        "--channels-per-connection-max",
        "2",
        "--name-bytes-max",
        "5",
        "--history-messages-max",
        "1",
        "--listed-max",
        "1",
    ]);
    let mut page = Page::open(address, "/actions");
    let join = |name: &str| format!(r#"[{{"action":"join_channel","channel_name":"{name}"}}]"#);
    assert!(page.ask(&join("sixsix")).contains("5 bytes (name_bytes_max)"));
    assert_eq!(page.ask(&join("a")), "");
    assert_eq!(page.ask(&join("b")), "");
    assert!(page.ask(&join("c")).contains("(channels_per_connection_max)"));
    assert!(page.ask(&" ".repeat(301)).contains("(json_message_bytes_max)"));
    assert_eq!(page.ask(r#"[{"action":"list_channels","x":[[1]]}]"#), "Did not receive valid JSON");
    let three = format!("[{0},{0},{0}]", r#"{"action":"list_channels"}"#);
    page.send(&three);
    for _ in 0..2 {
        assert_eq!(page.json()["data"].as_array().map(Vec::len), Some(1), "listed_max");
    }
    assert!(page.json()["message"].as_str().is_some_and(|text| text.contains("(actions_per_message_max)")));
    for text in ["first", "second"] {
        page.send(&format!(r#"[{{"action":"message_channel","channel_name":"a","message":"{text}"}}]"#));
        page.next();
    }
    page.send(r#"[{"action":"history","channel_name":"a"}]"#);
    let history = page.json();
    assert_eq!(history["data"].as_array().map(Vec::len), Some(1), "history_messages_max: {history}");
    assert_eq!(history["data"][0]["text"], "second");
}

#[test]
fn the_rate_of_actions_is_a_limit_and_past_it_long_enough_the_end() {
    let (_serving, address) = start(&["--actions-per-second-max", "1", "--actions-burst-max", "3"]);
    let mut page = Page::open(address, "/actions");
    for _ in 0..3 {
        assert_eq!(page.ask(r#"[{"action":"list_channels"}]"#), "");
    }
    let message = page.ask(r#"[{"action":"list_channels"}]"#);
    assert!(message.contains("at most 1 a second, 3 at once"), "{message}");
    page.send(&format!("[{}]", [r#"{"action":"list_channels"}"#; 9].join(",")));
    let reason = page.expect_close(1008);
    assert!(reason.contains("actions_per_second_max"), "{reason}");
}
