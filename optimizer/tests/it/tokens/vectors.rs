//! The workload-variant-autoscaler's test vectors: group D of its version 0.5 with the V2 rows of H,
//! and the rows V2-01 to V2-22 and TH-06 of 0.9.

use optimizer::analyzers::tokens::State;
use optimizer::decision::CapacityBasis;
use optimizer::observation::{EngineConfig, Role, VariantObservation};
use optimizer::policy::{Policy, TokensPolicy};
use optimizer::units::{Bytes, Fraction, Gpus, QueueLength, ReplicaLoad, Replicas, Tokens};

use super::{assess, capacity, load, single, stock, stock_after};
use crate::fleet::id;
use crate::scene::{Report, Scene, variant};

const UP: Fraction = Fraction::new(0.85);
const DOWN: Fraction = Fraction::new(0.70);

#[track_caller]
fn assert_close(name: &str, found: f64, expected: f64) {
    assert!((found - expected).abs() < 0.01, "{name}: {found} instead of {expected}");
}

fn configured(name: &str, budget: u64) -> VariantObservation {
    let engine =
        EngineConfig { max_batched_tokens: Tokens::new(budget), ..EngineConfig::default() };
    VariantObservation { engine, ..variant(name, Role::Both, &[]) }
}

/// D1 to D3 and V2-01 to V2-03; D6 and V2-06 with their own token budget.
#[test]
fn what_an_engine_can_hold() {
    for (name, report, expected) in [
        ("D1", Report::tokens(5000, 16_000, 0.0, 100.0, 50.0), 12_800),
        ("D2", Report::tokens(8000, 16_000, 6.0, 100.0, 50.0), 8000),
        ("D3", Report::tokens(4000, 16_000, 10.0, 100.0, 50.0), 4000),
    ] {
        assert_eq!(capacity(&stock(&single(report)), "variant-a").0, expected, "{name}");
    }
    let mut scene = single(Report::tokens(5000, 16_000, 2.0, 500.0, 100.0));
    scene.variants[0].engine = configured("variant-a", 2048).engine;
    let expected = (12_800, CapacityBasis::Memory);
    assert_eq!(capacity(&stock(&scene), "variant-a"), expected, "D6");
}

/// D4 and V2-04, D5 and V2-05.
#[test]
fn what_full_engines_held_is_remembered_by_output_length() {
    for (name, output, expected) in [
        ("D4", 50.0, (8000, CapacityBasis::History)),
        ("D5", 600.0, (12_800, CapacityBasis::Memory)),
    ] {
        let mut state = State::default();
        stock_after(&single(Report::tokens(8000, 16_000, 6.0, 100.0, 50.0)), &mut state);
        let later = single(Report::tokens(6000, 16_000, 2.0, 100.0, output));
        assert_eq!(capacity(&stock_after(&later, &mut state), "variant-a"), expected, "{name}");
    }
}

/// D8 and V2-08: it held 12 000 at its limit when it last had replicas.
#[test]
fn a_variant_without_replicas_can_hold_what_it_held() {
    let mut state = State::default();
    stock_after(&single(Report::tokens(12_000, 16_000, 6.0, 100.0, 50.0)), &mut state);
    let gone = Scene::new(vec![variant("variant-a", Role::Both, &[])]);
    let expected = (12_000, CapacityBasis::Recorded);
    assert_eq!(capacity(&stock_after(&gone, &mut state), "variant-a"), expected);
    // Unless it is another variant by now.
    let mut changed = gone.clone();
    changed.variants[0].gpus_per_replica = Gpus::new(2);
    let expected = (8192, CapacityBasis::Budget);
    assert_eq!(capacity(&stock_after(&changed, &mut state), "variant-a"), expected);
}

/// D9 to D12 and V2-09 to V2-12. The live sibling of D10 and V2-10 holds at most 40 000.
#[test]
fn a_variant_that_never_ran_is_estimated() {
    let sibling = |accelerator: &str, size| VariantObservation {
        accelerator: id(accelerator),
        ..variant("variant-a", Role::Both, &[Report::tokens(5000, size, 0.0, 500.0, 100.0)])
    };
    let mut known = configured("variant-b", 8192);
    known.engine.kv_capacity = Some(Tokens::new(30_000));
    for (name, variants, expected) in [
        (
            "D9",
            vec![sibling("A100", 50_000), configured("variant-b", 8192)],
            (140_800, CapacityBasis::Derived),
        ),
        (
            "D10",
            vec![sibling("H100", 50_000), configured("variant-b", 8192)],
            (40_000, CapacityBasis::Compatible),
        ),
        // What the sibling can hold is known before the variant is looked at, whatever its name.
        (
            "D10",
            vec![
                VariantObservation { variant: id("variant-z"), ..sibling("H100", 50_000) },
                configured("variant-b", 8192),
            ],
            (40_000, CapacityBasis::Compatible),
        ),
        ("D11", vec![sibling("A100", 50_000), known], (24_000, CapacityBasis::Memory)),
        ("D12", vec![configured("variant-b", 8192)], (8192, CapacityBasis::Budget)),
    ] {
        assert_eq!(capacity(&stock(&Scene::new(variants)), "variant-b"), expected, "{name}");
    }
}

