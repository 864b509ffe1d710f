//! Writes recordings to the disk: a journal for each open connection, and a vector
//! file for each connection that has ended.
//!
//! `NAME.open` is the journal: one step per line, as JSON, in the order in
//! which they arrived. When the connection has ended, the vector is written to
//! `NAME.tmp`, which is renamed to `NAME.json`, and the journal is removed. If the
//! program is killed, `NAME.json` is complete or does not exist, and the last line
//! of the journal may be incomplete.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use heirloom::Side;
use heirloom::bytes::Escaped;
use heirloom::net::relay::{CutShort, Ending, TrafficRecorder};
use heirloom::vector::{self, Expect, Source, Step, StreamEnd, Vector};
use jiff::Timestamp;

use super::head_search::HeadSearch;
use super::{complain, print_line};

/// The most octets of one connection that wait for the disk.
const MAX_WAITING_OCTETS: usize = 1024 * 1024;
/// The memory that a step needs besides its octets.
const STEP_OCTETS: usize = 64;
/// The longest line of a journal: a chunk as JSON of hex with spaces, and the other
/// keys of the step.
const MAX_LINE_OCTETS: u64 = 1024 * 1024;
/// The request of a longer head is not compared.
const MAX_HEAD_OCTETS: usize = 1024 * 1024;
/// How many names are tried on one day.
const MAX_NAMES: u32 = 1_000_000;
/// The longest vector file that is read for its requests.
const MAX_FILE_OCTETS: u64 = 256 * 1024 * 1024;

/// Which connections are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    All,
    /// Those with a request that no vector has yet; keys are not compared.
    Once,
    None,
}

/// The folder that recordings go to.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    mode: Mode,
    /// Octets of one recording.
    max_octets: u64,
    next: AtomicU32,
    /// The disk has failed, and the error was logged.
    failed: AtomicBool,
    /// The requests that vectors have, for `--once`. One recording is finished at
    /// a time while this is locked, so that memory is bounded.
    known: Mutex<HashSet<Vec<u8>>>,
}

impl Store {
    /// Recordings go to this folder, which is created if it does not exist. If that
    /// fails, nothing is recorded.
    pub(super) fn new(folder: &Path, mode: Mode, max_octets: u64) -> Store {
        let store = Store {
            folder: folder.to_owned(),
            mode,
            max_octets,
            next: AtomicU32::new(1),
            failed: AtomicBool::new(mode == Mode::None),
            known: Mutex::default(),
        };
        if mode != Mode::None {
            if let Err(error) = fs::create_dir_all(folder) {
                store.fail(&error);
            }
        }
        if mode == Mode::Once {
            store.read_known_requests();
        }
        store
    }

    /// A recorder for one more connection.
    pub(super) fn recorder(self: &Arc<Store>) -> ConnectionRecorder {
        ConnectionRecorder {
            store: Arc::clone(self),
            last: Instant::now(),
            octets: 0,
            waiting: Arc::default(),
            writer: None,
            stopped: false,
        }
    }

