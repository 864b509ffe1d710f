//! Messages as applications send them: records of JSON, and prose.

use std::fmt::Write as _;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    Json,
    Prose,
}

/// What the project's own pages say, in sentences.
const PAGES: [&str; 8] = [
    include_str!("../../docs/deployment.md"),
    include_str!("../../docs/architecture.md"),
    include_str!("../../docs/vectors.md"),
    include_str!("../../docs/interop.md"),
    include_str!("../../LICENSE-APACHE"),
    include_str!("../../README.md"),
    include_str!("../../docs/explain.md"),
    include_str!("../../docs/style.md"),
];

/// Texts of this many octets, all different, all ASCII.
pub(crate) fn messages(text: Text, size: usize, count: usize) -> Vec<Vec<u8>> {
    match text {
        Text::Json => {
            let mut random = Random(0x9e37_79b9_7f4a_7c15);
            (0..count).map(|_| json(size, &mut random)).collect()
        }
        Text::Prose => {
            let prose = prose();
            // A step that shares no divisor with most lengths, so that few messages start alike.
            let starts = (0..count).map(|at| at * size.max(997) % prose.len());
            starts
                .map(|start| {
                    let octets = prose.iter().cycle().skip(start);
                    octets.take(size).copied().collect()
                })
                .collect()
        }
    }
}

/// Paragraphs without tables and code.
fn prose() -> Vec<u8> {
    let lines = PAGES.iter().flat_map(|page| page.lines());
    let mut prose = String::new();
    for line in lines.map(str::trim) {
        if line.len() > 40 && !line.starts_with(['|', '<', '{', '`']) {
            prose.extend(line.chars().filter(char::is_ascii));
            prose.push(' ');
        }
    }
    prose.into_bytes()
}

/// Records of a trade, a user, or a sensor, as far as there is room.
fn json(size: usize, random: &mut Random) -> Vec<u8> {
    const NAMES: [&str; 8] = [
        "anna", "bert", "carla", "dmitri", "emre", "fatima", "george", "hana",
    ];
    const STATES: [&str; 4] = ["open", "pending", "closed", "cancelled"];
    let mut out = String::from("[");
    while out.len() < size {
        let id = random.below(1_000_000);
        let (name, state) = (NAMES[random.below(8)], STATES[random.below(4)]);
        let (price, cents, amount) = (random.below(5000), random.below(100), random.below(500));
        let (minute, second, part) = (random.below(60), random.below(60), random.below(1000));
        let written = write!(
            out,
            "{{\"id\":{id},\"user\":\"{name}\",\"state\":\"{state}\",\"price\":{price}.{cents:02},\
             \"amount\":{amount},\"time\":\"2024-05-17T10:{minute:02}:{second:02}.{part:03}Z\"}},"
        );
        written.unwrap_or_else(|_| unreachable!("a string takes all"));
    }
    out.truncate(size);
    out.into_bytes()
}

/// The same sequence in every run (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 33) as usize % limit
    }
}
