//! What `heirloom explain` takes: the same octets pasted in every way give the
//! same explanation; the program reports what it cannot read.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use heirloom::Side;
use heirloom::explain::dump::{self, Dump, DumpedOctets, Speaker};
use serde_json::Value;

const REQUEST: &[u8] = b"GET /demo HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
    Host: example.com\r\nOrigin: http://example.com\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n\
    Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n^n:ds[4U";
const ANSWER: &[u8] = b"HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Origin: http://example.com\r\n\
    Sec-WebSocket-Location: ws://example.com/demo\r\n\r\n8jKS'y:G*Co,Wxa-\x00hello\xff";

// The dumps.

fn hex(octets: &[u8]) -> Vec<String> {
    octets.iter().map(|o| format!("{o:02x}")).collect()
}

fn ascii(octets: &[u8]) -> String {
    let char = |o: &u8| {
        if matches!(o, 0x20..=0x7e) {
            char::from(*o)
        } else {
            '.'
        }
    };
    octets.iter().map(char).collect()
}

/// As `xxd` prints it, with groups of so many octets.
fn xxd(octets: &[u8], group: usize, width: usize) -> String {
    let rows = octets.chunks(width).enumerate().map(|(n, row)| {
        let groups: Vec<String> = row.chunks(group).map(|g| hex(g).concat()).collect();
        let columns = width * 2 + width.div_ceil(group) - 1;
        let (offset, groups, text) = (n * width, groups.join(" "), ascii(row));
        format!("{offset:08x}: {groups:<columns$}  {text}\n")
    });
    rows.collect()
}

fn hexdump_c(octets: &[u8]) -> String {
    let rows = octets.chunks(16).enumerate().map(|(n, row)| {
        let halves: Vec<String> = row.chunks(8).map(|half| hex(half).join(" ")).collect();
        format!(
            "{:08x}  {:<48}  |{}|\n",
            n * 16,
            halves.join("  "),
            ascii(row)
        )
    });
    let rows: String = rows.collect();
    format!("{rows}{:08x}\n", octets.len())
}

/// As Wireshark's "Follow TCP Stream" shows it as a hex dump.
fn follow(octets: &[u8], from: usize, indent: &str) -> String {
    let rows = octets.chunks(16).enumerate().map(|(n, row)| {
        let halves: Vec<String> = row.chunks(8).map(|half| hex(half).join(" ")).collect();
        let texts: Vec<String> = row.chunks(8).map(ascii).collect();
        let (hex, text) = (halves.join("  "), texts.join(" "));
        format!("{indent}{:08X}  {hex:<48}   {text}\n", from + n * 16)
    });
    rows.collect()
}

/// A packet of IPv4 and TCP without options.
fn packet(from: u16, seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let to = if from == 8076 { 47652 } else { 8076 };
    let length = u16::try_from(40 + payload.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 1, 0x40, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
    packet.extend(from.to_be_bytes());
    packet.extend(u16::to_be_bytes(to));
    packet.extend(seq.to_be_bytes());
    packet.extend([0, 0, 0, 1, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    packet.extend_from_slice(payload);
    packet
}

fn packets() -> Vec<Vec<u8>> {
    vec![
        packet(47652, 100, 0x02, b""),
        packet(8076, 500, 0x12, b""),
        packet(47652, 101, 0x18, REQUEST),
        packet(8076, 501, 0x18, ANSWER),
    ]
}

fn tcpdump_x() -> String {
    let mut text = String::new();
    for packet in packets() {
        text.push_str(
            "12:00:00.000000 IP 127.0.0.1.47652 > 127.0.0.1.8076: Flags [P.], length 1\n",
        );
        for (n, row) in packet.chunks(16).enumerate() {
            let groups: Vec<String> = row.chunks(2).map(|g| hex(g).concat()).collect();
            let (offset, groups) = (n * 16, groups.join(" "));
            text.push_str(&format!(
                "\t0x{offset:04x}:  {groups:<39}  {}\n",
                ascii(row)
            ));
        }
    }
    text
}

/// As "Copy as Hex Dump" gives packets, here behind Ethernet.
fn wireshark_copy() -> String {
    let mut text = String::new();
    for packet in packets() {
        let mut frame = vec![0; 12];
        frame.extend([8, 0]);
        frame.extend(packet);
        for (n, row) in frame.chunks(16).enumerate() {
            text.push_str(&format!(
                "{:04x}   {:<47}   {}\n",
                n * 16,
                hex(row).join(" "),
                ascii(row)
            ));
        }
        text.push('\n');
    }
    text
}

fn arrays() -> String {
    let array = |name: &str, octets: &[u8]| {
        let hex: Vec<String> = octets.iter().map(|o| format!("0x{o:02x}")).collect();
        let rows: Vec<String> = hex.chunks(8).map(|row| row.join(", ")).collect();
        format!(
            "char {name}[] = {{ /* Packet 4 */\n{} }};\n",
            rows.join(",\n")
        )
    };
    array("peer0_0", REQUEST) + &array("peer1_0", ANSWER)
}

fn curl() -> String {
    let dump = |octets: &[u8]| -> String {
        let rows = octets.chunks(16).enumerate();
        rows.map(|(n, row)| format!("{:04x}: {:<48}{}\n", n * 16, hex(row).join(" "), ascii(row)))
            .collect()
    };
    format!(
        "== Info: Connected to example.com\n=> Send header, 224 bytes (0xe0)\n{}\
         <= Recv header, 16 bytes (0x10)\n{}<= Recv data, 23 bytes (0x17)\n{}",
        dump(REQUEST),
        dump(&ANSWER[..100]),
        dump(&ANSWER[100..])
    )
}

fn in_one() -> Vec<u8> {
    [REQUEST, ANSWER].concat()
}

#[test]
fn the_same_octets_are_the_same_explanation_however_they_are_pasted() {
    let all = in_one();
    let bare = hex(&all).join(" ");
    let pasted: Vec<(&str, Vec<u8>)> = vec![
        ("raw", all.clone()),
        ("xxd", xxd(&all, 2, 16).into()),
        ("xxd -g 1", xxd(&all, 1, 16).into()),
        ("xxd -g 1 -c 8", xxd(&all, 1, 8).into()),
        ("xxd -c 32", xxd(&all, 2, 32).into()),
        ("xxd -g 4", xxd(&all, 4, 16).into()),
        (
            "xxd -p",
            hex(&all)
                .chunks(30)
                .map(|l| l.concat() + "\n")
                .collect::<String>()
                .into(),
        ),
        ("hexdump -C", hexdump_c(&all).into()),
        ("tcpdump -X", tcpdump_x().into()),
        ("Wireshark, copied packets", wireshark_copy().into()),
        (
            "Wireshark, followed",
            (follow(REQUEST, 0, "") + &follow(ANSWER, 0, "    ")).into(),
        ),
        ("Wireshark, C arrays", arrays().into()),
        ("curl --trace", curl().into()),
        ("bare", bare.clone().into()),
        ("bare, large letters", bare.to_uppercase().into()),
        ("0x", format!("0x{}", bare.replace(' ', ", 0x")).into()),
        ("\\x", format!("\"\\x{}\"", bare.replace(' ', "\\x")).into()),
    ];
    let told = |octets: &[u8]| {
        let output = explain(&["-", "--json"], octets);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let mut told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        // Packets make a vector, which has an id of its own.
        told["conclusion"]["id"].take();
        told.to_string()
    };
    let first = told(&all);
    assert!(
        first.contains("the handshake is right, and so is the frame"),
        "{first}"
    );
    for (name, pasted) in pasted {
        assert!(
            told(&pasted) == first,
            "{name}:\n{}",
            String::from_utf8_lossy(&pasted)
        );
    }
}

#[test]
fn dumps_that_real_tools_made_are_read() {
    // xxd, hexdump -C and tcpdump -X of Debian 12, of the octets 81 05 "Hello".
    let hello = b"\x81\x05Hello".to_vec();
    for text in [
        "00000000: 8105 4865 6c6c 6f                        ..Hello\n",
        "00000000  81 05 48 65 6c 6c 6f                              |..Hello|\n00000007\n",
        "8105 4865 6c6c 6f\n",
        "81:05:48:65:6c:6c:6f",
    ] {
        let said = vec![DumpedOctets {
            speaker: Speaker::Unknown,
            octets: hello.clone(),
        }];
        assert_eq!(dump::read(text), Some(Dump::Octets(said)), "{text}");
    }
    let squeezed = "00000000  61 61 61 61 61 61 61 61  61 61 61 61 61 61 61 61  |aaaaaaaaaaaaaaaa|\n\
                    *\n00000030  62                                                |b|\n00000031\n";
    let Some(Dump::Octets(said)) = dump::read(squeezed) else {
        panic!("no dump");
    };
    assert_eq!(said[0].octets, [vec![b'a'; 48], vec![b'b']].concat());
}

#[test]
fn what_is_no_dump_is_none() {
    for text in [
        "",
        "\n\n",
        "hello",
        "GET / HTTP/1.1\r\n\r\n",
        "123",
        "zz 00",
        "81 5",
        "00000010: 4141",
        "peer",
        "peer0_0[] = {",
        "{\"format\": 1}",
    ] {
        let found = dump::read(text);
        assert!(found.is_none(), "{text:?}: {found:?}");
    }
}

#[test]
fn sides_are_told_by_what_they_say() {
    let said = |speaker, octets: &[u8]| DumpedOctets {
        speaker,
        octets: octets.to_vec(),
    };
    let sides = |said: Vec<DumpedOctets>| -> Vec<Side> {
        dump::sides(said, None)
            .into_iter()
            .map(|(side, _)| side)
            .collect()
    };
    let (client, server) = (Side::Client, Side::Server);
    assert_eq!(
        sides(vec![
            said(Speaker::First, REQUEST),
            said(Speaker::Second, ANSWER)
        ]),
        [client, server]
    );
    assert_eq!(
        sides(vec![
            said(Speaker::First, ANSWER),
            said(Speaker::Second, b"x")
        ]),
        [server, client]
    );
    assert_eq!(sides(vec![said(Speaker::Unknown, ANSWER)]), [server]);
    assert_eq!(
        sides(vec![said(Speaker::Unknown, &in_one())]),
        [client, server]
    );
    let asked = dump::sides(vec![said(Speaker::Unknown, REQUEST)], Some(server));
    assert_eq!(asked[0].0, server);
}

#[test]
fn a_head_that_was_pasted_gets_its_cr_back() {
    let pasted = |text: &str| dump::pasted(text.as_bytes());
    let text = "GET / HTTP/1.1\nHost: h\n\n12345678\nHTTP/1.1 101 x\nA: b\n\n";
    let want = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n12345678HTTP/1.1 101 x\r\nA: b\r\n\r\n";
    assert_eq!(pasted(text).unwrap(), want);
    assert_eq!(
        pasted("GET / HTTP/1.1\nHost: h\n").unwrap(),
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    );
    assert_eq!(
        pasted("\nGET / HTTP/1.1\nHo").unwrap(),
        b"GET / HTTP/1.1\r\nHo"
    );
    for text in [
        "GET / HTTP/1.1\r\nHost: h\n",
        "hello\n",
        "GET / HTTP/1.1",
        "",
    ] {
        assert_eq!(pasted(text), None, "{text:?}");
    }
}

// The program.

pub(super) fn explain(arguments: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_heirloom"))
        .arg("explain")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // After a wrong option the program reads nothing.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

pub(super) fn words(output: &Output) -> (String, String) {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn file(name: &str, octets: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("explain_input");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, octets).unwrap();
    path
}

#[test]
fn the_exit_status_says_whether_it_is_whole() {
    let broken = String::from_utf8_lossy(REQUEST).replace("4 @1  46546", "4 @1 46546");
    let refused = b"HTTP/1.1 403 Forbidden\r\n\r\n";
    for (octets, code, word) in [
        (REQUEST, 0, "Verdict: incomplete"),
        (&in_one()[..], 0, "Verdict: good"),
        (&REQUEST[..50], 1, "Verdict: incomplete"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 0, "Verdict: plain"),
        (broken.as_bytes(), 1, "Verdict: broken, key-not-divisible"),
        (refused, 1, "Verdict: refused"),
        (
            b"\x00\x01\x02 rubbish \xff",
            1,
            "Verdict: broken, head-malformed",
        ),
    ] {
        let output = explain(&["-"], octets);
        let (said, _) = words(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(word), "{word} in {said}");
        assert!(!said.contains('\x1b'), "colour without a terminal");
    }
}

#[test]
fn what_cannot_be_read_is_said_with_what_to_do() {
    let missing = file("missing", b"x").with_file_name("none-of-that-name");
    let folder = missing.parent().unwrap();
    let vector = root().join("vectors/hixie-76/keys.json");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    for (arguments, stdin, word) in [
        (vec!["-".to_owned()], &b""[..], "it is empty; give it"),
        (vec![path(&missing)], b"", "cannot be read"),
        (vec![path(folder)], b"", "cannot be read"),
        (
            vec!["-".to_owned(), "--format".to_owned(), "hex".to_owned()],
            b"no dump",
            "neither a hex dump",
        ),
        (
            vec!["-".to_owned(), "--format".to_owned(), "vector".to_owned()],
            b"{}",
            "not a vector file",
        ),
        (
            vec!["-".to_owned(), "--format".to_owned(), "capture".to_owned()],
            b"x",
            "not a pcap",
        ),
        (
            vec!["-".to_owned()],
            b"{\"format\": 9, \"vectors\": []}",
            "format 9",
        ),
        (
            vec![path(&vector), "--vector".to_owned(), "x".to_owned()],
            b"",
            "no vector has the id",
        ),
        (vec![], b"", "required"),
        (
            ["--json", "--version", "hixie-76"]
                .map(str::to_owned)
                .to_vec(),
            b"",
            "--json explains a FILE",
        ),
        (
            vec!["-".to_owned(), "--json".to_owned(), "--html".to_owned()],
            b"",
            "cannot be used with",
        ),
        (
            vec!["-".to_owned(), "--version".to_owned(), "99".to_owned()],
            b"",
            "hixie-75 hixie-76",
        ),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = explain(&arguments, stdin);
        let (said, complained) = words(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {complained}");
        assert_eq!(said, "", "{arguments:?}");
        assert!(complained.contains(word), "{arguments:?}: {complained}");
    }
}

#[test]
fn frames_without_a_handshake_take_the_version_that_is_named() {
    for (octets, version, word) in [
        ("81 05 48 65 6c 6c 6f", "rfc6455", "← text frame, 5 octets"),
        (
            "81 85 37 fa 21 3d 7f 9f 4d 51 58",
            "13",
            "→ text frame, masked, 5 octets",
        ),
        ("00 48 65 6c 6c 6f ff", "hixie-76", "→ text frame, 5 octets"),
        ("ff 00", "76", "→ close"),
        ("04 05 48 65 6c 6c 6f", "hybi-03", "→ text frame, 5 octets"),
        (
            "37 fa 21 3d b3 ff 69 58 5b 96 4e",
            "hybi-06",
            "→ text frame, masked, 5 octets",
        ),
    ] {
        let output = explain(&["-", "--version", version], octets.as_bytes());
        let (said, _) = words(&output);
        assert!(said.contains(word), "{said}");
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("Every frame follows the rules"), "{said}");
    }
    let output = explain(
        &["-", "--version", "13", "--from", "client"],
        b"81 05 48 65 6c 6c 6f",
    );
    assert!(words(&output).0.contains("mask-missing"));
    assert_eq!(output.status.code(), Some(1));
    // hybi-04 cannot be read without its handshake.
    let output = explain(
        &["-", "--version", "4", "--from", "client"],
        b"81 05 48 65 6c 6c 6f",
    );
    assert!(
        words(&output).0.contains("Not all frames can be read"),
        "{output:?}"
    );
}

#[test]
fn json_has_the_shape_of_the_page() {
    let (said, _) = words(&explain(&["-", "--json"], &in_one()));
    assert_eq!(said.lines().count(), 1);
    let object: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(object["version"], "hixie-76");
    assert_eq!(object["verdict"]["result"], "good");
    for key in ["code", "section", "side", "offset", "part", "cause", "cure"] {
        assert!(object["verdict"][key].is_null(), "{key}");
    }
    let kinds: Vec<&str> = object["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["request", "key3", "answer", "digest", "frame"]);
    let request = &object["parts"][0];
    assert_eq!(request["side"], "client");
    assert_eq!(request["offset"], 0);
    assert_eq!(
        usize::try_from(request["length"].as_u64().unwrap()).unwrap() + 8,
        REQUEST.len()
    );
    assert!(request["hex"].as_str().unwrap().starts_with("47 45 54 20"));
    assert_eq!(request["spans"][0]["field"], "method");
    assert_eq!(request["spans"][0]["value"], "GET");
    assert_eq!(request["spans"][0]["role"], "decides");
    let numbers = &request["derivations"][0]["steps"][3]["runs"];
    let text: Vec<&str> = numbers
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["text"].as_str().unwrap())
        .collect();
    assert_eq!(text.concat(), "4146546015 ÷ 5 = 829309203");
    let page = fs::read_to_string(root().join("docs/explain.md")).unwrap();
    for key in [
        "parts",
        "spans",
        "derivations",
        "verdict",
        "unmasked",
        "missing",
        "bits",
    ] {
        assert!(
            page.contains(&format!("`{key}`")),
            "docs/explain.md lacks {key}"
        );
    }
}

#[test]
fn a_file_with_several_vectors_tells_all_or_one() {
    let path = root().join("vectors/hixie-76/draft-examples.json");
    let path = path.to_str().unwrap();
    let (all, _) = words(&explain(&[path, "--brief"], b""));
    assert!(all.matches("request of hixie-76").count() > 2, "{all}");
    let (one, _) = words(&explain(
        &[path, "--brief", "--vector", "hixie-76/draft-overview"],
        b"",
    ));
    assert_eq!(one.matches("request of hixie-76").count(), 1, "{one}");
    let (page, _) = words(&explain(&[path, "--html"], b""));
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("hixie-76/draft-overview"));
    let (lines, _) = words(&explain(&[path, "--json"], b""));
    assert_eq!(lines.lines().count(), all.matches("= ").count());
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

// The history.

#[test]
fn the_pages_of_the_history_are_what_the_program_prints() {
    let folder = root().join("docs/history");
    let mut pages: Vec<(String, Vec<String>)> = heirloom::VERSIONS
        .iter()
        .map(|v| {
            (
                format!("{v}.md"),
                vec!["--version".to_owned(), v.name.to_owned()],
            )
        })
        .collect();
    for (file, page) in [
        ("README.md", "index"),
        ("masking.md", "masking"),
        ("timeline.svg", "timeline"),
    ] {
        pages.push((file.to_owned(), vec!["--page".to_owned(), page.to_owned()]));
    }
    let mut wrong = Vec::new();
    for (name, arguments) in &pages {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = explain(&arguments, b"");
        assert!(output.status.success(), "{output:?}");
        let (page, _) = words(&output);
        let path = folder.join(name);
        if std::env::var_os("BLESS").is_some_and(|bless| bless == "1") {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &page).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != page {
            wrong.push(name);
        }
    }
    assert!(
        wrong.is_empty(),
        "`BLESS=1 cargo test --test explain input` writes {wrong:?}"
    );
    let there = fs::read_dir(&folder).unwrap().count();
    assert_eq!(
        there,
        pages.len(),
        "a file of docs/history belongs to nothing"
    );
}

#[test]
fn the_timeline_is_a_picture_that_can_be_read_aloud() {
    let svg = fs::read_to_string(root().join("docs/history/timeline.svg")).unwrap();
    let page = scraper::Html::parse_fragment(&svg);
    let select = |css: &str| {
        let selector = scraper::Selector::parse(css).unwrap();
        let texts = page.select(&selector).map(|e| e.text().collect::<String>());
        texts.collect::<Vec<_>>()
    };
    assert_eq!(select("svg > title").len(), 1);
    let said = select("svg > desc").concat();
    let names = select("text.name");
    for version in heirloom::VERSIONS {
        assert!(
            said.contains(version.clients) && said.contains(version.dates.0),
            "{version}"
        );
        assert!(names.contains(&version.name.to_owned()), "{version}");
    }
    assert!(!svg.contains("<script") && svg.contains("prefers-color-scheme: dark"));
}

// What was explained wrongly once.

const ASKED: &str = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

fn told(arguments: &[&str], stdin: &[u8]) -> String {
    let output = explain(arguments, stdin);
    let out = String::from_utf8(output.stdout).unwrap();
    out + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn an_extension_that_was_agreed_breaks_nothing() {
    let extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    let said = [
        format!("{ASKED}{extension}{AGREED}{extension}").as_bytes(),
        b"\xc1\x01\x00",
    ]
    .concat();
    let told = told(&["-", "--json"], &said);
    assert!(told.contains("\"compressed\":\"00\""), "{told}");
    assert!(told.contains("\"result\":\"good\""), "{told}");
    assert_eq!(explain(&["-"], &said).status.code(), Some(0));
}

#[test]
fn http_1_0_is_a_proxys_and_http_2_is_not() {
    let other = |version| format!("{ASKED}\r\n").replace("HTTP/1.1", version);
    let of_2 = told(&["-", "--json"], other("HTTP/2.0").as_bytes());
    assert!(!of_2.contains("A proxy speaks HTTP/1.0"), "{of_2}");
    let of_1 = told(&["-", "--json"], other("HTTP/1.0").as_bytes());
    assert!(of_1.contains("A proxy speaks HTTP/1.0"), "{of_1}");
}

#[test]
fn a_frame_without_a_mask_is_the_servers_also_where_it_is_broken() {
    let told = told(
        &["-", "--version", "rfc6455", "--brief"],
        b"\x88\x02\x03\xed",
    );
    assert!(told.contains("close-code-invalid"), "{told}");
}

#[test]
fn what_tls_says_in_a_trace_is_not_what_the_client_says() {
    let text = "=> Send SSL data, 5 bytes (0x5)\n\
                0000: 16 03 01 02 00                                  .....\n\
                => Send data, 6 bytes (0x6)\n\
                0000: 81 80 00 00 00 00                               ......\n";
    let told = told(&["-", "--version", "rfc6455", "--brief"], text.as_bytes());
    assert!(told.contains("= good"), "{told}");
}

#[test]
fn a_mark_of_the_octet_order_is_no_part_of_a_head() {
    let head = format!("{ASKED}\r\n").replace('\r', "");
    let text = [b"\xef\xbb\xbf".as_slice(), head.as_bytes()].concat();
    let told = told(&["-", "--brief"], &text);
    assert!(told.contains("request of rfc6455"), "{told}");
}

#[test]
fn a_line_that_is_missing_in_a_dump_is_said_to_be() {
    let whole = xxd(REQUEST, 2, 16);
    let without: String = whole
        .lines()
        .enumerate()
        .filter(|(n, _)| *n != 2)
        .fold(String::new(), |text, (_, line)| text + line + "\n");
    let said = told(&["-", "--brief"], without.as_bytes());
    assert!(
        said.contains("the offsets jump from 0x20 to 0x30"),
        "{said}"
    );
    let said = told(&["-", "--brief"], whole.as_bytes());
    assert!(!said.contains("offsets"), "{said}");
}
