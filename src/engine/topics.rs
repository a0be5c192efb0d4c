//! Topics: named sets of peers. Joining and leaving cost no search, members are walked without hashing, and all
//! of a peer's memberships end with it.

use super::relation::Relation;
use std::collections::HashMap;

/// Which peers are in which topics.
#[derive(Debug, Default)]
pub(super) struct Topics {
    by_name: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
    free: Vec<u32>,
    members: Relation<()>,
}

impl Topics {
    /// Adds `peer` to a topic, which this makes if it is new; false if it was in it already.
    pub(super) fn subscribe(&mut self, peer: u32, name: &str) -> bool {
        let topic = match self.by_name.get(name) {
            Some(&topic) => topic,
            None => self.create(name),
        };
        self.members.insert(peer, topic, ())
    }

    /// Takes `peer` out of a topic, which ends with its last member; false if it was not in it.
    pub(super) fn unsubscribe(&mut self, peer: u32, name: &str) -> bool {
        let Some(&topic) = self.by_name.get(name) else { return false };
        let was_in_it = self.members.remove(peer, topic).is_some();
        self.end_if_empty(topic);
        was_in_it
    }

    /// Takes `peer` out of all its topics.
    pub(super) fn remove_peer(&mut self, peer: u32) {
        while let Some((topic, ())) = self.members.pop(peer) {
            self.end_if_empty(topic);
        }
    }

    /// The topic of this name, to walk with [`Topics::member`].
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The member at `place` of a topic; `None` past the last.
    #[inline]
    pub(super) fn member(&self, topic: u32, place: usize) -> Option<u32> {
        self.members.members(topic).get(place).map(|member| member.peer)
    }

    fn create(&mut self, name: &str) -> u32 {
        let topic = self.free.pop().unwrap_or_else(|| {
            self.names.push(Box::default());
            self.names.len() as u32 - 1
        });
        self.names[topic as usize] = name.into();
        self.by_name.insert(name.into(), topic);
        topic
    }

    fn end_if_empty(&mut self, topic: u32) {
        if self.members.members(topic).is_empty() {
            self.by_name.remove(&std::mem::take(&mut self.names[topic as usize]));
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
        assert_eq!((topics.find("a"), topics.names.len()), (None, 1));
        topics.subscribe(4, "b");
        assert_eq!((members(&topics, "b"), topics.names.len()), (vec![4], 1));
    }
}
