//! The `HorizontalPodAutoscaler`: `autoscaling/v2` as kube-controller-manager computes it.
//!
//! ```text
//! metrics ──▶ a wish each ──▶ the greatest ──▶ window ──▶ rate, minimum, maximum ──▶ spec.replicas
//!            (metric)                      (stabilization)      (behavior)
//! ```
//!
//! Each metric wishes for `ceil(replicas · value ÷ target)`, unless it is within a tolerance of its
//! target. If one of several cannot be read, the others may still add replicas, but not take any
//! away. Of the wishes of the last five minutes the highest counts, and a count at most doubles in a
//! step, or grows to 4; a [`Behavior`] replaces both.
//!
//! The rules are those of `reconcileAutoscaler` in Kubernetes 1.34's
//! `pkg/controller/podautoscaler/horizontal.go`. Not modeled: metrics of other objects and of single
//! containers, and writes that fail.

mod behavior;
mod condition;
mod metric;
mod stabilization;

use optimizer::units::{Replicas, Seconds, Timestamp};
use thiserror::Error;

use self::behavior::ScaleHistory;
use self::metric::{Context, Tolerances};
use self::stabilization::Recommendations;
use super::Pod;

pub use behavior::{Behavior, PolicyChange, ScalingPolicy, ScalingRules, SelectPolicy};
pub use condition::{AbleToScale, Conditions, ScalingActive, ScalingLimited};
pub use metric::{MetricSpec, PodReading, Reading, Resource, Target};

/// What an HPA is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct HpaSpec {
    /// The fewest replicas; zero only where [`ControllerConfig::scale_to_zero`] allows it.
    pub min_replicas: Replicas,
    /// The most replicas.
    pub max_replicas: Replicas,
    /// The metrics, at least one.
    pub metrics: Vec<MetricSpec>,
    /// How fast it may scale. `None` is not the same as [`Behavior::default`]: the count may then
    /// double in each step, whatever the time between two of them.
    pub behavior: Option<Behavior>,
}

/// What holds for all HPAs of a cluster: the flags of kube-controller-manager.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ControllerConfig {
    /// `--horizontal-pod-autoscaler-sync-period`: the time between two steps.
    pub sync_period: Seconds,
    /// `--horizontal-pod-autoscaler-downscale-stabilization`.
    pub downscale_stabilization: Seconds,
    /// `--horizontal-pod-autoscaler-tolerance`.
    pub tolerance: f64,
    /// `--horizontal-pod-autoscaler-cpu-initialization-period`.
    pub cpu_initialization_period: Seconds,
    /// `--horizontal-pod-autoscaler-initial-readiness-delay`.
    pub initial_readiness_delay: Seconds,
    /// The feature gate `HPAScaleToZero`, off by default in 1.34.
    pub scale_to_zero: bool,
}

/// What an HPA sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The count that the target is asked for.
    pub spec_replicas: Replicas,
    /// The count that the target has.
    pub status_replicas: Replicas,
    /// The pods of the target, also those that are on their way out.
    pub pods: Vec<Pod>,
    /// What was read, in the order of [`HpaSpec::metrics`].
    pub readings: Vec<Reading>,
}

/// What an HPA did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The count that it asks the target for.
    pub desired: Replicas,
    /// The metric whose wish was the greatest, as a place in [`HpaSpec::metrics`].
    pub metric: Option<usize>,
    /// Why.
    pub conditions: Conditions,
}

/// A cluster would refuse the HPA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HpaError {
    /// The maximum is zero or below the minimum.
    #[error("the maximum is zero or below the minimum")]
    Bounds,
    /// The minimum is zero, which takes the feature gate and a metric that exists without pods.
    #[error("a minimum of zero takes the feature gate HPAScaleToZero and an external metric")]
    Zero,
    /// There is no metric, or one without a target above zero.
    #[error("an HPA takes at least one metric, each with a target above zero")]
    Metrics,
    /// A window, period, change or tolerance is out of its range.
    #[error("a window, period, change or tolerance of the behavior is out of its range")]
    Behavior,
}

/// An HPA, with what it remembers.
#[derive(Debug, Clone)]
pub struct Hpa {
    spec: HpaSpec,
    config: ControllerConfig,
    recommendations: Recommendations,
    history: ScaleHistory,
    conditions: Conditions,
}

