//! From one metric to a wish for replicas.
//!
//! The rules are those of Kubernetes' `pkg/controller/podautoscaler/replica_calculator.go` and
//! `metrics/utilization.go`, with their arithmetic in whole thousandths.

use optimizer::units::{Seconds, Timestamp};

use super::condition::ScalingActive;
use crate::autoscaling::{MilliQuantity, Phase, Pod};

/// A metric that an HPA goes by, and what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricSpec {
    /// What the pods use of a resource, in percent of what they asked for: `averageUtilization`.
    Utilization(Resource, u32),
    /// What a pod uses of a resource: `averageValue`.
    Usage(Resource, MilliQuantity),
    /// What a pod says of itself: `type: Pods`.
    Pods(MilliQuantity),
    /// What somebody else says: `type: External`, with `value` or `averageValue`.
    External(Target),
}

/// A resource of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Processor time, which a pod that starts uses in ways that say nothing about its load.
    Cpu,
    /// Any other.
    Other,
}

/// What an external metric should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The metric itself: the ready pods are multiplied by how far it is off.
    Value(MilliQuantity),
    /// The metric over the number of pods.
    AverageValue(MilliQuantity),
}

/// What was read of a metric.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// Of each pod of the observation, in their order; `None` where there is no value.
    Pods(Vec<Option<PodReading>>),
    /// The values of an external metric, which are added up.
    External(Vec<MilliQuantity>),
    /// Nothing: the metrics API answered with an error.
    Failed,
}

/// A value of one pod.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PodReading {
    /// The value.
    pub value: MilliQuantity,
    /// When its window ended.
    pub at: Timestamp,
    /// The time over which it is a mean.
    pub window: Seconds,
}

/// How far a metric may be off its target, as shares of it, before anything is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tolerances {
    pub(super) down: f64,
    pub(super) up: f64,
}

/// What else a wish depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) now: Timestamp,
    pub(super) spec_replicas: i64,
    pub(super) status_replicas: i64,
    pub(super) pods: &'a [Pod],
    pub(super) tolerances: Tolerances,
    pub(super) cpu_initialization_period: Seconds,
    pub(super) initial_readiness_delay: Seconds,
}

/// The pods by what is known of them; each with its value, if it has one, and its request.
#[derive(Debug, Default)]
struct Groups {
    measured: Vec<Usage>,
    unready: Vec<Usage>,
    missing: Vec<Usage>,
}

#[derive(Debug, Clone, Copy)]
struct Usage {
    value: i64,
    request: i64,
}

/// What the mean over the pods should be.
#[derive(Debug, Clone, Copy)]
enum MeanTarget {
    Percent(u32),
    Value(i64),
}

impl MetricSpec {
    /// Why there is no wish.
    pub(super) const fn failure(self) -> ScalingActive {
        match self {
            Self::Utilization(..) | Self::Usage(..) => ScalingActive::FailedGetResourceMetric,
            Self::Pods(_) => ScalingActive::FailedGetPodsMetric,
            Self::External(_) => ScalingActive::FailedGetExternalMetric,
        }
    }

    /// Whether it can tell how many pods are needed while there are none.
    pub(super) const fn sees_without_pods(self) -> bool {
        matches!(self, Self::External(_))
    }

    /// Whether the target is more than nothing, so that there is a ratio to it.
    pub(super) const fn has_target(self) -> bool {
        match self {
            Self::Utilization(_, percent) => percent > 0,
            Self::Usage(_, target) | Self::Pods(target) => target.thousandths() > 0,
            Self::External(Target::Value(target) | Target::AverageValue(target)) => {
                target.thousandths() > 0
            }
        }
    }

    /// The replica count that the metric asks for, before bounds, windows and rates. `None` when too
    /// little is known.
    pub(super) fn propose(self, reading: &Reading, context: &Context<'_>) -> Option<i64> {
        match (self, reading) {
            (Self::Utilization(resource, target), Reading::Pods(values)) => {
                context.by_pod(MeanTarget::Percent(target), resource, values)
            }
            (Self::Usage(resource, target), Reading::Pods(values)) => {
                context.by_pod(MeanTarget::Value(target.thousandths()), resource, values)
            }
            (Self::Pods(target), Reading::Pods(values)) => {
                context.by_pod(MeanTarget::Value(target.thousandths()), Resource::Other, values)
            }
            (Self::External(Target::Value(target)), Reading::External(values)) => {
                let sum = values.iter().fold(0, |sum: i64, v| sum.saturating_add(v.thousandths()));
                context.by_value(sum as f64 / target.as_f64())
            }
            (Self::External(Target::AverageValue(target)), Reading::External(values)) => {
                Some(context.by_average(values, target))
            }
            _ => None,
        }
    }
}

