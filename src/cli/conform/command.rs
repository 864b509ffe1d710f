//! What a client under test asks for: the paths and queries of
//! Autobahn|Testsuite.

use super::select::Planned;

/// The most octets of an agent's name.
const MAX_AGENT: usize = 200;

/// The paths, for a client that asks for another one.
const PATHS: &str = "/getCaseCount, /getCaseInfo?case=N, /runCase?case=N&agent=NAME, \
                     /getCaseStatus?case=N&agent=NAME, /updateReports?agent=NAME and /stopServer; \
                     casetuple=ID takes the place of case=N";

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// How many cases there are.
    Count,
    /// Which case this is.
    Info { case: usize },
    /// To be tested.
    Run { case: usize, agent: String },
    /// What came of it.
    Status { case: usize, agent: String },
    /// To have the reports written.
    Update { agent: String, then_stop: bool },
    /// To have the program end.
    Stop,
}

/// Why a request is answered with an error of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declined {
    pub(super) status: u16,
    pub(super) why: String,
}

impl Declined {
    /// The request is wrong.
    pub(super) fn bad(why: impl Into<String>) -> Declined {
        let why = why.into();
        Declined { status: 400, why }
    }

    /// What it names is not there.
    pub(super) fn missing(why: impl Into<String>) -> Declined {
        let why = why.into();
        Declined { status: 404, why }
    }
}

impl Command {
    /// What this target asks for. A case is a position among `cases`.
    pub(super) fn of(target: &str, cases: &[Planned]) -> Result<Command, Declined> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = Query(query);
        let needs_case = |what: &str| {
            let case = query.case(cases)?;
            case.ok_or_else(|| {
                Declined::bad(format!("give the case {what}: case=1, or casetuple=1.1.1"))
            })
        };
        let needs_agent = || {
            let agent = query.agent()?;
            agent.ok_or_else(|| Declined::bad("give the name of the client: agent=NAME"))
        };
        match path {
            "/getCaseCount" => Ok(Command::Count),
            "/getCaseInfo" => Ok(Command::Info {
                case: needs_case("to be told of")?,
            }),
            "/runCase" => Ok(Command::Run {
                case: needs_case("to be run")?,
                agent: needs_agent()?,
            }),
            "/getCaseStatus" => Ok(Command::Status {
                case: needs_case("whose result is asked for")?,
                agent: needs_agent()?,
            }),
            "/updateReports" => Ok(Command::Update {
                agent: needs_agent()?,
                then_stop: query.is_on("shutdownOnComplete")?,
            }),
            "/stopServer" => Ok(Command::Stop),
            _ => Err(Declined::missing(format!("this server answers {PATHS}"))),
        }
    }
}

/// The part of a target behind `?`.
struct Query<'t>(&'t str);

impl Query<'_> {
    /// The value of a parameter, at most one.
    fn value(&self, name: &str) -> Result<Option<String>, Declined> {
        let parts = self.0.split('&').filter_map(|part| {
            let (own, value) = part.split_once('=').unwrap_or((part, ""));
            (own == name).then_some(value)
        });
        let mut values = parts.map(decoded);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Declined::bad(format!("{name} is there more than once"))),
            (Some(None), None) => Err(Declined::bad(format!(
                "{name} is not percent-encoded UTF-8 (RFC 3986 section 2.1)"
            ))),
            (value, None) => Ok(value.flatten()),
        }
    }

    /// The position of the case that is named by its number or id.
    fn case(&self, cases: &[Planned]) -> Result<Option<usize>, Declined> {
        if let Some(number) = self.value("case")? {
            let position = number.trim().parse::<usize>().ok();
            let position = position.and_then(|number| number.checked_sub(1));
            let position = position.filter(|position| *position < cases.len());
            return position.map(Some).ok_or_else(|| {
                Declined::missing(format!(
                    "there is no such case: they are numbered from 1 to {}",
                    cases.len()
                ))
            });
        }
        let Some(id) = self.value("casetuple")? else {
            return Ok(None);
        };
        let position = cases.iter().position(|case| case.id == id.trim());
        position.map(Some).ok_or_else(|| {
            Declined::missing("there is no such case; `heirloom conform --list` lists all")
        })
    }

    fn agent(&self) -> Result<Option<String>, Declined> {
        let Some(agent) = self.value("agent")? else {
            return Ok(None);
        };
        if agent.is_empty() {
            return Ok(None);
        }
        if agent.len() > MAX_AGENT {
            let why = format!("the name of an agent has at most {MAX_AGENT} octets");
            return Err(Declined::bad(why));
        }
        if agent.chars().any(char::is_control) {
            return Err(Declined::bad(
                "the name of an agent has no control characters",
            ));
        }
        Ok(Some(agent))
    }

    fn is_on(&self, name: &str) -> Result<bool, Declined> {
        let value = self.value(name)?;
        let is_yes = |value: String| matches!(&*value.to_ascii_lowercase(), "true" | "yes");
        Ok(value.is_some_and(is_yes))
    }
}

/// The text that a value stands for, as forms write it: `+` is a space. `None`
/// where it is not written right.
fn decoded(value: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' => b' ',
            octet => octet,
        });
    }
    String::from_utf8(octets).ok()
}
