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
mod options;
mod made;
mod payload;
mod frames;
mod record;
mod expect;
mod opening;
mod sending;
mod incoming;
mod judge;
mod clock;
mod player;
mod send;
mod receive;
mod play;

pub use self::case::{
    AtDeadline, Case, CaseContent, CaseEvent, CaseFrame, CaseMessage, CaseStep, CloseEnd,
    CloseStep, Closing, Compression, EventKind, Generated, Handshake, Offers, Outcome, Roundtrips,
};
pub use self::corpus::{CaseSet, Unusable, group_of, read_cases};
pub use self::opening::response_status;
pub use self::options::PlayOptions;
pub use self::pattern::{BadPattern, Pattern};
pub use self::play::{play_to_client, play_to_server};
pub use self::result::{Behavior, CaseResult, ClosingVerdict, HowClosed};
