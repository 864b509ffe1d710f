//! `heirloom man`: the manual pages, made of the same definition as the help.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, CommandFactory};
use clap_mangen::Man;
use heirloom::bytes::Escaped;

use super::{Cli, Exit, complain, output};

/// Print the manual page of the program, or write that of each command into a folder.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Example: heirloom man --out /usr/local/share/man/man1\n\n\
                        Without --out, `heirloom man | man -l -` shows the page."
)]
pub(super) struct Args {
    /// Write heirloom.1 and a page for each command, such as heirloom-gateway.1, into this folder,
    /// which is made where it is not there. Pages of an earlier version are overwritten.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Exit {
    let Some(folder) = &args.out else {
        let mut page = Vec::new();
        // A buffer takes all that is written to it.
        if page_of(program()).render(&mut page).is_ok() {
            output::write(&page);
        }
        return Exit::Good;
    };
    match write_all(folder) {
        Ok(()) => Exit::Good,
        Err((path, error)) => {
            let path = path.display().to_string();
            complain(&format!("cannot write {}: {error}", Escaped::<400>(&path)));
            Exit::Unreachable
        }
    }
}

fn page_of(command: clap::Command) -> Man {
    Man::new(command)
        .source(concat!("heirloom ", env!("CARGO_PKG_VERSION")))
        .manual("heirloom")
}

/// `help` has no page of its own: each command has --help.
fn program() -> clap::Command {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    program
}

/// One page for the program, and one for each command.
fn write_all(folder: &Path) -> Result<(), (PathBuf, io::Error)> {
    fs::create_dir_all(folder).map_err(|error| (folder.to_owned(), error))?;
    let program = program();
    let commands = program.get_subcommands().filter(|c| !c.is_hide_set());
    let commands: Vec<_> = commands.cloned().collect();
    for command in commands.into_iter().chain([program]) {
        let page = page_of(command);
        page.generate_to(folder)
            .map_err(|error| (folder.join(page.get_filename()), error))?;
    }
    Ok(())
}
