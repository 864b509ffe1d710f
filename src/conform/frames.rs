//! Where the frames of the peer start and end, whatever rules they break. Behind a
//! frame that broke one, the peer's close is still looked for.

use std::collections::VecDeque;

use crate::extension::{Exceeded, WindowWatch};
use crate::frame::{MAX_HEADER, Mask};
use crate::version::Side;

/// A close of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeenClose {
    /// Its body, unmasked.
    pub(super) body: Vec<u8>,
    /// Whether it is masked.
    pub(super) masked: bool,
}

/// Walks over the frames of one direction, in the layout of hybi-07.
#[derive(Debug, Default)]
pub(super) struct FrameWalk {
    /// The octets of the header that have arrived.
    header: Vec<u8>,
    /// Whether the header of a frame has arrived, and not all of its payload.
    is_in_frame: bool,
    /// The octets of payload that are still to come.
    left: u64,
    /// The payload of a close or a pong that is arriving.
    body: Option<Vec<u8>>,
    opcode: u8,
    /// The pongs that were not decoded.
    pongs: VecDeque<(Vec<u8>, bool)>,
    mask: Mask,
    masked: bool,
    /// The first close that arrived whole.
    close: Option<SeenClose>,
    /// The compressed messages, where the window of their sender is looked at.
    window: Option<WindowWatch>,
    /// Whether this is what stands behind a close: payloads are not kept then.
    is_behind_close: bool,
    /// The opcode of the first frame that may not stand there.
    behind_close: Option<u8>,
}

/// The longest payload of a close or pong that is looked at: more than it may have.
const MOST_BODY: u64 = 4096;
/// The opcode of a close.
const CLOSE: u8 = 8;
const PONG: u8 = 10;

impl FrameWalk {
    /// Walks over what stands behind a close.
    pub(super) fn behind_close() -> FrameWalk {
        FrameWalk {
            is_behind_close: true,
            ..FrameWalk::default()
        }
    }

    /// The opcode of the first frame behind a close, but for pings and closes: these
    /// do no harm there.
    pub(super) fn opcode_behind_close(&self) -> Option<u8> {
        self.behind_close
    }

    /// Holds the sender to a window, where it has one.
    pub(super) fn hold_to_window(&mut self, window: Option<WindowWatch>) {
        self.window = window;
    }

    /// What refers back beyond the window, once.
    pub(super) fn take_exceeded(&mut self) -> Option<Exceeded> {
        self.window.as_mut()?.take_exceeded()
    }

    /// More octets have arrived.
    pub(super) fn feed(&mut self, mut octets: &[u8]) {
        while self.close.is_none() && !octets.is_empty() {
            if self.left > 0 {
                let n = usize::try_from(self.left).unwrap_or(usize::MAX);
                let (payload, rest) = octets.split_at(n.min(octets.len()));
                octets = rest;
                self.left -= payload.len() as u64;
                if let Some(body) = &mut self.body {
                    body.extend_from_slice(payload);
                } else if let Some(window) = &mut self.window {
                    let mut payload = payload.to_vec();
                    self.mask.apply(&mut payload);
                    window.payload(&payload);
                }
            } else {
                octets = self.read_header(octets);
            }
            if self.left == 0 {
                self.end_frame();
            }
        }
    }

