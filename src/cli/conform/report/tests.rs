//! Each report is read back, by what reads such reports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use heirloom::Side;
use heirloom::conform::{Behavior, CaseResult, ClosingVerdict, HowClosed};
use heirloom::vector::{Difference, Level, Step, StreamEnd};
use scraper::{Html, Selector};
use serde_json::{Value, json};

use super::standing::{Judged, Standing};
use super::terminal::Terminal;
use super::{End, Plan, Reports, Tally, autobahn, html, json as json_lines, junit, tap};
use super::{FailOn, ReportArgs};
use crate::cli::Exit;
use crate::cli::conform::baseline::Baseline;
use crate::cli::conform::run::{AgentRun, CaseRun, Ending};

const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A text `hi`, its echo by a server that masks, which it must not, and the end.
fn conversation() -> Vec<Step> {
    let hi = b"\x81\x82\x01\x02\x03\x04\x69\x6b";
    vec![
        Step::of(Side::Client, REQUEST.as_bytes()),
        Step::of(Side::Server, RESPONSE.as_bytes()),
        Step::of(Side::Client, hi),
        Step::of(Side::Server, hi),
        Step::end(Side::Server, StreamEnd::Fin),
    ]
}

fn result(behavior: Behavior, closing: ClosingVerdict, broken: Option<Level>) -> CaseResult {
    let difference = Difference::from("the echo is masked".to_owned())
        .at(130)
        .in_field("frame")
        .between("text \"hi\"", "<script>alert(1)</script>\u{202e}");
    let conversation = conversation();
    CaseResult {
        behavior,
        closing,
        broken,
        difference: (behavior != Behavior::Ok).then_some(difference),
        closing_difference: (closing != ClosingVerdict::Ok)
            .then(|| Difference::from("TCP ended without a close".to_owned())),
        closed: HowClosed {
            was_open: true,
            remote_code: Some(1000),
            remote_reason: Some("<b>bye</b>".to_owned()),
            ..HowClosed::default()
        },
        section: "RFC 6455 section 5.1".to_owned(),
        conversation,
        is_cut: false,
        octets: (137, 160),
        duration: Duration::from_millis(12),
    }
}

fn run(id: &str, ending: Ending) -> CaseRun {
    CaseRun {
        id: id.to_owned(),
        title: format!("A \"text\" & # of <case> {id}"),
        version: "rfc6455".to_owned(),
        level: Level::Must,
        section: "RFC 6455 section 5.6".to_owned(),
        started: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        ending,
    }
}

fn played(id: &str, behavior: Behavior, closing: ClosingVerdict, broken: Option<Level>) -> CaseRun {
    run(
        id,
        Ending::Played(Box::new(result(behavior, closing, broken))),
    )
}

/// A case of each kind.
fn cases() -> Vec<CaseRun> {
    use ClosingVerdict as Closing;
    vec![
        played("1.1.1", Behavior::Ok, Closing::Ok, None),
        played(
            "1.1.2",
            Behavior::Failed,
            Closing::Unclean,
            Some(Level::Must),
        ),
        played(
            "6.4.3",
            Behavior::NonStrict,
            Closing::Ok,
            Some(Level::Should),
        ),
        played(
            "7.1.6",
            Behavior::Informational,
            Closing::Informational,
            None,
        ),
        played("12.1.1", Behavior::Unimplemented, Closing::Ok, None),
        run(
            "hixie-76/echo",
            Ending::NotRun("it stopped after 12.1.1".to_owned()),
        ),
    ]
}

const IDS: [&str; 6] = [
    "1.1.1",
    "1.1.2",
    "6.4.3",
    "7.1.6",
    "12.1.1",
    "hixie-76/echo",
];

/// The name of an agent that would do harm in a page, a terminal or a path.
const HOSTILE: &str = "../<img src=x>\x1b[2J\u{202e}";

fn agent(agent: &str) -> AgentRun {
    AgentRun {
        agent: agent.to_owned(),
        cases: cases(),
    }
}

fn groups() -> BTreeMap<String, String> {
    let titles = [
        ("1.1", "Text"),
        ("6.4", "Fail fast"),
        ("hixie-76", "Of 2010"),
    ];
    titles
        .map(|(id, title)| (id.to_owned(), title.to_owned()))
        .into()
}

