//! Raw DEFLATE as zlib speaks it. This is the only file that knows the library
//! behind it, which needs std.

use zlib_rs::{DeflateConfig, DeflateFlush, InflateFlush, Status};

use super::step::{Step, Until};

pub(super) struct Inflate(zlib_rs::Inflate);

impl Inflate {
    pub(super) fn new() -> Inflate {
        // With the largest window: only then does a reset keep the memory as
        // it is. It reads what was made with a smaller one.
        Inflate(zlib_rs::Inflate::new(false, 15))
    }

    pub(super) fn reset(&mut self) {
        self.0.reset(false);
    }

    pub(super) fn inflate(&mut self, octets: &[u8], room: &mut [u8], until: Until) -> Step {
        let flush = match until {
            Until::Input => InflateFlush::NoFlush,
            Until::Block => InflateFlush::Block,
        };
        let before = (self.0.total_in(), self.0.total_out());
        let status = self.0.decompress(octets, room, flush);
        Step {
            consumed: since(before.0, self.0.total_in()),
            written: since(before.1, self.0.total_out()),
            has_ended: status == Ok(Status::StreamEnd),
            is_corrupt: status.is_err(),
        }
    }
}

pub(super) struct Deflate(zlib_rs::Deflate);

impl Deflate {
    pub(super) fn new(level: i32, window_bits: u8, memory_level: i32) -> Deflate {
        Deflate(zlib_rs::Deflate::new_with_config(DeflateConfig {
            level,
            // Negative: without the header and the checksum of zlib.
            window_bits: -i32::from(window_bits),
            mem_level: memory_level,
            ..DeflateConfig::default()
        }))
    }

    pub(super) fn reset(&mut self) {
        self.0.reset();
    }

    /// Only after a reset.
    pub(super) fn set_level(&mut self, level: i32) {
        let set = self.0.set_level(level);
        debug_assert!(set.is_ok());
    }

    /// Deflates and flushes to an octet. It must be called until room is left.
    pub(super) fn deflate(&mut self, octets: &[u8], room: &mut [u8]) -> Step {
        let before = (self.0.total_in(), self.0.total_out());
        let done = self.0.compress(octets, room, DeflateFlush::SyncFlush);
        debug_assert!(done.is_ok());
        Step {
            consumed: since(before.0, self.0.total_in()),
            written: since(before.1, self.0.total_out()),
            has_ended: false,
            is_corrupt: false,
        }
    }
}

fn since(before: u64, now: u64) -> usize {
    let since = usize::try_from(now.wrapping_sub(before));
    since.unwrap_or_else(|_| unreachable!("a call stays within its slices"))
}
