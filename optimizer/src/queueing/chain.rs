//! The number of requests at a replica, as a birth–death chain.

use thiserror::Error;

use super::{WaitDistribution, span};
use crate::units::{Fraction, QueueLength, RequestRate, Seconds};

/// The M/M(n)/1/(N + Q) queue: Poisson arrivals, service rates µ(1) to µ(N), Q places to wait.
///
/// With N = 1 it is the M/M/1/(1 + Q) queue. Solving it takes O(N + Q) time and memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// µ(1) to µ(N), in requests per second.
    rates: Vec<f64>,
    max_queue: usize,
}

/// What holds in the long run at one arrival rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SteadyState {
    /// Requests that arrive, λ, those that are turned away included.
    pub arrival: RequestRate,
    /// Requests that are accepted, and therefore completed: λ·(1 − p(N + Q)).
    pub throughput: RequestRate,
    /// Mean number of requests in service: the mean batch size.
    pub in_service: f64,
    /// Mean number of requests that wait.
    pub in_queue: QueueLength,
    /// Mean wait of an accepted request, by Little's law.
    pub wait: Seconds,
    /// Mean time in service, by Little's law; at no load, the limit 1 / µ(1).
    pub service: Seconds,
    /// Mean batch size, as a share of the largest.
    pub utilization: Fraction,
    /// The share of time in which there is no request, p(0).
    pub empty: Fraction,
    /// The share of arrivals that are turned away, p(N + Q).
    pub blocked: Fraction,
}

impl SteadyState {
    /// Mean number of requests in service and waiting.
    pub fn in_system(&self) -> f64 {
        self.in_service + self.in_queue.value()
    }

    /// Mean time from arrival to completion.
    pub fn response(&self) -> Seconds {
        self.wait + self.service
    }
}

impl Chain {
    /// The most states that a chain may have: more would be a mistake, and would not fit in memory.
    pub const MAX_STATES: usize = 1 << 20;

    /// A chain from its service rates µ(1) to µ(N) and its places to wait, Q.
    ///
    /// # Errors
    ///
    /// When there is no rate, a rate is zero, or N + Q exceeds [`Self::MAX_STATES`].
    pub fn new(rates: &[RequestRate], max_queue: u32) -> Result<Self, ChainError> {
        let max_queue = usize::try_from(max_queue).unwrap_or(usize::MAX);
        if rates.is_empty() {
            return Err(ChainError::NoService);
        }
        if let Some(at) = rates.iter().position(|rate| rate.is_zero()) {
            return Err(ChainError::Standstill { batch: at + 1 });
        }
        let states = rates.len().saturating_add(max_queue);
        if states > Self::MAX_STATES {
            return Err(ChainError::TooManyStates { states });
        }
        Ok(Self { rates: rates.iter().map(|rate| rate.value()).collect(), max_queue })
    }

    /// µ(N): the rate at which requests complete while others wait.
    pub fn full_rate(&self) -> RequestRate {
        RequestRate::new(self.rates[self.max_batch() - 1])
    }

    /// The probabilities of 0, 1, ..., N + Q requests. They sum to one.
    pub fn probabilities(&self, arrival: RequestRate) -> Vec<Fraction> {
        let distribution = self.distribution(arrival, self.max_queue);
        distribution.into_iter().map(Fraction::new).collect()
    }

    /// The means of the stationary distribution. Any arrival rate has one, since what does not fit
    /// is turned away; overload shows in `blocked`.
    pub fn steady_state(&self, arrival: RequestRate) -> SteadyState {
        let distribution = self.distribution(arrival, self.max_queue);
        let (mut in_service, mut in_queue, mut completed) = (0.0, 0.0, 0.0);
        for (n, p) in distribution.iter().enumerate().skip(1) {
            let batch = n.min(self.max_batch());
            in_service += batch as f64 * p;
            in_queue += (n - batch) as f64 * p;
            completed += self.rates[batch - 1] * p;
        }
        let (empty, blocked) = (distribution[0], distribution[distribution.len() - 1]);
        // Both are the same number. Of each the half is taken in which it does not cancel out.
        let accepted = arrival.value() * (1.0 - blocked);
        let throughput = if blocked < 0.5 { accepted } else { completed };
        let little = |number: f64| span(number / throughput);
        let no_load = throughput <= 0.0;
        SteadyState {
            arrival,
            throughput: RequestRate::checked(throughput).unwrap_or(self.full_rate()),
            in_service,
            in_queue: QueueLength::new(in_queue),
            wait: if no_load { Seconds::ZERO } else { little(in_queue) },
            service: if no_load { span(1.0 / self.rates[0]) } else { little(in_service) },
            utilization: Fraction::new((in_service / self.max_batch() as f64).min(1.0)),
            empty: Fraction::new(empty),
            blocked: Fraction::new(blocked),
        }
    }

    /// The waiting time of accepted requests, which are served in the order of their arrival.
    pub fn wait(&self, arrival: RequestRate) -> WaitDistribution {
        // An arrival sees the stationary distribution (PASTA), and an accepted one does not see the
        // last state. By the product form, what remains is the distribution with one place fewer.
        let found = match self.max_queue {
            0 => Vec::new(),
            places => self.distribution(arrival, places - 1),
        };
        let waiting = found.get(self.max_batch()..).unwrap_or_default();
        WaitDistribution::new(waiting, self.full_rate())
    }

    fn max_batch(&self) -> usize {
        self.rates.len()
    }

    /// p(0) to p(N + `max_queue`), where p(n) is proportional to the product of λ / µ(i), i ≤ n.
    ///
    /// The products are sums of logarithms, relative to the largest: they neither overflow nor, where
    /// it matters, underflow.
    fn distribution(&self, arrival: RequestRate, max_queue: usize) -> Vec<f64> {
        let states = self.max_batch() + max_queue;
        let log_arrival = arrival.value().ln();
        let logs: Vec<f64> = self.rates.iter().map(|rate| log_arrival - rate.ln()).collect();
        let mut weights = Vec::with_capacity(states + 1);
        let mut log_weight = 0.0;
        weights.push(log_weight);
        for n in 1..=states {
            log_weight += logs[n.min(self.max_batch()) - 1];
            weights.push(log_weight);
        }
        let largest = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for weight in &mut weights {
            *weight = (*weight - largest).exp();
        }
        let sum: f64 = weights.iter().sum();
        for weight in &mut weights {
            *weight /= sum;
        }
        weights
    }
}

/// There is no such chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChainError {
    /// There is no service rate.
    #[error("a queue needs a service rate")]
    NoService,
    /// A service rate is zero.
    #[error("a batch of {batch} would never complete a request")]
    Standstill {
        /// The number in service.
        batch: usize,
    },
    /// The chain would be too large.
    #[error("batch and queue hold {states} requests together, more than {}", Chain::MAX_STATES)]
    TooManyStates {
        /// The largest number of requests, N + Q.
        states: usize,
    },
}
