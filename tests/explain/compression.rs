//! Compressed messages beside what they inflate to, and how they were agreed on.

use std::path::Path;

use heirloom::Config;
use heirloom::Side;
use heirloom::explain::{
    Explainer, Explanation, MAX_INFLATED_OCTETS, Outcome, html, json, terminal,
};
use heirloom::extension::{Codecs, Level};

use super::octets::{Portions, Turns, covers, explain, held_to};

/// The request of a client that offers these extensions.
pub(crate) fn request(offers: &str) -> Vec<u8> {
    let lines = "GET /chat HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nOrigin: http://example.com\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    format!("{lines}{}\r\n", extensions(offers)).into_bytes()
}

/// The response of a server that agrees to these.
fn response(agreed: &str) -> Vec<u8> {
    let lines = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    format!("{lines}{}\r\n", extensions(agreed)).into_bytes()
}

fn extensions(value: &str) -> String {
    let lines = value.split('\n').filter(|line| !line.is_empty());
    lines
        .map(|line| format!("Sec-WebSocket-Extensions: {line}\r\n"))
        .collect()
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|o| !o.is_ascii_whitespace()).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(octet).collect()
}

/// A conversation: what was offered and agreed, and frames in hex.
pub(crate) fn conversation(offers: &str, agreed: &str, frames: &[(Side, &str)]) -> Turns {
    let mut turns = vec![
        (Side::Client, Some(request(offers))),
        (Side::Server, Some(response(agreed))),
    ];
    turns.extend(frames.iter().map(|(side, hex)| (*side, Some(octets(hex)))));
    turns
}

/// Explains it in several portions: each must name all octets, in the same words.
pub(crate) fn explained(turns: &Turns) -> Explanation {
    let whole = explain(turns, false, Portions::Whole);
    let text = terminal::plain(&whole);
    let ways = [1, 2, 3, 7, 100].map(Portions::At);
    for way in ways.into_iter().chain([Portions::OctetByOctet]) {
        let other = explain(turns, false, way);
        covers(&other, turns).unwrap();
        assert_eq!(terminal::plain(&other), text, "{way:?}");
    }
    covers(&whole, turns).unwrap();
    whole
}

#[track_caller]
fn is_told_as_it_was(name: &str, turns: &Turns) -> Explanation {
    let explanation = explained(turns);
    let text = terminal::plain(&explanation);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explained/compression");
    let told = held_to(&folder.join(format!("{name}.txt")), &text);
    assert!(told.is_ok(), "{told:?}");
    explanation
}

use Side::{Client, Server};

/// Some JSON in a block with codes of its own.
const DYNAMIC: &str = "c26354d0211280300c44d1bb4457344dd334bd0d332010a0700c77874104d6ee53fb4f5a671a39d13e6d0b0d \
    5a8f65cb74a5f3dd1976670f29205d7a8880985a480569d64214445d431a0ad71003a922211d44b484384831 \
    fe9e6202f65f04acc0f9a97003";

/// As Chromium offers it, with the messages of RFC 7692 section 7.2.3.
#[test]
fn a_chromium_conversation_is_inflated() {
    let turns = conversation(
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate",
        &[
            // Hello: fixed Huffman, then the same with what came before.
            (Client, "c1 87 37fa213d c5b2ecf4fefd21"),
            (Server, "c1 07 f2 48 cd c9 c9 07 00"),
            (Server, "c1 05 f2 00 11 00 00"),
            // A piece, a ping, and the rest.
            (Server, "41 03 f2 48 cd"),
            (Server, "89 00"),
            (Server, "80 04 c9 c9 07 00"),
            // Stored, with BFINAL, of nothing, and uncompressed.
            (Server, "c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00"),
            (Server, "c1 08 f3 48 cd c9 c9 07 00 00"),
            (Server, "c1 01 00"),
            (Server, "81 05 48 65 6c 6c 6f"),
            // Dynamic Huffman, binary.
            (Server, DYNAMIC),
            (Client, "88 82 37fa213d 3412"),
            (Server, "88 02 03 e8"),
        ],
    );
    let explanation = is_told_as_it_was("permessage-deflate", &turns);
    assert_eq!(explanation.verdict.outcome, Outcome::Good);
    let plain: Vec<&[u8]> = explanation
        .parts
        .iter()
        .filter_map(|part| Some(part.inflated.as_ref()?.plain.kept.as_slice()))
        .collect();
    let hello: &[u8] = b"Hello";
    assert_eq!(plain[..7], [hello, hello, hello, hello, hello, hello, b""]);
    assert!(plain[7].starts_with(b"{\"id\":0,"));
}

