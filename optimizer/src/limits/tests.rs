use super::*;
use crate::observation::QuotaScope;
use crate::units::Replicas;

/// A cluster with these GPUs in all, by kind, and what pods hold of them.
fn cluster<const N: usize>(gpus: [(&str, u32, u32); N]) -> Inventory {
    let pool = |(name, total, used): (&str, u32, u32)| {
        (name.parse().unwrap(), GpuPool { total: Gpus::new(total), used: Gpus::new(used) })
    };
    Inventory { gpus: Some(gpus.map(pool).into()), quotas: Vec::new() }
}

fn quota<const N: usize>(name: &str, scope: &str, limits: [(&str, Option<u32>); N]) -> Quota {
    let limit = |(name, limit): (&str, Option<u32>)| (name.parse().unwrap(), limit.map(Gpus::new));
    let scope = match scope {
        "" => QuotaScope::Cluster { except: ["kube-system".parse().unwrap()].into() },
        namespace => QuotaScope::Namespace(namespace.parse().unwrap()),
    };
    Quota { name: name.to_owned(), scope, limits: limits.map(limit).into(), used: BTreeMap::new() }
}

/// One variant for each (namespace, accelerator, replicas), of two GPUs each.
struct Fleet(Vec<(Namespace, VariantObservation)>);

impl Fleet {
    fn new(variants: &[(&str, &str, u32)]) -> Self {
        let variant = |(idx, &(namespace, accelerator, current)): (usize, &(&str, &str, u32))| {
            let variant = VariantObservation {
                gpus_per_replica: Gpus::new(2),
                current: Replicas::new(current),
                ..VariantObservation::new(
                    format!("v{idx}").parse().unwrap(),
                    accelerator.parse().unwrap(),
                )
            };
            (namespace.parse().unwrap(), variant)
        };
        Self(variants.iter().enumerate().map(variant).collect())
    }

    fn limits(&self, inventory: &Inventory) -> Limits<'_> {
        let placed = self.0.iter().map(|(namespace, variant)| Placed { namespace, variant });
        Limits::new(Some(inventory), placed.collect())
    }
}

/// What one variant without replicas may take.
#[track_caller]
fn check_free(inventory: &Inventory, namespace: &str, accelerator: &str, expected: Option<u32>) {
    let fleet = Fleet::new(&[(namespace, accelerator, 0)]);
    let limits = fleet.limits(inventory);
    assert_eq!(limits.free(0), expected.map(Gpus::new), "{:?}", limits.draws());
}

fn denial(inventory: &Inventory, accelerator: &str) -> Option<String> {
    let fleet = Fleet::new(&[("n", accelerator, 0)]);
    fleet.limits(inventory).draws()[0].denied.as_ref().map(ToString::to_string)
}

/// Vectors G10 and G11 of the workload-variant-autoscaler 0.5.
#[test]
fn g10_g11_free_is_what_is_not_used() {
    let inventory = cluster([("H100", 16, 4), ("A100", 8, 2)]);
    check_free(&inventory, "n", "H100", Some(12));
    check_free(&inventory, "n", "A100", Some(6));
    let fleet = Fleet::new(&[]);
    let limits = fleet.limits(&inventory);
    let sum = |of: fn(&Pool) -> Gpus| limits.pools().iter().map(of).sum::<Gpus>().get();
    assert_eq!([sum(|p| p.limit), sum(|p| p.used), sum(Pool::free)], [24, 6, 18]);

    let inventory = cluster([("H100", 8, 12)]);
    check_free(&inventory, "n", "H100", Some(0));
}

