//! What a query finds: maxima over a window, as old as the lag, and nothing of who is not ready.

use optimizer::observation::{Bounds, ReplicaObservation};
use optimizer::slo::Slo;
use optimizer::units::{Fraction, Gpus, HourlyCost, MeanTokens, Replicas, Tokens, Variation};

use super::*;
use crate::autoscaling::Actuation;
use crate::engine::step_time::{Linear, Plant};
use crate::engine::{EngineArgs, ModelServer, Request, RequestId};
use crate::fleet::State;
use crate::setup::{Knowledge, VariantSetup};
use crate::workload::Workload;
use crate::workload::trace::{Speed, Trace};

/// A gateway and one variant with two ready replicas of one seat each, on a GPU that never gets a
/// step done.
struct Scene {
    fleet: Fleet,
    scraper: Scraper,
    gateway: GatewayState,
    models: Vec<ModelSetup>,
}

impl Scene {
    fn new(lag: f64, window: f64) -> Self {
        let args = EngineArgs {
            max_num_batched_tokens: 100,
            max_num_seqs: 1,
            max_model_len: 100,
            block_size: 10,
            num_gpu_blocks: 21,
            async_scheduling: false,
            ..EngineArgs::DEFAULT
        };
        let plant = Linear {
            base: Seconds::new(10_000.0),
            per_prefill_token: Seconds::ZERO,
            per_decode_sequence: Seconds::ZERO,
            per_context_token: Seconds::ZERO,
        };
        let variant = VariantSetup {
            variant: "v".parse().unwrap(),
            model: 0,
            accelerator: "H100".parse().unwrap(),
            gpus_per_replica: Gpus::new(2),
            cost: HourlyCost::new(8.0),
            bounds: Bounds { min: Replicas::new(1), max: None },
            initial: Replicas::new(2),
            cold_start: Seconds::new(60.0),
            drain_timeout: Seconds::new(60.0),
            engine: args.try_into().unwrap(),
            data_parallel: 1,
            plant: Plant::Linear(plant),
            known: Knowledge::default(),
        };
        let setup = ControlSetup {
            scrape_interval: Seconds::new(10.0),
            scrape_lag: Seconds::new(lag),
            window: Seconds::new(window),
            retention: Seconds::new(100.0),
            interval: Seconds::new(30.0),
            actuation_delay: Seconds::ZERO,
            actuation: Actuation::Direct,
        };
        let model = ModelSetup {
            model: "m".parse().unwrap(),
            namespace: "n".parse().unwrap(),
            slo: Slo { ttft: Seconds::new(1.0), tpot: Seconds::new(1.0) },
            workload: Workload::trace(Trace::new("none", Vec::new()), Speed::default()),
        };
        Self {
            fleet: Fleet::new(&[variant], None),
            scraper: Scraper::new(setup, 1),
            gateway: GatewayState::default(),
            models: vec![model],
        }
    }

    /// Puts `waiting` requests behind one that runs, in a replica that was empty before.
    fn load(&mut self, replica: u32, waiting: u32) {
        let engine = &mut self.fleet.replica_mut(ReplicaIdx(replica)).engine;
        engine.abort_all();
        for id in 0..=waiting {
            let request = Request::new(RequestId(id), 50, 1);
            engine.submit(request, Timestamp::ZERO, &mut ()).unwrap();
        }
    }

    /// Scrapes, after as many arrivals of 10 tokens as bring their number to `arrived`.
    fn scrape(&mut self, at: f64, arrived: u64, queue: u64) {
        let now = Timestamp::from_seconds(at);
        while self.gateway.arrived() < arrived {
            self.gateway.arrives(now, 10);
        }
        (self.gateway.queue, self.gateway.queued_tokens) = (queue, 10 * queue);
        self.scraper.scrape(now, &self.fleet, [self.gateway].into_iter());
    }

    fn observe(&self, at: f64) -> ModelObservation {
        let now = Timestamp::from_seconds(at);
        let observed = self.scraper.observe(now, &self.fleet, &self.models);
        observed.models.into_iter().next().unwrap()
    }

    /// Names and queues of the replicas that report, with the times of their newest samples.
    fn queues(&self, at: f64) -> Vec<(String, f64, f64)> {
        let replicas = self.observe(at).variants.remove(0).replicas;
        let queue = |replica: ReplicaObservation| match replica.waiting {
            Signal::Seen { value, at } => {
                (replica.replica.to_string(), value.value(), at.as_seconds())
            }
            Signal::Missing => panic!("a series without a sample is no series"),
        };
        replicas.into_iter().map(queue).collect()
    }
}

#[test]
fn a_gauge_is_its_maximum_over_the_window() {
    let mut scene = Scene::new(0.0, 30.0);
    for (at, waiting) in [(10.0, 1), (20.0, 7), (30.0, 2), (40.0, 3)] {
        scene.load(0, waiting);
        scene.scrape(at, 0, 0);
    }
    let first = |at: f64| scene.queues(at).remove(0);
    assert_eq!(first(40.0), ("v-0".to_owned(), 7.0, 40.0));
    // A sample leaves the window when it is as old as the window is long.
    assert_eq!(first(49.9), ("v-0".to_owned(), 7.0, 40.0));
    assert_eq!(first(50.0), ("v-0".to_owned(), 3.0, 40.0));
    // A prompt of 50 tokens holds 5 of 20 blocks.
    let replica = &scene.observe(40.0).variants[0].replicas[0];
    let at = Timestamp::from_seconds(40.0);
    assert_eq!(replica.kv_usage, Signal::seen(Fraction::new(0.25), at));
    assert_eq!(replica.running, Signal::seen(QueueLength::new(1.0), at));
}

