//! What a client offers in `Sec-WebSocket-Extensions` and what a server answers, in
//! the words of `connect` and `probe`, and what `explain` does not explain of it.

use heirloom::bytes::Escaped;
use heirloom::error::Violation;
use heirloom::extension::{elements, known, mistaken};
use heirloom::{VERSIONS, Version};
use serde::{Serialize, Serializer};

const HEADER: &str = "Sec-WebSocket-Extensions";

/// What is wrong with an answer that names nothing; our client goes on.
const EMPTY: &str = "a server that agrees to nothing leaves the header out, and Safari fails the \
                     connection where it is empty";

/// Characters of a header that are shown.
const MAX_SHOWN: usize = 200;

/// Why nothing is explained of what --extensions names.
pub(super) fn not_explained(version: &'static Version, value: &[u8]) -> String {
    const EXPLAINED: &str =
        "permessage-deflate, deflate-frame and x-webkit-deflate-frame are explained";
    if !version.has_compression() {
        let compressed = VERSIONS.iter().filter(|version| version.has_compression());
        let names: Vec<&str> = compressed.map(|version| version.name).collect();
        return format!(
            "--extensions: no compression of {version} is explained; only that of {}",
            names.join(", ")
        );
    }
    let named = elements(value).flatten().next();
    match named.map(|element| (element.name, known(element.name))) {
        None => format!("--extensions names no extension; {EXPLAINED}"),
        Some((name, Some(known))) => format!(
            "--extensions: {name} is not explained ({}); {EXPLAINED}",
            known.about
        ),
        Some((name, None)) => format!(
            "--extensions: no extension {} is known; {EXPLAINED}",
            Escaped::<80>(name)
        ),
    }
}

/// What was offered, and what was answered; `None` where there is no such header.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Extensions {
    #[serde(serialize_with = "escaped")]
    offered: Option<String>,
    /// What the response says, as it stands there.
    #[serde(serialize_with = "escaped")]
    answered: Option<String>,
}

fn escaped<S: Serializer>(value: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    value.as_deref().map(shown).serialize(to)
}

pub(super) fn shown(value: &str) -> String {
    Escaped::<MAX_SHOWN>(value).to_string()
}

impl Extensions {
    /// Those that this request offers.
    pub(super) fn of_request(octets: &[u8]) -> Extensions {
        Extensions {
            offered: value_of(octets, HEADER),
            answered: None,
        }
    }

    /// The head of the response has arrived.
    pub(super) fn answer(&mut self, head: &[u8]) {
        self.answered = value_of(head, HEADER);
    }

    /// Whether either side names any.
    pub(super) fn are_named(&self) -> bool {
        self.offered.is_some() || self.answered.is_some()
    }

    /// What came of the offer, as a part of a sentence.
    pub(super) fn outcome(&self) -> String {
        let quoted = |value: &Option<String>| match value {
            Some(value) => format!("\"{}\"", shown(value)),
            None => "nothing".to_owned(),
        };
        let (offered, answered) = (quoted(&self.offered), quoted(&self.answered));
        let empty = self.empty().map(|empty| format!(" ({empty})"));
        let empty = empty.unwrap_or_default();
        format!("{offered} was offered and {answered} answered{empty}")
    }

    /// What to say of an answer that names nothing.
    fn empty(&self) -> Option<&'static str> {
        let answered = self.answered.as_deref()?;
        let is_empty = elements(answered.as_bytes()).next().is_none();
        is_empty.then_some(EMPTY)
    }

    /// What to say of an answer that is taken, though it is not right.
    pub(super) fn remark(&self) -> Option<String> {
        Some(format!(
            "the response's {HEADER} is empty: {}",
            self.empty()?
        ))
    }

    /// What a violation of these headers is about, behind a colon; empty where it is
    /// about something else.
    pub(super) fn fault(&self, violation: Violation) -> String {
        match violation {
            Violation::ExtensionUnexpected => format!(": {}{}", self.outcome(), self.unexpected()),
            Violation::ExtensionInvalid { .. } => format!(": {}", self.outcome()),
            Violation::ReservedBits
            | Violation::CompressedBitMisplaced
            | Violation::CompressedDataInvalid
                if self.are_named() =>
            {
                format!(": {}", self.outcome())
            }
            _ => String::new(),
        }
    }

    /// What is known of the first extension that was answered and not offered.
    fn unexpected(&self) -> String {
        let listed = |value: &Option<String>| -> Vec<String> {
            let value = value.as_deref().unwrap_or_default();
            let elements = elements(value.as_bytes()).flatten();
            elements.map(|element| element.name.to_owned()).collect()
        };
        let offered = listed(&self.offered);
        let answered = listed(&self.answered);
        let Some(name) = answered.iter().find(|name| !offered.contains(name)) else {
            return String::new();
        };
        match (known(name), mistaken(name)) {
            (Some(known), _) => {
                let (first, last) = known.dates;
                let (name, about) = (known.name, known.about);
                format!("; {name} was offered by clients from {first} to {last}: {about}")
            }
            (None, Some(mistaken)) => format!("; {name} {mistaken}"),
            (None, None) => format!("; no extension {} is known", Escaped::<60>(name)),
        }
    }

    /// What a response may say.
    pub(super) fn expected(&self) -> String {
        match &self.offered {
            Some(offered) => format!("nothing, or an answer to {}", shown(offered)),
            None => "nothing".to_owned(),
        }
    }
}

/// All values of a header in this head, as one list.
pub(super) fn value_of(head: &[u8], name: &str) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let lines = head.split("\r\n").skip(1);
    let headers = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'));
    let own = headers.filter(|(other, _)| other.eq_ignore_ascii_case(name));
    let values: Vec<&str> = own.map(|(_, value)| value.trim()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}
