//! The command line: one file per subcommand. It sees only the library's
//! public API.

mod access;
mod check;
mod connect;
mod explain;
mod gateway;
mod import;
mod journal;
mod lab;
mod limits;
mod line_writer;
mod probe;
mod record;
mod replay;
mod report;
mod request_args;
mod serve;
mod server_args;
mod style;
mod versions;

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
    /// Say more on standard error; twice for each connection's steps.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Say errors only.
    #[arg(short, long, global = true)]
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

/// Says why it does not go on.
fn complain(error: &dyn Display) {
    // Nobody may be listening; there is no one else to tell.
    let _ = writeln!(std::io::stderr(), "heirloom: {error}");
}

/// A line of data on standard output, at once.
fn print_line(line: &dyn Display) {
    let mut out = std::io::stdout().lock();
    // Whoever closed the pipe has read what he wanted.
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