/// D13 to D17, V2-19 and V2-22: (demand, supply, anticipated, required, spare).
#[test]
fn demand_stands_against_what_is_ready_and_what_is_pending() {
    let report = |in_use| Report::tokens(in_use, 16_000, 0.0, 100.0, 50.0);
    let queued = Report { output: None, ..Report::tokens(11_000, 16_000, 3.0, 100.0, 0.0) };
    let counted = |current: u32, ready: u32, reports: &[Report]| VariantObservation {
        current: Replicas::new(current),
        ready: Replicas::new(ready),
        ..variant("variant-a", Role::Both, reports)
    };
    for (name, observed, [demand, supply, anticipated, required, spare]) in [
        ("D13", counted(1, 1, &[queued]), [11_300.0, 12_800.0, 12_800.0, 494.12, 0.0]),
        ("D14", counted(2, 2, &[report(1000); 2]), [2000.0, 25_600.0, 25_600.0, 0.0, 22_742.86]),
        ("D15", counted(1, 1, &[report(10_000)]), [10_000.0, 12_800.0, 12_800.0, 0.0, 0.0]),
        ("D16", counted(2, 1, &[report(10_000)]), [10_000.0, 12_800.0, 25_600.0, 0.0, 0.0]),
        ("D17", counted(3, 2, &[report(1000)]), [1000.0, 25_600.0, 38_400.0, 0.0, 24_171.43]),
        (
            "V2-19",
            counted(2, 1, &[report(8000); 8]),
            [64_000.0, 8.0 * 12_800.0, 16.0 * 12_800.0, 0.0, 8.0 * 12_800.0 - 64_000.0 / 0.7],
        ),
    ] {
        let stock = stock(&Scene::new(vec![observed]));
        assert_close(name, stock.total.demand, demand);
        assert_close(name, stock.total.supply, supply);
        assert_close(name, stock.total.anticipated, anticipated);
        assert_close(name, stock.total.required(UP), required);
        assert_close(name, stock.total.spare(DOWN), spare);
        assert_eq!(stock.role(Role::Both), Some(stock.total), "{name}");
    }
}

/// V2-19: the engines of one replica, as seen and as configured.
#[test]
fn an_engine_of_a_replica_is_no_replica() {
    let report = Report::tokens(8000, 16_000, 0.0, 100.0, 50.0);
    let counted = |reports: usize| VariantObservation {
        current: Replicas::new(2),
        ready: Replicas::new(1),
        ..variant("variant-a", Role::Both, &vec![report; reports])
    };
    let seen = Scene::new(vec![counted(8)]);
    let found = &stock(&seen).variants[0];
    assert_eq!((found.per_replica, found.engines, found.pending), (8, 8, 8));
    // 64 000 tokens are 5 engines' worth, which is less than one replica of eight.
    let expected = ReplicaLoad::new(64_000.0 / (8.0 * 12_800.0 * 0.85));
    assert_eq!(load(&assess(&seen, &mut State::default())).required, expected);

    // With one engine each, seven of the eight are of replicas that are gone.
    let mut lingering = seen.clone();
    lingering.variants[0].engine.data_parallel = std::num::NonZeroU32::new(1);
    let found = &stock(&lingering).variants[0];
    assert_eq!((found.per_replica, found.engines, found.pending), (1, 1, 1));
}

