//! A response that a client has read.

use super::head::Head;
use crate::extension::{Deflate, Element};

/// A response that was read.
#[derive(Debug)]
pub struct Response<'b> {
    head: Head<'b>,
    subprotocol: Option<&'b str>,
    deflate: Option<Deflate>,
}

impl<'b> Response<'b> {
    pub(super) fn new(head: Head<'b>) -> Response<'b> {
        Response {
            head,
            subprotocol: None,
            deflate: None,
        }
    }

    pub(super) fn set_subprotocol(&mut self, subprotocol: Option<&'b str>) {
        self.subprotocol = subprotocol;
    }

    pub(super) fn set_compression(&mut self, deflate: Option<Deflate>) {
        self.deflate = deflate;
    }

    /// The head, to look headers up in.
    #[must_use]
    pub fn head(&self) -> &Head<'b> {
        &self.head
    }

    /// The status code; 0 where the status line has none.
    #[must_use]
    pub fn status(&self) -> u16 {
        let [_, status, _] = self.head.first_line();
        if status.len() == 3 {
            status.parse().unwrap_or(0)
        } else {
            0
        }
    }

    /// The subprotocol that the server chose.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&'b str> {
        self.subprotocol
    }

    /// The extensions that the server agrees to.
    pub fn extensions(&self) -> impl Iterator<Item = Element<'b>> + '_ {
        self.head.extensions()
    }

    /// The compression that both ends agreed on.
    #[must_use]
    pub fn compression(&self) -> Option<Deflate> {
        self.deflate
    }
}
