//! Short ways to write observations down.

use std::fmt::Debug;
use std::str::FromStr;

use optimizer::Policy;
use optimizer::observation::{
    Bounds, Demand, FleetObservation, ModelObservation, ReplicaObservation, Signal,
    VariantObservation,
};
use optimizer::policy::AnalyzerName;
use optimizer::units::{Fraction, HourlyCost, QueueLength, Replicas, Timestamp};

pub(crate) fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// A replica with a KV usage and a queue that were sampled at `at`.
pub(crate) fn replica(name: &str, at: Timestamp, kv: f64, queue: f64) -> ReplicaObservation {
    ReplicaObservation {
        kv_usage: Signal::seen(Fraction::new(kv), at),
        waiting: Signal::seen(QueueLength::new(queue), at),
        ..ReplicaObservation::silent(id(name))
    }
}

/// A variant whose replicas are all ready and report the given (KV usage, queue) at `at`.
pub(crate) fn variant(
    name: &str,
    cost: f64,
    at: Timestamp,
    loads: &[(f64, f64)],
) -> VariantObservation {
    let replicas: Vec<_> = loads
        .iter()
        .enumerate()
        .map(|(idx, &(kv, queue))| replica(&format!("{name}-{idx}"), at, kv, queue))
        .collect();
    let current = Replicas::new(u32::try_from(replicas.len()).unwrap());
    VariantObservation {
        cost: HourlyCost::new(cost),
        bounds: Bounds { min: Replicas::ZERO, max: None },
        current,
        ready: current,
        replicas,
        ..VariantObservation::new(id(name), id("H100"))
    }
}

/// One model with these variants.
pub(crate) fn fleet(variants: Vec<VariantObservation>) -> FleetObservation {
    let model = ModelObservation {
        model: id("model"),
        namespace: id("namespace"),
        demand: Demand::default(),
        variants,
        slo: None,
    };
    FleetObservation { models: vec![model], ..FleetObservation::default() }
}

/// The policy that asks the saturation analyzer alone.
pub(crate) fn thresholds() -> Policy {
    Policy { analyzers: vec![AnalyzerName::Saturation], ..Policy::default() }
}
