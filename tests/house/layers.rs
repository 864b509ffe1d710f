//! The rules of the house over the files as they are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::rules::{self, FLOORS, MAX_TEST_LINES, Rule};
use crate::source::{House, Source};

/// Files that break a rule today. A file that keeps it leaves this list; no
/// file is added.
const OWED: &[(&str, &[&str])] = &[];

#[test]
fn imports_point_down() {
    hold("imports", rules::imports);
}

#[test]
fn no_module_imports_for_its_files() {
    hold("laundering", rules::laundering);
}

#[test]
fn below_net_there_is_no_socket_no_clock_no_randomness() {
    hold("world", rules::world);
}

#[test]
fn the_core_names_nothing_of_std() {
    hold("std", rules::std);
}

#[test]
fn the_core_names_no_option_of_the_program() {
    hold("options", rules::options);
}

#[test]
fn there_is_no_unsafe_code() {
    hold("unsafe_code", rules::unsafe_code);
    for root in ["src/lib.rs", "src/main.rs"] {
        let forbids = read(root).contains("#![forbid(unsafe_code)]");
        assert!(forbids, "{root} does not forbid unsafe code");
    }
}

#[test]
fn names_are_words_of_the_field() {
    hold("words", rules::words);
}

#[test]
fn every_file_says_first_what_it_is() {
    hold("first_line", rules::first_line);
}

#[test]
fn no_file_is_long() {
    let mut faults = faults(rules::length, &house());
    let mut tests = rust_files("tests");
    tests.retain(|path| read(path).lines().count() > MAX_TEST_LINES);
    let fault = |path: String| {
        let fault = format!("{path} has more than {MAX_TEST_LINES} lines");
        (path, vec![fault])
    };
    faults.extend(tests.into_iter().map(fault));
    settle("length", &faults);
}

#[test]
fn no_struct_is_wide() {
    hold("fields", rules::fields);
}

#[test]
fn every_module_has_its_floor_and_every_floor_its_modules() {
    let tops: BTreeSet<String> = house()
        .sources
        .iter()
        .filter(|file| !file.is_program())
        .filter_map(|file| file.module().first().cloned())
        .collect();
    let listed: BTreeSet<String> = FLOORS.concat().into_iter().map(str::to_owned).collect();
    assert_eq!(tops, listed, "src/ on the left, FLOORS on the right");
}

#[test]
fn the_architecture_shows_these_floors() {
    let architecture = read("docs/architecture.md");
    for (floor, modules) in FLOORS.iter().enumerate() {
        let modules: Vec<String> = modules.iter().map(|m| format!("`{m}`")).collect();
        let row = format!("| {floor} | {} |", modules.join(", "));
        let shows = architecture.contains(&row);
        assert!(shows, "docs/architecture.md lacks {row}");
    }
}

#[test]
fn every_dependency_has_its_reason_in_the_architecture() {
    let architecture = read("docs/architecture.md");
    let reasons = architecture.split("\n## Dependencies\n").nth(1).unwrap();
    let reasons = reasons.split("\n## ").next().unwrap();
    let named: BTreeSet<&str> = reasons
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let manifest = read("Cargo.toml");
    assert_eq!(
        named,
        dependencies(&manifest),
        "docs/architecture.md on the left, Cargo.toml on the right"
    );
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file below this folder, by its path from the root.
fn rust_files(folder: &str) -> Vec<String> {
    let mut paths = Vec::new();
    walk(&root().join(folder), &mut paths);
    paths.sort();
    assert!(!paths.is_empty());
    let from_root = |path: &PathBuf| {
        let path = path.strip_prefix(root()).unwrap().to_str().unwrap();
        path.replace('\\', "/")
    };
    paths.iter().map(from_root).collect()
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, paths);
        } else if path.extension().is_some_and(|e| e == "rs") {
            paths.push(path);
        }
    }
}

fn house() -> House {
    let sources = rust_files("src").into_iter();
    House::new(
        sources
            .map(|path| Source::new(&path, &read(&path)))
            .collect(),
    )
}

fn hold(name: &str, rule: Rule) {
    settle(name, &faults(rule, &house()));
}

/// The files that break a rule, with their faults.
fn faults(rule: Rule, house: &House) -> Vec<(String, Vec<String>)> {
    let sources = house.sources.iter();
    let faults = sources.map(|file| (file.path.clone(), rule(file, house)));
    faults.filter(|(_, faults)| !faults.is_empty()).collect()
}

/// Fails with every fault that is not owed, and every debt that is paid.
fn settle(name: &str, faults: &[(String, Vec<String>)]) {
    let debts = OWED.iter().filter(|(rule, _)| *rule == name);
    let owed: Vec<&str> = debts.flat_map(|(_, files)| files.iter().copied()).collect();
    let is_owed = |path: &String| owed.contains(&path.as_str());
    let new = faults.iter().filter(|(path, _)| !is_owed(path));
    let new: Vec<&String> = new.flat_map(|(_, faults)| faults).collect();
    assert!(new.is_empty(), "{new:#?}");
    let stands = |path: &str| faults.iter().any(|(file, _)| file == path);
    let paid: Vec<&&str> = owed.iter().filter(|path| !stands(path)).collect();
    assert!(paid.is_empty(), "take what is paid off OWED: {paid:#?}");
}

/// The names in all dependency tables of a manifest.
fn dependencies(manifest: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end().trim_end_matches(']');
            inside = table.ends_with("dependencies");
            if let Some((_, name)) = table.split_once("dependencies.") {
                names.insert(name);
            }
        } else if let (true, Some((name, _))) = (inside, line.split_once('=')) {
            if !line.starts_with([' ', '#', ']']) {
                let name = name.trim().trim_matches('"');
                names.insert(name.split('.').next().unwrap());
            }
        }
    }
    names
}

#[test]
fn every_dependency_table_is_read() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na-b = \"1\"\n# c = \"1\"\n\
        d = { version = \"1\",\n  features = [] }\n[target.'cfg(unix)'.dependencies]\ne.workspace = true\n\
        [dev-dependencies.f]\nversion = \"1\"\n[profile.dev]\nopt-level = 1\n";
    assert_eq!(
        dependencies(manifest),
        BTreeSet::from(["a-b", "d", "e", "f"])
    );
}
