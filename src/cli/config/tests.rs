//! Files of all kinds: good ones, each mistake at its place, and any octets.

#![cfg(test)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;

use std::path::Path;

use proptest::prelude::*;

use super::super::listener_args::ListenerArgs;
use super::super::process_args::GatewayProcessArgs;
use super::super::setup::{Loaded, RouteSetup, To};
use super::mistake;
use super::route_keys::RouteKeys;
use super::section::Section;
use super::{read, text};

/// What a file of this text is, or its mistakes as `LINE:COLUMN: text`.
fn read_text(file: impl AsRef<[u8]>) -> Result<Loaded, Vec<String>> {
    let octets = file.as_ref();
    let mut mistakes = Vec::new();
    let loaded = match text(octets) {
        Ok(text) => read(text, Path::new("/etc/heirloom"), &[], &mut mistakes),
        Err(mistake) => {
            mistakes.push(mistake);
            None
        }
    };
    match loaded {
        Some(loaded) if mistakes.is_empty() => Ok(loaded),
        _ => {
            let lines = mistake::lines(Path::new("f"), octets, mistakes);
            let lines = lines
                .iter()
                .map(|line| line.trim_start_matches("f:").to_owned());
            Err(lines.collect())
        }
    }
}

const GOOD: &str = "[[listener]]\nlisten = \"127.0.0.1:0\"\n[[route]]\nto = \"echo\"\n";

/// The mistakes of a file that holds these lines in front of a good rest.
fn mistakes_of(text: &str) -> Vec<String> {
    match read_text(format!("{text}\n{GOOD}")) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes,
    }
}

#[test]
fn a_file_describes_listeners_and_routes() {
    let loaded = read_text(
        "workers = 2\nversions = \"all\"\norigin = [\"https://a.example\", \"same\"]\n\
         insecure = true\nas = \"hixie-76\"\nsubprotocol = [\"a\"]\n\
         [[listener]]\nlisten = [\"127.0.0.1:0\", \"ws://[::1]:0\"]\n\
         [[listener]]\nlisten = \"unix:/run/x\"\nunix-mode = 660\n\
         [[route]]\npath = \"/app\"\nhost = [\"*.a.example\", \"b.example:81\"]\n\
         to = [\"ws://h/\", \"ws://i/\"]\nas = 13\ncompression-for-safari-15 = true\n\
         max-message-bytes = 16_384\nsend-proxy = true\n\
         [[route]]\nto = \"topic:chat\"\nversions = \"default\"\n",
    )
    .unwrap();
    assert_eq!(loaded.places().len(), 3);
    let setup = &loaded.setup;
    assert_eq!(setup.process.common.workers(), 2);
    let [app, chat] = &*setup.routes else {
        panic!("{:?}", setup.routes);
    };
    assert!(matches!(&app.to, To::Backend(urls) if urls.len() == 2));
    assert!(app.subprotocols.is_empty() && *chat.subprotocols == ["a"]);
    let config = |route: &RouteSetup| route.policy.config(heirloom::Config::default());
    assert_eq!(config(app).limits.message_bytes, 16_384);
    assert_eq!(config(app).versions, heirloom::Versions::ALL);
    assert_eq!(config(chat).versions, heirloom::Versions::default());
    assert!(chat.bridge.is_none() && !chat.policy.allows_any_origin());
}

