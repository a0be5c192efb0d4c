//! What a program adds to the hub: actions of its own, who a token is, who may do what.

use super::{
    auth::Identity,
    core::Core,
    gathering::Space,
    pending::{Decision, Handling, Ticket},
};
use crate::{
    conn::Message,
    dialect::{
        Dialect,
        action::{Person, Post},
        json::{self, Object},
    },
    engine::{ConnId, Context, Fanout, Sent},
    time::Now,
};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A program's part of a [`Hub`](super::Hub). All of it is optional, and called on the one thread of the loop: plain
/// fields are all the state that is needed, and whatever blocks here blocks everybody.
///
/// `()` is the application that adds nothing.
///
/// What would block is answered later: [`Reply::Later`] with [`CustomAction::ticket`], or [`Decision::Later`], then
/// [`HubContext::answer`], from [`Application::on_wake`] for what another thread has found out: `examples/later.rs` is one.
///
/// ```
/// use sockeye::hub::{Application, Caller, CustomAction, HubContext, Reply};
///
/// /// `{"action": "roll", "sides": 6}`
/// struct Dice;
///
/// impl Application for Dice {
///     fn on_action(&mut self, cx: &mut HubContext<'_, '_>, _: &Caller<'_>, action: &CustomAction<'_>) -> Reply {
///         match (action.name(), action.number("sides")) {
///             ("roll", Some(sides @ 1..=100)) => {
///                 let rolled = u64::from_le_bytes(cx.random()) % sides + 1;
///                 Reply::Data(vec![format!(r#"{{"action":"rolled","pips":{rolled}}}"#)])
///             }
///             ("roll", _) => Reply::Error("A die has 1 to 100 sides".to_owned()),
///             _ => Reply::Unknown,
///         }
///     }
/// }
/// ```
pub trait Application {
    /// An action came that the `actions` dialect does not know.
    fn on_action(&mut self, _: &mut HubContext<'_, '_>, _: &Caller<'_>, _: &CustomAction<'_>) -> Reply {
        Reply::Unknown
    }

    /// A message of the `envelope` dialect came, and its sender may send it: asked before it is distributed.
    ///
    /// ```
    /// use sockeye::hub::{Application, Caller, EnvelopeMessage, Handling, HubContext, Ticket};
    ///
    /// /// Keeps to itself what is reported.
    /// struct Desk(Vec<String>);
    ///
    /// impl Application for Desk {
    ///     fn on_envelope(
    ///         &mut self, _: &mut HubContext<'_, '_>, _: &Caller<'_>, message: &EnvelopeMessage<'_>, _: Ticket,
    ///     ) -> Handling {
    ///         match &*message.post.action {
    ///             "report" => {
    ///                 self.0.push(message.json.to_owned());
    ///                 Handling::Taken
    ///             }
    ///             _ => Handling::Distribute,
    ///         }
    ///     }
    /// }
    /// ```
    fn on_envelope(
        &mut self,
        _: &mut HubContext<'_, '_>,
        _: &Caller<'_>,
        _: &EnvelopeMessage<'_>,
        _: Ticket,
    ) -> Handling {
        Handling::Distribute
    }

    /// Another thread has woken the loop: see [`Handler::on_wake`](crate::Handler::on_wake), which a handler of one's own
    /// around a [`Hub`](super::Hub) passes on.
    ///
    /// ```
    /// use sockeye::hub::{Application, Caller, CustomAction, HubContext, Late, Reply, Ticket};
    /// use std::sync::mpsc::{Receiver, Sender};
    ///
    /// /// `{"action": "look_up", "word": "salmon"}`, by a thread that has the time.
    /// struct Dictionary {
    ///     questions: Sender<(Ticket, String)>,
    ///     /// The thread calls `Remote::wake` behind each.
    ///     answers: Receiver<(Ticket, String)>,
    /// }
    ///
    /// impl Application for Dictionary {
    ///     fn on_action(&mut self, _: &mut HubContext<'_, '_>, _: &Caller<'_>, action: &CustomAction<'_>) -> Reply {
    ///         match (action.name(), action.text("word")) {
    ///             ("look_up", Some(word)) => match self.questions.send((action.ticket(), word.into_owned())) {
    ///                 Ok(()) => Reply::Later,
    ///                 Err(_) => Reply::Error("The dictionary is closed".to_owned()),
    ///             },
    ///             _ => Reply::Unknown,
    ///         }
    ///     }
    ///
    ///     fn on_wake(&mut self, cx: &mut HubContext<'_, '_>) {
    ///         for (ticket, found) in self.answers.try_iter() {
    ///             // `found` is an object with an `action`. Who has gone does not wait for it.
    ///             cx.answer(ticket, Late::Reply(Reply::Data(vec![found])));
    ///         }
    ///     }
    /// }
    /// ```
    fn on_wake(&mut self, _: &mut HubContext<'_, '_>) {}

