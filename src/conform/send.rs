//! Sends what comes next while the socket takes it.

use std::time::Duration;

use super::player::{Player, State};
use super::sending::Next;
use crate::frame::NORMAL;
use crate::vector::{Difference, StreamEnd};

/// Between two writes of a step that is cut into them.
const PAUSE: Duration = Duration::from_millis(1);

impl Player<'_> {
    /// Puts what comes next into the queue.
    pub(super) fn send(&mut self) {
        while self.connection.is_written() {
            let mut octets = std::mem::take(&mut self.outgoing);
            octets.clear();
            if self.sending.is_between_frames() {
                self.reply_to_close();
                octets.append(&mut self.answers);
            }
            let goes_on = self.make(&mut octets);
            let is_empty = octets.is_empty();
            if !is_empty {
                self.record.sent(&octets);
                match self.sending.chop() {
                    // Each write of a short case arrives by itself, so that the peer has
                    // replied to one frame before it sees the next.
                    Some(size) if !self.clock.is_patient() => {
                        self.connection.send_paced(&octets, size, PAUSE);
                    }
                    Some(size) => self.connection.send_in_slices(&octets, size),
                    None => self.connection.send(&octets),
                }
            }
            self.outgoing = octets;
            let waits = self.sending.is_between_frames()
                && (!self.answers.is_empty() || self.link.owes_reply);
            if is_empty && !waits {
                if let Some(end) = self.link.ends.take() {
                    self.record.ended(true, end);
                    self.connection.end(end == StreamEnd::Rst);
                }
            }
            if !goes_on && !waits {
                break;
            }
        }
    }

    /// Makes the next octets of the steps; whether more comes at once.
    pub(super) fn make(&mut self, octets: &mut Vec<u8>) -> bool {
        loop {
            let is_open = match self.link.state {
                State::Opening => false,
                State::Open | State::Closing => true,
                State::Closed => !self.sending.is_between_frames(),
            };
            if !is_open || self.clock.is_waiting() {
                return false;
            }
            let Some(conn) = &mut self.conn else {
                return false;
            };
            match self.sending.make(conn, octets) {
                Next::Octets => return true,
                Next::Closed(close) => self.close_step(close),
                Next::Roundtrip(message, offset) => {
                    self.link.had_roundtrips = true;
                    self.expected.expect_echo(message, offset);
                }
                Next::Wait(ms, mark) => {
                    self.clock.wait(ms, mark.map(str::to_owned));
                    self.close_when_met();
                    return false;
                }
                Next::End(end) => {
                    self.link.ends = Some(end);
                    return true;
                }
                Next::Awaits => return false,
                Next::Done => {
                    self.clock.steps_sent();
                    self.close_when_met();
                    return false;
                }
                Next::Impossible(why) => {
                    self.facts.fail(Difference::from(format!(
                        "a step of the case cannot be sent: {why}"
                    )));
                    self.sending.stop();
                    self.send_close(Some(NORMAL), "");
                    return false;
                }
            }
        }
    }
}
