//! §7.1.1 and §8: `deflate_context_bytes_max`. Within it connections have contexts of their own, past it new ones have
//! none, and however a connection ends, its share is given back.

use super::{NO_TAKEOVER, RESPONSE, with_lines};
use crate::duo::{
    REQUEST, close_body,
    drive::{Drive, Seen},
    masked, show,
};
use sockeye::{
    ClientRequest, Commons, Config, ConnId, Connection, Input, Lost, Now, Refusal, Step, Upgrade,
    wire::deflate::{Compressor, Inflater},
};

const BOTH: u64 = Compressor::bytes(15) + Inflater::BYTES;

fn drive(context_bytes_max: u64) -> Drive {
    Drive::with(
        |config| {
            config.limits.deflate_context_bytes_max = context_bytes_max;
            config.limits.message_bytes_max = 1_000;
            config.keepalive.ping_after_ms = 5_000;
        },
        |cx, id, on| {
            if let (Some(id), crate::duo::drive::On::Message(message)) = (id, on) {
                if message.as_bytes() == b"close me" {
                    cx.close(id, sockeye::CloseCode::NORMAL, "");
                } else {
                    cx.send(id, message);
                }
            }
        },
    )
}

/// What a new connection is answered.
#[track_caller]
fn open(drive: &mut Drive, offer: &str, answer: &str) -> ConnId {
    let id = drive.accept();
    drive.feed(id, &with_lines(REQUEST, &[offer])).expect_seen(id, Seen::Open);
    let bytes = drive.take_bytes(id);
    assert!(bytes == with_lines(RESPONSE, &[answer]), "{}", show(&bytes));
    id
}

const OFFER: &str = "permessage-deflate";

#[test]
fn s7_1_1_past_the_budget_new_connections_get_no_takeover_and_old_ones_keep_theirs() {
    let mut drive = drive(2 * BOTH + BOTH / 2);
    let first = open(&mut drive, OFFER, OFFER);
    open(&mut drive, OFFER, OFFER);
    let third = open(&mut drive, OFFER, NO_TAKEOVER);
    // What costs less may still fit: an inflater alone, and a compressor with a small window.
    let inflater = "permessage-deflate; server_no_context_takeover";
    open(&mut drive, inflater, inflater);
    for id in [first, third] {
        drive.feed(id, &masked(0xc1, super::HELLO)).expect_text(id, "Hello").expect(id, b"\x81\x05Hello");
    }
    drive
        .feed(first, &masked(0xc1, super::HELLO_AGAIN))
        .expect_text(first, "Hello")
        .expect(first, b"\x81\x05Hello");
    // A closed one's place is given to the next.
    drive.lose(first, Lost::Stopped);
    drive.expect_close(first, 1006, "", sockeye::Cause::Lost(Lost::Stopped));
    open(&mut drive, OFFER, OFFER);
    open(&mut drive, OFFER, NO_TAKEOVER);
}

#[test]
fn s7_1_1_the_budget_is_to_the_byte() {
    for (budget, answer) in
        [(BOTH, OFFER), (BOTH - 1, NO_TAKEOVER), (1, NO_TAKEOVER), (0, NO_TAKEOVER), (u64::MAX, OFFER)]
    {
        open(&mut drive(budget), OFFER, answer);
    }
    for bits in 9..=15 {
        let offer = format!("permessage-deflate; client_no_context_takeover; server_max_window_bits={bits}");
        let bytes = Compressor::bytes(bits);
        open(&mut drive(bytes), &offer, &offer);
        open(&mut drive(bytes - 1), &offer, &format!("{NO_TAKEOVER}; server_max_window_bits={bits}"));
    }
    let offer = "permessage-deflate; server_no_context_takeover";
    open(&mut drive(Inflater::BYTES), offer, offer);
    open(&mut drive(Inflater::BYTES - 1), offer, NO_TAKEOVER);
}

/// Ends a connection in some way; gives what to do to it until it is gone.
type End = fn(&mut Drive, ConnId);

