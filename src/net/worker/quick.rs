//! The turn of an open link about which nothing is unusual: one read, whole
//! messages to the app, one write. All else takes the turn of `turn.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Worker;
use super::link::{AfterTurn, Link, Preface};
use super::scratch::FRONT;
use super::timing::Stage;
use crate::bytes::Input;
use crate::net::app::{App, EndReason, Handle, Incoming};
use crate::net::link_id::LinkId;
use crate::net::transport::ReadResult;

/// Whether a quick turn was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuickTurn {
    /// It was not, and nothing was done.
    NotTaken,
    /// There may be more to read.
    ReadsOn,
    /// There is nothing more to read for now, or the whole turn took over.
    Done,
}

/// What a quick turn has come to.
enum Came {
    /// So many of the octets that were read are left to be parsed, and answers to
    /// be written.
    Left {
        left: usize,
        ended: Option<EndReason>,
    },
    /// The app has panicked.
    Panicked,
}

impl<A: App> Worker<A> {
    /// Takes the turn of a link, where it is a simple one.
    #[inline]
    pub(super) fn quick_turn(&mut self, token: usize) -> QuickTurn {
        let Some(Some(link)) = self.links.slots.get(token) else {
            return QuickTurn::NotTaken;
        };
        if !link.is_simple() {
            return QuickTurn::NotTaken;
        }
        let scratch = &mut self.scratch;
        let (_, room) = scratch.buffer.split_at_mut(FRONT);
        let n = match link.transport.read(room) {
            ReadResult::Octets(n) => n,
            ReadResult::Nothing => {
                // No event reports what TLS still has to read.
                if link.transport.is_readable() {
                    self.links.enqueue(token);
                }
                return QuickTurn::Done;
            }
            read => {
                self.come_of(token, read);
                return QuickTurn::Done;
            }
        };
        link.timing.restart(self.clock.now_ms);
        // What other links have published stays.
        scratch.topics.start_turn();
        let (received, _) = room.split_at_mut(n);
        let mut input = Input::new(received);
        let mut handle = Handle {
            id: LinkId {
                worker: self.index,
                token,
            },
            data: &mut link.data,
            conn: &mut link.conn,
            out: scratch.out.output(),
            backlog: &mut link.backlog,
            topics: &mut scratch.topics,
            deflation: None,
            is_recorded: false,
            ended: None,
        };
        let app = &mut self.app;
        let worked = catch_unwind(AssertUnwindSafe(|| {
            while let Some(message) = handle.conn.next_message(&mut input) {
                app.message(Incoming::whole(message), &mut handle);
                if handle.ended.is_some() || !handle.out.may_deflate() {
                    break;
                }
            }
        }));
        let (left, ended) = (input.rest().len(), handle.ended);
        let came = match worked {
            Err(_) => Came::Panicked,
            Ok(()) if left > 0 || ended.is_some() || !link.conn.can_send() => {
                Came::Left { left, ended }
            }
            Ok(()) => {
                let out = &mut scratch.out.octets;
                if out.is_empty() {
                    return QuickTurn::ReadsOn;
                }
                match link.transport.write(out) {
                    Ok(written) if written == out.len() => {
                        out.clear();
                        if link.transport.is_readable() {
                            return QuickTurn::ReadsOn;
                        }
                        return QuickTurn::Done;
                    }
                    Ok(written) => {
                        link.backlog.push_small(out.split_at(written).1);
                        out.clear();
                    }
                    // The next write fails too.
                    Err(_) => {}
                }
                Came::Left { left, ended }
            }
        };
        self.go_on(token, n, came);
        QuickTurn::ReadsOn
    }

    /// A read that has brought no octets.
    #[inline(never)]
    fn come_of(&mut self, token: usize, read: ReadResult) {
        let after = self.with_link(token, |turn| turn.after_read(read));
        if after == Some(AfterTurn::Drop) {
            self.remove_link(token);
        }
    }

    /// Goes on with a turn for which the quick way is not enough.
    #[inline(never)]
    fn go_on(&mut self, token: usize, n: usize, came: Came) {
        match came {
            Came::Left { left, ended } => {
                self.with_link(token, |turn| turn.parse_received(n, left, ended));
            }
            Came::Panicked => {
                let now_ms = self.clock.now_ms;
                self.scratch.warnings.of_panic(now_ms);
                self.scratch.discard_turn();
                self.with_link(token, |turn| {
                    turn.link.fail_after_panic(&mut turn.scratch.out.output());
                });
            }
        }
    }
}

impl<D> Link<D> {
    /// Whether its turn is a read, whole messages and a write, as far as can be
    /// told before.
    #[inline]
    fn is_simple(&self) -> bool {
        self.bridge().is_none() && self.is_usual()
    }

    /// Whether nothing is unusual about it: it is open, can be read and written,
    /// and nothing waits on it.
    #[inline]
    pub(super) fn is_usual(&self) -> bool {
        self.timing.stage() == Stage::Open
            && self.flow.is_clear()
            && self.preface == Preface::Done
            && self.backlog.is_empty()
            && self.rare.as_ref().is_none_or(|rare| rare.is_usual())
            && self.transport.is_ready()
    }
}
