//! All that a controller may know, as one value per step.
//!
//! The drivers fill it: the operator from Prometheus and the API server, the simulator from its
//! scraper. Missing is not zero: a signal that nobody reported is [`Signal::Missing`], and one that
//! was seen keeps the time at which it was seen, so that the policy can tell fresh from stale.

mod demand;
mod engine;
mod inventory;
mod replica;
mod signal;

use serde::{Deserialize, Serialize};

pub use demand::{Demand, Lengths};
pub use engine::{EngineArgsError, EngineConfig};
pub use inventory::{GpuPool, Inventory, Quota, QuotaScope};
pub use replica::ReplicaObservation;
pub use signal::{Reading, Signal};

use crate::id::{AcceleratorId, ModelId, Namespace, VariantId};
use crate::slo::Slo;
use crate::step_time::StepTime;
use crate::units::{Gpus, HourlyCost, Replicas, Seconds};

/// The state of every model at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FleetObservation {
    /// One entry for each model in each namespace. Their order does not matter.
    pub models: Vec<ModelObservation>,
    /// The GPUs that there are; `None` where nothing limits them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
}

/// One model in one namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ModelObservation {
    /// The model.
    pub model: ModelId,
    /// The namespace in which it runs.
    pub namespace: Namespace,
    /// What its users are promised, where the object that describes the model says so. It goes
    /// before the policy's targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<Slo>,
    /// What its users ask for.
    #[serde(default)]
    pub demand: Demand,
    /// The ways in which it is served. Their order does not matter.
    pub variants: Vec<VariantObservation>,
}

/// One variant: what it costs, how far it may go, where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VariantObservation {
    /// The variant.
    pub variant: VariantId,
    /// The part of a request that it serves.
    #[serde(default)]
    pub role: Role,
    /// The kind of GPU it runs on.
    pub accelerator: AcceleratorId,
    /// GPUs of one replica.
    pub gpus_per_replica: Gpus,
    /// The cost of one replica.
    pub cost: HourlyCost,
    /// Whether the provider may take its GPUs back at any time.
    #[serde(default)]
    pub spot: bool,
    /// How few and how many replicas are allowed.
    pub bounds: Bounds,
    /// Replicas that exist, whatever their state.
    pub current: Replicas,
    /// Replicas that take requests.
    pub ready: Replicas,
    /// How long a new replica takes to become ready, as measured; `None` until one was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold_start: Option<Seconds>,
    /// How its engines are configured.
    #[serde(default)]
    pub engine: EngineConfig,
    /// How long its engine's steps take, as a profile has it; what is learned goes before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<StepTime>,
    /// The replicas that report metrics. Their order does not matter.
    #[serde(default)]
    pub replicas: Vec<ReplicaObservation>,
}

impl VariantObservation {
    /// A variant without replicas, on one GPU per replica, free of charge, unbounded: what is known
    /// goes over it.
    #[must_use]
    pub fn new(variant: VariantId, accelerator: AcceleratorId) -> Self {
        Self {
            variant,
            role: Role::default(),
            accelerator,
            gpus_per_replica: Gpus::new(1),
            cost: HourlyCost::ZERO,
            spot: false,
            bounds: Bounds { min: Replicas::ZERO, max: None },
            current: Replicas::ZERO,
            ready: Replicas::ZERO,
            cold_start: None,
            engine: EngineConfig::default(),
            profile: None,
            replicas: Vec::new(),
        }
    }

    /// Replicas that exist but do not take requests yet.
    #[must_use]
    pub fn pending(&self) -> Replicas {
        self.current - self.ready
    }
}

/// The part of a request that a variant serves.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The whole of it.
    #[default]
    Both,
    /// The prompt, up to the first token.
    Prefill,
    /// The tokens after the first.
    Decode,
}

impl Role {
    /// The name for logs, labels and files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The range of a replica count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The fewest replicas.
    pub min: Replicas,
    /// The most replicas; `None` where nothing limits them.
    pub max: Option<Replicas>,
}

impl Bounds {
    /// The nearest count inside the range. Where `min` lies above `max`, `max` wins: it is the
    /// limit on what is paid.
    #[must_use]
    pub fn clamp(self, replicas: Replicas) -> Replicas {
        let raised = replicas.max(self.min);
        self.max.map_or(raised, |max| raised.min(max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_clamp_and_the_maximum_wins() {
        let of = |min: u32, max: Option<u32>| Bounds {
            min: Replicas::new(min),
            max: max.map(Replicas::new),
        };
        assert_eq!(of(2, Some(4)).clamp(Replicas::new(1)), Replicas::new(2));
        assert_eq!(of(2, Some(4)).clamp(Replicas::new(9)), Replicas::new(4));
        assert_eq!(of(0, None).clamp(Replicas::new(9)), Replicas::new(9));
        assert_eq!(of(5, Some(4)).clamp(Replicas::new(1)), Replicas::new(4));
    }
}
