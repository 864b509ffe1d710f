//! Where the documents say it: the section about a subject, by version.

use crate::version::{Layout, Side, Version};

/// What a section is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Request,
    Response,
    Proof,
    Frames(Side),
    Masking,
    Closing(Side),
    CloseCodes,
    Control,
    Http,
    /// Of messages, or of each frame.
    Compression {
        per_frame: bool,
    },
}

/// The section about this subject in the document of the version.
pub(super) fn section(version: Option<&Version>, about: About) -> String {
    if let About::Compression { per_frame } = about {
        let draft = "draft-tyoshino-hybi-websocket-perframe-deflate";
        return if per_frame {
            draft
        } else {
            "RFC 7692 section 7.2"
        }
        .to_owned();
    }
    let http = |section: &str| format!("RFC 9112 section {section}");
    let Some(version) = version else {
        return http("2.1");
    };
    let is_hixie = version.layout == Layout::Hixie75;
    let hixie = |section: &str| format!("{} section {section}", version.name);
    let rfc = match about {
        About::Http => return http("2.1"),
        About::Request if is_hixie => return hixie("4.1"),
        About::Response | About::Proof if is_hixie => return hixie("5.2"),
        About::Frames(from) | About::Closing(from) if is_hixie => {
            return hixie(if from == Side::Client { "5.3" } else { "4.2" });
        }
        About::Masking | About::CloseCodes | About::Control if is_hixie => return String::new(),
        // hybi-01 to -03 kept the handshake of hixie-76.
        About::Request | About::Response | About::Proof if version.has_body() => {
            return format!("{}, as hixie-76 section 5.2", version.name);
        }
        About::Request => "4.1",
        About::Response => "4.2.2",
        About::Proof => "1.3",
        About::Frames(_) => "5.2",
        About::Masking if matches!(version.layout, Layout::Hybi04 | Layout::Hybi05) => {
            return format!("{}, masking", version.name);
        }
        About::Masking => "5.3",
        About::Closing(_) => "5.5.1",
        About::CloseCodes => "7.4.1",
        About::Control => "5.5",
        About::Compression { .. } => unreachable!("its section is the same for all versions"),
    };
    if version.rfc_rules {
        format!("RFC 6455 section {rfc}")
    } else {
        format!("{}, now RFC 6455 section {rfc}", version.name)
    }
}
