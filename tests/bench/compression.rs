//! How much `heirloom serve` gets done per second of processor time with permessage-deflate, and how small its messages
//! become, beside npm's ws and two libraries of Rust.
//!
//! `cargo bench --bench compression -- [--quick] [--write] [--servers LIST] [--rounds N] [FILTER]`
//!
//! As in `loopback`, servers run one at a time on one core, and this process speaks to them from another.

#![forbid(unsafe_code)]
#![allow(
    clippy::indexing_slicing,
    reason = "a fault of the bench should stop the bench"
)]

mod deflated;
mod deflater;
#[allow(dead_code, reason = "the other benches use the rest")]
mod machine;
mod options;
mod samples;
mod table;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use deflated::{Deflated, Load, Offer};
use machine::{SERVER_CORE, Server};
use options::{Options, Rival};
use samples::Text;
use table::{cell, median, thousands};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    Heirloom,
    Ws,
    Yawc,
    Sockudo,
}

const PEERS: [Peer; 4] = [Peer::Heirloom, Peer::Ws, Peer::Yawc, Peer::Sockudo];
const RUST_PEERS: [Peer; 2] = [Peer::Yawc, Peer::Sockudo];

impl Rival for Peer {
    const OPTION: &'static str = "--servers";
    const ALL: &'static [Peer] = &PEERS;

    fn name(self) -> &'static str {
        match self {
            Peer::Heirloom => "heirloom",
            Peer::Ws => "ws",
            Peer::Yawc => "yawc",
            Peer::Sockudo => "sockudo-ws",
        }
    }
}

struct Work {
    offer: Offer,
    text: Text,
    size: usize,
    in_flight: usize,
}

const KIB: usize = 1024;
const SIZES: [usize; 4] = [125, KIB, 16 * KIB, 1024 * KIB];

/// For messages of 1 KiB and 16 KiB: work where the best Rust peer is 1, and octets where that peer's are 1.
const WORK_GOAL: f64 = 1.5;
const SIZE_GOAL: f64 = 1.1;

fn works() -> Vec<Work> {
    let mut works = Vec::new();
    for offer in [Offer::OwnContexts, Offer::Takeover] {
        for text in [Text::Json, Text::Prose] {
            for size in SIZES {
                works.extend([1, 16].map(|in_flight| Work {
                    offer,
                    text,
                    size,
                    in_flight,
                }));
            }
        }
    }
    works
}

impl Work {
    fn name(&self) -> String {
        let text = match self.text {
            Text::Json => "JSON",
            Text::Prose => "prose",
        };
        let size = match self.size {
            size @ 0..KIB => format!("{size} B"),
            size if size < KIB * KIB => format!("{} KiB", size / KIB),
            size => format!("{} MiB", size / KIB / KIB),
        };
        format!("{text} {size}, {} in flight", self.in_flight)
    }

    /// With the mode, for the filter and for faults.
    fn whole_name(&self) -> String {
        format!("{}: {}", mode(self.offer), self.name())
    }

    fn connections(&self) -> usize {
        match self.size {
            0..=KIB => 50,
            size if size <= 16 * KIB => 20,
            _ => 4,
        }
    }

    /// A message does not come again while it is within the window.
    fn load(&self) -> Result<Load> {
        let count = (128 * KIB / self.size).next_multiple_of(16).max(16);
        let messages = samples::messages(self.text, self.size, count);
        Load::new(messages, self.in_flight, self.offer)
    }

    fn has_goal(&self) -> bool {
        matches!(self.size, 1024 | 16_384)
    }
}

fn mode(offer: Offer) -> &'static str {
    match offer {
        Offer::Nothing => "off",
        Offer::OwnContexts => "shared",
        Offer::Takeover => "per-connection",
    }
}

const MEMORY: &str = "idle memory";
const IDLE: usize = 10_000;
/// Octets of user space that compression may add to an idle connection.
const MEMORY_GOAL: f64 = 16.0;