impl Context<'_> {
    /// Pods without a value are taken to be where they do the least harm: at the target when the
    /// others say that there are too many, and idle when they say that there are too few. Pods that
    /// are not ready count as idle in the latter case, and in the former not at all.
    fn by_pod(
        &self,
        target: MeanTarget,
        resource: Resource,
        values: &[Option<PodReading>],
    ) -> Option<i64> {
        let Groups { measured, unready, missing } = self.groups(resource, values);
        let all_ask = self.pods.iter().all(|pod| pod.request > MilliQuantity::ZERO);
        if measured.is_empty() || (matches!(target, MeanTarget::Percent(_)) && !all_ask) {
            return None;
        }
        let ratio = target.ratio(&measured)?;
        let too_few = ratio > 1.0;
        let count_unready = too_few && !unready.is_empty();
        if !count_unready && missing.is_empty() {
            let unchanged = self.tolerances.allow(ratio);
            let wish = whole(ratio * measured.len() as f64);
            return Some(if unchanged { self.spec_replicas } else { wish });
        }
        let mut assumed = measured;
        if ratio < 1.0 {
            assumed.extend(missing.iter().map(|pod| target.at_target(*pod)));
        } else if too_few {
            assumed.extend(missing.iter().map(|pod| Usage { value: 0, ..*pod }));
        }
        if count_unready {
            assumed.extend(unready.iter().map(|pod| Usage { value: 0, ..*pod }));
        }
        let assumed_ratio = target.ratio(&assumed)?;
        let turned = (ratio < 1.0 && assumed_ratio > 1.0) || (too_few && assumed_ratio < 1.0);
        if turned || self.tolerances.allow(assumed_ratio) {
            return Some(self.spec_replicas);
        }
        // The pods are not as many as the spec says during a rollout, for example.
        let wish = whole(assumed_ratio * assumed.len() as f64);
        let turned = (assumed_ratio < 1.0 && wish > self.spec_replicas)
            || (assumed_ratio > 1.0 && wish < self.spec_replicas);
        Some(if turned { self.spec_replicas } else { wish })
    }

    fn by_value(&self, ratio: f64) -> Option<i64> {
        if self.spec_replicas == 0 {
            return Some(whole(ratio));
        }
        if self.tolerances.allow(ratio) {
            return Some(self.spec_replicas);
        }
        let ready = |pod: &&Pod| pod.phase == Phase::Running && pod.is_ready();
        let ready = self.pods.iter().filter(ready).count();
        (!self.pods.is_empty()).then(|| whole(ratio * ready as f64))
    }

    fn by_average(&self, values: &[MilliQuantity], target: MilliQuantity) -> i64 {
        let mut sum = 0_i64;
        for value in values {
            sum = sum.saturating_add(value.thousandths());
            if sum < 0 {
                // Upstream takes a negative sum for one that overflowed.
                sum = i64::MAX;
                break;
            }
        }
        let usage = sum as f64;
        let ratio = usage / (target.as_f64() * self.status_replicas as f64);
        if self.tolerances.allow(ratio) {
            self.status_replicas
        } else {
            whole(usage / target.as_f64())
        }
    }

    fn groups(&self, resource: Resource, values: &[Option<PodReading>]) -> Groups {
        let mut groups = Groups::default();
        for (place, pod) in self.pods.iter().enumerate() {
            if pod.deleted || pod.phase == Phase::Failed {
                continue;
            }
            let mut usage = Usage { value: 0, request: pod.request.thousandths() };
            if pod.phase == Phase::Pending {
                groups.unready.push(usage);
                continue;
            }
            let Some(reading) = values.get(place).copied().flatten() else {
                groups.missing.push(usage);
                continue;
            };
            if resource == Resource::Cpu && self.is_initializing(pod, reading) {
                groups.unready.push(usage);
                continue;
            }
            usage.value = reading.value.thousandths();
            groups.measured.push(usage);
        }
        groups
    }

    /// Whether the processor time of a pod says nothing yet. In its first minutes a pod counts when it
    /// is ready and has been for the whole window of its value; later it counts, unless it never was
    /// ready.
    fn is_initializing(&self, pod: &Pod, reading: PodReading) -> bool {
        let (Some(started), Some(readiness)) = (pod.started, pod.readiness) else { return true };
        if started + self.cpu_initialization_period > self.now {
            !readiness.ready || reading.at < readiness.since + reading.window
        } else {
            !readiness.ready && started + self.initial_readiness_delay > readiness.since
        }
    }
}

impl Tolerances {
    /// Whether a ratio is near enough to 1.
    fn allow(self, ratio: f64) -> bool {
        (1.0 - self.down) <= ratio && ratio <= (1.0 + self.up)
    }
}

impl MeanTarget {
    /// The mean over its target; `None` when no pod asked for anything.
    fn ratio(self, pods: &[Usage]) -> Option<f64> {
        let sum = |of: fn(&Usage) -> i64| pods.iter().map(|pod| i128::from(of(pod))).sum::<i128>();
        let used = sum(|pod| pod.value);
        match self {
            Self::Percent(target) => {
                let percent = (used * 100).checked_div(sum(|pod| pod.request))?;
                Some(percent as f64 / f64::from(target))
            }
            Self::Value(target) => {
                let mean = used.checked_div(i128::try_from(pods.len()).ok()?)?;
                Some(mean as f64 / target as f64)
            }
        }
    }

    /// A pod that is just where it should be. One of a target below its request uses all of that.
    fn at_target(self, pod: Usage) -> Usage {
        let value = match self {
            Self::Percent(target) => pod.request.saturating_mul(i64::from(target.max(100))) / 100,
            Self::Value(target) => target,
        };
        Usage { value, ..pod }
    }
}

/// Rounded up, within the range of a replica count; 0 when it is no number. Upstream leaves what is
/// out of range to the processor, except for averages.
#[expect(clippy::cast_possible_truncation, reason = "the value is clamped, and NaN becomes 0")]
fn whole(replicas: f64) -> i64 {
    replicas.ceil().clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i64
}

#[cfg(test)]
mod tests;