/// Frames of Chrome 20, which keeps its context from frame to frame.
#[test]
fn the_frames_of_chrome_20_are_inflated() {
    let turns = conversation(
        "x-webkit-deflate-frame",
        "x-webkit-deflate-frame",
        &[
            (Client, "c1 87 832b5c11 716391d84a2c5c"),
            (Client, "c1 87 7b1971db 8951bc12b21e71"),
            (Client, "c1 87 59edc8f4 532480d913e8c8"),
            (Client, "c1 87 82467424 a88fb869374474"),
            (Client, "c1 85 3cfda17f 16fcb07f3c"),
            // Fragments of it are compressed one by one, or not.
            (Server, "41 07 f2 48 cd c9 c9 07 00"),
            (Server, "00 01 2c"),
            (Server, "c0 05 f2 00 11 00 00"),
        ],
    );
    let explanation = is_told_as_it_was("deflate-frame", &turns);
    assert_eq!(explanation.verdict.outcome, Outcome::Good);
}

/// The verdict on a conversation with these frames of the server.
fn broken(agreed: &str, frames: &[(Side, &str)]) -> Explanation {
    let turns = conversation("permessage-deflate; client_max_window_bits", agreed, frames);
    explained(&turns)
}

#[track_caller]
pub(crate) fn holds(explanation: &Explanation, code: &str, words: &str) {
    let verdict = &explanation.verdict;
    assert_eq!(verdict.code.unwrap_or(""), code, "{verdict:?}");
    let cause = verdict.cause.as_deref().unwrap_or("none");
    assert!(cause.contains(words), "{words:?} in {verdict:?}");
    assert!(
        verdict.cure.is_some() && verdict.section.is_some() || code == "message-too-big",
        "{verdict:?}"
    );
}

#[test]
fn a_stream_that_does_not_inflate_is_shown_up_to_the_fault() {
    let turns = conversation(
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover",
        &[
            (Server, "c1 07 f2 48 cd c9 c9 07 00"),
            (Server, "c1 07 f2 48 07 aa bb cc dd"),
            (Server, "81 01 61"),
        ],
    );
    let explanation = is_told_as_it_was("bad-stream", &turns);
    holds(&explanation, "compressed-data-invalid", "is not DEFLATE");
}

#[test]
fn the_cause_of_a_bad_stream_is_found() {
    let code = "compressed-data-invalid";
    let alone = "permessage-deflate; server_no_context_takeover";
    for (frames, words) in [
        (
            &["c1 0d 78 9c f2 48 cd c9 c9 07 00 05 8c 01 f5"][..],
            "the header of zlib",
        ),
        (&["c1 0a 1f 8b 08 00 00 00 00 00 00 03"], "it is gzip"),
        (
            &["c1 0c 48 65 6c 6c 6f 2c 20 48 65 6c 6c 6f"],
            "text as it stands",
        ),
        (&["c1 03 07 aa bb"], "has the type 11"),
        (
            &["c1 07 f2 48 cd c9 c9 07 00", "c1 05 f2 00 11 00 00"],
            "context takeover), although it must not",
        ),
    ] {
        let frames: Vec<(Side, &str)> = frames.iter().map(|hex| (Server, *hex)).collect();
        holds(&broken(alone, &frames), code, words);
    }
}

