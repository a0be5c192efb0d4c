//! What the application is asked, in JSON.

use crate::cli::text::put_json_string;
use sockeye::hub::{Caller, Place};
use std::{fmt::Write as _, net::SocketAddr};

/// What there is to know of a question.
pub(super) struct Question<'a> {
    /// No other has the same.
    pub(super) event: &'a str,
    pub(super) unix_ms: u64,
    pub(super) caller: &'a Caller<'a>,
    pub(super) address: Option<SocketAddr>,
    pub(super) kind: &'a Kind<'a>,
}

/// What it is about.
pub(super) enum Kind<'a> {
    /// An action of the `actions` dialect, as it came.
    Action { name: &'a str, json: &'a str },
    /// A message of the `envelope` dialect, as it came.
    Message { sender: &'a str, json: &'a str },
    /// Who a token is.
    Authenticate { token: &'a str },
    /// Whether somebody may join.
    Join { place: Place<'a> },
}

/// What the answer has to be one to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asks {
    Action,
    Message,
    Authenticate,
    Join,
}

impl Kind<'_> {
    pub(super) fn asks(&self) -> Asks {
        match self {
            Kind::Action { .. } => Asks::Action,
            Kind::Message { .. } => Asks::Message,
            Kind::Authenticate { .. } => Asks::Authenticate,
            Kind::Join { .. } => Asks::Join,
        }
    }
}

impl Asks {
    /// As it is written.
    pub(super) fn name(self) -> &'static str {
        match self {
            Asks::Action => "action",
            Asks::Message => "message",
            Asks::Authenticate => "authenticate",
            Asks::Join => "join",
        }
    }
}

impl Question<'_> {
    pub(super) fn to_json(&self) -> String {
        let Question { event, unix_ms, caller, address, kind } = self;
        let mut out = String::from("{\"kind\":");
        put_json_string(kind.asks().name(), &mut out);
        put_field("event", event, &mut out);
        let _ = write!(out, ",\"time\":{unix_ms}"); // into a string, as all that follow
        put_field("connection", &caller.id.to_string(), &mut out);
        match address {
            Some(address) => put_field("address", &address.to_string(), &mut out),
            None => out.push_str(",\"address\":null"),
        }
        put_field("dialect", caller.dialect.name(), &mut out);
        match caller.user {
            Some(user) => {
                out.push_str(",\"user\":{\"id\":");
                put_json_string(&user.uuid, &mut out);
                put_field("name", &user.name, &mut out);
                put_field("group", &user.group, &mut out);
                out.push('}');
            }
            None => out.push_str(",\"user\":null"),
        }
        let _ = write!(out, ",\"admin\":{}", caller.is_admin);
        match kind {
            Kind::Action { name, json } => {
                put_field("action", name, &mut out);
                let _ = write!(out, ",\"message\":{json}");
            }
            Kind::Message { sender, json } => {
                put_field("sender", sender, &mut out);
                let _ = write!(out, ",\"message\":{json}");
            }
            Kind::Authenticate { token } => put_field("token", token, &mut out),
            Kind::Join { place } => put_place(place, &mut out),
        }
        out.push('}');
        out
    }
}

fn put_field(name: &str, value: &str, out: &mut String) {
    let _ = write!(out, ",\"{name}\":");
    put_json_string(value, out);
}

fn put_place(place: &Place<'_>, out: &mut String) {
    let (kind, name) = match place {
        Place::Channel(name) => ("channel", *name),
        Place::Group(name) => ("group", *name),
        Place::Room(name) => ("room", *name),
        Place::Chat => ("chat", ""),
    };
    let _ = write!(out, ",\"place\":{{\"{kind}\":");
    put_json_string(name, out);
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye::{dialect::Dialect, hub::auth::Identity};

    #[test]
    fn a_question_has_all_there_is_to_know_and_the_message_as_it_came() {
        let alice = Identity { uuid: "7".into(), name: "A\"l".into(), group: "g".into() };
        let id = "3.1".parse().unwrap();
        let caller = Caller { id, dialect: Dialect::Actions, user: Some(&alice), is_admin: false };
        let kind = Kind::Action { name: "roll", json: r#"{"action":"roll", "n":1e999}"# };
        let address = Some("192.0.2.1:5000".parse().unwrap());
        let question = Question { event: "e-1", unix_ms: 12, caller: &caller, address, kind: &kind };
        let wanted = concat!(
            r#"{"kind":"action","event":"e-1","time":12,"connection":"3.1","address":"192.0.2.1:5000","#,
            r#""dialect":"actions","user":{"id":"7","name":"A\"l","group":"g"},"admin":false,"#,
            r#""action":"roll","message":{"action":"roll", "n":1e999}}"#
        );
        assert_eq!(question.to_json(), wanted);

        let caller = Caller { id, dialect: Dialect::Envelope, user: None, is_admin: false };
        let kind = Kind::Join { place: Place::Group("") };
        let question = Question { event: "e-2", unix_ms: 13, caller: &caller, address: None, kind: &kind };
        let wanted = concat!(
            r#"{"kind":"join","event":"e-2","time":13,"connection":"3.1","address":null,"dialect":"envelope","#,
            r#""user":null,"admin":false,"place":{"group":""}}"#
        );
        assert_eq!(question.to_json(), wanted);
    }
}
