//! What a certificate says: its names, its days, its issuer.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{X509Name, X509Version};

use crate::bytes::Escaped;

/// Names that a sentence lists; more are counted.
const LISTED: usize = 8;

/// What a certificate says of itself. Nothing of it is verified.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// DNS names in small letters and IP addresses; of the subject alternative
    /// name, or the common name where there is none.
    pub(super) names: Vec<String>,
    /// Whether the names come from a subject alternative name.
    pub(super) has_alternative_names: bool,
    /// Unix seconds.
    pub(super) not_before: i64,
    /// Unix seconds.
    pub(super) not_after: i64,
    pub(super) subject: Name,
    pub(super) issuer: Name,
    pub(super) is_version_1: bool,
    /// Whether it says that it is an authority. A certificate of version 1 cannot
    /// say it.
    pub(super) is_authority: bool,
}

/// The name of a subject or an issuer.
#[derive(Clone, Debug)]
pub(super) struct Name {
    /// DER.
    pub(super) octets: Vec<u8>,
    /// For a sentence; safe to show.
    pub(super) text: String,
}

impl Facts {
    /// Reads the DER of a certificate.
    pub(super) fn read(der: &[u8]) -> Option<Facts> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let alternative = alternative_names(&certificate);
        let has_alternative_names = alternative.is_some();
        let common = || common_names(certificate.subject());
        let names = alternative.unwrap_or_else(common);
        let validity = certificate.validity();
        Some(Facts {
            names,
            has_alternative_names,
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            subject: name(certificate.subject()),
            issuer: name(certificate.issuer()),
            is_version_1: certificate.version() == X509Version::V1,
            is_authority: certificate.is_ca(),
        })
    }

    /// Whether the subject is its own issuer.
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject.octets == self.issuer.octets
    }

    /// Its names as the end of a sentence.
    pub(super) fn listed_names(&self) -> String {
        if self.names.is_empty() {
            return "no name".to_owned();
        }
        let shown = self.names.iter().take(LISTED);
        let shown: Vec<String> = shown.map(|name| Escaped::<100>(name).to_string()).collect();
        let shown = shown.join(", ");
        match self.names.len().saturating_sub(LISTED) {
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    }
}

/// DNS names and addresses of the subject alternative name, where there is one.
fn alternative_names(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    let mut extensions = certificate.iter_extensions();
    let alternative = extensions.find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(names),
        _ => None,
    })?;
    let names = alternative.general_names.iter();
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => address(octets),
        _ => None,
    });
    Some(names.collect())
}

fn address(octets: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(octets).map(|o| Ipv4Addr::from(o).to_string());
    let v6 = || <[u8; 16]>::try_from(octets).map(|o| Ipv6Addr::from(o).to_string());
    v4.or_else(|_| v6()).ok()
}

fn common_names(subject: &X509Name<'_>) -> Vec<String> {
    let names = subject.iter_common_name();
    let names = names.filter_map(|name| name.as_str().ok());
    names.map(str::to_ascii_lowercase).collect()
}

fn name(name: &X509Name<'_>) -> Name {
    let text = Escaped::<200>(&name.to_string()).to_string();
    let text = if text.is_empty() {
        "(no name)".to_owned()
    } else {
        text
    };
    Name {
        octets: name.as_raw().to_vec(),
        text,
    }
}

/// Whether a name of a certificate, which may start with `*.`, is valid for a
/// host (RFC 9525 section 6.3: the asterisk is one label, the first).
pub(super) fn is_name_for(name: &str, host: &str) -> bool {
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(domain), Some((first, rest))) = (name.strip_prefix("*."), host.split_once('.'))
    else {
        return false;
    };
    !first.is_empty() && domain.eq_ignore_ascii_case(rest)
}

/// The day of a time in Unix seconds, as 2026-12-31.
pub(super) fn day(unix_seconds: i64) -> String {
    match ASN1Time::from_timestamp(unix_seconds) {
        Ok(time) => time.to_datetime().date().to_string(),
        Err(_) => format!("second {unix_seconds} of Unix time"),
    }
}

/// A time of a certificate as the system counts time.
pub(super) fn system_time(unix_seconds: i64) -> SystemTime {
    let span = Duration::from_secs(unix_seconds.unsigned_abs());
    let time = if unix_seconds < 0 {
        UNIX_EPOCH.checked_sub(span)
    } else {
        UNIX_EPOCH.checked_add(span)
    };
    time.unwrap_or(UNIX_EPOCH)
}

/// Unix seconds of a time of the system.
pub(super) fn unix_seconds(time: SystemTime) -> i64 {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(span) => seconds(span),
        Err(before) => -seconds(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asterisk_stands_for_one_label() {
        for (name, host, is_for) in [
            ("a.example", "A.example", true),
            ("*.example", "a.example", true),
            ("*.example", "b.a.example", false),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("*", "example", false),
            ("a*.example", "ab.example", false),
        ] {
            assert_eq!(is_name_for(name, host), is_for, "{name} {host}");
        }
    }

    #[test]
    fn a_day_is_written_as_people_sort_it() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(1_798_675_200), "2026-12-31");
        assert_eq!(day(-1), "1969-12-31");
        assert_eq!(day(i64::MAX), format!("second {} of Unix time", i64::MAX));
    }

    #[test]
    fn a_time_before_1970_is_one() {
        for seconds in [-5, 0, 5] {
            assert_eq!(unix_seconds(system_time(seconds)), seconds);
        }
    }
}
