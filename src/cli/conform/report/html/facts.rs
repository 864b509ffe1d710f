//! A case of an agent: its verdicts, what was expected and seen, and the
//! conversation.

use heirloom::conform::CaseResult;
use heirloom::explain::html::{Html, conversation};
use heirloom::vector::Difference;

use super::super::Plan;
use super::super::explained::{MAX_PARTS, cause, explained, shortened};
use super::super::standing::{Judged, Standing, level_word};
use super::name_of;
use crate::cli::report::{inert, inert_lines};

/// The most parts of a conversation that are shown where all is right.
const GOOD_PARTS: usize = 8;

/// How a case is shown.
pub(super) struct Shown<'a> {
    pub(super) plan: &'a Plan<'a>,
    /// Its number in the page.
    pub(super) number: usize,
    /// Whether the page is about it alone.
    pub(super) is_alone: bool,
    pub(super) with_conversation: bool,
}

/// Shows a case that was played.
pub(super) fn show(html: &mut Html, judged: &Judged<'_>, shown: &Shown<'_>) {
    let Some(result) = judged.result() else {
        return;
    };
    let mut explanation = explained(result, shown.plan.secure);
    html.mark("<section class=\"case\" id=\"r")
        .number(shown.number as u64)
        .mark("\">\n");
    html.mark(if shown.is_alone { "<h1>" } else { "<h3>" });
    html.text(&inert(&judged.run.id))
        .mark(" ")
        .text(&inert(&judged.run.title));
    html.mark(if shown.is_alone { "</h1>\n" } else { "</h3>\n" });
    html.mark("<dl>\n");
    fact(html, "agent", &name_of(judged.agent));
    html.mark("<dt>verdict</dt><dd><b class=\"")
        .mark(judged.standing.word())
        .mark("\">");
    html.text(&judged.verdicts()).mark("</b></dd>\n");
    if let Some(note) = &judged.note {
        fact(html, "baseline", note);
    }
    html.mark("<dt>rule</dt><dd>")
        .mark(level_word(judged.level()))
        .mark(", ");
    section(html, judged.section());
    html.mark("</dd>\n");
    if let Some(difference) = &result.difference {
        values(html, ["wrong", "expected", "seen"], difference);
    }
    // A closing that fails the case is in both.
    let closing_difference = result.closing_difference.as_ref();
    let closing_difference =
        closing_difference.filter(|closing| result.difference.as_ref() != Some(closing));
    if let Some(difference) = closing_difference {
        values(
            html,
            ["wrong closing", "closing expected", "closing seen"],
            difference,
        );
    }
    if let Some((label, sentence)) = cause(
        &explanation,
        shown.plan.tested,
        shown.plan.why(&judged.run.id),
    ) {
        fact(html, label, &sentence);
    }
    closing(html, result);
    fact(html, "version", &judged.run.version);
    let (received, sent) = result.octets;
    let ms = result.duration.as_millis();
    fact(
        html,
        "octets",
        &format!("{received} received, {sent} sent, in {ms} ms"),
    );
    let command = format!("{} --only {} -v", shown.plan.command, judged.run.id);
    html.mark("<dt>run it alone</dt><dd><code>")
        .text(&inert(&command));
    html.mark("</code></dd>\n</dl>\n");
    let most = match judged.standing {
        Standing::Good => GOOD_PARTS,
        _ => MAX_PARTS,
    };
    let out = shortened(&mut explanation, most);
    if out > 0 || result.is_cut {
        html.mark("<p class=\"note\">The conversation is longer than what is shown");
        if out > 0 {
            html.mark("; ")
                .number(out as u64)
                .mark(" parts in the middle are left out");
        }
        html.mark(".</p>\n");
    }
    html.mark("</section>\n");
    if shown.with_conversation {
        conversation(html, shown.number, "", &explanation);
    }
}

fn fact(html: &mut Html, label: &'static str, value: &str) {
    html.mark("<dt>").mark(label).mark("</dt><dd>");
    html.text(&inert_lines(value)).mark("</dd>\n");
}

fn values(html: &mut Html, labels: [&'static str; 3], difference: &Difference) {
    let [sentence, expected, seen] = labels;
    fact(html, sentence, &difference.what);
    let field = match difference.field.as_deref() {
        None | Some("received") => String::new(),
        Some(field) => format!("{field}: "),
    };
    let values = [(expected, &difference.expected), (seen, &difference.seen)];
    for (label, value) in values {
        if let Some(value) = value {
            fact(html, label, &format!("{field}{value}"));
        }
    }
}

/// How the connection was closed.
fn closing(html: &mut Html, result: &CaseResult) {
    let closed = &result.closed;
    if !closed.was_open {
        return fact(html, "closed", "it was never open");
    }
    let code = |code: Option<u16>| code.map_or("none".to_owned(), |code| code.to_string());
    let first = match closed.by_tester {
        true => "the tester",
        false => "the peer",
    };
    let (tester, peer) = (code(closed.local_code), code(closed.remote_code));
    let mut text = format!("{first} first; code of the tester {tester}, of the peer {peer}");
    if let Some(reason) = closed
        .remote_reason
        .as_ref()
        .filter(|reason| !reason.is_empty())
    {
        text.push_str(&format!(", its reason {reason}"));
    }
    fact(html, "closed", &text);
    if let Some(why) = &closed.not_clean {
        fact(html, "not clean", why);
    }
}

/// A section, with a link where it is one of an RFC.
pub(super) fn section(html: &mut Html, section: &str) {
    let Some((rfc, number)) = rfc(section) else {
        html.text(&inert(section));
        return;
    };
    html.mark("<a href=\"https://www.rfc-editor.org/rfc/rfc")
        .text(rfc);
    if !number.is_empty() {
        html.mark("#section-").text(number);
    }
    html.mark("\">").text(&inert(section)).mark("</a>");
}

/// The numbers of the RFC and of its section: `RFC 6455 section 5.5.1`.
fn rfc(section: &str) -> Option<(&str, &str)> {
    let rest = section.strip_prefix("RFC ")?;
    let is_number = |c: char| c.is_ascii_digit();
    let end = rest.find(|c| !is_number(c)).unwrap_or(rest.len());
    let (rfc, rest) = rest.split_at(end);
    let number = rest
        .trim_start_matches(',')
        .trim_start()
        .strip_prefix("section ");
    let number = number.unwrap_or_default();
    let end = number
        .find(|c| !is_number(c) && c != '.')
        .unwrap_or(number.len());
    let (number, _) = number.split_at(end);
    (!rfc.is_empty()).then_some((rfc, number.trim_end_matches('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_of_an_rfc_has_a_link() {
        assert_eq!(rfc("RFC 6455 section 5.5.1"), Some(("6455", "5.5.1")));
        assert_eq!(rfc("RFC 7692, section 7.2."), Some(("7692", "7.2")));
        assert_eq!(rfc("RFC 3629"), Some(("3629", "")));
        assert_eq!(rfc("hixie-76 section 5.2"), None);
        assert_eq!(rfc("RFC \"><b>"), None);
    }
}
