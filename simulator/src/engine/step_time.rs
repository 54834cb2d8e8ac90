//! How long a batch takes.
//!
//! A plant is the simulator's model of the hardware. It is not the optimizer's belief about the
//! hardware: the two share no code and no numbers, or an experiment would only confirm itself.

mod linear;

use optimizer::units::Seconds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use linear::Linear;

/// What a batch consists of, as far as its time depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Batch {
    /// Tokens computed for prompts, over all sequences in prefill.
    pub prefill_tokens: u32,
    /// Sequences that decode one token.
    pub decode_sequences: u32,
    /// Tokens in the KV cache of the decoding sequences, summed, the new one included.
    pub context_tokens: u64,
}

/// A model of the hardware.
pub trait StepTime {
    /// The time of one step.
    fn step_time(&self, batch: &Batch) -> Seconds;
}

/// The plants that exist.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Plant {
    /// Linear in tokens, sequences and context.
    Linear(Linear),
}

impl StepTime for Plant {
    fn step_time(&self, batch: &Batch) -> Seconds {
        match self {
            Self::Linear(linear) => linear.step_time(batch),
        }
    }
}
