//! The cases of Kubernetes' `replica_calculator_test.go`, by the names that they have there.

use super::*;
use crate::autoscaling::Readiness;

const WINDOW: Seconds = Seconds::from_minutes(1.0);

fn now() -> Timestamp {
    Timestamp::from_seconds(10_000.0)
}

fn minutes_ago(minutes: f64) -> Timestamp {
    Timestamp::from_seconds(now().as_seconds() - 60.0 * minutes)
}

/// One pod a letter: **r**eady, **u**nready from the beginning, **h**ot (started and ready just now),
/// **p**ending, **f**ailed, **d**eleted.
fn pods(letters: &str, requests: &[i64]) -> Vec<Pod> {
    let pod = |(place, letter): (usize, char)| {
        let request = MilliQuantity::new(requests.get(place).copied().unwrap_or(1000));
        let pod = Pod { request, ..Pod::running(place as u64, minutes_ago(100.0)) };
        match letter {
            'r' => pod,
            'u' => Pod { readiness: pod.readiness.map(|r| Readiness { ready: false, ..r }), ..pod },
            'h' => Pod { request, ..Pod::running(place as u64, now()) },
            'p' => Pod { request, ..Pod::pending(place as u64, now()) },
            'f' => Pod { phase: Phase::Failed, ..pod },
            'd' => Pod { deleted: true, ..pod },
            other => panic!("no pod is {other}"),
        }
    };
    letters.chars().enumerate().map(pod).collect()
}

fn readings(values: &[i64]) -> Reading {
    let reading = |&value: &i64| {
        Some(PodReading { value: MilliQuantity::new(value), at: now(), window: WINDOW })
    };
    Reading::Pods(values.iter().map(reading).collect())
}

const TOLERANCES: Tolerances = Tolerances { down: 0.1, up: 0.1 };

fn context(pods: &[Pod], current: i64, tolerances: Tolerances) -> Context<'_> {
    Context {
        now: now(),
        spec_replicas: current,
        status_replicas: current,
        pods,
        tolerances,
        cpu_initialization_period: Seconds::from_minutes(2.0),
        initial_readiness_delay: Seconds::new(10.0),
    }
}

#[test]
fn utilization() {
    let check = |name: &str, letters: &str, levels: &[i64], target: u32, expected: Option<i64>| {
        // Neither failed nor deleted pods are replicas.
        let current = letters.chars().map(|letter| i64::from(!"fd".contains(letter))).sum();
        let pods = pods(letters, &[]);
        let context = context(&pods, current, TOLERANCES);
        let spec = MetricSpec::Utilization(Resource::Cpu, target);
        assert_eq!(spec.propose(&readings(levels), &context), expected, "{name}");
    };
    let five = [100, 300, 500, 250, 250];
    check("ScaleUp", "rrr", &[300, 500, 700], 30, Some(5));
    check("ScaleUpUnreadyLessScale", "urr", &[300, 500, 700], 30, Some(4));
    check("ScaleUpHotCpuLessScale", "hrr", &[300, 500, 700], 30, Some(4));
    check("ScaleUpUnreadyNoScale", "ruu", &[400, 500, 700], 30, Some(3));
    check("ScaleHotCpuNoScale", "rhh", &[400, 500, 700], 30, Some(3));
    check("ScaleUpIgnoresFailedPods", "rrff", &[500, 700], 30, Some(4));
    check("ScaleUpIgnoresDeletionPods", "rrdd", &[500, 700], 30, Some(4));
    check("ScaleDown", "rrrrr", &five, 50, Some(3));
    check("ScaleDownExcludeUnreadyPods", "rrruu", &five, 50, Some(2));
    check("ScaleDownExcludeUnscheduledPods", "rpppp", &[100], 50, Some(1));
    check("ScaleDownIgnoreHotCpuPods", "rrrhh", &five, 50, Some(2));
    check("ScaleDownIgnoresFailedPods", "rrrrrff", &five, 50, Some(3));
    check("ScaleDownIgnoresDeletionPods", "rrrrrdd", &five, 50, Some(3));
    check("MissingMetrics", "rrrr", &[400, 95], 100, Some(3));
    check("EmptyMetrics", "rrrr", &[], 100, None);
    check("MissingMetricsNoChangeEq", "rr", &[1000], 100, Some(2));
    check("MissingMetricsNoChangeGt", "rr", &[1900], 100, Some(2));
    check("MissingMetricsNoChangeLt", "rr", &[600], 100, Some(2));
    check("MissingMetricsUnreadyChange", "urr", &[100, 450], 50, Some(3));
    check("MissingMetricsHotCpuNoChange", "hrr", &[100, 450], 50, Some(3));
    check("MissingMetricsUnreadyScaleUp", "urr", &[100, 2000], 50, Some(4));
    check("MissingMetricsUnreadyScaleDown", "urrr", &[100, 100, 100], 50, Some(3));
    check("without pods", "", &[], 50, None);
}

