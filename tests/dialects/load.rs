//! Order under load: what a sender sends reaches every member in that order, once, and nobody else.

use crate::{
    client::{NO_RATE, UsersFile, behind, hear, join, open, open_actions, say},
    peer::{Peer, frame},
    server::{Server, alone},
};
use std::thread;

const MEMBERS: usize = 20;
const SENDERS: usize = 5;
const MESSAGES: usize = 1000;

/// Room for members that are read from later than others.
const ROOM: [&str; 2] = ["--outbox-bytes-max", "64MiB"];

/// The first of the members send all at once; what each hears is each sender's messages, whole and in order.
#[track_caller]
fn everything_arrives_once_and_in_order(
    members: Vec<Peer>,
    wrapped: impl Fn(&str) -> String,
    prefix: &'static str,
) {
    let mut members = members;
    let batches = (0..SENDERS).map(|sender| {
        let frames = (0..MESSAGES).map(|n| frame(0x81, wrapped(&format!("{sender}:{n}")).as_bytes()));
        frames.collect::<Vec<_>>().concat()
    });
    let batches: Vec<_> = batches.collect();
    let sending: Vec<_> =
        batches.into_iter().zip(&mut members).map(|(bytes, peer)| peer.send_apart(bytes)).collect();
    let listening: Vec<_> = members
        .into_iter()
        .map(|mut peer| {
            thread::spawn(move || {
                let mut next = [0; SENDERS];
                for _ in 0..SENDERS * MESSAGES {
                    let text = hear(&mut peer);
                    let (sender, n) = behind(&text, prefix).split_once(':').expect("SENDER:N");
                    let sender: usize = sender.parse().expect("a sender");
                    assert_eq!(n.parse(), Ok(next[sender]), "of sender {sender}");
                    next[sender] += 1;
                }
                peer
            })
        })
        .collect();
    for sent in sending {
        sent.join().expect("it does not panic").expect("the server reads");
    }
    for heard in listening {
        heard.join().expect("all came in order").expect_silence();
    }
}

fn members(server: &Server, path: &str) -> Vec<Peer> {
    (0..MEMBERS).map(|_| open(server, path)).collect()
}

#[test]
fn a_room_delivers_everything_once_and_in_each_senders_order() {
    let _alone = alone();
    let server = Server::spawn(&ROOM);
    everything_arrives_once_and_in_order(members(&server, "/room/x"), str::to_owned, "");
}

#[test]
fn a_channel_delivers_everything_once_and_in_each_senders_order() {
    let _alone = alone();
    let server = Server::spawn(&[&NO_RATE[..], &ROOM].concat());
    let mut members = members(&server, "/actions");
    members.iter_mut().for_each(|peer| join(peer, "c"));
    let wrapped =
        |text: &str| format!(r#"[{{"action":"message_channel","channel_name":"c","message":"{text}"}}]"#);
    everything_arrives_once_and_in_order(members, wrapped, r#""text":""#);
}

#[test]
fn a_channel_numbers_everything_for_everybody_alike() {
    let _alone = alone();
    let server = Server::spawn(&NO_RATE);
    let mut members = members(&server, "/actions");
    members.iter_mut().for_each(|peer| join(peer, "c"));
    for n in 0..10 {
        for peer in &mut members {
            say(peer, &format!(r#"[{{"action":"message_channel","channel_name":"c","message":"{n}"}}]"#));
        }
    }
    let heard: Vec<Vec<String>> =
        members.iter_mut().map(|peer| (0..MEMBERS * 10).map(|_| hear(peer)).collect()).collect();
    for (at, text) in heard[0].iter().enumerate() {
        assert!(text.contains(&format!(r#""seq":{}}}"#, at + 1)), "the message {} is {text}", at + 1);
    }
    assert!(heard.iter().all(|texts| *texts == heard[0]), "every member heard the same in the same order");
}

#[test]
fn a_group_delivers_everything_once_and_in_each_senders_order() {
    let _alone = alone();
    let server = Server::spawn(&[&NO_RATE[..], &ROOM].concat());
    let wrapped = |text: &str| format!(r#"{{"action":"say","message":"{text}","groupId":"g"}}"#);
    everything_arrives_once_and_in_order(members(&server, "/envelope?groupid=g"), wrapped, r#""message":""#);
}

#[test]
fn private_messages_reach_every_tab_of_both_and_no_third_under_load() {
    const EACH: usize = 300;
    let _alone = alone();
    let users = UsersFile::new("private", &["alice", "bob", "carol"]);
    let server = Server::spawn(&[&NO_RATE[..], &ROOM, &["--users", users.path()]].concat());
    let mut tabs: Vec<(&str, Peer)> = ["alice", "alice", "alice", "bob", "bob", "carol", "carol", ""]
        .map(|name| (name, open_actions(&server, name)))
        .into();
    tabs.iter_mut().for_each(|(_, peer)| join(peer, "c"));
    let private =
        |to: &str, n| format!(r#"[{{"action":"message_user","uuid":"u-{to}","message":"secret:{n}"}}]"#);
    let public = |n| format!(r#"[{{"action":"message_channel","channel_name":"c","message":"public:{n}"}}]"#);
    // A tab of alice's and one of bob's write to each other while carol fills the channel all are in.
    for n in 0..EACH {
        say(&mut tabs[0].1, &private("bob", n));
        say(&mut tabs[3].1, &private("alice", n));
        say(&mut tabs[5].1, &public(n));
    }
    for (name, peer) in &mut tabs {
        let both = ["alice", "bob"].contains(name);
        let mut next = [0; 3]; // alice's secrets, bob's, what is public
        for _ in 0..if both { 3 * EACH } else { EACH } {
            let text = hear(peer);
            let (kind, n) = behind(&text, r#""text":""#).split_once(':').expect("KIND:N");
            let from = match (kind, behind(&text, r#""username":""#)) {
                ("secret", "alice") if both => 0,
                ("secret", "bob") if both => 1,
                ("public", "carol") => 2,
                _ => panic!("{name:?} heard {text}"),
            };
            let channel = if kind == "secret" { "pm:u-alice+u-bob" } else { "c" };
            assert_eq!(behind(&text, r#""channel_name":""#), channel, "{text}");
            assert_eq!(n.parse(), Ok(next[from]), "{name:?} heard {text}");
            next[from] += 1;
        }
        peer.expect_silence();
    }
}
