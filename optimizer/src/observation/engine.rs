//! How an engine is configured.

mod args;

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

pub use args::EngineArgsError;

use crate::units::{Fraction, Tokens};

/// The settings of a variant's engines that bound what they can do. The defaults are vLLM's.
///
/// Two variants whose settings are equal, on the same accelerators, can do the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct EngineConfig {
    /// The most tokens of one step, prompt and output together (`--max-num-batched-tokens`).
    pub max_batched_tokens: Tokens,
    /// The most sequences of one step (`--max-num-seqs`).
    pub max_sequences: NonZeroU32,
    /// The longest sequence (`--max-model-len`); `None` when it is the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_model_len: Option<Tokens>,
    /// Tokens of one KV block (`--block-size`).
    pub block_size: Tokens,
    /// The share of GPU memory that the engine may use (`--gpu-memory-utilization`).
    pub gpu_memory_utilization: Fraction,
    /// GPUs that share one model replica's layers (`--tensor-parallel-size`).
    pub tensor_parallel: NonZeroU32,
    /// Engines of one replica that share its requests, each with a cache of its own
    /// (`--data-parallel-size`). Each of them reports as a replica. `None` when nobody says; then
    /// the number of those that report tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_parallel: Option<NonZeroU32>,
    /// Whether steps are launched kernel by kernel, without CUDA graphs (`--enforce-eager`).
    pub enforce_eager: bool,
    /// The type of the KV cache's entries (`--kv-cache-dtype`).
    pub kv_cache_dtype: String,
    /// The number of KV blocks, where it is set by hand (`--num-gpu-blocks-override`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_blocks: Option<u32>,
    /// The size of a replica's KV cache, where it is known without a replica that reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_capacity: Option<Tokens>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            max_batched_tokens: Tokens::new(8192),
            max_sequences: NonZeroU32::MIN.saturating_add(255),
            max_model_len: None,
            block_size: Tokens::new(16),
            gpu_memory_utilization: Fraction::new(0.9),
            tensor_parallel: NonZeroU32::MIN,
            data_parallel: None,
            enforce_eager: false,
            kv_cache_dtype: "auto".to_owned(),
            num_blocks: None,
            kv_capacity: None,
        }
    }
}