/// D18 and V2-13 to V2-16: (size, bytes, hits) of what waits at the gateway.
#[test]
fn what_waits_at_the_gateway_is_asked_of_each_role() {
    let scene = |roles: &[(Role, u64)], gateway: Option<(f64, u64)>, hits: f64| {
        let variants = roles.iter().map(|&(role, in_use)| {
            let report = Report::tokens(in_use, 16_000, 0.0, 100.0, 50.0);
            variant(role.as_str(), role, &[Report { hits: Some(hits), ..report }])
        });
        let mut scene = Scene::new(variants.collect());
        if let Some((queue, bytes)) = gateway {
            scene.demand.gateway_queue = scene.seen(QueueLength::new(queue));
            scene.demand.gateway_bytes = scene.seen(Bytes::new(bytes));
        }
        scene
    };
    for (name, gateway, hits, expected) in [
        ("D18a", None, 0.0, 5000.0),
        ("D18b, V2-13", Some((10.0, 4000)), 0.5, 6000.0),
        ("D18c, V2-14", Some((10.0, 20_000)), 0.0, 10_500.0),
    ] {
        let stock = stock(&scene(&[(Role::Both, 5000)], gateway, hits));
        assert_close(name, stock.total.demand, expected);
    }
    for (name, in_use, hits, [total, prefill, decode]) in [
        ("V2-15", (0, 0), 0.0, [1500.0, 1000.0, 1500.0]),
        ("V2-16", (0, 0), 0.5, [1000.0, 500.0, 1000.0]),
        ("V2-17", (3000, 2000), 0.0, [6500.0, 4000.0, 3500.0]),
    ] {
        let roles = [(Role::Prefill, in_use.0), (Role::Decode, in_use.1)];
        let stock = stock(&scene(&roles, Some((10.0, 0)), hits));
        assert_close(name, stock.total.demand, total);
        assert_close(name, stock.role(Role::Prefill).unwrap().demand, prefill);
        assert_close(name, stock.role(Role::Decode).unwrap().demand, decode);
        assert_eq!(stock.role(Role::Both), None, "{name}");
    }
}

/// V2-18. That an unknown role counts as both is up to the driver: here there is none.
#[test]
fn prefill_frees_its_cache_before_the_output_is_there() {
    for (role, expected) in [(Role::Prefill, 400.0), (Role::Decode, 600.0), (Role::Both, 600.0)] {
        let report = Report::tokens(0, 16_000, 4.0, 100.0, 50.0);
        let stock = stock(&Scene::new(vec![variant("variant-a", role, &[report])]));
        assert_close(role.as_str(), stock.total.demand, expected);
    }
}

/// V2-20 and V2-21: nobody tells how large the cache is.
#[test]
fn a_cache_of_unknown_size_is_measured_by_the_token_budget() {
    for (name, role, budget, report, capacity, demand) in [
        ("V2-20", Role::Prefill, 10_000, (0.5, 3.0, 500.0, 250.0), 8000, 5500.0),
        ("V2-20", Role::Decode, 10_000, (0.5, 3.0, 500.0, 250.0), 8000, 6250.0),
        ("V2-21", Role::Decode, 8192, (0.1, 2.0, 200.0, 100.0), 6553, 1255.0),
    ] {
        let (kv, queue, input, output) = report;
        let report = Report {
            kv_usage: Some(kv),
            kv_capacity: None,
            ..Report::tokens(0, 1, queue, input, output)
        };
        let observed = VariantObservation {
            engine: configured("variant-a", budget).engine,
            ..variant("variant-a", role, &[report])
        };
        let stock = stock(&Scene::new(vec![observed]));
        assert_eq!(self::capacity(&stock, "variant-a").0, capacity, "{name}");
        assert_close(name, stock.total.demand, demand);
    }
    // Once the size was seen, it is not forgotten with the series that told it.
    let mut state = State::default();
    let report = Report::tokens(8000, 16_000, 0.0, 100.0, 50.0);
    stock_after(&single(report), &mut state);
    let blind = single(Report { kv_capacity: None, ..report });
    let stock = stock_after(&blind, &mut state);
    assert_eq!(self::capacity(&stock, "variant-a"), (12_800, CapacityBasis::Memory));
    assert_close("in use", stock.total.demand, 8000.0);
}

/// The V2 rows of H. TH-06 leaves a field as it was where a threshold is not positive; here such a
/// policy is refused.
#[test]
fn h_thresholds() {
    for (up, down, valid) in [
        (0.9, 0.6, true),
        (1.5, 0.6, false),
        (0.6, 0.7, false),
        (0.0, 0.0, false),
        (-1.0, 0.7, false),
        (0.85, 0.0, false),
    ] {
        for analyzer in ["tokens", "throughput"] {
            let read = serde_json::from_value::<Policy>(serde_json::json!({
                analyzer: { "scaleUpThreshold": up, "scaleDownBoundary": down },
            }));
            let is_valid = read.as_ref().is_ok_and(|policy| policy.validate().is_ok());
            assert_eq!(is_valid, valid, "{analyzer} {up} {down}: {read:?}");
        }
    }
    let TokensPolicy { scale_up_threshold, scale_down_boundary, .. } = TokensPolicy::default();
    assert_eq!((scale_up_threshold, scale_down_boundary), (UP, DOWN));
}
