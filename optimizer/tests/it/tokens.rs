//! The tokens analyzer: the workload-variant-autoscaler's test vectors, and what we do better.

mod rate;
mod vectors;

use optimizer::analyzers::tokens::{State, Stock};
use optimizer::assessment::{Abstention, Assessment, Load, Verdict};
use optimizer::decision::{CapacityBasis, Reason};
use optimizer::observation::{Role, Signal};
use optimizer::units::{Bytes, Fraction, QueueLength, ReplicaLoad, Replicas, Seconds, Timestamp};

use crate::scene::{Report, Scene, reporting, variant};

fn stock(scene: &Scene) -> Stock {
    stock_after(scene, &mut State::default())
}

fn stock_after(scene: &Scene, state: &mut State) -> Stock {
    scene.ask(|subject| state.stock(subject))
}

fn assess(scene: &Scene, state: &mut State) -> Assessment {
    scene.ask(|subject| state.assess(subject))
}

fn capacity(stock: &Stock, name: &str) -> (u64, CapacityBasis) {
    let stock = stock.variants.iter().find(|stock| stock.variant.as_str() == name).unwrap();
    (stock.capacity.get(), stock.basis)
}

/// The load of the only variant of the only role.
fn load(assessment: &Assessment) -> Load {
    let judgment = assessment.judgment().unwrap();
    judgment.roles[0].variants[0].load.unwrap()
}

fn confidence(assessment: &Assessment) -> Fraction {
    assessment.judgment().unwrap().confidence
}

fn names(assessment: &Assessment) -> Vec<&'static str> {
    assessment.reasons.iter().map(Reason::as_str).collect()
}

fn single(report: Report) -> Scene {
    Scene::new(vec![variant("variant-a", Role::Both, &[report])])
}

#[test]
fn an_explicit_zero_is_a_threshold() {
    let mut scene = single(Report::tokens(8000, 16_000, 0.0, 100.0, 50.0));
    scene.policy.saturation.queue_length_threshold = QueueLength::ZERO;
    // With a queue of 0 the engine is full, so what it holds is what it can hold.
    assert_eq!(capacity(&stock(&scene), "variant-a"), (8000, CapacityBasis::Observed));
    scene.policy.saturation.kv_cache_threshold = Fraction::ZERO;
    let assessment = assess(&scene, &mut State::default());
    assert_eq!(assessment.judgment().unwrap().roles[0].variants[0].load, None);
}

#[test]
fn the_answer_is_in_replicas() {
    let assessment =
        assess(&single(Report::tokens(9600, 16_000, 0.0, 100.0, 50.0)), &mut State::default());
    let expected = Load {
        required: ReplicaLoad::new(9600.0 / (12_800.0 * 0.85)),
        kept: ReplicaLoad::new(9600.0 / (12_800.0 * 0.70)),
    };
    assert_eq!(load(&assessment), expected);
    assert_eq!(confidence(&assessment), Fraction::ONE);
    assert_eq!(names(&assessment), ["tokens-capacity", "tokens-load"]);
}

/// D8b, a defect: a replica without a sample counts as an idle one. Here it may hide a load, so
/// nothing is let go; what the others say may still ask for more.
#[test]
fn missing_is_not_zero() {
    let busy = Report::tokens(12_000, 16_000, 0.0, 100.0, 50.0);
    let without_kv = Report { kv_usage: None, ..busy };
    let without_queue = Report { waiting: None, ..busy };
    for (name, reports, expected) in [
        ("no KV usage", vec![busy, without_kv], "signals-incomplete"),
        ("no queue", vec![busy, without_queue], "signals-incomplete"),
        ("nothing", vec![busy, Report::default()], "signals-incomplete"),
    ] {
        let scene = Scene::new(vec![variant("variant-a", Role::Both, &reports)]);
        let assessment = assess(&scene, &mut State::default());
        assert_eq!(confidence(&assessment), Fraction::ZERO, "{name}");
        assert_eq!(names(&assessment)[0], expected, "{name}");
        assert!(load(&assessment).required > ReplicaLoad::new(1.0), "{name}");
    }
    let mut silent = single(busy);
    silent.variants[0].ready = Replicas::new(2);
    silent.variants[0].current = Replicas::new(2);
    let assessment = assess(&silent, &mut State::default());
    assert_eq!(confidence(&assessment), Fraction::ZERO);
    assert_eq!(names(&assessment)[0], "silent-replicas");
}

#[test]
fn requests_of_unknown_length_are_a_doubt() {
    let unknown = Report { input: None, output: None, ..Report::tokens(0, 16_000, 2.0, 1.0, 1.0) };
    let assessment = assess(&single(unknown), &mut State::default());
    assert_eq!(names(&assessment)[0], "tokens-lengths-unknown");
    assert_eq!(confidence(&assessment), Fraction::ZERO);
    let idle = Report { waiting: Some(0.0), ..unknown };
    assert_eq!(confidence(&assess(&single(idle), &mut State::default())), Fraction::ONE);
}

