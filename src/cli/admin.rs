//! `--admin`: pages for operators and their tools, on a listener and a thread of their
//! own, so that a client of these pages that is stuck or slow touches no connection.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use clap::Args;
use heirloom::Config;
use heirloom::error::Refusal;
use heirloom::handshake::Request;
use heirloom::net::{
    Answer, App, ConnectionDetails, Later, Listen, ListenAt, Metrics, MetricsText, NetRefusal,
    Page, Reply, Router, Server, Settings, Stopper, Takes,
};
use log::Level;
use serde_json::{Value, json};

use super::{Exit, complain, line_writer, listening, log_line, output, process};

/// Questions that may wait for an answer.
const WAITING: usize = 32;
/// Connections to list, where nothing else is asked for, and at most.
const LISTED: usize = 100;
const MOST_LISTED: usize = 1000;
/// The permissions of a Unix socket's file.
const MODE: u32 = 0o600;

/// Where the pages for operators are.
#[derive(Clone, Debug, Args)]
pub(super) struct AdminArgs {
    /// Where to listen for operators and their tools: /metrics for Prometheus, /healthz, /readyz
    /// and /connections, by plain HTTP. An address of loopback such as 127.0.0.1:9076, or
    /// unix:PATH. Its pages tell which clients are connected, and it asks for no password.
    #[arg(long, help_heading = "Operation", value_name = "ADDR", value_parser = address)]
    admin: Option<AdminAddress>,
}

/// Where the pages for operators are.
#[derive(Clone, Debug)]
struct AdminAddress {
    at: ListenAt,
    /// The name that it was given by, which is a host of it then.
    name: Option<Arc<str>>,
}

fn address(text: &str) -> Result<AdminAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() || path.starts_with('@') {
            // An abstract name has no permissions.
            return Err("give the path of the socket, such as unix:/run/admin.sock".to_owned());
        }
        let path = PathBuf::from(path);
        return Ok(AdminAddress {
            at: ListenAt::Unix { path, mode: MODE },
            name: None,
        });
    }
    let found = listening::addresses(text)?;
    let [address, ..] = *found else {
        return Err("give an address of loopback, such as 127.0.0.1:9076".to_owned());
    };
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    Ok(AdminAddress {
        at: ListenAt::Tcp(address),
        name: (!is_address(host)).then(|| host.into()),
    })
}

/// Whether this host, without a port, is an IP address.
fn is_address(host: &str) -> bool {
    let inside = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match inside {
        Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<IpAddr>().is_ok(),
    }
}

/// A listener for operators that runs. It ends when this is dropped.
pub(super) struct Admin {
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // It has the time of its drain. After a panic there is nothing to do.
            let _ = thread.join();
        }
    }
}

/// What the pages tell of the program's server.
pub(super) struct Told {
    pub(super) metrics: Metrics,
    /// The servers of its routes are told too.
    pub(super) router: Router,
    /// Lines for `/healthz?verbose`, each with its end.
    pub(super) health: Box<dyn Fn() -> String + Send + Sync>,
}

impl AdminArgs {
    /// Starts to listen, where that is asked for, and says where.
    ///
    /// # Errors
    ///
    /// That of the system, which is told.
    pub(super) fn start(&self, told: Told) -> Result<Option<Admin>, Exit> {
        process::note_start();
        let Some(AdminAddress { at, name }) = &self.admin else {
            return Ok(None);
        };
        let listen = Listen::new(at.clone(), Takes::Plain);
        let failed = |error: &dyn std::fmt::Display| {
            complain(&format!("{error}; see --admin"));
            Exit::Unreachable
        };
        let server = Server::listen(&[listen], 1, config());
        let server = server.map_err(|error| failed(&error))?;
        let server = server.with_settings(settings());
        for listen in server.listeners() {
            announce(&listen.at);
        }
        let stopper = server.stopper();
        let (jobs, asked) = sync_channel(WAITING);
        let told = Arc::new(told);
        let pages = Pages {
            told: Arc::clone(&told),
            name: name.clone(),
            jobs,
        };
        let run = move || {
            // It ends when the last app has: nothing can ask any more.
            let answering = thread::Builder::new()
                .name("admin pages".to_owned())
                .spawn(move || answer_all(&told, &asked));
            if let Err(error) = answering {
                return log::error!("no pages for operators: {error}");
            }
            // The server takes its app from here: one worker asks for one.
            server.run(|| pages.clone());
        };
        let thread = thread::Builder::new().name("admin".to_owned()).spawn(run);
        let thread = thread.map_err(|error| failed(&error))?;
        Ok(Some(Admin {
            stopper,
            thread: Some(thread),
        }))
    }
}

