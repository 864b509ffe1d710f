//! Offers and answers of extensions: every row of the tables of RFC 7692 and of
//! deflate-frame.

use heirloom::error::{ExtensionFault as Fault, Violation};
use heirloom::extension::{
    Agreed, Coding, Compression, Deflate, KNOWN, Mode, Name, answer, check_answer, elements, known,
    offer,
};
use heirloom::{Side, VERSIONS, Version};

fn rfc6455() -> &'static Version {
    Version::named("rfc6455").unwrap()
}

fn compression(mode: Mode) -> Compression {
    Compression::default().with_mode(mode)
}

/// What a server answers to these lines; `-` where it accepts nothing.
fn answered(lines: &[&str], mode: Mode) -> String {
    let lines = lines.iter().map(|line| line.as_bytes());
    let answer = answer(lines, rfc6455(), &compression(mode), None);
    answer.map_or_else(|| "-".to_owned(), |answer| answer.to_string())
}

const PLAIN: &str = "permessage-deflate";
const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const WEBKIT: &str = "x-webkit-deflate-frame";

/// The lines, what is answered per connection, and what is answered where
/// connections share.
const OFFERS: &[(&[&str], &str, &str)] = &[
    (&[], "-", "-"),
    (&[""], "-", "-"),
    (&[" , ,"], "-", "-"),
    // Firefox, Chrome, and Chrome 32 to 35.
    (&["permessage-deflate"], PLAIN, BOTH),
    (&["permessage-deflate; client_max_window_bits"], PLAIN, BOTH),
    (
        &["permessage-deflate; client_max_window_bits, x-webkit-deflate-frame"],
        PLAIN,
        BOTH,
    ),
    (&["x-webkit-deflate-frame, permessage-deflate"], PLAIN, BOTH),
    (
        &["x-webkit-deflate-frame", "permessage-deflate"],
        PLAIN,
        BOTH,
    ),
    // Each parameter.
    (
        &["permessage-deflate; server_no_context_takeover"],
        "permessage-deflate; server_no_context_takeover",
        BOTH,
    ),
    (
        &["permessage-deflate; client_no_context_takeover"],
        "permessage-deflate; client_no_context_takeover",
        BOTH,
    ),
    (
        &["permessage-deflate;client_no_context_takeover ;\tserver_no_context_takeover"],
        BOTH,
        BOTH,
    ),
    (
        &["permessage-deflate; server_max_window_bits=10"],
        "permessage-deflate; server_max_window_bits=10",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10",
    ),
    (
        &["permessage-deflate; server_max_window_bits=15"],
        "permessage-deflate; server_max_window_bits=15",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15",
    ),
    (
        &["permessage-deflate; server_max_window_bits=\"9\"; client_max_window_bits=\"1\\0\""],
        "permessage-deflate; server_max_window_bits=9",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
    ),
    (
        &["permessage-deflate; client_max_window_bits=8"],
        PLAIN,
        BOTH,
    ),
    (
        &["permessage-deflate; client_max_window_bits=15"],
        PLAIN,
        BOTH,
    ),
    // Fallbacks.
    (
        &["permessage-deflate; server_max_window_bits=10, permessage-deflate"],
        "permessage-deflate; server_max_window_bits=10",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10",
    ),
    (
        &["permessage-deflate; server_max_window_bits=8, permessage-deflate"],
        PLAIN,
        BOTH,
    ),
    (
        &["permessage-deflate; x=\"a,b;c\", permessage-deflate"],
        PLAIN,
        BOTH,
    ),
    (
        &["permessage-deflate; x=\"a", "permessage-deflate"],
        PLAIN,
        BOTH,
    ),
    (
        &["permessage-deflate; foo, x-webkit-deflate-frame"],
        WEBKIT,
        "x-webkit-deflate-frame; no_context_takeover",
    ),
    // Faults: the offer is declined.
    (&["permessage-deflate; server_max_window_bits=8"], "-", "-"),
    (&["permessage-deflate; x-foo"], "-", "-"),
    (
        &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
        "-",
        "-",
    ),
    (
        &["permessage-deflate; client_max_window_bits; client_max_window_bits"],
        "-",
        "-",
    ),
    (
        &["permessage-deflate; client_max_window_bits; client_max_window_bits=9"],
        "-",
        "-",
    ),
    (
        &["permessage-deflate; server_max_window_bits=9; server_max_window_bits=9"],
        "-",
        "-",
    ),
    (
        &["permessage-deflate; server_no_context_takeover=x"],
        "-",
        "-",
    ),
    (
        &["permessage-deflate; client_no_context_takeover=foo"],
        "-",
        "-",
    ),
    (&["permessage-deflate; server_max_window_bits"], "-", "-"),
    (&["permessage-deflate; server_max_window_bits=7"], "-", "-"),
    (&["permessage-deflate; server_max_window_bits=16"], "-", "-"),
    (&["permessage-deflate; client_max_window_bits=7"], "-", "-"),
    (&["permessage-deflate; client_max_window_bits=16"], "-", "-"),
    (&["permessage-deflate; client_max_window_bits=08"], "-", "-"),
    (&["permessage-deflate; client_max_window_bits=1x"], "-", "-"),
    (&["permessage-deflate; client_max_window_bits="], "-", "-"),
    (
        &["permessage-deflate; client_max_window_bits=\"\""],
        "-",
        "-",
    ),
    (&["permessage-deflate; client_max_window_bits=-9"], "-", "-"),
    (&["permessage-deflate; client_max_window_bits=+9"], "-", "-"),
    (
        &["permessage-deflate; client_max_window_bits='9'"],
        "-",
        "-",
    ),
    (
        &["permessage-deflate; client_max_window_bits=999999999999999999999"],
        "-",
        "-",
    ),
    (&["permessage-deflate; "], "-", "-"),
    (&["permessage-deflate;"], "-", "-"),
    (&["permessage-deflate x"], "-", "-"),
    (&["; permessage-deflate"], "-", "-"),
    (&["=permessage-deflate"], "-", "-"),
    (&["\"permessage-deflate\""], "-", "-"),
    (&["permessage-deflate; max_window_bits=9"], "-", "-"),
    // deflate-frame.
    (
        &["deflate-frame"],
        "deflate-frame",
        "deflate-frame; no_context_takeover",
    ),
    (
        &["x-webkit-deflate-frame"],
        WEBKIT,
        "x-webkit-deflate-frame; no_context_takeover",
    ),
    (
        &["x-webkit-deflate-frame; max_window_bits=9; no_context_takeover"],
        WEBKIT,
        "x-webkit-deflate-frame; no_context_takeover",
    ),
    (&["x-webkit-deflate-frame; max_window_bits=8"], "-", "-"),
    (&["x-webkit-deflate-frame; max_window_bits=16"], "-", "-"),
    (&["x-webkit-deflate-frame; max_window_bits=010"], "-", "-"),
    (&["x-webkit-deflate-frame; max_window_bits"], "-", "-"),
    (&["x-webkit-deflate-frame; window_bits=9"], "-", "-"),
    (
        &["x-webkit-deflate-frame; no_context_takeover=foo"],
        "-",
        "-",
    ),
    (&["x-webkit-deflate-frame; x-foo"], "-", "-"),
    // Names that are never answered.
    (&["deflate-stream"], "-", "-"),
    (&["x-deflate-frame; minLength=64"], "-", "-"),
    (&["permessage-compress; method=deflate"], "-", "-"),
    (&["perframe-compress; method=\"deflate\"", "mux"], "-", "-"),
    (&["deflate-application-data"], "-", "-"),
    (&["Permessage-Deflate"], "-", "-"),
];

