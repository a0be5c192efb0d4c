//! What costs to be read: JSON that is large, deep, broad, full of the same keys or of actions, and requests without
//! end. `Limits::actions`.

use super::OVER;
use crate::client::{hear, hear_json, join, open, open_actions, say};
use crate::peer::{Peer, frame, masked};
use crate::siege::Siege;
use std::net::TcpListener;

/// Few actions, and no long wait for those who flood to answer their Close.
const RATE: [&str; 6] =
    ["--actions-per-second-max", "10", "--actions-burst-max", "10", "--closing-ms-max", "300"];

/// Each of the objects is one action of a message, sent often.
fn array_of(object: &str, times: usize) -> String {
    format!("[{}]", vec![object; times].join(","))
}

/// The next message is an error that names the limit.
#[track_caller]
fn expect_error(peer: &mut Peer, limit: &str) {
    let answer = hear_json(peer);
    let (status, message) = (&answer["status"], answer["message"].as_str().unwrap_or_default());
    assert!(status == "error" && message.contains(limit), "no error for {limit}: {answer}");
}

/// Sends the text, and is answered that it is no JSON that is read.
#[track_caller]
fn expect_unread(peer: &mut Peer, text: &str) {
    say(peer, text);
    expect_error(peer, "Did not receive valid JSON");
}

// One message.

