//! What holds for every fleet.

use std::collections::{BTreeMap, BTreeSet};

use optimizer::controller::{Controller, Memory};
use optimizer::decision::{Decision, Direction, Reason, VariantDecision};
use optimizer::observation::{
    Bounds, FleetObservation, ReplicaObservation, Signal, VariantObservation,
};
use optimizer::units::{Fraction, QueueLength, Replicas, Seconds, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::arbitrary::{any_analyzers, fleet, full_steps, policy, prompt, steps, time};

/// The same fleet with every list sorted by the next of the `keys`.
fn reordered(mut fleet: FleetObservation, keys: &[u32]) -> FleetObservation {
    let mut keys = keys.iter().cycle();
    for model in &mut fleet.models {
        for variant in &mut model.variants {
            variant.replicas.sort_by_cached_key(|_| keys.next());
        }
        model.variants.sort_by_cached_key(|_| keys.next());
    }
    fleet.models.sort_by_cached_key(|_| keys.next());
    fleet
}

/// The same fleet under more load, replica by replica.
fn heavier(mut fleet: FleetObservation, more: &[(f64, f64)]) -> FleetObservation {
    let mut more = more.iter().cycle();
    for replica in replicas_of(&mut fleet) {
        let &(kv, queue) = more.next().unwrap();
        if let Signal::Seen { value, .. } = &mut replica.kv_usage {
            *value = Fraction::new((value.value() + kv).min(1.0));
        }
        if let Signal::Seen { value, .. } = &mut replica.waiting {
            *value = QueueLength::new((value.value() + queue).min(f64::MAX));
        }
    }
    fleet
}

fn replicas_of(fleet: &mut FleetObservation) -> impl Iterator<Item = &mut ReplicaObservation> {
    let variants = fleet.models.iter_mut().flat_map(|model| &mut model.variants);
    variants.flat_map(|variant| &mut variant.replicas)
}

/// What may be wrong with the signals of a model.
#[derive(Debug, Clone, Copy)]
enum Damage {
    NoReports,
    OneSignalMissing,
    OneSignalStale,
}

/// The fleet with damage to each of its models.
fn damaged(mut fleet: FleetObservation, now: Timestamp, damage: Damage) -> FleetObservation {
    let stale = Timestamp::from_seconds(now.as_seconds() - 90.0);
    for model in &mut fleet.models {
        let variants = &mut model.variants;
        match (damage, variants.iter_mut().flat_map(|v| &mut v.replicas).next()) {
            (_, None) => {}
            (Damage::NoReports, _) => variants.iter_mut().for_each(|v| v.replicas.clear()),
            (Damage::OneSignalMissing, Some(replica)) => replica.waiting = Signal::Missing,
            (Damage::OneSignalStale, Some(replica)) => {
                replica.kv_usage = Signal::seen(Fraction::new(0.01), stale);
            }
        }
    }
    fleet
}

/// The observation behind each entry of a decision.
fn with_observed<'a>(
    decision: &'a Decision,
    fleet: &'a FleetObservation,
) -> impl Iterator<Item = (&'a VariantDecision, &'a VariantObservation)> {
    decision.variants.iter().map(|decided| {
        let mut models = fleet.models.iter().filter(|m| m.namespace == decided.namespace);
        let observed = models
            .find_map(|m| m.variants.iter().find(|v| v.variant == decided.variant))
            .expect("only what is observed is decided");
        (decided, observed)
    })
}

fn saturated(decided: &VariantDecision) -> Option<usize> {
    match decided.trail[0] {
        Reason::Observed { saturated, .. } => Some(saturated),
        _ => None,
    }
}

