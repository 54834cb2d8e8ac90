//! Policies, fleets and sequences of steps, drawn at random.

mod full;

use std::fmt::Debug;

use optimizer::observation::{
    Bounds, Demand, FleetObservation, ModelObservation, ReplicaObservation, Signal,
    VariantObservation,
};
use optimizer::policy::{
    AnalyzerName, DirectionPolicy, HybridMode, Policy, SaturationPolicy, ScalingPolicy,
};
use optimizer::units::{Fraction, HourlyCost, QueueLength, Replicas, Seconds, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::fleet::id;

/// A time within the first quarter of an hour, so that the times of samples and of steps mix.
pub(crate) fn time() -> impl Strategy<Value = Timestamp> {
    (0..900_u32).prop_map(|seconds| Timestamp::from_seconds(f64::from(seconds)))
}

fn span() -> impl Strategy<Value = Seconds> {
    select(vec![0.0, 30.0, 120.0, 300.0]).prop_map(Seconds::new)
}

fn direction() -> impl Strategy<Value = DirectionPolicy> {
    let max_step = proptest::option::of((0..3_u32).prop_map(Replicas::new));
    (span(), span(), max_step).prop_map(|(stabilization_window, cooldown, max_step)| {
        DirectionPolicy { stabilization_window, cooldown, max_step }
    })
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let thresholds = (0.0..=1.0, 0.0..=1.0, 0.0..20.0, 0.0..20.0);
    let saturation = thresholds.prop_map(|(kv, kv_spare, queue, queue_spare)| SaturationPolicy {
        kv_cache_threshold: Fraction::new(kv),
        kv_spare_trigger: Fraction::new(kv * kv_spare),
        queue_length_threshold: QueueLength::new(queue),
        queue_spare_trigger: QueueLength::new(queue_spare),
        overrides: Vec::new(),
    });
    let scaling = (direction(), direction(), span());
    (prop_oneof![Just(SaturationPolicy::default()), saturation], scaling).prop_map(
        |(saturation, (up, down, transition_timeout))| Policy {
            analyzers: vec![AnalyzerName::Saturation],
            saturation,
            scaling: ScalingPolicy { up, down, transition_timeout },
            ..Policy::default()
        },
    )
}

/// A policy that holds nothing back.
pub(crate) fn prompt() -> Policy {
    let down = DirectionPolicy::default();
    let scaling = ScalingPolicy { down, ..ScalingPolicy::default() };
    Policy { analyzers: vec![AnalyzerName::Saturation], scaling, ..Policy::default() }
}

/// A policy that asks any of the analyzers.
pub(crate) fn any_analyzers() -> impl Strategy<Value = Policy> {
    const ALL: [AnalyzerName; 5] = [
        AnalyzerName::Saturation,
        AnalyzerName::Tokens,
        AnalyzerName::Throughput,
        AnalyzerName::Queueing,
        AnalyzerName::Slo,
    ];
    let hybrid = select(vec![HybridMode::Off, HybridMode::On, HybridMode::ModelOnly]);
    let hybrid = prop::option::weighted(0.2, hybrid);
    (policy(), subsequence(ALL.to_vec(), 0..=5), hybrid).prop_map(|(policy, analyzers, hybrid)| {
        Policy { analyzers, experimental_hybrid_optimization: hybrid, ..policy }
    })
}

/// A sample that is fresh at every [`time`].
fn fresh<T: Copy + Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Signal<T>> {
    value.prop_map(|value| Signal::seen(value, Timestamp::from_seconds(900.0)))
}

/// Mostly a fresh sample, now and then an old one or none.
fn signal<T: Copy + Debug>(
    value: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Signal<T>> {
    let seen = (value.clone(), time()).prop_map(|(value, at)| Signal::seen(value, at));
    prop_oneof![8 => fresh(value), 1 => seen, 1 => Just(Signal::Missing)]
}

/// A share of up to so many twentieths.
fn kv(most: u32) -> impl Strategy<Value = Fraction> + Clone {
    (0..=most).prop_map(|twentieths| Fraction::new(f64::from(twentieths) / 20.0))
}

fn queue() -> impl Strategy<Value = QueueLength> + Clone {
    let ordinary = (0..8_u32).prop_map(f64::from);
    prop_oneof![9 => ordinary, 1 => select(vec![0.1, 4.9, 1e300, f64::MAX])]
        .prop_map(QueueLength::new)
}

fn replica(
    kv_usage: impl Strategy<Value = Signal<Fraction>>,
    waiting: impl Strategy<Value = Signal<QueueLength>>,
) -> impl Strategy<Value = ReplicaObservation> {
    (0..100_u32, kv_usage, waiting).prop_map(|(number, kv_usage, waiting)| {
        let replica = id(&format!("replica-{number}"));
        ReplicaObservation { kv_usage, waiting, ..ReplicaObservation::silent(replica) }
    })
}

/// Ready and pending replicas, and those that report.
type Counts = (usize, usize, Vec<ReplicaObservation>);

/// Every replica reports, and has little to do.
fn calm() -> impl Strategy<Value = Counts> {
    let waiting = fresh((0..2_u32).prop_map(|count| QueueLength::new(f64::from(count))));
    vec(replica(fresh(kv(10)), waiting), 0..6).prop_map(|replicas| (replicas.len(), 0, replicas))
}

/// Any state.
fn wild() -> impl Strategy<Value = Counts> {
    let replicas = || vec(replica(signal(kv(20)), signal(queue())), 0..6);
    let settled = replicas().prop_map(|replicas| (replicas.len(), 0, replicas));
    let unsettled = (0..6_usize, 0..3_usize, replicas());
    prop_oneof![4 => settled, 1 => unsettled]
}

/// A variant with consistent bounds.
fn variant(
    name: &'static str,
    counts: impl Strategy<Value = Counts>,
) -> impl Strategy<Value = VariantObservation> {
    let bounds = (0..3_u32, prop::option::of(0..5_u32)).prop_map(|(min, range)| Bounds {
        min: Replicas::new(min),
        max: range.map(|range| Replicas::new(min + range)),
    });
    (bounds, counts, 1..4_u32).prop_map(move |(bounds, (ready, pending, replicas), cost)| {
        let count = |number| Replicas::new(u32::try_from(number).unwrap());
        VariantObservation {
            cost: HourlyCost::new(f64::from(cost)),
            bounds,
            current: count(ready + pending),
            ready: count(ready),
            replicas,
            ..VariantObservation::new(id(name), id("H100"))
        }
    })
}

fn model(
    namespace: &'static str,
    model: &'static str,
    variants: [&'static str; 3],
) -> impl Strategy<Value = ModelObservation> {
    let calm = variants.map(|name| prop::option::weighted(0.8, variant(name, calm())));
    let wild = variants.map(|name| prop::option::weighted(0.8, variant(name, wild())));
    prop_oneof![calm, wild].prop_map(move |variants| ModelObservation {
        model: id(model),
        namespace: id(namespace),
        demand: Demand::default(),
        variants: variants.into_iter().flatten().collect(),
        slo: None,
    })
}

pub(crate) fn fleet() -> impl Strategy<Value = FleetObservation> {
    let chat = model("chat", "llama", ["a", "b", "c"]);
    let other = model("chat", "qwen", ["d", "e", "f"]);
    let same_names = model("code", "llama", ["a", "b", "c"]);
    (chat, other, same_names).prop_map(|(a, b, c)| FleetObservation {
        models: vec![a, b, c],
        ..FleetObservation::default()
    })
}

/// Steps in which everything that can be reported is, with ordinary numbers and absurd ones.
pub(crate) fn full_steps() -> impl Strategy<Value = Vec<(Timestamp, FleetObservation)>> {
    let ordinary = select(vec![0.0, 0.01, 0.5, 1.0, 3.0, 20.0, 250.0, 1000.0, 5000.0]);
    let absurd = select(vec![1e-300, 1e9, 1e300, f64::MAX]);
    let number = prop_oneof![20 => ordinary, 1 => absurd];
    let numbers = vec(prop::option::weighted(0.9, number), 64..200);
    vec((time(), fleet(), numbers), 1..6).prop_map(|steps| {
        let fill = |(now, mut fleet, numbers): (Timestamp, FleetObservation, Vec<Option<f64>>)| {
            full::fill(&mut fleet, now, &numbers);
            (now, fleet)
        };
        steps.into_iter().map(fill).collect()
    })
}

/// Steps in no order of time.
pub(crate) fn steps() -> impl Strategy<Value = Vec<(Timestamp, FleetObservation)>> {
    vec((time(), fleet()), 1..6)
}
