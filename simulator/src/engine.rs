//! One vLLM replica, step by step.
//!
//! An [`Engine`] is vLLM v1's scheduler and KV-cache bookkeeping around a model that is reduced to
//! one question: how long does a batch take? ([`StepTime`]). Each step:
//!
//! 1. **Running sequences first**, in the order of their admission. Each needs its tokens that are
//!    not computed yet: one when it decodes, the rest of its prompt when it is in mid-prefill. A
//!    step computes at most `max_num_batched_tokens`, so a long prompt is cut into chunks. A
//!    sequence that finds no free block evicts the youngest running sequence, possibly itself: the
//!    victim loses its blocks and its computed tokens, keeps its output, and goes to the head of
//!    the queue.
//! 2. **Waiting sequences** then, first come, first served, and only in a step that preempted
//!    nothing. The head of the queue enters when its *whole* prompt fits into the free blocks,
//!    although only its first chunk is allocated; when it does not fit, nobody behind it enters.
//! 3. The batch runs for the plant's time. Every sequence whose tokens are all computed then has
//!    one more output token; those with all their output leave.
//!
//! Source of the rules: the scheduler of vLLM 0.33. Not modeled yet: prefix caching, priorities,
//! asynchronous scheduling (a finish is seen at the end of its own step, not one later), and
//! speculative decoding.

mod blocks;
mod schedule;
mod sequence;
pub mod step_time;

use std::collections::VecDeque;

use optimizer::units::{Fraction, Seconds, Timestamp};
use thiserror::Error;

use blocks::BlockPool;
use sequence::{Handle, Sequence, Sequences};
pub use step_time::StepTime;

/// Names a request to the engine's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u32);

/// A request as an engine sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Its name.
    pub id: RequestId,
    /// Prompt tokens, at least 1.
    pub prompt_tokens: u32,
    /// Output tokens after which it ends, at least 1.
    pub output_tokens: u32,
}

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
}

impl EngineArgs {
    /// Tokens that the KV cache holds.
    #[must_use]
    pub const fn kv_capacity_tokens(&self) -> u64 {
        self.num_gpu_blocks.saturating_sub(1) as u64 * self.block_size as u64
    }
}

/// Engine arguments with which an engine starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineConfig(EngineArgs);

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
}

/// What the owner of an engine is told while it steps.
pub trait Observer {
    /// A request entered the batch for the first time.
    fn scheduled(&mut self, id: RequestId, at: Timestamp);
    /// A request lost its blocks and went back to the queue.
    fn preempted(&mut self, id: RequestId);
    /// A request has its first output token.
    fn first_token(&mut self, id: RequestId, at: Timestamp);
    /// `count` output tokens came `gap` after the token before them.
    fn token_gaps(&mut self, gap: Seconds, count: u64);
    /// A request has all its output tokens and left.
    fn finished(&mut self, id: RequestId, at: Timestamp, output_tokens: u32);
}

/// One replica of a model server.
#[derive(Debug)]
pub struct Engine<P> {
    args: EngineArgs,
    plant: P,
    blocks: BlockPool,
    sequences: Sequences,
    /// In the order of admission: the last one is the first to be evicted.
    running: Vec<Handle>,
    waiting: VecDeque<Handle>,
    step_in_flight: bool,
    last_step_end: Timestamp,
}

impl<P: StepTime> Engine<P> {
    /// An idle engine with an empty cache.
    pub fn new(EngineConfig(args): EngineConfig, plant: P) -> Self {
        Self {
            args,
            plant,
            blocks: BlockPool::new(args.num_gpu_blocks, args.block_size),
            sequences: Sequences::default(),
            running: Vec::new(),
            waiting: VecDeque::new(),
            step_in_flight: false,
            last_step_end: Timestamp::ZERO,
        }
    }

    /// Queues a request. Output that would exceed the context is cut, silently, as vLLM does.
    ///
    /// # Errors
    ///
    /// When the prompt does not fit the context.
    pub fn submit(&mut self, request: Request) -> Result<(), Rejection> {
        let context = self.args.max_model_len;
        if request.prompt_tokens >= context {
            return Err(Rejection::PromptTooLong { prompt: request.prompt_tokens, context });
        }
        let output = request.output_tokens.clamp(1, context - request.prompt_tokens);
        let handle = self.sequences.insert(Sequence::new(request, output));
        self.waiting.push_back(handle);
        Ok(())
    }

    /// Forms the next batch and returns the time that it takes. `None` when there is nothing to do
    /// or a step is already under way.
    pub fn begin_step(&mut self, now: Timestamp, observer: &mut impl Observer) -> Option<Seconds> {
        if self.step_in_flight || (self.running.is_empty() && self.waiting.is_empty()) {
            return None;
        }
        let batch = self.schedule(now, observer);
        self.step_in_flight = true;
        Some(self.plant.step_time(&batch))
    }

    /// Ends the step under way: hands out its tokens and lets finished requests go.
    pub fn end_step(&mut self, now: Timestamp, observer: &mut impl Observer) {
        let previous_end = std::mem::replace(&mut self.last_step_end, now);
        self.step_in_flight = false;
        let mut steady = 0;
        let mut kept = 0;
        for idx in 0..self.running.len() {
            let handle = self.running[idx];
            let sequence = &mut self.sequences[handle];
            if sequence.produces_token() {
                let first = sequence.generated == 0;
                sequence.generated += 1;
                let last_token = std::mem::replace(&mut sequence.last_token, now);
                if first {
                    observer.first_token(sequence.request.id, now);
                } else if last_token == previous_end {
                    // Nearly all: they decoded in the step before, so they share one gap.
                    steady += 1;
                } else {
                    observer.token_gaps(now.since(last_token), 1);
                }
                if sequence.generated == sequence.output_tokens {
                    observer.finished(sequence.request.id, now, sequence.generated);
                    self.blocks.free(sequence.blocks);
                    self.sequences.remove(handle);
                    continue;
                }
            }
            self.running[kept] = handle;
            kept += 1;
        }
        self.running.truncate(kept);
        if steady > 0 {
            observer.token_gaps(now.since(previous_end), steady);
        }
    }

    /// Drops everything, as when the process dies, and returns the requests that were lost.
    pub fn abort_all(&mut self) -> Vec<RequestId> {
        self.step_in_flight = false;
        let handles = self.running.drain(..).chain(self.waiting.drain(..));
        let lost = handles.map(|handle| self.sequences[handle].request.id).collect();
        self.sequences = Sequences::default();
        self.blocks = BlockPool::new(self.args.num_gpu_blocks, self.args.block_size);
        lost
    }

    /// Sequences in the running list, those in mid-prefill included.
    #[must_use]
    pub fn num_running(&self) -> usize {
        self.running.len()
    }

    /// Sequences that wait, preempted ones included.
    #[must_use]
    pub fn num_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Requests in flight.
    #[must_use]
    pub fn load(&self) -> usize {
        self.running.len() + self.waiting.len()
    }

    /// The share of usable KV blocks that are in use, as `vllm:kv_cache_usage_perc` reports it.
    #[must_use]
    pub fn kv_usage(&self) -> Fraction {
        self.blocks.usage()
    }

    /// Whether there is no request in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.load() == 0
    }
}

#[cfg(test)]
mod tests;
