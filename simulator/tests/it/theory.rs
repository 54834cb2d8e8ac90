//! Queueing theory, which knows nothing of this code.
//!
//! An engine with one slot and a step of fixed length is a queue with one server: a request that
//! asks for n tokens is served for n steps. Geometric lengths make it (nearly) M/M/1, constant
//! lengths M/D/1, and the Pollaczek–Khinchine formula gives the mean wait of both exactly:
//! W = λ E[S²] / 2(1 − ρ).
//!
//! Each check runs independent replications and asks that theory lies inside the 99 % confidence
//! interval of their mean. The seeds are fixed, so a check that passes once passes always.

use optimizer::Policy;
use optimizer::observation::Bounds;
use optimizer::slo::Slo;
use optimizer::units::{Gpus, HourlyCost, Replicas, RequestRate, Seconds, Timestamp, Tokens};
use simulator::autoscaling::Actuation;
use simulator::engine::step_time::{Linear, Plant};
use simulator::engine::{EngineArgs, EngineConfig};
use simulator::kernel::Streams;
use simulator::records::Recording;
use simulator::setup::{ControlSetup, Knowledge, ModelSetup, Setup, VariantSetup};
use simulator::workload::{Length, Lengths, Workload};
use simulator::world::Simulation;

const STEP: Seconds = Seconds::from_millis(10.0);
/// Mean service: 20 steps.
const MEAN_TOKENS: u64 = 20;
const REPLICATIONS: u64 = 20;
/// Student's t for 19 degrees of freedom, 99 % two-sided.
const T_99: f64 = 2.861;

/// One server at utilization `load`, after a warm-up of a tenth of the requests.
fn waits(output: &Length, load: f64, seed: u64) -> Vec<f64> {
    let service = STEP.value() * MEAN_TOKENS as f64;
    let rate = RequestRate::new(load / service);
    let lengths = Lengths { prompt: Length::Constant(Tokens::new(1)), output: output.clone() };
    let until = Timestamp::ZERO + Seconds::new(10_000.0 / rate.value());
    let workload = Workload::poisson(rate, lengths, until, Streams::new(seed), "theory");
    let recording = Simulation::new(one_slot(workload, seed)).unwrap().finish();
    conserve(&recording);
    let warm_up = recording.requests.len() / 10;
    recording.requests[warm_up..]
        .iter()
        .map(|request| request.scheduled.unwrap().since(request.arrival).value())
        .collect()
}

fn one_slot(workload: Workload, seed: u64) -> Setup {
    let args = EngineArgs {
        max_num_batched_tokens: 100,
        max_num_seqs: 1,
        max_model_len: 100_000,
        block_size: 16,
        num_gpu_blocks: 10_000,
        async_scheduling: false,
        ..EngineArgs::DEFAULT
    };
    let plant = Linear {
        base: STEP,
        per_prefill_token: Seconds::ZERO,
        per_decode_sequence: Seconds::ZERO,
        per_context_token: Seconds::ZERO,
    };
    let one = Replicas::new(1);
    Setup {
        name: "theory".to_owned(),
        seed,
        models: vec![ModelSetup {
            model: "m".parse().unwrap(),
            namespace: "n".parse().unwrap(),
            slo: Slo { ttft: Seconds::new(1.0), tpot: Seconds::new(1.0) },
            workload,
        }],
        variants: vec![VariantSetup {
            variant: "v".parse().unwrap(),
            model: 0,
            accelerator: "H100".parse().unwrap(),
            gpus_per_replica: Gpus::new(1),
            cost: HourlyCost::new(1.0),
            bounds: Bounds { min: one, max: Some(one) },
            initial: one,
            cold_start: Seconds::ZERO,
            drain_timeout: Seconds::ZERO,
            engine: EngineConfig::try_from(args).unwrap(),
            data_parallel: 1,
            plant: Plant::Linear(plant),
            known: Knowledge::default(),
        }],
        inventory: None,
        control: ControlSetup {
            scrape_interval: Seconds::from_minutes(10.0),
            scrape_lag: Seconds::ZERO,
            window: Seconds::from_minutes(10.0),
            retention: Seconds::from_minutes(10.0),
            interval: Seconds::from_minutes(10.0),
            actuation_delay: Seconds::ZERO,
            actuation: Actuation::Direct,
        },
        policy: Policy::default(),
        duration: None,
        drain_limit: Seconds::from_minutes(60.0),
        sample_interval: Seconds::from_minutes(10.0),
        exact_percentiles: true,
    }
}

fn conserve(recording: &Recording) {
    assert!(recording.requests.iter().all(|request| request.end.is_some()));
}

/// Asks that `theory` lies inside the confidence interval of the replications' means of `measure`.
fn check(name: &str, theory: f64, output: &Length, load: f64, measure: fn(&[f64]) -> f64) {
    let means: Vec<f64> =
        (1..=REPLICATIONS).map(|seed| measure(&waits(output, load, seed))).collect();
    let n = REPLICATIONS as f64;
    let mean = means.iter().sum::<f64>() / n;
    let variance = means.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let half_width = T_99 * (variance / n).sqrt();
    assert!(
        (mean - theory).abs() <= half_width,
        "{name}: theory {theory:.5}, simulated {mean:.5} ± {half_width:.5}"
    );
    // An interval that holds everything would check nothing.
    assert!(half_width < 0.1 * theory, "{name}: ± {half_width:.5} around {mean:.5} is too wide");
}

fn mean(waits: &[f64]) -> f64 {
    waits.iter().sum::<f64>() / waits.len() as f64
}

/// The share of requests that wait for longer than one mean service.
fn tail(waits: &[f64]) -> f64 {
    let service = STEP.value() * MEAN_TOKENS as f64;
    waits.iter().filter(|&&wait| wait > service).count() as f64 / waits.len() as f64
}

#[test]
fn m_m_1() {
    let service = STEP.value() * MEAN_TOKENS as f64;
    let geometric = Length::Geometric { mean: Tokens::new(MEAN_TOKENS) };
    // A geometric number of steps: E[N²] = (2 − p) / p² with p = 1 / mean.
    let p = 1.0 / MEAN_TOKENS as f64;
    let second_moment = (2.0 - p) / (p * p) * STEP.value().powi(2);
    for load in [0.5, 0.7] {
        let exact = load / service * second_moment / (2.0 * (1.0 - load));
        check("M/Geo/1", exact, &geometric, load, mean);
        // The exponential limit differs by 2.5 %: the steps are a twentieth of a service.
        let exponential = load / (1.0 - load) * service;
        assert!((exact / exponential - 1.0).abs() < 0.03);
    }
    // P(W > t) = ρ exp(−(1 − ρ) t / E[S]) for M/M/1; at t = E[S] the discrete server is within 3 %.
    let load: f64 = 0.7;
    let tail_theory = load * (load - 1.0).exp();
    let simulated: f64 =
        (1..=REPLICATIONS).map(|seed| tail(&waits(&geometric, load, seed))).sum::<f64>()
            / REPLICATIONS as f64;
    assert!((simulated / tail_theory - 1.0).abs() < 0.03, "{simulated} for {tail_theory}");
}

#[test]
fn m_d_1() {
    let service = STEP.value() * MEAN_TOKENS as f64;
    for load in [0.5, 0.8] {
        let theory = load * service / (2.0 * (1.0 - load));
        let constant = Length::Constant(Tokens::new(MEAN_TOKENS));
        check("M/D/1", theory, &constant, load, mean);
    }
}
