//! Opening handshakes that were specified or recorded, as cases: requests with what
//! a server must conclude from them, and responses with what a client must.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use heirloom::Side;
use heirloom::conform::{Behavior, CaseResult, ClosingVerdict, HowClosed, PlayOptions};
use heirloom::net::dial::DialError;
use heirloom::net::replay::{Faults, ReplayConnection};
use heirloom::vector::{Difference, ExpectedResult, File, Level, Step, Vector};

use super::target::Server;
use crate::cli::replay::{self, Manner, PlayOutcome, Played};

/// Files of vectors that hold opening handshakes only.
const FILES: [&str; 29] = [
    include_str!("../../../vectors/hixie-75/answers.json"),
    include_str!("../../../vectors/hixie-75/bad-requests.json"),
    include_str!("../../../vectors/hixie-76/answers.json"),
    include_str!("../../../vectors/hixie-76/bad-keys.json"),
    include_str!("../../../vectors/hixie-76/bad-requests.json"),
    include_str!("../../../vectors/hixie-76/real-clients.json"),
    include_str!("../../../vectors/hybi-03/answers.json"),
    include_str!("../../../vectors/hybi-03/bad-requests.json"),
    include_str!("../../../vectors/hybi-04/answers.json"),
    include_str!("../../../vectors/hybi-04/bad-requests.json"),
    include_str!("../../../vectors/hybi-05/answers.json"),
    include_str!("../../../vectors/hybi-05/bad-requests.json"),
    include_str!("../../../vectors/hybi-05/real-clients.json"),
    include_str!("../../../vectors/hybi-06/answers.json"),
    include_str!("../../../vectors/hybi-06/bad-requests.json"),
    include_str!("../../../vectors/hybi-07/answers.json"),
    include_str!("../../../vectors/hybi-07/bad-requests.json"),
    include_str!("../../../vectors/hybi-07/real-clients.json"),
    include_str!("../../../vectors/hybi-08/answers.json"),
    include_str!("../../../vectors/hybi-08/bad-requests.json"),
    include_str!("../../../vectors/hybi-08/real-clients.json"),
    include_str!("../../../vectors/none/drafts.json"),
    include_str!("../../../vectors/none/not-http.json"),
    include_str!("../../../vectors/none/numbered-keys.json"),
    include_str!("../../../vectors/none/smuggling.json"),
    include_str!("../../../vectors/none/versions.json"),
    include_str!("../../../vectors/rfc6455/answers.json"),
    include_str!("../../../vectors/rfc6455/bad-requests.json"),
    include_str!("../../../vectors/rfc6455/real-clients.json"),
];

/// What is before the name of a vector in that of its case.
pub(super) const PREFIX: &str = "vectors/";
/// The version of vectors that are of none, as far as cases say the same.
const VERSION_OF_NONE: &str = "rfc6455";

/// One of them.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) level: Level,
    pub(super) section: String,
    /// The side that must conclude something.
    pub(super) tests: Side,
    pub(super) vector: Vector,
}

/// All of them that say something of every implementation.
pub(super) fn all() -> Vec<Recorded> {
    let files = FILES.iter().map(|json| match File::read(json.as_bytes()) {
        Ok(file) => file.vectors,
        Err(error) => panic!("the vectors of this program cannot be read: {error}"),
    });
    files.flatten().filter_map(Recorded::of).collect()
}

impl Recorded {
    /// The case that this vector is; `None` where no document asks for it.
    fn of(vector: Vector) -> Option<Recorded> {
        let tests = if vector.expect.server.is_some() {
            Side::Server
        } else {
            Side::Client
        };
        let conclusion = vector.expect.of(tests)?;
        let is_asked_for = conclusion.result != ExpectedResult::Either
            && !vector.unfinished
            && !vector.secure
            && vector.config.is_none()
            && vector.source.kind != "capture"
            && vector.expect.messages.is_empty()
            && !vector.flags.iter().any(|flag| flag == "Lenient");
        let level = conclusion.level();
        let is_only_ours = !matches!(level, Level::Must | Level::Should);
        if !is_asked_for || is_only_ours {
            return None;
        }
        Some(Recorded {
            id: format!("{PREFIX}{}", vector.id),
            title: vector.title.clone().unwrap_or_else(|| vector.id.clone()),
            level,
            section: conclusion
                .section
                .clone()
                .unwrap_or_else(|| vector.source.reference.clone()),
            tests,
            vector,
        })
    }

