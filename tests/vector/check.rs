//! `heirloom check`: what it prints of good, wrong and hostile files, and the
//! canonical form.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use heirloom::vector::File;
use serde_json::{Value, json};

struct Ended {
    code: i32,
    out: String,
    errors: String,
}

fn check(args: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_heirloom"))
        .arg("check")
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    Ended {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder of its own, which ends with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("check-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn put(&self, name: &str, octets: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, octets).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One vector of the corpus, changed, alone in a file.
fn changed(file: &str, id: &str, change: impl FnOnce(&mut Value)) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(file);
    let mut file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let vectors = file["vectors"].as_array_mut().unwrap();
    vectors.retain(|vector| vector["id"] == id);
    assert_eq!(vectors.len(), 1, "{id}");
    change(&mut vectors[0]);
    file.to_string()
}

/// The lines of the first write of the server.
fn response(vector: &mut Value) -> &mut Vec<Value> {
    let steps = vector["steps"].as_array_mut().unwrap();
    let step = steps.iter_mut().find(|s| s["from"] == "server").unwrap();
    step["text"].as_array_mut().unwrap()
}

/// What the program prints of a file with this text.
fn printed(name: &str, text: &str) -> String {
    let folder = Folder::new(name);
    let path = folder.put("it.json", text);
    let ended = check(&[&path]);
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.errors);
    assert!(!ended.errors.contains("panicked"), "{}", ended.errors);
    assert!(ended.out.starts_with("FAILED "), "{}", ended.out);
    ended.out
}

fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

const HIXIE_76: (&str, &str) = ("hixie-76/draft-examples.json", "hixie-76/draft-overview");
const HIXIE_75: (&str, &str) = ("hixie-75/draft-examples.json", "hixie-75/draft-overview");

#[test]
fn the_corpus_is_good() {
    let ended = check(&["vectors"]);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.errors);
    assert_eq!(ended.errors, "");
    let mut lines: Vec<&str> = ended.out.lines().collect();
    assert!(lines.pop().unwrap().ends_with(": all good"));
    assert!(lines.len() > 50);
    for line in lines {
        assert!(
            line.starts_with("ok vectors/") && line.ends_with(" vectors")
                || line.ends_with(" vector"),
            "{line}"
        );
    }
}

#[test]
fn a_wrong_digest_is_named_by_octet_and_rule() {
    let text = changed(HIXIE_76.0, HIXIE_76.1, |vector| {
        *response(vector).last_mut().unwrap() = json!("8jKS'y:G*Co,WxaX");
    });
    contains(
        &printed("digest", &text),
        &[
            "hixie-76/draft-overview: server, whole: octet 222 of what the server sends differs",
            "in the digest (MD5 of both key numbers",
            r#"core   …"ample\r\n\r\n8jKS'y:G*Co,Wxa-" (223 octets)"#,
            r#"vector …"ample\r\n\r\n8jKS'y:G*Co,WxaX" (223 octets)"#,
            "client, whole: rejected with digest-mismatch after 223 octets",
        ],
    );
}

#[test]
fn the_mark_stands_below_the_octet_that_differs() {
    let text = changed(HIXIE_76.0, HIXIE_76.1, |vector| {
        *response(vector).last_mut().unwrap() = json!("8jKS'y:G*Co,WxaX");
    });
    let out = printed("mark", &text);
    let column = |line: &str, c: char| line.chars().position(|other| other == c);
    let vector = out.lines().find(|l| l.contains("vector …")).unwrap();
    let mark = out.lines().find(|l| l.trim() == "^").unwrap();
    assert_eq!(column(mark, '^'), column(vector, 'X'));
}

#[test]
fn a_missing_header_is_named() {
    let text = changed(HIXIE_76.0, HIXIE_76.1, |vector| {
        response(vector).remove(3);
    });
    contains(
        &printed("missing", &text),
        &[
            "octet 98 of what the server sends differs, the vector lacks Sec-WebSocket-Origin",
            "client, whole: rejected with origin-mismatch",
        ],
    );
}

#[test]
fn a_swapped_order_is_named() {
    let text = changed(HIXIE_75.0, HIXIE_75.1, |vector| response(vector).swap(1, 2));
    contains(
        &printed("swapped", &text),
        &[
            "octet 44 of what the server sends differs, the order of headers of hixie-75 is \
             Upgrade, Connection, ",
            "compare the first three lines octet by octet",
            "client, whole: rejected with response-lines",
        ],
    );
}

