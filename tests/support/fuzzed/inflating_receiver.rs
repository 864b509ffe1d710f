//! A connection that agreed on compression and receives: octets make the same
//! events, the same violation and the same answers in whatever portions they arrive
//! and whatever room there is, and never more than the limits say.
//!
//! The octets: how compression is agreed on, the limit, four portions, four rooms,
//! and what the peer sends, each with its kind in front.

use heirloom::Side;
use heirloom::error::Violation;
use heirloom::extension::{Level, Mode};
use heirloom::message::{Kind, Message};

use super::choices::Choices;
use crate::deflating::{Act, End, Setting, deflated, frame, open, send};
use crate::feeding::{Feeding, Outcome, describe_message};

/// More is not sent.
const MOST_ACTS: usize = 32;

/// The most octets of a message that the peer sends.
const MOST_OCTETS: usize = 100_000;

/// How the two ends are set.
struct Ends {
    offer: String,
    /// What the server adds to its answer.
    added: String,
    settings: [Setting; 2],
    /// The end that is fed.
    to: Side,
    /// The most octets of a message.
    limit: u64,
}

/// What comes from the peer.
enum Sent {
    /// What a peer may send.
    Right(Act),
    /// Octets as they are, whatever they are.
    Octets(Vec<u8>),
}

pub(crate) fn run(octets: &[u8]) -> Outcome {
    let mut choices = Choices(octets);
    let ends = Ends::choose(&mut choices);
    let (portions, rooms) = (choices.sizes(), choices.sizes());
    let mut sent = Vec::new();
    while choices.are_left() && sent.len() < MOST_ACTS {
        sent.push(next(&mut choices, ends.to));
    }
    ends.feed(&sent, &portions, &rooms)
}

impl Ends {
    fn choose(choices: &mut Choices<'_>) -> Ends {
        let to = choices.side();
        let flags = choices.octet();
        let has = |bit: u8| flags >> bit & 1 != 0;
        let (mut offer, mut added) = (String::new(), String::new());
        // 0: not named.
        let of_server = choices.of(&[0, 9, 10, 11, 12, 13, 14, 15]);
        let of_client = choices.of(&[0, 8, 9, 10, 11, 12, 13, 14, 15]);
        if has(0) {
            offer += if has(1) {
                "x-webkit-deflate-frame"
            } else {
                "deflate-frame"
            };
            if has(2) {
                offer += "; no_context_takeover";
            }
            if of_server > 0 {
                offer += &format!("; max_window_bits={of_server}");
            }
            if of_client > 0 {
                added = format!("; max_window_bits={of_client}");
            }
        } else {
            offer += "permessage-deflate; client_max_window_bits";
            if has(1) {
                offer += "; client_no_context_takeover";
            }
            if has(2) {
                offer += "; server_no_context_takeover";
            }
            if of_server > 0 {
                offer += &format!("; server_max_window_bits={of_server}");
            }
            if of_client > 0 {
                added = format!("; client_max_window_bits={of_client}");
            }
        }
        let setting = |shared: bool, choices: &mut Choices<'_>| Setting {
            mode: if shared {
                Mode::Shared
            } else {
                Mode::PerConnection
            },
            threshold: choices.of(&[0, 64, 1000]),
            level: choices.of(&[Level::Fast, Level::Default, Level::Best]),
        };
        Ends {
            offer,
            added,
            settings: [setting(has(3), choices), setting(has(4), choices)],
            to,
            limit: choices.of(&[130, 0, 1, 1000, 5000, 70_000]),
        }
    }

    /// The end that is fed, and its peer.
    fn open(&self) -> (End, End) {
        let (server, client) = open(
            (&self.offer, &self.added),
            self.settings,
            [0, 0],
            self.limit,
        );
        match self.to {
            Side::Server => (server, client),
            Side::Client => (client, server),
        }
    }

    fn feed(&self, sent: &[Sent], portions: &[usize], rooms: &[usize]) -> Outcome {
        let (_, mut peer) = self.open();
        for sent in sent {
            match sent {
                Sent::Right(act) => send(&mut peer, act, &mut Vec::new(), &mut 0),
                Sent::Octets(octets) => peer.out.extend_from_slice(octets),
            }
        }
        let octets = peer.out;
        let want = Feeding::WHOLE.feed(self.open().0.conn, 7, &octets);
        let feeding = |portions, rooms, watched, by_session| Feeding {
            portions,
            rooms,
            watched,
            by_session,
        };
        const WHOLE: &[usize] = &[usize::MAX];
        for feeding in [
            feeding(WHOLE, &[65_536], false, false),
            feeding(WHOLE, rooms, false, false),
            feeding(portions, rooms, false, false),
            feeding(portions, rooms, true, false),
            feeding(portions, rooms, false, true),
            feeding(WHOLE, rooms, true, true),
        ] {
            let outcome = feeding.feed(self.open().0.conn, 7, &octets);
            assert_eq!(outcome, want, "{feeding:?} {octets:02x?}");
        }
        let violation = want.violation.as_ref().map(|located| located.error);
        self.holds_what_was_sent(sent, &want.events, violation);
        want
    }

    /// What a right peer sends is received, up to the first message that is longer
    /// than the limit.
    fn holds_what_was_sent(&self, sent: &[Sent], events: &[String], violation: Option<Violation>) {
        let mut expected = Vec::new();
        for sent in sent {
            let Sent::Right(act) = sent else {
                return;
            };
            let (message, pings) = match act {
                Act::Ping => (None, vec![format!("ping {:?}", b"?")]),
                Act::Whole(kind, octets) => (Some((kind, octets)), Vec::new()),
                Act::Pieces(kind, octets, n) => {
                    let pings = octets.len().div_ceil(*n);
                    (
                        Some((kind, octets)),
                        vec![format!("ping {:?}", b"!"); pings],
                    )
                }
            };
            if message.is_some_and(|(_, octets)| octets.len() as u64 > self.limit) {
                let limit = self.limit;
                assert_eq!(violation, Some(Violation::MessageTooBig { limit }));
                assert_eq!(events[..expected.len()], expected);
                return;
            }
            expected.extend(pings);
            expected.extend(message.map(|(kind, octets)| {
                describe_message(match kind {
                    Kind::Text => Message::text(std::str::from_utf8(octets).unwrap()),
                    Kind::Binary => Message::binary(octets),
                })
            }));
        }
        assert_eq!((events, violation), (&expected[..], None));
    }
}

