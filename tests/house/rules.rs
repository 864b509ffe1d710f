//! The rules. Each takes a file and gives a sentence for every place that breaks
//! it.

use crate::source::{House, Source};

/// The modules of the library by floor, lowest first. A file names only floors
/// below its own. `main.rs` and `cli/` stand above all.
pub(crate) const FLOORS: [&[&str]; 9] = [
    &["version"],
    &["trace", "error", "agent"],
    &["extension"],
    &["bytes"],
    &["frame", "handshake"],
    &["message"],
    &["conn", "random"],
    &["vector", "explain", "net"],
    &["conform"],
];

/// The modules that may know sockets, clocks and randomness.
const WORLDLY: [&str; 3] = ["conform", "net", "random"];
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

/// Words for which the field has better ones.
const GONE: [&str; 12] = [
    "around", "bell", "bereft", "deaf", "desk", "ear", "hungry", "pen", "reel", "rope", "seat",
    "teller",
];

pub(crate) const MAX_LINES: usize = 700;
pub(crate) const MAX_TEST_LINES: usize = 800;
pub(crate) const MAX_FIELDS: usize = 16;

pub(crate) type Rule = fn(&Source, &House) -> Vec<String>;

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The core: the floors that know the protocol and nothing else.
fn is_core(file: &Source) -> bool {
    let top = file.module().first().and_then(|top| floor(top));
    !file.is_program() && top.is_some_and(|floor| floor < FLOORS.len() - 2)
}

/// Imports point down: to floors below, to siblings above this file's line in
/// `mod.rs`, and to items that a `mod.rs` over this file defines.
pub(crate) fn imports(file: &Source, house: &House) -> Vec<String> {
    if file.path == "src/main.rs" {
        return Vec::new();
    }
    let imports = file.imports();
    let faults = imports.iter().filter_map(|path| import(file, path, house));
    faults
        .map(|fault| format!("{} names {fault}", file.path))
        .collect()
}

fn import(file: &Source, path: &[String], house: &House) -> Option<String> {
    let module = file.module();
    let target = house.file_of(path);
    let named = format!("crate::{}", path.join("::"));
    if target.starts_with(&module) {
        return None; // its own items, and the files below it
    }
    if file.is_program() && target.first().is_none_or(|top| top != "cli") {
        return Some(format!("{named}, not heirloom::…"));
    }
    if target.is_empty() {
        return Some(format!("{named}, a re-export for users"));
    }
    if module.starts_with(target) {
        let item = path.get(target.len());
        let is_defined = item.is_some_and(|item| house.defines(target, item));
        let no_item = || format!("{named}, which {}/mod.rs does not define", target.join("/"));
        return (!is_defined).then(no_item);
    }
    let common = module.iter().zip(target).take_while(|(a, b)| a == b);
    let (folder, own) = module.split_at(common.count());
    let below = &target[folder.len()];
    let order = |name: &str| match folder {
        [] => floor(name),
        _ => house.order_in(folder, name),
    };
    let points_down = order(below) < order(&own[0]);
    (!points_down).then(|| format!("{named}, which is not below it"))
}

/// A `mod.rs` imports only what it uses itself, not what its files could want.
pub(crate) fn laundering(file: &Source, _: &House) -> Vec<String> {
    let names = file.laundered().into_iter();
    names
        .map(|name| format!("{} imports {name} and does not use it", file.path))
        .collect()
}

/// Below `net` there is no socket, no clock, no randomness.
pub(crate) fn world(file: &Source, _: &House) -> Vec<String> {
    let top = file.module().first().cloned();
    if file.is_program() || top.is_none_or(|top| WORLDLY.contains(&top.as_str())) {
        return Vec::new();
    }
    let names = file.names().into_iter();
    names
        .filter(|name| WORLD.contains(&name.as_str()))
        .map(|name| format!("{} may not know {name}", file.path))
        .collect()
}

