//! Octets as people paste them: hex dumps of xxd, hexdump, tcpdump, Wireshark
//! and curl, bare hex, and heads that have lost their CR.

use std::collections::BTreeMap;

use memchr::memmem;

use crate::version::Side;

/// The maximum number of octets of a dump.
pub const MAX_OCTETS: usize = 64 * 1024 * 1024;

/// What a text holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dump {
    /// The octets, in order.
    Octets(Vec<DumpedOctets>),
    /// Packets with the headers of IP, as in a capture.
    Packets(Vec<Vec<u8>>),
}

/// Octets, and what is known of their sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpedOctets {
    /// The side that sent them.
    pub speaker: Speaker,
    /// The octets.
    pub octets: Vec<u8>,
}

/// The side that sent some octets of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The dump does not tell.
    Unknown,
    /// The side that sent first.
    First,
    /// The other side.
    Second,
    /// This side.
    Known(Side),
}

/// Reads a text that is a dump of octets; `None` where it is something else.
#[must_use]
pub fn read(text: &str) -> Option<Dump> {
    if looks_like_http(text.as_bytes()) {
        return None;
    }
    arrays(text)
        .or_else(|| lines(text))
        .or_else(|| bare(text).map(|octets| Dump::Octets(vec![unknown(octets)])))
}

/// The side that sent each piece, as far as the octets tell it: a response starts
/// with `HTTP/`. A request and its response in one piece are taken apart. `from`
/// is the side of octets that do not tell.
#[must_use]
pub fn sides(dumped: Vec<DumpedOctets>, from: Option<Side>) -> Vec<(Side, Vec<u8>)> {
    let first_of = |speaker: Speaker| {
        let first = dumped.iter().find(|s| s.speaker == speaker);
        first.map_or(&[][..], |s| s.octets.as_slice())
    };
    let swapped = first_of(Speaker::First).starts_with(b"HTTP/")
        || looks_like_http(first_of(Speaker::Second))
            && !first_of(Speaker::Second).starts_with(b"HTTP/");
    let mut turns = Vec::new();
    for DumpedOctets { speaker, octets } in dumped {
        let side = match speaker {
            Speaker::Known(side) => side,
            Speaker::First if swapped => Side::Server,
            Speaker::First => Side::Client,
            Speaker::Second if swapped => Side::Client,
            Speaker::Second => Side::Server,
            Speaker::Unknown => {
                turns.extend(apart(octets, from));
                continue;
            }
        };
        turns.push((side, octets));
    }
    turns
}

fn apart(mut octets: Vec<u8>, from: Option<Side>) -> Vec<(Side, Vec<u8>)> {
    if let Some(side) = from {
        return vec![(side, octets)];
    }
    if octets.starts_with(b"HTTP/") {
        return vec![(Side::Server, octets)];
    }
    match response_in(&octets) {
        Some(at) => {
            let response = octets.split_off(at);
            vec![(Side::Client, octets), (Side::Server, response)]
        }
        None => vec![(Side::Client, octets)],
    }
}

/// Where a response starts behind a request: at its end, or eight octets later.
fn response_in(octets: &[u8]) -> Option<usize> {
    let head = memmem::find(octets, b"\r\n\r\n")? + 4;
    [0, 8].into_iter().find_map(|body| {
        let at = head + body;
        let rest = octets.get(at..)?;
        (looks_like_http(octets) && rest.starts_with(b"HTTP/1.")).then_some(at)
    })
}

/// Whether it starts like a request or a response.
#[must_use]
pub fn looks_like_http(octets: &[u8]) -> bool {
    const STARTS: [&[u8]; 7] = [
        b"GET ",
        b"HTTP/1.",
        b"POST ",
        b"HEAD ",
        b"PUT ",
        b"OPTIONS ",
        b"CONNECT ",
    ];
    STARTS.iter().any(|start| octets.starts_with(start))
}

