//! Reports of what became of cases: on a terminal, as JSON, TAP or JUnit, as pages
//! of HTML, and in the shape of Autobahn|Testsuite.

mod standing;
mod explained;
mod folder;
mod terminal;
mod json;
mod tap;
mod junit;
mod html;
mod autobahn;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod sample;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args as ClapArgs, ValueEnum};
use heirloom::Side;
use heirloom::conform::Case;
use heirloom::vector::Level;

use self::standing::{Judged, Standing};
use self::terminal::Terminal;
use super::baseline::{Baseline, Found};
use super::run::{AgentRun, CaseRun};
use crate::cli::report::print_json;
use crate::cli::{Exit, output, print_line, remark};

/// How results are reported, and which of them are failures.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(next_help_heading = "Reports")]
pub(super) struct ReportArgs {
    /// Print one JSON object for each case, then one for the whole run.
    #[arg(long, conflicts_with = "tap")]
    json: bool,
    /// Print the results as TAP 14.
    #[arg(long)]
    tap: bool,
    /// Also write the results as JUnit to this file.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Also write the results as HTML: to a folder, with a page for each case, or to one file whose
    /// name ends in .html.
    #[arg(long, value_name = "DIR|FILE")]
    html: Option<PathBuf>,
    /// Also write index.json and a file for each case to this folder, in the shape of the reports of
    /// Autobahn|Testsuite.
    #[arg(long, value_name = "DIR")]
    autobahn: Option<PathBuf>,
    /// Fail the run where a rule of this level or of a stronger one is broken.
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t)]
    fail_on: FailOn,
    /// Expect exactly the failures of this file: exit with 1 where another case fails, or one of them
    /// passes.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write the failures to this file, for --baseline, where all cases were played. Comments in it
    /// stay.
    #[arg(long, value_name = "FILE")]
    write_baseline: Option<PathBuf>,
}

/// The levels of `--fail-on`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// What is required.
    #[default]
    Must,
    /// Also what is recommended.
    Should,
}

impl FailOn {
    fn level(self) -> Level {
        match self {
            FailOn::Must => Level::Must,
            FailOn::Should => Level::Should,
        }
    }
}

impl ReportArgs {
    /// Whether standard output is for a program, and holds results only.
    pub(super) fn is_machine(&self) -> bool {
        self.json || self.tap
    }

    /// Whether something else than a person reads the results, and must hear of cases
    /// that were not run.
    pub(super) fn is_kept(&self) -> bool {
        let files = [&self.junit, &self.html, &self.autobahn];
        self.is_machine() || files.iter().any(|file| file.is_some())
    }
}

/// What is played, as far as reports need it.
#[derive(Clone, Debug)]
pub(super) struct Plan<'a> {
    /// The side that is tested.
    pub(super) tested: Side,
    /// Whether connections run inside TLS.
    pub(super) secure: bool,
    /// The command that plays a case again, without its `--only`:
    /// `heirloom conform ws://127.0.0.1:9001/`.
    pub(super) command: String,
    /// The titles of groups, by their id.
    pub(super) groups: &'a BTreeMap<String, String>,
    /// The ids of all cases that there are.
    pub(super) known: BTreeSet<&'a str>,
    /// The ids of the cases that are to be played, in their order.
    pub(super) selected: Vec<&'a str>,
    /// Cases with all that they say.
    pub(super) cases: &'a [Case],
    /// Whether conversations are shown octet by octet.
    pub(super) verbose: bool,
}

impl Plan<'_> {
    /// Why this case is as it is, where it says so.
    fn why(&self, id: &str) -> Option<&str> {
        let case = self.cases.iter().find(|case| case.id == id);
        case.and_then(|case| case.why.as_deref())
    }
}

/// Reports results as they arrive.
pub(super) struct Reports<'a> {
    args: &'a ReportArgs,
    plan: Plan<'a>,
    baseline: Option<Baseline>,
    /// The file that is to be written, as it is now.
    to_write: Option<Baseline>,
    output: Output,
    started: Instant,
}

/// What standard output holds.
enum Output {
    Terminal(Terminal),
    Json,
    /// How many results there are so far.
    Tap(usize),
}

