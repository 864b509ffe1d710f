//! `heirloom connect`: a client of any version. Lines of standard input are sent
//! as messages, and received messages are lines of standard output.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use heirloom::bytes::Escaped;
use heirloom::conn::{Config, Phase};
use heirloom::error::{Located, Violation};
use heirloom::extension::{Exceeded, Mode};
use heirloom::frame::NORMAL;
use heirloom::net::dial::{Connection, DialError, DialOptions, Progress};
use heirloom::net::{Settings, TlsFault, Url};
use heirloom::trace::Span;
use heirloom::version::{Closing, Version};
use heirloom::{Message, SessionEvent};

use super::answer::{Answer, not_http};
use super::compression::OfferArgs;
use super::display::{Display, kind_name, print_frames, print_head};
use super::extensions::Extensions;
use super::limits::LimitArgs;
use super::request_args::RequestArgs;
use super::stdin::{self, Cut, InputMessage};
use super::style::Style;
use super::trust::{OldServerArgs, TlsSeen, TrustArgs};
use super::units::counted;
use super::window::Window;
use super::{Exit, complain, hint, output, units};

/// Connect as a client of any version: lines of standard input are sent as messages, and received
/// messages are lines of standard output.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: echo hello | heirloom connect ws://127.0.0.1:8076/ --as hixie-76")]
pub(super) struct Args {
    /// The server, such as ws://127.0.0.1:8076/, wss://example.com/ or ws+unix:/run/chat.sock:/.
    #[arg(value_name = "URL", value_parser = super::request_args::url)]
    url: Url,
    /// The version to speak; `heirloom versions` lists them.
    #[arg(long = "as", value_name = "VERSION", default_value = "rfc6455",
          value_parser = super::version)]
    version: &'static Version,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    input: InputArgs,
    /// Send a ping first, and report when its pong arrives.
    #[arg(long)]
    ping: bool,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    old_server: OldServerArgs,
    #[command(flatten)]
    compression: OfferArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// How standard input becomes messages.
#[derive(Debug, ClapArgs)]
struct InputArgs {
    /// Send lines as binary messages.
    #[arg(long)]
    binary: bool,
    /// Send all of standard input as one message, as it is.
    #[arg(long, conflicts_with = "null")]
    one_message: bool,
    /// Messages end with a NUL octet instead of a line end, in input and output.
    #[arg(short = '0', long = "null")]
    null: bool,
    /// How long to wait for messages after the end of input, in seconds or with a unit. Where it is
    /// not given: until the server has been silent for a second, or, where the input is empty,
    /// until the server closes.
    #[arg(long, value_name = "TIME", value_parser = units::seconds)]
    wait: Option<u64>,
}

impl InputArgs {
    fn cut(&self) -> Cut {
        match (self.one_message, self.null) {
            (true, _) => Cut::Whole,
            (false, true) => Cut::Nuls,
            (false, false) => Cut::Lines,
        }
    }
}

/// How long a server is silent that has no more to say.
const SILENCE: Duration = Duration::from_secs(1);
const PING: &[u8] = b"heirloom";

pub(super) fn run(args: &Args, verbose: bool) -> Exit {
    if args.input.binary && !args.version.has_binary() {
        complain(&format!(
            "{} has no binary messages; leave --binary out, or choose another version",
            args.version
        ));
        return Exit::Usage;
    }
    if args.ping && !args.version.has_ping() {
        complain(&format!(
            "{} has no ping; leave --ping out, or choose another version",
            args.version
        ));
        return Exit::Usage;
    }
    let compression = args.compression.compression();
    if compression.mode != Mode::Off && !args.version.has_compression() {
        complain(&format!(
            "{} has no compression; leave --compression out, or choose another version",
            args.version
        ));
        return Exit::Usage;
    }
    let tls = match args.trust.load(args.url.secure, args.old_server.given()) {
        Ok(tls) => tls,
        Err(exit) => return exit,
    };
    let settings = args.limits.settings();
    let config = Config::default()
        .with_limits(args.limits.limits())
        .with_compression(compression);
    let options = DialOptions::default()
        .with_config(config)
        .with_tls(tls)
        .with_output_bytes(settings.output_bytes);
    let deadline = Instant::now() + Duration::from_millis(settings.handshake_ms);
    let dialled = args.request.with(&args.url, |request| {
        Connection::dial(&args.url, args.version, request, options, deadline)
    });
    let mut client = match dialled {
        Ok(client) => client,
        Err(error) => {
            complain(&format!("{error}{}", hint::of_dial(&error)));
            return match error {
                DialError::TimedOut | DialError::TlsTimedOut => Exit::TimedOut,
                DialError::Request(_) => Exit::Usage,
                _ => Exit::Unreachable,
            };
        }
    };
    let mut conversation = Conversation::new(args, settings, verbose);
    if let Some(session) = client.tls() {
        let note = TlsSeen::of(&session).to_string();
        conversation.display.note(&note);
    }
    conversation.received.extensions = Extensions::of_request(client.unsent());
    if verbose {
        let request = String::from_utf8_lossy(client.unsent()).into_owned();
        print_head('>', &request);
    }
    if let Err(exit) = conversation.open(&mut client, deadline) {
        return exit;
    }
    conversation.converse(&mut client)
}

