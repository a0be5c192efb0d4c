//! Compression with many connections and a handler: what goes to many is compressed once for each set of parameters,
//! what goes back is compressed, and queues, closing and limits are as they are without it.

use super::{NO_TAKEOVER, RESPONSE, json, noise, take_frame, with_contexts, with_lines, without_contexts};
use crate::duo::{
    REQUEST, bare, close_body,
    drive::{Drive, On, Seen, echo},
    masked, puff,
    puff::Puff,
};
use sockeye::{Cause, CloseCode, Config, ConnId, Fault, Message, Role, Sent, wire::deflate::Compressor};
use std::collections::{BTreeMap, BTreeSet};

fn open(drive: &mut Drive, offer: &str) -> ConnId {
    let id = drive.accept();
    drive.feed(id, &with_lines(REQUEST, &[offer])).expect_seen(id, Seen::Open);
    assert!(drive.take_bytes(id).starts_with(&RESPONSE[..100]));
    id
}

/// All frames that went to a peer.
fn frames(drive: &mut Drive, id: ConnId) -> Vec<(u8, Vec<u8>)> {
    let bytes = drive.take_bytes(id);
    let (mut rest, mut frames) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        frames.push(take_frame(&mut rest, Role::Server));
    }
    frames
}

fn inflated(payload: &[u8]) -> Vec<u8> {
    Puff::default().inflate(payload, 64 << 20).expect("what we compress is DEFLATE data")
}

const OFFERS: [&str; 6] = [
    "permessage-deflate",
    "permessage-deflate; server_max_window_bits=9",
    "permessage-deflate; server_max_window_bits=12",
    "permessage-deflate; server_no_context_takeover",
    NO_TAKEOVER,
    "foo",
];

/// Members of each kind, several of each.
fn members(drive: &mut Drive) -> BTreeMap<ConnId, &'static str> {
    OFFERS.repeat(4).into_iter().map(|offer| (open(drive, offer), offer)).collect()
}

#[track_caller]
fn expect_once_for_each_set(drive: &mut Drive, members: &BTreeMap<ConnId, &str>, message: &str, log: bool) {
    let mut forms: BTreeMap<&str, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for (&id, &offer) in members {
        let [(first, payload)] = &frames(drive, id)[..] else { panic!("one frame each") };
        if offer == "foo" {
            assert_eq!((*first, &payload[..]), (0x81, message.as_bytes()));
        } else {
            assert_eq!(*first, 0xc1);
            assert_eq!(inflated(payload), message.as_bytes());
        }
        let window = offer.split("bits=").nth(1).unwrap_or(if offer == "foo" { "none" } else { "15" });
        forms.entry(window).or_default().insert(payload.clone());
    }
    assert_eq!(forms.keys().copied().collect::<Vec<_>>(), ["12", "15", "9", "none"], "{log}");
    assert!(forms.values().all(|forms| forms.len() == 1), "one form for each window");
}

#[test]
fn s7_2_1_what_is_published_or_broadcast_is_compressed_once_for_each_set_of_parameters() {
    for configure in [with_contexts as fn(&mut Config), without_contexts] {
        let mut drive = Drive::with(configure, |_, _, _| {});
        let members = members(&mut drive);
        for &id in members.keys() {
            drive.act(|cx| assert!(cx.subscribe(id, "all")));
        }
        for i in 0..4 {
            let text = json(i, 3_000);
            drive.act(|cx| assert_eq!(cx.publish("all", &text[..]).queued, 24));
            expect_once_for_each_set(&mut drive, &members, &text, true);
            let ids: Vec<ConnId> = members.keys().copied().collect();
            drive.act(|cx| assert_eq!(cx.broadcast(ids, &text[..]).queued, 24));
            expect_once_for_each_set(&mut drive, &members, &text, true);
        }
    }
}

#[test]
fn s7_2_1_what_does_not_shrink_or_is_short_goes_plain_to_every_member() {
    let mut drive = Drive::with(|config| with_contexts(config), |_, _, _| {});
    let members = members(&mut drive);
    let ids: Vec<ConnId> = members.keys().copied().collect();
    for message in [noise(3, 5_000), b"".to_vec(), b"ab".to_vec()] {
        drive.act(|cx| assert_eq!(cx.broadcast(ids.clone(), &message[..]).queued, 24));
        for &id in members.keys() {
            drive.expect(id, &bare(0x82, &message));
        }
    }
}

