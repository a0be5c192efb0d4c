//! The API: what is asked for by which method at which path, whether it may be, and what is done. `openapi.json` says the
//! same for others; a test holds the two together.

use super::{
    Operator, Reins,
    body::{Fields, check_head},
    fresh, json,
    listing::{Kind, PAGE_MAX},
    problem::Problem,
};
use log::Level;
use serde_json::{Value, json};
use signal_hook::{consts::SIGHUP, low_level::raise};
use sockeye::{
    Answer, CloseCode, ConnId, Context, Fanout, HttpRequest, Message,
    hub::{Application, HubContext, Person, Place, Post, Recipient, RecipientKind, auth::ADMIN_ID},
};

/// What the path of every call begins with.
pub(super) const ROOT: &str = "/api/";
const DESCRIPTION: &str = include_str!("openapi.json");

/// What can be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Call {
    Describe,
    List(Kind),
    ListConnections,
    ShowConnection,
    Publish,
    Kick,
    Drain,
    Reload,
}

/// Every method and path; `{id}` is one segment of it.
const ROUTES: [(&str, &str, Call); 10] = [
    ("GET", "/api/v1/openapi.json", Call::Describe),
    ("GET", "/api/v1/channels", Call::List(Kind::Channels)),
    ("GET", "/api/v1/groups", Call::List(Kind::Groups)),
    ("GET", "/api/v1/rooms", Call::List(Kind::Rooms)),
    ("GET", "/api/v1/connections", Call::ListConnections),
    ("GET", "/api/v1/connections/{id}", Call::ShowConnection),
    ("POST", "/api/v1/publish", Call::Publish),
    ("POST", "/api/v1/kick", Call::Kick),
    ("POST", "/api/v1/drain", Call::Drain),
    ("POST", "/api/v1/reload", Call::Reload),
];

