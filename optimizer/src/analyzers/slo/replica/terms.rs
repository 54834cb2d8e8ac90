//! What the model of a replica needs at every rate, computed once.

use super::{Replica, RequestMix};
use crate::observation::Role;
use crate::units::Tokens;

/// Outputs are looked at in strata of this many.
const STRATA: usize = 6;

/// The replica and its requests in numbers. Times are in seconds, and "work" is the time that
/// something adds to steps.
///
/// Lengths are taken as lognormal, whose moments follow from the mean and the variation c:
/// E\[X^k\] = mean^k · (1 + c²)^(k(k − 1)/2).
#[derive(Debug)]
pub(super) struct Terms {
    /// The time of a step that does nothing.
    pub(super) overhead: f64,
    /// Work for a prompt token.
    pub(super) per_prompt_token: f64,
    /// Prompt tokens of a request that are computed, on average.
    pub(super) prompt_tokens: f64,
    /// Work for the prompt of a request.
    pub(super) prompt_work: f64,
    /// Work for a sequence that decodes, in each step.
    pub(super) sequence_work: f64,
    /// Of that, what does not depend on its context, and what each token of context adds.
    pub(super) per_sequence: f64,
    pub(super) per_context_token: f64,
    /// E\[X²\] / E\[X\]² of the work of a decoding sequence, by its context.
    pub(super) work_square: f64,
    /// Steps in which a request decodes: the first token comes with the prompt.
    pub(super) decode_steps: f64,
    /// Steps for which a request keeps its place in the batch.
    pub(super) held_steps: f64,
    /// For how many steps more a sequence decodes that is found decoding.
    pub(super) residual_steps: f64,
    /// Prompt tokens of a request, whether computed or found.
    pub(super) input: f64,
    /// Tokens of context of a sequence that is found decoding, on average.
    pub(super) context: f64,
    /// E\[X²\] / E\[X\]² of those tokens.
    pub(super) context_square: f64,
    /// The squared variations of inputs, outputs, and of the tokens that a request holds summed
    /// over its steps.
    pub(super) input_spread: f64,
    pub(super) output_spread: f64,
    pub(super) volume_spread: f64,
    /// The index of dispersion of arrivals, and what it is beyond that of a Poisson process.
    pub(super) dispersion: f64,
    pub(super) excess: f64,
    /// The most tokens of a step.
    pub(super) budget: f64,
    /// Tokens of the KV cache, and those that a sequence leaves empty in its last block.
    pub(super) kv_capacity: f64,
    pub(super) block_waste: f64,
    /// The most sequences of a step.
    pub(super) slots: f64,
    /// Requests per second that a full batch completes.
    pub(super) full_rate: f64,
    /// Decode steps of a request and how often, for short and long outputs.
    pub(super) strata: [Stratum; STRATA],
    /// Whether it serves prompts, and whether it serves outputs.
    pub(super) prefills: bool,
    pub(super) decodes: bool,
}

/// Requests whose output is about as long.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stratum {
    pub(super) decode_steps: f64,
    pub(super) weight: f64,
}

