//! What the application answers: judged strictly, on the thread that asked.

use super::{
    deeds::{Deed, Target},
    question::Asks,
};
use serde_json::value::RawValue;
use sockeye::hub::{
    Late, Reply,
    auth::{IDENTITY_BYTES_MAX, Identity},
};
use std::collections::BTreeMap;

/// An answer that makes sense.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answer {
    reply: Option<Reply>,
    allow: Option<bool>,
    identity: Option<Identity>,
    /// What is to be sent besides.
    pub(super) deeds: Vec<Deed>,
}

/// Objects of a reply, and messages to be sent, in one answer.
const PARTS_MAX: usize = 256;

type Members<'a> = BTreeMap<String, &'a RawValue>;

impl Answer {
    /// Reads an answer to a question of this kind, or says what is wrong with it.
    pub(super) fn parse(json: &[u8], asks: Asks) -> Result<Answer, String> {
        let text = std::str::from_utf8(json).map_err(|_| "the answer is not UTF-8".to_owned())?;
        let members: Members<'_> = serde_json::from_str(text).map_err(|error| {
            // What the error says itself may have a part of the answer in it, which is not for the log.
            format!("the answer is no JSON object: line {}, column {}", error.line(), error.column())
        })?;
        let mut answer = Answer::default();
        for (key, value) in members {
            let in_field = |why: String| format!("'{}': {why}", shown(&key));
            match (key.as_str(), asks) {
                ("reply", Asks::Action | Asks::Message) => {
                    answer.reply = Some(reply(value).map_err(in_field)?);
                }
                ("reply", Asks::Authenticate | Asks::Join) => {
                    answer.reply = Some(Reply::Error(string(value).map_err(in_field)?));
                }
                ("allow", Asks::Message | Asks::Authenticate | Asks::Join) => {
                    answer.allow = Some(boolean(value).map_err(in_field)?);
                }
                ("identity", Asks::Authenticate) => {
                    answer.identity = identity(value).map_err(in_field)?;
                }
                ("send", _) => answer.deeds = deeds(value).map_err(in_field)?,
                _ => {
                    return Err(format!("'{}' is no part of an answer to '{}'", shown(&key), asks.name()));
                }
            }
        }
        answer.check(asks)?;
        Ok(answer)
    }

    /// What 204 means.
    pub(super) fn of_nothing(asks: Asks) -> Result<Answer, String> {
        let answer = Answer::default();
        answer.check(asks)?;
        Ok(answer)
    }

    fn check(&self, asks: Asks) -> Result<(), String> {
        let wrong = match (asks, self) {
            (Asks::Join, Answer { allow: None, .. }) => "'allow' is missing, in an answer to 'join'",
            (Asks::Join, Answer { allow: Some(true), reply: Some(_), .. }) => {
                "'reply' says why somebody may not join, and 'allow' that it may"
            }
            (Asks::Authenticate, Answer { allow: Some(true), identity: None, .. }) => {
                "'identity' is missing, though 'allow' is true"
            }
            (Asks::Authenticate, Answer { allow: Some(false), identity: Some(_), .. }) => {
                "there is an 'identity', though 'allow' is false"
            }
            (Asks::Authenticate, Answer { identity: Some(_), reply: Some(_), .. }) => {
                "'reply' says why somebody is not known, and 'identity' who it is"
            }
            (Asks::Message, Answer { allow: Some(true), reply: Some(_), .. }) => {
                "give 'reply', or 'allow' to have the message distributed; to do both, send to the 'connection'"
            }
            _ => return Ok(()),
        };
        Err(wrong.to_owned())
    }

    /// What the hub is told.
    pub(super) fn to_late(&self, asks: Asks) -> Late {
        match (asks, &self.reply) {
            (Asks::Action, reply) => Late::Reply(reply.clone().unwrap_or(Reply::Done)),
            (Asks::Authenticate | Asks::Join, Some(Reply::Error(why))) => Late::Failed(why.clone()),
            (Asks::Authenticate, _) => Late::Identity(self.identity.clone()),
            (Asks::Message, Some(reply)) => Late::Reply(reply.clone()),
            (Asks::Message | Asks::Join, _) => Late::Allowed(self.allow == Some(true)),
        }
    }
}

