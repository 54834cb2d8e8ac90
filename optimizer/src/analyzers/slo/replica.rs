//! What one replica sustains.

mod room;
mod steady;
mod tail;
mod terms;
mod tpot;
mod ttft;

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::observation::Role;
use crate::slo::Slo;
use crate::step_time::StepTime;
use crate::units::{Fraction, MeanTokens, RequestRate, Seconds, Tokens, Variation};
use steady::Steady;
use terms::Terms;

/// Targets count as this much shorter, because latencies come in lumps: where a target lies just
/// above what three prompts in a row cost, a formula that smooths the lumps must not lean on it.
const TIGHTENED: f64 = 0.98;
/// Of the misses that are allowed, the share that may happen without any load. Where it is more, a
/// target is out of reach: the last tenth costs more replicas than anybody wants.
const WITHOUT_LOAD: f64 = 0.9;
/// A TPOT target is out of reach, too, when it is less than this many times what an idle replica
/// reaches: the last tenth allows hardly anybody beside a request.
const TPOT_HEADROOM: f64 = 1.1;
/// The least share of its stable rate that a replica is asked to carry. Below it more replicas buy
/// next to nothing, so a target that asks for it is as good as out of reach.
const LEAST_SHARE: f64 = 0.05;
/// The relative width at which the search for a rate stops, on its safe side.
const TOLERANCE: f64 = 4e-3;

/// One replica: how long its steps take, and what bounds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica {
    /// The time of a step.
    pub step_time: StepTime,
    /// The size of its KV cache; `None` when nobody knows, so that it does not bind.
    pub kv_capacity: Option<Tokens>,
    /// Tokens of one KV block.
    pub block_size: Tokens,
    /// The most sequences of one step.
    pub max_sequences: NonZeroU32,
    /// The most tokens of one step.
    pub max_batched_tokens: Tokens,
    /// The part of a request that it serves.
    pub role: Role,
}

/// What its requests are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestMix {
    /// Mean prompt tokens.
    pub input: MeanTokens,
    /// Mean output tokens.
    pub output: MeanTokens,
    /// Deviation over mean of the prompt tokens.
    pub input_variation: Variation,
    /// Deviation over mean of the output tokens.
    pub output_variation: Variation,
    /// The share of prompt tokens that need not be computed.
    pub prefix_hits: Fraction,
    /// The variance of the number of arrivals in a few seconds over its mean; 1 for Poisson.
    pub burstiness: Variation,
}

/// The rate that a replica sustains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// The largest arrival rate at which the share of requests meets both targets.
    pub rate: RequestRate,
    /// What keeps it from being larger.
    pub limit: Limit,
    /// Where a target is out of reach even of an idle replica, or just so within it: the targets for which `rate` was found instead.
    pub reachable: Option<Slo>,
}

/// What bounds the rate of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Prompts wait for each other and for the step under way.
    Ttft,
    /// Steps are too long.
    Tpot,
    /// The KV cache is full, so requests wait for others to end.
    KvCache,
    /// The batch is full.
    Sequences,
    /// All targets are met up to where the queue has no end.
    Throughput,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Ttft => "ttft",
            Self::Tpot => "tpot",
            Self::KvCache => "kv cache",
            Self::Sequences => "sequences",
            Self::Throughput => "throughput",
        })
    }
}

/// The mean latencies at a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeanLatency {
    /// Mean time to first token.
    pub ttft: Seconds,
    /// Mean time between tokens.
    pub itl: Seconds,
}

impl Replica {
    /// The largest arrival rate at which `share` of the requests meets both of `slo`'s targets.
    ///
    /// `None` when the numbers are such that no replica serves anything: a step without any time, a
    /// prompt that the KV cache does not hold, or quantities beyond the range of an `f64`.
    #[must_use]
    pub fn capacity(&self, mix: &RequestMix, slo: Slo, share: Fraction) -> Option<Capacity> {
        let terms = Terms::new(self, mix)?;
        let allowed = 1.0 - share.value();
        let stable = terms.stable_rate();
        let idle = Steady::at(&terms, stable * 1e-9)?;
        let mut targets = within_reach(&idle, slo, allowed);
        let met = |targets: Slo, rate: f64| {
            Steady::at(&terms, rate)
                .is_some_and(|state| Misses::of(&state, targets, allowed).total() <= allowed)
        };

        let least = LEAST_SHARE * stable;
        let (mut low, mut high) = (least, stable);
        if met(targets, least) {
            while high - low > TOLERANCE * high {
                let middle = f64::midpoint(low, high);
                if met(targets, middle) {
                    low = middle;
                } else {
                    high = middle;
                }
            }
        } else {
            high = least;
        }
        let limit = Steady::at(&terms, high)
            .map_or(Limit::Throughput, |state| Misses::of(&state, targets, allowed).limit());
        if high <= least {
            targets = within_reach(&Steady::at(&terms, least)?, targets, allowed);
        }
        let reachable = (targets != slo).then_some(targets);
        Some(Capacity { rate: RequestRate::checked(low)?, limit, reachable })
    }

