//! Clients of 2010: with the feature OpenSSL serves them, without it the option is
//! refused.

#[cfg(not(feature = "legacy-tls"))]
#[test]
fn without_the_feature_the_option_names_it() {
    let certificates = crate::secure::Certificates::of_loopback();
    let options = certificates.options();
    let args = [
        &["serve", "--listen", "127.0.0.1:0", "--tls-legacy"][..],
        &options,
    ]
    .concat();
    let ended = crate::support::program::run(&args);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.talk.contains("the feature legacy-tls"),
        "{}",
        ended.talk
    );
}

#[cfg(feature = "legacy-tls")]
mod with_openssl {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;
    use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode, SslVersion};
    use openssl::x509::extension::SubjectAlternativeName;
    use openssl::x509::{X509, X509NameBuilder};

    use heirloom::{VERSIONS, Version};

    use crate::hello;
    use crate::secure::{Client, all_of, receives_within, tcp};
    use crate::support::PATIENCE;
    use crate::support::folder::Folder;
    use crate::support::peer::{Peer, RFC, request};
    use crate::support::program::Program;

    /// A server with a certificate of RSA, as clients of 2010 know it.
    struct Old {
        program: Program,
        _folder: Folder,
    }

    fn serve(more: &[&str]) -> Old {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "localhost").unwrap();
        let name = name.build();
        let mut x509 = X509::builder().unwrap();
        x509.set_version(2).unwrap();
        x509.set_subject_name(&name).unwrap();
        x509.set_issuer_name(&name).unwrap();
        x509.set_pubkey(&key).unwrap();
        x509.set_not_before(&Asn1Time::days_from_now(0).unwrap())
            .unwrap();
        x509.set_not_after(&Asn1Time::days_from_now(100).unwrap())
            .unwrap();
        let names = SubjectAlternativeName::new()
            .dns("localhost")
            .build(&x509.x509v3_context(None, None))
            .unwrap();
        x509.append_extension(names).unwrap();
        x509.sign(&key, MessageDigest::sha256()).unwrap();
        let folder = Folder::new();
        let certificate = folder.write("cert.pem", x509.build().to_pem().unwrap());
        let key = folder.write("key.pem", key.private_key_to_pem_pkcs8().unwrap());
        let [certificate, key] = [&certificate, &key].map(|path| path.to_str().unwrap());
        let options = ["--tls-cert", certificate, "--tls-key", key, "--tls-legacy"];
        let program = Program::serve(&[&options[..], &["--versions", "all"], more].concat());
        Old {
            program,
            _folder: folder,
        }
    }

    /// A client of this version of TLS with these suites.
    fn shake(old: &Old, version: SslVersion, suites: &str) -> Result<SslStream<TcpStream>, String> {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
        connector.set_verify(SslVerifyMode::NONE);
        connector.set_min_proto_version(Some(version)).unwrap();
        connector.set_max_proto_version(Some(version)).unwrap();
        connector.set_security_level(0);
        if version != SslVersion::TLS1_3 {
            let list = format!("{suites}:@SECLEVEL=0");
            connector
                .set_cipher_list(&list)
                .map_err(|error| error.to_string())?;
        }
        let stream = connector
            .build()
            .connect("localhost", tcp(old.program.address));
        stream.map_err(|error| error.to_string())
    }

    fn text(octets: usize) -> String {
        "of 2010 ".chars().cycle().take(octets).collect()
    }

    #[test]
    fn clients_of_2010_echo_every_version_and_a_mib() {
        let old = serve(&[]);
        for (version, suites, is) in [
            (SslVersion::TLS1, "AES128-SHA", "TLSv1"),
            (SslVersion::TLS1, "ECDHE-RSA-AES256-SHA", "TLSv1"),
            (SslVersion::TLS1_1, "AES256-SHA", "TLSv1.1"),
            (SslVersion::TLS1_2, "AES128-SHA256", "TLSv1.2"),
            (SslVersion::TLS1_2, "AES128-SHA", "TLSv1.2"),
        ] {
            for row in VERSIONS {
                let stream = shake(&old, version, suites).unwrap();
                assert_eq!(stream.ssl().version_str(), is);
                assert_eq!(stream.ssl().current_cipher().unwrap().name(), suites);
                let mut client = Client::open(stream, row, true);
                for octets in [0, 1, 200, 16_384, 16_385, 70_000] {
                    client.echo(&text(octets));
                }
                if row.name == "hixie-76" || row.name == "rfc6455" {
                    client.echo(&text(1 << 20));
                }
            }
        }
    }

    #[test]
    fn a_client_of_today_is_served_by_rustls_on_the_same_port() {
        let old = serve(&[]);
        let row = Version::named("rfc6455").unwrap();
        for version in [SslVersion::TLS1_3, SslVersion::TLS1_2] {
            let stream = shake(&old, version, "ECDHE-RSA-AES128-GCM-SHA256").unwrap();
            Client::open(stream, row, true).echo("of today");
        }
        Peer::open(old.program.address, RFC, "/").echo("plain");
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let old = serve(&[]);
        for suites in ["DES-CBC3-SHA", "RC4-SHA", "NULL-SHA", "ADH-AES128-SHA"] {
            // OpenSSL may not even offer it.
            assert!(shake(&old, SslVersion::TLS1, suites).is_err(), "{suites}");
        }
        // SSL 3: a hello that offers nothing above.
        let mut ssl3 = vec![0x16, 3, 0, 0, 45, 1, 0, 0, 41, 3, 0];
        ssl3.extend([7; 32]);
        ssl3.extend([0, 0, 2, 0, 0x2f, 1, 0]);
        let mut socket = tcp(old.program.address);
        socket.write_all(&ssl3).unwrap();
        let octets = all_of(&mut socket);
        assert_eq!(octets[0], 0x15, "{octets:?}");
        // RC4 and 3DES alone, in a hello of TLS 1.0.
        let mut weak = vec![0x16, 3, 1, 0, 47, 1, 0, 0, 43, 3, 1];
        weak.extend([7; 32]);
        weak.extend([0, 0, 4, 0, 5, 0, 10, 1, 0]);
        let mut socket = tcp(old.program.address);
        socket.write_all(&weak).unwrap();
        let octets = all_of(&mut socket);
        assert_eq!((octets[0], octets[5]), (0x15, 2), "{octets:?}");
    }

    #[test]
    fn a_hello_in_the_framing_of_ssl2_gets_a_server_hello() {
        let old = serve(&[]);
        let mut socket = tcp(old.program.address);
        for octet in hello("java-6u45") {
            socket.write_all(&[octet]).unwrap();
        }
        let mut start = [0; 11];
        socket.read_exact(&mut start).unwrap();
        assert_eq!(
            (start[..3].to_vec(), start[5], &start[9..]),
            (vec![0x16, 3, 1], 2, &[3, 1][..])
        );
    }

    #[test]
    fn a_second_handshake_is_refused() {
        let old = serve(&[]);
        let mut stream = shake(&old, SslVersion::TLS1, "AES128-SHA").unwrap();
        stream.write_all(&request(RFC, "/")).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
        // In plain where it would have to be encrypted: an alert, and the end.
        let socket = stream.get_mut();
        socket.write_all(&hello("android-2.3.7")).unwrap();
        all_of(socket);
        Peer::open(old.program.address, RFC, "/").echo("others");
    }

    #[test]
    fn an_end_without_close_notify_ends_and_a_slow_reader_gets_all() {
        let old = serve(&["--workers", "1", "--max-output-bytes", "65536"]);
        let stream = shake(&old, SslVersion::TLS1, "AES128-SHA").unwrap();
        drop(stream);
        let row = Version::named("hixie-76").unwrap();
        let stream = shake(&old, SslVersion::TLS1, "AES128-SHA").unwrap();
        let socket = stream.get_ref().try_clone().unwrap();
        let mut slow = Client::open(stream, row, true);
        socket
            .set_write_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let message = text(60_000);
        for _ in 0..20 {
            slow.send(&message);
        }
        // Others are served meanwhile.
        let mut other = Peer::open(old.program.address, RFC, "/");
        other.echo("not kept");
        for _ in 0..20 {
            assert!(slow.receive() == message);
        }
        let mut socket = socket;
        socket.write_all(b"garbage garbage").unwrap();
        all_of(&mut socket);
        other.echo("still here");
    }

    #[test]
    fn half_of_an_old_handshake_ends_at_the_deadline() {
        let old = serve(&["--handshake-timeout-ms", "2000"]);
        let mut socket = tcp(old.program.address);
        socket.write_all(&hello("android-4.0.4")).unwrap();
        assert!(receives_within(&socket, PATIENCE));
        let octets = all_of(&mut socket);
        assert_eq!(octets[0], 0x16);
        assert!(!octets.windows(4).any(|window| window == b"HTTP"));
    }
}
