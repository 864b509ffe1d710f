//! Which option does something about a refusal or an error: the sentence that the
//! command line adds to its text.

use heirloom::error::{Refusal, Violation};
use heirloom::net::dial::DialError;
use heirloom::net::{CertificateProblem, ClientTlsError, NetRefusal, TlsFault};

/// For a refusal of the protocol.
pub(super) fn of_refusal(refusal: Refusal) -> Option<String> {
    let hint = match refusal {
        Refusal::VersionOff { version, .. } => {
            return Some(format!("`--versions +{version}` turns it on"));
        }
        Refusal::HeadTooLong { .. } => "`--max-head-bytes` sets the limit",
        Refusal::HandshakeTimeout => "`--handshake-timeout-ms` sets the limit",
        Refusal::OriginNotAllowed => "`--origin` names those that may",
        Refusal::TlsUnexpected => "`--tls-cert` gives this server a certificate",
        Refusal::HostForbidden => "`--host` names those that it answers to",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// For a refusal of the server.
pub(super) fn of_net_refusal(refusal: NetRefusal) -> Option<String> {
    let hint = match refusal {
        NetRefusal::ProxyHeader => "or take its address from the list of `--accept-proxy`",
        NetRefusal::ProxyHeaderUnexpected => "or name it in `--accept-proxy`",
        NetRefusal::PlainOnTlsPort => "`--listen` without a scheme takes both",
        NetRefusal::TlsTooOld => "`--tls-legacy` lets it in",
        NetRefusal::BackendHandshake {
            violation: Violation::ExtensionInvalid { .. },
        } => "`--backend-compression never` offers the backend none",
        NetRefusal::BackendHandshake { .. } => "see `--to` and `--as`",
        NetRefusal::BackendUnreachable => "`--to` says where it should be",
        NetRefusal::BackendTls { .. } => "the log of the gateway says more",
        NetRefusal::BackendTimeout => "`--handshake-timeout-ms` sets the limit",
        NetRefusal::BackendSilent => "`--http-timeout-ms` sets the limit",
        NetRefusal::OutOfSockets => "`ulimit -n` shows how many descriptors it may have",
        NetRefusal::TooManyConnections => "`--max-connections` sets the limit",
        NetRefusal::OutOfMemory => "`--max-memory-bytes` sets the limit",
        NetRefusal::TooManyFromAddress => "`--max-connections-per-address` sets the limit",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// For a server that could not be connected to, behind a semicolon; empty where no
/// option helps.
pub(super) fn of_dial(error: &DialError) -> &'static str {
    match (error, error.tls_fault()) {
        (DialError::ClientTls(error), _) => of_client_tls(error),
        (_, Some(TlsFault::Certificate { problem, .. })) => match problem {
            CertificateProblem::Untrusted => {
                "; `--ca FILE` names a certificate to trust, and `--insecure` accepts any"
            }
            _ => "; `--insecure` accepts it all the same",
        },
        _ => "",
    }
}

/// For TLS that cannot be spoken, behind a semicolon; empty where no option helps.
pub(super) fn of_client_tls(error: &ClientTlsError) -> &'static str {
    match error {
        ClientTlsError::NoRoots { .. } => " by `--ca FILE`",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use heirloom::Version;
    use heirloom::error::ExtensionFault;

    use super::*;

    #[test]
    fn a_version_that_is_off_has_the_option_that_turns_it_on() {
        let version = Version::named("hixie-75").expect("it is in the table");
        let on = heirloom::Versions::default();
        let hint = of_refusal(Refusal::VersionOff { version, on });
        assert_eq!(hint.as_deref(), Some("`--versions +hixie-75` turns it on"));
        assert_eq!(of_refusal(Refusal::NotFound), None);
    }

    #[test]
    fn a_backend_whose_answer_to_the_offer_is_wrong_has_the_option_that_offers_nothing() {
        let fault = ExtensionFault::BadWindow;
        let violation = Violation::ExtensionInvalid { fault };
        let hint = of_net_refusal(NetRefusal::BackendHandshake { violation });
        assert!(hint.is_some_and(|hint| hint.contains("--backend-compression never")));
    }
}
