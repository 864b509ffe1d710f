//! What a decoder and an encoder must know of a connection.

use super::header::Rsv1;
use super::hybi04::MaskingKey;
use crate::error::Unsendable;
use crate::extension::{Agreed, Deflate};
use crate::version::{Layout, Row, Side, Version};

/// The version of an open connection, and how its frames are laid out: four
/// octets, since every connection has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    row: Row,
    pub(super) layout: WireLayout,
    deflate: Option<Agreed>,
}

/// How frames are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireLayout {
    Hixie75,
    Hybi01,
    /// The layout of hybi-01 was asked for by `Sec-WebSocket-Draft`, but known
    /// clients that send it frame as hixie-76: the first octet of a frame tells.
    Hybi01OrHixie75,
    Hybi04,
    /// hybi-04 whose handshake was not seen: frames of the server, which are not
    /// masked, can be read, and a client can send nothing.
    Hybi04WithoutKey,
    Hybi05,
    Hybi07,
    /// The layout of hybi-07 where compression was agreed on: RSV1 has a meaning.
    Hybi07Deflate,
}

/// One direction of a wire: the end that sends, and hybi-04's masking key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OneWay<'k> {
    wire: Wire,
    pub(super) from: Side,
    key: Option<&'k MaskingKey>,
}

impl<'k> OneWay<'k> {
    #[inline(always)]
    pub(super) fn version(&self) -> &'static Version {
        self.wire.version()
    }

    /// Which end sends.
    pub(crate) fn from(&self) -> Side {
        self.from
    }

    #[inline(always)]
    pub(super) fn layout(&self) -> WireLayout {
        self.wire.layout
    }

    /// What RSV1 means.
    pub(super) fn rsv1(&self) -> Rsv1 {
        match self.wire.deflate() {
            None => Rsv1::Reserved,
            Some(deflate) if deflate.is_per_frame() => Rsv1::Frame,
            Some(_) => Rsv1::Message,
        }
    }

    /// The masking key of hybi-04.
    pub(super) fn key(&self) -> &'k MaskingKey {
        let Some(key) = self.key else {
            unreachable!("a wire of hybi-04 has a key, or nothing is masked on it");
        };
        key
    }
}

impl Wire {
    /// The wire that an opening handshake agreed on. hybi-04 makes a masking
    /// key, and no other version does.
    ///
    /// # Panics
    ///
    /// Where the handshake of hybi-04 made no key, which is a fault of this
    /// library.
    pub(crate) fn agreed(version: &'static Version, key: Option<&MaskingKey>) -> Wire {
        let layout = match (version.layout, key) {
            (Layout::Hixie75, _) => WireLayout::Hixie75,
            (Layout::Hybi01, _) => WireLayout::Hybi01OrHixie75,
            (Layout::Hybi04, Some(_)) => WireLayout::Hybi04,
            (Layout::Hybi04, None) => unreachable!("the handshake of hybi-04 makes a key"),
            (Layout::Hybi05, _) => WireLayout::Hybi05,
            (Layout::Hybi07, _) => WireLayout::Hybi07,
        };
        let row = Row::of(version);
        Wire {
            row,
            layout,
            deflate: None,
        }
    }

    /// The direction in which `from` sends; `key` is that of the connection.
    #[inline(always)]
    pub(crate) fn sent_by(self, from: Side, key: Option<&MaskingKey>) -> OneWay<'_> {
        OneWay {
            wire: self,
            from,
            key,
        }
    }

    /// The same wire, where the handshake agreed on compression too.
    pub(crate) fn with_deflate(self, agreed: Option<Agreed>) -> Wire {
        if self.layout != WireLayout::Hybi07 || agreed.is_none() {
            return self;
        }
        Wire {
            layout: WireLayout::Hybi07Deflate,
            deflate: agreed,
            ..self
        }
    }

    /// The compression that was agreed on.
    #[inline]
    pub(crate) fn deflate(&self) -> Option<Deflate> {
        self.deflate.map(Deflate::from)
    }

    /// Whether compression was agreed on.
    #[inline]
    pub(crate) fn deflates(&self) -> bool {
        self.deflate.is_some()
    }

    /// The wire of a connection whose opening handshake was not seen, for the
    /// end `side`.
    ///
    /// # Errors
    ///
    /// [`Unsendable::NoMaskingKey`] for the server's end of hybi-04: it cannot
    /// read what the client sends.
    pub(crate) fn unseen(version: &'static Version, side: Side) -> Result<Wire, Unsendable> {
        match (version.layout, side) {
            (Layout::Hybi04, Side::Server) => Err(Unsendable::NoMaskingKey),
            (_, Side::Client) => Ok(Wire::unseen_by_client(version)),
            (_, Side::Server) => Ok(Wire::agreed(version, None)),
        }
    }

    /// The same for the client's end.
    pub(crate) fn unseen_by_client(version: &'static Version) -> Wire {
        match version.layout {
            Layout::Hybi04 => Wire {
                row: Row::of(version),
                layout: WireLayout::Hybi04WithoutKey,
                deflate: None,
            },
            _ => Wire::agreed(version, None),
        }
    }

    /// Settles the layout by the first octets that the peer sends behind the
    /// handshake; gives whether they are enough. 80 and FF can start no
    /// connection of hybi-03, where they have a reserved bit. 00 can only start
    /// a continuation of nothing there, but a text of hixie: what follows it is
    /// taken for text, unless it is a control character, which would be a length.
    pub(crate) fn settle_layout(&mut self, octets: &[u8]) -> bool {
        if !matches!(self.layout, WireLayout::Hybi01OrHixie75) {
            return true;
        }
        let is_hixie = match octets {
            [] | [0x00] => return false,
            [0x00, second, ..] => !second.is_ascii_control() || second.is_ascii_whitespace(),
            [first, ..] => matches!(first, 0x80 | 0xff),
        };
        self.layout = WireLayout::Hybi01;
        if let (true, Some(hixie)) = (is_hixie, self.version().twin()) {
            self.row = Row::of(hixie);
            self.layout = WireLayout::Hixie75;
        }
        true
    }

    /// Keeps to the layout that was asked for.
    pub(crate) fn keep_layout(&mut self) {
        if let WireLayout::Hybi01OrHixie75 = self.layout {
            self.layout = WireLayout::Hybi01;
        }
    }

    #[inline]
    pub(crate) fn version(&self) -> &'static Version {
        self.row.version()
    }

    /// Whether frames have the layout of hixie.
    #[inline]
    pub(crate) fn is_hixie(&self) -> bool {
        matches!(self.layout, WireLayout::Hixie75)
    }

    /// Whether this end can send frames.
    pub(crate) fn can_send(&self) -> bool {
        !matches!(self.layout, WireLayout::Hybi04WithoutKey)
    }
}
