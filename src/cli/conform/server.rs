//! A server under test: cases are played to it at the same time, on a bounded number
//! of threads.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use heirloom::Side;
use heirloom::conform::{CaseResult, play_to_server};
use heirloom::net::dial::DialError;
use heirloom::vector::Step;
use heirloom::version::{VERSIONS, Version};

use super::handshake::{Asked, ask};
use super::kept::Kept;
use super::queue::{Queue, Unplayed};
use super::run::{AgentRun, CaseRun, Ending};
use super::select::{Corpus, Planned, Playable, Selection};
use super::target::Server;
use super::{INTERRUPTED, PANICKED};
use crate::cli::{hint, remark};

/// How long a case waits before it connects again, where it could not.
const RETRY: Duration = Duration::from_millis(200);

/// Verdicts in doubt that are found again one after the other, until the others are
/// believed.
const CONVINCING: usize = 3;

/// What became of all cases.
pub(super) struct Tested {
    pub(super) run: AgentRun,
    /// Why not all of them could be played.
    pub(super) stopped: Option<String>,
}

impl Tested {
    /// Nothing was played.
    pub(super) fn none(agent: String, selection: &Selection, why: String) -> Tested {
        let cases = selection.cases.iter();
        let cases = cases.map(|case| case.not_run(why.as_str())).collect();
        Tested {
            run: AgentRun { agent, cases },
            stopped: Some(why),
        }
    }
}

/// Plays the cases, and tells `each` of every one as it ends. Gives why where the
/// server cannot be reached at all.
pub(super) fn test(
    server: &Server<'_>,
    corpus: &Corpus,
    selection: &Selection,
    agent: Option<&str>,
    is_interrupted: &AtomicBool,
    each: &mut dyn FnMut(&str, &CaseRun),
) -> Result<Tested, String> {
    let (first, others) = versions_of(selection);
    let asked = ask(server, first);
    let (answering, is_first_played, said) = match asked {
        Asked::Unreachable(error) => return Err(format!("{error}{}", hint::of_dial(&error))),
        Asked::Silent => {
            // Versions that are named are asked for here too: it is about the server.
            let answers = first_that_answers(server, &others).ok_or_else(|| {
                format!(
                    "{} takes connections, and answers no opening handshake within {} ms \
                     (--timeout-ms)",
                    server.url,
                    server.patience.as_millis()
                )
            })?;
            (answers, selection.named.contains(first), None)
        }
        Asked::Declines(_) | Asked::Panicked => (first, true, None),
        Asked::Speaks(said) => (first, true, said),
    };
    let agent = agent.map(str::to_owned).or(said);
    let agent = agent.unwrap_or_else(|| server.url.to_string());
    let test = Test {
        server,
        corpus,
        cases: &selection.cases,
        answering,
        is_interrupted,
        queue: Mutex::default(),
        changed: Condvar::new(),
        checking: Mutex::default(),
    };
    let mut runs = BTreeMap::new();
    let mut kept = Kept::default();
    let mut add = |(number, mut run): (usize, CaseRun)| {
        kept.admit(&mut run);
        each(&agent, &run);
        runs.insert(number, run);
    };
    if is_first_played {
        test.admit(first);
    } else {
        test.leave_out(
            first,
            "it answers no opening handshake of this version in time",
        );
    }
    let (is_named, to_ask): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|version| selection.named.contains(version));
    is_named.into_iter().for_each(|version| test.admit(version));
    test.play_at_the_same_time(&to_ask, &mut add);
    if test.ask_again() {
        test.play_at_the_same_time(&[], &mut add);
    }
    // What must be alone is played last, when nothing else is.
    let sequential = std::mem::take(&mut test.lock().sequential);
    test.lock().waiting = sequential;
    while let Some(number) = test.next() {
        add((number, test.play(number)));
        test.lock().running -= 1;
    }
    test.play_again(&mut add);
    test.settle_doubts(&mut add);
    let queue = test
        .queue
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    for (number, case) in selection.cases.iter().enumerate() {
        runs.entry(number).or_insert_with(|| {
            let unspoken = queue.unspoken.get(&*case.version);
            let why = unspoken.or(queue.over.as_ref()).map(String::as_str);
            let run = case.not_run(why.unwrap_or("the server speaks no version of it"));
            each(&agent, &run);
            run
        });
    }
    let stopped = queue.over.map(|why| match queue.has_stopped {
        true => format!("{why}; {}", queue.timeline.told(&selection.cases)),
        false => why,
    });
    let Unplayed { count, why } = queue.unplayed;
    let unplayed =
        why.map(|why| format!("cases that could not be played: {count}; of the first, {why}"));
    let stopped = stopped.or(unplayed);
    let run = AgentRun {
        agent,
        cases: runs.into_values().collect(),
    };
    Ok(Tested { run, stopped })
}

