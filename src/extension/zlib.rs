//! Raw DEFLATE as zlib inflates it. This is the only file that knows the library
//! behind it, which needs std.

use zlib_rs::{InflateFlush, Status};

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

fn since(before: u64, now: u64) -> usize {
    let since = usize::try_from(now.wrapping_sub(before));
    since.unwrap_or_else(|_| unreachable!("a call stays within its slices"))
}
