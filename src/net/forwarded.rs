//! The headers by which proxies name the client: `X-Forwarded-*` and
//! `Forwarded`. They are read from trusted peers only, and always written.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};

use super::address::PeerAddress;
use super::element::{Element, unquoted};
use super::networks::Networks;
use super::proxy::ClientAddress;
use crate::handshake::{Header, Request, is_authority};

/// A longer chain from a trusted peer is not forwarded.
const MAX_CHAIN_OCTETS: usize = 2048;
/// The maximum number of hops that are read, the nearest first.
const MAX_HOPS: usize = 32;
/// The maximum length of a host and port. A host name has at most 253 octets.
const MAX_HOST_OCTETS: usize = 512;

const FOR: &str = "X-Forwarded-For";
const PROTO: &str = "X-Forwarded-Proto";
const HOST: &str = "X-Forwarded-Host";
const FORWARDED: &str = "Forwarded";

/// What is known of the client of a request, and the headers that pass it on to
/// a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The nearest address that is not trusted. It is the address of the peer
    /// where the peer is not trusted or names no client; `None` where that came by
    /// a Unix socket.
    pub client: Option<IpAddr>,
    /// Whether the client uses TLS, to us or to a proxy in front of us.
    pub secure: bool,
    /// The host and port that the client named. `None` where the request has no
    /// valid host, which only plain HTTP may lack, or one that is too long.
    pub host: Option<String>,
    /// Names and values of the headers that replace those of the client.
    pub headers: Vec<(&'static str, String)>,
}

impl Forwarded {
    /// The URL that the client dialled, without its path; `None` where its host
    /// is not known.
    #[must_use]
    pub fn public_url(&self) -> Option<String> {
        let scheme = if self.secure { "wss" } else { "ws" };
        Some(format!("{scheme}://{}", self.host.as_ref()?))
    }

    /// Finds the client of a request. The headers are read where the peer,
    /// `client`, is one of the `trusted`. A trusted proxy must write or remove
    /// each of `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded`: a header
    /// that it passes on unchanged is believed like its own.
    #[must_use]
    pub fn of(request: &Request<'_>, client: &ClientAddress, trusted: &Networks) -> Forwarded {
        let peer = client.address.ip().map(|ip| ip.to_canonical());
        let believed = if trusted.contains_peer(client.address) {
            BelievedHeaders::read(request, trusted)
        } else {
            BelievedHeaders::default()
        };
        let secure = believed.secure.unwrap_or(client.secure);
        let host = believed.host.or_else(|| host(request.host()));
        let scheme = if secure { "https" } else { "http" };

        // nginx says `unix:` too.
        let own_address = peer.map_or(PeerAddress::Unix.to_string(), |ip| ip.to_string());
        let mut headers = vec![
            (FOR, after(believed.addresses, &own_address)),
            (PROTO, scheme.to_owned()),
        ];
        let mut element = format!("for={}", peer.map_or(UNKNOWN.to_owned(), node_name));
        if let Some(host) = &host {
            headers.push((HOST, host.clone()));
            // An authority has no quote and no backslash, so nothing is escaped.
            element.push_str(&format!(";host=\"{host}\""));
        }
        element.push_str(&format!(";proto={scheme}"));
        headers.push((FORWARDED, after(believed.elements, &element)));

        Forwarded {
            client: believed.client.or(peer),
            secure,
            host,
            headers,
        }
    }
}

fn after(chain: Option<String>, own: &str) -> String {
    match chain {
        Some(chain) => chain + ", " + own,
        None => own.to_owned(),
    }
}

/// The headers of a trusted peer.
#[derive(Debug, Default)]
struct BelievedHeaders {
    client: Option<IpAddr>,
    secure: Option<bool>,
    host: Option<String>,
    /// The chain of X-Forwarded-For, where it can be forwarded.
    addresses: Option<String>,
    /// The chain of Forwarded, where it can be forwarded.
    elements: Option<String>,
}