#[test]
fn a_wrong_message_and_a_wrong_result_are_named() {
    let (file, id) = ("rfc6455/rfc-examples.json", "rfc6455/rfc-text");
    let text = changed(file, id, |vector| {
        vector["expect"]["messages"][0]["data"] = json!("Hallo");
    });
    contains(
        &printed("message", &text),
        &[
            "message 1 differs at its octet 1",
            r#"core   "Hello""#,
            r#"vector "Hallo""#,
        ],
    );
    let text = changed(file, id, |vector| {
        vector["expect"]["server"] = json!({"result": "reject", "code": "bad-host"});
    });
    contains(
        &printed("verdict", &text),
        &["accepted, and bad-host was expected"],
    );
}

#[test]
fn an_unfinished_recording_is_named_and_no_failure() {
    let folder = Folder::new("unfinished");
    let text = changed(HIXIE_76.0, HIXIE_76.1, |vector| {
        vector["unfinished"] = json!(true);
        response(vector).pop();
    });
    let path = folder.put("it.json", text);
    let ended = check(&[&path]);
    assert_eq!(ended.code, 0, "{}", ended.out);
    contains(
        &ended.out,
        &["1 vector, 1 skipped", "draft-overview: unfinished: "],
    );
    let ended = check(&[&path, "--tap"]);
    contains(&ended.out, &["ok 1 - ", " # SKIP unfinished: "]);
}

#[test]
fn reports_have_their_shapes() {
    let folder = Folder::new("reports");
    let good = changed(HIXIE_76.0, HIXIE_76.1, |_| {});
    let wrong = changed(HIXIE_75.0, HIXIE_75.1, |vector| response(vector).swap(1, 2));
    let broken = "{\"format\": 1,\n \"x\u{202e}\u{9b}\": 2}";
    folder.put("a.json", good);
    folder.put("b.json", wrong);
    folder.put("c#.json", broken);
    let (folder_path, report) = (folder.path(""), folder.path("report.xml"));

    let ended = check(&[&folder_path, "--json", "--junit", &report]);
    assert_eq!(ended.code, 1);
    assert!(ended.out.bytes().all(|o| matches!(o, b'\n' | b' '..=b'~')));
    let lines: Vec<Value> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let results: Vec<&Value> = lines.iter().map(|line| &line["result"]).collect();
    assert_eq!(results, ["ok", "failed", "failed"]);
    assert_eq!(lines[0]["id"], HIXIE_76.1);
    assert_eq!(lines[0]["failures"], json!([]));
    assert_eq!(lines[1]["failures"].as_array().unwrap().len(), 2);
    let why = lines[2]["failures"][0].as_str().unwrap();
    assert!(
        why.starts_with("line 2, column 9: not a vector file: unknown field"),
        "{why}"
    );

    let xml = fs::read_to_string(&report).unwrap();
    contains(
        &xml,
        &[
            "<testsuites name=\"heirloom check\" tests=\"3\" skipped=\"0\" failures=\"1\"",
            "classname=\"check\"",
            "name=\"hixie-75/draft-overview\"",
            "<failure ",
            "octet 44 of what the server sends differs",
        ],
    );
    assert!(!xml.contains(['\u{202e}', '\u{9b}']));

    let ended = check(&[&folder_path, "--tap"]);
    assert_eq!(ended.code, 1);
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(lines[0], "TAP version 14");
    assert!(lines[1].starts_with("ok 1 - ") && lines[1].ends_with(HIXIE_76.1));
    assert!(lines[2].starts_with("not ok 2 - "));
    assert_eq!(lines[3..5], ["  ---", "  failures:"]);
    assert!(lines.contains(&"  ..."));
    contains(&ended.out, &["c\\#.json"]);
    assert_eq!(*lines.last().unwrap(), "1..3");

    let plain = check(&[&folder_path]);
    assert!(!plain.out.contains(['\u{202e}', '\u{9b}']), "{}", plain.out);
    contains(&plain.out, &["3 files, 2 vectors: 2 failed"]);
}

