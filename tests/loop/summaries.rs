//! What an app is told when a connection is gone: the summary says what the wire
//! said.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use heirloom::Config;
use heirloom::error::Violation;
use heirloom::handshake::Request;
use heirloom::net::{App, ClosedBy, Handle, Incoming, LinkId, Reply, Summary};

use crate::support::PATIENCE;
use crate::support::peer::{BINARY, Peer, RFC, TEXT, frame};
use crate::support::server::Running;

/// Passes on how each connection ended, and ends it where it is told to.
struct Observer(Sender<Summary>);

impl App for Observer {
    type Data = ();

    fn request(&mut self, _: &Request<'_>, (): &mut ()) -> Reply {
        Reply::Accept(None)
    }

    fn message(&mut self, mut incoming: Incoming<'_>, link: &mut Handle<'_, Observer>) {
        match incoming.message().as_text() {
            Some("fail") => link.fail(Violation::Utf8Invalid),
            Some("close") => link.close(4000, "enough"),
            Some(_) => {}
            None => link.fail(Violation::BinaryUnwanted),
        }
    }

    fn closed(&mut self, _: LinkId, summary: &Summary, (): &mut ()) {
        // The test may have ended.
        let _ = self.0.send(summary.clone());
    }
}

#[test]
fn the_summary_of_a_connection_says_what_its_close_says() {
    let (tell, summaries) = channel();
    let tell = Mutex::new(tell);
    let server = Running::app(1, Config::default(), move || {
        Observer(tell.lock().unwrap().clone())
    });
    // FIN is 0x80 of the first octet.
    let start = TEXT & 0x7f;
    let large = [&[b'x'; 200_000][..], b"\xff", &[b'x'; 100]].concat();
    let invalid = [
        frame(TEXT, b"\xff"),
        frame(TEXT, b"half a character \xc3"),
        [frame(start, b"\xe2\x82"), frame(0x80, b"x")].concat(),
        [frame(start, b"\xe2\x82"), frame(0x80, b"")].concat(),
        frame(TEXT, &large),
        frame(TEXT, b"fail"),
    ];
    for octets in invalid {
        let mut peer = Peer::open(server.address, RFC, "/");
        peer.send(&octets);
        assert_eq!(peer.close_frame(1007), "utf8-invalid");
        drop(peer);
        let ended = summaries.recv_timeout(PATIENCE).unwrap().ended;
        let want = (ClosedBy::Client, "utf8-invalid", Some(1007));
        assert_eq!((ended.by, ended.what, ended.code), want);
    }

    let mut peer = Peer::open(server.address, RFC, "/");
    peer.send(&frame(BINARY, b"no text"));
    assert_eq!(peer.close_frame(1003), "binary-unwanted");
    drop(peer);
    let ended = summaries.recv_timeout(PATIENCE).unwrap().ended;
    let want = (ClosedBy::Client, "binary-unwanted", Some(1003));
    assert_eq!((ended.by, ended.what, ended.code), want);

    let mut peer = Peer::open(server.address, RFC, "/");
    peer.send_text("close");
    assert_eq!(peer.close_frame(4000), "enough");
    drop(peer);
    let ended = summaries.recv_timeout(PATIENCE).unwrap().ended;
    let want = (ClosedBy::Server, "closed", Some(4000));
    assert_eq!((ended.by, ended.what, ended.code), want);
}
