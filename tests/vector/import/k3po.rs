//! Scripts of k3po.

use super::*;

#[test]
fn a_script_becomes_a_vector() {
    let imported = of(SCRIPT.as_bytes()).unwrap();
    let vector = &imported.file.vectors[0];
    assert_eq!(vector.version, "hixie-76");
    let message = &vector.expect.messages[0];
    assert_eq!(message.data.as_deref(), Some("café"));
    assert!(vector.expect.client.is_some() && vector.expect.server.is_some());
    assert_eq!(vector.expect.subprotocol.as_deref(), Some("sample"));
    assert_eq!(vector.source.kind, "derived");
    let ends = vector
        .steps
        .iter()
        .filter(|step| step.end.is_some())
        .count();
    assert_eq!(ends, 1);
    assert_eq!(vector.steps[1].octets().unwrap(), b"^n:ds[4U");
    let remarks = imported.remarks.join("\n");
    assert!(
        remarks.contains("line 6: READY: barriers are not kept"),
        "{remarks}"
    );

    // The same from the other end: the server writes.
    let other = SCRIPT
        .replace("write notify", "read notify")
        .replace("read ", "\u{1}")
        .replace("write ", "read ")
        .replace('\u{1}', "write ")
        .replace("connect await READY\n", "")
        .replace("read flush", "write flush")
        .replace(
            "connect ${location}",
            "accept ${location} as server\naccepted",
        );
    let other = of(other.as_bytes()).unwrap();
    assert_eq!(both(&other.file.vectors[0]), both(vector));
}

#[test]
fn what_cannot_be_imported_of_a_script_is_refused_with_its_line() {
    for (from, to, line, word) in [
        (
            "read \"\\r\\n\"\n",
            "read /Date: .*\n",
            27,
            "regular expression does not end",
        ),
        (
            "write \"\\r\\n\"\n",
            "write /Date: .*/ \"\\r\\n\"\n",
            16,
            "has no octets",
        ),
        (
            "connect ${location}",
            "connect http://localhost:8001/",
            7,
            "not tcp://",
        ),
        (
            "write ${again}",
            "write ${core:random(8)}",
            18,
            "functions are not run",
        ),
        (
            "connected\n",
            "connected\nwrite option x 1\n",
            9,
            "`write option` cannot be imported",
        ),
        (
            "write [0xff 0x00]",
            "write [0..2]",
            31,
            "[0..2] has no octets",
        ),
        ("closed", "sleep", 34, "`sleep` cannot be imported"),
        ("# A comment.", "write \"a\"", 1, "comes before connect"),
        ("\"^n:ds[4U\"", "\"^n\n\"", 3, "does not end on its line"),
        ("\"^n:ds[4U\"", "\"\\q\"", 3, "unknown escape"),
    ] {
        let script = SCRIPT.replacen(from, to, 1);
        assert_ne!(script, SCRIPT, "{from}");
        let error = of(script.as_bytes()).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("line {line}: ")),
            "{to}: {error}"
        );
        assert!(error.contains(word), "{to}: {error}");
    }
}
