//! Extensions that both sides agreed on and that are not spoken here.

use crate::extension::{Changes, Element, elements, known};
use crate::version::Version;

/// What they change, as far as that is known.
pub(super) fn changes<'a>(
    agreed: impl IntoIterator<Item = &'a [u8]>,
    version: Option<&Version>,
) -> Option<Changes> {
    let known = foreign(agreed, version).filter_map(|element| known(element.name));
    known.map(|known| known.changes).min()
}

/// All of them in the values of a response's header.
pub(super) fn foreign<'a>(
    agreed: impl IntoIterator<Item = &'a [u8]>,
    version: Option<&Version>,
) -> impl Iterator<Item = Element<'a>> {
    let is_negotiated = version.is_none_or(Version::has_extensions);
    let can_compress = version.is_none_or(Version::has_compression);
    let is_spoken = move |name| can_compress && known(name).is_some_and(|known| known.is_spoken);
    let agreed = agreed.into_iter().flat_map(elements).flatten();
    agreed.filter(move |element| is_negotiated && !is_spoken(element.name))
}
