//! The files in `scenarios/`: each runs, and what is generated or repeated in them has not drifted.

use std::fs;
use std::path::{Path, PathBuf};

use optimizer::Policy;
use optimizer::units::Seconds;
use simulator::document::Document;
use simulator::scenario::{Overrides, Scenario};
use simulator::world::Simulation;

use crate::workdir::{SCENARIO, TRACE, WorkDir};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    assert!(!files.is_empty(), "no files in {}", folder.display());
    files
}

/// Scenarios with the recorded hour, which does not ship, run with the synthetic one.
fn overrides(scenario: &Path) -> Overrides {
    let shipped = folder().join("traces/azure-chat-synthetic.csv").to_str().unwrap().to_owned();
    let recorded = fs::read_to_string(scenario).unwrap().contains("azure-2023-conv.csv");
    Overrides {
        set: vec!["duration=2m".to_owned()],
        trace: recorded.then_some(shipped),
        ..Overrides::default()
    }
}

#[test]
fn every_scenario_runs() {
    for path in yaml_files(&folder()) {
        let scenario = Scenario::load(&path, &overrides(&path)).unwrap_or_else(|e| panic!("{e}"));
        assert!(!scenario.description.is_empty(), "{}", path.display());
        assert_eq!(Some(scenario.setup.name.as_str()), path.file_stem().unwrap().to_str());
        let recording = Simulation::new(scenario.setup).unwrap().finish();
        assert!(recording.requests.len() > 100, "{}", path.display());
        assert!(recording.end.as_seconds() >= Seconds::from_minutes(2.0).value());
    }
}

#[test]
fn the_recorded_hour_does_not_ship_and_the_report_says_what_to_do() {
    // In a folder of its own, so that a recording that somebody put beside it is not found.
    let scenario = fs::read_to_string(folder().join("azure-conv-h100.yaml")).unwrap();
    let finished = WorkDir::new(&scenario, TRACE).plimsoll(&["simulate", "x.yaml"]);
    assert_eq!(finished.code, Some(2));
    for part in ["traces/azure-2023-conv.csv", "--trace FILE"] {
        assert!(finished.stderr.contains(part), "{}", finished.stderr);
    }
}

#[test]
fn the_default_policy_is_written_out() {
    let path = folder().join("policies/default.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let document = Document::parse("default.yaml", text).unwrap();
    assert_eq!(document.read::<Policy>().unwrap(), Policy::default());
    // Every field is there: what serde would write is what the file has.
    let written = serde_json::to_value(Policy::default()).unwrap();
    assert_eq!(keys(document.tree()), keys(&written));
}

/// The paths of all fields.
fn keys(tree: &serde_json::Value) -> Vec<String> {
    let mut keys = Vec::new();
    for (name, value) in tree.as_object().into_iter().flatten() {
        keys.push(name.clone());
        keys.extend(self::keys(value).into_iter().map(|key| format!("{name}.{key}")));
    }
    keys.sort();
    keys
}

#[test]
fn schemas_are_those_of_the_code() {
    for format in ["scenario", "policy"] {
        let schema = WorkDir::new(SCENARIO, TRACE).plimsoll(&["schema", format]);
        assert_eq!(schema.code, Some(0), "{}", schema.stderr);
        let committed = fs::read_to_string(folder().join(format!("schema/{format}.json")));
        assert!(
            committed.unwrap_or_default() == schema.stdout,
            "scenarios/schema/{format}.json has drifted; write it anew: \
             cargo run -- schema {format} > scenarios/schema/{format}.json"
        );
    }
}

#[test]
fn every_file_names_a_schema_that_exists() {
    for folder in [folder(), folder().join("policies")] {
        for path in yaml_files(&folder) {
            let text = fs::read_to_string(&path).unwrap();
            let schema =
                text.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=");
            assert!(folder.join(schema.unwrap()).is_file(), "{}", path.display());
        }
    }
}
