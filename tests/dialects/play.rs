//! A transcript, played against a server of its own.

use crate::{
    pattern::{Captures, canonical, cut, expand},
    peer::{Arrival, Frame, Peer, SAMPLE_ACCEPT, frame},
    server::{Server, wait_until},
    transcript::{Line, Transcript, users},
};
use serde_json::value::RawValue;
use std::{
    any::Any,
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// What a connection received.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Heard {
    Text(String),
    Binary(Vec<u8>),
    /// As the event of a browser: 1005 is a Close without a code, 1006 an end without a Close.
    Close {
        code: u16,
        reason: String,
        clean: bool,
    },
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Open,
    /// We sent a Close, or a FIN.
    Closing,
    Ended,
}

/// One connection of a transcript.
struct Wire {
    peer: Peer,
    /// What came and was not yet asked for.
    inbox: VecDeque<Heard>,
    stage: Stage,
    /// It sent something since it was last known that the server had read all of it.
    spoke: bool,
}

struct Play {
    server: Server,
    wires: BTreeMap<String, Wire>,
    captures: Captures,
    users: PathBuf,
    /// Something happened whose effect is not ordered by any connection: a reset, a signal.
    loose: bool,
}

/// How long the end of a server may take whose clients have all answered: less than the 5 s it would wait for them.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Plays it; what went wrong, and in which line.
pub fn play(transcript: &Transcript) -> Result<(), String> {
    let number = Cell::new(0);
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut play = Play::start(transcript);
        for step in &transcript.steps {
            number.set(step.number);
            let times = if step.has("times") { step.raw("times").parse().expect("a number") } else { 1 };
            for n in 1..=times {
                play.step(step.numbered(n))?;
            }
        }
        play.end()
    }));
    let result = played.unwrap_or_else(|panic| Err(words(&*panic)));
    result.map_err(|fault| format!("line {}, {:?}: {fault}", number.get(), transcript.name))
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}