/// Defects D6 and D7 of the workload-variant-autoscaler 0.9: there the label of a node and the short
/// name of a variant are two kinds, and two boards are one.
#[test]
fn a_short_name_is_served_by_the_only_kind_that_it_names() {
    let one = cluster([("NVIDIA-A100-SXM4-80GB", 8, 0), ("NVIDIA-H100-80GB-HBM3", 4, 0)]);
    for name in ["A100", "NVIDIA-A100-SXM4-80GB", "nvidia-a100-80gb", "A100-80GB"] {
        check_free(&one, "n", name, Some(8));
    }
    check_free(&one, "n", "NVIDIA-A100-PCIE-40GB", Some(0));
    // A quota on another A100 is not on the one that the name stands for.
    let cards = quota("cards", "n", [("NVIDIA-A100-PCIE-40GB", Some(4))]);
    check_free(&Inventory { quotas: vec![cards], ..one }, "n", "A100", Some(0));

    let two = cluster([("NVIDIA-A100-SXM4-80GB", 8, 0), ("NVIDIA-A100-SXM4-40GB", 4, 0)]);
    check_free(&two, "n", "NVIDIA-A100-SXM4-40GB", Some(4));
    let named = cluster([("A100", 2, 0), ("NVIDIA-A100-SXM4-40GB", 4, 0)]);
    check_free(&named, "n", "A100", Some(2));
    assert_eq!(
        denial(&two, "A100").unwrap(),
        "A100 may be A100-SXM-40GB or A100-SXM-80GB, so none is added"
    );
}

#[test]
fn two_spellings_of_a_kind_are_one_pool() {
    let inventory = cluster([("NVIDIA-H100-80GB-HBM3", 8, 3), ("nvidia-h100-80gb", 4, 2)]);
    check_free(&inventory, "n", "H100", Some(7));
}

#[test]
fn a_private_name_stands_for_the_only_kind() {
    let one = cluster([("H100", 8, 0)]);
    check_free(&one, "n", "our-big-gpu", Some(8));
    check_free(&one, "n", "nvidia.com/gpu", Some(8));
    for other in ["A100", "nvidia.com/mig-1g.5gb", "our-slice-shared"] {
        let expected = format!("the cluster has no {other}, so none is added");
        assert_eq!(denial(&one, other), Some(expected));
    }
    let two = cluster([("H100", 8, 0), ("L40S", 8, 0)]);
    assert_eq!(
        denial(&two, "our-big-gpu").unwrap(),
        "the cluster has no our-big-gpu, so none is added"
    );
}

/// Defect D12 of the workload-variant-autoscaler 0.9: there only its own replicas count.
#[test]
fn whoever_holds_a_gpu_it_is_not_free() {
    let inventory = cluster([("H100", 16, 10)]);
    let fleet = Fleet::new(&[("n", "H100", 3)]);
    let limits = fleet.limits(&inventory);
    let pool = &limits.pools()[0];
    assert_eq!((pool.free(), pool.budget()), (Gpus::new(6), Gpus::new(12)));

    // Six of its replicas exist, and two of them wait for a node.
    let fleet = Fleet::new(&[("n", "H100", 6)]);
    let limits = fleet.limits(&inventory);
    let pool = &limits.pools()[0];
    assert_eq!((pool.free(), pool.budget()), (Gpus::new(4), Gpus::new(16)));

    // Others took what it had: it keeps its budget, and nothing is free.
    let inventory = cluster([("H100", 8, 20)]);
    let limits = fleet.limits(&inventory);
    let pool = &limits.pools()[0];
    assert_eq!((pool.free(), pool.budget()), (Gpus::ZERO, Gpus::new(12)));
}

