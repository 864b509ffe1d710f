//! Results for a person: a line for each group, what failed in full, and a summary.

use std::collections::BTreeMap;
use std::io;

use heirloom::Side;
use heirloom::bytes::Escaped;
use heirloom::conform::{CaseResult, group_of};
use heirloom::vector::Difference;

use super::explained::{MAX_PARTS, cause, explained, octets, shortened};
use super::standing::{Judged, Standing, level_word};
use super::{End, Plan, Tally};
use crate::cli::report::inert;
use crate::cli::style::Style;
use crate::cli::{explain, output};

/// The most columns of the titles of groups.
const MAX_TITLE: usize = 72;
/// Cases of which `--verbose` shows every conversation, not only those that are not
/// good.
const SHOWN_CASES: usize = 10;
/// Lines of a sentence about what is wrong.
const SENTENCE_LINES: usize = 12;

/// What was printed so far.
pub(super) struct Terminal {
    style: Style,
    /// Columns of the titles of groups.
    width: usize,
    /// The groups that are played, in order, with their cases.
    groups: Vec<(String, Vec<String>)>,
    agents: BTreeMap<String, Arrived>,
    /// The agent whose lines are being printed.
    current: Option<String>,
}

/// What has arrived of one agent.
#[derive(Default)]
struct Arrived {
    cases: BTreeMap<String, Standing>,
    /// How many groups were printed.
    printed: usize,
}

