//! What was recorded of one connection, as a file of one vector.

use std::time::SystemTime;

use heirloom::Side;
use heirloom::bytes::Escaped;
use heirloom::vector::{self, Expect, Source, Step, Vector};
use jiff::Timestamp;

use super::head_search::HeadSearch;

/// The request of a longer head is not compared.
const MAX_HEAD_OCTETS: usize = 1024 * 1024;

/// A file of one vector: what was recorded, by which program and when, and what
/// the core concludes from it.
pub(super) fn recording_file(
    name: &str,
    by: &str,
    date: &str,
    steps: Vec<Step>,
    unfinished: bool,
) -> Result<vector::File, String> {
    let source = Source {
        kind: "capture".to_owned(),
        reference: by.to_owned(),
        client: header(&steps, Side::Client, "User-Agent"),
        server: header(&steps, Side::Server, "Server"),
        date: Some(date.to_owned()).filter(|date| !date.is_empty()),
        timing: Some("recorded".to_owned()),
        licence: None,
    };
    let mut vector = Vector {
        id: name.to_ascii_lowercase(),
        title: None,
        version: "none".to_owned(),
        source,
        secure: false,
        flags: Vec::new(),
        unfinished,
        config: None,
        steps,
        expect: Expect::default(),
    };
    vector.conclude()?;
    let mut file = vector::File::of(vec![vector]);
    // The schema is not beside this file.
    file.schema = None;
    Ok(file)
}

/// The head of the request without the values of its keys, which differ from one
/// connection to the next.
pub(super) fn request_without_keys(steps: &[Step]) -> Option<Vec<u8>> {
    let head = head(steps, Side::Client)?;
    let mut kept = Vec::with_capacity(head.len());
    for line in head.split(|octet| *octet == b'\n') {
        const KEY: &[u8] = b"sec-websocket-key";
        let name = line.get(..KEY.len()).unwrap_or_default();
        if name.eq_ignore_ascii_case(KEY) {
            let colon = line.iter().position(|octet| *octet == b':');
            kept.extend_from_slice(line.get(..colon.unwrap_or(line.len())).unwrap_or_default());
        } else {
            kept.extend_from_slice(line);
        }
        kept.push(b'\n');
    }
    Some(kept)
}

/// The first head that one side sent, without its empty line.
fn head(steps: &[Step], from: Side) -> Option<Vec<u8>> {
    let mut head = HeadSearch::default();
    for step in steps.iter().filter(|step| step.from == from) {
        if let Some(end) = head.add(&step.octets().ok()?) {
            head.octets.truncate(end);
            return Some(head.octets);
        }
        if head.octets.len() > MAX_HEAD_OCTETS {
            return None;
        }
    }
    None
}

/// The value of a header, escaped for a file that people read.
fn header(steps: &[Step], from: Side, name: &str) -> Option<String> {
    let head = String::from_utf8_lossy(&head(steps, from)?).into_owned();
    head.split("\r\n").find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name)
            .then(|| Escaped::<120>(value.trim()).to_string())
    })
}

/// The date in UTC, in the form of ISO 8601.
pub(super) fn date(now: SystemTime) -> String {
    let now = Timestamp::try_from(now).unwrap_or_default();
    now.strftime("%F").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_265_241_600, "2010-02-04"),
            (1_703_980_800, "2023-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(date(time), day);
        }
    }

    #[test]
    fn keys_are_not_compared() {
        let request = |key: &str| {
            let head = format!("GET / HTTP/1.1\r\nSec-WebSocket-Key1: {key}\r\nHost: h\r\n\r\n");
            request_without_keys(&[Step::of(Side::Client, head.as_bytes())])
        };
        assert_eq!(request("a b"), request("c d"));
        assert!(request("a").is_some());
        assert_eq!(
            request_without_keys(&[Step::of(Side::Client, b"GET / HTTP/1.1\r\n")]),
            None
        );
    }
}
