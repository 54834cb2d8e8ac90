//! The queueing analyzer: from signals to a load in replicas.

use std::num::NonZeroU32;

use optimizer::Reason;
use optimizer::analyzers::Subject;
use optimizer::analyzers::queueing::State;
use optimizer::assessment::{Abstention, Assessment, Judgment, Load, Verdict};
use optimizer::decision::QueueingReason;
use optimizer::forecast::Outlook;
use optimizer::id::{ModelId, Namespace};
use optimizer::observation::{
    Demand, Lengths, ReplicaObservation, Role, Signal, VariantObservation,
};
use optimizer::policy::{CostTuner, MeanTargets, Policy, ServiceLaw};
use optimizer::queueing::{DEFAULT_TOKEN_BUDGET, IterationCosts, Replica, ServiceModel, Targets};
use optimizer::slo::Slo;
use optimizer::step_time::StepTime;
use optimizer::units::{
    Factor, Fraction, MeanTokens, QueueLength, ReplicaLoad, Replicas, RequestRate, Seconds,
    Timestamp, Tokens, Variation,
};
use proptest::prelude::*;

use super::{near, shape};

mod learning;

/// Prompts of 1024 tokens, answers of 256.
const INPUT: u64 = 1024;
const OUTPUT: u64 = 256;

/// One model with what is known of it; time stands at 1000 s.
#[derive(Debug, Clone)]
struct Scene {
    demand: Demand,
    variants: Vec<VariantObservation>,
    slo: Option<Slo>,
    policy: Policy,
    now: Timestamp,
}

