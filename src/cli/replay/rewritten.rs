//! Requests that are rewritten for the server at hand: its host, its origin, a path.

use heirloom::Side;
use heirloom::vector::Vector;

use super::Manner;
use super::moves::{Move, all_of, head_len};

/// Has the client ask the server that it is played to, but for what the vector is
/// about.
pub(super) fn rewrite_for(vector: &Vector, moves: &mut [Move], manner: &Manner) {
    let server = vector.expect.server.as_ref();
    let code = server.and_then(|c| c.code.as_deref()).unwrap_or_default();
    if let Some(url) = &manner.host {
        if !code.starts_with("host-") {
            rewrite(moves, "Host", &url.host);
        }
        if !code.starts_with("origin-") {
            let scheme = if url.secure { "https" } else { "http" };
            rewrite(moves, "Origin", &format!("{scheme}://{}", url.host));
        }
    }
    if let Some(target) = manner
        .target
        .as_ref()
        .filter(|_| !code.starts_with("target-"))
    {
        rewrite_target(moves, target);
    }
}

/// Asks for another target, where the request line is an ordinary one. What was one
/// write stays one write.
fn rewrite_target(moves: &mut [Move], target: &str) {
    let all = all_of(moves, Side::Client);
    let Some(rest) = all.strip_prefix(b"GET /") else {
        return;
    };
    let recorded = rest.iter().take_while(|octet| octet.is_ascii_graphic());
    let (from, to) = (4, 5 + recorded.count());
    if all
        .get(to..)
        .is_some_and(|rest| rest.starts_with(b" HTTP/1.1\r\n"))
    {
        replace(moves, from, to, target.as_bytes());
    }
}

/// Puts another value into a header of the request. What was one write stays one
/// write.
fn rewrite(moves: &mut [Move], name: &str, value: &str) {
    let all = all_of(moves, Side::Client);
    let (head, _) = all.split_at(head_len(&all).unwrap_or(0));
    let mut at = 0;
    let mut place = None;
    for line in head.split_inclusive(|octet| *octet == b'\n') {
        let (start, end) = (at, at + line.len());
        at = end;
        let colon = line.iter().position(|octet| *octet == b':');
        let Some(colon) = colon.filter(|n| {
            line.get(..*n)
                .is_some_and(|n| n.eq_ignore_ascii_case(name.as_bytes()))
        }) else {
            continue;
        };
        place = Some((start + colon + 1, end - 2));
    }
    if let Some((from, to)) = place {
        replace(moves, from, to, format!(" {value}").as_bytes());
    }
}

/// Puts these octets in the place of those of the client from one position to the
/// other.
fn replace(moves: &mut [Move], from: usize, to: usize, octets: &[u8]) {
    let mut at = 0;
    for step in moves.iter_mut().filter(|m| m.from == Side::Client) {
        let (start, end) = (at, at + step.octets.len());
        at = end;
        if start >= to || end <= from {
            continue;
        }
        // The new value starts where the old one started.
        let (cut_from, cut_to) = (from.max(start) - start, to.min(end) - start);
        let new = if from >= start { octets } else { &[] };
        step.octets.splice(cut_from..cut_to, new.iter().copied());
    }
}
