//! Bridges: two links, a client's and the one that was dialled for it. A turn of
//! one of them has both at hand.

use std::io;

use super::bridge_link::{BridgeLink, Carried, CarriedBack};
use super::link::{Flow, Link};
use super::scratch::{OutBuffer, Warnings};
use crate::bytes::{Input, Output};
use crate::conn::{BridgeEnd, Conn, Direction, Event, Phase};
use crate::error::Violation;
use crate::net::app::{ClosedBy, EndReason};
use crate::net::refusal::{Hint, NetRefusal};
use crate::net::settings::Settings;
use crate::net::tls::TlsFault;
use crate::version::Side;

/// What a turn knows of the bridge of its link.
pub(super) enum BridgeTurn<'t, D> {
    /// The link has no bridge.
    None,
    /// The other link of its bridge is gone.
    PartnerGone,
    /// The other link of its bridge.
    Partner(Partner<'t, D>),
}

/// The other link of a bridge.
pub(super) struct Partner<'t, D> {
    /// What our link knows of it.
    pub(super) bridge: &'t mut BridgeLink,
    pub(super) link: &'t mut Link<D>,
    pub(super) out: Output<'t>,
}

impl<'t, D> BridgeTurn<'t, D> {
    pub(super) fn new(
        bridge: &'t mut Option<Box<BridgeLink>>,
        partner: Option<&'t mut Link<D>>,
        out: &'t mut OutBuffer,
    ) -> BridgeTurn<'t, D> {
        match (bridge, partner) {
            (None, _) => BridgeTurn::None,
            (Some(_), None) => BridgeTurn::PartnerGone,
            (Some(bridge), Some(link)) => BridgeTurn::Partner(Partner {
                bridge,
                link,
                out: out.output(),
            }),
        }
    }
}

impl<'t, D> Partner<'t, D> {
    /// Whether an open link must wait: its partner cannot be sent anything yet.
    pub(super) fn is_early(&self) -> bool {
        is_early(&self.link.conn)
    }

    /// Carries the messages that come next in the input, as long as each lies whole
    /// in it, to the other end.
    #[inline]
    pub(super) fn carry_whole(
        &mut self,
        input: &mut Input<'_>,
        conn: &mut Conn,
        out: &mut Output<'_>,
    ) -> Result<(), Violation> {
        let mut from = BridgeEnd { conn, out };
        self.direction().map_or(Ok(()), |(direction, mut to)| {
            direction.carry_whole(input, &mut from, &mut to)
        })
    }

    /// Both ends are open: compressed messages go on as they are, where they may.
    pub(super) fn keep_compressed(&mut self, conn: &mut Conn) {
        if let Some((direction, to)) = self.direction() {
            direction.keep_compressed(conn, to.conn);
            direction.keep_compressed(to.conn, conn);
        }
    }

    /// Carries what happened to the other end.
    pub(super) fn carry(
        &mut self,
        event: Event<'_>,
        conn: &mut Conn,
        out: &mut Output<'_>,
    ) -> Result<(), Violation> {
        let mut from = BridgeEnd { conn, out };
        self.direction().map_or(Ok(()), |(direction, mut to)| {
            direction.carry(event, &mut from, &mut to)
        })
    }

    /// What carries messages to this end, and the end; `None` where octets are
    /// relayed.
    #[inline]
    fn direction(&mut self) -> Option<(&mut Direction, BridgeEnd<'_, 't>)> {
        let Carried::Messages(direction) = &mut self.bridge.carries else {
            return None;
        };
        let to = BridgeEnd {
            conn: &mut self.link.conn,
            out: &mut self.out,
        };
        Some((direction, to))
    }
}

/// Whether a connection is still in its handshake and can be sent nothing.
fn is_early(conn: &Conn) -> bool {
    conn.phase() == Phase::Handshake
}

/// The peer of a link, to which our end has this side, failed with this
/// violation. If it is a backend that failed its handshake, its client is
/// refused, unless that was answered; `headers` are those of its response that
/// the client gets.
pub(super) fn refuse_client<D>(
    (side, violation): (Side, Violation),
    headers: &CarriedBack,
    partner: &mut Link<D>,
    hint: Option<Hint>,
    out: &mut Output<'_>,
) {
    if side == Side::Server || !is_early(&partner.conn) || partner.past.answered {
        return;
    }
    let refusal = match violation {
        // Another gateway has found it.
        Violation::ResponseStatus { status: 508 } => NetRefusal::GatewayLoop,
        Violation::ResponseStatus { status } => NetRefusal::BackendRefused { status },
        violation => NetRefusal::BackendHandshake { violation },
    };
    partner.end(EndReason {
        by: ClosedBy::Backend,
        what: refusal.code(),
        code: Some(refusal.response_status()),
    });
    // 407 and 426 concern the hop to the backend, and so do their headers.
    let is_for_client = refusal.response_status() < 500;
    let headers = if is_for_client {
        headers.headers()
    } else {
        Vec::new()
    };
    refusal.respond_carrying(&headers, &mut partner.conn, hint, out);
}

