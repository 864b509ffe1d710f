//! How extensions are negotiated: what each offer is, why it was taken or declined,
//! and what was agreed on.

use super::derive::{Derivation, Mark, ProofStep, Run, run, step};
use super::parameter::{Whose, coding, parameters};
use super::part::{Part, PartKind};
use super::text::shown;
use crate::extension::{
    BadAnswer, Compression, Deflate, Element, Mode, Name, answer, check_answer, elements,
    fault_of_offer, known,
};
use crate::trace::Field;
use crate::version::{Side, Version};

impl Part {
    /// How the proofs and keys in it were computed, step by step, and how extensions
    /// are negotiated.
    #[must_use]
    pub fn derivations(&self) -> Vec<Derivation> {
        let mut derivations = self.computations();
        derivations.extend(self.version.and_then(|version| match self.kind {
            PartKind::Request => offers(self, version),
            PartKind::Response => negotiated(self, version),
            _ => None,
        }));
        derivations
    }
}

const HEADER: &str = "Sec-WebSocket-Extensions";

/// What an answer without an extension is.
const EMPTY: &str = "The header names no extension. A server that agrees to none leaves it out: \
                     Safari fails the connection where it is empty.";

/// More elements than this are only counted.
const MAX_SHOWN: usize = 16;

/// An element of a list, or octets that are none.
#[derive(Clone, Copy)]
struct Listed<'a> {
    octets: &'a [u8],
    element: Option<Element<'a>>,
}

impl Listed<'_> {
    fn text(&self) -> String {
        shown(self.octets, 80)
    }

    fn is_spoken(&self) -> bool {
        let known = self.element.and_then(|element| known(element.name));
        known.is_some_and(|known| known.is_spoken)
    }
}

fn listed<'a>(values: &[&'a [u8]]) -> Vec<Listed<'a>> {
    let of_value = |value: &&'a [u8]| {
        let value = *value;
        elements(value).map(move |element| {
            let at = match &element {
                Ok(element) => element.at(),
                Err(malformed) => malformed.at.clone(),
            };
            Listed {
                octets: value.get(at).unwrap_or_default(),
                element: element.ok(),
            }
        })
    };
    values.iter().flat_map(of_value).collect()
}

fn words(text: impl Into<String>) -> Run {
    run(text, Mark::Words)
}

/// The extensions that a request offers, and what a server may do with them where it
/// is not told what this one did.
fn offers(part: &Part, version: &'static Version) -> Option<Derivation> {
    let values = part.header_values(HEADER);
    let offers = listed(&values);
    let talk = Talk {
        version,
        values,
        is_known: true,
        is_answered: false,
        answered: Vec::new(),
    };
    let is_alone = part.asked.is_known && version.has_compression();
    let steps = offers.iter().take(MAX_SHOWN).map(|offer| {
        let mut runs = vec![run(offer.text(), Mark::First), words(about(*offer))];
        if let Some(element) = offer.element.filter(|_| offer.is_spoken()) {
            runs.extend(parameters(element, Whose::Offer).into_iter().map(words));
            if is_alone {
                runs.extend(talk.declined(*offer, &part.asked.user_agent).map(words));
            }
        }
        step("an offer", runs)
    });
    derivation(
        "The extensions that the client offers",
        steps.collect(),
        offers.len(),
    )
}

fn derivation(title: &str, mut steps: Vec<ProofStep>, many: usize) -> Option<Derivation> {
    if let Some(more) = many.checked_sub(MAX_SHOWN + 1) {
        steps.push(step(
            "and more",
            vec![run((more + 1).to_string(), Mark::Plain)],
        ));
    }
    (!steps.is_empty()).then(|| Derivation {
        title: title.to_owned(),
        section: "RFC 6455 section 9.1".to_owned(),
        steps,
    })
}

/// What an extension is.
fn about(offer: Listed<'_>) -> String {
    let Some(element) = offer.element else {
        return unreadable(offer);
    };
    match known(element.name) {
        Some(known) => {
            let (first, last) = known.dates;
            let answered = match known.is_spoken {
                true => "",
                false => ". It is never answered here",
            };
            format!("Offered from {first} to {last}: {}{answered}.", known.about)
        }
        None => "No extension of this name is known.".to_owned(),
    }
}

