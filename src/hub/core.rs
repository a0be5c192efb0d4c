//! All of the hub that does not depend on the application: who is connected, where they gather, and what they are told.

use super::{
    Done, Outcome,
    application::Caller,
    auth::Identity,
    chat::Names,
    gathering::{Gatherings, Seat, Space},
    history::Archive,
    pending::{After, Waiting},
    quota::{Bucket, Rate},
    settings::Settings,
};
use crate::{
    config::ActionLimits,
    dialect::{
        Bounds, Dialect,
        action::{Notice, Person, Problem},
    },
    engine::{ConnId, Context, Fanout},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::VecDeque};

pub(super) struct Core {
    pub(super) limits: ActionLimits,
    pub(super) bounds: Bounds,
    pub(super) rate: Rate,
    pub(super) settings: Settings,
    /// By the index of a connection: how it speaks, if that is decided. All that `echo` needs.
    pub(super) speaks: Vec<Option<Dialect>>,
    /// By the index of a connection: who it is. Nothing where that is nobody's business: in `echo`, and as long as
    /// the dialect is not decided and the handshake had nothing to say.
    clients: Vec<Option<Box<Client>>>,
    pub(super) gatherings: Gatherings,
    pub(super) names: Names,
    pub(super) counters: Counters,
    /// How many questions the application was asked that it might answer later.
    pub(super) tickets: u64,
    /// Bytes of all messages that wait behind an answer.
    pub(super) held_bytes: usize,
    /// What is left to be done when the application has returned.
    pub(super) after: VecDeque<After>,
    /// When the first connection came, in milliseconds since 1970.
    started_at: Option<u64>,
    /// What is sent is written here first.
    pub(super) out: String,
    /// And what is in it here before that.
    pub(super) data: String,
}

/// What the hub knows of a connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) user: Option<Box<Identity>>,
    pub(super) is_admin: bool,
    pub(super) bucket: Bucket,
    /// What the session cookie of its handshake says.
    pub(super) session: Option<Box<str>>,
    pub(super) part: Part,
    /// The answers it waits for, if it ever did.
    pub(super) waiting: Option<Box<Waiting>>,
}

/// What a connection has to do with its dialect.
#[derive(Debug)]
pub(super) enum Part {
    /// Nothing that would have to be remembered.
    Plain,
    /// It is to be in this room as soon as it is open.
    Room(Box<str>),
    /// It is in a group, or is to be.
    Envelope(Correspondent),
    /// It is in the chat, under this number.
    Chat(u64),
}

/// A connection of the `envelope` dialect.
#[derive(Debug, Default)]
pub(super) struct Correspondent {
    /// The group its URL names.
    pub(super) group: Option<Box<str>>,
    /// Who sends what it sends; `None` until it has said so.
    pub(super) user: Option<Box<str>>,
    /// Who its session is, until it is in a group: the dialect may turn out to be another one, which is not told.
    pub(super) session: Option<Box<Identity>>,
    /// Its first message has come.
    pub(super) has_written: bool,
    /// It was told what was said before.
    pub(super) is_greeted: bool,
}

/// What was not done, since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Messages that could not be read, or are not for clients to send.
    pub ignored: u64,
    /// Actions that were answered with an error.
    pub refused: u64,
    /// Actions beyond the rate.
    pub too_fast: u64,
    /// Connections closed for persistent flooding.
    pub floods: u64,
}

fn bounds(limits: &ActionLimits) -> Bounds {
    Bounds {
        message_bytes_max: limits.json_message_bytes_max,
        depth_max: limits.json_depth_max,
        actions_max: limits.actions_per_message_max,
        name_bytes_max: limits.name_bytes_max,
        recipients_max: limits.recipients_max,
    }
}

fn rate(limits: &ActionLimits) -> Rate {
    Rate { per_second: limits.actions_per_second_max, burst: limits.actions_burst_max }
}

