//! Standard output: the one place where commands write results, which decides
//! whether writing them has failed.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::{Exit, complain};

/// What happened to standard output; one of the constants below.
static STATE: AtomicU8 = AtomicU8::new(OPEN);
/// All was written so far.
const OPEN: u8 = 0;
/// The reader of a pipe has closed it: it wants no more.
const CLOSED: u8 = 1;
/// Something could not be written, as on a full disk.
const FAILED: u8 = 2;

/// `--quiet`: errors only.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Writes octets at once. Where standard output is closed or has failed, nothing
/// is written; [`is_over`] tells.
pub(super) fn write(octets: &[u8]) {
    if is_over() {
        return;
    }
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(octets).and_then(|()| out.flush()) {
        note(&error);
    }
}

/// Notes why standard output takes nothing, and tells it once, unless that is a
/// closed pipe.
fn note(error: &io::Error) {
    if error.kind() == ErrorKind::BrokenPipe {
        STATE.store(CLOSED, Ordering::Release);
    } else if STATE.swap(FAILED, Ordering::AcqRel) != FAILED {
        complain(&format!("cannot write to standard output: {error}"));
    }
}

/// Whether nothing more can be written: a command without another report may
/// stop.
pub(super) fn is_over() -> bool {
    STATE.load(Ordering::Acquire) != OPEN
}

/// Whether results are lost, so that no exit status may say that all is good.
pub(super) fn has_failed() -> bool {
    STATE.load(Ordering::Acquire) == FAILED
}

/// The exit status of a command that would end so: an error where its results
/// could not be written. A closed pipe changes nothing.
pub(super) fn settled(exit: Exit) -> Exit {
    if has_failed() {
        Exit::Unreachable
    } else {
        exit
    }
}

/// Sets `--quiet`.
pub(super) fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Whether only errors are told.
pub(super) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}