#[test]
fn wrong_usage_is_told_from_failure() {
    let folder = Folder::new("usage");
    let none = check(&[&folder.path("none.json")]);
    assert_eq!((none.code, none.out.as_str()), (2, ""));
    assert!(none.errors.contains("none.json: "));
    let empty = check(&[&folder.path("")]);
    assert_eq!(empty.code, 2);
    assert!(empty.errors.contains("there is no *.json in it"));
    let path = folder.put("a.json", changed(HIXIE_76.0, HIXIE_76.1, |_| {}));
    for other in ["--json", "--tap"] {
        assert_eq!(check(&["--fmt", other, &path]).code, 2);
    }
    let report = folder.path("no/folder/report.xml");
    let ended = check(&[&path, "--junit", &report]);
    assert_eq!(ended.code, 3);
    assert!(ended.errors.contains("cannot write "), "{}", ended.errors);
}

#[test]
fn what_is_no_vector_file_is_told_in_a_sentence() {
    let file = |steps: &str| {
        format!(
            "{{\"format\": 1, \"vectors\": [\n  {{\"id\": \"x/y\", \"version\": \"none\", \"source\": \
             {{\"kind\": \"derived\", \"ref\": \"-\"}}, \"steps\": [{steps}], \"expect\": {{}}}}\n]}}"
        )
    };
    let deep = format!("{{\"format\": 1, \"vectors\": {}", "[".repeat(100_000));
    let long = format!(
        "{{\"format\": 1, \"notes\": {{\"a\": \"{}\"}}, 7",
        "x".repeat(10_000_000)
    );
    let fills = [r#"{"from": "client", "fill": {"hex": "00", "times": 30000000}}"#; 3].join(", ");
    let cases: [(&str, String, &str); 12] = [
        (
            "empty",
            String::new(),
            "line 1, column 0: not a vector file: EOF",
        ),
        (
            "comma",
            "{\n  \"format\": 1,,\n".to_owned(),
            "line 2, column 15: not a vector file: ",
        ),
        (
            "format",
            r#"{"format": 2, "vectors": []}"#.to_owned(),
            "format 2 is not known; the only format is 1",
        ),
        (
            "none",
            r#"{"format": 1, "vectors": []}"#.to_owned(),
            "it has no vectors",
        ),
        ("deep", deep, "line 1, column 2"),
        ("long", long, "line 1, column 100000"),
        (
            "hex",
            file(r#"{"from": "client", "hex": "00 0g"}"#),
            "line 2, column 10: x/y: hex holds 'g' at character 5",
        ),
        (
            "half",
            file(r#"{"from": "client", "hex": "00 0"}"#),
            "hex holds half an octet at its end",
        ),
        (
            "latin",
            file(r#"{"from": "client", "text": ["\u0100"]}"#),
            "a text holds U+0100, but each character is one octet, U+0000 to U+00FF",
        ),
        (
            "fill",
            file(r#"{"from": "client", "fill": {"hex": "0000", "times": 18446744073709551615}}"#),
            "a fill is longer than 67108864 octets",
        ),
        (
            "fills",
            file(&fills),
            "x/y: it is longer than 67108864 octets",
        ),
        (
            "both",
            file(r#"{"from": "client", "hex": "", "end": "fin"}"#),
            "a step has one of",
        ),
    ];
    for (name, text, sentence) in cases {
        let out = printed(name, &text);
        assert!(
            out.contains(sentence),
            "{name}: {sentence:?} is not in\n{out}"
        );
        assert!(out.len() < 4000, "{name}: {}", out.len());
    }
}

#[test]
fn a_long_line_and_a_long_fill_are_read() {
    let folder = Folder::new("long");
    let text = changed(HIXIE_76.0, HIXIE_76.1, |vector| {
        vector["title"] = json!("x".repeat(10_000_000));
    });
    let path = folder.put("long.json", text);
    let ended = check(&[&path]);
    assert_eq!(ended.code, 0, "{}", &ended.out[..200]);
    let text = changed(HIXIE_76.0, HIXIE_76.1, |vector| {
        let fill = json!({"from": "client", "fill": {"hex": "00", "times": 60_000_000}});
        vector["steps"].as_array_mut().unwrap().push(fill);
    });
    let path = folder.put("fill.json", text);
    let ended = check(&[&path]);
    assert_eq!(ended.code, 1);
    assert!(ended.out.len() < 4000);
}

#[test]
fn every_file_of_the_corpus_is_canonical() {
    let ended = check(&["--fmt-check", "vectors"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, ""));
}

#[test]
fn fmt_rewrites_what_differs_and_nothing_else() {
    let folder = Folder::new("fmt");
    let corpus = fs::read_to_string("vectors/hixie-76/keys.json").unwrap();
    let value: Value = serde_json::from_str(&corpus).unwrap();
    // serde_json sorts keys, which is another order than the schema's.
    let shuffled = folder.put("shuffled.json", value.to_string());
    let kept = folder.put("kept.json", &corpus);
    let bad = folder.put("bad.json", "{}");
    let before = fs::metadata(&kept).unwrap().modified().unwrap();

    let ended = check(&["--fmt-check", &shuffled, &kept]);
    assert_eq!(ended.code, 1);
    assert_eq!(ended.out, format!("would rewrite {shuffled}\n"));
    assert_eq!(fs::read_to_string(&shuffled).unwrap(), value.to_string());

    let ended = check(&["--fmt", &folder.path("")]);
    assert_eq!(ended.code, 1, "a file that is none stays as it is");
    assert!(
        ended.errors.contains("bad.json: line 1, column 2: "),
        "{}",
        ended.errors
    );
    assert_eq!(ended.out, format!("rewritten {shuffled}\n"));
    assert_eq!(fs::read_to_string(&shuffled).unwrap(), corpus);
    assert_eq!(fs::read_to_string(&bad).unwrap(), "{}");
    assert_eq!(fs::metadata(&kept).unwrap().modified().unwrap(), before);
    assert_eq!(
        fs::read_dir(&folder.0).unwrap().count(),
        3,
        "nothing is left over"
    );

    let ended = check(&["--fmt", &shuffled, &kept]);
    assert_eq!((ended.code, ended.out.as_str()), (0, ""));
}

#[test]
fn the_canonical_form_has_the_same_content() {
    let text = r#"{"vectors": [{"expect": {}, "flags": ["b", "a"], "version": "none",
        "steps": [{"hex": "0A0b", "from": "client"}, {"from": "server", "text": []},
        {"text": ["\u007f\u0000é\b\f\/"], "from": "server", "after_ms": 7, "note": "😀"}],
        "id": "text", "source": {"ref": "-", "kind": "derived"}}],
        "notes": {"b": "\u2028", "a": "steps"}, "format": 1}"#;
    let canonical = File::read(text.as_bytes()).unwrap().to_canonical();
    let want = r#"{
  "format": 1,
  "notes": {"a": "steps", "b": "\u2028"},
  "vectors": [
    {
      "id": "text",
      "version": "none",
      "source": {"kind": "derived", "ref": "-"},
      "flags": ["a", "b"],
      "steps": [
        {"from": "client", "hex": "0a 0b"},
        {"from": "server", "text": []},
        {
          "from": "server",
          "text": [
            "\u007f\u0000\u00e9\u0008\u000c/"
          ],
          "after_ms": 7,
          "note": "\ud83d\ude00"
        }
      ],
      "expect": {}
    }
  ]
}
"#;
    assert_eq!(canonical, want);
    let again = File::read(canonical.as_bytes()).unwrap().to_canonical();
    assert_eq!(again, want);
}

#[test]
fn a_line_of_a_hundred_columns_stays_one() {
    let file = |n: usize| {
        let notes = json!({"a": "x".repeat(n)});
        let text = json!({"format": 1, "notes": notes, "vectors": []}).to_string();
        File::read(text.as_bytes()).unwrap().to_canonical()
    };
    // Two of indent, a colon and a space, and the comma after it.
    let framing = r#"  "notes": {"a": ""},"#.len();
    let fits = file(100 - framing);
    assert_eq!(fits.lines().map(str::len).max(), Some(100));
    assert_eq!(fits.lines().count(), 5);
    assert_eq!(file(101 - framing).lines().count(), 7);
}

#[test]
fn the_examples_of_the_guide_are_read_and_good() {
    let guide = fs::read_to_string("docs/vectors.md").unwrap();
    let mut examples = 0;
    let folder = Folder::new("guide");
    let schema = serde_json::from_slice(&fs::read("vectors/schema.json").unwrap()).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    for block in guide.split("```json\n").skip(1) {
        examples += 1;
        let text = block.split("```").next().unwrap();
        let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        // An example is a file or one vector of it.
        let file = if value.get("format").is_some() {
            value
        } else {
            json!({"format": 1, "vectors": [value]})
        };
        if let Err(error) = schema.validate(&file) {
            panic!("{error} at {}\n{text}", error.instance_path());
        }
        let file =
            File::read(file.to_string().as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"));
        folder.put(&format!("{examples}.json"), file.to_canonical());
    }
    assert!(examples > 5);
    let ended = check(&[&folder.path("")]);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.errors);
}
