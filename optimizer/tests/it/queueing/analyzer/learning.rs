//! What the queueing analyzer learns from what replicas report.

use optimizer::Reason;
use optimizer::analyzers::queueing::State;
use optimizer::decision::QueueingReason;
use optimizer::observation::Signal;
use optimizer::policy::CostTuner;
use optimizer::units::{QueueLength, Seconds, Timestamp};

use super::super::near;
use super::{Scene, costs, judgment, load, profile, scaled, scene_judgment};

/// The profile is wrong by a fifth. What replicas report corrects it, with either tuner; without
/// one it stays.
#[test]
fn what_replicas_report_corrects_the_profile() {
    let truth = scaled(1.2);
    let right = Scene::new().with(|scene| scene.variants[0].profile = Some(profile(1.2)));
    let (right, wrong) = (right.load().required.value(), Scene::new().load().required.value());
    assert!(right > 1.1 * wrong);
    for (tuner, corrected) in
        [(CostTuner::Kalman, true), (CostTuner::Window, true), (CostTuner::Off, false)]
    {
        let (mut state, mut scene) = (State::default(), Scene::new());
        scene.policy.queueing.tuner = tuner;
        for second in 0..30 {
            scene.now = Timestamp::from_seconds(1000.0 + f64::from(second));
            scene.report(truth);
            scene.assess(&mut state);
        }
        let learned = judgment(&scene.assess(&mut state));
        let (load, expected) =
            (load(&learned).required.value(), if corrected { right } else { wrong });
        near(&format!("{tuner:?}"), load, expected, 0.05, 0.0);
        let before = Scene::new().judgment().confidence;
        assert_eq!(learned.confidence > before, corrected, "{tuner:?}: {learned:?} {before}");
    }
}

#[test]
fn without_a_profile_an_observation_gives_a_first_guess() {
    let (mut state, mut scene) = (State::default(), Scene::new());
    scene.variants[0].profile = None;
    assert!(scene.assess(&mut state).judgment().is_none());
    scene.report(costs());
    let first = judgment(&scene.assess(&mut state));
    assert!(first.confidence < Scene::new().judgment().confidence);
    // What was learned outlives the replicas that it was learned from.
    scene.variants[0].replicas.clear();
    scene.now = Timestamp::from_seconds(1010.0);
    near(
        "load",
        load(&scene_judgment(&scene, &mut state)).required.value(),
        load(&first).required.value(),
        1e-9,
        0.0,
    );
    // On other hardware it says nothing.
    scene.variants[0].accelerator = "a100".parse().unwrap();
    assert!(scene.assess(&mut state).judgment().is_none());
}

/// Latencies while requests pile up are those of the past, and one sample is one observation
/// however often it is looked at.
#[test]
fn only_news_of_a_steady_state_is_learned_from() {
    let mut scene = Scene::new();
    scene.report(scaled(1.2));
    let mut once = State::default();
    scene.assess(&mut once);
    let mut twice = once.clone();
    scene.assess(&mut twice);
    assert_eq!(once, twice);
    for replica in &mut scene.variants[0].replicas {
        replica.waiting = Signal::seen(QueueLength::new(50.0), scene.now);
        replica.running = Signal::seen(QueueLength::new(100.0), scene.now);
    }
    let mut state = State::default();
    scene.assess(&mut state);
    assert_eq!(state, State::default());
}

/// A jump that the filter takes for an error at first: a new engine version, twice as slow.
#[test]
fn a_change_of_the_costs_is_believed_after_a_while() {
    let (mut state, mut scene) = (State::default(), Scene::new());
    let mut rejected = 0;
    for second in 0..60 {
        scene.now = Timestamp::from_seconds(1000.0 + f64::from(second));
        scene.report(scaled(if second < 20 { 1.0 } else { 2.0 }));
        let reasons = scene.assess(&mut state).reasons;
        rejected += reasons
            .iter()
            .filter(|it| matches!(it, Reason::Queueing(QueueingReason::ObservationRejected { .. })))
            .count();
    }
    let slow = Scene::new().with(|scene| scene.variants[0].profile = Some(profile(2.0)));
    let learned = load(&scene_judgment(&scene, &mut state)).required.value();
    near("load", learned, slow.load().required.value(), 0.1, 0.0);
    assert!((1..20).contains(&rejected), "{rejected}");
}

#[test]
fn the_order_of_replicas_and_a_restart_change_nothing() {
    for tuner in [CostTuner::Kalman, CostTuner::Window] {
        let mut scene = Scene::new();
        scene.policy.queueing.tuner = tuner;
        scene.report(scaled(1.1));
        let mut third = scene.variants[0].replicas[0].clone();
        third.replica = "c".parse().unwrap();
        third.itl = Signal::seen(Seconds::from_millis(12.3), scene.now);
        third.waiting = Signal::seen(QueueLength::new(0.1), scene.now);
        scene.variants[0].replicas.push(third);
        let mut turned = scene.clone();
        turned.variants[0].replicas.reverse();
        let (mut state, mut other) = (State::default(), State::default());
        assert_eq!(scene.assess(&mut state), turned.assess(&mut other));
        assert_eq!(state, other);
        let json = serde_json::to_string(&state).unwrap();
        let mut restarted: State = serde_json::from_str(&json).unwrap();
        scene.now = Timestamp::from_seconds(1005.0);
        scene.report(scaled(1.1));
        // JSON may cost a number its last bit.
        let (before, after) =
            (scene_judgment(&scene, &mut state), scene_judgment(&scene, &mut restarted));
        near("load", load(&after).required.value(), load(&before).required.value(), 1e-9, 0.0);
        near("confidence", after.confidence.value(), before.confidence.value(), 1e-9, 0.0);
    }
}
