//! How many requests are late.

use super::steady::Steady;
use super::tail;

/// Above this many prompts in a window they are taken for a flow, below they are counted one by one.
const COUNTED: f64 = 6.0;

/// The share of requests whose first token comes later than `target` seconds after they arrive,
/// apart from those that wait for a place in the batch.
///
/// Scheduling is asynchronous: a request that arrives in a step waits for the rest of it and for the
/// next, which is decided already, and is computed in the one after that, together with whoever
/// arrived in the same step. Or, where a step has no room for so many prompts, one after the other.
pub(super) fn late_first_token(state: &Steady<'_>, target: f64) -> f64 {
    if !state.terms.prefills {
        return 0.0;
    }
    together(state, target).max(one_by_one(state, target))
}

/// The share of requests of more than one output token whose mean time between tokens exceeds
/// `target` seconds.
///
/// A request with k tokens after the first sees k steps. Their mean varies with the batch, which
/// changes slowly, and with the prompts of others, each of which stays in the batch as well.
pub(super) fn slow_tokens(state: &Steady<'_>, target: f64) -> f64 {
    if !state.terms.decodes {
        return 0.0;
    }
    let strata = state.terms.strata.iter().filter(|stratum| stratum.weight > 0.0);
    strata.map(|stratum| stratum.weight * slow_among(state, stratum.decode_steps, target)).sum()
}

/// The mean time to first token of a request that finds a place in the batch at once.
pub(super) fn mean_ttft(state: &Steady<'_>) -> f64 {
    if !state.terms.prefills {
        return 0.0;
    }
    let shared = state.prompt_load * state.hit_step;
    state.hit_step / 2.0 + state.step + state.decode_step + shared + state.terms.prompt_work
}

fn together(state: &Steady<'_>, target: f64) -> f64 {
    let quiet = state.decode_step;
    // The step in which it arrives has no prompt in it, or it has some and is long.
    let crowd = (state.rate * state.variance / state.step).max(1e-9);
    let no_prompt = (1.0 + crowd).powf(-state.rate * state.step / crowd) * quiet / state.step;
    let (long, long_variance) = if no_prompt < 1.0 - 1e-9 {
        let share = 1.0 - no_prompt;
        let long = (state.hit_step - no_prompt * quiet) / share;
        let between = no_prompt * (quiet - state.hit_step).powi(2);
        let within = (state.hit_variance - between) / share - (long - state.hit_step).powi(2);
        (long, within.max(0.0))
    } else {
        (quiet, 0.0)
    };
    let cases = [(quiet, 0.0, no_prompt), (long, long_variance, 1.0 - no_prompt)];
    // It arrives early, halfway or late in that step.
    let rests = [1.0 / 6.0, 0.5, 5.0 / 6.0];
    let late = |(hit, hit_variance, share): (f64, f64, f64)| {
        let among = |rest: f64| late_together(state, hit, hit_variance, rest, target);
        share * rests.into_iter().map(among).sum::<f64>() / rests.len() as f64
    };
    cases.into_iter().map(late).sum()
}

/// The share of late requests among those that arrive when `rest` is left of a step of `hit`
/// seconds.
fn late_together(state: &Steady<'_>, hit: f64, hit_variance: f64, rest: f64, target: f64) -> f64 {
    let (terms, quiet) = (state.terms, state.decode_step);
    // The prompts of others, in the step before its own and in its own.
    let shares = state.ride + (1.0 - state.ride) * (1.0 - rest);
    let company = terms.company();
    let strangers = state.rate * (hit * shares + state.step);
    let others = strangers + company * f64::midpoint(1.0, state.ride);
    let others_variance = strangers * terms.dispersion
        + state.rate * state.rate * state.variance
        + company * (1.0 + company / 2.0);

    // Three steps of which one is under way, 2.5 on average; a third of a uniform rest has 1/108.
    let steps = (2.0 + rest) * quiet;
    let steps_variance = 6.25 * state.decode_variance
        + hit * hit / 108.0
        + (rest + state.prompt_load).powi(2) * hit_variance;
    let least = steps - 3.0 * state.decode_variance.sqrt();
    let work = terms.prompt_work;
    tail::over_counts(others, others_variance, |count| {
        let prompts = count + 1.0;
        let mean = steps + rest * (hit - quiet) + prompts * work;
        let variance = steps_variance + prompts * work * work * terms.input_spread;
        let in_steps = if count < 0.5 { 1.0 } else { 2.0 };
        tail::lognormal(least, mean, variance, without_overflow(state, steps, in_steps, target))
    })
}

/// What is left of `target` for prompts and `steps` seconds of steps, when prompt tokens that do not
/// fit into `in_steps` steps make further steps.
fn without_overflow(state: &Steady<'_>, steps: f64, in_steps: f64, target: f64) -> f64 {
    let per_token = state.terms.per_prompt_token;
    let room = in_steps * state.prompt_room;
    let left = target - steps;
    if per_token <= 0.0 || left <= per_token * room {
        return target;
    }
    // The tokens x that a request can wait for: left = per_token · x + (x / room - in_steps + 1/2)
    // steps, as the last step is full by half.
    let tokens = (left + (in_steps - 0.5) * state.decode_step)
        / (per_token + state.decode_step / state.prompt_room);
    steps + per_token * tokens.max(room)
}

fn one_by_one(state: &Steady<'_>, target: f64) -> f64 {
    let (terms, line) = (state.terms, state.line);
    let work = terms.prompt_work;
    let further = (terms.prompt_tokens / state.prompt_room).ceil() - 1.0;
    let steps = (2.0 + further.max(0.0)) * state.decode_step;
    let (mean, variance) = (steps + work, work * work * terms.input_spread);
    let at_once = tail::lognormal(steps, mean, variance, target);
    let after_others =
        tail::lognormal(steps, mean + line.wait, variance + line.wait_variance, target);
    (1.0 - line.load) * at_once + line.load * after_others
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
