//! `serve`: echo on any path, a room at `/chat`, the lab page at `/`.

mod lab;

use std::sync::Arc;

use super::{App, ClientAddress, Handle, Incoming, LinkId, Recorder, Reply, Summary, http_reply};
use crate::error::{Refusal, Violation};
use crate::frame::Kind;
use crate::handshake::Request;
use crate::version::Versions;

use self::lab::PageEntry;
pub use self::lab::{Explain, Lab};

/// The path of the room.
const ROOM: &str = "/chat";
/// Octets of a handshake that are kept where every one is told.
const HANDSHAKE: usize = 64 * 1024;

/// Echo, room and lab, for the connections of one worker.
#[derive(Debug)]
pub struct Serve {
    versions: Versions,
    subprotocols: Arc<[String]>,
    lab: Option<Lab>,
}

/// What is kept of a connection.
#[derive(Debug, Default)]
pub struct ConnectionData {
    in_room: bool,
    known: Option<Box<HandshakeData>>,
}

/// What is kept of some connections only.
#[derive(Debug, Default)]
struct HandshakeData {
    /// Where handshakes are logged or told.
    client: Option<ClientAddress>,
    path: String,
    recorder: Option<Recorder>,
    /// The lab page that opened it, and which of its connections it is.
    entry: Option<(Arc<PageEntry>, u64)>,
}

impl Serve {
    /// Speaks these subprotocols; the page names these versions.
    #[must_use]
    pub fn new(versions: Versions, subprotocols: Arc<[String]>) -> Serve {
        Serve {
            versions,
            subprotocols,
            lab: None,
        }
    }

    /// With the lab page.
    #[must_use]
    pub fn with_lab(mut self, lab: Lab) -> Serve {
        self.lab = Some(lab);
        self
    }

    fn page(&self, request: &Request<'_>) -> Reply {
        if let Some(reply) = self.lab.as_ref().and_then(|lab| lab.reply(request)) {
            return reply;
        }
        let headers = vec![
            ("Content-Security-Policy", "default-src 'none'".to_owned()),
            ("Cache-Control", "no-store".to_owned()),
        ];
        http_reply(request, "text/html; charset=utf-8", headers, || {
            self.front(request)
        })
    }

    /// A short page, for a server without a lab.
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

    /// Tells the log, and whoever wants to know every handshake, how one went.
    fn log_handshake(&self, known: &HandshakeData, verdict: &str) {
        let Some(client) = &known.client else {
            return;
        };
        log::info!(target: HANDSHAKES, "{} {verdict}", client.address);
        if let (Some(lab), Some(recorder)) = (&self.lab, &known.recorder) {
            lab.explanations().handshake(client, &recorder.recording());
        }
    }

    fn wants_all_handshakes(&self) -> bool {
        self.lab
            .as_ref()
            .is_some_and(|lab| lab.explanations().wants_all())
    }
}

/// One line for each handshake, at level info.
const HANDSHAKES: &str = "heirloom::handshakes";

impl App for Serve {
    type Data = ConnectionData;

    fn connected(&mut self, client: &ClientAddress, data: &mut ConnectionData) {
        if self.wants_all_handshakes() || log::log_enabled!(target: HANDSHAKES, log::Level::Info) {
            data.known.get_or_insert_default().client = Some(*client);
        }
    }

    fn recorder(&mut self, data: &mut ConnectionData) -> Option<Recorder> {
        if self.wants_all_handshakes() {
            let recorder = Recorder::new(HANDSHAKE);
            data.known.get_or_insert_default().recorder = Some(recorder.clone());
            return Some(recorder);
        }
        data.known.as_mut()?.recorder.take()
    }

    fn request(&mut self, request: &Request<'_>, data: &mut ConnectionData) -> Reply {
        if let Some(known) = &mut data.known {
            request.path().clone_into(&mut known.path);
        }
        if request.version().is_none() {
            return self.page(request);
        }
        data.in_room = request.path() == ROOM;
        if let Some(entry) = self.lab.as_ref().and_then(|lab| lab.entry_of(request)) {
            let known = data.known.get_or_insert_default();
            // The rest of it is the page's secret.
            "/lab".clone_into(&mut known.path);
            let (number, recorder) = entry.connect(known.recorder.take());
            known.recorder = Some(recorder);
            known.entry = Some((entry, number));
        }
        match request.choose_subprotocol(&self.subprotocols) {
            Ok(chosen) => {
                if let Some((entry, number)) = data.known.as_ref().and_then(|k| k.entry.as_ref()) {
                    let chosen = chosen.map(str::to_owned);
                    entry.note(*number, |seen| seen.subprotocol = chosen);
                }
                Reply::Accept(chosen.map(str::to_owned))
            }
            Err(refusal) => Reply::Refuse(refusal),
        }
    }

    fn refused(&mut self, refusal: &Refusal, octets: &[u8], data: &mut ConnectionData) {
        let Some(entry) = self.lab.as_ref().and_then(|lab| lab.entry_in(octets)) else {
            return;
        };
        let known = data.known.get_or_insert_default();
        let (number, recorder) = entry.connect(known.recorder.take());
        entry.note(number, |seen| {
            seen.refused = Some(refusal.code());
            if let Refusal::VersionOff { version, .. } = refusal {
                seen.version = Some(version);
            }
        });
        known.recorder = Some(recorder);
        known.entry = Some((entry, number));
    }

    fn open(&mut self, link: &mut Handle<'_, Serve>) {
        if link.data.in_room {
            link.enter_room();
        }
        let version = link.version();
        let Some(known) = &link.data.known else {
            return;
        };
        if let Some((entry, number)) = &known.entry {
            entry.note(*number, |seen| {
                seen.version = version;
                seen.open = true;
            });
        }
        let version = version.map_or("no version", |v| v.name);
        let path = crate::bytes::Escaped::<200>(&known.path);
        self.log_handshake(known, &format!("{version} open {path}"));
        if let Some(known) = &mut link.data.known {
            // Told once.
            known.client = None;
        }
    }

    fn message(&mut self, mut incoming: Incoming<'_>, link: &mut Handle<'_, Serve>) {
        if !link.data.in_room {
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

    fn closed(&mut self, _: LinkId, summary: &Summary, data: &mut ConnectionData) {
        let Some(known) = &data.known else {
            return;
        };
        if let Some((entry, number)) = &known.entry {
            entry.note(*number, |seen| {
                seen.open = false;
                seen.closed = true;
            });
        }
        let version = summary.version.map_or("no version", |v| v.name);
        let what = summary.ended.what;
        if what == "page" {
            return;
        }
        let verdict = match summary.ended.code {
            Some(status) => format!("{version} refused {status} {what}"),
            None => format!("{version} not finished: {what}"),
        };
        self.log_handshake(known, &verdict);
    }
}

/// Text for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
