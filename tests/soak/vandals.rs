//! Vandals: each does one deed after the other on raw sockets, chosen by chance. What they break is their own
//! connections; where the server owes them an answer all the same, they hold it against what it must be.

use crate::{
    books::Books,
    dice::Dice,
    files::ORIGIN,
    following::{cut, numbered},
    parts::{PLACES, envelope::Audience},
    tested::Addresses,
    wire::{EXITS, Exit, Frame, Wire, announced, dial, frame, request},
};
use flate2::{Compression, write::DeflateEncoder};
use rustls::ClientConfig;
use serde_json::json;
use std::{
    io::{self, ErrorKind, Write as _},
    net::Shutdown,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub struct Vandal {
    number: usize,
    dice: Dice,
    addresses: Addresses,
    trust: Arc<ClientConfig>,
    books: Arc<Books>,
    stop: Arc<AtomicBool>,
    /// Those who speak count what they say: each speaker is a new one.
    speakers: u64,
}

/// What came of a deed: how it ended, or what is wrong. Failing sockets are no wonder here.
type Deed = io::Result<Result<&'static str, String>>;

type Act = fn(&mut Vandal) -> Deed;

/// All deeds, with how often they are done beside each other.
const DEEDS: [(&str, usize, Act); 20] = [
    ("left in the handshake", 6, Vandal::leave_in_handshake),
    ("no TLS on the TLS port", 4, Vandal::speak_no_tls),
    ("left in a TLS record", 4, Vandal::leave_in_record),
    ("left in a frame", 8, Vandal::leave_in_frame),
    ("ended its direction alone", 4, Vandal::half_close),
    ("broke the protocol", 6, Vandal::break_protocol),
    ("sent what inflates badly", 2, Vandal::inflate),
    ("closed with any code", 4, Vandal::close),
    ("read slowly", 3, Vandal::read_slowly),
    ("was in company and read nothing", 3, Vandal::sit_deaf),
    ("flooded with actions", 2, Vandal::flood_actions),
    ("flooded with messages", 3, Vandal::flood_messages),
    ("flooded with connections", 2, Vandal::flood_connections),
    ("flooded with pings", 2, Vandal::flood_pings),
    ("dripped its handshake", 1, Vandal::drip),
    ("left a message unfinished", 1, Vandal::stall),
    ("answered no ping", 1, Vandal::play_dead),
    ("asked for pages and pushed", 4, Vandal::ask),
    ("came from another page", 2, Vandal::come_from_elsewhere),
    ("spoke in company and vanished", 8, Vandal::speak_and_vanish),
];

/// How long a socket of theirs waits. Longer than any limit of the server.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn start(
    number: usize,
    seed: u64,
    addresses: Addresses,
    trust: &Arc<ClientConfig>,
    books: &Arc<Books>,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<()> {
    let mut vandal = Vandal {
        number,
        dice: Dice::new(seed, 2_000 + number as u64),
        addresses,
        trust: Arc::clone(trust),
        books: Arc::clone(books),
        stop: Arc::clone(stop),
        speakers: 0,
    };
    thread::spawn(move || {
        while !vandal.stop.load(Relaxed) {
            vandal.act();
        }
    })
}

impl Vandal {
    fn act(&mut self) {
        let all = DEEDS.iter().map(|(_, weight, _)| weight).sum();
        let mut place = self.dice.below(all);
        let chosen = DEEDS.iter().find(|(_, weight, _)| {
            let is_here = place < *weight;
            place = place.wrapping_sub(*weight);
            is_here
        });
        let (name, _, act) = chosen.expect("the place is within all of them");
        let outcome = act(self);
        self.books.deeds.add(1);
        match outcome {
            Ok(Ok(how)) => self.books.end(format!("vandal {name}: {how}")),
            Ok(Err(what)) => self.books.find(format!("vandal {} who {name}: {what}", self.number)),
            Err(error) => self.books.end(format!("vandal {name}: {}", error.kind())),
        }
        thread::sleep(Duration::from_millis(self.dice.between(0, 60) as u64));
    }

    // ------------------------------------------------------------------ connections

    /// A connection over ws or wss whose handshake of TLS is still to be.
    fn dial(&mut self) -> io::Result<Wire> {
        let is_secure = self.dice.one_in(2);
        self.dial_as(is_secure)
    }

    fn dial_as(&mut self, is_secure: bool) -> io::Result<Wire> {
        self.books.intrusions.add(1);
        let address = if is_secure { self.addresses.tls } else { self.addresses.plain };
        let tcp = dial(address, [127, 0, 2, self.number as u8 + 1], PATIENCE)?;
        Wire::new(tcp, is_secure.then_some(&self.trust))
    }

    /// An open WebSocket. One connection too many is told so with 503, and over TLS dropped.
    fn open(&mut self, target: &str) -> io::Result<Wire> {
        let mut wire = self.dial()?;
        match wire.upgrade(target, "")? {
            101 => Ok(wire),
            503 => Err(io::Error::new(ErrorKind::QuotaExceeded, "503")),
            status => {
                self.books.find(format!("vandal {}: {target} is answered {status}", self.number));
                Err(io::Error::other("not let in"))
            }
        }
    }

    fn exit(&mut self) -> Exit {
        self.dice.among(&EXITS)
    }

    fn leave(&mut self, wire: Wire) -> Deed {
        let exit = self.exit();
        wire.leave(exit);
        Ok(Ok(match exit {
            Exit::Close => "closed TCP",
            Exit::Reset => "reset TCP",
            Exit::Half => "ended its direction",
        }))
    }

    // ------------------------------------------------------------------ leaving

    fn leave_in_handshake(&mut self) -> Deed {
        let mut wire = self.dial()?;
        let whole = request("/echo", "");
        let len = self.dice.below(whole.len() + 1);
        if len > 0 || wire.tls.is_none() {
            wire.write(&whole.as_bytes()[..len])?;
        }
        self.leave(wire)
    }

    fn speak_no_tls(&mut self) -> Deed {
        let mut wire = self.dial_as(true)?;
        let hello = wire.sealed(b"")?;
        let bytes = match self.dice.below(3) {
            0 => self.dice.filler(300).into_bytes(),
            1 => request("/echo", "").into_bytes(),
            _ => hello[..self.dice.below(hello.len())].to_vec(),
        };
        wire.tls = None;
        wire.write(&bytes)?;
        self.leave(wire)
    }

    fn leave_in_record(&mut self) -> Deed {
        let mut wire = self.dial_as(true)?;
        if wire.upgrade("/echo", "")? != 101 {
            return Ok(Ok("was not let in"));
        }
        let text = self.dice.filler(400);
        let record = wire.sealed(&frame(0x81, text.as_bytes()))?;
        let len = self.dice.below(record.len());
        wire.tcp.write_all(&record[..len])?;
        wire.tls = None; // what comes now is not looked at
        self.leave(wire)
    }

    fn leave_in_frame(&mut self) -> Deed {
        let target =
            self.dice.among(&["/echo", "/actions", "/chat", "/room/r1", "/envelope?groupid=g1", "/"]);
        let mut wire = self.open(target)?;
        let len = self.dice.among(&[5, 200, 70_000]);
        let text = self.dice.filler(len);
        let whole = frame(self.dice.among(&[0x81, 0x82, 0x01]), text.as_bytes());
        wire.write(&whole[..self.dice.below(whole.len())])?;
        self.leave(wire)
    }

    /// What came before the end of our direction is answered, and then TCP ends.
    fn half_close(&mut self) -> Deed {
        let mut wire = self.open("/echo")?;
        let count = self.dice.between(1, 50);
        let texts: Vec<String> = (0..count).map(|_| self.dice.filler(30)).collect();
        let frames: Vec<u8> = texts.iter().flat_map(|text| frame(0x81, text.as_bytes())).collect();
        wire.write(&frames)?;
        wire.tcp.shutdown(Shutdown::Write)?;
        for text in texts {
            match wire.frame_of_interest() {
                Ok(Some(Frame { first: 0x81, payload })) if payload == text.as_bytes() => {}
                other => return Ok(Err(format!("expected {text:?} to come back, and got {other:?}"))),
            }
        }
        Ok(if wire.drain(PATIENCE) { Ok("was answered to the end") } else { Err("there is no end".into()) })
    }

    fn break_protocol(&mut self) -> Deed {
        let faults: [(&[u8], u16); 8] = [
            (b"\x81\x01x", 1002),                            // not masked
            (b"\xc1\x80\0\0\0\0", 1002),                     // RSV1 on nothing that was agreed
            (b"\x83\x80\0\0\0\0", 1002),                     // an opcode that is none
            (b"\x80\x80\0\0\0\0", 1002),                     // goes on with nothing
            (b"\x09\x80\0\0\0\0", 1002),                     // a Ping in fragments
            (b"\x81\x82\0\0\0\0\xc3\x28", 1007),             // no UTF-8
            (b"\x88\x82\0\0\0\0\x03\xed", 1002),             // a code that is not for the wire
            (b"\x82\xff\0\0\0\0\x01\x40\0\0\0\0\0\0", 1009), // 20 MiB
        ];
        let (bytes, code) = self.dice.among(&faults);
        let mut wire = self.open("/echo")?;
        wire.write(bytes)?;
        let told = wire.close_code(PATIENCE);
        if told != Some(code) {
            return Ok(Err(format!("sent {}, and was told {told:?}, not {code}", bytes.escape_ascii())));
        }
        wire.drain(PATIENCE);
        Ok(Ok("was told so"))
    }

    /// A bomb of 20 MiB, or what is no DEFLATE.
    fn inflate(&mut self) -> Deed {
        let mut wire = self.dial()?;
        match wire.upgrade("/echo", "Sec-WebSocket-Extensions: permessage-deflate\r\n")? {
            101 => {}
            503 => return Ok(Ok("was refused (503)")),
            status => return Ok(Err(format!("offers compression, and is answered {status}"))),
        }
        let (payload, code) = if self.dice.one_in(2) {
            let mut bomb = DeflateEncoder::new(Vec::new(), Compression::fast());
            (0..20).try_for_each(|_| bomb.write_all(&[0; 1 << 20]))?;
            (bomb.finish()?, 1009)
        } else {
            (vec![0xff; 40], 1007)
        };
        wire.send(0xc2, &payload)?;
        let told = wire.close_code(PATIENCE);
        if told != Some(code) {
            return Ok(Err(format!("was told {told:?}, not {code}")));
        }
        self.leave(wire).map(|left| left.map(|_| "was told so"))
    }

    fn close(&mut self) -> Deed {
        let target = self.dice.among(&["/echo", "/actions", "/chat", "/room/r2", "/envelope"]);
        let mut wire = self.open(target)?;
        let code = self.dice.among(&[1000u16, 1001, 1003, 1011, 3000, 4000, 4999]);
        wire.send(0x88, &code.to_be_bytes())?;
        match wire.close_code(PATIENCE) {
            Some(told) if told == code => {}
            told => return Ok(Err(format!("closed with {code}, and was answered {told:?}"))),
        }
        self.leave(wire)
    }

    // ------------------------------------------------------------------ reading slowly

    /// Has much echoed, and reads nothing for a while; then all of it, in order, or nothing.
    fn read_slowly(&mut self) -> Deed {
        let mut wire = self.open("/echo")?;
        // Less than the kernel's own, and more than its loopback's largest segment: below that it trickles.
        socket2::SockRef::from(&wire.tcp).set_recv_buffer_size(256 << 10)?;
        wire.tcp.set_write_timeout(Some(Duration::from_millis(500)))?;
        let payload = self.dice.filler(30_000);
        let bytes = frame(0x82, payload.as_bytes());
        let mut written = 0u64;
        // Over TLS what was not taken whole cannot be written again: that connection goes as it is.
        for _ in 0..self.dice.between(10, 300) {
            if wire.write(&bytes).is_err() {
                let exit = self.dice.among(&[Exit::Close, Exit::Reset]);
                thread::sleep(Duration::from_millis(self.dice.between(0, 1_500) as u64));
                wire.leave(exit);
                return Ok(Ok("was not read any more, and left"));
            }
            written += 1;
        }
        thread::sleep(Duration::from_millis(self.dice.between(0, 1_500) as u64));
        for number in 0..written {
            match wire.frame_of_interest() {
                Ok(Some(Frame { first: 0x82, payload: came })) if came == payload.as_bytes() => {}
                Ok(Some(Frame { first: 0x88, payload })) if payload.starts_with(&1013u16.to_be_bytes()) => {
                    return Ok(Ok("was given up (1013)"));
                }
                other => return Ok(Err(format!("message {number} of {written} is {other:?}"))),
            }
        }
        Ok(Ok("heard all of it"))
    }

    /// Hears what others say in a room, and does not read: it is given up.
    fn sit_deaf(&mut self) -> Deed {
        let room = format!("/room/deaf{}", self.number);
        let mut deaf = self.open(&room)?;
        socket2::SockRef::from(&deaf.tcp).set_recv_buffer_size(8 << 10)?;
        let mut loud = self.open(&room)?;
        let payload = self.dice.filler(60_000);
        let mut told = None;
        for _ in 0..self.dice.between(20, 120) {
            loud.send(0x82, payload.as_bytes())?;
            // The loud one hears itself.
            match loud.frame_of_interest()? {
                Some(Frame { first: 0x82, payload: came }) if came == payload.as_bytes() => {}
                other => {
                    told = other;
                    break;
                }
            }
        }
        if let Some(frame) = told {
            return Ok(Err(format!("the loud one hears {} bytes, {:#x}", frame.payload.len(), frame.first)));
        }
        loud.leave(Exit::Close);
        if self.dice.one_in(2) {
            return self.leave(deaf);
        }
        Ok(Ok(match deaf.close_code(Duration::from_secs(5)) {
            Some(1013) => "was given up (1013)",
            Some(_) => "was closed otherwise",
            None => "was left with what it had",
        }))
    }

    // ------------------------------------------------------------------ floods

    fn flood_actions(&mut self) -> Deed {
        let target = self.dice.among(&["/actions", "/envelope?groupid=flood", "/chat"]);
        let mut wire = self.open(target)?;
        wire.tcp.set_write_timeout(Some(Duration::from_millis(700)))?;
        let text = match target {
            "/actions" => {
                let action = json!({"action": "join_channel", "channel_name": "flooded"});
                json!(vec![action; 200]).to_string()
            }
            "/chat" => json!({"type": "message", "text": numbered("flood", "none", 1, "")}).to_string(),
            _ => json!({"action": "say", "message": "flood", "groupId": "nobody"}).to_string(),
        };
        // In the chat all hear it: no more than others say there.
        let count = if target == "/chat" { 0 } else { 6_000 };
        let bytes = frame(0x81, text.as_bytes());
        for _ in 0..count {
            if wire.write(&bytes).is_err() {
                break;
            }
        }
        match wire.close_code(Duration::from_secs(2)) {
            Some(1008) => Ok(Ok("was closed for it (1008)")),
            Some(1013) => Ok(Ok("was given up (1013)")),
            Some(code) => Ok(Err(format!("was closed with {code}"))),
            None => self.leave(wire),
        }
    }

    /// Many at once, and all of them come back.
    fn flood_messages(&mut self) -> Deed {
        let mut wire = self.open("/echo")?;
        let (count, len) = self.dice.among(&[(5_000, 10), (2_000, 100), (60, 4_000)]);
        let text = self.dice.filler(len);
        let bytes = frame(0x81, text.as_bytes()).repeat(count);
        // What comes back fits into the buffers between, so that nobody waits for the other.
        wire.write(&bytes)?;
        for number in 0..count {
            match wire.frame_of_interest() {
                Ok(Some(Frame { first: 0x81, payload })) if payload == text.as_bytes() => {}
                other => return Ok(Err(format!("message {number} of {count} is {other:?}"))),
            }
        }
        self.leave(wire).map(|left| left.map(|_| "heard all of it"))
    }

    fn flood_connections(&mut self) -> Deed {
        let (count, says) = (self.dice.between(50, 350), self.dice.below(3));
        let mut wires = Vec::new();
        let mut refused = 0;
        for _ in 0..count {
            let mut wire = self.dial_as(false)?;
            match says {
                0 => {}
                1 => wire.write(request("/echo", "").as_bytes())?,
                _ => refused += usize::from(!matches!(wire.upgrade("/chat/none", ""), Ok(101))),
            }
            wires.push(wire);
        }
        for wire in wires {
            wire.leave(self.dice.among(&[Exit::Close, Exit::Reset]));
        }
        Ok(Ok(if refused > 0 { "was refused some" } else { "left" }))
    }

    fn flood_pings(&mut self) -> Deed {
        let mut wire = self.open("/echo")?;
        let count = self.dice.between(100, 4_000);
        let pings: Vec<u8> = (0..count as u32).flat_map(|n| frame(0x89, &n.to_be_bytes())).collect();
        wire.write(&pings)?;
        wire.send(0x81, b"behind them")?;
        let mut next = 0;
        loop {
            match wire.frame_of_interest() {
                Ok(Some(Frame { first: 0x8a, payload })) if payload.len() == 4 => {
                    let number = u32::from_be_bytes(*payload.first_chunk().expect("it has four bytes"));
                    if number < next {
                        return Ok(Err(format!("the Pong {number} comes behind {next}")));
                    }
                    next = number + 1;
                }
                Ok(Some(Frame { first: 0x81, payload })) if payload == b"behind them" => break,
                other => return Ok(Err(format!("expected Pongs, and got {other:?}"))),
            }
        }
        if next as usize != count {
            return Ok(Err(format!("the last of {count} pings was not answered")));
        }
        self.leave(wire).map(|left| left.map(|_| "was answered"))
    }

    // ------------------------------------------------------------------ taking time

    fn drip(&mut self) -> Deed {
        let mut wire = self.dial_as(false)?;
        for byte in request("/echo", "").bytes() {
            if wire.write(&[byte]).is_err() || self.stop.load(Relaxed) {
                return Ok(Ok("was dropped"));
            }
            thread::sleep(Duration::from_millis(50));
        }
        match wire.head() {
            Ok(head) if head.starts_with("HTTP/1.1 408") || head.starts_with("HTTP/1.1 503") => {
                Ok(Ok("was told so"))
            }
            Ok(head) => Ok(Err(format!("is answered {}", cut(&head)))),
            Err(_) => Ok(Ok("was dropped")),
        }
    }

    fn stall(&mut self) -> Deed {
        let mut wire = self.open("/echo")?;
        wire.write(&announced(0x82, 1_000))?;
        wire.write(b"half")?;
        match wire.close_code(PATIENCE) {
            Some(1008) => Ok(Ok("was told so (1008)")),
            told => Ok(Err(format!("left a message unfinished, and was told {told:?}, not 1008"))),
        }
    }

    /// Answers no Ping, and is dropped for it.
    fn play_dead(&mut self) -> Deed {
        let mut wire = self.open("/echo")?;
        let since = Instant::now();
        wire.tcp.set_read_timeout(Some(Duration::from_millis(300)))?;
        while since.elapsed() < PATIENCE {
            if wire.drain(Duration::from_secs(1)) {
                return Ok(Ok("was dropped for it"));
            }
            if self.stop.load(Relaxed) {
                return Ok(Ok("was there until the end"));
            }
        }
        Ok(Err(format!("answers no ping, and is there after {:?}", since.elapsed())))
    }

    // ------------------------------------------------------------------ handshakes and plain requests

    fn ask(&mut self) -> Deed {
        const HOST: &str = "HTTP/1.1\r\nHost: localhost\r\n";
        let body = json!({"action": "news", "message": "x", "groupId": "nobody"}).to_string();
        let post = |fields: &str, body: &str| {
            let len = body.len();
            format!("POST /__broadcastwebsocket.x {HOST}{fields}Content-Length: {len}\r\n\r\n{body}")
        };
        let (request, status) = match self.dice.below(7) {
            0 => (format!("GET / {HOST}\r\n"), "200"),
            1 => (format!("GET /scripts/sockeye.js {HOST}\r\n"), "200"),
            2 => (format!("BREW / {HOST}\r\n"), "405"),
            3 => (post("", &body), "200"),
            4 => (post("X-Forwarded-For: 192.0.2.1\r\n", &body), "401"),
            5 => (post("", "{no json"), "400"),
            _ => ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), "400"),
        };
        let mut wire = self.dial()?;
        wire.write(request.as_bytes())?;
        let head = wire.head()?;
        let told = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if told == "503" {
            return Ok(Ok("was refused (503)"));
        }
        if told != status {
            return Ok(Err(format!("asked {}, and was told {told}, not {status}", cut(&request))));
        }
        if self.dice.one_in(2) {
            wire.drain(PATIENCE);
        }
        self.leave(wire).map(|left| left.map(|_| "was answered"))
    }

    fn come_from_elsewhere(&mut self) -> Deed {
        let is_good = self.dice.one_in(2);
        let origin = if is_good { ORIGIN } else { "https://evil.example" };
        let mut wire = self.dial()?;
        match wire.upgrade("/echo", &format!("Origin: {origin}\r\n"))? {
            503 => Ok(Ok("was refused (503)")),
            101 if is_good => self.leave(wire),
            403 if !is_good => Ok(Ok("was refused (403)")),
            status => Ok(Err(format!("comes from {origin}, and is answered {status}"))),
        }
    }

    // ------------------------------------------------------------------ company

    /// Says numbered things among honest visitors, and vanishes, perhaps in the middle of one: they hear the whole ones.
    fn speak_and_vanish(&mut self) -> Deed {
        self.speakers += 1;
        let speaker = format!("v{}-{}", self.number, self.speakers);
        let place = self.dice.below(PLACES);
        let kind = self.dice.below(4);
        let (target, stream) = match kind {
            0 => (format!("/room/r{place}"), format!("r{place}")),
            1 => ("/actions".to_owned(), format!("c{place}")),
            2 => (format!("/envelope?groupid=g{place}&userid={speaker}"), Audience::Group(place).stream()),
            _ => ("/chat".to_owned(), "chat".to_owned()),
        };
        let mut wire = self.open(&target)?;
        if kind == 1 {
            let join = json!([{"action": "join_channel", "channel_name": stream}]).to_string();
            wire.send(0x81, join.as_bytes())?;
        }
        let mut last = Vec::new();
        for number in 1..=self.dice.between(1, 30) as u64 {
            let filler = self.dice.filler(60);
            let text = numbered(&speaker, &stream, number, &filler);
            let text = match kind {
                0 => text,
                1 => json!([{"action": "message_channel", "channel_name": stream, "message": text}])
                    .to_string(),
                2 => Audience::Group(place).post(&text, &speaker).to_string(),
                _ => json!({"type": "message", "text": text}).to_string(),
            };
            last = frame(0x81, text.as_bytes());
            wire.write(&last)?;
            if self.dice.one_in(4) {
                thread::sleep(Duration::from_millis(self.dice.between(1, 50) as u64));
            }
        }
        if self.dice.one_in(2) {
            wire.write(&last[..self.dice.below(last.len())])?;
        }
        if self.dice.one_in(3) {
            // Somebody who hears much before it goes, and is behind.
            thread::sleep(Duration::from_millis(self.dice.between(100, 1_500) as u64));
        }
        self.leave(wire)
    }
}
