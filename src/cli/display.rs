//! How `connect` shows a conversation: messages on standard output, notes and frames
//! on standard error.

use std::io::{self, Write};

use heirloom::bytes::Escaped;
use heirloom::handshake::{Head, Response};
use heirloom::trace::{Field, Span};
use heirloom::{Kind, Message};

use super::output;
use super::style::Style;
use super::units::counted;

/// Where messages and notes go, and how they look.
pub(super) struct Display {
    pub(super) out: Style,
    pub(super) notes: Style,
    pub(super) verbose: bool,
    /// What ends a message in a file or a pipe.
    pub(super) end: &'static [u8],
}

impl Display {
    pub(super) fn response(&self, response: &Response<'_>) {
        if self.verbose {
            print_head('<', &raw(response.head()));
        }
        if let Some(name) = response.subprotocol() {
            self.note(&format!("subprotocol {}", Escaped::<200>(name)));
        }
        if let Some(deflate) = response.compression() {
            self.note(&format!("compression {deflate}"));
        }
    }

    /// A message is a line: as it is in a pipe, escaped on a terminal.
    pub(super) fn message(&self, message: Message<'_>) {
        let line = if self.out.is_terminal() {
            let text = message.as_text().map_or_else(
                || message.payload().escape_ascii().to_string(),
                |text| Escaped::<{ usize::MAX }>(text).to_string(),
            );
            format!("{} {text}\n", self.out.incoming("<")).into_bytes()
        } else {
            [message.payload(), self.end].concat()
        };
        output::write(&line);
    }

    /// A note about a frame: only with `--verbose`.
    pub(super) fn note_frame(&self, note: &str) {
        if self.verbose {
            self.print_note(note);
        }
    }

    /// A note about the connection: on a terminal, or with `--verbose`.
    pub(super) fn note(&self, note: &str) {
        if self.shows_notes() {
            self.print_note(note);
        }
    }

    pub(super) fn shows_notes(&self) -> bool {
        self.verbose || self.notes.is_terminal()
    }

    pub(super) fn print_note(&self, note: &str) {
        if output::is_quiet() {
            return;
        }
        let _ = writeln!(io::stderr(), "{} {note}", self.notes.note("*"));
    }
}

/// Prints a head line by line.
pub(super) fn print_head(arrow: char, head: &str) {
    let end = head.find("\r\n\r\n").unwrap_or(head.len());
    let (head, _) = head.split_at(end);
    for line in head.split("\r\n") {
        let _ = writeln!(io::stderr(), "{arrow} {}", Escaped::<1000>(line));
    }
    let _ = writeln!(io::stderr(), "{arrow}");
}

/// Prints each frame that was received, from the fields that the parse named.
pub(super) fn print_frames(spans: &[Span]) {
    let mut frame = String::new();
    for span in spans {
        let described = match span.field {
            Field::Opcode => format!("opcode {}", span.value),
            Field::FrameType => format!("type {:02x}", span.value),
            Field::Fin => format!("fin {}", span.value),
            Field::Reserved if span.value & 4 != 0 => "compressed".to_owned(),
            Field::More => format!("more {}", span.value),
            Field::Length7 if span.value < 126 => counted(span.value, "octet"),
            Field::Length16 | Field::Length64 => counted(span.value, "octet"),
            Field::Terminator => "end of text".to_owned(),
            Field::CloseCode => format!("code {}", span.value),
            _ => continue,
        };
        let is_first = matches!(span.field, Field::Fin | Field::More | Field::FrameType);
        if is_first && !frame.is_empty() {
            let _ = writeln!(io::stderr(), "* < frame: {frame}");
            frame.clear();
        }
        if !frame.is_empty() {
            frame.push_str(", ");
        }
        frame.push_str(&described);
    }
    if !frame.is_empty() {
        let _ = writeln!(io::stderr(), "* < frame: {frame}");
    }
}

pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Binary => "binary",
    }
}

fn raw(head: &Head<'_>) -> String {
    String::from_utf8_lossy(head.raw()).into_owned()
}
