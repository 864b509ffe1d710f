//! What is still to be played to a server, and when the cases before were.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use heirloom::Version;

use super::run::CaseRun;
use super::select::Planned;

/// How many cases that keep the server busy are played at the same time.
const HEAVY_JOBS: usize = 4;

/// The most cases that are named after which a server has stopped.
const MAX_NAMED: usize = 20;

/// What is still to be played.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<usize>,
    /// What keeps the server busy. It is played when nothing else is, because time
    /// limits say nothing of a server that is busy with other cases.
    pub(super) heavy: VecDeque<usize>,
    /// Cases that are being played, and how many of them wait to find out whether the
    /// server is still there.
    pub(super) running: usize,
    pub(super) checking: usize,
    pub(super) has_heavy_begun: bool,
    /// Whether no case may begin, so that the server is left alone.
    pub(super) is_suspended: bool,
    /// What no other case may run beside.
    pub(super) sequential: VecDeque<usize>,
    /// Cases in which the server sent not one octet.
    pub(super) again: VecDeque<(usize, CaseRun)>,
    /// What ran into a time limit beside other cases.
    pub(super) in_doubt: VecDeque<(usize, CaseRun)>,
    /// Versions that are being asked for.
    pub(super) asking: usize,
    /// Why nothing more is played.
    pub(super) over: Option<String>,
    /// Whether that is because the server has stopped.
    pub(super) has_stopped: bool,
    pub(super) unplayed: Unplayed,
    /// Why the cases of these versions are not played.
    pub(super) unspoken: BTreeMap<&'static str, String>,
    /// Versions that got no answer while cases were played.
    pub(super) unanswered: Vec<&'static Version>,
    pub(super) timeline: Timeline,
}

impl Queue {
    /// The next case that may begin now.
    pub(super) fn take(&mut self) -> Option<usize> {
        if let Some(number) = self.waiting.pop_front() {
            return Some(number);
        }
        if self.asking > 0 {
            return None;
        }
        // The first of them waits until all others have ended.
        let may_begin = match self.has_heavy_begun {
            false => self.running == 0,
            true => self.running < HEAVY_JOBS,
        };
        let number = may_begin.then(|| self.heavy.pop_front()).flatten()?;
        self.has_heavy_begun = true;
        Some(number)
    }
}

/// Cases that could not be played although the server was there.
#[derive(Default)]
pub(super) struct Unplayed {
    pub(super) count: usize,
    /// Why the first could not.
    pub(super) why: Option<String>,
}

impl Unplayed {
    pub(super) fn add(&mut self, count: usize, why: &str) {
        self.count += count;
        self.why.get_or_insert_with(|| why.to_owned());
    }
}

/// When cases were played.
#[derive(Default)]
pub(super) struct Timeline {
    /// The last moment at which a connection was begun that the server answered.
    answered: Option<Instant>,
    /// Cases that ended after that, with the time of their end.
    ended: Vec<(Instant, usize)>,
}

impl Timeline {
    pub(super) fn add(&mut self, begun: Instant, number: usize) {
        self.ended.push((Instant::now(), number));
        let answered = self.answered.map_or(begun, |answered| answered.max(begun));
        self.answered = Some(answered);
        self.ended.retain(|(ended, _)| *ended >= answered);
    }

    /// The cases after which the server has stopped.
    pub(super) fn told(&self, cases: &[Planned]) -> String {
        let mut numbers: Vec<usize> = self.ended.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        let ids = numbers.iter().filter_map(|number| cases.get(*number));
        let ids: Vec<&str> = ids.map(|case| &*case.id).collect();
        match &*ids {
            [] => "no case was played before that".to_owned(),
            [only] => format!("the last case before that was {only}"),
            ids => {
                let more = ids.len().saturating_sub(MAX_NAMED);
                let list: Vec<&str> = ids.iter().copied().take(MAX_NAMED).collect();
                let more = match more {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                format!(
                    "the last cases before that were {}{more}, and --jobs 1 finds which of them it \
                     was",
                    list.join(", ")
                )
            }
        }
    }
}
