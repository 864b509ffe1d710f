//! What a serving command writes, on both streams and to a file: no connection
//! waits for it.
//!
//! Each stream has one thread that writes and one queue with a limit. Lines that
//! do not fit are lost and counted. Standard error tells the count each second; its
//! own is told as soon as it takes lines again.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::Level;

use super::log_line;

/// What the lines of a gateway are called.
pub(super) const ACCESS_LINES: &str = "access lines";
/// Lines that may wait for one stream.
const WAITING_LINES: usize = 8192;
/// Octets that may wait for one stream; a longer line waits alone.
const WAITING_OCTETS: usize = 8 * 1024 * 1024;
/// How long the readers of both streams have at the end to read the rest.
const LAST_OUT: Duration = Duration::from_millis(1_000);
const LAST_ERROR: Duration = Duration::from_millis(250);
/// How often standard error says how many lines are lost.
const TELL: Duration = Duration::from_secs(1);
/// How long to wait where a stream that does not block takes nothing.
const RETRY: Duration = Duration::from_millis(20);

/// The streams of a serving command; unset in all other commands.
static STREAMS: OnceLock<Streams> = OnceLock::new();
/// The file that lines go to in place of standard output, where there is one.
static FILE: OnceLock<LineWriter> = OnceLock::new();

#[derive(Debug)]
struct Streams {
    out: LineWriter,
    error: LineWriter,
}

/// From now on all lines of this process go through queues. `what` names the
/// lines of standard output.
pub(super) fn start(what: &'static str) -> io::Result<()> {
    let error_stream = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let out_stream = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let error = LineWriter::to(error_stream, "lines of standard error", None);
    let out = LineWriter::to(out_stream, what, Some(error.clone()));
    // It is called once.
    let _ = STREAMS.set(Streams { out, error });
    std::panic::set_hook(Box::new(|info| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("a thread").to_owned();
        super::complain(&format!("{name}: {info}"));
    }));
    Ok(())
}

/// Queues a line of standard output, or gives it back where the command has no
/// queues.
pub(super) fn to_out(line: String) -> Result<(), String> {
    match STREAMS.get() {
        Some(streams) => {
            streams.out.write(line);
            Ok(())
        }
        None => Err(line),
    }
}

/// Queues a line of standard error, or gives it back where the command has no
/// queues.
pub(super) fn to_error(line: String) -> Result<(), String> {
    match STREAMS.get() {
        Some(streams) => {
            streams.error.write(line);
            Ok(())
        }
        None => Err(line),
    }
}

/// Access lines go to a file from now on, in a queue of their own. It is called once.
pub(super) fn access_lines_to(file: File) -> LineWriter {
    let report_to = STREAMS.get().map(|streams| streams.error.clone());
    let writer = LineWriter::of(Box::new(file), ACCESS_LINES, report_to, true);
    FILE.get_or_init(|| writer).clone()
}

/// Access lines that were lost until now.
pub(super) fn lost_access_lines() -> u64 {
    let out = STREAMS.get().map(|streams| &streams.out);
    let writers = [out, FILE.get()].into_iter().flatten();
    let of_access = writers.filter(|writer| writer.0.what == ACCESS_LINES);
    of_access.map(|writer| writer.0.queue().lost_in_all).sum()
}

/// Waits until all lines are written, but not for long: a reader that has stopped
/// does not keep the program from its end.
pub(super) fn finish() {
    let Some(Streams { out, error }) = STREAMS.get() else {
        return;
    };
    let until = Instant::now() + LAST_OUT;
    for writer in [Some(out), FILE.get()].into_iter().flatten() {
        let left = until.saturating_duration_since(Instant::now());
        let lost = writer.wait_written(left);
        if lost > 0 {
            let what = writer.0.what;
            let told = format!("the last {lost} {what} are lost: nothing reads them");
            error.write(log_line::of(Level::Warn, &told));
        }
    }
    error.wait_written(LAST_ERROR);
}

