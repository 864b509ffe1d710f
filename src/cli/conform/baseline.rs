//! Expected failures: a file of TOML that says which cases are broken, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use heirloom::bytes::Escaped;
use heirloom::conform::{Behavior, CaseResult, ClosingVerdict};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::order;
use crate::cli::check::replace;
use crate::cli::{Exit, complain, complain_of_file};

/// A longer file is no baseline.
const MAX_FILE_OCTETS: u64 = 4 * 1024 * 1024;

const BEHAVIORS: [Behavior; 5] = [
    Behavior::Ok,
    Behavior::NonStrict,
    Behavior::Informational,
    Behavior::Unimplemented,
    Behavior::Failed,
];

const CLOSINGS: [ClosingVerdict; 6] = [
    ClosingVerdict::Ok,
    ClosingVerdict::WrongCode,
    ClosingVerdict::Unclean,
    ClosingVerdict::FailedByClient,
    ClosingVerdict::Informational,
    ClosingVerdict::Failed,
];

/// The verdicts that are expected of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// On what is received.
    behavior: Behavior,
    /// On the closing; any where it is `None`.
    closing: Option<ClosingVerdict>,
}

impl Expected {
    /// Both verdicts of a result.
    pub(super) fn of(result: &CaseResult) -> Expected {
        Expected {
            behavior: result.behavior,
            closing: Some(result.closing),
        }
    }

    /// Whether a result is this.
    pub(super) fn is(self, result: &CaseResult) -> bool {
        let closing = self.closing.is_none_or(|closing| closing == result.closing);
        closing && self.behavior == result.behavior
    }

    /// Reads `FAILED` or `FAILED/UNCLEAN`.
    fn read(text: &str) -> Result<Expected, String> {
        let (behavior, closing) = match text.split_once('/') {
            Some((behavior, closing)) => (behavior, Some(closing)),
            None => (text, None),
        };
        let found = BEHAVIORS.into_iter().find(|b| b.name() == behavior);
        let behavior = found.ok_or_else(|| {
            let names = BEHAVIORS.map(Behavior::name).join(", ");
            format!("no verdict is called {:?}; they are {names}", cut(behavior))
        })?;
        let is_bad = matches!(behavior, Behavior::NonStrict | Behavior::Failed);
        let closing = closing.map(|closing| {
            let found = CLOSINGS.into_iter().find(|c| c.name() == closing);
            found.ok_or_else(|| {
                let names = CLOSINGS.map(ClosingVerdict::name).join(", ");
                format!(
                    "no verdict on a closing is called {:?}; they are {names}",
                    cut(closing)
                )
            })
        });
        let closing = closing.transpose()?;
        let is_bad_closing = closing
            .is_some_and(|c| !matches!(c, ClosingVerdict::Ok | ClosingVerdict::Informational));
        if !is_bad && !is_bad_closing {
            return Err(format!(
                "{:?} is no failure; remove the entry, or add the verdict on the closing, as in \
                 \"{behavior}/UNCLEAN\"",
                cut(text)
            ));
        }
        Ok(Expected { behavior, closing })
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.behavior.name())?;
        match self.closing {
            Some(closing) => write!(f, "/{closing}"),
            None => Ok(()),
        }
    }
}

fn cut(text: &str) -> String {
    Escaped::<60>(text).to_string()
}

/// Which failures of one agent, or of all of them, are expected, by case.
type Failures = BTreeMap<String, Expected>;

/// A file of expected failures.
#[derive(Clone, Debug, Default)]
pub(super) struct Baseline {
    path: PathBuf,
    /// Of every agent.
    all: Failures,
    /// Of one agent, by its name.
    agents: BTreeMap<String, Failures>,
    /// What a person wrote beside them.
    comments: Comments,
}

/// The place of an entry: the agent, where it is of one, and the case.
type Entry = (Option<String>, String);

