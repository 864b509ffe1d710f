//! An app that fails where it is told to.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender};

use heirloom::handshake::Request;
use heirloom::net::{App, Handle, Incoming, LinkId, Reply, Summary};

/// Echoes, and fails where it is told to.
pub(crate) struct FailingApp {
    hold: Option<Hold>,
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
        FailingApp { hold }
    }
}

impl App for FailingApp {
    /// Where it fails.
    type Data = String;

    fn request(&mut self, request: &Request<'_>, data: &mut String) -> Reply {
        request.path().clone_into(data);
        if data == "/fail-at-request" {
            fail();
        }
        Reply::Accept(None)
    }

    fn open(&mut self, link: &mut Handle<'_, FailingApp>) {
        if link.data == "/fail-at-open" {
            fail();
        }
        link.subscribe("all");
    }

    fn message(&mut self, mut incoming: Incoming<'_>, link: &mut Handle<'_, FailingApp>) {
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
        if data == "/fail-at-gone" {
            fail();
        }
    }
}