#[test]
fn each_offer_has_its_answer() {
    for (lines, per_connection, shared) in OFFERS {
        assert_eq!(answered(lines, Mode::Off), "-", "{lines:?}");
        assert_eq!(
            answered(lines, Mode::PerConnection),
            *per_connection,
            "{lines:?}"
        );
        assert_eq!(answered(lines, Mode::Shared), *shared, "{lines:?}");
    }
}

/// A client takes each answer of ours, and understands the same by it, but for
/// what it need not be told.
#[test]
fn each_answer_is_one_that_a_client_takes() {
    for mode in [Mode::Shared, Mode::PerConnection] {
        for (lines, ..) in OFFERS {
            let lines = lines.iter().map(|line| line.as_bytes());
            let Some(answer) = answer(lines.clone(), rfc6455(), &compression(mode), None) else {
                continue;
            };
            let sent = answer.to_string();
            let read = check_answer(rfc6455(), lines, [sent.as_bytes()])
                .unwrap()
                .unwrap();
            let of_ours = answer.deflate;
            assert_eq!(read.client, of_ours.client, "{sent}");
            assert_eq!(
                read.server.max_window_bits, of_ours.server.max_window_bits,
                "{sent}"
            );
            if !read.is_per_frame() {
                assert_eq!(read, of_ours, "{sent}");
            }
        }
    }
}

