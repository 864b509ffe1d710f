//! The PROXY protocol, by which a load balancer names the client.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use memchr::memchr;
use ppp::{PartialResult, v1, v2};

use super::address::PeerAddress;
use super::agreement::TlsAgreement;
use super::refusal::NetRefusal;

/// The maximum length of a line of version 1, with its CR LF.
const MAX_V1_OCTETS: usize = 107;
/// The maximum length of what follows the length field of version 2: addresses
/// and TLVs. The longest TLVs are names of certificates and those of clouds.
const MAX_V2_OCTETS: u16 = 4096;
/// The octets of version 2 that its length field does not count.
const V2_FIXED_OCTETS: usize = 16;

/// The start of a line of version 1 with addresses.
const V1_ADDRESSES: [&[u8]; 2] = [b"PROXY TCP4 ", b"PROXY TCP6 "];
/// The start of a line of version 1 without addresses.
const V1_UNKNOWN: &[u8] = b"PROXY UNKNOWN";

/// The thirteenth octet of version 2: the version number and the command.
const V2_LOCAL: u8 = 0x20;
const V2_PROXY: u8 = 0x21;

/// The bit in the TLV for TLS that is set where the client used TLS.
const CLIENT_SSL: u8 = 0x01;

/// The address of a client, from TCP or from a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    /// The peer's own address, or the source address of a PROXY header.
    pub address: PeerAddress,
    /// The address that the client connected to, from a PROXY header.
    pub destination: Option<SocketAddr>,
    /// Whether the client used TLS, here or by a PROXY header.
    pub secure: bool,
    /// What it has agreed on in TLS, where that was here.
    pub tls: Option<TlsAgreement>,
}

impl<A: Into<PeerAddress>> From<A> for ClientAddress {
    /// The address of the peer itself.
    fn from(address: A) -> ClientAddress {
        ClientAddress {
            address: address.into(),
            destination: None,
            secure: false,
            tls: None,
        }
    }
}

/// The versions of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary; it can also carry that the client used TLS.
    V2,
}

/// An unknown name of a version of the PROXY protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no version of the PROXY protocol is named {0:?}; the names are v1 and v2")]
pub struct UnknownProxyVersion(String);

impl FromStr for ProxyVersion {
    type Err = UnknownProxyVersion;

    fn from_str(name: &str) -> Result<ProxyVersion, UnknownProxyVersion> {
        match name {
            "v1" => Ok(ProxyVersion::V1),
            "v2" => Ok(ProxyVersion::V2),
            _ => Err(UnknownProxyVersion(name.to_owned())),
        }
    }
}

/// Reads the header of either version at the start of a connection. Returns the
/// client and the length of the header; `None` asks for more octets.
pub(super) fn read(
    octets: &[u8],
    peer: PeerAddress,
) -> Result<Option<(ClientAddress, usize)>, NetRefusal> {
    let start = octets.get(..v2::PROTOCOL_PREFIX.len()).unwrap_or(octets);
    if v2::PROTOCOL_PREFIX.starts_with(start) {
        read_v2(octets, peer)
    } else {
        read_v1(octets, peer)
    }
}

/// Whether a connection starts with a PROXY header; `None` asks for more octets.
pub(super) fn starts_with_header(octets: &[u8]) -> Option<bool> {
    const V1: &[u8] = b"PROXY ";
    let all = [V1, v2::PROTOCOL_PREFIX];
    if all.iter().any(|form| octets.starts_with(form)) {
        return Some(true);
    }
    let is_cut = all.iter().any(|form| form.starts_with(octets));
    (!is_cut).then_some(false)
}

