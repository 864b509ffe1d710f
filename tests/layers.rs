//! The house rules that a machine can hold: imports point down, nothing below
//! `net` knows a socket or a clock, no `unsafe`, no long file, every
//! dependency has its reason.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the library by floor, from the ground up. A file imports
/// only from floors below its own. `main.rs` and `cli/` stand above all.
const FLOORS: [&[&str]; 5] = [
    &["bytes", "version"],
    &["trace", "error", "agent"],
    &["frame", "handshake"],
    &["conn", "message"],
    &["vector", "explain", "net"],
];

/// The one module that may know sockets, clocks and randomness.
const WORLDLY: &str = "net";
const WORLD: [&str; 12] = [
    "Instant",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "env",
    "fs",
    "getrandom",
    "libc",
    "mio",
    "socket2",
    "thread",
];

const MAX_LINES: usize = 800;

/// Rules that are broken today, word for word as the check says it. What is
/// repaired leaves this list; nothing new comes onto it.
const OWED: &[&str] = &[];

#[test]
fn imports_point_down() {
    settle(&faults(imports), "names");
}

#[test]
fn every_module_has_its_floor_and_every_floor_its_modules() {
    let tops: BTreeSet<String> = sources()
        .iter()
        .filter(|file| !file.is_program())
        .filter_map(|file| file.module().first().cloned())
        .collect();
    let listed: BTreeSet<String> = FLOORS.concat().into_iter().map(str::to_owned).collect();
    assert_eq!(tops, listed, "src/ on the left, FLOORS on the right");
}

#[test]
fn below_net_there_is_no_socket_no_clock_no_randomness() {
    settle(&faults(|file, _| worldly(file)), "may not know");
}

#[test]
fn there_is_no_unsafe_code() {
    settle(&faults(|file, _| unsafe_code(file)), "unsafe");
    for root in ["src/lib.rs", "src/main.rs"] {
        let forbids = read(root).contains("#![forbid(unsafe_code)]");
        assert!(forbids, "{root} does not forbid unsafe code");
    }
}

#[test]
fn every_file_says_first_what_it_is() {
    settle(&faults(|file, _| nameless(file)), "does not begin");
}

