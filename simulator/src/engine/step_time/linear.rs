//! The linear plant.

use optimizer::units::Seconds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Batch, DecodeLaw, StepTime};
use crate::engine::ticks::Ticks;

/// t = c0 + c1 · prefill tokens + c2 · decoding sequences + c3 · context tokens, as it is written.
///
/// c0 is the price of a step (reading the weights, launching kernels), c1 of computing a prompt
/// token, c2 of a sequence in the batch, and c3 of reading one token of KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Linear")]
pub struct LinearSeconds {
    /// c0: the time of an empty step.
    pub base: Seconds,
    /// c1: for each prompt token that the step computes.
    pub per_prefill_token: Seconds,
    /// c2: for each sequence that decodes.
    pub per_decode_sequence: Seconds,
    /// c3: for each token of context of the decoding sequences.
    pub per_context_token: Seconds,
}

/// The linear plant, its four numbers in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linear {
    base: Ticks,
    per_prefill_token: Ticks,
    per_decode_sequence: Ticks,
    per_context_token: Ticks,
}

impl From<LinearSeconds> for Linear {
    /// A step takes at least one tick: time has to pass.
    fn from(seconds: LinearSeconds) -> Self {
        Self {
            base: Ticks::from_seconds(seconds.base).max(Ticks::new(1)),
            per_prefill_token: Ticks::from_seconds(seconds.per_prefill_token),
            per_decode_sequence: Ticks::from_seconds(seconds.per_decode_sequence),
            per_context_token: Ticks::from_seconds(seconds.per_context_token),
        }
    }
}

impl StepTime for Linear {
    fn step_time(&self, batch: &Batch) -> Ticks {
        self.base
            + self.per_prefill_token.times(u64::from(batch.prefill_tokens))
            + self.per_decode_sequence.times(u64::from(batch.decode_sequences))
            + self.per_context_token.times(batch.context_tokens)
    }

    /// A step later the context is longer by a token for each sequence.
    fn decode_law(&self, batch: &Batch) -> DecodeLaw {
        DecodeLaw {
            first: self.step_time(batch),
            growth: self.per_context_token.times(u64::from(batch.decode_sequences)),
            valid_for: u64::MAX,
        }
    }
}
