//! What is offered to backends and answered to clients.

use std::net::SocketAddr;
use std::process::Command;

use heirloom::extension::{ContextMemory, Mode};

use super::{Alone, Contexts, EXTENSIONS, MOST, NO_CONTEXT, bridge, gate, mode, pass, text};
use crate::gate::{gate_with, request_with};
use crate::support::backend::Backend;
use crate::support::peer::{Head, Peer, RFC, TEXT};
use crate::support::program::{HEIRLOOM, Program};

/// A client asks with these header lines, and a backend answers with this value.
/// What the backend is offered, and what the client is answered.
fn agree(
    address: SocketAddr,
    backend: &Backend,
    lines: &[&str],
    answer: Option<&str>,
) -> (Option<String>, Option<String>) {
    let mut client = Peer::connect(address);
    client.send(&request_with(RFC, "/", lines));
    let mut served = backend.accept();
    let headers: Vec<_> = answer.iter().map(|answer| (EXTENSIONS, *answer)).collect();
    served.agree_to(&headers);
    let head = client.head();
    assert_eq!(head.status(), 101, "{head:?}");
    let value = |head: &Head| head.header(EXTENSIONS).map(str::to_owned);
    (value(&served.head), value(&head))
}

const OFFER_OF_SHARED: &str = "permessage-deflate; server_no_context_takeover; \
    client_no_context_takeover; client_max_window_bits";
const OFFER_OF_CONTEXTS: &str = "permessage-deflate; client_max_window_bits";

#[test]
fn no_line_of_either_side_gets_to_the_other() {
    let backend = Backend::listen();
    for (in_mode, offered) in [
        (Mode::Off, None),
        (Mode::Shared, Some(OFFER_OF_SHARED)),
        (Mode::PerConnection, Some(OFFER_OF_CONTEXTS)),
    ] {
        let gate = gate(&backend, in_mode, MOST);
        let of_client = [
            "Sec-WebSocket-Extensions: x-of-the-client; a=1",
            "sec-websocket-extensions: permessage-deflate; server_max_window_bits=11",
        ];
        let answered = match in_mode {
            Mode::Off => None,
            Mode::Shared => Some(
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 server_max_window_bits=11",
            ),
            Mode::PerConnection => Some("permessage-deflate; server_max_window_bits=11"),
        };
        let of_backend = offered
            .map(|_| "permessage-deflate; server_no_context_takeover; client_max_window_bits=12");
        for (lines, answered) in [
            (&of_client[..], answered),
            (&of_client[..1], None),
            (&[], None),
        ] {
            for of_backend in [of_backend, None] {
                let (at_backend, at_client) = agree(gate.address, &backend, lines, of_backend);
                assert_eq!(at_backend.as_deref(), offered);
                assert_eq!(at_client.as_deref(), answered, "{lines:?}");
            }
        }
    }
}

#[test]
fn the_program_compresses_unless_it_is_told_not_to() {
    let backend = Backend::listen();
    let lines = ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"];
    for (args, offered, answered) in [
        (&[][..], Some(OFFER_OF_SHARED), Some(NO_CONTEXT)),
        (
            &["--compression", "shared"],
            Some(OFFER_OF_SHARED),
            Some(NO_CONTEXT),
        ),
        (
            &["--compression", "per-connection"],
            Some(OFFER_OF_CONTEXTS),
            Some("permessage-deflate"),
        ),
        (&["--compression", "off"], None, None),
    ] {
        let mut command = Command::new(HEIRLOOM);
        command.args(["gateway", "--listen", "127.0.0.1:0", "--to", &backend.url()]);
        let program = Program::start(command.args(args));
        let (at_backend, at_client) = agree(program.address, &backend, &lines, None);
        assert_eq!(at_backend.as_deref(), offered, "{args:?}");
        assert_eq!(at_client.as_deref(), answered, "{args:?}");
    }
}

