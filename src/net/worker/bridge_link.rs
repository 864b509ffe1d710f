//! What a link of a bridge knows of the other one.

use super::dialling::Dialling;
use crate::conn::{Coding, Direction, Tally};

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
