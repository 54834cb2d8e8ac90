//! How many first tokens are late.

use super::steady::Steady;
use super::tail;

/// The share of requests whose first token comes later than `target` seconds after they arrive,
/// apart from those that wait for a place in the batch.
///
/// Scheduling is asynchronous: a request that arrives in a step waits for the rest of it and for the
/// next, which is decided already, and is computed in the one after that, together with whoever
/// arrived in the same step. Or, where a step has no room for so many prompts, one after the other.
pub(super) fn late(state: &Steady<'_>, target: f64) -> f64 {
    if !state.terms.prefills {
        return 0.0;
    }
    together(state, target).max(one_by_one(state, target))
}

/// The mean time to first token of a request that finds a place in the batch at once.
pub(super) fn mean(state: &Steady<'_>) -> f64 {
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
