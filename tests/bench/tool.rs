//! The tools that count what a process does: valgrind for instructions, strace for system calls.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Result;
use crate::machine::Server;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Instructions in user space, by valgrind.
    Instructions,
    /// System calls, by strace.
    Calls,
}

impl Tool {
    fn program(self) -> &'static str {
        match self {
            Tool::Instructions => "valgrind",
            Tool::Calls => "strace",
        }
    }

    /// An error that says what to install, where the program is missing.
    pub(crate) fn check(self) -> Result<()> {
        let program = self.program();
        let started = Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        match started {
            Ok(status) if status.success() => Ok(()),
            _ => Err(format!(
                "{program} is missing: install the Debian package {program} (`apt-get install {program}`)"
            )
            .into()),
        }
    }

    /// `heirloom` with these arguments under the tool, which writes its count to the file.
    fn command(self, arguments: &[&str], file: &Path) -> Command {
        let mut command = batch();
        command.arg(self.program());
        match self {
            Tool::Instructions => {
                let mut out = std::ffi::OsString::from("--callgrind-out-file=");
                out.push(file);
                command.args(["--tool=callgrind", "--quiet"]).arg(out);
            }
            // With -D the process that is started is heirloom itself, so a signal reaches it.
            Tool::Calls => {
                command.args(["-f", "-c", "-D", "-qq", "-o"]).arg(file);
            }
        }
        complete(&mut command, arguments);
        command
    }

    /// Starts `heirloom`, lets a client work on it, ends it, and gives the count of its whole life.
    pub(crate) fn count(
        self,
        arguments: &[&str],
        file: &Path,
        client: impl FnOnce(SocketAddr) -> Result<()>,
    ) -> Result<f64> {
        let _ = fs::remove_file(file);
        let server = Server::start("heirloom", self.command(arguments, file))?;
        client(server.address)?;
        server.finish()?;
        // strace ends after the process that it watches.
        for _ in 0..200 {
            let text = fs::read_to_string(file).unwrap_or_default();
            if let Some(total) = self.total(&text) {
                return Ok(total);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let program = self.program();
        Err(format!("{program} writes no total to {}", file.display()).into())
    }

    fn total(self, text: &str) -> Option<f64> {
        let number = match self {
            Tool::Instructions => text
                .lines()
                .find_map(|line| line.strip_prefix("totals:"))?
                .split_whitespace()
                .next(),
            // Share, seconds, microseconds per call, calls.
            Tool::Calls => text
                .lines()
                .find(|line| line.ends_with(" total"))?
                .split_whitespace()
                .nth(3),
        };
        number?.parse().ok()
    }
}

/// Starts what is appended as a batch process: it does not take the core from a client that is still sending.
fn batch() -> Command {
    let mut command = Command::new("chrt");
    command.args(["--batch", "0"]);
    command
}

/// The program, its arguments, a free port and one worker.
fn complete(command: &mut Command, arguments: &[&str]) {
    command
        .arg(env!("CARGO_BIN_EXE_heirloom"))
        .args(arguments)
        .args(["--listen", "127.0.0.1:0", "--workers", "1"])
        .stdin(Stdio::null());
}

/// A backend that is not counted.
pub(crate) fn backend() -> Result<Server> {
    let mut command = batch();
    complete(&mut command, &["serve"]);
    Server::start("the backend", command)
}

/// Where the tools write. What the last run of each work wrote stays there.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("counts");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
