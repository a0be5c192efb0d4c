//! A client of a dialect for tests in Rust: texts out, texts in.

use crate::{
    peer::{Peer, frame},
    server::Server,
};
use serde_json::Value;
use std::{fs, path::PathBuf};

/// Limits on the rate of actions that no test comes near.
pub const NO_RATE: [&str; 4] = ["--actions-per-second-max", "1000000", "--actions-burst-max", "1000000"];

/// An upgraded connection at this path.
#[track_caller]
pub fn open(server: &Server, path: &str) -> Peer {
    server.dial().opened_at(path)
}

/// A connection of `actions` for the user whose token is `token-NAME`, or for nobody.
#[track_caller]
pub fn open_actions(server: &Server, name: &str) -> Peer {
    let mut peer = open(server, "/actions");
    if !name.is_empty() {
        say(&mut peer, &format!(r#"[{{"action":"authenticate","token":"token-{name}"}}]"#));
        expect_ack(&mut peer);
    }
    peer
}

#[track_caller]
pub fn join(peer: &mut Peer, channel: &str) {
    say(peer, &format!(r#"[{{"action":"join_channel","channel_name":"{channel}"}}]"#));
    expect_ack(peer);
}

#[track_caller]
pub fn say(peer: &mut Peer, text: &str) {
    peer.send(&frame(0x81, text.as_bytes()));
}

/// The next message, a text.
#[track_caller]
pub fn hear(peer: &mut Peer) -> String {
    let frame = peer.expect_frame();
    assert_eq!(frame.first, 0x81, "no whole text: {:?}", String::from_utf8_lossy(&frame.payload));
    String::from_utf8(frame.payload).expect("a text is UTF-8")
}

/// The next message, as JSON.
#[track_caller]
pub fn hear_json(peer: &mut Peer) -> Value {
    let text = hear(peer);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[track_caller]
pub fn expect_ack(peer: &mut Peer) {
    assert_eq!(hear(peer), r#"{"status":"ok","version":"1.0","message":"","data":[]}"#);
}

/// The string behind `prefix` in a message, up to the quotation mark, both of which are to be in it.
#[track_caller]
pub fn behind<'a>(text: &'a str, prefix: &str) -> &'a str {
    let (_, rest) = text.split_once(prefix).unwrap_or_else(|| panic!("no {prefix} in {text}"));
    rest.split_once('"').map_or(rest, |(value, _)| value)
}

/// A users file of these names, removed when it is let go.
pub struct UsersFile(pub PathBuf);

impl UsersFile {
    pub fn new(file: &str, names: &[&str]) -> UsersFile {
        let path =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{file}-{}.toml", std::process::id()));
        let user = |name: &&str| {
            format!(
                "[[user]]\ntoken = \"token-{name}\"\nid = \"u-{name}\"\nname = \"{name}\"\ngroup = \"\"\n"
            )
        };
        fs::write(&path, names.iter().map(user).collect::<String>()).expect("it can be written");
        UsersFile(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }
}

impl Drop for UsersFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
