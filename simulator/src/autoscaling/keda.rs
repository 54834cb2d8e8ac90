//! KEDA's `ScaledObject`: between zero and one replica KEDA decides, above that an HPA that it makes.
//!
//! ```text
//!            poll, every 30 s                         sync, every 15 s
//!  ┌──── 0 ──────── active ────────▶ max(min, 1) ◀──────── HPA ────────▶ max
//!  │     ▲                                │
//!  └─────┴── inactive for a cooldown ─────┘  (only where min is 0 or there is an idle count)
//! ```
//!
//! A trigger is active while its value is above its activation threshold, which is no part of the
//! HPA's arithmetic: with a threshold of 0, one waiting request wakes a model up. Both loops ask the
//! triggers anew, and each failure that either of them meets counts towards the fallback.
//!
//! The rules are those of KEDA's `pkg/scaling/executor/scale_scaledobjects.go`,
//! `pkg/fallback/fallback.go` and `controllers/keda/hpa.go`. Not modeled: cached metrics, scaling
//! modifiers, triggers by CPU or memory, and pauses.

use optimizer::units::{Replicas, Seconds, Timestamp};
use thiserror::Error;

use super::hpa::{
    Behavior, ControllerConfig, Hpa, HpaError, HpaSpec, MetricSpec, Observation, Reading, Step,
    Target,
};
use super::{MilliQuantity, Phase, Pod};

/// What a `ScaledObject` is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaledObjectSpec {
    /// The time between two polls.
    pub polling_interval: Seconds,
    /// How long all triggers have to be inactive before the last replica goes.
    pub cooldown_period: Seconds,
    /// How long after its creation a `ScaledObject` that was never active leaves its replicas alone.
    pub initial_cooldown_period: Seconds,
    /// The count while nothing is active; below the minimum.
    pub idle_replica_count: Option<Replicas>,
    /// The fewest replicas while something is active, and without an idle count also otherwise. Zero
    /// is one for the HPA.
    pub min_replica_count: Replicas,
    /// The most replicas.
    pub max_replica_count: Replicas,
    /// What to do while a trigger cannot be read.
    pub fallback: Option<Fallback>,
    /// What decides; at least one.
    pub triggers: Vec<Trigger>,
    /// `advanced.horizontalPodAutoscalerConfig.behavior`.
    pub behavior: Option<Behavior>,
}

/// A number that somebody measures, such as the result of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trigger {
    /// What the HPA makes of it.
    pub target: Target,
    /// It is active while its value is greater.
    pub activation_threshold: f64,
}

/// What to do while a trigger cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    /// How many failures in a row are tolerated.
    pub failure_threshold: u32,
    /// The count after that.
    pub replicas: Replicas,
    /// What the current count has to do with it.
    pub behavior: FallbackBehavior,
}

/// Which count a fallback leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FallbackBehavior {
    /// [`Fallback::replicas`].
    #[default]
    Static,
    /// The current one.
    CurrentReplicas,
    /// The greater of the two.
    CurrentReplicasIfHigher,
    /// The smaller of the two.
    CurrentReplicasIfLower,
}

/// What is scaled, as it is now.
#[derive(Debug, Clone, Copy)]
pub struct ScaleTarget<'a> {
    /// The count that was last asked for.
    pub spec_replicas: Replicas,
    /// The count that there is.
    pub status_replicas: Replicas,
    /// The pods.
    pub pods: &'a [Pod],
}

/// A cluster would refuse the `ScaledObject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ScaledObjectError {
    /// The minimum is above the maximum, or the idle count not below the minimum.
    #[error("the minimum is above the maximum, or the idle count is not below the minimum")]
    Bounds,
    /// The HPA that it would make is refused.
    #[error(transparent)]
    Hpa(#[from] HpaError),
}

/// A `ScaledObject` with its HPA, and with what both remember.
#[derive(Debug, Clone)]
pub struct ScaledObject {
    spec: ScaledObjectSpec,
    hpa: Hpa,
    created: Timestamp,
    last_active: Option<Timestamp>,
    /// Of each trigger: how often in a row it could not be read.
    failures: Vec<u32>,
}

/// A trigger after a look at it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Look {
    Value(f64),
    /// It cannot be read, and this stands in.
    Fallback(MilliQuantity),
    Failed,
}

impl ScaledObjectSpec {
    /// With KEDA's defaults: polls every 30 s, a cooldown of 5 min, and from 0 to 100 replicas.
    #[must_use]
    pub fn new(triggers: Vec<Trigger>) -> Self {
        Self {
            polling_interval: Seconds::new(30.0),
            cooldown_period: Seconds::from_minutes(5.0),
            initial_cooldown_period: Seconds::ZERO,
            idle_replica_count: None,
            min_replica_count: Replicas::ZERO,
            max_replica_count: Replicas::new(100),
            fallback: None,
            triggers,
            behavior: None,
        }
    }
}

impl ScaledObject {
    /// A `ScaledObject` that was just created in a cluster with such a controller.
    ///
    /// # Errors
    ///
    /// A cluster would refuse it.
    pub fn new(
        spec: ScaledObjectSpec,
        config: ControllerConfig,
        created: Timestamp,
    ) -> Result<Self, ScaledObjectError> {
        let (min, max) = (spec.min_replica_count, spec.max_replica_count);
        if min > max || spec.idle_replica_count.is_some_and(|idle| idle >= min) {
            return Err(ScaledObjectError::Bounds);
        }
        let metrics = spec.triggers.iter().map(|trigger| MetricSpec::External(trigger.target));
        let hpa = HpaSpec {
            min_replicas: min.max(Replicas::new(1)),
            max_replicas: max,
            metrics: metrics.collect(),
            behavior: spec.behavior.clone(),
        };
        let hpa = Hpa::new(hpa, config)?;
        let failures = vec![0; spec.triggers.len()];
        Ok(Self { spec, hpa, created, last_active: None, failures })
    }

