//! §10.4: the limits on what one peer may use, and the keepalive of §5.5.2, with the time as an argument.

use crate::duo::{Duo, bare, masked};
use sockeye::{Config, ConnectionState, Expired, Fault, Role};

fn fresh(like: &Duo, configure: impl Fn(&mut Config)) -> Duo {
    if like.role() == Role::Server { Duo::server_with(configure) } else { Duo::client_with(configure) }
}

// ------------------------------------------------------------------ message_bytes_max

fn hundred(config: &mut Config) {
    config.limits.message_bytes_max = 100;
}

#[test]
fn a_message_of_message_bytes_max_passes_and_one_byte_more_fails_with_1009() {
    let fault = Fault::MessageTooBig { len: 101, limit: 100 };
    for mut duo in Duo::both_with(hundred) {
        duo.feed_frame(0x82, &[7; 100]).expect_binary(&[7; 100]).expect_silence();
        duo.feed_frame(0x82, &[7; 101]).expect_fault(fault, 1009, "message of 101 bytes (at most 100)");
    }
}

#[test]
fn a_message_that_is_too_big_fails_by_its_header_before_a_byte_of_it_came() {
    let reason = "message of 101 bytes (at most 100)";
    let fault = Fault::MessageTooBig { len: 101, limit: 100 };
    Duo::server_with(hundred).feed(b"\x81\xe5").expect_fault(fault, 1009, reason);
    Duo::client_with(hundred).feed(b"\x81\x65").expect_fault(fault, 1009, reason);
    // The defaults, and lengths of 64 bits.
    let fault = Fault::MessageTooBig { len: 16_777_217, limit: 16_777_216 };
    let reason = "message of 16777217 bytes (at most 16777216)";
    Duo::server().feed(b"\x82\xff\0\0\0\0\x01\0\0\x01").expect_fault(fault, 1009, reason);
    Duo::client().feed(b"\x82\x7f\0\0\0\0\x01\0\0\x01").expect_fault(fault, 1009, reason);
    let len = (1 << 63) - 1;
    let reason = "message of 9223372036854775807 bytes (at most 16777216)";
    let fault = Fault::MessageTooBig { len, limit: 16_777_216 };
    Duo::server().feed(b"\x02\xff\x7f\xff\xff\xff\xff\xff\xff\xff").expect_fault(fault, 1009, reason);
    Duo::client().feed(b"\x02\x7f\x7f\xff\xff\xff\xff\xff\xff\xff").expect_fault(fault, 1009, reason);
}

#[test]
fn fragments_together_are_at_most_message_bytes_max() {
    for mut duo in Duo::both_with(hundred) {
        duo.feed_frame(0x02, &[7; 60]).feed_frame(0x00, &[7; 30]).feed_frame(0x80, &[7; 10]);
        duo.expect_binary(&[7; 100]).expect_silence();
        duo.feed_frame(0x02, &[7; 60]).feed_frame(0x00, &[7; 40]).expect_no_message();
        let head = if duo.role() == Role::Server { &b"\x80\x81"[..] } else { b"\x80\x01" };
        let fault = Fault::MessageTooBig { len: 101, limit: 100 };
        duo.feed(head).expect_fault(fault, 1009, "message of 101 bytes (at most 100)");
    }
    // A sum past 64 bits is no small one.
    let fault = Fault::MessageTooBig { len: (1 << 63) + 4, limit: 100 };
    let reason = "message of 9223372036854775812 bytes (at most 100)";
    for mut duo in Duo::both_with(hundred) {
        let head = if duo.role() == Role::Server { b"\x80\xff" } else { b"\x80\x7f" };
        duo.feed_frame(0x02, b"hello").feed(&[head, &b"\x7f\xff\xff\xff\xff\xff\xff\xff"[..]].concat());
        duo.expect_fault(fault, 1009, reason);
    }
}

