//! A part of a configuration file, and the options that are its keys. A key is the long
//! name of an option, and its values are read by the definition of the option: so names,
//! bounds, units, defaults and what is said of a mistake stand in one place.

use std::any::TypeId;
use std::error::Error as _;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, Resettable};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Args, Command};

use super::super::suggest;
use super::document::{Entry, Value};
use super::mistake::Mistake;

/// A part of a file: its keys are the options of some `Args`.
#[derive(Debug)]
pub(super) struct Section(Command);

/// An option as a word of a command line, and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) key: String,
    /// Where its key is.
    pub(super) at: usize,
    pub(super) word: OsString,
}

impl Word {
    pub(super) fn text(&self) -> String {
        self.word.to_string_lossy().into_owned()
    }
}

impl Section {
    /// The section with these options.
    pub(super) fn of<A: Args>() -> Section {
        let command = Command::new("configuration")
            .no_binary_name(true)
            .disable_help_flag(true)
            .disable_version_flag(true);
        Section(A::augment_args(command))
    }

    /// Its keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.options().filter_map(Arg::get_long)
    }

    /// Its options.
    pub(super) fn options(&self) -> impl Iterator<Item = &Arg> {
        self.0.get_arguments()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.keys().any(|own| own == key)
    }

    /// The words of a key that is among its keys; `None` where a value is wrong. Paths
    /// are relative to `folder`.
    pub(super) fn words(
        &self,
        entry: &Entry,
        folder: &Path,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Vec<Word>> {
        let mut options = self.options();
        let option = options.find(|option| option.get_long() == Some(&*entry.key))?;
        let one = [(entry.value_at, &entry.value)];
        let listed: Vec<(usize, &Value)> = match &entry.value {
            Value::List(values) if matches!(option.get_action(), ArgAction::Append) => {
                values.iter().map(|(at, value)| (*at, value)).collect()
            }
            _ => one.into(),
        };
        let mut words = Vec::new();
        let mut is_good = true;
        for (at, value) in listed {
            match word(option, value, folder) {
                Ok(word) => words.extend(word.map(|word| Word {
                    key: entry.key.clone(),
                    at: entry.at,
                    word,
                })),
                Err(text) => {
                    mistakes.push(Mistake::new(at, text));
                    is_good = false;
                }
            }
        }
        is_good.then_some(words)
    }

    /// What these words make, which are each good; `at` is where the section starts, and
    /// `entries` is what it has, with values that are not good.
    pub(super) fn build<A: Args>(
        &self,
        words: &[Word],
        (at, entries): (usize, &[Entry]),
        mistakes: &mut Vec<Mistake>,
    ) -> Option<A> {
        let error = match self.parse(words) {
            Ok(matches) => match A::from_arg_matches(&matches) {
                Ok(args) => return Some(args),
                Err(error) => error,
            },
            Err(error) => error,
        };
        let place = |key: &str| words.iter().find(|word| word.key == key);
        let named = names(&error, ContextKind::InvalidArg);
        let (at, text) = match (error.kind(), &*named) {
            (ErrorKind::ArgumentConflict, [key, ..]) => {
                let others = names(&error, ContextKind::PriorArg);
                let text = format!(
                    "`{key}` cannot stand beside `{}`; leave one of them out",
                    others.join("`, `")
                );
                (place(key).map_or(at, |word| word.at), text)
            }
            (ErrorKind::MissingRequiredArgument, [missing, ..])
                if entries.iter().any(|entry| entry.key == *missing) =>
            {
                // Its value was told of.
                return None;
            }
            (ErrorKind::MissingRequiredArgument, [missing, ..]) => {
                // The one that needs it is alone as wrong as with the others.
                let needs = |word: &&Word| {
                    let own: Vec<Word> = words
                        .iter()
                        .filter(|w| w.key == word.key)
                        .cloned()
                        .collect();
                    let error = self.parse(&own).err();
                    error.is_some_and(|error| error.kind() == ErrorKind::MissingRequiredArgument)
                };
                match words.iter().find(needs) {
                    Some(word) => {
                        let text = format!("`{}` needs `{missing}` beside it; give both", word.key);
                        (word.at, text)
                    }
                    None => (at, format!("`{missing}` is missing")),
                }
            }
            _ => (at, first_line(&error)),
        };
        mistakes.push(Mistake::new(at, text));
        None
    }

    fn parse(&self, words: &[Word]) -> Result<clap::ArgMatches, clap::Error> {
        let words = words.iter().map(|word| &word.word);
        self.0.clone().try_get_matches_from(words)
    }

    /// The key that was probably meant by this one.
    pub(super) fn meant(&self, key: &str) -> Option<&str> {
        suggest::of_name(key, self.keys())
    }
}

