//! How proofs and masking keys are computed, step by step, from what the parse
//! derived.

use super::part::{Part, PartKind};
use super::section::{About, section};
use super::text::{count, hex, shown};
use crate::trace::Field;

/// A computation, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derivation {
    /// What is computed.
    pub title: String,
    /// The section that requires it.
    pub section: String,
    /// How.
    pub steps: Vec<ProofStep>,
}

/// One step of a computation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofStep {
    /// What is done.
    pub label: &'static str,
    /// Its result, in pieces that look different.
    pub runs: Vec<Run>,
}

/// A piece of text in a computation. It is safe for a terminal and for a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The text.
    pub text: String,
    /// What it is in the computation.
    pub mark: Mark,
}

/// What a piece of text is in a computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mark {
    /// Words between the others.
    Plain,
    /// A digit of a key.
    Digit,
    /// A space of a key, shown as `␣`.
    Space,
    /// A character of a key that has no meaning.
    Noise,
    /// The first, second and third input of a hash.
    First,
    /// See [`Mark::First`].
    Second,
    /// See [`Mark::First`].
    Third,
    /// What was computed.
    Result,
    /// What is wrong.
    Wrong,
    /// A sentence, on lines of its own.
    Words,
}

impl Mark {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mark::Plain => "plain",
            Mark::Digit => "digit",
            Mark::Space => "space",
            Mark::Noise => "noise",
            Mark::First => "first",
            Mark::Second => "second",
            Mark::Third => "third",
            Mark::Result => "result",
            Mark::Wrong => "wrong",
            Mark::Words => "words",
        }
    }
}

impl Part {
    /// How the proofs and keys in it were computed, step by step.
    pub(super) fn computations(&self) -> Vec<Derivation> {
        computations(self)
    }
}

fn computations(part: &Part) -> Vec<Derivation> {
    let mut derivations = Vec::new();
    let mut derived = part.derived.as_slice();
    let mut keys = 0;
    while let Some(((field, octets), rest)) = derived.split_first() {
        derived = rest;
        match field {
            Field::Key => {
                keys += 1;
                let own = rest.iter().take_while(|(field, _)| *field != Field::Key);
                derivations.push(key(part, keys, octets, &own.collect::<Vec<_>>()));
            }
            Field::DigestInput => {
                derivations.extend(digest(part, octets, next(rest, Field::Proof)))
            }
            Field::AcceptInput => {
                let sha1 = next(rest, Field::AcceptDigest);
                derivations.extend(accept(part, octets, sha1, next(rest, Field::Proof)));
            }
            Field::SecretInput => derivations.push(Derivation {
                title: "The key that masks all frames of the client".to_owned(),
                section: section(part.version, About::Masking),
                steps: vec![
                    step(
                        "the client's key, the server's nonce and a GUID",
                        guid(octets),
                    ),
                    result("SHA-1, 20 octets", &hex(next(rest, Field::Secret))),
                ],
            }),
            Field::FrameKeyInput => derivations.push(Derivation {
                title: "The key of this frame".to_owned(),
                section: section(part.version, About::Masking),
                steps: vec![
                    step(
                        "the frame's nonce and the key of the connection",
                        halves(octets, 4),
                    ),
                    result("SHA-1, 20 octets", &hex(next(rest, Field::FrameKey))),
                ],
            }),
            _ => {}
        }
    }
    derivations
}

/// What was derived first as this field.
fn next(rest: &[(Field, Vec<u8>)], field: Field) -> &[u8] {
    let found = rest.iter().find(|(f, _)| *f == field);
    found
        .map(|(_, octets)| octets.as_slice())
        .unwrap_or_default()
}

pub(super) fn run(text: impl Into<String>, mark: Mark) -> Run {
    Run {
        text: text.into(),
        mark,
    }
}

pub(super) fn step(label: &'static str, runs: Vec<Run>) -> ProofStep {
    ProofStep { label, runs }
}

fn result(label: &'static str, text: &str) -> ProofStep {
    step(label, vec![run(text, Mark::Result)])
}

/// A key of hixie-76: digits and spaces, and the number that they hide.
fn key(part: &Part, n: usize, key: &[u8], derived: &[&(Field, Vec<u8>)]) -> Derivation {
    let of = |field| {
        let found = derived.iter().find(|(f, _)| *f == field);
        found.map(|(_, octets)| octets.as_slice())
    };
    let digits = String::from_utf8_lossy(of(Field::KeyDigits).unwrap_or_default()).into_owned();
    let spaces = of(Field::KeySpaces).and_then(<[u8]>::first_chunk);
    let spaces = spaces.map_or(0, |octets| u32::from_be_bytes(*octets));
    let mut steps = vec![step("the key", lit(key))];
    steps.push(match digits.as_str() {
        "" => step("its digits", vec![run("none", Mark::Wrong)]),
        _ => step(
            "its digits, read as one number",
            vec![run(cut(&digits), Mark::Digit)],
        ),
    });
    let mark = if spaces == 0 {
        Mark::Wrong
    } else {
        Mark::Space
    };
    steps.push(step("its spaces", vec![run(spaces.to_string(), mark)]));
    steps.extend(division(&digits, spaces, of(Field::KeyNumber)));
    if let Some(number) = of(Field::KeyNumber) {
        steps.push(result(
            "as four octets, most significant first",
            &hex(number),
        ));
    }
    Derivation {
        title: format!("The number in key {n}"),
        section: section(part.version, About::Proof),
        steps,
    }
}