fn read_v1(octets: &[u8], peer: PeerAddress) -> Result<Option<(ClientAddress, usize)>, NetRefusal> {
    let longest = octets.get(..MAX_V1_OCTETS).unwrap_or(octets);
    let line = memchr(b'\n', longest)
        .and_then(|i| longest.get(..=i))
        .unwrap_or(longest);
    if !can_be_v1(line) || (line.len() == MAX_V1_OCTETS && !line.ends_with(b"\n")) {
        return Err(NetRefusal::ProxyHeader);
    }
    if !line.ends_with(b"\n") {
        return Ok(None);
    }
    let length = line.len();
    // The receiver must ignore what follows UNKNOWN, so ppp does not parse it.
    if line.starts_with(V1_UNKNOWN) {
        return Ok(Some((peer.into(), length)));
    }
    let header = v1::Header::try_from(line).map_err(|_| NetRefusal::ProxyHeader)?;
    let client = match header.addresses {
        v1::Addresses::Tcp4(a) => named(
            (a.source_address, a.source_port),
            (a.destination_address, a.destination_port),
        ),
        v1::Addresses::Tcp6(a) => named(
            (a.source_address, a.source_port),
            (a.destination_address, a.destination_port),
        ),
        v1::Addresses::Unknown => ClientAddress::from(peer),
    };
    Ok(Some((client, length)))
}

/// Whether these octets can be the start of a line of version 1. Other octets
/// are refused at the first wrong one, not only at the maximum length.
fn can_be_v1(line: &[u8]) -> bool {
    let cr = memchr(b'\r', line).unwrap_or(line.len());
    let (body, end) = line.split_at_checked(cr).unwrap_or((line, b""));
    let cut = |form: &[u8]| end.is_empty() && form.starts_with(body);
    let of_addresses = |o: &u8| o.is_ascii_hexdigit() || b".: ".contains(o);
    b"\r\n".starts_with(end)
        && (V1_ADDRESSES
            .iter()
            .any(|form| match body.strip_prefix(*form) {
                Some(addresses) => addresses.iter().all(of_addresses),
                None => cut(form),
            })
            || match body.strip_prefix(V1_UNKNOWN) {
                Some([]) => true,
                Some(rest) => rest.starts_with(b" ") && !rest.contains(&b'\n'),
                None => cut(V1_UNKNOWN),
            })
}

fn read_v2(octets: &[u8], peer: PeerAddress) -> Result<Option<(ClientAddress, usize)>, NetRefusal> {
    let Some(after) = octets.strip_prefix(v2::PROTOCOL_PREFIX) else {
        return Ok(None);
    };
    let is_local = match after {
        [V2_LOCAL, ..] => true,
        [V2_PROXY] => false,
        // The address families and transports of the specification.
        [
            V2_PROXY,
            0x00..=0x02 | 0x10..=0x12 | 0x20..=0x22 | 0x30..=0x32,
            ..,
        ] => false,
        [] => return Ok(None),
        _ => return Err(NetRefusal::ProxyHeader),
    };
    let [_, _, high, low, ..] = after else {
        return Ok(None);
    };
    let length = u16::from_be_bytes([*high, *low]);
    if length > MAX_V2_OCTETS {
        return Err(NetRefusal::ProxyHeader);
    }
    let whole = V2_FIXED_OCTETS + usize::from(length);
    // The receiver must ignore what follows LOCAL, which may be addresses of an
    // unknown family or too few octets; ppp would check them.
    if is_local {
        return Ok((octets.len() >= whole).then(|| (peer.into(), whole)));
    }
    let header = match v2::Header::try_from(octets) {
        Ok(header) => header,
        Err(error) if error.is_incomplete() => return Ok(None),
        Err(_) => return Err(NetRefusal::ProxyHeader),
    };
    let mut client = match (header.protocol, header.addresses) {
        (v2::Protocol::Stream, v2::Addresses::IPv4(a)) => named(
            (a.source_address, a.source_port),
            (a.destination_address, a.destination_port),
        ),
        (v2::Protocol::Stream, v2::Addresses::IPv6(a)) => named(
            (a.source_address, a.source_port),
            (a.destination_address, a.destination_port),
        ),
        // Datagrams and Unix sockets are no address of a TCP client.
        _ => ClientAddress::from(peer),
    };
    for tlv in header.tlvs() {
        let tlv = tlv.map_err(|_| NetRefusal::ProxyHeader)?;
        // The bits, four octets about the certificate, and nested TLVs.
        if tlv.kind == u8::from(v2::Type::SSL) {
            client.secure |= matches!(*tlv.value, [bits, _, _, _, _, ..] if bits & CLIENT_SSL != 0);
        }
    }
    Ok(Some((client, whole)))
}

