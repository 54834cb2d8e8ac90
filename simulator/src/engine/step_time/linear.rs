//! The linear plant.

use optimizer::units::Seconds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Batch, StepTime};

/// t = c0 + c1 · prefill tokens + c2 · decoding sequences + c3 · context tokens.
///
/// c0 is the price of a step (reading the weights, launching kernels), c1 of computing a prompt
/// token, c2 of a sequence in the batch, and c3 of reading one token of KV cache.
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
    fn step_time(&self, batch: &Batch) -> Seconds {
        self.base
            + self.per_prefill_token * f64::from(batch.prefill_tokens)
            + self.per_decode_sequence * f64::from(batch.decode_sequences)
            + self.per_context_token * batch.context_tokens as f64
    }
}
