//! Decisions that the cluster's own autoscalers carry out.

use super::*;

/// A run of 400 s that begins with two replicas.
fn replica_time(actuation: Actuation, bounds: Bounds) -> f64 {
    let mut setup = setup(2, bounds, &[(0.0, 10, 2)]);
    setup.control.actuation = actuation;
    setup.duration = Some(Seconds::new(400.0));
    run_to_end(setup).variants[0].replica_time.value()
}

/// One replica is enough: decided at 30 s, shown at 31 s, scraped at 40 s. The autoscalers found two at
/// their first look, at 15 s, and go by that for five minutes.
#[test]
fn a_removal_waits_for_the_window() {
    for (actuation, gone) in
        [(Actuation::Direct, 31.0), (Actuation::Hpa, 330.0), (Actuation::Keda, 330.0)]
    {
        let expected = 400.0 + gone;
        assert!((replica_time(actuation, bounds(1, 2)) - expected).abs() < 1e-6, "{actuation:?}");
    }
}

/// What is below the minimum comes at the first look, whatever the controller says.
#[test]
fn the_minimum_comes_first() {
    for (actuation, created) in
        [(Actuation::Direct, 31.0), (Actuation::Hpa, 15.0), (Actuation::Keda, 15.0)]
    {
        let expected = 3.0 * 400.0 - created;
        assert!((replica_time(actuation, bounds(3, 3)) - expected).abs() < 1e-6, "{actuation:?}");
    }
}

/// Without a replica that there may be, there is nothing to scale.
#[test]
fn a_variant_without_replicas_has_no_autoscaler() {
    for actuation in [Actuation::Hpa, Actuation::Keda] {
        let mut setup = setup(0, bounds(0, 0), &[]);
        setup.control.actuation = actuation;
        setup.duration = Some(Seconds::new(100.0));
        assert_eq!(run_to_end(setup).variants[0].replica_time, Seconds::ZERO, "{actuation:?}");
    }
}
