//! The steady state allocates nothing: counted by an allocator that counts, on the thread that is measured.
//!
//! Each script runs until pools and lists have their size, and is counted after that. What comes out is compared
//! with what should, so that nothing is free because nothing was done.

#[cfg(feature = "hub")]
mod hub;

use allocation_counter::measure;
use sockeye::{
    Command, Config, ConnId, Context, Dial, Engine, Handler, Input, Message, Now, PeerInfo, Prepared,
    Request, Sent, Server, Tick, wire::deflate::Compressor,
};
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// Rounds before the count, and rounds counted.
const WARM_UP: usize = 20;
const ROUNDS: usize = 150;

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A handler that is a function.
struct Acts<F>(F);

impl<F: FnMut(&mut Context<'_>, ConnId, Message<'_>)> Handler for Acts<F> {
    fn on_message(&mut self, cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        self.0(cx, id, message);
    }
}

fn echo(cx: &mut Context<'_>, id: ConnId, message: Message<'_>) {
    assert_eq!(cx.send(id, message), Sent::Queued);
}

/// An engine and the loop around it, with memory for sockets.
struct Loop<H> {
    engine: Engine<H>,
    input: Input,
    now: Now,
    /// What was written to the peer that is looked at, since it was last compared.
    written: Vec<u8>,
    /// Writes to any peer.
    writes: usize,
}

impl<H: Handler> Loop<H> {
    fn new(handler: H, read_bytes_max: usize) -> Loop<H> {
        Loop::with(&Config::default(), handler, read_bytes_max)
    }

    fn with(config: &Config, handler: H, read_bytes_max: usize) -> Loop<H> {
        let engine = Engine::new(config, handler, |bytes| bytes.fill(7));
        let (input, now) = (Input::new(read_bytes_max), Now::default());
        Loop { engine, input, now, written: Vec::with_capacity(8 << 20), writes: 0 }
    }

    /// A connection that is open.
    fn open(&mut self) -> ConnId {
        self.open_by(UPGRADE)
    }

    /// One that asked for this.
    fn open_by(&mut self, request: &[u8]) -> ConnId {
        let id = self.engine.handle_accept(self.now, PeerInfo { address: None, listener: 0 });
        self.read(id, request);
        self.flush(id);
        assert!(self.written.starts_with(b"HTTP/1.1 101 "));
        self.written.clear();
        id
    }

    /// A connection that was dialled and is open.
    fn dial(&mut self) -> ConnId {
        let id = self.engine.act(self.now, |_, cx| cx.dial(Dial::new("a", 80)));
        assert_eq!(self.engine.poll_command(), Some(Command::Dial(id)));
        self.engine.handle_connected(self.now, id, "192.0.2.1:80".parse().unwrap());
        self.flush(id);
        let accept = Request::parse(&self.written, 100).unwrap().accept_key();
        let accept = std::str::from_utf8(accept.as_bytes()).unwrap();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        self.written.clear();
        self.read(id, answer.as_bytes());
        id
    }

    /// One read of `bytes`, as `net` does it: into the message's own buffer where there is one.
    fn read(&mut self, id: ConnId, bytes: &[u8]) {
        assert!(self.engine.wants_read(id));
        let direct = self.engine.input_space(id).map_or(0, |space| {
            let n = space.len().min(bytes.len());
            space[..n].copy_from_slice(&bytes[..n]);
            n
        });
        if direct > 0 {
            self.engine.handle_filled(self.now, id, direct);
        }
        self.read_around(id, &bytes[direct..]);
    }

    /// One read of `bytes` into the shared buffer alone, and one write of the reply.
    fn read_around(&mut self, id: ConnId, bytes: &[u8]) {
        self.input.space()[..bytes.len()].copy_from_slice(bytes);
        self.input.fill(bytes.len());
        self.engine.handle_input(self.now, id, &mut self.input);
        if let Some(transmit) = self.engine.poll_reply(id, &self.input) {
            self.written.extend_from_slice(transmit.first);
            self.written.extend_from_slice(transmit.second);
            let n = transmit.first.len() + transmit.second.len();
            self.writes += 1;
            self.engine.handle_replied(self.now, id, &mut self.input, n);
        }
    }

