//! The explanation: every octet is named once whatever the portions, the same
//! octets have the same words, and nothing that a peer sends has an effect on a
//! terminal or a page.

use std::fs;
use std::path::{Path, PathBuf};

use heirloom::Side;
use heirloom::explain::{Explainer, Explanation, KEPT_OCTETS, html, json, terminal};
use heirloom::vector::{File, Vector};

const SIDES: [Side; 2] = [Side::Client, Side::Server];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files() -> Vec<(PathBuf, File)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root().join("vectors"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .flat_map(|dir| fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()))
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let file = File::read(&fs::read(&path).unwrap()).unwrap();
        (path, file)
    };
    paths.into_iter().map(read).collect()
}

/// What each side sent: octets, or the end of TCP.
type Turns = Vec<(Side, Option<Vec<u8>>)>;

fn turns(vector: &Vector) -> Turns {
    let turn = |step: &heirloom::vector::Step| {
        let octets = step.end.is_none().then(|| step.octets().unwrap());
        (step.from, octets)
    };
    vector.steps.iter().map(turn).collect()
}

/// How octets are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Portions {
    Whole,
    OctetByOctet,
    At(usize),
}

fn explain(turns: &Turns, secure: bool, portions: Portions) -> Explanation {
    let mut explainer = Explainer::new(secure);
    for (side, octets) in turns {
        let Some(octets) = octets else {
            explainer.end(*side);
            continue;
        };
        match portions {
            Portions::Whole => explainer.feed(*side, octets),
            Portions::OctetByOctet => octets.chunks(1).for_each(|o| explainer.feed(*side, o)),
            Portions::At(n) => {
                let (one, two) = octets.split_at(n.min(octets.len()));
                explainer.feed(*side, one);
                explainer.feed(*side, two);
            }
        }
    }
    explainer.finish()
}

/// Whether every bit that was sent is in one span, in order.
fn covers(explanation: &Explanation, turns: &Turns) -> Result<(), String> {
    for side in SIDES {
        let said: Vec<u8> = turns
            .iter()
            .filter(|(from, _)| *from == side)
            .flat_map(|(_, octets)| octets.clone().unwrap_or_default())
            .collect();
        let (mut at, mut bit) = (0, 0);
        for part in explanation.parts.iter().filter(|part| part.from == side) {
            if part.at != at {
                return Err(format!("{side:?}: a part begins at {}, not {at}", part.at));
            }
            for seen in &part.spans {
                let span = &seen.span;
                if (span.at.start, span.bits.start) != (at, bit) {
                    return Err(format!("{side:?}: {span:?} at octet {at} bit {bit}"));
                }
                (at, bit) = if span.bits.end == 8 {
                    (span.at.end, 0)
                } else {
                    (at, span.bits.end)
                };
            }
            let start = part.at as usize;
            let kept = (part.octets as usize).min(KEPT_OCTETS);
            if part.raw != said[start..start + kept] {
                return Err(format!("{side:?}: the octets from {start} are others"));
            }
            if part.plain.len() != part.raw.len() {
                return Err(format!("{side:?}: unmasked is not as long from {start}"));
            }
        }
        if (at, bit) != (said.len() as u64, 0) {
            return Err(format!(
                "{side:?}: named up to octet {at} bit {bit} of {}",
                said.len()
            ));
        }
    }
    Ok(())
}

/// Runs a check over all vectors on two cores and fails with all that failed.
fn each(check: impl Fn(&Vector) -> Vec<String> + Sync) {
    let vectors: Vec<Vector> = files().into_iter().flat_map(|(_, f)| f.vectors).collect();
    assert!(vectors.len() > 1000, "the corpus is gone");
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|n| {
                let (vectors, check) = (&vectors, &check);
                scope.spawn(move || vectors.iter().skip(n).step_by(2).flat_map(check).collect())
            })
            .collect();
        let join = |t: std::thread::ScopedJoinHandle<'_, Vec<String>>| t.join().unwrap();
        threads.into_iter().flat_map(join).collect()
    });
    let many = failures.len();
    let first: Vec<&String> = failures.iter().take(30).collect();
    assert!(failures.is_empty(), "{many} failures: {first:#?}");
}

