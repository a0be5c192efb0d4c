//! What one address may have and do: connections at a time, handshakes a second. Whoever comes by a trusted proxy is
//! judged once its request says for whom it is, all others when they are accepted; both in the same way.

use super::{PeerInfo, forwarded, rate::Paid};
use crate::{
    config::{Config, ForwardedHeader, Network},
    time::Tick,
    wire::{handshake::Refusal, http_request::RequestHead},
};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

#[derive(Debug)]
pub(super) struct Addresses {
    trusted: Vec<Network>,
    forwarded: ForwardedHeader,
    connections_max: u32,
    handshakes_max: u32,
    connections: HashMap<IpAddr, u32>,
    /// Of those that began a handshake in the last second or so.
    handshakes: HashMap<IpAddr, Paid>,
    /// When the table of handshakes is rid of those that are settled, if it is large then.
    sweep_at: Tick,
}

/// Addresses whose handshakes are counted, at most. Who comes beyond is let in uncounted: that many at a time are too many
/// for a limit per address to matter.
const HANDSHAKES_MAX: usize = 64 << 10;
/// With fewer of them nothing is swept.
const SWEEP_FROM: usize = 1 << 10;
const SWEEP_MS: u32 = 1_000;

impl Addresses {
    pub(super) fn new(config: &Config) -> Addresses {
        Addresses {
            trusted: config.trusted_proxies.clone(),
            forwarded: config.forwarded_header,
            connections_max: config.limits.connections_per_address_max,
            handshakes_max: config.limits.handshakes_per_address_per_second_max,
            connections: HashMap::new(),
            handshakes: HashMap::new(),
            sweep_at: Tick::ZERO,
        }
    }

    /// Another limit from now on.
    pub(super) fn set_handshakes_max(&mut self, handshakes_max: u32) {
        self.handshakes_max = handshakes_max;
        self.handshakes.clear();
    }

    /// Whether what a peer says of others' addresses is believed.
    #[inline]
    pub(super) fn trusts(&self, info: &PeerInfo) -> bool {
        let address = info.address.map(|address| address.ip());
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// For whom a request of a trusted peer is, if that is said.
    pub(super) fn client_of(&self, head: &RequestHead<'_>) -> Option<SocketAddr> {
        forwarded::client_of(head, self.forwarded, &self.trusted)
    }

    /// Counts a connection, or says why there may not be one more from its address.
    pub(super) fn admit(&mut self, now: Tick, info: &PeerInfo) -> Result<(), Refusal> {
        let Some(key) = self.key(info) else { return Ok(()) };
        if self.handshakes_max > 0 && !self.begins(now, key) {
            return Err(Refusal::TooManyHandshakes { limit: self.handshakes_max });
        }
        if self.connections_max > 0 {
            let count = self.connections.entry(key).or_insert(0);
            if *count >= self.connections_max {
                return Err(Refusal::Unavailable("this address has as many connections as it may have"));
            }
            *count += 1;
        }
        Ok(())
    }

    /// A connection that was counted has ended.
    pub(super) fn leave(&mut self, info: &PeerInfo) {
        if self.connections_max > 0
            && let Some(key) = self.key(info)
            && let Some(count) = self.connections.get_mut(&key)
        {
            *count -= 1;
            if *count == 0 {
                self.connections.remove(&key);
            }
        }
    }

    /// Whether one more handshake may begin now.
    fn begins(&mut self, now: Tick, key: IpAddr) -> bool {
        if self.handshakes.len() >= SWEEP_FROM && self.sweep_at <= now {
            self.sweep_at = now.after(SWEEP_MS);
            self.handshakes.retain(|_, paid| !paid.is_settled(now));
        }
        if self.handshakes.len() >= HANDSHAKES_MAX && !self.handshakes.contains_key(&key) {
            return true;
        }
        let paid = self.handshakes.entry(key).or_default();
        let has_room = paid.room(now, self.handshakes_max) > 0;
        if has_room {
            paid.take(now, 1, self.handshakes_max);
        }
        has_room
    }

    /// What a peer is counted under, where it is: not where it has no address, or a trusted proxy's, which is many's.
    fn key(&self, info: &PeerInfo) -> Option<IpAddr> {
        let is_limited = self.connections_max > 0 || self.handshakes_max > 0;
        let address = info.address.filter(|_| is_limited && !self.trusts(info))?;
        Some(match address.ip().to_canonical() {
            // Whoever has one address of such a network has all of them. RFC 6177
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & NETWORK_64)),
            v4 => v4,
        })
    }
}

/// The first 64 bits.
const NETWORK_64: u128 = !0 << 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn from(ip: impl Into<IpAddr>) -> PeerInfo {
        PeerInfo { address: Some(SocketAddr::new(ip.into(), 1)), listener: 0 }
    }

    #[test]
    fn the_table_of_handshakes_is_bounded_and_forgets() {
        let mut config = Config::default();
        config.limits.handshakes_per_address_per_second_max = 1;
        let mut addresses = Addresses::new(&config);
        for i in 0..HANDSHAKES_MAX as u32 + 100 {
            let now = Tick::from_ms(5_000);
            assert_eq!(addresses.admit(now, &from(std::net::Ipv4Addr::from_bits(i))), Ok(()));
        }
        assert_eq!(addresses.handshakes.len(), HANDSHAKES_MAX);
        let first = from(std::net::Ipv4Addr::from_bits(0));
        assert!(addresses.admit(Tick::from_ms(5_999), &first).is_err());
        assert!(addresses.admit(Tick::from_ms(6_000), &first).is_ok());
        assert_eq!(addresses.handshakes.len(), 1);
    }
}
