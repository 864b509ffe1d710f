//! Colours, on a terminal only, and not where `NO_COLOR` is set.

use std::io::IsTerminal;

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
            colour: terminal && !no_colour,
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
