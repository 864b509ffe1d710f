//! Extensions of WebSocket: how they are negotiated, and the one kind that is
//! spoken here, compression.
//!
//! A client offers extensions in `Sec-WebSocket-Extensions`, a server answers
//! with those that it accepts. [`Deflate`] is what the two agreed on. Compression
//! needs the feature `std`; without it nothing is offered and nothing accepted.

mod step;
#[cfg(feature = "std")]
mod zlib;
#[cfg(not(feature = "std"))]
mod no_zlib;
mod rfc1951;
mod deflate;
mod context;
mod header;
mod known;
mod negotiate;
#[cfg(any(feature = "conform", feature = "explain"))]
mod distances;

use core::fmt;
use core::num::NonZeroU16;

use crate::version::Side;

pub use context::ContextMemory;
pub(crate) use context::HeldContexts;
#[cfg(feature = "explain")]
pub(crate) use deflate::TAIL;
pub use deflate::{Codecs, Corrupt, Deflater, Finished, Inflated, Inflater};
#[cfg(feature = "explain")]
pub(crate) use distances::first_beyond;
#[cfg(all(test, feature = "conform"))]
pub(crate) use distances::furthest;
#[cfg(any(feature = "conform", feature = "explain"))]
pub use distances::{Exceeded, WindowWatch};
pub use header::{Element, Malformed, Parameter, Value, elements};
pub use known::{Changes, KNOWN, Known, known};
pub use negotiate::{Answer, BadAnswer, answer, check_answer, fault_of_offer, mistaken, offer};

/// An extension that compresses, by its name in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// RFC 7692: the payload of a message is compressed as a whole.
    PermessageDeflate,
    /// The payload of each data frame is compressed on its own.
    DeflateFrame,
    /// `deflate-frame`, under the name that Safari and Chrome shipped.
    XWebkitDeflateFrame,
}

impl Name {
    /// The token in the header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Name::PermessageDeflate => "permessage-deflate",
            Name::DeflateFrame => "deflate-frame",
            Name::XWebkitDeflateFrame => "x-webkit-deflate-frame",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How one of the two ends compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// The compressor starts anew for each message, or each frame.
    pub no_context_takeover: bool,
    /// The compressor refers back at most 2 to the power of this many octets: 8
    /// to 15. A connection does not hold its peer to that, as it inflates with the
    /// largest window; what tests a peer does, by `WindowWatch`.
    pub max_window_bits: u8,
}

impl Coding {
    /// Whether this end compresses with it: not with a window of 8 bits. Messages
    /// are sent uncompressed then, and a server agrees to no such window.
    #[must_use]
    pub const fn can_be_kept(self) -> bool {
        self.max_window_bits >= LEAST_OF_OURS
    }
}

impl Default for Coding {
    /// With context takeover and the largest window: what holds where a header
    /// has no parameters.
    fn default() -> Coding {
        Coding {
            no_context_takeover: false,
            max_window_bits: MOST_WINDOW_BITS,
        }
    }
}

/// The smallest and the largest window that can be named.
const LEAST_WINDOW_BITS: u8 = 8;
pub(crate) const MOST_WINDOW_BITS: u8 = 15;

/// The smallest window with which this end compresses. One of 8 bits would be
/// possible, and other servers decline it too: zlib, which most peers have, makes no
/// raw stream with it.
const LEAST_OF_OURS: u8 = LEAST_WINDOW_BITS + 1;

/// The compression that both ends agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// The extension.
    pub name: Name,
    /// How the server compresses.
    pub server: Coding,
    /// How the client compresses.
    pub client: Coding,
}

impl Deflate {
    /// How this end compresses what it sends.
    #[must_use]
    pub fn of(self, sender: Side) -> Coding {
        match sender {
            Side::Server => self.server,
            Side::Client => self.client,
        }
    }

    /// Whether an end refers back to messages, or frames, before.
    pub(crate) fn keeps_context(self) -> bool {
        !(self.server.no_context_takeover && self.client.no_context_takeover)
    }

    /// Whether each frame is compressed on its own; otherwise a message is
    /// compressed as a whole.
    #[must_use]
    pub fn is_per_frame(self) -> bool {
        match self.name {
            Name::PermessageDeflate => false,
            Name::DeflateFrame | Name::XWebkitDeflateFrame => true,
        }
    }

    /// Writes the value of the header, on demand with a window of the server that
    /// is the largest.
    fn write(self, names_server_window: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_str())?;
        let (server, client) = (self.server, self.client);
        if self.is_per_frame() {
            // The parameters of a response are about the client's frames alone.
            write_flag(f, "no_context_takeover", client)?;
            return write_window(f, "max_window_bits", client, false);
        }
        write_flag(f, "server_no_context_takeover", server)?;
        write_flag(f, "client_no_context_takeover", client)?;
        write_window(f, "server_max_window_bits", server, names_server_window)?;
        write_window(f, "client_max_window_bits", client, false)
    }
}

/// The value of the header in a response, parameters in the order of RFC 7692
/// section 7.1. A window of 15 bits is not named.
impl fmt::Display for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(false, f)
    }
}

