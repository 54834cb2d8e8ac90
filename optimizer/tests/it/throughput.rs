//! The throughput analyzer: the workload-variant-autoscaler 0.9's test vectors (group C), and what
//! we do better. The vectors on lines, shapes and windows stand beside the code.

use optimizer::analyzers::throughput::{Flow, State, VariantFlow};
use optimizer::assessment::{Abstention, Assessment, Verdict};
use optimizer::decision::Reason;
use optimizer::observation::{Role, Signal, VariantObservation};
use optimizer::step_time::StepTime;
use optimizer::units::{
    Fraction, MeanTokens, QueueLength, ReplicaLoad, Replicas, RequestRate, Seconds, Timestamp,
};

use crate::fleet::id;
use crate::scene::{Report, Scene, reporting, variant};

/// ITL(k) = 0.073 · k + 0.006, the line of the vectors.
const SLOPE: f64 = 0.073;
const INTERCEPT: f64 = 0.006;

/// What one engine of the vectors generates when it is full.
const FULL: f64 = 2_780.564_163;

/// An engine of the vectors at a KV usage, which follows the line.
fn engine(kv_usage: f64) -> Report {
    let itl = SLOPE * kv_usage + INTERCEPT;
    Report {
        kv_usage: Some(kv_usage),
        kv_capacity: Some(1_024_000),
        waiting: Some(0.0),
        input: Some(5000.0),
        output: Some(200.0),
        hits: Some(0.1),
        completions: Some(1.0),
        generation_rate: Some(kv_usage * 1_024_000.0 / 4600.0 / itl),
        itl: Some(itl),
        ..Report::default()
    }
}

fn flow(scene: &Scene, state: &mut State) -> Option<Flow> {
    scene.ask(|subject| state.flow(subject))
}

fn assess(scene: &Scene, state: &mut State) -> Assessment {
    scene.ask(|subject| state.assess(subject))
}

fn names(assessment: &Assessment) -> Vec<&'static str> {
    assessment.reasons.iter().map(Reason::as_str).collect()
}

fn both(reports: &[Report]) -> Scene {
    Scene::new(vec![variant("variant-a", Role::Both, reports)])
}

/// The scene at another time, where all that engines report is as old.
fn at(seconds: f64, role: Role, reports: &[Report]) -> Scene {
    let now = Timestamp::from_seconds(seconds);
    Scene { now, ..Scene::new(vec![reporting("variant-a", role, now, reports)]) }
}

#[track_caller]
fn assert_close(name: &str, found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-4, "{name}: {found} instead of {expected}");
}

/// TA-02 to TA-04, TA-06, TA-07 and TA-11: (arrivals, completions, gateway queue).
#[test]
fn demand_stands_against_what_a_full_engine_generates() {
    for (name, [arrivals, completions, queue], demand) in [
        ("TA-03", [5.0, 1.0, 0.0], 1000.0),
        ("TA-04", [15.0, 1.0, 0.0], 3000.0),
        ("TA-06", [8.0, 999.0, 0.0], 1600.0),
        ("TA-07", [0.0, 20.0, 0.0], 0.0),
        ("TA-11", [7.0, 1.0, 10.0], 1_473.475_386),
    ] {
        let report = Report { completions: Some(completions), ..engine(0.5) };
        let mut scene = both(&[report]).arriving(arrivals);
        scene.demand.gateway_queue = scene.seen(QueueLength::new(queue));
        let flow = flow(&scene, &mut State::default()).unwrap();
        let balance = flow.role(Role::Both).unwrap();
        assert_close(name, balance.demand, demand);
        assert_close("TA-02", balance.supply, FULL);
        assert_close("TA-02", balance.anticipated, FULL);
        assert_close("TA-02", flow.variants[0].capacity.unwrap().value(), FULL);
    }
}

