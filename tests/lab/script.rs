//! The script is one that browsers of 2010 read: ES3, and nothing of a peer's
//! goes anywhere but into text.

use scraper::{Html, Selector};

use super::Page;
use super::support::program::Program;

/// What ES3 (ECMA-262, 3rd edition, section 7.5) reserves and uses.
const KEYWORDS: [&str; 28] = [
    "break",
    "case",
    "catch",
    "continue",
    "default",
    "delete",
    "do",
    "else",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "in",
    "instanceof",
    "new",
    "null",
    "return",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "typeof",
    "var",
    "void",
    "while",
    "with",
];

/// What it reserves and does not use, and what later editions made of names.
const RESERVED: [&str; 35] = [
    "abstract",
    "boolean",
    "byte",
    "char",
    "class",
    "const",
    "debugger",
    "double",
    "enum",
    "export",
    "extends",
    "final",
    "float",
    "goto",
    "implements",
    "import",
    "int",
    "interface",
    "long",
    "native",
    "package",
    "private",
    "protected",
    "public",
    "short",
    "static",
    "super",
    "synchronized",
    "throws",
    "transient",
    "volatile",
    "let",
    "yield",
    "async",
    "await",
];

/// What browsers of 2010 may lack, and what makes markup or code of text.
const UNWANTED: [&str; 33] = [
    "addEventListener",
    "assign",
    "bind",
    "classList",
    "create",
    "dataset",
    "defineProperty",
    "document.write",
    "endsWith",
    "entries",
    "eval",
    "every",
    "fetch",
    "filter",
    "find",
    "forEach",
    "freeze",
    "Function",
    "includes",
    "innerHTML",
    "insertAdjacentHTML",
    "isArray",
    "keys",
    "map",
    "outerHTML",
    "padStart",
    "Promise",
    "querySelector",
    "reduce",
    "repeat",
    "startsWith",
    "trim",
    "write",
];

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    /// A number, a string or a regular expression.
    Value,
    Mark(char),
}

/// What of it no engine of 2010 is sure to read.
fn faults(script: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let tokens = tokens(script, &mut faults);
    let at = |n: usize| tokens.get(n).cloned().unwrap_or(Token::Mark(' '));
    let is = |n: usize, mark: char| at(n) == Token::Mark(mark);
    for (n, token) in tokens.iter().enumerate() {
        let before = n.checked_sub(1).map_or(Token::Mark(' '), &at);
        let begins_property = before == Token::Mark('{') || before == Token::Mark(',');
        match token {
            Token::Word(word) => {
                let word = word.as_str();
                let keyword = KEYWORDS.contains(&word);
                let names = before == Token::Mark('.') || begins_property && is(n + 1, ':');
                if RESERVED.contains(&word) || keyword && names {
                    faults.push(format!("{word} is reserved"));
                }
                if UNWANTED.contains(&word) {
                    faults.push(format!("{word} is not wanted"));
                }
                if word == "of" {
                    faults.push("for of".to_owned());
                }
                if matches!(word, "get" | "set")
                    && begins_property
                    && matches!(at(n + 1), Token::Word(_))
                {
                    faults.push(format!("{word} is an accessor"));
                }
                if begins_property && !keyword && is(n + 1, '(') {
                    let end = closing(&tokens, n + 1);
                    if is(end + 1, '{') {
                        faults.push(format!("{word} is a short method"));
                    }
                }
                if before == Token::Mark('{') && !keyword && (is(n + 1, ',') || is(n + 1, '}')) {
                    faults.push(format!("{word} is a short property"));
                }
            }
            Token::Mark(',') if is(n + 1, '}') || is(n + 1, ']') || is(n + 1, ')') => {
                faults.push("a trailing comma".to_owned());
            }
            Token::Mark('>') if before == Token::Mark('=') => faults.push("an arrow".to_owned()),
            Token::Mark('`') => faults.push("a template".to_owned()),
            Token::Mark('.') if before == Token::Mark('.') => faults.push("a spread".to_owned()),
            Token::Mark('.' | '?') if before == Token::Mark('?') => {
                faults.push("a question of 2020".to_owned());
            }
            Token::Mark('*') if before == Token::Mark('*') => faults.push("a power".to_owned()),
            Token::Mark('=') if n > 0 && is(n - 1, '(') => faults.push("an odd =".to_owned()),
            Token::Mark(c) if !c.is_ascii() || "#@\\".contains(*c) => {
                faults.push(format!("{c:?}"));
            }
            _ => {}
        }
        // Defaults of parameters.
        if *token == Token::Word("function".to_owned()) {
            let open = if is(n + 1, '(') { n + 1 } else { n + 2 };
            for inside in open..closing(&tokens, open) {
                if is(inside, '=') || is(inside, '{') || is(inside, '[') {
                    faults.push("parameters are names".to_owned());
                }
            }
        }
    }
    faults
}

/// Where the bracket that opens here is closed.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (n, token) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Mark('(') => depth += 1,
            Token::Mark(')') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return n;
        }
    }
    tokens.len()
}

