//! The servers of one backend, and in which order a client's request tries them.

use std::collections::VecDeque;
use std::fmt::Display;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sha1::{Digest, Sha1};

use super::health::{Availability, Health, RestTimes, now_ms};
use super::url::Url;

/// Which of several targets a client gets, as long as none of them rests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balance {
    /// The first one that can be reached.
    #[default]
    First,
    /// Each in turn.
    RoundRobin,
    /// The same one for the same address (for the same /64 network of IPv6), in any
    /// process with the same targets. One that is lost moves its own clients only.
    /// Clients without an address get each in turn.
    ClientAddress,
}

/// How the targets of a backend are found to be there or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Check {
    /// By the connections of clients alone.
    #[default]
    Off,
    /// By a connection of TCP too, and by TLS where that is spoken.
    Tcp,
    /// By an opening handshake too, as for a client.
    WebSocket,
}

/// How targets are chosen, tried and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TargetOptions {
    pub(super) balance: Balance,
    pub(super) rest_ms: u64,
    pub(super) most_rest_ms: u64,
    pub(super) connect_ms: u64,
    pub(super) check: Check,
    pub(super) check_interval_ms: u64,
}

impl Default for TargetOptions {
    fn default() -> TargetOptions {
        TargetOptions {
            balance: Balance::First,
            rest_ms: 1_000,
            most_rest_ms: 60_000,
            connect_ms: 2_000,
            check: Check::Off,
            check_interval_ms: 5_000,
        }
    }
}

/// One server of a backend.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) url: Url,
    /// Its server, as lines name it.
    name: String,
    health: Health,
    times: RestTimes,
}

/// What is known of one server of a backend.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TargetState<'a> {
    /// Its URL.
    pub url: &'a Url,
    /// Its server, as access lines name it.
    pub server: &'a str,
    /// Whether it could not be reached when it was tried last.
    pub is_resting: bool,
    /// How often it was reached, by clients and checks.
    pub connects: u64,
    /// How often it could not be reached, by clients and checks.
    pub failures: u64,
}

impl Target {
    fn new(url: Url, options: &TargetOptions) -> Target {
        Target {
            name: url.server(),
            url,
            health: Health::default(),
            times: RestTimes {
                first_ms: options.rest_ms,
                most_ms: options.most_rest_ms.max(options.rest_ms),
                trial_ms: options.connect_ms,
            },
        }
    }

    /// Its server, as lines name it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// It was reached.
    pub(super) fn reached(&self) {
        self.health.reached(&self.name, now_ms());
    }

    /// It could not be reached, for this reason.
    pub(super) fn failed(&self, why: &dyn Display, is_trial: bool) {
        let at = (now_ms(), self.times);
        self.health.failed(&self.name, why, is_trial, at);
    }

    fn state(&self) -> TargetState<'_> {
        TargetState {
            url: &self.url,
            server: &self.name,
            is_resting: self.health.is_resting(),
            connects: self.health.connects(),
            failures: self.health.failures(),
        }
    }
}

/// The servers of one backend.
#[derive(Debug)]
pub(super) struct Targets {
    all: Vec<Target>,
    pub(super) options: TargetOptions,
    /// Which one the next client begins with, where each has its turn.
    turn: AtomicUsize,
    /// They are checked.
    is_watched: AtomicBool,
}

/// The targets that a client has not tried, those first that it is to try first.
#[derive(Debug)]
pub(super) struct Untried(VecDeque<usize>);

/// A target that a client is to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// Which one.
    pub(super) index: usize,
    /// It has rested, and this client finds out whether it is there again.
    pub(super) is_trial: bool,
}

impl Targets {
    /// These, of which there is at least one.
    pub(super) fn new(urls: Vec<Url>, options: TargetOptions) -> Targets {
        let all = urls.into_iter().map(|url| Target::new(url, &options));
        Targets {
            all: all.collect(),
            options,
            turn: AtomicUsize::new(0),
            is_watched: AtomicBool::new(false),
        }
    }

    /// They are checked from now on; whether they were not before.
    pub(super) fn begin_watch(&self) -> bool {
        self.options.check != Check::Off && !self.is_watched.swap(true, Ordering::AcqRel)
    }

    /// They are not checked any more.
    pub(super) fn end_watch(&self) {
        self.is_watched.store(false, Ordering::Release);
    }

