//! `heirloom connect`: a client of any version. Lines of standard input are sent
//! as messages, and received messages are lines of standard output.

use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use heirloom::bytes::Escaped;
use heirloom::conn::{Config, Phase};
use heirloom::error::{Located, Violation};
use heirloom::frame::NORMAL;
use heirloom::handshake::{Head, Response};
use heirloom::net::dial::{Connection, DialError, DialOptions, Progress};
use heirloom::net::{Settings, Url};
use heirloom::trace::{Field, Span};
use heirloom::version::{Closing, Version};
use heirloom::{Kind, Message, SessionEvent};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::limits::LimitArgs;
use super::request_args::RequestArgs;
use super::style::Style;
use super::{Exit, complain};

/// Connect as a client of any version: lines of standard input are sent as messages, and received
/// messages are lines of standard output.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: echo hello | heirloom connect ws://127.0.0.1:8076/ --as hixie-76")]
pub(super) struct Args {
    /// The server, such as ws://127.0.0.1:8076/.
    #[arg(value_name = "URL", value_parser = super::request_args::url)]
    url: Url,
    /// The version to speak; `heirloom versions` lists them.
    #[arg(long = "as", value_name = "VERSION", default_value = "rfc6455",
          value_parser = super::version)]
    version: &'static Version,
    #[command(flatten)]
    request: RequestArgs,
    /// Send lines as binary messages.
    #[arg(long)]
    binary: bool,
    /// Send a ping first, and report when its pong arrives.
    #[arg(long)]
    ping: bool,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Lines that may wait to be sent.
const LINES: usize = 64;
const PING: &[u8] = b"heirloom";

