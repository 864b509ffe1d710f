//! Which protocol a connection starts with, by its first octets. One port can
//! then speak several.

use super::flash::{self, Asked};
use super::proxy;

/// The type of a handshake record, and the major version of SSL 3.0 and TLS.
const TLS: [u8; 2] = [0x16, 0x03];
/// The first octet of a record of SSLv2, behind which its length stands.
const SSL2_RECORD: u8 = 0x80;
/// The type of a ClientHello in SSLv2, and the major version that it offers.
const SSL2_HELLO: [u8; 2] = [0x01, 0x03];

/// What a connection starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// More octets are needed; at most 200 are.
    Undecided,
    /// A PROXY header of either version.
    ProxyHeader,
    /// A handshake record of SSL 3.0 or TLS.
    Tls,
    /// A ClientHello in the framing of SSLv2, such as Java 6 sends.
    TlsInSslV2Framing,
    /// A Flash player asks for a policy.
    FlashPolicy {
        /// The length of the request.
        octets: usize,
    },
    /// Anything else: HTTP, or what the parser of HTTP refuses.
    Http,
}

/// Whether TLS may come behind this first octet.
pub(super) fn may_begin_tls(octet: u8) -> bool {
    matches!(octet, 0x16 | SSL2_RECORD)
}

/// What a connection starts with. Where it is decided, more octets do not change
/// it.
pub(super) fn first(octets: &[u8]) -> First {
    match octets {
        [] => First::Undecided,
        [0x16, ..] => decide(
            TLS.starts_with(octets),
            octets.starts_with(&TLS),
            First::Tls,
        ),
        [SSL2_RECORD, after @ ..] => {
            let hello = after.get(1..).unwrap_or_default();
            let is_hello = hello.starts_with(&SSL2_HELLO);
            decide(
                SSL2_HELLO.starts_with(hello),
                is_hello,
                First::TlsInSslV2Framing,
            )
        }
        [b'<', ..] => match flash::asked(octets) {
            Asked::Cut | Asked::CutBeforeNul => First::Undecided,
            Asked::Whole(octets) => First::FlashPolicy { octets },
            Asked::Otherwise => First::Http,
        },
        _ => match proxy::starts_with_header(octets) {
            None => First::Undecided,
            Some(true) => First::ProxyHeader,
            Some(false) => First::Http,
        },
    }
}

/// The same where the peer has sent all that it will send. A request for a policy
/// may then lack its 00.
pub(super) fn first_of_all(octets: &[u8]) -> First {
    match first(octets) {
        First::Undecided if flash::asked(octets) == Asked::CutBeforeNul => First::FlashPolicy {
            octets: octets.len(),
        },
        First::Undecided => First::Http,
        first => first,
    }
}

fn decide(is_cut: bool, is_there: bool, what: First) -> First {
    if is_there {
        what
    } else if is_cut {
        First::Undecided
    } else {
        First::Http
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    /// What is found, octet by octet, and how many octets it took.
    fn slowly(octets: &[u8]) -> (First, usize) {
        let mut found = (First::Undecided, 0);
        for n in 0..=octets.len() {
            let now = first(&octets[..n]);
            match found.0 {
                First::Undecided => found = (now, n),
                before => assert_eq!(before, now, "at {n}"),
            }
        }
        found
    }

    #[test]
    fn protocols_are_told_apart_as_soon_as_they_can_be() {
        let policy = |octets| First::FlashPolicy { octets };
        let blanks = [REQUEST_START, &[b' '; 177], b"/>\0more"].concat();
        let too_long = [REQUEST_START, &[b' '; 178], b"/>\0"].concat();
        for (octets, what, at) in [
            (&b"\x16\x03\x01\x02\x00"[..], First::Tls, 2),
            (b"\x16\x13", First::Http, 2),
            (b"\x80\x65\x01\x03\x01", First::TlsInSslV2Framing, 4),
            (b"\x80\x2e\x01\x00\x02", First::Http, 4),
            (b"\x80\x01\x02", First::Http, 3),
            (b"<policy-file-request/>\0", policy(23), 23),
            (b"<policy-file-request \r\n\t/>\0x", policy(27), 27),
            (&blanks, policy(200), 200),
            (&too_long, First::Http, 200),
            (b"<policy-file-request/>x", First::Http, 23),
            (b"<policy-file-request >", First::Http, 22),
            (b"<policy-file-requests/>\0", First::Http, 21),
            (b"<html>", First::Http, 2),
            (b"PROXY TCP4 ", First::ProxyHeader, 6),
            (V2, First::ProxyHeader, 12),
            (b"POST / HTTP/1.1", First::Http, 2),
            (b"\r\nGET / HTTP/1.1", First::Http, 3),
            (b"GET / HTTP/1.1", First::Http, 1),
            (b"SSH-2.0-OpenSSH_9.2\r\n", First::Http, 1),
            (b"\x00", First::Http, 1),
        ] {
            assert_eq!(slowly(octets), (what, at), "{}", octets.escape_ascii());
        }
    }

    const REQUEST_START: &[u8] = b"<policy-file-request";

    #[test]
    fn at_the_end_of_all_octets_a_request_for_a_policy_may_lack_its_nul() {
        let without = b"<policy-file-request/>";
        let octets = without.len();
        assert_eq!(first_of_all(without), First::FlashPolicy { octets });
        let whole = First::FlashPolicy { octets: octets + 1 };
        assert_eq!(first_of_all(b"<policy-file-request/>\0"), whole);
        for cut in [&b"<policy-file-request/"[..], b"\x16", b"PROX", b""] {
            assert_eq!(first_of_all(cut), First::Http, "{}", cut.escape_ascii());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_was_decided_stays(
            start in proptest::sample::select(vec![
                &b""[..], b"\x16", b"\x80\x10", b"\x80\x10\x01", b"<policy-file-request", b"PROX", V2,
            ]),
            rest in proptest::collection::vec(
                prop_oneof![any::<u8>(), proptest::sample::select(&b" />\0\x01\x03Y"[..])],
                0..300,
            ),
        ) {
            let octets = [start, &rest].concat();
            let (found, _) = slowly(&octets);
            prop_assert!(found != First::Undecided || octets.len() < 200);
        }
    }
}