    /// The mean latencies at an arrival rate; `None` where the queue has no end, or as for
    /// [`capacity`](Self::capacity).
    #[must_use]
    pub fn mean_latency(&self, mix: &RequestMix, rate: RequestRate) -> Option<MeanLatency> {
        let terms = Terms::new(self, mix)?;
        let state = Steady::at(&terms, rate.value())?;
        let ttft = Seconds::checked(ttft::mean(&state))?;
        Some(MeanLatency { ttft, itl: Seconds::checked(state.step)? })
    }
}

/// The shares of requests that miss a target, by their cause.
#[derive(Debug, Clone, Copy)]
struct Misses {
    ttft: f64,
    tpot: f64,
    kv_cache: f64,
    sequences: f64,
}

impl Misses {
    /// What is cheap to know comes first: causes that come after more than `allowed` of the requests
    /// have missed a target are not looked at.
    fn of(state: &Steady<'_>, slo: Slo, allowed: f64) -> Self {
        let (ttft, tpot) = (slo.ttft.value() * TIGHTENED, slo.tpot.value() * TIGHTENED);
        let mut misses = Self {
            ttft: 0.0,
            tpot: room::preempted(state, tpot),
            kv_cache: room::waits_for_blocks(state, ttft),
            sequences: room::waits_for_slot(state, ttft),
        };
        if misses.total() <= allowed {
            misses.ttft = ttft::late(state, ttft);
        }
        if misses.total() <= allowed {
            misses.tpot += tpot::slow(state, tpot);
        }
        misses
    }

    /// No more than this share misses a target: a request that misses both counts twice, and of the
    /// two reasons to wait for a place, which come together, the stronger one counts.
    fn total(&self) -> f64 {
        self.ttft + self.tpot + self.kv_cache.max(self.sequences)
    }

    fn limit(&self) -> Limit {
        let causes = [
            (self.ttft, Limit::Ttft),
            (self.tpot, Limit::Tpot),
            (self.kv_cache, Limit::KvCache),
            (self.sequences, Limit::Sequences),
        ];
        // Of equals the first.
        let largest = causes.into_iter().reduce(|a, b| if b.0 > a.0 { b } else { a });
        largest.map_or(Limit::Throughput, |(_, limit)| limit)
    }
}

/// The targets, but none that is shorter than an `idle` replica reaches for enough of its requests.
fn within_reach(idle: &Steady<'_>, slo: Slo, allowed: f64) -> Slo {
    let late = |target| ttft::late(idle, target);
    let slow = |target| tpot::slow(idle, target / TPOT_HEADROOM);
    Slo { ttft: reachable(slo.ttft, allowed, late), tpot: reachable(slo.tpot, allowed, slow) }
}

/// The target, or the shortest span that is missed as seldom as it may be without any load.
fn reachable(target: Seconds, allowed: f64, missed: impl Fn(f64) -> f64) -> Seconds {
    let met = |span: f64| missed(span * TIGHTENED) <= allowed * WITHOUT_LOAD;
    if met(target.value()) {
        return target;
    }
    let (mut low, mut high) = (target.value(), target.value().max(f64::MIN_POSITIVE));
    // Where nothing meets it, it ends with the numbers.
    while !met(high) && high < f64::MAX / 2.0 {
        (low, high) = (high, 2.0 * high);
    }
    while high - low > TOLERANCE / 10.0 * high {
        let middle = f64::midpoint(low, high);
        if met(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Seconds::checked(high).unwrap_or(target).max(target)
}

#[cfg(test)]
mod tests;
