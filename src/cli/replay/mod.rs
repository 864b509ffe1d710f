//! `heirloom replay`: one side of recorded conversations, played to somebody
//! else's other side.

mod against;
mod describe;
mod listen;
mod passive;

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, ValueEnum};
use heirloom::Side;
use heirloom::net::Url;
use heirloom::net::replay::Faults;
use heirloom::vector::{StreamEnd, Vector};

use super::check::{found, read};
use super::record::address;
use super::report::{Case, ReportArgs, Reporter};
use super::{Exit, complain, print_line};

/// Hold a server to vectors by playing their clients, or a client by playing their servers.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Example: heirloom replay recordings --against ws://127.0.0.1:8076/\n\nOnly host \
                  and port of the URL count: the request keeps the target and the Host that were \
                  recorded. A hixie server answers with a location made of that Host, and is held \
                  to it; with --rewrite-host the location must name the URL's host instead.\n\n\
                  With --listen, each vector takes the next connection."
)]
#[group(id = "peer", required = true, multiple = false, args = ["against", "listen"])]
pub(super) struct Args {
    /// Files of vectors, or folders with such files (*.json but schema.json).
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The server to play the clients to, such as ws://127.0.0.1:8076/.
    #[arg(long, value_name = "URL", value_parser = super::request_args::url)]
    against: Option<Url>,
    /// Where to wait for the client to play the servers to. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Compare the answers with the recorded ones, octet for octet.
    #[arg(long, conflicts_with_all = ["listen", "rewrite_host"])]
    exact: bool,
    /// A header of the answer to leave out of that comparison; may be given more than once.
    #[arg(long, value_name = "NAME", requires = "exact")]
    ignore_header: Vec<String>,
    /// Send the URL's host as Host and Origin instead of the recorded ones.
    #[arg(long, conflicts_with = "listen")]
    rewrite_host: bool,
    /// Which waits are kept.
    #[arg(long, value_name = "WAITS", default_value = "none")]
    pace: Pace,
    /// Milliseconds that each wait for the other side may take.
    #[arg(long, value_name = "MS", default_value_t = 5000,
          value_parser = clap::value_parser!(u64).range(1..=600_000))]
    timeout_ms: u64,
    #[command(flatten)]
    faults: FaultArgs,
    #[command(flatten)]
    report: ReportArgs,
}

/// How our octets are delivered.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Faults")]
struct FaultArgs {
    /// Write in slices of so many octets.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    slicer: Option<u32>,
    /// Hold every write back so long.
    #[arg(long, value_name = "MS", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(0..=60_000))]
    latency: u64,
    /// End the connection after so many octets; what the other side said until then is judged.
    #[arg(long, value_name = "BYTES")]
    limit_data: Option<u64>,
    /// End by a reset instead of in order.
    #[arg(long)]
    reset_peer: bool,
}

/// Which waits are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Pace {
    /// Those that were recorded.
    Recorded,
    /// Those for the other side only.
    None,
}

/// What comes of one vector: what is wrong, or why it was not played.
enum PlayOutcome {
    Played(Vec<String>),
    Skipped(String),
    /// There is nobody to play it to.
    Unreachable(String),
}

/// A step, ready to be played.
struct Move {
    from: Side,
    octets: Vec<u8>,
    end: Option<StreamEnd>,
    after: Duration,
}

pub(super) fn run(args: &Args) -> Exit {
    let paths = match found(&args.paths) {
        Ok(paths) => paths,
        Err(error) => {
            complain(&error);
            return Exit::Usage;
        }
    };
    let peer = match Peer::of(args) {
        Ok(peer) => peer,
        Err(exit) => return exit,
    };
    let mut reporter = Reporter::new("replay", &args.report, None);
    let mut played = false;
    for path in paths {
        let file = path.display().to_string();
        let vectors = match read(&path) {
            Ok((file, _)) => file.vectors,
            Err(what) => {
                reporter.case(Case {
                    file,
                    failures: vec![what],
                    ..Case::default()
                });
                continue;
            }
        };
        for vector in vectors {
            let began = Instant::now();
            let (mut skipped, mut failures, mut unreachable) = (None, Vec::new(), false);
            match peer.play(&vector, args) {
                PlayOutcome::Played(what) => {
                    played = true;
                    failures = what;
                }
                PlayOutcome::Skipped(why) => skipped = Some(why),
                PlayOutcome::Unreachable(why) => {
                    // A server that is gone later fails the vector it died of.
                    unreachable = !played;
                    failures = vec![why];
                }
            }
            reporter.case(Case {
                file: file.clone(),
                id: vector.id,
                failures,
                skipped,
                ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            });
            if unreachable {
                // The others would find the same.
                reporter.finish();
                return Exit::Unreachable;
            }
        }
    }
    reporter.finish()
}

