//! What is wrong with the extensions that a server agrees to.

use super::super::{Case, FaultKind};
use super::look::is;
use crate::error::{ExtensionFault, Violation};
use crate::explain::part::PartKind;
use crate::explain::text::shown;
use crate::extension::{elements, mistaken};

const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

/// What is wrong with the extensions that the server agrees to.
fn answer_fault(case: &Case<'_>) -> Option<ExtensionFault> {
    match case.fault?.kind {
        FaultKind::Violation(Violation::ExtensionInvalid { fault }) => Some(fault),
        _ => None,
    }
}

/// All values of the header in a head.
fn values<'a>(case: &Case<'a>, kind: PartKind) -> Vec<&'a [u8]> {
    let part = case.part(kind);
    part.map_or_else(Vec::new, |part| part.header_values(EXTENSIONS))
}

/// The same as one list.
fn list(case: &Case<'_>, kind: PartKind) -> Option<String> {
    let values = values(case, kind);
    (!values.is_empty()).then(|| shown(&values.join(&b", "[..]), 80))
}

pub(super) fn answer_unreadable(case: &Case<'_>) -> Option<String> {
    answer_fault(case).filter(|fault| *fault == ExtensionFault::Malformed)?;
    let mut malformed = values(case, PartKind::Response)
        .into_iter()
        .filter_map(|value| {
            let at = elements(value).find_map(Result::err)?.at;
            value.get(at)
        });
    Some(format!(
        "{} is no extension: that is a name, and behind each semicolon a parameter, alone or with \
         `=` and a value. Each of them is a token: letters, digits and `-_.` among others, without \
         spaces, quotes and brackets.",
        shown(malformed.next()?, 80)
    ))
}

pub(super) fn answer_repeated(case: &Case<'_>) -> Option<String> {
    let answered = list(case, PartKind::Response)?;
    Some(match answer_fault(case)? {
        ExtensionFault::Twice => format!(
            "The server agrees to {answered}: to compression twice. Both mark what they compress \
             by RSV1, so only one can be agreed on."
        ),
        ExtensionFault::TooMany => {
            format!("The server agrees to {answered}: more than 64 extensions are not read.")
        }
        _ => return None,
    })
}

pub(super) fn answer_invalid(case: &Case<'_>) -> Option<String> {
    let does = match answer_fault(case)? {
        ExtensionFault::UnknownParameter => "adds a parameter that this extension does not have",
        ExtensionFault::RepeatedParameter => "names a parameter twice",
        ExtensionFault::UnwantedValue => "gives a value to a parameter that takes none",
        ExtensionFault::MissingValue => {
            "names a window without its number of bits. Only an offer may do that, with \
             client_max_window_bits"
        }
        ExtensionFault::BadWindow => {
            "names a window that is not 8 to 15: digits alone, and no zero in front"
        }
        ExtensionFault::WindowNotOffered => {
            "limits the client's window, which only an offer with client_max_window_bits allows"
        }
        ExtensionFault::WindowTooLarge => {
            "names a window that is larger than the offer allows for that side"
        }
        ExtensionFault::ContextDemandIgnored => {
            "leaves out server_no_context_takeover, which has to come back where it was offered"
        }
        ExtensionFault::WindowDemandIgnored => {
            "leaves out server_max_window_bits, which has to come back where it was offered"
        }
        _ => "answers what it must not",
    };
    let answered = list(case, PartKind::Response)?;
    Some(match list(case, PartKind::Request) {
        Some(offered) => format!(
            "The request offers {offered}, and the response agrees to {answered}: the server {does}."
        ),
        None => format!("The response agrees to {answered}: the server {does}."),
    })
}

pub(super) fn extension_unasked(case: &Case<'_>) -> Option<String> {
    is(case, "extension-unexpected")?;
    let offers = values(case, PartKind::Request)
        .into_iter()
        .flat_map(elements);
    let offers: Vec<&str> = offers.flatten().map(|offer| offer.name).collect();
    let (mut unasked, mut why) = (Vec::new(), None);
    for value in values(case, PartKind::Response) {
        let agreed = elements(value).flatten();
        for element in agreed.filter(|element| !offers.contains(&element.name)) {
            unasked.extend(value.get(element.at()));
            let name = element.name;
            why = why.or_else(|| Some(format!(" {name} {}.", mistaken(name)?)));
        }
    }
    let unasked = shown(&unasked.join(&b", "[..]), 80);
    let why = why.unwrap_or_default();
    Some(format!(
        "The server agrees to {unasked}, which the request does not offer.{why}"
    ))
}