#[test]
fn every_octet_is_named_once_in_any_portions() {
    each(|vector| {
        let turns = turns(vector);
        let octets: usize = turns.iter().flat_map(|(_, o)| o).map(Vec::len).sum();
        let mut ways = vec![Portions::Whole];
        if octets < 100_000 {
            ways.push(Portions::OctetByOctet);
            ways.extend([1, 2, 3, 7, 100].map(Portions::At));
        }
        let mut failures = Vec::new();
        let mut first = None;
        for way in ways {
            let explanation = explain(&turns, vector.secure, way);
            if let Err(what) = covers(&explanation, &turns) {
                failures.push(format!("{} {way:?}: {what}", vector.id));
            }
            let text = terminal::plain(&explanation);
            let first = first.get_or_insert_with(|| text.clone());
            if *first != text {
                failures.push(format!("{} {way:?}: other words", vector.id));
            }
        }
        failures
    });
}

#[test]
fn every_octet_is_named_once_in_what_is_cut_or_broken() {
    each(|vector| {
        let turns = turns(vector);
        let octets: usize = turns.iter().flat_map(|(_, o)| o).map(Vec::len).sum();
        if octets > 4096 {
            return Vec::new();
        }
        let mut failures = Vec::new();
        let mut seed = 0x2545_f491_u32;
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize
        };
        for n in 0..40 {
            let mut turns = turns.clone();
            let turn = random() % turns.len();
            if n % 4 == 0 {
                // Cut: nothing follows.
                turns.truncate(turn + 1);
                turns.retain(|(_, octets)| octets.is_some());
            }
            let index = turn.min(turns.len().saturating_sub(1));
            if let Some((_, Some(octets))) = turns.get_mut(index) {
                let at = random() % octets.len().max(1);
                match n % 4 {
                    0 => octets.truncate(at),
                    1 if at < octets.len() => octets[at] = random() as u8,
                    2 => octets.insert(at, random() as u8),
                    3 if at < octets.len() => drop(octets.remove(at)),
                    _ => {}
                }
            }
            let whole = explain(&turns, vector.secure, Portions::Whole);
            if let Err(what) = covers(&whole, &turns) {
                failures.push(format!("{} {n}: {what}", vector.id));
            }
            let text = terminal::plain(&whole);
            let slow = terminal::plain(&explain(&turns, vector.secure, Portions::OctetByOctet));
            if text != slow {
                let lines = text.lines().zip(slow.lines());
                let (one, two) = lines.into_iter().find(|(a, b)| a != b).unwrap_or_default();
                failures.push(format!("{} {n}: other words: {one:?}, {two:?}", vector.id));
            }
        }
        failures
    });
}

#[test]
fn a_conversation_of_too_many_parts_ends_in_octets_that_are_not_parsed() {
    let version = heirloom::Version::named("rfc6455").unwrap();
    let mut explainer = Explainer::of_frames(version);
    let frames = b"\x89\x00".repeat(100_000);
    explainer.feed(Side::Server, &frames);
    let explanation = explainer.finish();
    let turns = vec![(Side::Server, Some(frames))];
    covers(&explanation, &turns).unwrap();
    assert!(explanation.parts.len() <= heirloom::explain::MAX_PARTS + 1);
    assert!(
        explanation
            .verdict
            .sentence
            .contains("only the first 65536 parts")
    );
}

#[test]
fn a_long_payload_is_kept_in_part_and_counted_whole() {
    let version = heirloom::Version::named("rfc6455").unwrap();
    let mut explainer = Explainer::of_frames(version);
    let mut frame = b"\x82\x7f\x00\x00\x00\x00\x00\x20\x00\x00".to_vec();
    frame.resize(10 + 0x20_0000, b'a');
    for portion in frame.chunks(999) {
        explainer.feed(Side::Server, portion);
    }
    let explanation = explainer.finish();
    covers(&explanation, &vec![(Side::Server, Some(frame))]).unwrap();
    assert_eq!(explanation.parts[0].raw.len(), KEPT_OCTETS);
    let text = terminal::plain(&explanation);
    assert!(
        text.contains("2097152 octets") && text.contains("… 2097088 octets more"),
        "{text}"
    );
    let page = html::page(&[(String::new(), explanation)]);
    assert!(
        page.contains("and 2097056 more") && page.len() < 60_000,
        "{}",
        page.len()
    );
}