#[test]
fn our_offers_are_answered() {
    for mode in [Mode::Shared, Mode::PerConnection] {
        let offer = offer(rfc6455(), &compression(mode)).unwrap();
        for of_server in [Mode::Shared, Mode::PerConnection] {
            let offers = [offer.as_bytes()];
            let answer = answer(offers, rfc6455(), &compression(of_server), None).unwrap();
            let sent = answer.to_string();
            let read = check_answer(rfc6455(), offers, [sent.as_bytes()]).unwrap();
            assert_eq!(read, Some(answer.deflate));
        }
    }
    assert_eq!(offer(rfc6455(), &Compression::default()), None);
}

#[test]
fn only_versions_with_the_frames_of_hybi_07_compress() {
    let compression = compression(Mode::Shared);
    for version in VERSIONS {
        let offers = [b"permessage-deflate, deflate-frame".as_slice()];
        let has = matches!(version.name, "hybi-07" | "hybi-08" | "rfc6455");
        assert_eq!(answer(offers, version, &compression, None).is_some(), has);
        assert_eq!(offer(version, &compression).is_some(), has);
        let read = check_answer(version, offers, [b"deflate-frame".as_slice()]);
        assert_eq!(read.unwrap().is_some(), has);
    }
}

const MANY: &str = "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,\
                    a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a";

