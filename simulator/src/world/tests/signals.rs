//! What the controller sees of a world in which every number can be worked out.

use optimizer::journal::{CHECKPOINT_EVERY, replay};
use optimizer::observation::{
    GpuPool, Inventory, ModelObservation, ReplicaObservation, Signal, VariantObservation,
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

#[track_caller]
fn near(found: f64, expected: f64, relative: f64) {
    assert!((found / expected - 1.0).abs() <= relative, "{found} is not {expected}");
}

#[test]
fn the_signals_of_a_steady_run_agree_with_each_other() {
    let (_, model) = journal(steady());
    let demand = &model.demand;
    let VariantObservation { ready, cold_start, replicas, .. } = &model.variants[0];
    assert_eq!((ready.get(), *cold_start), (1, None));
    let replica: &ReplicaObservation = &replicas[0];
    let (rate, prompt, output) = (4.0, 100.0, 50.0);

    near(value(demand.arrival_rate, |rate| rate.value()), rate, 0.01);
    near(value(demand.input.mean, |mean| mean.value()), prompt, 1e-12);
    near(value(demand.output.mean, |mean| mean.value()), output, 1e-12);
    assert_eq!(value(demand.input.variation, |ratio| ratio.value()), 0.0);
    // Twenty arrivals in each bin.
    assert_eq!(value(demand.burstiness, |ratio| ratio.value()), 0.0);
    assert_eq!(value(demand.gateway_bytes, |bytes| bytes.as_f64()), 0.0);
    // All there were so far, of which none is older than the retention time.
    near(value(demand.recent_requests, |count| count.value()), rate * 570.0, 0.01);

    near(value(replica.completions, |rate| rate.value()), rate, 0.01);
    near(value(replica.prompt_rate, |rate| rate.value()), rate * prompt, 0.01);
    near(value(replica.generation_rate, |rate| rate.value()), rate * output, 0.01);
    near(value(replica.input_tokens, |mean| mean.value()), prompt, 1e-12);
    near(value(replica.output_tokens, |mean| mean.value()), output, 1e-12);
    assert_eq!(value(replica.preemptions, |rate| rate.value()), 0.0);
    assert_eq!(value(replica.prefix_hits, |share| share.value()), 0.0);
    assert_eq!(value(replica.kv_capacity, |tokens| tokens.as_f64()), 101.0 * 16.0);

    // Little's law: who is in the batch is the rate times the time spent there. The gauge is a
    // maximum, and counts in whole requests.
    let itl = value(replica.itl, Seconds::value);
    let prefill = value(replica.prefill_time, Seconds::value);
    let queued = value(replica.queue_time, Seconds::value);
    let running = value(replica.running, |count| count.value());
    let expected = rate * (prefill + (output - 1.0) * itl);
    assert!((running - expected).abs() <= 1.0, "{running} run, and {expected} should");
    // It is never idle, so a second is full of steps, and a token takes a step.
    let steps = value(replica.step_rate, |rate| rate.value());
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
    let gpus = [("H100".parse().unwrap(), pool)].into();
    setup.inventory = Some(Inventory { gpus, quotas: Vec::new() });
    let (records, model) = journal(setup);
    let seen = &model.variants[0];
    assert_eq!((seen.current, seen.ready), (Replicas::new(3), Replicas::new(2)));
    // The cold start is that of the one that started.
    assert_eq!(seen.cold_start, Some(Seconds::new(60.0)));
    let inventory = records.last().unwrap().observation.inventory.as_ref().unwrap();
    let pool = inventory.gpus.values().next().unwrap();
    assert_eq!((pool.total, pool.used), (Gpus::new(7), Gpus::new(6)));
    let first = records[0].observation.inventory.as_ref().unwrap();
    assert_eq!(first.gpus.values().next().unwrap().used, Gpus::new(4));
}
