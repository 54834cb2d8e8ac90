//! How long a step of an engine takes, as the optimizer believes.

mod fit;

use serde::{Deserialize, Serialize};

pub use fit::{StepSample, StepTimeFit};

use crate::units::{MeanTokens, QueueLength, Seconds};

/// A step's time, linear in what the step does:
///
/// t = `overhead` + `per_prompt_token` · (prompt tokens computed) + `per_sequence` · (sequences that
/// decode) + `per_context_token` · (tokens of context that the decoding sequences read).
///
/// The optimizer's own belief, from a profile or fitted to what replicas report. The simulator's
/// servers do not use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StepTime {
    /// The time of a step that does nothing.
    pub overhead: Seconds,
    /// For each prompt token.
    pub per_prompt_token: Seconds,
    /// For each sequence that decodes a token.
    pub per_sequence: Seconds,
    /// For each token in the KV cache of those sequences.
    pub per_context_token: Seconds,
}

impl StepTime {
    /// The time of a step that computes `prompt` tokens and decodes one token for each of
    /// `sequences`, whose contexts together have `context` tokens. The numbers may be means.
    #[must_use]
    pub fn of(&self, prompt: MeanTokens, sequences: QueueLength, context: MeanTokens) -> Seconds {
        let time = self.overhead.value()
            + self.per_prompt_token.value() * prompt.value()
            + self.per_sequence.value() * sequences.value()
            + self.per_context_token.value() * context.value();
        Seconds::checked(time).unwrap_or(Seconds::new(f64::MAX))
    }
}
