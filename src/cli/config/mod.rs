//! `--config FILE`: the setup of a gateway in a file. Each key is the long name of an
//! option, below the section that it belongs to.

// A file may use those above it.
mod mistake;

mod document;

mod section;

mod route_keys;

mod tests;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;

use self::document::{Document, Entry, Table, Value};
use self::mistake::{Mistake, shown};
use self::route_keys::{OF_TLS, OWN, RouteKeys, destination, one_destination};
use self::section::{Section, Word, as_keys};
use super::listener_args::ListenerArgs;
use super::process_args::GatewayProcessArgs;
use super::route_args::{BridgeArgs, RouteArgs};
use super::running::{Source, counted};
use super::setup::{Loaded, Part, RouteSetup, Setup, To};
use super::{Exit, complain, complain_of_file, output};

/// Octets that a file may have.
const MAX_OCTETS: u64 = 1024 * 1024;

/// The keys that take effect when the program starts.
const FIXED: [&str; 5] = ["workers", "json", "access-log", "admin", "topics"];

/// Options that are no keys: they are about the run of the program.
const OF_THE_COMMAND_LINE: [&str; 7] = [
    "config", "check", "verbose", "quiet", "color", "help", "version",
];

/// A configuration file, and what the command line says beside it.
pub(super) struct ConfigFile {
    path: PathBuf,
    /// Options of the process that were given: they come before the file's.
    given: Vec<Word>,
}

/// What a file says of the sections, before they are put together.
struct Sections {
    process: Section,
    listener: Section,
    route: Section,
    /// The keys of a route that only backends have.
    bridge: Section,
}

impl ConfigFile {
    /// This file, with those options of the command line that may stand beside it.
    pub(super) fn new(path: PathBuf, matches: Option<&ArgMatches>) -> Result<ConfigFile, Exit> {
        let mut given = Vec::new();
        let is_given = |id: &str| {
            let source = matches.and_then(|matches| matches.value_source(id));
            source == Some(ValueSource::CommandLine)
        };
        let process = Section::of::<GatewayProcessArgs>();
        for option in process.options() {
            let id = option.get_id().as_str();
            let key = option.get_long().unwrap_or_default();
            if !is_given(id) {
                continue;
            }
            let is_flag = matches!(option.get_action(), clap::ArgAction::SetTrue);
            let values = matches.and_then(|matches| matches.get_raw(id));
            for value in values.into_iter().flatten() {
                let mut word = std::ffi::OsString::from(format!("--{key}"));
                if !is_flag {
                    word.push("=");
                    word.push(value);
                }
                given.push(Word {
                    key: key.to_owned(),
                    at: 0,
                    word,
                });
            }
        }
        let of_file = [
            Section::of::<ListenerArgs>(),
            Section::of::<RouteArgs>(),
            Section::of::<BridgeArgs>(),
        ];
        let options = of_file.iter().flat_map(Section::options);
        let options = options.map(|option| (option.get_id().as_str(), option.get_long()));
        for (id, key) in options.chain([("to", Some("to"))]) {
            if is_given(id) {
                complain(&format!(
                    "--{} stands in the file of --config, in a [[listener]] or a [[route]]; leave \
                     it out here",
                    key.unwrap_or_default()
                ));
                return Err(Exit::Usage);
            }
        }
        Ok(ConfigFile { path, given })
    }

    /// Reads the file and tells all its mistakes, or how much it describes.
    pub(super) fn check(&self) -> Exit {
        match self.read() {
            Ok(loaded) => {
                let count = counted(loaded.places().len(), loaded.setup.routes.len());
                if !output::is_quiet() {
                    output::write(format!("{} is good: {count}\n", shown(&self.path)).as_bytes());
                }
                Exit::Good
            }
            Err(mistakes) => {
                for mistake in mistakes {
                    complain_of_file(mistake);
                }
                Exit::Usage
            }
        }
    }

    fn read(&self) -> Result<Loaded, Vec<String>> {
        let octets = self
            .octets()
            .map_err(|why| vec![format!("{}: {why}", shown(&self.path))])?;
        let mut mistakes = Vec::new();
        let loaded = match text(&octets) {
            Ok(text) => {
                let folder = self.path.parent().unwrap_or(Path::new(""));
                read(text, folder, &self.given, &mut mistakes)
            }
            Err(mistake) => {
                mistakes.push(mistake);
                None
            }
        };
        match loaded {
            Some(loaded) if mistakes.is_empty() => Ok(loaded),
            _ => Err(mistake::lines(&self.path, &octets, mistakes)),
        }
    }

