//! What users gave to programs of this kind, and what such programs print: each is
//! read, or named for what it looks like.

use std::fs;
use std::path::Path;

use heirloom::explain::{Explainer, MAX_PARTS, Outcome};
use heirloom::{Side, Version};

use super::input::{explain, words};

fn report(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain/reports");
    fs::read(folder.join(name)).unwrap()
}

/// The verdict of a brief explanation, with the exit status.
fn verdict(arguments: &[&str], octets: &[u8]) -> (String, Option<i32>) {
    let output = explain(&[&["-", "--brief"], arguments].concat(), octets);
    let (told, _) = words(&output);
    let verdict = told.lines().find_map(|line| line.strip_prefix("= "));
    (verdict.unwrap_or_default().to_owned(), output.status.code())
}

#[test]
fn a_request_that_is_cut_anywhere_is_incomplete() {
    for name in ["request.bin", "request-without-final-newline.txt"] {
        let request = report(name);
        for n in 1..request.len() {
            let cut = &request[..n];
            assert_eq!(
                verdict(&[], cut),
                ("incomplete".to_owned(), Some(1)),
                "{name} cut at {n}"
            );
        }
    }
    let whole = report("request.bin");
    assert_eq!(verdict(&[], &whole).1, Some(0));
}

#[test]
fn a_response_that_is_cut_anywhere_is_incomplete() {
    const RESPONSE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for n in 8..RESPONSE.len() {
        let both = [&report("request.bin"), &RESPONSE[..n]].concat();
        let output = explain(&["-"], &both);
        let (told, _) = words(&output);
        assert!(told.contains("Verdict: incomplete"), "cut at {n}: {told}");
        let (_, verdict) = told.split_once("Verdict: ").unwrap();
        assert!(!verdict.contains("sixteen"), "cut at {n}: {told}");
        assert_eq!(output.status.code(), Some(1), "cut at {n}");
    }
}

#[test]
fn a_hixie_text_without_its_end_is_incomplete() {
    for octets in [&b"complete nonsense\n"[..], b"\x00hello", b"\x00"] {
        for version in ["hixie-75", "hixie-76"] {
            let (verdict, code) = verdict(&["--version", version], octets);
            assert_eq!(
                (verdict.as_str(), code),
                ("incomplete", Some(1)),
                "{octets:?}"
            );
        }
    }
    let whole = verdict(&["--version", "hixie-76"], b"\x00hello\xff");
    assert_eq!(whole, ("good".to_owned(), Some(0)));
}

#[test]
fn what_other_programs_print_is_read() {
    let connect = "> GET /echo HTTP/1.1\n> Host: 127.0.0.1:8076\n> Upgrade: websocket\n\
        > Connection: Upgrade\n> Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\
        > Sec-WebSocket-Version: 13\n>\n< HTTP/1.1 101 Switching Protocols\n\
        < Upgrade: websocket\n< Connection: Upgrade\n\
        < Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n<\n* open, rfc6455\n\
        * > text 5 octets\n* < frame: fin 1, opcode 1, 5 octets\nhello\n* closed 1000\n";
    let curl = String::from_utf8(report("curl-v.txt")).unwrap();
    let talking = format!(
        "* Trying 127.0.0.1:80...\n{}{{ [5 bytes data]\n* Closing\n",
        curl.replace("> \n", ">\n")
    );
    let timed: String = curl
        .lines()
        .map(|line| format!("09:00:00.123456 {line}\r\n"))
        .collect();
    let one_line: String = {
        let ngrep = String::from_utf8(report("ngrep.txt")).unwrap();
        ngrep
            .lines()
            .map(|line| match line {
                line if line.starts_with("T ") => format!("{line}\n  "),
                "##" | "" => format!("\n{line}\n"),
                line => format!("{}..", line.strip_suffix('.').unwrap()),
            })
            .collect()
    };
    for (name, octets) in [
        ("curl -v", curl.into_bytes()),
        ("curl -v with its remarks", talking.into_bytes()),
        ("curl -v --trace-time", timed.into_bytes()),
        ("ngrep -W byline", report("ngrep.txt")),
        ("ngrep", one_line.into_bytes()),
        ("connect -v", connect.as_bytes().to_vec()),
        ("a network panel", report("devtools.txt")),
        ("a panel with its buttons", {
            let text = String::from_utf8(report("devtools.txt")).unwrap();
            text.replace("Headers\n", "Headers\nview source\n")
                .into_bytes()
        }),
        ("a panel with a line for each value", panel_of_two_lines()),
    ] {
        let (verdict, code) = verdict(&[], &octets);
        assert_eq!((verdict.as_str(), code), ("good", Some(0)), "{name}");
    }
}

