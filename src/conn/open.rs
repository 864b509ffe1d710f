//! An open connection: the decoder and receiver of what arrives, the sender of
//! what is sent.

use alloc::boxed::Box;

use simdutf8::basic::from_utf8;

use super::role::Role;
use crate::bytes::{Input, Output};
use crate::error::{Located, Unsendable, Violation};
#[cfg(feature = "net")]
use crate::extension::Deflater;
use crate::extension::{Coding, Compression, Deflate, HeldContexts};
use crate::frame::{
    self, Control, Data, Decoder, Encoder, Frame, Kind, MaskingKey, OneWay, Position, Wire,
};
use crate::message::{Deflating, Message, Piece, Receiver, Receiving, Sender, Step};
use crate::trace::{Field, SpanWriter, Trace};
use crate::version::Version;

/// An open connection. Between messages it is sixteen octets.
#[derive(Debug)]
pub(super) struct Open {
    /// What most connections do not hold, so that most are small.
    inside: Option<Box<Inside>>,
    pub(super) wire: Wire,
    pub(super) role: Role,
    /// Whether we have sent a close.
    pub(super) close_sent: bool,
    pub(super) start: Start,
}

/// What a connection holds while a message arrives or is sent in pieces. One of
/// hybi-04 always does, for its key, and one that keeps contexts of compression.
#[derive(Debug, Default)]
struct Inside {
    kept: Kept,
    decoder: Decoder,
    receiver: Receiver,
    sender: Sender,
    /// Where compression was agreed on.
    deflating: Deflating,
}

/// No octet of a DEFLATE stream becomes more than this many: the longest copy, 258,
/// takes at least two bits.
const MOST_EXPANSION: u64 = 1032;

/// What a connection keeps to its end, where it has some of it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// hybi-04's masking key.
    pub(super) key: Option<MaskingKey>,
    /// The memory for the contexts of compression.
    pub(super) contexts: Option<HeldContexts>,
}

/// What was received.
#[derive(Debug)]
pub(super) enum Received<'b> {
    Piece(Piece<'b>),
    Control(Control, &'b [u8]),
}

/// What comes before the first frame of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// [`Event::Open`] is due.
    Unannounced,
    /// hixie-76 and hybi-03: the first octet of the peer tells whether white
    /// space stands before the frames, and which of the two layouts they have.
    Unknown,
    /// Nothing: frames arrive.
    Frames,
}

impl Start {
    pub(super) fn behind_handshake(wire: Wire) -> Start {
        if wire.version().has_body() {
            Start::Unknown
        } else {
            Start::Frames
        }
    }
}

impl Inside {
    /// Whether it holds nothing that is needed later.
    #[inline]
    fn is_idle(&self) -> bool {
        self.kept.key.is_none()
            && self.kept.contexts.is_none()
            && self.is_between_received()
            && self.sender.is_between_messages()
            && self.deflating.is_idle()
    }

    /// Whether nothing of a message has arrived that is not finished.
    #[inline]
    fn is_between_received(&self) -> bool {
        self.decoder.is_between_frames() && !self.receiver.is_inside_message()
    }

    /// How this end compresses, where it may compress so: it starts anew for each
    /// message where no memory was taken for its context.
    fn coding(&self, agreed: Coding) -> Coding {
        let no_context_takeover = agreed.no_context_takeover || self.kept.contexts.is_none();
        Coding {
            no_context_takeover,
            ..agreed
        }
    }

