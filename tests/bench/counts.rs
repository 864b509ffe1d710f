//! How many instructions and system calls `heirloom` needs per message and per connection.
//!
//! `cargo bench --bench counts -- [--write] [--hold] [FILTER]`
//!
//! The server runs under valgrind or strace, twice: the second time with twice the messages. The difference of the two
//! counts is the cost of the messages alone. Such a count depends on the code and not on what else the machine does.
//!
//! How often the server polls depends on how much has arrived when it does. So server and client share one core, and
//! the server is scheduled as a batch process: it runs when the client has sent everything and waits.

#![forbid(unsafe_code)]
#![allow(
    clippy::indexing_slicing,
    reason = "a fault of the bench should stop the bench"
)]

mod batches;
#[allow(dead_code, reason = "the other benches use the rest")]
mod generator;
#[allow(dead_code, reason = "the other benches use the rest")]
mod machine;
#[allow(dead_code, reason = "the other benches use the rest")]
mod table;
mod tool;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use batches::Batches;
use generator::{Script, Wire};
use tool::Tool;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The program that is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    Serve,
    /// In front of a `heirloom serve` that is not counted.
    Gateway,
}

#[derive(Clone, Copy)]
enum Text {
    Ascii,
    /// Most characters have two to four octets.
    Utf8,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Connections stay open, and each sends batches.
    Messages {
        connections: usize,
        in_flight: usize,
    },
    /// Each connection sends one message and is reset.
    Connections,
}

#[derive(Clone, Copy)]
struct Work {
    name: &'static str,
    program: Program,
    wire: Wire,
    text: Text,
    size: usize,
    kind: Kind,
    /// Batches on each connection, or connections, in the first of the two runs.
    rounds: usize,
}

const fn messages(name: &'static str, size: usize, in_flight: usize) -> Work {
    let (connections, rounds) = match (size, in_flight) {
        (MIB.., _) => (4, 200),
        (4096.., _) => (10, 10),
        (_, 1) => (20, 100),
        _ => (20, 25),
    };
    Work {
        name,
        program: Program::Serve,
        wire: Wire::Rfc6455,
        text: Text::Ascii,
        size,
        kind: Kind::Messages {
            connections,
            in_flight,
        },
        rounds,
    }
}

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

const ONE: Work = messages("rfc6455 125 B, 1 in flight", 125, 1);
const SIXTEEN: Work = messages("rfc6455 125 B, 16 in flight", 125, 16);
const CONNECT: Work = Work {
    kind: Kind::Connections,
    rounds: 200,
    ..messages("rfc6455 connection", 32, 1)
};

const GATEWAY_ONE: Work = Work {
    program: Program::Gateway,
    ..messages("gateway 125 B, 1 in flight", 125, 1)
};
const GATEWAY_SIXTEEN: Work = Work {
    program: Program::Gateway,
    ..messages("gateway 125 B, 16 in flight", 125, 16)
};

/// What is counted, what it should be, and what it must not exceed.
struct Figure {
    tool: Tool,
    work: Work,
    /// The goal for the program.
    goal: f64,
    /// 10 % above what was counted when the bound was last set.
    bound: f64,
}

const fn instructions(work: Work, goal: f64, bound: f64) -> Figure {
    Figure {
        tool: Tool::Instructions,
        work,
        goal,
        bound,
    }
}

const fn calls(work: Work, goal: f64, bound: f64) -> Figure {
    Figure {
        tool: Tool::Calls,
        work,
        goal,
        bound,
    }
}

