//! What holds for every fleet and every inventory.

use optimizer::id::Namespace;
use optimizer::limits::share::{Claim, share};
use optimizer::limits::{Ask, Grants, Limits, Placed, Pool};
use optimizer::observation::{Bounds, GpuPool, Inventory, Quota, QuotaScope, VariantObservation};
use optimizer::units::{Gpus, HourlyCost, Replicas};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use crate::fleet::id;

const NAMES: [&str; 7] = [
    "H100",
    "NVIDIA-H100-80GB-HBM3",
    "NVIDIA-H100-PCIe",
    "A100",
    "NVIDIA-A100-SXM4-80GB",
    "nvidia.com/gpu",
    "ours",
];

/// A variant, where it runs, and what it asks for.
type Member = (Namespace, VariantObservation, Ask);

fn gpus(most: u32) -> impl Strategy<Value = Gpus> {
    prop_oneof![20 => (0..=most).prop_map(Gpus::new), 1 => Just(Gpus::new(u32::MAX))]
}

fn replicas(most: u32) -> impl Strategy<Value = Replicas> {
    prop_oneof![40 => (0..=most).prop_map(Replicas::new), 1 => Just(Replicas::new(u32::MAX))]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (0..4_u32).prop_map(f64::from),
        1 => select(vec![-1.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300]),
    ]
}

fn member(idx: usize) -> impl Strategy<Value = Member> {
    let bounds =
        (replicas(2), prop::option::of(replicas(9))).prop_map(|(min, max)| Bounds { min, max });
    let ask = (replicas(8), number(), number()).prop_map(|(wanted, priority, slack)| Ask {
        wanted,
        priority,
        slack,
    });
    let place = (select(vec!["a", "b"]), select(NAMES.to_vec()));
    (place, gpus(4), replicas(5), bounds, 0..3_u32, ask).prop_map(
        move |((namespace, accelerator), gpus_per_replica, current, bounds, cost, ask)| {
            let variant = VariantObservation {
                gpus_per_replica,
                current,
                bounds,
                cost: HourlyCost::new(f64::from(cost)),
                ..VariantObservation::new(id(&format!("v{idx}")), id(accelerator))
            };
            (id(namespace), variant, ask)
        },
    )
}

fn members() -> impl Strategy<Value = Vec<Member>> {
    (0..6_usize).prop_flat_map(|count| (0..count).map(member).collect::<Vec<_>>())
}

fn inventory() -> impl Strategy<Value = Inventory> {
    let name = || select(NAMES.to_vec()).prop_map(id);
    let pool = (gpus(24), gpus(12)).prop_map(|(total, used)| GpuPool { total, used });
    let scope = select(vec![
        QuotaScope::Cluster { except: [].into() },
        QuotaScope::Cluster { except: [id("a")].into() },
        QuotaScope::Namespace(id("a")),
        QuotaScope::Namespace(id("b")),
    ]);
    let limits = btree_map(name(), prop::option::of(gpus(20)), 0..5);
    let quota = (scope, limits, btree_map(name(), gpus(9), 0..2))
        .prop_map(|(scope, limits, used)| Quota { name: "q".to_owned(), scope, limits, used });
    (prop::option::of(btree_map(name(), pool, 0..4)), vec(quota, 0..3))
        .prop_map(|(gpus, quotas)| Inventory { gpus, quotas })
}

fn limits<'a>(inventory: &Inventory, members: &'a [Member]) -> Limits<'a> {
    let placed =
        members.iter().map(|(namespace, variant, _)| Placed { namespace, variant }).collect();
    Limits::new(Some(inventory), placed)
}

fn grant(inventory: &Inventory, members: &[Member]) -> Grants {
    let asks: Vec<_> = members.iter().map(|(_, _, ask)| *ask).collect();
    limits(inventory, members).grant(&asks)
}

/// What the members of each pool hold with these replicas, in wide numbers.
fn held(limits: &Limits<'_>, members: &[Member], replicas: impl Fn(usize) -> u32) -> Vec<u64> {
    let mut held = vec![0; limits.pools().len()];
    for (idx, (draw, (_, variant, _))) in limits.draws().iter().zip(members).enumerate() {
        for &pool in &draw.pools {
            let each = u64::from(variant.gpus_per_replica.get().max(1));
            held[pool] += each * u64::from(replicas(idx));
        }
    }
    held
}

