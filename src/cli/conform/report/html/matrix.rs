//! Cases by agents: how many have each verdict, and a table for each group.

use super::super::Tally;
use super::super::standing::{Judged, Standing, level_word};
use super::facts::section;
use super::{Group, Report, Row, is_explained, name_of};
use crate::cli::report::inert;

use heirloom::explain::html::Html;

/// Writes the head of the page and all tables.
pub(super) fn write(html: &mut Html, report: &Report<'_>) {
    html.mark("<h1>Conformance of ")
        .text(&report.subject())
        .mark("</h1>\n<p class=\"lead\">");
    html.number(report.judged.len() as u64).mark(" results in ");
    html.text(&format!("{:.1}", report.end.seconds));
    html.mark(concat!(
        " seconds, by heirloom ",
        env!("CARGO_PKG_VERSION"),
        ": <code>"
    ));
    html.text(&inert(&report.plan.command))
        .mark("</code></p>\n");
    if let Some(why) = report.end.stopped {
        html.mark("<p class=\"note\">")
            .text(&inert(why))
            .mark("</p>\n");
    }
    counts(html, report);
    contents(html, report);
    for group in &report.groups {
        table(html, report, group);
    }
}

/// How many cases of each agent have each verdict.
fn counts(html: &mut Html, report: &Report<'_>) {
    let there: Vec<Standing> = Standing::ALL
        .into_iter()
        .filter(|standing| report.end.tally.count(*standing) > 0)
        .collect();
    html.mark("<div class=\"wide\" role=\"region\" aria-label=\"Counts\" tabindex=\"0\">\n");
    html.mark("<table class=\"matrix\">\n<caption>Counts</caption>\n<thead><tr>");
    html.mark("<th scope=\"col\">Agent</th>");
    for standing in &there {
        html.mark("<th scope=\"col\">")
            .mark(heading(*standing))
            .mark("</th>");
    }
    html.mark("</tr></thead>\n<tbody>\n");
    for agent in &report.agents {
        let of_agent = report.judged.iter().filter(|judged| judged.agent == *agent);
        let tally = Tally::of(of_agent);
        html.mark("<tr><th scope=\"row\">")
            .text(&name_of(agent))
            .mark("</th>");
        for standing in &there {
            html.mark("<td class=\"n\">")
                .number(tally.count(*standing) as u64)
                .mark("</td>");
        }
        html.mark("</tr>\n");
    }
    html.mark("</tbody>\n</table>\n</div>\n");
}

/// A verdict as the heading of a column.
fn heading(standing: Standing) -> &'static str {
    match standing {
        Standing::Good => "OK",
        Standing::NonStrict => "not strict",
        Standing::FailedShould => "failed (should)",
        Standing::FailedMay => "failed (may)",
        Standing::Informational => "informational",
        Standing::Unimplemented => "unimplemented",
        Standing::Failed => "failed",
        Standing::Passes => "passes unexpectedly",
        Standing::Expected => "expected failure",
        Standing::NotRun => "not run",
    }
}

/// A list of the groups, with what is not good in each.
fn contents(html: &mut Html, report: &Report<'_>) {
    html.mark(
        "<nav class=\"contents\" aria-label=\"Groups\"><h2>Groups</h2>\n<ul class=\"groups\">\n",
    );
    for group in &report.groups {
        let judged = group.rows.iter().flat_map(|row| row.results.values());
        let tally = Tally::of(judged.filter_map(|n| report.judged.get(*n)));
        html.mark("<li><a href=\"#group-")
            .text(group.id)
            .mark("\">");
        title(html, report, group);
        html.mark("</a> ");
        for (n, (standing, words)) in tally.words().iter().enumerate() {
            html.mark(if n > 0 { ", " } else { "" });
            html.mark("<span class=\"")
                .mark(standing.word())
                .mark("\">");
            html.text(words).mark("</span>");
        }
        html.mark("</li>\n");
    }
    html.mark("</ul></nav>\n");
}

fn title(html: &mut Html, report: &Report<'_>, group: &Group<'_>) {
    html.text(&inert(group.id));
    if let Some(title) = report.plan.groups.get(group.id) {
        html.mark(" ").text(&inert(title));
    }
}

fn table(html: &mut Html, report: &Report<'_>, group: &Group<'_>) {
    html.mark("<section class=\"group\" id=\"group-")
        .text(group.id)
        .mark("\">\n<h2>");
    title(html, report, group);
    html.mark("</h2>\n<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"");
    html.text(&inert(group.id));
    html.mark("\">\n<table class=\"matrix\">\n<thead><tr><th scope=\"col\">Case</th>");
    html.mark("<th scope=\"col\">Rule</th>");
    for agent in &report.agents {
        html.mark("<th scope=\"col\">")
            .text(&name_of(agent))
            .mark("</th>");
    }
    html.mark("</tr></thead>\n<tbody>\n");
    for row in &group.rows {
        self::row(html, report, row);
    }
    html.mark("</tbody>\n</table>\n</div>\n</section>\n");
}

fn row(html: &mut Html, report: &Report<'_>, row: &Row<'_>) {
    let run = row.case.run;
    html.mark("<tr id=\"case-")
        .text(&run.id)
        .mark("\"><th scope=\"row\">");
    html.text(&inert(&run.id))
        .mark(" <span>")
        .text(&inert(&run.title))
        .mark("</span></th>");
    html.mark("<td>").mark(level_word(run.level)).mark(", ");
    section(html, &run.section);
    html.mark("</td>");
    for agent in &report.agents {
        let result = row.results.get(agent).copied();
        match result.and_then(|n| Some((n, report.judged.get(n)?))) {
            Some((n, judged)) => cell(html, report, n, judged),
            None => {
                html.mark("<td class=\"v not-run\">not asked</td>");
            }
        }
    }
    html.mark("</tr>\n");
}

/// A verdict in words, and a sign beside the colour; it leads to the conversation.
fn cell(html: &mut Html, report: &Report<'_>, n: usize, judged: &Judged<'_>) {
    html.mark("<td class=\"v ")
        .mark(judged.standing.word())
        .mark("\">");
    let sign = match judged.standing {
        Standing::Good => "✓ ",
        Standing::Failed | Standing::Passes => "✗ ",
        Standing::Expected => "(✗) ",
        Standing::NonStrict | Standing::FailedShould | Standing::FailedMay => "! ",
        Standing::Informational => "i ",
        Standing::Unimplemented | Standing::NotRun => "– ",
    };
    if let Some(why) = judged.not_run() {
        html.mark(sign)
            .mark("not run<small>")
            .text(&inert(why))
            .mark("</small></td>");
        return;
    }
    let has_page = !report.is_one_file || is_explained(judged);
    if has_page {
        html.mark("<a href=\"");
        if report.is_one_file {
            html.mark("#r").number(n as u64);
        } else {
            let file = report.names.file(judged.agent, &judged.run.id, "html");
            html.text(&file);
        }
        html.mark("\">");
    }
    html.mark(sign).text(&judged.verdicts());
    if has_page {
        html.mark("</a>");
    }
    if let Some(note) = &judged.note {
        html.mark("<small>").text(&inert(note)).mark("</small>");
    }
    html.mark("</td>");
}
