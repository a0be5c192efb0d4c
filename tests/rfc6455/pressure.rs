//! Backpressure and memory: the marks of an outbox, the stall, the Pongs of a slow reader, the budget of all.

use crate::duo::{
    REQUEST, RESPONSE, bare, close_body,
    drive::{Drive, On, Seen, echo},
    masked,
};
use sockeye::{Cause, Config, ConnId, Context, Fault, Sent};

/// Outboxes of 1,000 and 2,000 bytes.
fn small(config: &mut Config) {
    (config.limits.outbox_bytes_soft, config.limits.outbox_bytes_max) = (1_000, 2_000);
}

/// A peer that takes nothing, sent frames of these lengths, headers included.
fn blocked(drive: &mut Drive, frames: &[usize]) -> ConnId {
    let id = drive.open();
    drive.block(id);
    for &bytes in frames {
        assert_ne!(drive.act(|cx| cx.send(id, &vec![7; payload_of(bytes)][..])), Sent::Refused);
    }
    id
}

fn payload_of(frame: usize) -> usize {
    if frame > 129 { frame - 4 } else { frame - 2 }
}

fn frame_of(bytes: usize) -> Vec<u8> {
    let frame = bare(0x82, &vec![7; payload_of(bytes)]);
    assert_eq!(frame.len(), bytes);
    frame
}

fn too_slow(queued: u64) -> (String, Cause) {
    let fault = Fault::SlowReader { queued, limit: 2_000 };
    (format!("peer reads too slowly: {queued} bytes wait (at most 2000)"), Cause::Fault(fault))
}

// ------------------------------------------------------------------ the soft mark

#[test]
fn up_to_the_soft_mark_a_message_is_queued_and_above_it_backlogged() {
    let mut drive = Drive::with(small, echo);
    let id = blocked(&mut drive, &[500]);
    assert_eq!(drive.act(|cx| cx.send(id, &[7; 496][..])), Sent::Queued);
    assert_eq!(drive.act(|cx| cx.buffered(id)), Some(1_000));
    assert!(drive.wants_read(id));
    assert_eq!(drive.act(|cx| cx.send(id, "")), Sent::Backlogged);
    assert!(!drive.wants_read(id));
    assert_eq!(drive.act(|cx| cx.send(id, "")), Sent::Backlogged);
}

#[test]
fn a_peer_above_the_soft_mark_is_not_read_until_it_is_at_it_again_and_on_drain_says_so_once() {
    let mut drive = Drive::with(small, |_, _, _| {});
    let id = blocked(&mut drive, &[600, 600]);
    drive.feed(id, &masked(0x81, b"later")).expect_nothing_seen();
    drive.take(id, 199).expect_nothing_seen();
    assert!(!drive.wants_read(id));
    drive.take(id, 1).expect_seen(id, Seen::Drain).expect_text(id, "later");
    assert!(drive.wants_read(id));
    drive.take(id, usize::MAX).expect_nothing_seen();
    drive.expect(id, &frame_of(600).repeat(2));
}

#[test]
fn on_drain_is_not_called_for_an_outbox_that_was_never_above_the_soft_mark() {
    let mut drive = Drive::with(small, echo);
    let id = blocked(&mut drive, &[500, 500]);
    drive.take(id, usize::MAX).expect(id, &frame_of(500).repeat(2)).expect_nothing_seen();
}

#[test]
fn what_on_drain_sends_may_backlog_the_peer_again() {
    let act = |cx: &mut Context<'_>, id: Option<ConnId>, on: On<'_>| {
        if let On::Drain = on {
            assert_eq!(cx.send(id.unwrap(), &[7; 596][..]), Sent::Backlogged);
        }
    };
    let mut drive = Drive::with(small, act);
    let id = blocked(&mut drive, &[600, 600]);
    for round in 0..5 {
        let bytes = if round == 0 { 200 } else { 600 };
        drive.take(id, bytes).expect_seen(id, Seen::Drain).expect_nothing_seen();
        assert!(!drive.wants_read(id));
        drive.take_bytes(id);
    }
}