    fn octets(&self) -> Result<Vec<u8>, String> {
        let cannot = |error: std::io::Error| {
            format!("the configuration cannot be read: {error}; --config names a file of TOML")
        };
        let mut octets = Vec::new();
        let mut options = File::options();
        // To open a pipe would wait for its writer.
        let options = options.read(true).custom_flags(libc::O_NONBLOCK);
        let file = options.open(&self.path).map_err(cannot)?;
        if file.metadata().map_err(cannot)?.file_type().is_fifo() {
            return Err(
                "this is a pipe, which a reload could not read again; give a file".to_owned(),
            );
        }
        let mut limited = file.take(MAX_OCTETS + 1);
        limited.read_to_end(&mut octets).map_err(cannot)?;
        if octets.len() as u64 > MAX_OCTETS {
            return Err(format!(
                "the file is longer than {MAX_OCTETS} octets; a configuration is some lines of text"
            ));
        }
        Ok(octets)
    }
}

impl Source for ConfigFile {
    fn load(&self) -> Result<Loaded, Vec<(Exit, String)>> {
        let mistakes = |mistakes: Vec<String>| {
            let mistakes = mistakes.into_iter();
            mistakes.map(|mistake| (Exit::Usage, mistake)).collect()
        };
        self.read().map_err(mistakes)
    }

    fn what(&self) -> &'static str {
        "configuration"
    }

    fn fixed(&self, before: &Setup, now: &Setup) -> Vec<String> {
        let words = |setup: &Setup, key: &str| -> Vec<String> {
            let words = setup.process_words.iter();
            let own = words.filter(|(own, _)| own == key);
            own.map(|(_, word)| word.clone()).collect()
        };
        let changed = |key: &&&str| words(before, key) != words(now, key);
        FIXED
            .iter()
            .filter(changed)
            .map(|key| (*key).to_owned())
            .collect()
    }
}

/// The octets as text, without characters of control: those of a file that is no text
/// would be as many mistakes.
fn text(octets: &[u8]) -> Result<&str, Mistake> {
    let text = std::str::from_utf8(octets).map_err(|error| {
        let at = error.valid_up_to();
        Mistake::new(at, "this is no UTF-8; a configuration is text in UTF-8")
    })?;
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r');
    match text.char_indices().find(|(_, c)| control(*c)) {
        Some((at, c)) => {
            let code = u32::from(c);
            let text = format!(
                "the control character U+{code:04X} stands here; a configuration is text, with \
                 \\u{code:04X} in quotes where it is meant"
            );
            Err(Mistake::new(at, text))
        }
        None => Ok(text),
    }
}

/// Reads a whole file. Where there is a mistake, what is given is of no use.
fn read(text: &str, folder: &Path, given: &[Word], mistakes: &mut Vec<Mistake>) -> Option<Loaded> {
    let document = document::read(text, mistakes);
    let sections = Sections {
        process: Section::of::<GatewayProcessArgs>(),
        listener: Section::of::<ListenerArgs>(),
        route: Section::of::<RouteKeys>(),
        bridge: Section::of::<BridgeArgs>(),
    };
    let (process, defaults) = sections.top(&document, folder, mistakes);
    let is_given = |word: &Word| given.iter().any(|given| given.key == word.key);
    let mut process: Vec<Word> = process.into_iter().filter(|w| !is_given(w)).collect();
    process.extend(given.iter().cloned());
    let args = sections
        .process
        .build(&process, (0, &document.top), mistakes);
    let mut listeners = Vec::new();
    for table in &document.listeners {
        let listener = sections.listener(table, folder, mistakes);
        listeners.extend(listener.map(|args| (table, args)));
    }
    let mut routes = Vec::new();
    for table in &document.routes {
        let route = sections.route(table, &defaults, folder, mistakes);
        routes.extend(route.map(|route| (table, route)));
    }
    for (has, name, cure) in [
        (
            document.has_listener,
            "listener",
            "listen = \"127.0.0.1:8076\"",
        ),
        (document.has_route, "route", "to = \"ws://127.0.0.1:9000/\""),
    ] {
        if !has {
            let text = format!("the file has no [[{name}]]; add one, with {cure} below it");
            mistakes.push(Mistake::new(0, text));
        }
    }
    let (listener_tables, listeners): (Vec<_>, Vec<_>) = listeners.into_iter().unzip();
    let (route_tables, routes): (Vec<_>, Vec<_>) = routes.into_iter().unzip();
    let setup = Setup {
        process: args?,
        listeners,
        routes,
        has_one_policy: false,
        process_words: process
            .iter()
            .map(|word| (word.key.clone(), word.text()))
            .collect(),
    };
    let (loaded, faults) = setup.load();
    for fault in faults {
        let table = match fault.part {
            Part::Listener(index) => listener_tables.get(index),
            Part::Route(index) => route_tables.get(index),
        };
        let own = table.and_then(|table| place_of(&table.entries, fault.option));
        let default = || place_of(&document.top, fault.option);
        let start = || table.map(|table| table.at);
        let at = own.or_else(default).or_else(start).unwrap_or(0);
        mistakes.push(Mistake::new(at, as_keys(&fault.text)));
    }
    Some(loaded)
}

