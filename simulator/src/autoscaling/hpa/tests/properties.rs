//! What no HPA does, whatever it sees.

use proptest::test_runner::RngSeed;

use super::*;
use crate::autoscaling::{Phase, Readiness};

/// The period of the policies, in looks.
const PERIOD: usize = 4;

fn rules() -> impl Strategy<Value = ScalingRules> {
    let change = prop_oneof![
        (1_u32..6).prop_map(PolicyChange::Pods),
        (1_u32..300).prop_map(PolicyChange::Percent),
    ];
    let period = Seconds::new(15.0 * PERIOD as f64);
    let policy = change.prop_map(move |change| ScalingPolicy { change, period });
    let select = prop_oneof![
        4 => Just(SelectPolicy::Max),
        4 => Just(SelectPolicy::Min),
        1 => Just(SelectPolicy::Disabled),
    ];
    let window = (0_u32..5).prop_map(|looks| Some(Seconds::new(15.0 * f64::from(looks))));
    let tolerance = prop_oneof![Just(None), Just(Some(0.0)), Just(Some(0.5))];
    let rules = (prop::collection::vec(policy, 1..3), select, window, tolerance);
    rules.prop_map(|(policies, select, stabilization_window, tolerance)| ScalingRules {
        stabilization_window,
        select,
        policies,
        tolerance,
    })
}

fn behavior() -> impl Strategy<Value = Option<Behavior>> {
    let both = (rules(), rules());
    let both = both.prop_map(|(scale_up, scale_down)| Behavior { scale_up, scale_down });
    prop::option::of(both)
}

fn odd() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => 0_i64..50_000,
        1 => prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(-1)],
    ]
}

fn reading() -> impl Strategy<Value = Reading> {
    let pod = (odd(), 0_u32..400).prop_map(|(value, at_second)| PodReading {
        value: MilliQuantity::new(value),
        at: at(f64::from(at_second)),
        window: Seconds::new(15.0),
    });
    prop_oneof![
        4 => prop::collection::vec(prop::option::weighted(0.8, pod), 0..12).prop_map(Reading::Pods),
        4 => prop::collection::vec(odd().prop_map(MilliQuantity::new), 0..3)
            .prop_map(Reading::External),
        1 => Just(Reading::Failed),
    ]
}

fn pod() -> impl Strategy<Value = Pod> {
    let phase = prop_oneof![
        1 => Just(Phase::Pending),
        5 => Just(Phase::Running),
        1 => Just(Phase::Failed),
    ];
    let readiness = prop::option::weighted(0.8, (any::<bool>(), 0_u32..400));
    let request = prop_oneof![4 => 1_i64..2000, 1 => Just(0)];
    (phase, prop::bool::weighted(0.1), readiness, request).prop_map(
        |(phase, deleted, readiness, request)| Pod {
            phase,
            deleted,
            readiness: readiness
                .map(|(ready, since)| Readiness { ready, since: at(f64::from(since)) }),
            request: MilliQuantity::new(request),
            ..Pod::running(0, at(0.0))
        },
    )
}

