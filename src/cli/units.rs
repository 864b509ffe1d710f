//! Octets and times as people write them: `16MiB`, `5min`. A number without a
//! unit has the unit of its option.

use std::fmt::Display;
use std::ops::RangeInclusive;

/// A value of an option that takes octets, between these bounds.
pub(super) fn octets<N>(
    range: RangeInclusive<N>,
) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: TryFrom<u64> + Copy + Into<u64> + Display + Send + Sync + 'static,
{
    move |text| bounded(text, &OCTETS, &range, "octets")
}

/// A value of an option that takes milliseconds, between these bounds.
pub(super) fn milliseconds(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    move |text| bounded(text, &MILLISECONDS, &range, "milliseconds")
}

/// A time in milliseconds, at most a day; a number without a unit is seconds.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    bounded(text, &SECONDS, &(0..=86_400_000), "milliseconds")
}

/// A value of an option that counts something, between these bounds: it has no unit.
pub(super) fn whole<N>(
    range: RangeInclusive<N>,
) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: TryFrom<u64> + Copy + Into<u64> + Display + Send + Sync + 'static,
{
    move |text| {
        let value = text.parse().ok().filter(|value| {
            let (least, most): (u64, u64) = ((*range.start()).into(), (*range.end()).into());
            (least..=most).contains(value)
        });
        value
            .and_then(|value| N::try_from(value).ok())
            .ok_or_else(|| {
                let (least, most) = (range.start(), range.end());
                format!("give a whole number from {least} to {most}, without a unit")
            })
    }
}

/// A number with what it counts: `1 octet`, `5 octets`.
pub(super) fn counted<N: Display + PartialEq + From<u8>>(n: N, what: &str) -> String {
    let plural = if n == N::from(1) { "" } else { "s" };
    format!("{n} {what}{plural}")
}

/// Units, and how the hint shows them.
struct Units {
    /// The size of a number without a unit.
    bare: u64,
    /// In small letters, with their size.
    names: &'static [(&'static str, u64)],
    hint: &'static str,
}

const OCTETS: Units = Units {
    bare: 1,
    names: &[
        ("b", 1),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
    ],
    hint: "give octets, such as 65536, or a number with KiB, MiB, GiB, TiB, kB, MB, GB or TB, such as 16MiB",
};

/// In milliseconds.
const TIMES: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("sec", 1_000),
    ("m", 60_000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const MILLISECONDS: Units = Units {
    bare: 1,
    names: TIMES,
    hint: "give milliseconds, such as 5000, or a number with ms, s, min, h or d, such as 5min",
};

const SECONDS: Units = Units {
    bare: 1_000,
    names: TIMES,
    hint: "give seconds, such as 5, or a number with ms, s, min, h or d, such as 500ms",
};

fn bounded<N: TryFrom<u64> + Copy + Into<u64> + Display>(
    text: &str,
    units: &Units,
    range: &RangeInclusive<N>,
    what: &str,
) -> Result<N, String> {
    let value = number(text, units).ok_or(units.hint)?;
    let (least, most) = (*range.start(), *range.end());
    N::try_from(value)
        .ok()
        .filter(|_| (least.into()..=most.into()).contains(&value))
        .ok_or_else(|| match value {
            u64::MAX => format!("so many {what} are not between {least} and {most}"),
            _ => format!("{value} {what} are not between {least} and {most}"),
        })
}

/// A number with a unit, `u64::MAX` where it is larger. Where there is a unit, the
/// number may have a fraction.
fn number(text: &str, units: &Units) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|c: char| c.is_ascii_alphabetic());
    let (digits, unit) = text.split_at(end.unwrap_or(text.len()));
    let digits = digits.trim_end();
    let size = match unit {
        "" => units.bare,
        _ => units.names.iter().find(|(name, _)| *name == unit)?.1,
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some(_) if size == 1 => return None,
        Some((whole, fraction)) => (whole, fraction),
        None => (digits, ""),
    };
    let all_digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    // They are digits alone, so that only their number can be wrong.
    let whole = whole.parse().unwrap_or(u64::MAX).saturating_mul(size);
    // What is less than one octet or millisecond is left out.
    let tens = (0..fraction.len()).fold(1, |tens: u128, _| tens * 10);
    let part = fraction.parse::<u128>().unwrap_or(0) * u128::from(size) / tens;
    Some(whole.saturating_add(u64::try_from(part).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_have_units() {
        let octets = octets(1_u64..=1 << 30);
        for (text, value) in [
            ("65536", 65_536),
            ("16MiB", 16 << 20),
            ("16 mib", 16 << 20),
            ("0.5KiB", 512),
            ("2kB", 2_000),
            ("7b", 7),
        ] {
            let got = octets(text);
            assert_eq!(got, Ok(value), "{text}");
        }
        for text in ["", "MiB", "1.5", "16M", "-1", "1e3", "0x10", "1 2"] {
            assert!(
                octets(text).is_err_and(|why| why.contains("16MiB")),
                "{text}"
            );
        }
        let range = "2147483648 octets are not between 1 and 1073741824";
        assert_eq!(octets("2GiB"), Err(range.to_owned()));
        for large in [
            "99999999999999999999",
            "99999999TiB",
            "18446744073709551615",
        ] {
            let range = "so many octets are not between 1 and 1073741824";
            assert_eq!(octets(large), Err(range.to_owned()));
        }
    }

    #[test]
    fn what_is_counted_has_no_unit() {
        let count = whole(1_u32..=1024);
        assert_eq!((count("1"), count("1024")), (Ok(1), Ok(1024)));
        for text in [
            "",
            "1k",
            "1.5",
            "-1",
            "0",
            "1025",
            "99999999999999999999",
            "many",
        ] {
            let why = "give a whole number from 1 to 1024, without a unit";
            assert_eq!(count(text), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        let time = milliseconds(1..=86_400_000);
        for (text, value) in [
            ("5000", 5_000),
            ("5min", 300_000),
            ("1.5s", 1_500),
            ("1h", 3_600_000),
            ("250ms", 250),
        ] {
            assert_eq!(time(text), Ok(value), "{text}");
        }
        assert!(time("0").is_err_and(|why| why.contains("between 1 and 86400000")));
        assert!(time("5 weeks").is_err_and(|why| why.contains("5min")));
    }
}