fn division(digits: &str, spaces: u32, number: Option<&[u8]>) -> Option<ProofStep> {
    let product: u128 = digits.parse().ok()?;
    let spaces = u128::from(spaces);
    let quotient = product.checked_div(spaces)?;
    let rest = product.checked_rem(spaces)?;
    let mut runs = vec![
        run(product.to_string(), Mark::Digit),
        run(" ÷ ", Mark::Plain),
        run(spaces.to_string(), Mark::Space),
        run(" = ", Mark::Plain),
    ];
    let wrong = match (number, rest) {
        (Some(_), _) => None,
        (None, 0) => Some("which does not fit 32 bits".to_owned()),
        (None, _) => Some(format!("with remainder {rest}: not a whole number")),
    };
    let mark = if wrong.is_some() {
        Mark::Plain
    } else {
        Mark::Result
    };
    runs.push(run(quotient.to_string(), mark));
    if let Some(wrong) = wrong {
        runs.extend([run(" ", Mark::Plain), run(wrong, Mark::Wrong)]);
    }
    Some(step("the number divided by the spaces", runs))
}

/// A key with its digits and spaces marked.
fn lit(key: &[u8]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for octet in key.iter().take(MAX_KEY_OCTETS) {
        let (text, mark) = match octet {
            b'0'..=b'9' => (char::from(*octet).to_string(), Mark::Digit),
            b' ' => ("␣".to_owned(), Mark::Space),
            _ => (shown(&[*octet], 8), Mark::Noise),
        };
        match runs.last_mut() {
            Some(last) if last.mark == mark => last.text.push_str(&text),
            _ => runs.push(run(text, mark)),
        }
    }
    if let Some(more) = key.len().checked_sub(MAX_KEY_OCTETS + 1) {
        runs.push(run(
            format!("… ({} more)", count(more as u64 + 1)),
            Mark::Plain,
        ));
    }
    runs
}

/// The maximum number of octets of a key that are shown.
const MAX_KEY_OCTETS: usize = 300;

fn cut(digits: &str) -> String {
    shown(digits.as_bytes(), 60)
}

/// The digest of hixie-76, and whether the server sent it.
fn digest(part: &Part, input: &[u8], digest: &[u8]) -> Option<Derivation> {
    let (numbers, key3) = input.split_at_checked(8)?;
    let (one, two) = numbers.split_at_checked(4)?;
    let title = match part.kind {
        PartKind::Digest => "The digest, checked",
        _ => "The digest that the server must send",
    };
    let steps = if part.kind == PartKind::Digest {
        compared(&hex(digest), &hex(&part.raw))
    } else {
        vec![
            step(
                "both numbers and the third key, sixteen octets",
                vec![
                    run(hex(one), Mark::First),
                    run(" ", Mark::Plain),
                    run(hex(two), Mark::Second),
                    run(" ", Mark::Plain),
                    run(hex(key3), Mark::Third),
                ],
            ),
            result("MD5, sixteen octets", &hex(digest)),
        ]
    };
    Some(Derivation {
        title: title.to_owned(),
        section: section(part.version, About::Proof),
        steps,
    })
}

/// What the server must send beside what it sent.
fn compared(want: &str, sent: &str) -> Vec<ProofStep> {
    let (label, mark) = if want == sent {
        ("was sent, and is right", Mark::Result)
    } else {
        ("was sent, and is wrong", Mark::Wrong)
    };
    vec![result("must be", want), step(label, vec![run(sent, mark)])]
}

/// The accept of hybi-04 and later, and whether the server sent it.
fn accept(part: &Part, input: &[u8], sha1: &[u8], proof: &[u8]) -> Option<Derivation> {
    let proof = shown(proof, 100);
    if part.kind != PartKind::Response {
        return Some(Derivation {
            title: "The accept that the server must send".to_owned(),
            section: section(part.version, About::Proof),
            steps: vec![
                step("the key as it stands, and the GUID", guid(input)),
                step("SHA-1, 20 octets", vec![run(hex(sha1), Mark::Plain)]),
                result("in base64", &proof),
            ],
        });
    }
    let got = part.header("Sec-WebSocket-Accept")?;
    Some(Derivation {
        title: "The accept, checked".to_owned(),
        section: section(part.version, About::Proof),
        steps: compared(&proof, &shown(got, 100)),
    })
}

/// Text in base64, each part 24 characters, and the GUID behind it.
fn guid(input: &[u8]) -> Vec<Run> {
    let (keys, guid) = match input.len().checked_sub(36) {
        Some(at) => input.split_at_checked(at).unwrap_or((input, &[])),
        None => (input, &[][..]),
    };
    let (one, two) = keys.split_at_checked(24).unwrap_or((keys, &[]));
    [(one, Mark::First), (two, Mark::Second), (guid, Mark::Third)]
        .into_iter()
        .filter(|(octets, _)| !octets.is_empty())
        .map(|(octets, mark)| run(shown(octets, 60), mark))
        .collect()
}

fn halves(octets: &[u8], at: usize) -> Vec<Run> {
    let (one, two) = octets.split_at_checked(at).unwrap_or((octets, &[]));
    vec![
        run(hex(one), Mark::First),
        run(" ", Mark::Plain),
        run(hex(two), Mark::Second),
    ]
}
