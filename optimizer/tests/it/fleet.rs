//! Short ways to write observations down.

use std::fmt::Debug;
use std::str::FromStr;

use optimizer::observation::{
    Bounds, Demand, FleetObservation, ModelObservation, ReplicaObservation, Signal,
    VariantObservation,
};
use optimizer::units::{Fraction, Gpus, HourlyCost, QueueLength, Replicas, Timestamp};

pub(crate) fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// A replica with a KV usage and a queue that were sampled at `at`.
pub(crate) fn replica(name: &str, at: Timestamp, kv: f64, queue: f64) -> ReplicaObservation {
    ReplicaObservation {
        replica: id(name),
        kv_usage: Signal::seen(Fraction::new(kv), at),
        waiting: Signal::seen(QueueLength::new(queue), at),
        running: Signal::Missing,
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
        variant: id(name),
        accelerator: id("H100"),
        gpus_per_replica: Gpus::new(1),
        cost: HourlyCost::new(cost),
        bounds: Bounds { min: Replicas::ZERO, max: None },
        current,
        ready: current,
        replicas,
    }
}

/// One model with these variants.
pub(crate) fn fleet(variants: Vec<VariantObservation>) -> FleetObservation {
    let model = ModelObservation {
        model: id("model"),
        namespace: id("namespace"),
        demand: Demand::default(),
        variants,
    };
    FleetObservation { models: vec![model] }
}
