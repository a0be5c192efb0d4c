//! Named sets of connections, the one thing that channels, groups, rooms, users and the chat are made of.

use super::history::{Archive, History};
use crate::{
    dialect::action::{Access, Visibility},
    engine::{ConnId, relation::Relation},
};
use std::collections::{HashMap, HashSet};

/// What kind of thing a gathering is. The same name in two of them is two things.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Space {
    /// `actions`: those who joined a channel.
    Channel,
    /// `actions`: those who want to know who joins and leaves a channel.
    Presence,
    /// `actions`: the connections of a user.
    User,
    /// `actions`: what two users say to each other.
    Conversation,
    /// `envelope`: those of a group.
    Group,
    /// `envelope`: those who go by a name.
    Person,
    /// `envelope`: all of them.
    Everybody,
    /// `chat`: all of them.
    Chat,
    /// `room`: those in a room.
    Room,
}

const SPACES: usize = 9;

/// A named set of connections, and what was said there.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) space: Space,
    pub(super) name: Box<str>,
    /// What only a channel has.
    pub(super) channel: Option<Box<Channel>>,
    /// Which life of this name it is.
    pub(super) epoch: u64,
    /// The number of what was said last.
    pub(super) seq: u64,
    pub(super) history: History,
}

/// What only a channel has.
#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) visibility: Visibility,
    /// The user who created it, and stays its admin.
    pub(super) owner: Option<Box<str>>,
    pub(super) invited: HashSet<Box<str>>,
}

impl Channel {
    /// What who is no admin may do there.
    pub(super) fn access(&self) -> Access {
        if self.visibility == Visibility::Protected { Access::Read } else { Access::Write }
    }
}

/// A connection's place in a gathering.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    pub(super) id: ConnId,
    /// It has all rights there.
    pub(super) is_admin: bool,
}

/// All gatherings, by number and by name.
#[derive(Debug)]
pub(super) struct Gatherings {
    by_name: [HashMap<Box<str>, u32>; SPACES],
    slots: Vec<Gathering>,
    free: Vec<u32>,
    members: Relation<Seat>,
    pub(super) archive: Archive,
    epochs: u64,
}

impl Gatherings {
    pub(super) fn new(archive: Archive) -> Gatherings {
        Gatherings {
            by_name: Default::default(),
            slots: Vec::new(),
            free: Vec::new(),
            members: Relation::default(),
            archive,
            epochs: 0,
        }
    }

    pub(super) fn find(&self, space: Space, name: &str) -> Option<u32> {
        self.by_name[space as usize].get(name).copied()
    }

    /// How many there are of a kind.
    pub(super) fn count(&self, space: Space) -> usize {
        self.by_name[space as usize].len()
    }

    /// The gathering of this name, which this makes if there is none.
    pub(super) fn find_or_create(&mut self, space: Space, name: &str) -> u32 {
        if let Some(set) = self.find(space, name) {
            return set;
        }
        self.epochs += 1;
        let gathering = Gathering {
            space,
            name: name.into(),
            channel: (space == Space::Channel).then(Box::default),
            epoch: self.epochs,
            seq: 0,
            history: History::default(),
        };
        let set = match self.free.pop() {
            Some(set) => {
                self.slots[set as usize] = gathering;
                set
            }
            None => {
                self.slots.push(gathering);
                self.slots.len() as u32 - 1
            }
        };
        self.by_name[space as usize].insert(name.into(), set);
        set
    }

    pub(super) fn get(&self, set: u32) -> &Gathering {
        &self.slots[set as usize]
    }

    /// The gathering, and what keeps the histories of all.
    pub(super) fn with_archive(&mut self, set: u32) -> (&mut Gathering, &mut Archive) {
        (&mut self.slots[set as usize], &mut self.archive)
    }

    /// What a gathering has that is a channel.
    pub(super) fn channel(&self, set: u32) -> &Channel {
        self.slots[set as usize].channel.as_deref().expect("only channels are asked for what they have")
    }

