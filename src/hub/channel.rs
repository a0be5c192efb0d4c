//! Channels of the `actions` dialect: joining, leaving, saying something, and what their admins may do.

use super::{
    Done, Hub, Outcome,
    application::{Application, Place},
    core::Core,
    gathering::{Seat, Space},
    pending::{After, Decision, Owed, OwnedPlace},
};
use crate::{
    conn::Message,
    dialect::{
        Dialect,
        action::{Access, Deed, Join, Notice, Person, Problem, Resume, Said, Visibility},
        actions,
    },
    engine::{ConnId, Context, Fanout},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt::Write as _};

/// What the names of private conversations begin with.
pub(super) const CONVERSATION: &str = "pm:";

/// To be a member of a channel.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub(super) name: Cow<'a, str>,
    visibility: Visibility,
    or_create: bool,
    resume: Option<Resume<'a>>,
    /// Its name was made for it.
    is_random: bool,
}

impl Wish<'_> {
    fn into_owned(self) -> Wish<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let resume = self.resume.map(|Resume { since, epoch }| Resume { since, epoch: epoch.map(owned) });
        Wish { name: owned(self.name), resume, ..self }
    }
}

impl<A: Application> Hub<A> {
    pub(super) fn join<'a>(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        join: Join<'a>,
        request: Option<&RawValue>,
    ) -> Outcome<'a> {
        let Join { channel, visibility, or_create, resume } = join;
        let is_random = channel.is_none();
        let name = match channel {
            Some(name) => name,
            None if !or_create => return Err(Problem::NoChannel(Cow::Borrowed(""))),
            None => Cow::Owned(random_name(cx)),
        };
        if resume.is_some() {
            self.core.gatherings.expire(cx.now().unix_ms);
        }
        if name.starts_with(CONVERSATION) {
            return self.core.join_conversation(id, name, resume);
        }
        let wish = Wish { name, visibility, or_create, resume, is_random };
        let is_member = self.core.check_wish(id, &wish)?;
        if !is_member {
            let ticket = self.core.ticket(id)?;
            match self.ask_join(cx, id, Place::Channel(&wish.name), ticket) {
                Decision::Now(true) => {}
                Decision::Now(false) => return Err(Problem::MayNotJoin(wish.name)),
                Decision::Failed(why) => return Err(Problem::Other(why.into())),
                Decision::Later => {
                    let (wish, request) = (wish.into_owned(), request.map(ToOwned::to_owned));
                    self.core.owe(cx, ticket, Owed::Channel { wish, request });
                    return Ok(Done::Answered);
                }
            }
        }
        let set = self.core.gatherings.find_or_create(Space::Channel, &wish.name);
        if !is_member {
            self.core.enter_channel(cx, id, set, &wish);
            self.joined(cx, id, Place::Channel(&wish.name));
        }
        Ok(self.core.fulfilled(set, wish))
    }

    pub(super) fn leave<'a>(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        channel: Cow<'a, str>,
    ) -> Outcome<'a> {
        let Some(set) = self.core.gatherings.find(Space::Channel, &channel) else {
            return Err(Problem::NoChannel(channel));
        };
        if self.core.gatherings.seat(set, id).is_none() {
            return Err(Problem::NotAMember(channel));
        }
        self.take_out(cx, id, set);
        Ok(Done::Plain)
    }

    /// Ends a membership in a channel, and tells those who want to know.
    fn take_out(&mut self, cx: &mut Context<'_>, id: ConnId, set: u32) {
        let name = self.core.gatherings.get(set).name.clone();
        if let Some(presence) = self.core.gatherings.find(Space::Presence, &name) {
            self.core.gatherings.leave(presence, id);
        }
        self.core.gatherings.leave(set, id);
        self.core.announce(cx, &name, set, id, "member_left");
        self.left(cx, id, Place::Channel(&name));
    }

    pub(super) fn say<'a>(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        channel: Cow<'a, str>,
        text: &str,
        request: Option<&RawValue>,
    ) -> Outcome<'a> {
        let Some(set) = self.core.gatherings.find(Space::Channel, &channel) else {
            return match self.core.other_end(id, &channel) {
                Some(uuid) => self.core.message_user(cx, id, Cow::Owned(uuid), text, request),
                None if channel.starts_with(CONVERSATION) => Err(Problem::MayNotWrite),
                None => Err(Problem::NoChannel(channel)),
            };
        };
        if text.trim().is_empty() {
            return Err(Problem::BlankMessage);
        }
        let caller = self.core.caller(id);
        let may_write =
            caller.is_admin || self.core.access(set, id).is_some_and(|access| access != Access::Read);
        if !may_write || !self.application.may_send(&caller, Place::Channel(&channel), Message::Text(text)) {
            return Err(Problem::MayNotWrite);
        }
        let is_member = self.core.gatherings.seat(set, id).is_some();
        let user = self.core.take_user(id);
        let by = user.as_deref().map_or(Person::default(), Person::from);
        self.core.say_in(cx, set, by, text, request.map(|request| (id, request)));
        self.core.give_user(id, user);
        Ok(if is_member { Done::Answered } else { Done::Unasked })
    }

    pub(super) fn govern<'a>(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        channel: Cow<'a, str>,
        deed: Deed<'a>,
    ) -> Outcome<'a> {
        let Some(set) = self.core.gatherings.find(Space::Channel, &channel) else {
            return Err(Problem::NoChannel(channel));
        };
        if self.core.access(set, id) != Some(Access::Admin) {
            return Err(Problem::NotAnAdmin(channel));
        }
        let mut data = String::new();
        match deed {
            Deed::Invite(uuid) => {
                let limit = self.core.limits.invited_max;
                let invited = &mut self.core.gatherings.channel_mut(set).invited;
                if invited.len() >= limit as usize && !invited.contains(&*uuid) {
                    return Err(Problem::TooManyInvited { limit });
                }
                invited.insert((*uuid).into());
                put_deed("invite_user", &channel, Some(("uuid", &uuid)), &mut data);
            }
            Deed::Uninvite(uuid) => {
                self.core.gatherings.channel_mut(set).invited.remove(&*uuid);
                put_deed("uninvite_user", &channel, Some(("uuid", &uuid)), &mut data);
            }
            Deed::Kick(uuid) => {
                let seats: Vec<_> = self.core.connections_in(set, &uuid).collect();
                if seats.is_empty() {
                    return Err(Problem::NotInChannel(uuid));
                }
                self.core.gatherings.channel_mut(set).invited.remove(&*uuid);
                self.expel(cx, set, &channel, &seats, "kicked");
                put_deed("kick_user", &channel, Some(("uuid", &uuid)), &mut data);
            }
            Deed::SetVisibility(visibility) => {
                self.core.gatherings.channel_mut(set).visibility = visibility;
                put_deed("set_visibility", &channel, Some(("visibility", visibility.as_str())), &mut data);
            }
            Deed::Close => {
                // Who watches is told of the end, and not of everybody's leaving.
                if let Some(watchers) = self.core.gatherings.find(Space::Presence, &channel) {
                    for id in self.core.gatherings.ids(watchers).collect::<Vec<_>>() {
                        self.core.gatherings.leave(watchers, id);
                    }
                }
                let seats: Vec<_> = self.core.gatherings.ids(set).collect();
                self.expel(cx, set, &channel, &seats, "closed");
                put_deed("close_channel", &channel, None, &mut data);
            }
        }
        Ok(Done::Data(data))
    }

    /// Takes connections out of a channel, and tells each so.
    fn expel(&mut self, cx: &mut Context<'_>, set: u32, channel: &str, ids: &[ConnId], reason: &str) {
        for &id in ids {
            let mut data = String::new();
            actions::put_person("member_left", channel, self.core.person(id), None, &mut data);
            data.pop();
            actions::put_field("reason", reason, &mut data);
            data.push('}');
            self.core.tell(cx, id, &Notice::Data(&data), None);
            self.take_out(cx, id, set);
        }
    }
}

