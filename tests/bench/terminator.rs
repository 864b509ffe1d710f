//! What ends TLS: `heirloom serve` alone, or HAProxy or nginx with a plain `heirloom serve` behind it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::machine::{self, SERVER_CORE, Server, on_core};
use crate::options::Rival;
use crate::secure::Certificate;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Heirloom,
    Haproxy,
    Nginx,
}

impl Rival for Peer {
    const OPTION: &'static str = "--servers";
    const ALL: &'static [Peer] = &[Peer::Heirloom, Peer::Haproxy, Peer::Nginx];

    fn name(self) -> &'static str {
        match self {
            Peer::Heirloom => "heirloom",
            Peer::Haproxy => "haproxy",
            Peer::Nginx => "nginx",
        }
    }
}

/// Where Debian's package of nginx has its module for streams.
const NGINX_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

impl Peer {
    /// The head of its column.
    pub(crate) fn column(self) -> &'static str {
        match self {
            Peer::Heirloom => "heirloom",
            Peer::Haproxy => "HAProxy → heirloom",
            Peer::Nginx => "nginx → heirloom",
        }
    }

    /// The program, or how one gets it.
    pub(crate) fn program(self) -> std::result::Result<PathBuf, String> {
        let packages = match self {
            Peer::Heirloom => return Ok(PathBuf::from(env!("CARGO_BIN_EXE_heirloom"))),
            Peer::Haproxy => "haproxy",
            Peer::Nginx => "nginx libnginx-mod-stream",
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Debian keeps both where only root looks.
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let name = self.name();
        let found = folders
            .map(|folder| folder.join(name))
            .find(|file| file.is_file());
        found.ok_or_else(|| {
            format!("{name} is missing: `apt-get install --no-install-recommends {packages}`")
        })
    }

    /// Of a program that is not this project's.
    pub(crate) fn version(self) -> Result<Option<String>> {
        let said = |argument: &str| -> Result<String> {
            let program = self.program()?;
            let said = Command::new(program).arg(argument).output()?;
            let said = [said.stdout, said.stderr].concat();
            Ok(String::from_utf8_lossy(&said).into_owned())
        };
        Ok(match self {
            Peer::Heirloom => None,
            Peer::Haproxy => {
                let said = said("-vv")?;
                let number = said.split_whitespace().nth(2).unwrap_or("?");
                let number = number.split('-').next().unwrap_or(number);
                let openssl = openssl(&said, "Running on OpenSSL version : OpenSSL ");
                Some(format!("HAProxy {number} with {openssl}"))
            }
            Peer::Nginx => {
                let said = said("-V")?;
                let first = said.lines().next().unwrap_or_default();
                let number = first.rsplit('/').next().unwrap_or("?");
                // The second is there where it runs with another than it was built with.
                let built = openssl(&said, "built with OpenSSL ");
                let running = openssl(&said, "running with OpenSSL ");
                let openssl = if running == UNKNOWN { built } else { running };
                Some(format!("nginx {number} with {openssl}"))
            }
        })
    }
}

const UNKNOWN: &str = "an unknown OpenSSL";

/// The OpenSSL that a program names behind these words.
fn openssl(said: &str, words: &str) -> String {
    let number = said.split_once(words).and_then(|(_, after)| {
        after
            .split(|character: char| character.is_whitespace() || character == ')')
            .next()
    });
    number.map_or_else(|| UNKNOWN.to_owned(), |number| format!("OpenSSL {number}"))
}

/// How large the buffers of a terminator are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Buffers {
    /// As the program has them by itself: 16 KiB.
    Default,
    /// 64 KiB, as much as `heirloom` reads at once.
    Large,
}

/// What serves. What stands in front goes first.
pub(crate) struct Line {
    pub(crate) front: Server,
    behind: Option<Server>,
    _folder: Folder,
}

/// A value of what is in front, and of the server behind it.
#[derive(Clone, Copy)]
pub(crate) struct Both {
    pub(crate) front: u64,
    pub(crate) behind: u64,
}

