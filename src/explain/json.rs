//! An explanation as JSON, in the shape that docs/explain.md describes.

use serde::Serialize;

use super::Explanation;
use super::derive::ProofStep;
use super::part::Part;
use super::text::{hex, shown};
use crate::extension::TAIL;

/// The explanation as one JSON object.
///
/// # Errors
///
/// None that is known: it is all text and numbers.
pub fn json(explanation: &Explanation) -> serde_json::Result<String> {
    serde_json::to_string(&Object::of(explanation))
}

#[derive(Serialize)]
struct Object<'e> {
    version: Option<&'static str>,
    document: Option<&'static str>,
    parts: Vec<PartObject>,
    verdict: VerdictObject<'e>,
}

#[derive(Serialize)]
struct PartObject {
    side: &'static str,
    kind: &'static str,
    title: String,
    offset: u64,
    length: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<u64>,
    hex: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unmasked: Option<String>,
    spans: Vec<SpanObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inflated: Option<InflatedObject>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    derivations: Vec<DerivationObject>,
}

#[derive(Serialize)]
struct SpanObject {
    offset: u64,
    length: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bits: Option<[u8; 2]>,
    field: &'static str,
    value: String,
    role: &'static str,
    words: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    section: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

#[derive(Serialize)]
struct InflatedObject {
    of: &'static str,
    frames: usize,
    whole: bool,
    compressed_length: u64,
    compressed: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_block: Option<BlockObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tail: Option<String>,
    length: u64,
    hex: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    context: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    beyond: Option<BeyondObject>,
    words: Vec<String>,
}

#[derive(Serialize)]
struct BeyondObject {
    distance: u64,
    window: u64,
    offset: u64,
    earlier: bool,
}

#[derive(Serialize)]
struct BlockObject {
    bfinal: u8,
    btype: u8,
    words: &'static str,
}

#[derive(Serialize)]
struct DerivationObject {
    title: String,
    section: String,
    steps: Vec<StepObject>,
}

#[derive(Serialize)]
struct StepObject {
    label: &'static str,
    runs: Vec<RunObject>,
}

#[derive(Serialize)]
struct RunObject {
    text: String,
    mark: &'static str,
}

#[derive(Serialize)]
struct VerdictObject<'e> {
    result: &'static str,
    code: Option<&'static str>,
    sentence: &'e str,
    section: Option<&'e str>,
    side: Option<&'static str>,
    offset: Option<u64>,
    part: Option<usize>,
    cause: Option<&'e str>,
    cure: Option<&'e str>,
}

impl Object<'_> {
    fn of(explanation: &Explanation) -> Object<'_> {
        let verdict = &explanation.verdict;
        Object {
            version: explanation.version.map(|v| v.name),
            document: explanation.version.map(|v| v.document),
            parts: explanation.parts.iter().map(PartObject::of).collect(),
            verdict: VerdictObject {
                result: verdict.outcome.name(),
                code: verdict.code,
                sentence: &verdict.sentence,
                section: verdict.section.as_deref(),
                side: verdict.place.map(|place| place.from.name()),
                offset: verdict.place.map(|place| place.at),
                part: verdict.place.and_then(|place| place.part),
                cause: verdict.cause.as_deref(),
                cure: verdict.cure.as_deref(),
            },
        }
    }
}

impl PartObject {
    fn of(part: &Part) -> PartObject {
        let spans = part.items().into_iter().map(|item| SpanObject {
            offset: item.at,
            length: item.octets,
            bits: (item.bits != (0..8)).then_some([item.bits.start, item.bits.end]),
            field: item.field,
            value: item.value,
            role: item.role.name(),
            words: item.words,
            section: item.section,
            cut: item.cut,
        });
        let derivations = part.derivations().into_iter().map(|d| DerivationObject {
            title: d.title,
            section: d.section,
            steps: d.steps.into_iter().map(StepObject::of).collect(),
        });
        PartObject {
            side: part.from.name(),
            kind: part.kind.name(),
            title: part.title(),
            offset: part.at,
            length: part.octets,
            missing: part.missing,
            hex: hex(&part.raw),
            unmasked: part.is_masked().then(|| hex(&part.plain)),
            spans: spans.collect(),
            inflated: InflatedObject::of(part),
            derivations: derivations.collect(),
        }
    }
}

impl InflatedObject {
    fn of(part: &Part) -> Option<InflatedObject> {
        let inflated = part.inflated.as_deref()?;
        let (compressed, plain) = (&inflated.compressed, &inflated.plain);
        let first_block = inflated.first_block().map(|block| BlockObject {
            bfinal: u8::from(block.bfinal),
            btype: block.btype,
            words: block.words(),
        });
        let beyond = inflated.beyond.map(|beyond| BeyondObject {
            distance: beyond.distance,
            window: beyond.window,
            offset: beyond.at,
            earlier: beyond.is_to_earlier,
        });
        Some(InflatedObject {
            of: inflated.unit(),
            frames: inflated.frames,
            whole: inflated.is_whole,
            compressed_length: compressed.octets,
            compressed: hex(&compressed.kept),
            first_block,
            tail: inflated.has_tail().then(|| hex(&TAIL)),
            length: plain.octets,
            hex: hex(&plain.kept),
            text: inflated.is_text.then(|| shown(plain.text(), usize::MAX)),
            context: inflated.context.name(),
            beyond,
            words: part.beside().map_or_else(Vec::new, |beside| beside.notes),
        })
    }
}

impl StepObject {
    fn of(step: ProofStep) -> StepObject {
        let runs = step.runs.into_iter().map(|run| RunObject {
            text: run.text,
            mark: run.mark.name(),
        });
        StepObject {
            label: step.label,
            runs: runs.collect(),
        }
    }
}