impl Terminal {
    pub(super) fn new(plan: &Plan<'_>) -> Terminal {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for id in &plan.selected {
            let group = group_of(id);
            match groups.iter_mut().find(|(known, _)| known == group) {
                Some((_, ids)) => ids.push((*id).to_owned()),
                None => groups.push((group.to_owned(), vec![(*id).to_owned()])),
            }
        }
        let titles = groups
            .iter()
            .map(|(group, _)| title(plan, group).chars().count());
        Terminal {
            style: Style::of(&io::stdout()),
            width: titles.max().unwrap_or_default().min(MAX_TITLE),
            groups,
            agents: BTreeMap::new(),
            current: None,
        }
    }

    /// The lines of the groups that are complete with this case.
    pub(super) fn case(&mut self, plan: &Plan<'_>, judged: &Judged<'_>) -> Vec<String> {
        let arrived = self.agents.entry(judged.agent.to_owned()).or_default();
        arrived.cases.insert(judged.run.id.clone(), judged.standing);
        let mut lines = Vec::new();
        while let Some((group, ids)) = self.groups.get(arrived.printed) {
            let standings: Option<Vec<Standing>> = ids
                .iter()
                .map(|id| arrived.cases.get(id).copied())
                .collect();
            let Some(standings) = standings else {
                break;
            };
            arrived.printed += 1;
            let mut tally = Tally::default();
            standings
                .into_iter()
                .for_each(|standing| tally.add(standing));
            lines.push(line(self.style, self.width, &title(plan, group), &tally));
        }
        self.under_name(plan, judged.agent, lines)
    }

    /// Lines about groups of this agent, under its name where there may be several.
    fn under_name(&mut self, plan: &Plan<'_>, agent: &str, mut lines: Vec<String>) -> Vec<String> {
        if lines.is_empty() || output::is_quiet() {
            return Vec::new();
        }
        if plan.tested == Side::Client && self.current.as_deref() != Some(agent) {
            lines.insert(0, self.style.title(&name_of(agent)));
            self.current = Some(agent.to_owned());
        }
        lines
    }

    /// What is left: groups that are not complete, failures and the summary.
    pub(super) fn finish(
        mut self,
        plan: &Plan<'_>,
        judged: &[Judged<'_>],
        end: &End<'_>,
    ) -> Vec<String> {
        let mut all = Vec::new();
        for (agent, of_agent) in by_agent(judged) {
            let printed = self.agents.get(agent).map_or(0, |arrived| arrived.printed);
            let (done, _) = self.groups.split_at(printed.min(self.groups.len()));
            let is_done = |group: &str| done.iter().any(|(done, _)| done == group);
            let mut tallies: Vec<(&str, Tally)> = Vec::new();
            for judged in of_agent {
                let group = group_of(&judged.run.id);
                if is_done(group) {
                    continue;
                }
                match tallies.iter_mut().find(|(of, _)| *of == group) {
                    Some((_, tally)) => tally.add(judged.standing),
                    None => tallies.push((group, Tally::of([judged]))),
                }
            }
            let lines = tallies
                .iter()
                .map(|(group, tally)| line(self.style, self.width, &title(plan, group), tally))
                .collect();
            all.extend(self.under_name(plan, agent, lines));
        }
        all.extend(self.details(plan, judged));
        all.extend(self.summary(judged, end));
        all
    }

    /// What failed, in full. What failed in the same way is named below the first.
    fn details(&self, plan: &Plan<'_>, judged: &[Judged<'_>]) -> Vec<String> {
        let all = plan.verbose && judged.len() <= SHOWN_CASES;
        let mut blocks: Vec<(String, Vec<String>, Vec<String>)> = Vec::new();
        for judged in judged {
            let is_weak = plan.verbose && judged.standing.is_weak();
            if !(all || is_weak || judged.standing.is_bad()) {
                continue;
            }
            let Some(result) = judged.result() else {
                continue;
            };
            if judged.standing == Standing::Passes && !plan.verbose {
                let lines = vec![self.heading(plan, judged), self.note(judged)];
                blocks.push((String::new(), lines, Vec::new()));
                continue;
            }
            let mut explanation = explained(result, plan.secure);
            let cause = cause(&explanation, plan.tested, plan.why(&judged.run.id));
            let key = format!(
                "{} {:?} {} {:?} {:?} {:?} {cause:?}",
                judged.agent,
                judged.note.is_some(),
                judged.verdicts(),
                judged.section(),
                result.difference,
                result.closing_difference,
            );
            let same = blocks.iter_mut().find(|(other, _, _)| *other == key);
            if let Some((_, _, also)) = same.filter(|_| !plan.verbose) {
                also.push(inert(&judged.run.id));
                continue;
            }
            let mut lines = vec![self.heading(plan, judged)];
            lines.extend(self.facts(judged, result));
            if plan.verbose {
                let out = shortened(&mut explanation, MAX_PARTS);
                let text = explain::shown(&explanation, self.style);
                lines.extend(text.lines().map(|line| format!("  {line}")));
                if out > 0 {
                    let are = if out == 1 {
                        "part in the middle is"
                    } else {
                        "parts in the middle are"
                    };
                    lines.push(format!("  {out} {are} left out"));
                }
            } else {
                for (from, line) in octets(&explanation, plan.tested) {
                    let arrow = match from {
                        Side::Client => "→",
                        Side::Server => "←",
                    };
                    lines.push(format!("  {arrow} {}", inert(&line)));
                }
                if let Some((label, sentence)) = &cause {
                    lines.push(format!("  {label}: {}", inert(sentence)));
                }
                let id = inert(&judged.run.id);
                let hint = format!("  alone: {} --only {id} -v", inert(&plan.command));
                lines.push(self.style.note(&hint));
            }
            blocks.push((key, lines, Vec::new()));
        }
        let mut all = Vec::new();
        for (_, lines, also) in blocks {
            all.push(String::new());
            all.extend(lines);
            if !also.is_empty() {
                all.push(format!("  the same: {}", also.join(", ")));
            }
        }
        all
    }

    /// The first line of what failed.
    fn heading(&self, plan: &Plan<'_>, judged: &Judged<'_>) -> String {
        let verdicts = match judged.standing {
            bad if bad.is_bad() => self.style.bad(&judged.verdicts()),
            Standing::Good => self.style.good(&judged.verdicts()),
            _ => self.style.strong(&judged.verdicts()),
        };
        let (id, title) = (inert(&judged.run.id), inert(&judged.run.title));
        let agent = match plan.tested {
            Side::Client => format!("{}: ", name_of(judged.agent)),
            Side::Server => String::new(),
        };
        format!("{agent}{} {title}: {verdicts}", self.style.strong(&id))
    }

    /// What the baseline has to do with it.
    fn note(&self, judged: &Judged<'_>) -> String {
        let note = judged.note.as_deref().unwrap_or_default();
        format!("  {}", self.style.strong(&inert(note)))
    }

    fn facts(&self, judged: &Judged<'_>, result: &CaseResult) -> Vec<String> {
        let level = level_word(judged.level());
        let mut lines = vec![format!("  {level}, {}", inert(judged.section()))];
        if judged.note.is_some() {
            lines.push(self.note(judged));
        }
        if let Some(difference) = &result.difference {
            lines.extend(values("", difference));
        }
        // A closing that fails the case is in both.
        let closing = result.closing_difference.as_ref();
        if let Some(difference) =
            closing.filter(|closing| result.difference.as_ref() != Some(closing))
        {
            lines.extend(values("closing: ", difference));
        }
        lines
    }

    /// How many cases have each verdict; nothing where `--quiet` leaves nothing to say.
    fn summary(&self, judged: &[Judged<'_>], end: &End<'_>) -> Vec<String> {
        if output::is_quiet() && end.stopped.is_none() && !end.tally.is_bad() {
            return Vec::new();
        }
        let mut lines = vec![String::new()];
        let agents = by_agent(judged);
        if agents.len() > 1 {
            for (agent, of_agent) in &agents {
                let tally = Tally::of(of_agent.iter().copied());
                let counts = counts(self.style, &tally);
                lines.push(format!("{}: {counts}", name_of(agent)));
            }
        }
        let total = match end.tally.total() {
            1 => "1 case".to_owned(),
            n => format!("{n} cases"),
        };
        let of = match agents.as_slice() {
            [(agent, _)] => format!(" of {}", name_of(agent)),
            _ => String::new(),
        };
        lines.push(format!(
            "{total}{of} in {:.1} s: {}; exit status {}",
            end.seconds,
            counts(self.style, end.tally),
            end.exit as u8
        ));
        lines
    }
}

