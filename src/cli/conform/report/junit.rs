//! Results as JUnit: a suite for each group of each agent.

use std::path::Path;
use std::time::Duration;

use heirloom::Side;
use heirloom::conform::group_of;
use quick_junit::{TestCase, TestCaseStatus, TestSuite};

use super::Plan;
use super::standing::{Judged, Standing, level_word};
use crate::cli::Exit;
use crate::cli::report::{Bad, inert, inert_lines, junit_case, write_junit};

/// Writes the report. An error is printed.
pub(super) fn write(path: &Path, plan: &Plan<'_>, judged: &[Judged<'_>]) -> Result<(), Exit> {
    write_junit(path, "conform", suites(plan, judged))
}

fn suites(plan: &Plan<'_>, judged: &[Judged<'_>]) -> Vec<TestSuite> {
    let mut suites: Vec<((&str, &str), TestSuite)> = Vec::new();
    for judged in judged {
        let group = group_of(&judged.run.id);
        let place = (judged.agent, group);
        if suites.last().is_none_or(|(last, _)| *last != place) {
            let title = plan.groups.get(group).map_or("", String::as_str);
            let name = format!("{} {}", inert(group), inert(title));
            let name = match plan.tested {
                Side::Client => format!("{}: {name}", inert(judged.agent)),
                Side::Server => name,
            };
            suites.push((place, TestSuite::new(name.trim_end())));
        }
        if let Some((_, suite)) = suites.last_mut() {
            suite.add_test_case(case(judged));
        }
    }
    suites.into_iter().map(|(_, suite)| suite).collect()
}

fn case(judged: &Judged<'_>) -> TestCase {
    let name = format!("{} {}", inert(&judged.run.id), inert(&judged.run.title));
    let time = judged
        .result()
        .map_or(Duration::ZERO, |result| result.duration);
    let bad = judged.standing.is_bad().then(|| {
        let kind = match judged.standing {
            Standing::Passes => "passes",
            _ => level_word(judged.level()),
        };
        (Bad::Failure(kind), body(judged))
    });
    let mut case = junit_case("conform", name, bad, time);
    let skipped = match judged.standing {
        Standing::NotRun => judged.not_run().map(str::to_owned),
        Standing::Unimplemented => Some("the peer does not have it".to_owned()),
        Standing::Expected => judged.note.clone(),
        _ => None,
    };
    if let Some(why) = skipped {
        let mut status = TestCaseStatus::skipped();
        status.set_message(inert(&why));
        case.status = status;
    }
    case
}

/// What failed: the verdicts first, then what differs.
fn body(judged: &Judged<'_>) -> String {
    let mut lines = vec![format!(
        "{} ({}, {})",
        judged.verdicts(),
        level_word(judged.level()),
        inert(judged.section())
    )];
    lines.extend(judged.note.as_deref().map(inert));
    if let Some(result) = judged.result() {
        let differences = [&result.difference, &result.closing_difference];
        let differences = differences.into_iter().flatten();
        lines.extend(differences.map(|difference| inert_lines(&difference.what)));
    }
    lines.join("\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::fs;

    use heirloom::vector::Level;

    use super::super::sample::{Folder, HOSTILE, agent, groups, plan};
    use super::*;

    trait Skipped {
        fn skipped(&self) -> usize;
    }

    impl Skipped for quick_junit::TestSuite {
        fn skipped(&self) -> usize {
            let is_skipped = |case: &&quick_junit::TestCase| {
                matches!(case.status, quick_junit::TestCaseStatus::Skipped { .. })
            };
            self.test_cases.iter().filter(is_skipped).count()
        }
    }

    #[test]
    fn junit_has_a_suite_for_each_group_and_what_failed() {
        let (groups, runs) = (groups(), [agent(HOSTILE)]);
        let plan = plan(&groups, Side::Client);
        let folder = Folder::new();
        let path = folder.join("report.xml");
        write(&path, &plan, &Judged::all(&runs, Level::Must, None)).unwrap();
        let xml = fs::read_to_string(&path).unwrap();
        let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
        assert_eq!((report.tests, report.failures), (6, 1));
        assert_eq!(report.test_suites.len(), 5);
        assert!(report.test_suites[0].name.ends_with("1.1 Text"));
        let failed = &report.test_suites[0].test_cases[1];
        let quick_junit::TestCaseStatus::NonSuccess {
            message,
            description,
            ..
        } = &failed.status
        else {
            panic!("{failed:?}");
        };
        let first = "FAILED, closing UNCLEAN (must, RFC 6455 section 5.1)";
        assert_eq!(message.as_ref().unwrap().as_str(), first);
        assert!(description.as_ref().unwrap().contains("the echo is masked"));
        let skipped = report.test_suites.iter().map(|suite| suite.skipped());
        assert_eq!(skipped.sum::<usize>(), 2, "{xml}");
    }
}
