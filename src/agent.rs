//! The version of a browser, by its User-Agent.
//!
//! The releases are those that [`VERSIONS`](crate::version::VERSIONS) names as
//! clients; a test compares the two.

use crate::version::Version;

/// What is known of a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name and release, such as `Firefox 7`.
    pub browser: String,
    /// Its version; `None` where it has no WebSocket.
    pub version: Option<&'static Version>,
    /// A remark about it.
    pub note: Option<&'static str>,
}

/// A run of releases of one browser, from this one to the next run.
struct Run {
    /// Major and minor number of the first release.
    from: (u32, u32),
    /// The name of a version; empty where there was no WebSocket.
    version: &'static str,
    note: Option<&'static str>,
}

const fn run(from: (u32, u32), version: &'static str) -> Run {
    Run {
        from,
        version,
        note: None,
    }
}

const OFF: Option<&str> = Some("it has WebSocket turned off until a preference turns it on");
const MOZ: Option<&str> = Some("its constructor is called MozWebSocket");

/// A browser: its name, the mark in front of its release number, and its runs,
/// newest first. The order of browsers matters: browsers name their ancestors.
struct Browser {
    name: &'static str,
    mark: &'static str,
    runs: &'static [Run],
}

const BROWSERS: &[Browser] = &[
    Browser {
        name: "PhantomJS",
        mark: "PhantomJS/",
        runs: &[run((2, 0), "rfc6455"), run((1, 0), "hixie-76")],
    },
    Browser {
        name: "Internet Explorer",
        mark: "Trident/7.0",
        runs: &[run((11, 0), "rfc6455")],
    },
    Browser {
        name: "Internet Explorer",
        mark: "MSIE ",
        runs: &[run((10, 0), "rfc6455"), run((1, 0), "")],
    },
    Browser {
        name: "Edge",
        mark: "Edge/",
        runs: &[run((12, 0), "rfc6455")],
    },
    Browser {
        name: "Edge",
        mark: "Edg/",
        runs: &[run((79, 0), "rfc6455")],
    },
    Browser {
        name: "Opera",
        mark: "OPR/",
        runs: &[run((15, 0), "rfc6455")],
    },
    Browser {
        name: "Opera",
        // `Opera/9.80 (…) Presto/… Version/12.10`
        mark: "Presto/",
        runs: &[
            run((12, 10), "rfc6455"),
            Run {
                from: (11, 0),
                version: "hixie-76",
                note: OFF,
            },
            run((1, 0), ""),
        ],
    },
    Browser {
        name: "Firefox",
        mark: "Firefox/",
        runs: &[
            run((11, 0), "rfc6455"),
            Run {
                from: (7, 0),
                version: "hybi-08",
                note: MOZ,
            },
            Run {
                from: (6, 0),
                version: "hybi-07",
                note: MOZ,
            },
            Run {
                from: (4, 0),
                version: "hixie-76",
                note: OFF,
            },
            run((1, 0), ""),
        ],
    },
    Browser {
        name: "Chrome",
        mark: "Chrome/",
        runs: &[
            run((16, 0), "rfc6455"),
            run((14, 0), "hybi-08"),
            run((6, 0), "hixie-76"),
            run((4, 0), "hixie-75"),
            run((0, 0), ""),
        ],
    },
    Browser {
        name: "iOS",
        // `CPU iPhone OS 5_1 like Mac OS X`, `CPU OS 5_1 like Mac OS X`
        mark: " OS ",
        runs: &[
            run((6, 0), "rfc6455"),
            run((4, 2), "hixie-76"),
            run((1, 0), ""),
        ],
    },
    Browser {
        name: "Android browser",
        mark: "Android ",
        runs: &[run((4, 4), "rfc6455"), run((1, 0), "")],
    },
    Browser {
        name: "Safari",
        mark: "Version/",
        runs: &[
            run((6, 0), "rfc6455"),
            run((5, 1), "hixie-76"),
            Run {
                from: (5, 0),
                version: "hixie-76",
                note: Some("5.0.0 itself spoke hixie-75"),
            },
            run((1, 0), ""),
        ],
    },
];

/// What is known of the browser of this User-Agent; `None` where the browser is
/// not known.
#[must_use]
pub fn known(agent: &str) -> Option<Known> {
    BROWSERS.iter().find_map(|browser| {
        let (before, after) = agent.split_once(browser.mark)?;
        let release = match browser.mark {
            // Presto has a number of its own; the release stands behind it.
            "Presto/" => agent.split_once("Version/")?.1,
            // The engine of 11, which names another release when it imitates one.
            "Trident/7.0" => "11.0",
            // The word is part of the names of other systems.
            " OS " if !before.ends_with("iPhone") && !before.ends_with("CPU") => return None,
            // Other browsers with the same engine use the word for themselves.
            "Version/" if !before.contains("Macintosh") && !before.contains("Windows") => {
                return None;
            }
            _ => after,
        };
        let (major, minor) = numbers(release)?;
        let run = browser.runs.iter().find(|run| run.from <= (major, minor))?;
        Some(Known {
            browser: format!("{} {major}.{minor}", browser.name),
            version: Version::named(run.version),
            note: run.note,
        })
    })
}

