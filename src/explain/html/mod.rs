//! An explanation as one self-contained page of HTML: octets and words side by
//! side, no script.

mod write;

pub use self::write::Html;
use super::derive::Mark;
use super::part::{Part, PartKind, Seen};
use super::text::{bit_pattern, capitalised};
use super::words::{Item, Role};
use super::{Explanation, Outcome, Verdict};
use crate::version::Side;

/// A page that explains these conversations, each with its title, which may be
/// empty.
#[must_use]
pub fn page(conversations: &[(String, Explanation)]) -> String {
    let mut html = opening(&title(conversations), "");
    if conversations.len() > 1 {
        contents(&mut html, conversations);
    }
    for (n, (title, explanation)) in conversations.iter().enumerate() {
        conversation(&mut html, n, title, explanation);
    }
    html.mark(concat!(
        "<footer><p>Written by <code>heirloom explain --html</code> from the parse of the server ",
        "itself. Point at an octet to highlight its words; follow it to link to it.</p></footer>\n",
        "</main>\n</body>\n</html>\n"
    ));
    html.finish()
}

/// The start of a page in the look of [`page`], as far as the content of `main`: for
/// pages that hold more than conversations. `style` is added to its style sheet.
#[must_use]
pub fn opening(title: &str, style: &'static str) -> Html {
    let mut html = Html::default();
    html.mark(concat!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ",
        "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n",
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
        "<meta name=\"color-scheme\" content=\"light dark\">\n<title>"
    ));
    html.text(title)
        .mark("</title>\n<style>\n")
        .mark(include_str!("style.css"))
        .mark(style)
        .mark("</style>\n</head>\n<body>\n<main>\n");
    html
}

fn title(conversations: &[(String, Explanation)]) -> String {
    match conversations {
        [(title, _)] if !title.is_empty() => title.clone(),
        [(_, explanation)] => heading(explanation),
        _ => "Conversations, octet by octet".to_owned(),
    }
}

fn heading(explanation: &Explanation) -> String {
    match explanation.version {
        Some(version) => format!("A conversation in {version}, octet by octet"),
        None => "A conversation, octet by octet".to_owned(),
    }
}

fn contents(html: &mut Html, conversations: &[(String, Explanation)]) {
    html.mark("<nav class=\"contents\"><h2>Conversations</h2><ol>\n");
    for (n, (title, explanation)) in conversations.iter().enumerate() {
        let heading = heading(explanation);
        html.mark("<li><a href=\"#c").number(n as u64).mark("\">");
        html.text(if title.is_empty() { &heading } else { title });
        html.mark("</a> ");
        badge(html, &explanation.verdict);
        html.mark("</li>\n");
    }
    html.mark("</ol></nav>\n");
}

/// The verdict in a word, with a sign beside the colour.
fn badge(html: &mut Html, verdict: &Verdict) {
    html.mark(match verdict.outcome {
        Outcome::Good => "<span class=\"badge good\">✓ ",
        Outcome::Broken | Outcome::Refused => "<span class=\"badge bad\">✗ ",
        Outcome::Incomplete | Outcome::Http => "<span class=\"badge\">… ",
    });
    html.text(verdict.outcome.name());
    if let Some(code) = verdict.code {
        html.text(", ").text(code);
    }
    html.mark("</span>");
}

/// One conversation. Its links start with `#c` and `n`, which no other conversation
/// of the page may have.
pub fn conversation(html: &mut Html, n: usize, title: &str, explanation: &Explanation) {
    let c = n as u64;
    html.mark("<article id=\"c")
        .number(c)
        .mark("\">\n<header>\n<h1>");
    let heading = heading(explanation);
    html.text(if title.is_empty() { &heading } else { title });
    html.mark("</h1>\n<p class=\"lead\">");
    match explanation.version {
        Some(version) => {
            html.mark("<strong>").text(version.name).mark("</strong>, ");
            html.text(version.document);
            html.mark(". Spoken by ").text(version.clients).mark(".");
        }
        None => {
            html.mark("No WebSocket version was found.");
        }
    }
    html.mark("</p>\n<p><a href=\"#c")
        .number(c)
        .mark("-verdict\">");
    badge(html, &explanation.verdict);
    html.mark("</a></p>\n</header>\n");
    ladder(html, c, explanation);
    for (m, part) in explanation.parts.iter().enumerate() {
        section(html, c, m as u64, part);
    }
    verdict(html, c, explanation);
    html.mark("</article>\n");
}

