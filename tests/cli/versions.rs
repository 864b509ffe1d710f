//! The table of versions as people and scripts see it, and the behaviour for which
//! no document was at hand.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use heirloom::bytes::Output;
use heirloom::conn::{Config, Conn, Phase, Session, SessionEvent};
use heirloom::error::{Refusal, Violation};
use heirloom::handshake::ClientRequest;
use heirloom::version::{Closing, UnknownVersion};
use heirloom::{VERSIONS, Version, Versions};
use serde_json::Value;

/// What `heirloom versions` prints with these options.
fn printed(options: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heirloom"));
    let output = command.arg("versions").args(options).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stderr, b"");
    String::from_utf8(output.stdout).unwrap()
}

fn named(name: &str) -> &'static Version {
    Version::named(name).unwrap()
}

fn parse(list: &str) -> Result<Versions, UnknownVersion> {
    list.parse()
}

// The table.

#[test]
fn the_page_of_the_versions_is_what_the_program_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/versions.md");
    let page = printed(&["--markdown"]);
    if std::env::var_os("BLESS").is_some_and(|bless| bless == "1") {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    assert!(
        written == page,
        "docs/versions.md is not what `heirloom versions --markdown` prints; \
         `BLESS=1 cargo test --test cli versions` writes it"
    );
}

#[test]
fn json_is_one_object_per_version_and_its_name_comes_first() {
    let lines = printed(&["--json"]);
    assert_eq!(lines.lines().count(), VERSIONS.len());
    for (line, version) in lines.lines().zip(VERSIONS) {
        let start = format!("{{\"name\":\"{version}\",");
        assert!(line.starts_with(&start), "{line}");
        let row: Value = serde_json::from_str(line).unwrap();
        assert_eq!(row["aliases"], serde_json::json!(version.aliases));
        assert_eq!(row["number"], serde_json::json!(version.number));
        assert_eq!(row["default_on"], version.default_on);
        assert_eq!(row["first"], version.dates.0);
        assert_eq!(row["last"], version.dates.1);
        assert_eq!(row["masks"], version.client_masks());
        assert_eq!(row["binary"], version.has_binary());
        assert_eq!(row["ping"], version.has_ping());
        assert_eq!(row["fragments"], version.has_fragments());
        assert_eq!(row["close_codes"], version.has_close_codes());
        assert_eq!(row["origin"], serde_json::json!(version.origin));
        for key in ["challenge", "layout", "closing", "clients", "document"] {
            assert!(row[key].as_str().is_some_and(|s| !s.is_empty()), "{line}");
        }
    }
}

#[test]
fn the_plain_table_names_every_version_and_document() {
    let table = printed(&[]);
    for version in VERSIONS {
        let names_it = |line: &&str| line.starts_with(version.name);
        let line = table.lines().find(names_it).unwrap();
        assert!(line.contains(version.document), "{line}");
        assert!(table.contains(version.clients), "{table}");
    }
}

#[test]
fn every_name_and_alias_is_of_one_version() {
    for version in VERSIONS {
        for name in version.aliases.iter().chain([&version.name]) {
            let found = Version::named(name);
            assert_eq!(found, Some(version), "{name}");
            assert_eq!(parse(name), Ok(Versions::only(version)), "{name}");
        }
    }
    for name in [
        "", "HIXIE-76", "hixie76", "9", "12", "hybi-13", "007", " 13",
    ] {
        assert_eq!(Version::named(name), None, "{name:?}");
    }
}

#[test]
fn every_number_is_of_one_version() {
    for version in VERSIONS {
        if let Some(number) = version.number {
            assert_eq!(Version::numbered(number), Some(version));
            assert_eq!(Version::named(&number.to_string()), Some(version));
        }
    }
    for number in [0, 1, 2, 3, 9, 10, 11, 12, 14, 255] {
        assert_eq!(Version::numbered(number), None, "{number}");
    }
}

#[test]
fn lists_of_versions_add_and_take_away() {
    for (list, on) in [
        ("all", &*Versions::ALL.to_string()),
        ("default", "hixie-76 hybi-07 hybi-08 rfc6455"),
        ("13", "rfc6455"),
        ("rfc6455,hixie-75", "hixie-75 rfc6455"),
        ("00 8", "hixie-76 hybi-08"),
        ("+hixie-75", "hixie-75 hixie-76 hybi-07 hybi-08 rfc6455"),
        ("-76", "hybi-07 hybi-08 rfc6455"),
        ("default,+5,-13", "hixie-76 hybi-05 hybi-07 hybi-08"),
        (
            "all,-hixie-75,-hybi-00",
            "hybi-03 hybi-04 hybi-05 hybi-06 hybi-07 hybi-08 rfc6455",
        ),
        ("13,-13", ""),
        ("-all,13", "rfc6455"),
        ("-default,+2", "hybi-03"),
        ("7,7,+7", "hybi-07"),
        // The last one decides.
        ("-13,+13", "hixie-76 hybi-07 hybi-08 rfc6455"),
    ] {
        assert_eq!(parse(list).unwrap().to_string(), on, "{list}");
    }
}

