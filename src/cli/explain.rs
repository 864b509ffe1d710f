//! `heirloom explain`: what each octet is, how the proof is made, and which rule
//! was broken.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args as ClapArgs, ValueEnum};
use heirloom::bytes::Escaped;
use heirloom::error::Violation;
use heirloom::explain::dump::{self, Dump, DumpedOctets, Speaker};
use heirloom::explain::terminal::{self, Ink};
use heirloom::explain::{
    Explainer, Explanation, MAX_PARTS, Outcome, history, html, json, kind, transcript,
};
use heirloom::extension::{Deflate, check_answer};
use heirloom::vector::import::{self, MAX_FILE_OCTETS, Options, Unimportable};
use heirloom::vector::{File, Vector};
use heirloom::{Side, Version};
use memchr::memmem;

use super::extensions;
use super::style::Style;
use super::verdict::{Place, Severity, Verdict};
use super::{Exit, complain, output, remark, report};

/// Explain what each octet of a handshake or capture is, and which rule was
/// broken.
///
/// Takes octets as they are, hex dumps (xxd, hexdump -C, tcpdump -X, Wireshark,
/// curl --trace, od -t x1, bare hex), heads pasted as text, the output of curl -v,
/// `heirloom connect -v` and ngrep, the headers that a browser's network panel
/// copies, vectors, captures (pcap, pcapng), HAR and k3po scripts. Without FILE and with --version it prints the
/// history of that version.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The octets; `-` is standard input.
    #[arg(value_name = "FILE", required_unless_present_any = ["version", "page"])]
    file: Option<PathBuf>,
    /// Print one JSON object per conversation.
    #[arg(long, conflicts_with = "html")]
    json: bool,
    /// Print one self-contained page of HTML.
    #[arg(long)]
    html: bool,
    /// Print a line per part and the verdict.
    #[arg(long, conflicts_with_all = ["json", "html"])]
    brief: bool,
    /// The format of FILE, where its content does not tell.
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    format: Format,
    /// The side that sent the octets, where they do not tell.
    #[arg(long, value_name = "SIDE", value_parser = side())]
    from: Option<Side>,
    /// The version of octets that are frames without a handshake.
    #[arg(long, value_name = "NAME", value_parser = super::version)]
    version: Option<&'static Version>,
    /// The extensions that such frames were agreed to have: the value of
    /// Sec-WebSocket-Extensions in the response, such as permessage-deflate.
    #[arg(long, value_name = "VALUE", requires = "version")]
    extensions: Option<String>,
    /// Explain only this one of several vectors.
    #[arg(long, value_name = "ID")]
    vector: Option<String>,
    /// Take only connections to this port from a capture.
    #[arg(long, value_name = "N", value_parser = super::units::whole(1..=u16::MAX))]
    port: Option<u16>,
    /// The connection ran inside TLS: the client dialled wss.
    #[arg(long)]
    secure: bool,
    /// A page of docs/history that is not about one version.
    #[arg(long, hide = true, value_name = "PAGE")]
    page: Option<HistoryPage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum HistoryPage {
    Index,
    Masking,
    Timeline,
}

impl Args {
    /// The compression that --extensions names.
    fn agreed(&self, version: &'static Version) -> Result<Option<Deflate>, String> {
        let Some(value) = &self.extensions else {
            return Ok(None);
        };
        let value = value.as_bytes();
        match check_answer(version, [value], [value]) {
            Ok(Some(deflate)) => Ok(Some(deflate)),
            Ok(None) => Err(extensions::not_explained(version, value)),
            Err(bad) => Err(match bad.violation {
                Violation::ExtensionInvalid { fault } => format!("--extensions {fault}"),
                violation => format!("--extensions: {violation}"),
            }),
        }
    }
}

const EXAMPLES: &str = "Examples:
  heirloom explain session.pcap
  heirloom explain vectors/hixie-76/draft-examples.json --html > page.html
  echo 81 05 48 65 6c 6c 6f | heirloom explain - --version rfc6455 --from server
  heirloom explain --version hixie-76

Exit status: 0 nothing is wrong; 1 a rule is broken, the server refuses, or the octets end inside a
head or a frame; 2 FILE cannot be read.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Find out by the content.
    Auto,
    /// The octets themselves.
    Raw,
    /// A hex dump.
    Hex,
    /// A file of vectors.
    Vector,
    /// pcap, pcapng, HAR or k3po.
    Capture,
}

