//! The client under test as a command that is started here.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use super::client::News;

/// A client that was started, with all that it started itself.
pub(super) struct Client {
    /// Its process group, which has the id of its first process.
    group: u32,
}

impl Client {
    /// Starts the command by the shell, with the URL where it says `{url}`. What it
    /// prints goes to standard error: standard output is for results.
    pub(super) fn start(
        command: &str,
        url: &str,
        limit: Duration,
        news: &Sender<News>,
    ) -> io::Result<Client> {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(command.replace("{url}", url))
            .stdin(Stdio::null())
            .stdout(io::stderr())
            .process_group(0)
            .spawn()?;
        let client = Client { group: child.id() };
        let (ended, is_ended) = std::sync::mpsc::channel();
        let own = news.clone();
        thread::spawn(move || {
            // It fails where nothing receives any more: the program ends.
            let _ = own.send(News::Exited(exited(&mut child)));
            let _ = ended.send(());
        });
        let own = news.clone();
        thread::spawn(move || {
            if is_ended.recv_timeout(limit).is_err() {
                let why = format!(
                    "the client did not end within {} ms (--exec-timeout-ms)",
                    limit.as_millis()
                );
                let _ = own.send(News::Exited(Err(why)));
            }
        });
        Ok(client)
    }
}

/// How a process has ended.
fn exited(child: &mut Child) -> Result<(), String> {
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the client ended with {status}")),
        Err(error) => Err(format!("cannot wait for the client: {error}")),
    }
}

impl Drop for Client {
    /// Ends all that is left of the process group.
    fn drop(&mut self) {
        // The shell has this command itself. It fails where nothing is left.
        let _ = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -KILL -{}", self.group))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}
