//! What a supervisor such as systemd is told, by the protocol of sd_notify: that the program is
//! ready, reloads or stops, and that its workers still turn.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use heirloom::net::{Listen, Liveness, Server, ServerState};
use sd_notify::NotifyState;

/// How long a supervisor may take to read what it is told.
const PATIENCE: Duration = Duration::from_secs(1);
/// No watchdog is so quick.
const MIN_INTERVAL: Duration = Duration::from_millis(10);
/// How often it is looked whether the program drains, where there is no watchdog.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Characters of the status that is shown.
const STATUS: usize = 500;

/// The supervisor of this process, if it has one that wants to be told.
#[derive(Clone, Debug)]
pub(super) struct Supervisor(Option<Arc<Address>>);

#[derive(Debug)]
struct Address {
    socket: UnixDatagram,
    to: SocketAddr,
    /// It was told that the program stops.
    is_stopping: AtomicBool,
}

impl Supervisor {
    /// The one that `NOTIFY_SOCKET` names.
    pub(super) fn of_environment() -> Supervisor {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Supervisor(None);
        };
        match Address::of(&name) {
            Ok(address) => Supervisor(Some(Arc::new(address))),
            Err(error) => {
                log::warn!(
                    "cannot tell the supervisor anything: NOTIFY_SOCKET is {}: {error}",
                    Path::new(&name).display()
                );
                Supervisor(None)
            }
        }
    }

    /// The server is bound. From now on the supervisor is told when it drains, and as often as
    /// the watchdog wants that its workers turn.
    ///
    /// # Errors
    ///
    /// Where the system gives no thread.
    pub(super) fn start(&self, server: &Server) -> io::Result<()> {
        if self.0.is_none() {
            return Ok(());
        }
        self.ready(&server.listeners());
        let (liveness, state) = (server.liveness(), server.state());
        let watchdog = sd_notify::watchdog_enabled();
        let supervisor = self.clone();
        thread::Builder::new()
            .name("supervisor".to_owned())
            .spawn(move || supervisor.watch(&liveness, &state, watchdog))?;
        Ok(())
    }

    /// The server listens there.
    fn ready(&self, listeners: &[Listen]) {
        let places: Vec<String> = listeners
            .iter()
            .map(|listen| listen.at.to_string())
            .collect();
        let status = status(&format!("listening on {}", places.join(", ")));
        self.tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    /// Tells that a reload goes on as long as `reload` does, which gives where the server listens
    /// after it.
    pub(super) fn reload(&self, reload: impl FnOnce() -> Vec<Listen>) {
        let now = NotifyState::monotonic_usec_now();
        let mut told = vec![NotifyState::Reloading];
        told.extend(now.ok());
        self.tell(&told);
        self.ready(&reload());
    }

    /// Tells that the program stops, when it does, and that it lives as long as all workers turn.
    fn watch(&self, liveness: &Liveness, state: &ServerState, watchdog: Option<Duration>) {
        let interval = watchdog.map_or(HOUR, |all| (all / 2).max(MIN_INTERVAL));
        let mut drains = false;
        loop {
            if drains {
                thread::sleep(interval);
            } else if state.wait_for_drain(interval) {
                drains = true;
                self.stopping();
            }
            match watchdog {
                None if drains => return,
                None => {}
                Some(_) if liveness.all_turn(interval / 2) => self.tell(&[NotifyState::Watchdog]),
                Some(_) => log::error!(
                    "a worker does not turn any more; the watchdog of the supervisor is not told \
                     that the program lives"
                ),
            }
        }
    }

    /// The program stops. It is told once.
    pub(super) fn stopping(&self) {
        let address = self.0.as_ref();
        if address.is_some_and(|address| !address.is_stopping.swap(true, Ordering::Relaxed)) {
            self.tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
        }
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(address) = &self.0 else {
            return;
        };
        let lines: String = states.iter().map(|state| format!("{state}\n")).collect();
        let sent = address.socket.send_to_addr(lines.as_bytes(), &address.to);
        if let Err(error) = sent {
            log::warn!("cannot tell the supervisor anything (NOTIFY_SOCKET): {error}");
        }
    }
}

impl Address {
    /// A path, or an abstract name with `@` in front.
    fn of(name: &OsStr) -> io::Result<Address> {
        let to = match name.as_bytes() {
            [b'@', name @ ..] => abstract_address(name)?,
            [b'/', ..] => SocketAddr::from_pathname(Path::new(name))?,
            _ => {
                let what = "it is neither a path nor an abstract name (@NAME)";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Address {
            socket,
            to,
            is_stopping: AtomicBool::new(false),
        })
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    let what = "this system has no abstract names";
    Err(io::Error::new(io::ErrorKind::Unsupported, what))
}

/// A status of one line.
fn status(text: &str) -> String {
    let line = text.chars().map(|c| if c.is_control() { '?' } else { c });
    line.take(STATUS).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_however_a_path_is_called() {
        assert_eq!(status("a\nREADY=0\u{7f}"), "a?READY=0?");
        assert_eq!(status(&"ü".repeat(600)).chars().count(), STATUS);
    }

    #[test]
    fn a_relative_name_is_no_socket() {
        let error = Address::of(OsStr::new("run/notify")).unwrap_err();
        assert!(error.to_string().contains("neither a path"), "{error}");
    }
}
