//! The slo analyzer from outside: what it says of a model, and what it learns.

use optimizer::analyzers::Subject;
use optimizer::analyzers::slo::State;
use optimizer::analyzers::slo::replica::{Replica, RequestMix};
use optimizer::assessment::{Abstention, Assessment, Load, Verdict};
use optimizer::forecast::{Expectation, Method, Outlook};
use optimizer::id::{ModelId, Namespace};
use optimizer::observation::{
    Demand, EngineConfig, Lengths, ReplicaObservation, Role, Signal, VariantObservation,
};
use optimizer::policy::{Policy, SloOverride};
use optimizer::slo::Slo;
use optimizer::step_time::StepTime;
use optimizer::units::{
    Fraction, MeanTokens, QueueLength, RequestRate, Seconds, StepRate, Timestamp, TokenRate,
    Tokens, Variation,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::fleet::id;

/// Llama-3.1-8B on one H100, as the simulator's catalog has it.
const H100: StepTime = StepTime {
    overhead: Seconds::from_millis(6.9828),
    per_prompt_token: Seconds::from_millis(0.024_724),
    per_sequence: Seconds::from_millis(0.028_111),
    per_context_token: Seconds::from_millis(4.4063e-5),
};
const KV_CAPACITY: Tokens = Tokens::new(450_656);
const INPUT: f64 = 1000.0;
const OUTPUT: f64 = 250.0;
const SLO: Slo = Slo { ttft: Seconds::new(1.0), tpot: Seconds::from_millis(25.0) };

/// A model at a moment, which tests change.
#[derive(Debug, Clone)]
struct Scene {
    now: Timestamp,
    slo: Option<Slo>,
    demand: Demand,
    outlook: Outlook,
    variants: Vec<VariantObservation>,
    policy: Policy,
}

impl Scene {
    /// Chat at `rate` requests per second, on replicas of one variant with a profile.
    fn at(rate: f64, replicas: usize) -> Self {
        let now = Timestamp::from_seconds(1000.0);
        let mean = |tokens| Lengths {
            mean: Signal::seen(MeanTokens::new(tokens), now),
            variation: Signal::Missing,
        };
        let each = rate / replicas.max(1) as f64;
        let replicas = (0..replicas).map(|idx| busy(&format!("r{idx}"), &H100, each, now));
        Self {
            now,
            slo: Some(SLO),
            demand: Demand {
                arrival_rate: Signal::seen(RequestRate::new(rate), now),
                input: mean(INPUT),
                output: mean(OUTPUT),
                ..Demand::default()
            },
            outlook: Outlook::default(),
            variants: vec![VariantObservation {
                profile: Some(H100),
                engine: EngineConfig { kv_capacity: Some(KV_CAPACITY), ..EngineConfig::default() },
                replicas: replicas.collect(),
                ..VariantObservation::new(id("h100"), id("H100"))
            }],
            policy: Policy::default(),
        }
    }

    fn assess(&self, state: &mut State) -> Assessment {
        let (namespace, model): (Namespace, ModelId) = (id("n"), id("m"));
        let variants: Vec<_> = self.variants.iter().collect();
        state.assess(&Subject {
            now: self.now,
            namespace: &namespace,
            model: &model,
            slo: self.slo,
            demand: &self.demand,
            outlook: &self.outlook,
            variants: &variants,
            policy: &self.policy,
        })
    }

    fn first(&self) -> Assessment {
        self.assess(&mut State::default())
    }

    fn load(&self) -> Load {
        load(&self.first())
    }
}

/// A replica that reports what it would at a steady rate, by the mean of the model: its steps take
/// overhead / (1 − rate · work).
fn busy(name: &str, step: &StepTime, rate: f64, at: Timestamp) -> ReplicaObservation {
    let context = INPUT + OUTPUT / 2.0;
    let work = step.per_prompt_token.value() * INPUT
        + OUTPUT * (step.per_sequence.value() + step.per_context_token.value() * context);
    let time = step.overhead.value() / (1.0 - rate * work);
    let running = rate * time * OUTPUT;
    ReplicaObservation {
        kv_usage: Signal::seen(Fraction::new(running * context / KV_CAPACITY.as_f64()), at),
        waiting: Signal::seen(QueueLength::ZERO, at),
        running: Signal::seen(QueueLength::new(running), at),
        kv_capacity: Signal::seen(KV_CAPACITY, at),
        input_tokens: Signal::seen(MeanTokens::new(INPUT), at),
        output_tokens: Signal::seen(MeanTokens::new(OUTPUT), at),
        completions: Signal::seen(RequestRate::new(rate), at),
        prompt_rate: Signal::seen(TokenRate::new(rate * INPUT), at),
        generation_rate: Signal::seen(TokenRate::new(rate * OUTPUT), at),
        step_rate: Signal::seen(StepRate::new(time.recip()), at),
        itl: Signal::seen(Seconds::new(time), at),
        ttft: Signal::seen(Seconds::new(2.5 * time + 0.025), at),
        ..ReplicaObservation::silent(id(name))
    }
}

fn load(assessment: &Assessment) -> Load {
    let judgment = assessment.judgment().unwrap_or_else(|| panic!("{assessment:?}"));
    judgment.roles[0].variants[0].load.unwrap()
}

fn required(assessment: &Assessment) -> f64 {
    load(assessment).required.value()
}

fn confidence(assessment: &Assessment) -> f64 {
    assessment.judgment().unwrap().confidence.value()
}

fn said(assessment: &Assessment) -> Vec<&'static str> {
    assessment.reasons.iter().map(optimizer::Reason::as_str).collect()
}