fn metric() -> impl Strategy<Value = MetricSpec> {
    let quantity = || (1_i64..30_000).prop_map(MilliQuantity::new);
    prop_oneof![
        (1_u32..200).prop_map(|percent| MetricSpec::Utilization(Resource::Cpu, percent)),
        quantity().prop_map(|target| MetricSpec::Usage(Resource::Other, target)),
        quantity().prop_map(MetricSpec::Pods),
        quantity().prop_map(|target| MetricSpec::External(Target::Value(target))),
        quantity().prop_map(|target| MetricSpec::External(Target::AverageValue(target))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(11), ..Default::default() })]

    /// Nothing makes it panic or leave its bounds; of a count of zero it stays away.
    #[test]
    fn never_outside_its_bounds(
        bounds in (1_u32..10, 0_u32..20),
        metrics in prop::collection::vec(metric(), 1..3),
        behavior in behavior(),
        start in 0_u32..40,
        looks in prop::collection::vec(
            (prop::collection::vec(reading(), 0..3), prop::collection::vec(pod(), 0..12)),
            1..25,
        ),
    ) {
        let (min, max) = (bounds.0, bounds.0 + bounds.1);
        let mut hpa = hpa(min, max, &metrics, behavior);
        let mut current = start;
        for (tick, (readings, pods)) in (0_u32..).zip(looks) {
            let observation = Observation {
                spec_replicas: Replicas::new(current),
                status_replicas: Replicas::new(u32::try_from(pods.len()).unwrap()),
                pods,
                readings,
            };
            current = hpa.step(at(15.0 * f64::from(tick)), &observation).desired.get();
            prop_assert!((min..=max).contains(&current) || (start == 0 && current == 0));
        }
    }

    /// After the same past, a higher metric never leads to fewer replicas, as long as all pods are
    /// ready and as many as they should be.
    #[test]
    fn a_higher_metric_never_takes_replicas_away(
        behavior in behavior(),
        metric in 0_usize..3,
        past in prop::collection::vec(0_i64..60_000, 0..12),
        (low, high) in (0_i64..60_000, 0_i64..60_000),
    ) {
        let target = MilliQuantity::new(3000);
        let spec = [
            MetricSpec::External(Target::AverageValue(target)),
            MetricSpec::External(Target::Value(target)),
            MetricSpec::Pods(target),
        ][metric];
        let look = |current: u32, value: i64| match spec {
            MetricSpec::Pods(_) => observation(current, &vec![value; current as usize], 1000),
            _ => only_external(current, value),
        };
        let mut hpa = hpa(1, 15, &[spec], behavior);
        let mut current = 4;
        let mut now = 0.0;
        for value in past {
            current = hpa.step(at(now), &look(current, value)).desired.get();
            now += 15.0;
        }
        let wish = |value: i64| hpa.clone().step(at(now), &look(current, value)).desired;
        prop_assert!(wish(low.min(high)) <= wish(low.max(high)));
    }

    /// When a count changes, it changes no farther from where it was a period ago than a policy
    /// allows; under `Min`, than any does.
    #[test]
    fn no_faster_than_its_policies(
        both in (rules(), rules()),
        values in prop::collection::vec(0_i64..60_000, 1..60),
    ) {
        let behavior = Behavior { scale_up: both.0, scale_down: both.1 };
        let hpa = hpa(1, 1000, &[average(1000)], Some(behavior.clone()));
        let start = 10;
        let counts = follow(hpa, start, &values);
        for now in 0..counts.len() {
            let before = now.checked_sub(1).map_or(start, |place| counts[place]);
            let begin = f64::from(now.checked_sub(PERIOD).map_or(start, |place| counts[place]));
            let count = f64::from(counts[now]);
            let (rules, sign) = match counts[now].cmp(&before) {
                std::cmp::Ordering::Greater => (&behavior.scale_up, 1.0),
                std::cmp::Ordering::Less => (&behavior.scale_down, -1.0),
                std::cmp::Ordering::Equal => continue,
            };
            prop_assert_ne!(rules.select, SelectPolicy::Disabled);
            let allows = |policy: &ScalingPolicy| {
                let change = match policy.change {
                    PolicyChange::Pods(pods) => f64::from(pods),
                    // Up to the next whole pod in either direction, and rounding may add another.
                    PolicyChange::Percent(percent) => {
                        (begin * f64::from(percent) / 100.0 + 1e-9).ceil()
                    }
                };
                (count - begin) * sign <= change
            };
            let allowed = match rules.select {
                SelectPolicy::Min => rules.policies.iter().all(allows),
                _ => rules.policies.iter().any(allows),
            };
            prop_assert!(allowed, "{begin} {before} {count} {rules:?}");
        }
    }
}