impl Line {
    pub(crate) fn start(peer: Peer, certificate: &Certificate, buffers: Buffers) -> Result<Line> {
        let folder = Folder::make(peer)?;
        let name = peer.name();
        if peer == Peer::Heirloom {
            let [certificate, key] = [&certificate.certificate, &certificate.key];
            let mut command = machine::heirloom(SERVER_CORE, &["serve"]);
            command.arg("--tls-cert").arg(certificate);
            command.arg("--tls-key").arg(key);
            return Ok(Line {
                front: Server::start(name, command)?,
                behind: None,
                _folder: folder,
            });
        }
        let behind = machine::heirloom(SERVER_CORE, &["serve"]);
        let behind = Server::start("the server behind it", behind)?;
        let at = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let settings = folder.0.join("settings");
        let mut command = on_core(SERVER_CORE, peer.program()?);
        if peer == Peer::Haproxy {
            let text = haproxy(at, behind.address, certificate, buffers);
            std::fs::write(&settings, text)?;
            command.arg("-db").arg("-f").arg(&settings);
        } else {
            let text = nginx(at, behind.address, certificate, buffers);
            std::fs::write(&settings, text)?;
            command.args(["-e", "stderr", "-c"]).arg(&settings);
            command.arg("-p").arg(&folder.0);
        }
        Ok(Line {
            front: Server::start_at(name, command, at)?,
            behind: Some(behind),
            _folder: folder,
        })
    }

    /// Processor time, in nanoseconds.
    pub(crate) fn cpu(&self) -> Result<Both> {
        Ok(Both {
            front: self.front.cpu()?,
            behind: self.behind.as_ref().map_or(Ok(0), Server::cpu)?,
        })
    }

    /// Octets of user space that are resident and a process's own.
    pub(crate) fn memory(&self) -> Result<Both> {
        let behind = self.behind.as_ref().map(Server::memory).transpose()?;
        Ok(Both {
            front: self.front.memory()?.resident,
            behind: behind.map_or(0, |memory| memory.resident),
        })
    }
}

/// A folder for the settings of one program, gone with its line.
struct Folder(PathBuf);

impl Folder {
    fn make(peer: Peer) -> Result<Folder> {
        let name = format!("heirloom-bench-{}-{}", std::process::id(), peer.name());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(Folder(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One thread, and TLS 1.3. All else is what HAProxy does by itself.
fn haproxy(at: SocketAddr, to: SocketAddr, certificate: &Certificate, buffers: Buffers) -> String {
    let size = match buffers {
        Buffers::Default => "",
        Buffers::Large => "  tune.bufsize 65536\n",
    };
    let both = certificate.both.display();
    format!(
        "global\n  nbthread 1\n  maxconn 6000\n{size}\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n\
         listen bench\n  bind {at} ssl crt {both} ssl-min-ver TLSv1.3\n  server backend {to}\n"
    )
}

/// One process, and TLS 1.3. All else is what nginx does by itself.
fn nginx(at: SocketAddr, to: SocketAddr, certificate: &Certificate, buffers: Buffers) -> String {
    let size = match buffers {
        Buffers::Default => "",
        Buffers::Large => "    proxy_buffer_size 64k;\n",
    };
    let module = if Path::new(NGINX_MODULE).is_file() {
        format!("load_module {NGINX_MODULE};\n")
    } else {
        String::new()
    };
    let [certificate, key] = [&certificate.certificate, &certificate.key];
    let (certificate, key) = (certificate.display(), key.display());
    format!(
        "{module}daemon off;\nmaster_process off;\npid nginx.pid;\n\
         events {{ worker_connections 12000; }}\n\
         stream {{\n  server {{\n    listen {at} ssl;\n    ssl_protocols TLSv1.3;\n\
         \x20   ssl_certificate {certificate};\n    ssl_certificate_key {key};\n{size}    proxy_pass {to};\n  }}\n}}\n"
    )
}
