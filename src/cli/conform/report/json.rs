//! Results for a program: one JSON object for each case, and one for all.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use heirloom::Side;
use heirloom::vector::Difference;
use serde::Serialize;

use super::explained::{cause, explained};
use super::standing::{Judged, Standing, level_word};
use super::{End, Plan, Tally};
use crate::cli::verdict::{Place, Severity, Verdict};

/// A line about a case.
#[derive(Serialize)]
struct CaseLine<'a> {
    #[serde(flatten)]
    verdict: Verdict,
    agent: &'a str,
    version: &'a str,
    level: &'static str,
    section: &'a str,
    behavior: Option<&'static str>,
    behavior_close: Option<&'static str>,
    broken: Option<&'static str>,
    differences: Vec<DifferenceObject<'a>>,
    cause: Option<String>,
    note: Option<&'a str>,
    remote_close_code: Option<u16>,
    octets: Octets,
    duration_ms: Option<u64>,
    started_ms: Option<u64>,
}

/// How many octets the tester received and sent.
#[derive(Default, Serialize)]
struct Octets {
    received: u64,
    sent: u64,
}

/// What differs from what was expected.
#[derive(Serialize)]
struct DifferenceObject<'a> {
    about: &'static str,
    text: &'a str,
    octet: Option<u64>,
    field: Option<&'a str>,
    expected: Option<&'a str>,
    seen: Option<&'a str>,
}

impl<'a> DifferenceObject<'a> {
    fn of(about: &'static str, difference: &'a Difference) -> DifferenceObject<'a> {
        DifferenceObject {
            about,
            text: &difference.what,
            octet: difference.octet,
            field: difference.field.as_deref(),
            expected: difference.expected.as_deref(),
            seen: difference.seen.as_deref(),
        }
    }
}

/// The last line.
#[derive(Serialize)]
struct EndLine<'a> {
    #[serde(flatten)]
    verdict: Verdict,
    summary: Counts,
    agents: BTreeMap<&'a str, Counts>,
    seconds: f64,
    stopped: Option<&'a str>,
    exit: u8,
}

/// How many cases have each verdict.
type Counts = BTreeMap<&'static str, usize>;

/// The line of a case.
pub(super) fn case<'a>(plan: &Plan<'_>, judged: &'a Judged<'_>) -> impl Serialize + use<'a> {
    let (run, result) = (judged.run, judged.result());
    let received = result.and_then(|result| result.difference.as_ref());
    let closing = result.and_then(|result| result.closing_difference.as_ref());
    let differences = [("received", received), ("closing", closing)];
    let differences = differences
        .into_iter()
        .filter_map(|(about, found)| Some(DifferenceObject::of(about, found?)));
    let is_wrong = result.is_some_and(|result| result.broken.is_some());
    let place = match received.or(closing) {
        Some(first) => Place::of(is_wrong.then_some(plan.tested), first),
        None => Place::default(),
    };
    let explained = result.filter(|_| is_wrong).and_then(|result| {
        cause(
            &explained(result, plan.secure),
            plan.tested,
            plan.why(&run.id),
        )
    });
    CaseLine {
        verdict: Verdict {
            id: Some(run.id.clone()),
            title: Some(run.title.clone()),
            verdict: judged.standing.word(),
            severity: judged.standing.severity(),
            place,
        },
        agent: judged.agent,
        version: &run.version,
        level: level_word(run.level),
        section: judged.section(),
        behavior: result.map(|result| result.behavior.name()),
        behavior_close: result.map(|result| result.closing.name()),
        broken: result.and_then(|result| result.broken).map(level_word),
        differences: differences.collect(),
        cause: explained.map(|(label, sentence)| format!("{label}: {sentence}")),
        note: judged.note.as_deref().or(judged.not_run()),
        remote_close_code: result.and_then(|result| result.closed.remote_code),
        octets: result.map_or(Octets::default(), |result| Octets {
            received: result.octets.0,
            sent: result.octets.1,
        }),
        duration_ms: result.map(|result| milliseconds(result.duration.as_millis())),
        started_ms: run
            .started
            .duration_since(UNIX_EPOCH)
            .ok()
            .map(|since| milliseconds(since.as_millis())),
    }
}

fn milliseconds(ms: u128) -> u64 {
    u64::try_from(ms).unwrap_or(u64::MAX)
}