/// The parts of both sides in order, in short.
fn ladder(html: &mut Html, c: u64, explanation: &Explanation) {
    html.mark("<ol class=\"ladder\" aria-label=\"The conversation in short\">\n");
    html.mark(
        "<li class=\"ends\" aria-hidden=\"true\"><span>client</span><span>server</span></li>\n",
    );
    let shown = explanation.parts.iter().take(MAX_RUNGS);
    for (m, part) in shown.enumerate() {
        html.mark(match part.from {
            Side::Client => "<li class=\"client\"><a href=\"#c",
            Side::Server => "<li class=\"server\"><a href=\"#c",
        });
        html.number(c).mark("-p").number(m as u64);
        html.mark(match part.from {
            Side::Client => "\"><span class=\"sr\">client: </span>",
            Side::Server => "\"><span class=\"sr\">server: </span>",
        });
        html.text(&part.title()).mark("</a></li>\n");
    }
    if let Some(more) = explanation.parts.len().checked_sub(MAX_RUNGS + 1) {
        html.mark("<li>and ")
            .number(more as u64 + 1)
            .mark(" more</li>\n");
    }
    html.mark("</ol>\n");
}

/// The maximum number of lines of the short view.
const MAX_RUNGS: usize = 40;

/// The maximum number of octets of a field that are shown.
const SHOWN_OCTETS: usize = 96;

fn section(html: &mut Html, c: u64, m: u64, part: &Part) {
    html.mark(match part.from {
        Side::Client => "<section class=\"part client\" id=\"c",
        Side::Server => "<section class=\"part server\" id=\"c",
    });
    html.number(c).mark("-p").number(m).mark("\">\n<h2>");
    html.mark(match part.from {
        Side::Client => "<span class=\"who\">client →</span> ",
        Side::Server => "<span class=\"who\">← server</span> ",
    });
    html.text(&capitalised(&part.title()));
    html.mark(" <a class=\"place\" href=\"#c")
        .number(c)
        .mark("-p")
        .number(m)
        .mark("\">octet");
    match part.octets {
        1 => html.mark(" ").number(part.at),
        n => html
            .mark("s ")
            .number(part.at)
            .mark(" to ")
            .number(part.at + n.saturating_sub(1)),
    };
    html.mark("</a></h2>\n");
    let items = part.items();
    let mut row = Vec::new();
    let mut rows = 0;
    let mut last_section = String::new();
    for (n, (item, seen)) in items.iter().zip(&part.spans).enumerate() {
        row.push((item, seen));
        let goes_on = items
            .get(n + 1)
            .is_some_and(|next| same_row(part, item, next));
        if !goes_on {
            self::row(html, (c, m, rows), part, &row, &mut last_section);
            rows += 1;
            row.clear();
        }
    }
    if let Some(missing) = part.missing {
        html.mark("<p class=\"cut\">✂ The octets end here");
        match missing {
            0 => html.mark(", and the rest is missing"),
            1 => html.mark("; 1 more is missing"),
            n => html.mark("; ").number(n).mark(" more are missing"),
        };
        html.mark(".</p>\n");
    }
    beside(html, part);
    derivations(html, part);
    html.mark("</section>\n");
}

/// Whether two fields stand in one row: those of a line do, and those of an octet.
fn same_row(part: &Part, one: &Item, next: &Item) -> bool {
    match part.kind {
        PartKind::Request | PartKind::Response => !matches!(one.field, "line-end" | "head-end"),
        _ => one.at == next.at,
    }
}

type RowOf<'a> = [(&'a Item, &'a Seen)];

fn row(
    html: &mut Html,
    place: (u64, u64, u64),
    part: &Part,
    row: &RowOf<'_>,
    last_section: &mut String,
) {
    let Some((first, _)) = row.first() else {
        return;
    };
    let id = |html: &mut Html| {
        html.mark("c").number(place.0).mark("-p").number(place.1);
        html.mark("-r").number(place.2);
    };
    html.mark(match first.role {
        Role::Decides => "<div class=\"row decides\" id=\"",
        Role::Ignored => "<div class=\"row ignored\" id=\"",
        Role::Unread => "<div class=\"row unread\" id=\"",
    });
    id(html);
    html.mark("\">\n<a class=\"octets\" href=\"#");
    id(html);
    html.mark("\" aria-label=\"");
    html.text(&format!("octet {}", first.at)).mark("\">");
    html.mark("<span class=\"at\">")
        .number(first.at)
        .mark("</span>");
    if first.bits == (0..8) {
        for (k, (item, seen)) in row.iter().enumerate() {
            group(html, k, part, item, seen);
        }
    } else {
        bit_cells(html, part, row);
    }
    html.mark("</a>\n<div class=\"words\">");
    let head = matches!(part.kind, PartKind::Request | PartKind::Response);
    if head && first.field != "head-end" {
        line(html, row);
    }
    for (k, (item, _)) in row.iter().enumerate() {
        words(html, k, part, item, last_section);
    }
    html.mark("</div>\n</div>\n");
}

/// The class that ties octets to words within a row.
fn key(k: usize) -> &'static str {
    const KEYS: [&str; 12] = [
        "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9", "k10", "k11",
    ];
    KEYS.get(k).copied().unwrap_or("k11")
}

