//! Handshakes in memory between our servers, our clients and clients that offer
//! less.

#![cfg(test)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../../../tests/support/certificate.rs"]
mod certificate;
#[path = "../../../tests/support/folder.rs"]
mod folder;

use std::sync::Arc;

use rustls::client::{Resumption, Tls12Resumption};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, Error, HandshakeKind, ProtocolVersion, ServerConfig,
    ServerConnection, SignatureScheme, SupportedProtocolVersion,
};
use rustls_native_certs::CertificateResult;

use self::certificate::{Made, Plan};
use self::folder::Folder;
use super::certificate::CertificateFiles;
use super::client::{ClientTls, ClientTlsOptions};
use super::provider;
use super::server::ServerTls;
use super::trust::{Trusted, Verifier};

/// How a handshake ended at each end.
#[derive(Debug)]
struct Shaken {
    client: Result<(), Error>,
    server: Result<(), Error>,
}

/// Carries the octets of both ends until neither has any.
fn shake(client: &mut ClientConnection, server: &mut ServerConnection) -> Shaken {
    let mut shaken = Shaken {
        client: Ok(()),
        server: Ok(()),
    };
    for _ in 0..20 {
        let mut octets = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut octets).unwrap();
        }
        let mut answer = Vec::new();
        let mut rest = &octets[..];
        while !rest.is_empty() && shaken.server.is_ok() {
            server.read_tls(&mut rest).unwrap();
            shaken.server = server.process_new_packets().map(drop);
        }
        while server.wants_write() {
            server.write_tls(&mut answer).unwrap();
        }
        if octets.is_empty() && answer.is_empty() {
            return shaken;
        }
        let mut rest = &answer[..];
        while !rest.is_empty() && shaken.client.is_ok() {
            client.read_tls(&mut rest).unwrap();
            shaken.client = client.process_new_packets().map(drop);
        }
    }
    panic!("the handshake does not end");
}

fn serve(made: &[&Made]) -> ServerTls {
    let folder = Folder::new();
    let files = made.iter().enumerate().map(|(i, made)| CertificateFiles {
        certificate: folder.write(&format!("{i}.pem"), made.pem()),
        key: folder.write(&format!("{i}-key.pem"), made.key_pem()),
    });
    ServerTls::load(&files.collect::<Vec<_>>()).unwrap()
}

fn accept(tls: &ServerTls) -> ServerConnection {
    ServerConnection::new(Arc::clone(tls.config())).unwrap()
}

fn trusting(made: &[&Made]) -> ClientTls {
    let folder = Folder::new();
    let mut options = ClientTlsOptions::default();
    for (i, made) in made.iter().enumerate() {
        options = options.with_trusted(folder.write(&i.to_string(), made.pem()));
    }
    ClientTls::new(&options).unwrap()
}

fn insecure() -> ClientTls {
    ClientTls::new(&ClientTlsOptions::default().with_insecure(true)).unwrap()
}

/// Which certificate a client gets that asks for this host.
fn shown(tls: &ServerTls, host: &str) -> Vec<u8> {
    let mut client = insecure().connection(host).unwrap();
    let shaken = shake(&mut client, &mut accept(tls));
    assert!(shaken.client.is_ok() && shaken.server.is_ok(), "{shaken:?}");
    client.peer_certificates().unwrap()[0].to_vec()
}

/// The sentence for a client that is refused, or refuses.
fn failed(client: &ClientTls, server: &ServerTls, host: &str) -> String {
    let mut connection = client.connection(host).unwrap();
    let shaken = shake(&mut connection, &mut accept(server));
    client.explain(host, &shaken.client.unwrap_err())
}

fn accepted(client: &ClientTls, server: &ServerTls, host: &str) {
    let mut connection = client.connection(host).unwrap();
    let mut server = accept(server);
    let shaken = shake(&mut connection, &mut server);
    assert!(
        shaken.client.is_ok() && shaken.server.is_ok(),
        "{host}: {shaken:?}"
    );
    assert!(!connection.is_handshaking() && !server.is_handshaking());
}