#[test]
fn the_error_for_an_unknown_name_lists_all_names() {
    for (list, name) in [
        ("hybi-09", "hybi-09"),
        ("13,nonsense", "nonsense"),
        ("+10", "10"),
        ("all,-x", "x"),
        ("ALL", "ALL"),
    ] {
        let error = parse(list).unwrap_err();
        assert_eq!(error, UnknownVersion(name.to_owned()));
        let sentence = error.to_string();
        for version in VERSIONS {
            assert!(sentence.contains(version.name), "{sentence}");
        }
        assert!(sentence.contains("`all`") && sentence.contains("`+NAME`"));
    }
}

#[test]
fn a_set_prints_as_a_list_that_means_the_same() {
    for list in ["all", "default", "75,4", "-8"] {
        let on = parse(list).unwrap();
        assert_eq!(parse(&on.to_string()), Ok(on));
        assert_eq!(
            on.iter().filter(|v| on.contains(v)).count(),
            on.iter().count()
        );
    }
    assert_eq!(Versions::ALL.numbers(), "13, 8, 7, 6, 5, 4");
    assert_eq!(Versions::default().numbers(), "13, 8, 7");
    assert_eq!(parse("75,76,3").unwrap().numbers(), "");
}

// What has one source or none. The page lists it under "Not verified".

/// One end of a connection, and the octets that it has sent.
struct End {
    session: Session,
    sent: Vec<u8>,
}

/// The close that an end received: code and text.
type ReceivedClose = Option<(Option<u16>, String)>;

impl End {
    fn new(conn: Conn) -> End {
        End {
            session: Session::new(conn),
            sent: Vec::new(),
        }
    }

    /// These octets of its peer arrive.
    fn receive(&mut self, octets: &[u8]) -> Result<ReceivedClose, Violation> {
        let mut random = |octets: &mut [u8]| octets.fill(0);
        let mut out = Output::new(&mut self.sent, &mut random);
        let mut close = None;
        self.session.receive(octets);
        let session = &mut self.session;
        while let Some((event, conn)) = session.next(&mut out).map_err(|at| at.error)? {
            match event {
                SessionEvent::Request(_) => conn.accept(None, &mut out).unwrap(),
                SessionEvent::Close(reason) => {
                    close = Some((reason.code, reason.text.into_owned()));
                }
                _ => {}
            }
        }
        Ok(close)
    }

    fn close(&mut self, code: u16, reason: &str) {
        let mut random = |octets: &mut [u8]| octets.fill(0);
        let mut out = Output::new(&mut self.sent, &mut random);
        self.session.conn_mut().close(code, reason, &mut out);
    }

    fn take_sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }

    fn phase(&self) -> Phase {
        self.session.conn().phase()
    }
}

fn everything_on() -> Arc<Config> {
    Arc::new(Config::default().with_versions(Versions::ALL))
}

/// Random octets that make masks of zeros, so that what is masked reads in
/// clear; keys of hixie-76 need better ones, and get them in the handshake.
fn client(version: &'static Version, subprotocols: &[&str]) -> End {
    let mut sent = Vec::new();
    let mut seed = 7u8;
    let mut random = |octets: &mut [u8]| {
        octets.fill_with(|| {
            seed = seed.wrapping_mul(5).wrapping_add(3);
            seed
        });
    };
    let mut out = Output::new(&mut sent, &mut random);
    let request = ClientRequest::new("example.com", "/")
        .with_origin("http://example.com")
        .with_subprotocols(subprotocols);
    let conn = Conn::client(version, &request, everything_on(), &mut out).unwrap();
    End {
        sent,
        ..End::new(conn)
    }
}

/// Both ends, after the handshake.
fn open(version: &'static Version) -> (End, End) {
    let mut client = client(version, &[]);
    let mut server = End::new(Conn::server(everything_on()));
    server.receive(&client.take_sent()).unwrap();
    client.receive(&server.take_sent()).unwrap();
    assert_eq!(client.phase(), Phase::Open, "{version}");
    assert_eq!(server.phase(), Phase::Open, "{version}");
    (client, server)
}