#[test]
fn no_file_is_long() {
    settle(&faults(|file, _| long(file)), "has more than");
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

#[test]
fn the_architecture_shows_these_floors() {
    let architecture = read("docs/architecture.md");
    for (floor, modules) in FLOORS.iter().enumerate() {
        let modules: Vec<String> = modules.iter().map(|m| format!("`{m}`")).collect();
        let row = format!("| {floor} | {} |", modules.join(", "));
        assert!(
            architecture.contains(&row),
            "docs/architecture.md lacks {row}"
        );
    }
}

/// A file of `src/`.
struct Source {
    /// Its path from the root of the repository, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// The program: it sees the library as any user does.
    fn is_program(&self) -> bool {
        self.path == "src/main.rs" || self.path.starts_with("src/cli/")
    }

    /// `["net", "worker"]` for `src/net/worker/mod.rs`; nothing for `lib.rs`.
    fn module(&self) -> Vec<String> {
        let path = self.path.strip_prefix("src/").unwrap();
        let path = path.strip_suffix(".rs").unwrap();
        let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
        if matches!(parts.last().unwrap().as_str(), "mod" | "lib" | "main") {
            parts.pop();
        }
        parts
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    walk(&root().join("src"), &mut paths);
    paths.sort();
    assert!(!paths.is_empty());
    paths
        .iter()
        .map(|path| {
            let path = path.strip_prefix(root()).unwrap().to_str().unwrap();
            let path = path.replace('\\', "/");
            Source::new(&path, &read(&path))
        })
        .collect()
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

type Modules = BTreeSet<Vec<String>>;

fn faults(check: impl Fn(&Source, &Modules) -> Vec<String>) -> BTreeSet<String> {
    let sources = sources();
    let modules: Modules = sources.iter().map(Source::module).collect();
    sources.iter().flat_map(|f| check(f, &modules)).collect()
}

/// Fails with every fault that is not owed, and every debt of this `kind` that
/// is paid.
fn settle(faults: &BTreeSet<String>, kind: &str) {
    let owed = |fault: &&String| !OWED.contains(&fault.as_str());
    let new: Vec<&String> = faults.iter().filter(owed).collect();
    assert!(new.is_empty(), "{new:#?}");
    for debt in OWED.iter().filter(|debt| debt.contains(kind)) {
        let stands = faults.contains(*debt);
        assert!(stands, "this is paid, take it off OWED: {debt}");
    }
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// What of other files this one names and may not.
fn imports(file: &Source, modules: &Modules) -> Vec<String> {
    let module = file.module();
    let path = &file.path;
    let words = words(&file.text);
    let mut faults = Vec::new();
    for import in paths(&words, &module) {
        let name = |parts: &[String]| format!("crate::{}", parts.join("::"));
        // The longest start of the path that is a file.
        let of = (0..=import.len())
            .rev()
            .map(|n| &import[..n])
            .find(|start| modules.contains(*start))
            .unwrap_or_default();
        if file.is_program() {
            if path != "src/main.rs" && of.first().is_none_or(|top| top != "cli") {
                let import = name(&import);
                faults.push(format!("{path} names {import}, not heirloom::…"));
            }
            continue;
        }
        let Some(own) = module.first() else {
            continue; // lib.rs shows all floors
        };
        let Some(top) = of.first() else {
            let import = name(&import);
            faults.push(format!("{path} names {import}, a re-export for users"));
            continue;
        };
        if top == own {
            if !of.starts_with(&module) && !module.starts_with(of) {
                faults.push(format!("{path} names its sibling {}", name(of)));
            }
        } else if floor(top) >= floor(own) {
            faults.push(format!("{path} names {}, no floor below it", name(of)));
        }
    }
    faults
}

fn worldly(file: &Source) -> Vec<String> {
    let module = file.module();
    if file.is_program() || module.first().is_none_or(|top| top == WORLDLY) {
        return Vec::new();
    }
    words(&file.text)
        .iter()
        .filter(|word| WORLD.contains(&word.as_str()))
        .map(|word| format!("{} may not know {word}", file.path))
        .collect()
}

fn unsafe_code(file: &Source) -> Vec<String> {
    let code = code(&file.text);
    let found = split(&code).iter().any(|word| word == "unsafe");
    found
        .then(|| format!("{} has unsafe code", file.path))
        .into_iter()
        .collect()
}

fn nameless(file: &Source) -> Vec<String> {
    let named = file.text.starts_with("//! ");
    (!named)
        .then(|| format!("{} does not begin with a `//! ` line", file.path))
        .into_iter()
        .collect()
}

fn long(file: &Source) -> Vec<String> {
    (file.text.lines().count() > MAX_LINES)
        .then(|| format!("{} has more than {MAX_LINES} lines", file.path))
        .into_iter()
        .collect()
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

/// The words and marks of a source, without comments, literals and tests.
fn words(source: &str) -> Vec<String> {
    without_tests(split(&code(source)))
}

/// A source with its comments and literals blanked.
fn code(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut code = String::new();
    let mut i = 0;
    while i < chars.len() {
        match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= chars.len() {
                        break;
                    }
                }
            }
            '"' => {
                let raw = raw_hashes(&code);
                if let Some(hashes) = raw {
                    let closes = |i: usize| at(i) == '"' && (1..=hashes).all(|n| at(i + n) == '#');
                    i += 1;
                    while i < chars.len() && !closes(i) {
                        i += 1;
                    }
                    i += 1 + hashes;
                } else {
                    i += 1;
                    while i < chars.len() && at(i) != '"' {
                        i += if at(i) == '\\' { 2 } else { 1 };
                    }
                    i += 1;
                }
                code.push(' ');
            }
            '\'' if at(i + 1) == '\\' => {
                i += 3;
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            '\'' if at(i + 2) == '\'' => i += 3,
            c => {
                code.push(c);
                i += 1;
            }
        }
    }
    code
}

/// How many `#` stand before this quote, where it opens a raw literal.
fn raw_hashes(before: &str) -> Option<usize> {
    let start = before.trim_end_matches('#');
    let prefix = start
        .rsplit(|c: char| !c.is_alphanumeric() && c != '_')
        .next()?;
    matches!(prefix, "r" | "br" | "cr").then(|| before.len() - start.len())
}

fn split(code: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut grows = false;
    for c in code.chars() {
        let part = c.is_alphanumeric() || c == '_';
        match words.last_mut() {
            Some(word) if part && grows => word.push(c),
            _ if !c.is_whitespace() => words.push(c.to_string()),
            _ => {}
        }
        grows = part;
    }
    words
}

/// Leaves out every item under `#[cfg(test)]`.
fn without_tests(words: Vec<String>) -> Vec<String> {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut i = 0;
    while i < words.len() {
        if !words[i..].iter().map(String::as_str).take(7).eq(TEST) {
            kept.push(words[i].clone());
            i += 1;
            continue;
        }
        i += TEST.len();
        let mut depth = 0usize;
        while i < words.len() {
            let word = words[i].as_str();
            i += 1;
            match word {
                "{" | "(" | "[" => depth += 1,
                "}" if depth == 1 => break,
                "}" | ")" | "]" => depth -= 1,
                ";" if depth == 0 => break,
                _ => {}
            }
        }
    }
    kept
}

/// Every path that begins with `crate`, `self` or `super`, from the root of
/// the crate. A visibility is no import.
fn paths(words: &[String], module: &[String]) -> Vec<Vec<String>> {
    let word = |i: usize| words.get(i).map_or("", String::as_str);
    let mut paths = Vec::new();
    let mut i = 0;
    while i < words.len() {
        let mut start = match word(i) {
            "crate" => Vec::new(),
            "self" | "super" => module.to_vec(),
            _ => {
                i += 1;
                continue;
            }
        };
        let visibility = i > 1 && word(i - 1) == "in" && word(i - 2) == "(";
        if word(i + 1) != ":" || word(i + 2) != ":" || visibility {
            i += 1;
            while visibility && word(i) != ")" && i < words.len() {
                i += 1;
            }
            continue;
        }
        while matches!(word(i), "crate" | "self" | "super") {
            if word(i) == "super" {
                start.pop();
            }
            if word(i + 1) != ":" || word(i + 2) != ":" {
                i += 1;
                break;
            }
            i += 3;
        }
        tree(words, &mut i, &start, &mut paths);
    }
    paths
}

/// Reads what follows a `::`: a path, or a group of them.
fn tree(words: &[String], i: &mut usize, start: &[String], paths: &mut Vec<Vec<String>>) {
    let word = |i: usize| words.get(i).map_or("", String::as_str);
    let mut path = start.to_vec();
    loop {
        match word(*i) {
            "{" => {
                *i += 1;
                while *i < words.len() && word(*i) != "}" {
                    let before = *i;
                    if word(*i) != "," {
                        tree(words, i, &path, paths);
                    }
                    // `as name`, and the commas.
                    while *i < words.len() && !matches!(word(*i), "," | "}") {
                        *i += 1;
                    }
                    *i += usize::from(word(*i) == "," || *i == before);
                }
                *i += 1;
                return;
            }
            "self" | "*" => *i += 1,
            name if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                path.push(name.to_owned());
                *i += 1;
            }
            _ => break,
        }
        if word(*i) != ":" || word(*i + 1) != ":" {
            break;
        }
        *i += 2;
    }
    paths.push(path);
}

mod the_check_itself {
    use super::*;

    const MODULES: [&str; 14] = [
        "",
        "bytes",
        "cli",
        "conn",
        "error",
        "frame",
        "frame/hybi04",
        "frame/hybi07",
        "handshake",
        "net",
        "net/serve",
        "net/worker",
        "net/worker/link",
        "version",
    ];

    fn modules() -> Modules {
        let parts = |m: &&str| {
            m.split('/')
                .filter(|p| !p.is_empty())
                .map(str::to_owned)
                .collect()
        };
        MODULES.iter().map(parts).collect()
    }

    fn import_faults(path: &str, text: &str) -> Vec<String> {
        let faults = imports(&Source::new(path, text), &modules());
        let once: BTreeSet<String> = faults.into_iter().collect();
        once.into_iter().collect()
    }

    #[test]
    fn fails_on_what_does_not_point_down() {
        for (path, text) in [
            ("src/frame/mod.rs", "use crate::conn::Conn;"),
            ("src/frame/mod.rs", "use crate::handshake::Head;"),
            (
                "src/frame/mod.rs",
                "use crate::{bytes::Input, conn::{self, Conn as C}, error};",
            ),
            ("src/frame/hybi07.rs", "use super::super::net::App;"),
            ("src/frame/hybi07.rs", "use super::{Frame, hybi04::read};"),
            (
                "src/frame/hybi07.rs",
                "fn f() { crate::frame::hybi04::read() }",
            ),
            ("src/bytes.rs", "impl X for crate::version::Version {}"),
            ("src/conn/mod.rs", "use crate::Limits;"),
            (
                "src/net/worker/link.rs",
                "pub(super) use crate::net::serve::Serve;",
            ),
            ("src/cli/serve.rs", "use crate::net::Server;"),
            (
                "src/bytes.rs",
                "const Q: char = '\"'; use crate::net::App; const R: char = '\"';",
            ),
            (
                "src/bytes.rs",
                "#[cfg(test)] mod tests { } use crate::net::App;",
            ),
            ("src/bytes.rs", "use crate::nowhere::X;"),
        ] {
            assert_eq!(import_faults(path, text).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn lets_pass_what_does() {
        for (path, text) in [
            (
                "src/conn/mod.rs",
                "use crate::{bytes::{Input, Output}, frame::*, version};",
            ),
            (
                "src/net/mod.rs",
                "mod worker; use self::worker::link::Link; worker::run();",
            ),
            (
                "src/net/worker/link.rs",
                "use super::Worker; use super::super::App;",
            ),
            (
                "src/net/worker/link.rs",
                "pub(in crate::net::serve) struct X; pub(crate) fn f() {}",
            ),
            (
                "src/bytes.rs",
                "/// [`X`](crate::net::X)\n/* crate::net /* crate::net */ */",
            ),
            (
                "src/bytes.rs",
                r##"const A: &str = "\" use crate::net::X;"; const B: &[u8] = br#"" crate::net::X"#;"##,
            ),
            (
                "src/bytes.rs",
                "#[cfg(test)]\n#[allow(x)]\nmod tests { use crate::net::{X}; fn f() {} }",
            ),
            (
                "src/cli/serve.rs",
                "use heirloom::net::Server; use super::limits::LimitArgs;",
            ),
            ("src/lib.rs", "pub use crate::net::Server;"),
            (
                "src/frame/hybi07.rs",
                "fn f<'a>(x: &'a u8) -> &'a u8 { Self::g(x); self.g(x) }",
            ),
        ] {
            assert_eq!(import_faults(path, text), Vec::<String>::new(), "{path}");
        }
    }

    #[test]
    fn names_the_file_and_the_fault() {
        let faults = import_faults("src/frame/hybi07.rs", "use super::hybi04;");
        assert_eq!(
            faults,
            ["src/frame/hybi07.rs names its sibling crate::frame::hybi04"]
        );
    }

    #[test]
    fn sees_the_other_faults_and_only_those() {
        let core = |text: &str| Source::new("src/frame/mod.rs", text);
        assert_eq!(worldly(&core("use std::time::Instant;")).len(), 1);
        assert_eq!(
            worldly(&core("use std::time::Duration; // Instant")).len(),
            0
        );
        let net = Source::new("src/net/mod.rs", "use std::time::Instant;");
        assert_eq!(worldly(&net).len(), 0);
        assert_eq!(unsafe_code(&core("fn f() { unsafe { g() } }")).len(), 1);
        assert_eq!(
            unsafe_code(&core("#![forbid(unsafe_code)] // unsafe")).len(),
            0
        );
        assert_eq!(nameless(&core("// A file.\n")).len(), 1);
        assert_eq!(nameless(&core("//! A file.\n")).len(), 0);
        assert_eq!(long(&core(&"\n".repeat(MAX_LINES + 1))).len(), 1);
        assert_eq!(long(&core(&"\n".repeat(MAX_LINES))).len(), 0);
    }

    #[test]
    fn reads_every_dependency_table() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\na-b = \"1\"\n# c = \"1\"\n\
            d = { version = \"1\",\n  features = [] }\n[target.'cfg(unix)'.dependencies]\ne.workspace = true\n\
            [dev-dependencies.f]\nversion = \"1\"\n[profile.dev]\nopt-level = 1\n";
        assert_eq!(
            dependencies(manifest),
            BTreeSet::from(["a-b", "d", "e", "f"])
        );
    }
}