    /// The end of a wake: a write to each peer that has something, kept where it is for `watched`.
    fn flush(&mut self, watched: ConnId) {
        while let Some(transmit) = self.engine.poll_transmit() {
            let (id, n) = (transmit.id, transmit.first.len() + transmit.second.len());
            if id == watched {
                self.written.extend_from_slice(transmit.first);
                self.written.extend_from_slice(transmit.second);
            }
            self.writes += 1;
            self.engine.handle_transmitted(self.now, id, n);
        }
        while let Some(command) = self.engine.poll_command() {
            assert!(matches!(command, Command::Read(_)), "{command:?}");
        }
    }

    #[track_caller]
    fn expect(&mut self, bytes: &[u8]) {
        assert!(self.written == bytes, "{} bytes written, {} expected", self.written.len(), bytes.len());
        self.written.clear();
    }
}

/// Runs `round` until it has settled, and then counts.
#[track_caller]
fn expect_no_allocation(mut round: impl FnMut()) {
    (0..WARM_UP).for_each(|_| round());
    let counted = measure(|| (0..ROUNDS).for_each(|_| round()));
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0), "allocations in {ROUNDS} rounds");
}

/// A client's frame.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = header(first, 0x80, payload.len());
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// A server's frame.
fn bare(first: u8, payload: &[u8]) -> Vec<u8> {
    [&header(first, 0, payload.len())[..], payload].concat()
}

fn header(first: u8, mask: u8, len: usize) -> Vec<u8> {
    match len {
        0..126 => vec![first, mask | len as u8],
        126..0x1_0000 => [&[first, mask | 126][..], &(len as u16).to_be_bytes()].concat(),
        _ => [&[first, mask | 127][..], &(len as u64).to_be_bytes()].concat(),
    }
}

/// `len` bytes of text, some of them not ASCII.
fn text(len: usize) -> Vec<u8> {
    let mut bytes = "grün, ".as_bytes().repeat(len / 7 + 1);
    bytes.truncate(len / 7 * 7);
    bytes.resize(len, b'.');
    bytes
}

/// One message a wake, one read each, echoed.
#[track_caller]
fn expect_echo_for_free(first: u8, payload: &[u8]) {
    let (bytes, want) = (masked(first, payload), bare(first, payload));
    let mut looped = Loop::new(Acts(echo), 256 << 10);
    let id = looped.open();
    expect_no_allocation(|| {
        looped.read(id, &bytes);
        looped.flush(id);
        looped.expect(&want);
    });
}

#[test]
fn the_counter_counts() {
    let counted = measure(|| drop(std::hint::black_box(Box::new(7))));
    assert_eq!(counted.count_total, 1);
}

#[test]
fn echo_of_16_bytes() {
    expect_echo_for_free(0x82, &[7; 16]);
}

#[test]
fn echo_of_1_kib_of_text() {
    expect_echo_for_free(0x81, &text(1024));
}

#[test]
fn echo_of_64_kib_in_one_read() {
    expect_echo_for_free(0x81, &text(64 << 10));
    expect_echo_for_free(0x82, &[7; 64 << 10]);
}

/// The key of each frame that a client of these loops sends.
const CLIENT_KEY: [u8; 4] = [7; 4];

#[test]
fn a_dialled_connection_that_sends_back_what_comes() {
    for (payload, at_a_time) in [
        (&text(16)[..], 4_096),
        (&text(1_024), 4_096),
        (&text(64 << 10), 256 << 10),
        (&text(64 << 10), 5_000),
    ] {
        let bytes = bare(0x81, payload).repeat(3);
        let mut want = masked(0x81, payload);
        let at = want.len() - payload.len();
        want[at - 4..at].copy_from_slice(&CLIENT_KEY);
        want[at..].iter_mut().zip(payload).for_each(|(byte, plain)| *byte = plain ^ CLIENT_KEY[0]);
        let want = want.repeat(3);
        let mut looped = Loop::new(Acts(echo), 256 << 10);
        let id = looped.dial();
        expect_no_allocation(|| {
            for piece in bytes.chunks(at_a_time) {
                looped.read(id, piece);
                looped.flush(id);
            }
            looped.expect(&want);
        });
    }
}

/// Answers each read with as many prepared frames as it brought messages: what a load generator does.
struct Generator {
    frames: Vec<Prepared>,
    came: usize,
}

impl Handler for Generator {
    fn on_message(&mut self, _: &mut Context<'_>, _: ConnId, _: Message<'_>) {
        self.came += 1;
    }
    fn on_read_end(&mut self, cx: &mut Context<'_>, id: ConnId) {
        cx.send_prepared(id, &self.frames[..std::mem::take(&mut self.came)]);
    }
}