    /// What it is to do.
    #[must_use]
    pub fn spec(&self) -> &ScaledObjectSpec {
        &self.spec
    }

    /// One look of KEDA's own, to be had every [`ScaledObjectSpec::polling_interval`]: the count that
    /// it asks the target for. `values` are in the order of the triggers, `None` where one cannot be
    /// read. NaN and infinities count as that, as in the Prometheus trigger with `ignoreNullValues`
    /// set to `false`.
    pub fn poll(
        &mut self,
        now: Timestamp,
        target: &ScaleTarget<'_>,
        values: &[Option<f64>],
    ) -> Replicas {
        let current = target.spec_replicas;
        let looks = self.look(target, values);
        let is_active = looks.iter().zip(&self.spec.triggers).any(|(look, trigger)| match look {
            Look::Value(value) => *value > trigger.activation_threshold,
            Look::Fallback(_) => true,
            Look::Failed => false,
        });
        let has_failed = looks.contains(&Look::Failed);
        if is_active {
            self.activate(now, current, has_failed)
        } else {
            self.deactivate(now, current, has_failed)
        }
    }

    /// One look of its HPA, to be had every [`ControllerConfig::sync_period`].
    pub fn sync(
        &mut self,
        now: Timestamp,
        target: &ScaleTarget<'_>,
        values: &[Option<f64>],
    ) -> Step {
        // An HPA that is disabled or out of its bounds reads no metric, so none fails.
        let bounds = self.hpa.spec().min_replicas..=self.hpa.spec().max_replicas;
        let readings = if bounds.contains(&target.spec_replicas) {
            let looks = self.look(target, values);
            looks.into_iter().map(Look::reading).collect()
        } else {
            Vec::new()
        };
        let observation = Observation {
            spec_replicas: target.spec_replicas,
            status_replicas: target.status_replicas,
            pods: target.pods.to_vec(),
            readings,
        };
        self.hpa.step(now, &observation)
    }

    /// Something is active. The time is noted only where a count was or could be kept up by it.
    fn activate(&mut self, now: Timestamp, current: Replicas, has_failed: bool) -> Replicas {
        let min = self.spec.min_replica_count;
        let is_idle = self.spec.idle_replica_count.is_some() && current < min;
        if is_idle || current == Replicas::ZERO {
            self.last_active = Some(now);
            return min.max(Replicas::new(1));
        }
        if !has_failed {
            self.last_active = Some(now);
        }
        current
    }

    fn deactivate(&self, now: Timestamp, current: Replicas, has_failed: bool) -> Replicas {
        let min = self.spec.min_replica_count;
        let idle = self.spec.idle_replica_count;
        // A fallback to zero holds nothing up.
        let waits = self.spec.fallback.is_none_or(|fallback| fallback.replicas > Replicas::ZERO);
        if has_failed && waits {
            return current;
        }
        let may_sleep = current > Replicas::ZERO && min == Replicas::ZERO;
        if may_sleep || idle.is_some_and(|idle| current > idle) {
            let cooled_down = match self.last_active {
                Some(last_active) => last_active + self.spec.cooldown_period < now,
                None => self.created + self.spec.initial_cooldown_period < now,
            };
            return if cooled_down { idle.unwrap_or(min) } else { current };
        }
        if idle.is_none() { current.max(min) } else { current }
    }

    /// Reads all triggers, counts failures, and falls back where there have been too many.
    fn look(&mut self, target: &ScaleTarget<'_>, values: &[Option<f64>]) -> Vec<Look> {
        let mut looks = Vec::with_capacity(self.failures.len());
        for (place, trigger) in self.spec.triggers.iter().enumerate() {
            let value = values.get(place).copied().flatten().filter(|value| value.is_finite());
            let failures = &mut self.failures[place];
            *failures = if value.is_some() { 0 } else { failures.saturating_add(1) };
            let fallback = self
                .spec
                .fallback
                .filter(|fallback| value.is_none() && *failures > fallback.failure_threshold);
            let stand_in = fallback.and_then(|fallback| fallback.value(trigger.target, target));
            looks.push(match value {
                Some(value) => Look::Value(value),
                None => stand_in.map_or(Look::Failed, Look::Fallback),
            });
        }
        looks
    }
}

impl Fallback {
    /// The value that makes the HPA ask for the count. None while no pod is ready, if the target is
    /// one for the value itself.
    fn value(self, metric: Target, target: &ScaleTarget<'_>) -> Option<MilliQuantity> {
        let current = target.spec_replicas;
        let replicas = match self.behavior {
            FallbackBehavior::Static => self.replicas,
            FallbackBehavior::CurrentReplicas => current,
            FallbackBehavior::CurrentReplicasIfHigher => self.replicas.max(current),
            FallbackBehavior::CurrentReplicasIfLower => self.replicas.min(current),
        };
        let (metric, share) = match metric {
            Target::AverageValue(metric) => (metric, replicas.as_f64()),
            Target::Value(metric) => {
                let ready = |pod: &&Pod| pod.phase == Phase::Running && pod.is_ready();
                let ready = target.pods.iter().filter(ready).count();
                (metric, replicas.as_f64() / ready as f64)
            }
        };
        MilliQuantity::from_f64(metric.as_f64() / 1e3 * share)
    }
}

impl Look {
    fn reading(self) -> Reading {
        let value = match self {
            Self::Value(value) => MilliQuantity::from_f64(value),
            Self::Fallback(value) => Some(value),
            Self::Failed => None,
        };
        value.map_or(Reading::Failed, |value| Reading::External(vec![value]))
    }
}

#[cfg(test)]
mod tests;
