//! What a link of a bridge knows of the other one.

use super::dialling::Dialling;
use crate::conn::{BridgeEnd, Coding, Direction, Tally};
use crate::frame::GOING_AWAY;
use crate::handshake::{CarriedHeader, Response};
use crate::net::backend_dial::{ChosenTarget, Course};

/// Headers of a backend's response that its client gets, as they are.
#[derive(Debug, Default)]
pub(super) struct CarriedBack(Vec<(&'static str, Vec<u8>)>);

impl CarriedBack {
    /// Those of a 101, or of a status that says what to do about it.
    pub(super) fn of(response: &Response<'_>) -> CarriedBack {
        let names: &[&'static str] = match response.status() {
            101 => &["Set-Cookie"],
            400..=499 => &["WWW-Authenticate", "Retry-After"],
            _ => &[],
        };
        let lines = names.iter().flat_map(|name| {
            let all = response.head().all(name);
            all.map(|header| (*name, header.value.to_vec()))
        });
        CarriedBack(lines.collect())
    }

    /// The headers, to write them.
    pub(super) fn headers(&self) -> Vec<CarriedHeader<'_>> {
        self.0
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect()
    }
}

/// What goes from a link's peer to the other one's.
#[derive(Debug)]
pub(super) enum Carried {
    /// Messages.
    Messages(Direction),
    /// Octets as they are.
    Octets(Stream),
}

/// The octets that go from a link's peer to the other one's, as they are.
#[derive(Debug)]
pub(super) struct Stream {
    /// How many there were.
    octets: u64,
    /// The peer has ended its side of TCP.
    pub(super) ended: bool,
}

impl Stream {
    /// Hands octets on.
    pub(super) fn carry(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        self.octets = self.octets.saturating_add(octets.len() as u64);
        out.extend_from_slice(octets);
    }
}

impl Carried {
    /// Messages from the client and to it.
    pub(super) fn messages(coding: Coding) -> [Carried; 2] {
        [coding, coding.reverse()].map(|coding| Carried::Messages(Direction::new(coding)))
    }

    /// Octets from the client, of which so many were received already, and to it.
    pub(super) fn octets(received: u64) -> [Carried; 2] {
        [received, 0].map(|octets| {
            Carried::Octets(Stream {
                octets,
                ended: false,
            })
        })
    }

    /// What was carried so far.
    pub(super) fn tally(&self) -> Tally {
        match self {
            Carried::Messages(direction) => direction.tally,
            Carried::Octets(stream) => Tally {
                messages: 0,
                octets: stream.octets,
            },
        }
    }

    /// Throws away payload that waits: its message comes to no end.
    pub(super) fn discard_held(&mut self) {
        if let Carried::Messages(direction) = self {
            direction.discard_held();
        }
    }

    /// Octets of memory that payload takes which waits for the end of its frame, or
    /// of its message.
    pub(super) fn held_capacity(&self) -> usize {
        match self {
            Carried::Messages(direction) => direction.held_capacity(),
            Carried::Octets(_) => 0,
        }
    }

    /// Closes our end `from`, whose partner is gone for the reason `what`.
    pub(super) fn peer_lost(&self, what: &str, from: &mut BridgeEnd<'_, '_>) {
        match self {
            Carried::Messages(direction) => direction.peer_lost(what, from),
            // It had no handshake of its own, so no close is written.
            Carried::Octets(_) => from.conn.close(GOING_AWAY, "", from.out),
        }
    }
}

/// What a link of a bridge knows of the other one.
#[derive(Debug)]
pub(super) struct BridgeLink {
    /// The other link; `None` once it is gone.
    pub(super) partner: Option<usize>,
    /// What this link's peer sends goes this way.
    pub(super) carries: Carried,
    /// What a partner that is gone had carried.
    pub(super) carried: Tally,
    /// The backend's link: the subprotocol that it chose.
    pub(super) subprotocol: Option<String>,
    /// The backend's link: the headers of its response that its client gets.
    pub(super) headers: CarriedBack,
    /// The backend's link: how it is dialled; `None` once TCP is connected.
    pub(super) dialling: Option<Dialling>,
    /// The backend's link: the servers that are left to be tried; `None` once this
    /// one has answered.
    pub(super) course: Option<Box<Course>>,
    /// The client's link: the server that its backend's link is for.
    pub(super) target: Option<ChosenTarget>,
    /// The client's link: the HTTP status that this server has answered.
    pub(super) status: Option<u16>,
}

impl BridgeLink {
    /// Of a client, whose backend has this link.
    pub(super) fn of_client(backend: usize, carries: Carried) -> BridgeLink {
        BridgeLink {
            partner: Some(backend),
            carries,
            carried: Tally::default(),
            subprotocol: None,
            headers: CarriedBack::default(),
            dialling: None,
            course: None,
            target: None,
            status: None,
        }
    }

    /// Of a backend that is being dialled for the client with this link.
    pub(super) fn of_backend(
        client: usize,
        carries: Carried,
        dialling: Dialling,
        course: Option<Box<Course>>,
    ) -> BridgeLink {
        BridgeLink {
            dialling: Some(dialling),
            course,
            ..BridgeLink::of_client(client, carries)
        }
    }

    /// Whether octets go both ways as they are.
    pub(super) fn relays(&self) -> bool {
        matches!(self.carries, Carried::Octets(_))
    }
}
