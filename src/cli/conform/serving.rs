//! Clients under test, from the first to the last: where they connect, when reports
//! are written, and when the program ends.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use heirloom::Side;
use heirloom::net::Listen;

use super::alone;
use super::client::{News, Tester};
use super::exec::Client;
use super::report::Reports;
use super::run::{AgentRun, Ending};
use super::select::{Corpus, Selection};
use super::{Args, INTERRUPTED, PANICKED, signalled};
use crate::cli::listening::announce;
use crate::cli::{Exit, complain, output, signals};

/// Where a client connects, where only the command is given.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How long connections have to end once the client is done.
const LEAVE: Duration = Duration::from_secs(2);

pub(super) fn test_clients(
    args: &Args,
    verbose: bool,
    corpus: Corpus,
    selection: Selection,
) -> Result<Exit, (Exit, String)> {
    let unreachable = |why: String| (Exit::Unreachable, why);
    let asked = args.client.listen.unwrap_or(ANY_PORT);
    if let Some(command) = &args.client.exec {
        if asked.port() == 0 && !command.contains("{url}") {
            let why = "the command of --exec needs {url}, which the client is to connect to, or \
                       --listen with a port that the client knows";
            return Err((Exit::Usage, why.to_owned()));
        }
    }
    let listener = TcpListener::bind(asked);
    let listener =
        listener.map_err(|error| unreachable(format!("cannot listen on {asked}: {error}")))?;
    let address = listener.local_addr().unwrap_or(asked);
    let no_signals = |error| unreachable(format!("cannot wait for signals: {error}"));
    signals::ignore_harmless().map_err(no_signals)?;
    let stopped = signalled().map_err(no_signals)?;
    let corpus = Arc::new(corpus);
    let cases: Arc<[_]> = selection.cases.into();
    let command = alone::command();
    let plan = args.plan(&corpus, &cases, Side::Client, command, verbose);
    let reports = match Reports::new(&args.report, plan) {
        Ok(reports) => reports,
        Err(exit) => return Ok(exit),
    };
    announce(&Listen::from(address), args.report.is_machine());
    if output::has_failed() {
        return Ok(Exit::Unreachable);
    }
    let tester = Tester::new(Arc::clone(&corpus), Arc::clone(&cases), args.options());
    let (sender, receiver) = tester.start(listener);
    let news = sender.clone();
    thread::spawn(move || {
        let mut stopped = stopped;
        if stopped.read(&mut [0]).is_ok() {
            // It fails where nothing receives any more: the program ends.
            let _ = news.send(News::Interrupted);
        }
    });
    let started = start_client(args, address, &sender).map_err(unreachable)?;
    let mut serving = Serving {
        args,
        tester: &tester,
        reports,
        was_updated: false,
        is_failed: None,
    };
    let ended = serving.serve(&receiver);
    // What it has left behind is ended, so that its connections end too.
    drop(started);
    serving.settle(&receiver);
    let wrong = match ended {
        Ended::Served => None,
        // A server is stopped by a signal; a client that was started is cut off.
        Ended::Interrupted => args.client.exec.as_ref().map(|_| INTERRUPTED.to_owned()),
        Ended::Exited(how) => serving.exited(how),
    };
    Ok(serving.finish(wrong))
}

fn start_client(
    args: &Args,
    address: SocketAddr,
    sender: &Sender<News>,
) -> Result<Option<Client>, String> {
    let Some(command) = &args.client.exec else {
        return Ok(None);
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let url = format!("ws://{}", SocketAddr::new(ip, address.port()));
    let limit = Duration::from_millis(args.client.exec_timeout_ms);
    let started = Client::start(command, &url, limit, sender);
    let started = started.map_err(|error| format!("cannot start the client by sh: {error}"))?;
    Ok(Some(started))
}

/// Why no more clients are served.
enum Ended {
    /// All is done that was asked for.
    Served,
    /// By a signal.
    Interrupted,
    /// The client that was started has ended; why it is no good, if so.
    Exited(Result<(), String>),
}

/// The thread that reports.
struct Serving<'a> {
    args: &'a Args,
    tester: &'a Tester,
    reports: Reports<'a>,
    /// Whether a client has asked for the reports.
    was_updated: bool,
    /// A report could not be written.
    is_failed: Option<Exit>,
}

