//! Numbers in the text format of Prometheus, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::app::ClosedBy;
use super::metrics::MetricsSnapshot;
use super::route::RouteTable;
use crate::version::Version;

/// What stands for a version or route that is not known.
const NONE: &str = "none";
/// Names of one certificate that its label holds, and characters of them.
const NAMES: usize = 4;
const NAME_CHARACTERS: usize = 200;

/// A page of numbers in the text format of Prometheus, version 0.0.4.
///
/// ```
/// use heirloom::net::MetricsText;
///
/// let mut text = MetricsText::default();
/// text.counter("tea_cups_total", "Cups of tea.").sample(&[("tea", "oolong \"1\"")], 3);
/// assert_eq!(
///     text.as_str(),
///     "# HELP tea_cups_total Cups of tea.\n# TYPE tea_cups_total counter\n\
///      tea_cups_total{tea=\"oolong \\\"1\\\"\"} 3\n"
/// );
/// ```
#[derive(Clone, Debug, Default)]
pub struct MetricsText(String);

/// One metric of a page, with its samples.
#[derive(Debug)]
pub struct MetricFamily<'t> {
    text: &'t mut String,
    name: &'static str,
}

impl MetricsText {
    /// The media type of the page.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Begins a metric that only grows. `name` must be one of Prometheus (letters,
    /// digits, `_` and `:`), be new on this page, and end in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &str) -> MetricFamily<'_> {
        self.family(name, "counter", help)
    }

    /// Begins a metric that grows and shrinks.
    pub fn gauge(&mut self, name: &'static str, help: &str) -> MetricFamily<'_> {
        self.family(name, "gauge", help)
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> MetricFamily<'_> {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let text = &mut self.0;
        push(
            text,
            format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
        );
        MetricFamily { text, name }
    }

    /// The page.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The page.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl MetricFamily<'_> {
    /// Adds a sample. Its labels must differ from those of the other samples; their
    /// values may hold anything.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        push(self.text, format_args!("{}", self.name));
        for (index, (name, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            push(
                self.text,
                format_args!("{before}{name}=\"{}\"", escaped(value)),
            );
        }
        let after = if labels.is_empty() { "" } else { "}" };
        push(self.text, format_args!("{after} {value}\n"));
        self
    }
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    // A string takes everything.
    let _ = text.write_fmt(what);
}

fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

/// Seconds since 1970, with milliseconds.
fn seconds(time: SystemTime) -> String {
    let (sign, since) = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => ("", since),
        Err(before) => ("-", before.duration()),
    };
    format!("{sign}{}.{:03}", since.as_secs(), since.subsec_millis())
}