/// Gives each line of a head that was pasted as text, and so has lost its CR, its
/// CR LF back. `None` where it has a CR, or is not text.
#[must_use]
pub fn pasted(octets: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(octets).ok()?;
    let text = unindented(text.trim_start_matches('\n'));
    if text.contains('\r') || !text.contains('\n') || !looks_like_http(text.as_bytes()) {
        return None;
    }
    let mut out = Vec::with_capacity(octets.len() + 64);
    let mut body: Option<Vec<&str>> = None;
    for line in text.lines() {
        let is_response = line.starts_with("HTTP/1.");
        match &mut body {
            Some(lines) if is_response => {
                end_body(lines, &mut out);
                body = None;
                end_line(line, &mut out);
            }
            Some(lines) => lines.push(line),
            None if line.is_empty() => {
                end_line("", &mut out);
                body = Some(Vec::new());
            }
            None => end_line(line, &mut out),
        }
    }
    match body {
        Some(mut lines) => end_body(&mut lines, &mut out),
        // The empty line is easily lost; a line without an end is cut.
        None if text.ends_with('\n') => end_line("", &mut out),
        None => out.truncate(out.len().saturating_sub(2)),
    }
    Some(out)
}

/// The text without the white space that all its lines start with.
fn unindented(text: &str) -> String {
    let indent_of = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let indent = lines.map(indent_of).min().unwrap_or(0);
    let lines = text.split_inclusive('\n');
    lines
        .map(|line| match line.split_at_checked(indent) {
            Some((_, inner)) => inner,
            None => line.trim_start_matches([' ', '\t']),
        })
        .collect()
}

