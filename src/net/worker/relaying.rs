//! Plain HTTP between a client and its backend, once the first request's head was
//! read: what one link of a bridge reads, the other one writes as it is.

use super::bridge;
use super::link::{AfterTurn, Flow, Link};
use super::scratch::{Context, Scratch};
use super::timing::Stage;
use crate::bytes::Output;
use crate::frame::GOING_AWAY;
use crate::net::app::{ClosedBy, EndReason};
use crate::net::backlog::Backlog;
use crate::net::refusal::NetRefusal;
use crate::net::transport::ReadResult;
use crate::version::Side;

/// Reads once, and hands on what was read.
pub(super) fn read<D>(
    link: &mut Link<D>,
    partner: &mut Link<D>,
    scratch: &mut Scratch,
    context: &Context<'_>,
) -> AfterTurn {
    if link.flow.take(Flow::PARSE_DUE) {
        // It arrived behind the request's head.
        let octets = link.take_unparsed();
        carry(link, &octets, &mut scratch.peer_out.octets);
        return AfterTurn::Keep;
    }
    match link.transport.read(&mut scratch.buffer) {
        ReadResult::Octets(n) => {
            let (octets, _) = scratch.buffer.split_at(n);
            if let Some(recorder) = link.recorder() {
                recorder.note(Side::Client, octets);
            }
            carry(link, octets, &mut scratch.peer_out.octets);
            if !link.is_of_client() && !std::mem::replace(&mut partner.past.answered, true) {
                first_octets(link, partner, octets);
            }
            // A peer that has to read has a deadline of its own.
            for end in [link, partner] {
                if end.backlog.is_empty() {
                    end.timing.restart(context.now_ms);
                }
            }
            AfterTurn::Keep
        }
        ReadResult::Nothing => AfterTurn::Keep,
        ReadResult::Broken(error) => {
            bridge::warn_of_tls(link, &error, &mut scratch.warnings, context.now_ms);
            link.broken(&error);
            AfterTurn::Drop
        }
        // Another server of the backend is tried.
        ReadResult::End if link.may_go_on() => AfterTurn::Drop,
        ReadResult::End => {
            end_of_input(link, partner, &mut scratch.peer_out.output(), context);
            AfterTurn::Keep
        }
    }
}

/// A backend has begun to answer.
fn first_octets<D>(link: &mut Link<D>, partner: &mut Link<D>, octets: &[u8]) {
    let is_tls = link.transport.is_tls();
    if let Some(course) = link.bridge_mut().and_then(|bridge| bridge.course.take()) {
        course.answered(is_tls, status(octets));
    }
    if let Some(client) = partner.bridge_mut() {
        client.status = status(octets);
    }
}

/// The status of a response that begins so.
fn status(octets: &[u8]) -> Option<u16> {
    let digits = octets.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    let digits = std::str::from_utf8(digits).ok()?;
    let is_number = digits.bytes().all(|o| o.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

fn carry<D>(link: &mut Link<D>, octets: &[u8], out: &mut Vec<u8>) {
    if let Some(stream) = link.stream() {
        stream.carry(octets, out);
    }
}

/// The peer of a link has ended its side of TCP: so does the other link, once all
/// is written.
fn end_of_input<D>(
    link: &mut Link<D>,
    partner: &mut Link<D>,
    out: &mut Output<'_>,
    context: &Context<'_>,
) {
    let Some(stream) = link.stream() else {
        return;
    };
    if std::mem::replace(&mut stream.ended, true) {
        return;
    }
    let what = if link.transport.is_truncated() {
        partner.transport.withhold_tls_close();
        "tls-truncated"
    } else {
        "closed"
    };
    partner.flow.set(Flow::ENDS_WRITES, true);
    if link.is_of_client() {
        // It may still be answered.
        if partner.stream().is_some_and(|stream| stream.ended) {
            link.ended_by_peer(what, None);
        }
    } else if partner.past.answered {
        let has_client_ended = partner.stream().is_some_and(|stream| stream.ended);
        let by = if has_client_ended {
            ClosedBy::Client
        } else {
            ClosedBy::Backend
        };
        partner.end(EndReason {
            by,
            what,
            code: None,
        });
        partner.timing.enter(Stage::RelayEnding, context.now_ms);
    } else {
        let refusal = NetRefusal::BackendCut.into();
        partner.refuse(ClosedBy::Backend, refusal, context.hint(), out);
    }
}

/// Neither end has sent anything for a while, and nothing waits for the peer of
/// this link.
pub(super) fn expire<D>(
    link: &mut Link<D>,
    partner: &Link<D>,
    out: &mut Output<'_>,
    context: &Context<'_>,
) -> AfterTurn {
    if link.flow.is_paused() || !partner.backlog.is_empty() {
        // The backend has to read first, and has a deadline of its own.
        link.timing.restart(context.now_ms);
        return AfterTurn::Keep;
    }
    let is_ending = link.timing.stage() == Stage::RelayEnding;
    if link.past.answered {
        let what = if is_ending {
            "going-away"
        } else {
            "idle-timeout"
        };
        link.end(EndReason::by_server(what, None));
        link.conn.close(GOING_AWAY, "", out);
    } else if is_ending {
        let refusal = NetRefusal::GoingAway.into();
        link.refuse(ClosedBy::Server, refusal, context.hint(), out);
    } else {
        let refusal = NetRefusal::BackendSilent.into();
        link.refuse(ClosedBy::Backend, refusal, context.hint(), out);
    }
    AfterTurn::Keep
}

/// A write has failed. Whether the link goes on, without what waited to be
/// written: a backend may have answered an upload before it broke off, and that is
/// still read.
pub(super) fn outlives_writes<D>(link: &mut Link<D>) -> bool {
    let outlives = link.timing.stage().relays() && !link.is_of_client();
    if outlives {
        link.backlog = Backlog::default();
        link.transport.assume_readable();
    }
    outlives
}

/// Ends our side of TCP where that is due. When both sides have ended, nothing is
/// left to do.
pub(super) fn advance<D>(link: &mut Link<D>) -> AfterTurn {
    if link.flow.has(Flow::ENDS_WRITES)
        && link.backlog.is_empty()
        && !link.flow.has(Flow::HAS_ENDED_WRITES)
    {
        link.flow.set(Flow::HAS_ENDED_WRITES, true);
        if link.transport.shutdown_write().is_err() {
            return AfterTurn::Drop;
        }
    }
    let has_ended = link.stream().is_some_and(|stream| stream.ended);
    if has_ended && link.flow.has(Flow::HAS_ENDED_WRITES) {
        AfterTurn::Drop
    } else {
        AfterTurn::Keep
    }
}
