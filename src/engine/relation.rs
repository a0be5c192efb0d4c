//! Who belongs to what, known from both sides: joining and leaving cost no search through names, and all that a peer
//! belongs to ends with it.

/// Sets of peers, each member with something that is said of it there.
#[derive(Debug)]
pub(crate) struct Relation<M> {
    sets: Vec<Vec<Member<M>>>,
    /// By peer; shorter than the peers are many while the last ones are in no set.
    peers: Vec<Vec<Membership>>,
}

/// A peer in a set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<M> {
    /// Who.
    pub(crate) peer: u32,
    /// What is said of it there.
    pub(crate) data: M,
    /// The place of this set among the peer's memberships.
    membership: u32,
}

/// A set that a peer is in, and the peer's place among the members.
#[derive(Clone, Copy, Debug)]
struct Membership {
    set: u32,
    member: u32,
}

impl<M> Default for Relation<M> {
    fn default() -> Relation<M> {
        Relation { sets: Vec::new(), peers: Vec::new() }
    }
}

impl<M> Relation<M> {
    /// Adds `peer` to `set`; false if it is in it already, and nothing changes.
    pub(crate) fn insert(&mut self, peer: u32, set: u32, data: M) -> bool {
        if self.membership_of(peer, set).is_some() {
            return false;
        }
        grow(&mut self.sets, set);
        grow(&mut self.peers, peer);
        let memberships = &mut self.peers[peer as usize];
        let members = &mut self.sets[set as usize];
        members.push(Member { peer, data, membership: memberships.len() as u32 });
        memberships.push(Membership { set, member: members.len() as u32 - 1 });
        true
    }

    /// Takes `peer` out of `set`; what was said of it there, or `None` if it was not in it.
    pub(crate) fn remove(&mut self, peer: u32, set: u32) -> Option<M> {
        let membership = self.membership_of(peer, set)?;
        Some(self.take_out(peer, membership).1)
    }

    /// Takes `peer` out of the set it joined last, or that has moved there; which that was.
    pub(crate) fn pop(&mut self, peer: u32) -> Option<(u32, M)> {
        let memberships = self.peers.get_mut(peer as usize)?;
        let Some(last) = memberships.len().checked_sub(1) else {
            *memberships = Vec::new();
            return None;
        };
        Some(self.take_out(peer, last))
    }

    /// All members of `set`, in no order.
    #[inline]
    pub(crate) fn members(&self, set: u32) -> &[Member<M>] {
        self.sets.get(set as usize).map_or(&[], |members| members)
    }

    /// All sets that `peer` is in, in no order.
    #[cfg(feature = "hub")]
    pub(crate) fn sets_of(&self, peer: u32) -> impl Iterator<Item = u32> {
        self.peers.get(peer as usize).into_iter().flatten().map(|membership| membership.set)
    }

    /// What is said of `peer` in `set`.
    #[cfg(feature = "hub")]
    pub(crate) fn get(&self, peer: u32, set: u32) -> Option<&M> {
        let place = self.membership_of(peer, set)?;
        let membership = self.peers[peer as usize][place];
        Some(&self.sets[set as usize][membership.member as usize].data)
    }

    /// Whether each membership leads to its member, and each member to its membership.
    #[cfg(feature = "hub")]
    pub(crate) fn is_consistent(&self) -> bool {
        let members = self.sets.iter().enumerate().all(|(set, members)| {
            members.iter().enumerate().all(|(place, member)| {
                let memberships = self.peers.get(member.peer as usize);
                memberships.and_then(|all| all.get(member.membership as usize)).is_some_and(|membership| {
                    (membership.set as usize, membership.member as usize) == (set, place)
                })
            })
        });
        let (members_in_all, memberships): (usize, usize) =
            (self.sets.iter().map(Vec::len).sum(), self.peers.iter().map(Vec::len).sum());
        members && members_in_all == memberships
    }

    /// Looks through the shorter side: the peer's sets or the set's peers.
    fn membership_of(&self, peer: u32, set: u32) -> Option<usize> {
        let memberships = self.peers.get(peer as usize)?;
        let members = self.sets.get(set as usize)?;
        if memberships.len() <= members.len() {
            return memberships.iter().position(|membership| membership.set == set);
        }
        members.iter().find(|member| member.peer == peer).map(|member| member.membership as usize)
    }

    /// Both lists close the gap with their last element, whose counterpart is told its new place.
    fn take_out(&mut self, peer: u32, membership: usize) -> (u32, M) {
        let Membership { set, member } = self.peers[peer as usize].swap_remove(membership);
        if let Some(moved) = self.peers[peer as usize].get(membership).copied() {
            self.sets[moved.set as usize][moved.member as usize].membership = membership as u32;
        }
        let members = &mut self.sets[set as usize];
        let gone = members.swap_remove(member as usize);
        if let Some(moved) = members.get(member as usize) {
            self.peers[moved.peer as usize][moved.membership as usize].member = member;
        } else if members.is_empty() {
            *members = Vec::new();
        }
        (set, gone.data)
    }
}

fn grow<T>(lists: &mut Vec<Vec<T>>, index: u32) {
    if lists.len() <= index as usize {
        lists.resize_with(index as usize + 1, Vec::new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(relation: &Relation<u32>, set: u32) -> Vec<(u32, u32)> {
        let mut found: Vec<_> =
            relation.members(set).iter().map(|member| (member.peer, member.data)).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn membership_is_the_same_from_both_sides_whatever_the_order_of_leaving() {
        let mut relation = Relation::default();
        for peer in 0..20 {
            for set in 0..10 {
                if (peer + set) % 3 != 0 {
                    assert!(relation.insert(peer, set, peer * 100 + set));
                    assert!(!relation.insert(peer, set, 7));
                }
            }
        }
        for peer in (0..20).step_by(3) {
            while relation.pop(peer).is_some() {}
            assert_eq!(relation.remove(peer, 1), None);
        }
        assert_eq!(relation.remove(1, 4), Some(104));
        #[cfg(feature = "hub")]
        assert_eq!((relation.get(2, 4), relation.get(1, 4), relation.get(99, 4)), (None, None, None));
        #[cfg(feature = "hub")]
        assert!(relation.get(4, 4) == Some(&404) && relation.is_consistent());
        for set in 0..10u32 {
            let want: Vec<_> = (0..20)
                .filter(|peer| peer % 3 != 0 && (peer + set) % 3 != 0 && (*peer, set) != (1, 4))
                .map(|peer| (peer, peer * 100 + set))
                .collect();
            assert_eq!(members(&relation, set), want);
        }
    }
}