impl Serving<'_> {
    /// Serves until the end.
    fn serve(&mut self, news: &Receiver<News>) -> Ended {
        while let Ok(news) = news.recv() {
            self.told(&news);
            match news {
                News::Update { then_stop, .. } if then_stop || self.args.client.once => break,
                News::Stop => break,
                News::Interrupted => return Ended::Interrupted,
                News::Exited(how) => return Ended::Exited(how),
                _ => {}
            }
            if self.reports.is_over() {
                break;
            }
        }
        Ended::Served
    }

    /// Reports what happens until no connection is left, for a while: cases that
    /// have begun count too.
    fn settle(&mut self, news: &Receiver<News>) {
        let deadline = Instant::now() + LEAVE;
        while self.tester.has_connections() {
            let left = deadline.saturating_duration_since(Instant::now());
            match news.recv_timeout(left) {
                Ok(news) => self.told(&news),
                Err(_) => break,
            }
        }
        while let Ok(news) = news.try_recv() {
            self.told(&news);
        }
    }

    /// Reports what has happened.
    fn told(&mut self, news: &News) {
        match news {
            News::Played { agent, number } => {
                if let Some(run) = self.tester.run(agent, *number) {
                    self.reports.case(agent, &run);
                }
            }
            News::Update { written, .. } => {
                self.was_updated = true;
                let done = self.reports.write(&self.tester.runs());
                self.is_failed = done.err().or(self.is_failed);
                // The client may be gone.
                let _ = written.send(());
            }
            News::Left | News::Stop | News::Interrupted | News::Exited(_) => {}
        }
    }

    /// Why a client that has ended has not finished.
    fn exited(&self, how: Result<(), String>) -> Option<String> {
        let runs = self.tester.runs();
        let cases = || runs.iter().flat_map(|run| &run.cases);
        let asked = cases().filter(|case| matches!(case.ending, Ending::Played(_)));
        let (asked, all) = (asked.count(), cases().count());
        let why = how.err();
        if asked == 0 {
            return Some(why.unwrap_or_else(|| "the client ended and ran no case".to_owned()));
        }
        if asked == all {
            if let Some(why) = why {
                log::warn!("{why}");
            }
            return None;
        }
        match why {
            Some(why) => Some(format!("{why} after {asked} of {all} cases")),
            // It has said that it is done.
            None if self.was_updated => {
                log::warn!(
                    "the client asked for {asked} of {all} cases, and the others are not run; \
                     --skip leaves out what it leaves out on purpose"
                );
                None
            }
            None => Some(format!(
                "the client ended after {asked} of {all} cases, and did not ask for /updateReports"
            )),
        }
    }

    fn finish(self, wrong: Option<String>) -> Exit {
        let runs = self.tester.runs();
        let wrong = wrong.or_else(|| not_judged(&runs));
        if let Some(why) = &wrong {
            complain(why);
        }
        let exit = self.reports.finish(&runs, wrong.as_deref());
        self.is_failed.unwrap_or(exit)
    }
}

/// Why these runs are no answer, where that is so.
fn not_judged(runs: &[AgentRun]) -> Option<String> {
    if runs.is_empty() {
        return Some("no client has run a case".to_owned());
    }
    let cases = runs.iter().flat_map(|run| &run.cases);
    let mut panicked =
        cases.filter(|case| matches!(&case.ending, Ending::NotRun(why) if why == PANICKED));
    let first = panicked.next()?;
    Some(format!(
        "cases that could not be played: {}; of the first, {}, {PANICKED}",
        1 + panicked.count(),
        first.id
    ))
}
