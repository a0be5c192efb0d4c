//! Topics: named sets of peers. Joining and leaving cost no search, members are walked without hashing, and all
//! of a peer's memberships end with it.

use std::collections::HashMap;

/// Which peers are in which topics, known from both sides.
#[derive(Debug, Default)]
pub(super) struct Topics {
    by_name: HashMap<Box<str>, u32>,
    topics: Vec<Topic>,
    free: Vec<u32>,
    /// By peer; shorter than the peers are many while the last ones are in no topic.
    memberships: Vec<Vec<Membership>>,
}

#[derive(Debug, Default)]
struct Topic {
    name: Box<str>,
    members: Vec<Member>,
}

/// A peer in a topic, and the place of this topic among the peer's memberships.
#[derive(Clone, Copy, Debug)]
struct Member {
    peer: u32,
    membership: u32,
}

/// A topic of a peer, and the place of the peer among this topic's members.
#[derive(Clone, Copy, Debug)]
struct Membership {
    topic: u32,
    member: u32,
}

impl Topics {
    /// Adds `peer` to a topic, which this makes if it is new; false if it was in it already.
    pub(super) fn subscribe(&mut self, peer: u32, name: &str) -> bool {
        let topic = match self.by_name.get(name) {
            Some(&topic) => topic,
            None => self.create(name),
        };
        if self.membership_of(peer, topic).is_some() {
            return false;
        }
        if self.memberships.len() <= peer as usize {
            self.memberships.resize_with(peer as usize + 1, Vec::new);
        }
        let memberships = &mut self.memberships[peer as usize];
        let members = &mut self.topics[topic as usize].members;
        members.push(Member { peer, membership: memberships.len() as u32 });
        memberships.push(Membership { topic, member: members.len() as u32 - 1 });
        true
    }

    /// Takes `peer` out of a topic, which ends with its last member; false if it was not in it.
    pub(super) fn unsubscribe(&mut self, peer: u32, name: &str) -> bool {
        let found = self.by_name.get(name).and_then(|&topic| self.membership_of(peer, topic));
        if let Some(membership) = found {
            self.remove(peer, membership);
        }
        found.is_some()
    }

    /// Takes `peer` out of all its topics.
    pub(super) fn remove_peer(&mut self, peer: u32) {
        while let Some(last) = self.memberships.get(peer as usize).and_then(|all| all.len().checked_sub(1)) {
            self.remove(peer, last);
        }
        if let Some(memberships) = self.memberships.get_mut(peer as usize) {
            *memberships = Vec::new();
        }
    }

    /// The topic of this name, to walk with [`Topics::member`].
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The member at `place` of a topic; `None` past the last.
    #[inline]
    pub(super) fn member(&self, topic: u32, place: usize) -> Option<u32> {
        self.topics[topic as usize].members.get(place).map(|member| member.peer)
    }

    fn create(&mut self, name: &str) -> u32 {
        let topic = self.free.pop().unwrap_or_else(|| {
            self.topics.push(Topic::default());
            self.topics.len() as u32 - 1
        });
        self.topics[topic as usize].name = name.into();
        self.by_name.insert(name.into(), topic);
        topic
    }

    /// Looks through the shorter side: the peer's topics or the topic's peers.
    fn membership_of(&self, peer: u32, topic: u32) -> Option<usize> {
        let memberships = self.memberships.get(peer as usize)?;
        let members = &self.topics[topic as usize].members;
        if memberships.len() <= members.len() {
            return memberships.iter().position(|membership| membership.topic == topic);
        }
        members.iter().find(|member| member.peer == peer).map(|member| member.membership as usize)
    }

    /// Both lists close the gap with their last element, whose counterpart is told its new place.
    fn remove(&mut self, peer: u32, membership: usize) {
        let Membership { topic, member } = self.memberships[peer as usize].swap_remove(membership);
        if let Some(moved) = self.memberships[peer as usize].get(membership).copied() {
            self.topics[moved.topic as usize].members[moved.member as usize].membership = membership as u32;
        }
        let members = &mut self.topics[topic as usize].members;
        members.swap_remove(member as usize);
        if let Some(moved) = members.get(member as usize).copied() {
            self.memberships[moved.peer as usize][moved.membership as usize].member = member;
        } else if members.is_empty() {
            let ended = std::mem::take(&mut self.topics[topic as usize]);
            self.by_name.remove(&ended.name);
            self.free.push(topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(topics: &Topics, name: &str) -> Vec<u32> {
        let Some(topic) = topics.find(name) else { return Vec::new() };
        let mut found: Vec<u32> = (0..).map_while(|place| topics.member(topic, place)).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn membership_is_the_same_from_both_sides_whatever_the_order_of_leaving() {
        let mut topics = Topics::default();
        for peer in 0..20 {
            for name in 0..10 {
                if (peer + name) % 3 != 0 {
                    assert!(topics.subscribe(peer, &name.to_string()));
                    assert!(!topics.subscribe(peer, &name.to_string()));
                }
            }
        }
        for peer in (0..20).step_by(3) {
            topics.remove_peer(peer);
            assert!(!topics.unsubscribe(peer, "1"));
        }
        assert!(topics.unsubscribe(1, "4"));
        for name in 0..10u32 {
            let want: Vec<u32> = (0..20)
                .filter(|peer| peer % 3 != 0 && (peer + name) % 3 != 0 && (*peer, name) != (1, 4))
                .collect();
            assert_eq!(members(&topics, &name.to_string()), want);
        }
    }

    #[test]
    fn a_topic_ends_with_its_last_member_and_its_place_is_used_again() {
        let mut topics = Topics::default();
        topics.subscribe(3, "a");
        topics.unsubscribe(3, "a");
        assert_eq!((topics.find("a"), topics.topics.len()), (None, 1));
        topics.subscribe(4, "b");
        assert_eq!((members(&topics, "b"), topics.topics.len()), (vec![4], 1));
    }
}
