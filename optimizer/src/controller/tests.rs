use super::*;
use crate::decision::Reason;
use crate::observation::{
    Bounds, Demand, ModelObservation, ReplicaObservation, Signal, VariantObservation,
};
use crate::policy::{AnalyzerName, DirectionPolicy};
use crate::units::{Fraction, HourlyCost, QueueLength, Replicas, Seconds};

const BUSY: f64 = 0.79;
const IDLE: f64 = 0.01;

/// `count` replicas that are ready and report a KV usage at `now`.
fn variant(name: &str, now: Timestamp, count: u32, kv: f64) -> VariantObservation {
    let replica = |idx| ReplicaObservation {
        kv_usage: Signal::seen(Fraction::new(kv), now),
        waiting: Signal::seen(QueueLength::ZERO, now),
        ..ReplicaObservation::silent(format!("{name}-{idx}").parse().unwrap())
    };
    VariantObservation {
        cost: HourlyCost::new(1.0),
        bounds: Bounds { min: Replicas::ZERO, max: None },
        current: Replicas::new(count),
        ready: Replicas::new(count),
        replicas: (0..count).map(replica).collect(),
        ..VariantObservation::new(name.parse().unwrap(), "H100".parse().unwrap())
    }
}

fn model(name: &str, variants: Vec<VariantObservation>) -> ModelObservation {
    ModelObservation {
        model: name.parse().unwrap(),
        namespace: "chat".parse().unwrap(),
        demand: Demand::default(),
        variants,
        slo: None,
    }
}

/// The policy that asks saturation alone.
fn thresholds() -> Policy {
    Policy { analyzers: vec![AnalyzerName::Saturation], ..Policy::default() }
}

/// A policy without windows or cooldown, which moves by one.
fn prompt() -> Policy {
    let mut policy = thresholds();
    policy.scaling.down = DirectionPolicy::default();
    policy
}

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

/// One step with one variant, as its desired count and the names of its reasons.
fn step(controller: &mut Controller, now: Timestamp, variant: VariantObservation) -> (u32, String) {
    let fleet = FleetObservation {
        models: vec![model("llama", vec![variant])],
        ..FleetObservation::default()
    };
    let decision = controller.step(now, &fleet);
    let reasons: Vec<_> = decision.variants[0].trail.iter().map(Reason::as_str).collect();
    (decision.variants[0].desired.get(), reasons.join(" "))
}

/// Steps at which the load and the current count are given and the desired count is expected,
/// with the reason that ends the trail.
#[track_caller]
fn check(policy: Policy, steps: &[(f64, u32, f64, u32, &str)]) {
    let mut controller = Controller::new(policy).unwrap();
    for &(seconds, count, kv, desired, last) in steps {
        let now = at(seconds);
        let (found, reasons) = step(&mut controller, now, variant("v", now, count, kv));
        assert_eq!(found, desired, "{seconds}s: {reasons}");
        assert!(reasons.ends_with(last), "{seconds}s: {reasons}");
    }
}

#[test]
fn a_move_down_waits_until_its_window_holds_nothing_higher() {
    check(
        thresholds(),
        &[
            (0.0, 4, IDLE, 4, "stabilizing"),
            (200.0, 4, 0.6, 4, "removal-unsafe"),
            (499.0, 4, IDLE, 4, "stabilizing"),
            (500.0, 4, IDLE, 3, "dearest-to-shrink"),
        ],
    );
    check(
        thresholds(),
        &[
            (0.0, 4, IDLE, 4, "stabilizing"),
            (299.0, 4, IDLE, 4, "stabilizing"),
            (300.0, 4, IDLE, 3, "dearest-to-shrink"),
            (330.0, 3, IDLE, 3, "stabilizing"),
            (600.0, 3, IDLE, 2, "dearest-to-shrink"),
        ],
    );
}

#[test]
fn a_move_up_waits_for_its_window_too() {
    let mut policy = prompt();
    policy.scaling.up.stabilization_window = Seconds::new(60.0);
    check(
        policy,
        &[
            (0.0, 2, BUSY, 2, "stabilizing"),
            (30.0, 2, 0.6, 2, "removal-unsafe"),
            (60.0, 2, BUSY, 2, "stabilizing"),
            (89.0, 2, BUSY, 2, "stabilizing"),
            (90.0, 2, BUSY, 3, "cheapest-to-grow"),
        ],
    );
}

#[test]
fn cooldown_counts_from_the_last_move_in_the_same_direction() {
    let mut policy = prompt();
    policy.scaling.up.cooldown = Seconds::new(100.0);
    check(
        policy,
        &[
            (0.0, 2, BUSY, 3, "cheapest-to-grow"),
            (30.0, 3, BUSY, 3, "cooling-down"),
            (60.0, 3, IDLE, 2, "dearest-to-shrink"),
            (99.0, 2, BUSY, 2, "cooling-down"),
            (100.0, 2, BUSY, 3, "cheapest-to-grow"),
        ],
    );
}

#[test]
fn a_step_of_zero_forbids_a_direction() {
    let mut policy = prompt();
    policy.scaling.down.max_step = Some(Replicas::ZERO);
    check(policy, &[(0.0, 3, IDLE, 3, "step-limited"), (30.0, 3, BUSY, 4, "cheapest-to-grow")]);
}

