//! Chance comes from the seed, and from nothing else.

use std::fs;
use std::path::Path;

use simulator::scenario::{Overrides, Scenario};

use crate::workdir::{TRACE, WorkDir};

/// A minute and a half of random traffic with room for a scale-up.
const SCENARIO: &str = "\
name: random
duration: 90s
models:
  - model: llama-3.1-8b
    slo: {ttft: 1s, tpot: 50ms}
    traffic:
      generated:
        arrivals: {gamma: {rate: 20/s, shape: 0.5}}
        prompt: {lognormal: {median: 500, p90: 2000, max: 8000}}
        output: {geometric: {mean: 100}}
    variants:
      - name: l40s
        accelerator: L40S
        replicas: {max: 3}
        coldStart: 20s
control: {interval: 10s}
";

fn bytes(results: &Path, file: &str) -> Vec<u8> {
    fs::read(results.join(file)).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let workdir = WorkDir::new(SCENARIO, TRACE);
    let first = workdir.simulate("first", &[]);
    let again = workdir.simulate("again", &["--seed", "1"]);
    let other = workdir.simulate("other", &["--seed", "2"]);
    for file in ["summary.json", "requests.parquet", "timeseries.parquet"] {
        assert!(bytes(&first, file) == bytes(&again, file), "{file} of the same seed");
        assert!(bytes(&first, file) != bytes(&other, file), "{file} of another seed");
    }
}

/// A second model draws from streams of its own.
#[test]
fn another_model_leaves_the_traffic_of_the_first_alone() {
    let model = &SCENARIO[SCENARIO.find("  - model:").unwrap()..SCENARIO.find("control:").unwrap()];
    let other = model.replace("llama-3.1-8b", "meta-llama/Llama-3.1-8B").replace("l40s", "other");
    let both = SCENARIO.replace("control:", &format!("{other}control:"));
    let arrived = |scenario: &str| {
        let workdir = WorkDir::new(scenario, TRACE);
        let scenario =
            Scenario::load(&workdir.path().join("x.yaml"), &Overrides::default()).unwrap();
        scenario.setup.models[0].workload.clone().collect::<Vec<_>>()
    };
    assert_eq!(arrived(SCENARIO), arrived(&both));
}
