//! What stands between a client and an engine: HTTP, the tokenizer and the detokenizer.
//!
//! vLLM's API server is one process with one event loop. It takes a request, tokenizes its prompt
//! and hands it to the engine, then the next one. So it is a queue with one server: hardly
//! noticed while requests are few, and endless once they come faster than they are tokenized.
//! Tokens that come back pass it as well, which is taken for a delay that holds up nobody.

use optimizer::units::{Seconds, Timestamp};

/// How long the front end takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrontEnd {
    /// For each request, whatever its prompt: HTTP, validation, the message to the engine.
    pub per_request: Seconds,
    /// For each prompt token: tokenization.
    pub per_prompt_token: Seconds,
    /// From the end of a step until its token is with the client: the message from the engine,
    /// detokenization, HTTP.
    pub delivery: Seconds,
}

impl FrontEnd {
    /// One that takes no time.
    pub const NONE: Self = Self {
        per_request: Seconds::ZERO,
        per_prompt_token: Seconds::ZERO,
        delivery: Seconds::ZERO,
    };

    /// How long a request occupies it before the engine sees it.
    #[must_use]
    pub fn service_time(&self, prompt_tokens: u32) -> Seconds {
        self.per_request + self.per_prompt_token * f64::from(prompt_tokens)
    }
}

/// The way in: one request after the other, in the order of their arrival.
#[derive(Debug, Clone, Copy)]
pub struct FrontEndQueue {
    front_end: FrontEnd,
    /// When all that arrived is through.
    free_at: Timestamp,
}

impl FrontEndQueue {
    /// An idle one.
    #[must_use]
    pub const fn new(front_end: FrontEnd) -> Self {
        Self { front_end, free_at: Timestamp::ZERO }
    }

    /// Takes a request that arrives at `now`, which must not be before the last one's arrival.
    /// Returns when the engine sees it.
    pub fn take(&mut self, now: Timestamp, prompt_tokens: u32) -> Timestamp {
        self.free_at = self.free_at.max(now) + self.front_end.service_time(prompt_tokens);
        self.free_at
    }
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, Exp};

    use super::*;
    use crate::kernel::Streams;

    /// A request of 1,000 prompt tokens takes 10 ms.
    const FRONT_END: FrontEnd = FrontEnd {
        per_request: Seconds::new(0.002),
        per_prompt_token: Seconds::new(8e-6),
        delivery: Seconds::ZERO,
    };

    #[test]
    fn requests_pass_one_after_the_other() {
        let mut queue = FrontEndQueue::new(FRONT_END);
        let mut through =
            |at: f64, tokens| queue.take(Timestamp::from_seconds(at), tokens).as_seconds();
        for (at, tokens, expected) in
            [(0.0, 1000, 0.010), (0.001, 500, 0.016), (0.001, 0, 0.018), (1.0, 1000, 1.010)]
        {
            assert!((through(at, tokens) - expected).abs() < 1e-9, "{at}");
        }
    }

    /// Poisson arrivals and equal prompts make it M/D/1, where the mean time in the queue is
    /// ρ · s / (2(1 − ρ)) for a service time s (Pollaczek and Khinchine).
    #[test]
    fn the_queue_grows_as_theory_says() {
        for load in [0.3, 0.6, 0.8] {
            let service = FRONT_END.service_time(1000).value();
            let gaps = Exp::new(load / service).unwrap();
            let mut chance = Streams::new(7).stream("front end");
            let (mut queue, mut now, mut waited) = (FrontEndQueue::new(FRONT_END), 0.0, 0.0);
            let requests = 400_000;
            for _ in 0..requests {
                now += gaps.sample(&mut chance);
                let through = queue.take(Timestamp::from_seconds(now), 1000).as_seconds();
                waited += through - now - service;
            }
            let expected = load * service / (2.0 * (1.0 - load));
            let error = waited / f64::from(requests) / expected - 1.0;
            assert!(error.abs() < 0.03, "{load}: {error:+.3}");
        }
    }
}