impl Play {
    fn start(transcript: &Transcript) -> Play {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let users =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("users-{}-{count}.toml", process::id()));
        let path = users.to_string_lossy();
        let mut flags: Vec<&str> = transcript.flags.iter().map(String::as_str).collect();
        if let Some(text) = &transcript.users {
            fs::write(&users, text).expect("the folder of temporary files can be written");
            flags.extend(["--users", &path]);
        }
        let listen: Vec<&str> = transcript.listen.iter().map(String::as_str).collect();
        let variables: Vec<_> = transcript.variables.clone().into_iter().collect();
        let server = Server::listening(&listen, &flags, &variables);
        Play {
            server,
            wires: BTreeMap::new(),
            captures: Captures::default(),
            users: users.clone(),
            loose: false,
        }
    }

    fn step(&mut self, mut line: Line) -> Result<(), String> {
        let _: Option<usize> = line.take("times");
        let line = &mut line;
        if line.has("open") {
            self.open(line)?;
        } else if line.has("from") {
            self.from(line)?;
        } else if line.has("to") {
            self.to(line)?;
        } else if line.has("http") {
            self.http(line)?;
        } else if line.has("silent") {
            for name in line.names("silent") {
                if let Some(heard) = self.sync_all(&name).inbox.front() {
                    return Err(format!("{name} should have heard nothing and heard {heard:?}"));
                }
            }
        } else if let Some(name) = line.take::<String>("signal") {
            self.server.signal(&name);
            self.loose = true;
        } else if line.has("exit") {
            let code: Option<i32> = line.need("exit");
            let begun = Instant::now();
            let status = self.server.expect_exit();
            if status.code() != code || begun.elapsed() > AT_ONCE {
                return Err(format!("the server ended with {status:?} after {:?}", begun.elapsed()));
            }
        } else if line.has("users") {
            fs::write(&self.users, users(line)).expect("it was written before");
        } else if line.has("differ") {
            let [one, other] = self.known(line, "differ");
            if one == other {
                return Err(format!("both are {one}"));
            }
        } else {
            let [one, next] = self.known(line, "next");
            let [one, next] = [one, next].map(|id| id.parse::<u64>().expect("an id"));
            if next != one + 1 {
                return Err(format!("{next} does not follow {one}"));
            }
        }
        line.finish();
        Ok(())
    }

    fn known(&self, line: &mut Line, key: &str) -> [String; 2] {
        line.need::<[String; 2]>(key).map(|name| self.captures.0[&name].clone())
    }

    // ------------------------------------------------------------------ opening

    fn open(&mut self, line: &mut Line) -> Result<(), String> {
        let name: String = line.need("open");
        let target = expand(&line.take::<String>("at").unwrap_or_else(|| "/".to_owned()));
        let mut head = format!("GET {target} HTTP/1.1\r\n");
        let fields: Vec<String> = line.take("fields").unwrap_or_default();
        if !fields.iter().any(|field| field.to_ascii_lowercase().starts_with("host:")) {
            head.push_str("Host: localhost\r\n");
        }
        let offers: Vec<String> = line.take("offers").unwrap_or_default();
        if !offers.is_empty() {
            head.push_str(&format!("Sec-WebSocket-Protocol: {}\r\n", offers.join(", ")));
        }
        for field in fields {
            head.push_str(&format!("{field}\r\n"));
        }
        head.push_str(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        let mut peer = self.server.dial_at(line.take("on").unwrap_or(0));
        peer.send(head.as_bytes());
        if let Some(status) = line.take::<u16>("refused") {
            let response = peer.expect_head();
            if response.status != status {
                return Err(format!("answered by {response:?}"));
            }
            peer.expect_cut();
            return Ok(());
        }
        let response = peer.expect_head();
        if response.status != 101 || response.field("Sec-WebSocket-Accept") != Some(SAMPLE_ACCEPT) {
            return Err(format!("no upgrade but {response:?}"));
        }
        let agreed: Option<String> = line.take("agreed");
        if response.field("Sec-WebSocket-Protocol") != agreed.as_deref() {
            return Err(format!("agreed on {:?}, not {agreed:?}", response.field("Sec-WebSocket-Protocol")));
        }
        let wire = Wire { peer, inbox: VecDeque::new(), stage: Stage::Open, spoke: true };
        let before = self.wires.insert(name.clone(), wire);
        assert!(before.is_none_or(|wire| wire.stage == Stage::Ended), "{name} is still connected");
        if let Some(user) = line.take::<String>("is") {
            let token = if user == "admin" { "admin:secret".to_owned() } else { format!("token-{user}") };
            self.acknowledged(&name, &format!(r#"[{{"action":"authenticate","token":"{token}"}}]"#))?;
        }
        for channel in line.take::<Vec<String>>("in").unwrap_or_default() {
            let join = format!(r#"[{{"action":"join_channel","channel_name":"{channel}"}}]"#);
            self.acknowledged(&name, &join)?;
        }
        Ok(())
    }

    /// An action is done, and nothing else is heard.
    fn acknowledged(&mut self, name: &str, action: &str) -> Result<(), String> {
        self.wires.get_mut(name).expect("it is connected").peer.send(&frame(0x81, action.as_bytes()));
        match self.pull(name)? {
            Heard::Text(text) if text == reply("ok", r#""""#, "[]", None) => Ok(()),
            heard => Err(format!("{name} heard {heard:?} in answer to {action}")),
        }
    }

    // ------------------------------------------------------------------ sending

    fn from(&mut self, line: &mut Line) -> Result<(), String> {
        let name: String = line.need("from");
        if let Some(until) = line.take_raw("until") {
            return self.repeat_until(&name, &self.text(line), &until);
        }
        let ends = ["reset", "drop"].into_iter().find(|&how| line.take::<bool>(how).is_some());
        if let Some(how) = ends {
            self.loose = true;
            let wire = self.wires.remove(&name).expect("it is connected");
            // Without unread bytes a dropped socket is an end without a reset.
            if how == "reset" {
                wire.peer.reset();
            }
            return Ok(());
        }
        let first = if line.take("binary").unwrap_or(false) || line.has("hex") { 0x82 } else { 0x81 };
        let close: Option<(u16, String)> = line.take("close");
        let eof = line.take("eof").unwrap_or(false);
        let bytes = match &close {
            Some((1005, _)) => frame(0x88, b""),
            Some((code, reason)) => frame(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat()),
            None if eof => Vec::new(),
            None if line.has("hex") => frame(first, &hex(&line.need::<String>("hex"))),
            None => frame(first, self.text(line).as_bytes()),
        };
        let wire = self.wires.get_mut(&name).expect("it is connected");
        wire.spoke = true;
        wire.peer.send(&bytes);
        if close.is_some() || eof {
            wire.stage = Stage::Closing;
            self.loose = true;
        }
        if eof {
            wire.peer.finish();
        }
        Ok(())
    }

    /// The text of a step to send, or to hear.
    fn text(&self, line: &mut Line) -> String {
        let text = match json(line) {
            Some(json) => self.captures.filled(&expand(&json)),
            None => expand(&line.need::<String>("text")),
        };
        if let Some(bytes) = line.take::<usize>("bytes") {
            assert_eq!(text.len(), bytes, "bytes of the text in line {}", line.number);
        }
        text
    }

    /// Sends until that is the answer: for what takes effect when nobody tells.
    fn repeat_until(&mut self, name: &str, text: &str, until: &str) -> Result<(), String> {
        let (wanted, _) = canonical(until)?;
        let mut last = Ok(());
        wait_until("an answer changes", || {
            let wire = self.wires.get_mut(name).expect("it is connected");
            wire.peer.send(&frame(0x81, text.as_bytes()));
            wire.sync();
            last = match wire.inbox.pop_front() {
                Some(Heard::Text(text)) if wire.inbox.is_empty() => Ok(text == wanted),
                other => Err(format!("heard {other:?} and {:?}", wire.inbox)),
            }
            .and_then(|same| if same { Ok(()) } else { Err(String::new()) });
            last.as_ref().map_or_else(|fault| !fault.is_empty(), |()| true)
        });
        last
    }

    // ------------------------------------------------------------------ hearing

    fn to(&mut self, line: &mut Line) -> Result<(), String> {
        let names = line.names("to");
        let unordered = line.take("unordered").unwrap_or(false);
        let json = !line.has("text");
        let closed: Option<(u16, String)> = line.take("closed");
        let unclean = line.take("unclean").unwrap_or(false);
        let binary: Option<String> = line.take("hex");
        let text = if closed.is_none() && binary.is_none() { self.text(line) } else { String::new() };
        for name in names {
            let heard = self.pull(&name)?;
            let result = match (&heard, &closed, &binary) {
                (Heard::Close { code, reason, clean }, Some(wanted), _) => {
                    let same = *code == wanted.0 && (wanted.1 == "$any" || *reason == wanted.1);
                    if same && *clean != unclean { Ok(()) } else { Err(format!("{heard:?}")) }
                }
                (Heard::Binary(bytes), None, Some(wanted)) if *bytes == hex(wanted) => Ok(()),
                (Heard::Text(got), None, None) if json => self.compare(&text, got, unordered),
                (Heard::Text(got), None, None) if *got == text => Ok(()),
                _ => Err(format!("heard {heard:?}")),
            };
            result.map_err(|fault| format!("{name}: {fault}"))?;
        }
        Ok(())
    }

    fn compare(&mut self, wanted: &str, got: &str, unordered: bool) -> Result<(), String> {
        let (wanted, _) = canonical(wanted)?;
        let (plain, spaced) = canonical(got)?;
        if spaced && got.starts_with("{\"status\"") {
            return Err(format!("not compact: {}", cut(got)));
        }
        if unordered {
            self.captures.compare_unordered(&wanted, &plain)
        } else {
            self.captures.compare(&wanted, &plain)
        }
    }

    /// What a connection heard next. Waits only where no order of frames says that it must have come by now.
    fn pull(&mut self, name: &str) -> Result<Heard, String> {
        let wire = self.wires.get_mut(name).unwrap_or_else(|| panic!("{name} is not connected"));
        if wire.inbox.is_empty() && wire.stage == Stage::Open {
            self.sync_all(name);
        }
        let wire = self.wires.get_mut(name).expect("just seen");
        if wire.inbox.is_empty() && (wire.stage == Stage::Closing || self.loose && wire.stage == Stage::Open)
        {
            wire.read();
        }
        wire.inbox.pop_front().ok_or_else(|| format!("{name} heard nothing"))
    }

    /// All that was said has been read by the server, and what it had for `name` has come.
    fn sync_all(&mut self, name: &str) -> &Wire {
        for wire in self.wires.values_mut().filter(|wire| wire.spoke) {
            wire.sync();
        }
        let wire = self.wires.get_mut(name).unwrap_or_else(|| panic!("{name} is not connected"));
        wire.sync();
        wire
    }

    /// Nobody heard anything that the transcript does not tell.
    fn end(mut self) -> Result<(), String> {
        for wire in self.wires.values_mut().filter(|wire| wire.spoke) {
            wire.sync();
        }
        for (name, wire) in &mut self.wires {
            wire.sync();
            // Who has sent a Close may leave its echo to nobody, but nothing else.
            while wire.stage == Stage::Closing {
                wire.read();
                if matches!(wire.inbox.back(), Some(Heard::Close { .. })) {
                    wire.inbox.pop_back();
                }
            }
            if let Some(heard) = wire.inbox.front() {
                return Err(format!("and then {name} heard {heard:?}"));
            }
        }
        Ok(())
    }

    // ------------------------------------------------------------------ HTTP

    fn http(&mut self, line: &mut Line) -> Result<(), String> {
        let mut lines: Vec<String> = line.need("http");
        let body = if line.has("json") || line.has("text") { Some(self.text(line)) } else { None };
        let given = |name: &str| lines.iter().any(|line| line.to_ascii_lowercase().starts_with(name));
        let (host, length) = (given("host:"), given("content-length:") || given("transfer-encoding:"));
        if !host {
            lines.insert(1, "Host: localhost".to_owned());
        }
        if let (Some(body), false) = (&body, length) {
            lines.push(format!("Content-Length: {}", body.len()));
        }
        let request = format!("{}\r\n\r\n{}", expand(&lines.join("\r\n")), body.unwrap_or_default());
        let mut peer = self.server.dial_at(line.take("on").unwrap_or(0));
        peer.send_regardless(request.as_bytes());
        let response = peer.expect_head();
        let rest = String::from_utf8(peer.rest()).expect("a text");
        let status: u16 = line.need("status");
        if response.status != status {
            return Err(format!("not {status} but {response:?} and {}", cut(&rest)));
        }
        if response.field("Connection").is_none_or(|value| !value.to_ascii_lowercase().ends_with("close")) {
            return Err(format!("no Connection: close in {response:?}"));
        }
        let length = response.field("Content-Length").and_then(|length| length.parse::<usize>().ok());
        if !request.starts_with("HEAD ") && status != 304 && length != Some(rest.len()) {
            return Err(format!("{} bytes after {response:?}", rest.len()));
        }
        for (name, wanted) in line.take::<BTreeMap<String, String>>("has").unwrap_or_default() {
            let value = response.field(&name);
            let right = value.is_some_and(|value| {
                wanted.strip_suffix('*').map_or(value == wanted, |start| value.starts_with(start))
            });
            if !right {
                return Err(format!("{name} is {value:?}, not {wanted:?}"));
            }
        }
        if let Some(answer) = line.take_raw("answer") {
            self.compare(&answer, &rest, false)?;
        }
        if let Some(text) = line.take::<String>("contains")
            && !rest.contains(&text)
        {
            return Err(format!("no {text:?} in {}", cut(&rest)));
        }
        Ok(())
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.users);
    }
}

impl Wire {
    /// A ping goes there and back: what was sent has been read, and what came before is in the inbox.
    fn sync(&mut self) {
        self.spoke = false;
        if self.stage != Stage::Open {
            return;
        }
        self.peer.send_regardless(&frame(0x89, b"sync"));
        while self.stage == Stage::Open && !self.read() {}
    }

    /// Takes one frame, or the end; whether it was the Pong.
    fn read(&mut self) -> bool {
        let heard = match self.peer.frame_or_end() {
            Ok(Frame { first: 0x8a, payload }) => {
                assert_eq!(payload, b"sync", "an unasked Pong");
                return true;
            }
            Ok(Frame { first: 0x81, payload }) => Heard::Text(String::from_utf8(payload).expect("UTF-8")),
            Ok(Frame { first: 0x82, payload }) => Heard::Binary(payload),
            Ok(Frame { first: 0x88, payload }) => self.close(&payload),
            Ok(other) => panic!("a frame not to be expected: {other:?}"),
            Err(Arrival::End | Arrival::Reset) => {
                self.stage = Stage::Ended;
                Heard::Close { code: 1006, reason: String::new(), clean: false }
            }
            Err(other) => panic!("waited in vain for a frame: {other:?}, after {:?}", self.inbox),
        };
        self.inbox.push_back(heard);
        false
    }

    /// A Close came: it is answered, and the stream ends.
    fn close(&mut self, payload: &[u8]) -> Heard {
        if self.stage == Stage::Open {
            self.peer.send_regardless(&frame(0x88, &payload[..payload.len().min(2)]));
        }
        self.stage = Stage::Ended;
        let mut end = self.peer.frame_or_end();
        while matches!(end, Ok(Frame { first: 0x8a, .. })) {
            end = self.peer.frame_or_end(); // §5.5.2: a Ping may still be answered until our Close is read.
        }
        let clean = end == Err(Arrival::End);
        let (code, reason) = payload.split_at(payload.len().min(2));
        let code = <[u8; 2]>::try_from(code).map_or(1005, u16::from_be_bytes);
        Heard::Close { code, reason: String::from_utf8(reason.to_vec()).expect("UTF-8"), clean }
    }
}

/// The JSON of a step, as it is written, or as one of the replies of `actions`.
fn json(line: &mut Line) -> Option<String> {
    if line.has("new_message") {
        let message: BTreeMap<String, Box<RawValue>> = line.need("new_message");
        let known = ["channel", "uuid", "name", "text", "html", "clock", "seq"];
        let strange = message.keys().find(|key| !known.contains(&key.as_str()));
        assert_eq!(strange, None, "a new_message in line {}", line.number);
        let raw = |key: &str| message.get(key).map_or(r#""""#, |raw| raw.get());
        let of = |key: &str| raw(key).to_owned();
        let inner = |key: &str| raw(key)[1..raw(key).len() - 1].to_owned();
        let clock = if message.contains_key("clock") { inner("clock") } else { "$hhmm".to_owned() };
        let html = if message.contains_key("html") { inner("html") } else { inner("text") };
        let html = format!("[{clock}] &lt;{}&gt;: {html}", inner("name"));
        let seq = if message.contains_key("seq") { of("seq") } else { r#""$seq""#.to_owned() };
        let data = format!(
            r#"[{{"action":"new_message","channel_name":{},"message":"{html}","uuid":{},"username":{},"text":{},"time":"$time","seq":{}}}]"#,
            of("channel"),
            of("uuid"),
            of("name"),
            of("text"),
            seq
        );
        return Some(reply("ok", r#""""#, &data, line.take_raw("id")));
    }
    if let Some(data) = line.take_raw("ok") {
        return Some(reply("ok", r#""""#, &data, line.take_raw("id")));
    }
    if let Some(message) = line.take_raw("error") {
        return Some(reply("error", &message, "[]", line.take_raw("id")));
    }
    line.take_raw("json")
}

/// A reply of `actions`; all but the status is JSON.
fn reply(status: &str, message: &str, data: &str, id: Option<String>) -> String {
    let id = id.map(|id| format!(",\"id\":{id}")).unwrap_or_default();
    format!(r#"{{"status":"{status}","version":"1.0","message":{message},"data":{data}{id}}}"#)
}

/// The bytes of `40 49 0F`.
fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("two hexadecimal digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}
