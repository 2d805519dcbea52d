//! Which file of a crate uses which other one. Not a compiler: it reads `use` and written-out paths (`crate::`, `super::`,
//! `self::`, a child module), follows re-exports to the file that defines a name, and leaves tests out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Module = Vec<String>;

/// The files of one crate, and the edges between them, both by path below the crate's `src`.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    pub(crate) edges: BTreeMap<String, BTreeSet<String>>,
}

/// What one file says.
#[derive(Debug, Default)]
struct Source {
    /// Below `src`, for people.
    name: String,
    /// Names that its own code mentions, with how often.
    mentioned: BTreeMap<String, usize>,
    defined: BTreeSet<String>,
    /// Child modules in files of their own.
    children: BTreeSet<String>,
    /// Child modules that are for tests only.
    tests: BTreeSet<String>,
    uses: Vec<Use>,
    /// Paths that are written out where they are used.
    paths: Vec<Vec<String>>,
}

/// One name that a `use` brings in.
#[derive(Clone, Debug)]
struct Use {
    path: Vec<String>,
    /// What it is called here; `*` for a glob.
    name: String,
    is_public: bool,
}

impl Imports {
    /// Reads the library below `src` (its programs, which use it from outside, are not looked at).
    pub(crate) fn of(src: &Path) -> Imports {
        Imports::read(|name| fs::read_to_string(src.join(name)).ok())
    }

    /// The same of files that are given by their names below `src`.
    fn read(file: impl Fn(&str) -> Option<String>) -> Imports {
        let mut sources: BTreeMap<Module, Source> = BTreeMap::new();
        let mut open = vec![("lib.rs".to_owned(), Module::new())];
        while let Some((name, module)) = open.pop() {
            // What is not where modules are (`#[path]`, generated code) is not looked at.
            let Some(text) = file(&name) else { continue };
            let mut source = read(&text);
            for child in source.children.difference(&source.tests) {
                let module = [module.clone(), vec![child.clone()]].concat();
                let flat = format!("{}.rs", module.join("/"));
                let name = if file(&flat).is_some() { flat } else { format!("{}/mod.rs", module.join("/")) };
                open.push((name, module));
            }
            source.name = name;
            sources.insert(module, source);
        }
        let mut imports = Imports::default();
        for (module, source) in &sources {
            let mut targets = BTreeSet::new();
            for found in &source.uses {
                // A re-export that the file itself does not use is a sign at the door, no dependency.
                let used = found.name == "*" || source.mentioned.get(&found.name).is_some_and(|n| *n > 0);
                if !found.is_public || used {
                    targets.extend(resolve(&sources, module, &found.path, 0));
                }
            }
            for path in &source.paths {
                targets.extend(resolve(&sources, module, path, 0));
            }
            let names = targets.iter().filter(|target| *target != module);
            let names = names.map(|target| sources[target].name.clone()).collect();
            imports.edges.insert(source.name.clone(), names);
        }
        imports
    }

