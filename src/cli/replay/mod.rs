//! `heirloom replay`: one side of recorded conversations, played to a foreign
//! server or client.

mod moves;
mod passive;
mod describe;
mod turned;
mod rewritten;
mod against;
mod listen;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, ValueEnum};
use heirloom::Side;
use heirloom::net::dial::{DialError, DialTarget};
use heirloom::net::replay::{Faults, ReplayConnection};
use heirloom::net::{ClientTls, Listen, Url};
use heirloom::vector::{Difference, Vector};

use self::moves::moves;
use super::check::{OnlyArgs, UNFINISHED, complain_of_none, found, read};
use super::listening::announce;
use super::record::address;
use super::report::{Asked, Case, ReportArgs, Reporter};
use super::trust::{OldServerArgs, TrustArgs};
use super::units::{milliseconds, octets};
use super::{Exit, complain, hint, output};

/// Test a server by playing the clients of vectors to it, or a client by playing the servers.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Example: heirloom replay recordings --against ws://127.0.0.1:8076/\n\nOnly host \
                  and port of the URL are used: the request keeps the recorded target and Host. A \
                  hixie server must name that Host in its location; with --rewrite-host it must \
                  name the host of the URL instead. With --path all requests are for that path.\n\n\
                  With --listen, each vector takes the next connection."
)]
#[group(id = "peer", required = true, multiple = false, args = ["against", "listen"])]
pub(super) struct Args {
    /// Files of vectors, or folders with such files (*.json except schema.json).
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The server to which the clients are played, such as ws://127.0.0.1:8076/; inside TLS where it
    /// is wss://.
    #[arg(long, value_name = "URL", value_parser = super::request_args::url)]
    against: Option<Url>,
    /// Where to listen for the client to which the servers are played. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Compare what the server sends with the recording, octet for octet.
    #[arg(long, conflicts_with_all = ["listen", "rewrite_host"])]
    exact: bool,
    /// A header of the response that --exact does not compare; may be given more than once.
    #[arg(long, value_name = "NAME", requires = "exact")]
    ignore_header: Vec<String>,
    /// Send the host of the URL as Host and Origin instead of the recorded ones.
    #[arg(long, conflicts_with = "listen")]
    rewrite_host: bool,
    /// Ask for this path, where the server echoes, instead of the recorded ones.
    #[arg(long, value_name = "PATH", requires = "against", value_parser = target)]
    path: Option<String>,
    /// Which waits to keep.
    #[arg(long, value_name = "WAITS", default_value = "none")]
    pace: Pace,
    /// Milliseconds to wait each time for the other side.
    #[arg(long, value_name = "MS", default_value_t = 5000,
          value_parser = milliseconds(1..=600_000))]
    timeout_ms: u64,
    #[command(flatten)]
    only: OnlyArgs,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    old_server: OldServerArgs,
    #[command(flatten)]
    faults: FaultArgs,
    #[command(flatten)]
    report: ReportArgs,
}

/// Faults in how our octets are sent.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Faults")]
struct FaultArgs {
    /// Write slices of this many octets.
    #[arg(long, value_name = "BYTES", value_parser = octets(1_u32..=u32::MAX))]
    slicer: Option<u32>,
    /// Delay every write by this many milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0,
          value_parser = milliseconds(0..=60_000))]
    latency: u64,
    /// End the connection after this many octets; what the other side sent until then is checked.
    #[arg(long, value_name = "BYTES", value_parser = octets(0_u64..=u64::MAX))]
    limit_data: Option<u64>,
    /// End by a reset instead of a FIN.
    #[arg(long)]
    reset_peer: bool,
}

/// Which waits to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Pace {
    /// The recorded ones.
    Recorded,
    /// Only those for the other side.
    None,
}

/// How a conversation is played.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    /// How long each wait for the other side may take.
    pub(super) timeout: Duration,
    pub(super) faults: Faults,
    /// Compare what the server sends with the recording, octet for octet.
    pub(super) is_exact: bool,
    /// Headers of the response that are not compared.
    pub(super) ignored_headers: Vec<String>,
    /// Send the host of this URL as Host and Origin instead of the recorded ones.
    pub(super) host: Option<Url>,
    /// Ask for this target instead of the recorded one.
    pub(super) target: Option<String>,
    /// Whether the server is dialled by TLS.
    pub(super) secure: bool,
}

impl Manner {
    /// When a wait that starts now is over.
    fn deadline(&self) -> Instant {
        // What we hold back on purpose is not the fault of the peer.
        Instant::now() + self.timeout + self.faults.latency
    }
}

