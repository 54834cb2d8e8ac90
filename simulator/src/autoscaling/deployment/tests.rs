use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::IntOrPercent::{Int, Percent};
use super::*;

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn replicas(count: i64) -> Replicas {
    Replicas::new(u32::try_from(count).unwrap())
}

fn sizes(deployment: &Deployment) -> Vec<u32> {
    deployment.sizes().map(Replicas::get).collect()
}

/// Sets of these sizes, oldest first, and all of the deployment's present size.
fn deployment(count: i64, surge: u32, unavailable: u32, sets: &[i64]) -> Deployment {
    let strategy = RollingUpdate { max_surge: Int(surge), max_unavailable: Int(unavailable) };
    let deadline = Deployment::PROGRESS_DEADLINE;
    let mut deployment = Deployment::new(at(0.0), replicas(count), strategy, deadline);
    deployment.sets.resize(sets.len(), deployment.sets[0]);
    for (set, size) in sets.iter().enumerate() {
        deployment.resize(set, *size);
    }
    deployment
}

fn status(available: i64, size: i64) -> SetStatus {
    let available = replicas(available);
    SetStatus { replicas: replicas(size), ready: available, available }
}

/// `TestResolveFenceposts` in Kubernetes' `deployment_util_test.go`, and its defaults.
#[test]
fn limits() {
    let quarter = Percent(25);
    for (surge, unavailable, count, expected) in [
        (Percent(0), Percent(0), 0, (0, 1)),
        (Percent(39), Percent(39), 10, (4, 3)),
        (Int(0), Percent(39), 10, (0, 3)),
        (Percent(39), Int(0), 10, (4, 0)),
        (Int(0), Int(0), 10, (0, 1)),
        (quarter, quarter, 1, (1, 0)),
        (quarter, quarter, 4, (1, 1)),
        (quarter, quarter, 10, (3, 2)),
        (Percent(u32::MAX), quarter, i64::from(u32::MAX), (u32::MAX, u32::MAX / 4)),
    ] {
        let strategy = RollingUpdate { max_surge: surge, max_unavailable: unavailable };
        let (surge, unavailable) = strategy.fenceposts(replicas(count));
        assert_eq!((surge.get(), unavailable.get()), expected, "{strategy:?} of {count}");
    }
}

/// `TestDeploymentController_reconcileNewReplicaSet` in `rolling_test.go`: old and new size, and what
/// the new one becomes of ten replicas.
#[test]
fn the_new_set_grows() {
    for (surge, old, new, expected) in
        [(0, 10, 0, 0), (2, 10, 0, 2), (2, 5, 0, 7), (2, 10, 2, 2), (2, 2, 11, 10)]
    {
        let mut deployment = deployment(10, surge, 0, &[old, new]);
        deployment.grow_new_set();
        assert_eq!(sizes(&deployment)[1], expected, "{surge} {old} {new}");
    }
}

/// `TestDeploymentController_reconcileOldReplicaSets` there: of ten replicas, what becomes of the old
/// ones when so many of both are available.
#[test]
fn the_old_sets_shrink() {
    for (unavailable, [old, new], available, expected) in [
        // Of the first row upstream only says that something happens.
        (0, [10, 0], [10, 0], 9),
        (2, [10, 0], [10, 0], 8),
        (2, [10, 0], [8, 0], 8),
        (2, [10, 0], [9, 0], 8),
        (2, [8, 2], [8, 0], 8),
    ] {
        // A surge of one, where nothing may be missing.
        let surge = u32::from(unavailable == 0);
        let new = new + i64::from(surge);
        let mut deployment = deployment(10, surge, unavailable, &[old, new]);
        deployment.shrink_old_sets(&[available[0], available[1] + i64::from(surge)]);
        assert_eq!(sizes(&deployment)[0], expected, "{unavailable} {old} {new} {available:?}");
    }
}

