//! What the README shows is what the commands beside it print and draw.

use std::fs;
use std::path::Path;

use crate::workdir::{SCENARIO, TRACE, WorkDir};

#[test]
fn the_quickstart_prints_and_draws_what_the_readme_shows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = WorkDir::new(SCENARIO, TRACE);
    let scenario = root.join("scenarios/quickstart.yaml");
    let finished = folder.plimsoll(&["simulate", scenario.to_str().unwrap(), "--out", "out"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);

    let (table, _) = finished.stdout.split_once("\nWrote to").unwrap();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    assert!(readme.contains(table), "the README does not show this:\n{table}");

    let drawn = fs::read(folder.path().join("out/timeline.svg")).unwrap();
    let shown = fs::read(root.join("scenarios/figures/quickstart-timeline.svg"));
    assert!(shown.ok() == Some(drawn), "the README's figure has drifted; run `make figures`");
}
