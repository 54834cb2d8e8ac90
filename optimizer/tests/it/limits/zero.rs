//! Going to zero replicas, and coming back.

use optimizer::decision::ZeroReason;
use optimizer::limits::zero::{Outcome, Sleeper, Usage, apply, usage};
use optimizer::observation::{
    Bounds, Demand, ModelObservation, ReplicaObservation, Role, Signal, VariantObservation,
};
use optimizer::policy::{Policy, ZeroRule};
use optimizer::units::{HourlyCost, QueueLength, Replicas, RequestCount, Seconds, Timestamp};

use crate::fleet::id;

const NOW: Timestamp = Timestamp::from_nanos(1_000_000_000_000);

/// A variant with its cost and its target.
#[derive(Clone, Copy)]
struct S {
    name: &'static str,
    role: Role,
    cost: f64,
    target: u32,
    min: u32,
    max: Option<u32>,
    startable: bool,
}

const fn s(name: &'static str, cost: f64, target: u32) -> S {
    S { name, role: Role::Both, cost, target, min: 0, max: None, startable: true }
}

impl S {
    const fn role(self, role: Role) -> Self {
        Self { role, ..self }
    }
}

fn outcome(rule: ZeroRule, usage: Usage, variants: &[S]) -> Outcome {
    let names: Vec<_> = variants.iter().map(|s| id(s.name)).collect();
    let sleepers: Vec<_> = variants
        .iter()
        .zip(&names)
        .map(|(s, variant)| Sleeper {
            variant,
            role: s.role,
            cost: HourlyCost::new(s.cost),
            bounds: Bounds { min: Replicas::new(s.min), max: s.max.map(Replicas::new) },
            target: Replicas::new(s.target),
            startable: s.startable,
        })
        .collect();
    apply(rule, usage, &sleepers)
}

#[track_caller]
fn check(row: &str, enabled: bool, usage: Usage, variants: &[S], expected: &[u32], applied: bool) {
    let rule = ZeroRule { enabled, retention: Seconds::from_minutes(10.0) };
    let outcome = outcome(rule, usage, variants);
    let found: Vec<_> = outcome.targets.iter().map(|target| target.get()).collect();
    assert_eq!((found.as_slice(), outcome.reason.is_some()), (expected, applied), "{row}");
}

fn model(demand: Demand, replicas: Vec<ReplicaObservation>) -> ModelObservation {
    let variant = VariantObservation { replicas, ..VariantObservation::new(id("v"), id("H100")) };
    ModelObservation {
        model: id("test-model"),
        namespace: id("ns-1"),
        slo: None,
        demand,
        variants: vec![variant],
    }
}

fn usage_of(demand: Demand, replicas: Vec<ReplicaObservation>) -> Usage {
    let model = model(demand, replicas);
    let variants: Vec<_> = model.variants.iter().collect();
    usage(NOW, &model.demand, &variants, &Policy::default().signals)
}

fn requests(count: f64) -> Demand {
    let recent_requests = Signal::seen(RequestCount::new(count), NOW);
    Demand { recent_requests, ..Demand::default() }
}

fn waiting(queue: f64) -> Demand {
    Demand { gateway_queue: Signal::seen(QueueLength::new(queue), NOW), ..requests(0.0) }
}

#[test]
fn f1_to_f8_and_en_01_to_en_05() {
    let idle = usage_of(requests(0.0), Vec::new());
    let used = usage_of(requests(10.0), Vec::new());
    let unknown = usage_of(Demand::default(), Vec::new());
    let ab = |a, b| [s("a", 1.0, a), s("b", 2.0, b)];
    check("F1", true, idle, &ab(2, 1), &[0, 0], true);
    check("F1, down already", true, idle, &ab(0, 0), &[0, 0], false);
    check("F2", true, used, &ab(2, 1), &[2, 1], false);
    check("F3", true, unknown, &ab(2, 1), &[2, 1], false);
    check("F4", false, idle, &[s("a", 2.0, 0), s("b", 1.0, 0)], &[0, 1], true);
    check("F5", false, idle, &ab(2, 0), &[2, 0], false);
    check("F7", false, idle, &[s("z", 1.0, 0), s("a", 1.0, 0)], &[0, 1], true);
    // A cost that nobody told is 10 in the original: its resources have that default, so an
    // observation of them carries it.
    check("F8", false, idle, &[s("a", 100.0, 0), s("missing", 10.0, 0)], &[0, 1], true);
    check("F8, no default", false, idle, &[s("a", 100.0, 0), s("missing", 0.0, 0)], &[1, 0], true);

    check("EN-01", true, idle, &ab(2, 3), &[0, 0], true);
    check("EN-02", true, used, &[s("a", 1.0, 3)], &[3], false);
    check("EN-03", true, unknown, &[s("a", 1.0, 2)], &[2], false);
    check("EN-04", false, unknown, &[s("a", 2.0, 0), s("b", 1.0, 0)], &[0, 1], true);
    check("EN-05", false, used, &[s("z", 1.0, 0), s("a", 1.0, 0)], &[0, 1], true);
}