/// The octets of a field, hex above character; where they are masked, the octets
/// as sent, the key and the unmasked octets one above the other.
fn group(html: &mut Html, k: usize, part: &Part, item: &Item, seen: &Seen) {
    let (raw, plain) = (part.raw_of(&seen.span), part.plain_of(&seen.span));
    let payload = seen.span.field.is_payload();
    let masked = raw != plain || part.is_masked() && payload;
    html.mark("<span class=\"g ").mark(key(k));
    html.mark(match item.field {
        "space" | "separator" | "line-end" | "head-end" => " thin\">",
        "header-name" | "ignored-name" => " name\">",
        _ if masked => " masked\">",
        _ => "\">",
    });
    if masked && payload {
        html.mark(
            "<span class=\"legend\"><i>sent</i><i class=\"x\">key</i><i>is</i><u></u></span>",
        );
    }
    for (raw, plain) in raw.iter().zip(plain).take(SHOWN_OCTETS) {
        html.mark("<span class=\"o\"><i>")
            .text(&format!("{raw:02x}"));
        if masked {
            let (key, plain) = (format!("{:02x}", raw ^ plain), format!("{plain:02x}"));
            html.mark("</i><i class=\"x\">").text(&key);
            html.mark("</i><i class=\"p\">").text(&plain);
        }
        html.mark("</i><u>")
            .text(&character(*plain))
            .mark("</u></span>");
    }
    let shown = raw.len().min(SHOWN_OCTETS) as u64;
    if item.octets > shown {
        html.mark("<span class=\"more\">and ")
            .number(item.octets - shown)
            .mark(" more</span>");
    }
    html.mark("</span>");
}

fn character(octet: u8) -> String {
    match octet {
        b' ' => "␣".to_owned(),
        0x21..=0x7e => char::from(octet).to_string(),
        b'\r' => "\\r".to_owned(),
        b'\n' => "\\n".to_owned(),
        _ => "·".to_owned(),
    }
}

/// One octet with its bits beneath, in groups.
fn bit_cells(html: &mut Html, part: &Part, row: &RowOf<'_>) {
    let Some((_, seen)) = row.first() else {
        return;
    };
    let (raw, plain) = (part.raw_of(&seen.span), part.plain_of(&seen.span));
    for (raw, plain) in raw.iter().zip(plain) {
        html.mark("<span class=\"o\"><i>")
            .text(&format!("{raw:02x}"))
            .mark("</i>");
        if raw != plain {
            html.mark("<i class=\"x\">")
                .text(&format!("{:02x}", raw ^ plain));
            html.mark("</i><i class=\"p\">")
                .text(&format!("{plain:02x}"))
                .mark("</i>");
        }
        html.mark("</span>");
    }
    html.mark("<span class=\"bits\">");
    for (k, (_, seen)) in row.iter().enumerate() {
        html.mark("<span class=\"b ").mark(key(k)).mark("\">");
        let pattern = bit_pattern(seen.span.bits.clone(), seen.span.value);
        for bit in pattern.chars().filter(|c| *c != '.') {
            html.mark(if bit == '1' { "<b>1</b>" } else { "<b>0</b>" });
        }
        html.mark("</span>");
    }
    html.mark("</span>");
}

/// A line of a head as text, its fields tied to their octets.
fn line(html: &mut Html, row: &RowOf<'_>) {
    html.mark("<p class=\"line\">");
    for (k, (item, _)) in row.iter().enumerate() {
        match item.field {
            "line-end" | "head-end" => continue,
            "header-name" | "ignored-name" => html.mark("<b class=\""),
            _ => html.mark("<span class=\""),
        };
        html.mark(key(k)).mark("\">").text(&item.value);
        html.mark(match item.field {
            "header-name" | "ignored-name" => "</b>",
            _ => "</span>",
        });
    }
    let ignored = row
        .first()
        .is_some_and(|(item, _)| item.role == Role::Ignored);
    if ignored {
        html.mark(" <em class=\"sign\">passed over</em>");
    }
    html.mark("</p>");
}

fn words(html: &mut Html, k: usize, part: &Part, item: &Item, last_section: &mut String) {
    let head = matches!(part.kind, PartKind::Request | PartKind::Response);
    let silent = matches!(
        item.field,
        "space" | "separator" | "line-end" | "header-name" | "ignored-name"
    );
    if head && silent {
        return;
    }
    html.mark("<p class=\"w ").mark(key(k)).mark("\">");
    if !head
        || matches!(
            item.field,
            "method" | "target" | "http-version" | "status" | "reason"
        )
    {
        html.mark("<b class=\"field\">")
            .text(item.field)
            .mark("</b> ");
        let bare = matches!(
            item.field,
            "fin" | "more" | "mask" | "rsv4" | "key3" | "digest"
        );
        if !head && !bare && !item.value.is_empty() {
            html.mark("<code>").text(&item.value).mark("</code> ");
        }
    }
    html.text(&item.words);
    if item.cut {
        html.mark(" <em class=\"sign\">cut off</em>");
    }
    if !item.section.is_empty() && item.section != *last_section {
        html.mark(" <cite>").text(&item.section).mark("</cite>");
        last_section.clone_from(&item.section);
    }
    html.mark("</p>");
}