/// A client of rustls that accepts any certificate signed in one of these ways.
fn other_client(
    versions: &[&'static SupportedProtocolVersion],
    schemes: Option<&[SignatureScheme]>,
) -> ClientConfig {
    let provider = provider();
    let mut algorithms = provider.signature_verification_algorithms;
    if let Some(schemes) = schemes {
        let mapping = algorithms.mapping.iter().copied();
        let kept: Vec<_> = mapping.filter(|(s, _)| schemes.contains(s)).collect();
        algorithms = WebPkiSupportedAlgorithms {
            mapping: Vec::leak(kept),
            ..algorithms
        };
    }
    let verifier = Verifier {
        trusted: Trusted::Anything,
        algorithms,
    };
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth()
}

fn dial(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = "a.example".try_into().unwrap();
    ClientConnection::new(Arc::clone(config), name).unwrap()
}

#[test]
fn the_name_that_the_client_asks_for_chooses_the_certificate() {
    let first = Plan::new(&["a.example"]).self_signed();
    let wildcard = Plan::new(&["*.b.example"]).self_signed();
    let exact = Plan::new(&["X.b.example", "c.example"]).self_signed();
    let tls = serve(&[&first, &wildcard, &exact]);
    for (host, made) in [
        ("a.example", &first),
        ("w.b.example", &wildcard),
        ("W.B.Example", &wildcard),
        ("x.b.example", &exact),
        ("c.example", &exact),
        // None of these has a certificate.
        ("b.example", &first),
        ("y.w.b.example", &first),
        ("example", &first),
    ] {
        assert_eq!(shown(&tls, host), made.der(), "{host}");
    }
}

#[test]
fn a_client_that_names_no_host_gets_the_first_certificate() {
    let first = Plan::new(&["a.example"]).self_signed();
    let address = Plan::new(&["127.0.0.1"]).self_signed();
    let tls = serve(&[&first, &address]);
    let mut client = insecure().connection("127.0.0.1").unwrap();
    let mut server = accept(&tls);
    let shaken = shake(&mut client, &mut server);
    assert!(shaken.client.is_ok(), "{shaken:?}");
    assert_eq!(server.server_name(), None);
    assert_eq!(client.peer_certificates().unwrap()[0].as_ref(), first.der());
}

#[test]
fn of_two_certificates_for_a_name_the_client_gets_one_that_it_can_verify() {
    let ed25519 = Plan::new(&["a.example"]).ed25519().self_signed();
    let ecdsa = Plan::new(&["a.example"]).self_signed();
    let tls = serve(&[&ed25519, &ecdsa]);
    let only = [SignatureScheme::ECDSA_NISTP256_SHA256];
    for versions in [&TLS12, &TLS13] {
        for (schemes, made) in [(None, &ed25519), (Some(&only[..]), &ecdsa)] {
            let config = other_client(&[versions], schemes);
            let mut client = dial(&Arc::new(config));
            let shaken = shake(&mut client, &mut accept(&tls));
            assert!(shaken.client.is_ok(), "{shaken:?}");
            assert_eq!(client.peer_certificates().unwrap()[0].as_ref(), made.der());
        }
    }
}

#[test]
fn a_session_is_resumed_by_its_ticket_and_by_nothing_that_the_server_keeps() {
    let made = Plan::new(&["a.example"]).self_signed();
    let tls = serve(&[&made]);
    let kinds = |tls: &ServerTls, config: &Arc<ClientConfig>| {
        let mut client = dial(config);
        let mut server = accept(tls);
        let shaken = shake(&mut client, &mut server);
        assert!(shaken.client.is_ok() && shaken.server.is_ok(), "{shaken:?}");
        assert_eq!(client.handshake_kind(), server.handshake_kind());
        client.handshake_kind().unwrap()
    };
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(other_client(&[version], None));
        assert_eq!(kinds(&tls, &config), HandshakeKind::Full);
        assert_eq!(kinds(&tls, &config), HandshakeKind::Resumed);
        assert_eq!(kinds(&tls, &config), HandshakeKind::Resumed);
        // Another load has other keys for its tickets.
        assert_eq!(kinds(&serve(&[&made]), &config), HandshakeKind::Full);
    }
    let mut config = other_client(&[&TLS12], None);
    config.resumption =
        Resumption::in_memory_sessions(8).tls12_resumption(Tls12Resumption::SessionIdOnly);
    let config = Arc::new(config);
    for _ in 0..2 {
        assert_eq!(kinds(&tls, &config), HandshakeKind::Full);
    }
}