/// TA-05: a replica without a cache is still starting.
#[test]
fn a_starting_replica_is_pending() {
    let starting = Report { kv_usage: Some(0.0), kv_capacity: Some(0), ..engine(0.5) };
    let mut scene = both(&[engine(0.5), starting]).arriving(5.0);
    scene.variants[0].ready = Replicas::new(1);
    let flow = flow(&scene, &mut State::default()).unwrap();
    let VariantFlow { engines, pending, .. } = flow.variants[0];
    assert_eq!((engines, pending), (1, 1));
    let balance = flow.role(Role::Both).unwrap();
    assert_close("supply", balance.supply, FULL);
    assert_close("anticipated", balance.anticipated, 5_561.128_326);
}

/// TA-08: the mean output is weighted by replicas.
#[test]
fn each_replica_counts_once_in_the_mean_output() {
    let of = |output| Report { output: Some(output), ..engine(0.5) };
    let scene = Scene::new(vec![
        variant("v-light", Role::Both, &[of(100.0)]),
        variant("v-heavy", Role::Both, &[of(300.0); 3]),
    ]);
    let flow = flow(&scene.arriving(10.0), &mut State::default()).unwrap();
    assert_close("TA-08", flow.role(Role::Both).unwrap().demand, 2500.0);
}

/// TA-10: each of 100 requests asks for one token in twice 50 ms. The line through (0.5, 29.25 ms)
/// and 6 ms has 45.525 ms for a full engine; one through (0.85, 50 ms) has 50 ms.
#[test]
fn a_waiting_request_asks_for_a_token_now_and_then() {
    let full = Report { itl: Some(0.05), ..engine(0.85) };
    for (name, queue, expected) in
        [("100", Some(100.0), 1000.0), ("nil", None, 0.0), ("0", Some(0.0), 0.0)]
    {
        let mut scene = both(&[full]).arriving(0.0);
        if let Some(queue) = queue {
            scene.demand.gateway_queue = scene.seen(QueueLength::new(queue));
        }
        let flow = flow(&scene, &mut State::default()).unwrap();
        assert_close(name, flow.role(Role::Both).unwrap().demand, expected);
    }
    // Those that wait in an engine ask for the same.
    let scene = both(&[Report { waiting: Some(100.0), ..full }]).arriving(0.0);
    let flow = flow(&scene, &mut State::default()).unwrap();
    assert_close("in the engine", flow.role(Role::Both).unwrap().demand, 1000.0);
}

/// TA-12: two points are too few for a line with two parameters.
#[test]
fn a_few_points_give_a_slope() {
    let scene = both(&[engine(0.2), engine(0.8)]).arriving(5.0);
    let line = flow(&scene, &mut State::default()).unwrap().variants[0].line.unwrap();
    assert_close("A", line.slope(), SLOPE);
    assert_close("B", line.intercept(), INTERCEPT);
    assert_eq!(
        assess(&scene, &mut State::default()).judgment().unwrap().confidence,
        Fraction::new(0.5)
    );
}

/// TA-15: caches of 65 536 and 131 072 tokens, requests of 1024 and 50 ms between tokens of a full
/// engine; a third engine has no cache yet.
#[test]
fn an_engine_counts_by_its_cache() {
    let of = |size| Report {
        kv_usage: Some(0.85),
        kv_capacity: Some(size),
        input: Some(1000.0),
        output: Some(48.0),
        hits: Some(0.0),
        itl: Some(0.05),
        generation_rate: None,
        ..engine(0.85)
    };
    let mut scene = both(&[of(65_536), of(131_072), of(0)]).arriving(1.0);
    scene.variants[0].ready = Replicas::new(2);
    let flow = flow(&scene, &mut State::default()).unwrap();
    assert_close("per replica", flow.variants[0].capacity.unwrap().value(), 1632.0);
    assert_eq!(flow.variants[0].engines, 2);
    assert_close("total", flow.role(Role::Both).unwrap().supply, 3264.0);
}

/// TA-17: the line says 2618.93 tokens/s at half the cache.
#[test]
fn engines_are_held_against_their_line() {
    for (observed, is_missed) in
        [(2277.0, true), (2277.4, false), (2618.9, false), (3081.0, false), (3081.2, true)]
    {
        let report = Report { generation_rate: Some(observed), ..engine(0.5) };
        let assessment = assess(&both(&[report]).arriving(5.0), &mut State::default());
        let found = names(&assessment).contains(&"throughput-line-missed");
        assert_eq!(found, is_missed, "{observed}");
        let confidence = assessment.judgment().unwrap().confidence;
        assert_eq!(confidence == Fraction::ZERO, is_missed, "{observed}");
    }
}