/// Where this key is.
fn place_of(entries: &[Entry], key: &str) -> Option<usize> {
    let found = entries.iter().find(|entry| entry.key == key);
    found.map(|entry| entry.at)
}

impl Sections {
    /// The words of the process, and those of all routes.
    fn top(
        &self,
        document: &Document,
        folder: &Path,
        mistakes: &mut Vec<Mistake>,
    ) -> (Vec<Word>, Vec<OfAllRoutes>) {
        let (mut process, mut defaults) = (Vec::new(), Vec::new());
        for entry in &document.top {
            let key = &*entry.key;
            if self.process.has(key) {
                process.extend(
                    self.process
                        .words(entry, folder, mistakes)
                        .unwrap_or_default(),
                );
            } else if self.route.has(key) && !OWN.contains(&key) {
                if let Some(words) = self.route.words(entry, folder, mistakes) {
                    let key = key.to_owned();
                    defaults.push(OfAllRoutes { key, words });
                }
            } else {
                mistakes.push(self.unknown(entry, Place::Top));
            }
        }
        (process, defaults)
    }

    /// The words of the keys of a table, and whether all of them are right.
    fn own_words(
        &self,
        place: Place,
        table: &Table,
        folder: &Path,
        mistakes: &mut Vec<Mistake>,
    ) -> (Vec<Word>, bool) {
        let section = match place {
            Place::Top => &self.process,
            Place::Listener => &self.listener,
            Place::Route => &self.route,
        };
        let (mut all, mut is_good) = (Vec::new(), true);
        for entry in &table.entries {
            let words = if section.has(&entry.key) {
                section.words(entry, folder, mistakes)
            } else {
                mistakes.push(self.unknown(entry, place));
                None
            };
            is_good &= words.is_some();
            all.extend(words.into_iter().flatten());
        }
        (all, is_good)
    }