    pub(super) fn channel_mut(&mut self, set: u32) -> &mut Channel {
        self.slots[set as usize].channel.as_deref_mut().expect("only channels are asked for what they have")
    }

    /// Adds a connection; false if it was a member.
    pub(super) fn join(&mut self, set: u32, seat: Seat) -> bool {
        self.members.insert(seat.id.index() as u32, set, seat)
    }

    /// Takes a connection out of a gathering, which ends with its last member unless something was said there that is
    /// kept; false if it was no member.
    pub(super) fn leave(&mut self, set: u32, id: ConnId) -> bool {
        let was_in_it = self.members.remove(id.index() as u32, set).is_some();
        self.end_if_over(set);
        was_in_it
    }

    /// The next gathering that a connection is in, and is taken out of; it is to be ended with
    /// [`Gatherings::end_if_over`].
    pub(super) fn pop(&mut self, id: ConnId) -> Option<(u32, Seat)> {
        self.members.pop(id.index() as u32)
    }

    pub(super) fn seat(&self, set: u32, id: ConnId) -> Option<&Seat> {
        self.members.get(id.index() as u32, set)
    }

    /// The members' seats, in no order.
    pub(super) fn seats(&self, set: u32) -> impl Iterator<Item = &Seat> {
        self.members.members(set).iter().map(|member| &member.data)
    }

    pub(super) fn ids(&self, set: u32) -> impl Iterator<Item = ConnId> {
        self.seats(set).map(|seat| seat.id)
    }

    pub(super) fn len(&self, set: u32) -> usize {
        self.members.members(set).len()
    }

    /// One past the last number of a gathering.
    pub(super) fn end(&self) -> usize {
        self.slots.len()
    }

    /// What a connection is in.
    pub(super) fn sets_of(&self, id: ConnId) -> impl Iterator<Item = u32> {
        self.members.sets_of(id.index() as u32)
    }

    /// What a connection is in, of one kind.
    pub(super) fn of(&self, id: ConnId, space: Space) -> impl Iterator<Item = u32> {
        self.sets_of(id).filter(move |&set| self.get(set).space == space)
    }

    /// All of a kind that there are, in no order.
    pub(super) fn all(&self, space: Space) -> impl Iterator<Item = u32> {
        self.by_name[space as usize].values().copied()
    }

    /// Ends a gathering that has no member; a group and a conversation only when nothing is kept of what was said.
    pub(super) fn end_if_over(&mut self, set: u32) {
        let Gathering { space, history, .. } = &self.slots[set as usize];
        let is_kept = matches!(space, Space::Group | Space::Conversation) && !history.is_empty();
        if is_kept || !self.members.members(set).is_empty() {
            return;
        }
        let gathering = &mut self.slots[set as usize];
        let name = std::mem::take(&mut gathering.name);
        gathering.channel = None;
        self.archive.forget(&mut gathering.history);
        if self.by_name[gathering.space as usize].remove(&name).is_some() {
            self.free.push(set);
        }
    }

    /// Lets go what has been kept too long, or is too much.
    pub(super) fn expire(&mut self, unix_ms: u64) {
        while let Some((set, serial)) = self.archive.next_due(unix_ms) {
            if self.archive.drop_oldest(&mut self.slots[set as usize].history, serial) {
                self.end_if_over(set);
            }
        }
        if self.archive.is_littered() {
            let slots = &self.slots;
            self.archive.tidy(|set, serial| slots[set as usize].history.has(serial));
        }
    }

    /// Whether membership is the same seen from both sides, and every name leads to its gathering.
    pub(super) fn is_consistent(&self) -> bool {
        let mut names = 0;
        let named = self.by_name.iter().flatten().all(|(name, &set)| {
            names += 1;
            let gathering = self.get(set);
            let is_over = self.len(set) == 0 && gathering.history.is_empty();
            gathering.name == *name && !is_over
        });
        named && names + self.free.len() == self.slots.len() && self.members.is_consistent()
    }
}
