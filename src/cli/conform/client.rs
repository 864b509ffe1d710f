//! A client under test: it connects once for each case, and asks for them by the
//! protocol of Autobahn|Testsuite.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use heirloom::conform::{PlayOptions, play_to_client};
use heirloom::version::Version;
use serde::Serialize;

use super::command::{Command, Declined};
use super::kept::Kept;
use super::run::{AgentRun, CaseRun, Ending};
use super::select::{Corpus, Planned, Playable};
use super::talk::{Request, Talk};
use crate::cli::report::json;

/// Connections at the same time; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 64;

/// The most clients, by name.
const MAX_AGENTS: usize = 64;

/// How long the accepting waits where the system has no more descriptors.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Why a case has no verdict.
pub(super) const NOT_ASKED: &str = "the client did not ask for it";

/// What the connections tell the thread that writes reports.
pub(super) enum News {
    /// A case of this agent has ended.
    Played { agent: String, number: usize },
    /// A client asks for reports. What is sent back says that they are written.
    Update {
        then_stop: bool,
        written: SyncSender<()>,
    },
    /// A client asks for the end.
    Stop,
    /// A signal asks for the end.
    Interrupted,
    /// A connection has ended.
    Left,
    /// The client that was started has ended; why that is a failure, if it is.
    Exited(Result<(), String>),
}

/// What was played to clients.
pub(super) struct Tester {
    corpus: Arc<Corpus>,
    cases: Arc<[Planned]>,
    options: PlayOptions,
    state: Mutex<State>,
    /// A case has ended, or a connection.
    changed: Condvar,
}

/// What is known of clients.
#[derive(Default)]
struct State {
    /// Each has all cases.
    agents: Vec<AgentRun>,
    /// How many times a case is being played to an agent.
    running: BTreeMap<(String, usize), usize>,
    connections: usize,
    kept: Kept,
}

impl State {
    fn agent(&self, agent: &str) -> Option<&AgentRun> {
        self.agents.iter().find(|own| own.agent == agent)
    }
}

