//! Small worlds, in which every second can be worked out by hand.

mod clients;
mod signals;

use optimizer::Policy;
use optimizer::observation::Bounds;
use optimizer::slo::Slo;
use optimizer::units::{Fraction, Gpus, HourlyCost, Seconds, Tokens};

use super::*;
use crate::autoscaling::Actuation;
use crate::engine::step_time::{Linear, Plant};
use crate::engine::{Content, EngineArgs, EngineConfig, Segment, TextId};
use crate::records::{RequestRecord, Tally};
use crate::setup::{ControlSetup, Knowledge, ModelSetup, VariantSetup};
use crate::workload::trace::{Speed, Trace};
use crate::workload::{Arrival, Workload};

mod autoscalers;

/// A step takes one second, whatever is in it.
const PLANT: Plant = Plant::Linear(Linear {
    base: Seconds::new(1.0),
    per_prefill_token: Seconds::ZERO,
    per_decode_sequence: Seconds::ZERO,
    per_context_token: Seconds::ZERO,
});

/// Arrival in seconds, prompt tokens, output tokens.
fn traffic(requests: &[(f64, u32, u32)]) -> Workload {
    let arrivals = requests.iter().map(|&(at, prompt, output)| Arrival {
        at: Timestamp::from_seconds(at),
        prompt: Tokens::new(prompt.into()),
        output: Tokens::new(output.into()),
        content: Content::default(),
    });
    Workload::trace(Trace::new("small", arrivals.collect()), Speed::default())
}

fn bounds(min: u32, max: u32) -> Bounds {
    Bounds { min: Replicas::new(min), max: Some(Replicas::new(max)) }
}

/// One model on one variant with `initial` replicas, decided every 30 s, acted on after 1 s.
fn setup(initial: u32, bounds: Bounds, requests: &[(f64, u32, u32)]) -> Setup {
    let args = EngineArgs {
        max_num_batched_tokens: 1000,
        max_num_seqs: 10,
        max_model_len: 1000,
        block_size: 16,
        num_gpu_blocks: 101,
        async_scheduling: false,
        ..EngineArgs::DEFAULT
    };
    let variant = VariantSetup {
        variant: "v".parse().unwrap(),
        model: 0,
        accelerator: "H100".parse().unwrap(),
        gpus_per_replica: Gpus::new(2),
        cost: HourlyCost::new(3600.0),
        bounds,
        initial: Replicas::new(initial),
        cold_start: Seconds::new(60.0),
        drain_timeout: Seconds::new(100.0),
        engine: EngineConfig::try_from(args).unwrap(),
        data_parallel: 1,
        plant: PLANT,
        known: Knowledge::default(),
    };
    let mut policy = Policy::default();
    policy.scaling.down.stabilization_window = Seconds::ZERO;
    Setup {
        name: "small".to_owned(),
        seed: 1,
        models: vec![ModelSetup {
            model: "m".parse().unwrap(),
            namespace: "n".parse().unwrap(),
            slo: Slo { ttft: Seconds::new(5.0), tpot: Seconds::new(1.0) },
            workload: traffic(requests),
        }],
        variants: vec![variant],
        inventory: None,
        control: ControlSetup {
            scrape_interval: Seconds::new(10.0),
            scrape_lag: Seconds::ZERO,
            window: Seconds::new(10.0),
            retention: Seconds::from_minutes(10.0),
            interval: Seconds::new(30.0),
            actuation_delay: Seconds::new(1.0),
            actuation: Actuation::Direct,
        },
        policy,
        duration: None,
        drain_limit: Seconds::new(1000.0),
        sample_interval: Seconds::new(10.0),
        exact_percentiles: true,
    }
}

fn run_to_end(setup: Setup) -> Recording {
    Simulation::new(setup).unwrap().finish()
}

fn outcomes(recording: &Recording) -> Vec<Outcome> {
    recording.requests.iter().map(|request| request.outcome).collect()
}

fn seconds(span: Option<Seconds>) -> f64 {
    span.unwrap().value()
}

#[test]
fn a_lone_request_takes_a_step_for_each_token() {
    let recording = run_to_end(setup(1, bounds(1, 1), &[(5.0, 100, 4)]));
    let request: &RequestRecord = &recording.requests[0];
    assert_eq!(request.outcome, Outcome::Completed);
    assert_eq!(request.scheduled, Some(Timestamp::from_seconds(5.0)));
    assert!((seconds(request.ttft()) - 1.0).abs() < 1e-9);
    assert!((seconds(request.tpot()) - 1.0).abs() < 1e-9);
    assert!((seconds(request.e2e()) - 4.0).abs() < 1e-9);
    assert_eq!(recording.end, Timestamp::from_seconds(9.0));
    assert_eq!(recording.models[0].itl.len(), 3);
}

