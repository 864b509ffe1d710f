//! The networks whose headers about clients are believed.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use super::address::PeerAddress;

/// The word for the peers of Unix sockets.
const UNIX: &str = "unix";

/// The networks of trusted proxies. The word `unix` stands for all peers that come
/// by a Unix socket. The default is empty.
///
/// ```
/// use heirloom::net::Networks;
///
/// let balancers: Networks = "127.0.0.1,10.0.0.0/8,::1".parse()?;
/// assert!(balancers.contains([10, 1, 2, 3].into()));
/// # Ok::<(), heirloom::net::NetworksError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    networks: Vec<IpNet>,
    unix: bool,
}

impl Networks {
    /// Whether this address is in one of them. An IPv4 address is the same
    /// where a socket for both families maps it into IPv6.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }

    /// Whether a peer with this address is in one of them.
    #[must_use]
    pub fn contains_peer(&self, peer: PeerAddress) -> bool {
        match peer {
            PeerAddress::Tcp(address) => self.contains(address.ip()),
            PeerAddress::Unix => self.unix,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }
}

/// A list of networks that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworksError {
    /// Neither address nor network.
    #[error(
        "{0:?} is neither an address nor a network; \
         write such as 127.0.0.1, ::1, 10.0.0.0/8 or unix, with commas between"
    )]
    Malformed(String),
    /// An address with bits outside of its prefix. It is refused because it may
    /// mean the address or the network.
    #[error("{written} is an address within {network}; write {network}, or the address alone")]
    HostBits {
        /// The text as it was given.
        written: IpNet,
        /// The network that contains it.
        network: IpNet,
    },
}

impl FromStr for Networks {
    type Err = NetworksError;

    /// Parses a comma-separated list of addresses and networks, and `unix`.
    fn from_str(list: &str) -> Result<Networks, NetworksError> {
        let mut networks = Networks::default();
        for item in list.split(',').map(str::trim) {
            if item == UNIX {
                networks.unix = true;
            } else {
                networks.networks.push(network(item)?);
            }
        }
        Ok(networks)
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Networks {
        Networks {
            networks: networks.into_iter().collect(),
            unix: false,
        }
    }
}

/// Joins several lists, for an option that is given more than once.
impl FromIterator<Networks> for Networks {
    fn from_iter<I: IntoIterator<Item = Networks>>(lists: I) -> Networks {
        let mut joined = Networks::default();
        for list in lists {
            joined.networks.extend(list.networks);
            joined.unix |= list.unix;
        }
        joined
    }
}

fn network(item: &str) -> Result<IpNet, NetworksError> {
    let malformed = || NetworksError::Malformed(item.to_owned());
    if let Ok(address) = item.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let written: IpNet = item.parse().map_err(|_| malformed())?;
    let network = written.trunc();
    if network != written {
        return Err(NetworksError::HostBits { written, network });
    }
    // `contains` compares IPv4 addresses, so an IPv4-mapped network becomes one
    // of IPv4.
    let unmapped = match network.addr() {
        IpAddr::V6(address) => address
            .to_ipv4_mapped()
            .zip(network.prefix_len().checked_sub(96)),
        IpAddr::V4(_) => None,
    };
    match unmapped {
        Some((address, prefix)) => Ipv4Net::new(address, prefix)
            .map(IpNet::V4)
            .map_err(|_| malformed()),
        None => Ok(network),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn networks_hold_their_addresses_however_these_come() {
        let networks: Networks = "127.0.0.1, 10.0.0.0/8,::1,2001:db8::/32".parse().unwrap();
        for (address, contained) in [
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("10.255.0.1", true),
            ("::ffff:10.255.0.1", true),
            ("::ffff:11.0.0.1", false),
            ("::1", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(networks.contains(address), contained, "{address}");
        }
        let all: Networks = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("::ffff:1.2.3.4".parse().unwrap()));
        assert!(!all.contains("::1".parse().unwrap()));
        for mapped in ["::ffff:10.0.0.0/104", "::ffff:10.0.0.1"] {
            let mapped: Networks = mapped.parse().unwrap();
            assert!(mapped.contains("10.0.0.1".parse().unwrap()));
            assert!(!mapped.contains("11.0.0.1".parse().unwrap()));
        }
    }

    #[test]
    fn networks_are_joined_and_nobody_is_the_default() {
        assert!(Networks::default().is_empty());
        assert!(!Networks::default().contains("192.0.2.9".parse().unwrap()));
        let lists = ["10.0.0.0/8", "::1"].map(|list| list.parse::<Networks>().unwrap());
        let joined: Networks = lists.into_iter().collect();
        assert!(!joined.is_empty());
        assert!(joined.contains("::1".parse().unwrap()));
        assert!(joined.contains("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_list_that_cannot_be_read_says_what_to_write() {
        for (list, says) in [
            ("", "\"\" is neither an address"),
            ("10.0.0.0/8,", "\"\" is neither an address"),
            (
                "localhost",
                "write such as 127.0.0.1, ::1, 10.0.0.0/8 or unix",
            ),
            ("10.0.0.0/33", "\"10.0.0.0/33\" is neither"),
            ("10.0.0.0/", "\"10.0.0.0/\" is neither"),
            ("127.0.0.1:80", "\"127.0.0.1:80\" is neither"),
            ("[::1]", "\"[::1]\" is neither"),
            ("10.1.2.3/8", "write 10.0.0.0/8, or the address alone"),
            ("2001:db8::1/32", "write 2001:db8::/32, or the address"),
        ] {
            let error = list.parse::<Networks>().unwrap_err().to_string();
            assert!(error.contains(says), "{list}: {error}");
        }
    }

    #[test]
    fn a_peer_of_a_unix_socket_is_trusted_by_its_word_alone() {
        let tcp = PeerAddress::from("127.0.0.1:1".parse::<SocketAddr>().unwrap());
        let all: Networks = "0.0.0.0/0,::/0".parse().unwrap();
        assert!(all.contains_peer(tcp) && !all.contains_peer(PeerAddress::Unix));
        let unix: Networks = "unix".parse().unwrap();
        assert!(unix.contains_peer(PeerAddress::Unix) && !unix.contains_peer(tcp));
        assert!(!unix.is_empty());
        let joined: Networks = [unix, all].into_iter().collect();
        assert!(joined.contains_peer(tcp) && joined.contains_peer(PeerAddress::Unix));
    }
}
