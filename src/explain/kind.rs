//! What octets look like that are no handshake: files of other formats, other
//! protocols, text. They break no rule of WebSocket, so they are named instead.

/// The first octets of formats and protocols, and their names.
const MAGIC: [(&[u8], &str); 26] = [
    (b"\x1f\x8b", "gzip; decompress it first"),
    (b"PK\x03\x04", "a ZIP archive; unpack it first"),
    (b"BZh", "bzip2; decompress it first"),
    (b"\xfd7zXZ\0", "xz; decompress it first"),
    (b"\x28\xb5\x2f\xfd", "zstd; decompress it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a RIFF file, such as WebP or WAV"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "an ELF program"),
    (b"\xcf\xfa\xed\xfe", "a Mach-O program"),
    (b"\xca\xfe\xba\xbe", "a Java class or a Mach-O program"),
    (b"\0asm", "a WebAssembly module"),
    (b"SQLite format 3", "an SQLite database"),
    (b"wOF", "a font"),
    (b"SSH-", "SSH"),
    (b"RTSP/", "RTSP"),
    (b"SIP/2.0", "SIP"),
    (b"ICY ", "SHOUTcast"),
    (b"220 ", "the greeting of an SMTP or FTP server"),
    (b"* OK", "the greeting of an IMAP server"),
    (b"+OK", "the greeting of a POP3 server"),
    (b"-ERR", "an error of Redis or POP3"),
    (b"snoop\0\0\0", "a snoop capture; convert it with editcap"),
];

/// What these octets look like, and what to do, where they are a known format or
/// text that is no head. `None` where they may be a request or a response, or are
/// neither.
#[must_use]
pub fn looks_like(octets: &[u8]) -> Option<String> {
    if let Some((_, name)) = MAGIC.iter().find(|(magic, _)| octets.starts_with(magic)) {
        return Some(format!("it looks like {name}"));
    }
    if is_tls(octets) {
        let what =
            "it looks like TLS, which hides the octets; capture where they are not encrypted";
        return Some(what.to_owned());
    }
    let text = std::str::from_utf8(octets).ok()?;
    let is_text = text
        .chars()
        .all(|c| !c.is_control() || matches!(c, '\t' | '\r' | '\n'));
    (is_text && !may_be_head(text)).then(|| of_text(text.trim()))
}

fn is_tls(octets: &[u8]) -> bool {
    matches!(octets, [0x14..=0x17, 3, 0..=4, ..])
}

/// Whether a text starts as a request or a response does, if with a mistake in it.
fn may_be_head(text: &str) -> bool {
    const STARTS: [&str; 9] = [
        "GET ", "HTTP/", "POST ", "HEAD ", "PUT ", "OPTIONS ", "CONNECT ", "PATCH ", "DELETE ",
    ];
    let text = text.trim_start_matches(['\r', '\n']);
    let (first, is_whole) = match text.split_once('\n') {
        Some((first, _)) => (first, true),
        None => (text, false),
    };
    let starts = |start: &&str| {
        first.starts_with(start) || !is_whole && !first.is_empty() && start.starts_with(first)
    };
    let mut words = first.split_whitespace();
    let has_version = words.any(|word| word.to_ascii_uppercase().starts_with("HTTP/"));
    STARTS.iter().any(starts) || has_version && !first.starts_with(['#', '*'])
}

fn of_text(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| lower.starts_with(prefix));
    let first = text.lines().next().unwrap_or_default();
    let what = if text.is_empty() {
        "it has only empty lines; give it the octets of a handshake or a capture"
    } else if starts(&["<!doctype", "<html"]) {
        "it looks like HTML, such as the body of a response; give the head of the response too"
    } else if starts(&["<?xml", "<"]) {
        "it looks like XML or HTML"
    } else if starts(&["["]) {
        "it looks like JSON; a HAR and a file of vectors start with {"
    } else if starts(&["ws://", "wss://", "http://", "https://"]) {
        "it looks like a URL; `heirloom connect URL` connects to it, `heirloom probe URL` asks what \
         its server speaks"
    } else if starts(&["-----begin"]) {
        "it looks like a certificate or a key in PEM"
    } else if starts(&["#!"]) {
        "it looks like a script"
    } else if starts(&["curl "]) {
        "it looks like a command of curl; run it with -v and give what it prints"
    } else if is_words_dump(text) {
        "it looks like a dump of 16-bit words, whose octets stand in the order of the machine; make \
         it with xxd, hexdump -C or od -A x -t x1"
    } else if lower.contains(" > ") && lower.contains("flags [") {
        "it looks like what tcpdump prints; give what tcpdump -X prints, or a capture of tcpdump -w"
    } else if is_header(first) {
        "it looks like headers without the first line of their head; put it before them, such as \
         GET / HTTP/1.1"
    } else if let Some(line) = head_inside(text) {
        return format!(
            "it is text in which a head starts at line {line}; give only the lines of the head"
        );
    } else {
        "it is text that is neither a request, a response nor a hex dump; give the octets of a \
         handshake, or --version for frames without one"
    };
    what.to_owned()
}

/// `hexdump` and `od -x` print words of four digits behind the offset.
fn is_words_dump(text: &str) -> bool {
    text.lines().take(2).all(|line| {
        let mut words = line.split_whitespace();
        let hex = |word: &str, len: usize| {
            word.len() == len && word.bytes().all(|o| o.is_ascii_hexdigit())
        };
        let offset = words.next().is_some_and(|w| hex(w, 7) || hex(w, 6));
        offset && words.all(|word| hex(word, 4))
    }) && text.split_whitespace().nth(1).is_some()
}

fn is_header(line: &str) -> bool {
    let Some((name, _)) = line.split_once(": ") else {
        return false;
    };
    let in_name = |o: u8| o.is_ascii_alphanumeric() || matches!(o, b'-' | b'_');
    !name.is_empty() && name.bytes().all(in_name)
}

/// The number of the line at which a head starts.
fn head_inside(text: &str) -> Option<usize> {
    let starts = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [_, target, http] => target.starts_with('/') && http.starts_with("HTTP/"),
            [http, status, ..] => http.starts_with("HTTP/1.") && status.parse::<u16>().is_ok(),
            _ => false,
        }
    };
    text.lines().position(starts).map(|n| n + 1)
}
