//! What the deflater alone does, in this process: by size, for the threshold below
//! which messages go uncompressed, and by level.

use std::fmt::Write as _;
use std::time::Instant;

use heirloom::extension::{Codecs, Deflater, Level};

use crate::Result;
use crate::samples::{self, Text};

const KIB: usize = 1024;

/// Messages are deflated again and again; the round that took least counts.
const ROUNDS: usize = 9;
/// About so many octets in a round.
const ROUND: usize = 1024 * KIB;

/// What becomes of a message.
struct Figures {
    octets: f64,
    nanoseconds: f64,
}

fn measure(text: Text, size: usize, level: Level) -> Figures {
    let messages = samples::messages(text, size, (ROUND / size).clamp(4, 4000));
    let mut deflater: Box<Deflater> = Codecs::default().deflater(level, 15);
    let mut out = Vec::new();
    let (mut octets, mut least) = (0, f64::MAX);
    for _ in 0..ROUNDS {
        octets = 0;
        let start = Instant::now();
        for message in &messages {
            deflater.reset();
            out.clear();
            deflater.message(message, &mut out);
            octets += out.len();
        }
        least = least.min(start.elapsed().as_nanos() as f64);
    }
    let count = messages.len() as f64;
    Figures {
        octets: octets as f64 / count,
        nanoseconds: least / count,
    }
}

pub(crate) const SHORT: &str = "short messages";

pub(crate) fn short_messages() -> Result<String> {
    let mut out = String::from(
        "\n| octets of a message | JSON becomes | in ns | prose becomes | in ns |\n\
         | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for size in [16, 32, 48, 64, 96, 128, 192, 256] {
        let [json, prose] =
            [Text::Json, Text::Prose].map(|text| measure(text, size, Level::Default));
        writeln!(
            out,
            "| {size} | {:.0} | {:.0} | {:.0} | {:.0} |",
            json.octets, json.nanoseconds, prose.octets, prose.nanoseconds
        )?;
    }
    Ok(out)
}

pub(crate) const LEVELS: &str = "levels";

pub(crate) fn levels() -> Result<String> {
    let mut out = String::from(
        "\n| octets in a microsecond (in brackets, of a message) | fast | default | best |\n\
         | --- | ---: | ---: | ---: |\n",
    );
    for (text, name) in [(Text::Json, "JSON"), (Text::Prose, "prose")] {
        for (size, unit) in [(KIB, "1 KiB"), (16 * KIB, "16 KiB"), (1024 * KIB, "1 MiB")] {
            write!(out, "| {name} {unit} |")?;
            for level in [Level::Fast, Level::Default, Level::Best] {
                let Figures {
                    octets,
                    nanoseconds,
                } = measure(text, size, level);
                let speed = size as f64 * 1000.0 / nanoseconds;
                let octets = crate::thousands(Some(octets));
                write!(out, " {speed:.0} ({octets}) |")?;
            }
            out.push('\n');
        }
    }
    Ok(out)
}
