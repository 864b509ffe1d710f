//! Topics: what one connection publishes, all other subscribers of the topic
//! receive, in whatever version each of them has.
//!
//! What is published in one turn of the loop is kept once as text, and framed
//! once for each layout that a subscriber has. All subscribers of all workers
//! share these frames, those too that published some of it and get the parts
//! between: neither the number of messages nor that of subscribers multiplies
//! memory.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::backlog::{Part, Shared};
use super::budget::{Budget, Charge};
use super::link_id::LinkId;
use crate::extension::Codecs;
use crate::frame::{Encoder, Framing, Kind, Shape};
use crate::version::Layout;

/// Octets that are published together, as a rule.
const MANY: usize = 1024 * 1024;
/// A subscriber that has published some of a batch of this size, and is not sent
/// all of it, gets a copy of the rest: one write costs less than many.
const SMALL: usize = 16 * 1024;
/// Octets that one turn of the loop deflates of what is published, in all topics. The
/// rest goes plain: others wait no longer than that.
pub(super) const DEFLATED: usize = 256 * 1024;
/// Octets, and texts, that are joined while they wait for a worker.
const JOINED_OCTETS: usize = 16 * 1024;
const JOINED_TEXTS: usize = 1024;

/// The topics of one worker: their subscribers here, and what was published in
/// this turn of the loop.
#[derive(Debug, Default)]
pub(super) struct Topics {
    topics: HashMap<Arc<str>, Topic>,
    /// The topics of each connection that has any.
    subscriptions: HashMap<LinkId, Vec<Subscription>>,
    /// How many subscriptions there were so far.
    subscribed: u64,
    /// Topics in which something was published in this turn of the loop.
    published: Vec<Arc<str>>,
    /// Octets that were published in this turn of the loop.
    octets: usize,
    /// Which turn of a connection this is.
    turn: u64,
}

/// A topic that a connection receives.
#[derive(Debug)]
struct Subscription {
    topic: Arc<str>,
    /// Its place among the topic's subscribers.
    number: u64,
}

#[derive(Debug, Default)]
struct Topic {
    /// In the order in which they came. A subscriber that leaves is found by its
    /// number: no search, however many there are.
    subscribers: BTreeMap<u64, LinkId>,
    texts: Texts,
    /// The turn of a connection in which something was published last, and how
    /// much there was before it.
    before_turn: (u64, Mark),
}

/// Texts in the order in which they were published.
#[derive(Debug, Default)]
struct Texts {
    octets: String,
    /// The octets of each text.
    lengths: Vec<usize>,
    runs: Vec<Run>,
}

/// Texts of one publisher without another one in between.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// The connection; `None` where they were published from outside.
    from: Option<LinkId>,
    /// How many texts there are up to the end of this run.
    end: usize,
}

/// How much [`Texts`] hold.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    octets: usize,
    texts: usize,
    runs: usize,
}

impl Texts {
    fn push(&mut self, from: Option<LinkId>, text: &str) {
        self.octets.push_str(text);
        self.lengths.push(text.len());
        let end = self.lengths.len();
        match self.runs.last_mut() {
            Some(run) if run.from == from => run.end = end,
            _ => self.runs.push(Run { from, end }),
        }
    }

    fn mark(&self) -> Mark {
        Mark {
            octets: self.octets.len(),
            texts: self.lengths.len(),
            runs: self.runs.len(),
        }
    }

    fn truncate(&mut self, mark: Mark) {
        self.octets.truncate(mark.octets);
        self.lengths.truncate(mark.texts);
        self.runs.truncate(mark.runs);
        // The last run may have grown since.
        if let Some(run) = self.runs.last_mut() {
            run.end = mark.texts;
        }
    }
}

