//! The workload-variant-autoscaler's test vectors for GPUs that are short, quotas, shares of them
//! and models at zero replicas: groups F, G and H of version 0.5, and RS, LM and EN of version 0.9.
//! Some stand in its own tests, others were derived from its code.
//!
//! Where a row shows a defect, the row here holds the better answer, and says why.

mod properties;
mod zero;

use std::collections::BTreeMap;

use optimizer::decision::LimitsReason;
use optimizer::id::Namespace;
use optimizer::limits::share::{Claim, share};
use optimizer::limits::{Ask, Grants, Limits, Placed};
use optimizer::observation::{Bounds, GpuPool, Inventory, Quota, QuotaScope, VariantObservation};
use optimizer::units::{Gpus, HourlyCost, ReplicaLoad, Replicas};

use crate::fleet::id;

/// A variant of a row: on an accelerator, with GPUs per replica, current and wanted replicas.
#[derive(Clone, Copy)]
struct V {
    name: &'static str,
    namespace: &'static str,
    accelerator: &'static str,
    gpus: u32,
    current: u32,
    wanted: u32,
    slack: f64,
    priority: f64,
    cost: f64,
    min: u32,
    max: Option<u32>,
}

const fn v(name: &'static str, gpus: u32, current: u32, wanted: u32) -> V {
    V {
        name,
        namespace: "ns",
        accelerator: "A100",
        gpus,
        current,
        wanted,
        slack: 0.0,
        priority: 1.0,
        cost: 0.0,
        min: 0,
        max: None,
    }
}

impl V {
    const fn on(self, accelerator: &'static str) -> Self {
        Self { accelerator, ..self }
    }

    const fn slack(self, slack: f64) -> Self {
        Self { slack, ..self }
    }

    const fn cost(self, cost: f64) -> Self {
        Self { cost, ..self }
    }

    const fn priority(self, priority: f64) -> Self {
        Self { priority, ..self }
    }

    const fn min(self, min: u32) -> Self {
        Self { min, ..self }
    }

    const fn max(self, max: u32) -> Self {
        Self { max: Some(max), ..self }
    }

    fn observed(&self) -> (Namespace, VariantObservation) {
        let variant = VariantObservation {
            gpus_per_replica: Gpus::new(self.gpus),
            cost: HourlyCost::new(self.cost),
            bounds: Bounds { min: Replicas::new(self.min), max: self.max.map(Replicas::new) },
            current: Replicas::new(self.current),
            ..VariantObservation::new(id(self.name), id(self.accelerator))
        };
        (id(self.namespace), variant)
    }

    fn ask(&self) -> Ask {
        Ask { wanted: Replicas::new(self.wanted), priority: self.priority, slack: self.slack }
    }
}

/// A cluster with these GPUs in all, by kind, of which pods hold what the row says.
fn cluster<const N: usize>(gpus: [(&str, u32, u32); N]) -> Inventory {
    let pool = |(kind, total, used): (&str, u32, u32)| {
        (id(kind), GpuPool { total: Gpus::new(total), used: Gpus::new(used) })
    };
    Inventory { gpus: Some(gpus.map(pool).into()), quotas: Vec::new() }
}

/// A quota on one kind; on all namespaces where it is named `cluster-quota`.
fn quota(name: &str, kind: &str, limit: Option<u32>) -> Quota {
    let scope = match name {
        "cluster-quota" => QuotaScope::Cluster { except: [].into() },
        _ => QuotaScope::Namespace(id("ns")),
    };
    let limits = [(id(kind), limit.map(Gpus::new))].into();
    Quota { name: name.to_owned(), scope, limits, used: BTreeMap::new() }
}

fn quotas<const N: usize>(quotas: [Quota; N]) -> Inventory {
    Inventory { gpus: None, quotas: quotas.into() }
}

fn grants(inventory: &Inventory, variants: &[V]) -> Grants {
    let observed: Vec<_> = variants.iter().map(V::observed).collect();
    let placed = observed.iter().map(|(namespace, variant)| Placed { namespace, variant });
    let asks: Vec<_> = variants.iter().map(V::ask).collect();
    Limits::new(Some(inventory), placed.collect()).grant(&asks)
}

/// The replicas that each gets, who is limited, and the GPUs that are left in each pool.
#[track_caller]
fn check(row: &str, inventory: &Inventory, variants: &[V], expected: &[(u32, bool)], left: &[u32]) {
    let grants = grants(inventory, variants);
    let found: Vec<_> =
        grants.variants.iter().map(|g| (g.replicas.get(), g.limited.is_some())).collect();
    assert_eq!(found, expected, "{row}: {grants:?}");
    let found: Vec<_> = grants.left.iter().map(|gpus| gpus.get()).collect();
    assert_eq!(found, left, "{row}: {grants:?}");
}