#[test]
fn a_read_of_32_messages_that_is_answered_with_as_many_prepared_frames() {
    let payload = text(1_024);
    let mut looped = Loop::new(Generator { frames: Vec::new(), came: 0 }, 256 << 10);
    looped.engine.act(Now::default(), |generator, cx| {
        let message = std::str::from_utf8(&payload).unwrap();
        generator.frames = (0..32).map(|_| cx.prepare(message).unwrap()).collect();
    });
    let id = looped.dial();
    let bytes = bare(0x81, &payload).repeat(32);
    expect_no_allocation(|| {
        looped.read(id, &bytes);
        looped.flush(id);
        assert_eq!(looped.written.len(), 32 * (8 + payload.len()));
        looped.written.clear();
    });
    assert_eq!(looped.writes, 1 + WARM_UP + ROUNDS, "one for the request, and one a read");
}

/// The reads of one message, each `at_a_time` bytes.
#[track_caller]
fn expect_echo_in_pieces_for_free(first: u8, payload: &[u8], at_a_time: usize, direct: bool) {
    let (bytes, want) = (masked(first, payload), bare(first, payload));
    let mut looped = Loop::new(Acts(echo), 256 << 10);
    let id = looped.open();
    expect_no_allocation(|| {
        for piece in bytes.chunks(at_a_time) {
            if direct {
                looped.read(id, piece);
            } else {
                looped.read_around(id, piece);
            }
            looped.flush(id);
        }
        looped.expect(&want);
    });
    assert_eq!(looped.engine.buffered_bytes(), 0);
}

#[test]
fn echo_of_64_kib_assembled_from_reads_of_the_shared_buffer() {
    expect_echo_in_pieces_for_free(0x82, &[7; 64 << 10], 16 << 10, false);
    expect_echo_in_pieces_for_free(0x81, &text(64 << 10), 5_000, false);
}

#[test]
fn echo_of_64_kib_and_1_mib_read_straight_to_where_they_are_assembled() {
    expect_echo_in_pieces_for_free(0x82, &[7; 64 << 10], 16 << 10, true);
    expect_echo_in_pieces_for_free(0x81, &text(64 << 10), 5_000, true);
    expect_echo_in_pieces_for_free(0x82, &vec![7; 1 << 20], 64 << 10, true);
}

#[test]
fn echo_of_a_message_in_fragments_with_a_ping_between() {
    let bytes = [
        &masked(0x01, b"one, ")[..],
        &masked(0x89, b"there?"),
        &masked(0x00, b""),
        &masked(0x80, b"message"),
    ];
    let (bytes, want) = (bytes.concat(), [bare(0x8a, b"there?"), bare(0x81, b"one, message")].concat());
    let mut looped = Loop::new(Acts(echo), 4096);
    let id = looped.open();
    expect_no_allocation(|| {
        looped.read(id, &bytes);
        looped.flush(id);
        looped.expect(&want);
    });
}

#[test]
fn echo_of_a_pipelined_batch_that_is_cut_inside_frames() {
    let payloads = [&text(16)[..], &[], &text(125), &text(126), &text(1_000)];
    let bytes = payloads.map(|payload| masked(0x81, payload)).concat().repeat(8);
    let want = payloads.map(|payload| bare(0x81, payload)).concat().repeat(8);
    for at_a_time in [333, 1_024, 4_096] {
        let mut looped = Loop::new(Acts(echo), 4096);
        let id = looped.open();
        expect_no_allocation(|| {
            for piece in bytes.chunks(at_a_time) {
                looped.read(id, piece);
                looped.flush(id);
            }
            looped.expect(&want);
        });
    }
}

#[test]
fn a_frame_that_comes_byte_by_byte() {
    expect_echo_in_pieces_for_free(0x81, b"one at a time", 1, true);
    expect_echo_in_pieces_for_free(0x81, b"one at a time", 1, false);
}

#[test]
fn pings_are_answered() {
    let bytes = [masked(0x89, b""), masked(0x89, &[7; 125]), masked(0x8a, b"unasked")].concat();
    let want = [bare(0x8a, b""), bare(0x8a, &[7; 125])].concat();
    let mut looped = Loop::new(Acts(echo), 4096);
    let id = looped.open();
    expect_no_allocation(|| {
        looped.read(id, &bytes);
        looped.flush(id);
        looped.expect(&want);
    });
}