#[test]
fn a_message_that_ends_where_it_must_not_is_explained() {
    let code = "compressed-data-invalid";
    let left_in = "which a sender leaves out and a receiver puts back: the server leaves it in";
    let in_block = "it was not flushed to an octet, or more is missing at its end";
    let ended = "the stream was ended where a flush is due";
    for (agreed, frames, words) in [
        ("", &["c1 0b f2 48 cd c9 c9 07 00 00 00 ff ff"][..], left_in),
        // In pieces, behind a message that it refers to, and of nothing.
        (
            "",
            &["41 08 f2 48 cd c9 c9 07 00 00", "80 03 00 ff ff"],
            left_in,
        ),
        (
            "",
            &[
                "c1 07 f2 48 cd c9 c9 07 00",
                "c1 09 f2 00 11 00 00 00 00 ff ff",
            ],
            left_in,
        ),
        (
            "; server_no_context_takeover",
            &["c1 07 f2 48 cd c9 c9 07 00", "c1 05 00 00 00 ff ff"],
            left_in,
        ),
        ("", &["c1 03 f2 48 cd"], in_block),
        ("", &["c1 06 00 05 00 fa ff 48"], in_block),
        // Hello in a stream that ends, and four octets less.
        ("", &["c1 03 f3 48 cd"], ended),
    ] {
        let frames: Vec<(Side, &str)> = frames.iter().map(|hex| (Server, *hex)).collect();
        let agreed = format!("permessage-deflate{agreed}");
        holds(&broken(&agreed, &frames), code, words);
    }
}

#[test]
fn one_octet_is_told_in_the_singular() {
    for (frame, words) in [
        (
            "c1 01 f2",
            "1 octet is not the whole message, or does not inflate; 0 came out.",
        ),
        ("c1 01 00", "1 octet inflates to 0."),
        (
            "c1 02 f2 48",
            "2 octets are not the whole message, or not all of them inflate; 1 came out.",
        ),
    ] {
        let explanation = broken("permessage-deflate", &[(Server, frame)]);
        let object = json::json(&explanation).unwrap();
        let object: serde_json::Value = serde_json::from_str(&object).unwrap();
        let told = &object["parts"][2]["inflated"]["words"][0];
        assert_eq!(told, words);
    }
}

/// A server's message of 600 octets, stored, in hex.
fn stored() -> String {
    format!("c1 7e 02 5e 00 58 02 a7 fd {} 00", "61 ".repeat(600))
}

/// What `explain` says of these frames behind 600 octets, where the server agreed to
/// a window of 9 bits.
fn behind_600(frames: &[(Side, &str)]) -> (Explanation, serde_json::Value) {
    let stored = stored();
    let frames = [&[(Server, stored.as_str())][..], frames].concat();
    let turns = conversation(
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8",
        &frames,
    );
    let explanation = explained(&turns);
    let object = json::json(&explanation).unwrap();
    (explanation, serde_json::from_str(&object).unwrap())
}

#[test]
fn a_reference_beyond_the_window_that_was_agreed_on_is_a_fault_of_its_sender() {
    // Three octets, 600 back: its last octet but two ends the reference.
    let (explanation, object) = behind_600(&[(Server, "c1 05 02 a6 2b 00 00"), (Server, "88 00")]);
    holds(
        &explanation,
        "window-exceeded",
        "refers 600 back, to a message before",
    );
    let verdict = &explanation.verdict;
    assert_eq!(verdict.outcome, Outcome::Broken);
    let section = verdict.section.as_deref();
    assert_eq!(section, Some("RFC 7692 section 7.1.2.1"));
    let place = verdict.place.unwrap();
    let part = &explanation.parts[place.part.unwrap()];
    assert_eq!((place.from, place.at), (Server, part.at + 2 + 2));
    let inflated = &object["parts"][3]["inflated"];
    let beyond = serde_json::json!(
        {"distance": 600, "window": 512, "offset": place.at, "earlier": true}
    );
    assert_eq!(inflated["beyond"], beyond);
    assert_eq!(inflated["text"], "aaa");
    let words = inflated["words"].to_string();
    assert!(
        words.contains("It refers 600 octets back, to a message before this one"),
        "{words}"
    );
    assert!(object["parts"][2]["inflated"].get("beyond").is_none());
    // What follows is read on: a receiver with a larger window does not notice.
    assert_eq!(explanation.parts[4].title(), "close frame, 0 octets");
}

