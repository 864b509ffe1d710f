//! A broker of topics: Redis or Valkey, how its URL is written, connections to it,
//! and what a message on one of its channels is.

use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command};
use heirloom::bytes::{Escaped, Random};
use heirloom::net::SystemRandom;
use redis::{Connection, ConnectionInfo, IntoConnectionInfo, RedisError, Value};

/// How long a connection may take, and each answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// A connection that was silent for so long is asked whether it is alive.
pub(super) const SILENCE: Duration = Duration::from_secs(5);
/// What stands before a topic in the name of its channel.
const PREFIX: &str = "heirloom:";
/// The first octet of a message: the version of what follows.
const MESSAGE_VERSION: char = '1';
/// Hex digits that name the process which has sent a message.
const ORIGIN: usize = 32;
/// Databases that a URL may name: more than any server has.
const DATABASES: u32 = 1_000_000;

const HINT: &str = "give redis://HOST:PORT, such as redis://127.0.0.1:6379 or \
                    redis://USER:PASSWORD@broker.example, or rediss:// for TLS; in a password @ is \
                    written %40, / is %2F and : is %3A";

/// Where a broker is. Its password is never printed.
#[derive(Clone)]
pub(super) struct Broker {
    info: ConnectionInfo,
    /// Its URL without user and password.
    place: String,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Broker").field(&self.place).finish()
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl FromStr for Broker {
    type Err = String;

    /// The errors do not hold the text: there is a password in it.
    fn from_str(text: &str) -> Result<Broker, String> {
        let url = redis::parse_redis_url(text).ok_or(HINT)?;
        let scheme = match url.scheme() {
            "redis" | "valkey" => "redis",
            "rediss" | "valkeys" => "rediss",
            _ => return Err(HINT.to_owned()),
        };
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("nothing is read behind ? and #; {HINT}"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(HINT)?;
        let database = url.path().trim_matches('/');
        let is_database = |n: u32| n < DATABASES;
        if !database.is_empty() && !database.parse().is_ok_and(is_database) {
            return Err(
                "what stands behind the host is the number of a database, such as \
                        redis://127.0.0.1:6379/0"
                    .to_owned(),
            );
        }
        let mut place = format!("{scheme}://{}", Escaped::<200>(host));
        if let Some(port) = url.port() {
            let _ = write!(place, ":{port}");
        }
        if !database.is_empty() {
            let _ = write!(place, "/{database}");
        }
        let info = url.into_connection_info().map_err(|error| told(&error))?;
        // Fewer commands, and so fewer permissions that its user needs.
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        Ok(Broker {
            info: info.set_redis_settings(settings).set_tcp_settings(tcp),
            place,
        })
    }
}

impl Broker {
    /// A connection. Nothing on it is awaited for longer than [`PATIENCE`].
    ///
    /// # Errors
    ///
    /// Why there is none, as a sentence.
    pub(super) fn connect(&self) -> Result<Connection, String> {
        let client = redis::Client::open(self.info.clone()).map_err(|error| told(&error))?;
        let connected = client.get_connection_with_timeout(PATIENCE);
        let connection = connected.map_err(|error| told(&error))?;
        let timeouts = connection
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| connection.set_write_timeout(Some(PATIENCE)));
        timeouts.map_err(|error| told(&error))?;
        Ok(connection)
    }
}

/// Has the broker answer.
///
/// # Errors
///
/// Why it does not, as a sentence.
pub(super) fn ping(connection: &mut Connection) -> Result<(), String> {
    let answered = connection
        .send_packed_command(&redis::cmd("PING").get_packed_command())
        .and_then(|()| connection.recv_response());
    refused(answered).map(drop)
}

/// An answer, where it is not an error.
///
/// # Errors
///
/// What the broker has said, as a sentence.
pub(super) fn refused(answer: Result<Value, RedisError>) -> Result<Value, String> {
    match answer {
        Ok(Value::ServerError(error)) => Err(told(&error.into())),
        Ok(value) => Ok(value),
        Err(error) => Err(told(&error)),
    }
}

/// What went wrong, as a sentence. What a broker says is not trusted.
pub(super) fn told(error: &RedisError) -> String {
    if error.is_timeout() {
        return format!("it does not answer within {} s", PATIENCE.as_secs());
    }
    if error.is_connection_dropped() && !error.is_connection_refusal() {
        return "it has ended the connection".to_owned();
    }
    let said = error.to_string();
    let said = Escaped::<200>(&said);
    match error.code() {
        Some("NOAUTH" | "WRONGPASS") => {}
        Some("NOPERM") => {
            return format!(
                "its user may not do that ({said}); allow it `&{PREFIX}*` and PUBLISH, SUBSCRIBE, \
                 UNSUBSCRIBE, PING"
            );
        }
        _ if error.kind() == redis::ErrorKind::AuthenticationFailed => {}
        _ => return said.to_string(),
    }
    format!("it does not take the user and password ({said}); --topics redis://USER:PASSWORD@HOST")
}

/// The channel of a topic.
pub(super) fn channel_of(topic: &str) -> String {
    format!("{PREFIX}{topic}")
}

/// The topic of a channel.
pub(super) fn topic_of(channel: &str) -> Option<&str> {
    channel.strip_prefix(PREFIX)
}

/// The name of this process, by which it knows its own messages.
pub(super) fn origin() -> String {
    let mut octets = [0; ORIGIN / 2];
    SystemRandom.fill(&mut octets);
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Adds the command that publishes a text.
pub(super) fn add_publish(out: &mut Vec<u8>, channel: &str, origin: &str, text: &str) {
    let message = format!("{MESSAGE_VERSION}{origin} {text}");
    let mut command = redis::cmd("PUBLISH");
    command.arg(channel).arg(message);
    command.write_packed_command(out);
}

/// A message on a channel: the version, the name of the process that has sent it, a
/// space, and the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sent<'m> {
    pub(super) origin: &'m str,
    pub(super) text: &'m str,
}

impl Sent<'_> {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn read(message: &[u8]) -> Result<Sent<'_>, &'static str> {
        let message = std::str::from_utf8(message).map_err(|_| "it is not UTF-8")?;
        let rest = message.strip_prefix(MESSAGE_VERSION);
        let rest = rest.ok_or("it does not start with the version 1")?;
        let (origin, text) = rest
            .split_once(' ')
            .filter(|(origin, _)| origin.len() == ORIGIN)
            .filter(|(origin, _)| origin.bytes().all(|o| o.is_ascii_hexdigit()))
            .ok_or("no 32 hex digits and a space stand before its text")?;
        Ok(Sent { origin, text })
    }
}

