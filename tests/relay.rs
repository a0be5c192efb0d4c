//! A compressed message that is sent on as it is goes on in the form it came in, where everybody can read it so: RFC
//! 7692 §6.1 and §7.2. Where somebody could not, it is compressed anew.

mod duo;

use duo::{
    bare,
    drive::{Drive, On, Seen, echo},
    masked,
};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use sockeye::{Config, ConnId, Context};

const NO_TAKEOVER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// A peer that offers `extensions` and is open.
fn open(drive: &mut Drive, extensions: &str) -> ConnId {
    let id = drive.accept();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: {extensions}\r\n\r\n"
    );
    drive.feed(id, request.as_bytes()).expect_seen(id, Seen::Open);
    assert!(drive.take_bytes(id).starts_with(b"HTTP/1.1 101 "));
    id
}

/// A text that compresses well, and differs by `seed`.
fn text(len: usize, seed: usize) -> String {
    let mut text: String = (0..len).map(|i| format!("{{\"n\":{},", (i * 7 + seed) % 100)).collect();
    text.truncate(len);
    text
}

fn deflated(message: &[u8], level: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * message.len() + 64);
    let mut codec = Compress::new(Compression::new(level), false);
    codec.compress_vec(message, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(b"\0\0\xff\xff"));
    out.truncate(out.len() - 4);
    out
}

/// Inflates with a codec that may have seen earlier messages.
fn inflated(codec: &mut Decompress, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 20);
    codec.decompress_vec(&[payload, b"\0\0\xff\xff"].concat(), &mut out, FlushDecompress::Sync).unwrap();
    out
}

/// First byte and payload of the one frame that `bytes` are.
#[track_caller]
fn frame(bytes: &[u8]) -> (u8, &[u8]) {
    let (len, start) = match bytes[1] {
        126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
        len => (usize::from(len), 2),
    };
    assert_eq!(bytes.len(), start + len, "one frame");
    (bytes[0], &bytes[start..])
}

/// Sends each message to a topic that all who open are in.
fn room(cx: &mut Context<'_>, id: Option<ConnId>, on: On<'_>) {
    match (id, on) {
        (Some(id), On::Open) => {
            cx.subscribe(id, "room");
        }
        (_, On::Message(message)) => {
            cx.publish("room", message);
        }
        _ => {}
    }
}

#[test]
fn an_echo_of_a_compressed_message_is_the_payload_it_came_with() {
    let mut drive = Drive::new(echo);
    let id = open(&mut drive, NO_TAKEOVER);
    for (len, level) in [(300, 9), (1_024, 1), (5_000, 6), (90_000, 6)] {
        let message = text(len, len);
        let payload = deflated(message.as_bytes(), level);
        drive.feed(id, &masked(0xc1, &payload)).expect(id, &bare(0xc1, &payload)).expect_text(id, &message);
    }
}

#[test]
fn echoes_of_both_kinds_and_pongs_keep_their_order_in_one_write() {
    let mut drive = Drive::new(echo);
    let id = open(&mut drive, NO_TAKEOVER);
    let (first, second) = (text(400, 1), text(700, 2));
    let (a, b) = (deflated(first.as_bytes(), 6), deflated(second.as_bytes(), 6));
    let short = deflated(b"short", 6);
    drive.take_writes(id);
    let parts = [
        masked(0xc1, &a),
        masked(0x89, b"?"),
        masked(0x81, b"plain"),
        masked(0xc2, &b),
        masked(0xc1, &short),
    ];
    drive.feed(id, &parts.concat());
    let out = [bare(0xc1, &a), bare(0x8a, b"?"), bare(0x81, b"plain"), bare(0xc2, &b), bare(0x81, b"short")];
    drive.expect(id, &out.concat()).expect_text(id, &first).expect_text(id, "plain");
    drive.expect_seen(id, Seen::Binary(second.into_bytes())).expect_text(id, "short");
}