#[test]
fn an_echo_to_a_peer_that_does_not_read_is_bounded_by_what_one_read_brings_above_the_soft_mark() {
    let limits = |config: &mut Config| {
        small(config);
        (config.limits.read_bytes_max, config.limits.outbox_bytes_max) = (4_096, 1 << 20);
    };
    let mut drive = Drive::with(limits, echo);
    let id = drive.open();
    let script = masked(0x82, &[7; 90]).repeat(5_000);
    drive.block(id).feed(id, &script);
    assert!(drive.act(|cx| cx.buffered(id)).unwrap() <= 1_000 + 4_096);
    assert!(drive.buffered_bytes() < 20_000);
    drive.take(id, usize::MAX).expect(id, &bare(0x82, &[7; 90]).repeat(5_000));
    drive.take_seen();
    assert_eq!(drive.buffered_bytes(), 0);
}

// ------------------------------------------------------------------ the hard mark

#[test]
fn below_the_hard_mark_a_message_of_any_size_is_queued_and_at_it_the_peer_is_given_up_with_1013() {
    let mut drive = Drive::with(small, echo);
    let id = blocked(&mut drive, &[1_999]);
    assert_eq!(drive.act(|cx| cx.send(id, &[7; 300_000][..])), Sent::Backlogged);
    assert_eq!(drive.act(|cx| cx.send(id, "")), Sent::Refused);
    let (reason, cause) = too_slow(1_999 + 300_010);
    drive.expect_close(id, 1013, &reason, cause);
    drive.take(id, usize::MAX).expect(id, &bare(0x88, &close_body(1013, &reason))).expect_shut(id);

    let id = blocked(&mut drive, &[2_000]);
    assert_eq!(drive.act(|cx| cx.send(id, "")), Sent::Refused);
    let (reason, cause) = too_slow(2_000);
    drive.expect_close(id, 1013, &reason, cause);
    drive.take(id, usize::MAX).expect(id, &bare(0x88, &close_body(1013, &reason))).expect_shut(id);
}

#[test]
fn a_peer_that_is_given_up_gets_the_frame_that_was_begun_and_its_close_and_nothing_between() {
    for taken in [0, 1, 3, 699, 700, 701, 1_399] {
        let mut drive = Drive::with(small, echo);
        let id = blocked(&mut drive, &[700, 700, 700]);
        drive.take(id, taken);
        drive.act(|cx| {
            while cx.send(id, &[7; 696][..]) != Sent::Refused {}
            assert_eq!(cx.send(id, "late"), Sent::Refused);
        });
        let seen = drive.take_seen();
        let Some(Seen::Close { code: 1013, reason, .. }) = seen.last() else { panic!("{seen:?}") };
        let frames = taken.div_ceil(700);
        let close = bare(0x88, &close_body(1013, reason));
        drive
            .take(id, usize::MAX)
            .expect(id, &[frame_of(700).repeat(frames), close].concat())
            .expect_shut(id);
    }
}

#[test]
fn a_peer_that_is_given_up_in_the_middle_of_a_huge_frame_is_dropped_without_a_close() {
    let mut drive = Drive::with(small, echo);
    let id = blocked(&mut drive, &[1_999]);
    drive.act(|cx| cx.send(id, &[7; 300_000][..]));
    drive.take(id, 5_000);
    assert_eq!(drive.act(|cx| cx.send(id, "")), Sent::Refused);
    let (reason, cause) = too_slow(1_999 + 300_010 - 5_000);
    drive.expect_close(id, 1013, &reason, cause).expect_gone(id);
    assert_eq!((drive.take_bytes(id).len(), drive.buffered_bytes(), drive.connections()), (5_000, 0, 0));
}

