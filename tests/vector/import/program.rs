//! Files that are cut, damaged or too large, and the program that imports them.

use super::*;

#[test]
fn texts_cut_off_anywhere_give_an_error_or_less() {
    let har = serde_json::to_vec(&har()).unwrap();
    for text in [SCRIPT.as_bytes(), &har] {
        for end in 0..text.len() {
            let _ = of(&text[..end]);
        }
    }
}

#[test]
fn what_is_too_long_is_cut_or_refused() {
    // More steps than a vector may have: the start is kept.
    let mut want = example();
    want.steps.truncate(2);
    let mut sent = segments(&want.steps, 4000, [5, 6]);
    let frame = Segment {
        seq: sent.last().unwrap().seq + sent.last().unwrap().payload.len() as u32,
        payload: b"\xff".to_vec(),
        ..sent.last().unwrap().clone()
    };
    for n in 0..MAX_STEPS as u32 {
        let seq = frame.seq + n;
        sent.push(Segment {
            seq,
            ..frame.clone()
        });
    }
    let imported = of(&capture(&sent, PLAIN)).unwrap();
    let vector = &imported.file.vectors[0];
    assert_eq!(vector.steps.len(), MAX_STEPS);
    assert!(vector.unfinished, "{:?}", imported.remarks);

    // Two connections that have not room together: the first is kept.
    let long = Step::of(Side::Server, &vec![b'x'; MAX_OCTETS / 2]);
    want.steps.push(long);
    let mut sent = segments(&want.steps, 4000, [5, 6]);
    sent.extend(segments(&want.steps, 4001, [5, 6]));
    let imported = of(&capture(&sent, PLAIN)).unwrap();
    assert_eq!(imported.file.vectors.len(), 1);
    let remarks = imported.remarks.join("\n");
    assert!(
        remarks.contains("with it the file would have more than"),
        "{remarks}"
    );

    let text = [b"{".to_vec(), vec![b' '; MAX_TEXT_OCTETS]].concat();
    assert_eq!(of(&text).unwrap_err(), Unimportable::TextTooLong);
}

