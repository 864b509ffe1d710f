//! `Sec-WebSocket-Extensions`: any list is read, any offer answered or declined, any
//! answer taken or refused; and what is answered is taken, and means the same to
//! both ends.
//!
//! The octets: mode, version, four portions, how many lines are offers, and the lines
//! of offers and of answers.

use std::sync::Arc;

use heirloom::conn::Conn;
use heirloom::error::Violation;
use heirloom::extension::{
    Agreed, Compression, Deflate, Element, Mode, answer, check_answer, elements, fault_of_offer,
};
use heirloom::version::Version;
use heirloom::{Config, Limits, Versions};

use super::choices::Choices;
use crate::deflating;
use crate::feeding::{Feeding, Outcome};

/// More are not read.
const MOST_LINES: usize = 16;

/// Gives what our client makes of what our server answers, and of the other answer;
/// nothing where the request is refused.
pub(crate) fn run(octets: &[u8]) -> Vec<Outcome> {
    let mut choices = Choices(octets);
    let mode = choices.of(&[Mode::PerConnection, Mode::Shared, Mode::Off]);
    let version = choices.of(&["rfc6455", "hybi-08", "hybi-07", "hybi-06", "hixie-76"]);
    let version = Version::named(version).unwrap();
    let portions = choices.sizes();
    let offers = usize::from(choices.octet());
    let lines = choices.rest().split(|octet| *octet == b'\n');
    let lines: Vec<&[u8]> = lines.take(MOST_LINES).collect();
    for line in &lines {
        reads(line);
    }
    let (offers, answers) = lines.split_at(offers % (lines.len() + 1));
    let compression = Compression::default().with_mode(mode);
    agrees(offers, version, &compression);
    takes(version, offers, answers);
    opens(offers, answers, mode, &portions)
}

/// Elements lie in order in the line, and say what they are in a way that is read
/// again.
fn reads(line: &[u8]) {
    let mut end = 0;
    for element in elements(line) {
        let at = match &element {
            Ok(element) => element.at(),
            Err(malformed) => malformed.at.clone(),
        };
        assert!(end <= at.start && at.start < at.end && at.end <= line.len());
        end = at.end;
        if let Ok(element) = element {
            let written = written(element);
            let again = elements(written.as_bytes()).map(|element| element.unwrap());
            let again: Vec<String> = again.map(self::written).collect();
            assert_eq!(again, [written]);
        }
    }
}

/// An element without what may be left out.
fn written(element: Element<'_>) -> String {
    let mut text = element.name.to_owned();
    for parameter in element.parameters() {
        text += "; ";
        text += parameter.name;
        if let Some(value) = parameter.value {
            text.push('=');
            text.extend(value.chars());
        }
    }
    text
}

/// An offer that has a fault is not accepted, and a client takes what is answered.
fn agrees(offers: &[&[u8]], version: &Version, compression: &Compression) {
    let Some(answer) = answer(offers.iter().copied(), version, compression, None) else {
        return;
    };
    let elements = offers.iter().flat_map(|line| elements(line));
    let mut right = elements.filter_map(|element| element.ok());
    let is_right = |element: Element<'_>| {
        element.name == answer.deflate.name.as_str() && fault_of_offer(element).is_none()
    };
    assert!(right.any(is_right));
    let (ours, sent) = (answer.deflate, answer.to_string());
    assert_eq!(Deflate::from(Agreed::from(ours)), ours);
    let read = check_answer(version, offers.iter().copied(), [sent.as_bytes()]);
    let read = read.unwrap().unwrap();
    assert_eq!(read.client, ours.client);
    // That a server starts anew for each frame need not be said.
    assert!(ours.server.no_context_takeover || !read.server.no_context_takeover);
    assert_eq!(read.server.max_window_bits, ours.server.max_window_bits);
    assert!(read.is_per_frame() || read == ours);
}

/// An answer is taken, or it is said what is wrong and where.
fn takes(version: &Version, offers: &[&[u8]], answers: &[&[u8]]) {
    let read = check_answer(version, offers.iter().copied(), answers.iter().copied());
    match read {
        Ok(None) => {}
        Ok(Some(deflate)) => {
            assert!(version.has_compression());
            assert_eq!(Deflate::from(Agreed::from(deflate)), deflate);
        }
        Err(bad) => {
            assert!(!bad.at.is_empty() && answers[bad.line].get(bad.at).is_some());
            assert!(matches!(
                bad.violation,
                Violation::ExtensionInvalid { .. } | Violation::ExtensionUnexpected
            ));
        }
    }
}

/// The same in a handshake, in any portions.
fn opens(offers: &[&[u8]], answers: &[&[u8]], mode: Mode, portions: &[usize]) -> Vec<Outcome> {
    let compression = Compression::default().with_mode(mode);
    let config = Config::default()
        .with_versions(Versions::ALL)
        .with_compression(compression)
        .with_limits(Limits::default().with_message_bytes(130));
    let config = Arc::new(config);
    let request = with_lines(&deflating::request("a"), offers);
    let server = || Conn::server(Arc::clone(&config));
    let response = feed(&server, &request, portions).sent;
    let response = String::from_utf8(response).unwrap();
    if !response.starts_with("HTTP/1.1 101 ") {
        return Vec::new();
    }
    let client = || Conn::client_of(&request, false, Arc::clone(&config)).unwrap();
    let responses = [response.as_bytes(), &with_lines(&response, answers)];
    responses
        .map(|response| feed(&client, response, portions))
        .into()
}

/// Feeds an end in portions and at once.
fn feed(conn: &impl Fn() -> Conn, octets: &[u8], portions: &[usize]) -> Outcome {
    let want = Feeding::WHOLE.feed(conn(), 7, octets);
    for (watched, by_session) in [(false, true), (true, false)] {
        let feeding = Feeding {
            portions,
            rooms: &[1],
            watched,
            by_session,
        };
        assert_eq!(feeding.feed(conn(), 7, octets), want);
    }
    want
}

/// A head with these lines of extensions instead of its own.
fn with_lines(head: &str, lines: &[&[u8]]) -> Vec<u8> {
    const NAME: &str = "Sec-WebSocket-Extensions: ";
    let mut octets = Vec::new();
    for line in head.trim_end().split("\r\n") {
        if !line.starts_with(NAME) {
            octets.extend_from_slice(line.as_bytes());
            octets.extend_from_slice(b"\r\n");
        }
    }
    for line in lines {
        octets.extend_from_slice(NAME.as_bytes());
        octets.extend_from_slice(line);
        octets.extend_from_slice(b"\r\n");
    }
    octets.extend_from_slice(b"\r\n");
    octets
}
