//! `serve`: echo on any path, a room at `/chat`, a short page.

use std::sync::Arc;

use super::{App, Handle, Incoming, Reply, page};
use crate::error::Violation;
use crate::frame::Kind;
use crate::handshake::Request;
use crate::version::Versions;

/// The path of the room.
const ROOM: &str = "/chat";

/// Echo and chat, for the connections of one worker.
#[derive(Debug)]
pub struct Serve {
    versions: Versions,
    subprotocols: Arc<[String]>,
}

/// What is kept of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guest {
    in_room: bool,
}

impl Serve {
    /// Speaks these subprotocols; the page names these versions.
    #[must_use]
    pub fn new(versions: Versions, subprotocols: Arc<[String]>) -> Serve {
        Serve {
            versions,
            subprotocols,
        }
    }

    fn page(&self, request: &Request<'_>) -> Reply {
        page(
            request,
            "text/html; charset=utf-8",
            &[
                (
                    "Content-Security-Policy",
                    "default-src 'none'; connect-src 'self' ws: wss:",
                ),
                ("Cache-Control", "no-store"),
            ],
            || self.front(request),
        )
    }

    fn front(&self, request: &Request<'_>) -> String {
        let host = escaped(request.host());
        let versions: String = self
            .versions
            .iter()
            .map(|v| format!("<li><b>{}</b>: {}</li>\n", v.name, escaped(v.clients)))
            .collect();
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
             <title>heirloom</title></head>\n<body>\n<h1>heirloom</h1>\n\
             <p>A WebSocket server for every version that ever went over a wire.</p>\n\
             <ul>\n<li><b>ws://{host}/</b> sends back what it gets, at any path</li>\n\
             <li><b>ws://{host}{ROOM}</b> is a room: what one says, all others hear</li>\n</ul>\n\
             <p>Versions that are on:</p>\n<ul>\n{versions}</ul>\n</body>\n</html>\n"
        )
    }
}

impl App for Serve {
    type Guest = Guest;

    fn request(&mut self, request: &Request<'_>, guest: &mut Guest) -> Reply {
        if request.version().is_none() {
            return self.page(request);
        }
        guest.in_room = request.path() == ROOM;
        match request.choose_subprotocol(&self.subprotocols) {
            Ok(chosen) => Reply::Accept(chosen.map(str::to_owned)),
            Err(refusal) => Reply::Refuse(refusal),
        }
    }

    fn open(&mut self, link: &mut Handle<'_, Serve>) {
        if link.guest.in_room {
            link.enter_room();
        }
    }

    fn message(&mut self, mut incoming: Incoming<'_>, link: &mut Handle<'_, Serve>) {
        if !link.guest.in_room {
            if let Err(error) = link.send_back(incoming) {
                log::debug!("cannot echo: {error}");
            }
            return;
        }
        let message = incoming.message();
        // Not everyone in the room can be sent octets.
        let Some(text) = message.as_text().filter(|_| message.kind() == Kind::Text) else {
            link.abort(Violation::BinaryUnwanted);
            return;
        };
        link.tell_room(text);
    }
}

/// Text for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