#[test]
fn compression_is_offered_to_the_backend_of_a_client_that_agrees_to_it() {
    let backend = Backend::listen();
    let offer = ["Sec-WebSocket-Extensions: permessage-deflate"];
    let declined = ["Sec-WebSocket-Extensions: deflate-stream"];
    for (args, lines, offered) in [
        (&[][..], &offer[..], true),
        (&[], &declined, false),
        (&[], &[], false),
        (&["--backend-compression", "always"], &[], true),
        (&["--backend-compression", "never"], &offer, false),
    ] {
        let mut command = Command::new(HEIRLOOM);
        command.args(["gateway", "--listen", "127.0.0.1:0", "--to", &backend.url()]);
        let program = Program::start(command.args(args));
        let (at_backend, at_client) = agree(program.address, &backend, lines, None);
        assert_eq!(at_backend.is_some(), offered, "{args:?} {lines:?}");
        assert_eq!(at_client.is_some(), lines == offer, "{args:?} {lines:?}");
    }
}

#[test]
fn an_answer_that_no_offer_allows_is_refused() {
    let backend = Backend::listen();
    for in_mode in [Mode::Off, Mode::Shared, Mode::PerConnection] {
        let gate = gate(&backend, in_mode, MOST);
        let mut answers = vec!["x-webkit-deflate-frame", "deflate-frame", "x-other"];
        match in_mode {
            Mode::Off => answers.push("permessage-deflate"),
            // Each message on its own was asked for.
            Mode::Shared => answers.push("permessage-deflate"),
            Mode::PerConnection => {}
        }
        answers.extend([
            "permessage-deflate; server_no_context_takeover; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=7",
            "permessage-deflate; server_no_context_takeover; x",
            "permessage-deflate; server_no_context_takeover, x-other",
            "permessage-deflate; server_no_context_takeover;",
        ]);
        for answer in answers {
            let mut client = Peer::connect(gate.address);
            let offer = "Sec-WebSocket-Extensions: permessage-deflate, x-webkit-deflate-frame";
            client.send(&request_with(RFC, "/", &[offer]));
            let mut served = backend.accept();
            served.agree_to(&[(EXTENSIONS, answer)]);
            let (head, _) = client.response();
            assert_eq!(head.status(), 502, "{answer}");
            assert_eq!(head.header(EXTENSIONS), None);
            served.is_cut_off();
            drop((client, served));
            assert_eq!(gate.seen().what, "backend-handshake", "{answer}");
        }
    }
}

#[test]
fn a_backend_may_answer_without_flags_where_contexts_are_kept() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::PerConnection, MOST);
    let (mut client, mut served) = bridge(&gate, &backend, Alone, Contexts);
    let said = text(2000);
    let first = pass((&mut client, &mut served), TEXT, &[said.as_bytes()]);
    let second = pass((&mut client, &mut served), TEXT, &[said.as_bytes()]);
    // It refers to the first one.
    assert!(second.frames[0].len() * 3 < first.frames[0].len());
    pass((&mut served, &mut client), TEXT, &[said.as_bytes()]);
    let again = pass((&mut served, &mut client), TEXT, &[said.as_bytes()]);
    // For the client it refers to nothing.
    assert!(again.frames[0].len() * 2 > first.frames[0].len());
}

#[test]
fn without_memory_for_contexts_none_is_asked_for() {
    let backend = Backend::listen();
    let gate = gate_with(&backend.url(), |set| {
        mode(Mode::PerConnection)(set);
        let none = ContextMemory::new(0);
        set.config = set.config.clone().with_context_memory(none);
    });
    let lines = ["Sec-WebSocket-Extensions: permessage-deflate"];
    let answer = Some(NO_CONTEXT);
    let (at_backend, at_client) = agree(gate.address, &backend, &lines, answer);
    assert_eq!(at_backend.as_deref(), Some(OFFER_OF_SHARED));
    assert_eq!(at_client.as_deref(), Some(NO_CONTEXT));
}
