//! `heirloom probe`: the versions that a server accepts, each with a verdict and
//! a reason.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use heirloom::Side;
use heirloom::bytes::Escaped;
use heirloom::conn::{Config, Phase, SessionEvent};
use heirloom::error::{Located, Violation};
use heirloom::extension::{Compression, Exceeded, Mode};
use heirloom::frame::NORMAL;
use heirloom::net::dial::{Connection, DialError, DialOptions, KeyBody, Progress};
use heirloom::net::{ClientTls, Url};
use heirloom::version::{VERSIONS, Version, Versions};
use quick_junit::TestSuite;
use serde::Serialize;

use super::answer::{Answer, not_http};
use super::extensions::{self, Extensions};
use super::report::{Bad, junit_case, print_json, write_junit};
use super::request_args::RequestArgs;
use super::style::Style;
use super::trust::{self, OldServerArgs, TlsSeen, TrustArgs};
use super::units::milliseconds;
use super::verdict::{Place, Severity, Verdict, header_of};
use super::window::Window;
use super::{Exit, complain, hint, output, print_line};

/// Try each version with a server, and print a verdict and a reason for each.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: heirloom probe ws://127.0.0.1:8076/ --fail-on refused")]
pub(super) struct Args {
    /// The server, such as ws://127.0.0.1:8076/, wss://example.com/ or ws+unix:/run/chat.sock:/.
    #[arg(value_name = "URL", value_parser = super::request_args::url)]
    url: Url,
    /// The versions to ask for.
    #[arg(
        long,
        value_name = "LIST",
        default_value = "all",
        allow_hyphen_values = true,
        value_parser = super::version_list
    )]
    versions: Versions,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    old_server: OldServerArgs,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
    /// Write the verdicts as JUnit to this file too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Milliseconds that one attempt may take.
    #[arg(long, value_name = "MS", default_value_t = 5000,
          value_parser = milliseconds(1..=600_000))]
    timeout_ms: u64,
    /// Exit with 1 when a verdict is as bad as this or worse.
    #[arg(long, value_name = "SEVERITY", default_value = "wrong")]
    fail_on: Severity,
}

/// The outcome of one attempt.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timing: Option<&'static str>,
    #[serde(skip)]
    severity: Severity,
    /// A word for scripts: `speaks`, `refused`, `hangs`, `ends`, `resets`,
    /// `floods`, `unreachable`, or the stable code of a violation.
    #[serde(skip)]
    verdict: &'static str,
    reason: String,
    #[serde(skip)]
    place: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// The versions a refusal lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    lists: Option<String>,
    /// Extensions, where the version has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<Extensions>,
    /// What TLS has agreed on, where the URL is `wss`.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsSeen>,
    ms: u128,
}

/// The eight octets of hixie-76 in the three ways that clients and proxies
/// deliver them.
const TIMINGS: [(&str, KeyBody); 3] = [
    ("with the head", KeyBody::WithHead),
    ("150 ms later", KeyBody::After(Duration::from_millis(150))),
    ("after the 101", KeyBody::AfterResponse),
];

/// The verdict where the request cannot be written, or no server would take it.
const UNSENDABLE: &str = "unsendable";

/// Octets above which a server that was sent one message has sent too much.
const FLOOD: u64 = 1024 * 1024;

