//! Lines of standard output for which no worker waits.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::complain;

/// Lines that may wait to be read; more are lost, and counted.
const WAITING: usize = 8192;
/// Milliseconds that the reader of standard output has at the end to read the
/// rest.
const LAST_MS: u64 = 1_000;

/// Takes lines from many threads and writes them from one.
#[derive(Clone)]
pub(super) struct LineWriter {
    waiting: SyncSender<String>,
    lost: Arc<AtomicU64>,
    /// Ends when all are written.
    written: Arc<Mutex<Receiver<()>>>,
    what: &'static str,
}

impl LineWriter {
    /// Starts to write; `what` names the lines where some are lost.
    pub(super) fn open(what: &'static str) -> io::Result<LineWriter> {
        let (waiting, taken) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        let (writes, written) = sync_channel(0);
        thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || {
                let _writes: SyncSender<()> = writes;
                write(&taken, &counted, what);
            })?;
        Ok(LineWriter {
            waiting,
            lost,
            written: Arc::new(Mutex::new(written)),
            what,
        })
    }

    /// Writes a line, or several, as soon as standard output takes them.
    pub(super) fn write(&self, line: String) {
        match self.waiting.try_send(line) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until all are written, or nothing reads them.
    pub(super) fn close(self) {
        let LineWriter {
            waiting,
            written,
            what,
            ..
        } = self;
        drop(waiting);
        let written = written.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = Duration::from_millis(LAST_MS);
        if written.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            complain(&format!("the last {what} are lost: nothing reads them"));
        }
    }
}

/// Writes what waits, until all writers are gone.
fn write(waiting: &Receiver<String>, lost: &AtomicU64, what: &str) {
    let mut out = io::stdout();
    while let Ok(line) = waiting.recv() {
        if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
            if error.kind() != io::ErrorKind::BrokenPipe {
                complain(&format!("cannot write {what}: {error}"));
            }
            return;
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            complain(&format!(
                "{lost} {what} are lost: nothing reads them fast enough"
            ));
        }
    }
}
