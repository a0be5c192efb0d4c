//! The peers: a slab whose slots carry a generation, so that a stale id finds nothing.

use super::{ConnId, PeerInfo, outbox::Outbox};
use crate::{bits::Bits, conn::Connection, time::Stamp};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// One peer. Two cache lines: what every frame touches is here, what it does not is in [`Peers::infos`].
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) conn: Connection,
    pub(super) outbox: Outbox,
    /// While backlogged: when the peer last took a byte.
    pub(super) took_at: Stamp,
    generation: u32,
    pub(super) flags: Bits,
}

/// What may be true of a peer.
pub(super) mod flag {
    /// There is one in the slot.
    pub(in super::super) const OCCUPIED: u16 = 1;
    /// `on_open` was called and `on_close` is owed.
    pub(in super::super) const OPENED: u16 = 1 << 1;
    /// Its outbox is above the soft mark: it is not read.
    pub(in super::super) const BACKLOGGED: u16 = 1 << 2;
    /// The handler asked that it is not read.
    pub(in super::super) const HELD: u16 = 1 << 3;
    /// Its socket took less than it was given; it is writable again later.
    pub(in super::super) const BLOCKED: u16 = 1 << 4;
    /// It is on the list of those to be written to.
    pub(in super::super) const DIRTY: u16 = 1 << 5;
    /// It was sent what another connection brought: it is written to once, when all have been read.
    pub(in super::super) const HEARS_OTHERS: u16 = 1 << 6;
    /// It is to be failed as soon as the handler returns.
    pub(in super::super) const DOOMED: u16 = 1 << 7;
    /// What it was sent ends inside a frame: a Close cannot follow.
    pub(in super::super) const MUTE: u16 = 1 << 8;
    /// Its socket is to be closed: that was said once.
    pub(in super::super) const DROPPED: u16 = 1 << 9;
    /// Writing to it failed.
    pub(in super::super) const UNWRITABLE: u16 = 1 << 11;
    /// It is one too many, and does not count.
    pub(in super::super) const REFUSED: u16 = 1 << 10;
    /// It was dialled, and neither `on_open` nor `on_dial_failed` was called yet: one of them is owed.
    pub(in super::super) const DIALLED: u16 = 1 << 12;
    /// What it sends may go to many: little of it is read at a time.
    pub(in super::super) const SPREADS: u16 = 1 << 13;
    /// It has sent more in a second than it may: it is not read for a while.
    pub(in super::super) const THROTTLED: u16 = 1 << 14;
    /// It is read out and then closed: no limit on what it may send in a second holds that up.
    pub(in super::super) const LEAVING: u16 = 1 << 15;
}

/// All peers of an engine.
#[derive(Debug)]
pub(super) struct Peers {
    slots: Vec<Peer>,
    infos: Vec<PackedInfo>,
    free: Vec<u32>,
    /// The generation of the next connection: each has its own.
    generation: u32,
}

/// Peers there is room for from the start: so much address space, and no memory until they come.
const ROOM: usize = 16 << 10;

