//! The batch limit beyond which a larger one gains nothing.

use std::num::NonZeroU32;

use thiserror::Error;

use super::{Replica, ReplicaError, RequestShape, ServiceModel, Sizing, SizingError, Targets};

/// The share of the throughput that a smaller batch limit may give away.
const GIVEN_AWAY: f64 = 0.01;

/// How many times the batch that keeps the looser target the search goes beyond it.
const REACH: u32 = 3;

/// A batch limit, and what a replica does with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Concurrency {
    /// The limit, N.
    pub max_batch: NonZeroU32,
    /// The largest load that meets the targets under this limit.
    pub sizing: Sizing,
}

impl Concurrency {
    /// The smallest useful batch limit, among 1 to `limit`.
    ///
    /// The throughput within the targets rises with the limit until the targets bind, and stays the
    /// same from there on. What a larger limit would add is KV cache that is held, not requests
    /// that are served. The answer serves at least 99% of what `limit` does, and it is not below
    /// the batch that keeps both latencies even when it is full: up to there a limit guards nothing.
    ///
    /// This is the search of llm-inferno's queue-analysis 0.8, which halves the range from that
    /// batch to three times the one that keeps the looser target. The original ends after six steps,
    /// and takes a target that is absent for one that no batch keeps; this search goes on to the
    /// end, and an absent target is kept by every batch.
    ///
    /// # Errors
    ///
    /// When there is no such replica, or it misses a target even at no load.
    pub fn optimal(
        model: ServiceModel,
        shape: RequestShape,
        limit: NonZeroU32,
        max_queue: u32,
        targets: &Targets,
    ) -> Result<Self, ConcurrencyError> {
        let with = |max_batch| -> Result<Self, ConcurrencyError> {
            let sizing = Replica::new(model, shape, max_batch, max_queue)?.size(targets)?;
            Ok(Self { max_batch, sizing })
        };
        let served = |found: &Self| found.sizing.performance.steady.throughput;
        let most = with(limit)?;
        let enough = served(&most) * (1.0 - GIVEN_AWAY);
        let [itl, ttft] = [
            largest(limit, |batch| {
                targets.itl.is_none_or(|target| model.decode_step(shape, batch) <= target)
            }),
            largest(limit, |batch| {
                targets.ttft.is_none_or(|target| model.prefill(shape, batch) <= target)
            }),
        ];
        let mut low = itl.min(ttft);
        let mut high = itl.max(ttft).saturating_mul(REACH).max(low + 1).min(limit.get());
        let mut best = None;
        while low < high {
            let middle = low.midpoint(high);
            // A limit at which no load meets the targets serves nothing.
            let found = NonZeroU32::new(middle).and_then(|middle| with(middle).ok());
            match found.filter(|found| served(found) >= enough) {
                Some(found) => (best, high) = (Some(found), middle),
                None => low = middle + 1,
            }
        }
        let found = best.filter(|best| best.max_batch.get() == low);
        let last = || with(NonZeroU32::new(low).unwrap_or(limit)).ok();
        Ok(found.or_else(last).filter(|found| served(found) >= enough).unwrap_or(most))
    }
}

/// The largest batch, from 1 to `limit`, that keeps a target which larger batches keep less; 1 when
/// none does.
fn largest(limit: NonZeroU32, is_kept: impl Fn(f64) -> bool) -> u32 {
    let (mut low, mut high) = (1, limit.get());
    while low < high {
        let middle = high - (high - low) / 2;
        if is_kept(f64::from(middle)) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// There is no batch limit to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ConcurrencyError {
    /// There is no such replica.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The targets are out of reach.
    #[error(transparent)]
    Sizing(#[from] SizingError),
}
