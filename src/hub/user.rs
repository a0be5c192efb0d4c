//! Users of the `actions` dialect: who a connection is, and what two of them say to each other.

use super::{
    Done, Hub, Outcome,
    application::{Application, Caller, HubContext},
    auth::{ADMIN_ID, ADMIN_PREFIX, Identity},
    channel::CONVERSATION,
    core::Core,
    gathering::{Seat, Space},
    pending::{Decision, Owed},
};
use crate::{
    dialect::{
        Dialect,
        action::{Notice, Person, Problem, Resume, Said},
        actions,
    },
    engine::{ConnId, Context, Fanout},
};
use serde_json::value::RawValue;
use std::borrow::Cow;

impl<'a> From<&'a Identity> for Person<'a> {
    fn from(user: &'a Identity) -> Person<'a> {
        Person { uuid: &user.uuid, username: &user.name }
    }
}

impl<A: Application> Hub<A> {
    pub(super) fn authenticate<'a>(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        token: Option<Cow<'a, str>>,
        request: Option<&RawValue>,
    ) -> Outcome<'a> {
        let password = token.as_deref().and_then(|token| token.strip_prefix(ADMIN_PREFIX));
        if let Some(password) = password {
            let admin = self.core.admin(password);
            return self.core.authenticated(cx, id, admin, true);
        }
        let session = || self.core.client(id).and_then(|client| client.session.clone());
        let token = token.or_else(|| session().map(|token| Cow::Owned(token.into())));
        let Some(token) = token else { return Err(Problem::InvalidToken) };
        let ticket = self.core.ticket(id)?;
        let user = self.core.client(id).and_then(|client| client.user.clone());
        let caller = Caller { user: user.as_deref(), ..self.core.caller(id) };
        let mut context = HubContext { core: &mut self.core, cx };
        match self.application.find_identity(&mut context, &caller, &token, ticket) {
            Decision::Now(user) => self.core.authenticated(cx, id, user, false),
            Decision::Failed(why) => Err(Problem::Other(why.into())),
            Decision::Later => {
                let request = request.map(ToOwned::to_owned);
                self.core.owe(cx, ticket, Owed::Identity { request });
                Ok(Done::Answered)
            }
        }
    }
}

impl Core {
    fn admin(&self, password: &str) -> Option<Identity> {
        let is_right = self.settings.admin_password.as_ref()?.matches(password.as_bytes());
        is_right.then(|| Identity { uuid: ADMIN_ID.into(), name: ADMIN_ID.into(), group: String::new() })
    }

    /// Whether a user may be who the application says. Nobody is the admin by that.
    pub(super) fn is_acceptable(&self, user: &Identity) -> bool {
        let is_short = user.uuid.len() <= self.limits.name_bytes_max as usize;
        !user.uuid.is_empty() && user.uuid != ADMIN_ID && is_short
    }

