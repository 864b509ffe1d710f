//! The versions and their clients as a picture, drawn from the table.

use std::fmt::Write;

use crate::version::{VERSIONS, Version};

/// When the attack was published: the drafts before it mask nothing.
const ATTACK: &str = "2010-11-26";

const FIRST: &str = "2010-01-01";
const LAST: &str = "2012-01-01";
const LEFT: u32 = 110;
const RIGHT: u32 = 940;
const TOP: u32 = 64;
const ROW: u32 = 58;
const WIDTH: u32 = 960;

/// The maximum number of characters of a line of clients.
const LINE: usize = 112;

/// The picture, as SVG.
#[must_use]
pub fn timeline() -> String {
    let bottom = VERSIONS.iter().fold(TOP, |y, _| y + ROW);
    let height = bottom + 56;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-labelledby=\"title desc\">\n\
         <title id=\"title\">WebSocket versions and the clients that shipped them</title>\n<desc \
         id=\"desc\">{}</desc>\n{STYLE}<rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\" \
         rx=\"8\"/>\n",
        described()
    );
    for (date, label) in QUARTERS {
        let x = x(date);
        let class = if label.starts_with("20") {
            "year"
        } else {
            "quarter"
        };
        let _ = writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{bottom}\"/><text \
             class=\"{class}\" x=\"{x}\" y=\"{}\">{label}</text>",
            TOP - 18,
            TOP - 24
        );
    }
    let at = x(ATTACK);
    let _ = writeln!(
        svg,
        "<line class=\"attack\" x1=\"{at}\" y1=\"{}\" x2=\"{at}\" y2=\"{bottom}\"/>\n<text \
         class=\"attack\" x=\"{at}\" y=\"{}\">November 2010: the attack on proxies; from here on \
         clients mask</text>",
        TOP - 18,
        bottom + 20
    );
    let y = bottom + 42;
    let _ = writeln!(
        svg,
        "<text class=\"clients\" x=\"14\" y=\"{y}\">A bar reaches from the first document with \
         this wire to the last.</text><rect class=\"clear\" x=\"520\" y=\"{}\" width=\"24\" \
         height=\"12\" rx=\"6\"/><text class=\"clients\" x=\"552\" y=\"{y}\">clients in \
         clear</text><rect class=\"masked\" x=\"680\" y=\"{}\" width=\"24\" height=\"12\" \
         rx=\"6\"/><text class=\"clients\" x=\"712\" y=\"{y}\">clients that mask</text>",
        y - 11,
        y - 11
    );
    for (n, version) in (0..).zip(VERSIONS) {
        row(&mut svg, version, TOP + n * ROW);
    }
    svg.push_str("</svg>\n");
    svg
}

fn row(svg: &mut String, version: &Version, y: u32) {
    let (from, to) = (x(version.dates.0), x(version.dates.1));
    let class = if version.client_masks() {
        "masked"
    } else {
        "clear"
    };
    let _ = writeln!(
        svg,
        "<text class=\"name\" x=\"14\" y=\"{}\">{}</text><rect class=\"{class}\" x=\"{}\" y=\"{}\" \
         width=\"{}\" height=\"12\" rx=\"6\"/>",
        y + 11,
        version.name,
        from.saturating_sub(6),
        y,
        (to - from) + 12
    );
    for (n, line) in (0..).zip(wrapped(version.clients)) {
        let y = y + 28 + n * 15;
        let _ = writeln!(
            svg,
            "<text class=\"clients\" x=\"{LEFT}\" y=\"{y}\">{line}</text>"
        );
    }
}

/// The picture in words, for readers who cannot see it.
fn described() -> String {
    let text = VERSIONS
        .iter()
        .map(|v| format!("{}, {} to {}: {}.", v.name, v.dates.0, v.dates.1, v.clients));
    text.collect::<Vec<_>>().join(" ")
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < LINE => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The x coordinate of a day.
fn x(date: &str) -> u32 {
    let (first, last, day) = (days(FIRST), days(LAST), days(date));
    let span = (last - first).max(1);
    LEFT + (day.saturating_sub(first)) * (RIGHT - LEFT) / span
}

/// Days since the start of the year 2000.
fn days(date: &str) -> u32 {
    const BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let mut parts = date.split('-').map(|part| part.parse().unwrap_or(1));
    let [year, month, day]: [u32; 3] = [(); 3].map(|()| parts.next().unwrap_or(1));
    let years = year.saturating_sub(2000);
    let Some(before) = BEFORE.get(month.saturating_sub(1) as usize) else {
        unreachable!("a date of our tables has a month from 1 to 12");
    };
    let leap = u32::from(years % 4 == 0 && month > 2);
    years * 365 + years.div_ceil(4) + before + leap + day
}

const QUARTERS: [(&str, &str); 9] = [
    ("2010-01-01", "2010"),
    ("2010-04-01", "April"),
    ("2010-07-01", "July"),
    ("2010-10-01", "October"),
    ("2011-01-01", "2011"),
    ("2011-04-01", "April"),
    ("2011-07-01", "July"),
    ("2011-10-01", "October"),
    ("2012-01-01", "2012"),
];

const STYLE: &str = "<style>
.paper { fill: #fbf9f4; } text { font: 13px system-ui, sans-serif; fill: #1d1b18; }
.name { font-weight: 700; } .clients { fill: #5d574d; paint-order: stroke; stroke: #fbf9f4; stroke-width: 5px; }
line { stroke: #ddd6c8; } line.year { stroke: #a49b88; } text.year, text.quarter { text-anchor: middle; fill: #5d574d; }
text.year { font-weight: 700; } .clear { fill: #8a3b12; } .masked { fill: #1f4e8c; }
line.attack { stroke: #a61b1b; stroke-dasharray: 4 3; } text.attack { fill: #a61b1b; text-anchor: middle; }
@media (prefers-color-scheme: dark) {
.paper { fill: #15171b; } text { fill: #e9e6df; } .clients, text.year, text.quarter { fill: #a8a398; } .clients { stroke: #15171b; }
line { stroke: #343841; } line.year { stroke: #5b616d; } .clear { fill: #f0a678; } .masked { fill: #8ab8f5; }
line.attack { stroke: #ff9d94; } text.attack { fill: #ff9d94; } }
</style>
";