fn close(actual: f64, expected: f64, tolerance: f64) {
    assert!((actual / expected - 1.0).abs() <= tolerance, "{actual} is not {expected}");
}

/// What a replica of the scenes sustains.
fn sustained() -> f64 {
    let replica = Replica {
        step_time: H100,
        kv_capacity: Some(KV_CAPACITY),
        block_size: Tokens::new(16),
        max_sequences: EngineConfig::default().max_sequences,
        max_batched_tokens: EngineConfig::default().max_batched_tokens,
        role: Role::Both,
    };
    let mix = RequestMix {
        input: MeanTokens::new(INPUT),
        output: MeanTokens::new(OUTPUT),
        input_variation: Variation::new(1.0),
        output_variation: Variation::new(1.0),
        prefix_hits: Fraction::ZERO,
        burstiness: Variation::new(1.0),
    };
    replica.capacity(&mix, SLO, Fraction::new(0.99)).unwrap().rate.value()
}

#[test]
fn the_load_is_the_demand_over_what_a_replica_sustains() {
    let load = Scene::at(40.0, 4).load();
    close(load.required.value(), 40.0 / sustained(), 0.01);
    close(load.kept.value(), load.required.value() / 0.85, 1e-9);
}

#[test]
fn the_trail_tells_what_was_concluded() {
    let mut scene = Scene::at(40.0, 4);
    scene.demand.gateway_queue = Signal::seen(QueueLength::new(400.0), scene.now);
    scene.slo = Some(Slo { tpot: Seconds::from_millis(5.0), ..SLO });
    let told: Vec<_> = scene.first().reasons.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    slo: up to 40.00 requests/s until 120s from now
    slo: a backlog of 360 requests, to be served within 120s
    slo: a target is out of reach of h100, so it is sized for TTFT 1.000s and TPOT 9.7ms
    slo: a replica of h100 sustains 0.96 requests/s, limited by tpot
    slo: confidence 0.98
    ");
}

#[test]
fn targets_come_from_the_model_then_from_an_override_then_from_the_policy() {
    let mut scene = Scene { slo: None, ..Scene::at(40.0, 4) };
    let silent = scene.first();
    assert_eq!(silent.verdict, Verdict::Abstains(Abstention::NotConfigured));
    assert_eq!(said(&silent), ["slo-no-targets"]);

    let slow = Slo { tpot: Seconds::from_millis(100.0), ..SLO };
    scene.policy.slo.targets = Some(SLO);
    let by_default = required(&scene.first());
    scene.policy.slo.overrides.push(SloOverride {
        model: id("m"),
        namespace: id("n"),
        percentile: None,
        targets: Some(slow),
        margin: None,
    });
    let by_override = required(&scene.first());
    assert!(by_override < 0.9 * by_default, "{by_override} {by_default}");
    scene.slo = Some(SLO);
    close(required(&scene.first()), by_default, 1e-9);
}

#[test]
fn without_signals_it_has_nothing_to_say() {
    let check = |scene: &Scene, signal: &str| {
        let assessment = scene.first();
        assert_eq!(assessment.verdict, Verdict::Abstains(Abstention::SignalsMissing));
        let told = assessment.reasons.last().unwrap().to_string();
        assert!(told.contains(signal), "{told}");
    };
    let scene = Scene::at(40.0, 0);
    let demand = Demand { arrival_rate: Signal::Missing, ..scene.demand };
    check(&Scene { demand, ..scene.clone() }, "arrivalRate");
    let demand = Demand { output: Lengths::default(), ..scene.demand };
    check(&Scene { demand, ..scene.clone() }, "outputTokens");

    // Nobody asks, so that nobody need know for what.
    let mut idle = Scene::at(0.0, 0);
    idle.demand.input = Lengths::default();
    idle.demand.gateway_queue = Signal::seen(QueueLength::ZERO, idle.now);
    assert_eq!(idle.load(), Load::default());
    idle.demand.gateway_queue = Signal::seen(QueueLength::new(1.0), idle.now);
    check(&idle, "inputTokens");
}

