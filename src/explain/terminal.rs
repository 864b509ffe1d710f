//! An explanation for a terminal: plain text of at most a hundred columns.

use std::fmt::Write;

use super::beside::Beside;
use super::derive::{Derivation, Mark};
use super::part::{Part, PartKind};
use super::text::{bit_pattern, capitalised, count, hex, printable};
use super::words::{Item, Role};
use super::{Explanation, Outcome};
use crate::trace::Field;
use crate::version::Side;

/// What a piece of text is, so that it can be coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ink {
    /// Nothing special.
    Plain,
    /// A title.
    Title,
    /// What decides.
    Strong,
    /// What is less important.
    Dim,
    /// Octets.
    Octets,
    /// What is right.
    Good,
    /// What is wrong.
    Bad,
}

/// Gives a piece of text the colours of its ink.
pub type Paint<'p> = &'p dyn Fn(Ink, &str) -> String;

/// The explanation as plain text, without colour.
#[must_use]
pub fn plain(explanation: &Explanation) -> String {
    painted(explanation, &|_, text| text.to_owned())
}

/// The explanation as text, in the colours of `paint`.
#[must_use]
pub fn painted(explanation: &Explanation, paint: Paint<'_>) -> String {
    let mut writer = TextWriter {
        text: String::new(),
        paint,
        section: String::new(),
    };
    writer.opening(explanation);
    for part in &explanation.parts {
        writer.part(part);
    }
    writer.verdict(explanation);
    writer.text
}

/// A line per part and the verdict: the explanation in short.
#[must_use]
pub fn brief(explanation: &Explanation) -> String {
    let mut text = String::new();
    for part in &explanation.parts {
        let _ = writeln!(
            text,
            "{} {:>5} {:>5}  {}",
            arrow(part.from),
            part.at,
            part.octets,
            part.title()
        );
    }
    let verdict = &explanation.verdict;
    let code = verdict
        .code
        .map_or(String::new(), |code| format!(" {code}"));
    let place = verdict.place.map_or(String::new(), |place| {
        format!(" at octet {} of the {}", place.at, place.from.name())
    });
    let _ = writeln!(text, "= {}{code}{place}", verdict.outcome.name());
    if let Some(cause) = &verdict.cause {
        let _ = writeln!(text, "  {cause}");
    }
    text
}

const WIDTH: usize = 98;

/// The column where words start below a field.
const INDENT: usize = 12;

/// The column where words start beside a field of a frame.
const WORDS: usize = 44;

/// The maximum number of octets of a payload that are shown.
const SHOWN_OCTETS: usize = 64;

/// Octets in a row.
const ROW_OCTETS: usize = 16;

fn arrow(from: Side) -> &'static str {
    match from {
        Side::Client => "→",
        Side::Server => "←",
    }
}

struct TextWriter<'p> {
    text: String,
    paint: Paint<'p>,
    /// The section that was named last.
    section: String,
}