/// An extension whose parameters cannot be read.
fn unreadable(offer: Listed<'_>) -> String {
    const UNREADABLE: &str = "This cannot be read as an extension with parameters";
    let name = offer.octets.split(|octet| *octet == b';').next();
    let name = name.and_then(|name| std::str::from_utf8(name.trim_ascii()).ok());
    let Some(known) = name.and_then(known) else {
        return format!("{UNREADABLE}.");
    };
    let (first, last) = known.dates;
    let nested = match known.name.ends_with("-compress") {
        true => ": its draft has a list in quotes as the value of `method`, where a token is due",
        false => "",
    };
    format!(
        "{UNREADABLE}{nested}. The name was offered from {first} to {last}: {}.",
        known.about
    )
}

/// What came of the offers.
fn negotiated(part: &Part, version: &'static Version) -> Option<Derivation> {
    let status = part.span(Field::Status)?;
    if part.raw_of(&status.span) != b"101" {
        return None;
    }
    let values: Vec<&[u8]> = part.asked.extensions.iter().map(Vec::as_slice).collect();
    let offers = listed(&values);
    let answered = listed(&part.header_values(HEADER));
    let talk = Talk {
        version,
        values,
        is_known: part.asked.is_known,
        is_answered: true,
        answered,
    };
    let mut steps = Vec::new();
    for offer in offers.iter().take(MAX_SHOWN) {
        let (label, why) = match talk.declined(*offer, &part.asked.user_agent) {
            None => ("an offer, taken", "The server agrees to it.".to_owned()),
            Some(why) if talk.misanswers(*offer) => ("an offer, answered wrongly", why),
            Some(why) => ("an offer, declined", why),
        };
        steps.push(step(
            label,
            vec![run(offer.text(), Mark::First), words(why)],
        ));
    }
    let lines = part.header_values(HEADER).len();
    if lines > 1 {
        // RFC 6455 section 11.3.2.
        steps.push(step(
            "the answer",
            vec![words(format!(
                "The response has this header {lines} times, and may have it once (RFC 6455 \
                 section 11.3.2). Clients that read all of them take them as one list."
            ))],
        ));
    }
    let many = offers.len();
    let bad = talk.agreed().err();
    for (n, answer) in talk.answered.iter().take(MAX_SHOWN).enumerate() {
        let bad = bad.as_ref().filter(|bad| bad.line == n);
        steps.push(talk.answer(*answer, bad));
    }
    if talk.answered.is_empty() && part.header(HEADER).is_some() {
        steps.push(step("the answer", vec![words(EMPTY)]));
    }
    if let Ok(Some(deflate)) = talk.agreed() {
        steps.extend(of_both(deflate));
    }
    derivation("The extensions, negotiated", steps, many)
}

/// An offer or more, and the answer.
struct Talk<'a> {
    version: &'static Version,
    /// The values of the header in the request.
    values: Vec<&'a [u8]>,
    /// Whether the request is known.
    is_known: bool,
    /// Whether the response is.
    is_answered: bool,
    answered: Vec<Listed<'a>>,
}

