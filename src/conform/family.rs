//! Families: one entry of a file that stands for several cases.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The most cases of a file.
const MAX_CASES: usize = 4096;
/// The most octets and values that a file may come to once its families are cases.
const MAX_SIZE: usize = 64 * 1024 * 1024;
/// What lines of a handshake leave to the tester. No parameter has these names.
const PLACEHOLDERS: [&str; 7] = [
    "accept", "host", "key", "origin", "protocol", "scheme", "target",
];

/// Makes the cases of all entries of one file.
pub(super) struct Families<'a> {
    /// What all entries may name.
    constants: &'a Map<String, Value>,
    /// The keys of an entry that does not have them itself.
    defaults: &'a Map<String, Value>,
    /// The constants that were named so far.
    used: BTreeSet<String>,
    cases: usize,
    size: usize,
}

impl<'a> Families<'a> {
    pub(super) fn new(
        constants: &'a Map<String, Value>,
        defaults: &'a Map<String, Value>,
    ) -> Families<'a> {
        Families {
            constants,
            defaults,
            used: BTreeSet::new(),
            cases: 0,
            size: 0,
        }
    }

    /// The cases of one entry.
    pub(super) fn expand(&mut self, entry: &Map<String, Value>) -> Result<Vec<Value>, String> {
        let mut case = self.defaults.clone();
        case.extend(
            entry
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        let with = match case.remove("with") {
            None => Map::new(),
            Some(Value::Object(with)) => with,
            Some(_) => return Err("with is not an object of parameters".to_owned()),
        };
        let each = case.remove("each");
        let is_family = each.is_some();
        let members = match each {
            None => vec![Map::new()],
            Some(each) => {
                let each = self.filled(&each, &Map::new(), &mut BTreeSet::new())?;
                members(&each)?
            }
        };
        let case = Value::Object(case);
        let mut cases = Vec::new();
        for member in members {
            self.cases += 1;
            if self.cases > MAX_CASES {
                return Err(format!("the file has more than {MAX_CASES} cases"));
            }
            let mut parameters = with.clone();
            for (name, value) in member {
                if parameters.insert(name.clone(), value).is_some() {
                    return Err(format!("the parameter {name:?} is given twice"));
                }
            }
            if let Some(name) = parameters.keys().find(|name| self.is_taken(name)) {
                return Err(format!(
                    "no parameter can be named {name:?}: the file or the tester has that name"
                ));
            }
            let mut used = BTreeSet::new();
            cases.push(self.filled(&case, &parameters, &mut used)?);
            if let Some(name) = parameters.keys().find(|name| !used.contains(*name)) {
                return Err(format!("the parameter {name:?} is not used"));
            }
        }
        if is_family && cases.is_empty() {
            return Err("each has no members".to_owned());
        }
        Ok(cases)
    }

    /// A constant of the file that no entry has named.
    pub(super) fn unused(&self) -> Option<&'a str> {
        let mut names = self.constants.keys();
        names
            .find(|name| !self.used.contains(*name))
            .map(String::as_str)
    }

    fn is_taken(&self, name: &str) -> bool {
        self.constants.contains_key(name) || PLACEHOLDERS.contains(&name)
    }

    /// A value with its parameters filled in. What is filled in is not looked
    /// through for further ones.
    fn filled(
        &mut self,
        value: &Value,
        parameters: &Map<String, Value>,
        used: &mut BTreeSet<String>,
    ) -> Result<Value, String> {
        match value {
            Value::String(text) => self.filled_text(text, parameters, used),
            Value::Array(values) => {
                self.count(1)?;
                let values = values.iter().map(|v| self.filled(v, parameters, used));
                values.collect::<Result<_, _>>().map(Value::Array)
            }
            Value::Object(map) => {
                self.count(1)?;
                let pairs = map
                    .iter()
                    .map(|(key, v)| Ok((key.clone(), self.filled(v, parameters, used)?)));
                pairs.collect::<Result<_, String>>().map(Value::Object)
            }
            value => {
                self.count(1)?;
                Ok(value.clone())
            }
        }
    }

    fn filled_text(
        &mut self,
        text: &str,
        parameters: &Map<String, Value>,
        used: &mut BTreeSet<String>,
    ) -> Result<Value, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, name, behind)) = next_parameter(rest) {
            filled.push_str(before);
            rest = behind;
            if PLACEHOLDERS.contains(&name) {
                filled.push_str(&format!("{{{name}}}"));
                continue;
            }
            let value = match (parameters.get(name), self.constants.get(name)) {
                (Some(value), _) => {
                    used.insert(name.to_owned());
                    value
                }
                (None, Some(value)) => {
                    self.used.insert(name.to_owned());
                    value
                }
                (None, None) => return Err(format!("no parameter is named {name:?}")),
            };
            let is_all = before.is_empty() && behind.is_empty() && filled.is_empty();
            if is_all {
                let value = value.clone();
                self.count(size(&value))?;
                return Ok(value);
            }
            match value {
                Value::String(text) => filled.push_str(text),
                Value::Number(number) => filled.push_str(&number.to_string()),
                _ => return Err(format!("the parameter {name:?} is no text and no number")),
            }
        }
        filled.push_str(rest);
        self.count(filled.len())?;
        Ok(Value::String(filled))
    }

    fn count(&mut self, size: usize) -> Result<(), String> {
        self.size = self.size.saturating_add(size);
        match self.size {
            ..=MAX_SIZE => Ok(()),
            _ => Err(format!("the file comes to more than {MAX_SIZE} octets")),
        }
    }
}

/// The members of `each`: objects of parameters, or several lists of them, of which
/// every combination is one member.
fn members(each: &Value) -> Result<Vec<Map<String, Value>>, String> {
    let wrong = || "each is no list of objects, and no list of such lists".to_owned();
    let object = |value: &Value| value.as_object().cloned().ok_or_else(wrong);
    let each = each.as_array().ok_or_else(wrong)?;
    if !each.iter().any(Value::is_array) {
        return each.iter().map(object).collect();
    }
    let mut members = vec![Map::new()];
    for list in each {
        let list = list.as_array().ok_or_else(wrong)?;
        if list.len().saturating_mul(members.len()) > MAX_CASES {
            return Err(format!("the file has more than {MAX_CASES} cases"));
        }
        let mut longer = Vec::new();
        for member in &members {
            for more in list {
                let mut member = member.clone();
                for (name, value) in object(more)? {
                    if member.insert(name.clone(), value).is_some() {
                        return Err(format!("the parameter {name:?} is given twice"));
                    }
                }
                longer.push(member);
            }
        }
        members = longer;
    }
    Ok(members)
}

/// What is before the first parameter of a text, its name, and what is behind it. A
/// brace that no name follows stands for itself.
fn next_parameter(text: &str) -> Option<(&str, &str, &str)> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    text.match_indices('{').find_map(|(at, _)| {
        let before = text.get(..at)?;
        let (name, behind) = text.get(at + 1..)?.split_once('}')?;
        is_name(name).then_some((before, name, behind))
    })
}

/// The values in a value, and the octets of its texts.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => 1 + text.len(),
        Value::Array(values) => 1 + values.iter().map(size).sum::<usize>(),
        Value::Object(map) => 1 + map.iter().map(|(k, v)| k.len() + size(v)).sum::<usize>(),
        _ => 1,
    }
}