impl Topics {
    /// From now on this connection receives what others publish in this topic.
    pub(super) fn subscribe(&mut self, link: LinkId, topic: &str) {
        let subscriptions = self.subscriptions.entry(link).or_default();
        if subscriptions.iter().any(|one| *one.topic == *topic) {
            return;
        }
        let name: Arc<str> = match self.topics.get_key_value(topic) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(topic),
        };
        let number = self.subscribed;
        self.subscribed += 1;
        subscriptions.push(Subscription {
            topic: Arc::clone(&name),
            number,
        });
        let topic = self.topics.entry(name).or_default();
        topic.subscribers.insert(number, link);
    }

    /// This connection receives nothing more of this topic.
    pub(super) fn unsubscribe(&mut self, link: LinkId, topic: &str) {
        let Some(subscriptions) = self.subscriptions.get_mut(&link) else {
            return;
        };
        let Some(at) = subscriptions.iter().position(|one| *one.topic == *topic) else {
            return;
        };
        let subscription = subscriptions.remove(at);
        if subscriptions.is_empty() {
            self.subscriptions.remove(&link);
        }
        self.remove_subscriber(&subscription);
    }

    /// A connection is gone.
    #[inline]
    pub(super) fn remove_link(&mut self, link: LinkId) {
        // Nothing is hashed where no connection has a topic.
        if !self.subscriptions.is_empty() {
            self.remove_subscriptions(link);
        }
    }

    #[inline(never)]
    fn remove_subscriptions(&mut self, link: LinkId) {
        for subscription in self.subscriptions.remove(&link).unwrap_or_default() {
            self.remove_subscriber(&subscription);
        }
    }

    fn remove_subscriber(&mut self, subscription: &Subscription) {
        if let Some(topic) = self.topics.get_mut(&subscription.topic) {
            topic.subscribers.remove(&subscription.number);
            self.remove_if_unused(&subscription.topic);
        }
    }

    fn remove_if_unused(&mut self, name: &str) {
        let unused = |topic: &Topic| topic.subscribers.is_empty() && topic.texts.runs.is_empty();
        if self.topics.get(name).is_some_and(unused) {
            self.topics.remove(name);
        }
    }

    /// The subscribers that this worker has.
    pub(super) fn subscribers(&self, topic: &str) -> Vec<LinkId> {
        let topic = self.topics.get(topic);
        topic.map_or_else(Vec::new, |topic| {
            topic.subscribers.values().copied().collect()
        })
    }

    /// A connection publishes a text for all other subscribers.
    pub(super) fn publish(&mut self, from: LinkId, name: &str, text: &str) {
        if !self.topics.contains_key(name) {
            self.topics.insert(Arc::from(name), Topic::default());
        }
        let key = self
            .topics
            .get_key_value(name)
            .map(|(key, _)| Arc::clone(key));
        let (Some(key), Some(topic)) = (key, self.topics.get_mut(name)) else {
            unreachable!("it was inserted");
        };
        if topic.texts.runs.is_empty() {
            self.published.push(key);
        }
        let (turn, _) = topic.before_turn;
        if turn != self.turn {
            topic.before_turn = (self.turn, topic.texts.mark());
        }
        topic.texts.push(Some(from), text);
        self.octets += text.len();
    }

    /// Whether something was published in this turn of the loop.
    #[inline]
    pub(super) fn are_some(&self) -> bool {
        !self.published.is_empty()
    }

    /// Whether so much was published in this turn of the loop that it is to be
    /// sent at once.
    #[inline]
    pub(super) fn are_many(&self) -> bool {
        self.octets > MANY
    }

    /// The turn of a connection starts.
    pub(super) fn start_turn(&mut self) {
        self.turn += 1;
    }

    /// Takes back what was published in this turn of a connection.
    pub(super) fn discard_turn(&mut self) {
        for name in &self.published {
            if let Some(topic) = self.topics.get_mut(name) {
                let (turn, before) = topic.before_turn;
                if turn == self.turn {
                    topic.texts.truncate(before);
                }
            }
        }
    }

    /// All that was published in this turn of the loop, by topic.
    pub(super) fn take(&mut self, budget: &Arc<Budget>) -> Vec<Batch> {
        let mut batches = Vec::new();
        self.octets = 0;
        for name in std::mem::take(&mut self.published) {
            if let Some(topic) = self.topics.get_mut(&name) {
                topic.before_turn = Default::default();
                let texts = std::mem::take(&mut topic.texts);
                self.remove_if_unused(&name);
                if !texts.runs.is_empty() {
                    let charge = budget.charge(texts.octets.capacity());
                    batches.push(Batch::new(name, texts, Some(charge)));
                }
            }
        }
        batches
    }
}

