//! Workloads that the benches share. They are fixed, so that numbers of different days compare.

use optimizer::units::{Seconds, Timestamp};
use simulator::engine::step_time::Linear;
use simulator::engine::{EngineArgs, EngineConfig, EngineConfigError, Observer, RequestId};

/// Llama-3.1-8B on one H100, as the simulator's catalog has it.
pub const LLAMA_8B_H100: Linear = Linear {
    base: Seconds::from_millis(6.9828),
    per_prefill_token: Seconds::from_millis(0.024_724),
    per_decode_sequence: Seconds::from_millis(0.028_111),
    per_context_token: Seconds::from_millis(4.4063e-5),
};

/// The engine arguments that go with it.
///
/// # Errors
///
/// Never; the type says that arguments are checked.
pub fn llama_8b_h100_config() -> Result<EngineConfig, EngineConfigError> {
    EngineConfig::try_from(EngineArgs {
        max_num_batched_tokens: 8192,
        max_num_seqs: 1024,
        max_model_len: 131_072,
        block_size: 16,
        num_gpu_blocks: 28_167,
    })
}

/// Prompt and output tokens of a few requests, in the proportions of a chat trace: mean 1155 and
/// 211, as published for the Azure 2023 conversation trace.
pub const CHAT_LENGTHS: [(u32, u32); 8] = [
    (374, 44),
    (396, 109),
    (1020, 129),
    (1189, 129),
    (1020, 395),
    (2734, 424),
    (91, 16),
    (2416, 442),
];

/// Counts what an engine reports and keeps nothing.
#[derive(Debug, Default)]
pub struct Counter {
    /// Requests that finished.
    pub finished: u64,
    /// Output tokens after the first of each request.
    pub gaps: u64,
}

impl Observer for Counter {
    fn scheduled(&mut self, _: RequestId, _: Timestamp) {}

    fn preempted(&mut self, _: RequestId) {}

    fn first_token(&mut self, _: RequestId, _: Timestamp) {}

    fn token_gaps(&mut self, _: Seconds, count: u64) {
        self.gaps += count;
    }

    fn finished(&mut self, _: RequestId, _: Timestamp, _: u32) {
        self.finished += 1;
    }
}
