//! Reports the results of checks to people, scripts and CI systems: as lines,
//! JSON, TAP or JUnit.

use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use heirloom::Side;
use heirloom::bytes::Escaped;
use heirloom::vector::{Difference, Level, Vector};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde::{Serialize, Serializer};

use super::style::Style;
use super::units::counted;
use super::verdict::{Place, Severity, Verdict};
use super::{Exit, complain, output, print_line};

/// How results are reported.
#[derive(Debug, ClapArgs)]
pub(super) struct ReportArgs {
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
    /// Print the results as TAP 14.
    #[arg(long, conflicts_with = "json")]
    tap: bool,
    /// Also write the results as JUnit to this file.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

impl ReportArgs {
    /// Whether standard output is for a program, and holds results only.
    pub(super) fn is_machine(&self) -> bool {
        self.json || self.tap
    }
}

/// The result of one vector, or of a file that cannot be read.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Case {
    /// The file, as it was named.
    pub(super) file: String,
    /// The vector; empty where the result is about the whole file.
    #[serde(skip)]
    pub(super) id: String,
    #[serde(skip)]
    pub(super) title: Option<String>,
    /// The side that is wrong, if one is.
    #[serde(skip)]
    pub(super) side: Option<Side>,
    /// How strongly the documents ask for what the vector expects, and where.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) asked: Option<Asked>,
    /// What is wrong; a failure may have several lines.
    #[serde(serialize_with = "texts")]
    pub(super) failures: Vec<Difference>,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) skipped: Option<String>,
    /// Why it was not run: the peer is gone, or no peer does what it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) not_run: Option<String>,
    /// How long it took.
    pub(super) ms: u64,
    /// Nothing was proved: the file cannot be used, or the peer cannot be reached.
    #[serde(skip)]
    pub(super) is_error: bool,
}

/// How strongly the documents ask for what a vector expects, and where.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Asked {
    level: Level,
    section: String,
}

impl Asked {
    /// What a vector expects of this side, or else of the other one.
    pub(super) fn of(vector: &Vector, side: Side) -> Option<Asked> {
        let expect = &vector.expect;
        let conclusion = expect.of(side).or_else(|| expect.of(side.peer()))?;
        let section = conclusion.section.as_ref();
        Some(Asked {
            level: conclusion.level(),
            section: section.unwrap_or(&vector.source.reference).clone(),
        })
    }

    /// Whether it is a choice of this project, which binds no other implementation.
    pub(super) fn is_ours(&self) -> bool {
        self.level == Level::Ours
    }
}

/// One difference, for a program.
#[derive(Serialize)]
struct Differs<'a> {
    #[serde(flatten)]
    place: Place,
    what: &'a str,
}

/// The texts of what differs.
fn texts<S: Serializer>(failures: &[Difference], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(failures.iter().map(|failure| &failure.what))
}

/// Reports results as they arrive. The cases of one file arrive in a row.
pub(super) struct Reporter<'a> {
    command: &'static str,
    args: &'a ReportArgs,
    style: Style,
    progress: Option<Progress>,
    /// The file whose cases are arriving; used for plain lines only.
    open: Option<Tally>,
    all: Tally,
    /// How many results there are so far, including those of files.
    number: usize,
    files: usize,
    suites: BTreeMap<String, TestSuite>,
}

/// What was counted.
#[derive(Default)]
struct Tally {
    file: String,
    vectors: usize,
    failed: usize,
    skipped: usize,
    not_run: usize,
    /// The lines below the line of the file.
    below: Vec<String>,
}

