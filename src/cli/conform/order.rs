//! The order of ids: as a person counts, `2.9` before `2.10`.

use std::cmp::Ordering;

/// Compares ids part by part: numbers by their value, and before words.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    let parts = parts(one).cmp(parts(other));
    parts.then_with(|| one.cmp(other))
}

/// A part of an id.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part<'i> {
    Number(u64),
    Word(&'i str),
}

fn parts(id: &str) -> impl Iterator<Item = Part<'_>> {
    let parts = id.split(['.', '/', '-']);
    parts.map(|part| part.parse().map_or(Part::Word(part), Part::Number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_the_order_in_which_a_person_counts() {
        let mut ids = [
            "hixie-76/b",
            "10.1.1",
            "2.10",
            "hixie-76/a",
            "2.9",
            "hixie-75/z",
            "2.9.1",
        ];
        ids.sort_by(|a, b| compare(a, b));
        let sorted = [
            "2.9",
            "2.9.1",
            "2.10",
            "10.1.1",
            "hixie-75/z",
            "hixie-76/a",
            "hixie-76/b",
        ];
        assert_eq!(ids, sorted);
    }
}
