//! The table of versions: facts about each, no behaviour.
//!
//! A version is a row over three parts: how the handshake is proved
//! ([`Challenge`]), how frames are laid out ([`Layout`]) and how a connection is
//! closed ([`Closing`]). Rules that follow from a part are methods of
//! [`Version`]; rules that do not are columns of the row. No other file decides
//! by the number or the name of a version.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// One WebSocket version.
#[derive(Debug)]
#[non_exhaustive]
pub struct Version {
    /// The name a person types: `hixie-76`, `rfc6455`.
    pub name: &'static str,
    /// Other names for the same wire, accepted wherever a name is.
    pub aliases: &'static [&'static str],
    /// The `Sec-WebSocket-Version` on the wire; `None` where the request
    /// carries no number.
    pub number: Option<u8>,
    /// How the handshake is proved.
    pub challenge: Challenge,
    /// How frames are laid out.
    pub layout: Layout,
    /// How a connection is closed.
    pub closing: Closing,
    /// What happens to a text that is not UTF-8.
    pub invalid_utf8: InvalidUtf8,
    /// The request headers that may name the origin, in the order in which they
    /// are looked up. Our client sends the first.
    pub origin: &'static [&'static str],
    /// Whether every client must send an origin. Since hybi-06, clients that are
    /// not browsers need not.
    pub requires_origin: bool,
    /// How long a `Sec-WebSocket-Key` is.
    pub key_length: KeyLength,
    /// Whether the request target may be an absolute URI (RFC 6455 section
    /// 4.2.1 item 1, since hybi-08).
    pub absolute_target: bool,
    /// Whether the rules hold that RFC 6455 added to its drafts: client frames
    /// are masked, lengths are minimal, keys have 16 octets, 1004 is reserved.
    pub rfc_rules: bool,
    /// Whether a server accepts it by default.
    pub default_on: bool,
    /// The dates of the first and the last document with this wire.
    pub dates: (&'static str, &'static str),
    /// The documents that describe it.
    pub document: &'static str,
    /// Clients that shipped it.
    pub clients: &'static str,
}

/// How the opening handshake is proved, named after the version that brought
/// it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Nothing is proved: the response echoes origin and location.
    Hixie75,
    /// Two numbers hidden in keys and eight octets, answered by MD5.
    Hixie76,
    /// A key answered by SHA-1, and a nonce that makes the masking key.
    Hybi04,
    /// A key answered by SHA-1.
    Hybi05,
}

/// How frames are laid out on the wire, named after the version that brought it
/// in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// 0x00 text 0xFF; types from 0x80 up carry a length.
    Hixie75,
    /// A two-octet header with MORE, no mask.
    Hybi01,
    /// FIN for MORE; the client masks all of a frame with a 20-octet key.
    Hybi04,
    /// The client masks all of a frame, header included, with a 4-octet key.
    Hybi05,
    /// The layout of RFC 6455: MASK bit, payload masked.
    Hybi07,
}

/// How a connection is closed, named after the version that brought it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// There is no closing handshake; TCP ends.
    Hixie75,
    /// FF 00, answered by FF 00.
    Hixie76,
    /// A close frame whose body has no meaning; the reply repeats it.
    Hybi01,
    /// A close frame whose first octet names its sender: `C` or `S`.
    Hybi05,
    /// A close frame with a status code and a reason.
    Hybi06,
}

/// How long a `Sec-WebSocket-Key` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyLength {
    /// There is no such header.
    None,
    /// So many characters of base64 at most, and one at least. The drafts ask
    /// for sixteen octets, but the proof takes the text as it stands, and
    /// clients were seen to send from 15 to 32 octets.
    Characters(usize),
    /// Exactly so many octets in base64.
    Octets(usize),
}

impl fmt::Display for KeyLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyLength::None => f.write_str("absent"),
            KeyLength::Characters(most) => write!(f, "1 to {most} characters of base64"),
            KeyLength::Octets(n) => {
                write!(
                    f,
                    "{n} octets in base64, which is {} characters",
                    n.div_ceil(3) * 4
                )
            }
        }
    }
}