#[test]
fn each_answer_that_a_client_must_not_take_has_its_fault() {
    const CHROME: &str = "permessage-deflate; client_max_window_bits";
    for (offers, answer, fault) in [
        (CHROME, "permessage-deflate; x-foo", Fault::UnknownParameter),
        (
            CHROME,
            "permessage-deflate; client_max_window_bits=7",
            Fault::BadWindow,
        ),
        (
            CHROME,
            "permessage-deflate; client_max_window_bits=16",
            Fault::BadWindow,
        ),
        (
            CHROME,
            "permessage-deflate; client_max_window_bits=015",
            Fault::BadWindow,
        ),
        (
            CHROME,
            "permessage-deflate; client_max_window_bits",
            Fault::MissingValue,
        ),
        (
            CHROME,
            "permessage-deflate; server_max_window_bits",
            Fault::MissingValue,
        ),
        (
            CHROME,
            "permessage-deflate; client_no_context_takeover=foo",
            Fault::UnwantedValue,
        ),
        (
            CHROME,
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            Fault::RepeatedParameter,
        ),
        (
            PLAIN,
            "permessage-deflate; client_max_window_bits=15",
            Fault::WindowNotOffered,
        ),
        (
            "permessage-deflate; client_max_window_bits=10",
            "permessage-deflate; client_max_window_bits=11",
            Fault::WindowTooLarge,
        ),
        (
            "permessage-deflate; server_max_window_bits=10",
            "permessage-deflate; server_max_window_bits=11",
            Fault::WindowTooLarge,
        ),
        (
            "permessage-deflate; server_max_window_bits=10",
            PLAIN,
            Fault::WindowDemandIgnored,
        ),
        (
            "permessage-deflate; server_no_context_takeover",
            PLAIN,
            Fault::ContextDemandIgnored,
        ),
        (
            CHROME,
            "permessage-deflate, permessage-deflate",
            Fault::Twice,
        ),
        // What the list is comes before what its parameters are.
        (
            "permessage-deflate; server_no_context_takeover",
            "permessage-deflate, permessage-deflate; x-foo",
            Fault::Twice,
        ),
        (CHROME, "permessage-deflate; x-foo, =", Fault::Malformed),
        (
            "permessage-deflate, deflate-frame",
            "deflate-frame, permessage-deflate",
            Fault::Twice,
        ),
        (CHROME, "permessage-deflate; =", Fault::Malformed),
        (CHROME, "permessage-deflate; a=\"", Fault::Malformed),
        (
            WEBKIT,
            "x-webkit-deflate-frame; x-foo",
            Fault::UnknownParameter,
        ),
        (
            WEBKIT,
            "x-webkit-deflate-frame; max_window_bits=7",
            Fault::BadWindow,
        ),
        (
            WEBKIT,
            "x-webkit-deflate-frame; max_window_bits=16",
            Fault::BadWindow,
        ),
        (
            WEBKIT,
            "x-webkit-deflate-frame; no_context_takeover=foo",
            Fault::UnwantedValue,
        ),
        (
            WEBKIT,
            "x-webkit-deflate-frame; max_window_bits=8; x-foo",
            Fault::UnknownParameter,
        ),
        ("a", MANY, Fault::TooMany),
    ] {
        let result = check_answer(rfc6455(), [offers.as_bytes()], [answer.as_bytes()]);
        let bad = result.expect_err(answer);
        assert_eq!(
            bad.violation,
            Violation::ExtensionInvalid { fault },
            "{answer}"
        );
        let lies = answer.get(bad.at.clone()).unwrap();
        assert!(!lies.is_empty() && bad.line == 0, "{answer}: {bad:?}");
    }
}

#[test]
fn a_client_takes_only_what_was_offered() {
    for (offers, answer, at) in [
        ("", "permessage-deflate", 0..18),
        ("x", "x, y", 3..4),
        (PLAIN, "x-webkit-deflate-frame", 0..22),
    ] {
        let result = check_answer(rfc6455(), [offers.as_bytes()], [b"", answer.as_bytes()]);
        let bad = result.expect_err(answer);
        assert_eq!(bad.violation, Violation::ExtensionUnexpected, "{answer}");
        assert_eq!((bad.line, bad.at), (1, at));
    }
}

#[test]
fn a_client_takes_what_it_may() {
    let coding = |no_context_takeover, max_window_bits| Coding {
        no_context_takeover,
        max_window_bits,
    };
    let open = coding(false, 15);
    for (offers, answer, server, client) in [
        ("permessage-deflate", "permessage-deflate", open, open),
        (
            "x, permessage-deflate",
            "x; y=\"z\", permessage-deflate",
            open,
            open,
        ),
        (
            "permessage-deflate",
            "permessage-deflate; client_no_context_takeover",
            open,
            coding(true, 15),
        ),
        (
            "permessage-deflate",
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=8",
            coding(true, 8),
            open,
        ),
        (
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=8",
            open,
            coding(false, 8),
        ),
        // The first offer demands more than the second.
        (
            "permessage-deflate; server_max_window_bits=9, permessage-deflate",
            "permessage-deflate",
            open,
            open,
        ),
        (
            "x-webkit-deflate-frame; max_window_bits=10",
            "x-webkit-deflate-frame; max_window_bits=8; no_context_takeover",
            coding(false, 10),
            coding(true, 8),
        ),
    ] {
        let read = check_answer(rfc6455(), [offers.as_bytes()], [answer.as_bytes()]);
        let read = read.unwrap().unwrap();
        assert_eq!((read.server, read.client), (server, client), "{answer}");
        assert_eq!(read.of(Side::Server), server);
        assert_eq!(read.of(Side::Client), client);
        assert_eq!(client.can_be_kept(), client.max_window_bits > 8);
    }
    for answer in ["", ",", "x"] {
        let read = check_answer(rfc6455(), [b"x".as_slice()], [answer.as_bytes()]);
        assert_eq!(read, Ok(None));
    }
}

