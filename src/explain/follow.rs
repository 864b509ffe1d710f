//! Follows compressed messages through the frames of one side: which frames belong
//! to one, what it inflates to, and whether it leans on those before it.

use super::inflated::{Beyond, Context, Inflated, Portion};
use super::part::{Asked, Part, PartKind};
use crate::extension::{Codecs, Coding, Deflate, Inflater, MOST_WINDOW_BITS, first_beyond};
use crate::trace::Field;
use crate::version::{Layout, Side};

/// Finds the compressed messages of both sides, which agreed on this. `fault` is
/// the side and the octet at which a rule is broken.
pub(super) fn follow(parts: &mut [Part], deflate: Deflate, fault: Option<(Side, u64)>) {
    let has_request = parts.iter().any(|part| part.kind == PartKind::Request);
    for side in [Side::Client, Side::Server] {
        // How a server compresses each frame is said by the request alone.
        let is_told = side == Side::Client || has_request || !deflate.is_per_frame();
        let mut follower = Follower {
            deflate,
            coding: deflate.of(side),
            window: is_told.then(|| 1 << deflate.of(side).max_window_bits),
            has_before: false,
            codecs: Codecs::default(),
            message: None,
        };
        let own = parts.iter_mut().filter(|part| part.from == side);
        let mut last = None;
        for part in own.filter(|part| is_frame(part)) {
            let at = fault.filter(|(from, at)| *from == side && part.at <= *at && *at < part.end());
            follower.frame(part, at.is_some());
            if part.coded.is_compressed {
                last = Some(part);
            }
        }
        // The end of this message is not there.
        if let (Some(part), Some(message)) = (last, follower.message.take()) {
            part.inflated = Some(Box::new(follower.inflated(message, false)));
        }
    }
}

/// Tells the response what the request offered, and the request that there is no
/// response.
pub(super) fn note_offers(parts: &mut [Part]) {
    let request = parts.iter().rfind(|part| part.kind == PartKind::Request);
    let Some(request) = request else {
        return;
    };
    let values = request.header_values("Sec-WebSocket-Extensions");
    let asked = Asked {
        is_known: true,
        extensions: values.into_iter().map(<[u8]>::to_vec).collect(),
        user_agent: request.header("User-Agent").map(<[u8]>::to_vec),
    };
    let is_response = |part: &&mut Part| part.kind == PartKind::Response;
    let is_request = |part: &&mut Part| part.kind == PartKind::Request;
    let told = match parts.iter().any(|part| part.kind == PartKind::Response) {
        true => parts.iter_mut().rfind(is_response),
        false => parts.iter_mut().rfind(is_request),
    };
    if let Some(part) = told {
        part.asked = asked;
    }
}

fn is_frame(part: &Part) -> bool {
    let layout = part.version.map(|version| version.layout);
    part.kind == PartKind::Frame && layout == Some(Layout::Hybi07)
}

/// Follows the frames of one side.
struct Follower {
    deflate: Deflate,
    /// How this side compresses.
    coding: Coding,
    /// How many octets back it may refer, where that is known.
    window: Option<usize>,
    /// Whether something was inflated before.
    has_before: bool,
    codecs: Codecs,
    /// The message, or frame, that is arriving compressed.
    message: Option<Message>,
}

/// A message, or frame, as far as it has arrived.
#[derive(Default)]
struct Message {
    frames: usize,
    compressed: Portion,
    /// Where the payload of each frame starts: in the message, and in the stream of
    /// its sender.
    starts: Vec<(usize, u64)>,
    plain: Portion,
    is_text: bool,
}

impl Message {
    /// The position in the stream of this octet of the compressed ones.
    fn position(&self, octet: usize) -> u64 {
        let start = self.starts.iter().rfind(|(start, _)| *start <= octet);
        start.map_or(0, |(start, at)| at + (octet - start) as u64)
    }
}