#[test]
fn requests_wait_at_the_gateway_until_a_replica_has_started() {
    // No replica at first, but one at least: decided at 30 s, created at 31 s, ready at 91 s.
    let recording = run_to_end(setup(0, bounds(1, 1), &[(2.0, 10, 1), (3.0, 10, 1)]));
    assert_eq!(outcomes(&recording), [Outcome::Completed; 2]);
    assert_eq!(recording.requests[0].scheduled, Some(Timestamp::from_seconds(91.0)));
    // The replica took the first when it was alone; the second entered its next step.
    assert_eq!(recording.end, Timestamp::from_seconds(93.0));
    assert_eq!(recording.variants[0].replica_time, Seconds::new(62.0));
    let queued: Vec<_> = recording.samples.iter().map(|sample| sample.gateway_queue).collect();
    assert_eq!(queued, [0, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
    let [scaling] = &recording.scalings[..] else { panic!("{:?}", recording.scalings) };
    assert_eq!((scaling.at, scaling.desired), (Timestamp::from_seconds(30.0), Replicas::new(1)));
}

#[test]
fn a_removed_replica_finishes_its_requests_and_holds_its_gpus_until_then() {
    // Both replicas have a long request when the second one is removed, at 31 s.
    let mut setup = setup(2, bounds(1, 2), &[(0.0, 10, 50), (0.0, 10, 50)]);
    setup.sample_interval = Seconds::new(1.0);
    let recording = run_to_end(setup);
    assert_eq!(outcomes(&recording), [Outcome::Completed; 2]);
    assert_eq!(recording.requests[1].replica, Some(1));
    let draining = recording.samples.iter().filter(|sample| sample.draining == Replicas::new(1));
    assert_eq!(draining.count(), 19, "from 31 s to 49 s; at 50 s it is gone");
    assert_eq!(recording.most_replicas, Replicas::new(2));
    assert_eq!(recording.variants[0].replica_time, Seconds::new(100.0));
}

#[test]
fn a_request_that_outlives_the_drain_timeout_fails() {
    let recording = run_to_end(setup(2, bounds(1, 2), &[(0.0, 10, 50), (0.0, 10, 300)]));
    assert_eq!(outcomes(&recording), [Outcome::Completed, Outcome::Failed]);
    assert_eq!(recording.requests[1].end, Some(Timestamp::from_seconds(131.0)));
    assert_eq!(recording.requests[1].generated_tokens, 131, "what came before is not lost");
    assert_eq!(recording.end, Timestamp::from_seconds(131.0));
}

#[test]
fn new_requests_go_to_the_replica_with_the_fewest() {
    let requests = [(0.0, 10, 9), (0.1, 10, 9), (0.2, 10, 9), (0.3, 10, 9)];
    let recording = run_to_end(setup(3, bounds(3, 3), &requests));
    let replicas: Vec<_> = recording.requests.iter().map(|request| request.replica).collect();
    assert_eq!(replicas, [Some(0), Some(1), Some(2), Some(0)]);
}

#[test]
fn a_prompt_beyond_the_context_is_rejected_and_counted() {
    let recording = run_to_end(setup(1, bounds(1, 1), &[(0.0, 1000, 1), (1.0, 999, 5)]));
    assert_eq!(outcomes(&recording), [Outcome::Rejected, Outcome::Completed]);
    assert_eq!(recording.requests[1].generated_tokens, 1);
    assert_eq!(recording.requests[1].tpot(), None);
}

#[test]
fn the_run_ends_with_its_duration_or_its_last_request_or_its_patience() {
    let requests = [(0.0, 10, 5), (50.0, 10, 100), (90.0, 10, 5)];
    let end = |duration: Option<f64>, drain_limit: f64| {
        let mut setup = setup(1, bounds(1, 1), &requests);
        setup.duration = duration.map(Seconds::new);
        setup.drain_limit = Seconds::new(drain_limit);
        let recording = run_to_end(setup);
        (recording.end.as_seconds(), recording.requests.len())
    };
    assert_eq!(end(None, 1000.0), (150.0, 3));
    assert_eq!(end(Some(200.0), 1000.0), (200.0, 3));
    // The arrival at 90 s is left out; the one at 50 s still completes.
    assert_eq!(end(Some(80.0), 1000.0), (150.0, 2));
    assert_eq!(end(Some(10.0), 1000.0), (10.0, 1));
    // Ten seconds after the last arrival patience ends.
    assert_eq!(end(None, 10.0), (100.0, 3));
}

#[test]
fn a_request_that_is_in_flight_at_the_end_keeps_its_tokens() {
    let mut setup = setup(1, bounds(1, 1), &[(0.0, 10, 500)]);
    setup.drain_limit = Seconds::new(42.0);
    let recording = run_to_end(setup);
    assert_eq!(outcomes(&recording), [Outcome::InFlight]);
    assert_eq!(recording.requests[0].generated_tokens, 42);
    assert_eq!(recording.requests[0].end, None);
}

#[test]
fn a_run_without_requests_lasts_its_duration_and_costs_it() {
    let mut setup = setup(2, bounds(2, 2), &[]);
    setup.duration = Some(Seconds::new(60.0));
    let recording = run_to_end(setup);
    assert_eq!(recording.end, Timestamp::from_seconds(60.0));
    assert_eq!(recording.variants[0].replica_time, Seconds::new(120.0));
    assert_eq!(recording.samples.len(), 7);
}

#[test]
fn cutting_the_run_into_slices_changes_nothing() {
    let requests: Vec<_> = (0..200).map(|i| (f64::from(i) * 0.7, 50 + i, 1 + i % 40)).collect();
    let whole = run_to_end(setup(1, bounds(1, 4), &requests));
    let mut sliced = Simulation::new(setup(1, bounds(1, 4), &requests)).unwrap();
    let mut horizon = Timestamp::ZERO;
    while !sliced.run_until(horizon) {
        horizon += Seconds::new(0.33);
    }
    let sliced = sliced.finish();
    assert_eq!(whole.requests, sliced.requests);
    assert_eq!(whole.samples, sliced.samples);
    assert_eq!(whole.scalings, sliced.scalings);
    assert!(!whole.scalings.is_empty(), "the controller had nothing to do");
}

#[test]
fn a_scrape_sees_a_cache_that_fills_between_two_events() {
    // One request decodes for 15 minutes, in which nothing else happens. With its 641st token it
    // takes the 41st of 100 blocks, and less than the trigger of 0.1 is left to the threshold.
    let mut setup = setup(1, bounds(1, 2), &[(0.0, 10, 900)]);
    setup.policy.saturation.kv_cache_threshold = Fraction::new(0.5);
    setup.sample_interval = Seconds::new(10_000.0);
    let recording = run_to_end(setup);
    let [grown, ..] = &recording.scalings[..] else { panic!("nobody saw the cache fill") };
    assert_eq!(grown.desired, Replicas::new(2));
    assert_eq!(grown.at, Timestamp::from_seconds(660.0));
}

#[test]
fn a_run_remembers_no_more_requests_than_the_oldest_in_flight_needs() {
    // One a second for a long time, each in flight for a few seconds.
    let requests: Vec<_> = (0..5000).map(|second| (f64::from(second), 10, 3)).collect();
    let mut simulation = Simulation::new(setup(1, bounds(1, 1), &requests)).unwrap();
    let (mut horizon, mut taken, mut most) = (0.0, 0, 0);
    loop {
        horizon += 10.0;
        let over = simulation.run_until(Timestamp::from_seconds(horizon));
        let ended = simulation.take_requests();
        most = most.max(ended.len());
        taken += ended.len();
        if over {
            break;
        }
    }
    let recording = simulation.finish();
    assert!(most < 30 && recording.requests.len() < 30, "{most} {}", recording.requests.len());
    assert_eq!(taken + recording.requests.len(), 5000);
    // What was taken is counted all the same.
    assert_eq!(recording.counts().completed, 5000);
}

#[test]
fn a_request_that_never_ends_does_not_make_a_run_remember_all_others() {
    // No replica will ever serve the second model, whose one request arrives first.
    let requests: Vec<_> = (1..150_000).map(|number| (f64::from(number) * 0.25, 10, 2)).collect();
    let mut setup = setup(1, bounds(1, 1), &requests);
    let mut stuck = self::setup(0, bounds(0, 0), &[(0.0, 10, 2)]);
    stuck.models[0].model = "stuck".parse().unwrap();
    stuck.variants[0].variant = "none".parse().unwrap();
    stuck.variants[0].model = 1;
    setup.models.append(&mut stuck.models);
    setup.variants.append(&mut stuck.variants);

    let mut simulation = Simulation::new(setup).unwrap();
    let (mut horizon, mut taken, mut most_remembered) = (0.0, 0, 0);
    loop {
        horizon += 100.0;
        let over = simulation.run_until(Timestamp::from_seconds(horizon));
        taken += simulation.take_requests().len() as u64;
        most_remembered = most_remembered.max(simulation.progress().arrived - taken);
        if over {
            break;
        }
    }
    // 2^17 wait for it, and no more.
    assert!((130_000..131_200).contains(&most_remembered), "{most_remembered}");
    let counts = simulation.finish().counts();
    assert_eq!((counts.completed, counts.in_flight), (149_999, 1));
}

#[test]
fn what_requests_have_in_common_is_found_in_the_cache() {
    let content = || Content::new([Segment { text: TextId(1), tokens: 64 }], None);
    let arrival = |at| Arrival {
        at: Timestamp::from_seconds(at),
        prompt: Tokens::new(100),
        output: Tokens::new(2),
        content: content(),
    };
    let mut setup = setup(1, bounds(1, 1), &[]);
    let trace = Trace::new("alike", vec![arrival(0.0), arrival(20.0)]);
    setup.models[0].workload = Workload::trace(trace, Speed::default());
    let recording = Simulation::new(setup).unwrap().finish();
    let cached: Vec<_> = recording.requests.iter().map(|r| r.cached_tokens).collect();
    assert_eq!(cached, [0, 64]);
    let Tally { prompt_tokens, cached_tokens, .. } = recording.tally();
    assert_eq!((prompt_tokens, cached_tokens), (200, 64));
}