#[test]
fn each_mistake_has_its_line_and_column_and_a_cure() {
    for (text, place, says) in [
        ("workrs = 3", "1:1", "did you mean `workers`?"),
        ("\n  work_ers = 3", "2:3", "did you mean `workers`?"),
        ("zebra = 1", "1:1", "`heirloom gateway --help`"),
        ("config = \"a\"", "1:1", "command line only"),
        ("listen = \"127.0.0.1:1\"", "1:1", "of a [[listener]]"),
        ("path = \"/\"", "1:1", "of a [[route]]"),
        ("workers = 0", "1:11", "from 1 to 1024"),
        ("workers = 2.5", "1:11", "a number with a fraction"),
        ("workers = [1, 2]", "1:11", "has one value"),
        (
            "workers = \"é\"",
            "1:11",
            "give a whole number from 1 to 1024",
        ),
        ("json = \"yes\"", "1:8", "true or false"),
        ("idle-timeout-ms = \"5 weeks\"", "1:19", "5min"),
        ("max-memory-bytes = 2024-01-01", "1:20", "a date or a time"),
        ("compression = \"shred\"", "1:15", "did you mean shared?"),
        ("binary = true", "1:10", "one of refuse, base64"),
        ("versions = \"hixie\"", "1:12", "hixie-76"),
        ("origin = [\"https://a\", \"b\"]", "1:24", "https://b"),
        ("host = \"a.*\"", "1:8", "*.example.com"),
        ("versions = \"-76,-7,-8,-13\"", "1:1", "no version is on"),
        ("workers = 1\nworkers = 2", "2:1", "twice"),
        ("workers 1", "1:9", "KEY = VALUE"),
        ("workers = \"1", "1:13", "in quotes"),
        ("workers = one", "1:11", "in quotes"),
        ("[listener]\nlisten = \"a\"", "1:2", "two brackets"),
        ("max-head-bytes = 0640", "1:18", "no TOML"),
        ("[other]\na = 1", "1:2", "no key of"),
        (
            "pass-header = [\"X-A\", \"Host\"]",
            "1:23",
            "writes it itself",
        ),
        ("workers = \"\\u001b[2J\"", "1:11", "\\u{1b}[2J"),
    ] {
        let found = mistakes_of(text);
        assert!(!found.is_empty(), "{text}");
        assert!(
            found[0].starts_with(&format!("{place}: ")),
            "{text}: {found:?}"
        );
        assert!(found[0].contains(says), "{text}: {found:?}");
    }
}

