//! The command line that plays one case again.

use std::borrow::Cow;

/// Options with a value that say which cases are played, how many at once, or how
/// they are reported.
const OF_THE_RUN: [&str; 10] = [
    "--only",
    "--skip",
    "--jobs",
    "--junit",
    "--html",
    "--autobahn",
    "--fail-on",
    "--baseline",
    "--write-baseline",
    "--color",
];

/// The same without a value.
const FLAGS_OF_THE_RUN: [&str; 6] = [
    "--json",
    "--tap",
    "--verbose",
    "--quiet",
    "--once",
    "--list",
];

/// The command that was given, without what says of which cases and of reports. To
/// it `--only ID` is added.
pub(super) fn command() -> String {
    without_the_run(std::env::args())
}

fn without_the_run(given: impl Iterator<Item = String>) -> String {
    let mut command = "heirloom conform".to_owned();
    let mut given = given.skip_while(|arg| arg != "conform").skip(1);
    while let Some(arg) = given.next() {
        let name = arg.split_once('=').map_or(arg.as_str(), |(name, _)| name);
        if OF_THE_RUN.contains(&name) {
            if name.len() == arg.len() {
                // Its value.
                given.next();
            }
            continue;
        }
        let letters = arg.strip_prefix('-').unwrap_or_default();
        let is_short = !letters.is_empty() && letters.chars().all(|c| matches!(c, 'v' | 'q'));
        if is_short || FLAGS_OF_THE_RUN.contains(&name) {
            continue;
        }
        command.push(' ');
        command.push_str(&quoted(&arg));
    }
    command
}

/// As a shell reads it.
fn quoted(arg: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+[]".contains(c);
    if !arg.is_empty() && arg.chars().all(is_plain) {
        Cow::Borrowed(arg)
    } else {
        Cow::Owned(format!("'{}'", arg.replace('\'', "'\\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(given: &[&str]) -> String {
        without_the_run(given.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn what_makes_the_connection_stays() {
        let given = [
            "/usr/bin/heirloom",
            "-q",
            "conform",
            "ws://[::1]:9001/",
            "--only",
            "1,2",
            "--header",
            "Authorization: it's me",
            "--full",
            "--cases",
            "own.json",
            "-vv",
            "--json",
            "--junit=a.xml",
            "--jobs",
            "1",
            "--timeout-ms",
            "9s",
        ];
        assert_eq!(
            of(&given),
            "heirloom conform ws://[::1]:9001/ --header 'Authorization: it'\\''s me' --full \
             --cases own.json --timeout-ms 9s"
        );
        let given = ["heirloom", "conform", "--exec", "run {url}", "--once"];
        assert_eq!(of(&given), "heirloom conform --exec 'run {url}'");
    }
}
