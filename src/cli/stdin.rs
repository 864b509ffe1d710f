//! Standard input as messages, and the signals that end a conversation.

use std::io::{self, BufRead, IsTerminal, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use heirloom::net::dial::Connection;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::complain;

/// Messages that may wait to be sent.
const WAITING: usize = 64;

/// How standard input is cut into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// At the ends of lines, LF or CR LF.
    Lines,
    /// At NUL octets.
    Nuls,
    /// Nowhere: all of it is one message.
    Whole,
}

/// A message of standard input.
pub(super) enum InputMessage {
    Whole(Vec<u8>),
    /// More octets than a message may have.
    TooLong,
}

/// Whether a person types the input.
pub(super) fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Reads standard input on a thread of its own, since that may block.
pub(super) fn read(client: &Connection, cut: Cut, limit: u64) -> Receiver<InputMessage> {
    let (send, receive) = sync_channel(WAITING);
    let waker = client.waker();
    let reader = thread::Builder::new().name("stdin".to_owned());
    let spawned = reader.spawn(move || {
        read_all(cut, limit, &send, &|| waker.wake().is_ok());
        drop(send);
        // Without this the loop would go on waiting.
        let _ = waker.wake();
    });
    if let Err(error) = spawned {
        complain(&format!("cannot read standard input: {error}"));
    }
    receive
}

/// Reads until the end, or until nothing takes the messages.
fn read_all(cut: Cut, limit: u64, send: &SyncSender<InputMessage>, wake: &dyn Fn() -> bool) {
    let mut input = io::stdin().lock();
    // A line, its end, and one octet that is too many.
    let room = limit.saturating_add(3);
    loop {
        let mut octets = Vec::new();
        let mut part = (&mut input).take(room);
        let read = match cut {
            Cut::Lines => part.read_until(b'\n', &mut octets),
            Cut::Nuls => part.read_until(0, &mut octets),
            Cut::Whole => part.read_to_end(&mut octets),
        };
        match read {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                complain(&format!("cannot read standard input: {error}"));
                return;
            }
        }
        match cut {
            Cut::Lines => {
                if octets.last() == Some(&b'\n') {
                    octets.pop();
                }
                if octets.last() == Some(&b'\r') {
                    octets.pop();
                }
            }
            Cut::Nuls if octets.last() == Some(&0) => {
                octets.pop();
            }
            Cut::Nuls | Cut::Whole => {}
        }
        let too_long = octets.len() as u64 > limit;
        let message = if too_long {
            InputMessage::TooLong
        } else {
            InputMessage::Whole(octets)
        };
        if send.send(message).is_err() || !wake() || too_long {
            return;
        }
    }
}

/// The first TERM or INT sends a close, the second ends the program at once.
pub(super) fn stop_on_signals(client: &Connection) -> Arc<AtomicBool> {
    let stopped = Arc::new(AtomicBool::new(false));
    let (flag, waker) = (Arc::clone(&stopped), client.waker());
    let waiting = Signals::new([SIGTERM, SIGINT]).and_then(|mut signals| {
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    if flag.swap(true, Ordering::AcqRel) {
                        std::process::exit(128 + signal);
                    }
                    // Where it cannot be woken it ends with the conversation.
                    let _ = waker.wake();
                }
            })
    });
    if let Err(error) = waiting {
        log::warn!("cannot wait for signals: {error}");
    }
    stopped
}
