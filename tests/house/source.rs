//! A source file as the rules see it: its tokens and items, without tests and
//! comments, and the paths that it names.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Item, ItemStruct, UseTree, Visibility};

/// From the root of the crate: `["net", "worker"]`.
pub(crate) type Path = Vec<String>;

/// A file of `src/`.
pub(crate) struct Source {
    /// Its path from the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    tokens: TokenStream,
    items: Vec<Item>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let tokens = text.parse::<TokenStream>();
        let tokens = without_tests(tokens.unwrap_or_else(|error| panic!("{path}: {error}")));
        let file = syn::parse2::<syn::File>(tokens.clone());
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            tokens,
            items: file.unwrap_or_else(|error| panic!("{path}: {error}")).items,
        }
    }

    /// The program: it sees the library as any user does.
    pub(crate) fn is_program(&self) -> bool {
        self.path == "src/main.rs" || self.path.starts_with("src/cli/")
    }

    /// `["net", "worker"]` for `src/net/worker/mod.rs`; nothing for `lib.rs`.
    pub(crate) fn module(&self) -> Path {
        let path = self.path.strip_prefix("src/").unwrap();
        let path = path.strip_suffix(".rs").unwrap();
        let mut parts: Path = path.split('/').map(str::to_owned).collect();
        if matches!(parts.last().unwrap().as_str(), "mod" | "lib") {
            parts.pop();
        }
        // It stands in the place of TLS where that is off.
        if let Some(last) = parts.last_mut().filter(|last| *last == "no_tls") {
            "tls".clone_into(last);
        }
        parts
    }

    /// Every name, also inside macros and attributes.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        each_token(&self.tokens, &mut |token| {
            if let TokenTree::Ident(name) = token {
                names.push(name.to_string());
            }
        });
        names
    }

    /// Every literal, also inside macros and attributes.
    pub(crate) fn literals(&self) -> Vec<String> {
        let mut literals = Vec::new();
        each_token(&self.tokens, &mut |token| {
            if let TokenTree::Literal(literal) = token {
                literals.push(literal.to_string());
            }
        });
        literals
    }

    /// What it names of this crate, from the root of the crate; `*` stands for
    /// all of a module.
    pub(crate) fn imports(&self) -> BTreeSet<Path> {
        let module = self.module();
        let of_crate = |path: &Path| path.first().is_some_and(|first| first != "std");
        let paths = written_paths(&self.tokens).into_iter().filter(of_crate);
        paths.map(|path| from_root(&path, &module)).collect()
    }

    /// What it names of `std`.
    pub(crate) fn std_paths(&self) -> BTreeSet<String> {
        let of_std = |path: &Path| path.first().is_some_and(|first| first == "std");
        let paths = written_paths(&self.tokens).into_iter().filter(of_std);
        paths.map(|path| path.join("::")).collect()
    }

    /// The files below this one, in the order of its `mod` lines.
    pub(crate) fn children(&self) -> Vec<String> {
        let child = |item: &Item| match item {
            Item::Mod(module) if module.content.is_none() => Some(module.ident.to_string()),
            _ => None,
        };
        self.items.iter().filter_map(child).collect()
    }

    /// The items that it defines; what it imports is not among them.
    fn defined(&self) -> BTreeSet<String> {
        let name = |item: &Item| match item {
            Item::Const(item) => Some(item.ident.to_string()),
            Item::Enum(item) => Some(item.ident.to_string()),
            Item::Fn(item) => Some(item.sig.ident.to_string()),
            Item::Macro(item) => item.ident.as_ref().map(ToString::to_string),
            Item::Static(item) => Some(item.ident.to_string()),
            Item::Struct(item) => Some(item.ident.to_string()),
            Item::Trait(item) => Some(item.ident.to_string()),
            Item::Type(item) => Some(item.ident.to_string()),
            Item::Union(item) => Some(item.ident.to_string()),
            _ => None,
        };
        self.items.iter().filter_map(name).collect()
    }

    /// What it imports from the files below it for itself alone, and does not
    /// use: only they could want it.
    pub(crate) fn laundered(&self) -> Vec<String> {
        let children = self.children();
        let mut imported = Vec::new();
        for item in &self.items {
            if let Item::Use(item) = item {
                let private = matches!(item.vis, Visibility::Inherited);
                if private && starts_in(&item.tree, &children) {
                    imported_names(&item.tree, &mut imported);
                }
            }
        }
        let mut used = Used::default();
        self.items.iter().for_each(|item| used.visit_item(item));
        imported.retain(|name| !used.names.contains(name));
        imported
    }

    /// Every struct with the number of its fields.
    pub(crate) fn structs(&self) -> Vec<(String, usize)> {
        let mut structs = Structs::default();
        self.items.iter().for_each(|item| structs.visit_item(item));
        structs.found
    }
}