fn plan(groups: &BTreeMap<String, String>, tested: Side) -> Plan<'_> {
    Plan {
        tested,
        secure: false,
        command: "heirloom conform ws://127.0.0.1:9001/".to_owned(),
        groups,
        known: BTreeSet::from(IDS),
        selected: IDS.to_vec(),
        cases: &[],
        verbose: false,
    }
}

fn judged<'a>(runs: &'a [AgentRun], baseline: Option<&Baseline>) -> Vec<Judged<'a>> {
    let all = runs
        .iter()
        .flat_map(|run| run.cases.iter().map(move |case| (run, case)));
    all.map(|(run, case)| Judged::of(&run.agent, case, Level::Must, baseline))
        .collect()
}

/// A folder for one test, which is empty at first.
fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("heirloom-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn end(tally: &Tally) -> End<'_> {
    End {
        tally,
        seconds: 1.5,
        stopped: None,
        exit: Exit::Failed,
    }
}

#[test]
fn a_terminal_shows_groups_in_order_then_failures_and_a_summary() {
    let (groups, runs) = (groups(), [agent("a")]);
    let plan = plan(&groups, Side::Server);
    let judged = judged(&runs, None);
    let mut terminal = Terminal::new(&plan);
    // The second case of the first group arrives last.
    let arriving = [0, 2, 3, 4, 5, 1].map(|n| terminal.case(&plan, &judged[n]));
    assert!(arriving[..5].iter().all(Vec::is_empty));
    let lines = arriving[5].join("\n");
    let heads: Vec<&str> = lines
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(heads, ["1.1", "6.4", "7.1", "12.1", "hixie-76"]);
    assert!(
        lines.lines().next().unwrap().ends_with("  1 ok, 1 failed"),
        "{lines}"
    );
    assert!(lines.contains("1 non-strict") && lines.contains("1 not run"));
    let tally = Tally::of(&judged);
    let text = terminal.finish(&plan, &judged, &end(&tally)).join("\n");
    for part in [
        "1.1.2 A \"text\" & # of <case> 1.1.2: FAILED, closing UNCLEAN",
        "must, RFC 6455 section 5.1",
        "the echo is masked",
        "expected  frame: text \"hi\"",
        "seen      frame: <script>alert(1)</script>\\u{202e}",
        "closing: TCP ended without a close",
        "→ octet 154, ",
        "81 82 01 02 03 04 69 6b",
        "likely cause: ",
        "alone: heirloom conform ws://127.0.0.1:9001/ --only 1.1.2 -v",
        "6 cases of a in 1.5 s: 1 ok, 1 non-strict, 1 informational, 1 unimplemented, 1 failed, 1 not run; exit status 1",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(
        !text.contains("6.4.3"),
        "what is not strict is no failure: {text}"
    );
}

#[test]
fn the_same_failure_stands_once_with_all_its_cases() {
    let groups = groups();
    let plan = plan(&groups, Side::Server);
    let mut runs = [agent("a")];
    for id in ["1.1.3", "1.1.4"] {
        let failed = played(
            id,
            Behavior::Failed,
            ClosingVerdict::Unclean,
            Some(Level::Must),
        );
        runs[0].cases.push(failed);
    }
    let judged = judged(&runs, None);
    let tally = Tally::of(&judged);
    let lines = Terminal::new(&plan).finish(&plan, &judged, &end(&tally));
    let text = lines.join("\n");
    assert_eq!(
        text.matches("the echo").count() + text.matches("expected text").count(),
        1
    );
    assert!(text.contains("  the same: 1.1.3, 1.1.4"), "{text}");
}

#[test]
fn a_client_stands_under_its_name_which_is_inert() {
    let (groups, runs) = (groups(), [agent(HOSTILE)]);
    let plan = plan(&groups, Side::Client);
    let judged = judged(&runs, None);
    let mut terminal = Terminal::new(&plan);
    let lines = terminal.case(&plan, &judged[0]);
    assert!(lines.is_empty());
    let text = terminal.case(&plan, &judged[1]).join("\n");
    assert!(
        text.starts_with("../<img src=x>\\u{1b}[2J\\u{202e}\n1.1 Text"),
        "{text:?}"
    );
}

#[test]
fn json_has_the_keys_of_verdicts_and_of_the_case() {
    let (groups, runs) = (groups(), [agent(HOSTILE)]);
    let plan = plan(&groups, Side::Server);
    let judged = judged(&runs, None);
    let schema: Value =
        serde_json::from_str(include_str!("../../../../docs/verdict.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let lines: Vec<Value> = judged
        .iter()
        .map(|judged| serde_json::to_value(json_lines::case(&plan, judged)).unwrap())
        .collect();
    for line in &lines {
        assert!(
            schema.is_valid(line),
            "{:?}",
            schema.iter_errors(line).next()
        );
    }
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
        ..end(&tally)
    };
    let last = serde_json::to_value(json_lines::end(&plan, &judged, &stopped)).unwrap();
    assert!(schema.is_valid(&last));
    assert_eq!(last["summary"]["failed"], 1);
    assert_eq!(last["agents"][HOSTILE]["ok"], 1);
    assert_eq!(
        (&last["exit"], &last["stopped"]),
        (&json!(3), &json!("it is gone"))
    );
}

#[test]
fn tap_has_a_line_for_each_case_and_its_plan() {
    let (groups, runs) = (groups(), [agent(HOSTILE)]);
    let plan = plan(&groups, Side::Client);
    let judged = judged(&runs, None);
    let numbered = judged.iter().zip(1..);
    let lines: Vec<String> = numbered
        .map(|(judged, n)| tap::case(&plan, judged, n))
        .collect();
    let text = lines.join("\n");
    let starts = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!((starts("ok "), starts("not ok ")), (5, 1));
    assert!(
        lines[0].contains("A \"text\" & \\# of <case> 1.1.1"),
        "{}",
        lines[0]
    );
    assert!(!text.contains('\x1b'));
    let block: Vec<&str> = lines[1].lines().skip(1).collect();
    assert_eq!(
        (block.first(), block.last()),
        (Some(&"  ---"), Some(&"  ..."))
    );
    assert!(block.contains(&"  verdict: \"FAILED\""), "{block:?}");
    assert!(
        block.contains(&"  received: \"the echo is masked\""),
        "{block:?}"
    );
    assert!(lines[4].contains(" # SKIP ") && lines[5].ends_with(" # SKIP it stopped after 12.1.1"));
    let tally = Tally::of(&judged);
    assert_eq!(tap::end(6, &end(&tally)), "1..6");
}

#[test]
fn junit_has_a_suite_for_each_group_and_what_failed() {
    let (groups, runs) = (groups(), [agent(HOSTILE)]);
    let plan = plan(&groups, Side::Client);
    let path = folder("conform-junit").join("report.xml");
    junit::write(&path, &plan, &judged(&runs, None)).unwrap();
    let xml = fs::read_to_string(&path).unwrap();
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    assert_eq!((report.tests, report.failures), (6, 1));
    assert_eq!(report.test_suites.len(), 5);
    assert!(report.test_suites[0].name.ends_with("1.1 Text"));
    let failed = &report.test_suites[0].test_cases[1];
    let quick_junit::TestCaseStatus::NonSuccess {
        message,
        description,
        ..
    } = &failed.status
    else {
        panic!("{failed:?}");
    };
    let first = "FAILED, closing UNCLEAN (must, RFC 6455 section 5.1)";
    assert_eq!(message.as_ref().unwrap().as_str(), first);
    assert!(description.as_ref().unwrap().contains("the echo is masked"));
    let skipped = report.test_suites.iter().map(|suite| suite.skipped());
    assert_eq!(skipped.sum::<usize>(), 2, "{xml}");
}

trait Skipped {
    fn skipped(&self) -> usize;
}

impl Skipped for quick_junit::TestSuite {
    fn skipped(&self) -> usize {
        let is_skipped = |case: &&quick_junit::TestCase| {
            matches!(case.status, quick_junit::TestCaseStatus::Skipped { .. })
        };
        self.test_cases.iter().filter(is_skipped).count()
    }
}

fn parsed(page: &str) -> Html {
    let html = Html::parse_document(page);
    assert!(html.errors.is_empty(), "{:?}", html.errors);
    html
}

fn all<'h>(html: &'h Html, selector: &str) -> Vec<scraper::ElementRef<'h>> {
    html.select(&Selector::parse(selector).unwrap()).collect()
}