/// What happens to a text message that is not valid UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidUtf8 {
    /// Each invalid sequence is delivered as U+FFFD.
    Replace,
    /// The connection fails, with 1007 where codes exist.
    Fail,
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "vector", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "vector", serde(rename_all = "lowercase"))]
pub enum Side {
    /// The end that sends the request.
    Client,
    /// The end that sends the response.
    Server,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn peer(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }

    /// `client` or `server`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Server => "server",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const ORIGIN: &[&str] = &["Origin"];
const SEC_ORIGIN: &[&str] = &["Sec-WebSocket-Origin", "Origin"];
// Real clients of RFC 6455 were seen with the old name.
const ORIGIN_OR_SEC: &[&str] = &["Origin", "Sec-WebSocket-Origin"];

/// How many rows the table has.
const COUNT: usize = 9;

/// All versions, oldest first.
pub static VERSIONS: &[Version] = &TABLE;

static TABLE: [Version; COUNT] = [
    Version {
        name: "hixie-75",
        aliases: &["75"],
        number: None,
        challenge: Challenge::Hixie75,
        layout: Layout::Hixie75,
        closing: Closing::Hixie75,
        invalid_utf8: InvalidUtf8::Replace,
        origin: ORIGIN,
        requires_origin: true,
        key_length: KeyLength::None,
        absolute_target: false,
        rfc_rules: false,
        default_on: false,
        dates: ("2010-02-04", "2010-02-04"),
        document: "draft-hixie-thewebsocketprotocol-75",
        clients: "Chrome 4 and 5, Safari 5.0.0, early Flash web-socket-js",
    },
    Version {
        name: "hixie-76",
        aliases: &["76", "00", "hybi-00"],
        number: None,
        challenge: Challenge::Hixie76,
        layout: Layout::Hixie75,
        closing: Closing::Hixie76,
        invalid_utf8: InvalidUtf8::Replace,
        origin: ORIGIN,
        requires_origin: true,
        key_length: KeyLength::None,
        absolute_target: false,
        rfc_rules: false,
        default_on: true,
        dates: ("2010-05-06", "2010-05-23"),
        document: "draft-hixie-thewebsocketprotocol-76, draft-ietf-hybi-thewebsocketprotocol-00",
        clients: "Chrome 6 to 13, Safari 5.0.1 to 5.1, iOS 4.2 to 5.1, Firefox 4 and 5, \
                  Opera 11.0 to 12.0, PhantomJS 1, televisions with WebKit 534",
    },
    Version {
        name: "hybi-03",
        aliases: &["01", "02", "03", "1", "2", "3", "hybi-01", "hybi-02"],
        number: None,
        challenge: Challenge::Hixie76,
        layout: Layout::Hybi01,
        closing: Closing::Hybi01,
        invalid_utf8: InvalidUtf8::Replace,
        origin: ORIGIN,
        requires_origin: true,
        key_length: KeyLength::None,
        absolute_target: false,
        rfc_rules: false,
        default_on: false,
        dates: ("2010-08-31", "2010-10-17"),
        document: "draft-ietf-hybi-thewebsocketprotocol-01 to -03",
        clients: "no browser; test clients of libraries",
    },
    Version {
        name: "hybi-04",
        aliases: &["04", "4"],
        number: Some(4),
        challenge: Challenge::Hybi04,
        layout: Layout::Hybi04,
        closing: Closing::Hybi01,
        invalid_utf8: InvalidUtf8::Replace,
        origin: SEC_ORIGIN,
        requires_origin: true,
        key_length: KeyLength::Characters(64),
        absolute_target: false,
        rfc_rules: false,
        default_on: false,
        dates: ("2011-01-11", "2011-01-11"),
        document: "draft-ietf-hybi-thewebsocketprotocol-04",
        clients: "no browser",
    },
    Version {
        name: "hybi-05",
        aliases: &["05", "5"],
        number: Some(5),
        challenge: Challenge::Hybi05,
        layout: Layout::Hybi05,
        closing: Closing::Hybi05,
        invalid_utf8: InvalidUtf8::Replace,
        origin: SEC_ORIGIN,
        requires_origin: true,
        key_length: KeyLength::Characters(64),
        absolute_target: false,
        rfc_rules: false,
        default_on: false,
        dates: ("2011-02-08", "2011-02-08"),
        document: "draft-ietf-hybi-thewebsocketprotocol-05",
        clients: "no browser",
    },
    Version {
        name: "hybi-06",
        aliases: &["06", "6"],
        number: Some(6),
        challenge: Challenge::Hybi05,
        layout: Layout::Hybi05,
        closing: Closing::Hybi06,
        invalid_utf8: InvalidUtf8::Replace,
        origin: SEC_ORIGIN,
        requires_origin: false,
        key_length: KeyLength::Characters(64),
        absolute_target: false,
        rfc_rules: false,
        default_on: false,
        dates: ("2011-02-25", "2011-02-25"),
        document: "draft-ietf-hybi-thewebsocketprotocol-06",
        clients: "an add-on for Internet Explorer 8 and 9",
    },
    Version {
        name: "hybi-07",
        aliases: &["07", "7"],
        number: Some(7),
        challenge: Challenge::Hybi05,
        layout: Layout::Hybi07,
        closing: Closing::Hybi06,
        invalid_utf8: InvalidUtf8::Replace,
        origin: SEC_ORIGIN,
        requires_origin: false,
        key_length: KeyLength::Characters(64),
        absolute_target: false,
        rfc_rules: false,
        default_on: true,
        dates: ("2011-04-22", "2011-04-22"),
        document: "draft-ietf-hybi-thewebsocketprotocol-07",
        clients: "Firefox 6 (as MozWebSocket)",
    },
    Version {
        name: "hybi-08",
        aliases: &["08", "8", "hybi-10"],
        number: Some(8),
        challenge: Challenge::Hybi05,
        layout: Layout::Hybi07,
        closing: Closing::Hybi06,
        invalid_utf8: InvalidUtf8::Fail,
        origin: SEC_ORIGIN,
        requires_origin: false,
        key_length: KeyLength::Characters(64),
        absolute_target: true,
        rfc_rules: false,
        default_on: true,
        dates: ("2011-06-07", "2011-08-24"),
        document: "draft-ietf-hybi-thewebsocketprotocol-08 to -12",
        clients: "Chrome 14 and 15, Firefox 7 to 10 (as MozWebSocket), \
                  Internet Explorer 10 preview, old Java-WebSocket",
    },
    Version {
        name: "rfc6455",
        aliases: &["13"],
        number: Some(13),
        challenge: Challenge::Hybi05,
        layout: Layout::Hybi07,
        closing: Closing::Hybi06,
        invalid_utf8: InvalidUtf8::Fail,
        origin: ORIGIN_OR_SEC,
        requires_origin: false,
        key_length: KeyLength::Octets(16),
        absolute_target: true,
        rfc_rules: true,
        default_on: true,
        dates: ("2011-08-31", "2011-12-11"),
        document: "draft-ietf-hybi-thewebsocketprotocol-13 to -17, RFC 6455",
        clients: "Chrome 16, Firefox 11, Internet Explorer 10, Opera 12.10, Safari 6, iOS 6, \
                  and all browsers since",
    },
];

impl Version {
    /// The row with this name or alias.
    ///
    /// ```
    /// use heirloom::version::Version;
    /// assert_eq!(Version::named("hybi-00").map(|v| v.name), Some("hixie-76"));
    /// assert!(Version::named("hybi-99").is_none());
    /// ```
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Version> {
        VERSIONS
            .iter()
            .find(|v| v.name == name || v.aliases.contains(&name))
    }

