//! What people read points to things that exist: links, paths, commands.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_relative_link_points_to_something() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text) {
            if let Err(why) = follow(&document, &link) {
                broken.push(format!("{}: {link}: {why}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_path_in_the_guides_exists() {
    let mut missing = Vec::new();
    for document in [
        "README.md",
        "docs/architecture.md",
        "docs/deployment.md",
        "docs/style.md",
    ] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        for path in paths(&text) {
            if !root().join(path).exists() {
                missing.push(format!("{document}: {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// What an operator copies is what `tests/peers/run` runs, with other ports.
#[test]
fn the_settings_of_proxies_are_those_that_are_tested() {
    let page = fs::read_to_string(root().join("docs/deployment.md")).unwrap();
    let shown: BTreeSet<_> = settings(&page).into_iter().collect();
    let mut tested = BTreeSet::new();
    for entry in fs::read_dir(root().join("tests/peers")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "cfg" || e == "conf") {
            tested.insert(fs::read_to_string(&path).unwrap());
        }
    }
    assert!(!tested.is_empty());
    assert_eq!(shown, tested);
}

#[cfg(feature = "cli")]
#[test]
fn the_commands_of_the_guides_are_those_of_the_program() {
    for document in ["README.md", "docs/conform.md", "docs/deployment.md"] {
        hold_commands(document);
    }
}

#[cfg(feature = "cli")]
fn hold_commands(document: &str) {
    let text = fs::read_to_string(root().join(document)).unwrap();
    let commands = commands(&text);
    assert!(!commands.is_empty());
    let mut wrong = Vec::new();
    for command in &commands {
        let Some(subcommand) = command.iter().find(|word| !word.starts_with('-')) else {
            continue;
        };
        if !subcommands(&help(&[])).contains(subcommand) {
            wrong.push(format!("{command:?}: there is no `{subcommand}`"));
            continue;
        }
        let help = help(&[subcommand]);
        for option in command.iter().filter(|word| word.starts_with('-')) {
            // `-vv` is `-v`, twice.
            let short = !option.starts_with("--");
            let end = if short {
                2
            } else {
                option.find('=').unwrap_or(option.len())
            };
            let option = &option[..end];
            if !options(&help).contains(option) {
                wrong.push(format!(
                    "{command:?}: `{subcommand}` has no option `{option}`"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{document}: {wrong:#?}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Markdown file of the repository; what tools put there is not of it.
fn documents() -> Vec<PathBuf> {
    let mut folders = vec![root().to_owned()];
    let mut documents = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "node_modules" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "md") {
                documents.push(path);
            }
        }
    }
    documents.sort();
    assert!(documents.contains(&root().join("README.md")));
    documents
}

/// The text outside code, and the lines of code blocks.
fn prose_and_blocks(markdown: &str) -> (String, Vec<&str>) {
    let (mut prose, mut blocks, mut inside) = (String::new(), Vec::new(), false);
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            blocks.push(line);
        } else {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    (prose, blocks)
}

/// The targets of links, inline or by reference, without those in code.
fn links(markdown: &str) -> Vec<String> {
    let (prose, _) = prose_and_blocks(markdown);
    let prose: String = prose.split('`').step_by(2).collect();
    let inline = prose
        .split("](")
        .skip(1)
        .filter_map(|s| s.split(')').next());
    let by_reference = prose
        .lines()
        .filter(|line| line.starts_with('['))
        .filter_map(|line| line.split_once("]: ").map(|(_, target)| target));
    inline
        .chain(by_reference)
        .filter_map(|target| target.split_whitespace().next())
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .map(str::to_owned)
        .collect()
}

fn follow(document: &Path, link: &str) -> Result<(), String> {
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() {
        document.to_owned()
    } else {
        document.parent().unwrap().join(path)
    };
    if !target.exists() {
        return Err("there is no such file".to_owned());
    }
    if heading.is_empty() {
        return Ok(());
    }
    let text = fs::read_to_string(&target).map_err(|error| error.to_string())?;
    let (prose, _) = prose_and_blocks(&text);
    let found = prose
        .lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor(line.trim_start_matches('#').trim()) == heading);
    if found {
        Ok(())
    } else {
        Err("there is no such heading".to_owned())
    }
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// What stands between back-ticks and is a path from the root.
fn paths(markdown: &str) -> Vec<&str> {
    const FOLDERS: [&str; 5] = ["src/", "tests/", "docs/", "vectors/", "examples/"];
    markdown
        .lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter_map(|code| code.split_whitespace().next())
        .filter(|word| FOLDERS.iter().any(|f| word.starts_with(f)))
        .filter(|word| !word.contains(['*', '…', '<']))
        .collect()
}

/// The code blocks that are settings of a proxy.
fn settings(markdown: &str) -> Vec<String> {
    let (mut blocks, mut fence) = (Vec::new(), None);
    for line in markdown.lines() {
        match (line.strip_prefix("```"), fence) {
            (Some(language), None) => {
                fence = Some(language);
                if matches!(language, "haproxy" | "nginx") {
                    blocks.push(String::new());
                }
            }
            (Some(_), Some(_)) => fence = None,
            (None, Some("haproxy" | "nginx")) => {
                if let Some(block) = blocks.last_mut() {
                    block.push_str(line);
                    block.push('\n');
                }
            }
            (None, _) => {}
        }
    }
    blocks
}

/// The words after `heirloom` of each command in a code block.
fn commands(markdown: &str) -> Vec<Vec<&str>> {
    let (_, blocks) = prose_and_blocks(markdown);
    blocks
        .into_iter()
        .map(|line| line.strip_prefix("$ ").unwrap_or(line))
        .filter_map(|line| {
            let piped = line.split_once("| heirloom ").map(|(_, after)| after);
            piped
                .or(line.strip_prefix("heirloom "))
                .or(line.strip_prefix("cargo run --release -- "))
        })
        .map(|line| {
            line.split_whitespace()
                .take_while(|word| !matches!(*word, "|" | ">" | "<" | "&" | "#" | "2>"))
                .collect()
        })
        .collect()
}

#[cfg(feature = "cli")]
fn help(arguments: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_heirloom"))
        .args(arguments)
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?} --help failed");
    String::from_utf8(output.stdout).unwrap()
}

/// The first words of the lines under `Commands:`.
fn subcommands(help: &str) -> BTreeSet<&str> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

/// The options that a help text begins a line with.
fn options(help: &str) -> BTreeSet<&str> {
    help.lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with('-'))
        .flat_map(|line| line.split([' ', ',']).take(3))
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| word.starts_with('-'))
        .collect()
}

mod the_check_itself {
    use super::*;

    #[test]
    fn reads_links_outside_code() {
        let text = "[a](b.md) `[c](d)` <https://e> [f](https://g)\n```\n[h](i)\n```\n[j]: k.md#l\n";
        assert_eq!(links(text), ["b.md", "k.md#l"]);
        assert_eq!(anchor("What it is, and `why`"), "what-it-is-and-why");
    }

    #[test]
    fn finds_what_does_not_exist() {
        let readme = root().join("README.md");
        assert!(follow(&readme, "Cargo.toml").is_ok());
        assert!(follow(&readme, "docs/none.md").is_err());
        assert!(follow(&readme, "#no-such-heading").is_err());
    }

    #[test]
    fn reads_settings_of_proxies() {
        let text =
            "```haproxy\nfrontend f\n    mode tcp\n```\nx\n```\nother\n```\n```nginx\nhttp\n```\n";
        assert_eq!(settings(text), ["frontend f\n    mode tcp\n", "http\n"]);
    }

    #[test]
    fn reads_commands_in_code() {
        let text = "heirloom prose\n```\n$ heirloom serve --listen X\nheirloom: said\n\
                    $ printf x | heirloom connect URL --as 76 > out\n\
                    cargo run --release -- serve\n```\n";
        assert_eq!(
            commands(text),
            [
                vec!["serve", "--listen", "X"],
                vec!["connect", "URL", "--as", "76"],
                vec!["serve"]
            ]
        );
    }

    #[test]
    fn reads_help() {
        let help = "Usage: x\n\nCommands:\n  serve  Serve\n  help   Print\n\nOptions:\n  \
                    -v, --verbose...  Say\n      --listen <ADDR>  Where -x\n";
        assert_eq!(subcommands(help), BTreeSet::from(["help", "serve"]));
        assert_eq!(
            options(help),
            BTreeSet::from(["--listen", "--verbose", "-v"])
        );
    }
}