#[test]
fn what_not_every_inflater_reads_or_is_no_gain_is_compressed_anew() {
    let mut drive = Drive::new(echo);
    let id = open(&mut drive, NO_TAKEOVER);
    let message = text(600, 3);
    let mut final_block = Vec::with_capacity(1_024);
    Compress::new(Compression::new(6), false)
        .compress_vec(message.as_bytes(), &mut final_block, FlushCompress::Finish)
        .unwrap();
    final_block.push(0); // §7.2.3.4
    let len = message.len() as u16;
    let stored = [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes(), message.as_bytes(), &[0]].concat();
    for payload in [final_block, stored] {
        drive.feed(id, &masked(0xc1, &payload)).expect_text(id, &message);
        let out = drive.take_bytes(id);
        let (lead, reply) = frame(&out);
        assert!(lead == 0xc1 && reply != payload && reply.len() < message.len());
        assert_eq!(inflated(&mut Decompress::new(false), reply), message.as_bytes());
    }
}

#[test]
fn a_message_that_refers_to_earlier_ones_is_compressed_anew() {
    let mut drive =
        Drive::with(|config: &mut Config| config.limits.deflate_context_bytes_max = 1 << 30, echo);
    let id = open(&mut drive, "permessage-deflate");
    let message = text(600, 4);
    let (mut codec, mut peer) = (Compress::new(Compression::new(6), false), Decompress::new(false));
    for round in 0..3 {
        let mut payload = Vec::with_capacity(2_048);
        codec.compress_vec(message.as_bytes(), &mut payload, FlushCompress::Sync).unwrap();
        payload.truncate(payload.len() - 4);
        drive.feed(id, &masked(0xc1, &payload)).expect_text(id, &message);
        let out = drive.take_bytes(id);
        let (lead, reply) = frame(&out);
        assert_eq!(lead, 0xc1);
        assert_eq!(inflated(&mut peer, reply), message.as_bytes());
        assert!(round == 0 || reply.len() < 40, "the second time it refers to the first");
    }
}

#[test]
fn s7_1_2_1_who_asked_for_a_smaller_window_is_not_sent_what_others_compressed() {
    let mut drive = Drive::new(room);
    let speaker = open(&mut drive, NO_TAKEOVER);
    let same = open(&mut drive, NO_TAKEOVER);
    let small = open(&mut drive, "permessage-deflate; server_max_window_bits=9");
    let plain = drive.open();
    let message = text(3_000, 5);
    let payload = deflated(message.as_bytes(), 9);
    drive.feed(speaker, &masked(0xc1, &payload)).expect_text(speaker, &message);
    drive.expect(speaker, &bare(0xc1, &payload)).expect(same, &bare(0xc1, &payload));
    drive.expect(plain, &bare(0x81, message.as_bytes()));
    let out = drive.take_bytes(small);
    let (lead, reply) = frame(&out);
    assert!(lead == 0xc1 && reply != payload);
    assert_eq!(inflated(&mut Decompress::new_with_window_bits(false, 9), reply), message.as_bytes());
}

#[test]
fn s7_1_1_1_who_has_a_context_stays_in_step_when_it_is_sent_what_others_compressed() {
    let private = text(500, 6);
    let to_all = text(800, 7);
    let mut member = None;
    let own = private.clone();
    let act = move |cx: &mut Context<'_>, id: Option<ConnId>, on: On<'_>| match (id, on) {
        (Some(id), On::Open) => {
            member.get_or_insert(id);
            cx.subscribe(id, "room");
        }
        (Some(_), On::Message(message)) => {
            cx.send(member.unwrap(), own.as_str());
            cx.publish("room", message);
            cx.send(member.unwrap(), own.as_str());
        }
        _ => {}
    };
    let mut drive = Drive::with(|config| config.limits.deflate_context_bytes_max = 1 << 30, act);
    let id = open(&mut drive, "permessage-deflate");
    let speaker = open(&mut drive, NO_TAKEOVER);
    let payload = deflated(to_all.as_bytes(), 6);
    let mut peer = Decompress::new(false);
    for _ in 0..3 {
        drive.feed(speaker, &masked(0xc1, &payload)).expect_text(speaker, &to_all);
        drive.expect(speaker, &bare(0xc1, &payload));
        let out = drive.take_bytes(id);
        let (mut rest, mut found) = (&out[..], Vec::new());
        while !rest.is_empty() {
            assert_eq!(rest[0], 0xc1);
            let (len, start) = match rest[1] {
                126 => (usize::from(u16::from_be_bytes([rest[2], rest[3]])), 4),
                len => (usize::from(len), 2),
            };
            found.push(inflated(&mut peer, &rest[start..start + len]));
            rest = &rest[start + len..];
        }
        assert_eq!(found, [private.as_bytes(), to_all.as_bytes(), private.as_bytes()]);
    }
}

