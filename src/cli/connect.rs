//! `heirloom connect`: a client of any version. Lines of standard input are
//! messages, messages that come are lines of standard output.

use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use heirloom::bytes::Escaped;
use heirloom::conn::{Config, Event, Phase};
use heirloom::error::Violation;
use heirloom::frame::{Kind, Message, NORMAL};
use heirloom::handshake::{Head, Response};
use heirloom::message::Gather;
use heirloom::net::Url;
use heirloom::net::dial::{Connection, DialError, KeyBody, Progress};
use heirloom::trace::{Field, Span};
use heirloom::version::{Closing, Version};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::limits::LimitArgs;
use super::request_args::RequestArgs;
use super::style::Style;
use super::{Exit, complain};

/// Connect as a client of any version: lines of standard input are messages, messages that come
/// are lines of standard output.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: echo hello | heirloom connect ws://127.0.0.1:8076/ --as hixie-76")]
pub(super) struct Args {
    /// Where to, such as ws://127.0.0.1:8076/.
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
    /// Send a ping first, and say when its pong comes.
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
    let mut config = Config::default();
    config.limits = args.limits.limits();
    let config = Arc::new(config);
    let deadline = Instant::now() + Duration::from_millis(config.limits.handshake_ms);
    let dialled = args.request.with(&args.url, |request| {
        let config = Arc::clone(&config);
        Connection::dial(
            &args.url,
            args.version,
            request,
            KeyBody::WithHead,
            config,
            deadline,
        )
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
    let mut session = Session::new(args, verbose);
    if verbose {
        let request = String::from_utf8_lossy(client.output()).into_owned();
        session.head('>', &request);
    }
    if let Err(exit) = session.open(&mut client, deadline) {
        return exit;
    }
    session.converse(&mut client, &config)
}

/// A conversation, as it is shown.
struct Session<'a> {
    args: &'a Args,
    style: Style,
    verbose: bool,
    gather: Gather,
    pinged: Option<Instant>,
    violation: Option<Violation>,
    /// The head of a 101 has come.
    answered: bool,
    opened: bool,
    /// The code and reason of the peer's goodbye.
    close: Option<(Option<u16>, String)>,
    /// Nobody reads what we print.
    stdout_closed: bool,
    /// A line could not be sent, for what it is or because the server had gone.
    unsent: Option<Exit>,
    /// How notes look.
    notes: Style,
}

impl<'a> Session<'a> {
    fn new(args: &'a Args, verbose: bool) -> Session<'a> {
        Session {
            args,
            style: Style::of(&io::stdout()),
            verbose,
            gather: Gather::default(),
            pinged: None,
            violation: None,
            answered: false,
            opened: false,
            close: None,
            stdout_closed: false,
            unsent: None,
            notes: Style::of(&io::stderr()),
        }
    }

    /// Finishes the handshake.
    fn open(&mut self, client: &mut Connection, deadline: Instant) -> Result<(), Exit> {
        while client.conn.phase() == Phase::Handshake {
            match self.step(client, Some(deadline)) {
                Progress::Transferred | Progress::Woken => {}
                Progress::TimedOut if self.answered => {
                    complain(
                        &"the 101 came and the sixteen octets that prove it did not come in time \
                          (--handshake-timeout-ms)",
                    );
                    return Err(Exit::TimedOut);
                }
                Progress::TimedOut => {
                    complain(&"the server did not answer in time (--handshake-timeout-ms)");
                    return Err(Exit::TimedOut);
                }
                Progress::Ended(_) if self.answered => {
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
            }
        }
        // What went wrong later is not a refusal.
        let Some(violation) = self.violation.filter(|_| !self.opened) else {
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

    fn converse(&mut self, client: &mut Connection, config: &Config) -> Exit {
        if self.args.ping {
            self.pinged = Some(Instant::now());
            if let Err(error) = client.with_conn(|conn, out| conn.ping(PING, out)) {
                complain(&error);
                return Exit::Usage;
            }
            self.note_frame(&format!("> ping {} octets", PING.len()));
        }
        let close = Duration::from_millis(config.limits.close_ms);
        let write = Duration::from_millis(config.limits.write_ms);
        let limit = config.limits.message_bytes;
        let mut lines = Some(read_lines(client, limit));
        let mut deadline = None;
        let stopped = stop_on_signals(client);
        loop {
            if deadline.is_none() && stopped.load(Ordering::Acquire) {
                lines = None;
                deadline = Some(Instant::now() + close);
                self.send_close(client);
            }
            if client.conn.phase() == Phase::Closed {
                if client.output().is_empty() {
                    let more = lines.and_then(|lines| lines.try_recv().ok());
                    self.unsent = self.unsent.or(more.map(|_| Exit::Failed));
                    return self.ended(Ok(()));
                }
                // Our last word is on its way, and nothing more is heard.
                let more = lines.take().and_then(|lines| lines.try_recv().ok());
                self.unsent = self.unsent.or(more.map(|_| Exit::Failed));
                deadline.get_or_insert(Instant::now() + close);
            }
            if self.stdout_closed && deadline.is_none() {
                lines = None;
                deadline = Some(Instant::now() + close);
                self.send_close(client);
            }
            if let Some(waiting) = &lines {
                if client.output().len() < config.limits.output_bytes {
                    match waiting.try_recv() {
                        Ok(line) => {
                            if self.send(client, line) {
                                continue;
                            }
                            // What was sent before is still answered.
                            lines = None;
                            deadline = Some(Instant::now() + close);
                            self.send_close(client);
                        }
                        Err(TryRecvError::Empty) => {}
                        // All is sent; the pong is still to come where one was asked for.
                        Err(TryRecvError::Disconnected) if self.pinged.is_none() => {
                            lines = None;
                            deadline = Some(Instant::now() + close);
                            self.send_close(client);
                        }
                        Err(TryRecvError::Disconnected) => {
                            deadline.get_or_insert(Instant::now() + close);
                        }
                    }
                }
            }
            let stalls = client.stalled().map(|since| since + write);
            let due = [deadline, stalls].into_iter().flatten().min();
            match self.step(client, due) {
                Progress::Transferred | Progress::Woken => {}
                Progress::TimedOut if client.conn.phase() == Phase::Closed => {
                    return self.ended(Ok(()));
                }
                Progress::TimedOut => {
                    complain(if deadline.is_none_or(|deadline| Some(deadline) != due) {
                        &"the server takes nothing of what we say (--write-timeout-ms)"
                    } else if lines.is_some() {
                        &"the pong did not come in time (--close-timeout-ms)"
                    } else {
                        &"the server did not answer our goodbye in time (--close-timeout-ms)"
                    });
                    return Exit::TimedOut;
                }
                Progress::Ended(ended) => return self.ended(ended),
                // What was said stands, though the rest is lost.
                Progress::Broken(_) if self.close.is_some() || self.violation.is_some() => {
                    return self.ended(Ok(()));
                }
                Progress::Broken(error) => {
                    complain(&format!("the connection broke: {error}"));
                    return Exit::Failed;
                }
            }
        }
    }

    /// hixie-75 has no goodbye: our side of TCP ends, and the server may still
    /// finish what it says.
    fn send_close(&mut self, client: &mut Connection) {
        if self.args.version.closing == Closing::Hixie75 {
            if let Err(error) = client.shutdown() {
                log::debug!("cannot end our side: {error}");
            }
        } else {
            client.with_conn(|conn, out| conn.close(NORMAL, "", out));
            self.note_frame(&format!("> close {NORMAL}"));
        }
    }

    fn ended(&mut self, ended: Result<(), Violation>) -> Exit {
        if let Some(violation) = self.violation.or(ended.err()) {
            complain(&format!("{}: {violation}", violation.code()));
            return Exit::Failed;
        }
        let (code, reason) = self.close.take().unwrap_or_default();
        let reason = Escaped::<200>(&reason).to_string();
        let text = code.map(|c| format!(" {c}")).unwrap_or_default();
        let word = format!("closed{text} {reason}");
        // A server that ends by a code of its own says something by it, and who
        // reads a pipe should hear it too.
        if self.is_talkative() || code.is_some_and(|code| code != NORMAL) {
            self.note_line(word.trim_end());
        }
        match self.unsent {
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
                self.unsent = Some(Exit::Usage);
                return false;
            }
        };
        let message = match std::str::from_utf8(&line) {
            _ if self.args.binary => Message::binary(&line),
            Ok(text) => Message::text(text),
            Err(_) => {
                complain(&"a line is not UTF-8; send it with --binary");
                self.unsent = Some(Exit::Usage);
                return false;
            }
        };
        // A server that said goodbye first hears no more.
        if let Err(error) = client.with_conn(|conn, out| conn.send(message, out)) {
            log::debug!("a line is not sent: {error}");
            self.unsent = Some(Exit::Failed);
            return false;
        }
        let kind = kind_name(message.kind());
        self.note_frame(&format!("> {kind} {} octets", line.len()));
        true
    }

    /// A word about a frame: only when asked for.
    fn note_frame(&self, word: &str) {
        if self.verbose {
            self.note_line(word);
        }
    }

    fn step(&mut self, client: &mut Connection, deadline: Option<Instant>) -> Progress {
        let mut spans: Vec<Span> = Vec::new();
        let verbose = self.verbose;
        let mut on_event = |event: Result<Event<'_>, Violation>| self.on_event(event);
        let step = if verbose {
            client.step(deadline, &mut spans, &mut on_event)
        } else {
            client.step(deadline, &mut (), &mut on_event)
        };
        self.frames(&spans);
        step
    }

    fn on_event(&mut self, event: Result<Event<'_>, Violation>) {
        match event {
            Ok(Event::Response(response)) => self.response(&response),
            Ok(Event::Open) => {
                self.opened = true;
                self.note(&format!("open, {}", self.args.version));
            }
            Ok(Event::Piece(piece)) => {
                self.gather.add(&piece);
                if piece.last {
                    let mut gather = std::mem::take(&mut self.gather);
                    let checked = self.args.version.checks_text();
                    self.message(gather.finish(checked));
                }
            }
            Ok(Event::Ping(octets)) => {
                self.note_frame(&format!("> pong {} octets", octets.len()));
            }
            Ok(Event::Pong(octets)) => {
                if let Some(sent) = self.pinged.filter(|_| octets == PING) {
                    self.pinged = None;
                    let ms = sent.elapsed().as_secs_f64() * 1000.0;
                    let _ = writeln!(io::stderr(), "* pong after {ms:.1} ms");
                }
            }
            Ok(Event::Close(reason)) => {
                self.close = Some((reason.code, reason.text.into_owned()));
            }
            Ok(_) => {}
            Err(violation) => self.violation = Some(violation),
        }
    }

    fn response(&mut self, response: &Response<'_>) {
        self.answered = response.status() == 101;
        if self.verbose {
            self.head('<', &raw(response.head()));
        }
        if let Some(name) = response.subprotocol() {
            self.note(&format!("subprotocol {}", Escaped::<200>(name)));
        }
    }

    /// A message is a line: as it is in a pipe, escaped on a terminal.
    fn message(&mut self, message: Message<'_>) {
        let mut out = io::stdout().lock();
        let line = if self.style.is_terminal() {
            let text = message.as_text().map_or_else(
                || message.payload().escape_ascii().to_string(),
                |text| Escaped::<{ usize::MAX }>(text).to_string(),
            );
            format!("{} {text}\n", self.style.incoming("<")).into_bytes()
        } else {
            [message.payload(), b"\n"].concat()
        };
        let written = out.write_all(&line).and_then(|()| out.flush());
        self.stdout_closed |= written.is_err();
    }

    /// Both heads, line by line.
    fn head(&self, arrow: char, head: &str) {
        let end = head.find("\r\n\r\n").unwrap_or(head.len());
        let head = head.get(..end).unwrap_or(head);
        for line in head.split("\r\n") {
            let _ = writeln!(io::stderr(), "{arrow} {}", Escaped::<1000>(line));
        }
        let _ = writeln!(io::stderr(), "{arrow}");
    }

    /// Each frame that came, from the fields that the parse named.
    fn frames(&self, spans: &[Span]) {
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
            let begins = matches!(span.field, Field::Fin | Field::More | Field::FrameType);
            if begins && !frame.is_empty() {
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

    /// A word about the connection: on a terminal, or when asked for.
    fn note(&self, word: &str) {
        if self.is_talkative() {
            self.note_line(word);
        }
    }

    fn is_talkative(&self) -> bool {
        self.verbose || self.notes.is_terminal()
    }

    fn note_line(&self, word: &str) {
        let _ = writeln!(io::stderr(), "{} {word}", self.notes.note("*"));
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

/// The first line of a refusal's body, if it comes soon.
fn body(client: &mut Connection, deadline: Instant) -> String {
    let line = |client: &Connection| {
        let text = String::from_utf8_lossy(client.unread()).into_owned();
        text.lines().next().unwrap_or_default().to_owned()
    };
    while client.unread().is_empty() {
        match client.step(Some(deadline), &mut (), &mut |_| {}) {
            Progress::Transferred | Progress::Woken => {}
            Progress::TimedOut | Progress::Ended(_) | Progress::Broken(_) => break,
        }
    }
    match line(client).as_str() {
        "" => String::new(),
        text => format!("; it says: {}", Escaped::<300>(text)),
    }
}

/// A line of standard input.
enum InputLine {
    Whole(Vec<u8>),
    /// More octets than a message may have.
    TooLong,
}

/// Reads standard input on a thread of its own, since it may block.
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
        // The loop sees the end; without it, it would wait on.
        let _ = waker.wake();
    });
    if let Err(error) = spawned {
        complain(&format!("cannot read standard input: {error}"));
    }
    receive
}

/// The first TERM or INT says goodbye, the second ends the program at once.
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
