//! How much `heirloom serve` gets done per second of processor time, beside a bare echo and two other libraries.
//!
//! `cargo bench --bench loopback -- [--quick] [--write] [--servers LIST] [--rounds N] [FILTER]`
//!
//! Servers run one at a time on one core, each in its own process; this process speaks to them from another core.
//! What counts is work per second that the *server* spent on the processor: it stands still on a noisy machine where
//! work per second on the clock does not. Each round visits every server, so that slow drifts meet all alike.

#![forbid(unsafe_code)]
#![allow(
    clippy::indexing_slicing,
    reason = "a fault of the bench should stop the bench"
)]

#[allow(dead_code, reason = "gateway uses the rest")]
mod generator;
#[allow(dead_code, reason = "gateway uses the rest")]
mod machine;
mod options;
mod servers;
mod table;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use generator::{Count, Rounds, Script, Talk, Wire};
use machine::{SERVER_CORE, Server};
use options::{Options, Rival};
use table::{cell, median, thousands};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    Bare,
    Heirloom,
    Tungstenite,
    Fastwebsockets,
}

const PEERS: [Peer; 4] = [
    Peer::Bare,
    Peer::Heirloom,
    Peer::Tungstenite,
    Peer::Fastwebsockets,
];

impl Rival for Peer {
    const OPTION: &'static str = "--servers";
    const ALL: &'static [Peer] = &PEERS;

    fn name(self) -> &'static str {
        match self {
            Peer::Bare => "bare",
            Peer::Heirloom => "heirloom",
            Peer::Tungstenite => "tungstenite",
            Peer::Fastwebsockets => "fastwebsockets",
        }
    }
}

impl Peer {
    /// Only this house still speaks hixie-76; the bare echo speaks whatever comes.
    fn speaks(self, wire: Wire) -> bool {
        wire == Wire::Rfc6455 || matches!(self, Peer::Bare | Peer::Heirloom)
    }
}

#[derive(Clone, Copy)]
enum Kind {
    /// Connections stay, messages go round.
    Talk {
        connections: usize,
        in_flight: usize,
    },
    /// Connections live for one message.
    Rounds { at_once: usize },
}

struct Work {
    name: &'static str,
    wire: Wire,
    size: usize,
    kind: Kind,
    /// What the program should reach where the bare echo is 1.
    goal: f64,
}

const fn talk(
    name: &'static str,
    wire: Wire,
    size: usize,
    connections: usize,
    in_flight: usize,
    goal: f64,
) -> Work {
    Work {
        name,
        wire,
        size,
        kind: Kind::Talk {
            connections,
            in_flight,
        },
        goal,
    }
}

const fn rounds(name: &'static str, wire: Wire) -> Work {
    Work {
        name,
        wire,
        size: 125,
        kind: Kind::Rounds { at_once: 100 },
        goal: 0.90,
    }
}

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

const WORKS: [Work; 12] = [
    talk(
        "rfc6455 125 B, 1 in flight",
        Wire::Rfc6455,
        125,
        100,
        1,
        0.95,
    ),
    talk(
        "rfc6455 125 B, 16 in flight",
        Wire::Rfc6455,
        125,
        100,
        16,
        0.90,
    ),
    talk(
        "rfc6455 16 KiB, 1 in flight",
        Wire::Rfc6455,
        16 * KIB,
        100,
        1,
        0.85,
    ),
    talk(
        "rfc6455 16 KiB, 16 in flight",
        Wire::Rfc6455,
        16 * KIB,
        100,
        16,
        0.85,
    ),
    talk("rfc6455 1 MiB, 1 in flight", Wire::Rfc6455, MIB, 8, 1, 0.90),
    rounds("rfc6455 handshakes", Wire::Rfc6455),
    talk(
        "hixie-76 125 B, 1 in flight",
        Wire::Hixie76,
        125,
        100,
        1,
        0.95,
    ),
    talk(
        "hixie-76 125 B, 16 in flight",
        Wire::Hixie76,
        125,
        100,
        16,
        0.90,
    ),
    talk(
        "hixie-76 16 KiB, 1 in flight",
        Wire::Hixie76,
        16 * KIB,
        100,
        1,
        0.85,
    ),
    talk(
        "hixie-76 16 KiB, 16 in flight",
        Wire::Hixie76,
        16 * KIB,
        100,
        16,
        0.85,
    ),
    talk(
        "hixie-76 1 MiB, 1 in flight",
        Wire::Hixie76,
        MIB,
        8,
        1,
        0.90,
    ),
    rounds("hixie-76 handshakes", Wire::Hixie76),
];