/// Texts that were published in one topic, for all its subscribers in all
/// workers.
#[derive(Clone, Debug)]
pub(super) struct Batch(Arc<Published>);

#[derive(Debug)]
struct Published {
    topic: Arc<str>,
    texts: Texts,
    /// The publisher of each run with the number of the run, in order, so that no
    /// subscriber is compared with every publisher.
    runs_by_publisher: Vec<(LinkId, usize)>,
    /// The frames of each shape, made for its first subscriber.
    frames: [OnceLock<Frames>; 6],
    _charge: Option<Charge>,
}

/// What frames are made with.
#[derive(Debug)]
pub(super) struct Making<'m> {
    pub(super) budget: &'m Arc<Budget>,
    /// What was begun is finished, whatever a connection's turn may still deflate.
    pub(super) codecs: &'m mut Codecs,
    /// What may still be deflated in this turn of the loop.
    pub(super) to_deflate: &'m mut usize,
}

/// All texts, as a server sends them in one shape.
#[derive(Debug)]
struct Frames {
    octets: Arc<Shared>,
    /// Where each run ends.
    ends: Vec<usize>,
}

impl Frames {
    fn of(texts: &Texts, shape: Shape, making: &mut Making<'_>) -> Frames {
        let most = texts.octets.len() + texts.lengths.len() * Framing::MAX_HEADER;
        let (mut octets, mut ends) = (Vec::with_capacity(most), Vec::new());
        let (mut rest, mut start) = (texts.octets.as_bytes(), 0);
        let mut lengths = texts.lengths.iter();
        let before = *making.to_deflate;
        for run in &texts.runs {
            for length in lengths.by_ref().take(run.end - start) {
                let (text, behind) = rest.split_at(*length);
                let shape = shape_of(text, shape, making.to_deflate);
                Encoder::server_frame(shape, Kind::Text, text, making.codecs, &mut octets);
                rest = behind;
            }
            start = run.end;
            ends.push(octets.len());
        }
        making.codecs.count_deflated(before - *making.to_deflate);
        Frames {
            octets: Shared::new(octets, making.budget),
            ends,
        }
    }

    /// Where the first `n` runs end.
    fn end_of_runs(&self, n: usize) -> usize {
        let last = n.checked_sub(1).and_then(|last| self.ends.get(last));
        last.copied().unwrap_or(0)
    }

    /// Where run number `n` lies.
    fn run(&self, n: usize) -> Range<usize> {
        self.end_of_runs(n)..self.end_of_runs(n + 1)
    }
}

/// The shape that a text goes in, where so much may still be deflated.
fn shape_of(text: &[u8], shape: Shape, to_deflate: &mut usize) -> Shape {
    let Shape::Deflated(compression) = shape else {
        return shape;
    };
    if text.len() < compression.threshold {
        return shape;
    }
    match to_deflate.checked_sub(compression.cost_of(text.len())) {
        Some(left) => {
            *to_deflate = left;
            shape
        }
        None => Shape::Plain(Layout::Hybi07),
    }
}

/// The frames for one subscriber.
#[derive(Debug)]
pub(super) enum FramesFor {
    /// All that was published.
    All(Part),
    /// Parts of what all share.
    Parts(Vec<Part>),
    /// Few octets, which were copied to the output.
    Copied,
}

impl Batch {
    fn new(topic: Arc<str>, texts: Texts, charge: Option<Charge>) -> Batch {
        let runs = texts.runs.iter().enumerate();
        let by_publisher = runs.filter_map(|(number, run)| Some((run.from?, number)));
        let mut runs_by_publisher: Vec<_> = by_publisher.collect();
        runs_by_publisher.sort_unstable();
        Batch(Arc::new(Published {
            topic,
            texts,
            runs_by_publisher,
            frames: Default::default(),
            _charge: charge,
        }))
    }

