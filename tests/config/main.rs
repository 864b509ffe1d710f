//! `heirloom gateway --config`: what a file makes of the program, and what a reload
//! changes while clients are connected.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../support/mod.rs"]
mod support;

mod file;
mod reload;
mod routes;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use crate::support::folder::Folder;
use crate::support::peer::{Peer, RFC, request};
use crate::support::program::{HEIRLOOM, Program};
use crate::support::sockets::await_refused;

/// A configuration file in a folder of its own.
struct Written {
    folder: Folder,
    path: PathBuf,
}

impl Written {
    fn new(text: &str) -> Written {
        let folder = Folder::new();
        let path = folder.write("heirloom.toml", text);
        Written { folder, path }
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// A gateway that reads it.
    fn start(&self, more: &[&str]) -> Program {
        let mut command = Command::new(HEIRLOOM);
        command.args(["gateway", "--config", self.path()]);
        Program::start(command.args(more))
    }
}

/// An address of loopback where nothing listens.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    await_refused(address);
    address
}

/// A request in RFC 6455 with this Host.
fn request_of(host: &str, path: &str) -> Vec<u8> {
    let request = String::from_utf8(request(RFC, path)).unwrap();
    let with_host = request.replace("Host: example.com", &format!("Host: {host}"));
    with_host.into_bytes()
}

/// A client that asked this host for this path, and agreed.
fn open_at(address: SocketAddr, host: &str, path: &str) -> Peer {
    let mut peer = Peer::connect(address);
    peer.send(&request_of(host, path));
    peer.agree(RFC);
    peer
}