/// `5_1`, `12.10`, `9`.
fn numbers(text: &str) -> Option<(u32, u32)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '_'));
    let text = text.get(..end.unwrap_or(text.len()))?;
    let mut parts = text.split(['.', '_']);
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().and_then(|part| part.parse().ok());
    Some((major, minor.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaks(agent: &str) -> Option<(String, &'static str)> {
        let known = known(agent)?;
        Some((known.browser, known.version.map_or("none", |v| v.name)))
    }

    fn is(agent: &str, browser: &str, version: &str) {
        let text = speaks(agent);
        let text = text
            .as_ref()
            .map(|(browser, version)| (&**browser, *version));
        assert_eq!(text, Some((browser, version)), "{agent}");
    }

    #[test]
    fn others_that_say_version_are_not_safari() {
        for agent in [
            "Mozilla/5.0 (BlackBerry; U; BlackBerry 9800; en) AppleWebKit/534.1+ (KHTML, like Gecko) Version/6.0.0.246 Mobile Safari/534.1+",
            "Mozilla/5.0 (PlayBook; U; RIM Tablet OS 1.0.0; en-US) AppleWebKit/534.11 (KHTML, like Gecko) Version/7.1.0.7 Safari/534.11",
            "Mozilla/5.0 (SMART-TV; X11; Linux i686) AppleWebKit/534.7 (KHTML, like Gecko) Version/5.0 Safari/534.7",
        ] {
            assert_eq!(speaks(agent), None, "{agent}");
        }
        is(
            "Mozilla/5.0 (Macintosh; U; Intel Mac OS X 10_6_8; de) AppleWebKit/533.21.1 (KHTML, like Gecko) Version/5.0.5 Safari/533.21.1",
            "Safari 5.0",
            "hixie-76",
        );
        is(
            "Mozilla/5.0 (Windows; U; Windows NT 6.1; de) AppleWebKit/533.21.1 (KHTML, like Gecko) Version/5.0.5 Safari/533.21.1",
            "Safari 5.0",
            "hixie-76",
        );
    }

    #[test]
    fn browsers_are_known_by_their_names() {
        for (agent, browser, version) in [
            (
                "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/534.34 (KHTML, like Gecko) \
                 PhantomJS/1.9.8 Safari/534.34",
                "PhantomJS 1.9",
                "hixie-76",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 HeadlessChrome/156.0.0.0 Safari/537.36",
                "Chrome 156.0",
                "rfc6455",
            ),
            (
                "Mozilla/5.0 (Windows; U; Windows NT 5.1; en-US) AppleWebKit/534.3 (KHTML, like \
                 Gecko) Chrome/6.0.472.63 Safari/534.3",
                "Chrome 6.0",
                "hixie-76",
            ),
            (
                "Mozilla/5.0 (Windows NT 6.1; rv:7.0) Gecko/20100101 Firefox/7.0",
                "Firefox 7.0",
                "hybi-08",
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 5_1_1 like Mac OS X) AppleWebKit/534.46 (KHTML, like \
                 Gecko) Version/5.1 Mobile/9B206 Safari/7534.48.3",
                "iOS 5.1",
                "hixie-76",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_6_8) AppleWebKit/534.59.10 (KHTML, \
                 like Gecko) Version/5.1.9 Safari/534.59.10",
                "Safari 5.1",
                "hixie-76",
            ),
            (
                "Mozilla/5.0 (Linux; U; Android 2.3.6; en-us) AppleWebKit/533.1 (KHTML, like \
                 Gecko) Version/4.0 Mobile Safari/533.1",
                "Android browser 2.3",
                "none",
            ),
            (
                "Opera/9.80 (Windows NT 6.1; U; en) Presto/2.10.229 Version/11.64",
                "Opera 11.64",
                "hixie-76",
            ),
            (
                "Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; Trident/5.0)",
                "Internet Explorer 9.0",
                "none",
            ),
            (
                "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; .NET4.0E; rv:11.0) like Gecko",
                "Internet Explorer 11.0",
                "rfc6455",
            ),
            (
                "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.1; Trident/7.0)",
                "Internet Explorer 11.0",
                "rfc6455",
            ),
        ] {
            is(agent, browser, version);
        }
        for agent in ["", "curl/8", "Chrome/", "Firefox/x", " OS 9", "Presto/1"] {
            assert_eq!(speaks(agent), None, "{agent}");
        }
    }

    /// The table of versions names the first release of each run.
    #[test]
    fn the_table_of_versions_says_the_same() {
        for (browser, first, version) in [
            ("Chrome", "4", "hixie-75"),
            ("Chrome", "6", "hixie-76"),
            ("Chrome", "14", "hybi-08"),
            ("Chrome", "16", "rfc6455"),
            ("Firefox", "4", "hixie-76"),
            ("Firefox", "6", "hybi-07"),
            ("Firefox", "7", "hybi-08"),
            ("Firefox", "11", "rfc6455"),
            ("iOS", "4.2", "hixie-76"),
            ("iOS", "6", "rfc6455"),
            ("Opera", "11.0", "hixie-76"),
            ("Opera", "12.10", "rfc6455"),
            ("Internet Explorer", "10", "rfc6455"),
            ("PhantomJS", "1", "hixie-76"),
            ("Safari", "6", "rfc6455"),
        ] {
            let row = Version::named(version).expect("a version");
            let written = format!("{browser} {first}");
            assert!(
                row.clients.contains(&written),
                "{written} is no client of {version}"
            );
            let (major, minor) = numbers(first).expect("a release");
            let runs = BROWSERS.iter().filter(|b| b.name == browser);
            let found = runs
                .flat_map(|b| b.runs)
                .any(|run| run.version == version && run.from == (major, minor));
            assert!(found, "{browser} {first} starts no run of {version}");
        }
    }
}
