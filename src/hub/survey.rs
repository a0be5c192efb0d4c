//! The hub as whoever looks after it sees it: what there is, a part at a time, so that no look is a long one.

use super::{
    Hub,
    application::{Application, Place},
    auth::Identity,
    core::{Core, Part},
    gathering::Space,
};
use crate::{dialect::Dialect, engine::ConnId};

/// What a hub knows of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Participant<'a> {
    /// How it speaks; `None`: its first message will say.
    pub dialect: Option<Dialect>,
    /// Who it is, if a token has said so.
    pub user: Option<&'a Identity>,
    /// The name that it goes by in the `envelope` dialect, which nothing vouches for where there is no `user`.
    pub alias: Option<&'a str>,
    /// Whether it is the server's admin.
    pub is_admin: bool,
    /// How many channels, groups and rooms it is in, the chat included.
    pub places: usize,
}

impl<A: Application> Hub<A> {
    /// What is known of a connection that is open.
    pub fn participant(&self, id: ConnId) -> Participant<'_> {
        let client = self.core.client(id);
        let alias = client.and_then(|client| match &client.part {
            Part::Envelope(correspondent) => correspondent.user.as_deref().filter(|user| !user.is_empty()),
            _ => None,
        });
        Participant {
            dialect: self.core.speaks.get(id.index()).copied().flatten(),
            user: client.and_then(|client| client.user.as_deref()),
            alias,
            is_admin: client.is_some_and(|client| client.is_admin),
            places: self.core.gatherings.sets_of(id).filter(|&set| self.core.place(set).is_some()).count(),
        }
    }

    /// How many connections are at a place; `None` where there is no such place.
    pub fn members(&self, place: Place<'_>) -> Option<usize> {
        let (space, name) = place.parts();
        self.core.gatherings.find(space, name).map(|set| self.core.gatherings.len(set))
    }

    /// The place of this number, and how many connections are there; `None` where this number is none of a place. So all
    /// can be looked through, some at a time: a place keeps its number as long as it lives, and the numbers end at
    /// [`Hub::places_end`].
    pub fn place_at(&self, number: usize) -> Option<(Place<'_>, usize)> {
        let set = u32::try_from(number).ok().filter(|_| number < self.places_end())?;
        self.core.place(set).map(|place| (place, self.core.gatherings.len(set)))
    }

    /// One past the last number of a place.
    pub fn places_end(&self) -> usize {
        self.core.gatherings.end()
    }

    /// The connections of a user: those that a token says are this user's, and those that go by this name in the
    /// `envelope` dialect. In no order; one that is both is there once.
    pub fn connections_of(&self, user: &str) -> impl Iterator<Item = ConnId> {
        let gatherings = &self.core.gatherings;
        let known = gatherings.find(Space::User, user);
        let named = gatherings.find(Space::Person, user);
        let is_known = move |id: ConnId| known.is_some_and(|set| gatherings.seat(set, id).is_some());
        let others = named.into_iter().flat_map(|set| gatherings.ids(set)).filter(move |&id| !is_known(id));
        known.into_iter().flat_map(|set| gatherings.ids(set)).chain(others)
    }
}

impl Core {
    /// The place that a gathering is, if it is one and has not ended.
    fn place(&self, set: u32) -> Option<Place<'_>> {
        let gathering = self.gatherings.get(set);
        let name = &*gathering.name;
        let place = match gathering.space {
            Space::Channel => Place::Channel(name),
            Space::Group => Place::Group(name),
            Space::Room => Place::Room(name),
            Space::Chat => Place::Chat,
            _ => return None,
        };
        (self.gatherings.find(gathering.space, name) == Some(set)).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        engine::ConnId,
        hub::{
            Hub, Place, Settings,
            gathering::{Seat, Space},
        },
    };

    #[test]
    fn a_place_keeps_its_number_and_one_that_has_ended_has_none() {
        let config = Hub::config("");
        let mut hub = Hub::new(&config, Settings::default());
        let id = ConnId { index: 0, generation: 0 };
        let sets = ["a", "b", "c"].map(|name| {
            let set = hub.core.gatherings.find_or_create(Space::Channel, name);
            hub.core.gatherings.join(set, Seat { id, is_admin: false });
            set
        });
        hub.core.gatherings.leave(sets[1], id);
        let found: Vec<_> = (0..hub.places_end() + 1).map(|number| hub.place_at(number)).collect();
        assert_eq!(found, [Some((Place::Channel("a"), 1)), None, Some((Place::Channel("c"), 1)), None]);
        assert_eq!((hub.members(Place::Channel("a")), hub.members(Place::Channel("b"))), (Some(1), None));
        assert_eq!(hub.participant(id).places, 2);
    }

    #[test]
    fn a_user_has_each_connection_once() {
        let config = Hub::config("");
        let mut hub = Hub::new(&config, Settings::default());
        let id = |index| ConnId { index, generation: index };
        for (space, index) in [(Space::User, 1), (Space::Person, 1), (Space::Person, 2)] {
            let set = hub.core.gatherings.find_or_create(space, "alice");
            hub.core.gatherings.join(set, Seat { id: id(index), is_admin: false });
        }
        assert_eq!(hub.connections_of("alice").collect::<Vec<_>>(), [id(1), id(2)]);
        assert_eq!(hub.connections_of("bob").count(), 0);
    }
}