const FIGURES: [Figure; 16] = [
    instructions(ONE, 620.0, 727.0),
    instructions(SIXTEEN, 350.0, 372.0),
    instructions(
        Work {
            text: Text::Utf8,
            ..messages("rfc6455 125 B UTF-8, 16 in flight", 125, 16)
        },
        560.0,
        604.0,
    ),
    instructions(
        messages("rfc6455 1 KiB, 16 in flight", KIB, 16),
        740.0,
        821.0,
    ),
    instructions(
        Work {
            wire: Wire::Hixie76,
            ..messages("hixie-76 125 B, 16 in flight", 125, 16)
        },
        410.0,
        403.0,
    ),
    instructions(CONNECT, 12_000.0, 14_000.0),
    instructions(GATEWAY_ONE, 3600.0, 2169.0),
    instructions(GATEWAY_SIXTEEN, 1300.0, 913.0),
    calls(ONE, 2.06, 2.26),
    calls(SIXTEEN, 0.14, 0.141),
    calls(
        messages("rfc6455 4 KiB, 16 in flight", 4 * KIB, 16),
        0.14,
        0.144,
    ),
    calls(
        messages("rfc6455 16 KiB, 16 in flight", 16 * KIB, 16),
        0.40,
        0.345,
    ),
    calls(messages("rfc6455 1 MiB, 1 in flight", MIB, 1), 6.0, 6.6),
    calls(CONNECT, 11.0, 11.0),
    // The goal is what HAProxy needs in tcp mode.
    calls(GATEWAY_ONE, 4.32, 4.51),
    calls(GATEWAY_SIXTEEN, 0.278, 0.284),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("counts: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Options {
    /// Set by `cargo bench`. `cargo test --all-targets` does not set it.
    bench: bool,
    write: bool,
    hold: bool,
    filter: String,
}

impl Options {
    fn parse() -> Result<Options> {
        let mut options = Options::default();
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                "--bench" => options.bench = true,
                "--write" => options.write = true,
                "--hold" => options.hold = true,
                other if other.starts_with('-') => {
                    return Err(format!("no option is called {other}").into());
                }
                other => options.filter = other.to_owned(),
            }
        }
        if options.write && !options.filter.is_empty() {
            return Err("--write needs every work: leave out the filter".into());
        }
        Ok(options)
    }
}

fn run() -> Result<()> {
    let options = Options::parse()?;
    if !options.bench {
        println!("nothing counted: this runs under `cargo bench --bench counts`");
        return Ok(());
    }
    Tool::Instructions.check()?;
    Tool::Calls.check()?;
    machine::pin(machine::SERVER_CORE)?;
    let folder = tool::folder()?;
    let mut rows = Vec::new();
    for figure in FIGURES
        .iter()
        .filter(|figure| figure.work.name.contains(&options.filter))
    {
        let counted =
            count(figure, &folder).map_err(|error| format!("{}: {error}", figure.work.name))?;
        eprintln!("{:<34} {}", figure.work.name, number(figure.tool, counted));
        rows.push((figure, counted));
    }
    let table = table(&rows)?;
    print!("{table}");
    if options.write {
        table::write_page("counts", &table)?;
    }
    if options.hold {
        hold(&rows)?;
    }
    Ok(())
}

/// An error where a figure is above its bound.
fn hold(rows: &[(&Figure, f64)]) -> Result<()> {
    let above: Vec<String> = rows
        .iter()
        .filter(|(figure, counted)| as_printed(figure.tool, *counted) > figure.bound)
        .map(|(figure, counted)| {
            let Figure { tool, work, .. } = figure;
            let (counted, bound) = (number(*tool, *counted), number(*tool, figure.bound));
            format!(
                "{}: {counted} {} instead of at most {bound}",
                work.name,
                unit(*tool)
            )
        })
        .collect();
    if above.is_empty() {
        Ok(())
    } else {
        Err(above.join("\ncounts: ").into())
    }
}

/// The lowest of a few counts is used: a client that is interrupted while it sends makes the server poll once more.
const REPEATS: usize = 3;

fn count(figure: &Figure, folder: &Path) -> Result<f64> {
    let work = &figure.work;
    let each = match work.kind {
        Kind::Messages {
            connections,
            in_flight,
        } => connections * in_flight,
        Kind::Connections => 1,
    };
    let lowest = |rounds| -> Result<f64> {
        let mut lowest = f64::INFINITY;
        for _ in 0..REPEATS {
            lowest = lowest.min(live(figure, folder, rounds)?);
        }
        Ok(lowest)
    };
    let (once, twice) = (lowest(work.rounds)?, lowest(2 * work.rounds)?);
    Ok((twice - once) / (each * work.rounds) as f64)
}

