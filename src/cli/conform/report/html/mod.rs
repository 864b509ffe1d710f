//! Results as pages of HTML, without scripts: cases by agents, and each
//! conversation explained.

mod facts;
mod matrix;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use heirloom::bytes::Escaped;
use heirloom::conform::group_of;
use heirloom::explain::html::{Html, opening};

use self::facts::{Shown, show};
use super::folder::{Folder, Names, check as check_file};
use super::standing::{Judged, Standing};
use super::{End, Plan};
use crate::cli::conform::order;
use crate::cli::{Exit, complain};

/// One page holds no more conversations.
const MAX_EXPLAINED: usize = 100;

/// What is in the style sheet of every report, and of no other page.
const MARK: &[u8] = b"/* A report of heirloom conform. */";

/// Added to the style sheet of `explain --html`.
const STYLE: &str = concat!(
    "/* A report of heirloom conform. */\n",
    include_str!("style.css")
);

/// Whether all goes into one file.
fn is_one_file(path: &Path) -> bool {
    let html = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("html"));
    !path.is_dir() && (html || path.is_file())
}

fn is_report(start: &[u8]) -> bool {
    // The style sheet of `explain` stands before it.
    memchr::memmem::find(start, MARK).is_some()
}

/// Fails where the report would overwrite what is none. The error is printed.
pub(super) fn check(path: &Path) -> Result<(), Exit> {
    let checked = match is_one_file(path) {
        true => check_file(path, is_report),
        false => Folder::new(path, is_report).check("index.html"),
    };
    checked.map_err(|error| {
        complain(&format!("cannot write {}: {error}", path.display()));
        Exit::Usage
    })
}

/// Writes the pages. An error is printed.
pub(super) fn write(
    path: &Path,
    plan: &Plan<'_>,
    judged: &[Judged<'_>],
    end: &End<'_>,
) -> Result<(), Exit> {
    let report = Report::new(plan, judged, end, is_one_file(path));
    let written = match report.is_one_file {
        true => check_file(path, is_report).and_then(|()| std::fs::write(path, report.one_page())),
        false => report.write_folder(path),
    };
    written.map_err(|error| {
        complain(&format!("cannot write {}: {error}", path.display()));
        Exit::Unreachable
    })
}

/// What the pages are about.
struct Report<'a> {
    plan: &'a Plan<'a>,
    judged: &'a [Judged<'a>],
    end: &'a End<'a>,
    names: Names,
    agents: Vec<&'a str>,
    /// The rows: groups, the cases of each, and the results of each agent.
    groups: Vec<Group<'a>>,
    is_one_file: bool,
}

struct Group<'a> {
    id: &'a str,
    rows: Vec<Row<'a>>,
}

/// A case: for each agent that has a result, its number among all results.
struct Row<'a> {
    case: &'a Judged<'a>,
    results: BTreeMap<&'a str, usize>,
}

