//! What one replica reports.

use serde::{Deserialize, Serialize};

use super::Signal;
use crate::id::ReplicaId;
use crate::units::{
    Fraction, MeanTokens, QueueLength, RequestRate, Seconds, StepRate, TokenRate, Tokens,
};

/// What one replica reports; the names in brackets are vLLM's.
///
/// Gauges are maxima over the query's window, means and rates are over the same window. A data
/// parallel rank counts as a replica.
///
/// Replicas are ordered by name. Two entries with one name are a fault of the driver; what they
/// report then orders them, so that an analyzer that goes through them in this order comes to the
/// same result however they were listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ReplicaObservation {
    /// The replica.
    pub replica: ReplicaId,
    /// The share of its KV cache that is in use (`kv_cache_usage_perc`).
    #[serde(default)]
    pub kv_usage: Signal<Fraction>,
    /// Requests that wait in its engine (`num_requests_waiting`).
    #[serde(default)]
    pub waiting: Signal<QueueLength>,
    /// Requests in its running batch (`num_requests_running`).
    #[serde(default)]
    pub running: Signal<QueueLength>,
    /// The size of its KV cache (`cache_config_info`: blocks by block size).
    #[serde(default)]
    pub kv_capacity: Signal<Tokens>,
    /// Mean prompt length of the requests that completed (`request_prompt_tokens`).
    #[serde(default)]
    pub input_tokens: Signal<MeanTokens>,
    /// Mean output length of the requests that completed (`request_generation_tokens`).
    #[serde(default)]
    pub output_tokens: Signal<MeanTokens>,
    /// The share of prompt tokens that the prefix cache had (`prefix_cache_hits` over
    /// `prefix_cache_queries`).
    #[serde(default)]
    pub prefix_hits: Signal<Fraction>,
    /// Requests completed (`request_success_total`).
    #[serde(default)]
    pub completions: Signal<RequestRate>,
    /// Prompt tokens taken up by prefill, hits included (`prompt_tokens_total`).
    #[serde(default)]
    pub prompt_rate: Signal<TokenRate>,
    /// Tokens generated (`generation_tokens_total`).
    #[serde(default)]
    pub generation_rate: Signal<TokenRate>,
    /// Engine steps per second (`iteration_tokens_total_count`).
    #[serde(default)]
    pub step_rate: Signal<StepRate>,
    /// Mean time to first token (`time_to_first_token_seconds`).
    #[serde(default)]
    pub ttft: Signal<Seconds>,
    /// Mean time between tokens (`inter_token_latency_seconds`).
    #[serde(default)]
    pub itl: Signal<Seconds>,
    /// Mean time in the engine's queue (`request_queue_time_seconds`).
    #[serde(default)]
    pub queue_time: Signal<Seconds>,
    /// Mean time from the first scheduling to the first token (`request_prefill_time_seconds`).
    #[serde(default)]
    pub prefill_time: Signal<Seconds>,
    /// Preemptions per second (`num_preemptions_total`).
    #[serde(default)]
    pub preemptions: Signal<RequestRate>,
}

impl ReplicaObservation {
    /// A replica of which nothing is known but that it is there: what it reports goes over it.
    #[must_use]
    pub const fn silent(replica: ReplicaId) -> Self {
        Self {
            replica,
            kv_usage: Signal::Missing,
            waiting: Signal::Missing,
            running: Signal::Missing,
            kv_capacity: Signal::Missing,
            input_tokens: Signal::Missing,
            output_tokens: Signal::Missing,
            prefix_hits: Signal::Missing,
            completions: Signal::Missing,
            prompt_rate: Signal::Missing,
            generation_rate: Signal::Missing,
            step_rate: Signal::Missing,
            ttft: Signal::Missing,
            itl: Signal::Missing,
            queue_time: Signal::Missing,
            prefill_time: Signal::Missing,
            preemptions: Signal::Missing,
        }
    }
}