#[test]
fn a_reference_beyond_the_window_is_found_in_pieces_and_of_a_client() {
    let (explanation, _) = behind_600(&[(Server, "41 01 02"), (Server, "80 04 a6 2b 00 00")]);
    let place = explanation.verdict.place.unwrap();
    let part = &explanation.parts[4];
    assert_eq!((place.part, place.at), (Some(4), part.at + 2 + 1));
    // 257 octets of which the last are three of 257 back: the client has 256.
    let stored = format!(
        "c2 fe 01 07 00000000 00 01 01 fe fe {} 00",
        "61 ".repeat(257)
    );
    let near = "c2 84 00000000 02 06 00 00";
    let (explanation, object) = behind_600(&[(Client, &stored), (Client, near)]);
    holds(
        &explanation,
        "window-exceeded",
        "The client agrees to refer back at most 256",
    );
    let section = explanation.verdict.section.as_deref();
    assert_eq!(section, Some("RFC 7692 section 7.1.2.2"));
    assert_eq!(object["parts"][4]["inflated"]["beyond"]["distance"], 257);
}

#[test]
fn the_rule_that_is_broken_first_counts() {
    let beyond = (Server, "c1 05 02 a6 2b 00 00");
    let (explanation, _) = behind_600(&[beyond, (Server, "c9 00")]);
    assert_eq!(explanation.verdict.code, Some("window-exceeded"));
    let (explanation, _) = behind_600(&[(Client, "81 00"), beyond]);
    assert_eq!(explanation.verdict.code, Some("mask-missing"));
    assert_eq!(explanation.parts.last().unwrap().from, Server);
}

#[test]
fn a_reference_within_the_window_breaks_nothing() {
    // 512 octets back.
    let (explanation, _) = behind_600(&[(Server, "c1 04 02 c6 3f 00")]);
    assert_eq!(
        explanation.verdict.outcome,
        Outcome::Good,
        "{:?}",
        explanation.verdict
    );
    let turns = conversation(
        "permessage-deflate",
        "permessage-deflate",
        &[(Server, &stored()), (Server, "c1 05 02 a6 2b 00 00")],
    );
    let explanation = explained(&turns);
    assert_eq!(explanation.verdict.outcome, Outcome::Good);
}

#[test]
fn rsv1_on_a_control_frame_is_explained() {
    let turns = conversation(
        "permessage-deflate",
        "permessage-deflate",
        &[
            (Server, "41 03 f2 48 cd"),
            (Server, "c9 02 aa 00"),
            (Server, "80 04 c9 c9 07 00"),
        ],
    );
    let explanation = is_told_as_it_was("control-frame", &turns);
    holds(
        &explanation,
        "compressed-bit-misplaced",
        "on a control frame",
    );
    let continued = broken(
        "permessage-deflate",
        &[(Server, "41 03 f2 48 cd"), (Server, "c0 04 c9 c9 07 00")],
    );
    holds(
        &continued,
        "compressed-bit-misplaced",
        "deflate-frame's way",
    );
}

#[test]
fn offers_that_are_declined_are_explained() {
    let turns = conversation(
        "deflate-stream, permessage-deflate; server_max_window_bits, x-deflate-frame; minLength=64, \
         permessage-deflate; client_max_window_bits=16, foo; bar=\"1\",\n\
         permessage-deflate; server_max_window_bits=8, x-webkit-deflate-frame, =",
        "",
        &[(Client, "81 82 37fa213d 5f93"), (Server, "81 02 68 69")],
    );
    let explanation = is_told_as_it_was("declined", &turns);
    assert_eq!(explanation.verdict.outcome, Outcome::Good);
}

