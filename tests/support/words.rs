//! An app that fails where it is told to.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use heirloom::handshake::Request;
use heirloom::net::{App, Handle, Incoming, Letter, LinkId, Reply};

/// Echoes, and fails where it is told to.
pub(crate) struct Words {
    guests: Vec<LinkId>,
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

impl Words {
    pub(crate) fn new(hold: Option<Hold>) -> Words {
        Words {
            guests: Vec::new(),
            hold,
        }
    }
}

impl App for Words {
    /// Where it fails.
    type Guest = String;
    /// Whether to fail where it arrives.
    type Post = bool;

    fn request(&mut self, request: &Request<'_>, guest: &mut String) -> Reply {
        request.path().clone_into(guest);
        if guest == "/fail-at-request" {
            fail();
        }
        Reply::Accept(None)
    }

    fn open(&mut self, link: &mut Handle<'_, Words>) {
        if link.guest == "/fail-at-open" {
            fail();
        }
        self.guests.push(link.id);
    }

    fn message(&mut self, mut incoming: Incoming<'_>, link: &mut Handle<'_, Words>) {
        match incoming.message().as_text() {
            Some("fail") => fail(),
            Some("fail afar") => link.post(true),
            Some("post") => link.post(false),
            Some("tell") => {
                for to in &self.guests {
                    let text = Arc::from("told");
                    link.letter(Letter { to: *to, text });
                }
            }
            Some("hold") => {
                if let Some(hold) = &self.hold {
                    // Whoever waited may be gone.
                    let _ = hold.entered.send(());
                    let _ = hold.release.recv();
                }
            }
            _ => link.send_back(incoming).unwrap(),
        }
    }

    fn gone(&mut self, _: LinkId, guest: &mut String) {
        if guest == "/fail-at-gone" {
            fail();
        }
    }

    fn post(&mut self, post: bool, _: &mut Vec<Letter>) {
        if post {
            fail();
        }
    }
}