    /// The next piece of a message, or control frame, where compression was agreed
    /// on; `None` where more input is needed, or more room.
    fn receive_deflated<'b, T: Trace>(
        &mut self,
        deflate: Deflate,
        (wire, version, role): (OneWay<'_>, &'static Version, Role),
        limit: u64,
        (input, out): (&mut Input<'b>, &mut Output<'_>),
        trace: &mut T,
    ) -> Result<Option<Received<'b>>, Located<Violation>> {
        loop {
            if self.deflating.is_in_frame() {
                let mut receiving = Receiving {
                    decoder: &mut self.decoder,
                    receiver: &mut self.receiver,
                    version,
                    limit,
                };
                let step = self
                    .deflating
                    .inflate(deflate, &mut receiving, input, trace);
                let coding = deflate.of(wire.from());
                out.with_codecs(|codecs| self.deflating.release(coding, codecs));
                match step? {
                    Step::Piece(piece) => return Ok(Some(Received::Piece(piece))),
                    Step::FrameEnds => {}
                    Step::Waits => return Ok(None),
                }
            }
            let start = input.position();
            match self.decoder.next::<false, T>(wire, limit, input, trace)? {
                None => return Ok(None),
                Some(Frame::Data(data)) => {
                    let started = self.start_frame(data, role, limit, (input.position(), out));
                    started
                        .map_err(|violation| Located::new(violation, start..input.position()))?;
                }
                Some(Frame::Chunk(chunk)) => {
                    return match self.receiver.piece(chunk, version, limit) {
                        Ok(piece) => Ok(Some(Received::Piece(piece))),
                        Err((violation, at)) => Err(Located::in_head(violation, at, start)),
                    };
                }
                Some(Frame::Control(control, payload)) => {
                    return Ok(Some(Received::Control(control, payload)));
                }
            }
        }
    }

    /// The header of a data frame was read, which may be compressed.
    fn start_frame(
        &mut self,
        data: Data,
        role: Role,
        limit: u64,
        (at, out): (u64, &mut Output<'_>),
    ) -> Result<(), Violation> {
        let is_short = || {
            let most = data.length.and_then(|n| n.checked_mul(MOST_EXPANSION));
            let is_whole = data.kind.is_some() && self.decoder.is_in_last_frame();
            is_whole && most.is_some_and(|most| most <= limit)
        };
        let is_kept = data.compressed && role.keeps_compressed() && is_short();
        let is_compressed = data.compressed || self.deflating.is_between_frames();
        if is_kept || !is_compressed {
            return self.receiver.start_frame(data, limit);
        }
        // What it becomes is counted while it is inflated.
        let inflated = Data {
            length: None,
            compressed: false,
            ..data
        };
        self.receiver.start_frame(inflated, limit)?;
        out.with_codecs(|codecs| self.deflating.start_frame(at, codecs));
        Ok(())
    }

    /// The next piece of a message, or control frame.
    #[inline(always)]
    fn receive<'b, const HIXIE: bool, T: Trace>(
        &mut self,
        (wire, role): (Wire, Role),
        limit: u64,
        input: &mut Input<'b>,
        trace: &mut T,
    ) -> Result<Option<Received<'b>>, Located<Violation>> {
        let received = wire.sent_by(role.side().peer(), self.kept.key.as_ref());
        loop {
            let start = input.position();
            let frame = self
                .decoder
                .next::<HIXIE, T>(received, limit, input, trace)?;
            match frame {
                None => return Ok(None),
                Some(Frame::Data(data)) => {
                    if let Err(violation) = self.receiver.start_frame(data, limit) {
                        return Err(Located::new(violation, start..input.position()));
                    }
                }
                Some(Frame::Chunk(chunk)) => {
                    return match self.receiver.piece(chunk, wire.version(), limit) {
                        Ok(piece) => Ok(Some(Received::Piece(piece))),
                        Err((violation, at)) => Err(Located::in_head(violation, at, start)),
                    };
                }
                Some(Frame::Control(control, payload)) => {
                    return Ok(Some(Received::Control(control, payload)));
                }
            }
        }
    }
}

impl Open {
    /// A connection of which nothing was received or sent.
    pub(super) fn new(wire: Wire, kept: Kept, role: Role) -> Open {
        let inside = Inside {
            kept,
            ..Inside::default()
        };
        Open {
            inside: (!inside.is_idle()).then(|| Box::new(inside)),
            wire,
            role,
            close_sent: false,
            start: Start::Unannounced,
        }
    }

    /// Whether messages of this kind can be sent. This end may send before the
    /// peer has shown its layout, and then by the layout that was asked for.
    #[inline(always)]
    pub(super) fn prepare_to_send(&mut self, kind: Kind) -> Result<(), Unsendable> {
        if kind == Kind::Binary && self.wire.is_hixie() {
            return Err(Unsendable::NoBinary(self.wire.version()));
        }
        if !self.wire.can_send() {
            return Err(Unsendable::NoMaskingKey);
        }
        if self.start != Start::Frames {
            self.wire.keep_layout();
        }
        Ok(())
    }

