//! A server in a thread, stopped by its stopper when the test is done with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use heirloom::Config;
use heirloom::net::serve::Serve;
use heirloom::net::{App, Server, Stopper};

use super::PATIENCE;

/// A server that runs. Declare it before its clients, so that they go first.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stopper: Stopper,
    /// Says when `run` has returned.
    ended: Receiver<()>,
}

/// A configuration that differs from the default in what `set` sets.
pub(crate) fn config(set: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    set(&mut config);
    config
}

impl Running {
    /// Echo and chat with one worker, so that all its clients share a loop.
    pub(crate) fn serve(config: Config) -> Running {
        Running::serve_on(1, config)
    }

    /// Echo and chat.
    pub(crate) fn serve_on(workers: usize, config: Config) -> Running {
        let versions = config.versions;
        Running::app(workers, config, move || {
            Serve::new(versions, Arc::from(["spoken".to_owned()]))
        })
    }

    /// An app of the test.
    pub(crate) fn app<A: App>(
        workers: usize,
        config: Config,
        app: impl Fn() -> A + Send + Sync + 'static,
    ) -> Running {
        let loopback = "127.0.0.1:0".parse().unwrap();
        Running::server(Server::bind(&[loopback], workers, config).unwrap(), app)
    }

    /// A server that is bound.
    pub(crate) fn server<A: App>(
        server: Server,
        app: impl Fn() -> A + Send + Sync + 'static,
    ) -> Running {
        let (tell, ended) = channel();
        let running = Running {
            address: server.addresses()[0],
            stopper: server.stopper(),
            ended,
        };
        thread::spawn(move || {
            server.run(app);
            let _ = tell.send(());
        });
        running
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
            // A test that waited has had the word already.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) if thread::panicking() => {}
            Err(RecvTimeoutError::Timeout) => panic!("the server does not end"),
        }
    }
}
