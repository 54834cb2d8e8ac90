//! Servers whose coefficients are known, measured and calibrated.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use optimizer::units::Seconds;
use proptest::prelude::*;

use super::*;
use crate::catalog::{Catalog, Precision};
use crate::document::Document;
use crate::engine::step_time::Linear;
use crate::engine::{EngineArgs, Stepwise};
use crate::scenario::{Overrides, Scenario};
use crate::validation::{RecordedRequest, replay};

fn truth(scale: f64) -> Linear {
    Linear {
        base: Seconds::from_millis(8.0 * scale),
        per_prefill_token: Seconds::new(30e-6 * scale),
        per_decode_sequence: Seconds::new(50e-6 * scale),
        per_context_token: Seconds::new(60e-9 * scale),
    }
}

const ARGS: EngineArgs = EngineArgs {
    max_num_batched_tokens: 2048,
    max_num_seqs: 128,
    max_model_len: 8192,
    block_size: 16,
    num_gpu_blocks: 20_000,
    async_scheduling: true,
    ..EngineArgs::DEFAULT
};

/// A request of which only what a client decides is known.
fn asked(arrival: f64, prompt_tokens: u32, output_tokens: u32) -> RecordedRequest {
    let (queued, first_token, last_token) = (arrival, arrival, arrival);
    RecordedRequest { prompt_tokens, output_tokens, arrival, queued, first_token, last_token }
}

/// What a server with these coefficients does, from the engine that calibration does not use.
fn serve(plant: Linear, requests: &[RecordedRequest]) -> Vec<RecordedRequest> {
    let mut server = Stepwise::new(ARGS.try_into().unwrap(), plant);
    let replayed = replay(&mut server, requests, None, &[]).unwrap().requests;
    let pairs = requests.iter().zip(replayed);
    let both = pairs.map(|(request, replayed)| RecordedRequest {
        queued: replayed.queued,
        first_token: replayed.first_token,
        last_token: replayed.last_token,
        ..*request
    });
    both.collect()
}

/// Prompts and outputs of many lengths, at a rate that rises and falls.
fn mixed_requests(scale: f64) -> Vec<RecordedRequest> {
    let mut arrival = 0.0;
    let request = |idx: u32| {
        arrival += scale * (0.02 + 0.13 * f64::from(idx * 7919 % 97) / 97.0);
        let long = 1 + (idx / 40) % 2;
        asked(arrival, 50 + long * (idx * 104_729 % 800), 20 + idx * 1_299_709 % 300)
    };
    (0..240).map(request).collect()
}

const META: &str = r#"{
  "model": "meta-llama/Llama-3.1-8B",
  "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:01:00Z",
  "engine_kwargs": {"max_num_seqs": 128, "max_num_batched_tokens": 2048, "max_model_len": 8192},
  "kv_cache": {"num_gpu_blocks": 20000, "block_size": 16}
}"#;

fn write_run(folder: &Path, requests: &[RecordedRequest]) {
    let mut lines = String::new();
    for request in requests {
        let RecordedRequest { prompt_tokens, output_tokens, arrival, .. } = request;
        let RecordedRequest { queued, first_token, last_token, .. } = request;
        writeln!(
            lines,
            "{{\"input_toks\": {prompt_tokens}, \"output_toks\": {output_tokens}, \
             \"arrival_time\": {arrival}, \"queued_ts\": {queued}, \
             \"first_token_ts\": {first_token}, \"last_token_ts\": {last_token}}}"
        )
        .unwrap();
    }
    fs::write(folder.join("requests.jsonl"), lines).unwrap();
    fs::write(folder.join("meta.json"), META).unwrap();
}

fn measured(scale: f64) -> Measurements {
    let folder = tempfile::tempdir().unwrap();
    write_run(folder.path(), &serve(truth(scale), &mixed_requests(scale)));
    let mut measurements =
        Measurements::read(&[folder.path().to_owned()], &ReadOptions::default()).unwrap();
    "run".clone_into(&mut measurements.files[0].path);
    measurements
}