fn name_of(version: Option<&'static Version>) -> &'static str {
    version.map_or(NONE, |version| version.name)
}

impl MetricsText {
    /// Adds all that a server has counted.
    pub fn add_server(&mut self, all: &MetricsSnapshot) {
        self.add_connections(all);
        self.add_traffic(all);
        self.add_backends(all);
        self.add_tls(all);
        self.gauge(
            "heirloom_memory_held_bytes",
            "Memory that connections hold, in steps of 4 KiB for each.",
        )
        .sample(&[], all.memory.held);
        self.gauge(
            "heirloom_memory_limit_bytes",
            "Memory that connections may hold.",
        )
        .sample(&[], all.memory.limit);
        self.gauge(
            "heirloom_draining",
            "1 while the server is being stopped, 0 before.",
        )
        .sample(&[], u8::from(all.is_draining));
        self.gauge("heirloom_workers", "Threads that serve connections.")
            .sample(&[], all.workers);
        self.gauge(
            "heirloom_workers_silent",
            "Workers that did not answer in time; their last numbers are given.",
        )
        .sample(&[], all.silent_workers);
    }

    /// Adds what is known of each server that the routes of this table lead to.
    pub fn add_targets(&mut self, table: &RouteTable) {
        // Routes and servers may be named twice.
        let mut servers: BTreeMap<(&str, &str), (bool, u64, u64)> = BTreeMap::new();
        for (route, backend) in table.named_backends() {
            for target in backend.targets() {
                let server = servers.entry((route, target.server)).or_default();
                server.0 |= !target.is_resting;
                server.1 += target.connects;
                server.2 += target.failures;
            }
        }
        let mut family = self.gauge(
            "heirloom_backend_server_up",
            "0 for a server of a backend that rests, because it could not be reached.",
        );
        for ((route, server), (is_up, ..)) in &servers {
            family.sample(&[("route", route), ("server", server)], u8::from(*is_up));
        }
        let mut family = self.counter(
            "heirloom_backend_server_connects_total",
            "How often a server of a backend was reached, by clients and checks.",
        );
        for ((route, server), (_, connects, _)) in &servers {
            family.sample(&[("route", route), ("server", server)], connects);
        }
        let mut family = self.counter(
            "heirloom_backend_server_failures_total",
            "How often a server of a backend could not be reached, by clients and checks.",
        );
        for ((route, server), (_, _, failures)) in &servers {
            family.sample(&[("route", route), ("server", server)], failures);
        }
    }

    fn add_connections(&mut self, all: &MetricsSnapshot) {
        let mut family = self.gauge(
            "heirloom_connections",
            "Connections of clients that are there now.",
        );
        for row in &all.connections {
            let labels = [
                ("version", name_of(row.version)),
                ("state", row.state.name()),
                ("route", row.route.as_deref().unwrap_or(NONE)),
            ];
            family.sample(&labels, row.count);
        }
        self.counter(
            "heirloom_connections_accepted_total",
            "Connections of clients that were accepted.",
        )
        .sample(&[], all.accepted);
        self.counter(
            "heirloom_connections_dropped_total",
            "Connections of clients that were ended without an answer, for want of any place.",
        )
        .sample(&[], all.dropped);
        let mut family = self.counter(
            "heirloom_connections_closed_total",
            "Connections of clients that have ended, by end and reason.",
        );
        for row in &all.closed {
            family.sample(&[("by", row.by.name()), ("reason", row.what)], row.count);
        }
        let mut family = self.counter(
            "heirloom_handshakes_total",
            "Opening handshakes, by version and by 101, the refusal's code, or how they broke off.",
        );
        for row in &all.handshakes {
            let labels = [("version", name_of(row.version)), ("code", row.code)];
            family.sample(&labels, row.count);
        }
        self.counter(
            "heirloom_http_pages_total",
            "Requests of plain HTTP that the server answered itself.",
        )
        .sample(&[], all.pages);
        self.counter(
            "heirloom_http_passed_total",
            "Requests of plain HTTP that went to a backend.",
        )
        .sample(&[], all.passed);
    }

    fn add_traffic(&mut self, all: &MetricsSnapshot) {
        let mut family = self.counter(
            "heirloom_messages_total",
            "Messages between clients and backends, received from clients and sent to them.",
        );
        for row in &all.traffic {
            let version = ("version", name_of(row.version));
            let (from, to) = (row.from_clients, row.to_clients);
            family.sample(&[version, ("direction", "received")], from.messages);
            family.sample(&[version, ("direction", "sent")], to.messages);
        }
        let mut family = self.counter(
            "heirloom_payload_bytes_total",
            "Octets of their payload, as they were received.",
        );
        for row in &all.traffic {
            let version = ("version", name_of(row.version));
            let (from, to) = (row.from_clients, row.to_clients);
            family.sample(&[version, ("direction", "received")], from.octets);
            family.sample(&[version, ("direction", "sent")], to.octets);
        }
    }

    fn add_backends(&mut self, all: &MetricsSnapshot) {
        self.counter(
            "heirloom_backend_dials_total",
            "How often a backend was dialled for a client.",
        )
        .sample(&[], all.backends.dials);
        self.counter(
            "heirloom_backend_connects_total",
            "How often a backend was connected.",
        )
        .sample(&[], all.backends.connected);
        let mut family = self.counter(
            "heirloom_backend_failures_total",
            "Clients that were refused for the sake of their backend, by code.",
        );
        for (code, count) in &all.backends.failures {
            family.sample(&[("code", code)], count);
        }
    }

    fn add_tls(&mut self, all: &MetricsSnapshot) {
        let mut family = self.counter(
            "heirloom_tls_handshakes_total",
            "Opening handshakes of TLS with clients that were finished.",
        );
        for (version, count) in &all.tls {
            family.sample(&[("tls_version", version)], count);
        }
        let mut family = self.counter(
            "heirloom_tls_failures_total",
            "Connections of clients that ended in TLS, by code.",
        );
        let mut rows: Vec<(&str, u64)> = Vec::new();
        for row in &all.closed {
            let is_of_tls = row.what.starts_with("tls-") && row.by != ClosedBy::Backend;
            match rows.last_mut().filter(|last| last.0 == row.what) {
                _ if !is_of_tls => {}
                // They are sorted by it.
                Some(last) => last.1 += row.count,
                None => rows.push((row.what, row.count)),
            }
        }
        for (code, count) in rows {
            family.sample(&[("code", code)], count);
        }
        let mut family = self.gauge(
            "heirloom_certificate_expiry_timestamp_seconds",
            "When a certificate expires, in seconds since 1970.",
        );
        for (index, certificate) in all.certificates.iter().enumerate() {
            let names: Vec<&str> = certificate.names.iter().map(|n| &**n).take(NAMES).collect();
            let names: String = names.join(" ").chars().take(NAME_CHARACTERS).collect();
            // Two may be for the same names.
            let number = (index + 1).to_string();
            family.sample(
                &[("certificate", &number), ("names", &names)],
                seconds(certificate.not_after),
            );
        }
    }
}
