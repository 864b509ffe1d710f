//! How much of all conversations is kept in memory.

use std::sync::Arc;

use heirloom::conform::CaseResult;

use super::run::{CaseRun, Ending};

/// Octets of all conversations together. Cases keep their own limit beside it.
const MAX_OCTETS: usize = 96 * 1024 * 1024;

/// What the conversations that are kept take.
#[derive(Debug, Default)]
pub(super) struct Kept {
    octets: usize,
}

impl Kept {
    /// Counts a conversation, or drops it where there is no room for it: its verdict
    /// stays.
    pub(super) fn admit(&mut self, run: &mut CaseRun) {
        let Ending::Played(result) = &mut run.ending else {
            return;
        };
        let octets = octets_of(result);
        if self.octets + octets > MAX_OCTETS {
            let result = Arc::make_mut(result);
            result.conversation = Vec::new();
            result.is_cut = true;
        } else {
            self.octets += octets;
        }
    }

    /// Forgets a conversation that another one replaces.
    pub(super) fn release(&mut self, run: &CaseRun) {
        if let Ending::Played(result) = &run.ending {
            self.octets = self.octets.saturating_sub(octets_of(result));
        }
    }
}

fn octets_of(result: &CaseResult) -> usize {
    let steps = result.conversation.iter().map(|step| {
        let lines: usize = step.text.iter().flatten().map(String::len).sum();
        lines + step.hex.as_ref().map_or(0, String::len) + size_of_val(step)
    });
    steps.sum()
}
