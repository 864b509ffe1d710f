//! Manual pages and completions, made of the definition of the command line.
//! `tests/packages/run` also gives them to zsh, fish and mandoc.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::support::folder::Folder;
use crate::support::program::run;

/// The commands that the help lists.
fn commands() -> BTreeSet<String> {
    let help = run(&["--help"]).out;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.take_while(|line| !line.is_empty());
    let names = names.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names = names.filter(|name| !name.is_empty() && *name != "help");
    names.map(str::to_owned).collect()
}

#[test]
fn completions_know_every_command_and_an_option() {
    let commands = commands();
    assert!(commands.len() > 10, "{commands:?}");
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(&["completions", shell]);
        assert_eq!((ended.code, ended.talk.as_str()), (Some(0), ""), "{shell}");
        for word in commands.iter().map(String::as_str).chain(["pass-header"]) {
            assert!(ended.out.contains(word), "{shell} does not know {word}");
        }
    }
}

#[test]
fn bash_reads_its_completions_and_completes_with_them() {
    let folder = Folder::new();
    let script = folder.write("heirloom.bash", run(&["completions", "bash"]).out);
    let ask = "set -e; . \"$1\"; COMP_WORDS=(heirloom gateway --pass); COMP_CWORD=2; \
               _heirloom heirloom --pass gateway; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["--norc", "--noprofile", "-c", ask, "bash"])
        .arg(&script)
        .output()
        .expect("bash runs; it is the Debian package bash");
    let (out, talk) = (output.stdout, output.stderr);
    let talk = String::from_utf8(talk).unwrap();
    assert!(output.status.success(), "{talk}");
    assert_eq!(String::from_utf8(out).unwrap(), "--pass-header\n", "{talk}");
}

#[test]
fn a_shell_that_is_not_known_is_wrong_usage() {
    let ended = run(&["completions", "tcsh"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let named = ended.talk.contains("[possible values: bash, zsh, fish]");
    assert!(named, "{}", ended.talk);
}

#[test]
fn each_command_has_a_manual_page() {
    let folder = Folder::new();
    let out = folder.path("man/man1");
    let ended = run(&["man", "--out", out.to_str().unwrap()]);
    assert_eq!((ended.code, ended.talk.as_str()), (Some(0), ""));
    assert_eq!(ended.out, "");
    let files = fs::read_dir(&out).unwrap().map(|file| file.unwrap());
    let files: BTreeSet<_> = files
        .map(|f| f.file_name().into_string().unwrap())
        .collect();
    let pages = commands()
        .into_iter()
        .map(|name| format!("heirloom-{name}.1"));
    let pages: BTreeSet<_> = pages.chain(["heirloom.1".to_owned()]).collect();
    assert_eq!(files, pages);
    for (name, words) in [
        ("heirloom.1", ".SH SUBCOMMANDS"),
        (
            "heirloom-gateway.1",
            "\\fB\\-\\-pass\\-header\\fR \\fI<NAME>\\fR",
        ),
    ] {
        let page = fs::read_to_string(out.join(name)).unwrap();
        assert!(page.contains(words), "{name} has no {words:?}: {page}");
        let source = format!("\"heirloom {}\"", env!("CARGO_PKG_VERSION"));
        let title = page.lines().find(|line| line.starts_with(".TH"));
        assert!(
            title.is_some_and(|title| title.contains(&source)),
            "{title:?}"
        );
    }
    let main = fs::read_to_string(out.join("heirloom.1")).unwrap();
    let printed = run(&["man"]);
    assert_eq!((printed.code, printed.out), (Some(0), main));
    // A later version writes over them.
    assert_eq!(run(&["man", "--out", out.to_str().unwrap()]).code, Some(0));
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let folder = Folder::new();
    let file = folder.write("file", "");
    let ended = run(&["man", "--out", file.join("man").to_str().unwrap()]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.talk.contains("cannot write "), "{}", ended.talk);
}
