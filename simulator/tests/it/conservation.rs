//! No request disappears: each that arrived was completed, rejected, failed or is in flight.

use simulator::records::{Outcome, RequestRecord};
use simulator::scenario::{Overrides, Scenario};
use simulator::world::Simulation;

use crate::workdir::{TRACE, WorkDir};

/// Runs a scenario, checks every request, and returns how many were completed, rejected, failed
/// and in flight.
#[track_caller]
fn check(scenario: &str) -> [usize; 4] {
    let workdir = WorkDir::new(scenario, TRACE);
    let path = workdir.path().join("x.yaml");
    let Scenario { setup, .. } = Scenario::load(&path, &Overrides::default()).unwrap();
    let expected: Vec<_> = setup.models[0].workload.clone().map(|arrival| arrival.at).collect();
    let recording = Simulation::new(setup).unwrap().finish();
    let arrived: Vec<_> = recording.requests.iter().map(|request| request.arrival).collect();
    assert_eq!(arrived, expected);
    recording.requests.iter().for_each(check_request);

    let ends = [Outcome::Completed, Outcome::Rejected, Outcome::Failed, Outcome::InFlight];
    let ends = ends.map(|end| recording.requests.iter().filter(|r| r.outcome == end).count());
    assert_eq!(ends.iter().sum::<usize>(), expected.len());
    ends
}

/// What is recorded of a request fits the way in which it ended.
fn check_request(request: &RequestRecord) {
    let &RequestRecord { outcome, end, first_token, scheduled, generated_tokens, .. } = request;
    match outcome {
        Outcome::Completed => {
            // Output is cut where the context ends.
            assert!((1..=request.output_tokens).contains(&generated_tokens), "{request:?}");
            assert!(Some(request.arrival) <= scheduled && scheduled < first_token, "{request:?}");
            assert!(first_token <= end, "{request:?}");
        }
        Outcome::Rejected => {
            assert_eq!((scheduled, end), (None, Some(request.arrival)), "{request:?}");
        }
        Outcome::Failed => assert!(end > Some(request.arrival), "{request:?}"),
        Outcome::InFlight => assert_eq!(end, None, "{request:?}"),
    }
}

/// A fleet under load; `rest` ends its variant, and `run` the file.
fn scenario(rest: &str, run: &str) -> String {
    format!(
        "
name: small
duration: 10m
models:
  - model: llama-3.1-8b
    slo: {{ttft: 1s, tpot: 50ms}}
    traffic:
      generated:
        arrivals: {{poisson: {{rate: 2/s}}}}
        prompt: {{lognormal: {{median: 500, p90: 2000, max: 8000}}}}
        output: {{geometric: {{mean: 300}}}}
    variants:
      - name: l40s
        accelerator: L40S
{rest}
control: {{interval: 10s}}
{run}
"
    )
}

#[test]
fn a_calm_run_completes_everything() {
    let [completed, rest @ ..] = check(&scenario("", ""));
    assert!(completed > 1000);
    assert_eq!(rest, [0, 0, 0]);
}

#[test]
fn prompts_that_do_not_fit_are_rejected() {
    let engine = "        engine: {maxModelLen: 100000}";
    let prompts = "{lognormal: {median: 500, p90: 2000, max: 8000}}";
    let long = "{lognormal: {median: 50000, p90: 200000, max: 800000}}";
    let [completed, rejected, failed, _] = check(&scenario(engine, "").replace(prompts, long));
    assert!(completed > 100 && rejected > 100, "{completed} completed, {rejected} rejected");
    assert_eq!(failed, 0);
}

#[test]
fn a_drain_that_takes_too_long_fails_its_requests() {
    let removal = "        replicas: {initial: 4}\n        drainTimeout: 0s";
    let policy = "policy: {scaling: {down: {stabilizationWindow: 0s}}}";
    let [completed, rejected, failed, _] = check(&scenario(removal, policy));
    assert!(completed > 1000 && failed > 0, "{completed} completed, {failed} failed");
    assert_eq!(rejected, 0);
}

#[test]
fn a_run_that_does_not_wait_leaves_requests_in_flight() {
    let [_, rejected, failed, in_flight] = check(&scenario("", "drainLimit: 0s"));
    assert!(in_flight > 0);
    assert_eq!((rejected, failed), (0, 0));
}