/// The only variant's limit: the quota's name, or none for the cluster.
fn limited_by(inventory: &Inventory, variant: V) -> Option<String> {
    match grants(inventory, &[variant]).variants[0].limited.clone() {
        Some(LimitsReason::GpusLimited { quota, .. }) => quota,
        other => panic!("{other:?}"),
    }
}

#[test]
fn g1_to_g6_free_gpus_go_to_those_in_need() {
    // The rows tell what is free; what the variants hold is used besides.
    let free = |free: u32, held: u32| cluster([("A100", free + held, held)]);
    check("G1", &free(10, 4), &[v("v1", 2, 2, 4)], &[(4, false)], &[6]);
    let three = [
        v("medium", 2, 1, 2).slack(0.30).cost(10.0),
        v("saturated", 2, 1, 2).slack(0.05).cost(15.0),
        v("idle", 2, 1, 2).slack(0.50).cost(20.0),
    ];
    check("G2", &free(6, 6), &three, &[(2, false); 3], &[0]);
    check("G2b", &free(4, 6), &three, &[(2, false), (2, false), (1, true)], &[0]);
    // A defect: the original takes the third GPU from the pool, where no replica has a use for it.
    check("G3", &free(3, 2), &[v("v1", 2, 1, 3)], &[(2, true)], &[1]);
    let after = [v("v1", 2, 1, 3), v("v2", 1, 0, 1)];
    check("G3 with another", &free(3, 2), &after, &[(2, true), (1, false)], &[0]);
    // GPUs that are given back are not free in the same step.
    let calm = [v("same", 2, 2, 2), v("fewer", 2, 3, 2)];
    check("G4", &free(10, 10), &calm, &[(2, false), (2, false)], &[10]);
    let equal = [v("exp", 2, 1, 2).slack(0.1).cost(20.0), v("cheap", 2, 1, 2).slack(0.1).cost(5.0)];
    check("G5", &free(4, 4), &equal, &[(2, false), (2, false)], &[0]);
    check("G5, two GPUs", &free(2, 4), &equal, &[(1, true), (2, false)], &[0]);
    let named = [v("a", 2, 1, 2).slack(0.0).cost(9.0), v("z", 2, 1, 2).slack(-0.0).cost(5.0)];
    check("G5, cost before name", &free(2, 4), &named, &[(1, true), (2, false)], &[0]);
    let named = [v("a", 2, 1, 2).slack(-0.0).cost(5.0), v("z", 2, 1, 2).slack(0.0).cost(1.0)];
    check("G5, one zero", &free(2, 4), &named, &[(1, true), (2, false)], &[0]);
    check("G6", &free(10, 1), &[v("v1", 0, 1, 2)], &[(2, false)], &[9]);
}

#[test]
fn g7_to_g9_what_variants_hold_is_used() {
    check("G7", &cluster([("A100", 8, 4)]), &[v("v1", 2, 2, 4)], &[(4, false)], &[0]);
    let short = v("v1", 2, 2, 5);
    check("G8", &cluster([("A100", 6, 4)]), &[short], &[(3, true)], &[0]);
    // The original names its limiter; the kind of GPU that is short says more.
    let reason = grants(&cluster([("A100", 6, 4)]), &[short]).variants[0].limited.clone().unwrap();
    assert_eq!(reason.to_string(), "3 instead of 5: the cluster has too few A100 free");
    let two = [v("a", 2, 2, 3), v("h", 2, 1, 2).on("H100")];
    let inventory = cluster([("A100", 8, 4), ("H100", 4, 2)]);
    check("G9", &inventory, &two, &[(3, false), (2, false)], &[2, 0]);
}

/// The original's allocator counts single GPUs, so a replica has one here.
#[test]
fn g12_single_gpus() {
    let h100 = cluster([("H100", 4, 0)]);
    check("G12, 8 of 4", &h100, &[v("v", 1, 0, 8).on("H100")], &[(4, true)], &[0]);
    let a100 = cluster([("A100", 8, 0)]);
    check("G12, none of the kind", &a100, &[v("v", 1, 0, 4).on("H100")], &[(0, true)], &[8]);
    assert!("".parse::<optimizer::id::AcceleratorId>().is_err(), "G12, empty accelerator");
    check("G12, 0 of 8", &a100, &[v("v", 1, 0, 0)], &[(0, false)], &[8]);
    let both = cluster([("H100", 4, 0), ("A100", 8, 0)]);
    check("G12, two kinds", &both, &[v("v", 1, 0, 6)], &[(6, false)], &[2, 4]);
}

