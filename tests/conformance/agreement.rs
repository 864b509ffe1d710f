//! The verdicts are those of Autobahn|Testsuite: two servers and a client that were
//! written elsewhere, and what the original says of them, case by case.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use fastwebsockets::{FragmentCollector, OpCode, Role};
use serde_json::Value;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::WebSocketConfig;

use crate::clients::{asked, run_case};
use crate::support::folder::Folder;
use crate::support::program::{HEIRLOOM, Program, run};

/// As large as a message may be with the peers whose results are kept.
const MOST: usize = 64 << 20;

/// Those that need no compression, which neither server has.
const PLAIN: &str = "1,2,3,4,5,6,7,9,10";

/// Verdicts by case: on what was received, and on the closing.
type Verdicts = BTreeMap<String, (String, String)>;

/// What the original says of a peer.
fn recorded(name: &str) -> Verdicts {
    let file = format!("tests/peers/agreement/{name}.json");
    let text = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let kept: Value = serde_json::from_slice(&text).unwrap();
    let each = kept["results"].as_object().unwrap().iter();
    each.map(|(id, verdict)| (id.clone(), (word(&verdict[0]), word(&verdict[1]))))
        .collect()
}

/// What `--autobahn` says of the only agent.
fn ours(folder: &Path) -> Verdicts {
    let text = fs::read(folder.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&text).unwrap();
    let agents = index.as_object().unwrap();
    assert_eq!(agents.len(), 1, "{agents:?}");
    let cases = agents.values().next().unwrap().as_object().unwrap();
    let verdict = |case: &Value| (word(&case["behavior"]), word(&case["behaviorClose"]));
    cases
        .iter()
        .map(|(id, case)| (id.clone(), verdict(case)))
        .collect()
}

fn word(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// That both agree on every case that was played, which are so many.
fn agrees(ours: &Verdicts, recorded: &Verdicts, count: usize) {
    assert_eq!(ours.len(), count);
    let differs =
        |(id, verdict): &(&String, &(String, String))| recorded.get(*id) != Some(*verdict);
    let differing: Vec<_> = ours.iter().filter(differs).collect();
    assert!(differing.is_empty(), "{differing:?}");
}

fn agrees_of_server(name: &str, address: SocketAddr) {
    let folder = Folder::new();
    let reports = folder.path("reports");
    let url = format!("ws://{address}/");
    let shown = reports.to_str().unwrap();
    let ended = run(&["conform", &url, "--only", PLAIN, "--autobahn", shown]);
    assert!(ended.out.contains("301 cases"), "{ended:?}");
    agrees(&ours(&reports), &recorded(name), 301);
}

fn serve(connection: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = connection.clone();
            thread::spawn(move || connection(stream));
        }
    });
    address
}

#[test]
fn tungstenite_as_a_server_has_the_verdicts_of_the_original() {
    let address = serve(|stream| {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MOST))
            .max_frame_size(Some(MOST));
        let Ok(mut socket) = tungstenite::accept_with_config(stream, Some(config)) else {
            return;
        };
        while let Ok(message) = socket.read() {
            if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                return;
            }
        }
    });
    agrees_of_server("server-tungstenite", address);
}

#[test]
fn fastwebsockets_as_a_server_has_the_verdicts_of_the_original() {
    let address = serve(|mut stream| {
        if upgrade(&mut stream).is_none() {
            return;
        }
        stream.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_io().build().unwrap();
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            let mut socket = fastwebsockets::WebSocket::after_handshake(stream, Role::Server);
            socket.set_max_message_size(MOST);
            let mut socket = FragmentCollector::new(socket);
            while let Ok(frame) = socket.read_frame().await {
                let is_echoed = match frame.opcode {
                    OpCode::Close => false,
                    OpCode::Text | OpCode::Binary => socket.write_frame(frame).await.is_ok(),
                    _ => true,
                };
                if !is_echoed {
                    return;
                }
            }
        });
    });
    agrees_of_server("server-fastwebsockets", address);
}

/// Reads a request to upgrade and agrees: the crate has no part for that without an
/// HTTP server.
fn upgrade(stream: &mut TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet).ok()?;
        head.extend(octet);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let key = lines.find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))?;
    let accept = derive_accept_key(key.as_bytes());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(response.as_bytes()).ok()
}

#[test]
fn tungstenite_as_a_client_has_the_verdicts_of_the_original() {
    let folder = Folder::new();
    let reports = folder.path("reports");
    let shown = reports.to_str().unwrap();
    let mut command = Command::new(HEIRLOOM);
    command.args(["conform", "--listen", "127.0.0.1:0", "--once"]);
    command.args(["--only", "1,2,3,4,5,6,7,10", "--autobahn", shown]);
    let tester = Program::start(&mut command);
    let count: usize = asked(tester.address, "/getCaseCount")
        .unwrap()
        .parse()
        .unwrap();
    for n in 1..=count {
        run_case(tester.address, &format!("case={n}&agent=tungstenite"));
    }
    asked(tester.address, "/updateReports?agent=tungstenite");
    tester.wait();
    agrees(&ours(&reports), &recorded("client-tungstenite"), count);
}
