//! Processes: starting a server on its own core, and reading what it has used.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::Result;

/// The core of the server whose work is counted.
pub(crate) const SERVER_CORE: &str = "0";
/// The core of everything else.
pub(crate) const GENERATOR_CORE: &str = "1";

/// How long a server may take to listen. Under valgrind it starts slowly.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. Dropping it ends it.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Kept open, so that the server can still write a later line.
    _stdout: Option<BufReader<ChildStdout>>,
}

/// User space of a process: octets resident and its own, and octets of data it has mapped.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) mapped: u64,
}

/// Moves this process to the generator's core, before any thread of it runs.
pub(crate) fn pin_generator() -> Result<()> {
    if std::thread::available_parallelism()?.get() < 2 {
        return Err("this bench needs two cores: one for the server, one for the generator".into());
    }
    pin(GENERATOR_CORE)
}

/// Moves this process to a core, and with it what it starts from now on.
pub(crate) fn pin(core: &str) -> Result<()> {
    let output = Command::new("taskset")
        .args(["-p", "-c", core, &std::process::id().to_string()])
        .output()
        .map_err(|_| "this bench needs `taskset` (package util-linux) to choose cores")?;
    if !output.status.success() {
        return Err(format!(
            "taskset fails: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )
        .into());
    }
    Ok(())
}

/// A program on a core of its own, in a process of its own.
pub(crate) fn on_core(core: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program).stdin(Stdio::null());
    command
}

/// A server of `servers.rs`. `life`: octets after which the bare echo closes a connection; 0 is never.
pub(crate) fn own(core: &str, role: &str, life: usize) -> Result<Command> {
    let mut command = on_core(core, std::env::current_exe()?);
    command.args(["--server", role, &life.to_string()]);
    command.stdin(Stdio::piped());
    Ok(command)
}

/// `heirloom` with these arguments, one worker, and room for idle connections.
pub(crate) fn heirloom(core: &str, arguments: &[&str]) -> Command {
    let mut command = on_core(core, env!("CARGO_BIN_EXE_heirloom"));
    command.args(arguments);
    command.args(["--listen", "127.0.0.1:0", "--workers", "1"]);
    command.args(["--max-connections", "15000"]);
    command
}

impl Server {
    /// A server that prints where it listens.
    pub(crate) fn start(name: &str, mut command: Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("the server has no output")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            let outcome = stdout.read_line(&mut line).map(|_| (line, stdout));
            let _ = sender.send(outcome);
        });
        let outcome = receiver.recv_timeout(PATIENCE);
        let found = outcome
            .ok()
            .and_then(std::result::Result::ok)
            .and_then(|(line, stdout)| {
                let (address, _) = line.strip_prefix("listening on ws://")?.split_once('/')?;
                let address = address.parse().ok()?;
                Some((address, stdout))
            });
        match found {
            Some((address, stdout)) => Ok(Server {
                child,
                address,
                _stdout: Some(stdout),
            }),
            None => {
                end(&mut child);
                Err(format!("{name} does not say where it listens").into())
            }
        }
    }

    /// A server that was told to listen at this address, once it takes connections.
    pub(crate) fn start_at(name: &str, mut command: Command, address: SocketAddr) -> Result<Self> {
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Server {
            child,
            address,
            _stdout: None,
        };
        for _ in 0..200 {
            if TcpStream::connect(address).is_ok() {
                return Ok(server);
            }
            if server.child.try_wait()?.is_some() {
                return Err(format!("{name} ends at once: {command:?}").into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("{name} does not listen at {address}").into())
    }

    /// Asks the server to end, and waits until it has.
    pub(crate) fn finish(mut self) -> Result<()> {
        let asked = Command::new("sh")
            .args(["-c", "kill -TERM $0", &self.child.id().to_string()])
            .status()?;
        if !asked.success() {
            return Err("the server has ended before it was asked to".into());
        }
        for _ in 0..600 {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("the server does not end within 30 s of SIGTERM".into())
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    /// Processor time of all its threads, in nanoseconds.
    pub(crate) fn cpu(&self) -> Result<u64> {
        cpu(&self.proc(""))
    }

    /// The same, with its children that still run: some servers have one process per connection.
    pub(crate) fn cpu_of_all(&self) -> Result<u64> {
        let own = self.child.id().to_string();
        let mut total = self.cpu()?;
        for entry in fs::read_dir("/proc")? {
            let process = entry?.path();
            let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
            let parent = stat
                .rsplit(')')
                .next()
                .and_then(|after| after.split_whitespace().nth(1));
            if parent == Some(&own) {
                total += cpu(&process)?;
            }
        }
        Ok(total)
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        let status = fs::read_to_string(self.proc("status"))?;
        let field = |name: &str| -> Result<u64> {
            let value = status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let number = value
                .and_then(|value| value.trim().strip_suffix(" kB"))
                .ok_or("no such field in status")?;
            Ok(number.trim().parse::<u64>()? * 1024)
        };
        Ok(Memory {
            resident: field("RssAnon")?,
            mapped: field("VmData")?,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Processor time of all threads of a process, in nanoseconds.
///
/// `schedstat` counts nanoseconds, `stat` only hundredths of a second. It is read where a kernel lacks the first.
fn cpu(process: &Path) -> Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(process.join("task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        total += text
            .split(' ')
            .next()
            .and_then(|field| field.parse().ok())
            .unwrap_or(0);
    }
    if total > 0 {
        return Ok(total);
    }
    let stat = fs::read_to_string(process.join("stat"))?;
    // The name of the program stands in brackets and may hold anything; fields count from behind it.
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after
        .split(' ')
        .skip(12)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(ticks * 10_000_000)
}

/// How many descriptors this process may hold.
pub(crate) fn descriptors() -> Result<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .ok_or("no limit of open files")?;
    Ok(line
        .split_whitespace()
        .nth(3)
        .ok_or("no soft limit")?
        .parse()
        .unwrap_or(usize::MAX))
}

/// What kind of machine this is, in a few words.
pub(crate) fn describe() -> Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    // Counted here because this process, by now, may use one of them only.
    let cores = info
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.trim().strip_prefix(':'));
    let congestion = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = kernel
        .trim()
        .split('.')
        .take(2)
        .collect::<Vec<_>>()
        .join(".");
    Ok(format!(
        "{cores} cores, {}, Linux {kernel}, TCP {}",
        model.unwrap_or("unknown processor").trim(),
        congestion.trim()
    ))
}
