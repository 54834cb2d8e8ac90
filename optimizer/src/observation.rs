//! All that a controller may know, as one value per step.
//!
//! The drivers fill it: the operator from Prometheus and the API server, the simulator from its
//! scraper. Missing is not zero: a signal that nobody reported is [`Signal::Missing`], and one that
//! was seen keeps the time at which it was seen, so that the policy can tell fresh from stale.

use serde::{Deserialize, Serialize};

use crate::id::{AcceleratorId, ModelId, Namespace, ReplicaId, VariantId};
use crate::policy::Freshness;
use crate::units::{
    Fraction, Gpus, HourlyCost, QueueLength, Replicas, RequestRate, Seconds, Timestamp,
};

/// The state of every model at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FleetObservation {
    /// One entry for each model in each namespace. Their order does not matter.
    pub models: Vec<ModelObservation>,
}

/// One model in one namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelObservation {
    /// The model.
    pub model: ModelId,
    /// The namespace in which it runs.
    pub namespace: Namespace,
    /// What its users ask for.
    pub demand: Demand,
    /// The ways in which it is served. Their order does not matter.
    pub variants: Vec<VariantObservation>,
}

/// What the users of a model ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Demand {
    /// Arrivals over the scrape window.
    pub arrival_rate: Signal<RequestRate>,
    /// Requests that wait at the gateway, because no replica takes them.
    pub gateway_queue: Signal<QueueLength>,
}

/// One variant: what it costs, how far it may go, where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantObservation {
    /// The variant.
    pub variant: VariantId,
    /// The kind of GPU it runs on.
    pub accelerator: AcceleratorId,
    /// GPUs of one replica.
    pub gpus_per_replica: Gpus,
    /// The cost of one replica.
    pub cost: HourlyCost,
    /// How few and how many replicas are allowed.
    pub bounds: Bounds,
    /// Replicas that exist, whatever their state.
    pub current: Replicas,
    /// Replicas that take requests.
    pub ready: Replicas,
    /// The replicas that report metrics. Their order does not matter.
    pub replicas: Vec<ReplicaObservation>,
}

impl VariantObservation {
    /// Replicas that exist but do not take requests yet.
    #[must_use]
    pub fn pending(&self) -> Replicas {
        self.current - self.ready
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

/// What one replica reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplicaObservation {
    /// The replica.
    pub replica: ReplicaId,
    /// The share of its KV cache that is in use (`vllm:kv_cache_usage_perc`).
    pub kv_usage: Signal<Fraction>,
    /// Requests that wait in its engine (`vllm:num_requests_waiting`).
    pub waiting: Signal<QueueLength>,
    /// Requests in its running batch (`vllm:num_requests_running`).
    pub running: Signal<QueueLength>,
}

/// A value that may not have been reported, and when it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Signal<T> {
    /// Nobody reported it.
    #[default]
    Missing,
    /// Reported.
    Seen {
        /// What was reported.
        value: T,
        /// When the sample was taken, which is before it was read.
        at: Timestamp,
    },
}

impl<T: Copy> Signal<T> {
    /// A value that was sampled at `at`.
    #[must_use]
    pub const fn seen(value: T, at: Timestamp) -> Self {
        Self::Seen { value, at }
    }

    /// What the signal is worth at `now`.
    #[must_use]
    pub fn read(&self, now: Timestamp, freshness: &Freshness) -> Reading<T> {
        match *self {
            Self::Missing => Reading::Missing,
            Self::Seen { value, at } => {
                let age = now.since(at);
                if age > freshness.missing_after {
                    Reading::Missing
                } else if age > freshness.stale_after {
                    Reading::Stale { value, age }
                } else {
                    Reading::Fresh(value)
                }
            }
        }
    }
}

/// A signal, judged by its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading<T> {
    /// Recent enough to act on.
    Fresh(T),
    /// Good enough to keep or raise a replica count, not to lower it.
    Stale {
        /// What was last reported.
        value: T,
        /// How long ago.
        age: Seconds,
    },
    /// Never reported, or so long ago that it says nothing.
    Missing,
}

impl<T> Reading<T> {
    /// The value, fresh or stale.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Fresh(value) | Self::Stale { value, .. } => Some(value),
            Self::Missing => None,
        }
    }

    /// Whether the value is recent enough to act on.
    pub const fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ages_from_fresh_to_stale_to_missing() {
        let freshness = Freshness::default();
        let signal = Signal::seen(7, Timestamp::from_seconds(100.0));
        let at = |seconds: f64| signal.read(Timestamp::from_seconds(seconds), &freshness);
        assert_eq!(at(160.0), Reading::Fresh(7));
        assert_eq!(at(161.0), Reading::Stale { value: 7, age: Seconds::new(61.0) });
        assert_eq!(at(401.0), Reading::Missing);
        // A sample from the future is a clock that differs, not an old sample.
        assert_eq!(at(99.0), Reading::Fresh(7));
        assert_eq!(Signal::<u32>::Missing.read(Timestamp::ZERO, &freshness), Reading::Missing);
    }

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
