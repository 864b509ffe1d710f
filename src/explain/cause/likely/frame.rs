//! What is wrong with frames.

use super::super::Case;
use super::look::is;
use crate::explain::part::{Part, PartKind};
use crate::explain::text::shown;
use crate::extension::elements;
use crate::trace::Field;
use crate::version::{Layout, Version};

/// The frame in which it broke.
pub(super) fn frame<'a>(case: &Case<'a>) -> Option<&'a Part> {
    let (_, part) = case.broken_part()?;
    (part.kind == PartKind::Frame).then_some(part)
}

pub(super) fn unmasked(case: &Case<'_>) -> Option<String> {
    is(case, "mask-missing")?;
    Some(
        "The client sends a frame without a mask: it was written by hand, or it writes frames as a \
         server does."
            .to_owned(),
    )
}

pub(super) fn masked_server(case: &Case<'_>) -> Option<String> {
    is(case, "mask-unexpected")?;
    Some("The server masks like a client: it writes frames as a client does.".to_owned())
}

pub(super) fn compressed(case: &Case<'_>) -> Option<String> {
    is(case, "reserved-bits")?;
    let rsv1 = frame(case)?.value(Field::Reserved)? & 4 != 0;
    if !rsv1 || case.response_header("Sec-WebSocket-Extensions").is_some() {
        return None;
    }
    let offered = case.request_header("Sec-WebSocket-Extensions");
    let offered = offered.filter(|offered| elements(offered).next().is_some());
    rsv1.then(|| match offered {
        Some(offered) => format!(
            "RSV1 marks a compressed message. The request offers {}, but the response does not \
             agree to it.",
            shown(offered, 80)
        ),
        None => "RSV1 marks a compressed message, and no compression was agreed on.".to_owned(),
    })
}

pub(super) fn hixie_frames(case: &Case<'_>) -> Option<String> {
    if case.version?.layout == Layout::Hixie75 {
        return None;
    }
    let part = frame(case)?;
    (!part.is_masked() && part.raw.first() == Some(&0)).then(|| {
        "The frame starts with 00, like a text of hixie-75 and hixie-76: one side uses the frames \
         of another version than the handshake's."
            .to_owned()
    })
}

pub(super) fn rfc_frames(case: &Case<'_>) -> Option<String> {
    if case.version?.layout != Layout::Hixie75 {
        return None;
    }
    let mut frames = case
        .parts
        .iter()
        .filter(|part| part.kind == PartKind::Frame);
    let odd = frames.any(|part| {
        matches!(
            part.value(Field::FrameType),
            Some(0x81 | 0x82 | 0x88..=0x8a)
        )
    });
    odd.then(|| {
        "A frame starts like one of RFC 6455, in a connection of a hixie version: one side uses \
         the frames of another version than the handshake's."
            .to_owned()
    })
}

pub(super) fn not_utf8(case: &Case<'_>) -> Option<String> {
    if !matches!(case.code(), "utf8-invalid" | "close-reason-utf8") {
        return None;
    }
    let part = frame(case)?;
    let payload = match &part.inflated {
        Some(inflated) => inflated.plain.kept.clone(),
        None => part.payload(),
    };
    let latin = payload.iter().any(|octet| *octet >= 0xc0) && !payload.contains(&0);
    Some(if latin {
        "Octets from C0 up stand where UTF-8 cannot have them: the text is in Latin-1 or another \
         old encoding, or was cut inside a character."
            .to_owned()
    } else {
        "These octets are not UTF-8: binary data was sent as text.".to_owned()
    })
}

pub(super) fn inner_code(case: &Case<'_>) -> Option<String> {
    is(case, "close-code-invalid")?;
    let code = frame(case)?.value(Field::CloseCode)?;
    Some(match code {
        1004..=1006 | 1015 => format!(
            "A library sent {code}, which it may only use inside: it stands for a close that was \
             never received."
        ),
        _ => format!("The sender made {code} up."),
    })
}

pub(super) fn gone(case: &Case<'_>) -> Option<String> {
    let from = case.fault?.from;
    is(case, "connection-cut")?;
    let version: &Version = case.version?;
    let who = from.name();
    Some(format!(
        "The {who} was killed, its network failed, or it ends TCP without the close that {} \
         requires.",
        version.name
    ))
}