    /// The row with this `Sec-WebSocket-Version`.
    #[must_use]
    pub fn numbered(number: u8) -> Option<&'static Version> {
        VERSIONS.iter().find(|v| v.number == Some(number))
    }

    /// Whether it has binary messages: all but the hixie layouts.
    #[must_use]
    pub fn has_binary(&self) -> bool {
        self.layout != Layout::Hixie75
    }

    /// Whether it has pings and pongs: all but the hixie layouts.
    #[must_use]
    pub fn has_ping(&self) -> bool {
        self.layout != Layout::Hixie75
    }

    /// Whether a message may lie in several frames.
    #[must_use]
    pub fn has_fragments(&self) -> bool {
        self.layout != Layout::Hixie75
    }

    /// Whether its close carries a status code and a reason.
    #[must_use]
    pub fn has_close_codes(&self) -> bool {
        self.closing == Closing::Hybi06
    }

    /// Whether its client masks what it sends.
    #[must_use]
    pub fn client_masks(&self) -> bool {
        !matches!(self.layout, Layout::Hixie75 | Layout::Hybi01)
    }

    /// Whether its request carries two numbered keys and eight octets of
    /// body.
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.challenge == Challenge::Hixie76
    }

    /// Whether a data frame says how long it is. A text of hixie runs to its 0xFF.
    #[must_use]
    pub fn has_frame_lengths(&self) -> bool {
        self.layout != Layout::Hixie75
    }

    /// Whether extensions are negotiated: since hybi-04.
    #[must_use]
    pub fn has_extensions(&self) -> bool {
        !matches!(self.layout, Layout::Hixie75 | Layout::Hybi01)
    }

    /// Whether messages may be compressed: clients offered it since hybi-07, whose
    /// frames have the reserved bit for it.
    #[must_use]
    pub fn has_compression(&self) -> bool {
        self.layout == Layout::Hybi07
    }

    /// The version with other frames that answers this version's opening handshake
    /// in the same octets: hixie-76 for hybi-03, whose `Sec-WebSocket-Draft` servers
    /// may ignore. Only frames tell which of the two a server follows.
    #[must_use]
    pub fn twin(&self) -> Option<&'static Version> {
        let is_twin = |v: &&Version| v.challenge == self.challenge && v.layout == Layout::Hixie75;
        (self.has_body() && self.layout != Layout::Hixie75)
            .then(|| VERSIONS.iter().find(is_twin))
            .flatten()
    }

    /// Whether a text is checked while it arrives: one that is not UTF-8 fails
    /// the connection, so what was delivered needs no second check.
    #[must_use]
    pub fn checks_text(&self) -> bool {
        self.invalid_utf8 == InvalidUtf8::Fail
    }

    /// The header in which subprotocols are asked for and agreed.
    #[must_use]
    pub fn subprotocol_header(&self) -> &'static str {
        match self.challenge {
            Challenge::Hixie75 => "WebSocket-Protocol",
            _ => "Sec-WebSocket-Protocol",
        }
    }

    /// Whether its client asks for subprotocols with one opaque string and fails
    /// the connection unless it gets the whole of it back. The others ask with a
    /// list.
    #[must_use]
    pub fn has_opaque_subprotocol(&self) -> bool {
        self.echoes_location()
    }

    /// Whether the response repeats the origin and the URL of the request. A
    /// client compares them, and a request needs an origin to be repeated.
    #[must_use]
    pub fn echoes_location(&self) -> bool {
        matches!(self.challenge, Challenge::Hixie75 | Challenge::Hixie76)
    }

    /// Whether its request names a draft, `Sec-WebSocket-Draft: 2`.
    #[must_use]
    pub fn has_draft(&self) -> bool {
        self.challenge == Challenge::Hixie76 && self.layout == Layout::Hybi01
    }

    /// Where it stands in the table.
    fn index(&self) -> usize {
        // Most connections have the newest.
        let row = VERSIONS.iter().rposition(|v| v == self);
        row.expect("a version is a row of the table")
    }
}