/// F6: the switch is on for another model. EN-06: one model in one namespace is idle.
#[test]
fn f6_and_en_06_each_model_has_its_own_rule() {
    let policy: Policy = serde_json::from_value(serde_json::json!({ "scaleToZero": {
        "overrides": [
            { "model": "other-model", "enabled": true },
            { "model": "model-1", "enabled": true },
        ],
    }}))
    .unwrap();
    let rule = |model, namespace| policy.scale_to_zero.rule(&id(model), &id(namespace));
    let targets = |rule, usage, variants: &[S]| {
        let outcome = outcome(rule, usage, variants);
        outcome.targets.iter().map(|target| target.get()).collect::<Vec<_>>()
    };
    let f6 = [s("a", 2.0, 0), s("b", 1.0, 0)];
    assert_eq!(targets(rule("test-model", "ns-1"), Usage::Idle, &f6), [0, 1]);
    assert_eq!(targets(rule("model-1", "ns-1"), Usage::Idle, &[s("v", 1.0, 2)]), [0]);
    assert_eq!(targets(rule("model-2", "ns-1"), Usage::Idle, &[s("v", 1.0, 2)]), [2]);
    assert_eq!(targets(rule("model-1", "ns-2"), Usage::InUse, &[s("v", 1.0, 1)]), [1]);
}

#[test]
fn only_a_fresh_count_of_none_is_idle() {
    let stale = Signal::seen(RequestCount::ZERO, Timestamp::from_seconds(900.0));
    let stale = Demand { recent_requests: stale, ..Demand::default() };
    assert_eq!(usage_of(stale, Vec::new()), Usage::InUse);
    assert_eq!(usage_of(requests(0.4), Vec::new()), Usage::InUse);
    assert_eq!(usage_of(waiting(0.0), Vec::new()), Usage::Idle);
    assert_eq!(usage_of(waiting(2.0), Vec::new()), Usage::Waiting(QueueLength::new(2.0)));
}

/// A request that takes longer than the retention time is counted when it is done.
#[test]
fn a_replica_that_works_is_in_use() {
    let replica = |running| ReplicaObservation {
        running: Signal::seen(QueueLength::new(running), NOW),
        ..ReplicaObservation::silent(id("v-0"))
    };
    assert_eq!(usage_of(requests(0.0), vec![replica(1.0)]), Usage::InUse);
    assert_eq!(usage_of(requests(0.0), vec![replica(0.0)]), Usage::Idle);
}

#[test]
fn a_minimum_keeps_the_whole_model() {
    let pair = [S { min: 1, ..s("a", 1.0, 1) }, s("b", 2.0, 1)];
    check("a minimum", true, Usage::Idle, &pair, &[1, 1], false);
}

#[test]
fn waiting_requests_wake_the_cheapest_whatever_the_switch() {
    let queue = Usage::Waiting(QueueLength::new(1.0));
    let pair = [s("dear", 2.0, 0), s("cheap", 1.0, 0)];
    for enabled in [false, true] {
        check("waiting", enabled, queue, &pair, &[0, 1], true);
    }
    let rule = ZeroRule { enabled: true, retention: Seconds::from_minutes(10.0) };
    let reason = outcome(rule, queue, &pair).reason.unwrap();
    assert_eq!(reason, ZeroReason::WokenByQueue { queue: QueueLength::new(1.0) });
    check("up already", true, queue, &[s("a", 2.0, 1), s("b", 1.0, 0)], &[1, 0], false);
    let full = [s("dear", 2.0, 0), S { startable: false, ..s("cheap", 1.0, 0) }];
    check("no GPU for the cheapest", true, queue, &full, &[1, 0], true);
    let closed = [S { max: Some(0), ..s("a", 1.0, 0) }];
    check("none is allowed", true, queue, &closed, &[0], false);
}

#[test]
fn roles_wake_together() {
    let queue = Usage::Waiting(QueueLength::new(1.0));
    let split = [
        s("p1", 2.0, 0).role(Role::Prefill),
        s("p2", 1.0, 0).role(Role::Prefill),
        s("d1", 3.0, 0).role(Role::Decode),
        s("d2", 3.0, 0).role(Role::Decode),
    ];
    check("one of each", true, queue, &split, &[0, 1, 1, 0], true);
    let mixed = |whole| [split[1], split[2], s("whole", whole, 0)];
    check("the whole is cheaper", true, queue, &mixed(3.0), &[0, 0, 1], true);
    check("the parts are cheaper", true, queue, &mixed(5.0), &[1, 1, 0], true);
    check("a part is no way", true, queue, &[split[1], s("whole", 9.0, 0)], &[0, 1], true);
}