#[test]
fn a_keepalive_goes_on_for_hours() {
    let mut looped = Loop::new(Acts(echo), 4096);
    let id = looped.open();
    expect_no_allocation(|| {
        // Silence until the Ping, which is answered.
        while looped.written.is_empty() {
            looped.now.tick = looped.engine.poll_timeout().expect("a Ping is due");
            looped.engine.handle_timeout(looped.now);
            looped.flush(id);
        }
        looped.expect(b"\x89\x00");
        looped.read(id, &[0x8a, 0x80, 1, 2, 3, 4]);
        looped.flush(id);
    });
    assert!(looped.now.tick > Tick::from_ms(3_600_000));
}

#[test]
fn a_handler_that_answers_with_something_else() {
    let (bytes, answer) = (masked(0x81, b"what?"), text(300));
    let want = [bare(0x82, &answer), bare(0x81, b"what?"), bare(0x82, &answer)].concat().repeat(5);
    let bytes = bytes.repeat(5);
    let handler = Acts(|cx: &mut Context<'_>, id, message: Message<'_>| {
        cx.send(id, &answer[..]);
        cx.send(id, message);
        cx.send(id, &answer[..]);
    });
    let mut looped = Loop::new(handler, 4096);
    let id = looped.open();
    expect_no_allocation(|| {
        looped.read(id, &bytes);
        looped.flush(id);
        looped.expect(&want);
    });
}

#[test]
fn a_handler_that_passes_on_what_comes_to_somebody_else() {
    let mut looped = Loop::new(Acts(|_: &mut Context<'_>, _: ConnId, _: Message<'_>| {}), 4096);
    let (from, to) = (looped.open(), looped.open());
    let handler = Acts(move |cx: &mut Context<'_>, id, message: Message<'_>| {
        assert_eq!(id, from);
        cx.send(to, message);
    });
    let mut looped = Loop::new(handler, 4096);
    assert_eq!((looped.open(), looped.open()), (from, to));
    let (bytes, want) = (masked(0x81, b"pass it on").repeat(10), bare(0x81, b"pass it on").repeat(10));
    expect_no_allocation(|| {
        looped.read(from, &bytes);
        looped.flush(to);
        looped.expect(&want);
    });
}

/// Everyone is in a topic; what one says, in a batch, all are sent, in one write each.
#[test]
fn publishing_to_1_000_members() {
    const MEMBERS: usize = 1_000;
    let handler = Acts(|cx: &mut Context<'_>, id, message: Message<'_>| {
        if let Message::Binary(_) = message {
            assert!(cx.subscribe(id, "room"));
        } else {
            let fanout = cx.publish("room", message);
            assert_eq!((fanout.queued, fanout.members()), (MEMBERS as u32, MEMBERS as u32));
        }
    });
    let mut looped = Loop::new(handler, 4096);
    let members: Vec<_> = (0..MEMBERS).map(|_| looped.open()).collect();
    for &id in &members {
        looped.read(id, &masked(0x82, b"let me in"));
    }
    let (bytes, want) = (masked(0x81, &text(100)).repeat(3), bare(0x81, &text(100)).repeat(3));
    expect_no_allocation(|| {
        looped.writes = 0;
        looped.read(members[7], &bytes);
        looped.flush(members[7]);
        looped.expect(&want);
        assert_eq!(looped.writes, MEMBERS, "one write for each member");
        // A member that speaks for itself too.
        looped.read(members[8], &masked_ping());
        looped.read(members[8], &bytes[..bytes.len() / 3]);
        looped.flush(members[8]);
        assert!(looped.written.starts_with(b"\x8a\x01!"));
        looped.written.clear();
    });
}

/// A client's Ping "!", without making it.
fn masked_ping() -> [u8; 7] {
    [0x89, 0x81, 0, 0, 0, 0, b'!']
}

#[test]
fn naming_the_receivers_of_a_broadcast() {
    let handler = Acts(|cx: &mut Context<'_>, id: ConnId, message: Message<'_>| {
        let fanout = cx.broadcast([id, id], message);
        assert_eq!(fanout.queued, 2);
    });
    let mut looped = Loop::new(handler, 4096);
    let id = looped.open();
    let (bytes, want) = (masked(0x81, b"twice").repeat(4), bare(0x81, b"twice").repeat(8));
    expect_no_allocation(|| {
        looped.read(id, &bytes);
        looped.flush(id);
        looped.expect(&want);
    });
}

