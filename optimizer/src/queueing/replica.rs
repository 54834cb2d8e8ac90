//! A replica: a law of service, the requests it serves, and its limits.

use std::num::NonZeroU32;

use thiserror::Error;

use super::service::MAX_CHUNKS;
use super::{Chain, ChainError, RequestShape, ServiceModel, SteadyState, WaitDistribution, span};
use crate::units::{RequestRate, Seconds, Tokens};

/// One replica that serves requests of one shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Replica {
    model: ServiceModel,
    shape: RequestShape,
    max_batch: NonZeroU32,
    chain: Chain,
}

/// What requests see at one arrival rate, on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Performance {
    /// The queue.
    pub steady: SteadyState,
    /// Time from the start of service to the end of prefill.
    pub prefill: Seconds,
    /// Time from the start of service to the first token: the prefill, which the laws but V0 let
    /// one decode step follow.
    pub first_token: Seconds,
    /// Time between output tokens.
    pub itl: Seconds,
    /// Time from arrival to the first token, the wait included.
    pub ttft: Seconds,
}

impl Replica {
    /// A replica with `max_batch` requests in service and `max_queue` waiting at most.
    ///
    /// # Errors
    ///
    /// When requests have no output, the token budget is too small for their prompts, service takes
    /// no time at some batch size, or there are too many states.
    pub fn new(
        model: ServiceModel,
        shape: RequestShape,
        max_batch: NonZeroU32,
        max_queue: u32,
    ) -> Result<Self, ReplicaError> {
        if shape.output == Tokens::ZERO {
            return Err(ReplicaError::NoOutput);
        }
        let states = u64::from(max_batch.get()) + u64::from(max_queue);
        if states > Chain::MAX_STATES as u64 {
            let states = usize::try_from(states).unwrap_or(usize::MAX);
            return Err(ChainError::TooManyStates { states }.into());
        }
        if model.chunks(shape, f64::from(max_batch.get())) >= MAX_CHUNKS {
            return Err(ReplicaError::TokenBudget);
        }
        let batches = (1..=max_batch.get()).filter_map(NonZeroU32::new);
        let rate = |batch| model.service_rate(shape, batch).ok_or(ReplicaError::NoTime { batch });
        let rates: Vec<RequestRate> = batches.map(rate).collect::<Result<_, _>>()?;
        Ok(Self { model, shape, max_batch, chain: Chain::new(&rates, max_queue)? })
    }

    /// The requests it serves.
    pub fn shape(&self) -> RequestShape {
        self.shape
    }

    /// The queue it is.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The waiting time of accepted requests.
    pub fn wait(&self, arrival: RequestRate) -> WaitDistribution {
        self.chain.wait(arrival)
    }

    /// The means at an arrival rate, which may exceed what the replica can serve.
    ///
    /// The law's P and D hold at one batch size. V0 takes the one at which S is the mean time in
    /// service, and the other laws take the mean batch size, which at no load is 0.
    pub fn performance(&self, arrival: RequestRate) -> Performance {
        let steady = self.chain.steady_state(arrival);
        if let ServiceModel::V0(_) = self.model {
            let batch = self.effective_batch(steady.service);
            let prefill = self.model.prefill(self.shape, batch);
            let itl = self.model.decode_step(self.shape, batch);
            let ttft = steady.wait + prefill;
            return Performance { steady, prefill, first_token: prefill, itl, ttft };
        }
        let prefill = self.model.prefill(self.shape, steady.in_service);
        let itl = span((steady.service - prefill).value() / self.shape.output.as_f64());
        let first_token = prefill + itl;
        Performance { steady, prefill, first_token, itl, ttft: steady.wait + first_token }
    }

    /// The batch size, between 0 and N, at which V0's S is the given time. S is linear in it.
    ///
    /// The original takes γ off for requests without a prompt too, though their S has none; here
    /// the line goes through S(0) as the law gives it.
    fn effective_batch(&self, service: Seconds) -> f64 {
        let at = |batch| {
            self.model.prefill(self.shape, batch).value()
                + self.model.decode_steps(self.shape)
                    * self.model.decode_step(self.shape, batch).value()
        };
        let slope = at(1.0) - at(0.0);
        // A time that does not depend on the batch size is that of a batch of one.
        if slope <= 0.0 {
            return 1.0;
        }
        ((service.value() - at(0.0)) / slope).clamp(0.0, f64::from(self.max_batch.get()))
    }
}

/// There is no such replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReplicaError {
    /// The requests have no output tokens.
    #[error("a request has at least one output token")]
    NoOutput,
    /// The largest batch could never finish its prefills.
    #[error("the token budget of an iteration is too small for the largest batch")]
    TokenBudget,
    /// All costs that matter are zero.
    #[error("service would take no time at a batch of {batch}")]
    NoTime {
        /// The number in service.
        batch: NonZeroU32,
    },
    /// The queue does not exist.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queueing::PhaseCosts;

    /// Group J of the workload-variant-autoscaler 0.5's vectors, row J10.
    #[test]
    fn the_effective_batch_is_where_the_law_gives_the_time() {
        let replica = |input| {
            let model = ServiceModel::V0(PhaseCosts {
                decode_base: Seconds::from_millis(1.0),
                decode_per_request: Seconds::from_millis(0.01),
                prefill_base: Seconds::from_millis(10.0),
                prefill_per_token: Seconds::from_millis(0.001),
            });
            let shape = RequestShape { input: Tokens::new(input), output: Tokens::new(10) };
            Replica::new(model, shape, NonZeroU32::new(8).unwrap(), 16).unwrap()
        };
        let check = |input, millis, expected: f64| {
            let batch = replica(input).effective_batch(Seconds::from_millis(millis));
            assert!((batch - expected).abs() < 1e-6, "{input} {millis}: {batch}");
        };
        check(100, 20.0, 5.263_158);
        check(100, 50.0, 8.0);
        check(100, 1.0, 0.0);
        // Without a prompt, S(2) = 9·1.02. The original takes 10 ms off and says 0.
        check(0, 9.18, 2.0);
    }
}