#[test]
fn lm_01_to_lm_06_the_limiter() {
    let free = |free: u32, held: u32| cluster([("A100", free + held, held)]);
    check("LM-01", &free(10, 4), &[v("v", 2, 2, 4)], &[(4, false)], &[6]);
    check("LM-02", &free(3, 2), &[v("v", 2, 1, 3)], &[(2, true)], &[1]);
    let three =
        [v("a", 2, 1, 2).slack(0.30), v("b", 2, 1, 2).slack(0.05), v("c", 2, 1, 2).slack(0.50)];
    check("LM-03", &free(6, 6), &three, &[(2, false); 3], &[0]);
    check("LM-03, order", &free(2, 6), &three, &[(1, true), (2, false), (1, true)], &[0]);
    check("LM-04", &free(1, 1), &[v("v", 0, 1, 2)], &[(2, false)], &[0]);
    check("LM-05", &free(100, 1), &[v("v", 1, 1, 10).max(3)], &[(3, false)], &[98]);
    check("LM-06", &free(0, 2), &[v("v", 2, 1, 5).min(3)], &[(3, true)], &[0]);
}

#[test]
fn lm_07_to_lm_12_quotas() {
    let asks = |asks: [u32; 3]| {
        let [a, b, c] = asks;
        [v("a", 1, 0, a), v("b", 1, 0, b), v("c", 1, 0, c)].map(|v| v.on("H100"))
    };
    let four = quotas([quota("cluster-quota", "H100", Some(4))]);
    check("LM-07", &four, &asks([3, 5, 1]), &[(3, false), (1, true), (0, true)], &[0]);
    let unlimited = quotas([quota("cluster-quota", "H100", None)]);
    let unlisted = [asks([999, 100, 0])[0], asks([999, 100, 0])[1], v("u", 1, 0, 4).on("L4")];
    check("LM-08", &unlimited, &unlisted, &[(999, false), (100, false), (0, true)], &[]);
    let mut eight = quota("cluster-quota", "H100", Some(8));
    eight.used.insert(id("H100"), Gpus::new(6));
    check("LM-09", &quotas([eight]), &asks([5, 1, 0])[..2], &[(2, true), (0, true)], &[0]);

    let short = v("v", 2, 2, 5);
    let six = quotas([quota("cluster-quota", "A100", Some(6))]);
    check("LM-10", &six, &[short], &[(3, true)], &[0]);
    assert_eq!(limited_by(&six, short).as_deref(), Some("cluster-quota"));

    let wide = quota("cluster-quota", "A100", Some(100));
    let narrow = quota("namespace-quota", "A100", Some(6));
    for both in [[wide.clone(), narrow.clone()], [narrow, wide]] {
        check("LM-11", &quotas(both.clone()), &[short], &[(3, true)], &[94, 0]);
        assert_eq!(limited_by(&quotas(both), short).as_deref(), Some("namespace-quota"));
    }

    let floor = short.min(5);
    check("LM-12", &six, &[floor], &[(5, true)], &[0]);
    assert_eq!(limited_by(&six, floor).as_deref(), Some("cluster-quota"));
}

#[test]
fn a_minimum_goes_before_whatever_others_want() {
    let two =
        [v("urgent", 1, 0, 3).slack(0.0).priority(9.0), v("promised", 2, 0, 1).slack(1.0).min(1)];
    check("it fits", &cluster([("A100", 3, 0)]), &two, &[(1, true), (1, false)], &[0]);
    // Its replica waits for two GPUs, so the one that there is stays for it.
    check("it waits", &cluster([("A100", 1, 0)]), &two, &[(0, true), (1, true)], &[0]);
}

/// A row of group RS in GPUs: weight, floor and cap of each claim, and what it gets.
#[track_caller]
fn check_share(row: &str, budget: u32, claims: &[(f64, u32, u32)], expected: &[u32], exceed: bool) {
    let claims: Vec<_> = claims
        .iter()
        .map(|&(weight, floor, cap)| Claim {
            weight,
            floor: Replicas::new(floor),
            cap: Replicas::new(cap),
            gpus_per_replica: Gpus::new(1),
        })
        .collect();
    let shares = share(Gpus::new(budget), &claims);
    let found: Vec<_> = shares.replicas.iter().map(|replicas| replicas.get()).collect();
    assert_eq!((found.as_slice(), shares.floors_exceed_budget), (expected, exceed), "{row}");
}

