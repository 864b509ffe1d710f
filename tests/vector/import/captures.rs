//! Captures: whatever happens to their segments, the same octets come back.

use heirloom::vector::Conclusion;

use super::*;

fn is_accepted(conclusion: Option<&Conclusion>) -> bool {
    conclusion.is_some_and(|c| c.result == ExpectedResult::Accept)
}

#[test]
fn every_vector_comes_back_from_a_capture() {
    let (mut imported, mut held) = (0, 0);
    for vector in vectors() {
        if sent(&vector, Side::Client).len() + sent(&vector, Side::Server).len() > 100_000 {
            continue;
        }
        let file = capture(&segments(&vector.steps, 4000, [1, 2]), PLAIN);
        let back = match of(&file) {
            Ok(back) => back.file.vectors.into_iter().next().unwrap(),
            Err(Unimportable::Nothing(_)) => continue,
            Err(error) => panic!("{}: {error}", vector.id),
        };
        imported += 1;
        assert_eq!(both(&back), both(&vector), "{}", vector.id);
        // What the corpus holds both sides to, the import finds by itself.
        let accepts = |side| is_accepted(vector.expect.of(side));
        let answered = vector.steps.iter().any(|step| step.from == Side::Server);
        if accepts(Side::Server) && accepts(Side::Client) && answered && !vector.secure {
            held += 1;
            let (want, got) = (&vector.expect, &back.expect);
            // Both accept, which is all that a conversation shows.
            assert!(is_accepted(got.server.as_ref()), "{}", vector.id);
            assert!(is_accepted(got.client.as_ref()), "{}", vector.id);
            for from in [Side::Client, Side::Server] {
                let received = |expect: &Expect| {
                    let own = expect.messages.iter().filter(|m| m.from == from);
                    own.map(|m| (m.kind, m.octets().unwrap()))
                        .collect::<Vec<_>>()
                };
                assert_eq!(received(got), received(want), "{}", vector.id);
            }
            assert_eq!(got.subprotocol, want.subprotocol, "{}", vector.id);
            assert_eq!(got.extensions, want.extensions, "{}", vector.id);
            let detected = want.detected.as_ref().unwrap_or(&vector.version);
            assert_eq!(got.detected.as_ref(), Some(detected), "{}", vector.id);
        }
    }
    assert!(
        imported > 800 && held > 100,
        "{imported} imported, {held} held"
    );
}

#[test]
fn every_link_and_format_gives_the_same() {
    let want = example();
    let segments = segments(&want.steps, 4000, [7, 9]);
    let first = one(&capture(&segments, PLAIN));
    assert_eq!(both(&first), both(&want));
    assert!(!first.unfinished);
    assert_eq!(first.source.date.as_deref(), Some("2010-06-01"));
    assert_eq!(first.source.timing.as_deref(), Some("recorded"));
    assert_eq!(first.id, "hixie-76/a-capture-1");
    let waits = |v: &Vector| v.steps.iter().map(|s| s.after_ms).collect::<Vec<_>>();
    for link in LINKS {
        for format in FORMATS {
            for six in [false, true] {
                let look = Look { link, format, six };
                let vector = one(&capture(&segments, look));
                assert_eq!(both(&vector), both(&want), "{look:?}");
                assert_eq!(waits(&vector), waits(&first), "{look:?}");
                assert_eq!(vector.expect.messages.len(), 2, "{look:?}");
            }
        }
    }
    assert!(waits(&first).contains(&Some(1500)), "{:?}", waits(&first));
}