pub(super) fn run(args: &Args, verbose: bool) -> Exit {
    if args.binary && !args.version.has_binary() {
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
    let settings = args.limits.settings();
    let options = DialOptions::default()
        .with_config(Config::default().with_limits(args.limits.limits()))
        .with_output_bytes(settings.output_bytes);
    let deadline = Instant::now() + Duration::from_millis(settings.handshake_ms);
    let dialled = args.request.with(&args.url, |request| {
        Connection::dial(&args.url, args.version, request, options, deadline)
    });
    let mut client = match dialled {
        Ok(client) => client,
        Err(error) => {
            complain(&error);
            return match error {
                DialError::TimedOut => Exit::TimedOut,
                DialError::Request(_) => Exit::Usage,
                _ => Exit::Unreachable,
            };
        }
    };
    let mut conversation = Conversation::new(args, settings, verbose);
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
    /// The code and reason of the server's close.
    close: Option<(Option<u16>, String)>,
    /// When the ping was sent whose pong is due.
    pinged: Option<Instant>,
}

/// Where messages and notes go, and how they look.
struct Display {
    out: Style,
    notes: Style,
    verbose: bool,
    /// Standard output is a closed pipe.
    stdout_closed: bool,
}

/// The lines that are sent, until the connection is closed.
struct Input {
    lines: Option<Receiver<InputLine>>,
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
                stdout_closed: false,
            },
            input: Input {
                lines: None,
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
                    complain(&"the server did not answer in time (--handshake-timeout-ms)");
                    return Err(Exit::TimedOut);
                }
                Progress::Ended(_) if self.received.has_101 => {
                    complain(
                        &"the server ended the connection between its 101 and the end of the \
                          handshake",
                    );
                    return Err(Exit::Refused);
                }
                Progress::Ended(_) => {
                    complain(&format!(
                        "the server ended the connection without an answer; it may not speak {}",
                        self.args.version
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
                body(client, soon.min(deadline))
            }
            _ => String::new(),
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
                .note_frame(&format!("> ping {} octets", PING.len()));
        }
        let limit = self.args.limits.limits().message_bytes;
        self.input.lines = Some(read_lines(client, limit));
        let stopped = stop_on_signals(client);
        loop {
            let stop = stopped.load(Ordering::Acquire) || self.display.stdout_closed;
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
        let due = [deadline, stalls].into_iter().flatten().min();
        match self.step(client, due) {
            Progress::TimedOut if client.conn().phase() == Phase::Closed => {
                Some(self.ended(Ok(())))
            }
            Progress::TimedOut => {
                complain(if deadline.is_none_or(|deadline| Some(deadline) != due) {
                    &"the server reads nothing of what we send (--write-timeout-ms)"
                } else if self.input.lines.is_some() {
                    &"the pong did not arrive in time (--close-timeout-ms)"
                } else {
                    &"the server did not answer our close in time (--close-timeout-ms)"
                });
                Some(Exit::TimedOut)
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
                if self.send(client, line) {
                    return true;
                }
                // What was sent before is still answered.
                self.send_close(client);
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) if self.received.pinged.is_none() => {
                self.send_close(client);
            }
            // All is sent, and the pong is due.
            Err(TryRecvError::Disconnected) => self.wait_for_close(),
        }
        false
    }

    /// Sends a close, and no more lines. hixie-75 has no close: our side of TCP
    /// ends, and the server may still finish what it sends.
    fn send_close(&mut self, client: &mut Connection) {
        self.input.lines = None;
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
            unsent => unsent.unwrap_or(Exit::Good),
        }
    }

    /// Sends a line; whether more may be sent.
    fn send(&mut self, client: &mut Connection, line: InputLine) -> bool {
        let line = match line {
            InputLine::Whole(line) => line,
            InputLine::TooLong => {
                complain(&"a line is longer than a message may be (--max-message-bytes)");
                self.input.unsent = Some(Exit::Usage);
                return false;
            }
        };
        let message = match std::str::from_utf8(&line) {
            _ if self.args.binary => Message::binary(&line),
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
        let octets = line.len();
        self.display
            .note_frame(&format!("> {kind} {octets} octets"));
        true
    }

    fn step(&mut self, client: &mut Connection, deadline: Option<Instant>) -> Progress {
        let mut spans: Vec<Span> = Vec::new();
        let version = self.args.version;
        let (received, display) = (&mut self.received, &mut self.display);
        if !display.verbose {
            return client.step(deadline, &mut (), &mut |event, _, _| {
                received.on_event(event, version, display);
            });
        }
        let progress = client.step(deadline, &mut spans, &mut |event, _, _| {
            received.on_event(event, version, display);
        });
        print_frames(&spans);
        progress
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
                display.response(&response);
            }
            Ok(SessionEvent::Open) => {
                self.opened = true;
                display.note(&format!("open, {version}"));
            }
            Ok(SessionEvent::Stray(octets)) => complain(&format!(
                "the server sent {} octets of white space between the handshake and its first \
                 frame ({}); they belong to neither and were skipped",
                octets.len(),
                octets.escape_ascii()
            )),
            Ok(SessionEvent::Message(message)) => display.message(message),
            Ok(SessionEvent::Ping(octets)) => {
                display.note_frame(&format!("> pong {} octets", octets.len()));
            }
            Ok(SessionEvent::Pong(octets)) => {
                if let Some(sent) = self.pinged.filter(|_| octets == PING) {
                    self.pinged = None;
                    let ms = sent.elapsed().as_secs_f64() * 1000.0;
                    let _ = writeln!(io::stderr(), "* pong after {ms:.1} ms");
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

impl Display {
    fn response(&self, response: &Response<'_>) {
        if self.verbose {
            print_head('<', &raw(response.head()));
        }
        if let Some(name) = response.subprotocol() {
            self.note(&format!("subprotocol {}", Escaped::<200>(name)));
        }
    }

    /// A message is a line: as it is in a pipe, escaped on a terminal.
    fn message(&mut self, message: Message<'_>) {
        let mut out = io::stdout().lock();
        let line = if self.out.is_terminal() {
            let text = message.as_text().map_or_else(
                || message.payload().escape_ascii().to_string(),
                |text| Escaped::<{ usize::MAX }>(text).to_string(),
            );
            format!("{} {text}\n", self.out.incoming("<")).into_bytes()
        } else {
            [message.payload(), b"\n"].concat()
        };
        let written = out.write_all(&line).and_then(|()| out.flush());
        self.stdout_closed |= written.is_err();
    }

    /// A note about a frame: only with `--verbose`.
    fn note_frame(&self, note: &str) {
        if self.verbose {
            self.print_note(note);
        }
    }

    /// A note about the connection: on a terminal, or with `--verbose`.
    fn note(&self, note: &str) {
        if self.shows_notes() {
            self.print_note(note);
        }
    }

    fn shows_notes(&self) -> bool {
        self.verbose || self.notes.is_terminal()
    }

    fn print_note(&self, note: &str) {
        let _ = writeln!(io::stderr(), "{} {note}", self.notes.note("*"));
    }
}

/// Prints a head line by line.
fn print_head(arrow: char, head: &str) {
    let end = head.find("\r\n\r\n").unwrap_or(head.len());
    let (head, _) = head.split_at(end);
    for line in head.split("\r\n") {
        let _ = writeln!(io::stderr(), "{arrow} {}", Escaped::<1000>(line));
    }
    let _ = writeln!(io::stderr(), "{arrow}");
}

/// Prints each frame that was received, from the fields that the parse named.
fn print_frames(spans: &[Span]) {
    let mut frame = String::new();
    for span in spans {
        let described = match span.field {
            Field::Opcode => format!("opcode {}", span.value),
            Field::FrameType => format!("type {:02x}", span.value),
            Field::Fin => format!("fin {}", span.value),
            Field::More => format!("more {}", span.value),
            Field::Length7 if span.value < 126 => format!("{} octets", span.value),
            Field::Length16 | Field::Length64 => format!("{} octets", span.value),
            Field::Terminator => "end of text".to_owned(),
            Field::CloseCode => format!("code {}", span.value),
            _ => continue,
        };
        let is_first = matches!(span.field, Field::Fin | Field::More | Field::FrameType);
        if is_first && !frame.is_empty() {
            let _ = writeln!(io::stderr(), "* < frame: {frame}");
            frame.clear();
        }
        if !frame.is_empty() {
            frame.push_str(", ");
        }
        frame.push_str(&described);
    }
    if !frame.is_empty() {
        let _ = writeln!(io::stderr(), "* < frame: {frame}");
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Binary => "binary",
    }
}

fn raw(head: &Head<'_>) -> String {
    String::from_utf8_lossy(head.raw()).into_owned()
}

/// The first line of a refusal's body, if it arrives soon.
fn body(client: &mut Connection, deadline: Instant) -> String {
    while client.unparsed().is_empty() {
        match client.step(Some(deadline), &mut (), &mut |_, _, _| {}) {
            Progress::Transferred | Progress::Woken => {}
            _ => break,
        }
    }
    let text = String::from_utf8_lossy(client.unparsed());
    match text.lines().next() {
        None | Some("") => String::new(),
        Some(line) => format!("; it says: {}", Escaped::<300>(line)),
    }
}

/// A line of standard input.
enum InputLine {
    Whole(Vec<u8>),
    /// More octets than a message may have.
    TooLong,
}

/// Reads standard input on a thread of its own, since that may block.
fn read_lines(client: &Connection, limit: u64) -> Receiver<InputLine> {
    let (send, receive) = sync_channel(LINES);
    let waker = client.waker();
    let reader = thread::Builder::new().name("stdin".to_owned());
    let spawned = reader.spawn(move || {
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        // A line, its end, and one octet that is too many.
        let room = limit.saturating_add(3);
        while let Ok(1..) = (&mut input).take(room).read_until(b'\n', &mut line) {
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            let too_long = line.len() as u64 > limit;
            let line = if too_long {
                InputLine::TooLong
            } else {
                InputLine::Whole(std::mem::take(&mut line))
            };
            if send.send(line).is_err() || waker.wake().is_err() || too_long {
                return;
            }
        }
        drop(send);
        // Without this the loop would go on waiting.
        let _ = waker.wake();
    });
    if let Err(error) = spawned {
        complain(&format!("cannot read standard input: {error}"));
    }
    receive
}

/// The first TERM or INT sends a close, the second ends the program at once.
fn stop_on_signals(client: &Connection) -> Arc<AtomicBool> {
    let stopped = Arc::new(AtomicBool::new(false));
    let (flag, waker) = (Arc::clone(&stopped), client.waker());
    let waiting = Signals::new([SIGTERM, SIGINT]).and_then(|mut signals| {
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    if flag.swap(true, Ordering::AcqRel) {
                        std::process::exit(128 + signal);
                    }
                    // Where it cannot be woken it ends with the conversation.
                    let _ = waker.wake();
                }
            })
    });
    if let Err(error) = waiting {
        log::warn!("cannot wait for signals: {error}");
    }
    stopped
}
