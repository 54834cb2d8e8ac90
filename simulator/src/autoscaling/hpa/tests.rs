//! Whole steps: the cases of Kubernetes' `horizontal_test.go` by the names that they have there,
//! sequences worked out by hand, and what holds for all of them.

use proptest::prelude::*;

use super::*;
use crate::autoscaling::MilliQuantity;

mod properties;

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn utilization(percent: u32) -> MetricSpec {
    MetricSpec::Utilization(Resource::Cpu, percent)
}

fn average(target: i64) -> MetricSpec {
    MetricSpec::External(Target::AverageValue(MilliQuantity::new(target)))
}

fn external(value: i64) -> Reading {
    Reading::External(vec![MilliQuantity::new(value)])
}

fn hpa(min: u32, max: u32, metrics: &[MetricSpec], behavior: Option<Behavior>) -> Hpa {
    let spec = HpaSpec {
        min_replicas: Replicas::new(min),
        max_replicas: Replicas::new(max),
        metrics: metrics.to_vec(),
        behavior,
    };
    let config = ControllerConfig { scale_to_zero: true, ..ControllerConfig::default() };
    Hpa::new(spec, config).unwrap()
}

/// Pods that have long been ready, one for each level, and as many replicas as asked for.
fn observation(current: u32, levels: &[i64], request: i64) -> Observation {
    let request = MilliQuantity::new(request);
    let pods = (0..levels.len() as u64).map(|uid| Pod { request, ..Pod::running(uid, at(0.0)) });
    let reading = |&value: &i64| {
        let value = MilliQuantity::new(value);
        Some(PodReading { value, at: at(5000.0), window: Seconds::from_minutes(1.0) })
    };
    Observation {
        spec_replicas: Replicas::new(current),
        status_replicas: Replicas::new(current),
        pods: pods.collect(),
        readings: vec![Reading::Pods(levels.iter().map(reading).collect())],
    }
}

fn only_external(current: u32, value: i64) -> Observation {
    let pods = (0..current).map(|uid| Pod::running(u64::from(uid), at(0.0))).collect();
    let current = Replicas::new(current);
    let readings = vec![external(value)];
    Observation { spec_replicas: current, status_replicas: current, pods, readings }
}

/// When an HPA first looked: just now, so that the count that it found holds it back, or long ago.
#[derive(Debug, Clone, Copy)]
enum Began {
    Now,
    LongAgo,
}

#[track_caller]
fn check(
    name: &str,
    mut hpa: Hpa,
    began: Began,
    observation: &Observation,
    (desired, able, limited): (u32, AbleToScale, ScalingLimited),
) {
    if matches!(began, Began::LongAgo) {
        hpa.step(at(1000.0), &Observation { readings: vec![], ..observation.clone() });
    }
    let step = hpa.step(at(5000.0), observation);
    assert_eq!(step.desired, Replicas::new(desired), "{name}");
    assert_eq!(step.conditions.able_to_scale, Some(able), "{name}");
    assert_eq!(step.conditions.scaling_limited, Some(limited), "{name}");
    assert_eq!(step.conditions.scaling_active, Some(ScalingActive::ValidMetricFound), "{name}");
}