impl<'a> Reporter<'a> {
    /// A reporter for this subcommand, which will report `total` cases.
    pub(super) fn new(
        command: &'static str,
        args: &'a ReportArgs,
        total: Option<usize>,
    ) -> Reporter<'a> {
        if args.tap {
            print_line(&"TAP version 14");
        }
        Reporter {
            command,
            args,
            style: Style::of(&std::io::stdout()),
            progress: (std::io::stderr().is_terminal() && !output::is_quiet())
                .then(|| Progress::new(total)),
            open: None,
            all: Tally::default(),
            number: 0,
            files: 0,
            suites: BTreeMap::new(),
        }
    }

    /// Reports one more result.
    pub(super) fn case(&mut self, case: Case) {
        self.all.add(&case);
        self.number += 1;
        if self.args.json {
            self.hide_progress();
            print_json(&case.as_json());
        } else if self.args.tap {
            self.hide_progress();
            print_line(&case.as_tap(self.number));
        } else {
            if self.open.as_ref().is_none_or(|t| t.file != case.file) {
                self.close_file();
                self.open = Some(Tally {
                    file: case.file.clone(),
                    ..Tally::default()
                });
            }
            if let Some(open) = &mut self.open {
                open.add(&case);
                open.below.extend(case.as_lines());
            }
        }
        self.show_progress();
        if self.args.junit.is_some() {
            self.suites
                .entry(case.file.clone())
                .or_insert_with(|| TestSuite::new(inert(&case.file)))
                .add_test_case(case.as_junit(self.command));
        }
    }

    /// Whether no more results are wanted: nothing reads them.
    pub(super) fn is_over(&self) -> bool {
        self.args.junit.is_none() && output::is_over()
    }

    /// Reports that the peer cannot be reached, before any vector was played. A
    /// person reads it on standard error.
    pub(super) fn unreachable(mut self, peer: &str, why: &str) -> Exit {
        complain(&why);
        self.case(Case {
            file: peer.to_owned(),
            failures: vec![why.to_owned().into()],
            is_error: true,
            ..Case::default()
        });
        self.hide_progress();
        if self.args.tap {
            print_line(&format!("1..{}", self.number));
        }
        // The exit status is the same where the report cannot be written.
        let _ = self.write_report();
        Exit::Unreachable
    }

    /// Reports that all results have arrived.
    pub(super) fn finish(mut self) -> Exit {
        if let Err(exit) = self.end() {
            return exit;
        }
        match self.all.failed {
            0 => Exit::Good,
            _ => Exit::Failed,
        }
    }

    /// Reports what stands behind the last result.
    fn end(&mut self) -> Result<(), Exit> {
        self.hide_progress();
        if self.args.tap {
            print_line(&format!("1..{}", self.number));
        } else if !self.args.json {
            self.close_file();
            let files = counted(self.files, "file");
            let verdict = match self.all.failed {
                0 => self.style.good("all good"),
                n => self.style.bad(&format!("{n} failed")),
            };
            if !output::is_quiet() || self.all.failed > 0 && self.files > 0 {
                let rest = self.all.rest();
                print_line(&format!("{files}, {}: {verdict}{rest}", self.all));
            }
        }
        self.write_report()
    }

    /// Writes the report as JUnit, if one is asked for.
    fn write_report(&mut self) -> Result<(), Exit> {
        match &self.args.junit {
            Some(path) => {
                let suites = std::mem::take(&mut self.suites);
                write_junit(path, self.command, suites.into_values())
            }
            None => Ok(()),
        }
    }

    fn show_progress(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.show(self.number);
        }
    }

    fn hide_progress(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.hide();
        }
    }

    fn close_file(&mut self) {
        let Some(tally) = self.open.take() else {
            return;
        };
        self.files += 1;
        self.hide_progress();
        if output::is_quiet() && tally.failed == 0 {
            return;
        }
        let word = match tally.failed {
            0 => self.style.good("ok"),
            _ => self.style.bad("FAILED"),
        };
        print_line(&format!("{word} {} {tally}", inert(&tally.file)));
        for line in &tally.below {
            print_line(&format!("  {line}"));
        }
    }
}

impl Tally {
    fn add(&mut self, case: &Case) {
        self.vectors += usize::from(!case.id.is_empty());
        self.failed += usize::from(!case.failures.is_empty());
        self.skipped += usize::from(case.skipped.is_some());
        self.not_run += usize::from(case.not_run.is_some());
    }

    /// How many are neither good nor bad, and how many are good beside them.
    fn rest(&self) -> String {
        let other = self.failed + self.skipped + self.not_run;
        match other {
            0 => String::new(),
            _ => format!(", {} ok", self.vectors.saturating_sub(other)),
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&counted(self.vectors, "vector"))?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        if self.not_run > 0 {
            write!(f, ", {} not run", self.not_run)?;
        }
        Ok(())
    }
}