#[test]
fn our_client_resumes_its_sessions() {
    let made = Plan::new(&["a.example"]).self_signed();
    let (tls, client) = (serve(&[&made]), trusting(&[&made]));
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut connection = client.connection("a.example").unwrap();
        let shaken = shake(&mut connection, &mut accept(&tls));
        assert!(shaken.client.is_ok(), "{shaken:?}");
        assert_eq!(connection.handshake_kind(), Some(kind));
        assert_eq!(
            connection.protocol_version(),
            Some(ProtocolVersion::TLSv1_3)
        );
    }
}

#[test]
fn http_1_1_is_agreed_on_and_a_client_without_it_is_refused() {
    let made = Plan::new(&["a.example"]).self_signed();
    let tls = serve(&[&made]);
    let offered = |protocols: &[&str]| {
        let mut config = other_client(&[&TLS13, &TLS12], None);
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        let mut client = dial(&Arc::new(config));
        let shaken = shake(&mut client, &mut accept(&tls));
        (shaken, client.alpn_protocol().map(<[u8]>::to_vec))
    };
    let http = Some(b"http/1.1".to_vec());
    let (shaken, chosen) = offered(&["h2", "http/1.1"]);
    assert!(shaken.client.is_ok() && shaken.server.is_ok());
    assert_eq!(chosen, http);
    let (shaken, chosen) = offered(&[]);
    assert!(shaken.client.is_ok() && shaken.server.is_ok());
    assert_eq!(chosen, None);
    let (shaken, _) = offered(&["h2", "http/1.0"]);
    assert_eq!(shaken.server, Err(Error::NoApplicationProtocol));
    assert_eq!(
        insecure().explain("a.example", &shaken.client.unwrap_err()),
        "a.example ended TLS with the alert no_application_protocol: it does not speak HTTP/1.1, which WebSocket needs, at this port"
    );
    let mut client = insecure().connection("a.example").unwrap();
    shake(&mut client, &mut accept(&tls));
    assert_eq!(client.alpn_protocol(), http.as_deref());
}

#[test]
fn what_an_authority_issued_is_trusted() {
    let root = Plan::new(&[]).common_name("Root").authority().self_signed();
    let own = Plan::new(&["a.example", "127.0.0.1", "::1"]).signed_by(&root);
    let tls = serve(&[&own]);
    let client = trusting(&[&root]);
    for host in ["a.example", "A.example", "127.0.0.1", "::1", "[::1]"] {
        accepted(&client, &tls, host);
    }
}

#[test]
fn a_certificate_is_trusted_itself_whether_it_is_an_authority_or_not() {
    let names = ["a.example", "*.b.example", "127.0.0.1"];
    let root = Plan::new(&[]).common_name("Root").authority().self_signed();
    for made in [
        Plan::new(&names).self_signed(),
        Plan::new(&names).authority().self_signed(),
        Plan::new(&names).no_authority().self_signed(),
        // Issued by an authority that is not trusted.
        Plan::new(&names).signed_by(&root),
    ] {
        let tls = serve(&[&made]);
        let client = trusting(&[&made]);
        for host in ["a.example", "x.b.example", "127.0.0.1"] {
            accepted(&client, &tls, host);
        }
        assert_eq!(
            failed(&client, &tls, "c.example"),
            "the certificate of the server is not for c.example; it is for a.example, *.b.example, 127.0.0.1; connect by one of these names, or let one be issued for c.example"
        );
    }
}

