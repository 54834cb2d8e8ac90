//! What holds of an analyzer, whatever it sees.

use std::fmt::Debug;

use optimizer::analyzers::{Subject, throughput, tokens};
use optimizer::assessment::Assessment;
use optimizer::observation::{Role, VariantObservation};
use optimizer::policy::Policy;
use optimizer::units::{
    Bytes, Fraction, MeanTokens, QueueLength, Replicas, RequestRate, Seconds, Timestamp,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Report, Scene, reporting};
use crate::fleet::id;

/// Everyday numbers and the ends of the range.
fn number() -> impl Strategy<Value = f64> {
    select(vec![0.0, f64::MIN_POSITIVE, 1e-9, 0.02, 1.0, 6.0, 100.0, 5000.0, 1e300, f64::MAX])
}

fn share() -> impl Strategy<Value = f64> {
    select(vec![0.0, 0.1, 0.2, 0.35, 0.5, 0.8, 1.0])
}

/// Reported nine times out of ten.
fn mostly<S: Strategy>(value: S) -> impl Strategy<Value = Option<S::Value>> {
    prop::option::weighted(0.9, value)
}

fn report() -> impl Strategy<Value = Report> {
    let size = select(vec![0, 1, 16_000, 400_000, u64::MAX]);
    let gauges = (mostly(share()), mostly(size), mostly(number()));
    let lengths = (mostly(number()), mostly(number()), mostly(share()));
    let rates = (mostly(number()), mostly(number()), mostly(number()));
    let times = (mostly(number()), mostly(number()));
    (gauges, lengths, rates, times).prop_map(|(gauges, lengths, rates, times)| Report {
        kv_usage: gauges.0,
        kv_capacity: gauges.1,
        waiting: gauges.2,
        input: lengths.0,
        output: lengths.1,
        hits: lengths.2,
        completions: rates.0,
        prompt_rate: rates.1,
        generation_rate: rates.2,
        itl: times.0,
        queue_time: times.1,
    })
}

fn variant(name: &'static str) -> impl Strategy<Value = VariantObservation> {
    let role = select(vec![Role::Both, Role::Prefill, Role::Decode]);
    let counts = (select(vec![0, 1, 3, u32::MAX]), select(vec![0, 1, 2, u32::MAX]));
    let accelerator = select(vec!["H100", "L40S"]);
    let sampled = (0..900_u32).prop_map(f64::from);
    (role, vec(report(), 0..5), counts, accelerator, sampled, prop::bool::weighted(0.2)).prop_map(
        move |(role, reports, (current, ready), accelerator, sampled, is_faulty)| {
            let mut variant = VariantObservation {
                current: Replicas::new(current),
                ready: Replicas::new(ready),
                accelerator: id(accelerator),
                ..reporting(name, role, Timestamp::from_seconds(sampled), &reports)
            };
            // All under one name.
            for replica in variant.replicas.iter_mut().filter(|_| is_faulty) {
                replica.replica = id(name);
            }
            variant
        },
    )
}

fn policy() -> impl Strategy<Value = Policy> {
    // Not a valid one, but a controller is not the only caller.
    let mut extreme = Policy::default();
    extreme.tokens.scale_up_threshold = Fraction::ZERO;
    extreme.tokens.drain_time = Seconds::ZERO;
    extreme.tokens.stale_after = Seconds::ZERO;
    extreme.throughput.scale_down_boundary = Fraction::ZERO;
    extreme.throughput.full_kv_usage = Fraction::ZERO;
    extreme.throughput.fit_misses = 0;
    extreme.throughput.queue_gaps = 0;
    prop_oneof![Just(Policy::default()), Just(extreme)]
}

fn scene() -> impl Strategy<Value = Scene> {
    let demand = vec(prop::option::of(number()), 4..=4);
    let variants = (variant("a"), variant("b"), variant("c"));
    let bytes = select(vec![0, 4000, u64::MAX]);
    let seconds = 0..900_u32;
    let all = (seconds, variants, demand, bytes, policy());
    all.prop_map(|(seconds, (a, b, c), demand, bytes, policy)| {
        let now = Timestamp::from_seconds(f64::from(seconds));
        let mut scene = Scene { now, policy, ..Scene::new(vec![a, b, c]) };
        if let Some(rate) = demand[0] {
            scene.demand.arrival_rate = scene.seen(RequestRate::new(rate));
        }
        if let Some(queue) = demand[1] {
            scene.demand.gateway_queue = scene.seen(QueueLength::new(queue));
        }
        scene.demand.gateway_bytes = scene.seen(Bytes::new(bytes));
        if let Some(mean) = demand[2] {
            scene.demand.input.mean = scene.seen(MeanTokens::new(mean));
        }
        if let Some(mean) = demand[3] {
            scene.demand.output.mean = scene.seen(MeanTokens::new(mean));
        }
        scene
    })
}

/// An analyzer answers without a panic, the order of replicas does not matter, what it says and
/// what it has learned can be written down, and read again.
fn check<S>(
    scenes: &[Scene],
    assess: fn(&mut S, &Subject<'_>) -> Assessment,
) -> Result<(), TestCaseError>
where
    S: Default + Debug + PartialEq + Serialize + DeserializeOwned,
{
    let (mut state, mut other) = (S::default(), S::default());
    for scene in scenes {
        let assessment = scene.ask(|subject| assess(&mut state, subject));
        let mut reversed = scene.clone();
        reversed.variants.reverse();
        reversed.variants.iter_mut().for_each(|variant| variant.replicas.reverse());
        let again = reversed.ask(|subject| assess(&mut other, subject));
        prop_assert_eq!(&assessment, &again);
        prop_assert_eq!(&state, &other);
        for needs in assessment.judgment().into_iter().flat_map(|judgment| &judgment.roles) {
            for load in needs.variants.iter().filter_map(|need| need.load) {
                prop_assert!(load.kept >= load.required);
            }
        }
        let said = serde_json::to_string(&assessment).unwrap();
        prop_assert!(serde_json::from_str::<Assessment>(&said).is_ok(), "{}", said);
        let learned = serde_json::to_string(&state).unwrap();
        prop_assert!(serde_json::from_str::<S>(&learned).is_ok(), "{}", learned);
        prop_assert!(assessment.reasons.iter().all(|reason| !reason.to_string().is_empty()));
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_tokens_analyzer_answers_whatever_it_sees(scenes in vec(scene(), 1..6)) {
        check::<tokens::State>(&scenes, tokens::State::assess)?;
    }

    #[test]
    fn the_throughput_analyzer_answers_whatever_it_sees(scenes in vec(scene(), 1..6)) {
        check::<throughput::State>(&scenes, throughput::State::assess)?;
    }
}