impl Default for ControllerConfig {
    /// The defaults of kube-controller-manager.
    fn default() -> Self {
        Self {
            sync_period: Seconds::new(15.0),
            downscale_stabilization: Seconds::from_minutes(5.0),
            tolerance: 0.1,
            cpu_initialization_period: Seconds::from_minutes(5.0),
            initial_readiness_delay: Seconds::new(30.0),
            scale_to_zero: false,
        }
    }
}

impl Hpa {
    /// An HPA that has not looked yet.
    ///
    /// # Errors
    ///
    /// A cluster would refuse it.
    pub fn new(spec: HpaSpec, config: ControllerConfig) -> Result<Self, HpaError> {
        let (min, max) = (spec.min_replicas, spec.max_replicas);
        let sees_without_pods = spec.metrics.iter().any(|metric| metric.sees_without_pods());
        let is_tolerable = config.tolerance.is_finite() && config.tolerance >= 0.0;
        let is_valid = |both: &Behavior| both.scale_up.is_valid() && both.scale_down.is_valid();
        if max < min || max == Replicas::ZERO {
            Err(HpaError::Bounds)
        } else if min == Replicas::ZERO && !(config.scale_to_zero && sees_without_pods) {
            Err(HpaError::Zero)
        } else if spec.metrics.is_empty() || !spec.metrics.iter().all(|m| m.has_target()) {
            Err(HpaError::Metrics)
        } else if !is_tolerable || !spec.behavior.as_ref().is_none_or(is_valid) {
            Err(HpaError::Behavior)
        } else {
            Ok(Self {
                spec,
                config,
                recommendations: Recommendations::default(),
                history: ScaleHistory::default(),
                conditions: Conditions::default(),
            })
        }
    }

    /// What it is to do.
    #[must_use]
    pub fn spec(&self) -> &HpaSpec {
        &self.spec
    }

    /// One look, to be had every [`ControllerConfig::sync_period`].
    pub fn step(&mut self, now: Timestamp, observation: &Observation) -> Step {
        let current = count(observation.spec_replicas);
        let (min, max) = (count(self.spec.min_replicas), count(self.spec.max_replicas));
        self.conditions.able_to_scale = Some(AbleToScale::SucceededGetScale);
        self.recommendations.begin(now, current);
        if current == 0 && min != 0 {
            self.conditions.scaling_active = Some(ScalingActive::ScalingDisabled);
            return self.answer(current, None);
        }
        if current > max || current < min {
            return self.rescale(now, current, current.clamp(min, max), None);
        }
        let Some((wish, metric)) = self.greatest_wish(now, observation) else {
            return self.answer(current, None);
        };
        // A wish below zero, from a metric below zero, is one for none.
        let wish = wish.max(0);
        let desired = self.normalize(now, current, wish);
        self.rescale(now, current, desired, metric)
    }

    /// The greatest wish of all metrics, and whose it is; `None` when none can be read, or when one
    /// cannot and the others would have fewer replicas.
    fn greatest_wish(
        &mut self,
        now: Timestamp,
        observation: &Observation,
    ) -> Option<(i64, Option<usize>)> {
        let context = Context {
            now,
            spec_replicas: count(observation.spec_replicas),
            status_replicas: count(observation.status_replicas),
            pods: &observation.pods,
            tolerances: self.tolerances(),
            cpu_initialization_period: self.config.cpu_initialization_period,
            initial_readiness_delay: self.config.initial_readiness_delay,
        };
        let (mut greatest, mut metric, mut read) = (0, None, 0);
        let mut failure = None;
        for (place, spec) in self.spec.metrics.iter().enumerate() {
            let reading = observation.readings.get(place).unwrap_or(&Reading::Failed);
            let Some(wish) = spec.propose(reading, &context) else {
                failure = failure.or(Some(spec.failure()));
                continue;
            };
            read += 1;
            if greatest == 0 || wish > greatest {
                (greatest, metric) = (wish, Some(place));
            }
        }
        let blocked = failure.filter(|_| read == 0 || greatest < context.spec_replicas);
        self.conditions.scaling_active = blocked.or(Some(ScalingActive::ValidMetricFound));
        blocked.is_none().then_some((greatest, metric))
    }