pub(super) fn run(args: &Args) -> Exit {
    if args.versions == Versions::NONE {
        complain(&"there is no version to ask for; see --versions");
        return Exit::Usage;
    }
    let tls = match args.trust.load(args.url.secure, args.old_server.given()) {
        Ok(tls) => tls,
        Err(exit) => return exit,
    };
    let style = Style::of(&std::io::stdout());
    let timeout = Duration::from_millis(args.timeout_ms);
    let offers = tls.as_ref().and_then(|_| trust::survey(&args.url, timeout));
    if !args.json && !output::is_quiet() {
        for offer in offers.iter().flatten() {
            print_line(&format!("{:<25} {offer}", "TLS"));
        }
    }
    let mut findings = Vec::new();
    let mut has_shown_tls = false;
    for version in VERSIONS.iter().filter(|v| args.versions.contains(v)) {
        let timings = if version.name == "hixie-76" {
            TIMINGS.map(|(name, body)| (Some(name), body)).to_vec()
        } else {
            vec![(None, KeyBody::WithHead)]
        };
        for (name, body) in timings {
            let mut finding = attempt(args, tls.as_ref(), version, name, body);
            if let Some(seen) = finding.tls.as_mut() {
                seen.offers.clone_from(&offers);
            }
            let seen = finding
                .tls
                .as_ref()
                .filter(|_| !args.json && !has_shown_tls);
            if let Some(seen) = seen.filter(|_| !output::is_quiet()) {
                has_shown_tls = true;
                print_line(&format!("{:<25} {seen}", "TLS"));
            }
            if args.json {
                print_json(&finding.as_json());
            } else if !output::is_quiet() || finding.severity >= args.fail_on {
                print_line(&finding.line(style));
            }
            let ended = finding.severity == Severity::Error;
            findings.push(finding);
            // Of a server that is not there the others would find the same.
            if ended || output::is_over() && args.junit.is_none() {
                return finish(args, &findings);
            }
        }
    }
    finish(args, &findings)
}

fn finish(args: &Args, findings: &[Finding]) -> Exit {
    if let Some(path) = &args.junit {
        if let Err(exit) = write_junit(path, "probe", [suite(args, findings)]) {
            return exit;
        }
    }
    let is = |verdict| findings.iter().all(|f| f.verdict == verdict);
    if findings.iter().any(|f| f.verdict == "unreachable") {
        Exit::Unreachable
    } else if findings.iter().any(|f| f.verdict == UNSENDABLE) {
        Exit::Usage
    } else if findings.iter().any(|f| f.severity == Severity::Error) {
        Exit::TimedOut
    } else if findings.iter().any(|f| f.severity >= args.fail_on) {
        Exit::Failed
    } else if is("hangs") {
        Exit::TimedOut
    } else if findings.iter().all(|f| f.severity != Severity::Good) {
        Exit::Refused
    } else {
        Exit::Good
    }
}

impl Finding {
    fn as_json(&self) -> impl Serialize + '_ {
        #[derive(Serialize)]
        struct ProbeLine<'f> {
            #[serde(flatten)]
            finding: &'f Finding,
            #[serde(flatten)]
            verdict: Verdict,
        }
        let timing = self.timing.map(|t| t.replace(' ', "-"));
        let timing = timing.map(|t| format!("/{t}")).unwrap_or_default();
        ProbeLine {
            finding: self,
            verdict: Verdict {
                id: Some(format!("{}{timing}", self.version)),
                title: Some(self.name()),
                verdict: self.verdict,
                severity: self.severity,
                place: self.place.clone(),
            },
        }
    }

    /// The version, and when the eight octets of hixie-76 were sent.
    fn name(&self) -> String {
        let timing = self.timing.map(|t| format!(" ({t})")).unwrap_or_default();
        format!("{}{timing}", self.version)
    }

    fn line(&self, style: Style) -> String {
        let verdict = format!("{:<9}", self.verdict);
        let verdict = match self.severity {
            Severity::Good => style.good(&verdict),
            Severity::Refused | Severity::Unproved => style.note(&verdict),
            Severity::Silent | Severity::Wrong | Severity::Error => style.bad(&verdict),
        };
        let name = self.name();
        format!("{name:<25} {verdict} {}", self.reason)
    }
}

