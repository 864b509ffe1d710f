//! Results as TAP 14.

use heirloom::Side;

use super::standing::{Judged, Standing, level_word};
use super::{End, Plan};
use crate::cli::report::{inert, inert_lines, json};

/// The line of a case, with a block of YAML where it is not good.
pub(super) fn case(plan: &Plan<'_>, judged: &Judged<'_>, number: usize) -> String {
    let is_bad = judged.standing.is_bad() || judged.standing == Standing::Expected;
    let ok = if is_bad { "not ok" } else { "ok" };
    let agent = match plan.tested {
        Side::Client => format!("{}: ", inert(judged.agent)),
        Side::Server => String::new(),
    };
    let name = format!(
        "{agent}{} {}",
        inert(&judged.run.id),
        inert(&judged.run.title)
    );
    // `\` and `#` have a meaning in TAP names.
    let name = name.replace('\\', "\\\\").replace('#', "\\#");
    let directive = match judged.standing {
        Standing::NotRun => {
            format!(" # SKIP {}", inert(judged.not_run().unwrap_or_default()))
        }
        Standing::Unimplemented => " # SKIP the peer does not have it".to_owned(),
        Standing::Expected => format!(
            " # TODO {}",
            inert(judged.note.as_deref().unwrap_or_default())
        ),
        _ => String::new(),
    };
    let mut lines = format!("{ok} {number} - {name}{directive}");
    let Some(result) = judged
        .result()
        .filter(|_| judged.standing != Standing::Good)
    else {
        return lines;
    };
    let mut key = |key: &str, value: &str| {
        // YAML reads the strings of JSON.
        if let Ok(value) = json(&inert_lines(value)) {
            lines.push_str(&format!("\n  {key}: {value}"));
        }
    };
    key("verdict", result.behavior.name());
    key("closing", result.closing.name());
    key("level", level_word(judged.level()));
    key("section", judged.section());
    if let Some(note) = &judged.note {
        key("note", note);
    }
    if let Some(difference) = &result.difference {
        key("received", &difference.what);
    }
    if let Some(difference) = &result.closing_difference {
        key("closed", &difference.what);
    }
    let ms = result.duration.as_millis();
    let first = lines.find('\n').unwrap_or(lines.len());
    lines.insert_str(first, "\n  ---");
    lines.push_str(&format!("\n  duration_ms: {ms}\n  ..."));
    lines
}

/// The lines behind the last case: how many there were.
pub(super) fn end(number: usize, end: &End<'_>) -> String {
    match end.stopped {
        None => format!("1..{number}"),
        // One comment, so that no line of it is taken for a result.
        Some(why) => format!("# {}\n1..{number}", inert(why)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use heirloom::vector::Level;

    use super::super::Tally;
    use super::super::sample::{HOSTILE, agent, end as ended, groups, plan};
    use super::*;

    #[test]
    fn tap_has_a_line_for_each_case_and_its_plan() {
        let (groups, runs) = (groups(), [agent(HOSTILE)]);
        let plan = plan(&groups, Side::Client);
        let judged = Judged::all(&runs, Level::Must, None);
        let numbered = judged.iter().zip(1..);
        let lines: Vec<String> = numbered.map(|(judged, n)| case(&plan, judged, n)).collect();
        let text = lines.join("\n");
        let starts = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!((starts("ok "), starts("not ok ")), (5, 1));
        assert!(
            lines[0].contains("A \"text\" & \\# of <case> 1.1.1"),
            "{}",
            lines[0]
        );
        assert!(!text.contains('\x1b'));
        let block: Vec<&str> = lines[1].lines().skip(1).collect();
        assert_eq!(
            (block.first(), block.last()),
            (Some(&"  ---"), Some(&"  ..."))
        );
        assert!(block.contains(&"  verdict: \"FAILED\""), "{block:?}");
        assert!(
            block.contains(&"  received: \"the echo is masked\""),
            "{block:?}"
        );
        assert!(
            lines[4].contains(" # SKIP ") && lines[5].ends_with(" # SKIP it stopped after 12.1.1")
        );
        let tally = Tally::of(&judged);
        assert_eq!(end(6, &ended(&tally)), "1..6");
    }
}
