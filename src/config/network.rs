//! A network of addresses, as an operator writes it.

use std::{
    fmt,
    net::{AddrParseError, IpAddr, Ipv6Addr},
    str::FromStr,
};

/// Addresses that share their first bits: `10.0.0.0/8`, `2001:db8::/32`, one address, or `unix` for all peers of
/// Unix-domain sockets, which have none. RFC 4632 §3.1
///
/// An IPv4 address that is written in IPv6 (`::ffff:10.0.0.1`) is the IPv4 one.
///
/// ```
/// use sockeye::Network;
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains(Some("::ffff:10.1.2.3".parse().unwrap())));
/// assert!(!network.contains(Some("11.0.0.1".parse().unwrap())) && !network.contains(None));
/// # Ok::<(), sockeye::InvalidNetwork>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network(Kind);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Unix,
    /// IPv4 stands where it is in IPv6, so that both are one kind.
    Ip {
        first: u128,
        prefix_bits: u8,
    },
}

/// Bits in front of an IPv4 address that is written in IPv6. RFC 4291 §2.5.5.2
const MAPPED_BITS: u8 = 96;

impl Network {
    /// Whether an address is in it; `None` is that of a Unix-domain peer.
    pub fn contains(&self, address: Option<IpAddr>) -> bool {
        match (self.0, address) {
            (Kind::Unix, None) => true,
            (Kind::Ip { first, prefix_bits }, Some(address)) => {
                (bits(address) ^ first).checked_shr(128 - u32::from(prefix_bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Network, InvalidNetwork> {
        let invalid = |why| InvalidNetwork { text: text.to_owned(), why };
        if text == "unix" {
            return Ok(Network(Kind::Unix));
        }
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, prefix)| (a, Some(prefix)));
        let address: IpAddr =
            address.parse().map_err(|_: AddrParseError| invalid("it begins with no IP address"))?;
        let (most, offset) = if address.is_ipv4() { (32, MAPPED_BITS) } else { (128, 0) };
        let prefix_bits = match prefix {
            None => most,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|&bits| bits <= most)
                .ok_or(invalid("the prefix has at most 32 bits in IPv4 and 128 in IPv6"))?,
            Some(_) => {
                return Err(invalid("behind / stands the number of bits that all its addresses share"));
            }
        };
        let network = Kind::Ip { first: bits(address), prefix_bits: prefix_bits + offset };
        if bits(address).checked_shl(u32::from(prefix_bits + offset)).unwrap_or(0) != 0 {
            return Err(invalid("there are bits set behind its prefix: it is no network's first address"));
        }
        Ok(Network(network))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Unix => f.write_str("unix"),
            Kind::Ip { first, prefix_bits } => {
                let address = Ipv6Addr::from_bits(first);
                match address.to_ipv4_mapped().filter(|_| prefix_bits >= MAPPED_BITS) {
                    Some(v4) => write!(f, "{v4}/{}", prefix_bits - MAPPED_BITS),
                    None => write!(f, "{address}/{prefix_bits}"),
                }
            }
        }
    }
}

/// A text that is no network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidNetwork {
    text: String,
    why: &'static str,
}

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is no network: {}; give ADDRESS/BITS, such as 10.0.0.0/8, an address, or unix",
            self.text, self.why
        )
    }
}

impl std::error::Error for InvalidNetwork {}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().contains(Some(address.parse().unwrap()))
    }

    #[test]
    fn an_address_is_in_a_network_that_begins_as_it_does() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.168.4.0/22", "192.168.7.1", "192.168.8.1"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("127.0.0.1/32", "::ffff:127.0.0.1", "::1"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.9.9.9"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
            ("0.0.0.0/0", "255.1.2.3", "2001:db8::1"),
        ] {
            assert!(has(network, inside), "{network} {inside}");
            assert!(!has(network, outside), "{network} {outside}");
        }
        assert!(has("::/0", "1.2.3.4") && has("::/0", "ffff::"));
        let unix: Network = "unix".parse().unwrap();
        assert!(unix.contains(None) && !unix.contains(Some("127.0.0.1".parse().unwrap())));
    }

    #[test]
    fn what_is_no_network_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "no IP address"),
            ("localhost", "no IP address"),
            ("10.0.0.0/33", "at most 32 bits"),
            ("10.0.0.0/999", "at most 32 bits"),
            ("::/129", "at most 32 bits"),
            ("10.0.0.0/", "the number of bits"),
            ("10.0.0.0/+8", "the number of bits"),
            ("10.0.0.0/255.0.0.0", "the number of bits"),
            ("10.0.0.1/8", "bits set behind"),
            ("2001:db8::1/64", "bits set behind"),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_network_displays_as_it_is_written() {
        for text in ["10.0.0.0/8", "127.0.0.1/32", "2001:db8::/32", "::/0", "0.0.0.0/0", "unix"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
    }
}