impl<'a> Report<'a> {
    fn new(
        plan: &'a Plan<'a>,
        judged: &'a [Judged<'a>],
        end: &'a End<'a>,
        is_one_file: bool,
    ) -> Report<'a> {
        let mut agents: Vec<&str> = Vec::new();
        for judged in judged {
            if !agents.contains(&judged.agent) {
                agents.push(judged.agent);
            }
        }
        let mut rows: Vec<usize> = (0..judged.len()).collect();
        let id = |n: &usize| judged.get(*n).map_or("", |judged| judged.run.id.as_str());
        rows.sort_by(|a, b| order::compare(id(a), id(b)));
        let mut groups: Vec<Group<'a>> = Vec::new();
        for n in rows {
            let Some(case) = judged.get(n) else { continue };
            let group = group_of(&case.run.id);
            if groups.last().is_none_or(|last| last.id != group) {
                groups.push(Group {
                    id: group,
                    rows: Vec::new(),
                });
            }
            let Some(Group { rows, .. }) = groups.last_mut() else {
                continue;
            };
            if rows
                .last()
                .is_none_or(|last| last.case.run.id != case.run.id)
            {
                rows.push(Row {
                    case,
                    results: BTreeMap::new(),
                });
            }
            if let Some(row) = rows.last_mut() {
                row.results.insert(case.agent, n);
            }
        }
        Report {
            plan,
            judged,
            end,
            names: Names::of(agents.iter().copied()),
            agents,
            groups,
            is_one_file,
        }
    }

    /// Writes the matrix, and a page for each result.
    fn write_folder(&self, path: &Path) -> io::Result<()> {
        let folder = Folder::new(path, is_report);
        folder.create()?;
        // First, so that a folder of another kind gets no other file either.
        folder.write("index.html", &ended(self.index()))?;
        let next = AtomicUsize::new(0);
        let work = || -> io::Result<()> {
            while let Some(judged) = self.judged.get(next.fetch_add(1, Ordering::Relaxed)) {
                if judged.result().is_some() {
                    let name = self.names.file(judged.agent, &judged.run.id, "html");
                    folder.write(&name, &self.page(judged))?;
                }
            }
            Ok(())
        };
        let threads = thread::available_parallelism()
            .map_or(1, NonZero::get)
            .min(16);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let ended = workers.into_iter().map(|worker| {
                let panicked = |_| Err(io::Error::other("a page could not be made"));
                worker.join().unwrap_or_else(panicked)
            });
            ended.collect::<Vec<_>>().into_iter().collect()
        })
    }

    /// The page of one case.
    fn page(&self, judged: &Judged<'_>) -> String {
        let title = format!("{} {}", judged.run.id, judged.run.title);
        let mut html = opening(&title, STYLE);
        html.mark("<nav><a href=\"index.html#case-")
            .text(&judged.run.id);
        html.mark("\">All results</a></nav>\n");
        let shown = Shown {
            plan: self.plan,
            number: 0,
            is_alone: true,
            with_conversation: true,
        };
        show(&mut html, judged, &shown);
        ended(html)
    }

    /// All in one page: the matrix, and below it what is not good.
    fn one_page(&self) -> String {
        let mut html = self.index();
        html.mark("<h2 id=\"conversations\">Conversations</h2>\n<p class=\"lead\">");
        html.mark("Those of the cases that are not OK; a folder has them all.</p>\n");
        let mut explained = 0;
        let mut left_out = 0_u64;
        for (number, judged) in self.judged.iter().enumerate() {
            if !is_explained(judged) {
                continue;
            }
            let with_conversation = explained < MAX_EXPLAINED;
            explained += usize::from(with_conversation);
            left_out += u64::from(!with_conversation);
            let shown = Shown {
                plan: self.plan,
                number,
                is_alone: false,
                with_conversation,
            };
            show(&mut html, judged, &shown);
        }
        if left_out > 0 {
            html.mark("<p class=\"note\">").number(left_out);
            html.mark(" conversations are left out, because the page would be too long.</p>\n");
        }
        ended(html)
    }

    /// A page that starts with the matrix.
    fn index(&self) -> Html {
        let title = format!("Conformance of {}", self.subject());
        let mut html = opening(&title, STYLE);
        matrix::write(&mut html, self);
        html
    }

    /// What was tested.
    fn subject(&self) -> String {
        match self.agents.as_slice() {
            [] => "no agent".to_owned(),
            [agent] => name_of(agent),
            agents => format!("{} agents", agents.len()),
        }
    }
}

/// Whether one page has the conversation of this case.
fn is_explained(judged: &Judged<'_>) -> bool {
    judged.result().is_some() && judged.standing != Standing::Good
}

fn name_of(agent: &str) -> String {
    match agent {
        "" => "an agent without a name".to_owned(),
        agent => Escaped::<120>(agent).to_string(),
    }
}

fn ended(mut html: Html) -> String {
    html.mark(concat!(
        "<footer><p>Written by <code>heirloom conform --html</code>. A verdict that ends in ",
        "<em>closing</em> is about how the connection was closed.</p></footer>\n",
        "</main>\n</body>\n</html>\n"
    ));
    html.finish()
}