impl Tester {
    pub(super) fn new(
        corpus: Arc<Corpus>,
        cases: Arc<[Planned]>,
        options: PlayOptions,
    ) -> Arc<Tester> {
        Arc::new(Tester {
            corpus,
            cases,
            options,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts clients, each on a thread of its own. Gives what happens.
    pub(super) fn start(
        self: &Arc<Tester>,
        listener: TcpListener,
    ) -> (Sender<News>, Receiver<News>) {
        let (sender, receiver) = channel();
        let (tester, news) = (Arc::clone(self), sender.clone());
        // It ends with the program.
        thread::spawn(move || tester.accept(&listener, &news));
        (sender, receiver)
    }

    fn accept(self: &Arc<Tester>, listener: &TcpListener, news: &Sender<News>) {
        loop {
            let state = self.lock();
            let is_full = |state: &mut State| state.connections >= MAX_CONNECTIONS;
            let waited = self.changed.wait_while(state, is_full);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            let Ok((stream, _)) = listener.accept() else {
                // A client that is gone again, or no descriptors: nothing tells when
                // there are some.
                thread::sleep(EXHAUSTED);
                continue;
            };
            self.lock().connections += 1;
            let (tester, own) = (Arc::clone(self), news.clone());
            let served = thread::Builder::new().spawn(move || {
                // A panic with one client does not end the others.
                let _ = catch_unwind(AssertUnwindSafe(|| tester.serve(stream, &own)));
                tester.left();
                let _ = own.send(News::Left);
            });
            if served.is_err() {
                self.left();
            }
        }
    }

    fn left(&self) {
        self.lock().connections -= 1;
        self.changed.notify_all();
    }

    fn serve(&self, stream: TcpStream, news: &Sender<News>) {
        // Small frames are to arrive as they are sent.
        let _ = stream.set_nodelay(true);
        let Some((talk, request)) = Talk::begin(stream) else {
            return;
        };
        match Command::of(&request.target, &self.cases) {
            Err(declined) => talk.decline(&declined),
            Ok(Command::Count) => talk.answer(Some(&self.cases.len().to_string())),
            Ok(Command::Info { case }) => match self.cases.get(case) {
                Some(case) => talk.answer(json(&CaseInfo::of(case)).ok().as_deref()),
                None => talk.answer(None),
            },
            Ok(Command::Run { case, agent }) => self.play(talk, &request, case, agent, news),
            Ok(Command::Status { case, agent }) => match self.status(case, &agent) {
                Ok(status) => talk.answer(json(&status).ok().as_deref()),
                Err(declined) => talk.decline(&declined),
            },
            Ok(Command::Update { agent, then_stop }) => {
                if self.lock().agent(&agent).is_none() {
                    let why = "no client of this name has run a case";
                    return talk.decline(&Declined::missing(why));
                }
                self.wait_for_all_of(&agent);
                let (written, is_written) = sync_channel(1);
                let _ = news.send(News::Update { then_stop, written });
                // Where the reports cannot be written, the exit status says so.
                let _ = is_written.recv();
                talk.answer(None);
            }
            Ok(Command::Stop) => {
                talk.answer(None);
                let _ = news.send(News::Stop);
            }
        }
    }

    fn play(
        &self,
        talk: Talk,
        request: &Request,
        number: usize,
        agent: String,
        news: &Sender<News>,
    ) {
        let Some(case) = self.cases.get(number) else {
            return;
        };
        if let Err(declined) = self.begin(&agent, number) {
            return talk.decline(&declined);
        }
        let started = SystemTime::now();
        let spoken = Version::named(&case.version);
        let ending = if spoken.is_some_and(|spoken| spoken != request.version) {
            let why = format!(
                "{} is about {}, and the client speaks {}",
                case.id, case.version, request.version
            );
            talk.decline(&Declined::bad(&*why));
            Ending::NotRun(why)
        } else {
            let (connection, received) = talk.into_parts();
            let play = || match self.corpus.get(case) {
                Playable::Case(case) => play_to_client(case, connection, &received, &self.options),
                Playable::Recorded(recorded) => {
                    recorded.play_to_client(connection, &received, &self.options)
                }
            };
            match catch_unwind(AssertUnwindSafe(play)) {
                Ok(result) => Ending::Played(Arc::new(result)),
                Err(_) => Ending::NotRun(super::PANICKED.to_owned()),
            }
        };
        self.end(&agent, number, case.ended(started, ending));
        let _ = news.send(News::Played { agent, number });
    }

    /// Notes that a case begins.
    fn begin(&self, agent: &str, number: usize) -> Result<(), Declined> {
        let mut state = self.lock();
        if state.agent(agent).is_none() {
            if state.agents.len() >= MAX_AGENTS {
                let why = format!("there are {MAX_AGENTS} clients already, by name");
                return Err(Declined::bad(why));
            }
            let cases = self.cases.iter().map(|case| case.not_run(NOT_ASKED));
            let run = AgentRun {
                agent: agent.to_owned(),
                cases: cases.collect(),
            };
            state.agents.push(run);
        }
        *state.running.entry((agent.to_owned(), number)).or_default() += 1;
        Ok(())
    }

    /// Notes what became of a case. Where it was played before, the last time counts.
    fn end(&self, agent: &str, number: usize, mut run: CaseRun) {
        let mut state = self.lock();
        let State {
            agents,
            running,
            kept,
            ..
        } = &mut *state;
        let key = (agent.to_owned(), number);
        if let Some(times) = running.get_mut(&key) {
            *times -= 1;
            if *times == 0 {
                running.remove(&key);
            }
        }
        let own = agents.iter_mut().find(|own| own.agent == agent);
        let place = own.and_then(|own| own.cases.get_mut(number));
        if let Some(place) = place {
            kept.release(place);
            kept.admit(&mut run);
            *place = run;
        }
        self.changed.notify_all();
    }

    /// What came of a case, once it has ended.
    fn status(&self, number: usize, agent: &str) -> Result<Status, Declined> {
        let key = (agent.to_owned(), number);
        let state = self.lock();
        let is_running = |state: &mut State| state.running.contains_key(&key);
        let waited = self.changed.wait_while(state, is_running);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        let run = state.agent(agent).and_then(|own| own.cases.get(number));
        match run.map(|run| &run.ending) {
            Some(Ending::Played(result)) => Ok(Status {
                behavior: result.behavior.name(),
            }),
            Some(Ending::NotRun(why)) if why != NOT_ASKED => Err(Declined::missing(why.clone())),
            _ => Err(Declined::missing(
                "the client of this name has not run this case",
            )),
        }
    }

    fn wait_for_all_of(&self, agent: &str) {
        let state = self.lock();
        let is_running = |state: &mut State| state.running.keys().any(|(own, _)| own == agent);
        drop(self.changed.wait_while(state, is_running));
    }

    /// Whether a client is connected.
    pub(super) fn has_connections(&self) -> bool {
        self.lock().connections > 0
    }

    /// What was played to each client so far. No client waits while it is looked at.
    pub(super) fn runs(&self) -> Vec<AgentRun> {
        self.lock().agents.clone()
    }

    /// One case of an agent.
    pub(super) fn run(&self, agent: &str, number: usize) -> Option<CaseRun> {
        let state = self.lock();
        let run = state.agent(agent).and_then(|own| own.cases.get(number));
        run.cloned()
    }
}

#[derive(Serialize)]
struct CaseInfo<'c> {
    id: &'c str,
    description: &'c str,
}

impl CaseInfo<'_> {
    fn of(case: &Planned) -> CaseInfo<'_> {
        CaseInfo {
            id: &case.id,
            description: &case.title,
        }
    }
}

#[derive(Serialize)]
struct Status {
    behavior: &'static str,
}