#[test]
fn without_signals_it_abstains() {
    let silent = single(Report::default());
    let empty = Scene::new(vec![variant("variant-a", Role::Both, &[])]);
    for (scene, reason) in [(silent, "signals-missing"), (empty.clone(), "nothing-reported")] {
        let assessment = assess(&scene, &mut State::default());
        assert_eq!(assessment.verdict, Verdict::Abstains(Abstention::SignalsMissing));
        assert_eq!(names(&assessment)[0], reason);
    }
    // With nothing to serve, no replicas are enough.
    assert_eq!(load(&assess(&empty.clone().arriving(0.0), &mut State::default())), Load::default());
    // A request at the gateway needs one.
    let mut asked = empty;
    asked.demand.gateway_queue = asked.seen(QueueLength::new(1.0));
    asked.demand.gateway_bytes = asked.seen(Bytes::new(400));
    let assessment = assess(&asked, &mut State::default());
    assert!(!load(&assessment).required.is_zero());
    assert_eq!(confidence(&assessment), Fraction::ZERO);
}

#[test]
fn the_age_is_that_of_the_oldest_signal() {
    let mut scene = single(Report::tokens(5000, 16_000, 0.0, 100.0, 50.0));
    let at = Timestamp::from_seconds(920.0);
    scene.variants[0].replicas[0].waiting = Signal::seen(QueueLength::ZERO, at);
    let assessment = assess(&scene, &mut State::default());
    assert_eq!(assessment.judgment().unwrap().age, Seconds::new(80.0));
}

/// D11, a defect: what an engine holds while requests wait is taken for its limit, be it that its
/// cache still fills up or that a burst of prompts drains. Here it is one when neither its tokens
/// grew nor its queue shrank since the last look.
#[test]
fn a_ramp_is_no_limit() {
    let look = |seconds: f64, in_use, queue, state: &mut State| {
        let at = Timestamp::from_seconds(seconds);
        let report = Report::tokens(in_use, 16_000, queue, 100.0, 600.0);
        let mut scene = Scene::new(vec![reporting("variant-a", Role::Both, at, &[report])]);
        scene.now = at;
        capacity(&stock_after(&scene, state), "variant-a")
    };
    let mut state = State::default();
    let memory = (12_800, CapacityBasis::Memory);
    assert_eq!(look(0.0, 1000, 2.0, &mut state), memory);
    assert_eq!(look(15.0, 2000, 6.0, &mut state), memory, "the cache fills up");
    assert_eq!(look(30.0, 4000, 9.0, &mut state), memory, "still");
    assert_eq!(look(45.0, 4100, 9.0, &mut state), (4100, CapacityBasis::Observed), "a limit");
    let history = (4150, CapacityBasis::History);
    assert_eq!(look(60.0, 4150, 7.0, &mut state), history, "the queue shrinks; it holds more");
    assert_eq!(look(75.0, 2000, 0.0, &mut state), (4100, CapacityBasis::History), "remembered");
    let held = (6000, CapacityBasis::History);
    assert_eq!(look(90.0, 6000, 0.0, &mut state), held, "it holds that much, and is not full");
}

#[test]
fn what_was_learned_is_forgotten() {
    let mut state = State::default();
    stock_after(&single(Report::tokens(8000, 16_000, 6.0, 100.0, 50.0)), &mut state);
    let later = |days: f64| {
        let now = Timestamp::from_seconds(1000.0 + days * 86_400.0);
        let report = Report::tokens(100, 16_000, 0.0, 100.0, 50.0);
        let mut scene = Scene::new(vec![reporting("variant-a", Role::Both, now, &[report])]);
        scene.now = now;
        scene
    };
    let capacity_after = |scene: &Scene, state: &State| {
        capacity(&stock_after(scene, &mut state.clone()), "variant-a")
    };
    assert_eq!(capacity_after(&later(0.9), &state), (8000, CapacityBasis::History));
    assert_eq!(capacity_after(&later(1.1), &state), (12_800, CapacityBasis::Memory));

    let gone = |days: f64| {
        let now = later(days).now;
        Scene { now, ..Scene::new(vec![variant("variant-a", Role::Both, &[])]) }
    };
    assert_eq!(capacity_after(&gone(6.9), &state), (8000, CapacityBasis::Recorded));
    assert_eq!(capacity_after(&gone(7.1), &state), (8192, CapacityBasis::Budget));
    // Of variants that are no longer there nothing stays behind.
    let nobody = Scene { now: later(7.1).now, ..Scene::new(Vec::new()) };
    stock_after(&nobody, &mut state);
    assert_eq!(state, State::default());
}