#[test]
fn steps() {
    use AbleToScale::{ReadyForNewScale, ScaleDownStabilized, SucceededRescale};
    use ScalingLimited::{DesiredWithinRange, ScaleUpLimit, TooFewReplicas, TooManyReplicas};
    let five = [100, 300, 500, 250, 250];
    let cpu = |min, max, target| hpa(min, max, &[utilization(target)], None);
    let up = observation(3, &[300, 500, 700], 1000);
    let rescaled = |desired| (desired, SucceededRescale, DesiredWithinRange);
    check("ScaleUp", cpu(2, 6, 30), Began::Now, &up, rescaled(5));
    let down = observation(5, &five, 1000);
    check("ScaleDown", cpu(2, 6, 50), Began::LongAgo, &down, rescaled(3));
    let held = (5, ScaleDownStabilized, DesiredWithinRange);
    check("ScaleDownStabilizeInitialSize", cpu(2, 6, 50), Began::Now, &down, held);
    let few = observation(3, &[10, 95, 10], 1000);
    let fewest = (2, SucceededRescale, TooFewReplicas);
    check("MinReplicas", cpu(2, 5, 90), Began::LongAgo, &few, fewest);
    let idle = observation(3, &[0, 0, 0], 1000);
    check("MinReplicasDesiredZero", cpu(2, 5, 90), Began::LongAgo, &idle, fewest);
    let busy = observation(3, &[8000, 9500, 1000], 1000);
    let most = (5, SucceededRescale, TooManyReplicas);
    check("MaxReplicas", cpu(2, 5, 90), Began::Now, &busy, most);
    let surge = Observation { spec_replicas: Replicas::new(4), ..observation(5, &[500; 5], 1000) };
    let same = (4, ReadyForNewScale, DesiredWithinRange);
    check("MoreReplicasThanSpecNoScale", cpu(1, 8, 50), Began::Now, &surge, same);
    let sevenfold =
        ScalingPolicy { change: PolicyChange::Percent(700), period: Seconds::from_minutes(1.0) };
    let scale_up = ScalingRules { policies: vec![sevenfold], ..ScalingRules::up() };
    let behavior = Some(Behavior { scale_up, ..Behavior::default() });
    let hot = observation(3, &[100, 200, 300], 100);
    let capped = |max| hpa(1, max, &[utilization(10)], behavior.clone());
    check("UpscaleCap", capped(100), Began::Now, &hot, (24, SucceededRescale, ScaleUpLimit));
    let most = (20, SucceededRescale, TooManyReplicas);
    check("UpscaleCapGreaterThanMaxReplicas", capped(20), Began::Now, &hot, most);
    let zero = hpa(0, 6, &[average(14_400)], None);
    check("ScaleDownToZeroCMExternal", zero, Began::LongAgo, &only_external(5, 0), rescaled(0));
}

/// The bounds come before the metrics, and an HPA stays away from a count of zero.
#[test]
fn without_a_look_at_the_metrics() {
    for (name, current, expected) in
        [("ZeroReplicas", 0, 0), ("TooFewReplicas", 2, 3), ("TooManyReplicas", 10, 5)]
    {
        let mut hpa = hpa(3, 5, &[utilization(90)], None);
        let step = hpa.step(at(0.0), &observation(current, &[], 1000));
        assert_eq!(step.desired, Replicas::new(expected), "{name}");
        let disabled = (current == 0).then_some(ScalingActive::ScalingDisabled);
        assert_eq!(step.conditions.scaling_active, disabled, "{name}");
    }
}

/// `ScaleUpOneMetricEmpty`, `NoScaleDownOneMetricEmpty` and `ScaleUpBothMetricsEmpty`: a metric that
/// cannot be read does not keep the others from adding replicas.
#[test]
fn a_metric_that_cannot_be_read() {
    use ScalingActive::{FailedGetExternalMetric, FailedGetResourceMetric, ValidMetricFound};
    for (levels, target, expected, metric, active) in [
        (&[300, 400, 500][..], 30, 4, Some(1), ValidMetricFound),
        (&[100, 300, 500, 250, 250], 50, 5, None, FailedGetExternalMetric),
        (&[], 50, 3, None, FailedGetExternalMetric),
    ] {
        let current = u32::try_from(levels.len().max(3)).unwrap();
        let mut hpa = hpa(2, 6, &[average(100), utilization(target)], None);
        let mut observation = observation(current, levels, 1000);
        observation.readings.insert(0, Reading::Failed);
        let early = Observation { readings: vec![], ..observation.clone() };
        hpa.step(at(0.0), &early);
        let step = hpa.step(at(5000.0), &observation);
        assert_eq!(step.desired, Replicas::new(expected), "{levels:?}");
        assert_eq!(step.metric, metric, "{levels:?}");
        assert_eq!(step.conditions.scaling_active, Some(active), "{levels:?}");
    }
    let mut alone = hpa(2, 6, &[utilization(100)], None);
    let step = alone.step(at(0.0), &observation(4, &[], 1000));
    assert_eq!(step.desired, Replicas::new(4), "EmptyMetrics");
    assert_eq!(step.conditions.scaling_active, Some(FailedGetResourceMetric));
}