#[test]
fn control_frames_do_not_count_as_bytes_of_the_message_between_whose_fragments_they_stand() {
    for mut duo in Duo::both_with(hundred) {
        duo.feed_frame(0x02, &[7; 50]).feed_frame(0x89, &[8; 120]).expect_frame(0x8a, &[8; 120]);
        duo.feed_frame(0x80, &[7; 50]).expect_binary(&[7; 100]).expect_silence();
    }
}

#[test]
fn the_default_lets_16_mib_pass() {
    let payload = vec![7; 16 << 20];
    Duo::server().read_direct().feed(&masked(0x82, &payload)).expect_binary(&payload).expect_silence();
    Duo::client().feed(&bare(0x82, &payload)).expect_binary(&payload).expect_silence();
}

// ------------------------------------------------------------------ fragments_max

fn three_fragments(config: &mut Config) {
    config.limits.fragments_max = 3;
}

#[test]
fn a_message_of_fragments_max_passes_and_one_fragment_more_fails_with_1008_though_all_are_empty() {
    let fault = Fault::TooManyFragments { limit: 3 };
    let reason = "message in more than 3 fragments (at most 3)";
    for part in [&b""[..], b"ab"] {
        for mut duo in Duo::both_with(three_fragments) {
            for _ in 0..2 {
                duo.feed_frame(0x02, part).feed_frame(0x00, part).feed_frame(0x80, part);
                duo.expect_binary(&part.repeat(3)).expect_silence();
            }
            duo.feed_frame(0x02, part).feed_frame(0x00, part).feed_frame(0x00, part).expect_silence();
            duo.feed_frame(0x80, part).expect_fault(fault, 1008, reason);
            let mut duo = fresh(&duo, three_fragments);
            duo.feed_frame(0x02, part).feed_frame(0x00, part).feed_frame(0x00, part).feed_frame(0x00, part);
            duo.expect_fault(fault, 1008, reason);
        }
    }
}

#[test]
fn control_frames_do_not_count_as_fragments() {
    for mut duo in Duo::both_with(three_fragments) {
        duo.feed_frame(0x01, b"a");
        for _ in 0..10 {
            duo.feed_frame(0x89, b"").expect_frame(0x8a, b"");
        }
        duo.feed_frame(0x00, b"b").feed_frame(0x80, b"c").expect_text("abc").expect_silence();
    }
}

#[test]
fn the_default_lets_131_072_empty_fragments_pass_and_no_more() {
    for mut duo in Duo::both() {
        let continued = duo.frame(0x00, b"").repeat(131_070);
        duo.feed_frame(0x01, b"").feed(&continued).feed_frame(0x80, b"").expect_text("").expect_silence();
        duo.feed_frame(0x01, b"")
            .feed(&continued)
            .feed_frame(0x00, b"")
            .expect_silence()
            .feed_frame(0x80, b"");
        let reason = "message in more than 131072 fragments (at most 131072)";
        duo.expect_fault(Fault::TooManyFragments { limit: 131_072 }, 1008, reason);
    }
}

// ------------------------------------------------------------------ message_idle_ms_max

/// No keepalive, so that only messages are timed.
fn no_pings(config: &mut Config) {
    config.keepalive.ping_after_ms = 0;
}

const IDLE: Fault = Fault::MessageIdle { limit_ms: 20_000 };
const IDLE_REASON: &str = "unfinished message brought no byte for 20000 ms (at most 20000)";

#[test]
fn an_unfinished_message_that_brings_no_byte_for_message_idle_ms_max_fails_with_1008() {
    for mut duo in Duo::both_with(no_pings) {
        assert_eq!(duo.deadline(), None);
        duo.at(1_000).feed_frame(0x01, b"half");
        assert_eq!(duo.deadline(), Some(21_000));
        assert_eq!(duo.expire_at(20_999), None);
        // A byte of it puts it off.
        duo.feed_frame(0x00, b"more");
        assert_eq!(duo.expire_at(40_998), None);
        assert_eq!(duo.expire_at(40_999), Some(Expired::Fault(IDLE)));
        duo.expect_fault(IDLE, 1008, IDLE_REASON);
    }
}