/// A text is what went wrong; an object with an `action`, or an array of them, is what came of it.
fn reply(value: &RawValue) -> Result<Reply, String> {
    match value.get().as_bytes().first() {
        Some(b'"') => Ok(Reply::Error(string(value)?)),
        Some(b'[') => elements(value)?.into_iter().map(data).collect::<Result<_, _>>().map(Reply::Data),
        Some(b'{') => Ok(Reply::Data(vec![data(value)?])),
        _ => Err("expected an object with an 'action', an array of them, or what went wrong as a string"
            .to_owned()),
    }
}

fn data(value: &RawValue) -> Result<String, String> {
    let members = object(value)?;
    let action = members.get("action").ok_or("the object has no 'action'")?;
    string(action).map_err(|why| format!("'action': {why}"))?;
    Ok(value.get().to_owned())
}

fn identity(value: &RawValue) -> Result<Option<Identity>, String> {
    if value.get() == "null" {
        return Ok(None);
    }
    let mut members = object(value)?;
    let mut take = |key: &str| match members.remove(key) {
        Some(value) => name(value).map(Some).map_err(|why| format!("'{key}': {why}")),
        None => Ok(None),
    };
    let (id, uuid, name, group) = (take("id")?, take("uuid")?, take("name")?, take("group")?);
    if let Some(key) = members.keys().next() {
        return Err(format!("'{}' is no part of it: expected id, name and group", shown(key)));
    }
    let uuid = match (id, uuid) {
        (Some(_), Some(_)) => return Err("'id' and 'uuid' are the same: give one".to_owned()),
        (id, uuid) => id.or(uuid).filter(|id| !id.is_empty()).ok_or("the identity has no 'id'")?,
    };
    Ok(Some(Identity { name: name.unwrap_or_else(|| uuid.clone()), uuid, group: group.unwrap_or_default() }))
}

fn deeds(value: &RawValue) -> Result<Vec<Deed>, String> {
    let found = elements(value)?;
    found.iter().enumerate().map(|(at, value)| deed(value).map_err(|why| format!("[{at}]: {why}"))).collect()
}

fn deed(value: &RawValue) -> Result<Deed, String> {
    let mut members = object(value)?;
    let to = target(members.remove("to").ok_or("it has no 'to'")?).map_err(|why| format!("'to': {why}"))?;
    let message = members.remove("message").ok_or("it has no 'message'")?;
    // What is no text is passed on as JSON, where what reads it is a program.
    let text = match (&to, message.get().as_bytes().first()) {
        (_, Some(b'"')) => string(message)?,
        (Target::Channel(_) | Target::User(_), _) => return Err("'message': expected a string".to_owned()),
        _ => message.get().to_owned(),
    };
    let (mut from_id, mut from_name) = (String::new(), String::new());
    if let Some(from) = members.remove("from") {
        (from_id, from_name) = sender(from).map_err(|why| format!("'from': {why}"))?;
    }
    let action = match members.remove("action") {
        Some(action) if matches!(to, Target::Group(_) | Target::User(_)) => {
            name(action).map_err(|why| format!("'action': {why}"))?
        }
        Some(_) => return Err("'action' is for groups and users".to_owned()),
        None => "message".to_owned(),
    };
    match members.keys().next() {
        Some(key) => Err(format!("'{}' is no part of it: expected to, message, from and action", shown(key))),
        None => Ok(Deed { to, text, action, from_id, from_name }),
    }
}

