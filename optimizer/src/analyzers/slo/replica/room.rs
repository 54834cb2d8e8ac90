//! How many requests wait for a place: a slot in the batch, or blocks of the KV cache.
//!
//! A request finds no place as often as the batch that would form without a limit is larger than the
//! limit. How long it then waits is exponential, as in heavy traffic, with the mean
//! (dispersion + c²) / (µ − λ): µ is the rate at which a full batch completes requests, and c the
//! variation of what a request takes of the place, its steps or its tokens summed over its steps.

use super::steady::Steady;
use super::tail;

/// Of those that find the cache full, the share that is preempted: half wait outside instead.
const EVICTED: f64 = 0.5;
/// How much sooner than a new request a preempted one is back: it is the first in the queue.
/// Chosen, like `EVICTED`, by comparison with the simulator's engine.
const FIRST_IN_QUEUE: f64 = 10.0;

/// The share of requests that wait for a slot for so long that their first token is late.
pub(super) fn waits_for_slot(state: &Steady<'_>, ttft: f64) -> f64 {
    let terms = state.terms;
    let held = held_sequences(state);
    let full = tail::gamma(0.0, held, held * state.growth, terms.slots);
    full * longer_than(slack(state, ttft), mean_wait(state, terms.output_spread))
}

/// The share of requests that wait for blocks for so long that their first token is late.
pub(super) fn waits_for_blocks(state: &Steady<'_>, ttft: f64) -> f64 {
    no_blocks(state) * longer_than(slack(state, ttft), mean_wait(state, state.terms.volume_spread))
}

/// The share of requests that lose their blocks for so long that their mean time between tokens is
/// above the target.
pub(super) fn preempted(state: &Steady<'_>, tpot: f64) -> f64 {
    let terms = state.terms;
    let evicted = no_blocks(state) * EVICTED;
    if !terms.decodes || evicted <= 0.0 {
        return 0.0;
    }
    let wait = mean_wait(state, terms.volume_spread) * terms.context / terms.input / FIRST_IN_QUEUE;
    let slow = terms.strata.iter().map(|stratum| {
        stratum.weight * longer_than((tpot - state.step) * stratum.decode_steps, wait)
    });
    evicted * slow.sum::<f64>()
}

fn held_sequences(state: &Steady<'_>) -> f64 {
    state.rate * state.step * state.terms.held_steps
}

/// How often a whole prompt does not fit into the blocks that are free.
fn no_blocks(state: &Steady<'_>) -> f64 {
    let terms = state.terms;
    if !terms.kv_capacity.is_finite() {
        return 0.0;
    }
    let held = held_sequences(state);
    let mean = held * (terms.context + terms.block_waste) + terms.input;
    let variance = held * terms.context * terms.context * terms.context_square * state.growth
        + terms.input * terms.input * terms.input_spread;
    tail::gamma(0.0, mean, variance, terms.kv_capacity)
}

fn mean_wait(state: &Steady<'_>, spread: f64) -> f64 {
    (state.terms.dispersion + spread) / (state.terms.full_rate - state.rate)
}

/// What the target leaves for waiting.
fn slack(state: &Steady<'_>, ttft: f64) -> f64 {
    if !state.terms.prefills {
        return ttft;
    }
    ttft - super::ttft::mean(state)
}

/// How often an exponential wait is longer than `slack`.
fn longer_than(slack: f64, mean: f64) -> f64 {
    (-slack.max(0.0) / mean).exp()
}