/// The core builds without std.
pub(crate) fn std(file: &Source, _: &House) -> Vec<String> {
    if !is_core(file) {
        return Vec::new();
    }
    let paths = file.std_paths().into_iter();
    paths
        .map(|path| format!("{} names {path}, not core or alloc", file.path))
        .collect()
}

/// The core speaks of the protocol: no option of the program is named in its
/// sentences.
pub(crate) fn options(file: &Source, _: &House) -> Vec<String> {
    if !is_core(file) {
        return Vec::new();
    }
    let literals = file.literals().into_iter();
    let has_option = |literal: &String| {
        let mut after = literal.split("--").skip(1);
        after.any(|after| after.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    literals
        .filter(has_option)
        .map(|literal| format!("{} names an option: {literal}", file.path))
        .collect()
}

pub(crate) fn unsafe_code(file: &Source, _: &House) -> Vec<String> {
    let found = file.names().iter().any(|name| name == "unsafe");
    let fault = || format!("{} has unsafe code", file.path);
    found.then(fault).into_iter().collect()
}

/// No name is made of a word for which the field has another.
pub(crate) fn words(file: &Source, _: &House) -> Vec<String> {
    let is_gone = |name: &String| words_of(name).any(|word| GONE.contains(&word.as_str()));
    let mut names: Vec<String> = file.names().into_iter().filter(is_gone).collect();
    names.sort_unstable();
    names.dedup();
    let faults = names.into_iter();
    faults
        .map(|name| format!("{} has the name {name}", file.path))
        .collect()
}

/// The words of `send_around`, `SendAround` and `SEND_AROUND`.
fn words_of(name: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for c in name.chars() {
        let starts = c == '_' || (c.is_uppercase() && before.is_lowercase());
        if starts {
            words.push(String::new());
        }
        if let (Some(word), true) = (words.last_mut(), c != '_') {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.into_iter()
}

pub(crate) fn first_line(file: &Source, _: &House) -> Vec<String> {
    let has_line = file.text.starts_with("//! ");
    let fault = || format!("{} does not start with a `//! ` line", file.path);
    (!has_line).then(fault).into_iter().collect()
}

pub(crate) fn length(file: &Source, _: &House) -> Vec<String> {
    let fault = || format!("{} has more than {MAX_LINES} lines", file.path);
    let is_long = file.text.lines().count() > MAX_LINES;
    is_long.then(fault).into_iter().collect()
}

pub(crate) fn fields(file: &Source, _: &House) -> Vec<String> {
    let structs = file.structs().into_iter();
    structs
        .filter(|(_, fields)| *fields > MAX_FIELDS)
        .map(|(name, fields)| format!("{}: {name} has {fields} fields", file.path))
        .collect()
}

mod each_rule_can_fail {
    use super::*;

    /// A small house: each file with its text.
    fn house(files: &[(&str, &str)]) -> House {
        let all = [
            ("src/lib.rs", "pub mod bytes; pub use bytes::Input;"),
            ("src/bytes.rs", "pub struct Input;"),
            ("src/version.rs", ""),
            ("src/error.rs", ""),
            ("src/handshake/mod.rs", ""),
            ("src/conn/mod.rs", ""),
            ("src/net/serve.rs", ""),
            ("src/cli/limits.rs", ""),
            (
                "src/net/mod.rs",
                "mod app; mod worker; mod serve; pub use app::App; pub trait Link { }",
            ),
            ("src/net/app.rs", ""),
            ("src/net/worker/mod.rs", "mod pool; mod link;"),
            ("src/net/worker/link.rs", ""),
            ("src/net/worker/pool.rs", ""),
            (
                "src/frame/mod.rs",
                "mod wire; pub mod hybi04; mod hybi07; use wire::Wire; use crate::bytes::Input;
                 pub enum Opcode {} pub fn f(w: Wire) {} macro_rules! coded { () => {} }",
            ),
            ("src/frame/hybi04.rs", ""),
            ("src/frame/hybi07.rs", ""),
            ("src/frame/wire.rs", ""),
        ];
        let kept = |(path, _): &&(&str, &str)| files.iter().all(|(own, _)| own != path);
        let sources = all.iter().filter(kept).chain(files);
        House::new(
            sources
                .map(|(path, text)| Source::new(path, text))
                .collect(),
        )
    }

    fn faults(rule: Rule, path: &str, text: &str) -> Vec<String> {
        let house = house(&[(path, text)]);
        let file = house.sources.iter().find(|file| file.path == path);
        rule(file.unwrap(), &house)
    }

    #[test]
    fn an_import_that_does_not_point_down_is_found() {
        for (path, text) in [
            ("src/frame/mod.rs", "use crate::conn::Conn;"),
            ("src/frame/mod.rs", "use crate::handshake::Head;"),
            (
                "src/frame/mod.rs",
                "use crate::{bytes::Input, conn::{self as c}, error};",
            ),
            ("src/frame/hybi07.rs", "use super::super::net::App;"),
            ("src/trace.rs", "impl X for crate::error::Violation {}"),
            ("src/conn/mod.rs", "use crate::Limits;"),
            ("src/cli/serve.rs", "use crate::net::Server;"),
            (
                "src/bytes.rs",
                "#[cfg(test)] mod tests { } use crate::net::App;",
            ),
            ("src/bytes.rs", "use crate::nowhere::X;"),
            // Inside a macro's body, where there is no syntax yet.
            ("src/bytes.rs", "coded! { enum A, B -> crate::net::App; }"),
            (
                "src/bytes.rs",
                "macro_rules! m { () => { $crate::net::App } }",
            ),
            // A sibling below in the list, and another folder's.
            ("src/frame/wire.rs", "use super::hybi04::read;"),
            ("src/frame/hybi04.rs", "fn f() { super::hybi07::read() }"),
            ("src/net/worker/pool.rs", "use super::link::Link;"),
            ("src/net/worker/mod.rs", "use crate::net::serve::Serve;"),
            ("src/net/app.rs", "use super::worker::pool::Pool;"),
            // What a mod.rs above imports, or all of it.
            ("src/net/worker/link.rs", "use crate::net::App;"),
            ("src/frame/hybi07.rs", "use super::{Opcode, Wire};"),
            ("src/frame/hybi07.rs", "use super::*;"),
            ("src/frame/hybi07.rs", "use crate::frame;"),
        ] {
            let faults = faults(imports, path, text);
            assert_eq!(faults.len(), 1, "{path}: {text}: {faults:?}");
        }
    }

    #[test]
    fn an_import_that_points_down_is_not() {
        for (path, text) in [
            (
                "src/conn/mod.rs",
                "use crate::{bytes::{Input, Output}, frame::*, version};",
            ),
            (
                "src/net/mod.rs",
                "mod app; mod worker; use self::worker::link::Link; fn f() { worker::run() }",
            ),
            ("src/net/worker/link.rs", "use super::pool::Pool;"),
            (
                "src/net/worker/link.rs",
                "use crate::net::{Link, app::App};",
            ),
            (
                "src/net/worker/link.rs",
                "pub(in crate::net::serve) struct X; pub(crate) fn f() {}",
            ),
            (
                "src/frame/hybi07.rs",
                "use super::{Opcode, coded, wire::Wire};",
            ),
            (
                "src/bytes.rs",
                "/// [`X`](crate::net::X)\n/* crate::net */ struct X { /** crate::net */ a: u8 }",
            ),
            ("src/bytes.rs", r##"const A: &str = "use crate::net::X;";"##),
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
                "impl X { fn f<'a>(x: &'a u8) -> &'a u8 { Self::g(x); self.g(x) } }",
            ),
        ] {
            // The program's files have an order too.
            let cli = ("src/cli/mod.rs", "mod limits; mod serve;");
            let house = house(&[cli, (path, text)]);
            let file = house.sources.iter().find(|file| file.path == path);
            assert_eq!(imports(file.unwrap(), &house), [""; 0], "{path}: {text}");
        }
    }

    #[test]
    fn a_fault_names_the_file_and_what_is_wrong() {
        let found = |path, text| faults(imports, path, text).concat();
        assert_eq!(
            found("src/frame/wire.rs", "use super::hybi04;"),
            "src/frame/wire.rs names crate::frame::hybi04, which is not below it"
        );
        assert_eq!(
            found("src/frame/hybi07.rs", "use super::Wire;"),
            "src/frame/hybi07.rs names crate::frame::Wire, which frame/mod.rs does not define"
        );
    }

    #[test]
    fn an_import_for_siblings_is_found() {
        let path = "src/net/worker/mod.rs";
        for (text, want) in [
            ("mod pool; use pool::Pool;", 1),
            (
                "mod pool; use self::pool::{Pool, Room}; fn f() -> Room {}",
                1,
            ),
            ("mod pool; use self::pool::Pool as P; fn f() -> Pool {}", 1),
            ("mod pool; use self::pool::Pool; fn f() { g!(Pool) }", 0),
            ("mod pool; use self::pool::Pool as _;", 0),
            // Another floor's, which may be a trait; and one for others to see.
            ("mod pool; use crate::bytes::Random;", 0),
            ("mod pool; pub(super) use self::pool::Pool;", 0),
        ] {
            assert_eq!(faults(laundering, path, text).len(), want, "{text}");
        }
    }

    #[test]
    fn each_of_the_others_finds_its_fault_and_only_that() {
        let core = "src/frame/mod.rs";
        let many = |n| format!("struct S {{ {} }}", "a: u8, ".repeat(n));
        let lines = |n| "\n".repeat(n);
        let cases: [(Rule, &str, String, usize); 24] = [
            (world, core, "use core::time::Instant;".into(), 1),
            (world, core, "fn f() { g!(libc) } // mio".into(), 1),
            (world, "src/net/mod.rs", "use std::time::Instant;".into(), 0),
            (std, core, "use std::fmt;".into(), 1),
            (
                std,
                core,
                "fn f() -> ::std::fmt::Result { m!(std::mem::take) }".into(),
                2,
            ),
            (
                std,
                core,
                "use core::fmt; #[cfg(test)] mod t { use std::fmt; }".into(),
                0,
            ),
            (std, "src/net/mod.rs", "use std::fmt;".into(), 0),
            (
                options,
                core,
                r##"const A: &str = r"give --versions";"##.into(),
                1,
            ),
            (
                options,
                core,
                r#"coded! { #[error("`--to`")] A }"#.into(),
                1,
            ),
            (
                options,
                core,
                r#"/** --to */ const A: &str = "a -- b";"#.into(),
                0,
            ),
            (
                options,
                "src/net/mod.rs",
                r#"const A: &str = "--to";"#.into(),
                0,
            ),
            (unsafe_code, core, "fn f() { unsafe { g() } }".into(), 1),
            (
                unsafe_code,
                core,
                "#![forbid(unsafe_code)] // unsafe".into(),
                0,
            ),
            (
                words,
                core,
                "struct LabTeller; fn f(is_hungry: u8) {}".into(),
                2,
            ),
            (words, core, "fn hang_bell() { m!(ROPE) }".into(), 2),
            (words, core, "fn appear(clear: Open) {} // around".into(), 0),
            (first_line, core, "// A file.\n".into(), 1),
            (first_line, core, "//! A file.\n".into(), 0),
            (length, core, lines(MAX_LINES + 1), 1),
            (length, core, lines(MAX_LINES), 0),
            (fields, core, many(MAX_FIELDS + 1), 1),
            (fields, core, many(MAX_FIELDS), 0),
            (fields, core, format!("fn f() {{ {} }}", many(17)), 1),
            (fields, core, "struct S;".into(), 0),
        ];
        for (rule, path, text, want) in cases {
            let faults = faults(rule, path, &text);
            assert_eq!(faults.len(), want, "{path}: {text}: {faults:?}");
        }
    }
}
