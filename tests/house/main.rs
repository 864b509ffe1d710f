//! The rules of the house that a machine can hold: the order of the modules,
//! what each floor may know, and that the guides name what exists.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod docs;
mod layers;
mod rules;
mod source;