/// The word that gives an option this value; `None` where that is to leave it out.
fn word(option: &Arg, value: &Value, folder: &Path) -> Result<Option<OsString>, String> {
    let key = option.get_long().unwrap_or_default();
    let is_flag = matches!(option.get_action(), ArgAction::SetTrue);
    let may_be_bare = option.get_num_args().is_some_and(|n| n.min_values() == 0);
    let text = match value {
        Value::Flag(false) if is_flag || may_be_bare => return Ok(None),
        Value::Flag(true) if is_flag || may_be_bare => return Ok(Some(format!("--{key}").into())),
        _ if is_flag => {
            let kind = value.kind();
            return Err(format!("`{key}` is true or false, and this is {kind}"));
        }
        Value::Text(text) | Value::Number(text) => text,
        Value::List(_) => {
            return Err(format!(
                "`{key}` has one value, and this is a list; give one of them"
            ));
        }
        Value::Flag(_) | Value::Other(_) => {
            let possible = option.get_possible_values();
            let possible: Vec<&str> = possible.iter().map(PossibleValue::get_name).collect();
            let wanted = match &*possible {
                [] => "text or a number".to_owned(),
                possible => format!("one of {}", possible.join(", ")),
            };
            return Err(format!(
                "`{key}` takes {wanted}, and this is {}",
                value.kind()
            ));
        }
    };
    check_socket(key, text, folder)?;
    let is_path = option.get_value_parser().type_id() == TypeId::of::<PathBuf>();
    // A hyphen stands for standard output.
    let value = if is_path && !matches!(&**text, "" | "-") {
        folder.join(text).into_os_string()
    } else {
        text.into()
    };
    let mut word = OsString::from(format!("--{key}="));
    word.push(value);
    check(option, key, &word, text)?;
    Ok(Some(word))
}

/// A path in an address or a URL is not made relative to the file: it would be another
/// one than the text says.
fn check_socket(key: &str, text: &str, folder: &Path) -> Result<(), String> {
    let Some((_, path)) = text.split_once("unix:") else {
        return Ok(());
    };
    let is_address = [
        "unix:",
        "tls://unix:",
        "ws://unix:",
        "wss://unix:",
        "ws+unix:",
        "wss+unix:",
    ]
    .iter()
    .any(|start| text.starts_with(start));
    if !is_address || path.is_empty() || path.starts_with(['/', '@']) {
        return Ok(());
    }
    Err(format!(
        "the path of a Unix socket in `{key}` is absolute in a file; did you mean {}?",
        folder.join(path).display()
    ))
}

/// Reads one value by the option's own definition.
fn check(option: &Arg, key: &str, word: &OsString, text: &str) -> Result<(), String> {
    let alone = option
        .clone()
        .required(false)
        .requires(Resettable::Reset)
        .conflicts_with(Resettable::Reset);
    let command = Command::new("value")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(alone);
    let Err(error) = command.try_get_matches_from([word]) else {
        return Ok(());
    };
    let short: String = text.chars().take(100).collect();
    let context = |kind| match error.get(kind) {
        Some(ContextValue::Strings(values)) => values.join(", "),
        Some(ContextValue::String(value)) => value.clone(),
        _ => String::new(),
    };
    let why = match (error.kind(), error.source()) {
        (ErrorKind::ValueValidation, Some(why)) => why.to_string(),
        (ErrorKind::InvalidValue, _) => {
            let possible = context(ContextKind::ValidValue);
            let meant = context(ContextKind::SuggestedValue);
            match (possible.is_empty(), meant.is_empty()) {
                (true, _) => "give a value".to_owned(),
                (false, true) => format!("it is one of {possible}"),
                (false, false) => format!("it is one of {possible}; did you mean {meant}?"),
            }
        }
        _ => first_line(&error),
    };
    let is_secret = error.kind() == ErrorKind::ValueValidation
        && error.get(ContextKind::InvalidValue).is_none();
    if is_secret {
        // An error without the value leaves it out because a password may be in it.
        let (_, why) = why.split_once(" is wrong: ").unwrap_or(("", why.as_str()));
        return Err(format!("that is no value of `{key}`: {}", as_keys(why)));
    }
    Err(format!(
        "\"{short}\" is no value of `{key}`: {}",
        as_keys(&why)
    ))
}

/// The keys that an error is about.
fn names(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    let shown: Vec<&String> = match error.get(kind) {
        Some(ContextValue::String(one)) => vec![one],
        Some(ContextValue::Strings(several)) => several.iter().collect(),
        _ => Vec::new(),
    };
    let name = |shown: &&String| {
        let name = shown.trim_start_matches('-');
        let end = name.find([' ', '=', '[']).unwrap_or(name.len());
        name.split_at(end).0.to_owned()
    };
    shown.iter().map(name).collect()
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    as_keys(line.trim_start_matches("error: "))
}

/// A sentence about options as one about keys, which have no hyphens.
pub(super) fn as_keys(text: &str) -> String {
    let mut keys = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("--") {
        keys.push_str(before);
        // Lines of PEM have hyphens too.
        let is_option = behind.starts_with(|c: char| c.is_ascii_lowercase())
            && (keys.is_empty() || keys.ends_with([' ', '`', '(']));
        if !is_option {
            keys.push_str("--");
        }
        rest = behind;
    }
    keys.push_str(rest);
    keys
}
