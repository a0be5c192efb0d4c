//! `actions`: an array of actions in, `{"status", "version", "message", "data"}` out.

use super::{
    Bounds,
    action::{Access, Action, Deed, Join, Notice, Person, Problem, Request, Resume, Said, Visibility},
    json::{self, Text},
};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// Reads a message; each action that is in it, in order.
pub(super) fn decode<'a>(text: &'a str, bounds: &Bounds, requests: &mut Vec<Request<'a>>) {
    let refuse = |problem| Request { action: Err(problem), id: None };
    if text.len() > bounds.message_bytes_max as usize {
        return requests.push(refuse(Problem::TooLarge { limit: bounds.message_bytes_max }));
    }
    let found = if json::is_shallow(text, bounds.depth_max) { elements(text) } else { None };
    let Some(elements) = found else { return requests.push(refuse(Problem::NotJson)) };
    // What is no object is skipped.
    for element in elements.iter().filter(|element| element.get().starts_with('{')) {
        if requests.len() >= bounds.actions_max as usize {
            return requests.push(refuse(Problem::TooMany { limit: bounds.actions_max }));
        }
        if let Ok(fields) = serde_json::from_str::<Fields<'a>>(element.get()) {
            requests.push(Request { action: fields.action(element, bounds), id: fields.id });
        }
    }
}

/// The elements of a message, of which a bare object is one; `None` where there is nothing in it.
fn elements(text: &str) -> Option<Vec<&RawValue>> {
    let whole: &RawValue = serde_json::from_str(text).ok()?;
    let found = match whole.get().as_bytes().first() {
        Some(b'[') => json::elements(whole.get())?,
        Some(b'{') => vec![whole],
        _ => return None,
    };
    let is_empty_object =
        |raw: &RawValue| raw.get().starts_with('{') && raw.get()[1..].trim_start().starts_with('}');
    match &found[..] {
        [] => None,
        [only] if std::ptr::eq(only.get(), whole.get()) && is_empty_object(whole) => None,
        _ => Some(found),
    }
}

/// What an action may have, as it stands in the message. Of duplicate keys the last counts.
#[derive(Default)]
struct Fields<'a> {
    action: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    channel_name: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    token: Option<&'a RawValue>,
    uuid: Option<&'a RawValue>,
    visibility: Option<&'a RawValue>,
    join_or_create: Option<&'a RawValue>,
    since: Option<&'a RawValue>,
    epoch: Option<&'a RawValue>,
    limit: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields<'de>, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an action")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some(Text(key)) = map.next_key()? {
                    let place = match &*key {
                        "action" => &mut fields.action,
                        "id" => &mut fields.id,
                        "channel_name" => &mut fields.channel_name,
                        "message" => &mut fields.message,
                        "token" => &mut fields.token,
                        "uuid" => &mut fields.uuid,
                        "visibility" => &mut fields.visibility,
                        "join_or_create" => &mut fields.join_or_create,
                        "since" => &mut fields.since,
                        "epoch" => &mut fields.epoch,
                        "limit" => &mut fields.limit,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *place = Some(map.next_value()?);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Of)
    }
}

