//! The socket policy of Flash for `serve` and `gateway`.

use std::net::SocketAddr;

use clap::Args;
use heirloom::handshake::Origins;
use heirloom::net::{FlashPolicy, Listen, ListenAt, Takes};

use super::listening;

/// What Flash players are answered.
#[derive(Clone, Debug, Args)]
pub(super) struct FlashArgs {
    /// Answer Flash players that ask for a policy, on every port: pages with a WebSocket made of
    /// Flash, such as web-socket-js, connect only then. The pages are those of --origin, or without
    /// any those of this machine; the ports are the server's own.
    #[arg(long, help_heading = "Flash")]
    flash_policy: bool,
    /// A port for such requests alone, beside the server's own, which answer them then too; players ask 843 first, and believe what another server
    /// answers there. May be given more than once.
    #[arg(long, value_name = "ADDR", value_parser = listening::addresses, help_heading = "Flash")]
    flash_policy_listen: Vec<Vec<SocketAddr>>,
    /// A domain in the policy in place of those of --origin, such as *.example.com, or * for every
    /// page; may be given more than once.
    #[arg(long, value_name = "DOMAIN", help_heading = "Flash", value_parser = domain)]
    flash_policy_domain: Vec<String>,
    /// A port in the policy beside the server's own: the one that clients dial, where something
    /// stands in front. May be given more than once.
    #[arg(long, value_name = "PORT", help_heading = "Flash",
          value_parser = super::units::whole(1..=u16::MAX))]
    flash_policy_port: Vec<u16>,
}

impl FlashArgs {
    /// Whether players are answered.
    pub(super) fn are_answered(&self) -> bool {
        self.flash_policy
            || !self.flash_policy_listen.is_empty()
            || !self.flash_policy_domain.is_empty()
            || !self.flash_policy_port.is_empty()
    }

    /// The ports that are for such requests alone.
    pub(super) fn listeners(&self) -> Vec<Listen> {
        let addresses = self.flash_policy_listen.iter().flatten();
        let listen =
            |address: &SocketAddr| Listen::new(ListenAt::Tcp(*address), Takes::FlashPolicy);
        addresses.map(listen).collect()
    }

    /// The policy of a server with these origins that listens there.
    pub(super) fn policy(&self, origins: &Origins, listeners: &[Listen]) -> FlashPolicy {
        let own = listeners
            .iter()
            .filter(|listen| listen.takes != Takes::FlashPolicy);
        let own = own.filter_map(|listen| listen.at.address());
        let own = own.map(|address| address.port());
        let mut ports: Vec<u16> = own.chain(self.flash_policy_port.iter().copied()).collect();
        ports.sort_unstable();
        ports.dedup();
        if self.flash_policy_domain.is_empty() {
            FlashPolicy::of_origins(origins, &ports)
        } else {
            FlashPolicy::new(&self.flash_policy_domain, &ports)
        }
    }
}

fn domain(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let in_name = |o: u8| o.is_ascii_alphanumeric() || b"-._:[]".contains(&o);
    if text == "*" || !name.is_empty() && name.bytes().all(in_name) {
        return Ok(text.to_owned());
    }
    Err(
        "a domain is a name or an address without scheme and port, such as example.com, \
         *.example.com or *"
            .to_owned(),
    )
}
