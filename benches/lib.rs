//! Workloads that the benches share. They are fixed, so that numbers of different days compare.

use optimizer::units::{RequestRate, Seconds, Timestamp};
use simulator::engine::step_time::Linear;
use simulator::engine::{
    EngineArgs, EngineConfig, ModelServer, Observer, Request, RequestId, TokenGaps,
};
use simulator::kernel::Streams;
use simulator::workload::{Arrival, synthesis};

/// Llama-3.1-8B on one H100, as the simulator's catalog has it.
pub const LLAMA_8B_H100: Linear = Linear {
    base: Seconds::from_millis(6.9828),
    per_prefill_token: Seconds::from_millis(0.024_724),
    per_decode_sequence: Seconds::from_millis(0.028_111),
    per_context_token: Seconds::from_millis(4.4063e-5),
};

/// The engine arguments that go with it.
///
/// # Panics
///
/// Never: an engine starts with these arguments.
#[must_use]
pub fn llama_8b_h100_config() -> EngineConfig {
    EngineConfig::try_from(EngineArgs {
        max_num_batched_tokens: 8192,
        max_num_seqs: 1024,
        max_model_len: 131_072,
        block_size: 16,
        num_gpu_blocks: 28_167,
        ..EngineArgs::DEFAULT
    })
    .expect("the arguments are valid")
}

/// `count` chat requests with the lengths and the burstiness of the Azure 2023 conversation trace,
/// at a mean of `rate`, their output tokens multiplied by `output_factor`.
#[must_use]
pub fn chat(count: usize, rate: RequestRate, output_factor: u64) -> Vec<Arrival> {
    let hour = synthesis::azure_chat(Seconds::from_minutes(60.0), Streams::new(1));
    let recorded = hour.len() as f64 / 3600.0;
    let (speed, length) = (recorded / rate.value(), Timestamp::from_seconds(3600.0));
    let rounds = (0_u64..).flat_map(|round| hour.iter().map(move |arrival| (round, arrival)));
    rounds
        .take(count)
        .map(|(round, arrival)| {
            let at = arrival.at.as_seconds() + length.as_seconds() * round as f64;
            Arrival {
                at: Timestamp::from_seconds(at * speed),
                prompt: arrival.prompt,
                output: optimizer::units::Tokens::new(arrival.output.get() * output_factor),
            }
        })
        .collect()
}

/// Counts what a server reports and keeps nothing.
#[derive(Debug, Default)]
pub struct Counter {
    /// Requests that finished.
    pub finished: u64,
    /// Output tokens after the first of each request.
    pub gaps: u64,
}

impl Observer for Counter {
    fn scheduled(&mut self, _: RequestId, _: Timestamp, _: u32) {}

    fn preempted(&mut self, _: RequestId) {}

    fn first_token(&mut self, _: RequestId, _: Timestamp) {}

    fn token_gaps(&mut self, gaps: TokenGaps) {
        self.gaps += gaps.steps * gaps.sequences;
    }

    fn finished(&mut self, _: RequestId, _: Timestamp, _: u32) {
        self.finished += 1;
    }
}

/// Serves `arrivals` to the last token.
///
/// # Panics
///
/// When a request does not fit the server's context.
pub fn serve(server: &mut impl ModelServer, arrivals: &[Arrival]) -> Counter {
    let mut counter = Counter::default();
    let tokens = |length: optimizer::units::Tokens| {
        u32::try_from(length.get()).expect("a chat request is short")
    };
    for (id, arrival) in (0..).zip(arrivals) {
        let request = Request::new(RequestId(id), tokens(arrival.prompt), tokens(arrival.output));
        server.advance(arrival.at, &mut counter);
        server.submit(request, arrival.at, &mut counter).expect("the request fits the context");
    }
    server.advance(Timestamp::MAX, &mut counter);
    counter
}
