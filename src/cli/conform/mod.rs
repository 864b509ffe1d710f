//! `heirloom conform`: cases that a server or a client under test must pass, each
//! with a verdict.

mod run;
mod alone;
mod order;
mod baseline;
mod report;
mod kept;
mod target;
mod recorded;
mod select;
mod handshake;
mod queue;
mod server;
mod command;
mod talk;
mod client;
mod exec;
mod serving;

use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args as ClapArgs;
use heirloom::Side;
use heirloom::conform::PlayOptions;
use heirloom::net::Url;
use heirloom::net::dial::DialTarget;
use serde::Serialize;

use self::report::{Plan, ReportArgs, Reports};
use self::select::{Corpus, Planned, SelectArgs, Selection};
use self::server::Tested;
use self::target::Server;
use super::record::address;
use super::report::print_json;
use super::request_args::RequestArgs;
use super::trust::{OldServerArgs, TrustArgs};
use super::units::{milliseconds, whole};
use super::{Exit, complain, output, print_line, signals};

/// Test a server or a client: a verdict for each case, with the octets, the section and the reason.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  heirloom conform ws://127.0.0.1:9001/\n  heirloom conform --listen \
                  127.0.0.1:9001\n  heirloom conform --exec \"python3 client.py {url}\"\n\nA server \
                  under test echoes messages. A client under test asks for cases as test clients of \
                  Autobahn|Testsuite do: by /getCaseCount, /getCaseInfo, /runCase, /getCaseStatus and \
                  /updateReports.\n\nExit status: 0 good, 1 something is broken, 2 wrong usage, 3 a \
                  peer that cannot be reached or stops, or a report that cannot be written."
)]
#[group(id = "tested", required = true, multiple = true, args = ["url", "listen", "exec", "list"])]
pub(super) struct Args {
    /// The server under test, which echoes messages, such as ws://127.0.0.1:9001/.
    #[arg(value_name = "URL", value_parser = super::request_args::url,
          conflicts_with_all = ["listen", "exec"])]
    url: Option<Url>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    select: SelectArgs,
    /// How many cases are played to a server at the same time.
    #[arg(long, value_name = "COUNT", default_value_t = 16,
          value_parser = whole(1_u16..=256))]
    jobs: u16,
    /// Play 1,000 messages in each case of chapters 12 and 13, in place of 30.
    #[arg(long)]
    full: bool,
    /// Milliseconds for a connection and for an opening handshake; in long cases the next octet may
    /// take twice as long.
    #[arg(long, value_name = "MS", default_value_t = 5000,
          value_parser = milliseconds(1..=600_000))]
    timeout_ms: u64,
    /// The name of the server in reports; that of its `Server` header where it is not given.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["listen", "exec"])]
    agent: Option<String>,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    old_server: OldServerArgs,
    #[command(flatten)]
    report: ReportArgs,
}

/// How a client is tested.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Clients")]
struct ClientArgs {
    /// Listen here for a client under test. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Start the client by this command of the shell, with the URL where it says {url}, and wait for
    /// it to end. Without --listen it takes a free port.
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// Milliseconds that the client may take.
    #[arg(long, value_name = "MS", default_value_t = 600_000, requires = "exec", conflicts_with = "url",
          value_parser = milliseconds(1..=86_400_000))]
    exec_timeout_ms: u64,
    /// End after the first /updateReports.
    #[arg(long, conflicts_with = "url")]
    once: bool,
}

/// Why a case has no verdict, where it should have one.
const PANICKED: &str = "heirloom panics in this case, which is a bug of it";

/// Why not all cases were played, where a signal ended the test.
const INTERRUPTED: &str = "the test was interrupted";

pub(super) fn run(args: &Args, verbose: bool) -> Exit {
    run_or_complain(args, verbose).unwrap_or_else(|(exit, why)| {
        complain(&why);
        exit
    })
}

fn run_or_complain(args: &Args, verbose: bool) -> Result<Exit, (Exit, String)> {
    let usage = |why: String| (Exit::Usage, why);
    let corpus = args.select.corpus().map_err(usage)?;
    let tested = match (&args.url, args.is_client_tested()) {
        (Some(_), _) => Some(Side::Server),
        (None, true) => Some(Side::Client),
        (None, false) => None,
    };
    let selection = args.select.select(&corpus, tested).map_err(usage)?;
    let Some(_) = tested.filter(|_| !args.select.list) else {
        list(&selection, args.report.is_machine());
        return Ok(Exit::Good);
    };
    match &args.url {
        Some(url) => test_server(args, verbose, url, &corpus, &selection),
        None => serving::test_clients(args, verbose, corpus, selection),
    }
}

