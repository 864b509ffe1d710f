//! What is known of this process, beside what its server counts: reloads, lost lines,
//! memory and descriptors.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use heirloom::net::MetricsText;

use super::line_writer;

static STARTED: OnceLock<SystemTime> = OnceLock::new();
static GOOD_RELOADS: AtomicU64 = AtomicU64::new(0);
static BAD_RELOADS: AtomicU64 = AtomicU64::new(0);
static LAST_RELOAD: Mutex<Option<SystemTime>> = Mutex::new(None);

/// The program serves from now on.
pub(super) fn note_start() {
    STARTED.get_or_init(SystemTime::now);
}

/// The configuration or the certificates were read again, or could not be used.
pub(super) fn note_reload(is_good: bool) {
    let reloads = if is_good { &GOOD_RELOADS } else { &BAD_RELOADS };
    reloads.fetch_add(1, Ordering::Relaxed);
    if is_good {
        let mut last = LAST_RELOAD.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(SystemTime::now());
    }
}

/// Adds the numbers of this process.
pub(super) fn add_to(text: &mut MetricsText) {
    text.gauge("heirloom_build_info", "Always 1; its label is the version.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.counter(
        "heirloom_access_lines_lost_total",
        "Access lines that were not written: nothing took them fast enough.",
    )
    .sample(&[], line_writer::lost_access_lines());
    text.counter(
        "heirloom_reloads_total",
        "Reloads, by whether what was read could be used.",
    )
    .sample(&[("result", "good")], GOOD_RELOADS.load(Ordering::Relaxed))
    .sample(&[("result", "bad")], BAD_RELOADS.load(Ordering::Relaxed));
    let last = *LAST_RELOAD.lock().unwrap_or_else(PoisonError::into_inner);
    let mut family = text.gauge(
        "heirloom_reload_timestamp_seconds",
        "When a reload was good last, in seconds since 1970.",
    );
    if let Some(last) = last {
        family.sample(&[], seconds(last));
    }
    if let Some(started) = STARTED.get() {
        text.gauge(
            "process_start_time_seconds",
            "When the program began to serve, in seconds since 1970.",
        )
        .sample(&[], seconds(*started));
    }
    let gauges = [
        (
            "process_resident_memory_bytes",
            "Physical memory that the process has.",
            resident_octets(),
        ),
        (
            "process_open_fds",
            "Descriptors that are open.",
            open_descriptors(),
        ),
        (
            "process_max_fds",
            "Descriptors that may be open.",
            most_descriptors(),
        ),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            text.gauge(name, help).sample(&[], value);
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Of Linux; `None` elsewhere.
fn resident_octets() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

fn open_descriptors() -> Option<u64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them reads the folder.
    u64::try_from(open).ok()?.checked_sub(1)
}

fn most_descriptors() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
