//! Names of connections.

/// Names a connection of a server for as long as it lives; never given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    /// The worker that has it.
    pub(super) worker: usize,
    /// Its slot there, and the generation of the slot.
    pub(super) token: usize,
}