/// What a person wrote in the file.
#[derive(Clone, Debug, Default)]
struct Comments {
    /// Above all tables.
    head: Vec<String>,
    /// Between the entries of a table, and tied to none.
    loose: BTreeMap<Option<String>, Vec<String>>,
    /// Above an entry.
    above: BTreeMap<Entry, Vec<String>>,
    /// Behind an entry, in its line.
    behind: BTreeMap<Entry, String>,
}

/// A result that a baseline is made of.
pub(super) struct Found<'a> {
    pub(super) agent: &'a str,
    pub(super) id: &'a str,
    /// The verdicts, and whether they are a failure.
    pub(super) result: &'a CaseResult,
    pub(super) is_failure: bool,
}

impl Baseline {
    /// Reads a file; what is wrong with it is printed. `known` are the ids of all
    /// cases.
    pub(super) fn read(path: &Path, known: &BTreeSet<&str>) -> Result<Baseline, Exit> {
        let text = read_text(path).map_err(|error| {
            complain(&format!("cannot read {}: {error}", path.display()));
            Exit::Usage
        })?;
        Baseline::parse(path, &text, known).map_err(|mistakes| {
            for (at, what) in mistakes {
                let (line, column) = place(&text, at);
                let path = path.display();
                complain_of_file(format!("{path}:{line}:{column}: {what}"));
            }
            Exit::Usage
        })
    }

    /// The same for a file that is to be written, and need not be there yet.
    pub(super) fn read_if_there(path: &Path, known: &BTreeSet<&str>) -> Result<Baseline, Exit> {
        try_to_write(path).map_err(|error| cannot_write(path, &error))?;
        if path.try_exists().unwrap_or(true) {
            return Baseline::read(path, known);
        }
        Ok(Baseline {
            path: path.to_owned(),
            ..Baseline::default()
        })
    }

