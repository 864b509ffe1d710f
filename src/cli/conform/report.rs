//! The least of reports.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args as ClapArgs;
use heirloom::Side;
use heirloom::conform::{Behavior, Case};
use heirloom::vector::Level;

use super::run::{AgentRun, CaseRun, Ending};
use crate::cli::{Exit, print_line};

#[derive(Clone, Debug, Default, ClapArgs)]
pub(super) struct ReportArgs {
    /// One JSON object per case.
    #[arg(long)]
    pub(super) json: bool,
}

impl ReportArgs {
    pub(super) fn is_machine(&self) -> bool {
        self.json
    }
}

pub(super) struct Plan<'a> {
    pub(super) tested: Side,
    pub(super) secure: bool,
    pub(super) command: String,
    pub(super) groups: &'a BTreeMap<String, String>,
    pub(super) known: BTreeSet<&'a str>,
    pub(super) selected: Vec<&'a str>,
    pub(super) cases: &'a [Case],
    pub(super) verbose: bool,
}

pub(super) struct Reports<'a> {
    plan: Plan<'a>,
}

impl<'a> Reports<'a> {
    pub(super) fn new(_: &'a ReportArgs, plan: Plan<'a>) -> Result<Reports<'a>, Exit> {
        Ok(Reports { plan })
    }

    pub(super) fn case(&mut self, agent: &str, run: &CaseRun) {
        match &run.ending {
            Ending::Played(result) => print_line(&format!(
                "{agent} {} {} {} {:?} {} ms",
                run.id, result.behavior, result.closing, result.broken, result.duration.as_millis()
            )),
            Ending::NotRun(why) => print_line(&format!("{agent} {} not run: {why}", run.id)),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        false
    }

    pub(super) fn write(&mut self, _: &[AgentRun], _: Option<&str>) -> Result<(), Exit> {
        Ok(())
    }

    pub(super) fn finish(mut self, runs: &[AgentRun], stopped: Option<&str>) -> Exit {
        let _ = self.write(runs, stopped);
        let all = runs.iter().flat_map(|run| &run.cases);
        let bad = all.filter(|run| match &run.ending {
            Ending::Played(result) => {
                result.broken == Some(Level::Must) || result.behavior == Behavior::Failed
            }
            Ending::NotRun(_) => false,
        });
        let bad = bad.count();
        print_line(&format!("{:?} {bad} bad, {stopped:?}", self.plan.tested));
        match (stopped, bad) {
            (Some(_), _) => Exit::Unreachable,
            (None, 0) => Exit::Good,
            _ => Exit::Failed,
        }
    }
}
