//! Long messages, which are deflated in portions over several turns.

#[cfg(target_os = "linux")]
use std::sync::mpsc::channel;
#[cfg(target_os = "linux")]
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use heirloom::Config;
use heirloom::extension::{Compression, Level, Mode};
use heirloom::handshake::Request;
use heirloom::message::Message;
use heirloom::net::{App, Handle, Incoming, LinkId, Reply, Server};

use crate::compression::{
    ALONE, Client, DEFLATED_TEXT, KIB, MIB, WITH_CONTEXT, config, noise, prose,
};
use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::peer::{BINARY, PING, PONG, TEXT, frame};
use crate::support::server::Running;
use crate::turns::Steps;

#[test]
fn a_long_message_comes_compressed_in_one_frame_and_what_is_behind_it_follows() {
    for (mode, level, most) in [
        (Mode::Shared, Level::Default, MIB),
        (Mode::PerConnection, Level::Default, MIB),
        (Mode::Shared, Level::Best, MIB / 4),
    ] {
        let compression = Compression::default().with_mode(mode).with_level(level);
        let server = Running::serve(Config::default().with_compression(compression));
        for offer in [WITH_CONTEXT, "x-webkit-deflate-frame"] {
            let mut client = Client::open(server.address, offer, "/");
            let short = prose(2000);
            // Some end with a portion.
            for octets in [2000, most, most + 1, 2 * MIB, 2 * MIB + 1, 8 * MIB] {
                let text = prose(octets);
                let all = [
                    frame(DEFLATED_TEXT, &client.deflated(text.as_bytes())),
                    frame(PING, b"between"),
                    frame(TEXT, short.as_bytes()),
                ];
                client.send(&all.concat());
                let (first, length, echo) = client.message();
                assert_eq!(first, DEFLATED_TEXT, "{octets} octets, {mode:?}, {level:?}");
                assert!(echo == text.as_bytes(), "{octets} octets");
                assert!(length < octets * 3 / 4, "{octets} octets became {length}");
                assert_eq!(client.frame(), (PONG, b"between".to_vec()));
                let (first, _, echo) = client.message();
                assert_eq!((first, &*echo), (DEFLATED_TEXT, short.as_bytes()));
            }
            client.close();
        }
    }
}

#[test]
fn a_long_message_that_becomes_no_shorter_goes_as_it_is() {
    for mode in [Mode::Shared, Mode::PerConnection] {
        let server = Running::serve(config(mode));
        let mut client = Client::open(server.address, WITH_CONTEXT, "/");
        let noise = noise(3 * MIB);
        let text = prose(2000);
        for _ in 0..2 {
            client.send(&frame(BINARY, &noise));
            let (first, _, echo) = client.message();
            assert_eq!(first, BINARY);
            assert!(echo == noise);
            client.send_text(&text);
            let (first, _, echo) = client.message();
            assert_eq!((first, &*echo), (DEFLATED_TEXT, text.as_bytes()));
        }
    }
}

#[test]
fn others_have_their_turns_while_a_long_message_is_deflated() {
    let backend = Backend::listen();
    for (mode, offer) in [(Mode::Shared, ALONE), (Mode::PerConnection, WITH_CONTEXT)] {
        let mut steps = Steps::start(config(mode), &backend);
        let mut client = Client::open(steps.server.address, offer, "/");
        let text = prose(8 * MIB);
        let octets = frame(TEXT, text.as_bytes());
        steps.stop();
        let (begin, mut turns) = (Instant::now(), 0);
        thread::scope(|scope| {
            let sends = scope.spawn(|| client.send(&octets));
            while !sends.is_finished() {
                steps.step();
                turns += 1;
            }
        });
        while !client.has_received() {
            steps.step();
            turns += 1;
            assert!(begin.elapsed() < PATIENCE, "nothing comes back");
        }
        let least = text.len() / (64 * KIB);
        assert!(turns >= least, "{turns} turns");
        steps.go_on();
        let (first, _, echo) = client.message();
        assert_eq!(first, DEFLATED_TEXT);
        assert!(echo == text.as_bytes());
    }
}

/// Sends more behind what it sends back.
struct Talkative;

impl App for Talkative {
    type Data = ();

    fn request(&mut self, _: &Request<'_>, (): &mut ()) -> Reply {
        Reply::Accept(None)
    }

