//! Which dialect a connection speaks: by path, host, subprotocol and listener beside the rules as they are written down,
//! and by its first message beside a tree of it.
//!
//! Input: a byte for the listener, then path, host, subprotocols and message, with a newline between them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye::dialect::{Dialect, action::Problem, choose, is_push, room_of};
use sockeye_fuzz::json::{TOKENS, Tree, bounds, is_json, text_of};

const OWN_TOKENS: [&str; 28] = [
    "/actions",
    "/Chat",
    "/room/",
    "/room",
    "/envelope",
    "/echo",
    "/.ECHO",
    "/__initializewebsocket.wwt",
    "/__InitializeSocket.",
    "/__broadcastwebsocket.ww",
    "%2f",
    "%41",
    "%ff",
    "%",
    "echo.",
    "Echo.example.com",
    "json",
    "chat",
    "actions",
    "room",
    "envelope",
    "echo",
    ", ",
    "{\"action\":\"",
    "join_channel",
    "\",\"recipients\":\"",
    "\",\"GROUPID\":\"",
    "\",\"userId\":\"",
];

fuzz_target!(|data: &[u8]| {
    let Some((&listener, data)) = data.split_first() else { return };
    let listener = Dialect::all().nth(usize::from(listener % 6));
    let text = text_of(data, &[&OWN_TOKENS[..], &TOKENS[..]].concat());
    let mut parts = text.splitn(4, '\n').chain(std::iter::repeat(""));
    let mut part = || parts.next().unwrap_or_default();
    let (path, host, offers, message) = (part(), part(), part(), part());
    by_handshake(path, host, offers, listener);
    by_message(message);
});

fn by_handshake(path: &str, host: &str, offers: &str, listener: Option<Dialect>) {
    let choice = choose(path, host, offers.split(", "), listener);
    let by_path = of_path(path);
    let known = offers.split(", ").find_map(|offer| {
        Dialect::all().find(|dialect| dialect.subprotocols().contains(&offer)).map(|dialect| (offer, dialect))
    });
    let by_host = host.to_ascii_lowercase().starts_with("echo.").then_some(Dialect::Echo);
    assert_eq!(choice.by_path, by_path.is_some(), "{path:?}");
    assert_eq!(choice.dialect, by_path.or(by_host).or(known.map(|(_, dialect)| dialect)).or(listener));
    assert_eq!(choice.subprotocol, known.map(|(offer, _)| offer));
    let decoded = decoded(path);
    let room = room_of(path);
    assert_eq!(room.is_some(), std::str::from_utf8(&decoded).is_ok());
    if let (Some(room), Ok(decoded)) = (room, std::str::from_utf8(&decoded)) {
        let below =
            decoded.get(..6).filter(|start| start.eq_ignore_ascii_case("/room/")).map(|_| &decoded[6..]);
        assert_eq!(room, below.unwrap_or_default());
    }
    assert!(!is_push(path) || of_path(path) != Some(Dialect::Echo));
}

/// The rules of the path.
fn of_path(path: &str) -> Option<Dialect> {
    let path = String::from_utf8_lossy(&decoded(path)).to_ascii_lowercase();
    let last = path.rsplit('/').next().unwrap_or_default();
    let starts = |names: [&str; 2]| {
        names.iter().any(|name| last.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    };
    let is = |name: &str| path.strip_prefix('/').is_some_and(|rest| rest.trim_end_matches('/') == name);
    if is("actions") {
        Some(Dialect::Actions)
    } else if is("envelope") || starts(["__initializewebsocket", "__initializesocket"]) {
        Some(Dialect::Envelope)
    } else if is("chat") {
        Some(Dialect::Chat)
    } else if is("room") || path.starts_with("/room/") {
        Some(Dialect::Room)
    } else {
        last.starts_with("echo").then_some(Dialect::Echo)
    }
}

/// Percent-decoded: what is no escape stays.
fn decoded(path: &str) -> Vec<u8> {
    let (bytes, mut out, mut at) = (path.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match digits.filter(|_| bytes[at] == b'%') {
            Some(digits) => {
                let digits = std::str::from_utf8(digits).expect("digits are ASCII");
                out.push(u8::from_str_radix(digits, 16).expect("they are digits"));
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

fn by_message(message: &str) {
    let dialect = Dialect::of_first_message(message);
    if dialect == Dialect::Actions {
        // What is decided to be actions is answered as such.
        let mut requests = Vec::new();
        Dialect::Actions.decode(message, &bounds(false), &mut requests);
        let is_empty = message.trim().strip_prefix('[').is_some_and(|rest| rest.trim_start() == "]");
        let is_refused = requests.iter().any(|request| matches!(request.action, Err(Problem::NotJson)));
        let is_deep = Tree::parse(message).is_none_or(|tree| tree.depth() > 32);
        assert!(!is_refused || is_empty || is_deep, "{message:?}");
    }
    if !is_json(message) {
        return assert_eq!(dialect, Dialect::Echo, "{message:?}");
    }
    let Some(tree) = Tree::parse(message) else { return };
    let is_of_envelope =
        ["recipients", "groupid", "userid"].iter().any(|key| tree.field(key, true).is_some());
    match (&tree, dialect) {
        (Tree::List(_), dialect) => assert_eq!(dialect, Dialect::Actions),
        (Tree::Scalar(_), dialect) => assert_eq!(dialect, Dialect::Echo),
        (Tree::Object(_), Dialect::Actions) => {
            assert!(tree.field("action", false).is_some() && !is_of_envelope, "{message:?}");
        }
        (Tree::Object(_), Dialect::Envelope) => assert!(tree.field("action", true).is_some()),
        (Tree::Object(_), Dialect::Echo) => assert!(tree.field("action", true).is_none(), "{message:?}"),
        (Tree::Object(_), _) => panic!("no first message decides for {dialect}"),
    }
}