/// A conversation: what was received, how it is shown, and what is still to be
/// sent.
struct Conversation<'a> {
    args: &'a Args,
    settings: Settings,
    received: Received,
    display: Display,
    input: Input,
}

/// What was received so far.
#[derive(Default)]
struct Received {
    violation: Option<Violation>,
    /// Whether the head of a 101 was received.
    has_101: bool,
    opened: bool,
    /// What the head of the response tells.
    answer: Answer,
    extensions: Extensions,
    /// How far back what is compressed may refer.
    window: Window,
    /// The code and reason of the server's close.
    close: Option<(Option<u16>, String)>,
    /// When the ping was sent whose pong is due.
    pinged: Option<Instant>,
}

/// The lines that are sent, until the connection is closed.
struct Input {
    lines: Option<Receiver<InputMessage>>,
    /// Whether any was read.
    any: bool,
    /// When the end of input was seen.
    ended: Option<Instant>,
    /// When octets were last sent or received.
    active: Instant,
    /// When the closing handshake, or the last pong, must have arrived.
    deadline: Option<Instant>,
    /// A line could not be sent, for what it is or because the server had gone.
    unsent: Option<Exit>,
}

impl<'a> Conversation<'a> {
    fn new(args: &'a Args, settings: Settings, verbose: bool) -> Conversation<'a> {
        Conversation {
            args,
            settings,
            received: Received::default(),
            display: Display {
                out: Style::of(&io::stdout()),
                notes: Style::of(&io::stderr()),
                verbose,
                end: if args.input.null { b"\0" } else { b"\n" },
            },
            input: Input {
                lines: None,
                any: false,
                ended: None,
                active: Instant::now(),
                deadline: None,
                unsent: None,
            },
        }
    }

    /// Finishes the opening handshake.
    fn open(&mut self, client: &mut Connection, deadline: Instant) -> Result<(), Exit> {
        while client.conn().phase() == Phase::Handshake {
            match self.step(client, Some(deadline)) {
                Progress::TimedOut if self.received.has_101 => {
                    complain(
                        &"the 101 arrived and the sixteen octets that prove it did not arrive in \
                          time (--handshake-timeout-ms)",
                    );
                    return Err(Exit::TimedOut);
                }
                Progress::TimedOut => {
                    let start = not_http(client);
                    complain(&format!(
                        "the server did not answer in time (--handshake-timeout-ms){start}"
                    ));
                    return Err(Exit::TimedOut);
                }
                Progress::Ended(_) if self.received.has_101 => {
                    complain(
                        &"the server ended the connection between its 101 and the end of the \
                          handshake",
                    );
                    return Err(Exit::Refused);
                }
                Progress::Ended(_) if client.received() > 0 && not_http(client).is_empty() => {
                    complain(&"the server ended the connection before its response was complete");
                    return Err(Exit::Refused);
                }
                Progress::Ended(_) => {
                    let tls = match client.tls() {
                        None => ", or it speaks TLS on this port (wss://)",
                        Some(_) => "",
                    };
                    complain(&format!(
                        "the server ended the connection without an answer; it may not speak {}{tls}{}",
                        self.args.version,
                        not_http(client)
                    ));
                    return Err(Exit::Refused);
                }
                Progress::Broken(error) => {
                    complain(&format!("the connection broke: {error}"));
                    return Err(Exit::Refused);
                }
                _ => {}
            }
        }
        // A violation of an open connection is not a refusal.
        let Some(violation) = self.received.violation.filter(|_| !self.received.opened) else {
            return Ok(());
        };
        let text = match violation {
            Violation::ResponseStatus { .. } => {
                let soon = Instant::now() + Duration::from_millis(500);
                let (answer, soon) = (&self.received.answer, soon.min(deadline));
                let says = answer.says::<300>(client, soon, "; it says: ");
                format!("{}{says}", answer.asks())
            }
            _ if self.received.has_101 => self.received.extensions.fault(violation),
            _ => not_http(client),
        };
        complain(&format!("{}: {violation}{text}", violation.code()));
        Err(Exit::Refused)
    }

    fn converse(&mut self, client: &mut Connection) -> Exit {
        if self.args.ping {
            self.received.pinged = Some(Instant::now());
            if let Err(error) = client.with_conn(|conn, out| conn.ping(PING, out)) {
                complain(&error);
                return Exit::Usage;
            }
            self.display
                .note_frame(&format!("> ping {}", counted(PING.len(), "octet")));
        }
        let limit = self.args.limits.limits().message_bytes;
        self.input.lines = Some(stdin::read(client, self.args.input.cut(), limit));
        let stopped = stdin::stop_on_signals(client);
        loop {
            let stop = stopped.load(Ordering::Acquire) || output::is_over();
            if stop && self.input.deadline.is_none() {
                self.send_close(client);
            }
            if client.conn().phase() == Phase::Closed {
                self.take_unsent_line();
                if client.unsent().is_empty() {
                    return self.ended(Ok(()));
                }
                // Our close is being written, and nothing more is read.
                self.wait_for_close();
            }
            if self.send_next_line(client) {
                continue;
            }
            if let Some(exit) = self.wait(client) {
                return exit;
            }
        }
    }

    /// Waits once; the exit status where the conversation has ended.
    fn wait(&mut self, client: &mut Connection) -> Option<Exit> {
        let write = Duration::from_millis(self.settings.write_ms);
        let deadline = self.input.deadline;
        let stalls = client.stalled().map(|since| since + write);
        let silent = self.silent_at(client);
        let due = [deadline, stalls, silent].into_iter().flatten().min();
        match self.step(client, due) {
            // There is no closing handshake to wait for.
            Progress::TimedOut if silent == due && self.has_ended_hixie75(client) => {
                Some(self.ended(Ok(())))
            }
            Progress::TimedOut if client.conn().phase() == Phase::Closed => {
                Some(self.ended(Ok(())))
            }
            // Our close is sent next.
            Progress::TimedOut if silent.is_some() && silent == due => None,
            Progress::TimedOut => {
                let twins;
                complain(if deadline.is_none_or(|deadline| Some(deadline) != due) {
                    &"the server reads nothing of what we send (--write-timeout-ms)"
                } else if self.input.lines.is_some() {
                    &"the pong did not arrive in time (--close-timeout-ms)"
                } else if let Some(twin) = client.conn().version().and_then(Version::twin) {
                    twins = format!(
                        "the server did not answer our close in time (--close-timeout-ms): the handshake is that of {twin} too, and it may have answered as {twin}"
                    );
                    &twins
                } else {
                    &"the server did not answer our close in time (--close-timeout-ms)"
                });
                Some(Exit::TimedOut)
            }
            Progress::Ended(_) if client.is_truncated() && !self.received.is_over() => {
                complain(&TlsFault::Truncated);
                Some(Exit::Failed)
            }
            Progress::Ended(ended) => Some(self.ended(ended)),
            // The close that was received stands, though the rest is lost.
            Progress::Broken(_) if self.received.is_over() => Some(self.ended(Ok(()))),
            Progress::Broken(error) => {
                complain(&format!("the connection broke: {error}"));
                Some(Exit::Failed)
            }
            _ => None,
        }
    }

    fn is_hixie75(&self) -> bool {
        self.args.version.closing == Closing::Hixie75
    }

    /// Whether our side of TCP has ended, which is all the close that hixie-75 has.
    fn has_ended_hixie75(&self, client: &Connection) -> bool {
        self.input.lines.is_none() && self.is_hixie75() && client.unsent().is_empty()
    }

    /// When the server has said all, unless it sends something before; `None`
    /// where that is not waited for.
    fn silent_at(&self, client: &Connection) -> Option<Instant> {
        if !client.unsent().is_empty() {
            return None;
        }
        let closing = self.input.lines.is_none();
        if closing && self.is_hixie75() {
            // A server that never falls silent has the time of a closing handshake.
            let half = Duration::from_millis(self.settings.close_ms / 2);
            return Some(self.input.active + SILENCE.min(half));
        }
        let ended = self.input.ended.filter(|_| !closing)?;
        match self.args.input.wait {
            Some(wait) => Some(ended + Duration::from_millis(wait)),
            None if !self.input.any && !stdin::is_terminal() => None,
            None => Some(self.input.active.max(ended) + SILENCE),
        }
    }

    fn close_deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.settings.close_ms)
    }

    fn wait_for_close(&mut self) {
        let deadline = self.close_deadline();
        self.input.deadline.get_or_insert(deadline);
    }

    /// Stops sending lines. Where one still waits, not all were sent.
    fn take_unsent_line(&mut self) {
        let lines = self.input.lines.take();
        if lines.is_some_and(|lines| lines.try_recv().is_ok()) {
            self.input.unsent.get_or_insert(Exit::Failed);
        }
    }

    /// Sends the next line, or a close behind the last; whether there may be
    /// another.
    fn send_next_line(&mut self, client: &mut Connection) -> bool {
        let Some(lines) = &self.input.lines else {
            return false;
        };
        if client.unsent().len() >= self.settings.output_bytes {
            return false;
        }
        match lines.try_recv() {
            Ok(line) => {
                self.input.any = true;
                if self.send(client, line) {
                    return true;
                }
                // What was sent before is still answered.
                self.send_close(client);
            }
            Err(TryRecvError::Empty) => {}
            // All is sent, and the pong is due.
            Err(TryRecvError::Disconnected) if self.received.pinged.is_some() => {
                self.wait_for_close();
            }
            // All is sent, and replies may still arrive.
            Err(TryRecvError::Disconnected) => {
                self.input.deadline = None;
                self.input.ended.get_or_insert_with(Instant::now);
                let silent = self.silent_at(client);
                if silent.is_some_and(|silent| silent <= Instant::now()) {
                    self.send_close(client);
                }
            }
        }
        false
    }

    /// Sends a close, and no more lines. hixie-75 has no close: our side of TCP
    /// ends, and the server may still finish what it sends.
    fn send_close(&mut self, client: &mut Connection) {
        self.input.lines = None;
        self.input.active = Instant::now();
        self.input.deadline = Some(self.close_deadline());
        if self.args.version.closing == Closing::Hixie75 {
            if let Err(error) = client.shutdown() {
                log::debug!("cannot end our side: {error}");
            }
        } else {
            client.with_conn(|conn, out| conn.close(NORMAL, "", out));
            self.display.note_frame(&format!("> close {NORMAL}"));
        }
    }

    fn ended(&mut self, ended: Result<(), Located<Violation>>) -> Exit {
        let cut = ended.err().map(|located| located.error);
        if let Some(violation) = self.received.violation.or(cut) {
            complain(&format!("{}: {violation}", violation.code()));
            return Exit::Failed;
        }
        let (code, reason) = self.received.close.take().unwrap_or_default();
        let reason = Escaped::<200>(&reason).to_string();
        let text = code.map(|c| format!(" {c}")).unwrap_or_default();
        let note = format!("closed{text} {reason}");
        // A close with another code means something, so it is shown to the
        // reader of a pipe too.
        if self.display.shows_notes() || code.is_some_and(|code| code != NORMAL) {
            self.display.print_note(note.trim_end());
        }
        match self.input.unsent {
            Some(Exit::Failed) => {
                complain(&"the server ended before all lines were sent");
                Exit::Failed
            }
            Some(unsent) => unsent,
            // It was told of when it arrived.
            None if self.received.window.exceeded.is_some() => Exit::Failed,
            None => Exit::Good,
        }
    }

    /// Sends a line; whether more may be sent.
    fn send(&mut self, client: &mut Connection, line: InputMessage) -> bool {
        let line = match line {
            InputMessage::Whole(line) => line,
            InputMessage::TooLong => {
                complain(&"a line is longer than a message may be (--max-message-bytes)");
                self.input.unsent = Some(Exit::Usage);
                return false;
            }
        };
        let message = match std::str::from_utf8(&line) {
            _ if self.args.input.binary => Message::binary(&line),
            Ok(text) => Message::text(text),
            Err(_) => {
                complain(&"a line is not UTF-8; send it with --binary");
                self.input.unsent = Some(Exit::Usage);
                return false;
            }
        };
        // A server that has sent a close is sent nothing more.
        if let Err(error) = client.with_conn(|conn, out| conn.send(message, out)) {
            log::debug!("a line is not sent: {error}");
            self.input.unsent = Some(Exit::Failed);
            return false;
        }
        let kind = kind_name(message.kind());
        let octets = counted(line.len(), "octet");
        self.display.note_frame(&format!("> {kind} {octets}"));
        true
    }

    fn step(&mut self, client: &mut Connection, deadline: Option<Instant>) -> Progress {
        let mut spans: Vec<Span> = Vec::new();
        let version = self.args.version;
        let (received, display) = (&mut self.received, &mut self.display);
        let names = display.verbose || received.window.is_watched(client);
        let mut on_event = |event: Result<SessionEvent<'_>, Located<Violation>>| {
            received.on_event(event, version, display);
        };
        let progress = match names {
            true => client.step(deadline, &mut spans, &mut |event, _, _| on_event(event)),
            false => client.step(deadline, &mut (), &mut |event, _, _| on_event(event)),
        };
        if self.display.verbose {
            print_frames(&spans);
        }
        if let Some(exceeded) = self.received.window.look(&spans, client) {
            complain(&format!("{}: {exceeded}", Exceeded::CODE));
        }
        self.input.note(&progress);
        progress
    }
}