/// The results of each agent, in the order of the agents.
fn by_agent<'j>(judged: &'j [Judged<'j>]) -> Vec<(&'j str, Vec<&'j Judged<'j>>)> {
    let mut agents: Vec<(&str, Vec<&Judged<'_>>)> = Vec::new();
    for judged in judged {
        match agents.last_mut() {
            Some((agent, of_agent)) if *agent == judged.agent => of_agent.push(judged),
            _ => agents.push((judged.agent, vec![judged])),
        }
    }
    agents
}

fn name_of(agent: &str) -> String {
    match agent {
        "" => "an agent without a name".to_owned(),
        agent => Escaped::<120>(agent).to_string(),
    }
}

fn title(plan: &Plan<'_>, group: &str) -> String {
    let title = plan.groups.get(group).map_or("", String::as_str);
    format!("{} {}", inert(group), inert(title))
        .trim_end()
        .to_owned()
}

fn line(style: Style, width: usize, title: &str, tally: &Tally) -> String {
    format!("{title:<width$}  {}", counts(style, tally))
}

fn counts(style: Style, tally: &Tally) -> String {
    let words = tally.words().into_iter();
    let painted = words.map(|(standing, words)| match standing {
        bad if bad.is_bad() => style.bad(&words),
        Standing::Good => style.good(&words),
        _ => words,
    });
    let painted: Vec<String> = painted.collect();
    if painted.is_empty() {
        return "no cases".to_owned();
    }
    painted.join(", ")
}

/// What is wrong, and what was expected and seen.
fn values(before: &str, difference: &Difference) -> Vec<String> {
    let sentence = difference.what.lines().take(SENTENCE_LINES);
    let mut lines: Vec<String> = sentence
        .map(|line| format!("  {before}{}", inert(line)))
        .collect();
    let field = match difference.field.as_deref() {
        None | Some("received") => String::new(),
        Some(field) => format!("{}: ", inert(field)),
    };
    let values = [
        ("expected", &difference.expected),
        ("seen", &difference.seen),
    ];
    for (label, value) in values {
        if let Some(value) = value {
            lines.push(format!("    {label:<8}  {field}{}", inert(value)));
        }
    }
    lines
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::super::sample::{HOSTILE, agent, end, groups, plan, played};
    use super::*;
    use heirloom::conform::{Behavior, ClosingVerdict};
    use heirloom::vector::Level;

    #[test]
    fn a_terminal_shows_groups_in_order_then_failures_and_a_summary() {
        let (groups, runs) = (groups(), [agent("a")]);
        let plan = plan(&groups, Side::Server);
        let judged = Judged::all(&runs, Level::Must, None);
        let mut terminal = Terminal::new(&plan);
        // The second case of the first group arrives last.
        let arriving = [0, 2, 3, 4, 5, 1].map(|n| terminal.case(&plan, &judged[n]));
        assert!(arriving[..5].iter().all(Vec::is_empty));
        let lines = arriving[5].join("\n");
        let heads: Vec<&str> = lines
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(heads, ["1.1", "6.4", "7.1", "12.1", "hixie-76"]);
        assert!(
            lines.lines().next().unwrap().ends_with("  1 ok, 1 failed"),
            "{lines}"
        );
        assert!(lines.contains("1 non-strict") && lines.contains("1 not run"));
        let tally = Tally::of(&judged);
        let text = terminal.finish(&plan, &judged, &end(&tally)).join("\n");
        for part in [
            "1.1.2 A \"text\" & # of <case> 1.1.2: FAILED, closing UNCLEAN",
            "must, RFC 6455 section 5.1",
            "the echo is masked",
            "expected  frame: text \"hi\"",
            "seen      frame: <script>alert(1)</script>\\u{202e}",
            "closing: TCP ended without a close",
            "→ octet 154, ",
            "81 82 01 02 03 04 69 6b",
            "likely cause: ",
            "alone: heirloom conform ws://127.0.0.1:9001/ --only 1.1.2 -v",
            "6 cases of a in 1.5 s: 1 ok, 1 non-strict, 1 informational, 1 unimplemented, 1 failed, 1 not run; exit status 1",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(
            !text.contains("6.4.3"),
            "what is not strict is no failure: {text}"
        );
    }

    #[test]
    fn what_failed_by_a_weaker_rule_is_counted_with_its_level() {
        let groups = groups();
        let plan = plan(&groups, Side::Server);
        let mut runs = [agent("a")];
        for (id, level) in [("1.1.3", Level::Should), ("1.1.4", Level::May)] {
            let closing = ClosingVerdict::Unclean;
            let failed = played(id, Behavior::Failed, closing, Some(level));
            runs[0].cases.push(failed);
        }
        let counted = |fail_on: Level| {
            let judged = Judged::all(&runs, fail_on, None);
            let tally = Tally::of(&judged);
            let lines = Terminal::new(&plan).finish(&plan, &judged, &end(&tally));
            lines.last().unwrap().clone()
        };
        let words = "1 unimplemented, 1 failed (may), 1 failed (should), 1 failed, 1 not run;";
        let text = counted(Level::Must);
        assert!(text.contains(words), "{text}");
        let text = counted(Level::Should);
        assert!(
            text.contains("1 unimplemented, 1 failed (may), 3 failed, 1 not run;"),
            "{text}"
        );
    }

    #[test]
    fn the_same_failure_stands_once_with_all_its_cases() {
        let groups = groups();
        let plan = plan(&groups, Side::Server);
        let mut runs = [agent("a")];
        for id in ["1.1.3", "1.1.4"] {
            let failed = played(
                id,
                Behavior::Failed,
                ClosingVerdict::Unclean,
                Some(Level::Must),
            );
            runs[0].cases.push(failed);
        }
        let judged = Judged::all(&runs, Level::Must, None);
        let tally = Tally::of(&judged);
        let lines = Terminal::new(&plan).finish(&plan, &judged, &end(&tally));
        let text = lines.join("\n");
        assert_eq!(
            text.matches("the echo").count() + text.matches("expected text").count(),
            1
        );
        assert!(text.contains("  the same: 1.1.3, 1.1.4"), "{text}");
    }

    #[test]
    fn a_client_stands_under_its_name_which_is_inert() {
        let (groups, runs) = (groups(), [agent(HOSTILE)]);
        let plan = plan(&groups, Side::Client);
        let judged = Judged::all(&runs, Level::Must, None);
        let mut terminal = Terminal::new(&plan);
        let lines = terminal.case(&plan, &judged[0]);
        assert!(lines.is_empty());
        let text = terminal.case(&plan, &judged[1]).join("\n");
        assert!(
            text.starts_with("../<img src=x>\\u{1b}[2J\\u{202e}\n1.1 Text"),
            "{text:?}"
        );
    }
}
