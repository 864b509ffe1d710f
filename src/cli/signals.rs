//! The signals of a serving command: TERM and INT stop it, HUP and USR1 have it read or
//! open something again, and no other that is sent to services ends it.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM,
    SIGWINCH, SIGXFSZ,
};
use signal_hook::flag;
use signal_hook::low_level::pipe;

/// What rotators of logs and other programs send to a service, and the system where a
/// file reaches the size that it may have. Most of them would end the program.
const HARMLESS: [i32; 10] = [
    SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGQUIT, SIGWINCH, SIGXFSZ,
];

/// From now on no signal ends the program but TERM, INT and those that always do. Call
/// it first.
///
/// # Errors
///
/// The error of the system.
pub(super) fn ignore_harmless() -> io::Result<()> {
    for signal in HARMLESS {
        flag::register(signal, Arc::default())?;
    }
    Ok(())
}

/// The first TERM or INT writes to the shutdown pipe, the second ends the program at once.
pub(super) fn stop_on_signals(writer: UnixStream) -> io::Result<()> {
    let draining = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // In this order: what the first one sets, the second one sees.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&draining))?;
        flag::register(signal, Arc::clone(&draining))?;
        pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(())
}

/// Why a service is asked to look at something again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// HUP: read everything again.
    Reload,
    /// USR1: open the log again, which was renamed.
    Reopen,
    /// The interval is over.
    Nothing,
}

/// HUP and USR1, from now on.
pub(super) struct Watch {
    reader: UnixStream,
    writer: UnixStream,
    asked: Vec<(Arc<AtomicBool>, Asked)>,
}

impl Watch {
    /// Notes those signals.
    ///
    /// # Errors
    ///
    /// The error of the system.
    pub(super) fn new() -> io::Result<Watch> {
        let (reader, writer) = UnixStream::pair()?;
        let mut asked = Vec::new();
        for (signal, what) in [(SIGUSR1, Asked::Reopen), (SIGHUP, Asked::Reload)] {
            let is_sent = Arc::new(AtomicBool::new(false));
            // In this order: what the pipe wakes sees the flag.
            flag::register(signal, Arc::clone(&is_sent))?;
            pipe::register(signal, writer.try_clone()?)?;
            asked.push((is_sent, what));
        }
        Ok(Watch {
            reader,
            writer,
            asked,
        })
    }

    /// Calls `react` for each HUP and each USR1, and once in each interval, one call
    /// after the other on a thread of its own. Signals that come during a call are one
    /// more.
    ///
    /// # Errors
    ///
    /// The error of the system.
    pub(super) fn start(
        self,
        interval: Duration,
        mut react: impl FnMut(Asked) + Send + 'static,
    ) -> io::Result<()> {
        let watch = move || {
            // The pipe never ends.
            let Watch {
                mut reader,
                writer: _writer,
                asked,
            } = self;
            let mut due = Instant::now() + interval;
            loop {
                let left = due.saturating_duration_since(Instant::now());
                // It refuses only a time of zero.
                let _ = reader.set_read_timeout(Some(left.max(Duration::from_millis(1))));
                if reader.read(&mut [0; 64]).is_ok() {
                    for (is_sent, what) in &asked {
                        if is_sent.swap(false, Ordering::Relaxed) {
                            react(*what);
                        }
                    }
                }
                if Instant::now() >= due {
                    react(Asked::Nothing);
                    due = Instant::now() + interval;
                }
            }
        };
        let thread = thread::Builder::new().name("signals".to_owned());
        thread.spawn(watch).map(drop)
    }
}

/// Has this pipe written to at each HUP and USR1 as well.
///
/// # Errors
///
/// The error of the system.
pub(super) fn also_write_to(writer: &UnixStream) -> io::Result<()> {
    for signal in [SIGUSR1, SIGHUP] {
        pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(())
}