/// Members in the order in which they are served.
fn precedence(members: &[Member]) -> Vec<usize> {
    let mut order: Vec<_> = (0..members.len()).collect();
    order.sort_by(|&a, &b| {
        let ((na, va, a), (nb, vb, b)) = (&members[a], &members[b]);
        let zero = |number: f64| if number == 0.0 { 0.0 } else { number };
        zero(b.priority)
            .total_cmp(&zero(a.priority))
            .then(zero(a.slack).total_cmp(&zero(b.slack)))
            .then((va.cost, na, &va.variant).cmp(&(vb.cost, nb, &vb.variant)))
    });
    order
}

proptest! {
    /// Beyond what is held already, and what a minimum demands.
    #[test]
    fn no_pool_is_overdrawn(inventory in inventory(), members in members()) {
        let limits = limits(&inventory, &members);
        let grants = grant(&inventory, &members);
        let now = held(&limits, &members, |idx| {
            let (_, variant, _) = &members[idx];
            variant.current.max(variant.bounds.clamp(Replicas::ZERO)).get()
        });
        let then = held(&limits, &members, |idx| grants.variants[idx].replicas.get());
        for ((pool, now), then) in limits.pools().iter().zip(now).zip(then) {
            let budget = u64::from(pool.budget().get());
            prop_assert!(then <= budget.max(now), "{pool:?}: {then} of {budget}, {now} before");
        }
    }

    #[test]
    fn all_stay_between_what_they_have_and_what_they_want(
        inventory in inventory(),
        members in members(),
    ) {
        let grants = grant(&inventory, &members);
        for ((_, variant, ask), grant) in members.iter().zip(&grants.variants) {
            let wanted = variant.bounds.clamp(ask.wanted);
            let floor = variant.bounds.clamp(Replicas::ZERO).min(wanted);
            prop_assert!(grant.replicas >= variant.current.min(wanted).max(floor));
            prop_assert!(grant.replicas <= wanted);
            prop_assert!(grant.limited.is_some() || grant.replicas == wanted);
        }
    }

    #[test]
    fn the_order_of_variants_and_quotas_means_nothing(
        mut inventory in inventory(),
        members in members(),
        keys in vec(any::<u32>(), 6),
    ) {
        let grants = grant(&inventory, &members);
        let mut order: Vec<_> = (0..members.len()).collect();
        order.sort_by_key(|&idx| keys[idx]);
        let shuffled: Vec<_> = order.iter().map(|&idx| members[idx].clone()).collect();
        inventory.quotas.reverse();
        let again = grant(&inventory, &shuffled);
        prop_assert_eq!(&again.left, &grants.left);
        for (position, &idx) in order.iter().enumerate() {
            prop_assert_eq!(&again.variants[position], &grants.variants[idx]);
        }
    }

    /// Of the variants whose grant differs, the first in the order of precedence gets more.
    #[test]
    fn more_gpus_serve_the_first_in_line_first(
        inventory in inventory(),
        members in members(),
        more in vec(0..8_u32, 9),
    ) {
        let mut richer = inventory.clone();
        let mut more = more.into_iter().cycle().map(Gpus::new);
        for pool in richer.gpus.iter_mut().flat_map(|gpus| gpus.values_mut()) {
            pool.total += more.next().unwrap();
        }
        for limit in richer.quotas.iter_mut().flat_map(|quota| quota.limits.values_mut()) {
            *limit = limit.map(|limit| limit + more.next().unwrap());
        }
        let (before, after) = (grant(&inventory, &members), grant(&richer, &members));
        for idx in precedence(&members) {
            let (before, after) = (before.variants[idx].replicas, after.variants[idx].replicas);
            prop_assert!(after >= before, "{}", idx);
            if after > before {
                break;
            }
        }
    }

    /// With replicas of one size that draw from one pool, nobody gets less.
    #[test]
    fn more_gpus_of_one_kind_never_give_anyone_less(
        members in members(),
        size in gpus(3),
        total in gpus(24),
        more in gpus(8),
    ) {
        let same = |(namespace, mut variant, ask): Member| {
            variant.gpus_per_replica = size;
            variant.accelerator = id("H100");
            (namespace, variant, ask)
        };
        let members: Vec<_> = members.into_iter().map(same).collect();
        let of = |total| {
            let pool = GpuPool { total, used: Gpus::ZERO };
            let inventory =
                Inventory { gpus: Some([(id("H100"), pool)].into()), quotas: Vec::new() };
            grant(&inventory, &members).variants
        };
        for (before, after) in of(total).into_iter().zip(of(total + more)) {
            prop_assert!(after.replicas >= before.replicas);
        }
    }

    #[test]
    fn a_budget_is_what_is_held_and_what_is_free(inventory in inventory(), members in members()) {
        let limits = limits(&inventory, &members);
        for pool in limits.pools() {
            let Pool { limit, used, held, .. } = *pool;
            prop_assert!(pool.budget() >= held);
            prop_assert!(pool.free() <= limit - used && pool.free() <= limit - held);
        }
        for idx in 0..members.len() {
            let denied = limits.draws()[idx].denied.is_some();
            prop_assert!(!denied || limits.free(idx) == Some(Gpus::ZERO));
        }
    }
}

