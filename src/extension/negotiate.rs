//! Which compression two ends agree on: what a client offers, what a server
//! answers, and whether the client may take the answer (RFC 7692 section 7.1).

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::ops::Range;

use memchr::memmem;

use super::header::{Element, Malformed, Value, elements};
use super::known::KNOWN;
use super::{Coding, Compression, Deflate, MOST_WINDOW_BITS, Mode, Name};
use crate::error::{ExtensionFault as Fault, Violation};
use crate::version::Version;

/// More extensions than this are not looked at.
const MOST_ELEMENTS: usize = 64;

/// What a server answers: the value of the header, and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is agreed on.
    pub deflate: Deflate,
    /// The offer named a window for the server: then the answer does too, even
    /// one of 15 bits. Firefox goes away where one is named unasked.
    names_server_window: bool,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deflate.write(self.names_server_window, f)
    }
}

/// What a server answers to the offers in these values of the header, in order.
/// `None`: it accepts none of them.
///
/// ```
/// use heirloom::Version;
/// use heirloom::extension::{Compression, Mode, answer};
/// let compression = Compression::default().with_mode(Mode::PerConnection);
/// let version = Version::named("rfc6455").expect("a version");
/// let offers: &[u8] = b"permessage-deflate; server_max_window_bits=10";
/// let answer = answer([offers], version, &compression, None).expect("an answer");
/// assert_eq!(answer.to_string(), "permessage-deflate; server_max_window_bits=10");
/// ```
#[must_use]
pub fn answer<'b>(
    offers: impl IntoIterator<Item = &'b [u8], IntoIter: Clone>,
    version: &Version,
    compression: &Compression,
    user_agent: Option<&[u8]>,
) -> Option<Answer> {
    if !can_compress(version, compression) {
        return None;
    }
    let is_defective = || user_agent.is_some_and(is_defective_safari);
    if !compression.allows_defective_safari && is_defective() {
        return None;
    }
    let shared = compression.mode == Mode::Shared;
    let offers = all_elements(offers.into_iter())
        .take(MOST_ELEMENTS)
        .filter_map(Result::ok);
    // Both use RSV1, so that only one of them can be agreed on.
    let mut of_messages = offers.clone();
    let mut of_frames = offers;
    of_messages
        .find_map(|offer| answer_to_messages(offer, shared))
        .or_else(|| of_frames.find_map(|offer| answer_to_frames(offer, shared)))
}

/// Whether compression may be agreed on at all.
fn can_compress(version: &Version, compression: &Compression) -> bool {
    cfg!(feature = "std") && compression.mode != Mode::Off && version.has_compression()
}

fn answer_to_messages(offer: Element<'_>, shared: bool) -> Option<Answer> {
    if offer.name != Name::PermessageDeflate.as_str() {
        return None;
    }
    let asked = OfMessages::read(offer).ok()?;
    Some(Answer {
        deflate: Deflate {
            name: Name::PermessageDeflate,
            server: coding_of_ours(
                shared || asked.server_no_context_takeover,
                asked.server_max_window_bits,
            )?,
            // Its window is no business of ours: we inflate with the largest.
            client: Coding {
                no_context_takeover: shared || asked.client_no_context_takeover,
                ..Coding::default()
            },
        },
        names_server_window: asked.server_max_window_bits.is_some(),
    })
}

fn answer_to_frames(offer: Element<'_>, shared: bool) -> Option<Answer> {
    let name = per_frame(offer.name)?;
    let asked = OfFrames::read(offer).ok()?;
    Some(Answer {
        deflate: Deflate {
            name,
            // What each end is asked for is about the other one's frames. That we
            // start anew for each frame need not be said.
            server: coding_of_ours(shared || asked.no_context_takeover, asked.max_window_bits)?,
            client: Coding {
                no_context_takeover: shared,
                ..Coding::default()
            },
        },
        names_server_window: false,
    })
}

fn per_frame(name: &str) -> Option<Name> {
    [Name::DeflateFrame, Name::XWebkitDeflateFrame]
        .into_iter()
        .find(|n| n.as_str() == name)
}

/// How a server compresses that was asked for this window, where it does.
fn coding_of_ours(no_context_takeover: bool, window: Option<u8>) -> Option<Coding> {
    let coding = Coding {
        no_context_takeover,
        max_window_bits: window.unwrap_or(MOST_WINDOW_BITS),
    };
    coding.can_be_kept().then_some(coding)
}

/// Safari 15.0 to 15.3, and whatever else runs on the WebKit of those releases of
/// iOS: its permessage-deflate is defective.
fn is_defective_safari(user_agent: &[u8]) -> bool {
    let has = |word: &str| memmem::find(user_agent, word.as_bytes()).is_some();
    let release = |word: &str, separator: u8| {
        let behind = |at: usize| user_agent.get(at + word.len()..);
        let after = memmem::find(user_agent, word.as_bytes()).and_then(behind);
        let minor = after.and_then(|after| match after {
            [b'1', b'5', point, b'0'..=b'3', rest @ ..] if *point == separator => rest.first(),
            _ => None,
        });
        minor.is_some_and(|next| !next.is_ascii_digit())
    };
    let is_webkit = has("AppleWebKit/") && !has("Chrome/");
    is_webkit && (release("Version/", b'.') && has("Safari/") || release(" OS ", b'_'))
}