#[test]
fn a_sample_is_seen_once_the_lag_has_passed() {
    let mut scene = Scene::new(5.0, 30.0);
    scene.load(0, 4);
    scene.scrape(10.0, 0, 0);
    assert_eq!(scene.queues(14.9), []);
    assert_eq!(scene.queues(15.0)[0], ("v-0".to_owned(), 4.0, 10.0));
    assert_eq!(scene.queues(44.9).len(), 2);
    assert_eq!(scene.queues(45.0), []);
}

#[test]
fn counts_are_current_and_only_ready_replicas_report() {
    let mut scene = Scene::new(0.0, 30.0);
    scene.load(1, 0);
    scene.scrape(10.0, 0, 0);
    assert_eq!(scene.queues(10.0).len(), 2);
    // One replica is added and has not started; then the younger of the ready ones drains.
    let now = Timestamp::from_seconds(11.0);
    scene.fleet.scale(0, Replicas::new(3), now);
    let observed = scene.observe(11.0).variants.remove(0);
    assert_eq!((observed.current, observed.ready), (Replicas::new(3), Replicas::new(2)));
    scene.fleet.replica_mut(ReplicaIdx(1)).state = State::Draining;
    let observed = scene.observe(11.0).variants.remove(0);
    assert_eq!((observed.current, observed.ready), (Replicas::new(2), Replicas::new(1)));
    assert_eq!(observed.replicas.len(), 1);
}

#[test]
fn demand_is_the_increase_of_a_counter_and_the_newest_queue() {
    let mut scene = Scene::new(0.0, 40.0);
    assert_eq!(scene.observe(5.0).demand, Demand::default());
    scene.scrape(10.0, 100, 9);
    // One sample has no increase.
    assert_eq!(scene.observe(10.0).demand.arrival_rate, Signal::Missing);
    scene.scrape(20.0, 130, 2);
    scene.scrape(30.0, 150, 4);
    let at = Timestamp::from_seconds(30.0);
    let demand = scene.observe(30.0).demand;
    assert_eq!(demand.arrival_rate, Signal::seen(RequestRate::new(2.5), at));
    assert_eq!(demand.gateway_queue, Signal::seen(QueueLength::new(4.0), at));
    assert_eq!(demand.gateway_bytes, Signal::seen(Bytes::new(4 * 10 * 4), at));
    assert_eq!(demand.input.mean, Signal::seen(MeanTokens::new(10.0), at));
    assert_eq!(demand.input.variation, Signal::seen(Variation::ZERO, at));
    assert_eq!(demand.output, Lengths::default());
}

#[test]
fn recent_requests_are_those_of_the_retention_time_or_all_there_were() {
    let mut scene = Scene::new(0.0, 40.0);
    // The retention time is 100 s, the distance of ten samples.
    let arrived = |step: u32| u64::from(step * step);
    for step in 1..=20 {
        let at = 10.0 * f64::from(step);
        scene.scrape(at, arrived(step), 0);
        let expected = (arrived(step) - arrived(step.saturating_sub(10))) as f64;
        let expected = Signal::seen(RequestCount::new(expected), Timestamp::from_seconds(at));
        assert_eq!(scene.observe(at).demand.recent_requests, expected, "{step}");
    }
}

#[test]
fn bursts_show_in_the_variance_of_arrivals_and_take_a_minute_to_judge() {
    let mut scene = Scene::new(0.0, 40.0);
    let mut found = Vec::new();
    for step in 1..=7_u32 {
        // Ten arrivals every 10 s, so of two bins one has ten and the other none.
        scene.scrape(10.0 * f64::from(step), 10 * u64::from(step), 0);
        found.push(scene.observe(10.0 * f64::from(step)).demand.burstiness);
    }
    assert_eq!(found[5], Signal::Missing);
    let Signal::Seen { value, .. } = found[6] else { panic!("twelve bins are over") };
    // Six times ten and six times nothing: 5 on average, and each 10 away from its neighbor.
    let expected = 100.0 / 2.0 / 5.0;
    assert!((value.value() - expected).abs() < 1e-9, "{value} is not {expected}");
}

#[test]
fn rates_and_means_need_two_samples_and_something_that_happened() {
    let mut scene = Scene::new(0.0, 30.0);
    let observed = |scene: &Scene, at: f64| scene.observe(at).variants.remove(0).replicas.remove(0);
    scene.load(0, 1);
    scene.scrape(10.0, 0, 0);
    let once = observed(&scene, 10.0);
    assert_eq!((once.completions, once.step_rate), (Signal::Missing, Signal::Missing));
    // 21 blocks of 10 tokens, of which one holds nothing.
    let at = Timestamp::from_seconds(10.0);
    assert_eq!(once.kv_capacity, Signal::seen(Tokens::new(210), at));
    scene.scrape(20.0, 0, 0);
    let twice = observed(&scene, 20.0);
    let at = Timestamp::from_seconds(20.0);
    assert_eq!(twice.completions, Signal::seen(RequestRate::ZERO, at));
    assert_eq!((twice.ttft, twice.output_tokens), (Signal::Missing, Signal::Missing));
}
