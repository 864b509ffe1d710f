//! The blocks of Rust: programs of a package that depends on this library.

use std::fs;
use std::path::{Path, PathBuf};

use crate::blocks::Block;
use crate::terminal::Terminal;

/// A package beside the built tests. What it has built stays for the next run.
pub(crate) struct Crate {
    folder: PathBuf,
    added: bool,
}

impl Crate {
    pub(crate) fn new(name: &str) -> Crate {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-crate"));
        fs::create_dir_all(folder.join("src")).unwrap();
        // A workspace of its own, which the root's manifest knows nothing of.
        let manifest = "[package]\nname = \"reader\"\nedition = \"2024\"\n\n[workspace]\n";
        fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        fs::write(folder.join("src/main.rs"), "fn main() {}\n").unwrap();
        // The versions that the library is tested with, and no other.
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
        fs::copy(lock, folder.join("Cargo.lock")).unwrap();
        Crate {
            folder,
            added: false,
        }
    }

    /// `cargo add`, where this folder stands for the registry.
    pub(crate) fn add(&mut self, block: &Block<'_>) {
        for step in block.steps() {
            let rest = step.command.strip_prefix("cargo add heirloom ");
            let rest = rest.unwrap_or_else(|| panic!("{step} adds something else"));
            let command = format!(
                "{} add --quiet --offline --path {} {rest}",
                env!("CARGO"),
                env!("CARGO_MANIFEST_DIR")
            );
            let (code, lines) = Terminal::run_in(&self.folder, &command);
            assert_eq!(code, Some(0), "{step}: {lines:#?}");
            self.added = true;
        }
    }

    /// Builds the block and runs it against the server, or as one.
    pub(crate) fn run(&self, block: &Block<'_>, terminal: &mut Terminal) {
        assert!(self.added, "line {}: nothing is added", block.line);
        let source = terminal.with_ports(&block.text);
        fs::write(self.folder.join("src/main.rs"), source).unwrap();
        let target = self.folder.join("target");
        let build = format!(
            "{} build --quiet --offline --target-dir {}",
            env!("CARGO"),
            target.display()
        );
        let (code, lines) = Terminal::run_in(&self.folder, &build);
        assert_eq!(code, Some(0), "README.md:{}: {lines:#?}", block.line);
        assert!(lines.is_empty(), "README.md:{}: {lines:#?}", block.line);
        let program = target.join("debug/reader");
        if block.text.contains("TcpListener::bind") {
            terminal.serves(&program, block);
        } else {
            let (code, lines) = Terminal::run_in(&self.folder, program.to_str().unwrap());
            assert_eq!(code, Some(0), "README.md:{}: {lines:#?}", block.line);
            assert!(
                lines.len() == 1 && lines[0].contains("hello"),
                "README.md:{}: {lines:#?}",
                block.line
            );
        }
    }
}