#[test]
fn an_answer_is_explained_by_its_parameters() {
    let turns = conversation(
        "permessage-deflate; server_max_window_bits=10; client_max_window_bits, \
         permessage-deflate, x-webkit-deflate-frame",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; \
         client_max_window_bits=9",
        &[],
    );
    is_told_as_it_was("parameters", &turns);
    let turns = conversation(
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits=9",
        &[(Server, "c1 07 f2 48 cd c9 c9 07 00")],
    );
    let explanation = is_told_as_it_was("answer-invalid", &turns);
    let told = "limits the client's window, which only an offer with client_max_window_bits allows";
    holds(&explanation, "extension-invalid", told);
    let inflated = explanation
        .parts
        .iter()
        .find_map(|part| part.inflated.as_ref());
    assert_eq!(inflated.unwrap().plain.kept, b"Hello");
}

#[test]
fn of_several_extensions_the_one_that_was_not_offered_is_named() {
    let turns = conversation(
        "permessage-deflate",
        "permessage-deflate\nmux; a=1, deflate-stream",
        &[],
    );
    let told = "The server agrees to mux; a=1, deflate-stream, which the request does not offer.";
    holds(&explained(&turns), "extension-unexpected", told);
}

#[test]
fn text_is_checked_where_it_is_inflated() {
    // A stored block: e4 and 21.
    let explanation = broken(
        "permessage-deflate",
        &[(Server, "c1 0a 00 04 00 fb ff 61 e4 21 62 00")],
    );
    holds(&explanation, "utf8-invalid", "Latin-1");
    let place = explanation.verdict.place.unwrap();
    let part = &explanation.parts[place.part.unwrap()];
    assert_eq!(place.at, part.at + 2 + 7);
}

/// A binary frame with so many zeros, compressed.
fn zeros(octets: usize) -> Vec<u8> {
    let mut deflated = Vec::new();
    let mut deflater = Codecs::default().deflater(Level::Best, 15);
    deflater.message(&vec![0; octets], &mut deflated);
    let length = u16::try_from(deflated.len()).unwrap().to_be_bytes();
    [&[0xc2, 126][..], &length, &deflated].concat()
}

const LIMIT: usize = 16 * 1024 * 1024;

#[test]
fn a_message_that_inflates_too_far_is_named() {
    let mut turns = conversation("permessage-deflate", "permessage-deflate", &[]);
    turns.push((Server, Some(zeros(LIMIT))));
    let whole = explain(&turns, false, Portions::Whole);
    covers(&whole, &turns).unwrap();
    assert_eq!(whole.verdict.outcome, Outcome::Good);
    let inflated = whole.parts[2].inflated.as_ref().unwrap();
    assert_eq!(inflated.plain.octets, LIMIT as u64);
    assert_eq!(inflated.plain.kept.len(), 64 * 1024);
    turns[2].1 = Some(zeros(LIMIT + 1));
    let bomb = explain(&turns, false, Portions::Whole);
    covers(&bomb, &turns).unwrap();
    holds(&bomb, "message-too-big", "became 16777217");
    // The limit is ours, and another receiver's may be larger.
    assert_eq!(bomb.verdict.outcome, Outcome::Incomplete);
    let slow = explain(&turns, false, Portions::OctetByOctet);
    assert_eq!(terminal::plain(&slow), terminal::plain(&bomb));
}