impl BelievedHeaders {
    fn read(request: &Request<'_>, trusted: &Networks) -> BelievedHeaders {
        let lines = |name| -> Vec<Header<'_>> {
            let all = request.head().all(name);
            all.filter(|line| !line.value.is_empty()).collect()
        };
        let (addresses, elements) = (lines(FOR), lines(FORWARDED));
        let chain = Chain::read(&elements, trusted);
        let client = if addresses.is_empty() {
            first_untrusted(chain.nodes.iter().rev().copied(), trusted)
        } else {
            first_untrusted(nearest_first(&addresses), trusted)
        };
        let first_of = |name| {
            let line = request.head().get(name)?.text()?;
            line.split(',').next().map(str::trim)
        };
        let Element {
            proto: first_proto,
            host: first_host,
            ..
        } = chain.first;
        BelievedHeaders {
            client,
            secure: first_of(PROTO)
                .and_then(is_secure)
                .or_else(|| is_secure(&first_proto?)),
            host: first_of(HOST).and_then(host).or_else(|| host(&first_host?)),
            // Backends may read either header, so both are written, each from
            // the other where a proxy wrote only one.
            addresses: joined(&addresses).or_else(|| {
                let is_translated =
                    addresses.is_empty() && chain.is_clean && !chain.nodes.is_empty();
                is_translated.then(|| {
                    list(&chain.nodes, |node| {
                        node.map_or(UNKNOWN.to_owned(), |ip| ip.to_string())
                    })
                })
            }),
            elements: joined(&elements).filter(|_| chain.is_clean).or_else(|| {
                let is_translated = elements.is_empty() && joined(&addresses).is_some();
                let mut nodes: VecDeque<_> = nearest_first(&addresses).take(MAX_HOPS).collect();
                nodes.make_contiguous().reverse();
                is_translated.then(|| {
                    list(&nodes, |node| {
                        format!("for={}", node.map_or(UNKNOWN.to_owned(), node_name))
                    })
                })
            }),
        }
    }
}

/// A hop that has no address (RFC 7239 section 6.2).
const UNKNOWN: &str = "unknown";

/// An address as `for=` names it (RFC 7239 section 6).
fn node_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("\"[{ip}]\""),
    }
}

fn list(nodes: &VecDeque<Option<IpAddr>>, name: impl Fn(Option<IpAddr>) -> String) -> String {
    let names: Vec<String> = nodes.iter().map(|node| name(*node)).collect();
    names.join(", ")
}