macro_rules! example {
    ($file:literal, $id:literal) => {
        (
            concat!("vectors/", $file, ".json"),
            include_str!(concat!("../../vectors/", $file, ".json")),
            $id,
        )
    };
}

/// A conversation to explain.
struct Conversation {
    /// The vector and its title, where it is one.
    id: Option<String>,
    name: Option<String>,
    title: Option<String>,
    secure: bool,
    turns: Vec<StreamEvent>,
}

enum StreamEvent {
    Octets(Side, Vec<u8>),
    End(Side),
}

/// A conversation that was found in the file. The octets of a vector are made only
/// when it is explained: a `fill` of few letters stands for megabytes.
enum Found {
    Octets(Conversation),
    Vector(Box<Vector>),
}

impl Found {
    fn of(dumped: Vec<DumpedOctets>, from: Option<Side>, secure: bool) -> Found {
        Found::Octets(one(dumped, from, secure))
    }

    fn conversation(self) -> Result<Conversation, String> {
        match self {
            Found::Octets(conversation) => Ok(conversation),
            Found::Vector(vector) => recorded(&vector),
        }
    }
}

pub(super) fn run(args: &Args) -> Exit {
    let Some(file) = &args.file else {
        return print_history(args);
    };
    let shown = match file.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => Escaped::<400>(&file.display().to_string()).to_string(),
    };
    if let Some(Err(what)) = args.version.map(|version| args.agreed(version)) {
        complain(&what);
        return Exit::Usage;
    }
    let conversations = read(file)
        .map_err(|error| format!("cannot be read: {error}"))
        .and_then(|octets| conversations(octets, args, &shown));
    match conversations {
        Ok(conversations) => print_explanations(conversations, args),
        Err(what) => {
            complain(&format!("{shown}: {what}"));
            Exit::Usage
        }
    }
}

/// The example of each version: its file, the file's content and the vector's id.
const EXAMPLES_OF_VERSIONS: [(&str, &str, &str); 9] = [
    example!(
        "hixie-75/recorded",
        "hixie-75/recorded-ruby-websocket-1.2.9"
    ),
    example!("hixie-76/recorded", "hixie-76/recorded-phantomjs-1.9.8"),
    example!("hybi-03/recorded", "hybi-03/recorded-ruby-websocket-1.2.9"),
    example!("hybi-04/published-frames", "hybi-04/masked-text"),
    example!("hybi-05/closing", "hybi-05/close"),
    example!("hybi-06/closing", "hybi-06/close-reason"),
    example!("hybi-07/recorded", "hybi-07/recorded-ruby-websocket-1.2.9"),
    example!("hybi-08/recorded", "hybi-08/recorded-ruby-websocket-1.2.9"),
    example!("rfc6455/recorded", "rfc6455/recorded-chromium-156"),
];

fn print_history(args: &Args) -> Exit {
    if args.json {
        complain(&"--json explains a FILE; the history of a version is a page of Markdown");
        return Exit::Usage;
    }
    let page = match (args.page, args.version) {
        (Some(HistoryPage::Index), _) => Ok(history::index()),
        (Some(HistoryPage::Masking), _) => history::masking().map_err(|error| error.to_string()),
        (Some(HistoryPage::Timeline), _) => Ok(history::timeline()),
        (None, Some(version)) => history_of(version, args),
        (None, None) => Err("FILE is missing".to_owned()),
    };
    match page {
        Ok(page) => {
            print(&page);
            Exit::Good
        }
        Err(what) => {
            complain(&what);
            Exit::Usage
        }
    }
}

fn history_of(version: &'static Version, args: &Args) -> Result<String, String> {
    let found = EXAMPLES_OF_VERSIONS
        .iter()
        .find(|(_, _, id)| id.split('/').next() == Some(version.name));
    let (path, json, id) = found.ok_or("this version has no example")?;
    let file = File::read(json.as_bytes()).map_err(|error| error.to_string())?;
    let vector = file.vectors.iter().find(|vector| vector.id == *id);
    let vector = vector.ok_or("the example of this version is missing")?;
    let conversation = recorded(vector)?;
    let example = history::Example {
        id,
        title: vector.title.as_deref().unwrap_or_default(),
        file: path,
        explanation: &conversation.explained(None, args),
    };
    Ok(history::page(version, &example))
}

/// Reads the file, and not much more than an import takes.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_FILE_OCTETS).unwrap_or(u64::MAX);
    let mut octets = Vec::new();
    if path.as_os_str() == "-" {
        let stdin = io::stdin().lock();
        stdin.take(limit + 1).read_to_end(&mut octets)?;
    } else {
        let file = fs::File::open(path)?;
        file.take(limit + 1).read_to_end(&mut octets)?;
    }
    Ok(octets)
}

