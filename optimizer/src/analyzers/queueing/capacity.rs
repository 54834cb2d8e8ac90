//! What one replica can serve.

use std::num::NonZeroU32;

use thiserror::Error;

use super::goal::{Goal, Target};
use super::law;
use crate::observation::{EngineConfig, Role};
use crate::policy::QueueingPolicy;
use crate::queueing::{
    Chain, IterationCosts, Performance, Replica, ReplicaError, RequestShape, Sizing, SizingError,
    Targets,
};
use crate::units::{Fraction, RequestRate, Tokens};

/// Requests that may wait, for each that may be in service, as llm-inferno assumes. What a queue of
/// this length turns away is far beyond any target.
const QUEUE_TO_BATCH: u32 = 10;

/// The share of its maximum rate that a replica must be able to use under a target. Where a target
/// leaves less it is met by next to no load, and would ask for any number of replicas.
const USEFUL: f64 = 0.01;

/// A replica as the analyzer sees it, but for the costs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server<'a> {
    pub(super) role: Role,
    pub(super) engine: &'a EngineConfig,
    /// The tokens that its KV cache holds, where that is known.
    pub(super) kv_capacity: Option<Tokens>,
    pub(super) policy: &'a QueueingPolicy,
}

/// What a replica can serve, and the targets that it cannot keep while it does.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Capacity {
    pub(super) performance: Performance,
    /// What the latencies are without load.
    pub(super) idle: Performance,
    pub(super) out_of_reach: Vec<Target>,
}

impl Capacity {
    /// The requests that it completes.
    pub(super) const fn rate(&self) -> RequestRate {
        self.performance.steady.throughput
    }
}

impl Server<'_> {
    /// The queueing model of a replica with these costs.
    pub(super) fn replica(
        &self,
        costs: IterationCosts,
        shape: RequestShape,
    ) -> Result<Replica, ReplicaError> {
        let budget = self.engine.max_batched_tokens;
        let (model, seen) = law::model(self.policy.law, self.role, costs, shape, budget);
        let max_batch = self.max_batch(shape);
        Replica::new(model, seen, max_batch, max_batch.get().saturating_mul(QUEUE_TO_BATCH))
    }

    /// The largest load at which a replica with these costs keeps its targets. A target that is out
    /// of reach does not count, and the replica is to leave a headroom instead: it is stable, which
    /// is the best that can be had, and a finite number of such replicas carries the demand.
    pub(super) fn capacity(
        &self,
        costs: IterationCosts,
        shape: RequestShape,
        goal: &Goal,
    ) -> Result<Capacity, CapacityError> {
        let replica = self.replica(costs, shape)?;
        let least = replica.max_rate() * USEFUL;
        let is_useful = |sizing: &Sizing| sizing.arrival() >= least;
        let (kept, out_of_reach): (Vec<_>, Vec<_>) =
            goal.of(self.role).into_iter().partition(|target| {
                replica.size(&target.join(Targets::default())).is_ok_and(|it| is_useful(&it))
            });
        let headroom = if out_of_reach.is_empty() { Fraction::ZERO } else { self.policy.headroom };
        let start = Targets { headroom, ..Targets::default() };
        let targets = kept.into_iter().fold(start, |targets, target| target.join(targets));
        let performance = replica.size(&targets)?.performance;
        Ok(Capacity { performance, idle: replica.performance(RequestRate::ZERO), out_of_reach })
    }

    /// N: the sequences that the engine batches, as far as its KV cache holds them at their full
    /// length, so that none has to be preempted.
    fn max_batch(&self, shape: RequestShape) -> NonZeroU32 {
        let most = u32::try_from(Chain::MAX_STATES).unwrap_or(u32::MAX) / (QUEUE_TO_BATCH + 1);
        let configured = self.engine.max_sequences.get().min(most);
        let length = match self.role {
            Role::Both | Role::Decode => shape.input + shape.output,
            Role::Prefill => shape.input + Tokens::new(1),
        };
        let held = self.kv_capacity.and_then(|capacity| capacity.get().checked_div(length.get()));
        let held = held.map_or(u32::MAX, |held| u32::try_from(held).unwrap_or(u32::MAX));
        NonZeroU32::new(configured.min(held)).unwrap_or(NonZeroU32::MIN)
    }
}

/// A replica has no capacity that could be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum CapacityError {
    /// There is no queueing model of it.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// It has no size.
    #[error(transparent)]
    Sizing(#[from] SizingError),
}