/// Reads the option. Its errors are made here, because clap's own would repeat what
/// was given, and there is a password in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct BrokerParser;

impl TypedValueParser for BrokerParser {
    type Value = Broker;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Broker, clap::Error> {
        let parsed = value.to_str().ok_or_else(|| HINT.to_owned());
        parsed.and_then(str::parse).map_err(|why| {
            let option = argument.map_or_else(|| "--topics".to_owned(), Arg::to_string);
            let message = format!("the value of '{option}' is wrong: {why}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_its_password_is_never_shown() {
        for (text, place) in [
            ("redis://127.0.0.1", "redis://127.0.0.1"),
            ("redis://127.0.0.1:7000/", "redis://127.0.0.1:7000"),
            ("valkey://[::1]:7000/3", "redis://[::1]:7000/3"),
            ("redis://:secret@h", "redis://h"),
            (
                "rediss://user:secret%40@broker.example:6380/1",
                "rediss://broker.example:6380/1",
            ),
        ] {
            let broker: Broker = text.parse().expect(text);
            assert_eq!(broker.to_string(), place);
            assert!(!format!("{broker:?}").contains("secret"));
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_its_password() {
        for text in [
            "",
            "127.0.0.1:6379",
            "http://u:secret@h",
            "unix:/secret",
            "redis+unix:///secret",
            "redis://",
            "redis://:secret@",
            "redis://u:secret@h/x",
            "redis://u:secret@h/-1",
            "redis://u:secret@h/99999999999",
            "redis://u:secret@h:99999",
            "redis://u:secret@0.0.0.0",
            "redis://u:secret@h?protocol=resp3",
            "rediss://u:secret@h#insecure",
            "redis://u:secret/@h",
            "redis://u:%ff@secret",
        ] {
            let error = text.parse::<Broker>().expect_err(text);
            assert!(
                !error.is_empty() && !error.contains("secret"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_written_and_nothing_else_is() {
        let origin = origin();
        assert_eq!(origin.len(), ORIGIN);
        let mut command = Vec::new();
        add_publish(&mut command, "c", &origin, "a grüße b");
        let message = format!("1{origin} a grüße b");
        let framed = format!(
            "*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n${}\r\n{message}\r\n",
            message.len()
        );
        assert_eq!(String::from_utf8_lossy(&command), framed);
        let sent = Sent::read(message.as_bytes()).expect("it is right");
        assert_eq!(
            sent,
            Sent {
                origin: &origin,
                text: "a grüße b"
            }
        );
        let empty = format!("1{origin} ");
        assert_eq!(Sent::read(empty.as_bytes()).expect("it is right").text, "");
        for wrong in [
            String::new(),
            "text".to_owned(),
            format!("2{origin} text"),
            format!("1{origin}text"),
            format!("1{} text", origin.replace(|_: char| true, "g")),
            format!("1{} text", "ü".repeat(ORIGIN / 2)),
            format!("1{} text", &origin[1..]),
        ] {
            assert!(Sent::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(Sent::read(b"\xff").is_err());
    }
}
