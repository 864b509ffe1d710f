//! The links of a worker, by slot.

use super::link::Link;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("a token holds a slot and its generation, 32 bits each");

/// A generation leaves the bit of [`ATTEMPT`](super::dialling::ATTEMPT) free.
const GENERATIONS: u32 = 1 << 31;

/// The links of a worker. A token is a slot and its generation, so that a late
/// event never meets a link that came after.
pub(super) struct Slots<G> {
    slots: Vec<Slot<G>>,
    free: Vec<u32>,
    pub(super) live: usize,
}

struct Slot<G> {
    generation: u32,
    link: Option<Box<Link<G>>>,
}

impl<G> Default for Slots<G> {
    fn default() -> Slots<G> {
        Slots {
            slots: Vec::new(),
            free: Vec::new(),
            live: 0,
        }
    }
}

impl<G> Slots<G> {
    pub(super) fn put(&mut self, link: Box<Link<G>>) -> usize {
        self.live += 1;
        if let Some(free) = self.free.pop() {
            if let Some(slot) = self.slots.get_mut(free as usize) {
                slot.link = Some(link);
                return token(free, slot.generation);
            }
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(Slot {
            generation: 1,
            link: Some(link),
        });
        token(index, 1)
    }

    pub(super) fn get(&mut self, token: usize) -> Option<&mut Option<Box<Link<G>>>> {
        let (index, generation) = parts(token);
        let slot = self.slots.get_mut(index as usize)?;
        (slot.generation == generation).then_some(&mut slot.link)
    }

    /// A link, to look at it.
    pub(super) fn peek(&self, token: usize) -> Option<&Link<G>> {
        let (index, generation) = parts(token);
        let slot = self.slots.get(index as usize)?;
        slot.link
            .as_deref()
            .filter(|_| slot.generation == generation)
    }

    pub(super) fn drop(&mut self, token: usize) {
        let (index, generation) = parts(token);
        let slot = self.slots.get_mut(index as usize);
        if let Some(slot) = slot.filter(|s| s.generation == generation) {
            // 0 would make a token that is no link's.
            slot.generation = (slot.generation + 1) % GENERATIONS;
            slot.generation = slot.generation.max(1);
            slot.link = None;
            self.free.push(index);
            self.live -= 1;
        }
    }

    pub(super) fn links(&self) -> impl Iterator<Item = &Link<G>> {
        self.slots.iter().filter_map(|slot| slot.link.as_deref())
    }

    pub(super) fn tokens_and_links(&self) -> impl Iterator<Item = (usize, &Link<G>)> {
        (0u32..)
            .zip(&self.slots)
            .filter_map(|(i, slot)| Some((token(i, slot.generation), slot.link.as_deref()?)))
    }

    pub(super) fn tokens(&self) -> Vec<usize> {
        (0u32..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.link.is_some())
            .map(|(i, slot)| token(i, slot.generation))
            .collect()
    }
}

fn token(index: u32, generation: u32) -> usize {
    (generation as usize) << 32 | index as usize
}

#[allow(clippy::cast_possible_truncation)] // the two halves
fn parts(token: usize) -> (u32, u32) {
    (token as u32, (token >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::conn::Conn;
    use crate::net::transport::Transport;

    #[test]
    fn a_token_never_meets_a_link_that_came_after() {
        let mut slots: Slots<()> = Slots::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let link = || {
            let stream = std::net::TcpStream::connect(address).expect("loopback");
            Box::new(Link::new(
                Transport::from_std(stream).expect("options"),
                Conn::server(Arc::default()),
                0,
            ))
        };
        let first = slots.put(link());
        slots.drop(first);
        let second = slots.put(link());
        assert_ne!(first, second);
        assert!(slots.get(first).is_none());
        assert!(slots.get(second).is_some());
    }
}
