//! How many requests get their output too slowly.

use super::steady::Steady;
use super::tail;

/// Above this many prompts in a window they are taken for a flow, below they are counted one by one.
const COUNTED: f64 = 6.0;

/// The share of requests of more than one output token whose mean time between tokens exceeds
/// `target` seconds.
///
/// A request with k tokens after the first sees k steps. Their mean varies with the batch, which
/// changes slowly, and with the prompts of others, each of which stays in the batch as well.
pub(super) fn slow(state: &Steady<'_>, target: f64) -> f64 {
    if !state.terms.decodes {
        return 0.0;
    }
    let strata = state.terms.strata.iter().filter(|stratum| stratum.weight > 0.0);
    strata.map(|stratum| stratum.weight * slow_among(state, stratum.decode_steps, target)).sum()
}

/// The share whose steps are too long, among requests that decode for so many steps.
fn slow_among(state: &Steady<'_>, steps: f64, target: f64) -> f64 {
    let terms = state.terms;
    let free_of_prompts = 1.0 - state.prompt_load;
    let arrivals = state.rate * state.step;

    // A surplus of sequences, from before, decays; and the request itself is one more.
    let lasts = state.relaxation / steps;
    let decay = 1.0 - (-1.0 / lasts).exp();
    let own = (terms.per_sequence + terms.per_context_token * (terms.input + steps / 2.0))
        / free_of_prompts;
    let bias = state.slow_variance / state.step * lasts * decay + own * (1.0 + terms.company());

    // While its own prompt is computed, and while it waits, others arrive behind it.
    let behind = (state.prompt_load * (1.0 + state.rate * state.variance / state.step)
        + (1.0 - state.ride) * (state.rate * state.line.mean_wait + terms.company() / 2.0))
        / free_of_prompts;
    let count = arrivals * steps + behind;
    let floor = terms.overhead + own;

    // The variance of the mean of so many steps: of the batch, of prompts, and of both together.
    let decode_work = terms.decode_steps * terms.sequence_work;
    let batch = state.slow_variance * 2.0 * (lasts - lasts * lasts * decay);
    let work_square = terms.prompt_work * terms.prompt_work * terms.prompt_square().max(0.0);
    let prompts = arrivals * work_square / (free_of_prompts.powi(2) * steps);
    let both = terms.prompt_work * decode_work * arrivals / steps
        * (1.0 - lasts * decay)
        * state.relaxation
        / (terms.residual_steps * free_of_prompts.powi(3));
    // Those behind it come in a heap at the beginning and stay for the whole window, so they weigh
    // more than others: their variance counts here, and again where they are counted.
    let heap = behind * work_square / (free_of_prompts.powi(2) * steps * steps);
    let variance = batch + prompts + heap + 2.0 * both;
    if arrivals * steps > COUNTED {
        let mean = state.step + bias + behind * terms.prompt_work / steps;
        return tail::gamma(floor, mean, variance, target);
    }

    // One by one: each prompt adds its own work and then that of a sequence, for as long as it
    // decodes of the rest of the window.
    let against = terms.decode_steps / steps;
    let overlap = 1.0 - against * (1.0 - (-1.0 / against).exp());
    let jump = terms.prompt_work + decode_work * overlap;
    let mean = steps * (state.step + bias) + behind * terms.prompt_work;
    let without = (mean - count * jump).max(steps * floor);
    let crowding = state.noise.max(0.0) / (free_of_prompts * free_of_prompts);
    let lengths =
        terms.prompt_work * terms.prompt_work * terms.input_spread * (1.0 + state.prompt_load)
            / free_of_prompts;
    let counted = arrivals * steps * (crowding * jump * jump + lengths) / (steps * steps);
    let kept = (state.slow_variance * (lasts * decay).powi(2)).max(variance - counted);
    let count_variance = count
        * (terms.dispersion + state.prompt_load.powi(2) * terms.input_spread)
        / (free_of_prompts * free_of_prompts);
    tail::over_counts(count, count_variance, |count| {
        let mean = without + count * jump;
        let variance = steps * steps * kept + count * lengths;
        tail::lognormal(steps * floor, mean, variance, target * steps)
    })
}
