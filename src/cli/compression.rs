//! The options of compression, for both roles.

use std::ffi::OsString;

use clap::{Args, ValueEnum};
use heirloom::extension::{Compression, ContextMemory, Level, Mode};

use super::units::octets;

/// Whether messages are compressed, and at what cost.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Compression")]
pub(super) struct CompressionArgs {
    /// Whether messages are compressed where the peer can do it. `shared`: each message on its own,
    /// and an idle connection holds nothing. `per-connection`: a message may refer to those before
    /// it, which makes short ones smaller, and each connection holds some 280 KB. `off`: nothing is
    /// offered and nothing accepted.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = ModeArg::Shared)]
    compression: ModeArg,
    /// How much work is spent on a small size.
    #[arg(long, value_name = "WORD", value_enum, default_value_t = LevelArg::Default)]
    compression_level: LevelArg,
    /// Messages of fewer octets are not compressed.
    #[arg(long, value_name = "BYTES", default_value_t = 64,
          value_parser = octets(0_u32..=1_073_741_824))]
    compression_threshold: u32,
    /// Compress for Safari 15.0 to 15.3 too, whose compression is defective: it is declined by
    /// their User-Agent otherwise.
    #[arg(long)]
    compression_for_safari_15: bool,
}

/// What compression may hold in a whole process.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Compression")]
pub(super) struct CompressionMemoryArgs {
    /// Octets that `per-connection` takes for all connections together; where they are used up, new
    /// connections are compressed as with `shared`.
    #[arg(long, value_name = "BYTES", default_value_t = ContextMemory::DEFAULT_OCTETS as u64,
          value_parser = octets(0_u64..=1 << 50))]
    compression_memory: u64,
}

impl CompressionMemoryArgs {
    /// The memory for contexts. All configurations of a process share one.
    pub(super) fn context_memory(&self) -> ContextMemory {
        ContextMemory::new(usize::try_from(self.compression_memory).unwrap_or(usize::MAX))
    }
}

/// What a client offers.
#[derive(Debug, Args)]
pub(super) struct OfferArgs {
    /// Offer compression. `shared`: each message on its own. `per-connection`: a message may refer
    /// to those before it, which makes short ones smaller. Without HOW it is `shared`; without the
    /// option, nothing is offered.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = ModeArg::Off,
          num_args = 0..=1, require_equals = true, default_missing_value = "shared")]
    compression: ModeArg,
}

impl OfferArgs {
    /// What was chosen.
    pub(super) fn compression(&self) -> Compression {
        Compression::default().with_mode(self.compression.mode())
    }
}

/// Joins `--compression HOW` of `connect`, as `serve` spells it, with an equals
/// sign: what follows an option that may stand alone is the URL otherwise, and no
/// URL is a bare word.
pub(super) fn with_equals_sign(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let is_word = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_alphabetic() || "-_".contains(c))
    };
    let is_how = |text: &str| !text.is_empty() && !text.starts_with('-') && is_word(text);
    let mut joined: Vec<OsString> = Vec::new();
    let mut is_of_connect = false;
    for argument in arguments {
        let text = argument.to_str().unwrap_or_default();
        match joined.last_mut() {
            Some(last) if is_of_connect && *last == "--compression" && is_how(text) => {
                last.push("=");
                last.push(text);
                continue;
            }
            _ => {}
        }
        is_of_connect |= text == "connect";
        is_of_connect &= text != "--";
        joined.push(argument);
    }
    joined
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeArg {
    Off,
    Shared,
    PerConnection,
}

impl ModeArg {
    fn mode(self) -> Mode {
        match self {
            ModeArg::Off => Mode::Off,
            ModeArg::Shared => Mode::Shared,
            ModeArg::PerConnection => Mode::PerConnection,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LevelArg {
    Fast,
    Default,
    Best,
}

impl CompressionArgs {
    /// Whether nothing is compressed.
    pub(super) fn is_off(&self) -> bool {
        matches!(self.compression, ModeArg::Off)
    }

    /// What was chosen.
    pub(super) fn compression(&self) -> Compression {
        let mode = self.compression.mode();
        let level = match self.compression_level {
            LevelArg::Fast => Level::Fast,
            LevelArg::Default => Level::Default,
            LevelArg::Best => Level::Best,
        };
        let compression = Compression::default()
            .with_mode(mode)
            .with_level(level)
            .with_threshold(self.compression_threshold as usize);
        if self.compression_for_safari_15 {
            compression.with_defective_safari()
        } else {
            compression
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::with_equals_sign;

    #[test]
    fn what_is_no_word_stays_as_it_is() {
        for behind in ["", "ws://h/", "-v", "\u{fc}"].map(OsString::from) {
            let given = ["connect", "--compression"].map(OsString::from);
            let given = [&given[..], &[behind]].concat();
            assert_eq!(with_equals_sign(given.clone()), given);
        }
        let given = ["connect", "--compression"].map(OsString::from);
        let given = [&given[..], &[OsString::from_vec(b"ws://h/\xff".to_vec())]].concat();
        assert_eq!(with_equals_sign(given.clone()), given);
    }
}
