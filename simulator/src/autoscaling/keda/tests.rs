use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn replicas(count: u32) -> Replicas {
    Replicas::new(count)
}

/// A trigger of 10 for each replica.
fn queue() -> Trigger {
    let target = Target::AverageValue(MilliQuantity::new(10_000));
    Trigger { target, activation_threshold: 0.0 }
}

fn spec(min: u32, idle: Option<u32>) -> ScaledObjectSpec {
    ScaledObjectSpec {
        min_replica_count: replicas(min),
        idle_replica_count: idle.map(replicas),
        ..ScaledObjectSpec::new(vec![queue()])
    }
}

fn object(spec: ScaledObjectSpec) -> ScaledObject {
    ScaledObject::new(spec, ControllerConfig::default(), at(0.0)).unwrap()
}

fn target(count: u32, pods: &[Pod]) -> ScaleTarget<'_> {
    ScaleTarget { spec_replicas: replicas(count), status_replicas: replicas(count), pods }
}

fn pods(count: u32) -> Vec<Pod> {
    (0..count).map(|uid| Pod::running(u64::from(uid), at(0.0))).collect()
}

/// The cases of KEDA's `scale_scaledobjects_test.go`, by the names that they have there, and what
/// follows from `RequestScale` beside them.
#[test]
fn one_poll() {
    let check = |name: &str, spec: ScaledObjectSpec, current: u32, value, expected: u32| {
        let count = object(spec).poll(at(1000.0), &target(current, &[]), &[value]);
        assert_eq!(count, replicas(expected), "{name}");
    };
    let (active, inactive, failed) = (Some(1.0), Some(0.0), None);
    check("ScaleToMinReplicasWhenNotActive", spec(0, None), 2, inactive, 0);
    check("ScaleToMinReplicasFromLowerInitialReplicaCount", spec(5, None), 2, inactive, 5);
    check("ScaleFromMinReplicasWhenActive", spec(0, None), 0, active, 1);
    check("ScaleToIdleReplicasWhenNotActive", spec(5, Some(0)), 10, inactive, 0);
    check("ScaleFromIdleToMinReplicasWhenActive", spec(5, Some(0)), 0, active, 5);
    check("above the minimum, the HPA decides", spec(1, None), 4, inactive, 4);
    check("so it does while active", spec(1, None), 4, active, 4);
    check("from an idle count above zero", spec(5, Some(2)), 2, active, 5);
    check("asleep", spec(0, None), 0, inactive, 0);
    check("a failure keeps the count", spec(0, None), 3, failed, 3);
    check("and wakes nobody up", spec(0, None), 0, failed, 0);
    check("NaN is a failure", spec(0, None), 3, Some(f64::NAN), 3);
    let to = |count| {
        Some(Fallback {
            failure_threshold: 3,
            replicas: replicas(count),
            behavior: FallbackBehavior::Static,
        })
    };
    check(
        "so with a fallback to come",
        ScaledObjectSpec { fallback: to(2), ..spec(0, None) },
        3,
        failed,
        3,
    );
    check(
        "but not with one to zero",
        ScaledObjectSpec { fallback: to(0), ..spec(0, None) },
        3,
        failed,
        0,
    );
    let busy = vec![Trigger { activation_threshold: 5.0, ..queue() }];
    let above_five = || ScaledObjectSpec { triggers: busy.clone(), ..spec(0, None) };
    check("at the activation threshold", above_five(), 0, Some(5.0), 0);
    check("above it", above_five(), 0, Some(5.1), 1);
}

