//! What a client asked, and what of it every server must repeat.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use super::head::{Head, Header};
use crate::error::Violation;
use crate::version::Version;

/// A violation, and its octets from the start of what was checked.
pub(super) type Violated = (Violation, Range<usize>);

/// What a client has asked, which a server must prove to have read.
#[derive(Debug)]
pub(super) struct Challenged {
    pub(super) version: &'static Version,
    pub(super) key: String,
    pub(super) numbers: [u32; 2],
    pub(super) key3: [u8; 8],
    pub(super) origin: String,
    /// The URL that was dialled: what may stand before its target, and that.
    pub(super) bases: Vec<String>,
    pub(super) target: String,
    pub(super) subprotocols: Vec<String>,
    /// The values of the header that offers extensions.
    pub(super) extensions: Vec<Vec<u8>>,
}

impl Challenged {
    /// hixie: origin and location come back as they were sent, once each.
    pub(super) fn verify_echo(
        &self,
        head: &Head<'_>,
        origin: &str,
        location: &str,
    ) -> Result<(), Violated> {
        let is =
            |name: &str, want: &str| head.only(name).is_some_and(|h| h.value == want.as_bytes());
        if !is(origin, &self.origin) {
            return Err((Violation::OriginMismatch, value_at(head, origin)));
        }
        let mut locations = self
            .bases
            .iter()
            .map(|base| format!("{base}{}", self.target));
        if !locations.any(|url| is(location, &url)) {
            return Err((Violation::LocationMismatch, value_at(head, location)));
        }
        Ok(())
    }

    /// A hixie client that asked for a subprotocol wants the whole string back;
    /// one that did not ask does not look.
    pub(super) fn verify_opaque_subprotocol<'b>(
        &self,
        head: &Head<'b>,
        name: &str,
    ) -> Result<Option<&'b str>, Violated> {
        let Some(asked) = self.subprotocols.first() else {
            return Ok(None);
        };
        head.only(name)
            .and_then(Header::text)
            .filter(|chosen| chosen == asked)
            .map(Some)
            .ok_or_else(|| (Violation::SubprotocolMismatch, value_at(head, name)))
    }
}

/// Where the last header of this name has its value, or where it is missing.
pub(super) fn value_at(head: &Head<'_>, name: &str) -> Range<usize> {
    let last = head.all(name).last();
    last.map_or_else(|| head.missing_at(), Header::value_at)
}
