//! A `Deployment` that rolls out a new template, or changes its size while it does.
//!
//! ```text
//! sets, oldest first      10 0 ──▶ 8 3 ──▶ 8 5 ──▶ 5 5 ──▶ … ──▶ 0 10
//! never more in all than replicas + maxSurge, never fewer available than replicas − maxUnavailable
//! ```
//!
//! New pods count from the moment when they are available, so pods that never become ready stop a
//! rollout: the old ones stay, and after the deadline the rollout has failed. Nothing rolls it back.
//!
//! The rules are those of `rolling.go`, `sync.go`, `progress.go` and `util/deployment_util.go` in
//! Kubernetes' `pkg/controller/deployment`. Not modeled: the strategy `Recreate`, pauses, and the way
//! back to an earlier template.

mod proportional;

use optimizer::units::{Replicas, Seconds, Timestamp};

/// The limits of a rolling update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollingUpdate {
    /// How many pods there may be above the replica count; a share is rounded up.
    pub max_surge: IntOrPercent,
    /// How many of the replicas may be unavailable; a share is rounded down.
    pub max_unavailable: IntOrPercent,
}

/// A number of pods, or a share of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntOrPercent {
    /// So many.
    Int(u32),
    /// So many percent of the replica count.
    Percent(u32),
}

/// How far a rollout has come: the condition `Progressing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It goes on: `ReplicaSetUpdated`.
    Updating,
    /// All replicas are new and available: `NewReplicaSetAvailable`. A change of size does not begin
    /// it anew.
    Complete,
    /// Nothing happened for as long as the deadline: `ProgressDeadlineExceeded`. It may still go on.
    DeadlineExceeded,
}

/// What a `ReplicaSet` reports of its pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetStatus {
    /// Pods.
    pub replicas: Replicas,
    /// Of these, ready.
    pub ready: Replicas,
    /// Of these, ready for `minReadySeconds`.
    pub available: Replicas,
}

/// A `Deployment` and its sets.
#[derive(Debug, Clone)]
pub struct Deployment {
    replicas: i64,
    strategy: RollingUpdate,
    progress_deadline: Seconds,
    /// Oldest first.
    sets: Vec<ReplicaSet>,
    /// There is no set of the current template yet.
    template_changed: bool,
    progress: Progress,
    progressed_at: Timestamp,
    reported: Totals,
}

/// The size of a set, and the deployment's when it was last sized: annotations in a cluster.
#[derive(Debug, Clone, Copy)]
struct ReplicaSet {
    replicas: i64,
    sized_for: i64,
    sized_for_at_most: i64,
}

/// What the pods of all sets add up to.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
}

impl Default for RollingUpdate {
    /// 25 % each, as Kubernetes fills in.
    fn default() -> Self {
        let quarter = IntOrPercent::Percent(25);
        Self { max_surge: quarter, max_unavailable: quarter }
    }
}

impl RollingUpdate {
    /// How many pods there may be above a replica count, and how many of it may be unavailable. Where
    /// both come to none, one may be missing, or nothing could ever move.
    #[must_use]
    pub fn fenceposts(self, replicas: Replicas) -> (Replicas, Replicas) {
        let of = |limit: IntOrPercent, round: fn(u64) -> u64| match limit {
            IntOrPercent::Int(count) => count,
            IntOrPercent::Percent(percent) => {
                let hundredths = u64::from(percent) * u64::from(replicas.get());
                u32::try_from(round(hundredths)).unwrap_or(u32::MAX)
            }
        };
        let surge = of(self.max_surge, |hundredths| hundredths.div_ceil(100));
        let unavailable = of(self.max_unavailable, |hundredths| hundredths / 100);
        let stuck = surge == 0 && unavailable == 0;
        (Replicas::new(surge), Replicas::new(if stuck { 1 } else { unavailable }))
    }
}

impl Deployment {
    /// How long Kubernetes waits for progress by default.
    pub const PROGRESS_DEADLINE: Seconds = Seconds::from_minutes(10.0);

    /// A deployment that was just created, with one set.
    #[must_use]
    pub fn new(
        now: Timestamp,
        replicas: Replicas,
        strategy: RollingUpdate,
        progress_deadline: Seconds,
    ) -> Self {
        let mut deployment = Self {
            replicas: count(replicas),
            strategy,
            progress_deadline,
            sets: Vec::new(),
            template_changed: true,
            progress: Progress::Updating,
            progressed_at: now,
            reported: Totals::default(),
        };
        deployment.create_set(now);
        deployment
    }

    /// Asks for another replica count, as an HPA does. The next [`Self::reconcile`] shares it out.
    pub fn scale(&mut self, replicas: Replicas) {
        self.replicas = count(replicas);
    }

    /// Begins a rollout. The next [`Self::reconcile`] creates the new set.
    pub fn change_template(&mut self) {
        self.template_changed = true;
    }

    /// The sizes of the sets, oldest first.
    pub fn sizes(&self) -> impl Iterator<Item = Replicas> {
        self.sets.iter().map(|set| Replicas::new(u32::try_from(set.replicas).unwrap_or(0)))
    }

