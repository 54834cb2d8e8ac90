//! A replica at a constant arrival rate.
//!
//! Count in steps instead of seconds. While a step takes t, λ·t requests arrive; each of them makes
//! later steps longer, by its prompt once and by its share of the batch for as many steps as it
//! decodes; and in longer steps more requests arrive. So the arrivals excite themselves. With a step
//! time that is linear in its contents they are a Hawkes process, whose branching ratio is the load
//! ρ = λ · (work of a request), and whose moments are known (Hawkes, 1971; Bacry and others, 2015).

use super::terms::Terms;

/// The moments of a replica's steps.
#[derive(Debug)]
pub(super) struct Steady<'a> {
    pub(super) terms: &'a Terms,
    /// Requests per second.
    pub(super) rate: f64,
    /// The share of the time that goes to prompts.
    pub(super) prompt_load: f64,
    /// The mean time of a step, overhead / (1 − ρ).
    pub(super) step: f64,
    /// The mean time of a step without prompts in it.
    pub(super) decode_step: f64,
    /// The variance of their number over its mean; 1 when arrivals do not excite themselves.
    pub(super) growth: f64,
    /// How the number of arrivals in many steps varies, before growth: variance over mean.
    pub(super) noise: f64,
    /// For how many steps a surplus of sequences lasts.
    pub(super) relaxation: f64,
    /// The variance of `decode_step`.
    pub(super) decode_variance: f64,
    /// The variance of a step that changes as slowly as the batch does.
    pub(super) slow_variance: f64,
    /// The variance of a step.
    pub(super) variance: f64,
    /// The mean and the variance of the step in which a request arrives: a long step is more likely
    /// to be hit than a short one.
    pub(super) hit_step: f64,
    pub(super) hit_variance: f64,
    /// Prompt tokens for which a step has room.
    pub(super) prompt_room: f64,
    /// How likely those who arrive in the same step, but later, share a request's prefill: certain
    /// when prompts are small against the room, impossible when one fills it.
    pub(super) ride: f64,
    /// Prompts served one after the other.
    pub(super) line: Line,
}

/// The queue of prompts when the token budget lets only so many tokens into a step: an M/G/1 queue,
/// whose moments Pollaczek and Khinchine gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    /// How likely a prompt has to wait.
    pub(super) load: f64,
    /// The mean wait of all, in seconds.
    pub(super) mean_wait: f64,
    /// The mean and the variance of the wait of those who do.
    pub(super) wait: f64,
    pub(super) wait_variance: f64,
}

impl<'a> Steady<'a> {
    /// The state at `rate` requests per second; `None` where there is none.
    pub(super) fn at(terms: &'a Terms, rate: f64) -> Option<Self> {
        let prompt_load = rate * terms.prompt_work;
        let decode_load = rate * terms.decode_steps * terms.sequence_work;
        let free = 1.0 - prompt_load - decode_load;
        if !(free > 0.0 && rate < terms.full_rate) {
            return None;
        }
        let free_of_prompts = 1.0 - prompt_load;
        let step = terms.overhead / free;
        let decode_step = step * free_of_prompts;
        let sequences = rate * step * terms.decode_steps;
        let noise = 1.0
            + prompt_load.powi(2) * terms.input_spread
            + terms.excess / (1.0 + terms.output_spread);
        let growth = (noise / (free_of_prompts * free)).max(0.0);
        let decode_variance = sequences * terms.sequence_work.powi(2) * terms.work_square * growth;
        let slow_variance = decode_variance / free_of_prompts.powi(2);

        // Prompts that arrive in one step are computed in another, in which again prompts arrive.
        let (p1, arrivals) = (terms.prompt_work, rate * step);
        let p2 = p1 * p1 * (1.0 + terms.input_spread);
        let p3 = p1.powi(3) * (1.0 + terms.input_spread).powi(3);
        let prompt_variance =
            (arrivals * p1 * p1 * terms.prompt_square()).max(0.0) / (1.0 - prompt_load.powi(2));
        let third = (arrivals * p3 + 3.0 * rate * rate * p1 * p2 * prompt_variance)
            / (1.0 - prompt_load.powi(3));
        let variance = prompt_variance + slow_variance;
        let hit_step = step + variance / step;
        let hit_square = third / step + 3.0 * variance + step * step;
        let hit_variance = (hit_square - hit_step * hit_step).max(0.0);

        let prompt_room = (terms.budget - sequences).max(1.0);
        let fitting = prompt_room / terms.prompt_tokens.max(1.0);
        Some(Self {
            terms,
            rate,
            prompt_load,
            step,
            decode_step,
            growth,
            noise,
            relaxation: terms.residual_steps * free_of_prompts / free,
            decode_variance,
            slow_variance,
            variance,
            hit_step,
            hit_variance,
            prompt_room,
            ride: ((fitting - 1.0) / 2.0).clamp(0.0, 1.0),
            line: Line::at(terms, rate, decode_step, prompt_room)?,
        })
    }
}

impl Line {
    fn at(terms: &Terms, rate: f64, decode_step: f64, prompt_room: f64) -> Option<Self> {
        // A step that is full of prompt tokens costs its decodes besides.
        let service = terms.prompt_work + decode_step * terms.prompt_tokens / prompt_room;
        let load = rate * service;
        if load >= 1.0 {
            return None;
        }
        if load <= 0.0 {
            return Some(Self { load: 0.0, mean_wait: 0.0, wait: 0.0, wait_variance: 0.0 });
        }
        let square = (service * service * terms.prompt_square()).max(0.0);
        let cube = (service * (1.0 + terms.input_spread)).powi(3);
        let mean_wait = rate * square / (2.0 * (1.0 - load));
        let wait_square = 2.0 * mean_wait * mean_wait + rate * cube / (3.0 * (1.0 - load));
        let wait = mean_wait / load;
        let wait_variance = (wait_square / load - wait * wait).max(0.0);
        Some(Self { load, mean_wait, wait, wait_variance })
    }
}