// What people read of each vector, reviewed as differences.

/// The files whose full text is kept; of the others a line per part, the verdict
/// and a sum over the text are kept.
const IN_FULL: [&str; 6] = [
    "draft-examples",
    "rfc-examples",
    "recorded",
    "published-frames",
    "spaces-lost",
    "bad-keys",
];

fn sum(text: &str) -> u64 {
    let step = |sum: u64, octet: u8| (sum ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

fn blessing() -> bool {
    std::env::var_os("BLESS").is_some_and(|bless| bless == "1")
}

fn held_to(path: &Path, text: &str) -> Result<(), String> {
    if blessing() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    if kept == text {
        return Ok(());
    }
    let lines = kept.lines().zip(text.lines()).enumerate();
    let first = lines.into_iter().find(|(_, (a, b))| a != b);
    Err(format!("{}: line {first:?}", path.display()))
}

#[test]
fn every_vector_is_told_as_it_was() {
    let mut wrong = Vec::new();
    let mut octets = 0;
    for (path, file) in files() {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut told = String::new();
        for vector in &file.vectors {
            let explanation = explain(&turns(vector), vector.secure, Portions::Whole);
            let text = terminal::plain(&explanation);
            told.push_str(&format!("## {}\n", vector.id));
            if IN_FULL.contains(&stem.as_str()) {
                told.push_str(&text);
            } else {
                told.push_str(&terminal::brief(&explanation));
                told.push_str(&format!("  {:016x}\n", sum(&text)));
            }
            told.push('\n');
        }
        octets += told.len();
        let folder = path.parent().unwrap().file_name().unwrap();
        let golden = root()
            .join("tests/explained")
            .join(folder)
            .join(stem + ".txt");
        wrong.extend(held_to(&golden, &told).err());
    }
    assert!(octets < 3_000_000, "the goldens have {octets} octets");
    assert!(
        wrong.is_empty(),
        "`BLESS=1 cargo test --test explain` writes them: {wrong:#?}"
    );
}

#[test]
fn the_verdict_is_that_of_the_vector() {
    each(|vector| {
        // The limits of an end are its policy, which octets do not show.
        let config = vector.config.as_ref();
        let is_limited = config.is_some_and(|config| config.max_message_bytes.is_some());
        if vector.unfinished || is_limited {
            return Vec::new();
        }
        let explanation = explain(&turns(vector), vector.secure, Portions::Whole);
        let verdict = &explanation.verdict;
        let mut failures = Vec::new();
        let expected = SIDES.map(|side| vector.expect.of(side).cloned());
        let rejects =
            |c: &heirloom::vector::Conclusion| c.result == heirloom::vector::ExpectedResult::Reject;
        let codes: Vec<&str> = expected
            .iter()
            .flatten()
            .filter(|c| rejects(c))
            .filter_map(|c| c.code.as_deref())
            // The subprotocols of a server are its policy, which octets do not show.
            .filter(|code| *code != "subprotocol-unknown")
            .collect();
        match verdict.code {
            Some(code) if !codes.is_empty() && !codes.contains(&code) => {
                failures.push(format!("{}: {code}, not {codes:?}", vector.id));
            }
            None if !codes.is_empty() => {
                failures.push(format!(
                    "{}: {:?}, not {codes:?}",
                    vector.id, verdict.sentence
                ));
            }
            Some(code) if codes.is_empty() && expected.iter().flatten().count() == 2 => {
                let either = expected
                    .iter()
                    .flatten()
                    .any(|c| c.result == heirloom::vector::ExpectedResult::Either);
                if !either {
                    failures.push(format!("{}: {code}, but both sides accept", vector.id));
                }
            }
            _ => {}
        }
        failures
    });
}

// Nothing that a peer sends has an effect.

/// Requests and responses that try to have an effect on a terminal or a page.
fn hostile() -> Vec<(&'static str, Turns)> {
    let evil = "\u{1b}[2J\u{1b}]0;owned\u{7}<script>alert(1)</script><img src=x onerror=alert(1)>\
                \"'><b onmouseover='x'>&lt;\u{202e}gpj\u{2066}\u{200b}\u{2028}\u{9b}31m</style></title>";
    let visible = "<script>alert(1)</script>\"'><img/src=x>&amp;</title></style>";
    let ask = |target: &str, more: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
        )
    };
    let response = |reason: &str, more: &str| {
        format!(
            "HTTP/1.1 101 {reason}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{more}\r\n"
        )
    };
    let frame = |opcode: u8, payload: &[u8]| {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![0x80 | opcode, 126, length[0], length[1]];
        frame.extend_from_slice(payload);
        frame
    };
    let long = "<i>\u{202e}".repeat(2600);
    let header = |value: &str| format!("X-Evil: {value}\r\nCookie: {value}\r\n");
    let client = |text: String| vec![(Side::Client, Some(text.into_bytes()))];
    let both = |asked: String, answered: Vec<u8>| {
        vec![
            (Side::Client, Some(asked.into_bytes())),
            (Side::Server, Some(answered)),
        ]
    };
    let text = [response("OK", "").into_bytes(), frame(1, evil.as_bytes())].concat();
    let long_text = format!("{evil}{}", "a".repeat(200));
    let binary = [
        response("OK", "").into_bytes(),
        frame(2, long_text.as_bytes()),
    ]
    .concat();
    let mut close = vec![3, 232];
    close.extend_from_slice(&evil.as_bytes()[..100]);
    let mut closing = response("OK", "").into_bytes();
    closing.extend([0x88, 102]);
    closing.extend(close);
    vec![
        ("target", client(ask(&format!("/{visible}"), ""))),
        ("header", client(ask("/", &header(evil)))),
        ("visible header", client(ask("/", &header(visible)))),
        ("long header", client(ask("/", &header(&long)))),
        ("key", client(ask("/", "").replace("dGhlIHNhbXBsZSBub25jZQ==", visible))),
        ("version", client(ask("/", "").replace(": 13", visible))),
        ("protocol", client(ask("/", &format!("Sec-WebSocket-Protocol: {visible}\r\n")))),
        ("unreadable", client(format!("{evil}\r\n\r\n"))),
        ("reason", both(ask("/", ""), response(visible, &header(evil)).into_bytes())),
        ("refusal", both(ask("/", ""), format!("HTTP/1.1 403 {visible}\r\n\r\n{evil}").into_bytes())),
        ("accept", both(ask("/", ""), response("", "").replace("s3pP", visible).into_bytes())),
        ("answer", both(ask("/", ""), evil.as_bytes().to_vec())),
        ("text", both(ask("/", ""), text)),
        ("binary", both(ask("/", ""), binary)),
        ("close", both(ask("/", ""), closing)),
        (
            "hixie",
            both(
                format!(
                    "GET /demo HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nOrigin: \
                     {visible}\r\nSec-WebSocket-Protocol: {visible}\r\nSec-WebSocket-Key1: 1 <b>1\r\n\
                     Sec-WebSocket-Key2: 1 </b>1\r\n\r\n<script>"
                ),
                format!(
                    "HTTP/1.1 101 x\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Origin: \
                     {visible}\r\nSec-WebSocket-Location: ws://{visible}/\r\n\r\n0123456789abcdef"
                )
                .into_bytes(),
            ),
        ),
    ]
}

