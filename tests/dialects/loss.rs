//! Connections that are lost, that come and go at once, or that will not stop.

use crate::{
    client::{UsersFile, behind, hear, hear_json, join, open, open_actions, say},
    peer::{Peer, frame},
    server::{Server, wait_until},
};
use serde_json::{Value, json};

/// Members that are lost in one test.
const LOST: usize = 10;

/// Some members of everything, of which the first half is lost without a word.
fn half_lost(members: Vec<Peer>) -> Vec<Peer> {
    let mut members = members;
    let rest = members.split_off(LOST);
    members.into_iter().for_each(Peer::reset);
    rest
}

#[test]
fn a_reset_takes_the_member_out_of_its_channels() {
    let server = Server::spawn(&[]);
    let mut watcher = open_actions(&server, "");
    join(&mut watcher, "c");
    let members: Vec<_> = (0..2 * LOST).map(|_| open_actions(&server, "")).collect();
    let members: Vec<_> = members
        .into_iter()
        .map(|mut peer| {
            join(&mut peer, "c");
            join(&mut peer, "d");
            peer
        })
        .collect();
    say(&mut watcher, r#"[{"action":"subscribe_presence","channel_name":"c"}]"#);
    assert_eq!(hear_json(&mut watcher)["data"].as_array().map(Vec::len), Some(2 * LOST + 1));
    let mut rest = half_lost(members);
    for _ in 0..LOST {
        let left = json!([{"action": "member_left", "channel_name": "c", "uuid": "", "username": ""}]);
        assert_eq!(hear_json(&mut watcher)["data"], left);
    }
    say(&mut watcher, r#"[{"action":"list_members","channel_name":"c"},{"action":"list_channels"}]"#);
    assert_eq!(hear_json(&mut watcher)["data"].as_array().map(Vec::len), Some(LOST + 1));
    let channels = hear_json(&mut watcher);
    let channels = channels["data"].as_array().expect("a list");
    let members_of = |name: &str| {
        channels.iter().find(|channel| channel["channel_name"] == name).map(|channel| &channel["members"])
    };
    assert_eq!(members_of("c"), Some(&Value::from(LOST + 1)));
    assert_eq!(members_of("d"), Some(&Value::from(LOST)));
    rest.drain(..).for_each(Peer::reset);
    for _ in 0..LOST {
        hear(&mut watcher);
    }
    say(&mut watcher, r#"[{"action":"join_channel","channel_name":"d","join_or_create":0}]"#);
    assert_eq!(hear_json(&mut watcher)["message"], "Channel does not exist, d");
    watcher.expect_silence();
}

#[test]
fn a_reset_frees_the_name_at_once() {
    let server = Server::spawn(&[]);
    let mut watcher = open(&server, "/chat");
    assert_eq!(hear_json(&mut watcher)["type"], "id");
    let claim = |peer: &mut Peer, name: &str| {
        say(peer, &format!(r#"{{"type":"username","name":"{name}","id":0,"date":1}}"#));
    };
    let members: Vec<_> = (0..2 * LOST)
        .map(|n| {
            let mut peer = open(&server, "/chat");
            claim(&mut peer, &format!("n{n}"));
            assert_eq!(hear_json(&mut watcher)["type"], "userlist");
            assert_eq!(hear_json(&mut watcher)["name"], format!("n{n}"));
            peer
        })
        .collect();
    let rest = half_lost(members);
    let lists: Vec<_> = (0..LOST).map(|_| hear_json(&mut watcher)).collect();
    let names: Vec<_> = (LOST..2 * LOST).map(|n| format!("n{n}")).collect();
    for (at, list) in lists.iter().enumerate() {
        assert_eq!(list["users"].as_array().map(Vec::len), Some(2 * LOST - 1 - at), "{list}");
    }
    assert_eq!(lists[LOST - 1], json!({"type": "userlist", "users": names}));
    for n in 0..LOST {
        let mut again = open(&server, "/chat");
        let id = hear_json(&mut again);
        claim(&mut again, &format!("n{n}"));
        assert_eq!(hear_json(&mut again)["type"], "userlist", "the name is free");
        let named = json!({"type": "username", "name": format!("n{n}"), "id": id["id"], "date": 1});
        assert_eq!(hear_json(&mut again), named);
        again.reset();
        for kind in ["userlist", "username", "userlist"] {
            assert_eq!(hear_json(&mut watcher)["type"], kind);
        }
    }
    drop(rest);
}

#[test]
fn a_reset_takes_the_connection_out_of_its_group() {
    let server = Server::spawn(&[]);
    let members: Vec<_> = (0..2 * LOST).map(|_| open(&server, "/envelope?groupid=g&userid=u")).collect();
    let push = |recipients: &str| {
        let body = format!(r#"{{"action":"x","groupId":"g","recipients":[{recipients}]}}"#);
        let mut peer = server.dial();
        let length = body.len();
        let head =
            format!("POST /__broadcastwebsocket.x HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        peer.send(format!("{head}{body}").as_bytes());
        assert_eq!(peer.expect_head().status, 200);
        let answer = peer.rest();
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        usize::try_from(answer["delivered"].as_u64().expect("a number")).expect("a small one")
    };
    assert_eq!(push(""), 2 * LOST);
    let rest = half_lost(members);
    wait_until("the lost are out of the group", || push("") == LOST);
    assert_eq!(push(r#"{"type":"user","value":"u"}"#), LOST);
    assert_eq!(push(r#"{"type":"all","value":""}"#), LOST);
    drop(rest);
    wait_until("all are gone", || push(r#"{"type":"all","value":""}"#) == 0);
}

#[test]
fn one_user_in_many_tabs_is_reached_in_each_and_there_until_the_last_is_lost() {
    let users = UsersFile::new("tabs", &["alice", "bob"]);
    let server = Server::spawn(&["--users", users.path()]);
    let mut alice = open_actions(&server, "alice");
    let mut tabs: Vec<_> = (0..LOST).map(|_| open_actions(&server, "bob")).collect();
    let message = r#"[{"action":"message_user","uuid":"u-bob","message":"hello"}]"#;
    let mut heard = 0;
    while let Some(tab) = tabs.pop() {
        say(&mut alice, message);
        let copy = hear(&mut alice);
        assert_eq!(behind(&copy, r#""text":""#), "hello");
        heard += 1;
        for peer in &mut tabs {
            assert_eq!(hear(peer), copy);
            peer.expect_silence();
        }
        tab.reset();
    }
    assert_eq!(heard, LOST);
    wait_until("bob is gone", || {
        say(&mut alice, message);
        hear_json(&mut alice)["status"] == "error"
    });
}

/// The head that a PHP client of the original sends.
const PUSHER: &[u8] = b"GET / HTTP/1.1\r\nhost: 127.0.0.1:4863\r\nuser-agent: websocket-client-php\r\n\
    connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    sec-websocket-version: 13\r\n\r\n";

#[test]
fn what_a_pusher_sent_is_done_though_it_is_gone_a_hundred_times() {
    const PUSHES: usize = 100;
    let server = Server::spawn(&["--admin-password", "secret"]);
    let mut member = open_actions(&server, "");
    join(&mut member, "c");
    for n in 0..PUSHES {
        let mut pusher = server.dial();
        pusher.send(PUSHER);
        // It reads once, and at most so much: the 101 is to be whole in that.
        let head = pusher.read_once(1024);
        assert!(head.len() < 1024, "a 101 of {} bytes", head.len());
        assert!(head.starts_with(b"HTTP/1.1 101 ") && head.ends_with(b"\r\n\r\n"), "{}", head.escape_ascii());
        let text = format!(
            r#"[{{"action":"authenticate","token":"admin:secret"}},{{"action":"message_channel","channel_name":"c","message":"{n}"}}]"#
        );
        pusher.send(&crate::peer::masked(0x81, [1, 2, 3, 4], text.as_bytes()));
        // Half of them with a reset, as the kernel does where an answer came that nobody read.
        if n % 2 == 0 { drop(pusher) } else { pusher.finish().expect_cut().clear() }
    }
    let mut heard: Vec<usize> = (0..PUSHES)
        .map(|_| {
            let text = hear(&mut member);
            assert_eq!(behind(&text, r#""uuid":""#), "admin");
            behind(&text, r#""text":""#).parse().expect("a number")
        })
        .collect();
    heard.sort_unstable();
    assert!(heard.into_iter().eq(0..PUSHES), "each is done once");
    member.expect_silence();
}

#[test]
fn who_floods_on_and_on_is_closed_with_1008() {
    let server = Server::spawn(&["--actions-per-second-max", "10", "--actions-burst-max", "10"]);
    let mut peer = open_actions(&server, "");
    let actions = vec![r#"{"action":"join_channel","channel_name":"c"}"#; 200].join(",");
    let flood = frame(0x81, format!("[{actions}]").as_bytes()).repeat(2000);
    let sending = peer.send_apart(flood);
    let code = loop {
        let frame = peer.expect_frame();
        if frame.first == 0x88 {
            break u16::from_be_bytes([frame.payload[0], frame.payload[1]]);
        }
    };
    assert_eq!(code, 1008);
    peer.expect_cut();
    let _ = sending.join().expect("it does not panic");
    // Another connection is none the worse for it.
    join(&mut open_actions(&server, ""), "c");
}
