//! What a link of a bridge knows of the other one.

use super::dialling::Dialling;
use crate::conn::{Coding, Direction, Tally};
use crate::handshake::{CarriedHeader, Response};

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

/// What a link of a bridge knows of the other one.
#[derive(Debug)]
pub(super) struct BridgeLink {
    /// The other link; `None` once it is gone.
    pub(super) partner: Option<usize>,
    /// What this link's peer sends goes this way.
    pub(super) direction: Direction,
    /// What a partner that is gone had carried.
    pub(super) carried: Tally,
    /// The backend's link: the subprotocol that it chose.
    pub(super) subprotocol: Option<String>,
    /// The backend's link: the headers of its response that its client gets.
    pub(super) headers: CarriedBack,
    /// The backend's link: how it is dialled; `None` once TCP is connected.
    pub(super) dialling: Option<Dialling>,
}

impl BridgeLink {
    /// Of a client, whose backend has this link.
    pub(super) fn of_client(backend: usize, coding: Coding) -> BridgeLink {
        BridgeLink {
            partner: Some(backend),
            direction: Direction::new(coding),
            carried: Tally::default(),
            subprotocol: None,
            headers: CarriedBack::default(),
            dialling: None,
        }
    }

    /// Of a backend that is being dialled for the client with this link.
    pub(super) fn of_backend(client: usize, coding: Coding, dialling: Dialling) -> BridgeLink {
        BridgeLink {
            dialling: Some(dialling),
            ..BridgeLink::of_client(client, coding.reverse())
        }
    }
}