fn main() -> Result<()> {
    let options = Options::<Peer>::parse()?;
    if !options.bench {
        println!("nothing measured: this runs under `cargo bench --bench compression`");
        return Ok(());
    }
    machine::pin_generator()?;
    let mut rows = Vec::new();
    for work in works() {
        if work.whole_name().contains(&options.filter) {
            let row = measure(&work, &options)?;
            rows.push((work, row));
        }
    }
    let mut idle = Vec::new();
    if MEMORY.contains(&options.filter) {
        for offer in [Offer::Nothing, Offer::OwnContexts] {
            idle.push((offer, measure_memory(offer)?));
        }
    }
    let mut table = table(&rows, &idle, &options.rivals)?;
    if deflater::SHORT.contains(&options.filter) {
        table += &deflater::short_messages()?;
    }
    if deflater::LEVELS.contains(&options.filter) {
        table += &deflater::levels()?;
    }
    print!("{table}");
    if options.write {
        table::write_page("compression", &table)?;
    }
    Ok(())
}

/// One server's figures in one work.
#[derive(Clone, Default)]
struct Figures {
    per_cpu_second: Vec<f64>,
    /// Octets of payload that come back for a message.
    octets: Vec<f64>,
}

type Row = BTreeMap<Peer, Figures>;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/compression-peers");

fn start(peer: Peer, offer: Offer) -> Result<Server> {
    let context = match offer {
        Offer::Takeover => "context",
        _ => "own",
    };
    let command = match peer {
        Peer::Heirloom => machine::heirloom(SERVER_CORE, &["serve", "--compression", mode(offer)]),
        Peer::Ws => {
            let folder = Path::new(FOLDER);
            if !folder.join("node_modules/ws").exists() {
                return Err(format!("ws is missing: npm ci --prefix {FOLDER}").into());
            }
            let mut command = machine::on_core(SERVER_CORE, "node");
            command.arg(folder.join("ws.js")).arg(context);
            command
        }
        Peer::Yawc | Peer::Sockudo => rust_peer(peer, context)?,
    };
    Server::start(peer.name(), command)
}

fn rust_peer(peer: Peer, context: &str) -> Result<Command> {
    let built = std::env::var("COMPRESSION_PEERS")
        .unwrap_or_else(|_| format!("{FOLDER}/target/release/compression-peers"));
    if !Path::new(&built).exists() {
        let how = format!("cargo build --release --locked --manifest-path {FOLDER}/Cargo.toml");
        return Err(format!("{built} is missing: {how}").into());
    }
    let mut command = machine::on_core(SERVER_CORE, built);
    command.args([peer.name(), context]);
    Ok(command)
}

/// Lets the server go to sleep: the kernel books a thread's time when it leaves the processor.
fn settle() {
    std::thread::sleep(Duration::from_millis(5));
}

fn measure(work: &Work, options: &Options<Peer>) -> Result<Row> {
    // There are many works, so each gets less time than in other benches.
    let time = options.round_time() / 3;
    let name = work.whole_name();
    let mut running = Vec::new();
    for peer in options.rivals.iter().copied() {
        let server = start(peer, work.offer)?;
        let client = Deflated::open(server.address, work.load()?, work.connections());
        let mut client = client.map_err(|error| format!("{name}, {}: {error}", peer.name()))?;
        client
            .run(time, false)
            .map_err(|error| format!("{name}, {}: {error}", peer.name()))?;
        running.push((peer, server, client));
    }
    let mut row = Row::new();
    for _ in 0..options.rounds {
        for (peer, server, client) in &mut running {
            settle();
            let before = server.cpu()?;
            let done = client
                .run(time, false)
                .map_err(|error| format!("{name}, {}: {error}", peer.name()))?;
            settle();
            let spent = Duration::from_nanos(server.cpu()? - before).as_secs_f64();
            let figures = row.entry(*peer).or_default();
            let messages = done.messages as f64;
            figures.per_cpu_second.push(messages / spent);
            figures.octets.push(done.octets as f64 / messages);
        }
    }
    for (peer, figures) in &row {
        let (each, octets) = (median(&figures.per_cpu_second), median(&figures.octets));
        let peer = peer.name();
        eprintln!("{name:<44} {peer:<11} {each:>9.0} per CPU second, {octets:>7.0} octets");
    }
    Ok(row)
}