impl Case {
    fn verdict(&self) -> &'static str {
        match (self.failures.is_empty(), &self.skipped, &self.not_run) {
            (false, _, _) => "failed",
            (true, Some(_), _) => "skipped",
            (true, None, Some(_)) => "not-run",
            (true, None, None) => "ok",
        }
    }

    /// Why nothing was proved, in formats that know one kind of it.
    fn unproved(&self) -> Option<String> {
        if !self.failures.is_empty() {
            return None;
        }
        let not_run = || self.not_run.as_ref().map(|why| format!("not run: {why}"));
        self.skipped.clone().or_else(not_run)
    }

    /// The keys that all verdicts have. Of several differences they hold the
    /// first.
    fn envelope(&self) -> Verdict {
        let severity = match (self.is_error, self.verdict()) {
            (true, _) => Severity::Error,
            (false, "ok") => Severity::Good,
            (false, "skipped" | "not-run") => Severity::Unproved,
            (false, _) => Severity::Wrong,
        };
        let first = self.failures.first();
        Verdict {
            id: Some(if self.id.is_empty() {
                self.file.clone()
            } else {
                self.id.clone()
            }),
            title: self.title.clone(),
            verdict: if self.is_error {
                "error"
            } else {
                self.verdict()
            },
            severity,
            place: first
                .map(|first| Place::of(self.side, first))
                .unwrap_or_default(),
        }
    }

    /// The lines below the line of the file.
    fn as_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let name = |lines: &mut Vec<String>, what: &str| {
            let (first, more) = what
                .split_once('\n')
                .map_or((what, None), |(f, m)| (f, Some(m)));
            let first = inert(first);
            lines.push(if self.id.is_empty() {
                first
            } else {
                format!("{}: {first}", inert(&self.id))
            });
            let more = more.into_iter().flat_map(|more| more.split('\n'));
            lines.extend(more.map(|line| format!("  {}", inert(line))));
        };
        let failures = self.failures.iter().map(|failure| &failure.what);
        for what in self.skipped.iter().chain(&self.not_run).chain(failures) {
            name(&mut lines, what);
        }
        if let Some(asked) = self.asked.as_ref().filter(|_| !self.failures.is_empty()) {
            let (level, section) = (asked.level.name(), inert(&asked.section));
            lines.push(format!("  {level}: {section}"));
        }
        lines
    }

    fn as_json(&self) -> impl Serialize + '_ {
        #[derive(Serialize)]
        struct ReportLine<'a> {
            result: &'static str,
            #[serde(flatten)]
            case: &'a Case,
            differences: Vec<Differs<'a>>,
            #[serde(flatten)]
            verdict: Verdict,
        }
        let differences = self.failures.iter().map(|failure| Differs {
            place: Place::of(self.side, failure),
            what: &failure.what,
        });
        ReportLine {
            result: self.verdict(),
            case: self,
            differences: differences.collect(),
            verdict: self.envelope(),
        }
    }

    fn as_tap(&self, number: usize) -> String {
        let ok = if self.failures.is_empty() {
            "ok"
        } else {
            "not ok"
        };
        // `\` and `#` have a meaning in TAP names.
        let name = format!("{} {}", inert(&self.file), inert(&self.id));
        let name = name.trim_end().replace('\\', "\\\\").replace('#', "\\#");
        let mut lines = format!("{ok} {number} - {name}");
        if let Some(why) = self.unproved() {
            lines.push_str(&format!(" # SKIP {}", inert(&why)));
        }
        if !self.failures.is_empty() {
            lines.push_str("\n  ---\n  failures:");
            for failure in &self.failures {
                // YAML reads the strings of JSON.
                if let Ok(failure) = json(&inert_lines(&failure.what)) {
                    lines.push_str(&format!("\n    - {failure}"));
                }
            }
            if let Some(asked) = &self.asked {
                let level = asked.level.name();
                lines.push_str(&format!("\n  level: {level}"));
                if let Ok(section) = json(&inert(&asked.section)) {
                    lines.push_str(&format!("\n  section: {section}"));
                }
            }
            lines.push_str(&format!("\n  duration_ms: {}\n  ...", self.ms));
        }
        lines
    }

    fn as_junit(&self, command: &str) -> TestCase {
        let name = if self.id.is_empty() {
            inert(&self.file)
        } else {
            inert(&self.id)
        };
        let failure = (!self.failures.is_empty()).then(|| {
            let what: Vec<String> = self.failures.iter().map(|f| inert_lines(&f.what)).collect();
            let bad = if self.is_error {
                Bad::Error("error")
            } else {
                Bad::Failure("failure")
            };
            (bad, what.join("\n"))
        });
        let time = Duration::from_millis(self.ms);
        let mut case = junit_case(command, name, failure, time);
        if let Some(why) = self.unproved() {
            let mut status = TestCaseStatus::skipped();
            status.set_message(inert(&why));
            case.status = status;
        }
        case
    }
}

