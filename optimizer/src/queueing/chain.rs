//! The number of requests at a replica, as a birth–death chain.

use thiserror::Error;

use super::geometric::Geometric;
use super::{WaitDistribution, span};
use crate::units::{Fraction, QueueLength, RequestRate, Seconds};

/// The M/M(n)/1/(N + Q) queue: Poisson arrivals, service rates µ(1) to µ(N), Q places to wait.
///
/// With N = 1 it is the M/M/1/(1 + Q) queue. Its means take O(N + log Q) time and no memory, since
/// beyond a full batch the probabilities are geometric.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// µ(1) to µ(N), in requests per second.
    rates: Vec<f64>,
    /// For each n from 1 to N, the sum of ln(µ(N) / µ(i)) over i ≤ n: the logarithm of p(n) / p(0)
    /// at the arrival rate µ(N). It does not depend on the arrival rate, so that it is summed once.
    log_weights: Vec<f64>,
    max_queue: usize,
}

/// Sums over the states of a chain, each relative to the same unknown factor.
#[derive(Debug, Clone, Copy)]
struct Sums {
    /// p(0).
    empty: f64,
    /// p(0) + ... + p(N).
    in_batch: f64,
    /// p(N).
    full: f64,
    /// p(N + 1) + ... + p(N + Q).
    waiting: f64,
    /// p(N + Q).
    last: f64,
    /// The mean of n over the states up to N.
    in_service: f64,
    /// The mean of n − N over the states after N.
    in_queue: f64,
    /// The mean of µ(n) over the states up to N.
    completed: f64,
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
        let rates: Vec<f64> = rates.iter().map(|rate| rate.value()).collect();
        let log_full = rates[rates.len() - 1].ln();
        let mut sum = 0.0;
        let log_weights = rates.iter().map(|rate| {
            sum += log_full - rate.ln();
            sum
        });
        Ok(Self { log_weights: log_weights.collect(), rates, max_queue })
    }

    /// µ(N): the rate at which requests complete while others wait.
    pub fn full_rate(&self) -> RequestRate {
        RequestRate::new(self.rates[self.max_batch() - 1])
    }

    /// The probabilities of 0, 1, ..., N + Q requests. They sum to one.
    pub fn probabilities(&self, arrival: RequestRate) -> Vec<Fraction> {
        let log_load = self.log_load(arrival);
        let weight = |n: usize| match n {
            0 => 0.0,
            _ if n <= self.max_batch() => self.log_weight(n, log_load),
            _ => {
                self.log_weight(self.max_batch(), log_load)
                    + (n - self.max_batch()) as f64 * log_load
            }
        };
        let logs: Vec<f64> = (0..=self.max_batch() + self.max_queue).map(weight).collect();
        let largest = logs.iter().copied().fold(0.0, f64::max);
        let sum: f64 = logs.iter().map(|log| (log - largest).exp()).sum();
        logs.iter().map(|log| Fraction::new(((log - largest).exp() / sum).min(1.0))).collect()
    }

    /// The means of the stationary distribution. Any arrival rate has one, since what does not fit
    /// is turned away; overload shows in `blocked`.
    pub fn steady_state(&self, arrival: RequestRate) -> SteadyState {
        let sums = self.sums(arrival, self.max_queue);
        let total = sums.in_batch + sums.waiting;
        let batch = self.max_batch() as f64;
        let in_service = (sums.in_service + batch * sums.waiting) / total;
        let in_queue = sums.in_queue / total;
        let blocked = (sums.last / total).min(1.0);
        // Both are the same number. Of each the half is taken in which it does not cancel out.
        let accepted = arrival.value() * (1.0 - blocked);
        let completed = (sums.completed + self.full_rate().value() * sums.waiting) / total;
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
            utilization: Fraction::new((in_service / batch).min(1.0)),
            empty: Fraction::new((sums.empty / total).min(1.0)),
            blocked: Fraction::new(blocked),
        }
    }

    /// The waiting time of accepted requests, which are served in the order of their arrival.
    pub fn wait(&self, arrival: RequestRate) -> WaitDistribution {
        // An arrival sees the stationary distribution (PASTA), and an accepted one does not see the
        // last state. By the product form, what remains is the distribution with one place fewer.
        let (log_load, full_rate) = (self.log_load(arrival), self.full_rate());
        let Some(others) = self.max_queue.checked_sub(1) else {
            return WaitDistribution::new(0.0, log_load, 0, full_rate);
        };
        let sums = self.sums(arrival, others);
        let largest = if log_load > 0.0 { sums.last } else { sums.full };
        let largest = largest / (sums.in_batch + sums.waiting);
        WaitDistribution::new(largest, log_load, self.max_queue, full_rate)
    }

    /// The sums over all states of a chain with `max_queue` places to wait.
    ///
    /// p(n) is proportional to the product of λ / µ(i) over i ≤ n. The products are sums of
    /// logarithms, relative to the largest: they neither overflow nor, where it matters, underflow.
    fn sums(&self, arrival: RequestRate, max_queue: usize) -> Sums {
        let log_load = self.log_load(arrival);
        let log_full = self.log_weight(self.max_batch(), log_load);
        let log_last =
            if max_queue == 0 { log_full } else { log_full + max_queue as f64 * log_load };
        let in_batch = (1..=self.max_batch()).map(|n| self.log_weight(n, log_load));
        let largest = in_batch.fold(log_last.max(0.0), f64::max);

        let empty = (-largest).exp();
        let (mut sum, mut in_service, mut completed, mut full) = (empty, 0.0, 0.0, empty);
        for (n, rate) in (1..).zip(&self.rates) {
            full = (self.log_weight(n, log_load) - largest).exp();
            sum += full;
            in_service += n as f64 * full;
            completed += rate * full;
        }
        let places = max_queue as f64;
        let tail = Geometric::sum((-log_load.abs()).exp(), max_queue);
        let last = (log_last - largest).exp();
        let (waiting, in_queue) = if log_load > 0.0 {
            // Counted from the last state down.
            (last * tail.sum, last * (places * tail.sum - tail.weighted))
        } else {
            let first = full * log_load.exp();
            (first * tail.sum, first * (tail.sum + tail.weighted))
        };
        Sums { empty, in_batch: sum, full, waiting, last, in_service, in_queue, completed }
    }

    /// The logarithm of p(n) / p(0), for n from 1 to N.
    fn log_weight(&self, n: usize, log_load: f64) -> f64 {
        n as f64 * log_load + self.log_weights[n - 1]
    }

    /// ln(λ / µ(N)); negative infinity without load.
    fn log_load(&self, arrival: RequestRate) -> f64 {
        let load = arrival / self.full_rate();
        if load.is_normal() {
            load.ln()
        } else {
            // The quotient left the range of an f64, or there is no load.
            arrival.value().ln() - self.full_rate().value().ln()
        }
    }

    fn max_batch(&self) -> usize {
        self.rates.len()
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
