//! `heirloom check`: plays vectors to the core, in memory, at every split, from
//! both sides.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use heirloom::Side;
use heirloom::bytes::Escaped;
use heirloom::conform::Pattern;
use heirloom::vector::{Difference, File, Script, Unusable, Vector};

use super::report::{Asked, Case, ReportArgs, Reporter};
use super::{Exit, complain, output, print_line};

/// Play vectors to the core: in memory, at every split, from both sides.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: heirloom check vectors --junit report.xml")]
pub(super) struct Args {
    /// Files of vectors, or folders with such files (*.json except schema.json).
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    only: OnlyArgs,
    #[command(flatten)]
    report: ReportArgs,
    /// Rewrite files that are not in canonical form, and name them.
    #[arg(long, conflicts_with_all = ["json", "tap", "junit"])]
    fmt: bool,
    /// Name the files that --fmt would rewrite, and exit with 1 if there are any.
    #[arg(long, conflicts_with_all = ["json", "tap", "junit", "fmt"])]
    fmt_check: bool,
}

/// Which vectors are played.
#[derive(Debug, ClapArgs)]
pub(super) struct OnlyArgs {
    /// Only the vectors with these ids: patterns such as hixie-76, rfc6455/utf8-* or */text, with
    /// commas between them.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    only: Vec<Pattern>,
}

impl OnlyArgs {
    /// Keeps those that are asked for.
    pub(super) fn keep(&self, vectors: &mut Vec<Vector>) {
        if !self.only.is_empty() {
            vectors.retain(|vector| self.only.iter().any(|p| p.matches(&vector.id)));
        }
    }

    /// Whether all vectors are played.
    pub(super) fn is_all(&self) -> bool {
        self.only.is_empty()
    }
}

/// Says that no vector was asked for.
pub(super) fn complain_of_none() -> Exit {
    complain(&"no vector has such an id: --only takes ids such as hixie-76/text, and patterns");
    Exit::Usage
}

/// No file is longer than this, in octets.
const MAX_FILE_OCTETS: u64 = 64 * 1024 * 1024;

/// The most folders inside each other.
const MAX_DEPTH: usize = 32;

/// Why an unfinished recording is skipped.
pub(super) const UNFINISHED: &str =
    "unfinished: the recording was cut off, so nothing can be concluded from it";

pub(super) fn run(args: &Args) -> Exit {
    let paths = match found(&args.paths) {
        Ok(paths) => paths,
        Err(error) => {
            complain(&error);
            return Exit::Usage;
        }
    };
    if args.fmt || args.fmt_check {
        return format(&paths, args.fmt);
    }
    let mut files: Vec<(String, Result<File, String>)> = paths
        .iter()
        .map(|path| (path.display().to_string(), read(path).map(|(file, _)| file)))
        .collect();
    if !args.only.is_all() {
        for (_, file) in &mut files {
            if let Ok(file) = file {
                args.only.keep(&mut file.vectors);
            }
        }
        files.retain(|(_, file)| !matches!(file, Ok(file) if file.vectors.is_empty()));
        if files.is_empty() {
            return complain_of_none();
        }
    }
    check(&files, &args.report)
}

