//! The files of cases: which cases they have, and what is wrong in a wrong file.

use heirloom::conform::{CaseSet, Pattern, group_of, read_cases};

fn error_of(json: &str) -> String {
    match read_cases(json.as_bytes()) {
        Ok(set) => panic!("it was read: {set:?}"),
        Err(error) => error.to_string(),
    }
}

/// A file of one entry, which is the ordinary case with these keys on top.
fn file_with(keys: &str) -> String {
    let base = r#""title":"t","level":"must","section":"s","steps":[],
        "outcomes":[{"verdict":"OK"}],"close":{"by":"tester","codes":[1000],"clean":true}"#;
    let id = match keys.contains("\"id\"") {
        true => "",
        false => "\"id\":\"1.1.1\",",
    };
    format!(r#"{{"format":1,"defaults":{{{base}}},"cases":[{{{id}{keys}}}]}}"#)
}

/// How many cases each group of Autobahn|Testsuite 25.10 has.
const KNOWN: [(&str, usize); 57] = [
    ("1.1", 8),
    ("1.2", 8),
    ("2", 11),
    ("3", 7),
    ("4.1", 5),
    ("4.2", 5),
    ("5", 20),
    ("6.1", 3),
    ("6.2", 4),
    ("6.3", 2),
    ("6.4", 4),
    ("6.5", 5),
    ("6.6", 11),
    ("6.7", 4),
    ("6.8", 2),
    ("6.9", 4),
    ("6.10", 3),
    ("6.11", 5),
    ("6.12", 8),
    ("6.13", 5),
    ("6.14", 10),
    ("6.15", 1),
    ("6.16", 3),
    ("6.17", 5),
    ("6.18", 5),
    ("6.19", 5),
    ("6.20", 7),
    ("6.21", 8),
    ("6.22", 34),
    ("6.23", 7),
    ("7.1", 6),
    ("7.3", 6),
    ("7.5", 1),
    ("7.7", 13),
    ("7.9", 9),
    ("7.13", 2),
    ("9.1", 6),
    ("9.2", 6),
    ("9.3", 9),
    ("9.4", 9),
    ("9.5", 6),
    ("9.6", 6),
    ("9.7", 6),
    ("9.8", 6),
    ("10.1", 1),
    ("12.1", 18),
    ("12.2", 18),
    ("12.3", 18),
    ("12.4", 18),
    ("12.5", 18),
    ("13.1", 18),
    ("13.2", 18),
    ("13.3", 18),
    ("13.4", 18),
    ("13.5", 18),
    ("13.6", 18),
    ("13.7", 18),
];

#[test]
fn all_cases_of_the_known_suite_are_there_under_their_ids_and_in_its_order() {
    let wanted: Vec<String> = KNOWN
        .iter()
        .flat_map(|(group, count)| (1..=*count).map(move |n| format!("{group}.{n}")))
        .collect();
    assert_eq!(wanted.len(), 517);
    let set = CaseSet::built_in();
    let first: Vec<_> = set.cases.iter().map(|c| c.id.as_str()).take(517).collect();
    assert_eq!(first, wanted);
    let others = set.cases.get(517..).unwrap();
    assert!(others.iter().all(|case| case.id.contains('/')));
}

#[test]
fn each_case_has_a_title_of_its_own_a_section_and_a_titled_group() {
    let set = CaseSet::built_in();
    let mut titles = std::collections::BTreeSet::new();
    for case in &set.cases {
        let group = group_of(&case.id);
        assert!(set.groups.contains_key(group), "{}: group {group}", case.id);
        let chapter = group.split('.').next().unwrap();
        assert!(
            set.groups.contains_key(chapter),
            "{}: chapter {chapter}",
            case.id
        );
        let title = (group, case.title.as_str());
        assert!(
            titles.insert(title),
            "{}: {} comes twice",
            case.id,
            case.title
        );
        let names_a_document =
            case.section.starts_with("RFC ") || case.section.starts_with("draft-");
        assert!(names_a_document, "{}: {}", case.id, case.section);
        assert!(
            !case.title.contains(['{', '}']),
            "{}: {}",
            case.id,
            case.title
        );
    }
    let used: std::collections::BTreeSet<_> = set.cases.iter().map(|c| group_of(&c.id)).collect();
    for group in set.groups.keys() {
        let is_used = used
            .iter()
            .any(|u| u == group || u.split('.').next() == Some(group));
        assert!(is_used, "no case is in the group {group}");
    }
}

#[test]
fn a_family_is_one_case_for_each_member() {
    let file = file_with(
        r#""each":[[{"kind":"text"},{"kind":"binary"}],[{"n":1},{"n":2},{"n":3}]],
           "id":"x/{kind}-{n}","title":"{n} octets of {kind}",
           "steps":[{"message":{"kind":"{kind}","fill":{"hex":"61","times":"{n}"}}}]"#,
    );
    let set = read_cases(file.as_bytes()).unwrap();
    let ids: Vec<_> = set.cases.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "x/binary-1",
            "x/binary-2",
            "x/binary-3",
            "x/text-1",
            "x/text-2",
            "x/text-3"
        ]
    );
    assert_eq!(set.cases[1].title, "2 octets of binary");
    let message = set.cases[2].steps[0].message.as_ref().unwrap();
    assert_eq!(message.content.fill.as_ref().unwrap().times, 3);
}