/// A controller may step more often than its signals are sampled.
#[test]
fn a_sample_counts_once() {
    let mut state = State::default();
    stock_after(&single(Report::tokens(9000, 16_000, 6.0, 100.0, 50.0)), &mut state);
    let look = |seconds: f64, in_use, queue| {
        let at = Timestamp::from_seconds(seconds);
        let report = Report::tokens(in_use, 16_000, queue, 100.0, 50.0);
        let observed = reporting("variant-a", Role::Both, at, &[report]);
        Scene { now: at, ..Scene::new(vec![observed]) }
    };
    let mut repeated = look(1015.0, 3000, 6.0);
    for _ in 0..5 {
        stock_after(&repeated, &mut state);
        repeated.now += Seconds::from_millis(1.0);
    }
    let (mean, basis) = capacity(&stock_after(&look(1030.0, 10, 0.0), &mut state), "variant-a");
    assert_eq!(basis, CapacityBasis::History);
    assert!((5900..=6100).contains(&mean), "{mean}");
}

/// Three engines at their limit are one sample: the middle one.
#[test]
fn a_look_is_one_sample() {
    let mut state = State::default();
    let of = |in_use| Report::tokens(in_use, 16_000, 6.0, 100.0, 50.0);
    let reports = [of(9000), of(3000), of(5000)];
    stock_after(&Scene::new(vec![variant("variant-a", Role::Both, &reports)]), &mut state);
    let calm = single(Report::tokens(10, 16_000, 0.0, 100.0, 50.0));
    assert_eq!(capacity(&stock_after(&calm, &mut state), "variant-a").0, 5000);
}

/// What a prefill engine can hold says nothing about one that decodes, on the same GPU.
#[test]
fn variants_of_different_roles_are_not_alike() {
    let report = Report::tokens(5000, 50_000, 0.0, 500.0, 100.0);
    for (role, expected) in
        [(Role::Both, CapacityBasis::Compatible), (Role::Prefill, CapacityBasis::Derived)]
    {
        let sibling = variant("variant-a", role, &[report]);
        let scene = Scene::new(vec![sibling, variant("variant-b", Role::Both, &[])]);
        assert_eq!(capacity(&stock(&scene), "variant-b").1, expected, "{role}");
    }
}

#[test]
fn recent_samples_weigh_more() {
    let mut state = State::default();
    let look = |minutes: f64, in_use, queue, state: &mut State| {
        let at = Timestamp::from_seconds(minutes * 60.0);
        let report = Report::tokens(in_use, 16_000, queue, 100.0, 50.0);
        let mut scene = Scene::new(vec![reporting("variant-a", Role::Both, at, &[report])]);
        scene.now = at;
        capacity(&stock_after(&scene, state), "variant-a").0
    };
    look(0.0, 6000, 6.0, &mut state);
    look(30.0, 3000, 6.0, &mut state);
    // One half-life apart: (3000 + 6000 / 2) / 1.5.
    assert_eq!(look(31.0, 10, 0.0, &mut state), 4000);
}

#[test]
fn the_state_survives_its_file_and_the_order_does_not_matter() {
    let reports = [
        Report::tokens(8000, 16_000, 6.0, 100.0, 50.0),
        Report::tokens(7000, 16_000, 9.0, 900.0, 700.0),
        Report::tokens(1000, 12_000, 0.0, 300.0, 20.0),
    ];
    let report = |report: &Report| Report {
        prompt_rate: Some(333.3),
        generation_rate: Some(77.7),
        queue_time: Some(9.0),
        completions: Some(0.7),
        ..*report
    };
    let scene = Scene::new(vec![
        variant("variant-a", Role::Both, &reports.map(|r| report(&r))),
        variant("variant-b", Role::Both, &[report(&reports[1])]),
    ]);
    let mut reversed = scene.clone();
    reversed.variants.reverse();
    reversed.variants.iter_mut().for_each(|variant| variant.replicas.reverse());

    let (mut one, mut other) = (State::default(), State::default());
    assert_eq!(assess(&scene, &mut one), assess(&reversed, &mut other));
    assert_eq!(one, other);
    let text = serde_json::to_string(&one).unwrap();
    let mut restored: State = serde_json::from_str(&text).unwrap();
    assert_eq!(restored, one);
    assert_eq!(assess(&scene, &mut restored), assess(&scene, &mut one));
}

#[test]
fn a_clock_that_is_set_back_leaves_nothing_young_for_ever() {
    let mut state = State::default();
    let mut scene = single(Report::tokens(8000, 16_000, 6.0, 100.0, 50.0));
    scene.now = Timestamp::MAX;
    stock_after(&scene, &mut state);
    let nobody = |now: Timestamp| Scene { now, ..Scene::new(Vec::new()) };
    stock_after(&nobody(Timestamp::from_seconds(5000.0)), &mut state);
    stock_after(&nobody(Timestamp::from_seconds(5000.0 + 8.0 * 86_400.0)), &mut state);
    assert_eq!(state, State::default());
}