/// Cases with requests or replica counts of their own.
#[test]
fn utilization_of_requests() {
    let check = |name: &str, requests: &[i64], levels: &[i64], (current, expected)| {
        let target = if name.ends_with("Over100") { 300 } else { 100 };
        let letters = if name.ends_with("Over100") { "urrr" } else { &"rrr"[..requests.len()] };
        let pods = pods(letters, requests);
        let spec = MetricSpec::Utilization(Resource::Cpu, target);
        let context = context(&pods, current, TOLERANCES);
        assert_eq!(spec.propose(&readings(levels), &context), expected, "{name}");
    };
    check("Tolerance", &[900, 1000, 1100], &[1010, 1030, 1020], (3, Some(3)));
    check("EmptyCPURequest", &[0], &[200], (1, None));
    let over = "MissingMetricsScaleDownTargetOver100";
    check(over, &[1000, 1000, 2000, 2000], &[200, 100, 100], (4, Some(2)));
    // Two of three pods are known, and the third would be one too many for two replicas.
    let pods = pods("rrr", &[]);
    let context = context(&pods, 2, TOLERANCES);
    let spec = MetricSpec::Utilization(Resource::Cpu, 50);
    let wish = spec.propose(&readings(&[100, 100]), &context);
    assert_eq!(wish, Some(2), "DuringRollingUpdateWithMaxSurge");
}

#[test]
fn tolerances() {
    for (down, up, levels, expected) in [
        (0.0, 0.0, [909, 1010, 1111], 4),
        (0.1, 2.0, [1890, 1910, 1900], 3),
        (2.0, 0.08, [1100, 1080, 1090], 4),
        (0.36, 0.1, [660, 640, 650], 3),
        (0.34, 0.1, [660, 640, 650], 2),
    ] {
        let pods = pods("rrr", &[900, 1000, 1100]);
        let context = context(&pods, 3, Tolerances { down, up });
        let spec = MetricSpec::Utilization(Resource::Cpu, 100);
        assert_eq!(spec.propose(&readings(&levels), &context), Some(expected), "{down} {up}");
    }
    let one_percent = Tolerances { up: 0.01, ..TOLERANCES };
    for (spec, reading, current, expected) in [
        (pods_target(20_000), readings(&[20_000, 21_000, 21_000]), 3, 4),
        (value_target(8800), external(8900), 3, 4),
        (average_target(2800), external(8600), 3, 4),
    ] {
        let pods = pods("rrr", &[]);
        let context = context(&pods, current, one_percent);
        assert_eq!(spec.propose(&reading, &context), Some(expected), "{spec:?}");
    }
}

fn pods_target(target: i64) -> MetricSpec {
    MetricSpec::Pods(MilliQuantity::new(target))
}

fn value_target(target: i64) -> MetricSpec {
    MetricSpec::External(Target::Value(MilliQuantity::new(target)))
}

fn average_target(target: i64) -> MetricSpec {
    MetricSpec::External(Target::AverageValue(MilliQuantity::new(target)))
}

fn external(value: i64) -> Reading {
    Reading::External(vec![MilliQuantity::new(value)])
}

#[test]
fn metrics_of_pods() {
    for (name, letters, levels, target, current, expected) in [
        ("ScaleUpCM", "rrr", &[20_000, 10_000, 30_000][..], 15_000, 3, Some(4)),
        ("UnreadyHotCpuNoLessScale", "rru", &[50_000, 10_000, 30_000], 15_000, 3, Some(6)),
        ("UnreadyHotCpuScaleWouldScaleDown", "uru", &[50_000, 15_000, 30_000], 15_000, 3, Some(7)),
        ("ScaleDownCM", "rrrrr", &[12_000; 5], 20_000, 5, Some(3)),
        ("ToleranceCM", "rrr", &[20_000, 21_000, 21_000], 20_000, 3, Some(3)),
        ("MissingMetricsNoChangeEq", "rrrrr", &[20_000, 19_000, 21_000], 20_000, 5, Some(5)),
        ("DuringRollingUpdateWithMaxSurgeCM", "rrr", &[10_000, 10_000], 17_000, 2, Some(2)),
        ("pending pods are idle", "rrpp", &[60_000, 60_000], 20_000, 4, Some(6)),
        ("no values", "rr", &[], 20_000, 2, None),
    ] {
        let pods = pods(letters, &[]);
        let context = context(&pods, current, TOLERANCES);
        assert_eq!(pods_target(target).propose(&readings(levels), &context), expected, "{name}");
    }
}

