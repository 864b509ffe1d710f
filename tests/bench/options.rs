//! The command line of a bench.

use std::time::Duration;

use crate::Result;

/// One of the servers that are measured side by side.
pub(crate) trait Rival: Copy + PartialEq + 'static {
    /// The option that chooses among them.
    const OPTION: &'static str;
    /// All of them, in their order in the tables.
    const ALL: &'static [Self];

    fn name(self) -> &'static str;
}

pub(crate) struct Options<R> {
    /// Set by `cargo bench`. `cargo test --all-targets` does not set it, and must not take minutes.
    pub(crate) bench: bool,
    quick: bool,
    pub(crate) write: bool,
    pub(crate) rounds: usize,
    pub(crate) rivals: Vec<R>,
    pub(crate) filter: String,
}

impl<R: Rival> Options<R> {
    pub(crate) fn parse() -> Result<Options<R>> {
        let mut options = Options {
            bench: false,
            quick: false,
            write: false,
            rounds: 7,
            rivals: R::ALL.to_vec(),
            filter: String::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => options.bench = true,
                "--quick" => (options.quick, options.rounds) = (true, 3),
                "--write" => options.write = true,
                "--rounds" => {
                    options.rounds = arguments.next().ok_or("--rounds takes a number")?.parse()?
                }
                option if option == R::OPTION => {
                    let list = arguments.next().unwrap_or_default();
                    options.rivals = list
                        .split(',')
                        .map(|name| R::ALL.iter().copied().find(|one| one.name() == name))
                        .collect::<Option<_>>()
                        .ok_or_else(names::<R>)?;
                }
                other if other.starts_with('-') => {
                    return Err(format!("no option is called {other}").into());
                }
                other => options.filter = other.to_owned(),
            }
        }
        options.rounds = options.rounds.clamp(1, 100);
        let whole = !options.quick && options.filter.is_empty() && options.rivals == R::ALL;
        if options.write && !whole {
            let option = R::OPTION;
            return Err(
                format!("--write wants a whole run: no --quick, no {option}, no filter").into(),
            );
        }
        Ok(options)
    }

    pub(crate) fn round_time(&self) -> Duration {
        Duration::from_millis(if self.quick { 200 } else { 900 })
    }
}

fn names<R: Rival>() -> String {
    let names: Vec<&str> = R::ALL.iter().map(|one| one.name()).collect();
    format!("{} takes a list of {}", R::OPTION, names.join(", "))
}