    /// Takes octets of the header; gives what follows them.
    fn read_header<'o>(&mut self, octets: &'o [u8]) -> &'o [u8] {
        let (mut taken, mut whole) = (0, None);
        for octet in octets {
            let opcode = octet & 15;
            if self.is_behind_close && self.header.is_empty() && matches!(opcode, 0..=2 | PONG) {
                self.behind_close.get_or_insert(opcode);
            }
            self.header.push(*octet);
            taken += 1;
            whole = self.header_fields();
            if whole.is_some() {
                break;
            }
        }
        if let Some((opcode, length, key)) = whole {
            let first = self.header.first().copied().unwrap_or(0);
            self.header.clear();
            self.left = length;
            self.masked = key.is_some();
            self.mask = key.map_or(Mask::Clear, Mask::four);
            let is_kept = matches!(opcode, CLOSE | PONG) && length <= MOST_BODY;
            self.body = (is_kept && !self.is_behind_close).then(Vec::new);
            self.opcode = opcode;
            if let Some(window) = &mut self.window {
                window.start_frame(first);
            }
            self.is_in_frame = true;
        }
        octets.split_at(taken).1
    }

    /// Opcode, length and masking key, where all of the header has arrived.
    fn header_fields(&self) -> Option<(u8, u64, Option<[u8; 4]>)> {
        debug_assert!(self.header.len() <= MAX_HEADER + 4);
        let (&[first, second], rest) = self.header.split_first_chunk::<2>()?;
        let (length, rest) = match second & 0x7f {
            126 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*length), rest)
            }
            short => (u64::from(short), rest),
        };
        let key = match second & 0x80 {
            0 => None,
            _ => Some(*rest.first_chunk::<4>()?),
        };
        Some((first & 15, length, key))
    }

    fn end_frame(&mut self) {
        if !std::mem::take(&mut self.is_in_frame) {
            return;
        }
        if let Some(window) = &mut self.window {
            window.end_frame();
        }
        let Some(mut body) = self.body.take() else {
            return;
        };
        self.mask.apply(&mut body);
        if self.opcode == PONG {
            self.pongs.push_back((body, self.masked));
        } else {
            let masked = self.masked;
            self.close = Some(SeenClose { body, masked });
        }
    }

    /// The next pong that was not decoded, and whether it is masked.
    pub(super) fn take_pong(&mut self) -> Option<(Vec<u8>, bool)> {
        self.pongs.pop_front()
    }

    /// The close of the peer, once.
    pub(super) fn take_close(&mut self) -> Option<SeenClose> {
        self.close.take()
    }
}

impl SeenClose {
    /// Whether a peer of this side masks so.
    pub(super) fn is_masked_right(&self, from: Side) -> bool {
        self.masked == (from == Side::Client)
    }

    /// Its code, where it has one.
    pub(super) fn code(&self) -> Option<u16> {
        let (code, _) = self.body.split_first_chunk::<2>()?;
        Some(u16::from_be_bytes(*code))
    }

    /// The octets behind the code.
    pub(super) fn reason(&self) -> &[u8] {
        self.body.get(2..).unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::conform::made;
    use crate::extension::{Codecs, Level, furthest};

    #[test]
    fn a_close_is_found_behind_frames_that_break_rules() {
        let mut octets = b"\xf3\x02ab\x81\x7e\x00\x03abc\x89\x00".to_vec();
        octets.extend_from_slice(b"\x82\xfe\x01\x00\x01\x02\x03\x04");
        octets.extend_from_slice(&[7; 256]);
        octets.extend_from_slice(b"\x88\x83\x01\x02\x03\x04\x02\xea\x62");
        for portion in [1, 2, 3, 100, 1000] {
            let mut walk = FrameWalk::default();
            for octets in octets.chunks(portion) {
                walk.feed(octets);
            }
            let close = walk.take_close().unwrap();
            assert_eq!(close.code(), Some(1000));
            assert_eq!(close.reason(), b"a");
            assert!(close.is_masked_right(Side::Client));
        }
    }

    #[test]
    fn every_frame_behind_a_close_is_looked_at() {
        let looked = |octets: &[u8], portion: usize| {
            let mut walk = FrameWalk::behind_close();
            octets.chunks(portion).for_each(|octets| walk.feed(octets));
            walk.opcode_behind_close()
        };
        for portion in [1, 2, 3, 100] {
            // Payloads that look like headers.
            assert_eq!(looked(b"\x89\x02\x81\x00\x88\x02\x82\x00", portion), None);
            let pings = b"\x89\x02hi\x88\x00\x89\x82abcd\x81\x82\x8a\x01x";
            assert_eq!(looked(pings, portion), Some(PONG));
            assert_eq!(looked(b"\x89\x00\x02\x01a\x81\x00", portion), Some(2));
        }
    }

    #[test]
    fn a_compressor_keeps_to_its_window() {
        for like in made::KINDS {
            let block = made::block(like).unwrap();
            for bits in 9..=15 {
                let mut deflated = Vec::new();
                let mut deflater = Codecs::default().deflater(Level::Best, bits);
                deflater.message(block, &mut deflated);
                let found = furthest(&deflated).unwrap();
                assert!(found <= 1 << bits, "{like} {bits}: {found}");
                let is_packed = like == "packed" || like == "picture";
                assert!(
                    is_packed || found > 1 << (bits - 2),
                    "{like} {bits}: {found}"
                );
            }
        }
    }
}
