//! The blocks of a Markdown file.

use std::fmt;

pub(crate) struct Block<'a> {
    /// Where it starts.
    pub(crate) line: usize,
    /// What follows the fence.
    pub(crate) name: &'a str,
    pub(crate) kind: Kind<'a>,
    pub(crate) text: String,
    /// The paragraph above it.
    pub(crate) before: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind<'a> {
    Console,
    Rust,
    Browser,
    Other(&'a str),
}

impl Kind<'_> {
    fn of(name: &str) -> Kind<'_> {
        match name {
            "console" => Kind::Console,
            "rust" => Kind::Rust,
            "js" | "html" => Kind::Browser,
            other => Kind::Other(other),
        }
    }
}

/// One command of a session, and what is shown below it.
#[derive(Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) shown: Vec<String>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: `{}`", self.line, self.command)
    }
}

pub(crate) fn of(markdown: &str) -> Vec<Block<'_>> {
    let (mut blocks, mut open, mut before) = (Vec::new(), None::<Block<'_>>, "");
    for (index, line) in markdown.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(name), None) => {
                open = Some(Block {
                    line: index + 1,
                    name,
                    kind: Kind::of(name),
                    text: String::new(),
                    before,
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) if !line.is_empty() => before = line,
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block without an end");
    blocks
}

impl Block<'_> {
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (index, line) in self.text.lines().enumerate() {
            let number = self.line + 1 + index;
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    line: number,
                    command: command.to_owned(),
                    shown: Vec::new(),
                }),
                (None, Some(step)) => step.shown.push(line.to_owned()),
                (None, None) => panic!("line {number}: output without a command"),
            }
        }
        steps
    }

    /// The commands that the paragraph above names as clients.
    pub(crate) fn clients(&self) -> Vec<&str> {
        let code = self.before.split('`').skip(1).step_by(2);
        code.filter(|code| code.starts_with("echo ")).collect()
    }
}

#[test]
fn blocks_have_their_steps() {
    let text = "Say `echo a | b` to `c`:\n\n```console\n$ one\nshown\n$ two\n```\n```js\n1\n```\n```\n```\n";
    let blocks = of(text);
    let kinds: Vec<_> = blocks.iter().map(|block| block.kind).collect();
    assert_eq!(kinds, [Kind::Console, Kind::Browser, Kind::Other("")]);
    assert_eq!(blocks[0].clients(), ["echo a | b"]);
    let steps = blocks[0].steps();
    assert_eq!(steps[0].shown, ["shown"]);
    assert_eq!((steps[1].line, steps[1].command.as_str()), (6, "two"));
    assert!(steps[1].shown.is_empty());
}