fn config() -> Config {
    let limits = heirloom::Limits::default().with_head_bytes(8 * 1024);
    Config::default().with_limits(limits)
}

/// Few connections, for a short time.
fn settings() -> Settings {
    Settings::default()
        .with_connections(32)
        .with_memory_bytes(16 * 1024 * 1024)
        .with_handshake_ms(5_000)
        .with_write_ms(5_000)
        .with_close_ms(1_000)
        .with_drain_ms(200)
}

/// Says where it is, and warns where more than this machine may ask.
fn announce(at: &ListenAt) {
    let line = match at {
        ListenAt::Tcp(address) => format!("admin on http://{address}/"),
        at => format!("admin on {at}"),
    };
    let line = if log_line::is_for_journal() {
        log_line::of(Level::Info, &line)
    } else {
        format!("{line}\n")
    };
    if !output::is_quiet() {
        if let Err(line) = line_writer::to_error(line) {
            // Where standard error is closed, it cannot be told anywhere.
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
    if let ListenAt::Tcp(address) = at {
        warn_of_public(address);
    }
}

fn warn_of_public(address: &SocketAddr) {
    if !address.ip().is_loopback() {
        log::warn!(
            "--admin {address} is not loopback: its pages ask for no password and tell which \
             clients are connected; listen on 127.0.0.1 or unix:PATH, or keep others off by a \
             firewall"
        );
    }
}

/// The app of the pages.
#[derive(Clone)]
struct Pages {
    told: Arc<Told>,
    name: Option<Arc<str>>,
    jobs: SyncSender<Job>,
}

/// A question that is answered beside the loop: the workers are asked for it.
struct Job {
    ask: Ask,
    answer: Answer,
}

#[derive(Clone, Copy)]
enum Ask {
    Metrics,
    Connections { limit: usize },
}

impl App for Pages {
    type Data = ();

    fn request(&mut self, request: &Request<'_>, _: &mut ()) -> Reply {
        if !self.answers_to(request.host()) {
            return Reply::refuse(Refusal::HostForbidden);
        }
        if request.version().is_some() {
            return Reply::refuse(NetRefusal::NoRoute);
        }
        if !matches!(request.method(), "GET" | "HEAD") {
            return Reply::refuse(Refusal::MethodNotGet);
        }
        match request.path() {
            "/" => Reply::Http(page("text/html; charset=utf-8", FRONT)),
            "/healthz" => {
                let is_verbose = request.query() == Some("verbose");
                let more = if is_verbose {
                    (self.told.health)()
                } else {
                    String::new()
                };
                Reply::Http(text(format!("ok\n{more}")))
            }
            "/readyz" if self.told.metrics.is_draining() => {
                Reply::Http(text("draining\n").with_status(503))
            }
            "/readyz" => Reply::Http(text("ready\n")),
            "/metrics" => self.later(Ask::Metrics),
            "/connections" => match limit(request.query()) {
                Some(limit) => self.later(Ask::Connections { limit }),
                None => {
                    let why = format!("limit is a number from 0 to {MOST_LISTED}\n");
                    Reply::Http(text(why).with_status(400))
                }
            },
            _ => Reply::refuse(Refusal::NotFound),
        }
    }
}

const FRONT: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
                     <title>heirloom</title></head>\n<body>\n<h1>heirloom</h1>\n<ul>\n\
                     <li><a href=\"/metrics\">/metrics</a>: numbers for Prometheus</li>\n\
                     <li><a href=\"/healthz?verbose\">/healthz</a>: 200 while the process \
                     runs</li>\n\
                     <li><a href=\"/readyz\">/readyz</a>: 200 while it takes new connections, 503 \
                     when it is being stopped</li>\n\
                     <li><a href=\"/connections\">/connections</a>: the oldest connections, as \
                     JSON; ?limit=N</li>\n\
                     </ul>\n</body>\n</html>\n";

/// How many connections to list, if the query can be read.
fn limit(query: Option<&str>) -> Option<usize> {
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        return Some(LISTED);
    };
    let limit: usize = query.strip_prefix("limit=")?.parse().ok()?;
    (limit <= MOST_LISTED).then_some(limit)
}

impl Pages {
    /// Whether a request for this Host is answered: an address, localhost, or the
    /// name that it listens by. A page of another site that has its own name resolve
    /// to this machine is not.
    fn answers_to(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => name,
            _ => host,
        };
        let own = self.name.as_deref();
        name.is_empty()
            || name.eq_ignore_ascii_case("localhost")
            || is_address(name)
            || own.is_some_and(|own| own.eq_ignore_ascii_case(name))
    }

    fn later(&self, ask: Ask) -> Reply {
        let jobs = self.jobs.clone();
        Reply::Later(Later::new(move |answer| {
            // What does not fit is dropped, and answered with 503.
            let _ = jobs.try_send(Job { ask, answer });
        }))
    }
}