#[test]
fn a_peer_that_is_given_up_before_it_took_the_101_gets_the_rest_of_it_before_its_close() {
    let mut drive = Drive::with(small, echo);
    let id = drive.accept();
    drive.block(id).take(id, 20).feed(id, REQUEST).expect(id, &RESPONSE[..20]).expect_seen(id, Seen::Open);
    drive.act(|cx| while cx.send(id, &[7; 500][..]) != Sent::Refused {});
    let (reason, cause) = too_slow((RESPONSE.len() - 20 + 4 * 504) as u64);
    drive.expect_close(id, 1013, &reason, cause);
    let close = bare(0x88, &close_body(1013, &reason));
    drive.take(id, usize::MAX).expect(id, &[&RESPONSE[20..], &close].concat()).expect_shut(id);
}

// ------------------------------------------------------------------ the stall

#[test]
fn a_peer_above_the_soft_mark_that_takes_no_byte_for_outbox_stall_ms_max_is_given_up_with_1013() {
    let mut drive = Drive::with(small, echo);
    let id = blocked(&mut drive, &[]);
    drive.at(1_000).act(|cx| cx.send(id, &[7; 1_496][..]));
    drive.at(9_000).take(id, 1).at(18_999).expect_nothing_seen();
    drive.at(19_050);
    let reason = "peer took no byte for 10000 ms (at most 10000); 1499 bytes wait".to_owned();
    let cause = Cause::Fault(Fault::StalledReader { queued: 1_499, limit_ms: 10_000 });
    drive.expect_close(id, 1013, &reason, cause);
    drive.take(id, usize::MAX);
    drive.expect(id, &[frame_of(1_500), bare(0x88, &close_body(1013, &reason))].concat()).expect_shut(id);
}

#[test]
fn after_a_stall_the_clock_asks_for_nothing_before_linger_ms_max() {
    let mut drive = Drive::with(small, echo);
    let id = blocked(&mut drive, &[1_500]);
    drive.at(10_050).take_seen();
    drive.expect_alive(id);
    let next = drive.poll_timeout();
    assert!(next.is_some_and(|at| at >= 11_050), "woken again at {next:?}: the loop spins");
    drive.at(11_100).expect_gone(id);
}