proptest! {
    /// Every variant is decided once, in order, inside its bounds.
    #[test]
    fn counts_stay_in_bounds(policy in policy(), steps in steps()) {
        let mut controller = Controller::new(policy).unwrap();
        for (now, fleet) in &steps {
            let decision = controller.step(*now, fleet);
            let observed: usize = fleet.models.iter().map(|model| model.variants.len()).sum();
            prop_assert_eq!(decision.variants.len(), observed);
            let key = |v: &VariantDecision| {
                (v.namespace.clone(), v.model.clone(), v.variant.clone())
            };
            prop_assert!(decision.variants.is_sorted_by_key(key));
            for (decided, observed) in with_observed(&decision, fleet) {
                prop_assert_eq!(observed.bounds.clamp(decided.desired), decided.desired);
            }
        }
    }

    /// Whatever is reported and whoever is asked: bounds hold, order does not matter, a restart
    /// changes nothing, and every number can be written down and read again.
    #[test]
    fn any_analyzers_on_any_signals(
        policy in any_analyzers(),
        steps in full_steps(),
        keys in vec(any::<u32>(), 64),
    ) {
        let mut controller = Controller::new(policy.clone()).unwrap();
        let mut other = Controller::new(policy.clone()).unwrap();
        for (now, fleet) in steps {
            let decision = controller.step(now, &fleet);
            for (decided, observed) in with_observed(&decision, &fleet) {
                prop_assert_eq!(observed.bounds.clamp(decided.desired), decided.desired);
            }
            let text = serde_json::to_string(&decision).unwrap();
            let read: Decision = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read.variants.len(), decision.variants.len());

            let memory: Memory =
                serde_json::from_str(&serde_json::to_string(other.memory()).unwrap()).unwrap();
            other = Controller::restore(policy.clone(), memory).unwrap();
            prop_assert_eq!(&decision, &other.step(now, &reordered(fleet, &keys)));
        }
    }

    /// A fleet that contradicts itself, with variants listed twice and bounds that exclude every
    /// count, still gets one answer for each variant, never above its maximum.
    #[test]
    fn contradictions_do_no_harm(steps in steps(), others in steps(), min in 0..9_u32) {
        let mut controller = Controller::new(prompt()).unwrap();
        for ((now, mut fleet), (_, other)) in steps.into_iter().zip(others) {
            fleet.models.extend(other.models);
            for variant in fleet.models.iter_mut().flat_map(|model| &mut model.variants) {
                variant.bounds = Bounds { min: Replicas::new(min), max: Some(Replicas::new(4)) };
            }
            let decision = controller.step(now, &fleet);
            let names: BTreeSet<_> =
                decision.variants.iter().map(|v| (&v.namespace, &v.variant)).collect();
            prop_assert_eq!(names.len(), decision.variants.len());
            prop_assert!(decision.variants.iter().all(|v| v.desired <= Replicas::new(4)));
        }
    }

    /// A variant moves because it was picked, is on its way, or is out of bounds, and for no other
    /// reason. At most one variant of a model is picked, and it moves by at most the largest step.
    #[test]
    fn one_variant_moves_by_one_step(policy in policy(), steps in steps()) {
        let scaling = policy.scaling.clone();
        let mut controller = Controller::new(policy).unwrap();
        for (now, fleet) in &steps {
            let decision = controller.step(*now, fleet);
            let mut picked = BTreeSet::new();
            for (decided, observed) in with_observed(&decision, fleet) {
                let moved = decided.current.get().abs_diff(decided.desired.get());
                let direction = decided.trail.iter().find_map(|reason| match reason {
                    Reason::CheapestToGrow { .. } => Some(Direction::Up),
                    Reason::DearestToShrink { .. } => Some(Direction::Down),
                    _ => None,
                });
                let way = decided.trail.iter().find_map(|reason| match reason {
                    Reason::InTransition { desired, .. } => Some(*desired),
                    _ => None,
                });
                if let Some(direction) = direction {
                    prop_assert!(picked.insert((&decided.namespace, &decided.model)));
                    let limits = match direction {
                        Direction::Up => scaling.up,
                        Direction::Down => scaling.down,
                    };
                    prop_assert!(limits.max_step.is_none_or(|most| moved <= most.get()));
                } else {
                    let start = way.unwrap_or(observed.bounds.clamp(observed.current));
                    let kept_awake = |reason: &Reason| matches!(reason, Reason::Zero(_));
                    let least = u32::from(decided.trail.iter().any(kept_awake));
                    let desired = decided.desired.get();
                    prop_assert!((start.get()..=start.get().max(least)).contains(&desired));
                }
            }
        }
    }

    /// The order of models, variants and replicas does not matter.
    #[test]
    fn order_does_not_matter(policy in policy(), steps in steps(), keys in vec(any::<u32>(), 64)) {
        let mut controller = Controller::new(policy.clone()).unwrap();
        let mut other = Controller::new(policy).unwrap();
        for (now, fleet) in steps {
            let decision = controller.step(now, &fleet);
            prop_assert_eq!(decision, other.step(now, &reordered(fleet, &keys)));
        }
    }

    /// A controller that is restored from its memory, as text, goes on as it would have.
    #[test]
    fn a_restart_changes_nothing(policy in policy(), steps in steps()) {
        let mut controller = Controller::new(policy.clone()).unwrap();
        for (now, fleet) in &steps {
            let text = serde_json::to_string(controller.memory()).unwrap();
            let memory: Memory = serde_json::from_str(&text).unwrap();
            let mut restored = Controller::restore(policy.clone(), memory).unwrap();
            prop_assert_eq!(restored.step(*now, fleet), controller.step(*now, fleet));
            prop_assert_eq!(&restored, &controller);
        }
    }

    /// Without good signals nothing is removed that was not already on its way out.
    #[test]
    fn bad_signals_never_lower_a_count(
        steps in steps(),
        damage in select(vec![
            Damage::NoReports, Damage::OneSignalMissing, Damage::OneSignalStale,
        ]),
    ) {
        let mut controller = Controller::new(prompt()).unwrap();
        let mut before = BTreeMap::new();
        for (idx, (now, fleet)) in steps.into_iter().enumerate() {
            let now = now + Seconds::new(90.0);
            let is_damaged = idx % 2 == 1;
            let fleet = if is_damaged { damaged(fleet, now, damage) } else { fleet };
            let decision = controller.step(now, &fleet);
            for (decided, observed) in with_observed(&decision, &fleet) {
                let key = (decided.namespace.clone(), decided.variant.clone());
                let before = before.insert(key, decided.desired).unwrap_or(decided.current);
                let least = observed.bounds.clamp(decided.current.min(before));
                prop_assert!(!is_damaged || decided.desired >= least, "{:?}", decided);
            }
        }
    }

    /// More load never turns "keep" into "shrink". As long as no further replica saturates, it
    /// never turns "grow" into "keep" either. Where one does, it may: vector A9 demands that.
    #[test]
    fn more_load_never_means_fewer_replicas(
        now in time(),
        fleet in fleet(),
        more in vec((0.0..0.3, 0.0..3.0), 1..8),
    ) {
        let step = |fleet: &FleetObservation| {
            Controller::new(prompt()).unwrap().step(now, fleet)
        };
        let (light, heavy) = (step(&fleet), step(&heavier(fleet, &more)));
        for (light, heavy) in light.variants.iter().zip(&heavy.variants) {
            let same_states = saturated(light) == saturated(heavy);
            let least = if same_states { light.desired } else { light.desired.min(light.current) };
            prop_assert!(heavy.desired >= least, "{:?}\n{:?}", light, heavy);
        }
    }
}
