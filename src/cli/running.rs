//! A server of `serve` and `gateway` from its start to its end: it is made of a setup,
//! and of a new one at each HUP.

use std::time::Duration;

use heirloom::net::lab::Lab;
use heirloom::net::{Listen, Reloader, Router, Server, Site};

use super::access::AccessLog;
use super::setup::{Fault, InUse, Loaded, Setup, Shared, warn_of_hixie};
use super::signals::{Asked, Watch, also_write_to, ignore_harmless, stop_on_signals};
use super::supervisor::Supervisor;
use super::tls::Certificates;
use super::{Exit, admin, complain, listening, output, process, remark};

/// How often the log says which certificates expire soon.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The time that the explanations of the last handshakes have after the last
/// connection.
const LAST_EXPLANATIONS: Duration = Duration::from_secs(5);

/// What is read again where there is no configuration file.
const CERTIFICATES: &str = "certificates";

/// Where the setup comes from, at the start and at each HUP.
pub(super) trait Source: Send + 'static {
    /// Reads it, with all that it names. Where that fails, the mistakes are given, each
    /// with the way in which a program ends that cannot start without.
    fn load(&self) -> Result<Loaded, Vec<(Exit, String)>>;

    /// What stays in use after a reload that fails.
    fn what(&self) -> &'static str;

    /// Which options differ from those before, and take effect with the next start only.
    fn fixed(&self, before: &Setup, now: &Setup) -> Vec<String>;
}

/// The command line: HUP reads its files again.
pub(super) struct CommandLine(pub(super) Setup);

impl Source for CommandLine {
    fn load(&self) -> Result<Loaded, Vec<(Exit, String)>> {
        let (loaded, faults) = self.0.clone().load();
        if faults.is_empty() {
            return Ok(loaded);
        }
        let told = |fault: Fault| (fault.exit, fault.text);
        Err(faults.into_iter().map(told).collect())
    }

    fn what(&self) -> &'static str {
        CERTIFICATES
    }

    fn fixed(&self, _: &Setup, _: &Setup) -> Vec<String> {
        Vec::new()
    }
}

/// What is said of connections.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    /// One line each, in the log.
    Handshakes,
    /// The same, and each handshake of the lab is explained.
    Explanations,
    /// An access line when one has ended.
    Access,
}

/// Runs until a signal and the last connection.
pub(super) fn run(source: impl Source, told: Told) -> Exit {
    if let Err(error) = ignore_harmless() {
        complain(&format!("cannot wait for signals: {error}"));
        return Exit::Unreachable;
    }
    let loaded = match source.load() {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            for (_, mistake) in &mistakes {
                complain(mistake);
            }
            let first = mistakes.into_iter().next();
            return first.map_or(Exit::Usage, |(exit, _)| exit);
        }
    };
    match start(source, loaded, told) {
        Ok(()) => Exit::Good,
        Err(exit) => exit,
    }
}