#[test]
fn what_only_a_section_or_the_whole_shows_is_a_mistake_too() {
    let listener = "[[listener]]\nlisten = \"127.0.0.1:0\"\n";
    let route = "[[route]]\nto = \"echo\"\n";
    for (text, place, says) in [
        (String::new(), "1:1", "no [[listener]]"),
        (listener.to_owned(), "1:1", "no [[route]]"),
        (
            format!(
                "{listener}[[route]]\nto = \"ws://h/\"\ncompression = \"off\"\n\
                 backend-compression = \"always\"\n"
            ),
            "6:1",
            "is off, so nothing can be offered",
        ),
        (
            format!(
                "{listener}[[route]]\nto = \"ws://h/\"\nas = 76\nbackend-compression = \"always\"\n"
            ),
            "6:1",
            "hixie-76 has no compression",
        ),
        (
            format!("{route}[listener]\nlisten = \"a\"\n"),
            "3:2",
            "two brackets",
        ),
        (
            format!("{route}listener = 3\n"),
            "3:1",
            "is no key of a [[route]]",
        ),
        (
            format!("listener = [3]\n{route}"),
            "1:13",
            "a list of tables",
        ),
        (format!("{route}[[listener]]\n"), "3:1", "has no `listen`"),
        (format!("{listener}[[route]]\n"), "3:1", "has no `to`"),
        (
            format!("{listener}workers = 2\n{route}"),
            "3:1",
            "move it to the top",
        ),
        (
            format!("{listener}versions = \"all\"\n{route}"),
            "3:1",
            "of a [[route]]",
        ),
        (
            format!("{listener}tls-cert = \"a\"\n{route}"),
            "3:1",
            "`tls-cert` needs `tls-key`",
        ),
        (
            format!("{listener}tls-cert = \"no.pem\"\ntls-key = \"no.pem\"\n{route}"),
            "3:1",
            "/etc/heirloom/no.pem cannot be read",
        ),
        (
            format!("[[listener]]\nlisten = \"tls://127.0.0.1:1\"\n{route}"),
            "2:1",
            "needs a certificate; give tls-cert and tls-key",
        ),
        (
            format!(
                "[[listener]]\nlisten = \"127.0.0.1:1\"\n[[listener]]\nlisten = \"127.0.0.1:1\"\n{route}"
            ),
            "4:1",
            "listened on twice",
        ),
        (
            format!("[[listener]]\nlisten = \"unix:a\"\n{route}"),
            "2:10",
            "/etc/heirloom/a?",
        ),
        (
            format!("{listener}{route}{route}"),
            "5:1",
            "a route before this one",
        ),
        (
            format!("{listener}{route}host = [\"a\", \"B\"]\n{route}host = \"b\"\n"),
            "6:1",
            "has / of b already",
        ),
        (
            format!("{listener}[[route]]\nto = \"topic:\"\n"),
            "4:6",
            "topic:chat",
        ),
        (format!("{listener}[[route]]\nto = []\n"), "4:1", "is empty"),
        (
            format!("{listener}[[route]]\nto = [\"lab\", \"ws://a\"]\n"),
            "4:1",
            "several backends",
        ),
        (
            format!("{listener}[[route]]\nto = \"http://a/\"\n"),
            "4:6",
            "did you mean ws://a/?",
        ),
        (
            format!("{listener}{route}as = \"rfc6455\"\n"),
            "5:1",
            "leads to none",
        ),
        (
            format!("{listener}[[route]]\nto = \"ws://a\"\nsubprotocol = \"a\"\n"),
            "5:1",
            "leave `subprotocol` out",
        ),
        (
            format!("{listener}[[route]]\nto = \"ws://a\"\nca = \"b\"\n"),
            "5:1",
            "ca is about TLS",
        ),
        (
            format!("{listener}[[route]]\nto = \"wss://a\"\nca = \"b\"\ninsecure = true\n"),
            "5:1",
            "`ca` cannot stand beside `insecure`",
        ),
    ] {
        let found = read_text(&text).expect_err(&text);
        let mut of_place = found
            .iter()
            .filter(|line| line.starts_with(&format!("{place}: ")));
        assert!(
            of_place.any(|line| line.contains(says)),
            "{text}: {found:#?}"
        );
    }
}

#[test]
fn all_mistakes_are_told_in_their_order() {
    let found = read_text(
        "workers = 0\nzebra = 1\n[[listener]]\nlisten = \"127.0.0.1:99999\"\ntls-cert = \"a\"\n\
         [[route]]\nto = \"ecco\"\npath = \"a\"\n[[route]]\nas = \"x\"\n",
    )
    .unwrap_err();
    let places: Vec<&str> = found
        .iter()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    let want = ["1:11", "2:1", "4:10", "5:1", "7:6", "8:8", "9:1", "10:6"];
    assert_eq!(places, want, "{found:#?}");
}

#[test]
fn a_file_that_is_no_text_has_one_mistake() {
    for (octets, says) in [
        (&b"a = \"\xff\""[..], "1:6: this is no UTF-8"),
        (
            &b"\x7fELF\x02\x01\x01\0\0\0"[..],
            "1:1: the control character U+007F",
        ),
        (
            &b"ok = 1\n\0\0\0\0"[..],
            "2:1: the control character U+0000",
        ),
    ] {
        let found = read_text(octets).unwrap_err();
        assert!(found.len() == 1 && found[0].starts_with(says), "{found:?}");
    }
}

