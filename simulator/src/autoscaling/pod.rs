//! A pod, as the controllers see it.

use optimizer::units::{Seconds, Timestamp};

use super::MilliQuantity;

/// What the controllers read of a pod.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pod {
    /// Tells pods apart where nothing else does; in a cluster a random text, which makes the choice
    /// between equals a random one.
    pub uid: u64,
    /// When it was created.
    pub created: Timestamp,
    /// When a node accepted it.
    pub started: Option<Timestamp>,
    /// The node that it was assigned to.
    pub node: Option<u32>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Whether somebody deleted it and it is on its way out.
    pub deleted: bool,
    /// Its condition `Ready`, which it lacks before its containers have started.
    pub readiness: Option<Readiness>,
    /// The annotation `controller.kubernetes.io/pod-deletion-cost`; 0 without it.
    pub deletion_cost: i32,
    /// The highest restart count of its containers.
    pub restarts: u32,
    /// What it asked for of the resource that the HPA watches, in all its containers.
    pub request: MilliQuantity,
}

/// Where a pod is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Waits for a node, or for its images.
    Pending,
    /// Its node does not answer.
    Unknown,
    /// At least one container runs.
    Running,
    /// All containers ended well.
    Succeeded,
    /// A container ended badly, and will not be started again.
    Failed,
}

/// The condition `Ready` of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// Whether it is.
    pub ready: bool,
    /// Since when.
    pub since: Timestamp,
}

impl Pod {
    /// A pod that waits for a node.
    #[must_use]
    pub const fn pending(uid: u64, created: Timestamp) -> Self {
        Self {
            uid,
            created,
            started: None,
            node: None,
            phase: Phase::Pending,
            deleted: false,
            readiness: None,
            deletion_cost: 0,
            restarts: 0,
            request: MilliQuantity::ZERO,
        }
    }

    /// A pod that runs on a node and has been ready since it was created.
    #[must_use]
    pub const fn running(uid: u64, created: Timestamp) -> Self {
        Self {
            started: Some(created),
            node: Some(0),
            phase: Phase::Running,
            readiness: Some(Readiness { ready: true, since: created }),
            ..Self::pending(uid, created)
        }
    }

    /// What its node reports: a pod is ready when all its containers are, and all conditions that
    /// its `readinessGates` name hold. A missing condition does not hold.
    pub fn report(&mut self, now: Timestamp, containers_ready: bool, gates: &[Option<bool>]) {
        let ready = containers_ready && gates.iter().all(|gate| *gate == Some(true));
        if self.readiness.is_none_or(|readiness| readiness.ready != ready) {
            self.readiness = Some(Readiness { ready, since: now });
        }
    }

    /// Whether it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readiness.is_some_and(|readiness| readiness.ready)
    }

    /// Whether it has been ready for `minReadySeconds`: only then a rollout counts on it.
    #[must_use]
    pub fn is_available(&self, now: Timestamp, min_ready: Seconds) -> bool {
        let since = self.readiness.filter(|readiness| readiness.ready).map(|ready| ready.since);
        since.is_some_and(|since| since + min_ready <= now)
    }

    /// Whether its `ReplicaSet` counts it: it has not ended, and nobody deleted it.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.deleted && !matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_pod_is_ready_when_its_gates_are_too() {
        for (containers, gates, ready) in [
            (true, &[][..], true),
            (false, &[], false),
            (true, &[Some(true), Some(true)], true),
            (true, &[Some(true), Some(false)], false),
            (true, &[None], false),
            (false, &[Some(true)], false),
        ] {
            let mut pod = Pod::pending(0, Timestamp::ZERO);
            pod.report(at(1.0), containers, gates);
            assert_eq!(pod.is_ready(), ready, "{containers} {gates:?}");
        }
    }

    #[test]
    fn readiness_remembers_its_last_change() {
        let mut pod = Pod::pending(0, Timestamp::ZERO);
        let mut check = |now: f64, containers: bool, since: f64| {
            pod.report(at(now), containers, &[]);
            assert_eq!(pod.readiness.unwrap().since, at(since), "at {now} s");
            pod
        };
        check(1.0, false, 1.0);
        check(2.0, false, 1.0);
        check(3.0, true, 3.0);
        let pod = check(9.0, true, 3.0);
        for (now, available) in [(12.9, false), (13.0, true)] {
            assert_eq!(pod.is_available(at(now), Seconds::new(10.0)), available, "at {now} s");
        }
        let pod = check(20.0, false, 20.0);
        assert!(!pod.is_available(at(100.0), Seconds::ZERO));
    }
}