/// The first of these versions that the server answers in some way.
fn first_that_answers(
    server: &Server<'_>,
    versions: &[&'static Version],
) -> Option<&'static Version> {
    thread::scope(|scope| {
        let ask = |version: &&'static Version| {
            let version = *version;
            (version, scope.spawn(move || ask(server, version).answers()))
        };
        // All are asked before the first is waited for.
        let asked: Vec<_> = versions.iter().map(ask).collect();
        asked
            .into_iter()
            .find_map(|(version, answers)| answers.join().ok()?.then_some(version))
    })
}

/// The newest version of these cases, and the others.
fn versions_of(selection: &Selection) -> (&'static Version, Vec<&'static Version>) {
    let is_there = |version: &&Version| {
        let mut cases = selection.cases.iter();
        cases.any(|case| Version::named(&case.version) == Some(*version))
    };
    let mut there: Vec<&'static Version> = VERSIONS.iter().filter(is_there).collect();
    // Cases that are about no version are played to any server.
    let [.., newest] = VERSIONS else {
        unreachable!("the table of versions is not empty");
    };
    (there.pop().unwrap_or(newest), there)
}

/// One test of a server.
struct Test<'a> {
    server: &'a Server<'a>,
    corpus: &'a Corpus,
    cases: &'a [Planned],
    /// A version whose opening handshake the server answers in some way.
    answering: &'static Version,
    is_interrupted: &'a AtomicBool,
    queue: Mutex<Queue>,
    /// Something was put into the queue, or nothing more will be.
    changed: Condvar,
    /// Held while it is found out whether the server is still there.
    checking: Mutex<()>,
}

