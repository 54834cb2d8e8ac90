//! Which pods a `ReplicaSet` deletes when it becomes smaller.
//!
//! The order is that of `ActivePodsWithRanks` in Kubernetes' `pkg/controller/controller_utils.go`.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use optimizer::units::Timestamp;

use super::Pod;

/// The places in `pods` of those `count` that go first. The first rule that tells two pods apart
/// decides:
///
/// 1. one without a node goes before one with a node,
/// 2. pending before unknown before running,
/// 3. not ready before ready,
/// 4. a lower deletion cost before a higher one,
/// 5. one that shares its node with more active pods of `related` before one with fewer,
/// 6. one that has been ready for a shorter time before one that has been for longer,
/// 7. one with more restarts before one with fewer,
/// 8. a younger one before an older one.
///
/// Times count as powers of two nanoseconds, so pods of about the same age are equals, and of equals
/// the lower [`Pod::uid`] goes.
///
/// `pods` are the active ones of the set, `related` those of all sets of the same deployment. Where
/// all of `pods` go, they go in the order in which they came.
#[must_use]
pub fn pods_to_delete(now: Timestamp, pods: &[Pod], related: &[Pod], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pods.len()).collect();
    if count >= pods.len() {
        return order;
    }
    let mut on_node = BTreeMap::<_, usize>::new();
    for pod in related.iter().filter(|pod| pod.is_active()) {
        *on_node.entry(pod.node).or_default() += 1;
    }
    let rank = |pod: &Pod| on_node.get(&pod.node).copied().unwrap_or(0);
    let goes_before = |a: usize, b: usize| {
        let (a, b) = (&pods[a], &pods[b]);
        deletion_order(now, (a, rank(a)), (b, rank(b))).is_lt()
    };
    // An insertion sort, as Kubernetes' sort is for up to 12 pods, and not the standard library's:
    // rules 6 and 7 can go round in a circle, over which that one would panic.
    for end in 1..order.len() {
        let mut place = end;
        while place > 0 && goes_before(order[place], order[place - 1]) {
            order.swap(place, place - 1);
            place -= 1;
        }
    }
    order.truncate(count);
    order
}

/// Pods with the number of active ones on their nodes; the lesser goes first.
fn deletion_order(
    now: Timestamp,
    (a, rank_a): (&Pod, usize),
    (b, rank_b): (&Pod, usize),
) -> Ordering {
    let by_state = |pod: &Pod, rank| {
        (pod.node.is_some(), pod.phase, pod.is_ready(), pod.deletion_cost, Reverse(rank))
    };
    let ready_since = |pod: &Pod| pod.readiness.filter(|_| pod.is_ready()).map(|ready| ready.since);
    let by_age = |age_a: Timestamp, age_b: Timestamp| {
        if age_a == age_b {
            return Ordering::Equal;
        }
        magnitude(now, age_a).cmp(&magnitude(now, age_b)).then(a.uid.cmp(&b.uid))
    };
    let by_readiness = match (ready_since(a), ready_since(b)) {
        (Some(a), Some(b)) => by_age(a, b),
        _ => Ordering::Equal,
    };
    by_state(a, rank_a)
        .cmp(&by_state(b, rank_b))
        .then(by_readiness)
        .then(b.restarts.cmp(&a.restarts))
        .then_with(|| by_age(a.created, b.created))
}

/// The binary logarithm of an age in nanoseconds, rounded down; less than that of any age for none.
fn magnitude(now: Timestamp, then: Timestamp) -> Option<u32> {
    now.as_nanos().saturating_sub(then.as_nanos()).checked_ilog2()
}

#[cfg(test)]
mod tests {
    use optimizer::units::Seconds;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::super::{Phase, Readiness};
    use super::*;

    const HOUR: f64 = 3600.0;

    fn now() -> Timestamp {
        Timestamp::from_seconds(5000.0 * HOUR)
    }

    fn ago(hours: f64) -> Timestamp {
        Timestamp::from_nanos(now().as_nanos() - Timestamp::from_seconds(hours * HOUR).as_nanos())
    }

    fn ready(uid: u64, since: f64, created: f64) -> Pod {
        let readiness = Some(Readiness { ready: true, since: ago(since) });
        Pod { readiness, ..Pod::running(uid, ago(created)) }
    }

