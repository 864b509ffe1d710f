//! Deadlines: a coarse wheel. Each link has at most one deadline that counts;
//! entries of deadlines that moved are dropped when they come up.

use std::num::NonZeroU32;

/// Milliseconds of one tick: no deadline is kept more exactly.
const TICK_MS: u64 = 50;
/// Ticks of one turn of the wheel, 25.6 seconds; what is due later goes round
/// again.
const SLOTS: u64 = 512;

/// Links by the tick they are due at.
#[derive(Debug)]
pub(super) struct Wheel {
    slots: Vec<Vec<usize>>,
    tick: u64,
    entries: usize,
    /// No tick before this one has entries; it may have none itself.
    next: u64,
}

impl Wheel {
    pub(super) fn new() -> Wheel {
        Wheel {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            tick: 0,
            entries: 0,
            next: u64::MAX,
        }
    }

    /// Notes that `token` is to be looked at when `due_ms` has come, unless it
    /// is armed for an earlier look already. Gives the tick of the next look: an
    /// entry that comes up at another one is an old one.
    pub(super) fn arm(
        &mut self,
        token: usize,
        due_ms: u64,
        armed: Option<NonZeroU32>,
    ) -> Option<NonZeroU32> {
        let due = due_ms.div_ceil(TICK_MS);
        let due = due.clamp(self.tick + 1, self.tick + SLOTS - 1);
        if armed.is_some_and(|tick| u64::from(tick.get()) <= due) {
            return armed;
        }
        if let Some(slot) = self.slot(due) {
            slot.push(token);
            self.entries += 1;
            self.next = self.next.min(due);
        }
        // Ticks of 32 bits are enough for six years.
        NonZeroU32::new(u32::try_from(due).unwrap_or(u32::MAX))
    }

    /// Milliseconds until the next tick that has entries, if anything is armed.
    #[inline]
    pub(super) fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        (self.entries > 0).then(|| (self.next * TICK_MS).saturating_sub(now_ms).max(1))
    }

    /// Gives the tokens that have come up.
    #[inline]
    pub(super) fn advance(&mut self, now_ms: u64, up: &mut Vec<usize>) {
        let now = now_ms / TICK_MS;
        if self.tick < now {
            self.advance_to(now, up);
        }
    }

    #[inline(never)]
    fn advance_to(&mut self, now: u64, up: &mut Vec<usize>) {
        // After a long sleep one turn sees every slot.
        self.tick = self.tick.max(now.saturating_sub(SLOTS));
        while self.tick < now {
            self.tick += 1;
            let tick = self.tick;
            let before = up.len();
            if let Some(slot) = self.slot(tick) {
                up.append(slot);
                if slot.capacity() > 1024 {
                    slot.shrink_to(0);
                }
            }
            self.entries -= up.len() - before;
        }
        if self.next <= self.tick {
            self.next = self.next_occupied();
        }
    }

    /// The next tick that has entries.
    fn next_occupied(&self) -> u64 {
        if self.entries == 0 {
            return u64::MAX;
        }
        let ticks = self.tick + 1..self.tick + SLOTS;
        let is_occupied = |tick: &u64| {
            let slot = usize::try_from(tick % SLOTS).ok();
            slot.and_then(|slot| self.slots.get(slot))
                .is_some_and(|slot| !slot.is_empty())
        };
        ticks.into_iter().find(is_occupied).unwrap_or(u64::MAX)
    }

    fn slot(&mut self, tick: u64) -> Option<&mut Vec<usize>> {
        let slot = usize::try_from(tick % SLOTS).ok()?;
        self.slots.get_mut(slot)
    }
}

/// Whether a tick has come.
pub(super) fn has_come(tick: NonZeroU32, now_ms: u64) -> bool {
    u64::from(tick.get()) * TICK_MS <= now_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came_up(wheel: &mut Wheel, now_ms: u64) -> Vec<usize> {
        let mut up = Vec::new();
        wheel.advance(now_ms, &mut up);
        up
    }

    #[test]
    fn a_deadline_comes_up_once_and_not_before_its_time() {
        let mut wheel = Wheel::new();
        wheel.arm(7, 1000, None);
        assert!(came_up(&mut wheel, 999).is_empty());
        assert_eq!(came_up(&mut wheel, 1000), [7]);
        assert!(came_up(&mut wheel, 5000).is_empty());
        assert_eq!(wheel.wait_ms(5000), None);
    }

    #[test]
    fn it_waits_for_the_next_tick_that_has_entries() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.wait_ms(0), None);
        wheel.arm(7, 10_000, None);
        assert_eq!(wheel.wait_ms(0), Some(10_000));
        wheel.arm(8, 5_020, None);
        assert_eq!(wheel.wait_ms(20), Some(5_030));
        assert!(came_up(&mut wheel, 5_000).is_empty());
        assert_eq!(came_up(&mut wheel, 5_050), [8]);
        assert_eq!(wheel.wait_ms(5_050), Some(4_950));
        assert_eq!(came_up(&mut wheel, 10_001), [7]);
        assert_eq!(wheel.wait_ms(10_001), None);
    }

    #[test]
    fn a_deadline_beyond_one_turn_comes_up_early_to_go_round_again() {
        let mut wheel = Wheel::new();
        wheel.arm(7, 60_000, None);
        assert_eq!(came_up(&mut wheel, 30_000), [7]);
    }

    #[test]
    fn a_long_sleep_brings_up_all() {
        let mut wheel = Wheel::new();
        for token in 0..100 {
            wheel.arm(token, token as u64 * 100, None);
        }
        assert_eq!(came_up(&mut wheel, 1_000_000).len(), 100);
    }
}