/// The result of one vector.
pub(super) enum PlayOutcome {
    /// It was played.
    Played(Played),
    /// It was not played, because it means nothing to this peer, and why.
    Skipped(String),
    /// It was not played, because it needs what an echo does not do, and why.
    NotRun(String),
    /// The server cannot be reached, and why.
    Unreachable(DialError),
    /// No client has come, and why that is known.
    NoClient(String),
}

/// What was played.
#[derive(Debug, Default)]
pub(super) struct Played {
    /// What is wrong.
    pub(super) failures: Vec<Difference>,
    /// The octets that we were to send.
    pub(super) sent: Vec<u8>,
    /// The first octets of the peer.
    pub(super) seen: Vec<u8>,
    /// How many octets the peer has sent.
    pub(super) octets: usize,
    /// Whether a server has ended TCP in place of refusing by a status.
    pub(super) is_unanswered: bool,
}

impl PlayOutcome {
    /// This is wrong, and the peer has sent nothing.
    fn wrong(what: impl Into<Difference>) -> PlayOutcome {
        PlayOutcome::Played(Played {
            failures: vec![what.into()],
            ..Played::default()
        })
    }
}

pub(super) fn run(args: &Args) -> Exit {
    let paths = match found(&args.paths) {
        Ok(paths) => paths,
        Err(error) => {
            complain(&error);
            return Exit::Usage;
        }
    };
    let secure = args.against.as_ref().is_some_and(|url| url.secure);
    let tls = match args.trust.load(secure, args.old_server.given()) {
        Ok(tls) => tls,
        Err(exit) => return exit,
    };
    let reporter = Reporter::new("replay", &args.report, None);
    let peer = match Peer::of(args, tls.as_ref()) {
        Ok(peer) => peer,
        Err(why) => return reporter.unreachable(&args.peer_name(), &why),
    };
    if output::has_failed() {
        return Exit::Unreachable;
    }
    let mut run = Run {
        args,
        manner: args.manner(),
        peer,
        played: None,
        gone: None,
        reporter,
    };
    let mut found = false;
    for path in paths {
        let file = path.display().to_string();
        let mut vectors = match read(&path) {
            Ok((file, _)) => file.vectors,
            Err(what) => {
                found = true;
                run.reporter.case(Case {
                    file,
                    failures: vec![what.into()],
                    is_error: true,
                    ..Case::default()
                });
                continue;
            }
        };
        args.only.keep(&mut vectors);
        found |= args.only.is_all() || !vectors.is_empty();
        for vector in vectors {
            match run.play(&file, vector) {
                Next::GoOn => {}
                Next::Stop => return run.reporter.finish(),
                Next::Unreachable => {
                    run.reporter.finish();
                    return Exit::Unreachable;
                }
            }
        }
    }
    if !found {
        return complain_of_none();
    }
    let exit = run.reporter.finish();
    match run.gone {
        Some(_) => Exit::Unreachable,
        None => exit,
    }
}

/// Vectors that are played to one peer.
struct Run<'a> {
    args: &'a Args,
    manner: Manner,
    peer: Peer,
    /// The vector that was played last.
    played: Option<String>,
    /// Why the peer, to which vectors were played, can no longer be reached.
    gone: Option<String>,
    reporter: Reporter<'a>,
}

/// What follows a vector.
enum Next {
    GoOn,
    /// Nothing reads the results.
    Stop,
    /// No vector reaches the peer.
    Unreachable,
}

impl Run<'_> {
    fn play(&mut self, file: &str, vector: Vector) -> Next {
        let started = Instant::now();
        let side = self.args.side();
        let mut case = Case {
            file: file.to_owned(),
            side: Some(side),
            asked: Asked::of(&vector, side),
            ..Case::default()
        };
        match &self.gone {
            Some(why) => case.not_run = Some(why.clone()),
            None => self.converse(&vector, &mut case),
        }
        let is_unreachable = case.is_error;
        case.id = vector.id;
        case.title = vector.title;
        case.ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.reporter.case(case);
        if self.reporter.is_over() {
            return Next::Stop;
        }
        if is_unreachable {
            return Next::Unreachable;
        }
        Next::GoOn
    }

    fn converse(&mut self, vector: &Vector, case: &mut Case) {
        match self.peer.play(vector, self.args, &self.manner) {
            PlayOutcome::Played(what) => {
                self.played = Some(vector.id.clone());
                case.failures = what.failures;
                let is_ours = case.asked.as_ref().is_some_and(Asked::is_ours);
                if let Some(first) = case.failures.first().filter(|_| is_ours) {
                    // What this project chose for itself binds no other implementation.
                    case.skipped = Some(format!("only heirloom is held to it: {first}"));
                    case.failures.clear();
                }
            }
            PlayOutcome::Skipped(why) => case.skipped = Some(why),
            PlayOutcome::NotRun(why) => case.not_run = Some(why),
            PlayOutcome::Unreachable(error) => {
                let why = format!("{error}{}", hint::of_dial(&error));
                self.lose(why, case);
            }
            PlayOutcome::NoClient(why) => self.lose(why, case),
        }
    }

    /// The peer does not answer. Where it did before, the vectors from here on are not
    /// run.
    fn lose(&mut self, why: String, case: &mut Case) {
        match &self.played {
            Some(last) => {
                let why = format!("the peer is gone since {last}: {why}");
                case.not_run = Some(why.clone());
                self.gone = Some(why);
            }
            None => {
                case.failures = vec![why.into()];
                case.is_error = self.args.against.is_some();
            }
        }
    }
}

