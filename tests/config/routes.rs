//! Routes by host and path, each with its own rules, on one port; and listeners, each
//! with its own certificate.

use std::net::SocketAddr;

use crate::support::backend::Backend;
use crate::support::certificate::Plan;
use crate::support::peer::{Peer, RFC, Speaks, request};
use crate::support::program::run;
use crate::support::tls_host::Files;
use crate::{Written, free, open_at, request_of};

/// The status of the answer to a request.
fn status(address: SocketAddr, request: &[u8]) -> (u16, String) {
    let mut peer = Peer::connect(address);
    peer.send(request);
    let (head, body) = peer.response();
    (head.status(), body)
}

#[test]
fn a_request_goes_where_its_host_and_path_lead() {
    let (app, old) = (Backend::listen(), Backend::listen());
    let file = Written::new(&format!(
        "[[listener]]\nlisten = \"127.0.0.1:0\"\n\
         [[route]]\nto = \"echo\"\nhost = \"a.example\"\n\
         [[route]]\npath = \"/app\"\nhost = \"a.example\"\nto = \"{}\"\n\
         [[route]]\npath = \"=/app/deep\"\nhost = \"a.example\"\nto = \"topic:deep\"\n\
         [[route]]\nhost = [\"*.a.example\", \"b.example:81\"]\nto = \"{}/fixed\"\n\
         [[route]]\nhost = \"lab.a.example\"\npath = \"=/\"\nto = \"lab\"\n",
        app.url(),
        old.url(),
    ));
    let mut program = file.start(&[]);
    let mut lines = program.take_lines();
    open_at(program.address, "a.example", "/x").echo("echo");
    assert!(lines.next_line().contains(" path=/x "));

    for (host, path) in [("a.example:99", "/app"), ("A.EXAMPLE", "/app/deep/er")] {
        let mut client = Peer::connect(program.address);
        client.send(&request_of(host, path));
        let mut served = app.open();
        client.agree(RFC);
        client.send_text("through");
        assert_eq!(served.receive_text(), "through");
        drop((client, served));
        let line = lines.next_line();
        assert!(
            line.contains(&format!(" backend={} ", app.address)),
            "{line}"
        );
    }

    let mut one = open_at(program.address, "a.example", "/app/deep");
    let mut other = open_at(program.address, "a.example", "/app/deep?query");
    // It has joined when its own handshake is over, which its first text shows.
    other.send_text("first");
    assert_eq!(one.receive_text(), "first");
    one.send_text("second");
    assert_eq!(other.receive_text(), "second");

    for (host, path) in [("x.y.a.example", "/any"), ("b.example:81", "/app")] {
        let mut client = Peer::connect(program.address);
        client.send(&request_of(host, path));
        let served = old.open();
        assert_eq!(served.head.lines[0], "GET /fixed HTTP/1.1");
        client.agree(RFC);
    }

    let lab = b"GET / HTTP/1.1\r\nHost: lab.a.example\r\n\r\n";
    let (code, page) = status(program.address, lab);
    assert!(code == 200 && page.contains("<title>"), "{code}");
    for host in ["b.example", "a.example.evil", "example"] {
        let (code, body) = status(program.address, &request_of(host, "/x"));
        assert_eq!(code, 403, "{host}: {body}");
        assert!(body.contains("host-forbidden"), "{body}");
    }
}

#[test]
fn a_request_without_a_route_is_told_so() {
    let file = Written::new(
        "[[listener]]\nlisten = \"127.0.0.1:0\"\n[[route]]\npath = \"/app\"\nto = \"echo\"\n",
    );
    let program = file.start(&[]);
    open_at(program.address, "any", "/app").echo("here");
    let (code, body) = status(program.address, &request_of("any", "/apple"));
    assert_eq!(code, 404, "{body}");
    assert!(body.contains("no-route"), "{body}");
}

#[test]
fn each_route_has_its_own_rules_and_those_of_the_top_otherwise() {
    let file = Written::new(
        "versions = \"all\"\norigin = \"https://a.example\"\nmax-message-bytes = 100\n\
         [[listener]]\nlisten = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/old\"\nto = \"echo\"\norigin = \"http://example.com\"\n\
         [[route]]\npath = \"/new\"\nto = \"echo\"\nversions = \"rfc6455\"\norigin = []\n\
         max-message-bytes = \"1KiB\"\n\
         [[route]]\nto = \"echo\"\n",
    );
    let program = file.start(&[]);
    for speaks in [Speaks::Hixie75, Speaks::Hixie76] {
        Peer::open(program.address, speaks, "/old").echo("old");
        let code = status(program.address, &request(speaks, "/new")).0;
        assert_eq!(code, 426);
    }
    let mut new = Peer::open(program.address, RFC, "/new");
    new.echo(&"x".repeat(1024));
    new.send_text(&"x".repeat(1025));
    new.close_frame(1009);
    // The origin of the top is asked for.
    let (code, body) = status(program.address, &request(RFC, "/else"));
    assert!(code == 403 && body.contains("origin-not-allowed"), "{body}");
}

#[test]
fn each_listener_has_its_own_certificate() {
    let all: Vec<(Files, SocketAddr)> = ["one.example", "two.example"]
        .map(|name| {
            (
                Files::of(&Plan::new(&[name, "127.0.0.1"]).self_signed()),
                free(),
            )
        })
        .into();
    let mut text = "[[route]]\nto = \"echo\"\n[[listener]]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    for (files, address) in &all {
        text.push_str(&format!(
            "[[listener]]\nlisten = \"tls://{address}\"\ntls-cert = {:?}\ntls-key = {:?}\n",
            files.certificate, files.key
        ));
    }
    let file = Written::new(&text);
    let program = file.start(&[]);
    Peer::open(program.address, RFC, "/").echo("plain");
    for (i, (files, address)) in all.iter().enumerate() {
        let url = format!("wss://{address}/");
        let [ca, own] = files.trusted();
        let ended = run(&["probe", &url, ca, own]);
        assert_eq!(ended.code, Some(0), "{} {}", ended.out, ended.talk);
        let other = &all[1 - i].0;
        let ended = run(&["probe", &url, ca, other.trusted()[1]]);
        assert_ne!(ended.code, Some(0), "{} {}", ended.out, ended.talk);
    }
}
