//! Frames: octets to frames and back.
//!
//! A `Decoder` reads the frames of the peer, an `Encoder` writes ours, for
//! every layout in one shape. Each layout has a file of its own that says where
//! the key lies and what it masks. The header of two octets and the two longer
//! lengths are the same from hybi-01 on; they stand in `header.rs`, with the
//! rules that one header can break.

mod mask;
pub(crate) mod utf8;
mod header;
pub(crate) mod close;
pub(crate) mod hixie75;
mod hybi05;
pub(crate) mod hybi04;
mod hybi07;
mod wire;
mod decode;
mod encode;

pub use close::{BAD_GATEWAY, GOING_AWAY, NO_STATUS, NORMAL, Reason, code_for as close_code};
pub(crate) use decode::{Chunk, Data, Decoder, Frame};
pub use encode::Framing;
#[cfg(feature = "net")]
pub(crate) use encode::Shape;
pub(crate) use encode::{Encoder, OpenFrame, Position};
#[cfg(feature = "conform")]
pub(crate) use encode::{RawFrame, RawHeader};
pub(crate) use header::Control;
pub use header::Kind;
#[cfg(feature = "conform")]
pub(crate) use header::MAX_HEADER;
#[cfg(any(feature = "explain", feature = "conform"))]
pub(crate) use header::Opcode;
pub(crate) use hybi04::MaskingKey;
#[cfg(feature = "conform")]
pub(crate) use mask::Mask;
pub(crate) use wire::{OneWay, Wire};

/// How much white space stands before the first frame: servers of hixie-76 were
/// seen to send CR LF behind the digest. No frame starts with it.
pub(crate) fn stray(octets: &[u8]) -> usize {
    let is_white = |octet: &&u8| matches!(octet, b'\r' | b'\n' | b' ' | b'\t');
    octets.iter().take_while(is_white).count()
}
