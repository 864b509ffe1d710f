//! What TLS costs in `heirloom serve`, beside HAProxy and nginx that end TLS before it.
//!
//! `cargo bench --bench tls -- [--quick] [--write] [--servers LIST] [--rounds N] [FILTER]`
//!
//! Work is counted per second of processor time of all that serves: of `heirloom serve` alone, or of the terminator
//! and the plain `heirloom serve` behind it. The generator is a client of TLS 1.3, the same for all, on another core.

#![forbid(unsafe_code)]
#![allow(
    clippy::indexing_slicing,
    reason = "a fault of the bench should stop the bench"
)]

#[allow(dead_code, reason = "the other benches use the rest")]
mod generator;
#[allow(dead_code, reason = "the other benches use the rest")]
mod machine;
mod options;
mod secure;
#[allow(dead_code, reason = "the other benches use the rest")]
mod table;
mod terminator;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use generator::{Count, Script, Talk, Trips, Wire};
use options::{Options, Rival};
use secure::{Certificate, Greetings, Secure};
use table::{cell, median, thousands};
use terminator::{Buffers, Line, Peer};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const KIB: usize = 1024;

#[derive(Clone, Copy)]
enum Kind {
    Echo { size: usize, in_flight: usize },
    Handshakes { resumes: bool },
}

struct Work {
    name: &'static str,
    kind: Kind,
    goal: f64,
}

const fn echo(name: &'static str, size: usize, in_flight: usize) -> Work {
    Work {
        name,
        kind: Kind::Echo { size, in_flight },
        goal: ECHO_GOAL,
    }
}

const fn handshakes(name: &'static str, resumes: bool) -> Work {
    Work {
        name,
        kind: Kind::Handshakes { resumes },
        goal: HANDSHAKE_GOAL,
    }
}

/// So many messages where the better of the others, with the server behind it, gets one done.
const ECHO_GOAL: f64 = 1.2;
/// So many handshakes where HAProxy, without the server behind it, gets one done.
const HANDSHAKE_GOAL: f64 = 0.9;

const WORKS: [Work; 5] = [
    echo("125 B, 1 in flight", 125, 1),
    echo("125 B, 16 in flight", 125, 16),
    echo("16 KiB, 1 in flight", 16 * KIB, 1),
    handshakes("handshakes", false),
    handshakes("handshakes, resumed", true),
];

/// Connections in the works of echoes.
const TALKING: usize = 100;
/// Handshakes at once.
const AT_ONCE: usize = 32;

const MEMORY: &str = "idle memory";
const IDLE: usize = 4000;
/// Where HAProxy is 1.
const MEMORY_GOAL: f64 = 0.5;

const HALF_OPEN: &str = "half-open handshakes";
const MOST_HALF_OPEN: usize = 10_000;
/// Round trips before and meanwhile.
const TRIPS: usize = 3000;

fn main() -> Result<()> {
    let options = Options::<Peer>::parse()?;
    if !options.bench {
        println!("nothing measured: this runs under `cargo bench --bench tls`");
        return Ok(());
    }
    let missing: Vec<String> = options
        .rivals
        .iter()
        .filter_map(|peer| peer.program().err())
        .collect();
    if !missing.is_empty() {
        let missing = missing.join("\n");
        eprintln!("{missing}\nor leave it out: --servers heirloom,haproxy");
        std::process::exit(1);
    }
    machine::pin_generator()?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tls-certificate");
    std::fs::create_dir_all(&folder)?;
    let certificate = Certificate::make(&folder)?;
    let mut figures = Figures::default();
    for work in WORKS.iter().filter(|w| w.name.contains(&options.filter)) {
        let row = measure(work, &certificate, &options)?;
        figures.rows.push((work, row));
    }
    if MEMORY.contains(&options.filter) {
        figures.idle = measure_memory(&certificate, &options)?;
    }
    if HALF_OPEN.contains(&options.filter) && options.rivals.contains(&Peer::Heirloom) {
        figures.half_open = Some(measure_half_open(&certificate)?);
    }
    let table = tables(&figures, &options)?;
    print!("{table}");
    if options.write {
        table::write_page("tls", &table)?;
    }
    Ok(())
}

