//! `heirloom completions`: prints a script by which a shell completes the program's options.

use clap::{Args as ClapArgs, CommandFactory, ValueEnum};
use clap_complete::{Shell, generate};

use super::{Cli, Exit, output};

/// Print the script by which a shell completes commands and options.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Example: heirloom completions bash > /etc/bash_completion.d/heirloom\n\n\
                  zsh reads such a script as _heirloom in a folder of $fpath, fish as \
                  heirloom.fish in ~/.config/fish/completions. The Debian package brings all three."
)]
pub(super) struct Args {
    /// The shell.
    #[arg(value_name = "SHELL", value_enum)]
    shell: ShellArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ShellArg {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(args: &Args) -> Exit {
    let shell = match args.shell {
        ShellArg::Bash => Shell::Bash,
        ShellArg::Zsh => Shell::Zsh,
        ShellArg::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "heirloom", &mut script);
    output::write(&script);
    Exit::Good
}