fn start(source: impl Source, loaded: Loaded, told: Told) -> Result<(), Exit> {
    let options = loaded.setup.process.clone();
    let output = options.access.open()?;
    let common = options.common.config();
    let bound = Server::listen(&loaded.places(), options.common.workers(), common.clone());
    let mut server = bound.map_err(|error| {
        complain(&listening::explained(&error));
        Exit::Unreachable
    })?;
    let no_signals = |error: std::io::Error| {
        complain(&format!("cannot wait for signals: {error}"));
        Exit::Unreachable
    };
    let stopped = server.shutdown_pipe().and_then(stop_on_signals);
    stopped.map_err(no_signals)?;
    let reloader = server.reloader();
    if let Some(places) = loaded.places_with_flash(&server.listeners()) {
        reloader.listen(&places).map_err(|error| {
            complain(&listening::explained(&error));
            Exit::Unreachable
        })?;
    }
    loaded.warn();
    let listeners = server.listeners();
    let shared = Shared {
        config: common,
        stats: server.stats(),
        explains_all: matches!(told, Told::Explanations),
    };
    let (table, in_use) = loaded.table(&shared, &[]);
    let labs: Vec<Lab> = in_use.iter().filter_map(|used| used.lab.clone()).collect();
    let router = Router::new(table);
    let server = server
        .with_settings(options.settings())
        .with_config(router.config());
    let certificates = Certificates::default();
    certificates.set(loaded.shown());
    certificates.warn();
    let log = AccessLog::new(options.json, output.clone());
    let supervisor = Supervisor::of_environment();
    let shown = certificates.clone();
    let admin = options.common.admin.start(admin::Told {
        metrics: server.metrics(),
        router: router.clone(),
        health: Box::new(move || shown.health()),
    })?;
    let (server, carrier) = options.common.topics.carry(server, &router)?;
    let workers = options.common.workers();
    let has_certificates = !loaded.shown().is_empty();
    let versions = loaded.setup.versions();
    let is_open = loaded.setup.has_open_backend();
    let mut running = Running {
        source,
        shared,
        reloader,
        router: router.clone(),
        certificates: certificates.clone(),
        started: loaded.setup.clone(),
        loaded,
        in_use,
    };
    let told_of = supervisor.clone();
    let state = server.state();
    let react = move |asked| match asked {
        Asked::Reload if state.is_draining() => {
            output.reopen();
            log::warn!("HUP: the program is being stopped, so nothing is read again");
        }
        Asked::Reload => {
            output.reopen();
            told_of.reload(|| running.reload());
        }
        Asked::Reopen => output.reopen(),
        Asked::Nothing => running.certificates.warn(),
    };
    let watch = Watch::new().map_err(no_signals)?;
    let mut server = server;
    if workers > 1 || has_certificates {
        watch.start(DAY, react).map_err(no_signals)?;
    } else {
        // A process of one thread pays less for each system call: the other one starts when
        // there is something to do.
        let start = move || {
            if let Err(error) = watch.start(DAY, react) {
                log::error!("cannot wait for signals: {error}");
            }
        };
        let writer = server.calling_pipe(start).map_err(no_signals)?;
        also_write_to(&writer).map_err(no_signals)?;
    }
    // Last: from here on a signal has its effect, and all that the program holds is there.
    for listen in &listeners {
        warn_of_hixie(&listen.at, versions);
        listening::announce(listen, options.json);
    }
    if output::has_failed() {
        return Err(Exit::Unreachable);
    }
    listening::tell_families(&listeners);
    if !matches!(told, Told::Access) {
        listening::tell_page(&listeners);
    }
    if is_open {
        warn_of_open_backend();
    }
    supervisor.start(&server).map_err(|error| {
        complain(&format!("cannot start a thread: {error}"));
        Exit::Unreachable
    })?;
    server.run(|| {
        let certificates = certificates.clone();
        let site = Site::new(&router).with_health(move || certificates.health());
        let log = log.clone();
        match told {
            Told::Access => site.with_access_log(move |record| log.note(record)),
            Told::Handshakes | Told::Explanations => site,
        }
    });
    // Where the last connection ended before this was told.
    supervisor.stopping();
    if let Some(carrier) = carrier {
        carrier.finish();
    }
    for lab in labs {
        lab.finish(LAST_EXPLANATIONS);
    }
    drop(admin);
    Ok(())
}

fn warn_of_open_backend() {
    log::warn!(
        "pages of any site may connect to the backend; --origin names those that may, and \
         docs/deployment.md says which to choose"
    );
}

/// A server that runs, and what it was made of.
struct Running<S> {
    source: S,
    shared: Shared,
    reloader: Reloader,
    router: Router,
    certificates: Certificates,
    /// The setup of the start.
    started: Setup,
    loaded: Loaded,
    in_use: Vec<InUse>,
}

impl<S: Source> Running<S> {
    /// Reads the setup again, and runs by it. Where it has a mistake nothing changes.
    /// Gives where the server listens.
    fn reload(&mut self) -> Vec<Listen> {
        let is_good = self.try_reload();
        process::note_reload(is_good);
        self.reloader.listeners()
    }

