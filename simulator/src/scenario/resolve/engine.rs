//! Engine arguments.

use super::Resolver;
use super::model::Facts;
use crate::catalog::{Gpu, PROFILE_BLOCK_SIZE};
use crate::document::FieldPath;
use crate::engine::{EngineArgs, EngineConfig, EngineConfigError};
use crate::scenario::file::EngineFile;

/// KV blocks of an engine at least: one of them is the null block, which holds nothing.
const LEAST_BLOCKS: u32 = 2;

impl Resolver<'_> {
    /// The engine arguments, with the defaults that vLLM would find. `profiled_blocks` is the KV
    /// cache in blocks of [`PROFILE_BLOCK_SIZE`], where that is known.
    pub(super) fn engine_args(
        &mut self,
        at: &FieldPath,
        file: &EngineFile,
        gpu: &Gpu,
        facts: Facts<'_>,
        profiled_blocks: Option<u32>,
    ) -> Option<EngineArgs> {
        if self.guesses.cover(at) {
            return None;
        }
        let known = self.problems.len();
        for (name, value, least) in [
            ("maxNumSeqs", file.max_num_seqs, 1),
            ("maxNumBatchedTokens", file.max_num_batched_tokens, 1),
            ("maxModelLen", file.max_model_len, 1),
            ("blockSize", file.block_size, 1),
            ("numGpuBlocks", file.num_gpu_blocks, LEAST_BLOCKS),
            ("maxNumQueuedReqs", file.max_num_queued_reqs, 1),
            ("dataParallelSize", file.data_parallel_size, 1),
        ] {
            if value.is_some_and(|value| value < least) {
                self.note(&at.key(name), format!("expected at least {least}"));
            }
        }
        if file.max_num_queued_tokens == Some(0) {
            self.note(&at.key("maxNumQueuedTokens"), "expected at least 1");
        }
        if file.max_model_len.is_some_and(|len| len > facts.max_model_len) {
            let message = format!("expected at most {}, the model's context", facts.max_model_len);
            self.note(&at.key("maxModelLen"), message);
        }
        if self.problems.len() > known {
            return None;
        }

        let block_size = file.block_size.unwrap_or(PROFILE_BLOCK_SIZE);
        let num_gpu_blocks =
            file.num_gpu_blocks.or_else(|| Some(blocks_of(block_size, profiled_blocks?)))?;
        if num_gpu_blocks < LEAST_BLOCKS {
            self.note(&at.key("blockSize"), "expected a size of which two blocks fit the cache");
            return None;
        }
        let mut args = EngineArgs {
            max_num_batched_tokens: gpu.max_num_batched_tokens,
            max_num_seqs: gpu.max_num_seqs,
            max_model_len: facts.max_model_len,
            block_size,
            num_gpu_blocks,
            async_scheduling: file.async_scheduling.unwrap_or(true),
            enable_prefix_caching: file.enable_prefix_caching.unwrap_or(true),
            scheduling_policy: file.scheduling_policy,
            long_prefill_token_threshold: file.long_prefill_token_threshold,
            watermark: file.watermark,
            max_num_queued_reqs: file.max_num_queued_reqs,
            max_num_queued_tokens: file.max_num_queued_tokens,
        };
        let held = u32::try_from(args.kv_capacity_tokens()).unwrap_or(u32::MAX);
        args.max_model_len = file.max_model_len.unwrap_or(facts.max_model_len.min(held));
        // Of a pair of limits, a default gives way to what is given: a step never needs more
        // tokens than all sequences have, nor more sequences than it computes tokens.
        let seqs = file.max_num_seqs.unwrap_or(args.max_num_seqs);
        let useful = seqs.saturating_mul(args.max_model_len);
        args.max_num_batched_tokens =
            file.max_num_batched_tokens.unwrap_or(args.max_num_batched_tokens.min(useful));
        args.max_num_seqs = file.max_num_seqs.unwrap_or(seqs.min(args.max_num_batched_tokens));
        Some(args)
    }

    /// The configuration with which the engine starts.
    pub(super) fn engine(&mut self, at: &FieldPath, args: EngineArgs) -> Option<EngineConfig> {
        let error = match EngineConfig::try_from(args) {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let (field, message) = match error {
            EngineConfigError::Zero(name) => (name, "expected at least 1".to_owned()),
            EngineConfigError::BudgetBelowSequences { budget, .. } => {
                ("maxNumSeqs", format!("expected at most maxNumBatchedTokens, which is {budget}"))
            }
            EngineConfigError::ContextBeyondCache { capacity, .. } => (
                "maxModelLen",
                format!("expected at most the {capacity} tokens that the KV cache holds"),
            ),
        };
        self.note(&at.key(field), message);
        None
    }
}

/// How many blocks of this size make up so many of a profile's.
fn blocks_of(size: u32, profiled: u32) -> u32 {
    let tokens = u64::from(profiled) * u64::from(PROFILE_BLOCK_SIZE);
    u32::try_from(tokens / u64::from(size)).unwrap_or(u32::MAX)
}
