//! The linear plant.

use optimizer::units::Seconds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Batch, DecodeLaw, StepTime};
use crate::engine::ticks::Ticks;

/// t = c0 + c1 · prefill tokens + c2 · decoding sequences + c3 · context tokens.
///
/// c0 is the price of a step (reading the weights, launching kernels), c1 of computing a prompt
/// token, c2 of a sequence in the batch, and c3 of reading one token of KV cache. Each is rounded
/// to the engine's ticks, and what follows from them is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Linear {
    /// c0: the time of an empty step.
    pub base: Seconds,
    /// c1: for each prompt token that the step computes.
    pub per_prefill_token: Seconds,
    /// c2: for each sequence that decodes.
    pub per_decode_sequence: Seconds,
    /// c3: for each token of context of the decoding sequences.
    pub per_context_token: Seconds,
}

impl StepTime for Linear {
    /// At least one tick, whatever the coefficients: time has to pass.
    fn step_time(&self, batch: &Batch) -> Ticks {
        Ticks::from_seconds(self.base).max(Ticks::new(1))
            + Ticks::from_seconds(self.per_prefill_token).times(u64::from(batch.prefill_tokens))
            + Ticks::from_seconds(self.per_decode_sequence).times(u64::from(batch.decode_sequences))
            + Ticks::from_seconds(self.per_context_token).times(batch.context_tokens)
    }

    /// A step later the context is longer by a token for each sequence.
    fn decode_law(&self, batch: &Batch) -> DecodeLaw {
        let per_token = Ticks::from_seconds(self.per_context_token);
        DecodeLaw {
            first: self.step_time(batch),
            growth: per_token.times(u64::from(batch.decode_sequences)),
            valid_for: u64::MAX,
        }
    }
}
