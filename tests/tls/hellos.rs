//! ClientHellos: those of real clients, in any portions, and rubbish.

use heirloom::net::{ClientHello, NotAHello, ServedBy, ServerKey, TlsVersion};
use proptest::prelude::*;
use serde_json::Value;

struct Sent {
    id: String,
    octets: Vec<u8>,
    expected: Value,
}

/// The hellos of `hellos.json`.
fn sent() -> Vec<Sent> {
    let file: Value = serde_json::from_str(include_str!("hellos.json")).unwrap();
    let hellos = file["hellos"].as_array().unwrap().iter();
    let sent = hellos.map(|hello| Sent {
        id: hello["id"].as_str().unwrap().to_owned(),
        octets: from_hex(hello["hex"].as_str().unwrap()),
        expected: hello.clone(),
    });
    sent.collect()
}

/// The octets of one client.
pub(crate) fn of(id: &str) -> Vec<u8> {
    let found = sent().into_iter().find(|sent| sent.id == id);
    found.unwrap_or_else(|| panic!("no hello {id}")).octets
}

fn from_hex(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(octet).collect()
}

fn read(octets: &[u8]) -> ClientHello {
    ClientHello::read(octets).unwrap().unwrap()
}

/// Reads octet by octet: what was found stays found. Gives how many octets it took.
fn read_slowly(octets: &[u8]) -> (Result<Option<ClientHello>, NotAHello>, usize) {
    let mut found = (Ok(None), 0);
    for n in 0..=octets.len() {
        let now = ClientHello::read(&octets[..n]);
        if found.0 == Ok(None) {
            found = (now, n);
        } else {
            assert_eq!(found.0, now, "at octet {n}, found at {}", found.1);
        }
    }
    found
}

/// Cuts a message of the handshake into records of these lengths.
fn in_records(message: &[u8], lengths: &[usize]) -> Vec<u8> {
    let mut lengths = lengths.iter().copied().cycle();
    let mut records = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let (fragment, after) = rest.split_at(lengths.next().unwrap().min(rest.len()));
        records.extend([0x16, 3, 1]);
        records.extend((fragment.len() as u16).to_be_bytes());
        records.extend(fragment);
        rest = after;
    }
    records
}

