//! `heirloom versions`: prints the table of versions.

use clap::Args as ClapArgs;
use heirloom::version::{Challenge, Closing, Layout, VERSIONS, Version};
use serde::Serialize;

use super::{Exit, print_line};

/// List every version: its form on the wire, its features, and the programs that spoke it.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// One JSON object per line, `name` first.
    #[arg(long)]
    json: bool,
    /// Print the page docs/versions.md.
    #[arg(long, hide = true, conflicts_with = "json")]
    markdown: bool,
}

/// One row, as the command prints it.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    aliases: &'static [&'static str],
    number: Option<u8>,
    default_on: bool,
    first: &'static str,
    last: &'static str,
    challenge: &'static str,
    layout: &'static str,
    closing: &'static str,
    #[serde(flatten)]
    has: Abilities,
    origin: &'static [&'static str],
    clients: &'static str,
    document: &'static str,
}

/// What frames of a version can be.
#[derive(Debug, Serialize)]
struct Abilities {
    masks: bool,
    binary: bool,
    ping: bool,
    fragments: bool,
    close_codes: bool,
}

impl From<&Version> for Row {
    fn from(v: &Version) -> Row {
        Row {
            name: v.name,
            aliases: v.aliases,
            number: v.number,
            default_on: v.default_on,
            first: v.dates.0,
            last: v.dates.1,
            challenge: match v.challenge {
                Challenge::Hixie75 => "none, origin and location are echoed",
                Challenge::Hixie76 => "two keys and eight octets, MD5",
                Challenge::Hybi04 => "key and nonce, SHA-1",
                Challenge::Hybi05 => "key, SHA-1",
            },
            layout: match v.layout {
                Layout::Hixie75 => "00 text FF",
                Layout::Hybi01 => "header with MORE",
                Layout::Hybi04 => "frame masked by 20 octets",
                Layout::Hybi05 => "frame masked by 4 octets",
                Layout::Hybi07 => "payload masked by 4 octets",
            },
            closing: match v.closing {
                Closing::Hixie75 => "end of TCP",
                Closing::Hixie76 => "FF 00",
                Closing::Hybi01 => "close frame",
                Closing::Hybi05 => "close frame with a letter",
                Closing::Hybi06 => "close frame with a code",
            },
            has: Abilities {
                masks: v.client_masks(),
                binary: v.has_binary(),
                ping: v.has_ping(),
                fragments: v.has_fragments(),
                close_codes: v.has_close_codes(),
            },
            origin: v.origin,
            clients: v.clients,
            document: v.document,
        }
    }
}

pub(super) fn run(args: &Args) -> Exit {
    let rows = VERSIONS.iter().map(Row::from);
    if args.json {
        for row in rows {
            match serde_json::to_string(&row) {
                Ok(line) => print_line(&line),
                Err(error) => super::complain(&error),
            }
        }
    } else if args.markdown {
        print_line(&markdown(&rows.collect::<Vec<_>>()));
    } else {
        for row in rows {
            print_line(&plain(&row));
        }
    }
    Exit::Good
}

fn plain(row: &Row) -> String {
    let on = if row.default_on { "on" } else { "off" };
    let number = row.number.map_or("-".to_owned(), |n| n.to_string());
    format!(
        "{:<9} {number:>2}  {on:<3}  {}  {}\n{:18} {}; {}; {}\n{:18} {}",
        row.name,
        row.first,
        row.document,
        "",
        row.challenge,
        row.layout,
        row.closing,
        "",
        row.clients
    )
}

fn yes(yes: bool) -> &'static str {
    if yes { "yes" } else { "–" }
}

fn markdown(rows: &[Row]) -> String {
    let mut page = String::from(PREFACE);
    page.push_str("| name | also | number | on by default | first | last |\n");
    page.push_str("| --- | --- | --- | --- | --- | --- |\n");
    for r in rows {
        let number = r.number.map_or("–".to_owned(), |n| n.to_string());
        let (aliases, on) = (r.aliases.join(" "), yes(r.default_on));
        let (first, last) = (r.first, r.last);
        page.push_str(&format!(
            "| {} | {aliases} | {number} | {on} | {first} | {last} |\n",
            r.name
        ));
    }
    page.push_str("\n## On the wire\n\n| name | proof | frames | close | the client masks |\n");
    page.push_str("| --- | --- | --- | --- | --- |\n");
    for r in rows {
        let (proof, frames, close, masks) = (r.challenge, r.layout, r.closing, yes(r.has.masks));
        page.push_str(&format!(
            "| {} | {proof} | {frames} | {close} | {masks} |\n",
            r.name
        ));
    }
    page.push_str("\n## Features\n\n| name | binary | ping | fragments | close codes |\n");
    page.push_str("| --- | --- | --- | --- | --- |\n");
    for r in rows {
        page.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            r.name,
            yes(r.has.binary),
            yes(r.has.ping),
            yes(r.has.fragments),
            yes(r.has.close_codes)
        ));
    }
    page.push_str("\n## Programs that spoke it, and its documents\n\n");
    for r in rows {
        page.push_str(&format!(
            "- **{}**: {}. {}.\n",
            r.name, r.clients, r.document
        ));
    }
    page.push_str(UNVERIFIED);
    page
}

const PREFACE: &str = "# Versions\n\n`heirloom versions --markdown` prints this page from the table `VERSIONS` of \
`src/version.rs`; a test compares the two.\n\n";

const UNVERIFIED: &str = "\n## Not verified\n\nThe texts of the drafts hybi-01 to hybi-12 were not available. \
heirloom follows implementations of that time that agree with each other. The points below have one source or none. \
The tests whose names start with `unverified` show what heirloom does:\n\n\
- hybi-01 and -02 may have a close body; the reply repeats it, as in hybi-03.\n\
- hybi-03: a client that offers several subprotocols may accept one of them; the server echoes the whole string or refuses.\n\
- hybi-05: the reply to a close has the letter of its own sender, `C` or `S`.\n\
- hybi-06 to -08: peers ignore close codes of later versions; heirloom sends them 1000 to 1004, 3000 and up, and from -08 on 1007.\n\
- hybi-01 to -06: control frames of more than 125 octets are refused, as in later versions.";
