//! The order of the simulator's modules, and the wall between the plant and the optimizer.

use std::path::Path;

use source::SourceFile;

#[path = "../../../optimizer/tests/it/layering/source.rs"]
mod source;

/// The modules that say how servers behave.
const PLANT: [&str; 3] = ["kernel", "engine", "catalog"];

/// What the plant may take from the optimizer: words, and nothing that the optimizer believes.
const VOCABULARY: [&str; 2] = ["id", "units"];

#[test]
fn modules_use_only_those_above_them() {
    let (order, files) = source::read_crate(Path::new(env!("CARGO_MANIFEST_DIR")));
    let violations: Vec<_> = files.iter().flat_map(|file| order.violations(file)).collect();
    assert_eq!(violations, [""; 0]);
}

/// A plant that asked the optimizer how fast it is would confirm whatever the optimizer believes.
#[test]
fn the_plant_never_asks_the_optimizer() {
    let (_, files) = source::read_crate(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(files.iter().any(is_plant), "there is no plant to check");
    let violations: Vec<_> = files.iter().flat_map(questions_to_the_optimizer).collect();
    assert_eq!(violations, [""; 0]);
}

/// The paths in a file of the plant that lead into the optimizer beyond its vocabulary.
fn questions_to_the_optimizer(file: &SourceFile) -> Vec<String> {
    let question = |path: &&Vec<String>| {
        path[0] == "optimizer" && path.get(1).is_none_or(|name| !VOCABULARY.contains(&&**name))
    };
    let violation = |path: &Vec<String>| format!("{} uses {}", file.name, path.join("::"));
    let paths = file.paths.iter().filter(|_| is_plant(file));
    paths.filter(question).map(violation).collect()
}

fn is_plant(file: &SourceFile) -> bool {
    PLANT.contains(&&*file.module[0])
}

#[test]
fn a_question_to_the_optimizer_is_found() {
    let check = |name: &str, text: &str, expected: &[&str]| {
        assert_eq!(questions_to_the_optimizer(&SourceFile::new(name, text)), expected, "{text}");
    };
    check("engine.rs", "use optimizer::{id::ModelId, units::Seconds};", &[]);
    check("control.rs", "use optimizer::Controller;", &[]);
    check(
        "engine.rs",
        "use optimizer::policy::Policy;",
        &["engine.rs uses optimizer::policy::Policy"],
    );
    check(
        "engine/step_time.rs",
        "fn f() { optimizer::analyzers::saturation::analyze() }",
        &["engine/step_time.rs uses optimizer::analyzers::saturation::analyze"],
    );
    check("kernel.rs", "use optimizer::*;", &["kernel.rs uses optimizer::*"]);
}
