//! HAR.

use super::*;

#[test]
fn a_har_keeps_heads_and_messages() {
    let text = serde_json::to_vec_pretty(&har()).unwrap();
    let imported = of(&text).unwrap();
    let vector = &imported.file.vectors[0];
    assert_eq!(vector.id, "rfc6455/a-capture-1");
    assert!(vector.secure && vector.unfinished);
    let request = sent(vector, Side::Client);
    assert!(request.starts_with(b"GET /chat?a=1 HTTP/1.1\r\nHost: example.com\r\n"));
    assert!(sent(vector, Side::Server).ends_with(b"xOo=\r\n\r\n"));
    let note = vector.steps[0].note.as_ref().unwrap();
    assert!(note.contains("HAR keeps no octets"), "{note}");
    assert_eq!(vector.expect.messages.len(), 2);
    assert_eq!(vector.expect.messages[0].data.as_deref(), Some("grüße"));
    assert_eq!(vector.expect.messages[1].octets().unwrap(), [1, 2, 3]);
    assert_eq!(vector.source.date.as_deref(), Some("2024-05-06"));
    assert_eq!(vector.source.client.as_deref(), Some("Some/1"));
    let remarks = imported.remarks.join("\n");
    assert!(
        remarks.contains("1 entries that are plain HTTP"),
        "{remarks}"
    );
    assert!(remarks.contains("1 messages that are neither"), "{remarks}");
    // The vector can be read again, and it plays.
    let file = File::read(imported.file.to_canonical().as_bytes()).unwrap();
    for side in [Side::Server, Side::Client] {
        play(&file.vectors[0], side, Split::Whole).unwrap();
    }

    // Without messages, the handshake holds both sides.
    let mut har = har();
    har["log"]["entries"][1]["_webSocketMessages"] = serde_json::json!([]);
    let vector = one(&serde_json::to_vec(&har).unwrap());
    assert!(vector.expect.server.is_some() && vector.expect.client.is_some());
}

#[test]
fn a_har_has_no_key3_and_a_note_tells_it() {
    let mut har = har();
    let headers = &mut har["log"]["entries"][1]["request"]["headers"];
    *headers = serde_json::json!([
        {"name": "Host", "value": "example.com"}, {"name": "Upgrade", "value": "WebSocket"},
        {"name": "Connection", "value": "Upgrade"}, {"name": "Origin", "value": "http://example.com"},
        {"name": "Sec-WebSocket-Key1", "value": "4 @1  46546xW%0l 1 5"},
        {"name": "Sec-WebSocket-Key2", "value": "12998 5 Y3 1  .P00"}]);
    let vector = one(&serde_json::to_vec(&har).unwrap());
    assert_eq!(vector.version, "hixie-76");
    let note = vector.steps.last().unwrap().note.clone().unwrap();
    assert!(
        note.contains("neither the eight octets of hixie-76"),
        "{note}"
    );
}

#[test]
fn an_error_in_a_har_has_its_place() {
    for (text, want) in [
        ("{\"log\": {\n\"entries\": [,]}}", "line 2: not a HAR"),
        ("{\"vectors\": []}", "it is a vector file already"),
        ("{}", "no \"log\""),
        (
            "{\"log\": {\"entries\": []}}",
            "there is no WebSocket conversation",
        ),
    ] {
        let error = of(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(want), "{text}: {error}");
    }
    let mut har = har();
    har["log"]["entries"][1]["request"]["headers"][0]["value"] = "a\r\nb".into();
    let error = of(&serde_json::to_vec(&har).unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("line break"), "{error}");
    har["log"]["entries"][1]["request"]["headers"][0]["name"] = ":authority".into();
    let error = of(&serde_json::to_vec(&har).unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("HTTP/2"), "{error}");
}

#[test]
fn half_a_character_in_one_message_spoils_no_entry() {
    let text = serde_json::to_string(&har()).unwrap();
    let with = |escape: &str| text.replace("gr\u{fc}\u{df}e", escape).into_bytes();
    let latin1 = {
        let (before, after) = text.split_once("gr\u{fc}\u{df}e").unwrap();
        [before.as_bytes(), b"gr\xfc", after.as_bytes()].concat()
    };
    for (octets, want) in [
        (with("a\\ud83d"), "a\u{fffd}"),
        (with("\\ude00b"), "\u{fffd}b"),
        (with("\\ud83d\\n"), "\u{fffd}\n"),
        (with("\\ud83d\\ud83d\\ude00"), "\u{fffd}\u{1f600}"),
        (with("\\\\ud83d\\ud800"), "\\ud83d\u{fffd}"),
        (latin1, "gr\u{fffd}"),
    ] {
        let imported = import(&octets, &Options::of("x")).unwrap();
        let vector = serde_json::to_string(&imported.file.vectors[0]).unwrap();
        let want = serde_json::to_string(want).unwrap();
        assert!(vector.contains(&want), "{want}: {vector}");
        let remarks = imported.remarks.join("; ");
        assert!(remarks.contains("U+FFFD"), "{remarks}");
    }
}