/// The line of all cases.
pub(super) fn end<'a>(
    plan: &Plan<'_>,
    judged: &'a [Judged<'_>],
    end: &End<'a>,
) -> impl Serialize + use<'a> {
    let mut agents: BTreeMap<&str, Tally> = BTreeMap::new();
    for judged in judged {
        agents.entry(judged.agent).or_default().add(judged.standing);
    }
    let (verdict, severity) = match (end.stopped, end.tally.is_bad()) {
        (Some(_), _) => ("stopped", Severity::Error),
        (None, true) => ("failed", Severity::Wrong),
        (None, false) => ("ok", Severity::Good),
    };
    let tested = match plan.tested {
        Side::Client => "a client",
        Side::Server => "a server",
    };
    EndLine {
        verdict: Verdict {
            id: None,
            title: Some(match end.tally.total() {
                1 => format!("1 case of {tested}"),
                n => format!("{n} cases of {tested}"),
            }),
            verdict,
            severity,
            place: Place::default(),
        },
        summary: counts(end.tally),
        agents: agents
            .iter()
            .map(|(agent, tally)| (*agent, counts(tally)))
            .collect(),
        seconds: (end.seconds * 1000.0).round() / 1000.0,
        stopped: end.stopped,
        exit: end.exit as u8,
    }
}

fn counts(tally: &Tally) -> Counts {
    let all = Standing::ALL.into_iter();
    all.map(|standing| (standing.word(), tally.count(standing)))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use heirloom::vector::Level;
    use serde_json::{Value, json, to_value};

    use super::super::sample::{HOSTILE, agent, end as ended, groups, plan};
    use super::*;
    use crate::cli::Exit;

    #[test]
    fn json_has_the_keys_of_verdicts_and_of_the_case() {
        let (groups, runs) = (groups(), [agent(HOSTILE)]);
        let plan = plan(&groups, Side::Server);
        let judged = Judged::all(&runs, Level::Must, None);
        let schemas = [
            include_str!("../../../../docs/verdict.schema.json"),
            include_str!("../../../../docs/conform.schema.json"),
        ];
        let schemas = schemas.map(|schema| {
            jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap()
        });
        let hold = |line: &Value| {
            for schema in &schemas {
                let errors: Vec<String> = schema.iter_errors(line).map(|e| e.to_string()).collect();
                assert!(errors.is_empty(), "{errors:?}: {line}");
            }
        };
        let lines: Vec<Value> = judged
            .iter()
            .map(|judged| to_value(case(&plan, judged)).unwrap())
            .collect();
        lines.iter().for_each(hold);
        let words: Vec<&str> = lines
            .iter()
            .map(|line| line["verdict"].as_str().unwrap())
            .collect();
        let expected = [
            "ok",
            "failed",
            "non-strict",
            "informational",
            "unimplemented",
            "not-run",
        ];
        assert_eq!(words, expected);
        let failed = &lines[1];
        assert_eq!(failed["id"], "1.1.2");
        assert_eq!(failed["agent"], HOSTILE);
        assert_eq!(failed["severity"], "wrong");
        assert_eq!(
            (&failed["side"], &failed["octet"]),
            (&json!("server"), &json!(130))
        );
        assert_eq!(failed["behavior"], "FAILED");
        assert_eq!(failed["behavior_close"], "UNCLEAN");
        assert_eq!(
            (&failed["level"], &failed["broken"]),
            (&json!("must"), &json!("must"))
        );
        assert_eq!(failed["section"], "RFC 6455 section 5.1");
        assert_eq!(failed["remote_close_code"], 1000);
        assert_eq!(failed["duration_ms"], 12);
        assert_eq!(failed["differences"].as_array().unwrap().len(), 2);
        assert_eq!(failed["differences"][0]["field"], "frame");
        assert_eq!(failed["differences"][1]["about"], "closing");
        assert!(
            failed["cause"]
                .as_str()
                .unwrap()
                .starts_with("likely cause: ")
        );
        assert_eq!(lines[5]["note"], "it stopped after 12.1.1");

        let tally = Tally::of(&judged);
        let stopped = End {
            stopped: Some("it is gone"),
            exit: Exit::Unreachable,
            ..ended(&tally)
        };
        let last = to_value(end(&plan, &judged, &stopped)).unwrap();
        hold(&last);
        assert_eq!(last["summary"]["failed"], 1);
        assert_eq!(last["agents"][HOSTILE]["ok"], 1);
        assert_eq!(
            (&last["exit"], &last["stopped"]),
            (&json!(3), &json!("it is gone"))
        );
    }
}
