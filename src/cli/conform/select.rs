//! Which cases are played: `--only`, `--skip`, `--version` and `--cases`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;
use heirloom::Side;
use heirloom::bytes::Escaped;
use heirloom::conform::{Case, CaseSet, Pattern, group_of, read_cases};
use heirloom::vector::Level;
use heirloom::version::{VERSIONS, Version, Versions};

use super::recorded::{self, PREFIX, Recorded};
use super::run::{CaseRun, Ending};
use crate::cli::check::{found, read_octets};
use crate::cli::suggest;

/// Which cases are played.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cases")]
pub(super) struct SelectArgs {
    /// Play these cases only: ids with `*` for any part, such as 1.1.1, 6.*, 9, hixie-76 or
    /// 12.*.3, separated by commas; may be given more than once.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    only: Vec<String>,
    /// Leave these cases out; as --only.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    skip: Vec<String>,
    /// Play the cases of these versions, whatever the server answers. Without it: rfc6455, and
    /// with a server each older version that it turns out to speak.
    #[arg(long, alias = "versions", value_name = "LIST", allow_hyphen_values = true,
          value_parser = crate::cli::version_list)]
    version: Option<Versions>,
    /// A file with cases of your own, or a folder with such files (*.json except schema.json), to
    /// play beside the built-in ones; may be given more than once. A case with the id of a built-in
    /// one replaces it.
    #[arg(long, value_name = "PATH")]
    cases: Vec<PathBuf>,
    /// List the cases, and play none.
    #[arg(long)]
    pub(super) list: bool,
}

/// The most octets of payload of a case that does not keep a server busy.
const LIGHT_OCTETS: u64 = 128 << 10;

/// A case that may be played.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) version: String,
    pub(super) level: Level,
    pub(super) section: String,
    /// Whether no other case may run at the same time.
    pub(super) is_sequential: bool,
    /// Whether it keeps a server busy.
    pub(super) is_heavy: bool,
    /// The side that is tested, where only one can be.
    pub(super) tests: Option<Side>,
    pub(super) conversation: Conversation,
}

/// What is played.
#[derive(Debug)]
pub(super) enum Conversation {
    /// The case at this place of the corpus.
    Case(usize),
    /// The recorded handshake at this place.
    Recorded(usize),
}

/// All cases that there are.
#[derive(Debug)]
pub(super) struct Corpus {
    /// The titles of groups.
    pub(super) groups: BTreeMap<String, String>,
    pub(super) cases: Vec<Case>,
    pub(super) recorded: Vec<Recorded>,
    /// The ids of those that `--cases` names.
    own: BTreeSet<String>,
}

/// The cases that were chosen.
#[derive(Debug)]
pub(super) struct Selection {
    /// In the order in which they are counted.
    pub(super) cases: Vec<Planned>,
    /// The versions whose cases are played whatever the server answers.
    pub(super) named: Versions,
}

impl Planned {
    fn of_case(at: usize, case: &Case) -> Planned {
        Planned {
            id: case.id.clone(),
            title: case.title.clone(),
            version: case.version.clone(),
            level: case.level,
            section: case.section.clone(),
            is_sequential: case.sequential,
            is_heavy: case.payload_octets() > LIGHT_OCTETS,
            tests: case.tests,
            conversation: Conversation::Case(at),
        }
    }

    fn of_recorded(at: usize, recorded: &Recorded) -> Planned {
        Planned {
            id: recorded.id.clone(),
            title: recorded.title.clone(),
            version: recorded.vector.version.clone(),
            level: recorded.level,
            section: recorded.section.clone(),
            is_sequential: false,
            is_heavy: false,
            tests: Some(recorded.tests),
            conversation: Conversation::Recorded(at),
        }
    }

    /// What becomes of it.
    pub(super) fn ended(&self, started: SystemTime, ending: Ending) -> CaseRun {
        CaseRun {
            id: self.id.clone(),
            title: self.title.clone(),
            version: self.version.clone(),
            level: self.level,
            section: self.section.clone(),
            started,
            ending,
        }
    }

    /// The same where it is not played.
    pub(super) fn not_run(&self, why: impl Into<String>) -> CaseRun {
        self.ended(SystemTime::now(), Ending::NotRun(why.into()))
    }
}

