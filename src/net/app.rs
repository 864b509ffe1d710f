//! What connections are for: an application answers requests and receives
//! messages.

use std::fmt;
use std::sync::Arc;

use super::address::PeerAddress;
use super::agreement::TlsAgreement;
use super::backend_dial::{BackendDial, ChosenTarget};
use super::backlog::Backlog;
use super::buffer::Buffer;
use super::deflation::Deflation;
use super::later::Later;
use super::link_id::LinkId;
use super::page::Page;
use super::proxy::ClientAddress;
use super::recorder::Recorder;
use super::refusal::AnyRefusal;
use super::topic::Topics;
use crate::bytes::Output;
use crate::conn::{Conn, Tally};
use crate::error::{Unsendable, Violation};
use crate::handshake::Request;
use crate::message::{Gather, Message};
use crate::version::{Side, Version};

/// What connections are for. Each worker has an app of its own.
pub trait App: Sized {
    /// What the app keeps of a connection.
    type Data: Default;

    /// A client has connected. Called again where a PROXY header names another
    /// client.
    fn connected(&mut self, client: &ClientAddress, data: &mut Self::Data) {
        let _ = (client, data);
    }

    /// The client speaks TLS, and this was agreed on. Called before
    /// [`App::request`] or [`App::refused`].
    fn secured(&mut self, agreement: TlsAgreement, data: &mut Self::Data) {
        let _ = (agreement, data);
    }

    /// A client asks for an upgrade, or for a page.
    fn request(&mut self, request: &Request<'_>, data: &mut Self::Data) -> Reply;

    /// A client's first octets, a head or what should have been one, were
    /// refused before [`App::request`] was called.
    fn refused(&mut self, refusal: AnyRefusal, octets: &[u8], data: &mut Self::Data) {
        let _ = (refusal, octets, data);
    }

    /// Whether this connection is recorded. Called when a client has connected,
    /// and again when a request was answered or refused: a recording that starts
    /// then has the request's head too.
    fn recorder(&mut self, data: &mut Self::Data) -> Option<Recorder> {
        let _ = data;
        None
    }

    /// The backend of a bridge has agreed, to this subprotocol: what its client
    /// is answered.
    fn backend_accepted(&mut self, subprotocol: Option<&str>, data: &mut Self::Data) -> Reply {
        let _ = data;
        Reply::Accept(subprotocol.map(str::to_owned))
    }

    /// The handshake is finished.
    fn open(&mut self, link: &mut Handle<'_, Self>) {
        let _ = link;
    }

    /// A whole message has arrived. Those of a bridge go on to the other end
    /// without this call.
    fn message(&mut self, incoming: Incoming<'_>, link: &mut Handle<'_, Self>) {
        let _ = (incoming, link);
    }

    /// The connection was reset. Gives whether what its peer has sent before must
    /// still be read, which costs a system call.
    fn needs_input_before_reset(&mut self, data: &mut Self::Data) -> bool {
        let _ = data;
        true
    }

    /// The name of the route of this connection, once it is known: connections
    /// are counted by it. There should be few names, and none that a peer chose.
    fn route(&self, data: &Self::Data) -> Option<Arc<str>> {
        let _ = data;
        None
    }

    /// The client of this connection, as far as the app has kept it: a list of
    /// connections names it. Otherwise that is the peer of its socket.
    fn client(&self, data: &Self::Data) -> Option<PeerAddress> {
        let _ = data;
        None
    }

    /// The connection is gone.
    fn closed(&mut self, id: LinkId, summary: &Summary, data: &mut Self::Data) {
        let _ = (id, summary, data);
    }

    /// Whether this connection was accepted by something that is not in force any
    /// more, such as a route that the table has no longer.
    /// [`Reloader::retire`](super::Reloader::retire) closes such ones.
    fn is_outdated(&mut self, data: &mut Self::Data) -> bool {
        let _ = data;
        false
    }

    /// The server has new settings: what this app took from elsewhere, such as a
    /// table of routes, may have changed with them.
    fn reloaded(&mut self) {}
}

/// What an [`App`] answers to a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reply {
    /// Upgrade, with this subprotocol.
    Accept(Option<String>),
    /// Refuse.
    Refuse(AnyRefusal),
    /// Answer with plain HTTP.
    Http(Page),
    /// Answer with plain HTTP, when another thread has made the page.
    Later(Later),
    /// Dial a backend: upgrade when it agrees, or send it plain HTTP.
    Bridge(Box<BackendDial>),
}