    pub(super) fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Acquire)
    }

    pub(super) fn urls(&self) -> Vec<Url> {
        self.all.iter().map(|target| target.url.clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Target> {
        self.all.get(index)
    }

    pub(super) fn states(&self) -> impl Iterator<Item = TargetState<'_>> {
        self.all.iter().map(Target::state)
    }

    /// All of them, in the order for this client.
    pub(super) fn order(&self, client: Option<IpAddr>) -> Untried {
        let n = self.all.len();
        let mut order: VecDeque<usize> = (0..n).collect();
        match (self.options.balance, client) {
            _ if n < 2 => {}
            (Balance::First, _) => {}
            (Balance::ClientAddress, Some(client)) => {
                let weight = |index: &usize| {
                    let url = self.all.get(*index).map(|target| target.url.to_string());
                    (weight(client, &url.unwrap_or_default()), *index)
                };
                order.make_contiguous().sort_by_cached_key(weight);
            }
            (Balance::RoundRobin | Balance::ClientAddress, _) => {
                order.rotate_left(self.turn.fetch_add(1, Ordering::Relaxed) % n);
            }
        }
        Untried(order)
    }
}

impl Untried {
    /// Whether there is one more.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes the one that is to be tried next: the first that does not rest, or else
    /// the one whose rest ends first. No client is refused only because all rest.
    pub(super) fn take(&mut self, of: &Targets) -> Option<Choice> {
        let now_ms = now_ms();
        let mut least: Option<(u64, usize)> = None;
        for (position, index) in self.0.iter().copied().enumerate() {
            let Some(target) = of.get(index) else {
                continue;
            };
            let availability = if of.is_watched() {
                // Its checks find out when it is there again.
                target.health.look(now_ms)
            } else {
                target.health.ask(now_ms, target.times)
            };
            match availability {
                Availability::Resting(until_ms) => {
                    if least.is_none_or(|(other, _)| until_ms < other) {
                        least = Some((until_ms, position));
                    }
                }
                available => {
                    self.0.remove(position);
                    let is_trial = available == Availability::Trial;
                    return Some(Choice { index, is_trial });
                }
            }
        }
        let index = self.0.remove(least?.1)?;
        Some(Choice {
            index,
            is_trial: false,
        })
    }
}

/// The place of a target among those of a client, the least first: the hash of
/// both (rendezvous hashing). It is the same in every process and version.
fn weight(client: IpAddr, target: &str) -> [u8; 20] {
    let client = match client.to_canonical() {
        // A client of IPv6 changes its address within its network.
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        ip => ip,
    };
    Sha1::digest(format!("{client} {target}")).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn targets(n: usize, balance: Balance) -> Targets {
        let urls = (0..n).map(|i| format!("ws://host{i}:80").parse().unwrap());
        let options = TargetOptions {
            balance,
            ..TargetOptions::default()
        };
        Targets::new(urls.collect(), options)
    }

    fn order(targets: &Targets, client: &str) -> Vec<usize> {
        let mut untried = targets.order(client.parse().ok());
        std::iter::from_fn(|| Some(untried.take(targets)?.index)).collect()
    }

    #[test]
    fn each_balance_has_its_order() {
        let first = targets(3, Balance::First);
        assert_eq!(order(&first, "1.2.3.4"), [0, 1, 2]);
        assert_eq!(order(&first, "1.2.3.5"), [0, 1, 2]);
        let turns = targets(3, Balance::RoundRobin);
        for begin in [0, 1, 2, 0] {
            assert_eq!(order(&turns, "1.2.3.4")[0], begin);
        }
        let sticky = targets(3, Balance::ClientAddress);
        assert_ne!(order(&sticky, "-")[0], order(&sticky, "-")[0]);
        for client in ["1.2.3.4", "::ffff:1.2.3.4"] {
            assert_eq!(order(&sticky, client), order(&sticky, "1.2.3.4"));
        }
        assert_eq!(
            order(&sticky, "2001:db8::1"),
            order(&sticky, "2001:db8::ffff")
        );
    }

    #[test]
    fn a_target_that_is_lost_moves_its_own_clients_only() {
        let all = targets(4, Balance::ClientAddress);
        let lost = targets(4, Balance::ClientAddress);
        lost.get(2).unwrap().failed(&"gone", false);
        let mut counts = [0; 4];
        for client in 0..=255 {
            let client = format!("10.0.0.{client}");
            let (before, after) = (order(&all, &client)[0], order(&lost, &client)[0]);
            counts[before] += 1;
            assert!(before == after || before == 2, "{client}");
            assert_ne!(after, 2);
        }
        assert!(counts.iter().all(|n| *n > 30), "{counts:?}");
    }

    #[test]
    fn those_that_rest_are_tried_last_and_the_first_to_return_before_others() {
        let targets = targets(4, Balance::First);
        for index in [3, 0] {
            targets.get(index).unwrap().failed(&"gone", false);
            // The two rests do not end in the same millisecond.
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert_eq!(order(&targets, "1.2.3.4"), [1, 2, 3, 0]);
        targets.get(3).unwrap().reached();
        assert_eq!(order(&targets, "1.2.3.4"), [1, 2, 3, 0]);
        let states: Vec<bool> = targets.states().map(|state| state.is_resting).collect();
        assert_eq!(states, [true, false, false, false]);
    }
}