    fn message(&mut self, incoming: Incoming<'_>, link: &mut Handle<'_, Talkative>) {
        link.send(Message::text("before")).unwrap();
        link.send_back(incoming).unwrap();
        link.send(Message::text("behind")).unwrap();
        link.close(1000, "done");
    }
}

#[test]
fn what_an_app_sends_stays_in_order() {
    let server = Running::app(1, config(Mode::Shared), || Talkative);
    let mut client = Client::open(server.address, ALONE, "/");
    let text = prose(2 * MIB);
    client.send_text(&text);
    assert_eq!(client.receive_text(), "before");
    let (_, _, echo) = client.message();
    assert!(echo == text.as_bytes());
    assert_eq!(client.receive_text(), "behind");
    assert_eq!(client.close_frame(1000), "done");
}

/// Sends back what it receives, and then does something, with a long message: before
/// the second turn of its connection.
struct Then<F>(F);

impl<F: Fn(LinkId) + Send + 'static> App for Then<F> {
    type Data = ();

    fn request(&mut self, _: &Request<'_>, (): &mut ()) -> Reply {
        Reply::Accept(None)
    }

    fn message(&mut self, mut incoming: Incoming<'_>, link: &mut Handle<'_, Then<F>>) {
        let is_long = incoming.message().payload().len() > MIB;
        link.send_back(incoming).unwrap();
        if is_long {
            (self.0)(link.id);
        }
    }
}

/// A server of one worker that does what this makes of it with a long message.
fn then<F: Fn(LinkId) + Clone + Send + Sync + 'static>(
    mode: Mode,
    act: impl FnOnce(&Server) -> F,
) -> Running {
    let loopback = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(&[loopback], 1, config(mode)).unwrap();
    let act = act(&server);
    Running::server(server, move || Then(act.clone()))
}

/// Sends a long message, which comes back uncompressed.
fn comes_as_it_is(client: &mut Client) {
    let long = prose(2 * MIB);
    client.send_text(&long);
    let (first, _, echo) = client.message();
    assert_eq!(first, TEXT);
    assert!(echo == long.as_bytes());
}

#[test]
fn what_another_thread_sends_meanwhile_comes_behind_it() {
    for (mode, offer) in [(Mode::Shared, ALONE), (Mode::PerConnection, WITH_CONTEXT)] {
        let short = prose(1000);
        let server = then(mode, |server| {
            let (sender, short) = (server.sender(), short.clone());
            move |id| sender.send(id, Message::text(&short)).unwrap()
        });
        let mut client = Client::open(server.address, offer, "/");
        for _ in 0..2 {
            client.send_text(&short);
            assert!(client.message().2 == short.as_bytes());
            comes_as_it_is(&mut client);
            // Each refers to those before it, where a context is kept.
            assert!(client.message().2 == short.as_bytes());
        }
    }
}

#[test]
fn a_close_by_another_thread_comes_behind_it() {
    let server = then(Mode::Shared, |server| {
        let sender = server.sender();
        move |id| sender.close(id, 1000, "done").unwrap()
    });
    let mut client = Client::open(server.address, ALONE, "/");
    comes_as_it_is(&mut client);
    assert_eq!(client.close_frame(1000), "done");
}

#[test]
fn a_stop_in_the_middle_sends_the_message_as_it_is() {
    let server = then(Mode::Shared, |server| {
        let stopper = server.stopper();
        move |_| stopper.stop()
    });
    let mut client = Client::open(server.address, ALONE, "/");
    comes_as_it_is(&mut client);
    client.is_sent_away();
}

#[test]
#[cfg(target_os = "linux")]
fn a_client_that_goes_in_the_middle_leaves_nothing_to_do() {
    let (entered, is_held) = channel();
    let (let_go, release) = channel::<()>();
    let release = Arc::new(Mutex::new(release));
    let server = then(Mode::Shared, |_| {
        move |_| {
            entered.send(()).unwrap();
            release.lock().unwrap().recv().unwrap();
        }
    });
    let mut other = Client::open(server.address, ALONE, "/");
    let mut client = Client::open(server.address, ALONE, "/");
    client.send_text(&prose(2 * MIB));
    is_held.recv_timeout(PATIENCE).unwrap();
    client.peer.reset();
    let_go.send(()).unwrap();
    other.echo("after");
    server.await_rest();
}