#[test]
fn s7_1_1_however_a_connection_ends_its_share_of_the_budget_is_given_back() {
    let ends: [(&str, End); 11] = [
        ("the peer's Close", |drive, id| {
            drive.feed(id, &masked(0x88, &close_body(1000, ""))).feed_eof(id);
        }),
        ("our Close, answered", |drive, id| {
            drive
                .feed(id, &masked(0x82, b"close me"))
                .feed(id, &masked(0x88, &close_body(1000, "")))
                .feed_eof(id);
        }),
        ("our Close, never answered", |drive, id| {
            drive.feed(id, &masked(0x82, b"close me")).at(6_000).at(8_000).at(20_000);
        }),
        ("a fault", |drive, id| {
            drive.feed(id, &masked(0x83, b"")).feed_eof(id);
        }),
        ("garbage", |drive, id| {
            drive.feed(id, &masked(0xc1, b"\x06")).feed_eof(id);
        }),
        ("no UTF-8", |drive, id| {
            drive.feed(id, &masked(0x81, b"\xff")).feed_eof(id);
        }),
        ("too large", |drive, id| {
            drive.feed(id, &masked(0x82, &[0; 1_001])).feed_eof(id);
        }),
        ("the end of its stream", |drive, id| {
            drive.feed_eof(id);
        }),
        ("the end of its stream inside a message", |drive, id| {
            drive.feed(id, &masked(0x41, b"\x06")).feed_eof(id);
        }),
        ("a reset", |drive, id| {
            drive.lose(id, Lost::Stopped);
        }),
        ("silence", |drive, id| {
            drive.at(6_000).at(20_000).at(30_000);
            let _ = id;
        }),
    ];
    for (name, end) in ends {
        let mut drive = drive(BOTH);
        let id = open(&mut drive, OFFER, OFFER);
        // Both of its codecs are in use.
        let text = super::json(1, 600);
        drive.feed(id, &masked(0x81, text.as_bytes())).expect_text(id, &text);
        assert_eq!(drive.take_bytes(id)[0], 0xc1);
        drive.feed(id, &masked(0xc1, super::HELLO)).expect_text(id, "Hello").expect(id, b"\x81\x05Hello");
        let other = open(&mut drive, OFFER, NO_TAKEOVER);
        end(&mut drive, id);
        drive.take_seen();
        drive.take_bytes(id);
        drive.take_bytes(other);
        assert!(drive.is_gone(id), "{name}");
        open(&mut drive, OFFER, OFFER);
        open(&mut drive, OFFER, NO_TAKEOVER);
        drive.abort().take_seen();
        open(&mut drive, OFFER, OFFER);
    }
}

#[test]
fn s7_1_1_a_request_that_is_refused_costs_nothing_of_the_budget() {
    let mut drive = drive(BOTH).judge(|request| match request.path() {
        "/no" => Upgrade::refuse(Refusal::with_status(404, "no")),
        _ => Upgrade::accept(),
    });
    let request = String::from_utf8(with_lines(REQUEST, &[OFFER])).unwrap().replace("GET / ", "GET /no ");
    for _ in 0..3 {
        let id = drive.accept();
        drive.feed(id, request.as_bytes()).take_bytes(id);
    }
    open(&mut drive, OFFER, OFFER);
}

/// The request of a client that dials, and whether it offers context takeover.
fn dial(commons: &mut Commons) -> (Connection, bool) {
    let mut out = Vec::new();
    let client = Connection::client(Now::default(), ClientRequest::default(), commons, &mut out);
    let request = String::from_utf8(out).unwrap();
    assert!(request.contains("Sec-WebSocket-Extensions: permessage-deflate"));
    (client, !request.contains("no_context_takeover"))
}

fn answer(client: &mut Connection, commons: &mut Commons, answer: &[u8]) -> Step {
    let mut input = Input::new(1_000);
    input.space()[..answer.len()].copy_from_slice(answer);
    input.fill(answer.len());
    client.receive(Now::default(), &mut input, commons).expect("no frame came")
}

/// An answer that takes over what was offered cannot be declined: room for it is kept from the offer on.
#[test]
fn s7_1_1_clients_that_dial_at_once_offer_no_more_contexts_than_there_is_room_for() {
    let mut config = Config::default();
    config.limits.deflate_context_bytes_max = BOTH;
    let mut commons = Commons::new(&config, crate::duo::entropy);
    let now = Now::default();
    // Each end of a dialled connection gives the room back: refused, lost, answered without takeover, closed.
    for _ in 0..2 {
        let (mut first, takes_over) = dial(&mut commons);
        assert!(takes_over);
        let (mut second, takes_over) = dial(&mut commons);
        assert!(!takes_over);
        let refused = answer(&mut first, &mut commons, b"HTTP/1.1 404 Not Found\r\n\r\n");
        assert!(matches!(refused, Step::Failed(..)));
        let (mut third, takes_over) = dial(&mut commons);
        assert!(takes_over);
        third.handle_eof(now);
        third.retire(&mut commons);
        second.retire(&mut commons);
        first.retire(&mut commons);
    }
    // The nonce of the first client's request is the one of the RFC.
    for (line, left) in [(NO_TAKEOVER, true), (OFFER, false)] {
        let mut commons = Commons::new(&config, crate::duo::entropy);
        let (mut client, _) = dial(&mut commons);
        let opened = answer(&mut client, &mut commons, &with_lines(RESPONSE, &[line]));
        assert!(matches!(opened, Step::Opened(_)));
        let (mut next, takes_over) = dial(&mut commons);
        assert_eq!(takes_over, left);
        next.retire(&mut commons);
        client.fail(now, sockeye::Fault::InvalidUtf8, &mut commons, &mut Vec::new());
        client.retire(&mut commons);
        assert!(dial(&mut commons).1);
    }
}
