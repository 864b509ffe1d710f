//! The command line: one file per subcommand. It sees only the library's
//! public API.

// A file may use those above it.
mod hint;
mod style;

mod limits;
mod line_writer;
mod request_args;

mod report;
mod server_args;

mod access;
mod head_search;
mod journal;

mod check;
mod connect;
mod explain;
mod import;
mod probe;
mod record;
mod versions;

mod lab;
mod replay;

mod gateway;
mod serve;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};
use heirloom::{Version, Versions};

/// Every WebSocket version that ever went over a wire, hixie-75 to RFC 6455,
/// on one port.
#[derive(Debug, Parser)]
#[command(name = "heirloom", version, max_term_width = 100, after_help = EXITS)]
struct Cli {
    /// Log more on standard error; twice for the steps of each connection.
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = GLOBAL)]
    verbose: u8,
    /// Log errors only.
    #[arg(short, long, global = true, display_order = GLOBAL)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Gateway(gateway::Args),
    Connect(connect::Args),
    Probe(probe::Args),
    Record(record::Args),
    Replay(replay::Args),
    Check(check::Args),
    Import(import::Args),
    Explain(explain::Args),
    Versions(versions::Args),
}

/// Options of all subcommands stand behind their own.
const GLOBAL: usize = 900;

const EXITS: &str = "Exit status: 0 good, 1 a check failed, 2 wrong usage, 3 could not bind or \
                     connect, 4 the peer refused, 5 timed out.";

/// How the program ends. Scripts depend on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Good = 0,
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
    Refused = 4,
    TimedOut = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    let environment = env_logger::Env::default().default_filter_or(level);
    env_logger::Builder::from_env(environment)
        .format_timestamp_millis()
        .init();
    let exit = match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Gateway(args) => gateway::run(args),
        Command::Connect(args) => connect::run(&args, cli.verbose > 0),
        Command::Probe(args) => probe::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Versions(args) => versions::run(&args),
    };
    exit.into()
}

/// Tells why the program does not go on.
fn complain(error: &dyn Display) {
    // Where standard error is closed, it cannot be told anywhere.
    let _ = writeln!(std::io::stderr(), "heirloom: {error}");
}

/// A line of data on standard output, at once.
fn print_line(line: &dyn Display) {
    let mut out = std::io::stdout().lock();
    // A closed pipe ends the output quietly.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A version by its name, for an option.
fn version(name: &str) -> Result<&'static Version, String> {
    Version::named(name).ok_or_else(|| format!("the names are {}", Versions::ALL))
}

/// A header's value, for an option.
fn header_text(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|o| matches!(o, 0x20..=0x7e)) {
        Ok(text.to_owned())
    } else {
        Err("it must be visible ASCII".to_owned())
    }
}
