//! The saturation analyzer: who is full, and is there room for one replica fewer?
//!
//! A replica is saturated when its KV usage or its queue reaches a threshold. A model grows when
//! its unsaturated replicas have too little to spare on average, and may shrink when their load,
//! spread over one replica fewer, would still leave enough to spare. [`analyze`] says which of the
//! two; [`targets`] picks the variant that moves, by one replica. Both are pure functions.
//!
//! The rules and their defaults are those of the workload-variant-autoscaler 0.5, with three
//! differences:
//!
//! - Where most replicas are full and a few are idle, averages over the unsaturated ones see only
//!   idle replicas. So a model also grows when the mean over *all* replicas reaches a threshold,
//!   and in the sum that a removal has to spread, a saturated replica counts as full.
//! - Missing is not zero. A replica that lacks a signal enters no average, and as long as there is
//!   one, or a stale signal, the model does not shrink.
//! - What cannot complete (a replica that never reports, a count that is never reached) stops
//!   blocking the model after a time, and no count leaves its bounds.
//!
//! It follows that more load never turns "keep" into "shrink". It can turn "grow" into "keep":
//! a replica that crosses its threshold leaves the average over the unsaturated ones, which the
//! original's test cases demand.

mod targets;

pub use targets::{Candidate, Target, Underway, targets};

use crate::decision::Reason;
use crate::observation::{Reading, ReplicaObservation, VariantObservation};
use crate::policy::{Freshness, Thresholds};
use crate::units::{Fraction, QueueLength, Seconds, Timestamp};

/// What the signals of a model's replicas say, over all its variants.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// Replicas that report.
    pub reporting: usize,
    /// Of those, replicas at or above a threshold.
    pub saturated: usize,
    /// Of those, replicas whose state the signals do not tell.
    pub unknown: usize,
    /// What the unsaturated replicas have to spare, on average; zero when there are none.
    pub spare: Spare,
    /// What they would have to spare after the removal of one replica; `None` with fewer than two
    /// unsaturated replicas.
    pub spare_after_removal: Option<Spare>,
    /// Which way the replica count should move.
    pub verdict: Verdict,
    /// What was seen and what follows from it.
    pub reasons: Vec<Reason>,
}

impl Analysis {
    /// Replicas below both thresholds.
    #[must_use]
    pub const fn unsaturated(&self) -> usize {
        self.reporting - self.saturated - self.unknown
    }
}

/// Distance to the thresholds. Negative beyond them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spare {
    /// A share of the KV cache.
    pub kv: f64,
    /// Waiting requests.
    pub queue: f64,
}

impl Spare {
    /// What is left when a total load rests on `count` replicas.
    fn under(thresholds: &Thresholds, total: Load, count: usize) -> Self {
        let mean = total.over(count);
        Self {
            kv: thresholds.kv_cache.value() - mean.kv,
            queue: thresholds.queue_length.value() - mean.queue,
        }
    }

    fn is_low(&self, thresholds: &Thresholds) -> bool {
        self.is_kv_low(thresholds) || self.is_queue_low(thresholds)
    }

    fn is_kv_low(&self, thresholds: &Thresholds) -> bool {
        below(self.kv, thresholds.kv_spare.value())
    }

    fn is_queue_low(&self, thresholds: &Thresholds) -> bool {
        below(self.queue, thresholds.queue_spare.value())
    }
}

/// Which way a model's replica count should move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// One replica more.
    Grow,
    /// As many as there are, for lack of need or of knowledge.
    Keep,
    /// One replica fewer leaves enough to spare.
    Shrink,
}

/// The state of one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaState {
    /// At or above a threshold.
    Saturated,
    /// Below both.
    Unsaturated,
    /// A signal is missing, and the other one does not settle it.
    Unknown,
}