#[test]
fn messages_past_the_size_of_json_are_refused_one_by_one() {
    let mut siege = Siege::begin(OVER, &["--json-message-bytes-max", "64KiB", "--message-bytes-max", "1MiB"]);
    let mut peers: Vec<Peer> = (0..4).map(|_| open_actions(&siege.server, "")).collect();
    let large = format!(r#"[{{"action":"join_channel","channel_name":"{}"}}]"#, "x".repeat(1_000_000));
    for _ in 0..10 {
        for peer in &mut peers {
            say(peer, &large);
        }
        peers.iter_mut().for_each(|peer| expect_error(peer, "json_message_bytes_max"));
    }
    peers.iter_mut().for_each(|peer| join(peer, "c"));
    let mut envelope = open(&siege.server, "/envelope?groupid=g");
    say(&mut envelope, &format!(r#"{{"action":"x","groupId":"g","message":"{}"}}"#, "x".repeat(70_000)));
    envelope.expect_silence();
    siege.expect_recovery();
}

#[test]
fn json_deeper_than_the_limit_is_refused_however_deep_it_is() {
    let mut siege = Siege::begin(OVER, &[]);
    let mut peer = open_actions(&siege.server, "");
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 2), "]".repeat(depth - 2));
        format!(r#"[{{"action":"join_channel","channel_name":"c","id":{open}{close}}}]"#)
    };
    say(&mut peer, &nested(32));
    assert_eq!(hear_json(&mut peer)["status"], "ok");
    expect_unread(&mut peer, &nested(33));
    for bomb in ["[", "{\"a\":", "[{\"action\":[", "[[]"] {
        expect_unread(&mut peer, &bomb.repeat((1 << 20) / bomb.len()));
    }
    expect_unread(&mut peer, &nested(500_000));
    let mut chat = open(&siege.server, "/chat");
    hear(&mut chat);
    say(&mut chat, &format!(r#"{{"type":"x","deep":{}}}"#, "[".repeat(500_000) + &"]".repeat(500_000)));
    chat.expect_silence();
    siege.expect_recovery();
}

#[test]
fn broad_json_costs_what_it_is_long_and_keeps_nobody_waiting() {
    let mut siege = Siege::begin(OVER, &[]);
    let keys = |name: &dyn Fn(usize) -> String| (0..60_000).map(name).collect::<Vec<_>>().join(",");
    let broad = [
        array_of("{}", 300_000),
        array_of("1", 500_000),
        // The same key, and keys that are alike but for their ends.
        format!("[{{{}}}]", keys(&|_| r#""action":"x""#.to_owned())),
        format!("[{{{}}}]", keys(&|n| format!(r#""{n:08}":0"#))),
        format!("[{{{}}}]", keys(&|n| format!(r#""\u0061{n:x}":0"#))),
    ];
    for text in &broad {
        assert!(text.len() <= 1 << 20, "{}", text.len());
        let mut peer = open_actions(&siege.server, "");
        say(&mut peer, text);
        siege.expect_service();
        join(&mut open_actions(&siege.server, ""), "c");
    }
    // What a relayed object is made of goes to all without its duplicates.
    let mut chat = open(&siege.server, "/chat");
    hear(&mut chat);
    say(&mut chat, &format!(r#"{{"type":"x",{}}}"#, keys(&|n| format!(r#""k{}":{n}"#, n % 100))));
    let relayed = hear_json(&mut chat);
    assert_eq!(relayed.as_object().map(|object| object.len() >= 101 && object.len() < 110), Some(true));
    assert_eq!(relayed["k99"], 59_999);
    siege.expect_recovery();
}

#[test]
fn the_last_of_duplicate_keys_counts_on_every_level() {
    let mut siege = Siege::begin(OVER, &[]);
    let mut peer = open_actions(&siege.server, "");
    let many = r#""channel_name":"wrong","#.repeat(10_000);
    say(&mut peer, &format!(r#"[{{"action":"x",{many}"action":"join_channel","channel_name":"right"}}]"#));
    assert_eq!(hear_json(&mut peer)["status"], "ok");
    say(&mut peer, r#"[{"action":"list_channels"}]"#);
    let listed = hear_json(&mut peer);
    assert_eq!(listed["data"][0]["channel_name"], "right");
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1));
    siege.expect_recovery();
}

#[test]
fn actions_past_their_number_in_a_message_are_refused_by_one_error() {
    let mut siege = Siege::begin(OVER, &["--actions-per-message-max", "4"]);
    let mut peer = open_actions(&siege.server, "");
    for _ in 0..20 {
        say(&mut peer, &array_of(r#"{"action":"nonsense"}"#, 10_000));
        for _ in 0..4 {
            expect_error(&mut peer, "Invalid command");
        }
        expect_error(&mut peer, "actions_per_message_max");
        peer.expect_silence();
    }
    siege.expect_recovery();
}

#[test]
fn text_that_is_no_utf8_is_1007_wherever_it_is_split() {
    let mut siege = Siege::begin(OVER, &[]);
    let text = b"[{\"action\":\"join_channel\",\"channel_name\":\"caf\xc3\xa9 \xf0\x9f\x98\xff\"}]";
    for cut in 0..text.len() {
        let mut peer = open(&siege.server, "/actions");
        peer.send_regardless(&masked(0x01, [1, 2, 3, 4], &text[..cut]));
        peer.send_regardless(&masked(0x80, [9, 8, 7, 6], &text[cut..])).expect_fault(1007);
    }
    // As binary it is a message, and no JSON.
    let mut peer = open(&siege.server, "/actions");
    peer.send(&frame(0x82, text));
    expect_error(&mut peer, "Did not receive valid JSON");
    siege.expect_descriptors_back_but(1).expect_recovery();
}

// Many messages.

#[test]
fn a_flood_of_actions_is_refused_and_ends_in_1008() {
    let mut siege = Siege::begin(OVER, &RATE);
    for action in [
        r#"{"action":"join_channel","channel_name":"c"}"#,
        r#"{"action":"list_channels"}"#,
        r#"{"action":"authenticate","token":"guess"}"#,
        r#"{"action":"nonsense"}"#,
    ] {
        let mut peer = open_actions(&siege.server, "");
        let sender = peer.send_apart(frame(0x81, array_of(action, 200).as_bytes()).repeat(200));
        let mut refused = 0;
        let close = loop {
            let frame = peer.expect_frame();
            if frame.first == 0x88 {
                break frame;
            }
            let text = String::from_utf8_lossy(&frame.payload).into_owned();
            refused += usize::from(text.contains("actions_per_second_max"));
        };
        assert!(close.is_close(1008), "{close:?}");
        assert!((1..=20).contains(&refused), "{refused} refusals");
        peer.expect_cut();
        let _ = sender.join().expect("no panic");
        siege.expect_service();
    }
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn a_flood_of_what_cannot_be_read_ends_in_1008_in_every_dialect_of_json() {
    let mut siege = Siege::begin(OVER, &RATE);
    for path in ["/actions", "/envelope", "/chat"] {
        let mut peer = open(&siege.server, path);
        let sender = peer.send_apart(frame(0x81, b"{").repeat(20_000));
        let close = loop {
            let frame = peer.expect_frame();
            if frame.first == 0x88 {
                break frame;
            }
        };
        assert!(close.is_close(1008), "{path}: {close:?}");
        peer.expect_cut();
        let _ = sender.join().expect("no panic");
    }
    siege.expect_descriptors_back().expect_recovery();
}

// Bodies of HTTP, which are JSON too.

#[test]
fn bodies_that_trickle_cost_nothing_and_run_out() {
    let mut siege = Siege::begin(OVER, &["--handshake-ms-max", "2000"]);
    let head = b"POST /__broadcastwebsocket.x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
    let mut peers: Vec<Peer> = (0..100)
        .map(|_| {
            let mut peer = siege.server.dial();
            peer.send(head);
            peer
        })
        .collect();
    for _ in 0..10 {
        for peer in &mut peers {
            peer.send_regardless(b"{");
        }
    }
    siege.expect_service();
    for peer in &mut peers {
        let said = peer.expect_cut();
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408 "), "{}", said.escape_ascii());
    }
    drop(peers);
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn bodies_past_the_size_of_json_are_413_before_they_come() {
    let mut siege = Siege::begin(OVER, &["--json-message-bytes-max", "64KiB"]);
    for length in ["65537", "4294967295", "99999999999999999999"] {
        let mut peer = siege.server.dial();
        let head =
            format!("POST /__broadcastwebsocket.x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        peer.send(head.as_bytes());
        assert_eq!(peer.send_regardless(&[b'{'; 100_000]).status(), Some(413), "{length}");
    }
    siege.expect_descriptors_back().expect_recovery();
}

// An application in another process.

#[test]
fn actions_for_an_application_that_never_answers_are_refused_past_their_number() {
    // It listens, and takes nothing: who connects to it waits.
    let application = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}/", application.local_addr().expect("it is bound"));
    let hook =
        ["--hook-url", &url, "--hook-action", "roll", "--hook-timeout-ms", "500", "--pending-max", "16"];
    let mut siege = Siege::begin(OVER, &hook);
    let mut peers: Vec<Peer> = (0..20).map(|_| open_actions(&siege.server, "")).collect();
    let said = frame(0x81, br#"[{"action":"roll","sides":6}]"#).repeat(200);
    for peer in &mut peers {
        peer.send(&said);
    }
    // Each action has one answer: that there are too many already, or in the end that nobody answered.
    for peer in &mut peers {
        let answers: Vec<String> = (0..200).map(|_| hear(peer)).collect();
        let refused = answers.iter().filter(|answer| answer.contains("pending_max")).count();
        assert!((100..200).contains(&refused), "{refused} of 200: {:?}", answers.last());
        assert!(answers.iter().all(|answer| answer.contains(r#""status":"error""#)));
    }
    siege.expect_service();
    peers.iter_mut().for_each(|peer| join(peer, "c"));
    drop(peers);
    siege.expect_descriptors_back().expect_recovery();
}