/// How much of what a hub keeps there is at a moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Occupancy {
    /// Channels of the `actions` dialect.
    pub channels: u64,
    /// Groups of the `envelope` dialect, those included in which nobody is and something was said.
    pub groups: u64,
    /// Rooms.
    pub rooms: u64,
    /// Users of the `actions` dialect: each once, however many connections it has.
    pub users: u64,
    /// Names that connections of the `envelope` dialect go by.
    pub people: u64,
    /// Conversations of two users of which something is kept.
    pub conversations: u64,
    /// Connections in the chat.
    pub chatters: u64,
    /// Messages of all histories together.
    pub history_messages: u64,
    /// Their bytes.
    pub history_bytes: u64,
    /// Connections by their dialect, once that is decided.
    pub speakers: Vec<(Dialect, u64)>,
}

impl Core {
    /// Other limits from now on. What is there already stays: members, names, and of history what the next message in
    /// its place lets go.
    pub(super) fn set_limits(&mut self, limits: ActionLimits) {
        (self.bounds, self.rate, self.limits) = (bounds(&limits), rate(&limits), limits);
        self.gatherings.archive.set_limits(&limits);
    }

    pub(super) fn new(limits: ActionLimits, settings: Settings) -> Core {
        Core {
            bounds: bounds(&limits),
            rate: rate(&limits),
            gatherings: Gatherings::new(Archive::new(&limits)),
            limits,
            settings,
            speaks: Vec::new(),
            clients: Vec::new(),
            names: Names::default(),
            counters: Counters::default(),
            tickets: 0,
            held_bytes: 0,
            after: VecDeque::new(),
            started_at: None,
            out: String::new(),
            data: String::new(),
        }
    }

    // ------------------------------------------------------------------ coming and going

    /// A connection is about to be open.
    pub(super) fn enter(&mut self, id: ConnId, dialect: Option<Dialect>, client: Option<Client>) {
        let index = id.index();
        if self.speaks.len() <= index {
            self.speaks.resize(index + 1, None);
            self.clients.resize_with(index + 1, || None);
        }
        self.speaks[index] = dialect;
        self.clients[index] = client.map(Box::new);
    }

    /// A client of whom nothing is known yet.
    pub(super) fn client_for(&self, cx: &Context<'_>) -> Client {
        Client {
            user: None,
            is_admin: false,
            bucket: Bucket::new(cx.now().tick, self.rate),
            session: None,
            part: Part::Plain,
            waiting: None,
        }
    }

    /// A connection joins the room that its path names.
    pub(super) fn take_room(&mut self, id: ConnId) -> Option<Box<str>> {
        let client = self.client_mut(id)?;
        let Part::Room(name) = std::mem::replace(&mut client.part, Part::Plain) else { return None };
        let set = self.gatherings.find_or_create(Space::Room, &name);
        self.gatherings.join(set, Seat { id, is_admin: false });
        Some(name)
    }

    /// The connection is over.
    pub(super) fn forget(&mut self, id: ConnId) -> Option<Box<Client>> {
        *self.speaks.get_mut(id.index())? = None;
        let client = self.clients[id.index()].take();
        let waiting = client.as_ref().and_then(|client| client.waiting.as_ref());
        self.held_bytes -= waiting.map_or(0, |waiting| waiting.held_bytes());
        client
    }

    #[inline]
    pub(super) fn client(&self, id: ConnId) -> Option<&Client> {
        self.clients.get(id.index())?.as_deref()
    }

    #[inline]
    pub(super) fn client_mut(&mut self, id: ConnId) -> Option<&mut Client> {
        self.clients.get_mut(id.index())?.as_deref_mut()
    }

    /// Milliseconds since 1970 when the server began to be used.
    pub(super) fn started_at(&mut self, cx: &Context<'_>) -> u64 {
        *self.started_at.get_or_insert(cx.now().unix_ms)
    }

    /// The name of a life of a channel: no other one, here or after a restart, has the same.
    pub(super) fn epoch(&self, set: u32) -> String {
        format!("{:x}-{:x}", self.started_at.unwrap_or_default(), self.gatherings.get(set).epoch)
    }

    pub(super) fn occupancy(&self) -> Occupancy {
        let count = |space| self.gatherings.count(space) as u64;
        let chat = self.gatherings.find(Space::Chat, "");
        let (messages, bytes) = self.gatherings.archive.size();
        let speakers = Dialect::all().map(|dialect| {
            let speaks = self.speaks.iter().filter(|&&speaks| speaks == Some(dialect));
            (dialect, speaks.count() as u64)
        });
        Occupancy {
            channels: count(Space::Channel),
            groups: count(Space::Group),
            rooms: count(Space::Room),
            users: count(Space::User),
            people: count(Space::Person),
            conversations: count(Space::Conversation),
            chatters: chat.map_or(0, |set| self.gatherings.len(set) as u64),
            history_messages: messages as u64,
            history_bytes: bytes,
            speakers: speakers.collect(),
        }
    }

