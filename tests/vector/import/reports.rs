//! Files that users gave to programs of this kind.

use super::*;

fn report(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vector/import/reports");
    fs::read(folder.join(name)).unwrap()
}

/// The one vector of a file, and its remarks.
fn imported(name: &str) -> (Vector, String) {
    let imported = of(&report(name)).unwrap();
    assert_eq!(imported.file.vectors.len(), 1, "{:?}", imported.remarks);
    let remarks = imported.remarks.join("\n");
    (imported.file.vectors.into_iter().next().unwrap(), remarks)
}

#[test]
fn an_odd_entry_of_a_har_spoils_no_other() {
    for (name, place, why) in [
        ("null-entry.har", "left out: entry 2", "it is null"),
        (
            "status-word.har",
            "left out: entry 1 (http://lab.example/a.png)",
            "status",
        ),
        (
            "data-null.har",
            "entry 2: left out: 1 messages",
            "neither text",
        ),
    ] {
        let (vector, remarks) = imported(name);
        assert_eq!(vector.version, "rfc6455", "{name}");
        assert_eq!(vector.expect.messages.len(), 2, "{name}");
        let remark = remarks.lines().find(|line| line.starts_with(place));
        assert!(
            remark.is_some_and(|line| line.contains(why)),
            "{name}: {remarks}"
        );
    }
}

#[test]
fn every_odd_part_of_a_har_is_passed_over() {
    let entry = har()["log"]["entries"][1].clone();
    let changed = |path: &str, value: serde_json::Value| {
        let mut entry = entry.clone();
        *entry.pointer_mut(path).unwrap() = value;
        entry
    };
    let null = serde_json::Value::Null;
    for (path, value) in [
        ("/response", null.clone()),
        ("/response", "lost".into()),
        ("/response/status", null.clone()),
        ("/response/status", (-1).into()),
        ("/response/statusText", null.clone()),
        ("/response/headers", null.clone()),
        ("/request/httpVersion", null.clone()),
        ("/request/headers/4", null.clone()),
        ("/request/headers/4/value", null.clone()),
        ("/startedDateTime", null.clone()),
        ("/_webSocketMessages", null.clone()),
        ("/_webSocketMessages", "none".into()),
        ("/_webSocketMessages/0", null.clone()),
        ("/_webSocketMessages/0/type", 1.into()),
        ("/_webSocketMessages/0/opcode", "1".into()),
        ("/_webSocketMessages/0/data", null.clone()),
    ] {
        let har = serde_json::json!({"log": {"entries": [changed(path, value)]}});
        let imported = of(&serde_json::to_vec(&har).unwrap());
        let vectors = imported.map(|imported| imported.file.vectors.len());
        assert_eq!(vectors, Ok(1), "{path}");
    }
    for odd in [
        null.clone(),
        1.into(),
        "entry".into(),
        serde_json::json!([]),
        serde_json::json!({}),
        serde_json::json!({"request": null}),
        changed("/request", "GET".into()),
        changed("/request/url", null.clone()),
        changed("/request/method", null),
    ] {
        let har = serde_json::json!({"log": {"entries": [odd, entry]}});
        let imported = of(&serde_json::to_vec(&har).unwrap()).unwrap();
        assert_eq!(imported.file.vectors.len(), 1, "{odd}");
        let remarks = imported.remarks.join("\n");
        assert!(
            remarks.contains("left out: entry 1: it"),
            "{odd}: {remarks}"
        );
    }
}

#[test]
fn a_har_without_websocket_is_told_so() {
    let error = of(&report("har-without-websocket.har")).unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("there is no WebSocket conversation in it"),
        "{error}"
    );
    assert!(error.contains("1 entries that are plain HTTP"), "{error}");
}