/// What has to be carried is what comes until a replica that is asked for now is ready.
#[test]
fn the_forecast_counts_as_far_as_a_cold_start_reaches() {
    let expect = |lead: f64, rate| Expectation {
        lead: Seconds::new(lead),
        expected: RequestRate::new(rate / 2.0),
        upper: RequestRate::new(rate),
        method: Method::Recent,
    };
    let mut scene = Scene::at(40.0, 4);
    scene.outlook = Outlook::new(vec![expect(0.0, 42.0), expect(120.0, 60.0), expect(600.0, 90.0)]);
    close(scene.load().required.value(), 60.0 / sustained(), 0.01);
    scene.variants[0].cold_start = Some(Seconds::new(300.0));
    // Three eighths of the way from 60 to 90.
    close(scene.load().required.value(), 71.25 / sustained(), 0.01);
    scene.variants[0].cold_start = Some(Seconds::ZERO);
    close(scene.load().required.value(), 42.0 / sustained(), 0.01);
}

#[test]
fn a_backlog_is_served_besides_and_a_usual_queue_is_none() {
    let mut scene = Scene::at(40.0, 4);
    let base = scene.load().required.value();
    scene.variants[0].replicas[0].waiting = Signal::seen(QueueLength::new(30.0), scene.now);
    close(scene.load().required.value(), base, 1e-9);
    // 40 of these would be served within the target of 1 s; the rest has the 2 min of a cold start.
    scene.variants[0].replicas[0].waiting = Signal::seen(QueueLength::new(640.0), scene.now);
    close(scene.load().required.value(), base * (40.0 + 5.0) / 40.0, 1e-9);
    assert!(said(&scene.first()).contains(&"slo-backlog"));
    scene.policy.slo.drain_time = Some(Seconds::new(20.0));
    close(scene.load().required.value(), base * (40.0 + 30.0) / 40.0, 1e-9);
}

#[test]
fn each_role_has_its_own_need() {
    let mut scene = Scene::at(40.0, 0);
    let variant = |name: &str, role| VariantObservation {
        variant: id(name),
        role,
        ..scene.variants[0].clone()
    };
    scene.variants = vec![variant("d", Role::Decode), variant("p", Role::Prefill)];
    let assessment = scene.first();
    let roles = &assessment.judgment().unwrap().roles;
    assert_eq!(
        roles.iter().map(|need| need.role).collect::<Vec<_>>(),
        [Role::Prefill, Role::Decode]
    );
    for need in roles {
        let load = need.variants[0].load.unwrap().required.value();
        assert!(load > 0.0 && load < 40.0 / sustained(), "{need:?}");
    }
}

/// The profile says half of what is true: the first samples contradict it, and later ones have been
/// learned from.
#[test]
fn a_profile_that_is_wrong_is_doubted_and_then_corrected() {
    let half = |span: Seconds| span * 0.5;
    let wrong = StepTime {
        overhead: half(H100.overhead),
        per_prompt_token: half(H100.per_prompt_token),
        per_sequence: half(H100.per_sequence),
        per_context_token: half(H100.per_context_token),
    };
    let mut state = State::default();
    let at = |minute: u32| {
        let rate = 30.0 + 12.0 * f64::from(minute).sin();
        let mut scene = Scene::at(rate, 4);
        let now = Timestamp::from_seconds(60.0 * f64::from(minute));
        scene.now = now;
        scene.demand.arrival_rate = Signal::seen(RequestRate::new(rate), now);
        scene.variants[0].profile = Some(wrong);
        for (idx, replica) in scene.variants[0].replicas.iter_mut().enumerate() {
            *replica = busy(&format!("r{idx}"), &H100, rate / 4.0, now);
        }
        (rate, scene)
    };
    let (_, scene) = at(0);
    let first = scene.assess(&mut state);
    assert!(said(&first).contains(&"slo-slower"), "{first:?}");
    assert!(confidence(&first) < 0.6, "{first:?}");
    for minute in 1..60 {
        at(minute).1.assess(&mut state);
    }
    let (rate, scene) = at(60);
    let last = scene.assess(&mut state);
    close(required(&last), rate / sustained(), 0.1);
    assert!(confidence(&last) > 0.8 && !said(&last).contains(&"slo-slower"), "{last:?}");
    // What was learned survives a restart.
    let mut restarted: State =
        serde_json::from_value(serde_json::to_value(&state).unwrap()).unwrap();
    close(required(&scene.assess(&mut restarted)), required(&last), 1e-6);
}

