//! Text that is not UTF-8, which a version replaces or fails.

use heirloom::extension::Mode;

use super::{Alone, COMPRESSED, EXTENSIONS, End, Frames, MOST, NO_CONTEXT, gate, stored};
use crate::gate::request_with;
use crate::support::backend::Backend;
use crate::support::peer::{Peer, Speaks, TEXT};

/// Latin-1: hybi-07 has it replaced, and hybi-08 and later fail it.
const LATIN: &[u8] = b"caf\xe9, caf\xe9, caf\xe9, caf\xe9, caf\xe9, caf\xe9, caf\xe9, caf\xe9, caf\xe9, caf\xe9, caf\xe9";

#[test]
fn a_text_that_a_version_replaces_is_replaced_also_where_it_comes_compressed() {
    let backend = Backend::listen();
    let gate = gate(&backend, Mode::Shared, MOST);
    let replaced = String::from_utf8_lossy(LATIN);
    for (version, offer) in [
        (7, NO_CONTEXT),
        (7, "deflate-frame; no_context_takeover"),
        (7, "x-webkit-deflate-frame; no_context_takeover"),
    ] {
        let speaks = Speaks::Number(version);
        let mut client = Peer::connect(gate.address);
        let line = format!("{EXTENSIONS}: {offer}");
        client.send(&request_with(speaks, "/", &[&line]));
        let mut served = backend.accept();
        served.agree_to(&[(EXTENSIONS, NO_CONTEXT)]);
        client.agree(speaks);
        let mut served = End::new(served, Alone);
        client.write(TEXT | COMPRESSED, &stored(LATIN));
        assert_eq!(served.receive().payload, replaced.as_bytes(), "{offer}");
        client.write(TEXT, LATIN);
        assert_eq!(served.receive().payload, replaced.as_bytes(), "{offer}");
    }
}
