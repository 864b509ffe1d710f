//! The explanations of the lab page and of `serve --explain`.

use std::time::SystemTime;

use heirloom::Config;
use heirloom::explain::{self, Explainer, Explanation, Outcome};
use heirloom::net::lab::Explain;
use heirloom::net::{ClientAddress, Recording};
use heirloom::vector::Step;
use serde_json::{Value, json};

use super::explain::shown;
use super::print_line;
use super::recording::{date, recording_file};
use super::style::Style;

/// Explains the conversations of a server.
pub(super) struct Explanations {
    /// Whether every handshake is explained on standard output.
    pub(super) all: bool,
    /// The server whose conversations they are.
    pub(super) config: Config,
}

impl Explain for Explanations {
    fn explain(&self, recording: &Recording) -> Value {
        explain::json::json(&explained(recording, &self.config))
            .and_then(|text| serde_json::from_str(&text))
            .unwrap_or_default()
    }

    fn vector(&self, recording: &Recording, unfinished: bool) -> String {
        let steps = recording
            .steps
            .iter()
            .map(|(side, octets)| Step::of(*side, octets));
        let day = date(SystemTime::now());
        let by = "recorded by the lab page of heirloom";
        match recording_file("lab", by, &day, steps.collect(), unfinished) {
            Ok(file) => file.to_canonical(),
            Err(error) => json!({ "error": error }).to_string(),
        }
    }

    fn wants_all(&self) -> bool {
        self.all
    }

    fn handshake(&self, client: &ClientAddress, recording: &Recording) {
        if self.all {
            let style = Style::of(&std::io::stdout());
            let explanation = shown(&explained(recording, &self.config), style);
            print_line(&format!("== {}\n{explanation}", client.address));
        }
    }
}

/// Parts that are shown: those of the handshake, and a few messages behind it. The
/// verdict is about all of the recording.
const PARTS: usize = 16;

fn explained(recording: &Recording, config: &Config) -> Explanation {
    let mut explainer = Explainer::of_server(config);
    for (side, octets) in &recording.steps {
        explainer.feed(*side, octets);
    }
    let mut explanation = explainer.finish();
    if recording.is_cut && explanation.verdict.outcome == Outcome::Incomplete {
        explanation.verdict.sentence =
            "nothing is wrong in what was kept; more was sent than was kept".to_owned();
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
