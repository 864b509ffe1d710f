//! What became of the cases that were played to one agent.

use std::sync::Arc;
use std::time::SystemTime;

use heirloom::conform::{Behavior, CaseResult, ClosingVerdict};
use heirloom::vector::Level;

/// All that was played to one agent: a server or a client under test.
#[derive(Clone, Debug)]
pub(super) struct AgentRun {
    /// Its name: of a server what its response or the URL says, of a client what it
    /// calls itself.
    pub(super) agent: String,
    /// Its cases, in the order of their ids.
    pub(super) cases: Vec<CaseRun>,
}

/// One case, and what became of it.
#[derive(Clone, Debug)]
pub(super) struct CaseRun {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) version: String,
    pub(super) level: Level,
    pub(super) section: String,
    pub(super) started: SystemTime,
    pub(super) ending: Ending,
}

impl CaseRun {
    pub(super) fn is_not_run(&self) -> bool {
        matches!(self.ending, Ending::NotRun(_))
    }

    /// The verdicts on what was received and on the closing.
    pub(super) fn verdicts(&self) -> Option<(Behavior, ClosingVerdict)> {
        match &self.ending {
            Ending::Played(result) => Some((result.behavior, result.closing)),
            Ending::NotRun(_) => None,
        }
    }
}

/// How a case ended.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// It was played.
    Played(Arc<CaseResult>),
    /// It was not, and why.
    NotRun(String),
}