#[test]
fn a_frame_that_stops_anywhere_is_an_unfinished_message() {
    for duo in Duo::both_with(no_pings) {
        let frame = duo.frame(0x81, &[b'a'; 130]);
        for cut in 1..frame.len() {
            let mut duo = fresh(&duo, no_pings);
            duo.at(500).feed(&frame[..cut]);
            assert_eq!(duo.expire_at(20_499), None, "{cut}");
            assert_eq!(duo.expire_at(20_500), Some(Expired::Fault(IDLE)), "{cut}");
            duo.expect_fault(IDLE, 1008, IDLE_REASON);
        }
        let mut duo = fresh(&duo, no_pings);
        duo.at(500).feed(&frame).expect_text(&"a".repeat(130));
        assert_eq!(duo.deadline(), None);
    }
}

#[test]
fn control_frames_do_not_put_off_the_end_of_an_unfinished_message() {
    for mut duo in Duo::both_with(no_pings) {
        duo.at(1_000).feed_frame(0x01, b"half");
        duo.at(19_000).feed_frame(0x89, b"").expect_frame(0x8a, b"").feed_frame(0x8a, b"").expect_pong(b"");
        assert_eq!(duo.expire_at(21_000), Some(Expired::Fault(IDLE)));
        duo.expect_fault(IDLE, 1008, IDLE_REASON);
    }
}

#[test]
fn a_message_idle_ms_max_of_0_is_never() {
    let never = |config: &mut Config| {
        config.limits.message_idle_ms_max = 0;
        config.keepalive.ping_after_ms = 0;
    };
    for mut duo in Duo::both_with(never) {
        duo.feed_frame(0x01, b"half");
        assert_eq!((duo.deadline(), duo.expire_at(1_000_000)), (None, None));
        duo.feed_frame(0x80, b"").expect_text("half");
    }
}

#[test]
fn the_clock_of_a_message_stands_while_we_do_not_read_the_peer() {
    for mut duo in Duo::both_with(no_pings) {
        duo.at(1_000).feed_frame(0x01, b"half").at(15_000).pause();
        assert_eq!((duo.deadline(), duo.expire_at(500_000)), (None, None));
        duo.resume();
        assert_eq!(duo.expire_at(519_999), None);
        assert_eq!(duo.expire_at(520_000), Some(Expired::Fault(IDLE)));
        duo.expect_fault(IDLE, 1008, IDLE_REASON);
    }
}

// ------------------------------------------------------------------ keepalive

#[test]
fn s5_5_2_a_silent_peer_is_sent_one_empty_ping_and_dropped_when_that_brings_nothing() {
    for mut duo in Duo::both() {
        assert_eq!(duo.deadline(), Some(25_000)); // the entropy of these tests begins with a jitter of 0
        assert_eq!(duo.expire_at(24_999), None);
        duo.expect_silence();
        assert_eq!(duo.expire_at(25_000), Some(Expired::Ping));
        duo.expect_frame(0x89, b"").expect_silence();
        assert_eq!(duo.deadline(), Some(35_000));
        assert_eq!(duo.expire_at(34_999), None);
        duo.expect_silence();
        assert_eq!(duo.expire_at(35_000), Some(Expired::Drop));
        duo.expect_silence();
    }
}

#[test]
fn any_byte_is_a_sign_of_life() {
    for mut duo in Duo::both() {
        let frame = duo.frame(0x82, b"0123456789");
        for (i, byte) in frame.iter().enumerate() {
            let at = i as u64 * 15_000;
            duo.at(at).feed(&[*byte]);
            assert_eq!(duo.expire_at(at + 14_999), None);
        }
        duo.expect_binary(b"0123456789").expect_silence();
    }
    for sign in [&b""[..], b"other"] {
        for mut duo in Duo::both() {
            assert_eq!(duo.expire_at(25_000), Some(Expired::Ping));
            duo.expect_frame(0x89, b"");
            duo.at(34_999).feed_frame(0x8a, sign).expect_pong(sign);
            assert_eq!(duo.deadline(), Some(59_999));
            assert_eq!(duo.expire_at(59_999), Some(Expired::Ping));
            duo.expect_frame(0x89, b"").expect_silence();
        }
    }
}