#[test]
fn safari_15_0_to_15_3_gets_none() {
    const MAC: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/# Safari/605.1.15";
    const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS # like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148";
    for (agent, release, is_defective) in [
        (MAC, "14.1.2", false),
        (MAC, "15.0", true),
        (MAC, "15.1", true),
        (MAC, "15.3", true),
        (MAC, "15.4", false),
        (MAC, "15.10", false),
        (MAC, "16.0", false),
        (PHONE, "14_8", false),
        (PHONE, "15_0_2", true),
        (PHONE, "15_3", true),
        (PHONE, "15_4", false),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/# Safari/537.36",
            "15.0",
            false,
        ),
        (
            "Mozilla/5.0 (Windows NT 6.1; rv:#) Gecko/20100101 Firefox/15.0",
            "15.0",
            false,
        ),
        ("Version/# Safari/", "15.0", false),
    ] {
        let agent = agent.replace('#', release);
        let offers = [b"permessage-deflate".as_slice()];
        let mut compression = compression(Mode::Shared);
        let ask = |c: &Compression| answer(offers, rfc6455(), c, Some(agent.as_bytes()));
        assert_eq!(ask(&compression).is_none(), is_defective, "{agent}");
        compression = compression.with_defective_safari();
        assert!(ask(&compression).is_some());
    }
}

#[test]
fn what_is_agreed_fits_two_octets() {
    assert_eq!(size_of::<Option<Agreed>>(), 2);
    for name in [
        Name::PermessageDeflate,
        Name::DeflateFrame,
        Name::XWebkitDeflateFrame,
    ] {
        for server in codings() {
            for client in codings() {
                let deflate = Deflate {
                    name,
                    server,
                    client,
                };
                assert_eq!(Deflate::from(Agreed::from(deflate)), deflate);
            }
        }
    }
}

fn codings() -> impl Iterator<Item = Coding> {
    (8..=15).flat_map(|max_window_bits| {
        [false, true].map(|no_context_takeover| Coding {
            no_context_takeover,
            max_window_bits,
        })
    })
}

#[test]
fn a_list_says_where_each_element_lies() {
    let value = b" a ,, b; c = \"d,\\e\";\tf , \"g\", h;";
    let read: Vec<_> = elements(value)
        .map(|element| match element {
            Ok(element) => (element.name, element.at()),
            Err(malformed) => ("?", malformed.at),
        })
        .collect();
    assert_eq!(
        read,
        [("a", 1..2), ("?", 6..22), ("?", 25..28), ("?", 30..32)]
    );
    let value = b"b; c = \"\\d\\e\";\tf";
    let element = elements(value).next().unwrap().unwrap();
    let read: Vec<_> = element
        .parameters()
        .map(|p| {
            (
                p.name,
                p.value.map(|value| value.chars().collect::<String>()),
            )
        })
        .collect();
    assert_eq!(read, [("c", Some("de".to_owned())), ("f", None)]);
}

#[test]
fn names_of_extensions_are_known() {
    for name in [
        Name::PermessageDeflate,
        Name::DeflateFrame,
        Name::XWebkitDeflateFrame,
    ] {
        assert!(known(name.as_str()).unwrap().is_spoken);
        assert_eq!(name.to_string(), name.as_str());
    }
    assert_eq!(KNOWN.iter().filter(|known| known.is_spoken).count(), 3);
    assert!(known("deflate-stream").is_some_and(|known| !known.is_spoken));
    assert!(known("x-foo").is_none());
}