/// Octets of the server's own for an idle connection.
fn measure_memory(offer: Offer) -> Result<f64> {
    if machine::descriptors()? < IDLE + 300 {
        return Err(format!(
            "idle memory needs {IDLE} open files and some: raise the limit (ulimit -n)"
        )
        .into());
    }
    let server = start(Peer::Heirloom, offer)?;
    let messages = samples::messages(Text::Json, KIB, 1);
    let load = Load::new(messages, 1, offer)?;
    // What a server sets up once is there before it is counted: the compressor has used all of its room.
    let first = deflated::idle(server.address, &load, 200)?;
    settle();
    let before = server.memory()?;
    let streams = deflated::idle(server.address, &load, IDLE)
        .map_err(|error| format!("{MEMORY}, {}: {error}", mode(offer)))?;
    std::thread::sleep(Duration::from_millis(200));
    let after = server.memory()?;
    let each = after.resident.saturating_sub(before.resident) as f64 / IDLE as f64;
    eprintln!("{MEMORY}, {:<31} {each:>9.1} resident", mode(offer));
    drop((first, streams));
    Ok(each)
}

/// The Rust peer that gets the most done.
fn best(row: &Row) -> Option<Peer> {
    let work = |peer: &Peer| row.get(peer).map(|figures| median(&figures.per_cpu_second));
    RUST_PEERS
        .into_iter()
        .filter(|peer| row.contains_key(peer))
        .max_by(|one, other| {
            let (one, other) = (work(one).unwrap_or(0.0), work(other).unwrap_or(0.0));
            one.total_cmp(&other)
        })
}

fn table(rows: &[(Work, Row)], idle: &[(Offer, f64)], peers: &[Peer]) -> Result<String> {
    let mut out = format!("Measured on: {}.\n", machine::describe()?);
    for offer in [Offer::OwnContexts, Offer::Takeover] {
        let rows: Vec<_> = rows
            .iter()
            .filter(|(work, _)| work.offer == offer)
            .collect();
        if !rows.is_empty() {
            table_of_mode(&mut out, offer, &rows, peers)?;
        }
    }
    if let [(_, off), (_, on)] = idle {
        let added = on - off;
        let reached = if added.round() <= MEMORY_GOAL {
            "yes"
        } else {
            "no"
        };
        writeln!(
            out,
            "\n| octets per idle connection | off | shared | added | goal | reached |"
        )?;
        writeln!(out, "| --- | ---: | ---: | ---: | ---: | --- |")?;
        writeln!(
            out,
            "| resident | {off:.0} | {on:.0} | {added:.0} | {MEMORY_GOAL:.0} | {reached} |"
        )?;
    }
    Ok(out)
}

fn table_of_mode(
    out: &mut String,
    offer: Offer,
    rows: &[&(Work, Row)],
    peers: &[Peer],
) -> Result<()> {
    let names = peers
        .iter()
        .map(|peer| peer.name())
        .collect::<Vec<_>>()
        .join(" | ");
    let rule = "---: | ".repeat(peers.len());
    let title = match offer {
        Offer::Takeover => "with context takeover (`per-connection`)",
        _ => "each compressed on its own (`shared`)",
    };
    writeln!(
        out,
        "\nMessages per server CPU second, {title}; in brackets the octets that come back:\n"
    )?;
    writeln!(
        out,
        "| work | {names} | to the best Rust peer | octets to its | reached |"
    )?;
    writeln!(out, "| --- | {rule}---: | ---: | --- |")?;
    for (work, row) in rows {
        write!(out, "| {} |", work.name())?;
        for peer in peers {
            match row.get(peer) {
                Some(figures) => {
                    let (each, octets) = (median(&figures.per_cpu_second), median(&figures.octets));
                    write!(
                        out,
                        " {} ({}) |",
                        thousands(Some(each)),
                        thousands(Some(octets))
                    )?;
                }
                None => write!(out, " – |")?,
            }
        }
        let rivals = best(row).and_then(|best| Some((row.get(&Peer::Heirloom)?, row.get(&best)?)));
        let ratio =
            rivals.map(|(own, best)| table::ratio(&own.per_cpu_second, &best.per_cpu_second));
        let octets = rivals.map(|(own, best)| median(&own.octets) / median(&best.octets));
        let reached = match (ratio, octets) {
            (Some(ratio), Some(octets)) if work.has_goal() => {
                // Judged as printed.
                let printed = |value: f64| (value * 100.0).round() / 100.0;
                if printed(ratio) >= WORK_GOAL && printed(octets) <= SIZE_GOAL {
                    "yes"
                } else {
                    "no"
                }
            }
            _ => "–",
        };
        writeln!(
            out,
            " {} | {} | {reached} |",
            cell(ratio, 2),
            cell(octets, 2)
        )?;
    }
    Ok(())
}
