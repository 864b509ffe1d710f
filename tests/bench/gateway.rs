//! What `heirloom gateway` costs per message, beside HAProxy in tcp mode and websockify.
//!
//! `cargo bench --bench gateway -- [--quick] [--write] [--middles LIST] [--rounds N] [FILTER]`
//!
//! One backend, one generator, and in turn each of the three between them, alone on its core. What counts is messages
//! per second that what stands *between* spent on the processor, and how much longer a round trip through it takes.

#![forbid(unsafe_code)]
#![allow(
    clippy::indexing_slicing,
    reason = "a fault of the bench should stop the bench"
)]

#[allow(dead_code, reason = "loopback uses the rest")]
mod generator;
#[allow(dead_code, reason = "loopback uses the rest")]
mod machine;
mod options;
mod servers;
mod table;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use generator::{Script, Talk, Trips, Wire};
use machine::{GENERATOR_CORE, SERVER_CORE, Server, on_core};
use options::{Options, Rival};
use table::{cell, median, thousands};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What stands between.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Middle {
    Heirloom,
    Haproxy,
    Websockify,
}

const MIDDLES: [Middle; 3] = [Middle::Heirloom, Middle::Haproxy, Middle::Websockify];

impl Rival for Middle {
    const OPTION: &'static str = "--middles";
    const ALL: &'static [Middle] = &MIDDLES;

    fn name(self) -> &'static str {
        match self {
            Middle::Heirloom => "heirloom",
            Middle::Haproxy => "haproxy",
            Middle::Websockify => "websockify",
        }
    }
}

impl Middle {
    /// HAProxy copies whatever comes; websockify has forgotten hixie-76.
    fn speaks(self, wire: Wire) -> bool {
        wire == Wire::Rfc6455 || self != Middle::Websockify
    }

    /// The program, or how one gets it.
    fn program(self) -> std::result::Result<PathBuf, String> {
        if self == Middle::Heirloom {
            return Ok(PathBuf::from(env!("CARGO_BIN_EXE_heirloom")));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Debian keeps HAProxy where only root looks.
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let name = self.name();
        let found = folders
            .map(|folder| folder.join(name))
            .find(|file| file.is_file());
        found.ok_or_else(|| {
            format!("{name} is missing: `apt-get install --no-install-recommends {name}`")
        })
    }

    fn version(self) -> Result<String> {
        let program = self.program()?;
        Ok(match self {
            Middle::Heirloom => format!("heirloom {}", env!("CARGO_PKG_VERSION")),
            Middle::Haproxy => {
                let said = Command::new(program).arg("-v").output()?.stdout;
                let said = String::from_utf8_lossy(&said).into_owned();
                let number = said.split_whitespace().nth(2).unwrap_or("?");
                format!("HAProxy {}", number.split('-').next().unwrap_or(number))
            }
            // It does not say, but the Python that runs it knows.
            Middle::Websockify => {
                let script = std::fs::read_to_string(&program).unwrap_or_default();
                let python = script
                    .lines()
                    .next()
                    .and_then(|line| line.strip_prefix("#!"));
                let ask = "import importlib.metadata as m; print(m.version('websockify'))";
                let mut words = python.unwrap_or("/usr/bin/python3").split_whitespace();
                let said = Command::new(words.next().unwrap_or("python3"))
                    .args(words)
                    .args(["-c", ask])
                    .output()?
                    .stdout;
                format!("websockify {}", String::from_utf8_lossy(&said).trim())
            }
        })
    }
}

struct Work {
    name: &'static str,
    wire: Wire,
    size: usize,
    connections: usize,
    in_flight: usize,
}

const fn work(name: &'static str, wire: Wire, size: usize, in_flight: usize) -> Work {
    Work {
        name,
        wire,
        size,
        connections: if size < MIB { 100 } else { 8 },
        in_flight,
    }
}

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

const WORKS: [Work; 8] = [
    work("rfc6455 125 B, 1 in flight", Wire::Rfc6455, 125, 1),
    work("rfc6455 125 B, 16 in flight", Wire::Rfc6455, 125, 16),
    work("rfc6455 16 KiB, 1 in flight", Wire::Rfc6455, 16 * KIB, 1),
    work("rfc6455 1 MiB, 1 in flight", Wire::Rfc6455, MIB, 1),
    work("hixie-76 125 B, 1 in flight", Wire::Hixie76, 125, 1),
    work("hixie-76 125 B, 16 in flight", Wire::Hixie76, 125, 16),
    work("hixie-76 16 KiB, 1 in flight", Wire::Hixie76, 16 * KIB, 1),
    work("hixie-76 1 MiB, 1 in flight", Wire::Hixie76, MIB, 1),
];

const LATENCY: &str = "latency";
/// Round trips in one round of latency, and before the first.
const TRIPS: usize = 1500;
const WARM: usize = 200;

/// At most one and a half times HAProxy's processor time per message.
const HAPROXY_GOAL: f64 = 1.0 / 1.5;
/// So many messages where websockify gets one done.
const WEBSOCKIFY_GOAL: f64 = 10.0;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--server") {
        let role = arguments.next().ok_or("--server takes a role")?;
        return servers::run(&role, 0);
    }
    let options = Options::<Middle>::parse()?;
    if !options.bench {
        println!("nothing measured: this runs under `cargo bench --bench gateway`");
        return Ok(());
    }
    let missing: Vec<String> = options
        .rivals
        .iter()
        .filter_map(|middle| middle.program().err())
        .collect();
    if !missing.is_empty() {
        let missing = missing.join("\n");
        eprintln!("{missing}\nor leave it out: --middles heirloom,haproxy");
        std::process::exit(1);
    }
    machine::pin_generator()?;
    let mut rows = Vec::new();
    for work in WORKS.iter().filter(|w| w.name.contains(&options.filter)) {
        rows.push((work, measure(work, &options)?));
    }
    let mut latencies = Vec::new();
    if LATENCY.contains(&options.filter) {
        for (name, wire) in [("rfc6455", Wire::Rfc6455), ("hixie-76", Wire::Hixie76)] {
            latencies.push((name, measure_latency(name, wire, &options)?));
        }
    }
    let table = tables(&rows, &latencies, &options)?;
    print!("{table}");
    if options.write {
        table::write_page("gateway", &table)?;
    }
    Ok(())
}

