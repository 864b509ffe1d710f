//! The room: what one link says, all others in it hear, whatever they speak.
//!
//! What is said in one turn of the loop is written once for each layout, and
//! shared by all who hear it: neither the number of messages nor that of
//! members multiplies memory.

use std::sync::Arc;

use super::Worker;
use crate::frame::{self, Kind, Opcode, hixie75};
use crate::net::{App, LinkId};
use crate::version::{Layout, VERSIONS, Version};

/// A listener in the room over the limit has so many milliseconds to take
/// something, and at most so many times the limit waits for him.
const PATIENCE_MS: u64 = 1_000;
const PATIENCE: usize = 16;

/// Servers frame text in as many ways.
const WAYS: usize = 4;

/// The way in which a server of this layout frames text.
fn way(layout: Layout) -> usize {
    match layout {
        Layout::Hixie75 => 0,
        Layout::Hybi01 => 1,
        Layout::Hybi04 | Layout::Hybi05 => 2,
        Layout::Hybi07 => 3,
    }
}

/// A whole text as a server frames it.
fn text_from_server(version: &Version, text: &str, out: &mut Vec<u8>) {
    if version.layout == Layout::Hixie75 {
        return hixie75::write_text(text.as_bytes(), true, true, out);
    }
    let (head, n) = frame::head(version, Opcode::Data(Kind::Text), true, text.len());
    out.extend_from_slice(head.get(..n).unwrap_or_default());
    out.extend_from_slice(text.as_bytes());
}

/// Who is in the room, and what was said in this turn of the loop.
#[derive(Debug, Default)]
pub(in crate::net) struct Room {
    pub(super) members: Vec<LinkId>,
    frames: [Vec<u8>; WAYS],
    contributions: Vec<Contribution>,
}

/// What one link said without another in between.
#[derive(Clone, Copy, Debug)]
struct Contribution {
    from: LinkId,
    /// Where it ends, framed in each way.
    ends: [usize; WAYS],
}

impl Room {
    /// One says something to all others.
    pub(in crate::net) fn publish(&mut self, from: LinkId, text: &str) {
        let mut framed = [false; WAYS];
        for version in &VERSIONS {
            let way = way(version.layout);
            let (Some(frames), Some(framed)) = (self.frames.get_mut(way), framed.get_mut(way))
            else {
                continue;
            };
            if !std::mem::replace(framed, true) {
                text_from_server(version, text, frames);
            }
        }
        let ends = self.frames.each_ref().map(Vec::len);
        match self.contributions.last_mut() {
            Some(contribution) if contribution.from == from => contribution.ends = ends,
            _ => self.contributions.push(Contribution { from, ends }),
        }
    }

    /// How much has been said, for [`Room::take_back`].
    pub(super) fn mark(&self) -> usize {
        self.contributions.len()
    }

    /// Takes back what was said since the mark.
    pub(super) fn take_back(&mut self, mark: usize) {
        self.contributions.truncate(mark);
        let ends = self
            .contributions
            .last()
            .map_or([0; WAYS], |contribution| contribution.ends);
        for (frames, end) in self.frames.iter_mut().zip(ends) {
            frames.truncate(end);
        }
    }

    /// All that was said in this turn of the loop, if anything was.
    pub(super) fn take(&mut self) -> Option<Batch> {
        if self.contributions.is_empty() {
            return None;
        }
        Some(Batch {
            frames: std::mem::take(&mut self.frames).map(Arc::from),
            contributions: Arc::from(std::mem::take(&mut self.contributions)),
        })
    }
}

/// What was said in one turn of the loop, for all who hear it.
#[derive(Clone, Debug)]
pub(in crate::net) struct Batch {
    frames: [Arc<[u8]>; WAYS],
    contributions: Arc<[Contribution]>,
}

impl Batch {
    /// Who has said something.
    pub(super) fn speakers(&self) -> impl Iterator<Item = LinkId> {
        self.contributions
            .iter()
            .map(|contribution| contribution.from)
    }

    /// What all but the speakers hear.
    pub(super) fn frames(&self, version: &Version) -> Arc<[u8]> {
        let frames = self.frames.get(way(version.layout));
        frames.map(Arc::clone).unwrap_or_default()
    }

