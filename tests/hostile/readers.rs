//! Peers that are sent what others say, and read nothing of it.

use super::OVER;
use crate::client::{NO_RATE, UsersFile, hear, join, open, open_actions, say};
use crate::peer::{Peer, frame, unmasked};
use crate::siege::Siege;

/// Little room for each, so that what all of them hold is little, too; and time to read what the kernel holds, and the
/// Close behind it.
const NARROW: [&str; 6] =
    ["--outbox-bytes-soft", "64KiB", "--outbox-bytes-max", "128KiB", "--closing-ms-max", "60000"];

/// Behind what the kernel held comes a Close of 1013.
#[track_caller]
fn expect_given_up(peer: &mut Peer) {
    loop {
        let frame = peer.expect_frame();
        if frame.first == 0x88 {
            assert!(frame.is_close(1013), "{frame:?}");
            return;
        }
    }
}

#[test]
fn slow_readers_under_broadcast_are_1013_and_the_others_hear_it_all() {
    let mut siege = Siege::begin(OVER, &NARROW);
    let mut slow: Vec<Peer> = (0..20).map(|_| open(&siege.server, "/room/r")).collect();
    slow.iter_mut().for_each(Peer::narrow);
    let mut fast = open(&siege.server, "/room/r");
    let message = |n: u32| n.to_be_bytes().repeat(4_000);
    for n in 0..600 {
        fast.send(&frame(0x82, &message(n))).expect(&unmasked(0x82, &message(n)));
    }
    siege.expect_service();
    slow.iter_mut().for_each(expect_given_up);
    drop(slow);
    fast.send(&frame(0x82, b"alone now")).expect(&unmasked(0x82, b"alone now"));
    siege.expect_descriptors_back_but(1).expect_recovery();
}

#[test]
fn slow_readers_of_a_channel_are_1013_and_leave_it() {
    let mut siege = Siege::begin(OVER, &[&NARROW[..], &NO_RATE].concat());
    let mut fast = open_actions(&siege.server, "");
    join(&mut fast, "c");
    let mut slow: Vec<Peer> = (0..10).map(|_| open_actions(&siege.server, "")).collect();
    for peer in &mut slow {
        join(peer, "c");
        peer.narrow();
    }
    let message =
        format!(r#"[{{"action":"message_channel","channel_name":"c","message":"{}"}}]"#, "m".repeat(16_000));
    for _ in 0..400 {
        say(&mut fast, &message);
        hear(&mut fast);
    }
    slow.iter_mut().for_each(expect_given_up);
    drop(slow);
    siege.expect_descriptors_back_but(1);
    say(&mut fast, r#"[{"action":"list_members","channel_name":"c"}]"#);
    assert_eq!(hear(&mut fast).matches("list_members").count(), 1);
    siege.expect_recovery();
}

#[test]
fn who_reads_none_of_the_private_messages_is_1013_and_who_sends_them_goes_on() {
    let users = UsersFile::new(&format!("deaf-{OVER:?}"), &["alice", "bob"]);
    let mut siege = Siege::begin(OVER, &[&NARROW[..], &NO_RATE, &["--users", users.path()]].concat());
    let mut bob = open_actions(&siege.server, "bob");
    bob.narrow();
    let mut alice = open_actions(&siege.server, "alice");
    let message =
        format!(r#"[{{"action":"message_user","uuid":"u-bob","message":"{}"}}]"#, "m".repeat(16_000));
    let mut sent = 0;
    loop {
        say(&mut alice, &message);
        let answer = hear(&mut alice);
        if answer.contains("not connected") {
            break;
        }
        sent += 1;
        assert!(sent < 2_000, "bob is held forever");
    }
    assert!(sent > 4, "{sent}");
    expect_given_up(&mut bob);
    siege.expect_service();
    join(&mut alice, "c");
    drop((alice, bob));
    siege.expect_descriptors_back().expect_recovery();
}

#[test]
fn lists_that_nobody_reads_are_not_made_forever() {
    let mut siege = Siege::begin(OVER, &[&NARROW[..], &NO_RATE].concat());
    let mut crowd: Vec<Peer> = (0..50).map(|_| open_actions(&siege.server, "")).collect();
    for (n, peer) in crowd.iter_mut().enumerate() {
        join(peer, &format!("{n:c<500}"));
    }
    let mut deaf = open_actions(&siege.server, "");
    deaf.narrow();
    let lists = format!("[{}]", [r#"{"action":"list_channels"}"#; 200].join(","));
    deaf.flood(&frame(0x81, lists.as_bytes()).repeat(50), std::time::Duration::from_millis(500));
    siege.expect_service();
    expect_given_up(&mut deaf);
    drop((crowd, deaf));
    siege.expect_descriptors_back().expect_recovery();
}