    /// Where it was published.
    pub(super) fn topic(&self) -> &str {
        &self.0.topic
    }

    /// The texts, in order.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let Texts {
            octets, lengths, ..
        } = &self.0.texts;
        let mut start = 0;
        lengths.iter().map(move |length| {
            let at = start..start + length;
            start = at.end;
            octets.get(at).unwrap_or_default()
        })
    }

    /// The octets of the texts, and how many texts there are.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.0.texts.octets.len(), self.0.texts.lengths.len())
    }

    /// The connections that published some of it.
    pub(super) fn publishers(&self) -> impl Iterator<Item = LinkId> {
        self.0.texts.runs.iter().filter_map(|run| run.from)
    }

    /// The runs that a connection published, in order.
    #[inline]
    fn runs_of(&self, publisher: LinkId) -> &[(LinkId, usize)] {
        let all = &*self.0.runs_by_publisher;
        let (_, from) = all.split_at(all.partition_point(|(link, _)| *link < publisher));
        let (own, _) = from.split_at(from.partition_point(|(link, _)| *link == publisher));
        own
    }

    /// Whether a connection published some of it.
    #[inline]
    pub(super) fn is_from(&self, subscriber: LinkId) -> bool {
        !self.runs_of(subscriber).is_empty()
    }

    /// The frames for all subscribers with this shape that published nothing.
    #[inline]
    pub(super) fn all_frames(&self, shape: Shape, making: &mut Making<'_>) -> &Arc<Shared> {
        &self.frames(shape, making).octets
    }

    /// The frames for a subscriber with this shape: all but its own texts, in
    /// order. Few of them are copied to its output.
    pub(super) fn frames_for(
        &self,
        shape: Shape,
        subscriber: LinkId,
        out: &mut Vec<u8>,
        making: &mut Making<'_>,
    ) -> FramesFor {
        let frames = self.frames(shape, making);
        let all = frames.end_of_runs(self.0.texts.runs.len());
        let part = |at: Range<usize>| Part::new(&frames.octets, at);
        let own = self.runs_of(subscriber);
        if own.is_empty() {
            return FramesFor::All(part(0..all));
        }
        let own = own.iter().map(|(_, run)| frames.run(*run));
        let mut start = 0;
        let parts = own.chain(std::iter::once(all..all)).filter_map(|own| {
            let before = start..own.start;
            start = own.end;
            (!before.is_empty()).then(|| part(before))
        });
        if all <= SMALL {
            for part in parts {
                out.extend_from_slice(part.octets());
            }
            return FramesFor::Copied;
        }
        FramesFor::Parts(parts.collect())
    }

    #[inline]
    fn frames(&self, shape: Shape, making: &mut Making<'_>) -> &Frames {
        let [hixie75, hybi01, hybi04, hybi05, hybi07, deflated] = &self.0.frames;
        let frames = match shape {
            Shape::Plain(Layout::Hixie75) => hixie75,
            Shape::Plain(Layout::Hybi01) => hybi01,
            Shape::Plain(Layout::Hybi04) => hybi04,
            Shape::Plain(Layout::Hybi05) => hybi05,
            Shape::Plain(Layout::Hybi07) => hybi07,
            Shape::Deflated(_) => deflated,
        };
        frames.get_or_init(|| Frames::of(&self.0.texts, shape, making))
    }
}

/// Texts that are published from outside of all connections, while they wait for
/// a worker: those of one topic that come before it looks become one batch.
#[derive(Debug)]
pub(super) struct OutsideTexts {
    topic: Arc<str>,
    texts: Texts,
}

impl OutsideTexts {
    /// One text.
    pub(super) fn new(topic: &str, text: &str) -> OutsideTexts {
        let mut texts = Texts::default();
        texts.push(None, text);
        let topic = Arc::from(topic);
        OutsideTexts { topic, texts }
    }