fn text(element: scraper::ElementRef<'_>) -> String {
    element.text().collect()
}

#[test]
fn a_folder_of_html_has_a_matrix_whose_cells_open_conversations() {
    let groups = groups();
    let runs = [agent("Node ws"), agent(HOSTILE)];
    let plan = plan(&groups, Side::Client);
    let judged = judged(&runs, None);
    let tally = Tally::of(&judged);
    let path = folder("conform-html").join("report");
    html::check(&path).unwrap();
    html::write(&path, &plan, &judged, &end(&tally)).unwrap();

    let index = fs::read_to_string(path.join("index.html")).unwrap();
    let page = parsed(&index);
    assert_eq!(all(&page, "section.group").len(), 5);
    assert_eq!(all(&page, "h1").len(), 1);
    assert!(all(&page, "script, img, link, iframe").is_empty());
    let cells = all(&page, "tr[id=\"case-1.1.2\"] td.v.failed");
    assert_eq!(cells.len(), 2);
    assert_eq!(text(cells[0]), "✗ FAILED, closing UNCLEAN");
    let rules = all(&page, "tr[id=\"case-1.1.2\"] td > a[href^=\"https:\"]");
    let rfc = "https://www.rfc-editor.org/rfc/rfc6455#section-5.6";
    assert_eq!(rules[0].attr("href"), Some(rfc));
    // Each link leads to a page of the folder or a place in the page.
    let links = all(&page, "a[href]");
    let links: BTreeSet<&str> = links.iter().filter_map(|link| link.attr("href")).collect();
    let mut pages = 0;
    for link in links.iter().filter(|link| !link.starts_with("https:")) {
        if let Some(place) = link.strip_prefix('#') {
            assert_eq!(all(&page, &format!("[id=\"{place}\"]")).len(), 1, "{link}");
        } else {
            assert!(path.join(link).is_file(), "{link}");
            pages += 1;
        }
    }
    assert_eq!(pages, 10, "five of each agent were played");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 11);

    let case = fs::read_to_string(path.join("node_ws_case_1_1_2.html")).unwrap();
    let page = parsed(&case);
    assert!(all(&page, "script, img, link, iframe, b b").is_empty());
    let facts: Vec<String> = all(&page, "section.case dd")
        .into_iter()
        .map(text)
        .collect();
    for fact in ["Node ws", "FAILED, closing UNCLEAN", "frame: text \"hi\""] {
        assert!(facts.iter().any(|f| f == fact), "{fact}: {facts:?}");
    }
    assert!(facts.contains(&"frame: <script>alert(1)</script>\\u{202e}".to_owned()));
    assert_eq!(all(&page, "article section.part").len(), 5);
    let back = all(&page, "nav a");
    assert_eq!(back[0].attr("href"), Some("index.html#case-1.1.2"));

    // The same report again takes the place of the old one.
    html::check(&path).unwrap();
    html::write(&path, &plan, &judged, &end(&tally)).unwrap();
}