#[track_caller]
fn check_near(calibration: &Calibration, expected: &Linear, tolerances: [f64; 4]) {
    let expected = PerParameter::<f64>::from(expected);
    for (estimate, tolerance) in calibration.estimates.iter().zip(tolerances) {
        let error = estimate.value / expected[estimate.parameter] - 1.0;
        assert!(error.abs() < tolerance, "{error} in {estimate:?}");
    }
}

#[test]
fn the_coefficients_of_a_server_are_found_from_its_requests() {
    let calibration = calibrate(&measured(1.0), ARGS, None).unwrap();
    check_near(&calibration, &truth(1.0), [0.005; 4]);
    assert_eq!(calibration.errors.len(), 3);
    for error in &calibration.errors {
        assert!(error.median_pct < 0.1, "{error:?}");
    }
}

/// A server that is half as fast, with requests half as often, is the same on a slower clock.
#[test]
fn scaled_times_have_scaled_coefficients() {
    let calibration = calibrate(&measured(2.0), ARGS, None).unwrap();
    check_near(&calibration, &truth(2.0), [0.005; 4]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_regression_scales_with_time(scale in 0.01..100.0_f64) {
        let run = |scale: f64| {
            let mut run = measured(1.0).runs.remove(0);
            for request in &mut run.requests {
                request.queued *= scale;
                request.first_token *= scale;
                request.last_token *= scale;
            }
            let equations = equation::equations_of(&run, None);
            equation::solve(&equations, &Parameter::ALL, &PerParameter::default())
        };
        let (one, scaled) = (run(1.0), run(scale));
        for parameter in Parameter::ALL {
            let ratio = scaled[parameter] / one[parameter];
            prop_assert!((ratio / scale - 1.0).abs() < 1e-6, "{parameter} by {ratio}");
        }
    }
}

/// The result of a load of 600 equal requests, as `vllm bench serve` saves it.
fn bench(plant: Linear, rate: f64, prompt_tokens: u32, output_tokens: u32) -> String {
    let ask = |idx: u32| asked(f64::from(idx) / rate, prompt_tokens, output_tokens);
    let served = serve(plant, &(0..600).map(ask).collect::<Vec<_>>());
    // Of a long run its beginning and end would be nothing.
    let steady = &served[200..400];
    let mean = |value: fn(&RecordedRequest) -> f64| {
        steady.iter().map(value).sum::<f64>() / steady.len() as f64 * 1e3
    };
    let ttft = mean(|request| request.first_token - request.arrival);
    let e2e = mean(|request| request.last_token - request.arrival);
    let tpot = (e2e - ttft) / f64::from(output_tokens - 1);
    format!(
        "{{\"date\": \"20260101-000000\", \"model_id\": \"llama-3.1-8b\", \"request_rate\": {rate}, \
         \"burstiness\": 100.0, \"completed\": 600, \"total_input_tokens\": {}, \
         \"total_output_tokens\": {}, \"request_throughput\": {rate}, \"mean_ttft_ms\": {ttft}, \
         \"mean_tpot_ms\": {tpot}, \"mean_e2el_ms\": {e2e}}}",
        600 * prompt_tokens,
        600 * output_tokens
    )
}

fn benches(loads: &[(f64, u32, u32)]) -> Measurements {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.jsonl");
    let lines: Vec<String> = loads.iter().map(|&(r, p, o)| bench(truth(1.0), r, p, o)).collect();
    fs::write(&path, lines.join("\n")).unwrap();
    Measurements::read(&[path], &ReadOptions::default()).unwrap()
}

#[test]
fn the_coefficients_of_a_server_are_found_from_load_stages() {
    let loads = [
        (1.0, 300, 100),
        (4.0, 300, 200),
        (8.0, 1000, 100),
        (3.0, 2000, 400),
        (6.0, 150, 600),
        (1.5, 3000, 150),
    ];
    let measurements = benches(&loads);
    assert_eq!(measurements.stages.len(), loads.len(), "{:?}", measurements.notes);
    let calibration = calibrate(&measurements, ARGS, None).unwrap();
    check_near(&calibration, &truth(1.0), [0.02, 0.03, 0.08, 0.08]);
}

#[test]
fn what_is_always_the_same_cannot_be_told_apart() {
    let loads = [(2.0, 500, 100), (6.0, 500, 100), (9.0, 500, 100)];
    let measurements = benches(&loads);
    let calibration = calibrate(&measurements, ARGS, None).unwrap();
    let groups: Vec<_> = calibration.confused.iter().map(|c| (&*c.parameters, c.gave_up)).collect();
    let [_, _, sequence, context] = Parameter::ALL;
    assert_eq!(groups, [(&[sequence, context][..], true)]);
    let [.., sequences, contexts] = &calibration.estimates[..] else { unreachable!("four") };
    assert_eq!((contexts.status, contexts.value), (Status::LeftOut, 0.0));
    // A sequence of 550 tokens costs 50 µs + 550 · 60 ns.
    assert!((sequences.value / 83e-6 - 1.0).abs() < 0.05, "{sequences:?}");

    let prior = truth(1.0);
    let calibration = calibrate(&measurements, ARGS, Some(&prior)).unwrap();
    let [.., sequences, contexts] = &calibration.estimates[..] else { unreachable!("four") };
    assert_eq!((contexts.status, contexts.value), (Status::Prior, 60e-9));
    assert!((sequences.value / 50e-6 - 1.0).abs() < 0.08, "{sequences:?}");
}

#[test]
fn of_one_stage_two_parameters_are_known() {
    let calibration = calibrate(&benches(&[(5.0, 500, 100)]), ARGS, None).unwrap();
    let fitted = calibration.estimates.iter().filter(|e| e.status == Status::Fitted).count();
    assert!(fitted <= 2, "{:?}", calibration.estimates);
    assert_eq!(calibration.confused.iter().filter(|confusion| confusion.gave_up).count(), 2);
}

#[test]
fn nothing_to_fit_to_is_refused() {
    let mut nothing = Measurements::default();
    nothing.notes.push("one: left out".to_owned());
    let error = calibrate(&nothing, ARGS, None).unwrap_err();
    insta::assert_snapshot!(error, @r"
    no request and no load stage is left to fit to
      one: left out
    ");
}

fn profile<'a>(
    measurements: &'a Measurements,
    calibration: &'a Calibration,
) -> CalibratedProfile<'a> {
    CalibratedProfile {
        model: "my/model".to_owned(),
        gpu: "GPU1".parse().unwrap(),
        tensor_parallel: 2,
        precision: Precision::Fp8,
        engine: ARGS,
        unknown_model: Some(8192),
        unknown_gpu: Some(optimizer::units::HourlyCost::new(1.5)),
        prior: None,
        measurements,
        calibration,
    }
}

