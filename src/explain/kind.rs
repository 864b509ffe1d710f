//! What octets look like that are no handshake: files of other formats, other
//! protocols, text. They break no rule of WebSocket, so they are named instead.

use super::dump::looks_like_http;

/// The first octets of formats and protocols, and their names.
const MAGIC: [(&[u8], &str); 27] = [
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
    (b"\xd0\xcf\x11\xe0", "a file of an old Microsoft Office"),
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
    if octets.get(257..262) == Some(b"ustar") {
        return Some("it looks like a tar archive; unpack it first".to_owned());
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
    let version = first.split_whitespace().last().unwrap_or_default();
    let has_version = version.to_ascii_uppercase().starts_with("HTTP/");
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
    } else if is_access_line(first) {
        "it looks like the access log of a web server, which keeps no headers; give a capture, or what \
         curl -v prints"
    } else if starts(&["#!"]) {
        "it looks like a script"
    } else if starts(&["curl "]) {
        "it looks like a command of curl; run it with -v and give what it prints"
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

/// What a dump is that does not show each octet as two hex digits, in order, and
/// what to do. `None` where it is no dump, or one that can be read.
#[must_use]
pub fn unreadable_dump(text: &str) -> Option<String> {
    let what = match dump_rows(text) {
        (Some(rows), _) => match rows.first().and_then(|row| words_of(row, text)) {
            Some(bits) => {
                format!(
                    "a dump of {bits}-bit words, whose octets stand in the order of the machine"
                )
            }
            None => numbers(&rows.concat())?.to_owned(),
        },
        (None, true) => "a dump with the characters of each line below it".to_owned(),
        (None, false) => return None,
    };
    Some(format!(
        "it looks like {what}; make it with xxd, hexdump -C or od -A x -t x1"
    ))
}

/// The first two rows of a dump, behind their offsets, as far as their columns
/// are numbers. Where the second row has no offset, whether it has characters.
fn dump_rows(text: &str) -> (Option<Vec<Vec<&str>>>, bool) {
    let mut rows = Vec::new();
    for line in text.lines().take(2) {
        let indent = line.len() - line.trim_start().len();
        let (offset, columns) = line.trim().split_once([' ', ':']).unwrap_or_default();
        let is_offset = (6..=8).contains(&offset.len()) && is_hex(offset);
        if !is_offset && !rows.is_empty() && indent >= 7 {
            let mut columns = line.split_whitespace();
            return (None, columns.all(is_character));
        }
        // The file may end with the offset that is behind the last octet.
        if !is_offset && rows.is_empty() {
            return (None, false);
        }
        // Two spaces stand before the text of a row, and may stand between numbers.
        let mut row: Vec<&str> = columns.split_whitespace().collect();
        let width = row.first().map_or(0, |first| first.len());
        if width > 3 {
            let same = row.iter().take_while(|c| c.len() == width && is_hex(c));
            row.truncate(same.count());
        }
        if is_offset && !row.is_empty() {
            rows.push(row);
        }
    }
    ((!rows.is_empty()).then_some(rows), false)
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|o| o.is_ascii_hexdigit())
}

/// A column of `od -c`.
fn is_character(column: &str) -> bool {
    let is_octal = column.len() == 3 && column.bytes().all(|o| matches!(o, b'0'..=b'7'));
    column.chars().count() == 1 || column.starts_with('\\') && column.len() == 2 || is_octal
}

/// The bits of each word where a row has words of the machine. `xxd` prints words
/// in the order of the octets, behind a colon, so there the row must make a head
/// when the octets of each word are turned round.
fn words_of(row: &[&str], text: &str) -> Option<usize> {
    let width = row.first().map_or(0, |first| first.len());
    let digits = row.concat();
    let in_order: Vec<u8> = digits.as_bytes().chunks(2).filter_map(octet).collect();
    let turned = row.iter().flat_map(|word| word.as_bytes().rchunks(2));
    let turned: Vec<u8> = turned.filter_map(octet).collect();
    let has_colon = text.lines().next().is_some_and(|line| line.contains(':'));
    let are_words = !looks_like_http(&in_order) && (looks_like_http(&turned) || !has_colon);
    (matches!(width, 4 | 8 | 16) && are_words && row.iter().all(|word| is_hex(word)))
        .then_some(width * 4)
}

fn octet(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// What columns are that are numbers, but not octets in hex.
fn numbers(columns: &[&str]) -> Option<&'static str> {
    let all = |is: fn(u8) -> bool| columns.iter().all(|column| column.bytes().all(is));
    let of_width = |width: usize| columns.iter().all(|column| column.len() == width);
    if of_width(8) && all(|o| matches!(o, b'0' | b'1')) {
        Some("a dump of bits")
    } else if of_width(3) && all(|o| matches!(o, b'0'..=b'7')) {
        Some("a dump of octal numbers")
    } else if all(|o| o.is_ascii_digit()) && columns.iter().any(|column| column.len() == 3) {
        Some("a dump of decimal numbers")
    } else if columns.iter().all(|column| is_character(column)) {
        Some("a dump of characters")
    } else {
        None
    }
}

/// A line of an access log has a request in quotation marks.
fn is_access_line(line: &str) -> bool {
    let mut quoted = line.split('"').skip(1).step_by(2);
    quoted.any(|text| text.contains(" /") && text.contains(" HTTP/"))
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