/// What is wrong with an offer, for which every server has to decline it. Nothing
/// where it is right, or of an extension that is not spoken here.
#[must_use]
pub fn fault_of_offer(offer: Element<'_>) -> Option<Fault> {
    if offer.name == Name::PermessageDeflate.as_str() {
        OfMessages::read(offer).err()
    } else {
        per_frame(offer.name).and_then(|_| OfFrames::read(offer).err())
    }
}

/// What a name is that no extension has, where it is that of a parameter, or differs in
/// upper and lower case alone: as words behind it, such as `is a parameter`.
#[must_use]
pub fn mistaken(name: &str) -> Option<String> {
    let as_parameter = format!("{}; {name}", Name::PermessageDeflate);
    let offer = elements(as_parameter.as_bytes()).next()?.ok()?;
    if fault_of_offer(offer) != Some(Fault::UnknownParameter) {
        let of = Name::PermessageDeflate;
        return Some(format!(
            "is a parameter of {of}, and belongs behind that name and a semicolon"
        ));
    }
    let mut all = KNOWN.iter();
    let same = all.find(|known| known.name.eq_ignore_ascii_case(name) && known.name != name)?;
    Some(format!(
        "is {} in other upper and lower case, and clients tell them apart",
        same.name
    ))
}

/// What our client offers: the value of the header.
#[must_use]
pub fn offer(version: &Version, compression: &Compression) -> Option<&'static str> {
    if !can_compress(version, compression) {
        return None;
    }
    match compression.mode {
        Mode::Off => None,
        Mode::Shared => Some(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             client_max_window_bits",
        ),
        Mode::PerConnection => Some("permessage-deflate; client_max_window_bits"),
    }
}

/// What is wrong with an answer, and where: the index of the header's value, and
/// the octets in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAnswer {
    /// What is wrong.
    pub violation: Violation,
    /// Which of the values of the header.
    pub line: usize,
    /// Where in that value.
    pub at: Range<usize>,
}

/// What both ends agreed on, by the values of the header in the request and in the
/// response. Other extensions that were offered may be agreed on too; they mean
/// nothing here.
///
/// # Errors
///
/// Where the client has to fail the connection.
pub fn check_answer<'b>(
    version: &Version,
    offered: impl IntoIterator<Item = &'b [u8], IntoIter: Clone>,
    answered: impl IntoIterator<Item = &'b [u8]>,
) -> Result<Option<Deflate>, BadAnswer> {
    let offered = all_elements(offered.into_iter())
        .take(MOST_ELEMENTS)
        .filter_map(Result::ok);
    let mut agreed = None;
    let mut count = 0;
    // What the list is comes first: in one that names an extension twice, each of the
    // two may lack what the offer demands.
    let mut wrong_parameter = None;
    let mut compresses = false;
    for (line, value) in answered.into_iter().enumerate() {
        for element in elements(value) {
            let bad = |violation, at| BadAnswer {
                violation,
                line,
                at,
            };
            let element = element.map_err(|Malformed { at }| bad(invalid(Fault::Malformed), at))?;
            count += 1;
            if count > MOST_ELEMENTS {
                return Err(bad(invalid(Fault::TooMany), element.at()));
            }
            let offers = offered.clone().filter(|offer| offer.name == element.name);
            match check_element(element, offers) {
                Ok(None) => continue,
                Ok(Some(_)) | Err(Violation::ExtensionInvalid { .. }) if compresses => {
                    return Err(bad(invalid(Fault::Twice), element.at()));
                }
                Ok(deflate) => agreed = deflate,
                Err(violation @ Violation::ExtensionInvalid { .. }) => {
                    wrong_parameter.get_or_insert(bad(violation, element.at()));
                }
                Err(violation) => return Err(bad(violation, element.at())),
            }
            compresses = true;
        }
    }
    match wrong_parameter {
        Some(bad) => Err(bad),
        None => Ok(agreed.filter(|_| version.has_compression())),
    }
}

fn invalid(fault: Fault) -> Violation {
    Violation::ExtensionInvalid { fault }
}

