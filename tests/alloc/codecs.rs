//! What compression holds: a fixed number of octets, whatever passes through.

use heirloom::extension::{Codecs, Deflater, Inflater, Level};

use crate::{allocations, octets};

const ROOM: usize = 64 * 1024;

pub(crate) fn codecs_hold_what_they_say() {
    let mut codecs = Codecs::default();
    let before = octets();
    let mut inflater = codecs.inflater();
    let held = octets() - before;
    assert!(Inflater::OCTETS.abs_diff(held) < 100, "{held}");
    let mut out = Vec::with_capacity(3 << 20);
    let mut room = vec![0; ROOM];
    let before = octets();
    let deflater = codecs.deflater(Level::Default, 15);
    assert_eq!(octets() - before, Deflater::OCTETS);
    codecs.give_back_deflater(deflater);
    for window in 9..=15 {
        let mut deflater = codecs.deflater(Level::Default, window);
        let before = (octets(), allocations());
        for level in [Level::Best, Level::Fast, Level::Default, Level::Default] {
            deflater.message(&[b'x'; 100_000], &mut out);
            let inflated = inflate(&mut inflater, &out, &mut room);
            assert_eq!(inflated, 100_000);
            out.clear();
            inflater.reset();
            codecs.give_back_deflater(deflater);
            deflater = codecs.deflater(level, window);
        }
        codecs.give_back_deflater(deflater);
        codecs.give_back(inflater);
        inflater = codecs.inflater();
        assert_eq!((octets(), allocations()), before, "window {window}");
    }
    // A bomb: 64 MiB of zeros.
    let mut deflater = codecs.deflater(Level::Best, 15);
    let zeros = vec![0; 1 << 20];
    for _ in 0..63 {
        deflater.part(&zeros, &mut out);
    }
    deflater.finish(&zeros, &mut out);
    assert!(out.len() < 100_000, "{} octets", out.len());
    let before = (octets(), allocations());
    assert_eq!(inflate(&mut inflater, &out, &mut room), 64 << 20);
    assert_eq!((octets(), allocations()), before);
}

fn inflate(inflater: &mut Inflater, mut octets: &[u8], room: &mut [u8]) -> usize {
    let mut inflated = 0;
    loop {
        let done = inflater.inflate(octets, room).unwrap();
        inflated += done.written;
        octets = &octets[done.consumed..];
        if !done.room_is_full {
            break;
        }
    }
    loop {
        let done = inflater.finish(room).unwrap();
        inflated += done.written;
        if done.is_finished {
            return inflated;
        }
    }
}