/// Reads a side by its name.
fn side() -> impl TypedValueParser<Value = Side> {
    let names = [Side::Client, Side::Server].map(Side::name);
    PossibleValuesParser::new(names).map(|name| match &*name {
        "client" => Side::Client,
        _ => Side::Server,
    })
}

/// The conversations in the file, by its content or by the format that was named.
fn conversations(octets: Vec<u8>, args: &Args, name: &str) -> Result<Vec<Found>, String> {
    if octets.is_empty() {
        return Err("it is empty; give it the octets of a handshake or a capture".to_owned());
    }
    let from = args.from;
    let found = match args.format {
        Format::Raw => return Ok(vec![Found::of(unknown(octets), from, args.secure)]),
        Format::Vector => vectors(&octets, args)?,
        Format::Capture => captured(&octets, args, name)?,
        Format::Hex => hex(&octets, args, name, from)?.ok_or(NO_DUMP)?,
        Format::Auto => guessed(octets, args, name, from)?,
    };
    Ok(found)
}

const NO_DUMP: &str = "it is neither a hex dump of xxd, hexdump -C, tcpdump -X, Wireshark or curl, nor \
                       bare hex with two digits for each octet";

fn guessed(
    octets: Vec<u8>,
    args: &Args,
    name: &str,
    from: Option<Side>,
) -> Result<Vec<Found>, String> {
    if args.version.is_none()
        && (octets.starts_with(&[0xff, 0xfe]) || octets.starts_with(&[0xfe, 0xff]))
    {
        return Err(
            "it looks like text in UTF-16, as PowerShell's `>` writes it; save it as UTF-8, or give \
             --format raw"
                .to_owned(),
        );
    }
    let octets = match octets.strip_prefix(b"\xef\xbb\xbf") {
        Some(text) => text.to_vec(),
        None => octets,
    };
    if octets.trim_ascii_start().starts_with(b"{") {
        return match File::read(&octets) {
            Ok(file) => chosen(file, args),
            Err(error) => captured(&octets, args, name).map_err(|other| {
                let is_har = memmem::find(&octets, b"\"log\"").is_some();
                let is_vectors = memmem::find(&octets, b"\"vectors\"").is_some();
                if is_har && !is_vectors {
                    other
                } else {
                    error.to_string()
                }
            }),
        };
    }
    let options = options(args, name);
    match import::import(&octets, &options) {
        Err(Unimportable::Unknown(_)) => {}
        imported => return imported_ones(imported, args, name),
    }
    if let Some(found) = std::str::from_utf8(&octets).ok().and_then(transcript::read) {
        remark(&format!(
            "{name}: this looks like the output of {}; its heads are explained, with CR LF after each \
             line, and the rest is left out",
            found.program
        ));
        return Ok(vec![Found::of(
            found.octets,
            from,
            found.secure || args.secure,
        )]);
    }
    if let Some(what) = std::str::from_utf8(&octets)
        .ok()
        .and_then(kind::unreadable_dump)
    {
        return Err(what);
    }
    if let Some(found) = hex(&octets, args, name, from)? {
        return Ok(found);
    }
    if args.version.is_none() {
        if let Some(what) = kind::looks_like(&octets) {
            return Err(format!("{what}; --format raw explains it all the same"));
        }
    }
    let Some(pasted) = dump::pasted(&octets) else {
        return Ok(vec![Found::of(unknown(octets), from, args.secure)]);
    };
    remark(&format!(
        "{name}: this is text without a CR; each line of a head gets its CR LF back, and --format \
         raw leaves it as it is"
    ));
    // An empty line at the end is easily lost. Where the head is wrong or no upgrade
    // with it, the head is rather cut off.
    let lost = pasted.ends_with(b"\r\n\r\n") && !octets.ends_with(b"\n\n");
    let with_line = one(unknown(pasted.clone()), from, args.secure);
    let outcome = with_line.explained(args.version, args).verdict.outcome;
    if lost && matches!(outcome, Outcome::Broken | Outcome::Http) {
        let cut = pasted.split_at(pasted.len() - 2).0.to_vec();
        return Ok(vec![Found::of(unknown(cut), from, args.secure)]);
    }
    Ok(vec![Found::Octets(with_line)])
}

fn unknown(octets: Vec<u8>) -> Vec<DumpedOctets> {
    vec![DumpedOctets {
        speaker: Speaker::Unknown,
        octets,
    }]
}