/// The progress, on a terminal, in a line that is overwritten.
struct Progress {
    total: Option<usize>,
    last: Instant,
    shown: bool,
}

impl Progress {
    fn new(total: Option<usize>) -> Progress {
        Progress {
            total,
            last: Instant::now(),
            shown: false,
        }
    }

    fn show(&mut self, done: usize) {
        if self.last.elapsed() < Duration::from_millis(100) {
            return;
        }
        self.last = Instant::now();
        self.shown = true;
        let of = self.total.map_or(String::new(), |n| format!(" of {n}"));
        let mut err = std::io::stderr().lock();
        // Progress that cannot be written is no error.
        let _ = write!(err, "\r{done}{of} vectors").and_then(|()| err.flush());
    }

    fn hide(&mut self) {
        if std::mem::take(&mut self.shown) {
            let mut err = std::io::stderr().lock();
            let _ = write!(err, "\r\x1b[K").and_then(|()| err.flush());
        }
    }
}

/// What JUnit calls a result that is not good, with a word for its kind.
pub(super) enum Bad {
    /// What was tested is wrong.
    Failure(&'static str),
    /// Nothing was proved, as where the server cannot be reached.
    Error(&'static str),
}

/// One test of a JUnit report. What is not good has a text: its first line is the
/// message, and all of it is the body.
pub(super) fn junit_case(
    command: &str,
    name: String,
    bad: Option<(Bad, String)>,
    time: Duration,
) -> TestCase {
    let status = match bad {
        None => TestCaseStatus::success(),
        Some((bad, what)) => {
            let (kind, word) = match bad {
                Bad::Failure(word) => (NonSuccessKind::Failure, word),
                Bad::Error(word) => (NonSuccessKind::Error, word),
            };
            let mut status = TestCaseStatus::non_success(kind);
            status.set_type(word);
            status.set_message(what.lines().next().unwrap_or_default());
            status.set_description(what);
            status
        }
    };
    let mut case = TestCase::new(name, status);
    case.set_classname(command);
    case.set_time(time);
    case
}

/// Writes a JUnit report. An error is printed.
pub(super) fn write_junit(
    path: &Path,
    command: &str,
    suites: impl IntoIterator<Item = TestSuite>,
) -> Result<(), Exit> {
    let mut report = Report::new(format!("heirloom {command}"));
    report.add_test_suites(suites);
    let written = report
        .to_string()
        .map_err(|error| error.to_string())
        .and_then(|xml| fs::write(path, xml).map_err(|error| error.to_string()));
    written.map_err(|error| {
        complain(&format!("cannot write {}: {error}", path.display()));
        Exit::Unreachable
    })
}

/// Prints a line of JSON on standard output.
pub(super) fn print_json(value: &impl Serialize) {
    match json(value) {
        Ok(line) => print_line(&line),
        Err(error) => complain(&error),
    }
}

/// One line of JSON in visible ASCII: it cannot control a terminal, and loses
/// nothing.
pub(super) fn json(value: &(impl Serialize + ?Sized)) -> Result<String, serde_json::Error> {
    let line = serde_json::to_string(value)?;
    if line.bytes().all(|o| matches!(o, 0x20..=0x7e)) {
        return Ok(line);
    }
    let mut ascii = String::with_capacity(line.len() * 2);
    // Only strings hold characters beyond ASCII.
    for c in line.chars() {
        if matches!(c, ' '..='~') {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Ok(ascii)
}

/// A line of text that cannot control a terminal.
pub(super) fn inert(text: &str) -> String {
    Escaped::<1000>(text).to_string()
}

/// The same for several lines.
pub(super) fn inert_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(inert).collect();
    lines.join("\n")
}
