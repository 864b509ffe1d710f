//! An app that fails where it is told to.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};

use heirloom::handshake::Request;
use heirloom::net::{
    AnyRefusal, App, ClientAddress, Handle, Incoming, LinkId, Recorder, Reply, Summary,
};

/// Echoes, and fails where it is told to.
pub(crate) struct FailingApp {
    hold: Option<Hold>,
    trap: Trap,
}

/// The callback that fails when it is called next, and only then.
#[derive(Clone, Default)]
pub(crate) struct Trap(Arc<Mutex<Option<&'static str>>>);

impl Trap {
    pub(crate) fn set(&self, callback: &'static str) {
        *self.0.lock().unwrap() = Some(callback);
    }

    /// Whether the callback that was set was called.
    pub(crate) fn is_sprung(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }

    /// Fails if this callback was set.
    pub(crate) fn step_on(&self, callback: &'static str) {
        let mut set = self.0.lock().unwrap();
        if *set == Some(callback) {
            *set = None;
            drop(set);
            fail();
        }
    }
}

/// Where a worker stands still, so that events come together.
pub(crate) struct Hold {
    pub(crate) entered: Sender<()>,
    pub(crate) release: Receiver<()>,
}

/// Ends the turn as a panic does, without its message on standard error.
fn fail() -> ! {
    resume_unwind(Box::new("told to"))
}

impl FailingApp {
    pub(crate) fn new(hold: Option<Hold>) -> FailingApp {
        FailingApp {
            hold,
            trap: Trap::default(),
        }
    }

    pub(crate) fn trapped(trap: &Trap) -> FailingApp {
        FailingApp {
            hold: None,
            trap: trap.clone(),
        }
    }
}

impl App for FailingApp {
    /// Where it fails.
    type Data = String;

    fn connected(&mut self, _: &ClientAddress, _: &mut String) {
        self.trap.step_on("connected");
    }

    fn recorder(&mut self, _: &mut String) -> Option<Recorder> {
        self.trap.step_on("recorder");
        None
    }

    fn refused(&mut self, _: AnyRefusal, _: &[u8], _: &mut String) {
        self.trap.step_on("refused");
    }

    fn backend_accepted(&mut self, _: Option<&str>, _: &mut String) -> Reply {
        self.trap.step_on("backend_accepted");
        Reply::Accept(None)
    }

    fn reloaded(&mut self) {
        self.trap.step_on("reloaded");
    }

    fn request(&mut self, request: &Request<'_>, data: &mut String) -> Reply {
        self.trap.step_on("request");
        request.path().clone_into(data);
        if data == "/fail-at-request" {
            fail();
        }
        Reply::Accept(None)
    }

    fn open(&mut self, link: &mut Handle<'_, FailingApp>) {
        self.trap.step_on("open");
        if link.data == "/fail-at-open" {
            fail();
        }
        link.subscribe("all");
    }

    fn message(&mut self, mut incoming: Incoming<'_>, link: &mut Handle<'_, FailingApp>) {
        self.trap.step_on("message");
        match incoming.message().as_text() {
            Some("fail") => fail(),
            Some("tell") => link.publish("all", "told"),
            Some("hold") => {
                if let Some(hold) = &self.hold {
                    // The test may have ended.
                    let _ = hold.entered.send(());
                    let _ = hold.release.recv();
                }
            }
            _ => link.send_back(incoming).unwrap(),
        }
    }

    fn closed(&mut self, _: LinkId, _: &Summary, data: &mut String) {
        self.trap.step_on("closed");
        if data == "/fail-at-gone" {
            fail();
        }
    }
}
