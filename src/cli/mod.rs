//! The command line: one file per subcommand. It sees only the library's
//! public API.

// A file may use those above it.
mod hint;
mod log_line;
mod machine;
mod output;
mod passed;
mod style;
mod suggest;
mod units;

mod answer;
mod compression;
mod display;
mod extensions;
mod window;
mod broker;
mod draining;
mod limits;
mod listening;
mod flash;
mod line_writer;
mod process;
mod admin;
mod request_args;
mod stdin;
mod topic_status;
mod topics_in;
mod topics_out;
mod topics;
mod trust;
mod backends;
mod supervisor;
mod tls;

mod verdict;

mod report;

mod access;
mod process_args;
mod listener_args;
mod route_args;
mod signals;

mod head_search;
mod recording;

mod journal;

mod check;
mod completions;
mod connect;
mod explain;
mod import;
mod man;
mod probe;
mod record;
mod versions;

mod lab;
mod replay;
mod conform;

mod setup;
mod running;
mod config;

mod gateway;
mod serve;

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};
use heirloom::version::UnknownVersion;
use heirloom::{Version, Versions};
use log::Level;

use self::style::{Colour, Style};

/// Every WebSocket version that ever went over a wire, hixie-75 to RFC 6455,
/// on one port.
#[derive(Debug, Parser)]
#[command(name = "heirloom", version, max_term_width = 100, after_help = EXITS)]
struct Cli {
    /// Log more on standard error; twice for the steps of each connection.
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = GLOBAL)]
    verbose: u8,
    /// Print errors only: neither remarks nor results that are good. JSON, TAP, JUnit and messages
    /// stay whole.
    #[arg(short, long, global = true, display_order = GLOBAL)]
    quiet: bool,
    /// Colour the output: on a terminal unless NO_COLOR is set, always, or never.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Colour::Auto, global = true,
          display_order = GLOBAL)]
    color: Colour,
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
    Conform(Box<conform::Args>),
    Import(import::Args),
    Explain(explain::Args),
    Versions(versions::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Options of all subcommands stand behind their own.
const GLOBAL: usize = 900;

const EXITS: &str = "Exit status: 0 good, 1 a check failed, 2 wrong usage, 3 could not bind, connect \
                     or write, 4 the peer refused, 5 timed out. Sizes and times take units, such as \
                     16MiB and 5min.";

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
    // Before there are threads.
    passed::take();
    let arguments = compression::with_equals_sign(std::env::args_os());
    let matches = told_of_negative_numbers(Cli::command()).try_get_matches_from(arguments);
    let parsed = matches.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return show(&error.format(&mut Cli::command())).into(),
    };
    style::set_colour(cli.color);
    output::set_quiet(cli.quiet);
    if let Err(exit) = start_log(&cli) {
        return exit.into();
    }
    let exit = match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Gateway(args) => gateway::run(args, matches.subcommand_matches("gateway")),
        Command::Connect(args) => connect::run(&args, cli.verbose > 0),
        Command::Probe(args) => probe::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Conform(args) => conform::run(&args, cli.verbose > 0),
        Command::Import(args) => import::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Versions(args) => versions::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    line_writer::finish();
    output::settled(exit).into()
}

/// Has every option take a negative number for its value, so that it says itself
/// which it takes: clap takes it for an option that does not exist otherwise.
fn told_of_negative_numbers(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let has_value = arg.get_action().takes_values() && !arg.is_positional();
            if has_value {
                arg.allow_negative_numbers(true)
            } else {
                arg
            }
        })
        .mut_subcommands(told_of_negative_numbers)
}

/// Log lines have the prefix of all messages. Their time and module are there
/// where more than warnings are asked for.
fn start_log(cli: &Cli) -> Result<(), Exit> {
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    let long = cli.verbose > 0 || std::env::var_os("RUST_LOG").is_some();
    let environment = env_logger::Env::default().default_filter_or(level);
    let mut logger = env_logger::Builder::from_env(environment);
    if let Some(lines) = cli.command.lines_while_serving() {
        if let Err(error) = line_writer::start(lines) {
            complain(&format!("cannot write {lines}: {error}"));
            return Err(Exit::Unreachable);
        }
        if Style::of(&std::io::stderr()).is_coloured() {
            logger.write_style(env_logger::WriteStyle::Always);
        }
        logger.target(env_logger::Target::Pipe(Box::new(line_writer::LogLines)));
    }
    logger
        .format(move |out, record| {
            let (level, text) = (record.level(), record.args());
            if log_line::is_for_journal() {
                write!(out, "{}", log_line::of(level, &text.to_string()))
            } else if long {
                let time = out.timestamp_millis();
                let module = record.target();
                writeln!(out, "heirloom: [{time} {level:<5} {module}] {text}")
            } else if level == Level::Warn {
                writeln!(out, "heirloom: warning: {text}")
            } else {
                writeln!(out, "heirloom: {text}")
            }
        })
        .init();
    Ok(())
}