impl<'a> Fields<'a> {
    fn action(&self, object: &'a RawValue, bounds: &Bounds) -> Result<Action<'a>, Problem<'a>> {
        let Some(name) = self.action.and_then(json::text) else { return Err(Problem::UnknownAction) };
        let Some(kind) = kind_of(&name) else { return Ok(Action::Custom { name, object }) };
        let channel = || self.name("channel_name", self.channel_name, bounds);
        let uuid = || self.name("uuid", self.uuid, bounds);
        let govern = |deed| Ok(Action::Govern { channel: channel()?, deed });
        match kind {
            Kind::Authenticate => Ok(Action::Authenticate { token: self.token()? }),
            Kind::JoinChannel => Ok(Action::Join(self.join(bounds)?)),
            Kind::LeaveChannel => Ok(Action::Leave { channel: channel()? }),
            Kind::MessageChannel => {
                Ok(Action::Say { channel: channel()?, text: text_of("message", self.message)? })
            }
            Kind::MessageUser => Ok(Action::Tell { uuid: uuid()?, text: text_of("message", self.message)? }),
            Kind::InviteUser => govern(Deed::Invite(uuid()?)),
            Kind::UninviteUser => govern(Deed::Uninvite(uuid()?)),
            Kind::KickUser => govern(Deed::Kick(uuid()?)),
            Kind::SetVisibility => match self.visibility()? {
                Some(visibility) => govern(Deed::SetVisibility(visibility)),
                None => Err(Problem::Missing { field: "visibility" }),
            },
            Kind::CloseChannel => govern(Deed::Close),
            Kind::ListChannels => Ok(Action::ListChannels),
            Kind::ListMembers => Ok(Action::ListMembers { channel: channel()? }),
            Kind::SubscribePresence => Ok(Action::SubscribePresence { channel: channel()? }),
            Kind::History => Ok(Action::History {
                channel: channel()?,
                since: number_of("since", self.since)?,
                limit: number_of("limit", self.limit)?,
            }),
        }
    }

    fn join(&self, bounds: &Bounds) -> Result<Join<'a>, Problem<'a>> {
        let channel = match json::given(self.channel_name) {
            None => None,
            name => Some(self.name("channel_name", name, bounds)?).filter(|name| !name.is_empty()),
        };
        let resume = match (self.since, self.epoch) {
            (None, None) => None,
            (since, epoch) => {
                let epoch = match json::given(epoch) {
                    None => None,
                    epoch => Some(text_of("epoch", epoch)?),
                };
                Some(Resume { since: number_of("since", since)?, epoch })
            }
        };
        Ok(Join {
            channel,
            visibility: self.visibility()?.unwrap_or_default(),
            or_create: self.join_or_create()?,
            resume,
        })
    }

    /// PHP's and JavaScript's ways to say true and false are known.
    fn join_or_create(&self) -> Result<bool, Problem<'a>> {
        match json::given(self.join_or_create).map(RawValue::get) {
            None | Some("1" | "true" | "\"1\"") => Ok(true),
            Some("0" | "false" | "\"0\"") => Ok(false),
            Some(_) => Err(Problem::WrongType { field: "join_or_create", expected: "1 or 0" }),
        }
    }

    fn visibility(&self) -> Result<Option<Visibility>, Problem<'a>> {
        let Some(raw) = json::given(self.visibility) else { return Ok(None) };
        let found = json::text(raw).and_then(|text| Visibility::parse(&text));
        let expected = "public, protected or private";
        found.map(Some).ok_or(Problem::WrongType { field: "visibility", expected })
    }

    /// A page that has no session writes what JavaScript makes of nothing.
    fn token(&self) -> Result<Option<Cow<'a, str>>, Problem<'a>> {
        let token = text_of("token", self.token)?;
        Ok((!matches!(&*token, "" | "null" | "undefined")).then_some(token))
    }

    fn name(
        &self,
        field: &'static str,
        raw: Option<&'a RawValue>,
        bounds: &Bounds,
    ) -> Result<Cow<'a, str>, Problem<'a>> {
        if json::given(raw).is_none() {
            return Err(Problem::Missing { field });
        }
        match text_of(field, raw)? {
            name if name.len() > bounds.name_bytes_max as usize => {
                Err(Problem::TooLong { field, limit: bounds.name_bytes_max })
            }
            name => Ok(name),
        }
    }
}

/// A text, empty where there is none.
fn text_of<'a>(field: &'static str, raw: Option<&'a RawValue>) -> Result<Cow<'a, str>, Problem<'a>> {
    match json::given(raw) {
        None => Ok(Cow::Borrowed("")),
        Some(raw) => json::text(raw).ok_or(Problem::WrongType { field, expected: "a string" }),
    }
}