    /// Groups of files each of which reaches all others of its group; sorted, with two files at least.
    pub(crate) fn circles(&self) -> Vec<BTreeSet<String>> {
        let reached = |from: &String| {
            let mut seen = BTreeSet::new();
            let mut open = vec![from];
            while let Some(next) = open.pop() {
                for to in &self.edges[next] {
                    if seen.insert(to) {
                        open.push(to);
                    }
                }
            }
            seen
        };
        let reach: BTreeMap<&String, BTreeSet<&String>> =
            self.edges.keys().map(|name| (name, reached(name))).collect();
        let mut circles = BTreeSet::new();
        for (name, reaches) in &reach {
            let circle: BTreeSet<String> =
                reaches.iter().filter(|other| reach[*other].contains(name)).map(|s| (*s).clone()).collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }
}

/// The module in whose file the path ends.
fn resolve(
    sources: &BTreeMap<Module, Source>,
    from: &Module,
    path: &[String],
    depth: usize,
) -> Option<Module> {
    /// Re-exports of re-exports, at most.
    const DEPTH_MAX: usize = 16;
    let mut at = from.clone();
    let mut rest = path.iter().peekable();
    match rest.peek()?.as_str() {
        "crate" => {
            at.clear();
            rest.next();
        }
        "self" => drop(rest.next()),
        "super" => {
            while rest.next_if(|part| *part == "super").is_some() {
                at.pop();
            }
        }
        child if sources[from].children.contains(child) => {}
        // Another crate.
        _ => return None,
    }
    while let Some(part) = rest.next() {
        let child = [at.clone(), vec![part.clone()]].concat();
        if sources.contains_key(&child) {
            at = child;
            continue;
        }
        let source = &sources[&at];
        if source.defined.contains(part) || depth == DEPTH_MAX {
            break;
        }
        let named = source.uses.iter().filter(|found| found.name == *part);
        let globs = source.uses.iter().filter(|found| found.name == "*").filter(|found| {
            let target = resolve(sources, &at, &found.path, depth + 1);
            target.is_some_and(|target| sources[&target].defined.contains(part))
        });
        if let Some(found) = named.chain(globs).next() {
            let mut path = found.path.clone();
            if found.name == "*" {
                path.push(part.clone());
            }
            path.extend(rest.cloned());
            // A name of another crate, passed on, is this file's.
            return Some(resolve(sources, &at, &path, depth + 1).unwrap_or(at));
        }
        break;
    }
    Some(at)
}

/// Takes a file apart.
fn read(text: &str) -> Source {
    let tokens = without_tests(&tokens(text));
    let mut source = Source::default();
    let mut at = 0;
    let word = |at: usize| tokens.get(at).map_or("", String::as_str);
    // Declarations first, since a path may begin with a child.
    for at in 0..tokens.len() {
        match word(at) {
            "mod" if word(at + 2) == ";" => {
                source.children.insert(word(at + 1).to_owned());
            }
            "testmod" => {
                source.tests.insert(word(at + 1).to_owned());
            }
            "struct" | "enum" | "fn" | "trait" | "const" | "static" | "type" | "union" => {
                source.defined.insert(word(at + 1).to_owned());
            }
            _ => {}
        }
    }
    while at < tokens.len() {
        let (token, before) = (word(at), if at == 0 { "" } else { word(at - 1) });
        if token == "use" {
            let end = at + tokens[at..].iter().position(|token| token == ";").unwrap_or(tokens.len() - at);
            let is_public = before == "pub" || before == ")";
            tree(&tokens[at + 1..end.min(tokens.len())], &[], is_public, &mut source.uses);
            at = end + 1;
            continue;
        }
        let starts = matches!(token, "crate" | "super" | "self") || source.children.contains(token);
        let inside = matches!(before, "::" | "." | "in");
        if starts && !inside && word(at + 1) == "::" {
            let mut path = vec![token.to_owned()];
            while word(at + 1) == "::" && word(at + 2).starts_with(|c: char| c.is_alphabetic() || c == '_') {
                path.push(word(at + 2).to_owned());
                at += 2;
            }
            source.paths.push(path);
        } else {
            *source.mentioned.entry(token.to_owned()).or_default() += 1;
        }
        at += 1;
    }
    source
}

/// The leaves of a `use` tree.
fn tree(tokens: &[String], prefix: &[String], is_public: bool, uses: &mut Vec<Use>) {
    let mut path = prefix.to_vec();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "::" => {}
            "{" => {
                let (mut depth, mut start) = (0, at + 1);
                for (n, token) in tokens.iter().enumerate().skip(at) {
                    match token.as_str() {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        _ => {}
                    }
                    if (token == "," && depth == 1) || (token == "}" && depth == 0) {
                        if start < n {
                            tree(&tokens[start..n], &path, is_public, uses);
                        }
                        start = n + 1;
                    }
                }
                return;
            }
            "as" => {
                let name = tokens.get(at + 1).cloned().unwrap_or_default();
                uses.push(Use { path, name, is_public });
                return;
            }
            "self" if !path.is_empty() => {}
            part => path.push(part.to_owned()),
        }
        at += 1;
    }
    let name = path.last().cloned().unwrap_or_default();
    if name == "*" {
        path.pop();
    }
    uses.push(Use { path, name, is_public });
}

/// Words and signs, without comments, strings and characters.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let get = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if c == '/' && get(at + 1) == '/' {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if c == '/' && get(at + 1) == '*' {
            while at < chars.len() && !(chars[at] == '*' && get(at + 1) == '/') {
                at += 1;
            }
            at += 2;
        } else if c == '"' {
            at += 1;
            while at < chars.len() && chars[at] != '"' {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if c == '\'' && (get(at + 2) == '\'' || get(at + 1) == '\\') {
            at += 2;
            while at < chars.len() && chars[at] != '\'' {
                at += 1;
            }
            at += 1;
        } else if c.is_alphabetic() || c == '_' {
            let start = at;
            while get(at).is_alphanumeric() || get(at) == '_' {
                at += 1;
            }
            let word: String = chars[start..at].iter().collect();
            let hashes = (at..).take_while(|n| get(*n) == '#').count();
            if matches!(&*word, "r" | "br") && get(at + hashes) == '"' {
                let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                at += hashes + 1;
                while at < chars.len() && !chars[at..].starts_with(&end) {
                    at += 1;
                }
                at += end.len();
            } else {
                tokens.push(word);
            }
        } else if c == ':' && get(at + 1) == ':' {
            tokens.push("::".into());
            at += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
            at += 1;
        }
    }
    tokens
}

