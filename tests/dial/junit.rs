//! Reports of `probe` as JUnit.

use std::fs;

use crate::host::Host;
use crate::program::{EVIL, probe};
use crate::refusals::refusal;
use crate::support::program::Program;

#[test]
fn junit_counts_what_is_as_bad_as_the_floor() {
    let server = Program::serve(&[]);
    let folder = std::env::temp_dir().join(format!("heirloom-junit-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    for (floor, failures) in [("wrong", 0), ("refused", 5)] {
        let path = folder.join(format!("{floor}.xml"));
        let junit = ["--junit", path.to_str().unwrap(), "--fail-on", floor];
        let (ended, _) = probe(server.address, &junit);
        ended.exits(i32::from(failures > 0));
        let xml = fs::read_to_string(&path).unwrap();
        let tags = tags(&xml);
        let count = |name: &str| tags.iter().filter(|tag| tag.name == name).count();
        assert_eq!(count("testsuite"), 1);
        assert_eq!(count("testcase"), 11);
        assert_eq!(count("failure"), failures);
        for name in ["testsuites", "testsuite"] {
            let tag = tags.iter().find(|tag| tag.name == name).unwrap();
            assert_eq!(tag.attribute("tests"), Some("11"), "{xml}");
            let count = failures.to_string();
            assert_eq!(tag.attribute("failures"), Some(&*count), "{xml}");
            assert_eq!(tag.attribute("errors"), Some("0"), "{xml}");
        }
        for tag in tags.iter().filter(|tag| tag.name == "failure") {
            // hybi-03 is answered as hixie-76, which has the same handshake.
            let (kind, message) = (tag.attribute("type"), tag.attribute("message").unwrap());
            match kind {
                Some("refused") => assert!(message.contains("--versions +"), "{message}"),
                Some("hangs") => assert!(message.contains("that of hixie-76"), "{message}"),
                _ => panic!("{xml}"),
            }
        }
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn junit_of_hostile_text_is_well_formed() {
    let body = format!("<&>\"']]>{EVIL}\0\u{fffe}\n");
    let (head, body) = refusal("400 Bad", "", &body);
    let host = Host::sending([head, body].concat());
    let name = format!("heirloom-hostile-{}.xml", std::process::id());
    let path = std::env::temp_dir().join(name);
    let junit = ["--junit", path.to_str().unwrap(), "--fail-on", "refused"];
    probe(host.address, &junit).0.exits(1);
    let xml = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(
        tags(&xml).iter().filter(|t| t.name == "failure").count(),
        11
    );
    let shown = |c: char| c == '\n' || (' '..='~').contains(&c) || c == '\u{fffd}';
    assert!(xml.chars().all(shown), "{xml:?}");
}

#[test]
fn junit_that_cannot_be_written_is_an_error() {
    let server = Program::serve(&[]);
    let junit = ["--versions", "13", "--junit", "/nowhere/at/all.xml"];
    let (ended, findings) = probe(server.address, &junit);
    ended
        .exits(3)
        .complains("cannot write /nowhere/at/all.xml: ");
    assert_eq!(findings.len(), 1);
}

/// An element of XML.
#[derive(Debug)]
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn attribute(&self, name: &str) -> Option<&str> {
        let mut all = self.attributes.iter();
        all.find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The elements of a document, which must be well formed.
fn tags(xml: &str) -> Vec<Tag> {
    let (mut tags, mut open, mut rest) = (Vec::new(), Vec::new(), xml);
    while let Some((text, after)) = rest.split_once('<') {
        is_text(text);
        // Quoted values may hold what ends a tag.
        let mut quote = None;
        let end = after
            .find(|c| {
                match quote {
                    Some(q) if c == q => quote = None,
                    None if c == '"' || c == '\'' => quote = Some(c),
                    _ => {}
                }
                quote.is_none() && c == '>'
            })
            .unwrap_or_else(|| panic!("a tag does not end: {after}"));
        let (tag, after) = (&after[..end], &after[end + 1..]);
        rest = after;
        if tag.starts_with('?') {
            assert!(tag.ends_with('?') && tags.is_empty(), "<{tag}>");
        } else if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{xml}");
        } else {
            let (inside, empty) = match tag.strip_suffix('/') {
                Some(inside) => (inside, true),
                None => (tag, false),
            };
            let (name, mut values) = inside.split_once(' ').unwrap_or((inside, ""));
            let mut attributes = Vec::new();
            while let Some((name, value)) = values.split_once("=\"") {
                let (value, after) = value.split_once('"').unwrap();
                is_text(value);
                attributes.push((name.trim().to_owned(), value.to_owned()));
                values = after;
            }
            assert_eq!(values.trim(), "", "<{tag}>");
            if !empty {
                open.push(name.to_owned());
            }
            let name = name.to_owned();
            tags.push(Tag { name, attributes });
        }
    }
    is_text(rest);
    assert!(open.is_empty(), "{open:?} do not end: {xml}");
    tags
}

/// No mark stands bare.
fn is_text(text: &str) {
    assert!(!text.contains(['<', '>']), "{text}");
    for after in text.split('&').skip(1) {
        let name = after.split(';').next().unwrap();
        let known = ["lt", "gt", "amp", "quot", "apos"].contains(&name);
        assert!(known || name.starts_with('#'), "&{name};");
    }
}