/// The log of a wake holds 4 MiB; what is published past it is still compressed once.
#[test]
fn s7_2_1_what_the_log_has_no_room_for_is_compressed_once_too() {
    let configure = |config: &mut Config| {
        with_contexts(config);
        (config.limits.outbox_bytes_soft, config.limits.outbox_bytes_max) = (64 << 20, 64 << 20);
    };
    let mut drive = Drive::with(configure, |_, _, _| {});
    let members = members(&mut drive);
    let ids: Vec<ConnId> = members.keys().copied().collect();
    let filler = noise(1, 4 << 20);
    let text = json(5, 30_000);
    drive.act(|cx| {
        cx.broadcast(ids.clone(), &filler[..(4 << 20) - 100]);
        assert_eq!(cx.broadcast(ids.clone(), &text[..]).queued, 24);
        assert_eq!(cx.send(ids[0], &text[..]), Sent::Queued);
        assert_eq!(cx.broadcast(ids.clone(), &text[..]).queued, 24);
    });
    let mut forms = BTreeSet::new();
    for (&id, &offer) in &members {
        let mut frames = frames(&mut drive, id);
        assert_eq!(frames.len(), if id == ids[0] { 4 } else { 3 });
        let mut puff = Puff::default();
        for (first, payload) in frames.drain(1..) {
            match first {
                0x81 => assert!(offer == "foo" && payload == text.as_bytes()),
                first => {
                    assert_eq!(first, 0xc1);
                    assert_eq!(puff.inflate(&payload, 1 << 20).as_deref(), Ok(text.as_bytes()));
                    forms.insert(payload);
                }
            }
        }
    }
    // Three windows; and the member that was sent one of its own may have that in another form.
    assert!(forms.len() <= 4, "{}", forms.len());
}

