//! The rate bound: prompts of 1000 tokens and outputs of 250 fill an engine's steps, not its cache.

use optimizer::analyzers::tokens::State;
use optimizer::assessment::Assessment;
use optimizer::decision::{Reason, TokensReason};
use optimizer::observation::Role;
use optimizer::step_time::StepTime;
use optimizer::units::{Fraction, ReplicaLoad, Seconds, Timestamp, Tokens};

use super::{assess, confidence, load, names};
use crate::scene::{Report, Scene, reporting, variant};

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
}

impl World {
    fn new(replicas: u32) -> Self {
        Self { seconds: 1000.0, replicas, queue: 0.0, state: State::default() }
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
    let mut world = learned();
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
    let mut world = learned();
    world.replicas = 4;
    for _ in 0..20 {
        world.step(20.0, true);
    }
    let sentences: Vec<_> =
        world.step(20.0, true).reasons.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(sentences.join("\n"), @r"
    tokens: an engine of variant-a can hold 64000 tokens (what full replicas held)
    tokens: an engine of variant-a gets through 10000.0 tokens/s (while requests waited)
    tokens: 1.84 of variant-a for the stock, 2.94 for the rate: the rate binds
    ");
}

/// Nothing was ever full, and the profile says what a full step takes: 20 ms, 0.1 ms for each
/// sequence and 30 µs for each prompt token. With an output of 250 each sequence comes with 4 prompt
/// tokens a step, or with 2 where the prefix cache has half of them, and keeps 1125 tokens.
#[test]
fn a_profile_stands_in_for_what_was_not_seen() {
    for (name, role, size, hits, budget, prompt, sequences) in [
        ("256 sequences bind", Role::Both, 400_000, 0.0, 8192, 1024.0, 256.0),
        ("hits", Role::Both, 400_000, 0.5, 8192, 512.0, 256.0),
        ("the cache binds", Role::Both, 112_500, 0.0, 8192, 320.0, 80.0),
        ("the budget binds", Role::Both, 400_000, 0.0, 500, 400.0, 100.0),
        ("prefill", Role::Prefill, 400_000, 0.0, 8192, 8192.0, 0.0),
        ("decode", Role::Decode, 400_000, 0.0, 8192, 0.0, 256.0),
    ] {
        let report = Report { hits: Some(hits), ..Report::tokens(0, size, 0.0, 1000.0, 250.0) };
        let mut observed = variant("variant-a", role, &[report]);
        observed.engine.max_batched_tokens = Tokens::new(budget);
        observed.profile = Some(StepTime {
            overhead: Seconds::from_millis(20.0),
            per_prompt_token: Seconds::from_millis(0.03),
            per_sequence: Seconds::from_millis(0.1),
            per_context_token: Seconds::ZERO,
        });
        let per_request = match role {
            Role::Both => 1000.0 * (1.0 - hits) + 250.0,
            Role::Prefill => 1000.0,
            Role::Decode => 250.0,
        };
        let rate = (prompt + sequences) / (0.020 + 0.000_03 * prompt + 0.000_1 * sequences);
        let expected = 10.0 * per_request / (rate * 0.85);
        let assessment = assess(&Scene::new(vec![observed]).arriving(10.0), &mut State::default());
        let required = load(&assessment).required.value();
        assert!((required - expected).abs() < 1e-9, "{name}: {required} instead of {expected}");
    }
}

/// A model that two replicas were seen to get through 10 000 tokens/s of, each.
fn learned() -> World {
    let mut world = World::new(2);
    for _ in 0..8 {
        world.step(20.0, true);
    }
    world
}

/// One engine, 15 s after what was learned, of which requests arrive at 8 per second.
fn next(world: &mut World, report: Report) -> f64 {
    world.seconds += 15.0;
    let now = Timestamp::from_seconds(world.seconds);
    let scene =
        Scene { now, ..Scene::new(vec![reporting("variant-a", Role::Both, now, &[report])]) };
    load(&assess(&scene.arriving(8.0), &mut world.state)).required.value() * 0.85
}

#[test]
fn what_an_engine_gets_through_moves_with_what_it_shows() {
    let of = |prompt: f64, output: f64, rate: f64, queue: f64| Report {
        hits: Some(0.0),
        prompt_rate: Some(rate * prompt),
        generation_rate: Some(rate * output),
        ..Report::tokens(0, 400_000, queue, prompt, output)
    };
    let calm = of(1000.0, 250.0, 4.0, 0.0);
    let check = |name: &str, report: Report, expected: f64| {
        let load = next(&mut learned(), report);
        assert!((load - expected).abs() < 1e-3, "{name}: {load} instead of {expected}");
    };
    check("as learned", calm, 1.0);
    check("more, though it is not full", of(1000.0, 250.0, 10.0, 0.0), 0.8);
    // 48 wait, though not for long: within a minute that is a tenth of what arrives.
    let burst =
        Report { waiting: Some(48.0), completions: Some(4.0), queue_time: Some(0.1), ..calm };
    check("requests wait", burst, 1.1);
    check("a mix beside it", of(1000.0, 160.0, 4.0, 0.0), 1160.0 / TOKENS);
    let unlike = of(1000.0, 60.0, 4.0, 0.0);
    check("another mix, of which nothing is known", unlike, 0.0);

    // The first look at a backlog after a while shows the calm before it.
    let mut world = learned();
    world.seconds += 36_000.0;
    let backlogged =
        Report { completions: Some(4.0), queue_time: Some(2.0), ..of(1000.0, 250.0, 4.0, 8.0) };
    let load = next(&mut world, backlogged);
    let expected = (8.0 + 8.0 / 60.0) / LIMIT;
    assert!((load - expected).abs() < 1e-3, "{load} instead of {expected}");

    // A lower limit takes over with a half-life of 30 minutes.
    let mut world = learned();
    let backlog = 8.0 * TOKENS / 60.0;
    for _ in 0..120 {
        next(&mut world, backlogged);
    }
    let load = next(&mut world, backlogged);
    let capacity = 5000.0 + 5000.0 * 0.5_f64.powf(121.0 / 120.0);
    let expected = (8.0 * TOKENS + backlog) / capacity;
    assert!((load - expected).abs() < 0.02, "{load} instead of {expected}");
}

/// It is known what the engines get through, and suddenly nothing tells what is asked of them.
#[test]
fn a_demand_that_is_not_known_lets_nothing_go() {
    let mut world = learned();
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
    let mut world = learned();
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
