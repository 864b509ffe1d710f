//! The history of the versions, as pages: facts from the table, prose from the
//! files beside this one, conversations as the explanation tells them.

mod timeline;

use std::fmt::Write;
use std::sync::Arc;

use super::{Explanation, hex, plain};
use crate::bytes::{Input, Output};
use crate::conn::{Config, Conn, Event};
use crate::error::Unsendable;
use crate::frame::Message;
use crate::handshake::ClientRequest;
use crate::version::{VERSIONS, Version, Versions};

pub use self::timeline::timeline;

/// A conversation that a page shows.
#[derive(Debug)]
pub struct Example<'e> {
    /// Its name among the vectors.
    pub id: &'e str,
    /// What it shows.
    pub title: &'e str,
    /// The file it stands in, from the root of the repository.
    pub file: &'e str,
    /// What came of it.
    pub explanation: &'e Explanation,
}

/// What a version looked like, what changed and why.
fn prose(version: &Version) -> &'static str {
    match version.name {
        "hixie-75" => include_str!("hixie-75.md"),
        "hixie-76" => include_str!("hixie-76.md"),
        "hybi-03" => include_str!("hybi-03.md"),
        "hybi-04" => include_str!("hybi-04.md"),
        "hybi-05" => include_str!("hybi-05.md"),
        "hybi-06" => include_str!("hybi-06.md"),
        "hybi-07" => include_str!("hybi-07.md"),
        "hybi-08" => include_str!("hybi-08.md"),
        "rfc6455" => include_str!("rfc6455.md"),
        _ => "",
    }
}

/// The page of a version, in Markdown.
#[must_use]
pub fn page(version: &'static Version, example: &Example<'_>) -> String {
    let mut page = format!("# {version}\n\n");
    let line = |page: &mut String, name: &str, fact: &str| {
        let _ = writeln!(page, "| {name} | {fact} |");
    };
    page.push_str("| | |\n| --- | --- |\n");
    line(&mut page, "documents", version.document);
    let dates = match version.dates {
        (first, last) if first == last => first.to_owned(),
        (first, last) => format!("{first} to {last}"),
    };
    line(&mut page, "dates", &dates);
    let number = match version.number {
        Some(number) => format!("`Sec-WebSocket-Version: {number}`"),
        None => "no number".to_owned(),
    };
    line(&mut page, "in the request", &number);
    line(&mut page, "shipped by", version.clients);
    let says = [
        (version.has_binary(), "binary messages"),
        (version.has_ping(), "ping"),
        (version.has_fragments(), "fragments"),
        (version.client_masks(), "a client that masks"),
        (version.has_close_codes(), "close codes"),
    ];
    let says: Vec<&str> = says
        .iter()
        .filter(|(has, _)| *has)
        .map(|(_, what)| *what)
        .collect();
    let says = if says.is_empty() {
        "texts only".to_owned()
    } else {
        says.join(", ")
    };
    line(&mut page, "it has", &says);
    let _ = write!(page, "\n{}\n## A conversation\n\n", prose(version));
    let _ = writeln!(
        page,
        "{}. It is the vector `{}` in [`{}`](../../{}); `heirloom explain {} --vector {}` says the \
         same, and `--html` makes a page of it.\n",
        example.title, example.id, example.file, example.file, example.file, example.id
    );
    let _ = writeln!(page, "```text\n{}```\n", plain(example.explanation));
    page.push_str(&neighbours(version));
    page
}

/// Links to the version before, the index and the version behind.
fn neighbours(version: &Version) -> String {
    let at = VERSIONS.iter().position(|v| v == version);
    let at = at.unwrap_or_default();
    let link = |v: Option<&Version>, arrow: &str| v.map(|v| format!("{arrow}[{v}]({v}.md)"));
    let links = [
        link(at.checked_sub(1).and_then(|n| VERSIONS.get(n)), "before: "),
        Some("[all versions](README.md)".to_owned()),
        link(VERSIONS.get(at + 1), "then: "),
    ];
    let links: Vec<String> = links.into_iter().flatten().collect();
    format!("{}\n", links.join(" · "))
}