/// Leaves out every item under `#[cfg(test)]`; a test module in a file of its own becomes `testmod NAME`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    let word = |at: usize| tokens.get(at).map_or("", String::as_str);
    let is_test = |at: usize| (0..7).map(|n| word(at + n)).eq(["#", "[", "cfg", "(", "test", ")", "]"]);
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !is_test(at) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += 7;
        let item = at;
        let mut depth = 0;
        while at < tokens.len() {
            match word(at) {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            let ends = depth == 0 && matches!(word(at), ";" | "}");
            at += 1;
            if ends {
                break;
            }
        }
        let declared = tokens[item..at].iter().position(|token| token == "mod");
        if let Some(n) = declared.filter(|_| word(at - 1) == ";") {
            kept.extend(["testmod".to_owned(), word(item + n + 1).to_owned()]);
        }
    }
    kept
}

mod tests {
    use super::*;

    fn edges(files: &[(&str, &str)]) -> Vec<String> {
        let file = |name: &str| files.iter().find(|(of, _)| *of == name).map(|(_, text)| (*text).to_owned());
        let imports = Imports::read(file);
        let shown = |(from, to): (&String, &BTreeSet<String>)| {
            to.iter().map(|to| format!("{from} {to}")).collect::<Vec<_>>()
        };
        imports.edges.iter().flat_map(shown).collect()
    }

    #[test]
    fn uses_lead_to_the_file_that_defines_the_name() {
        for (what, text, want) in [
            ("a name", "use crate::a::Thing;", "b.rs a/mod.rs"),
            ("a re-export", "use crate::a::Inner;", "b.rs a/inner.rs"),
            ("a re-export of the root", "use crate::Passed;", "b.rs a/inner.rs"),
            ("a glob re-export", "use super::a::Other;", "b.rs a/other.rs"),
            ("a module", "use crate::a::inner;", "b.rs a/inner.rs"),
            ("another name", "use crate::a::Inner as Mine;", "b.rs a/inner.rs"),
            (
                "a tree",
                "use crate::{a::{self, inner::{Inner}}, Nothing};",
                "b.rs a/inner.rs;b.rs a/mod.rs;b.rs lib.rs",
            ),
            (
                "a path",
                "fn f() -> crate::a::inner::Inner { super::a::thing(1) }",
                "b.rs a/inner.rs;b.rs a/mod.rs",
            ),
            ("another crate", "use std::a::Thing; fn f() { x::crate_::y() }", ""),
            ("a comment", "// use crate::a::Thing;\n/* crate::a::Thing */", ""),
            ("a string", "const A: &str = \"crate::a::Thing\"; const B: &str = r#\"crate::a\"#;", ""),
            ("a lifetime", "fn f<'a>(a: &'a str) { '\\''; crate::a::thing('\"') }", "b.rs a/mod.rs"),
            ("a visibility", "pub(in crate::a) struct S;", ""),
            ("a test", "#[cfg(test)] mod tests { use crate::a::Thing; }", ""),
            ("a test's import", "#[cfg(test)] use crate::a::Thing; use crate::a::Inner;", "b.rs a/inner.rs"),
            ("a file of tests", "#[cfg(test)] mod tests;", ""),
        ] {
            let files = [
                ("lib.rs", "mod a; mod b; pub use a::Inner as Passed;"),
                (
                    "a/mod.rs",
                    "mod inner; mod other; pub use inner::Inner; pub use other::*; pub struct Thing;",
                ),
                ("a/inner.rs", "pub struct Inner;"),
                ("a/other.rs", "pub struct Other;"),
                ("b/tests.rs", "use crate::a::Thing;"),
                ("b.rs", text),
            ];
            let found: Vec<String> = edges(&files).into_iter().filter(|edge| edge.starts_with("b")).collect();
            assert_eq!(found.join(";"), want, "{what}: {text}");
        }
    }

    #[test]
    fn circles_are_found_whole() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; mod d; pub use a::A;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "use crate::c::C; pub struct B;"),
            ("c.rs", "use crate::A; pub struct C;"),
            ("d.rs", "use crate::A; pub struct D;"),
        ];
        let imports = Imports::read(|name| {
            files.iter().find(|(of, _)| *of == name).map(|(_, text)| (*text).to_owned())
        });
        let circle = ["a.rs", "b.rs", "c.rs"].map(str::to_owned);
        assert_eq!(imports.circles(), [BTreeSet::from(circle)]);
    }
}
