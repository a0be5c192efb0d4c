//! Limits and timers that change while connections are served: `Engine::set_limits`.

use crate::duo::{
    bare,
    drive::{Drive, Seen, echo},
    masked,
};
use sockeye::{Cause, Fault, Keepalive, Limits, Lost};

#[test]
fn a_message_is_judged_by_the_limit_in_force_when_its_header_comes() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.feed(id, b"\x02\x84\0\0\0\0").feed(id, b"part"); // 4 bytes, to be continued
    drive.set_limits(Limits { message_bytes_max: 5, ..Limits::default() }, Keepalive::default());
    drive.feed(id, &masked(0x80, b"!")).expect(id, &bare(0x82, b"part!"));
    drive.feed(id, b"\x82\x86\0\0\0\0").expect(id, b"\x88\x20\x03\xf1message of 6 bytes (at most 5)");
    let fault = Cause::Fault(Fault::MessageTooBig { len: 6, limit: 5 });
    drive.expect_seen(id, Seen::Binary(b"part!".to_vec()));
    drive.expect_close(id, 1009, "message of 6 bytes (at most 5)", fault);
}

/// A deadline that is in the wheel already comes nearer, §5.5.2.
#[test]
fn a_silent_peer_is_pinged_when_the_new_time_is_up() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.at(1_000).expect_silence(id);
    drive.set_limits(Limits::default(), Keepalive { ping_after_ms: 2_000, pong_within_ms: 500 });
    drive.at(1_999).expect_silence(id).at(2_216).expect(id, b"\x89\0");
    drive.at(2_699).expect_alive(id).at(2_740).expect_gone(id);
    drive.expect_close(id, 1006, "", Cause::Lost(Lost::Silent));
}

#[test]
fn what_buffers_and_books_were_made_for_stays() {
    let mut drive = Drive::with(|config| config.limits.connections_per_address_max = 1, echo);
    let address = "192.0.2.1:1".parse().ok();
    let first = drive.accept_from(address);
    let unlimited = Limits { connections_per_address_max: 0, read_bytes_max: 4_096, ..Limits::default() };
    drive.set_limits(unlimited, Keepalive::default());
    let second = drive.accept_from(address);
    assert!(drive.take_bytes(second).starts_with(b"HTTP/1.1 503 "));
    drive.expect_alive(first);
}

#[test]
fn limits_that_make_no_sense_are_brought_to_the_nearest_that_do() {
    let mut drive = Drive::new(echo);
    let id = drive.open();
    drive.set_limits(Limits { head_bytes_max: 0, headers_max: 0, ..Limits::default() }, Keepalive::default());
    drive.feed(id, &masked(0x81, b"still")).expect(id, &bare(0x81, b"still")).expect_text(id, "still");
    drive.open();
}
