//! Access lines: one for each connection that has ended.

use heirloom::bytes::Escaped;
use heirloom::net::{AccessRecord, PeerAddress};
use jiff::Timestamp;
use serde::Serialize;

use super::print_line;
use super::report::json;

/// Access lines about connections to backends.
#[derive(Clone, Copy)]
pub(super) struct AccessLog {
    json: bool,
}

#[derive(Serialize)]
struct LogLine<'a> {
    time: String,
    client: String,
    version: Option<&'static str>,
    path: Option<&'a str>,
    backend: Option<&'a str>,
    status: Option<u16>,
    state: &'static str,
    received: Traffic,
    sent: Traffic,
    ms: u128,
    by: String,
    ended: &'static str,
    code: Option<u16>,
    tls: Option<String>,
}

#[derive(Serialize)]
struct Traffic {
    messages: u64,
    octets: u64,
}

impl From<heirloom::conn::Tally> for Traffic {
    fn from(tally: heirloom::conn::Tally) -> Traffic {
        Traffic {
            messages: tally.messages,
            octets: tally.octets,
        }
    }
}

impl AccessLog {
    /// Lines on standard output.
    pub(super) fn new(json: bool) -> AccessLog {
        AccessLog { json }
    }

    /// Notes a connection that has ended.
    pub(super) fn note(&self, record: &AccessRecord<'_>) {
        let line = LogLine::of(record);
        print_line(&if self.json {
            json(&line).expect("strings and numbers are valid in JSON")
        } else {
            line.text()
        });
    }
}

impl LogLine<'_> {
    fn of<'a>(record: &AccessRecord<'a>) -> LogLine<'a> {
        let summary = record.summary;
        let time = Timestamp::try_from(record.start).unwrap_or(Timestamp::UNIX_EPOCH);
        LogLine {
            time: format!("{time:.3}"),
            // A client that a header names has no known port.
            client: match record.client {
                PeerAddress::Tcp(address) if address.port() == 0 => address.ip().to_string(),
                client => client.to_string(),
            },
            version: summary.version.map(|v| v.name),
            path: record.path,
            backend: summary.target.as_ref().map(|target| target.server()),
            status: summary.target_status,
            state: match (summary.answered, summary.opened) {
                (_, true) => "open",
                (true, false) => "answered",
                (false, false) if summary.ended.what == "page" => "page",
                (false, false) if summary.ended.code.is_some() => "refused",
                (false, false) if summary.relayed => "http",
                (false, false) => "none",
            },
            received: summary.from_client.into(),
            sent: summary.to_client.into(),
            ms: record.duration.as_millis(),
            by: summary.ended.by.to_string(),
            ended: summary.ended.what,
            code: summary.ended.code,
            tls: record
                .tls
                .map(|tls| format!("{}/{}", tls.version, tls.suite)),
        }
    }

    fn text(&self) -> String {
        let path = self.path.map_or("-".to_owned(), |path| {
            Escaped::<1000>(path).to_string().replace(' ', "\\u{20}")
        });
        let code = self.code.map_or("-".to_owned(), |code| code.to_string());
        let status = self.status.map_or("-".to_owned(), |n| n.to_string());
        format!(
            "{} client={} version={} path={path} backend={} status={status} state={} \
             received={}/{} sent={}/{} ms={} by={} ended={} code={code} tls={}",
            self.time,
            self.client,
            self.version.unwrap_or("-"),
            self.backend.unwrap_or("-"),
            self.state,
            self.received.messages,
            self.received.octets,
            self.sent.messages,
            self.sent.octets,
            self.ms,
            self.by,
            self.ended,
            self.tls.as_deref().unwrap_or("-"),
        )
    }
}
