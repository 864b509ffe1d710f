//! The WebSocket that blocks, on real sockets: our client and our server in
//! every version, each against tungstenite, and what goes wrong.

use std::error::Error as _;
use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use heirloom::client::{self, Connector, OwnedMessage, WebSocket};
use heirloom::error::{Refusal, Unsendable, Violation};
use heirloom::net::{BadUrl, Stream, dial::DialError};
use heirloom::server::{self, Acceptor};
use heirloom::version::{Closing, UnknownVersion};
use heirloom::{Config, Error, Limits, VERSIONS, Version, Versions};

use crate::support::PATIENCE;
use crate::support::backend::gone;

fn text(text: &str) -> OwnedMessage {
    OwnedMessage::Text(text.to_owned())
}

fn named(name: &str) -> &'static Version {
    Version::named(name).unwrap()
}

fn all_versions() -> Acceptor {
    Acceptor::new().with_config(Config::default().with_versions(Versions::ALL))
}

/// Sends back what arrives until the close, and gives that.
fn echo<S: Read + Write>(mut socket: WebSocket<S>) -> Result<OwnedMessage, Error> {
    loop {
        let message = socket.read()?;
        match message.as_message() {
            Some(message) => socket.send(message)?,
            None => return Ok(message),
        }
    }
}

/// Handles one connection in a thread.
fn host<R: Send + 'static>(
    handle: impl FnOnce(TcpStream) -> R + Send + 'static,
) -> (SocketAddr, JoinHandle<R>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        handle(stream)
    });
    (address, thread)
}

fn connect(address: SocketAddr, version: &'static Version) -> WebSocket<Stream> {
    let socket = Connector::new()
        .with_version(version)
        .connect(&format!("ws://{address}/chat"))
        .unwrap();
    socket.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A stream that reads and writes one octet at a time.
struct OctetWise<S>(S);

impl<S: Read> Read for OctetWise<S> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let n = room.len().min(1);
        self.0.read(&mut room[..n])
    }
}