fn one(dumped: Vec<DumpedOctets>, from: Option<Side>, secure: bool) -> Conversation {
    let turns = dump::sides(dumped, from).into_iter();
    Conversation {
        id: None,
        name: None,
        title: None,
        secure,
        turns: turns
            .map(|(side, octets)| StreamEvent::Octets(side, octets))
            .collect(),
    }
}

fn hex(
    octets: &[u8],
    args: &Args,
    name: &str,
    from: Option<Side>,
) -> Result<Option<Vec<Found>>, String> {
    let Some(found) = std::str::from_utf8(octets).ok().and_then(dump::read) else {
        return Ok(None);
    };
    match found {
        Dump::Octets(dumped) => {
            if let Some((due, got)) = std::str::from_utf8(octets).ok().and_then(dump::gap) {
                remark(&format!(
                    "{name}: the offsets jump from {due:#x} to {got:#x}: octets are missing there, \
                     and what follows is explained as if none were"
                ));
            }
            Ok(Some(vec![Found::of(dumped, from, args.secure)]))
        }
        Dump::Packets(packets) => captured(&dump::capture(&packets), args, name).map(Some),
    }
}

fn options(args: &Args, name: &str) -> Options {
    let mut options = Options::of(name);
    options.port = args.port;
    options
}

fn captured(octets: &[u8], args: &Args, name: &str) -> Result<Vec<Found>, String> {
    imported_ones(import::import(octets, &options(args, name)), args, name)
}

fn imported_ones(
    imported: Result<import::Imported, Unimportable>,
    args: &Args,
    name: &str,
) -> Result<Vec<Found>, String> {
    let imported = imported.map_err(|error| error.to_string())?;
    for text in &imported.remarks {
        remark(&format!("{name}: {text}"));
    }
    chosen(imported.file, args)
}

fn vectors(octets: &[u8], args: &Args) -> Result<Vec<Found>, String> {
    let file = File::read(octets).map_err(|error| error.to_string())?;
    chosen(file, args)
}

fn chosen(file: File, args: &Args) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    let ids: Vec<String> = file.vectors.iter().map(|v| v.id.clone()).collect();
    for vector in file.vectors {
        if args.vector.as_ref().is_none_or(|id| *id == vector.id) {
            found.push(Found::Vector(Box::new(vector)));
        }
    }
    match (found.is_empty(), &args.vector) {
        (false, _) => Ok(found),
        (true, None) => Err("it has no vectors".to_owned()),
        (true, Some(id)) => Err(format!(
            "no vector has the id {:?}; the ids are {}",
            id,
            ids.join(", ")
        )),
    }
}

fn recorded(vector: &Vector) -> Result<Conversation, String> {
    let mut turns = Vec::new();
    for step in &vector.steps {
        let side = step.from;
        turns.push(match step.end {
            Some(_) => StreamEvent::End(side),
            None => StreamEvent::Octets(side, step.octets()?),
        });
    }
    let title = match &vector.title {
        Some(title) => format!("{}: {title}", vector.id),
        None => vector.id.clone(),
    };
    Ok(Conversation {
        id: Some(vector.id.clone()),
        name: vector.title.clone(),
        title: Some(title),
        secure: vector.secure,
        turns,
    })
}

impl Conversation {
    /// `version` is the one to use where the octets are frames without a
    /// handshake.
    fn explained(&self, version: Option<&'static Version>, args: &Args) -> Explanation {
        let http = |turn: &StreamEvent| matches!(turn, StreamEvent::Octets(_, dumped) if dump::looks_like_http(dumped));
        let frames = version.filter(|_| !self.turns.iter().any(http));
        let explanation = self.observed(frames, false, args);
        // Such frames do not tell which side sent them: a client masks, a server does
        // not.
        if frames.is_some() && args.from.is_none() && explanation.verdict.outcome == Outcome::Broken
        {
            let other = self.observed(frames, true, args);
            let first = explanation.verdict.place.and_then(|place| place.part) == Some(0);
            let unmasked = first && explanation.verdict.code == Some("mask-missing");
            if unmasked || other.verdict.outcome != Outcome::Broken {
                return other;
            }
        }
        explanation
    }