    /// What compression needs, while it needs something.
    pub(super) fn deflating(&self) -> Option<&Deflating> {
        self.inside.as_ref().map(|inside| &inside.deflating)
    }

    /// Octets of memory that compression holds: for a message that arrives, and for
    /// contexts.
    #[cfg(feature = "net")]
    #[inline]
    pub(super) fn held_for_compression(&self) -> (usize, usize) {
        self.deflating().map_or((0, 0), Deflating::held)
    }

    /// How many octets come next, as far as they have arrived, that belong to one
    /// data frame, where that is compressed, was started, or is one of several of
    /// its message; `None` where something else comes next.
    pub(super) fn fragment_ahead(&self, input: &Input<'_>) -> Option<usize> {
        let wire = self.wire.sent_by(self.role.side().peer(), None);
        match &self.inside {
            _ if self.start != Start::Frames => None,
            Some(inside) if inside.deflating.is_in_frame() => {
                let to_come = inside.decoder.payload_to_come();
                let arrived = input.rest().len();
                Some(usize::try_from(to_come).map_or(arrived, |n| n.min(arrived)))
            }
            Some(inside) => inside.decoder.fragment_ahead(wire, input),
            None => Decoder::default().fragment_ahead(wire, input),
        }
    }

    /// Sends a whole message, compressed where that is worth it.
    pub(super) fn send_deflated(
        &mut self,
        deflate: Deflate,
        compression: &Compression,
        message: Message<'_>,
        out: &mut Output<'_>,
    ) {
        let encoder = Encoder::new(self.wire.sent_by(self.role.side(), None));
        let message = (message.kind(), message.payload());
        let coding = deflate.of(self.role.side());
        self.with_inside(|inside| {
            let coding = inside.coding(coding);
            inside
                .deflating
                .send(coding, compression, encoder, message, out);
        });
    }

    /// The compressor of the next message, where there is compression and this end
    /// can use it.
    #[cfg(feature = "net")]
    pub(super) fn take_deflater(
        &mut self,
        compression: &Compression,
        out: &mut Output<'_>,
    ) -> Option<Box<Deflater>> {
        let coding = self.wire.deflate()?.of(self.role.side());
        coding.can_be_kept().then(|| {
            let bits = coding.max_window_bits;
            self.with_inside(|inside| inside.deflating.deflater(bits, compression, out))
        })
    }

    /// Sends a part of a message, compressed.
    pub(super) fn send_piece_deflated(
        &mut self,
        deflate: Deflate,
        compression: &Compression,
        piece: (Kind, Position, &[u8]),
        out: &mut Output<'_>,
    ) {
        let encoder = Encoder::new(self.wire.sent_by(self.role.side(), None));
        let (coding, is_per_frame) = (deflate.of(self.role.side()), deflate.is_per_frame());
        self.with_inside(|inside| {
            let coding = (inside.coding(coding), is_per_frame);
            inside
                .deflating
                .send_piece(coding, compression, encoder, piece, out);
        });
    }

    /// Whether it may have something to give back.
    #[cfg(feature = "net")]
    #[inline]
    pub(super) fn is_inside(&self) -> bool {
        self.inside.is_some()
    }

    /// Gives back what compresses the message that is sent in pieces, where each
    /// message is compressed on its own.
    #[cfg(feature = "net")]
    pub(super) fn rest(&mut self, out: &mut Output<'_>) {
        let Some(inside) = &mut self.inside else {
            return;
        };
        let Some(deflate) = self.wire.deflate() else {
            return;
        };
        let coding = inside.coding(deflate.of(self.role.side()));
        inside.deflating.rest(coding, out);
    }