/// All files of the library and the program, by module.
pub(crate) struct House {
    pub(crate) sources: Vec<Source>,
    modules: BTreeMap<Path, Module>,
}

struct Module {
    children: Vec<String>,
    defined: BTreeSet<String>,
}

impl House {
    pub(crate) fn new(sources: Vec<Source>) -> House {
        let module = |source: &Source| {
            let module = Module {
                children: source.children(),
                defined: source.defined(),
            };
            (source.module(), module)
        };
        let modules = sources.iter().map(module).collect();
        House { sources, modules }
    }

    /// The longest start of this path that is a file.
    pub(crate) fn file_of<'p>(&self, path: &'p [String]) -> &'p [String] {
        let starts = (0..=path.len()).rev().map(|n| &path[..n]);
        let mut files = starts.filter(|start| self.modules.contains_key(*start));
        files.next().unwrap_or_default()
    }

    /// Whether this file defines an item of this name.
    pub(crate) fn defines(&self, file: &[String], name: &str) -> bool {
        let file = self.modules.get(file);
        file.is_some_and(|file| file.defined.contains(name))
    }

    /// The place of a file in the order of its folder, lowest first.
    pub(crate) fn order_in(&self, folder: &[String], name: &str) -> Option<usize> {
        let children = &self.modules.get(folder)?.children;
        children.iter().position(|child| child == name)
    }
}

/// Leaves out every item under `#[cfg(test)]`, and all behind `#![cfg(test)]`.
fn without_tests(tokens: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) if is_cfg_test(&group) => {
                let mark: Option<TokenTree> = kept.pop(); // in front of it
                if mark.is_some_and(|mark| mark.to_string() == "!") {
                    // `#![cfg(test)]`: all that follows.
                    kept.pop();
                    break;
                }
                for token in tokens.by_ref() {
                    if is_end_of_item(&token) {
                        break;
                    }
                }
            }
            TokenTree::Group(group) => {
                let inside = without_tests(group.stream());
                kept.push(Group::new(group.delimiter(), inside).into());
            }
            token => kept.push(token),
        }
    }
    kept.into_iter().collect()
}

fn is_cfg_test(group: &Group) -> bool {
    let text: String = group.stream().to_string().split_whitespace().collect();
    group.delimiter() == Delimiter::Bracket
        && (text == "cfg(test)" || text.starts_with("cfg(all(test,"))
}

fn is_end_of_item(token: &TokenTree) -> bool {
    match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    }
}

/// A comment on an item: `#[doc = "…"]`.
fn is_doc(group: &Group) -> bool {
    let first = group.stream().into_iter().next();
    let is_doc = matches!(first, Some(TokenTree::Ident(name)) if name == "doc");
    is_doc && group.delimiter() == Delimiter::Bracket
}

/// The place of `pub(in place)`, which is no import.
fn is_visibility(group: &Group) -> bool {
    let first = group.stream().into_iter().next();
    let is_in = matches!(first, Some(TokenTree::Ident(name)) if name == "in");
    is_in && group.delimiter() == Delimiter::Parenthesis
}