fn page(content_type: &'static str, body: impl Into<Vec<u8>>) -> Page {
    Page::new(content_type, body)
        .with_header("Cache-Control", "no-store")
        .with_header("Content-Security-Policy", "default-src 'none'")
}

fn text(body: impl Into<String>) -> Page {
    page("text/plain; charset=utf-8", body.into())
}

/// Answers what is asked; one look at the server answers all that wait.
fn answer_all(told: &Told, asked: &Receiver<Job>) {
    while let Ok(first) = asked.recv() {
        let jobs: Vec<Job> = std::iter::once(first).chain(asked.try_iter()).collect();
        let mut metrics = None;
        let mut connections = None;
        for Job { ask, answer } in jobs {
            let page = match ask {
                Ask::Metrics => metrics.get_or_insert_with(|| metrics_page(told)).clone(),
                Ask::Connections { limit } => {
                    let list =
                        connections.get_or_insert_with(|| told.metrics.connections(MOST_LISTED));
                    let listed: Vec<Value> = list.listed.iter().take(limit).map(one).collect();
                    let all = json!({ "connections": list.count, "listed": listed });
                    page("application/json", format!("{all}\n"))
                }
            };
            answer.send(page);
        }
    }
}

fn metrics_page(told: &Told) -> Page {
    let mut all = MetricsText::default();
    all.add_server(&told.metrics.snapshot());
    all.add_targets(&told.router.table());
    process::add_to(&mut all);
    page(MetricsText::CONTENT_TYPE, all.into_string())
}

fn one(connection: &ConnectionDetails) -> Value {
    let tally = |tally: Option<heirloom::conn::Tally>| {
        tally.map(|tally| json!({ "messages": tally.messages, "octets": tally.octets }))
    };
    json!({
        "version": connection.version.map(|version| version.name),
        "state": connection.state.name(),
        "route": connection.route.as_deref(),
        "client": connection.client.map(|client| client.to_string()),
        "age": connection.age_s,
        "received": tally(connection.from_client),
        "sent": tally(connection.to_client),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_and_its_own_name_are_answered_to_and_no_other_name() {
        let Ok(AdminAddress { name, .. }) = address("LOCALHOST:9090") else {
            unreachable!("it is resolved everywhere");
        };
        assert_eq!(name.as_deref(), Some("LOCALHOST"));
        for text in ["127.0.0.1:9076", "[::1]:9090", "0.0.0.0:0"] {
            assert!(address(text).is_ok_and(|at| at.name.is_none()), "{text}");
        }
        for text in ["unix:", "unix:@name", "9090", "127.0.0.1"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_limit_is_a_number_that_is_not_too_large() {
        for (query, wanted) in [
            (None, Some(LISTED)),
            (Some(""), Some(LISTED)),
            (Some("limit=7"), Some(7)),
            (Some("limit=0"), Some(0)),
            (Some("limit=1001"), None),
            (Some("limit=-1"), None),
            (Some("limit="), None),
            (Some("other=1"), None),
            (Some("limit=99999999999999999999999"), None),
        ] {
            assert_eq!(limit(query), wanted, "{query:?}");
        }
    }
}
