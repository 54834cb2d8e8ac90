//! What the controller sees of a world in which every number can be worked out.

use optimizer::journal::{CHECKPOINT_EVERY, replay};
use optimizer::observation::{
    Demand, GpuPool, Inventory, ModelObservation, ReplicaObservation, Signal, VariantObservation,
};
use optimizer::units::{
    Bytes, MeanTokens, QueueLength, RequestCount, RequestRate, StepRate, TokenRate, Variation,
};

use super::*;

/// Four requests a second for ten minutes, one like the other.
fn steady() -> Setup {
    let requests: Vec<_> = (0..2400).map(|idx| (0.25 * f64::from(idx), 100, 50)).collect();
    let mut setup = setup(1, bounds(1, 1), &requests);
    setup.variants[0].plant = Plant::Linear(Linear {
        base: Seconds::from_millis(10.0),
        per_prefill_token: Seconds::new(20e-6),
        per_decode_sequence: Seconds::from_millis(0.1),
        per_context_token: Seconds::ZERO,
    });
    setup.control.window = Seconds::from_minutes(1.0);
    setup
}

/// The records of the controller's steps, and the last observation of the one model while requests
/// still came.
fn journal(setup: Setup) -> (Vec<Record>, ModelObservation) {
    let mut simulation = Simulation::new(setup).unwrap();
    simulation.keep_journal();
    assert!(!simulation.run_until(Timestamp::from_seconds(590.0)));
    let records = simulation.take_journal();
    let model = records.last().unwrap().observation.models[0].clone();
    (records, model)
}

#[track_caller]
fn value<T: Copy>(signal: Signal<T>, number: fn(T) -> f64) -> f64 {
    match signal {
        Signal::Seen { value, .. } => number(value),
        Signal::Missing => panic!("nothing was seen"),
    }
}

/// Checks a number to within a share of what is expected; nothing is nothing.
#[track_caller]
fn near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * expected, "{found} is not {expected}");
}

#[test]
fn the_signals_of_a_steady_run_agree_with_each_other() {
    let (_, model) = journal(steady());
    let Demand { arrival_rate, gateway_bytes, recent_requests, burstiness, input, output, .. } =
        model.demand;
    let VariantObservation { ready, cold_start, replicas, .. } = &model.variants[0];
    assert_eq!((ready.get(), *cold_start), (1, None));
    let replica: &ReplicaObservation = &replicas[0];
    let (rate, prompt, answer) = (4.0, 100.0, 50.0);

    near(value(arrival_rate, RequestRate::value), rate, 0.01);
    near(value(input.mean, MeanTokens::value), prompt, 1e-12);
    near(value(output.mean, MeanTokens::value), answer, 1e-12);
    near(value(input.variation, Variation::value), 0.0, 0.0);
    // Twenty arrivals in each bin.
    near(value(burstiness, Variation::value), 0.0, 0.0);
    near(value(gateway_bytes, Bytes::as_f64), 0.0, 0.0);
    // All there were so far, of which none is older than the retention time.
    near(value(recent_requests, RequestCount::value), rate * 570.0, 0.01);

    near(value(replica.completions, RequestRate::value), rate, 0.01);
    near(value(replica.prompt_rate, TokenRate::value), rate * prompt, 0.01);
    near(value(replica.generation_rate, TokenRate::value), rate * answer, 0.01);
    near(value(replica.input_tokens, MeanTokens::value), prompt, 1e-12);
    near(value(replica.output_tokens, MeanTokens::value), answer, 1e-12);
    near(value(replica.preemptions, RequestRate::value), 0.0, 0.0);
    near(value(replica.prefix_hits, Fraction::value), 0.0, 0.0);
    near(value(replica.kv_capacity, Tokens::as_f64), 101.0 * 16.0, 0.0);

    // Little's law: who is in the batch is the rate times the time spent there. The gauge is a
    // maximum, and counts in whole requests.
    let itl = value(replica.itl, Seconds::value);
    let prefill = value(replica.prefill_time, Seconds::value);
    let queued = value(replica.queue_time, Seconds::value);
    let running = value(replica.running, QueueLength::value);
    let expected = rate * (prefill + (answer - 1.0) * itl);
    assert!((running - expected).abs() <= 1.0, "{running} run, and {expected} should");
    // It is never idle, so a second is full of steps, and a token takes a step.
    let steps = value(replica.step_rate, StepRate::value);
    near(1.0 / steps, itl, 0.02);
    // Of the time to the first token a part is queue and the rest is prefill.
    near(value(replica.ttft, Seconds::value), queued + prefill, 0.01);
}

#[test]
fn a_journal_is_the_run_and_can_be_replayed() {
    let (records, _) = journal(steady());
    assert_eq!(records.len(), 590 / 30);
    assert!((records.len() as u64) < CHECKPOINT_EVERY);
    assert_eq!(replay(&records).unwrap(), []);
    let without = Simulation::new(steady()).unwrap();
    let mut with = Simulation::new(steady()).unwrap();
    with.keep_journal();
    let (with, without) = (with.finish(), without.finish());
    assert_eq!(with.requests, without.requests);
    assert_eq!(with.samples, without.samples);
}

/// Three replicas of two GPUs each are wanted, and others leave five GPUs.
#[test]
fn a_replica_waits_until_there_are_gpus_for_it() {
    let mut setup = setup(1, bounds(3, 3), &[]);
    setup.duration = Some(Seconds::new(1000.0));
    let pool = GpuPool { total: Gpus::new(7), used: Gpus::new(2) };
    let gpus = Some([("H100".parse().unwrap(), pool)].into());
    setup.inventory = Some(Inventory { gpus, quotas: Vec::new() });
    let (records, model) = journal(setup);
    let seen = &model.variants[0];
    assert_eq!((seen.current, seen.ready), (Replicas::new(3), Replicas::new(2)));
    // The cold start is that of the one that started.
    assert_eq!(seen.cold_start, Some(Seconds::new(60.0)));
    let inventory = records.last().unwrap().observation.inventory.as_ref().unwrap();
    let pool = inventory.gpus.as_ref().unwrap().values().next().unwrap();
    assert_eq!((pool.total, pool.used), (Gpus::new(7), Gpus::new(6)));
    let first = records[0].observation.inventory.as_ref().unwrap();
    assert_eq!(first.gpus.as_ref().unwrap().values().next().unwrap().used, Gpus::new(4));
}
