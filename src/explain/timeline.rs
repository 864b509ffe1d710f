//! The order in which the octets of both sides arrived.

/// When the octets of a side arrived: after how many octets of both sides.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Where in the stream a run of octets starts, and when it arrived.
    starts: Vec<(u64, u64)>,
    /// All octets of this side.
    pub(super) octets: u64,
}

impl Timeline {
    pub(super) fn add(&mut self, when: u64, octets: usize) {
        let goes_on = self
            .starts
            .last()
            .is_some_and(|(at, then)| then + (self.octets - at) == when);
        if !goes_on {
            self.starts.push((self.octets, when));
        }
        self.octets += octets as u64;
    }

    pub(super) fn when(&self, octet: u64) -> u64 {
        let turn = self.starts.partition_point(|(at, _)| *at <= octet);
        let start = turn.checked_sub(1).and_then(|turn| self.starts.get(turn));
        start.map_or(octet, |(at, when)| when + (octet - at))
    }
}