/// The greatest wish of several counts.
#[test]
fn several_metrics() {
    for (values, desired, metric) in [([4000, 7000], 7, 1), ([9000, 7000], 9, 0)] {
        let mut hpa = hpa(1, 20, &[average(1000), average(1000)], None);
        let mut observation = only_external(5, values[0]);
        observation.readings.push(external(values[1]));
        let step = hpa.step(at(0.0), &observation);
        assert_eq!((step.desired.get(), step.metric), (desired, Some(metric)), "{values:?}");
    }
}

/// The counts of an HPA whose target follows at once, looked at every 15 s.
fn follow(mut hpa: Hpa, mut current: u32, values: &[i64]) -> Vec<u32> {
    let mut counts = Vec::new();
    for (tick, &value) in (0_u32..).zip(values) {
        current =
            hpa.step(at(15.0 * f64::from(tick)), &only_external(current, value)).desired.get();
        counts.push(current);
    }
    counts
}

/// By hand: without a behavior a count doubles, or grows to 4; the default behavior adds 4 or doubles
/// within 15 s, and a look 15 s later begins a new period.
#[test]
fn as_fast_as_it_may() {
    let metrics = [average(1000)];
    let values = [100_000; 6];
    assert_eq!(follow(hpa(1, 99, &metrics, None), 1, &values), [4, 8, 16, 32, 64, 99]);
    let default = Some(Behavior::default());
    assert_eq!(follow(hpa(1, 99, &metrics, default), 1, &values), [5, 10, 20, 40, 80, 99]);
    let slow = ScalingPolicy { change: PolicyChange::Pods(2), period: Seconds::from_minutes(1.0) };
    let rules = |default| ScalingRules {
        policies: vec![slow],
        stabilization_window: Some(Seconds::ZERO),
        ..default
    };
    let both =
        Behavior { scale_up: rules(ScalingRules::up()), scale_down: rules(ScalingRules::down()) };
    let up_and_down = [[9000; 5], [1000; 5]].concat();
    let counts = follow(hpa(1, 99, &metrics, Some(both)), 1, &up_and_down);
    // At 60 s the first period is over, and the count grows by 2 again. At 75 s it was 3 a minute ago,
    // and 2 below that is allowed.
    assert_eq!(counts, [3, 3, 3, 3, 5, 1, 1, 1, 1, 1]);
}

/// By hand: a count falls when the last high wish has left the window. One that is just 300 s old
/// still counts without a behavior, and no longer does with one.
#[test]
fn a_window_holds_a_count_up() {
    let values = [&[8000][..], &[2000; 22]].concat();
    for (behavior, held) in [(None, 21), (Some(Behavior::default()), 20)] {
        let counts = follow(hpa(1, 10, &[average(1000)], behavior), 8, &values);
        let fell = counts.iter().position(|count| *count < 8);
        assert_eq!(fell, Some(held), "{counts:?}");
        assert_eq!(counts[held], 2);
    }
}

#[test]
fn a_cluster_refuses_some() {
    let make = |min, max, metrics: &[MetricSpec], scale_to_zero, tolerance| {
        let spec = HpaSpec {
            min_replicas: Replicas::new(min),
            max_replicas: Replicas::new(max),
            metrics: metrics.to_vec(),
            behavior: None,
        };
        let config = ControllerConfig { tolerance, scale_to_zero, ..ControllerConfig::default() };
        Hpa::new(spec, config).err()
    };
    let metrics = [average(1000)];
    assert_eq!(make(1, 1, &metrics, false, 0.1), None);
    assert_eq!(make(0, 1, &metrics, true, 0.0), None);
    assert_eq!(make(2, 1, &metrics, false, 0.1), Some(HpaError::Bounds));
    assert_eq!(make(0, 0, &metrics, true, 0.1), Some(HpaError::Bounds));
    assert_eq!(make(0, 1, &metrics, false, 0.1), Some(HpaError::Zero));
    assert_eq!(make(0, 1, &[utilization(50)], true, 0.1), Some(HpaError::Zero));
    assert_eq!(make(1, 2, &[], false, 0.1), Some(HpaError::Metrics));
    assert_eq!(make(1, 2, &[average(0)], false, 0.1), Some(HpaError::Metrics));
    assert_eq!(make(1, 2, &metrics, false, f64::NAN), Some(HpaError::Behavior));
}
