//! Colours: on a terminal only and not where `NO_COLOR` is set, unless `--color`
//! says otherwise.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU8, Ordering};

use clap::ValueEnum;

/// When the output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Also in a file or a pipe.
    Always,
    /// Nowhere.
    Never,
}

/// What `--color` says, as the number of a [`Colour`].
static ASKED: AtomicU8 = AtomicU8::new(Colour::Auto as u8);

/// Sets `--color`.
pub(super) fn set_colour(colour: Colour) {
    ASKED.store(colour as u8, Ordering::Relaxed);
}

/// Sets what `--color` says where the other arguments are wrong, or ask for help.
pub(super) fn set_colour_of_arguments() {
    let mut arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = arguments.next() {
        let when = match argument.strip_prefix("--color") {
            Some("") => arguments.next(),
            Some(rest) => rest.strip_prefix('=').map(str::to_owned),
            None => continue,
        };
        if let Some(colour) = when.and_then(|when| Colour::from_str(&when, false).ok()) {
            set_colour(colour);
        }
    }
}

/// How lines look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    terminal: bool,
    colour: bool,
}

impl Style {
    /// The style for this stream.
    pub(super) fn of(stream: &impl IsTerminal) -> Style {
        let terminal = stream.is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Style {
            terminal,
            colour: match ASKED.load(Ordering::Relaxed) {
                asked if asked == Colour::Always as u8 => true,
                asked if asked == Colour::Never as u8 => false,
                _ => terminal && !no_colour,
            },
        }
    }

    pub(super) fn is_terminal(self) -> bool {
        self.terminal
    }

    pub(super) fn is_coloured(self) -> bool {
        self.colour
    }

    pub(super) fn incoming(self, text: &str) -> String {
        self.painted("36", text)
    }

    pub(super) fn note(self, text: &str) -> String {
        self.painted("2", text)
    }

    pub(super) fn title(self, text: &str) -> String {
        self.painted("1;4", text)
    }

    pub(super) fn strong(self, text: &str) -> String {
        self.painted("1", text)
    }

    pub(super) fn good(self, text: &str) -> String {
        self.painted("32", text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.painted("31", text)
    }

    fn painted(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
