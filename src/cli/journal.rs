//! Writes recordings to the disk: a journal for each open connection, and a vector
//! file for each connection that has ended.
//!
//! `NAME.open` is the journal: one step per line, as JSON, in the order in
//! which they arrived. When the connection has ended, the vector is written to
//! `NAME.tmp`, which is renamed to `NAME.json`, and the journal is removed. If the
//! program is killed, `NAME.json` is complete or does not exist, and the last line
//! of the journal may be incomplete.
//!
//! A disk that fails is tried again, and the recording goes on where it stopped.
//! The connection does not wait.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use heirloom::Side;
use heirloom::net::relay::{CutShort, Ending, TrafficRecorder};
use heirloom::vector::{self, Step, StreamEnd};

use super::recording::{date, recording_file, request_without_keys};
use super::{complain, create_private, print_line};

/// The most octets of one connection that wait for the disk.
const MAX_WAITING_OCTETS: usize = 1024 * 1024;
/// The memory that a step needs besides its octets.
const STEP_OCTETS: usize = 64;
/// The longest line of a journal: a chunk as JSON of hex with spaces, and the other
/// keys of the step.
const MAX_LINE_OCTETS: u64 = 1024 * 1024;
/// How many names are tried on one day.
const MAX_NAMES: u32 = 1_000_000;
/// How long to wait before a disk that failed is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// How long a disk that fails is tried again when the connection has ended.
const GRACE: Duration = Duration::from_secs(2);
/// Warnings of one kind come no faster.
const WARNING_EVERY: Duration = Duration::from_secs(1);
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
    warnings: Warnings,
    /// Journals of connections that have ended, of which no vector could be made
    /// yet.
    kept: Mutex<Vec<Kept>>,
    /// The requests that vectors have, for `--once`. One recording is finished at
    /// a time while this is locked, so that memory is bounded.
    known: Mutex<HashSet<Vec<u8>>>,
}

/// A journal of which a vector is to be made.
#[derive(Debug)]
struct Kept {
    journal: PathBuf,
    unfinished: bool,
}

/// When each kind of warning was logged last.
#[derive(Debug, Default)]
struct Warnings {
    /// The disk fails.
    disk: WarningLimiter,
    /// A recording ends before its connection.
    cut: WarningLimiter,
}

/// Lets one warning of a kind pass in a second.
#[derive(Debug, Default)]
struct WarningLimiter(Mutex<Option<Instant>>);

impl WarningLimiter {
    /// Whether it is time for another.
    fn again(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let again = last.is_none_or(|at| now.saturating_duration_since(at) >= WARNING_EVERY);
        if again {
            *last = Some(now);
        }
        again
    }
}

impl Store {
    /// Recordings go to this folder, which is created if it does not exist.
    pub(super) fn new(folder: &Path, mode: Mode, max_octets: u64) -> Store {
        let store = Store {
            folder: folder.to_owned(),
            mode,
            max_octets,
            next: AtomicU32::new(1),
            warnings: Warnings::default(),
            kept: Mutex::default(),
            known: Mutex::default(),
        };
        if mode != Mode::None {
            if let Err(error) = fs::create_dir_all(folder) {
                store.warn(&error);
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
            ended: Arc::default(),
            stopped: false,
        }
    }

    /// Makes vectors of the journals that killed recorders left. One that cannot be
    /// read is left as it is. Gives whether all were made.
    pub(super) fn recover(&self) -> io::Result<bool> {
        let mut all = true;
        let mut journals = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "open") {
                journals.push(path);
            }
        }
        journals.sort();
        for journal in &journals {
            if let Err(error) = self.recover_one(journal) {
                complain_of(journal, &error);
                all = false;
            }
        }
        Ok(all)
    }

    fn recover_one(&self, journal: &Path) -> io::Result<()> {
        let whole = journal.with_extension("json");
        if fs::symlink_metadata(&whole).is_err() {
            return self.finish(journal, true);
        }
        // The recorder was killed when it had finished the vector.
        let json = read_bounded(&whole, MAX_FILE_OCTETS)?;
        if let Err(error) = vector::File::read(&json) {
            let whole = whole.display();
            return Err(io::Error::other(format!("{whole} is no vector: {error}")));
        }
        fs::remove_file(journal)
    }

    /// Tells that the disk fails. The connections go on.
    fn warn(&self, error: &io::Error) {
        if self.warnings.disk.again() {
            log::error!(
                "cannot write to {}: {error}; connections go on, and it is tried again",
                self.folder.display()
            );
        }
    }

    /// Tries until it succeeds, or until the connection has been gone for a while.
    fn retry<T>(
        &self,
        ended: &OnceLock<Instant>,
        mut what: impl FnMut() -> io::Result<T>,
    ) -> Option<T> {
        loop {
            let is_last = ended.get().is_some_and(|at| at.elapsed() >= GRACE);
            match what() {
                Ok(done) => return Some(done),
                Err(error) => self.warn(&error),
            }
            if is_last {
                return None;
            }
            thread::sleep(RETRY);
        }
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
            let journal = match create_private(&path) {
                Ok(journal) => journal,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => {
                    // The name is free, and the folder may have been removed.
                    self.next.fetch_sub(1, Ordering::AcqRel);
                    if error.kind() == io::ErrorKind::NotFound {
                        fs::create_dir_all(&self.folder)?;
                    }
                    return Err(error);
                }
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

    /// Makes a vector file of a journal. Where that fails, the journal is kept and
    /// tried again when the next recording is finished.
    fn finish_or_keep(&self, one: Kept, ended: &OnceLock<Instant>) {
        let finished = self.retry(ended, || match self.finish(&one.journal, one.unfinished) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                complain_of(&one.journal, &error);
                Ok(())
            }
            finished => finished,
        });
        match finished {
            Some(()) => self.finish_kept(),
            None => self.kept().push(one),
        }
    }

    /// Makes vector files of the journals that were kept.
    pub(super) fn finish_kept(&self) {
        let mut kept = std::mem::take(&mut *self.kept());
        while let Some(one) = kept.pop() {
            match self.finish(&one.journal, one.unfinished) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    complain_of(&one.journal, &error);
                }
                Err(error) => {
                    self.warn(&error);
                    kept.push(one);
                    break;
                }
            }
        }
        self.kept().append(&mut kept);
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
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
        let file = recording_file(&name, by, date, steps, unfinished)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let (half, whole) = (
            journal.with_extension("tmp"),
            journal.with_extension("json"),
        );
        match fs::remove_file(&half) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = create_private(&half).and_then(|mut out| {
            out.write_all(file.to_canonical().as_bytes())?;
            out.sync_data()
        });
        if let Err(error) = written {
            // Where it cannot be removed, the next attempt does it.
            let _ = fs::remove_file(&half);
            return Err(error);
        }
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
    /// When the connection ended.
    ended: Arc<OnceLock<Instant>>,
    /// The recording has ended before the connection.
    stopped: bool,
}

