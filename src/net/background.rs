//! A background thread for what takes too long for a loop. It has two queues,
//! and each has a limit: answers that a connection waits for, and notes that may be
//! lost. It takes one of each in turn, so that neither stops the other.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::warning::WarningLimiter;

type Job = Box<dyn FnOnce() + Send>;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Answers.
    pub(super) answers: usize,
    /// Notes.
    pub(super) notes: usize,
    /// Octets of all notes.
    pub(super) note_octets: usize,
}

/// The queue is full, or the system gives no thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// A thread that runs while there is something to do.
pub(super) struct Background(Arc<Shared>);

struct Shared {
    room: Room,
    /// What a note is, in the plural, for the line that tells of lost ones.
    noun: &'static str,
    state: Mutex<State>,
    /// The thread has ended: nothing waits.
    idle: Condvar,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Job>,
    notes: VecDeque<(usize, Job)>,
    /// Octets of the notes that wait.
    octets: usize,
    /// The last job was an answer.
    was_answer: bool,
    is_running: bool,
    loss: Loss,
}

/// Notes that were lost and not told of yet.
#[derive(Default)]
struct Loss {
    notes: u64,
    warnings: WarningLimiter,
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").finish_non_exhaustive()
    }
}

impl Background {
    pub(super) fn new(room: Room, noun: &'static str) -> Background {
        Background(Arc::new(Shared {
            room,
            noun,
            state: Mutex::default(),
            idle: Condvar::new(),
        }))
    }

    /// Has this answer made, if there is room.
    pub(super) fn answer(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Busy> {
        let mut state = self.0.state();
        if state.answers.len() >= self.0.room.answers {
            return Err(Busy);
        }
        state.answers.push_back(Box::new(job));
        if self.start(&mut state) {
            Ok(())
        } else {
            state.answers.pop_back();
            Err(Busy)
        }
    }

    /// Has this note made, which holds this many octets. It is lost, and counted,
    /// where there is no room.
    pub(super) fn note(&self, octets: usize, job: impl FnOnce() + Send + 'static) {
        let mut state = self.0.state();
        let room = self.0.room;
        let fits = state.notes.len() < room.notes && state.octets + octets <= room.note_octets;
        if !fits {
            state.loss.notes += 1;
            return;
        }
        state.octets += octets;
        state.notes.push_back((octets, Box::new(job)));
        if !self.start(&mut state) {
            state.octets -= octets;
            state.notes.pop_back();
            state.loss.notes += 1;
        }
    }

    /// Waits until all was done, but no longer than this. What is left then is
    /// lost. Tells how many notes were lost.
    pub(super) fn finish(&self, within: Duration) {
        let until = Instant::now() + within;
        let mut state = self.0.state();
        while state.is_running {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.0.idle.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.answers.clear();
        state.loss.notes += state.notes.len() as u64;
        state.notes.clear();
        state.octets = 0;
        state.loss.tell(self.0.noun);
    }

    /// Starts the thread, unless it runs; whether it does now.
    fn start(&self, state: &mut State) -> bool {
        if state.is_running {
            return true;
        }
        let shared = Arc::clone(&self.0);
        let thread = thread::Builder::new().name("background".to_owned());
        match thread.spawn(move || shared.run()) {
            Ok(_) => state.is_running = true,
            Err(error) => log::debug!(target: "heirloom::net", "no background thread: {error}"),
        }
        state.is_running
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic is done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: does what is queued, until nothing is.
    fn run(&self) {
        let start = Instant::now();
        loop {
            let job = {
                let mut state = self.state();
                let now_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
                if state.loss.notes > 0 && state.loss.warnings.again(now_ms) {
                    state.loss.tell(self.noun);
                }
                let Some(job) = state.next() else {
                    state.loss.tell(self.noun);
                    state.is_running = false;
                    self.idle.notify_all();
                    return;
                };
                job
            };
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                log::error!("a background job ended by a panic");
            }
        }
    }
}

impl State {
    /// The next job: an answer after a note, and a note after an answer, as far
    /// as there are both.
    fn next(&mut self) -> Option<Job> {
        if self.was_answer || self.answers.is_empty() {
            if let Some((octets, job)) = self.notes.pop_front() {
                self.octets -= octets;
                self.was_answer = false;
                return Some(job);
            }
        }
        self.was_answer = true;
        self.answers.pop_front()
    }
}

impl Loss {
    fn tell(&mut self, noun: &str) {
        let lost = std::mem::take(&mut self.notes);
        if lost > 0 {
            log::warn!("{lost} {noun} are lost: more came than could be told of");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    const PATIENCE: Duration = Duration::from_secs(10);
    const ROOM: Room = Room {
        answers: 2,
        notes: 3,
        note_octets: 10,
    };

    /// Has its thread wait until what is returned is dropped.
    fn blocked() -> (Background, Sender<()>) {
        let background = Background::new(ROOM, "notes");
        let (release, released) = channel::<()>();
        let (tell, started) = channel();
        let job = move || {
            tell.send(()).unwrap();
            let _ = released.recv();
        };
        background.answer(job).unwrap();
        started.recv_timeout(PATIENCE).unwrap();
        (background, release)
    }

    #[test]
    fn what_does_not_fit_is_refused_or_counted() {
        let (background, release) = blocked();
        let (tell, done) = channel();
        let say = |what: &'static str| {
            let tell = tell.clone();
            move || tell.send(what).unwrap()
        };
        assert_eq!(background.answer(say("answer 1")), Ok(()));
        assert_eq!(background.answer(say("answer 2")), Ok(()));
        assert_eq!(background.answer(say("answer 3")), Err(Busy));
        background.note(4, say("note 1"));
        background.note(7, say("too long"));
        background.note(3, say("note 2"));
        background.note(3, say("note 3"));
        background.note(0, say("one too many"));
        assert_eq!(background.0.state().loss.notes, 2);
        drop(release);
        background.finish(PATIENCE);
        let order: Vec<&str> = done.try_iter().collect();
        let wanted = ["note 1", "answer 1", "note 2", "answer 2", "note 3"];
        assert_eq!(order, wanted);
        assert_eq!(background.0.state().octets, 0);
        // And again, on another thread.
        assert_eq!(background.answer(say("later")), Ok(()));
        assert_eq!(done.recv_timeout(PATIENCE).unwrap(), "later");
    }

    #[test]
    fn a_job_that_panics_takes_no_other_with_it() {
        let (background, release) = blocked();
        background.answer(|| panic!("on purpose")).unwrap();
        let (tell, done) = channel();
        background.answer(move || tell.send(()).unwrap()).unwrap();
        drop(release);
        done.recv_timeout(PATIENCE).unwrap();
    }

    #[test]
    fn the_end_waits_no_longer_than_it_may() {
        let (background, release) = blocked();
        background.note(1, || panic!("it was given up"));
        background.finish(Duration::from_millis(20));
        assert_eq!(background.0.state().notes.len(), 0);
        assert_eq!(background.0.state().loss.notes, 0, "they were told of");
        drop(release);
        background.finish(PATIENCE);
    }
}