/// The last replica goes at the first poll that is later than the last active one by more than the
/// cooldown. A `ScaledObject` that was never active waits for its initial cooldown instead.
#[test]
fn the_last_replica_goes_after_a_cooldown() {
    let mut object = object(spec(0, None));
    let mut current = 0;
    let mut poll = |second: f64, value: f64| {
        current = object.poll(at(second), &target(current, &[]), &[Some(value)]).get();
        current
    };
    assert_eq!([poll(0.0, 0.0), poll(30.0, 3.0), poll(60.0, 1.0)], [0, 1, 1]);
    for second in (90..=360).step_by(30) {
        assert_eq!(poll(f64::from(second), 0.0), 1, "at {second} s");
    }
    assert_eq!(poll(390.0, 0.0), 0);

    let initial = Seconds::from_minutes(2.0);
    let mut fresh = super::ScaledObject::new(
        ScaledObjectSpec { initial_cooldown_period: initial, ..spec(0, None) },
        ControllerConfig::default(),
        at(0.0),
    )
    .unwrap();
    let mut poll = |second| fresh.poll(at(second), &target(1, &[]), &[Some(0.0)]).get();
    assert_eq!([poll(120.0), poll(121.0)], [1, 0]);
}

/// An active trigger beside one that fails keeps what there is, and yet the time runs.
#[test]
fn a_failure_beside_an_active_trigger() {
    let two = ScaledObjectSpec { triggers: vec![queue(), queue()], ..spec(0, None) };
    let mut object = object(two);
    let mut poll = |second, first, other| {
        object.poll(at(second), &target(1, &[]), &[Some(first), other]).get()
    };
    assert_eq!(poll(0.0, 1.0, Some(0.0)), 1);
    assert_eq!(poll(200.0, 1.0, None), 1);
    assert_eq!(poll(301.0, 0.0, Some(0.0)), 0);
}

/// Each failure of either loop counts. KEDA's `fallback_test.go` has the values of ten and six
/// replicas: 100 and 60.
#[test]
fn a_fallback_stands_in() {
    for (behavior, current, desired) in [
        (FallbackBehavior::Static, 15, 10),
        (FallbackBehavior::CurrentReplicasIfHigher, 7, 10),
        (FallbackBehavior::CurrentReplicasIfHigher, 15, 15),
        (FallbackBehavior::CurrentReplicasIfLower, 7, 7),
        (FallbackBehavior::CurrentReplicasIfLower, 15, 10),
        (FallbackBehavior::CurrentReplicas, 6, 6),
    ] {
        let fallback = Fallback { failure_threshold: 3, replicas: replicas(10), behavior };
        let spec = ScaledObjectSpec {
            fallback: Some(fallback),
            // At once in both directions, so that each wish shows.
            behavior: Some(Behavior {
                scale_down: crate::autoscaling::hpa::ScalingRules {
                    stabilization_window: Some(Seconds::ZERO),
                    ..crate::autoscaling::hpa::ScalingRules::down()
                },
                ..Behavior::default()
            }),
            ..spec(0, None)
        };
        let mut object = object(spec);
        let pods = pods(current);
        let target = target(current, &pods);
        let mut sync = |second, value| {
            object.poll(at(second), &target, &[value]);
            object.sync(at(second), &target, &[value]).desired.get()
        };
        let look = [sync(0.0, None), sync(30.0, None), sync(60.0, Some(20.0)), sync(90.0, None)];
        assert_eq!(look, [current, desired, 2, current], "{behavior:?} {current}");
    }
    let fallback = Fallback {
        failure_threshold: 0,
        replicas: replicas(10),
        behavior: FallbackBehavior::Static,
    };
    let average = Target::AverageValue(MilliQuantity::new(10_000));
    let value = Target::Value(MilliQuantity::new(10_000));
    for (metric, ready, expected) in
        [(average, 0, Some(100_000)), (value, 4, Some(25_000)), (value, 0, None)]
    {
        let stand_in = fallback.value(metric, &target(3, &pods(ready)));
        assert_eq!(stand_in.map(MilliQuantity::thousandths), expected, "{metric:?} {ready}");
    }
}

