//! Who comes, who goes, and for how long GPUs are held.

use optimizer::observation::{Bounds, GpuPool};
use optimizer::units::{Gpus, HourlyCost};

use super::*;
use crate::engine::step_time::{Linear, Plant};
use crate::engine::{EngineArgs, Request, RequestId};
use crate::setup::Knowledge;

/// Two ready replicas, with no limit to their number.
fn fleet() -> Fleet {
    fleet_within(None)
}

/// Two ready replicas of one GPU each, where the GPUs are limited.
fn fleet_within(inventory: Option<Inventory>) -> Fleet {
    let args = EngineArgs {
        max_num_batched_tokens: 100,
        max_num_seqs: 1,
        max_model_len: 100,
        block_size: 10,
        num_gpu_blocks: 21,
        async_scheduling: false,
        ..EngineArgs::DEFAULT
    };
    let plant = Linear {
        base: Seconds::new(1.0),
        per_prefill_token: Seconds::ZERO,
        per_decode_sequence: Seconds::ZERO,
        per_context_token: Seconds::ZERO,
    };
    Fleet::new(
        &[VariantSetup {
            variant: "v".parse().unwrap(),
            model: 0,
            accelerator: "H100".parse().unwrap(),
            gpus_per_replica: Gpus::new(1),
            cost: HourlyCost::new(1.0),
            bounds: Bounds { min: Replicas::ZERO, max: None },
            initial: Replicas::new(2),
            cold_start: Seconds::new(60.0),
            drain_timeout: Seconds::new(60.0),
            engine: args.try_into().unwrap(),
            data_parallel: 1,
            plant: Plant::Linear(plant),
            known: Knowledge::default(),
        }],
        inventory,
    )
}

fn scale(fleet: &mut Fleet, desired: u32, at: f64) -> ScaleEffect {
    fleet.scale(0, Replicas::new(desired), Timestamp::from_seconds(at))
}

fn load(fleet: &mut Fleet, replica: u32) {
    let request = Request::new(RequestId(7), 10, 5);
    let engine = &mut fleet.replica_mut(ReplicaIdx(replica)).engine;
    engine.submit(request, Timestamp::ZERO, &mut ()).unwrap();
}

#[test]
fn those_that_have_not_started_go_first_and_then_the_youngest() {
    let mut fleet = fleet();
    let started = scale(&mut fleet, 4, 10.0).started;
    assert_eq!(started, [ReplicaIdx(2), ReplicaIdx(3)]);
    // The younger of the new ones is ready before the older.
    fleet.start(ReplicaIdx(3), Timestamp::from_seconds(15.0));
    assert_eq!(scale(&mut fleet, 3, 20.0).gone, [ReplicaIdx(2)]);
    assert_eq!(scale(&mut fleet, 1, 30.0).gone, [ReplicaIdx(3), ReplicaIdx(1)]);
    assert_eq!(fleet.counts(0).existing(), Replicas::new(1));
}

#[test]
fn one_with_requests_drains_and_counts_as_existing_but_not_as_current() {
    let mut fleet = fleet();
    load(&mut fleet, 1);
    let effect = scale(&mut fleet, 1, 10.0);
    assert_eq!((effect.draining, effect.gone), (vec![ReplicaIdx(1)], Vec::new()));
    let counts = fleet.counts(0);
    assert_eq!((counts.current(), counts.existing()), (Replicas::new(1), Replicas::new(2)));
    // A draining replica gets no request, and does not come back: a new one is created.
    assert_eq!(fleet.least_loaded(0), Some(ReplicaIdx(0)));
    assert_eq!(scale(&mut fleet, 2, 20.0).started, [ReplicaIdx(2)]);
    let lost = fleet.release(ReplicaIdx(1), Timestamp::from_seconds(30.0));
    assert_eq!(lost, [Lost { id: RequestId(7), output_tokens: 0 }]);
}

#[test]
fn gpus_are_held_from_creation_to_removal() {
    let mut fleet = fleet();
    scale(&mut fleet, 3, 10.0);
    scale(&mut fleet, 1, 30.0);
    // 30 s of two, and of the third, which never started, the 20 s that it existed.
    let held = |fleet: &Fleet, at: f64| fleet.replica_time(0, Timestamp::from_seconds(at)).value();
    assert!((held(&fleet, 30.0) - 80.0).abs() < 1e-9);
    assert!((held(&fleet, 100.0) - 150.0).abs() < 1e-9);
}

#[test]
fn the_least_loaded_gets_the_request_and_of_equals_the_oldest() {
    let mut fleet = fleet();
    assert_eq!(fleet.least_loaded(0), Some(ReplicaIdx(0)));
    load(&mut fleet, 0);
    assert_eq!(fleet.least_loaded(0), Some(ReplicaIdx(1)));
    load(&mut fleet, 1);
    assert_eq!(fleet.least_loaded(0), Some(ReplicaIdx(0)));
    assert_eq!(fleet.least_loaded(1), None);
}

#[test]
fn a_replica_waits_for_gpus_and_costs_nothing_meanwhile() {
    let pool = GpuPool { total: Gpus::new(4), used: Gpus::new(1) };
    let gpus = Some([("H100".parse().unwrap(), pool)].into());
    let mut fleet = fleet_within(Some(Inventory { gpus, quotas: Vec::new() }));
    let used = |fleet: &Fleet| {
        fleet.inventory().unwrap().gpus.as_ref().unwrap().values().next().unwrap().used
    };
    assert_eq!(used(&fleet), Gpus::new(3));

    assert_eq!(scale(&mut fleet, 4, 10.0).started, [ReplicaIdx(2)]);
    let counts = fleet.counts(0);
    assert_eq!((counts.pending, counts.starting), (Replicas::new(1), Replicas::new(1)));
    assert_eq!((counts.current(), counts.existing()), (Replicas::new(4), Replicas::new(3)));
    assert_eq!(used(&fleet), Gpus::new(4));
    fleet.start(ReplicaIdx(2), Timestamp::from_seconds(40.0));
    assert_eq!(fleet.mean_cold_start(0), Some(Seconds::new(30.0)));

    // One that leaves makes room for the one that waits, which costs from then on.
    fleet.release(ReplicaIdx(0), Timestamp::from_seconds(50.0));
    assert_eq!(used(&fleet), Gpus::new(3));
    assert_eq!(fleet.place(Timestamp::from_seconds(50.0)), [ReplicaIdx(3)]);
    let held = fleet.replica_time(0, Timestamp::from_seconds(60.0)).value();
    assert!((held - (50.0 + 60.0 + 50.0 + 10.0)).abs() < 1e-9, "{held}");

    // Those that wait are the first to go, and hold nothing that could be given back.
    assert_eq!(scale(&mut fleet, 4, 60.0).started, []);
    assert_eq!(scale(&mut fleet, 3, 70.0).gone, [ReplicaIdx(4)]);
    assert_eq!(used(&fleet), Gpus::new(4));
    assert_eq!(fleet.place(Timestamp::from_seconds(80.0)), []);
}