    /// What the window and the limits leave of a wish.
    fn normalize(&mut self, now: Timestamp, current: i64, wish: i64) -> i64 {
        let Some(behavior) = &self.spec.behavior else {
            return self.normalize_by_default(now, current, wish);
        };
        let Behavior { scale_up: up, scale_down: down } = behavior;
        let up_window = up.stabilization_window.unwrap_or(Seconds::ZERO);
        let down_window = down.stabilization_window.unwrap_or(self.config.downscale_stabilization);
        let stabilized = self.recommendations.between(now, current, wish, up_window, down_window);
        self.conditions.able_to_scale = Some(if stabilized == wish {
            AbleToScale::ReadyForNewScale
        } else if wish >= current {
            AbleToScale::ScaleUpStabilized
        } else {
            AbleToScale::ScaleDownStabilized
        });
        let (min, max) = (count(self.spec.min_replicas), count(self.spec.max_replicas));
        let upper = (stabilized > current).then(|| {
            let most = up.most(now, current, &self.history);
            if max > most {
                (most, ScalingLimited::ScaleUpLimit)
            } else {
                (max, ScalingLimited::TooManyReplicas)
            }
        });
        let lower = (stabilized < current).then(|| {
            let fewest = down.fewest(now, current, &self.history);
            if min < fewest {
                (fewest, ScalingLimited::ScaleDownLimit)
            } else {
                (min, ScalingLimited::TooFewReplicas)
            }
        });
        self.limit(stabilized, lower, upper)
    }

    /// The same without a behavior.
    fn normalize_by_default(&mut self, now: Timestamp, current: i64, wish: i64) -> i64 {
        let window = self.config.downscale_stabilization;
        let stabilized = self.recommendations.highest(now, wish, window);
        self.conditions.able_to_scale = Some(if stabilized == wish {
            AbleToScale::ReadyForNewScale
        } else {
            AbleToScale::ScaleDownStabilized
        });
        let (min, max) = (count(self.spec.min_replicas), count(self.spec.max_replicas));
        let limit = (2 * current).max(4);
        let upper = if max > limit {
            (limit, ScalingLimited::ScaleUpLimit)
        } else {
            (max, ScalingLimited::TooManyReplicas)
        };
        self.limit(stabilized, Some((min, ScalingLimited::TooFewReplicas)), Some(upper))
    }

    /// Brings a count within limits and notes which one was in its way.
    fn limit(
        &mut self,
        replicas: i64,
        lower: Option<(i64, ScalingLimited)>,
        upper: Option<(i64, ScalingLimited)>,
    ) -> i64 {
        let below = lower.filter(|(least, _)| replicas < *least);
        let above = upper.filter(|(most, _)| replicas > *most);
        let within = (replicas, ScalingLimited::DesiredWithinRange);
        let (replicas, reason) = below.or(above).unwrap_or(within);
        self.conditions.scaling_limited = Some(reason);
        replicas
    }

    fn rescale(&mut self, now: Timestamp, from: i64, to: i64, metric: Option<usize>) -> Step {
        if to != from {
            self.conditions.able_to_scale = Some(AbleToScale::SucceededRescale);
            if let Some(behavior) = &self.spec.behavior {
                self.history.push(now, from, to, behavior);
            }
        }
        self.answer(to, metric)
    }

    fn answer(&self, desired: i64, metric: Option<usize>) -> Step {
        let desired = u32::try_from(desired).expect("a count between zero and the maximum");
        Step { desired: Replicas::new(desired), metric, conditions: self.conditions }
    }

    fn tolerances(&self) -> Tolerances {
        let of = |rules: fn(&Behavior) -> &ScalingRules| {
            let own = self.spec.behavior.as_ref().and_then(|behavior| rules(behavior).tolerance);
            own.unwrap_or(self.config.tolerance)
        };
        Tolerances { down: of(|both| &both.scale_down), up: of(|both| &both.scale_up) }
    }
}

fn count(replicas: Replicas) -> i64 {
    i64::from(replicas.get())
}

#[cfg(test)]
mod tests;