impl Test<'_> {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the cases of this version played, and those that are about none with the
    /// first.
    fn admit(&self, version: &Version) {
        let mut queue = self.lock();
        for (number, case) in self.cases.iter().enumerate() {
            let own = Version::named(&case.version);
            let is_of_none = own.is_none() && *version == *self.answering;
            if own == Some(version) || is_of_none {
                if case.is_sequential {
                    queue.sequential.push_back(number);
                } else if case.is_heavy {
                    queue.heavy.push_back(number);
                } else {
                    queue.waiting.push_back(number);
                }
            }
        }
        self.changed.notify_all();
    }

    /// Tells that the cases of this version are not played.
    fn leave_out(&self, version: &'static Version, why: &str) {
        remark(&format!("{version} is not spoken: {why}"));
        let why = format!("the server does not speak {version}: {why}");
        self.lock().unspoken.insert(version.name, why);
    }

    /// Plays what waits, and the cases of those of these versions that the server
    /// speaks.
    fn play_at_the_same_time(
        &self,
        to_ask: &[&'static Version],
        add: &mut dyn FnMut((usize, CaseRun)),
    ) {
        let mut queue = self.lock();
        queue.asking = to_ask.len();
        queue.has_heavy_begun = false;
        drop(queue);
        let (sender, receiver) = channel();
        thread::scope(|scope| {
            for version in to_ask {
                scope.spawn(|| self.find_out(version));
            }
            for _ in 0..self.server.jobs {
                let sender = sender.clone();
                scope.spawn(move || self.work(&sender));
            }
            drop(sender);
            receiver.into_iter().for_each(add);
        });
    }

    /// Finds out whether the server speaks this version, while cases are played.
    fn find_out(&self, version: &'static Version) {
        match ask(self.server, version) {
            // The server may be busy with the cases.
            Asked::Silent | Asked::Unreachable(_) => self.lock().unanswered.push(version),
            asked => self.conclude(version, asked),
        }
        self.lock().asking -= 1;
        self.changed.notify_all();
    }

    /// Asks again for what was not answered, now that no case is played. Whether
    /// there are cases to play now.
    fn ask_again(&self) -> bool {
        let unanswered = std::mem::take(&mut self.lock().unanswered);
        if self.is_over() {
            return false;
        }
        thread::scope(|scope| {
            for version in unanswered {
                scope.spawn(|| self.conclude(version, ask(self.server, version)));
            }
        });
        let queue = self.lock();
        !queue.waiting.is_empty() || !queue.heavy.is_empty()
    }

    fn conclude(&self, version: &'static Version, asked: Asked) {
        match asked {
            Asked::Speaks(_) => self.admit(version),
            Asked::Declines(why) => self.leave_out(version, &why),
            Asked::Silent => self.leave_out(version, "no answer arrives in time"),
            Asked::Unreachable(error) => self.leave_unplayed(version, &error.to_string()),
            Asked::Panicked => self.leave_unplayed(version, PANICKED),
        }
    }

    /// Tells that the cases of this version should have been played, and are not.
    fn leave_unplayed(&self, version: &'static Version, why: &str) {
        let why = format!("it is unknown whether the server speaks {version}: {why}");
        let mut queue = self.lock();
        let of_version =
            |case: &&Planned| Version::named(&case.version).is_some_and(|own| own == version);
        let count = self.cases.iter().filter(of_version).count();
        queue.unplayed.add(count, &why);
        queue.unspoken.insert(version.name, why);
    }

    fn work(&self, sender: &Sender<(usize, CaseRun)>) {
        while let Some(number) = self.next() {
            let run = self.play(number);
            let is_heavy = self.cases.get(number).is_some_and(|case| case.is_heavy);
            let mut queue = self.lock();
            queue.running -= 1;
            self.changed.notify_all();
            if self.server.jobs > 1 && is_unheard(&run) {
                queue.again.push_back((number, run));
                continue;
            }
            if self.server.jobs > 1 && is_heavy && is_in_doubt(&run) {
                queue.in_doubt.push_back((number, run));
                continue;
            }
            drop(queue);
            if sender.send((number, run)).is_err() {
                return;
            }
        }
    }

    /// Plays the cases again, and alone, in which the server sent not one octet: it
    /// may take few connections at a time. Where the first of them changes nothing,
    /// the others are taken as they were.
    fn play_again(&self, add: &mut dyn FnMut((usize, CaseRun))) {
        let again = std::mem::take(&mut self.lock().again);
        let mut is_of_use = true;
        for (number, run) in again {
            is_of_use = is_of_use && !self.is_over();
            let run = if is_of_use { self.play(number) } else { run };
            is_of_use = is_of_use && !is_unheard(&run);
            add((number, run));
        }
    }

    /// Plays the cases again, and alone, that ran into a time limit while others were
    /// played. Where several verdicts in a row stay what they were, the others are
    /// taken as they were: the limit is not that of a busy server.
    fn settle_doubts(&self, add: &mut dyn FnMut((usize, CaseRun))) {
        let in_doubt = std::mem::take(&mut self.lock().in_doubt);
        let mut unchanged = 0;
        for (number, run) in in_doubt {
            if unchanged == CONVINCING || self.is_over() {
                add((number, run));
                continue;
            }
            let again = self.play(number);
            if again.is_not_run() {
                // The first verdict is worth more than none.
                add((number, run));
                continue;
            }
            unchanged = if again.verdicts() == run.verdicts() {
                unchanged + 1
            } else {
                0
            };
            add((number, again));
        }
    }

    /// Whether nothing more is played.
    fn is_over(&self) -> bool {
        self.ends(&mut self.lock())
    }

    fn ends(&self, queue: &mut Queue) -> bool {
        if self.is_interrupted.load(Ordering::Relaxed) {
            queue.over.get_or_insert_with(|| INTERRUPTED.to_owned());
        }
        queue.over.is_some()
    }

    /// The next case, once there is one; `None` where no more are played.
    fn next(&self) -> Option<usize> {
        let mut queue = self.lock();
        loop {
            if self.ends(&mut queue) {
                return None;
            }
            if !queue.is_suspended {
                if let Some(number) = queue.take() {
                    queue.running += 1;
                    return Some(number);
                }
                if queue.asking == 0 && queue.waiting.is_empty() && queue.heavy.is_empty() {
                    return None;
                }
            }
            let waited = self.changed.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn play(&self, number: usize) -> CaseRun {
        let Some(case) = self.cases.get(number) else {
            unreachable!("only cases are numbered");
        };
        let (started, begun) = (SystemTime::now(), Instant::now());
        let played = self.converse_or_retry(case);
        if self.is_interrupted.load(Ordering::Relaxed) {
            let mut queue = self.lock();
            queue.over.get_or_insert_with(|| INTERRUPTED.to_owned());
            drop(queue);
            return case.ended(started, Ending::NotRun(INTERRUPTED.to_owned()));
        }
        let ending = match played {
            Ok(result) if is_silent(&result) => match self.find_stopped() {
                Some(why) => Ending::NotRun(why),
                None => self.played(begun, number, result),
            },
            Ok(result) => self.played(begun, number, result),
            Err(Failed::Unconnected(error)) => match self.find_stopped() {
                Some(why) => Ending::NotRun(why),
                None => self.unplayed(format!("there was no connection for it: {error}")),
            },
            Err(Failed::Panicked) => {
                self.lock().timeline.add(begun, number);
                self.unplayed(PANICKED.to_owned())
            }
        };
        case.ended(started, ending)
    }

    /// Plays a case, and once more where there is no connection.
    fn converse_or_retry(&self, case: &Planned) -> Result<CaseResult, Failed> {
        match self.converse(case) {
            Err(Failed::Unconnected(_)) => {}
            other => return other,
        }
        let queue = self.lock();
        if queue.over.is_none() {
            // It ends early where the server has turned out to be gone.
            let _ = self
                .changed
                .wait_timeout_while(queue, RETRY, |q| q.over.is_none());
        }
        self.converse(case)
    }

    fn converse(&self, case: &Planned) -> Result<CaseResult, Failed> {
        let server = self.server;
        let play = || match self.corpus.get(case) {
            Playable::Case(case) => {
                play_to_server(case, &server.target, server.url, &server.options)
            }
            Playable::Recorded(recorded) => recorded.play_to_server(server),
        };
        // A panic in one case does not end the others.
        match catch_unwind(AssertUnwindSafe(play)) {
            Ok(played) => played.map_err(Failed::Unconnected),
            Err(_) => Err(Failed::Panicked),
        }
    }

    fn played(&self, begun: Instant, number: usize, result: CaseResult) -> Ending {
        self.lock().timeline.add(begun, number);
        Ending::Played(Arc::new(result))
    }

    /// A case that should have been played.
    fn unplayed(&self, why: String) -> Ending {
        self.lock().unplayed.add(1, &why);
        Ending::NotRun(why)
    }

    /// Why nothing more is played, where the server does not answer a plain opening
    /// handshake either. Only one thread asks at a time.
    fn find_stopped(&self) -> Option<String> {
        self.lock().checking += 1;
        self.changed.notify_all();
        let why = self.find_stopped_alone();
        self.lock().checking -= 1;
        self.changed.notify_all();
        why
    }

    fn find_stopped_alone(&self) -> Option<String> {
        let _checking = self.checking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &self.lock().over {
            return Some(why.clone());
        }
        if ask(self.server, self.answering).answers() {
            return None;
        }
        // It may be busy with other cases.
        let mut queue = self.lock();
        queue.is_suspended = true;
        while queue.running > queue.checking {
            let waited = self.changed.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
        drop(queue);
        let asked = (0..2).map(|_| ask(self.server, self.answering));
        let mut how = None;
        for asked in asked {
            how = match asked {
                Asked::Speaks(_) | Asked::Declines(_) | Asked::Panicked => None,
                Asked::Silent => Some("it takes connections and answers none of them".to_owned()),
                Asked::Unreachable(error) => Some(error.to_string()),
            };
            if how.is_none() {
                break;
            }
        }
        let mut queue = self.lock();
        queue.is_suspended = false;
        self.changed.notify_all();
        let why = format!("the server has stopped answering: {}", how?);
        queue.has_stopped = true;
        queue.over = Some(why.clone());
        Some(why)
    }
}

/// Why a case has no verdict.
enum Failed {
    Unconnected(DialError),
    Panicked,
}

/// Whether a case is lost because the server has not sent one octet, and has not ended
/// the connection either.
fn is_unheard(run: &CaseRun) -> bool {
    match &run.ending {
        Ending::Played(result) => {
            let hangs_up = |step: &Step| step.from == Side::Server && step.end.is_some();
            is_silent(result)
                && result.broken.is_some()
                && !result.conversation.iter().any(hangs_up)
        }
        Ending::NotRun(_) => false,
    }
}

/// Whether something is broken in a case that ran into a time limit.
fn is_in_doubt(run: &CaseRun) -> bool {
    match &run.ending {
        Ending::Played(result) => result.closed.timed_out && result.broken.is_some(),
        Ending::NotRun(_) => false,
    }
}

/// Whether the server has not sent one octet.
fn is_silent(result: &CaseResult) -> bool {
    !result.closed.was_open && result.octets.0 == 0
}