impl Reply {
    /// Refuse for this reason.
    pub fn refuse(refusal: impl Into<AnyRefusal>) -> Reply {
        Reply::Refuse(refusal.into())
    }
}

/// Which end ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The client.
    Client,
    /// The backend of a bridge.
    Backend,
    /// This server.
    Server,
}

impl ClosedBy {
    /// The peer of a connection, given our side of it.
    pub(super) fn peer_of(side: Side) -> ClosedBy {
        match side {
            Side::Server => ClosedBy::Client,
            Side::Client => ClosedBy::Backend,
        }
    }

    /// Its name in small letters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ClosedBy::Client => "client",
            ClosedBy::Backend => "backend",
            ClosedBy::Server => "server",
        }
    }
}

impl fmt::Display for ClosedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a connection ended: what was seen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndReason {
    /// The end that ended it.
    pub by: ClosedBy,
    /// The stable code of a refusal or violation; `closed` for a close, `reset`,
    /// `page`, `going-away`, `route-changed`, or the timeout: `idle-timeout`, `write-timeout`,
    /// `close-timeout`.
    pub what: &'static str,
    /// The status of a response, or the code of a close.
    pub code: Option<u16>,
}

impl EndReason {
    /// An end that this server caused.
    pub(super) fn by_server(what: &'static str, code: Option<u16>) -> EndReason {
        EndReason {
            by: ClosedBy::Server,
            what,
            code,
        }
    }
}

/// What is known of a connection that is gone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// The version that was spoken, or asked for.
    pub version: Option<&'static Version>,
    /// Whether a 101 was sent.
    pub answered: bool,
    /// Whether the request was plain HTTP for a backend. What was carried has no
    /// messages then, and its octets include the heads.
    pub relayed: bool,
    /// Whether the handshake was finished.
    pub opened: bool,
    /// How it ended.
    pub ended: EndReason,
    /// What a bridge carried from the client.
    pub from_client: Tally,
    /// What a bridge carried to the client.
    pub to_client: Tally,
    /// The server of its backend that it was connected to, or that was tried last.
    pub target: Option<ChosenTarget>,
    /// The HTTP status that this server has answered.
    pub target_status: Option<u16>,
}

/// A whole message that has arrived.
#[derive(Debug)]
pub struct Incoming<'a>(Arrived<'a>);

