//! Reads a ClientHello from the first octets of a connection.

use std::borrow::Cow;

use super::cursor::{Cursor, Stop};
use super::hello::{ClientHello, Extensions, TlsVersion};
use super::suite::{Suite, is_grease};

/// A ClientHello is not longer than this, as rustls has it too.
const MAX_MESSAGE_OCTETS: usize = 0xffff;
/// A ClientHello lies in no more records than this. One needs five at most; some
/// clients cut it into a few small ones.
const MAX_RECORDS: usize = 64;
/// RFC 8446 section 5.1.
const MAX_RECORD_OCTETS: usize = 1 << 14;
/// A ClientHello has no more extensions than this; about 60 are registered.
const MAX_EXTENSIONS: usize = 256;
const HANDSHAKE: u8 = 0x16;
/// The first octet of every version from SSL 3.0 to TLS 1.3.
const SSL_3_MAJOR: u8 = 3;
const CLIENT_HELLO: u8 = 1;
const RANDOM_OCTETS: usize = 32;
const MAX_SESSION_ID_OCTETS: usize = 32;

/// The first octet of an SSLv2 record of less than 256 octets without padding.
const SSL2_RECORD: u8 = 0x80;
const SSL2_SPEC_OCTETS: usize = 3;

// IANA, TLS ExtensionType Values.
const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// Why octets are no ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAHello {
    /// Neither a handshake record of TLS nor an SSLv2 record.
    #[error("it does not start with a handshake record of TLS")]
    NotTls,
    /// RFC 8446 section 5.1 allows no empty record of a handshake.
    #[error("a record of TLS is empty")]
    EmptyRecord,
    /// RFC 8446 section 5.1: more than 16,384 octets.
    #[error("a record of TLS is longer than 16384 octets")]
    RecordTooLong,
    /// One message in 65 records or more.
    #[error("the ClientHello lies in more than 64 records")]
    TooManyRecords,
    /// Another message of the handshake.
    #[error("the first message of the handshake has type {0}, and that of a ClientHello is 1")]
    OtherMessage(u8),
    /// More than 65,535 octets.
    #[error("the ClientHello is longer than 65535 octets")]
    TooLong,
    /// More than 256 extensions.
    #[error("the ClientHello has more than 256 extensions")]
    TooManyExtensions,
    /// A version before SSL 3.0.
    #[error("the client offers no version after SSL 2.0")]
    Ssl2,
    /// A length or a list that is not as RFC 8446 section 4.1.2 has it.
    #[error(
        "the ClientHello is malformed: a length in it is wrong, or an extension is there twice"
    )]
    Malformed,
}

impl ClientHello {
    /// Reads the ClientHello in front of the first octets of a connection. It may
    /// lie in several records, or in the framing of SSLv2, which clients such as
    /// Java 6 use. `None` asks for more octets.
    ///
    /// Nothing is kept between calls: each reads from the start, at most 64
    /// records and 65,535 octets of message. What follows the message is not read.
    ///
    /// # Errors
    ///
    /// [`NotAHello`] at the first octet that cannot be right, however many follow.
    pub fn read(octets: &[u8]) -> Result<Option<ClientHello>, NotAHello> {
        let (read, behind) = match octets {
            [SSL2_RECORD, ..] => (read_ssl2(octets), None),
            _ => {
                let (message, behind) = gather(octets);
                (read_message(&message), behind)
            }
        };
        match (read, behind) {
            (Ok(hello), _) => Ok(Some(hello)),
            (Err(Failed::Stop(Stop::More)), None) => Ok(None),
            (Err(Failed::Stop(Stop::More)), Some(not)) => Err(not),
            (Err(Failed::Stop(Stop::Malformed)), _) => Err(NotAHello::Malformed),
            (Err(Failed::Not(not)), _) => Err(not),
        }
    }
}

/// Why a hello was not read.
enum Failed {
    Stop(Stop),
    Not(NotAHello),
}

impl From<Stop> for Failed {
    fn from(stop: Stop) -> Failed {
        Failed::Stop(stop)
    }
}

impl From<NotAHello> for Failed {
    fn from(not: NotAHello) -> Failed {
        Failed::Not(not)
    }
}