impl Talk<'_> {
    /// Why an offer was declined; `None` where it was taken.
    fn declined(&self, offer: Listed<'_>, user_agent: &Option<Vec<u8>>) -> Option<String> {
        let Some(element) = offer.element else {
            return Some(about(offer));
        };
        if self
            .named(offer)
            .is_some_and(|answer| self.allows(offer, answer))
        {
            return None;
        }
        let mut spoken = self.answered.iter().filter(|answer| answer.is_spoken());
        Some(if !offer.is_spoken() {
            about(offer)
        } else if let Some(fault) = fault_of_offer(element) {
            format!("A server has to decline it: it {fault}.")
        } else if self.misanswers(offer) {
            "The server agrees to it in a way that it does not allow.".to_owned()
        } else if let Some(answer) = spoken.next() {
            match self.is_taken(*answer) {
                true => "The server took another offer: both mean RSV1, so that only one can be agreed on.",
                false => "The server agrees to another extension, which was not offered so.",
            }
            .to_owned()
        } else if self.answered.iter().any(|answer| !self.is_taken(*answer)) {
            "Nothing is wrong with it, and what the server answers is no answer to it.".to_owned()
        } else if self.has_small_window(element) {
            "It asks the server for a window of 8 bits, which zlib cannot keep to: most servers \
             decline that."
                .to_owned()
        } else if self.is_defective(user_agent.as_deref()) {
            "The permessage-deflate of Safari 15.0 to 15.3 is defective, and servers that know \
             decline it."
                .to_owned()
        } else {
            match self.is_answered {
                true => "Nothing is wrong with it: the server has no compression, or it is off.",
                false => "Nothing is wrong with it: a server that has compression may agree to it.",
            }
            .to_owned()
        })
    }

    /// The answer of the same name.
    fn named(&self, offer: Listed<'_>) -> Option<Listed<'_>> {
        let element = offer.element?;
        let is_named = |answer: &&Listed<'_>| {
            let answer = answer.element;
            answer.is_some_and(|answer| answer.name == element.name)
        };
        self.answered.iter().find(is_named).copied()
    }

    /// Whether the answer has its name, and no offer allows that answer.
    fn misanswers(&self, offer: Listed<'_>) -> bool {
        let named = self.named(offer);
        named.is_some_and(|answer| !self.is_taken(answer))
    }

    /// Whether an offer allows this answer.
    fn is_taken(&self, answer: Listed<'_>) -> bool {
        let values = self.values.iter().copied();
        check_answer(self.version, values, [answer.octets]).is_ok()
    }

    /// Whether this offer, taken by itself, allows this answer.
    fn allows(&self, offer: Listed<'_>, answer: Listed<'_>) -> bool {
        check_answer(self.version, [offer.octets], [answer.octets]).is_ok()
    }

    fn has_small_window(&self, offer: Element<'_>) -> bool {
        let mut parameters = offer.parameters();
        parameters.any(|parameter| {
            let of_server = matches!(parameter.name, "server_max_window_bits" | "max_window_bits");
            of_server && parameter.value.is_some_and(|value| value.is("8"))
        })
    }

    fn is_defective(&self, user_agent: Option<&[u8]>) -> bool {
        let all = Compression::default().with_mode(Mode::PerConnection);
        let values = self.values.iter().copied();
        let accepts = |agent| answer(values.clone(), self.version, &all, agent).is_some();
        accepts(None) && !accepts(user_agent)
    }

    /// One element of the answer, and what is wrong with it among the others.
    fn answer(&self, answer: Listed<'_>, bad: Option<&BadAnswer>) -> ProofStep {
        let mut runs = vec![run(answer.text(), Mark::Second)];
        let values = self.values.iter().copied();
        let alone = check_answer(self.version, values, [answer.octets]).err();
        if let Some(bad) = bad.or(alone.as_ref()).filter(|_| self.is_known) {
            runs.push(words(format!("Not to be taken: {}.", bad.violation)));
        }
        match answer.element.filter(|_| answer.is_spoken()) {
            Some(element) => {
                runs.extend(parameters(element, Whose::Answer).into_iter().map(words));
            }
            None => runs.push(words(about(answer))),
        }
        if !self.is_known {
            runs.push(words(
                "The request is missing; that it offers this is assumed.",
            ));
        }
        step("the answer", runs)
    }

    /// The compression that was agreed on, or the first element of the answer that is
    /// wrong.
    fn agreed(&self) -> Result<Option<Deflate>, BadAnswer> {
        let answered = self.answered.iter().map(|answer| answer.octets);
        match self.is_known {
            true => check_answer(self.version, self.values.iter().copied(), answered),
            false => check_answer(self.version, answered.clone(), answered),
        }
    }
}

/// How each side compresses.
fn of_both(deflate: Deflate) -> Vec<ProofStep> {
    let unit = match deflate.name {
        Name::PermessageDeflate => "message",
        Name::DeflateFrame | Name::XWebkitDeflateFrame => "frame",
    };
    let side = |label, side| {
        let words = coding(deflate.of(side), unit)?;
        Some(step(label, vec![self::words(format!("{words}."))]))
    };
    let client = side("so the client compresses", Side::Client);
    let server = side("so the server compresses", Side::Server);
    client.into_iter().chain(server).collect()
}