impl SelectArgs {
    /// The cases for this side, or what is wrong with the options.
    pub(super) fn select(
        &self,
        corpus: &Corpus,
        tested: Option<Side>,
    ) -> Result<Selection, String> {
        let (only, skip) = (
            patterns("--only", &self.only)?,
            patterns("--skip", &self.skip)?,
        );
        let all = corpus.planned();
        for (option, list) in [("--only", &only), ("--skip", &skip)] {
            for (text, pattern) in list {
                if !all.iter().any(|case| pattern.matches(&case.id)) {
                    return Err(unmatched(option, text, &all));
                }
            }
        }
        let named = match self.version {
            Some(versions) => versions,
            None => named_by(&only),
        };
        // Test clients count on the cases that they know.
        let is_walk = tested == Some(Side::Client) && only.is_empty() && self.version.is_none();
        let wanted = |case: &Planned| {
            let matches = |list: &[(&str, Pattern)]| {
                list.iter().any(|(_, pattern)| pattern.matches(&case.id))
            };
            let in_version = self.version.is_none_or(|versions| {
                Version::named(&case.version).is_some_and(|v| versions.contains(v))
            });
            let for_side = tested.is_none_or(|tested| case.tests.is_none_or(|own| own == tested));
            let is_known = !is_walk || is_known(&case.id) || corpus.own.contains(&case.id);
            let is_meant = only.is_empty() || matches(&only);
            in_version && for_side && is_known && is_meant && !matches(&skip)
        };
        let cases: Vec<Planned> = all.into_iter().filter(wanted).collect();
        if cases.is_empty() {
            let side = tested.map(|side| format!(" that tests a {side}"));
            return Err(format!(
                "no case{} is left of what --only, --skip and --version say",
                side.unwrap_or_default()
            ));
        }
        Ok(Selection { cases, named })
    }

    /// All cases: the built-in ones and those of `--cases`.
    pub(super) fn corpus(&self) -> Result<Corpus, String> {
        let mut all = CaseSet::built_in();
        let mut ids = BTreeSet::new();
        for path in found(&self.cases)? {
            let shown = path.display().to_string();
            let shown = Escaped::<1000>(&shown);
            let json = read_octets(&path).map_err(|error| format!("{shown}: {error}"))?;
            let own = read_cases(&json).map_err(|error| format!("{shown}: {error}"))?;
            if let Some(case) = own.cases.iter().find(|case| case.id.starts_with(PREFIX)) {
                let id = Escaped::<100>(&case.id);
                return Err(format!(
                    "{shown}: the case {id} needs another id: {PREFIX} is for recorded handshakes"
                ));
            }
            let of_file: BTreeSet<String> = own.cases.iter().map(|case| case.id.clone()).collect();
            all.cases.retain(|case| !of_file.contains(&case.id));
            let has_title = |group: &String, _: &mut String| !own.groups.contains_key(group);
            all.groups.retain(has_title);
            all.add(own).map_err(|error| format!("{shown}: {error}"))?;
            ids.extend(of_file);
        }
        let CaseSet { groups, cases, .. } = all;
        let mut recorded = recorded::all();
        let said: BTreeSet<&str> = cases.iter().map(|case| &*case.id).collect();
        recorded.retain(|recorded| !recorded.is_said_by(&said));
        Ok(Corpus {
            groups,
            cases,
            recorded,
            own: ids,
        })
    }
}

/// What is played, itself.
pub(super) enum Playable<'c> {
    Case(&'c Case),
    Recorded(&'c Recorded),
}

impl Corpus {
    /// The conversation of a case of this corpus.
    pub(super) fn get(&self, planned: &Planned) -> Playable<'_> {
        let playable = match planned.conversation {
            Conversation::Case(at) => self.cases.get(at).map(Playable::Case),
            Conversation::Recorded(at) => self.recorded.get(at).map(Playable::Recorded),
        };
        let Some(playable) = playable else {
            unreachable!("cases are planned from this corpus");
        };
        playable
    }

    /// The ids of all cases.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        let recorded = self.recorded.iter().map(|recorded| &*recorded.id);
        self.cases.iter().map(|case| &*case.id).chain(recorded)
    }

    fn planned(&self) -> Vec<Planned> {
        let cases = self.cases.iter().enumerate();
        let cases = cases.map(|(at, case)| Planned::of_case(at, case));
        let recorded = self.recorded.iter().enumerate();
        let recorded = recorded.map(|(at, recorded)| Planned::of_recorded(at, recorded));
        cases.chain(recorded).collect()
    }
}

/// Whether it is a case of Autobahn|Testsuite, by its name.
fn is_known(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_digit())
}

fn patterns<'t>(option: &str, texts: &'t [String]) -> Result<Vec<(&'t str, Pattern)>, String> {
    let texts = texts.iter().map(|text| text.trim());
    texts
        .map(|text| match text.parse() {
            Ok(pattern) => Ok((text, pattern)),
            Err(error) => Err(format!("{option} {}: {error}", Escaped::<200>(text))),
        })
        .collect()
}

/// The versions whose names these patterns begin with.
fn named_by(only: &[(&str, Pattern)]) -> Versions {
    let names = |version: &&Version| {
        only.iter().any(|(text, _)| {
            let rest = text.strip_prefix(version.name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '*']))
        })
    };
    let named = VERSIONS.iter().filter(names);
    named.fold(Versions::NONE, |all, version| {
        all.and(Versions::only(version))
    })
}

/// That a pattern names no case, and what was probably meant.
fn unmatched(option: &str, text: &str, all: &[Planned]) -> String {
    let ids = all.iter().map(|case| &*case.id);
    let groups = all.iter().map(|case| group_of(&case.id));
    let meant = suggest::of_name(text, ids.chain(groups));
    let meant = match meant {
        Some(meant) => format!("did you mean {meant}? "),
        None => String::new(),
    };
    format!(
        "no case is called {} ({option}); {meant}`heirloom conform --list` lists all",
        Escaped::<100>(text)
    )
}
