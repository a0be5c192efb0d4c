//! §6.1 and §7.2.1: what we send. Inflated by the second inflater, which says how far back it refers.

use super::{NO_TAKEOVER, client, json, sent, server, with_contexts, without_contexts};
use crate::duo::{Duo, masked, puff::Puff};
use sockeye::{Config, Role};

/// A connection of each role that compresses with this window, with or without takeover.
fn with_window(bits: u8, takes_over: bool, configure: impl Fn(&mut Config)) -> [Duo; 2] {
    let base = if takes_over { "permessage-deflate" } else { NO_TAKEOVER };
    let configure = |config: &mut Config| {
        if takes_over {
            with_contexts(config)
        } else {
            without_contexts(config)
        }
        configure(config);
    };
    [
        server(&format!("{base}; server_max_window_bits={bits}"), configure),
        client(&format!("{base}; client_max_window_bits={bits}"), configure),
    ]
}

#[test]
fn s6_1_a_compressed_message_is_one_final_frame_with_rsv1_and_without_the_tail() {
    for mut duo in with_window(15, false, |_| {}) {
        assert!(duo.send("Hello Hello Hello Hello Hello"));
        let (first, payload) = sent(&mut duo);
        assert_eq!(first, 0xc1);
        assert!(!payload.ends_with(b"\x00\x00\xff\xff"));
        assert_eq!(Puff::default().inflate(&payload, 100), Ok(b"Hello Hello Hello Hello Hello".to_vec()));
        assert!(duo.send(&b"Hello Hello Hello Hello Hello"[..]));
        assert_eq!(sent(&mut duo), (0xc2, payload)); // each on its own: the same again
    }
}

#[test]
fn s7_1_2_what_we_send_refers_no_farther_back_than_was_agreed() {
    // What repeats at every distance, near and far.
    let far: String = (0..14).map(|i| json(i % 8, 3_000 + i as usize * 11)).collect();
    let runs = "a".repeat(5_000);
    for level in 1..=9 {
        for bits in 9..=15 {
            for takes_over in [false, true] {
                for mut duo in with_window(bits, takes_over, |config| config.deflate.level = level) {
                    let mut puff = Puff::default();
                    for message in [&far[..], &runs, &far[..5_000], &far[2_500..12_000], "aaaaaaaaaaaa"] {
                        assert!(duo.send(message));
                        let (first, payload) = sent(&mut duo);
                        if !takes_over {
                            puff.forget();
                        }
                        assert_eq!(first, 0xc1, "{level}, {bits}, {}", message.len());
                        assert_eq!(puff.inflate(&payload, 1 << 20).as_deref(), Ok(message.as_bytes()));
                        let most = puff.distance_max;
                        assert!(most <= 1 << bits, "{most} at level {level} with {bits} bits");
                    }
                    // It is not by never looking far that it does not: half of the window is used.
                    assert!(level < 4 || puff.distance_max > 1 << (bits - 1) || bits == 9, "{level}, {bits}");
                }
            }
        }
    }
}

#[test]
fn s7_1_2_the_setting_for_our_window_holds_where_the_peer_asks_for_more() {
    let far: String = (0..9).map(|_| json(1, 3_000)).collect();
    let small = |config: &mut Config| {
        without_contexts(config);
        config.deflate.window_bits_max = 9;
    };
    let mut server = super::offered("permessage-deflate; server_max_window_bits=15", small);
    server.take_bytes();
    for mut duo in [server, client(NO_TAKEOVER, small)] {
        assert!(duo.send(&far[..]));
        let mut puff = Puff::default();
        assert_eq!(puff.inflate(&sent(&mut duo).1, 1 << 20), Ok(far.clone().into_bytes()));
        assert!(puff.distance_max <= 512);
    }
}

#[test]
fn s6_1_an_echo_of_a_compressed_message_is_compressed_and_of_a_short_one_is_not() {
    let text = json(6, 4_000);
    for duo in super::both(|_| {}) {
        let mut duo = duo.echoing();
        duo.feed_frame(0xc1, super::HELLO).expect_text("Hello");
        duo.expect_frame(0x81, b"Hello");
        duo.feed_frame(0x81, text.as_bytes()).expect_text(&text);
        let (first, payload) = sent(&mut duo);
        assert_eq!(first, 0xc1);
        duo.feed_frame(0xc1, &payload).expect_text(&text);
        assert_eq!(sent(&mut duo), (0xc1, payload)); // what it makes of the same is the same
    }
}

#[test]
fn s5_3_of_rfc6455_a_client_masks_what_it_compressed_with_a_new_key_each_time() {
    let mut client = client(NO_TAKEOVER, without_contexts);
    assert_eq!(client.role(), Role::Client);
    let (one, two) = {
        client.send("Hello Hello Hello Hello");
        let one = client.take_bytes();
        client.send("Hello Hello Hello Hello");
        (one, client.take_bytes())
    };
    assert!(one[0] == 0xc1 && one[1] & 0x80 != 0 && one.len() == two.len());
    assert_ne!(one[2..6], two[2..6]);
    assert_ne!(one[6..], two[6..]);
    assert_eq!(masked(0xc1, b"").len(), 6);
}

#[test]
fn s6_1_control_frames_are_never_compressed() {
    for mut duo in with_window(15, true, |_| {}) {
        let payload = [b'a'; 120];
        assert!(duo.ping(&payload) && duo.pong(&payload));
        duo.expect_frame(0x89, &payload).expect_frame(0x8a, &payload).expect_silence();
        assert!(duo.close(1000, &"a".repeat(100)));
        duo.expect_frame(0x88, &crate::duo::close_body(1000, &"a".repeat(100))).expect_silence();
        assert!(!duo.send("Hello Hello Hello Hello"));
    }
}

/// The codec has to be as new after each message that it could not make smaller.
#[test]
fn s7_2_1_what_does_not_shrink_leaves_nothing_behind_for_the_message_after_it() {
    let (noise, text) = (super::noise(5, 9_000), json(7, 900));
    for level in 1..=9 {
        for takes_over in [false, true] {
            for mut duo in with_window(12, takes_over, |config| config.deflate.level = level) {
                let mut puff = Puff::default();
                for i in 0..30 {
                    assert!(duo.send(&noise[i * 100..]));
                    assert_eq!(sent(&mut duo), (0x82, noise[i * 100..].to_vec()));
                    assert!(duo.send(&text[..]));
                    let (first, payload) = sent(&mut duo);
                    assert_eq!(first, 0xc1);
                    assert_eq!(puff.inflate(&payload, 1 << 20).as_deref(), Ok(text.as_bytes()), "{level}");
                }
            }
        }
    }
}
