//! Files of cases, and the cases of this project.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::case::Case;
use super::family::Families;

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../conform/", $name)))),+]
    };
}

/// The files of `conform/`.
const BUILT_IN: &[(&str, &str)] = files![
    "01-messages.json",
    "02-pings.json",
    "03-reserved-bits.json",
    "04-opcodes.json",
    "05-fragments.json",
    "06-utf-8.json",
    "07-closing.json",
    "09-sizes.json",
    "12-compression.json",
    "handshake.json",
    "hostile.json",
    "old-versions.json",
];

/// Cases, and what their groups are about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CaseSet {
    /// The title of each group that has one, by its name (see [`group_of`]). A
    /// chapter may have one too.
    pub groups: BTreeMap<String, String>,
    /// The cases: those with numbers in the order of these, then the others in the
    /// order of their names.
    pub cases: Vec<Case>,
}

/// Why a file of cases cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// It is not JSON of this shape.
    #[error("not a file of cases: {0}")]
    Shape(#[from] serde_json::Error),
    /// Its format is not 1.
    #[error("format {0} is not known; the only format is 1")]
    Format(u32),
    /// Something outside of its cases is wrong.
    #[error("{0}")]
    File(String),
    /// A case contradicts itself, or cannot be played.
    #[error("{id}: {what}")]
    Case {
        /// The case. Where the parameters of a family are wrong, its id as it is
        /// written; where it has none, its place in the file.
        id: String,
        /// What is wrong with it.
        what: String,
    },
}

/// A file, with families.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    #[serde(rename = "$schema", default)]
    _schema: Option<String>,
    format: u32,
    #[serde(default)]
    groups: BTreeMap<String, String>,
    /// Parameters that every entry may name.
    #[serde(default)]
    with: Map<String, Value>,
    /// Keys of every entry that does not have them itself.
    #[serde(default)]
    defaults: Map<String, Value>,
    cases: Vec<Map<String, Value>>,
}

/// Reads a file of cases, makes the cases of its families, and checks them.
///
/// # Errors
///
/// Where it is no such file, or one of its cases cannot be played.
pub fn read_cases(json: &[u8]) -> Result<CaseSet, Unusable> {
    let file: CaseFile = serde_json::from_slice(json)?;
    if file.format != 1 {
        return Err(Unusable::Format(file.format));
    }
    let mut families = Families::new(&file.with, &file.defaults);
    let mut set = CaseSet {
        groups: file.groups,
        cases: Vec::new(),
    };
    for (at, entry) in file.cases.iter().enumerate() {
        let name = entry.get("id").and_then(Value::as_str);
        let name = name.map_or_else(|| format!("case {}", at + 1), ToOwned::to_owned);
        let unusable = |what| Unusable::Case {
            id: name.clone(),
            what,
        };
        for value in families.expand(entry).map_err(unusable)? {
            let id = value.get("id").and_then(Value::as_str);
            let id = id.map_or_else(|| name.clone(), ToOwned::to_owned);
            let case = serde_json::from_value::<Case>(value);
            let case = case.map_err(|error| Unusable::Case {
                id: id.clone(),
                what: error.to_string(),
            })?;
            case.check().map_err(|what| Unusable::Case { id, what })?;
            set.cases.push(case);
        }
    }
    if let Some(name) = families.unused() {
        return Err(Unusable::File(format!("with: {name:?} is not used")));
    }
    set.order()?;
    Ok(set)
}

impl CaseSet {
    /// The cases of this project: those of Autobahn|Testsuite 25.10, under their own
    /// ids, and others.
    ///
    /// # Panics
    ///
    /// Never: a test reads the files that are built in.
    #[must_use]
    pub fn built_in() -> CaseSet {
        let mut all = CaseSet::default();
        for (name, json) in BUILT_IN {
            let set = read_cases(json.as_bytes()).and_then(|set| all.add(set));
            set.unwrap_or_else(|error| panic!("conform/{name}: {error}"));
        }
        all
    }

    /// Adds the cases of another file.
    ///
    /// # Errors
    ///
    /// Where both have a case of the same id, or another title for a group.
    pub fn add(&mut self, more: CaseSet) -> Result<(), Unusable> {
        for (group, title) in more.groups {
            let other = self.groups.insert(group.clone(), title.clone());
            if let Some(other) = other.filter(|other| *other != title) {
                return Err(Unusable::File(format!(
                    "groups: {group:?} has another title already, {other:?}"
                )));
            }
        }
        self.cases.extend(more.cases);
        self.order()
    }

    /// Puts the cases in order.
    fn order(&mut self) -> Result<(), Unusable> {
        let mut ids = BTreeSet::new();
        for case in &self.cases {
            if !ids.insert(case.id.as_str()) {
                return Err(Unusable::Case {
                    id: case.id.clone(),
                    what: "another case has the same id".to_owned(),
                });
            }
        }
        self.cases.sort_by(|a, b| compare_ids(&a.id, &b.id));
        Ok(())
    }
}

/// The group of a case: `6.4` of `6.4.1`, `2` of `2.10`, `hixie-76` of
/// `hixie-76/echo-text`.
///
/// ```
/// assert_eq!(heirloom::conform::group_of("12.1.18"), "12.1");
/// ```
#[must_use]
pub fn group_of(id: &str) -> &str {
    id.rsplit_once('/')
        .or_else(|| id.rsplit_once('.'))
        .map_or(id, |(group, _)| group)
}

/// The order of two ids.
fn compare_ids(a: &str, b: &str) -> Ordering {
    let numbers = |id: &str| {
        id.split('.')
            .map(|n| n.parse().ok())
            .collect::<Option<Vec<u32>>>()
    };
    match (numbers(a), numbers(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}