/// A version by its place in the table: one octet, since every connection has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row(u8);

impl Row {
    /// The row of this version.
    #[allow(clippy::cast_possible_truncation)] // the table has fewer rows
    pub(crate) fn of(version: &Version) -> Row {
        Row(version.index() as u8)
    }

    /// The version.
    #[inline]
    pub(crate) fn version(self) -> &'static Version {
        let Some(version) = TABLE.get(usize::from(self.0)) else {
            unreachable!("a row is one of the table");
        };
        version
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Version) -> bool {
        // Rows are never copied.
        core::ptr::eq(self, other)
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A set of versions: those a server has on.
///
/// ```
/// use heirloom::version::Versions;
/// let on: Versions = "default,+hixie-75,-7".parse()?;
/// assert_eq!(on.to_string(), "hixie-75 hixie-76 hybi-08 rfc6455");
/// assert_eq!(on.numbers(), "13, 8");
/// # Ok::<(), heirloom::version::UnknownVersion>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions(u16);

impl Versions {
    /// Every row of the table.
    pub const ALL: Versions = Versions((1 << COUNT) - 1);
    /// No version.
    pub const NONE: Versions = Versions(0);

    /// The set of one.
    #[must_use]
    pub fn only(version: &Version) -> Versions {
        Versions(1 << version.index())
    }

    /// These and those.
    #[must_use]
    pub fn and(self, more: Versions) -> Versions {
        Versions(self.0 | more.0)
    }

    /// Whether this version is on.
    #[must_use]
    pub fn contains(self, version: &Version) -> bool {
        self.0 & Versions::only(version).0 != 0
    }

    /// The versions that are on, oldest first.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = &'static Version> {
        VERSIONS.iter().filter(move |v| self.contains(v))
    }

    /// The wire numbers that are on, newest first, as
    /// `Sec-WebSocket-Version` lists them in a refusal (RFC 6455 section 4.4).
    #[must_use]
    pub fn numbers(self) -> String {
        let numbers: Vec<String> = self
            .iter()
            .rev()
            .filter_map(|v| v.number)
            .map(|n| n.to_string())
            .collect();
        numbers.join(", ")
    }
}