/// The weight is priority times demand, in GPUs.
#[test]
fn rs_01_to_rs_08_shares() {
    check_share("RS-01", 8, &[(8.0, 0, 8), (24.0, 0, 8)], &[2, 6], false);
    check_share("RS-02", 8, &[(8.0, 0, 8), (12.0, 0, 4)], &[4, 4], false);
    check_share("RS-03", 6, &[(10.0, 2, 10), (10.0, 0, 10)], &[4, 2], false);
    check_share("RS-04", 7, &[(7.0, 0, 7), (7.0, 0, 7)], &[4, 3], false);
    check_share("RS-05", 6, &[(0.0, 1, 1), (8.0, 0, 8)], &[1, 5], false);
    check_share("RS-06", 6, &[(4.0, 4, 8), (3.0, 3, 8)], &[4, 3], true);
    check_share("RS-07, 6:2", 4, &[(6.0, 0, 4), (2.0, 0, 4)], &[3, 1], false);
    check_share("RS-07, 3:1", 6, &[(3.0, 1, 6), (1.0, 1, 6)], &[4, 2], false);
    check_share("RS-07, no demand", 2, &[(0.0, 1, 2), (0.0, 1, 2)], &[1, 1], false);
    check_share("RS-11", 5, &[(4.0, 0, 4), (8.0, 0, 4), (16.0, 0, 4)], &[1, 1, 3], false);
    assert_eq!(ReplicaLoad::new(8500.0 / 1000.0).ceil(), Replicas::new(9), "RS-08");
}

/// Shares the limit out by priority times demand, in GPUs, and grants what is free of that.
#[track_caller]
fn check_rescale(row: &str, inventory: &Inventory, models: &[V], expected: &[u32]) {
    let claims: Vec<_> = models
        .iter()
        .map(|v| Claim {
            weight: v.priority * f64::from(v.wanted * v.gpus),
            floor: Replicas::new(v.min),
            cap: Replicas::new(v.wanted),
            gpus_per_replica: Gpus::new(v.gpus),
        })
        .collect();
    let total = inventory.gpus.iter().flatten().map(|(_, pool)| pool.total).sum();
    let shares = share(total, &claims).replicas;
    let asks: Vec<_> =
        models.iter().zip(shares).map(|(v, share)| V { wanted: share.get(), ..*v }).collect();
    let grants = grants(inventory, &asks);
    let found: Vec<_> = grants.variants.iter().map(|g| g.replicas.get()).collect();
    assert_eq!(found, expected, "{row}");
}

/// What is taken back is free when its pods are gone, so the others fill up in later steps.
#[test]
fn rs_09_to_rs_13_reclaim_now_and_fill_from_what_is_free() {
    let model =
        |name, gpus, current, demand, priority| v(name, gpus, current, demand).priority(priority);
    let two = |held| [model("a", 1, held, 8, 1.0), model("b", 1, 0, 8, 3.0)];
    check_rescale("RS-09", &cluster([("A100", 8, 8)]), &two(8), &[2, 0]);
    check_rescale("RS-10", &cluster([("A100", 8, 5)]), &two(5), &[2, 3]);
    let three = [model("c", 1, 4, 4, 1.0), model("a", 1, 0, 4, 2.0), model("b", 1, 0, 4, 4.0)];
    check_rescale("RS-11", &cluster([("A100", 5, 4)]), &three, &[1, 0, 1]);
    let sizes = [model("a", 2, 4, 8, 1.0), model("b", 1, 0, 8, 2.0)];
    check_rescale("RS-12", &cluster([("A100", 8, 8)]), &sizes, &[2, 0]);
    let mut namespace = cluster([("A100", 9, 8)]);
    namespace.quotas.push(quota("ns", "A100", Some(5)));
    check("RS-13", &namespace, &[v("v", 1, 0, 3)], &[(1, true)], &[0, 4]);
}

/// Row E12 of version 0.5: of two limits on one kind the smaller counts, and the other kind keeps
/// its own.
#[test]
fn e12_the_smaller_of_two_limits_counts() {
    let pool = |total| GpuPool { total: Gpus::new(total), used: Gpus::ZERO };
    let quota = Quota {
        name: "six".to_owned(),
        scope: QuotaScope::Cluster { except: [].into() },
        limits: [(id("A100"), Some(Gpus::new(6))), (id("H100"), None)].into(),
        used: BTreeMap::new(),
    };
    let inventory = Inventory {
        gpus: Some([(id("A100"), pool(10)), (id("H100"), pool(4))].into()),
        quotas: vec![quota],
    };
    let variants = ["A100", "H100"].map(|kind| VariantObservation::new(id(kind), id(kind)));
    let namespace: Namespace = id("ns");
    let placed = variants.iter().map(|variant| Placed { namespace: &namespace, variant }).collect();
    let limits = Limits::new(Some(&inventory), placed);
    assert_eq!([0, 1].map(|idx| limits.free(idx)), [6, 4].map(|gpus| Some(Gpus::new(gpus))));
}