/// The count of a server's whole life, with this many rounds in it.
fn live(figure: &Figure, folder: &Path, rounds: usize) -> Result<f64> {
    let work = &figure.work;
    let script = Script::of_text(work.wire, &text(work.text, work.size))?;
    let backend = match work.program {
        Program::Serve => None,
        Program::Gateway => Some(tool::backend()?),
    };
    let url = backend
        .as_ref()
        .map(|backend| format!("ws://{}/", backend.address));
    let arguments = match &url {
        None => vec!["serve"],
        Some(url) => vec!["gateway", "--origin", "http://example.com", "--to", url],
    };
    let end = match figure.tool {
        Tool::Instructions => "callgrind",
        Tool::Calls => "strace",
    };
    let file = folder.join(format!("{}.{end}", work.name.replace([' ', ','], "-")));
    figure.tool.count(&arguments, &file, |address| {
        match work.kind {
            Kind::Messages {
                connections,
                in_flight,
            } => {
                let mut batches = Batches::open(address, &script, connections, in_flight)?;
                // The first rounds find buffers that have yet to grow.
                for _ in 0..3 + rounds {
                    batches.round()?;
                }
            }
            Kind::Connections => {
                for _ in 0..20 + rounds {
                    batches::visit(address, &script)?;
                }
            }
        }
        Ok(())
    })
}

/// A text of this many octets.
fn text(kind: Text, size: usize) -> String {
    let sample = match kind {
        Text::Ascii => "The quick brown fox jumps over the lazy dog. ",
        Text::Utf8 => "Zażółć gęślą jaźń. Съешь ещё этих булок. 色は匂へど 🦊🐶 ",
    };
    let mut out = String::new();
    for character in sample.chars().cycle() {
        if out.len() + character.len_utf8() > size {
            break;
        }
        out.push(character);
    }
    out.extend(std::iter::repeat_n('.', size - out.len()));
    out
}

/// How many digits stand behind the point.
fn digits(tool: Tool, value: f64) -> usize {
    match tool {
        Tool::Instructions => 0,
        Tool::Calls if value >= 1.0 => 2,
        Tool::Calls => 3,
    }
}

fn number(tool: Tool, value: f64) -> String {
    match digits(tool, value) {
        0 => table::thousands(Some(value)),
        digits => table::cell(Some(value), digits),
    }
}

/// Figures are judged with the digits that the table shows.
fn as_printed(tool: Tool, value: f64) -> f64 {
    let printed = table::cell(Some(value), digits(tool, value));
    printed.parse().unwrap_or(value)
}

fn unit(tool: Tool) -> &'static str {
    match tool {
        Tool::Instructions => "instructions",
        Tool::Calls => "system calls",
    }
}

fn table(rows: &[(&Figure, f64)]) -> Result<String> {
    let mut out = format!("Counted on: {}.\n", machine::describe()?);
    for tool in [Tool::Instructions, Tool::Calls] {
        let mut rows = rows
            .iter()
            .filter(|(figure, _)| figure.tool == tool)
            .peekable();
        if rows.peek().is_none() {
            continue;
        }
        writeln!(out, "\n| work | {} | goal | bound | reached |", unit(tool))?;
        writeln!(out, "| --- | ---: | ---: | ---: | --- |")?;
        for (figure, counted) in rows {
            let Figure {
                work, goal, bound, ..
            } = figure;
            let reached = if as_printed(tool, *counted) <= *goal {
                "yes"
            } else {
                "no"
            };
            writeln!(
                out,
                "| {} | {} | {} | {} | {reached} |",
                work.name,
                number(tool, *counted),
                number(tool, *goal),
                number(tool, *bound),
            )?;
        }
    }
    Ok(out)
}
