//! What is wrong with a case before it is played.

use crate::vector::{MessageKind, unhex};
use crate::version::{Side, Version};

use super::case::{
    AtDeadline, Case, CaseContent, CaseEvent, CaseFrame, CaseMessage, CaseStep, CloseEnd,
    EventKind, Handshake, Outcome,
};
use super::result::Behavior;

/// The most octets of one payload.
const MAX_OCTETS: usize = 64 * 1024 * 1024;
/// The most steps of a case.
const MAX_STEPS: usize = 4096;
/// The most times a step is done, and the most messages that are echoed one by one.
const MAX_TIMES: usize = 100_000;
/// The longest deadline, and the longest pause.
const MAX_MS: u64 = 600_000;
/// The most octets of a control frame (RFC 6455 section 5.5).
const MAX_CONTROL: usize = 125;
/// What generated octets may look like.
const LIKE: [&str; 5] = ["text", "json", "html", "picture", "packed"];

impl Case {
    /// What is wrong with it, where it cannot be played or contradicts itself.
    pub(super) fn check(&self) -> Result<(), String> {
        let is_named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '-');
        if self.id.is_empty() || !self.id.chars().all(is_named) {
            return Err("an id is made of letters, digits, '.', '/' and '-'".to_owned());
        }
        if self.title.is_empty() {
            return Err("it has no title".to_owned());
        }
        if self.section.is_empty() {
            return Err("it has no section that says what is expected".to_owned());
        }
        let version = Version::named(&self.version).filter(|v| v.name == self.version);
        let version = version.ok_or_else(|| format!("no version is named {:?}", self.version))?;
        if self.deadline_ms == 0 || self.deadline_ms > MAX_MS {
            return Err(format!("its deadline is not between 1 and {MAX_MS} ms"));
        }
        if self.steps.len() > MAX_STEPS {
            return Err(format!("it has more than {MAX_STEPS} steps"));
        }
        for (at, step) in self.steps.iter().enumerate() {
            let step = check_step(step, version);
            step.map_err(|what| format!("step {}: {what}", at + 1))?;
        }
        self.check_more()?;
        for (at, outcome) in self.outcomes.iter().enumerate() {
            let outcome = self.check_outcome(outcome);
            outcome.map_err(|what| format!("outcome {}: {what}", at + 1))?;
        }
        if self.outcomes.first().map(|o| o.verdict) != Some(Behavior::Ok) {
            return Err("its first outcome is not OK".to_owned());
        }
        if let Some(mark) = self.marks().find(|mark| !self.expects_mark(mark)) {
            return Err(format!("no outcome expects the mark {mark:?}"));
        }
        if let Some(handshake) = &self.handshake {
            self.check_handshake(handshake)
                .map_err(|what| format!("handshake: {what}"))?;
        }
        if let Some(compression) = &self.compression {
            if !version.has_compression() {
                return Err(format!("{} has no compression", version.name));
            }
            if compression.accept.is_empty() {
                return Err("compression: it accepts nothing".to_owned());
            }
            let mut bits = compression
                .accept
                .iter()
                .filter_map(|a| a.client_max_window_bits);
            if let Some(bits) = bits.find(|bits| !(8..=15).contains(bits)) {
                return Err(format!(
                    "compression: a window has 8 to 15 bits, not {bits}"
                ));
            }
        }
        self.check_close(version)
            .map_err(|what| format!("close: {what}"))
    }

    fn is_refused(&self) -> bool {
        self.handshake.as_ref().is_some_and(|h| h.refused)
    }

    fn marks(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| step.mark.as_deref())
    }

    fn expects_mark(&self, mark: &str) -> bool {
        let mut events = self.outcomes.iter().flat_map(|o| &o.events);
        events.any(|e| e.mark.as_deref() == Some(mark))
    }

    /// Payload that follows a frame must be part of the length that it tells.
    fn check_more(&self) -> Result<(), String> {
        let mut left = None;
        for (at, step) in self.steps.iter().enumerate() {
            let wrong = |what: &str| Err(format!("step {}: {what}", at + 1));
            if let Some(frame) = &step.frame {
                let told = frame
                    .length
                    .map(|told| usize::try_from(told).unwrap_or(usize::MAX));
                left = match (told, frame.content.length()?) {
                    (Some(told), here) if told > here => Some(told - here),
                    _ => None,
                };
            } else if let Some(more) = &step.more {
                let Some(room) = left else {
                    return wrong("more follows no frame that tells a longer length");
                };
                match room.checked_sub(more.length()?) {
                    Some(room) => left = Some(room),
                    None => return wrong("more is longer than its frame tells"),
                }
            } else if step.wait_ms.is_none() && step.end.is_none() && step.octets.is_none() {
                left = None;
            }
        }
        Ok(())
    }

    fn check_outcome(&self, outcome: &Outcome) -> Result<(), String> {
        if !matches!(outcome.verdict, Behavior::Ok | Behavior::NonStrict) {
            return Err("its verdict is neither OK nor NON-STRICT".to_owned());
        }
        if outcome.section.as_deref() == Some("") {
            return Err("its section is empty".to_owned());
        }
        if outcome.verdict == Behavior::NonStrict && outcome.level.is_none() {
            return Err("a NON-STRICT outcome needs the level of what is broken".to_owned());
        }
        if self.is_refused() && !outcome.events.is_empty() {
            return Err("where the handshake is refused, nothing is received".to_owned());
        }
        if outcome.ignore.contains(&EventKind::Mark) {
            return Err("a mark cannot be ignored".to_owned());
        }
        for event in &outcome.events {
            self.check_event(event)?;
            if outcome.ignore.contains(&event.kind) {
                return Err("it expects what it ignores".to_owned());
            }
        }
        Ok(())
    }

    fn check_event(&self, event: &CaseEvent) -> Result<(), String> {
        match (&event.mark, event.kind) {
            (None, EventKind::Mark) => Err("a mark has no name".to_owned()),
            (Some(mark), EventKind::Mark) => {
                if event.content != CaseContent::default() {
                    return Err("a mark has no payload".to_owned());
                }
                match self.marks().any(|m| m == mark) {
                    true => Ok(()),
                    false => Err(format!("no step makes the mark {mark:?}")),
                }
            }
            (Some(_), _) => Err("only a mark has the name of one".to_owned()),
            (None, _) => event.content.length().map(|_| ()),
        }
    }

    fn check_handshake(&self, handshake: &Handshake) -> Result<(), String> {
        if handshake.request.is_some() && handshake.response.is_some() {
            return Err("it has a request and a response, but one side is tested".to_owned());
        }
        let tested = match (&handshake.request, &handshake.response) {
            (Some(_), _) => Side::Server,
            (_, Some(_)) => Side::Client,
            _ => return Err("it has neither a request nor a response".to_owned()),
        };
        if self.tests != Some(tested) {
            return Err(format!(
                "it is for a {}, which tests must say",
                tested.name()
            ));
        }
        let is_status = |status: &u16| (200..=599).contains(status);
        if let Some(status) = handshake.statuses.iter().find(|status| !is_status(status)) {
            return Err(format!("{status} is no status of a refusal"));
        }
        if !handshake.refused && !handshake.statuses.is_empty() {
            return Err("it has statuses, but is not refused".to_owned());
        }
        if tested == Side::Client
            && !(handshake.statuses.is_empty() && handshake.headers.is_empty())
        {
            return Err("a client answers with no status and no headers".to_owned());
        }
        if handshake.refused && !self.steps.is_empty() {
            return Err("where it is refused, no step follows".to_owned());
        }
        Ok(())
    }

    fn check_close(&self, version: &Version) -> Result<(), String> {
        let by_step = self.steps.iter().any(|step| step.close.is_some());
        let ends = self.steps.iter().any(|step| step.end.is_some());
        if self.close.section.as_deref() == Some("") {
            return Err("its section is empty".to_owned());
        }
        if self.is_refused() {
            return Ok(());
        }
        match self.close.by {
            CloseEnd::Peer if by_step => Err("a step closes, but the peer must".to_owned()),
            CloseEnd::Tester if by_step && self.close.automatic => {
                Err("a step closes, so automatic must be false".to_owned())
            }
            CloseEnd::Tester if !by_step && !ends && !self.close.automatic => {
                Err("the tester must close, but no step does and automatic is false".to_owned())
            }
            CloseEnd::Tester
                if self.close.automatic
                    && self.close.codes.is_empty()
                    && version.has_close_codes() =>
            {
                Err("the tester closes with the first code, but there is none".to_owned())
            }
            CloseEnd::Peer if self.at_deadline == AtDeadline::Close => Err(
                "the peer must close, so the tester fails the connection at the deadline"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

fn check_step(step: &CaseStep, version: &Version) -> Result<(), String> {
    let ways = [
        step.message.is_some(),
        step.ping.is_some(),
        step.pong.is_some(),
        step.close.is_some(),
        step.frame.is_some(),
        step.more.is_some(),
        step.octets.is_some(),
        step.roundtrips.is_some(),
        step.wait_ms.is_some(),
        step.end.is_some(),
    ];
    if ways.iter().filter(|way| **way).count() != 1 {
        return Err("it does not do exactly one thing".to_owned());
    }
    if step.mark.is_some() && step.wait_ms.is_none() {
        return Err("a mark needs wait_ms".to_owned());
    }
    if step.wait_ms.is_some_and(|ms| ms == 0 || ms > MAX_MS) {
        return Err(format!("wait_ms is not between 1 and {MAX_MS}"));
    }
    let sends = step.wait_ms.is_none() && step.end.is_none();
    if step.chop.is_some_and(|chop| chop == 0 || !sends) {
        return Err("chop is no number of octets of a step that sends".to_owned());
    }
    let is_times = |times: usize| (1..=MAX_TIMES).contains(&times);
    if step.repeat.is_some_and(|times| !sends || !is_times(times)) {
        return Err(format!(
            "repeat is not 1 to {MAX_TIMES} of a step that sends"
        ));
    }
    let mut length = 0;
    if let Some(message) = &step.message {
        length = check_message(message, version)?;
    }
    for control in [&step.ping, &step.pong].into_iter().flatten() {
        length = control.length()?;
        if !version.has_ping() {
            return Err(format!("{} has no pings and pongs", version.name));
        }
        if length > MAX_CONTROL {
            return Err(format!(
                "a ping or pong has at most {MAX_CONTROL} octets: use a frame"
            ));
        }
    }
    if let Some(close) = &step.close {
        length = close.reason.length()?;
        if !version.has_close_codes() && (close.code.is_some() || length > 0) {
            return Err(format!(
                "a close of {} has no code and no reason",
                version.name
            ));
        }
    }
    if let Some(frame) = &step.frame {
        length = check_frame(frame, version)?;
    }
    for content in [&step.more, &step.octets].into_iter().flatten() {
        length = content.length()?;
    }
    if length.saturating_mul(step.repeat.unwrap_or(1)) > MAX_OCTETS {
        return Err(format!("it sends more than {MAX_OCTETS} octets"));
    }
    if let Some(roundtrips) = &step.roundtrips {
        check_message(&roundtrips.message, version)?;
        if !is_times(roundtrips.count) || !roundtrips.full.is_none_or(is_times) {
            return Err(format!("its messages are not 1 to {MAX_TIMES}"));
        }
    }
    Ok(())
}

/// The octets of a message.
fn check_message(message: &CaseMessage, version: &Version) -> Result<usize, String> {
    let length = message.content.length()?;
    match message.kind {
        MessageKind::Ping | MessageKind::Pong => Err("a message is text or binary".to_owned()),
        MessageKind::Binary if !version.has_binary() => {
            Err(format!("{} has no binary messages", version.name))
        }
        _ if message.fragment.is_some() && !version.has_fragments() => {
            Err(format!("{} has no fragments", version.name))
        }
        _ if message.fragment == Some(0) => Err("a fragment of no octets never ends".to_owned()),
        _ => Ok(length),
    }
}

/// The octets of the payload of a frame.
fn check_frame(frame: &CaseFrame, version: &Version) -> Result<usize, String> {
    let length = frame.content.length()?;
    if !version.has_frame_lengths() {
        return Err(format!("{} has other frames: use octets", version.name));
    }
    if frame.opcode > 15 || frame.rsv > 7 {
        return Err("an opcode is 0 to 15, and rsv 0 to 7".to_owned());
    }
    let told = frame.length.unwrap_or(length as u64);
    match frame.length_octets {
        None => Ok(length),
        Some(0) if told < 126 => Ok(length),
        Some(2) if told <= u64::from(u16::MAX) => Ok(length),
        Some(8) => Ok(length),
        Some(octets @ (0 | 2)) => Err(format!("{told} does not fit in {octets} octets")),
        Some(_) => Err("length_octets is 0, 2 or 8".to_owned()),
    }
}

impl Case {
    /// About how many octets of payload are sent, with 256 more for each message that
    /// waits for the echo before it.
    #[must_use]
    pub fn payload_octets(&self) -> u64 {
        let length = |content: &CaseContent| content.length().unwrap_or_default() as u64;
        let of_step = |step: &CaseStep| {
            let contents = [
                step.message.as_ref().map(|message| &message.content),
                step.ping.as_ref(),
                step.pong.as_ref(),
                step.frame.as_ref().map(|frame| &frame.content),
                step.more.as_ref(),
                step.octets.as_ref(),
            ];
            let once: u64 = contents.into_iter().flatten().map(length).sum();
            let roundtrips = step.roundtrips.as_ref().map_or(0, |roundtrips| {
                let each = length(&roundtrips.message.content) + 256;
                each.saturating_mul(roundtrips.count as u64)
            });
            once.saturating_add(roundtrips)
        };
        self.steps.iter().map(of_step).sum()
    }
}

impl CaseContent {
    /// How many octets it is, without making them.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn length(&self) -> Result<usize, String> {
        let ways = [
            self.data.is_some(),
            self.hex.is_some(),
            self.fill.is_some(),
            self.generated.is_some(),
        ];
        if ways.iter().filter(|way| **way).count() > 1 {
            return Err("a payload has one of data, hex, fill and generated".to_owned());
        }
        let length = match self {
            CaseContent {
                data: Some(text), ..
            } => text.len(),
            CaseContent { hex: Some(hex), .. } => unhex(hex)?.len(),
            CaseContent {
                fill: Some(fill), ..
            } => fill.length()?,
            CaseContent {
                generated: Some(generated),
                ..
            } => {
                if !LIKE.contains(&generated.like.as_str()) {
                    return Err(format!(
                        "nothing is generated like {:?}, only like {}",
                        generated.like,
                        LIKE.join(", ")
                    ));
                }
                generated.octets
            }
            _ => 0,
        };
        match length {
            ..=MAX_OCTETS => Ok(length),
            _ => Err(format!("a payload is longer than {MAX_OCTETS} octets")),
        }
    }
}