    /// Who this token is; the admin's is not asked for here. An identity without an id, or with the admin's, is refused.
    fn authenticate(&mut self, _now: Now, _token: &str) -> Option<Identity> {
        None
    }

    /// The same, for who may have to find out first. By default it is what [`Application::authenticate`] says.
    ///
    /// Asked for the action `authenticate`, and at the handshake for the session of a connection that speaks `envelope`, or
    /// may turn out to: that one is open meanwhile, and in no group.
    fn find_identity(
        &mut self,
        cx: &mut HubContext<'_, '_>,
        _: &Caller<'_>,
        token: &str,
        _: Ticket,
    ) -> Decision<Option<Identity>> {
        Decision::Now(self.authenticate(cx.now(), token))
    }

    /// Whether somebody may join, after the hub's own rules have allowed it. What they allow may be another thing by the
    /// time of a later answer: then they are asked again. By default it is what [`Application::may_join`] says.
    ///
    /// Who may not join a room gets 403 at the handshake, and 1008 where that is known only later.
    fn decide_join(
        &mut self,
        _: &mut HubContext<'_, '_>,
        caller: &Caller<'_>,
        place: Place<'_>,
        _: Ticket,
    ) -> Decision<bool> {
        Decision::Now(self.may_join(caller, place))
    }

    /// Whether somebody may join, after the hub's own rules have allowed it.
    fn may_join(&mut self, _: &Caller<'_>, _: Place<'_>) -> bool {
        true
    }

    /// Whether somebody may say something there, after the hub's own rules have allowed it. Asked for each group that a
    /// message names; for the one that it is for by itself where it names none, be it for users or for everybody.
    fn may_send(&mut self, _: &Caller<'_>, _: Place<'_>, _: Message<'_>) -> bool {
        true
    }

    /// Somebody has joined.
    fn on_join(&mut self, _: &mut HubContext<'_, '_>, _: &Caller<'_>, _: Place<'_>) {}

    /// Somebody has left, been taken out, or is gone. Each join has exactly one leave.
    fn on_leave(&mut self, _: &mut HubContext<'_, '_>, _: &Caller<'_>, _: Place<'_>) {}
}

impl Application for () {}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The connection.
    pub id: ConnId,
    /// How it speaks.
    pub dialect: Dialect,
    /// Who it is, if it has said so.
    pub user: Option<&'a Identity>,
    /// Whether it is the server's admin.
    pub is_admin: bool,
}