#[test]
fn a_common_name_is_enough_for_a_certificate_that_is_trusted_itself() {
    for (name, host, other) in [
        ("a.example", "A.Example", "b.example"),
        ("*.example", "a.example", "a.b.example"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
        // An asterisk stands for no part of an address.
        ("127.0.0.1", "127.0.0.1", "::1"),
    ] {
        let made = Plan::new(&[]).common_name(name).self_signed();
        let (tls, client) = (serve(&[&made]), trusting(&[&made]));
        accepted(&client, &tls, host);
        assert!(
            failed(&client, &tls, other).starts_with("the certificate of the server is not for")
        );
    }
    let made = Plan::new(&[]).common_name("*.0.0.1").self_signed();
    let (tls, client) = (serve(&[&made]), trusting(&[&made]));
    assert!(failed(&client, &tls, "127.0.0.1").contains("is for *.0.0.1"));
}

#[test]
fn a_certificate_that_is_no_authority_vouches_for_no_other() {
    let made = Plan::new(&["a.example"]).no_authority().self_signed();
    let issued = Plan::new(&["a.example"]).common_name("b").signed_by(&made);
    let client = trusting(&[&made]);
    assert_eq!(
        failed(&client, &serve(&[&issued]), "a.example"),
        "the certificate of a.example is not issued by one of those that are trusted, but by CN=a.example; trust the certificate of that authority, or let the server send the intermediate certificates, of which it sent none"
    );
}

#[test]
fn days_are_verified_also_where_a_certificate_is_trusted_itself() {
    let root = Plan::new(&[]).common_name("Root").authority().self_signed();
    let plan = || Plan::new(&["a.example"]);
    let past = "the certificate of a.example expired on 2021-01-01, and today is ";
    let future = "the certificate of a.example is not valid before 3000-01-01, and today is ";
    for (years, starts, ends) in [
        (
            (2020, 2021),
            past,
            "; renew it on the server, or set the clock of this machine",
        ),
        (
            (3000, 3001),
            future,
            "; set the clock of this machine, or of the one that issued it",
        ),
    ] {
        let own = plan().years(years.0, years.1).self_signed();
        let issued = plan().years(years.0, years.1).signed_by(&root);
        for (made, trusted) in [(&own, &own), (&issued, &issued), (&issued, &root)] {
            let sentence = failed(&trusting(&[trusted]), &serve(&[made]), "a.example");
            assert!(sentence.starts_with(starts), "{sentence}");
            assert!(sentence.ends_with(ends), "{sentence}");
        }
    }
}

#[test]
fn a_name_is_verified_where_an_authority_is_trusted() {
    let root = Plan::new(&[]).common_name("Root").authority().self_signed();
    let own = Plan::new(&["a.example"]).signed_by(&root);
    let client = trusting(&[&root]);
    assert_eq!(
        failed(&client, &serve(&[&own]), "b.example"),
        "the certificate of the server is not for b.example; it is for a.example; connect by one of these names, or let one be issued for b.example"
    );
    let many: Vec<String> = (0..20).map(|i| format!("{i}.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let own = Plan::new(&many).signed_by(&root);
    assert!(
        failed(&client, &serve(&[&own]), "b.example")
            .contains("it is for 0.example, 1.example, 2.example, 3.example, 4.example, 5.example, 6.example, 7.example and 12 more;")
    );
    // A common name is not enough here.
    let own = Plan::new(&[]).common_name("a.example").signed_by(&root);
    assert!(failed(&client, &serve(&[&own]), "a.example").contains("is not for a.example"));
}

#[test]
fn a_self_signed_certificate_that_is_not_trusted_is_told_so() {
    let other = Plan::new(&["o.example"]).authority().self_signed();
    for made in [
        Plan::new(&["a.example"]).self_signed(),
        Plan::new(&["a.example"]).authority().self_signed(),
    ] {
        assert_eq!(
            failed(&trusting(&[&other]), &serve(&[&made]), "a.example"),
            "the certificate of a.example is self-signed (CN=a.example) and is not among those that are trusted; trust the one that the server shows now"
        );
        accepted(&insecure(), &serve(&[&made]), "other.example");
    }
    // Where an authority has its name by chance, and another kind of key.
    let namesake = Plan::new(&[])
        .common_name("a.example")
        .authority()
        .ed25519();
    let made = Plan::new(&["a.example"]).self_signed();
    assert_eq!(
        failed(
            &trusting(&[&namesake.self_signed()]),
            &serve(&[&made]),
            "a.example"
        ),
        "the certificate of a.example is self-signed (CN=a.example) and is not among those that are trusted; trust the one that the server shows now"
    );
}

#[test]
fn the_system_s_certificates_are_trusted_where_no_others_are_given() {
    let made = Plan::new(&["a.example"]).self_signed();
    let trusted = Plan::new(&[]).common_name("System").authority();
    let trusted = trusted.self_signed();
    let mut loaded = CertificateResult::default();
    loaded.certs = vec![trusted.der().to_vec().into(), vec![1, 2, 3].into()];
    let client = ClientTls::of_loaded(loaded).unwrap();
    assert_eq!(
        client.warnings(),
        ["1 certificates that the system trusts cannot be read and are ignored"]
    );
    let issued = Plan::new(&["a.example"]).signed_by(&trusted);
    accepted(&client, &serve(&[&issued]), "a.example");
    assert_eq!(
        failed(&client, &serve(&[&made]), "a.example"),
        "the certificate of a.example is self-signed (CN=a.example); copy it from the server and trust it, or let an authority issue one"
    );
    let root = Plan::new(&[]).common_name("Root").authority().self_signed();
    let own = Plan::new(&["a.example"]).signed_by(&root);
    assert_eq!(
        failed(&client, &serve(&[&own]), "a.example"),
        "the certificate of a.example was issued by an authority that this system does not trust, CN=Root; trust the certificate of that authority, or let the server send the intermediate certificates, of which it sent none"
    );
}

#[test]
fn a_system_that_trusts_no_certificate_is_told_so() {
    let error = ClientTls::of_loaded(CertificateResult::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this system trusts no certificate; install its certificates, such as the package ca-certificates, set SSL_CERT_FILE to a file that has them, or name the certificates to trust"
    );
}

#[test]
fn a_signature_is_verified_where_no_certificate_is() {
    // A server that shows a certificate without having its key.
    let shown = Plan::new(&["a.example"]).self_signed();
    let other = Plan::new(&["a.example"]).self_signed();
    let key = PrivateKeyDer::try_from(other.key_der()).unwrap();
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let certified = CertifiedKey::new(vec![shown.der().to_vec().into()], key);
    let resolver = Arc::new(SingleCertAndKey::from(certified));
    for client in [insecure(), trusting(&[&shown])] {
        for version in [&TLS12, &TLS13] {
            let config = ServerConfig::builder_with_provider(provider())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(resolver.clone());
            let mut server = ServerConnection::new(Arc::new(config)).unwrap();
            let mut connection = client.connection("a.example").unwrap();
            let error = shake(&mut connection, &mut server).client.unwrap_err();
            assert_eq!(
                client.explain("a.example", &error),
                "a.example does not prove that it has the key of its certificate; give the server the key that belongs to it"
            );
        }
    }
}

#[test]
fn a_host_for_which_no_certificate_can_be_is_refused() {
    for host in ["", "a b", "a..b", "[::1", "127.0.0.1:80"] {
        let error = insecure().connection(host).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{host} is no host name or IP address that a certificate can be for")
        );
    }
}

/// What a client says after a server answered with these octets.
fn answered(octets: &[u8]) -> String {
    let client = insecure();
    let mut connection = client.connection("a.example").unwrap();
    connection.read_tls(&mut &octets[..]).unwrap();
    let error = connection.process_new_packets().unwrap_err();
    client.explain("a.example", &error)
}

#[test]
fn a_server_that_is_too_old_is_told_so() {
    // A ServerHello of TLS 1.0 with TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA.
    let mut hello = vec![0x16, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x13, 0]);
    assert_eq!(
        answered(&hello),
        "a.example speaks no TLS newer than 1.1, and here are 1.2 and 1.3; update the server"
    );
    assert_eq!(
        answered(&[0x15, 3, 1, 0, 2, 2, 70]),
        "a.example ended TLS with the alert protocol_version: it speaks neither TLS 1.2 nor 1.3; update it"
    );
}

#[test]
fn an_alert_of_the_server_is_named_as_the_rfc_names_it() {
    for (number, name) in [
        (10, "unexpected_message"),
        (20, "bad_record_mac"),
        (40, "handshake_failure"),
        (48, "unknown_ca"),
        (71, "insufficient_security"),
        (80, "internal_error"),
        (112, "unrecognized_name"),
        (115, "unknown_psk_identity"),
        (116, "certificate_required"),
        (120, "no_application_protocol"),
        (200, "number 200"),
    ] {
        let sentence = answered(&[0x15, 3, 3, 0, 2, 2, number]);
        let starts = format!("a.example ended TLS with the alert {name}: it");
        assert!(sentence.starts_with(&starts), "{sentence}");
    }
}

#[test]
fn an_answer_that_is_not_tls_is_told_so() {
    for octets in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        &[0; 64],
    ] {
        let sentence = answered(octets);
        let ends = "does the URL have the right port and scheme?";
        assert!(sentence.ends_with(ends), "{sentence}");
    }
}