#[test]
fn s6_1_an_echo_is_compressed_however_the_message_came() {
    let text = json(2, 5_000);
    for configure in [with_contexts as fn(&mut Config), without_contexts] {
        let mut drive = Drive::with(configure, echo);
        let id =
            open(&mut drive, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
        let mut out = vec![0; 5_000];
        let n = Compressor::new(6, 15).compress(text.as_bytes(), &mut out).unwrap();
        let whole = masked(0xc1, &out[..n]);
        let pieces = [masked(0x41, &out[..9]), masked(0x89, b"!"), masked(0x80, &out[9..n])].concat();
        let plain = masked(0x81, text.as_bytes());
        let small = masked(0x81, b"");
        for script in [&whole, &pieces, &plain, &[&small[..], &whole, &small, &plain].concat()] {
            for size in [script.len(), 100, 7] {
                for piece in script.chunks(size) {
                    drive.feed(id, piece);
                }
                let told = drive.take_seen();
                let texts: Vec<&str> = told
                    .iter()
                    .filter_map(|seen| match seen {
                        Seen::Text(text) => Some(&text[..]),
                        _ => None,
                    })
                    .collect();
                let replies = frames(&mut drive, id).into_iter().filter(|(first, _)| first & 8 == 0);
                let replies: Vec<_> = replies
                    .map(|(first, payload)| match first {
                        0xc1 => inflated(&payload),
                        first => {
                            assert!(first == 0x81 && payload.is_empty());
                            payload
                        }
                    })
                    .collect();
                assert_eq!(replies, texts.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
            }
        }
        assert_eq!(drive.buffered_bytes(), 0);
    }
}

#[test]
fn s6_1_a_handler_that_replies_several_times_is_sent_for_in_its_order() {
    let act = |cx: &mut sockeye::Context<'_>, id, on: On<'_>| {
        if let (Some(id), On::Message(message)) = (id, on) {
            cx.send(id, "first, and short");
            cx.send(id, message);
            cx.ping(id, b"between");
            cx.send(id, message);
            cx.broadcast([id, id], message);
            cx.send(id, "last, and short");
        }
    };
    for threshold_bytes in [1, 17, 256, 100_000] {
        for offer in ["permessage-deflate", NO_TAKEOVER, "foo"] {
            let configure = |config: &mut Config| {
                with_contexts(config);
                config.deflate.threshold_bytes = threshold_bytes;
            };
            let mut drive = Drive::with(configure, act);
            let id = open(&mut drive, offer);
            let mut puff = Puff::default();
            for i in 0..5 {
                let text = json(i, 20 + 700 * i as usize);
                drive.feed(id, &masked(0x81, text.as_bytes())).expect_text(id, &text);
                let mut got: Vec<Vec<u8>> = Vec::new();
                for (first, payload) in frames(&mut drive, id) {
                    got.push(if first & 0x40 == 0 {
                        payload
                    } else {
                        puff.inflate(&payload, 1 << 20).unwrap()
                    });
                    if offer == NO_TAKEOVER {
                        puff.forget();
                    }
                }
                let t = text.as_bytes();
                let wanted = [b"first, and short", t, b"between", t, t, t, b"last, and short"];
                assert_eq!(got, wanted, "{threshold_bytes}, {offer}");
            }
        }
    }
}

#[test]
fn s6_1_a_peer_that_reads_slowly_is_not_read_and_gets_all_in_order() {
    for offer in ["permessage-deflate", NO_TAKEOVER] {
        let configure = |config: &mut Config| {
            with_contexts(config);
            config.limits.outbox_bytes_soft = 2_000;
        };
        let mut drive = Drive::with(configure, echo);
        let id = open(&mut drive, offer);
        drive.block(id);
        let texts: Vec<String> = (0..40).map(|i| json(i, 900)).collect();
        for text in &texts {
            drive.arrive(id, &masked(0x81, text.as_bytes())).wake();
        }
        assert!(!drive.wants_read(id));
        for _ in 0..400 {
            drive.take(id, 97);
        }
        drive.take(id, usize::MAX);
        let told = drive.take_seen().into_iter().filter(|seen| *seen != Seen::Drain);
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), 40, "{:?}", told.last());
        assert!(told.into_iter().eq(texts.iter().cloned().map(Seen::Text)));
        let mut puff = Puff::default();
        let frames = frames(&mut drive, id);
        assert_eq!(frames.len(), 40);
        for ((first, payload), text) in frames.into_iter().zip(&texts) {
            assert_eq!(first, 0xc1);
            assert_eq!(puff.inflate(&payload, 1 << 20).as_deref(), Ok(text.as_bytes()));
            if offer == NO_TAKEOVER {
                puff.forget();
            }
        }
        assert_eq!(drive.buffered_bytes(), 0);
    }
}

#[test]
fn s6_1_a_slow_member_is_given_up_and_the_others_stay_in_step() {
    let configure = |config: &mut Config| {
        with_contexts(config);
        (config.limits.outbox_bytes_soft, config.limits.outbox_bytes_max) = (1_000, 2_000);
    };
    let mut drive = Drive::with(configure, |_, _, _| {});
    let (slow, quick) = (open(&mut drive, OFFERS[0]), open(&mut drive, OFFERS[0]));
    drive.block(slow);
    let (mut puff, mut refused) = (Puff::default(), 0);
    for i in 0..60 {
        let text = json(i, 600);
        let fanout = drive.act(|cx| {
            cx.send(quick, &text[..]);
            cx.broadcast([slow, quick], &text[..])
        });
        refused += fanout.refused;
        for (first, payload) in frames(&mut drive, quick) {
            assert_eq!(first, 0xc1);
            assert_eq!(puff.inflate(&payload, 1 << 20).as_deref(), Ok(text.as_bytes()));
        }
    }
    assert!(refused > 20);
    drive.take(slow, usize::MAX).take_seen();
    drive.take_bytes(slow);
}