/// A frame in clear, in front of it the mask of zeros that the version's
/// client puts there. Not for hybi-04, whose mask no choice makes zeros.
fn frame(version: &Version, from_client: bool, header: &[u8], payload: &[u8]) -> Vec<u8> {
    let mask: &[u8] = match version.name {
        "hybi-05" | "hybi-06" if from_client => &[0; 4],
        _ => &[],
    };
    [mask, header, payload].concat()
}

#[test]
fn unverified_hybi_03_repeats_the_body_of_a_close() {
    let version = named("hybi-03");
    for body in [&b""[..], b"any words", &[0, 0xff, 0x80], &[b'x'; 125]] {
        let (client, server) = open(version);
        for mut end in [client, server] {
            let header = [0x01, u8::try_from(body.len()).unwrap()];
            let close = frame(version, false, &header, body);
            let (code, text) = end.receive(&close).unwrap().unwrap();
            assert_eq!((code, &*text), (None, &*String::from_utf8_lossy(body)));
            assert_eq!(end.take_sent(), close, "the same octets go back");
            assert_eq!(end.phase(), Phase::Closed);
        }
    }
}

#[test]
fn unverified_hybi_01_to_04_send_a_first_close_without_a_body() {
    let (mut client, mut server) = open(named("hybi-03"));
    client.close(1001, "words");
    server.close(1001, "words");
    assert_eq!(client.take_sent(), [0x01, 0]);
    assert_eq!(server.take_sent(), [0x01, 0]);
    let (_, mut server) = open(named("hybi-04"));
    server.close(1001, "words");
    assert_eq!(server.take_sent(), [0x81, 0]);
}

#[test]
fn unverified_hybi_03_echoes_the_whole_string_of_subprotocols_or_refuses() {
    let request = client(named("hybi-03"), &["superchat", "chat"]).take_sent();
    let respond = |spoken: &[&str]| {
        let mut session = Session::new(Conn::server(everything_on()));
        let mut sent = Vec::new();
        let mut random = |octets: &mut [u8]| octets.fill(0);
        let mut out = Output::new(&mut sent, &mut random);
        session.receive(&request);
        let Ok(Some((SessionEvent::Request(request), conn))) = session.next(&mut out) else {
            panic!("the request is not one");
        };
        let offered: Vec<&str> = request.subprotocols().collect();
        assert_eq!(offered, ["superchat chat"]);
        let spoken: Vec<String> = spoken.iter().map(|s| (*s).to_owned()).collect();
        let chosen = request.choose_subprotocol(&spoken)?;
        conn.accept(chosen, &mut out).unwrap();
        Ok(String::from_utf8(sent).unwrap())
    };
    let response = respond(&["superchat chat"]).unwrap();
    let line = "\r\nSec-WebSocket-Protocol: superchat chat\r\n";
    assert!(response.contains(line), "{response}");
    for spoken in [&["chat"][..], &["superchat", "chat"], &[]] {
        assert_eq!(respond(spoken), Err(Refusal::SubprotocolUnknown));
    }
}

#[test]
fn unverified_hybi_03_takes_nothing_less_than_the_whole_string_of_subprotocols() {
    for (agreed, result) in [
        (Some("superchat chat"), Ok(None)),
        (Some("chat"), Err(Violation::SubprotocolMismatch)),
        (None, Err(Violation::SubprotocolMismatch)),
    ] {
        let mut client = client(named("hybi-03"), &["superchat", "chat"]);
        let mut server = Session::new(Conn::server(everything_on()));
        let mut sent = Vec::new();
        let mut random = |octets: &mut [u8]| octets.fill(0);
        let mut out = Output::new(&mut sent, &mut random);
        server.receive(&client.take_sent());
        while let Some((event, conn)) = server.next(&mut out).unwrap() {
            if let SessionEvent::Request(_) = event {
                conn.accept(agreed, &mut out).unwrap();
            }
        }
        assert_eq!(client.receive(&sent), result, "{agreed:?}");
    }
}