#[test]
fn a_conversation_starts_at_each_request_behind_a_complete_answer() {
    let imported = of(&report("second-request.pcap")).unwrap();
    let [refused, accepted] = imported.file.vectors.as_slice() else {
        panic!("{:?}", imported.remarks);
    };
    assert_eq!(
        refused.expect.client.as_ref().unwrap().result,
        ExpectedResult::Reject
    );
    assert!(sent(refused, Side::Server).starts_with(b"HTTP/1.1 401"));
    assert!(!refused.unfinished);
    assert!(refused.steps.iter().all(|step| step.end.is_none()));
    assert_eq!(
        accepted.expect.client.as_ref().unwrap().result,
        ExpectedResult::Accept
    );
    assert!(sent(accepted, Side::Client).starts_with(b"GET /chat"));
    assert!(sent(accepted, Side::Server).starts_with(b"HTTP/1.1 101"));
    assert!(!accepted.expect.messages.is_empty());
}

#[test]
fn websocket_through_a_tunnel_is_read() {
    let (vector, remarks) = imported("connect-proxy.pcap");
    assert_eq!(vector.version, "rfc6455");
    assert!(sent(&vector, Side::Client).starts_with(b"GET /chat"));
    assert!(!vector.expect.messages.is_empty());
    assert!(remarks.contains("tunnel to lab.example:80"), "{remarks}");
}

#[test]
fn what_a_script_reads_by_a_pattern_is_an_open_step() {
    let (vector, remarks) = imported("pattern.rpt");
    assert_eq!(vector.version, "hixie-76");
    let open: Vec<&Step> = vector
        .steps
        .iter()
        .filter(|step| {
            step.note
                .as_ref()
                .is_some_and(|note| note.starts_with("open: "))
        })
        .collect();
    assert_eq!(open.len(), 1);
    assert_eq!(
        (open[0].from, open[0].octets().unwrap()),
        (Side::Server, Vec::new())
    );
    assert!(
        remarks.contains(r"line 18: /Date: .*\\r\\n/ is a pattern")
            || remarks.contains("line 18: /Date: .*"),
        "{remarks}"
    );
    // The client's half is exact, and plays.
    let request = sent(&vector, Side::Client);
    assert!(request.ends_with(b"\r\n\r\nWjN}|M(6\x00hi\xff"));
    assert!(vector.expect.server.is_some());
    play(&vector, Side::Server, Split::Whole).unwrap();

    // Patterns of all kinds, each with its line.
    let script = SCRIPT
        .replace(
            "read \"\\r\\n\"\n",
            "read /Date: .*\\/x/ \"\\r\\n\" /(?<rest>.*)/\n",
        )
        .replace(
            "read [0xff 0x00]",
            "read [0..2]\nread [(:mask){4}]\nread ${core:random(4)}",
        );
    let imported = of(script.as_bytes()).unwrap();
    let remarks = imported.remarks.join("\n");
    for line in [27, 27, 32, 33, 34] {
        assert!(
            remarks.contains(&format!("line {line}: ")),
            "{line}: {remarks}"
        );
    }
    let file = File::read(imported.file.to_canonical().as_bytes()).unwrap();
    assert_eq!(
        both(&file.vectors[0])[0],
        both(&of(SCRIPT.as_bytes()).unwrap().file.vectors[0])[0]
    );
}

#[test]
fn an_accepted_handshake_behind_a_103_is_a_handshake() {
    let request = report_request();
    let hints = b"HTTP/1.1 103 Early Hints\r\n\r\n";
    let accepted: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x02hi";
    let steps = [
        Step::of(Side::Client, &request),
        Step::of(Side::Server, hints),
        Step::of(Side::Server, accepted),
    ];
    let vector = one(&capture(&segments(&steps, 4000, [1, 2]), PLAIN));
    assert_eq!(vector.version, "rfc6455");
    let client = vector.expect.client.as_ref().unwrap();
    assert_eq!(client.result, ExpectedResult::Accept);
    assert_eq!(vector.expect.messages.len(), 1);
}

/// The request of RFC 6455 that the other files hold too.
fn report_request() -> Vec<u8> {
    b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n"
        .to_vec()
}