#[test]
fn s6_1_messages_in_flight_at_a_close_are_passed_over_or_delivered_as_they_came() {
    for configure in [with_contexts as fn(&mut Config), without_contexts] {
        let mut drive = Drive::with(configure, echo);
        // Ours crosses theirs.
        let id = open(&mut drive, "permessage-deflate");
        drive.act(|cx| assert!(cx.close(id, CloseCode::NORMAL, "bye")));
        drive.expect(id, b"\x88\x05\x03\xe8bye");
        let in_flight = [masked(0xc1, super::HELLO), masked(0x41, b"\x06"), masked(0x80, b"\x06")].concat();
        drive.feed(id, &in_flight).expect_silence(id).feed(id, &masked(0x88, &close_body(1000, "bye")));
        drive.expect_close(id, 1000, "bye", Cause::Local).expect_silence(id).expect_shut(id);
        // Theirs follows its messages in the same read: all are answered, then it is.
        let id = open(&mut drive, "permessage-deflate");
        let text = json(1, 900);
        let script = [
            masked(0xc1, super::HELLO),
            masked(0x81, text.as_bytes()),
            masked(0x88, b""),
            masked(0xc1, b"\x06"),
        ];
        drive.feed(id, &script.concat()).expect_text(id, "Hello").expect_text(id, &text);
        drive.expect_close(id, 1005, "", Cause::Peer).expect_shut(id);
        let frames = frames(&mut drive, id);
        assert_eq!(frames.len(), 3);
        assert!(frames[1].0 == 0xc1 && inflated(&frames[1].1) == text.as_bytes());
        assert_eq!(frames[2], (0x88, Vec::new()));
    }
}

#[test]
fn s8_a_bomb_is_refused_at_the_limit_and_its_memory_is_given_back() {
    let bomb = super::limits::bomb(1 << 30);
    let n = bomb.len();
    for configure in [with_contexts as fn(&mut Config), without_contexts] {
        let mut drive = Drive::with(configure, |_, _, _| {});
        let (id, other) = (open(&mut drive, "permessage-deflate"), open(&mut drive, "permessage-deflate"));
        let frame = masked(0xc2, &bomb[..n]);
        let begun = std::time::Instant::now();
        for piece in frame.chunks(60_000) {
            drive.feed(id, piece);
            assert!(drive.buffered_bytes() < 4 << 20, "{}", drive.buffered_bytes());
        }
        assert!(begun.elapsed().as_secs() < 5);
        let limit = 16 << 20;
        let reason = "message of 16777217 bytes (at most 16777216)";
        drive.expect(id, &bare(0x88, &close_body(1009, reason)));
        let fault = Fault::MessageTooBig { len: limit + 1, limit: limit as u32 };
        drive.expect_close(id, 1009, reason, Cause::Fault(fault)).expect_shut(id);
        assert_eq!(drive.buffered_bytes(), 0);
        drive.feed(other, &masked(0xc1, super::HELLO)).expect_text(other, "Hello");
    }
}

#[test]
fn s10_4_the_budget_for_buffers_counts_what_inflates() {
    let configure = |config: &mut Config| {
        without_contexts(config);
        config.limits.buffered_bytes_max = 1 << 20;
    };
    let mut drive = Drive::with(configure, |_, _, _| {});
    let id = open(&mut drive, NO_TAKEOVER);
    let payload = puff::stored(&noise(1, 3 << 20));
    drive.feed(id, &masked(0xc2, &payload));
    let seen = drive.take_seen();
    assert!(matches!(&seen[..], [Seen::Close { code: 1013, .. }]), "{:.200?}", seen);
    drive.take_bytes(id);
    assert_eq!(drive.buffered_bytes(), 0);
}

#[test]
fn a_message_for_many_is_told_from_one_of_a_members_own() {
    // The same text published and sent: the second is smaller where contexts are taken over.
    let mut drive = Drive::with(with_contexts, |_, _, _| {});
    let id = open(&mut drive, "permessage-deflate");
    let text = json(1, 2_000);
    let mut puff = Puff::default();
    let mut sizes = Vec::new();
    drive.act(|cx| {
        cx.send(id, &text[..]);
        cx.broadcast([id], &text[..]);
        cx.send(id, &text[..]);
        cx.send(id, &text[..]);
        cx.send(id, Message::Binary(b""));
    });
    for (first, payload) in frames(&mut drive, id) {
        if first == 0xc1 {
            assert_eq!(puff.inflate(&payload, 1 << 20).as_deref(), Ok(text.as_bytes()));
            sizes.push(payload.len());
        }
    }
    // Its own, for many, its own from the start, and one that refers to that.
    assert_eq!(sizes.len(), 4);
    assert!(sizes[0] == sizes[1] && sizes[1] == sizes[2] && sizes[3] < sizes[2] / 8, "{sizes:?}");
}