fn named<A: Into<IpAddr>>(source: (A, u16), destination: (A, u16)) -> ClientAddress {
    ClientAddress {
        address: SocketAddr::from(source).into(),
        destination: Some(destination.into()),
        secure: false,
        tls: None,
    }
}

/// The header that names the client to a backend. A destination that is not known
/// is the client's own address. A client of a Unix socket has no address, and the
/// header says so.
pub(super) fn write(version: ProxyVersion, client: &ClientAddress) -> Vec<u8> {
    let PeerAddress::Tcp(address) = client.address else {
        return match version {
            ProxyVersion::V1 => [V1_UNKNOWN, b"\r\n"].concat(),
            // The family and the protocol are unspecified, and nothing follows.
            ProxyVersion::V2 => [v2::PROTOCOL_PREFIX, &[V2_PROXY, 0, 0, 0]].concat(),
        };
    };
    let pair = of_one_family(address, client.destination.unwrap_or(address));
    match version {
        ProxyVersion::V1 => v1::Addresses::from(pair).to_string().into_bytes(),
        ProxyVersion::V2 => {
            let proxy = v2::Version::Two | v2::Command::Proxy;
            let header = v2::Builder::with_addresses(proxy, v2::Protocol::Stream, pair);
            // The verify field is not 0: 0 means that a client certificate was
            // verified, and some backends check only this field.
            let mut tls = vec![CLIENT_SSL, 0, 0, 0, 1];
            if let Some(agreement) = client.tls {
                push_tlv(&mut tls, v2::Type::SSLVersion, agreement.version);
                let suite = format!("TLS_{}", agreement.suite);
                push_tlv(&mut tls, v2::Type::SSLCipher, &suite);
            }
            let header = if client.secure {
                header.write_tlv(v2::Type::SSL, &tls)
            } else {
                Ok(header)
            };
            header
                .and_then(v2::Builder::build)
                .expect("two addresses and two short names fit a header")
        }
    }
}

/// Adds what is inside of the TLV for TLS. A text that is too long is left out.
fn push_tlv(octets: &mut Vec<u8>, kind: v2::Type, text: &str) {
    if let Ok(length) = u8::try_from(text.len()) {
        octets.extend([u8::from(kind), 0, length]);
        octets.extend_from_slice(text.as_bytes());
    }
}

