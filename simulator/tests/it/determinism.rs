//! Chance comes from the seed, and from nothing else.

use std::fs;
use std::path::Path;

use simulator::records::{Outcome, RequestRecord};
use simulator::scenario::{Overrides, Scenario};
use simulator::world::Simulation;

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

/// Agents, users who wait, and a flash crowd, on replicas that are too few.
const CLIENTS: &str = "\
name: clients
duration: 5m
models:
  - model: llama-3.1-8b
    slo: {ttft: 1s, tpot: 50ms}
    classes: [{name: batch, priority: 1}]
    traffic:
      clients:
        - {name: agents, generated: {preset: agents, rate: 6/min}}
        - {name: users, class: batch, generated: {preset: rag, users: {count: 20}}}
        - name: crowd
          generated:
            preset: code
            rate: 2/s
            profile: [{flashCrowd: {at: 1m, peak: 5, rise: 10s, decay: 1m}}]
    variants:
      - name: l40s
        accelerator: L40S
        replicas: {max: 2}
        coldStart: 20s
        engine: {schedulingPolicy: priority, maxNumQueuedReqs: 40}
control: {interval: 10s}
";

/// Clients who wait for answers depend on everything that happens, and so on nothing else.
#[test]
fn clients_who_wait_repeat_themselves() {
    let workdir = WorkDir::new(CLIENTS, TRACE);
    let run = |set: &[&str]| {
        let set = set.iter().map(|&set| set.to_owned()).collect();
        let overrides = Overrides { set, ..Overrides::default() };
        let scenario = Scenario::load(&workdir.path().join("x.yaml"), &overrides).unwrap();
        Simulation::new(scenario.setup).unwrap().finish().requests
    };
    let first = run(&[]);
    assert!(first.iter().any(|request| request.outcome == Outcome::Rejected));
    assert!(first.iter().any(|request| request.origin.session > Some(5)));
    assert_eq!(first, run(&[]));
    // On faster GPUs the users ask more often, but an agent's session says the same.
    let faster = run(&["models[0].variants[0].accelerator=H100"]);
    let session = |requests: &[RequestRecord], number| -> Vec<_> {
        let own = |request: &&RequestRecord| {
            (request.origin.client, request.origin.session) == (0, Some(number))
        };
        let own = requests.iter().filter(own);
        own.map(|turn| (turn.prompt_tokens, turn.output_tokens)).collect()
    };
    assert!(faster.len() > first.len());
    let mut turns = 0;
    for number in 0..10 {
        let (slow, fast) = (session(&first, number), session(&faster, number));
        let common = slow.len().min(fast.len());
        assert_eq!(slow[..common], fast[..common], "session {number}");
        turns += common;
    }
    assert!(turns > 20, "{turns}");
}