    /// How far the rollout has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// One look at the pods of the sets, oldest first; a missing set has none. To be had whenever a
    /// pod changed, and after each look that changed a size; returns whether this one did.
    ///
    /// A look does one thing, in this order: share out a new replica count, grow the new set, shrink
    /// the old ones.
    pub fn reconcile(&mut self, now: Timestamp, statuses: &[SetStatus]) -> bool {
        let available: Vec<i64> = (0..self.sets.len())
            .map(|set| statuses.get(set).map_or(0, |status| count(status.available)))
            .collect();
        let before: Vec<i64> = self.sets.iter().map(|set| set.replicas).collect();
        let is_scaled = |set: &ReplicaSet| set.replicas > 0 && set.sized_for != self.replicas;
        if self.sets.iter().any(is_scaled) {
            self.share_out(statuses, &available);
            self.reported = self.totals(statuses);
        } else {
            if self.template_changed {
                self.create_set(now);
            } else if !self.grow_new_set() {
                self.shrink_old_sets(&available);
            }
            self.note_progress(now, self.totals(statuses));
        }
        before.len() < self.sets.len()
            || before.iter().zip(&self.sets).any(|(b, s)| *b != s.replicas)
    }

    fn create_set(&mut self, now: Timestamp) {
        self.template_changed = false;
        self.sets.push(ReplicaSet { replicas: 0, sized_for: 0, sized_for_at_most: 0 });
        let size = self.new_set_size();
        self.resize(self.sets.len() - 1, size);
        (self.progress, self.progressed_at) = (Progress::Updating, now);
    }

    /// Whether the new set changed its size.
    fn grow_new_set(&mut self) -> bool {
        let new = self.sets.len() - 1;
        let before = self.sets[new].replicas;
        let size = if before > self.replicas { self.replicas } else { self.new_set_size() };
        self.resize(new, size);
        size != before
    }

    /// As large as the limit leaves room for.
    fn new_set_size(&self) -> i64 {
        let size = self.sets.last().map_or(0, |set| set.replicas);
        let room = self.at_most() - self.total();
        size + room.max(0).min(self.replicas - size)
    }

    /// First pods that are not available, wherever they are, then as many as are available above the
    /// fewest that have to be. Unavailable pods of the new set count as if they were still needed.
    fn shrink_old_sets(&mut self, available: &[i64]) {
        let new = self.sets.len() - 1;
        let at_least = self.replicas - self.max_unavailable();
        let new_unavailable = self.sets[new].replicas - available[new];
        let mut unhealthy = self.total() - at_least - new_unavailable;
        if unhealthy <= 0 {
            return;
        }
        for (old, available) in available.iter().enumerate().take(new) {
            let gone = (self.sets[old].replicas - available).max(0).min(unhealthy);
            self.shrink(old, gone);
            unhealthy -= gone;
        }
        let mut spare = available.iter().sum::<i64>() - at_least;
        for old in 0..new {
            let gone = self.sets[old].replicas.min(spare.max(0));
            self.shrink(old, gone);
            spare -= gone;
        }
    }

    fn note_progress(&mut self, now: Timestamp, totals: Totals) {
        let before = std::mem::replace(&mut self.reported, totals);
        let all_new = totals.replicas == totals.updated;
        if all_new && self.progress == Progress::Complete {
            return;
        }
        let complete = [totals.updated, totals.replicas, totals.available];
        let moved = totals.updated > before.updated
            || totals.replicas - totals.updated < before.replicas - before.updated
            || totals.ready > before.ready
            || totals.available > before.available;
        if complete.iter().all(|count| *count == self.replicas) {
            self.progress = Progress::Complete;
        } else if moved {
            (self.progress, self.progressed_at) = (Progress::Updating, now);
        } else if self.progress == Progress::Updating
            && self.progressed_at + self.progress_deadline < now
        {
            self.progress = Progress::DeadlineExceeded;
        }
    }

    fn totals(&self, statuses: &[SetStatus]) -> Totals {
        let sum = |of: fn(&SetStatus) -> Replicas| statuses.iter().map(of).map(count).sum();
        let new = self.sets.len() - 1;
        let updated = statuses.get(new).filter(|_| !self.template_changed);
        Totals {
            replicas: sum(|status| status.replicas),
            updated: updated.map_or(0, |status| count(status.replicas)),
            ready: sum(|status| status.ready),
            available: sum(|status| status.available),
        }
    }

    fn shrink(&mut self, set: usize, gone: i64) {
        if gone > 0 {
            self.resize(set, self.sets[set].replicas - gone);
        }
    }

    fn resize(&mut self, set: usize, replicas: i64) {
        let (sized_for, sized_for_at_most) = (self.replicas, self.at_most());
        self.sets[set] = ReplicaSet { replicas, sized_for, sized_for_at_most };
    }

    fn total(&self) -> i64 {
        self.sets.iter().map(|set| set.replicas).sum()
    }

    /// The most pods of all sets.
    fn at_most(&self) -> i64 {
        self.replicas + self.fenceposts().0
    }

    fn max_unavailable(&self) -> i64 {
        self.fenceposts().1.min(self.replicas)
    }

    fn fenceposts(&self) -> (i64, i64) {
        let replicas = Replicas::new(u32::try_from(self.replicas).unwrap_or(0));
        let (surge, unavailable) = self.strategy.fenceposts(replicas);
        (count(surge), count(unavailable))
    }
}

fn count(replicas: Replicas) -> i64 {
    i64::from(replicas.get())
}

#[cfg(test)]
mod tests;