// ---------------------------------------------------------------------- compression

/// A request that offers compression.
fn offer() -> Vec<u8> {
    let line = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    [&UPGRADE[..UPGRADE.len() - 2], line].concat()
}

/// Contexts for each connection.
fn with_contexts() -> Config {
    let mut config = Config::default();
    config.limits.deflate_context_bytes_max = 64 << 20;
    config
}

/// `message` as a client compresses it on its own.
fn compressed(message: &[u8]) -> Vec<u8> {
    let mut out = vec![0; message.len() + 100];
    let len = Compressor::new(6, 15).compress(message, &mut out).expect("there is room");
    out.truncate(len);
    out
}

/// JSON that is not the same line again and again.
fn json(len: usize) -> Vec<u8> {
    let lines = (0..).map(|i: u32| format!("{{\"id\":{i},\"n\":{}}}\n", i.wrapping_mul(2_654_435_761)));
    let mut bytes: Vec<u8> = lines.take(len / 10 + 1).collect::<String>().into_bytes();
    bytes.truncate(len);
    bytes
}

#[test]
fn echo_of_compressed_messages_whole_and_in_pieces() {
    for config in [Config::default(), with_contexts()] {
        for len in [1 << 10, 64 << 10] {
            let (payload, least) = (compressed(&json(len)), len / 100);
            let (front, back) = payload.split_at(payload.len() / 2);
            let whole = masked(0xc1, &payload);
            let pieces = [masked(0x41, front), masked(0x89, b"?"), masked(0x80, back)].concat();
            let mut looped = Loop::with(&config, Acts(echo), 256 << 10);
            let id = looped.open_by(&offer());
            expect_no_allocation(|| {
                for piece in [&whole[..], &pieces].into_iter().chain(whole.chunks(7_000)) {
                    looped.read(id, piece);
                    looped.flush(id);
                }
                let replies = &looped.written;
                assert!(replies[0] == 0xc1 && replies.len() > least && !replies.is_empty());
                looped.written.clear();
            });
            assert_eq!(looped.engine.buffered_bytes(), 0);
        }
    }
}

