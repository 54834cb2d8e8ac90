//! What the controller remembers from step to step.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::analyzers::saturation::{Candidate, Underway};
use crate::analyzers::{queueing, slo, throughput, tokens};
use crate::decision::{Direction, Reason};
use crate::forecast::Forecaster;
use crate::id::{ModelId, Namespace, VariantId};
use crate::observation::VariantObservation;
use crate::policy::Freshness;
use crate::units::{Replicas, Seconds, Timestamp};

/// All that a [`Controller`](super::Controller) remembers.
///
/// It serializes, and a controller that is [restored](super::Controller::restore) from it decides
/// as the original would have. Its size is bounded: a variant that is no longer observed is
/// forgotten after `missingAfter`, and of a variant's targets only those inside the stabilization
/// windows are kept. What was learned of a model stays longer, for `forgetAfter`: an hour without
/// traffic does not change what its replicas can do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Memory {
    variants: BTreeMap<Namespace, BTreeMap<VariantId, VariantMemory>>,
    models: BTreeMap<Namespace, BTreeMap<ModelId, ModelMemory>>,
}

impl Memory {
    /// The number of variants that it covers.
    pub fn len(&self) -> usize {
        self.variants.values().map(BTreeMap::len).sum()
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
        let variants = self.variants.entry(namespace.clone()).or_default();
        let first_sight = || VariantMemory::new(now, variant.current);
        variants.entry(variant.variant.clone()).or_insert_with(first_sight)
    }

    /// What was learned of a model.
    pub(super) fn model(
        &mut self,
        namespace: &Namespace,
        model: &ModelId,
        now: Timestamp,
    ) -> &mut ModelMemory {
        let models = self.models.entry(namespace.clone()).or_default();
        let memory = models.entry(model.clone()).or_default();
        memory.observed = now;
        memory
    }

    /// Makes `now` the latest time that is remembered. A clock that was set back would otherwise
    /// leave cooldowns and windows that end in a far future.
    pub(super) fn rewind(&mut self, now: Timestamp) {
        for variant in self.variants.values_mut().flat_map(BTreeMap::values_mut) {
            variant.times().for_each(|time| *time = (*time).min(now));
        }
        for model in self.models.values_mut().flat_map(BTreeMap::values_mut) {
            model.observed = model.observed.min(now);
            model.forecaster.rewind(now);
        }
    }

    /// Drops the variants and models that were last observed too long ago.
    pub(super) fn forget(&mut self, now: Timestamp, freshness: &Freshness) {
        for variants in self.variants.values_mut() {
            variants.retain(|_, variant| now.since(variant.observed) <= freshness.missing_after);
        }
        self.variants.retain(|_, variants| !variants.is_empty());
        for models in self.models.values_mut() {
            models.retain(|_, model| now.since(model.observed) <= freshness.forget_after);
        }
        self.models.retain(|_, models| !models.is_empty());
    }
}

/// What was learned of one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ModelMemory {
    /// When it was last observed.
    observed: Timestamp,
    /// Its arrival rate.
    pub(super) forecaster: Forecaster,
    /// What each analyzer knows.
    pub(super) tokens: tokens::State,
    pub(super) throughput: throughput::State,
    pub(super) queueing: queueing::State,
    pub(super) slo: slo::State,
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
