//! What costs to be kept: channels, groups, rooms and names, who is invited, and everything that was ever said.
//! `Limits::actions`.

use super::OVER;
use crate::client::{NO_RATE, hear_json, join, open, open_actions, say};
use crate::peer::{Peer, UPGRADE, frame, unmasked};
use crate::server::{Server, wait_until};
use crate::siege::Siege;
use serde_json::Value;

const OK: &str = "ok";

/// How many of `asked` are answered with `ok`; each of the others with an error that names the limit.
#[track_caller]
fn granted(peer: &mut Peer, asked: usize, limit: &str) -> usize {
    (0..asked)
        .filter(|_| {
            let answer = hear_json(peer);
            let message = answer["message"].as_str().unwrap_or_default();
            assert!(answer["status"] == OK || message.contains(limit), "no error for {limit}: {answer}");
            answer["status"] == OK
        })
        .count()
}

/// The messages that are kept of a channel.
#[track_caller]
fn history(peer: &mut Peer, channel: &str) -> Vec<Value> {
    say(peer, &format!(r#"[{{"action":"history","channel_name":"{channel}"}}]"#));
    hear_json(peer)["data"].as_array().expect("a list").clone()
}

/// Says `text` in a channel so many times, and hears each of them.
#[track_caller]
fn say_often(peer: &mut Peer, channel: &str, text: &str, times: usize) {
    let message =
        format!(r#"[{{"action":"message_channel","channel_name":"{channel}","message":"{text}"}}]"#);
    let sender = peer.send_apart(frame(0x81, message.as_bytes()).repeat(times));
    for _ in 0..times {
        assert_eq!(hear_json(peer)["status"], OK);
    }
    sender.join().expect("no panic").expect("the server takes it all");
}

fn refused_room(server: &Server, name: &str) -> Option<u16> {
    let sample = std::str::from_utf8(UPGRADE).expect("it is ASCII");
    let mut peer = server.dial();
    peer.send(sample.replacen("/echo", &format!("/room/{name}"), 1).as_bytes()).status()
}

// Names.

#[test]
fn a_connection_past_its_channels_is_refused_and_keeps_those_it_has() {
    let mut siege = Siege::begin(OVER, &NO_RATE);
    let mut peer = open_actions(&siege.server, "");
    for n in 0..1_000 {
        say(&mut peer, &format!(r#"[{{"action":"join_channel","channel_name":"c{n}"}}]"#));
    }
    assert_eq!(granted(&mut peer, 1_000, "channels_per_connection_max"), 128);
    say_often(&mut peer, "c127", "still here", 1);
    siege.expect_recovery();
}

#[test]
fn channels_rooms_and_groups_past_their_number_are_refused_and_free_again_when_left() {
    let mut siege = Siege::begin(OVER, &[&NO_RATE[..], &["--channels-max", "100"]].concat());
    let name = |n: usize| format!("{n:x<1000}");
    let mut peers: Vec<Peer> = (0..2).map(|_| open_actions(&siege.server, "")).collect();
    let mut all = 0;
    for (p, peer) in peers.iter_mut().enumerate() {
        for n in 0..120 {
            say(peer, &format!(r#"[{{"action":"join_channel","channel_name":"{}"}}]"#, name(1_000 * p + n)));
        }
        all += granted(peer, 120, "channels_max");
    }
    assert_eq!(all, 100);
    let rooms: Vec<Peer> = (0..100).map(|n| open(&siege.server, &format!("/room/{}", name(n)))).collect();
    assert_eq!(refused_room(&siege.server, "one-more"), Some(503));
    let mut groups: Vec<Peer> =
        (0..120).map(|n| open(&siege.server, &format!("/envelope?groupid={}", name(n)))).collect();
    siege.expect_service();
    for peer in &mut groups {
        peer.expect_silence();
    }
    drop((peers, rooms, groups));
    siege.expect_descriptors_back();
    join(&mut open_actions(&siege.server, ""), "free again");
    siege.expect_recovery();
}

#[test]
fn names_past_their_length_are_refused_everywhere() {
    let mut siege = Siege::begin(OVER, &[]);
    let long = "n".repeat(1_025);
    let mut peer = open_actions(&siege.server, "");
    for action in ["join_channel", "leave_channel", "message_channel", "list_members", "history"] {
        say(&mut peer, &format!(r#"[{{"action":"{action}","channel_name":"{long}","message":"x"}}]"#));
        assert_eq!(granted(&mut peer, 1, "name_bytes_max"), 0, "{action}");
    }
    say(
        &mut peer,
        &format!(r#"[{{"action":"message_user","uuid":"{}","message":"x"}}]"#, "u".repeat(900_000)),
    );
    assert_eq!(granted(&mut peer, 1, "name_bytes_max"), 0);
    assert_eq!(refused_room(&siege.server, &long), Some(414));
    let mut chat = open(&siege.server, "/chat");
    assert_eq!(hear_json(&mut chat)["type"], "id");
    say(&mut chat, &format!(r#"{{"type":"username","name":"{long}"}}"#));
    chat.expect_silence();
    let mut envelope = open(&siege.server, "/envelope");
    say(&mut envelope, &format!(r#"{{"action":"x","groupId":"{long}","message":"x"}}"#));
    envelope.expect_silence();
    siege.expect_recovery();
}

#[test]
fn names_of_rooms_that_come_and_go_leave_nothing() {
    let mut siege = Siege::begin(OVER, &[]);
    for n in 0..300 {
        open(&siege.server, &format!("/room/{n:r<1000}")).reset();
    }
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn users_past_those_that_may_be_invited_are_refused() {
    let mut siege = Siege::begin(OVER, &NO_RATE);
    let mut peer = open_actions(&siege.server, "");
    join(&mut peer, "c");
    let invitations: Vec<_> = (0..3_000)
        .map(|n| format!(r#"[{{"action":"invite_user","channel_name":"c","uuid":"{n:u<1000}"}}]"#))
        .map(|text| frame(0x81, text.as_bytes()))
        .collect();
    let sender = peer.send_apart(invitations.concat());
    assert_eq!(granted(&mut peer, 3_000, "invited_max"), 1_024);
    sender.join().expect("no panic").expect("the server takes it all");
    siege.expect_recovery();
}

#[test]
fn messages_to_more_than_may_be_named_go_to_nobody() {
    let mut siege = Siege::begin(OVER, &[]);
    let mut member = open(&siege.server, "/envelope?groupid=g");
    let mut peer = open(&siege.server, "/envelope?groupid=other");
    let message = |times: usize| {
        let recipients = vec![r#"{"type":1,"value":"g"}"#; times].join(",");
        format!(r#"{{"action":"x","message":"{times}","recipients":[{recipients}]}}"#)
    };
    for times in [4_097, 40_000, 4_096] {
        say(&mut peer, &message(times));
    }
    peer.expect_silence();
    assert_eq!(hear_json(&mut member)["message"], "4096", "and once");
    member.expect_silence();
    siege.expect_recovery();
}

#[test]
fn lists_end_at_their_length() {
    let mut siege = Siege::begin(OVER, &[&NO_RATE[..], &["--listed-max", "10"]].concat());
    let mut peers: Vec<Peer> = (0..30).map(|_| open_actions(&siege.server, "")).collect();
    for (n, peer) in peers.iter_mut().enumerate() {
        join(peer, "all");
        join(peer, &format!("c{n}"));
    }
    let lists = [r#"{"action":"list_channels"}"#, r#"{"action":"list_members","channel_name":"all"}"#];
    for peer in &mut peers {
        for list in lists {
            say(peer, &format!("[{}]", vec![list; 20].join(",")));
        }
        for _ in 0..40 {
            assert_eq!(hear_json(peer)["data"].as_array().map(Vec::len), Some(10));
        }
    }
    siege.expect_recovery();
}

// What was said.

#[test]
fn a_history_keeps_so_many_messages_however_many_were_said() {
    let mut siege = Siege::begin(OVER, &NO_RATE);
    let mut peer = open_actions(&siege.server, "");
    join(&mut peer, "c");
    say_often(&mut peer, "c", &"m".repeat(200), 5_000);
    assert_eq!(history(&mut peer, "c").len(), 100);
    siege.expect_recovery();
}

#[test]
fn a_history_keeps_so_many_bytes_however_large_its_messages_are() {
    let mut siege = Siege::begin(OVER, &[&NO_RATE[..], &["--outbox-bytes-max", "4MiB"]].concat());
    let mut peer = open_actions(&siege.server, "");
    join(&mut peer, "c");
    say_often(&mut peer, "c", &"m".repeat(60_000), 100);
    // What is said is in there twice: as text, and as HTML.
    let kept = history(&mut peer, "c").len();
    assert!((8..=16).contains(&kept), "{kept} messages of 60 kB in 1 MiB");
    siege.expect_recovery();
}

#[test]
fn a_history_is_let_go_when_it_is_old() {
    let mut siege = Siege::begin(OVER, &[&NO_RATE[..], &["--history-age-ms-max", "300"]].concat());
    let mut peer = open_actions(&siege.server, "");
    join(&mut peer, "c");
    say_often(&mut peer, "c", &"m".repeat(1_000), 1_000);
    wait_until("what was said is let go", || history(&mut peer, "c").is_empty());
    siege.expect_recovery();
}

/// Channels of a connection each, in each of which `times` messages of `bytes` are said. Gives how many are kept of all
/// of them together.
fn kept_of_all(siege: &Siege, times: usize, bytes: usize) -> usize {
    let mut peers: Vec<Peer> = (0..60).map(|_| open_actions(&siege.server, "")).collect();
    for (n, peer) in peers.iter_mut().enumerate() {
        join(peer, &format!("c{n}"));
        say_often(peer, &format!("c{n}"), &"m".repeat(bytes), times);
    }
    let kept: Vec<usize> =
        peers.iter_mut().enumerate().map(|(n, peer)| history(peer, &format!("c{n}")).len()).collect();
    assert_eq!((kept[0], kept[59] > 0), (0, true), "the oldest went: {kept:?}");
    kept.iter().sum()
}

#[test]
fn all_histories_together_keep_so_many_messages() {
    let flags = [&NO_RATE[..], &["--history-total-messages-max", "500"]].concat();
    let mut siege = Siege::begin(OVER, &flags);
    assert_eq!(kept_of_all(&siege, 50, 100), 500);
    siege.expect_recovery();
}

#[test]
fn all_histories_together_keep_so_many_bytes() {
    let flags = [&NO_RATE[..], &["--history-total-bytes-max", "1MiB"]].concat();
    let mut siege = Siege::begin(OVER, &flags);
    let kept = kept_of_all(&siege, 10, 20_000);
    assert!((20..=52).contains(&kept), "{kept} messages of 20 kB in 1 MiB");
    siege.expect_recovery();
}

#[test]
fn histories_of_channels_that_end_are_given_back() {
    let mut siege = Siege::begin(OVER, &NO_RATE);
    for n in 0..30 {
        let mut peer = open_actions(&siege.server, "");
        join(&mut peer, &format!("c{n}"));
        say_often(&mut peer, &format!("c{n}"), &"m".repeat(50_000), 10);
        peer.send(b"\x88\x80\0\0\0\0").expect(&unmasked(0x88, b"")).expect_end();
    }
    siege.expect_descriptors_back().expect_recovery();
}