#[derive(Debug)]
struct JournalWriter {
    entries: Sender<JournalEntry>,
    thread: JoinHandle<Option<WrittenJournal>>,
}

/// A journal that was written.
#[derive(Debug)]
struct WrittenJournal {
    journal: PathBuf,
    /// The last entries could not be written.
    is_cut: bool,
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

    /// The step as a line of JSON.
    fn line(self) -> Option<Vec<u8>> {
        let step = match self.content {
            EntryContent::Octets(octets) => Step::of(self.from, &octets),
            EntryContent::End(end) => Step::end(self.from, end),
        };
        let step = match self.after_ms {
            0 => step,
            ms => step.after(ms),
        };
        let mut line = serde_json::to_vec(&step).ok()?;
        line.push(b'\n');
        Some(line)
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
        // It is set once.
        let _ = self.ended.set(Instant::now());
        let Ok(Some(written)) = writer.thread.join() else {
            return;
        };
        let one = Kept {
            journal: written.journal,
            unfinished: self.stopped || written.is_cut || cut.is_some(),
        };
        self.store.finish_or_keep(one, &self.ended);
    }
}

impl ConnectionRecorder {
    fn is_stopped(&self) -> bool {
        self.stopped || self.store.mode == Mode::None
    }

    /// Ends the recording of this connection. The connection goes on.
    fn stop(&mut self, why: &dyn std::fmt::Display) {
        if !self.is_stopped() && self.store.warnings.cut.again() {
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
                Err(error) => {
                    // What follows would be a recording without its start.
                    self.stopped = true;
                    return self.store.warn(&error);
                }
            }
        }
        self.waiting.fetch_add(entry.weight(), Ordering::AcqRel);
        if let Some(writer) = &self.writer {
            // The writer has ended only where the connection has.
            let _ = writer.entries.send(entry);
        }
    }

    fn start_writer(&self) -> io::Result<JournalWriter> {
        let (entries, to_write) = channel();
        let (store, waiting) = (Arc::clone(&self.store), Arc::clone(&self.waiting));
        let ended = Arc::clone(&self.ended);
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write_entries(&store, &waiting, &ended, &to_write))?;
        Ok(JournalWriter { entries, thread })
    }
}

/// Writes entries to a journal, each as one line with one write. `None` where there
/// is no journal.
fn write_entries(
    store: &Store,
    waiting: &AtomicUsize,
    ended: &OnceLock<Instant>,
    entries: &Receiver<JournalEntry>,
) -> Option<WrittenJournal> {
    let (journal, mut file) = store.retry(ended, || store.open())?;
    let mut length = 0;
    for entry in entries {
        let weight = entry.weight();
        let Some(line) = entry.line() else {
            unreachable!("a step is JSON");
        };
        let mut is_again = false;
        let written = store.retry(ended, || {
            if std::mem::replace(&mut is_again, true) {
                // A part of it may have been written.
                file.set_len(length)?;
                file.seek(SeekFrom::Start(length))?;
            }
            file.write_all(&line)
        });
        if written.is_none() {
            return Some(WrittenJournal {
                journal,
                is_cut: true,
            });
        }
        length += line.len() as u64;
        waiting.fetch_sub(weight, Ordering::AcqRel);
    }
    Some(WrittenJournal {
        journal,
        is_cut: false,
    })
}

/// The steps of a journal. The last line may be incomplete; no other may.
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
            _ if lines.fill_buf()?.is_empty() => {
                log::info!("{}: the last line is incomplete", path.display());
                return Ok(steps);
            }
            _ => {
                let number = steps.len() + 1;
                let error = format!("line {number} is no step, and others follow");
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
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

/// Prints why a folder, or a journal, cannot be recovered.
pub(super) fn complain_of(path: &Path, error: &io::Error) {
    complain(&format!("cannot recover {}: {error}", path.display()));
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
