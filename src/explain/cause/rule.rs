//! The section with the rule that a refusal or violation is about.

use super::{Fault, FaultKind};
use crate::error::Refusal;
use crate::explain::section::{About, section};
use crate::version::{Side, Version};

/// Where a rule stands.
#[derive(Clone, Copy)]
enum Rule {
    /// No document has it: it is a limit or a policy of a server.
    None,
    /// In this section, for all versions.
    Section(&'static str),
    /// In the section about this, which each version has for itself.
    About(fn(Side) -> About),
    /// The section of the version about what a request must have.
    Request,
}

use Rule::{About as Of, None as Nowhere, Request as OfRequest, Section as In};

/// The rule of each stable code.
const RULES: &[(&str, Rule)] = &[
    // Refusals.
    ("not-found", Nowhere),
    ("upgrade-missing", OfRequest),
    ("upgrade-smuggled", OfRequest),
    ("connection-missing", OfRequest),
    ("method-not-get", OfRequest),
    ("http-version", OfRequest),
    ("head-malformed", Of(|_| About::Http)),
    ("tls-unexpected", Nowhere),
    ("head-bare-lf", In("RFC 9112 section 2.2")),
    ("head-folded", In("RFC 9112 section 5.2")),
    ("head-too-long", Nowhere),
    ("head-too-many-headers", Nowhere),
    ("header-repeated", OfRequest),
    ("target-invalid", OfRequest),
    ("host-missing", OfRequest),
    ("host-malformed", OfRequest),
    ("host-forbidden", Nowhere),
    ("body-unexpected", Nowhere),
    ("handshake-timeout", Nowhere),
    ("version-unknown", In("RFC 6455 section 4.2.2")),
    ("version-off", In("RFC 6455 section 4.2.2")),
    ("version-malformed", In("RFC 6455 section 11.3.5")),
    ("version-list", In("RFC 6455 section 11.3.5")),
    ("version-missing", OfRequest),
    ("draft-malformed", Nowhere),
    ("key-missing", OfRequest),
    ("key-malformed", OfRequest),
    ("key-alone", In("hixie-76 section 5.2")),
    ("key-without-digits", In("hixie-76 section 5.2")),
    ("key-without-spaces", In("hixie-76 section 5.2")),
    ("key-not-divisible", In("hixie-76 section 5.2")),
    ("key-too-large", In("hixie-76 section 5.2")),
    ("origin-missing", In("hixie-76 section 4.1")),
    ("origin-malformed", OfRequest),
    ("origin-not-allowed", Nowhere),
    ("subprotocol-malformed", Nowhere),
    ("subprotocol-unknown", Nowhere),
    // Violations of frames.
    ("reserved-bits", Of(About::Frames)),
    ("compressed-bit-misplaced", In("RFC 7692 section 6.1")),
    ("compressed-data-invalid", In("RFC 7692 section 7.2.2")),
    ("reserved-opcode", Of(About::Frames)),
    ("control-fragmented", Of(|_| About::Control)),
    ("control-too-long", Of(|_| About::Control)),
    ("length-not-minimal", Of(About::Frames)),
    ("length-out-of-range", Of(About::Frames)),
    ("mask-missing", In("RFC 6455 section 5.1")),
    ("mask-unexpected", In("RFC 6455 section 5.1")),
    ("continuation-unexpected", In("RFC 6455 section 5.4")),
    ("message-interrupted", In("RFC 6455 section 5.4")),
    ("utf8-invalid", In("RFC 6455 section 8.1")),
    ("close-body-short", Of(About::Closing)),
    ("close-code-invalid", Of(|_| About::CloseCodes)),
    ("close-reason-utf8", Of(About::Closing)),
    ("message-too-big", Nowhere),
    ("binary-unwanted", Nowhere),
    ("base64-malformed", Nowhere),
    ("internal-error", Nowhere),
    ("memory-full", Nowhere),
    ("message-timeout", Nowhere),
    // Violations of responses.
    ("response-malformed", Of(|_| About::Http)),
    ("response-too-long", Nowhere),
    ("refused", Nowhere),
    ("response-lines", In("hixie-75 section 4.1")),
    ("upgrade-mismatch", Of(|_| About::Response)),
    ("connection-mismatch", Of(|_| About::Response)),
    ("accept-mismatch", Of(|_| About::Proof)),
    ("digest-mismatch", Of(|_| About::Proof)),
    ("nonce-missing", Of(|_| About::Response)),
    ("origin-mismatch", Of(|_| About::Response)),
    ("location-mismatch", Of(|_| About::Response)),
    ("subprotocol-mismatch", Of(|_| About::Response)),
    ("extension-unexpected", Of(|_| About::Response)),
    ("extension-invalid", In("RFC 7692 section 7.1")),
    ("handshake-cut", Nowhere),
    ("connection-cut", In("RFC 6455 section 7.1.1")),
];

/// The section with the rule that was broken, where a document has it.
pub(super) fn section_of(version: Option<&'static Version>, fault: Fault) -> Option<String> {
    if let FaultKind::Refusal(Refusal::HeaderRepeated {
        name: "Sec-WebSocket-Key",
    }) = fault.kind
    {
        return Some("RFC 6455 section 11.3.1".to_owned());
    }
    if let FaultKind::Beyond(_) = fault.kind {
        return Some(window_of(fault.from).to_owned());
    }
    let (_, rule) = RULES.iter().find(|(code, _)| *code == fault.code())?;
    match (rule, version) {
        (Rule::None, _) => None,
        (Rule::Section(section), _) => Some((*section).to_owned()),
        (Rule::About(about), _) => {
            Some(section(version, about(fault.from))).filter(|section| !section.is_empty())
        }
        (Rule::Request, Some(version)) if version.echoes_location() => {
            let listed = version.name == "hixie-76";
            listed.then(|| "hixie-76 section 5.1".to_owned())
        }
        (Rule::Request, _) => Some("RFC 6455 section 4.2.1".to_owned()),
    }
}

/// Where the window of a side is agreed on.
fn window_of(side: Side) -> &'static str {
    match side {
        Side::Server => "RFC 7692 section 7.1.2.1",
        Side::Client => "RFC 7692 section 7.1.2.2",
    }
}

#[cfg(test)]
mod tests {
    use super::RULES;
    use crate::error::{REFUSALS, VIOLATIONS};

    #[test]
    fn each_stable_code_has_its_rule() {
        let refusals = REFUSALS.iter().map(|(code, _)| *code);
        let violations = VIOLATIONS.iter().map(|(code, _)| *code);
        let codes: Vec<&str> = refusals.chain(violations).collect();
        let rules: Vec<&str> = RULES.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, rules);
    }
}
