//! Mistakes in a configuration file, and where they are.

use std::path::Path;

use heirloom::bytes::Escaped;

/// Mistakes that are told; of more there is only the number.
const TOLD: usize = 1000;
/// Characters of one that are told.
const LENGTH: usize = 2000;

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mistake {
    /// The octet at which it is.
    at: usize,
    /// The text is no TOML there. What else is said of its line may be a consequence.
    is_syntax: bool,
    /// A sentence of cause and cure.
    text: String,
}

impl Mistake {
    pub(super) fn new(at: usize, text: impl Into<String>) -> Mistake {
        Mistake {
            at,
            is_syntax: false,
            text: text.into(),
        }
    }

    pub(super) fn of_syntax(at: usize, text: impl Into<String>) -> Mistake {
        Mistake {
            is_syntax: true,
            ..Mistake::new(at, text)
        }
    }
}

/// Each mistake in this file as a line of `FILE:LINE:COLUMN: sentence`, in their order.
/// What the file holds is harmless in it.
pub(super) fn lines(path: &Path, octets: &[u8], mut mistakes: Vec<Mistake>) -> Vec<String> {
    mistakes.sort();
    mistakes.dedup();
    let file = shown(path);
    let mut place = Place::default();
    let mut placed = Vec::new();
    for mistake in mistakes {
        place.move_to(octets, mistake.at);
        placed.push((place.line, place.column, mistake));
    }
    let broken: Vec<usize> = placed
        .iter()
        .filter(|(_, _, mistake)| mistake.is_syntax)
        .map(|(line, _, _)| *line)
        .collect();
    let mut told_of = 0;
    placed.retain(|(line, _, mistake)| {
        let is_first = told_of != *line;
        if mistake.is_syntax {
            told_of = *line;
        }
        mistake.is_syntax && is_first || broken.binary_search(line).is_err()
    });
    let more = placed.len().saturating_sub(TOLD);
    let told = placed.into_iter().take(TOLD);
    let mut lines: Vec<String> = told
        .map(|(line, column, mistake)| {
            let text = Escaped::<LENGTH>(&mistake.text);
            format!("{file}:{line}:{column}: {text}")
        })
        .collect();
    if more > 0 {
        let are = if more == 1 {
            "mistake is"
        } else {
            "mistakes are"
        };
        lines.push(format!("{file}: {more} more {are} not shown"));
    }
    lines
}

/// The name of a file, on one line.
pub(super) fn shown(path: &Path) -> String {
    Escaped::<1000>(&path.display().to_string()).to_string()
}

/// A line and a column, from 1; columns count characters.
#[derive(Debug)]
struct Place {
    octet: usize,
    line: usize,
    column: usize,
}

impl Default for Place {
    fn default() -> Place {
        Place {
            octet: 0,
            line: 1,
            column: 1,
        }
    }
}

impl Place {
    /// Goes on to this octet, which is not before.
    fn move_to(&mut self, octets: &[u8], at: usize) {
        let passed = octets.iter().take(at).skip(self.octet);
        for octet in passed {
            match octet {
                b'\n' => (self.line, self.column) = (self.line + 1, 1),
                // The inner octets of a character.
                0x80..=0xbf => {}
                _ => self.column += 1,
            }
        }
        self.octet = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_in_order_with_line_and_column() {
        let octets = "aé\nb c\n".as_bytes();
        let mistakes = vec![
            Mistake::new(6, "late"),
            Mistake::new(4, "next \u{1b}[2J"),
            Mistake::new(0, "first"),
            Mistake::new(99, "behind the end"),
            Mistake::new(0, "first"),
        ];
        let want = [
            "f:1:1: first",
            "f:2:1: next \\u{1b}[2J",
            "f:2:3: late",
            "f:3:1: behind the end",
        ];
        assert_eq!(lines(Path::new("f"), octets, mistakes), want);
    }

    #[test]
    fn a_line_that_is_no_toml_has_one_mistake() {
        let mistakes = vec![
            Mistake::new(0, "a consequence"),
            Mistake::of_syntax(1, "the cause"),
            Mistake::of_syntax(2, "another consequence"),
            Mistake::new(4, "of another line"),
        ];
        let want = ["f:1:2: the cause", "f:2:1: of another line"];
        assert_eq!(lines(Path::new("f"), b"abc\nd", mistakes), want);
    }

    #[test]
    fn so_many_mistakes_are_counted() {
        let mistakes = (0..TOLD + 5).map(|at| Mistake::new(at, "no")).collect();
        let lines = lines(Path::new("f"), &[b' '; 2000], mistakes);
        assert_eq!(lines.len(), TOLD + 1);
        assert_eq!(
            lines.last().map(String::as_str),
            Some("f: 5 more mistakes are not shown")
        );
    }
}