/// Whom the vectors are played to.
enum Peer {
    Server(SocketAddr),
    Client(TcpListener),
}

impl Peer {
    fn of(args: &Args) -> Result<Peer, Exit> {
        let cannot = |what: String| {
            complain(&what);
            Exit::Unreachable
        };
        if let Some(url) = &args.against {
            let host = url.host.as_str();
            let found = host
                .to_socket_addrs()
                .or_else(|_| format!("{host}:80").to_socket_addrs())
                .map_err(|error| cannot(format!("no address for {host}: {error}")))?
                .next();
            let address = found.ok_or_else(|| cannot(format!("no address for {host}")))?;
            return Ok(Peer::Server(address));
        }
        let Some(address) = args.listen else {
            return Err(Exit::Usage);
        };
        let listener = TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| cannot(format!("cannot listen on {address}: {error}")))?;
        let real = listener.local_addr().unwrap_or(address);
        print_line(&format!("listening on ws://{real}/"));
        Ok(Peer::Client(listener))
    }

    fn play(&self, vector: &Vector, args: &Args) -> PlayOutcome {
        if vector.unfinished {
            let why = "unfinished: the recording was cut off, so nothing follows from it";
            return PlayOutcome::Skipped(why.to_owned());
        }
        let moves = match moves(vector, args.pace) {
            Ok(moves) => moves,
            Err(what) => return PlayOutcome::Played(vec![what]),
        };
        match self {
            Peer::Server(address) => against::play(vector, moves, *address, args),
            Peer::Client(listener) => listen::play(vector, &moves, listener, args),
        }
    }
}

impl Args {
    fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        faults.slice_bytes = self.faults.slicer.map(|n| n as usize);
        faults.latency = Duration::from_millis(self.faults.latency);
        faults.limit_bytes = self.faults.limit_data;
        faults.reset = self.faults.reset_peer;
        faults
    }

    /// A wait that begins now is over then.
    fn deadline(&self) -> Instant {
        // What is held back on purpose is no fault of the other side.
        Instant::now() + Duration::from_millis(self.timeout_ms + self.faults.latency)
    }
}

fn moves(vector: &Vector, pace: Pace) -> Result<Vec<Move>, String> {
    let mut moves = Vec::with_capacity(vector.steps.len());
    for step in &vector.steps {
        moves.push(Move {
            from: step.from,
            octets: step.octets()?,
            end: step.end,
            after: match pace {
                Pace::Recorded => Duration::from_millis(step.after_ms.unwrap_or(0).min(60_000)),
                Pace::None => Duration::ZERO,
            },
        });
    }
    Ok(moves)
}

/// All that one side says.
fn all_of(moves: &[Move], from: Side) -> Vec<u8> {
    let own = moves.iter().filter(|m| m.from == from);
    own.flat_map(|m| m.octets.iter().copied()).collect()
}

/// The length of a head with its empty line.
fn head_len(octets: &[u8]) -> Option<usize> {
    let end = octets.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(end + 4)
}

/// hybi-04 masks what its client says by a nonce of the server's, so that
/// recorded frames mean nothing to another server.
fn is_bound_to_its_nonce(vector: &Vector, moves: &[Move]) -> bool {
    let request_octets = all_of(moves, Side::Client);
    vector.version == "hybi-04"
        && head_len(&request_octets).is_some_and(|end| request_octets.len() > end)
}