/// As newer browsers copy it: a name, and its value on the next line.
fn panel_of_two_lines() -> Vec<u8> {
    let text = String::from_utf8(report("devtools.txt")).unwrap();
    let mut lines = String::new();
    for line in text.lines() {
        match line.trim_start_matches('(').split_once(':') {
            Some(_) if line.starts_with('(') => {
                let (name, value) = line.split_once(':').unwrap();
                lines.push_str(&format!("{name}:\n{value}\n"));
            }
            Some((name, value)) => lines.push_str(&format!("{name}:\n{value}\n")),
            None => lines.push_str(&format!("{line}\n")),
        }
    }
    lines.into_bytes()
}

#[test]
fn offsets_of_od_are_no_octets() {
    let request = report("request.bin");
    let od = |offset: &dyn Fn(usize) -> String, text: bool| -> Vec<u8> {
        let mut out = String::new();
        for (n, row) in request.chunks(16).enumerate() {
            out.push_str(&offset(n * 16));
            for octet in row {
                out.push_str(&format!(" {octet:02x}"));
            }
            out.push_str(if text { "  >some text<\n" } else { "\n" });
        }
        out.push_str(&format!("{}\n", offset(request.len())));
        out.into_bytes()
    };
    let plain = explain(&["-", "--json"], &request).stdout;
    for (name, dump) in [
        ("-A x", od(&|n| format!("{n:06x}"), false)),
        ("-A o", od(&|n| format!("{n:07o}"), false)),
        ("-A d", od(&|n| format!("{n:07}"), false)),
        ("x1z", od(&|n| format!("{n:06x}"), true)),
    ] {
        let output = explain(&["-", "--json"], &dump);
        let (_, complained) = words(&output);
        assert_eq!(output.stdout, plain, "{name}");
        assert_eq!(complained, "", "{name}");
    }
}

