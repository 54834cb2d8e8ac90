//! The controller when analyzers vote: from what a model needs to counts that GPUs, bounds and the
//! rules at zero allow.

use optimizer::controller::Controller;
use optimizer::decision::{Decision, Reason};
use optimizer::explain::{Condition, explain};
use optimizer::observation::{
    Bounds, Demand, FleetObservation, GpuPool, Inventory, Lengths, ModelObservation,
    ReplicaObservation, Signal, VariantObservation,
};
use optimizer::policy::{AnalyzerName, DirectionPolicy, HybridMode, Policy};
use optimizer::slo::Slo;
use optimizer::step_time::StepTime;
use optimizer::units::{
    Fraction, Gpus, HourlyCost, MeanTokens, QueueLength, Replicas, RequestCount, RequestRate,
    Seconds, Timestamp, Tokens,
};

use crate::fleet::id;

const NOW: Timestamp = Timestamp::from_nanos(1_000_000_000_000);

/// A variant whose replicas are ready, idle, and known by their profile.
fn variant(name: &str, cost: f64, count: u32) -> VariantObservation {
    let replica = |idx| ReplicaObservation {
        kv_usage: Signal::seen(Fraction::new(0.02), NOW),
        waiting: Signal::seen(QueueLength::ZERO, NOW),
        running: Signal::seen(QueueLength::new(8.0), NOW),
        kv_capacity: Signal::seen(Tokens::new(450_000), NOW),
        ..ReplicaObservation::silent(id(&format!("{name}-{idx}")))
    };
    VariantObservation {
        cost: HourlyCost::new(cost),
        bounds: Bounds { min: Replicas::ZERO, max: Some(Replicas::new(20)) },
        current: Replicas::new(count),
        ready: Replicas::new(count),
        profile: Some(StepTime {
            overhead: Seconds::from_millis(8.0),
            per_prompt_token: Seconds::new(3e-5),
            per_sequence: Seconds::new(3e-5),
            per_context_token: Seconds::new(5e-8),
        }),
        replicas: (0..count).map(replica).collect(),
        ..VariantObservation::new(id(name), id("H100"))
    }
}

/// One model with this arrival rate, seen at a time.
fn fleet(rate: f64, seen: Timestamp, variants: Vec<VariantObservation>) -> FleetObservation {
    let mean =
        |tokens| Lengths { mean: Signal::seen(MeanTokens::new(tokens), NOW), ..Lengths::default() };
    let model = ModelObservation {
        model: id("llama"),
        namespace: id("chat"),
        slo: Some(Slo { ttft: Seconds::new(2.0), tpot: Seconds::from_millis(100.0) }),
        demand: Demand {
            arrival_rate: Signal::seen(RequestRate::new(rate), seen),
            input: mean(1000.0),
            output: mean(250.0),
            ..Demand::default()
        },
        variants,
    };
    FleetObservation { models: vec![model], ..FleetObservation::default() }
}

/// The default policy, without a window before a removal.
fn prompt() -> Policy {
    let mut policy = Policy::default();
    policy.scaling.down = DirectionPolicy::default();
    policy
}

fn step(policy: Policy, fleet: &FleetObservation) -> Decision {
    Controller::new(policy).unwrap().step(NOW, fleet)
}

fn counts(decision: &Decision) -> Vec<u32> {
    decision.variants.iter().map(|variant| variant.desired.get()).collect()
}

fn has(decision: &Decision, variant: usize, reason: &str) -> bool {
    decision.variants[variant].trail.iter().any(|link| link.as_str() == reason)
}

#[test]
fn the_cheapest_variant_grows_by_all_that_is_lacking_at_once() {
    let decision =
        step(prompt(), &fleet(100.0, NOW, vec![variant("a", 4.0, 1), variant("b", 2.0, 1)]));
    let [a, b] = counts(&decision)[..] else { panic!("two variants") };
    assert!(a == 1 && b > 3, "{decision:?}");
    assert!(has(&decision, 0, "other-variant-moves") && has(&decision, 1, "cheapest-cover"));
    let margins = decision.variants[1].margins.unwrap();
    assert!(margins.grows_above.unwrap() >= 1.0, "after the move all is covered: {margins:?}");
    assert!(margins.shrinks_below.unwrap() < 1.0, "{margins:?}");
}

#[test]
fn replicas_go_on_fresh_signals_and_stay_on_stale_ones() {
    let idle = |seen| step(prompt(), &fleet(1.0, seen, vec![variant("a", 4.0, 10)]));
    let fresh = idle(NOW);
    assert!(counts(&fresh)[0] < 10 && has(&fresh, 0, "releasable"), "{fresh:?}");
    let stale = idle(Timestamp::from_seconds(NOW.as_seconds() - 90.0));
    assert_eq!((counts(&stale), has(&stale, 0, "vetoed")), (vec![10], true), "{stale:?}");
}