/// A compressed message beside what it inflates to.
fn beside(html: &mut Html, part: &Part) {
    let Some(beside) = part.beside() else {
        return;
    };
    html.mark("<div class=\"derivation\">\n<h3>")
        .text(&beside.title);
    html.mark(" <cite>")
        .text(&beside.section)
        .mark("</cite></h3>\n");
    for note in &beside.notes {
        html.mark("<p>").text(note).mark("</p>\n");
    }
    html.mark("<table class=\"beside\">\n<tr><th>compressed</th><th>inflated</th><th></th></tr>\n");
    for row in &beside.rows {
        html.mark("<tr><td>").text(&row.compressed);
        html.mark("</td><td>").text(&row.inflated);
        html.mark("</td><td>").text(&row.characters);
        html.mark("</td></tr>\n");
    }
    html.mark("</table>\n");
    if let Some(text) = &beside.text {
        html.mark("<p class=\"line\">").text(text).mark("</p>\n");
    }
    html.mark("</div>\n");
}

fn derivations(html: &mut Html, part: &Part) {
    for derivation in part.derivations() {
        html.mark("<div class=\"derivation\">\n<h3>")
            .text(&derivation.title);
        html.mark(" <cite>")
            .text(&derivation.section)
            .mark("</cite></h3>\n<dl>\n");
        for step in &derivation.steps {
            html.mark("<dt>").text(step.label).mark("</dt><dd>");
            for run in &step.runs {
                html.mark(match run.mark {
                    Mark::Plain => "<span>",
                    Mark::Digit => "<b class=\"digit\">",
                    Mark::Space => "<b class=\"space\">",
                    Mark::Noise => "<span class=\"noise\">",
                    Mark::First => "<b class=\"one\">",
                    Mark::Second => "<b class=\"two\">",
                    Mark::Third => "<b class=\"three\">",
                    Mark::Result => "<b class=\"result\">",
                    Mark::Wrong => "<b class=\"wrong\">✗ ",
                    Mark::Words => "<p>",
                });
                html.text(&run.text);
                html.mark(match run.mark {
                    Mark::Plain | Mark::Noise => "</span>",
                    Mark::Words => "</p>",
                    _ => "</b>",
                });
            }
            html.mark("</dd>\n");
        }
        html.mark("</dl>\n</div>\n");
    }
}

fn verdict(html: &mut Html, c: u64, explanation: &Explanation) {
    let verdict = &explanation.verdict;
    html.mark(match verdict.outcome {
        Outcome::Good => "<section class=\"verdict good\" id=\"c",
        Outcome::Broken | Outcome::Refused => "<section class=\"verdict bad\" id=\"c",
        Outcome::Incomplete | Outcome::Http => "<section class=\"verdict\" id=\"c",
    });
    html.number(c).mark("-verdict\">\n<h2>Verdict ");
    badge(html, verdict);
    html.mark("</h2>\n<p>");
    prose(html, &capitalised(&verdict.sentence));
    html.mark(".");
    if let Some(section) = &verdict.section {
        html.mark(" <cite>").text(section).mark("</cite>");
    }
    html.mark("</p>\n");
    if let Some(place) = verdict.place {
        html.mark("<p>Read up to octet ")
            .number(place.at)
            .mark(" of the ");
        html.text(place.from.name());
        let part = place
            .part
            .and_then(|n| Some((n, explanation.parts.get(n)?)));
        if let Some((n, part)) = part {
            html.mark(", in <a href=\"#c")
                .number(c)
                .mark("-p")
                .number(n as u64)
                .mark("\">");
            html.text(&part.title()).mark("</a>");
        }
        html.mark(".</p>\n");
    }
    if let Some(cause) = &verdict.cause {
        html.mark("<p><strong>Likely cause.</strong> ")
            .text(cause)
            .mark("</p>\n");
    }
    if let Some(cure) = &verdict.cure {
        html.mark("<p><strong>Cure.</strong> ");
        prose(html, cure);
        html.mark("</p>\n");
    }
    html.mark("</section>\n");
}

/// Our own words, with what stands between back-ticks as code.
fn prose(html: &mut Html, words: &str) {
    for (n, piece) in words.split('`').enumerate() {
        if n % 2 == 1 {
            html.mark("<code>").text(piece).mark("</code>");
        } else {
            html.text(piece);
        }
    }
}
