//! A server in a thread, which is stopped when the test is done with it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use heirloom::Config;
use heirloom::net::{App, Listen, Metrics, Router, Server, Settings, Site, Stopper, serve};

use super::PATIENCE;

/// A server that runs. Declare it before its clients, so that they are dropped
/// first.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Metrics,
    stopper: Stopper,
    /// Tells when `run` has returned.
    ended: Receiver<()>,
    /// Where Linux tells of the threads of its workers.
    workers: Arc<Mutex<Vec<PathBuf>>>,
}

/// What a server is given.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) settings: Settings,
}

impl From<Config> for Setup {
    fn from(config: Config) -> Setup {
        Setup {
            config,
            settings: Settings::default(),
        }
    }
}

/// A setup that differs from the default in what `set` sets.
pub(crate) fn setup(set: impl FnOnce(&mut Setup)) -> Setup {
    let mut setup = Setup::default();
    set(&mut setup);
    setup
}

impl Running {
    /// Echo and chat with one worker, so that all its clients share a loop.
    pub(crate) fn serve(setup: impl Into<Setup>) -> Running {
        Running::serve_on(1, setup)
    }

    /// Echo and chat.
    pub(crate) fn serve_on(workers: usize, setup: impl Into<Setup>) -> Running {
        let Setup { config, settings } = setup.into();
        let subprotocols = ["spoken".to_owned()];
        let router = Router::new(serve::routes_with(config, subprotocols, None));
        let config = router.config();
        let setup = Setup { config, settings };
        Running::app(workers, setup, move || Site::new(&router))
    }

    /// An app of the test.
    pub(crate) fn app<A: App>(
        workers: usize,
        setup: impl Into<Setup>,
        app: impl Fn() -> A + Send + Sync + 'static,
    ) -> Running {
        Running::app_at(&[], workers, setup, app)
    }

    /// The same, with more listeners.
    pub(crate) fn app_at<A: App>(
        more: &[Listen],
        workers: usize,
        setup: impl Into<Setup>,
        app: impl Fn() -> A + Send + Sync + 'static,
    ) -> Running {
        let Setup { config, settings } = setup.into();
        let loopback = Listen::from(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listeners = [&[loopback], more].concat();
        let server = Server::listen(&listeners, workers, config).unwrap();
        Running::server(server.with_settings(settings), app)
    }

    /// A server that is bound.
    pub(crate) fn server<A: App>(
        server: Server,
        app: impl Fn() -> A + Send + Sync + 'static,
    ) -> Running {
        let (tell, ended) = channel();
        let workers = Arc::default();
        let running = Running {
            address: server.addresses()[0],
            metrics: server.metrics(),
            stopper: server.stopper(),
            ended,
            workers: Arc::clone(&workers),
        };
        thread::spawn(move || {
            server.run(move || {
                // A worker makes its app.
                if let Ok(thread) = fs::read_link("/proc/thread-self") {
                    workers.lock().unwrap().push(thread);
                }
                app()
            });
            let _ = tell.send(());
        });
        running
    }

    /// Waits until it has accepted so many connections that are still there. A client
    /// is connected before that.
    pub(crate) fn await_connections(&self, count: u64) {
        let begin = Instant::now();
        while self.metrics.snapshot().connection_count() != count {
            let waited = begin.elapsed();
            assert!(waited < PATIENCE, "there are never {count} connections");
        }
    }

    /// Waits until its workers sleep: none has more to do until something comes.
    #[cfg(target_os = "linux")]
    pub(crate) fn await_rest(&self) {
        let begin = Instant::now();
        for thread in &*self.workers.lock().unwrap() {
            let status = PathBuf::from("/proc").join(thread).join("status");
            let sleeps = || {
                let status = fs::read_to_string(&status).unwrap();
                status.lines().any(|line| line.starts_with("State:\tS"))
            };
            while !sleeps() {
                assert!(begin.elapsed() < PATIENCE, "a worker does not come to rest");
                thread::yield_now();
            }
        }
    }

    /// Stops it, without waiting.
    pub(crate) fn stop(&self) {
        self.stopper.stop();
    }

    /// Waits until `run` has returned.
    pub(crate) fn wait(&self) {
        match self.ended.recv_timeout(PATIENCE) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => panic!("the server does not end"),
            Err(RecvTimeoutError::Disconnected) => panic!("the server has panicked"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        match self.ended.recv_timeout(PATIENCE) {
            // A test that waited knows it already.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) if thread::panicking() => {}
            Err(RecvTimeoutError::Timeout) => panic!("the server does not end"),
        }
    }
}
