//! The arguments with which an engine starts.

use optimizer::units::Fraction;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Request;

/// The engine arguments that bound a batch, as they are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineArgs {
    /// Tokens that one step computes at most.
    pub max_num_batched_tokens: u32,
    /// Sequences that run at once at most.
    pub max_num_seqs: u32,
    /// Prompt and output tokens of one sequence at most.
    pub max_model_len: u32,
    /// Tokens of one KV block.
    pub block_size: u32,
    /// KV blocks, of which vLLM keeps one as the null block.
    pub num_gpu_blocks: u32,
    /// Whether the next step is decided while one is under way, as vLLM does by default.
    pub async_scheduling: bool,
    /// Whether blocks keep what was computed for others that need the same, as vLLM does by
    /// default.
    pub enable_prefix_caching: bool,
    /// Who is served first.
    pub scheduling_policy: SchedulingPolicy,
    /// Tokens that one sequence computes in a step at most, if there is another; 0 is no limit.
    pub long_prefill_token_threshold: u32,
    /// The share of the blocks that an admission leaves free while others run.
    pub watermark: Fraction,
    /// Requests in flight beyond which the server answers 503.
    pub max_num_queued_reqs: Option<u32>,
    /// Prompt tokens of requests without a first token at which the server answers 503.
    pub max_num_queued_tokens: Option<u64>,
}

/// Who is served first. The names are vLLM's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SchedulingPolicy {
    /// First come, first served. When blocks run out, the sequence that was admitted last goes.
    #[default]
    Fcfs,
    /// By [`Request::priority`], then by arrival. When blocks run out, the least urgent goes.
    Priority,
}

impl EngineArgs {
    /// The output tokens that a request can get where others are in flight already; `Err` when the
    /// server refuses it.
    pub(super) fn admit(&self, request: &Request, others: Load) -> Result<u32, Rejection> {
        let (prompt, context) = (request.prompt_tokens, self.max_model_len);
        let output = match context.checked_sub(prompt) {
            None | Some(0) => return Err(Rejection::PromptTooLong { prompt, context }),
            Some(room) => request.output_tokens.clamp(1, room),
        };
        if let Some(limit) = self.max_num_queued_reqs
            && others.requests >= limit as usize
        {
            return Err(Rejection::TooManyRequests { limit });
        }
        if let Some(limit) = self.max_num_queued_tokens
            && others.prompt_tokens >= limit
        {
            return Err(Rejection::TooManyTokens { limit });
        }
        Ok(output)
    }

    /// Tokens that one of `requests` requests computes in a step at most.
    pub(super) const fn chunk_limit(&self, requests: usize) -> u32 {
        if self.long_prefill_token_threshold == 0 || requests == 1 {
            u32::MAX
        } else {
            self.long_prefill_token_threshold
        }
    }

    /// Blocks that an admission leaves free when `running` sequences run.
    pub(super) fn reserve(&self, running: usize) -> u32 {
        if running == 0 {
            return 0;
        }
        let reserve = self.watermark.value() * f64::from(self.num_gpu_blocks);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of it"
        )]
        let reserve = reserve as u32;
        reserve
    }

    /// Steps that are decided at once: the one under way and, with asynchronous scheduling, the
    /// next.
    pub(super) const fn depth(&self) -> u64 {
        if self.async_scheduling { 2 } else { 1 }
    }

    /// What vLLM does unless told otherwise. The sizes depend on the model and the GPU; they are
    /// zero here, with which no engine starts.
    pub const DEFAULT: Self = Self {
        max_num_batched_tokens: 0,
        max_num_seqs: 0,
        max_model_len: 0,
        block_size: 16,
        num_gpu_blocks: 0,
        async_scheduling: true,
        enable_prefix_caching: true,
        scheduling_policy: SchedulingPolicy::Fcfs,
        long_prefill_token_threshold: 0,
        watermark: Fraction::ZERO,
        max_num_queued_reqs: None,
        max_num_queued_tokens: None,
    };

    /// Tokens that the KV cache holds.
    #[must_use]
    pub const fn kv_capacity_tokens(&self) -> u64 {
        self.num_gpu_blocks.saturating_sub(1) as u64 * self.block_size as u64
    }
}

/// What an engine has to do when a request arrives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Requests in flight.
    pub(super) requests: usize,
    /// Prompt tokens of those that have no first token yet.
    pub(super) prompt_tokens: u64,
}

/// Engine arguments with which an engine starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineConfig(pub(super) EngineArgs);

impl EngineConfig {
    /// The arguments.
    #[must_use]
    pub const fn args(&self) -> &EngineArgs {
        &self.0
    }

    /// Prompt and output tokens of one request at most.
    #[must_use]
    pub const fn max_model_len(&self) -> u32 {
        self.0.max_model_len
    }
}

impl TryFrom<EngineArgs> for EngineConfig {
    type Error = EngineConfigError;

    /// Refuses an argument of zero, fewer tokens than sequences in a step, and a cache that cannot
    /// hold one sequence of the greatest length (vLLM does not start then, either).
    fn try_from(args: EngineArgs) -> Result<Self, EngineConfigError> {
        for (name, value) in [
            ("maxNumBatchedTokens", args.max_num_batched_tokens),
            ("maxNumSeqs", args.max_num_seqs),
            ("maxModelLen", args.max_model_len),
            ("blockSize", args.block_size),
            ("numGpuBlocks", args.num_gpu_blocks),
        ] {
            if value == 0 {
                return Err(EngineConfigError::Zero(name));
            }
        }
        if args.max_num_batched_tokens < args.max_num_seqs {
            return Err(EngineConfigError::BudgetBelowSequences {
                budget: args.max_num_batched_tokens,
                sequences: args.max_num_seqs,
            });
        }
        let capacity = args.kv_capacity_tokens();
        if u64::from(args.max_model_len) > capacity {
            return Err(EngineConfigError::ContextBeyondCache {
                context: args.max_model_len,
                capacity,
            });
        }
        Ok(Self(args))
    }
}

/// Engine arguments with which no engine starts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EngineConfigError {
    /// An argument is zero.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// A step could not give one token to every sequence.
    #[error("maxNumBatchedTokens ({budget}) must not be below maxNumSeqs ({sequences})")]
    BudgetBelowSequences {
        /// Tokens of a step.
        budget: u32,
        /// Sequences of a step.
        sequences: u32,
    },
    /// One sequence could outgrow the KV cache.
    #[error(
        "maxModelLen ({context}) must not exceed the {capacity} tokens that the KV cache holds"
    )]
    ContextBeyondCache {
        /// The greatest length of a sequence.
        context: u32,
        /// Tokens of the KV cache.
        capacity: u64,
    },
}

/// Why an engine refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Rejection {
    /// The prompt leaves no room for one output token: vLLM answers 400.
    #[error("prompt of {prompt} tokens does not fit a context of {context}")]
    PromptTooLong {
        /// Prompt tokens.
        prompt: u32,
        /// `max_model_len`.
        context: u32,
    },
    /// `max_num_queued_reqs` requests are in flight: vLLM answers 503.
    #[error("{limit} requests are in flight already")]
    TooManyRequests {
        /// `max_num_queued_reqs`.
        limit: u32,
    },
    /// `max_num_queued_tokens` prompt tokens wait for their first output token: vLLM answers 503.
    #[error("{limit} prompt tokens are being computed already")]
    TooManyTokens {
        /// `max_num_queued_tokens`.
        limit: u64,
    },
}
