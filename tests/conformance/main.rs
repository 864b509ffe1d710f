//! `heirloom conform`, as people and scripts use it: servers and clients under test
//! that misbehave, and those that do not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::Value;

use support::program::Ended;

#[path = "../support/mod.rs"]
mod support;

mod agreement;
mod clients;
mod exec;
mod hostile;
mod servers;
mod usage;

/// Tests that keep the machine busy, and those whose peers must answer in time, do not
/// run at the same time.
static LOAD: RwLock<()> = RwLock::new(());

/// A test whose peers must answer in time.
fn calm() -> RwLockReadGuard<'static, ()> {
    LOAD.read().unwrap_or_else(PoisonError::into_inner)
}

/// A test that keeps the machine busy.
fn busy() -> RwLockWriteGuard<'static, ()> {
    LOAD.write().unwrap_or_else(PoisonError::into_inner)
}

/// The results of `heirloom conform --json`, without the last line, and that line.
fn results(ended: &Ended) -> (Vec<Value>, Value) {
    let parsed = ended
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let mut lines: Vec<Value> = parsed.collect();
    let last = lines.pop().expect("there is a summary");
    (lines, last)
}
