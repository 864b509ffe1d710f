//! Which gateways a request has passed: each one adds its name to `CDN-Loop` (RFC
//! 8586), and refuses a request that has it already.

use std::sync::Arc;

use super::refusal::NetRefusal;
use crate::bytes::Random;
use crate::handshake::Head;
use crate::random::SystemRandom;

/// The header that names them.
pub(super) const CDN_LOOP: &str = "CDN-Loop";

/// The maximum number of gateways that a request passes.
const MAX_HOPS: usize = 16;
/// The maximum length of their names.
const MAX_OCTETS: usize = 1024;

/// The name of one backend of one gateway, which no other has.
#[derive(Clone, Debug)]
pub(super) struct HopName(Arc<str>);

impl HopName {
    pub(super) fn new() -> HopName {
        let mut octets = [0; 8];
        SystemRandom.fill(&mut octets);
        let name = format!("heirloom-{:016x}", u64::from_be_bytes(octets));
        HopName(name.into())
    }

    /// The value of the header for the backend: the names that the request has, and
    /// this one.
    ///
    /// # Errors
    ///
    /// Where it has this name already, or too many.
    pub(super) fn after(&self, head: &Head<'_>) -> Result<Vec<u8>, NetRefusal> {
        let lines: Vec<&[u8]> = head.all(CDN_LOOP).map(|line| line.value).collect();
        let mut value = lines.join(&b", "[..]);
        // A name may have parameters. Quotes are not read, so that one that is not
        // closed hides nothing.
        let names = value.split(|o| *o == b',').map(|item| {
            let name = item.split(|o| *o == b';').next().unwrap_or_default();
            name.trim_ascii()
        });
        let mut hops = 0;
        for name in names.filter(|name| !name.is_empty()) {
            hops += 1;
            if name.eq_ignore_ascii_case(self.0.as_bytes()) {
                return Err(NetRefusal::GatewayLoop);
            }
        }
        if hops >= MAX_HOPS || value.len() > MAX_OCTETS {
            return Err(NetRefusal::GatewayLoop);
        }
        if hops == 0 {
            value.clear();
        } else {
            value.extend_from_slice(b", ");
        }
        value.extend_from_slice(self.0.as_bytes());
        Ok(value)
    }

    /// The value for a request of our own.
    pub(super) fn alone(&self) -> Vec<u8> {
        self.0.as_bytes().to_vec()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn after(name: &HopName, lines: &[&str]) -> Result<String, NetRefusal> {
        let lines: String = lines.iter().map(|l| format!("CDN-Loop: {l}\r\n")).collect();
        let octets = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        let head = Head::request(octets.as_bytes(), 100, &[]).unwrap();
        let value = name.after(&head)?;
        Ok(String::from_utf8(value).unwrap())
    }

    #[test]
    fn each_hop_adds_its_name_and_knows_it() {
        let (one, two) = (HopName::new(), HopName::new());
        assert_ne!(one.0, two.0);
        let first = after(&one, &[]).unwrap();
        let second = after(&two, &["other; v=\"1, 2\"", &first]).unwrap();
        assert_eq!(second, format!("other; v=\"1, 2\", {}, {}", one.0, two.0));
        for loops in [
            second.clone(),
            format!("a=\", {}", one.0),
            format!("{};x", one.0.to_uppercase()),
        ] {
            assert_eq!(after(&one, &[&loops]), Err(NetRefusal::GatewayLoop));
        }
        assert_eq!(after(&one, &[" ,, "]).unwrap(), first);
    }

    #[test]
    fn hops_are_bounded() {
        let name = HopName::new();
        let most = vec!["cdn"; MAX_HOPS - 1];
        assert!(after(&name, &most).is_ok());
        let many = vec!["cdn"; MAX_HOPS];
        assert_eq!(after(&name, &many), Err(NetRefusal::GatewayLoop));
        let long = "a".repeat(MAX_OCTETS + 1);
        assert_eq!(after(&name, &[&long]), Err(NetRefusal::GatewayLoop));
    }
}
