//! `chat`: MDN's sample, objects with a `type`.

use super::{
    Bounds,
    action::{Action, Notice, Request},
    json::{self, Object},
};
use std::borrow::Cow;

/// Reads a message; nothing where it is to be ignored.
pub(super) fn decode<'a>(text: &'a str, bounds: &Bounds, requests: &mut Vec<Request<'a>>) {
    let action = if text == "ping" { Some(Action::Ping) } else { parse(text, bounds) };
    requests.extend(action.map(|action| Request { action: Ok(action), id: None }));
}

fn parse<'a>(text: &'a str, bounds: &Bounds) -> Option<Action<'a>> {
    if text.len() > bounds.message_bytes_max as usize || !json::is_shallow(text, bounds.depth_max) {
        return None;
    }
    let object = Object::parse(text)?;
    let text_of = |field| object.field(field).and_then(json::text);
    match &*text_of("type")? {
        "id" | "userlist" | "rejectusername" => None, // only the server says these
        "username" => {
            let name = without_tags(text_of("name")?);
            let is_right = !name.is_empty() && name.len() <= bounds.name_bytes_max as usize;
            is_right.then_some(Action::Claim { name, object })
        }
        "message" => {
            let text = without_tags(text_of("text")?);
            Some(Action::Relay { object, text: Some(text) })
        }
        _ => Some(Action::Relay { object, text: None }),
    }
}

/// What JavaScript's `text.replace(/<[^>]+>/g, "")` leaves.
fn without_tags(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains('<') {
        return text;
    }
    let (mut kept, mut rest) = (String::with_capacity(text.len()), &*text);
    while let Some(open) = rest.find('<') {
        kept.push_str(&rest[..open]);
        rest = &rest[open..];
        match rest.find('>') {
            Some(1) => {
                kept.push_str("<>");
                rest = &rest[2..];
            }
            Some(close) => rest = &rest[close + 1..],
            None => break,
        }
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// Writes a notice; false for what this dialect does not say.
pub(super) fn encode(notice: &Notice<'_>, out: &mut String) -> bool {
    match notice {
        Notice::ChatId(id) => {
            out.push_str("{\"type\":\"id\",\"id\":");
            json::put_number(*id, out);
            out.push('}');
        }
        Notice::NameTaken { id, name } => {
            out.push_str("{\"type\":\"rejectusername\",\"id\":");
            json::put_number(*id, out);
            out.push_str(",\"name\":");
            json::put_text(name, out);
            out.push('}');
        }
        Notice::ChatNames(names) => {
            out.push_str("{\"type\":\"userlist\",\"users\":[");
            out.push_str(names);
            out.push_str("]}");
        }
        Notice::Relayed { object, text, id, name, sender } => {
            put_relayed(object, *text, *id, *name, sender, out);
        }
        Notice::Pong => out.push_str("pong"),
        _ => return false,
    }
    true
}

/// The object as it came, but who sent it is never what it says.
fn put_relayed(
    object: &Object<'_>,
    text: Option<&str>,
    id: u64,
    name: Option<&str>,
    sender: &str,
    out: &mut String,
) {
    out.push('{');
    let mut is_named = false;
    for (i, (key, value)) in object.0.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        json::put_text(key, out);
        out.push(':');
        match (&**key, text) {
            ("id", _) => json::put_number(id, out),
            ("name", _) => {
                is_named = true;
                json::put_text(name.unwrap_or(sender), out);
            }
            ("text", Some(text)) => json::put_text(text, out),
            _ => json::put_value(value, out),
        }
    }
    if let Some(name) = name.filter(|_| !is_named) {
        out.push_str(if object.0.is_empty() { "\"name\":" } else { ",\"name\":" });
        json::put_text(name, out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        message_bytes_max: 1_000,
        depth_max: 4,
        actions_max: 3,
        name_bytes_max: 10,
        recipients_max: 3,
    };

    #[test]
    fn tags_are_removed_as_the_regular_expression_would() {
        let cases = [
            ("<b>x</b>", "x"),
            ("1<2", "1<2"),
            ("a<>b", "a<>b"),
            ("<<b>c", "c"),
            ("<><b>", "<>"),
            ("<b", "<b"),
            ("<b>b>x", "b>x"),
            ("<\n>é<é>", "é"),
            ("<<>>", ">"),
        ];
        for (text, left) in cases {
            assert_eq!(without_tags(Cow::Borrowed(text)), left, "{text}");
        }
    }

    #[test]
    fn what_only_the_server_says_and_what_cannot_be_read_is_nothing() {
        for text in [
            "pong",
            "{}",
            r#"{"type":5}"#,
            r#"{"type":"id"}"#,
            r#"{"type":"userlist","users":[]}"#,
            r#"{"type":"rejectusername"}"#,
            r#"{"type":"message"}"#,
            r#"{"type":"message","text":5}"#,
            r#"{"type":"username"}"#,
            r#"{"type":"username","name":"<i>"}"#,
            r#"{"type":"username","name":"12345678901"}"#,
            r#"[{"type":"x"}]"#,
            r#"{"type":"x","a":[[[[]]]]}"#,
        ] {
            assert!(parse(text, &BOUNDS).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_relayed_is_as_it_came_but_for_who_sent_it() {
        let text = r#"{"type":"x","id":7,"a":{"b":1,"b":[2 ]},"name":"Eve","type":"wave","date":1e999}"#;
        let Some(Action::Relay { object, text: None }) = parse(text, &BOUNDS) else {
            panic!("it is relayed")
        };
        let mut out = String::new();
        put_relayed(&object, None, 3, None, "Bob", &mut out);
        assert_eq!(out, r#"{"type":"wave","id":3,"a":{"b":[2]},"name":"Bob","date":1e999}"#);
        let text = r#"{"type":"message","text":"<b>hi</b>","id":"x"}"#;
        let Some(Action::Relay { object, text: Some(said) }) = parse(text, &BOUNDS) else {
            panic!("it is said")
        };
        out.clear();
        put_relayed(&object, Some(&said), 3, Some("Bob"), "Bob", &mut out);
        assert_eq!(out, r#"{"type":"message","text":"hi","id":3,"name":"Bob"}"#);
    }
}