const MEMORY: &str = "idle memory";
const IDLE: usize = 10_000;
/// Octets of user space per idle connection.
const MEMORY_GOAL: f64 = 128.0;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--server") {
        let role = arguments.next().ok_or("--server takes a role")?;
        let life = arguments.next().map_or(Ok(0), |life| life.parse())?;
        return servers::run(&role, life);
    }
    let options = Options::<Peer>::parse()?;
    if !options.bench {
        println!("nothing measured: this runs under `cargo bench --bench loopback`");
        return Ok(());
    }
    machine::pin_generator()?;
    let mut rows = Vec::new();
    for work in WORKS
        .iter()
        .filter(|work| work.name.contains(&options.filter))
    {
        rows.push((work, measure(work, &options)?));
    }
    let mut idle = Idle::new();
    if MEMORY.contains(&options.filter) {
        idle = measure_memory(&options)?;
    }
    let table = table(&rows, &idle, &options.rivals)?;
    print!("{table}");
    if options.write {
        table::write_page("loopback", &table)?;
    }
    Ok(())
}

/// One server's figures in one work.
#[derive(Clone, Default)]
struct Figures {
    /// Done per second of the server's processor time, a value per round.
    per_cpu_second: Vec<f64>,
    /// The share of the round in which the server was on the processor.
    busy: Vec<f64>,
}

type Row = BTreeMap<Peer, Figures>;

/// How a server did where the bare echo is 1: round by round, since neighbours in time met the same machine.
fn ratio(row: &Row, peer: Peer) -> Option<f64> {
    let (peer, bare) = (row.get(&peer)?, row.get(&Peer::Bare)?);
    Some(table::ratio(&peer.per_cpu_second, &bare.per_cpu_second))
}

/// `life`: octets after which the bare echo closes a connection; 0 is never.
fn start(peer: Peer, life: usize) -> Result<Server> {
    let command = match peer {
        Peer::Heirloom => machine::heirloom(SERVER_CORE, &["serve"]),
        peer => machine::own(SERVER_CORE, peer.name(), life)?,
    };
    Server::start(peer.name(), command)
}

enum Client {
    Talk(Box<Talk>),
    Rounds(Box<Rounds>),
}

impl Client {
    fn run(&mut self, time: Duration) -> Result<Count> {
        match self {
            Client::Talk(talk) => talk.run(time),
            Client::Rounds(rounds) => rounds.run(time),
        }
    }
}

/// Lets the server go to sleep: the kernel books a thread's time when it leaves the processor.
fn settle() {
    std::thread::sleep(Duration::from_millis(5));
}

fn measure(work: &Work, options: &Options<Peer>) -> Result<Row> {
    let mut running = Vec::new();
    for peer in options
        .rivals
        .iter()
        .copied()
        .filter(|peer| peer.speaks(work.wire))
    {
        let bare = peer == Peer::Bare;
        let with_upgrade = matches!(work.kind, Kind::Rounds { .. });
        let script = Script::new(work.wire, work.size, bare, with_upgrade)?;
        let life = if with_upgrade { script.life() } else { 0 };
        let server = start(peer, life)?;
        let client = match work.kind {
            Kind::Talk {
                connections,
                in_flight,
            } => Talk::open(server.address, &script, connections, in_flight)
                .map(|talk| Client::Talk(Box::new(talk))),
            Kind::Rounds { at_once } => Rounds::new(server.address, script, at_once)
                .map(|rounds| Client::Rounds(Box::new(rounds))),
        };
        let name = peer.name();
        let mut client = client.map_err(|error| format!("{}, {name}: {error}", work.name))?;
        client
            .run(options.round_time() / 3)
            .map_err(|error| format!("{}, {name}: {error}", work.name))?;
        running.push((peer, server, client));
    }
    let mut row = Row::new();
    for _ in 0..options.rounds {
        for (peer, server, client) in &mut running {
            settle();
            let before = server.cpu()?;
            let count = client
                .run(options.round_time())
                .map_err(|error| format!("{}, {}: {error}", work.name, peer.name()))?;
            settle();
            let spent = Duration::from_nanos(server.cpu()? - before).as_secs_f64();
            let figures = row.entry(*peer).or_default();
            figures.per_cpu_second.push(count.done as f64 / spent);
            figures.busy.push(spent / count.wall.as_secs_f64());
        }
    }
    for (peer, figures) in &row {
        let values = &figures.per_cpu_second;
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        let (name, middle, busy) = (peer.name(), median(values), median(&figures.busy) * 100.0);
        eprintln!(
            "{:<30} {name:<15} {middle:>10.0} ({low:.0} to {high:.0}), busy {busy:.0} %",
            work.name
        );
    }
    Ok(row)
}

