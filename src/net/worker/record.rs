//! What is noted of a connection: how far it came, how it ended, and its
//! recording where it has one.

use super::addresses::AddressPlace;
use crate::net::app::EndReason;
use crate::net::recorder::Recorder;
use crate::net::refusal::NetRefusal;
use crate::version::{Side, Version};

/// How far a link came.
#[derive(Debug)]
pub(super) struct Past {
    /// A 101 was sent, or what a backend answers to plain HTTP.
    pub(super) answered: bool,
    /// The handshake was finished.
    pub(super) opened: bool,
    /// When it started, in seconds of the worker's life.
    pub(super) began_s: u32,
}

/// What else is noted of a link.
#[derive(Debug, Default)]
pub(super) struct LinkRecord {
    /// Boxed, since few links have any of it.
    details: Option<Box<Details>>,
}

#[derive(Debug, Default)]
struct Details {
    /// How it ended: what was seen first.
    ended: Option<EndReason>,
    /// The version that was asked for, where it is off.
    requested_version: Option<&'static Version>,
    /// Keeps what goes over its wire.
    recorder: Option<Recorder>,
    /// Its place among the connections of its address, where they are limited.
    place: Option<AddressPlace>,
    /// Octets of this turn's output that were recorded.
    recorded: usize,
    /// The version of the TLS that it had.
    past_tls: Option<&'static str>,
    /// It is refused as soon as its first octet says whether it speaks TLS.
    due_refusal: Option<NetRefusal>,
}

impl Past {
    pub(super) fn new(now_ms: u64) -> Past {
        Past {
            answered: false,
            opened: false,
            began_s: u32::try_from(now_ms / 1000).unwrap_or(u32::MAX),
        }
    }
}

impl LinkRecord {
    /// Whether nothing is noted.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.details.is_none()
    }

    /// Notes an end, unless another one was seen before.
    pub(super) fn end(&mut self, ended: EndReason) {
        self.details
            .get_or_insert_default()
            .ended
            .get_or_insert(ended);
    }

    /// How it ended, once that is known.
    pub(super) fn ended(&self) -> Option<EndReason> {
        self.details.as_ref()?.ended
    }

    /// Keeps its place among the connections of its address.
    pub(super) fn set_place(&mut self, place: AddressPlace) {
        self.details.get_or_insert_default().place = Some(place);
    }

    /// Gives that place up.
    pub(super) fn take_place(&mut self) -> Option<AddressPlace> {
        self.details.as_mut()?.place.take()
    }

    /// Notes TLS that is given up.
    pub(super) fn set_past_tls(&mut self, version: &'static str) {
        self.details.get_or_insert_default().past_tls = Some(version);
    }

    pub(super) fn past_tls(&self) -> Option<&'static str> {
        self.details.as_ref()?.past_tls
    }

    /// Notes a version that is off.
    pub(super) fn set_requested_version(&mut self, version: &'static Version) {
        self.details.get_or_insert_default().requested_version = Some(version);
    }

    pub(super) fn requested_version(&self) -> Option<&'static Version> {
        self.details.as_ref()?.requested_version
    }

    /// It is to be refused so.
    pub(super) fn set_due_refusal(&mut self, refusal: NetRefusal) {
        self.details.get_or_insert_default().due_refusal = Some(refusal);
    }

    /// How it is to be refused, once it can be told.
    pub(super) fn take_due_refusal(&mut self) -> Option<NetRefusal> {
        self.details.as_mut()?.due_refusal.take()
    }

    /// Records what goes over the wire from now on.
    pub(super) fn start_recording(&mut self, recorder: Recorder) {
        self.details.get_or_insert_default().recorder = Some(recorder);
    }

    #[inline]
    pub(super) fn recorder(&self) -> Option<&Recorder> {
        self.details.as_ref()?.recorder.as_ref()
    }

    /// Octets that its recording holds.
    #[inline]
    pub(super) fn recorded(&self) -> usize {
        self.recorder().map_or(0, Recorder::octets)
    }

    /// Frees what was recorded, and records no more; whether that was something.
    pub(super) fn forget_recording(&self) -> bool {
        let recorder = self.recorder().filter(|recorder| recorder.octets() > 0);
        recorder.inspect(|recorder| recorder.retire()).is_some()
    }

    /// Records the output of this turn so far.
    #[inline]
    pub(super) fn note_output(&mut self, out: &[u8]) {
        if let Some(details) = &mut self.details {
            details.note_output(out);
        }
    }

    /// Records the rest of this turn's output, which is written then.
    #[inline]
    pub(super) fn end_turn(&mut self, out: &[u8]) {
        if let Some(details) = &mut self.details {
            details.note_output(out);
            details.recorded = 0;
        }
    }
}

impl Details {
    fn note_output(&mut self, out: &[u8]) {
        if let Some(recorder) = &self.recorder {
            if let Some(new) = out.get(self.recorded..) {
                recorder.note(Side::Server, new);
            }
            self.recorded = out.len();
        }
    }
}
