//! The paths that Rust source mentions, and what may be concluded from them.
//!
//! This reads text, so it sees paths as they are written. It resolves grouped imports, `super` and
//! the re-exports of `lib.rs`, but neither an alias of the crate nor a macro. Comments and strings
//! do not count. The other crates of the workspace include this file for the same check.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file of a crate.
pub(crate) struct SourceFile {
    /// Where it is, from `src/`.
    pub(crate) name: String,
    /// Its modules from the crate's root: `["engine", "blocks"]` for `engine/blocks.rs`.
    pub(crate) module: Vec<String>,
    /// Each path in it, by segments.
    pub(crate) paths: Vec<Vec<String>>,
}

/// The top-level modules of a crate in the order in which `lib.rs` lists them.
pub(crate) struct ModuleOrder {
    rank: BTreeMap<String, usize>,
    /// The module from which `lib.rs` re-exports a name.
    reexports: BTreeMap<String, String>,
}

impl SourceFile {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let module = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        Self { name: name.to_owned(), module, paths: paths(text) }
    }
}

impl ModuleOrder {
    pub(crate) fn of(lib: &str) -> Self {
        let tokens = tokens(lib);
        let modules = tokens.windows(3).filter(|window| window[0] == "mod" && window[2] == ";");
        let rank: BTreeMap<String, usize> =
            modules.enumerate().map(|(rank, window)| (window[1].clone(), rank)).collect();
        let reexports = paths(lib)
            .into_iter()
            .filter(|path| path.len() > 1 && rank.contains_key(&path[0]))
            .map(|path| (path[path.len() - 1].clone(), path[0].clone()))
            .collect();
        Self { rank, reexports }
    }

    /// The paths in `file` that lead to a module which `lib.rs` lists after the file's own. A file
    /// that belongs to no module is compiled by nobody, which is a violation too.
    pub(crate) fn violations(&self, file: &SourceFile) -> Vec<String> {
        let Some(own) = self.rank.get(&file.module[0]) else {
            let orphan = format!("{} is in no module of lib.rs", file.name);
            return if ["lib", "main"].contains(&&*file.module[0]) { vec![] } else { vec![orphan] };
        };
        file.paths
            .iter()
            .filter(|path| {
                let target = from_root(path, file.module.len());
                let module = target.map(|name| self.reexports.get(name).map_or(name, |m| m));
                module == Some("*") || module.is_some_and(|m| self.rank.get(m) > Some(own))
            })
            .map(|path| format!("{} uses {}", file.name, path.join("::")))
            .collect()
    }
}

/// Every source file of a crate, in the order of their names, and the order of its modules.
///
/// Panics when there is none: a check of nothing would pass.
pub(crate) fn read_crate(root: &Path) -> (ModuleOrder, Vec<SourceFile>) {
    let src = root.join("src");
    let order = ModuleOrder::of(&fs::read_to_string(src.join("lib.rs")).unwrap());
    assert!(!order.rank.is_empty(), "lib.rs lists no module");

    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let source_file = |path: PathBuf| {
        let name = path.strip_prefix(&src).unwrap().to_str().unwrap();
        SourceFile::new(name, &fs::read_to_string(&path).unwrap())
    };
    (order, files.into_iter().map(source_file).collect())
}

/// The top-level name that a path in a module of this depth leads to, if it starts at the root.
///
/// As many `super` as the module is deep lead to the root, and one more from an inline module. A
/// name after them counts only where it is used as a module, since an item of a parent may have
/// the same name.
fn from_root(path: &[String], depth: usize) -> Option<&str> {
    if path[0] == "crate" {
        return path.get(1).map(String::as_str);
    }
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    (supers >= depth && path.len() > supers + 1).then(|| path[supers].as_str())
}

fn paths(text: &str) -> Vec<Vec<String>> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = if is_name(&tokens[at]) { read_path(&tokens, at, &[], &mut found) } else { at + 1 };
    }
    found
}

