//! Limits that change, rates, pauses, slow readers and a drain, all of it at any moment: whatever comes together, the books
//! balance, each deadline is one that is yet to come, and a drain is over when it was to be.

use crate::duo::{
    REQUEST,
    drive::{Drive, echo},
    masked,
};
use proptest::{collection::vec, prelude::*};
use sockeye::{CloseCode, ConnId, Keepalive, Limits, Lost};

/// Something that happens; to which connection, where it is to one.
#[derive(Clone, Debug)]
enum Event {
    Open,
    /// No more than the beginning of a request.
    Begin,
    /// Messages, which are read or wait in the socket.
    Say {
        who: usize,
        count: usize,
        waits: bool,
    },
    /// A message that is not over.
    Half(usize),
    Answer(usize),
    Pause(usize),
    Resume(usize),
    Block(usize),
    Take(usize),
    Close(usize),
    Eof(usize),
    Lose(usize),
    Limits {
        connections: u32,
        messages: u32,
        bytes: u32,
        handshake_ms: u32,
        ping_ms: u32,
    },
    Wait(u64),
    Ahead,
    Drain(u32),
    Shutdown,
}

fn event() -> impl Strategy<Value = Event> {
    let who = 0..8_usize;
    prop_oneof![
        4 => Just(Event::Open),
        2 => Just(Event::Begin),
        6 => (who.clone(), 1..20_usize, any::<bool>())
            .prop_map(|(who, count, waits)| Event::Say { who, count, waits }),
        1 => who.clone().prop_map(Event::Half),
        1 => who.clone().prop_map(Event::Answer),
        1 => who.clone().prop_map(Event::Pause),
        1 => who.clone().prop_map(Event::Resume),
        1 => who.clone().prop_map(Event::Block),
        1 => who.clone().prop_map(Event::Take),
        1 => who.clone().prop_map(Event::Close),
        1 => who.clone().prop_map(Event::Eof),
        1 => who.prop_map(Event::Lose),
        3 => (0..6_u32, 0..4_u32, 0..200_u32, 1..5_000_u32, 0..2_000_u32).prop_map(
            |(connections, messages, bytes, handshake_ms, ping_ms)| Event::Limits {
                connections, messages, bytes, handshake_ms, ping_ms,
            }
        ),
        4 => (0..3_000_u64).prop_map(Event::Wait),
        1 => Just(Event::Ahead),
        1 => (0..2_000_u32).prop_map(Event::Drain),
        1 => Just(Event::Shutdown),
    ]
}

/// Time passes, by the steps that the engine asks for.
fn wait(drive: &mut Drive, now: &mut u64, ms: u64) {
    let until = *now + ms;
    while let Some(at) = drive.poll_timeout().filter(|&at| at <= until) {
        *now = at.max(*now);
        drive.at(*now);
        assert!(drive.poll_timeout().is_none_or(|next| next > *now), "a deadline that does not pass");
        drive.forget_all();
    }
    *now = until;
    drive.at(until);
}

fn happen(drive: &mut Drive, now: &mut u64, ids: &mut Vec<ConnId>, event: Event) {
    let live: Vec<ConnId> = ids.iter().copied().filter(|&id| !drive.is_gone(id)).collect();
    let of = |who: usize| live.get(who % live.len().max(1)).copied();
    match event {
        Event::Open | Event::Begin => {
            let id = drive.accept_from("192.0.2.1:1".parse().ok());
            ids.push(id);
            let bytes = if matches!(event, Event::Open) { REQUEST } else { &REQUEST[..60] };
            drive.feed(id, bytes);
        }
        Event::Wait(ms) => wait(drive, now, ms),
        Event::Ahead => drop(drive.drain_ahead()),
        Event::Drain(ms) => drop(drive.drain(ms, false)),
        Event::Shutdown => drop(drive.shutdown()),
        Event::Limits { connections, messages, bytes, handshake_ms, ping_ms } => {
            let limits = Limits {
                connections_max: connections,
                messages_per_second_max: messages,
                bytes_per_second_max: bytes,
                handshake_ms_max: handshake_ms,
                handshakes_per_address_per_second_max: connections,
                outbox_bytes_soft: 64,
                ..Limits::default()
            };
            drive.set_limits(limits, Keepalive { ping_after_ms: ping_ms, pong_within_ms: 500 });
        }
        Event::Say { who, count, waits } => {
            let Some(id) = of(who) else { return };
            let bytes = masked(0x81, b"hello").repeat(count);
            if waits {
                drive.arrive(id, &bytes)
            } else {
                drive.feed(id, &bytes)
            };
        }
        Event::Half(who) => drop(of(who).map(|id| drive.feed(id, &masked(0x81, b"never whole")[..9]))),
        Event::Answer(who) => drop(of(who).map(|id| drive.feed(id, &masked(0x88, b"\x03\xe9")))),
        Event::Pause(who) => drop(of(who).map(|id| drive.act(|cx| cx.pause(id)))),
        Event::Resume(who) => drop(of(who).map(|id| drive.act(|cx| cx.resume(id)))),
        Event::Block(who) => drop(of(who).map(|id| drive.block(id))),
        Event::Take(who) => drop(of(who).map(|id| drive.take(id, 1_000))),
        Event::Close(who) => drop(of(who).map(|id| drive.act(|cx| cx.close(id, CloseCode::NORMAL, "")))),
        Event::Eof(who) => drop(of(who).map(|id| drive.feed_eof(id))),
        Event::Lose(who) => drop(of(who).map(|id| drive.lose(id, Lost::Eof))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_comes_together_ends_in_time_and_in_the_books(
        before in vec(event(), 0..60),
        within_ms in 0..2_000_u32,
        during in vec(event(), 0..20),
    ) {
        let mut drive = Drive::with(|config| config.limits.connections_per_address_max = 6, echo);
        let (mut now, mut ids) = (0, Vec::new());
        for event in before {
            happen(&mut drive, &mut now, &mut ids, event);
            drive.forget_all();
            drive.statistics();
        }
        drive.drain(within_ms, true);
        let by = now + u64::from(within_ms);
        let events = during.into_iter().filter(|event| !matches!(event, Event::Wait(_)));
        for event in events {
            happen(&mut drive, &mut now, &mut ids, event);
            drive.forget_all();
            drive.statistics();
        }
        let left = by.saturating_sub(now);
        wait(&mut drive, &mut now, left);
        prop_assert!(drive.is_drained());
        // Two closing handshakes, and what a closed connection may linger.
        wait(&mut drive, &mut now, 60_000);
        drive.forget_all();
        prop_assert_eq!((drive.statistics().open(), drive.statistics().handshaking()), (0, 0));
        drive.shutdown().abort();
        drive.forget_all();
        prop_assert_eq!((drive.connections(), drive.buffered_bytes()), (0, 0));
    }
}
