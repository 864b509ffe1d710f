//! Clients under test, from the first to the last: where they connect, when reports
//! are written, and when the program ends.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::Duration;

use heirloom::Side;
use heirloom::net::Listen;

use super::Args;
use super::client::{News, Tester};
use super::exec::Client;
use super::report::Reports;
use super::run::Ending;
use super::select::{Corpus, Selection};
use crate::cli::listening::announce;
use crate::cli::{Exit, complain, output, signals};

/// Where a client connects, where only the command is given.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

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
    let stopped =
        signalled().map_err(|error| unreachable(format!("cannot wait for signals: {error}")))?;
    let corpus = Arc::new(corpus);
    let cases: Arc<[_]> = selection.cases.into();
    let command = match &args.client.exec {
        Some(command) => format!(
            "heirloom conform --exec '{}'",
            command.replace('\'', "'\\''")
        ),
        None => format!("heirloom conform --listen {address}"),
    };
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
            let _ = news.send(News::Stop);
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
    let wrong = serving.serve(&receiver);
    drop(started);
    tester.wait_for_connections();
    // Cases that ended meanwhile are reported too.
    while let Ok(news) = receiver.try_recv() {
        serving.told(&news);
    }
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

/// The pipe that is written to at the first TERM or INT.
fn signalled() -> std::io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    signals::ignore_harmless()?;
    signals::stop_on_signals(writer)?;
    Ok(reader)
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
    /// Serves until the end. Gives why not all was played, where that is wrong.
    fn serve(&mut self, news: &Receiver<News>) -> Option<String> {
        while let Ok(news) = news.recv() {
            self.told(&news);
            match news {
                News::Update {
                    then_stop: true, ..
                } => return None,
                News::Update { .. } if self.args.client.once => return None,
                News::Stop => return None,
                News::Exited(ended) => return self.exited(ended),
                _ => {}
            }
            if self.reports.is_over() {
                return None;
            }
        }
        None
    }

    /// Reports what has happened.
    fn told(&mut self, news: &News) {
        match news {
            News::Played { agent, number } => {
                let reports = &mut self.reports;
                self.tester
                    .with_case(agent, *number, |run| reports.case(agent, run));
            }
            News::Update { written, .. } => {
                self.was_updated = true;
                let reports = &mut self.reports;
                let done = self.tester.with_runs(|runs| reports.write(runs));
                self.is_failed = done.err().or(self.is_failed);
                // The client may be gone.
                let _ = written.send(());
            }
            News::Stop | News::Exited(_) => {}
        }
    }

    /// Why a client that has ended has not finished.
    fn exited(&self, ended: Result<(), String>) -> Option<String> {
        let (asked, all) = self.tester.with_runs(|runs| {
            let cases = runs.iter().flat_map(|run| &run.cases);
            let asked = cases.filter(|case| matches!(case.ending, Ending::Played(_)));
            (
                asked.count(),
                runs.iter().map(|run| run.cases.len()).sum::<usize>(),
            )
        });
        let why = ended.err();
        if asked == 0 {
            return Some(why.unwrap_or_else(|| "the client ended and ran no case".to_owned()));
        }
        if self.was_updated || asked == all {
            if let Some(why) = why {
                log::warn!("{why}");
            }
            return None;
        }
        let how = why.unwrap_or_else(|| "the client ended".to_owned());
        Some(format!(
            "{how} after {asked} of {all} cases, and did not ask for /updateReports"
        ))
    }

    fn finish(self, wrong: Option<String>) -> Exit {
        let (reports, is_failed) = (self.reports, self.is_failed);
        self.tester.with_runs(|runs| {
            let wrong = wrong.or_else(|| {
                let none = runs.is_empty();
                none.then(|| "no client has run a case".to_owned())
            });
            if let Some(why) = &wrong {
                complain(why);
            }
            let exit = reports.finish(runs, wrong.as_deref());
            is_failed.unwrap_or(exit)
        })
    }
}