    /// The same; whether it could be used.
    fn try_reload(&mut self) -> bool {
        let what = self.source.what();
        let stay = if what == CERTIFICATES {
            "stay"
        } else {
            "stays"
        };
        let loaded = match self.source.load() {
            Ok(loaded) => loaded,
            Err(mistakes) => {
                let mut texts = mistakes.into_iter().map(|(_, text)| text);
                let last = texts.next_back().unwrap_or_default();
                texts.for_each(|text| log::error!("{text}"));
                log::error!("{last}; nothing was changed, the {what} from before {stay} in use");
                return false;
            }
        };
        let before = self.reloader.listeners();
        let listened = self.reloader.listen(&loaded.places()).and_then(|bound| {
            match loaded.places_with_flash(&bound) {
                Some(places) => self.reloader.listen(&places),
                None => Ok(bound),
            }
        });
        let listeners = match listened {
            Ok(listeners) => listeners,
            Err(error) => {
                log::error!(
                    "{}; nothing was changed, the {what} from before {stay} in use",
                    listening::explained(&error)
                );
                return false;
            }
        };
        let routes = self.change_routes(&loaded);
        self.certificates.set(loaded.shown());
        self.certificates.warn();
        loaded.setup.process.common.drain.retire(&self.reloader);
        self.tell(&before, &listeners, &loaded, routes);
        loaded.warn();
        for new in listeners
            .iter()
            .filter(|new| before.iter().all(|old| old.at != new.at))
        {
            warn_of_hixie(&new.at, loaded.setup.versions());
        }
        if loaded.setup.has_open_backend() && !self.loaded.setup.has_open_backend() {
            warn_of_open_backend();
        }
        self.loaded = loaded;
        true
    }
    /// Requests that come from now on get the new routes.
    fn change_routes(&mut self, loaded: &Loaded) -> (usize, usize) {
        let (old, new) = (&self.loaded.setup.process, &loaded.setup.process);
        if old.common.of_routes() != new.common.of_routes() {
            self.shared.config = new.common.config();
        }
        let (table, in_use) = loaded.table(&self.shared, &self.in_use);
        let added = InUse::count_new(&in_use, &self.in_use);
        let gone = InUse::count_new(&self.in_use, &in_use);
        self.in_use = in_use;
        self.router.replace(table);
        self.reloader.reload(self.router.config(), new.settings());
        (added, gone)
    }

    /// Tells what has changed.
    fn tell(&self, before: &[Listen], now: &[Listen], loaded: &Loaded, routes: (usize, usize)) {
        if self.source.what() == CERTIFICATES {
            return remark(&"the certificates were read again");
        }
        let places = |listeners: &[Listen]| -> Vec<String> {
            listeners
                .iter()
                .map(|listen| listen.at.to_string())
                .collect()
        };
        let (old, new) = (places(before), places(now));
        let mut changes: Vec<String> = Vec::new();
        for place in new.iter().filter(|place| !old.contains(place)) {
            changes.push(format!("{place} is new"));
        }
        for place in old.iter().filter(|place| !new.contains(place)) {
            changes.push(format!("{place} is no longer listened on"));
        }
        let is_or_are = |count: usize, what: &str| match count {
            1 => format!("1 route is {what}"),
            count => format!("{count} routes are {what}"),
        };
        match routes {
            (0, 0) => changes.push("the routes are the same".to_owned()),
            (0, gone) => changes.push(is_or_are(gone, "gone")),
            (added, 0) => changes.push(is_or_are(added, "new")),
            (added, gone) => {
                changes.push(is_or_are(added, "new"));
                changes.push(is_or_are(gone, "gone"));
            }
        }
        remark(&format!(
            "configuration reloaded: {}; {}",
            counted(new.len(), loaded.setup.routes.len()),
            changes.join(", ")
        ));
        for option in self.source.fixed(&self.started, &loaded.setup) {
            log::warn!(
                "`{option}` has changed, and that takes effect when the program is started again"
            );
        }
    }
}

/// So many listeners and routes, in words.
pub(super) fn counted(listeners: usize, routes: usize) -> String {
    let count = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    format!(
        "{}, {}",
        count(listeners, "listener"),
        count(routes, "route")
    )
}
