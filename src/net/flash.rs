//! The socket policy of Flash: what a Flash player asks before it opens a socket,
//! and the answer.
//!
//! Libraries that gave browsers without WebSocket one, such as web-socket-js, open
//! their socket from Flash. The player first asks port 843 of the host for a
//! policy, and where none comes there in about three seconds, the port itself that
//! it is to connect to. It believes the first answer: **a policy on port 843 that
//! does not list our port blocks us**, whatever our own port would answer. After
//! the answer the connection ends, and the real one is a new one.
//!
//! The request comes in plain even where the port speaks TLS, since the player
//! itself sends it. A policy that is served from port 1024 or above can allow
//! ports from 1024 on only.

use crate::handshake::Origins;

/// The request without its end.
const REQUEST: &[u8] = b"<policy-file-request";
/// The end of the request, before which blanks may stand.
const END: &[u8] = b"/>\0";
/// No request is longer, with its blanks.
const MAX_REQUEST_OCTETS: usize = 200;

/// The hosts that are allowed where no origin is configured.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Whether octets are the request for a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// They may be its start.
    Cut,
    /// The same, and only the 00 is missing. Where the peer sends no more, it is
    /// the request.
    CutBeforeNul,
    /// So many octets are the request.
    Whole(usize),
    /// They are not.
    Otherwise,
}

/// Whether octets start with the request for a policy.
pub(super) fn asked(octets: &[u8]) -> Asked {
    let limited = octets.get(..MAX_REQUEST_OCTETS).unwrap_or(octets);
    let Some(mut rest) = limited.strip_prefix(REQUEST) else {
        return cut_if(REQUEST.starts_with(limited));
    };
    while let [b' ' | b'\t' | b'\r' | b'\n', after @ ..] = rest {
        rest = after;
    }
    match rest.strip_prefix(END) {
        Some(after) => Asked::Whole(limited.len() - after.len()),
        None if limited.len() == MAX_REQUEST_OCTETS => Asked::Otherwise,
        None if rest == b"/>" => Asked::CutBeforeNul,
        None => cut_if(END.starts_with(rest)),
    }
}

fn cut_if(is_cut: bool) -> Asked {
    if is_cut { Asked::Cut } else { Asked::Otherwise }
}

/// Which pages may open a socket from Flash, and to which ports.
///
/// ```
/// use heirloom::handshake::Origins;
/// use heirloom::net::FlashPolicy;
///
/// let origins = Origins::only(["https://example.com:8443"]);
/// assert_eq!(
///     FlashPolicy::of_origins(&origins, &[8076]).octets(),
///     b"<?xml version=\"1.0\"?><cross-domain-policy>\
///       <allow-access-from domain=\"example.com\" to-ports=\"8076\"/></cross-domain-policy>\0"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlashPolicy(Vec<u8>);

impl FlashPolicy {
    /// The policy that allows pages of these domains to connect to these ports. A
    /// domain is the name or the address of a host, an IPv6 address in brackets;
    /// `*` is every host, and `*.example.com` those below a name.
    ///
    /// A domain that is empty, or holds white space or control characters, is left
    /// out: no host has such a name. Without ports nothing is allowed.
    pub fn new<S: AsRef<str>>(domains: impl IntoIterator<Item = S>, ports: &[u16]) -> FlashPolicy {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        let ports = ports.join(",");
        let mut document = String::from("<?xml version=\"1.0\"?><cross-domain-policy>");
        for domain in domains {
            let domain = domain.as_ref();
            let in_no_name = |c: char| c.is_whitespace() || c.is_control();
            if domain.is_empty() || domain.contains(in_no_name) || ports.is_empty() {
                continue;
            }
            document.push_str("<allow-access-from domain=\"");
            push_escaped(&mut document, domain);
            document.push_str("\" to-ports=\"");
            document.push_str(&ports);
            document.push_str("\"/>");
        }
        document.push_str("</cross-domain-policy>\0");
        FlashPolicy(document.into_bytes())
    }

