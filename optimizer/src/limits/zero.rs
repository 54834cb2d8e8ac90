//! The rules for models without replicas: when the last one may go, and which comes first.
//!
//! A model goes to zero only when that is known to be right: it may, a fresh count says that nobody
//! asked for it during the retention time, nobody waits for it, and no replica works. A count that
//! is missing or stale says nothing.

use std::cmp::Ordering;

use crate::decision::ZeroReason;
use crate::id::VariantId;
use crate::observation::{Bounds, Demand, Reading, Role, VariantObservation};
use crate::policy::{Freshness, ZeroRule};
use crate::units::{HourlyCost, QueueLength, Replicas, Timestamp};

/// Whether anybody uses a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Nobody does, for as long as the retention time.
    Idle,
    /// Requests wait at the gateway; a stale sample counts, since it may only wake.
    Waiting(QueueLength),
    /// Somebody does, or nobody knows.
    InUse,
}

/// A variant, as far as these rules care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sleeper<'a> {
    /// The variant.
    pub variant: &'a VariantId,
    /// What it serves.
    pub role: Role,
    /// The cost of one replica; zero is a cost that nobody told, and counts as dearest.
    pub cost: HourlyCost,
    /// Its bounds.
    pub bounds: Bounds,
    /// Replicas that it should have, as far as the other rules go.
    pub target: Replicas,
    /// Whether a first replica would find GPUs.
    pub startable: bool,
}

/// What the rules make of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The targets, in the order of the variants.
    pub targets: Vec<Replicas>,
    /// The rule that changed them, if one did.
    pub reason: Option<ZeroReason>,
}

/// Whether anybody uses a model at `now`, by its demand and its variants.
#[must_use]
pub fn usage(
    now: Timestamp,
    demand: &Demand,
    variants: &[&VariantObservation],
    freshness: &Freshness,
) -> Usage {
    let queue = demand.gateway_queue.read(now, freshness).value();
    if let Some(queue) = queue.filter(|queue| !queue.is_zero()) {
        return Usage::Waiting(queue);
    }
    let replicas = || variants.iter().flat_map(|variant| &variant.replicas);
    // Where completions are counted instead of arrivals, a long request looks like none.
    let works = replicas().any(|replica| {
        [replica.running, replica.waiting].iter().any(|signal| {
            signal.read(now, freshness).value().is_some_and(|requests| !requests.is_zero())
        })
    });
    match demand.recent_requests.read(now, freshness) {
        Reading::Fresh(count) if count.is_zero() && !works => Usage::Idle,
        _ => Usage::InUse,
    }
}

/// Applies the rules to the variants of one model.
///
/// - It may go to zero, and it is idle: every target is 0, unless a variant has a minimum, which is
///   somebody's word that the model stays up.
/// - Requests wait, and no replica is wanted: one way of serving starts.
/// - It may not go to zero, and no replica is wanted: one way of serving stays.
///
/// A way of serving is a variant that does all, or one of each role that the model has. The
/// cheapest counts, and of two the first by name. What cannot start counts only where nothing can.
#[must_use]
pub fn apply(rule: ZeroRule, usage: Usage, variants: &[Sleeper<'_>]) -> Outcome {
    let targets: Vec<_> = variants.iter().map(|variant| variant.target).collect();
    let no_target = targets.iter().all(|target| *target == Replicas::ZERO);
    let no_minimum = variants.iter().all(|variant| variant.bounds.clamp(Replicas::ZERO).get() == 0);
    let reason = match usage {
        Usage::Idle if rule.enabled && no_minimum => {
            let targets = vec![Replicas::ZERO; targets.len()];
            let reason = ZeroReason::IdleToZero { retention: rule.retention };
            return Outcome { targets, reason: (!no_target).then_some(reason) };
        }
        Usage::Waiting(queue) if no_target => ZeroReason::WokenByQueue { queue },
        _ if no_target && !rule.enabled => ZeroReason::KeptAwake,
        _ => return Outcome { targets, reason: None },
    };
    let woken = cheapest_way(variants);
    let reason = (!woken.is_empty()).then_some(reason);
    let one_of = |idx| Replicas::new(u32::from(woken.contains(&idx)));
    Outcome { targets: (0..variants.len()).map(one_of).collect(), reason }
}

/// The variants that together are the cheapest way of serving; none where every maximum is 0.
fn cheapest_way(variants: &[Sleeper<'_>]) -> Vec<usize> {
    let cheapest = |role: Role| {
        let allowed = |idx: &usize| {
            let Sleeper { role: of, bounds, .. } = variants[*idx];
            of == role && bounds.max != Some(Replicas::ZERO)
        };
        (0..variants.len()).filter(allowed).min_by(|&a, &b| variants[a].before(&variants[b]))
    };
    let alone: Vec<usize> = cheapest(Role::Both).into_iter().collect();
    let split: Vec<usize> =
        [Role::Prefill, Role::Decode].into_iter().filter_map(cheapest).collect();
    let price = |way: &[usize]| {
        let startable = way.iter().all(|&idx| variants[idx].startable);
        let untold = way.iter().any(|&idx| variants[idx].cost.is_zero());
        let cost: HourlyCost = way.iter().map(|&idx| variants[idx].cost).sum();
        (!startable, untold, cost)
    };
    match (alone.is_empty(), split.len()) {
        // One role alone serves nothing while a variant that does all is there.
        (false, 0 | 1) => alone,
        (true, _) => split,
        (false, _) if price(&split) < price(&alone) => split,
        (false, _) => alone,
    }
}

impl Sleeper<'_> {
    fn before(&self, other: &Self) -> Ordering {
        let rank = |of: &Self| (!of.startable, of.cost.is_zero(), of.cost);
        rank(self).cmp(&rank(other)).then_with(|| self.variant.cmp(other.variant))
    }
}