fn target(value: &RawValue) -> Result<Target, String> {
    let members = object(value)?;
    let mut members = members.into_iter();
    let (Some((kind, value)), None) = (members.next(), members.next()) else {
        return Err("expected one of channel, group, user, room and connection".to_owned());
    };
    let name = name(value).map_err(|why| format!("'{}': {why}", shown(&kind)))?;
    Ok(match kind.as_str() {
        "channel" => Target::Channel(name),
        "group" => Target::Group(name),
        "user" => Target::User(name),
        "room" => Target::Room(name),
        "connection" => Target::Connection(name.parse().map_err(|error| format!("'connection': {error}"))?),
        _ => {
            let kind = shown(&kind);
            return Err(format!("'{kind}': expected one of channel, group, user, room and connection"));
        }
    })
}

/// A name, or an object of id and name.
fn sender(value: &RawValue) -> Result<(String, String), String> {
    if value.get().starts_with('"') {
        return Ok((String::new(), name(value)?));
    }
    let mut members = object(value)?;
    let mut take = |key: &str| members.remove(key).map(name).transpose();
    let (id, name) = (take("id")?.unwrap_or_default(), take("name")?.unwrap_or_default());
    match members.keys().next() {
        Some(key) => Err(format!("'{}' is no part of it: expected id and name", shown(key))),
        None => Ok((id, name)),
    }
}

fn object(value: &RawValue) -> Result<Members<'_>, String> {
    serde_json::from_str(value.get()).map_err(|_| "expected an object".to_owned())
}

fn elements(value: &RawValue) -> Result<Vec<&RawValue>, String> {
    let found: Vec<_> = serde_json::from_str(value.get()).map_err(|_| "expected an array".to_owned())?;
    match found.len() {
        0..=PARTS_MAX => Ok(found),
        len => Err(format!("{len} of them (at most {PARTS_MAX})")),
    }
}

fn string(value: &RawValue) -> Result<String, String> {
    serde_json::from_str(value.get()).map_err(|_| "expected a string".to_owned())
}

fn boolean(value: &RawValue) -> Result<bool, String> {
    serde_json::from_str(value.get()).map_err(|_| "expected true or false".to_owned())
}

fn name(value: &RawValue) -> Result<String, String> {
    match string(value)? {
        name if name.len() <= IDENTITY_BYTES_MAX => Ok(name),
        name => Err(format!("{} bytes (at most {IDENTITY_BYTES_MAX})", name.len())),
    }
}

