//! Conformance: cases that a server or a client under test must pass.
//!
//! A [`Case`] says what the tester sends, what the peer must do, at which level
//! and by which section. Cases are data, in the folder `conform`.

mod result;
mod case;
mod pattern;
mod check;
mod family;
mod corpus;
mod stub;
pub use self::stub::*;

pub use self::case::{
    AtDeadline, Case, CaseContent, CaseEvent, CaseFrame, CaseMessage, CaseStep, CloseEnd,
    CloseStep, Closing, Compression, EventKind, Generated, Handshake, Offers, Outcome, Roundtrips,
};
pub use self::corpus::{CaseSet, Unusable, group_of, read_cases};
pub use self::pattern::{BadPattern, Pattern};
pub use self::result::{Behavior, CaseResult, ClosingVerdict, HowClosed};