/// Shows help, the version, or what is wrong with the arguments.
fn show(error: &clap::Error) -> Exit {
    style::set_colour_of_arguments();
    let text = error.render();
    if error.use_stderr() {
        let colour = Style::of(&std::io::stderr()).is_coloured();
        let text = if colour {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        let mut text = text.replacen("error:", "heirloom:", 1);
        if let Some(tip) = suggest::of_argument(error) {
            // An option that is only spelled like it is no help then.
            let lines = text
                .lines()
                .filter(|line| !line.contains("a similar argument"));
            text = lines.collect::<Vec<_>>().join("\n");
            text.push_str(&format!("\n\n  tip: {tip}\n"));
        }
        // Where standard error is closed, it cannot be told anywhere.
        let _ = std::io::stderr().write_all(text.as_bytes());
        return Exit::Usage;
    }
    let colour = Style::of(&std::io::stdout()).is_coloured();
    let text = if colour {
        text.ansi().to_string()
    } else {
        text.to_string()
    };
    output::write(text.as_bytes());
    output::settled(Exit::Good)
}

impl Command {
    /// What the lines of standard output are called, where this command serves: no
    /// connection waits for a stream that is not read.
    fn lines_while_serving(&self) -> Option<&'static str> {
        match self {
            Command::Serve(_) => Some("explanations"),
            Command::Gateway(_) => Some(line_writer::ACCESS_LINES),
            Command::Record(_) => Some("lines"),
            _ => None,
        }
    }
}

/// Prints why the program ends.
fn complain(error: &dyn Display) {
    tell(Level::Error, error);
}

fn tell(level: Level, text: &dyn Display) {
    let line = log_line::of(level, &text.to_string());
    if let Err(line) = line_writer::to_error(line) {
        // Where standard error is closed, there is no other place for it.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// Prints a mistake in a file as compilers do: its place is the first word.
fn complain_of_file(mistake: String) {
    let line = if log_line::is_for_journal() {
        log_line::of(Level::Error, &mistake)
    } else {
        format!("{mistake}\n")
    };
    if let Err(line) = line_writer::to_error(line) {
        // Where standard error is closed, there is no other place for it.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// Prints what is worth knowing and no error; nothing with `--quiet`.
fn remark(text: &dyn Display) {
    if !output::is_quiet() {
        tell(Level::Info, text);
    }
}

/// The same before anything is served: at once, and so without a thread that writes.
fn remark_at_start(text: &dyn Display) {
    if !output::is_quiet() {
        let line = log_line::of(Level::Info, &text.to_string());
        // Where standard error is closed, there is no other place for it.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// A line of data on standard output, at once.
fn print_line(line: &dyn Display) {
    if let Err(line) = line_writer::to_out(format!("{line}\n")) {
        output::write(line.as_bytes());
    }
}

/// Creates a file that may hold what a peer sent, cookies among it: only its owner
/// reads it. Fails where the name is taken, by a link too.
fn create_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// A version by its name, for an option.
fn version(name: &str) -> Result<&'static Version, String> {
    Version::named(name).ok_or_else(|| {
        let meant = suggest::of_version(name);
        let meant = meant.map(|meant| format!("did you mean {meant}? "));
        format!(
            "{}the names are {}",
            meant.unwrap_or_default(),
            Versions::ALL
        )
    })
}

/// A list of versions, for an option.
fn version_list(list: &str) -> Result<Versions, String> {
    list.parse().map_err(|error: UnknownVersion| {
        let meant = suggest::of_version(&error.0);
        let meant = meant.map(|meant| format!("; did you mean {meant}?"));
        format!("{error}{}", meant.unwrap_or_default())
    })
}

/// A header's value, for an option.
fn header_text(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|o| matches!(o, 0x20..=0x7e)) {
        Ok(text.to_owned())
    } else {
        Err("it must be visible ASCII".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn every_option_that_takes_a_value_judges_a_negative_number_itself() {
        let command = told_of_negative_numbers(Cli::command());
        let mut options = 0;
        for subcommand in command.get_subcommands() {
            let name = subcommand.get_name();
            let has_value =
                |arg: &&clap::Arg| arg.get_action().takes_values() && !arg.is_require_equals_set();
            for long in subcommand.get_opts().filter(has_value) {
                let long = format!("--{}", long.get_long().unwrap_or_default());
                let asked = command
                    .clone()
                    .try_get_matches_from(["heirloom", name, &long, "-1"]);
                let kind = asked.err().map(|error| error.kind());
                assert_ne!(kind, Some(ErrorKind::UnknownArgument), "{name} {long}");
                options += 1;
            }
        }
        assert!(options > 100, "{options}");
    }
}
