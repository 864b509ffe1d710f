//! A configuration file as tables of keys and values, each with its place. What they mean
//! is not known here.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::Mistake;

/// Tables of one kind that a file may have, and values of one list.
const MOST: usize = 1000;

/// A file.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Outside the tables below.
    pub(super) top: Vec<Entry>,
    pub(super) listeners: Vec<Table>,
    pub(super) routes: Vec<Table>,
    /// It has such tables, or something in their place.
    pub(super) has_listener: bool,
    pub(super) has_route: bool,
}

/// A table of a list of tables.
#[derive(Debug)]
pub(super) struct Table {
    /// Where it starts.
    pub(super) at: usize,
    pub(super) entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: usize,
    pub(super) value: Value,
    pub(super) value_at: usize,
}

#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    /// As it was written.
    Number(String),
    Flag(bool),
    List(Vec<(usize, Value)>),
    /// What no option takes, by its name.
    Other(&'static str),
}

impl Value {
    /// Its kind, with an article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "text",
            Value::Number(_) => "a number",
            Value::Flag(_) => "true or false",
            Value::List(_) => "a list",
            Value::Other(kind) => kind,
        }
    }
}

/// Reads TOML; after a mistake it goes on where that is possible.
pub(super) fn read(text: &str, mistakes: &mut Vec<Mistake>) -> Document {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        mistakes.push(Mistake::of_syntax(at, sentence(error.message())));
    }
    let mut document = Document::default();
    for (key, value) in table.get_ref() {
        match key.get_ref().as_ref() {
            "listener" => {
                document.has_listener = true;
                document.listeners = tables("listener", key.span().start, value, text, mistakes);
            }
            "route" => {
                document.has_route = true;
                document.routes = tables("route", key.span().start, value, text, mistakes);
            }
            _ => document.top.push(entry(key, value, text, mistakes)),
        }
    }
    document
}

/// What a fault of the syntax is called here.
fn sentence(message: &str) -> String {
    let cure = match message {
        "duplicate key" => {
            return "this key stands here twice; keep one, with a list of values where the option \
                    may be given more than once"
                .to_owned();
        }
        _ if message.starts_with("string values must be quoted") => {
            return "text stands in quotes, such as \"all\"".to_owned();
        }
        _ if message.contains("string") => "text stands in quotes, on one line",
        _ if message.contains("table") => {
            "a table is [[listener]] or [[route]], on a line of its own"
        }
        _ if message.contains("array") => "a list is [\"one\", \"two\"]",
        _ => "a line is KEY = VALUE",
    };
    let message = message.replace('\n', " ");
    format!("this is no TOML: {message}; {cure}")
}

/// The tables of a list.
fn tables(
    name: &str,
    at: usize,
    value: &Spanned<DeValue<'_>>,
    text: &str,
    mistakes: &mut Vec<Mistake>,
) -> Vec<Table> {
    let DeValue::Array(items) = value.get_ref() else {
        let cure = format!("there may be several, so write [[{name}]] in two brackets");
        mistakes.push(Mistake::new(at, cure));
        return Vec::new();
    };
    let mut tables = Vec::new();
    for item in items.iter() {
        let at = item.span().start;
        if tables.len() == MOST {
            let text = format!("these are more than {MOST} of [[{name}]]; leave some out");
            mistakes.push(Mistake::new(at, text));
            break;
        }
        let DeValue::Table(table) = item.get_ref() else {
            let text = format!("`{name}` is a list of tables; write each below a line [[{name}]]");
            mistakes.push(Mistake::new(at, text));
            continue;
        };
        let entries = table
            .iter()
            .map(|(key, value)| entry(key, value, text, mistakes));
        let entries = entries.collect();
        tables.push(Table { at, entries });
    }
    tables
}

fn entry(
    key: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
    text: &str,
    mistakes: &mut Vec<Mistake>,
) -> Entry {
    Entry {
        key: key.get_ref().to_string(),
        at: key.span().start,
        value_at: value.span().start,
        value: read_value(value, text, mistakes),
    }
}

fn read_value(value: &Spanned<DeValue<'_>>, text: &str, mistakes: &mut Vec<Mistake>) -> Value {
    match value.get_ref() {
        DeValue::String(string) => Value::Text(string.to_string()),
        // Not its value: what an option says of 0x10 it says itself.
        DeValue::Integer(number) => {
            let written = text.get(value.span()).map(|text| text.replace('_', ""));
            Value::Number(written.unwrap_or_else(|| number.to_string()))
        }
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Array(items) => {
            let mut list = Vec::new();
            for item in items.iter() {
                if list.len() == MOST {
                    let text = format!("a list has at most {MOST} values; leave some out");
                    mistakes.push(Mistake::new(item.span().start, text));
                    break;
                }
                let read = match item.get_ref() {
                    DeValue::Array(_) => Value::Other("a list"),
                    _ => read_value(item, text, mistakes),
                };
                list.push((item.span().start, read));
            }
            Value::List(list)
        }
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date or a time"),
        DeValue::Table(_) => Value::Other("a table"),
    }
}
