//! Results for a person: a line for each group, what failed in full, and a summary.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;

use heirloom::Side;
use heirloom::bytes::Escaped;
use heirloom::conform::{CaseResult, ClosingVerdict};
use heirloom::vector::Difference;

use super::explained::{cause, explained, octets, shortened};
use super::standing::{Judged, Standing, level_word};
use super::{End, Plan, Tally};
use crate::cli::conform::order;
use crate::cli::report::inert;
use crate::cli::style::Style;
use crate::cli::{explain, output, print_line};

/// Columns of the titles of groups.
const TITLE: usize = 48;
/// Cases of which `--verbose` shows every conversation, not only those that are not
/// good.
const SHOWN_CASES: usize = 10;
/// Lines of an expected or seen value.
const VALUE_LINES: usize = 12;

/// What was printed so far.
pub(super) struct Terminal {
    style: Style,
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
            let group = order::group(id, plan.groups);
            match groups.last_mut() {
                Some((last, ids)) if last == group => ids.push((*id).to_owned()),
                _ => groups.push((group.to_owned(), vec![(*id).to_owned()])),
            }
        }
        Terminal {
            style: Style::of(&io::stdout()),
            groups,
            agents: BTreeMap::new(),
            current: None,
        }
    }

    /// Prints the groups that are complete with this case.
    pub(super) fn case(&mut self, plan: &Plan<'_>, judged: &Judged<'_>) {
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
            lines.push(line_of_group(self.style, plan, group, &tally));
        }
        self.print(plan, judged.agent, lines);
    }

    /// Prints lines of this agent, under its name where there may be several.
    fn print(&mut self, plan: &Plan<'_>, agent: &str, lines: Vec<String>) {
        if lines.is_empty() || output::is_quiet() {
            return;
        }
        if plan.tested == Side::Client && self.current.as_deref() != Some(agent) {
            let name = self.style.title(&name_of(agent));
            print_line(&name);
            self.current = Some(agent.to_owned());
        }
        for line in lines {
            print_line(&line);
        }
    }

    /// Prints what is left: groups that are not complete, failures and the summary.
    pub(super) fn finish(mut self, plan: &Plan<'_>, judged: &[Judged<'_>], end: &End<'_>) {
        for (agent, of_agent) in by_agent(judged) {
            let printed = self.agents.get(agent).map_or(0, |arrived| arrived.printed);
            let (done, _) = self.groups.split_at(printed.min(self.groups.len()));
            let is_done = |group: &str| done.iter().any(|(done, _)| done == group);
            let mut tallies: Vec<(&str, Tally)> = Vec::new();
            for judged in of_agent {
                let group = order::group(&judged.run.id, plan.groups);
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
                .map(|(group, tally)| line_of_group(self.style, plan, group, tally))
                .collect();
            self.print(plan, agent, lines);
        }
        self.details(plan, judged);
        self.summary(plan, judged, end);
    }

    /// What failed, in full. What failed in the same way is named below the first.
    fn details(&self, plan: &Plan<'_>, judged: &[Judged<'_>]) {
        let all = plan.verbose && judged.len() <= SHOWN_CASES;
        let mut blocks: Vec<(String, Vec<String>, Vec<String>)> = Vec::new();
        for judged in judged {
            let is_weak = plan.verbose && judged.standing == Standing::NonStrict;
            if !(all || is_weak || judged.standing.is_bad()) {
                continue;
            }
            let Some(result) = judged.result() else {
                continue;
            };
            let mut explanation = explained(result, plan.secure);
            let cause = cause(&explanation, plan.tested);
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
                let out = shortened(&mut explanation);
                let text = explain::shown(&explanation, self.style);
                lines.extend(text.lines().map(|line| format!("  {line}")));
                if out > 0 {
                    lines.push(format!("  {out} parts in the middle are left out"));
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
        for (_, lines, also) in blocks {
            print_line(&"");
            for line in lines {
                print_line(&line);
            }
            if !also.is_empty() {
                print_line(&format!("  the same: {}", also.join(", ")));
            }
        }
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

    fn facts(&self, judged: &Judged<'_>, result: &CaseResult) -> Vec<String> {
        let level = level_word(judged.level());
        let mut lines = vec![format!("  {level}, {}", inert(judged.section()))];
        if let Some(note) = &judged.note {
            lines.push(format!("  {}", self.style.strong(&inert(note))));
        }
        if let Some(difference) = &result.difference {
            lines.extend(values("", difference));
        }
        if let Some(difference) = &result.closing_difference {
            lines.extend(values("closing: ", difference));
        }
        if result.closing != ClosingVerdict::Ok {
            if let Some(why) = &result.closed.not_clean {
                lines.push(format!("  closing: {}", inert(why)));
            }
        }
        lines
    }

    fn summary(&self, plan: &Plan<'_>, judged: &[Judged<'_>], end: &End<'_>) {
        if output::is_quiet() && end.stopped.is_none() && !end.tally.is_bad() {
            return;
        }
        print_line(&"");
        let agents = by_agent(judged);
        let several = agents.len() > 1;
        if several || plan.tested == Side::Client || plan.verbose {
            for (agent, of_agent) in &agents {
                let tally = Tally::of(of_agent.iter().copied());
                print_line(&format!(
                    "{}: {}",
                    name_of(agent),
                    counts(self.style, &tally)
                ));
            }
        }
        let mut line = format!(
            "{} cases in {:.1} s: {}",
            end.tally.total(),
            end.seconds,
            counts(self.style, end.tally)
        );
        let _ = write!(line, "; exit status {}", end.exit as u8);
        print_line(&line);
        if let Some(why) = end.stopped {
            print_line(&self.style.bad(&inert(why)));
        }
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

fn line_of_group(style: Style, plan: &Plan<'_>, group: &str, tally: &Tally) -> String {
    let title = plan.groups.get(group).map_or("", String::as_str);
    let name = format!("{} {}", inert(group), inert(title));
    format!("{name:<TITLE$}  {}", counts(style, tally))
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

/// What was expected and seen, one line for each; the sentence where there are no
/// such values.
fn values(before: &str, difference: &Difference) -> Vec<String> {
    match (&difference.expected, &difference.seen) {
        (Some(expected), Some(seen)) => vec![
            format!("  {before}expected {}", inert(expected)),
            format!("  {before}seen     {}", inert(seen)),
        ],
        _ => {
            let lines = difference.what.lines().take(VALUE_LINES);
            lines
                .map(|line| format!("  {before}{}", inert(line)))
                .collect()
        }
    }
}
