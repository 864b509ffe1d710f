//! The only code that touches a socket: servers and clients on a mio loop.
//!
//! A [`Server`] runs workers, each a thread with a loop, listeners and
//! connections of its own. What connections are for is up to an [`App`]; [`Site`]
//! is one that leads requests along a table of routes.

// A file may use those above it.
mod keepalive;

mod agreement;

mod address;
mod unix;

mod tls;

mod transport;

mod url;

mod warning;

mod attempts;
mod resolve;

mod refusal;

mod health;
mod targets;
mod hops;
mod asked;
mod backend_dial;

mod system_memory;

mod settings;

mod buffer;
mod budget;
mod state;

mod backlog;
mod deflation;
mod recorder;

mod proxy;
mod networks;

mod flash;
mod first;

mod passed;
mod listen;
mod listener;
mod listening;

mod element;
mod forwarded;

mod link_id;

mod background;
mod topic;
mod tap;

mod page;
mod post;
mod liveness;

mod later;
mod app;

mod metrics;
mod stats;

mod worker;

mod server;

mod lab_pages;
pub mod lab;

mod backend;
mod checks;

mod route;

mod prometheus;

pub mod gateway;
pub mod serve;
mod site;

mod connect;

#[cfg(feature = "legacy-tls")]
mod survey;

pub mod dial;

mod error;

mod stream;

mod blocking;

pub mod accept;
pub mod client;

pub mod relay;
pub mod replay;

pub use self::address::{PeerAddress, ServerAddress};
pub use self::agreement::{ShownCertificate, TlsAgreement, TlsSession};
pub use self::app::{App, ClosedBy, EndReason, Handle, Incoming, Reply, Summary};
pub use self::backend::{Backend, Binary, Http, OffersCompression};
pub use self::backend_dial::{BackendDial, BackendTls, Carries, ChosenTarget};
pub use self::error::Error;
pub use self::flash::FlashPolicy;
pub use self::forwarded::Forwarded;
pub use self::keepalive::Keepalive;
pub use self::later::{Answer, Later};
pub use self::link_id::LinkId;
pub use self::listen::{Listen, ListenAt, ListenPolicy, Takes};
pub use self::listening::BindError;
pub use self::liveness::Liveness;
pub use self::metrics::{
    BackendCounts, CertificateExpiry, ClosedCount, ConnectionCount, ConnectionDetails,
    ConnectionList, ConnectionState, HandshakeCount, MemoryUse, MetricsSnapshot, Traffic,
};
pub use self::networks::{Networks, NetworksError};
pub use self::page::Page;
pub use self::passed::Passed;
pub use self::prometheus::{MetricFamily, MetricsText};
pub use self::proxy::{ClientAddress, ProxyVersion, UnknownProxyVersion};
pub use self::recorder::{Recorder, Recording};
pub use self::refusal::{AnyRefusal, NetRefusal, REFUSALS};
pub use self::resolve::Resolver;
pub use self::route::{Destination, Route, RouteTable, Router};
pub use self::server::{Reloader, SendError, Sender, Server, Stopper};
pub use self::settings::Settings;
pub use self::site::{AccessRecord, Site, SiteData};
pub use self::state::ServerState;
pub use self::stats::{ConnectionInfo, ConnectionStats, Metrics, StatsSnapshot};
pub use self::stream::Stream;
#[cfg(feature = "legacy-tls")]
pub use self::survey::{TlsOffer, survey};
pub use self::tap::{Tap, Tapped};
pub use self::targets::{Balance, Check, TargetState};
#[cfg(feature = "legacy-tls")]
pub use self::tls::LegacyError;
#[cfg(feature = "tls")]
pub use self::tls::{
    CertificateFiles, CertificateProblem, ClientHello, ClientTlsOptions, NotAHello, ServedBy,
    ServerCertificate, ServerKey, Suite, TlsFileError, TlsVersion,
};
pub use self::tls::{ClientTls, ClientTlsError, ServerTls, TlsFault};
pub use self::url::{BadEndpoint, BadUrl, Endpoint, Unresolved, Url};
pub use crate::random::SystemRandom;