impl ReplicaState {
    /// The state of `replica` at `now`.
    #[must_use]
    pub fn of(
        replica: &ReplicaObservation,
        now: Timestamp,
        thresholds: &Thresholds,
        freshness: &Freshness,
    ) -> Self {
        let kv = replica.kv_usage.read(now, freshness).value();
        let queue = replica.waiting.read(now, freshness).value();
        let full = kv.is_some_and(|kv| kv >= thresholds.kv_cache)
            || queue.is_some_and(|queue| queue >= thresholds.queue_length);
        match (full, kv, queue) {
            (true, ..) => Self::Saturated,
            (false, Some(_), Some(_)) => Self::Unsaturated,
            (false, ..) => Self::Unknown,
        }
    }
}

/// What the replicas of one model's `variants` say at `now`.
///
/// The order of variants and replicas does not matter, to the last bit of every number.
pub fn analyze<'a>(
    now: Timestamp,
    variants: impl IntoIterator<Item = &'a VariantObservation>,
    thresholds: &Thresholds,
    freshness: &Freshness,
) -> Analysis {
    let census = Census::take(now, variants, thresholds, freshness);
    let spare = census.spare(thresholds);
    let spare_after_removal = census.spare_after_removal(thresholds);
    let mut reasons = vec![census.observed()];
    let verdict = census.conclude(spare, spare_after_removal, thresholds, &mut reasons);
    Analysis {
        reporting: census.reporting(),
        saturated: census.saturated.len(),
        unknown: census.unknown,
        spare,
        spare_after_removal,
        verdict,
        reasons,
    }
}

/// The replicas of a model, counted by state.
#[derive(Default)]
struct Census {
    saturated: Vec<Load>,
    unsaturated: Vec<Load>,
    unknown: usize,
    /// Replicas that lack a signal, be their state known or not.
    incomplete: usize,
    oldest_stale: Option<Seconds>,
}

/// The signals of one replica whose state is known.
#[derive(Clone, Copy)]
struct Load {
    kv: f64,
    queue: f64,
}