/// As many failures as the threshold are tolerated, and each sync is one: the fourth falls back.
#[test]
fn failures_up_to_the_threshold() {
    let fallback = Some(Fallback {
        failure_threshold: 3,
        replicas: replicas(8),
        behavior: FallbackBehavior::Static,
    });
    let mut object = object(ScaledObjectSpec { fallback, ..spec(0, None) });
    let looks = [0.0, 15.0, 30.0, 45.0]
        .map(|second| object.sync(at(second), &target(5, &pods(5)), &[None]).desired.get());
    assert_eq!(looks, [5, 5, 5, 8]);
}

/// By hand: from zero to one by a poll, and on by the HPA; both do their part at the same time. The
/// wishes of the last five minutes hold the count up, and then the cooldown the last replica.
#[test]
fn up_from_zero_and_down_again() {
    let mut object = object(spec(0, None));
    let mut current = 0;
    let mut changes = Vec::new();
    for second in (0..1000).step_by(15) {
        let value = if (60..120).contains(&second) { 45.0 } else { 0.0 };
        let now = at(f64::from(second));
        let before = current;
        if second % 30 == 0 {
            current = object.poll(now, &target(current, &pods(current)), &[Some(value)]).get();
        }
        current = object.sync(now, &target(current, &pods(current)), &[Some(value)]).desired.get();
        if current != before {
            changes.push((second, current));
        }
    }
    // Active at 60 and 90 s; the last wish for 5 is of 105 s, and 405 s is still within its window.
    // By then the cooldown is over too, since 390 s: the poll at 420 s leaves nothing to the HPA.
    assert_eq!(changes, [(60, 4), (75, 5), (420, 0)]);
}

#[test]
fn a_cluster_refuses_some() {
    let new = |spec| ScaledObject::new(spec, ControllerConfig::default(), at(0.0)).err();
    assert_eq!(new(spec(0, None)), None);
    assert_eq!(new(spec(101, None)), Some(ScaledObjectError::Bounds));
    assert_eq!(new(spec(1, Some(1))), Some(ScaledObjectError::Bounds));
    assert_eq!(new(ScaledObjectSpec::new(vec![])), Some(HpaError::Metrics.into()));
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(13), ..Default::default() })]

    /// Nothing makes it panic, a count that neither loop found outside the bounds stays within them
    /// or is the idle one, and no replica is the last to go before the cooldown is over.
    #[test]
    fn within_bounds_and_cooldown(
        min in 0_u32..4,
        idle in any::<bool>(),
        fallback in prop::option::of((0_u32..4, 0_u32..20)),
        values in prop::collection::vec(
            prop_oneof![
                4 => (0.0..300.0_f64).prop_map(Some),
                4 => Just(Some(0.0)),
                1 => Just(None),
                1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-1.0)].prop_map(Some),
            ],
            1..80,
        ),
    ) {
        let idle = (idle && min > 0).then_some(0);
        let fallback = fallback.map(|(failure_threshold, count)| Fallback {
            failure_threshold,
            replicas: replicas(count),
            behavior: FallbackBehavior::Static,
        });
        let max_replica_count = replicas(12);
        let mut object = object(ScaledObjectSpec { max_replica_count, fallback, ..spec(min, idle) });
        let sleeps = min == 0 || idle.is_some();
        let mut current = min.max(1);
        let mut last_active = None;
        for (tick, value) in (0_u32..).zip(values) {
            let now = at(15.0 * f64::from(tick));
            let before = current;
            if tick % 2 == 0 {
                current = object.poll(now, &target(current, &pods(current)), &[value]).get();
                if before > 0 && current == 0 {
                    let cooldown = Seconds::from_minutes(5.0);
                    prop_assert!(last_active.is_none_or(|last: Timestamp| last + cooldown < now));
                }
                if value.is_some_and(|value| value > 0.0 && value.is_finite()) {
                    last_active = Some(now);
                }
            }
            current = object.sync(now, &target(current, &pods(current)), &[value]).desired.get();
            prop_assert!((sleeps && current == 0) || (min.max(1)..=12).contains(&current));
        }
    }
}