#[test]
fn a_wrong_file_is_refused_with_the_case_and_the_reason() {
    for (keys, wanted) in [
        (r#""title":"{x}""#, "1.1.1: no parameter is named \"x\""),
        (
            r#""with":{"x":1}"#,
            "1.1.1: the parameter \"x\" is not used",
        ),
        (
            r#""with":{"host":1}"#,
            "1.1.1: no parameter can be named \"host\"",
        ),
        (r#""each":[]"#, "1.1.1: each has no members"),
        (
            r#""each":[{"n":1},{"n":2}],"title":"t {n}""#,
            "1.1.1: another case has the same id",
        ),
        (
            r#""each":[{"n":1}],"with":{"n":2},"title":"t {n}""#,
            "1.1.1: the parameter \"n\" is given twice",
        ),
        (
            r#""each":[[{"n":1}],[{"n":2}]],"title":"t {n}""#,
            "1.1.1: the parameter \"n\" is given twice",
        ),
        (r#""each":7"#, "1.1.1: each is no list"),
        (
            r#""with":{"x":[]},"title":"a {x}""#,
            "1.1.1: the parameter \"x\" is no text and no number",
        ),
        (r#""title":"""#, "1.1.1: it has no title"),
        (r#""section":"""#, "1.1.1: it has no section"),
        (
            r#""version":"rfc6456""#,
            "1.1.1: no version is named \"rfc6456\"",
        ),
        (
            r#""version":"hybi-00""#,
            "1.1.1: no version is named \"hybi-00\"",
        ),
        (r#""id":"a b""#, "a b: an id is made of"),
        (r#""unknown":1"#, "1.1.1: unknown field `unknown`"),
        (r#""deadline_ms":0"#, "1.1.1: its deadline is not"),
        (r#""outcomes":[]"#, "1.1.1: its first outcome is not OK"),
        (
            r#""outcomes":[{"verdict":"FAILED"}]"#,
            "1.1.1: outcome 1: its verdict is neither",
        ),
        (
            r#""outcomes":[{"verdict":"OK"},{"verdict":"NON-STRICT"}]"#,
            "1.1.1: outcome 2: a NON-STRICT outcome needs the level",
        ),
        (
            r#""outcomes":[{"verdict":"OK","events":[{"kind":"mark"}]}]"#,
            "1.1.1: outcome 1: a mark has no name",
        ),
        (
            r#""outcomes":[{"verdict":"OK","events":[{"kind":"mark","mark":"A"}]}]"#,
            "1.1.1: outcome 1: no step makes the mark",
        ),
        (
            r#""outcomes":[{"verdict":"OK","events":[{"kind":"text","data":"a","hex":"61"}]}]"#,
            "1.1.1: outcome 1: a payload has one of",
        ),
        (
            r#""outcomes":[{"verdict":"OK","events":[{"kind":"text","dta":"a"}]}]"#,
            "1.1.1: unknown field `dta`",
        ),
        (
            r#""outcomes":[{"verdict":"OK","ignore":["pong"],"events":[{"kind":"pong"}]}]"#,
            "1.1.1: outcome 1: it expects what it ignores",
        ),
        (
            r#""steps":[{}]"#,
            "1.1.1: step 1: it does not do exactly one thing",
        ),
        (
            r#""steps":[{"ping":{},"pong":{}}]"#,
            "1.1.1: step 1: it does not do exactly one thing",
        ),
        (
            r#""steps":[{"ping":{"hex":"6"}}]"#,
            "1.1.1: step 1: hex holds half an octet",
        ),
        (
            r#""steps":[{"ping":{"fill":{"hex":"61","times":126}}}]"#,
            "1.1.1: step 1: a ping or pong has at most 125 octets",
        ),
        (
            r#""steps":[{"ping":{},"mark":"A"}]"#,
            "1.1.1: step 1: a mark needs wait_ms",
        ),
        (
            r#""steps":[{"wait_ms":9,"mark":"A"}]"#,
            "1.1.1: no outcome expects the mark \"A\"",
        ),
        (
            r#""steps":[{"ping":{},"chop":0}]"#,
            "1.1.1: step 1: chop is no number",
        ),
        (
            r#""steps":[{"ping":{},"repeat":100001}]"#,
            "1.1.1: step 1: repeat is not",
        ),
        (
            r#""steps":[{"message":{"kind":"ping"}}]"#,
            "1.1.1: step 1: a message is text or binary",
        ),
        (
            r#""steps":[{"message":{"kind":"text","fragmnt":1}}]"#,
            "1.1.1: unknown field `fragmnt`",
        ),
        (
            r#""steps":[{"message":{"kind":"text","fill":{"hex":"61 62","times":33554433}}}]"#,
            "1.1.1: step 1: a fill is longer",
        ),
        (
            r#""steps":[{"message":{"kind":"text","generated":{"like":"text","octets":67108865}}}]"#,
            "1.1.1: step 1: a payload is longer",
        ),
        (
            r#""steps":[{"message":{"kind":"text","generated":{"like":"wood","octets":1}}}]"#,
            "1.1.1: step 1: nothing is generated like \"wood\"",
        ),
        (
            r#""steps":[{"message":{"kind":"text","fill":{"hex":"61","times":700}},"repeat":99999}]"#,
            "1.1.1: step 1: it sends more than",
        ),
        (
            r#""steps":[{"frame":{"opcode":16}}]"#,
            "1.1.1: step 1: an opcode is 0 to 15",
        ),
        (
            r#""steps":[{"frame":{"opcode":1,"length":126,"length_octets":0}}]"#,
            "1.1.1: step 1: 126 does not fit in 0 octets",
        ),
        (
            r#""steps":[{"frame":{"opcode":1,"length_octets":4}}]"#,
            "1.1.1: step 1: length_octets is 0, 2 or 8",
        ),
        (
            r#""steps":[{"more":{"data":"a"}}]"#,
            "1.1.1: step 1: more follows no frame",
        ),
        (
            r#""steps":[{"frame":{"opcode":1,"length":1}},{"more":{"data":"ab"}}]"#,
            "1.1.1: step 2: more is longer",
        ),
        (
            r#""steps":[{"close":{"code":1000}}]"#,
            "1.1.1: close: a step closes, so automatic",
        ),
        (
            r#""steps":[{"close":{}}],"close":{"by":"peer","clean":false}"#,
            "1.1.1: close: a step closes, but the peer must",
        ),
        (
            r#""close":{"by":"tester","clean":true,"automatic":false}"#,
            "1.1.1: close: the tester must close, but no step",
        ),
        (
            r#""close":{"by":"tester","clean":true}"#,
            "1.1.1: close: the tester closes with the first code",
        ),
        (
            r#""version":"hixie-75","steps":[{"ping":{}}]"#,
            "1.1.1: step 1: hixie-75 has no pings",
        ),
        (
            r#""version":"hixie-76","steps":[{"frame":{"opcode":1}}]"#,
            "1.1.1: step 1: hixie-76 has other frames",
        ),
        (r#""handshake":{}"#, "1.1.1: handshake: it has neither"),
        (
            r#""handshake":{"request":["GET / HTTP/1.1\r\n\r\n"]}"#,
            "1.1.1: handshake: it is for a server",
        ),
        (
            r#""tests":"server","handshake":{"request":[],"response":[]}"#,
            "1.1.1: handshake: it has a request and a response",
        ),
        (
            r#""tests":"server","handshake":{"request":[],"refused":true},"steps":[{"ping":{}}]"#,
            "1.1.1: handshake: where it is refused",
        ),
        (
            r#""compression":{"offer":"permessage-deflate","accept":[]}"#,
            "1.1.1: compression: it accepts nothing",
        ),
        (
            r#""compression":{"offer":"permessage-deflate","accept":[{"client_max_window_bits":7}]}"#,
            "1.1.1: compression: a window has 8 to 15",
        ),
    ] {
        let error = error_of(&file_with(keys));
        assert!(
            error.starts_with(wanted),
            "{keys}\n   {error}\nnot {wanted}"
        );
    }
}

#[test]
fn what_is_wrong_outside_of_the_cases_is_named() {
    assert_eq!(
        error_of(r#"{"format":2,"cases":[]}"#),
        "format 2 is not known; the only format is 1"
    );
    assert_eq!(
        error_of(r#"{"format":1,"with":{"x":1},"cases":[]}"#),
        "with: \"x\" is not used"
    );
    assert!(error_of("[]").starts_with("not a file of cases: "));
    assert!(error_of(r#"{"format":1,"cases":[],"more":1}"#).contains("unknown field `more`"));
    assert!(
        error_of(r#"{"format":1,"cases":[{"title":"a"}]}"#).starts_with("case 1: missing field")
    );
}

#[test]
fn a_file_that_grows_without_bound_is_refused() {
    let many = |n: usize| {
        let members: Vec<_> = (0..n).map(|i| format!("{{\"p{n}\":{i}}}")).collect();
        format!("[{}]", members.join(","))
    };
    let file = file_with(&format!(
        r#""each":[{},{},{}],"id":"{{p40}}.{{p50}}.{{p60}}""#,
        many(40),
        many(50),
        many(60)
    ));
    assert!(error_of(&file).contains("more than 4096 cases"));
    let long = "a".repeat(1 << 20);
    let file = format!(
        r#"{{"format":1,"with":{{"long":"{long}"}},"defaults":{{"title":"{}"}},"cases":[{{"id":"1"}}]}}"#,
        "{long} ".repeat(100)
    );
    assert!(error_of(&file).contains("octets"));
}

#[test]
fn patterns_match_whole_parts() {
    for (pattern, yes, no) in [
        (
            "6",
            &["6.1.1", "6.22.34", "6"][..],
            &["16.1.1", "1.6.1"][..],
        ),
        ("6.*", &["6.1.1", "6.22.34"], &["16.1.1"]),
        ("1.1", &["1.1.1", "1.1.8"], &["1.10.1", "11.1"]),
        ("1.1.1", &["1.1.1"], &["1.1.10", "1.1.2"]),
        ("12.*.3", &["12.1.3", "12.5.3"], &["12.1.13", "12.1.4"]),
        ("9.?.1", &["9.1.1"], &["9.10.1"]),
        ("hixie-76", &["hixie-76/echo"], &["hixie-75/echo"]),
        ("hixie-76/*", &["hixie-76/echo"], &["hixie-75/echo"]),
        (
            "*/echo*",
            &["hixie-76/echo-text", "rfc6455/echo"],
            &["1.1.1"],
        ),
        (" * ", &["1.1.1", "a/b"], &[]),
        ("*a*b", &["xaayb"], &["xaaybc"]),
    ] {
        let pattern: Pattern = pattern.parse().unwrap();
        for id in yes {
            assert!(pattern.matches(id), "{pattern:?} {id}");
        }
        for id in no {
            assert!(!pattern.matches(id), "{pattern:?} {id}");
        }
    }
    assert!(" ".parse::<Pattern>().is_err());
    let stars: Pattern = format!("{}b", "*a".repeat(200)).parse().unwrap();
    assert!(!stars.matches(&"a".repeat(20_000)));
}

#[test]
fn a_group_is_a_name_without_its_last_part() {
    for (id, group) in [
        ("6.4.1", "6.4"),
        ("2.10", "2"),
        ("hixie-76/echo-text", "hixie-76"),
        ("a", "a"),
    ] {
        assert_eq!(group_of(id), group);
    }
}

fn schema() -> jsonschema::Validator {
    let schema = std::fs::read("conform/schema.json").unwrap();
    jsonschema::validator_for(&serde_json::from_slice(&schema).unwrap()).unwrap()
}

#[test]
fn every_file_fits_the_schema_and_is_built_in() {
    let schema = schema();
    let mut read = CaseSet::default();
    for entry in std::fs::read_dir("conform").unwrap() {
        let path = entry.unwrap().path();
        let is_json = path.extension().is_some_and(|e| e == "json");
        if !is_json || path.ends_with("schema.json") {
            continue;
        }
        let json = std::fs::read(&path).unwrap();
        let file = serde_json::from_slice(&json).unwrap();
        if let Err(error) = schema.validate(&file) {
            panic!("{}: {error} at {}", path.display(), error.instance_path());
        }
        let set = read_cases(&json).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        read.add(set).unwrap();
    }
    assert_eq!(read, CaseSet::built_in());
}

#[test]
fn the_schema_refuses_what_the_program_refuses() {
    let schema = schema();
    for wrong in [
        r#""unknown":1"#,
        r#""title":"""#,
        r#""section":"""#,
        r#""version":"rfc6456""#,
        r#""with":{"host":1}"#,
        r#""with":{"Upper":1},"title":"{Upper}""#,
        r#""each":[]"#,
        r#""each":7"#,
        r#""deadline_ms":0"#,
        r#""outcomes":[]"#,
        r#""outcomes":[{"verdict":"FAILED"}]"#,
        r#""outcomes":[{"verdict":"OK"},{"verdict":"NON-STRICT"}]"#,
        r#""steps":[{}]"#,
        r#""steps":[{"ping":{},"pong":{}}]"#,
        r#""steps":[{"ping":{"data":"a","hex":"61"}}]"#,
        r#""steps":[{"ping":{"hex":"6"}}]"#,
        r#""steps":[{"ping":{},"mark":"A"}]"#,
        r#""steps":[{"message":{"kind":"ping"}}]"#,
        r#""steps":[{"message":{"kind":"text","fragmnt":1}}]"#,
        r#""steps":[{"frame":{"opcode":16}}]"#,
        r#""steps":[{"frame":{"opcode":1,"length_octets":4}}]"#,
        r#""steps":[{"ping":{},"repeat":100001}]"#,
        r#""handshake":{}"#,
        r#""handshake":{"request":[],"response":[]}"#,
        r#""compression":{"offer":"permessage-deflate","accept":[]}"#,
        r#""close":{"by":"nobody","clean":true}"#,
    ] {
        let file = file_with(wrong);
        let value = serde_json::from_str(&file).unwrap();
        assert!(!schema.is_valid(&value), "the schema takes {wrong}");
        assert!(
            read_cases(file.as_bytes()).is_err(),
            "the program takes {wrong}"
        );
    }
    let right = file_with(r#""title":"a""#);
    assert!(schema.is_valid(&serde_json::from_str(&right).unwrap()));
}

#[test]
fn the_schema_knows_the_versions_of_the_table() {
    let schema: serde_json::Value =
        serde_json::from_slice(&std::fs::read("conform/schema.json").unwrap()).unwrap();
    let names = &schema["$defs"]["entry"]["properties"]["version"]["anyOf"][0]["enum"];
    let table: Vec<&str> = heirloom::VERSIONS.iter().map(|v| v.name).collect();
    assert_eq!(*names, serde_json::json!(table));
}
