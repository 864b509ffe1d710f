//! A gateway that runs in the test, and what its clients and backends need.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use heirloom::conn::Tally;
use heirloom::net::{ClosedBy, Networks, PeerAddress, Router, Server, Settings, Site, gateway};
use heirloom::{Config, Version, Versions};

use crate::support::PATIENCE;
use crate::support::backend::{Backend, Served};
use crate::support::peer::{Peer, RFC, Speaks, request};
use crate::support::server::Running;

pub(crate) const HIXIE_75: Speaks = Speaks::Hixie75;

pub(crate) const HIXIE_76: Speaks = Speaks::Hixie76;

pub(crate) const ALL: [Speaks; 5] = [
    HIXIE_75,
    HIXIE_76,
    Speaks::Number(7),
    Speaks::Number(8),
    RFC,
];

pub(crate) fn milliseconds(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Half of it is the time in which a client is to give a sign of life, on a busy
/// machine too.
pub(crate) const IDLE_MS: u64 = 2_000;

/// For so long clients live on.
pub(crate) const LONGER: Duration = Duration::from_millis(3_000);

/// What the gateway's log was told of a connection.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) client: SocketAddr,
    pub(crate) path: Option<String>,
    pub(crate) version: Option<&'static str>,
    pub(crate) answered: bool,
    pub(crate) opened: bool,
    pub(crate) relayed: bool,
    pub(crate) by: ClosedBy,
    pub(crate) what: &'static str,
    pub(crate) code: Option<u16>,
    pub(crate) from_client: Tally,
    pub(crate) to_client: Tally,
    /// The server of the backend, and what it answered.
    pub(crate) target: Option<String>,
    pub(crate) status: Option<u16>,
}

/// A gateway that runs.
pub(crate) struct Gate {
    running: Running,
    seen: Receiver<Seen>,
}

impl std::ops::Deref for Gate {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl Gate {
    /// What was seen of the next connection that ends.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("a connection ends")
    }

    /// Octets that its connections hold now, counted in steps of 4 KiB.
    pub(crate) fn held(&self) -> usize {
        let memory = self.running.metrics.snapshot().memory;
        memory.held.try_into().unwrap()
    }
}

/// What can be set of a gateway.
pub(crate) struct Set {
    pub(crate) config: Config,
    pub(crate) settings: Settings,
    pub(crate) backend: heirloom::net::Backend,
    pub(crate) proxies: Networks,
}

pub(crate) fn gate(backend: &Backend) -> Gate {
    gate_with(&backend.url(), |_| {})
}

/// All versions are on, and one worker serves all.
pub(crate) fn gate_with(to: &str, set: impl FnOnce(&mut Set)) -> Gate {
    let to: heirloom::net::Url = to.parse().unwrap();
    let version = Version::named("rfc6455").unwrap();
    let mut all = Set {
        config: Config::default().with_versions(Versions::ALL),
        settings: Settings::default(),
        backend: heirloom::net::Backend::new(to, version),
        proxies: Networks::default(),
    };
    set(&mut all);
    let backend = all.backend.with_config(all.config.clone());
    let router = Router::new(gateway::routes(all.config, backend));
    let loopback = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(&[loopback], 1, router.config())
        .unwrap()
        .with_settings(all.settings)
        .accept_proxy(all.proxies);
    let (tell, seen) = channel();
    let running = Running::server(server, move || {
        let tell = tell.clone();
        Site::new(&router).with_access_log(move |record| {
            let summary = record.summary;
            let _ = tell.send(Seen {
                client: match record.client {
                    PeerAddress::Tcp(address) => address,
                    PeerAddress::Unix => panic!("nothing comes by a Unix socket"),
                },
                path: record.path.map(str::to_owned),
                version: summary.version.map(|v| v.name),
                answered: summary.answered,
                opened: summary.opened,
                relayed: summary.relayed,
                by: summary.ended.by,
                what: summary.ended.what,
                code: summary.ended.code,
                from_client: summary.from_client,
                to_client: summary.to_client,
                target: summary.target.as_ref().map(|t| t.server().to_owned()),
                status: summary.target_status,
            });
        })
    });
    Gate { running, seen }
}

/// A client and the backend's end of the same bridge.
pub(crate) fn bridge(gate: &Gate, backend: &Backend, speaks: Speaks) -> (Peer, Served) {
    let mut client = Peer::connect(gate.address);
    client.send(&request(speaks, "/"));
    let served = backend.open();
    client.agree(speaks);
    (client, served)
}

/// A request with these header lines in front of its last ones.
pub(crate) fn request_with(speaks: Speaks, path: &str, lines: &[&str]) -> Vec<u8> {
    let whole = request(speaks, path);
    let at = whole.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 2;
    let (head, end) = whole.split_at(at);
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    [head, lines.as_bytes(), end].concat()
}

/// The payload of a message at the backend, in however many fragments.
pub(crate) fn receive_whole(served: &mut Served) -> Vec<u8> {
    let mut heard = Vec::new();
    loop {
        let (first, mut payload) = served.masked_frame();
        heard.append(&mut payload);
        if first & 0x80 != 0 {
            return heard;
        }
    }
}

/// The payload of a message at the client.
pub(crate) fn receive_whole_at_client(client: &mut Peer) -> Vec<u8> {
    if !matches!(client.speaks(), Speaks::Number(_)) {
        return client.receive_text().into_bytes();
    }
    let mut heard = Vec::new();
    loop {
        let (first, mut payload) = client.frame();
        heard.append(&mut payload);
        if first & 0x80 != 0 {
            return heard;
        }
    }
}