/// Something between and the backend behind it. The first goes before the second.
struct Line {
    middle: Server,
    _backend: Server,
    _folder: Option<Folder>,
}

/// A folder for one file of settings, gone with its line.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The WebSocket echo that stands behind all but websockify.
fn backend() -> Result<Server> {
    Server::start("the backend", machine::heirloom(GENERATOR_CORE, &["serve"]))
}

/// `core`: where what stands between runs.
fn line(middle: Middle, core: &str) -> Result<Line> {
    let name = middle.name();
    let behind = match middle {
        // It ends WebSocket itself and has plain TCP behind it.
        Middle::Websockify => Server::start("bare", machine::own(GENERATOR_CORE, "bare", 0)?)?,
        _ => backend()?,
    };
    let to = behind.address;
    let mut folder = None;
    let server = match middle {
        Middle::Heirloom => {
            let url = format!("ws://{to}");
            Server::start(name, machine::heirloom(core, &["gateway", "--to", &url]))?
        }
        Middle::Haproxy => {
            let at = free_address()?;
            let settings = folder.insert(settings_folder()?).0.join("haproxy.cfg");
            std::fs::write(&settings, haproxy_settings(at, to))?;
            let mut command = on_core(core, middle.program()?);
            command.arg("-db").arg("-f").arg(&settings);
            Server::start_at(name, command, at)?
        }
        Middle::Websockify => {
            let at = free_address()?;
            let mut command = on_core(core, middle.program()?);
            command.args([at.to_string(), to.to_string()]);
            Server::start_at(name, command, at)?
        }
    };
    Ok(Line {
        middle: server,
        _backend: behind,
        _folder: folder,
    })
}

/// One thread, as the gateway has one worker, and a buffer as large as a read of the gateway's. All else is what HAProxy
/// does by itself.
fn haproxy_settings(at: SocketAddr, to: SocketAddr) -> String {
    format!(
        "global\n  nbthread 1\n  tune.bufsize 65536\n  maxconn 1000\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n\
         listen bench\n  bind {at}\n  server backend {to}\n"
    )
}

