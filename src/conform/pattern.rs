//! Patterns on the names of cases and vectors.

use std::str::FromStr;

/// A pattern of a shell: `*` is any number of characters, `?` is one. It matches a
/// whole name, or the first parts of one up to a `.` or `/`, so that `6` is a
/// chapter, `6.4` and `hixie-76` are groups, and `6.*.1` is the first case of each
/// group.
///
/// ```
/// use heirloom::conform::Pattern;
///
/// let pattern: Pattern = "1.1".parse()?;
/// assert!(pattern.matches("1.1.8") && !pattern.matches("1.10.1"));
/// # Ok::<(), heirloom::conform::BadPattern>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<char>);

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an empty pattern matches nothing: give an id such as 1.1.1, a chapter such as 6, or 6.*")]
pub struct BadPattern;

impl FromStr for Pattern {
    type Err = BadPattern;

    /// Reads a pattern; white space around it means nothing.
    fn from_str(text: &str) -> Result<Pattern, BadPattern> {
        match text.trim() {
            "" => Err(BadPattern),
            text => Ok(Pattern(text.chars().collect())),
        }
    }
}

impl Pattern {
    /// Whether it matches this name, or the first parts of it.
    #[must_use]
    pub fn matches(&self, id: &str) -> bool {
        let ends = id.match_indices(['.', '/']).map(|(at, _)| at);
        ends.chain([id.len()])
            .filter_map(|end| id.get(..end))
            .any(|part| self.is_match(part))
    }

    /// Whether it matches all of a name. Of several stars only the last one is ever
    /// tried again, so the time is the product of both lengths at most.
    fn is_match(&self, name: &str) -> bool {
        let mut rest = name.chars();
        let mut at = 0;
        let mut star = None;
        loop {
            let here = rest.clone();
            match (self.0.get(at), rest.next()) {
                (Some('*'), _) => {
                    at += 1;
                    star = Some((at, here.clone()));
                    rest = here;
                }
                (Some(wanted), Some(c)) if *wanted == '?' || *wanted == c => at += 1,
                (None, None) => return true,
                _ => {
                    let Some((behind, from)) = &mut star else {
                        return false;
                    };
                    if from.next().is_none() {
                        return false;
                    }
                    at = *behind;
                    rest = from.clone();
                }
            }
        }
    }
}
