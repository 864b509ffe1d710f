//! Servers that change while they run: their listeners, their routes, and how
//! connections leave that may not stay; and what a supervisor is told of it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../support/mod.rs"]
mod support;

mod leaving;
mod listeners;
mod load;
mod passed;
mod program;
mod routes;
mod supervisor;

use std::sync::Arc;

use heirloom::net::{
    Destination, Listen, ListenAt, Liveness, Reloader, Route, RouteTable, Router, Server,
    ServerState, Settings, Site, Takes,
};
use heirloom::{Config, Versions};

use support::PATIENCE;
use support::peer::Speaks;
use support::server::Running;

/// One of each way to close.
const ALL: [Speaks; 4] = [
    Speaks::Hixie75,
    Speaks::Hixie76,
    Speaks::Number(8),
    Speaks::Number(13),
];

/// A server that runs, and what changes it.
struct Changing {
    running: Running,
    reloader: Reloader,
    router: Router,
    settings: Settings,
    state: ServerState,
    liveness: Liveness,
}

impl Changing {
    /// With these listeners and routes.
    fn start(listeners: &[Listen], workers: usize, table: RouteTable) -> Changing {
        Changing::with(listeners, workers, table, Settings::default())
    }

    fn with(
        listeners: &[Listen],
        workers: usize,
        table: RouteTable,
        settings: Settings,
    ) -> Changing {
        let router = Router::new(table);
        let server = Server::listen(listeners, workers, router.config()).unwrap();
        let server = server.with_settings(settings.clone());
        let (reloader, state) = (server.reloader(), server.state());
        let liveness = server.liveness();
        let own = router.clone();
        Changing {
            running: Running::server(server, move || Site::new(&own)),
            reloader,
            router,
            settings,
            state,
            liveness,
        }
    }

    /// From now on these are the routes.
    fn route(&self, table: RouteTable) {
        self.router.replace(table);
        self.reloader
            .reload(self.router.config(), self.settings.clone());
    }

    /// Waits until all workers have done what they were told.
    fn settle(&self) {
        assert!(self.liveness.all_turn(PATIENCE), "a worker does not turn");
    }
}

/// Without routes, for all versions.
fn no_routes() -> RouteTable {
    RouteTable::new(Config::default().with_versions(Versions::ALL))
}

/// Any path is an echo.
fn echo() -> RouteTable {
    no_routes().with(Route::below("/", Destination::Echo))
}

fn shared(path: &str) -> Arc<Route> {
    Arc::new(Route::below(path, Destination::Echo))
}

/// A free port of loopback, or this one.
fn loopback(port: u16) -> Listen {
    Listen::new(ListenAt::Tcp(([127, 0, 0, 1], port).into()), Takes::Both)
}

fn port_of(listen: &Listen) -> u16 {
    listen.at.address().unwrap().port()
}