fn settings_folder() -> Result<Folder> {
    let name = format!("heirloom-bench-{}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(Folder(folder))
}

/// An address where nothing listens now, for programs that cannot choose one.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn script(wire: Wire, size: usize) -> Result<Script> {
    Script::new(wire, size, false, false)?.in_any_frames(wire)
}

/// Lets what stands between go to sleep: the kernel books a thread's time when it leaves the processor.
fn settle() {
    std::thread::sleep(Duration::from_millis(5));
}

/// One's figures in one work.
#[derive(Clone, Default)]
struct Figures {
    /// Messages there and back per second of its processor time, a value per round.
    per_cpu_second: Vec<f64>,
    /// The share of the round in which it was on the processor.
    busy: Vec<f64>,
}

type Row = BTreeMap<Middle, Figures>;

fn measure(work: &Work, options: &Options<Middle>) -> Result<Row> {
    let script = script(work.wire, work.size)?;
    let mut running = Vec::new();
    for middle in options.rivals.iter().copied() {
        if !middle.speaks(work.wire) {
            continue;
        }
        let failed = |error| format!("{}, {}: {error}", work.name, middle.name());
        let line = line(middle, SERVER_CORE)?;
        let mut talk = Talk::open(
            line.middle.address,
            &script,
            work.connections,
            work.in_flight,
        )
        .map_err(failed)?;
        talk.run(options.round_time() / 3).map_err(failed)?;
        // What talks goes before what it talks to: its end is no news.
        running.push((middle, talk, line));
    }
    let mut row = Row::new();
    for _ in 0..options.rounds {
        for (middle, talk, line) in &mut running {
            settle();
            let before = line.middle.cpu_of_all()?;
            let count = talk
                .run(options.round_time())
                .map_err(|error| format!("{}, {}: {error}", work.name, middle.name()))?;
            settle();
            let spent = Duration::from_nanos(line.middle.cpu_of_all()? - before).as_secs_f64();
            let figures = row.entry(*middle).or_default();
            figures.per_cpu_second.push(count.done as f64 / spent);
            figures.busy.push(spent / count.wall.as_secs_f64());
        }
    }
    for (middle, figures) in &row {
        let values = &figures.per_cpu_second;
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        let (name, middle, busy) = (middle.name(), median(values), median(&figures.busy) * 100.0);
        eprintln!(
            "{:<30} {name:<12} {middle:>10.0} ({low:.0} to {high:.0}), busy {busy:.0} %",
            work.name
        );
    }
    Ok(row)
}

/// Nanoseconds of a round trip; direct where nothing stands between.
type Latencies = Vec<(Option<Middle>, Vec<f64>)>;

/// All on one core: only one of them has something to do at a time, and a core that has to be woken for it makes
/// it wait several times as long as all the work takes.
fn measure_latency(name: &str, wire: Wire, options: &Options<Middle>) -> Result<Latencies> {
    let script = script(wire, 125)?;
    let direct = backend()?;
    let mut running = vec![(None, Trips::open(direct.address, &script)?, None)];
    for middle in options.rivals.iter().copied() {
        if middle.speaks(wire) {
            let line = line(middle, GENERATOR_CORE)?;
            let trips = Trips::open(line.middle.address, &script)?;
            running.push((Some(middle), trips, Some(line)));
        }
    }
    let mut latencies: Latencies = running
        .iter()
        .map(|(middle, ..)| (*middle, Vec::new()))
        .collect();
    for _ in 0..options.rounds {
        for ((_, trips, _), (_, times)) in running.iter_mut().zip(&mut latencies) {
            trips.run(WARM)?;
            times.extend(trips.run(TRIPS)?);
        }
    }
    for (_, times) in &mut latencies {
        times.sort_by(f64::total_cmp);
    }
    for (middle, times) in &latencies {
        let (middle, p99) = (middle.map_or("direct", Middle::name), percentile(times, 99));
        let half = percentile(times, 50);
        eprintln!("{name} {LATENCY:<21} {middle:<12} {half:>10.0} ns, 99 % within {p99:.0}");
    }
    Ok(latencies)
}

/// Of sorted values.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let at = sorted.len() * percent / 100;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