#[test]
fn a_message_that_is_longer_than_what_is_explained_breaks_no_rule() {
    // A text of 16 MiB and one octet, of which the header is enough.
    let frames = [(Server, "81 7f 00 00 00 00 01 00 00 01")];
    let long = explained(&conversation("", "", &frames));
    holds(
        &long,
        "message-too-big",
        "A message is explained up to 16777216 octets",
    );
    assert_eq!(long.verdict.outcome, Outcome::Incomplete);
    // The limit of the server that was recorded is its own.
    let mut server = Explainer::of_server(&Config::default());
    let mut frames = octets("81 ff 00 00 00 00 01 00 00 01 00 00 00 00");
    frames.push(b'a');
    server.feed(Client, &request(""));
    server.feed(Server, &response(""));
    server.feed(Client, &frames);
    let told = server.finish().verdict;
    assert_eq!(
        (told.outcome, told.code),
        (Outcome::Broken, Some("message-too-big"))
    );
}

#[test]
fn a_conversation_that_inflates_without_end_is_cut() {
    let mut turns = conversation(
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover",
        &[],
    );
    let frame = zeros(LIMIT);
    turns.extend((0..40).map(|_| (Server, Some(frame.clone()))));
    let explanation = explain(&turns, false, Portions::Whole);
    covers(&explanation, &turns).unwrap();
    let inflated: u64 = explanation
        .parts
        .iter()
        .filter_map(|part| Some(part.inflated.as_ref()?.plain.octets))
        .sum();
    assert!(inflated <= MAX_INFLATED_OCTETS + LIMIT as u64, "{inflated}");
    let kept: usize = explanation
        .parts
        .iter()
        .filter_map(|part| Some(part.inflated.as_ref()?.plain.kept.len()))
        .sum();
    assert!(kept <= LIMIT, "{kept}");
    let sentence = &explanation.verdict.sentence;
    assert!(sentence.contains("268435456 octets"), "{sentence}");
}

#[test]
fn what_inflates_is_in_json_and_on_the_page() {
    let turns = conversation(
        "permessage-deflate",
        "permessage-deflate",
        &[
            (Server, "c1 07 f2 48 cd c9 c9 07 00"),
            (Server, "41 03 f2 00 11"),
            (Server, "80 02 00 00"),
        ],
    );
    let explanation = explained(&turns);
    let object: serde_json::Value =
        serde_json::from_str(&json::json(&explanation).unwrap()).unwrap();
    let parts = object["parts"].as_array().unwrap();
    let inflated = &parts[2]["inflated"];
    assert_eq!(inflated["of"], "message");
    assert_eq!(inflated["compressed"], "f2 48 cd c9 c9 07 00");
    assert_eq!(inflated["first_block"]["bfinal"], 0);
    assert_eq!(inflated["first_block"]["btype"], 1);
    assert_eq!(inflated["first_block"]["words"], "fixed Huffman");
    assert_eq!(inflated["tail"], "00 00 ff ff");
    assert_eq!(inflated["text"], "Hello");
    assert_eq!(inflated["context"], "fresh");
    assert!(parts[3].get("inflated").is_none());
    let inflated = &parts[4]["inflated"];
    assert_eq!(inflated["frames"], 2);
    assert_eq!(inflated["compressed"], "f2 00 11 00 00");
    assert_eq!(inflated["text"], "Hello");
    assert_eq!(inflated["context"], "earlier");
    let page = html::page(&[(String::new(), explanation)]);
    let page = scraper::Html::parse_document(&page);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    let selector = scraper::Selector::parse("table.beside td").unwrap();
    let cells: Vec<String> = page.select(&selector).map(|e| e.text().collect()).collect();
    let hello = ["f2 48 cd c9 c9 07 00", "48 65 6c 6c 6f", "Hello"];
    assert_eq!(cells[..3], hello);
    assert_eq!(cells[3], "[00 00 ff ff]");
}