/// The original gives the line up and goes on voting (issue 1261). Here it abstains until engines
/// follow a line again.
#[test]
fn a_line_that_is_missed_is_given_up() {
    let mut state = State::default();
    let mut step = |number: u32, report: Report| {
        let scene = at(1000.0 + f64::from(number) * 15.0, Role::Both, &[report]);
        assess(&scene.arriving(5.0), &mut state).verdict
    };
    let off = Report { generation_rate: Some(1000.0), ..engine(0.5) };
    assert!(matches!(step(0, off), Verdict::Speaks(_)));
    // A replica that is nearly idle proves nothing.
    let idle = Report { generation_rate: Some(1.0), ..engine(0.2) };
    assert!(matches!(step(1, idle), Verdict::Speaks(_)));
    assert!(matches!(step(2, off), Verdict::Speaks(_)));
    let unreliable = Verdict::Abstains(Abstention::Unreliable);
    for number in 3..6 {
        assert_eq!(step(number, off), unreliable, "{number}");
    }
    assert!(matches!(step(6, engine(0.5)), Verdict::Speaks(_)));
    assert!(matches!(step(7, off), Verdict::Speaks(_)));
}

/// Issue 1498 of the original: a missing rate reads as no demand, and replicas go.
#[test]
fn a_missing_arrival_rate_is_no_demand_of_zero() {
    let assessment = assess(&both(&[engine(0.5)]), &mut State::default());
    assert_eq!(assessment.verdict, Verdict::Abstains(Abstention::SignalsMissing));
    insta::assert_snapshot!(assessment.reasons[0], @"throughput: nothing reports arrivalRate");

    let none = both(&[Report { output: None, ..engine(0.5) }]).arriving(5.0);
    let assessment = assess(&none, &mut State::default());
    assert_eq!(assessment.verdict, Verdict::Abstains(Abstention::SignalsMissing));

    // TA-07 again: none arrives and 20 complete. One of the two counts something else.
    let report = Report { completions: Some(20.0), ..engine(0.5) };
    let assessment = assess(&both(&[report]).arriving(0.0), &mut State::default());
    assert_eq!(names(&assessment)[0], "throughput-arrivals-contradicted");
    assert_eq!(assessment.judgment().unwrap().confidence, Fraction::ZERO);
}

/// Long requests end seldom. Until the next one does, the last ones tell what they are like.
#[test]
fn lengths_outlast_a_lull() {
    let mut state = State::default();
    assess(&at(1000.0, Role::Both, &[engine(0.5)]).arriving(5.0), &mut state);
    let lull = Report { input: None, output: None, completions: Some(0.0), ..engine(0.5) };
    let assessment = assess(&at(1015.0, Role::Both, &[lull]).arriving(5.0), &mut state);
    let required = assessment.judgment().unwrap().roles[0].variants[0].load.unwrap().required;
    assert_close("load", required.value(), 1000.0 / (FULL * 0.85));
}

#[test]
fn other_hardware_is_another_variant() {
    let mut state = State::default();
    assess(&at(1000.0, Role::Both, &[engine(0.5)]).arriving(5.0), &mut state);
    let mut moved = at(1015.0, Role::Both, &[engine(0.5)]).arriving(5.0);
    moved.variants[0].accelerator = id("L40S");
    let assessment = assess(&moved, &mut state);
    assert_eq!(assessment.verdict, Verdict::Abstains(Abstention::NotReady));
}

/// The gateway tells the length of outputs before the first of them ends.
#[test]
fn the_gateway_goes_before_what_completed() {
    let mut scene = both(&[engine(0.5)]).arriving(5.0);
    scene.demand.output.mean = scene.seen(MeanTokens::new(400.0));
    let flow = flow(&scene, &mut State::default()).unwrap();
    assert_close("demand", flow.role(Role::Both).unwrap().demand, 2000.0);
}