    /// Whether there is a case about the same thing, which looks at more: what breaks
    /// it would count twice. It has the same name, behind `request-` or `response-`.
    pub(super) fn is_said_by(&self, ids: &BTreeSet<&str>) -> bool {
        let Some((version, name)) = self.vector.id.split_once('/') else {
            return false;
        };
        let version = match version {
            "none" => VERSION_OF_NONE,
            version => version,
        };
        let same = match self.tests {
            Side::Server => format!("{version}/request-{name}"),
            Side::Client => {
                let name = name.strip_prefix("answer-").unwrap_or(name);
                format!("{version}/response-{name}")
            }
        };
        ids.contains(same.as_str())
    }

    /// Plays the client of it to a server.
    pub(super) fn play_to_server(&self, server: &Server<'_>) -> Result<CaseResult, DialError> {
        let started = Instant::now();
        let manner = Manner {
            host: Some(server.url.clone()),
            target: Some(server.url.target.clone()),
            secure: server.url.secure,
            ..manner(server.patience)
        };
        let outcome = replay::play_to_server(&self.vector, &server.target, &manner);
        self.result(outcome, started)
    }

    /// Plays the server of it to a client, of which these octets have arrived.
    pub(super) fn play_to_client(
        &self,
        connection: ReplayConnection,
        received: &[u8],
        options: &PlayOptions,
    ) -> CaseResult {
        let started = Instant::now();
        let manner = manner(options.opening);
        let outcome = replay::play_to_client(&self.vector, connection, received, &manner);
        match self.result(outcome, started) {
            Ok(result) => result,
            Err(_) => unreachable!("the client is connected"),
        }
    }

    /// Whether the opening handshake was finished: it was to be, and was; or a server
    /// upgrades what it must refuse.
    fn was_open(&self, behavior: Behavior, seen: &[u8]) -> bool {
        let expected = self.vector.expect.of(self.tests);
        let is_accepted = expected.is_some_and(|own| own.result == ExpectedResult::Accept);
        match behavior {
            Behavior::Ok => is_accepted,
            Behavior::Failed => {
                self.tests == Side::Server && !is_accepted && seen.starts_with(b"HTTP/1.1 101")
            }
            _ => false,
        }
    }

    fn result(&self, outcome: PlayOutcome, started: Instant) -> Result<CaseResult, DialError> {
        let (mut played, behavior) = match outcome {
            PlayOutcome::Unreachable(error) => return Err(error),
            PlayOutcome::Skipped(why) | PlayOutcome::NotRun(why) | PlayOutcome::NoClient(why) => {
                let failures = vec![why.into()];
                let played = Played {
                    failures,
                    ..Played::default()
                };
                (played, Behavior::Unimplemented)
            }
            PlayOutcome::Played(played) if !played.failures.is_empty() => {
                (played, Behavior::Failed)
            }
            // As in the cases of handshakes: a status would tell why.
            PlayOutcome::Played(played) if played.is_unanswered => (played, Behavior::NonStrict),
            PlayOutcome::Played(played) => (played, Behavior::Ok),
        };
        let broken = match behavior {
            Behavior::Failed => Some(self.level),
            Behavior::NonStrict => {
                let what = Difference::from("the server ends TCP without an answer".to_owned());
                let what = what.in_field("handshake");
                let what = what.between("a status from 400 to 599", "the end of TCP");
                played.failures.push(what);
                Some(Level::Should)
            }
            _ => None,
        };
        let octets = (played.octets as u64, played.sent.len() as u64);
        let is_cut = played.seen.len() < played.octets;
        let closed = HowClosed {
            was_open: self.was_open(behavior, &played.seen),
            ..HowClosed::default()
        };
        // One side waits for the other here, so each has spoken once.
        let mut conversation = vec![
            Step::of(self.tests.peer(), &played.sent),
            Step::of(self.tests, &played.seen),
        ];
        if self.tests == Side::Client {
            conversation.reverse();
        }
        Ok(CaseResult {
            behavior,
            closing: ClosingVerdict::Informational,
            broken,
            difference: played.failures.into_iter().next(),
            closing_difference: None,
            closed,
            section: self.section.clone(),
            conversation,
            is_cut,
            octets,
            duration: started.elapsed(),
        })
    }
}

fn manner(timeout: Duration) -> Manner {
    Manner {
        timeout,
        faults: Faults::default(),
        is_exact: false,
        ignored_headers: Vec::new(),
        host: None,
        target: None,
        secure: false,
    }
}