fn claims() -> impl Strategy<Value = Vec<Claim>> {
    let claim = (number(), replicas(4), replicas(12), gpus(4)).prop_map(
        |(weight, floor, cap, gpus_per_replica)| Claim { weight, floor, cap, gpus_per_replica },
    );
    vec(claim, 0..6)
}

fn gpus_of(claims: &[Claim], replicas: &[Replicas]) -> u64 {
    let each = |(claim, count): (&Claim, &Replicas)| {
        u64::from(claim.gpus_per_replica.get().max(1)) * u64::from(count.get())
    };
    claims.iter().zip(replicas).map(each).sum()
}

proptest! {
    #[test]
    fn shares_keep_to_the_budget_and_leave_nothing_that_fits(budget in gpus(40), claims in claims()) {
        let shares = share(budget, &claims);
        for (claim, &got) in claims.iter().zip(&shares.replicas) {
            prop_assert!(claim.floor.min(claim.cap) <= got && got <= claim.cap);
        }
        let given = gpus_of(&claims, &shares.replicas);
        let budget = u64::from(budget.get());
        if shares.floors_exceed_budget {
            let floors: Vec<_> = claims.iter().map(|claim| claim.floor.min(claim.cap)).collect();
            prop_assert_eq!(shares.replicas, floors);
            prop_assert!(given > budget);
        } else {
            prop_assert!(given <= budget);
            for (claim, &got) in claims.iter().zip(&shares.replicas) {
                let hungry = claim.weight > 0.0 && got < claim.cap;
                let each = u64::from(claim.gpus_per_replica.get().max(1));
                prop_assert!(!hungry || given + each > budget, "{:?} {:?}", claim, got);
            }
        }
    }

    /// Single GPUs: each claim's share is the exact one, rounded up or down.
    #[test]
    fn shares_are_those_of_communicating_vessels(budget in 0..60_u32, claims in claims()) {
        let weight = |claim: &Claim| if claim.weight > 0.0 { claim.weight.min(1e9) } else { 0.0 };
        let single = |claim: Claim| Claim { weight: weight(&claim), gpus_per_replica: Gpus::new(1), ..claim };
        let claims: Vec<_> = claims.into_iter().map(single).collect();
        let exact = |claim: &Claim, level: f64| {
            let floor = claim.floor.min(claim.cap).as_f64();
            (floor + level * claim.weight).min(if claim.weight > 0.0 { claim.cap.as_f64() } else { floor })
        };
        let total = |level| claims.iter().map(|claim| exact(claim, level)).sum::<f64>();
        prop_assume!(total(0.0) <= f64::from(budget));
        let (mut low, mut high) = (0.0, 1e10);
        for _ in 0..200 {
            let middle = f64::midpoint(low, high);
            *if total(middle) <= f64::from(budget) { &mut low } else { &mut high } = middle;
        }
        for (claim, got) in claims.iter().zip(share(Gpus::new(budget), &claims).replicas) {
            prop_assert!((got.as_f64() - exact(claim, low)).abs() < 1.0 + 1e-6, "{:?} {}", claim, got);
        }
    }

    /// The method of largest remainders may take one replica from somebody, but no more.
    #[test]
    fn a_larger_budget_takes_at_most_one_replica_from_anyone(
        budget in 0..40_u32,
        more in 0..9_u32,
        size in 1..4_u32,
        claims in claims(),
    ) {
        let same = |claim| Claim { gpus_per_replica: Gpus::new(size), ..claim };
        let claims: Vec<_> = claims.into_iter().map(same).collect();
        let of = |budget| share(Gpus::new(budget), &claims);
        let (before, after) = (of(budget), of(budget + more));
        for (before, after) in before.replicas.iter().zip(&after.replicas) {
            prop_assert!(*after + Replicas::new(1) >= *before, "{} {}", before, after);
        }
    }
}