/// `TestScale` in `sync_test.go`: sizes of the sets, oldest first, before and after the deployment
/// changed its own.
#[test]
fn a_new_size_is_shared_out() {
    for (surge, from, to, before, after) in [
        (0, 10, 12, &[10][..], &[12][..]),
        (0, 10, 5, &[10], &[5]),
        (0, 5, 10, &[3, 2], &[6, 4]),
        (0, 5, 3, &[3, 2], &[2, 1]),
        (0, 9, 4, &[1, 8], &[0, 4]),
        (0, 7, 10, &[2, 3, 2], &[3, 4, 3]),
        (0, 13, 8, &[3, 8, 2], &[2, 5, 1]),
        (0, 3, 4, &[1, 1, 1], &[1, 1, 2]),
        (0, 3, 2, &[1, 1, 1], &[0, 1, 1]),
        (0, 4, 5, &[2, 2], &[2, 3]),
        (0, 6, 0, &[1, 2, 3], &[0, 0, 0]),
        (0, 10, 14, &[3, 7], &[4, 10]),
        (2, 10, 20, &[6, 6], &[11, 11]),
    ] {
        let mut deployment = deployment(from, surge, 1, before);
        let statuses: Vec<_> = before.iter().map(|size| status(*size, *size)).collect();
        deployment.scale(replicas(to));
        assert!(deployment.reconcile(at(1.0), &statuses), "{from} to {to}");
        assert_eq!(sizes(&deployment), after, "{from} to {to} of {before:?}");
    }
    // "change both surge and size", with the surge changed underneath.
    let mut both = deployment(10, 3, 1, &[8, 5]);
    both.strategy.max_surge = Int(6);
    both.scale(replicas(50));
    both.reconcile(at(1.0), &[status(8, 8), status(5, 5)]);
    assert_eq!(sizes(&both), [34, 22]);
    // A set that was not there to be sized: all that exists is what it was a part of.
    let mut unsized_set = deployment(10, 0, 1, &[5, 5]);
    unsized_set.sets[0].sized_for_at_most = 0;
    unsized_set.scale(replicas(20));
    unsized_set.reconcile(at(1.0), &[status(5, 5), status(5, 5)]);
    assert_eq!(sizes(&unsized_set), [10, 10]);
}

/// A new set that is complete needs no old ones, also when those were sized for something else. With
/// one pod less it is shared out, and what no set has to give by its size the largest gives.
#[test]
fn a_saturated_set_stands_alone() {
    for (available, after) in [(4, [0, 4]), (3, [2, 2])] {
        let mut deployment = deployment(4, 0, 1, &[2, 4]);
        deployment.sets[0].sized_for = 3;
        deployment.reconcile(at(1.0), &[status(2, 2), status(available, 4)]);
        assert_eq!(sizes(&deployment), after, "{available} available");
    }
}

/// From zero the newest set alone grows: there is no size to share out by.
#[test]
fn from_zero() {
    let mut deployment = deployment(0, 0, 1, &[0, 0, 0]);
    deployment.scale(replicas(6));
    assert!(deployment.reconcile(at(1.0), &[]));
    assert_eq!(sizes(&deployment), [0, 0, 6]);
}

/// A cluster whose pods become available when told so.
struct Cluster {
    deployment: Deployment,
    available: Vec<i64>,
}

impl Cluster {
    fn new(count: i64, strategy: RollingUpdate) -> Self {
        let deadline = Deployment::PROGRESS_DEADLINE;
        let deployment = Deployment::new(at(0.0), replicas(count), strategy, deadline);
        let mut cluster = Self { deployment, available: vec![count] };
        cluster.settle(0.0);
        cluster
    }

    fn statuses(&self) -> Vec<SetStatus> {
        let sets = self.deployment.sets.iter().zip(&self.available);
        sets.map(|(set, available)| status(*available, set.replicas)).collect()
    }

    /// Looks until nothing changes any more. Pods that are not available are the first to go.
    fn settle(&mut self, second: f64) {
        for _ in 0..100 {
            let statuses = self.statuses();
            let changed = self.deployment.reconcile(at(second), &statuses);
            self.available.resize(self.deployment.sets.len(), 0);
            for (set, available) in self.deployment.sets.iter().zip(&mut self.available) {
                *available = (*available).min(set.replicas);
            }
            if !changed {
                return;
            }
        }
        panic!("no end: {:?}", sizes(&self.deployment));
    }

    fn total_available(&self) -> i64 {
        self.available.iter().sum()
    }
}

/// By hand, with the defaults: 13 pods at most and 8 available at least.
#[test]
fn a_rollout() {
    let mut cluster = Cluster::new(10, RollingUpdate::default());
    assert_eq!(cluster.deployment.progress(), Progress::Complete);
    cluster.deployment.change_template();
    let mut seen = Vec::new();
    for second in 1..5 {
        cluster.settle(f64::from(second));
        seen.push(sizes(&cluster.deployment));
        cluster.available[1] = cluster.deployment.sets[1].replicas;
    }
    assert_eq!(seen, [[8, 5], [3, 10], [0, 10], [0, 10]]);
    assert_eq!(cluster.deployment.progress(), Progress::Complete);
}

