//! Whether a server keeps to the window of its compression: a connection takes what
//! refers back further, and `connect` and `probe` tell of it.

use heirloom::Side;
use heirloom::conn::Phase;
use heirloom::extension::{Deflate, Exceeded, WindowWatch};
use heirloom::net::dial::Connection;
use heirloom::trace::{Field, Span};

/// The window of a server, and what goes beyond it.
#[derive(Default)]
pub(super) struct Window {
    watch: Option<WindowWatch>,
    /// Octets of the frame at hand that are still to come.
    left: u64,
    /// The first that went beyond.
    pub(super) exceeded: Option<Exceeded>,
}

impl Window {
    /// The response has arrived, which agrees to this.
    pub(super) fn agreed(&mut self, deflate: Option<Deflate>) {
        self.watch = deflate.and_then(|deflate| WindowWatch::new(deflate, Side::Server));
    }

    /// Whether the next step has to tell what it parses.
    pub(super) fn is_watched(&self, client: &Connection) -> bool {
        self.watch.is_some() || client.conn().phase() == Phase::Handshake
    }

    /// Looks at what a step has parsed; the first that goes beyond, once.
    pub(super) fn look(&mut self, spans: &[Span], client: &Connection) -> Option<Exceeded> {
        let watch = self.watch.as_mut()?;
        let parsed = client.parsed();
        let start = client.received() - (parsed.len() + client.unparsed().len()) as u64;
        for span in spans {
            let at = |position: u64| usize::try_from(position.saturating_sub(start));
            let (Ok(from), Ok(to)) = (at(span.at.start), at(span.at.end)) else {
                continue;
            };
            let octets = parsed.get(from..to).unwrap_or_default();
            match span.field {
                Field::Fin => watch.start_frame(octets.first().copied().unwrap_or_default()),
                Field::Length7 | Field::Length16 | Field::Length64 => self.left = span.value,
                field if field.is_payload() => {
                    watch.payload(octets);
                    self.left = self.left.saturating_sub(octets.len() as u64);
                }
                _ => continue,
            }
            if self.left == 0 && span.field != Field::Fin {
                watch.end_frame();
            }
        }
        let exceeded = watch.take_exceeded().filter(|_| self.exceeded.is_none())?;
        self.exceeded = Some(exceeded);
        self.exceeded
    }
}