/// Whether a character does something to a terminal or to the direction of
/// writing.
fn is_alive(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[test]
fn what_a_peer_says_is_inert_on_a_terminal() {
    for (name, turns) in hostile() {
        let explanation = explain(&turns, false, Portions::Whole);
        covers(&explanation, &turns).unwrap();
        for text in [terminal::plain(&explanation), terminal::brief(&explanation)] {
            let alive: Vec<char> = text.chars().filter(|c| is_alive(*c)).collect();
            assert!(alive.is_empty(), "{name}: {alive:?}");
        }
        let widest = terminal::plain(&explanation);
        let widest = widest.lines().map(|l| l.chars().count()).max().unwrap();
        assert!(widest < 400, "{name}: {widest} columns");
    }
}

#[test]
fn what_a_peer_says_is_inert_in_json() {
    for (name, turns) in hostile() {
        let explanation = explain(&turns, false, Portions::Whole);
        let text = json::json(&explanation).unwrap();
        assert!(
            !text.contains('\n') && !text.chars().any(is_alive),
            "{name}"
        );
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        let strings = strings(&object);
        assert!(strings.iter().all(|s| !s.chars().any(is_alive)), "{name}");
    }
}

fn strings(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::String(text) => vec![text.clone()],
        serde_json::Value::Array(list) => list.iter().flat_map(strings).collect(),
        serde_json::Value::Object(map) => map.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn what_a_peer_says_is_inert_in_html() {
    const ELEMENTS: [&str; 40] = [
        "html", "head", "meta", "title", "style", "body", "main", "nav", "article", "header",
        "footer", "section", "h1", "h2", "h3", "p", "ol", "li", "a", "div", "span", "b", "i", "u",
        "em", "strong", "code", "cite", "dl", "dt", "dd", "abbr", "small", "sup", "sub", "table",
        "tr", "td", "th", "pre",
    ];
    const ATTRIBUTES: [&str; 10] = [
        "class",
        "id",
        "href",
        "lang",
        "charset",
        "name",
        "content",
        "http-equiv",
        "aria-label",
        "aria-hidden",
    ];
    let mut pages: Vec<(String, Explanation)> = Vec::new();
    for (name, turns) in hostile() {
        let explanation = explain(&turns, false, Portions::Whole);
        pages.push((format!("{name} <script>alert(1)</script>"), explanation));
    }
    let text = html::page(&pages);
    assert!(!text.chars().any(is_alive));
    let page = scraper::Html::parse_document(&text);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    let mut ids = std::collections::BTreeSet::new();
    let mut links = Vec::new();
    for element in page.root_element().descendent_elements() {
        let element = element.value();
        assert!(ELEMENTS.contains(&element.name()), "<{}>", element.name());
        for (name, value) in element.attrs() {
            assert!(ATTRIBUTES.contains(&name), "{name}={value}");
            match name {
                "href" => links.push(value.strip_prefix('#').unwrap().to_owned()),
                "id" => assert!(ids.insert(value.to_owned()), "{value} stands twice"),
                _ => {}
            }
        }
    }
    for link in links {
        assert!(ids.contains(&link), "#{link} leads nowhere");
    }
    let seen: String = page.root_element().text().collect();
    assert!(seen.contains("<script>alert(1)</script>\"'><img/src=x>&amp;</title></style>"));
    assert!(seen.contains(r"\u{1b}[2J") && seen.contains(r"\u{202e}"));
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
    assert!(text.contains(policy));
    let style = text
        .split("<style>")
        .nth(1)
        .unwrap()
        .split("</style>")
        .next()
        .unwrap();
    assert!(!style.contains("url(") && !style.contains("@import") && !style.contains('<'));
}

#[test]
fn a_page_says_each_octet_of_the_handshake() {
    let (_, file) = files()
        .into_iter()
        .find(|(p, _)| p.ends_with("rfc6455/rfc-examples.json"))
        .unwrap();
    let vector = &file.vectors[0];
    let turns = turns(vector);
    let page = html::page(&[(vector.id.clone(), explain(&turns, false, Portions::Whole))]);
    let page = scraper::Html::parse_document(&page);
    let selector = scraper::Selector::parse(".o > i:first-child").unwrap();
    let octets: String = page.select(&selector).flat_map(|e| e.text()).collect();
    let mut expected = String::new();
    for side in SIDES {
        for (from, octets) in &turns {
            if *from == side {
                for octet in octets.iter().flatten() {
                    expected.push_str(&format!("{octet:02x}"));
                }
            }
        }
    }
    assert_eq!(octets, expected);
}