#[derive(Debug)]
enum Arrived<'a> {
    /// At once, in the loop's buffer.
    Whole(Message<'a>),
    /// In pieces, in a buffer of its own.
    Gathered(&'a mut Gather<Buffer>),
}

impl<'a> Incoming<'a> {
    #[inline]
    pub(super) fn whole(message: Message<'a>) -> Incoming<'a> {
        Incoming(Arrived::Whole(message))
    }

    pub(super) fn gathered(gather: &'a mut Gather<Buffer>) -> Incoming<'a> {
        Incoming(Arrived::Gathered(gather))
    }

    /// The message.
    #[inline]
    pub fn message(&mut self) -> Message<'_> {
        match &mut self.0 {
            Arrived::Whole(whole) => *whole,
            Arrived::Gathered(gather) => gather.finish(),
        }
    }
}

/// A message of at least this size is sent back from its own buffer; shorter
/// ones are gathered into one write.
const LARGE: usize = 64 * 1024;

/// A connection, while its app is called.
pub struct Handle<'a, A: App> {
    /// Its name.
    pub id: LinkId,
    /// What the app keeps of it.
    pub data: &'a mut A::Data,
    pub(super) conn: &'a mut Conn,
    pub(super) out: Output<'a>,
    pub(super) backlog: &'a mut Backlog,
    pub(super) topics: &'a mut Topics,
    /// Where a message is kept that is deflated over several turns; `None` where all
    /// messages are too short for that.
    pub(super) deflation: Option<&'a mut Option<Box<Deflation>>>,
    pub(super) is_recorded: bool,
    /// How the app has ended it.
    pub(super) ended: Option<EndReason>,
}

impl<A: App> Handle<'_, A> {
    /// The version of the connection.
    #[must_use]
    pub fn version(&self) -> Option<&'static Version> {
        self.conn.version()
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// What this version or phase cannot send.
    #[inline(always)]
    pub fn send(&mut self, message: Message<'_>) -> Result<(), Unsendable> {
        self.conn.send(message, &mut self.out)
    }

    /// Sends a received message back, without a copy where that is possible.
    ///
    /// # Errors
    ///
    /// What this version or phase cannot send.
    #[inline(always)]
    pub fn send_back(&mut self, incoming: Incoming<'_>) -> Result<(), Unsendable> {
        match incoming.0 {
            Arrived::Whole(message) => self.send(message),
            Arrived::Gathered(gather) => self.send_gathered(gather),
        }
    }

    #[inline(never)]
    fn send_gathered(&mut self, gather: &mut Gather<Buffer>) -> Result<(), Unsendable> {
        let message = gather.finish();
        // A recorded connection sends all its octets by the same path.
        if message.payload().len() < LARGE || self.is_recorded {
            return self.conn.send(message, &mut self.out);
        }
        let (kind, length) = (message.kind(), message.payload().len());
        let compression = &self.conn.config().compression;
        let is_too_long = compression.is_too_long(length);
        let framing = if is_too_long {
            self.conn.framing_of_plain(kind, length)?
        } else {
            self.conn.framing_of(kind, length)?
        };
        let Some(framing) = framing else {
            return self.conn.send(message, &mut self.out);
        };
        let empty = Gather::into_buffer(Buffer::default(), 0);
        let octets = std::mem::replace(gather, empty).into_octets();
        self.backlog.push_small(self.out.octets);
        self.out.octets.clear();
        let slot = self.deflation.as_mut().filter(|_| is_too_long);
        let begun = slot.and_then(|slot| {
            let deflater = self.conn.deflater_of_long(length, &mut self.out)?;
            Some((slot, deflater))
        });
        match begun {
            Some((slot, deflater)) => {
                let deflation = Deflation::new((kind, octets), framing, deflater);
                **slot = Some(Box::new(deflation));
            }
            None => self.backlog.push_large(octets, &framing),
        }
        Ok(())
    }

    /// Sends a close, as far as this version has one.
    pub fn close(&mut self, code: u16, reason: &str) {
        self.conn.close(code, reason, &mut self.out);
        let ended = EndReason::by_server("closed", Some(code));
        self.ended.get_or_insert(ended);
    }

    /// Fails the connection for what the peer did.
    pub fn fail(&mut self, violation: Violation) {
        self.conn.fail(violation, &mut self.out);
        self.ended.get_or_insert(EndReason {
            by: ClosedBy::peer_of(self.conn.side()),
            what: violation.code(),
            code: violation.close_code(),
        });
    }

    /// From now on this connection receives what others publish in this topic.
    pub fn subscribe(&mut self, topic: &str) {
        self.topics.subscribe(self.id, topic);
    }

    /// This connection receives nothing more of this topic.
    pub fn unsubscribe(&mut self, topic: &str) {
        self.topics.unsubscribe(self.id, topic);
    }

    /// Sends a text to all other subscribers of a topic, in all workers. A
    /// subscriber that does not read fast enough is disconnected.
    pub fn publish(&mut self, topic: &str, text: &str) {
        self.topics.publish(self.id, topic, text);
    }
}

impl<A: App> fmt::Debug for Handle<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