fn suite(args: &Args, findings: &[Finding]) -> TestSuite {
    let mut suite = TestSuite::new(format!("probe {}", args.url));
    // Where no version is spoken, no refusal and no silence is good.
    let spoken = findings.iter().any(|f| f.severity == Severity::Good);
    for finding in findings {
        let bad = match finding.severity {
            Severity::Good => None,
            Severity::Error => Some(Bad::Error(finding.verdict)),
            severity if severity >= args.fail_on => Some(Bad::Failure(finding.verdict)),
            _ if !spoken => Some(Bad::Error(finding.verdict)),
            _ => None,
        };
        let bad = bad.map(|bad| (bad, finding.reason.clone()));
        let name = finding.name();
        let time = Duration::from_millis(u64::try_from(finding.ms).unwrap_or(u64::MAX));
        let mut case = junit_case("probe", name, bad, time);
        case.set_system_out(finding.reason.clone());
        suite.add_test_case(case);
    }
    suite
}

fn attempt(
    args: &Args,
    tls: Option<&ClientTls>,
    version: &'static Version,
    timing: Option<&'static str>,
    body: KeyBody,
) -> Finding {
    let start = Instant::now();
    let deadline = start + Duration::from_millis(args.timeout_ms);
    // All that is sent is compressed, where that is agreed on: so it is tried too.
    let compression = Compression::default()
        .with_mode(Mode::PerConnection)
        .with_threshold(0);
    let options = DialOptions::default()
        .with_config(Config::default().with_compression(compression))
        .with_key_body(body)
        .with_tls(tls.cloned());
    let dialled = args.request.with(&args.url, |request| {
        Connection::dial(&args.url, version, request, options, deadline)
    });
    let mut probe = Probe {
        version,
        status: None,
        lists: None,
        answer: Answer::default(),
        violation: None,
        opened: false,
        subprotocol: None,
        extensions: Extensions::default(),
        window: Window::default(),
        head: Vec::new(),
        reaction: None,
        own: false,
        closed: false,
    };
    let mut tls = None;
    let (severity, verdict, reason) = match dialled {
        Ok(mut client) => {
            if let Some(session) = client.tls() {
                tls = Some(TlsSeen::of(&session));
            }
            probe.extensions = Extensions::of_request(client.unsent());
            probe.converse(&mut client, deadline)
        }
        Err(DialError::TimedOut) => {
            let reason = "the host does not answer at all in time (--timeout-ms)".to_owned();
            (Severity::Error, "hangs", reason)
        }
        Err(error @ DialError::TlsTimedOut) => {
            let reason = format!("{error} (--timeout-ms)");
            (Severity::Error, "hangs", reason)
        }
        Err(error @ DialError::Request(_)) => (Severity::Error, UNSENDABLE, error.to_string()),
        Err(error) => {
            let reason = format!("{error}{}", hint::of_dial(&error));
            (Severity::Error, "unreachable", reason)
        }
    };
    Finding {
        version: version.name,
        timing,
        severity,
        verdict,
        reason,
        place: probe.place(severity),
        status: probe.status,
        lists: probe.lists,
        extensions: Some(probe.extensions).filter(Extensions::are_named),
        tls,
        ms: start.elapsed().as_millis(),
    }
}