fn number_of<'a>(field: &'static str, raw: Option<&RawValue>) -> Result<Option<u64>, Problem<'a>> {
    match json::given(raw) {
        None => Ok(None),
        Some(raw) => json::whole(raw)
            .map(Some)
            .ok_or(Problem::WrongType { field, expected: "a whole number, 0 or more" }),
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Authenticate,
    JoinChannel,
    LeaveChannel,
    MessageChannel,
    MessageUser,
    InviteUser,
    UninviteUser,
    KickUser,
    SetVisibility,
    CloseChannel,
    ListChannels,
    ListMembers,
    SubscribePresence,
    History,
}

/// Whether a name is that of an action of this dialect, however it is spelled.
pub(super) fn is_known(name: &str) -> bool {
    kind_of(name).is_some()
}

/// Which action a name means, however it is spelled: `join_channel`, `join-channel`, `Join Channel`, `joinChannel`.
fn kind_of(name: &str) -> Option<Kind> {
    let (mut plain, mut len) = ([0; 17], 0);
    for byte in name.bytes().filter(|byte| !b"_- ".contains(byte)) {
        *plain.get_mut(len)? = byte.to_ascii_lowercase();
        len += 1;
    }
    Some(match &plain[..len] {
        b"authenticate" => Kind::Authenticate,
        b"joinchannel" => Kind::JoinChannel,
        b"leavechannel" => Kind::LeaveChannel,
        b"messagechannel" | b"sendchannel" => Kind::MessageChannel,
        b"messageuser" => Kind::MessageUser,
        b"inviteuser" => Kind::InviteUser,
        b"uninviteuser" => Kind::UninviteUser,
        b"kickuser" => Kind::KickUser,
        b"setvisibility" => Kind::SetVisibility,
        b"closechannel" => Kind::CloseChannel,
        b"listchannels" => Kind::ListChannels,
        b"listmembers" => Kind::ListMembers,
        b"subscribepresence" => Kind::SubscribePresence,
        b"history" => Kind::History,
        _ => return None,
    })
}

/// Writes a notice with the id of the request it answers; false for what this dialect does not say.
pub(super) fn encode(notice: &Notice<'_>, id: Option<&RawValue>, out: &mut String) -> bool {
    let (status, data) = match notice {
        Notice::Problem(_) => ("error", ""),
        Notice::Done { .. } => ("ok", ""),
        Notice::Data(data) => ("ok", *data),
        _ => return false,
    };
    out.push_str("{\"status\":\"");
    out.push_str(status);
    out.push_str("\",\"version\":\"1.0\",\"message\":\"");
    match notice {
        Notice::Problem(problem) => json::put_inside(&problem.to_string(), out),
        Notice::Done { message } => json::put_inside(message, out),
        _ => {}
    }
    out.push_str("\",\"data\":[");
    out.push_str(data);
    out.push(']');
    if let Some(id) = id {
        out.push_str(",\"id\":");
        json::put_value(id, out);
    }
    out.push('}');
    true
}

/// Writes a `new_message` object.
pub(crate) fn put_said(said: &Said<'_>, out: &mut String) {
    out.push_str("{\"action\":\"new_message\",\"channel_name\":");
    json::put_text(said.channel, out);
    out.push_str(",\"message\":\"[");
    for (part, end) in [(said.minute_of_day / 60, ':'), (said.minute_of_day % 60, ']')] {
        for digit in [part / 10, part % 10] {
            out.push(char::from_digit(u32::from(digit), 10).expect("an hour and a minute have two digits"));
        }
        out.push(end);
    }
    out.push_str(" &lt;");
    put_html(said.by.username, out);
    out.push_str("&gt;: ");
    put_html(said.text, out);
    out.push_str("\",\"uuid\":");
    json::put_text(said.by.uuid, out);
    out.push_str(",\"username\":");
    json::put_text(said.by.username, out);
    out.push_str(",\"text\":");
    json::put_text(said.text, out);
    out.push_str(",\"time\":");
    json::put_number(said.unix_ms, out);
    out.push_str(",\"seq\":");
    json::put_number(said.seq, out);
    out.push('}');
}

/// Writes text as HTML inside a JSON string: the original's pages put it into their document as it is.
fn put_html(text: &str, out: &mut String) {
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate() {
        let entity = match byte {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            b'\'' => "&#39;",
            _ => continue,
        };
        json::put_inside(&text[done..at], out);
        out.push_str(entity);
        done = at + 1;
    }
    json::put_inside(&text[done..], out);
}

