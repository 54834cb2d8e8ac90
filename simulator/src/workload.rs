//! The requests that arrive: drawn from distributions, or replayed from a recording.
//!
//! A [`Workload`] yields [`Arrival`]s in the order of their time. One that is drawn takes its
//! arrival times, its varying rate, its prompt lengths and its output lengths from a stream of
//! chance each, so a scenario that changes one of the four keeps the other three.

mod arrivals;
mod length;
mod problem;
pub mod shared_prefix;
pub mod stats;
pub mod synthesis;
pub mod trace;

use std::sync::Arc;

use optimizer::units::{RequestRate, Timestamp, Tokens};

pub use arrivals::{ArrivalProcess, ArrivalTimes};
pub use length::{Length, Lengths, ParsePercentileError, Percentile, QuantileTable};
pub use problem::WorkloadProblem;

use crate::engine::Content;
use crate::kernel::{Stream, Streams};
use trace::{Replay, Speed, Trace};

/// A request as it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// When it arrives.
    pub at: Timestamp,
    /// The length of its prompt, at least one token.
    pub prompt: Tokens,
    /// The number of tokens that it will generate, at least one. No server knows this in advance.
    pub output: Tokens,
    /// What its text has in common with the text of others.
    pub content: Content,
}

/// A source of requests, in the order of their arrival.
#[derive(Debug, Clone)]
pub enum Workload {
    /// Times and lengths are drawn. Boxed, because chance takes much room.
    Drawn(Box<Drawn>),
    /// A recording is replayed.
    Replayed(Replay),
}

impl Workload {
    /// Requests of an arrival process, with independent lengths, before `until`.
    ///
    /// `name` sets this source's streams apart from those of other sources, as in `"chat/llama"`.
    ///
    /// # Panics
    ///
    /// When the process is not valid, as [`ArrivalProcess::validate`] says. The lengths must be
    /// valid as well, or drawing them may panic.
    #[must_use]
    pub fn drawn(
        process: &ArrivalProcess,
        lengths: Lengths,
        until: Timestamp,
        streams: Streams,
        name: &str,
    ) -> Self {
        Self::Drawn(Box::new(Drawn {
            times: ArrivalTimes::new(process, until, streams, name),
            prompt_chance: streams.stream(&format!("{name}/lengths/prompt")),
            output_chance: streams.stream(&format!("{name}/lengths/output")),
            lengths,
        }))
    }

    /// [`Self::drawn`] with Poisson arrivals, which are always valid.
    #[must_use]
    pub fn poisson(
        rate: RequestRate,
        lengths: Lengths,
        until: Timestamp,
        streams: Streams,
        name: &str,
    ) -> Self {
        Self::drawn(&ArrivalProcess::Poisson { rate }, lengths, until, streams, name)
    }

    /// The requests of a recording, `speed` times as fast as they were recorded.
    #[must_use]
    pub fn trace(trace: impl Into<Arc<Trace>>, speed: Speed) -> Self {
        Self::Replayed(Replay::new(trace.into(), speed))
    }
}

impl Iterator for Workload {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        match self {
            Self::Drawn(drawn) => drawn.next(),
            Self::Replayed(replay) => replay.next(),
        }
    }
}

/// Requests whose times and lengths are drawn; made by [`Workload::drawn`].
#[derive(Debug, Clone)]
pub struct Drawn {
    times: ArrivalTimes,
    lengths: Lengths,
    prompt_chance: Stream,
    output_chance: Stream,
}

impl Iterator for Drawn {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let at = self.times.next()?;
        let prompt = self.lengths.prompt.sample(&mut self.prompt_chance);
        let output = self.lengths.output.sample(&mut self.output_chance);
        Some(Arrival { at, prompt, output, content: Content::default() })
    }
}

#[cfg(test)]
mod tests {
    use optimizer::units::Seconds;

    use super::*;

    const HUNDRED: Length = Length::Constant(Tokens::new(100));

    fn requests(prompt: Length, output: Length, seed: u64, name: &str) -> Vec<Arrival> {
        let rate = RequestRate::new(10.0);
        let until = Timestamp::ZERO + Seconds::new(100.0);
        let lengths = Lengths { prompt, output };
        Workload::poisson(rate, lengths, until, Streams::new(seed), name).collect()
    }

    #[test]
    fn arrivals_come_in_order_and_end_in_time() {
        let requests = requests(HUNDRED, HUNDRED, 1, "chat");
        assert!(requests.is_sorted_by_key(|request| request.at));
        assert!(requests.last().is_some_and(|last| last.at < Timestamp::from_seconds(100.0)));
        assert!((900..1100).contains(&requests.len()), "{}", requests.len());
    }

    #[test]
    fn a_workload_is_a_function_of_seed_and_name() {
        let of = |seed, name| requests(HUNDRED, HUNDRED, seed, name);
        assert_eq!(of(1, "chat"), of(1, "chat"));
        assert_ne!(of(1, "chat"), of(2, "chat"));
        assert_ne!(of(1, "chat"), of(1, "code"));
    }

    #[test]
    fn other_prompts_leave_times_and_outputs_alone() {
        let geometric = || Length::Geometric { mean: Tokens::new(200) };
        let rest = |requests: Vec<Arrival>| -> Vec<_> {
            requests.into_iter().map(|request| (request.at, request.output)).collect()
        };
        let constant_prompts = requests(HUNDRED, geometric(), 1, "chat");
        let drawn_prompts = requests(geometric(), geometric(), 1, "chat");
        assert_ne!(constant_prompts, drawn_prompts);
        assert_eq!(rest(constant_prompts), rest(drawn_prompts));
    }
}
