//! How many connections each address has, over all workers.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections of each address, where they are limited.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<HashMap<IpAddr, usize>>);

/// The place of one connection among those of its address, as long as it lives.
#[derive(Debug)]
pub(super) struct AddressPlace {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    /// Takes a place for a connection from this address; `None` where there are
    /// `limit` already.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, limit: usize) -> Option<AddressPlace> {
        let address = counted(address);
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(AddressPlace {
            addresses: Arc::clone(self),
            address,
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // A count changes as a whole, so a panic leaves no half of one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut counts = self.addresses.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// The address under which a connection counts: one client of IPv6 has a whole
/// /64 network.
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_limit_and_a_network_of_ipv6_one() {
        let addresses: Arc<Addresses> = Arc::default();
        let take = |text: &str| addresses.take(text.parse().expect("an address"), 2);
        let first = take("192.0.2.1");
        let second = take("::ffff:192.0.2.1");
        assert!(first.is_some() && second.is_some());
        assert!(take("192.0.2.1").is_none());
        assert!(take("192.0.2.2").is_some());
        let network = [take("2001:db8::1"), take("2001:db8::ffff:0:0:2")];
        assert!(network.iter().all(Option::is_some));
        assert!(take("2001:db8::3").is_none());
        assert!(take("2001:db8:0:1::3").is_some());
        drop(first);
        assert!(take("192.0.2.1").is_some());
        drop((second, network));
        assert!(addresses.counts().is_empty());
    }
}
