//! The rate bound: prompts of 1000 tokens and outputs of 250 fill an engine's steps, not its cache.

use optimizer::analyzers::tokens::State;
use optimizer::assessment::Assessment;
use optimizer::decision::{Reason, TokensReason};
use optimizer::observation::{Role, VariantObservation};
use optimizer::step_time::StepTime;
use optimizer::units::{Fraction, ReplicaLoad, Seconds, Timestamp};

use super::{assess, confidence, load, names};
use crate::scene::{Report, Scene, reporting};

/// What an engine gets through, in requests per second.
const LIMIT: f64 = 8.0;
/// Of each request 1000 prompt and 250 output tokens.
const TOKENS: f64 = 1250.0;

/// A model of replicas that get through [`LIMIT`] each, scraped every 15 s.
struct World {
    seconds: f64,
    replicas: u32,
    queue: f64,
    state: State,
    profile: Option<StepTime>,
}

impl World {
    fn new(replicas: u32) -> Self {
        Self { seconds: 1000.0, replicas, queue: 0.0, state: State::default(), profile: None }
    }

    fn step(&mut self, arrivals: f64, counts_arrivals: bool) -> Assessment {
        let replicas = f64::from(self.replicas);
        let offered = arrivals + self.queue / 15.0;
        let served = offered.min(LIMIT * replicas);
        self.queue += (arrivals - served) * 15.0;
        self.seconds += 15.0;
        let each = served / replicas;
        let waiting = self.queue / replicas;
        // Steps are shorter where fewer sequences take part, so a cache holds less than in proportion.
        let busy = each / LIMIT;
        let report = Report {
            kv_usage: Some(0.16 * busy * busy),
            kv_capacity: Some(400_000),
            waiting: Some(waiting),
            input: Some(1000.0),
            output: Some(250.0),
            hits: Some(0.0),
            completions: Some(each),
            prompt_rate: Some(each * 1000.0),
            generation_rate: Some(each * 250.0),
            queue_time: Some(waiting / each),
            ..Report::default()
        };
        let now = Timestamp::from_seconds(self.seconds);
        let reports = vec![report; self.replicas as usize];
        let observed = reporting("variant-a", Role::Both, now, &reports);
        let observed = VariantObservation { profile: self.profile, ..observed };
        let scene = Scene { now, ..Scene::new(vec![observed]) };
        let scene = if counts_arrivals { scene.arriving(arrivals) } else { scene };
        assess(&scene, &mut self.state)
    }
}

#[test]
fn a_queue_at_a_low_kv_usage_asks_for_more_and_lets_go_again() {
    for counts_arrivals in [true, false] {
        let mut world = World::new(2);
        let calm = world.step(10.0, counts_arrivals);
        assert!(load(&calm).required < ReplicaLoad::new(1.0), "{:?}", calm.reasons);

        // 20 requests per second are more than two replicas get through.
        let busy = (0..8).map(|_| world.step(20.0, counts_arrivals)).last().unwrap();
        assert!(world.queue > 400.0);
        assert!(load(&busy).required > ReplicaLoad::new(2.5), "{:?}", busy.reasons);

        // Four carry them and the queue, and then the load is 20 / (8 · 0.85).
        world.replicas = 4;
        let drained = (0..20).map(|_| world.step(20.0, counts_arrivals)).last().unwrap();
        assert!(world.queue < 1.0);
        let expected = 20.0 / (LIMIT * 0.85);
        let required = load(&drained).required.value();
        assert!((required - expected).abs() < 0.2, "{required} instead of {expected}");

        // When little arrives, it lets go. What was learned is not forgotten with the queue.
        let quiet = (0..40).map(|_| world.step(5.0, counts_arrivals)).last().unwrap();
        assert!(load(&quiet).kept < ReplicaLoad::new(1.0), "{:?}", quiet.reasons);
        assert_eq!(confidence(&quiet), Fraction::ONE);
        assert!(names(&quiet).contains(&"tokens-rate"));
        let again = world.step(30.0, counts_arrivals);
        assert!(load(&again).required > ReplicaLoad::new(3.0), "{:?}", again.reasons);
    }
}

/// Nothing waits yet: by the stock, a quarter of the two replicas would do.
#[test]
fn the_rate_asks_for_more_before_a_queue_forms() {
    let mut world = World::new(2);
    for _ in 0..8 {
        world.step(20.0, true);
    }
    for _ in 0..60 {
        world.step(4.0, true);
    }
    // What full engines held is forgotten after a day, what they got through is not.
    world.seconds += 25.0 * 3600.0;
    let assessment = world.step(15.0, true);
    assert!(world.queue < 1.0);
    let loads = assessment.reasons.iter().find_map(|reason| match reason {
        Reason::Tokens(TokensReason::Load { stock, rate, .. }) => Some((*stock, *rate)),
        _ => None,
    });
    let (stock, rate) = loads.unwrap();
    assert!(stock.unwrap() < ReplicaLoad::new(0.5), "{loads:?}");
    assert!(rate.unwrap() > ReplicaLoad::new(2.0), "{loads:?}");
    assert_eq!(load(&assessment).required, rate.unwrap());
}