#[test]
fn bounds_hold_at_once_whatever_the_windows_say() {
    let mut policy = thresholds();
    policy.scaling.up = policy.scaling.down;
    policy.scaling.up.max_step = Some(Replicas::ZERO);
    for (count, min, max, desired, reason) in [
        (0, 2, None, 2, "nothing-reported at-minimum"),
        (5, 0, Some(1), 1, "observed removal-safe at-maximum"),
        (2, 4, Some(3), 3, "observed removal-safe at-minimum"),
    ] {
        let mut controller = Controller::new(policy.clone()).unwrap();
        let mut variant = variant("v", at(0.0), count, IDLE);
        variant.bounds = Bounds { min: Replicas::new(min), max: max.map(Replicas::new) };
        let (found, reasons) = step(&mut controller, at(0.0), variant);
        assert_eq!((found, reasons.as_str()), (desired, reason), "{count}");
    }
}

/// A variant that grew and then falls silent keeps what was decided, as long as that may take.
#[test]
fn silence_does_not_take_a_decision_back() {
    let mut controller = Controller::new(prompt()).unwrap();
    let _ = step(&mut controller, at(0.0), variant("v", at(0.0), 4, BUSY));
    let mut silent = variant("v", at(0.0), 4, BUSY);
    silent.replicas.clear();
    let (desired, reasons) = step(&mut controller, at(600.0), silent.clone());
    assert_eq!((desired, reasons.as_str()), (5, "nothing-reported in-transition"));
    let (desired, reasons) = step(&mut controller, at(601.0), silent);
    assert_eq!((desired, reasons.as_str()), (4, "nothing-reported transition-timed-out"));
}

#[test]
fn growth_waits_for_a_silent_replica_for_the_transition_timeout() {
    let mut controller = Controller::new(prompt()).unwrap();
    let mut step = |seconds: f64| {
        let mut v = variant("v", at(seconds), 3, BUSY);
        v.replicas.pop();
        step(&mut controller, at(seconds), v)
    };
    assert_eq!(step(0.0), (3, "observed kv-spare-low silent-replicas".to_owned()));
    assert_eq!(step(600.0), (3, "observed kv-spare-low silent-replicas".to_owned()));
    assert_eq!(step(601.0), (4, "observed kv-spare-low cheapest-to-grow".to_owned()));
}

#[test]
fn a_variant_that_vanishes_is_forgotten() {
    let mut controller = Controller::new(prompt()).unwrap();
    let _ = step(&mut controller, at(0.0), variant("v", at(0.0), 4, BUSY));
    let _ = controller.step(at(300.0), &FleetObservation::default());
    assert_eq!(controller.memory().len(), 1);
    let _ = controller.step(at(301.0), &FleetObservation::default());
    assert!(controller.memory().is_empty());
}

#[test]
fn a_clock_that_is_set_back_does_not_freeze_a_variant() {
    let mut policy = prompt();
    policy.scaling.up.cooldown = Seconds::new(100.0);
    check(
        policy,
        &[
            (1e6, 2, BUSY, 3, "cheapest-to-grow"),
            (0.0, 3, BUSY, 3, "cooling-down"),
            (100.0, 3, BUSY, 4, "cheapest-to-grow"),
        ],
    );
}

#[test]
fn a_variant_that_is_listed_twice_counts_once() {
    let now = at(0.0);
    let (small, large) = (variant("v", now, 1, BUSY), variant("v", now, 2, IDLE));
    let one = model("llama", vec![large.clone(), small.clone()]);
    let two = model("qwen", vec![small.clone()]);
    for models in [vec![one.clone(), two.clone()], vec![two, one]] {
        let mut controller = Controller::new(prompt()).unwrap();
        let decision =
            controller.step(now, &FleetObservation { models, ..FleetObservation::default() });
        assert_eq!(decision.variants.len(), 1);
        assert_eq!(decision.variants[0].model.as_str(), "llama");
        assert_eq!(decision.variants[0].current, small.current);
    }
    // A model may be listed in parts.
    let models = vec![
        model("llama", vec![variant("b", now, 1, IDLE)]),
        model("llama", vec![variant("a", now, 1, IDLE)]),
    ];
    let decision = Controller::new(prompt())
        .unwrap()
        .step(now, &FleetObservation { models, ..FleetObservation::default() });
    let seen = |v: &VariantDecision| matches!(v.trail[0], Reason::Observed { reporting: 2, .. });
    assert!(decision.variants.iter().all(seen), "{decision:?}");
}

#[test]
fn a_new_policy_keeps_the_memory_and_a_broken_one_is_refused() {
    let mut controller = Controller::new(prompt()).unwrap();
    let _ = step(&mut controller, at(0.0), variant("v", at(0.0), 2, BUSY));
    let memory = controller.memory().clone();

    let mut broken = prompt();
    broken.saturation.kv_spare_trigger = Fraction::ONE;
    let error = controller.set_policy(broken.clone()).unwrap_err();
    assert_eq!(Controller::new(broken), Err(error.clone()));
    insta::assert_snapshot!(error, @"the policy is not valid: saturation.kvSpareTrigger: expected a share that is not above kvCacheThreshold");
    assert_eq!(controller.policy(), &prompt());

    controller.set_policy(thresholds()).unwrap();
    assert_eq!(controller.policy(), &thresholds());
    assert_eq!(controller.memory(), &memory);
}
