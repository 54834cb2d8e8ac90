//! The shape of the workspace: which crate uses which, which module uses which, and what the
//! optimizer must never touch.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use source::SourceFile;

mod source;

/// All that the optimizer may depend on, features included: data and the macros that derive it.
const PURE_CRATES: [&str; 19] = [
    // Data and errors
    "serde",
    "serde_core",
    "serde_derive",
    "thiserror",
    "thiserror-impl",
    // The JSON Schema of the policy file
    "dyn-clone",
    "itoa",
    "memchr",
    "ref-cast",
    "ref-cast-impl",
    "schemars",
    "schemars_derive",
    "serde_derive_internals",
    "serde_json",
    "zmij",
    // What derive macros are written with
    "proc-macro2",
    "quote",
    "syn",
    "unicode-ident",
];

/// Each crate of the workspace, and those of the others that it may use.
const WORKSPACE: [(&str, &[&str]); 4] = [
    ("plimsoll-optimizer", &[]),
    ("plimsoll-simulator", &["plimsoll-optimizer"]),
    ("plimsoll-operator", &["plimsoll-optimizer"]),
    ("plimsoll-benches", &["plimsoll-optimizer", "plimsoll-simulator"]),
];

/// Modules of `std` that reach outside.
const IMPURE_MODULES: [&str; 4] = ["fs", "io", "net", "thread"];

/// Clocks, and maps whose order differs between runs.
const IMPURE_NAMES: [&str; 4] = ["HashMap", "HashSet", "Instant", "SystemTime"];

#[test]
fn the_optimizer_depends_on_pure_crates_only() {
    let tree = cargo(&[
        "tree",
        "--package=plimsoll-optimizer",
        "--edges=normal",
        "--all-features",
        "--prefix=none",
        "--locked",
    ]);
    assert_eq!(impure_crates(&tree), [""; 0]);
}

#[test]
fn crates_of_the_workspace_use_only_those_they_may() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version=1", "--locked"]);
    assert_eq!(forbidden_edges(&serde_json::from_str(&metadata).unwrap()), [""; 0]);
}

#[test]
fn modules_use_only_those_above_them() {
    let (order, files) = source::read_crate(Path::new(env!("CARGO_MANIFEST_DIR")));
    let violations: Vec<_> = files.iter().flat_map(|file| order.violations(file)).collect();
    assert_eq!(violations, [""; 0]);
}

#[test]
fn the_optimizer_has_no_clock_no_thread_no_io_and_no_unordered_map() {
    let (_, files) = source::read_crate(Path::new(env!("CARGO_MANIFEST_DIR")));
    let violations: Vec<_> = files.iter().flat_map(impure_paths).collect();
    assert_eq!(violations, [""; 0]);
}

/// The crates in the output of `cargo tree` that are neither the optimizer nor pure.
fn impure_crates(tree: &str) -> Vec<&str> {
    let crates = tree.lines().filter_map(|line| line.split_whitespace().next());
    let mut crates = crates.peekable();
    assert_eq!(crates.peek(), Some(&"plimsoll-optimizer"), "{tree}");
    crates.skip(1).filter(|name| !PURE_CRATES.contains(name)).collect()
}

/// The dependencies between crates of the workspace, of any kind, that [`WORKSPACE`] lacks.
fn forbidden_edges(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().unwrap();
    let mut edges = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let Some((_, allowed)) = WORKSPACE.iter().find(|(member, _)| *member == name) else {
            edges.push(format!("{name} is not in the list"));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            if packages.iter().any(|package| package["name"] == used) && !allowed.contains(&used) {
                edges.push(format!("{name} uses {used}"));
            }
        }
    }
    edges
}

/// The paths in `file` that lead into an impure module or hold an impure name.
fn impure_paths(file: &SourceFile) -> Vec<String> {
    let impure = |path: &&Vec<String>| {
        let into_module = path.len() > 1 && path[0] == "std" && IMPURE_MODULES.contains(&&*path[1]);
        into_module || path.iter().any(|segment| IMPURE_NAMES.contains(&&**segment))
    };
    let violation = |path: &Vec<String>| format!("{} uses {}", file.name, path.join("::"));
    file.paths.iter().filter(impure).map(violation).collect()
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A check that cannot fail holds nothing, so each is shown a violation.
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_impure_crate_is_found() {
        let tree = "plimsoll-optimizer v0.1.0 (/x)\nserde v1.0.0\ntokio v1.0.0\nserde v1.0.0 (*)\n";
        assert_eq!(impure_crates(tree), ["tokio"]);
    }

    #[test]
    fn a_forbidden_edge_is_found() {
        let package = |name: &str, uses: &[&str]| {
            let uses: Vec<_> = uses.iter().map(|name| json!({ "name": name })).collect();
            json!({ "name": name, "dependencies": uses })
        };
        let metadata = json!({ "packages": [
            package("plimsoll-optimizer", &["serde"]),
            package("plimsoll-simulator", &["plimsoll-optimizer", "plimsoll-operator"]),
            package("plimsoll-operator", &["plimsoll-simulator"]),
            package("plimsoll-tools", &[]),
        ] });
        assert_eq!(
            forbidden_edges(&metadata),
            [
                "plimsoll-simulator uses plimsoll-operator",
                "plimsoll-operator uses plimsoll-simulator",
                "plimsoll-tools is not in the list",
            ]
        );
    }

    #[test]
    fn an_impure_path_is_found() {
        let check = |text: &str, expected: &[&str]| {
            let file = SourceFile::new("controller.rs", text);
            let expected: Vec<_> =
                expected.iter().map(|path| format!("controller.rs uses {path}")).collect();
            assert_eq!(impure_paths(&file), expected);
        };
        check("use std::time::Duration; use std::fmt; // std::fs\n", &[]);
        check(
            "use std::{fmt, io::Read, time::{self, Instant}};",
            &["std::io::Read", "std::time::Instant"],
        );
        check("fn f() { std::thread::yield_now() }", &["std::thread::yield_now"]);
        check(
            "fn f() -> HashMap<u8, u8> { time::SystemTime::now() }",
            &["HashMap", "time::SystemTime::now"],
        );
        check("use std::{fs, net};", &["std::fs", "std::net"]);
    }
}
