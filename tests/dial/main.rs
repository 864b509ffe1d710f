//! `connect` and `probe`, as scripts use them: against our own server in every
//! version, and against servers that hang, refuse, flood, reset, break off, or
//! send a wrong response. Each gets its verdict, its sentence and its exit status
//! in time.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../support/mod.rs"]
mod support;

mod after_open;
mod answers;
mod compression;
mod extensions;
mod floods;
mod host;
mod input;
mod junit;
mod names;
mod own_server;
mod probe;
mod program;
mod refusals;
mod responses;
mod silence;
mod tls;
mod tls_ends;
mod tls_tools;
mod usage;
