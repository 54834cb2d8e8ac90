//! How long an accepted request waits.

use super::span;
use crate::units::{Fraction, RequestRate, Seconds};

/// The relative width at which the search for a percentile stops.
const TOLERANCE: f64 = 1e-12;

/// The share of a sum below which the rest of it is lost to rounding.
const NEGLIGIBLE: f64 = 1e-17;

/// The waiting time of an accepted request, exactly.
///
/// A request that finds N in service and k waiting has to see k + 1 completions at rate µ(N), so its
/// wait is Erlang(k + 1, µ(N)) and the whole is a mixture of these and of no wait at all.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitDistribution {
    /// The probability that a request waits for more than j completions, for j = 0, 1, ...
    more_than: Vec<f64>,
    /// µ(N), in requests per second.
    full_rate: f64,
}

impl WaitDistribution {
    /// From the probabilities that an accepted request finds the batch full and 0, 1, ... waiting.
    pub(super) fn new(waiting: &[f64], full_rate: RequestRate) -> Self {
        let mut more_than = waiting.to_vec();
        // Summed from the small end, so that a rare long wait keeps its digits.
        for k in (1..more_than.len()).rev() {
            more_than[k - 1] += more_than[k];
        }
        Self { more_than, full_rate: full_rate.value() }
    }

    /// The mean wait.
    pub fn mean(&self) -> Seconds {
        span(self.more_than.iter().sum::<f64>() / self.full_rate)
    }

    /// The share of accepted requests that wait longer than `wait`.
    pub fn longer_than(&self, wait: Seconds) -> Fraction {
        Fraction::new(self.longer_than_completions(wait.value() * self.full_rate).min(1.0))
    }

    /// The shortest time within which a share of the accepted requests stops waiting, to a relative
    /// 1e-12, rounded up; `None` for all of them when some wait, as then no time is long enough.
    pub fn percentile(&self, share: Fraction) -> Option<Seconds> {
        let rest = 1.0 - share.value();
        if self.longer_than_completions(0.0) <= rest {
            return Some(Seconds::ZERO);
        }
        if rest <= 0.0 {
            return None;
        }
        let (mut low, mut high) = (0.0, 1.0);
        while self.longer_than_completions(high) > rest {
            (low, high) = (high, 2.0 * high);
        }
        while high - low > TOLERANCE * high {
            let middle = f64::midpoint(low, high);
            if self.longer_than_completions(middle) > rest {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(span(high / self.full_rate))
    }

    /// The share that waits longer than it takes to complete `expected` requests on average.
    ///
    /// Completions in that time are Poisson distributed, and a request still waits if there were
    /// fewer than it needs.
    fn longer_than_completions(&self, expected: f64) -> f64 {
        if expected <= 0.0 {
            return self.more_than.first().copied().unwrap_or(0.0);
        }
        if !expected.is_finite() {
            return 0.0;
        }
        let (log_expected, mut log_poisson, mut sum) = (expected.ln(), -expected, 0.0);
        for (completions, more_than) in self.more_than.iter().enumerate() {
            if completions > 0 {
                log_poisson += log_expected - (completions as f64).ln();
            }
            let term = log_poisson.exp() * more_than;
            sum += term;
            // Beyond the mode the terms fall faster than a series with this ratio does.
            let ratio = expected / (completions as f64 + 1.0);
            if ratio < 1.0 && term * ratio <= NEGLIGIBLE * sum * (1.0 - ratio) {
                break;
            }
        }
        sum
    }
}