impl Follower {
    fn frame(&mut self, part: &mut Part, is_broken: bool) {
        part.coded.deflate = Some(self.deflate);
        let rsv1 = part.value(Field::Reserved).is_some_and(|rsv| rsv & 4 != 0);
        let per_frame = self.deflate.is_per_frame();
        let opcode = part.value(Field::Opcode);
        match opcode {
            Some(1 | 2) if rsv1 => self.message = Some(Message::default()),
            Some(1 | 2) => self.message = None,
            Some(0) if per_frame => self.message = rsv1.then(Message::default),
            Some(0) => part.coded.continues = self.message.is_some(),
            _ => return,
        }
        let Some(message) = &mut self.message else {
            return;
        };
        part.coded.is_compressed = true;
        message.is_text |= opcode == Some(1);
        message.frames += 1;
        let payload = part.spans.iter().find(|seen| seen.span.field.is_payload());
        let start = payload.map(|seen| (message.compressed.kept.len(), seen.span.at.start));
        message.starts.extend(start);
        message.compressed.extend(&part.payload());
        let more = part.payload_octets() - part.payload().len() as u64;
        message.compressed.octets += more;
        message.plain.add(&part.coded.came_out, usize::MAX);
        part.coded.came_out = Portion::default();
        let ends = per_frame || part.value(Field::Fin) == Some(1);
        let is_whole = part.missing.is_none() && !is_broken;
        if ends || is_broken {
            if let Some(message) = self.message.take() {
                part.inflated = Some(Box::new(self.inflated(message, is_whole)));
            }
        }
    }

    fn inflated(&mut self, message: Message, is_whole: bool) -> Inflated {
        let context = self.context(&message, is_whole);
        let beyond = self.beyond(&message);
        let inflated = Inflated {
            deflate: self.deflate,
            frames: message.frames,
            compressed: message.compressed,
            plain: message.plain,
            is_text: message.is_text,
            is_whole,
            context,
            beyond,
        };
        // A stream that has ended is not referred to.
        self.has_before = !inflated.first_block().is_some_and(|block| block.bfinal);
        inflated
    }

    /// What a message leans on: one that inflates by itself leans on nothing.
    fn context(&mut self, message: &Message, is_whole: bool) -> Context {
        if self.coding.no_context_takeover || !self.has_before {
            return Context::Fresh;
        }
        if !message.compressed.is_whole() || !is_whole {
            return Context::Unknown;
        }
        let mut inflater = self.codecs.inflater();
        let kept = &message.compressed.kept;
        let alone = inflates_on(&mut inflater, kept, message.plain.octets, true);
        self.codecs.give_back(inflater);
        match alone {
            true => Context::Unused,
            false => Context::Earlier,
        }
    }

    /// The first reference beyond the window that was agreed on, in what is kept of a
    /// message. Nothing can refer beyond the largest window.
    fn beyond(&self, message: &Message) -> Option<Beyond> {
        let window = self
            .window
            .filter(|window| *window < 1 << MOST_WINDOW_BITS)?;
        let found = first_beyond(window, &message.compressed.kept)?;
        Some(Beyond {
            distance: found.distance as u64,
            window: window as u64,
            is_to_earlier: found.distance > found.before,
            at: message.position(found.at),
        })
    }
}

/// Whether these octets inflate, to at most so many, behind what the inflater has
/// read; `ends` is whether they are a whole message. What comes out is not looked
/// at.
pub(super) fn inflates_on(
    inflater: &mut Inflater,
    mut compressed: &[u8],
    most: u64,
    ends: bool,
) -> bool {
    let mut room = [0; 4096];
    let mut octets = 0;
    loop {
        let Ok(step) = inflater.inflate(compressed, &mut room) else {
            return false;
        };
        octets += step.written as u64;
        if octets > most || inflater.is_broken() {
            return false;
        }
        compressed = compressed.get(step.consumed..).unwrap_or_default();
        if compressed.is_empty() && !step.room_is_full {
            break;
        }
    }
    if !ends {
        return true;
    }
    loop {
        match inflater.finish(&mut room) {
            Err(_) => return false,
            Ok(finished) if finished.is_finished => return true,
            Ok(_) => {}
        }
    }
}
