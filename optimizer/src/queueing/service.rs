//! How long a request is in service at a given batch size.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::span;
use crate::units::{RequestRate, Seconds, Tokens};

/// The tokens that one iteration may process, prefill and decode together, unless it is configured.
pub const DEFAULT_TOKEN_BUDGET: Tokens = Tokens::new(8192);

/// More prefill iterations than any real prompt takes; beyond them a token budget is too small.
pub(super) const MAX_CHUNKS: f64 = 1e9;

/// The mean request: L input and m output tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RequestShape {
    /// Mean number of prompt tokens, L.
    pub input: Tokens,
    /// Mean number of generated tokens, m.
    pub output: Tokens,
}

/// The costs of law [V0](ServiceModel::V0), where prefill and decode do not share an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseCosts {
    /// One decode step, whatever the batch: α.
    pub decode_base: Seconds,
    /// One decode step, for each request in the batch: β.
    pub decode_per_request: Seconds,
    /// One prefill, whatever its length: γ.
    pub prefill_base: Seconds,
    /// One prefill, for each prompt token and each request in the batch: δ.
    pub prefill_per_token: Seconds,
}

/// The costs of one iteration of continuous batching, for the laws V1, V1b and V2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct IterationCosts {
    /// One iteration, whatever the batch: reading the weights, launching the kernels. α.
    pub overhead: Seconds,
    /// Computing one token: β.
    pub compute_per_token: Seconds,
    /// Reading the KV cache of one token, each time that a token is generated after it: γ.
    ///
    /// This is not the γ of [`PhaseCosts`], which is a time per prefill.
    pub read_per_token: Seconds,
}

/// A law for the mean time of a request in service when the batch holds n requests.
///
/// With L input and m output tokens, P(n) is the prefill time, D(n) the time of one decode step and
/// S(n) the time in service. The names are the versions in llm-inferno's history, since parameters
/// that were fitted with one law must not be used with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceModel {
    /// P(n) = γ + δ·L·n, or 0 without a prompt; D(n) = α + β·n; S(n) = P(n) + (m − 1)·D(n).
    V0(PhaseCosts),
    /// With T(n) = α + n·(β·(L + m)/(m + 1) + γ·(L + m/2)):
    /// P(n) = T(n) + (β + γ)·L, or 0 without a prompt; D(n) = T(n) + β + γ·(L + m/2);
    /// S(n) = P(n) + m·D(n).
    V1(IterationCosts),
    /// As V1, but a step of the request itself reads (m + 1)/2 generated tokens instead of m/2.
    V1b(IterationCosts),
    /// Chunked prefill: the prompt takes c(n) iterations, as few as the token budget allows.
    ///
    /// With p = (β + γ·(c + 1)/2)·L, d = β·m + γ·m·(L + (m + 1)/2), s = (p + d)/(c + m) and
    /// b(n) = max(0, α + (n − 1)·s), the part of an iteration that other requests fill:
    /// P(n) = c·b(n) + p; D(n) = b(n) + β + γ·(L + (m + 1)/2); S(n) = P(n) + m·D(n).
    V2 {
        /// The costs of an iteration.
        costs: IterationCosts,
        /// The tokens that one iteration may process. Servers call it `max_num_batched_tokens`.
        token_budget: Tokens,
    },
}

impl ServiceModel {
    /// P: the time from the start of service to the end of prefill. The batch size may be a mean.
    pub fn prefill(&self, shape: RequestShape, batch: f64) -> Seconds {
        span(self.phases(shape, batch).0)
    }

    /// D: the time of one decode step. The batch size may be a mean.
    pub fn decode_step(&self, shape: RequestShape, batch: f64) -> Seconds {
        span(self.phases(shape, batch).1)
    }

    /// S: the mean time in service of a request while the batch holds `batch` requests.
    pub fn service_time(&self, shape: RequestShape, batch: NonZeroU32) -> Seconds {
        let (prefill, step) = self.phases(shape, f64::from(batch.get()));
        span(prefill + self.decode_steps(shape) * step)
    }

    /// µ(n) = n / S(n): the rate at which a batch of this size completes requests; `None` when
    /// service takes no time.
    pub fn service_rate(&self, shape: RequestShape, batch: NonZeroU32) -> Option<RequestRate> {
        RequestRate::over(f64::from(batch.get()), self.service_time(shape, batch))
    }

    /// c(n): the iterations that a prefill takes in a batch of n; 1 for all laws but V2.
    ///
    /// V2's rule is the smallest k with (k + m)·(budget − L/k)/(L + m) ≥ n: in each iteration the n
    /// requests together advance by n·(L + m)/(k + m) tokens on average, and there has to be room
    /// for one chunk of L/k besides.
    pub(super) fn chunks(&self, shape: RequestShape, batch: f64) -> f64 {
        let Self::V2 { token_budget, .. } = self else { return 1.0 };
        let (input, output, budget) =
            (shape.input.as_f64(), shape.output.as_f64(), token_budget.as_f64());
        let fits = |k: f64| (k + output) * (budget - input / k) >= batch * (input + output);
        // The rule, multiplied by k, is budget·k² + linear·k − m·L ≥ 0. Its root is within rounding
        // of the answer, which the steps after it find exactly.
        let linear = output * budget - input - batch * (input + output);
        let root = (4.0 * budget * output).mul_add(input, linear * linear).sqrt();
        let mut k = ((root - linear) / (2.0 * budget)).ceil().max(1.0);
        if k.is_nan() || k >= MAX_CHUNKS {
            return MAX_CHUNKS;
        }
        while k > 1.0 && fits(k - 1.0) {
            k -= 1.0;
        }
        while k < MAX_CHUNKS && !fits(k) {
            k += 1.0;
        }
        k
    }