/// All that is measured.
#[derive(Default)]
struct Figures {
    rows: Vec<(&'static Work, Row)>,
    idle: BTreeMap<Peer, Idle>,
    half_open: Option<HalfOpen>,
}

/// One's figures in one work, a value per round.
#[derive(Clone, Default)]
struct Rates {
    /// Done per second of processor time of all that serves.
    of_all: Vec<f64>,
    /// The same of the terminator alone.
    alone: Vec<f64>,
    /// The share of the round in which one of them was on the processor.
    busy: Vec<f64>,
}

type Row = BTreeMap<Peer, Rates>;

enum Client {
    Talk(Box<Talk<Secure>>),
    Greetings(Box<Greetings>),
}

impl Client {
    fn open(work: &Work, line: &Line, certificate: &Certificate) -> Result<Client> {
        let address = line.front.address;
        Ok(match work.kind {
            Kind::Echo { size, in_flight } => {
                let script = Script::new(Wire::Rfc6455, size, false, false)?;
                let config = certificate.client()?;
                let open = || Secure::of(secure::open(address, &config, &script)?);
                let links = (0..TALKING).map(|_| open()).collect::<Result<_>>()?;
                Client::Talk(Box::new(Talk::of(links, &script, in_flight)?))
            }
            Kind::Handshakes { resumes } => {
                let script = Script::new(Wire::Rfc6455, 125, false, true)?;
                let greetings = Greetings::new(address, certificate, script, AT_ONCE, resumes)?;
                Client::Greetings(Box::new(greetings))
            }
        })
    }