fn write_flag(f: &mut fmt::Formatter<'_>, name: &str, coding: Coding) -> fmt::Result {
    match coding.no_context_takeover {
        true => write!(f, "; {name}"),
        false => Ok(()),
    }
}

fn write_window(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    coding: Coding,
    names_all: bool,
) -> fmt::Result {
    match coding.max_window_bits {
        MOST_WINDOW_BITS if !names_all => Ok(()),
        bits => write!(f, "; {name}={bits}"),
    }
}

/// A [`Deflate`] in two octets, for what every connection holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Agreed(NonZeroU16);

impl fmt::Debug for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Deflate::from(*self).fmt(f)
    }
}

impl From<Deflate> for Agreed {
    fn from(deflate: Deflate) -> Agreed {
        // Two bits of name, never zero; four bits for each end.
        let name: u16 = match deflate.name {
            Name::PermessageDeflate => 1,
            Name::DeflateFrame => 2,
            Name::XWebkitDeflateFrame => 3,
        };
        let coding = |coding: Coding| {
            let bits = coding.max_window_bits.min(MOST_WINDOW_BITS);
            let bits = bits.saturating_sub(LEAST_WINDOW_BITS);
            u16::from(coding.no_context_takeover) << 3 | u16::from(bits)
        };
        let packed = coding(deflate.server) << 6 | coding(deflate.client) << 2 | name;
        let packed = NonZeroU16::new(packed);
        Agreed(packed.unwrap_or_else(|| unreachable!("the name is not zero")))
    }
}

impl From<Agreed> for Deflate {
    fn from(Agreed(packed): Agreed) -> Deflate {
        let packed = packed.get();
        let coding = |shift: u16| {
            let [_, octet] = (packed >> shift).to_be_bytes();
            Coding {
                no_context_takeover: octet & 8 != 0,
                max_window_bits: LEAST_WINDOW_BITS + (octet & 7),
            }
        };
        Deflate {
            name: match packed & 3 {
                1 => Name::PermessageDeflate,
                2 => Name::DeflateFrame,
                _ => Name::XWebkitDeflateFrame,
            },
            server: coding(6),
            client: coding(2),
        }
    }
}

/// Whether, and in which memory, messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Not at all: nothing is offered and nothing accepted.
    #[default]
    Off,
    /// Each message on its own. The connections of a thread share a compressor,
    /// and an idle connection holds none.
    Shared,
    /// A message may refer to those before it, where the peer allows it: each
    /// connection holds a compressor and a decompressor of its own.
    PerConnection,
}

/// How much work is spent on a small size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// The least work.
    Fast,
    /// Between the two.
    #[default]
    Default,
    /// The smallest size.
    Best,
}

/// What it takes to deflate a message beside its octets, in octets of a long one. `cargo
/// bench --bench compression -- levels` measures both.
const COST_OF_MESSAGE: usize = 512;

/// Octets of one message that are deflated in one go where others wait: it takes some
/// milliseconds, by the same bench.
const AT_ONCE: usize = 1024 * 1024;

/// As many of a longer one, which is deflated over several turns.
#[cfg(feature = "net")]
const PORTION: usize = 64 * 1024;

/// How connections compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compression {
    /// Whether, and in which memory.
    pub mode: Mode,
    /// How hard the compressor works.
    pub level: Level,
    /// Messages of fewer octets are sent uncompressed.
    pub threshold: usize,
    /// Safari 15.0 to 15.3 gets compression too, which is defective there.
    pub allows_defective_safari: bool,
}

impl Default for Compression {
    /// Off.
    fn default() -> Compression {
        Compression {
            mode: Mode::Off,
            level: Level::Default,
            threshold: 64,
            allows_defective_safari: false,
        }
    }
}

impl Compression {
    /// In this mode.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> Compression {
        self.mode = mode;
        self
    }

    /// With this level.
    #[must_use]
    pub fn with_level(mut self, level: Level) -> Compression {
        self.level = level;
        self
    }

    /// With this length of the shortest message that is compressed.
    #[must_use]
    pub fn with_threshold(mut self, octets: usize) -> Compression {
        self.threshold = octets;
        self
    }

    /// What it takes to deflate so many octets of one message, in octets that the
    /// default level deflates in the same time.
    pub(crate) fn cost_of(&self, octets: usize) -> usize {
        self.times(octets.saturating_add(COST_OF_MESSAGE))
    }

    /// Whether a message of so many octets takes longer than others are to wait, where
    /// it is deflated in one go.
    pub(crate) fn is_too_long(&self, octets: usize) -> bool {
        self.times(octets) > AT_ONCE
    }

    /// Octets of a longer one that are deflated before others have their turns.
    #[cfg(feature = "net")]
    pub(crate) fn portion(&self) -> usize {
        PORTION / self.times(1)
    }

    fn times(&self, octets: usize) -> usize {
        match self.level {
            Level::Fast | Level::Default => octets,
            // So much where the octets are made to take long.
            Level::Best => octets.saturating_mul(4),
        }
    }

    /// Also with Safari 15.0 to 15.3.
    #[must_use]
    pub fn with_defective_safari(mut self) -> Compression {
        self.allows_defective_safari = true;
        self
    }
}
