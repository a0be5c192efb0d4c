//! However the bytes of a connection are cut, its events and its bytes out are the same: by the reads that bring them,
//! by the writes that take them, and by which of the two ways into a large message's buffer they go.

mod duo;

use duo::{
    Duo, Event, REQUEST, RESPONSE, bare, close_body,
    drive::{Drive, Seen, echo},
    masked, show,
};
use proptest::{collection::vec, prelude::*};
use sockeye::{ClientRequest, Config, Dial, Role, wire::deflate::Compressor};

/// What a connection's peer sends, from the first byte of its handshake, and a name for it.
struct Script {
    name: &'static str,
    bytes: Vec<u8>,
}

/// A frame of `role`'s peer.
fn frame(role: Role, lead: u8, payload: &[u8]) -> Vec<u8> {
    match role {
        Role::Server => masked(lead, payload),
        Role::Client => bare(lead, payload),
    }
}

/// The handshake of `role`'s peer.
fn handshake(role: Role) -> &'static [u8] {
    match role {
        Role::Server => REQUEST,
        Role::Client => RESPONSE,
    }
}

fn config(config: &mut Config) {
    config.limits.fragments_max = 12;
    config.deflate.threshold_bytes = 8;
    config.limits.deflate_context_bytes_max = 1 << 20;
}

/// The handshake of `role`'s peer with permessage-deflate, and these frames behind it.
fn compressing(role: Role, parameters: &str, frames: &[Vec<u8>]) -> Vec<u8> {
    let head = handshake(role);
    let line = format!("Sec-WebSocket-Extensions: permessage-deflate{parameters}\r\n\r\n");
    [&head[..head.len() - 2], line.as_bytes(), &frames.concat()].concat()
}

/// `message` as a peer compresses it on its own.
fn compressed(message: &[u8]) -> Vec<u8> {
    let mut out = vec![0; message.len() * 9 / 8 + 100];
    let len = Compressor::new(6, 15).compress(message, &mut out).expect("there is room");
    out.truncate(len);
    out
}

const NO_TAKEOVER: &str = "; server_no_context_takeover; client_no_context_takeover";