/// Defect D13 of the workload-variant-autoscaler 0.9: there a quota replaces what is there, and one
/// without a limit lets nothing scale.
#[test]
fn the_smaller_of_what_is_there_and_what_each_quota_leaves() {
    let inventory = Inventory {
        quotas: vec![
            quota("all", "", [("H100", Some(10)), ("L40S", Some(40)), ("L4", None)]),
            quota("team", "team", [("NVIDIA-H100-80GB-HBM3", Some(6)), ("L4", None)]),
        ],
        ..cluster([("NVIDIA-H100-80GB-HBM3", 16, 4), ("L40S", 64, 0), ("L4", 5, 0)])
    };
    check_free(&inventory, "other", "H100", Some(10));
    check_free(&inventory, "team", "H100", Some(6));
    check_free(&inventory, "kube-system", "H100", Some(12));
    check_free(&inventory, "other", "L40S", Some(40));
    check_free(&inventory, "team", "L40S", Some(0));
    check_free(&inventory, "team", "L4", Some(5));

    // What another namespace holds counts in the cluster's quota, and not in the team's.
    let fleet =
        Fleet::new(&[("other", "H100", 3), ("team", "H100", 1), ("kube-system", "H100", 1)]);
    let limits = fleet.limits(&inventory);
    assert_eq!([0, 1, 2].map(|idx| limits.free(idx).unwrap().get()), [2, 2, 6]);
}

#[test]
fn quotas_hold_where_nobody_counts_the_cluster() {
    let entries = [("A100", Some(8)), ("A100-SXM-80GB", Some(2)), ("MI300X", None)];
    let inventory = Inventory { gpus: None, quotas: vec![quota("q", "n", entries)] };
    check_free(&inventory, "n", "NVIDIA-A100-SXM4-40GB", Some(8));
    check_free(&inventory, "n", "NVIDIA-A100-SXM4-80GB", Some(2));
    check_free(&inventory, "n", "AMD-Instinct-MI300X-OAM", None);
    check_free(&inventory, "n", "H100", Some(0));
    check_free(&inventory, "elsewhere", "H100", None);
    assert_eq!(denial(&inventory, "H100").unwrap(), "quota q does not list H100, so none is added");
}

#[test]
fn a_resource_of_a_vendor_in_a_quota_covers_all_of_its_kinds_together() {
    let mut quota = quota("rq", "n", [("nvidia.com/gpu", Some(10))]);
    quota.used.insert("nvidia.com/gpu".parse().unwrap(), Gpus::new(7));
    let inventory = Inventory { quotas: vec![quota], ..cluster([("H100", 8, 0), ("L4", 8, 0)]) };
    let fleet = Fleet::new(&[("n", "H100", 2), ("n", "L4", 1)]);
    let limits = fleet.limits(&inventory);
    assert_eq!([0, 1].map(|idx| limits.free(idx).unwrap().get()), [3, 3]);
}

#[test]
fn without_an_inventory_nothing_is_limited() {
    let fleet = Fleet::new(&[("n", "H100", 2)]);
    let (namespace, variant) = &fleet.0[0];
    let limits = Limits::new(None, vec![Placed { namespace, variant }]);
    assert_eq!(limits.free(0), None);
    assert_eq!(limits.pools(), []);
}

#[test]
fn an_inventory_is_read_with_every_part_left_out() {
    let read = |json: serde_json::Value| serde_json::from_value::<Inventory>(json).unwrap();
    assert_eq!(read(serde_json::json!({})), Inventory::default());
    let inventory = read(serde_json::json!({
        "gpus": { "H100": { "total": 8 } },
        "quotas": [{ "name": "q", "scope": { "namespace": "n" }, "limits": { "H100": null } }],
    }));
    assert_eq!(inventory.gpus, cluster([("H100", 8, 0)]).gpus);
    assert_eq!(inventory.quotas, [quota("q", "n", [("H100", None)])]);
    assert_eq!(read(serde_json::to_value(&inventory).unwrap()), inventory);
}

#[test]
fn what_nothing_limits_gets_all_that_it_wants() {
    let fleet = Fleet::new(&[("n", "H100", 2)]);
    let (namespace, variant) = &fleet.0[0];
    let ask = Ask { wanted: Replicas::new(u32::MAX), priority: 1.0, slack: 0.0 };
    let grants = Limits::new(None, vec![Placed { namespace, variant }]).grant(&[ask]);
    assert_eq!(grants.variants, [Grant { replicas: ask.wanted, limited: None }]);
}