#[test]
fn what_is_no_handshake_is_named_for_what_it_looks_like() {
    for (octets, word) in [
        (&b"\x1f\x8b\x08\x00\x00\x00\x00\x00"[..], "gzip"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image"),
        (b"\x7fELF\x02\x01\x01\0", "an ELF program"),
        (b"PK\x03\x04\x14\0", "a ZIP archive"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "TLS"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH"),
        (b"220 mail.example ESMTP\r\n", "SMTP"),
        (b"<!DOCTYPE html>\n<html></html>\n", "HTML"),
        (b"[1, 2]", "JSON"),
        (b"ws://lab.example/chat\n", "a URL"),
        (b"complete nonsense\n", "text that is neither"),
        (b"hello, world\r\n", "text that is neither"),
        (b"\n\n\n", "only empty lines"),
        (
            b"Host: lab.example\nUpgrade: websocket\n",
            "without the first line",
        ),
        (
            b"Hello,\nI get this:\nGET / HTTP/1.1\nHost: h\n",
            "at line 3",
        ),
        (
            b"0000000 4547 2054 632f 6168\n0000010 2074\n",
            "16-bit words",
        ),
        (b"000000 4547 2054 632f 6168 2074\n", "16-bit words"),
        (b"0000000 20544547 6168632f\n", "32-bit words"),
        (
            b"00000000: 20544547 6168632f 54482074 312f5054  GET /chat HTTP/1\n",
            "32-bit words",
        ),
        (
            b"00000000: 01000111 01000101 01010100 00100000  GET \n",
            "a dump of bits",
        ),
        (b"0000000 107 105 124 040 057\n", "octal numbers"),
        (b"0000000  71  69  84  32  47  99 104\n", "decimal numbers"),
        (b"0000000   G   E   T       /  \\r  \\n\n", "characters"),
        (
            b"000000  47  45  54  20  2f\n         G   E   T       /\n000005\n",
            "characters",
        ),
        (
            b"127.0.0.1 - - [10/Oct/2026:13:55:36 +0000] \"GET /chat HTTP/1.1\" 101 5\n",
            "the access log",
        ),
        (b"\xff\xfeG\0E\0T\0", "UTF-16"),
    ] {
        let output = explain(&["-"], octets);
        let (told, complained) = words(&output);
        assert_eq!(output.status.code(), Some(2), "{word}: {told}{complained}");
        assert_eq!(told, "", "{word}");
        assert!(complained.contains(word), "{word}: {complained}");
        let cure = ["--format raw", "xxd"]
            .iter()
            .any(|cure| complained.contains(cure));
        assert!(cure, "{word}: {complained}");
    }
    // An indent is of the paste.
    let request = String::from_utf8(report("request.bin")).unwrap();
    let indented: String = request
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    assert_eq!(verdict(&[], indented.as_bytes()).1, Some(0));
    // A mistake in the first line is the parser's to find.
    for octets in [
        &b"get / HTTP/1.1\r\n\r\n"[..],
        b"G",
        b"PATCH / HTTP/1.1\r\n\r\n",
    ] {
        let output = explain(&["-"], octets);
        assert_ne!(output.status.code(), Some(2), "{octets:?}");
    }
}

#[test]
fn empty_frames_are_explained_up_to_a_bound() {
    let mut explainer = Explainer::of_frames(Version::named("hixie-76").unwrap());
    explainer.feed(Side::Client, &b"\x00\xff".repeat(8 * 1024 * 1024));
    let explanation = explainer.finish();
    assert!(explanation.parts.len() <= MAX_PARTS + 2);
    let spans: usize = explanation.parts.iter().map(|part| part.spans.len()).sum();
    assert!(spans <= 4 * MAX_PARTS, "{spans}");
    let kept: usize = explanation.parts.iter().map(|part| part.raw.len()).sum();
    assert!(kept <= 4 * MAX_PARTS, "{kept}");
}

#[test]
fn a_page_of_long_fills_ends_at_a_bound() {
    let vector = |n: usize| {
        serde_json::json!({"id": format!("hixie-75/{n}"), "version": "hixie-75",
            "source": {"kind": "derived", "ref": "x"},
            "steps": [
                {"from": "client", "text": [
                    "GET / HTTP/1.1\r\n", "Upgrade: WebSocket\r\n", "Connection: Upgrade\r\n",
                    "Host: h\r\n", "Origin: http://h\r\n", "\r\n"]},
                {"from": "client", "fill": {"hex": "00 ff", "times": 200_000}}],
            "expect": {}})
    };
    let vectors: Vec<_> = (0..9).map(vector).collect();
    let file = serde_json::json!({"format": 1, "vectors": vectors});
    let output = explain(&["-", "--html"], &serde_json::to_vec(&file).unwrap());
    let (_, complained) = words(&output);
    assert!(
        complained.contains("the first 1 conversations"),
        "{complained}"
    );
}

#[test]
fn responses_of_1xx_before_the_final_one_are_read_over() {
    let request = report("request.bin");
    let accepted: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x02hi";
    let hints: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
    let go_on: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    for before in [&[hints][..], &[go_on, hints], &[hints, hints, go_on]] {
        let all = [&request, &before.concat()[..], accepted].concat();
        assert_eq!(verdict(&[], &all), ("good".to_owned(), Some(0)));
    }
    let mut explainer = Explainer::new(false);
    explainer.feed(Side::Client, &request);
    for octet in [go_on, hints, accepted].concat() {
        explainer.feed(Side::Server, &[octet]);
    }
    assert_eq!(explainer.finish().verdict.outcome, Outcome::Good);
    // A final response that refuses is still the one that counts.
    let refused = [&request, hints, b"HTTP/1.1 403 Forbidden\r\n\r\n"].concat();
    let (told, code) = verdict(&[], &refused);
    assert!(told.starts_with("refused"), "{told}");
    assert_eq!(code, Some(1));
    let cut = [&request, hints].concat();
    let output = explain(&["-"], &cut);
    let (told, _) = words(&output);
    assert!(told.contains("the final response is missing"), "{told}");
}