/// Checks one extension that a server agrees to against the offers of that name.
/// One of them must allow it.
fn check_element<'b>(
    element: Element<'_>,
    offers: impl Iterator<Item = Element<'b>>,
) -> Result<Option<Deflate>, Violation> {
    let mut result = Err(Violation::ExtensionUnexpected);
    for offer in offers {
        let checked = if element.name == Name::PermessageDeflate.as_str() {
            check_messages(element, offer).map(Some)
        } else if let Some(name) = per_frame(element.name) {
            check_frames(name, element, offer).map(Some)
        } else {
            Ok(None)
        };
        result = checked.map_err(invalid);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn check_messages(element: Element<'_>, offer: Element<'_>) -> Result<Deflate, Fault> {
    let answered = OfMessages::read(element)?;
    let client_window = match answered.client_max_window_bits {
        Some(None) => return Err(Fault::MissingValue),
        Some(window) => window,
        None => None,
    };
    // An offer that cannot be read was accepted: it demands nothing.
    let offered = OfMessages::read(offer).unwrap_or_default();
    if offered.server_no_context_takeover && !answered.server_no_context_takeover {
        return Err(Fault::ContextDemandIgnored);
    }
    let server_window = answered.server_max_window_bits;
    if let Some(most) = offered.server_max_window_bits {
        match server_window {
            Some(bits) if bits > most => return Err(Fault::WindowTooLarge),
            None if most < MOST_WINDOW_BITS => return Err(Fault::WindowDemandIgnored),
            Some(_) | None => {}
        }
    }
    match (client_window, offered.client_max_window_bits) {
        (Some(_), None) => return Err(Fault::WindowNotOffered),
        (Some(bits), Some(Some(most))) if bits > most => return Err(Fault::WindowTooLarge),
        _ => {}
    }
    Ok(Deflate {
        name: Name::PermessageDeflate,
        server: Coding {
            no_context_takeover: answered.server_no_context_takeover,
            max_window_bits: server_window.unwrap_or(MOST_WINDOW_BITS),
        },
        client: Coding {
            no_context_takeover: answered.client_no_context_takeover,
            max_window_bits: client_window.unwrap_or(MOST_WINDOW_BITS),
        },
    })
}

fn check_frames(name: Name, element: Element<'_>, offer: Element<'_>) -> Result<Deflate, Fault> {
    let (of_client, of_server) = (OfFrames::read(element)?, OfFrames::read(offer));
    Ok(Deflate {
        name,
        server: of_server.unwrap_or_default().coding(),
        client: of_client.coding(),
    })
}

/// The parameters of permessage-deflate.
#[derive(Default)]
struct OfMessages {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// An offer may name it without a value.
    client_max_window_bits: Option<Option<u8>>,
}

impl OfMessages {
    fn read(element: Element<'_>) -> Result<OfMessages, Fault> {
        let mut read = OfMessages::default();
        for parameter in element.parameters() {
            let value = parameter.value;
            match parameter.name {
                "server_no_context_takeover" => flag(&mut read.server_no_context_takeover, value)?,
                "client_no_context_takeover" => flag(&mut read.client_no_context_takeover, value)?,
                "server_max_window_bits" => {
                    let value = value.ok_or(Fault::MissingValue)?;
                    once(&mut read.server_max_window_bits, window_bits(value)?)?;
                }
                "client_max_window_bits" => {
                    let bits = value.map(window_bits).transpose()?;
                    once(&mut read.client_max_window_bits, bits)?;
                }
                _ => return Err(Fault::UnknownParameter),
            }
        }
        Ok(read)
    }
}

/// The parameters of deflate-frame.
#[derive(Default)]
struct OfFrames {
    no_context_takeover: bool,
    max_window_bits: Option<u8>,
}

impl OfFrames {
    fn read(element: Element<'_>) -> Result<OfFrames, Fault> {
        let mut read = OfFrames::default();
        for parameter in element.parameters() {
            match parameter.name {
                "no_context_takeover" => flag(&mut read.no_context_takeover, parameter.value)?,
                "max_window_bits" => {
                    let value = parameter.value.ok_or(Fault::MissingValue)?;
                    once(&mut read.max_window_bits, window_bits(value)?)?;
                }
                _ => return Err(Fault::UnknownParameter),
            }
        }
        Ok(read)
    }

    fn coding(&self) -> Coding {
        Coding {
            no_context_takeover: self.no_context_takeover,
            max_window_bits: self.max_window_bits.unwrap_or(MOST_WINDOW_BITS),
        }
    }
}

fn flag(flag: &mut bool, value: Option<Value<'_>>) -> Result<(), Fault> {
    if value.is_some() {
        return Err(Fault::UnwantedValue);
    }
    if *flag {
        return Err(Fault::RepeatedParameter);
    }
    *flag = true;
    Ok(())
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Fault> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::RepeatedParameter),
    }
}

/// Decimal digits without a sign and without a leading zero.
fn window_bits(value: Value<'_>) -> Result<u8, Fault> {
    const WINDOWS: [(&str, u8); 8] = [
        ("8", 8),
        ("9", 9),
        ("10", 10),
        ("11", 11),
        ("12", 12),
        ("13", 13),
        ("14", 14),
        ("15", 15),
    ];
    let mut windows = WINDOWS.into_iter();
    let found = windows.find(|(digits, _)| value.is(digits));
    found.map(|(_, bits)| bits).ok_or(Fault::BadWindow)
}

/// The extensions in these values, one value after the other.
fn all_elements<'b>(
    values: impl Iterator<Item = &'b [u8]> + Clone,
) -> impl Iterator<Item = Result<Element<'b>, Malformed>> + Clone {
    values.flat_map(elements)
}