impl Scene {
    /// 40 requests per second, targets of 500 ms and 30 ms, one variant with a profile.
    fn new() -> Self {
        let now = Timestamp::from_seconds(1000.0);
        let mean = |tokens| Lengths {
            mean: Signal::seen(MeanTokens::new(tokens), now),
            variation: Signal::seen(Variation::new(1.0), now),
        };
        let demand = Demand {
            arrival_rate: Signal::seen(RequestRate::new(40.0), now),
            input: mean(INPUT as f64),
            output: mean(OUTPUT as f64),
            ..Demand::default()
        };
        let slo = Slo { ttft: Seconds::from_millis(500.0), tpot: Seconds::from_millis(30.0) };
        let variants = vec![variant("h100", Role::Both)];
        Self { demand, variants, slo: Some(slo), policy: Policy::default(), now }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn assess(&self, state: &mut State) -> Assessment {
        let mut variants: Vec<&VariantObservation> = self.variants.iter().collect();
        variants.sort_by(|a, b| a.variant.cmp(&b.variant));
        let (model, namespace): (ModelId, Namespace) = ("m".parse().unwrap(), "n".parse().unwrap());
        state.assess(&Subject {
            now: self.now,
            namespace: &namespace,
            model: &model,
            slo: self.slo,
            demand: &self.demand,
            outlook: &Outlook::default(),
            variants: &variants,
            policy: &self.policy,
        })
    }

    /// What it says without having seen anything before.
    fn judgment(&self) -> Judgment {
        judgment(&self.assess(&mut State::default()))
    }

    fn load(&self) -> Load {
        load(&self.judgment())
    }

    /// Replicas of a variant with these costs would report this under their share of the demand.
    fn report(&mut self, truth: IterationCosts) {
        let performance = replica(truth).performance(RequestRate::new(8.0));
        let at = self.now;
        let report = |name: &str| ReplicaObservation {
            completions: Signal::seen(RequestRate::new(8.0), at),
            ttft: Signal::seen(performance.ttft, at),
            itl: Signal::seen(performance.itl, at),
            ..ReplicaObservation::silent(name.parse().unwrap())
        };
        self.variants[0].replicas = vec![report("a"), report("b")];
    }
}

#[test]
fn the_load_is_the_demand_over_what_a_replica_serves() {
    let scene = Scene::new().with(|scene| {
        let (ttft, itl) = (Seconds::from_millis(500.0), Seconds::from_millis(30.0));
        let [model, namespace] = ["m", "n"];
        let (model, namespace) = (model.parse().unwrap(), namespace.parse().unwrap());
        scene.policy.queueing.targets = vec![MeanTargets { model, namespace, ttft, itl }];
    });
    let targets = Targets {
        ttft: Some(Seconds::from_millis(500.0)),
        itl: Some(Seconds::from_millis(30.0)),
        ..Targets::default()
    };
    let sizing = replica(costs()).size(&targets).unwrap();
    let served = sizing.performance.steady.throughput.value();
    let load = scene.load();
    near("required", load.required.value(), 40.0 / served / 0.85, 1e-9, 0.0);
    near("kept", load.kept.value(), 40.0 / served / 0.70, 1e-9, 0.0);
}

/// What users are promised holds for a share of them.
#[test]
fn a_larger_share_needs_no_fewer_replicas() {
    let with = |share: Option<f64>| {
        let scene = Scene::new().with(|scene| {
            let (ttft, tpot) = (Seconds::from_millis(150.0), Seconds::new(1.0));
            scene.slo = Some(Slo { ttft, tpot });
            scene.policy.queueing.ttft_share = share.map(Fraction::new);
        });
        scene.load().required
    };
    let loads = [0.5, 0.9, 0.99, 0.9999].map(|share| with(Some(share)));
    assert!(loads.is_sorted() && loads[0] < loads[3], "{loads:?}");
    assert_ne!(with(None), with(Some(0.5)));
}

/// The trail of one step, without and with an observation.
#[test]
fn the_trail_tells_how_it_came_to_its_number() {
    let mut scene = Scene::new();
    scene.slo = Some(Slo { ttft: Seconds::from_millis(20.0), tpot: Seconds::from_millis(30.0) });
    scene.report(costs());
    scene.variants.push(VariantObservation::new("l40s".parse().unwrap(), "l40s".parse().unwrap()));
    let sentences = sentences(&scene.assess(&mut State::default()));
    insta::assert_snapshot!(sentences, @r"
    queueing: 40.00/s arrive, and 0.0 wait, to be served within 1m
    queueing: the costs of h100 were observed in 1.1 of 3 directions
    queueing: nothing tells how long an iteration of l40s takes
    queueing: h100 cannot keep ttft 20.0ms under load: without any it is 38.1ms
    queueing: a replica of h100 serves 17.381/s at TTFT 84.6ms, ITL 30.0ms
    ");
    scene.slo = None;
    scene.demand.arrival_rate = Signal::Missing;
    let sentences = self::sentences(&scene.assess(&mut State::default()));
    insta::assert_snapshot!(sentences, @"queueing: nothing reports arrivalRate");
}

/// The original takes its total capacity from the replicas that are desired and anticipates none,
/// so that it never asks for a replica, or for more each time.
#[test]
fn what_a_model_needs_does_not_depend_on_what_it_has() {
    let with = |current: u32, ready: u32| {
        let scene = Scene::new().with(|scene| {
            scene.variants[0].current = Replicas::new(current);
            scene.variants[0].ready = Replicas::new(ready);
        });
        scene.load()
    };
    let load = with(0, 0);
    assert!(load.required > ReplicaLoad::new(1.0));
    for (current, ready) in [(1, 1), (9, 1), (9, 9), (500, 0)] {
        assert_eq!(with(current, ready), load, "{current} {ready}");
    }
}

#[test]
fn what_waits_is_served_within_the_drain_time_besides() {
    let queued = |drain: f64| {
        let scene = Scene::new().with(|scene| {
            scene.demand.gateway_queue = Signal::seen(QueueLength::new(300.0), scene.now);
            let mut replica = ReplicaObservation::silent("a".parse().unwrap());
            replica.waiting = Signal::seen(QueueLength::new(300.0), scene.now);
            scene.variants[0].replicas = vec![replica];
            scene.policy.queueing.drain_time = Seconds::new(drain);
        });
        scene.load().required.value()
    };
    let steady = Scene::new().load().required.value();
    near("60 s", queued(60.0), steady * 50.0 / 40.0, 1e-9, 0.0);
    near("0 s", queued(0.0), steady, 1e-12, 0.0);
}

#[test]
fn it_abstains_when_it_cannot_know() {
    let check = |change: fn(&mut Scene), why: Abstention| {
        let assessment = Scene::new().with(change).assess(&mut State::default());
        assert_eq!(assessment.verdict, Verdict::Abstains(why), "{:?}", assessment.reasons);
        assert!(!assessment.reasons.is_empty());
    };
    check(|it| it.demand.arrival_rate = Signal::Missing, Abstention::SignalsMissing);
    check(|it| it.demand.input = Lengths::default(), Abstention::SignalsMissing);
    check(|it| it.demand.output = Lengths::default(), Abstention::SignalsMissing);
    check(|it| it.variants[0].profile = None, Abstention::NotReady);
    check(|it| it.variants.clear(), Abstention::NotReady);
    check(
        |it| {
            it.slo = None;
            it.policy.queueing.slo_multiplier = Factor::ZERO;
        },
        Abstention::NotConfigured,
    );
    // A budget of no tokens can process no prompt.
    check(|it| it.variants[0].engine.max_batched_tokens = Tokens::ZERO, Abstention::Unreliable);
}

/// Nothing arrives: nothing is needed, whatever else is missing.
#[test]
fn no_demand_needs_no_replica() {
    let scene = Scene::new().with(|scene| {
        scene.demand = Demand {
            arrival_rate: Signal::seen(RequestRate::ZERO, scene.now),
            ..Demand::default()
        };
        scene.variants[0].profile = None;
    });
    assert_eq!(scene.load(), Load::default());
    assert_eq!(scene.judgment().confidence, Fraction::ONE);
}

#[test]
fn the_age_is_that_of_the_oldest_signal_in_use() {
    let scene = Scene::new().with(|scene| {
        scene.demand.input.mean =
            Signal::seen(MeanTokens::new(1024.0), Timestamp::from_seconds(900.0));
    });
    assert_eq!(scene.judgment().age, Seconds::new(100.0));
    assert_eq!(Scene::new().judgment().age, Seconds::ZERO);
}

/// The lengths that replicas report take the place of the gateway's.
#[test]
fn replicas_tell_lengths_where_the_gateway_does_not() {
    let scene = Scene::new().with(|scene| {
        let at = scene.now;
        scene.demand.input = Lengths::default();
        scene.demand.output = Lengths::default();
        let report = |name: &str, input, output| ReplicaObservation {
            input_tokens: Signal::seen(MeanTokens::new(input), at),
            output_tokens: Signal::seen(MeanTokens::new(output), at),
            ..ReplicaObservation::silent(name.parse().unwrap())
        };
        scene.variants[0].replicas = vec![report("a", 1000.0, 200.0), report("b", 1048.0, 312.0)];
    });
    assert_eq!(scene.load(), Scene::new().load());
}

#[test]
fn targets_that_nobody_sets_follow_from_the_costs() {
    let scene = Scene::new().with(|scene| scene.slo = None);
    let with = |multiplier| {
        let scene =
            scene.clone().with(|it| it.policy.queueing.slo_multiplier = Factor::new(multiplier));
        scene.load().required
    };
    assert!(with(3.0) > with(4.0) && with(4.0) > with(5.0));
    let reasons = scene.assess(&mut State::default()).reasons;
    let is_told = |reason: &Reason| {
        matches!(reason, Reason::Queueing(QueueingReason::TargetsInferred { .. }))
    };
    assert!(reasons.iter().any(is_told), "{reasons:?}");
}

/// A target that no load keeps is told, with what is reachable, and the other one still binds.
#[test]
fn a_target_out_of_reach_asks_for_a_stable_fleet_and_not_for_an_endless_one() {
    let with = |ttft: f64, tpot: f64| {
        let (ttft, tpot) = (Seconds::from_millis(ttft), Seconds::from_millis(tpot));
        Scene::new().with(|scene| scene.slo = Some(Slo { ttft, tpot }))
    };
    let told = |scene: &Scene| {
        let reasons = scene.assess(&mut State::default()).reasons.into_iter();
        let latencies = reasons.filter_map(|reason| match reason {
            Reason::Queueing(QueueingReason::OutOfReach { latency, .. }) => Some(latency),
            _ => None,
        });
        latencies.collect::<Vec<_>>()
    };
    let (no_ttft, no_itl, neither) = (with(1.0, 30.0), with(500.0, 1.0), with(1.0, 1.0));
    assert_eq!(told(&no_ttft), ["ttft"]);
    assert_eq!(told(&no_itl), ["itl"]);
    assert_eq!(told(&neither), ["ttft", "itl"]);
    let stable = replica(costs()).max_rate().value() * 0.9;
    near("neither", neither.load().required.value(), 40.0 / stable / 0.85, 1e-3, 0.0);
    assert!(no_ttft.load().required >= neither.load().required);
    // A target that is met by next to no load is as good as out of reach.
    let idle = replica(costs()).performance(RequestRate::ZERO);
    let barely = with(idle.ttft.as_millis() * (1.0 + 1e-9), 30.0);
    assert_eq!(told(&barely), ["ttft"]);
    assert!(barely.load().required < ReplicaLoad::new(100.0));
}

/// A prefill replica keeps the time to first token, a decode replica the time between tokens.
#[test]
fn a_role_answers_for_its_phase() {
    let with = |ttft: f64, tpot: f64| {
        let (ttft, tpot) = (Seconds::from_millis(ttft), Seconds::from_millis(tpot));
        let scene = Scene::new().with(|scene| {
            scene.slo = Some(Slo { ttft, tpot });
            scene.variants = vec![variant("d", Role::Decode), variant("p", Role::Prefill)];
        });
        let judgment = scene.judgment();
        let [prefill, decode] = &judgment.roles[..] else { panic!("{judgment:?}") };
        assert_eq!((prefill.role, decode.role), (Role::Prefill, Role::Decode));
        [prefill, decode].map(|role| role.variants[0].load.unwrap().required)
    };
    let [prefill, decode] = with(300.0, 30.0);
    let [prefill_tight, decode_same] = with(80.0, 30.0);
    assert!(prefill_tight > prefill && decode_same == decode);
    let [prefill_same, decode_tight] = with(300.0, 12.0);
    assert!(prefill_same == prefill && decode_tight > decode);
}

#[test]
fn the_kv_cache_limits_the_batch() {
    let with = |tokens: Option<u64>| {
        let scene = Scene::new().with(|scene| {
            scene.slo = Some(Slo { ttft: Seconds::new(5.0), tpot: Seconds::new(1.0) });
            scene.variants[0].engine.kv_capacity = tokens.map(Tokens::new);
        });
        scene.load().required
    };
    assert_eq!(with(Some(256 * (INPUT + OUTPUT))), with(None));
    assert!(with(Some(20 * (INPUT + OUTPUT))) > with(None) * 1.5);
    assert!(with(Some(1)) > with(None));
}

#[test]
fn every_law_has_an_answer() {
    for law in [ServiceLaw::V0, ServiceLaw::V1, ServiceLaw::V1b, ServiceLaw::V2] {
        let load = Scene::new().with(|scene| scene.policy.queueing.law = law).load();
        assert!((1.5..8.0).contains(&load.required.value()), "{law:?}: {load:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn more_load_never_asks_for_fewer_replicas(
        rate in 0.0..500.0_f64,
        more in 0.0..500.0_f64,
        waiting in 0.0..500.0_f64,
        longer in 0.0..500.0_f64,
        reporting: bool,
    ) {
        let with = |rate: f64, waiting: f64| {
            let scene = Scene::new().with(|scene| {
                if reporting {
                    scene.report(scaled(1.1));
                }
                scene.demand.arrival_rate = Signal::seen(RequestRate::new(rate), scene.now);
                scene.demand.gateway_queue = Signal::seen(QueueLength::new(waiting), scene.now);
            });
            scene.load()
        };
        let (less, more) = (with(rate, waiting), with(rate + more, waiting + longer));
        prop_assert!(less.required <= more.required && less.kept <= more.kept);
        prop_assert!(less.required <= less.kept);
    }

    /// Whatever is reported, there is no panic, and every number is finite.
    #[test]
    fn nothing_that_is_observed_breaks_it(
        numbers in prop::collection::vec(extreme(), 12),
        sequences in prop_oneof![Just(1_u32), 2..2000_u32, Just(u32::MAX)],
        cache: u64,
        role in prop_oneof![Just(Role::Both), Just(Role::Prefill), Just(Role::Decode)],
        law in prop_oneof![Just(ServiceLaw::V0), Just(ServiceLaw::V1), Just(ServiceLaw::V2)],
        tuner in prop_oneof![Just(CostTuner::Kalman), Just(CostTuner::Window)],
        profiled: bool,
        promised: bool,
    ) {
        let seconds = |idx: usize| Seconds::new(numbers[idx]);
        let scene = Scene::new().with(|scene| {
            let at = scene.now;
            scene.demand.arrival_rate = Signal::seen(RequestRate::new(numbers[0]), at);
            scene.demand.input.mean = Signal::seen(MeanTokens::new(numbers[1]), at);
            scene.demand.output.mean = Signal::seen(MeanTokens::new(numbers[2]), at);
            scene.slo = promised.then(|| Slo { ttft: seconds(3), tpot: seconds(4) });
            scene.policy.queueing.law = law;
            scene.policy.queueing.tuner = tuner;
            scene.report(costs());
            let variant = &mut scene.variants[0];
            variant.role = role;
            variant.engine.max_sequences = NonZeroU32::new(sequences).unwrap();
            variant.engine.kv_capacity = Some(Tokens::new(cache));
            variant.profile = profiled.then(|| StepTime {
                overhead: seconds(5),
                per_prompt_token: seconds(6),
                per_sequence: seconds(7),
                per_context_token: seconds(8),
            });
            let replica = &mut variant.replicas[0];
            replica.ttft = Signal::seen(seconds(9), at);
            replica.itl = Signal::seen(seconds(10), at);
            replica.completions = Signal::seen(RequestRate::new(numbers[11]), at);
        });
        let mut state = State::default();
        let assessment = scene.assess(&mut state);
        prop_assert!(serde_json::to_string(&assessment).is_ok());
        let json = serde_json::to_string(&state).unwrap();
        prop_assert!(serde_json::from_str::<State>(&json).is_ok(), "{json}");
    }
}

/// A number that is not negative, of any size.
fn extreme() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(f64::MIN_POSITIVE),
        Just(f64::MAX),
        Just(1e18),
        (-12.0..12.0_f64).prop_map(|power| 10_f64.powf(power)),
        (-2.0..4.0_f64).prop_map(|power| 10_f64.powf(power)),
    ]
}

fn judgment(assessment: &Assessment) -> Judgment {
    let judgment = assessment.judgment();
    judgment.unwrap_or_else(|| panic!("it abstains: {:?}", assessment.reasons)).clone()
}

fn scene_judgment(scene: &Scene, state: &mut State) -> Judgment {
    judgment(&scene.assess(state))
}

fn load(judgment: &Judgment) -> Load {
    judgment.roles[0].variants[0].load.unwrap()
}

fn sentences(assessment: &Assessment) -> String {
    let reasons = assessment.reasons.iter();
    reasons.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn variant(name: &str, role: Role) -> VariantObservation {
    VariantObservation {
        role,
        profile: Some(profile(1.0)),
        ..VariantObservation::new(name.parse().unwrap(), "h100".parse().unwrap())
    }
}

/// A step time of which the law has the costs [`scaled`].
fn profile(factor: f64) -> StepTime {
    let costs = scaled(factor);
    StepTime {
        overhead: costs.overhead,
        per_prompt_token: costs.compute_per_token,
        per_sequence: costs.compute_per_token,
        per_context_token: costs.read_per_token,
    }
}

fn costs() -> IterationCosts {
    scaled(1.0)
}

/// Llama-3.1-8B on one H100, slower by a factor.
fn scaled(factor: f64) -> IterationCosts {
    let time = |millis: f64| Seconds::from_millis(millis) * factor;
    IterationCosts {
        overhead: time(6.711_34),
        compute_per_token: time(0.024_17),
        read_per_token: time(4.538e-5),
    }
}

fn replica(costs: IterationCosts) -> Replica {
    let model = ServiceModel::V2 { costs, token_budget: DEFAULT_TOKEN_BUDGET };
    let max_batch = NonZeroU32::new(256).unwrap();
    Replica::new(model, shape(INPUT, OUTPUT), max_batch, 2560).unwrap()
}
