//! The order of ids: as a person counts, `2.9` before `2.10`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

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

/// The group of a case: the longest that has a title and that its id starts with.
/// Without one it is what stands before the last `.` or `/`.
pub(super) fn group<'i>(id: &'i str, groups: &BTreeMap<String, String>) -> &'i str {
    let mut of = id;
    while let Some(at) = of.rfind(['.', '/']) {
        (of, _) = of.split_at(at);
        if groups.contains_key(of) {
            return of;
        }
    }
    id.rfind(['.', '/']).map_or(id, |at| id.split_at(at).0)
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

    #[test]
    fn a_group_is_the_longest_that_has_a_title() {
        let groups = ["2", "6.4", "hixie-76"].map(|id| (id.to_owned(), String::new()));
        let groups = BTreeMap::from(groups);
        assert_eq!(group("2.10", &groups), "2");
        assert_eq!(group("6.4.1", &groups), "6.4");
        assert_eq!(group("hixie-76/echo-text", &groups), "hixie-76");
        assert_eq!(group("7.1.1", &groups), "7.1");
    }
}