/// Writes an object about a channel: `{"action":…,"channel_name":…`, without its end.
pub(crate) fn put_about(action: &str, channel: &str, out: &mut String) {
    out.push_str("{\"action\":");
    json::put_text(action, out);
    out.push_str(",\"channel_name\":");
    json::put_text(channel, out);
}

/// Writes a further field of an object.
pub(crate) fn put_field(name: &str, value: &str, out: &mut String) {
    out.push(',');
    json::put_text(name, out);
    out.push(':');
    json::put_text(value, out);
}

/// Writes an object about somebody in a channel.
pub(crate) fn put_person(
    action: &str,
    channel: &str,
    person: Person<'_>,
    access: Option<Access>,
    out: &mut String,
) {
    put_about(action, channel, out);
    put_field("uuid", person.uuid, out);
    put_field("username", person.username, out);
    if let Some(access) = access {
        put_field("access", access.as_str(), out);
    }
    out.push('}');
}

/// Writes what a newcomer, or one who comes again, is told of a channel.
pub(crate) fn put_joined(channel: &str, recovered: bool, epoch: &str, seq: u64, out: &mut String) {
    put_about("join_channel", channel, out);
    out.push_str(if recovered { ",\"recovered\":true" } else { ",\"recovered\":false" });
    put_field("epoch", epoch, out);
    out.push_str(",\"seq\":");
    json::put_number(seq, out);
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

    /// What is wrong with each action of a message, or that nothing is.
    fn problems(text: &str) -> Vec<String> {
        let mut requests = Vec::new();
        decode(text, &BOUNDS, &mut requests);
        let what =
            |request: &Request<'_>| request.action.as_ref().map_or_else(|p| p.to_string(), |_| String::new());
        requests.iter().map(what).collect()
    }

    fn only(text: &str) -> Action<'_> {
        let mut requests = Vec::new();
        decode(text, &BOUNDS, &mut requests);
        assert_eq!(requests.len(), 1, "{text}");
        requests.remove(0).action.unwrap()
    }

    #[test]
    fn what_holds_no_action_is_no_valid_json() {
        for text in [
            "",
            "[]",
            "{}",
            " [ ] ",
            "{ }",
            "0",
            "\"\"",
            "null",
            "false",
            "[1",
            "{\"action\":}",
            "NaN",
            "[NaN]",
            "\u{feff}[{}]",
            "[{}]\0",
            "[[[[[1]]]]]",
            "[{}] []",
            "{\"a\u{1}\":1}",
        ] {
            assert_eq!(problems(text), ["Did not receive valid JSON"], "{text:?}");
        }
        let large = format!("[{}]", " ".repeat(1_000));
        assert_eq!(
            problems(&large),
            ["The message is too large: at most 1000 bytes (json_message_bytes_max)"]
        );
    }

    #[test]
    fn elements_that_are_no_objects_are_skipped_and_those_beyond_the_limit_are_refused_as_one() {
        assert_eq!(problems("[1,\"x\",null,[]]"), [""; 0]);
        let unknown = "Invalid command, unable to process.  Check the 'action' variable is correct.";
        assert_eq!(problems("[{}, 5, {\"action\":7}]"), [unknown; 2]);
        let four = "[{\"action\":\"list_channels\"},{\"action\":\"x\"},1,{\"action\":\"y\"},{}]";
        assert_eq!(
            problems(four),
            ["", "", "", "Too many actions in one message: at most 3 (actions_per_message_max)"]
        );
    }

    #[test]
    fn names_match_across_spellings_and_the_last_of_duplicate_keys_counts() {
        for name in [
            "join_channel",
            "join-channel",
            "Join Channel",
            "joinChannel",
            "JOINCHANNEL",
            "join\\u005fchannel",
        ] {
            let text =
                format!(r#"{{"action":"nothing","channel_name":"a","action":"{name}","channel_name":"b"}}"#);
            assert!(
                matches!(only(&text), Action::Join(Join { channel: Some(name), .. }) if name == "b"),
                "{name}"
            );
        }
        assert!(matches!(
            only(r#"{"action":"send channel","channel_name":"","message":"x"}"#),
            Action::Say { .. }
        ));
        assert!(matches!(only(r#"{"action":"subscribe_presences"}"#), Action::Custom { .. }));
    }

    #[test]
    fn a_field_of_the_wrong_type_or_too_long_is_named() {
        let cases = [
            (r#""join_channel","channel_name":5"#, "Invalid value for 'channel_name': expected a string"),
            (
                r#""join_channel","join_or_create":"maybe""#,
                "Invalid value for 'join_or_create': expected 1 or 0",
            ),
            (
                r#""join_channel","visibility":"secret""#,
                "Invalid value for 'visibility': expected public, protected or private",
            ),
            (
                r#""history","channel_name":"a","since":-1"#,
                "Invalid value for 'since': expected a whole number, 0 or more",
            ),
            (
                r#""history","channel_name":"a","limit":1e999"#,
                "Invalid value for 'limit': expected a whole number, 0 or more",
            ),
            (
                r#""message_channel","channel_name":"a","message":{}"#,
                "Invalid value for 'message': expected a string",
            ),
            (r#""kick_user","channel_name":"a""#, "Missing field 'uuid'"),
            (r#""message_channel","channel_name":null"#, "Missing field 'channel_name'"),
            (r#""set_visibility","channel_name":"a""#, "Missing field 'visibility'"),
            (
                r#""leave_channel","channel_name":"12345678901""#,
                "The value of 'channel_name' is too long: at most 10 bytes (name_bytes_max)",
            ),
        ];
        for (fields, problem) in cases {
            assert_eq!(problems(&format!("[{{\"action\":{fields}}}]")), [problem], "{fields}");
        }
    }

    #[test]
    fn a_token_that_is_none_and_a_lone_surrogate_are_read_for_what_they_are() {
        for token in ["\"\"", "null", "\"null\"", "\"undefined\""] {
            let text = format!(r#"{{"action":"authenticate","token":{token}}}"#);
            assert!(matches!(only(&text), Action::Authenticate { token: None }), "{token}");
        }
        let text = r#"{"action":"message_user","uuid":"u","message":"a\ud800b\udc00\ud83d\ude00"}"#;
        let Action::Tell { text, .. } = only(text) else { panic!("it is for a user") };
        assert_eq!(text, "a\u{fffd}b\u{fffd}\u{1f600}");
    }

    #[test]
    fn a_reply_has_its_keys_in_order_and_the_id_as_it_was_but_for_duplicate_keys() {
        let id: &RawValue = serde_json::from_str(r#"{ "a" : [1, {"b":1,"b":2e0}], "a":{"c":1} }"#).unwrap();
        let mut out = String::new();
        assert!(encode(&Notice::Problem(&Problem::NoChannel("a\"\u{7}".into())), Some(id), &mut out));
        let wanted = r#"{"status":"error","version":"1.0","message":"Channel does not exist, a\"\u0007","data":[],"id":{"a":{"c":1}}}"#;
        assert_eq!(out, wanted);
        out.clear();
        assert!(!encode(&Notice::Pong, None, &mut out) && out.is_empty());
    }

    #[test]
    fn what_is_said_is_html_in_one_field_and_plain_in_another() {
        let by = Person { uuid: "u", username: "<al\"ice>" };
        let said =
            Said { channel: "c", by, text: "1<2 & 'x'\n", unix_ms: 5, minute_of_day: 14 * 60 + 5, seq: 7 };
        let mut out = String::new();
        put_said(&said, &mut out);
        let wanted = concat!(
            r#"{"action":"new_message","channel_name":"c","message":"[14:05] &lt;&lt;al&quot;ice&gt;&gt;: 1&lt;2 &amp; &#39;x&#39;\n","#,
            r#""uuid":"u","username":"<al\"ice>","text":"1<2 & 'x'\n","time":5,"seq":7}"#
        );
        assert_eq!(out, wanted);
    }
}
