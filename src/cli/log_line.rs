//! How lines of standard error start: for a person, or for systemd's journal.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use log::Level;

/// Whether standard error is read by systemd's journal, which has a time and the program's name
/// of its own for each line, and takes its priority from the `<N>` in front.
pub(super) fn is_for_journal() -> bool {
    static IS: OnceLock<bool> = OnceLock::new();
    *IS.get_or_init(|| {
        let stream = env::var("JOURNAL_STREAM").ok();
        let names = stream.as_deref().and_then(numbers);
        names.is_some() && names == identity_of_stderr().ok()
    })
}

/// A line that tells something of this program.
pub(super) fn of(level: Level, text: &str) -> String {
    if is_for_journal() {
        of_journal(level, text)
    } else {
        format!("heirloom: {text}\n")
    }
}

/// A text as lines of the journal: each has its priority, or it would get the default one.
fn of_journal(level: Level, text: &str) -> String {
    let priority = match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    let lines = text.lines().map(|line| format!("<{priority}>{line}\n"));
    lines.collect()
}

/// The device and the number of a file, as `JOURNAL_STREAM` has them.
fn numbers(text: &str) -> Option<(u64, u64)> {
    let (device, inode) = text.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

fn identity_of_stderr() -> io::Result<(u64, u64)> {
    let file = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_priority() {
        assert_eq!(of_journal(Level::Warn, "a\nb"), "<4>a\n<4>b\n");
        assert_eq!(of_journal(Level::Trace, "a\n"), "<7>a\n");
        assert_eq!(numbers("8:77"), Some((8, 77)));
        assert_eq!(numbers("8:"), None);
    }
}