    fn observed(
        &self,
        frames: Option<&'static Version>,
        swapped: bool,
        args: &Args,
    ) -> Explanation {
        let mut explainer = match frames {
            Some(version) => match args.agreed(version) {
                Ok(Some(deflate)) => Explainer::of_compressed_frames(version, deflate),
                Ok(None) | Err(_) => Explainer::of_frames(version),
            },
            None => Explainer::new(self.secure || args.secure),
        };
        for turn in &self.turns {
            match turn {
                StreamEvent::Octets(side, octets) if swapped => explainer.feed(side.peer(), octets),
                StreamEvent::Octets(side, octets) => explainer.feed(*side, octets),
                StreamEvent::End(side) => explainer.end(*side),
            }
        }
        explainer.finish()
    }
}

fn print_explanations(conversations: Vec<Found>, args: &Args) -> Exit {
    let style = Style::of(&io::stdout());
    let mut failed = false;
    let mut pages = Vec::new();
    let mut parts = 0;
    for (n, conversation) in conversations.into_iter().enumerate() {
        if parts > MAX_PARTS {
            complain(&format!(
                "the page has the first {n} conversations: it holds no more than {MAX_PARTS} parts; \
                 choose one of the others by --vector"
            ));
            break;
        }
        let conversation = match conversation.conversation() {
            Ok(conversation) => conversation,
            Err(what) => {
                complain(&what);
                return Exit::Usage;
            }
        };
        let explanation = conversation.explained(args.version, args);
        failed |= explanation.is_cut_off()
            || matches!(
                explanation.verdict.outcome,
                Outcome::Broken | Outcome::Refused
            );
        let title = conversation.title.as_deref();
        if args.html {
            parts += explanation.parts.len();
            pages.push((title.unwrap_or_default().to_owned(), explanation));
        } else if args.json {
            match line(&conversation, &explanation, args) {
                Ok(line) => print(&line),
                Err(error) => complain(&error),
            }
        } else {
            let mut text = String::new();
            if n > 0 {
                text.push('\n');
            }
            if let Some(title) = title {
                text.push_str(&style.note(&Escaped::<200>(title).to_string()));
                text.push('\n');
            }
            if args.brief {
                text.push_str(&terminal::brief(&explanation));
            } else {
                text.push_str(&shown(&explanation, style));
            }
            print(&text);
        }
    }
    if args.html {
        print(&html::page(&pages));
    }
    if failed { Exit::Failed } else { Exit::Good }
}

/// A line of JSON: the explanation, and the verdict with the keys that all verdicts
/// have.
fn line(
    conversation: &Conversation,
    explanation: &Explanation,
    args: &Args,
) -> serde_json::Result<String> {
    let explained = json::json(explanation)?;
    let conclusion = report::json(&verdict(conversation, explanation, args))?;
    let explained = explained.strip_suffix('}').unwrap_or(&explained);
    Ok(format!("{explained},\"conclusion\":{conclusion}}}\n"))
}

fn verdict(conversation: &Conversation, explanation: &Explanation, args: &Args) -> Verdict {
    let told = &explanation.verdict;
    let place = told.place.map(|place| {
        let part = place.part.and_then(|part| explanation.parts.get(part));
        let items = part.map(|part| part.items()).unwrap_or_default();
        // The octet is the last that was parsed.
        let item = items
            .into_iter()
            .find(|item| (item.at..item.at + item.octets).contains(&place.at));
        Place {
            side: Some(place.from.name()),
            octet: Some(place.at),
            field: item.as_ref().map(|item| item.field.to_owned()),
            expected: Some(told.sentence.clone()),
            seen: item.map(|item| item.value),
        }
    });
    let file = args.file.as_ref().map(|file| file.display().to_string());
    Verdict {
        id: conversation.id.clone().or(file),
        title: conversation.name.clone(),
        verdict: told.code.unwrap_or(told.outcome.name()),
        severity: match told.outcome {
            Outcome::Good => Severity::Good,
            Outcome::Refused => Severity::Refused,
            Outcome::Broken => Severity::Wrong,
            _ => Severity::Unproved,
        },
        place: place.unwrap_or_default(),
    }
}

/// An explanation in the style of standard output.
pub(super) fn shown(explanation: &Explanation, style: Style) -> String {
    terminal::painted(explanation, &|ink, text| painted(style, ink, text))
}

fn painted(style: Style, ink: Ink, text: &str) -> String {
    match ink {
        Ink::Title => style.title(text),
        Ink::Strong => style.strong(text),
        Ink::Dim => style.note(text),
        Ink::Octets => style.incoming(text),
        Ink::Good => style.good(text),
        Ink::Bad => style.bad(text),
        _ => text.to_owned(),
    }
}

fn print(text: &str) {
    output::write(text.as_bytes());
}