/// A header carries two addresses of one family. Where their families differ,
/// the IPv4 address is mapped into IPv6.
fn of_one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
    let mapped = |a: SocketAddr| match a.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), a.port()),
        IpAddr::V6(_) => a,
    };
    let (source, destination) = (plain(source), plain(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        (source, destination)
    } else {
        (mapped(source), mapped(destination))
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PEER: &str = "192.0.2.9:4711";
    const V2: &[u8] = v2::PROTOCOL_PREFIX;

    fn peer() -> PeerAddress {
        PEER.parse::<SocketAddr>().unwrap().into()
    }

    fn client(address: &str, destination: &str, secure: bool) -> ClientAddress {
        ClientAddress {
            address: address.parse::<SocketAddr>().unwrap().into(),
            destination: Some(destination.parse().unwrap()),
            secure,
            tls: None,
        }
    }

    /// A header of version 2.
    fn v2_header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &length, body].concat()
    }

    /// The addresses 198.51.100.1:1000 and 203.0.113.2:443.
    const BODY_V4: [u8; 12] = [198, 51, 100, 1, 203, 0, 113, 2, 0x03, 0xe8, 0x01, 0xbb];

    /// Valid headers and the clients that they name.
    fn right() -> Vec<(Vec<u8>, ClientAddress)> {
        let v4 = client("198.51.100.1:1000", "203.0.113.2:443", false);
        let v6 = client("[2001:db8::1]:1000", "[2001:db8::2]:443", false);
        let body_v6: Vec<u8> = [
            &"2001:db8::1"
                .parse::<std::net::Ipv6Addr>()
                .unwrap()
                .octets()[..],
            &"2001:db8::2"
                .parse::<std::net::Ipv6Addr>()
                .unwrap()
                .octets()[..],
            &[0x03, 0xe8, 0x01, 0xbb],
        ]
        .concat();
        let tls = |bits| [&BODY_V4[..], &[0x04, 0, 1, 9, 0x20, 0, 5, bits, 0, 0, 0, 1]].concat();
        let direct = ClientAddress::from(peer());
        let line = |text: &str| text.as_bytes().to_vec();
        vec![
            (line("PROXY TCP4 198.51.100.1 203.0.113.2 1000 443\r\n"), v4),
            (line("PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\n"), v6),
            (line("PROXY UNKNOWN\r\n"), direct),
            (line("PROXY UNKNOWN a b c d e f g ?!\r\n"), direct),
            (
                line(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(91))),
                direct,
            ),
            (v2_header(V2_PROXY, 0x11, &BODY_V4), v4),
            (v2_header(V2_PROXY, 0x21, &body_v6), v6),
            (v2_header(V2_PROXY, 0x11, &tls(0)), v4),
            (
                v2_header(V2_PROXY, 0x11, &tls(CLIENT_SSL)),
                ClientAddress { secure: true, ..v4 },
            ),
            (v2_header(V2_LOCAL, 0x00, &[]), direct),
            // The rest of a LOCAL is ignored.
            (v2_header(V2_LOCAL, 0x11, &[]), direct),
            (v2_header(V2_LOCAL, 0xff, &tls(CLIENT_SSL)), direct),
            (v2_header(V2_PROXY, 0x00, &[]), direct),
            // What follows the family UNSPEC is ignored.
            (v2_header(V2_PROXY, 0x00, &tls(CLIENT_SSL)[12..]), direct),
            (v2_header(V2_PROXY, 0x00, &[0xff]), direct),
            // Datagrams, and a Unix socket.
            (v2_header(V2_PROXY, 0x12, &BODY_V4), direct),
            (v2_header(V2_PROXY, 0x31, &[b'/'; 216]), direct),
        ]
    }

    #[test]
    fn a_header_is_read_at_every_cut_and_what_follows_is_left() {
        for (header, client) in right() {
            for cut in 0..header.len() {
                let read = read(&header[..cut], peer());
                assert_eq!(read, Ok(None), "{header:02x?} cut at {cut}");
            }
            for more in [&b""[..], b"GET / HTTP/1.1\r\n", b"\n", V2, b"PROXY "] {
                let octets = [&header, more].concat();
                let read = read(&octets, peer());
                assert_eq!(read, Ok(Some((client, header.len()))), "{header:02x?}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_its_first_wrong_octet() {
        for (fits, wrong) in [
            (&b""[..], &b"GET / HTTP/1.1\r\n"[..]),
            (b"", b"\x16\x03\x01"),
            (b"", b"\n"),
            (b"P", b"OST / HTTP/1.1\r\n"),
            (b"PRO", b"PFIND / HTTP/1.1\r\n"),
            (b"PROXY", b"\r\n"),
            (b"PROXY ", b" TCP4"),
            (b"PROXY ", b"tcp4"),
            (b"PROXY TCP", b"5"),
            (b"PROXY UNKNOWN", b"S"),
            (b"PROXY UNKNOWN", b"\n"),
            (b"PROXY UNKNOWN x", b"\n"),
            (b"PROXY UNKNOWN\r", b"\r"),
            (b"PROXY TCP4 ", b"localhost"),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2", b"\n"),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r", b"\t"),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 ", b"+1 2\r\n"),
            // A whole line with a wrong end.
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r", b"\n"),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r", b"\n"),
            (b"PROXY TCP4 ::1 ::2 1 2\r", b"\n"),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r", b"\n"),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r", b"\n"),
            (b"PROXY TCP4 \r", b"\n"),
            (b"\r\n\r\n\0", b"\n"),
            (b"\r\n\r\n\0\r\nQUIT\n", b"\x11"),
            (b"\r\n\r\n\0\r\nQUIT\n", b"\x22"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21", b"\x41"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21", b"\x13"),
            // Too long, and too short for its addresses.
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x10", b"\x01"),
            (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\xff", b"\xff"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00", b"\x0b"),
        ] {
            assert_eq!(read(fits, peer()), Ok(None), "{fits:02x?}");
            let octets = [fits, &wrong[..1]].concat();
            assert_eq!(
                read(&octets, peer()),
                Err(NetRefusal::ProxyHeader),
                "{octets:02x?}"
            );
            let octets = [fits, wrong].concat();
            assert_eq!(read(&octets, peer()), Err(NetRefusal::ProxyHeader));
        }
    }

    #[test]
    fn a_line_is_refused_when_it_cannot_end_in_time() {
        for start in ["PROXY TCP6 ", "PROXY UNKNOWN "] {
            let fits = start.to_owned() + &"1".repeat(MAX_V1_OCTETS - 1 - start.len());
            assert_eq!(read(fits.as_bytes(), peer()), Ok(None));
            for more in ["1", "\r", "1\r\n"] {
                let long = fits.clone() + more;
                let read = read(long.as_bytes(), peer());
                assert_eq!(read, Err(NetRefusal::ProxyHeader), "{long}");
            }
        }
    }

    #[test]
    fn a_header_of_version_2_may_be_as_long_as_its_limit() {
        let noop = vec![0; usize::from(MAX_V2_OCTETS) - BODY_V4.len() - 3];
        let length = u16::try_from(noop.len()).unwrap().to_be_bytes();
        let header = v2_header(
            V2_PROXY,
            0x11,
            &[&BODY_V4[..], &[0x04], &length, &noop].concat(),
        );
        let read = read(&header, peer()).unwrap().unwrap();
        assert_eq!(read.1, V2_FIXED_OCTETS + 4096);
    }

    #[test]
    fn a_tlv_that_does_not_fit_is_refused_and_a_short_one_says_nothing() {
        for rest in [&[0x20][..], &[0x20, 0], &[0x20, 0, 6, 1, 0, 0, 0, 0]] {
            let header = v2_header(V2_PROXY, 0x11, &[&BODY_V4[..], rest].concat());
            assert_eq!(read(&header, peer()), Err(NetRefusal::ProxyHeader));
        }
        for rest in [&[0x20, 0, 0][..], &[0x20, 0, 1, 1]] {
            let header = v2_header(V2_PROXY, 0x11, &[&BODY_V4[..], rest].concat());
            let (client, _) = read(&header, peer()).unwrap().unwrap();
            assert!(!client.secure);
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (address, destination) in [
            ("198.51.100.1:1000", "203.0.113.2:443"),
            ("255.255.255.255:65535", "255.255.255.255:65535"),
            ("[2001:db8::1]:1000", "[2001:db8::2]:443"),
            (
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
            ("[2001:db8::1]:1000", "[::ffff:203.0.113.2]:443"),
        ] {
            for secure in [false, true] {
                let client_address = client(address, destination, secure);
                let v1 = write(ProxyVersion::V1, &client_address);
                let read_back = ClientAddress {
                    secure: false,
                    ..client_address
                };
                assert_eq!(read(&v1, peer()), Ok(Some((read_back, v1.len()))));
                let v2 = write(ProxyVersion::V2, &client_address);
                assert_eq!(read(&v2, peer()), Ok(Some((client_address, v2.len()))));
            }
        }
    }

    #[test]
    fn two_families_become_one() {
        let line = |client: &ClientAddress, local: &str| {
            let client = ClientAddress {
                destination: local.parse().ok(),
                ..*client
            };
            let octets = write(ProxyVersion::V1, &client);
            String::from_utf8(octets).unwrap()
        };
        let v4 = ClientAddress::from("192.0.2.1:5".parse::<SocketAddr>().unwrap());
        let mapped = ClientAddress::from("[::ffff:192.0.2.1]:5".parse::<SocketAddr>().unwrap());
        for client in [v4, mapped] {
            for local in ["192.0.2.2:80", "[::ffff:192.0.2.2]:80"] {
                let line = line(&client, local);
                assert_eq!(line, "PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n");
            }
            assert_eq!(
                line(&client, "[2001:db8::2]:80"),
                "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 5 80\r\n"
            );
        }
    }

    #[test]
    fn tls_is_said_in_octets_without_a_word_about_certificates() {
        let client_address = client("198.51.100.1:1000", "203.0.113.2:443", true);
        let tls = [0x20, 0, 5, CLIENT_SSL, 0, 0, 0, 1];
        assert_eq!(
            write(ProxyVersion::V2, &client_address),
            v2_header(V2_PROXY, 0x11, &[&BODY_V4[..], &tls].concat())
        );
    }

    #[test]
    fn what_was_agreed_on_in_tls_is_said_by_its_names() {
        let client_address = ClientAddress {
            tls: Some(TlsAgreement {
                version: "TLSv1.3",
                suite: "AES_128_GCM_SHA256",
            }),
            ..client("198.51.100.1:1000", "203.0.113.2:443", true)
        };
        let tls = [
            &[0x20, 0, 5 + 3 + 7 + 3 + 22, CLIENT_SSL, 0, 0, 0, 1][..],
            &[0x21, 0, 7],
            b"TLSv1.3",
            &[0x23, 0, 22],
            b"TLS_AES_128_GCM_SHA256",
        ]
        .concat();
        let written = write(ProxyVersion::V2, &client_address);
        assert_eq!(
            written,
            v2_header(V2_PROXY, 0x11, &[&BODY_V4[..], &tls].concat())
        );
        let (read_back, octets) = read(&written, peer()).unwrap().unwrap();
        assert!(read_back.secure && octets == written.len());
    }

    #[test]
    fn a_client_of_a_unix_socket_has_no_address_in_either_version() {
        let client = ClientAddress::from(PeerAddress::Unix);
        let written = [ProxyVersion::V1, ProxyVersion::V2].map(|version| write(version, &client));
        assert_eq!(written[0], b"PROXY UNKNOWN\r\n");
        assert_eq!(written[1], v2_header(V2_PROXY, 0x00, b""));
        for header in written {
            // Its reader keeps what it knows of the connection itself.
            let read = read(&header, peer());
            assert_eq!(read, Ok(Some((peer().into(), header.len()))));
        }
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic_or_take_more_than_there_is(
            which in any::<prop::sample::Index>(),
            damage in proptest::collection::vec(
                (any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 0..6),
        ) {
            let right = right();
            let (mut octets, _) = right[which.index(right.len())].clone();
            for (at, octet, how) in damage {
                let at = at.index(octets.len().max(1));
                match how {
                    0 => octets.insert(at.min(octets.len()), octet),
                    1 => octets.truncate(at),
                    _ => octets[at..].iter_mut().take(1).for_each(|o| *o = octet),
                }
            }
            let whole = read(&octets, peer());
            if let Ok(Some((_, length))) = whole {
                prop_assert!(length <= octets.len());
            }
            // The result is the same at every cut, and a refusal is final.
            for cut in 0..octets.len() {
                match read(&octets[..cut], peer()) {
                    Ok(None) => {}
                    read => prop_assert_eq!(&read, &whole),
                }
            }
        }
    }

    #[test]
    fn versions_have_names() {
        assert_eq!("v1".parse(), Ok(ProxyVersion::V1));
        assert_eq!("v2".parse(), Ok(ProxyVersion::V2));
        let error = "3".parse::<ProxyVersion>().unwrap_err().to_string();
        assert!(error.ends_with("the names are v1 and v2"), "{error}");
    }
}