impl Args {
    fn is_client_tested(&self) -> bool {
        self.client.listen.is_some() || self.client.exec.is_some()
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    fn options(&self) -> PlayOptions {
        let options = PlayOptions::default()
            .with_full(self.full)
            .with_patience(self.patience() * 2)
            .with_opening(self.patience());
        self.request.apply(options)
    }

    /// What is played, for the reports.
    fn plan<'c>(
        &self,
        corpus: &'c Corpus,
        cases: &'c [Planned],
        tested: Side,
        command: String,
        verbose: bool,
    ) -> Plan<'c> {
        Plan {
            tested,
            secure: self.url.as_ref().is_some_and(|url| url.secure),
            command,
            groups: &corpus.groups,
            known: corpus.ids().collect(),
            selected: cases.iter().map(|case| &*case.id).collect(),
            cases: &corpus.cases,
            verbose,
        }
    }
}

/// Prints the cases that were chosen.
fn list(selection: &Selection, json: bool) {
    #[derive(Serialize)]
    struct Line<'c> {
        id: &'c str,
        title: &'c str,
        version: &'c str,
        level: heirloom::vector::Level,
        section: &'c str,
        tests: Option<&'static str>,
    }
    let width = selection.cases.iter().map(|case| case.id.len()).max();
    let width = width.unwrap_or_default();
    for case in &selection.cases {
        if output::is_over() {
            return;
        }
        if json {
            print_json(&Line {
                id: &case.id,
                title: &case.title,
                version: &case.version,
                level: case.level,
                section: &case.section,
                tests: case.tests.map(Side::name),
            });
        } else {
            let level = format!("{:?}", case.level).to_lowercase();
            print_line(&format!("{:width$}  {level:<6}  {}", case.id, case.title));
        }
    }
}

fn test_server(
    args: &Args,
    verbose: bool,
    url: &Url,
    corpus: &Corpus,
    selection: &Selection,
) -> Result<Exit, (Exit, String)> {
    let tls = args.trust.load(url.secure, args.old_server.given());
    let tls = match tls {
        Ok(tls) => tls,
        Err(exit) => return Ok(exit),
    };
    let unreachable = |why: String| (Exit::Unreachable, why);
    let target = DialTarget::of(url, tls.as_ref());
    let is_interrupted = interrupted().map_err(unreachable)?;
    let server = Server {
        url,
        target: target.map_err(|error| unreachable(error.to_string()))?,
        tls: tls.as_ref(),
        request: &args.request,
        patience: args.patience(),
        options: args.options().with_stop(Arc::clone(&is_interrupted)),
        jobs: usize::from(args.jobs),
    };
    let command = alone::command();
    let plan = args.plan(corpus, &selection.cases, Side::Server, command, verbose);
    let mut reports = match Reports::new(&args.report, plan) {
        Ok(reports) => reports,
        Err(exit) => return Ok(exit),
    };
    let tested = server::test(
        &server,
        corpus,
        selection,
        args.agent.as_deref(),
        &is_interrupted,
        &mut |agent, run| {
            reports.case(agent, run);
            if reports.is_over() {
                is_interrupted.store(true, Ordering::Relaxed);
            }
        },
    );
    let tested = match tested {
        Ok(tested) => tested,
        // A report of an earlier run would pass for this one.
        Err(why) if args.report.is_kept() => {
            let agent = args.agent.clone().unwrap_or_else(|| url.to_string());
            let none = Tested::none(agent, selection, why);
            let cases = none.run.cases.iter();
            cases.for_each(|run| reports.case(&none.run.agent, run));
            none
        }
        Err(why) => return Err(unreachable(why)),
    };
    // Where no results are wanted any more, it is us who stopped.
    let stopped = tested.stopped.filter(|_| !reports.is_over());
    if let Some(why) = &stopped {
        complain(why);
    }
    Ok(reports.finish(&[tested.run], stopped.as_deref()))
}

/// A pipe that is written to at the first TERM or INT; the second one ends the program.
fn signalled() -> std::io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    signals::stop_on_signals(writer)?;
    Ok(reader)
}

/// Set by the first TERM or INT.
fn interrupted() -> Result<Arc<AtomicBool>, String> {
    let reader = signalled().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let is_interrupted = Arc::new(AtomicBool::new(false));
    let own = Arc::clone(&is_interrupted);
    std::thread::spawn(move || {
        let mut reader = reader;
        if reader.read(&mut [0]).is_ok() {
            own.store(true, Ordering::Relaxed);
        }
    });
    Ok(is_interrupted)
}