    fn run(&mut self, time: Duration) -> Result<Count> {
        match self {
            Client::Talk(talk) => talk.run(time),
            Client::Greetings(greetings) => greetings.run(time),
        }
    }
}

/// Lets a server go to sleep: the kernel books a thread's time when it leaves the processor.
fn settle() {
    std::thread::sleep(Duration::from_millis(5));
}

fn measure(work: &Work, certificate: &Certificate, options: &Options<Peer>) -> Result<Row> {
    let mut running = Vec::new();
    for peer in options.rivals.iter().copied() {
        let failed = |error| format!("{}, {}: {error}", work.name, peer.name());
        let line = Line::start(peer, certificate, Buffers::Large)?;
        let mut client = Client::open(work, &line, certificate).map_err(failed)?;
        client.run(options.round_time() / 3).map_err(failed)?;
        // What talks goes before what it talks to: its end is no news.
        running.push((peer, client, line));
    }
    let mut row = Row::new();
    for _ in 0..options.rounds {
        for (peer, client, line) in &mut running {
            settle();
            let before = line.cpu()?;
            let count = client
                .run(options.round_time())
                .map_err(|error| format!("{}, {}: {error}", work.name, peer.name()))?;
            settle();
            let after = line.cpu()?;
            let spent = |after, before| Duration::from_nanos(after - before).as_secs_f64();
            let (front, behind) = (
                spent(after.front, before.front),
                spent(after.behind, before.behind),
            );
            let rates = row.entry(*peer).or_default();
            rates.of_all.push(count.done as f64 / (front + behind));
            rates.alone.push(count.done as f64 / front);
            rates.busy.push((front + behind) / count.wall.as_secs_f64());
        }
    }
    for (peer, rates) in &row {
        let low = rates.of_all.iter().copied().fold(f64::INFINITY, f64::min);
        let high = rates.of_all.iter().copied().fold(0.0, f64::max);
        eprintln!(
            "{:<22} {:<9} {:>9.0} ({low:.0} to {high:.0}), alone {:.0}, busy {:.0} %",
            work.name,
            peer.name(),
            median(&rates.of_all),
            median(&rates.alone),
            median(&rates.busy) * 100.0
        );
    }
    Ok(row)
}

/// Octets of memory per idle connection.
struct Idle {
    alone: f64,
    /// With the server behind it.
    of_all: f64,
}

fn measure_memory(
    certificate: &Certificate,
    options: &Options<Peer>,
) -> Result<BTreeMap<Peer, Idle>> {
    if machine::descriptors()? < 2 * IDLE + 200 {
        return Err(format!(
            "idle memory needs {} open files: raise the limit (ulimit -n)",
            2 * IDLE + 200
        )
        .into());
    }
    let config = certificate.client()?;
    let script = Script::new(Wire::Rfc6455, 125, false, false)?;
    let mut idle = BTreeMap::new();
    for peer in options.rivals.iter().copied() {
        let line = Line::start(peer, certificate, Buffers::Default)?;
        let address = line.front.address;
        let open = |connections| {
            secure::idle(address, &config, &script, connections)
                .map_err(|error| format!("{MEMORY}, {}: {error}", peer.name()))
        };
        // What a server sets up once is there before it is counted.
        let first = open(50)?;
        settle();
        let before = line.memory()?;
        let streams = open(IDLE)?;
        std::thread::sleep(Duration::from_millis(200));
        let after = line.memory()?;
        let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / IDLE as f64;
        let alone = each(after.front, before.front);
        let of_all = alone + each(after.behind, before.behind);
        eprintln!(
            "{MEMORY:<22} {:<9} {alone:>9.0} alone, {of_all:.0} of all",
            peer.name()
        );
        idle.insert(peer, Idle { alone, of_all });
        drop((first, streams));
    }
    Ok(idle)
}

/// Round trips of another connection, in sorted nanoseconds.
struct HalfOpen {
    /// Connections that have sent half of a ClientHello.
    connections: usize,
    before: Vec<f64>,
    /// While they come: one round trip after each.
    coming: Vec<f64>,
    /// While all of them wait.
    waiting: Vec<f64>,
}

fn measure_half_open(certificate: &Certificate) -> Result<HalfOpen> {
    let connections = MOST_HALF_OPEN.min(machine::descriptors()?.saturating_sub(500));
    let config = certificate.client()?;
    let script = Script::new(Wire::Rfc6455, 125, false, false)?;
    let line = Line::start(Peer::Heirloom, certificate, Buffers::Default)?;
    let address = line.front.address;
    let mut trips = Trips::of(secure::open(address, &config, &script)?, &script);
    trips.run(TRIPS / 3)?;
    let mut before = trips.run(TRIPS)?;
    let half = secure::half_a_hello(&config)?;
    let start = Instant::now();
    let mut streams = Vec::new();
    let mut coming = Vec::new();
    for _ in 0..connections {
        let mut stream = generator::connect(address)?;
        stream.write_all(&half)?;
        streams.push(stream);
        coming.extend(trips.run(1)?);
    }
    let mut waiting = trips.run(TRIPS)?;
    let still = streams.iter().filter(|stream| is_open(stream)).count();
    if still < connections {
        return Err(format!(
            "{} of {connections} half-open handshakes ended within {:?}, before all was measured",
            connections - still,
            start.elapsed()
        )
        .into());
    }
    for times in [&mut before, &mut coming, &mut waiting] {
        times.sort_by(f64::total_cmp);
    }
    let half_open = HalfOpen {
        connections,
        before,
        coming,
        waiting,
    };
    for (when, times) in half_open.parts() {
        eprintln!(
            "{HALF_OPEN:<22} {when:<16} {:>9.0} ns, 99 % within {:.0}",
            percentile(times, 50),
            percentile(times, 99)
        );
    }
    Ok(half_open)
}

impl HalfOpen {
    fn parts(&self) -> [(&'static str, &[f64]); 3] {
        [
            ("before", &self.before),
            ("while they come", &self.coming),
            ("while they wait", &self.waiting),
        ]
    }
}

/// Whether the server has sent nothing, and not ended the connection.
fn is_open(mut stream: &TcpStream) -> bool {
    let nothing: io::Result<usize> = stream
        .set_nonblocking(true)
        .and_then(|()| stream.read(&mut [0]));
    nothing.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Of sorted values.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let at = sorted.len() * percent / 100;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

fn tables(figures: &Figures, options: &Options<Peer>) -> Result<String> {
    let mut out = String::new();
    let peers = &options.rivals;
    let versions = peers
        .iter()
        .filter_map(|peer| peer.version().transpose())
        .collect::<Result<Vec<_>>>()?;
    let what = [&[machine::describe()?], &*versions].concat().join("; ");
    let rounds = options.rounds;
    let seconds = options.round_time().as_secs_f64();
    writeln!(
        out,
        "Measured on: {what}. {rounds} rounds of {seconds} s; {}.\n",
        secure::SUITE
    )?;
    if !figures.rows.is_empty() {
        costs(&mut out, &figures.rows, peers)?;
    }
    if !figures.idle.is_empty() {
        memory(&mut out, &figures.idle, peers)?;
    }
    if let Some(half_open) = &figures.half_open {
        waits(&mut out, half_open)?;
    }
    Ok(out)
}

/// The heads of the columns of terminators, and of `heirloom` alone.
fn heads(peers: &[Peer]) -> String {
    let heads: Vec<&str> = peers.iter().map(|peer| peer.column()).collect();
    heads.join(" | ")
}

fn costs(out: &mut String, rows: &[(&Work, Row)], peers: &[Peer]) -> Result<()> {
    let rule = "---: | ".repeat(peers.len());
    let heads = heads(peers);
    writeln!(
        out,
        "Messages or handshakes per second of processor time of all that serves; in brackets, of the terminator \
         alone. The ratio is to all for messages, and to the terminator alone for handshakes:\n\n\
         | work | {heads} | to HAProxy | to nginx | goal | reached |\n\
         | --- | {rule}---: | ---: | ---: | --- |"
    )?;
    for (work, row) in rows {
        write!(out, "| {} |", work.name)?;
        for peer in peers {
            match row.get(peer) {
                Some(rates) if *peer == Peer::Heirloom => {
                    write!(out, " {} |", thousands(Some(median(&rates.of_all))))?;
                }
                Some(rates) => {
                    let all = thousands(Some(median(&rates.of_all)));
                    let alone = thousands(Some(median(&rates.alone)));
                    write!(out, " {all} ({alone}) |")?;
                }
                None => write!(out, " – |")?,
            }
        }
        let ours = row.get(&Peer::Heirloom).map(|rates| &*rates.of_all);
        let to = |peer| {
            let theirs = row.get(&peer)?;
            let theirs = match work.kind {
                Kind::Echo { .. } => &theirs.of_all,
                Kind::Handshakes { .. } => &theirs.alone,
            };
            Some(table::ratio(ours?, theirs))
        };
        let (haproxy, nginx) = (to(Peer::Haproxy), to(Peer::Nginx));
        let judged = match work.kind {
            // Beside the one that does better.
            Kind::Echo { .. } => [haproxy, nginx].into_iter().flatten().reduce(f64::min),
            Kind::Handshakes { .. } => haproxy,
        };
        // Judged as printed: a third digit is noise.
        let reached = judged.map(|ratio| (ratio * 100.0).round() >= work.goal * 100.0);
        writeln!(
            out,
            " {} | {} | {:.1} | {} |",
            cell(haproxy, 2),
            cell(nginx, 2),
            work.goal,
            yes_or_no(reached)
        )?;
    }
    write!(out, "\nThe share of the time in which they were busy:")?;
    for (index, (work, row)) in rows.iter().enumerate() {
        let shares: Vec<String> = row
            .values()
            .map(|rates| format!("{:.0} %", median(&rates.busy) * 100.0))
            .collect();
        let end = if index + 1 < rows.len() { ";" } else { "." };
        write!(out, " {}: {}{end}", work.name, shares.join(", "))?;
    }
    writeln!(out)?;
    Ok(())
}

fn yes_or_no(reached: Option<bool>) -> &'static str {
    match reached {
        Some(true) => "yes",
        Some(false) => "no",
        None => "–",
    }
}

fn memory(out: &mut String, idle: &BTreeMap<Peer, Idle>, peers: &[Peer]) -> Result<()> {
    let rule = "---: | ".repeat(peers.len());
    let heads = heads(peers);
    writeln!(
        out,
        "\nOctets of memory per idle connection, of {IDLE}; in brackets, of the terminator alone:\n\n\
         | memory | {heads} | to HAProxy alone | goal | reached |\n\
         | --- | {rule}---: | ---: | --- |"
    )?;
    write!(out, "| octets |")?;
    for peer in peers {
        let figures = idle.get(peer);
        let all = thousands(figures.map(|idle| idle.of_all));
        let alone = thousands(figures.map(|idle| idle.alone));
        if *peer == Peer::Heirloom {
            write!(out, " {all} |")?;
        } else {
            write!(out, " {all} ({alone}) |")?;
        }
    }
    let alone = |peer| idle.get(&peer).map(|idle| idle.alone);
    let ratio = alone(Peer::Heirloom)
        .zip(alone(Peer::Haproxy))
        .map(|(ours, theirs)| ours / theirs);
    let reached = ratio.map(|ratio| (ratio * 100.0).round() <= MEMORY_GOAL * 100.0);
    writeln!(
        out,
        " {} | {MEMORY_GOAL:.1} | {} |",
        cell(ratio, 2),
        yes_or_no(reached)
    )?;
    Ok(())
}

fn waits(out: &mut String, half_open: &HalfOpen) -> Result<()> {
    writeln!(
        out,
        "\nRound trips of 125 B over TLS on one connection, in microseconds, beside {} half-open handshakes:\n\n\
         | when | median | 99 % within | longest |\n\
         | --- | ---: | ---: | ---: |",
        thousands(Some(half_open.connections as f64))
    )?;
    for (when, times) in half_open.parts() {
        let micro = |nanoseconds: f64| nanoseconds / 1e3;
        writeln!(
            out,
            "| {when} | {:.1} | {:.1} | {:.0} |",
            micro(percentile(times, 50)),
            micro(percentile(times, 99)),
            micro(times.last().copied().unwrap_or(f64::NAN))
        )?;
    }
    Ok(())
}