impl Default for Versions {
    fn default() -> Versions {
        VERSIONS
            .iter()
            .filter(|v| v.default_on)
            .fold(Versions::NONE, |on, v| Versions(on.0 | Versions::only(v).0))
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(|v| v.name).collect();
        f.write_str(&names.join(" "))
    }
}

/// A version list that names something the table does not hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no version is named {0:?}; the names are {names}, and `all`, `default`, `+NAME`, `-NAME`",
    names = Versions::ALL.to_string()
)]
pub struct UnknownVersion(pub String);

impl FromStr for Versions {
    type Err = UnknownVersion;

    /// Reads a list such as `all`, `default,+hixie-75` or `13,76`. A list that
    /// begins with `+` or `-` starts from the default.
    fn from_str(list: &str) -> Result<Versions, UnknownVersion> {
        let mut on = if list.trim_start().starts_with(['+', '-']) {
            Versions::default()
        } else {
            Versions::NONE
        };
        for item in list.split([',', ' ']).filter(|item| !item.is_empty()) {
            let (drop, name) = match item.strip_prefix('-') {
                Some(name) => (true, name),
                None => (false, item.strip_prefix('+').unwrap_or(item)),
            };
            let named = match name {
                "all" => Versions::ALL,
                "default" => Versions::default(),
                _ => Version::named(name)
                    .map(Versions::only)
                    .ok_or_else(|| UnknownVersion(name.to_owned()))?,
            };
            on = Versions(if drop {
                on.0 & !named.0
            } else {
                on.0 | named.0
            });
        }
        Ok(on)
    }
}
