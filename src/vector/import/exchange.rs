//! Where the conversations of one connection start: a client may ask several times,
//! and through a proxy's tunnel.

use std::ops::Range;

use memchr::memmem;

use super::request::{asks, head, is_request};
use crate::vector::recorded::header;

/// A request with all that belongs to it, up to the next request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    /// Its octets among those of the client.
    pub(super) client: Range<usize>,
    /// Its octets among those of the server.
    pub(super) server: Range<usize>,
    /// The authority to which a tunnel was opened before it.
    pub(super) tunnel: Option<String>,
}

/// The exchanges of a connection. One starts at each request behind a complete
/// answer; the last one takes all that is left. An exchange that opens a tunnel is
/// none itself.
pub(super) fn exchanges(client: &[u8], server: &[u8]) -> Vec<Exchange> {
    let mut all = Vec::new();
    let (mut at, mut answered, mut tunnel) = (0, 0, None);
    loop {
        let (asked, answer) = (rest(client, at), rest(server, answered));
        let end = end_of_exchange(asked, answer);
        let (next, next_answer) = match &end {
            Some(end) => (at + end.client, answered + end.server),
            None => (client.len(), server.len()),
        };
        // A tunnel need not hold HTTP; what follows a request does.
        let goes_on = end
            .as_ref()
            .is_some_and(|end| end.tunnel.is_some() || is_request(rest(client, next)));
        let (upto, answer_upto) = if goes_on {
            (next, next_answer)
        } else {
            (client.len(), server.len())
        };
        let opened = end.filter(|_| goes_on).and_then(|end| end.tunnel);
        let opens = opened.is_some();
        if !opens {
            all.push(Exchange {
                client: at..upto,
                server: answered..answer_upto,
                tunnel: tunnel.clone(),
            });
        }
        tunnel = opened.or(tunnel);
        if !goes_on {
            return all;
        }
        (at, answered) = (next, next_answer);
    }
}

fn rest(octets: &[u8], at: usize) -> &[u8] {
    octets.get(at..).unwrap_or_default()
}

/// How many octets of both sides an exchange has.
struct ExchangeEnd {
    client: usize,
    server: usize,
    tunnel: Option<String>,
}

/// Where an exchange ends; `None` where it takes all that is left: the protocol
/// changes, or its answer is not complete.
fn end_of_exchange(asked: &[u8], answer: &[u8]) -> Option<ExchangeEnd> {
    if !is_request(asked) {
        return None;
    }
    let request = head(asked);
    let request_len = request.len() + 4;
    asked.get(..request_len)?;
    let (status, response_at) = last_status(answer)?;
    let response = head(rest(answer, response_at));
    let body_at = response_at + response.len() + 4;
    let body = answer.get(body_at..)?;
    let method = request.split(|o| *o == b' ').next().unwrap_or_default();
    if method == b"CONNECT" && (200..300).contains(&status) {
        let target = request.split(|o| *o == b' ').nth(1).unwrap_or_default();
        return Some(ExchangeEnd {
            client: request_len,
            server: body_at,
            tunnel: Some(String::from_utf8_lossy(target).into_owned()),
        });
    }
    if status == 101 {
        return None;
    }
    let bodiless = method == b"HEAD" || matches!(status, 204 | 304);
    let answer_body = if bodiless {
        0
    } else {
        body_len(response, body)?
    };
    let sent = rest(asked, request_len);
    let mut request_body = match body_len(request, sent) {
        Some(len) => len,
        // A request without a length has no body.
        None if header(request, "Transfer-Encoding").is_some() => return None,
        None => 0,
    };
    // The eight octets of hixie-76 have no length of their own.
    if asks(request) && request_body == 0 && !is_request(sent) && is_request(rest(sent, 8)) {
        request_body = 8;
    }
    Some(ExchangeEnd {
        client: request_len + request_body,
        server: body_at + answer_body,
        tunnel: None,
    })
}