    /// The decode steps that S counts. V0 takes the first token for part of the prefill.
    pub(super) fn decode_steps(&self, shape: RequestShape) -> f64 {
        match self {
            Self::V0(_) => (shape.output.as_f64() - 1.0).max(0.0),
            Self::V1(_) | Self::V1b(_) | Self::V2 { .. } => shape.output.as_f64(),
        }
    }

    /// P and D in seconds.
    fn phases(&self, shape: RequestShape, batch: f64) -> (f64, f64) {
        let (input, output) = (shape.input.as_f64(), shape.output.as_f64());
        match *self {
            Self::V0(costs) => {
                let per_request = costs.prefill_per_token.value() * input;
                let prefill = costs.prefill_base.value() + per_request * batch;
                let step = costs.decode_base.value() + costs.decode_per_request.value() * batch;
                (if shape.input == Tokens::ZERO { 0.0 } else { prefill }, step)
            }
            Self::V1(costs) => costs.mixed_phases(input, output, output / 2.0, batch),
            Self::V1b(costs) => {
                costs.mixed_phases(input, output, f64::midpoint(output, 1.0), batch)
            }
            Self::V2 { costs, .. } => {
                // A mean batch size takes the chunk count of the nearest whole one.
                let chunks = self.chunks(shape, (batch + 0.5).floor().max(1.0));
                costs.chunked_phases(input, output, chunks, batch)
            }
        }
    }
}

impl IterationCosts {
    /// P and D of V1 and V1b; `own` is the number of generated tokens that a step of the request
    /// itself reads.
    fn mixed_phases(self, input: f64, output: f64, own: f64, batch: f64) -> (f64, f64) {
        let (compute, read) = (self.compute_per_token.value(), self.read_per_token.value());
        let per_request =
            compute * (input + output) / (output + 1.0) + read * (input + output / 2.0);
        let iteration = self.overhead.value() + batch * per_request;
        let prefill = if input > 0.0 { iteration + (compute + read) * input } else { 0.0 };
        (prefill, iteration + compute + read * (input + own))
    }

    /// P and D of V2.
    fn chunked_phases(self, input: f64, output: f64, chunks: f64, batch: f64) -> (f64, f64) {
        let (compute, read) = (self.compute_per_token.value(), self.read_per_token.value());
        let own_prefill = (compute + read * f64::midpoint(chunks, 1.0)) * input;
        let own_step = compute + read * (input + f64::midpoint(output, 1.0));
        let per_request = (own_prefill + output * own_step) / (chunks + output);
        let others = (self.overhead.value() + (batch - 1.0) * per_request).max(0.0);
        (chunks * others + own_prefill, others + own_step)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rows of llm-inferno's golden file, and others computed from its formula.
    #[test]
    fn a_prompt_takes_as_few_chunks_as_the_budget_allows() {
        for (input, output, budget, batch, expected) in [
            (4096, 64, 8192, 64, 1.0),
            (4096, 64, 8192, 128, 7.0),
            (4096, 64, 8192, 200, 39.0),
            (256, 1024, 8192, 256, 1.0),
            (4096, 512, 4200, 256, 3.0),
            (16384, 128, 8192, 1, 3.0),
            (16384, 128, 8192, 64, 18.0),
            (2048, 1024, 8192, 512, 1.0),
            (0, 100, 1, 1, 1.0),
            (100, 10, 0, 1, MAX_CHUNKS),
        ] {
            let chunks = chunks(input, output, budget, batch);
            assert!((chunks - expected).abs() < 0.5, "{input} {output} {budget} {batch}: {chunks}");
        }
    }

    proptest! {
        /// The formula's answer is the one that counting up from 1 finds.
        #[test]
        fn the_chunk_count_is_the_smallest_that_fits(
            input in 0_u64..20_000,
            output in 1_u64..2000,
            budget in 1_u64..20_000,
            batch in 1_u32..512,
        ) {
            let [l, m, tokens, n] = [input, output, budget, u64::from(batch)].map(i128::from);
            let fits = |k: i128| (k + m) * (tokens * k - l) >= n * (l + m) * k;
            let mut smallest = 1;
            while !fits(smallest) {
                smallest += 1;
            }
            let chunks = chunks(input, output, budget, batch);
            prop_assert!((chunks - smallest as f64).abs() < 0.5, "{chunks}, not {smallest}");
        }
    }

    fn chunks(input: u64, output: u64, budget: u64, batch: u32) -> f64 {
        let time = |millis| Seconds::from_millis(millis);
        let costs = IterationCosts {
            overhead: time(8.0),
            compute_per_token: time(0.033),
            read_per_token: time(0.000_333),
        };
        let model = ServiceModel::V2 { costs, token_budget: Tokens::new(budget) };
        let shape = RequestShape { input: Tokens::new(input), output: Tokens::new(output) };
        model.chunks(shape, f64::from(batch))
    }
}
