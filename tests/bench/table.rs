//! Figures, their tables, and their place on the page.

use crate::Result;

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

/// The ratio of one to another, round by round: rounds that follow each other ran on the same machine.
pub(crate) fn ratio(one: &[f64], other: &[f64]) -> f64 {
    let each: Vec<f64> = one
        .iter()
        .zip(other)
        .map(|(one, other)| one / other)
        .collect();
    median(&each)
}

pub(crate) fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

/// A number with commas between its thousands.
pub(crate) fn thousands(value: Option<f64>) -> String {
    let plain = cell(value, 0);
    let mut out = String::new();
    for (at, character) in plain.chars().enumerate() {
        if at > 0 && (plain.len() - at) % 3 == 0 && character.is_ascii_digit() {
            out.push(',');
        }
        out.push(character);
    }
    out
}

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");

/// Replaces the last table of this bench.
pub(crate) fn write_page(bench: &str, table: &str) -> Result<()> {
    let (begin, end) = (
        format!("<!-- {bench}: begin -->\n"),
        format!("<!-- {bench}: end -->\n"),
    );
    let page = std::fs::read_to_string(PAGE)?;
    let (before, rest) = page
        .split_once(&begin)
        .ok_or("docs/performance.md has no begin mark")?;
    let (_, after) = rest
        .split_once(&end)
        .ok_or("docs/performance.md has no end mark")?;
    std::fs::write(PAGE, format!("{before}{begin}\n{table}\n{end}{after}"))?;
    Ok(())
}