const SCENARIO: &str = "
name: calibrated
catalog: own.yaml
duration: 1m
models:
  - model: my/model
    slo: {ttft: 2s, tpot: 100ms}
    traffic:
      generated: {arrivals: {poisson: {rate: 1/s}}, prompt: {constant: 100}, output: {constant: 10}}
    variants:
      - {name: one, accelerator: GPU1, tensorParallel: 2, precision: fp8}
";

#[test]
fn a_scenario_takes_the_profile_as_its_catalog() {
    let measurements = measured(1.0);
    let calibration = calibrate(&measurements, ARGS, None).unwrap();
    let text = profile(&measurements, &calibration).to_string();
    Catalog::read(&Document::parse("own.yaml", text.as_str()).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("own.yaml"), &text).unwrap();
    fs::write(folder.path().join("x.yaml"), SCENARIO).unwrap();
    let scenario = Scenario::load(&folder.path().join("x.yaml"), &Overrides::default()).unwrap();
    let plant = format!("{:?}", scenario.setup.variants[0].plant);
    assert!(plant.starts_with("Linear"), "{plant}");
}

#[test]
fn the_same_measurements_give_the_same_profile() {
    let text = || {
        let mut measurements = benches(&[(2.0, 500, 100), (6.0, 500, 100), (9.0, 800, 100)]);
        "bench".clone_into(&mut measurements.files[0].path);
        let calibration = calibrate(&measurements, ARGS, None).unwrap();
        profile(&measurements, &calibration).to_string()
    };
    assert_eq!(text(), text());
}