#[test]
fn what_a_peer_compresses_is_inert() {
    let evil = "\u{1b}[2J<script>alert(1)</script>\u{202e}gpj\u{9b}31m</td></table>";
    let mut deflated = Vec::new();
    let mut deflater = Codecs::default().deflater(Level::Best, 15);
    deflater.message(evil.as_bytes(), &mut deflated);
    let mut turns = conversation(
        "permessage-deflate; <script>alert(1)</script>, \u{202e}",
        "permessage-deflate",
        &[],
    );
    let length = u8::try_from(deflated.len()).unwrap();
    turns.push((Server, Some([&[0xc1, length][..], &deflated].concat())));
    let explanation = explained(&turns);
    let is_alive = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    let text = terminal::plain(&explanation);
    assert!(!text.chars().any(is_alive) && text.contains("<script>alert(1)"));
    assert!(!json::json(&explanation).unwrap().chars().any(is_alive));
    let page = html::page(&[(String::new(), explanation)]);
    assert!(!page.chars().any(is_alive) && !page.contains("<script>"));
}

#[test]
fn one_side_is_enough() {
    let whole = conversation(
        "permessage-deflate",
        "permessage-deflate",
        &[
            (Client, "c1 87 37fa213d c5b2ecf4fefd21"),
            (Server, "c1 07 f2 48 cd c9 c9 07 00"),
        ],
    );
    for side in [Client, Server] {
        let mut turns = whole.clone();
        turns.retain(|(from, _)| *from == side);
        let explanation = explained(&turns);
        assert_eq!(explanation.verdict.code, None, "{side:?}");
        let inflated = explanation.parts[1].inflated.as_ref().unwrap();
        assert_eq!(inflated.plain.kept, b"Hello", "{side:?}");
    }
}

#[cfg(feature = "cli")]
#[test]
fn frames_without_a_handshake_are_inflated_by_what_is_named() {
    let frames = octets("c1 07 f2 48 cd c9 c9 07 00");
    let told = |arguments: &[&str]| {
        let output = super::input::explain(&[&["-"], arguments].concat(), &frames);
        (super::input::words(&output), output.status.code())
    };
    let version = ["--version", "rfc6455"];
    let ((text, _), code) = told(&version);
    assert!(text.contains("Cure: Give the handshake too"), "{text}");
    assert_eq!(code, Some(1));
    for extension in ["permessage-deflate", "deflate-frame; no_context_takeover"] {
        let ((text, _), code) = told(&[&version[..], &["--extensions", extension]].concat());
        assert!(text.contains("[00 00 ff ff]"), "{text}");
        assert_eq!(code, Some(0), "{text}");
    }
    for (version, extension, words) in [
        (
            "rfc6455",
            "mux",
            "--extensions: mux is not explained (several",
        ),
        (
            "rfc6455",
            "x-foo",
            "--extensions: no extension x-foo is known; permessage-deflate",
        ),
        (
            "rfc6455",
            "",
            "--extensions names no extension; permessage-deflate",
        ),
        (
            "rfc6455",
            "permessage-deflate; server_max_window_bits=7",
            "--extensions has a window that is not 8, 9, 10, 11, 12, 13, 14 or 15",
        ),
        (
            "rfc6455",
            ";;;",
            "--extensions is not a list of extensions with parameters",
        ),
        (
            "hybi-08",
            "deflate-stream",
            "--extensions: deflate-stream is not explained (all octets",
        ),
        (
            "hixie-76",
            "permessage-deflate",
            "no compression of hixie-76 is explained; only that of hybi-07, hybi-08, rfc6455",
        ),
    ] {
        let ((_, said), code) = told(&["--version", version, "--extensions", extension]);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(words), "{said}");
        assert_eq!(code, Some(2));
    }
}

#[test]
fn an_extension_that_is_not_spoken_breaks_nothing() {
    let turns = conversation(
        "x-deflate-frame",
        "x-deflate-frame",
        &[(Server, "c1 01 00")],
    );
    let explanation = explained(&turns);
    assert_eq!(explanation.verdict.outcome, Outcome::Incomplete);
    holds(
        &explanation,
        "reserved-bits",
        "Both sides agreed on x-deflate-frame (Jetty 7 and 8 alone",
    );
}