#[test]
fn external_metrics() {
    for (name, spec, value, letters, current, expected) in [
        ("ScaleUpCMExternalIgnoresUnreadyPods", value_target(4400), 8600, "uru", 3, Some(2)),
        ("ScaleDownCMExternal", value_target(14_334), 8600, "rrrrr", 5, Some(3)),
        ("ToleranceCMExternal", value_target(8888), 8600, "rrr", 3, Some(3)),
        ("ScaleUpCMExternal in horizontal_test.go", value_target(6666), 8600, "rrr", 3, Some(4)),
        ("ScaleUpFromZeroCMObject there", value_target(15_000), 20_000, "", 0, Some(2)),
        ("ScaleDownToZeroCMExternal there", value_target(14_400), 0, "rrrrr", 5, Some(0)),
        ("no pods, but a count", value_target(4400), 8600, "", 3, None),
        ("ScaleUpPerPodCMExternal", average_target(2150), 8600, "rrr", 3, Some(4)),
        ("ScaleDownPerPodCMExternal", average_target(2867), 8600, "rrrrr", 5, Some(3)),
        ("TolerancePerPodCMExternal", average_target(2900), 8600, "rrr", 3, Some(3)),
        ("from zero to average", average_target(2000), 8600, "", 0, Some(5)),
        ("nothing at zero", average_target(2000), 0, "", 0, Some(0)),
        ("ReplicaOverflow", average_target(1), i64::MAX, "r", 1, Some(i64::from(i32::MAX))),
        ("UsageOverflow", average_target(i64::MAX), i64::MAX, "r", 1, Some(1)),
        ("negative", average_target(i64::MAX / 4), -1, "r", 1, Some(4)),
    ] {
        let pods = pods(letters, &[]);
        let context = context(&pods, current, TOLERANCES);
        assert_eq!(spec.propose(&external(value), &context), expected, "{name}");
    }
}

#[test]
fn values_are_added_up() {
    let pods = pods("rrr", &[]);
    let context = context(&pods, 3, TOLERANCES);
    let values = [4000, 600, 4000].map(MilliQuantity::new).to_vec();
    let propose = |spec: MetricSpec, values| spec.propose(&Reading::External(values), &context);
    assert_eq!(propose(average_target(2150), values.clone()), Some(4));
    assert_eq!(propose(value_target(6666), values), Some(4));
    assert_eq!(propose(value_target(6666), vec![]), Some(0));
    let many = vec![MilliQuantity::new(i64::MAX); 3];
    assert_eq!(propose(value_target(1), many), Some(i64::from(i32::MAX)));
}

/// What was read says nothing about what was asked for.
#[test]
fn a_reading_of_another_kind_is_none() {
    let pods = pods("r", &[]);
    let context = context(&pods, 1, TOLERANCES);
    assert_eq!(pods_target(1).propose(&external(1), &context), None);
    assert_eq!(value_target(1).propose(&readings(&[1]), &context), None);
    assert_eq!(value_target(1).propose(&Reading::Failed, &context), None);
}

/// By hand, after `groupPods`: with 2 min of initialization, 10 s of delay and windows of 1 min.
#[test]
fn processor_time_of_a_pod_that_starts() {
    for (what, started, ready, since, measured_at, counts) in [
        ("ready, and a window old", 1.5, true, 1.5, 0.0, true),
        ("ready, but its window began before", 1.5, true, 0.5, 0.0, false),
        ("unready while it initializes", 1.5, false, 1.5, 0.0, false),
        ("ready after that, however short", 3.0, true, 0.1, 0.0, true),
        ("never ready", 3.0, false, 2.9, 0.0, false),
        ("ready once", 3.0, false, 1.0, 0.0, true),
    ] {
        let readiness = Some(Readiness { ready, since: minutes_ago(since) });
        let started = Some(minutes_ago(started));
        let pods = [Pod { started, readiness, ..pods("r", &[])[0] }];
        let value = MilliQuantity::new(1000);
        let reading = PodReading { value, at: minutes_ago(measured_at), window: WINDOW };
        let context = context(&pods, 1, TOLERANCES);
        assert_eq!(!context.is_initializing(&pods[0], reading), counts, "{what}");
    }
}
