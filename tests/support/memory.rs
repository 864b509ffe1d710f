//! What tests in memory share: chance that a seed decides, any version, what an
//! end has heard. It needs no sockets, so it is taken without its `mod.rs`.

use heirloom::frame::Kind;
use heirloom::{VERSIONS, Version};
use proptest::prelude::*;

/// A generator that a seed decides.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Received {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

pub(crate) fn version() -> impl Strategy<Value = &'static Version> {
    (0..VERSIONS.len()).prop_map(|i| &VERSIONS[i])
}
