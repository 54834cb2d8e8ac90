//! What the controller remembers from step to step.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::analyzers::saturation::{Candidate, Underway};
use crate::decision::{Direction, Reason};
use crate::id::{Namespace, VariantId};
use crate::observation::VariantObservation;
use crate::units::{Replicas, Seconds, Timestamp};

/// All that a [`Controller`](super::Controller) remembers.
///
/// It serializes, and a controller that is [restored](super::Controller::restore) from it decides
/// as the original would have. Its size is bounded: a variant that is no longer observed is
/// forgotten after `missingAfter`, and of a variant's targets only those inside the stabilization
/// windows are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Memory {
    namespaces: BTreeMap<Namespace, BTreeMap<VariantId, VariantMemory>>,
}

impl Memory {
    /// The number of variants that it covers.
    pub fn len(&self) -> usize {
        self.namespaces.values().map(BTreeMap::len).sum()
    }

    /// Whether it covers none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is remembered of a variant. At first sight that is its current count.
    pub(super) fn of(
        &mut self,
        namespace: &Namespace,
        variant: &VariantObservation,
        now: Timestamp,
    ) -> &mut VariantMemory {
        let variants = self.namespaces.entry(namespace.clone()).or_default();
        let first_sight = || VariantMemory::new(now, variant.current);
        variants.entry(variant.variant.clone()).or_insert_with(first_sight)
    }

    /// Makes `now` the latest time that is remembered. A clock that was set back would otherwise
    /// leave cooldowns and windows that end in a far future.
    pub(super) fn rewind(&mut self, now: Timestamp) {
        for variant in self.namespaces.values_mut().flat_map(BTreeMap::values_mut) {
            variant.times().for_each(|time| *time = (*time).min(now));
        }
    }

    /// Drops the variants that were last observed longer than `after` ago.
    pub(super) fn forget(&mut self, now: Timestamp, after: Seconds) {
        for variants in self.namespaces.values_mut() {
            variants.retain(|_, variant| now.since(variant.observed) <= after);
        }
        self.namespaces.retain(|_, variants| !variants.is_empty());
    }
}

/// What is remembered of one variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VariantMemory {
    /// When it was last observed.
    observed: Timestamp,
    /// The last decision.
    desired: Replicas,
    /// When that decision was made, or last seen carried out, whichever is later.
    since: Timestamp,
    /// Since when ready replicas do not report.
    silent_since: Option<Timestamp>,
    /// Since when there are replicas that are not ready.
    pending_since: Option<Timestamp>,
    /// When it last moved up.
    last_up: Option<Timestamp>,
    /// When it last moved down.
    last_down: Option<Timestamp>,
    /// When each count was last the target. The extremes of a window need no more than that.
    targets: BTreeMap<Replicas, Timestamp>,
}

impl VariantMemory {
    fn new(now: Timestamp, current: Replicas) -> Self {
        Self {
            observed: now,
            desired: current,
            since: now,
            silent_since: None,
            pending_since: None,
            last_up: None,
            last_down: None,
            targets: BTreeMap::from([(current, now)]),
        }
    }

    /// Takes in what `observed` shows. The reason says what became of the last decision, where that
    /// does not show in the candidate.
    pub(super) fn candidate<'a>(
        &mut self,
        now: Timestamp,
        observed: &'a VariantObservation,
        timeout: Seconds,
    ) -> (Candidate<'a>, Option<Reason>) {
        self.observed = now;
        let (underway, reason) = self.underway(now, observed, timeout);
        let mut candidate =
            Candidate { observed, underway, silence_overdue: false, start_overdue: false };

        let is_silent = candidate.reporting() < candidate.ready();
        let is_pending = observed.pending() > Replicas::ZERO;
        candidate.silence_overdue = lasts(&mut self.silent_since, is_silent, now) > timeout;
        candidate.start_overdue = lasts(&mut self.pending_since, is_pending, now) > timeout;
        (candidate, reason)
    }

    fn underway(
        &mut self,
        now: Timestamp,
        observed: &VariantObservation,
        timeout: Seconds,
    ) -> (Option<Underway>, Option<Reason>) {
        let current = observed.current;
        if self.desired == current {
            self.since = now;
            return (None, None);
        }
        let elapsed = now.since(self.since);
        if elapsed > timeout {
            let reason = Reason::TransitionTimedOut { desired: self.desired, elapsed };
            self.settle(now, current);
            return (None, Some(reason));
        }
        // Bounds may have changed under a decision. What they leave of it is a new one.
        let reason = Reason::bound(observed.bounds, self.desired);
        if reason.is_some() {
            self.settle(now, observed.bounds.clamp(self.desired));
        }
        let elapsed = now.since(self.since);
        let underway = Underway { desired: self.desired, elapsed };
        ((self.desired != current).then_some(underway), reason)
    }

    /// Records the decision for a `candidate`, and which way it moved.
    pub(super) fn decide(&mut self, now: Timestamp, candidate: &Candidate<'_>, desired: Replicas) {
        let before = candidate.underway.map_or(candidate.observed.current, |u| u.desired);
        if desired > before {
            self.last_up = Some(now);
        } else if desired < before {
            self.last_down = Some(now);
        }
        if desired != self.desired {
            self.settle(now, desired);
        }
    }

    fn settle(&mut self, now: Timestamp, desired: Replicas) {
        self.desired = desired;
        self.since = now;
    }

    /// When it last moved in a direction.
    pub(super) const fn last_move(&self, direction: Direction) -> Option<Timestamp> {
        match direction {
            Direction::Up => self.last_up,
            Direction::Down => self.last_down,
        }
    }

    /// Records a target, and forgets those that no `window` will ask for.
    pub(super) fn record(&mut self, now: Timestamp, target: Replicas, window: Seconds) {
        self.targets.insert(target, now);
        self.targets.retain(|_, at| *at == now || now.since(*at) < window);
    }

    /// The targets of the last `window`, in ascending order. It begins after the instant `window`
    /// ago, so an empty one holds nothing.
    pub(super) fn targets(
        &self,
        now: Timestamp,
        window: Seconds,
    ) -> impl DoubleEndedIterator<Item = Replicas> {
        let within = self.targets.iter().filter(move |&(_, at)| now.since(*at) < window);
        within.map(|(target, _)| *target)
    }

    /// Every time in it.
    fn times(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        [&mut self.observed, &mut self.since]
            .into_iter()
            .chain(&mut self.silent_since)
            .chain(&mut self.pending_since)
            .chain(&mut self.last_up)
            .chain(&mut self.last_down)
            .chain(self.targets.values_mut())
    }
}

/// For how long a state has lasted that began at `since`, if it lasts.
fn lasts(since: &mut Option<Timestamp>, holds: bool, now: Timestamp) -> Seconds {
    *since = holds.then(|| since.unwrap_or(now));
    since.map_or(Seconds::ZERO, |since| now.since(since))
}