#[test]
fn without_a_profile_it_waits_until_it_has_seen_enough() {
    let mut scene = Scene::at(40.0, 0);
    scene.variants[0].profile = None;
    let nothing = scene.first();
    assert_eq!(nothing.verdict, Verdict::Abstains(Abstention::NotReady));
    assert!(said(&nothing).contains(&"slo-uncertain"));

    let mut state = State::default();
    for minute in 0..120_u32 {
        let each = 5.0 + 4.5 * (f64::from(minute) / 9.0).sin();
        scene.now = Timestamp::from_seconds(2000.0 + 60.0 * f64::from(minute));
        scene.variants[0].replicas = vec![busy("r", &H100, each, scene.now)];
        scene.demand = Scene::at(each, 1).demand;
        scene.demand.arrival_rate = Signal::seen(RequestRate::new(each), scene.now);
        scene.demand.input.mean = Signal::seen(MeanTokens::new(INPUT), scene.now);
        scene.demand.output.mean = Signal::seen(MeanTokens::new(OUTPUT), scene.now);
        scene.assess(&mut state);
    }
    let assessment = scene.assess(&mut state);
    let rate = match scene.demand.arrival_rate {
        Signal::Seen { value, .. } => value.value(),
        Signal::Missing => unreachable!("it was set"),
    };
    close(required(&assessment), rate / sustained(), 0.15);
}

/// Completed requests are still short, but those that run hold twice as much as they could.
#[test]
fn longer_outputs_show_in_the_cache_before_they_complete() {
    let mut scene = Scene::at(40.0, 4);
    let before = scene.load().required.value();
    for replica in &mut scene.variants[0].replicas {
        let Signal::Seen { value, at } = replica.kv_usage else { panic!("it was set") };
        replica.kv_usage = Signal::seen(Fraction::new(2.5 * value.value()), at);
    }
    let assessment = scene.first();
    assert!(said(&assessment).contains(&"slo-longer-contexts"), "{assessment:?}");
    assert!(required(&assessment) > 1.5 * before, "{assessment:?}");
}

#[test]
fn a_time_to_first_token_that_nothing_explains_lowers_confidence() {
    let mut scene = Scene::at(20.0, 4);
    assert!(confidence(&scene.first()) > 0.7);
    for replica in &mut scene.variants[0].replicas {
        replica.ttft = Signal::seen(Seconds::new(3.0), scene.now);
    }
    let doubtful = scene.first();
    assert!(confidence(&doubtful) < 0.1 && said(&doubtful).contains(&"slo-slower"), "{doubtful:?}");
}

#[test]
fn old_signals_are_reported_with_their_age() {
    let mut scene = Scene::at(40.0, 4);
    assert_eq!(scene.first().judgment().unwrap().age, Seconds::ZERO);
    scene.now += Seconds::new(100.0);
    assert_eq!(scene.first().judgment().unwrap().age, Seconds::new(100.0));
}

#[test]
fn the_order_of_replicas_does_not_matter() {
    let mut scene = Scene::at(40.0, 5);
    for (idx, replica) in scene.variants[0].replicas.iter_mut().enumerate() {
        let odd = 1.0 + 0.1 * idx as f64;
        replica.input_tokens = Signal::seen(MeanTokens::new(INPUT * odd), scene.now);
        replica.itl = Signal::seen(Seconds::new(0.011 * odd), scene.now);
    }
    scene.demand.input = Lengths::default();
    let mut reversed = scene.clone();
    reversed.variants[0].replicas.reverse();
    let (mut one, mut other) = (State::default(), State::default());
    assert_eq!(scene.assess(&mut one), reversed.assess(&mut other));
    assert_eq!(one, other);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn more_load_never_asks_for_fewer(rate in 0.1..500.0_f64, factor in 1.0..10.0_f64, queue in 0.0..1e4_f64) {
        let need = |rate: f64, queue: f64| {
            let mut scene = Scene::at(rate, 0);
            scene.demand.gateway_queue = Signal::seen(QueueLength::new(queue), scene.now);
            scene.load().required
        };
        prop_assert!(need(rate, queue) <= need(rate * factor, queue));
        prop_assert!(need(rate, queue) <= need(rate, queue * factor));
    }
}
