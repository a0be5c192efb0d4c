//! What a page does: connects, sends actions, reads what comes; and what else tests of the server need.

use crate::tool::PATIENCE;
use serde_json::Value;
use sockeye::OwnedMessage;
use sockeye::client::{Event, Options, WebSocket};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
};

/// A connection.
pub struct Page(WebSocket);

impl Page {
    #[track_caller]
    pub fn open(address: SocketAddr, path: &str) -> Page {
        Page::open_with(address, path, &[])
    }

    /// With header lines of its own.
    #[track_caller]
    pub fn open_with(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Page {
        let mut page = Page::dial(address, path, headers);
        match page.next_event() {
            Event::Open => page,
            other => panic!("it opens, and is {other:?}"),
        }
    }

    /// The handshake is refused: why.
    #[track_caller]
    pub fn expect_refusal(address: SocketAddr, path: &str) -> String {
        match Page::dial(address, path, &[]).next_event() {
            Event::Error(why) => why,
            other => panic!("it is refused, and is {other:?}"),
        }
    }

    fn dial(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Page {
        let mut options = Options::default();
        options.headers.extend(headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let url = format!("ws://{address}{path}");
        Page(WebSocket::connect_with(&url, &[], options).expect("it is a URL"))
    }

    #[track_caller]
    fn next_event(&mut self) -> Event {
        self.0.next_event_within(PATIENCE).expect("something happens")
    }

    #[track_caller]
    pub fn send(&mut self, text: &str) -> &mut Page {
        self.0.send(text).expect("it is open");
        self
    }

    /// The next message.
    #[track_caller]
    pub fn next(&mut self) -> String {
        match self.next_event() {
            Event::Message(OwnedMessage::Text(text)) => text,
            other => panic!("a text comes, and not {other:?}"),
        }
    }

    /// The next message, which is JSON.
    #[track_caller]
    pub fn json(&mut self) -> Value {
        let text = self.next();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The `message` of the answer to an action: empty where it was done.
    #[track_caller]
    pub fn ask(&mut self, action: &str) -> String {
        self.send(action);
        let answer = self.json();
        let message = answer["message"].as_str().expect("every answer has a message").to_owned();
        assert_eq!(answer["status"] == "error", !message.is_empty(), "{answer}");
        message
    }

    /// Whether the server knows whose token this is.
    #[track_caller]
    pub fn is_known(&mut self, token: &str) -> bool {
        let message = self.ask(&serde_json::json!([{"action": "authenticate", "token": token}]).to_string());
        assert!(["", "Invalid auth token"].contains(&message.as_str()), "{message}");
        message.is_empty()
    }

    /// The server closes, with this code, after whatever it still sends.
    #[track_caller]
    pub fn expect_close(&mut self, expected: u16) -> String {
        loop {
            match self.next_event() {
                Event::Close { code, reason, .. } => {
                    assert_eq!(code, expected, "{reason}");
                    return reason;
                }
                Event::Error(why) => panic!("it failed: {why}"),
                _ => {}
            }
        }
    }

    /// Closes in order, and waits for the end.
    #[track_caller]
    pub fn close(mut self) {
        self.0.close(None, "").expect("it is open");
        while !matches!(self.next_event(), Event::Close { .. }) {}
    }
}

/// The answer to a plain request: its head, and its body.
#[track_caller]
pub fn http(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a live socket");
    stream.write_all(request.as_bytes()).expect("it is taken");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer ends");
    let answer = String::from_utf8(answer).expect("it is a text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head ends");
    (head.to_owned(), body.to_owned())
}

/// A push by POST, with credentials or none.
#[track_caller]
pub fn push(address: SocketAddr, password: Option<&str>, body: &str) -> (String, String) {
    let credentials = password.map(|password| format!("Authorization: Bearer {password}\r\n"));
    let len = body.len();
    http(
        address,
        &format!(
            "POST /__broadcastwebsocket.ww HTTP/1.1\r\nHost: a\r\n{}Content-Length: {len}\r\n\r\n{body}",
            credentials.unwrap_or_default()
        ),
    )
}

/// A file for the time of a test.
pub struct File(PathBuf);

impl File {
    pub fn new(name: &str, content: impl AsRef<[u8]>) -> File {
        let name = format!("sockeye-serve-{}-{name}", std::process::id());
        let file = File(std::env::temp_dir().join(name));
        file.write(content);
        file
    }

    pub fn write(&self, content: impl AsRef<[u8]>) {
        fs::write(&self.0, content).expect("a temporary file");
    }

    pub fn path(&self) -> &str {
        Path::to_str(&self.0).expect("a path of ASCII")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