#[test]
fn growth_ends_where_the_gpus_end_and_the_explanation_says_so() {
    let mut fleet = fleet(100.0, NOW, vec![variant("a", 4.0, 1)]);
    let pool = GpuPool { total: Gpus::new(5), used: Gpus::new(3) };
    fleet.inventory =
        Some(Inventory { gpus: Some([(id("H100"), pool)].into()), ..Inventory::default() });
    let decision = step(prompt(), &fleet);
    assert_eq!(counts(&decision), [3], "one is held, two are free");
    assert!(has(&decision, 0, "cannot-cover"), "{decision:?}");
    let told = explain(&decision, &fleet, &prompt(), &id("chat"), &id("a")).unwrap();
    assert!(matches!(told.bound, Some(Reason::Vote(_))), "{told:?}");
    assert!(matches!(told.more[..], [Condition::Rule { .. }]), "{told:?}");
}

/// Pods that wait for ever are no capacity, and their variant is no place to ask for more.
#[test]
fn what_is_stuck_counts_for_nothing_and_another_variant_grows() {
    let mut stuck = variant("a", 2.0, 1);
    stuck.current = Replicas::new(15);
    let fleet = fleet(100.0, NOW, vec![stuck, variant("b", 4.0, 1)]);
    let mut controller = Controller::new(prompt()).unwrap();
    let first = controller.step(Timestamp::from_seconds(300.0), &fleet);
    assert_eq!(counts(&first)[1], 1, "they may still come: {first:?}");
    let later = controller.step(NOW, &fleet);
    assert!(counts(&later)[1] > 1 && has(&later, 0, "stuck-pending"), "{later:?}");
    assert_eq!(counts(&later)[0], 15);
}

#[test]
fn an_idle_model_sleeps_and_the_cheapest_variant_wakes() {
    let mut policy = prompt();
    policy.scale_to_zero.enabled = true;
    let mut idle = fleet(0.0, NOW, vec![variant("a", 4.0, 1), variant("b", 2.0, 1)]);
    for replica in idle.models[0].variants.iter_mut().flat_map(|v| &mut v.replicas) {
        replica.running = Signal::seen(QueueLength::ZERO, NOW);
    }
    idle.models[0].demand.recent_requests = Signal::seen(RequestCount::ZERO, NOW);
    assert_eq!(counts(&step(policy.clone(), &idle)), [0, 0]);
    assert_ne!(counts(&step(prompt(), &idle)), [0, 0], "unless it may not");

    let mut asleep = fleet(0.0, NOW, vec![variant("a", 4.0, 0), variant("b", 2.0, 0)]);
    asleep.models[0].demand.gateway_queue = Signal::seen(QueueLength::new(1.0), NOW);
    assert_eq!(counts(&step(policy, &asleep)), [0, 1]);
}

/// With the hybrid switch on the model would let replicas go, and saturation stops it.
#[test]
fn saturation_stops_a_model_that_would_shrink() {
    let mut hybrid = prompt();
    hybrid.experimental_hybrid_optimization = Some(HybridMode::On);
    let fleet = |kv| {
        let mut fleet = fleet(1.0, NOW, vec![variant("a", 4.0, 4)]);
        for replica in &mut fleet.models[0].variants[0].replicas {
            replica.kv_usage = Signal::seen(Fraction::new(kv), NOW);
        }
        fleet
    };
    let calm = step(hybrid.clone(), &fleet(0.1));
    assert!(counts(&calm)[0] < 4 && has(&calm, 0, "arbitrated"), "{calm:?}");
    assert_eq!(counts(&step(hybrid, &fleet(0.69))), [4]);
}

/// Thresholds know nothing of GPUs, so it is the hand-out of what is free that stops them.
#[test]
fn thresholds_grow_only_into_gpus_that_are_free() {
    let mut policy = prompt();
    policy.analyzers = vec![AnalyzerName::Saturation];
    let grown = |total| {
        let mut fleet = fleet(1.0, NOW, vec![variant("a", 4.0, 2)]);
        for replica in &mut fleet.models[0].variants[0].replicas {
            replica.kv_usage = Signal::seen(Fraction::new(0.79), NOW);
        }
        let pool = GpuPool { total: Gpus::new(total), used: Gpus::new(2) };
        fleet.inventory =
            Some(Inventory { gpus: Some([(id("H100"), pool)].into()), ..Inventory::default() });
        let decision = step(policy.clone(), &fleet);
        (counts(&decision), has(&decision, 0, "gpus-limited"))
    };
    assert_eq!(grown(3), (vec![3], false));
    assert_eq!(grown(2), (vec![2], true));
}

/// The controller's memory has the rates of earlier steps, from which it expects a ramp to go on.
#[test]
fn a_rate_that_rises_is_expected_to_rise() {
    let mut controller = Controller::new(prompt()).unwrap();
    let mut last = None;
    for minute in 0..20_u32 {
        let now = Timestamp::from_seconds(1000.0 + 60.0 * f64::from(minute));
        let rate = 5.0 + f64::from(minute);
        last = Some(controller.step(now, &fleet(rate, now, vec![variant("a", 4.0, 4)])));
    }
    let outlook = &last.unwrap().appraisals[0].outlook;
    let ahead = outlook.points().iter().find(|point| point.lead == Seconds::new(120.0)).unwrap();
    assert!(
        ahead.expected > RequestRate::new(25.0),
        "24/s now, and one more each minute: {ahead:?}"
    );
}
