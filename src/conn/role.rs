//! Which part one end of a connection plays.

use crate::version::Side;

/// Which part this end plays: the same in every state. It stands in each, where
/// there is room for it. The bits are ours, so that the state is known by one octet
/// of `Open`, which tells whether a close was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Role(u8);

impl Role {
    const CLIENT: u8 = 1;
    const MANUAL_CONTROL: u8 = 1 << 1;
    const KEEPS_COMPRESSED: u8 = 1 << 2;

    pub(super) fn of(side: Side) -> Role {
        Role(match side {
            Side::Client => Role::CLIENT,
            Side::Server => 0,
        })
    }

    #[inline]
    pub(super) fn side(self) -> Side {
        if self.0 & Role::CLIENT != 0 {
            Side::Client
        } else {
            Side::Server
        }
    }

    /// Leaves pings and closes of the peer to the caller to answer.
    pub(super) fn set_manual_control(&mut self) {
        self.0 |= Role::MANUAL_CONTROL;
    }

    /// Whether pings and closes of the peer are left to the caller to answer.
    pub(super) fn has_manual_control(self) -> bool {
        self.0 & Role::MANUAL_CONTROL != 0
    }

    /// Delivers compressed messages as they are, where they arrive in one frame and
    /// are too short to become longer than the limit.
    pub(super) fn keep_compressed(&mut self) {
        self.0 |= Role::KEEPS_COMPRESSED;
    }

    /// Whether such messages are delivered as they are.
    pub(super) fn keeps_compressed(self) -> bool {
        self.0 & Role::KEEPS_COMPRESSED != 0
    }
}