    fn parse(
        path: &Path,
        text: &str,
        known: &BTreeSet<&str>,
    ) -> Result<Baseline, Vec<(usize, String)>> {
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            vec![(at, error.message().to_owned())]
        })?;
        let mut baseline = Baseline {
            path: path.to_owned(),
            ..Baseline::default()
        };
        let mut wrong = Vec::new();
        for (key, value) in table.get_ref() {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("expected", DeValue::Table(entries)) => {
                    baseline.all = failures(entries, known, &mut wrong);
                }
                ("agents", DeValue::Table(agents)) => {
                    for (name, value) in agents {
                        let DeValue::Table(entries) = value.get_ref() else {
                            wrong.push((name.span().start, no_table(name.get_ref())));
                            continue;
                        };
                        let of = failures(entries, known, &mut wrong);
                        baseline.agents.insert(name.get_ref().to_string(), of);
                    }
                }
                ("expected" | "agents", _) => {
                    wrong.push((key.span().start, no_table(key.get_ref())));
                }
                (other, _) => wrong.push((
                    key.span().start,
                    format!(
                        "{:?} has no meaning here; the tables are [expected] and [agents.\"NAME\"]",
                        cut(other)
                    ),
                )),
            }
        }
        if wrong.is_empty() {
            baseline.comments = Comments::of(text);
            Ok(baseline)
        } else {
            wrong.sort();
            Err(wrong)
        }
    }

    /// Its path, for a person.
    pub(super) fn shown(&self) -> String {
        Escaped::<400>(&self.path.display().to_string()).to_string()
    }

    /// What is expected of this case of this agent; what is said of the agent counts
    /// more than what is said of all.
    pub(super) fn of(&self, agent: &str, id: &str) -> Option<Expected> {
        let own = self.agents.get(agent).and_then(|of| of.get(id));
        own.or_else(|| self.all.get(id)).copied()
    }

    /// The entries of cases that no agent of theirs has played, in the order of ids.
    pub(super) fn idle(&self, was_played: impl Fn(Option<&str>, &str) -> bool) -> Vec<String> {
        let all = self.all.keys().map(|id| (None, id));
        let agents = self.agents.iter();
        let agents = agents.flat_map(|(agent, of)| of.keys().map(move |id| (Some(agent), id)));
        let idle = all
            .chain(agents)
            .filter(|(agent, id)| !was_played(agent.map(String::as_str), id));
        let mut idle: Vec<String> = idle.map(|(_, id)| id.clone()).collect();
        idle.sort_by(|a, b| order::compare(a, b));
        idle.dedup();
        idle
    }

    /// The same file with what was found now: an entry stays as it is where it still
    /// holds, or where its case was not played.
    fn updated(mut self, found: &[Found<'_>]) -> Baseline {
        let agents: BTreeSet<&str> = found.iter().map(|found| found.agent).collect();
        self.all.retain(|id, expected| {
            let of = found.iter().filter(|found| found.id == id.as_str());
            of.into_iter().all(|found| expected.is(found.result))
        });
        for found in found {
            let of_all = self.all.get(found.id).copied();
            let own = self.agents.get_mut(found.agent);
            if let Some(own) = own {
                own.retain(|id, expected| id != found.id || expected.is(found.result));
            }
            let is_there = self.of(found.agent, found.id);
            let holds = is_there.is_some_and(|expected| expected.is(found.result));
            if !found.is_failure || holds {
                continue;
            }
            let to = if agents.len() == 1 && of_all.is_none() {
                &mut self.all
            } else {
                self.agents.entry(found.agent.to_owned()).or_default()
            };
            to.insert(found.id.to_owned(), Expected::of(found.result));
        }
        self.agents.retain(|_, of| !of.is_empty());
        self
    }

    /// Writes what was found into its file. An error is printed.
    pub(super) fn write(self, found: &[Found<'_>]) -> Result<(), Exit> {
        let path = self.path.clone();
        let text = self.updated(found).to_string();
        let written = write_text(&path, &text);
        written.map_err(|error| cannot_write(&path, &error))
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Exit {
    let shown = path.display().to_string();
    complain(&format!("cannot write {}: {error}", Escaped::<400>(&shown)));
    Exit::Unreachable
}

fn no_table(name: &str) -> String {
    format!("{:?} must be a table of cases and verdicts", cut(name))
}

/// The entries of one table.
fn failures(
    entries: &DeTable<'_>,
    known: &BTreeSet<&str>,
    wrong: &mut Vec<(usize, String)>,
) -> Failures {
    let mut failures = Failures::new();
    for (key, value) in entries {
        let id = key.get_ref().as_ref();
        if !known.contains(id) {
            wrong.push((
                key.span().start,
                format!(
                    "no case is called {:?}; `heirloom conform --list` lists them",
                    cut(id)
                ),
            ));
            continue;
        }
        match verdict(value) {
            Ok(expected) => {
                failures.insert(id.to_owned(), expected);
            }
            Err(what) => wrong.push((value.span().start, what)),
        }
    }
    failures
}

fn verdict(value: &Spanned<DeValue<'_>>) -> Result<Expected, String> {
    let DeValue::String(text) = value.get_ref() else {
        return Err("a verdict is a text, such as \"FAILED\" or \"NON-STRICT/OK\"".to_owned());
    };
    Expected::read(text)
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let limit = MAX_FILE_OCTETS + 1;
    File::open(path)?.take(limit).read_to_string(&mut text)?;
    if text.len() as u64 >= limit {
        return Err(io::Error::other(format!(
            "it is longer than {MAX_FILE_OCTETS} octets"
        )));
    }
    Ok(text)
}

/// Writes the whole file or nothing: a person may have written comments in the old
/// one.
fn write_text(path: &Path, text: &str) -> io::Result<()> {
    if path.try_exists()? {
        return replace(path, text.as_bytes());
    }
    let written = fs::write(path, text);
    if written.is_err() {
        // A part of it could not be read.
        let _ = fs::remove_file(path);
    }
    written
}

/// Fails where the file cannot be written, so that this is not found out at the end of
/// a long test only.
fn try_to_write(path: &Path) -> io::Result<()> {
    // An old file is replaced: it is its folder that matters.
    let path = match path.try_exists()? {
        true => fs::canonicalize(path)?,
        false => path.to_owned(),
    };
    let mut beside = path.into_os_string();
    beside.push(format!(".{}.tmp", std::process::id()));
    drop(File::create_new(&beside)?);
    fs::remove_file(&beside)
}

/// Line and column of an octet, from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default();
    (line, column.chars().count() + 1)
}

impl Comments {
    /// The comments of a file that is right.
    fn of(text: &str) -> Comments {
        let mut comments = Comments::default();
        let mut table: Option<Option<String>> = None;
        let mut waiting = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.starts_with('#') {
                waiting.push(line.to_owned());
            } else if line.is_empty() {
                comments.settle(table.as_ref(), &mut waiting);
            } else if line.starts_with('[') {
                comments.settle(table.as_ref(), &mut waiting);
                table = Some(agent_of(line));
            } else if let (Some(table), Some((id, behind))) = (&table, entry(line)) {
                let entry = (table.clone(), id);
                if let Some(behind) = behind {
                    comments.behind.insert(entry.clone(), behind);
                }
                comments.above.insert(entry, std::mem::take(&mut waiting));
            }
        }
        comments.settle(table.as_ref(), &mut waiting);
        comments
    }

    /// Comments that no entry follows.
    fn settle(&mut self, table: Option<&Option<String>>, waiting: &mut Vec<String>) {
        match table {
            None => self.head.append(waiting),
            Some(table) => {
                let loose = self.loose.entry(table.clone()).or_default();
                loose.append(waiting);
            }
        }
    }
}

/// The agent in the head of a table: `[agents."NAME"]`.
fn agent_of(line: &str) -> Option<String> {
    let parsed = DeTable::parse(line).ok()?;
    let table = parsed.get_ref();
    let agents = table.iter().find(|(key, _)| key.get_ref() == "agents");
    match agents?.1.get_ref() {
        DeValue::Table(agents) => Some(agents.iter().next()?.0.get_ref().to_string()),
        _ => None,
    }
}

/// The id of a line, and the comment behind its verdict.
fn entry(line: &str) -> Option<(String, Option<String>)> {
    let parsed = DeTable::parse(line).ok()?;
    let (key, value) = parsed.get_ref().iter().next()?;
    let behind = line.get(value.span().end..)?.trim();
    let behind = behind.starts_with('#').then(|| behind.to_owned());
    Some((key.get_ref().to_string(), behind))
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = &self.comments.head;
        if head.is_empty() {
            f.write_str(
                "# Expected failures of `heirloom conform`: a case, and its verdict with that on the closing.\n\
                 # `--baseline` with this file fails where another case fails, or one of these passes.\n",
            )?;
        }
        for line in head {
            writeln!(f, "{line}")?;
        }
        f.write_str("\n[expected]\n")?;
        self.table(f, None, &self.all)?;
        for (agent, of) in &self.agents {
            writeln!(f, "\n[agents.{}]", quoted(agent))?;
            self.table(f, Some(agent), of)?;
        }
        Ok(())
    }
}

impl Baseline {
    fn table(
        &self,
        f: &mut fmt::Formatter<'_>,
        agent: Option<&String>,
        of: &Failures,
    ) -> fmt::Result {
        let comments = &self.comments;
        let agent = agent.cloned();
        for line in comments.loose.get(&agent).into_iter().flatten() {
            writeln!(f, "{line}")?;
        }
        if comments
            .loose
            .get(&agent)
            .is_some_and(|loose| !loose.is_empty())
        {
            // So that they stay apart from the first entry.
            f.write_str("\n")?;
        }
        let mut ids: Vec<&String> = of.keys().collect();
        ids.sort_by(|a, b| order::compare(a, b));
        for id in ids {
            let entry = (agent.clone(), id.clone());
            for line in comments.above.get(&entry).into_iter().flatten() {
                writeln!(f, "{line}")?;
            }
            if let Some(expected) = of.get(id) {
                write!(f, "{} = \"{expected}\"", quoted(id))?;
            }
            if let Some(behind) = comments.behind.get(&entry) {
                write!(f, " {behind}")?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() || !matches!(c, ' '..='~') => {
                quoted.push_str(&format!("\\U{:08X}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
