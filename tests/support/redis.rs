//! A Redis server of the test's own: on loopback, and nothing of it is kept.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use super::PATIENCE;
use super::folder::Folder;

const INSTALL: &str = "install Debian's package redis-server (apt-get install redis-server)";

pub(crate) struct Redis {
    child: Child,
    folder: Folder,
    pub(crate) port: u16,
    options: Vec<String>,
}

impl Redis {
    pub(crate) fn start() -> Redis {
        Redis::start_with(&[])
    }

    /// With these options beside those that all have.
    pub(crate) fn start_with(options: &[&str]) -> Redis {
        let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
        let folder = Folder::new();
        // Another program may take the port before it does.
        for _ in 0..5 {
            let port = free_port();
            if let Some(child) = spawn(port, &folder, &options) {
                return Redis {
                    child,
                    folder,
                    port,
                    options,
                };
            }
        }
        panic!("redis-server finds no free port");
    }

    /// One that is started later.
    pub(crate) fn later() -> Later {
        Later { port: free_port() }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.port, &self.folder, &self.options).expect("its port is free");
    }

    /// Sends it a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success());
    }

    /// Publishes octets on a channel, as another program; tells how many hear it.
    pub(crate) fn publish(&self, channel: &str, message: &[u8]) -> u32 {
        let mut child = Command::new("redis-cli")
            .args(["-p", &self.port.to_string(), "-x", "PUBLISH", channel])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-cli: {error}; {INSTALL}"));
        child.stdin.take().unwrap().write_all(message).unwrap();
        let said = child.wait_with_output().unwrap().stdout;
        String::from_utf8(said).unwrap().trim().parse().unwrap()
    }
}

/// A port for one that does not run yet.
pub(crate) struct Later {
    pub(crate) port: u16,
}

impl Later {
    pub(crate) fn start(self) -> Redis {
        let folder = Folder::new();
        Redis {
            child: spawn(self.port, &folder, &[]).expect("its port is free"),
            folder,
            port: self.port,
            options: Vec::new(),
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it and waits until it is ready. `None` where it ends at once.
fn spawn(port: u16, folder: &Folder, options: &[String]) -> Option<Child> {
    let plain_port = if options.iter().any(|option| option == "--tls-port") {
        "0".to_owned()
    } else {
        port.to_string()
    };
    let options = options.iter().map(|option| match option.as_str() {
        "PORT" => port.to_string(),
        other => other.to_owned(),
    });
    let mut child = Command::new("redis-server")
        .args(["--port", &plain_port, "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", "no", "--daemonize", "no", "--dir"])
        .arg(folder.as_ref())
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("redis-server: {error}; {INSTALL}"));
    let out = BufReader::new(child.stdout.take().unwrap());
    let (tell, ready) = channel();
    thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if line.contains("Ready to accept connections") {
                let _ = tell.send(());
            }
        }
    });
    if ready.recv_timeout(PATIENCE).is_ok() {
        return Some(child);
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// A port that nothing listens on, below those that the system gives to clients.
/// Tests of one run get different ones.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 5_000) as u16;
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + (start + step) % 12_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
