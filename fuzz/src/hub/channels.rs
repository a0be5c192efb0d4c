//! The model of channels: who is in them, what they may do there, and who is told what.

use super::{
    CHANNELS_MAX,
    model::{Data, Hear, Member, Model},
    script::Speaks,
};
use std::collections::BTreeSet;

/// Names of channels.
pub const CHANNELS: [&str; 3] = ["a", "b", "<c>"];
/// What says who may join and write.
pub const VISIBILITIES: [&str; 3] = ["public", "protected", "private"];

/// An action, as it is sent.
#[derive(Clone, Debug)]
pub enum Ask {
    /// `authenticate`
    Authenticate {
        /// `None`: with the cookie of the handshake.
        token: Option<&'static str>,
    },
    /// `join_channel`
    Join {
        /// Which.
        channel: &'static str,
        /// If it is made.
        visibility: &'static str,
        /// Whether it may be made.
        or_create: bool,
        /// The number of the last message that is known, for who wants those behind it.
        since: Option<u64>,
    },
    /// `leave_channel`
    Leave(&'static str),
    /// `message_channel`
    Say(&'static str, String),
    /// `message_user`
    Tell(&'static str, String),
    /// `invite_user`, `uninvite_user`, `kick_user`
    Govern(&'static str, &'static str, &'static str),
    /// `set_visibility`
    SetVisibility(&'static str, &'static str),
    /// `close_channel`
    Close(&'static str),
    /// `list_members`, `subscribe_presence`
    Members(&'static str, &'static str),
    /// `list_channels`
    Channels,
    /// `history`
    History(&'static str),
    /// What nobody knows.
    Unknown,
}

/// A channel that has members.
#[derive(Debug)]
pub struct Channel {
    /// Connections, and whether each has all rights.
    pub members: Vec<(usize, bool)>,
    /// Who wants to know who comes and goes.
    watchers: BTreeSet<usize>,
    visibility: &'static str,
    owner: String,
    invited: BTreeSet<String>,
    /// All that was said, from number 1 on.
    pub said: Vec<String>,
    /// What the server calls this life of it, once it has said so.
    pub epoch: Option<String>,
}

impl Model {
    /// The JSON of an action, and what comes of it.
    pub fn ask(&mut self, of: usize, id: u64, ask: &Ask) -> String {
        let outcome = self.outcome(of, id, ask);
        match outcome {
            Outcome::Refused => self.hear(of, Hear::Answer { id, ok: false, data: Data::Nothing }),
            Outcome::Done(data) => self.hear(of, Hear::Answer { id, ok: true, data }),
            Outcome::Heard => {}
        }
        self.json(id, ask)
    }

    fn json(&self, id: u64, ask: &Ask) -> String {
        let object = |fields: &str| format!("{{{fields},\"id\":{id}}}");
        match ask {
            Ask::Authenticate { token: None } => object(r#""action":"authenticate","token":"null""#),
            Ask::Authenticate { token: Some(token) } => {
                object(&format!(r#""action":"Authenticate","token":"{token}""#))
            }
            Ask::Join { channel, visibility, or_create, since } => {
                let resume = since.map_or(String::new(), |since| {
                    let channel = self.channels.get(channel).and_then(|channel| channel.epoch.clone());
                    format!(r#","since":{since},"epoch":"{}""#, channel.unwrap_or_default())
                });
                object(&format!(
                    r#""action":"join-channel","channel_name":"{channel}","visibility":"{visibility}","join_or_create":{}{resume}"#,
                    u8::from(*or_create)
                ))
            }
            Ask::Leave(channel) => object(&format!(r#""action":"leaveChannel","channel_name":"{channel}""#)),
            Ask::Say(channel, text) => {
                object(&format!(r#""action":"send_channel","channel_name":"{channel}","message":"{text}""#))
            }
            Ask::Tell(uuid, text) => {
                object(&format!(r#""action":"message_user","uuid":"{uuid}","message":"{text}""#))
            }
            Ask::Govern(action, channel, uuid) => {
                object(&format!(r#""action":"{action}","channel_name":"{channel}","uuid":"{uuid}""#))
            }
            Ask::SetVisibility(channel, visibility) => object(&format!(
                r#""action":"set_visibility","channel_name":"{channel}","visibility":"{visibility}""#
            )),
            Ask::Close(channel) => object(&format!(r#""action":"close_channel","channel_name":"{channel}""#)),
            Ask::Members(action, channel) => {
                object(&format!(r#""action":"{action}","channel_name":"{channel}""#))
            }
            Ask::Channels => object(r#""action":"list_channels""#),
            Ask::History(channel) => object(&format!(r#""action":"history","channel_name":"{channel}""#)),
            Ask::Unknown => object(r#""action":"sing""#),
        }
    }

    fn outcome(&mut self, of: usize, id: u64, ask: &Ask) -> Outcome {
        match ask {
            Ask::Authenticate { token } => self.authenticate(of, *token),
            Ask::Join { channel, visibility, or_create, since } => {
                self.join(of, channel, visibility, *or_create, *since)
            }
            Ask::Leave(channel) => {
                if !self.is_member(of, channel) {
                    return Outcome::Refused;
                }
                self.take_out(of, channel);
                Outcome::Done(Data::Nothing)
            }
            Ask::Say(channel, text) => self.say(of, id, channel, text),
            Ask::Tell(uuid, text) => self.tell(of, id, uuid, text),
            Ask::Govern(action, name, uuid) => self.govern(of, action, name, uuid),
            Ask::SetVisibility(name, visibility) => match self.governed(of, name) {
                None => Outcome::Refused,
                Some(channel) => {
                    channel.visibility = visibility;
                    Outcome::Done(Data::One("set_visibility"))
                }
            },
            Ask::Close(name) => {
                let Some(channel) = self.governed(of, name) else { return Outcome::Refused };
                let all: Vec<usize> = channel.members.iter().map(|(member, _)| *member).collect();
                // Who still watches hears of those who went before; in which order they go is not said.
                self.disorder = true;
                self.expel(name, &all, "closed");
                Outcome::Done(Data::One("close_channel"))
            }
            Ask::Members(action, name) => {
                if !self.is_member(of, name) {
                    return Outcome::Refused;
                }
                let channel = self.channels.get_mut(name).expect("it has a member");
                if *action == "subscribe_presence" {
                    channel.watchers.insert(of);
                }
                let uuids = channel.members.iter().map(|(member, _)| self.members[*member].uuid().to_owned());
                let mut uuids: Vec<String> = uuids.collect();
                uuids.sort_unstable();
                uuids.dedup_by(|one, other| one == other && !one.is_empty());
                Outcome::Done(Data::Members(action, uuids))
            }
            Ask::Channels => {
                let is_shown = |channel: &Channel| {
                    channel.visibility == "public" || channel.members.iter().any(|(member, _)| *member == of)
                };
                let shown = self.channels.iter().filter(|(_, channel)| is_shown(channel));
                let shown = shown.map(|(name, channel)| ((*name).to_owned(), channel.members.len()));
                Outcome::Done(Data::Channels(shown.collect()))
            }
            Ask::History(name) => {
                if !self.is_member(of, name) {
                    return Outcome::Refused;
                }
                Outcome::Done(Data::Said((*name).to_owned(), self.channels[name].said.clone()))
            }
            Ask::Unknown => Outcome::Refused,
        }
    }

    fn authenticate(&mut self, of: usize, token: Option<&'static str>) -> Outcome {
        let uuid = match token {
            Some(super::ADMIN) => "admin",
            Some(token) => token,
            None => self.members[of].session,
        };
        let is_known = super::USERS[..3].contains(&uuid) || token == Some(super::ADMIN);
        if !is_known {
            return Outcome::Refused;
        }
        if self.members[of].uuid() != uuid {
            let watched: Vec<&'static str> = self.watched(of);
            for name in &watched {
                self.announce(of, name, "member_left");
            }
            self.members[of].user = Some(uuid.to_owned());
            for name in &watched {
                self.announce(of, name, "member_joined");
            }
        }
        self.members[of].is_admin = token == Some(super::ADMIN);
        Outcome::Done(Data::Nothing)
    }

    fn join(
        &mut self,
        of: usize,
        name: &'static str,
        visibility: &'static str,
        or_create: bool,
        since: Option<u64>,
    ) -> Outcome {
        let uuid = self.members[of].uuid().to_owned();
        let is_member = self.is_member(of, name);
        if !is_member {
            let channel = self.channels.get(name);
            let is_known = |channel: &Channel| channel.owner == uuid || channel.invited.contains(&uuid);
            let is_closed = |channel: &Channel| {
                channel.visibility == "private" && (uuid.is_empty() || !is_known(channel))
            };
            let joined = self.channels.values().filter(|channel| channel.has(of)).count();
            if channel.is_some_and(is_closed) || (channel.is_none() && !or_create) || joined >= CHANNELS_MAX {
                return Outcome::Refused;
            }
            let is_first = channel.is_none();
            let channel = self.channels.entry(name).or_insert_with(|| Channel {
                members: Vec::new(),
                watchers: BTreeSet::new(),
                visibility,
                owner: uuid.clone(),
                invited: BTreeSet::new(),
                said: Vec::new(),
                epoch: None,
            });
            let is_admin = is_first || (!uuid.is_empty() && channel.owner == uuid);
            channel.members.push((of, is_admin));
            self.announce(of, name, "member_joined");
        }
        Outcome::Done(match since {
            None => Data::Nothing,
            Some(since) => {
                let channel = &self.channels[name];
                let is_same = channel.epoch.is_some();
                Data::Joined { channel: name.to_owned(), said: channel.said.clone(), since, is_same }
            }
        })
    }

    fn say(&mut self, of: usize, id: u64, name: &'static str, text: &str) -> Outcome {
        let Member { is_admin, .. } = self.members[of];
        let Some(channel) = self.channels.get_mut(name) else { return Outcome::Refused };
        let seat = channel.members.iter().find(|(member, _)| *member == of).copied();
        let may = seat.is_some_and(|(_, is_admin)| is_admin || channel.visibility != "protected");
        if text.trim().is_empty() || !(may || is_admin) {
            return Outcome::Refused;
        }
        channel.said.push(text.to_owned());
        let seq = Some(channel.said.len() as u64);
        let members: Vec<usize> = channel.members.iter().map(|(member, _)| *member).collect();
        for member in members {
            self.hear_said(member, of, id, name.to_owned(), text, seq);
        }
        if seat.is_some() { Outcome::Heard } else { Outcome::Done(Data::Nothing) }
    }

    fn tell(&mut self, of: usize, id: u64, uuid: &'static str, text: &str) -> Outcome {
        let own = self.members[of].uuid().to_owned();
        let hears = |member: &Member, uuid: &str| {
            member.is_open && member.speaks == Speaks::Actions && member.user.as_deref() == Some(uuid)
        };
        if !self.members.iter().any(|member| hears(member, uuid)) || own.is_empty() || text.trim().is_empty()
        {
            return Outcome::Refused;
        }
        let (first, second) = if *own <= *uuid { (&*own, uuid) } else { (uuid, &*own) };
        let channel = format!("pm:{first}+{second}");
        for member in 0..self.members.len() {
            if hears(&self.members[member], uuid) || hears(&self.members[member], &own) {
                self.hear_said(member, of, id, channel.clone(), text, None);
            }
        }
        Outcome::Heard
    }

    fn hear_said(
        &mut self,
        member: usize,
        by: usize,
        id: u64,
        channel: String,
        text: &str,
        seq: Option<u64>,
    ) {
        let uuid = self.members[by].uuid().to_owned();
        let id = (member == by).then_some(id);
        self.hear(member, Hear::Said { id, channel, uuid, text: text.to_owned(), seq });
    }

    fn govern(&mut self, of: usize, action: &'static str, name: &'static str, uuid: &'static str) -> Outcome {
        let Some(channel) = self.governed(of, name) else { return Outcome::Refused };
        match action {
            "invite_user" => {
                channel.invited.insert(uuid.to_owned());
            }
            "uninvite_user" => {
                channel.invited.remove(uuid);
            }
            _ => {
                let all: Vec<usize> = channel.members.iter().map(|(member, _)| *member).collect();
                let is_user = |member: &usize| self.members[*member].uuid() == uuid;
                let kicked: Vec<usize> = all.into_iter().filter(is_user).collect();
                if kicked.is_empty() {
                    return Outcome::Refused;
                }
                if let Some(channel) = self.channels.get_mut(name) {
                    channel.invited.remove(uuid);
                }
                self.expel(name, &kicked, "kicked");
            }
        }
        Outcome::Done(Data::One(action))
    }

    /// A channel of which a connection is admin.
    fn governed(&mut self, of: usize, name: &str) -> Option<&mut Channel> {
        let channel = self.channels.get_mut(name)?;
        channel.members.contains(&(of, true)).then_some(channel)
    }

    fn expel(&mut self, name: &'static str, members: &[usize], reason: &'static str) {
        for &member in members {
            let uuid = self.members[member].uuid().to_owned();
            self.hear(member, Hear::Expelled { channel: name.to_owned(), uuid, reason });
            self.take_out(member, name);
        }
    }

    /// Ends a membership. The channel ends with its last one.
    pub fn take_out(&mut self, of: usize, name: &'static str) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        channel.watchers.remove(&of);
        channel.members.retain(|(member, _)| *member != of);
        if channel.members.is_empty() {
            self.channels.remove(name);
        }
        self.announce(of, name, "member_left");
    }

    /// Those who want to know are told of a user's first connection and of the last one.
    fn announce(&mut self, of: usize, name: &'static str, action: &'static str) {
        let Some(channel) = self.channels.get(name) else { return };
        let uuid = self.members[of].uuid().to_owned();
        let is_same = |member: usize| member != of && self.members[member].uuid() == uuid;
        if !uuid.is_empty() && channel.members.iter().any(|(member, _)| is_same(*member)) {
            return;
        }
        for watcher in channel.watchers.clone() {
            self.presence.push((watcher, action, name, uuid.clone()));
        }
    }

    fn watched(&self, of: usize) -> Vec<&'static str> {
        let watched =
            self.channels.iter().filter(|(_, channel)| channel.has(of) && !channel.watchers.is_empty());
        watched.map(|(name, _)| *name).collect()
    }

    fn is_member(&self, of: usize, name: &str) -> bool {
        self.channels.get(name).is_some_and(|channel| channel.has(of))
    }
}

impl Channel {
    fn has(&self, of: usize) -> bool {
        self.members.iter().any(|(member, _)| *member == of)
    }
}

enum Outcome {
    /// An error is the answer.
    Refused,
    /// An ack.
    Done(Data),
    /// The sender's own copy.
    Heard,
}
