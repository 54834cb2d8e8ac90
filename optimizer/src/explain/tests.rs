use super::*;
use crate::Controller;
use crate::observation::{Bounds, Demand, VariantObservation};
use crate::policy::DirectionPolicy;
use crate::units::{HourlyCost, Replicas};

/// One step over a model with replicas at these KV usages, as told of its only variant.
fn told(kv: &[f64], max: u32, policy: &Policy) -> (Explanation, String) {
    let now = Timestamp::from_seconds(100.0);
    let replica = |(idx, &kv): (usize, &f64)| ReplicaObservation {
        kv_usage: Signal::seen(Fraction::new(kv), Timestamp::from_seconds(85.0)),
        waiting: Signal::seen(QueueLength::ZERO, now),
        ..ReplicaObservation::silent(format!("h100-{idx}").parse().unwrap())
    };
    let count = Replicas::new(u32::try_from(kv.len()).unwrap());
    let variant = VariantObservation {
        cost: HourlyCost::new(4.0),
        bounds: Bounds { min: Replicas::new(1), max: Some(Replicas::new(max)) },
        current: count,
        ready: count,
        replicas: kv.iter().enumerate().map(replica).collect(),
        ..VariantObservation::new("h100".parse().unwrap(), "H100".parse().unwrap())
    };
    let model = ModelObservation {
        model: "llama".parse().unwrap(),
        namespace: "chat".parse().unwrap(),
        slo: None,
        demand: Demand::default(),
        variants: vec![variant],
    };
    let fleet = FleetObservation { models: vec![model], ..FleetObservation::default() };
    let decision = Controller::new(policy.clone()).unwrap().step(now, &fleet);
    let (namespace, name) = ("chat".parse().unwrap(), "h100".parse().unwrap());
    let explanation = explain(&decision, &fleet, policy, &namespace, &name).unwrap();
    let text = explanation.sentences().join(" ");
    (explanation, text)
}

fn prompt() -> Policy {
    let mut policy = Policy::default();
    policy.scaling.down = DirectionPolicy::default();
    policy
}

#[test]
fn growth_is_told_with_what_would_have_prevented_it() {
    insta::assert_snapshot!(told(&[0.75, 0.76], 8, &prompt()).1);
}

#[test]
fn a_count_that_stays_is_told_with_both_distances() {
    insta::assert_snapshot!(told(&[0.50, 0.55], 8, &prompt()).1);
}

#[test]
fn a_removal_that_waits_is_told_with_what_it_waits_for() {
    insta::assert_snapshot!(told(&[0.10, 0.15, 0.10], 8, &Policy::default()).1);
}

#[test]
fn a_maximum_is_told() {
    insta::assert_snapshot!(told(&[0.75, 0.76], 2, &prompt()).1);
}

#[test]
fn a_model_of_which_nobody_reports_is_told() {
    insta::assert_snapshot!(told(&[], 2, &prompt()).1);
}

#[test]
fn signals_are_listed_with_their_age() {
    let (explanation, _) = told(&[0.75], 8, &prompt());
    let kv = explanation.seen.iter().find(|seen| seen.signal == "kvUsage").unwrap();
    assert_eq!((kv.value, kv.age), (Some(0.75), Some(Seconds::new(15.0))));
    let rate = explanation.seen.iter().find(|seen| seen.signal == "arrivalRate").unwrap();
    assert_eq!((rate.value, rate.age), (None, None));
}