/// The index of the pages, in Markdown.
#[must_use]
pub fn index() -> String {
    let mut page = format!(
        "{}\n![The drafts and the clients that shipped them](timeline.svg)\n\n| version | dates | shipped by |\n| --- | --- | --- |\n",
        include_str!("index.md")
    );
    for version in &VERSIONS {
        let (first, last) = version.dates;
        let _ = writeln!(
            page,
            "| [{version}]({version}.md) | {first} to {last} | {} |",
            version.clients
        );
    }
    page.push_str(
        "\n[Why the client masks](masking.md): the attack that ended hixie-76, told with octets.\n\n\
         All of this folder is written by `BLESS=1 cargo test --test explain_input`: the facts stand \
         in the table, the prose in `src/explain/history/`, the conversations in `vectors/`. A test \
         holds the pages to them.\n",
    );
    page
}

/// What the page of the attack sends: a request inside a text.
const TEXT: &str = "GET /script.js HTTP/1.1\r\nHost: site.example\r\n\r\n";

/// The attack on hixie-76 and the answer to it, in Markdown.
///
/// # Errors
///
/// None that is known: every version has texts.
pub fn masking() -> Result<String, Unsendable> {
    let mut page = String::from("# Why the client masks\n\n");
    page.push_str(include_str!("masking.md"));
    shown(&mut page, "hixie-76")?;
    page.push('\n');
    page.push_str(include_str!("masking-answer.md"));
    for name in ["hybi-04", "hybi-05", "rfc6455"] {
        let _ = write!(page, "\n**{name}**\n");
        shown(&mut page, name)?;
    }
    page.push('\n');
    page.push_str(include_str!("masking-end.md"));
    page.push_str("\n[All versions](README.md)\n");
    Ok(page)
}

fn shown(page: &mut String, name: &str) -> Result<(), Unsendable> {
    let version = VERSIONS.iter().find(|v| v.name == name);
    let octets = version.map_or(Ok(Vec::new()), example_octets)?;
    page.push_str("\n```text\n");
    for (n, row) in octets.chunks(16).enumerate() {
        let text: String = row
            .iter()
            .map(|o| {
                if matches!(o, 0x20..=0x7e) {
                    char::from(*o)
                } else {
                    '.'
                }
            })
            .collect();
        let line = format!("{:04x}  {:<47}  {text}", n * 16, hex(row));
        let _ = writeln!(page, "{}", line.trim_end());
    }
    page.push_str("```\n");
    Ok(())
}

/// The frame in which a client of this version says the text, after a
/// handshake with a server of ours.
fn example_octets(version: &'static Version) -> Result<Vec<u8>, Unsendable> {
    let config = Arc::new(Config {
        versions: Versions::ALL,
        ..Config::default()
    });
    let client_request = ClientRequest {
        host: "attacker.example",
        target: "/",
        secure: false,
        origin: Some("http://attacker.example"),
        subprotocols: &[],
        headers: &[],
    };
    // The key of the RFC's example.
    let mut random = |octets: &mut [u8]| {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for (octet, k) in octets.iter_mut().zip(key.iter().cycle()) {
            *octet = *k;
        }
    };
    let (mut request_octets, mut response_octets) = (Vec::new(), Vec::new());
    let mut out = Output::new(&mut request_octets, &mut random);
    let mut client = Conn::client(version, &client_request, Arc::clone(&config), &mut out)?;
    let mut server = Conn::server(config);
    let mut input = Input::new(&mut request_octets);
    let mut out = Output::new(&mut response_octets, &mut random);
    while let Ok(Some(event)) = server.next(&mut input, &mut out) {
        if let Event::Request(_) = event {
            server.accept(None, &mut out)?;
        }
    }
    let mut frames = Vec::new();
    let mut out = Output::new(&mut frames, &mut random);
    let mut input = Input::new(&mut response_octets);
    while let Ok(Some(_)) = client.next(&mut input, &mut out) {}
    client.send(Message::text(TEXT), &mut out)?;
    Ok(frames)
}