fn temporary(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("import-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_program_writes_to_stdout_a_file_or_a_folder() {
    let folder = temporary("program");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let mut sent = segments(&example().steps, 4000, [5, 6]);
    sent.extend(segments(&example().steps, 4001, [5, 6]));
    fs::write(path("it.bin"), capture(&sent, PLAIN)).unwrap();

    let ended = run(&["import", &path("it.bin")]);
    assert_eq!(ended.code, Some(0), "{}", ended.talk);
    let file = File::read(ended.out.as_bytes()).unwrap();
    assert_eq!(file.vectors.len(), 2);
    assert_eq!(file.to_canonical(), ended.out);

    let to_file = run(&["import", &path("it.bin"), "--out", &path("it.json")]);
    assert_eq!((to_file.code, to_file.out.as_str()), (Some(0), ""));
    assert_eq!(fs::read_to_string(path("it.json")).unwrap(), ended.out);

    let to_folder = run(&["import", &path("it.bin"), "--out", &path("new/")]);
    assert_eq!(to_folder.code, Some(0), "{}", to_folder.talk);
    for name in ["new/hixie-76-it-1.json", "new/hixie-76-it-2.json"] {
        File::read(&fs::read(path(name)).unwrap()).unwrap();
    }
}

#[test]
#[cfg(unix)]
fn the_program_overwrites_nothing_follows_no_link_and_keeps_what_it_writes_private() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = temporary("private");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let mut sent = segments(&example().steps, 4000, [5, 6]);
    sent.extend(segments(&example().steps, 4001, [5, 6]));
    fs::write(path("it.bin"), capture(&sent, PLAIN)).unwrap();
    let import = |out: &str| run(&["import", &path("it.bin"), "--out", &path(out)]);

    assert_eq!(import("new.json").code, Some(0));
    assert_eq!(import("new/").code, Some(0));
    for name in [
        "new.json",
        "new/hixie-76-it-1.json",
        "new/hixie-76-it-2.json",
    ] {
        let mode = fs::metadata(path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }

    fs::write(path("taken.json"), "mine").unwrap();
    symlink(path("taken.json"), path("link.json")).unwrap();
    symlink(path("nowhere.json"), path("dangling.json")).unwrap();
    for out in ["taken.json", "link.json", "dangling.json"] {
        let ended = import(out);
        assert_eq!(ended.code, Some(2), "{out}: {}", ended.talk);
        assert!(ended.talk.contains("cannot write"), "{}", ended.talk);
    }
    assert_eq!(fs::read_to_string(path("taken.json")).unwrap(), "mine");
    assert!(!folder.join("nowhere.json").exists());

    // The second name is taken: not even the first is written.
    fs::create_dir(path("half")).unwrap();
    fs::write(path("half/hixie-76-it-2.json"), "mine").unwrap();
    assert_eq!(import("half").code, Some(2));
    assert!(!folder.join("half/hixie-76-it-1.json").exists());
    assert_eq!(
        fs::read_to_string(path("half/hixie-76-it-2.json")).unwrap(),
        "mine"
    );
}

#[test]
fn the_program_names_what_is_wrong() {
    let folder = temporary("wrong");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let missing = run(&["import", &path("nothing.pcap")]);
    assert_eq!(missing.code, Some(2));
    assert!(missing.talk.contains("cannot read"), "{}", missing.talk);

    for (name, octets, want) in [
        ("empty", b"".as_slice(), "it is empty"),
        (
            "other",
            b"\x7fELF",
            "offset 0: it is not a pcap, pcapng, HAR or k3po script",
        ),
        (
            "short.pcap",
            b"\xd4\xc3\xb2\xa1\x02",
            "offset 5: the file ends inside the head",
        ),
        ("s.rpt", b"\nconnect http://a/\n", "line 2: "),
    ] {
        fs::write(path(name), octets).unwrap();
        let ended = run(&["import", &path(name)]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{name}");
        assert!(ended.talk.contains(want), "{name}: {}", ended.talk);
        assert!(ended.talk.contains(&path(name)), "{name}: {}", ended.talk);
    }

    fs::write(
        path("it"),
        capture(&segments(&example().steps, 4000, [5, 6]), PLAIN),
    )
    .unwrap();
    let onto = run(&["import", &path("it"), "--out", &path("it")]);
    assert_eq!(onto.code, Some(2), "{}", onto.talk);
    let other = run(&["import", &path("it"), "--port", "81"]);
    assert_eq!(other.code, Some(1));
    assert!(
        other.talk.contains("other ports (--port)"),
        "{}",
        other.talk
    );
    assert_eq!(run(&["import", &path("it"), "--port", "80"]).code, Some(0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_octets_make_it_panic(
        start in prop_oneof![
            Just(&b""[..]), Just(&b"\xa1\xb2\xc3\xd4"[..]), Just(&b"\x4d\x3c\xb2\xa1"[..]),
            Just(&b"\x0a\x0d\x0d\x0a"[..]),
            Just(&b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x1c\0\0\0"[..]),
            Just(&b"{\"log\":"[..]), Just(&b"connect tcp://a\n"[..]),
        ],
        octets in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let _ = of(&[start, &octets].concat());
    }

    #[test]
    fn no_script_makes_it_panic(words in proptest::collection::vec(
        prop_oneof![
            Just("connect tcp://a\n".to_owned()), Just("accept".to_owned()), Just("write".to_owned()),
            Just("read".to_owned()), Just("accepted".to_owned()), Just("property".to_owned()),
            Just("\"GET / HTTP/1.1\\r\\nUpgrade: websocket\\r\\n\\r\\n\"".to_owned()),
            Just("[0xff 0x00]".to_owned()), Just("${a}".to_owned()), Just("a".to_owned()),
            Just("close".to_owned()), Just("closed".to_owned()), Just("notify".to_owned()), ".{0,6}",
        ], 0..40)
    ) {
        let _ = of(words.join(" ").as_bytes());
    }

    #[test]
    fn no_damaged_capture_makes_it_panic(
        format in 0..FORMATS.len(),
        link in 0..LINKS.len(),
        six in any::<bool>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..12),
    ) {
        let look = Look { link: LINKS[link], format: FORMATS[format], six };
        let mut file = capture(&segments(&example().steps, 4000, [u32::MAX - 40, 6]), look);
        for (at, octet, how) in damage {
            let at = at.index(file.len());
            match how {
                0 => file[at] = octet,
                1 => file[at] ^= 1 << (octet % 8),
                2 => file.truncate(at.max(40)),
                _ => { file.remove(at); }
            }
        }
        if let Ok(imported) = of(&file) {
            // Whatever came of it can be read and played.
            let text = imported.file.to_canonical();
            let file = File::read(text.as_bytes()).unwrap();
            for vector in &file.vectors {
                for side in [Side::Server, Side::Client] {
                    play(vector, side, Split::Whole).unwrap();
                }
            }
        }
    }
}