impl Census {
    fn take<'a>(
        now: Timestamp,
        variants: impl IntoIterator<Item = &'a VariantObservation>,
        thresholds: &Thresholds,
        freshness: &Freshness,
    ) -> Self {
        let mut census = Self::default();
        for replica in variants.into_iter().flat_map(|variant| &variant.replicas) {
            let kv = replica.kv_usage.read(now, freshness);
            let queue = replica.waiting.read(now, freshness);
            if kv == Reading::Missing || queue == Reading::Missing {
                census.incomplete += 1;
            }
            census.oldest_stale = census.oldest_stale.max(stale_age(&kv)).max(stale_age(&queue));
            // Only a saturated replica can lack a signal here. At its threshold it neither raises
            // the mean of the others above the threshold nor lowers it below.
            let load = Load {
                kv: kv.value().unwrap_or(thresholds.kv_cache).value(),
                queue: queue.value().unwrap_or(thresholds.queue_length).value(),
            };
            match ReplicaState::of(replica, now, thresholds, freshness) {
                ReplicaState::Saturated => census.saturated.push(load),
                ReplicaState::Unsaturated => census.unsaturated.push(load),
                ReplicaState::Unknown => census.unknown += 1,
            }
        }
        census
    }

    const fn known(&self) -> usize {
        self.saturated.len() + self.unsaturated.len()
    }

    const fn reporting(&self) -> usize {
        self.known() + self.unknown
    }

    fn observed(&self) -> Reason {
        if self.reporting() == 0 {
            return Reason::NothingReported;
        }
        Reason::Observed {
            reporting: self.reporting(),
            saturated: self.saturated.len(),
            unknown: self.unknown,
        }
    }

    fn spare(&self, thresholds: &Thresholds) -> Spare {
        match self.unsaturated.len() {
            0 => Spare::default(),
            count => Spare::under(thresholds, total(self.unsaturated.iter().copied()), count),
        }
    }

    /// The load of all replicas, spread over one fewer. With no saturated replica this is
    /// load · N / (N − 1) for the mean load of N. A saturated replica counts as full on both
    /// signals: it cannot take over what another one leaves behind.
    fn spare_after_removal(&self, thresholds: &Thresholds) -> Option<Spare> {
        if self.unsaturated.len() < 2 {
            return None;
        }
        let full = self.saturated.iter().map(|load| Load {
            kv: load.kv.max(thresholds.kv_cache.value()),
            queue: load.queue.max(thresholds.queue_length.value()),
        });
        let sum = total(full.chain(self.unsaturated.iter().copied()));
        Some(Spare::under(thresholds, sum, self.known() - 1))
    }

    fn conclude(
        &self,
        spare: Spare,
        after: Option<Spare>,
        thresholds: &Thresholds,
        reasons: &mut Vec<Reason>,
    ) -> Verdict {
        if self.known() == 0 {
            reasons.extend((self.unknown > 0).then_some(Reason::SignalsMissing));
            return Verdict::Keep;
        }
        let needs = self.reasons_to_grow(spare, thresholds);
        if !needs.is_empty() {
            reasons.extend(needs);
            return Verdict::Grow;
        }
        let Some(after) = after else {
            reasons.push(Reason::TooFewToShrink { unsaturated: self.unsaturated.len() });
            return Verdict::Keep;
        };
        let Spare { kv: kv_spare, queue: queue_spare } = after;
        if after.is_low(thresholds) {
            reasons.push(Reason::RemovalUnsafe { kv_spare, queue_spare });
            return Verdict::Keep;
        }
        reasons.push(Reason::RemovalSafe { kv_spare, queue_spare });
        let doubts = self.doubts();
        let verdict = if doubts.is_empty() { Verdict::Shrink } else { Verdict::Keep };
        reasons.extend(doubts);
        verdict
    }

    fn reasons_to_grow(&self, spare: Spare, thresholds: &Thresholds) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let mean =
            total(self.saturated.iter().chain(&self.unsaturated).copied()).over(self.known());
        if !below(mean.kv, thresholds.kv_cache.value())
            || !below(mean.queue, thresholds.queue_length.value())
        {
            reasons.push(Reason::MeanSaturated {
                kv: Fraction::checked(mean.kv).unwrap_or(Fraction::ONE),
                queue: QueueLength::checked(mean.queue).unwrap_or_default(),
            });
        }
        if self.unsaturated.is_empty() {
            // Where both triggers are zero no spare capacity is asked for.
            if spare.is_low(thresholds) || !reasons.is_empty() {
                reasons.insert(0, Reason::AllSaturated { replicas: self.saturated.len() });
            }
            return reasons;
        }
        if spare.is_kv_low(thresholds) {
            let trigger = thresholds.kv_spare;
            reasons.push(Reason::KvSpareLow { spare: spare.kv, trigger });
        }
        if spare.is_queue_low(thresholds) {
            let trigger = thresholds.queue_spare;
            reasons.push(Reason::QueueSpareLow { spare: spare.queue, trigger });
        }
        reasons
    }

    /// Why the signals are not good enough to lower a replica count.
    fn doubts(&self) -> Vec<Reason> {
        let incomplete = (self.incomplete > 0)
            .then_some(Reason::SignalsIncomplete { replicas: self.incomplete });
        let stale = self.oldest_stale.map(|age| Reason::SignalsStale { age });
        incomplete.into_iter().chain(stale).collect()
    }
}

impl Load {
    fn over(self, count: usize) -> Self {
        Self { kv: self.kv / count as f64, queue: self.queue / count as f64 }
    }
}

const fn stale_age<T>(reading: &Reading<T>) -> Option<Seconds> {
    match reading {
        Reading::Stale { age, .. } => Some(*age),
        Reading::Fresh(_) | Reading::Missing => None,
    }
}

/// The sum of the loads, the same for every order of them and never infinite.
fn total(loads: impl Iterator<Item = Load>) -> Load {
    let sum = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.into_iter().sum::<f64>().min(f64::MAX)
    };
    let (kv, queue) = loads.map(|load| (load.kv, load.queue)).unzip();
    Load { kv: sum(kv), queue: sum(queue) }
}

/// Strictly below, where a difference that is only rounding counts as none: a spare of 0.80 − 0.70
/// is not below 0.10, whichever way the mean was rounded.
fn below(value: f64, bound: f64) -> bool {
    const ROUNDING: f64 = 1e-9;
    value < bound - ROUNDING
}

#[cfg(test)]
mod tests;
