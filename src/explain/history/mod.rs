//! The history of the versions, as pages: facts from the table, prose from the
//! files beside this one, and explained conversations.

mod timeline;

use std::fmt::Write;
use std::sync::Arc;

use super::Explanation;
use super::terminal::plain;
use super::text::{hex, printable};
use crate::bytes::Output;
use crate::conn::{Config, Conn, Session, SessionEvent};
use crate::error::Unsendable;

use crate::handshake::ClientRequest;
use crate::message::Message;
use crate::version::{VERSIONS, Version, Versions};

pub use self::timeline::timeline;

/// A conversation that a page shows.
#[derive(Debug)]
pub struct Example<'e> {
    /// Its name among the vectors.
    pub id: &'e str,
    /// What it shows.
    pub title: &'e str,
    /// Its file, from the root of the repository.
    pub file: &'e str,
    /// Its explanation.
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
    let features = [
        (version.has_binary(), "binary messages"),
        (version.has_ping(), "ping"),
        (version.has_fragments(), "fragments"),
        (version.client_masks(), "a client that masks"),
        (version.has_close_codes(), "close codes"),
    ];
    let features: Vec<&str> = features
        .iter()
        .filter(|(has, _)| *has)
        .map(|(_, what)| *what)
        .collect();
    let features = if features.is_empty() {
        "texts only".to_owned()
    } else {
        features.join(", ")
    };
    line(&mut page, "it has", &features);
    let _ = write!(page, "\n{}\n## A conversation\n\n", prose(version));
    let _ = writeln!(
        page,
        "{}. It is the vector `{}` in [`{}`](../../{}); `heirloom explain {} --vector {}` prints \
         the same, and `--html` makes a page of it.\n",
        example.title, example.id, example.file, example.file, example.file, example.id
    );
    let _ = writeln!(page, "```text\n{}```\n", plain(example.explanation));
    page.push_str(&neighbours(version));
    page
}

/// Links to the version before, the index and the next version.
fn neighbours(version: &Version) -> String {
    let older = VERSIONS.iter().take_while(|v| *v != version).last();
    let newer = VERSIONS.iter().skip_while(|v| *v != version).nth(1);
    let link = |v: Option<&Version>, word: &str| v.map(|v| format!("{word}: [{v}]({v}.md)"));
    let links = [
        link(older, "before"),
        Some("[all versions](README.md)".to_owned()),
        link(newer, "then"),
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
    for version in VERSIONS {
        let (first, last) = version.dates;
        let _ = writeln!(
            page,
            "| [{version}]({version}.md) | {first} to {last} | {} |",
            version.clients
        );
    }
    page.push_str(
        "\n[Why the client masks](masking.md): the attack that ended hixie-76, shown in octets.\n\n\
         `BLESS=1 cargo test --test explain input` writes this folder: the facts come from the table, \
         the prose from `src/explain/history/`, the conversations from `vectors/`. A test compares \
         the pages with them.\n",
    );
    page
}

/// The text that the attacker's page sends: a request.
const TEXT: &str = "GET /script.js HTTP/1.1\r\nHost: site.example\r\n\r\n";

/// The attack on hixie-76 and how masking prevents it, in Markdown.
///
/// # Errors
///
/// None that is known: every version has texts.
pub fn masking() -> Result<String, Unsendable> {
    let mut page = String::from("# Why the client masks\n\n");
    page.push_str(include_str!("masking.md"));
    frame_dump(&mut page, "hixie-76")?;
    page.push('\n');
    page.push_str(include_str!("masking-answer.md"));
    for name in ["hybi-04", "hybi-05", "rfc6455"] {
        let _ = write!(page, "\n**{name}**\n");
        frame_dump(&mut page, name)?;
    }
    page.push('\n');
    page.push_str(include_str!("masking-end.md"));
    page.push_str("\n[All versions](README.md)\n");
    Ok(page)
}

fn frame_dump(page: &mut String, name: &str) -> Result<(), Unsendable> {
    let Some(version) = Version::named(name) else {
        unreachable!("{name} is in the table");
    };
    let octets = text_frame(version)?;
    page.push_str("\n```text\n");
    for (n, row) in octets.chunks(16).enumerate() {
        let line = format!("{:04x}  {:<47}  {}", n * 16, hex(row), printable(row));
        let _ = writeln!(page, "{}", line.trim_end());
    }
    page.push_str("```\n");
    Ok(())
}

/// The frame in which a client of this version sends the text, after a handshake
/// with a server of ours.
fn text_frame(version: &'static Version) -> Result<Vec<u8>, Unsendable> {
    let config = Arc::new(Config::default().with_versions(Versions::ALL));
    let request =
        ClientRequest::new("attacker.example", "/").with_origin("http://attacker.example");
    // The key of the RFC's example.
    let mut random = |octets: &mut [u8]| {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for (octet, k) in octets.iter_mut().zip(key.iter().cycle()) {
            *octet = *k;
        }
    };
    let (mut requested, mut responded, mut frames) = (Vec::new(), Vec::new(), Vec::new());
    let mut out = Output::new(&mut requested, &mut random);
    let client = Conn::client(version, &request, Arc::clone(&config), &mut out)?;
    let mut server = Session::new(Conn::server(config));
    server.receive(&requested);
    let mut out = Output::new(&mut responded, &mut random);
    while let Ok(Some((event, conn))) = server.next(&mut out) {
        if let SessionEvent::Request(_) = event {
            conn.accept(None, &mut out)?;
        }
    }
    let mut client = Session::new(client);
    client.receive(&responded);
    let mut out = Output::new(&mut frames, &mut random);
    while let Ok(Some(_)) = client.next(&mut out) {}
    client.conn_mut().send(Message::text(TEXT), &mut out)?;
    Ok(frames)
}
