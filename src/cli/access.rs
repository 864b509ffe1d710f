//! Access lines: one for each connection that has ended, on standard output or in a
//! file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use heirloom::bytes::Escaped;
use heirloom::net::{AccessRecord, PeerAddress};
use jiff::Timestamp;
use serde::Serialize;

use super::line_writer::{self, LineWriter};
use super::report::json;
use super::{Exit, complain, print_line};

/// The permissions of a new file of access lines: paths and addresses are for its
/// owner and group.
const FILE_MODE: u32 = 0o640;

/// Where access lines go.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct AccessArgs {
    /// The file that gets the access lines, at its end; - is standard output, as without it. It is
    /// made with the permissions 0640. HUP and USR1 open it again, so that it can be renamed.
    #[arg(long, help_heading = "Operation", value_name = "FILE")]
    access_log: Option<PathBuf>,
}

impl AccessArgs {
    /// Opens the file.
    ///
    /// # Errors
    ///
    /// That of a file that cannot be opened, which is told.
    pub(super) fn open(&self) -> Result<AccessOutput, Exit> {
        let path = self
            .access_log
            .as_ref()
            .filter(|path| path.as_os_str() != "-");
        let Some(path) = path else {
            return Ok(AccessOutput(None));
        };
        let file = open(path).map_err(|error| {
            complain(&format!(
                "cannot open the access log {}: {error}; see --access-log",
                path.display()
            ));
            Exit::Unreachable
        })?;
        Ok(AccessOutput(Some(Arc::new(AccessFile {
            path: path.clone(),
            lines: line_writer::access_lines_to(file),
        }))))
    }
}

/// Opens a file to write at its end. A FIFO that nothing reads is an error in place of
/// a wait.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(FILE_MODE);
    options.custom_flags(libc::O_NONBLOCK).open(path)
}

/// Where access lines go: standard output, or a file.
#[derive(Clone, Debug)]
pub(super) struct AccessOutput(Option<Arc<AccessFile>>);

#[derive(Debug)]
struct AccessFile {
    path: PathBuf,
    lines: LineWriter,
}

impl AccessOutput {
    fn write(&self, line: &str) {
        match &self.0 {
            Some(file) => file.lines.write(format!("{line}\n")),
            None => print_line(&line),
        }
    }

    /// Opens the file again, which may have been renamed: lines go to the new one from
    /// here on. Where it cannot be opened they go on to the old one, and that is told.
    pub(super) fn reopen(&self) {
        let Some(file) = &self.0 else {
            return;
        };
        match open(&file.path) {
            Ok(new) => {
                file.lines.go_on_with(new);
                log::info!("the access log was opened again");
            }
            Err(error) => log::error!(
                "cannot open the access log {} again: {error}; its lines go on to the file from \
                 before",
                file.path.display()
            ),
        }
    }
}

/// Access lines about connections to backends.
#[derive(Clone)]
pub(super) struct AccessLog {
    json: bool,
    output: AccessOutput,
}

#[derive(Serialize)]
struct LogLine<'a> {
    time: String,
    client: String,
    version: Option<&'static str>,
    path: Option<&'a str>,
    route: Option<&'a str>,
    backend: Option<&'a str>,
    status: Option<u16>,
    state: &'static str,
    received: Traffic,
    sent: Traffic,
    ms: u128,
    by: String,
    ended: &'static str,
    code: Option<u16>,
    tls: Option<String>,
}

#[derive(Serialize)]
struct Traffic {
    messages: u64,
    octets: u64,
}

impl From<heirloom::conn::Tally> for Traffic {
    fn from(tally: heirloom::conn::Tally) -> Traffic {
        Traffic {
            messages: tally.messages,
            octets: tally.octets,
        }
    }
}

impl AccessLog {
    /// Lines that go there.
    pub(super) fn new(json: bool, output: AccessOutput) -> AccessLog {
        AccessLog { json, output }
    }

    /// Notes a connection that has ended.
    pub(super) fn note(&self, record: &AccessRecord<'_>) {
        let line = LogLine::of(record);
        self.output.write(&if self.json {
            json(&line).expect("strings and numbers are valid in JSON")
        } else {
            line.text()
        });
    }
}

impl LogLine<'_> {
    fn of<'a>(record: &AccessRecord<'a>) -> LogLine<'a> {
        let summary = record.summary;
        let time = Timestamp::try_from(record.start).unwrap_or(Timestamp::UNIX_EPOCH);
        LogLine {
            time: format!("{time:.3}"),
            // A client that a header names has no known port.
            client: match record.client {
                PeerAddress::Tcp(address) if address.port() == 0 => address.ip().to_string(),
                client => client.to_string(),
            },
            version: summary.version.map(|v| v.name),
            path: record.path,
            route: record.route,
            backend: summary.target.as_ref().map(|target| target.server()),
            status: summary.target_status,
            state: match (summary.answered, summary.opened) {
                (_, true) => "open",
                (true, false) => "answered",
                (false, false) if summary.ended.what == "page" => "page",
                (false, false) if summary.ended.code.is_some() => "refused",
                (false, false) if summary.relayed => "http",
                (false, false) => "none",
            },
            received: summary.from_client.into(),
            sent: summary.to_client.into(),
            ms: record.duration.as_millis(),
            by: summary.ended.by.to_string(),
            ended: summary.ended.what,
            code: summary.ended.code,
            tls: record
                .tls
                .map(|tls| format!("{}/{}", tls.version, tls.suite)),
        }
    }

    fn text(&self) -> String {
        let word = |text: Option<&str>| {
            let escaped = |text| Escaped::<1000>(text).to_string();
            text.map_or("-".to_owned(), |text| escaped(text).replace(' ', "\\u{20}"))
        };
        let (path, route) = (word(self.path), word(self.route));
        let code = self.code.map_or("-".to_owned(), |code| code.to_string());
        let status = self.status.map_or("-".to_owned(), |n| n.to_string());
        format!(
            "{} client={} version={} path={path} route={route} backend={} status={status} \
             state={} received={}/{} sent={}/{} ms={} by={} ended={} code={code} tls={}",
            self.time,
            self.client,
            self.version.unwrap_or("-"),
            self.backend.unwrap_or("-"),
            self.state,
            self.received.messages,
            self.received.octets,
            self.sent.messages,
            self.sent.octets,
            self.ms,
            self.by,
            self.ended,
            self.tls.as_deref().unwrap_or("-"),
        )
    }
}