/// The example in the comment of `reconcileOldReplicaSets`: the new pods never become available, and
/// then a node takes an old one along. Nothing more is taken down, and the deadline passes.
#[test]
fn pods_that_never_become_ready() {
    let strategy = RollingUpdate { max_surge: Int(3), max_unavailable: Int(2) };
    let mut cluster = Cluster::new(10, strategy);
    cluster.deployment.change_template();
    cluster.settle(1.0);
    assert_eq!(sizes(&cluster.deployment), [8, 5]);
    cluster.available[0] = 7;
    for (second, progress) in [
        (300.0, Progress::Updating),
        (601.0, Progress::Updating),
        (601.001, Progress::DeadlineExceeded),
        (5000.0, Progress::DeadlineExceeded),
    ] {
        cluster.settle(second);
        assert_eq!(sizes(&cluster.deployment), [8, 5], "at {second} s");
        assert_eq!(cluster.deployment.progress(), progress, "at {second} s");
    }
    // One that becomes available after all is progress again.
    cluster.available[1] = 1;
    cluster.settle(5001.0);
    assert_eq!(cluster.deployment.progress(), Progress::Updating);
}

/// A larger count is no rollout, so pods that do not come are no failure of one.
#[test]
fn a_change_of_size_has_no_deadline() {
    let mut cluster = Cluster::new(2, RollingUpdate::default());
    cluster.deployment.scale(replicas(5));
    cluster.settle(1.0);
    assert_eq!(sizes(&cluster.deployment), [5]);
    cluster.settle(10_000.0);
    assert_eq!(cluster.deployment.progress(), Progress::Complete);
}

/// A template that changes again before the last one is out leaves two old sets.
#[test]
fn a_rollout_over_a_rollout() {
    let mut cluster = Cluster::new(10, RollingUpdate::default());
    for _ in 0..2 {
        cluster.deployment.change_template();
        cluster.settle(1.0);
    }
    // The 5 pods of the second template were not available yet, so they went first.
    assert_eq!(sizes(&cluster.deployment), [8, 0, 5]);
    cluster.available[2] = 5;
    cluster.settle(2.0);
    assert_eq!(sizes(&cluster.deployment), [3, 0, 10]);
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(17), ..Default::default() })]

    /// Whenever pods become available or fall ill, and however often the template changes: never more
    /// pods than allowed, none that is available taken down below the fewest, and an end if pods do.
    #[test]
    fn within_the_limits(
        count in 1_i64..30,
        (surge, unavailable) in (0_u32..120, 0_u32..=100),
        events in prop::collection::vec((0_usize..4, 0_i64..8, 0_u32..12), 0..40),
    ) {
        let strategy =
            RollingUpdate { max_surge: Percent(surge), max_unavailable: Percent(unavailable) };
        let (surge, unavailable) = strategy.fenceposts(replicas(count));
        let most = count + i64::from(surge.get());
        let fewest = count - i64::from(unavailable.get());
        let mut cluster = Cluster::new(count, strategy);
        cluster.deployment.change_template();
        for (second, (set, change, kind)) in (1_u32..).zip(events) {
            let set = set.min(cluster.available.len() - 1);
            let size = cluster.deployment.sets[set].replicas;
            match kind {
                0 => cluster.deployment.change_template(),
                1 => cluster.available[set] = (cluster.available[set] - change).max(0),
                _ => cluster.available[set] = (cluster.available[set] + change).min(size),
            }
            let before = cluster.total_available();
            cluster.settle(f64::from(second));
            prop_assert!(cluster.deployment.total() <= most);
            prop_assert!(cluster.total_available() >= before.min(fewest));
        }
        for second in 100..400 {
            cluster.available =
                cluster.deployment.sets.iter().map(|set| set.replicas).collect();
            cluster.settle(f64::from(second));
        }
        let sizes = cluster.deployment.sets.iter().map(|set| set.replicas);
        let [olds @ .., new] = &sizes.collect::<Vec<_>>()[..] else { unreachable!() };
        prop_assert!(olds.iter().all(|old| *old == 0) && *new == count);
        prop_assert_eq!(cluster.deployment.progress(), Progress::Complete);
    }
}
