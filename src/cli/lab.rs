//! What the lab page and `serve --explain` say: conversations of the loop, told
//! by the explanation.

use std::time::SystemTime;

use heirloom::explain::{self, Explainer, Explanation, Outcome};
use heirloom::net::serve::Teller;
use heirloom::net::{ClientAddress, Conversation};
use heirloom::vector::Step;
use heirloom::{Config, Side};
use serde_json::{Value, json};

use super::explain::shown;
use super::journal::{date, recording};
use super::lines::Lines;
use super::style::Style;

/// Knows the words for the lab.
pub(super) struct Words {
    /// Where every handshake is told, if it is.
    pub(super) all: Option<Lines>,
    /// The server whose conversations they are.
    pub(super) config: Config,
}

impl Teller for Words {
    fn explain(&self, conversation: &Conversation) -> Value {
        explain::json::json(&explained(conversation, &self.config))
            .and_then(|text| serde_json::from_str(&text))
            .unwrap_or_default()
    }

    fn vector(&self, conversation: &Conversation, unfinished: bool) -> String {
        let steps = conversation.steps.iter().map(|(side, octets)| {
            let from = match side {
                Side::Client => Side::Client,
                Side::Server => Side::Server,
            };
            Step::of(from, octets)
        });
        let day = date(SystemTime::now());
        let by = "recorded by the lab page of heirloom";
        match recording("lab", by, &day, steps.collect(), unfinished) {
            Ok(file) => file.to_canonical(),
            Err(error) => json!({ "error": error }).to_string(),
        }
    }

    fn wants_all(&self) -> bool {
        self.all.is_some()
    }

    fn handshake(&self, client: &ClientAddress, conversation: &Conversation) {
        if let Some(lines) = &self.all {
            let style = Style::of(&std::io::stdout());
            let told = shown(&explained(conversation, &self.config), style);
            lines.say(format!("== {}\n{told}", client.address));
        }
    }
}

/// Parts that are told: those of the handshake, and a few messages behind it.
/// The verdict is about all, which a tape bounds.
const PARTS: usize = 16;

fn explained(conversation: &Conversation, config: &Config) -> Explanation {
    let mut explainer = Explainer::of_server(config);
    for (side, octets) in &conversation.steps {
        explainer.feed(*side, octets);
    }
    let mut explanation = explainer.finish();
    if conversation.is_cut && explanation.verdict.outcome == Outcome::Incomplete {
        explanation.verdict.sentence =
            "nothing is wrong in what was kept; more was said than is kept".to_owned();
    }
    if explanation.parts.len() > PARTS {
        explanation.parts.truncate(PARTS);
        if let Some(place) = &mut explanation.verdict.place {
            place.part = place.part.filter(|part| *part < PARTS);
        }
        let more = format!(" Only the first {PARTS} parts are told.");
        explanation.verdict.sentence.push_str(&more);
    }
    explanation
}