/// A hello of TLS 1.2 with these suites and this block of extensions.
fn with_extensions(suites: &[u16], extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend((suites.len() as u16 * 2).to_be_bytes());
    body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend([1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut message = vec![1, 0];
    message.extend((body.len() as u16).to_be_bytes());
    message.extend(body);
    in_records(&message, &[16_384])
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [&kind.to_be_bytes(), &length[..], body].concat()
}

fn word(served: ServedBy) -> &'static str {
    match served {
        ServedBy::Modern => "modern",
        ServedBy::Legacy => "legacy",
        ServedBy::OnlySsl3 => "only-ssl3",
        ServedBy::NoSuite => "no-suite",
        _ => "unknown",
    }
}

#[test]
fn real_clients_are_told_apart_by_what_can_serve_them() {
    for Sent {
        id,
        octets,
        expected,
    } in sent()
    {
        let hello = read(&octets);
        assert_eq!(
            hello.highest_version().to_string(),
            expected["highest"],
            "{id}"
        );
        assert_eq!(hello.server_name(), expected["sni"].as_str(), "{id}");
        assert_eq!(hello.is_ssl2_framed(), octets[0] == 0x80, "{id}");
        let rsa = hello.served_by(&[ServerKey::Rsa]);
        assert_eq!(word(rsa), expected["rsa"], "{id}");
        let ecdsa = hello.served_by(&[ServerKey::EcdsaP256]);
        assert_eq!(word(ecdsa), expected["ecdsa"], "{id}");
        let is_modern = [rsa, ecdsa].contains(&ServedBy::Modern);
        let both = hello.served_by(&[ServerKey::Rsa, ServerKey::EcdsaP256]);
        assert_eq!(both == ServedBy::Modern, is_modern, "{id}");
    }
}

#[test]
fn every_suite_of_a_real_client_from_2009_on_has_a_name_or_was_never_registered() {
    for Sent { id, octets, .. } in sent() {
        for suite in read(&octets).suites() {
            // Export suites of a draft, and Java's; SRP of OpenSSL; DH with keys
            // in certificates. None is served by anything.
            let is_odd =
                matches!(suite.0, 0x0d | 0x10 | 0x30..=0x3f | 0x60..=0x69 | 0xc01c..=0xc022);
            assert!(suite.name().is_some() || is_odd, "{id}: {suite}");
        }
    }
}

#[test]
fn a_hello_is_read_when_its_last_octet_has_arrived_and_not_before() {
    for Sent { id, octets, .. } in sent() {
        let (found, at) = read_slowly(&octets);
        assert!(matches!(found, Ok(Some(_))), "{id}: {found:?}");
        assert_eq!(at, octets.len(), "{id}");
        let more = [&octets[..], b"more"].concat();
        assert_eq!(ClientHello::read(&more), found, "{id}");
    }
}

#[test]
fn a_line_of_the_log_says_what_was_offered() {
    for (id, line) in [
        (
            "android-2.3.7",
            "TLS 1.0, suites TLS_RSA_WITH_RC4_128_MD5 TLS_RSA_WITH_RC4_128_SHA \
             TLS_RSA_WITH_AES_128_CBC_SHA TLS_DHE_RSA_WITH_AES_128_CBC_SHA \
             TLS_DHE_DSS_WITH_AES_128_CBC_SHA TLS_RSA_WITH_3DES_EDE_CBC_SHA \
             TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA TLS_DHE_DSS_WITH_3DES_EDE_CBC_SHA \
             TLS_RSA_WITH_DES_CBC_SHA TLS_DHE_RSA_WITH_DES_CBC_SHA \
             TLS_DHE_DSS_WITH_DES_CBC_SHA TLS_RSA_EXPORT_WITH_RC4_40_MD5 \
             TLS_RSA_EXPORT_WITH_DES40_CBC_SHA TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA \
             TLS_DHE_DSS_EXPORT_WITH_DES40_CBC_SHA, no SNI",
        ),
        (
            "opera-65",
            "TLS 1.3, suites TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 \
             TLS_CHACHA20_POLY1305_SHA256 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 \
             TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 \
             TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 \
             TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA \
             TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA TLS_RSA_WITH_AES_128_GCM_SHA256 \
             TLS_RSA_WITH_AES_256_GCM_SHA384 TLS_RSA_WITH_AES_128_CBC_SHA \
             TLS_RSA_WITH_AES_256_CBC_SHA TLS_RSA_WITH_3DES_EDE_CBC_SHA, SNI blogs.opera.com",
        ),
    ] {
        assert_eq!(read(&of(id)).to_string(), line);
    }
    let java = read(&of("java-6u45")).to_string();
    assert!(
        java.starts_with("TLS 1.0 in the framing of SSLv2, suites "),
        "{java}"
    );
    let safari = read(&of("safari-5.1.9")).to_string();
    assert!(
        safari.ends_with(" and 19 more, SNI www.ssllabs.com"),
        "{safari}"
    );
}

#[test]
fn a_line_of_the_log_stays_one_line() {
    let long = vec![b'x'; 60_000];
    for (name, shown) in [
        (
            &b"a\r\n\x1b[2J\xff\"b"[..],
            r#"SNI a\r\n\x1b[2J\xff\"b"#.to_owned(),
        ),
        (&long, format!("SNI {}...", "x".repeat(255))),
    ] {
        let entry = [&[0][..], &(name.len() as u16).to_be_bytes(), name].concat();
        let list = [&(entry.len() as u16).to_be_bytes()[..], &entry].concat();
        let suites: Vec<u16> = (0x2000..0x2011).collect();
        let hello = read(&with_extensions(&suites, &extension(0, &list)));
        let line = hello.to_string();
        assert!(line.contains("0x2000 0x2001 "), "{line}");
        assert!(line.contains("0x200F and 1 more, "), "{line}");
        assert!(line.ends_with(&shown), "{line}");
    }
    let name = b"\x00\x06\x00\x00\x03a/b";
    let hello = read(&with_extensions(&[0x2f], &extension(0, name)));
    assert_eq!(hello.server_name(), None);
}

#[test]
fn what_rustls_refuses_is_not_modern() {
    let groups = extension(10, &[0, 2, 0, 23]);
    let schemes = extension(13, &[0, 2, 4, 1]);
    let versions = extension(43, &[2, 3, 4]);
    let of =
        |suite: u16, extensions: &[&[u8]]| read(&with_extensions(&[suite], &extensions.concat()));
    let whole = of(0xc02f, &[&groups, &schemes]);
    assert!(whole.is_modern(ServerKey::Rsa));
    assert!(!whole.is_modern(ServerKey::EcdsaP256));
    // Without the list of schemes a client of TLS 1.2 takes SHA-1 only.
    for hello in [
        of(0xc02f, &[&groups]),
        of(0xc02f, &[&schemes]),
        of(0xc02f, &[&extension(10, &[0, 2, 0, 25]), &schemes]),
        of(0xc02f, &[&groups, &extension(13, &[0, 2, 2, 1])]),
    ] {
        assert!(!hello.is_modern(ServerKey::Rsa), "{hello:?}");
        assert_eq!(
            hello.served_by(&[ServerKey::Rsa]),
            ServedBy::Legacy,
            "{hello:?}"
        );
    }
    // TLS 1.3 has no PKCS #1, and rustls does not fall back from it.
    let pss = extension(13, &[0, 2, 8, 4]);
    assert!(of(0x1301, &[&groups, &pss, &versions]).is_modern(ServerKey::Rsa));
    assert!(!of(0x1301, &[&groups, &schemes, &versions]).is_modern(ServerKey::Rsa));
    assert!(!of(0xc02f, &[&groups, &pss, &versions]).is_modern(ServerKey::Rsa));
    // The list of versions counts, not the field that it replaced.
    let old = of(0x2f, &[&extension(43, &[4, 0x4a, 0x4a, 3, 1])]);
    assert_eq!(old.highest_version(), TlsVersion::TLS_1_0);
    assert_eq!(old.versions(), Some(&[TlsVersion::TLS_1_0][..]));
    assert_eq!(old.served_by(&[ServerKey::Rsa]), ServedBy::Legacy);
    assert_eq!(old.served_by(&[ServerKey::EcdsaP256]), ServedBy::NoSuite);
    assert_eq!(old.served_by(&[]), ServedBy::NoSuite);
}

#[test]
fn alpn_is_read() {
    let opera = read(&of("opera-65"));
    let protocols: Vec<&[u8]> = opera.alpn().collect();
    assert_eq!(protocols, [&b"h2"[..], b"http/1.1"]);
    assert_eq!(read(&of("android-2.3.7")).alpn().count(), 0);
}

#[test]
fn octets_that_cannot_be_right_are_refused_at_the_first_of_them() {
    let empty = [&[0x16, 3, 1, 0, 1, 1][..], &[0x16, 3, 1, 0, 0]].concat();
    let crumbs = in_records(&of("android-2.3.7")[5..], &[1]);
    let many: Vec<u8> = (0..300).flat_map(|i| extension(0x1000 + i, &[])).collect();
    let many = with_extensions(&[0x2f], &many);
    let twice = [extension(10, &[0, 2, 0, 23]), extension(10, &[0, 2, 0, 23])].concat();
    let twice = with_extensions(&[0x2f], &twice);
    for (octets, refused, at) in [
        (&b"GET / HTTP/1.1"[..], NotAHello::NotTls, 1),
        (b"\x16\x02", NotAHello::NotTls, 2),
        (b"\x15\x03\x01", NotAHello::NotTls, 1),
        (b"\x16\x03\x01\x00\x00", NotAHello::EmptyRecord, 5),
        (&empty, NotAHello::EmptyRecord, empty.len()),
        (b"\x16\x03\x01\x41", NotAHello::RecordTooLong, 4),
        (b"\x16\x03\x01\x40\x01", NotAHello::RecordTooLong, 5),
        (&crumbs, NotAHello::TooManyRecords, 64 * 6 + 1),
        (b"\x16\x03\x01\x00\x04\x02", NotAHello::OtherMessage(2), 6),
        (b"\x16\x03\x01\x00\x04\x01\x01", NotAHello::TooLong, 7),
        (
            b"\x16\x03\x01\x00\x04\x01\x00\xff\xff",
            NotAHello::TooLong,
            9,
        ),
        (
            b"\x16\x03\x01\x00\x06\x01\x00\x00\x29\x02\x00",
            NotAHello::Ssl2,
            10,
        ),
        (
            b"\x16\x03\x01\x00\x06\x01\x00\x00\x29\x04\x00",
            NotAHello::Malformed,
            10,
        ),
        (
            b"\x16\x03\x01\x00\x06\x01\x00\x00\x01\x03\x01",
            NotAHello::Malformed,
            10,
        ),
        (b"\x80\x2e\x01\x00\x02", NotAHello::Ssl2, 4),
        (b"\x80\x2e\x04", NotAHello::NotTls, 3),
        (
            b"\x80\x2e\x01\x03\x01\x00\x04\x00\x00\x00\x10",
            NotAHello::Malformed,
            11,
        ),
        (b"\x80\x00", NotAHello::Malformed, 2),
        (
            &many,
            NotAHello::TooManyExtensions,
            5 + 4 + 41 + 2 + 256 * 4,
        ),
        (&twice, NotAHello::Malformed, twice.len()),
    ] {
        let (found, n) = read_slowly(octets);
        assert_eq!(found, Err(refused), "{}", octets.escape_ascii());
        assert_eq!(n, at, "{}: {refused}", octets.escape_ascii());
    }
}

#[test]
fn a_hello_at_the_limit_is_read() {
    let filler = extension(0xfff0, &vec![0; 0xffff - 4 - 43 - 4]);
    let octets = with_extensions(&[0x2f], &filler);
    assert!(read(&octets).suites().count() == 1);
}

const STARTS: &[&[u8]] = &[b"\x16\x03\x01", b"\x80\x2e\x01\x03", b""];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_hello_in_pieces_is_the_same(
        which in 0..20_usize,
        lengths in proptest::collection::vec(9..600_usize, 1..6),
    ) {
        let octets = &sent()[which].octets;
        prop_assume!(octets[0] == 0x16);
        let pieces = in_records(&octets[5..], &lengths);
        let (found, at) = read_slowly(&pieces);
        prop_assert_eq!(found, ClientHello::read(octets));
        prop_assert_eq!(at, pieces.len());
    }

    #[test]
    fn a_damaged_hello_is_judged_once(
        which in 0..20_usize,
        changes in proptest::collection::vec((0..600_usize, any::<u8>()), 1..4),
        cut in 0..600_usize,
    ) {
        let mut octets = sent()[which].octets.clone();
        for (at, octet) in changes {
            let at = at % octets.len();
            octets[at] = octet;
        }
        octets.truncate(octets.len().max(cut));
        let (found, _) = read_slowly(&octets);
        if let Ok(Some(hello)) = found {
            let line = hello.to_string();
            prop_assert!(!line.contains(|c: char| c.is_control()), "{}", line);
        }
    }

    #[test]
    fn rubbish_is_judged_once(
        start in proptest::sample::select(STARTS),
        rest in proptest::collection::vec(prop_oneof![Just(0_u8), 0..5_u8, any::<u8>()], 0..200),
    ) {
        let _judged = read_slowly(&[start, &rest].concat());
    }
}