/// Octets per idle connection: resident and the process's own, and mapped.
type Idle = BTreeMap<Peer, (f64, f64)>;

fn measure_memory(options: &Options<Peer>) -> Result<Idle> {
    if machine::descriptors()? < IDLE + 100 {
        return Err(format!(
            "idle memory needs {IDLE} open files and some: raise the limit (ulimit -n)"
        )
        .into());
    }
    let mut idle = Idle::new();
    for peer in options.rivals.iter().copied() {
        let server = start(peer, 0)?;
        let script = Script::new(Wire::Rfc6455, 125, peer == Peer::Bare, false)?;
        // What a server sets up once is there before it is counted.
        let first = generator::idle(server.address, &script, 1)?;
        settle();
        let before = server.memory()?;
        let streams = generator::idle(server.address, &script, IDLE)
            .map_err(|error| format!("{MEMORY}, {}: {error}", peer.name()))?;
        std::thread::sleep(Duration::from_millis(200));
        let after = server.memory()?;
        let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / IDLE as f64;
        let figures = (
            each(before.resident, after.resident),
            each(before.mapped, after.mapped),
        );
        eprintln!(
            "{MEMORY:<30} {:<15} {:>10.0} resident, {:.0} mapped",
            peer.name(),
            figures.0,
            figures.1
        );
        idle.insert(peer, figures);
        drop((first, streams));
    }
    Ok(idle)
}

fn table(rows: &[(&Work, Row)], idle: &Idle, peers: &[Peer]) -> Result<String> {
    let mut out = String::new();
    let names = peers
        .iter()
        .map(|peer| peer.name())
        .collect::<Vec<_>>()
        .join(" | ");
    let rule = "---: | ".repeat(peers.len());
    writeln!(out, "Measured on: {}.\n", machine::describe()?)?;
    writeln!(
        out,
        "Work per second of server processor time, the bare echo is 1:\n"
    )?;
    writeln!(
        out,
        "| work | {names} | goal | reached |\n| --- | {rule}---: | --- |"
    )?;
    let middle = |row: &Row, peer| {
        row.get(&peer)
            .map(|figures| median(&figures.per_cpu_second))
    };
    for (work, row) in rows {
        let ratio = |peer| ratio(row, peer);
        write!(out, "| {} |", work.name)?;
        for peer in peers {
            write!(out, " {} |", cell(ratio(*peer), 2))?;
        }
        // Judged as printed: a third digit is noise.
        let reached = match ratio(Peer::Heirloom) {
            Some(ratio) if (ratio * 100.0).round() >= work.goal * 100.0 => "yes",
            Some(_) => "no",
            None => "–",
        };
        writeln!(out, " {:.2} | {reached} |", work.goal)?;
    }
    if !idle.is_empty() {
        let reached = match idle.get(&Peer::Heirloom) {
            Some((resident, _)) if *resident <= MEMORY_GOAL => "yes",
            Some(_) => "no",
            None => "–",
        };
        write!(out, "| octets per idle connection, resident |")?;
        for peer in peers {
            write!(
                out,
                " {} |",
                thousands(idle.get(peer).map(|figures| figures.0))
            )?;
        }
        writeln!(out, " {MEMORY_GOAL:.0} | {reached} |")?;
        write!(out, "| octets per idle connection, mapped |")?;
        for peer in peers {
            write!(
                out,
                " {} |",
                thousands(idle.get(peer).map(|figures| figures.1))
            )?;
        }
        writeln!(out, " – | – |")?;
    }
    writeln!(
        out,
        "\nThe medians behind it (in brackets: share of the time in which the server was busy):\n"
    )?;
    writeln!(
        out,
        "| messages or connections per server CPU second | {names} |\n| --- | {}",
        rule.trim_end()
    )?;
    for (work, row) in rows {
        write!(out, "| {} |", work.name)?;
        for peer in peers {
            match row.get(peer) {
                Some(figures) => {
                    let busy = median(&figures.busy) * 100.0;
                    write!(out, " {} ({busy:.0} %) |", thousands(middle(row, *peer)))?;
                }
                None => write!(out, " – |")?,
            }
        }
        writeln!(out)?;
    }
    Ok(out)
}
