//! One step of the controller over a large fleet: 10,000 variants of 2,500 models, with too few GPUs
//! for all that they ask for.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use optimizer::Controller;
use optimizer::observation::{
    Bounds, Demand, FleetObservation, GpuPool, Inventory, Lengths, ModelObservation,
    ReplicaObservation, Signal, VariantObservation,
};
use optimizer::policy::{AnalyzerName, Policy};
use optimizer::slo::Slo;
use optimizer::step_time::StepTime;
use optimizer::units::{
    Fraction, Gpus, HourlyCost, MeanTokens, QueueLength, Replicas, RequestRate, Seconds, StepRate,
    Timestamp, TokenRate, Tokens, Variation,
};

const MODELS: u32 = 2_500;
const REPLICAS: u32 = 4;

/// The kinds of GPU, what they cost, and how many tokens the KV cache of one holds.
const ACCELERATORS: [(&str, f64, u64); 4] = [
    ("H100", 10.0, 450_000),
    ("A100", 5.0, 400_000),
    ("L40S", 2.0, 180_000),
    ("H200", 12.0, 900_000),
];

fn fleet(now: Timestamp) -> FleetObservation {
    let seen = |value| Signal::seen(value, now);
    let models = (0..MODELS).map(|number| {
        // Every third model has more to do than its replicas can.
        let load = if number % 3 == 0 { 1.6 } else { 0.3 + 0.1 * f64::from(number % 5) };
        let variants = ACCELERATORS.iter().map(|&(accelerator, cost, capacity)| {
            let variant = format!("model-{number}-{}", accelerator.to_lowercase());
            let replica = |idx| ReplicaObservation {
                kv_usage: seen_share(load, now),
                waiting: Signal::seen(QueueLength::new(if load > 1.0 { 12.0 } else { 0.0 }), now),
                running: Signal::seen(QueueLength::new(60.0 * load), now),
                kv_capacity: Signal::seen(Tokens::new(capacity), now),
                input_tokens: Signal::seen(MeanTokens::new(1000.0), now),
                output_tokens: Signal::seen(MeanTokens::new(250.0), now),
                prompt_rate: Signal::seen(TokenRate::new(6000.0 * load), now),
                generation_rate: Signal::seen(TokenRate::new(1500.0 * load), now),
                step_rate: Signal::seen(StepRate::new(50.0), now),
                completions: Signal::seen(RequestRate::new(6.0 * load), now),
                itl: Signal::seen(Seconds::from_millis(20.0), now),
                ttft: Signal::seen(Seconds::from_millis(200.0), now),
                ..ReplicaObservation::silent(name(&format!("{variant}-{idx}")))
            };
            VariantObservation {
                gpus_per_replica: Gpus::new(1 + number % 2),
                cost: HourlyCost::new(cost),
                bounds: Bounds { min: Replicas::new(1), max: Some(Replicas::new(40)) },
                current: Replicas::new(REPLICAS),
                ready: Replicas::new(REPLICAS),
                profile: Some(StepTime {
                    overhead: Seconds::from_millis(8.0),
                    per_prompt_token: Seconds::new(3e-5),
                    per_sequence: Seconds::new(3e-5),
                    per_context_token: Seconds::new(5e-8),
                }),
                replicas: (0..REPLICAS).map(replica).collect(),
                ..VariantObservation::new(name(&variant), name(accelerator))
            }
        });
        let lengths = |mean: f64| Lengths {
            mean: seen(MeanTokens::new(mean)),
            variation: Signal::seen(Variation::new(1.0), now),
        };
        ModelObservation {
            model: name(&format!("model-{number}")),
            namespace: name(&format!("team-{}", number % 50)),
            slo: Some(Slo { ttft: Seconds::new(1.0), tpot: Seconds::from_millis(50.0) }),
            demand: Demand {
                arrival_rate: Signal::seen(RequestRate::new(100.0 * load), now),
                gateway_queue: Signal::seen(QueueLength::ZERO, now),
                input: lengths(1000.0),
                output: lengths(250.0),
                ..Demand::default()
            },
            variants: variants.collect(),
        }
    });
    // A twentieth more than is in use.
    let used = MODELS * REPLICAS * 3 / 2;
    let pool = GpuPool { total: Gpus::new(used + used / 20), used: Gpus::new(used) };
    let gpus = ACCELERATORS.map(|(accelerator, ..)| (name(accelerator), pool));
    FleetObservation {
        models: models.collect(),
        inventory: Some(Inventory { gpus: Some(gpus.into()), ..Inventory::default() }),
    }
}

fn seen_share(load: f64, now: Timestamp) -> Signal<Fraction> {
    Signal::seen(Fraction::new((0.6 * load).min(0.98)), now)
}

fn name<T>(text: &str) -> T
where
    T: std::str::FromStr,
    T::Err: std::fmt::Debug,
{
    text.parse().expect("the names of this bench are valid")
}

fn step(c: &mut Criterion) {
    let mut group = c.benchmark_group("controller/10000-variants");
    group.sample_size(10);
    let start = Timestamp::from_seconds(1_000.0);
    let later = start + Seconds::new(30.0);
    let (first, second) = (fleet(start), fleet(later));
    for analyzer in [
        AnalyzerName::Saturation,
        AnalyzerName::Tokens,
        AnalyzerName::Throughput,
        AnalyzerName::Queueing,
        AnalyzerName::Slo,
    ] {
        let policy = Policy { analyzers: vec![analyzer], ..Policy::default() };
        let mut controller = Controller::new(policy).expect("the default policy is valid");
        controller.step(start, &first);
        group.bench_function(analyzer.as_str(), |b| {
            let warm = || controller.clone();
            let decide = |mut controller: Controller| black_box(controller.step(later, &second));
            b.iter_batched(warm, decide, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