#[test]
fn what_is_imported_plays_at_every_cut_and_fits_the_schema() {
    let schema = fs::read("vectors/schema.json").unwrap();
    let schema = serde_json::from_slice(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let file = of(&capture(&segments(&example().steps, 4000, [7, 9]), PLAIN))
        .unwrap()
        .file;
    let text = file.to_canonical();
    validator
        .validate(&serde_json::from_str(&text).unwrap())
        .unwrap();
    let vector = &File::read(text.as_bytes()).unwrap().vectors[0];
    for side in [Side::Server, Side::Client] {
        assert!(vector.expect.of(side).is_some(), "{side:?}");
        for cut in splits(vector, side) {
            play(vector, side, cut).unwrap();
        }
    }
}

#[test]
fn segments_may_come_in_any_order_and_often() {
    let want = example();
    for seed in 0..200 {
        let mut random = Seeded(seed);
        // Numbers that wrap around inside the conversation, on either side.
        let first_seqs = [
            u32::MAX - (seed as u32 % 400),
            (seed as u32 % 90).wrapping_sub(60),
        ];
        let whole = segments(&want.steps, 4000, first_seqs);
        let mut sent = slice(&whole, [1, 2, 7, 50, 100_000][random.below(5)]);
        // Retransmissions that overlap what comes before and after them.
        for segment in whole.iter().filter(|s| !s.payload.is_empty()) {
            let from = random.below(segment.payload.len());
            let to = from + 1 + random.below(segment.payload.len() - from);
            sent.push(Segment {
                seq: segment.seq.wrapping_add(from as u32),
                payload: segment.payload[from..to].to_vec(),
                flags: ACK,
                ..segment.clone()
            });
        }
        let again = sent.clone();
        sent.extend(again);
        random.shuffle(&mut sent);
        let vector = one(&capture(&sent, PLAIN));
        assert_eq!(both(&vector), both(&want), "seed {seed}");
        assert!(!vector.unfinished, "seed {seed}");
        // The order of the conversation comes from the acknowledgements.
        assert!(vector.expect.server.is_some(), "seed {seed}");
        assert!(vector.expect.client.is_some(), "seed {seed}");
        assert_eq!(vector.expect.messages.len(), 2, "seed {seed}");
    }
}

#[test]
fn a_retransmission_that_joins_segments_stops_nothing() {
    let want = example();
    let whole = segments(&want.steps, 4000, [5, 6]);
    let mut sent = slice(&whole, 10);
    let first = whole.iter().find(|s| !s.payload.is_empty()).unwrap();
    let last = sent.last().unwrap().ack;
    // It was sent at the end, and acknowledges all that came before.
    sent.push(Segment {
        ack: last,
        flags: ACK,
        ..first.clone()
    });
    let vector = one(&capture(&sent, PLAIN));
    assert_eq!(both(&vector), both(&want));
    assert!(!vector.unfinished);
}

#[test]
fn the_start_of_a_connection_may_be_missing() {
    let want = example();
    let sent = segments(&want.steps, 4000, [5, 6]);
    let vector = one(&capture(&sent[3..], PLAIN));
    assert_eq!(both(&vector), both(&want));
    let imported = of(&capture(&sent[4..], PLAIN));
    let error = imported.unwrap_err().to_string();
    assert!(
        error.contains("the start of the connection is not in the capture"),
        "{error}"
    );
}

#[test]
fn a_lost_segment_is_named() {
    let want = example();
    let sent = segments(&want.steps, 4000, [5, 6]);
    let data = |s: &Segment| !s.payload.is_empty();
    for lost in (0..sent.len()).filter(|i| data(&sent[*i])).skip(1) {
        let mut rest = sent.clone();
        let missing = rest.remove(lost);
        let imported = of(&capture(&rest, PLAIN)).unwrap();
        let vector = &imported.file.vectors[0];
        assert!(vector.unfinished, "{lost}");
        let side = if missing.client { "client" } else { "server" };
        let note = vector.steps.last().unwrap().note.clone().unwrap();
        assert!(note.contains(&format!("the {side}'s octets ")), "{note}");
        assert!(
            imported
                .remarks
                .iter()
                .any(|r| note.ends_with(r.rsplit_once(": ").unwrap().1)),
            "{note}"
        );
        for (got, want) in both(vector).iter().zip(both(&want)) {
            assert!(want.starts_with(got), "{lost}");
        }
    }
}

#[test]
fn a_packet_of_which_only_the_start_was_kept_ends_the_vector() {
    let want = example();
    let sent = segments(&want.steps, 4000, [5, 6]);
    let mut file = capture(&sent[..5], PLAIN);
    let len = packet(&sent[4], PLAIN).len();
    let at = file.len() - len - 8;
    file[at..at + 4].copy_from_slice(&(len as u32 - 10).to_le_bytes());
    file.truncate(file.len() - 10);
    let vector = one(&file);
    assert!(vector.unfinished);
    let note = vector.steps.last().unwrap().note.clone().unwrap();
    assert!(note.contains("tcpdump -s 0"), "{note}");

    // Of the request, too little to know what it asks for, or what follows.
    let request = &sent[3].payload;
    for (kept, known) in [(20, false), (100, true)] {
        let mut cut = sent[3].clone();
        cut.payload.truncate(kept);
        let imported = of(&capture(&[&sent[..3], &[cut]].concat(), PLAIN));
        assert!(kept < request.len());
        match imported {
            Ok(imported) if known => {
                let expect = &imported.file.vectors[0].expect;
                assert!(expect.server.is_none() && expect.client.is_none());
            }
            Err(error) if !known => {
                assert!(
                    error.to_string().contains("its head does not end"),
                    "{error}"
                );
            }
            other => panic!("{kept}: {other:?}"),
        }
    }
}

#[test]
fn connections_are_kept_apart_and_others_left_out() {
    let want = example();
    let http = [
        Step::of(Side::Client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Step::of(Side::Server, b"HTTP/1.1 200 OK\r\n\r\n"),
    ];
    let tls = [Step::of(Side::Client, b"\x16\x03\x01\x00\x05hello")];
    let mut sent = segments(&want.steps, 4000, [5, 6]);
    let second = segments(&want.steps, 4001, [50, 60]);
    // Interleaved with the first; then the first port again.
    let at = sent.len() / 2;
    sent.splice(at..at, second);
    sent.extend(segments(&want.steps, 4000, [500, 600]));
    sent.extend(segments(&http, 4002, [1, 1]));
    sent.extend(segments(&tls, 4003, [1, 1]));
    let file = capture(&sent, PLAIN);
    let imported = of(&file).unwrap();
    assert_eq!(imported.file.vectors.len(), 3, "{:?}", imported.remarks);
    for vector in &imported.file.vectors {
        assert_eq!(both(vector), both(&want));
        assert!(!vector.unfinished);
    }
    let remarks = imported.remarks.join("\n");
    assert!(
        remarks.contains("192.0.2.1:4002 to 192.0.2.2:80"),
        "{remarks}"
    );
    assert!(remarks.contains("plain HTTP"), "{remarks}");
    assert!(remarks.contains("TLS"), "{remarks}");

    let mut options = Options::of("x");
    options.port = Some(80);
    assert_eq!(import(&file, &options).unwrap().file.vectors.len(), 3);
    options.port = Some(81);
    assert!(matches!(
        import(&file, &options),
        Err(Unimportable::Nothing(_))
    ));
}

#[test]
fn a_reset_is_a_reset() {
    let mut want = example();
    let n = want.steps.len();
    want.steps.truncate(n - 2);
    want.steps.push(Step::end(Side::Client, StreamEnd::Rst));
    let vector = one(&capture(&segments(&want.steps, 4000, [5, 6]), PLAIN));
    assert_eq!(vector.steps.last().unwrap().end, Some(StreamEnd::Rst));
    assert!(!vector.unfinished);
}

#[test]
fn the_octets_that_came_first_count() {
    let want = example();
    let mut sent = segments(&want.steps, 4000, [5, 6]);
    let mut other = sent[3].clone();
    other.payload[0] ^= 1;
    sent.insert(4, other);
    let imported = of(&capture(&sent, PLAIN)).unwrap();
    assert_eq!(both(&imported.file.vectors[0]), both(&want));
    assert!(
        imported.remarks.join("\n").contains("with other values"),
        "{:?}",
        imported.remarks
    );
}

#[test]
fn a_write_of_several_segments_is_one_step() {
    let want = example();
    let sent = segments(&want.steps, 4000, [5, 6]);
    let vector = one(&capture(&slice(&sent, 20), PLAIN));
    assert_eq!(vector.steps.len(), want.steps.len());
}

#[test]
fn a_capture_cut_off_anywhere_gives_an_error_or_less() {
    let want = both(&example());
    let segments = segments(&example().steps, 4000, [5, 6]);
    for format in [FORMATS[0], FORMATS[4]] {
        let file = capture(&segments, Look { format, ..PLAIN });
        for end in 0..file.len() {
            let Ok(imported) = of(&file[..end]) else {
                continue;
            };
            let vector = &imported.file.vectors[0];
            assert!(
                vector.unfinished || both(vector) == want,
                "{format:?} {end}"
            );
            for (got, want) in both(vector).iter().zip(&want) {
                assert!(want.starts_with(got), "{format:?} {end}");
            }
        }
    }
}