#[test]
fn unverified_hybi_05_closes_with_the_letter_of_the_sender() {
    let version = named("hybi-05");
    let (mut client, mut server) = open(version);
    let from_client = frame(version, true, &[0x81, 1], b"C");
    let from_server = frame(version, false, &[0x81, 1], b"S");
    client.close(1000, "words");
    assert_eq!(client.take_sent(), from_client);
    assert!(server.receive(&from_client).unwrap().is_some());
    assert_eq!(
        server.take_sent(),
        from_server,
        "the reply has the letter of its own sender"
    );
    assert!(client.receive(&from_server).unwrap().is_some());
    assert_eq!(client.take_sent(), b"");
    let (mut client, mut server) = open(version);
    server.close(1000, "words");
    assert_eq!(server.take_sent(), from_server);
    assert!(client.receive(&from_server).unwrap().is_some());
    assert_eq!(client.take_sent(), from_client);
}

#[test]
fn unverified_hybi_05_takes_a_close_without_its_letter() {
    let version = named("hybi-05");
    for body in [&b""[..], b"X", b"\x03\xe8bye"] {
        let (mut client, _) = open(version);
        let header = [0x81, u8::try_from(body.len()).unwrap()];
        let (code, _) = client
            .receive(&frame(version, false, &header, body))
            .unwrap()
            .unwrap();
        assert_eq!(code, None);
        assert_eq!(client.phase(), Phase::Closed);
    }
}

#[test]
fn unverified_old_peers_receive_only_close_codes_they_know() {
    let later = 1005..3000;
    for version in VERSIONS.iter().filter(|v| v.closing == Closing::Hybi06) {
        for code in later.clone().chain(1000..1005).chain([3000, 4000, 4999]) {
            let (_, mut server) = open(version);
            server.close(code, "");
            let close = server.take_sent();
            let sent = match close[..] {
                [0x81 | 0x88, 0] => None,
                [0x81 | 0x88, 2, a, b] => Some(u16::from_be_bytes([a, b])),
                _ => panic!("{close:?} is no close frame"),
            };
            let sendable = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            assert_eq!(sent.is_some(), sendable, "{version} {code}");
            let known = match sent {
                Some(1000..=1004 | 3000..=4999) | None => true,
                // It came with hybi-10, which is hybi-08 on the wire.
                Some(1007) => version.name == "hybi-08" || version.rfc_rules,
                Some(_) => version.rfc_rules,
            };
            assert!(known, "{version} receives {sent:?} for {code}");
        }
        let sent = |code| heirloom::frame::close_code(version, code);
        if version.rfc_rules {
            assert_eq!(
                [1007, 1008, 1009, 1010, 1011].map(sent),
                [1007, 1008, 1009, 1010, 1011]
            );
        } else {
            let utf8 = if version.name == "hybi-08" {
                1007
            } else {
                1002
            };
            assert_eq!(
                [1007, 1008, 1009, 1010, 1011].map(sent),
                [utf8, 1003, 1004, 1002, 1001]
            );
        }
    }
}

#[test]
fn unverified_hybi_06_to_08_may_send_1004() {
    for version in VERSIONS.iter().filter(|v| v.closing == Closing::Hybi06) {
        let (mut client, _) = open(version);
        let close = if version.name == "hybi-06" {
            0x81
        } else {
            0x88
        };
        let received = client.receive(&[close, 2, 0x03, 0xec]);
        if version.rfc_rules {
            assert_eq!(received, Err(Violation::CloseCodeInvalid { code: 1004 }));
        } else {
            assert_eq!(received, Ok(Some((Some(1004), String::new()))));
        }
    }
}

#[test]
fn unverified_hybi_01_to_06_refuse_control_frames_over_125_octets() {
    for version in &VERSIONS[2..6] {
        // Close, ping and pong; the top bit is MORE in hybi-03 and FIN later.
        for opcode in 1..=3 {
            let top = if version.name == "hybi-03" { 0 } else { 0x80 };
            let fits = [[top | opcode, 125].to_vec(), vec![b'x'; 125]].concat();
            let long = [top | opcode, 126, 0, 126];
            let wide = [top | opcode, 127, 0, 0, 0, 0, 0, 1, 0, 0];
            let senders = [true, false].map(|c| c && version.name != "hybi-04");
            for from_client in senders {
                let end = || {
                    let (client, server) = open(version);
                    if from_client { server } else { client }
                };
                let is_06_close = version.name == "hybi-06" && opcode == 1;
                let received = end().receive(&frame(version, from_client, &fits, &[]));
                // A close of hybi-06 has a code, and this payload is none.
                assert_eq!(received.is_ok(), !is_06_close, "{version} {opcode}");
                for header in [&long[..], &wide] {
                    let received = end().receive(&frame(version, from_client, header, &[]));
                    assert_eq!(
                        received,
                        Err(Violation::ControlTooLong),
                        "{version} {opcode}"
                    );
                }
            }
        }
    }
}
