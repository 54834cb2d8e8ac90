//! How a controller's wish reaches a deployment when it does not set the count itself.
//!
//! ```text
//! Controller::step ──▶ gauge "desired replicas" ──▶ scrape ──▶ HPA, or KEDA and its HPA ──▶ count
//! ```
//!
//! The gauge is an external metric with an average of 1, so an HPA asks for just as many replicas as
//! the gauge says, but for what it does with any metric: a wish within the tolerance is none (11
//! instead of 10), a smaller one waits for five minutes, a larger one may take several steps.

use optimizer::units::{Replicas, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MilliQuantity;
use super::hpa::{
    Behavior, ControllerConfig, Hpa, HpaError, HpaSpec, MetricSpec, Observation, Reading, Target,
};
use super::keda::{ScaleTarget, ScaledObject, ScaledObjectError, ScaledObjectSpec, Trigger};

/// One replica for each that is wished for.
const ONE: Target = Target::AverageValue(MilliQuantity::new(1000));

/// The most replicas where nothing limits them: what the field can hold.
const UNLIMITED: Replicas = Replicas::new(i32::MAX.unsigned_abs());

/// Who carries a decision out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Actuation {
    /// The controller itself: it sets the replica count.
    #[default]
    Direct,
    /// A `HorizontalPodAutoscaler` on the published count, looking every 15 s. To zero it scales only
    /// where the minimum is zero.
    Hpa,
    /// KEDA's `ScaledObject` on the published count: it polls every 30 s, waits 5 min before the last
    /// replica goes, and leaves the rest to an HPA.
    Keda,
}

/// An HPA or a `ScaledObject` on the gauge of one variant, and when it looks next.
#[derive(Debug, Clone)]
pub struct Actuator {
    loops: Loops,
}

#[derive(Debug, Clone)]
enum Loops {
    Hpa { hpa: Box<Hpa>, sync: Timestamp },
    Keda { object: Box<ScaledObject>, poll: Timestamp, sync: Timestamp },
}

impl Actuator {
    /// An HPA. With a minimum of zero it takes the feature gate `HPAScaleToZero`, which is then on.
    ///
    /// # Errors
    ///
    /// A cluster would refuse it.
    pub fn hpa(
        now: Timestamp,
        min: Replicas,
        max: Option<Replicas>,
        behavior: Option<Behavior>,
    ) -> Result<Self, HpaError> {
        let scale_to_zero = min == Replicas::ZERO;
        let config = ControllerConfig { scale_to_zero, ..ControllerConfig::default() };
        let spec = HpaSpec {
            min_replicas: min,
            max_replicas: max.unwrap_or(UNLIMITED),
            metrics: vec![MetricSpec::External(ONE)],
            behavior,
        };
        let hpa = Box::new(Hpa::new(spec, config)?);
        Ok(Self { loops: Loops::Hpa { hpa, sync: now + config.sync_period } })
    }

    /// A `ScaledObject` with KEDA's defaults, whose trigger is active as soon as a replica is wished
    /// for.
    ///
    /// # Errors
    ///
    /// A cluster would refuse it.
    pub fn keda(
        now: Timestamp,
        min: Replicas,
        max: Option<Replicas>,
        behavior: Option<Behavior>,
    ) -> Result<Self, ScaledObjectError> {
        let trigger = Trigger { target: ONE, activation_threshold: 0.0 };
        let spec = ScaledObjectSpec {
            min_replica_count: min,
            max_replica_count: max.unwrap_or(UNLIMITED),
            behavior,
            ..ScaledObjectSpec::new(vec![trigger])
        };
        let config = ControllerConfig::default();
        let (poll, sync) = (now + spec.polling_interval, now + config.sync_period);
        let object = Box::new(ScaledObject::new(spec, config, now)?);
        Ok(Self { loops: Loops::Keda { object, poll, sync } })
    }

    /// When [`Self::look`] has to be called next.
    #[must_use]
    pub fn next_look(&self) -> Timestamp {
        match &self.loops {
            Loops::Hpa { sync, .. } => *sync,
            Loops::Keda { poll, sync, .. } => *poll.min(sync),
        }
    }