#[test]
fn a_jitter_of_up_to_a_tenth_keeps_peers_out_of_step() {
    use sockeye::{ClientRequest, Commons, Connection, Now, Tick};
    let config = Config::default();
    let mut deadlines = std::collections::BTreeSet::new();
    for seed in [0_u8, 1, 128, 254, 255] {
        // Entropy of one repeated byte.
        let fill: fn(&mut [u8]) = match seed {
            0 => |bytes| bytes.fill(0),
            1 => |bytes| bytes.fill(1),
            128 => |bytes| bytes.fill(128),
            254 => |bytes| bytes.fill(254),
            _ => |bytes| bytes.fill(255),
        };
        let mut commons = Commons::new(&config, fill);
        let (mut out, now) = (Vec::new(), Now::default());
        let mut client = Connection::client(now, ClientRequest::default(), &mut commons, &mut out);
        let text = String::from_utf8(out).unwrap();
        let key = text.split("\r\n").find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let accept = sockeye::wire::handshake::AcceptKey::of(key);
        let answer = [
            b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
            accept.as_bytes(),
            b"\r\n\r\n",
        ]
        .concat();
        let mut input = sockeye::Input::new(4096);
        input.space()[..answer.len()].copy_from_slice(&answer);
        input.fill(answer.len());
        client.receive(now, &mut input, &mut commons).unwrap();
        let deadline = client.deadline(now, &commons).map(Tick::as_ms).unwrap();
        assert!((25_000..=27_500).contains(&deadline), "{seed}: {deadline}");
        deadlines.insert(deadline);
    }
    assert_eq!((deadlines.len(), deadlines.last()), (5, Some(&27_500)));
}

#[test]
fn a_ping_after_ms_of_0_is_never() {
    for mut duo in Duo::both_with(no_pings) {
        assert_eq!((duo.deadline(), duo.expire_at(1_000_000)), (None, None));
        duo.expect_silence();
        assert_eq!(duo.state(), ConnectionState::Open);
    }
}

#[test]
fn the_clock_of_a_peer_stands_while_we_do_not_read_it() {
    for mut duo in Duo::both() {
        duo.at(20_000).pause();
        assert_eq!((duo.deadline(), duo.expire_at(900_000)), (None, None));
        duo.resume().resume();
        assert_eq!(duo.expire_at(924_999), None);
        assert_eq!(duo.expire_at(925_000), Some(Expired::Ping));
        duo.expect_frame(0x89, b"");
        // Also for a Ping that is not answered because we do not read the answer.
        duo.at(926_000).pause();
        assert_eq!((duo.deadline(), duo.expire_at(1_800_000)), (None, None));
        duo.resume();
        assert_eq!(duo.deadline(), Some(1_825_000));
        duo.expect_silence();
    }
}

#[test]
fn the_clocks_are_right_when_their_32_bits_wrap() {
    let wrap = u64::from(u32::MAX) + 1;
    for mut duo in Duo::both() {
        duo.at(wrap - 10_000).feed_frame(0x8a, b"").expect_pong(b"");
        assert_eq!(duo.deadline(), Some(wrap + 15_000));
        assert_eq!(duo.expire_at(wrap + 14_999), None);
        assert_eq!(duo.expire_at(wrap + 15_000), Some(Expired::Ping));
        duo.expect_frame(0x89, b"");
        assert_eq!(duo.expire_at(wrap + 25_000), Some(Expired::Drop));
    }
}
