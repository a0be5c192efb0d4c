//! The peers: a slab whose slots carry a generation, so that a stale id finds nothing.

use super::{ConnId, PeerInfo, outbox::Outbox};
use crate::{conn::Connection, time::Stamp};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// One peer. Two cache lines: what every frame touches is here, what it does not is in [`Peers::infos`].
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) conn: Connection,
    pub(super) outbox: Outbox,
    /// While backlogged: when the peer last took a byte.
    pub(super) took_at: Stamp,
    generation: u32,
    pub(super) flags: Flags,
}

/// What is true of a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    pub(super) occupied: bool,
    /// `on_open` was called and `on_close` is owed.
    pub(super) opened: bool,
    /// Its outbox is above the soft mark: it is not read.
    pub(super) backlogged: bool,
    /// The handler asked that it is not read.
    pub(super) held: bool,
    /// Its socket took less than it was given; it is writable again later.
    pub(super) blocked: bool,
    /// It is on the list of those to be written to.
    pub(super) dirty: bool,
    /// It was sent what another connection brought: it is written to once, when all have been read.
    pub(super) hears_others: bool,
    /// It is to be failed as soon as the handler returns.
    pub(super) doomed: bool,
    /// What it was sent ends inside a frame: a Close cannot follow.
    pub(super) mute: bool,
    /// Its socket is to be closed: that was said once.
    pub(super) dropped: bool,
}

/// All peers of an engine.
#[derive(Debug, Default)]
pub(super) struct Peers {
    slots: Vec<Peer>,
    infos: Vec<PackedInfo>,
    free: Vec<u32>,
}

impl Peers {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// One past the highest index in use.
    pub(super) fn end(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(super) fn insert(&mut self, conn: Connection, info: PeerInfo) -> ConnId {
        let flags = Flags { occupied: true, ..Flags::default() };
        let took_at = Stamp::default();
        match self.free.pop() {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                *slot = Peer { conn, outbox: Outbox::default(), took_at, flags, generation: slot.generation };
                self.infos[index as usize] = PackedInfo::from(info);
                self.id(index)
            }
            None => {
                self.slots.push(Peer { conn, outbox: Outbox::default(), took_at, flags, generation: 0 });
                self.infos.push(PackedInfo::from(info));
                self.id(self.end() - 1)
            }
        }
    }

    pub(super) fn remove(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        debug_assert!(slot.flags.occupied && slot.outbox.held_bytes() == 0);
        slot.generation = slot.generation.wrapping_add(1);
        slot.flags = Flags::default();
        self.free.push(index);
        if self.len() == 0 {
            self.trim();
        }
    }

    /// The index of `id`, if that connection is still here.
    #[inline]
    pub(super) fn find(&self, id: ConnId) -> Option<u32> {
        let slot = self.slots.get(id.index as usize)?;
        (slot.generation == id.generation && slot.flags.occupied).then_some(id.index)
    }

    pub(super) fn id(&self, index: u32) -> ConnId {
        ConnId { index, generation: self.slots[index as usize].generation }
    }

    pub(super) fn info(&self, index: u32) -> PeerInfo {
        self.infos[index as usize].unpack()
    }

    pub(super) fn is_occupied(&self, index: u32) -> bool {
        self.slots.get(index as usize).is_some_and(|peer| peer.flags.occupied)
    }

    /// The connection that holds most bytes, and how many.
    pub(super) fn largest_holder(&self) -> Option<(u32, usize)> {
        (0..self.end())
            .map(|index| (index, &self[index]))
            .filter(|(_, peer)| peer.flags.occupied && !peer.flags.doomed)
            .map(|(index, peer)| (index, peer.outbox.held_bytes() + peer.conn.held_bytes()))
            .max_by_key(|&(_, held)| held)
            .filter(|&(_, held)| held > 0)
    }

    /// Everybody has left: lists that grew with a crowd go. The slots stay, for their generations.
    fn trim(&mut self) {
        self.free.sort_unstable_by(|a, b| b.cmp(a));
        self.free.shrink_to(2 * self.slots.len());
    }
}

/// A [`PeerInfo`] in 22 bytes instead of 36: there is one for each idle connection.
#[derive(Clone, Copy, Debug)]
struct PackedInfo {
    ip: [u8; 16],
    port: u16,
    listener: u16,
    family: Family,
}

#[derive(Clone, Copy, Debug)]
enum Family {
    V4,
    V6,
    Unix,
}

impl From<PeerInfo> for PackedInfo {
    fn from(info: PeerInfo) -> PackedInfo {
        let (ip, port, family) = match info.address {
            Some(SocketAddr::V4(v4)) => (v4.ip().to_ipv6_mapped(), v4.port(), Family::V4),
            Some(SocketAddr::V6(v6)) => (*v6.ip(), v6.port(), Family::V6),
            None => (Ipv6Addr::UNSPECIFIED, 0, Family::Unix),
        };
        PackedInfo { ip: ip.octets(), port, listener: info.listener, family }
    }
}

impl PackedInfo {
    fn unpack(&self) -> PeerInfo {
        let ip = Ipv6Addr::from(self.ip);
        let ip = match self.family {
            Family::V4 => ip.to_ipv4_mapped().map(IpAddr::V4),
            Family::V6 => Some(IpAddr::V6(ip)),
            Family::Unix => None,
        };
        PeerInfo { address: ip.map(|ip| SocketAddr::new(ip, self.port)), listener: self.listener }
    }
}

impl std::ops::Index<u32> for Peers {
    type Output = Peer;

    #[inline]
    fn index(&self, index: u32) -> &Peer {
        &self.slots[index as usize]
    }
}

impl std::ops::IndexMut<u32> for Peers {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut Peer {
        &mut self.slots[index as usize]
    }
}