    /// Makes vectors of the journals that killed recorders left.
    pub(super) fn recover(&self) -> io::Result<usize> {
        let mut journals = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "open") {
                journals.push(path);
            }
        }
        journals.sort();
        for journal in &journals {
            self.finish(journal, true)?;
        }
        Ok(journals.len())
    }

    /// Logs one error for the whole recorder. The connections go on.
    fn fail(&self, error: &io::Error) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            log::error!(
                "cannot write to {}: {error}; nothing more is recorded, but connections go on",
                self.folder.display()
            );
        }
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn read_known_requests(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            let read = read_bounded(&path, MAX_FILE_OCTETS)
                .map_err(|error| error.to_string())
                .and_then(|json| vector::File::read(&json).map_err(|error| error.to_string()));
            match read {
                Ok(file) => {
                    let requests = file
                        .vectors
                        .iter()
                        .filter_map(|v| request_without_keys(&v.steps));
                    let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.extend(requests);
                }
                Err(error) => log::warn!("{} is ignored: {error}", path.display()),
            }
        }
    }

    /// Opens a journal with a free name. Names hold nothing that a peer sent.
    fn open(&self) -> io::Result<(PathBuf, File)> {
        let date = date(SystemTime::now());
        for _ in 0..MAX_NAMES {
            let number = self.next.fetch_add(1, Ordering::AcqRel);
            let path = self.folder.join(format!("{date}-{number:04}.open"));
            let journal = match File::create_new(&path) {
                Ok(journal) => journal,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            // In this order: the program that created the journal owns the name.
            if path.with_extension("json").exists() {
                fs::remove_file(&path)?;
                continue;
            }
            return Ok((path, journal));
        }
        Err(io::Error::other(
            "there are too many recordings with the date of today",
        ))
    }

    /// Makes a vector file of a journal, and removes the journal.
    fn finish(&self, journal: &Path, unfinished: bool) -> io::Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = read_journal(journal)?;
        let request = request_without_keys(&steps);
        let seen = request
            .as_ref()
            .is_some_and(|request| known.contains(request));
        if steps.is_empty() || (self.mode == Mode::Once && seen) {
            return fs::remove_file(journal);
        }
        let name = journal.file_stem().unwrap_or_default().to_string_lossy();
        let by = "recorded by heirloom record";
        let date = name.get(..10).unwrap_or_default();
        let file = recording_file(&name, by, date, steps, unfinished).map_err(io::Error::other)?;
        let (half, whole) = (
            journal.with_extension("tmp"),
            journal.with_extension("json"),
        );
        match fs::remove_file(&half) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut out = File::create_new(&half)?;
        out.write_all(file.to_canonical().as_bytes())?;
        out.sync_data()?;
        drop(out);
        fs::rename(&half, &whole)?;
        fs::remove_file(journal)?;
        known.extend(request);
        print_line(&format!("recorded {}", whole.display()));
        Ok(())
    }
}

/// Records one connection.
#[derive(Debug)]
pub(super) struct ConnectionRecorder {
    store: Arc<Store>,
    /// The time of the last step.
    last: Instant,
    octets: u64,
    /// Octets that wait for the disk.
    waiting: Arc<AtomicUsize>,
    writer: Option<JournalWriter>,
    /// The recording has ended before the connection.
    stopped: bool,
}

#[derive(Debug)]
struct JournalWriter {
    entries: Sender<JournalEntry>,
    thread: JoinHandle<Option<PathBuf>>,
}

/// An entry of a journal.
struct JournalEntry {
    from: Side,
    content: EntryContent,
    after_ms: u64,
}

enum EntryContent {
    Octets(Vec<u8>),
    End(StreamEnd),
}

impl JournalEntry {
    fn weight(&self) -> usize {
        match &self.content {
            EntryContent::Octets(octets) => octets.len() + STEP_OCTETS,
            EntryContent::End(_) => STEP_OCTETS,
        }
    }
}

impl TrafficRecorder for ConnectionRecorder {
    fn octets(&mut self, from: Side, octets: &[u8]) {
        self.octets = self.octets.saturating_add(octets.len() as u64);
        if self.octets > self.store.max_octets && !self.stopped {
            let limit = self.store.max_octets;
            self.stop(&format!(
                "it is longer than {limit} octets (--max-recording-bytes)"
            ));
        }
        let waiting = self.waiting.load(Ordering::Acquire);
        if waiting + octets.len() + STEP_OCTETS > MAX_WAITING_OCTETS {
            self.stop(&"the disk is too slow: 1 MiB waits for it");
        }
        if !self.is_stopped() {
            self.write(from, EntryContent::Octets(octets.to_vec()));
        }
    }

    fn end(&mut self, from: Side, how: Ending) {
        if !self.is_stopped() {
            let end = match how {
                Ending::Fin => StreamEnd::Fin,
                Ending::Rst => StreamEnd::Rst,
            };
            self.write(from, EntryContent::End(end));
        }
    }

    fn done(self, cut: Option<CutShort>) {
        let Some(writer) = self.writer else {
            return;
        };
        drop(writer.entries);
        let Ok(Some(journal)) = writer.thread.join() else {
            return;
        };
        let unfinished = self.stopped || cut.is_some();
        if let Err(error) = self.store.finish(&journal, unfinished) {
            self.store.fail(&error);
        }
    }
}