/// The status of the final response, and where its head starts: 1xx responses other
/// than 101 come before it.
fn last_status(answer: &[u8]) -> Option<(u16, usize)> {
    let mut at = 0;
    loop {
        let head = head(rest(answer, at));
        answer.get(at..at + head.len() + 4)?;
        let status = status(head)?;
        if status == 101 || !(100..200).contains(&status) {
            return Some((status, at));
        }
        at += head.len() + 4;
    }
}

fn status(head: &[u8]) -> Option<u16> {
    if !head.starts_with(b"HTTP/1.") {
        return None;
    }
    let status = head.split(|o| *o == b' ').nth(1)?.get(..3)?;
    std::str::from_utf8(status).ok()?.parse().ok()
}

/// How long the body behind a head is; `None` where it ends with TCP, or is not
/// complete.
fn body_len(head: &[u8], body: &[u8]) -> Option<usize> {
    if let Some(coding) = header(head, "Transfer-Encoding") {
        return coding
            .to_ascii_lowercase()
            .ends_with("chunked")
            .then(|| chunked_len(body))?;
    }
    let len: usize = header(head, "Content-Length")?.parse().ok()?;
    (len <= body.len()).then_some(len)
}

/// The length of a body in chunks, with its last line.
fn chunked_len(body: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = memmem::find(rest(body, at), b"\r\n")?;
        let size = body.get(at..at + line)?;
        let size = size.split(|o| *o == b';').next().unwrap_or_default();
        let size = std::str::from_utf8(size).ok()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        at += line + 2;
        if size == 0 {
            break;
        }
        at = at.checked_add(size)?.checked_add(2)?;
    }
    // Trailers, and the empty line behind them.
    loop {
        let line = memmem::find(rest(body, at), b"\r\n")?;
        at += line + 2;
        if line == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";

    fn lens(client: &[u8], server: &[u8]) -> Vec<(usize, usize)> {
        let all = exchanges(client, server);
        all.iter()
            .map(|one| (one.client.len(), one.server.len()))
            .collect()
    }

    #[test]
    fn an_exchange_starts_behind_each_complete_answer() {
        let yes: &[u8] = b"HTTP/1.1 101 x\r\n\r\n\x81\x00";
        for first in [
            &b"HTTP/1.1 401 x\r\nContent-Length: 2\r\n\r\nno"[..],
            b"HTTP/1.1 103 x\r\n\r\nHTTP/1.1 401 x\r\nContent-Length: 2\r\n\r\nno",
            b"HTTP/1.1 401 x\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nno\r\n0\r\nA: b\r\n\r\n",
            b"HTTP/1.1 204 x\r\n\r\n",
        ] {
            let server = [first, yes].concat();
            let client = [ASK, ASK].concat();
            let want = [(ASK.len(), first.len()), (ASK.len(), yes.len())];
            assert_eq!(lens(&client, &server), want);
            // The eight octets of hixie-76 belong to the request before them.
            let client = [ASK, b"12345678", ASK].concat();
            let want = [(ASK.len() + 8, first.len()), (ASK.len(), yes.len())];
            assert_eq!(lens(&client, &server), want);
            // An answer that is not complete is the last.
            let cut = &first[..first.len() - 1];
            assert_eq!(
                lens(&[ASK, ASK].concat(), cut),
                [(ASK.len() * 2, cut.len())]
            );
        }
    }

    #[test]
    fn after_an_upgrade_there_is_no_request() {
        let server = b"HTTP/1.1 101 x\r\n\r\n";
        let client = [ASK, ASK].concat();
        assert_eq!(lens(&client, server), [(client.len(), server.len())]);
        assert_eq!(lens(b"", b""), [(0, 0)]);
        assert_eq!(lens(ASK, b""), [(ASK.len(), 0)]);
    }

    #[test]
    fn a_tunnel_holds_a_conversation_of_its_own() {
        let connect = b"CONNECT a:80 HTTP/1.1\r\n\r\n";
        let client = [&connect[..], ASK].concat();
        let server = b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\nHTTP/1.1 101 x\r\n\r\n";
        let all = exchanges(&client, server);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].tunnel.as_deref(), Some("a:80"));
        assert_eq!(all[0].client, connect.len()..client.len());
        assert!(server[all[0].server.clone()].starts_with(b"HTTP/1.1 101"));
    }
}