impl Core {
    /// Whether a connection is in a channel already; what is wrong where it is not and may not be.
    fn check_wish<'a>(&self, id: ConnId, wish: &Wish<'a>) -> Result<bool, Problem<'a>> {
        let found = self.gatherings.find(Space::Channel, &wish.name);
        match found {
            Some(set) if !self.may_join(id, set) => return Err(Problem::MayNotJoin(wish.name.clone())),
            None if !wish.or_create => return Err(Problem::NoChannel(wish.name.clone())),
            _ => {}
        }
        let is_member = found.is_some_and(|set| self.gatherings.seat(set, id).is_some());
        if !is_member {
            self.room_for_one_more(id, found.is_none(), &wish.name)?;
        }
        Ok(is_member)
    }

    fn enter_channel(&mut self, cx: &mut Context<'_>, id: ConnId, set: u32, wish: &Wish<'_>) {
        self.take_seat(id, set, wish.visibility);
        self.announce(cx, &wish.name, set, id, "member_joined");
    }

    /// What there is to say to who has joined.
    fn fulfilled(&mut self, set: u32, wish: Wish<'_>) -> Done {
        match wish.resume {
            Some(resume) => Done::Data(self.resumed(set, &wish.name, &resume)),
            None if wish.is_random => Done::Named(wish.name.into_owned()),
            None => Done::Plain,
        }
    }

    /// Joins a channel that the application has allowed to be joined, if the hub's own rules still do.
    pub(super) fn join_late(
        &mut self,
        cx: &mut Context<'_>,
        id: ConnId,
        wish: Wish<'static>,
    ) -> Outcome<'static> {
        let is_member = self.check_wish(id, &wish)?;
        let set = self.gatherings.find_or_create(Space::Channel, &wish.name);
        if !is_member {
            self.enter_channel(cx, id, set, &wish);
            self.after.push_back(After::Joined(id, OwnedPlace::Channel((*wish.name).into())));
        }
        Ok(self.fulfilled(set, wish))
    }

    /// Whether the rules of a channel let a connection join, or it has joined.
    fn may_join(&self, id: ConnId, set: u32) -> bool {
        let channel = self.gatherings.channel(set);
        let uuid = self.person(id).uuid;
        let is_known = channel.invited.contains(uuid) || channel.owner.as_deref() == Some(uuid);
        channel.visibility != Visibility::Private
            || self.gatherings.seat(set, id).is_some()
            || (!uuid.is_empty() && is_known)
    }

    fn room_for_one_more<'a>(
        &self,
        id: ConnId,
        is_new: bool,
        name: &Cow<'a, str>,
    ) -> Result<(), Problem<'a>> {
        let limit = self.limits.channels_per_connection_max;
        if self.gatherings.of(id, Space::Channel).count() >= limit as usize {
            return Err(Problem::TooManyChannels { channel: name.clone(), limit });
        }
        let limit = self.limits.channels_max;
        if is_new && self.gatherings.count(Space::Channel) >= limit as usize {
            return Err(Problem::Full { channel: name.clone(), limit });
        }
        Ok(())
    }

    /// The first member of a channel has all rights there, and so has the user who was that.
    fn take_seat(&mut self, id: ConnId, set: u32, visibility: Visibility) {
        let is_first = self.gatherings.len(set) == 0;
        let uuid = self.person(id).uuid;
        let owner = (is_first && !uuid.is_empty()).then(|| uuid.into());
        let is_owner = !uuid.is_empty() && self.gatherings.channel(set).owner.as_deref() == Some(uuid);
        if is_first {
            let channel = self.gatherings.channel_mut(set);
            (channel.visibility, channel.owner) = (visibility, owner);
        }
        self.gatherings.join(set, Seat { id, is_admin: is_first || is_owner });
    }

    /// What a connection may do in a channel; `None` where it is no member.
    pub(super) fn access(&self, set: u32, id: ConnId) -> Option<Access> {
        let seat = self.gatherings.seat(set, id)?;
        Some(if seat.is_admin { Access::Admin } else { self.gatherings.channel(set).access() })
    }

    /// Says something in a channel. `answers`: whose copy is the answer to a request, and what that was called.
    pub(super) fn say_in(
        &mut self,
        cx: &mut Context<'_>,
        set: u32,
        by: Person<'_>,
        text: &str,
        answers: Option<(ConnId, &RawValue)>,
    ) -> Fanout {
        let now = cx.now();
        let minute_of_day = self.settings.zone.minute_of_day(now.unix_ms);
        let (gathering, archive) = self.gatherings.with_archive(set);
        gathering.seq += 1;
        let said = Said {
            channel: &gathering.name,
            by,
            text,
            unix_ms: now.unix_ms,
            minute_of_day,
            seq: gathering.seq,
        };
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        actions::put_said(&said, &mut data);
        archive.record(&mut gathering.history, set, gathering.seq, now.unix_ms, &data, Box::default());
        let mut fanout = Fanout::default();
        match answers {
            None => fanout = self.tell_all(cx, set, Dialect::Actions, &Notice::Data(&data)),
            Some((id, request)) => {
                self.out.clear();
                Dialect::Actions.encode(&Notice::Data(&data), None, &mut self.out);
                let others = self.gatherings.ids(set).filter(|&member| member != id);
                let heard = cx.broadcast(others, self.out.as_str());
                fanout.queued += heard.queued;
                if self.gatherings.seat(set, id).is_some() {
                    self.tell(cx, id, &Notice::Data(&data), Some(request));
                }
            }
        }
        self.data = data;
        self.gatherings.expire(now.unix_ms);
        fanout
    }

    /// What of a channel a newcomer, or one who comes again, has not seen.
    pub(super) fn resumed(&mut self, set: u32, name: &str, resume: &Resume<'_>) -> String {
        let epoch = self.epoch(set);
        let gathering = self.gatherings.get(set);
        let missed = resume
            .since
            .filter(|_| resume.epoch.as_deref() == Some(&*epoch))
            .filter(|&since| gathering.history.reaches(since, gathering.seq));
        let mut data = String::new();
        actions::put_joined(name, missed.is_some(), &epoch, gathering.seq, &mut data);
        for said in missed.into_iter().flat_map(|since| gathering.history.after(since)) {
            data.push(',');
            data.push_str(said);
        }
        data
    }
}

fn put_deed(action: &str, channel: &str, field: Option<(&str, &str)>, data: &mut String) {
    actions::put_about(action, channel, data);
    if let Some((name, value)) = field {
        actions::put_field(name, value, data);
    }
    data.push('}');
}

/// A name that nobody guesses.
fn random_name(cx: &mut Context<'_>) -> String {
    let mut name = String::new();
    for byte in cx.random::<16>() {
        let _ = write!(name, "{byte:02x}");
    }
    name
}