fn tokens(script: &str, faults: &mut Vec<String>) -> Vec<Token> {
    let octets: Vec<char> = script.chars().collect();
    let at = |n: usize| octets.get(n).copied().unwrap_or('\n');
    let mut tokens: Vec<Token> = Vec::new();
    let mut n = 0;
    while n < octets.len() {
        let c = at(n);
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
        if c.is_ascii_whitespace() {
            n += 1;
        } else if c == '/' && at(n + 1) == '/' {
            while at(n) != '\n' {
                n += 1;
            }
        } else if c == '/' && at(n + 1) == '*' {
            while !(at(n) == '*' && at(n + 1) == '/') && n < octets.len() {
                n += 1;
            }
            n += 2;
        } else if c == '\'' || c == '"' || c == '/' && begins_value(tokens.last()) {
            n += 1;
            let mut in_class = false;
            while at(n) != c || in_class {
                match at(n) {
                    '\n' => {
                        faults.push(format!("{c} does not end in its line"));
                        break;
                    }
                    '[' if c == '/' => in_class = true,
                    ']' => in_class = false,
                    '\\' => {
                        if at(n + 1) == 'u' && at(n + 2) == '{' {
                            faults.push("an escape of 2015".to_owned());
                        }
                        n += 1;
                    }
                    _ => {}
                }
                n += 1;
            }
            n += 1;
            if c == '/' {
                while at(n).is_ascii_alphabetic() {
                    if !"gim".contains(at(n)) {
                        faults.push(format!("the flag {}", at(n)));
                    }
                    n += 1;
                }
            }
            tokens.push(Token::Value);
        } else if c.is_ascii_digit() {
            let mut number = String::new();
            while is_word(at(n)) || at(n) == '.' {
                number.push(at(n));
                n += 1;
            }
            if ["0b", "0o", "_", "n"]
                .iter()
                .any(|new| number.contains(new))
            {
                faults.push(format!("the number {number}"));
            }
            tokens.push(Token::Value);
        } else if is_word(c) {
            let mut word = String::new();
            while is_word(at(n)) {
                word.push(at(n));
                n += 1;
            }
            tokens.push(Token::Word(word));
        } else {
            tokens.push(Token::Mark(c));
            n += 1;
        }
    }
    tokens
}

/// Whether a slash behind this begins a regular expression.
fn begins_value(before: Option<&Token>) -> bool {
    match before {
        None => true,
        Some(Token::Value) => false,
        Some(Token::Word(word)) => KEYWORDS.contains(&word.as_str()) && word != "this",
        Some(Token::Mark(mark)) => !matches!(mark, ')' | ']' | '}'),
    }
}

#[test]
fn the_script_is_of_2010() {
    let program = Program::serve(&[]);
    let page = Page::load(&program);
    let html = Html::parse_document(&page.body);
    let script = html.select(&Selector::parse("script").unwrap()).next();
    let script: String = script.unwrap().text().collect();
    assert!(script.is_ascii());
    assert_eq!(faults(&script), [""; 0]);
    let mut none = Vec::new();
    assert!(tokens(&script, &mut none).len() > 2000);
}

#[test]
fn the_scan_sees_what_is_newer() {
    for new in [
        "let x = 1;",
        "const x = 1;",
        "f(function () {}, () => 1);",
        "x = `a`;",
        "x = { a: 1, };",
        "x = [1, 2, ];",
        "f(a, );",
        "x.class = 1;",
        "x.delete();",
        "x = { default: 1 };",
        "x = { a: 1, new: 2 };",
        "function long() {}",
        "x = { get a() { return 1; } };",
        "x = { a() { return 1; } };",
        "x = { a: 1, b(c, d) { return 1; } };",
        "x = { a };",
        "x = { a, b: 1 };",
        "for (x of y) {}",
        "f(...x);",
        "x = y ?? z;",
        "x = y?.z;",
        "x = y ** 2;",
        "function f(a = 1) {}",
        "function f({ a }) {}",
        "x = '\\u{1f600}';",
        "x = /a/u;",
        "x = 'a\nb';",
        "x = 0b1;",
        "x = 1n;",
        "x.innerHTML = y;",
        "x.forEach(f);",
        "async function f() {}",
    ] {
        assert!(!faults(new).is_empty(), "{new}");
    }
    for old in [
        "var x = a ? null : b, y = { 'class': 1, of_: 2, a: [1, 2], b: function (c) { f(c); } };",
        "x = a / b / c; y = /[/'\"`]=>/g.test(z); // let `x` => { a, }\n/* const */",
        "if (a) { f(a); } else { x = 'let => `'; } for (i in y) { delete y[i]; }",
        "switch (a) { case 1: f(); break; default: g(); }",
        "try { f(); } catch (e) { g(e); } x.get('a'); x = { get: 1, set: 2 };",
    ] {
        assert_eq!(faults(old), [""; 0], "{old}");
    }
}