/// Reads the path, or the group of paths, that starts at a token; returns where the next starts.
fn read_path(
    tokens: &[String],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<Vec<String>>,
) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        if token == "{" && !path.is_empty() {
            at += 1;
            while at < tokens.len() && tokens[at] != "}" {
                if !is_name(&tokens[at]) && tokens[at] != "*" {
                    at += 1;
                    continue;
                }
                at = read_path(tokens, at, &path, found);
                // Whatever follows a path in a group, such as `as Name`, is not a path.
                while at < tokens.len() && tokens[at] != "," && tokens[at] != "}" {
                    at += 1;
                }
            }
            return at + 1;
        }
        if !is_name(token) && token != "*" {
            break;
        }
        path.push(token.clone());
        at += 1;
        if tokens.get(at).is_none_or(|next| next != "::") {
            break;
        }
        at += 1;
    }
    found.push(path);
    at
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::` and single characters; without white space, comments, strings and characters.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' {
            character(rest)
        } else if first.is_whitespace() {
            first.len_utf8()
        } else {
            let length = match word {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                _ => word,
            };
            tokens.push(rest[..length].to_owned());
            length
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of a comment, which may hold others.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => depth += 1,
            [b'*', b'/', ..] => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of `r"..."` or `r#"..."#`, also of bytes, if the text starts with one.
fn raw_string(text: &str) -> Option<usize> {
    let body = text.strip_prefix('b').unwrap_or(text).strip_prefix('r')?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let body = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(text.len() - body.len() + length)
}

/// The length of a literal between two quotes, the first of which starts the text.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + quote.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// The length of a character, or 1 if the quote starts a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(text, '\''),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "pub mod units;\nmod id;\npub mod solver;\npub(crate) mod controller;\n\
                       pub use solver::{Allocation, Solver};\npub use controller::Controller;\n";

    fn violations(name: &str, text: &str) -> Vec<String> {
        ModuleOrder::of(LIB).violations(&SourceFile::new(name, text))
    }

    #[test]
    fn a_module_may_use_those_above_it_and_itself() {
        let check = |name: &str, text: &str| assert_eq!(violations(name, text), [""; 0], "{text}");
        check("solver.rs", "use crate::units::Seconds; use crate::{id, units::Tokens};");
        check("solver/greedy.rs", "use super::Problem; use crate::solver::Allocation;");
        check("solver/greedy.rs", "fn f() -> crate::Allocation { super::super::units::zero() }");
        check("solver.rs", "mod tests { use super::controller; }");
        check("units.rs", "/// See [`crate::solver`].\n/* crate::solver /* crate::id */ */");
        check("units.rs", "const A: &str = \"crate::solver\"; const B: &str = r#\"\"crate::id\"#;");
        check(
            "units.rs",
            "const Q: char = '\"'; const S: &str = \"\\\" crate::id\"; fn f<'a>() {}",
        );
        check("units.rs", "use solver::Model;");
        check("lib.rs", "pub use crate::controller::Controller;");
    }

    #[test]
    fn a_file_belongs_to_a_module() {
        assert_eq!(violations("old/solver.rs", ""), ["old/solver.rs is in no module of lib.rs"]);
    }

    #[test]
    fn a_module_may_not_use_those_below_it() {
        let check = |name: &str, text: &str, path: &str| {
            assert_eq!(violations(name, text), [format!("{name} uses {path}")], "{text}");
        };
        check("units.rs", "use crate::solver::Solver;", "crate::solver::Solver");
        check("id.rs", "fn f(x: crate::controller::State) {}", "crate::controller::State");
        check("id.rs", "use crate::{\n    units::Tokens,\n    solver,\n};", "crate::solver");
        check("id.rs", "use crate::{units as u, solver::{A as B}};", "crate::solver::A");
        check("units/time.rs", "use crate::id;", "crate::id");
        check("units/time.rs", "use super::super::id::ModelId;", "super::super::id::ModelId");
        check("units.rs", "use super::id::ModelId;", "super::id::ModelId");
        check(
            "units.rs",
            "mod tests { use super::super::id::ModelId; }",
            "super::super::id::ModelId",
        );
        check("solver.rs", "use crate::Controller;", "crate::Controller");
        check("solver.rs", "use crate::*;", "crate::*");
        check("id.rs", "const Q: char = '\"'; use crate::solver;", "crate::solver");
        check("id.rs", "fn f<'a>(x: &'a str) { crate::solver::f(\"'\") }", "crate::solver::f");
    }
}
