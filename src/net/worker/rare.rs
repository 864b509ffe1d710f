//! What most links have nothing of, so that an idle one is small.

use std::sync::Arc;

use super::arriving::Arriving;
use super::bridge_link::BridgeLink;
use super::record::LinkRecord;
use crate::net::budget::Held;
use crate::net::deflation::Deflation;
use crate::net::listen::ListenPolicy;

/// What a link has only now and then, or only some links have.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// Octets that were received and not parsed.
    pub(super) unparsed: Vec<u8>,
    /// The message that is arriving in pieces.
    pub(super) arriving: Option<Box<Arriving>>,
    /// The message that is being deflated, to be sent.
    pub(super) deflation: Option<Box<Deflation>>,
    /// The other link of its bridge, if it has one.
    pub(super) bridge: Option<Box<BridgeLink>>,
    pub(super) record: LinkRecord,
    /// What was counted of its memory.
    pub(super) memory: Held,
    /// What its listener shows and answers, while something may come before HTTP.
    pub(super) listener: Option<Arc<ListenPolicy>>,
    /// Octets that were thrown away while draining.
    drained: u32,
}

impl Rare {
    /// Whether all that was received is delivered, nothing is recorded, and nothing
    /// deflated.
    #[inline]
    pub(super) fn is_usual(&self) -> bool {
        self.unparsed.is_empty()
            && self.arriving.is_none()
            && self.deflation.is_none()
            && self.record.recorder().is_none()
    }

    /// Whether nothing is in it.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.unparsed.is_empty()
            && self.arriving.is_none()
            && self.deflation.is_none()
            && self.bridge.is_none()
            && self.record.is_empty()
            && self.listener.is_none()
            && !self.memory.is_some()
            && self.drained == 0
    }

    /// Octets were thrown away while draining; gives how many there were.
    pub(super) fn drained(&mut self, octets: usize) -> u32 {
        let octets = u32::try_from(octets).unwrap_or(u32::MAX);
        self.drained = self.drained.saturating_add(octets);
        self.drained
    }
}