impl ConnectionRecorder {
    fn is_stopped(&self) -> bool {
        self.stopped || self.store.has_failed()
    }

    /// Ends the recording of this connection. The connection goes on.
    fn stop(&mut self, why: &dyn std::fmt::Display) {
        if !self.is_stopped() {
            log::warn!("the recording of a connection ends before the connection does: {why}");
        }
        self.stopped = true;
    }

    fn write(&mut self, from: Side, content: EntryContent) {
        let now = Instant::now();
        let after = now.saturating_duration_since(self.last);
        let entry = JournalEntry {
            from,
            content,
            after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
        };
        // The rest of a millisecond counts for the next step.
        self.last += Duration::from_millis(entry.after_ms);
        if self.writer.is_none() {
            match self.start_writer() {
                Ok(writer) => self.writer = Some(writer),
                Err(error) => return self.store.fail(&error),
            }
        }
        self.waiting.fetch_add(entry.weight(), Ordering::AcqRel);
        if let Some(writer) = &self.writer {
            // The writer has ended only if the disk has failed, which was logged.
            let _ = writer.entries.send(entry);
        }
    }

    fn start_writer(&self) -> io::Result<JournalWriter> {
        let (entries, to_write) = channel();
        let (store, waiting) = (Arc::clone(&self.store), Arc::clone(&self.waiting));
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || match write_entries(&store, &waiting, &to_write) {
                Ok(journal) => Some(journal),
                Err(error) => {
                    store.fail(&error);
                    None
                }
            })?;
        Ok(JournalWriter { entries, thread })
    }
}

/// Writes entries to a journal, each as one line with one write.
fn write_entries(
    store: &Store,
    waiting: &AtomicUsize,
    entries: &Receiver<JournalEntry>,
) -> io::Result<PathBuf> {
    let (path, mut journal) = store.open()?;
    for entry in entries {
        let weight = entry.weight();
        let step = match entry.content {
            EntryContent::Octets(octets) => Step::of(entry.from, &octets),
            EntryContent::End(end) => Step::end(entry.from, end),
        };
        let step = match entry.after_ms {
            0 => step,
            ms => step.after(ms),
        };
        let mut text = serde_json::to_vec(&step)?;
        text.push(b'\n');
        journal.write_all(&text)?;
        waiting.fetch_sub(weight, Ordering::AcqRel);
    }
    Ok(path)
}

/// The steps of a journal, up to the first line that is incomplete.
fn read_journal(path: &Path) -> io::Result<Vec<Step>> {
    let mut lines = BufReader::new(File::open(path)?);
    let mut steps = Vec::new();
    loop {
        let mut line = Vec::new();
        let n = (&mut lines)
            .take(MAX_LINE_OCTETS)
            .read_until(b'\n', &mut line)?;
        if n == 0 {
            return Ok(steps);
        }
        let whole = line.ends_with(b"\n");
        match serde_json::from_slice::<Step>(&line) {
            Ok(step) if whole && step.octets().is_ok() => steps.push(step),
            _ => {
                log::info!("{}: the last line is incomplete", path.display());
                return Ok(steps);
            }
        }
    }
}

/// A file of one vector: what was recorded, by which program and when, and what
/// the core concludes from it.
pub(super) fn recording_file(
    name: &str,
    by: &str,
    date: &str,
    steps: Vec<Step>,
    unfinished: bool,
) -> Result<vector::File, String> {
    let source = Source {
        kind: "capture".to_owned(),
        reference: by.to_owned(),
        client: header(&steps, Side::Client, "User-Agent"),
        server: header(&steps, Side::Server, "Server"),
        date: Some(date.to_owned()).filter(|date| !date.is_empty()),
        timing: Some("recorded".to_owned()),
        licence: None,
    };
    let mut vector = Vector {
        id: name.to_ascii_lowercase(),
        title: None,
        version: "none".to_owned(),
        source,
        secure: false,
        flags: Vec::new(),
        unfinished,
        steps,
        expect: Expect::default(),
    };
    vector.conclude()?;
    let mut file = vector::File::of(vec![vector]);
    // The schema is not beside this file.
    file.schema = None;
    Ok(file)
}

