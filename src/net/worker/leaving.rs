//! Links that are sent away, each at a time of its own: clients that all come back
//! in the same second would be the next outage.

use std::collections::{BTreeMap, HashMap};

/// Tokens of links that are gone may stay until their time comes, up to this number
/// besides as many as there are links.
const GONE: usize = 1024;

/// Why links are sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The server is being stopped.
    Stop,
    /// Their route is not there any more.
    RouteChanged,
}

impl Why {
    /// The word for it, which the peer gets too where its version has reasons.
    pub(super) fn word(self) -> &'static str {
        match self {
            Why::Stop => "going-away",
            Why::RouteChanged => "route-changed",
        }
    }
}

/// When links are sent away: from when on, and over what time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from_ms: u64,
    pub(super) spread_ms: u64,
    /// Which of how many workers this is, so that they take turns.
    pub(super) worker: (usize, usize),
}

impl Span {
    /// The time of number `index` of `count` links.
    fn due_ms(self, index: usize, count: usize) -> u64 {
        let (worker, workers) = self.worker;
        let turn = index.saturating_mul(workers).saturating_add(worker);
        let turns = count.saturating_mul(workers).max(1);
        let spread_ms = u128::from(self.spread_ms);
        // At most `spread_ms`, which fits.
        let after_ms = spread_ms * turn as u128 / turns as u128;
        let after_ms = u64::try_from(after_ms).unwrap_or(self.spread_ms);
        self.from_ms.saturating_add(after_ms)
    }
}

/// The links that are to be sent away.
#[derive(Debug, Default)]
pub(super) struct Leaving(BTreeMap<(u64, usize), Why>);

impl Leaving {
    /// Sends these away evenly over a time. One that is to go earlier already stays
    /// so.
    pub(super) fn add(&mut self, tokens: &[usize], why: Why, span: Span) {
        let mut before: HashMap<usize, u64> = self
            .0
            .keys()
            .map(|(due_ms, token)| (*token, *due_ms))
            .collect();
        for (index, token) in tokens.iter().enumerate() {
            let due_ms = span.due_ms(index, tokens.len());
            match before.remove(token) {
                Some(earlier) if earlier <= due_ms => continue,
                Some(later) => self.0.remove(&(later, *token)),
                None => None,
            };
            self.0.insert((due_ms, *token), why);
        }
    }

    /// Tries again with one that could not go yet.
    pub(super) fn postpone(&mut self, token: usize, why: Why, due_ms: u64) {
        self.0.insert((due_ms, token), why);
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets links that are gone, where they are many.
    pub(super) fn forget_gone(&mut self, live: usize, mut is_live: impl FnMut(usize) -> bool) {
        if self.0.len() > live.saturating_add(GONE) {
            self.0.retain(|(_, token), _| is_live(*token));
        }
    }

    /// The next one whose time has come.
    pub(super) fn next_due(&mut self, now_ms: u64) -> Option<(usize, Why)> {
        let first = self.0.first_entry()?;
        let (due_ms, token) = *first.key();
        (due_ms <= now_ms).then(|| (token, first.remove()))
    }

    /// Milliseconds until the time of the next one comes.
    #[inline]
    pub(super) fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        let ((due_ms, _), _) = self.0.first_key_value()?;
        Some(due_ms.saturating_sub(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from_ms: u64, spread_ms: u64) -> Span {
        Span {
            from_ms,
            spread_ms,
            worker: (0, 1),
        }
    }

    fn all(leaving: &mut Leaving, now_ms: u64) -> Vec<usize> {
        let due = std::iter::from_fn(|| leaving.next_due(now_ms));
        due.map(|(token, _)| token).collect()
    }

    #[test]
    fn they_go_evenly_over_the_time_and_workers_take_turns() {
        let mut leaving = Leaving::default();
        leaving.add(&[10, 11, 12, 13], Why::Stop, span(1000, 400));
        assert_eq!(leaving.wait_ms(900), Some(100));
        assert_eq!(all(&mut leaving, 999), Vec::<usize>::new());
        for (now_ms, token) in [(1000, 10), (1100, 11), (1200, 12), (1300, 13)] {
            assert_eq!(all(&mut leaving, now_ms - 1), Vec::<usize>::new());
            assert_eq!(all(&mut leaving, now_ms), [token]);
        }
        assert_eq!(leaving.wait_ms(0), None);
        let second = Span {
            worker: (1, 2),
            ..span(0, 400)
        };
        leaving.add(&[1, 2], Why::Stop, second);
        assert_eq!(leaving.wait_ms(0), Some(100));
        assert_eq!(all(&mut leaving, 299), [1]);
        assert_eq!(all(&mut leaving, 300), [2]);
    }

    #[test]
    fn one_goes_at_the_earlier_of_two_times_and_once() {
        let mut leaving = Leaving::default();
        leaving.add(&[1, 2], Why::RouteChanged, span(100, 0));
        leaving.add(&[2, 1], Why::RouteChanged, span(200, 0));
        leaving.add(&[2], Why::RouteChanged, span(50, 0));
        assert_eq!(all(&mut leaving, 50), [2]);
        assert_eq!(all(&mut leaving, 1000), [1]);
    }

    #[test]
    fn links_that_are_gone_do_not_add_up() {
        let mut leaving = Leaving::default();
        for round in 0..10 {
            let tokens: Vec<usize> = (round * 1000..(round + 1) * 1000).collect();
            leaving.add(&tokens, Why::RouteChanged, span(1 << 40, 0));
            leaving.forget_gone(1000, |token| token >= round * 1000);
            assert!(leaving.0.len() <= 1000 + GONE, "{}", leaving.0.len());
        }
    }
}