/// Gathers what has arrived of the message in these records, and why the record
/// behind it is wrong, where it is.
fn gather(octets: &[u8]) -> (Cow<'_, [u8]>, Option<NotAHello>) {
    let mut message = Cow::Borrowed(&[][..]);
    let mut rest = octets;
    for _ in 0..MAX_RECORDS {
        let (fragment, after) = match split_record(rest) {
            Ok(Some(split)) => split,
            Ok(None) => return (message, None),
            Err(not) => return (message, Some(not)),
        };
        if message.is_empty() {
            message = Cow::Borrowed(fragment);
        } else {
            message.to_mut().extend_from_slice(fragment);
        }
        if is_whole(&message) {
            return (message, None);
        }
        rest = after;
    }
    let too_many = (!rest.is_empty()).then_some(NotAHello::TooManyRecords);
    (message, too_many)
}

/// What has arrived of a record's fragment, and what follows it.
type Split<'o> = (&'o [u8], &'o [u8]);

/// Splits what has arrived of the first record's fragment from what follows.
/// `None` where its header is not there.
fn split_record(octets: &[u8]) -> Result<Option<Split<'_>>, NotAHello> {
    match *octets {
        [kind, ..] if kind != HANDSHAKE => Err(NotAHello::NotTls),
        // The version of the record says nothing (RFC 8446 section 5.1), but its
        // first octet is the same in SSL 3 and in all of TLS.
        [_, major, ..] if major != SSL_3_MAJOR => Err(NotAHello::NotTls),
        [_, _, _, high, ..] if usize::from(high) > MAX_RECORD_OCTETS >> 8 => {
            Err(NotAHello::RecordTooLong)
        }
        [_, _, _, high, low, ref behind @ ..] => {
            match usize::from(u16::from_be_bytes([high, low])) {
                0 => Err(NotAHello::EmptyRecord),
                length if length > MAX_RECORD_OCTETS => Err(NotAHello::RecordTooLong),
                length => Ok(Some(
                    behind.split_at_checked(length).unwrap_or((behind, &[])),
                )),
            }
        }
        _ => Ok(None),
    }
}

/// Whether the message of the handshake has arrived, by its length.
fn is_whole(message: &[u8]) -> bool {
    match *message {
        [_, high, middle, low, ref body @ ..] => {
            usize::try_from(u32::from_be_bytes([0, high, middle, low]))
                .is_ok_and(|length| body.len() >= length)
        }
        _ => false,
    }
}

/// Reads the message of the handshake, as far as it has arrived.
fn read_message(octets: &[u8]) -> Result<ClientHello, Failed> {
    let (length, body) = match *octets {
        [kind, ..] if kind != CLIENT_HELLO => return Err(NotAHello::OtherMessage(kind).into()),
        [_, high, ..] if high > 0 => return Err(NotAHello::TooLong.into()),
        [_, _, high, low, ref body @ ..] => (u16::from_be_bytes([high, low]), body),
        _ => return Err(Stop::More.into()),
    };
    let length = usize::from(length);
    if length + 4 > MAX_MESSAGE_OCTETS {
        return Err(NotAHello::TooLong.into());
    }
    let mut hello = Cursor::new(body, length);
    let version = read_version(&mut hello)?;
    hello.take(RANDOM_OCTETS)?;
    let session_id = hello.inner_u8()?;
    if session_id.length() > MAX_SESSION_ID_OCTETS {
        return Err(Stop::Malformed.into());
    }
    session_id.rest()?;
    let suites = hello.inner_u16()?.numbers()?;
    let compression = hello.inner_u8()?;
    if compression.is_empty() {
        return Err(Stop::Malformed.into());
    }
    let has_null_compression = compression.rest()?.contains(&0);
    // SSL 3 and TLS 1.0 have no extensions, and clients without any leave out
    // their length.
    let mut extensions = Extensions::default();
    if !hello.is_empty() {
        let inner = hello.inner_u16()?;
        if !hello.is_empty() {
            return Err(Stop::Malformed.into());
        }
        extensions.read(inner)?;
    }
    Ok(ClientHello {
        is_ssl2_framed: false,
        version,
        suites: suites.into_iter().map(Suite).collect(),
        has_null_compression,
        extensions,
    })
}

