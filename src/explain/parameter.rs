//! What each parameter of an extension that compresses means.

use crate::extension::{Coding, Element, Name, Parameter};
use crate::version::Side;

/// Where a list of extensions stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Offer,
    Answer,
}

/// What the parameters of an element mean, a sentence each.
pub(super) fn parameters(element: Element<'_>, whose: Whose) -> Vec<String> {
    let per_frame = element.name != Name::PermessageDeflate.as_str();
    let sentence = |parameter: Parameter<'_>| {
        let value: Option<String> = parameter
            .value
            .map(|value| value.chars().take(20).collect());
        let words = match per_frame {
            true => of_frames(parameter.name, value.as_deref(), whose),
            false => of_messages(parameter.name, value.as_deref(), whose),
        };
        Some(format!("{}: {}.", parameter.name, words?))
    };
    element.parameters().filter_map(sentence).collect()
}

/// The parameters of permessage-deflate (RFC 7692 section 7.1).
fn of_messages(name: &str, value: Option<&str>, whose: Whose) -> Option<String> {
    Some(match (name, whose, value) {
        ("server_no_context_takeover", Whose::Offer, None) => {
            "the server must compress each message by itself".to_owned()
        }
        ("client_no_context_takeover", Whose::Offer, None) => {
            "a hint that the client may compress each message by itself, whatever the answer says"
                .to_owned()
        }
        ("server_no_context_takeover", Whose::Answer, None) => alone(Side::Server, "message"),
        ("client_no_context_takeover", Whose::Answer, None) => alone(Side::Client, "message"),
        ("server_max_window_bits", Whose::Offer, Some(bits)) => {
            format!(
                "the server must not refer back more than {} octets",
                octets(bits)?
            )
        }
        ("client_max_window_bits", Whose::Offer, None) => {
            "the answer may limit how far back the client refers".to_owned()
        }
        ("client_max_window_bits", Whose::Offer, Some(bits)) => format!(
            "the client refers back at most {} octets, and the answer may ask for fewer",
            octets(bits)?
        ),
        ("server_max_window_bits", Whose::Answer, Some(bits)) => window(Side::Server, bits)?,
        ("client_max_window_bits", Whose::Answer, Some(bits)) => window(Side::Client, bits)?,
        _ => return None,
    })
}

/// The parameters of deflate-frame: each is about what the other side sends.
fn of_frames(name: &str, value: Option<&str>, whose: Whose) -> Option<String> {
    let sender = match whose {
        Whose::Offer => Side::Server,
        Whose::Answer => Side::Client,
    };
    Some(match (name, value) {
        ("no_context_takeover", None) => alone(sender, "frame"),
        ("max_window_bits", Some(bits)) => window(sender, bits)?,
        _ => return None,
    })
}

fn alone(sender: Side, unit: &str) -> String {
    let receiver = sender.peer();
    format!(
        "the {sender} compresses each {unit} by itself, so that the {receiver} need not keep what \
         came before"
    )
}

fn window(sender: Side, bits: &str) -> Option<String> {
    Some(format!(
        "the {sender} refers back at most {} octets (2 to the power of {bits})",
        octets(bits)?
    ))
}

/// How each side compresses by what was agreed on.
pub(super) fn coding(coding: Coding, unit: &str) -> Option<String> {
    let octets = octets(&coding.max_window_bits.to_string())?;
    Some(match coding.no_context_takeover {
        true => format!("each {unit} by itself, referring back at most {octets} octets"),
        false => format!(
            "a {unit} may refer to those before it (context takeover), back at most {octets} octets"
        ),
    })
}

/// The octets of a window.
fn octets(bits: &str) -> Option<&'static str> {
    Some(match bits {
        "8" => "256",
        "9" => "512",
        "10" => "1,024",
        "11" => "2,048",
        "12" => "4,096",
        "13" => "8,192",
        "14" => "16,384",
        "15" => "32,768",
        _ => return None,
    })
}