impl<'a> Reports<'a> {
    /// Starts the reports. An error is printed: a baseline cannot be read, or a
    /// report would overwrite another file.
    pub(super) fn new(args: &'a ReportArgs, plan: Plan<'a>) -> Result<Reports<'a>, Exit> {
        let read = |path: &PathBuf| Baseline::read(path, &plan.known);
        let baseline = args.baseline.as_ref().map(read).transpose()?;
        let read = |path: &PathBuf| Baseline::read_if_there(path, &plan.known);
        let to_write = args.write_baseline.as_ref().map(read).transpose()?;
        if let Some(path) = &args.html {
            html::check(path)?;
        }
        if let Some(path) = &args.autobahn {
            autobahn::check(path)?;
        }
        let output = if args.json {
            Output::Json
        } else if args.tap {
            print_line(&"TAP version 14");
            Output::Tap(0)
        } else {
            Output::Terminal(Terminal::new(&plan))
        };
        Ok(Reports {
            args,
            plan,
            baseline,
            to_write,
            output,
            started: Instant::now(),
        })
    }

    /// Reports what became of a case, as soon as that is known.
    pub(super) fn case(&mut self, agent: &str, run: &CaseRun) {
        let fail_on = self.args.fail_on.level();
        let judged = Judged::of(agent, run, fail_on, self.baseline.as_ref());
        match &mut self.output {
            Output::Terminal(terminal) => print_lines(terminal.case(&self.plan, &judged)),
            Output::Json => print_json(&json::case(&self.plan, &judged)),
            Output::Tap(number) => {
                *number += 1;
                print_line(&tap::case(&self.plan, &judged, *number));
            }
        }
    }

    /// Whether no more results are wanted: nothing reads them.
    pub(super) fn is_over(&self) -> bool {
        let args = self.args;
        let files = [
            &args.junit,
            &args.html,
            &args.autobahn,
            &args.write_baseline,
        ];
        output::is_over() && files.iter().all(|file| file.is_none())
    }

    /// Writes the files as they would be if nothing more were played; nothing is
    /// printed but errors. A baseline is written at the end only.
    pub(super) fn write(&self, runs: &[AgentRun]) -> Result<(), Exit> {
        let judged = self.judged(runs);
        let tally = Tally::of(&judged);
        self.write_files(runs, &judged, &self.end(&tally, None))
    }

    /// Reports that all results have arrived, and writes the files. `stopped` says
    /// why not all cases were played, where the peer is gone.
    pub(super) fn finish(mut self, runs: &[AgentRun], stopped: Option<&str>) -> Exit {
        let output = std::mem::replace(&mut self.output, Output::Json);
        let judged = self.judged(runs);
        let tally = Tally::of(&judged);
        let end = self.end(&tally, stopped);
        match output {
            Output::Terminal(terminal) => {
                print_lines(terminal.finish(&self.plan, &judged, &end));
            }
            Output::Json => print_json(&json::end(&self.plan, &judged, &end)),
            Output::Tap(number) => print_line(&tap::end(number, &end)),
        }
        if let Some(baseline) = &self.baseline {
            tell_idle(baseline, &judged);
        }
        let files = self.write_files(runs, &judged, &end);
        // What was not played says nothing of what is to be expected.
        let baseline = match stopped {
            Some(_) => Ok(()),
            None => self.write_baseline(&judged),
        };
        let written = files.and(baseline);
        written.err().unwrap_or(end.exit)
    }

    /// Writes the file of `--write-baseline`.
    fn write_baseline(&self, judged: &[Judged<'_>]) -> Result<(), Exit> {
        let Some(baseline) = &self.to_write else {
            return Ok(());
        };
        let fail_on = self.args.fail_on.level();
        let found = judged.iter().filter_map(|judged| {
            let result = judged.result()?;
            Some(Found {
                agent: judged.agent,
                id: &judged.run.id,
                result,
                is_failure: result.broken.is_some_and(|level| level <= fail_on),
            })
        });
        baseline.clone().write(&found.collect::<Vec<_>>())
    }

    fn judged<'j>(&self, runs: &'j [AgentRun]) -> Vec<Judged<'j>> {
        let fail_on = self.args.fail_on.level();
        Judged::all(runs, fail_on, self.baseline.as_ref())
    }

    fn end<'e>(&self, tally: &'e Tally, stopped: Option<&'e str>) -> End<'e> {
        End {
            tally,
            seconds: self.started.elapsed().as_secs_f64(),
            stopped,
            exit: match stopped {
                Some(_) => Exit::Unreachable,
                // What fails is what the new baseline expects.
                None if tally.is_bad() && self.to_write.is_none() => Exit::Failed,
                None => Exit::Good,
            },
        }
    }

    /// Writes all files, also where one cannot be written.
    fn write_files(
        &self,
        runs: &[AgentRun],
        judged: &[Judged<'_>],
        end: &End<'_>,
    ) -> Result<(), Exit> {
        let mut written = Vec::new();
        if let Some(path) = &self.args.junit {
            written.push(junit::write(path, &self.plan, judged));
        }
        if let Some(path) = &self.args.html {
            written.push(html::write(path, &self.plan, judged, end));
        }
        if let Some(path) = &self.args.autobahn {
            written.push(autobahn::write(path, &self.plan, runs));
        }
        written.into_iter().collect()
    }
}

fn print_lines(lines: Vec<String>) {
    for line in lines {
        print_line(&line);
    }
}

