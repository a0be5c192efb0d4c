//! `envelope`: one object with action, message, group, user and recipients, the same both ways.

use super::{
    Bounds,
    action::{Action, Notice, Post, Problem, Recipient, RecipientKind, Request},
    json,
};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Reads a message; nothing where it is none.
pub(super) fn decode<'a>(text: &'a str, bounds: &Bounds, requests: &mut Vec<Request<'a>>) {
    if let Some(post) = parse(text, bounds) {
        requests.push(Request { action: Ok(Action::Post(post)), id: None });
    }
}

/// Reads a message; `None` where it is none, or past a limit.
pub(crate) fn parse<'a>(text: &'a str, bounds: &Bounds) -> Option<Post<'a>> {
    if text.len() > bounds.message_bytes_max as usize || !json::is_shallow(text, bounds.depth_max) {
        return None;
    }
    let members = json::members(text)?;
    let field = |name: &str| json::given(last_of(&members, name));
    let text_of = |name: &str| match field(name) {
        None => Some(Cow::Borrowed("")),
        Some(raw) => json::text(raw),
    };
    let (recipients, malformed_recipients) = recipients(field("recipients"), bounds)?;
    let post = Post {
        action: text_of("action")?,
        message: text_of("message")?,
        group: text_of("groupid")?,
        user: text_of("userid")?,
        recipients,
        malformed_recipients,
    };
    let is_short = |name: &str| name.len() <= bounds.name_bytes_max as usize;
    (is_short(&post.group) && is_short(&post.user)).then_some(post)
}

/// Keys match in any case, so the same one may be there in several; the last one counts.
fn last_of<'a>(members: &[(Cow<'a, str>, &'a RawValue)], name: &str) -> Option<&'a RawValue> {
    members.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

/// The recipients, and whether there are some among them that are none; `None` where it is no array, or one of more
/// elements than may be named, of which none is taken apart then.
fn recipients<'a>(raw: Option<&'a RawValue>, bounds: &Bounds) -> Option<(Vec<Recipient<'a>>, bool)> {
    let Some(raw) = raw else { return Some((Vec::new(), false)) };
    let elements = json::elements(raw.get())?;
    if elements.len() > bounds.recipients_max as usize {
        return None;
    }
    let (mut found, mut malformed) = (Vec::with_capacity(elements.len()), false);
    for element in elements {
        match recipient(element) {
            Some(recipient) => found.push(recipient),
            None => malformed = true,
        }
    }
    Some((found, malformed))
}

fn recipient(raw: &RawValue) -> Option<Recipient<'_>> {
    let members = json::members(raw.get())?;
    let field = |name: &str| last_of(&members, name);
    let written = field("type")?;
    let kind = kind_of(written)?;
    let value = match json::given(field("value")) {
        None => Cow::Borrowed(""),
        Some(raw) => json::text(raw)?,
    };
    Some(Recipient { kind, written, value })
}

/// `None` where it is neither a string nor a number.
fn kind_of(raw: &RawValue) -> Option<RecipientKind> {
    let name = match raw.get().as_bytes() {
        [b'"', ..] => json::text(raw)?,
        [b'-' | b'0'..=b'9', ..] => Cow::Borrowed(match json::whole(raw) {
            Some(0) => "excludeuser",
            Some(1) => "group",
            Some(2) => "user",
            _ => "",
        }),
        _ => return None,
    };
    let known = [
        ("group", RecipientKind::Group),
        ("user", RecipientKind::User),
        ("allbutuser", RecipientKind::Excluded),
        ("excludeuser", RecipientKind::Excluded),
        ("all", RecipientKind::All),
    ];
    let found = known.into_iter().find(|(word, _)| name.eq_ignore_ascii_case(word));
    Some(found.map_or(RecipientKind::Unknown, |(_, kind)| kind))
}

/// Writes a notice; false for what this dialect does not say.
pub(super) fn encode(notice: &Notice<'_>, out: &mut String) -> bool {
    match notice {
        Notice::Post { post, user } => put_post(post, user, out),
        Notice::Earlier { group, posts } => put_earlier(group, posts, out),
        // Of its own the dialect says nothing that is wrong; only an application does.
        Notice::Problem(problem @ (Problem::Other(_) | Problem::TooManyPending { .. })) => {
            put_head(ERROR, out);
            json::put_inside(&problem.to_string(), out);
            put_tail("", "", out);
            out.push_str("]}");
        }
        _ => return false,
    }
    true
}

fn put_post(post: &Post<'_>, user: &str, out: &mut String) {
    put_head(&post.action, out);
    json::put_inside(&post.message, out);
    put_tail(&post.group, user, out);
    for (i, recipient) in post.recipients.iter().enumerate() {
        out.push_str(if i > 0 { ",{\"type\":" } else { "{\"type\":" });
        json::put_value(recipient.written, out);
        out.push_str(",\"value\":");
        json::put_text(&recipient.value, out);
        out.push('}');
    }
    out.push_str("]}");
}

