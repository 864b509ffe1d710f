//! The text format of Prometheus, version 0.0.4, read as strictly as it is written
//! down: what is wrong is a failed test.

use std::collections::{BTreeMap, BTreeSet};

/// The labels of a sample, by name.
pub(crate) type Labels = BTreeMap<String, String>;

/// A page of numbers.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    /// The type of each metric.
    pub(crate) types: BTreeMap<String, String>,
    samples: BTreeMap<(String, Labels), f64>,
}

fn is_name(name: &str) -> bool {
    let mut octets = name.bytes();
    octets
        .next()
        .is_some_and(|o| o.is_ascii_alphabetic() || matches!(o, b'_' | b':'))
        && octets.all(|o| o.is_ascii_alphanumeric() || matches!(o, b'_' | b':'))
}

impl Scrape {
    pub(crate) fn read(text: &str) -> Scrape {
        assert!(text.ends_with('\n'), "the last line has no end");
        assert!(!text.contains('\r'), "a line ends in CR");
        let mut scrape = Scrape::default();
        let mut helped = BTreeSet::new();
        let mut at: Option<String> = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(is_name(name) && !help.is_empty(), "{line}");
                assert!(helped.insert(name.to_owned()), "a second {line}");
                at = Some(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert_eq!(at.as_deref(), Some(name), "{line} does not follow its HELP");
                assert!(matches!(kind, "counter" | "gauge"), "{line}");
                let total = name.ends_with("_total");
                assert_eq!(kind == "counter", total, "{line}");
                let before = scrape.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "a second {line}");
            } else {
                scrape.sample(line, at.as_deref());
            }
        }
        scrape
    }

    fn sample(&mut self, line: &str, at: Option<&str>) {
        let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
        let (name, mut rest) = line.split_at(end);
        assert_eq!(at, Some(name), "{line} stands apart from its TYPE");
        assert!(self.types.contains_key(name), "{line} has no TYPE");
        let mut labels = Labels::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            loop {
                let (label, behind) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
                assert!(is_name(label) && !label.contains(':'), "{line}");
                let (value, behind) = quoted(behind, line);
                let before = labels.insert(label.to_owned(), value);
                assert_eq!(before, None, "{label} stands twice: {line}");
                rest = behind;
                match rest.strip_prefix(',') {
                    Some(next) => rest = next,
                    None => break,
                }
            }
            rest = rest.strip_prefix('}').unwrap_or_else(|| panic!("{line}"));
        }
        let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let before = self.samples.insert((name.to_owned(), labels), value);
        assert_eq!(before, None, "a second {line}");
    }

    /// The sample with exactly these labels; 0 where there is none.
    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        assert!(self.types.contains_key(name), "{name} is not there");
        let labels = labels
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let key = (name.to_owned(), labels.collect());
        self.samples.get(&key).copied().unwrap_or_default()
    }

    /// All samples of a metric.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = (&Labels, f64)> {
        assert!(self.types.contains_key(name), "{name} is not there");
        let of_name = self.samples.iter().filter(move |((n, _), _)| n == name);
        of_name.map(|((_, labels), value)| (labels, *value))
    }

    /// The sum of those samples of a metric that have these labels, among others.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |of: &Labels| {
            labels
                .iter()
                .all(|(n, v)| of.get(*n).is_some_and(|own| own == v))
        };
        self.all(name)
            .filter(|(of, _)| has(of))
            .map(|(_, value)| value)
            .sum()
    }
}

/// The value in front of the next quotation mark, and what is behind that.
fn quoted<'t>(text: &'t str, line: &str) -> (String, &'t str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, own @ ('"' | '\\'))) => own,
                other => panic!("{other:?} is escaped: {line}"),
            }),
            other => value.push(other),
        }
    }
    panic!("a value has no end: {line}");
}