#[test]
fn prefill_gets_no_opinion() {
    let prefill = variant("variant-p", Role::Prefill, &[engine(0.5)]);
    let decode = variant("variant-d", Role::Decode, &[engine(0.5)]);
    let scene = Scene::new(vec![prefill.clone(), decode]).arriving(5.0);
    let assessment = assess(&scene, &mut State::default());
    let sentences: Vec<_> = assessment.reasons.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(sentences.join("\n"), @r"
    throughput: no opinion on prefill
    throughput: an engine of variant-d generates 2780.6 tokens/s when full, with 68.0ms between tokens (fitted to a few points)
    throughput: 1000.0 tokens/s are asked of the role decode
    ");
    let roles: Vec<_> = assessment.judgment().unwrap().roles.iter().map(|need| need.role).collect();
    assert_eq!(roles, [Role::Decode]);
    let required = assessment.judgment().unwrap().roles[0].variants[0].load.unwrap().required;
    assert_close("load", required.value(), 1000.0 / (FULL * 0.85));
    assert_eq!(names(&assessment)[0], "throughput-no-model");

    let alone = assess(&Scene::new(vec![prefill]).arriving(5.0), &mut State::default());
    assert_eq!(alone.verdict, Verdict::Abstains(Abstention::NotReady));
}

#[test]
fn roles_share_the_demand_by_their_replicas() {
    let scene = Scene::new(vec![
        variant("variant-b", Role::Both, &[engine(0.5); 3]),
        variant("variant-d", Role::Decode, &[engine(0.5)]),
        variant("variant-p", Role::Prefill, &[engine(0.5); 5]),
    ]);
    let flow = flow(&scene.arriving(20.0), &mut State::default()).unwrap();
    assert_close("both", flow.role(Role::Both).unwrap().demand, 3000.0);
    assert_close("decode", flow.role(Role::Decode).unwrap().demand, 1000.0);
    assert_eq!(flow.role(Role::Prefill), None);
}

/// The intercept of 6 ms comes from an H100.
#[test]
fn another_gpu_needs_a_profile_or_more_points() {
    let mut scene = both(&[engine(0.2), engine(0.8)]).arriving(5.0);
    scene.variants[0].accelerator = id("L40S");
    let assessment = assess(&scene, &mut State::default());
    assert_eq!(assessment.verdict, Verdict::Abstains(Abstention::NotReady));
    assert_eq!(names(&assessment), ["throughput-not-ready"]);

    scene.variants[0].profile = Some(StepTime {
        overhead: Seconds::from_millis(10.0),
        per_prompt_token: Seconds::ZERO,
        per_sequence: Seconds::ZERO,
        per_context_token: Seconds::ZERO,
    });
    let line = flow(&scene, &mut State::default()).unwrap().variants[0].line.unwrap();
    assert_close("B", line.intercept(), 0.010);
}

/// Ten points over 0.30 of the cache: a line with two parameters, on any GPU. Other lengths are
/// another workload, whose line is not known yet but for its intercept.
#[test]
fn many_points_give_a_line_until_the_requests_change() {
    let mut state = State::default();
    let l40s = |number: u32, report: Report| {
        let mut scene = at(1000.0 + f64::from(number) * 15.0, Role::Both, &[report]);
        scene.variants[0].accelerator = id("L40S");
        scene.arriving(5.0)
    };
    for number in 0..10 {
        let assessment = assess(&l40s(number, engine(0.3 + 0.04 * f64::from(number))), &mut state);
        let speaks = assessment.judgment().map(|judgment| judgment.confidence);
        assert_eq!(speaks, (number == 9).then_some(Fraction::ONE), "{number}");
    }
    // Given up, nothing of it is left.
    let mut missed = state.clone();
    let off = Report { generation_rate: Some(1.0), ..engine(0.5) };
    for number in 10..13 {
        assess(&l40s(number, off), &mut missed);
    }
    assert_eq!(flow(&l40s(13, engine(0.5)), &mut missed).unwrap().variants[0].line, None);

    let moved = Report { input: Some(6100.0), generation_rate: None, ..engine(0.5) };
    let found = &flow(&l40s(10, moved), &mut state.clone()).unwrap().variants[0];
    assert_close("B", found.line.unwrap().intercept(), INTERCEPT);
    let confidence = assess(&l40s(10, moved), &mut state).judgment().unwrap().confidence;
    assert_eq!(confidence, Fraction::new(0.5));
}

#[test]
fn a_variant_without_replicas_could_do_what_it_did() {
    let mut state = State::default();
    assess(&both(&[engine(0.5)]).arriving(5.0), &mut state);
    let gone = |minutes: f64| {
        let scene = at(1000.0 + minutes * 60.0, Role::Both, &[]).arriving(5.0);
        let mut scene = scene;
        scene.demand.output.mean = scene.seen(MeanTokens::new(200.0));
        scene
    };
    let assessment = assess(&gone(59.0), &mut state.clone());
    let required = assessment.judgment().unwrap().roles[0].variants[0].load.unwrap().required;
    assert_close("load", required.value(), 1000.0 / (FULL * 0.85));
    let assessment = assess(&gone(61.0), &mut state);
    assert_eq!(assessment.verdict, Verdict::Abstains(Abstention::NotReady));
}

/// A ready variant of which nothing is known carries a part that is not known either.
#[test]
fn one_variant_without_a_line_silences_its_role() {
    let mut other = variant("variant-b", Role::Both, &[engine(0.5)]);
    other.accelerator = id("L40S");
    let scene = Scene::new(vec![variant("variant-a", Role::Both, &[engine(0.5)]), other.clone()]);
    let assessment = assess(&scene.arriving(5.0), &mut State::default());
    assert_eq!(assessment.verdict, Verdict::Abstains(Abstention::NotReady));

    // Without replicas it carries nothing, and none is added on this analyzer's word.
    other = VariantObservation { accelerator: id("L40S"), ..variant("variant-b", Role::Both, &[]) };
    let scene = Scene::new(vec![variant("variant-a", Role::Both, &[engine(0.5)]), other]);
    let assessment = assess(&scene.arriving(5.0), &mut State::default());
    let needs = &assessment.judgment().unwrap().roles[0].variants;
    assert!(needs[0].load.unwrap().required > ReplicaLoad::ZERO);
    assert_eq!(needs[1].load, None);
}

#[test]
fn the_state_survives_its_file_and_the_order_does_not_matter() {
    // Binary fractions, since not every reader of JSON gets the last bit of the others right.
    let report = |n: u32| Report { hits: Some(0.25), ..engine(0.1875 + f64::from(n) / 32.0) };
    let reports: Vec<_> = (0..12).map(report).collect();
    let scene = both(&reports).arriving(5.0);
    let mut reversed = scene.clone();
    reversed.variants[0].replicas.reverse();
    let (mut one, mut other) = (State::default(), State::default());
    assert_eq!(assess(&scene, &mut one), assess(&reversed, &mut other));
    assert_eq!(one, other);
    let text = serde_json::to_string(&one).unwrap();
    let mut restored: State = serde_json::from_str(&text).unwrap();
    assert_eq!(restored, one);
    assert_eq!(assess(&scene, &mut restored), assess(&scene, &mut one));
}

#[test]
fn a_stale_signal_shows_in_the_age_and_draws_no_line() {
    let mut scene = both(&[engine(0.5)]).arriving(5.0);
    let sampled = Timestamp::from_seconds(900.0);
    let old = reporting("variant-a", Role::Both, sampled, &[engine(0.5)]);
    scene.variants = vec![old];
    let assessment = assess(&scene, &mut State::default());
    assert_eq!(assessment.verdict, Verdict::Abstains(Abstention::NotReady));

    let mut scene = both(&[engine(0.5)]);
    scene.demand.arrival_rate = Signal::seen(RequestRate::new(5.0), sampled);
    let assessment = assess(&scene, &mut State::default());
    assert_eq!(assessment.judgment().unwrap().age, Seconds::new(100.0));
}