#[test]
fn one_file_of_html_has_the_conversations_that_are_not_good() {
    let (groups, runs) = (groups(), [agent("a")]);
    let plan = plan(&groups, Side::Server);
    let judged = judged(&runs, None);
    let tally = Tally::of(&judged);
    let path = folder("conform-one").join("report.html");
    html::write(&path, &plan, &judged, &end(&tally)).unwrap();
    let page = parsed(&fs::read_to_string(&path).unwrap());
    assert_eq!(all(&page, "article").len(), 4);
    let ids = all(&page, "[id]");
    let unique: BTreeSet<_> = ids.iter().filter_map(|e| e.attr("id")).collect();
    assert_eq!(unique.len(), ids.len());
    for link in all(&page, "a[href^=\"#\"]") {
        let place = link.attr("href").unwrap().trim_start_matches('#');
        assert!(unique.contains(place), "{place}");
    }
}

#[test]
fn a_file_that_is_no_report_is_not_overwritten() {
    let path = folder("conform-others");
    let other = path.join("index.html");
    fs::write(&other, "<h1>My page</h1>").unwrap();
    assert_eq!(html::check(&path), Err(Exit::Usage));
    assert_eq!(html::check(&other), Err(Exit::Usage));
    let index = path.join("index.json");
    fs::write(&index, "{\"name\": 1}").unwrap();
    assert_eq!(autobahn::check(&path), Err(Exit::Usage));
    assert_eq!(autobahn::check(&index), Err(Exit::Usage), "it is no folder");
    fs::remove_file(&index).unwrap();
    std::os::unix::fs::symlink(&other, &index).unwrap();
    assert_eq!(autobahn::check(&path), Err(Exit::Usage), "a link leads out");
    assert_eq!(fs::read_to_string(&other).unwrap(), "<h1>My page</h1>");
}