/// What was said before is an array of objects, in a string.
fn put_earlier(group: &str, posts: &str, out: &mut String) {
    put_head(INITIAL_MESSAGES, out);
    out.push('[');
    json::put_inside(posts, out);
    out.push(']');
    put_tail(group, "", out);
    out.push_str("]}");
}

fn put_head(action: &str, out: &mut String) {
    out.push_str("{\"action\":");
    json::put_text(action, out);
    out.push_str(",\"message\":\"");
}

fn put_tail(group: &str, user: &str, out: &mut String) {
    out.push_str("\",\"groupId\":");
    json::put_text(group, out);
    out.push_str(",\"userId\":");
    json::put_text(user, out);
    out.push_str(",\"recipients\":[");
}

/// The action by which a client asks for what was said before, and is told of it.
pub(crate) const INITIAL_MESSAGES: &str = "initialmessages";

/// The action of a message that says what went wrong in the application.
const ERROR: &str = "error";

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        message_bytes_max: 1_000,
        depth_max: 4,
        actions_max: 3,
        name_bytes_max: 10,
        recipients_max: 8,
    };

    fn again(text: &str) -> Option<String> {
        let post = parse(text, &BOUNDS)?;
        let mut out = String::new();
        assert!(encode(&Notice::Post { post: &post, user: "me" }, &mut out));
        Some(out)
    }

    #[test]
    fn keys_match_in_any_case_and_what_goes_out_has_all_five() {
        let all =
            r#"{"ACTION":"a","Message":"{\"x\":1}","groupID":"g","userid":"you","x":[{}],"Recipients":null}"#;
        let wanted = r#"{"action":"a","message":"{\"x\":1}","groupId":"g","userId":"me","recipients":[]}"#;
        assert_eq!(again(all).as_deref(), Some(wanted));
        let none = r#"{"action":"","message":"","groupId":"","userId":"me","recipients":[]}"#;
        assert_eq!(again("{}").as_deref(), Some(none));
        for twice in [r#"{"message":"1","MESSAGE":"2"}"#, r#"{"message":"1","MESSAGE":"1","message":"2"}"#] {
            let wanted = none.replace(r#""message":""#, r#""message":"2"#);
            assert_eq!(again(twice), Some(wanted), "the last one counts");
        }
    }

    #[test]
    fn recipients_are_words_in_any_case_or_numbers_and_what_is_neither_is_left_out() {
        let text = r#"{"recipients":[{"type":"GROUP","value":"a"},{"TYPE":2,"Value":"b"},{"type":0,"value":"c"},
            {"type":"AllButUser","value":"d"},{"type":"all"},{"type":"friend","value":"e"},{"type":[],"value":"f"},5]}"#;
        let post = parse(text, &BOUNDS).unwrap();
        let kinds: Vec<_> = post.recipients.iter().map(|recipient| recipient.kind).collect();
        use RecipientKind::{All, Excluded, Group, Unknown, User};
        assert_eq!(kinds, [Group, User, Excluded, Excluded, All, Unknown]);
        assert!(post.malformed_recipients);
        assert!(again(text).unwrap().ends_with(concat!(
            r#""recipients":[{"type":"GROUP","value":"a"},{"type":2,"value":"b"},{"type":0,"value":"c"},"#,
            r#"{"type":"AllButUser","value":"d"},{"type":"all","value":""},{"type":"friend","value":"e"}]}"#
        )));
    }

    #[test]
    fn more_recipients_than_may_be_named_are_no_message_whatever_they_are() {
        let parsed = |recipients: &[&str]| {
            parse(&format!(r#"{{"recipients":[{}]}}"#, recipients.join(",")), &BOUNDS).is_some()
        };
        for recipient in [r#"{"type":1}"#, "5"] {
            assert!(parsed(&[recipient; 8]) && !parsed(&[recipient; 9]), "{recipient}");
        }
    }

    #[test]
    fn what_is_no_message_is_nothing() {
        for text in [
            "",
            "[]",
            "1",
            "{",
            r#"{"action":1}"#,
            r#"{"message":{}}"#,
            r#"{"recipients":{}}"#,
            r#"{"recipients":"all"}"#,
            r#"{"groupId":"12345678901"}"#,
            r#"{"x":[[[[]]]]}"#,
            "{\"a\u{1}\":1}",
        ] {
            assert!(parse(text, &BOUNDS).is_none(), "{text}");
        }
        let nine = format!(r#"{{"recipients":[{}]}}"#, [r#"{"type":1}"#; 9].join(","));
        assert!(parse(&nine, &BOUNDS).is_none());
    }

    #[test]
    fn earlier_posts_are_an_array_inside_a_string() {
        let mut out = String::new();
        encode(&Notice::Earlier { group: "g", posts: r#"{"a":"\n"},{}"# }, &mut out);
        let wanted = r#"{"action":"initialmessages","message":"[{\"a\":\"\\n\"},{}]","groupId":"g","userId":"","recipients":[]}"#;
        assert_eq!(out, wanted);
    }
}