#[test]
fn echo_of_what_becomes_no_smaller() {
    let mut state = 1_u32;
    let noise: Vec<u8> = (0..5_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    let (bytes, want) = (masked(0x82, &noise), bare(0x82, &noise));
    for config in [Config::default(), with_contexts()] {
        let mut looped = Loop::with(&config, Acts(echo), 256 << 10);
        let id = looped.open_by(&offer());
        expect_no_allocation(|| {
            looped.read(id, &bytes);
            looped.flush(id);
            looped.expect(&want);
        });
    }
}

#[test]
fn publishing_a_compressed_message_to_300_members() {
    for config in [Config::default(), with_contexts()] {
        let handler = Acts(|cx: &mut Context<'_>, id, message: Message<'_>| {
            if let Message::Binary(_) = message {
                assert!(cx.subscribe(id, "room"));
            } else {
                assert_eq!(cx.publish("room", message).queued, 300);
            }
        });
        let mut looped = Loop::with(&config, handler, 4096);
        // A third of them do not compress, and a third has a smaller window.
        let small = String::from_utf8(offer())
            .unwrap()
            .replace("client_max_window_bits", "server_max_window_bits=10");
        let requests = [UPGRADE, &offer(), small.as_bytes()];
        let members: Vec<_> = (0..300).map(|i| looped.open_by(requests[i % 3])).collect();
        for &id in &members {
            looped.read(id, &masked(0x82, b"let me in"));
        }
        let bytes = masked(0xc1, &compressed(&json(1_024)));
        expect_no_allocation(|| {
            looped.writes = 0;
            looped.read(members[1], &bytes);
            looped.flush(members[1]);
            assert!(looped.written[0] == 0xc1 && looped.written.len() < 900);
            looped.written.clear();
            assert_eq!(looped.writes, 300, "one write for each member");
        });
    }
}

/// The same handshakes, with and without the offer, allocate the same while the connections are idle.
#[test]
fn a_connection_that_may_compress_and_has_no_contexts_holds_nothing_for_it() {
    let held = |request: &[u8], config: &Config| {
        let mut looped = Loop::with(config, Acts(echo), 4096);
        // What a first connection makes for all.
        (0..WARM_UP).for_each(|_| {
            looped.open_by(request);
        });
        let counted = measure(|| {
            (0..ROUNDS).for_each(|_| {
                looped.open_by(request);
            });
        });
        assert_eq!(looped.engine.buffered_bytes(), 0);
        counted.bytes_current
    };
    let (plain, offered) = (held(UPGRADE, &Config::default()), held(&offer(), &Config::default()));
    assert_eq!((plain, offered), (plain, plain));
    assert!(plain < 1_000, "{plain} bytes in {ROUNDS} idle connections");
    // With contexts of its own one notes where they are; the codecs are made with the first message.
    let own = held(&offer(), &with_contexts());
    assert!(own / (ROUNDS as i64) < 600, "{own} bytes in {ROUNDS} idle connections with contexts");
}

// ---------------------------------------------------------------------- with sockets

/// The whole server on this thread, and clients whose sockets are on it too: nothing else allocates here.
/// Which dialect it speaks is asked of every first message of a connection, and that may have 16 MiB of keys.
#[cfg(feature = "hub")]
#[test]
fn which_dialect_a_first_message_speaks() {
    use sockeye::dialect::Dialect;
    let keys: String = (0..10_000).map(|i| format!("\"k{i}\":{i},")).collect();
    for (end, dialect) in [
        ("\"action\":\"join_channel\"}", Dialect::Actions),
        ("\"action\":\"join_channel\",\"groupId\":\"\"}", Dialect::Envelope),
        ("\"type\":\"message\"}", Dialect::Echo),
        ("\"action\":\"join_channel\"", Dialect::Echo),
    ] {
        let text = format!("{{{keys}{end}");
        let mut found = None;
        let counted = measure(|| found = Some(Dialect::of_first_message(&text)));
        assert_eq!(found, Some(dialect));
        // The parser has a place to put what it reads, and an error where there is one; no key has one.
        assert!(counted.count_total < 10, "{} allocations for {end}", counted.count_total);
    }
}

#[test]
fn a_server_and_its_sockets() {
    let mut server = Server::bind(Config::new("127.0.0.1:0"), Acts(echo)).expect("a port is free");
    let address = server.addresses()[0].ip().expect("it is no path");
    let mut answer = vec![0; 2 << 20];
    let mut clients: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut client = TcpStream::connect(address).expect("the server listens");
            client.set_nodelay(true).expect("a live socket");
            client.set_nonblocking(true).expect("a live socket");
            client.write_all(UPGRADE).expect("it is taken");
            // The 101 is 129 bytes: its last line is the key's answer.
            let n = exchange(&mut server, &mut client, &[], &mut answer, 129);
            assert!(answer[..n].starts_with(b"HTTP/1.1 101 ") && answer[..n].ends_with(b"\r\n\r\n"));
            client
        })
        .collect();
    let scripts = [
        (masked(0x82, &[7; 16]), bare(0x82, &[7; 16])),
        (masked(0x81, &text(1024)).repeat(32), bare(0x81, &text(1024)).repeat(32)),
        (masked(0x81, &text(64 << 10)), bare(0x81, &text(64 << 10))),
        (masked(0x82, &vec![7; 1 << 20]), bare(0x82, &vec![7; 1 << 20])),
        (masked(0x89, b"there?"), bare(0x8a, b"there?")),
    ];
    let mut round = || {
        for (bytes, want) in &scripts {
            for client in &mut clients {
                let n = exchange(&mut server, client, bytes, &mut answer, want.len());
                assert!(answer[..n] == want[..]);
            }
        }
    };
    // How the kernel cuts a megabyte differs from round to round: pools see every size before they are counted.
    (0..WARM_UP).for_each(|_| round());
    let counted = measure(|| (0..10).for_each(|_| round()));
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
}

/// Writes `bytes` while turning the server, until `want` bytes came back.
fn exchange<H: Handler>(
    server: &mut Server<H>,
    client: &mut TcpStream,
    mut bytes: &[u8],
    answer: &mut [u8],
    want: usize,
) -> usize {
    let mut got = 0;
    while got < want {
        match client.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(server.turn(Some(Duration::from_millis(1))).expect("the loop runs"));
        match client.read(&mut answer[got..]) {
            Ok(n) => {
                assert!(n > 0, "the server ended the connection");
                got += n;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    got
}