/// The peer of a link has ended its side of TCP in order: the other end closes.
pub(super) fn end_of_input<D>(link: &mut Link<D>, partner: &mut Link<D>, out: &mut Output<'_>) {
    let carries = link
        .rare
        .as_mut()
        .and_then(|rare| rare.bridge.as_mut())
        .map(|bridge| &mut bridge.carries);
    if let Some(Carried::Messages(direction)) = carries {
        let mut to = BridgeEnd {
            conn: &mut partner.conn,
            out,
        };
        direction.end(&link.conn, &mut to);
    }
}

/// A link's partner is gone: it closes, unless it does already.
pub(super) fn partner_lost<D>(
    link: &mut Link<D>,
    ended: Option<EndReason>,
    hint: Option<Hint>,
    out: &mut Output<'_>,
) {
    let Some(relays) = link.bridge().map(BridgeLink::relays) else {
        return;
    };
    let what = ended.map_or("connection-cut", |ended| ended.what);
    if is_early(&link.conn) && link.is_of_client() && !link.past.answered {
        let refusal = match what {
            "backend-timeout" => NetRefusal::BackendTimeout,
            "backend-unreachable" => NetRefusal::BackendUnreachable,
            "out-of-sockets" => NetRefusal::OutOfSockets,
            "tls-untrusted" => NetRefusal::BackendTls {
                why: "its certificate is not accepted",
            },
            "tls-absent" => NetRefusal::BackendTls {
                why: "it speaks no TLS on this port",
            },
            "tls-cut" => NetRefusal::BackendTls {
                why: "it ended the connection in the opening handshake of TLS",
            },
            "tls-failed" => NetRefusal::BackendTls {
                why: "the two do not agree on TLS",
            },
            "write-timeout" if relays => NetRefusal::BackendSilent,
            _ if relays => NetRefusal::BackendCut,
            _ => NetRefusal::BackendHandshake {
                violation: Violation::HandshakeCut,
            },
        };
        let by = match refusal {
            NetRefusal::OutOfSockets => ClosedBy::Server,
            _ => ClosedBy::Backend,
        };
        return link.refuse(by, refusal.into(), hint, out);
    }
    if let Some(ended) = ended {
        link.end(ended);
    }
    let mut end = BridgeEnd {
        conn: &mut link.conn,
        out,
    };
    let rare = link.rare.as_ref();
    if let Some(bridge) = rare.and_then(|rare| rare.bridge.as_ref()) {
        bridge.carries.peer_lost(what, &mut end);
    }
}

/// Says in the log why there is no TLS with a backend, which its client is not told.
pub(super) fn warn_of_tls<D>(
    link: &Link<D>,
    error: &io::Error,
    warnings: &mut Warnings,
    now_ms: u64,
) {
    let is_about_tls = link.is_backend_in_tls_handshake() || TlsFault::of(error).is_some();
    if is_about_tls && !link.is_of_client() && warnings.backend_tls.again(now_ms) {
        log::warn!(target: "heirloom::net", "TLS with the backend fails: {error}");
    }
}

/// After work on a bridge: where one link is over and the other is not, that one
/// closes.
pub(super) fn propagate_close<D>(
    (link, out): (&mut Link<D>, &mut OutBuffer),
    (partner, peer_out): (&mut Link<D>, &mut OutBuffer),
    hint: Option<Hint>,
) {
    match (link.is_over(), partner.is_over()) {
        (true, false) => {
            partner_lost(partner, link.ended(), hint, &mut peer_out.output());
        }
        (false, true) => partner_lost(link, partner.ended(), hint, &mut out.output()),
        _ => {}
    }
}

impl<D> Link<D> {
    /// Whether its plain HTTP must wait: its backend has another server for the case
    /// that this one cannot be reached, and what it has sent so far is sent again
    /// then.
    pub(super) fn waits_for_server_of(&self, backend: &Link<D>) -> bool {
        let relays = self.bridge().is_some_and(BridgeLink::relays);
        relays && self.is_of_client() && backend.may_go_on()
    }
}

/// Pauses each link of a bridge while the other one does not take what it sends.
pub(super) fn pause_reads<D>(link: &mut Link<D>, partner: &mut Link<D>, settings: &Settings) {
    let full = |link: &Link<D>| link.backlog.len() > link.high_water(settings);
    let waits = |link: &Link<D>, partner: &Link<D>| {
        !link.is_of_client() && link.conn.phase() == Phase::Open && is_early(&partner.conn)
            || link.waits_for_server_of(partner)
    };
    link.flow.set(
        Flow::PAUSED_BY_BRIDGE,
        !link.is_over() && (full(partner) || waits(link, partner)),
    );
    partner.flow.set(
        Flow::PAUSED_BY_BRIDGE,
        !partner.is_over() && (full(link) || waits(partner, link)),
    );
}
