//! Listening sockets that the supervisor has bound and passed, as systemd does for a socket
//! unit: LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES.

use std::env;
use std::sync::OnceLock;

use heirloom::net::Passed;
use listenfd::ListenFd;

/// The first descriptor that is passed.
const FIRST: usize = 3;
/// No supervisor passes more.
const MAX: usize = 1024;
/// The name that systemd gives to a socket without one.
const UNNAMED: &str = "unknown";

/// What this process was passed. It can be taken once, and a reload needs it again.
static PASSED: OnceLock<Taken> = OnceLock::new();

enum Taken {
    Sockets(Vec<Socket>),
    /// Why there are none.
    None(String),
}

/// A descriptor that was passed.
struct Socket {
    name: String,
    /// Why it cannot be used, where it cannot.
    passed: Result<Passed, String>,
}

/// Takes what was passed. It changes the environment: call it before there are threads.
pub(super) fn take() {
    let _ = PASSED.set(taken());
}

/// The sockets of this name, or all. Where none was passed to this process, what is given cannot
/// be listened on; so a configuration can be checked by another process than the one that
/// systemd starts.
pub(super) fn sockets(name: Option<&str>) -> Result<Vec<Passed>, String> {
    let all = match PASSED.get_or_init(taken) {
        Taken::Sockets(sockets) => sockets,
        Taken::None(why) => {
            let asked = name.map_or_else(|| "systemd".to_owned(), |name| format!("systemd:{name}"));
            return Ok(vec![Passed::missing(&asked, why)]);
        }
    };
    let of_name = all
        .iter()
        .filter(|socket| name.is_none_or(|name| socket.name == name));
    let found: Vec<Passed> = of_name
        .map(|socket| socket.passed.clone())
        .collect::<Result<_, _>>()?;
    if found.is_empty() {
        let names: Vec<&str> = all.iter().map(|socket| socket.name.as_str()).collect();
        return Err(format!(
            "no socket of this name was passed; passed were: {}; FileDescriptorName= in a socket \
             unit sets the name",
            names.join(", ")
        ));
    }
    Ok(found)
}

fn taken() -> Taken {
    let none = "no socket was passed (LISTEN_FDS); start the program by a socket unit of systemd, \
                or listen on an address";
    let Ok(count) = env::var("LISTEN_FDS") else {
        return Taken::None(none.to_owned());
    };
    let count: Option<usize> = count.parse().ok().filter(|count| *count <= MAX);
    let Some(count) = count else {
        return Taken::None(format!(
            "LISTEN_FDS is no number up to {MAX}; a supervisor sets it to the number of sockets"
        ));
    };
    let pid = env::var("LISTEN_PID").unwrap_or_default();
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').filter(|name| !name.is_empty());
    let mut descriptors = ListenFd::from_env();
    if descriptors.len() != count {
        return Taken::None(format!(
            "the sockets were passed to process {pid}, and this is {} (LISTEN_PID); no program may \
             stand between the supervisor and this one",
            std::process::id()
        ));
    }
    if count == 0 {
        return Taken::None(none.to_owned());
    }
    let sockets = (0..count).map(|index| {
        let name = names.next().unwrap_or(UNNAMED).to_owned();
        let passed = socket(&mut descriptors, index);
        let passed = passed.map_err(|why| {
            format!(
                "descriptor {} ({name}), which was passed, {why}",
                FIRST + index
            )
        });
        Socket { name, passed }
    });
    Taken::Sockets(sockets.collect())
}

fn socket(descriptors: &mut ListenFd, index: usize) -> Result<Passed, String> {
    let failed = |error: std::io::Error| format!("cannot be used: {error}");
    if let Ok(Some(tcp)) = descriptors.take_tcp_listener(index) {
        return Passed::tcp(tcp).map_err(failed);
    }
    if let Ok(Some(unix)) = descriptors.take_unix_listener(index) {
        return Passed::unix(unix).map_err(failed);
    }
    Err("is no socket that takes connections; use ListenStream= in the socket unit".to_owned())
}
