//! A watched parse, explained to a person: what each octet is, how the proof is
//! made, which rule was broken and what probably broke it.
//!
//! [`Explainer`] is fed the octets of both directions, or of one, in any
//! portions. Two connections of the core read them, watched by a
//! [`Trace`](crate::trace::Trace), so the explanation is the real parse. What
//! comes of it is an [`Explanation`]: [`Part`]s, each with its spans, and a
//! [`Verdict`]. [`terminal`], [`json`] and [`html`] show it; none of them parses
//! octets itself.
//!
//! ```
//! use heirloom::Side;
//! use heirloom::explain::{Explainer, Outcome};
//!
//! let mut explainer = Explainer::new(false);
//! explainer.feed(Side::Client, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
//! let explanation = explainer.finish();
//! assert_eq!(explanation.verdict.outcome, Outcome::Http);
//! ```

mod text;
mod section;
mod inflated;
mod part;
mod header_words;
mod rsv;
mod words;
mod derive;
mod beside;
mod parameter;
mod negotiation;
mod timeline;
mod name;
mod follow;
mod foreign;
mod cause;
mod stream;
mod observe;
pub mod dump;
pub mod transcript;
pub mod kind;
pub mod terminal;
pub mod json;
pub mod html;
pub mod history;

use crate::version::{Side, Version};

pub use self::derive::{Derivation, Mark, ProofStep, Run};
pub use self::inflated::{Beyond, Context, FirstBlock, Inflated, Portion};
pub use self::name::{MAX_INFLATED_OCTETS, MAX_PARTS};
pub use self::observe::Explainer;
pub use self::part::{KEPT_OCTETS, Part, PartKind, Seen};
pub use self::words::{Item, Role, field_name};

/// The explanation of a conversation.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Its version, where it was found or named.
    pub version: Option<&'static Version>,
    /// Heads, keys, digests and frames, in the order in which they started.
    pub parts: Vec<Part>,
    /// What is right or wrong with it.
    pub verdict: Verdict,
}

impl Explanation {
    /// Whether the octets end inside a head, a frame, or the third key or digest of
    /// hixie-76.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        let with_key3 = |part: &Part| {
            part.kind == PartKind::Request && part.version.is_some_and(Version::has_body)
        };
        let lacks_key3 = self.parts.iter().any(with_key3)
            && !self.parts.iter().any(|part| part.kind == PartKind::Key3);
        let cut = |part: &Part| part.missing.is_some() || part.kind == PartKind::Unreadable;
        self.verdict.outcome == Outcome::Incomplete && (lacks_key3 || self.parts.iter().any(cut))
    }
}

/// What is right or wrong with a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// In a word.
    pub outcome: Outcome,
    /// Where a rule was broken, if one was.
    pub place: Option<Place>,
    /// The stable code of the refusal or violation, where there is one.
    pub code: Option<&'static str>,
    /// In a sentence.
    pub sentence: String,
    /// The section with the rule, where one was broken.
    pub section: Option<String>,
    /// What probably broke it, or prevents the rest.
    pub cause: Option<String>,
    /// What to do about that.
    pub cure: Option<String>,
}

/// Where a rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The side whose octets broke it.
    pub from: Side,
    /// The position of the last octet that was parsed; 0 where none was.
    pub at: u64,
    /// The part in which it lies, by its index in [`Explanation::parts`].
    pub part: Option<usize>,
}

/// A verdict in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Everything is right, and both sides of the handshake are there.
    Good,
    /// Nothing is wrong so far, but the octets end early.
    Incomplete,
    /// Plain HTTP: the request does not ask for WebSocket.
    Http,
    /// The server does not upgrade.
    Refused,
    /// A rule was broken.
    Broken,
}

impl Outcome {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Good => "good",
            Outcome::Incomplete => "incomplete",
            Outcome::Http => "plain",
            Outcome::Refused => "refused",
            Outcome::Broken => "broken",
        }
    }
}