impl Default for Peers {
    fn default() -> Peers {
        Peers {
            slots: Vec::with_capacity(ROOM),
            infos: Vec::with_capacity(ROOM),
            free: Vec::new(),
            generation: 0,
        }
    }
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
        let mut flags = Bits::default();
        flags.set(flag::OCCUPIED, true);
        let (took_at, generation) = (Stamp::default(), self.generation);
        self.generation = self.generation.wrapping_add(1);
        match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] =
                    Peer { conn, outbox: Outbox::default(), took_at, flags, generation };
                self.infos[index as usize] = PackedInfo::from(info);
                self.id(index)
            }
            None => {
                self.slots.push(Peer { conn, outbox: Outbox::default(), took_at, flags, generation });
                self.infos.push(PackedInfo::from(info));
                self.id(self.end() - 1)
            }
        }
    }

    /// The generation of the connection that comes next.
    pub(super) fn next_generation(&self) -> u32 {
        self.generation
    }

    /// Whether the connection at `index` came when `generation` was the next one, or later.
    pub(super) fn came_since(&self, index: u32, generation: u32) -> bool {
        self.slots[index as usize].generation.wrapping_sub(generation) < u32::MAX / 2
    }

    pub(super) fn remove(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        debug_assert!(slot.flags.has(flag::OCCUPIED) && slot.outbox.held_bytes() == 0);
        slot.flags = Bits::default();
        self.free.push(index);
        if self.len() == 0 {
            self.trim();
        }
    }

    /// The index of `id`, if that connection is still here.
    #[inline]
    pub(super) fn find(&self, id: ConnId) -> Option<u32> {
        let slot = self.slots.get(id.index as usize)?;
        (slot.generation == id.generation && slot.flags.has(flag::OCCUPIED)).then_some(id.index)
    }

    pub(super) fn id(&self, index: u32) -> ConnId {
        ConnId { index, generation: self.slots[index as usize].generation }
    }

    pub(super) fn info(&self, index: u32) -> PeerInfo {
        self.infos[index as usize].unpack()
    }

    pub(super) fn set_address(&mut self, index: u32, address: SocketAddr) {
        let info = PeerInfo { address: Some(address), ..self.info(index) };
        let is_proxied = self.is_proxied(index);
        self.infos[index as usize] = PackedInfo { is_proxied, ..PackedInfo::from(info) };
    }

    /// What its address is, a proxy has said.
    pub(super) fn set_proxied(&mut self, index: u32) {
        self.infos[index as usize].is_proxied = true;
    }

    pub(super) fn is_proxied(&self, index: u32) -> bool {
        self.infos[index as usize].is_proxied
    }

    pub(super) fn is_occupied(&self, index: u32) -> bool {
        self.slots.get(index as usize).is_some_and(|peer| peer.flags.has(flag::OCCUPIED))
    }

    /// The connection that holds most bytes, and how many.
    pub(super) fn largest_holder(&self) -> Option<(u32, usize)> {
        (0..self.end())
            .map(|index| (index, &self[index]))
            .filter(|(_, peer)| peer.flags.has(flag::OCCUPIED) && !peer.flags.has(flag::DOOMED))
            .map(|(index, peer)| (index, peer.outbox.held_bytes() + peer.conn.held_bytes()))
            .max_by_key(|&(_, held)| held)
            .filter(|&(_, held)| held > 0)
    }

    /// Everybody has left: the tables that grew with a crowd go too.
    fn trim(&mut self) {
        self.slots.clear();
        self.slots.shrink_to(ROOM);
        self.infos.clear();
        self.infos.shrink_to(ROOM);
        self.free = Vec::new();
    }
}

/// A [`PeerInfo`] in 22 bytes instead of 36: there is one for each idle connection.
#[derive(Clone, Copy, Debug)]
struct PackedInfo {
    ip: [u8; 16],
    port: u16,
    listener: u16,
    family: Family,
    is_proxied: bool,
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
        PackedInfo { ip: ip.octets(), port, listener: info.listener, family, is_proxied: false }
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
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_peer_is_two_cache_lines_and_its_address_a_third_of_one() {
        assert_eq!(size_of::<Peer>(), 128);
        assert_eq!(size_of::<PackedInfo>(), 22);
    }

    #[test]
    fn a_packed_address_is_the_one_that_was_packed() {
        for text in ["127.0.0.1:4863", "[::1]:80", "[2001:db8::7]:65535", "0.0.0.0:0"] {
            let info = PeerInfo { address: Some(text.parse().unwrap()), listener: 3 };
            assert_eq!(PackedInfo::from(info).unpack(), info);
        }
        let unix = PeerInfo { address: None, listener: u16::MAX };
        assert_eq!(PackedInfo::from(unix).unpack(), unix);
    }
}
