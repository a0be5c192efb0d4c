//! Who is where, and what was said: the lists of the `actions` dialect, and those who want to know who comes and goes.

use super::{
    Done, Outcome,
    core::Core,
    gathering::{Seat, Space},
};
use crate::{
    dialect::{
        Dialect,
        action::{Access, Notice, Person, Problem, Visibility},
        actions, json,
    },
    engine::{ConnId, Context},
};
use std::{borrow::Cow, collections::HashMap};

impl Core {
    /// Tells those who want to know that somebody has come or gone: a user with the first connection and the last.
    pub(super) fn announce(
        &mut self,
        cx: &mut Context<'_>,
        channel: &str,
        set: u32,
        id: ConnId,
        action: &str,
    ) {
        let Some(watchers) = self.gatherings.find(Space::Presence, channel) else { return };
        let person = self.person(id);
        if !person.uuid.is_empty() && self.connections_in(set, person.uuid).any(|other| other != id) {
            return;
        }
        let mut data = String::new();
        actions::put_person(action, channel, person, None, &mut data);
        self.tell_all(cx, watchers, Dialect::Actions, &Notice::Data(&data));
    }

    /// The channels of a connection in which somebody wants to know who comes and goes.
    pub(super) fn watched_channels(&self, id: ConnId) -> impl Iterator<Item = (u32, Box<str>)> {
        self.gatherings.of(id, Space::Channel).filter_map(|set| {
            let name = &self.gatherings.get(set).name;
            self.gatherings.find(Space::Presence, name).map(|_| (set, name.clone()))
        })
    }

    pub(super) fn subscribe_presence<'a>(&mut self, id: ConnId, channel: Cow<'a, str>) -> Outcome<'a> {
        let set = self.own_channel(id, &channel)?;
        let watchers = self.gatherings.find_or_create(Space::Presence, &channel);
        self.gatherings.join(watchers, Seat { id, is_admin: false });
        Ok(Done::Data(self.members("subscribe_presence", set)))
    }

    pub(super) fn list_members<'a>(&self, id: ConnId, channel: Cow<'a, str>) -> Outcome<'a> {
        let set = self.own_channel(id, &channel)?;
        Ok(Done::Data(self.members("list_members", set)))
    }

    /// Who is in a channel: each user once, with the most that one of the connections may do, and each connection
    /// without a user.
    fn members(&self, action: &str, set: u32) -> String {
        let channel = &*self.gatherings.get(set).name;
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut found: Vec<(Person<'_>, Access)> = Vec::new();
        for id in self.gatherings.ids(set) {
            let person = self.person(id);
            let Some(access) = self.access(set, id) else { continue };
            match places.get(person.uuid) {
                Some(&place) if access == Access::Admin => found[place].1 = access,
                Some(_) => {}
                None if found.len() >= self.limits.listed_max as usize => break,
                None => {
                    if !person.uuid.is_empty() {
                        places.insert(person.uuid, found.len());
                    }
                    found.push((person, access));
                }
            }
        }
        let mut data = String::new();
        for (person, access) in found {
            separate(&mut data);
            actions::put_person(action, channel, person, Some(access), &mut data);
        }
        data
    }

    /// One's own channels, then those that are public.
    pub(super) fn list_channels<'a>(&self, id: ConnId) -> Outcome<'a> {
        let own = self.gatherings.of(id, Space::Channel);
        // Private channels cost a look too, so there is an end to looking.
        let looked_at = self.gatherings.all(Space::Channel).take(self.limits.listed_max as usize * 10);
        let others = looked_at.filter(|&set| {
            self.gatherings.channel(set).visibility == Visibility::Public
                && self.gatherings.seat(set, id).is_none()
        });
        let mut data = String::new();
        for set in own.chain(others).take(self.limits.listed_max as usize) {
            separate(&mut data);
            actions::put_about("list_channels", &self.gatherings.get(set).name, &mut data);
            actions::put_field("visibility", self.gatherings.channel(set).visibility.as_str(), &mut data);
            data.push_str(",\"members\":");
            json::put_number(self.gatherings.len(set) as u64, &mut data);
            actions::put_field("access", self.access(set, id).map_or("", Access::as_str), &mut data);
            data.push('}');
        }
        Ok(Done::Data(data))
    }

    pub(super) fn history<'a>(
        &mut self,
        cx: &Context<'_>,
        id: ConnId,
        channel: Cow<'a, str>,
        since: Option<u64>,
        limit: Option<u64>,
    ) -> Outcome<'a> {
        self.gatherings.expire(cx.now().unix_ms);
        let set = match self.own_conversation(id, &channel) {
            Some(None) => return Ok(Done::Data(String::new())),
            Some(Some(set)) => set,
            None => self.own_channel(id, &channel)?,
        };
        let history = &self.gatherings.get(set).history;
        let said = history.after(since.unwrap_or(0));
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        // Who goes on from a message reads forward; who does not wants the latest.
        let skip = if since.is_some() { 0 } else { said.len().saturating_sub(limit) };
        let mut data = String::new();
        for json in said.skip(skip).take(limit) {
            separate(&mut data);
            data.push_str(json);
        }
        Ok(Done::Data(data))
    }

    /// The channel of this name, if the connection is in it.
    fn own_channel<'a>(&self, id: ConnId, channel: &Cow<'a, str>) -> Result<u32, Problem<'a>> {
        let Some(set) = self.gatherings.find(Space::Channel, channel) else {
            return Err(Problem::NoChannel(channel.clone()));
        };
        match self.gatherings.seat(set, id) {
            Some(_) => Ok(set),
            None => Err(Problem::NotAMember(channel.clone())),
        }
    }
}

fn separate(data: &mut String) {
    if !data.is_empty() {
        data.push(',');
    }
}