/// As much of a key as says which one it is.
fn shown(key: &str) -> String {
    key.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late(json: &str, asks: Asks) -> Late {
        Answer::parse(json.as_bytes(), asks).unwrap_or_else(|why| panic!("{why}: {json}")).to_late(asks)
    }

    #[test]
    fn what_is_answered_is_what_is_done() {
        let data =
            |objects: &[&str]| Late::Reply(Reply::Data(objects.iter().map(|&o| o.to_owned()).collect()));
        let one = r#"{"action":"a", "n":1e999}"#;
        for asks in [Asks::Action, Asks::Message] {
            assert_eq!(late(&format!(r#"{{"reply":{one}}}"#), asks), data(&[one]));
            assert_eq!(late(&format!(r#"{{"reply":[{one},{one}]}}"#), asks), data(&[one, one]));
            assert_eq!(late(r#"{"reply":"no"}"#, asks), Late::Reply(Reply::Error("no".into())));
        }
        assert_eq!(late("{}", Asks::Action), Late::Reply(Reply::Done));
        assert_eq!(late("{}", Asks::Message), Late::Allowed(false));
        assert_eq!(late(r#"{"allow":true}"#, Asks::Message), Late::Allowed(true));
        assert_eq!(
            late(r#"{"allow":false,"reply":"members only"}"#, Asks::Join),
            Late::Failed("members only".into())
        );
        for nobody in ["{}", r#"{"allow":false}"#, r#"{"identity":null}"#] {
            assert_eq!(late(nobody, Asks::Authenticate), Late::Identity(None));
        }
        let alice = |name: &str| Identity { uuid: "7".into(), name: name.into(), group: String::new() };
        assert_eq!(late(r#"{"identity":{"id":"7"}}"#, Asks::Authenticate), Late::Identity(Some(alice("7"))));
        let named = r#"{"allow":true,"identity":{"uuid":"7","name":"Alice","group":""}}"#;
        assert_eq!(late(named, Asks::Authenticate), Late::Identity(Some(alice("Alice"))));
    }

    #[test]
    fn what_is_to_be_sent_says_to_whom_and_by_whom() {
        let json = r#"{"send":[{"to":{"channel":"c"},"message":"hi","from":"house"},
            {"to":{"group":"g"},"message":{"x":[1]},"action":"moved","from":{"id":"1","name":"n"}},
            {"to":{"connection":"4.2"},"message":["raw"]}]}"#;
        let deed = |to, text: &str, action: &str, from_id: &str, from_name: &str| Deed {
            to,
            text: text.into(),
            action: action.into(),
            from_id: from_id.into(),
            from_name: from_name.into(),
        };
        let wanted = [
            deed(Target::Channel("c".into()), "hi", "message", "", "house"),
            deed(Target::Group("g".into()), r#"{"x":[1]}"#, "moved", "1", "n"),
            deed(Target::Connection("4.2".parse().unwrap()), r#"["raw"]"#, "message", "", ""),
        ];
        assert_eq!(Answer::parse(json.as_bytes(), Asks::Action).unwrap().deeds, wanted);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let many = format!(r#"{{"send":[{}]}}"#, [r#"{"to":{"room":"r"},"message":"m"}"#; 257].join(","));
        let long = format!(r#"{{"send":[{{"to":{{"room":"{}"}},"message":"m"}}]}}"#, "r".repeat(1_025));
        for (asks, json, why) in [
            (Asks::Action, "", "no JSON object"),
            (Asks::Action, "[]", "no JSON object"),
            (Asks::Action, "{} x", "no JSON object"),
            (Asks::Action, r#"{"replay":{}}"#, "'replay' is no part"),
            (Asks::Action, r#"{"allow":true}"#, "'allow' is no part of an answer to 'action'"),
            (Asks::Action, r#"{"reply":5}"#, "'reply': expected"),
            (Asks::Action, r#"{"reply":{"x":1}}"#, "no 'action'"),
            (Asks::Action, r#"{"reply":[{"action":1}]}"#, "expected a string"),
            (Asks::Action, r#"{"send":{}}"#, "expected an array"),
            (Asks::Action, r#"{"send":[{"to":{"room":"r"}}]}"#, "[0]: it has no 'message'"),
            (Asks::Action, r#"{"send":[{"to":{},"message":"m"}]}"#, "'to': expected one of"),
            (Asks::Action, r#"{"send":[{"to":{"all":"x"},"message":"m"}]}"#, "'all'"),
            (
                Asks::Action,
                r#"{"send":[{"to":{"channel":"c"},"message":{}}]}"#,
                "'message': expected a string",
            ),
            (Asks::Action, r#"{"send":[{"to":{"connection":"x"},"message":"m"}]}"#, "two numbers"),
            (Asks::Action, r#"{"send":[{"to":{"room":"r"},"message":"m","form":"x"}]}"#, "'form'"),
            (Asks::Action, &many, "257 of them (at most 256)"),
            (Asks::Action, &long, "1025 bytes (at most 1024)"),
            (Asks::Join, "{}", "'allow' is missing"),
            (Asks::Join, r#"{"allow":1}"#, "expected true or false"),
            (Asks::Authenticate, r#"{"allow":true}"#, "'identity' is missing"),
            (Asks::Authenticate, r#"{"identity":{"name":"x"}}"#, "no 'id'"),
            (Asks::Authenticate, r#"{"identity":{"id":"x","admin":true}}"#, "'admin' is no part"),
            (Asks::Message, r#"{"allow":true,"reply":"x"}"#, "give 'reply', or 'allow'"),
        ] {
            let found = Answer::parse(json.as_bytes(), asks).unwrap_err();
            assert!(found.contains(why), "{why:?} is in {found:?}");
        }
        assert!(Answer::of_nothing(Asks::Join).is_err() && Answer::of_nothing(Asks::Action).is_ok());
    }
}
