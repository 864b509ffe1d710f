//! What is said of the extensions that a request offers and a response names.

use heirloom::Side::{Client, Server};
use heirloom::explain::terminal;

use super::compression::{conversation, explained, holds, request};

/// Has the words of an explanation in one line.
fn told(turns: &super::octets::Turns) -> String {
    let text = terminal::plain(&explained(turns));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A request alone says of each offer what a server does with it.
#[test]
fn the_offers_of_a_request_alone_are_judged() {
    for (offer, words) in [
        (
            "permessage-deflate; server_max_window_bits=7",
            "A server has to decline it: it",
        ),
        (
            "permessage-deflate; client_max_window_bits='10'",
            "A server has to decline it: it",
        ),
        (
            "deflate-frame; window_bits=10",
            "A server has to decline it: it has a parameter that this extension does not have.",
        ),
        (
            "permessage-deflate; server_max_window_bits=8",
            "It asks the server for a window of 8 bits",
        ),
        (
            "permessage-deflate",
            "a server that has compression may agree to it.",
        ),
    ] {
        let text = told(&vec![(Client, Some(request(offer)))]);
        assert!(text.contains(words), "{words:?} in {text}");
        // Where the response is there, it stands there.
        let text = told(&conversation(offer, "", &[]));
        assert_eq!(
            text.matches(words).count(),
            usize::from(!words.starts_with("a server")),
            "{text}"
        );
    }
}

/// Where the User-Agent speaks against an offer, the request says so.
#[test]
fn the_offer_of_a_defective_safari_is_judged() {
    let head = String::from_utf8(request("permessage-deflate")).unwrap();
    let agent = "User-Agent: Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/15.1 Safari/605.1.15\r\nUpgrade";
    let head = head.replacen("Upgrade:", &format!("{agent}:"), 1);
    let text = told(&vec![(Client, Some(head.into_bytes()))]);
    let words = "The permessage-deflate of Safari 15.0 to 15.3 is defective";
    assert!(text.contains(words), "{text}");
}

/// The drafts of permessage-compress put a list in quotes.
#[test]
fn an_offer_with_a_list_in_its_method_is_named() {
    let offer = "permessage-compress; method=\"deflate; c2s_max_window_bits=10\"";
    let text = told(&vec![(Client, Some(request(offer)))]);
    let words = "This cannot be read as an extension with parameters: its draft has a list in \
                 quotes as the value of `method`, where a token is due. The name was offered from \
                 2012-07 to 2014-11";
    assert!(text.contains(words), "{text}");
}

#[test]
fn a_response_with_the_header_twice_is_told_so() {
    let twice = "permessage-deflate\nx-foo";
    let text = told(&conversation("permessage-deflate, x-foo", twice, &[]));
    assert!(
        text.contains("The response has this header 2 times"),
        "{text}"
    );
}

/// An empty header offers nothing.
#[test]
fn a_request_with_an_empty_header_offers_nothing() {
    let explanation = explained(&conversation(" ", "", &[(Server, "c1 01 00")]));
    let words = "and no compression was agreed on";
    holds(&explanation, "reserved-bits", words);
}
