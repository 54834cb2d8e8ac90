//! The hinge plant.

use optimizer::units::Seconds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Batch, DecodeLaw, Linear, StepTime};
use crate::engine::ticks::Ticks;

/// t = c0 + c1 · max(0, prefill tokens − p0) + c2 · decoding sequences + c3 · context tokens
///     + c4 · prefill pairs.
///
/// The [linear](Linear) plant with the two bends that measured prefill has. The first p0 prompt
/// tokens of a step are free, because reading the weights takes as long as computing with so few
/// tokens. And a long prompt costs more than its length, because each of its tokens attends to all
/// before it, which c4 counts in pairs. What it leaves out: a decoding sequence is a token as well,
/// but does not use up p0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Hinge {
    /// c0: the time of an empty step.
    pub base: Seconds,
    /// p0: prompt tokens of a step that cost nothing.
    pub free_prefill_tokens: u32,
    /// c1: for each further prompt token that the step computes.
    pub per_prefill_token: Seconds,
    /// c2: for each sequence that decodes.
    pub per_decode_sequence: Seconds,
    /// c3: for each token of context of the decoding sequences.
    pub per_context_token: Seconds,
    /// c4: for each pair of a prompt token and a token that it attends to.
    pub per_prefill_pair: Seconds,
}

impl Hinge {
    /// What a step takes without its prompts, in which the two plants do not differ.
    const fn without_prefill(&self) -> Linear {
        Linear {
            base: self.base,
            per_prefill_token: Seconds::ZERO,
            per_decode_sequence: self.per_decode_sequence,
            per_context_token: self.per_context_token,
        }
    }
}

impl StepTime for Hinge {
    fn step_time(&self, batch: &Batch) -> Ticks {
        let charged = batch.prefill_tokens.saturating_sub(self.free_prefill_tokens);
        self.without_prefill().step_time(batch)
            + Ticks::from_seconds(self.per_prefill_token).times(u64::from(charged))
            + Ticks::from_seconds(self.per_prefill_pair).times(batch.prefill_pairs)
    }

    fn decode_law(&self, batch: &Batch) -> DecodeLaw {
        self.without_prefill().decode_law(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HINGE: Hinge = Hinge {
        base: Seconds::new(1.0),
        free_prefill_tokens: 96,
        per_prefill_token: Seconds::new(0.001),
        per_decode_sequence: Seconds::new(0.01),
        per_context_token: Seconds::new(0.000_01),
        per_prefill_pair: Seconds::new(1e-6),
    };

    /// The time of a step with chunks of so many tokens after so many others, and with sequences
    /// of so many tokens that decode.
    #[track_caller]
    fn check(prefill: &[(u32, u32)], decode: &[u32], expected: f64) {
        let mut batch = Batch::default();
        for &(chunk, computed) in prefill {
            batch.add_prefill(chunk, computed);
        }
        for &tokens in decode {
            batch.add_decode(tokens);
        }
        let took = HINGE.step_time(&batch).as_seconds().value();
        assert!((took - expected).abs() < 1e-9, "{took} is not {expected}");
    }

    #[test]
    fn a_step_costs_the_sum_of_its_terms() {
        check(&[], &[], 1.0);
        check(&[], &[100, 200], 1.0 + 0.02 + 0.003);
        // Up to the hinge, a prompt costs its pairs alone: 96 · 97 / 2.
        check(&[(96, 0)], &[], 1.0 + 0.004_656);
        check(&[(97, 0)], &[], 1.0 + 0.001 + 0.004_753);
        // The hinge is one for the step, not one for each prompt.
        check(&[(48, 0), (49, 0)], &[], 1.0 + 0.001 + 0.001_176 + 0.001_225);
        // A later chunk attends to the earlier ones as well: 100 · 1000 + 100 · 101 / 2.
        check(&[(100, 1000)], &[500], 1.0 + 0.004 + 0.105_05 + 0.01 + 0.005);
    }
}
