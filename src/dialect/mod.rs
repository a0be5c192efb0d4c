//! The five dialects of the action layer: JSON text ⇄ actions and notices. Pure: what is asked for is done by `hub`.
//!
//! A dialect is a file, and a line in `CODECS` that says by what it is chosen. All share the vocabulary of
//! [`action`].

pub mod action;
pub(crate) mod actions;
mod chat;
mod choice;
pub(crate) mod envelope;
pub(crate) mod json;
mod room;

pub use choice::{Choice, choose, is_push, room_of};
pub use json::Object;

use action::{Notice, Request};
use choice::Path;
use serde_json::value::RawValue;
use std::{fmt, str::FromStr};

/// How a connection speaks.
///
/// ```
/// use sockeye::dialect::Dialect;
/// assert_eq!("chat".parse(), Ok(Dialect::Chat));
/// assert_eq!(Dialect::Chat.subprotocols(), ["json", "chat"]);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Dialect {
    /// Arrays of actions in, `{"status", "version", "message", "data"}` out.
    Actions,
    /// One `{"action", "message", "groupId", "userId", "recipients"}` both ways.
    Envelope,
    /// Objects with a `type`: the sample of MDN.
    Chat,
    /// Any message goes to everybody in the room.
    Room,
    /// Any message comes back.
    Echo,
}

/// What there is to know of a dialect.
struct Codec {
    dialect: Dialect,
    name: &'static str,
    subprotocols: &'static [&'static str],
    /// Whether the path of a request chooses it. The first line that it chooses counts.
    is_chosen_by: fn(&Path<'_>) -> bool,
    /// Whether its messages are JSON, and bounded as such.
    is_json: bool,
    decode: for<'a> fn(&'a str, &Bounds, &mut Vec<Request<'a>>),
    encode: fn(&Notice<'_>, Option<&RawValue>, &mut String) -> bool,
}

/// In the order of [`Dialect`].
const CODECS: [Codec; 5] = [
    Codec {
        dialect: Dialect::Actions,
        name: "actions",
        subprotocols: &["actions"],
        is_chosen_by: |path| path.is("actions"),
        is_json: true,
        decode: actions::decode,
        encode: actions::encode,
    },
    Codec {
        dialect: Dialect::Envelope,
        name: "envelope",
        subprotocols: &["envelope"],
        is_chosen_by: |path| {
            path.is("envelope") || path.ends_in(&["__initializewebsocket", "__initializesocket"])
        },
        is_json: true,
        decode: envelope::decode,
        encode: |notice, _, out| envelope::encode(notice, out),
    },
    Codec {
        dialect: Dialect::Chat,
        name: "chat",
        subprotocols: &["json", "chat"],
        is_chosen_by: |path| path.is("chat"),
        is_json: true,
        decode: chat::decode,
        encode: |notice, _, out| chat::encode(notice, out),
    },
    Codec {
        dialect: Dialect::Room,
        name: "room",
        subprotocols: &["room"],
        is_chosen_by: |path| path.is("room") || path.is_below("room"),
        is_json: false,
        decode: room::decode,
        encode: room::encode,
    },
    Codec {
        dialect: Dialect::Echo,
        name: "echo",
        subprotocols: &["echo"],
        is_chosen_by: |path| path.last_begins_with("echo"),
        is_json: false,
        decode: room::decode,
        encode: room::encode,
    },
];

/// How much of a message is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of a message.
    pub message_bytes_max: u32,
    /// Levels of arrays and objects.
    pub depth_max: u32,
    /// Actions in a message.
    pub actions_max: u32,
    /// Bytes of a name.
    pub name_bytes_max: u32,
    /// Recipients of a message.
    pub recipients_max: u32,
}

impl Dialect {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Dialect> {
        CODECS.iter().map(|codec| codec.dialect)
    }

    /// Its name, as in `--listen ADDR=NAME`.
    pub fn name(self) -> &'static str {
        self.codec().name
    }

    /// The subprotocols that choose it.
    pub fn subprotocols(self) -> &'static [&'static str] {
        self.codec().subprotocols
    }

    /// Whether its messages are JSON.
    pub fn is_json(self) -> bool {
        self.codec().is_json
    }

    /// Reads a message, and appends what is asked for in it, in order. What cannot be read is either a problem to be
    /// told of or nothing, as the dialect has it.
    pub fn decode<'a>(self, text: &'a str, bounds: &Bounds, requests: &mut Vec<Request<'a>>) {
        (self.codec().decode)(text, bounds, requests);
    }

    /// Appends a notice as it goes over the wire, with the id of the request that it answers; false where the dialect
    /// has no word for it, and nothing is to be sent.
    pub fn encode(self, notice: &Notice<'_>, id: Option<&RawValue>, out: &mut String) -> bool {
        (self.codec().encode)(notice, id, out)
    }

    /// Which dialect the first message of a connection speaks, where nothing else decided it.
    pub fn of_first_message(text: &str) -> Dialect {
        if text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('[') {
            return if json::is_json(text) { Dialect::Actions } else { Dialect::Echo };
        }
        // One pass that keeps nothing: this may be as large as a message of `echo`, and full of keys.
        let (mut has_action, mut action, mut is_of_envelope) = (false, None, false);
        let is_object = json::visit_members(text, &mut |key, value| {
            if key == "action" {
                action = Some(value);
            }
            has_action |= key.eq_ignore_ascii_case("action");
            is_of_envelope |=
                ["recipients", "groupid", "userid"].iter().any(|known| key.eq_ignore_ascii_case(known));
        });
        if !is_object || !has_action {
            return Dialect::Echo;
        }
        let name = if is_of_envelope { None } else { action.and_then(json::text) };
        if name.is_some_and(|name| actions::is_known(&name)) { Dialect::Actions } else { Dialect::Envelope }
    }

    fn codec(self) -> &'static Codec {
        &CODECS[self as usize]
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(text: &str) -> Result<Dialect, UnknownDialect> {
        Dialect::all().find(|dialect| dialect.name() == text).ok_or(UnknownDialect)
    }
}

/// A name that no dialect has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownDialect;

impl fmt::Display for UnknownDialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("known are ")?;
        for dialect in Dialect::all() {
            write!(f, "{dialect}, ")?;
        }
        f.write_str("and auto")
    }
}

impl std::error::Error for UnknownDialect {}