#[test]
fn mistakes_and_tables_without_end_are_bounded() {
    let many = format!("{}{GOOD}", "a = 1\n".repeat(50_000));
    assert!(read_text(many).unwrap_err().len() <= 1001);
    let tables = format!("{GOOD}{}", "[[route]]\n".repeat(5_000));
    let found = read_text(tables).unwrap_err();
    assert!(
        found
            .last()
            .unwrap()
            .contains("more than 1000 of [[route]]")
            || found.len() == 1001
    );
    let deep = format!("a = {}{}\n{GOOD}", "[".repeat(50_000), "]".repeat(50_000));
    assert!(read_text(deep).is_err());
    let list = format!("origin = [{}]\n{GOOD}", "\"https://a\", ".repeat(20_000));
    assert!(read_text(list).unwrap_err()[0].contains("at most 1000 values"));
}

#[test]
fn the_guide_lists_the_keys_of_each_section() {
    let mut wrong = Vec::new();
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/deployment.md");
    let guide = fs::read_to_string(guide).unwrap();
    for (name, section) in [
        ("the top", Section::of::<GatewayProcessArgs>()),
        ("`[[listener]]`", Section::of::<ListenerArgs>()),
        ("`[[route]]`", Section::of::<RouteKeys>()),
    ] {
        let row = guide
            .lines()
            .find_map(|line| line.strip_prefix(&format!("| {name} | ")));
        let row = row.unwrap_or_else(|| panic!("docs/deployment.md has no row of {name}"));
        let listed: BTreeSet<&str> = row.split('`').skip(1).step_by(2).collect();
        let keys: BTreeSet<&str> = section.keys().collect();
        if listed != keys {
            let keys: Vec<String> = section.keys().map(|key| format!("`{key}`")).collect();
            wrong.push(format!("| {name} | {} |", keys.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "the rows are:\n{}", wrong.join("\n"));
}

/// Lines that are a file, or nearly one.
fn line() -> impl Strategy<Value = String> {
    let sections = [
        Section::of::<GatewayProcessArgs>(),
        Section::of::<ListenerArgs>(),
        Section::of::<RouteKeys>(),
    ];
    let mut keys: Vec<String> = sections
        .iter()
        .flat_map(Section::keys)
        .map(str::to_owned)
        .collect();
    keys.extend(["zebra", "listener", "route", "\"\"", "a.b"].map(str::to_owned));
    let value = prop_oneof![
        "[a-z0-9:/.*,=-]{0,12}".prop_map(|text| format!("\"{text}\"")),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        Just("[]".to_owned()),
        Just("[[1], {a = 2}, \"\"]".to_owned()),
        Just("{ a = 1 }".to_owned()),
        Just("1.5".to_owned()),
        Just("'ws://a'".to_owned()),
        Just("\"echo\"".to_owned()),
        "\\PC{0,10}",
    ];
    prop_oneof![
        4 => (prop::sample::select(keys), value).prop_map(|(key, value)| format!("{key} = {value}\n")),
        1 => Just("[[listener]]\n".to_owned()),
        1 => Just("[[route]]\n".to_owned()),
        1 => "\\PC{0,20}\n",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets_are_a_configuration_or_have_a_mistake(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read_text(octets).map_or_else(|found| !found.is_empty(), |_| true));
    }

    #[test]
    fn any_lines_are_a_configuration_or_have_a_mistake(lines in prop::collection::vec(line(), 0..12)) {
        let text = lines.concat();
        match read_text(&text) {
            Ok(loaded) => prop_assert!(!loaded.setup.routes.is_empty(), "{text}"),
            Err(found) => {
                prop_assert!(!found.is_empty(), "{text}");
                let is_inert = |line: &String| !line.chars().any(char::is_control);
                prop_assert!(found.iter().all(is_inert), "{found:?}");
            }
        }
    }
}

#[test]
fn a_password_in_the_url_of_a_broker_is_not_repeated() {
    let mistakes = read_text("topics = \"redis://u:s3cret@h/x\"\n").unwrap_err();
    let all = mistakes.join("\n");
    assert!(
        all.contains("1:10: that is no value of `topics`: what stands behind the host"),
        "{all}"
    );
    assert!(!all.contains("s3cret"), "{all}");
}