    /// Adds a text behind these, if it is of this topic and there is room.
    pub(super) fn add(&mut self, topic: &str, text: &str) -> bool {
        let Mark { octets, texts, .. } = self.texts.mark();
        let fits = octets + text.len() <= JOINED_OCTETS && texts < JOINED_TEXTS;
        let joins = fits && *self.topic == *topic;
        if joins {
            self.texts.push(None, text);
        }
        joins
    }

    /// All of them.
    pub(super) fn into_batch(self, budget: &Arc<Budget>) -> Batch {
        let charge = budget.charge(self.texts.octets.capacity());
        Batch::new(self.topic, self.texts, Some(charge))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extension::Compression;
    use crate::version::Version;

    fn link(token: usize) -> LinkId {
        LinkId { worker: 0, token }
    }

    fn frames(batch: &Batch, name: &str, subscriber: usize) -> Vec<u8> {
        let version = Version::named(name).expect("a version");
        let mut out = Vec::new();
        let mut making = Making {
            budget: &budget(),
            codecs: &mut Codecs::default(),
            to_deflate: &mut { DEFLATED },
        };
        let shape = Shape::Plain(version.layout);
        match batch.frames_for(shape, link(subscriber), &mut out, &mut making) {
            FramesFor::Copied => {}
            FramesFor::All(part) => out.extend_from_slice(part.octets()),
            FramesFor::Parts(parts) => out.extend(parts.iter().flat_map(|p| p.octets())),
        }
        out
    }

    fn budget() -> Arc<Budget> {
        Arc::new(Budget::new(1))
    }

    /// What was published in the only topic.
    fn take(topics: &mut Topics) -> Batch {
        let mut batches = topics.take(&budget());
        assert_eq!(batches.len(), 1);
        batches.remove(0)
    }

    #[test]
    fn each_receives_the_texts_of_the_others_in_its_own_version() {
        let mut topics = Topics::default();
        topics.publish(link(1), "t", "a");
        topics.publish(link(1), "t", "b");
        topics.publish(link(2), "t", "c");
        let batch = take(&mut topics);
        assert_eq!(batch.topic(), "t");
        assert_eq!(frames(&batch, "hixie-76", 3), b"\0a\xff\0b\xff\0c\xff");
        assert_eq!(frames(&batch, "hixie-75", 1), b"\0c\xff");
        assert_eq!(frames(&batch, "rfc6455", 2), b"\x81\x01a\x81\x01b");
        assert_eq!(frames(&batch, "hybi-03", 1), b"\x04\x01c");
        assert_eq!(frames(&batch, "hybi-06", 1), b"\x84\x01c");
        assert!(topics.take(&budget()).is_empty());
    }

    #[test]
    fn texts_from_outside_are_joined_in_their_order_up_to_a_bound() {
        let mut texts = OutsideTexts::new("t", "a");
        assert!(texts.add("t", ""));
        assert!(texts.add("t", "grüße"));
        assert!(!texts.add("other", "b"));
        assert!(
            !texts.add("t", &"x".repeat(JOINED_OCTETS)),
            "it is too long"
        );
        let batch = texts.into_batch(&budget());
        assert_eq!(batch.texts().collect::<Vec<_>>(), ["a", "", "grüße"]);
        assert_eq!(batch.size(), (8, 3));
        let all = b"\0a\xff\0\xff\0gr\xc3\xbc\xc3\x9fe\xff";
        assert_eq!(frames(&batch, "hixie-76", 1), all);
        let mut texts = OutsideTexts::new("t", "");
        let joined = (0..).take_while(|_| texts.add("t", "")).count();
        assert_eq!(joined + 1, JOINED_TEXTS);
    }

    #[test]
    fn of_all_batches_not_more_is_deflated_than_others_wait_for() {
        let (budget, mut topics) = (budget(), Topics::default());
        let short = "compression ".repeat(10);
        let long = "x".repeat(DEFLATED);
        for topic in ["a", "b", "c"] {
            for text in std::iter::once(&long).chain(std::iter::repeat_n(&short, 300)) {
                topics.publish(link(0), topic, text);
            }
        }
        let compression = Compression::default();
        let deflated = DEFLATED / compression.cost_of(short.len());
        let counted = deflated * compression.cost_of(short.len());
        let (mut codecs, mut to_deflate) = (Codecs::default(), DEFLATED);
        // As much, and an octet more.
        codecs.limit_deflating(counted + 1);
        let mut making = Making {
            budget: &budget,
            codecs: &mut codecs,
            to_deflate: &mut to_deflate,
        };
        // The long ones and most of the short ones are plain.
        let mut plain = 0;
        for batch in topics.take(&budget) {
            let frames = batch.all_frames(Shape::Deflated(compression), &mut making);
            let all = frames.octets().windows(short.len());
            plain += all.filter(|octets| *octets == short.as_bytes()).count();
        }
        assert_eq!(plain, 900 - deflated);
        assert_eq!(to_deflate, DEFLATED - counted);
        assert!(codecs.may_deflate());
        codecs.count_deflated(1);
        assert!(!codecs.may_deflate());
    }

    #[test]
    fn all_subscribers_of_a_layout_share_its_frames_and_those_that_publish_too() {
        let (budget, mut topics) = (budget(), Topics::default());
        let text = "x".repeat(60_000);
        for token in 0..50 {
            topics.publish(link(token), "t", &text);
        }
        let mut batches = topics.take(&budget);
        let batch = batches.remove(0);
        let mut making = Making {
            budget: &budget,
            codecs: &mut Codecs::default(),
            to_deflate: &mut { DEFLATED },
        };
        let mut all = Vec::new();
        for token in 0..100 {
            for layout in [Layout::Hybi07, Layout::Hixie75] {
                let (shape, mut out) = (Shape::Plain(layout), Vec::new());
                all.push(batch.frames_for(shape, link(token), &mut out, &mut making));
                assert!(out.is_empty(), "it is copied");
            }
        }
        let octets = |frames: &FramesFor| match frames {
            FramesFor::Parts(parts) => parts.iter().map(|p| p.octets().len()).sum::<usize>(),
            FramesFor::All(part) => part.octets().len(),
            FramesFor::Copied => 0,
        };
        let lengths: Vec<usize> = all.iter().map(octets).collect();
        let (of_speaker, of_listener) = (lengths.first(), lengths.get(100));
        let own = of_listener
            .zip(of_speaker)
            .map(|(all, others)| all - others);
        assert_eq!(own, Some(60_000 + 4));
        // The texts once, and the frames of two layouts.
        drop(batch);
        let once = 50 * text.len();
        assert!(budget.held() < 3 * once, "{} octets", budget.held());
        drop(all);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn what_is_taken_back_is_not_published() {
        let mut topics = Topics::default();
        topics.start_turn();
        topics.publish(link(1), "t", "a");
        topics.start_turn();
        topics.publish(link(1), "t", "more");
        topics.publish(link(2), "t", "b");
        topics.publish(link(2), "other", "b");
        topics.discard_turn();
        assert_eq!(frames(&take(&mut topics), "rfc6455", 3), b"\x81\x01a");
        topics.start_turn();
        topics.publish(link(2), "t", "c");
        assert_eq!(frames(&take(&mut topics), "rfc6455", 3), b"\x81\x01c");
    }

    #[test]
    fn a_subscriber_has_the_topics_that_it_asked_for_and_no_topic_stays() {
        let mut topics = Topics::default();
        for topic in ["a", "b", "a"] {
            topics.subscribe(link(1), topic);
        }
        topics.subscribe(link(2), "a");
        assert_eq!(topics.subscribers("a"), [link(1), link(2)]);
        topics.unsubscribe(link(1), "b");
        assert_eq!(topics.subscribers("b"), []);
        topics.remove_link(link(1));
        assert_eq!(topics.subscribers("a"), [link(2)]);
        topics.unsubscribe(link(2), "a");
        topics.publish(link(2), "nobody is there", "text");
        take(&mut topics);
        assert!(topics.topics.is_empty() && topics.subscriptions.is_empty());
    }
}