/// Plays all vectors on all cores, and reports the results in order.
fn check(files: &[(String, Result<File, String>)], report: &ReportArgs) -> Exit {
    let jobs: Vec<Job<'_>> = files
        .iter()
        .flat_map(|(path, file)| match file {
            Ok(file) if file.vectors.is_empty() => vec![Job::File(path, "it has no vectors")],
            Ok(file) => file.vectors.iter().map(|v| Job::Vector(path, v)).collect(),
            Err(what) => vec![Job::File(path, what)],
        })
        .collect();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (start, octets) = (Instant::now(), AtomicUsize::new(0));
    let mut reporter = Reporter::new("check", report, Some(jobs.len()));
    let (next, (sender, receiver)) = (AtomicUsize::new(0), channel());
    thread::scope(|scope| {
        for _ in 0..cores.min(jobs.len()) {
            let (sender, next, jobs, octets) = (sender.clone(), &next, &jobs, &octets);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(number) else {
                        return;
                    };
                    let (case, played) = job.run();
                    octets.fetch_add(played, Ordering::Relaxed);
                    if sender.send((number, case)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut turn = 0;
        for (number, case) in receiver {
            waiting.insert(number, case);
            while let Some(case) = waiting.remove(&turn) {
                reporter.case(case);
                turn += 1;
            }
            if reporter.is_over() {
                break;
            }
        }
    });
    log::info!(
        "played {} octets in {} ms on {cores} cores",
        octets.into_inner(),
        start.elapsed().as_millis()
    );
    reporter.finish()
}

/// What one result is about.
enum Job<'a> {
    /// A file that cannot be used, and why.
    File(&'a str, &'a str),
    /// A vector to be played.
    Vector(&'a str, &'a Vector),
}

impl Job<'_> {
    /// The result, and how many octets were played for it.
    fn run(&self) -> (Case, usize) {
        match self {
            Job::File(path, what) => {
                let case = Case {
                    file: (*path).to_owned(),
                    failures: vec![(*what).to_owned().into()],
                    is_error: true,
                    ..Case::default()
                };
                (case, 0)
            }
            Job::Vector(path, vector) => {
                let start = Instant::now();
                let mut case = Case {
                    file: (*path).to_owned(),
                    id: vector.id.clone(),
                    title: vector.title.clone(),
                    asked: Asked::of(vector, Side::Server),
                    skipped: skipped(vector),
                    ..Case::default()
                };
                let mut octets = 0;
                if case.skipped.is_none() {
                    check_vector(vector, &mut case, &mut octets);
                }
                case.ms = ms(start.elapsed());
                (case, octets)
            }
        }
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Why this vector is skipped, if it is.
fn skipped(vector: &Vector) -> Option<String> {
    if vector.unfinished {
        return Some(UNFINISHED.to_owned());
    }
    let expects = [Side::Server, Side::Client].map(|side| vector.expect.of(side).is_some());
    (expects == [false, false]).then(|| "it expects nothing of either side".to_owned())
}

/// Plays a vector to both sides at every split that matters.
fn check_vector(vector: &Vector, case: &mut Case, octets: &mut usize) {
    let script = match Script::new(vector) {
        Ok(script) => script,
        Err(what) => {
            case.failures = vec![what.into()];
            case.is_error = true;
            return;
        }
    };
    for side in [Side::Server, Side::Client] {
        match catch_unwind(AssertUnwindSafe(|| check_side(&script, side))) {
            Ok((failure, played)) => {
                if failure.is_some() && case.side.is_none() {
                    case.side = Some(side);
                    case.asked = Asked::of(vector, side);
                }
                case.failures.extend(failure);
                *octets += played;
            }
            Err(_) => {
                case.side.get_or_insert(side);
                let what = format!("the core panics as {side:?}, which is a bug of heirloom");
                case.failures.push(what.into());
            }
        }
    }
}

/// What is wrong on this side, and how many octets were played for it.
fn check_side(script: &Script<'_>, side: Side) -> (Option<Difference>, usize) {
    let (mut first, mut failed, mut octets) = (None, 0_usize, 0);
    let splits = script.splits(side);
    for split in &splits {
        match script.play(side, *split) {
            Ok(played) => octets += played.received_octets,
            Err(failure) => {
                failed += 1;
                first.get_or_insert(failure);
            }
        }
    }
    let failure = first.map(|first| {
        let others = if failed > 1 {
            format!(" (as at {failed} of {} splits)", splits.len())
        } else {
            String::new()
        };
        let mut difference = *first.what;
        difference.what = format!("{}, {}{others}: {difference}", first.side, first.split);
        difference
    });
    (failure, octets)
}

/// Rewrites files in canonical form, or only names those that are not.
fn format(paths: &[PathBuf], rewrite: bool) -> Exit {
    let (mut exit, mut differ) = (Exit::Good, 0_usize);
    for path in paths {
        let name = Escaped::<1000>(&path.display().to_string()).to_string();
        match formatted(path, rewrite) {
            Ok(false) => {}
            Ok(true) if rewrite => {
                differ += 1;
                if !output::is_quiet() {
                    print_line(&format!("rewritten {name}"));
                }
            }
            Ok(true) => {
                differ += 1;
                exit = Exit::Failed;
                print_line(&format!("would rewrite {name}"));
            }
            Err(what) => {
                exit = Exit::Failed;
                complain(&format!("{name}: {}", Escaped::<1000>(&what)));
            }
        }
    }
    log::info!("{differ} of {} files differ", paths.len());
    exit
}

/// Whether the file differs from its canonical form.
fn formatted(path: &Path, rewrite: bool) -> Result<bool, String> {
    let (file, json) = read(path)?;
    let canonical = file.to_canonical();
    if canonical.as_bytes() == json {
        return Ok(false);
    }
    if rewrite {
        let written = replace(path, canonical.as_bytes());
        written.map_err(|error| format!("cannot be rewritten: {error}"))?;
    }
    Ok(true)
}

/// Replaces a file, which keeps its permissions. A program that reads it at the same time reads all of the old
/// octets or all of the new ones.
pub(super) fn replace(path: &Path, octets: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let mut beside = path.clone().into_os_string();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = fs::write(&beside, octets)
        .and_then(|()| fs::set_permissions(&beside, fs::metadata(&path)?.permissions()))
        .and_then(|()| fs::rename(&beside, &path));
    if written.is_err() {
        // A part of the file is of no use.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Reads a file. Gives its octets too, or one sentence with the error.
pub(super) fn read(path: &Path) -> Result<(File, Vec<u8>), String> {
    let json = read_octets(path)?;
    match File::read(&json) {
        Ok(file) => Ok((file, json)),
        Err(error) => Err(located(&error, &json)),
    }
}

/// Reads the octets of a file, or gives one sentence with the error.
pub(super) fn read_octets(path: &Path) -> Result<Vec<u8>, String> {
    let mut json = Vec::new();
    let from = fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    from.take(MAX_FILE_OCTETS + 1)
        .read_to_end(&mut json)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if json.len() as u64 > MAX_FILE_OCTETS {
        return Err(format!("it is longer than {MAX_FILE_OCTETS} octets"));
    }
    Ok(json)
}

/// The error after the line and column where it is.
fn located(error: &Unusable, json: &[u8]) -> String {
    let (line, column) = match error {
        Unusable::Shape(error) => (error.line(), error.column()),
        Unusable::Vector { id, .. } => position_of(id, json),
        _ => (1, 1),
    };
    // The error ends with its place in other words.
    let what = error.to_string();
    let what = what
        .strip_suffix(&format!(" at line {line} column {column}"))
        .unwrap_or(&what);
    format!("line {line}, column {column}: {what}")
}

/// The line and column of the last string with this text and no escapes.
fn position_of(id: &str, json: &[u8]) -> (usize, usize) {
    let quoted = format!("\"{id}\"").into_bytes();
    let at = json.windows(quoted.len()).rposition(|w| w == quoted);
    let (before, _) = json.split_at(at.unwrap_or(0));
    let line = before.iter().filter(|o| **o == b'\n').count();
    let start = before
        .iter()
        .rposition(|o| *o == b'\n')
        .map_or(0, |n| n + 1);
    (line + 1, before.len() - start + 1)
}

/// The files that were named, and those in folders that were named.
pub(super) fn found(named: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for path in named {
        let shown = path.display().to_string();
        let shown = Escaped::<1000>(&shown);
        let cannot = |error: io::Error| format!("{shown}: {error}");
        if !fs::metadata(path).map_err(cannot)?.is_dir() {
            found.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        let mut folders = VecDeque::from([(path.clone(), 0)]);
        while let Some((folder, depth)) = folders.pop_front() {
            for entry in fs::read_dir(&folder).map_err(cannot)? {
                let entry = entry.map_err(cannot)?;
                let path = entry.path();
                // A link to a folder is not followed: it may lead back to where it is.
                if entry.file_type().map_err(cannot)?.is_dir() {
                    if depth < MAX_DEPTH {
                        folders.push_back((path, depth + 1));
                    }
                } else if path.is_file()
                    && path.extension().is_some_and(|e| e == "json")
                    && path.file_name().is_some_and(|n| n != "schema.json")
                {
                    inside.push(path);
                }
            }
        }
        if inside.is_empty() {
            return Err(format!("{shown}: there is no *.json in it"));
        }
        inside.sort();
        found.extend(inside);
    }
    Ok(found)
}