fn each_token(tokens: &TokenStream, visit: &mut dyn FnMut(&TokenTree)) {
    for token in tokens.clone() {
        match &token {
            TokenTree::Group(group) if is_doc(group) => {}
            TokenTree::Group(group) => each_token(&group.stream(), visit),
            _ => visit(&token),
        }
    }
}

/// Every path that starts with `crate`, `self`, `super` or `std`, as it is
/// written. Tokens are read, not syntax, so those inside macros are found too.
fn written_paths(tokens: &TokenStream) -> Vec<Path> {
    let mut paths = Vec::new();
    find_paths(tokens, &mut paths);
    paths
}

fn find_paths(tokens: &TokenStream, paths: &mut Vec<Path>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Group(group) if is_doc(group) || is_visibility(group) => {}
            TokenTree::Group(group) => find_paths(&group.stream(), paths),
            TokenTree::Ident(name) if is_start(&name.to_string()) && goes_on(&tokens, at) => {
                at = read_path(&tokens, at - 1, Vec::new(), paths);
            }
            _ => {}
        }
    }
}

fn is_start(name: &str) -> bool {
    matches!(name, "crate" | "self" | "super" | "std")
}

/// Whether `::` stands here.
fn goes_on(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':');
    colon(at) && colon(at + 1)
}

/// Reads a path, or several in braces; gives where it ends.
fn read_path(tokens: &[TokenTree], at: usize, start: Path, paths: &mut Vec<Path>) -> usize {
    let (mut path, mut at) = (start, at);
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(name)) => path.push(name.to_string()),
            Some(TokenTree::Punct(punct)) if punct.as_char() == '*' => path.push("*".to_owned()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                let is_comma =
                    |t: &TokenTree| matches!(t, TokenTree::Punct(p) if p.as_char() == ',');
                for part in inside.split(is_comma).filter(|part| !part.is_empty()) {
                    read_path(part, 0, path.clone(), paths);
                }
                return at + 1;
            }
            _ => break,
        }
        at += 1;
        if !goes_on(tokens, at) {
            break;
        }
        at += 2;
    }
    paths.push(path);
    at
}

fn from_root(path: &[String], module: &[String]) -> Path {
    let mut all = module.to_vec();
    for name in path {
        match name.as_str() {
            "crate" => all.clear(),
            "super" => drop(all.pop()),
            "self" => {}
            name => all.push(name.to_owned()),
        }
    }
    all
}

/// Whether a `use` takes from the files below.
fn starts_in(tree: &UseTree, children: &[String]) -> bool {
    match tree {
        UseTree::Path(path) if path.ident == "self" => starts_in(&path.tree, children),
        UseTree::Path(path) => children.iter().any(|child| path.ident == child),
        _ => false,
    }
}

fn imported_names(tree: &UseTree, names: &mut Vec<String>) {
    match tree {
        UseTree::Path(path) => imported_names(&path.tree, names),
        UseTree::Name(name) if name.ident == "self" => {}
        UseTree::Name(name) => names.push(name.ident.to_string()),
        UseTree::Rename(rename) if rename.rename == "_" => {}
        UseTree::Rename(rename) => names.push(rename.rename.to_string()),
        UseTree::Group(group) => {
            let trees = group.items.iter();
            trees.for_each(|tree| imported_names(tree, names));
        }
        UseTree::Glob(_) => {}
    }
}

/// The names outside `use` lines.
#[derive(Default)]
struct Used {
    names: BTreeSet<String>,
}

impl Visit<'_> for Used {
    fn visit_item_use(&mut self, _: &syn::ItemUse) {}

    fn visit_ident(&mut self, name: &proc_macro2::Ident) {
        self.names.insert(name.to_string());
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        each_token(&call.tokens, &mut |token| {
            if let TokenTree::Ident(name) = token {
                self.names.insert(name.to_string());
            }
        });
        visit::visit_macro(self, call);
    }
}

#[derive(Default)]
struct Structs {
    found: Vec<(String, usize)>,
}

impl Visit<'_> for Structs {
    fn visit_item_struct(&mut self, item: &ItemStruct) {
        self.found.push((item.ident.to_string(), item.fields.len()));
    }
}
