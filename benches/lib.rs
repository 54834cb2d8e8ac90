//! Workloads that the benches share. They are fixed, so that numbers of different days compare.

use std::env;
use std::path::Path;

use optimizer::units::{RequestRate, Seconds, Timestamp};
use simulator::engine::step_time::Linear;
use simulator::engine::{
    Content, EngineArgs, EngineConfig, ModelServer, Observer, Request, RequestId, Segment, TextId,
    TokenGaps,
};
use simulator::kernel::Streams;
use simulator::workload::trace::Trace;
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

/// Requests and when they arrive.
pub type Arrivals = Vec<(Timestamp, Request)>;

/// `count` chat requests with the lengths and the burstiness of the Azure 2023 conversation trace,
/// at a mean of `rate`, their output tokens multiplied by `output_factor`.
#[must_use]
pub fn chat(count: u32, rate: RequestRate, output_factor: u32) -> Arrivals {
    let hour = synthesis::azure_chat(Seconds::from_minutes(60.0), Streams::new(1));
    let recorded = hour.len() as f64 / 3600.0;
    let (speed, length) = (recorded / rate.value(), Timestamp::from_seconds(3600.0));
    let rounds = (0_u64..).flat_map(|round| hour.iter().map(move |arrival| (round, arrival)));
    (0..count)
        .zip(rounds)
        .map(|(id, (round, arrival))| {
            let at = arrival.at.as_seconds() + length.as_seconds() * round as f64;
            let (prompt, output) = (tokens(arrival.prompt), tokens(arrival.output));
            let request = Request::new(RequestId(id), prompt, output * output_factor);
            (Timestamp::from_seconds(at * speed), request)
        })
        .collect()
}

/// The Mooncake conversation trace, `rounds` times over, at `speed` times its pace; `None` when
/// there is no `traces/mooncake-conversation.jsonl` in the folder that `PLIMSOLL_DATA` names. A
/// later round says other things, so it finds nothing of the one before.
///
/// # Panics
///
/// When the file is no such trace.
#[must_use]
pub fn mooncake(rounds: u32, speed: f64) -> Option<Arrivals> {
    let folder = env::var_os("PLIMSOLL_DATA")?;
    let path = Path::new(&folder).join("traces/mooncake-conversation.jsonl");
    let trace = path.exists().then(|| Trace::read(&path).expect("the file is a trace"))?;
    let mut arrivals = Vec::with_capacity(trace.arrivals().len() * rounds as usize);
    let mut ids = 0..;
    for round in 0..rounds {
        for Arrival { at, prompt, output, content } in trace.arrivals() {
            let at = f64::from(round) * 3600.0 + at.as_seconds();
            let segments = content.segments().iter().map(|segment| Segment {
                text: TextId(u64::from(round) << 32 | segment.text.0),
                ..*segment
            });
            let request = Request::new(RequestId(ids.next()?), tokens(*prompt), tokens(*output))
                .with_content(Content::new(segments, None));
            arrivals.push((Timestamp::from_seconds(at / speed), request));
        }
    }
    Some(arrivals)
}

fn tokens(length: optimizer::units::Tokens) -> u32 {
    u32::try_from(length.get()).expect("a chat request is short")
}

/// Counts what a server reports and keeps nothing.
#[derive(Debug, Default)]
pub struct Counter {
    /// Requests that finished.
    pub finished: u64,
    /// Output tokens after the first of each request.
    pub gaps: u64,
    /// Prompt tokens that were found in the prefix cache.
    pub cached: u64,
}

impl Observer for Counter {
    fn scheduled(&mut self, _: RequestId, _: Timestamp, cached_tokens: u32) {
        self.cached += u64::from(cached_tokens);
    }

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
pub fn serve(server: &mut impl ModelServer, arrivals: &[(Timestamp, Request)]) -> Counter {
    let mut counter = Counter::default();
    for (at, request) in arrivals {
        server.advance(*at, &mut counter);
        server.submit(request.clone(), *at, &mut counter).expect("the request fits the context");
    }
    server.advance(Timestamp::MAX, &mut counter);
    counter
}