/// The chain as it was received, where it can be written again.
fn joined(lines: &[Header<'_>]) -> Option<String> {
    let texts: Option<Vec<&str>> = lines.iter().map(|line| line.text()).collect();
    let chain = texts?.join(", ");
    (!chain.is_empty() && chain.len() <= MAX_CHAIN_OCTETS).then_some(chain)
}

/// The addresses of `X-Forwarded-For`. They are read as octets: a line that is
/// not UTF-8 must not hide the address that a proxy appended to it.
fn nearest_first(lines: &[Header<'_>]) -> impl Iterator<Item = Option<IpAddr>> {
    lines
        .iter()
        .rev()
        .flat_map(|line| line.value.rsplit(|o| *o == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty())
        .map(|item| address(std::str::from_utf8(item).ok()?))
}

/// The first of these hops that is not trusted; `None` where that hop has no
/// address. A hop behind it is not read, because it may be invented.
fn first_untrusted(
    nearest_first: impl Iterator<Item = Option<IpAddr>>,
    trusted: &Networks,
) -> Option<IpAddr> {
    nearest_first
        .take(MAX_HOPS)
        .find(|hop| hop.is_none_or(|address| !trusted.contains(address)))
        .flatten()
}

/// The address of a hop. Some proxies add a port, some write brackets.
fn address(hop: &str) -> Option<IpAddr> {
    if let Some(rest) = hop.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return (port.is_empty() || port.starts_with(':'))
            .then(|| IpAddr::V6(address).to_canonical());
    }
    let address = match hop.split_once(':') {
        Some((address, port)) if !port.contains(':') => address,
        _ => hop,
    };
    address.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

fn is_secure(proto: &str) -> Option<bool> {
    match proto.to_ascii_lowercase().as_str() {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

fn host(text: &str) -> Option<String> {
    let fits = (1..=MAX_HOST_OCTETS).contains(&text.len()) && is_authority(text.as_bytes());
    fits.then(|| text.to_owned())
}

/// All lines of `Forwarded` as one list (RFC 7239 section 4).
#[derive(Debug)]
struct Chain {
    first: Element,
    /// The addresses of the last elements, in their order.
    nodes: VecDeque<Option<IpAddr>>,
    /// Whether all of it could be parsed. After a quote that is not closed, our
    /// own element would become part of the client's.
    is_clean: bool,
}

impl Chain {
    fn read(lines: &[Header<'_>], trusted: &Networks) -> Chain {
        let mut chain = Chain {
            first: Element::default(),
            nodes: VecDeque::new(),
            is_clean: true,
        };
        let mut count = 0usize;
        // A line that is not text counts as one element that cannot be parsed.
        let texts = lines.iter().map(|line| line.text().unwrap_or("\""));
        for text in texts.flat_map(|text| unquoted(text, ',')) {
            if text.is_empty() {
                continue;
            }
            let mut element = Element::read(text).unwrap_or_else(|| {
                chain.is_clean = false;
                Element::default()
            });
            if chain.nodes.len() == MAX_HOPS {
                chain.nodes.pop_front();
            }
            let node = element.node.take();
            let names = node.is_some();
            let node = node.and_then(|node| address(&node));
            chain.nodes.push_back(node);
            // The elements in front of the client's own may be invented by it.
            if count == 0 || names && node.is_none_or(|ip| !trusted.contains(ip)) {
                chain.first = element;
            }
            count += 1;
        }
        chain.is_clean &= count <= MAX_HOPS;
        chain
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::bytes::{Input, Output};
    use crate::conn::{Conn, Event};
    use proptest::prelude::*;
    use std::sync::Arc;

    /// Parses a request with these headers from a peer with this address. The
    /// networks 10.0.0.0/8 and 2001:db8:1::/48 are trusted.
    fn forwarded_by(peer: &str, lines: &[&str]) -> Forwarded {
        let octets: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        forwarded_by_octets(peer, &octets)
    }

    fn forwarded_by_octets(peer: &str, lines: &[&[u8]]) -> Forwarded {
        let client = ClientAddress::from(std::net::SocketAddr::new(peer.parse().unwrap(), 1000));
        forwarded_for(&client, lines)
    }

    fn forwarded_for(client: &ClientAddress, lines: &[&[u8]]) -> Forwarded {
        let mut head = b"GET /chat HTTP/1.1\r\nHost: inner:8080\r\n".to_vec();
        for line in lines {
            head.extend_from_slice(line);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        let trusted = "10.0.0.0/8,2001:db8:1::/48".parse().unwrap();
        forwarded_of(head, client, &trusted)
    }

    fn forwarded_of(mut head: Vec<u8>, client: &ClientAddress, trusted: &Networks) -> Forwarded {
        let mut conn = Conn::server(Arc::default());
        let (mut response, mut random) = (Vec::new(), |_: &mut [u8]| unreachable!());
        let mut out = Output::new(&mut response, &mut random);
        match conn.next(&mut Input::new(&mut head), &mut out) {
            Ok(Some(Event::Http(request))) => Forwarded::of(&request, client, trusted),
            other => panic!("{other:?}"),
        }
    }

    impl Forwarded {
        fn header(&self, name: &str) -> &str {
            let mut all = self.headers.iter().filter(|(n, _)| *n == name);
            let (_, value) = all.next().unwrap();
            assert!(all.next().is_none());
            value
        }
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client_whatever_it_says() {
        let forwarded = forwarded_by(
            "192.0.2.1",
            &[
                "X-Forwarded-For: 127.0.0.1, 10.0.0.1",
                "X-Forwarded-Proto: https",
                "X-Forwarded-Host: bank.example",
                "Forwarded: for=127.0.0.1;host=bank.example;proto=https",
            ],
        );
        let want = Forwarded {
            client: ip("192.0.2.1"),
            secure: false,
            host: Some("inner:8080".to_owned()),
            headers: vec![
                ("X-Forwarded-For", "192.0.2.1".to_owned()),
                ("X-Forwarded-Proto", "http".to_owned()),
                ("X-Forwarded-Host", "inner:8080".to_owned()),
                (
                    "Forwarded",
                    "for=192.0.2.1;host=\"inner:8080\";proto=http".to_owned(),
                ),
            ],
        };
        assert_eq!(forwarded, want);
    }

    #[test]
    fn a_trusted_peer_is_believed_and_appended_to() {
        let forwarded = forwarded_by(
            "10.0.0.1",
            &[
                "X-Forwarded-For: 192.0.2.1",
                "x-forwarded-for: 198.51.100.1, 10.0.0.2",
                "X-Forwarded-Proto: WSS, http",
                "X-Forwarded-Host: a.example, b.example",
                "Forwarded: for=192.0.2.1;by=_x",
                "Forwarded: for=\"[2001:db8::1]:1\" , for=10.0.0.2",
            ],
        );
        let want = Forwarded {
            client: ip("198.51.100.1"),
            secure: true,
            host: Some("a.example".to_owned()),
            headers: vec![
                (
                    "X-Forwarded-For",
                    "192.0.2.1, 198.51.100.1, 10.0.0.2, 10.0.0.1".to_owned(),
                ),
                ("X-Forwarded-Proto", "https".to_owned()),
                ("X-Forwarded-Host", "a.example".to_owned()),
                (
                    "Forwarded",
                    "for=192.0.2.1;by=_x, for=\"[2001:db8::1]:1\" , for=10.0.0.2, \
                     for=10.0.0.1;host=\"a.example\";proto=https"
                        .to_owned(),
                ),
            ],
        };
        assert_eq!(forwarded, want);
    }

    #[test]
    fn a_trusted_peer_that_says_nothing_is_the_client() {
        let forwarded = forwarded_by("::ffff:10.0.0.1", &["X-Forwarded-For:", "Forwarded: "]);
        assert_eq!(forwarded, forwarded_by("10.0.0.1", &[]));
        assert_eq!(forwarded.client, ip("10.0.0.1"));
        assert_eq!(forwarded.header("X-Forwarded-For"), "10.0.0.1");
        let forwarded = forwarded_by("2001:db8:1::5", &[]);
        assert_eq!(forwarded.header("X-Forwarded-For"), "2001:db8:1::5");
        assert_eq!(
            forwarded.header("Forwarded"),
            "for=\"[2001:db8:1::5]\";host=\"inner:8080\";proto=http"
        );
    }

    #[test]
    fn the_nearest_address_that_is_not_trusted_is_the_client() {
        for (chain, client) in [
            ("192.0.2.1", "192.0.2.1"),
            ("127.0.0.1, 192.0.2.1, 10.0.0.3", "192.0.2.1"),
            (
                "192.0.2.1,,10.0.0.3,2001:db8:1::9,::ffff:10.9.9.9,",
                "192.0.2.1",
            ),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711, [2001:db8:1::1]:2", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            // All of them are trusted.
            ("10.0.0.3, 10.0.0.2", "10.0.0.1"),
            // The hops behind these are not known.
            ("192.0.2.1, unknown", "10.0.0.1"),
            ("192.0.2.1, _hidden, 10.0.0.2", "10.0.0.1"),
            ("192.0.2.1, 192.0.2.256", "10.0.0.1"),
            ("192.0.2.1, [10.0.0.2]", "10.0.0.1"),
            ("192.0.2.1, [2001:db8::1]x", "10.0.0.1"),
            ("unknown, 192.0.2.1", "192.0.2.1"),
        ] {
            let line = format!("X-Forwarded-For: {chain}");
            // Of both, X-Forwarded-For decides.
            let forwarded = forwarded_by("10.0.0.1", &[&line, "Forwarded: for=203.0.113.1"]);
            assert_eq!(forwarded.client, ip(client), "{chain}");
        }
    }

    #[test]
    fn forwarded_names_the_client_where_the_other_is_missing() {
        for (chain, client) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"192.0.2.1:4711\";proto=http", "192.0.2.1"),
            ("for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("FOR=\"[2001:db8::1]:_port\"", "2001:db8::1"),
            ("for=[2001:db8::1]:4711", "2001:db8::1"),
            (
                "for=127.0.0.1, by=_x;for=192.0.2.1, for=10.0.0.3",
                "192.0.2.1",
            ),
            ("for=\"192.0.2\\.1\"", "192.0.2.1"),
            (";; for=192.0.2.1 ;,, ", "192.0.2.1"),
            ("for=192.0.2.1;secret=\"a,b;for=127.0.0.1\"", "192.0.2.1"),
            ("for=192.0.2.1;secret=\"a\\\",for=127.0.0.1\"", "192.0.2.1"),
            // The hops behind these are not known.
            ("for=192.0.2.1, for=unknown", "10.0.0.1"),
            ("for=192.0.2.1, for=_hidden", "10.0.0.1"),
            ("for=192.0.2.1, by=10.0.0.2", "10.0.0.1"),
            ("for=192.0.2.1;for=192.0.2.2", "10.0.0.1"),
            ("for=192.0.2.1, for", "10.0.0.1"),
            ("for=192.0.2.1, for=", "10.0.0.1"),
            ("for=\"192.0.2.1", "10.0.0.1"),
            ("for=\"192.0.2.1\\", "10.0.0.1"),
            ("for=\"192.0.2.1\"x", "10.0.0.1"),
            ("for=x\"192.0.2.1\"", "10.0.0.1"),
        ] {
            let line = format!("Forwarded: {chain}");
            let forwarded = forwarded_by("10.0.0.1", &[&line]);
            assert_eq!(forwarded.client, ip(client), "{chain}");
        }
    }

    #[test]
    fn host_and_proto_come_from_whoever_says_something_of_use() {
        let elements = "Forwarded: proto=HTTPS;host=\"b.example:81\", proto=http;host=c.example";
        for (lines, secure, host) in [
            (&[elements][..], true, "b.example:81"),
            (
                &[
                    "X-Forwarded-Proto: ws",
                    "X-Forwarded-Host: [::1]:80",
                    elements,
                ],
                false,
                "[::1]:80",
            ),
            (
                &[
                    "X-Forwarded-Proto: gopher",
                    "X-Forwarded-Host: a/b",
                    elements,
                ],
                true,
                "b.example:81",
            ),
            (
                &["X-Forwarded-Proto: , https", "X-Forwarded-Host: ,a"],
                false,
                "inner:8080",
            ),
            (&["Forwarded: for=x;host=\"a\\\"b\""], false, "inner:8080"),
            (&["Forwarded: host=\"\";proto=\"\""], false, "inner:8080"),
            (
                &["Forwarded: for=1.1.1.1, host=a;proto=wss"],
                false,
                "inner:8080",
            ),
        ] {
            let forwarded = forwarded_by("10.0.0.1", lines);
            assert_eq!(forwarded.secure, secure, "{lines:?}");
            assert_eq!(forwarded.host.as_deref(), Some(host), "{lines:?}");
            let scheme = if secure { "https" } else { "http" };
            assert_eq!(forwarded.header("X-Forwarded-Proto"), scheme);
            assert_eq!(forwarded.header("X-Forwarded-Host"), host);
            let own = format!("for=10.0.0.1;host=\"{host}\";proto={scheme}");
            assert!(forwarded.header("Forwarded").ends_with(&own), "{lines:?}");
        }
    }

    #[test]
    fn tls_in_front_is_told_unless_a_trusted_peer_knows_better() {
        let client = |address: &str| ClientAddress {
            secure: true,
            ..ClientAddress::from(address.parse::<std::net::SocketAddr>().unwrap())
        };
        let plain = &b"X-Forwarded-Proto: http"[..];
        assert!(forwarded_for(&client("192.0.2.1:1"), &[plain]).secure);
        assert!(forwarded_for(&client("10.0.0.1:1"), &[]).secure);
        assert!(!forwarded_for(&client("10.0.0.1:1"), &[plain]).secure);
    }

    #[test]
    fn a_peer_of_a_unix_socket_has_no_address_and_may_be_trusted() {
        let client = ClientAddress::from(PeerAddress::Unix);
        let line = b"X-Forwarded-For: 192.0.2.1";
        let forwarded = forwarded_for(&client, &[line]);
        assert_eq!(forwarded.client, None);
        assert_eq!(forwarded.header(FOR), "unix:");
        let own = "for=unknown;host=\"inner:8080\";proto=http";
        assert_eq!(forwarded.header(FORWARDED), own);
        let head = [
            b"GET / HTTP/1.1\r\nHost: inner:8080\r\n",
            &line[..],
            b"\r\n\r\n",
        ];
        let forwarded = forwarded_of(head.concat(), &client, &"unix".parse().unwrap());
        assert_eq!(forwarded.client, ip("192.0.2.1"));
        assert_eq!(forwarded.header(FOR), "192.0.2.1, unix:");
        let chain = format!("for=192.0.2.1, {own}");
        assert_eq!(forwarded.header(FORWARDED), chain);
    }

    #[test]
    fn without_a_host_none_is_told() {
        let head = b"GET / HTTP/1.0\r\n\r\n".to_vec();
        let client = ClientAddress::from("192.0.2.1:1".parse::<std::net::SocketAddr>().unwrap());
        let forwarded = forwarded_of(head, &client, &Networks::default());
        assert_eq!(forwarded.host, None);
        let headers = [
            ("X-Forwarded-For", "192.0.2.1".to_owned()),
            ("X-Forwarded-Proto", "http".to_owned()),
            ("Forwarded", "for=192.0.2.1;proto=http".to_owned()),
        ];
        assert_eq!(forwarded.headers, headers);
    }

    #[test]
    fn a_chain_that_cannot_be_handed_on_is_replaced_and_hides_nobody() {
        let own = forwarded_by("10.0.0.1", &[]).headers;
        let long = "1.1.1.1,".repeat(MAX_CHAIN_OCTETS / 8);
        for chain in ["\u{fc}", "a\tb", &long] {
            for name in [FOR, FORWARDED] {
                let lines = [
                    format!("{name}: {chain}"),
                    format!("{FOR}: 192.0.2.1, 10.0.0.2"),
                ];
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                let forwarded = forwarded_by("10.0.0.1", &lines);
                assert_eq!(forwarded.client, ip("192.0.2.1"), "{name}: {chain}");
                if name == FOR {
                    assert_eq!(forwarded.headers, own, "{chain}");
                }
            }
        }
        let just = "1".repeat(MAX_CHAIN_OCTETS);
        let forwarded = forwarded_by("10.0.0.1", &[&format!("X-Forwarded-For: {just}")]);
        assert_eq!(forwarded.header(FOR), just + ", 10.0.0.1");
    }

    #[test]
    fn elements_that_are_not_understood_are_not_handed_on() {
        let own = "for=10.0.0.1;host=\"inner:8080\";proto=http";
        let many = "for=1.1.1.1,".repeat(MAX_HOPS + 1);
        let long = format!("for=1.1.1.1;x=\"{}\"", "y".repeat(MAX_CHAIN_OCTETS));
        for chain in [
            "for=\"open",
            "for=\"open\\\"",
            "for=a b",
            "for",
            "=x",
            "a b=c",
            "\u{fc}",
            &many,
            &long,
        ] {
            let forwarded = forwarded_by("10.0.0.1", &[&format!("Forwarded: {chain}")]);
            assert_eq!(forwarded.header(FORWARDED), own, "{chain}");
        }
        // The nearest hops count, however many stand in front of them.
        let forwarded = forwarded_by(
            "10.0.0.1",
            &[&format!("Forwarded: {many} for=192.0.2.1, for=10.0.0.2")],
        );
        assert_eq!(forwarded.client, ip("192.0.2.1"));
        let far = "10.0.0.2,".repeat(MAX_HOPS);
        let forwarded = forwarded_by("10.0.0.1", &[&format!("X-Forwarded-For: 192.0.2.1,{far}")]);
        assert_eq!(forwarded.client, ip("10.0.0.1"));
    }

    #[test]
    fn a_host_of_hostile_length_is_none() {
        let long = "h".repeat(MAX_HOST_OCTETS + 1);
        let forwarded = forwarded_by("10.0.0.1", &[&format!("X-Forwarded-Host: {long}")]);
        assert_eq!(forwarded.host.as_deref(), Some("inner:8080"));
    }

    proptest! {
        #[test]
        fn whatever_comes_what_is_written_is_visible_and_ours_stands_last(
            lines in proptest::collection::vec((
                proptest::sample::select(vec![FOR, PROTO, HOST, FORWARDED]),
                "[ -~\u{e4}]{0,40}|([a-z]{1,5}=\"?[0-9.:\\[\\]\\\\]{0,12}\"?[,; ]{0,2}){0,40}",
            ), 0..8),
        ) {
            let lines: Vec<String> = lines.iter().map(|(n, v)| format!("{n}: {v}")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let forwarded = forwarded_by("10.0.0.1", &lines);
            for (_, value) in &forwarded.headers {
                prop_assert!(value.bytes().all(|o| matches!(o, 0x20..=0x7e)), "{value}");
                prop_assert!(value.len() < MAX_CHAIN_OCTETS + MAX_HOST_OCTETS + 100);
            }
            let last = unquoted(forwarded.header(FORWARDED), ',').last().unwrap();
            prop_assert!(last.starts_with("for=10.0.0.1;"), "{}", forwarded.header(FORWARDED));
        }
    }
}