/// Scripts with compression on, with context takeover and without.
fn compressed_scripts(role: Role) -> Vec<Script> {
    let frame = |lead, payload: &[u8]| frame(role, lead, payload);
    let (hello, again) = (&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], &b"\xf2\x00\x11\x00\x00"[..]);
    let text = "grün, ".repeat(60);
    let small = [
        frame(0xc1, hello),
        frame(0x81, b"plain, plain, plain"),
        frame(0xc2, hello),
        frame(0xc1, b"\x00"),
        frame(0xc1, b"\x03\x00"),
        frame(0xc1, b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00"),
        frame(0xc1, &compressed(text.as_bytes())),
    ];
    let pieces = [
        frame(0x41, &hello[..2]),
        frame(0x89, b"ping"),
        frame(0x00, b""),
        frame(0x00, &hello[2..6]),
        frame(0x8a, b""),
        frame(0x80, &hello[6..]),
        frame(0x01, b"plain in"),
        frame(0x80, b" fragments"),
        frame(0x42, b""),
        frame(0x80, b"\x02\x00"),
    ];
    let closing = [frame(0xc1, hello), frame(0x88, b"\x03\xe8bye"), frame(0xc1, b"\x06"), frame(0x88, b"")];
    let faults: [(&'static str, Vec<u8>); 6] = [
        ("compressed garbage", frame(0xc1, b"\xf2\x48\x06\xff")),
        ("a compressed message that is cut off", frame(0xc1, &hello[..6])),
        (
            "compressed text that is none",
            [frame(0x41, b"\x00\x03\x00\xfc\xffca\xe9"), frame(0x80, b"\x00")].concat(),
        ),
        ("rsv1 on a continuation", [frame(0x41, hello), frame(0xc0, b"")].concat()),
        ("rsv1 on a ping", frame(0xc9, b"!")),
        ("rsv2 beside rsv1", frame(0xe1, hello)),
    ];
    let mut scripts = Vec::new();
    for (takeover, again) in [("", again), (NO_TAKEOVER, hello)] {
        let script = |name, frames: &[Vec<u8>]| Script { name, bytes: compressing(role, takeover, frames) };
        scripts.push(script(
            "compressed messages",
            &[&small[..], &[frame(0xc1, hello), frame(0xc1, again)]].concat(),
        ));
        scripts.push(script("compressed fragments", &pieces));
        scripts.push(script("compressed messages around a close", &closing));
        for (name, fault) in &faults {
            scripts.push(script(name, &[frame(0xc1, hello), fault.clone(), frame(0xc1, again)]));
        }
    }
    scripts
}

/// Compressed messages of 70,000 bytes.
fn large_compressed_scripts(role: Role) -> Vec<Script> {
    let text: String =
        (0..70_000_u32 / 9).map(|i| format!("{:08} ", i.wrapping_mul(2_654_435_761) % 99_999)).collect();
    let payload = compressed(text.as_bytes());
    let (first, rest) = payload.split_at(payload.len() / 3);
    let frames = [
        frame(role, 0xc1, &payload),
        frame(role, 0x41, first),
        frame(role, 0x89, b"ping"),
        frame(role, 0x80, rest),
        frame(role, 0xc2, &payload),
    ];
    let script = |name, takeover| Script { name, bytes: compressing(role, takeover, &frames) };
    vec![script("large compressed messages", ""), script("the same on their own", NO_TAKEOVER)]
}

/// Scripts that are short enough to be cut at every byte.
fn scripts(role: Role) -> Vec<Script> {
    let frames = |frames: &[(u8, &[u8])]| -> Vec<u8> {
        frames.iter().flat_map(|(lead, payload)| frame(role, *lead, payload)).collect()
    };
    let other = if role == Role::Server { Role::Client } else { Role::Server };
    let mask = if role == Role::Server { 0x80 } else { 0 };
    let bytes: Vec<u8> = (0..=255).chain(0..=255).collect();
    let utf8 = "𝄞€é!".as_bytes();
    let single: Vec<(u8, &[u8])> =
        utf8.chunks(1).enumerate().map(|(i, byte)| (if i == 0 { 0x01 } else { 0x00 }, byte)).collect();
    let good: [(&'static str, Vec<u8>); 9] = [
        ("nothing", Vec::new()),
        ("texts", frames(&[(0x81, b""), (0x81, b"a"), (0x81, utf8), (0x81, "é".repeat(63).as_bytes())])),
        (
            "binaries",
            frames(&[(0x82, b""), (0x82, &bytes[..125]), (0x82, &bytes[..126]), (0x82, &bytes[..300])]),
        ),
        (
            "fragments between which there are control frames",
            frames(&[
                (0x01, b"He"),
                (0x89, b"ping"),
                (0x00, b""),
                (0x8a, b"pong"),
                (0x00, b"l"),
                (0x89, b""),
                (0x80, b"lo"),
                (0x82, b"next"),
            ]),
        ),
        ("empty fragments", frames(&[(0x02, b""), (0x00, b""), (0x80, b""), (0x01, b""), (0x80, b"a")])),
        ("a character to each byte's frame", [frames(&single), frames(&[(0x80, b"")])].concat()),
        ("control frames", frames(&[(0x89, &bytes[..125]), (0x8a, &bytes[..125]), (0x89, b""), (0x8a, b"")])),
        (
            "a close and what follows it",
            frames(&[
                (0x81, b"a"),
                (0x01, b"b"),
                (0x88, b"\x03\xe8bye"),
                (0x80, b"c"),
                (0x89, b"!"),
                (0x88, b""),
            ]),
        ),
        ("an empty close", frames(&[(0x88, b"")])),
    ];
    let faults: [(&'static str, Vec<u8>); 20] = [
        ("rsv", frames(&[(0xc1, b"a")])),
        ("reserved opcode", frames(&[(0x83, b"a")])),
        ("reserved control opcode", frames(&[(0x8b, b"a")])),
        ("wrong mask", frame(other, 0x81, b"a")),
        ("length 125 in 16 bits", [&[0x82, mask | 126, 0, 125][..], &bytes[..200]].concat()),
        (
            "length 65,535 in 64 bits",
            [&[0x82, mask | 127, 0, 0, 0, 0, 0, 0, 255, 255][..], &bytes[..200]].concat(),
        ),
        ("top bit", [&[0x82, mask | 127, 128, 0, 0, 0, 0, 0, 0, 9][..], &bytes[..200]].concat()),
        ("fragmented ping", frames(&[(0x09, b"a")])),
        ("long pong", frames(&[(0x8a, &bytes[..126])])),
        ("unexpected continuation", frames(&[(0x80, b"a")])),
        ("expected continuation", frames(&[(0x01, b"a"), (0x81, b"b")])),
        ("close of one byte", frames(&[(0x88, b"\x03")])),
        ("close code", frames(&[(0x88, &close_body(1005, "none"))])),
        ("close reason", frames(&[(0x88, b"\x03\xe8caf\xc3")])),
        ("text", frames(&[(0x81, b"caf\xc3 noir")])),
        ("text in a fragment", frames(&[(0x01, b"a"), (0x00, b"\xed\xa0\x80 more of it"), (0x80, b"b")])),
        ("text that ends too early", frames(&[(0x01, b"a\xf0\x9d"), (0x80, b"\x84")])),
        ("text that a frame cuts wrongly", frames(&[(0x01, b"a\xf0\x9d"), (0x80, b"a")])),
        ("too big", [&[0x82, mask | 127, 0, 0, 0, 0, 1, 0, 0, 1][..], &bytes[..200]].concat()),
        ("too many fragments", [frames(&[(0x01, b"")]), frames(&[(0x00, b"x")]).repeat(13)].concat()),
    ];
    let around = |fault: Vec<u8>| {
        [frames(&[(0x81, b"before"), (0x89, b"!")]), fault, frames(&[(0x81, b"behind"), (0x88, b"")])]
            .concat()
    };
    let faults = faults.into_iter().map(|(name, fault)| (name, around(fault)));
    let mut scripts: Vec<Script> = good
        .into_iter()
        .chain(faults)
        .map(|(name, frames)| Script { name, bytes: [handshake(role), &frames].concat() })
        .collect();
    if role == Role::Server {
        let refused = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n\x81\x80\0\0\0\0";
        scripts.push(Script { name: "a refusal", bytes: refused.to_vec() });
        scripts.push(Script {
            name: "empty lines first",
            bytes: [b"\r\n\r\n", REQUEST, &masked(0x81, b"a")].concat(),
        });
    }
    scripts
}

/// Scripts with messages of 70,000 bytes.
fn large_scripts(role: Role) -> Vec<Script> {
    let bytes: Vec<u8> = (0..70_000_u32).map(|i| (i * 7 / 3) as u8).collect();
    let text = "größer als 𝄞 €; ".repeat(70_000 / 21);
    let small = frame(role, 0x81, b"small");
    let with = |parts: &[Vec<u8>]| {
        [&[handshake(role).to_vec(), small.clone()], parts, std::slice::from_ref(&small)].concat().concat()
    };
    let mut torn = text.clone().into_bytes();
    torn[60_000] = 0xff;
    vec![
        Script { name: "large binary", bytes: with(&[frame(role, 0x82, &bytes)]) },
        Script { name: "large text", bytes: with(&[frame(role, 0x81, text.as_bytes())]) },
        Script {
            name: "large fragments",
            bytes: with(&[
                frame(role, 0x02, &bytes[..30_000]),
                frame(role, 0x89, b"ping"),
                frame(role, 0x00, &bytes[30_000..69_990]),
                frame(role, 0x80, &bytes[69_990..]),
            ]),
        },
        Script { name: "large text that is none", bytes: with(&[frame(role, 0x81, &torn)]) },
    ]
}

// ------------------------------------------------------------------ one run

/// How the bytes reach a connection and leave it.
#[derive(Clone, Copy, Debug)]
struct Path {
    /// The rest of a large message is read straight into its buffer.
    direct: bool,
    /// Bytes one write takes.
    per_write: usize,
}

const INPUT: Path = Path { direct: false, per_write: usize::MAX };
const DIRECT: Path = Path { direct: true, per_write: usize::MAX };

/// What came of a run: what the handler, or the caller, was told; and the bytes out.
#[derive(Debug, PartialEq)]
struct Outcome<E> {
    events: Vec<E>,
    out: Vec<u8>,
}

/// Through the engine, whose handler echoes.
fn engine<'p>(role: Role, pieces: impl Iterator<Item = &'p [u8]>, path: Path) -> Outcome<Seen> {
    let mut drive = Drive::with(config, echo);
    if path.direct {
        drive = drive.read_direct();
    }
    let id = match role {
        Role::Server => drive.accept(),
        Role::Client => {
            let id = drive.act(|cx| cx.dial(Dial::new("localhost", 80)));
            drive.connect(id);
            id
        }
    };
    drive.take_by(id, path.per_write);
    for piece in pieces {
        drive.feed(id, piece);
    }
    Outcome { events: drive.take_seen(), out: drive.take_bytes(id) }
}

/// Through a connection, whose caller echoes.
fn connection<'p>(role: Role, pieces: impl Iterator<Item = &'p [u8]>, path: Path) -> Outcome<Event> {
    let mut duo = match role {
        Role::Server => Duo::accepted(config),
        Role::Client => Duo::dialled(ClientRequest::default(), config),
    };
    duo = duo.echoing();
    if path.direct {
        duo = duo.read_direct();
    }
    for piece in pieces {
        duo.feed(piece);
    }
    duo.dismiss();
    Outcome { events: std::mem::take(&mut duo.trace), out: std::mem::take(&mut duo.written) }
}

#[track_caller]
fn same<E: std::fmt::Debug + PartialEq>(script: &Script, how: &str, got: &Outcome<E>, whole: &Outcome<E>) {
    let what = || format!("'{}' {how}", script.name);
    assert!(got.out == whole.out, "{}: {}, not {}", what(), show(&got.out), show(&whole.out));
    assert!(got.events == whole.events, "{}: {:.2000?}, not {:.2000?}", what(), got.events, whole.events);
}

/// Both paths in, each cut at these places only.
fn cut_at(role: Role, script: &Script, cuts: impl Iterator<Item = usize>) {
    let bytes = &script.bytes[..];
    let by_engine = engine(role, std::iter::once(bytes), INPUT);
    let by_connection = connection(role, std::iter::once(bytes), INPUT);
    for cut in cuts {
        let pieces = || [&bytes[..cut], &bytes[cut..]].into_iter();
        for path in [INPUT, DIRECT] {
            let how = || format!("cut at {cut}, {path:?}");
            same(script, &how(), &engine(role, pieces(), path), &by_engine);
            if role == Role::Client {
                same(script, &how(), &connection(role, pieces(), path), &by_connection);
            }
        }
    }
}

// ------------------------------------------------------------------ cuts

#[test]
fn a_server_does_the_same_wherever_a_script_is_cut_in_two() {
    for script in scripts(Role::Server) {
        cut_at(Role::Server, &script, 0..=script.bytes.len());
    }
}

#[test]
fn a_client_does_the_same_wherever_a_script_is_cut_in_two() {
    for script in scripts(Role::Client) {
        cut_at(Role::Client, &script, 0..=script.bytes.len());
    }
}

#[test]
fn either_role_does_the_same_wherever_a_compressed_script_is_cut_in_two() {
    for role in [Role::Server, Role::Client] {
        for script in compressed_scripts(role) {
            cut_at(role, &script, 0..=script.bytes.len());
        }
        for script in large_compressed_scripts(role) {
            let len = script.bytes.len();
            cut_at(role, &script, (0..=len).filter(|at| at % 1_500 == 0 || *at > len - 12));
        }
    }
}

#[test]
fn either_role_does_the_same_with_compression_in_pieces_of_one_size() {
    for role in [Role::Server, Role::Client] {
        for script in compressed_scripts(role) {
            check_pieces(role, &script, &[1, 2, 3, 5, 7, 13, 64]);
        }
        for script in large_compressed_scripts(role) {
            check_pieces(role, &script, &[1, 1_000, 4_096, 16_384]);
        }
    }
}

#[test]
fn the_compressed_scripts_do_what_their_names_say() {
    for role in [Role::Server, Role::Client] {
        for script in compressed_scripts(role).into_iter().chain(large_compressed_scripts(role)) {
            let outcome = connection(role, std::iter::once(&script.bytes[..]), INPUT);
            let count =
                |wanted: fn(&Event) -> bool| outcome.events.iter().filter(|event| wanted(event)).count();
            let messages = count(|event| matches!(event, Event::Text(_) | Event::Binary(_)));
            let faults = count(|event| matches!(event, Event::Fault(_)));
            let expected = match script.name {
                "compressed messages" => (9, 0),
                "compressed messages around a close" => (1, 0),
                "compressed fragments" | "large compressed messages" | "the same on their own" => (3, 0),
                _ => (1, 1),
            };
            assert_eq!((messages, faults), expected, "{}: {:.500?}", script.name, outcome.events);
        }
    }
}

/// Where something of a large script begins or ends, the sizes of buffers, and one place in 3,500 of what lies between.
fn places(role: Role, len: usize) -> impl Iterator<Item = usize> {
    let start = handshake(role).len();
    let edges = [
        start,
        start + 16,
        start + 30_011,
        60_000,
        65_536 - 8,
        65_536 + 184,
        start + 70_025,
        len - 24,
        len - 8,
    ];
    (0..=len).filter(move |&at| at % 3_500 == 0 || edges.iter().any(|&edge| (edge..edge + 16).contains(&at)))
}

#[test]
fn a_server_does_the_same_wherever_a_large_message_is_cut_in_two() {
    for script in large_scripts(Role::Server) {
        cut_at(Role::Server, &script, places(Role::Server, script.bytes.len()));
    }
}

#[test]
fn a_client_does_the_same_wherever_a_large_message_is_cut_in_two() {
    for script in large_scripts(Role::Client) {
        cut_at(Role::Client, &script, places(Role::Client, script.bytes.len()));
    }
}

#[test]
fn either_role_does_the_same_in_pieces_of_one_size() {
    for role in [Role::Server, Role::Client] {
        for script in scripts(role) {
            check_pieces(role, &script, &[1, 2, 3, 5, 7, 13, 64]);
        }
        for script in large_scripts(role) {
            check_pieces(role, &script, &[1, 1_000, 4_096, 16_384, 65_535]);
        }
    }
}

fn check_pieces(role: Role, script: &Script, sizes: &[usize]) {
    let bytes = &script.bytes[..];
    let by_engine = engine(role, std::iter::once(bytes), INPUT);
    let by_connection = connection(role, std::iter::once(bytes), INPUT);
    for &size in sizes {
        for path in [INPUT, DIRECT] {
            let how = format!("in pieces of {size}, {path:?}");
            same(script, &how, &engine(role, bytes.chunks(size), path), &by_engine);
            same(script, &how, &connection(role, bytes.chunks(size), path), &by_connection);
        }
    }
}

#[test]
fn engine_and_connection_do_the_same() {
    for role in [Role::Server, Role::Client] {
        let plain = scripts(role).into_iter().chain(large_scripts(role)).map(|script| (script, false));
        let compressed = compressed_scripts(role).into_iter().chain(large_compressed_scripts(role));
        for (script, compressed) in plain.chain(compressed.map(|script| (script, true))) {
            let by_engine = engine(role, std::iter::once(&script.bytes[..]), INPUT);
            let by_connection = connection(role, std::iter::once(&script.bytes[..]), INPUT);
            // An engine sends a message on in the compressed form it came in, and a connection compresses it anew.
            let same = compressed || by_engine.out == by_connection.out;
            assert!(same, "'{}': {}", script.name, show(&by_engine.out));
            let messages = |seen: &&Seen| matches!(seen, Seen::Text(_) | Seen::Binary(_));
            let told = |event: &&Event| matches!(event, Event::Text(_) | Event::Binary(_));
            let (seen, told) = (
                by_engine.events.iter().filter(messages).count(),
                by_connection.events.iter().filter(told).count(),
            );
            assert_eq!(seen, told, "'{}'", script.name);
        }
    }
}

#[test]
fn the_scripts_do_what_their_names_say() {
    for role in [Role::Server, Role::Client] {
        let mut codes = std::collections::BTreeSet::new();
        for script in scripts(role).into_iter().chain(large_scripts(role)) {
            let outcome = connection(role, std::iter::once(&script.bytes[..]), INPUT);
            for event in &outcome.events {
                if let Event::Fault(fault) = event {
                    codes.insert(format!("{fault:?}").split([' ', '{']).next().unwrap().to_owned());
                    codes.insert(fault.close_code().to_string());
                }
            }
            let wants_fault = outcome.events.iter().any(|event| *event == Event::Text("before".to_owned()));
            let has_fault = outcome.events.iter().any(|event| matches!(event, Event::Fault(_)));
            assert_eq!(wants_fault || script.name == "large text that is none", has_fault, "{}", script.name);
        }
        // 15 kinds of fault a peer's bytes can be, and their 4 codes.
        let expected = if role == Role::Server { "UnmaskedFrame" } else { "MaskedFrame" };
        assert!(codes.contains(expected), "{codes:?}");
        assert_eq!(codes.len(), 15 + 4, "{codes:?}");
    }
}

// ------------------------------------------------------------------ writes

#[test]
fn a_socket_that_takes_few_bytes_by_a_write_gets_the_same_bytes() {
    for role in [Role::Server, Role::Client] {
        for script in scripts(role).into_iter().chain(compressed_scripts(role)) {
            let whole = engine(role, std::iter::once(&script.bytes[..]), INPUT);
            for per_write in [1, 2, 3, 7, 50, 129] {
                for size in [usize::MAX, 1, 40] {
                    let pieces = script.bytes.chunks(size.min(script.bytes.len()));
                    let got = engine(role, pieces, Path { direct: false, per_write });
                    same(
                        &script,
                        &format!("in pieces of {size}, {per_write} bytes by a write"),
                        &got,
                        &whole,
                    );
                }
            }
        }
        for script in large_scripts(role).into_iter().chain(large_compressed_scripts(role)) {
            let whole = engine(role, std::iter::once(&script.bytes[..]), INPUT);
            for per_write in [100, 1_023, 65_535] {
                for path in [INPUT, DIRECT] {
                    let got = engine(role, script.bytes.chunks(9_000), Path { per_write, ..path });
                    same(&script, &format!("{path:?}, {per_write} bytes by a write"), &got, &whole);
                }
            }
        }
    }
}

#[test]
fn a_socket_that_blocks_at_any_byte_gets_the_same_bytes_in_the_end() {
    for script in scripts(Role::Server).into_iter().chain(compressed_scripts(Role::Server)) {
        let whole = engine(Role::Server, std::iter::once(&script.bytes[..]), INPUT);
        for room in 0..=whole.out.len() {
            let mut drive = Drive::with(config, echo);
            let id = drive.accept();
            drive.block(id).take(id, room);
            let (first, second) = script.bytes.split_at(script.bytes.len() * 2 / 3);
            drive.feed(id, first).feed(id, second).take(id, usize::MAX);
            let got = Outcome { events: drive.take_seen(), out: drive.take_bytes(id) };
            same(&script, &format!("blocked at {room}"), &got, &whole);
        }
    }
}

// ------------------------------------------------------------------ at random

/// The frames of a random session: mostly right, here and there wrong.
fn any_frames() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let small = || vec(any::<u8>(), 0..20);
    let text = || "[a-zé€𝄞]{0,12}".prop_map(String::into_bytes);
    let one = prop_oneof![
        4 => text().prop_map(|payload| vec![(0x81, payload)]),
        3 => small().prop_map(|payload| vec![(0x82, payload)]),
        3 => vec(any::<u8>(), 100..400).prop_map(|payload| vec![(0x82, payload)]),
        1 => vec(any::<u8>(), 65_000..66_000).prop_map(|payload| vec![(0x82, payload)]),
        2 => small().prop_map(|payload| vec![(0x89, payload)]),
        1 => small().prop_map(|payload| vec![(0x8a, payload)]),
        4 => (text(), vec(0_usize..40, 1..5), small()).prop_map(|(text, cuts, ping)| fragments(&text, &cuts, &ping)),
        1 => (0_u8..16, small()).prop_map(|(opcode, payload)| vec![(0x80 | opcode, payload)]),
        1 => (any::<u8>(), small()).prop_map(|(lead, payload)| vec![(lead, payload)]),
    ];
    vec(one, 0..12).prop_map(|frames| frames.concat())
}