type ProbeConclusion = (Severity, &'static str, String);

/// What is learnt in one attempt.
struct Probe {
    version: &'static Version,
    status: Option<u16>,
    lists: Option<String>,
    answer: Answer,
    violation: Option<Located<Violation>>,
    opened: bool,
    subprotocol: Option<String>,
    extensions: Extensions,
    /// How far back what is compressed may refer.
    window: Window,
    /// The head of the response.
    head: Vec<u8>,
    /// How the server answered our question.
    reaction: Option<&'static str>,
    /// The server sent a message of its own.
    own: bool,
    closed: bool,
}

/// The message that we send; an echo server sends it back.
const QUESTION: &str = "heirloom probe: grüße";

impl Probe {
    fn converse(&mut self, client: &mut Connection, deadline: Instant) -> ProbeConclusion {
        // The handshake.
        while client.conn().phase() == Phase::Handshake {
            if let Some(conclusion) = self.wait(client, deadline) {
                return conclusion;
            }
        }
        if let Some(conclusion) = self.wrong(client, deadline) {
            return conclusion;
        }
        // An echo, or a pong where the version has pings. A server that sends
        // neither gets a second only: not every server echoes.
        let sent = client.with_conn(|conn, out| {
            if self.closed {
                return Ok(());
            }
            let sent = conn.send(QUESTION.into(), out);
            if self.version.has_ping() {
                sent.and_then(|()| conn.ping(b"heirloom", out))
            } else {
                sent
            }
        });
        if let Err(error) = sent {
            return (Severity::Wrong, "ends", error.to_string());
        }
        let moment = deadline.min(Instant::now() + Duration::from_secs(1));
        while self.reaction.is_none() && !self.closed {
            match self.wait(client, moment) {
                Some((_, "hangs", _)) => break,
                Some((Severity::Silent, verdict, reason)) => {
                    let reason = format!("the handshake is right, and then {reason}");
                    return (Severity::Silent, verdict, reason);
                }
                Some(conclusion) => return conclusion,
                None => {}
            }
            if let Some(conclusion) = self.wrong(client, deadline) {
                return conclusion;
            }
        }
        client.with_conn(|conn, out| conn.close(NORMAL, "", out));
        let soon = deadline.min(Instant::now() + Duration::from_secs(1));
        while client.conn().phase() == Phase::Closing {
            let waited = self.wait(client, soon);
            if let Some(conclusion) = self.wrong(client, deadline) {
                return conclusion;
            }
            match waited {
                None => {}
                Some(conclusion @ (Severity::Wrong, ..)) => return conclusion,
                Some(_) => break,
            }
        }
        let is_silent = self.reaction.is_none() && !self.own && !self.closed;
        if let (true, Some(twin)) = (is_silent, self.version.twin()) {
            let reason = format!(
                "the handshake is right, but that of {twin} is the same, and no echo and no pong arrived within a second"
            );
            return (Severity::Silent, "hangs", reason);
        }
        let how = match (self.reaction, self.own, self.closed) {
            (Some(how), ..) => how,
            (None, true, _) => "it answers with a message of its own",
            (None, false, true) => "it closes at once",
            (None, false, false) => "no echo and no pong arrived within a second",
        };
        let chosen = self
            .subprotocol
            .as_ref()
            .map(|name| format!(", subprotocol {}", Escaped::<60>(name)))
            .unwrap_or_default();
        let proof = if self.version.name == "hixie-75" {
            "origin and location are right (nothing is proved in this version)"
        } else {
            "the proof is right"
        };
        let extensions = match self.extensions.are_named() {
            true => format!(", {}", self.extensions.outcome()),
            false => String::new(),
        };
        let reason = format!("{proof}{extensions}{chosen}; {how}");
        (Severity::Good, "speaks", reason)
    }

    /// One step; a conclusion where there is nothing more to wait for.
    fn wait(&mut self, client: &mut Connection, deadline: Instant) -> Option<ProbeConclusion> {
        let mut spans = Vec::new();
        let progress = client.step(Some(deadline), &mut spans, &mut |event, _, _| {
            self.on_event(event);
        });
        self.window.look(&spans, client);
        let silent = |verdict, reason: &str| Some((Severity::Silent, verdict, reason.to_owned()));
        if client.received() > FLOOD {
            let reason = "more than 1 MiB arrived in answer to one short message".to_owned();
            return Some((Severity::Wrong, "floods", reason));
        }
        match progress {
            Progress::TimedOut if self.answered() => silent(
                "hangs",
                "the 101 arrived and the sixteen octets did not: a proxy holds back the eight octets \
                 of the request, or the server waits for more",
            ),
            Progress::TimedOut => silent("hangs", "no answer arrived in time (--timeout-ms)"),
            Progress::Ended(_) if self.answered() => silent(
                "ends",
                "the server ended the connection between its 101 and the end of the handshake",
            ),
            Progress::Ended(_) if client.received() > 0 => silent(
                "ends",
                "the server ended the connection before its response was complete",
            ),
            Progress::Ended(_) => {
                silent("ends", "the server ended the connection without an answer")
            }
            Progress::Broken(error) => silent("resets", &format!("the connection broke: {error}")),
            _ => None,
        }
    }

    /// Where the server is wrong, if it is.
    fn place(&self, severity: Severity) -> Place {
        if severity == Severity::Good {
            return Place::default();
        }
        let mut place = Place {
            side: Some(Side::Server.name()),
            ..Place::default()
        };
        if let Some(exceeded) = self.window.exceeded {
            place.field = Some("window".to_owned());
            place.expected = Some(exceeded.window.to_string());
            place.seen = Some(exceeded.distance.to_string());
        } else if let Some(located) = &self.violation {
            let violation = located.error;
            place.octet = Some(located.at.start);
            if let Violation::ResponseStatus { status } = violation {
                place.field = Some("status".to_owned());
                place.expected = Some("101".to_owned());
                place.seen = Some(status.to_string());
            } else {
                let header = header_of(violation, Some(self.version));
                let part = if self.opened { "frame" } else { "head" };
                place.field = Some(header.unwrap_or(part).to_owned());
                place.expected = Some(match violation {
                    Violation::ExtensionUnexpected | Violation::ExtensionInvalid { .. } => {
                        self.extensions.expected()
                    }
                    _ => violation.to_string(),
                });
                place.seen = header
                    .and_then(|name| extensions::value_of(&self.head, name))
                    .map(|value| extensions::shown(&value));
            }
        }
        place
    }

    fn answered(&self) -> bool {
        self.status == Some(101) && !self.opened
    }

    fn on_event(&mut self, event: Result<SessionEvent<'_>, Located<Violation>>) {
        match event {
            Ok(SessionEvent::Response(response)) => {
                self.status = Some(response.status());
                self.answer = Answer::of(&response);
                let lists = response.head().get("Sec-WebSocket-Version");
                self.lists = lists
                    .and_then(|h| h.text())
                    .map(|text| Escaped::<60>(text).to_string());
                self.subprotocol = response.subprotocol().map(str::to_owned);
                self.window.agreed(response.compression());
                self.head = response.head().raw().to_vec();
                self.extensions.answer(&self.head);
            }
            Ok(SessionEvent::Open) => self.opened = true,
            Ok(SessionEvent::Message(message)) => {
                if message.as_text() == Some(QUESTION) {
                    self.reaction = Some("it echoes");
                } else {
                    self.own = true;
                }
            }
            Ok(SessionEvent::Pong(_)) => {
                self.reaction.get_or_insert("it answers a ping");
            }
            Ok(SessionEvent::Close(_)) => self.closed = true,
            Ok(_) => {}
            Err(located) => self.violation = Some(located),
        }
    }

    /// What is wrong, if anything is.
    fn wrong(&self, client: &mut Connection, deadline: Instant) -> Option<ProbeConclusion> {
        if let Some(exceeded) = self.window.exceeded {
            let extensions = self.extensions.outcome();
            let reason = format!("{exceeded}: {extensions}");
            return Some((Severity::Wrong, Exceeded::CODE, reason));
        }
        let violation = self.violation.as_ref()?.error;
        let Violation::ResponseStatus { status } = violation else {
            let start = match self.status {
                None => not_http(client),
                Some(_) => String::new(),
            };
            let fault = self.extensions.fault(violation);
            let reason = format!("{violation}{fault}{start}");
            return Some((Severity::Wrong, violation.code(), reason));
        };
        let lists = self
            .lists
            .as_ref()
            .map(|lists| format!(", which lists {lists}"))
            .unwrap_or_default();
        let soon = deadline.min(Instant::now() + Duration::from_millis(300));
        let says = self.answer.says::<160>(client, soon, ": ");
        let asks = self.answer.asks();
        let reason = format!("HTTP status {status}{lists}{asks}{says}");
        Some((Severity::Refused, "refused", reason))
    }
}