    /// It is known who a connection is, or that it is nobody.
    pub(super) fn authenticated<'a>(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        user: Option<Identity>,
        is_admin: bool,
    ) -> Outcome<'a> {
        let user = user.filter(|user| is_admin || self.is_acceptable(user)).ok_or(Problem::InvalidToken)?;
        log::info!(connection:% = id, user = user.uuid.as_str(); "authenticated");
        self.become_user(cx, id, user, is_admin);
        Ok(Done::Plain)
    }

    /// From now on a connection is a user's. Where somebody else was in its channels, somebody has left and somebody come.
    fn become_user(&mut self, cx: &mut Context<'_>, id: ConnId, user: Identity, is_admin: bool) {
        let is_other = self.person(id).uuid != user.uuid;
        let watched: Vec<_> = self.watched_channels(id).filter(|_| is_other).collect();
        for (set, name) in &watched {
            self.announce(cx, name, *set, id, "member_left");
        }
        if is_other {
            for space in [Space::User, Space::Conversation] {
                for set in self.gatherings.of(id, space).collect::<Vec<_>>() {
                    self.gatherings.leave(set, id);
                }
            }
            let set = self.gatherings.find_or_create(Space::User, &user.uuid);
            self.gatherings.join(set, Seat { id, is_admin });
        }
        if let Some(client) = self.client_mut(id) {
            client.user = Some(Box::new(user));
            client.is_admin = is_admin;
        }
        for (set, name) in &watched {
            self.announce(cx, name, *set, id, "member_joined");
        }
    }

    pub(super) fn message_user<'a>(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        uuid: Cow<'a, str>,
        text: &str,
        request: Option<&RawValue>,
    ) -> Outcome<'a> {
        if self.gatherings.find(Space::User, &uuid).is_none() {
            return Err(Problem::NotConnected(uuid));
        }
        let Some(user) = self.take_user(id) else { return Err(Problem::NotAuthenticated) };
        if !text.trim().is_empty() {
            self.say_to(cx, &uuid, Person::from(&*user), text, request.map(|request| (id, request)));
        }
        self.give_user(id, Some(user));
        if text.trim().is_empty() { Err(Problem::BlankPrivateMessage) } else { Ok(Done::Answered) }
    }

    /// Says something to all connections of a user, and of who says it. `answers`: whose copy is the answer to a request,
    /// and what that was called.
    pub(super) fn say_to(
        &mut self,
        cx: &mut Context<'_>,
        uuid: &str,
        by: Person<'_>,
        text: &str,
        answers: Option<(ConnId, &RawValue)>,
    ) -> Fanout {
        let now = cx.now();
        let minute_of_day = self.settings.zone.minute_of_day(now.unix_ms);
        let (name, set) = (conversation_name(by.uuid, uuid), self.conversation(by.uuid, uuid));
        let (gathering, archive) = self.gatherings.with_archive(set);
        gathering.seq += 1;
        let seq = gathering.seq;
        let said = Said { channel: &name, by, text, unix_ms: now.unix_ms, minute_of_day, seq };
        let mut data = String::new();
        actions::put_said(&said, &mut data);
        archive.record(&mut gathering.history, set, seq, now.unix_ms, &data, Box::default());
        let ends = [Some(uuid), Some(by.uuid).filter(|&sender| sender != uuid)];
        let users: Vec<u32> =
            ends.into_iter().flatten().filter_map(|end| self.gatherings.find(Space::User, end)).collect();
        let members: Vec<ConnId> = users.iter().flat_map(|&user| self.gatherings.ids(user)).collect();
        for &member in &members {
            self.remember_conversation(member, set);
        }
        self.gatherings.end_if_over(set);
        let asked = answers.map(|(id, _)| id);
        self.out.clear();
        Dialect::Actions.encode(&Notice::Data(&data), None, &mut self.out);
        let others = members.iter().copied().filter(|&member| Some(member) != asked);
        let mut fanout = cx.broadcast(others, self.out.as_str());
        if let Some((id, request)) = answers {
            self.tell(cx, id, &Notice::Data(&data), Some(request));
            fanout.queued += 1;
        }
        self.gatherings.expire(now.unix_ms);
        fanout
    }

    /// A conversation lives at least as long as a connection that takes part in it, so that its numbers go on: as many of
    /// them as channels, per connection.
    fn remember_conversation(&mut self, id: ConnId, set: u32) {
        let limit = self.limits.channels_per_connection_max as usize;
        if self.gatherings.of(id, Space::Conversation).count() < limit {
            self.gatherings.join(set, Seat { id, is_admin: false });
        }
    }

    /// Where what two users say to each other is kept.
    fn conversation(&mut self, one: &str, other: &str) -> u32 {
        self.gatherings.find_or_create(Space::Conversation, &conversation_key(one, other))
    }

    /// Who is at the other end of the conversation of this name, if one of its ends is this connection's user.
    pub(super) fn other_end(&self, id: ConnId, channel: &str) -> Option<String> {
        let own = self.person(id).uuid;
        let names = channel.strip_prefix(CONVERSATION).filter(|_| !own.is_empty())?;
        let first = names.strip_prefix(own).and_then(|rest| rest.strip_prefix('+'));
        let last = names.strip_suffix(own).and_then(|rest| rest.strip_suffix('+'));
        let ends = [first, last].into_iter().flatten();
        ends.filter(|other| conversation_name(own, other) == channel).map(str::to_owned).next()
    }

    /// The conversation of this name, where this connection's user is one of its two.
    pub(super) fn own_conversation(&self, id: ConnId, channel: &str) -> Option<Option<u32>> {
        let other = self.other_end(id, channel)?;
        let key = conversation_key(self.person(id).uuid, &other);
        Some(self.gatherings.find(Space::Conversation, &key))
    }

    /// Both users of a conversation hear it without joining; joining it again tells what was missed.
    pub(super) fn join_conversation<'a>(
        &mut self,
        id: ConnId,
        name: Cow<'a, str>,
        resume: Option<Resume<'a>>,
    ) -> Outcome<'a> {
        let Some(other) = self.other_end(id, &name) else { return Err(Problem::MayNotJoin(name)) };
        let Some(resume) = resume else { return Ok(Done::Plain) };
        let own = self.person(id).uuid.to_owned();
        let set = self.conversation(&own, &other);
        self.remember_conversation(id, set);
        let data = self.resumed(set, &name, &resume);
        self.gatherings.end_if_over(set);
        Ok(Done::Data(data))
    }

    /// The connections of a user in a channel.
    pub(super) fn connections_in(&self, set: u32, uuid: &str) -> impl Iterator<Item = ConnId> {
        let user = self.gatherings.find(Space::User, uuid);
        let ids = user.into_iter().flat_map(|user| self.gatherings.ids(user));
        ids.filter(move |&id| self.gatherings.seat(set, id).is_some())
    }
}

/// As both see it.
fn conversation_name(one: &str, other: &str) -> String {
    let (first, second) = if one <= other { (one, other) } else { (other, one) };
    format!("{CONVERSATION}{first}+{second}")
}

/// As it is looked up: a `+` in a name makes no two conversations one.
fn conversation_key(one: &str, other: &str) -> String {
    let (first, second) = if one <= other { (one, other) } else { (other, one) };
    format!("{}+{first}{second}", first.len())
}