impl Input {
    /// Notes that the connection is not silent.
    fn note(&mut self, progress: &Progress) {
        if matches!(progress, Progress::Transferred) {
            self.active = Instant::now();
        }
    }
}

impl Received {
    /// Whether the server has closed the connection, or broken the protocol.
    fn is_over(&self) -> bool {
        self.close.is_some() || self.violation.is_some()
    }

    fn on_event(
        &mut self,
        event: Result<SessionEvent<'_>, Located<Violation>>,
        version: &Version,
        display: &mut Display,
    ) {
        match event {
            Ok(SessionEvent::Response(response)) => {
                self.has_101 = response.status() == 101;
                self.answer = Answer::of(&response);
                self.window.agreed(response.compression());
                self.extensions.answer(response.head().raw());
                if let Some(remark) = self.extensions.remark().filter(|_| self.has_101) {
                    complain(&remark);
                }
                display.response(&response);
            }
            Ok(SessionEvent::Open) => {
                self.opened = true;
                display.note(&format!("open, {version}"));
            }
            Ok(SessionEvent::Stray(octets)) => complain(&format!(
                "the server sent {} of white space between the handshake and its first frame ({}), \
                 which belongs to neither and was skipped",
                counted(octets.len(), "octet"),
                octets.escape_ascii()
            )),
            Ok(SessionEvent::Message(message)) => display.message(message),
            Ok(SessionEvent::Ping(octets)) => {
                display.note_frame(&format!("> pong {}", counted(octets.len(), "octet")));
            }
            Ok(SessionEvent::Pong(octets)) => {
                if let Some(sent) = self.pinged.filter(|_| octets == PING) {
                    self.pinged = None;
                    let ms = sent.elapsed().as_secs_f64() * 1000.0;
                    display.print_note(&format!("pong after {ms:.1} ms"));
                }
            }
            Ok(SessionEvent::Close(reason)) => {
                self.close = Some((reason.code, reason.text.into_owned()));
            }
            Ok(_) => {}
            Err(located) => self.violation = Some(located.error),
        }
    }
}