#[test]
fn the_reason_says_which_bound_binds() {
    let mut world = World::new(2);
    for _ in 0..8 {
        world.step(20.0, true);
    }
    world.replicas = 4;
    for _ in 0..20 {
        world.step(20.0, true);
    }
    let sentences: Vec<_> =
        world.step(20.0, true).reasons.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(sentences.join("\n"), @r"
    tokens: variant-a can hold 64000 tokens (what full replicas held)
    tokens: variant-a gets through 10000.0 tokens/s (while requests waited)
    tokens: 1.84 of variant-a for the stock, 2.94 for the rate: the rate binds
    ");
}

/// Nothing was ever full, and the profile says what a full step takes: 20 ms, 0.1 ms for each
/// sequence and 30 µs for each prompt token.
#[test]
fn a_profile_stands_in_for_what_was_not_seen() {
    let mut world = World::new(2);
    world.profile = Some(StepTime {
        overhead: Seconds::from_millis(20.0),
        per_prompt_token: Seconds::from_millis(0.03),
        per_sequence: Seconds::from_millis(0.1),
        per_context_token: Seconds::ZERO,
    });
    // 256 sequences take in 1024 prompt tokens a step: 1280 tokens in 76.32 ms. What binds first is
    // the cache: 320 000 / 1125 = 284 sequences.
    let rate = 1280.0 / 0.076_32;
    let assessment = world.step(10.0, true);
    let expected = 10.0 * TOKENS / (rate * 0.85);
    let required = load(&assessment).required.value();
    assert!((required - expected).abs() < 1e-6, "{required} instead of {expected}");
}

/// It is known what the engines get through, and suddenly nothing tells what is asked of them.
#[test]
fn a_demand_that_is_not_known_lets_nothing_go() {
    let mut world = World::new(2);
    for _ in 0..8 {
        world.step(20.0, true);
    }
    let now = Timestamp::from_seconds(world.seconds + 15.0);
    let report = Report { prompt_rate: None, ..Report::tokens(10, 400_000, 0.0, 1000.0, 250.0) };
    let scene =
        Scene { now, ..Scene::new(vec![reporting("variant-a", Role::Both, now, &[report; 2])]) };
    let assessment = assess(&scene, &mut world.state);
    assert_eq!(confidence(&assessment), Fraction::ZERO);
    assert_eq!(names(&assessment)[0], "tokens-signal-missing");
}

/// A burst that came and went within the window of the gauge shows as a queue, but no request had to
/// wait for long: what was served then is no limit.
#[test]
fn a_short_burst_is_no_limit() {
    let mut state = State::default();
    for step in 0..10_u32 {
        let now = Timestamp::from_seconds(f64::from(step) * 15.0);
        let report = Report {
            completions: Some(1.0),
            prompt_rate: Some(1000.0),
            generation_rate: Some(250.0),
            queue_time: Some(0.05),
            ..Report::tokens(1000, 400_000, 6.0, 1000.0, 250.0)
        };
        let scene =
            Scene { now, ..Scene::new(vec![reporting("variant-a", Role::Both, now, &[report])]) };
        let assessment = assess(&scene.arriving(1.0), &mut state);
        assert!(!names(&assessment).contains(&"tokens-rate"), "{step}");
    }
}

/// A gateway that knows the model by another name counts no arrivals. The engines know better.
#[test]
fn what_is_served_goes_before_no_arrivals() {
    let mut world = World::new(2);
    for _ in 0..8 {
        world.step(20.0, true);
    }
    let now = Timestamp::from_seconds(world.seconds + 15.0);
    let report = Report {
        prompt_rate: Some(7000.0),
        generation_rate: Some(1750.0),
        ..Report::tokens(1000, 400_000, 0.0, 1000.0, 250.0)
    };
    let observed = reporting("variant-a", Role::Both, now, &[report; 2]);
    let scene = Scene { now, ..Scene::new(vec![observed]) }.arriving(0.0);
    let required = load(&assess(&scene, &mut world.state)).required.value();
    let expected = 2.0 * 7.0 / (LIMIT * 0.85);
    assert!((required - expected).abs() < 1e-6, "{required} instead of {expected}");
}