/// A path that a request can ask for.
fn target(text: &str) -> Result<String, String> {
    let is_target =
        text.starts_with('/') && text.bytes().all(|o| o.is_ascii_graphic() && o != b'#');
    match is_target {
        true => Ok(text.to_owned()),
        false => Err("a path starts with / and has no spaces and no #".to_owned()),
    }
}

/// Plays the client of a vector to a server, without the recorded waits.
pub(super) fn play_to_server(vector: &Vector, target: &DialTarget, manner: &Manner) -> PlayOutcome {
    match moves(vector, false) {
        Ok(moves) => against::play(vector, moves, target, manner),
        Err(what) => PlayOutcome::wrong(what),
    }
}

/// Plays the server of a vector to a client, of which these octets have arrived.
pub(super) fn play_to_client(
    vector: &Vector,
    connection: ReplayConnection,
    received: &[u8],
    manner: &Manner,
) -> PlayOutcome {
    let moves = match moves(vector, false) {
        Ok(moves) => moves,
        Err(what) => return PlayOutcome::wrong(what),
    };
    match listen::is_playable(vector, &moves) {
        Ok(()) => listen::play_over(vector, &moves, connection, received, manner),
        Err(why) => PlayOutcome::Skipped(why.to_owned()),
    }
}

/// What the vectors are played to.
enum Peer {
    Server(DialTarget),
    Client(TcpListener),
}

impl Peer {
    /// The peer, or why it cannot be reached.
    fn of(args: &Args, tls: Option<&ClientTls>) -> Result<Peer, String> {
        if let Some(url) = &args.against {
            let target = DialTarget::of(url, tls);
            return target.map(Peer::Server).map_err(|error| error.to_string());
        }
        let Some(address) = args.listen else {
            unreachable!("clap requires --against or --listen");
        };
        let listener = TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| format!("cannot listen on {address}: {error}"))?;
        let real = listener.local_addr().unwrap_or(address);
        announce(&Listen::from(real), args.report.is_machine());
        Ok(Peer::Client(listener))
    }

    fn play(&self, vector: &Vector, args: &Args, manner: &Manner) -> PlayOutcome {
        if vector.unfinished {
            return PlayOutcome::Skipped(UNFINISHED.to_owned());
        }
        let moves = match moves(vector, args.pace == Pace::Recorded) {
            Ok(moves) => moves,
            Err(what) => return PlayOutcome::wrong(what),
        };
        match self {
            Peer::Server(target) => against::play(vector, moves, target, manner),
            Peer::Client(listener) => listen::play(vector, &moves, listener, manner),
        }
    }
}

impl Args {
    /// The side that is tested.
    fn side(&self) -> Side {
        if self.against.is_some() {
            Side::Server
        } else {
            Side::Client
        }
    }

    /// The peer, as it was named.
    fn peer_name(&self) -> String {
        match (&self.against, self.listen) {
            (Some(url), _) => url.to_string(),
            (None, Some(address)) => address.to_string(),
            (None, None) => String::new(),
        }
    }

    fn manner(&self) -> Manner {
        let against = self.against.as_ref();
        Manner {
            timeout: Duration::from_millis(self.timeout_ms),
            faults: self.faults(),
            is_exact: self.exact,
            ignored_headers: self.ignore_header.clone(),
            host: against.filter(|_| self.rewrite_host).cloned(),
            target: self.path.clone(),
            secure: against.is_some_and(|url| url.secure),
        }
    }

    fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        faults.slice_bytes = self.faults.slicer.map(|n| n as usize);
        faults.latency = Duration::from_millis(self.faults.latency);
        faults.limit_bytes = self.faults.limit_data;
        faults.reset = self.faults.reset_peer;
        faults
    }
}
