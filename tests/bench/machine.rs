//! Processes: starting a server on its own core, and reading what it has used.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::{Peer, Result};

const SERVER_CORE: &str = "0";
const GENERATOR_CORE: &str = "1";

/// A running server. Dropping it ends it.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Held so that a later line of the server does not meet a closed pipe.
    _stdout: BufReader<ChildStdout>,
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
    let output = Command::new("taskset")
        .args(["-p", "-c", GENERATOR_CORE, &std::process::id().to_string()])
        .output()
        .map_err(|_| "this bench needs `taskset` (package util-linux) to give the server a core of its own")?;
    if !output.status.success() {
        return Err(format!(
            "taskset fails: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )
        .into());
    }
    Ok(())
}

impl Server {
    /// `life`: octets after which the bare echo closes a connection; 0 is never.
    pub(crate) fn start(peer: Peer, life: usize) -> Result<Self> {
        let mut command = Command::new("taskset");
        command.args(["-c", SERVER_CORE]);
        if peer == Peer::Heirloom {
            command.arg(env!("CARGO_BIN_EXE_heirloom"));
            command.args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--workers",
                "1",
                "--max-connections",
                "15000",
            ]);
            command.stdin(Stdio::null());
        } else {
            command.arg(std::env::current_exe()?);
            command.args(["--server", peer.name(), &life.to_string()]);
            command.stdin(Stdio::piped());
        }
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("the server has no output")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            let outcome = stdout.read_line(&mut line).map(|_| (line, stdout));
            let _ = sender.send(outcome);
        });
        let name = peer.name();
        let outcome = receiver.recv_timeout(Duration::from_secs(10));
        let found = outcome
            .ok()
            .and_then(std::result::Result::ok)
            .and_then(|(line, stdout)| {
                let address = line
                    .trim()
                    .strip_prefix("listening on ws://")?
                    .strip_suffix('/')?
                    .parse()
                    .ok()?;
                Some((address, stdout))
            });
        match found {
            Some((address, stdout)) => Ok(Server {
                child,
                address,
                _stdout: stdout,
            }),
            None => {
                end(&mut child);
                Err(format!("{name} does not say where it listens").into())
            }
        }
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    /// Processor time of all its threads, in nanoseconds.
    ///
    /// `schedstat` counts nanoseconds, `stat` only hundredths of a second; a kernel without the first gives the second.
    pub(crate) fn cpu(&self) -> Result<u64> {
        let mut total = 0;
        for task in fs::read_dir(self.proc("task"))? {
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
        let stat = fs::read_to_string(self.proc("stat"))?;
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