/// Takes lines from many threads and writes them from one.
#[derive(Clone, Debug)]
pub(super) struct LineWriter(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// What writes, until the first line comes: a server that writes none stays a
    /// process of one thread, whose system calls cost less.
    unstarted: Mutex<Option<Stream>>,
    /// A line was added.
    added: Condvar,
    /// A line was written, or nothing can be written any more.
    written: Condvar,
    what: &'static str,
    /// What is told of lost lines, where it is not this one.
    report_to: Option<LineWriter>,
    /// Another stream may follow: a reader that has closed its end is not the end.
    reopens: bool,
}

type Stream = Box<dyn Write + Send>;

/// What the thread that writes is handed.
enum Item {
    Line(String),
    /// From here on lines go to this stream.
    Stream(Stream),
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Item>,
    /// The octets of these lines.
    octets: usize,
    /// Lines that were not written, and not told of yet.
    lost: u64,
    /// All that were not written.
    lost_in_all: u64,
    /// Why the last line that was lost could not be written.
    failure: Option<String>,
    /// A thread tells each second how many lines are lost.
    tells: bool,
    /// A line is being written.
    writes: bool,
    /// The thread that writes waits for a line.
    idle: bool,
    /// The end of the program waits until all is written.
    awaited: bool,
    /// The reader has closed its end.
    closed: bool,
}

impl LineWriter {
    /// Writes to this stream. `report_to` is the writer that is told what was lost,
    /// where it is not this one.
    fn to(
        stream: impl Write + Send + 'static,
        what: &'static str,
        report_to: Option<LineWriter>,
    ) -> LineWriter {
        LineWriter::of(Box::new(stream), what, report_to, false)
    }

    fn of(
        stream: Stream,
        what: &'static str,
        report_to: Option<LineWriter>,
        reopens: bool,
    ) -> LineWriter {
        LineWriter(Arc::new(Shared {
            queue: Mutex::default(),
            unstarted: Mutex::new(Some(stream)),
            added: Condvar::new(),
            written: Condvar::new(),
            what,
            report_to,
            reopens,
        }))
    }