fn read_version(cursor: &mut Cursor<'_>) -> Result<TlsVersion, Failed> {
    match cursor.u8()? {
        SSL_3_MAJOR => Ok(TlsVersion(u16::from_be_bytes([SSL_3_MAJOR, cursor.u8()?]))),
        0..SSL_3_MAJOR => Err(NotAHello::Ssl2.into()),
        _ => Err(Stop::Malformed.into()),
    }
}

impl Extensions {
    fn read(&mut self, mut all: Cursor<'_>) -> Result<(), Failed> {
        for _ in 0..MAX_EXTENSIONS {
            if all.is_empty() {
                return Ok(());
            }
            let kind = all.u16()?;
            let mut body = all.inner_u16()?;
            match kind {
                SERVER_NAME => once(&mut self.server_name, read_server_name(&mut body)?)?,
                SUPPORTED_GROUPS => once(&mut self.groups, body.inner_u16()?.numbers()?)?,
                SIGNATURE_ALGORITHMS => {
                    once(&mut self.signature_schemes, body.inner_u16()?.numbers()?)?;
                }
                ALPN => once(&mut self.alpn, read_alpn(&mut body)?)?,
                SUPPORTED_VERSIONS => {
                    let listed = body.inner_u8()?.numbers()?.into_iter();
                    let known = listed.filter(|number| !is_grease(*number));
                    once(&mut self.versions, known.map(TlsVersion).collect())?;
                }
                _ => {
                    body.take(body.length())?;
                }
            }
            if !body.is_empty() {
                return Err(Stop::Malformed.into());
            }
        }
        if all.is_empty() {
            return Ok(());
        }
        Err(NotAHello::TooManyExtensions.into())
    }
}

/// Sets what stands once (RFC 8446 section 4.2).
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Stop> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Stop::Malformed),
    }
}

/// RFC 6066 section 3. Only one name was ever sent, of type 0.
fn read_server_name(body: &mut Cursor<'_>) -> Result<Vec<u8>, Stop> {
    let mut list = body.inner_u16()?;
    if list.u8()? != 0 {
        return Err(Stop::Malformed);
    }
    let name = list.inner_u16()?;
    if name.is_empty() || !list.is_empty() {
        return Err(Stop::Malformed);
    }
    name.rest().map(<[u8]>::to_vec)
}

/// RFC 7301 section 3.1.
fn read_alpn(body: &mut Cursor<'_>) -> Result<Vec<Vec<u8>>, Stop> {
    let mut list = body.inner_u16()?;
    let mut protocols = Vec::new();
    loop {
        let protocol = list.inner_u8()?;
        if protocol.is_empty() {
            return Err(Stop::Malformed);
        }
        protocols.push(protocol.rest()?.to_vec());
        if list.is_empty() {
            return Ok(protocols);
        }
    }
}

/// Reads a hello in the framing of SSLv2 (RFC 5246 appendix E.2).
fn read_ssl2(octets: &[u8]) -> Result<ClientHello, Failed> {
    let [_, length, record @ ..] = octets else {
        return Err(Stop::More.into());
    };
    let mut hello = Cursor::new(record, usize::from(*length));
    let kind = hello.u8()?;
    if kind != CLIENT_HELLO {
        return Err(NotAHello::NotTls.into());
    }
    let version = read_version(&mut hello)?;
    let [specs, session_id, challenge] = [hello.u16()?, hello.u16()?, hello.u16()?];
    let specs = usize::from(specs);
    // A session of SSLv2 cannot be resumed by TLS, so its identifier is empty.
    if specs == 0 || specs % SSL2_SPEC_OCTETS != 0 || session_id != 0 {
        return Err(Stop::Malformed.into());
    }
    if !(16..=32).contains(&challenge) || hello.length() != specs + usize::from(challenge) {
        return Err(Stop::Malformed.into());
    }
    let specs = hello.take(specs)?.chunks_exact(SSL2_SPEC_OCTETS);
    hello.take(usize::from(challenge))?;
    // Specs of SSLv2 itself start with another octet.
    let suite = |spec: &[u8]| match *spec {
        [0, high, low] => Some(Suite(u16::from_be_bytes([high, low]))),
        _ => None,
    };
    Ok(ClientHello {
        is_ssl2_framed: true,
        version,
        suites: specs.filter_map(suite).collect(),
        has_null_compression: true,
        extensions: Extensions::default(),
    })
}
