//! The blocking client over `wss://`.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use heirloom::client::{Connector, OwnedMessage, WebSocket};
use heirloom::net::dial::DialError;
use heirloom::net::{CertificateProblem, ClientTls, ClientTlsOptions, Stream, TlsFault};
use heirloom::{Error, Version};

use crate::support::PATIENCE;
use crate::support::certificate::{Made, Plan};
use crate::support::program::{HEIRLOOM, Program};
use crate::support::tls_host::{Files, TlsHost, open};

fn own() -> Made {
    Plan::new(&["localhost", "127.0.0.1"]).self_signed()
}

fn trusting(files: &Files) -> Connector {
    let options = ClientTlsOptions::default().with_trusted(&files.certificate);
    Connector::new().with_tls(ClientTls::new(&options).unwrap())
}

fn patient(socket: &WebSocket<Stream>) {
    let stream = socket.get_ref();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
}

#[test]
fn messages_go_both_ways_and_tls_is_ended() {
    let files = Files::of(&own());
    let mut command = Command::new(HEIRLOOM);
    command.args([
        "serve",
        "--listen",
        "tls://127.0.0.1:0",
        "--versions",
        "all",
    ]);
    let server = Program::start(command.args(files.options()));
    let url = format!("wss://localhost:{}/", server.address.port());
    for name in ["hixie-75", "hixie-76", "hybi-07", "rfc6455"] {
        let version = Version::named(name).unwrap();
        let mut socket = trusting(&files)
            .with_version(version)
            .connect(&url)
            .unwrap();
        patient(&socket);
        let session = socket.get_ref().tls().unwrap();
        assert_eq!(session.agreement.version, "TLSv1.3");
        assert_eq!(session.alpn.as_deref(), Some("http/1.1"));
        for text in ["grüße".to_owned(), "x".repeat(1024 * 1024)] {
            socket.send(&*text).unwrap();
            let message = socket.read().unwrap();
            assert!(message.as_text() == Some(&*text), "{name}");
        }
        if name != "hixie-75" {
            socket.close(1000, "").unwrap();
            assert!(matches!(socket.read().unwrap(), OwnedMessage::Close(_)));
        }
        socket.finish().unwrap();
    }
}

#[test]
fn a_finish_sends_a_close_notify() {
    let made = own();
    let files = Files::of(&made);
    let (tell, told) = channel();
    let host = TlsHost::new(&made, move |mut stream| {
        open(&mut stream);
        // Without it this is an error.
        let _ = tell.send(stream.read(&mut [0; 16]).map_err(|error| error.kind()));
    });
    let socket = trusting(&files).connect(&host.url()).unwrap();
    socket.finish().unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Ok(0));
}

#[test]
fn a_timeout_loses_nothing() {
    let made = own();
    let files = Files::of(&made);
    let (go, may_read) = channel::<()>();
    let may_read = std::sync::Mutex::new(may_read);
    let host = TlsHost::new(&made, move |mut stream| {
        open(&mut stream);
        may_read.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        let mut octets = 0;
        let mut room = vec![0; 64 * 1024];
        // A frame of 8 MiB: its header has 14 octets.
        while octets < 8 * 1024 * 1024 + 14 {
            octets += stream.read(&mut room).unwrap();
        }
        stream.write_all(b"\x81\x03all").unwrap();
        let _ = stream.read(&mut room);
    });
    let mut socket = trusting(&files).connect(&host.url()).unwrap();
    let moment = Some(Duration::from_millis(100));
    socket.get_ref().set_read_timeout(moment).unwrap();
    socket.get_ref().set_write_timeout(moment).unwrap();
    let is_timeout = |error: &Error| match error {
        Error::Io(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        _ => false,
    };
    let error = socket.read().unwrap_err();
    assert!(is_timeout(&error), "{error:?}");
    // More than the buffers between take, and the server does not read.
    let error = socket.send(&*"x".repeat(8 * 1024 * 1024)).unwrap_err();
    assert!(is_timeout(&error), "{error:?}");
    go.send(()).unwrap();
    patient(&socket);
    socket.flush().unwrap();
    assert_eq!(socket.read().unwrap().as_text(), Some("all"));
}

#[test]
fn a_truncation_is_an_error() {
    let made = own();
    let files = Files::of(&made);
    let host = TlsHost::new(&made, |mut stream| {
        open(&mut stream);
        stream.write_all(b"\x81\x05whole").unwrap();
        let _ = stream.sock.shutdown(Shutdown::Write);
        let _ = stream.sock.read_to_end(&mut Vec::new());
    });
    let mut socket = trusting(&files).connect(&host.url()).unwrap();
    patient(&socket);
    assert_eq!(socket.read().unwrap().as_text(), Some("whole"));
    let error = socket.read().unwrap_err();
    assert!(error.to_string().contains("tls-truncated: "), "{error}");
    let Error::Io(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn a_fault_of_tls_says_what_it_is() {
    let files = Files::of(&own());
    let host = TlsHost::new(&own(), |mut stream| {
        let _ = stream.read(&mut [0; 16]);
    });
    let Err(Error::Dial(error)) = trusting(&files).connect(&host.url()) else {
        panic!("it is not trusted");
    };
    let fault = error.tls_fault();
    let untrusted = CertificateProblem::Untrusted;
    assert!(
        matches!(fault, Some(TlsFault::Certificate { problem, .. }) if *problem == untrusted),
        "{error:?}"
    );
    let silent = TlsHost::plain(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let connector = trusting(&files).with_timeout(Duration::from_millis(300));
    let error = connector.connect(&silent.url()).unwrap_err();
    assert!(
        matches!(error, Error::Dial(DialError::TlsTimedOut)),
        "{error:?}"
    );
}