    /// What one hears who has said some of it himself.
    pub(super) fn frames_without(&self, version: &Version, listener: LinkId) -> Arc<[u8]> {
        if !self.speakers().any(|from| from == listener) {
            return self.frames(version);
        }
        let way = way(version.layout);
        let mut frames = Vec::new();
        let mut start = 0;
        for contribution in self.contributions.iter() {
            let end = contribution.ends.get(way).copied().unwrap_or(start);
            if contribution.from != listener {
                let part = self
                    .frames
                    .get(way)
                    .and_then(|frames| frames.get(start..end));
                frames.extend_from_slice(part.unwrap_or_default());
            }
            start = end;
        }
        frames.into()
    }
}

impl<A: App> Worker<A> {
    /// Hands on what was said in the room in this turn of the loop.
    pub(super) fn deliver(&mut self) {
        let Some(batch) = self.scratch.room.take() else {
            return;
        };
        self.mail.post(&batch);
        if self.mail.has_unsent() {
            // Who speaks faster than the other workers take is not read until
            // they did.
            for LinkId(token) in batch.speakers() {
                if let Some(Some(link)) = self.slots.get(token) {
                    if !link.read_paused_by_mailbox {
                        link.read_paused_by_mailbox = true;
                        self.paused_by_mailbox.push(token);
                    }
                }
            }
        }
        self.send_to_members(|version, listener| batch.frames_without(version, listener));
    }

    /// Lets all in the room hear something. Who does not take what he hears is
    /// dropped, and nobody waits for him.
    fn send_to_members(&mut self, frames: impl Fn(&'static Version, LinkId) -> Arc<[u8]>) {
        let now_ms = self.now_ms;
        let limit = self.scratch.config.limits.output_bytes;
        for listener in self.scratch.room.members.clone() {
            let LinkId(token) = listener;
            let Some(Some(link)) = self.slots.get(token) else {
                continue;
            };
            let (Some(version), Ok(_)) = (link.conn.version(), link.conn.framing_of(Kind::Text, 0))
            else {
                continue;
            };
            let waits = link.backlog.len();
            // Octets that all share are not his alone, so a slow one has time to
            // take them; but neither for ever nor without bound.
            let stalls = now_ms.saturating_sub(link.since_ms) >= PATIENCE_MS;
            if waits > limit && (stalls || waits > limit.saturating_mul(PATIENCE)) {
                log::warn!(target: "heirloom::net", "a connection that does not read its messages is dropped");
                self.remove_link(token);
                continue;
            }
            let octets = frames(version, listener);
            if octets.is_empty() {
                continue;
            }
            if waits == 0 {
                link.since_ms = now_ms;
            }
            if let Err(error) = link.send_shared(octets) {
                log::debug!(target: "heirloom::net", "a write failed: {error}");
                self.remove_link(token);
                continue;
            }
            self.with_link(token, |_, _, _, _| ());
        }
    }

    pub(super) fn read_mail(&mut self) {
        while let Some(batch) = self.mail.receive() {
            self.send_to_members(|version, _| batch.frames(version));
        }
        self.mail.has_room();
        if self.mail.send_unsent() {
            for token in std::mem::take(&mut self.paused_by_mailbox) {
                if let Some(Some(link)) = self.slots.get(token) {
                    link.read_paused_by_mailbox = false;
                    if !link.queued {
                        link.queued = true;
                        self.ready.push_back(token);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(batch: &Batch, name: &str, listener: usize) -> Vec<u8> {
        let version = Version::named(name).expect("a version");
        batch.frames_without(version, LinkId(listener)).to_vec()
    }

    #[test]
    fn each_hears_the_others_in_his_own_version() {
        let mut room = Room::default();
        room.publish(LinkId(1), "a");
        room.publish(LinkId(1), "b");
        room.publish(LinkId(2), "c");
        let batch = room.take().expect("something was said");
        assert_eq!(frames(&batch, "hixie-76", 3), b"\0a\xff\0b\xff\0c\xff");
        assert_eq!(frames(&batch, "hixie-75", 1), b"\0c\xff");
        assert_eq!(frames(&batch, "rfc6455", 2), b"\x81\x01a\x81\x01b");
        assert_eq!(frames(&batch, "hybi-03", 1), b"\x04\x01c");
        assert_eq!(frames(&batch, "hybi-06", 1), b"\x84\x01c");
        assert!(room.take().is_none());
    }

    #[test]
    fn what_is_taken_back_is_not_heard() {
        let mut room = Room::default();
        room.publish(LinkId(1), "a");
        let mark = room.mark();
        room.publish(LinkId(2), "b");
        room.take_back(mark);
        let batch = room.take().expect("something was said");
        assert_eq!(frames(&batch, "rfc6455", 3), b"\x81\x01a");
    }
}
