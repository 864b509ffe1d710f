//! What a result means for the run: whether it fails it, by its level and by what
//! was expected.

use heirloom::conform::{Behavior, CaseResult, ClosingVerdict};
use heirloom::vector::Level;

use crate::cli::conform::baseline::{Baseline, Expected};
use crate::cli::conform::run::{AgentRun, CaseRun, Ending};
use crate::cli::verdict::Severity;

/// What a case counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) enum Standing {
    /// As it must be.
    Good,
    /// Something weaker is broken than what fails a run, and it is not wrong.
    NonStrict,
    /// It is wrong by a `should`, which does not fail this run.
    FailedShould,
    /// It is wrong by a `may`.
    FailedMay,
    /// The documents leave it open.
    Informational,
    /// The peer does not have what is tested.
    Unimplemented,
    /// It was not played.
    NotRun,
    /// It is broken, as the baseline expects.
    Expected,
    /// It is good, and the baseline expects a failure.
    Passes,
    /// It is broken.
    Failed,
}

impl Standing {
    /// All of them, in the order in which they are counted.
    pub(super) const ALL: [Standing; 10] = [
        Standing::Good,
        Standing::NonStrict,
        Standing::Informational,
        Standing::Unimplemented,
        Standing::FailedMay,
        Standing::FailedShould,
        Standing::Failed,
        Standing::Passes,
        Standing::Expected,
        Standing::NotRun,
    ];

    /// Its stable word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Standing::Good => "ok",
            Standing::NonStrict => "non-strict",
            Standing::FailedShould => "failed-should",
            Standing::FailedMay => "failed-may",
            Standing::Informational => "informational",
            Standing::Unimplemented => "unimplemented",
            Standing::Failed => "failed",
            Standing::Passes => "passes",
            Standing::Expected => "expected-failure",
            Standing::NotRun => "not-run",
        }
    }

    /// So many of them, for a person.
    pub(super) fn counted(self, count: usize) -> String {
        let what = match (self, count) {
            (Standing::NotRun, _) => "not run",
            (Standing::FailedShould, _) => "failed (should)",
            (Standing::FailedMay, _) => "failed (may)",
            (Standing::Passes, 1) => "unexpected pass",
            (Standing::Passes, _) => "unexpected passes",
            (Standing::Expected, 1) => "expected failure",
            (Standing::Expected, _) => "expected failures",
            (other, _) => other.word(),
        };
        format!("{count} {what}")
    }

    /// Whether something is broken that does not make the run fail.
    pub(super) fn is_weak(self) -> bool {
        matches!(
            self,
            Standing::NonStrict | Standing::FailedShould | Standing::FailedMay
        )
    }

    /// Whether it makes the run fail.
    pub(super) fn is_bad(self) -> bool {
        matches!(self, Standing::Failed | Standing::Passes)
    }

    pub(super) fn severity(self) -> Severity {
        match self {
            Standing::Good => Severity::Good,
            Standing::Failed | Standing::Passes => Severity::Wrong,
            _ => Severity::Unproved,
        }
    }
}

/// A case with its standing.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Judged<'a> {
    pub(super) agent: &'a str,
    pub(super) run: &'a CaseRun,
    pub(super) standing: Standing,
    /// What the baseline has to do with it, as a sentence.
    pub(super) note: Option<String>,
}

impl<'a> Judged<'a> {
    /// Judges a case; a break of `fail_on` or of a stronger level is a failure.
    pub(super) fn of(
        agent: &'a str,
        run: &'a CaseRun,
        fail_on: Level,
        baseline: Option<&Baseline>,
    ) -> Judged<'a> {
        let mut judged = Judged {
            agent,
            run,
            standing: plain(run, fail_on),
            note: None,
        };
        let Some((result, baseline)) = judged.result().zip(baseline) else {
            return judged;
        };
        let Some(expected) = baseline.of(agent, &run.id) else {
            return judged;
        };
        let (file, now) = (baseline.shown(), Expected::of(result));
        if expected.is(result) && result.broken.is_some() {
            judged.standing = Standing::Expected;
            judged.note = Some(format!("{file} expects it"));
        } else if judged.standing == Standing::Failed {
            judged.note = Some(format!("{file} expects {expected}; it is {now} now"));
        } else {
            judged.standing = Standing::Passes;
            judged.note = Some(format!(
                "passes now: remove it from {file}, which expects {expected}; it is {now}"
            ));
        }
        judged
    }

    /// Judges all cases of these agents.
    pub(super) fn all(
        runs: &'a [AgentRun],
        fail_on: Level,
        baseline: Option<&Baseline>,
    ) -> Vec<Judged<'a>> {
        let all = runs
            .iter()
            .flat_map(|agent| agent.cases.iter().map(move |run| (&agent.agent, run)));
        all.map(|(agent, run)| Judged::of(agent, run, fail_on, baseline))
            .collect()
    }

    /// What became of it, where it was played.
    pub(super) fn result(&self) -> Option<&'a CaseResult> {
        match &self.run.ending {
            Ending::Played(result) => Some(result),
            Ending::NotRun(_) => None,
        }
    }

    /// Why it was not played.
    pub(super) fn not_run(&self) -> Option<&'a str> {
        match &self.run.ending {
            Ending::NotRun(why) => Some(why),
            Ending::Played(_) => None,
        }
    }

    /// The section of what is broken, or that of the case.
    pub(super) fn section(&self) -> &'a str {
        match self.result() {
            Some(result) if !result.section.is_empty() => &result.section,
            _ => &self.run.section,
        }
    }

    /// The level of what is broken, or that of the case.
    pub(super) fn level(&self) -> Level {
        let broken = self.result().and_then(|result| result.broken);
        broken.unwrap_or(self.run.level)
    }

    /// The verdicts in words: `FAILED`, or `FAILED, closing UNCLEAN`.
    pub(super) fn verdicts(&self) -> String {
        match self.result() {
            None => "not run".to_owned(),
            Some(result) => match result.closing {
                ClosingVerdict::Ok => result.behavior.name().to_owned(),
                closing => format!("{}, closing {closing}", result.behavior),
            },
        }
    }
}

/// The standing without a baseline.
fn plain(run: &CaseRun, fail_on: Level) -> Standing {
    let Ending::Played(result) = &run.ending else {
        return Standing::NotRun;
    };
    match (result.broken, result.behavior) {
        (Some(level), _) if level <= fail_on => Standing::Failed,
        (_, Behavior::Unimplemented) => Standing::Unimplemented,
        (_, Behavior::Informational) => Standing::Informational,
        (Some(Level::Should), Behavior::Failed) => Standing::FailedShould,
        (Some(Level::May), Behavior::Failed) => Standing::FailedMay,
        (Some(_), _) | (None, Behavior::NonStrict) => Standing::NonStrict,
        (None, _) => Standing::Good,
    }
}

/// The word of a level.
pub(super) fn level_word(level: Level) -> &'static str {
    match level {
        Level::Must => "must",
        Level::Should => "should",
        Level::May => "may",
        Level::Ours => "ours",
    }
}