    /// Looks at what there is and returns the count that it asks for. `wish` is the gauge, as
    /// Prometheus has it; `None` when it has none.
    pub fn look(
        &mut self,
        now: Timestamp,
        target: &ScaleTarget<'_>,
        wish: Option<f64>,
    ) -> Replicas {
        let mut count = target.spec_replicas;
        match &mut self.loops {
            Loops::Hpa { hpa, sync } if *sync <= now => {
                *sync = now + ControllerConfig::default().sync_period;
                let wish = wish.and_then(MilliQuantity::from_f64);
                let reading = wish.map_or(Reading::Failed, |wish| Reading::External(vec![wish]));
                let observation = Observation {
                    spec_replicas: target.spec_replicas,
                    status_replicas: target.status_replicas,
                    pods: target.pods.to_vec(),
                    readings: vec![reading],
                };
                count = hpa.step(now, &observation).desired;
            }
            Loops::Hpa { .. } => {}
            Loops::Keda { object, poll, sync } => {
                if *poll <= now {
                    *poll = now + object.spec().polling_interval;
                    count = object.poll(now, target, &[wish]);
                }
                if *sync <= now {
                    *sync = now + ControllerConfig::default().sync_period;
                    let target = ScaleTarget { spec_replicas: count, ..*target };
                    count = object.sync(now, &target, &[wish]).desired;
                }
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoscaling::Pod;

    /// The counts after each change, with a deployment that follows at once, as `(seconds, count)`.
    fn follow(
        mut actuator: Actuator,
        start: u32,
        until: f64,
        wish: impl Fn(f64) -> Option<f64>,
    ) -> Vec<(f64, u32)> {
        let mut count = Replicas::new(start);
        let mut changes = Vec::new();
        loop {
            let now = actuator.next_look();
            let second = now.as_seconds();
            if second > until {
                return changes;
            }
            let pods: Vec<Pod> =
                (0..count.get()).map(|uid| Pod::running(uid.into(), Timestamp::ZERO)).collect();
            let target = ScaleTarget { spec_replicas: count, status_replicas: count, pods: &pods };
            let next = actuator.look(now, &target, wish(second));
            if next != count {
                changes.push((second, next.get()));
            }
            count = next;
        }
    }

    fn hpa(min: u32) -> Actuator {
        Actuator::hpa(Timestamp::ZERO, Replicas::new(min), None, None).unwrap()
    }

    fn keda(min: u32) -> Actuator {
        Actuator::keda(Timestamp::ZERO, Replicas::new(min), None, None).unwrap()
    }

    /// By hand: up at the next look, in doublings; down when the last higher wish, of 90 s, is more
    /// than five minutes old.
    #[test]
    fn a_wish_takes_its_time() {
        let wish = |second: f64| Some(if (25.0..100.0).contains(&second) { 20.0 } else { 2.0 });
        let expected = [(30.0, 4), (45.0, 8), (60.0, 16), (75.0, 20), (405.0, 2)];
        assert_eq!(follow(hpa(1), 2, 600.0, wish), expected);
        assert_eq!(follow(keda(1), 2, 600.0, wish), expected);
    }

    /// One replica more or less is within the tolerance from ten on: the HPA never gets there.
    #[test]
    fn a_small_wish_is_none() {
        for (start, wish, changes) in [
            (9, 10.0, &[(15.0, 10)][..]),
            (10, 11.0, &[]),
            (10, 12.0, &[(15.0, 12)]),
            (20, 22.0, &[]),
        ] {
            assert_eq!(follow(hpa(1), start, 60.0, |_| Some(wish)), changes, "{start} to {wish}");
        }
    }

    /// A gauge that is gone keeps the count, however long.
    #[test]
    fn without_a_wish_nothing_happens() {
        assert_eq!(follow(hpa(1), 3, 3600.0, |_| None), []);
        assert_eq!(follow(keda(0), 3, 3600.0, |_| None), []);
    }

    /// To zero and back: an HPA with the feature gate goes when its window is over, KEDA when its
    /// cooldown is, which began at its last poll with a wish.
    #[test]
    fn to_zero_and_back() {
        let wish = |second: f64| Some(if (100.0..1000.0).contains(&second) { 0.0 } else { 1.0 });
        assert_eq!(follow(hpa(0), 1, 1100.0, wish), [(405.0, 0), (1005.0, 1)]);
        assert_eq!(follow(keda(0), 1, 1100.0, wish), [(420.0, 0), (1020.0, 1)]);
    }
}
