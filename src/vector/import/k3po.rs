//! k3po scripts, as far as those of WebSocket handshakes need them.
//!
//! Each `connect` or `accepted` starts a conversation. What is read by a pattern,
//! such as a regular expression, has no octets of its own: its step is open, which
//! its note and a remark with its line say. What is written must have octets.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use super::request::other_protocol;
use super::{Draft, Drafts, MAX_OCTETS, MAX_STEPS, Unimportable};
use crate::bytes::Escaped;
use crate::vector::{Step, StreamEnd};
use crate::version::Side;

/// The most properties of one script.
const MAX_PROPERTIES: usize = 4096;

/// The words with which the commands of a script start.
const COMMANDS: [&str; 8] = [
    "accept",
    "connect",
    "property",
    "accepted",
    "connected",
    "read",
    "write",
    "close",
];

/// Whether the file is a text whose first word is a command.
pub(super) fn is(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let first = Lexer::of(text).next_token().ok().flatten();
    first.is_some_and(
        |t| matches!(&t.what, TokenKind::Word(word) if COMMANDS.contains(&word.as_str())),
    )
}

pub(super) fn read(text: &[u8], drafts: &mut Drafts<'_>) -> Result<(), Unimportable> {
    let text = std::str::from_utf8(text).map_err(|error| Unimportable::At {
        offset: error.valid_up_to(),
        what: "a k3po script is UTF-8; convert it".to_owned(),
    })?;
    let mut script = Script {
        lexer: Lexer::of(text),
        next: None,
        properties: BTreeMap::new(),
        conversation: None,
        accepts: false,
        notes: Vec::new(),
        line: 1,
    };
    script.read(drafts)?;
    script.finish(drafts);
    for note in script.notes {
        drafts.remark(note);
    }
    Ok(())
}

