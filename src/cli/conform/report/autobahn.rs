//! Results in the shape of the reports of Autobahn|Testsuite, for programs that read
//! those: `index.json`, and a file for each case of each agent.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use heirloom::Side;
use heirloom::conform::{
    Case, CaseContent, CaseEvent, CaseResult, CloseEnd, ClosingVerdict, EventKind, Outcome,
};
use heirloom::explain::{Explanation, Part, PartKind};
use heirloom::trace::Field;
use heirloom::vector::{Step, hex};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use serde_json::{Map, Value, json};

use super::Plan;
use super::explained::explained;
use super::folder::{Folder, Names};
use crate::cli::conform::run::{AgentRun, CaseRun, Ending};
use crate::cli::{Exit, complain};

/// Octets and characters of a value in a report.
const SHOWN: usize = 64;
/// What stands behind a value that is cut.
const MORE: &str = " ...";

/// What every file of such a report holds.
const MARKS: [&[u8]; 2] = [b"\"behavior\"", b"\"behaviorClose\""];

fn is_report(start: &[u8]) -> bool {
    // An index of agents of which no case of the original was played.
    let agents = serde_json::from_slice::<BTreeMap<String, Map<String, Value>>>(start);
    agents.is_ok_and(|agents| agents.values().all(Map::is_empty))
        || MARKS
            .iter()
            .all(|mark| memchr::memmem::find(start, mark).is_some())
}

fn folder(path: &Path) -> Folder {
    Folder::new(path, is_report)
}

/// Fails where the report would overwrite another file. The error is printed.
pub(super) fn check(path: &Path) -> Result<(), Exit> {
    folder(path).check("index.json").map_err(|error| {
        complain(&format!("cannot write {}: {error}", path.display()));
        Exit::Usage
    })
}

/// Writes the report. An error is printed.
pub(super) fn write(path: &Path, plan: &Plan<'_>, runs: &[AgentRun]) -> Result<(), Exit> {
    write_files(&folder(path), plan, runs).map_err(|error| {
        complain(&format!("cannot write {}: {error}", path.display()));
        Exit::Unreachable
    })
}

fn write_files(folder: &Folder, plan: &Plan<'_>, runs: &[AgentRun]) -> io::Result<()> {
    folder.create()?;
    let names = Names::of(runs.iter().map(|run| run.agent.as_str()));
    let mut index = Map::new();
    let mut files = Vec::new();
    for run in runs {
        let mut cases = Map::new();
        for (number, case) in run.cases.iter().enumerate() {
            let Ending::Played(result) = &case.ending else {
                continue;
            };
            if !is_numeric(&case.id) {
                continue; // the original has no such case
            }
            let file = names.file(&run.agent, &case.id, "json");
            cases.insert(case.id.clone(), entry(result, &file));
            files.push((file, number + 1, run, case, result));
        }
        index.insert(run.agent.clone(), Value::Object(cases));
    }
    // First, so that a folder of another kind gets no other file either.
    folder.write("index.json", &text(&Value::Object(index))?)?;
    for (file, number, agent, case, result) in files {
        folder.write(&file, &text(&detail(plan, number, agent, case, result))?)?;
    }
    Ok(())
}

/// Whether it is an id as the original has them: `6.4.3`.
fn is_numeric(id: &str) -> bool {
    id.split('.').all(|part| part.parse::<u16>().is_ok())
}

