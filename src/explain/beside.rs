//! A compressed message beside what it inflates to, in words and rows.

use super::inflated::{Beyond, Context, FirstBlock, Inflated, Portion};
use super::part::Part;
use super::section::section;
use super::text::{count, hex, printable, shown};
use crate::extension::TAIL;

/// A compressed message, or frame, beside what it inflates to.
pub(super) struct Beside {
    pub(super) title: String,
    pub(super) section: String,
    /// What is to be known of it, a sentence each.
    pub(super) notes: Vec<String>,
    pub(super) rows: Vec<BesideRow>,
    /// The text, where it is one and does not fit a row.
    pub(super) text: Option<String>,
}

/// Octets as they were sent, in hex, and what came out, in hex and as characters.
pub(super) struct BesideRow {
    pub(super) compressed: String,
    pub(super) inflated: String,
    pub(super) characters: String,
}

/// Octets in a row, of either side.
const ROW_OCTETS: (usize, usize) = (8, 12);

/// The rows that are shown; what does not fit them is counted.
const MAX_ROWS: usize = 8;

impl Part {
    /// The compressed message that ends in it, beside what it inflates to.
    pub(super) fn beside(&self) -> Option<Beside> {
        let inflated = self.inflated.as_deref()?;
        let unit = inflated.unit();
        let about = self.coded.about()?;
        let text = inflated.is_text && inflated.plain.octets > ROW_OCTETS.1 as u64;
        Some(Beside {
            title: format!("The {unit}, inflated"),
            section: section(self.version, about),
            notes: notes(inflated, self.from.name()),
            rows: rows(inflated),
            text: text.then(|| {
                let more = inflated.plain.octets - inflated.plain.kept.len() as u64;
                let text = shown(inflated.plain.text(), SHOWN_CHARACTERS);
                match more {
                    0 => text,
                    _ => format!("{text} (and more than was kept)"),
                }
            }),
        })
    }
}

/// The characters of a text that are shown.
const SHOWN_CHARACTERS: usize = 200;

fn notes(inflated: &Inflated, from: &str) -> Vec<String> {
    let unit = inflated.unit();
    let mut notes = Vec::new();
    let sent = &inflated.compressed.octets;
    let frames = match inflated.frames {
        1 => String::new(),
        n => format!(" in {n} frames"),
    };
    let came_out = inflated.plain.octets;
    let came = match (inflated.is_whole, *sent) {
        (true, 1) => format!("inflates to {came_out}"),
        (true, _) => format!("inflate to {came_out}"),
        (false, 1) => {
            format!("is not the whole {unit}, or does not inflate; {came_out} came out")
        }
        (false, _) => {
            format!("are not the whole {unit}, or not all of them inflate; {came_out} came out")
        }
    };
    notes.push(format!("{}{frames} {came}.", count(*sent)));
    match inflated.first_block() {
        Some(block) => notes.push(block_words(block)),
        None => notes.push(format!(
            "Not an octet was sent, where one of 00 stands for an empty {unit}; it is read as that."
        )),
    }
    if inflated.has_tail() {
        notes.push(format!(
            "The sender leaves out the tail {}, which ends every flush; it is put back.",
            hex(&TAIL)
        ));
    }
    match inflated.context {
        Context::Earlier => notes.push(format!(
            "It leans on earlier {unit}s of the {from} (context takeover): without them it does \
             not inflate."
        )),
        Context::Unused => notes.push(format!(
            "It may refer to earlier {unit}s of the {from}, but inflates without them."
        )),
        Context::Fresh | Context::Unknown => {}
    }
    notes.extend(
        inflated
            .beyond
            .map(|beyond| beyond_words(inflated, beyond, from)),
    );
    notes
}

fn beyond_words(inflated: &Inflated, beyond: Beyond, from: &str) -> String {
    let to = match beyond.is_to_earlier {
        true => format!(", to a {} before this one", inflated.unit()),
        false => String::new(),
    };
    format!(
        "It refers {} octets back{to}, beyond the window of {} that was agreed on for the {from}.",
        beyond.distance, beyond.window
    )
}

fn block_words(block: FirstBlock) -> String {
    let bits = format!("{:08b}", block.octet);
    let (rest, low) = bits.split_at(5);
    let (btype, bfinal) = low.split_at(2);
    let is_last = if block.bfinal {
        "the last one: the stream ends with it, and the next starts anew"
    } else {
        "more may follow"
    };
    let kind = match block.btype {
        0 => "stored, its octets stand as they are",
        3 => "reserved: no block has it",
        _ => block.words(),
    };
    format!(
        "The first block starts in the lowest bits of {:02x}, {rest} {btype} {bfinal}: BFINAL {bfinal}, \
         {is_last}; BTYPE {btype}, {kind}.",
        block.octet
    )
}

fn rows(inflated: &Inflated) -> Vec<BesideRow> {
    let (sent, came) = ROW_OCTETS;
    let mut left = column(&inflated.compressed, sent);
    if inflated.has_tail() {
        left.push((format!("[{}]", hex(&TAIL)), String::new()));
    }
    let right = column(&inflated.plain, came);
    let empty = || (String::new(), String::new());
    let n = left.len().max(right.len());
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    (0..n)
        .map(|_| {
            let (compressed, _) = left.next().unwrap_or_else(empty);
            let (inflated, characters) = right.next().unwrap_or_else(empty);
            BesideRow {
                compressed,
                inflated,
                characters,
            }
        })
        .collect()
}

fn column(octets: &Portion, row: usize) -> Vec<(String, String)> {
    let rows = octets.kept.chunks(row).take(MAX_ROWS);
    let mut column: Vec<_> = rows.map(|row| (hex(row), printable(row))).collect();
    let shown = octets.kept.len().min(row * MAX_ROWS) as u64;
    match octets.octets - shown {
        0 => {}
        n => column.push((format!("… {n} more"), String::new())),
    }
    column
}