    /// Works on what most connections do not hold, and keeps it where it is needed
    /// later.
    #[inline(always)]
    fn with_inside<R>(&mut self, work: impl FnOnce(&mut Inside) -> R) -> R {
        let is_kept = self.inside.is_some();
        let mut passing = Inside::default();
        let inside = match &mut self.inside {
            Some(inside) => &mut **inside,
            None => &mut passing,
        };
        let result = work(inside);
        if is_kept {
            self.tidy();
        } else {
            self.keep(passing);
        }
        result
    }

    /// Writes frames of this end.
    #[inline]
    pub(super) fn encoder(&self) -> Encoder<'_> {
        let inside = self.inside.as_ref();
        let key = inside.and_then(|inside| inside.kept.key.as_ref());
        Encoder::new(self.wire.sent_by(self.role.side(), key))
    }

    /// Writes a whole message in one frame, where nothing about that is unusual.
    /// Whether it was written.
    #[inline(always)]
    pub(super) fn send_simple(&self, message: Message<'_>, out: &mut Output<'_>) -> bool {
        let way = (self.wire, self.role.side());
        let may_send = !self.close_sent && self.inside.is_none();
        may_send && Encoder::simple_message(way, (message.kind(), message.payload()), out)
    }

    /// The order of what was sent.
    #[inline(always)]
    pub(super) fn sender(&self) -> Sender {
        match &self.inside {
            Some(inside) => inside.sender,
            None => Sender::default(),
        }
    }

    /// Notes what was sent.
    pub(super) fn set_sender(&mut self, sender: Sender) {
        match &mut self.inside {
            Some(inside) => {
                inside.sender = sender;
                self.tidy();
            }
            None => self.keep(Inside {
                sender,
                ..Inside::default()
            }),
        }
    }

    /// Keeps what is needed later.
    #[inline]
    fn keep(&mut self, inside: Inside) {
        if !inside.is_idle() {
            self.inside = Some(Box::new(inside));
        }
    }

    /// Gives up what is not needed later.
    #[inline]
    fn tidy(&mut self) {
        if self.inside.as_ref().is_some_and(|inside| inside.is_idle()) {
            self.inside = None;
        }
    }

    /// The octets of payload that are still to come of the current frame.
    pub(super) fn payload_to_come(&self) -> u64 {
        let inside = self.inside.as_ref();
        let inside = inside.filter(|inside| !inside.deflating.is_in_frame());
        inside.map_or(0, |inside| inside.decoder.payload_to_come())
    }

    /// Whether the header of a message has arrived, and not its end.
    #[cfg(feature = "net")]
    pub(super) fn is_inside_message(&self) -> bool {
        let inside = self.inside.as_ref();
        inside.is_some_and(|inside| inside.receiver.is_inside_message())
    }

    /// Whether a text without a length is arriving.
    pub(super) fn is_in_text_without_length(&self) -> bool {
        let inside = self.inside.as_ref();
        inside.is_some_and(|inside| inside.decoder.is_in_text_without_length())
    }

    /// Whether nothing of a frame has arrived that is not finished.
    pub(super) fn is_between_frames(&self) -> bool {
        let inside = self.inside.as_ref();
        inside.is_none_or(|inside| inside.decoder.is_between_frames())
    }

    pub(super) fn send_control(&self, control: Control, payload: &[u8], out: &mut Output<'_>) {
        if self.wire.can_send() && !self.sender().is_inside_frame() {
            self.encoder().control(control, payload, out);
        }
    }

    /// The next piece of a message, or control frame.
    #[inline(always)]
    pub(super) fn receive<'b, const HIXIE: bool, T: Trace>(
        &mut self,
        limit: u64,
        input: &mut Input<'b>,
        trace: &mut T,
    ) -> Result<Option<Received<'b>>, Located<Violation>> {
        if self.inside.is_none() && input.rest().is_empty() {
            return Ok(None);
        }
        let way = (self.wire, self.role);
        // A message that lies whole in the input leaves nothing to keep.
        self.with_inside(|inside| inside.receive::<HIXIE, T>(way, limit, input, trace))
    }

    /// The same, where compression was agreed on; `None` where more input is
    /// needed, or more room.
    pub(super) fn receive_deflated<'b, T: Trace>(
        &mut self,
        deflate: Deflate,
        limit: u64,
        input: &mut Input<'b>,
        out: &mut Output<'_>,
        trace: &mut T,
    ) -> Result<Option<Received<'b>>, Located<Violation>> {
        let way = (
            self.wire.sent_by(self.role.side().peer(), None),
            self.wire.version(),
            self.role,
        );
        self.with_inside(|inside| inside.receive_deflated(deflate, way, limit, (input, out), trace))
    }

    /// A message that lies whole in the input, in one frame; `limit` is the most
    /// octets that it may have. `None` where it does not, and where anything about
    /// it is unusual: the input is as it was then, and [`Decoder::next`] reads it.
    #[inline(always)]
    pub(super) fn next_whole<'b>(
        &self,
        limit: u64,
        input: &mut Input<'b>,
    ) -> Option<(Kind, &'b mut [u8])> {
        let is_inside = |inside: &Inside| !inside.is_between_received();
        if self.start != Start::Frames || self.inside.as_deref().is_some_and(is_inside) {
            return None;
        }
        let from = self.role.side().peer();
        let frame = Decoder::find_whole(self.wire, from, input.rest())?;
        if frame.payload as u64 > limit {
            return None;
        }
        let payload = frame.payload_in(input.rest_mut());
        let is_ascii = frame.unmask(payload);
        if frame.kind == Kind::Text && !is_ascii && from_utf8(payload).is_err() {
            // What is wrong, or what to put in its place, is found on the long way.
            frame.unmask(payload);
            return None;
        }
        let octets = input.take(frame.len());
        Some((frame.kind, frame.payload_in(octets)))
    }

    /// Takes the white space between the handshake of hixie-76, or hybi-03, and
    /// the first frame.
    pub(super) fn skip_stray<'b, T: Trace>(
        &mut self,
        input: &mut Input<'b>,
        trace: &mut T,
    ) -> Option<&'b [u8]> {
        let n = frame::stray(input.rest());
        if n == 0 {
            return None;
        }
        SpanWriter::new(trace, input.position()).octets(n, Field::Stray, 0);
        Some(input.take(n))
    }

    /// Finds the layout of the frames by their first octet; `false` where it has
    /// not arrived.
    pub(super) fn settle_layout(&mut self, input: &Input<'_>) -> bool {
        let settled = !input.rest().is_empty() && self.wire.settle_layout(input.rest());
        if settled {
            self.start = Start::Frames;
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::conn::{Conn, State};
    use crate::version::{Side, Version};

    fn holds_more(conn: &Conn) -> bool {
        matches!(&conn.state, State::Open(open) if open.inside.is_some())
    }

    fn receive(conn: &mut Conn, octets: &[u8], out: &mut Output<'_>) {
        let mut octets = octets.to_vec();
        let mut input = Input::new(&mut octets);
        while conn.next(&mut input, out).expect("good frames").is_some() {}
    }

    #[test]
    fn only_a_message_in_pieces_takes_more() {
        let version = Version::named("rfc6455").expect("a version");
        let opened = Conn::opened(Side::Client, version, Default::default());
        let mut conn = opened.expect("no key");
        let (mut sent, mut zeros) = (Vec::new(), |key: &mut [u8]| key.fill(0));
        let mut out = Output::new(&mut sent, &mut zeros);

        // Whole ones of every kind, and the first of two fragments.
        receive(&mut conn, b"\x81\x01a\x89\x01b\x82\x00", &mut out);
        assert!(!holds_more(&conn));
        receive(&mut conn, b"\x01\x01a", &mut out);
        assert!(holds_more(&conn));
        receive(&mut conn, b"\x80\x01", &mut out);
        assert!(holds_more(&conn));
        receive(&mut conn, b"b", &mut out);
        assert!(!holds_more(&conn));

        let mut piece = |first, last, conn: &mut Conn| {
            let piece = conn.send_piece(Kind::Text, b"a", first, last, &mut out);
            assert_eq!(piece, Ok(()));
        };
        piece(true, true, &mut conn);
        assert!(!holds_more(&conn));
        piece(true, false, &mut conn);
        assert!(holds_more(&conn));
        piece(false, true, &mut conn);
        assert!(!holds_more(&conn));
    }
}