impl<S: Write> Write for OctetWise<S> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.write(&octets[..octets.len().min(1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A stream of which all that will be read is there.
struct Scripted {
    input: Cursor<Vec<u8>>,
    written: Vec<u8>,
}

impl Scripted {
    fn new(input: &[u8]) -> Scripted {
        Scripted {
            input: Cursor::new(input.to_vec()),
            written: Vec::new(),
        }
    }
}

impl Read for Scripted {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.input.read(room)
    }
}

impl Write for Scripted {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.written.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const RFC_REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// Sends messages of several sizes, which are echoed.
fn exchange<S: Read + Write>(socket: &mut WebSocket<S>, sizes: &[usize]) {
    for size in sizes {
        let sent = "ä".repeat(size / 2) + &"x".repeat(size % 2);
        socket.send(&sent).unwrap();
        assert_eq!(socket.read().unwrap(), OwnedMessage::Text(sent));
        if socket.version().has_binary() {
            let sent = vec![0xff; *size];
            socket.send(&sent).unwrap();
            assert_eq!(socket.read().unwrap(), OwnedMessage::Binary(sent));
        } else {
            let refused = socket.send(&[0xff]);
            assert!(matches!(
                refused,
                Err(Error::Unsendable(Unsendable::NoBinary(_)))
            ));
        }
    }
}

// Our client and our server.

#[test]
fn our_client_and_our_server_speak_every_version() {
    for version in VERSIONS {
        let (address, server) = host(|stream| {
            let socket = all_versions().accept(stream).unwrap();
            let version = socket.version();
            (version, echo(socket).unwrap())
        });
        let mut socket = connect(address, version);
        assert_eq!(socket.version(), version);
        exchange(&mut socket, &[0, 1, 125, 126, 70_000, 1 << 20]);
        if version.has_ping() {
            socket.ping(b"are you there").unwrap();
            socket.send("after the ping").unwrap();
            assert_eq!(socket.read().unwrap(), text("after the ping"));
            assert_eq!(socket.last_pong(), Some(&b"are you there"[..]));
        } else {
            let refused = socket.ping(b"");
            assert!(matches!(
                refused,
                Err(Error::Unsendable(Unsendable::NoPing(_)))
            ));
        }
        socket.close(1000, "done").unwrap();
        if version.closing == Closing::Hixie75 {
            assert!(matches!(socket.read(), Err(Error::Closed)));
            drop(socket);
        } else {
            let OwnedMessage::Close(reply) = socket.read().unwrap() else {
                panic!("{version}: there is a close");
            };
            let code = version.has_close_codes().then_some(1000);
            assert_eq!(reply.code, code, "{version}");
            assert!(matches!(socket.read(), Err(Error::Closed)), "{version}");
        }
        let (spoken, OwnedMessage::Close(close)) = server.join().unwrap() else {
            panic!("{version}: there is a close");
        };
        assert_eq!(spoken, version);
        let reason = match version.closing {
            // The letter of the side that sends it.
            Closing::Hybi05 => "C",
            Closing::Hybi06 => "done",
            _ => "",
        };
        assert_eq!(close.text, reason, "{version}");
    }
}

#[test]
fn the_server_closes_in_every_version() {
    for version in VERSIONS {
        let (address, server) = host(|stream| {
            let mut socket = all_versions().accept(stream).unwrap();
            socket.send("last").unwrap();
            socket.close(1001, "away").unwrap();
            let hixie_75 = socket.version().closing == Closing::Hixie75;
            (!hixie_75).then(|| socket.read().unwrap())
        });
        let mut socket = connect(address, version);
        assert_eq!(socket.read().unwrap(), text("last"), "{version}");
        let OwnedMessage::Close(close) = socket.read().unwrap() else {
            panic!("{version}: there is a close");
        };
        let code = version.has_close_codes().then_some(1001);
        assert_eq!(close.code, code, "{version}");
        assert!(matches!(socket.send("x"), Err(Error::Unsendable(_))));
        assert!(matches!(socket.read(), Err(Error::Closed)));
        // Where there is one, our reply has arrived.
        let reply = server.join().unwrap();
        assert!(reply.is_none_or(|reply| matches!(reply, OwnedMessage::Close(_))));
    }
}

#[test]
fn octets_may_arrive_one_by_one() {
    for version in VERSIONS {
        let (address, server) = host(|stream| {
            let socket = all_versions().accept(OctetWise(stream)).unwrap();
            echo(socket).unwrap()
        });
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut socket = Connector::new()
            .with_version(version)
            .over(OctetWise(stream), &format!("ws://{address}/"))
            .unwrap();
        exchange(&mut socket, &[0, 3, 200]);
        socket.close(1000, "").unwrap();
        if version.closing != Closing::Hixie75 {
            assert!(matches!(socket.read().unwrap(), OwnedMessage::Close(_)));
        }
        drop(socket);
        assert!(matches!(server.join().unwrap(), OwnedMessage::Close(_)));
    }
}

#[test]
fn octets_behind_the_request_are_not_lost() {
    let mut input = RFC_REQUEST.as_bytes().to_vec();
    // "Hello" and a close, as RFC 6455 section 5.7 has the first.
    input.extend_from_slice(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    input.extend_from_slice(b"\x88\x80\0\0\0\0");
    let mut socket = server::accept(Scripted::new(&input)).unwrap();
    assert_eq!(socket.read().unwrap(), text("Hello"));
    assert!(matches!(socket.read().unwrap(), OwnedMessage::Close(_)));
    assert!(matches!(socket.read(), Err(Error::Closed)));
    let written = socket.into_inner().written;
    assert!(written.ends_with(b"\r\n\r\n\x88\x00"));
}

#[test]
fn octets_behind_the_response_are_not_lost() {
    for version in ["hixie-75", "hixie-76", "rfc6455"] {
        let (address, server) = host(|mut stream| {
            // What the server writes is kept, and sent in one write with a
            // message behind it.
            let mut socket = all_versions()
                .accept(Held {
                    input: stream.try_clone().unwrap(),
                    held: Vec::new(),
                })
                .unwrap();
            socket.send("at once").unwrap();
            stream.write_all(&socket.into_inner().held).unwrap();
            let _ = stream.read(&mut [0]);
        });
        let mut socket = connect(address, named(version));
        assert_eq!(socket.read().unwrap(), text("at once"));
        drop(socket);
        server.join().unwrap();
    }
}

/// Holds back what is written.
struct Held {
    input: TcpStream,
    held: Vec<u8>,
}

impl Read for Held {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.input.read(room)
    }
}

impl Write for Held {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn into_parts_keeps_what_was_not_delivered() {
    let mut input = RFC_REQUEST.as_bytes().to_vec();
    input.extend_from_slice(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    let socket = server::accept(Scripted::new(&input)).unwrap();
    let (_, session) = socket.into_parts();
    assert_eq!(session.unparsed().len(), 11);
}

// The request and the response.

#[test]
fn a_subprotocol_is_chosen_and_known_to_both() {
    for version in VERSIONS {
        let (address, server) = host(|stream| {
            let socket = all_versions()
                .with_subprotocols(["chat"])
                .accept(stream)
                .unwrap();
            socket.subprotocol().map(str::to_owned)
        });
        let socket = Connector::new()
            .with_version(version)
            .with_subprotocols(["chat"])
            .connect(&format!("ws://{address}/"))
            .unwrap();
        assert_eq!(socket.subprotocol(), Some("chat"), "{version}");
        assert_eq!(server.join().unwrap().as_deref(), Some("chat"));
    }
}

#[test]
fn the_callback_sees_the_request_and_chooses() {
    let (address, server) = host(|stream| {
        let mut seen = Vec::new();
        let socket = Acceptor::new().accept_with(stream, |request| {
            seen.push(request.target().to_owned());
            seen.push(request.origin().unwrap().to_owned());
            let cookie = request.head().get("Cookie").unwrap();
            seen.push(cookie.text().unwrap().to_owned());
            Ok(request.subprotocols().last().map(str::to_owned))
        });
        drop(socket.unwrap());
        seen
    });
    let socket = Connector::new()
        .with_subprotocols(["a", "b"])
        .with_origin("http://page.example")
        .with_header("Cookie", "id=1")
        .connect(&format!("ws://{address}/path?query"))
        .unwrap();
    assert_eq!(socket.subprotocol(), Some("b"));
    let seen = server.join().unwrap();
    assert_eq!(seen, ["/path?query", "http://page.example", "id=1"]);
}

#[test]
fn a_refusal_reaches_both_with_its_reason() {
    let (address, server) = host(|stream| {
        let refused = Acceptor::new().accept_with(stream, |_| Err(Refusal::OriginNotAllowed));
        refused.unwrap_err()
    });
    let refused = client::connect(&format!("ws://{address}/")).unwrap_err();
    let Error::Rejected { status, body } = &refused else {
        panic!("{refused:?}");
    };
    let sentence = Refusal::OriginNotAllowed.to_string();
    let line = format!("origin-not-allowed: {sentence}");
    assert_eq!((*status, body.lines().next()), (403, Some(&*line)));
    let whole = format!("the server refused with HTTP status 403: {line}");
    assert_eq!(refused.to_string(), whole);
    let error = server.join().unwrap();
    assert_eq!(
        error.to_string(),
        format!("the request was refused: {sentence}")
    );
    let source = error.source().unwrap().downcast_ref::<Refusal>();
    assert_eq!(source, Some(&Refusal::OriginNotAllowed));
}

#[test]
fn a_refusal_of_the_core_says_where() {
    let request = RFC_REQUEST.replace("Version: 13", "Version: 99");
    let refused = server::accept(Scripted::new(request.as_bytes())).unwrap_err();
    let Error::Refused { refusal, at } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(refusal.code(), "version-unknown");
    let at = at.unwrap();
    let (from, to) = (usize::try_from(at.start), usize::try_from(at.end));
    assert!(request[from.unwrap()..to.unwrap()].contains("99"), "{at:?}");
}

#[test]
fn plain_http_gets_426() {
    let (address, server) = host(|stream| server::accept(stream).unwrap_err());
    let mut stream = TcpStream::connect(address).unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let start = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n";
    assert!(response.starts_with(start), "{response}");
    assert!(matches!(server.join().unwrap(), Error::PlainHttp));
}

#[test]
fn a_version_that_is_off_is_refused() {
    let (address, server) = host(|stream| server::accept(stream).unwrap_err());
    let refused = Connector::new()
        .with_version(named("hixie-75"))
        .connect(&format!("ws://{address}/"));
    assert!(matches!(refused, Err(Error::Rejected { status: 426, .. })));
    assert!(matches!(server.join().unwrap(), Error::Refused { .. }));
}

#[test]
fn a_subprotocol_that_would_add_a_line_is_not_sent() {
    let socket = Acceptor::new().accept_with(Scripted::new(RFC_REQUEST.as_bytes()), |_| {
        Ok(Some("a\r\nb".to_owned()))
    });
    assert!(matches!(
        socket,
        Err(Error::Unsendable(Unsendable::HeaderValue))
    ));
}

// What goes wrong.

#[test]
fn a_message_above_the_limit_fails_the_connection_with_1009() {
    let (address, server) = host(|stream| {
        let limits = Limits::default().with_message_bytes(10);
        let mut socket = Acceptor::new()
            .with_config(Config::default().with_limits(limits))
            .accept(stream)
            .unwrap();
        let error = socket.read().unwrap_err();
        assert!(matches!(socket.read(), Err(Error::Closed)));
        error
    });
    let mut socket = connect(address, named("rfc6455"));
    socket.send("0123456789a").unwrap();
    let OwnedMessage::Close(close) = socket.read().unwrap() else {
        panic!("there is a close");
    };
    assert_eq!(close.code, Some(1009));
    let Error::Violation(located) = server.join().unwrap() else {
        panic!("it is a violation");
    };
    assert_eq!(located.error, Violation::MessageTooBig { limit: 10 });
    assert!(located.at.end > located.at.start);
}

#[test]
fn a_close_arrives_though_the_peer_had_more_to_send() {
    let (address, server) = host(|stream| {
        let limits = Limits::default().with_message_bytes(10);
        let mut socket = Acceptor::new()
            .with_config(Config::default().with_limits(limits))
            .accept(stream)
            .unwrap();
        let error = socket.read().unwrap_err();
        socket.finish().unwrap();
        error
    });
    let mut socket = connect(address, named("rfc6455"));
    // More than the buffers of both ends take.
    socket.send(&vec![0; 12 << 20]).unwrap();
    let OwnedMessage::Close(close) = socket.read().unwrap() else {
        panic!("there is a close");
    };
    assert_eq!(close.code, Some(1009));
    socket.finish().unwrap();
    assert!(matches!(server.join().unwrap(), Error::Violation(_)));
}

#[test]
fn an_end_without_a_close_is_an_error_except_for_hixie() {
    for version in VERSIONS {
        let (address, server) = host(|stream| drop(all_versions().accept(stream).unwrap()));
        let mut socket = connect(address, version);
        server.join().unwrap();
        let read = socket.read();
        if version.has_ping() {
            let Err(Error::Violation(located)) = read else {
                panic!("{version}: {read:?}");
            };
            assert_eq!(located.error, Violation::ConnectionCut);
        } else {
            assert!(matches!(read, Ok(OwnedMessage::Close(_))), "{version}");
        }
        assert!(matches!(socket.read(), Err(Error::Closed)));
    }
}

#[test]
fn a_server_that_ends_in_the_handshake_is_told_from_a_refusal() {
    let (address, server) = host(|mut stream| {
        let _ = stream.read(&mut [0; 4096]).unwrap();
    });
    let error = client::connect(&format!("ws://{address}/")).unwrap_err();
    let Error::Violation(located) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(located.error, Violation::HandshakeCut);
    assert!(error.to_string().starts_with("the connection failed: "));
    assert!(error.source().is_some());
    server.join().unwrap();
}

#[test]
fn a_timeout_of_the_stream_loses_nothing() {
    for version in ["hixie-76", "rfc6455"] {
        let (address, server) = host(|stream| {
            let mut socket = all_versions().accept(stream).unwrap();
            socket.read().unwrap();
            socket.send("late").unwrap();
            socket.read().unwrap()
        });
        let mut socket = connect(address, named(version));
        let soon = Some(Duration::from_millis(30));
        socket.get_ref().set_read_timeout(soon).unwrap();
        let Err(Error::Io(error)) = socket.read() else {
            panic!("nothing was sent");
        };
        let kind = error.kind();
        assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut));
        socket.send("go on").unwrap();
        socket.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(socket.read().unwrap(), text("late"));
        socket.close(1000, "").unwrap();
        server.join().unwrap();
    }
}

#[test]
fn a_stream_that_takes_part_of_a_message_gets_the_rest_by_flush() {
    /// Takes `room` octets, and no more until there is room again.
    struct Full {
        inner: Scripted,
        room: usize,
    }
    impl Read for Full {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            self.inner.read(room)
        }
    }
    impl Write for Full {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let n = octets.len().min(self.room);
            if n == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.room -= n;
            self.inner.write(&octets[..n])
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let stream = Full {
        inner: Scripted::new(RFC_REQUEST.as_bytes()),
        room: usize::MAX,
    };
    let mut socket = server::accept(stream).unwrap();
    socket.get_mut().inner.written.clear();
    socket.get_mut().room = 3;
    assert!(matches!(socket.send("Hello"), Err(Error::Io(_))));
    assert!(matches!(socket.flush(), Err(Error::Io(_))));
    socket.get_mut().room = 100;
    socket.flush().unwrap();
    assert_eq!(socket.into_inner().inner.written, b"\x81\x05Hello");
}

#[test]
fn a_server_that_does_not_answer_ends_the_attempt_in_time() {
    for answer in ["", "HTTP/1.1 101 Switching Protocols\r\n"] {
        let (address, server) = host(move |mut stream| {
            stream.write_all(answer.as_bytes()).unwrap();
            let mut buffer = [0; 4096];
            while let Ok(1..) = stream.read(&mut buffer) {}
        });
        let start = Instant::now();
        let error = Connector::new()
            .with_timeout(Duration::from_millis(200))
            .connect(&format!("ws://{address}/"))
            .unwrap_err();
        assert!(
            matches!(error, Error::Dial(DialError::TimedOut)),
            "{error:?}"
        );
        assert!(start.elapsed() < Duration::from_secs(5));
        server.join().unwrap();
    }
}

#[test]
fn a_server_that_sends_octet_after_octet_does_not_put_the_deadline_off() {
    let (address, server) = host(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nX: ");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let start = Instant::now();
    let error = Connector::new()
        .with_timeout(Duration::from_millis(200))
        .connect(&format!("ws://{address}/"))
        .unwrap_err();
    assert!(
        matches!(error, Error::Dial(DialError::TimedOut)),
        "{error:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(5));
    server.join().unwrap();
}

#[test]
fn no_server_is_an_error_that_names_the_address() {
    let address = gone();
    let error = client::connect(&format!("ws://{address}/")).unwrap_err();
    let sentence = format!("cannot connect to {address}: ");
    assert!(error.to_string().starts_with(&sentence), "{error}");
    assert!(error.source().is_some());
}

#[test]
fn each_cause_becomes_the_error_by_a_question_mark() {
    fn version(name: &str) -> Result<Versions, Error> {
        Ok(name.parse::<Versions>()?)
    }
    fn all() -> Vec<Error> {
        vec![
            BadUrl::Secure.into(),
            UnknownVersion("hybi-99".to_owned()).into(),
            DialError::TimedOut.into(),
            Refusal::KeyMissing.into(),
            Unsendable::NotOpen.into(),
            io::Error::from(ErrorKind::BrokenPipe).into(),
        ]
    }
    assert!(matches!(version("hybi-99"), Err(Error::Version(_))));
    for error in all() {
        let sentence = error.to_string();
        let source = error.source().unwrap().to_string();
        assert!(sentence.ends_with(&source), "{sentence} / {source}");
    }
    let error = client::connect("http://h/").unwrap_err();
    assert_eq!(
        error.to_string(),
        "this is not a WebSocket URL: a URL begins with ws:// or wss://"
    );
}

#[test]
fn wss_is_for_streams_that_are_tls() {
    let error = client::over(Scripted::new(b""), "wss://example.com/").unwrap_err();
    assert!(matches!(error, Error::Violation(_)), "{error:?}");
}

#[test]
fn a_request_that_no_server_takes_is_not_sent() {
    let error = Connector::new()
        .with_header("Host", "other")
        .over(Scripted::new(b""), "ws://h/")
        .unwrap_err();
    assert!(
        matches!(error, Error::Dial(DialError::Request(_))),
        "{error:?}"
    );
}

#[test]
fn the_types_can_be_sent_to_threads() {
    fn is_send<T: Send>() {}
    is_send::<WebSocket<Stream>>();
    is_send::<Connector>();
    is_send::<Acceptor>();
    is_send::<Error>();
    let config: Arc<Config> = Arc::default();
    let _ = Acceptor::new().with_config(Arc::clone(&config));
    let _ = Connector::new().with_config(config);
}

// An implementation from elsewhere.

fn foreign_messages() -> Vec<tungstenite::Message> {
    vec![
        tungstenite::Message::text(""),
        tungstenite::Message::text("grüße 😀"),
        tungstenite::Message::binary(vec![0, 255, 7]),
        tungstenite::Message::text("x".repeat(70_000)),
        tungstenite::Message::binary(vec![1; 1 << 20]),
    ]
}

#[test]
fn tungstenite_s_client_speaks_with_our_server() {
    let (address, server) = host(|stream| echo(server::accept(stream).unwrap()).unwrap());
    let (mut client, _) = tungstenite::connect(format!("ws://{address}/")).unwrap();
    for message in foreign_messages() {
        client.send(message.clone()).unwrap();
        assert_eq!(client.read().unwrap(), message);
    }
    let ping = tungstenite::Message::Ping("p".into());
    client.send(ping).unwrap();
    assert_eq!(
        client.read().unwrap(),
        tungstenite::Message::Pong("p".into())
    );
    client.close(None).unwrap();
    assert!(client.read().unwrap().is_close());
    assert!(client.read().is_err(), "our end ends TCP");
    assert!(matches!(server.join().unwrap(), OwnedMessage::Close(_)));
}

#[test]
fn our_client_speaks_with_tungstenite_s_server() {
    let (address, server) = host(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        while let Ok(message) = socket.read() {
            if message.is_text() || message.is_binary() {
                socket.send(message).unwrap();
            }
        }
    });
    let mut socket = client::connect(&format!("ws://{address}/")).unwrap();
    exchange(&mut socket, &[0, 5, 126, 70_000, 1 << 20]);
    socket.ping(b"p").unwrap();
    socket.send("x").unwrap();
    assert_eq!(socket.read().unwrap(), text("x"));
    assert_eq!(socket.last_pong(), Some(&b"p"[..]));
    socket.close(1000, "bye").unwrap();
    let OwnedMessage::Close(close) = socket.read().unwrap() else {
        panic!("there is a close");
    };
    assert_eq!(close.code, Some(1000));
    drop(socket);
    server.join().unwrap();
}
