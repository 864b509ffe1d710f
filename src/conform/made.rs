//! Octets that look like data of a kind: made by rule, the same in every run, and
//! as compressible as such data is.

use std::sync::LazyLock;

/// The kinds of data.
pub(super) const KINDS: [&str; 5] = ["text", "json", "html", "picture", "packed"];

/// The octets of one block; what is longer starts again.
const OCTETS: usize = 256 * 1024;

static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| filled(text));
static JSON: LazyLock<Vec<u8>> = LazyLock::new(|| filled(json));
static HTML: LazyLock<Vec<u8>> = LazyLock::new(|| filled(html));
static PICTURE: LazyLock<Vec<u8>> = LazyLock::new(|| filled(picture));
static PACKED: LazyLock<Vec<u8>> = LazyLock::new(|| filled(packed));

/// A block of data of this kind. All kinds but `picture` and `packed` are ASCII, so
/// that they are UTF-8 wherever they are cut.
///
/// # Errors
///
/// Where there is no such kind.
pub(super) fn block(like: &str) -> Result<&'static [u8], String> {
    match like {
        "text" => Ok(&TEXT),
        "json" => Ok(&JSON),
        "html" => Ok(&HTML),
        "picture" => Ok(&PICTURE),
        "packed" => Ok(&PACKED),
        _ => Err(format!(
            "data like {like:?} cannot be generated; there are {}",
            KINDS.join(", ")
        )),
    }
}

/// Appends a line, a record or a row until the block is full.
fn filled(append: impl Fn(&mut Numbers, &mut Vec<u8>)) -> Vec<u8> {
    let mut octets = Vec::with_capacity(OCTETS + 4096);
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    while octets.len() < OCTETS {
        append(&mut numbers, &mut octets);
    }
    octets.truncate(OCTETS);
    octets
}

/// Numbers that look random (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end.max(1)
    }

    /// One octet.
    fn octet(&mut self) -> u8 {
        let [high, ..] = self.next().to_be_bytes();
        high
    }

    /// A word, the first ones of the list far more often than the last ones.
    fn word(&mut self) -> &'static str {
        let count = WORDS.len() as u64;
        let most = self.below(count) + 1;
        let at = usize::try_from(self.below(most)).unwrap_or(0);
        WORDS.get(at).copied().unwrap_or("and")
    }
}

const WORDS: [&str; 96] = [
    "the", "of", "and", "to", "a", "in", "that", "is", "was", "he", "for", "it", "with", "as",
    "his", "on", "be", "at", "by", "had", "not", "are", "but", "from", "or", "have", "an", "they",
    "which", "one", "were", "all", "her", "she", "there", "would", "their", "we", "him", "been",
    "has", "when", "who", "will", "no", "more", "if", "out", "so", "said", "what", "up", "its",
    "about", "into", "than", "them", "can", "only", "other", "time", "new", "some", "could",
    "these", "two", "may", "first", "then", "do", "any", "like", "my", "now", "over", "such",
    "our", "man", "me", "even", "most", "made", "after", "also", "did", "many", "before", "must",
    "through", "years", "where", "much", "your", "way", "well", "down",
];

fn text(numbers: &mut Numbers, octets: &mut Vec<u8>) {
    for n in 0..6 + numbers.below(8) {
        if n > 0 {
            octets.push(b' ');
        }
        octets.extend_from_slice(numbers.word().as_bytes());
        // Names and rare words: what a dictionary does not hold.
        if numbers.below(9) == 0 {
            for _ in 0..3 + numbers.below(6) {
                octets.push(b'a' + numbers.octet() % 26);
            }
        }
        if numbers.below(11) == 0 {
            octets.push(b',');
        }
    }
    octets.extend_from_slice(if numbers.below(3) == 0 {
        b".\r\n"
    } else {
        b"\r\n"
    });
}

fn json(numbers: &mut Numbers, octets: &mut Vec<u8>) {
    let record = format!(
        "{{\"id\":{},\"name\":\"{} {}\",\"active\":{},\"balance\":{}.{:02},\
         \"tags\":[\"{}\",\"{}\"],\"at\":[{}.{:05},{}.{:05}]}},\n",
        numbers.below(100_000),
        numbers.word(),
        numbers.word(),
        numbers.below(2) == 0,
        numbers.below(10_000),
        numbers.below(100),
        numbers.word(),
        numbers.word(),
        numbers.below(90),
        numbers.below(100_000),
        numbers.below(180),
        numbers.below(100_000),
    );
    octets.extend_from_slice(record.as_bytes());
}

fn html(numbers: &mut Numbers, octets: &mut Vec<u8>) {
    let row = format!(
        "<tr class=\"row{}\"><td class=\"name\"><a href=\"/{}/{}\">{} {} {}</a></td>\
         <td class=\"count\">{}</td></tr>\n",
        numbers.below(2),
        numbers.word(),
        numbers.below(10_000),
        numbers.word(),
        numbers.word(),
        numbers.word(),
        numbers.below(1_000_000),
    );
    octets.extend_from_slice(row.as_bytes());
}

/// A row of a grey picture: it rises slowly, with noise.
fn picture(numbers: &mut Numbers, octets: &mut Vec<u8>) {
    let start = u8::try_from(octets.len() / 1024 % 128).unwrap_or(0);
    for column in 0..128u8 {
        let noise = numbers.octet() % 16;
        for _ in 0..4 {
            let level = start.wrapping_add(column / 4).wrapping_add(noise);
            octets.push(level ^ (numbers.octet() % 8));
        }
    }
}

/// What is compressed already.
fn packed(numbers: &mut Numbers, octets: &mut Vec<u8>) {
    octets.extend_from_slice(&numbers.next().to_be_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::extension::{Codecs, Level};

    #[test]
    fn each_kind_compresses_as_such_data_does() {
        let percent = |like: &str| {
            let mut codecs = Codecs::default();
            let mut deflated = Vec::new();
            let block = block(like).unwrap();
            let mut deflater = codecs.deflater(Level::Best, 15);
            deflater.message(block, &mut deflated);
            deflated.len() * 100 / block.len()
        };
        assert!((25..55).contains(&percent("text")), "{}", percent("text"));
        assert!((15..45).contains(&percent("json")), "{}", percent("json"));
        assert!((10..40).contains(&percent("html")), "{}", percent("html"));
        assert!(
            (50..95).contains(&percent("picture")),
            "{}",
            percent("picture")
        );
        assert!(percent("packed") >= 99);
        for like in ["text", "json", "html"] {
            assert!(block(like).unwrap().is_ascii());
        }
        assert!(block("video").is_err());
    }
}