    /// A listener; `None` where something of it is wrong.
    fn listener(
        &self,
        table: &Table,
        folder: &Path,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<ListenerArgs> {
        let (all, mut is_good) = self.own_words(Place::Listener, table, folder, mistakes);
        if place_of(&table.entries, "listen").is_none() {
            let text = "this [[listener]] has no `listen`; give the address, such as listen = \
                        \"127.0.0.1:8076\"";
            mistakes.push(Mistake::new(table.at, text));
            is_good = false;
        }
        let empty = |entry: &&Entry| {
            entry.key == "listen" && matches!(&entry.value, Value::List(list) if list.is_empty())
        };
        if let Some(entry) = table.entries.iter().find(empty) {
            // Without a value the option has its default.
            let text = "this list is empty; give an address, such as \"127.0.0.1:8076\"";
            mistakes.push(Mistake::new(entry.value_at, text));
            is_good = false;
        }
        let built = self
            .listener
            .build(&all, (table.at, &table.entries), mistakes);
        built.filter(|_| is_good)
    }

    /// A route; `None` where something of it is wrong.
    fn route(
        &self,
        table: &Table,
        defaults: &[OfAllRoutes],
        folder: &Path,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<RouteSetup> {
        let (mut words, mut is_good) = self.own_words(Place::Route, table, folder, mistakes);
        let Some(to_at) = place_of(&table.entries, "to") else {
            let text = "this [[route]] has no `to`; give echo, lab, topic:NAME, or the URL of a \
                        backend";
            mistakes.push(Mistake::new(table.at, text));
            return None;
        };
        let destinations: Vec<To> = words.iter().filter_map(Word::destination).collect();
        let to = match one_destination(&destinations) {
            Ok(to) => to,
            // What is wrong with one of them was said.
            Err(_) if destinations.is_empty() && !is_good => return None,
            Err(text) => {
                mistakes.push(Mistake::new(to_at, text));
                return None;
            }
        };
        let (is_backend, is_secure) = match &to {
            To::Backend(urls) => (true, urls.iter().any(|url| url.secure)),
            _ => (false, false),
        };
        for entry in &table.entries {
            let text = if !is_backend && self.bridge.has(&entry.key) {
                format!(
                    "`{}` is of routes to a backend, and this one leads to none; leave it out",
                    entry.key
                )
            } else if is_backend && entry.key == "subprotocol" {
                "a backend chooses the subprotocol itself; leave `subprotocol` out".to_owned()
            } else {
                continue;
            };
            mistakes.push(Mistake::new(entry.at, text));
            is_good = false;
        }
        for default in defaults {
            let key = &*default.key;
            let is_own = place_of(&table.entries, key).is_some();
            let is_of_backends = self.bridge.has(key) && !is_backend;
            let is_of_tls = OF_TLS.contains(&key) && !is_secure;
            let is_of_us = is_backend && key == "subprotocol";
            if is_own || is_of_backends || is_of_tls || is_of_us {
                continue;
            }
            words.extend(default.words.iter().cloned());
        }
        let place = (table.at, &*table.entries);
        let keys: Option<RouteKeys> = self.route.build(&words, place, mistakes);
        let keys = keys.filter(|_| is_good)?;
        let mut identity: Vec<String> = words.iter().map(Word::text).collect();
        identity.sort();
        Some(RouteSetup {
            paths: keys.path,
            to,
            subprotocols: keys.subprotocol.into(),
            policy: keys.policy,
            bridge: is_backend.then_some(keys.bridge),
            identity: identity.join("\n"),
        })
    }

    /// A key that is not known where it stands.
    fn unknown(&self, entry: &Entry, place: Place) -> Mistake {
        let key: String = entry.key.chars().take(100).collect();
        let (here, sections): (&str, Vec<&Section>) = match place {
            Place::Top => ("the top of the file", vec![&self.process, &self.route]),
            Place::Listener => ("a [[listener]]", vec![&self.listener]),
            Place::Route => ("a [[route]]", vec![&self.route]),
        };
        let text = if self.listener.has(&key) {
            format!("`{key}` is a key of a [[listener]], and not of {here}; move it below one")
        } else if self.route.has(&key) {
            format!("`{key}` is a key of a [[route]], and not of {here}; move it below one")
        } else if self.process.has(&key) {
            format!(
                "`{key}` is a key of the whole process, and not of {here}; move it to the top of \
                 the file, above the first [[listener]] and [[route]]"
            )
        } else if OF_THE_COMMAND_LINE.contains(&&*key) {
            format!("--{key} is an option of the command line only; leave it out here")
        } else {
            let meant = sections.iter().find_map(|section| section.meant(&key));
            match meant {
                Some(meant) => format!("`{key}` is no key of {here}; did you mean `{meant}`?"),
                None => format!(
                    "`{key}` is no key of {here}; keys are the options of `heirloom gateway \
                     --help` without their hyphens"
                ),
            }
        };
        Mistake::new(entry.at, text)
    }
}

impl Word {
    /// Where it leads, where it is a `to`.
    fn destination(&self) -> Option<To> {
        let text = self.text();
        destination(text.strip_prefix("--to=")?).ok()
    }
}

/// Where a key stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    Top,
    Listener,
    Route,
}

/// A key at the top of a file that is one of each route which has no own.
struct OfAllRoutes {
    key: String,
    words: Vec<Word>,
}