impl Terms {
    pub(super) fn new(replica: &Replica, mix: &RequestMix) -> Option<Self> {
        let step = replica.step_time;
        let prefills = replica.role != Role::Decode;
        let input = mix.input.value().max(1.0);
        let output = if replica.role == Role::Prefill { 1.0 } else { mix.output.value().max(1.0) };
        let input_spread = mix.input_variation.value().powi(2);
        let output_spread = mix.output_variation.value().powi(2);
        let (inputs, outputs) = (1.0 + input_spread, 1.0 + output_spread);

        // Who is found decoding is found at a random moment, and more likely with a long output.
        let age = output * outputs / 2.0;
        let age_square = output * output * outputs.powi(3) / 3.0;
        let context = input + age;
        let context_variance = input * input * input_spread + (age_square - age * age).max(0.0);
        let sequence_work = step.per_sequence.value() + step.per_context_token.value() * context;
        let work_variance = step.per_context_token.value().powi(2) * context_variance;
        let volume = output * context;
        let volume_square = output * output * outputs * input * input * inputs
            + output.powi(3) * outputs.powi(3) * input
            + output.powi(4) * outputs.powi(6) / 4.0;

        let prompt_tokens =
            if prefills { (input * (1.0 - mix.prefix_hits.value())).max(1.0) } else { 0.0 };
        let prompt_work = step.per_prompt_token.value() * prompt_tokens;
        let decode_steps = output - 1.0;
        let block_waste = replica.block_size.as_f64() / 2.0;
        let kv_capacity = replica.kv_capacity.map_or(f64::INFINITY, Tokens::as_f64);
        let slots = f64::from(replica.max_sequences.get());
        let full = slots.min(kv_capacity / (context + block_waste));
        // A request keeps its place for its decode steps, the step of its prompt, and one more in
        // which it is known to have ended.
        let held_steps = output + 1.0;
        let budget = replica.max_batched_tokens.as_f64();
        let full_step = step.overhead.value()
            + full / held_steps * decode_steps * sequence_work
            + (full / held_steps).min(budget / prompt_tokens.max(1.0)) * prompt_work;

        let dispersion = mix.burstiness.value();
        let terms = Self {
            overhead: step.overhead.value(),
            per_prompt_token: step.per_prompt_token.value(),
            prompt_tokens,
            prompt_work,
            sequence_work,
            per_sequence: step.per_sequence.value(),
            per_context_token: step.per_context_token.value(),
            work_square: ratio_of_squares(sequence_work, work_variance),
            decode_steps,
            residual_steps: (decode_steps * outputs / 2.0).max(1.0),
            input,
            context,
            context_square: ratio_of_squares(context, context_variance),
            input_spread,
            output_spread,
            volume_spread: volume_square / (volume * volume) - 1.0,
            dispersion,
            excess: dispersion - 1.0,
            budget,
            kv_capacity,
            block_waste,
            slots,
            held_steps,
            full_rate: full / (held_steps * full_step),
            strata: strata(decode_steps, output_spread),
            prefills,
            decodes: decode_steps > 0.0,
        };
        // One sequence at least has to fit.
        let serves = terms.overhead > 0.0 && full >= 1.0 && terms.budget >= 1.0;
        let stable = terms.stable_rate();
        (serves && stable > 0.0 && stable.is_finite()).then_some(terms)
    }

    /// The rate beyond which a queue has no end: all the time is work, the batch is full, or each
    /// step has as many prompt tokens as it may.
    pub(super) fn stable_rate(&self) -> f64 {
        let all_work = (self.prompt_work + self.decode_steps * self.sequence_work).recip();
        let all_budget =
            (self.prompt_work + self.overhead * self.prompt_tokens / self.budget).recip();
        self.full_rate.min(all_work).min(all_budget)
    }

    /// How many others arrive together with a request, if arrivals come in heaps: of compound Poisson
    /// arrivals with an index of dispersion of D it is D − 1.
    pub(super) fn company(&self) -> f64 {
        self.excess.max(0.0)
    }

    /// E\[X²\] / E\[X\]² of the work of a prompt, with the dispersion of arrivals on top, which
    /// counts as if prompts came in heaps.
    pub(super) fn prompt_square(&self) -> f64 {
        1.0 + self.input_spread + self.excess
    }
}

/// E\[X²\] / E\[X\]² of a variable with this mean and variance; 1 where the mean is zero.
fn ratio_of_squares(mean: f64, variance: f64) -> f64 {
    if mean > 0.0 { 1.0 + variance / (mean * mean) } else { 1.0 }
}

/// The strata of lognormal outputs: a standard deviation of the logarithm each. Without any
/// spread the first has all the weight.
fn strata(mean: f64, spread: f64) -> [Stratum; STRATA] {
    let variance = spread.ln_1p();
    let mut strata = [Stratum::default(); STRATA];
    if variance <= 0.0 {
        strata[0] = Stratum { decode_steps: mean.max(1.0), weight: 1.0 };
        return strata;
    }
    for (place, stratum) in strata.iter_mut().enumerate() {
        let z = place as f64 - (STRATA - 1) as f64 / 2.0;
        let length = mean * (variance.sqrt() * z - variance / 2.0).exp();
        *stratum = Stratum { decode_steps: length.max(1.0), weight: (-z * z / 2.0).exp() };
    }
    let sum: f64 = strata.iter().map(|stratum| stratum.weight).sum();
    for stratum in &mut strata {
        stratum.weight /= sum;
    }
    strata
}
