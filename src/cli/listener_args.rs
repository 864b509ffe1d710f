//! The options of a listener of `serve` and `gateway`: where clients connect, and what
//! comes before their requests.

use clap::Args;
use heirloom::net::{Listen, ListenAt, Networks};

use super::flash::FlashArgs;
use super::listening;
use super::tls::TlsArgs;

/// Where clients connect, and what comes before their requests.
#[derive(Clone, Debug, Args)]
pub(super) struct ListenerArgs {
    /// Where to listen; may be given more than once. Port 0 takes a free one; localhost is 127.0.0.1
    /// and [::1]; [::] takes IPv6 only. With a certificate
    /// TLS and plain connections come to the same port; tls://ADDR takes TLS only, ws://ADDR plain
    /// connections only. unix:PATH is a Unix socket, which takes plain connections (tls://unix:PATH
    /// TLS) and whose file is removed at the end; unix:@NAME has no file (Linux). systemd
    /// stands for all sockets that the supervisor has passed (LISTEN_FDS), systemd:NAME for those of
    /// that name.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8076", value_parser = listening::listeners)]
    listen: Vec<Vec<Listen>>,
    /// The permissions of the files of Unix sockets, in octal digits such as 660. A client needs
    /// the permission to write. An abstract name (unix:@NAME) has none: every user of the machine
    /// may connect.
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = listening::unix_mode)]
    unix_mode: u32,
    /// Peers whose connections start with a PROXY header, of version 1 or 2, which is believed:
    /// addresses and networks such as 10.0.0.0/8, and `unix` for those of Unix sockets, separated by
    /// commas. Other peers must send none.
    #[arg(long, value_name = "NETS")]
    accept_proxy: Vec<Networks>,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
    #[command(flatten)]
    pub(super) flash: FlashArgs,
}

impl ListenerArgs {
    /// The places, those for Flash policies among them.
    pub(super) fn places(&self) -> Vec<Listen> {
        let mut places = [self.listen.concat(), self.flash.listeners()].concat();
        for place in &mut places {
            if let ListenAt::Unix { mode, .. } = &mut place.at {
                *mode = self.unix_mode;
            }
        }
        places
    }

    /// The peers that send a PROXY header.
    pub(super) fn proxies(&self) -> Networks {
        self.accept_proxy.iter().cloned().collect()
    }
}
