//! What the hub allocates: nothing in `echo` and `room`, and in `actions` no more for many members than for one.

use super::{Loop, ROUNDS, UPGRADE, WARM_UP, bare, expect_no_allocation, masked};
use allocation_counter::measure;
use sockeye::{
    ConnId, Deflate,
    hub::{Hub, Settings},
};

/// A loop around a hub, in which nothing is refused for its rate.
fn hub() -> Loop<Hub> {
    let mut config = Hub::config("");
    config.limits.actions.actions_per_second_max = 0;
    config.deflate = Deflate { enabled: false, ..Deflate::default() };
    let hub = Hub::new(&config, Settings::default());
    Loop::with(&config, hub, 256 << 10)
}

fn open(looped: &mut Loop<Hub>, path: &str) -> ConnId {
    let request = String::from_utf8_lossy(UPGRADE).replacen('/', path, 1);
    looped.open_by(request.as_bytes())
}

#[test]
fn echo_in_the_hub() {
    let mut looped = hub();
    let id = open(&mut looped, "/echo");
    let (bytes, want) = (masked(0x82, b"[{\"action\":1}]"), bare(0x82, b"[{\"action\":1}]"));
    expect_no_allocation(|| {
        looped.read(id, &bytes);
        looped.flush(id);
        looped.expect(&want);
    });
}

#[test]
fn a_room_of_100_members() {
    let mut looped = hub();
    let ids: Vec<ConnId> = (0..100).map(|_| open(&mut looped, "/room/a")).collect();
    let (bytes, want) = (masked(0x81, b"to all of you"), bare(0x81, b"to all of you"));
    expect_no_allocation(|| {
        looped.read(ids[0], &bytes);
        looped.flush(ids[99]);
        looped.expect(&want);
    });
}

/// Allocations of a message in a channel of so many members.
fn allocations_of_a_channel_message(members: usize) -> u64 {
    let mut looped = hub();
    let ids: Vec<ConnId> = (0..members).map(|_| open(&mut looped, "/actions")).collect();
    for &id in &ids {
        looped.read(id, &masked(0x81, br#"{"action":"join_channel","channel_name":"c"}"#));
        looped.flush(id);
    }
    looped.written.clear();
    let said = masked(0x81, br#"[{"action":"message_channel","channel_name":"c","message":"hello"}]"#);
    let mut round = || {
        looped.read(ids[0], &said);
        looped.flush(ids[members - 1]);
        assert!(looped.written.ends_with(b"\"}]}") || looped.written.ends_with(b"}]}"));
        assert!(looped.written.len() > 100);
        looped.written.clear();
    };
    // Until the history is full, and what goes from it leaves its room to what comes.
    (0..WARM_UP + 200).for_each(|_| round());
    measure(|| (0..ROUNDS).for_each(|_| round())).count_total / ROUNDS as u64
}

#[test]
fn a_channel_message_costs_a_few_allocations_to_read_and_none_to_deliver() {
    let (one, hundred) = (allocations_of_a_channel_message(1), allocations_of_a_channel_message(100));
    assert!(hundred <= one && one <= 4, "{one} allocations with one member, {hundred} with a hundred");
}