    // ------------------------------------------------------------------ who and where

    /// Who asks, for the application.
    pub(super) fn caller(&self, id: ConnId) -> Caller<'_> {
        let client = self.client(id);
        Caller {
            id,
            dialect: self.speaks.get(id.index()).copied().flatten().unwrap_or(Dialect::Echo),
            user: client.and_then(|client| client.user.as_deref()),
            is_admin: client.is_some_and(|client| client.is_admin),
        }
    }

    /// Who a connection is to others.
    pub(super) fn person(&self, id: ConnId) -> Person<'_> {
        let user = self.client(id).and_then(|client| client.user.as_deref());
        user.map_or(Person::default(), Person::from)
    }

    /// Lends out who a connection is, so that it can be named while others are told; to be given back.
    pub(super) fn take_user(&mut self, id: ConnId) -> Option<Box<Identity>> {
        self.client_mut(id)?.user.take()
    }

    /// Gives back what was lent.
    pub(super) fn give_user(&mut self, id: ConnId, user: Option<Box<Identity>>) {
        if let Some(client) = self.client_mut(id) {
            client.user = user;
        }
    }

    // ------------------------------------------------------------------ telling

    /// Tells a peer what became of its action.
    pub(super) fn answer(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        outcome: Outcome<'_>,
        request: Option<&RawValue>,
    ) {
        let acknowledges = self.settings.acks || request.is_some();
        match outcome {
            Ok(Done::Plain) if acknowledges => self.tell(cx, id, &Notice::Done { message: "" }, request),
            Ok(Done::Named(name)) if acknowledges => {
                self.tell(cx, id, &Notice::Done { message: &name }, request);
            }
            Ok(Done::Unasked) if request.is_some() => {
                self.tell(cx, id, &Notice::Done { message: "" }, request);
            }
            Ok(Done::Data(data)) => self.tell(cx, id, &Notice::Data(&data), request),
            Ok(_) => {}
            Err(problem) => {
                self.counters.refused += 1;
                // What a flood is refused is said once, where it begins.
                if !matches!(problem, Problem::TooFast { .. }) {
                    log::info!(connection:% = id, problem = problem.name(); "action refused");
                }
                self.tell(cx, id, &Notice::Problem(&problem), request);
            }
        }
    }

    /// Tells one connection, if its dialect has a word for it.
    pub(super) fn tell(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        notice: &Notice<'_>,
        request: Option<&RawValue>,
    ) {
        let Some(Some(dialect)) = self.speaks.get(id.index()).copied() else { return };
        self.out.clear();
        if dialect.encode(notice, request, &mut self.out) {
            cx.send(id, self.out.as_str());
        }
    }

    /// Tells all members of a gathering whose members speak `dialect`: encoded once.
    pub(super) fn tell_all(
        &mut self,
        cx: &mut Context<'_>,
        set: u32,
        dialect: Dialect,
        notice: &Notice<'_>,
    ) -> Fanout {
        self.out.clear();
        if !dialect.encode(notice, None, &mut self.out) {
            return Fanout::default();
        }
        cx.broadcast(self.gatherings.ids(set), self.out.as_str())
    }

    /// A buffer that was written is not kept when it has grown large.
    pub(super) fn trim(&mut self) {
        const KEPT_BYTES: usize = 64 << 10;
        for buffer in [&mut self.out, &mut self.data] {
            if buffer.capacity() > KEPT_BYTES {
                *buffer = String::new();
            }
        }
    }
}

/// The value of a cookie. RFC 6265 §4.2.1
pub(super) fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then(|| value.trim_matches('"'))
    })
}

/// The first value of a key in a query, in any case.
pub(super) fn query<'a>(query: &'a str, key: &str) -> Option<Cow<'a, str>> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name.eq_ignore_ascii_case(key))
        .map(|(_, value)| value)
}
