//! What a replica's samples say.

use optimizer::id::ReplicaId;
use optimizer::observation::{ReplicaObservation, Signal};
use optimizer::units::{
    Fraction, MeanTokens, QueueLength, RequestRate, StepRate, Timestamp, TokenRate, Tokens,
};

use super::signal;
use crate::engine::{Counters, ModelServer};
use crate::setup::VariantSetup;

/// What one scrape reads: gauges, and counters since the replica started.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReplicaSample {
    pub(super) at: Timestamp,
    kv_usage: Fraction,
    waiting: QueueLength,
    running: QueueLength,
    counters: Counters,
}

impl ReplicaSample {
    pub(super) fn take(at: Timestamp, engine: &impl ModelServer) -> Self {
        Self {
            at,
            kv_usage: engine.kv_usage(),
            waiting: QueueLength::new(engine.num_waiting() as f64),
            running: QueueLength::new(engine.num_running() as f64),
            counters: engine.counters(),
        }
    }
}

/// What a query finds in `samples`, those of its window, oldest first; `None` when there are none.
pub(super) fn observe(
    replica: ReplicaId,
    samples: &[&ReplicaSample],
    setup: &VariantSetup,
) -> Option<ReplicaObservation> {
    let (first, last) = (samples.first()?, samples.last()?);
    let (seen, span) = (last.at, last.at.since(first.at));
    let grown = last.counters.since(&first.counters);
    let requests = |count: u64| signal(RequestRate::over(count as f64, span), seen);
    let tokens = |count: u64| signal(TokenRate::checked(count as f64 / span.value()), seen);
    let mean = |sum: u64| MeanTokens::checked(sum as f64 / grown.completed as f64);
    let hits = Fraction::checked(grown.prefix_hits as f64 / grown.prefix_queries as f64);
    Some(ReplicaObservation {
        replica,
        kv_usage: signal(samples.iter().map(|sample| sample.kv_usage).max(), seen),
        waiting: signal(samples.iter().map(|sample| sample.waiting).max(), seen),
        running: signal(samples.iter().map(|sample| sample.running).max(), seen),
        kv_capacity: Signal::seen(kv_capacity(setup), seen),
        input_tokens: signal(mean(grown.completed_prompt_tokens), seen),
        output_tokens: signal(mean(grown.completed_output_tokens), seen),
        prefix_hits: signal(hits, seen),
        completions: requests(grown.completed),
        prompt_rate: tokens(grown.prompt_tokens),
        generation_rate: tokens(grown.generation_tokens),
        step_rate: signal(StepRate::checked(grown.steps as f64 / span.value()), seen),
        ttft: signal(grown.ttft.mean(), seen),
        itl: signal(grown.itl.mean(), seen),
        queue_time: signal(grown.queue_time.mean(), seen),
        prefill_time: signal(grown.prefill_time.mean(), seen),
        preemptions: requests(grown.preemptions),
    })
}

/// Blocks by block size, of all ranks, as `cache_config_info` has them: the null block counts.
fn kv_capacity(setup: &VariantSetup) -> Tokens {
    let args = setup.engine.args();
    let of_rank = u64::from(args.num_gpu_blocks) * u64::from(args.block_size);
    Tokens::new(of_rank * u64::from(setup.data_parallel))
}