/// Where connections gather.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place<'a> {
    /// A channel of the `actions` dialect.
    Channel(&'a str),
    /// A group of the `envelope` dialect; the empty name is the group of those who named none.
    Group(&'a str),
    /// A room of the `room` dialect.
    Room(&'a str),
    /// The chat.
    Chat,
}

impl<'a> Place<'a> {
    pub(super) fn parts(self) -> (Space, &'a str) {
        match self {
            Place::Channel(name) => (Space::Channel, name),
            Place::Group(name) => (Space::Group, name),
            Place::Room(name) => (Space::Room, name),
            Place::Chat => (Space::Chat, ""),
        }
    }
}

/// An action of the application's own.
#[derive(Debug)]
pub struct CustomAction<'a> {
    name: Cow<'a, str>,
    json: &'a str,
    object: Object<'a>,
    ticket: Ticket,
}

impl<'a> CustomAction<'a> {
    pub(super) fn new(name: Cow<'a, str>, object: &'a RawValue, ticket: Ticket) -> CustomAction<'a> {
        let json = object.get();
        CustomAction { name, json, object: Object::parse(json).unwrap_or_default(), ticket }
    }

    /// By which it is answered after a [`Reply::Later`].
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// The value of `action`, as it was written.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a field; `None` where it is not there, or no string.
    pub fn text(&self, field: &str) -> Option<Cow<'a, str>> {
        self.object.field(field).and_then(json::text)
    }

    /// The number in a field; `None` where it is not there, or no whole number of 0 or more.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.object.field(field).and_then(json::whole)
    }

    /// The JSON of a field.
    pub fn raw(&self, field: &str) -> Option<&'a str> {
        self.object.field(field).map(RawValue::get)
    }

    /// The whole object, as it came: duplicate keys may be in it.
    pub fn json(&self) -> &'a str {
        self.json
    }
}

/// A message of the `envelope` dialect, before it is distributed.
#[derive(Debug)]
pub struct EnvelopeMessage<'a> {
    /// What it says, and for whom it is. Who sent it is not `post.user`, but [`EnvelopeMessage::sender`].
    pub post: &'a Post<'a>,
    /// The name that its recipients are told.
    pub sender: &'a str,
    /// All of it, as it came: duplicate keys may be in it.
    pub json: &'a str,
}

/// What an application answers to an action.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// That it does not know it: the caller is told so.
    Unknown,
    /// That it is done.
    Done,
    /// That it is done, and what came of it: JSON objects, each with an `action`.
    Data(Vec<String>),
    /// What went wrong, for the caller.
    Error(String),
    /// Nothing: it has sent what there is to say by itself.
    Silent,
    /// Nothing yet: it will with [`HubContext::answer`]. What the connection says meanwhile is not held.
    Later,
}

/// What an application can do while it is called.
pub struct HubContext<'a, 'c> {
    pub(super) core: &'a mut Core,
    pub(super) cx: &'a mut Context<'c>,
}

impl<'c> HubContext<'_, 'c> {
    /// Says something in a channel, under any name; what became of it for the members. Nobody, and nothing is kept, where
    /// there is no such channel.
    pub fn say(&mut self, channel: &str, by: Person<'_>, text: &str) -> Fanout {
        match self.core.gatherings.find(Space::Channel, channel) {
            Some(set) => self.core.say_in(self.cx, set, by, text, None),
            None => Fanout::default(),
        }
    }

    /// Says something to all connections of a user, under any name.
    pub fn tell(&mut self, uuid: &str, by: Person<'_>, text: &str) -> Fanout {
        self.core.say_to(self.cx, uuid, by, text, None)
    }

    /// Sends a message to groups and users of the `envelope` dialect, in the name of `user`.
    pub fn post(&mut self, post: &Post<'_>, user: &str) -> Fanout {
        self.core.post(self.cx, post, user)
    }

    /// Sends a message to everybody in a room.
    pub fn send_to_room(&mut self, room: &str, message: Message<'_>) -> Fanout {
        match self.core.gatherings.find(Space::Room, room) {
            Some(set) => self.cx.broadcast(self.core.gatherings.ids(set), message),
            None => Fanout::default(),
        }
    }

    /// Sends one connection a message, in whichever dialect.
    pub fn send(&mut self, id: ConnId, message: Message<'_>) -> Sent {
        self.cx.send(id, message)
    }

    /// The connections at a place, in no order.
    pub fn members(&self, place: Place<'_>) -> Vec<ConnId> {
        let (space, name) = place.parts();
        let set = self.core.gatherings.find(space, name);
        set.map(|set| self.core.gatherings.ids(set).collect()).unwrap_or_default()
    }

    /// When this wake of the loop began.
    pub fn now(&self) -> Now {
        self.cx.now()
    }

    /// Unpredictable bytes.
    pub fn random<const N: usize>(&mut self) -> [u8; N] {
        self.cx.random()
    }

    /// Everything else that a handler can do.
    pub fn context(&mut self) -> &mut Context<'c> {
        self.cx
    }
}