    /// Starts the thread that writes, unless it was started before.
    fn start(&self) {
        let unstarted = self.0.unstarted.lock();
        let unstarted = unstarted.unwrap_or_else(PoisonError::into_inner).take();
        let Some(stream) = unstarted else {
            return;
        };
        let own = self.clone();
        let started = thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || own.run(stream));
        if started.is_err() {
            // Without a thread nothing can be written.
            self.0.queue().closed = true;
        }
    }

    /// Writes a line, or several, as soon as the stream takes them. It ends in a
    /// line break.
    pub(super) fn write(&self, line: String) {
        if !self.try_write(line) {
            self.lose(&mut self.0.queue());
        }
    }

    /// From here on lines go to this stream, those that wait to the one from before.
    pub(super) fn go_on_with(&self, stream: impl Write + Send + 'static) {
        let mut queue = self.0.queue();
        let stream = Item::Stream(Box::new(stream));
        match queue.lines.back_mut() {
            // No line is for the one before.
            Some(last @ Item::Stream(_)) => *last = stream,
            _ => queue.lines.push_back(stream),
        }
        let wakes = std::mem::take(&mut queue.idle);
        drop(queue);
        self.start();
        if wakes {
            self.0.added.notify_one();
        }
    }

    /// A line is lost.
    fn lose(&self, queue: &mut Queue) {
        queue.lost += 1;
        queue.lost_in_all += 1;
        if self.0.report_to.is_none() || std::mem::replace(&mut queue.tells, true) {
            return;
        }
        let own = self.clone();
        let tells = thread::Builder::new().name("lost lines".to_owned());
        if tells.spawn(move || own.tell()).is_err() {
            // The next line that is lost tries it again.
            queue.tells = false;
        }
    }

    /// Tells each second how many lines are lost, until none are.
    fn tell(&self) {
        let Some(other) = &self.0.report_to else {
            return;
        };
        loop {
            thread::sleep(TELL);
            let mut queue = self.0.queue();
            let lost = std::mem::take(&mut queue.lost);
            queue.tells = lost > 0;
            if lost == 0 {
                return;
            }
            let told = self.told(lost, queue.failure.take());
            drop(queue);
            // What cannot be told now is told later.
            if !other.try_write(told) {
                self.0.queue().lost += lost;
            }
        }
    }

    /// The sentence about lines that are lost.
    fn told(&self, lost: u64, failure: Option<String>) -> String {
        let what = self.0.what;
        let why = failure.unwrap_or_else(|| "nothing reads them fast enough".to_owned());
        log_line::of(Level::Warn, &format!("{lost} {what} are lost: {why}"))
    }

    /// The same; whether the line fits into the queue.
    fn try_write(&self, line: String) -> bool {
        let mut queue = self.0.queue();
        if queue.closed {
            queue.lost_in_all += 1;
            return true;
        }
        let octets = queue.octets.saturating_add(line.len());
        let is_full = queue.lines.len() >= WAITING_LINES || octets > WAITING_OCTETS;
        if is_full && !queue.lines.is_empty() {
            return false;
        }
        queue.octets = octets;
        queue.lines.push_back(Item::Line(line));
        let wakes = std::mem::take(&mut queue.idle);
        drop(queue);
        self.start();
        if wakes {
            self.0.added.notify_one();
        }
        true
    }

    /// Writes a line before all that wait. Only the thread that writes does that,
    /// once for each line.
    fn write_next(&self, line: String) {
        let mut queue = self.0.queue();
        queue.octets = queue.octets.saturating_add(line.len());
        queue.lines.push_front(Item::Line(line));
    }

    /// Waits until all is written, or nothing can be; gives how many lines are
    /// lost.
    fn wait_written(&self, wait: Duration) -> u64 {
        let mut queue = self.0.queue();
        queue.awaited = true;
        let (queue, _) = self
            .0
            .written
            .wait_timeout_while(queue, wait, |queue| {
                !queue.closed && (queue.writes || !queue.lines.is_empty())
            })
            .unwrap_or_else(PoisonError::into_inner);
        if queue.closed {
            return 0;
        }
        let lines = queue
            .lines
            .iter()
            .filter(|item| matches!(item, Item::Line(_)));
        let waiting = lines.count() as u64;
        queue.lost + waiting + u64::from(queue.writes)
    }

    /// Writes line by line, until the reader closes its end.
    fn run(&self, mut stream: Stream) {
        let what = self.0.what;
        let mut fails = false;
        let mut torn = false;
        loop {
            let line = match self.0.next_item() {
                Item::Line(line) => line,
                Item::Stream(new) => {
                    stream = new;
                    torn = false;
                    self.0.queue().writes = false;
                    self.0.written.notify_all();
                    continue;
                }
            };
            // Half a line is not the start of the next one.
            let end = if torn { "\n" } else { "" };
            let written = write_whole(&mut stream, end, &line);
            let mut queue = self.0.queue();
            queue.writes = false;
            let mut report = None;
            match written {
                Ok(()) => {
                    (fails, torn) = (false, false);
                    let lost = queue.lost;
                    if lost > 0 && self.0.report_to.is_none() {
                        queue.lost = 0;
                        report = Some(self.told(lost, None));
                    }
                }
                Err(Unwritten { error, .. })
                    if error.kind() == ErrorKind::BrokenPipe && !self.0.reopens =>
                {
                    queue.closed = true;
                    queue.lost_in_all += 1 + queue.lines.len() as u64;
                    queue.lines = VecDeque::new();
                }
                Err(Unwritten { error, started }) => {
                    torn = started;
                    queue.failure = Some(error.to_string());
                    self.lose(&mut queue);
                    if !std::mem::replace(&mut fails, true) && self.0.report_to.is_none() {
                        let told = format!("cannot write {what}: {error}");
                        report = Some(log_line::of(Level::Error, &told));
                    }
                }
            }
            let (closed, awaited) = (queue.closed, queue.awaited);
            drop(queue);
            if let Some(report) = report {
                self.write_next(report);
            }
            if awaited {
                self.0.written.notify_all();
            }
            if closed {
                return;
            }
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next line.
    fn next_item(&self) -> Item {
        let mut queue = self.queue();
        loop {
            if let Some(item) = queue.lines.pop_front() {
                if let Item::Line(line) = &item {
                    queue.octets = queue.octets.saturating_sub(line.len());
                }
                queue.writes = true;
                return item;
            }
            queue.idle = true;
            queue = self
                .added
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A line that was not written to its end.
struct Unwritten {
    error: io::Error,
    /// Some of it was.
    started: bool,
}

/// Writes a line, behind the end of the one before where that is missing. The stream
/// may be one that does not block.
fn write_whole(stream: &mut Stream, end: &str, line: &str) -> Result<(), Unwritten> {
    let mut started = !end.is_empty();
    for mut octets in [end.as_bytes(), line.as_bytes()] {
        while !octets.is_empty() {
            let error = match stream.write(octets) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(n) => {
                    octets = octets.get(n..).unwrap_or_default();
                    started = true;
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock => thread::sleep(RETRY),
                _ => return Err(Unwritten { error, started }),
            }
        }
    }
    let flushed = stream.flush();
    flushed.map_err(|error| Unwritten { error, started })
}

/// Where log lines go: each write is one of them.
#[derive(Debug)]
pub(super) struct LogLines;

impl Write for LogLines {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(octets).into_owned();
        if let Err(line) = to_error(line) {
            io::stderr().write_all(line.as_bytes())?;
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A stream that takes a write when it is told how that ends.
    struct Stepped {
        results: Receiver<io::Result<()>>,
        taken: Sender<String>,
    }

    impl Write for Stepped {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            match self.results.recv() {
                Ok(result) => result?,
                Err(_) => return Err(ErrorKind::BrokenPipe.into()),
            }
            let _ = self
                .taken
                .send(String::from_utf8_lossy(octets).into_owned());
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stepped() -> (LineWriter, Sender<io::Result<()>>, Receiver<String>) {
        let (allow, results) = channel();
        let (taken, lines) = channel();
        let writer = LineWriter::to(Stepped { results, taken }, "lines", None);
        (writer, allow, lines)
    }

    #[test]
    fn what_is_lost_is_counted_and_told_when_lines_are_taken_again() {
        let (writer, allow, lines) = stepped();
        for _ in 0..WAITING_LINES + 100 {
            writer.write("x\n".to_owned());
        }
        let (mut taken, mut lost) = (0, 0);
        while taken + lost < WAITING_LINES + 100 {
            allow.send(Ok(())).expect("it writes");
            let line = lines.recv_timeout(Duration::from_secs(5));
            let line = line.expect("all are written or told of");
            match line.split(' ').nth(1) {
                None => taken += 1,
                Some(count) => lost += count.parse::<usize>().expect("a count"),
            }
        }
        assert!(lost >= 99, "{lost}");
    }

    #[test]
    fn a_line_that_is_longer_than_all_that_may_wait_is_written_and_no_second_one_waits() {
        let (writer, allow, lines) = stepped();
        let long = format!("{}\n", "x".repeat(WAITING_OCTETS));
        for _ in 0..4 {
            writer.write(long.clone());
        }
        assert!(writer.0.queue().octets <= long.len());
        assert!(writer.0.queue().lost >= 2);
        allow.send(Ok(())).expect("it writes");
        assert_eq!(lines.recv().expect("it writes").len(), long.len());
    }

    #[test]
    fn a_stream_that_fails_for_a_while_is_written_to_again() {
        let (writer, allow, lines) = stepped();
        for n in 0..3 {
            writer.write(format!("{n}\n"));
        }
        allow
            .send(Err(ErrorKind::StorageFull.into()))
            .expect("sent");
        for _ in 0..4 {
            allow.send(Ok(())).expect("sent");
        }
        let taken: Vec<String> = (0..4).map(|_| lines.recv().expect("it writes")).collect();
        let [failed, lost, rest @ ..] = taken.as_slice() else {
            unreachable!("four lines were read");
        };
        assert!(failed.contains("cannot write"), "{failed}");
        assert!(lost.contains("1 lines are lost"), "{lost}");
        assert_eq!(rest, ["1\n", "2\n"]);
        assert_eq!(writer.wait_written(Duration::from_secs(5)), 0);
    }

    #[test]
    fn a_stream_that_takes_nothing_keeps_nothing_waiting_for_ever() {
        let (writer, _allow, _lines) = stepped();
        writer.write("a\n".to_owned());
        writer.write("b\n".to_owned());
        assert_eq!(writer.wait_written(Duration::from_millis(50)), 2);
    }
}