    /// The policy for pages of these origins. It allows every scheme and port of
    /// their hosts, since a policy knows hosts only; the handshake then checks the
    /// origin itself. Where no host is listed, it allows `localhost` and the
    /// loopback addresses. It never allows every host: [`FlashPolicy::new`] does,
    /// if it is asked to.
    #[must_use]
    pub fn of_origins(origins: &Origins, ports: &[u16]) -> FlashPolicy {
        let hosts = origins.listed().filter_map(host_of);
        let mut domains: Vec<&str> = hosts.filter(|host| !host.contains('*')).collect();
        domains.sort_unstable();
        domains.dedup();
        if domains.is_empty() {
            domains.extend(LOOPBACK);
        }
        FlashPolicy::new(domains, ports)
    }

    /// What is sent: the document and the 00 that ends it.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// The host of an origin, an IPv6 address with its brackets; `null` has none.
fn host_of(origin: &str) -> Option<&str> {
    let (_, authority) = origin.split_once("://")?;
    let host = match authority.rsplit_once(':') {
        // Not a colon inside of an IPv6 address.
        Some((host, port)) if port.bytes().all(|o| o.is_ascii_digit()) => host,
        _ => authority,
    };
    (!host.is_empty()).then_some(host)
}

fn push_escaped(document: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => document.push_str("&amp;"),
            '<' => document.push_str("&lt;"),
            '>' => document.push_str("&gt;"),
            '"' => document.push_str("&quot;"),
            '\'' => document.push_str("&apos;"),
            c => document.push(c),
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(policy: &FlashPolicy) -> String {
        String::from_utf8(policy.octets().to_vec()).unwrap()
    }

    #[test]
    fn every_host_is_allowed_only_if_that_is_asked_for() {
        // As em-websocket answers, with the 00 that Adobe's documentation asks for.
        let any = "<?xml version=\"1.0\"?><cross-domain-policy>\
                   <allow-access-from domain=\"*\" to-ports=\"80\"/></cross-domain-policy>\0";
        assert_eq!(text(&FlashPolicy::new(["*"], &[80])), any);
        for origins in [
            Origins::any(),
            Origins::same(),
            Origins::only(["*"]),
            Origins::only(["http://*", "https://*:*", "http://*.example.com", "null"]),
        ] {
            let policy = text(&FlashPolicy::of_origins(&origins, &[8076, 81]));
            assert!(!policy.contains('*'), "{policy}");
            for host in LOOPBACK {
                let allowed =
                    format!("<allow-access-from domain=\"{host}\" to-ports=\"8076,81\"/>");
                assert!(policy.contains(&allowed), "{policy}");
            }
        }
    }

    #[test]
    fn hosts_of_origins_are_allowed_once() {
        let origins = [
            "https://b:8443",
            "http://[::1]:81",
            "http://b",
            "HTTP://A:80",
            "http://[::2]",
        ];
        let policy = text(&FlashPolicy::of_origins(&Origins::only(origins), &[1]));
        let domains: Vec<&str> = policy.split("domain=\"").skip(1).collect();
        let domains: Vec<&str> = domains.iter().filter_map(|d| d.split('"').next()).collect();
        assert_eq!(domains, ["[::1]", "[::2]", "a", "b"]);
    }

    #[test]
    fn a_domain_cannot_add_an_element() {
        let policy = text(&FlashPolicy::new(["a\"/><x='&", "a\0b", "a b", ""], &[1]));
        assert_eq!(
            policy,
            "<?xml version=\"1.0\"?><cross-domain-policy><allow-access-from \
             domain=\"a&quot;/&gt;&lt;x=&apos;&amp;\" to-ports=\"1\"/></cross-domain-policy>\0"
        );
    }

    #[test]
    fn without_ports_nothing_is_allowed() {
        let policy = text(&FlashPolicy::new(["*"], &[]));
        assert!(!policy.contains("allow"), "{policy}");
    }
}