/// A text in fragments, cut at these places whatever stands there, with a Ping behind the first.
fn fragments(text: &[u8], cuts: &[usize], ping: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut places: Vec<usize> = cuts.iter().map(|&cut| cut.min(text.len())).collect();
    places.sort_unstable();
    let mut frames = vec![(0x01, text[..places[0]].to_vec()), (0x89, ping.to_vec())];
    for pair in places.windows(2) {
        frames.push((0x00, text[pair[0]..pair[1]].to_vec()));
    }
    frames.push((0x80, text[places[places.len() - 1]..].to_vec()));
    frames
}

/// `bytes` in pieces of these lengths, again and again.
fn pieces<'b>(bytes: &'b [u8], lengths: &'b [usize]) -> impl Iterator<Item = &'b [u8]> {
    let mut rest = bytes;
    lengths.iter().cycle().map_while(move |&length| {
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_pieces_of_the_corpus_do_the_same(
        which in any::<prop::sample::Index>(),
        lengths in vec(1_usize..60, 1..12),
        per_write in 1_usize..200,
        direct in any::<bool>(),
    ) {
        for role in [Role::Server, Role::Client] {
            let scripts = scripts(role);
            check_random(role, &scripts[which.index(scripts.len())], &lengths, Path { direct, per_write });
        }
    }

    #[test]
    fn random_pieces_of_large_messages_do_the_same(
        which in any::<prop::sample::Index>(),
        lengths in vec(prop_oneof![1_usize..20, 1_usize..40_000], 2..8),
        per_write in 500_usize..80_000,
        direct in any::<bool>(),
    ) {
        for role in [Role::Server, Role::Client] {
            let scripts = large_scripts(role);
            check_random(role, &scripts[which.index(scripts.len())], &lengths, Path { direct, per_write });
        }
    }

    #[test]
    fn random_pieces_of_random_sessions_do_the_same(
        frames in any_frames(),
        tail in vec(any::<u8>(), 0..12),
        lengths in vec(prop_oneof![1_usize..8, 1_usize..500, 1_usize..70_000], 1..12),
        per_write in prop_oneof![100_usize..300, 300_usize..70_000],
        direct in any::<bool>(),
    ) {
        for role in [Role::Server, Role::Client] {
            let frames = frames.iter().flat_map(|(lead, payload)| frame(role, *lead, payload));
            let bytes = handshake(role).iter().copied().chain(frames).chain(tail.iter().copied()).collect();
            check_random(role, &Script { name: "random", bytes }, &lengths, Path { direct, per_write });
        }
    }
}

fn check_random(role: Role, script: &Script, lengths: &[usize], path: Path) {
    let bytes = &script.bytes[..];
    let how = format!("in pieces of {lengths:?}, {path:?}");
    let whole = connection(role, std::iter::once(bytes), INPUT);
    same(script, &how, &connection(role, pieces(bytes, lengths), path), &whole);
    let whole = engine(role, std::iter::once(bytes), INPUT);
    same(script, &how, &engine(role, pieces(bytes, lengths), path), &whole);
}