impl Call {
    /// What a request asks for, and the segment that stands for `{id}`.
    fn of<'p>(method: &str, path: &'p str) -> Result<(Call, &'p str), Problem> {
        let found = ROUTES.iter().find_map(|&(wanted, template, call)| match template.strip_suffix("{id}") {
            Some(parent) => {
                let id = path.strip_prefix(parent).filter(|id| !id.is_empty() && !id.contains('/'))?;
                Some((wanted, call, id))
            }
            None => (template == path).then_some((wanted, call, "")),
        });
        match found {
            None => Err(Problem::new(404, "not_found", "there is no such call: see /api/v1/openapi.json")),
            Some((wanted, call, id)) if wanted == method || (wanted == "GET" && method == "HEAD") => {
                Ok((call, id))
            }
            Some(("GET", ..)) => Err(Problem::method("GET, HEAD")),
            Some((wanted, ..)) => Err(Problem::method(wanted)),
        }
    }

    /// Whether it comes with a body; of these, whether one has to be there.
    fn body(self) -> Option<Body> {
        match self {
            Call::Publish | Call::Kick => Some(Body::Needed),
            Call::Drain | Call::Reload => Some(Body::Optional),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Body {
    Needed,
    Optional,
}

/// What came of a call.
type Outcome = Result<(u16, Value), Problem>;

impl<A: Application> Operator<A> {
    pub(super) fn call_api(&mut self, cx: &mut Context<'_>, id: ConnId, request: &HttpRequest<'_>) -> Answer {
        match self.answer(cx, id, request) {
            Ok(answer) => answer,
            Err(problem) => Answer::Respond(problem.into()),
        }
    }

    fn answer(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        request: &HttpRequest<'_>,
    ) -> Result<Answer, Problem> {
        let called = Call::of(request.method(), request.path());
        if let Ok((Call::Describe, _)) = called {
            return Ok(Answer::Respond(fresh(200, "application/json", DESCRIPTION)));
        }
        let address = cx.peer(id).and_then(|peer| peer.address);
        self.guard.check(cx.now().tick, address.map(|address| address.ip()), request).inspect_err(
            |problem| {
                let address = address.map_or_else(|| "unix".to_owned(), |address| address.to_string());
                // That nothing is listened to is said once, by the guard.
                let level = if problem.status == 429 { Level::Debug } else { Level::Warn };
                log::log!(level, connection:% = id, address:% = address, status = problem.status; "administration refused");
            },
        )?;
        let (call, segment) = called?;
        let bytes_max = cx.limits().actions.json_message_bytes_max;
        let outcome = match (call.body(), request.body()) {
            (None, _) => self.ask(cx, call, segment, request),
            (Some(body), None) => {
                check_head(request, bytes_max, body == Body::Optional)?;
                return Ok(Answer::AwaitBody { bytes_max });
            }
            (Some(_), Some(body)) => {
                let outcome = self.carry_out(cx, call, body);
                let status = outcome.as_ref().map_or_else(|problem| problem.status, |(status, _)| *status);
                log::info!(connection:% = id, path = request.path(), status; "administered");
                outcome
            }
        };
        outcome.map(|(status, value)| Answer::Respond(json(status, &value)))
    }

    /// What changes nothing.
    fn ask(&self, cx: &Context<'_>, call: Call, segment: &str, request: &HttpRequest<'_>) -> Outcome {
        let value = match call {
            Call::List(kind) => self.list_places(kind, request)?,
            Call::ListConnections => self.list_connections(cx, request)?,
            _ => {
                let open = segment.parse().ok().filter(|&id| is_open(cx, id));
                let id = open.ok_or_else(|| not_found("id", "no open connection has this id"))?;
                self.connection(cx, id).0
            }
        };
        Ok((200, value))
    }

    /// What changes something.
    fn carry_out(&mut self, cx: &mut Context<'_>, call: Call, body: &[u8]) -> Outcome {
        match call {
            Call::Publish => self.publish(cx, body),
            Call::Kick => self.kick(cx, body),
            Call::Drain => self.drain(body),
            _ => self.reload(body),
        }
    }

    // ------------------------------------------------------------------ publish

    fn publish(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Outcome {
        let limits = cx.limits().actions;
        let fields = Fields::parse(body, &["channel", "group", "room", "user", "text", "from", "action"])?;
        let kind = fields.exactly_one(&["channel", "group", "room", "user"])?;
        let name = fields.text(kind, limits.name_bytes_max)?.unwrap_or_default();
        let text = fields.text("text", limits.json_message_bytes_max)?;
        let text = text.ok_or_else(|| Problem::of("text", "missing_field", "text says what to publish"))?;
        if text.trim().is_empty() {
            return Err(Problem::of("text", "invalid_value", "text is blank: there is nothing to say"));
        }
        let action = fields.text("action", limits.name_bytes_max)?;
        if action.is_some() && !matches!(kind, "group" | "user") {
            let message = "only messages to groups and users have an action";
            return Err(Problem::of("action", "conflict", message));
        }
        let from = fields.object("from", "from.", &["id", "name"])?;
        if from.is_some() && kind == "room" {
            let message = "rooms hear the text alone, and not whom it is from: leave from out";
            return Err(Problem::of("from", "conflict", message));
        }
        let said = |field| from.as_ref().map(|from| from.text(field, limits.name_bytes_max)).transpose();
        let (from_id, from_name) = (said("id")?.flatten(), said("name")?.flatten());
        let by =
            Person { uuid: from_id.unwrap_or(ADMIN_ID), username: from_name.or(from_id).unwrap_or(ADMIN_ID) };
        let letter = Letter { by, action: action.unwrap_or("message"), text };
        let fanout = match kind {
            "channel" => {
                self.expect_place(Place::Channel(name), "channel")?;
                self.hub.act(cx, |_, hub| hub.say(name, by, text))
            }
            "room" => {
                self.expect_place(Place::Room(name), "room")?;
                self.hub.act(cx, |_, hub| hub.send_to_room(name, Message::Text(text)))
            }
            // What is said to a group is kept for who comes later, also where nobody is there yet.
            "group" => self.hub.act(cx, |_, hub| letter.to_group(name, hub)),
            _ => self.tell_user(cx, name, &letter)?,
        };
        let delivered = fanout.queued + fanout.backlogged;
        Ok((200, json!({ "delivered": delivered, "refused": fanout.refused })))
    }

    fn expect_place(&self, place: Place<'_>, field: &str) -> Result<(), Problem> {
        match self.hub.members(place) {
            Some(_) => Ok(()),
            None => Err(not_found(field, &format!("there is no {field} of this name"))),
        }
    }

    /// In the dialects in which there are users, to those who are connected.
    fn tell_user(
        &mut self,
        cx: &mut Context<'_>,
        user: &str,
        letter: &Letter<'_>,
    ) -> Result<Fanout, Problem> {
        let (mut is_known, mut is_named) = (false, false);
        for id in self.hub.connections_of(user) {
            match self.hub.participant(id) {
                known if known.alias == Some(user) => is_named = true,
                _ => is_known = true,
            }
        }
        if !is_known && !is_named {
            return Err(not_found("user", "no user of this id is connected"));
        }
        Ok(self.hub.act(cx, |_, hub| {
            let mut fanout = Fanout::default();
            let mut add = |heard: Fanout| {
                fanout.queued += heard.queued;
                fanout.backlogged += heard.backlogged;
                fanout.refused += heard.refused;
            };
            if is_known {
                add(hub.tell(user, letter.by, letter.text));
            }
            if is_named {
                add(letter.to_user(user, hub));
            }
            fanout
        }))
    }

    // ------------------------------------------------------------------ kick

    fn kick(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Outcome {
        let limits = cx.limits().actions;
        let fields = Fields::parse(body, &["connection", "user", "code", "reason"])?;
        let kind = fields.exactly_one(&["connection", "user"])?;
        let name = fields.text(kind, limits.name_bytes_max)?.unwrap_or_default();
        let code = fields.number("code", 0..=u32::from(u16::MAX))?;
        let code = code.map_or(CloseCode::POLICY, |code| CloseCode::new(code as u16));
        if !code.is_sendable() {
            let message = "code is to be one that a Close may have: 1000 to 1003, 1007 to 1014, 3000 to 4999";
            return Err(Problem::of("code", "invalid_value", message));
        }
        let reason = fields.text("reason", REASON_BYTES_MAX)?.unwrap_or("closed by the administrator");
        let ids = match kind {
            "connection" => name.parse().ok().into_iter().filter(|&id| is_open(cx, id)).collect(),
            _ => {
                let of_user = self.hub.connections_of(name);
                of_user.filter(|&id| is_open(cx, id)).collect::<Vec<ConnId>>()
            }
        };
        if ids.is_empty() {
            return Err(match kind {
                "connection" => not_found(kind, "no open connection has this id"),
                _ => not_found(kind, "no user of this id is connected"),
            });
        }
        let closed = ids.iter().take(KICKED_MAX).filter(|&&id| cx.close(id, code, reason)).count();
        Ok((200, json!({ "closed": closed, "remaining": ids.len().saturating_sub(KICKED_MAX) })))
    }

    // ------------------------------------------------------------------ the server

    fn drain(&mut self, body: &[u8]) -> Outcome {
        let fields = Fields::parse(body, &["within_ms"])?;
        let within_ms = fields.number("within_ms", 0..=DRAIN_MS_MAX)?;
        let Reins { ending, voice, .. } = self.reins()?;
        let within_ms = within_ms.unwrap_or_else(|| ending.drain_ms());
        voice.say(
            Level::Info,
            format_args!("sockeye: stopping, as the administrator asks"),
            "stopping",
            &[("by", "administrator".into()), ("within_ms", within_ms.into())],
        );
        ending.begin(within_ms);
        Ok((202, json!({ "status": "draining", "within_ms": within_ms })))
    }

    fn reload(&mut self, body: &[u8]) -> Outcome {
        Fields::parse(body, &[])?;
        if !self.reins()?.reads_again {
            // Nobody waits for the signal, which would end the process.
            let message = "there is no file to be read again: the server was started without --config, --users, \
                           --jwt-alg and --tls-cert";
            return Err(Problem::new(409, "nothing_to_reload", message));
        }
        match raise(SIGHUP) {
            Ok(()) => Ok((202, json!({ "status": "reloading" }))),
            Err(error) => Err(Problem::new(500, "failed", format!("cannot say so to myself: {error}"))),
        }
    }

    fn reins(&self) -> Result<&Reins, Problem> {
        self.reins.as_ref().ok_or_else(|| Problem::new(503, "starting", "the server is not up yet"))
    }
}

/// What is published.
struct Letter<'a> {
    by: Person<'a>,
    action: &'a str,
    text: &'a str,
}

impl Letter<'_> {
    fn to_group(&self, group: &str, hub: &mut HubContext<'_, '_>) -> Fanout {
        hub.post(&Post::to_group(group, self.action, self.text), self.by.uuid)
    }

    fn to_user(&self, user: &str, hub: &mut HubContext<'_, '_>) -> Fanout {
        let written = serde_json::from_str("\"user\"").expect("it is JSON");
        let recipient = Recipient { kind: RecipientKind::User, written, value: user.into() };
        let post = Post { recipients: vec![recipient], ..Post::to_group("", self.action, self.text) };
        hub.post(&post, self.by.uuid)
    }
}

/// Connections of a user that one request closes: closing many takes a while.
const KICKED_MAX: usize = PAGE_MAX as usize;
/// RFC 6455 §5.5
const REASON_BYTES_MAX: u32 = 123;
/// A day.
const DRAIN_MS_MAX: u32 = 86_400_000;

fn is_open(cx: &Context<'_>, id: ConnId) -> bool {
    cx.connection_at(id.index()) == Some(id)
}

fn not_found(field: &str, message: &str) -> Problem {
    Problem::of(field, "not_found", message).status(404)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_is_described_and_nothing_else_is() {
        let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
        let described: BTreeSet<_> = description["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
                methods.map(move |method| (method.to_uppercase(), path.clone()))
            })
            .collect();
        let probes = ["/healthz", "/readyz", "/metrics"].map(|path| ("GET".to_owned(), path.to_owned()));
        let routes = ROUTES.iter().map(|(method, path, _)| (method.to_string(), path.to_string()));
        assert_eq!(described, routes.chain(probes).collect());
    }

    #[test]
    fn a_call_is_known_by_its_method_and_its_whole_path() {
        let of = |method, path| Call::of(method, path).map_err(|problem| problem.status);
        assert_eq!(of("GET", "/api/v1/connections"), Ok((Call::ListConnections, "")));
        assert_eq!(of("HEAD", "/api/v1/connections/1.2"), Ok((Call::ShowConnection, "1.2")));
        for path in ["/api/v1/connections/", "/api/v1/connections/1.2/", "/api/v1", "/api/v1/Channels"] {
            assert_eq!(of("GET", path), Err(404), "{path}");
        }
        for (method, path) in
            [("POST", "/api/v1/channels"), ("GET", "/api/v1/kick"), ("HEAD", "/api/v1/kick")]
        {
            assert_eq!(of(method, path), Err(405), "{method} {path}");
        }
    }
}
