//! How a parse is watched.
//!
//! The parser names each field as it reads it. `()` watches nothing, by an
//! empty inlined call; `Vec<Span>` keeps the explanation. Two laws are held by
//! tests over all vectors: every octet is named exactly once, and watching
//! changes nothing.

use alloc::vec::Vec;
use core::ops::Range;

/// One field on the wire: its octets, its kind and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The octets it lies in, by their position in the peer's stream.
    pub at: Range<u64>,
    /// The bits it fills in each of these octets, 0 being the most
    /// significant; `0..8` for whole octets.
    pub bits: Range<u8>,
    /// What it is.
    pub field: Field,
    /// Its value where it is a number, after unmasking.
    pub value: u64,
}

/// What a span of octets is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// The request method.
    Method,
    /// The request target.
    Target,
    /// `HTTP/1.1`.
    HttpVersion,
    /// The status code of a response.
    Status,
    /// The reason phrase of a response.
    Reason,
    /// A space between the parts of the first line.
    Space,
    /// The name of a header that was looked at.
    HeaderName,
    /// The value of a header that was looked at.
    HeaderValue,
    /// The name of a header that decided nothing.
    IgnoredName,
    /// The value of a header that decided nothing.
    IgnoredValue,
    /// The colon after a header's name, and white space around its value.
    Separator,
    /// CR LF.
    LineEnd,
    /// The empty line that ends a head.
    HeadEnd,
    /// A head that could not be read.
    Unreadable,
    /// hixie-76: the eight octets after the request's head.
    Key3,
    /// hixie-76: the sixteen octets after the response's head.
    Digest,
    /// hixie-76: white space between the handshake and the first frame, which
    /// belongs to neither.
    Stray,
    /// hixie: the octet that opens a frame.
    FrameType,
    /// hixie: one octet of a length in base 128.
    LengthDigit,
    /// hixie: the 0xFF that ends a text.
    Terminator,
    /// hybi-01: more frames of this message follow.
    More,
    /// The last frame of its message.
    Fin,
    /// The three reserved bits.
    Reserved,
    /// The reserved fourth bit, before hybi-07 made it MASK.
    Reserved4,
    /// What kind of frame it is.
    Opcode,
    /// Whether the payload is masked.
    Mask,
    /// The length, or 126 or 127 where it follows.
    Length7,
    /// The length in two octets.
    Length16,
    /// The length in eight octets.
    Length64,
    /// The key that masks payload, or from hybi-05 to -06 the whole frame.
    MaskingKey,
    /// hybi-04: the octets that make this frame's key.
    FrameNonce,
    /// Payload of a message.
    Payload,
    /// Payload of a frame that is read and thrown away.
    Skipped,
    /// Payload of a ping or a pong.
    ControlPayload,
    /// The status code of a close frame.
    CloseCode,
    /// The reason of a close frame, or its whole body where it has no code.
    CloseReason,
    /// Octets after the end; they are not parsed.
    AfterEnd,
    /// Derived: a hixie-76 key as it was read, from the colon and one space on.
    Key,
    /// Derived: the digits of a hixie-76 key, in order, as ASCII.
    KeyDigits,
    /// Derived: how many spaces a hixie-76 key has, in four octets.
    KeySpaces,
    /// Derived: the number a hixie-76 key holds, divided by its spaces.
    KeyNumber,
    /// Derived: the sixteen octets under MD5.
    DigestInput,
    /// Derived: the key and GUID under SHA-1.
    AcceptInput,
    /// Derived: the SHA-1 of key and GUID.
    AcceptDigest,
    /// Derived: the proof expected or given.
    Proof,
    /// hybi-04, derived: key, nonce and GUID under SHA-1.
    SecretInput,
    /// hybi-04, derived: the masking key of the connection.
    Secret,
    /// hybi-04, derived: the frame's nonce and the connection's masking key
    /// under SHA-1.
    FrameKeyInput,
    /// hybi-04, derived: the key that masks one frame.
    FrameKey,
    /// Derived: what compressed payload inflates to, in as many portions as it
    /// came out.
    Inflated,
}

impl Field {
    /// Whether it is payload of a frame: of a message, of a control frame, or what was
    /// skipped.
    #[must_use]
    pub fn is_payload(self) -> bool {
        matches!(
            self,
            Field::Payload
                | Field::Skipped
                | Field::ControlPayload
                | Field::CloseCode
                | Field::CloseReason
        )
    }
}

/// An observer of a parse.
pub trait Trace {
    /// False for an observer that ignores everything, so that nothing is
    /// computed for it.
    const WATCHING: bool = true;

    /// These octets were read as this field.
    fn see(&mut self, span: Span);

    /// These octets were computed on the way.
    fn derive(&mut self, field: Field, octets: &[u8]) {
        let _ = (field, octets);
    }
}

impl Trace for () {
    const WATCHING: bool = false;

    #[inline(always)]
    fn see(&mut self, _: Span) {}
}

impl Trace for Vec<Span> {
    fn see(&mut self, span: Span) {
        self.push(span);
    }
}

impl<T: Trace> Trace for &mut T {
    const WATCHING: bool = T::WATCHING;

    fn see(&mut self, span: Span) {
        (**self).see(span);
    }

    fn derive(&mut self, field: Field, octets: &[u8]) {
        (**self).derive(field, octets);
    }
}

/// Reports fields one after the other, so that no octet is left out.
pub(crate) struct SpanWriter<'t, T> {
    trace: &'t mut T,
    at: u64,
}

impl<'t, T: Trace> SpanWriter<'t, T> {
    pub(crate) fn new(trace: &'t mut T, at: u64) -> SpanWriter<'t, T> {
        SpanWriter { trace, at }
    }

    /// The next `n` octets are this field.
    #[inline]
    pub(crate) fn octets(&mut self, n: usize, field: Field, value: u64) {
        if T::WATCHING && n > 0 {
            let at = self.at;
            self.at += n as u64;
            self.trace.see(Span {
                at: at..self.at,
                bits: 0..8,
                field,
                value,
            });
        }
    }

    /// The next octet holds these fields: width in bits, field, value.
    #[inline]
    pub(crate) fn bits(&mut self, fields: &[(u8, Field, u64)]) {
        if T::WATCHING {
            let at = self.at;
            self.at += 1;
            let mut bit = 0;
            for &(width, field, value) in fields {
                self.trace.see(Span {
                    at: at..self.at,
                    bits: bit..bit + width,
                    field,
                    value,
                });
                bit += width;
            }
        }
    }

    pub(crate) fn derive(&mut self, field: Field, octets: &[u8]) {
        self.trace.derive(field, octets);
    }
}