/// The head of the request without the values of its keys, which differ from one
/// connection to the next.
fn request_without_keys(steps: &[Step]) -> Option<Vec<u8>> {
    let head = head(steps, Side::Client)?;
    let mut kept = Vec::with_capacity(head.len());
    for line in head.split(|octet| *octet == b'\n') {
        const KEY: &[u8] = b"sec-websocket-key";
        let name = line.get(..KEY.len()).unwrap_or_default();
        if name.eq_ignore_ascii_case(KEY) {
            let colon = line.iter().position(|octet| *octet == b':');
            kept.extend_from_slice(line.get(..colon.unwrap_or(line.len())).unwrap_or_default());
        } else {
            kept.extend_from_slice(line);
        }
        kept.push(b'\n');
    }
    Some(kept)
}

/// The first head that one side sent, without its empty line.
fn head(steps: &[Step], from: Side) -> Option<Vec<u8>> {
    let mut head = HeadSearch::default();
    for step in steps.iter().filter(|step| step.from == from) {
        if let Some(end) = head.add(&step.octets().ok()?) {
            head.octets.truncate(end);
            return Some(head.octets);
        }
        if head.octets.len() > MAX_HEAD_OCTETS {
            return None;
        }
    }
    None
}

/// The value of a header, escaped for a file that people read.
fn header(steps: &[Step], from: Side, name: &str) -> Option<String> {
    let head = String::from_utf8_lossy(&head(steps, from)?).into_owned();
    head.split("\r\n").find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name)
            .then(|| Escaped::<120>(value.trim()).to_string())
    })
}

/// Reads a file that is not longer than this.
pub(super) fn read_bounded(path: &Path, max_octets: u64) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    File::open(path)?
        .take(max_octets + 1)
        .read_to_end(&mut octets)?;
    if octets.len() as u64 > max_octets {
        return Err(io::Error::other(format!(
            "it is longer than {max_octets} octets"
        )));
    }
    Ok(octets)
}

/// The date in UTC, in the form of ISO 8601.
pub(super) fn date(now: SystemTime) -> String {
    let now = Timestamp::try_from(now).unwrap_or_default();
    now.strftime("%F").to_string()
}

/// Prints why the folder cannot be recovered.
pub(super) fn complain_of(folder: &Path, error: &io::Error) {
    complain(&format!("cannot recover {}: {error}", folder.display()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_265_241_600, "2010-02-04"),
            (1_703_980_800, "2023-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(date(time), day);
        }
    }

    #[test]
    fn what_waits_for_the_disk_is_bounded() {
        let folder = std::env::temp_dir();
        let store = Arc::new(Store::new(&folder, Mode::All, u64::MAX));
        let mut recorder = store.recorder();
        // This writer writes nothing.
        let (entries, to_write) = channel();
        let thread = thread::spawn(|| None);
        recorder.writer = Some(JournalWriter { entries, thread });
        let chunk = vec![0; 64 * 1024];
        for _ in 0..100 {
            recorder.octets(Side::Client, &chunk);
        }
        assert!(recorder.stopped);
        let waits: usize = to_write.try_iter().map(|entry| entry.weight()).sum();
        assert!(waits <= MAX_WAITING_OCTETS, "{waits}");
        assert!(waits > MAX_WAITING_OCTETS / 2, "{waits}");
        recorder.done(None);
    }

    #[test]
    fn keys_are_not_compared() {
        let request = |key: &str| {
            let head = format!("GET / HTTP/1.1\r\nSec-WebSocket-Key1: {key}\r\nHost: h\r\n\r\n");
            request_without_keys(&[Step::of(Side::Client, head.as_bytes())])
        };
        assert_eq!(request("a b"), request("c d"));
        assert!(request("a").is_some());
        assert_eq!(
            request_without_keys(&[Step::of(Side::Client, b"GET / HTTP/1.1\r\n")]),
            None
        );
    }
}