fn error(line: usize, what: impl Into<String>) -> Unimportable {
    Unimportable::Line {
        line,
        what: what.into(),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TokenKind {
    Word(String),
    Text(String),
    Octets(Vec<u8>),
    /// What stands between `${` and `}`.
    Reference(String),
    /// A regular expression, or octets of which only the number is known.
    Pattern(String),
}

#[derive(Clone, Debug)]
struct Token {
    line: usize,
    what: TokenKind,
}

struct Lexer<'t> {
    chars: Peekable<Chars<'t>>,
    line: usize,
}

impl<'t> Lexer<'t> {
    fn of(text: &'t str) -> Lexer<'t> {
        Lexer {
            chars: text.chars().peekable(),
            line: 1,
        }
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn next_token(&mut self) -> Result<Option<Token>, Unimportable> {
        while let Some(c) = self.chars.peek() {
            if *c == '#' {
                while self.chars.peek().is_some_and(|c| *c != '\n') {
                    self.bump();
                }
            } else if c.is_whitespace() {
                self.bump();
            } else {
                break;
            }
        }
        let line = self.line;
        let what = match self.chars.peek() {
            None => return Ok(None),
            Some('"') => self.text(line)?,
            Some('[') => self.octets(line)?,
            Some('$') => self.reference(line)?,
            Some('/') => self.expression(line)?,
            Some(_) => {
                let mut word = String::new();
                while let Some(c) = self.chars.next_if(|c| !c.is_whitespace() && *c != '"') {
                    word.push(c);
                }
                TokenKind::Word(word)
            }
        };
        Ok(Some(Token { line, what }))
    }

    fn text(&mut self, line: usize) -> Result<TokenKind, Unimportable> {
        self.bump();
        let mut text = String::new();
        loop {
            match self.bump() {
                None | Some('\n') => return Err(error(line, "a text does not end on its line")),
                Some('"') => return Ok(TokenKind::Text(text)),
                Some('\\') => text.push(self.escape(line)?),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self, line: usize) -> Result<char, Unimportable> {
        Ok(match self.bump() {
            Some('r') => '\r',
            Some('n') => '\n',
            Some('t') => '\t',
            Some('b') => '\x08',
            Some('f') => '\x0c',
            Some('0') => '\0',
            Some(c @ ('"' | '\'' | '\\')) => c,
            Some('u') => {
                let digits: Option<String> = (0..4).map(|_| self.bump()).collect();
                digits
                    .filter(|digits| digits.bytes().all(|o| o.is_ascii_hexdigit()))
                    .and_then(|digits| u32::from_str_radix(&digits, 16).ok())
                    .and_then(char::from_u32)
                    .ok_or_else(|| error(line, "\\u needs four hex digits of a character"))?
            }
            _ => {
                let what = "an unknown escape; known are \\r \\n \\t \\b \\f \\0 \\\" \\' \\\\ \\u";
                return Err(error(line, what));
            }
        })
    }

    fn expression(&mut self, line: usize) -> Result<TokenKind, Unimportable> {
        let mut pattern = String::new();
        pattern.extend(self.bump());
        loop {
            match self.bump() {
                None | Some('\n') => {
                    return Err(error(line, "a regular expression does not end on its line"));
                }
                Some('/') => break,
                Some('\\') => {
                    pattern.push('\\');
                    pattern.extend(self.bump());
                }
                Some(c) => pattern.push(c),
            }
        }
        pattern.push('/');
        Ok(TokenKind::Pattern(pattern))
    }

    fn octets(&mut self, line: usize) -> Result<TokenKind, Unimportable> {
        self.bump();
        let mut inside = String::new();
        loop {
            match self.bump() {
                None => return Err(error(line, "a [ has no ]")),
                Some(']') => break,
                Some(c) => inside.push(c),
            }
        }
        let octet = |word: &str| {
            let digits = word
                .strip_prefix("0x")
                .or_else(|| word.strip_prefix("0X"))?;
            let pair = digits.len() == 2 && digits.bytes().all(|o| o.is_ascii_hexdigit());
            pair.then(|| u8::from_str_radix(digits, 16).ok())?
        };
        let mut octets = Vec::new();
        for word in inside.split_whitespace() {
            let Some(octet) = octet(word) else {
                return Ok(TokenKind::Pattern(format!("[{inside}]")));
            };
            octets.push(octet);
        }
        Ok(TokenKind::Octets(octets))
    }

    fn reference(&mut self, line: usize) -> Result<TokenKind, Unimportable> {
        self.bump();
        if self.chars.next_if_eq(&'{').is_none() {
            return Err(error(line, "a $ without a {"));
        }
        let mut name = String::new();
        loop {
            match self.bump() {
                None | Some('\n') => return Err(error(line, "a ${ has no }")),
                Some('}') => return Ok(TokenKind::Reference(name.trim().to_owned())),
                Some(c) => name.push(c),
            }
        }
    }
}

/// One stream of a script.
struct Conversation {
    line: usize,
    /// The side whose script it is: `write` is what this side sends.
    own: Side,
    /// Steps that are complete.
    steps: Vec<Step>,
    /// The octets of the step that is not complete.
    growing: Option<(Side, Vec<u8>)>,
    from_client: Vec<u8>,
    octets: usize,
    ended: [bool; 2],
    /// The side that sends octets which only a pattern describes.
    open: Option<Side>,
}

impl Conversation {
    fn add_octets(&mut self, from: Side, octets: Vec<u8>) {
        self.octets += octets.len();
        if from == Side::Client {
            self.from_client.extend_from_slice(&octets);
        }
        match &mut self.growing {
            Some((side, growing)) if *side == from => growing.extend(octets),
            _ => {
                self.pause();
                self.growing = Some((from, octets));
            }
        }
    }

    /// Completes the step: what comes next is a write of its own.
    fn pause(&mut self) {
        if let Some((from, octets)) = self.growing.take() {
            self.steps.push(Step::of(from, &octets));
        }
    }

    /// A step whose octets are not known.
    fn add_open(&mut self, from: Side, pattern: &str) {
        self.pause();
        let mut step = Step::of(from, &[]);
        let pattern = Escaped::<80>(pattern);
        step.note = Some(format!(
            "open: octets that match {pattern}, which are not known"
        ));
        self.steps.push(step);
        self.open = Some(from);
    }

    fn end(&mut self, from: Side, end: StreamEnd) {
        let [client, server] = &mut self.ended;
        let ended = if from == Side::Client { client } else { server };
        if !std::mem::replace(ended, true) {
            self.pause();
            self.steps.push(Step::end(from, end));
        }
    }
}

/// A part of what one command reads or writes.
enum Piece {
    Octets(Vec<u8>),
    /// What a pattern matched.
    Open(String),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Octets(octets) => octets.len(),
            Piece::Open(_) => 0,
        }
    }
}

struct Script<'t> {
    lexer: Lexer<'t>,
    next: Option<Token>,
    properties: BTreeMap<String, TokenKind>,
    conversation: Option<Conversation>,
    /// Whether there was an `accept` before.
    accepts: bool,
    notes: Vec<String>,
    /// The line of the current command.
    line: usize,
}

impl Script<'_> {
    fn peek(&mut self) -> Result<Option<&Token>, Unimportable> {
        if self.next.is_none() {
            self.next = self.lexer.next_token()?;
        }
        Ok(self.next.as_ref())
    }

    fn token(&mut self) -> Result<Option<Token>, Unimportable> {
        self.peek()?;
        Ok(self.next.take())
    }

    /// The next word, if it is one of these.
    fn word(&mut self, words: &[&str]) -> Result<Option<String>, Unimportable> {
        let is = matches!(self.peek()?, Some(Token { what: TokenKind::Word(w), .. })
            if words.contains(&w.as_str()));
        match self.token_if(is)? {
            Some(Token {
                what: TokenKind::Word(word),
                ..
            }) => Ok(Some(word)),
            _ => Ok(None),
        }
    }

    fn token_if(&mut self, is: bool) -> Result<Option<Token>, Unimportable> {
        if is { self.token() } else { Ok(None) }
    }

    /// The next token, which must be a name.
    fn name(&mut self, of: &str) -> Result<String, Unimportable> {
        match self.token()? {
            Some(Token {
                what: TokenKind::Word(name),
                ..
            }) => Ok(name),
            _ => Err(error(self.line, format!("{of} needs a name"))),
        }
    }

    fn read(&mut self, drafts: &mut Drafts<'_>) -> Result<(), Unimportable> {
        while let Some(Token { line, what }) = self.token()? {
            self.line = line;
            let TokenKind::Word(word) = what else {
                return Err(error(line, "there is a value where a command should be"));
            };
            match word.as_str() {
                "property" => self.property()?,
                "connect" | "accept" => {
                    if self.word(&["await"])?.is_some() {
                        self.barrier()?;
                    } else {
                        self.open(&word, drafts)?;
                    }
                }
                "accepted" => {
                    if !self.accepts {
                        return Err(error(line, "accepted comes before accept"));
                    }
                    self.stream_name()?;
                    self.start(Side::Server, drafts);
                }
                "connected" | "opened" | "bound" | "unbound" | "disconnected" => {}
                "write" => self.octets_of(true)?,
                "read" => self.octets_of(false)?,
                "close" => self.end(StreamEnd::Fin, true)?,
                "closed" => self.end(StreamEnd::Fin, false)?,
                "abort" | "disconnect" => self.end(StreamEnd::Rst, true)?,
                "aborted" => self.end(StreamEnd::Rst, false)?,
                other => {
                    let other = Escaped::<40>(other);
                    return Err(error(
                        line,
                        format!(
                            "`{other}` cannot be imported; take it out, or write the vector by hand"
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    fn property(&mut self) -> Result<(), Unimportable> {
        let name = self.name("property")?;
        let line = self.line;
        let value = match self.token()? {
            Some(Token {
                what: TokenKind::Reference(name),
                ..
            }) => self.resolve(&name)?.clone(),
            Some(Token {
                what: value @ (TokenKind::Text(_) | TokenKind::Octets(_)),
                ..
            }) => value,
            _ => return Err(error(line, "a property needs a text, octets or ${another}")),
        };
        if self.properties.len() >= MAX_PROPERTIES {
            return Err(error(
                line,
                format!("more than {MAX_PROPERTIES} properties"),
            ));
        }
        self.properties.insert(name, value);
        Ok(())
    }

    fn resolve(&self, name: &str) -> Result<&TokenKind, Unimportable> {
        self.properties.get(name).ok_or_else(|| {
            let name = Escaped::<40>(name);
            let what = format!(
                "${{{name}}} is not a property of this script; functions are not run, put the value in its place"
            );
            error(self.line, what)
        })
    }

    /// `connect URI` or `accept URI`, with the words that may follow.
    fn open(&mut self, word: &str, drafts: &mut Drafts<'_>) -> Result<(), Unimportable> {
        let line = self.line;
        let uri = match self.token()?.map(|token| token.what) {
            Some(TokenKind::Word(uri) | TokenKind::Text(uri)) => uri,
            Some(TokenKind::Reference(name)) => match self.resolve(&name)? {
                TokenKind::Text(uri) => uri.clone(),
                _ => return Err(error(line, "an address must be a text")),
            },
            _ => return Err(error(line, format!("{word} needs an address"))),
        };
        if !uri.starts_with("tcp:") {
            let what = format!(
                "{} is not tcp://, and only with tcp:// does a script have all octets; write the heads out",
                Escaped::<60>(&uri)
            );
            return Err(error(line, what));
        }
        if self.word(&["as"])?.is_some() {
            self.name("as")?;
        }
        if self.word(&["notify"])?.is_some() {
            self.barrier()?;
        }
        if self.word(&["option"])?.is_some() {
            let what = "options cannot be imported; take the line out if it changes no octets";
            return Err(error(line, what));
        }
        if word == "connect" {
            self.start(Side::Client, drafts);
        } else {
            self.finish(drafts);
            self.accepts = true;
        }
        Ok(())
    }

    /// A name may follow `accepted`.
    fn stream_name(&mut self) -> Result<(), Unimportable> {
        const NOT: [&str; 11] = [
            "connected",
            "opened",
            "bound",
            "read",
            "write",
            "close",
            "closed",
            "abort",
            "aborted",
            "disconnect",
            "disconnected",
        ];
        let line = self.line;
        let is = matches!(self.peek()?, Some(Token { line: at, what: TokenKind::Word(word) })
            if *at == line && !NOT.contains(&word.as_str()));
        self.token_if(is)?;
        Ok(())
    }

    fn start(&mut self, own: Side, drafts: &mut Drafts<'_>) {
        self.finish(drafts);
        self.conversation = Some(Conversation {
            line: self.line,
            own,
            steps: Vec::new(),
            growing: None,
            from_client: Vec::new(),
            octets: 0,
            ended: [false; 2],
            open: None,
        });
    }

    fn barrier(&mut self) -> Result<(), Unimportable> {
        let name = self.name("a barrier")?;
        let note = "barriers are not kept: the steps are in the same order";
        if !self.notes.iter().any(|n| n.ends_with(note)) {
            let name = Escaped::<40>(&name);
            self.notes
                .push(format!("line {}: {name}: {note}", self.line));
        }
        if let Some(conversation) = &mut self.conversation {
            conversation.pause();
        }
        Ok(())
    }

    fn octets_of(&mut self, own: bool) -> Result<(), Unimportable> {
        let line = self.line;
        let word = if own { "write" } else { "read" };
        if self.word(&["notify", "await"])?.is_some() {
            return self.barrier();
        }
        if self.word(&["flush"])?.is_some() {
            if let Some(conversation) = &mut self.conversation {
                conversation.pause();
            }
            return Ok(());
        }
        if self.word(&["close", "closed"])?.is_some() {
            return self.end(StreamEnd::Fin, own);
        }
        if self.word(&["abort", "aborted"])?.is_some() {
            return self.end(StreamEnd::Rst, own);
        }
        let mut pieces = Vec::new();
        let mut values = 0;
        let mut length = 0;
        while let Some(Token { what, .. }) = self.peek()? {
            let value = match what {
                TokenKind::Word(_) => break,
                value => value.clone(),
            };
            let value = match value {
                // What a function or a capture gives is not known.
                TokenKind::Reference(name) if !own && !self.properties.contains_key(&name) => {
                    TokenKind::Pattern(format!("${{{name}}}"))
                }
                TokenKind::Reference(name) => self.resolve(&name)?.clone(),
                value => value,
            };
            self.token()?;
            match value {
                TokenKind::Text(text) => pieces.push(Piece::Octets(text.into_bytes())),
                TokenKind::Octets(some) => pieces.push(Piece::Octets(some)),
                TokenKind::Pattern(pattern) if own => {
                    let what = format!(
                        "{} has no octets; put the octets that were sent in its place",
                        Escaped::<40>(&pattern)
                    );
                    return Err(error(line, what));
                }
                TokenKind::Pattern(pattern) => pieces.push(Piece::Open(pattern)),
                TokenKind::Word(_) | TokenKind::Reference(_) => {}
            }
            values += 1;
            length += pieces.last().map_or(0, Piece::len);
            if length > MAX_OCTETS {
                return Err(error(line, format!("longer than {MAX_OCTETS} octets")));
            }
        }
        if values == 0 {
            let what = match self.peek()? {
                Some(Token {
                    what: TokenKind::Word(next),
                    ..
                }) => format!(
                    "`{word} {}` cannot be imported; write the octets out, as \"text\" or [0x00]",
                    Escaped::<40>(next)
                ),
                _ => format!("`{word}` needs a text or octets"),
            };
            return Err(error(line, what));
        }
        let Some(conversation) = &mut self.conversation else {
            return Err(error(
                line,
                format!("`{word}` comes before connect or accepted"),
            ));
        };
        let long = conversation.octets + length > MAX_OCTETS;
        if long || conversation.steps.len() >= MAX_STEPS {
            let what = format!("longer than {MAX_OCTETS} octets or {MAX_STEPS} steps");
            return Err(error(line, format!("{what}; split the script")));
        }
        let own_side = conversation.own;
        let from = if own { own_side } else { own_side.peer() };
        for piece in pieces {
            match piece {
                Piece::Octets(octets) => conversation.add_octets(from, octets),
                Piece::Open(pattern) => {
                    conversation.add_open(from, &pattern);
                    let pattern = Escaped::<60>(&pattern);
                    self.notes.push(format!(
                        "line {line}: {pattern} is a pattern: the octets that it matched are not known, \
                         and the step is open"
                    ));
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, end: StreamEnd, own: bool) -> Result<(), Unimportable> {
        let Some(conversation) = &mut self.conversation else {
            return Err(error(self.line, "the end comes before connect or accepted"));
        };
        let side = conversation.own;
        let from = if own { side } else { side.peer() };
        // `closed` after `close` only waits.
        if own || conversation.ended == [false; 2] {
            conversation.end(from, end);
        }
        Ok(())
    }

    /// Makes a vector of the current conversation.
    fn finish(&mut self, drafts: &mut Drafts<'_>) {
        let Some(mut conversation) = self.conversation.take() else {
            return;
        };
        conversation.pause();
        let place = format!("line {}", conversation.line);
        if let Some(why) = other_protocol(&conversation.from_client) {
            drafts.remark(format!("left out: {place}: {why}"));
            return;
        }
        if let Err(why) = drafts.count(conversation.octets, conversation.steps.len()) {
            drafts.remark(format!("left out: {place}: {why}"));
            return;
        }
        let mut source = drafts.source("derived", &place);
        source.timing = Some("unknown".to_owned());
        let draft = Draft {
            source,
            secure: false,
            steps: conversation.steps,
            unfinished: None,
            messages: Vec::new(),
            open: conversation.open,
        };
        drafts.add(draft, &place);
    }
}
