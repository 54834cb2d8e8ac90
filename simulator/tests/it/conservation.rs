//! No request disappears: each that arrived was completed, rejected, failed or is in flight.

use crate::workplace::{TRACE, Workplace, summary};

/// Checks that requests add up, and returns how many were completed, rejected, failed and in
/// flight.
#[track_caller]
fn check(scenario: &str) -> [u64; 4] {
    let results = Workplace::new(scenario, TRACE).simulate("out", &[]);
    let requests = &summary(&results)["requests"];
    let count = |name: &str| requests[name].as_u64().unwrap();
    let ends = ["completed", "rejected", "failed", "in_flight"].map(count);
    assert_eq!(count("arrived"), ends.iter().sum::<u64>(), "{requests}");
    assert!(count("arrived") > 100, "{requests}");
    ends
}

/// A fleet under load, with `rest` below its model's variant and with `run` below all.
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
    let [_, rejected, failed, in_flight] =
        check(&scenario("        engine: {maxModelLen: 1000}", ""));
    assert!(rejected > 100);
    assert_eq!((failed, in_flight), (0, 0));
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