/// Tells which entries of a baseline were not asked.
fn tell_idle(baseline: &Baseline, judged: &[Judged<'_>]) {
    let played: BTreeSet<(&str, &str)> = judged
        .iter()
        .filter(|judged| judged.result().is_some())
        .map(|judged| (judged.agent, judged.run.id.as_str()))
        .collect();
    let ids: BTreeSet<&str> = played.iter().map(|(_, id)| *id).collect();
    let idle = baseline.idle(|agent, id| match agent {
        None => ids.contains(id),
        Some(agent) => played.contains(&(agent, id)),
    });
    let Some((first, more)) = idle.split_first() else {
        return;
    };
    let which = match more.len() {
        0 => format!("{first} was not played"),
        n => format!("{first} and {n} more were not played"),
    };
    remark(&format!(
        "{which}, so what {} expects there says nothing",
        baseline.shown()
    ));
}

/// How a run ended.
struct End<'a> {
    tally: &'a Tally,
    seconds: f64,
    stopped: Option<&'a str>,
    exit: Exit,
}

/// How many cases have each standing.
#[derive(Clone, Debug, Default)]
struct Tally(BTreeMap<Standing, usize>);

impl Tally {
    fn of<'j>(judged: impl IntoIterator<Item = &'j Judged<'j>>) -> Tally {
        let mut tally = Tally::default();
        for judged in judged {
            tally.add(judged.standing);
        }
        tally
    }

    fn add(&mut self, standing: Standing) {
        *self.0.entry(standing).or_default() += 1;
    }

    fn count(&self, standing: Standing) -> usize {
        self.0.get(&standing).copied().unwrap_or_default()
    }

    fn total(&self) -> usize {
        self.0.values().sum()
    }

    fn is_bad(&self) -> bool {
        self.0.keys().any(|standing| standing.is_bad())
    }

    /// Those that there are: `2 ok, 2 non-strict`.
    fn words(&self) -> Vec<(Standing, String)> {
        let all = Standing::ALL.into_iter();
        let counts = all.map(|standing| (standing, self.count(standing)));
        let there = counts.filter(|(_, count)| *count > 0);
        there
            .map(|(standing, count)| (standing, standing.counted(count)))
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::fs;

    use heirloom::conform::{Behavior, ClosingVerdict};

    use super::sample::{Folder, IDS, agent, cases, groups, plan, played};
    use super::*;

    fn baseline(text: &str) -> (Folder, Result<Baseline, Exit>) {
        let folder = Folder::new();
        let path = folder.join("expected.toml");
        fs::write(&path, text).unwrap();
        let read = Baseline::read(&path, &BTreeSet::from(IDS));
        (folder, read)
    }

    #[test]
    fn a_baseline_expects_failures_and_finds_what_passes() {
        let (_, read) =
            baseline("[expected]\n'1.1.2' = \"FAILED/UNCLEAN\"\n'6.4.3' = \"NON-STRICT\"\n");
        let read = read.unwrap();
        let runs = [agent("a")];
        let standing = |baseline: &Baseline, n: usize| {
            Judged::all(&runs, Level::Must, Some(baseline))[n].standing
        };
        assert_eq!(standing(&read, 0), Standing::Good);
        assert_eq!(standing(&read, 1), Standing::Expected);
        assert_eq!(standing(&read, 2), Standing::Expected);
        let (_, read) = baseline("[expected]\n'1.1.1' = \"FAILED\"\n'1.1.2' = \"NON-STRICT/OK\"\n");
        let read = read.unwrap();
        assert_eq!(standing(&read, 0), Standing::Passes);
        assert_eq!(standing(&read, 1), Standing::Failed);
        let all = Judged::all(&runs, Level::Must, Some(&read));
        let note = |n: usize| all[n].note.clone().unwrap();
        assert!(
            note(0).starts_with("passes now: remove it from "),
            "{}",
            note(0)
        );
        assert!(
            note(1).ends_with("expects NON-STRICT/OK; it is FAILED/UNCLEAN now"),
            "{}",
            note(1)
        );
        // An agent's own table counts more.
        let text = "[expected]\n'1.1.2' = 'FAILED'\n[agents.a]\n'1.1.2' = 'OK/UNCLEAN'\n";
        let (_, read) = baseline(text);
        assert_eq!(standing(&read.unwrap(), 1), Standing::Failed);
    }

    #[test]
    fn a_baseline_with_a_mistake_is_not_used() {
        for text in [
            "[expected]\n'9.9.9' = 'FAILED'\n",
            "[expected]\n'1.1.1' = 'BAD'\n",
            "[expected]\n'1.1.1' = 'FAILED/BAD'\n",
            "[expected]\n'1.1.1' = 1\n",
            "[expcted]\n'1.1.1' = 'FAILED'\n",
            "[expected]\n'1.1.1' = 'FAILED'\n'1.1.1' = 'OK'\n",
            "[expected\n",
            "agents = 1\n",
        ] {
            assert!(matches!(baseline(text).1, Err(Exit::Usage)), "{text}");
        }
    }

    #[test]
    fn a_baseline_that_is_written_again_keeps_its_comments() {
        let text = "# Ours.\n\n[expected]\n# Ticket 7.\n\"6.4.3\" = \"FAILED\" # \"soon\"\n\"1.1.2\" = \"FAILED\"  # why\n\n# loose\n# Not played.\n\"hixie-76/echo\" = \"FAILED/OK\"\n\n[agents.\"b\\\"c\"]\n\"1.1.1\" = \"FAILED\" # of b\n";
        let (folder, read) = baseline(text);
        let path = folder.join("expected.toml");
        drop(read.unwrap());
        let args = ReportArgs {
            write_baseline: Some(path.clone()),
            ..ReportArgs::default()
        };
        let (groups, runs) = (groups(), [agent("a")]);
        let reports = Reports::new(&args, plan(&groups, Side::Server)).unwrap();
        reports.finish(&runs, None);
        let written = fs::read_to_string(&path).unwrap();
        // 6.4.3 is no failure now; 1.1.2 still is, and hixie-76/echo was not played.
        let expected = "# Ours.\n\n[expected]\n\"1.1.2\" = \"FAILED\" # why\n# loose\n# Not played.\n\"hixie-76/echo\" = \"FAILED/OK\"\n\n[agents.\"b\\\"c\"]\n\"1.1.1\" = \"FAILED\" # of b\n";
        assert_eq!(written, expected);
        let args = ReportArgs {
            fail_on: FailOn::Should,
            ..args
        };
        let reports = Reports::new(&args, plan(&groups, Side::Server)).unwrap();
        reports.finish(&runs, None);
        let written = fs::read_to_string(&path).unwrap();
        assert!(
            written.contains("\n\"6.4.3\" = \"NON-STRICT/OK\"\n"),
            "{written}"
        );
    }

    #[test]
    fn a_new_baseline_of_several_agents_names_them() {
        let folder = Folder::new();
        let path = folder.join("expected.toml");
        let args = ReportArgs {
            write_baseline: Some(path.clone()),
            ..ReportArgs::default()
        };
        let groups = groups();
        let mut runs = [agent("a"), agent("b")];
        runs[1].cases.remove(1);
        let reports = Reports::new(&args, plan(&groups, Side::Client)).unwrap();
        reports.finish(&runs, None);
        let read = Baseline::read(&path, &BTreeSet::from(IDS)).unwrap();
        assert!(read.of("a", "1.1.2").is_some() && read.of("b", "1.1.2").is_none());
        let judged = Judged::all(&runs, Level::Must, Some(&read));
        assert!(!Tally::of(&judged).is_bad());
        let idle = read.idle(|agent, id| agent == Some("a") && id == "1.1.1");
        assert_eq!(idle, ["1.1.2"]);
    }

    #[test]
    fn the_exit_status_follows_level_and_baseline() {
        let groups = groups();
        let exit = |args: &ReportArgs, cases: Vec<CaseRun>, stopped: Option<&str>| {
            let runs = [AgentRun {
                agent: "a".to_owned(),
                cases,
            }];
            let reports = Reports::new(args, plan(&groups, Side::Server)).unwrap();
            reports.finish(&runs, stopped)
        };
        let weak = || {
            let ok = ClosingVerdict::Ok;
            vec![played(
                "6.4.3",
                Behavior::NonStrict,
                ok,
                Some(Level::Should),
            )]
        };
        let must = ReportArgs::default();
        let should = ReportArgs {
            fail_on: FailOn::Should,
            ..ReportArgs::default()
        };
        assert_eq!(exit(&must, weak(), None), Exit::Good);
        assert_eq!(exit(&should, weak(), None), Exit::Failed);
        assert_eq!(exit(&must, cases(), None), Exit::Failed);
        assert_eq!(exit(&must, weak(), Some("it is gone")), Exit::Unreachable);
        let (folder, _) = baseline("[expected]\n'1.1.2' = 'FAILED/UNCLEAN'\n");
        let expecting = ReportArgs {
            baseline: Some(folder.join("expected.toml")),
            ..ReportArgs::default()
        };
        assert_eq!(exit(&expecting, cases(), None), Exit::Good);
        let passing = || vec![played("1.1.2", Behavior::Ok, ClosingVerdict::Ok, None)];
        assert_eq!(exit(&expecting, passing(), None), Exit::Failed);
        assert_eq!(
            exit(&expecting, weak(), None),
            Exit::Good,
            "1.1.2 was not played"
        );
    }
}
