//! The PROXY protocol: the header in front of all that a connection brings, in which a proxy says whom it passes on.
//!
//! Until it is whole the connection is none of the engine's: it waits in a room of its own. Nothing of what follows the
//! header is read, so that whoever takes the socket next, TLS or not, finds it as if there had been none.
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>

use super::{Server, socket::Socket};
use crate::{
    engine::{Handler, PeerInfo, TurnedAway},
    time::Tick,
};
use mio::{Registry, Token};
use std::{collections::VecDeque, io, net::SocketAddr};

/// Arrival `i` has this token plus `i`: far above all dials and far below all listeners.
pub(super) const ARRIVALS: usize = usize::MAX / 4 * 3;
/// Connections that wait for their header, at most: a proxy sends it at once.
const ARRIVALS_MAX: usize = 1024;
/// The longest header of version 1.
const V1_BYTES_MAX: usize = 107;
/// The longest header of version 2 that is taken: one with the addresses of Unix-domain sockets, and 304 bytes more.
const V2_BYTES_MAX: usize = 536;
/// What version 2 begins with; behind it are version and command, family, and the length of the rest.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED_BYTES: usize = 16;
const V1: &[u8] = b"PROXY ";
/// The shortest headers of version 1, by what they begin with; there is none of version 2 that is shorter.
const V1_SHORTEST: [(&[u8], usize); 2] = [
    (b"PROXY TCP4", b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n".len()),
    (b"PROXY TCP6", b"PROXY TCP6 :: :: 1 1\r\n".len()),
];
const SHORTEST: usize = b"PROXY UNKNOWN\r\n".len();

/// Connections whose header is not whole yet.
#[derive(Debug)]
pub(super) struct Arrivals {
    places: Vec<Option<Arrival>>,
    free: Vec<usize>,
    /// When each came, by its place and its number; in this order.
    came: VecDeque<(Tick, usize, u64)>,
    /// That of the next one.
    number: u64,
    header_ms_max: u32,
}

#[derive(Debug)]
struct Arrival {
    number: u64,
    socket: Socket,
    info: PeerInfo,
    header: Header,
}

impl Arrivals {
    pub(super) fn new(header_ms_max: u32) -> Arrivals {
        Arrivals { places: Vec::new(), free: Vec::new(), came: VecDeque::new(), number: 0, header_ms_max }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.len() == self.free.len()
    }

    /// Drops all of them.
    pub(super) fn clear(&mut self) {
        *self = Arrivals::new(self.header_ms_max);
    }

    /// Another limit from now on, for those who wait too.
    pub(super) fn set_header_ms_max(&mut self, header_ms_max: u32) {
        self.header_ms_max = header_ms_max;
    }

    /// When one of them is waited for no longer, or before.
    pub(super) fn next(&self) -> Option<Tick> {
        self.came.front().map(|&(at, ..)| at.after(self.header_ms_max))
    }

    /// Lets one wait; gives it back with the reason when it cannot.
    fn wait(&mut self, registry: &Registry, now: Tick, mut arrival: Arrival) -> Result<(), TurnedAway> {
        if self.places.len() - self.free.len() >= ARRIVALS_MAX {
            return Err(TurnedAway::TooMany);
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        if arrival.socket.register(registry, Token(ARRIVALS + place)).is_err() {
            self.free.push(place);
            return Err(TurnedAway::TooMany);
        }
        arrival.number = self.number;
        self.came.push_back((now, place, self.number));
        self.number += 1;
        self.places[place] = Some(arrival);
        Ok(())
    }

    fn take(&mut self, place: usize) -> Option<Arrival> {
        let arrival = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        while let Some(&(_, place, number)) = self.came.front()
            && self.places[place].as_ref().is_none_or(|arrival| arrival.number != number)
        {
            self.came.pop_front();
        }
        Some(arrival)
    }

    /// Takes out one that was waited for long enough.
    fn take_late(&mut self, now: Tick) -> Option<Arrival> {
        let &(at, place, _) = self.came.front()?;
        if at.after(self.header_ms_max) > now { None } else { self.take(place) }
    }
}

impl<H: Handler> Server<H> {
    /// A connection came to a listener of proxies.
    pub(super) fn arrive(&mut self, mut socket: Socket, info: PeerInfo) {
        // Who can reach a socket of the file system was let by whoever owns it.
        if info.address.is_some() && !self.engine.trusts(&info) {
            return self.turn_away(&info, TurnedAway::Untrusted);
        }
        let mut header = Header::default();
        match header.read(&mut socket) {
            Ok(Some(client)) => self.passed_on(socket, info, client),
            Ok(None) => {
                let arrival = Arrival { number: 0, socket, info, header };
                if let Err(why) = self.arrivals.wait(self.poll.registry(), self.now.tick, arrival) {
                    self.turn_away(&info, why);
                }
            }
            Err(error) => self.turn_away(&info, why(&error)),
        }
    }

    pub(super) fn arrival_ready(&mut self, place: usize) {
        let Some(arrival) = self.arrivals.places.get_mut(place).and_then(Option::as_mut) else { return };
        let read = arrival.header.read(&mut arrival.socket);
        if matches!(read, Ok(None)) {
            return;
        }
        let Some(Arrival { mut socket, info, .. }) = self.arrivals.take(place) else { return };
        match read {
            Ok(client) => {
                // Registered anew it is told of what lies behind the header.
                if socket.deregister(self.poll.registry()).is_ok() {
                    self.passed_on(socket, info, client.unwrap_or_default());
                }
            }
            Err(error) => self.turn_away(&info, why(&error)),
        }
    }

    /// Gives up those whose header does not come.
    pub(super) fn advance_arrivals(&mut self) {
        while let Some(arrival) = self.arrivals.take_late(self.now.tick) {
            self.turn_away(&arrival.info, TurnedAway::Late);
        }
    }

    fn passed_on(&mut self, socket: Socket, info: PeerInfo, client: Client) {
        let id = match client {
            Client::At(address) => {
                self.engine.handle_accept_proxied(self.now, PeerInfo { address: Some(address), ..info })
            }
            Client::Unsaid => self.engine.handle_accept_proxied(self.now, info),
        };
        self.settle_in(socket, id);
    }

    fn turn_away(&mut self, info: &PeerInfo, why: TurnedAway) {
        self.engine.handle_turned_away(self.now, info, why);
        self.obey();
    }
}

fn why(error: &io::Error) -> TurnedAway {
    match error.kind() {
        io::ErrorKind::InvalidData => TurnedAway::Malformed,
        _ => TurnedAway::Lost,
    }
}

/// Whom a connection is for.
#[cfg_attr(not(feature = "proxy"), allow(dead_code, reason = "nobody is named"))]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Client {
    At(SocketAddr),
    /// The proxy itself (LOCAL), or somebody of whom it does not know the address.
    #[default]
    Unsaid,
}

/// What came of a header so far.
#[derive(Debug, Default)]
struct Header(Vec<u8>);

impl Header {
    /// Reads on, and no byte past the end of the header; `None` until it is whole.
    fn read(&mut self, socket: &mut Socket) -> io::Result<Option<Client>> {
        loop {
            let missing = self.missing().ok_or(io::ErrorKind::InvalidData)?;
            if missing == 0 {
                return Ok(Some(client_of(&self.0).ok_or(io::ErrorKind::InvalidData)?));
            }
            let mut space = [0; V2_BYTES_MAX];
            match socket.read_raw(&mut space[..missing]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.0.extend_from_slice(&space[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// How many bytes come at least, of either version; `None` where this is the beginning of neither.
    fn missing(&self) -> Option<usize> {
        let bytes = &self.0[..];
        let begins = |with: &[u8]| bytes.starts_with(with) || with.starts_with(bytes);
        if bytes.is_empty() {
            return Some(SHORTEST);
        }
        if begins(V2) {
            if bytes.len() < SHORTEST {
                return Some(SHORTEST - bytes.len());
            }
            let Some(&[high, low]) = bytes.get(V2_FIXED_BYTES - 2..V2_FIXED_BYTES) else {
                return Some(V2_FIXED_BYTES - bytes.len());
            };
            let whole = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
            return (whole <= V2_BYTES_MAX).then_some(whole - bytes.len());
        }
        if !begins(V1) {
            return None;
        }
        if bytes.ends_with(b"\r\n") {
            return Some(0);
        }
        if bytes.contains(&b'\n') {
            return None;
        }
        let known = V1_SHORTEST.iter().find(|(with, _)| bytes.starts_with(with));
        let shortest = known.map_or(SHORTEST, |&(_, len)| len);
        let line_end = if bytes.ends_with(b"\r") { 1 } else { 2 };
        let missing = shortest.saturating_sub(bytes.len()).max(line_end);
        (bytes.len() + missing <= V1_BYTES_MAX).then_some(missing)
    }
}

/// What a whole header says; `None` where it is none.
#[cfg(feature = "proxy")]
fn client_of(bytes: &[u8]) -> Option<Client> {
    use proxy_header::{ParseConfig, Protocol, ProxyHeader};
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (header, len) = ProxyHeader::parse(bytes, config).ok()?;
    match header.proxied_address() {
        _ if len != bytes.len() => None,
        None => Some(Client::Unsaid),
        Some(client) if client.protocol == Protocol::Stream => Some(Client::At(client.source)),
        Some(_) => None,
    }
}

/// Nothing listens for it.
#[cfg(not(feature = "proxy"))]
fn client_of(_: &[u8]) -> Option<Client> {
    None
}

#[cfg(test)]
#[cfg(feature = "proxy")]
mod tests {
    use super::*;

    /// Reads from what came by steps of `step` bytes; whom it is for, and what was left of it.
    fn read(mut came: &[u8], step: usize) -> (Option<Client>, &[u8]) {
        let mut header = Header::default();
        loop {
            match header.missing() {
                None => return (None, came),
                Some(0) => return (client_of(&header.0), came),
                Some(missing) => {
                    let n = missing.min(step).min(came.len());
                    if n == 0 {
                        return (None, came);
                    }
                    header.0.extend_from_slice(&came[..n]);
                    came = &came[n..];
                    assert!(header.0.len() <= V2_BYTES_MAX);
                }
            }
        }
    }

    fn at(address: &str) -> Option<Client> {
        Some(Client::At(address.parse().expect("it is an address")))
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        [V2, &[command, family], &(rest.len() as u16).to_be_bytes(), rest].concat()
    }

    #[test]
    fn a_header_is_read_however_it_is_cut_and_nothing_behind_it() {
        let v4 = [&[192, 0, 2, 1, 10, 0, 0, 1][..], &[0x12, 0x34, 0, 80]].concat();
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0, 99, 0, 80]].concat();
        let with_tlv = [&v4[..], &[4, 0, 3, b'a', b'b', b'c']].concat();
        let longest = [&[0; 216][..], &[0xee; 304]].concat();
        for (header, client) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n".to_vec(), at("192.0.2.1:4660")),
            (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(), at("1.1.1.1:1")),
            (b"PROXY TCP6 2001:db8::7 ::1 99 80\r\n".to_vec(), at("[2001:db8::7]:99")),
            (b"PROXY TCP6 :: :: 1 1\r\n".to_vec(), at("[::]:1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Some(Client::Unsaid)),
            (b"PROXY UNKNOWN 1 2 3 and whatever else\r\n".to_vec(), Some(Client::Unsaid)),
            (v2(0x21, 0x11, &v4), at("192.0.2.1:4660")),
            (v2(0x21, 0x11, &with_tlv), at("192.0.2.1:4660")),
            (v2(0x21, 0x21, &v6), at("[2001:db8::7]:99")),
            (v2(0x20, 0x11, &v4), Some(Client::Unsaid)),
            (v2(0x20, 0, b""), Some(Client::Unsaid)),
            (v2(0x21, 0, b"anything"), Some(Client::Unsaid)),
            (v2(0x21, 0x31, &longest), Some(Client::Unsaid)),
        ] {
            for step in 1..=header.len() {
                let came = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
                assert_eq!(read(&came, step), (client, &b"GET / HTTP/1.1\r\n"[..]), "{header:?} by {step}");
            }
            for len in 0..header.len() {
                assert_eq!(read(&header[..len], usize::MAX).0, None, "{header:?} of {len}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_it_is_the_same_in_any_pieces(
            beginning in 0..5_usize,
            mut rest in proptest::collection::vec(proptest::num::u8::ANY, 0..700),
            step in 1..40_usize,
        ) {
            let short = [b'\0', rest.len() as u8];
            let with_length = [V2, b"\x21\x11", &short].concat();
            let beginning = [&b""[..], V1, b"PROXY TCP4 ", b"PROXY TCP6 ::1 ::1 ", &with_length][beginning];
            rest.splice(0..0, beginning.iter().copied());
            let whole = read(&rest, usize::MAX);
            proptest::prop_assert_eq!(whole.0, read(&rest, step).0);
            if whole.0.is_some() {
                proptest::prop_assert_eq!(whole, read(&rest, step));
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_within_its_bounds() {
        let long = [b"PROXY UNKNOWN ", &[b'x'; 200][..], b"\r\n"].concat();
        for came in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 a ClientHello",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4660\r\n and more than that",
            b"PROXY TCP4 192.0.2.256 10.0.0.1 4660 80\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 99 80\r\n and more than that",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 66000 80\r\n",
            b"PROXY TCP5 192.0.2.1 10.0.0.1 4660 80\r\n",
            b"PROXY TCP4  192.0.2.1 10.0.0.1 4660 80\r\n",
            b"PROXYTCP4 192.0.2.1 10.0.0.1 4660 80\r\n",
            b"proxy tcp4 192.0.2.1 10.0.0.1 4660 80\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\n and no CR at all, whatever comes, to the end of what may, and past",
            &long,
            &v2(0x31, 0x11, &[0; 12]),
            &v2(0x22, 0x11, &[0; 12]),
            &v2(0x21, 0x11, &[0; 11]),
            &v2(0x21, 0x12, &[0; 12]), // datagrams
            &v2(0x21, 0x41, &[0; 12]),
            &v2(0x21, 0x11, &[0; V2_BYTES_MAX]),
        ] {
            assert_eq!(read(came, usize::MAX).0, None, "{came:?}");
        }
    }
}