#[test]
fn a_report_in_the_original_shape_has_all_its_keys() {
    let groups = groups();
    let runs = [agent("Node ws")];
    let plan = plan(&groups, Side::Server);
    let path = folder("conform-autobahn");
    autobahn::check(&path).unwrap();
    autobahn::write(&path, &plan, &runs).unwrap();
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

fn baseline(text: &str) -> (PathBuf, Result<Baseline, Exit>) {
    let path = folder(&format!("baseline-{}", text.len())).join("expected.toml");
    fs::write(&path, text).unwrap();
    let read = Baseline::read(&path, &BTreeSet::from(IDS));
    (path, read)
}

#[test]
fn a_baseline_expects_failures_and_finds_what_passes() {
    let (_, read) =
        baseline("[expected]\n'1.1.2' = \"FAILED/UNCLEAN\"\n'6.4.3' = \"NON-STRICT\"\n");
    let read = read.unwrap();
    let runs = [agent("a")];
    let standing = |baseline: &Baseline, n: usize| judged(&runs, Some(baseline))[n].standing;
    assert_eq!(standing(&read, 0), Standing::Good);
    assert_eq!(standing(&read, 1), Standing::Expected);
    assert_eq!(standing(&read, 2), Standing::Expected);
    let (_, read) = baseline("[expected]\n'1.1.1' = \"FAILED\"\n'1.1.2' = \"NON-STRICT/OK\"\n");
    let read = read.unwrap();
    assert_eq!(standing(&read, 0), Standing::Passes);
    assert_eq!(standing(&read, 1), Standing::Failed);
    let all = judged(&runs, Some(&read));
    let note = |n: usize| all[n].note.clone().unwrap();
    assert!(
        note(0).starts_with("passes now: remove it from "),
        "{}",
        note(0)
    );
    assert!(
        note(1).ends_with("expects NON-STRICT/OK; it is FAILED/UNCLEAN now"),
        "{}",
        note(1)
    );
    // An agent's own table counts more.
    let text = "[expected]\n'1.1.2' = 'FAILED'\n[agents.a]\n'1.1.2' = 'OK/UNCLEAN'\n";
    let (_, read) = baseline(text);
    assert_eq!(standing(&read.unwrap(), 1), Standing::Failed);
}

#[test]
fn a_baseline_with_a_mistake_is_not_used() {
    for text in [
        "[expected]\n'9.9.9' = 'FAILED'\n",
        "[expected]\n'1.1.1' = 'BAD'\n",
        "[expected]\n'1.1.1' = 'FAILED/BAD'\n",
        "[expected]\n'1.1.1' = 1\n",
        "[expcted]\n'1.1.1' = 'FAILED'\n",
        "[expected]\n'1.1.1' = 'FAILED'\n'1.1.1' = 'OK'\n",
        "[expected\n",
        "agents = 1\n",
    ] {
        assert!(matches!(baseline(text).1, Err(Exit::Usage)), "{text}");
    }
}

#[test]
fn a_baseline_that_is_written_again_keeps_its_comments() {
    let text = "# Ours.\n\n[expected]\n# Ticket 7.\n\"6.4.3\" = \"FAILED\" # \"soon\"\n\"1.1.2\" = \"FAILED\"  # why\n\n# loose\n# Not played.\n\"hixie-76/echo\" = \"FAILED/OK\"\n\n[agents.\"b\\\"c\"]\n\"1.1.1\" = \"FAILED\" # of b\n";
    let (path, read) = baseline(text);
    drop(read.unwrap());
    let args = ReportArgs {
        write_baseline: Some(path.clone()),
        ..ReportArgs::default()
    };
    let (groups, runs) = (groups(), [agent("a")]);
    let reports = Reports::new(&args, plan(&groups, Side::Server)).unwrap();
    reports.finish(&runs, None);
    let written = fs::read_to_string(&path).unwrap();
    // 6.4.3 is no failure now; 1.1.2 still is, and hixie-76/echo was not played.
    let expected = "# Ours.\n\n[expected]\n\"1.1.2\" = \"FAILED\" # why\n# loose\n# Not played.\n\"hixie-76/echo\" = \"FAILED/OK\"\n\n[agents.\"b\\\"c\"]\n\"1.1.1\" = \"FAILED\" # of b\n";
    assert_eq!(written, expected);
    let args = ReportArgs {
        fail_on: FailOn::Should,
        ..args
    };
    let reports = Reports::new(&args, plan(&groups, Side::Server)).unwrap();
    reports.finish(&runs, None);
    let written = fs::read_to_string(&path).unwrap();
    assert!(
        written.contains("\n\"6.4.3\" = \"NON-STRICT/OK\"\n"),
        "{written}"
    );
}

#[test]
fn a_new_baseline_of_several_agents_names_them() {
    let path = folder("baseline-new").join("expected.toml");
    let args = ReportArgs {
        write_baseline: Some(path.clone()),
        ..ReportArgs::default()
    };
    let groups = groups();
    let mut runs = [agent("a"), agent("b")];
    runs[1].cases.remove(1);
    let reports = Reports::new(&args, plan(&groups, Side::Client)).unwrap();
    reports.finish(&runs, None);
    let read = Baseline::read(&path, &BTreeSet::from(IDS)).unwrap();
    assert!(read.of("a", "1.1.2").is_some() && read.of("b", "1.1.2").is_none());
    let judged = judged(&runs, Some(&read));
    assert!(!Tally::of(&judged).is_bad());
    let idle = read.idle(|agent, id| agent == Some("a") && id == "1.1.1");
    assert_eq!(idle, ["1.1.2"]);
}

#[test]
fn the_exit_status_follows_level_and_baseline() {
    let groups = groups();
    let exit = |args: &ReportArgs, cases: Vec<CaseRun>, stopped: Option<&str>| {
        let runs = [AgentRun {
            agent: "a".to_owned(),
            cases,
        }];
        let reports = Reports::new(args, plan(&groups, Side::Server)).unwrap();
        reports.finish(&runs, stopped)
    };
    let weak = || {
        let ok = ClosingVerdict::Ok;
        vec![played(
            "6.4.3",
            Behavior::NonStrict,
            ok,
            Some(Level::Should),
        )]
    };
    let must = ReportArgs::default();
    let should = ReportArgs {
        fail_on: FailOn::Should,
        ..ReportArgs::default()
    };
    assert_eq!(exit(&must, weak(), None), Exit::Good);
    assert_eq!(exit(&should, weak(), None), Exit::Failed);
    assert_eq!(exit(&must, cases(), None), Exit::Failed);
    assert_eq!(exit(&must, weak(), Some("it is gone")), Exit::Unreachable);
    let (path, _) = baseline("[expected]\n'1.1.2' = 'FAILED/UNCLEAN'\n");
    let expecting = ReportArgs {
        baseline: Some(path),
        ..ReportArgs::default()
    };
    assert_eq!(exit(&expecting, cases(), None), Exit::Good);
    let passing = || vec![played("1.1.2", Behavior::Ok, ClosingVerdict::Ok, None)];
    assert_eq!(exit(&expecting, passing(), None), Exit::Failed);
    assert_eq!(
        exit(&expecting, weak(), None),
        Exit::Good,
        "1.1.2 was not played"
    );
}
