//! What one call of the library behind `zlib` does.

/// How far one call came.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// Octets of the input that were read.
    pub(super) consumed: usize,
    /// Octets that were written.
    pub(super) written: usize,
    /// The last block of the stream has ended.
    pub(super) has_ended: bool,
    /// What follows what was written is not DEFLATE.
    pub(super) is_corrupt: bool,
}

/// Where a call stops.
#[derive(Clone, Copy)]
pub(super) enum Until {
    /// Where the input is used up, or the room.
    Input,
    /// There too, and at the end of a block.
    Block,
}