fn tables(
    rows: &[(&Work, Row)],
    latencies: &[(&str, Latencies)],
    options: &Options<Middle>,
) -> Result<String> {
    let mut out = String::new();
    let middles = &options.rivals;
    let versions = middles
        .iter()
        .filter(|middle| **middle != Middle::Heirloom)
        .map(|middle| middle.version())
        .collect::<Result<Vec<_>>>()?;
    let what = [&[machine::describe()?], &*versions].concat().join("; ");
    writeln!(out, "Measured on: {what}.\n")?;
    if !rows.is_empty() {
        costs(&mut out, rows, middles)?;
    }
    if !latencies.is_empty() {
        waits(&mut out, latencies)?;
    }
    Ok(out)
}

fn costs(out: &mut String, rows: &[(&Work, Row)], middles: &[Middle]) -> Result<()> {
    let names = middles
        .iter()
        .map(|middle| middle.name())
        .collect::<Vec<_>>()
        .join(" | ");
    let rule = "---: | ".repeat(middles.len());
    writeln!(
        out,
        "Messages per second of processor time of what stands between, HAProxy is 1; and how many \
         the gateway gets done where websockify gets one done:\n"
    )?;
    writeln!(
        out,
        "| work | {names} | goal | reached | to websockify | goal | reached |\n\
         | --- | {rule}---: | --- | ---: | ---: | --- |"
    )?;
    for (work, row) in rows {
        let values = |middle| row.get(&middle).map(|figures| &*figures.per_cpu_second);
        let ratio = |one, other| Some(table::ratio(values(one)?, values(other)?));
        write!(out, "| {} |", work.name)?;
        for middle in middles {
            write!(out, " {} |", cell(ratio(*middle, Middle::Haproxy), 2))?;
        }
        let to_haproxy = ratio(Middle::Heirloom, Middle::Haproxy);
        let to_websockify = ratio(Middle::Heirloom, Middle::Websockify);
        writeln!(
            out,
            " {HAPROXY_GOAL:.2} | {} | {} | {} | {} |",
            reached(to_haproxy, HAPROXY_GOAL, 2),
            cell(to_websockify, 1),
            cell(to_websockify.map(|_| WEBSOCKIFY_GOAL), 0),
            reached(to_websockify, WEBSOCKIFY_GOAL, 1),
        )?;
    }
    writeln!(
        out,
        "\nThe medians behind it (in brackets: share of the time in which it was busy):\n"
    )?;
    writeln!(
        out,
        "| messages per CPU second | {names} |\n| --- | {}",
        rule.trim_end()
    )?;
    for (work, row) in rows {
        write!(out, "| {} |", work.name)?;
        for middle in middles {
            match row.get(middle) {
                Some(figures) => {
                    let busy = median(&figures.busy) * 100.0;
                    let figure = thousands(Some(median(&figures.per_cpu_second)));
                    write!(out, " {figure} ({busy:.0} %) |")?;
                }
                None => write!(out, " – |")?,
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Judged as printed: the next digit is noise.
fn reached(value: Option<f64>, goal: f64, digits: i32) -> &'static str {
    let printed = |value: f64| (value * 10f64.powi(digits)).round();
    match value {
        Some(value) if printed(value) >= printed(goal) => "yes",
        Some(_) => "no",
        None => "–",
    }
}

fn waits(out: &mut String, latencies: &[(&str, Latencies)]) -> Result<()> {
    writeln!(
        out,
        "\nRound trips of 125 B, one connection, in microseconds:\n"
    )?;
    writeln!(
        out,
        "| version | through | median | added to direct | 99 % within |\n| --- | --- | ---: | ---: | ---: |"
    )?;
    for (name, latencies) in latencies {
        let micro = |times: &[f64], percent| percentile(times, percent) / 1e3;
        let direct = latencies
            .first()
            .map_or(f64::NAN, |(_, times)| micro(times, 50));
        for (middle, times) in latencies {
            let half = micro(times, 50);
            let added = middle.map(|_| half - direct);
            writeln!(
                out,
                "| {name} | {} | {half:.1} | {} | {:.1} |",
                middle.map_or("nothing", Middle::name),
                cell(added, 1),
                micro(times, 99)
            )?;
        }
    }
    Ok(())
}
