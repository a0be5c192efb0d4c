//! §7.1.1: context takeover, in both directions, and that both sides stay in step whatever is sent between.

use super::{both_taking_over, client, json, noise, sent, server, with_contexts};
use crate::duo::{
    Duo, REQUEST,
    drive::{Drive, On, Seen},
    masked,
    puff::Puff,
};
use sockeye::{Config, Message, Role};

#[test]
fn s7_1_1_the_second_message_is_smaller_because_it_refers_to_the_first() {
    let text = json(4, 400);
    for mut duo in both_taking_over(|_| {}) {
        let mut puff = Puff::default();
        let sizes = [(); 3].map(|()| {
            assert!(duo.send(&text[..]));
            let (first, payload) = sent(&mut duo);
            assert_eq!(first, 0xc1);
            assert_eq!(puff.inflate(&payload, 1 << 20).as_deref(), Ok(text.as_bytes()));
            payload.len()
        });
        assert!(sizes[1] < sizes[0] / 4 && sizes[2] < sizes[0] / 4, "{sizes:?}");
    }
}

#[test]
fn s7_1_1_each_side_takes_over_on_its_own() {
    let text = json(4, 400);
    let lines =
        ["permessage-deflate; server_no_context_takeover", "permessage-deflate; client_no_context_takeover"];
    for (i, line) in lines.into_iter().enumerate() {
        for mut duo in [server(line, with_contexts), client(line, with_contexts)] {
            let without = (duo.role() == Role::Server) == (i == 0);
            let mut puff = Puff::default();
            let sizes = [(); 2].map(|()| {
                assert!(duo.send(&text[..]));
                let (_, payload) = sent(&mut duo);
                if without {
                    puff.forget();
                }
                assert_eq!(puff.inflate(&payload, 1 << 20).as_deref(), Ok(text.as_bytes()));
                payload.len()
            });
            assert_eq!(sizes[0] == sizes[1], without, "{line}: {sizes:?}");
            // What comes may refer back where what is sent may not, and the other way round.
            duo.feed_frame(0xc1, super::HELLO).expect_text("Hello").feed_frame(0xc1, super::HELLO_AGAIN);
            if without {
                duo.expect_text("Hello");
            } else {
                let fault = sockeye::Fault::InvalidDeflate;
                duo.expect_fault(fault, 1007, "compressed message is not DEFLATE data");
            }
        }
    }
}

/// Messages of every kind: small, large, alike, noise, empty.
fn message(i: u32) -> Vec<u8> {
    let n = noise(i, 8);
    match n[0] % 8 {
        0 => noise(i, 1 + usize::from(n[1]) * 20),
        1 => json(i % 3, 4_000 + usize::from(n[1]) * 30).into_bytes(),
        2 => vec![n[2]; 1 + usize::from(n[1]) * 40],
        3 => Vec::new(),
        4 => [noise(i % 5, 700), json(i, 500).into_bytes()].concat(),
        _ => json(i % 9, 1 + usize::from(n[1]) * 8).into_bytes(),
    }
}

#[test]
fn s7_1_1_both_sides_stay_in_step_over_hundreds_of_messages_both_ways() {
    for bits in [9, 14] {
        for level in [1, 3, 6, 9] {
            let configure = move |config: &mut Config| {
                with_contexts(config);
                (config.deflate.level, config.deflate.window_bits_max) = (level, bits);
                config.deflate.threshold_bytes = 30;
            };
            let line =
                format!("permessage-deflate; server_max_window_bits={bits}; client_max_window_bits={bits}");
            let (mut ours, mut theirs) = (server(&line, configure), client(&line, configure));
            let mut puff = Puff::default();
            let mut kinds = [0; 2];
            for i in 0..240 {
                let message = message(i * 31 + u32::from(bits));
                let (from, to) = if i % 3 == 0 { (&mut theirs, &mut ours) } else { (&mut ours, &mut theirs) };
                assert!(from.send(&message[..]));
                let bytes = from.take_bytes();
                if from.role() == Role::Server {
                    let (first, payload) = super::take_frame(&mut &bytes[..], Role::Server);
                    kinds[usize::from(first == 0xc2)] += 1;
                    if first == 0xc2 {
                        assert_eq!(puff.inflate(&payload, 1 << 20).as_ref(), Ok(&message));
                    }
                }
                to.feed(&bytes).expect_binary(&message);
            }
            assert!(kinds[0] > 20 && kinds[1] > 50, "{kinds:?}");
            assert!(puff.distance_max <= 1 << bits);
        }
    }
}

#[test]
fn s7_1_1_published_messages_among_its_own_leave_a_member_in_step() {
    // What comes as text is sent back, what comes as binary is published.
    let act = |cx: &mut sockeye::Context<'_>, id, on: On<'_>| match (id, on) {
        (Some(id), On::Open) => assert!(cx.subscribe(id, "all")),
        (Some(id), On::Message(message @ Message::Text(_))) => {
            cx.send(id, message);
        }
        (Some(_), On::Message(message)) => {
            cx.publish("all", message);
        }
        _ => {}
    };
    let configure = |config: &mut Config| {
        with_contexts(config);
        config.deflate.threshold_bytes = 20;
    };
    let mut drive = Drive::with(configure, act);
    let offers = ["permessage-deflate", "permessage-deflate; server_max_window_bits=10", super::NO_TAKEOVER];
    let mut members = offers.map(|offer| {
        let id = drive.accept();
        drive.feed(id, &super::with_lines(REQUEST, &[offer])).expect_seen(id, Seen::Open).take_bytes(id);
        let mut client = Duo::dialled(Default::default(), configure);
        client.take_bytes();
        client.feed(&super::with_lines(super::RESPONSE, &[offer])).expect_opened(None);
        (id, client)
    });
    let mut from_server = 0;
    for i in 0..400 {
        let (payload, is_published) = (message(i * 17 + 5), i % 3 == 0);
        let text = String::from_utf8(payload.clone()).ok();
        let speaker = i as usize % 3;
        let (id, client) = &mut members[speaker];
        match text.as_deref().filter(|_| !is_published) {
            Some(text) => assert!(client.send(text)),
            None => assert!(client.send(&payload[..])),
        }
        let bytes = client.take_bytes();
        drive.feed(*id, &bytes);
        drive.take_seen();
        let is_text = text.is_some() && !is_published;
        for (place, (id, client)) in members.iter_mut().enumerate() {
            let bytes = drive.take_bytes(*id);
            if is_text && place != speaker {
                assert!(bytes.is_empty());
                continue;
            }
            from_server += usize::from(bytes[0] & 0x40 != 0);
            client.feed(&bytes);
            match text.as_deref().filter(|_| is_text) {
                Some(text) => client.expect_text(text),
                None => client.expect_binary(&payload),
            };
        }
    }
    assert!(from_server > 300, "{from_server}");
    let (id, _) = members[0];
    drive.feed(id, &masked(0x89, b"")).expect(id, b"\x8a\x00");
}