#[test]
fn another_text_of_the_same_bytes_is_not_taken_for_the_message() {
    let mut drive = Drive::new(|cx, id, on| {
        if let (Some(id), On::Message(sockeye::Message::Text(text))) = (id, on) {
            cx.send(id, text.to_owned().as_str());
            cx.send(id, &text[1..]);
        }
    });
    let id = open(&mut drive, NO_TAKEOVER);
    let message = text(600, 8);
    let payload = deflated(message.as_bytes(), 1);
    drive.feed(id, &masked(0xc1, &payload)).expect_text(id, &message);
    let out = drive.take_bytes(id);
    let first = usize::from(u16::from_be_bytes([out[2], out[3]])) + 4;
    let mut codec = Decompress::new(false);
    assert_ne!(frame(&out[..first]).1, payload);
    assert_eq!(inflated(&mut codec, frame(&out[..first]).1), message.as_bytes());
    codec.reset(false);
    assert_eq!(inflated(&mut codec, frame(&out[first..]).1), &message.as_bytes()[1..]);
}

/// The messages in `bytes`, all of them compressed or plain text frames, as a peer with one window reads them.
#[track_caller]
fn messages(peer: &mut Decompress, bytes: &[u8]) -> Vec<String> {
    let (mut rest, mut found) = (bytes, Vec::new());
    while !rest.is_empty() {
        let (len, start) = match rest[1] {
            126 => (usize::from(u16::from_be_bytes([rest[2], rest[3]])), 4),
            len => (usize::from(len), 2),
        };
        let payload = &rest[start..start + len];
        match rest[0] {
            0xc1 => found.push(String::from_utf8(inflated(peer, payload)).unwrap()),
            0x81 => found.push(String::from_utf8(payload.to_vec()).unwrap()),
            _ => {}
        }
        rest = &rest[start + len..];
    }
    found
}

#[test]
fn s7_1_1_1_whatever_follows_an_echo_of_what_came_it_refers_to_nothing_that_the_peer_has_elsewhere() {
    let first = text(1_000, 0);
    for whole in [true, false] {
        for what in 0..3 {
            let again = first.clone();
            let act = move |cx: &mut Context<'_>, id: Option<ConnId>, on: On<'_>| match (id, on) {
                (Some(id), On::Open) => {
                    cx.send(id, again.as_str());
                }
                (Some(id), On::Message(message)) => {
                    cx.send(id, message);
                    match what {
                        0 => {}
                        1 => drop(cx.ping(id, b"")),
                        _ => drop(cx.subscribe(id, "room")),
                    }
                    cx.send(id, again.as_str());
                }
                _ => {}
            };
            let mut drive = Drive::with(|config| config.limits.deflate_context_bytes_max = 1 << 30, act);
            let id = drive.accept();
            let request = std::str::from_utf8(duo::REQUEST).unwrap().replace(
                "\r\n\r\n",
                "\r\nSec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n",
            );
            drive.feed(id, request.as_bytes()).expect_seen(id, Seen::Open);
            let out = drive.take_bytes(id);
            let head = out.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let mut peer = Decompress::new(false);
            assert_eq!(messages(&mut peer, &out[head..]), [first.as_str()]);
            let message = text(600, 9);
            let payload = deflated(message.as_bytes(), 6);
            for _ in 0..2 {
                if whole {
                    drive.feed(id, &masked(0xc1, &payload));
                } else {
                    drive.feed(id, &masked(0x41, &payload[..20])).feed(id, &masked(0x80, &payload[20..]));
                }
                drive.expect_text(id, &message);
                let out = drive.take_bytes(id);
                assert_eq!(messages(&mut peer, &out), [message.as_str(), &first], "{whole} {what}");
            }
        }
    }
}