/// Runs `test` on a thread of its own; fails, and leaves the thread behind, when it does not come back.
#[track_caller]
fn comes_back(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(test);
    let late = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !thread.is_finished() {
        assert!(std::time::Instant::now() < late, "the engine does not come back");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    thread.join().expect("the test on the thread passes");
}

#[test]
fn the_engine_comes_back_from_a_stall_at_every_tick() {
    comes_back(|| {
        for late in 0..64 {
            let mut drive = Drive::with(small, echo);
            let id = blocked(&mut drive, &[1_500]);
            drive.at(10_016 + late);
            let seen = drive.take_seen();
            assert!(matches!(seen[..], [Seen::Close { code: 1013, .. }]), "{seen:?}");
            drive.at(12_000 + late).expect_gone(id);
        }
    });
}

#[test]
fn the_engine_comes_back_from_a_close_to_a_backlogged_peer_at_every_tick() {
    comes_back(|| {
        for late in 0..64 {
            let mut drive = Drive::with(
                |config| {
                    small(config);
                    config.limits.closing_ms_max = 60_000;
                },
                echo,
            );
            let id = blocked(&mut drive, &[1_500]);
            drive.act(|cx| assert!(cx.close(id, sockeye::CloseCode::NORMAL, "")));
            // Far above the soft mark for longer than a stall may last, but not open any more.
            drive.at(10_000 + late).expect_nothing_seen().expect_alive(id);
            let next = drive.poll_timeout();
            assert!(next.is_some_and(|at| at >= 20_000), "woken again at {next:?}: the loop spins");
            drive.at(60_016).take_seen();
            drive.expect_gone(id);
        }
    });
}

#[test]
fn a_peer_at_the_soft_mark_may_take_as_long_as_it_wants() {
    let mut drive = Drive::with(
        |config| {
            small(config);
            config.keepalive.ping_after_ms = 0;
        },
        echo,
    );
    let id = blocked(&mut drive, &[1_000]);
    drive.at(1_000_000).expect_alive(id).expect_nothing_seen();
    drive.take(id, usize::MAX).expect(id, &frame_of(1_000));
}

#[test]
fn an_outbox_stall_ms_max_of_0_is_never() {
    let never = |config: &mut Config| {
        small(config);
        config.limits.outbox_stall_ms_max = 0;
    };
    let mut drive = Drive::with(never, echo);
    let id = blocked(&mut drive, &[1_500]);
    drive.at(1_000_000).expect_alive(id).expect_nothing_seen();
}

#[test]
fn a_peer_that_is_not_read_because_it_is_backlogged_is_not_pinged() {
    let mut drive = Drive::with(small, echo);
    let id = blocked(&mut drive, &[1_500]);
    for second in (5..120).step_by(5) {
        drive.at(second * 1_000).take(id, 1);
    }
    drive.expect_alive(id).expect_nothing_seen();
    drive.take(id, usize::MAX).expect_seen(id, Seen::Drain).expect(id, &frame_of(1_500));
    drive.at(139_000).expect_silence(id).at(115_000 + 25_100).expect(id, b"\x89\x00");
}

// ------------------------------------------------------------------ Pongs of a slow reader

#[test]
fn s5_5_3_while_a_peer_is_backlogged_only_its_latest_ping_is_answered() {
    // "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in response to previous Ping frame(s),
    // the endpoint MAY elect to send a Pong frame for only the most recently processed Ping frame."
    let act = |cx: &mut Context<'_>, id: Option<ConnId>, on: On<'_>| {
        if let On::Message(_) = on {
            cx.send(id.unwrap(), &[7; 1_496][..]);
        }
    };
    let mut drive = Drive::with(small, act);
    let id = drive.open();
    // One read: a Ping before, a message whose answer backlogs the peer, and Pings behind it.
    let script =
        [masked(0x89, b"0"), masked(0x81, b"!"), masked(0x89, b"1"), masked(0x89, b"2"), masked(0x89, b"3")];
    drive.block(id).feed(id, &script.concat()).expect_text(id, "!");
    drive.take(id, usize::MAX).expect_seen(id, Seen::Drain);
    drive.expect(id, &[bare(0x8a, b"0"), frame_of(1_500), bare(0x8a, b"3")].concat());
    drive.feed(id, &masked(0x89, b"4")).expect(id, &bare(0x8a, b"4"));
}

/// A peer that takes nothing has sent one Ping, whose Pong waits, and then a flood of them: `small`, read by 4 KiB.
fn flooded(first: usize, reserve: u32) -> (Drive, ConnId) {
    let limits = |config: &mut Config| {
        small(config);
        (config.limits.control_bytes_reserve, config.limits.read_bytes_max) = (reserve, 4_096);
    };
    let mut drive = Drive::with(limits, echo);
    let id = drive.open();
    let pings = |range: std::ops::Range<u16>| -> Vec<u8> {
        range.flat_map(|i| masked(0x89, &i.to_be_bytes().repeat(60))).collect()
    };
    drive.block(id).feed(id, &pings(0..first as u16)).feed(id, &pings(first as u16..500));
    (drive, id)
}

#[test]
fn a_peer_that_takes_no_pong_is_not_read_any_more_above_the_soft_mark() {
    // `Limits::outbox_bytes_soft`: "Above it a peer is not read any more, […] and of its Pings only the latest is
    // answered". What one read brings while nothing waits yet is answered in place, each.
    for (first, bytes_max) in [(500, 4_096), (1, 1_000 + 122)] {
        let (mut drive, id) = flooded(first, 4 << 10);
        let queued = drive.act(|cx| cx.buffered(id)).unwrap();
        assert!(!drive.wants_read(id), "{queued} bytes of Pongs wait, and it is read on");
        assert!(queued <= bytes_max, "{queued} bytes of Pongs wait");
    }
}

#[test]
fn a_peer_that_takes_no_pong_is_given_up_when_it_stalls() {
    for first in [500, 1] {
        let (mut drive, _) = flooded(first, 4 << 10);
        drive.at(10_050);
        let seen = drive.take_seen();
        assert!(matches!(seen[..], [Seen::Close { code: 1013, .. }]), "{seen:?}");
    }
}

#[test]
fn s5_5_3_the_latest_of_a_flood_of_pings_is_answered_in_the_end() {
    for (first, reserve) in [(500, 4 << 10), (1, 4 << 10), (1, 100)] {
        let (mut drive, id) = flooded(first, reserve);
        drive.take(id, usize::MAX);
        let out = drive.take_bytes(id);
        let last = bare(0x8a, &499_u16.to_be_bytes().repeat(60));
        assert!(out.ends_with(&last), "after {first}, with {reserve}: the last Ping is not answered");
        drive.take_seen();
    }
}

#[test]
fn control_frames_have_a_reserve_above_the_hard_mark_and_nothing_beyond() {
    let limits = |config: &mut Config| {
        small(config);
        config.limits.control_bytes_reserve = 300;
    };
    let mut drive = Drive::with(limits, echo);
    let id = blocked(&mut drive, &[2_000]);
    let pings = drive.act(|cx| (0..100).filter(|_| cx.ping(id, &[b'?'; 98])).count());
    assert_eq!(pings, 3); // as long as less than 2,300 wait
    drive.take(id, usize::MAX).expect_seen(id, Seen::Drain);
    drive.expect(id, &[frame_of(2_000), bare(0x89, &[b'?'; 98]).repeat(3)].concat());
}

#[test]
fn a_close_is_queued_however_much_waits() {
    let mut drive = Drive::with(
        |config| {
            small(config);
            config.limits.control_bytes_reserve = 0;
        },
        echo,
    );
    let id = blocked(&mut drive, &[1_999, 5_000]);
    assert!(drive.act(|cx| cx.close(id, sockeye::CloseCode::NORMAL, "bye")));
    drive.take(id, usize::MAX);
    drive.expect(id, &[frame_of(1_999), frame_of(5_000), bare(0x88, b"\x03\xe8bye")].concat());
    drive.feed(id, &masked(0x88, b"\x03\xe8")).expect_close(id, 1000, "", Cause::Local);
}

// ------------------------------------------------------------------ memory

#[test]
fn memory_grows_with_the_bytes_that_came_and_not_with_those_announced() {
    for direct in [false, true] {
        let mut drive = Drive::new(echo);
        if direct {
            drive = drive.read_direct();
        }
        let ids: Vec<ConnId> = (0..10).map(|_| drive.open()).collect();
        assert_eq!(drive.buffered_bytes(), 0);
        for &id in &ids {
            drive.feed(id, b"\x82\xff\0\0\0\0\x01\0\0\0\0\0\0\0"); // 16 MiB
        }
        for &id in &ids {
            drive.feed(id, &[0; 1_000]);
        }
        // At most one step of growth each.
        assert!(drive.buffered_bytes() <= 10 * (66 << 10), "{} bytes for 10 KB", drive.buffered_bytes());
        for &id in &ids {
            drive.feed(id, &vec![0; 1 << 20]);
        }
        assert!(
            drive.buffered_bytes() <= 10 * (2 << 20) + (1 << 20),
            "{} bytes for 10 MiB",
            drive.buffered_bytes()
        );
        for &id in &ids {
            drive.feed_eof(id);
        }
        drive.take_seen();
        assert_eq!(drive.buffered_bytes(), 0);
    }
}

#[test]
fn a_header_that_announces_megabytes_takes_no_memory_before_a_byte_of_them_came() {
    // Issue 2: "resident memory grows with bytes received and never with bytes announced".
    let mut drive = Drive::new(echo);
    for _ in 0..10 {
        let id = drive.open();
        drive.feed(id, b"\x82\xff\0\0\0\0\x01\0\0\0\0\0\0\0"); // 16 MiB
    }
    assert!(drive.buffered_bytes() <= 10 << 10, "{} bytes for 10 headers", drive.buffered_bytes());
}

#[test]
fn an_idle_connection_holds_no_buffer_whatever_it_did_before() {
    let mut drive = Drive::with(|config| config.limits.read_bytes_max = 4_096, echo);
    let id = drive.accept();
    for byte in REQUEST {
        drive.feed(id, &[*byte]);
    }
    assert_eq!(drive.buffered_bytes(), 0);
    let scripts = [
        masked(0x82, &[7; 100_000]),
        [masked(0x01, b"a"), masked(0x89, b"!"), masked(0x80, b"b")].concat(),
        masked(0x89, &[b'?'; 125]),
        masked(0x81, b"small"),
    ];
    for script in scripts {
        for bytes in script.chunks(script.len().div_ceil(30)) {
            drive.feed(id, bytes);
        }
        assert_eq!(drive.buffered_bytes(), 0);
    }
    drive.take_bytes(id);
    drive.take_seen();
}

#[test]
fn when_the_budget_is_spent_the_connection_that_holds_most_is_closed_with_1013_and_no_other() {
    let mut drive = Drive::with(|config| config.limits.buffered_bytes_max = 350_000, echo);
    let (small, large, late) = (drive.open(), drive.open(), drive.open());
    drive.feed(small, &masked(0x02, &[7; 50_000])).feed(large, &masked(0x02, &[7; 200_000]));
    drive.expect_nothing_seen();
    drive.feed(late, &masked(0x02, &[7; 60_000]));
    let seen = drive.take_seen();
    let [
        Seen::Close {
            code: 1013,
            reason,
            cause: Cause::Fault(Fault::BudgetSpent { held, limit: 350_000 }),
            ..
        },
    ] = &seen[..]
    else {
        panic!("{seen:?}")
    };
    assert!((200_000..350_000).contains(held), "{held}");
    assert_eq!(
        *reason,
        format!("server is out of buffers (at most 350000 bytes); this peer holds most: {held}")
    );
    drive.expect(large, &bare(0x88, &close_body(1013, reason))).expect_shut(large);
    // The others go on.
    drive.feed(small, &masked(0x80, b"")).feed(late, &masked(0x80, b""));
    drive.expect(small, &bare(0x82, &[7; 50_000])).expect(late, &bare(0x82, &[7; 60_000]));
    drive.take_seen();
}

#[test]
fn the_budget_counts_outboxes_too_and_holds_while_one_handler_fills_many() {
    let limits = |config: &mut Config| config.limits.buffered_bytes_max = 500_000;
    let mut drive = Drive::with(limits, echo);
    let ids: Vec<ConnId> = (0..20).map(|_| blocked(&mut drive, &[])).collect();
    let payload = [7; 50_000];
    drive.act(|cx| {
        for &id in &ids {
            cx.send(id, &payload[..]);
        }
    });
    assert!(drive.buffered_bytes() <= 600_000, "{}", drive.buffered_bytes());
    let closed = drive.take_seen();
    assert!(!closed.is_empty() && closed.len() < 15, "{} of 20 were closed", closed.len());
    for seen in closed {
        assert!(matches!(
            seen,
            Seen::Close { code: 1013, cause: Cause::Fault(Fault::BudgetSpent { .. }), .. }
        ));
    }
    for id in ids {
        drive.take(id, usize::MAX);
        let out = drive.take_bytes(id);
        assert!(out == bare(0x82, &payload) || out.starts_with(b"\x88"), "{} bytes", out.len());
    }
}