impl TextWriter<'_> {
    fn ink(&self, ink: Ink, text: &str) -> String {
        (self.paint)(ink, text)
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// Words, wrapped, from this column on.
    fn words(&mut self, column: usize, ink: Ink, words: &str) {
        for line in wrapped(words, WIDTH.saturating_sub(column)) {
            let line = self.ink(ink, &line);
            self.line(&format!("{:column$}{line}", ""));
        }
    }

    fn opening(&mut self, explanation: &Explanation) {
        if let Some(version) = explanation.version {
            let title = self.ink(Ink::Title, version.name);
            self.line(&title);
            self.words(0, Ink::Plain, version.document);
            self.words(0, Ink::Dim, &format!("Spoken by {}.", version.clients));
        } else {
            let title = self.ink(Ink::Title, "No version was found");
            self.line(&title);
        }
        self.words(
            0,
            Ink::Dim,
            "→ the client sends, ← the server sends; * decided, · was passed over, ? was not parsed.",
        );
    }

    fn part(&mut self, part: &Part) {
        self.section.clear();
        let title = part.title();
        let title = self.ink(Ink::Title, &format!("{} {title}", arrow(part.from)));
        let place = match part.octets {
            1 => format!("{}, octet {}", part.from.name(), part.at),
            n => {
                let end = part.at + n.saturating_sub(1);
                format!("{}, octets {} to {end}", part.from.name(), part.at)
            }
        };
        let place = self.ink(Ink::Dim, &place);
        self.line("");
        self.line(&format!("{title}  {place}"));
        match part.kind {
            PartKind::Request | PartKind::Response => self.head(part),
            PartKind::Frame => self.frame(part),
            PartKind::Key3 | PartKind::Digest | PartKind::Stray => {
                for item in part.items() {
                    self.octets(part.at, &part.raw);
                    self.about(&item);
                }
            }
            PartKind::After | PartKind::Unreadable => {
                for item in part.items() {
                    let sign = self.ink(Ink::Dim, "?");
                    let value = clipped(&item.value, WIDTH - INDENT - 2);
                    let value = self.ink(Ink::Dim, &value);
                    self.line(&format!("{:>7}  {sign} {value}", item.at));
                    self.about(&item);
                }
                if part
                    .raw
                    .iter()
                    .any(|o| !matches!(o, b'\t' | b'\r' | b'\n' | 0x20..=0x7e))
                {
                    self.octets(part.at, &part.raw);
                }
            }
        }
        if let Some(beside) = part.beside() {
            self.beside(&beside);
        }
        for derivation in part.derivations() {
            self.derivation(&derivation);
        }
        if let Some(missing) = part.missing {
            let words = match missing {
                0 => "The octets end here, and the rest is missing.".to_owned(),
                1 => "The octets end here; 1 more is missing.".to_owned(),
                n => format!("The octets end here; {n} more are missing."),
            };
            self.words(INDENT, Ink::Bad, &words);
        }
    }

    /// A head, line by line.
    fn head(&mut self, part: &Part) {
        let items = part.items();
        let mut line: Vec<&Item> = Vec::new();
        for item in &items {
            line.push(item);
            if matches!(item.field, "line-end" | "head-end") {
                self.head_line(&line);
                line.clear();
            }
        }
        if !line.is_empty() {
            self.head_line(&line);
        }
    }

    fn head_line(&mut self, line: &[&Item]) {
        let Some(first) = line.first() else { return };
        let find = |names: &[&str]| line.iter().find(|i| names.contains(&i.field)).copied();
        let (sign, ink) = match first.role {
            Role::Decides => ("*", Ink::Strong),
            Role::Ignored => ("·", Ink::Dim),
            Role::Unread => ("?", Ink::Dim),
        };
        if first.field == "head-end" {
            let end = self.ink(
                Ink::Dim,
                "the empty line ends the head; every line ends in CR LF",
            );
            self.line(&format!("{:>7}    {end}", first.at));
            return;
        }
        let value = line.iter().filter(|i| !matches!(i.field, "line-end"));
        let value: String = value.map(|i| i.value.as_str()).collect();
        let (sign, value) = (
            self.ink(ink, sign),
            self.ink(ink, &clipped(&value, WIDTH - INDENT + 2)),
        );
        self.line(&format!("{:>7}  {sign} {value}", first.at));
        if let Some(value) = find(&["header-value", "ignored-value"]) {
            self.about(value);
        } else if matches!(first.field, "header-name" | "ignored-name") {
            self.words(INDENT, Ink::Dim, "no value");
        } else {
            for item in line
                .iter()
                .filter(|i| !matches!(i.field, "space" | "line-end"))
            {
                let mut item = (*item).clone();
                item.words = format!("{}: {}", clipped(&item.value, 40), item.words);
                self.about(&item);
            }
        }
    }

    /// The words of a field, and the section.
    fn about(&mut self, item: &Item) {
        let mut words = item.words.clone();
        if item.cut {
            words.push_str(" (cut off)");
        }
        if !item.section.is_empty() && item.section != self.section {
            let _ = write!(words, " [{}]", item.section);
            self.section.clone_from(&item.section);
        }
        self.words(INDENT, Ink::Dim, &words);
    }

    fn frame(&mut self, part: &Part) {
        let mut last = u64::MAX;
        let mut sections: Vec<String> = Vec::new();
        for (item, seen) in part.items().iter().zip(&part.spans) {
            let span = &seen.span;
            let payload = span.field.is_payload() && span.field != Field::CloseCode;
            let is_new = span.at.start != last;
            last = span.at.start;
            let (mut at, mut octets) = (String::new(), String::new());
            if is_new {
                at = item.at.to_string();
                if !payload {
                    let (raw, plain) = (part.raw_of(span), part.plain_of(span));
                    octets = hex(raw);
                    if raw != plain {
                        octets = format!("{octets}→{}", hex(plain));
                    }
                }
            }
            let bits = if span.bits == (0..8) {
                String::new()
            } else {
                bit_pattern(span.bits.clone(), span.value)
            };
            let value = match item.field {
                "fin" | "more" | "rsv" | "rsv4" | "mask" => "",
                _ if payload || item.value == octets => "",
                _ => item.value.as_str(),
            };
            let mut words = match value {
                "" => item.words.clone(),
                _ => format!("{value}: {}", item.words),
            };
            if item.cut {
                words.push_str(" (cut off)");
            }
            let mut lines = wrapped(&words, WIDTH - WORDS).into_iter();
            let first = lines.next().unwrap_or_default();
            let name = self.ink(Ink::Strong, &format!("{:<12}", item.field));
            let octets = self.ink(Ink::Octets, &format!("{octets:<11}"));
            self.line(&format!("{at:>7}  {octets} {bits:<8}  {name} {first}"));
            for line in lines {
                self.line(&format!("{:WORDS$}{line}", ""));
            }
            if payload {
                self.payload(part, item);
            }
            if !item.section.is_empty() && !sections.contains(&item.section) {
                sections.push(item.section.clone());
            }
        }
        if !sections.is_empty() {
            self.words(INDENT, Ink::Dim, &format!("[{}]", sections.join("; ")));
        }
    }

    /// Payload, masked and unmasked side by side.
    fn payload(&mut self, part: &Part, item: &Item) {
        let start = usize::try_from(item.at.saturating_sub(part.at)).unwrap_or(usize::MAX);
        let (_, raw) = part.raw.split_at(start.min(part.raw.len()));
        let (_, plain) = part.plain.split_at(start.min(part.plain.len()));
        let n = usize::try_from(item.octets).unwrap_or(usize::MAX);
        let shown_octets = n.min(SHOWN_OCTETS).min(raw.len());
        let masked = part.is_masked();
        let rows = raw.chunks(ROW_OCTETS).zip(plain.chunks(ROW_OCTETS));
        let mut left = shown_octets;
        for (i, (raw, plain)) in rows.enumerate() {
            if left == 0 {
                break;
            }
            let take = left.min(ROW_OCTETS);
            left -= take;
            let raw = raw.get(..take).unwrap_or(raw);
            let plain = plain.get(..take).unwrap_or(plain);
            let at = item.at + (i * ROW_OCTETS) as u64;
            if masked {
                let key: Vec<u8> = raw.iter().zip(plain).map(|(r, p)| r ^ p).collect();
                let (raw, key) = (
                    self.ink(Ink::Octets, &hex(raw)),
                    self.ink(Ink::Dim, &hex(&key)),
                );
                self.line(&format!("{at:>7}  as sent  {raw}"));
                self.line(&format!("{:>7}  XOR key  {key}", ""));
                let text = self.ink(Ink::Strong, &printable(plain));
                let plain = self.ink(Ink::Octets, &format!("{:<47}", hex(plain)));
                self.line(&format!("{:>7}  is       {plain}  {text}", ""));
            } else {
                let text = self.ink(Ink::Strong, &printable(plain));
                let raw = self.ink(Ink::Octets, &format!("{:<47}", hex(raw)));
                self.line(&format!("{at:>7}           {raw}  {text}"));
            }
        }
        let more = n.saturating_sub(shown_octets);
        if more > 0 {
            self.words(
                INDENT + 6,
                Ink::Dim,
                &format!("… {} more", count(more as u64)),
            );
        }
        if part.coded.is_compressed {
            return;
        }
        if !item.value.is_empty() && part.value(Field::Opcode).is_none_or(|_| text(plain)) {
            let value = clipped(&item.value, WIDTH - 20);
            let value = self.ink(Ink::Strong, &value);
            self.line(&format!("{:18}“{value}”", ""));
        }
    }

    fn octets(&mut self, at: u64, octets: &[u8]) {
        for (i, row) in octets
            .chunks(ROW_OCTETS)
            .take(SHOWN_OCTETS / ROW_OCTETS)
            .enumerate()
        {
            let at = at + (i * ROW_OCTETS) as u64;
            let text = self.ink(Ink::Dim, &printable(row));
            let row = self.ink(Ink::Octets, &format!("{:<47}", hex(row)));
            self.line(&format!("{at:>7}    {row}  {text}"));
        }
        if let Some(more) = octets.len().checked_sub(SHOWN_OCTETS + 1) {
            self.words(INDENT, Ink::Dim, &format!("… {} more", more + 1));
        }
    }

    /// A compressed message beside what it inflates to.
    fn beside(&mut self, beside: &Beside) {
        let title = self.ink(Ink::Title, &beside.title);
        let section = self.ink(Ink::Dim, &format!("[{}]", beside.section));
        self.line("");
        self.line(&format!("{:9}{title}  {section}", ""));
        for note in &beside.notes {
            self.words(INDENT - 1, Ink::Dim, note);
        }
        let heads = self.ink(Ink::Dim, &format!("{:<24}│ inflated", "compressed"));
        self.line(&format!("{:11}{heads}", ""));
        for row in &beside.rows {
            let compressed = self.ink(Ink::Octets, &format!("{:<24}", row.compressed));
            let inflated = self.ink(Ink::Octets, &format!("{:<35}", row.inflated));
            let characters = self.ink(Ink::Strong, &row.characters);
            let line = format!("{:11}{compressed}│ {inflated}  {characters}", "");
            self.line(&line);
        }
        if let Some(text) = &beside.text {
            let text = self.ink(Ink::Strong, &clipped(text, WIDTH - 20));
            self.line(&format!("{:11}“{text}”", ""));
        }
    }

    fn derivation(&mut self, derivation: &Derivation) {
        let title = self.ink(Ink::Title, &derivation.title);
        let section = self.ink(Ink::Dim, &format!("[{}]", derivation.section));
        self.line("");
        self.line(&format!("{:9}{title}  {section}", ""));
        for step in &derivation.steps {
            self.words(INDENT - 1, Ink::Dim, step.label);
            let mut line = String::new();
            for run in step.runs.iter().filter(|run| run.mark != Mark::Words) {
                let ink = match run.mark {
                    Mark::Digit | Mark::First => Ink::Strong,
                    Mark::Space | Mark::Second | Mark::Third => Ink::Octets,
                    Mark::Result => Ink::Good,
                    Mark::Wrong => Ink::Bad,
                    Mark::Plain | Mark::Noise | Mark::Words => Ink::Plain,
                };
                line.push_str(&self.ink(ink, &run.text));
            }
            if !line.is_empty() {
                self.line(&format!("{:15}{line}", ""));
            }
            for run in step.runs.iter().filter(|run| run.mark == Mark::Words) {
                self.words(15, Ink::Plain, &run.text);
            }
        }
    }

    fn verdict(&mut self, explanation: &Explanation) {
        let verdict = &explanation.verdict;
        let ink = match verdict.outcome {
            Outcome::Good => Ink::Good,
            Outcome::Broken | Outcome::Refused => Ink::Bad,
            Outcome::Incomplete | Outcome::Http => Ink::Strong,
        };
        self.line("");
        let mut title = format!("Verdict: {}", verdict.outcome.name());
        if let Some(code) = verdict.code {
            let _ = write!(title, ", {code}");
        }
        let title = self.ink(ink, &title);
        self.line(&title);
        let mut sentence = format!("{}.", capitalised(&verdict.sentence));
        if let Some(section) = &verdict.section {
            let _ = write!(sentence, " [{section}]");
        }
        self.words(2, Ink::Plain, &sentence);
        if let Some(place) = verdict.place {
            let whose = place.from.name();
            let part = place.part.and_then(|n| explanation.parts.get(n));
            let part = part.map_or(String::new(), |part| format!(", in: {}", part.title()));
            self.words(
                2,
                Ink::Plain,
                &format!("Read up to octet {} of the {whose}{part}.", place.at),
            );
        }
        if let Some(cause) = &verdict.cause {
            self.words(2, Ink::Strong, &format!("Likely cause: {cause}"));
        }
        if let Some(cure) = &verdict.cure {
            self.words(2, Ink::Strong, &format!("Cure: {cure}"));
        }
    }
}

fn text(octets: &[u8]) -> bool {
    !octets.is_ascii() && std::str::from_utf8(octets).is_ok()
}

/// Text that is safe already, cut to a width; what is cut is counted.
fn clipped(text: &str, max: usize) -> String {
    let many = text.chars().count();
    if many <= max {
        return text.to_owned();
    }
    let cut: String = text.chars().take(max.saturating_sub(18)).collect();
    format!("{cut}… ({} more)", many - cut.chars().count())
}

/// Words in lines of a width.
fn wrapped(words: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in words.split(' ') {
        let Some(line) = lines.last_mut() else {
            break;
        };
        let long = line.chars().count() + 1 + word.chars().count() > width;
        if !line.is_empty() && long {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