    /// The pairs of `TestSortingActivePodsWithRanks` in Kubernetes' `controller_utils_test.go`, each
    /// with the number of pods on its node. The first of a pair goes first, whatever its place.
    #[test]
    fn the_first_of_a_pair_goes_first() {
        const MONTH: f64 = 720.0;
        let unscheduled = Pod::pending(1, ago(0.0));
        let pending = Pod { node: Some(0), ..unscheduled };
        let unknown = Pod { phase: Phase::Unknown, ..pending };
        let not_ready = Pod { phase: Phase::Running, ..pending };
        let ready_now = ready(2, 0.0, 0.0);
        let ready_then = ready(1, MONTH, MONTH);
        let restarted = Pod { restarts: 9001, uid: 3, ..ready_now };
        let created_then = ready(1, 0.0, MONTH);
        let low_cost = Pod { deletion_cost: 10, ..created_then };
        let high_cost = Pod { deletion_cost: 100, ..created_then };
        for (first, second) in [
            ((unscheduled, 1), (pending, 2)),
            ((unscheduled, 2), (pending, 1)),
            ((pending, 1), (unknown, 2)),
            ((unknown, 1), (not_ready, 2)),
            ((not_ready, 1), (ready_now, 1)),
            ((ready_now, 1), (ready_then, 1)),
            ((ready_now, 2), (ready_then, 1)),
            ((restarted, 1), (ready_now, 1)),
            ((ready_now, 2), (restarted, 1)),
            ((ready_now, 1), (created_then, 1)),
            ((created_then, 2), (ready_now, 1)),
            ((low_cost, 2), (high_cost, 1)),
            ((ready(2, 2.0, MONTH), 1), (ready(1, 5.0, MONTH), 1)),
        ] {
            let order =
                |a: (Pod, usize), b: (Pod, usize)| deletion_order(now(), (&a.0, a.1), (&b.0, b.1));
            assert_eq!(order(first, second), Ordering::Less, "{first:?}\n{second:?}");
            assert_eq!(order(second, first), Ordering::Greater, "{first:?}\n{second:?}");
        }
        // 5 and 8 hours lie between the same powers of two.
        let alike = [ready(9, 5.0, MONTH), ready(4, 8.0, MONTH)];
        assert_eq!(pods_to_delete(now(), &alike, &alike, 1), [1]);
    }

    /// Two of four pods share a node, a fifth there belongs to another set, and one is on its way out.
    #[test]
    fn crowded_nodes_are_cleared_first() {
        let on = |uid: u64, node: u32| Pod { node: Some(node), ..ready(uid, 100.0, 100.0) };
        let pods = [on(1, 1), on(2, 2), on(3, 1), on(4, 3)];
        let other = on(5, 3);
        let leaving = Pod { deleted: true, ..on(6, 2) };
        let related = [&pods[..], &[other, Pod { uid: 7, ..other }, leaving]].concat();
        assert_eq!(pods_to_delete(now(), &pods, &pods, 2), [0, 2]);
        assert_eq!(pods_to_delete(now(), &pods, &related, 3), [3, 0, 2]);
        assert_eq!(pods_to_delete(now(), &pods, &pods, 9), [0, 1, 2, 3], "all, as they came");
    }

    #[test]
    fn rules_that_go_round_in_a_circle_do_no_harm() {
        let base = ready(0, 5.0, 9.0);
        let later = Readiness { ready: true, since: ago(6.0) };
        let pods = [
            Pod { uid: 1, restarts: 0, ..base },
            Pod { uid: 3, restarts: 1, ..base },
            Pod { uid: 2, readiness: Some(later), ..base },
        ];
        let less = |a: usize, b: usize| {
            deletion_order(now(), (&pods[a], 1), (&pods[b], 1)) == Ordering::Less
        };
        assert!(less(1, 0) && less(0, 2) && less(2, 1), "a circle");
        assert_eq!(pods_to_delete(now(), &pods, &pods, 2).len(), 2);
    }

    fn pods() -> impl Strategy<Value = Vec<Pod>> {
        let phase = prop_oneof![Just(Phase::Pending), Just(Phase::Running), Just(Phase::Unknown)];
        let times = (0_u32..2000, prop::option::of(0_u32..2000));
        let pod = (prop::option::of(0_u32..4), phase, times, -2_i32..3, 0_u32..3);
        let pod = pod.prop_map(|(node, phase, (created, ready), deletion_cost, restarts)| Pod {
            node,
            phase,
            readiness: ready.map(|since| Readiness { ready: true, since: ago(f64::from(since)) }),
            deletion_cost,
            restarts,
            ..Pod::pending(0, ago(f64::from(created)))
        });
        prop::collection::vec(pod, 0..40).prop_map(|mut pods| {
            pods.iter_mut().zip(0..).for_each(|(pod, uid)| pod.uid = uid);
            pods
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(19), ..Default::default() })]

        /// As many as asked for, none twice, and nobody ready before somebody who is not, of those on
        /// a node and in the same phase.
        #[test]
        fn the_unready_go_first(pods in pods(), count in 0_usize..45) {
            let gone = pods_to_delete(now() + Seconds::new(1.0), &pods, &pods, count);
            prop_assert_eq!(gone.len(), count.min(pods.len()));
            let distinct: std::collections::BTreeSet<_> = gone.iter().collect();
            prop_assert_eq!(distinct.len(), gone.len());
            for place in (0..pods.len()).filter(|place| !gone.contains(place)) {
                for &gone in &gone {
                    let state = |pod: &Pod| (pod.node.is_some(), pod.phase, pod.is_ready());
                    prop_assert!(state(&pods[gone]) <= state(&pods[place]));
                }
            }
        }
    }
}
