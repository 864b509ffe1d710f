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

/// Fails where the report would overwrite another file. The error is printed.
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use heirloom::Side;
    use heirloom::vector::Level;
    use scraper::{Html, Selector};

    use super::super::Tally;
    use super::super::sample::{Folder, HOSTILE, agent, end, groups, plan};
    use super::*;

    fn parsed(page: &str) -> Html {
        let html = Html::parse_document(page);
        assert!(html.errors.is_empty(), "{:?}", html.errors);
        html
    }

    fn all<'h>(html: &'h Html, selector: &str) -> Vec<scraper::ElementRef<'h>> {
        html.select(&Selector::parse(selector).unwrap()).collect()
    }

    fn text(element: scraper::ElementRef<'_>) -> String {
        element.text().collect()
    }

    #[test]
    fn a_folder_of_html_has_a_matrix_whose_cells_open_conversations() {
        let groups = groups();
        let runs = [agent("Node ws"), agent(HOSTILE)];
        let plan = plan(&groups, Side::Client);
        let judged = Judged::all(&runs, Level::Must, None);
        let tally = Tally::of(&judged);
        let folder = Folder::new();
        let path = folder.join("report");
        check(&path).unwrap();
        write(&path, &plan, &judged, &end(&tally)).unwrap();

        let index = fs::read_to_string(path.join("index.html")).unwrap();
        let page = parsed(&index);
        assert_eq!(all(&page, "section.group").len(), 5);
        assert_eq!(all(&page, "h1").len(), 1);
        assert!(all(&page, "script, img, link, iframe").is_empty());
        let cells = all(&page, "tr[id=\"case-1.1.2\"] td.v.failed");
        assert_eq!(cells.len(), 2);
        assert_eq!(text(cells[0]), "✗ FAILED, closing UNCLEAN");
        let rules = all(&page, "tr[id=\"case-1.1.2\"] td > a[href^=\"https:\"]");
        let rfc = "https://www.rfc-editor.org/rfc/rfc6455#section-5.6";
        assert_eq!(rules[0].attr("href"), Some(rfc));
        // Each link leads to a page of the folder or a place in the page.
        let links = all(&page, "a[href]");
        let links: BTreeSet<&str> = links.iter().filter_map(|link| link.attr("href")).collect();
        let mut pages = 0;
        for link in links.iter().filter(|link| !link.starts_with("https:")) {
            if let Some(place) = link.strip_prefix('#') {
                assert_eq!(all(&page, &format!("[id=\"{place}\"]")).len(), 1, "{link}");
            } else {
                assert!(path.join(link).is_file(), "{link}");
                pages += 1;
            }
        }
        assert_eq!(pages, 10, "five of each agent were played");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 11);

        let case = fs::read_to_string(path.join("node_ws_case_1_1_2.html")).unwrap();
        let page = parsed(&case);
        assert!(all(&page, "script, img, link, iframe, b b").is_empty());
        let facts: Vec<String> = all(&page, "section.case dd")
            .into_iter()
            .map(text)
            .collect();
        for fact in ["Node ws", "FAILED, closing UNCLEAN", "frame: text \"hi\""] {
            assert!(facts.iter().any(|f| f == fact), "{fact}: {facts:?}");
        }
        assert!(facts.contains(&"frame: <script>alert(1)</script>\\u{202e}".to_owned()));
        assert_eq!(all(&page, "article section.part").len(), 5);
        let back = all(&page, "nav a");
        assert_eq!(back[0].attr("href"), Some("index.html#case-1.1.2"));

        // The same report again takes the place of the old one.
        check(&path).unwrap();
        write(&path, &plan, &judged, &end(&tally)).unwrap();
    }

    #[test]
    fn one_file_of_html_has_the_conversations_that_are_not_good() {
        let (groups, runs) = (groups(), [agent("a")]);
        let plan = plan(&groups, Side::Server);
        let judged = Judged::all(&runs, Level::Must, None);
        let tally = Tally::of(&judged);
        let folder = Folder::new();
        let path = folder.join("report.html");
        write(&path, &plan, &judged, &end(&tally)).unwrap();
        let page = parsed(&fs::read_to_string(&path).unwrap());
        assert_eq!(all(&page, "article").len(), 4);
        let ids = all(&page, "[id]");
        let unique: BTreeSet<_> = ids.iter().filter_map(|e| e.attr("id")).collect();
        assert_eq!(unique.len(), ids.len());
        for link in all(&page, "a[href^=\"#\"]") {
            let place = link.attr("href").unwrap().trim_start_matches('#');
            assert!(unique.contains(place), "{place}");
        }
    }

    #[test]
    fn a_file_that_is_no_report_is_not_overwritten() {
        let path = Folder::new();
        let other = path.join("index.html");
        fs::write(&other, "<h1>My page</h1>").unwrap();
        assert_eq!(check(&path), Err(Exit::Usage));
        assert_eq!(check(&other), Err(Exit::Usage));
        assert_eq!(fs::read_to_string(&other).unwrap(), "<h1>My page</h1>");
    }
}
