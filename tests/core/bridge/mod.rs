//! A bridge in memory: a client of any version, our two ends, a backend of any
//! version. What one sends the other receives, and how a close or a loss is
//! passed on.

mod base64;
mod closing;
mod control;
mod frames;
mod half;
mod joined;
mod messages;
mod wire;