fn end_line(line: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(line.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// What stands behind a head is not a line; the line ends around it come from the
/// paste.
fn end_body(lines: &mut Vec<&str>, out: &mut Vec<u8>) {
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    out.extend_from_slice(lines.join("\n").as_bytes());
}

fn unknown(octets: Vec<u8>) -> DumpedOctets {
    DumpedOctets {
        speaker: Speaker::Unknown,
        octets,
    }
}

/// Hex without offsets, in any notation: `47 45`, `0x47,0x45`, `\x47\x45`.
fn bare(text: &str) -> Option<Vec<u8>> {
    let text = text
        .replace("\\x", " ")
        .replace("0x", " ")
        .replace("0X", " ");
    // What stands before a colon may be an offset.
    let colons = text.contains(':');
    let mut octets = Vec::new();
    for token in text.split(|c: char| c.is_whitespace() || matches!(c, ',' | ':' | '"' | ';')) {
        octets.extend(pairs(token).filter(|pairs| !colons || pairs.len() <= 1)?);
    }
    (!octets.is_empty()).then_some(octets)
}

/// The octets of an even number of hex digits.
fn pairs(token: &str) -> Option<Vec<u8>> {
    let digits = token.as_bytes();
    if digits.len() % 2 != 0 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pairs = digits.chunks_exact(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect()
}

/// Wireshark's C arrays: `char peer0_0[] = { 0x47, … };`
fn arrays(text: &str) -> Option<Dump> {
    let mut dumped = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("peer") {
        rest = rest.get(at + 4..)?;
        let speaker = match rest.as_bytes().first()? {
            b'0' => Speaker::First,
            b'1' => Speaker::Second,
            _ => continue,
        };
        let inside = rest.split_once('{')?.1;
        let (inside, after) = inside.split_once('}')?;
        let mut octets = Vec::new();
        for token in inside.split(|c: char| c.is_whitespace() || c == ',') {
            if let Some(digits) = token.strip_prefix("0x") {
                octets.extend(pairs(digits)?);
            }
        }
        dumped.push(DumpedOctets { speaker, octets });
        rest = after;
    }
    (!dumped.is_empty()).then_some(Dump::Octets(dumped))
}

/// A line of a dump.
struct DumpLine {
    indent: usize,
    offset: usize,
    octets: Vec<u8>,
}

/// Lines of a dump that belong together.
#[derive(Default)]
struct Block {
    indent: usize,
    speaker: Option<Speaker>,
    octets: Vec<u8>,
}

/// Where octets are missing in the middle of a dump: the offset that was due, and
/// the one that is there. Only in a dump whose lines have one length, so that
/// short messages of two sides are not taken for gaps.
#[must_use]
pub fn gap(text: &str) -> Option<(usize, usize)> {
    let mut offsets = Vec::new();
    for text in text.lines() {
        match line(text) {
            Some(line) => offsets.push(line.offset),
            // `*` stands for lines that repeat the last one.
            None if text.trim() == "*" => return None,
            None => {}
        }
    }
    let steps = offsets.windows(2).map(|pair| match pair {
        [one, next] => (*one, next.checked_sub(*one)),
        _ => (0, None),
    });
    let steps: Vec<(usize, Option<usize>)> = steps.collect();
    let usual = steps.iter().filter_map(|(_, step)| *step).min()?;
    let enough = steps
        .iter()
        .filter(|(_, step)| *step == Some(usual))
        .count()
        >= 2;
    // A decimal dump steps from 9 to 16, as it were.
    let is_hex = offsets
        .iter()
        .any(|offset| format!("{offset:x}").contains(|c: char| c > '9'))
        || offsets.get(1) == Some(&16);
    let (one, step) = steps.iter().find(|(_, step)| *step != Some(usual))?;
    let after = one + (*step)?;
    (enough && is_hex && usual > 0).then_some((one + usual, after))
}

/// Dumps with an offset at the start of each line.
fn lines(text: &str) -> Option<Dump> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    let (mut speaker, mut apart, mut repeats, mut packets) = (None, true, false, false);
    let mut width = 0;
    let mut total = 0_usize;
    // curl dumps the octets of TLS beside those inside it.
    let mut tls = false;
    let mut all: Vec<Option<DumpLine>> = text.lines().map(line).collect();
    read_offsets(&mut all);
    for (n, (text, line)) in text.lines().zip(&all).enumerate() {
        let Some(line) = line else {
            let text = text.trim();
            if text == "*" {
                repeats = true;
            } else if !text.is_empty() {
                if speaker_of(text).is_some() {
                    tls = text.contains(" SSL data");
                }
                speaker = speaker_of(text).or(speaker);
                packets |=
                    (text.contains(" IP ") || text.contains(" IP6 ")) && text.contains(" > ");
                apart = true;
            }
            continue;
        };
        if tls {
            continue;
        }
        let expected = next.get(&line.indent).copied().unwrap_or(0);
        let starts = line.offset == 0;
        if !starts && line.offset != expected && !repeats {
            if blocks.is_empty() {
                return None;
            }
            apart = true;
        }
        // The offset of the next line tells how many octets this one has.
        let after = all.get(n + 1).and_then(Option::as_ref);
        let after = after.filter(|after| after.indent == line.indent);
        let by_next = after.and_then(|after| after.offset.checked_sub(line.offset));
        if let Some(by_next) = by_next.filter(|n| (1..=64).contains(n)) {
            width = by_next;
        }
        let limit = by_next.filter(|n| (1..=64).contains(n)).unwrap_or(width);
        let take = if limit == 0 { line.octets.len() } else { limit };
        let octets = line.octets.get(..take).unwrap_or(&line.octets);
        let new = apart
            || starts
            || blocks
                .last()
                .is_none_or(|block| block.indent != line.indent);
        if new {
            blocks.push(Block {
                indent: line.indent,
                speaker,
                octets: Vec::new(),
            });
        }
        let block = blocks.last_mut()?;
        if repeats {
            let missing = line.offset.checked_sub(expected)?;
            total = total.checked_add(missing).filter(|n| *n <= MAX_OCTETS)?;
            let last = block.octets.len().saturating_sub(16);
            let (_, row) = block.octets.split_at(last);
            let row = row.to_vec();
            block.octets.extend(row.iter().cycle().take(missing));
        }
        block.octets.extend_from_slice(octets);
        next.insert(line.indent, line.offset + octets.len());
        (apart, repeats) = (false, false);
    }
    blocks.retain(|block| !block.octets.is_empty());
    if blocks.is_empty() {
        return None;
    }
    if packets || blocks.iter().all(|block| is_packet(&block.octets)) {
        return Some(Dump::Packets(
            blocks.into_iter().map(|b| b.octets).collect(),
        ));
    }
    let outer = blocks.iter().map(|block| block.indent).min().unwrap_or(0);
    let one = blocks.iter().all(|block| block.indent == outer);
    let dumped = blocks.into_iter().map(|block| DumpedOctets {
        speaker: match block.speaker {
            Some(speaker) => speaker,
            None if one => Speaker::Unknown,
            None if block.indent == outer => Speaker::First,
            None => Speaker::Second,
        },
        octets: block.octets,
    });
    Some(Dump::Octets(dumped.collect()))
}

/// od counts in octal where it is not told otherwise, and in decimal with `-A d`.
fn read_offsets(lines: &mut [Option<DumpLine>]) {
    let mut known = lines.iter().flatten();
    let (Some(first), Some(second)) = (known.next(), known.next()) else {
        return;
    };
    let radix = match (first.offset, first.octets.len(), second.offset) {
        (0, 16, 0x20) => 8,
        (0, 16, 0x16) => 10,
        _ => return,
    };
    for line in lines.iter_mut().flatten() {
        let digits = format!("{:x}", line.offset);
        if let Ok(offset) = usize::from_str_radix(&digits, radix) {
            line.offset = offset;
        }
    }
}

/// The side that sends next, by a line of `curl --trace`.
fn speaker_of(line: &str) -> Option<Speaker> {
    if line.contains("=> Send") {
        Some(Speaker::Known(Side::Client))
    } else if line.contains("<= Recv") {
        Some(Speaker::Known(Side::Server))
    } else {
        None
    }
}

/// Offset and octets of one line, without its column of text.
fn line(text: &str) -> Option<DumpLine> {
    let text = text.trim_end();
    let inner = text.trim_start();
    let indent = text.len() - inner.len();
    let inner = inner.strip_prefix("0x").unwrap_or(inner);
    let digits = inner.bytes().take_while(u8::is_ascii_hexdigit).count();
    let (offset, rest) = inner.split_at_checked(digits)?;
    if !(4..=8).contains(&digits) {
        return None;
    }
    let offset = usize::from_str_radix(offset, 16).ok()?;
    let mut rest = match rest.strip_prefix(':') {
        Some(rest) => rest,
        None if rest.is_empty() || rest.starts_with("  ") => rest,
        // od puts one space there.
        None if digits >= 6 && is_after_od_offset(rest) => rest,
        None => return None,
    };
    let mut octets: Vec<u8> = Vec::new();
    let mut single = true;
    loop {
        let inner = rest.trim_start_matches(' ');
        let gap = rest.len() - inner.len();
        let middle = gap == 2 && octets.len() == 8 && single;
        if gap > 1 && !octets.is_empty() && !middle {
            break;
        }
        let end = inner.find(' ').unwrap_or(inner.len());
        let (token, after) = inner.split_at_checked(end)?;
        match pairs(token) {
            Some(pair) if !pair.is_empty() && pair.len() <= 16 => {
                single &= pair.len() == 1;
                octets.extend(pair);
            }
            _ => break,
        }
        rest = after;
    }
    Some(DumpLine {
        indent,
        offset,
        octets,
    })
}

/// Whether one space and two hex digits follow, as od prints them.
fn is_after_od_offset(rest: &str) -> bool {
    let mut words = rest.split(' ').skip(1);
    words.next().and_then(pairs).is_some_and(|o| o.len() == 1)
}

/// Whether these octets start with the headers of IP and TCP, perhaps behind that
/// of Ethernet.
fn is_packet(octets: &[u8]) -> bool {
    is_ip(octets) || is_ethernet(octets)
}

fn is_ip(octets: &[u8]) -> bool {
    match octets {
        [first @ 0x45..=0x4f, _, high, low, rest @ ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let header = usize::from(first & 15) * 4;
            rest.get(5) == Some(&6) && length >= header && length <= octets.len()
        }
        [0x60..=0x6f, _, _, _, high, low, 6, ..] => {
            usize::from(u16::from_be_bytes([*high, *low])) + 40 <= octets.len()
        }
        _ => false,
    }
}

fn is_ethernet(octets: &[u8]) -> bool {
    octets.split_at_checked(14).is_some_and(|(link, rest)| {
        link.ends_with(&[8, 0]) && is_ip(rest) || link.ends_with(&[0x86, 0xdd]) && is_ip(rest)
    })
}

/// Packets as a capture file, which can be imported.
#[must_use]
pub fn capture(packets: &[Vec<u8>]) -> Vec<u8> {
    const RAW: u32 = 101;
    const ETHERNET: u32 = 1;
    let ethernet = packets
        .first()
        .is_some_and(|packet| !is_ip(packet) && is_ethernet(packet));
    let link = if ethernet { ETHERNET } else { RAW };
    let mut file = Vec::new();
    let mut word = |word: u32| file.extend_from_slice(&word.to_le_bytes());
    word(0xa1b2_c3d4);
    word(0x0004_0002);
    word(0);
    word(0);
    word(0x0004_0000);
    word(link);
    for (n, packet) in packets.iter().enumerate() {
        let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        let time = u32::try_from(n).unwrap_or(u32::MAX);
        for number in [time, 0, length, length] {
            file.extend_from_slice(&number.to_le_bytes());
        }
        file.extend_from_slice(packet);
    }
    file
}