/// JSON as the original writes it: sorted, and indented by three.
fn text(value: &Value) -> io::Result<String> {
    let mut octets = Vec::new();
    let format = PrettyFormatter::with_indent(b"   ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut octets, format);
    value.serialize(&mut serializer)?;
    String::from_utf8(octets).map_err(io::Error::other)
}

/// A case in `index.json`.
fn entry(result: &CaseResult, file: &str) -> Value {
    json!({
        "behavior": result.behavior.name(),
        "behaviorClose": result.closing.name(),
        "duration": milliseconds(result),
        "remoteCloseCode": result.closed.remote_code,
        "reportfile": file,
    })
}

fn milliseconds(result: &CaseResult) -> u64 {
    u64::try_from(result.duration.as_millis()).unwrap_or(u64::MAX)
}

/// The file of a case.
fn detail(
    plan: &Plan<'_>,
    number: usize,
    agent: &AgentRun,
    run: &CaseRun,
    result: &CaseResult,
) -> Value {
    let explanation = explained(result, plan.secure);
    let case = plan.cases.iter().find(|case| case.id == run.id);
    let closed = &result.closed;
    let is_timed = matches!(run.id.split('.').next(), Some("9" | "12" | "13"));
    let is_compressed = matches!(run.id.split('.').next(), Some("12" | "13"));
    let tester = plan.tested.peer();
    let stats = Stats::of(result, &explanation, tester);
    let dropped = closed.dropped_by_tester;
    json!({
        "agent": agent.agent,
        "behavior": result.behavior.name(),
        "behaviorClose": result.closing.name(),
        "case": number,
        "closedByMe": closed.by_tester,
        "createStats": true,
        "createWirelog": true,
        "description": run.title,
        "droppedByMe": dropped,
        "duration": milliseconds(result),
        "expectation": plan.why(&run.id).unwrap_or_default(),
        "expected": case.map_or_else(|| json!({}), expected),
        "expectedClose": case.map_or_else(|| json!({}), expected_close),
        "failedByMe": closed.failed_by_tester,
        "httpRequest": head(&explanation, PartKind::Request),
        "httpResponse": head(&explanation, PartKind::Response),
        "id": run.id,
        "isServer": tester == Side::Server,
        "localCloseCode": closed.local_code,
        "localCloseReason": closed.local_reason,
        "received": case
            .and_then(|case| with_pauses(case, result))
            .unwrap_or_else(|| received(&explanation, plan.tested)),
        "remoteCloseCode": closed.remote_code,
        "remoteCloseReason": closed.remote_reason,
        "reportCompressionRatio": is_compressed,
        "reportTime": is_timed,
        "result": sentence(result.difference.as_ref().map(|d| d.what.as_str()), "It is as expected."),
        "resultClose": sentence(
            result.closing_difference.as_ref().map(|d| d.what.as_str()),
            "The connection was closed as it must be.",
        ),
        "rxFrameStats": stats.frames.0,
        "rxOctetStats": stats.octets.0,
        "started": started(run),
        "trafficStats": null,
        "txFrameStats": stats.frames.1,
        "txOctetStats": stats.octets.1,
        "wasClean": closed.clean,
        "wasCloseHandshakeTimeout":
            dropped && closed.was_open && closed.by_tester && !closed.clean,
        "wasNotCleanReason": closed.not_clean,
        "wasOpenHandshakeTimeout": dropped && !closed.was_open,
        "wasServerConnectionDropTimeout": result.closing == ClosingVerdict::FailedByClient,
        "wirelog": wirelog(result, &explanation, tester),
    })
}

fn sentence(difference: Option<&str>, good: &str) -> String {
    difference.unwrap_or(good).to_owned()
}

fn started(run: &CaseRun) -> String {
    Timestamp::try_from(run.started).map_or_else(
        |_| String::new(),
        |time| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
    )
}

/// A head as text.
fn head(explanation: &Explanation, kind: PartKind) -> String {
    let part = explanation.parts.iter().find(|part| part.kind == kind);
    part.map_or("?".to_owned(), |part| {
        String::from_utf8_lossy(&part.raw).into_owned()
    })
}

/// What may be received: verdicts, and the events of each.
fn expected(case: &Case) -> Value {
    let mut expected = Map::new();
    for outcome in &case.outcomes {
        let events = outcome.events.iter().map(event).collect();
        // Of several with one verdict the first stays.
        expected
            .entry(outcome.verdict.name())
            .or_insert(Value::Array(events));
    }
    Value::Object(expected)
}

fn event(event: &CaseEvent) -> Value {
    let octets = || content(&event.content);
    match event.kind {
        EventKind::Text => json!(["message", octets(), false]),
        EventKind::Binary => json!(["message", octets(), true]),
        EventKind::Ping => json!(["ping", octets()]),
        EventKind::Pong => json!(["pong", octets()]),
        EventKind::Mark => json!(["timeout", event.mark]),
    }
}

/// The first octets of a payload.
fn content(content: &CaseContent) -> String {
    if let Some(text) = &content.data {
        return characters(text.as_bytes());
    }
    if let Some(made) = &content.generated {
        return format!("{} octets like {}", made.octets, made.like);
    }
    let mut step = Step::of(Side::Client, &[]);
    step.hex.clone_from(&content.hex);
    step.fill.clone_from(&content.fill);
    if let Some(fill) = &mut step.fill {
        step.hex = None;
        fill.times = fill.times.min(SHOWN);
    }
    characters(&step.octets().unwrap_or_default())
}

fn expected_close(case: &Case) -> Value {
    let mut close = Map::new();
    close.insert("closeCode".to_owned(), json!(case.close.codes));
    let by_tester = case.close.by == CloseEnd::Tester;
    close.insert("closedByMe".to_owned(), Value::Bool(by_tester));
    close.insert("requireClean".to_owned(), Value::Bool(case.close.clean));
    if case.close.wrong_end_fails {
        let key = "closedByWrongEndpointIsFatal";
        close.insert(key.to_owned(), Value::Bool(true));
    }
    Value::Object(close)
}

/// The events of a case with pauses that was received as one of its outcomes has it:
/// a conversation does not show which pauses have passed.
fn with_pauses(case: &Case, result: &CaseResult) -> Option<Value> {
    let has_pause = |outcome: &&Outcome| {
        let mut events = outcome.events.iter();
        outcome.verdict == result.behavior && events.any(|event| event.kind == EventKind::Mark)
    };
    let outcome = case.outcomes.iter().find(has_pause)?;
    Some(outcome.events.iter().map(event).collect())
}

/// The messages, pings and pongs of the tested side, as far as they are kept.
fn received(explanation: &Explanation, tested: Side) -> Value {
    let mut events = Vec::new();
    let mut message: Option<(bool, Vec<u8>)> = None;
    for part in explanation.parts.iter().filter(|part| part.from == tested) {
        let Some(frame) = Frame::of(part) else {
            continue;
        };
        let payload = || characters(&frame.payload);
        match frame.opcode {
            9 => events.push(json!(["ping", payload()])),
            10 => events.push(json!(["pong", payload()])),
            1 | 2 => message = Some((frame.opcode == 2, frame.payload.clone())),
            0 => {
                if let Some((_, octets)) = &mut message {
                    octets.extend_from_slice(&frame.payload);
                }
            }
            _ => {}
        }
        let is_data = frame.opcode <= 2;
        if let Some((is_binary, octets)) = message.take_if(|_| is_data && frame.fin) {
            let inflated = part.inflated.as_ref().map(|inflated| &inflated.plain.kept);
            let octets = inflated.unwrap_or(&octets);
            events.push(json!(["message", characters(octets), is_binary]));
        }
    }
    Value::Array(events)
}

/// A frame as it was sent.
struct Frame {
    opcode: u64,
    fin: bool,
    rsv: u64,
    mask: Option<String>,
    payload: Vec<u8>,
    /// The position behind it.
    end: u64,
}

impl Frame {
    fn of(part: &Part) -> Option<Frame> {
        if part.kind != PartKind::Frame {
            return None;
        }
        let span = |field: Field| part.spans.iter().find(|seen| seen.span.field == field);
        let value = |field| span(field).map(|seen| seen.span.value);
        let payload = part
            .spans
            .iter()
            .filter(|seen| seen.span.field.is_payload());
        Some(Frame {
            opcode: value(Field::Opcode)?,
            fin: value(Field::Fin) == Some(1),
            rsv: value(Field::Reserved).unwrap_or_default(),
            mask: span(Field::MaskingKey).map(|seen| packed(part.raw_of(&seen.span))),
            payload: payload
                .flat_map(|seen| part.plain_of(&seen.span))
                .copied()
                .collect(),
            end: part.at + part.octets,
        })
    }
}

/// How often each size of a read or write, and each opcode occurred: received and
/// sent.
#[derive(Default)]
struct Stats {
    octets: (BTreeMap<String, u64>, BTreeMap<String, u64>),
    frames: (BTreeMap<String, u64>, BTreeMap<String, u64>),
}

impl Stats {
    fn of(result: &CaseResult, explanation: &Explanation, tester: Side) -> Stats {
        let mut stats = Stats::default();
        for step in result.conversation.iter().filter(|step| step.end.is_none()) {
            let octets = step.octets().map_or(0, |octets| octets.len());
            let of = match step.from == tester {
                true => &mut stats.octets.1,
                false => &mut stats.octets.0,
            };
            *of.entry(octets.to_string()).or_default() += 1;
        }
        for part in &explanation.parts {
            let Some(frame) = Frame::of(part) else {
                continue;
            };
            let of = match part.from == tester {
                true => &mut stats.frames.1,
                false => &mut stats.frames.0,
            };
            *of.entry(frame.opcode.to_string()).or_default() += 1;
        }
        stats
    }
}

/// Reads and writes in order, each with the frames that end in it.
fn wirelog(result: &CaseResult, explanation: &Explanation, tester: Side) -> Value {
    let mut log = Vec::new();
    let of = |side: Side| {
        let parts = explanation
            .parts
            .iter()
            .filter(move |part| part.from == side);
        parts.filter_map(Frame::of).peekable()
    };
    let (mut sent, mut received) = (of(tester), of(tester.peer()));
    let (mut sent_to, mut received_to) = (0, 0);
    for step in result.conversation.iter().filter(|step| step.end.is_none()) {
        let octets = step.octets().unwrap_or_default();
        let shown = json!([octets.len(), in_hex(&octets)]);
        if step.from == tester {
            sent_to += octets.len() as u64;
            while let Some(frame) = sent.next_if(|frame| frame.end <= sent_to) {
                log.push(json!([
                    "TF",
                    [frame.payload.len(), characters(&frame.payload)],
                    frame.opcode,
                    frame.fin,
                    frame.rsv,
                    frame.mask,
                    null,
                    null,
                    false,
                ]));
            }
            log.push(json!(["TO", shown, false]));
        } else {
            received_to += octets.len() as u64;
            log.push(json!(["RO", shown]));
            while let Some(frame) = received.next_if(|frame| frame.end <= received_to) {
                log.push(json!([
                    "RF",
                    [frame.payload.len(), characters(&frame.payload)],
                    frame.opcode,
                    frame.fin,
                    frame.rsv,
                    frame.mask.is_some(),
                    frame.mask,
                ]));
            }
        }
    }
    Value::Array(log)
}

/// Octets in hex without spaces.
fn packed(octets: &[u8]) -> String {
    hex(octets).replace(' ', "")
}

/// The first octets in hex.
fn in_hex(octets: &[u8]) -> String {
    match octets.get(..SHOWN) {
        Some(first) if octets.len() > SHOWN - MORE.len() => packed(first) + MORE,
        _ if octets.len() > SHOWN - MORE.len() => packed(octets) + MORE,
        _ => packed(octets),
    }
}

/// The first octets as text where they are UTF-8, else in hex.
fn characters(octets: &[u8]) -> String {
    let is_long = octets.len() > SHOWN - MORE.len();
    let first = octets.get(..SHOWN).unwrap_or(octets);
    match std::str::from_utf8(first) {
        Ok(text) if is_long => format!("{text}{MORE}"),
        Ok(text) => text.to_owned(),
        Err(_) => format!("0x{}", in_hex(octets)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::fs;

    use super::super::sample::{Folder, REQUEST, RESPONSE, agent, groups, plan};
    use super::*;

    #[test]
    fn a_report_in_the_original_shape_has_all_its_keys() {
        let groups = groups();
        let runs = [agent("Node ws")];
        let plan = plan(&groups, Side::Server);
        let path = Folder::new();
        check(&path).unwrap();
        write(&path, &plan, &runs).unwrap();
        let read = |name: &str| -> Value {
            serde_json::from_slice(&fs::read(path.join(name)).unwrap()).unwrap()
        };
        let index = read("index.json");
        let cases = index["Node ws"].as_object().unwrap();
        assert_eq!(cases.len(), 5, "hixie-76 is not of it, and was not played");
        let case = &cases["1.1.2"];
        let expected = json!({
            "behavior": "FAILED", "behaviorClose": "UNCLEAN", "duration": 12,
            "remoteCloseCode": 1000, "reportfile": "node_ws_case_1_1_2.json",
        });
        assert_eq!(case, &expected);
        let case = read("node_ws_case_1_1_2.json");
        let keys: Vec<&str> = case
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut expected: Vec<&str> = "agent behavior behaviorClose case closedByMe createStats \
        createWirelog description droppedByMe duration expectation expected expectedClose \
        failedByMe httpRequest httpResponse id isServer localCloseCode localCloseReason received \
        remoteCloseCode remoteCloseReason reportCompressionRatio reportTime result resultClose \
        rxFrameStats rxOctetStats started trafficStats txFrameStats txOctetStats wasClean \
        wasCloseHandshakeTimeout wasNotCleanReason wasOpenHandshakeTimeout \
        wasServerConnectionDropTimeout wirelog"
            .split_whitespace()
            .collect();
        expected.sort_unstable();
        assert_eq!(keys, expected);
        assert_eq!((&case["id"], &case["case"]), (&json!("1.1.2"), &json!(2)));
        assert_eq!(case["isServer"], false);
        assert_eq!(case["httpRequest"], REQUEST);
        assert_eq!(case["httpResponse"], RESPONSE);
        assert_eq!(case["started"], "2023-11-14T22:13:20.000Z");
        assert_eq!(case["txFrameStats"], json!({"1": 1}));
        assert_eq!(case["txOctetStats"], json!({"8": 1, "154": 1}));
        let sent = json!(["TF", [2, "hi"], 1, true, 0, "01020304", null, null, false]);
        let log = case["wirelog"].as_array().unwrap();
        assert!(log.contains(&sent), "{log:?}");
        assert!(
            log.contains(&json!(["TO", [8, "818201020304696b"], false])),
            "{log:?}"
        );
    }

    #[test]
    fn a_file_that_is_no_report_is_not_overwritten() {
        let path = Folder::new();
        let other = path.join("other");
        fs::write(&other, "mine").unwrap();
        let index = path.join("index.json");
        fs::write(&index, "{\"name\": 1}").unwrap();
        assert_eq!(check(&path), Err(Exit::Usage));
        assert_eq!(check(&index), Err(Exit::Usage), "it is no folder");
        fs::remove_file(&index).unwrap();
        std::os::unix::fs::symlink(&other, &index).unwrap();
        assert_eq!(check(&path), Err(Exit::Usage), "a link leads out");
        assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
    }
}