fn next(choices: &mut Choices<'_>, to: Side) -> Sent {
    let kind = choices.octet();
    match kind % 8 {
        0 | 1 => {
            let first = choices.octet();
            Sent::Octets(frame(to, first, choices.octets()))
        }
        // A stream that starts anew, damaged or not.
        2 => {
            let (first, times) = (choices.octet(), choices.octet());
            let mut stream = deflated(&repeated(choices.octets(), times));
            let (at, bits) = (usize::from(choices.u16()), choices.octet());
            let at = at % stream.len();
            stream[at] ^= bits;
            Sent::Octets(frame(to, first, &stream))
        }
        3 => {
            let (kind, octets) = message(choices);
            Sent::Right(Act::Whole(kind, octets))
        }
        4 => {
            let (kind, octets) = message(choices);
            let n = 1 + usize::from(choices.octet());
            // Not too many of them.
            let n = n.max(octets.len() / 64);
            Sent::Right(Act::Pieces(kind, octets, n))
        }
        5 => Sent::Right(Act::Ping),
        6 => Sent::Octets(choices.octets().to_vec()),
        _ => Sent::Octets(choices.rest().to_vec()),
    }
}

fn message(choices: &mut Choices<'_>) -> (Kind, Vec<u8>) {
    let (kind, times) = (choices.of(&[Kind::Text, Kind::Binary]), choices.octet());
    match kind {
        Kind::Text => (kind, repeated(choices.text().as_bytes(), times)),
        Kind::Binary => (kind, repeated(choices.octets(), times)),
    }
}

/// Once, or up to 2048 times.
fn repeated(octets: &[u8], times: u8) -> Vec<u8> {
    let most = MOST_OCTETS.checked_div(octets.len()).unwrap_or(1);
    octets.repeat(most.min(1 << (times % 12)))
}
