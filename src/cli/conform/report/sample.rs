//! Results made by hand, for the tests of reports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use heirloom::Side;
use heirloom::conform::{Behavior, CaseResult, ClosingVerdict, HowClosed};
use heirloom::vector::{Difference, Level, Step, StreamEnd};

use super::{End, Plan, Tally};
use crate::cli::Exit;
use crate::cli::conform::run::{AgentRun, CaseRun, Ending};

pub(super) const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
pub(super) const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A text `hi`, its echo by a server that masks, which it must not, and the end.
pub(super) fn conversation() -> Vec<Step> {
    let hi = b"\x81\x82\x01\x02\x03\x04\x69\x6b";
    vec![
        Step::of(Side::Client, REQUEST.as_bytes()),
        Step::of(Side::Server, RESPONSE.as_bytes()),
        Step::of(Side::Client, hi),
        Step::of(Side::Server, hi),
        Step::end(Side::Server, StreamEnd::Fin),
    ]
}

pub(super) fn result(
    behavior: Behavior,
    closing: ClosingVerdict,
    broken: Option<Level>,
) -> CaseResult {
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

pub(super) fn run(id: &str, ending: Ending) -> CaseRun {
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

pub(super) fn played(
    id: &str,
    behavior: Behavior,
    closing: ClosingVerdict,
    broken: Option<Level>,
) -> CaseRun {
    run(
        id,
        Ending::Played(Arc::new(result(behavior, closing, broken))),
    )
}

/// A case of each kind.
pub(super) fn cases() -> Vec<CaseRun> {
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

pub(super) const IDS: [&str; 6] = [
    "1.1.1",
    "1.1.2",
    "6.4.3",
    "7.1.6",
    "12.1.1",
    "hixie-76/echo",
];

/// The name of an agent that would do harm in a page, a terminal or a path.
pub(super) const HOSTILE: &str = "../<img src=x>\x1b[2J\u{202e}";

pub(super) fn agent(agent: &str) -> AgentRun {
    AgentRun {
        agent: agent.to_owned(),
        cases: cases(),
    }
}

pub(super) fn groups() -> BTreeMap<String, String> {
    let titles = [
        ("1.1", "Text"),
        ("6.4", "Fail fast"),
        ("hixie-76", "Of 2010"),
    ];
    titles
        .map(|(id, title)| (id.to_owned(), title.to_owned()))
        .into()
}

pub(super) fn plan(groups: &BTreeMap<String, String>, tested: Side) -> Plan<'_> {
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

/// A folder for one test.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("heirloom-reports-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn end(tally: &Tally) -> End<'_> {
    End {
        tally,
        seconds: 1.5,
        stopped: None,
        exit: Exit::Failed,
    }
}
