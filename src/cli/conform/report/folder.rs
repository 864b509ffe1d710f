//! Files of a report: their names, and how they are written without a loss of
//! others.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Characters of an agent in the name of a file.
const AGENT: usize = 100;
/// Octets of an old file that are looked at.
const LOOKED_AT: u64 = 64 * 1024;

/// The names of agents in the names of files, no two of them the same.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<(String, String)>);

impl Names {
    pub(super) fn of<'a>(agents: impl IntoIterator<Item = &'a str>) -> Names {
        let mut names = Names::default();
        let mut taken = BTreeSet::new();
        for agent in agents {
            if names.0.iter().any(|(known, _)| known == agent) {
                continue;
            }
            let cleaned = cleaned(agent);
            let mut name = cleaned.clone();
            let mut number = 2;
            while !taken.insert(name.clone()) {
                name = format!("{cleaned}_{number}");
                number += 1;
            }
            names.0.push((agent.to_owned(), name));
        }
        names
    }

    /// The name of the file about this case of this agent.
    pub(super) fn file(&self, agent: &str, id: &str, extension: &str) -> String {
        let known = self.0.iter().find(|(known, _)| known == agent);
        let agent = known.map_or("", |(_, name)| name.as_str());
        let id: String = id
            .chars()
            .map(|c| match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => c,
                _ => '_',
            })
            .collect();
        format!("{agent}_case_{id}.{extension}")
    }
}

/// An agent as Autobahn|Testsuite has it in the names of files.
fn cleaned(agent: &str) -> String {
    let octets = agent.trim().bytes().take(AGENT);
    let kept = octets.map(|octet| match octet.to_ascii_lowercase() {
        kept @ (b'a'..=b'z' | b'0'..=b'9') => char::from(kept),
        _ => ' ',
    });
    kept.collect::<String>().trim().replace(' ', "_")
}

/// A folder of files of one kind.
pub(super) struct Folder {
    path: PathBuf,
    /// Whether the first octets of a file are those of a report.
    is_report: fn(&[u8]) -> bool,
}

impl Folder {
    /// The folder; it need not be there yet.
    pub(super) fn new(path: &Path, is_report: fn(&[u8]) -> bool) -> Folder {
        Folder {
            path: path.to_owned(),
            is_report,
        }
    }

    /// Fails where it is no folder, or has another file of this name.
    pub(super) fn check(&self, name: &str) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(found) if !found.is_dir() => Err(io::Error::other("it is not a folder")),
            Ok(_) => check(&self.path.join(name), self.is_report),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn create(&self) -> io::Result<()> {
        fs::create_dir_all(&self.path)
    }

    /// Writes a file. `name` is made by [`Names::file`], or a constant.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.path.join(name);
        check(&path, self.is_report)
            .and_then(|()| fs::write(&path, text))
            .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))
    }
}

/// Fails where there is another file than a report.
pub(super) fn check(path: &Path, is_report: fn(&[u8]) -> bool) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut start = Vec::new();
    if found.is_file() {
        File::open(path)?.take(LOOKED_AT).read_to_end(&mut start)?;
    }
    if found.is_file() && (start.is_empty() || is_report(&start)) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        "there is a file of this name that is no such report; remove it, or name another place",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_agents_are_cleaned_and_stay_apart() {
        let agents = [
            "Node/ws 8.18",
            "node-WS 8.18 ",
            "../../etc",
            "é",
            "Node/ws 8.18",
        ];
        let names = Names::of(agents);
        let file = |agent: &str| names.file(agent, "6.4.3", "json");
        assert_eq!(file("Node/ws 8.18"), "node_ws_8_18_case_6_4_3.json");
        assert_eq!(file("node-WS 8.18 "), "node_ws_8_18_2_case_6_4_3.json");
        assert_eq!(file("../../etc"), "etc_case_6_4_3.json");
        assert_eq!(file("é"), "_case_6_4_3.json");
        let old = names.file("é", "hixie-76/../echo", "html");
        assert_eq!(old, "_case_hixie-76____echo.html");
        assert_eq!(cleaned(&"a".repeat(1000)).len(), AGENT);
    }
}
